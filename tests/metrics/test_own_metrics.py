"""Other people's metrics: what their functions are given, and what becomes of what these give back."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from harness import Metric, register_metric
from harness.data import load_dataset, scaled
from harness.metrics.evaluator import Evaluator
from harness.recipe import choose
from harness.recipe.registry import datasets, metrics

SOME: dict[str, Any] = {"goal": "minimize", "kind": "any", "description": "Something of one's own."}
POINTS = np.random.default_rng(0).normal(size=(60, 2))


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget after a test what it registered."""
    metrics.names()
    for name in ("_entries", "_homes", "_sources"):
        monkeypatch.setattr(metrics, name, dict(getattr(metrics, name)))


def evaluator_of(name: str) -> Evaluator:
    return Evaluator(load_dataset(choose(datasets, name)))


def test_a_function_is_given_points_reals_and_labels_as_arrays_of_its_own() -> None:
    evaluator, given = evaluator_of("points"), []
    before = evaluator.evaluate(torch.from_numpy(POINTS), exact=True)

    @register_metric("mean_gap", **SOME | {"kind": "points"})
    def mean_gap(samples: Any, reals: Any, labels: Any) -> float:
        given.append((samples.copy(), reals.copy(), labels))
        found = float(abs(samples.mean(axis=0) - reals.mean(axis=0)).max())
        samples[:], reals[:] = 0, 0
        return found

    scores = evaluator.evaluate(torch.from_numpy(POINTS), exact=True)
    samples, reals, labels = given[0]
    held_out = load_dataset(choose(datasets, "points")).test.double().numpy()
    assert np.array_equal(samples, POINTS)
    assert np.array_equal(reals, held_out)
    assert labels is None
    assert scores["mean_gap"] == abs(POINTS.mean(axis=0) - held_out.mean(axis=0)).max()
    assert {**before, "mean_gap": scores["mean_gap"]} == scores
    assert list(scores)[-1] == evaluator.names[-1] == list(metrics)[-1] == "mean_gap"
    assert mean_gap(POINTS.copy(), held_out.copy(), None) == scores["mean_gap"]
    halves = evaluator.halves(POINTS, "mean_gap")
    assert [len(reals) for _, reals, _ in given[2:]] == [596, 596]
    assert halves.select != halves.report


def test_a_function_is_given_images_in_their_scaling_and_the_classes_asked_for() -> None:
    data, given = load_dataset(choose(datasets, "digits")), []

    @register_metric("seen", **SOME | {"kind": "images"})
    def seen(samples: Any, reals: Any, labels: Any) -> float:
        given.append((samples, reals, labels))
        return 0.5

    evaluator = Evaluator(data)
    fake, labels = scaled(data.train[:100]), torch.arange(100) % 10
    assert evaluator.evaluate(fake, fake_labels=labels)["seen"] == 0.5
    assert evaluator.evaluate(fake)["seen"] == 0.5
    samples, reals, asked = given[0]
    assert np.array_equal(samples, fake.numpy())
    assert np.array_equal(reals, scaled(data.test[evaluator.held_out_rows]).numpy())
    assert samples.dtype == reals.dtype == np.float32
    assert np.array_equal(asked, labels.numpy())
    assert given[1][2] is None


def test_a_metric_is_computed_for_data_of_its_kind_and_when_it_is_due() -> None:
    for name, kind in (("of_images", "images"), ("of_any", "any"), ("of_points", "points")):
        register_metric(name, **SOME | {"kind": kind})(lambda samples, reals, labels: 1.0)
    register_metric("dear", **SOME, exact=True)(lambda samples, reals, labels: 1.0)
    evaluator = evaluator_of("points")
    assert {"of_any", "of_points", "dear"} <= {*evaluator.names} - {"of_images"}
    assert "dear" not in evaluator.evaluate(POINTS)
    assert evaluator.evaluate(POINTS, exact=True)["dear"] == 1.0


def fails() -> float:
    raise KeyError("lost")


@pytest.mark.parametrize(
    ("compute", "reason"),
    [
        (fails, "KeyError: 'lost'"),
        (lambda: math.nan, "it came out as nan."),
        (lambda: np.zeros(2), "it must return a number, but returned ndarray; write float(...)."),
        (lambda: None, "it must return a number, but returned NoneType; write float(...)."),
        (lambda: True, "it must return a number, but returned bool; write float(...)."),
        (lambda: np.float64("inf"), "it came out as inf."),
    ],
)
def test_a_function_that_gives_no_number_costs_its_score_alone(
    compute: Callable[[], Any], reason: str
) -> None:
    register_metric("mine", **SOME)(lambda samples, reals, labels: compute())
    evaluator = evaluator_of("points")
    scores = evaluator.evaluate(POINTS)
    assert {name: why for name, why in scores.failures.items() if name not in scores.too_few} == {
        "mine": reason
    }
    assert "sliced_w2" in scores
    assert evaluator.halves(POINTS, "mine").reason == reason


def test_numbers_of_numpy_and_integers_are_scores() -> None:
    register_metric("whole", **SOME)(lambda samples, reals, labels: len(samples))
    register_metric("single", **SOME)(lambda samples, reals, labels: np.float32(0.25))
    scores = evaluator_of("points").evaluate(POINTS)
    assert (scores["whole"], scores["single"]) == (60.0, 0.25)
    assert type(scores["whole"]) is type(scores["single"]) is float


def test_an_entry_tells_whose_code_it_is() -> None:
    @register_metric("mine", **SOME)
    def mine(samples: Any, reals: Any, labels: Any) -> float:
        return 0.0

    source = metrics.source("mine")
    assert metrics["mine"].compute is mine
    assert source is not None
    assert source.module == __name__
    assert metrics.source("sliced_w2") is None
    entry = Metric(name="whole", **SOME, compute=mine)
    assert register_metric(entry) is metrics["whole"] is entry


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"goal": "minimise"},
            "`goal` of metric `mine` must be .*, but got 'minimise'; did you mean `minimize`",
        ),
        ({"kind": "image"}, "`kind` of metric `mine` must be .*, but got 'image'; did you mean `images`"),
        ({"description": ""}, "`description` of metric `mine` must say in words"),
        ({"ideal": math.nan}, "`ideal` of metric `mine` must be a number or None, but got nan"),
        ({"name": "my metric"}, "a metric's `name` must be a letter, .* but got 'my metric'"),
        ({"name": "kid"}, "the metric `kid` is registered twice, by `harness.metrics.catalogue` and"),
        ({"compute": None}, "metric `mine` needs `compute`"),
        ({"compute": 3}, "`compute` of metric `mine` must be a function, but got 3"),
    ],
)
def test_a_wrong_declaration_is_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        register_metric(Metric(**{"name": "mine", **SOME, "compute": fails} | changes))
    assert "\n" not in str(caught.value)
    assert "mine" not in metrics


def test_a_decorator_without_a_name_is_told_to_take_one() -> None:
    with pytest.raises(
        ValueError, match=r"a metric's name must be text, but got .*; write it in parentheses"
    ):
        register_metric(len)  # type: ignore[call-overload]
