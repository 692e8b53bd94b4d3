"""Claims about the journal of trials: repaired, shared, within budget, and the same whoever asks."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import pytest

from harness.search.search import Search, record_arms
from harness.search.storage import open_storage, repair_journal
from harness.search.trial import Trial
from harness.study.study import Study
from support.tiny_studies import ablation, search

LR = "optimizer.lr"


def open_search(directory: Path, study: Study | None = None, arm: int = 0) -> Search:
    """A search as another process would open it."""
    study = study or search()
    return Search(open_storage(directory), study, study.arms[arm], directory)


def ask_all(found: Search, cap: int = 100) -> list[Trial]:
    asked = []
    while (trial := found.ask(cap)) is not None:
        asked.append(trial)
    return asked


def decided_at_2(found: Search, values: list[float]) -> list[bool]:
    """Whether each of some trials, one after the other, is given up at its second evaluation."""
    decided = []
    for trial, value in zip(ask_all(found, cap=len(values)), values, strict=True):
        assert not found.should_prune(trial.number, 1, 0.9)
        decided.append(found.should_prune(trial.number, 2, value))
    return decided


@pytest.fixture
def cut() -> Callable[[Path, bytes], None]:
    """Append bytes to a journal, as a writer that was killed in the middle of a line would leave them."""

    def append(directory: Path, torn: bytes) -> None:
        with (directory / "journal.log").open("ab") as file:
            file.write(torn)

    return append


TORN = b'{"op_code":4,"worker_id":"abc","study_id":0,"datetime_st'


def test_a_torn_last_line_is_dropped_on_opening(tmp_path: Path, cut: Callable[[Path, bytes], None]) -> None:
    ask_all(open_search(tmp_path), cap=2)
    whole = (tmp_path / "journal.log").read_bytes()
    cut(tmp_path, TORN)
    assert repair_journal(tmp_path / "journal.log") == 1
    assert (tmp_path / "journal.log").read_bytes() == whole
    assert len(open_search(tmp_path).trials()) == 2


def test_a_line_torn_by_another_worker_does_not_spoil_the_next_one(
    tmp_path: Path, cut: Callable[[Path, bytes], None]
) -> None:
    found = open_search(tmp_path)
    ask_all(found, cap=1)
    cut(tmp_path, TORN)
    assert found.ask(2) is not None
    assert len(open_search(tmp_path).trials()) == 2
    assert all(json.loads(line) for line in (tmp_path / "journal.log").read_text().splitlines())


def test_a_bad_line_in_the_middle_does_not_stop_readers(
    tmp_path: Path, cut: Callable[[Path, bytes], None]
) -> None:
    ask_all(open_search(tmp_path), cap=1)
    cut(tmp_path, TORN + b"\n\xff\xfe\n")
    assert repair_journal(tmp_path / "journal.log") == 2
    assert len(open_search(tmp_path).trials()) == 1


def test_there_is_nothing_to_repair_before_a_journal_is_begun(tmp_path: Path) -> None:
    assert repair_journal(tmp_path / "journal.log") == 0


def test_the_budget_is_spent_exactly_by_workers_that_ask_at_once(tmp_path: Path) -> None:
    # Each has a storage of its own, as processes do, and the locks are between open files, not processes.
    open_search(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        asked = list(pool.map(lambda _: ask_all(open_search(tmp_path), cap=20), range(4)))
    indices = sorted(trial.number for trials in asked for trial in trials)
    assert indices == list(range(20))
    assert open_search(tmp_path).ask(20) is None


def test_what_a_random_trial_tries_does_not_depend_on_who_asks(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "many").mkdir()
    alone = [trial.parameters for trial in ask_all(open_search(tmp_path / "one"), cap=4)]
    turns = [open_search(tmp_path / "many").ask(4) for _ in range(4)]
    assert [trial.parameters for trial in turns if trial is not None] == alone
    assert len({trial[LR] for trial in alone}) == 4


def test_a_bayesian_search_repeats_itself_given_the_same_values(tmp_path: Path) -> None:
    study = search(method="bayes", run_cap=14)
    runs = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        found = open_search(tmp_path / name, study)
        while (trial := found.ask(14)) is not None:
            found.tell(trial.number, abs(math.log(trial.parameters[LR] / 1e-3)))
        runs.append([trial.parameters[LR] for trial in found.trials()])
    assert runs[0] == runs[1]


def test_arms_draw_different_trials(tmp_path: Path) -> None:
    study = search(tuned=True)
    first, second = (ask_all(open_search(tmp_path, study, arm), cap=3) for arm in (0, 1))
    assert {trial.parameters[LR] for trial in first}.isdisjoint(trial.parameters[LR] for trial in second)
    assert len(first) == len(second) == 3


def test_a_grid_is_tried_point_by_point(tmp_path: Path) -> None:
    parameters = {LR: {"values": [1e-4, 1e-3]}, "train.ema": {"values": [0.0, 0.9]}}
    more = {key: {"value": value} for key, value in {"train.epochs": 3, "evaluate.num_samples": 100}.items()}
    study = search(tuned=True, method="grid", run_cap=4, parameters=parameters | more)
    asked = ask_all(open_search(tmp_path, study), cap=4)
    assert [(trial.parameters[LR], trial.parameters["train.ema"]) for trial in asked] == [
        (1e-4, 0.0),
        (1e-4, 0.9),
        (1e-3, 0.0),
        (1e-3, 0.9),
    ]


def test_a_trial_whose_asker_died_between_its_parameters_does_not_count(tmp_path: Path) -> None:
    found = open_search(tmp_path)
    assert found.ask(2) is not None
    storage = open_storage(tmp_path)
    optuna.load_study(storage=storage, study_name=optuna.get_all_study_names(storage)[0]).ask()
    trials = ask_all(open_search(tmp_path), cap=2)
    assert [trial.number for trial in trials] == [1]
    assert [trial.number for trial in found.trials()] == [0, 1]


def test_an_undisturbed_search_and_one_with_a_dead_asker_try_the_same(tmp_path: Path) -> None:
    for name in ("calm", "disturbed"):
        (tmp_path / name).mkdir()
    calm = ask_all(open_search(tmp_path / "calm"), cap=3)
    found = open_search(tmp_path / "disturbed")
    storage = open_storage(tmp_path / "disturbed")
    optuna.load_study(storage=storage, study_name=optuna.get_all_study_names(storage)[0]).ask()
    assert [trial.parameters for trial in ask_all(found, cap=3)] == [trial.parameters for trial in calm]


def test_telling_twice_keeps_the_first_value(tmp_path: Path) -> None:
    found = open_search(tmp_path)
    trial = found.ask(1)
    assert trial is not None
    found.tell(trial.number, 0.5)
    open_search(tmp_path).tell(trial.number, 0.7)
    assert [(t.state, t.value) for t in found.trials()] == [("complete", 0.5)]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_trial_without_a_finite_value_fails_and_uses_up_its_budget(tmp_path: Path, value: float) -> None:
    found = open_search(tmp_path)
    assert found.ask(1) is not None
    found.tell(0, value)
    assert [(t.state, t.value) for t in found.trials()] == [("fail", None)]
    assert found.ask(1) is None
    assert found.best() is None


@pytest.mark.parametrize(("goal", "best"), [("minimize", 1), ("maximize", 0)])
def test_the_best_trial_is_the_earliest_with_the_best_value(tmp_path: Path, goal: str, best: int) -> None:
    found = open_search(tmp_path, search(metric={"name": "sliced_w2", "goal": goal}))
    for trial, value in zip(ask_all(found, cap=4), [0.9, 0.1, 0.1, 0.9], strict=True):
        found.tell(trial.number, value)
    winner = found.best()
    assert winner is not None
    assert winner.number == best


def test_a_pruned_trial_is_the_best_only_where_none_is_complete(tmp_path: Path) -> None:
    found = open_search(tmp_path, search(early_terminate={"type": "hyperband", "min_iter": 1, "eta": 2}))
    ask_all(found, cap=2)
    found.should_prune(0, 1, 0.01)
    found.tell(0, 0.01, pruned=True)
    winner = found.best()
    assert winner is not None
    assert (winner.number, winner.state, winner.value) == (0, "pruned", 0.01)
    found.tell(1, 0.5)
    winner = found.best()
    assert winner is not None
    assert winner.number == 1


def test_successive_halving_gives_up_the_worst_of_three(tmp_path: Path) -> None:
    found = open_search(tmp_path, search(early_terminate={"type": "hyperband", "min_iter": 2, "eta": 2}))
    assert decided_at_2(found, [0.1, 0.2, 0.8]) == [False, False, True]


def test_hyperband_prunes_too(tmp_path: Path) -> None:
    early = {"type": "hyperband", "max_iter": 9, "s": 2, "eta": 3}
    found = open_search(tmp_path, search(run_cap=12, early_terminate=early))
    pruned = set()
    for trial in ask_all(found, cap=12):
        for evaluation in range(1, 9):
            if found.should_prune(trial.number, evaluation, 1.0 + trial.number):
                pruned.add(trial.number)
                break
    assert 0 < len(pruned) < 12


def test_points_of_a_grid_are_pruned_too(tmp_path: Path) -> None:
    early = {"type": "hyperband", "min_iter": 2, "eta": 2}
    values = {LR: {"values": [1e-4, 1e-3, 1e-2]}}
    found = open_search(tmp_path, search(method="grid", run_cap=3, parameters=values, early_terminate=early))
    assert decided_at_2(found, [0.1, 0.2, 0.8]) == [False, False, True]
    assert [trial.parameters[LR] for trial in found.trials()] == [1e-4, 1e-3, 1e-2]


def test_a_decision_to_prune_outlives_the_worker_that_made_it(tmp_path: Path) -> None:
    study = search(early_terminate={"type": "hyperband", "min_iter": 2, "eta": 2})
    found = open_search(tmp_path, study)
    assert decided_at_2(found, [0.1, 0.2, 0.8]) == [False, False, True]
    again = open_search(tmp_path, study)
    assert not again.should_prune(2, 1, 0.8)
    assert again.should_prune(2, 2, 0.8)


def test_a_study_that_prunes_nothing_never_gives_up(tmp_path: Path) -> None:
    found = open_search(tmp_path)
    ask_all(found, cap=2)
    assert not any(found.should_prune(index, 1, value) for index, value in enumerate([0.1, 9.0]))


def record(directory: Path, seeds: list[int], value: float = 0.5) -> list[str]:
    return record_arms(open_storage(directory), ablation(seeds=seeds), {"adam": value}, directory)


def test_an_arm_is_recorded_once_for_each_set_of_seeds(tmp_path: Path) -> None:
    assert record(tmp_path, [0, 1]) == ["adam"]
    assert record(tmp_path, [0, 1]) == []
    assert record(tmp_path, [0, 1, 2]) == ["adam"]
    trials: list[Any] = optuna.load_study(storage=open_storage(tmp_path), study_name="tiny").trials
    assert [trial.user_attrs["seeds"] for trial in trials] == [[0, 1], [0, 1, 2]]
    assert trials[0].params == {"optimizer.name": "adam"}
    assert trials[0].value == 0.5


def test_an_arm_without_a_finite_value_is_recorded_as_failed(tmp_path: Path) -> None:
    assert record(tmp_path, [0], math.nan) == ["adam"]
    trials = optuna.load_study(storage=open_storage(tmp_path), study_name="tiny").trials
    assert trials[0].state.name == "FAIL"
