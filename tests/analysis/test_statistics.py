import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.analysis.statistics import (
    compare,
    holm,
    interquartile_mean,
    interval_of_mean,
    mean,
    min_num_seeds,
    probability_of_improvement,
    signed_rank_test,
)
from harness.study.target import Target

LOWER = Target(metric="sliced_w2", goal="minimize")
HIGHER = Target(metric="sliced_w2", goal="maximize")
numbers = st.floats(-1e6, 1e6, allow_nan=False)


def test_mean_is_exact_and_nan_is_not_laundered() -> None:
    assert mean([0.1] * 10) == 0.1
    assert math.isnan(mean([]))
    assert math.isnan(mean([1.0, math.nan]))


def test_interquartile_mean_cuts_a_quarter_of_the_values_from_each_end() -> None:
    assert interquartile_mean([0, 1, 2, 3, 4, 5, 6, 700]) == pytest.approx((2 + 3 + 4 + 5) / 4)
    assert interquartile_mean([0, 1, 2, 3, 4, 500]) == pytest.approx((1 + 2 + 3 + 4) / 4)


def test_interquartile_mean_of_three_values_or_fewer_is_their_mean() -> None:
    assert interquartile_mean([1.0, 2.0, 9.0]) == pytest.approx(4.0)
    assert interquartile_mean([7.0]) == 7.0
    assert math.isnan(interquartile_mean([]))


def test_interval_of_four_values_is_students() -> None:
    values = [1.0, 2.0, 4.0, 9.0]
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    interval = interval_of_mean(values)
    assert (interval.low, interval.high) == pytest.approx((low, high))


def test_interval_of_symmetric_values_is_the_bootstrap_at_the_expanded_level() -> None:
    values = np.array([-4.0, -3.0, -2.0, -1.0, 1.0, 2.0, 3.0, 4.0])
    n = len(values)
    tail = stats.norm.cdf(-math.sqrt(n / (n - 1)) * stats.t.ppf(0.975, n - 1))
    draws = np.random.default_rng(3).choice(values, size=(200_000, n)).mean(axis=1)
    low, high = np.quantile(draws, [tail, 1 - tail])
    interval = interval_of_mean(values)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.12)


def test_interval_of_equal_values_has_no_width_and_of_one_value_does_not_exist() -> None:
    interval = interval_of_mean([0.3] * 8)
    assert (interval.low, interval.high) == (0.3, 0.3)
    assert math.isnan(interval_of_mean([0.3]).low)
    assert math.isnan(interval_of_mean([0.3, math.nan, 0.1]).high)


@settings(max_examples=30, deadline=None)
@given(st.lists(numbers, min_size=5, max_size=12))
def test_interval_holds_the_mean_and_stays_within_the_data(values: list[float]) -> None:
    interval = interval_of_mean(values)
    slack = 1e-9 * max(1.0, max(map(abs, values)))
    assert min(values) - slack <= interval.low <= mean(values) + slack
    assert mean(values) - slack <= interval.high <= max(values) + slack


def test_interval_is_the_same_every_time_and_follows_scale_and_shift() -> None:
    values = np.array([0.02, 0.03, 0.021, 0.05, 0.033, 0.027, 0.09])
    first, again, moved = (interval_of_mean(v) for v in (values, values, 1000 * values + 7))
    assert first == again
    assert (moved.low, moved.high) == pytest.approx((1000 * first.low + 7, 1000 * first.high + 7), rel=2e-3)


@pytest.mark.parametrize(
    ("num_seeds", "skewed", "at_least"),
    [(3, False, 0.93), (5, False, 0.90), (8, False, 0.92), (8, True, 0.89), (20, True, 0.91)],
)
def test_intervals_cover_the_true_mean_about_95_percent_of_the_time(
    num_seeds: int, skewed: bool, at_least: float
) -> None:
    rng = np.random.default_rng(11)
    true = math.exp(0.125) if skewed else 0.0
    hits = 0
    for _ in range(600):
        values = rng.lognormal(0, 0.5, num_seeds) if skewed else rng.normal(size=num_seeds)
        interval = interval_of_mean(values)
        hits += interval.low <= true <= interval.high
    assert at_least <= hits / 600 <= 0.985


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


def test_fewest_seeds_are_where_the_test_can_first_reach_the_level() -> None:
    assert [min_num_seeds(m) for m in (1, 2, 3, 6, 7)] == [6, 7, 7, 8, 9]
    for m in (1, 2, 5, 30):
        n = min_num_seeds(m)
        assert m * signed_rank_test(np.ones(n)) <= 0.05 < m * signed_rank_test(np.ones(n - 1))


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
    assert [c.min_num_seeds for c in comparisons] == [7, 7]
    assert [c.num_pairs for c in comparisons] == [6, 0]
    assert comparisons[0].p_holm == pytest.approx(2 * 2**-5)
    assert math.isnan(comparisons[1].difference)


def test_comparison_is_undecided_where_one_outlier_turns_the_mean_against_the_ranks() -> None:
    baseline = _arm([0.0] * 12)
    (comparison,) = compare(baseline, {"a": _arm([*range(1, 12), -1000])}, target=LOWER)
    assert comparison.p_value < 0.05
    assert comparison.difference < 0
    assert comparison.decision == "undecided"


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
