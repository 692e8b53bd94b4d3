"""Whether two sets of scores can be compared."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["check_comparable"]


def check_comparable(first: Mapping[str, str], second: Mapping[str, str]) -> None:
    """Refuse to put scores side by side that were not measured in the same way.

    Args:
        first: `Evaluator.fingerprint`, as recorded with some scores.
        second: that of others.

    Raises:
        ValueError: they differ; the message names what differs, and both values.
    """
    for key in sorted(first.keys() | second.keys()):
        one, other = first.get(key, "unknown"), second.get(key, "unknown")
        if one != other:
            raise ValueError(
                f"these scores cannot be compared: their {key.replace('_', ' ')} differs, {one} and {other}; "
                "score both in the same way."
            )
