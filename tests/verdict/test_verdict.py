"""The verdict: each rule at its threshold, what is missing, what two looks are, and planted failures."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.data import Dataset, load_dataset, scaled
from harness.metrics.evaluator import Evaluator
from harness.recipe import choose
from harness.recipe.registry import datasets
from harness.verdict.judge import HOPELESS, VERDICTS, Judge, Thresholds, Verdict, judge_history

GOOD = {
    "class_recall": 1.0,
    "bin_recall": 1.0,
    "coverage_over_real": 1.0,
    "density_over_real": 1.0,
    "pair_distance": 1.0,
    "d_auc": 0.7,
    "confident_over_real": 1.0,
}

UNTRAINED = GOOD | {"pair_distance": 0.02, "class_recall": 0.0, "bin_recall": 0.0}


def judged(*, times: int = 2, g_grad_norm: float | None = 1.0, **scores: Any) -> Verdict:
    """The verdict on the same scores, so many evaluations running."""
    judge = Judge()
    judge.judge(0, UNTRAINED)
    for step in range(1, times + 1):
        verdict = judge.judge(step, {**GOOD, **scores}, g_grad_norm=g_grad_norm)
    return verdict


def named(*looks: dict[str, float], first: dict[str, float] = UNTRAINED, **dynamics: float) -> list[str]:
    """The verdicts on evaluations that differ from good ones in these scores, after the untrained one."""
    judge = Judge()
    judge.judge(0, first)
    return [judge.judge(step, GOOD | look, **dynamics).name for step, look in enumerate(looks, 1)]


# Each rule


AT_THEIR_THRESHOLDS = [
    ({}, 1.0, "healthy"),
    ({"density_over_real": 0.3}, 1.0, "healthy"),
    ({"density_over_real": 0.299}, 1.0, "immature"),
    ({"class_recall": 0.6}, 1.0, "healthy"),
    ({"class_recall": 0.599}, 1.0, "partial-collapse"),
    ({"coverage_over_real": 0.25}, 1.0, "healthy"),
    ({"coverage_over_real": 0.249}, 1.0, "partial-collapse"),
    ({"class_recall": 0.15}, 1.0, "collapsed"),
    ({"class_recall": 0.151, "bin_recall": 0.0}, 1.0, "partial-collapse"),
    ({"confident_over_real": 0.2}, 1.0, "healthy"),
    ({"confident_over_real": 0.199}, 1.0, "immature"),
    ({"confident_over_real": 0.199, "class_recall": 0.0}, 1.0, "immature"),
    ({"confident_over_real": 0.199, "class_recall": 0.0, "bin_recall": 0.5}, 1.0, "immature"),
    ({"confident_over_real": 0.199, "class_recall": 0.0, "bin_recall": 0.1}, 1.0, "immature"),
    ({"confident_over_real": 0.2, "class_recall": 0.1, "bin_recall": 1.0}, 1.0, "collapsed"),
    ({"pair_distance": 0.05}, 1.0, "healthy"),
    ({"pair_distance": 0.049}, 1.0, "collapsed"),
    ({"d_auc": 0.99}, 1e-5, "d-saturated"),
    ({"d_auc": 0.989}, 1e-5, "healthy"),
    ({"d_auc": 1.0}, 1e-4, "healthy"),
    # of several that fire, the first
    ({"class_recall": 0.1, "d_auc": 1.0}, 1e-5, "d-saturated"),
    ({"class_recall": 0.1, "density_over_real": 0.0}, 1.0, "immature"),
    ({"class_recall": 0.5, "density_over_real": 0.0}, 1.0, "immature"),
    ({"class_recall": 0.5, "density_over_real": 0.3}, 1.0, "partial-collapse"),
    ({"coverage_over_real": 0.1, "density_over_real": 0.299}, 1.0, "immature"),
]


def test_each_rule_fires_at_its_threshold_and_the_first_one_wins(subtests: pytest.Subtests) -> None:
    for scores, g, name in AT_THEIR_THRESHOLDS:
        with subtests.test(scores=scores, g=g):
            assert judged(g_grad_norm=g, **scores).name == name


@pytest.mark.parametrize(
    ("auc", "share", "name"),
    [
        (0.99, 0.0099, "d-saturated"),
        (0.99, 0.01, "healthy"),
        (0.989, 0.0, "healthy"),
        (1.0, 0.0, "d-saturated"),
    ],
)
def test_a_discriminator_that_always_knows_and_has_no_loss_left_is_saturated(
    auc: float, share: float, name: str
) -> None:
    look = {"d_auc": auc}
    assert named(look, look, d_loss_share=share, g_grad_norm=20.0)[-1] == name
    assert named(look, d_loss_share=share)[-1] == "healthy"


@pytest.mark.parametrize(
    ("g", "gap", "name"), [(101, 101, "diverged"), (100, 101, "healthy"), (101, 100, "healthy")]
)
def test_a_critic_whose_scores_run_away_has_diverged_from_the_start(g: float, gap: float, name: str) -> None:
    assert named({}, {}, g_grad_norm=g, score_gap=gap) == ["healthy", name]


def test_a_critic_whose_scores_are_out_of_all_bounds_has_diverged_at_once_even_without_gradients() -> None:
    assert named({}, g_grad_norm=0.0, score_gap=10_001.0) == ["diverged"]
    assert named({}, g_grad_norm=0.0, score_gap=10_000.0) == ["healthy"]


def test_few_modes_condemn_only_where_they_are_not_growing() -> None:
    stuck = [{"class_recall": share} for share in (0.1, 0.1, 0.0, 0.05, 0.1)]
    growing = [{"class_recall": share} for share in (0.0, 0.06, 0.12, 0.3, 0.7)]
    assert named(*stuck) == ["partial-collapse", *["collapsed"] * 4]
    assert "collapsed" not in named(*growing)


@pytest.mark.parametrize(("share", "name"), [(0.61, "collapsed"), (0.6, "immature"), (0.1, "immature")])
def test_few_modes_off_the_data_condemn_where_d_takes_them_for_real(share: float, name: str) -> None:
    look = {"class_recall": 0.1, "density_over_real": 0.1}
    assert named(look, look, d_loss_share=share)[-1] == name


def test_a_run_that_has_not_moved_is_not_collapsed_and_one_that_came_back_is() -> None:
    still = {"frechet": 98.0, "pair_distance": 0.0198, "class_recall": 0.0, "bin_recall": 0.0}
    gone = still | {"frechet": 150.0}
    first = UNTRAINED | {"frechet": 100.0}
    assert named(still, still, still, first=first) == ["immature"] * 3
    assert named(gone, gone, still, still, first=first)[1:] == ["collapsed"] * 3


def test_a_gradient_that_grows_beyond_both_bounds_twice_is_divergence() -> None:
    def last(*norms: float) -> Verdict:
        judge = Judge()
        return [judge.judge(step, GOOD, g_grad_norm=norm) for step, norm in enumerate(norms, 1)][-1]

    assert last(3.0, 100.5, 101.0).name == "diverged"
    assert last(3.0, 100.0, 100.0).name == "healthy"
    assert last(4.0, 101.0, 101.0).name == "healthy"  # large, but not 30 times the first
    assert last(3.0, 101.0).name == "healthy"  # once
    assert last(3.0, 101.0, 5.0, 101.0).name == "healthy"  # not running
    assert "101" in last(3.0, 101.0, 101.0).rule
    early = Judge()
    early.trained(3.0)  # before the first evaluation
    early.trained(90.0)
    assert [early.judge(step, GOOD, g_grad_norm=101.0).name for step in (1, 2)] == ["healthy", "diverged"]
    assert "the first, 3" in last(3.0, 101.0, 101.0).rule


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_divergence_at_once(bad: float) -> None:
    for verdict in (
        judged(times=1, density_over_real=bad),
        judged(times=1, g_grad_norm=bad),
        Judge().judge(0, GOOD | {"pair_distance": bad}),
    ):
        assert (verdict.name, verdict.score) == ("diverged", -1.0)
        assert str(bad) in verdict.sentence()
        assert str(Verdict.from_json(json.loads(json.dumps(verdict.to_json())))) == str(verdict)


def test_divergence_that_training_found_is_a_verdict_with_its_reason() -> None:
    verdict = Judge().diverged(70, "a weight of D is not finite.")
    assert verdict.sentence() == "diverged at step 70: a weight of D is not finite"
    assert verdict.score == -1
    assert verdict.hopeless


# Two looks


@pytest.mark.parametrize("scores", [{"pair_distance": 0.01}, {"class_recall": 0.1}])
def test_a_run_is_condemned_at_the_second_look_running_and_absolved_by_a_good_one(
    scores: dict[str, float],
) -> None:
    judge, bad = Judge(), GOOD | scores
    looks = [UNTRAINED, bad, bad, GOOD, bad, bad, bad]
    names = [judge.judge(step, look).name for step, look in enumerate(looks)]
    assert [step for step, name in enumerate(names) if name == "collapsed"] == [2, 5, 6]


def test_the_untrained_generator_condemns_nothing() -> None:
    judge = Judge()
    first = judge.judge(0, GOOD | {"pair_distance": 0.0, "class_recall": 0.0}, g_grad_norm=500.0)
    assert (first.name, first.rule) == ("immature", "the generator is untrained")
    assert first.score == 0
    assert judge.judge(1, GOOD | {"pair_distance": 0.0}, g_grad_norm=200.0).name == "healthy"
    assert judge.judge(2, GOOD | {"pair_distance": 0.0}, g_grad_norm=200.0).name == "collapsed"


def test_one_look_is_enough_where_there_are_no_others() -> None:
    assert Judge(Thresholds(looks=1)).judge(-1, GOOD | {"pair_distance": 0.0}).name == "collapsed"
    assert "at step" not in Judge(Thresholds(looks=1)).judge(-1, GOOD).sentence()


def test_a_judge_that_goes_on_from_its_state_judges_as_if_undisturbed() -> None:
    looks = [GOOD, GOOD | {"pair_distance": 0.0}, GOOD | {"pair_distance": 0.0}, GOOD, GOOD]
    norms = [1.0, 1.0, 300.0, 300.0, 300.0]
    whole, part = Judge(), Judge()
    expected = [whole.judge(i, s, g_grad_norm=g) for i, (s, g) in enumerate(zip(looks, norms, strict=True))]
    found = []
    for step, (scores, norm) in enumerate(zip(looks, norms, strict=True)):
        state = json.loads(json.dumps(part.state_dict()))
        part = Judge()
        part.load_state_dict(state)
        found.append(part.judge(step, scores, g_grad_norm=norm))
    assert found == expected
    assert [verdict.name for verdict in found] == ["immature", "healthy", "collapsed", "diverged", "diverged"]


# What is missing


@given(
    known=st.fixed_dictionaries({}, optional={name: st.floats(-10, 10) for name in GOOD}),
    g=st.none() | st.floats(0, 1e9),
    step=st.integers(0, 3),
)
@settings(max_examples=200, deadline=None)
def test_any_numbers_get_a_verdict_and_a_score_in_range(
    known: dict[str, float], g: float | None, step: int
) -> None:
    judge = Judge()
    for _ in range(3):
        verdict = judge.judge(step, known, g_grad_norm=g)
    assert verdict.name in VERDICTS
    assert verdict.score == -1 or verdict.score <= 1
    assert (verdict.score == -1) >= (verdict.name == "diverged")
    assert Verdict.from_json(json.loads(json.dumps(verdict.to_json()))) == verdict
    needed = {"coverage_over_real", "density_over_real"} <= known.keys()
    if verdict.name == "healthy":
        assert needed
        assert {"class_recall", "bin_recall"} & known.keys()


@pytest.mark.parametrize("left_out", ["coverage_over_real", "density_over_real", "modes"])
def test_without_a_number_that_health_rests_on_nothing_is_called_healthy(left_out: str) -> None:
    gone = {"modes": {"class_recall", "bin_recall"}}.get(left_out, {left_out})
    verdict = Judge().judge(9, {name: value for name, value in GOOD.items() if name not in gone})
    assert verdict.flags == ("unjudged",)
    assert verdict.sentence().startswith("not judged at step 9: no rule fired, but without ")
    assert left_out.removesuffix("_over_real") in verdict.missing


def test_a_failed_score_leaves_the_other_rules_standing() -> None:
    judge = Judge(Thresholds(looks=1))
    assert judge.judge(1, {"pair_distance": 0.0}).name == "collapsed"
    assert judge.judge(1, {"class_recall": 0.5}).name == "partial-collapse"
    assert judge.judge(1, {"bin_recall": 0.1, "high_quality": 0.9}).name == "collapsed"
    assert judge.judge(1, {"bin_recall": 0.1}).name == "partial-collapse"  # nothing tells clear samples
    assert judge.judge(1, {"density": 0.1}).name == "immature"
    assert judge.judge(1, {}, g_grad_norm=1e-9).flags == ("unjudged",)
    assert judge.judge(1, {}).score == 0


def test_points_are_judged_by_bins_and_by_coverage_over_what_real_points_get() -> None:
    scores = {"bin_recall": 0.8, "coverage": 0.4845, "density": 0.9, "pair_distance": 1.0, "modes": 2.0}
    verdict = Judge().judge(5, scores)
    assert verdict.evidence == pytest.approx(
        {"modes": 0.8, "coverage": 0.5, "density": 0.9, "pair_distance": 1.0}
    )
    assert verdict.score == pytest.approx(0.8)
    assert verdict.missing == ("d_auc", "g_grad_norm")


# Score, flags, words


@pytest.mark.parametrize(
    ("modes", "coverage", "score"), [(1.0, 0.5, 1.0), (0.7, 2.0, 0.7), (0.9, 0.1, 0.2), (0.0, 1.0, 0.0)]
)
def test_the_score_is_the_smaller_of_modes_and_twice_the_coverage(
    modes: float, coverage: float, score: float
) -> None:
    assert judged(class_recall=modes, coverage_over_real=coverage).score == pytest.approx(score)


def test_flags_say_what_the_name_does_not() -> None:
    assert judged(density_over_real=1.51).flags == ("intra-mode",)
    assert judged(density_over_real=1.5).flags == ()
    assert judged(pair_distance=0.01, density_over_real=0.1).flags == ("off-data",)
    assert judged(confident_over_real=0.1).flags == ("unclear",)
    assert judged(confident_over_real=0.1, bin_recall=0.4).evidence["modes"] == 0.4


def test_the_sentence_says_verdict_rule_threshold_and_numbers() -> None:
    assert judged(class_recall=0.5).sentence() == (
        "partial-collapse at step 2: 50% of the modes are there, fewer than 60% [modes present 0.5, "
        "coverage 1, density 1, pair distance 1, D's AUC 0.7, samples of a clear class 1, "
        "generator's gradient norm 1, way from the untrained generator 49]"
    )
    both = judged(pair_distance=0.01, class_recall=0.1).rule
    assert both.endswith(
        "; 10% of the modes are left, not more than 15%, and not growing, at 2 evaluations running"
    )


def test_the_verdicts_stand_in_the_order_of_their_rules() -> None:
    from harness.verdict.rules import RULES

    assert [rule.name for rule in RULES] == list(VERDICTS[:-1])
    assert {rule.name for rule in RULES if rule.condemns} == HOPELESS


def test_what_is_no_verdict_is_refused_in_one_line() -> None:
    for values in ({}, {"name": "healthy"}, {**judged().to_json(), "name": "fine"}):
        with pytest.raises(ValueError, match=r"unknown verdict `fine`|this is no verdict"):
            Verdict.from_json(values)


def test_a_threshold_must_be_positive_and_finite(subtests: pytest.Subtests) -> None:
    for bad in [0, -1.0, math.nan, math.inf]:
        for name in [field.name for field in fields(Thresholds)]:
            message = rf"`thresholds\.{name}` must be positive and finite"
            with subtests.test(bad=bad, name=name), pytest.raises(ValueError, match=message):
                Thresholds(**{name: bad})


def test_thresholds_out_of_order_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"`thresholds\.collapsed_modes` must be below `partial_modes`, 0\.6"
    ):
        Thresholds(collapsed_modes=0.7)


def test_modes_counted_in_bins_and_in_classes_are_not_taken_for_growth() -> None:
    unclear = {"confident_over_real": 0.1, "bin_recall": 0.05, "class_recall": 0.0}
    clear = {"confident_over_real": 0.9, "bin_recall": 0.05, "class_recall": 0.15}
    assert named(unclear, clear, clear)[1:] == ["partial-collapse", "collapsed"]
    assert named(clear | {"class_recall": 0.05}, clear)[1:] == ["partial-collapse"]  # growing


def test_a_run_that_d_won_over_one_image_is_said_to_make_the_same_samples() -> None:
    assert judged(d_auc=1.0, g_grad_norm=1e-9, pair_distance=0.04).flags == ("same-samples",)
    assert judged(d_auc=1.0, g_grad_norm=1e-9, pair_distance=0.06).flags == ()
    assert judged(pair_distance=0.04).flags == ()  # collapsed says so itself


# History


def test_a_history_is_judged_as_the_run_was() -> None:
    rows: list[dict[str, float]] = [{"train/step": 0} | {f"eval/{k}": v for k, v in UNTRAINED.items()}]
    live, expected = Judge(), []
    expected.append(live.judge(0, UNTRAINED))
    for step, (g, spread) in enumerate([(1.0, 1.0), (1e-6, 1.0), (1e-6, 0.04), (2.0, 0.04)], start=1):
        scores = GOOD | {"pair_distance": spread, "d_auc": 0.995}
        rows += [
            {"train/step": step, "train/g_grad_norm": 77.0},
            {"train/step": step, "train/g_grad_norm": g, "train/g_loss": 1.0},
            {"train/step": step, "train/d_loss": 1.0},
            {"train/step": step, "eval/classes": 3.0} | {f"eval/{key}": v for key, v in scores.items()},
        ]
        expected.append(live.judge(step, scores, g_grad_norm=g, d_loss_share=0.5))
    found = judge_history(rows, chance=2.0)
    assert found == expected
    assert [v.name for v in found] == ["immature", "healthy", "healthy", "d-saturated", "collapsed"]
    assert judge_history(rows, Thresholds(looks=1))[2].name == "d-saturated"
    assert judge_history([{"train/step": 1, "train/g_loss": 0.0}]) == []


# Planted failures


def real(images: Tensor, labels: Tensor) -> Tensor:
    return images


def some(count: int) -> Callable[[Tensor, Tensor], Tensor]:
    def keep(images: Tensor, labels: Tensor) -> Tensor:
        left = images[labels < count]
        return left[torch.arange(len(images)) % len(left)]

    return keep


def mass(images: Tensor, labels: Tensor) -> Tensor:
    return images[:1] + 0.01 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))


def few(images: Tensor, labels: Tensor) -> Tensor:
    return images[torch.arange(len(images)) % 12]


def shrunk(images: Tensor, labels: Tensor) -> Tensor:
    """All classes, and little variety within them."""
    means = torch.stack([images[labels == label].mean(dim=0) for label in range(10)])
    return means[labels] + 0.2 * (images - means[labels])


def noise(images: Tensor, labels: Tensor) -> Tensor:
    return torch.rand(images.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def blurred(images: Tensor, labels: Tensor) -> Tensor:
    return torch.nn.functional.avg_pool2d(images, 3, 1, 1)


@pytest.fixture(scope="module")
def digits() -> tuple[Dataset, Evaluator]:
    dataset = load_dataset(choose(datasets, "digits"))
    return dataset, Evaluator(dataset)


@pytest.mark.parametrize(
    ("plant", "name", "flag"),
    [
        (real, "healthy", None),
        (some(8), "healthy", None),
        (some(5), "partial-collapse", None),
        (some(1), "collapsed", None),
        (mass, "collapsed", None),
        (few, "partial-collapse", None),
        (shrunk, "healthy", "intra-mode"),
        (noise, "immature", "unclear"),
        (blurred, "immature", "unclear"),
    ],
)
def test_a_planted_failure_is_called_by_its_name(
    digits: tuple[Dataset, Evaluator], plant: Any, name: str, flag: str | None
) -> None:
    dataset, evaluator = digits
    assert dataset.train_labels is not None
    order = torch.randperm(len(dataset.train), generator=torch.Generator().manual_seed(1))[:1000]
    fake = plant(scaled(dataset.train[order]), dataset.train_labels[order])
    verdict = Judge(Thresholds(looks=1)).judge(1, evaluator.evaluate(fake))
    assert verdict.name == name, verdict.sentence()
    assert flag is None or flag in verdict.flags, verdict.sentence()
    assert (verdict.score > 0.6) == (name == "healthy"), verdict


@pytest.mark.parametrize("data", ["points", "ring", "grid"])
def test_on_points_real_ones_are_healthy_and_one_cluster_is_collapsed(data: str) -> None:
    dataset = load_dataset(choose(datasets, data))
    mixture, judge = dataset.mixture, Judge(Thresholds(looks=1))
    assert mixture is not None
    evaluator = Evaluator(dataset)
    fake = dataset.train[:1200].double().numpy()
    assert judge.judge(1, evaluator.evaluate(fake)).name == "healthy"
    part = mixture.nearest_part(fake)[1]
    alone = evaluator.evaluate(fake[part == 0])
    assert judge.judge(1, alone).name == ("partial-collapse" if data == "points" else "collapsed")
    assert judge.judge(1, evaluator.evaluate(fake[:1] + 1e-3 * fake)).name == "collapsed"
