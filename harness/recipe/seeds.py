"""Which seeds there are: one rule for sweep files, commands and scripts."""

from __future__ import annotations

from harness.recipe.registry import plain_value

__all__ = ["MAX_SEED", "checked_seed"]

MAX_SEED = 2**63 - 1


def checked_seed(value: object, field: str = "seed") -> int:
    """A seed as Python's integer: from 0 to 2**63 - 1, NumPy's integers and their arrays of one among them.

    What a run draws comes from a hash of its seed, so all of these seeds are as good as each other.

    Args:
        value: what was given.
        field: what it is called, for the message.

    Raises:
        ValueError: it is no seed.
    """
    seed = plain_value(value)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        raise ValueError(f"`{field}` must be an integer from 0 to 2**63 - 1, but got {seed!r}.")
    return seed
