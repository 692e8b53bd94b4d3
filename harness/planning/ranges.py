"""What a study's searched parameters can be, for people to see before it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.study.space import Distribution
from harness.study.study import Study
from harness.words import compact, listed

__all__ = ["SHARES", "ParameterRange", "parameter_ranges"]

SHARES = (1 / 6, 1 / 2, 5 / 6)
"""Where the three sample values stand: this share of all draws lies below each."""
_MOST_SHOWN = 6


@dataclass(frozen=True, kw_only=True)
class ParameterRange:
    """One searched parameter, in words.

    Attributes:
        key: its dotted key.
        distribution: W&B's name of what is drawn from.
        reach: from which value to which, or the values; of what has no ends, where 98 % of the draws lie.
        samples: the values at `SHARES`, quantiles and so the same each time.
    """

    key: str
    distribution: str
    reach: str
    samples: tuple[str, ...]


def parameter_ranges(study: Study) -> list[ParameterRange]:
    """The real range of every searched parameter, as a recipe gets it: rounded, and of a grid its points."""
    return [
        ParameterRange(
            key=key,
            distribution=found.name,
            reach=_reach(found),
            samples=tuple(_written(found.at(share)) for share in SHARES),
        )
        for key, found in study.parameters.items()
        if found.is_searched
    ]


def _reach(found: Distribution) -> str:
    if found.name == "categorical" or (found.in_grid and found.num_points):
        count = found.num_points
        assert count is not None
        ends = range(count) if count <= _MOST_SHOWN else (0, 1, 2, count - 1)
        shown = [_written(found.point(index)[1]) for index in ends]
        if count <= _MOST_SHOWN:
            return ", ".join(shown)
        return f"{', '.join(shown[:-1])} ... {shown[-1]} ({count:,} values)"
    if found.name == "categorical_w_probabilities":
        values, shares = found.arguments["values"], found.arguments["probabilities"]
        return listed(f"{_written(v)} ({share:.3g})" for v, share in zip(values, shares, strict=True))
    if found.interval is None:
        return f"98 % from {_written(found.at(0.01))} to {_written(found.at(0.99))}"
    return f"{_written(found.at(0.0))} to {_written(found.at(1.0))}"


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return compact(value) if isinstance(value, float) else str(value)
