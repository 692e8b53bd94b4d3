"""Copies of training samples and of each other: none where there are none, and all where all are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.data import Dataset, distinct_rows
from harness.distances.balls import pairwise, radii
from harness.metrics.copies import memorised, nearness, nearness_of, repeated
from harness.metrics.evaluator import Evaluator
from harness.metrics.groups import TooFewError
from support.points import load, mixture_of, sample


def normal(rows: int, dimension: int, seed: int) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(rows, dimension, generator=random, dtype=torch.float64)


def of_points(fake: Tensor, train: Tensor, held_out: Tensor) -> float:
    data = Dataset(name="some", kind="points", train=train.float(), test=held_out.float())
    return Evaluator(data).evaluate(fake.float(), exact=True)["memorised"]


def test_nearness_is_the_nearest_distance_over_the_second() -> None:
    train = torch.tensor([[0.0, 0.0], [3.0, 4.0], [100.0, 0.0]], dtype=torch.float64)
    samples = torch.tensor([[0.0, 0.0], [1.5, 2.0], [0.0, -1.0]], dtype=torch.float64)
    expected = [0.0, 1.0, 1 / np.hypot(3, 5)]
    assert nearness(samples, train).tolist() == pytest.approx(expected, rel=1e-12)
    assert nearness_of(torch.zeros(2, 2)).tolist() == [0, 0]


def test_nearness_of_a_copy_is_exactly_zero_far_from_the_origin_and_in_any_block() -> None:
    train = normal(3000, 84, 0) + 1e6
    values = nearness(train[:2000], train)
    assert values.tolist() == [0.0] * 2000
    others = normal(3000, 84, 1) + 1e6
    brute = torch.cdist(others, train, compute_mode="donot_use_mm_for_euclid_dist").topk(2, largest=False)
    assert nearness(others, train).tolist() == pytest.approx(nearness_of(brute.values).tolist(), rel=1e-9)


def test_a_perfect_generator_copies_by_chance_alone_in_any_dimension() -> None:
    for dimension in (2, 8, 64):
        train = normal(2000, dimension, 0)
        real = nearness(normal(1000, dimension, 1), train)
        fakes = [memorised(nearness(normal(1000, dimension, seed), train), real) for seed in range(10, 20)]
        assert abs(np.mean(fakes)) < 0.01
        assert max(fakes) < 0.03


def test_the_share_of_copies_is_found_and_half_of_them_is_half() -> None:
    train, held_out, new = normal(2000, 16, 0), normal(1000, 16, 1), normal(600, 16, 2)
    real = nearness(held_out, train)
    for count in (60, 300, 600):
        fake = torch.cat([train[:count], new[count:]])
        assert memorised(nearness(fake, train), real) == pytest.approx(count / 600, abs=0.02)
    noisy = train[:600] + 0.05 * normal(600, 16, 3)
    assert memorised(nearness(noisy, train), real) == 1


def test_data_that_repeat_themselves_make_no_copies_of_a_perfect_generator() -> None:
    kinds = normal(300, 8, 0)
    weights = torch.cat([torch.full((150,), 0.5 / 150), torch.full((150,), 0.5 / 150)])

    def drawn(count: int, seed: int) -> Tensor:
        """Half of them are one of 300 kinds, half are new."""
        random = torch.Generator().manual_seed(seed)
        old = kinds[torch.multinomial(weights, count, replacement=True, generator=random)]
        fresh = normal(count, 8, seed + 1)
        return torch.where(torch.rand(count, 1, generator=random) < 0.5, old, fresh)

    train = torch.unique(drawn(4000, 1), dim=0)
    real = nearness(drawn(1000, 5), train)
    assert abs(memorised(nearness(drawn(1000, 9), train), real)) < 0.05
    assert memorised(nearness(train[:1000], train), real) == 1


def test_data_of_copies_alone_leave_the_score_out_with_a_reason() -> None:
    kinds = normal(30, 2, 0)
    places = torch.arange(400) % 30
    data = Dataset(name="kinds", kind="points", train=kinds[places].float(), test=kinds[places[:100]].float())
    scores = Evaluator(data).evaluate(kinds[places[:50]].float(), exact=True)
    assert "memorised" in scores.too_few
    assert "all but 0 of 100 held-out samples are copies" in scores.failures["memorised"]
    with pytest.raises(TooFewError, match="all training samples are the same"):
        nearness(normal(5, 3, 0), normal(1, 3, 1))
    with pytest.raises(TooFewError, match="equally near"):
        memorised(torch.ones(30), torch.ones(30))


@pytest.mark.parametrize("name", ["points", "ring", "grid"])
def test_points_near_training_points_are_no_copies_unless_they_are(name: str) -> None:
    data, mixture = load(name), mixture_of(name)
    assert data.mixture is not None
    evaluator = Evaluator(data)
    train = data.train[:1000].double()
    values = {
        kind: evaluator.evaluate(fake, exact=True)["memorised"]
        for kind, fake in {
            "new": torch.from_numpy(sample(mixture, 1000, 5)),
            "centres": torch.from_numpy(mixture.means).repeat(100, 1),
            "blurred": train + 0.03 * normal(1000, 2, 1),
            "hundred": train[torch.arange(1000) % 100],
            "copies": train,
        }.items()
    }
    assert values["copies"] == values["hundred"] == 1
    assert all(abs(values[kind]) < 0.03 for kind in ("new", "centres", "blurred")), values


def test_a_training_point_that_is_there_twice_is_still_found() -> None:
    train = normal(400, 2, 0)
    assert of_points(train[:100], torch.cat([train, train]), normal(200, 2, 1)) == 1
    assert of_points(train[:100] + 1e-4, torch.cat([train, train]), normal(200, 2, 1)) > 0.9


def test_twenty_held_out_samples_are_enough_to_find_copies() -> None:
    train, held_out = normal(60, 2, 0), normal(20, 2, 1)
    assert of_points(train[:40], train, held_out) == 1
    values = [of_points(normal(40, 2, seed), train, held_out) for seed in range(2, 12)]
    assert abs(np.mean(values)) < 0.15


# Of each other


def gaps(samples: Tensor) -> Tensor:
    return radii(samples, pairwise(samples, samples), 1)


@pytest.mark.parametrize("dimension", [2, 8, 64])
def test_samples_made_once_are_no_repeats_whatever_else_is_wrong_with_them(dimension: int) -> None:
    real = gaps(normal(1000, dimension, 0))
    values = {
        "real": normal(1000, dimension, 1),
        "shifted": normal(1000, dimension, 2) + 3,
        "noisy": normal(1000, dimension, 3) * 1.5,
        "narrow": normal(1000, dimension, 4) * 0.8,
        "far apart": normal(1000, dimension, 5) * 1e6,
    }
    assert {kind: abs(repeated(gaps(fake), real)) < 0.02 for kind, fake in values.items()} == dict.fromkeys(
        values, True
    )


def test_the_share_of_repeats_is_found_with_a_little_noise_too() -> None:
    real = gaps(normal(1000, 32, 0))
    once = normal(1000, 32, 1)
    few = once[torch.arange(1000) % 200]
    assert repeated(gaps(few), real) == 1
    assert repeated(gaps(few + 0.05 * normal(1000, 32, 2)), real) == 1
    assert repeated(gaps(once[:1].expand(1000, -1)), real) == 1
    half = torch.where(torch.arange(1000)[:, None] < 500, once[:1], once)
    assert repeated(gaps(half), real) == pytest.approx(0.5)


def test_data_that_repeat_themselves_allow_as_many_repeats() -> None:
    def drawn(seed: int) -> Tensor:
        """A fifth of them are one of forty kinds."""
        kinds = normal(40, 8, 0)[torch.arange(1000) % 40]
        return torch.where(torch.arange(1000)[:, None] < 200, kinds, normal(1000, 8, seed))

    real = gaps(drawn(1))
    assert repeated(gaps(drawn(2)), real) == pytest.approx(0, abs=0.01)
    assert repeated(gaps(normal(500, 8, 3).repeat(2, 1)), real) == 1
    with pytest.raises(TooFewError, match="all but 0 of 1000 real samples are there more than once"):
        repeated(real, gaps(normal(500, 8, 4).repeat(2, 1)))


def test_images_and_points_made_many_times_are_told_from_real_ones_of_as_many() -> None:
    for name in ("digits", "ring"):
        evaluator, train = Evaluator(load(name)), load(name).train
        assert evaluator.evaluate(train[:1000])["repeated"] == pytest.approx(0, abs=0.02), name
        assert evaluator.evaluate(train[torch.arange(1000) % 20])["repeated"] == 1, name
    assert abs(Evaluator(load("ring")).null(2500)["repeated"]) < 0.02


def test_of_equal_rows_the_first_is_kept() -> None:
    images = torch.tensor([[1, 2], [3, 4], [1, 2], [3, 4], [5, 6]], dtype=torch.uint8)
    assert distinct_rows(images, torch.arange(5)).tolist() == [0, 1, 4]
    assert distinct_rows(images, torch.tensor([3, 2, 1, 0])).tolist() == [0, 1]
    many = torch.arange(5000)[:, None].expand(-1, 3).float() // 2
    assert len(distinct_rows(many, torch.arange(5000))) == 2500
