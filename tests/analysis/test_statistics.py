import math
from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.analysis.statistics import (
    Interval,
    compare,
    holm,
    holm_levels,
    interquartile_mean,
    interval_of_iqm,
    interval_of_mean,
    mean,
    min_num_pairs,
    probability_of_improvement,
    pseudo_median,
    signed_rank_interval,
    signed_rank_test,
)
from harness.study.target import Target

LOWER = Target(metric="sliced_w2", goal="minimize")
HIGHER = Target(metric="sliced_w2", goal="maximize")
numbers = st.floats(-1e6, 1e6, allow_nan=False)
differences_with_ties = st.lists(
    st.one_of(st.integers(-4, 4).map(float), st.sampled_from([0.25, -0.25, 5e-324, -1e300])),
    min_size=1,
    max_size=9,
)


def test_mean_is_exact_and_nan_is_not_laundered() -> None:
    assert mean([0.1] * 10) == 0.1
    assert math.isnan(mean([]))
    assert math.isnan(mean([1.0, math.nan]))


def test_infinite_and_huge_values_break_no_estimate() -> None:
    assert mean([math.inf, 1.0]) == math.inf
    assert math.isnan(mean([math.inf, -math.inf]))
    assert mean([1.5e308] * 4) == 1.5e308
    assert interquartile_mean([1.0, 2.0, 3.0, math.inf]) == 2.5
    assert math.isnan(interquartile_mean([1.0, 2.0, math.nan, 3.0, 4.0]))
    for interval in (interval_of_mean, interval_of_iqm, signed_rank_interval):
        for values in ([1.0, math.inf, 2.0], [1.0, math.nan, 2.0], [], [1.0]):
            assert math.isnan(interval(values).low)
    for interval in (interval_of_mean, interval_of_iqm):
        assert math.isnan(interval([1.7e308, -1.7e308, 1.7e308, 0.0, 1.0]).low)
    assert probability_of_improvement([math.inf, 1.0], [math.inf, 2.0], LOWER) == pytest.approx(0.625)


def test_interquartile_mean_cuts_a_quarter_of_the_values_from_each_end() -> None:
    assert interquartile_mean([0, 1, 2, 3, 4, 5, 6, 700]) == pytest.approx((2 + 3 + 4 + 5) / 4)
    assert interquartile_mean([0, 1, 2, 3, 4, 500]) == pytest.approx((1 + 2 + 3 + 4) / 4)


def test_interquartile_mean_of_three_values_or_fewer_is_their_mean() -> None:
    assert interquartile_mean([1.0, 2.0, 9.0]) == pytest.approx(4.0)
    assert interquartile_mean([7.0]) == 7.0
    assert math.isnan(interquartile_mean([]))


def _student(values: list[float]) -> tuple[float, float]:
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    return float(low), float(high)


def test_interval_of_two_values_and_of_symmetric_ones_is_students() -> None:
    for values in ([1.0, 4.0], [-4.0, -3.0, -2.0, -1.0, 1.0, 2.0, 3.0, 4.0]):
        interval = interval_of_mean(values)
        assert (interval.low, interval.high) == pytest.approx(_student(values))


def test_interval_of_skewed_values_ends_where_halls_transformation_is_students_quantile() -> None:
    values = [1.0, 2.0, 3.0, 4.0, 20.0]
    n, interval, (low, high) = len(values), interval_of_mean(values), _student(values)
    lean = float(stats.skew(values, bias=False)) / math.sqrt(n)
    t = (np.mean(values) - interval.high) / stats.sem(values)
    transformed = t + lean * t**2 / 3 + lean**2 * t**3 / 27 + lean / 6
    assert transformed == pytest.approx(stats.t.ppf(0.025, n - 1))
    assert interval.high > 1.5 * high
    assert interval.low == pytest.approx(low)
    mirrored = interval_of_mean([-value for value in values])
    assert (mirrored.low, mirrored.high) == pytest.approx((-interval.high, -interval.low))


def test_interval_of_equal_values_has_no_width_and_of_one_value_does_not_exist() -> None:
    for interval in (interval_of_mean([0.3] * 8), interval_of_iqm([0.3] * 8)):
        assert (interval.low, interval.high) == (0.3, 0.3)
    assert math.isnan(interval_of_mean([0.3]).low)
    assert math.isnan(interval_of_mean([0.3, math.nan, 0.1]).high)


@settings(max_examples=60, deadline=None)
@given(st.lists(numbers, min_size=2, max_size=12))
def test_intervals_hold_their_estimates_and_that_of_the_mean_is_never_narrower_than_students(
    values: list[float],
) -> None:
    slack = 1e-9 * max(1.0, max(map(abs, values)))
    interval = interval_of_mean(values)
    if stats.sem(values) > 0:
        low, high = _student(values)
        assert interval.low <= low + slack
        assert interval.high >= high - slack
    assert interval.low - slack <= mean(values) <= interval.high + slack
    around = interval_of_iqm(values)
    assert around.low - slack <= interquartile_mean(values) <= around.high + slack


def test_intervals_are_the_same_every_time_and_follow_scale_and_shift() -> None:
    values = np.array([0.02, 0.03, 0.021, 0.05, 0.033, 0.027, 0.09, 0.04])
    for interval in (interval_of_mean, interval_of_iqm, signed_rank_interval):
        first, again, moved = (interval(v) for v in (values, values, 1000 * values + 7))
        assert first == again
        assert (moved.low, moved.high) == pytest.approx((1000 * first.low + 7, 1000 * first.high + 7))


def test_interval_of_the_iqm_is_the_bootstrap_at_the_expanded_level() -> None:
    values, n = np.random.default_rng(2).lognormal(size=12), 12
    tail = stats.norm.cdf(-math.sqrt(n / (n - 1)) * stats.t.ppf(0.975, n - 1))
    draws = np.sort(np.random.default_rng(3).choice(values, size=(400_000, n)), axis=1)[:, 3:9].mean(axis=1)
    interval = interval_of_iqm(values)
    assert (interval.low, interval.high) == pytest.approx(np.quantile(draws, [tail, 1 - tail]), rel=0.03)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=15, unique=True), st.integers(0, 2**15 - 1))
def test_signed_rank_test_equals_scipys_exact_one_without_ties(sizes: list[int], signs: int) -> None:
    differences = [size if signs >> i & 1 else -size for i, size in enumerate(sizes)]
    expected = stats.wilcoxon(differences, method="exact").pvalue
    assert signed_rank_test(differences) == pytest.approx(expected, rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=9))
def test_signed_rank_test_with_ties_and_zeros_equals_listing_every_sign(differences: list[int]) -> None:
    sizes = np.abs(differences)
    ranks = stats.rankdata(sizes)[sizes > 0]
    observed = stats.rankdata(sizes)[np.array(differences) > 0].sum()
    masks = np.arange(2 ** len(ranks))[:, None] >> np.arange(len(ranks)) & 1
    sums = masks @ ranks if len(ranks) else np.zeros(1)
    expected = min(1.0, 2 * min(np.mean(sums <= observed), np.mean(sums >= observed)))
    assert signed_rank_test(differences) == pytest.approx(expected, rel=1e-12)


def test_signed_rank_test_reaches_its_floor_when_all_signs_agree() -> None:
    for n in (1, 5, 8, 20):
        assert signed_rank_test(np.arange(1, n + 1)) == 2.0 ** (1 - n)
        assert signed_rank_test(-np.ones(n)) == 2.0 ** (1 - n)


def test_signed_rank_test_of_no_difference_is_1_and_of_no_data_is_nan() -> None:
    assert signed_rank_test([0.0, 0.0, 0.0]) == 1.0
    assert math.isnan(signed_rank_test([]))
    assert math.isnan(signed_rank_test([1.0, math.nan]))


def test_signed_rank_test_knows_the_textbook_example() -> None:
    # Darwin's fifteen pairs of maize (Fisher, The Design of Experiments), in eighths of an inch.
    differences = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    assert signed_rank_test(differences) == pytest.approx(0.0413, abs=5e-5)


def test_holm_knows_the_textbook_example_and_keeps_the_order() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_counts_a_test_that_could_not_be_made() -> None:
    corrected = holm([0.01, math.nan])
    assert corrected[0] == pytest.approx(0.02)
    assert math.isnan(corrected[1])


def test_probability_of_improvement_counts_ties_as_half_and_follows_the_goal() -> None:
    assert probability_of_improvement([1, 2], [3, 4], LOWER) == 1.0
    assert probability_of_improvement([1, 2], [3, 4], HIGHER) == 0.0
    assert probability_of_improvement([1, 1], [1, 1], LOWER) == 0.5
    assert probability_of_improvement([1, 3], [2, 3], HIGHER) == pytest.approx((0 + 0 + 1 + 0.5) / 4)
    assert math.isnan(probability_of_improvement([], [1], LOWER))


@settings(max_examples=40, deadline=None)
@given(st.lists(numbers, min_size=1, max_size=9), st.lists(numbers, min_size=1, max_size=9))
def test_probability_of_improvement_is_the_mann_whitney_statistic(x: list[float], y: list[float]) -> None:
    expected = stats.mannwhitneyu(x, y, method="asymptotic").statistic / (len(x) * len(y))
    assert probability_of_improvement(x, y, HIGHER) == pytest.approx(expected)


def test_fewest_pairs_are_where_the_test_can_first_reach_the_level() -> None:
    assert [min_num_pairs(0.05 / m) for m in (1, 2, 3, 6, 7)] == [6, 7, 7, 8, 9]
    for m in (1, 2, 5, 30):
        n = min_num_pairs(0.05 / m)
        assert m * signed_rank_test(np.ones(n)) <= 0.05 < m * signed_rank_test(np.ones(n - 1))


def _listed_p_value(differences: list[Fraction]) -> Fraction:
    """The signed-rank test by listing every sign, in exact arithmetic; no code of the harness's own."""
    sizes = [abs(d) for d in differences]
    ranks = [2 * sum(s < size for s in sizes) + sum(s == size for s in sizes) + 1 for size in sizes]
    counted = [rank for rank, size in zip(ranks, sizes, strict=True) if size]
    observed = sum(rank for rank, d in zip(ranks, differences, strict=True) if d > 0)
    sums = [sum(compress) for compress in (
        [rank for rank, sign in zip(counted, signs, strict=True) if sign]
        for signs in product((0, 1), repeat=len(counted))
    )]  # fmt: skip
    tails = (sum(s <= observed for s in sums), sum(s >= observed for s in sums))
    return min(Fraction(1), Fraction(2 * min(tails), len(sums)))


@settings(max_examples=80, deadline=None)
@given(differences_with_ties, st.sampled_from([0.05, 0.025, 0.05 / 3, 0.25, 0.5]))
def test_interval_of_differences_is_every_shift_that_the_listed_test_does_not_reject(
    differences: list[float], level: float
) -> None:
    interval = signed_rank_interval(differences, level=level)
    exact, n = [Fraction(d) for d in differences], len(differences)
    if n < 2:
        assert math.isnan(interval.low)
        return
    reached = max(level, 2.0 ** (1 - n))
    assert interval.confidence == 1 - reached
    means = sorted({(a + b) / 2 for a in exact for b in exact})
    gaps = [(a + b) / 2 for a, b in pairwise(means)]
    for shift in (means[0] - 1, *means, *gaps, means[-1] + 1):
        kept = _listed_p_value([d - shift for d in exact]) > reached
        if Fraction(float(shift)) == shift:  # others are no numbers of the machine
            assert (interval.low <= float(shift) <= interval.high) == kept
    middle = pseudo_median(differences)
    # The estimate is rounded to the nearest number, the ends inwards.
    assert interval.low <= math.nextafter(middle, math.inf)
    assert math.nextafter(middle, -math.inf) <= interval.high


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.lists(st.integers(-3, 8).map(float), min_size=8, max_size=8).filter(any), min_size=1, max_size=4
    ),
    st.integers(5, 8),
)
def test_decision_and_interval_never_disagree(arms: list[list[float]], num_seeds: int) -> None:
    baseline = _arm([0.0] * 8)
    values = {str(i): _arm(arm[: num_seeds if i else 8]) for i, arm in enumerate(arms)}
    for found in compare(baseline, values, target=LOWER):
        decided = found.decision in ("better", "worse")
        assert decided == (found.p_holm <= 0.05) == (found.p_value <= found.level)
        excluded = not found.interval.low <= 0 <= found.interval.high
        if found.decision == "too-few-seeds":
            assert 2.0 ** (1 - max(1, found.num_unequal)) > found.level or found.num_unequal == 0
        else:
            assert decided == excluded
        if decided:
            side = 1 if found.interval.low > 0 else -1
            assert found.decision == ("worse" if side > 0 else "better")
            assert np.sign(found.difference) == side


def test_interval_leaves_out_an_end_that_the_test_rejects() -> None:
    # Below 0 p is 5/128 and above it 7/128; at 0, where two sizes tie, it is 6/128, which 5 % rejects.
    differences = [-4.0, 4.0, 1.0, 2.0, 7.25, 8.0, 9.0, 10.0]
    assert signed_rank_test(differences) == 6 / 128
    interval = signed_rank_interval(differences)
    assert interval.low == 5e-324
    assert interval.in_words(sign=True).startswith("just above 0 to +")
    mirrored = signed_rank_interval([-d for d in differences])
    assert (mirrored.low, mirrored.high) == (-interval.high, -5e-324)


def test_interval_of_differences_is_the_tables_of_the_textbooks() -> None:
    # n = 10 at 95 %: the 9th smallest and the 9th largest of the 55 means; n = 6: the 1st.
    for n, place in ((6, 0), (8, 3), (10, 8)):
        differences = np.random.default_rng(n).normal(1, 1, n)
        means = sorted((differences[i] + differences[j]) / 2 for i in range(n) for j in range(i + 1))
        interval = signed_rank_interval(differences)
        assert (interval.low, interval.high) == pytest.approx((means[place], means[-1 - place]))
        assert pseudo_median(differences) == pytest.approx(np.median(means))


def test_interval_of_few_differences_is_their_range_at_the_level_that_it_has() -> None:
    assert signed_rank_interval([3.0, 1.0, 2.0]) == Interval(low=1.0, high=3.0, confidence=0.75)
    assert signed_rank_interval([1.0, 2.0]).level == "50 %"
    assert signed_rank_interval([1.0, 2.0, 3.0, 4.0, 5.0]).level == "93.8 %"
    assert signed_rank_interval(np.arange(6.0), level=0.05 / 2).level == "96.9 %"
    assert signed_rank_interval(np.arange(20.0), level=0.05 / 124).level == "99.9597 %"


def test_interval_ends_where_what_it_is_about_does() -> None:
    interval = Interval(low=-0.1, high=1.5, confidence=0.95)
    assert interval.within(0.0, 1.0) == Interval(low=0.0, high=1.0, confidence=0.95)
    assert interval.within(-math.inf, math.inf) == interval
    beyond = Interval(low=-2e-16, high=-1e-16)
    assert beyond.within(0.0, math.inf) == beyond
    assert math.isnan(interval_of_mean([1.0]).within(0.0, 1.0).low)


def test_levels_are_those_of_holms_steps_and_stay_where_it_stops() -> None:
    assert holm_levels([0.01, 0.04, 0.03, 0.005]) == [0.05 / 3, 0.05 / 2, 0.05 / 2, 0.05 / 4]
    assert holm_levels([0.001, 0.002]) == [0.05 / 2, 0.05]
    assert holm_levels([math.nan, 0.02]) == [0.05, 0.025]
    assert holm_levels([0.001, 0.002, 0.001, 0.5]) == [0.05 / 4, 0.05 / 2, 0.05 / 4, 0.05]
    assert holm_levels([]) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([k / 512 for k in range(1, 40)]), min_size=1, max_size=8))
def test_levels_reject_exactly_what_the_corrected_p_values_do(p_values: list[float]) -> None:
    rejected = [p <= level for p, level in zip(p_values, holm_levels(p_values), strict=True)]
    assert rejected == [p <= 0.05 for p in holm(p_values)]


def _arm(values: list[float]) -> dict[int, float]:
    return dict(enumerate(values))


def test_comparison_pairs_by_seed_and_says_which_side_is_better() -> None:
    baseline = _arm([0.03, 0.02, 0.025, 0.04, 0.03, 0.02, 0.035, 0.03])
    arms = {
        "worse": {seed: value + 0.4 + 0.01 * seed for seed, value in baseline.items()},
        "better": {seed: value / 2 for seed, value in baseline.items()},
        "same": dict(baseline),
    }
    by_name = {comparison.arm: comparison for comparison in compare(baseline, arms, target=LOWER)}
    assert {name: c.decision for name, c in by_name.items()} == {
        "worse": "worse",
        "better": "better",
        "same": "undecided",
    }
    assert by_name["worse"].difference == pytest.approx(0.435)
    assert by_name["worse"].p_value == 2**-7
    assert by_name["worse"].p_holm == pytest.approx(3 * 2**-7)
    assert by_name["worse"].probability_of_improvement == 0.0
    assert by_name["same"].p_value == 1.0
    assert by_name["same"].interval.low == by_name["same"].interval.high == 0.0
    flipped = compare(baseline, arms, target=HIGHER)
    assert [c.decision for c in flipped] == ["better", "worse", "undecided"]


def test_comparison_uses_only_the_seeds_that_both_have() -> None:
    (comparison,) = compare({0: 1.0, 1: 2.0, 2: 3.0}, {"a": {1: 5.0, 2: 5.0, 9: 100.0}}, target=LOWER)
    assert comparison.num_pairs == 2
    assert comparison.difference == pytest.approx(2.5)


def test_comparison_of_too_few_seeds_says_how_many_it_needs() -> None:
    comparisons = compare(_arm([1.0] * 6), {"a": _arm([2.0] * 6), "b": {}}, target=LOWER)
    assert [c.decision for c in comparisons] == ["too-few-seeds"] * 2
    assert [c.min_num_pairs for c in comparisons] == [7, 7]
    assert [c.num_pairs for c in comparisons] == [6, 0]
    assert comparisons[0].p_holm == pytest.approx(2 * 2**-5)
    assert comparisons[0].interval == Interval(low=1.0, high=1.0, confidence=1 - 2**-5)
    assert math.isnan(comparisons[1].difference)
    assert math.isnan(comparisons[1].interval.confidence)


def test_equal_pairs_count_as_seeds_that_are_missing() -> None:
    baseline = _arm([0.0] * 8)
    (few,) = compare(baseline, {"a": _arm([0, 0, 0, 1, 2, 3, 4, 5])}, target=LOWER)
    assert (few.decision, few.num_pairs, few.num_unequal) == ("too-few-seeds", 8, 5)
    assert few.min_num_pairs == 6
    (enough,) = compare(baseline, {"a": _arm([0, 0, 1, 2, 3, 4, 5, 6])}, target=LOWER)
    assert enough.decision == "worse"
    assert enough.interval.low > 0


def test_arm_with_fewer_seeds_can_be_decided_at_a_later_step_of_holms() -> None:
    arms = {"whole": _arm([1.0] * 8), "short": _arm([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])}
    whole, short = compare(_arm([0.0] * 8), arms, target=LOWER)
    assert (whole.level, short.level) == (0.025, 0.05)  # α/2, then α
    assert (whole.decision, short.decision) == ("worse", "worse")
    assert (short.interval.low, short.interval.confidence) == (1.0, 0.95)


def test_decision_is_about_the_pseudo_median_and_the_mean_is_told_beside_it() -> None:
    baseline = _arm([0.0] * 12)
    (comparison,) = compare(baseline, {"a": _arm([*range(1, 12), -1000])}, target=LOWER)
    assert comparison.p_value < 0.05
    assert comparison.mean_difference < 0 < comparison.difference
    assert comparison.decision == "worse"
    assert comparison.interval.low > 0


def test_seed_without_a_finite_value_leaves_its_arm_without_a_test_and_the_others_with_theirs() -> None:
    baseline = _arm([0.0] * 8)
    for broken in (math.nan, math.inf, -math.inf):
        arms = {"broken": _arm([broken, *range(1, 8)]), "whole": _arm([1.0] * 8)}
        found, other = compare(baseline, arms, target=LOWER)
        assert math.isnan(found.p_value)
        assert math.isnan(found.interval.low)
        assert found.decision == "undecided"
        assert (other.decision, other.level) == ("worse", 0.025)


@pytest.mark.parametrize("num_seeds", [7, 8, 12])
def test_false_decisions_over_a_family_are_no_more_than_nominal(num_seeds: int) -> None:
    rng = np.random.default_rng(5)
    false = 0
    for _ in range(1500):
        shared = rng.lognormal(size=num_seeds)
        base, one, two = shared + rng.standard_t(3, size=(3, num_seeds))
        p_values = [signed_rank_test(one - base), signed_rank_test(two - base)]
        false += min(holm(p_values)) <= 0.05
    # Two standard errors of 1,500 simulations above 5 %.
    assert false / 1500 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 1500)
