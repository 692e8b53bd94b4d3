"""Precision, recall, density, coverage and bins in an embedding: `coverage`'s scores in many dimensions.

Shapes: fake (N, d), real (M, d) embeddings, centres (B, d); everything float64, on the embedding's device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.metrics.points.coverage import NEIGHBOURS, NUM_BINS, Neighbours

__all__ = [
    "Bins",
    "expected_coverage",
    "fit_bins",
    "found_neighbours",
    "ndb",
    "nearest_bins",
    "pairwise",
    "radii",
]

_CHUNK = 1024
_KMEANS_ROUNDS = 25
_KMEANS_SEED = 0
_POINTS_PER_BIN = 10


def pairwise(x: Tensor, y: Tensor) -> Tensor:
    """(N, M) Euclidean distances, by rows of 1024 so that work space stays small."""
    return torch.cat([torch.cdist(part, y) for part in torch.split(x, _CHUNK)])


def radii(within: Tensor, k: int = NEIGHBOURS) -> Tensor:
    """(N,) distance of every sample to its k-th nearest other one, from the (N, N) distances within."""
    return torch.cat(
        [part.topk(k + 1, dim=1, largest=False).values[:, k] for part in torch.split(within, _CHUNK)]
    )


def found_neighbours(
    between: Tensor, fake_radii: Tensor, real_radii: Tensor, k: int = NEIGHBOURS
) -> Neighbours:
    """Precision, recall, density and coverage from distances and radii.

    Args:
        between: (N, M) distances of fakes to reals.
        fake_radii: (N,) from `radii`.
        real_radii: (M,) from `radii`.
        k: the neighbour that the radii are of.

    Source: Kynkäänniemi et al. 2019; Naeem et al. 2020.
    """
    inside = between < real_radii
    return Neighbours(
        precision=float(inside.any(dim=1).double().mean()),
        recall=float((between < fake_radii[:, None]).any(dim=0).double().mean()),
        density=int(inside.sum()) / (k * len(between)),
        coverage=float(inside.any(dim=0).double().mean()),
    )


def expected_coverage(num_fake: int, num_real: int, k: int = NEIGHBOURS) -> float:
    """Mean coverage of fakes of the reals' own law, 1 − Π_{i=1..k} (M − i)/(N + M − i).

    Source: Naeem et al. 2020, lemma 2.
    """
    return 1 - math.prod((num_real - i) / (num_fake + num_real - i) for i in range(1, k + 1))


@dataclass(frozen=True, kw_only=True, eq=False)
class Bins:
    """K-means bins of real embeddings.

    Attributes:
        centres: (B, d).
        counts: (B,) reals nearest to each centre, all above 0.
    """

    centres: Tensor
    counts: Tensor


def fit_bins(real: Tensor, num_bins: int = NUM_BINS) -> Bins:
    """Bins of the reals by k-means: k-means++ from a fixed seed, then 25 rounds.

    Args:
        real: (M, d); with fewer than ten a bin there are fewer bins.
    """
    points = real.double().cpu()
    count = max(1, min(num_bins, len(points) // _POINTS_PER_BIN))
    random = np.random.RandomState(_KMEANS_SEED)
    centres = points[random.randint(len(points))][None]
    gap = (points - centres).square().sum(dim=1)
    while len(centres) < count and float(gap.max()) > 0:
        share = (gap / gap.sum()).numpy().cumsum()
        chosen = points[min(int(np.searchsorted(share, random.uniform())), len(points) - 1)][None]
        centres = torch.cat([centres, chosen])
        gap = torch.minimum(gap, (points - chosen).square().sum(dim=1))
    for _ in range(_KMEANS_ROUNDS):
        nearest = nearest_bins(points, centres)
        sizes = torch.bincount(nearest, minlength=len(centres))
        sums = torch.zeros_like(centres).index_add_(0, nearest, points)
        moved = torch.where(sizes[:, None] > 0, sums / sizes.clamp_min(1)[:, None], centres)
        if torch.equal(moved, centres):
            break
        centres = moved
    counts = torch.bincount(nearest_bins(points, centres), minlength=len(centres))
    filled = counts > 0
    return Bins(centres=centres[filled].to(real.device), counts=counts[filled].to(real.device))


def nearest_bins(points: Tensor, centres: Tensor) -> Tensor:
    """(N,) the nearest centre of every embedding."""
    return torch.cat([torch.cdist(part, centres).argmin(dim=1) for part in torch.split(points, _CHUNK)])


def ndb(fake_counts: Tensor, real_counts: Tensor, z: float = 1.96) -> float:
    """Share of bins whose mass differs significantly, each by a two-proportion z test at 5 %.

    z_b = (p̂_b − q̂_b) / sqrt(p(1 − p)(1/N + 1/M)) with the pooled share p. Samples of one law
    leave about 0.05.

    Args:
        fake_counts: (B,) fakes in each bin.
        real_counts: (B,) reals in each bin.
        z: the difference in standard errors that counts.

    Source: Richardson and Weiss 2018, section 3.
    """
    fakes, reals = fake_counts.double(), real_counts.double()
    n, m = float(fakes.sum()), float(reals.sum())
    pooled = (fakes + reals) / (n + m)
    error = (pooled * (1 - pooled) * (1 / n + 1 / m)).sqrt().clamp_min(1e-300)
    return float(((fakes / n - reals / m).abs() > z * error).double().mean())
