"""What every score asks of its input.

Shapes: N samples: points (N, 2), images (N, C, H, W), D's scores (N,).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from harness.data import scaled

__all__ = ["Array", "as_images", "as_points", "as_scores", "to_array"]

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
    _check_finite(int((~np.isfinite(array)).any(axis=1).sum()), f"{len(array)} {what} points", what)
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
    _check_finite(int((~np.isfinite(array)).sum()), f"{len(array)} scores of {what} samples")
    return array


def as_images(images: Tensor | ArrayLike, shape: tuple[int, ...], what: str, minimum: int = 1) -> Tensor:
    """Images as float32 in [-1, 1] on their own device; bytes are scaled.

    Args:
        images: (N, C, H, W).
        shape: the (C, H, W) that they must have.
        what: what they are, for the message: `generated` or `real`.
        minimum: the fewest images that will do.

    Raises:
        ValueError: another shape, too few images, or a value that is not finite.
    """
    found = images.detach() if isinstance(images, Tensor) else torch.as_tensor(np.asarray(images))
    if found.ndim == 4 and found.shape[1] != shape[0]:
        raise ValueError(
            f"the {what} images have {found.shape[1]} channels, but the data set's have {shape[0]}; "
            "score them against the data set that they imitate."
        )
    if tuple(found.shape[1:]) != shape:
        wanted = ", ".join(str(size) for size in shape)
        raise ValueError(f"the {what} images must have shape (N, {wanted}), but have {tuple(found.shape)}.")
    if len(found) < minimum:
        raise ValueError(f"the scores need at least {minimum} {what} images, but got {len(found)}.")
    found = scaled(found).float()
    _check_finite(int((~found.isfinite()).flatten(1).any(dim=1).sum()), f"{len(found)} {what} images", what)
    return found


def _check_finite(num_bad: int, of_what: str, made_by: str = "") -> None:
    if num_bad:
        cause = "mend the data" if made_by == "real" else "the run has diverged"
        raise ValueError(f"{num_bad} of {of_what} are not finite; {cause}.")


def to_array(values: Tensor | ArrayLike) -> Array:
    """Numbers as a float64 array on the host."""
    if isinstance(values, Tensor):
        return values.detach().cpu().double().numpy()
    return np.asarray(values, dtype=np.float64)
