"""The evaluator on images: all scores at once, the failures they must see, bad input."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from harness.data import Dataset, load_dataset, scaled
from harness.diagnostics import Evaluator
from harness.recipe import choose
from harness.registry import datasets, metrics


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset(choose(datasets, "digits"))


@pytest.fixture(scope="module")
def evaluator(digits: Dataset) -> Evaluator:
    return Evaluator(digits)


def reals(dataset: Dataset, count: int = 600) -> Tensor:
    """Training images in random order: a perfect generator's."""
    order = torch.randperm(len(dataset.train), generator=torch.Generator().manual_seed(1))
    return scaled(dataset.train[order[:count]])


def judged(dataset: Dataset, count: int) -> dict[str, Tensor]:
    return {"real_scores": torch.zeros(len(dataset.test)), "fake_scores": torch.zeros(count)}


def test_every_score_of_images_is_registered_and_given(digits: Dataset, evaluator: Evaluator) -> None:
    scores = evaluator.evaluate(reals(digits), **judged(digits, 600), exact=True)
    assert not scores.failures
    assert set(scores) == set(evaluator.names)
    assert all(type(value) is float and math.isfinite(value) for value in scores.values())
    assert all(metrics[name].kind in ("images", "any") for name in evaluator.names)


def test_scores_of_an_evaluation_are_the_same_again_and_change_no_input(
    digits: Dataset, evaluator: Evaluator
) -> None:
    fake = reals(digits, 100)
    before = fake.clone()
    first = evaluator.evaluate(fake)
    assert evaluator.evaluate(fake) == first == Evaluator(digits).evaluate(fake)
    assert torch.equal(fake, before)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_images_that_are_not_finite_are_refused(digits: Dataset, evaluator: Evaluator, bad: float) -> None:
    fake = reals(digits, 50)
    fake[3, 0, 2, 2] = bad
    with pytest.raises(ValueError, match="1 of 50 generated images are not finite; the run has diverged"):
        evaluator.evaluate(fake)


def test_images_of_another_kind_are_refused_in_one_line(evaluator: Evaluator) -> None:
    with pytest.raises(ValueError, match="have 3 channels, but the data set's have 1"):
        evaluator.evaluate(torch.zeros(30, 3, 8, 8))
    with pytest.raises(ValueError, match=r"must have shape \(N, 1, 8, 8\), but have \(30, 1, 9, 8\)"):
        evaluator.evaluate(torch.zeros(30, 1, 9, 8))
    with pytest.raises(ValueError, match="at least 20 generated images, but got 19"):
        evaluator.evaluate(torch.zeros(19, 1, 8, 8))
