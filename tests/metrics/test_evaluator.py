"""The evaluator: all scores at once, the failures they must see, and what a data set can be scored on."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from harness.data import Dataset
from harness.data.dataset import from_points
from harness.data.points import four_gaussians
from harness.metrics.catalogue import Metric
from harness.metrics.evaluator import Evaluator
from harness.metrics.points.scorer import PointScorer
from harness.metrics.scores import d_auc
from harness.recipe.registry import metrics
from support.points import load, mixture_of, neighbours, normal, sample, score

Array = NDArray[np.float64]


# All at once


def evaluate(name: str, fake: Array, **options: bool) -> dict[str, float]:
    return Evaluator(load(name)).evaluate(torch.from_numpy(fake), **options)


def test_the_evaluator_gives_the_scores_of_the_held_out_points_with_their_mixture() -> None:
    data = load("points")
    assert data.mixture is not None
    fake, real = sample(data.mixture, 700, 0) * 1.02, data.test.double().numpy()
    random = np.random.default_rng(0)
    judged = random.normal(size=1192), random.normal(size=700)
    found = Evaluator(data).evaluate(
        fake, real_scores=torch.from_numpy(judged[0]), fake_scores=judged[1], exact=True
    )
    names = [name for name in found if name != "d_auc"]
    train = PointScorer(data).train_samples(len(data.train)).double().numpy()
    assert found == {
        **{name: score(name, fake, real, data.mixture, train) for name in names},
        "d_auc": d_auc(*judged),
    }
    assert all(type(value) is float for value in found.values())


@pytest.mark.parametrize("name", ["points", "ring", "grid"])
def test_a_perfect_sampler_scores_near_the_ideal_of_every_metric(name: str) -> None:
    mixture = mixture_of(name)
    scores = evaluate(name, sample(mixture, 1200, 5), exact=True)
    tolerance = {
        "bin_recall": 0.1,
        "sliced_w2": 0.12,
        "w2": 0.3,
        "mmd2": 0.01,
        "mode_kl": 0.03,
        "thinness": 0.08,
    }
    spread = float(np.sqrt(np.trace(mixture.covariance)))
    for key, value in scores.items():
        ideal = metrics[key].ideal
        if key in ("sliced_w2", "w2"):
            value /= spread
        if ideal is not None:
            assert value == pytest.approx(ideal, abs=tolerance.get(key, 0.06)), key
    assert scores["modes"] == scores["modes_hit"] == len(mixture)


def collapse(points: Array) -> Array:
    return points[:1] + 1e-3 * normal(len(points), 9)


def drop(points: Array) -> Array:
    left = points[points[:, 0] < 0.66]
    return left[np.arange(len(points)) % len(left)] + 1e-4 * normal(len(points), 9)


def shift(points: Array) -> Array:
    return np.asarray(points + np.array([0.0, 0.2]))


def blur(points: Array) -> Array:
    return points + 0.1 * normal(len(points), 9)


def thin(points: Array) -> Array:
    mixture = four_gaussians()
    axes, _ = mixture.short_axes()
    part = mixture.nearest_part(points)[1]
    across = ((points - mixture.means[part]) * axes[part]).sum(axis=1, keepdims=True)
    thinned: Array = points - 0.7 * across * axes[part]
    return thinned


@pytest.mark.parametrize(
    ("failure", "worse"),
    [
        (
            collapse,
            "w2 sliced_w2 mmd2 modes modes_hit mode_kl bin_recall recall coverage pair_distance thinness",
        ),
        (drop, "w2 sliced_w2 mmd2 modes mode_kl bin_recall recall coverage pair_distance"),
        (shift, "w2 sliced_w2 mmd2 high_quality mode_kl bin_recall precision density coverage"),
        (blur, "w2 sliced_w2 mmd2 high_quality mode_kl precision density coverage"),
        (thin, "w2 thinness recall coverage"),
    ],
)
def test_a_planted_failure_is_seen_by_the_scores_made_for_it(
    failure: Callable[[Array], Array], worse: str
) -> None:
    points = sample(four_gaussians(), 1200, 3)
    good, bad = evaluate("points", points, exact=True), evaluate("points", failure(points), exact=True)
    for key in worse.split():
        if metrics[key].goal == "minimize":
            assert bad[key] > 1.1 * good[key], key
        else:
            assert bad[key] < 0.95 * good[key], key


def test_points_beside_the_real_ones_are_held_against_training_points_of_their_number() -> None:
    data = load("ring")
    scorer = PointScorer(data)
    reference = scorer.reference(data.test.device)
    for count in (150, 1200):
        fake = sample(mixture_of("ring"), count, 5)
        scores, null = evaluate("ring", fake), reference.null(count)
        others = scorer.train_samples(count).double().numpy()
        assert null == neighbours(others, data.test.double().numpy())
        assert scores["coverage_over_real"] == scores["coverage"] / null.coverage
        assert scores["density_over_real"] == scores["density"] / null.density
    assert reference.null(150).coverage < 0.5 < 0.9 < reference.null(1200).coverage


def test_few_real_points_against_many_lack_nothing_once_over_the_real_ones() -> None:
    mixture = mixture_of("ring")
    held_out = torch.from_numpy(sample(mixture, 30_000, 1)).float()
    train = torch.from_numpy(sample(mixture, 2000, 2)).float()
    scores = Evaluator(Dataset(name="many", kind="points", train=train, test=held_out)).evaluate(
        sample(mixture, 1200, 3)
    )
    assert scores["coverage"] < 0.2
    for name in ("precision", "recall", "density", "coverage"):
        assert scores[f"{name}_over_real"] == pytest.approx(1, abs=0.1), name


def test_a_set_without_a_known_mixture_gets_no_score_that_needs_one() -> None:
    data = from_points("points-file", sample(four_gaussians(), 1000, 0))
    evaluator = Evaluator(data)
    scores = evaluator.evaluate(
        sample(four_gaussians(), 300, 1), real_scores=np.zeros(146), fake_scores=np.ones(300), exact=True
    )
    assert not {"modes", "modes_hit", "high_quality", "mode_kl", "thinness"} & scores.keys()
    assert set(scores) == set(evaluator.names)


def test_dear_and_unasked_scores_are_left_out() -> None:
    evaluator = Evaluator(load("points"))
    fake = sample(four_gaussians(), 100, 0)
    without = evaluator.evaluate(fake)
    assert set(evaluator.names) - set(without) == {"w2", "memorised", "d_auc"}
    assert set(evaluator.names) == {name for name in metrics if metrics[name].kind != "images"}


def test_evaluating_again_gives_the_same_numbers_and_changes_no_input() -> None:
    evaluator = Evaluator(load("ring"))
    fake = torch.from_numpy(sample(mixture_of("ring"), 300, 0))
    before = fake.clone()
    first = evaluator.evaluate(fake)
    evaluator.evaluate(fake[:200])
    assert evaluator.evaluate(fake) == first == Evaluator(load("ring")).evaluate(fake)
    assert torch.equal(fake, before)


def test_halves_of_held_out_points_share_none_and_score_like_all() -> None:
    data = load("points")
    evaluator = Evaluator(data)
    fake = sample(four_gaussians(), 500, 0)
    whole = evaluator.evaluate(fake, exact=True)
    for metric in ("sliced_w2", "w2", "coverage"):
        select, report, _ = evaluator.halves(fake, metric)
        assert select != report
        assert (select, report, "") == evaluator.halves(fake, metric)
        assert select == pytest.approx(whole[metric], rel=0.35, abs=0.02)
    first, second = PointScorer(data).reference(data.test.device).halves
    assert {*map(tuple, first.points), *map(tuple, second.points)} == {
        *map(tuple, data.test.double().tolist())
    }
    assert len(first.points) + len(second.points) == len(data.test)


def test_a_score_that_looks_at_the_truth_alone_has_equal_halves_and_d_auc_needs_scores() -> None:
    evaluator = Evaluator(load("points"))
    fake = sample(four_gaussians(), 200, 0)
    assert evaluator.halves(fake, "modes") == (4.0, 4.0, "")
    assert math.isnan(evaluator.halves(fake, "d_auc")[0])
    halves = evaluator.halves(fake, "d_auc", real_scores=[1.0, -1.0, 2.0], fake_scores=np.zeros(200))
    assert halves == (1.0, 0.0, "")


def test_few_scores_of_a_discriminator_do_not_keep_other_scores_from_being_halved() -> None:
    evaluator = Evaluator(load("points"))
    fake = sample(four_gaussians(), 200, 0)
    few = {"real_scores": [1.0, -1.0, 2.0], "fake_scores": np.zeros(200)}
    assert evaluator.halves(fake, "sliced_w2", **few) == evaluator.halves(fake, "sliced_w2")


def test_points_that_were_changed_in_place_are_scored_anew() -> None:
    evaluator = Evaluator(load("points"))
    fake = torch.from_numpy(sample(four_gaussians(), 200, 0))
    before = evaluator.evaluate(fake)
    assert evaluator.halves(fake, "sliced_w2") == evaluator.halves(fake.clone(), "sliced_w2")
    fake += 1
    assert evaluator.evaluate(fake) == evaluator.evaluate(fake.clone())
    assert evaluator.evaluate(fake) != before


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e12])
def test_extreme_generators_still_get_finite_scores(scale: float) -> None:
    scores = evaluate("points", scale * normal(200, 0), exact=True)
    assert all(math.isfinite(value) for value in scores.values()), scores


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_points_and_scores_that_are_not_finite_are_refused(bad: float) -> None:
    evaluator = Evaluator(load("points"))
    fake = normal(100, 0)
    broken = fake.copy()
    broken[[3, 3, 7], [0, 1, 1]] = bad
    with pytest.raises(ValueError, match="2 of 100 generated points are not finite; the run has"):
        evaluator.evaluate(broken)
    with pytest.raises(ValueError, match="1 of 2 scores of generated samples are not finite"):
        evaluator.evaluate(fake, real_scores=[0.0], fake_scores=[bad, 0.0])


def test_the_evaluator_says_its_minimum_and_its_shape() -> None:
    evaluator = Evaluator(load("points"))
    with pytest.raises(ValueError, match="at least 20 generated points, but got 19"):
        evaluator.evaluate(normal(19, 0))
    with pytest.raises(ValueError, match=r"must have shape \(N, 2\), but have \(30, 3\)"):
        evaluator.evaluate(np.zeros((30, 3)))
    with pytest.raises(ValueError, match="points in the plane"):
        Evaluator(Dataset(name="cubes", kind="points", train=torch.zeros(50, 3), test=torch.zeros(50, 3)))
    with pytest.raises(ValueError, match="held-out points of `one` are all the same"):
        Evaluator(Dataset(name="one", kind="points", train=torch.rand(50, 2), test=torch.ones(50, 2)))
    broken = torch.rand(50, 2)
    broken[[3, 3, 7], [0, 1, 1]] = math.nan
    with pytest.raises(ValueError, match="2 of 50 real points are not finite"):
        Evaluator(Dataset(name="broken", kind="points", train=torch.rand(50, 2), test=broken))


# The registry


def test_every_metric_is_described_in_plain_words() -> None:
    for name, info in metrics.items().items():
        assert isinstance(info, Metric)
        assert info.name == name
        assert info.unit, name
        assert re.fullmatch(r"[A-Z].{20,218}\.", info.description), name


def test_an_unknown_metric_offers_the_nearest() -> None:
    with pytest.raises(ValueError, match="unknown metric `sliced_w`; did you mean `sliced_w2`"):
        metrics["sliced_w"]
