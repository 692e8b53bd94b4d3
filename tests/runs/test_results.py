"""Claims about finished runs: what they are worth, and that their files are whole or absent."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.load import read_results
from harness.files import write_json
from harness.planning.plan_file import PLAN_VERSION
from harness.recipe import find_recipe
from harness.runs.folder import find_results, load_result, read_recipe, run_directory
from harness.runs.result import RunResult, last_on_half, score, summarise_curve
from harness.study.target import Target

LOW, HIGH = Target(metric="m", goal="minimize"), Target(metric="m", goal="maximize")

VERDICT = {"name": "collapsed", "rule": "no modes are left", "evidence": {"modes": 0.1}, "flags": []}
VERDICT |= {
    "score": 0.1,
    "step": 8,
    "rules": 2,
    "since": 4,
    "timeline": [[0, "immature"], [4, "collapsed"], [8, "collapsed"]],
}


def make_result(**changes: Any) -> RunResult:
    values: dict[str, Any] = {
        "run_id": "0123456789ab",
        "study": "study",
        "arm": "optimizer.name=sgd",
        "overrides": {"optimizer.name": "sgd"},
        "seed": 0,
        "phase": "ablate",
        "trial": None,
        "outcome": "completed",
        "reason": "",
        "scores": {"sliced_w2": {"first": 0.6, "last": 0.1, "best": 0.05, "area": 0.2}},
        "ledger": {"discriminator_steps": 10, "generator_steps": 10, "seen_images": 640, "elapsed_sec": 1.5},
        "recipe": "f" * 16,
        "environment": {"device": "cpu"},
    }
    return RunResult(**(values | changes))


def save(directory: Path, result: RunResult) -> None:
    folder = run_directory(directory, result.run_id)
    folder.mkdir(parents=True)
    write_json(folder / "result.json", result.to_json())


@pytest.mark.parametrize("at", ["first", "last", "best", "area"])
def test_a_completed_run_is_worth_the_summary_asked_for(at: Any) -> None:
    result = make_result()
    assert score(result, "sliced_w2", at) == result.scores["sliced_w2"][at]


FAILURES: dict[str, dict[str, Any]] = {
    "not finite": {"outcome": "diverged", "reason": "loss"},
    "hopeless": {"outcome": "stopped", "stopped_by": "verdict"},
    "running away": {"verdict": VERDICT | {"name": "diverged"}},
}


@pytest.mark.parametrize("how", FAILURES)
@pytest.mark.parametrize("at", ["last", "best", "area"])
def test_every_failed_run_is_worth_the_worse_of_its_untrained_score_and_its_last(how: str, at: Any) -> None:
    for last, worth in ((0.1, 0.6), (163.7, 163.7)):
        scores = {"sliced_w2": {"first": 0.6, "last": last, "best": 0.05, "area": 0.2}}
        assert score(make_result(scores=scores, **FAILURES[how]), "sliced_w2", at) == worth
        assert score(make_result(scores=scores, **FAILURES[how]), "sliced_w2", "first") == 0.6
    scores = {"coverage": {"first": 0.1, "last": 0.7, "best": 0.8, "area": 0.5}}
    assert score(make_result(scores=scores, **FAILURES[how]), "coverage", at) == 0.1


def test_of_a_failed_run_the_worse_score_is_the_one_that_the_studys_goal_calls_so() -> None:
    failed = make_result(**FAILURES["hopeless"])
    assert score(failed, "sliced_w2", goal="minimize") == 0.6
    assert score(failed, "sliced_w2", goal="maximize") == 0.1


@pytest.mark.parametrize("at", ["last", "best", "area"])
def test_no_run_gets_a_better_score_by_being_stopped(at: Any) -> None:
    for curve in ([0.6, 0.1, 0.3], [0.6, 900.0, 1.0], [0.6, 0.7, 163.7]):
        scores = {"sliced_w2": summarise_curve([0, 1, 2], curve, LOW)}
        trained = score(make_result(scores=scores), "sliced_w2", at)
        assert score(make_result(scores=scores, **FAILURES["hopeless"]), "sliced_w2", at) >= trained


def test_a_score_that_could_not_be_computed_at_the_end_counts_as_a_failed_runs() -> None:
    failed = {"sliced_w2": {"count": 1, "reason": "it came out as inf.", "at_end": True}}
    assert score(make_result(failed_scores=failed), "sliced_w2") == 0.6
    failed["sliced_w2"]["at_end"] = False
    assert score(make_result(failed_scores=failed), "sliced_w2") == 0.1


def test_what_stands_beside_the_best_is_the_last_on_its_half_and_a_failed_runs_worth() -> None:
    halves = {"metric": "sliced_w2", "step": 8, "select": 0.1, "report": 0.2, "last": 0.15}
    assert last_on_half(make_result(best_checkpoint=halves), "sliced_w2") == 0.15
    assert math.isnan(last_on_half(make_result(best_checkpoint=halves), "coverage"))
    assert math.isnan(last_on_half(make_result(), "sliced_w2"))
    lost = {"sliced_w2": {"count": 1, "reason": "it came out as inf.", "at_end": True}}
    for changes in (*FAILURES.values(), {"failed_scores": lost}):
        assert last_on_half(make_result(best_checkpoint=halves, **changes), "sliced_w2") == 0.6


def test_a_failed_run_without_an_untrained_score_is_worth_its_last() -> None:
    scores = {"sliced_w2": summarise_curve([5, 9], [2.0, 1.0], LOW)}
    assert math.isnan(scores["sliced_w2"]["first"])
    assert score(make_result(scores=scores, **FAILURES["not finite"]), "sliced_w2") == 1.0


def test_a_failed_run_is_worth_nothing_by_a_metric_whose_better_side_nobody_knows() -> None:
    scores = {"forgotten": {"first": 0.6, "last": 0.1, "best": 0.05, "area": 0.2}}
    assert score(make_result(scores=scores), "forgotten") == 0.1
    assert math.isnan(score(make_result(scores=scores, **FAILURES["hopeless"]), "forgotten"))


def test_an_unknown_metric_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="has no metric `fid`; it has sliced_w2"):
        score(make_result(), "fid")


def test_a_run_without_any_score_is_worth_nan() -> None:
    assert math.isnan(score(make_result(scores={}, outcome="diverged"), "sliced_w2"))


def test_the_area_is_the_mean_over_steps_not_over_evaluations() -> None:
    summary = summarise_curve([0, 10, 100], [1.0, 0.0, 0.0], LOW)
    assert summary == {"first": 1.0, "last": 0.0, "best": 0.0, "area": pytest.approx(0.05)}


def test_the_best_follows_the_goal() -> None:
    assert summarise_curve([0, 1, 2], [1.0, 3.0, 2.0], HIGH)["best"] == 3.0
    assert summarise_curve([0, 1, 2], [2.0, 1.0, 3.0], LOW)["best"] == 1.0


def test_a_single_evaluation_is_its_own_area() -> None:
    assert summarise_curve([0], [2.0], LOW) == {"first": 2.0, "last": 2.0, "best": 2.0, "area": 2.0}


def test_a_curve_without_points_is_refused() -> None:
    with pytest.raises(ValueError, match="as many values as steps, but got 0 and 0"):
        summarise_curve([], [], LOW)


def test_results_survive_the_disk_non_finite_numbers_included(tmp_path: Path) -> None:
    scores = {"sliced_w2": {"first": 1 / 3, "last": math.inf, "best": 0.1, "area": -math.inf}}
    result = make_result(scores=scores)
    save(tmp_path, result)
    assert load_result(run_directory(tmp_path, result.run_id)) == result
    text = (run_directory(tmp_path, result.run_id) / "result.json").read_text()
    assert json.loads(text)["scores"]["sliced_w2"]["last"] == "inf"


def test_results_come_in_a_fixed_order(tmp_path: Path) -> None:
    for index, (arm, seed) in enumerate([("b", 1), ("a", 1), ("b", 0), ("a", 0)]):
        save(tmp_path, make_result(run_id=f"{index:012x}", arm=arm, seed=seed))
    assert [(r.arm, r.seed) for r in read_results(tmp_path)] == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]


def test_runs_of_seeds_no_longer_asked_for_are_left_out(tmp_path: Path) -> None:
    for seed in range(3):
        save(tmp_path, make_result(run_id=f"{seed:012x}", seed=seed))
    write_json(tmp_path / "plan.json", {"version": PLAN_VERSION, "seeds": {"ablate": [0, 2]}})
    assert [r.seed for r in read_results(tmp_path)] == [0, 2]


def test_a_copy_beside_a_run_is_no_run(tmp_path: Path) -> None:
    result = make_result()
    save(tmp_path, result)
    folder = run_directory(tmp_path, result.run_id)
    for name in (f"{result.run_id}.bak", "copy", "f" * 12):
        shutil.copytree(folder, folder.with_name(name))
    (folder.with_name("copy") / "result.json").write_text("{")
    assert find_results(tmp_path) == [result]
    assert find_results(tmp_path, {result.run_id}) == []


def test_a_result_of_an_earlier_version_is_refused_with_a_way_to_go_on(tmp_path: Path) -> None:
    values = make_result().to_json()
    folder = run_directory(tmp_path / "study", values["run_id"])
    folder.mkdir(parents=True)
    for new, old in (("arm", "cell"), ("best_checkpoint", "selection")):
        write_json(
            folder / "result.json", {key: value for key, value in values.items() if key != new} | {old: ""}
        )
        with pytest.raises(ValueError, match=f"earlier version of the harness .`{old}` is `{new}`") as caught:
            load_result(folder)
        said = f"move {tmp_path / 'study'} away, or choose another folder with --directory."
        assert str(caught.value).endswith(said)
        assert "\n" not in str(caught.value)


def test_a_run_without_a_result_has_not_finished(tmp_path: Path) -> None:
    assert load_result(tmp_path) is None
    assert read_results(tmp_path) == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"run_id": "x"}'])
def test_a_broken_result_is_named_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(ValueError, match=r"result\.json is not a run's result .*delete it") as caught:
        load_result(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_result_whose_score_lacks_a_summary_is_named_in_one_line(tmp_path: Path) -> None:
    values = make_result().to_json()
    del values["scores"]["sliced_w2"]["last"]
    write_json(tmp_path / "result.json", values)
    with pytest.raises(
        ValueError, match=r"result\.json .*`scores\.sliced_w2` lacks `last`.*delete it"
    ) as caught:
        load_result(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("verdict", {"name": "fine"}),
        ("verdict", {"since": None}),
        ("verdict", {"timeline": "abc"}),
        ("verdict", {"timeline": [[0, "fine"]]}),
        ("verdict", {"evidence": {"modes": "few"}}),
        ("best_checkpoint", {"step": None}),
        ("best_checkpoint", {"report": "low"}),
    ],
)
def test_a_result_with_a_damaged_verdict_or_selection_is_named_in_one_line(
    tmp_path: Path, field: str, changes: dict[str, Any]
) -> None:
    selection = {"metric": "sliced_w2", "step": 8, "select": 0.1, "report": 0.2}
    whole = make_result(verdict=VERDICT, best_checkpoint=selection)
    folder = run_directory(tmp_path, whole.run_id)
    folder.mkdir(parents=True)
    write_json(folder / "result.json", whole.to_json())
    assert load_result(folder) == whole
    write_json(folder / "result.json", whole.to_json() | {field: whole.to_json()[field] | changes})
    with pytest.raises(ValueError, match=r"result\.json is not a run's result \(.*delete it") as caught:
        load_result(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes", [{"stopped_by": "boredom", "outcome": "stopped"}, {"stopped_by": "verdict"}]
)
def test_only_a_verdict_a_pruner_or_a_callback_stops_a_run_and_only_a_stopped_one(
    changes: dict[str, Any],
) -> None:
    with pytest.raises(
        ValueError, match="`stopped_by` must be verdict, pruner or callback, of a stopped run"
    ):
        make_result(**changes)


def test_a_run_stopped_by_its_verdict_failed_and_a_pruned_one_did_not() -> None:
    hopeless = make_result(outcome="stopped", stopped_by="verdict")
    pruned = make_result(outcome="stopped", stopped_by="pruner")
    before = make_result(outcome="stopped")  # results from before there were two reasons
    assert [(run.failed, run.pruned) for run in (hopeless, pruned, before)] == [
        (True, False),
        (False, True),
        (False, True),
    ]
    assert [score(run, "sliced_w2") for run in (hopeless, pruned)] == [0.6, 0.1]


@pytest.mark.parametrize("text", ["", "[]", '{"name": "x"}'])
def test_a_broken_recipe_is_named_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "recipe.json").write_text(text)
    with pytest.raises(ValueError, match=r"recipe\.json") as caught:
        read_recipe(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_recipe_without_a_section_says_which(tmp_path: Path) -> None:
    values = find_recipe("ring-gan").to_json()
    del values["loss"]
    write_json(tmp_path / "recipe.json", values)
    with pytest.raises(ValueError, match=r"recipe\.json is no recipe .*section `loss` is missing"):
        read_recipe(tmp_path)


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_an_unknown_outcome_is_refused() -> None:
    with pytest.raises(ValueError, match="`outcome` must be one of completed, diverged, stopped"):
        make_result(outcome="fine")
