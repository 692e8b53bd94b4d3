"""Bins of the reals: is there any region that generated samples leave out?

Shapes: fake (N, d), real (M, d), centres (B, d); everything float64. Points are numpy arrays, d = 2;
embeddings are tensors on any one device.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2, vq
from torch import Tensor

__all__ = [
    "EXPECTED_SHARE",
    "Bins",
    "bin_recall",
    "fit_bins",
    "ndb",
    "nearest_bins",
    "point_bin_counts",
    "point_bins",
    "surplus",
]

A = TypeVar("A")
Array = NDArray[np.float64]

NUM_BINS = 50
EXPECTED_SHARE = 0.2
"""Share of its expected mass from which a bin, a mode or a class counts as there."""

_REALS_PER_BIN = 10
_CHUNK = 1024
_KMEANS_ROUNDS = 25
_SEED = 0


def bin_recall(fake_counts: NDArray[np.intp], real_counts: NDArray[np.intp]) -> float:
    """Share of bins in which fakes reach 20 % of the mass that the reals lead one to expect.

    Args:
        fake_counts: (B,) fakes in each bin.
        real_counts: (B,) reals in each bin.

    Returns:
        A share: 1 where nothing is missing, 1/B for a point mass.

    Source: Richardson and Weiss 2018 (bins); the threshold, in place of their test, is ours.
    """
    expected = real_counts / real_counts.sum() * fake_counts.sum()
    return float((fake_counts >= EXPECTED_SHARE * expected).mean())


def surplus(shares: Array, due: Array) -> float:
    """What the part with the most too much has taken of all that is due to the others, (p − q)/(1 − q).

    Unlike p/q it means the same however many parts there are.

    Args:
        shares: (B,) share p of the samples that each part has.
        due: (B,) share q that it should have.

    Returns:
        0 for right shares, and where there is only one part or the surplus is outside of those given; 1 where
        one part has all.
    """
    others = 1 - due
    return max(0.0, float(np.divide(shares - due, others, out=np.zeros_like(due), where=others > 0).max()))


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


@dataclass(frozen=True, kw_only=True, eq=False)
class Bins(Generic[A]):
    """K-means bins of real points or embeddings.

    Attributes:
        centres: (B, d).
        counts: (B,) reals nearest to each centre, all above 0.
    """

    centres: A
    counts: A


def _num_bins(count: int, num_real: int) -> int:
    """At most one bin for ten reals."""
    return max(1, min(count, num_real // _REALS_PER_BIN))


def point_bins(real: Array, count: int = NUM_BINS) -> Bins[NDArray[Any]]:
    """Bins of points in the plane by k-means, with k-means++ from a fixed seed.

    Args:
        real: (M, 2); with fewer than ten a bin, or fewer different ones than bins, there are fewer bins.
        count: bins, at most.
    """
    bins = min(_num_bins(count, len(real)), len(np.unique(real, axis=0)))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="One of the clusters is empty", category=UserWarning)
        centres, _ = kmeans2(real, bins, iter=100, minit="++", rng=np.random.default_rng(_SEED))
    counts = point_bin_counts(real, centres)
    return Bins(centres=centres[counts > 0], counts=counts[counts > 0])


def point_bin_counts(points: Array, centres: Array) -> NDArray[np.intp]:
    """(B,) how many of the `points`, (N, 2), are nearest to each of the `centres`, (B, 2)."""
    nearest, _ = vq(points, centres)
    return np.bincount(nearest, minlength=len(centres))


def fit_bins(real: Tensor, count: int = NUM_BINS) -> Bins[Tensor]:
    """Bins of embeddings by k-means: k-means++ from a fixed seed, then 25 rounds.

    Args:
        real: (M, d); with fewer than ten a bin there are fewer bins.
        count: bins, at most.
    """
    points = real.double().cpu()
    count = _num_bins(count, len(points))
    random = np.random.RandomState(_SEED)
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
    """(N,) which of the `centres`, (B, d), is nearest to each of the `points`, (N, d); of several, the first.

    Distances are taken from the differences, so that equal points go to the same bin whatever is beside them.
    """
    mode = "donot_use_mm_for_euclid_dist"
    parts = torch.split(points, _CHUNK)
    return torch.cat([torch.cdist(part, centres, compute_mode=mode).argmin(dim=1) for part in parts])
