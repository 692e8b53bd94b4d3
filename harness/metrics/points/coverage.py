"""How much of the real points the generated ones cover: neighbours, bins, pairwise distances.

Shapes: fake (N, 2), real (M, 2), centres (B, 2); everything float64.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.cluster.vq import kmeans2, vq
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

from harness.metrics.checks import Array, as_points
from harness.metrics.points.distances import mean_distance

__all__ = [
    "EXPECTED_SHARE",
    "NEIGHBOURS",
    "Neighbours",
    "bin_centres",
    "bin_counts",
    "bin_recall",
    "compare_counts",
    "neighbour_radii",
    "neighbours",
    "neighbours_within",
    "pair_distance",
]

NEIGHBOURS = 5
NUM_BINS = 50
EXPECTED_SHARE = 0.2
_POINTS_PER_BIN = 10


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """Four scores from nearest neighbours.

    Attributes:
        precision: share of fakes inside the neighbourhood of some real.
        recall: share of reals inside the neighbourhood of some fake.
        density: mean number of reals' neighbourhoods that a fake lies in, over k.
        coverage: share of reals whose neighbourhood holds a fake.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def neighbour_radii(points: Array, k: int = NEIGHBOURS) -> Array:
    """(N,) distance of every point to its k-th nearest neighbour within the sample, itself not counted."""
    found, _ = KDTree(points).query(points, k=[k + 1])
    return np.asarray(found, dtype=np.float64)[:, 0]


def neighbours_within(
    between: Array, fake_radii: Array, real_radii: Array, k: int = NEIGHBOURS
) -> Neighbours:
    """`neighbours` from the (N, M) distances of fakes to reals and the radii of both."""
    inside = between < real_radii
    return Neighbours(
        precision=float(inside.any(axis=1).mean()),
        recall=float((between < fake_radii[:, None]).any(axis=0).mean()),
        density=float(np.count_nonzero(inside) / (k * len(between))),
        coverage=float(inside.any(axis=0).mean()),
    )


def neighbours(fake: ArrayLike, real: ArrayLike, *, k: int = NEIGHBOURS) -> Neighbours:
    """Precision, recall, density and coverage from nearest neighbours.

    The neighbourhood of a point is the open ball to its k-th nearest neighbour in its own sample. Under one
    law E[coverage] = 1 − Π_{i=1..k} (M − i)/(N + M − i) and E[density] = 1, whatever the law. In many
    dimensions points that huddle inside of modes raise density far above 1; in the plane they hardly do.

    Args:
        fake: (N, 2) generated points.
        real: (M, 2) real points.
        k: which neighbour sets the radius.

    Raises:
        ValueError: another shape, k or fewer points, or a coordinate that is not finite.

    Source: Kynkäänniemi et al. 2019 (precision, recall); Naeem et al. 2020, eqs. 4 and 5, lemma 2.
    """
    x, y = as_points(fake, "generated", k + 1), as_points(real, "real", k + 1)
    return neighbours_within(cdist(x, y), neighbour_radii(x, k), neighbour_radii(y, k), k)


def bin_centres(real: Array, count: int = NUM_BINS, seed: int = 0) -> Array:
    """(B, 2) k-means centres of the reals, by k-means++ and a fixed seed.

    There are fewer than `count` where the sample is small (ten reals a bin) or has fewer different points.
    """
    distinct = len(np.unique(real, axis=0))
    bins = max(1, min(count, len(real) // _POINTS_PER_BIN, distinct))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="One of the clusters is empty", category=UserWarning)
        centres, _ = kmeans2(real, bins, iter=100, minit="++", rng=np.random.default_rng(seed))
    filled = bin_counts(real, centres) > 0
    kept: Array = np.asarray(centres, dtype=np.float64)[filled]
    return kept


def bin_counts(points: Array, centres: Array) -> NDArray[np.intp]:
    """(B,) number of points nearest to each centre."""
    nearest, _ = vq(points, centres)
    return np.bincount(nearest, minlength=len(centres))


def compare_counts(fake_counts: NDArray[np.intp], real_counts: NDArray[np.intp]) -> float:
    """Share of bins in which fakes reach `EXPECTED_SHARE` of the mass that the reals lead one to expect."""
    expected = real_counts / real_counts.sum() * fake_counts.sum()
    return float((fake_counts >= EXPECTED_SHARE * expected).mean())


def bin_recall(fake: ArrayLike, real: ArrayLike, *, num_bins: int = NUM_BINS) -> float:
    """Share of k-means bins of the reals that hold at least 20 % of their expected mass of fakes.

    Args:
        fake: (N, 2) generated points.
        real: (M, 2) real points; the bins are made from these, always in the same way.
        num_bins: bins, at most one for ten reals.

    Returns:
        A share: 1 where nothing is missing, 1/num_bins for a point mass.

    Raises:
        ValueError: another shape, fewer than 20 reals, no fakes, or a coordinate that is not finite.

    Source: Richardson and Weiss 2018 (bins); the threshold, in place of their test, is ours.
    """
    x, y = as_points(fake, "generated"), as_points(real, "real", 2 * _POINTS_PER_BIN)
    centres = bin_centres(y, num_bins)
    return compare_counts(bin_counts(x, centres), bin_counts(y, centres))


def pair_distance(fake: ArrayLike, real: ArrayLike) -> float:
    """Mean distance of two fakes over that of two reals: 1 for the right spread, 0 for a point mass.

    Args:
        fake: (N, 2) generated points.
        real: (M, 2) real points, not all the same.

    Raises:
        ValueError: another shape, fewer than 2 points, a non-finite coordinate, or reals without spread.
    """
    x, y = as_points(fake, "generated", 2), as_points(real, "real", 2)
    spread = mean_distance(y)
    if spread == 0:
        raise ValueError("the real points are all the same, so no distance can be related to theirs.")
    return mean_distance(x) / spread
