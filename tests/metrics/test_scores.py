"""Scores of points: each against its closed form, and each against a failure it must see."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance

from harness.data.points import four_gaussians
from harness.distances.balls import neighbours as neighbours_within
from harness.distances.balls import point_radii
from harness.distances.bins import bin_recall as recalled
from harness.distances.bins import point_bin_counts, point_bins
from harness.distances.plane import directions, interval_means
from harness.metrics.groups import TooFewError
from harness.metrics.points import modes
from harness.metrics.scores import d_auc
from support.points import (
    bin_recall,
    mixture_of,
    mmd2,
    neighbours,
    normal,
    pair_distance,
    sample,
    sliced_w2,
    w2,
)

Array = NDArray[np.float64]


# w2


def test_w2_of_a_shift_is_its_length() -> None:
    real = normal(200, 0)
    assert w2(real + np.array([0.3, -0.4]), real) == pytest.approx(0.5, rel=1e-12)


def test_w2_ignores_the_order_and_is_zero_on_the_same_points() -> None:
    real = normal(100, 0)
    assert w2(real[::-1], real) == 0.0


def test_w2_of_a_scaling_of_symmetric_points_is_the_mean_move() -> None:
    real = normal(200, 1)
    expected = 0.5 * math.sqrt((real**2).sum(axis=1).mean())
    assert w2(1.5 * real, real) == pytest.approx(expected, rel=1e-12)


def test_w2_finds_the_best_of_all_assignments() -> None:
    from itertools import permutations

    fake, real = normal(6, 2), normal(6, 3)
    best = min(((fake[list(order)] - real) ** 2).sum(axis=1).mean() for order in permutations(range(6)))
    assert w2(fake, real) == pytest.approx(math.sqrt(best), rel=1e-12)


def test_w2_of_two_draws_of_a_normal_has_the_known_floor() -> None:
    squares = [w2(normal(2000, seed), normal(2000, 100 + seed)) ** 2 for seed in range(2)]
    assert np.mean(squares) == pytest.approx(0.023, abs=0.008)


def test_w2_of_unequal_counts_takes_the_first_rows() -> None:
    fake, real = normal(120, 0), normal(100, 1)
    assert w2(fake, real) == w2(fake[:100], real)
    assert w2(fake[:50], real) == w2(fake[:50], real[:50])


def test_w2_is_the_plain_solvers_of_whatever_the_fakes_look_like() -> None:
    real, far = normal(300, 4), normal(300, 5)
    far[0] = 1e8
    fakes = {
        "good": normal(300, 6),
        "collapsed": 0.01 * normal(300, 7),
        "one point": np.zeros((300, 2)),
        "two points": np.repeat([[0.0, 0.0], [3.0, 1.0]], 150, axis=0),
        "on a line": np.stack([np.linspace(-1, 1, 300), np.zeros(300)], axis=1),
        "far away": 1e6 + normal(300, 8),
        "one far away": far,
        "reals": real[::-1],
        "huge": 1e70 * normal(300, 9),
    }
    for name, fake in fakes.items():
        cost = cdist(fake, real, "sqeuclidean")
        plain = math.sqrt(cost[linear_sum_assignment(cost)].mean())
        assert w2(fake, real) == pytest.approx(plain, rel=1e-12, abs=1e-12), name


# sliced_w2


@settings(max_examples=30, deadline=None)
@given(x=st.floats(-5, 5), y=st.floats(-5, 5))
def test_sliced_w2_of_a_shift_is_its_length_over_root_two(x: float, y: float) -> None:
    real = normal(60, 0)
    assert sliced_w2(real + np.array([x, y]), real) == pytest.approx(
        math.hypot(x, y) / math.sqrt(2), rel=1e-9, abs=1e-12
    )


def test_sliced_w2_of_two_normals_of_other_width_is_their_difference() -> None:
    real = normal(400, 0)
    spread = math.sqrt((real**2).sum(axis=1).mean() / 2)
    assert sliced_w2(3 * real, real) == pytest.approx(2 * spread, rel=1e-9)


def test_sliced_w2_is_zero_on_the_same_points_and_symmetric() -> None:
    fake, real = normal(90, 0), normal(90, 1)
    assert sliced_w2(fake[::-1], fake) == 0.0
    assert sliced_w2(fake, real) == pytest.approx(sliced_w2(real, fake), rel=1e-12)


def test_sliced_w2_of_unequal_counts_equals_that_of_repeated_points() -> None:
    fake, real = normal(12, 0), normal(18, 1)
    assert sliced_w2(fake, real) == pytest.approx(
        sliced_w2(np.repeat(fake, 3, axis=0), np.repeat(real, 2, axis=0)), rel=1e-9
    )
    assert sliced_w2(real, fake) == pytest.approx(sliced_w2(fake, real), rel=1e-9)


@settings(max_examples=50, deadline=None)
@given(rows=st.integers(1, 40), count=st.integers(1, 40))
def test_interval_means_keep_the_mean_and_leave_a_variance(rows: int, count: int) -> None:
    ordered = np.sort(np.random.default_rng(rows).normal(size=(3, rows)), axis=1)
    means, rest = interval_means(ordered, count)
    assert means.shape == (3, count)
    np.testing.assert_allclose(means.mean(axis=1), ordered.mean(axis=1), atol=1e-12)
    assert rest >= -1e-12
    repeated = np.repeat(ordered, count, axis=1).reshape(3, count, rows)
    np.testing.assert_allclose(means, repeated.mean(axis=2), atol=1e-10)
    np.testing.assert_allclose(rest, repeated.var(axis=2).mean(), atol=1e-10)


def test_sliced_w2_exceeds_the_mean_first_distance_of_the_slices() -> None:
    fake, real = normal(50, 0), normal(70, 1) + np.array([1, 0])
    first = [wasserstein_distance(fake @ way, real @ way) for way in directions()]
    assert sliced_w2(fake, real) >= np.mean(first)
    assert sliced_w2(fake, real) <= 1.3 * np.mean(first)


def test_sliced_w2_never_exceeds_w2() -> None:
    for seed in range(5):
        fake, real = normal(80, seed), normal(80, seed + 50, 1.5)
        assert sliced_w2(fake, real) <= w2(fake, real)


def test_the_directions_are_500_even_unit_vectors() -> None:
    ways = directions()
    assert ways.shape == (500, 2)
    np.testing.assert_allclose(np.linalg.norm(ways, axis=1), 1)
    np.testing.assert_allclose(ways.T @ ways / 500, np.eye(2) / 2, atol=1e-12)


def test_sliced_w2_of_the_points_data_has_the_known_floor() -> None:
    mixture = four_gaussians()
    floors = [sliced_w2(sample(mixture, 1200, s), sample(mixture, 1192, 1000 + s)) for s in range(40)]
    assert np.mean(floors) == pytest.approx(0.016, abs=0.003)
    assert 0.004 < np.std(floors) < 0.01


# mmd2


def test_mmd2_of_single_distances_is_as_computed_by_hand() -> None:
    fake, real = [[0.0, 0.0], [3.0, 4.0]], [[0.0, 0.0], [0.0, 4.0]]
    between = (0 + 4 + 5 + 3) / 4
    assert mmd2(fake, real) == pytest.approx(2 * between - 5 - 4)


def test_mmd2_is_unbiased_under_the_null_and_not_clamped() -> None:
    values = [mmd2(normal(60, 2 * seed), normal(80, 2 * seed + 1)) for seed in range(300)]
    assert min(values) < 0
    assert abs(np.mean(values)) < 3 * np.std(values) / math.sqrt(len(values))


def test_mmd2_of_a_far_shift_is_twice_the_shift_less_the_spreads() -> None:
    real = normal(400, 0)
    far = mmd2(real + np.array([1e6, 0]), real)
    spread = np.linalg.norm(real[:, None] - real[None], axis=2).sum() / (400 * 399)
    assert far == pytest.approx(2e6 - 2 * spread, rel=1e-9)


# d_auc


def test_d_auc_is_the_share_of_pairs_in_order_ties_counting_half() -> None:
    assert d_auc([1.0, 2.0], [0.0, -1.0, 0.5]) == 1.0
    assert d_auc([0.0], [1.0, 2.0]) == 0.0
    assert d_auc([1.0, 1.0], [1.0]) == 0.5
    assert d_auc([3.0, 1.0], [2.0, 1.0]) == pytest.approx((2 + 0 + 0.5) / 4)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(-5, 5), min_size=1, max_size=20),
    st.lists(st.integers(-5, 5), min_size=1, max_size=20),
)
def test_d_auc_equals_the_count_over_all_pairs(real: list[int], fake: list[int]) -> None:
    pairs = np.sign(np.subtract.outer(real, fake))
    assert d_auc(real, fake) == pytest.approx((pairs.mean() + 1) / 2, abs=1e-12)
    assert d_auc(np.exp(real), np.exp(fake)) == pytest.approx(d_auc(real, fake), abs=1e-12)


def test_d_auc_of_two_normals_is_the_closed_form() -> None:
    random = np.random.default_rng(0)
    value = d_auc(random.normal(1.0, 1.0, 20_000), random.normal(0.0, 1.0, 20_000))
    assert value == pytest.approx(0.5 * (1 + math.erf(1 / 2)), abs=0.01)


# Neighbours


def test_neighbour_radii_are_the_distances_to_the_kth_other_point() -> None:
    line = np.stack([np.arange(10.0), np.zeros(10)], axis=1)
    np.testing.assert_allclose(point_radii(line, 1), 1)
    assert point_radii(line, 2).tolist() == [2, 1, 1, 1, 1, 1, 1, 1, 1, 2]
    assert point_radii(line, 5)[0] == 5


def test_coverage_and_density_have_their_expected_values_under_one_law() -> None:
    count, other, k = 300, 250, 5
    found = [neighbours(normal(other, 2 * seed), normal(count, 2 * seed + 1)) for seed in range(40)]
    ratio = math.prod((count - i) / (count + other - i) for i in range(1, k + 1))
    assert np.mean([one.coverage for one in found]) == pytest.approx(1 - ratio, abs=0.006)
    assert np.mean([one.density for one in found]) == pytest.approx(1.0, abs=0.02)


def test_the_expected_coverage_of_equal_samples_is_969() -> None:
    found = [neighbours(normal(1000, 2 * seed), normal(1000, 2 * seed + 1)).coverage for seed in range(5)]
    assert np.mean(found) == pytest.approx(0.969, abs=0.006)


def test_neighbour_scores_equal_their_definition_point_by_point() -> None:
    fake, real, k = normal(40, 0), normal(50, 1) + np.array([0.5, 0]), 5

    def radii(points: Array) -> list[float]:
        return [sorted(np.linalg.norm(points - point, axis=1))[k] for point in points]

    distances = np.linalg.norm(fake[:, None] - real[None], axis=2)
    real_radii, fake_radii = np.array(radii(real)), np.array(radii(fake))
    in_real, in_fake = distances < real_radii, fake_radii > distances.T
    found = neighbours(fake, real)
    assert found.precision == pytest.approx(np.mean([row.any() for row in in_real]))
    assert found.recall == pytest.approx(np.mean([row.any() for row in in_fake]))
    assert found.density == pytest.approx(sum(row.sum() for row in in_real) / (k * 40))
    assert found.coverage == pytest.approx(np.mean([row.any() for row in in_real.T]))


def test_samples_far_apart_share_no_neighbourhood() -> None:
    found = neighbours(normal(50, 0) + 1000, normal(50, 1))
    assert (found.precision, found.recall, found.density, found.coverage) == (0, 0, 0, 0)


def test_points_huddled_inside_of_modes_lower_recall_and_coverage_but_not_precision() -> None:
    mixture = mixture_of("ring")
    real, fake = sample(mixture, 1000, 0), sample(mixture, 1000, 1)
    centres = mixture.means[mixture.nearest_part(fake)[1]]
    good, thin = neighbours(fake, real), neighbours(centres + 0.2 * (fake - centres), real)
    assert thin.recall < 0.5 < good.recall
    assert thin.coverage < 0.5 < good.coverage
    assert thin.precision > 0.99


def test_halving_each_class_s_spread_in_many_dimensions_raises_density() -> None:
    random = np.random.default_rng(0)
    real, fake = random.normal(size=(500, 64)), 0.5 * random.normal(size=(500, 64))
    between = np.linalg.norm(fake[:, None] - real[None], axis=2)
    found = neighbours_within(between < point_radii(real), between < point_radii(fake)[:, None])
    assert found.density > 20
    assert found.coverage > 0.99


# Bins


def test_bin_recall_of_the_reals_themselves_is_one_and_of_a_point_mass_one_bin() -> None:
    real = sample(four_gaussians(), 1192, 0)
    assert bin_recall(real, real) == 1.0
    assert bin_recall(np.repeat(real[:1], 1200, axis=0), real) == pytest.approx(0.02)


def test_bin_recall_falls_by_the_share_of_what_is_dropped() -> None:
    mixture = mixture_of("ring")
    real = sample(mixture, 2500, 0)
    kept = np.array([0.25] * 4 + [0.0] * 4)
    assert bin_recall(sample(mixture, 2500, 1), real) > 0.95
    assert bin_recall(sample(mixture, 2500, 2, kept), real) == pytest.approx(0.5, abs=0.08)


def test_bins_reach_their_threshold_at_a_fifth_of_the_expected_mass() -> None:
    real = np.concatenate([normal(100, 0, 0.01), normal(100, 1, 0.01) + 10])
    left, right = normal(100, 2, 0.01), normal(100, 3, 0.01) + 10
    centres = point_bins(real, 2).centres
    for num_right, expected in ((10, 1.0), (9, 0.5)):
        fake = np.concatenate([left[: 100 - num_right], right[:num_right]])
        counts = (point_bin_counts(points, centres) for points in (fake, real))
        assert recalled(*counts) == expected


def test_bins_are_always_the_same_filled_and_fewer_for_few_points() -> None:
    real = sample(four_gaussians(), 1192, 0)
    bins = point_bins(real)
    assert bins.centres.shape == (50, 2)
    assert np.array_equal(bins.centres, point_bins(real).centres)
    assert np.array_equal(bins.counts, point_bin_counts(real, bins.centres))
    assert bins.counts.min() > 0
    assert len(point_bins(real[:100]).centres) == 10
    assert len(point_bins(np.repeat(real[:3], 400, axis=0)).centres) == 3


# pair_distance


def test_pair_distance_is_the_scale_and_zero_for_a_point_mass() -> None:
    real = normal(100, 0)
    assert pair_distance(2.5 * real + 7, real) == pytest.approx(2.5)
    assert pair_distance(np.ones((50, 2)), real) == 0.0


def test_pair_distance_of_normals_is_the_closed_form() -> None:
    square = np.array([[0.0, 0.0], [1.0, 0.0]])
    assert pair_distance(normal(3000, 0), square) == pytest.approx(math.sqrt(math.pi), rel=0.02)


# Scores against a mixture


@pytest.mark.parametrize("name", ["ring", "grid"])
def test_a_perfect_sampler_finds_all_modes_at_9889_percent_quality(name: str) -> None:
    mixture = mixture_of(name)
    found = modes.assign(sample(mixture, 100_000, 0), mixture)
    assert modes.modes(found, mixture) == modes.modes_hit(found) == len(mixture)
    assert modes.high_quality(found) == pytest.approx(1 - math.exp(-4.5), abs=1.5e-3)
    assert modes.mode_kl(found, mixture) < 4 * len(mixture) / 200_000
    assert modes.thinness(found, mixture) == pytest.approx(1.0, abs=0.01)


def test_a_perfect_sampler_of_overlapping_parts_scores_as_well() -> None:
    mixture = four_gaussians()
    found = modes.assign(sample(mixture, 100_000, 0), mixture)
    assert modes.modes(found, mixture) == 4
    assert modes.high_quality(found) >= 1 - math.exp(-4.5)
    assert modes.mode_kl(found, mixture) < 0.002
    assert modes.thinness(found, mixture) == pytest.approx(1.0, abs=0.01)


def test_quality_is_within_three_standard_deviations_of_an_elongated_part() -> None:
    mixture = four_gaussians()
    axes, short = mixture.short_axes()
    inside, outside = (
        mixture.means + 2.99 * short[:, None] * axes,
        mixture.means + 3.01 * short[:, None] * axes,
    )
    assert modes.assign(inside, mixture).good.all()
    assert not modes.assign(outside[:1], mixture).good.any()


def test_a_mode_counts_from_a_fifth_of_its_share_and_leniently_from_one_point() -> None:
    mixture = mixture_of("ring")
    enough, short = np.zeros(8, int), np.zeros(8, int)
    enough[:2], short[:2] = (975, 25), (976, 24)
    at_centres = [np.repeat(mixture.means, counts, axis=0) for counts in (enough, short)]
    first, second = (modes.assign(points, mixture) for points in at_centres)
    assert (modes.modes(first, mixture), modes.modes_hit(first)) == (2, 2)
    assert (modes.modes(second, mixture), modes.modes_hit(second)) == (1, 2)


def test_the_share_of_modes_does_not_fall_with_the_share_of_good_points() -> None:
    mixture = mixture_of("ring")
    good = sample(mixture, 400, 0)
    few, many = (np.concatenate([good, np.full((poor, 2), 9.0)]) for poor in (0, 3600))
    assert modes.mode_recall(modes.assign(few, mixture), mixture) == 1.0
    assert modes.mode_recall(modes.assign(many, mixture), mixture) == 1.0
    assert modes.modes(modes.assign(many, mixture), mixture) == 0
    one = modes.assign(np.repeat(mixture.means[:1], 100, axis=0), mixture)
    assert (modes.mode_recall(one, mixture), modes.mode_surplus(one, mixture)) == (1 / 8, 1.0)
    with pytest.raises(TooFewError, match=r"only 79 generated points .* 8 clusters need 80"):
        modes.mode_recall(modes.assign(np.repeat(mixture.means[:1], 79, axis=0), mixture), mixture)


def test_poor_points_do_not_count_for_modes() -> None:
    mixture = mixture_of("ring")
    found = modes.assign(mixture.means.repeat(50, axis=0) * 1.5, mixture)
    assert (modes.modes(found, mixture), modes.modes_hit(found), modes.high_quality(found)) == (0, 0, 0.0)
    assert modes.mode_kl(found, mixture) == pytest.approx(4.5)
    assert modes.thinness(found, mixture) == 0.0


def test_mode_kl_of_half_the_modes_is_ln_2_and_of_one_mode_ln_of_all() -> None:
    mixture = mixture_of("ring")
    half = modes.assign(sample(mixture, 50_000, 0, np.array([0.25] * 4 + [0.0] * 4)), mixture)
    assert modes.mode_kl(half, mixture) == pytest.approx((1 - math.exp(-4.5)) * math.log(2), abs=2e-3)
    one = modes.assign(np.repeat(mixture.means[:1], 100, axis=0), mixture)
    assert modes.mode_kl(one, mixture) == pytest.approx(math.log(8 / (1 - math.exp(-4.5))))


def test_thinness_is_the_factor_by_which_parts_are_thinned() -> None:
    mixture = mixture_of("grid")
    points = sample(mixture, 20_000, 0)
    axes, _ = mixture.short_axes()
    centres, along = (values[mixture.nearest_part(points)[1]] for values in (mixture.means, axes))
    across = ((points - centres) * along).sum(axis=1, keepdims=True)
    cut = 0.9743  # the sd of a plane Gaussian's coordinate, cut at radius 3
    for width in (0.25, 0.8):
        thinned = modes.assign(points - (1 - width) * across * along, mixture)
        assert modes.thinness(thinned, mixture) == pytest.approx(width / cut, rel=0.02)


def test_the_true_width_is_cut_as_the_closed_form_says() -> None:
    mixture = mixture_of("ring")
    cut = math.sqrt((1 - 5.5 * math.exp(-4.5)) / (1 - math.exp(-4.5)))
    np.testing.assert_allclose(modes.true_short_axis_sd(mixture), 0.01 * cut, rtol=0.02)


def test_thinness_ignores_shifts_and_parts_with_too_few_points() -> None:
    mixture = mixture_of("ring")
    points = sample(mixture, 8000, 0)
    few = np.concatenate([points[mixture.nearest_part(points)[1] < 4], mixture.means[4:].repeat(9, axis=0)])
    whole = modes.thinness(modes.assign(few, mixture), mixture)
    assert whole == pytest.approx(1.0, abs=0.05)
    shifted = 0.5 * (points - mixture.means[mixture.nearest_part(points)[1]]) + [0.005, 0.005]
    shifted += mixture.means[mixture.nearest_part(points)[1]]
    assert modes.thinness(modes.assign(shifted, mixture), mixture) == pytest.approx(0.5 / 0.9743, rel=0.04)
