"""Scores of what a classifier sees, against their closed forms, and spectra of layers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.metrics.groups import TooFewError
from harness.metrics.images.classes import (
    ClassCounts,
    class_counts,
    class_kl,
    class_ratios,
    class_surplus,
    class_tv,
    classifier_score,
    clear_ratios,
    expected_modes,
    label_accuracy,
    num_present,
    stacked_counts,
    uniform_kl,
)


def sure(labels: Tensor, classes: int = 10) -> Tensor:
    return 20.0 * torch.nn.functional.one_hot(labels, classes).double()


def counted(*counts: int, total: int | None = None) -> ClassCounts:
    return ClassCounts(counts=torch.tensor(counts), total=total or sum(counts))


def test_images_of_which_the_classifier_is_not_sure_count_for_no_class() -> None:
    at = math.log(0.9 / (0.1 / 9))
    logits = torch.zeros(4, 10, dtype=torch.float64)
    logits[0, 3], logits[1, 3], logits[2, 5] = at + 1e-6, at - 1e-2, 30
    found = class_counts(logits)
    assert found.counts.nonzero().flatten().tolist() == [3, 5]
    assert found.confident == 0.5


def test_dropping_half_of_the_classes_gives_ln_2_and_a_tv_of_a_half() -> None:
    real = counted(*[1000] * 10)
    half = counted(*[2000] * 5, *[0] * 5)
    assert class_kl(half, real) == pytest.approx(math.log(2), abs=1e-9)
    assert class_tv(half, real) == pytest.approx(0.5)
    assert class_kl(real, real) == pytest.approx(0, abs=1e-12)
    assert num_present(class_ratios(half, real)) == 5


def test_a_perfect_sampler_s_tv_and_kl_are_within_their_published_nulls() -> None:
    random = np.random.default_rng(0)
    real = counted(*[10**7] * 10)
    drawn = [counted(*random.multinomial(10_000, np.full(10, 0.1)).tolist()) for _ in range(400)]
    assert np.quantile([class_tv(one, real) for one in drawn], 0.99) == pytest.approx(0.019, abs=0.003)
    assert np.quantile([class_kl(one, real) for one in drawn], 0.99) == pytest.approx(0.0010, abs=2e-4)


def test_a_class_is_there_from_a_fifth_of_the_sure_images_it_should_have() -> None:
    real = ClassCounts(counts=torch.tensor([80, 40, 0]), total=200)
    fake = ClassCounts(counts=torch.tensor([80, 39, 0]), total=1000)
    assert class_ratios(fake, real).tolist() == pytest.approx([0.2, 0.195, 1.0])
    assert num_present(class_ratios(fake, real)) == 2


def test_shares_of_the_sure_images_do_not_fall_with_how_many_are_sure() -> None:
    real = counted(*[100] * 10, total=1100)
    for total in (550, 5000):
        half = counted(275, *[25] * 9, total=total)
        assert clear_ratios(half, real).tolist() == pytest.approx([5.5, *[0.5] * 9])
        assert class_surplus(half, real) == pytest.approx(0.5)  # (0.55 − 0.1) / 0.9
    assert num_present(clear_ratios(counted(500, *[9] * 9, total=5000), real)) == 1
    assert num_present(clear_ratios(counted(500, *[13] * 9, total=5000), real)) == 10


def test_shares_of_classes_need_ten_sure_images_a_class() -> None:
    real = counted(*[100] * 10)
    assert class_surplus(counted(*[10] * 10, total=900), real) == 0
    with pytest.raises(TooFewError, match="only 99 generated images"):
        class_surplus(counted(9, *[10] * 9, total=900), real)
    with pytest.raises(TooFewError, match=r"only 99 generated images are of a clear class, .* need 100"):
        clear_ratios(counted(9, *[10] * 9, total=900), real)
    with pytest.raises(TooFewError, match="of no class are 10 real images clear"):
        clear_ratios(counted(*[10] * 10), counted(*[9] * 10))


@pytest.mark.parametrize("classes", [2, 4, 10, 100])
def test_what_one_class_has_too_much_is_0_for_right_shares_and_1_for_all_however_many_there_are(
    classes: int,
) -> None:
    real = counted(*[1000] * classes)
    assert class_surplus(real, real) == 0
    assert class_surplus(counted(1000 * classes, *[0] * (classes - 1)), real) == pytest.approx(1)
    taken = counted(1000 + 400 * (classes - 1), *[600] * (classes - 1))
    assert class_surplus(taken, real) == pytest.approx(0.4)
    assert class_surplus(counted(50), counted(50)) == 0  # one class has nothing to take


def test_what_a_class_of_few_reals_has_too_much_is_not_counted() -> None:
    assert class_surplus(counted(300, 300, 400), counted(498, 498, 4)) == 0


def test_a_rare_class_has_no_large_share_by_chance_and_one_of_few_reals_does_not_count() -> None:
    real = counted(980, 10, 9)
    ratios = clear_ratios(counted(95, 4, 1), real)
    assert ratios.tolist() == pytest.approx([95 / (98.0 * 1000 / 999), 0.4], rel=1e-3)


def test_without_any_sure_image_the_scores_are_the_worst_there_are() -> None:
    real, none = counted(*[99, 199]), counted(0, 0, total=50)
    assert class_tv(none, real) == 1
    assert class_kl(none, real) == pytest.approx(math.log(299 / 99.5))
    assert class_kl(counted(50, 0), real) == pytest.approx(class_kl(none, real))
    assert none.confident == 0


def test_the_classifier_score_counts_clear_and_even_classes() -> None:
    labels = torch.arange(1000) % 10
    assert classifier_score(sure(labels)) == pytest.approx(10, rel=1e-3)
    assert classifier_score(sure(torch.arange(1000) % 4)) == pytest.approx(4, rel=1e-3)
    assert classifier_score(torch.zeros(50, 10, dtype=torch.float64)) == pytest.approx(1)


def test_label_accuracy_is_the_share_of_images_in_the_class_asked_for() -> None:
    labels = torch.arange(100) % 10
    asked = torch.where(torch.arange(100) < 25, (labels + 1) % 10, labels)
    assert label_accuracy(sure(labels), asked) == 0.75
    with pytest.raises(ValueError, match=r"100 images, but labels of shape \(99,\)"):
        label_accuracy(sure(labels), asked[:99])


def test_stacked_digits_are_read_as_a_number_and_gated_by_all_three() -> None:
    digits = torch.tensor([[1, 2, 3], [0, 0, 7], [1, 2, 3]])
    logits = sure(digits)
    logits[2, 1] = 0.0
    logits[2, 1, 2] = 1.0
    every, gated = stacked_counts(logits, gate=False), stacked_counts(logits, gate=True)
    assert (int(every[123]), int(every[7]), int(every.sum())) == (2, 1, 3)
    assert (int(gated[123]), int(gated.sum())) == (1, 2)


def test_a_perfect_sampler_hits_as_many_numbers_as_expected() -> None:
    random = np.random.default_rng(0)
    hits = [len(set(random.integers(1000, size=2500).tolist())) for _ in range(50)]
    assert np.mean(hits) == pytest.approx(expected_modes(2500), abs=2)
    assert expected_modes(26_000) == pytest.approx(1000, abs=1e-6)
    assert uniform_kl(torch.full((1000,), 26)) == pytest.approx(0, abs=1e-12)
    assert uniform_kl(torch.tensor([5] * 500 + [0] * 500)) == pytest.approx(math.log(2))
    assert uniform_kl(torch.zeros(1000, dtype=torch.int64)) == pytest.approx(math.log(1000))
