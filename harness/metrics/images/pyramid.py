"""Sliced Wasserstein distance over a Laplacian pyramid: how far patches of images are from real ones.

Shapes: N images (N, C, H, W) in [-1, 1]; L levels; S directions; P = N × 128 patches of C × 7 × 7 values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["PatchReference", "laplacian_pyramid", "patch_reference", "swd"]

NUM_IMAGES = 256
"""Images compared, at most: the distance has a floor that falls with their number, so that is held fixed."""

PATCHES_PER_IMAGE = 128
PATCH_SIDE = 7
NUM_DIRECTIONS = 4 * 128
MIN_SIDE = 16
"""Levels are halved while the next one has at least this side; a smaller image is one level."""

_GROUP = 8
"""Neighbours in a sorted projection that are kept as their mean: an eighth of the memory, same distance."""

_DIRECTIONS_AT_ONCE = 64
_SCALE = 1e3
_BLUR = (1.0, 4.0, 6.0, 4.0, 1.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class PatchReference:
    """What the distance needs to know of real images.

    Attributes:
        mean: (L) of (C, 1), mean of each channel's patch values.
        sd: (L) of (C, 1), their standard deviation.
        quantiles: (L) of (S, P/8), sorted projections of the normalised patches.
        num_images: how many images these are of.
    """

    mean: tuple[Tensor, ...]
    sd: tuple[Tensor, ...]
    quantiles: tuple[Tensor, ...]
    num_images: int


def laplacian_pyramid(images: Tensor) -> list[Tensor]:
    """Band-pass levels of images, the finest first; the last is what remains, a small blurred image.

    Level l is g_l − up(g_{l+1}), where g_{l+1} is g_l blurred by the filter (1 4 6 4 1)/16 and halved.

    Args:
        images: (N, C, H, W), float.

    Returns:
        Levels (N, C, H_l, W_l), halved while the next one's smaller side is at least 16.

    Source: Burt and Adelson 1983; Karras et al. 2018 (Progressive GAN), appendix and code.
    """
    levels = []
    current = images
    while min(current.shape[2:]) // 2 >= MIN_SIDE:
        smaller = _blurred(current)[:, :, ::2, ::2]
        levels.append(current - _upsampled(smaller, current.shape[2:]))
        current = smaller
    return [*levels, current]


def patch_reference(real: Tensor) -> PatchReference:
    """Normalisation and sorted projections of real images' patches.

    Args:
        real: (N, C, H, W) in [-1, 1]; all of them are used.
    """
    means, deviations, quantiles = [], [], []
    for number, level in enumerate(laplacian_pyramid(real.float())):
        patches = _patches(level, number)
        mean, sd = patches.mean(dim=(0, 2))[:, None], patches.std(dim=(0, 2))[:, None]
        sd = sd.clamp_min(torch.finfo(sd.dtype).tiny ** 0.5)
        means.append(mean)
        deviations.append(sd)
        quantiles.append(_quantiles(patches, mean, sd, number))
    return PatchReference(
        mean=tuple(means), sd=tuple(deviations), quantiles=tuple(quantiles), num_images=len(real)
    )


def swd(fake: Tensor, reference: PatchReference) -> float:
    """Mean distance of sorted projections of patches, over directions and levels, ×10³.

    For every level of the pyramid, 128 patches of 7×7 an image are normalised by the reals' mean and standard
    deviation of each channel, projected onto 512 directions, sorted and compared with the reals':
    SWD = 10³ × mean over levels, directions, ranks of |θ·x_(i) − θ·y_(i)|. It needs no network.

    Args:
        fake: (N, C, H, W) in [-1, 1], as many images as the reference has.
        reference: from `patch_reference`.

    Returns:
        The distance; two samples of one law leave a floor above 0.

    Raises:
        ValueError: another number of images than the reference has.

    Source: Karras et al. 2018, section 5. Departures: the reals' normalisation is used for both, so that a
    lack of contrast counts, and images without any spread have a distance; eight sorted neighbours are
    compared by their mean.
    """
    if len(fake) != reference.num_images:
        raise ValueError(f"this score needs {reference.num_images} generated images, but got {len(fake)}.")
    distances = []
    for number, level in enumerate(laplacian_pyramid(fake.float())):
        patches = _patches(level, number)
        found = _quantiles(patches, reference.mean[number], reference.sd[number], number)
        distances.append(float((found - reference.quantiles[number]).abs().mean(dtype=torch.float64)))
    return _SCALE * math.fsum(distances) / len(distances)


def _blurred(images: Tensor) -> Tensor:
    channels = images.shape[1]
    taps = torch.tensor(_BLUR, dtype=images.dtype, device=images.device) / sum(_BLUR)
    rows, columns = taps.view(1, 1, -1, 1), taps.view(1, 1, 1, -1)
    padded = F.pad(images, (2, 2, 2, 2), mode="reflect")
    down = F.conv2d(padded, rows.expand(channels, 1, -1, 1), groups=channels)
    return F.conv2d(down, columns.expand(channels, 1, 1, -1), groups=channels)


def _upsampled(images: Tensor, size: torch.Size) -> Tensor:
    """Zeros between the pixels, then the same blur, four times as strong."""
    spread = images.new_zeros(*images.shape[:2], *size)
    spread[:, :, ::2, ::2] = images
    return _blurred(spread).mul_(4.0)


def _patches(level: Tensor, number: int) -> Tensor:
    """(P, C, side²) patches at places that depend on the image's number alone."""
    count, channels, height, width = level.shape
    side = min(PATCH_SIDE, height, width)
    tops, lefts = _places(count, height - side + 1, width - side + 1, number)
    offsets = torch.arange(side)
    inside = (offsets[:, None] * width + offsets).reshape(-1)
    index = (tops * width + lefts)[:, :, None] + inside  # (N, 128, side²)
    flat = level.reshape(count, channels, height * width)
    index = index.view(count, 1, -1).to(level.device).expand(-1, channels, -1)
    found = flat.gather(2, index).view(count, channels, PATCHES_PER_IMAGE, side * side)
    return found.transpose(1, 2).reshape(-1, channels, side * side)


@lru_cache(maxsize=8)
def _places(count: int, rows: int, columns: int, number: int) -> tuple[Tensor, Tensor]:
    # RandomState's streams are frozen by numpy's promise (NEP 19), so places and directions never change.
    random = np.random.RandomState([1, number])
    tops = random.randint(rows, size=(count, PATCHES_PER_IMAGE))
    lefts = random.randint(columns, size=(count, PATCHES_PER_IMAGE))
    return torch.from_numpy(tops.astype(np.int64)), torch.from_numpy(lefts.astype(np.int64))


@lru_cache(maxsize=8)
def _directions(size: int, number: int) -> Tensor:
    """(size, S) unit columns."""
    found = np.random.RandomState([2, number]).standard_normal((size, NUM_DIRECTIONS))
    return torch.from_numpy((found / np.linalg.norm(found, axis=0)).astype(np.float32))


def _quantiles(patches: Tensor, mean: Tensor, sd: Tensor, number: int) -> Tensor:
    """(S, P/8) sorted projections, means of eight neighbours each."""
    rows = ((patches - mean) / sd).reshape(len(patches), -1)
    directions = _directions(rows.shape[1], number).to(rows.device)
    found = []
    for some in torch.split(directions, _DIRECTIONS_AT_ONCE, dim=1):
        projected = some.T @ rows.T
        if projected.device.type == "cpu":
            ordered = projected.numpy()
            ordered.sort(axis=1)  # thirty times as fast as torch's
        else:
            projected = projected.sort(dim=1).values
        found.append(projected.view(len(projected), -1, _GROUP).mean(dim=2))
    return torch.cat(found)
