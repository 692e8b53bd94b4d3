"""Scores of pixels, which need no network: sharpness, symmetry, pair_distance, ms_ssim.

Shapes: N images (N, C, H, W) in [-1, 1]; statistics are float64.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["mean_symmetry", "ms_ssim_scales", "pair_distance_of", "pair_ms_ssim", "sharpness_of"]

SSIM_KERNEL = 7
SSIM_SD = 1.5
SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
NUM_SSIM_PAIRS = 500
NUM_SHIFTS = 16
_CHUNK_VALUES = 2**18
"""Values looked at together: a processor's cache holds them."""


def sharpness_of(images: Tensor) -> float:
    """Mean over images and channels of the variance of the discrete Laplacian: low where images are blurred.

    Args:
        images: (N, C, H, W).

    Source: Pech-Pacheco et al. 2000.
    """
    total = 0.0
    for part in torch.split(images.float(), _chunk(images)):
        around = part[..., :-2, 1:-1] + part[..., 2:, 1:-1] + part[..., 1:-1, :-2] + part[..., 1:-1, 2:]
        edges = around.sub_(part[..., 1:-1, 1:-1], alpha=4.0).flatten(2).double()
        total += float(edges.var(dim=2, correction=0).sum())
    return total / (images.shape[0] * images.shape[1])


def mean_symmetry(images: Tensor) -> float:
    """Mean over images of the correlation of an image with its mirror image, left and right swapped.

    An image without any contrast is its own mirror image, and counts as 1.

    Args:
        images: (N, C, H, W).
    """
    total = 0.0
    for part in torch.split(images, _chunk(images)):
        centred = part.double()
        centred = centred - centred.mean(dim=(1, 2, 3), keepdim=True)
        power = centred.square().sum(dim=(1, 2, 3))
        shared = (centred * centred.flip(3)).sum(dim=(1, 2, 3))
        flat = power <= 1e-12 * centred[0].numel()
        total += float(torch.where(flat, 1.0, shared / power.clamp_min(1e-300)).sum())
    return total / len(images)


def pair_distance_of(images: Tensor) -> float:
    """Mean Euclidean distance of pairs of images: each image with the 16 after it, in a circle.

    A generator's samples come in random order, so these are random pairs, enough for half a percent.

    Args:
        images: (N, ...), at least 2.
    """
    flat, chunk = images.flatten(1).float(), _chunk(images)
    shifts = range(1, min(NUM_SHIFTS, len(flat) - 1) + 1)
    total = 0.0
    for shift in shifts:
        for start in range(0, len(flat), chunk):
            part = flat[start : start + chunk]
            rows = (torch.arange(start, start + len(part), device=flat.device) + shift) % len(flat)
            total += float((part - flat[rows]).square_().sum(dim=1).double().sqrt().sum())
    return total / (len(flat) * len(shifts))


def ms_ssim_scales(side: int) -> int:
    """Scales at which images of this side can be compared: the last has a side of two kernels at least."""
    scales = 0
    while scales < len(SSIM_WEIGHTS) and side >= 2 * SSIM_KERNEL:
        scales, side = scales + 1, side // 2
    return scales


def pair_ms_ssim(images: Tensor) -> float:
    """Mean multi-scale structural similarity of 500 random pairs of images: high where all look alike.

    Kernel 7 with a standard deviation of 1.5; as many scales as the size allows (three at 64×64), with the
    first of the five published weights, made to sum to one. Negative contrast terms count as zero.

    Args:
        images: (N, C, H, W) in [-1, 1] and in random order, at least 2, with a side of at least 14.

    Raises:
        ValueError: images too small.

    Source: Wang, Simoncelli and Bovik 2003; its use for diversity is Odena et al. 2017, section 4.2.
    """
    scales = ms_ssim_scales(min(images.shape[2:]))
    if not scales:
        raise ValueError(
            f"this score needs images of at least {2 * SSIM_KERNEL} pixels a side, but these have "
            f"{min(images.shape[2:])}."
        )
    count = min(NUM_SSIM_PAIRS, len(images))
    across = (torch.arange(count, device=images.device) + len(images) // 2) % len(images)
    one, other = ((some.float() + 1) / 2 for some in (images[:count], images[across]))
    weights = torch.tensor(SSIM_WEIGHTS[:scales], dtype=torch.float64, device=images.device)
    weights /= weights.sum()
    chunk = max(1, _chunk(images) // 5)
    pairs = zip(torch.split(one, chunk), torch.split(other, chunk), strict=True)
    return sum(float(_ms_ssim(x, y, weights).sum()) for x, y in pairs) / count


def _chunk(images: Tensor) -> int:
    """How many images to look at together."""
    return max(1, _CHUNK_VALUES // images[0].numel())


def _ms_ssim(one: Tensor, other: Tensor, weights: Tensor) -> Tensor:
    """(P,) similarity of pairs of images in [0, 1]."""
    result = torch.ones(len(one), dtype=torch.float64, device=one.device)
    for scale, weight in enumerate(weights):
        luminance, contrast = _ssim(one, other)
        term = luminance * contrast if scale == len(weights) - 1 else contrast
        result *= term.mean(dim=(1, 2, 3)).double().clamp_min(0.0) ** weight
        one, other = F.avg_pool2d(one, 2), F.avg_pool2d(other, 2)
    return result


def _ssim(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance and contrast-structure maps of images in [0, 1]."""
    stacked = torch.cat([one, other, one * one, other * other, one * other], dim=1)
    channels = one.shape[1]
    mean, mean_, square, square_, product = torch.split(_smoothed(stacked), channels, dim=1)
    variance, variance_ = square - mean * mean, square_ - mean_ * mean_
    covariance = product - mean * mean_
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean * mean_ + c1) / (mean * mean + mean_ * mean_ + c1)
    return luminance, (2 * covariance + c2) / (variance + variance_ + c2)


def _smoothed(images: Tensor) -> Tensor:
    """Gaussian means over windows that lie inside of the image: banded matrices from both sides."""
    rows, columns = (_window_matrix(size, images) for size in images.shape[2:])
    return rows @ images @ columns.T


def _window_matrix(size: int, like: Tensor) -> Tensor:
    places = torch.arange(size, dtype=like.dtype, device=like.device)
    offsets = places - places[: size - SSIM_KERNEL + 1, None] - SSIM_KERNEL // 2
    taps = torch.exp(-offsets.square() / (2 * SSIM_SD**2)) * (offsets.abs() <= SSIM_KERNEL // 2)
    return taps / taps.sum(dim=1, keepdim=True)
