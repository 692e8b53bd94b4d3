"""How far generated points are from real ones: w2, sliced_w2, mmd2, d_auc.

Shapes: fake (N, 2), real (M, 2), directions (L, 2); everything float64.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist, pdist

from harness.metrics.checks import Array, as_points, as_scores

__all__ = [
    "d_auc",
    "directions",
    "energy",
    "interval_means",
    "mean_distance",
    "mmd2",
    "sliced_w2",
    "sliced_w2_to",
    "sorted_projections",
    "w2",
]

NUM_DIRECTIONS = 500


def w2(fake: ArrayLike, real: ArrayLike) -> float:
    """Exact 2-Wasserstein distance of two samples of equal size n.

    W2² = min over permutations π of (1/n) Σ ‖x_i − y_π(i)‖², solved as an assignment. Of samples of unequal
    size the first n = min(N, M) rows count, which is fair where rows come in random order, as ours do.

    Args:
        fake: (N, 2) generated points.
        real: (M, 2) real points.

    Returns:
        The distance, in data units; two samples of the same law leave a floor above 0.

    Raises:
        ValueError: another shape, no points, or a coordinate that is not finite.

    Source: Villani 2009, ch. 6; Jonker-Volgenant assignment by `scipy.optimize.linear_sum_assignment`.
    """
    x, y = as_points(fake, "generated"), as_points(real, "real")
    size = min(len(x), len(y))
    cost = cdist(x[:size], y[:size], "sqeuclidean")
    return float(np.sqrt(cost[linear_sum_assignment(cost)].mean()))


@lru_cache(maxsize=4)
def directions(count: int = NUM_DIRECTIONS) -> Array:
    """(count, 2) unit vectors, evenly spaced over the half circle: θ and θ + π give the same distance."""
    angles = np.pi * np.arange(count) / count
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    vectors.setflags(write=False)
    return vectors


def sorted_projections(points: Array, along: Array) -> Array:
    """(L, N): the points' coordinates along each direction, each row sorted."""
    return np.sort(along @ points.T, axis=1)


def interval_means(ordered: Array, count: int) -> tuple[Array, float]:
    """Means of the empirical quantile function over `count` equal intervals, and what they leave out.

    With Q the step function of a row's M sorted values, q_i = count · ∫ Q over ((i−1)/count, i/count).

    Args:
        ordered: (L, M) sorted rows.
        count: number of intervals.

    Returns:
        (L, count) means; and the variance within intervals, mean of Q² less mean of q², averaged over rows.
    """
    size = ordered.shape[1]
    if size == count:
        return ordered, 0.0
    integral = np.concatenate([np.zeros((len(ordered), 1)), ordered.cumsum(axis=1)], axis=1) / size
    position = np.arange(count + 1) * (size / count)
    left = np.minimum(position.astype(np.intp), size - 1)
    part = position - left
    at_edges = integral[:, left] * (1 - part) + integral[:, left + 1] * part
    means: Array = np.diff(at_edges, axis=1) * count
    return means, float((ordered**2).mean() - (means**2).mean())


def sliced_w2_to(ordered: Array, means: Array, rest: float) -> float:
    """`sliced_w2` of fakes' `sorted_projections` to reals of known `interval_means` over N intervals."""
    gaps = ordered - means
    return math.sqrt(max(float((gaps**2).mean()) + rest, 0.0))


def sliced_w2(fake: ArrayLike, real: ArrayLike, *, num_directions: int = NUM_DIRECTIONS) -> float:
    """Sliced 2-Wasserstein distance, SW2 = √(mean over directions θ of W2²(θ·x, θ·y)).

    In one dimension W2² = ∫ (Q_x(u) − Q_y(u))² du over the quantile functions: sort and compare. Samples of
    unequal size are compared exactly too: with y's mean q_i over the interval ((i−1)/N, i/N),
    W2² = (1/N) Σ (x_(i) − q_i)² + (mean of Q_y² − mean of q²). A shift by δ gives SW2² = ‖δ‖²/2.

    Args:
        fake: (N, 2) generated points.
        real: (M, 2) real points.
        num_directions: directions, evenly spaced over the half circle and always the same.

    Returns:
        The distance, in data units; two samples of the same law leave a floor above 0.

    Raises:
        ValueError: another shape, no points, or a coordinate that is not finite.

    Source: Bonneel et al. 2015, eq. 8. Departure: evenly spaced directions for random ones; the average over
    them is then exact for shifts, and free of noise.
    """
    x, y = as_points(fake, "generated"), as_points(real, "real")
    along = directions(num_directions)
    return sliced_w2_to(sorted_projections(x, along), *interval_means(sorted_projections(y, along), len(x)))


def mean_distance(points: Array) -> float:
    """Mean distance of two different points of a sample, 2/(N(N−1)) Σ_{i<j} ‖x_i − x_j‖."""
    return float(pdist(points).mean())


def energy(between: float, within_fake: float, within_real: float) -> float:
    """Energy distance 2 E‖x − y‖ − E‖x − x'‖ − E‖y − y'‖ from its three means."""
    return 2 * between - within_fake - within_real


def mmd2(fake: ArrayLike, real: ArrayLike) -> float:
    """Unbiased squared maximum mean discrepancy with the energy kernel k(x, y) = −‖x − y‖.

    MMD² = 2 E‖x − y‖ − E‖x − x'‖ − E‖y − y'‖, pairs of a point with itself left out. Its mean is 0 where both
    samples have the same law, so it can be negative, and is not clamped.

    Args:
        fake: (N, 2) generated points.
        real: (M, 2) real points.

    Returns:
        The discrepancy, in data units.

    Raises:
        ValueError: another shape, fewer than 2 points, or a coordinate that is not finite.

    Source: Székely and Rizzo 2013, eq. 2.1; Gretton et al. 2012, eq. 3 for the unbiased estimate.
    """
    x, y = as_points(fake, "generated", 2), as_points(real, "real", 2)
    return energy(float(cdist(x, y).mean()), mean_distance(x), mean_distance(y))


def d_auc(real_scores: ArrayLike, fake_scores: ArrayLike) -> float:
    """Area under D's ROC curve, P(D(real) > D(fake)) + ½ P(D(real) = D(fake)).

    Only the order of the scores counts, so it means the same for logits, probabilities and critics.

    Args:
        real_scores: (M,) D's scores of held-out reals.
        fake_scores: (N,) D's scores of fresh fakes.

    Returns:
        A probability: 0.5 where D cannot tell, 1 where it always can.

    Raises:
        ValueError: another shape, no scores, or one that is not finite.

    Source: Mann and Whitney 1947; Hanley and McNeil 1982.
    """
    real, fake = as_scores(real_scores, "real"), as_scores(fake_scores, "generated")
    ordered = np.sort(fake)
    below, not_above = ordered.searchsorted(real, "left"), ordered.searchsorted(real, "right")
    return float((below + not_above).mean() / (2 * len(fake)))
