"""When to look at a run."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["log_spaced_steps"]


def log_spaced_steps(total_steps: int, num: int, *, multiple_of: int = 1) -> tuple[int, ...]:
    """Steps at which to look: 0, then evenly spaced in their logarithm up to the last; each once.

    Args:
        total_steps: steps of the whole run, T.
        num: how many, at most; small steps that round to the same are one.
        multiple_of: every step is rounded up to a multiple of this, D steps an iteration say.

    Returns:
        Increasing steps from 0 to T.

    Raises:
        ValueError: `total_steps` or `multiple_of` is below 1, or `num` below 2.
    """
    for name, value, low in (
        ("total_steps", total_steps, 1),
        ("num", num, 2),
        ("multiple_of", multiple_of, 1),
    ):
        if value < low:
            raise ValueError(f"`{name}` must be at least {low}, but got {value}.")
    spaced = np.geomspace(1, total_steps, num - 1) if num > 2 else np.array([total_steps])
    rounded = {min(math.ceil(round(step) / multiple_of) * multiple_of, total_steps) for step in spaced}
    return tuple(sorted({0, total_steps, *(int(step) for step in rounded)}))
