"""Scores against a known mixture: modes, modes_hit, mode_recall and the like.

A point counts for the nearest part by Mahalanobis distance, and only if it is of high quality: within three
standard deviations. Shapes: fake (N, 2), C parts; everything float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import rel_entr

from harness.data import Mixture
from harness.distances.bins import EXPECTED_SHARE, surplus
from harness.metrics.checks import Array, as_points
from harness.metrics.groups import TooFewError

__all__ = [
    "Assignment",
    "assign",
    "high_quality",
    "mode_kl",
    "mode_recall",
    "mode_surplus",
    "modes",
    "modes_hit",
    "short_axis_sd",
    "thinness",
    "true_short_axis_sd",
]

RADIUS = 3.0
"""Standard deviations from a centre within which a point is of high quality."""

OUTSIDE = math.exp(-(RADIUS**2) / 2)
"""Share of a Gaussian in the plane outside of that radius: 1.11 %."""

MIN_POINTS = 10
"""Points below which a part's width, or its share of the points, is not estimated."""

_REFERENCE_POINTS, _REFERENCE_SEED = 200_000, 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Assignment:
    """Which part every point counts for.

    Attributes:
        points: (N, 2) the points.
        part: (N,) the nearest part.
        good: (N,) whether it is within three standard deviations.
        counts: (C,) high-quality points of each part.
    """

    points: Array
    part: NDArray[np.intp]
    good: NDArray[np.bool_]
    counts: NDArray[np.intp]


def assign(fake: ArrayLike, mixture: Mixture) -> Assignment:
    """Give every point to its nearest part.

    Args:
        fake: (N, 2) generated points.
        mixture: the truth.

    Raises:
        ValueError: another shape, no points, or a coordinate that is not finite.
    """
    points = as_points(fake, "generated")
    distance, part = mixture.nearest_part(points)
    good = distance <= RADIUS
    return Assignment(
        points=points, part=part, good=good, counts=np.bincount(part[good], minlength=len(mixture))
    )


def modes(found: Assignment, mixture: Mixture) -> int:
    """Parts that hold at least 20 % of their expected number of points, w_c N, counting high quality only.

    Args:
        found: the generated points, from `assign`.
        mixture: the truth.

    Source: after Srivastava et al. 2017 (VEEGAN) and Lin et al. 2018 (PacGAN), who count a part from one
    point on: that is `modes_hit`.
    """
    return int((found.counts >= EXPECTED_SHARE * mixture.weights * len(found.points)).sum())


def mode_recall(found: Assignment, mixture: Mixture) -> float:
    """Share of parts that hold at least 20 % of their expected share of the high-quality points.

    Unlike `modes` it does not fall with the share of points that are of high quality.

    Args:
        found: the generated points, from `assign`.
        mixture: the truth.

    Raises:
        TooFewError: fewer than ten points of high quality a part.
    """
    return float((_shares(found, mixture) >= EXPECTED_SHARE * mixture.weights).mean())


def mode_surplus(found: Assignment, mixture: Mixture) -> float:
    """What the most favoured part has too much of the high-quality points, over the most that it could.

    Args:
        found: the generated points, from `assign`.
        mixture: the truth.

    Returns:
        A share: about 0 for a perfect sampler, 1 where all of those points are of one part.

    Raises:
        TooFewError: fewer than ten points of high quality a part.
    """
    return surplus(_shares(found, mixture), mixture.weights)


def _shares(found: Assignment, mixture: Mixture) -> Array:
    """(C,) each part's share of the high-quality points."""
    good, needed = int(found.counts.sum()), MIN_POINTS * len(mixture)
    if good < needed:
        raise TooFewError(
            f"only {good} generated points are of high quality, but the shares of {len(mixture)} clusters "
            f"need {needed}."
        )
    return found.counts / good


def modes_hit(found: Assignment) -> int:
    """Parts that hold at least one high-quality point.

    Args:
        found: the generated points, from `assign`.

    Source: Srivastava et al. 2017; Lin et al. 2018.
    """
    return int((found.counts > 0).sum())


def high_quality(found: Assignment) -> float:
    """Share of points within three standard deviations of a part.

    A perfect sampler of separate parts has 1 − e^(−9/2) = 98.89 %; where parts overlap, a little more.

    Args:
        found: the generated points, from `assign`.

    Source: Srivastava et al. 2017; Mahalanobis for their Euclidean distance, since parts may be elongated.
    """
    return float(found.good.mean())


def mode_kl(found: Assignment, mixture: Mixture) -> float:
    """Reverse KL divergence of the histogram over parts, Σ p ln(p/q), with one more bin for "outside of all".

    q_c = w_c (1 − e^(−9/2)) and q_outside = e^(−9/2). The outside bin makes the score see poor quality,
    and keeps it finite when no point is good: at most the larger of 9/2 and −ln min q.

    Args:
        found: the generated points, from `assign`.
        mixture: the truth.

    Returns:
        The divergence in nats; about C/(2N) for a perfect sampler of separate parts, and ln 2 × 0.989 when it
        drops half of them.

    Source: Lin et al. 2018, section 4; the bin for points outside is ours.
    """
    counts = np.append(found.counts, len(found.points) - found.counts.sum())
    expected = np.append(mixture.weights * (1 - OUTSIDE), OUTSIDE)
    return float(rel_entr(counts / counts.sum(), expected).sum())


def short_axis_sd(found: Assignment, mixture: Mixture) -> Array:
    """(C,) standard deviation of each part's high-quality points along the part's true short axis.

    It is taken about their own mean, and is NaN where a part has fewer than `MIN_POINTS` of them.

    Args:
        found: the generated points, from `assign`.
        mixture: the truth.
    """
    axes, _ = mixture.short_axes()
    deviations = np.full(len(mixture), np.nan)
    for part in np.flatnonzero(found.counts >= MIN_POINTS):
        mine = found.points[found.good & (found.part == part)]
        deviations[part] = (mine @ axes[part]).std(ddof=1)
    return deviations


def true_short_axis_sd(mixture: Mixture) -> Array:
    """(C,) `short_axis_sd` of the mixture itself, from 200,000 fixed draws.

    Cutting at three standard deviations takes 2.6 % off a Gaussian's, and parts that overlap swap points at
    their edges. The truth is measured in the same way, so that a perfect sampler scores 1.
    """
    shares = np.maximum(np.round(mixture.weights * _REFERENCE_POINTS), 10 * MIN_POINTS)
    return short_axis_sd(assign(mixture.draw(shares.astype(np.intp), _REFERENCE_SEED), mixture), mixture)


def thinness(found: Assignment, mixture: Mixture, truth: Array | None = None) -> float:
    """Short-axis standard deviation of the generated parts over the true one, averaged over parts.

    A shift of a part does not count, only its width. Parts with fewer than 10 high-quality points are left
    out; that they are missing is for `modes` to say.

    Args:
        found: the generated points, from `assign`.
        mixture: the truth.
        truth: (C,) `true_short_axis_sd(mixture)`, where it is known already.

    Returns:
        A ratio: 1 for the right width, below 1 for thinner parts, and 0 where no part has enough points.
    """
    reference = true_short_axis_sd(mixture) if truth is None else truth
    ratios = short_axis_sd(found, mixture) / reference
    measured = ratios[np.isfinite(ratios)]
    return float(measured.mean()) if len(measured) else 0.0
