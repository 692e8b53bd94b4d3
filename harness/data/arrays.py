"""Arrays of one's own as samples and labels: checked, and never guessed about or cut off.

NumPy arrays, torch tensors, memory-mapped arrays and lists of numbers are taken. Every way in which one can
be wrong ends in a ValueError of one line: argument, value, fix.

Shapes: N images of (C, S, S), N points of (2,), N labels.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from mmap import mmap
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

__all__ = ["Channels", "Given", "check_stored", "read_images", "read_labels", "read_points", "same_shape"]

Given: TypeAlias = ArrayLike | Tensor
Channels: TypeAlias = Literal["first", "last"]

_Array: TypeAlias = NDArray[Any]

_CHUNK = 1000
"""Rows that are converted at once, so that the copies in between stay small."""

_SMALLEST = 4
_COLOURS = (1, 3)


def read_images(
    given: Given,
    field: str,
    *,
    range: tuple[float, float] | None,
    channels: Channels | None,
    shared: bool = False,
) -> Tensor:
    """Images as a data set stores them.

    Args:
        given: (N, S, S), (N, C, S, S) or (N, S, S, C), with C 1 or 3: uint8, or floats.
        field: the argument, for messages.
        range: the values that stand for black and white, where they are floats.
        channels: where C stands; needed only where the shape leaves it open.
        shared: whether the result may be the memory of `given`, for whoever takes a copy of rows.

    Returns:
        (N, C, S, S): bytes as they are, and floats as float32 with `range` spread over [-1, 1]. Memory of its
        own, but for a mapped array that needs no change, which stays mapped, and where it may be shared.

    Raises:
        ValueError: no images, another shape or type, a range that lacks or does not hold, numbers that are
            not finite.
    """
    array = _as_array(given, field)
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        to = "float32), with range=(0.0, 1.0)" if array.dtype == bool else "uint8) where it holds 0 to 255"
        raise ValueError(
            f"`{field}` must be uint8, or floats whose `range` is given, but is {array.dtype}; convert it "
            f"with .astype(numpy.{to}."
        )
    array = _channels_first(array, field, channels)
    if array.dtype == np.uint8:
        if range is not None:
            raise ValueError(f"`range` is for floats, but `{field}` is uint8, 0 to 255; leave it out.")
        return _as_tensor(array, shared)
    low, high = _checked_range(range, array, field)
    _check_values(array, field, low, high)
    if (low, high) == (-1.0, 1.0) and array.dtype == np.float32:
        return _as_tensor(array, shared)
    found = np.empty(array.shape, np.float32)
    for rows in _chunks(array):
        found[rows] = (array[rows].astype(np.float64) - low) / ((high - low) / 2) - 1.0
    return torch.from_numpy(found)


def read_points(given: Given, field: str) -> NDArray[np.float64]:
    """Points in the plane.

    Args:
        given: (N, 2) numbers.
        field: the argument, for messages.

    Returns:
        (N, 2), finite also as float32.

    Raises:
        ValueError: another shape or type, no points, or numbers that are not finite.
    """
    array = _as_array(given, field)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"`{field}` must be numbers, but is {array.dtype}; give floats.")
    if array.ndim != 2 or array.shape[1] != 2 or not len(array):
        fix = "its transpose" if array.ndim == 2 and array.shape[0] == 2 else "one point a row"
        raise ValueError(f"`{field}` must have the shape (N, 2), but has {array.shape}; give {fix}.")
    points = array.astype(np.float64)
    with np.errstate(over="ignore"):
        _check_values(points.astype(np.float32), field, -math.inf, math.inf)
    return points


def read_labels(given: Given, field: str, num_samples: int) -> Tensor:
    """Classes.

    Args:
        given: (N,) whole numbers from 0.
        field: the argument, for messages.
        num_samples: N.

    Returns:
        (N,) int64.

    Raises:
        ValueError: other than N numbers, other than whole ones, or one below 0.
    """
    array = _as_array(given, field)
    if array.dtype.kind not in "iu":
        raise ValueError(
            f"`{field}` must be whole numbers from 0, but is {array.dtype}; number the classes with "
            "numpy.unique(labels, return_inverse=True)[1]."
        )
    if array.shape != (num_samples,):
        raise ValueError(
            f"`{field}` must have the shape ({num_samples},), one class a sample, but has {array.shape}."
        )
    if int(array.min()) < 0:
        raise ValueError(
            f"`{field}` must be whole numbers from 0, but holds {int(array.min())}; leave those samples out, "
            "or make them a class of their own."
        )
    return torch.from_numpy(array.astype(np.int64))


def same_shape(train: Tensor, test: Tensor, field: str, test_field: str) -> None:
    """Check that two parts are of one kind of sample.

    Args:
        train: (N, *sample_shape).
        test: (M, *sample_shape).
        field: what `train` is called in messages.
        test_field: what `test` is called.

    Raises:
        ValueError: their samples differ in shape or type.
    """
    ours, theirs = ((tuple(part.shape[1:]), str(part.dtype).removeprefix("torch.")) for part in (train, test))
    if ours != theirs:
        words = [f"{'×'.join(map(str, shape))} {dtype}" for shape, dtype in (ours, theirs)]
        raise ValueError(
            f"`{test_field}` must be samples as those of `{field}`, {words[0]}, but they are {words[1]}."
        )


def check_stored(samples: Tensor, field: str, kind: Literal["points", "images"]) -> None:
    """Check that samples are as a data set keeps them.

    Args:
        samples: (N, C, H, W) images, C 1 or 3, as uint8 or float32; or (N, D) points as float32.
        field: what they are called in messages.
        kind: what they are.

    Raises:
        ValueError: another type or shape, or none at all.
    """
    images, fix = kind == "images", f"Dataset.of_{kind} converts arrays"
    types = ("uint8", "float32") if images else ("float32",)
    name = str(samples.dtype)[6:] if isinstance(samples, Tensor) else type(samples).__name__
    if name not in types or samples.requires_grad:
        found = name + (" with a gradient" if name in types else "")
        raise ValueError(f"`{field}` of {kind} must be {' or '.join(types)}, but is {found}; {fix}.")
    shape = tuple(samples.shape)
    if not samples.numel() or samples.ndim != (4 if images else 2) or (images and shape[1] not in _COLOURS):
        wanted = "(N, C, H, W), C 1 or 3" if images else "(N, 2)"
        raise ValueError(f"`{field}` of {kind} must have the shape {wanted}, but has {shape}; {fix}.")


def _as_array(given: Given, field: str) -> _Array:
    """Whatever was given as an array, without a copy where there need be none."""
    if isinstance(given, (Iterator, torch.utils.data.Dataset)):
        raise ValueError(
            f"`{field}` must be an array of numbers, but is a {type(given).__name__}; put its samples into "
            "one, by numpy.stack or torch.stack."
        )
    try:
        if isinstance(given, Tensor):
            given = given.detach().cpu()
            given = (given.float() if given.dtype == torch.bfloat16 else given).numpy()
        array = np.asarray(given)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ValueError(f"`{field}` is no array of numbers ({reason}); give a plain array.") from error
    if isinstance(given, np.ma.MaskedArray):
        raise ValueError(f"`{field}` must not be a masked array; leave out what is masked, or fill it.")
    if array.dtype == object:
        raise ValueError(
            f"`{field}` must be an array of numbers, but holds Python objects; stack samples of one shape "
            "with numpy.stack."
        )
    return array


def _channels_first(array: _Array, field: str, channels: Channels | None) -> _Array:
    """(N, C, S, S), whichever of the three shapes it came in."""
    shape = array.shape
    if array.ndim not in (3, 4) or 0 in shape:
        raise ValueError(
            f"`{field}` must have the shape (N, S, S), (N, C, S, S) or (N, S, S, C), but has {shape}."
        )
    if channels not in (None, "first", "last"):
        raise ValueError(f'`channels` must be "first" or "last", but got {channels!r}.')
    if array.ndim == 3:
        array = array[:, None]
    else:
        fits = [name for name, size in (("first", shape[1]), ("last", shape[3])) if size in _COLOURS]
        if not fits:
            raise ValueError(
                f"`{field}` must have 1 or 3 channels, (N, C, S, S) or (N, S, S, C), but has the shape "
                f"{shape}; leave out an alpha channel."
            )
        if channels is None and len(fits) == 2:
            raise ValueError(
                f"`{field}` of shape {shape} may have its channels first or last; say which: "
                'channels="first" or channels="last".'
            )
        if (channels or fits[0]) not in fits:
            raise ValueError(
                f'`channels` is "{channels}", but `{field}` of shape {shape} has 1 or 3 channels only if '
                f'they are {fits[0]}; say channels="{fits[0]}".'
            )
        array = array if (channels or fits[0]) == "first" else array.transpose(0, 3, 1, 2)
    height, width = array.shape[2:]
    if height != width or height < _SMALLEST:
        raise ValueError(
            f"`{field}` must be square images of {_SMALLEST} pixels a side at least, but they are "
            f"{height}×{width}; crop, pad or resize them."
        )
    return array


def _checked_range(range: tuple[float, float] | None, array: _Array, field: str) -> tuple[float, float]:
    if range is None:
        raise ValueError(
            f"`{field}` is {array.dtype}, so `range` must say which values are black and white: (0.0, 1.0) "
            "or (-1.0, 1.0), for example."
        )
    try:
        low, high = (float(end) for end in range)
    except (TypeError, ValueError):
        raise ValueError(f"`range` must be two numbers, (0.0, 1.0) for example, but got {range!r}.") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"`range` must rise from one finite number to another, but got {range!r}.")
    return low, high


def _check_values(array: _Array, field: str, low: float, high: float) -> None:
    """Raise a ValueError at the first number that is not finite, or beyond the range."""
    for rows in _chunks(array):
        part = array[rows]
        bad = ~np.isfinite(part)
        if not bad.any():
            bad = (part < low) | (part > high)
            if not bad.any():
                continue
        place = tuple(int(index) for index in np.argwhere(bad)[0])
        value, row = float(part[place]), rows.start + place[0]
        if not math.isfinite(value):
            raise ValueError(f"`{field}` must be finite, but sample {row} holds {value}; leave it out.")
        raise ValueError(
            f"`{field}` must lie in its `range`, {low:g} to {high:g}, but sample {row} holds {value:g}; give "
            "the range that it has, or clip it."
        )


def _chunks(array: _Array) -> list[slice]:
    return [slice(start, start + _CHUNK) for start in range(0, len(array), _CHUNK)]


def _as_tensor(array: _Array, shared: bool) -> Tensor:
    """A copy, or the array itself where it may be shared or is a file mapped read-only."""
    shared = shared or (_is_mapped(array) and not array.flags.writeable)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(np.ascontiguousarray(array) if shared else np.array(array, order="C"))


def _is_mapped(array: _Array) -> bool:
    memory: Any = array
    while isinstance(memory, np.ndarray):
        memory = memory.base
    return isinstance(memory, mmap)
