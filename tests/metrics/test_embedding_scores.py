"""Scores of embeddings: each against its closed form, and each against a failure it must see."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.distances.balls import Neighbours, in_balls, neighbours, pairwise, point_radii, radii
from harness.distances.bins import Bins, fit_bins, ndb, nearest_bins
from harness.distances.bins import bin_recall as recalled
from harness.distances.frechet import Moments, frechet, frechet_null, kid, moments, vendi
from support.points import neighbours as neighbours_of_points


def normal(rows: int, dimension: int, seed: int, scale: float = 1.0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return scale * torch.randn(rows, dimension, generator=random, dtype=torch.float64)


CENTRES = normal(10, 64, 99, 1.5)
"""Ten classes in 64 dimensions."""


def of_classes(rows: int, seed: int, kept: int = 10, spread: float = 1.0) -> Tensor:
    random = torch.Generator().manual_seed(seed + 1000)
    return CENTRES[torch.randint(kept, (rows,), generator=random)] + normal(rows, 64, seed, spread)


def prdc(fake: Tensor, real: Tensor) -> Neighbours:
    between, (own, theirs) = pairwise(fake, real), (radii(x, pairwise(x, x)) for x in (fake, real))
    return neighbours(in_balls(fake, real, theirs, between), in_balls(real, fake, own, between.T).T)


def exactly(mean: Tensor, covariance: Tensor, count: int = 1000) -> Moments:
    return Moments(mean=mean, covariance=covariance, count=count)


# Fréchet


def test_frechet_of_the_same_moments_is_zero() -> None:
    found = moments(normal(500, 20, 0) @ normal(20, 20, 1))
    assert frechet(found, found) == pytest.approx(0, abs=1e-9 * float(found.covariance.trace()))


def test_frechet_of_a_shift_is_its_squared_length() -> None:
    found = moments(normal(500, 20, 0))
    assert frechet(exactly(found.mean + 0.3, found.covariance), found) == pytest.approx(20 * 0.09, rel=1e-9)


def test_frechet_of_commuting_covariances_is_that_of_their_roots() -> None:
    zero = torch.zeros(8, dtype=torch.float64)
    first, second = normal(8, 1, 2)[:, 0].square(), normal(8, 1, 3)[:, 0].square()
    expected = float((first.sqrt() - second.sqrt()).square().sum())
    basis = torch.linalg.qr(normal(8, 8, 4)).Q
    one, other = (exactly(zero, basis @ values.diag() @ basis.T) for values in (first, second))
    assert frechet(one, other) == pytest.approx(expected, rel=1e-9)
    assert frechet(one, other) == pytest.approx(frechet(other, one), rel=1e-9)


def test_frechet_of_singular_covariances_is_finite_and_right() -> None:
    zero, eye = torch.zeros(5, dtype=torch.float64), torch.eye(5, dtype=torch.float64)
    assert frechet(exactly(zero, 0 * eye), exactly(zero, eye)) == pytest.approx(5)
    half = torch.tensor([1.0, 1, 0, 0, 0], dtype=torch.float64).diag()
    assert frechet(exactly(zero, half), exactly(zero, eye)) == pytest.approx(3)


def test_the_null_of_frechet_has_its_closed_form_in_128_dimensions() -> None:
    eye = torch.eye(128, dtype=torch.float64)
    for count, expected in ((1000, 8.51), (10_000, 0.85)):
        real = exactly(torch.zeros(128, dtype=torch.float64), eye, count)
        assert frechet_null(real, count) == pytest.approx(expected, abs=0.005)


def test_frechet_less_its_null_is_about_zero_for_samples_of_one_law() -> None:
    mixing = normal(30, 30, 5)
    values = []
    for seed in range(20):
        real = moments(normal(2000, 30, 2 * seed) @ mixing)
        fake = moments(normal(1000, 30, 2 * seed + 1) @ mixing)
        values.append(frechet(fake, real) / frechet_null(real, 1000))
    assert np.mean(values) == pytest.approx(1.0, abs=0.05)


def test_frechet_rises_with_every_dropped_class() -> None:
    real = moments(of_classes(2500, 0))
    values = [frechet(moments(of_classes(2500, 1, kept)), real) for kept in (10, 9, 7, 5)]
    assert values[0] < 0.3 * values[1]
    assert values == sorted(values)


def test_frechet_says_how_many_images_it_needs_and_refuses_what_is_not_finite() -> None:
    with pytest.raises(ValueError, match=r"at least 21 generated images, .* but got 20"):
        moments(normal(20, 20, 0))
    broken = normal(100, 20, 0)
    broken[3, 3] = math.nan
    with pytest.raises(ValueError, match="features of some held-out images are not finite"):
        moments(broken, "held-out")
    found = moments(normal(100, 20, 0))
    with pytest.raises(ValueError, match="moments of the features are not finite"):
        frechet(exactly(found.mean * math.nan, found.covariance), found)


# KID


def test_kid_of_few_points_is_as_computed_by_hand() -> None:
    fake = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    real = torch.tensor([[1.0, 1.0], [2.0, 0.0]], dtype=torch.float64)
    inside_fake, inside_real = 1.0**3, 2.0**3  # k = (x·y/2 + 1)³
    between = (1.5**3 + 2**3 + 1.5**3 + 1**3) / 4
    assert kid(fake, real) == pytest.approx(inside_fake + inside_real - 2 * between)


def test_kid_is_unbiased_under_the_null_and_not_clamped() -> None:
    values = [kid(normal(60, 10, 2 * seed), normal(80, 10, 2 * seed + 1)) for seed in range(200)]
    assert min(values) < 0
    assert abs(np.mean(values)) < 3 * np.std(values) / math.sqrt(len(values))


def test_kid_does_not_depend_on_how_it_is_chunked_and_says_its_minimum() -> None:
    fake, real = normal(2100, 4, 0), normal(1100, 4, 1) + 0.2
    kernel = (fake @ real.T / 4 + 1) ** 3
    inside = [
        ((x @ x.T / 4 + 1) ** 3).fill_diagonal_(0).sum() / (len(x) * (len(x) - 1)) for x in (fake, real)
    ]
    assert kid(fake, real) == pytest.approx(float(sum(inside) - 2 * kernel.mean()), rel=1e-9)
    with pytest.raises(ValueError, match="at least 2 images of each kind, but got 1 and 3"):
        kid(fake[:1], real[:3])


# Vendi


def test_vendi_of_orthogonal_samples_is_their_number_and_of_identical_ones_one() -> None:
    zero = torch.zeros(12, dtype=torch.float64)
    assert vendi(torch.eye(12, dtype=torch.float64)[:7], zero) == pytest.approx(7)
    assert vendi(torch.ones(50, 12, dtype=torch.float64), zero) == pytest.approx(1)
    assert vendi(torch.zeros(50, 12, dtype=torch.float64), zero) == 1


def test_vendi_of_groups_of_one_direction_each_counts_the_groups() -> None:
    rows = torch.eye(9, dtype=torch.float64)[:3].repeat(20, 1) * normal(60, 1, 0).abs()
    assert vendi(rows, torch.zeros(9, dtype=torch.float64)) == pytest.approx(3)


def test_vendi_seen_from_the_reals_does_not_rise_on_a_noisy_point_mass() -> None:
    real = of_classes(1000, 0)
    mass = real[:1] + 1e-3 * normal(1000, 64, 1)
    assert vendi(mass, real.mean(dim=0)) < 1.01
    assert vendi(mass, mass.mean(dim=0)) > 50


# Neighbours


def test_neighbours_on_tensors_are_those_of_points() -> None:
    fake, real = normal(300, 2, 0) + 0.2, normal(250, 2, 1)
    assert prdc(fake, real) == neighbours_of_points(fake, real)


def by_definition(fake: Tensor, real: Tensor, k: int = 5) -> Neighbours:
    """With every distance from the difference."""

    def apart(x: Tensor, y: Tensor) -> Tensor:
        return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")

    inside = apart(fake, real) < apart(real, real).kthvalue(k + 1, dim=1).values
    around = apart(fake, real) < apart(fake, fake).kthvalue(k + 1, dim=1).values[:, None]
    return neighbours(inside, around, k)


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_samples_that_equal_reals_get_exactly_what_the_definition_gives(offset: float) -> None:
    real = normal(1500, 84, 0) + offset
    found = prdc(real.flip(0), real)
    assert found == by_definition(real.flip(0), real)
    assert found.density == 1  # of the five in each ball, the fifth lies on its edge, and the centre inside
    half = torch.cat([real[:400], normal(300, 84, 1) + offset])
    assert prdc(half, real) == by_definition(half, real)


def test_samples_on_a_lattice_and_copies_get_exactly_what_the_definition_gives() -> None:
    random = torch.Generator().manual_seed(0)
    levels = torch.randint(0, 3, (500, 6), generator=random).double() / 10
    others = torch.randint(0, 3, (400, 6), generator=random).double() / 10
    assert prdc(others, levels) == by_definition(others, levels)
    copies = normal(12, 84, 1).repeat(40, 1)
    assert prdc(copies[:300], copies) == by_definition(copies[:300], copies)
    assert prdc(copies, copies).coverage == 0  # a ball that reaches to a copy of its centre holds nothing


def test_a_distance_is_the_same_in_any_block() -> None:
    real = of_classes(1300, 0)
    whole, part = (radii(x, pairwise(x, x)) for x in (real, real[torch.arange(1300).flip(0)]))
    assert torch.equal(whole, part.flip(0))


def test_neighbourhoods_need_more_samples_than_the_neighbour_that_they_reach_to() -> None:
    few = normal(5, 3, 0)
    with pytest.raises(ValueError, match=r"reaches to neighbour 5 .* at least 6 samples, but got 5"):
        radii(few, pairwise(few, few))
    assert len(radii(normal(6, 3, 0), pairwise(normal(6, 3, 0), normal(6, 3, 0)))) == 6
    with pytest.raises(ValueError, match="at least 6 samples, but got 5"):
        point_radii(few[:, :2].numpy())


def test_coverage_and_density_have_their_expected_values_under_one_law() -> None:
    found = [prdc(normal(400, 32, 2 * seed), normal(300, 32, 2 * seed + 1)) for seed in range(20)]
    expected = 1 - math.prod((300 - i) / (400 + 300 - i) for i in range(1, 6))
    assert np.mean([one.coverage for one in found]) == pytest.approx(expected, abs=0.01)
    assert np.mean([one.density for one in found]) == pytest.approx(1.0, abs=0.04)


def test_precision_under_one_law_falls_with_the_dimension() -> None:
    low, high = (prdc(normal(600, dimension, 0), normal(600, dimension, 1)) for dimension in (4, 128))
    assert low.precision > 0.9
    assert high.precision < 0.75


def test_dropped_classes_lower_coverage_by_their_share() -> None:
    real = of_classes(1200, 0)
    covered = [prdc(of_classes(1200, 1, kept), real).coverage for kept in (10, 9, 7, 5)]
    assert covered == pytest.approx([0.969, 0.88, 0.68, 0.49], abs=0.04)


def test_shrinking_inside_of_classes_raises_density_and_keeps_coverage() -> None:
    found = prdc(of_classes(2000, 1, spread=0.5), of_classes(2000, 0))
    assert found.density > 20
    assert found.coverage > 0.99
    assert found.recall < 0.05


def test_a_hundred_memorised_images_cover_little() -> None:
    real = of_classes(2500, 0)
    few = of_classes(100, 7).repeat(25, 1)
    assert prdc(few, real).coverage == pytest.approx(0.18, abs=0.05)


# Bins


def bin_recall(fake: Tensor, bins: Bins[Tensor]) -> float:
    counts = torch.bincount(nearest_bins(fake, bins.centres), minlength=len(bins.centres))
    return recalled(counts.numpy(), bins.counts.numpy())


def test_bin_recall_falls_by_the_share_of_dropped_classes() -> None:
    bins = fit_bins(of_classes(2500, 0))
    assert len(bins.centres) == 50
    recalled = [bin_recall(of_classes(2500, 1, kept), bins) for kept in (10, 9, 7, 5, 1)]
    assert recalled == pytest.approx([1.0, 0.90, 0.70, 0.50, 0.10], abs=0.09)
    assert bin_recall(of_classes(1, 0).repeat(2500, 1), bins) == pytest.approx(1 / len(bins.centres))


def test_bins_are_always_the_same_filled_and_fewer_for_few_samples() -> None:
    real = of_classes(700, 0)
    bins = fit_bins(real)
    assert torch.equal(bins.centres, fit_bins(real).centres)
    assert int(bins.counts.min()) > 0
    assert int(bins.counts.sum()) == 700
    assert len(fit_bins(real[:100]).centres) == 10
    assert len(fit_bins(real[:3].repeat(400, 1)).centres) == 3


def test_ndb_is_five_percent_under_one_law_and_one_for_a_point_mass() -> None:
    random = np.random.default_rng(0)
    law = random.dirichlet(np.full(50, 20))

    def draw() -> Tensor:
        return torch.from_numpy(random.multinomial(5000, law))

    assert np.mean([ndb(draw(), draw()) for _ in range(100)]) == pytest.approx(0.05, abs=0.01)
    mass = torch.zeros(50, dtype=torch.int64)
    mass[0] = 2500
    assert ndb(mass, draw()) == 1.0


def test_ndb_counts_a_bin_from_196_standard_errors_on() -> None:
    real = torch.tensor([5000, 5000])
    assert ndb(torch.tensor([519, 481]), real) == 0.0
    assert ndb(torch.tensor([540, 460]), real) == 1.0
