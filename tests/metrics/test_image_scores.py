"""The evaluator on images: all scores at once, the failures they must see, bad input, what is recorded."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.data import Dataset, load_dataset, scaled
from harness.features.comparing import check_comparable
from harness.features.find import find_extractor
from harness.metrics.checks import as_images
from harness.metrics.evaluator import Evaluator
from harness.metrics.images import groups as image_groups
from harness.metrics.scores import Scores
from harness.recipe import choose
from harness.recipe.registry import datasets, metrics


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset(choose(datasets, "digits"))


@pytest.fixture(scope="module")
def evaluator(digits: Dataset) -> Evaluator:
    return Evaluator(digits)


@pytest.fixture(scope="module")
def colour() -> Evaluator:
    return Evaluator(photographs())


@pytest.fixture(scope="module")
def good_colour(colour: Evaluator) -> Scores:
    return colour.evaluate(reals(photographs(), 300))


def photographs() -> Dataset:
    """Colour images without labels: smooth random blots."""
    random = torch.Generator().manual_seed(0)
    small = torch.rand(700, 3, 6, 6, generator=random)
    images = torch.nn.functional.interpolate(small, size=(32, 32), mode="bilinear").mul(255).to(torch.uint8)
    return Dataset(name="blots", kind="images", train=images[:400], test=images[400:])


def reals(dataset: Dataset, count: int = 600) -> Tensor:
    """Training images in random order: a perfect generator's."""
    order = torch.randperm(len(dataset.train), generator=torch.Generator().manual_seed(1))
    return scaled(dataset.train[order[:count]])


def given(dataset: Dataset, count: int) -> dict[str, Tensor]:
    return {
        "real_scores": torch.zeros(len(dataset.test)),
        "fake_scores": torch.zeros(count),
        "fake_labels": torch.zeros(count, dtype=torch.int64),
    }


# All at once


def test_every_score_of_images_is_registered_and_given(digits: Dataset, evaluator: Evaluator) -> None:
    scores = evaluator.evaluate(reals(digits), **given(digits, 600), exact=True)
    assert not scores.failures
    assert set(scores) == set(evaluator.names)
    assert all(type(value) is float and math.isfinite(value) for value in scores.values())
    assert all(metrics[name].kind in ("images", "any") for name in evaluator.names)


def test_every_registered_score_of_images_is_given_for_some_data(
    evaluator: Evaluator, colour: Evaluator
) -> None:
    stacked = Evaluator(load_dataset(choose(datasets, "stacked-mnist", source="digits", num_samples=1000)))
    points = Evaluator(load_dataset(choose(datasets, "points")))
    assert set(metrics) == {*evaluator.names, *colour.names, *stacked.names, *points.names}


def test_real_images_score_near_the_ideal_of_every_metric(digits: Dataset, evaluator: Evaluator) -> None:
    scores = evaluator.evaluate(reals(digits, 1000), **given(digits, 1000), exact=True)
    loose = {
        "swd": 60.0,
        "frechet": 1.5,
        "frechet_minus_null": 0.3,
        "class_tv": 0.15,
        "density_over_real": 0.2,
    }
    for name, value in scores.items():
        ideal = metrics[name].ideal
        if ideal is not None and name != "memorised":  # these are training images
            assert value == pytest.approx(ideal, abs=loose.get(name, 0.1)), name


def test_an_evaluation_gives_the_same_numbers_again_and_changes_no_input(
    digits: Dataset, evaluator: Evaluator
) -> None:
    fake = reals(digits, 100)
    before = fake.clone()
    first = evaluator.evaluate(fake)
    evaluator.evaluate(fake[:40])
    assert evaluator.evaluate(fake) == first == Evaluator(digits).evaluate(fake)
    assert torch.equal(fake, before)


def test_bytes_and_numbers_of_the_same_images_score_the_same(digits: Dataset, evaluator: Evaluator) -> None:
    assert evaluator.evaluate(digits.train[:50]) == evaluator.evaluate(scaled(digits.train[:50]))


def test_scores_that_need_more_are_given_only_with_it(
    digits: Dataset, evaluator: Evaluator, colour: Evaluator
) -> None:
    plain = evaluator.evaluate(reals(digits, 120))
    assert set(evaluator.names) - set(plain) == {"d_auc", "label_accuracy", "memorised"}
    assert "ms_ssim" not in evaluator.names  # too small
    assert "ms_ssim" in colour.names
    assert not {name for name in colour.names if "class" in name or "confident" in name}


# Planted failures


def dropped(fake: Tensor, labels: Tensor) -> Tensor:
    left = fake[labels < 5]
    return left[torch.arange(len(fake)) % len(left)]


def one_class(fake: Tensor, labels: Tensor) -> Tensor:
    left = fake[labels == 1]
    return left[torch.arange(len(fake)) % len(left)]


def shrunk(fake: Tensor, labels: Tensor) -> Tensor:
    means = torch.stack([fake[labels == label].mean(dim=0) for label in range(10)])
    return means[labels] + 0.3 * (fake - means[labels])


def mass(fake: Tensor, labels: Tensor) -> Tensor:
    random = torch.Generator().manual_seed(0)
    return fake[:1] + 0.01 * torch.randn(fake.shape, generator=random)


def copied(fake: Tensor, labels: Tensor) -> Tensor:
    return fake[torch.arange(len(fake)) % 40]


def noise(fake: Tensor, labels: Tensor) -> Tensor:
    return torch.rand(fake.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def blurred(fake: Tensor, labels: Tensor) -> Tensor:
    return torch.nn.functional.avg_pool2d(fake, 3, 1, 1)


@pytest.mark.parametrize(
    ("failure", "worse"),
    [
        (
            dropped,
            "frechet kid mmd2 coverage bin_recall ndb class_recall classes class_kl class_tv",
        ),
        (one_class, "swd frechet kid mmd2 recall coverage bin_recall ndb class_recall vendi"),
        (shrunk, "swd frechet recall_over_real pair_distance sharpness"),
        (
            mass,
            "swd frechet kid mmd2 recall coverage bin_recall ndb class_recall pair_distance vendi",
        ),
        (copied, "recall coverage coverage_over_real ndb"),
        (
            noise,
            "swd frechet kid mmd2 precision density coverage confident class_recall symmetry",
        ),
        (blurred, "swd frechet kid sharpness confident classifier_score_over_real"),
    ],
)
def test_a_planted_failure_is_seen_by_the_scores_made_for_it(
    digits: Dataset, evaluator: Evaluator, failure: Callable[[Tensor, Tensor], Tensor], worse: str
) -> None:
    assert digits.train_labels is not None
    order = torch.randperm(len(digits.train), generator=torch.Generator().manual_seed(1))[:1000]
    fake = scaled(digits.train[order])
    good, bad = evaluator.evaluate(fake), evaluator.evaluate(failure(fake, digits.train_labels[order]))
    assert set(bad.failures) == bad.too_few
    for name in worse.split():
        if metrics[name].goal == "minimize":
            assert bad[name] > 1.5 * good[name] + 0.02, name
        else:
            assert bad[name] < 0.85 * good[name], name


def test_colour_images_without_labels_are_scored_too(colour: Evaluator, good_colour: Scores) -> None:
    fake, good = reals(photographs(), 300), good_colour
    bad, flat = (colour.evaluate(x) for x in (fake[:1].expand(300, -1, -1, -1), fake * 0.2))
    assert not good.failures
    for name in ("swd", "frechet", "kid", "ms_ssim_excess"):
        assert bad[name] > good[name] + 0.1, name
    assert bad["pair_distance"] == 0
    assert flat["pair_distance"] == pytest.approx(0.2, abs=0.02)


def memorised_few(fake: Tensor) -> Tensor:
    return fake[torch.arange(len(fake)) % 20]


def smoothed(fake: Tensor) -> Tensor:
    return torch.nn.functional.avg_pool2d(fake, 9, 1, 4)


def grainy(fake: Tensor) -> Tensor:
    return (fake + 0.5 * torch.randn(fake.shape, generator=torch.Generator().manual_seed(0))).clamp(-1, 1)


@pytest.mark.parametrize(
    ("failure", "worse"),
    [
        (memorised_few, "recall_over_real coverage_over_real bin_recall ndb frechet"),
        (smoothed, "swd frechet kid sharpness mmd2 pair_distance"),
        (grainy, "swd frechet kid mmd2 precision density coverage"),
    ],
)
def test_a_failure_planted_in_colour_images_is_seen_too(
    colour: Evaluator, good_colour: Scores, failure: Callable[[Tensor], Tensor], worse: str
) -> None:
    good, bad = good_colour, colour.evaluate(failure(reals(photographs(), 300)))
    assert good["coverage_over_real"] == pytest.approx(1, abs=0.1)
    for name in worse.split():
        if metrics[name].goal == "minimize":
            assert bad[name] > 1.5 * good[name] + 0.02, name
        else:
            assert bad[name] < 0.85 * good[name], name


def test_the_null_of_images_does_not_look_for_them_in_the_training_set(evaluator: Evaluator) -> None:
    assert "memorised" in evaluator.names
    assert "memorised" not in evaluator.null(100).keys() | evaluator.null(100).failures.keys()


def test_copies_of_a_hundred_training_images_are_found_also_with_a_little_noise(
    digits: Dataset, evaluator: Evaluator
) -> None:
    random = torch.Generator().manual_seed(0)
    copies = reals(digits, 100)[torch.arange(500) % 100]
    noise = torch.randn(copies.shape, generator=random)
    blurry = torch.nn.functional.avg_pool2d(reals(digits, 500), 3, 1, 1)
    values = {
        name: evaluator.evaluate(fake, exact=True)["memorised"]
        for name, fake in {
            "held out": digits.test,
            "copies": copies,
            "noisy copies": copies + 0.04 * noise,
            "far from copies": copies + 0.6 * noise,
            "blurry": blurry,
            "noise": torch.rand(copies.shape, generator=random) * 2 - 1,
        }.items()
    }
    assert values["copies"] == 1
    assert values["noisy copies"] > 0.9
    assert max(values[name] for name in ("held out", "far from copies", "blurry", "noise")) < 0.05


def test_one_class_at_half_of_all_images_has_taken_half_of_the_others_share_however_few_are_clear(
    digits: Dataset, evaluator: Evaluator
) -> None:
    labels = digits.train_labels
    assert labels is not None
    fake = torch.cat([digits.train[labels == 0][:120], digits.train[:120]])
    noisy = torch.randint(0, 256, (360, 1, 8, 8), generator=torch.Generator().manual_seed(0)).byte()
    alone, beside = evaluator.evaluate(fake), evaluator.evaluate(torch.cat([fake, noisy]))
    assert alone["class_surplus"] == pytest.approx(0.5, abs=0.1)
    assert beside["class_surplus"] == pytest.approx(alone["class_surplus"], rel=0.05)
    assert beside["class_recall_clear"] == alone["class_recall_clear"] == 1
    assert beside["confident"] < 0.6 * alone["confident"]


def test_too_few_clear_images_leave_the_shares_of_classes_out_with_a_reason(evaluator: Evaluator) -> None:
    scores = evaluator.evaluate(torch.zeros(200, 1, 8, 8))
    assert {"class_recall_clear", "class_surplus"} == scores.too_few
    assert "of a clear class, but the shares of 10 classes need 100" in scores.failures["class_surplus"]


def test_dropped_classes_are_named_by_the_details(digits: Dataset, evaluator: Evaluator) -> None:
    labels = digits.train_labels
    assert labels is not None
    ratios = evaluator.evaluate(digits.train[labels != 3]).details["class_ratios"]
    assert [label for label, ratio in enumerate(ratios) if ratio < 0.2] == [3]


def test_labels_asked_for_are_compared_with_what_is_seen(digits: Dataset, evaluator: Evaluator) -> None:
    labels = digits.train_labels
    assert labels is not None
    fake = digits.train[:300]
    assert evaluator.evaluate(fake, fake_labels=labels[:300])["label_accuracy"] > 0.95
    assert evaluator.evaluate(fake, fake_labels=(labels[:300] + 1) % 10)["label_accuracy"] < 0.05


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e6])
def test_extreme_generators_get_finite_scores_or_a_reason(evaluator: Evaluator, scale: float) -> None:
    scores = evaluator.evaluate(scale * torch.randn(200, 1, 8, 8), exact=True)
    assert all(math.isfinite(value) for value in scores.values())
    assert set(scores.failures) == scores.too_few <= {"class_recall_clear", "class_surplus"}


# Failures


def test_a_score_that_fails_is_apart_with_its_reason_and_the_others_are_given(evaluator: Evaluator) -> None:
    scores = evaluator.evaluate(torch.rand(84, 1, 8, 8))
    assert set(scores.failures) - scores.too_few == {"frechet", "frechet_minus_null", "frechet_over_trace"}
    assert "at least 85 generated images" in scores.failures["frechet"]
    assert not scores.keys() & scores.failures.keys()
    assert "kid" in scores


def test_a_score_that_comes_out_as_no_number_is_a_failure(
    evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_groups, "kid", lambda *_: math.nan)
    scores = evaluator.evaluate(torch.rand(100, 1, 8, 8))
    assert scores.failures["kid"] == "it came out as nan."


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (torch.linalg.LinAlgError("no convergence\nat all"), "no convergence at all"),
        (MemoryError(), "MemoryError: no more is known"),
        (KeyError("lost"), "KeyError: 'lost'"),
        (AssertionError("never"), "AssertionError: never"),
    ],
)
def test_a_routine_that_fails_in_whatever_way_costs_its_score_alone(
    evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def broken(*_: object) -> float:
        raise error

    monkeypatch.setattr(image_groups, "frechet", broken)
    scores = evaluator.evaluate(torch.rand(100, 1, 8, 8))
    assert scores.failures["frechet_over_trace"] == reason
    assert "kid" in scores


def test_want_of_device_memory_is_passed_on_so_that_the_population_is_halved(
    evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> float:
        raise torch.cuda.OutOfMemoryError("full")

    monkeypatch.setattr(image_groups, "frechet", broken)
    with pytest.raises(torch.cuda.OutOfMemoryError, match="full"):
        evaluator.evaluate(torch.rand(100, 1, 8, 8))


# What they are measured against


@pytest.mark.parametrize("name", ["digits", "points"])
def test_the_null_is_what_real_training_samples_score(name: str) -> None:
    data = load_dataset(choose(datasets, name))
    null = Evaluator(data).null(400)
    assert null["pair_distance"] == pytest.approx(1, abs=0.1)
    assert null["bin_recall"] > 0.9
    assert null == Evaluator(data).null(400) != Evaluator(data).null(300)
    assert sorted(Evaluator(data).held_out_rows.tolist()) == list(range(len(data.test)))


def test_halves_of_the_held_out_images_share_none_and_make_up_all(digits: Dataset) -> None:
    select, report = (Evaluator(digits, held_out=half) for half in ("select", "report"))
    fake = reals(digits, 200)
    assert select.evaluate(fake)["kid"] != report.evaluate(fake)["kid"]
    rows = [set(half.held_out_rows.tolist()) for half in (select, report)]
    assert not rows[0] & rows[1]
    assert rows[0] | rows[1] == set(range(300))


@pytest.mark.parametrize("metric", ["frechet", "swd", "coverage_over_real", "d_auc", "label_accuracy"])
def test_a_score_on_two_halves_is_that_of_evaluators_of_these_halves(
    digits: Dataset, evaluator: Evaluator, metric: str
) -> None:
    fake = reals(digits, 200)
    context: dict[str, Any] = {**given(digits, 200)}
    context["real_scores"] = torch.linspace(-1, 1, 300)
    halves = evaluator.halves(fake, metric, **context)
    rows = evaluator.held_out_rows
    for number, half in enumerate(("select", "report")):
        apart = Evaluator(digits, held_out="select" if number == 0 else "report")
        assert apart.held_out_rows.tolist() == rows[number::2].tolist(), half
        context["real_scores"] = torch.linspace(-1, 1, 300)[number::2]
        assert halves[number] == pytest.approx(apart.evaluate(fake, **context)[metric], rel=1e-9)
    assert not halves.reason


def test_halves_embed_the_fakes_once_more_only_if_these_have_changed(digits: Dataset) -> None:
    extractor, fake, seen = find_extractor("auto", digits), reals(digits, 111), []

    class Counting:
        def __getattr__(self, name: str) -> object:
            return getattr(extractor, name)

        def __call__(self, images: Tensor) -> object:
            seen.append(torch.equal(images, fake))
            return extractor(images)

    evaluator = Evaluator(digits, extractor=Counting())  # type: ignore[arg-type]
    evaluator.evaluate(fake)
    first = evaluator.halves(fake, "kid")
    assert sum(seen) == 1
    fake.mul_(0.5)
    assert evaluator.halves(fake, "kid") != first
    assert sum(seen) == 2
    evaluator.halves(fake.clone(), "kid")
    assert sum(seen) == 3


def test_a_score_without_halves_says_why(evaluator: Evaluator, digits: Dataset) -> None:
    fake = reals(digits, 50)
    for metric, reason in (
        ("frechet", "at least 85 generated images"),
        ("d_auc", "`d_auc` needs scores, which were not given"),
        ("w2", "`w2` is not a score of this data set"),
    ):
        halves = evaluator.halves(fake, metric)
        assert math.isnan(halves.select)
        assert math.isnan(halves.report)
        assert reason in halves.reason
    few = Evaluator(Dataset(name="few", kind="images", train=digits.train[:30], test=digits.train[-30:]))
    assert "half of the held-out samples are fewer than 20" in few.halves(fake, "kid").reason


def test_names_tell_the_extractor_and_its_hash(evaluator: Evaluator, colour: Evaluator) -> None:
    name = find_extractor("auto", load_dataset(choose(datasets, "digits"))).name
    assert evaluator.sources["frechet"] == f"frechet/{name}"
    assert colour.sources["kid"].startswith("kid/random-conv@")
    assert not {"swd", "sharpness", "d_auc"} & evaluator.sources.keys()


def test_scores_measured_in_another_way_are_refused_with_the_difference_named(digits: Dataset) -> None:
    first = Evaluator(digits)
    other = Evaluator(digits, extractor=find_extractor("random-conv", digits))
    check_comparable(first.fingerprint, Evaluator(digits).fingerprint)
    with pytest.raises(ValueError, match=r"extractor differs, lenet-digits@.* and random-conv@"):
        check_comparable(first.fingerprint, other.fingerprint)
    with pytest.raises(ValueError, match="their held out differs, all, 300 of 300 and select, 150 of 300"):
        check_comparable(first.fingerprint, Evaluator(digits, held_out="select").fingerprint)


# Bad input


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_images_and_scores_that_are_not_finite_are_refused(
    digits: Dataset, evaluator: Evaluator, bad: float
) -> None:
    fake = reals(digits, 50)
    with pytest.raises(ValueError, match="1 of 2 scores of generated samples are not finite"):
        evaluator.evaluate(fake, real_scores=[0.0], fake_scores=[bad, 0.0])
    fake[3, 0, 2, 2] = bad
    with pytest.raises(ValueError, match="1 of 50 generated images are not finite; the run has diverged"):
        evaluator.evaluate(fake)


def test_of_images_that_are_all_the_same_no_score_is_related_to_their_spread() -> None:
    grey = Dataset.of_images("grey", np.full((1200, 8, 8), 0.5, np.float32), range=(0.0, 1.0))
    scores = Evaluator(grey).evaluate(torch.rand(200, 1, 8, 8) * 2 - 1)
    lacking = {"frechet": "spread of features", "pair_distance": "spread", "sharpness": "contrast"}
    for name, what in lacking.items():
        assert scores.failures[name].startswith(f"the held-out images have no {what}, so nothing can be")


def test_real_images_that_are_not_finite_are_no_divergence() -> None:
    with pytest.raises(ValueError, match=r"1 of 2 real images are not finite; mend the data\.$"):
        as_images(torch.tensor([[[[0.0]]], [[[math.nan]]]]), (1, 1, 1), "real")


def test_images_of_another_kind_are_refused_in_one_line(evaluator: Evaluator) -> None:
    with pytest.raises(ValueError, match="have 3 channels, but the data set's have 1"):
        evaluator.evaluate(torch.zeros(30, 3, 8, 8))
    with pytest.raises(ValueError, match=r"must have shape \(N, 1, 8, 8\), but have \(30, 1, 9, 8\)"):
        evaluator.evaluate(torch.zeros(30, 1, 9, 8))
    with pytest.raises(ValueError, match="at least 20 generated images, but got 19"):
        evaluator.evaluate(torch.zeros(19, 1, 8, 8))


def test_too_few_held_out_images_are_refused() -> None:
    images = torch.zeros(60, 1, 8, 8, dtype=torch.uint8)
    data = Dataset(name="few", kind="images", train=images[:30], test=images[30:])
    with pytest.raises(ValueError, match=r"at least 20 held-out images, but `few` has 15 \(select\)"):
        Evaluator(data, held_out="select")


# On a GPU


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_scores_of_the_cpu(digits: Dataset) -> None:
    fake = reals(digits, 500)
    for data, images in ((digits, fake), (photographs(), reals(photographs(), 300))):
        evaluator = Evaluator(data)
        cpu, gpu = (evaluator.evaluate(one, exact=True) for one in (images, images.cuda()))
        assert not gpu.failures
        assert gpu == pytest.approx(cpu, rel=2e-3, abs=2e-3)
