"""Intervals, paired tests and decisions: pure functions of a few numbers per arm.

An arm has one value a seed, and arms are compared seed by seed. Few seeds is the normal case here: every
formula is chosen for what it does with three to twenty values, and what it cannot do is said rather than
smoothed over.

    summary      mean and interquartile mean (IQM), each with its 95 % interval
    comparison   pseudo-median of the paired differences, exact signed-rank test, Holm's correction over the
                 arms of the study, the interval that this test gives, probability of improvement
    decision     better, worse, undecided, or too-few-seeds

What arms of one seed share: the initial weights as far as their networks are the same, the order of the real
data, and the latents that they are judged by. Real data come in the same batches where batches are of one
size, whatever the ratio of D to G steps. The training noise, and the classes asked for, are the same only
between arms that draw as many batches of it in an iteration (D steps plus G steps, one less with
`reuse_fakes`), of one size and with latents of one length: arms with other ratios see other noise. The test
needs none of it; what is not shared only makes differences wider.

Everything below is from simulated seeds, `python tests/benchmarks/intervals.py`. sd is that of the runs that
did not fail; the standard error is 0.2 to 0.4 percent points, of the IQM's 0.5.

95 % intervals hold the mean, in percent, at n =
                                3     4     5     6     8    10    15    20
    normal                   97.0  96.9  96.5  96.8  96.3  96.1  96.0  95.5
    log-normal, σ = 0.5      95.5  94.8  94.3  94.8  95.0  94.8  95.2  95.2
    log-normal, σ = 1        89.7  89.6  89.5  91.2  91.3  92.0  92.8  93.5
    t, 2 degrees             98.0  97.9  97.6  97.7  97.0  97.0  96.8  96.4
    30 % fail, 10 sd off     79.5  81.8  84.8  89.7  94.6  97.3  98.9  98.8
    10 % fail, 10 sd off     91.6  87.6  82.7  80.6  75.8  75.2  80.6  87.6
    10 % fail, 100 sd off    29.2  34.9  40.4  47.3  57.1  65.6  79.2  87.6
      at most                27.1  34.4  41.0  46.9  57.0  65.1  79.4  87.8

No formula made of the n values can know of failures that did not happen: with a tenth of the runs failing,
0.9ⁿ of all samples show none, and the last line is what is left (three values can do a little better by being
wide). Twenty seeds see a tenth fail with 88 %. So the mean's interval is about the failures that were seen,
and how often runs fail has an exact interval of its own (`binomial_interval`; 0 of 8 may be 37 %). One failed
run more in every sample would cover 99 % of these means, but where none has failed it makes intervals of
eight values 2.6 times as wide (25 times where failures are 100 sd off), and must know what a failure costs.

How the mean's interval was chosen: of the candidates that cover at most 97.5 % of normal means (wider ones
would win by their width alone) and always have two ends, the one with the highest worst coverage over the
first four lines. Within the error of two that were equal, the narrower one.

                                           worst   width over Student's, of 5 and 20 normal values
    farther of t and Hall's by G₁ (chosen)  89.5   1.59  1.04
    farther of t and Hall's by 2 g₁         89.7   1.67  1.14
    farther of t and Hall's                 88.0   1.42  1.04
    Hall's                                  87.4   1.34  1.01
    t at 97.5 %                             86.0   1.26  1.16
    Johnson's t                             83.4   1.00  1.00
    Student's t                             81.3   1.00  1.00
    BCa, expanded                           64.8   0.92  1.00
    percentile bootstrap                    64.8   0.62  0.91
    empirical likelihood                    64.6   0.76  1.00
    bootstrap-t                             87.1   has no end at three values, 1.56 and 1.02
    t at 99 %                               90.6   1.66  1.37; covers 99.2 % of normal means

95 % intervals hold the interquartile mean, in percent, at n =
                                3     4     5     6     8    10    15    20
    normal                   96.6  96.8  92.5  95.3  97.7  96.8  95.7  96.2
    log-normal, σ = 0.5      96.1  96.7  92.7  95.4  97.6  96.7  95.5  96.4
    log-normal, σ = 1        95.3  96.4  92.2  95.3  97.5  96.7  95.5  96.0
    t, 2 degrees             98.2  98.4  92.5  95.3  97.6  96.9  96.0  96.4
    30 % fail, 10 sd off     89.5  90.0  86.6  90.4  95.1  96.8  94.5  95.6
    10 % fail, 10 sd off     97.0  97.7  92.5  95.3  97.6  96.8  96.2  96.1
    10 % fail, 100 sd off    97.0  97.7  92.5  95.3  97.6  96.8  96.2  96.1

By the same rule: the worst of the first four lines is 92.2; it is 90.2 for Tukey and McLaughlin's t of the
trimmed mean, and 88.1 for the mean's interval.

Decisions where no arm differs, two arms against a baseline: 2.1 to 5.3 % of studies (standard error 0.7)
call any arm better or worse at n = 7 to 20, of normal, log-normal, t₂ and failing values; with whole numbers,
which tie, 0.3 to 2.9 %. In none of 40,000 comparisons did interval and decision disagree, as they cannot by
the way the interval is made.

The interval of differences is about their pseudo-median. Where an arm's log-normal values (σ = 1) are e times
the baseline's, differences are skewed, and 95 % intervals hold the pseudo-median 94.1 to 96.7 % of the time
at n = 6 to 20, and the mean difference 81.0 % of the time at n = 20: the one is not the other.

The winner's curse, of the best of 12 trials of 2 seeds: by how many standard deviations of a seed the mean of
fresh seeds is worse than the value that the choice was made by, and in which percentage of searches it is
worse at all (eight fresh seeds), by how far the trials' true values spread in the same unit.
    spread                    0.0   0.5   1.0   2.0   5.0  20.0
    worse by                 1.15  0.94  0.66  0.38  0.17  0.04
    in percent of searches     99    94    82    69    59    52
    worse by, 10 % failing   2.08  1.88  1.62  1.33  0.99  0.34
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from harness.study.target import Target
from harness.words import rounded

__all__ = [
    "ALPHA",
    "Comparison",
    "Decision",
    "Interval",
    "binomial_interval",
    "compare",
    "fisher_test",
    "holm",
    "holm_levels",
    "interquartile_mean",
    "interval_of_iqm",
    "interval_of_mean",
    "mean",
    "min_num_pairs",
    "probability_of_improvement",
    "pseudo_median",
    "signed_rank_interval",
    "signed_rank_test",
]

ALPHA = 0.05
"""Level of the tests over a whole study, and one minus the confidence of the intervals."""

Decision: TypeAlias = Literal["better", "worse", "undecided", "too-few-seeds"]

_MIN_NUM_RESAMPLED = 5
_NUM_RESAMPLES = 9999
_SEED = 20_180_601
_STRAIGHT = 1e-5
"""A skewness over √n below which Hall's correction is less than rounding."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An interval, in the unit of what it is about. Both ends belong to it.

    Attributes:
        low: its lower end; NaN where the data cannot give one.
        high: its upper end; NaN likewise.
        confidence: how often such intervals are meant to hold what they are about, 0 to 1; NaN where there is
            no interval.
    """

    low: float
    high: float
    confidence: float = 1 - ALPHA

    @property
    def level(self) -> str:
        """The confidence in words, `97.5 %`; nothing where there is no interval."""
        if math.isnan(self.confidence):
            return ""
        text = f"{100 * self.confidence:.3g}"
        return f"{text if text != '100' else f'{100 * self.confidence:.6g}'} %"

    def within(self, least: float, most: float) -> Interval:
        """The part of it between the lowest and the highest value that what it is about can have.

        One that lies beyond them, by rounding say, stays as it is.

        Args:
            least: the lowest value; −∞ where there is none.
            most: the highest value; ∞ where there is none.
        """
        if math.isnan(self.low) or self.high < least or self.low > most:
            return self
        return replace(self, low=max(self.low, least), high=min(self.high, most))

    def in_words(self, *, sign: bool = False) -> str:
        """Both ends to three digits, `0.0193 to 0.0241`; nothing where there is no interval.

        Args:
            sign: whether positive numbers have a plus, for differences.
        """
        if math.isnan(self.low):
            return ""
        return f"{_end(self.low, sign)} to {_end(self.high, sign)}"


_NO_INTERVAL = Interval(low=math.nan, high=math.nan, confidence=math.nan)


def _end(value: float, sign: bool) -> str:
    """An end in words. One that is next to zero, and leaves it out, has no digits to show."""
    if 0 < abs(value) < np.finfo(np.float64).tiny:
        return "just above 0" if value > 0 else "just below 0"
    return rounded(value, sign=sign)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One arm against the baseline, by the differences (arm − baseline) of the seeds that both have finished.

    Attributes:
        arm: name of the arm.
        num_pairs: how many differences there are.
        num_unequal: how many of them are not zero; the test has no others to go by.
        difference: their pseudo-median (Hodges and Lehmann), which is what the test decides on, in the
            metric's unit.
        mean_difference: their mean, which one seed can carry far from it.
        interval: the interval of the pseudo-median that the test gives at the level that decided: 0 lies in
            it exactly where the arm was not found better or worse. With fewer pairs than that level takes it
            is the widest that there is, of the `confidence` that it says, and can leave 0 out though nothing
            is decided.
        p_value: exact two-sided signed-rank test of the differences.
        p_holm: the same, corrected for the study's number of comparisons.
        level: what `p_value` was held against: α over the number of comparisons left at Holm's step.
        probability_of_improvement: chance that a run of the arm beats one of the baseline.
        decision: what follows.
        min_num_pairs: unequal pairs that it takes at this level before `decision` can be better or worse.
    """

    arm: str
    num_pairs: int
    num_unequal: int
    difference: float
    mean_difference: float
    interval: Interval
    p_value: float
    p_holm: float
    level: float
    probability_of_improvement: float
    decision: Decision
    min_num_pairs: int


def mean(values: npt.ArrayLike) -> float:
    """Arithmetic mean of (n,) values; NaN if there are none, one is NaN, or infinities of both signs meet."""
    array = _vector(values)
    if not len(array):
        return math.nan
    if not np.isfinite(array).all():
        with np.errstate(invalid="ignore"):  # inf − inf
            return float(array.sum())
    try:
        return math.fsum(array) / len(array)
    except OverflowError:
        return math.fsum(array / len(array))


def interquartile_mean(values: npt.ArrayLike) -> float:
    """Mean of the middle half: ⌊n/4⌋ values are cut from each end, so up to three values it is the mean.

    One seed that failed moves it little, where the mean pays in full. With n not divisible by four, a little
    more than half is kept: 4 of 6, 4 of 8, 6 of 10.

    Args:
        values: (n,) values.

    Returns:
        The interquartile mean; NaN if there are no values.

    Source: Agarwal et al. (2021), "Deep Reinforcement Learning at the Edge of the Statistical Precipice";
        `scipy.stats.trim_mean` with proportiontocut=0.25.
    """
    from scipy import stats

    array = _vector(values)
    if not len(array) or np.isnan(array).any():
        return math.nan
    with np.errstate(invalid="ignore", over="ignore"):  # inf − inf, and sums beyond the largest number
        return float(stats.trim_mean(array, 0.25))


def interval_of_mean(values: npt.ArrayLike) -> Interval:
    """95 % interval of the mean of (n,) independent values: Student's, with its ends moved out for skewness.

    Student's interval is x̄ ± t·s/√n, t the 97.5 % quantile with n − 1 degrees of freedom. Where values are
    skewed, as scores that cannot fall below zero are, √n·(x̄ − μ)/s leans the other way, and the end on the
    side of the long tail lies too near. Hall's transformation takes the lean away: with a = G₁/√n, G₁ the
    adjusted Fisher–Pearson skewness, T + aT²/3 + a²T³/27 + a/6 is nearly symmetric, and solved for T it gives
    an end at x̄ − (s/√n)·h(±t), where h(y) = (3/a)·((1 + a(y − a/6))^⅓ − 1). Each end is the farther of the
    two: Hall's own would be too near on the other side where the skewness is chance. What it covers stands at
    the top of this module. Equal values give an interval of no width, two values Student's, one value none.

    Args:
        values: (n,) values.

    Returns:
        The interval, in the values' unit; NaN at both ends if n < 2, or a value is not finite or so large
            that differences are not.

    Source: Hall (1992), "On the Removal of Skewness by Transformation", equation 2.2. Departures: Student's
        quantile for the normal one, G₁ for the plain skewness, and the farther of the two ends.
    """
    from scipy import stats

    array = _vector(values)
    n = len(array)
    standard = _standardised(array)
    if n < 2 or standard is None:
        return _NO_INTERVAL
    centre, scale, z = standard
    if scale == 0:
        return Interval(low=centre, high=centre)
    quantile = float(stats.t.ppf(1 - ALPHA / 2, n - 1))
    error = float(z.std(ddof=1)) / math.sqrt(n)
    below = above = quantile
    if n > 2:
        adjusted = math.sqrt(n * (n - 1)) / (n - 2)
        lean = adjusted * float((z**3).mean()) / float(z.std()) ** 3 / math.sqrt(n)
        if abs(lean) > _STRAIGHT:
            below, above = (
                max(quantile, side * float(3 / lean * (np.cbrt(1 + lean * (side * quantile - lean / 6)) - 1)))
                for side in (1, -1)
            )
    return Interval(low=centre - scale * error * below, high=centre + scale * error * above)


def interval_of_iqm(values: npt.ArrayLike) -> Interval:
    """95 % interval of the interquartile mean of (n,) independent values.

    From five values on, the percentile bootstrap (9,999 resamples, fixed seed), read at the *expanded* level
    α' = Φ(−√(n/(n−1)) · t₍α/2, n−1₎) a side: a plain one is too narrow by √((n−1)/n) and by the difference
    between a normal and a t quantile. With fewer values resampling cannot reach 95 % at any level, and hardly
    anything is cut away: the interval of the mean is given instead.

    Args:
        values: (n,) values.

    Returns:
        The interval, in the values' unit; NaN at both ends as for `interval_of_mean`.

    Source: Hesterberg (2015), "What Teachers Should Know About the Bootstrap", section 5.3, for the
        expansion.
    """
    from scipy import stats

    array = _vector(values)
    n = len(array)
    standard = _standardised(array)
    if n < _MIN_NUM_RESAMPLED or standard is None or standard[1] == 0:
        return interval_of_mean(array)
    centre, scale, z = standard
    tail = float(stats.norm.cdf(-math.sqrt(n / (n - 1)) * stats.t.ppf(1 - ALPHA / 2, n - 1)))
    low, high = np.quantile(_resampled_weights(n) @ np.sort(z), (tail, 1 - tail))
    return Interval(low=centre + scale * float(low), high=centre + scale * float(high))


@lru_cache(maxsize=4)
def _resampled_weights(n: int) -> npt.NDArray[np.float64]:
    """The interquartile means of all resamples, as weights of the values in ascending order, (R, n).

    Which places of the order a resample takes does not depend on the values, so that it is drawn once.
    """
    places = np.sort(np.random.default_rng(_SEED).integers(0, n, size=(_NUM_RESAMPLES, n)), axis=1)
    kept = places[:, n // 4 : n - n // 4]
    cells = kept + n * np.arange(_NUM_RESAMPLES)[:, None]
    counts = np.bincount(cells.ravel(), minlength=n * _NUM_RESAMPLES)
    return np.asarray(counts.reshape(_NUM_RESAMPLES, n) / kept.shape[1], dtype=np.float64)


def _standardised(array: npt.NDArray[np.float64]) -> tuple[float, float, npt.NDArray[np.float64]] | None:
    """Mean, greatest distance from it, and (values − mean) / that distance; None where one is not finite.

    Sums of large equal-looking values lose their differences, and those of huge ones overflow; these do not.
    """
    if not len(array) or not np.isfinite(array).all():
        return None
    if (array == array[0]).all():
        return float(array[0]), 0.0, np.zeros_like(array)
    centre = mean(array)
    with np.errstate(over="ignore"):
        scale = float(np.abs(array - centre).max())
    return (centre, scale, (array - centre) / scale) if math.isfinite(scale) else None


def binomial_interval(count: int, total: int) -> Interval:
    """Exact 95 % interval of a rate that was seen as `count` of `total`.

    At its lower end a count this high or higher has a chance of α/2, at its upper end a count this low or
    lower. It never covers less than it says; with few runs it covers more. 0 of 8 gives 0 to 0.37.

    Args:
        count: the cases seen.
        total: the runs looked at.

    Returns:
        The interval, within [0, 1]; NaN at both ends if `total` is 0.

    Source: Clopper and Pearson (1934), "The Use of Confidence or Fiducial Limits Illustrated in the Case of
        the Binomial".
    """
    from scipy import stats

    if not total:
        return _NO_INTERVAL
    found = stats.binomtest(count, total).proportion_ci(confidence_level=1 - ALPHA, method="exact")
    return Interval(low=float(found.low), high=float(found.high))


def fisher_test(count: int, total: int, other_count: int, other_total: int) -> float:
    """Exact two-sided test that two rates are the same.

    With the number of cases in both groups together held fixed, the number in the first group is
    hypergeometric; p is the total probability of all numbers that are no more likely than the one seen.

    Args:
        count: cases in the first group.
        total: size of the first group.
        other_count: cases in the second group.
        other_total: size of the second group.

    Returns:
        The p-value; NaN if a group is empty.

    Source: Fisher (1935), "The Logic of Inductive Inference".
    """
    from scipy import stats

    if not total or not other_total:
        return math.nan
    table = np.array([[count, total - count], [other_count, other_total - other_count]])
    return float(stats.fisher_exact(table).pvalue)


def signed_rank_test(differences: npt.ArrayLike) -> float:
    """Exact two-sided Wilcoxon signed-rank test that paired differences are symmetric about 0.

    W = Σ rank(|dᵢ|) over dᵢ > 0. Under the null every sign is a fair coin, so the distribution of W over all
    2ⁿ signs is built exactly, by adding one rank after the other; p = min(1, 2·min(P(W ≤ w), P(W ≥ w))).
    Equal |dᵢ| share their mean rank, zeros are ranked and then left out (Pratt), and both enter the
    distribution as they are, so p stays exact with them: it is the permutation test of the rank sum. Without
    ties and zeros it equals `scipy.stats.wilcoxon(method="exact")`, which does not know of them.

    Args:
        differences: (n,) paired differences.

    Returns:
        The p-value; 1 if every difference is zero, NaN if there is none or one is not finite. It is never
        below 2^(1−n).

    Source: Wilcoxon (1945); Pratt (1959), "Remarks on Zeros and Ties in the Wilcoxon Signed Rank Procedures".
    """
    array = _vector(differences)
    if len(array) == 0 or not np.isfinite(array).all():
        return math.nan
    return min(1.0, 2 * min(_tails(array.tolist())))


def pseudo_median(differences: npt.ArrayLike) -> float:
    """The pseudo-median: the median of the means of every two of (n,) values, each with itself too.

    It is the shift that the signed-rank test would call likeliest: of symmetric values it is the middle, as
    their mean and median are, and one value far off moves it little.

    Args:
        differences: (n,) values.

    Returns:
        The estimate, computed exactly and rounded once; NaN if there is no value or one is not finite.

    Source: Hodges and Lehmann (1963), "Estimates of Location Based on Rank Tests".
    """
    array = _vector(differences)
    if len(array) == 0 or not np.isfinite(array).all():
        return math.nan
    whole, unit = _whole(array)
    means = sorted((a + b) // 2 for i, a in enumerate(whole) for b in whole[: i + 1])
    middle = len(means) // 2
    return (means[middle] + means[-1 - middle]) / (2 * unit)


def signed_rank_interval(differences: npt.ArrayLike, *, level: float = ALPHA) -> Interval:
    """The shifts that the signed-rank test does not reject: exact interval of the pseudo-median.

    A shift δ belongs to it where `signed_rank_test(differences − δ)` > `level`. Such δ have no gaps, ties and
    zeros or not: as δ grows, the ranks of the positive differences never rise and those of the negative ones
    never fall, so that P(W ≥ w) never falls and P(W ≤ w) never rises. What is ranked how changes only where δ
    is the mean of two differences, so the ends are such means, found by bisection in exact arithmetic. An end
    that is itself rejected, as happens with ties, is given as the number next to it.

    No test of n differences gives p < 2^(1−n). Below that `level` every shift would belong to it, and the
    widest interval with ends is given instead: from the lowest to the highest difference, with the
    confidence that it has, 1 − 2^(1−n): 75 % for three.

    Args:
        differences: (n,) paired differences.
        level: one minus the confidence wanted, in (0, 1).

    Returns:
        The interval; NaN at both ends if n < 2 or a difference is not finite. Where differences are symmetric
            about their centre, it holds that centre at least as often as its `confidence` says.

    Source: Hollander, Wolfe and Chicken (2014), "Nonparametric Statistical Methods", section 3.3. Departure:
        ties and zeros are not left out of the test that is inverted, and need no approximation.
    """
    array = _vector(differences)
    n = len(array)
    if n < 2 or not np.isfinite(array).all():
        return _NO_INTERVAL
    reached = max(level, 2.0 ** (1 - n))
    return Interval(
        low=_lowest_kept(array, reached), high=-_lowest_kept(-array, reached), confidence=1 - reached
    )


def _lowest_kept(array: npt.NDArray[np.float64], level: float) -> float:
    """The lowest shift for which P(W ≥ w), doubled, is above `level`."""
    whole, unit = _whole(array)
    means = sorted({(a + b) // 2 for i, a in enumerate(whole) for b in whole[: i + 1]})

    def is_kept(place: int) -> bool:
        # Even places are the means themselves, odd ones what lies above each, up to the next.
        shift = means[place // 2] + place % 2
        return 2 * _tails([value - shift for value in whole])[0] > level

    place = bisect_left(range(2 * len(means)), True, key=is_kept)
    exact, is_rejected = Fraction(means[place // 2], unit), place % 2
    end = float(exact)
    # Rounded inwards, so that no number that is rejected belongs to the interval, 0 above all.
    is_outside = end < exact or (is_rejected and end == exact)
    return math.nextafter(end, math.inf) if is_outside else end


def _whole(array: npt.NDArray[np.float64]) -> tuple[list[int], int]:
    """The values as whole numbers of one unit, exactly, and how many units are 1.

    They are multiples of four: the mean of two is even, and one more than it lies below the next mean.
    """
    ratios = [value.as_integer_ratio() for value in array.tolist()]
    unit = 4 * max(below for _, below in ratios)
    return [above * (unit // below) for above, below in ratios], unit


def _tails(differences: Sequence[float]) -> tuple[float, float]:
    """P(W ≥ w) and P(W ≤ w) for the signed-rank statistic of finite values."""
    sizes = sorted(map(abs, differences))
    # Twice the mean rank of equal sizes: a whole number, whatever the ties.
    ranks = [bisect_left(sizes, abs(d)) + bisect_right(sizes, abs(d)) + 1 for d in differences]
    positive = sum(rank for rank, d in zip(ranks, differences, strict=True) if d > 0)
    nonzero = [rank for rank, d in zip(ranks, differences, strict=True) if d]
    distribution = np.zeros(1 + sum(nonzero))
    distribution[0] = 1.0
    top = 1
    for rank in nonzero:
        moved = distribution[:top].copy()
        distribution[rank : top + rank] += moved
        top += rank
        distribution[:top] *= 0.5
    return float(distribution[positive:].sum()), float(distribution[: positive + 1].sum())


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: p₍ᵢ₎ → max over j ≤ i of min(1, (m − j + 1) · p₍ⱼ₎), p sorted upwards.

    Rejecting what ends up ≤ α keeps the chance of any false rejection in the whole family ≤ α, whatever the
    dependence of the tests; arms that share a baseline are dependent.

    Args:
        p_values: the family. NaN (a test that could not be made) counts as a member, and stays NaN.

    Returns:
        Corrected p-values, in the same order.

    Source: Holm (1979), "A Simple Sequentially Rejective Multiple Test Procedure".
    """
    family = [1.0 if math.isnan(p) else p for p in p_values]
    corrected = [0.0] * len(family)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(family)), key=family.__getitem__)):
        highest = max(highest, min(1.0, (len(family) - rank) * family[index]))
        corrected[index] = highest
    return [math.nan if math.isnan(p) else q for p, q in zip(p_values, corrected, strict=True)]


def holm_levels(p_values: Sequence[float]) -> list[float]:
    """What each of a family's p-values is held against by Holm's procedure.

    The i-th smallest of m meets α/(m − i + 1), and so do those equal to it: which of them comes first must
    not matter. Once one is above its level the procedure stops, and all that remain are held against the
    level at which it stopped.

    Args:
        p_values: the family. NaN (a test that could not be made) counts as a member that is not significant.

    Returns:
        The levels, in the same order: p ≤ its level exactly where `holm` gives it at most α.
    """
    family = [1.0 if math.isnan(p) else p for p in p_values]
    level_of: dict[float, float] = {}
    left = len(family)
    for p in sorted(family):
        level = level_of.setdefault(p, ALPHA / left)
        if p <= level:
            left -= 1
    return [level_of[p] for p in family]


def probability_of_improvement(arm: npt.ArrayLike, baseline: npt.ArrayLike, target: Target) -> float:
    """Chance that a run of one arm is better than a run of another: P(X better Y) + ½ P(X = Y).

    Every value of the one is compared with every value of the other (the Mann–Whitney statistic over n·m), so
    it says how far the two spreads overlap: 0.5 is no difference, 1 is no overlap.

    Args:
        arm: (n,) values of the arm.
        baseline: (m,) values of the baseline.
        target: says whether small or large is better.

    Returns:
        The probability; NaN if one of the two has no value or a value is NaN.

    Source: Agarwal et al. (2021), equation in section 4.3.
    """
    x, y = _vector(arm), _vector(baseline)
    if not (len(x) and len(y)) or np.isnan(x).any() or np.isnan(y).any():
        return math.nan
    wins = ((x[:, None] > y).mean() - (x[:, None] < y).mean()) * target.gain(0.0, 1.0)
    return float((1 + wins) / 2)


def min_num_pairs(level: float) -> int:
    """The fewest unequal pairs with which the signed-rank test can be significant at all.

    Of n differences that are not zero it never gives p < 2^(1−n), whatever they are; so n must reach
    1 + log₂(1/level). At Holm's first step, with m comparisons at 5 %: 6 for one, 7 for two or three, 8 for
    four to six.

    Args:
        level: what p is held against, in (0, 1).

    Returns:
        The smallest n with 2^(1−n) ≤ `level`.
    """
    n = 1
    while 2.0 ** (1 - n) > level:
        n += 1
    return n


def compare(
    baseline: Mapping[int, float], arms: Mapping[str, Mapping[int, float]], *, target: Target
) -> list[Comparison]:
    """Compare every arm of a study with its baseline, seed by seed.

    The decision is

    - `better` or `worse` where p ≤ the level of its step in Holm's procedure, by the side on which the
      pseudo-median of the differences lies, which need not be that of their mean;
    - `too-few-seeds` where no p-value of this test could have been that small: with too few pairs, or too
      few that are not equal;
    - `undecided` otherwise, which is not evidence that the arms are equal. Where every pair is equal there is
      nothing to rank, and enough pairs leave it undecided.

    Args:
        baseline: seed → value.
        arms: name of each other arm → (seed → value). All planned arms belong here, also those without a
            value yet: they are members of the family that is corrected for.
        target: says whether small or large is better.

    Returns:
        One comparison an arm, in the order given.
    """
    paired = {
        name: np.array([values[seed] - baseline[seed] for seed in sorted(values) if seed in baseline])
        for name, values in arms.items()
    }
    p_values = [signed_rank_test(differences) for differences in paired.values()]
    corrected, levels = holm(p_values), holm_levels(p_values)
    found = []
    for (name, differences), p_value, p_holm, level in zip(
        paired.items(), p_values, corrected, levels, strict=True
    ):
        found.append(
            Comparison(
                arm=name,
                num_pairs=len(differences),
                num_unequal=int(np.count_nonzero(differences)),
                difference=pseudo_median(differences),
                mean_difference=mean(differences),
                interval=signed_rank_interval(differences, level=level),
                p_value=p_value,
                p_holm=p_holm,
                level=level,
                probability_of_improvement=probability_of_improvement(
                    list(arms[name].values()), list(baseline.values()), target
                ),
                decision=_decide(differences, p_value, level=level, target=target),
                min_num_pairs=min_num_pairs(level),
            )
        )
    return found


def _decide(
    differences: npt.NDArray[np.float64], p_value: float, *, level: float, target: Target
) -> Decision:
    if p_value <= level:
        at_least, at_most = _tails(differences.tolist())
        return "better" if target.gain(0.0, 1.0 if at_least < at_most else -1.0) > 0 else "worse"
    num_counted = int(np.count_nonzero(differences)) or len(differences)
    return "too-few-seeds" if num_counted < min_num_pairs(level) else "undecided"


def _vector(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    assert array.ndim == 1, f"expected one value a run, got shape {array.shape}"
    return array
