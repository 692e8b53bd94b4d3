"""Trials are given up where W&B gives up runs: against what its own package decides."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest

from harness.search.pruners import BracketPruner, brackets
from harness.study.grammar import EarlyTerminate
from harness.study.study import Study
from support.sweep_texts import TUNED

RECORDED = json.loads((Path(__file__).parent / "wandb_hyperband.json").read_text())["cases"]


def read(early: dict[str, Any]) -> EarlyTerminate:
    section = json.dumps({"type": "hyperband"} | early)
    found = Study.parse(TUNED.replace("{type: hyperband, min_iter: 3, eta: 2}", section)).early_terminate
    assert found is not None
    return found


def search(early: EarlyTerminate, goal: str = "minimize") -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(direction=goal, pruner=BracketPruner(early))


def test_brackets_are_those_of_wandb(subtests: pytest.Subtests) -> None:
    for name, case in RECORDED.items():
        with subtests.test(case=name):
            found = sorted(brackets(read(case["early"]), most=10**6))
            assert found[: len(case["brackets"])] == case["brackets"]
            assert "max_iter" not in case["early"] or len(found) == len(case["brackets"])


def test_trials_of_four_workers_are_given_up_when_wandb_gives_them_up(subtests: pytest.Subtests) -> None:
    for name, case in RECORDED.items():
        with subtests.test(case=name):
            found = search(read(case["early"]), case["goal"])
            trials = [found.ask() for _ in case["values"]]
            reached, stopped = Counter[int](), dict.fromkeys(range(len(trials)), 0)
            for index in case["order"]:
                trials[index].report(case["values"][index][reached[index]], reached[index] + 1)
                reached[index] += 1
                if trials[index].should_prune():
                    stopped[index] = reached[index]
                    found.tell(trials[index], state=optuna.trial.TrialState.PRUNED)
            assert list(stopped.values()) == case["stopped_at"]


def test_of_81_trials_side_by_side_53_stop_at_3_and_18_at_9() -> None:
    found = search(read({"max_iter": 27, "s": 2, "eta": 3}))
    trials = {index: found.ask() for index in range(81)}
    stopped = Counter[int]()
    for evaluation in range(1, 28):
        for index, trial in trials.items():
            trial.report(float(index * 37 % 81), evaluation)
        for index in [index for index, trial in trials.items() if trial.should_prune()]:
            found.tell(trials.pop(index), state=optuna.trial.TrialState.PRUNED)
            stopped[evaluation] += 1
    assert stopped == {3: 53, 9: 18}
    assert sum(evaluation * count for evaluation, count in stopped.items()) + 27 * len(trials) == 591
