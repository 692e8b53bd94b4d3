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
from harness.verdict.judge import (
    BLIND,
    HOPELESS,
    MEANING,
    VERDICTS,
    Judge,
    Thresholds,
    Verdict,
    judge_history,
)

GOOD = {
    "class_recall_clear": 1.0,
    "bin_recall": 1.0,
    "coverage_over_real": 1.0,
    "density_over_real": 1.0,
    "precision_over_real": 1.0,
    "recall_over_real": 1.0,
    "pair_distance": 1.0,
    "confident_over_real": 1.0,
    "frechet": 20.0,
    "frechet_over_trace": 0.05,
    "sharpness": 1.0,
    "d_auc": 0.7,
}
"""An evaluation at which no rule fires."""

UNTRAINED = GOOD | {"pair_distance": 0.3, "class_recall_clear": 0.0, "bin_recall": 0.02, "frechet": 100.0}

CLASSES = "class_recall_clear"
OFF = {
    "confident_over_real": 0.0,
    "density_over_real": 0.0,
    "precision_over_real": 0.0,
    "coverage_over_real": 0.0,
    "recall_over_real": 0.0,
    "bin_recall": 0.2,
}
"""Samples nowhere near the data."""


def judged(*, times: int = 2, **given: Any) -> Verdict:
    """The verdict on the same numbers, so many evaluations running, of a run that had been good three times.

    Names that `Judge.judge` knows go there, all others are scores.
    """
    dynamics = {name: given.pop(name) for name in DYNAMICS & given.keys()}
    judge = Judge()
    judge.judge(0, UNTRAINED)
    for step in (1, 2, 3):
        judge.judge(step, GOOD, g_grad_norm=1.0)
    for step in range(4, 4 + times):
        verdict = judge.judge(step, GOOD | given, **{"g_grad_norm": 1.0} | dynamics)
    return verdict


DYNAMICS = {"g_grad_norm", "d_loss_share", "score_gap", "d_auc_trained"}


def named(*looks: dict[str, float], first: dict[str, float] = UNTRAINED, **dynamics: float) -> list[str]:
    """The verdicts on evaluations that differ from good ones in these scores, after the untrained one."""
    judge = Judge()
    judge.judge(0, first)
    return [judge.judge(step, GOOD | look, **dynamics).name for step, look in enumerate(looks, 1)]


# Each rule


AT_THEIR_THRESHOLDS: list[tuple[dict[str, float], str]] = [
    ({}, "healthy"),
    # immature
    ({"density_over_real": 0.3}, "healthy"),
    ({"density_over_real": 0.299}, "immature"),
    ({"precision_over_real": 0.6}, "healthy"),
    ({"precision_over_real": 0.599}, "immature"),
    ({"frechet_over_trace": 0.18}, "healthy"),
    ({"frechet_over_trace": 0.181}, "immature"),
    ({"sharpness": 0.15}, "healthy"),
    ({"sharpness": 0.149}, "immature"),
    ({"sharpness": 4.0}, "healthy"),
    ({"sharpness": 4.01}, "immature"),
    ({"confident_over_real": 0.25, CLASSES: 0.6, "bin_recall": 0.0}, "healthy"),
    ({"confident_over_real": 0.249, CLASSES: 0.0, "bin_recall": 0.6}, "immature"),
    # partial-collapse
    ({CLASSES: 0.6}, "healthy"),
    ({CLASSES: 0.599}, "partial-collapse"),
    ({"coverage_over_real": 0.25}, "healthy"),
    ({"coverage_over_real": 0.249}, "partial-collapse"),
    ({"repeated": 0.3}, "healthy"),
    ({"repeated": 0.31}, "partial-collapse"),
    ({"class_surplus": 0.333}, "healthy"),
    ({"class_surplus": 0.334}, "partial-collapse"),
    ({"recall_over_real": 0.03}, "healthy"),
    ({"recall_over_real": 0.029}, "partial-collapse"),
    ({CLASSES: 0.5, "density_over_real": 0.3}, "partial-collapse"),
    ({CLASSES: 0.5, "density_over_real": 0.29}, "immature"),
    ({"coverage_over_real": 0.1, "density_over_real": 0.29}, "immature"),
    ({CLASSES: 0.5, "frechet_over_trace": 0.9}, "partial-collapse"),
    # collapsed
    ({CLASSES: 0.15}, "collapsed"),
    ({CLASSES: 0.151, "bin_recall": 0.0}, "partial-collapse"),
    ({"pair_distance": 0.05}, "healthy"),
    ({"pair_distance": 0.049}, "collapsed"),
    ({"recall_over_real": 0.029, "coverage_over_real": 0.249}, "collapsed"),
    ({"recall_over_real": 0.029, "coverage_over_real": 0.25}, "partial-collapse"),
    ({"recall_over_real": 0.029, "coverage_over_real": 0.1, "precision_over_real": 0.5}, "partial-collapse"),
    # diverged
    ({"pair_distance": 5.0}, "healthy"),
    ({"pair_distance": 5.01}, "diverged"),
    # d-saturated
    ({**OFF, "d_auc": 0.99, "g_grad_norm": 0.99e-3}, "d-saturated"),
    ({**OFF, "d_auc": 0.99, "g_grad_norm": 1.01e-3}, "immature"),
    ({**OFF, "d_auc": 0.989, "g_grad_norm": 1e-9}, "immature"),
    ({**OFF, "d_auc": 0.99, "d_loss_share": 0.0099}, "d-saturated"),
    ({**OFF, "d_auc": 0.99, "d_loss_share": 0.01}, "immature"),
    ({**OFF, "d_auc": 0.989, "d_loss_share": 0.0}, "immature"),
    ({**OFF, "d_auc": 0.5, "d_auc_trained": 0.99, "d_loss_share": 0.001}, "d-saturated"),
    ({CLASSES: 0.6, "d_auc": 1.0, "d_loss_share": 0.0}, "healthy"),
    ({CLASSES: 0.59, "d_auc": 1.0, "d_loss_share": 0.0}, "d-saturated"),
    # of several that fire, the first
    ({CLASSES: 0.1, "d_auc": 1.0, "d_loss_share": 0.0}, "collapsed"),
    ({"pair_distance": 6.0, CLASSES: 0.1}, "diverged"),
]


def test_each_rule_fires_at_its_threshold_and_the_first_one_wins(subtests: pytest.Subtests) -> None:
    for numbers, name in AT_THEIR_THRESHOLDS:
        with subtests.test(numbers=numbers):
            assert judged(**numbers).name == name


def test_a_large_gradient_is_divergence_only_of_samples_off_the_data() -> None:
    for dynamics in ({"g_grad_norm": 101.0}, {"g_grad_norm": 101.0, "score_gap": 101.0}):
        assert judged(**dynamics).name == "healthy"
        assert judged(**dynamics, **OFF).name == "diverged"
    assert judged(g_grad_norm=100.0, score_gap=101.0, **OFF).name == "immature"
    assert judged(g_grad_norm=101.0, **OFF | {"coverage_over_real": 0.1}).name == "immature"
    judge = Judge()
    judge.judge(0, UNTRAINED)
    for step, norm in enumerate((4.0, 101.0, 101.0), 1):  # large, but not 30 times the first
        assert judge.judge(step, GOOD | OFF, g_grad_norm=norm, score_gap=100.0).name == "immature"
    assert judge.judge(4, GOOD | OFF, g_grad_norm=121.0).name == "immature"  # once
    verdict = judge.judge(5, GOOD | OFF, g_grad_norm=121.0)
    assert verdict.name == "diverged"
    assert "121, above 100 and more than 30 times the first, 4" in verdict.rule


def test_points_far_off_the_data_have_diverged_and_images_cannot_leave_it() -> None:
    far = OFF | {"sliced_w2": 3.1, "frechet": 0.0}
    points = {name: value for name, value in GOOD.items() if name != "frechet"}

    def last(look: dict[str, float], base: dict[str, float]) -> str:
        judge = Judge()
        judge.judge(0, base | {"sliced_w2": 1.0} if base is points else base)
        return [judge.judge(step, base | look).name for step in (1, 2, 3)][-1]

    assert last({key: value for key, value in far.items() if key != "frechet"}, points) == "diverged"
    assert last(OFF | {"sliced_w2": 3.0}, points) == "immature"
    assert last(OFF | {"frechet": 900.0}, GOOD) == "immature"


def test_a_critic_whose_scores_are_out_of_all_bounds_has_diverged_at_once_even_without_gradients() -> None:
    assert named({}, g_grad_norm=0.0, score_gap=10_001.0) == ["diverged"]
    assert named({}, g_grad_norm=0.0, score_gap=10_000.0) == ["healthy"]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"d_loss_share": 0.61}, "collapsed"),
        ({"d_loss_share": 0.6}, "immature"),
        ({"d_loss_share": 0.61, "pair_distance": 1.51}, "immature"),
        ({"d_loss_share": 0.61, "pair_distance": 0.9, "d_auc": 0.51}, "immature"),  # neither a blob nor lost
        ({"d_loss_share": 0.61, "pair_distance": 0.9, "d_auc": 0.5}, "collapsed"),
        ({"d_loss_share": 0.61, "pair_distance": 0.9, "density_over_real": 0.1}, "collapsed"),
        ({"d_auc": 0.9}, "collapsed"),  # no loss to go by
        ({"d_auc": 0.91}, "immature"),
        ({"d_auc": 1.0, "d_auc_trained": 0.9}, "collapsed"),
    ],
)
def test_few_modes_off_the_data_condemn_where_d_does_not_drive_g_out_of_them(
    given: dict[str, float], name: str
) -> None:
    assert judged(**OFF | {"bin_recall": 0.1, "pair_distance": 0.4} | given).name == name


# Which way it goes


def test_a_run_that_has_not_learnt_yet_is_not_collapsed() -> None:
    blob = OFF | {"bin_recall": 0.02, "pair_distance": 0.3}
    slow = [blob | {"frechet": 100.0 * 0.97**look} for look in range(1, 40)]
    assert set(named(*slow, d_loss_share=0.9)) == {"immature"}
    still = [blob | {"frechet": 99.0}] * 5
    assert set(named(*still, d_loss_share=1.0)) == {"immature"}
    by_batch_norm_alone = [blob | {"frechet": 99.9, "pair_distance": 0.6}] * 5
    assert set(named(*by_batch_norm_alone, d_loss_share=1.0)) == {"immature"}
    unled = blob | {"pair_distance": 0.6, "d_auc": 0.1}
    farther_by_batch_norm = [unled | {"frechet": f} for f in (144.0, 150.0, 151.0, 150.5)]
    fresh = UNTRAINED | {"pair_distance": 0.02}
    assert set(named(*farther_by_batch_norm, first=fresh, d_loss_share=1.1)) == {"immature"}
    came_and_stuck = [blob | {"frechet": 60.0, "pair_distance": 0.1}] * 6
    assert named(*came_and_stuck, d_loss_share=1.0) == ["immature"] * 3 + ["collapsed"] * 3


def test_a_run_whose_samples_spread_is_not_collapsed() -> None:
    spreads = (0.001, 0.005, 0.019, 0.04, 0.046, 0.093)
    growing = [OFF | {"pair_distance": spread, "bin_recall": 0.02, "frechet": 150.0} for spread in spreads]
    first = UNTRAINED | {"pair_distance": 0.0005}
    assert "collapsed" not in named(*growing, first=first, d_loss_share=0.9)
    distances = (150.0, 190.0, 150.0, 190.0, 150.0, 190.0)
    stuck = [look | {"pair_distance": 0.02, "frechet": f} for look, f in zip(growing, distances, strict=True)]
    assert named(*stuck, first=first, d_loss_share=0.9)[1:] == ["collapsed"] * 5


def test_a_look_without_a_distance_condemns_nothing_and_does_not_show_the_last_look_s() -> None:
    settled: list[dict[str, float]] = [{}, {}, {}]
    same = {"pair_distance": 0.01}
    assert named(*settled, same, same)[3:] == ["healthy", "collapsed"]
    judge = Judge()
    judge.judge(0, UNTRAINED)
    looks = [*settled, *([same] * 4)]
    blind = [
        judge.judge(step, {k: v for k, v in (GOOD | look).items() if k != "frechet"})
        if look
        else judge.judge(step, GOOD)
        for step, look in enumerate(looks, 1)
    ]
    assert "collapsed" not in {verdict.name for verdict in blind}
    assert [("distance" in verdict.evidence) for verdict in blind] == [True] * 3 + [False] * 4


def test_falling_is_told_from_trained_generators_since_batch_norm_moves_the_untrained_one() -> None:
    same = {"pair_distance": 0.01}
    fresh = UNTRAINED | same
    nearer = [same | {"frechet": f} for f in (200.0, 190.0, 180.0, 170.0, 160.0, 150.0)]
    assert "collapsed" not in named(*nearer, first=fresh)
    assert named(*nearer, *([nearer[-1]] * 3), first=fresh)[-1] == "collapsed"


@pytest.mark.parametrize(("spread", "last"), [(0.2, "collapsed"), (0.22, "immature")])
def test_a_run_that_recalls_nothing_is_spent_only_if_its_samples_have_drawn_together(
    spread: float, last: str
) -> None:
    wandering = [
        OFF | {"bin_recall": 0.18, "pair_distance": spread, "frechet": f}
        for f in (60.0, 80.0, 90.0, 85.0, 88.0)
    ]
    first = UNTRAINED | {"pair_distance": 0.3}
    assert named(*wandering, first=first)[-1] == last


def test_few_modes_condemn_only_where_they_are_not_growing() -> None:
    stuck = [{CLASSES: share} for share in (0.1, 0.1, 0.0, 0.05, 0.1)]
    settled: list[dict[str, float]] = [{}, {}, {}]
    assert named(*settled, *stuck)[3:] == ["partial-collapse", *["collapsed"] * 4]
    growing = [{CLASSES: 0.1, "bin_recall": share} for share in (0.05, 0.11, 0.17, 0.3, 0.5)]
    assert "collapsed" not in named(*growing)[1:]


def test_a_run_that_does_worse_than_chance_is_condemned_even_while_it_moves() -> None:
    falling = [
        OFF | {"bin_recall": 0.1, "frechet": f, "pair_distance": 0.1} for f in (90.0, 70.0, 50.0, 30.0)
    ]
    assert set(named(*falling, d_loss_share=1.05)) == {"immature"}
    assert named(*falling, d_loss_share=1.06)[1:] == ["collapsed"] * 3


def test_a_run_is_condemned_until_the_cause_is_gone(subtests: pytest.Subtests) -> None:
    cases: list[tuple[str, dict[str, float], dict[str, float], dict[str, float]]] = [
        ("collapsed", {CLASSES: 0.1}, {CLASSES: 0.19}, {CLASSES: 0.2}),
        ("collapsed", {"pair_distance": 0.01}, {"pair_distance": 0.049}, {"pair_distance": 0.06}),
        ("diverged", {"pair_distance": 9.0}, {"pair_distance": 5.1}, {"pair_distance": 2.0}),
    ]
    for name, bad, still, better in cases:
        with subtests.test(bad=bad):
            names = named({}, {}, {}, bad, bad, still, better, bad, bad)
            assert [names[4], names[5]] == [name, name]
            assert names[6] != name
            assert names[8] == name
    sure = OFF | {"d_auc": 1.0}
    judge = Judge()
    judge.judge(0, UNTRAINED)
    shares = [(100.0, 0.0), (100.0, 0.0), (100.0, 0.5), (91.0, 0.5), (89.0, 0.5)]
    names = [
        judge.judge(step, GOOD | sure | {"frechet": f}, d_loss_share=share).name
        for step, (f, share) in enumerate(shares, 1)
    ]
    assert names == ["immature", "d-saturated", "d-saturated", "d-saturated", "immature"]


def test_a_verdict_that_still_holds_says_what_is_not_back() -> None:
    judge = Judge()
    for step, look in enumerate([UNTRAINED, GOOD, GOOD, GOOD, *[GOOD | {CLASSES: 0.1}] * 2]):
        judge.judge(step, look)
    verdict = judge.judge(6, GOOD | {CLASSES: 0.18})
    assert verdict.rule == "it was collapsed before, and only 18% of the modes are there, fewer than 20%"


def test_good_samples_that_lack_modes_are_called_so_at_the_second_look() -> None:
    grey = {CLASSES: 0.5}
    assert named(OFF, grey, grey)[1:] == ["immature", "partial-collapse"]
    judge = Judge()
    judge.judge(0, UNTRAINED)
    judge.judge(1, GOOD | OFF)
    assert judge.judge(2, GOOD | grey).rule == (
        "samples lie on the data for the first time; 50% of the modes are there, fewer than 60%"
    )


def test_images_without_a_classifier_lack_modes_only_where_they_are_dense_and_varied() -> None:
    unknown = {name: value for name, value in GOOD.items() if name not in ("confident_over_real", CLASSES)}

    def last(**look: float) -> str:
        judge = Judge()
        judge.judge(0, unknown | {"pair_distance": 0.02, "frechet": 100.0})
        return [judge.judge(step, unknown | look).name for step in (1, 2)][-1]

    assert last(bin_recall=0.5, density_over_real=0.7) == "partial-collapse"
    assert last(bin_recall=0.5, density_over_real=0.69) == "immature"
    assert last(bin_recall=0.5, pair_distance=0.04) == "immature"


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


def test_a_run_is_condemned_at_the_second_look_running_whichever_rules_fire() -> None:
    one, other = {"pair_distance": 0.01}, {"d_auc": 1.0, CLASSES: 0.5}
    assert named({}, {}, {}, one, {}, one, one)[3:] == ["healthy", "healthy", "healthy", "collapsed"]
    assert named({}, {}, {}, one, other, d_loss_share=0.001)[3:] == ["healthy", "d-saturated"]


def test_the_untrained_generator_condemns_nothing() -> None:
    judge = Judge()
    first = judge.judge(0, GOOD | {"pair_distance": 0.0, CLASSES: 0.0}, g_grad_norm=500.0)
    assert (first.name, first.rule) == ("immature", "the generator is untrained")
    assert first.score == 0
    moved = GOOD | {"pair_distance": 0.0, "frechet": 30.0}
    assert judge.judge(1, moved, g_grad_norm=200.0).name == "healthy"
    assert judge.judge(2, moved | {"frechet": 40.0}, g_grad_norm=200.0).name == "collapsed"


def test_one_look_is_enough_where_there_are_no_others() -> None:
    assert Judge(Thresholds(looks=1)).judge(-1, GOOD | {"pair_distance": 0.0}).name == "collapsed"
    assert Judge(Thresholds(looks=1)).judge(-1, GOOD | {CLASSES: 0.5}).name == "partial-collapse"
    assert "at step" not in Judge(Thresholds(looks=1)).judge(-1, GOOD).sentence()


def test_a_judge_that_goes_on_from_its_state_judges_as_if_undisturbed() -> None:
    same = GOOD | {"pair_distance": 0.0}
    looks = [UNTRAINED, GOOD, GOOD, GOOD, same, same, GOOD | {CLASSES: 0.1, "pair_distance": 0.01}, GOOD]
    looks += [GOOD | OFF, GOOD | OFF, GOOD | OFF | {"frechet": 1.0}]
    norms = [1.0] * 8 + [300.0] * 3
    whole, part = Judge(), Judge()
    expected = [whole.judge(i, s, g_grad_norm=g) for i, (s, g) in enumerate(zip(looks, norms, strict=True))]
    found = []
    for step, (scores, norm) in enumerate(zip(looks, norms, strict=True)):
        state = json.loads(json.dumps(part.state_dict()))
        part = Judge()
        part.load_state_dict(state)
        found.append(part.judge(step, scores, g_grad_norm=norm))
    assert found == expected
    assert "".join(verdict.name[0] for verdict in found) == "ihhhhcchidd"


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
    needed = {"coverage_over_real", "density_over_real", "precision_over_real"} <= known.keys()
    if verdict.name == "healthy":
        assert needed
        assert {"class_recall", "bin_recall"} & known.keys()


@pytest.mark.parametrize(
    ("left_out", "said"),
    [
        ("coverage_over_real", "coverage"),
        ("density_over_real", "density"),
        ("precision_over_real", "precision"),
        ("frechet_over_trace", "Fréchet distance over the real spread"),
        ("modes", "modes present"),
    ],
)
def test_without_a_number_that_health_rests_on_nothing_is_called_healthy(left_out: str, said: str) -> None:
    gone = {"modes": {CLASSES, "bin_recall"}}.get(left_out, {left_out})
    verdict = Judge().judge(9, {name: value for name, value in GOOD.items() if name not in gone})
    assert verdict.flags == ("unjudged",)
    expected = f"not judged at step 9: no rule fired, but without {said} nothing can be called healthy"
    assert verdict.sentence().startswith(expected)


def test_a_failed_score_leaves_the_other_rules_standing() -> None:
    judge = Judge(Thresholds(looks=1))
    assert judge.judge(1, {"pair_distance": 0.0}).name == "collapsed"

    def alone(scores: dict[str, float]) -> Verdict:
        return Judge(Thresholds(looks=1)).judge(1, scores)

    assert alone({"class_recall_clear": 0.5, "confident_over_real": 0.9}).name == "partial-collapse"
    assert alone({"class_recall": 0.5, "confident_over_real": 0.9}).name == "partial-collapse"
    assert alone({"bin_recall": 0.1, "high_quality": 0.9}).name == "collapsed"
    assert alone({"bin_recall": 0.1}).name == "immature"  # nothing tells clear samples
    assert alone({"density_over_real": 0.1}).name == "immature"
    assert Judge().judge(1, {}, g_grad_norm=1e-9).flags == ("unjudged",)
    assert alone({}).score == 0


def test_points_are_judged_by_the_fewer_of_bins_and_parts_and_by_what_real_points_get() -> None:
    scores = {
        "bin_recall": 0.8,
        "mode_recall": 0.7,
        "high_quality": 0.9889,
        "coverage": 0.1,
        "coverage_over_real": 0.5,
        "density_over_real": 0.9,
        "pair_distance": 1.0,
        "sliced_w2": 0.1,
    }
    verdict = Judge().judge(5, scores)
    assert verdict.evidence == pytest.approx(
        {"modes": 0.7, "parts": 0.7, "coverage": 0.5, "density": 0.9, "pair_distance": 1.0, "confident": 1.0},
        abs=1e-4,
    )
    assert verdict.score == pytest.approx(0.7)
    assert verdict.missing == ("precision", "recall", "d_auc", "g_grad_norm")
    assert "without precision nothing" in verdict.rule
    assert "and the precision 0.6" in Judge().judge(5, scores | {"precision_over_real": 0.9}).rule
    assert Judge().judge(5, scores | {"high_quality": 0.2}).evidence["modes"] == 0.8
    unclear = scores | {"high_quality": 0.2, "mode_recall": 0.16}
    assert Judge().judge(5, unclear).rule.endswith("; 16% of the modes are there, fewer than 60%")


# Score, flags, words


@pytest.mark.parametrize(
    ("modes", "coverage", "score"), [(1.0, 0.5, 1.0), (0.7, 2.0, 0.7), (0.9, 0.1, 0.2), (0.0, 1.0, 0.0)]
)
def test_the_score_is_the_smaller_of_modes_and_twice_the_coverage(
    modes: float, coverage: float, score: float
) -> None:
    assert judged(class_recall_clear=modes, coverage_over_real=coverage).score == pytest.approx(score)


def test_flags_say_what_the_name_does_not() -> None:
    assert judged(density_over_real=1.51).flags == ("intra-mode",)
    assert judged(density_over_real=1.5).flags == ()
    assert judged(pair_distance=0.01, density_over_real=0.1).flags == ("off-data",)
    assert judged(confident_over_real=0.1).flags == ("unclear",)
    assert judged(memorised=0.26).flags == ("memorised",)
    assert (judged(memorised=0.25).flags, judged(memorised=0.26).name) == ((), "healthy")
    assert judged(confident_over_real=0.1, bin_recall=0.4).evidence["modes"] == 0.4


def test_the_sentence_says_verdict_rule_threshold_and_numbers() -> None:
    assert judged(class_recall_clear=0.5).sentence() == (
        "partial-collapse at step 5: 50% of the modes are there, fewer than 60% [modes present 0.5, "
        "coverage 1, density 1, precision 1, recall 1, pair distance 1, samples of a clear class 1, Fréchet "
        "distance over the real spread 0.05, detail 1, D's AUC 0.7, generator's gradient norm 1, distance "
        "over the untrained generator's 0.2, way from the untrained generator 0.8]"
    )
    both = judged(pair_distance=0.01, class_recall_clear=0.1, d_auc=1.0, d_loss_share=0.001).rule
    assert "; 10% of the modes are left, not more than 15%, and not growing; the discriminator always" in both
    assert both.endswith(", below 0.01, at 2 evaluations running")


def test_each_verdict_has_words_for_what_it_says_and_cannot_see() -> None:
    assert list(BLIND) == list(MEANING) == list(VERDICTS)


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


def test_a_run_that_d_won_before_it_moved_is_said_to_make_the_same_samples() -> None:
    look = {"pair_distance": 0.04, "d_auc": 1.0, "frechet": 99.0}
    first = UNTRAINED | {"pair_distance": 0.04}
    judge = Judge()
    judge.judge(0, first)
    found = [judge.judge(step, GOOD | OFF | look, d_loss_share=0.001) for step in (1, 2)][-1]
    assert (found.name, found.flags) == ("d-saturated", ("same-samples", "unclear"))
    assert "same-samples" not in judged(pair_distance=0.04).flags  # collapsed says so itself


# History


def test_a_history_is_judged_as_the_run_was() -> None:
    rows: list[dict[str, float]] = [{"train/step": 0} | {f"eval/{k}": v for k, v in UNTRAINED.items()}]
    live, expected = Judge(), []
    expected.append(live.judge(0, UNTRAINED))
    looks = [(1.0, 1.0), (1.0, 1.0), (1.0, 1.0), (1e-6, 1.0), (1e-6, 0.8), (2.0, 0.04), (2.0, 0.04)]
    for step, (g, spread) in enumerate(looks, start=1):
        scores = GOOD | {"pair_distance": spread, "d_auc": 0.995, CLASSES: 0.5}
        rows += [
            {"train/step": step, "train/g_grad_norm": 77.0},
            {"train/step": step, "train/g_grad_norm": g, "train/g_loss": 1.0, "train/d_auc": 0.9},
            {"train/step": step, "train/d_loss": 1.0},
            {"train/step": step, "eval/classes": 3.0} | {f"eval/{key}": v for key, v in scores.items()},
        ]
        live.trained(77.0)
        expected.append(live.judge(step, scores, g_grad_norm=g, d_loss_share=0.5, d_auc_trained=0.9))
    found = judge_history(rows, chance=2.0)
    assert found == expected
    assert "".join(v.name[0] for v in found) == "iipppdcc"
    assert judge_history(rows, Thresholds(looks=1))[4].name == "d-saturated"
    assert judge_history([{"train/step": 1, "train/g_loss": 0.0}]) == []


def test_of_d_s_loss_the_median_since_the_last_look_counts() -> None:
    losses = {1: (5.0, 1.0, 0.1), 2: (0.2, 0.4), 3: (), 4: (2.0, float("inf"), 0.6)}
    rows: list[dict[str, float]] = [{"train/step": 0} | {f"eval/{k}": v for k, v in UNTRAINED.items()}]
    for step, found in losses.items():
        rows += [{"train/step": step, "train/d_loss": loss} for loss in found]
        rows += [{"train/step": step} | {f"eval/{k}": v for k, v in GOOD.items()}]
    shares = [verdict.evidence.get("d_loss_share") for verdict in judge_history(rows, chance=2.0)]
    assert shares == [None, 0.5, pytest.approx(0.15), pytest.approx(0.15), pytest.approx(0.3)]


def test_an_evaluation_all_of_whose_scores_failed_is_one_and_divergence_found_in_training_is_none() -> None:
    lost, found = ({"train/step": 9, "verdict/code": code, "verdict/score": score} for code, score in LONE)
    (verdict,) = judge_history([lost])
    assert (verdict.step, verdict.flags) == (9, ("unjudged",))
    assert judge_history([found]) == []


LONE = ((4, 0.0), (0, -1.0))
"""Codes and scores of verdicts that stand in a row without scores: unjudged, and diverged."""


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
        (few, "collapsed", None),
        (shrunk, "partial-collapse", "intra-mode"),
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
    assert verdict.score > 0.6 or name != "healthy", verdict


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
