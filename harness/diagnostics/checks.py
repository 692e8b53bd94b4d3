"""What every score asks of its input."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Array", "as_points", "as_scores"]

Array = NDArray[np.float64]


def as_points(points: ArrayLike, what: str, minimum: int = 1) -> Array:
    """Points in the plane as float64.

    Args:
        points: (N, 2).
        what: what they are, for the message: `generated` or `real`.
        minimum: the fewest points that will do.

    Raises:
        ValueError: another shape, too few points, or a coordinate that is not finite.
    """
    array = np.asarray(points, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 2:
        raise ValueError(f"the {what} points must have shape (N, 2), but have {array.shape}.")
    if len(array) < minimum:
        raise ValueError(f"this score needs at least {minimum} {what} points, but got {len(array)}.")
    bad = int((~np.isfinite(array)).any(axis=1).sum())
    if bad:
        raise ValueError(f"{bad} of {len(array)} {what} points are not finite; the run has diverged.")
    return array


def as_scores(scores: ArrayLike, what: str) -> Array:
    """D's scores as float64.

    Args:
        scores: (N,), at least one.
        what: what was scored, for the message: `generated` or `real`.

    Raises:
        ValueError: another shape, no scores, or one that is not finite.
    """
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"the scores of {what} samples must have shape (N,), but have {array.shape}.")
    bad = int((~np.isfinite(array)).sum())
    if bad:
        raise ValueError(
            f"{bad} of {len(array)} scores of {what} samples are not finite; the run has diverged."
        )
    return array
