"""How far generated points are from real ones: w2, sliced_w2, and mean distances.

Shapes: fake (N, 2), real (M, 2), directions (L, 2); everything float64.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist, pdist

__all__ = ["directions", "interval_means", "mean_distance", "sliced_w2", "sorted_projections", "w2"]

Array = NDArray[np.float64]

NUM_DIRECTIONS = 500


def w2(fake: Array, real: Array) -> float:
    """Exact 2-Wasserstein distance of two samples of equal size n.

    W2² = min over permutations π of (1/n) Σ ‖x_i − y_π(i)‖², solved as an assignment. Of samples of unequal
    size the first n = min(N, M) rows count, which is fair where rows come in random order, as ours do.

    Args:
        fake: (N, 2) generated points.
        real: (M, 2) real points.

    Returns:
        The distance, in data units; two samples of the same law leave a floor above 0.

    Source: Villani 2009, ch. 6; Jonker-Volgenant assignment by `scipy.optimize.linear_sum_assignment`.
    """
    size = min(len(fake), len(real))
    cost = cdist(fake[:size], real[:size], "sqeuclidean")
    return float(np.sqrt(cost[linear_sum_assignment(cost)].mean()))


@lru_cache(maxsize=4)
def directions(count: int = NUM_DIRECTIONS) -> Array:
    """(count, 2) unit vectors, evenly spaced over the half circle: θ and θ + π give the same distance."""
    angles = np.pi * np.arange(count) / count
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    vectors.setflags(write=False)
    return vectors


def sorted_projections(points: Array) -> Array:
    """(L, N): the points' coordinates along each of `directions`, each row sorted."""
    return np.sort(directions() @ points.T, axis=1)


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


def sliced_w2(ordered: Array, means: Array, rest: float) -> float:
    """Sliced 2-Wasserstein distance, SW2 = √(mean over directions θ of W2²(θ·x, θ·y)).

    In one dimension W2² = ∫ (Q_x(u) − Q_y(u))² du over the quantile functions: sort and compare. Samples of
    unequal size are compared exactly too: with y's mean q_i over the interval ((i−1)/N, i/N),
    W2² = (1/N) Σ (x_(i) − q_i)² + (mean of Q_y² − mean of q²). A shift by δ gives SW2² = ‖δ‖²/2.

    Args:
        ordered: (L, N) `sorted_projections` of the generated points x.
        means: (L, N) `interval_means` of the real points' projections over N intervals, the q_i.
        rest: what these leave out.

    Returns:
        The distance, in data units; two samples of the same law leave a floor above 0.

    Source: Bonneel et al. 2015, eq. 8. Departure: evenly spaced directions for random ones; the average over
    them is then exact for shifts, and free of noise.
    """
    gaps = ordered - means
    return math.sqrt(max(float((gaps**2).mean()) + rest, 0.0))


def mean_distance(points: Array) -> float:
    """Mean distance of two different points of a sample, 2/(N(N−1)) Σ_{i<j} ‖x_i − x_j‖."""
    return float(pdist(points).mean())
