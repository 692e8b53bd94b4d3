"""Intervals, paired tests and decisions: pure functions of a few numbers per arm.

An arm has one value a seed. Arms that share a seed share the initial networks, the order of the data and the
noise, so they are compared seed by seed. Few seeds is the normal case here: every formula is chosen for what
it does with five to twenty values, and what it cannot do is said rather than smoothed over.

    summary      mean, interquartile mean, 95 % interval of the mean
    comparison   mean paired difference and its interval, exact signed-rank test, Holm's correction over the
                 arms of the study, probability of improvement
    decision     better, worse, undecided, or too-few-seeds
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from harness.study.target import Target

__all__ = [
    "ALPHA",
    "Comparison",
    "Decision",
    "Interval",
    "binomial_interval",
    "compare",
    "fisher_test",
    "holm",
    "interquartile_mean",
    "interval_of_mean",
    "mean",
    "min_num_seeds",
    "probability_of_improvement",
    "signed_rank_test",
]

ALPHA = 0.05
"""Level of the tests over a whole study, and one minus the confidence of the intervals."""

Decision: TypeAlias = Literal["better", "worse", "undecided", "too-few-seeds"]

_MIN_NUM_RESAMPLED = 5
_NUM_RESAMPLES = 9999
_SEED = 20_180_601


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An interval, in the unit of what it is about.

    Attributes:
        low: its lower end; NaN where the data cannot give one.
        high: its upper end; NaN likewise.
    """

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One arm against the baseline.

    Attributes:
        arm: name of the arm.
        num_pairs: seeds that both have finished.
        difference: mean over those seeds of (arm − baseline), in the metric's unit.
        interval: its 95 % interval.
        p_value: exact two-sided signed-rank test of the differences.
        p_holm: the same, corrected for the study's number of comparisons.
        probability_of_improvement: chance that a run of the arm beats one of the baseline.
        decision: what follows.
        min_num_seeds: pairs that this study needs before `decision` can be better or worse.
    """

    arm: str
    num_pairs: int
    difference: float
    interval: Interval
    p_value: float
    p_holm: float
    probability_of_improvement: float
    decision: Decision
    min_num_seeds: int


def mean(values: npt.ArrayLike) -> float:
    """Arithmetic mean of (n,) values; NaN if there are none, or if one is NaN."""
    array = _vector(values)
    return math.fsum(array) / len(array) if len(array) else math.nan


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
    return float(stats.trim_mean(array, 0.25)) if len(array) else math.nan


def interval_of_mean(values: npt.ArrayLike, *, confidence: float = 1 - ALPHA) -> Interval:
    """Interval of the mean of (n,) independent values.

    From five values on, the bias-corrected and accelerated bootstrap (9,999 resamples, fixed seed), read at
    the *expanded* level α' = Φ(−√(n/(n−1)) · t₍α/2, n−1₎) a side. A plain bootstrap of n values is too narrow
    by √((n−1)/n) and by the difference between a normal and a t quantile: at eight values its "95 %" covers
    88 %. Expanded, it covers 92 % at five normal values, 94 % at eight and ten, and 92–93 % at eight and ten
    log-normal ones. With two to four values resampling cannot reach 95 % at any level (three values: 76 %),
    and Student's interval, mean ± t · s/√n, is given instead. Equal values give an interval of no width, one
    value gives none.

    Args:
        values: (n,) values.
        confidence: aimed coverage.

    Returns:
        The interval, in the values' unit; NaN at both ends if n < 2 or a value is not finite.

    Source: Efron (1987), "Better Bootstrap Confidence Intervals"; Hesterberg (2015), "What Teachers Should
        Know About the Bootstrap", section 5.3, for the expansion.
    """
    from scipy import stats

    array = _vector(values)
    n = len(array)
    if n < 2 or not np.isfinite(array).all():
        return Interval(low=math.nan, high=math.nan)
    if np.ptp(array) == 0:
        return Interval(low=float(array[0]), high=float(array[0]))
    quantile = float(stats.t.ppf((1 + confidence) / 2, n - 1))
    centre = mean(array)
    if n < _MIN_NUM_RESAMPLED:
        reach = quantile * float(array.std(ddof=1)) / math.sqrt(n)
        return Interval(low=centre - reach, high=centre + reach)
    expanded = 2 * float(stats.norm.cdf(math.sqrt(n / (n - 1)) * quantile)) - 1
    # Centred and scaled, because the resampled sums of large equal-looking values lose their differences.
    scale = float(np.abs(array - centre).max())
    result: Any = stats.bootstrap(
        ((array - centre) / scale,),
        np.mean,
        vectorized=True,
        method="BCa",
        n_resamples=_NUM_RESAMPLES,
        confidence_level=expanded,
        rng=np.random.default_rng(_SEED),
    )
    low, high = (float(end) for end in result.confidence_interval)
    return Interval(low=centre + scale * low, high=centre + scale * high)


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
        return Interval(low=math.nan, high=math.nan)
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
    twice_ranks = _twice_ranks(array)
    positive = int(twice_ranks[array > 0].sum())
    distribution = np.array([1.0])
    for rank in twice_ranks[array != 0]:
        distribution = 0.5 * (
            np.concatenate([distribution, np.zeros(rank)]) + np.concatenate([np.zeros(rank), distribution])
        )
    at_most = float(distribution[: positive + 1].sum())
    at_least = float(distribution[positive:].sum())
    return min(1.0, 2 * min(at_most, at_least))


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
    wins = np.sign(x[:, None] - y[None, :]) * target.gain(0.0, 1.0)
    return float((1 + wins.mean()) / 2)


def min_num_seeds(num_comparisons: int) -> int:
    """The fewest seeds with which any outcome can be significant.

    The signed-rank test of n pairs never gives less than 2^(1−n), and Holm multiplies the smallest p of m
    comparisons by m; so n must reach 1 + log₂(m/α): 6 seeds for one comparison, 7 for two or three, 8 for
    four to six.

    Args:
        num_comparisons: arms compared with the baseline, m ≥ 1.

    Returns:
        The smallest n with m · 2^(1−n) ≤ α.
    """
    n = 1
    while num_comparisons * 2.0 ** (1 - n) > ALPHA:
        n += 1
    return n


def compare(
    baseline: Mapping[int, float], arms: Mapping[str, Mapping[int, float]], *, target: Target
) -> list[Comparison]:
    """Compare every arm of a study with its baseline, seed by seed.

    The decision is

    - `too-few-seeds` where fewer than `min_num_seeds` pairs are finished: nothing could come out;
    - `better` or `worse` where the corrected p ≤ α, and rank sum and mean difference agree on the side;
    - `undecided` otherwise, which is not evidence that the arms are equal.

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
    needed = min_num_seeds(max(1, len(arms)))
    found = []
    for (name, differences), p_value, p_holm in zip(paired.items(), p_values, holm(p_values), strict=True):
        improvement = probability_of_improvement(list(arms[name].values()), list(baseline.values()), target)
        found.append(
            Comparison(
                arm=name,
                num_pairs=len(differences),
                difference=mean(differences),
                interval=interval_of_mean(differences),
                p_value=p_value,
                p_holm=p_holm,
                probability_of_improvement=improvement,
                decision=_decide(differences, p_holm, target=target, needed=needed),
                min_num_seeds=needed,
            )
        )
    return found


def _decide(differences: npt.NDArray[np.float64], p_holm: float, *, target: Target, needed: int) -> Decision:
    if len(differences) < needed:
        return "too-few-seeds"
    if math.isnan(p_holm) or p_holm > ALPHA:
        return "undecided"
    rank_side = float(np.sign((_twice_ranks(differences) * np.sign(differences)).sum()))
    if rank_side != np.sign(mean(differences)):
        return "undecided"
    return "better" if target.gain(0.0, rank_side) > 0 else "worse"


def _twice_ranks(differences: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Twice the mid-ranks of |d|: whole numbers, whatever the ties."""
    from scipy import stats

    return np.rint(2 * stats.rankdata(np.abs(differences))).astype(np.int64)


def _vector(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    assert array.ndim == 1, f"expected one value a run, got shape {array.shape}"
    return array
