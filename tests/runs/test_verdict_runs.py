"""Claims about verdicts as the outcome of runs: recorded, shown, told at once, and acted upon."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from harness import RunResult, train
from harness.analysis.load import read_results
from harness.analysis.summary import summarise
from harness.cli.main import _print_plan
from harness.data import load_dataset
from harness.engine import checkpoint as checkpoints
from harness.engine.trainer import Trainer
from harness.execution.status import StatusReader
from harness.execution.worker import Worker
from harness.features.comparing import check_comparable
from harness.files import write_json
from harness.metrics.evaluator import Evaluator
from harness.metrics.scores import Halves
from harness.objective.objective import chance_loss
from harness.runs.best import BestCheckpoint
from harness.runs.folder import RunFolder, load_result, run_directory
from harness.runs.job import Interrupted, Progress
from harness.runs.judging import judge_anew, judge_study_anew
from harness.runs.load import load_run
from harness.runs.result import score
from harness.runs.sampling import draw_latents, sample
from harness.search.search import Search
from harness.search.storage import open_storage
from harness.study.grammar import EarlyStop
from harness.study.study import Study
from harness.study.target import Target
from harness.tracking import read_history
from harness.verdict.judge import RULES_VERSION, VERDICTS, Judge, judge_history
from harness.verdict.timeline import RunVerdicts
from support.populations import DIVERGING, fit, rows_without_seconds, runs_of, stop_at
from support.tiny_studies import ablation, search, tiny_recipe, unmeasured_plan

LIVELY = tiny_recipe(optimizer__lr=3e-3, train__ema=0.0)
"""Its points soon reach a third of the modes, so nobody calls it collapsed."""
OUTRUN = {"generator_optimizer.lr": 1e-2, "discriminator_optimizer.lr": 1e-5, "train.ema": 0.0}
STUCK = tiny_recipe(generator_optimizer__lr=1e-2, discriminator_optimizer__lr=1e-5, train__ema=0.0)
"""Its generator outruns a discriminator that hardly learns, and leaves the data: hopeless at the 2nd look."""
STOP = EarlyStop()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[RunResult]]:
    """One run that goes on and two that are given up, trained together without a break."""
    directory = tmp_path_factory.mktemp("both")
    runs = runs_of(LIVELY, STUCK, STUCK.override({"generator_optimizer.lr": 1.1e-2}))
    return directory, fit(directory, runs, early_stop=STOP)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunResult]:
    """A run that leaves the data and is trained to its end."""
    directory = tmp_path_factory.mktemp("whole")
    return directory, fit(directory, runs_of(STUCK))[0]


# The record


def test_a_result_says_what_became_of_the_run_and_why(whole: tuple[Path, RunResult]) -> None:
    _, result = whole
    assert result.outcome == "completed"
    assert result.failed  # it is of no use, though nobody stopped it
    assert result.verdict["name"] == "diverged"
    assert "the distance between two samples is" in result.verdict["rule"]
    assert result.verdict["evidence"]["pair_distance"] > 5
    assert result.verdict["rules"] == RULES_VERSION
    assert result.verdict["timeline"] == [
        [0, "immature"],
        [13, "immature"],
        [26, "diverged"],
        [39, "diverged"],
    ]
    assert (result.verdict["step"], result.verdict["since"]) == (39, 26)


def test_the_history_gives_the_timeline_back_by_its_codes_and_by_judging_anew(
    whole: tuple[Path, RunResult],
) -> None:
    directory, result = whole
    rows = read_history(run_directory(directory, result.run_id) / "history.jsonl")
    coded = [[row["train/step"], VERDICTS[int(row["verdict/code"])]] for row in rows if "verdict/code" in row]
    judged = judge_history(rows, chance=chance_loss(STUCK.loss))
    assert coded == result.verdict["timeline"]
    assert [[verdict.step, verdict.name] for verdict in judged] == result.verdict["timeline"]
    assert judged[-1].evidence == result.verdict["evidence"]
    last = [row for row in rows if "verdict/code" in row][-1]
    assert last["verdict/score"] == result.verdict["score"]
    assert last["collapse/modes"] == result.verdict["evidence"]["modes"]


def test_a_run_that_is_over_is_judged_anew_by_the_rules_of_today(
    whole: tuple[Path, RunResult], tmp_path: Path
) -> None:
    directory, result = whole
    folder = run_directory(directory, result.run_id)
    assert judge_anew(folder, result) == result
    study = tmp_path / "study"
    shutil.copytree(directory, study)
    old = replace(result, verdict={**result.verdict, "name": "immature", "rules": 1})
    write_json(RunFolder(run_directory(study, result.run_id)).result, old.to_json())
    assert [judge_study_anew(study) for _ in range(2)] == [1, 0]
    assert load_result(run_directory(study, result.run_id)) == result
    (run_directory(study, result.run_id) / "history.jsonl").unlink()
    with pytest.raises(ValueError, match=r"history\.jsonl is gone, .* leave out --judge-anew"):
        judge_study_anew(study)


def test_a_run_that_diverged_and_is_judged_anew_keeps_its_reason(tmp_path: Path) -> None:
    (result,) = fit(tmp_path, runs_of(tiny_recipe(**DIVERGING)))
    assert judge_anew(run_directory(tmp_path, result.run_id), result) == result


def test_a_run_that_diverges_is_called_so_with_its_reason(tmp_path: Path) -> None:
    (result,) = fit(tmp_path, runs_of(tiny_recipe(**DIVERGING)))
    assert result.verdict["name"] == "diverged"
    assert result.verdict["rule"] == result.reason
    assert result.verdict["timeline"][-1] == [result.ledger["discriminator_steps"], "diverged"]
    rows = read_history(run_directory(tmp_path, result.run_id) / "history.jsonl")
    assert rows[-1]["verdict/code"] == VERDICTS.index("diverged")
    assert rows[-1]["verdict/score"] == -1


def test_since_is_the_step_from_which_the_verdict_holds_without_a_break() -> None:
    good = {"bin_recall": 1.0, "coverage_over_real": 0.9, "density_over_real": 1.0}
    bad = {"bin_recall": 0.5, "coverage_over_real": 0.9, "density_over_real": 1.0}
    verdicts = RunVerdicts()  # without a distance there is no telling of which way it goes
    for step, scores in ((0, good), (10, good), (20, bad), (30, good), (40, good)):
        verdicts.judge(step, scores)
    assert verdicts.since == 30
    assert RunVerdicts(verdicts.state_dict()).to_json() == verdicts.to_json()


def test_verdicts_go_on_from_a_checkpoint_as_if_there_had_been_none() -> None:
    scores = {"bin_recall": 0.1, "coverage_over_real": 0.1, "density_over_real": 1.0, "high_quality": 0.9}
    calm, cut = RunVerdicts(chance=2.0), RunVerdicts(chance=2.0)
    for step in range(0, 50, 10):
        for loss in (1.0, 0.2, 9.0):
            calm.trained({"train/g_grad_norm": 1.0, "train/d_loss": loss})
            cut.trained({"train/g_grad_norm": 1.0, "train/d_loss": loss})
            cut = RunVerdicts(json.loads(json.dumps(cut.state_dict())), chance=2.0)
        calm.judge(step, scores)
        cut.judge(step, scores)
        cut = RunVerdicts(json.loads(json.dumps(cut.state_dict())), chance=2.0)
    assert cut.to_json() == calm.to_json()
    assert calm.latest is not None
    assert calm.latest.name == "collapsed"
    assert calm.latest.evidence["d_loss_share"] == 0.5


def test_a_verdict_whose_evidence_is_not_finite_survives_the_disk(tmp_path: Path) -> None:
    verdict = Judge().judge(10, {"bin_recall": 1.0}, g_grad_norm=float("inf"))
    result = RunResult(
        **(asdict(_plain_result()) | {"verdict": {**verdict.to_json(), "since": 0, "timeline": []}})
    )
    write_json(tmp_path / "result.json", result.to_json())
    loaded = load_result(tmp_path)
    assert loaded is not None
    assert loaded.verdict["evidence"]["g_grad_norm"] == float("inf")


# Early stop


def test_hopeless_runs_are_given_up_and_the_ledger_says_what_that_saved(
    both: tuple[Path, list[RunResult]],
) -> None:
    kept, *stopped = both[1]
    assert (kept.outcome, kept.saved_steps, "saved_steps" in kept.ledger) == ("completed", 0, False)
    for result in stopped:
        assert (result.outcome, result.stopped_by, result.failed) == ("stopped", "verdict", True)
        assert result.reason.startswith("hopeless: diverged")
        assert "\n" not in result.reason
        assert (result.ledger["discriminator_steps"], result.saved_steps) == (26, 13)


def test_a_run_given_up_is_worth_what_it_had_got_to_where_that_is_worse_than_untrained(
    both: tuple[Path, list[RunResult]],
) -> None:
    for result in both[1][1:]:
        curve = result.scores["sliced_w2"]
        assert curve["last"] > curve["area"] > curve["first"]
        for at in ("last", "best", "area"):
            assert score(result, "sliced_w2", at) == curve["last"]


def test_rows_given_up_are_no_longer_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    advance = Trainer.advance

    def counted(self: Trainer, iterations: int, *asked: Callable[[], bool]) -> int:
        rows.append(len(self.population.rows))
        return advance(self, iterations, *asked)

    monkeypatch.setattr(Trainer, "advance", counted)
    fit(tmp_path, runs_of(LIVELY, STUCK), early_stop=STOP)
    assert (rows[0], rows[-1]) == (2, 1)


def test_a_population_whose_runs_are_all_given_up_ends(tmp_path: Path) -> None:
    results = fit(
        tmp_path, runs_of(STUCK, STUCK.override({"generator_optimizer.lr": 1.1e-2})), early_stop=STOP
    )
    assert [result.ledger["discriminator_steps"] for result in results] == [26, 26]
    assert list((tmp_path / "populations").iterdir()) == []


def test_no_run_is_given_up_before_the_warm_up_is_over(tmp_path: Path) -> None:
    (result,) = fit(tmp_path, runs_of(STUCK), early_stop=EarlyStop(warm_up=0.7))
    assert (result.outcome, result.verdict_name) == ("completed", "diverged")


@pytest.mark.parametrize(("step", "event"), [(13, 2), (26, 1), (26, 2)])
def test_a_population_with_runs_given_up_is_the_same_after_a_kill(
    both: tuple[Path, list[RunResult]], tmp_path: Path, step: int, event: int
) -> None:
    directory, calm = both
    runs = runs_of(LIVELY, STUCK, STUCK.override({"generator_optimizer.lr": 1.1e-2}))
    with pytest.raises(Interrupted):
        fit(tmp_path, runs, early_stop=STOP, **stop_at(step, event=event))
    assert_same(tmp_path, fit(tmp_path, runs, early_stop=STOP), directory, calm)


def test_it_is_the_same_when_killed_after_one_of_the_results_was_written_and_before_a_checkpoint(
    both: tuple[Path, list[RunResult]], tmp_path: Path
) -> None:
    directory, calm = both
    runs = runs_of(LIVELY, STUCK, STUCK.override({"generator_optimizer.lr": 1.1e-2}))
    with pytest.raises(Interrupted):
        fit(tmp_path, runs, early_stop=STOP, **stop_at(13))
    checkpoint = tmp_path / "populations" / "group.pt"
    early = checkpoint.read_bytes()
    with pytest.raises(Interrupted):
        fit(tmp_path, runs, early_stop=STOP, **stop_at(26, event=2))
    checkpoint.write_bytes(early)
    (run_directory(tmp_path, calm[2].run_id) / "result.json").unlink(missing_ok=True)
    assert load_result(run_directory(tmp_path, calm[1].run_id)) is not None
    assert_same(tmp_path, fit(tmp_path, runs, early_stop=STOP), directory, calm)


def assert_same(directory: Path, results: list[RunResult], other: Path, expected: list[RunResult]) -> None:
    def timeless(result: RunResult) -> dict[str, Any]:
        values = result.to_json() | {"study": ""}
        del values["ledger"]["elapsed_sec"], values["ledger"]["diagnostics_sec"]
        return values

    assert [timeless(result) for result in results] == [timeless(result) for result in expected]
    for run in runs_of(LIVELY, STUCK, STUCK.override({"generator_optimizer.lr": 1.1e-2})):
        assert rows_without_seconds(directory, run) == rows_without_seconds(other, run)
        for name in ("checkpoint.pt", "best.pt"):
            mine, theirs = (
                checkpoints.load(run_directory(folder, run.run_id) / name) for folder in (directory, other)
            )
            assert mine.keys() == theirs.keys()
            for part in ("generator", "discriminator"):
                for key, tensor in mine[part].items():
                    assert torch.equal(tensor, theirs[part][key])


def test_a_trial_with_runs_given_up_is_complete_and_worth_what_they_are_worth(tmp_path: Path) -> None:
    plain = search(run_cap=1, seeds=1).to_json()
    plain["parameters"].pop("optimizer.lr")
    plain["parameters"] |= {key: {"value": value} for key, value in OUTRUN.items()}
    plain["parameters"]["generator_optimizer.lr"] = {"min": 1e-2, "max": 1.1e-2}
    study = Study.from_json(plain | {"early_stop": "verdict"})
    plan = unmeasured_plan(study, tmp_path)
    Worker(plan.directory, wandb="disabled").work()
    results = read_results(plan.directory)
    assert [result.stopped_by for result in results] == ["verdict"]
    (trial,) = Search(open_storage(plan.directory), plan.study, plan.arms[0].asked, plan.directory).trials()
    assert trial.state == "complete"
    assert trial.value == score(results[0], "sliced_w2") > results[0].scores["sliced_w2"]["first"]
    summary = summarise(plan.directory)
    assert (summary.saved_steps, [arm.saved_steps for arm in summary.arms]) == (13, [13])
    assert [len(arm.failed) for arm in summary.arms] == [1]


# Early stop in a sweep file


@pytest.mark.parametrize(
    ("given", "warm_up"),
    [("verdict", 0.2), ({"verdict": True}, 0.2), ({"verdict": True, "warm_up": 0.5}, 0.5)],
)
def test_early_stop_is_read_and_written_back(given: Any, warm_up: float) -> None:
    study = ablation(early_stop=given)
    assert study.early_stop == EarlyStop(warm_up=warm_up)
    assert Study.from_json(study.to_json()) == study


def test_without_the_key_nothing_is_given_up() -> None:
    study = ablation()
    assert study.early_stop is None
    assert "early_stop" not in study.to_json()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("verdicts", "`early_stop` must be verdict"),
        (True, "`early_stop` must be verdict"),
        ({"verdict": False}, "`early_stop.verdict` must be true"),
        ({"warm_up": 0.3}, "`early_stop.verdict` must be true"),
        ({"verdict": True, "warm_up": 1}, "`early_stop.warm_up` must be a share"),
        ({"verdict": True, "warm_up": "a fifth"}, "`early_stop.warm_up` must be a share"),
        ({"verdict": True, "after": 1}, "after"),
    ],
)
def test_another_early_stop_is_refused_in_one_line(given: Any, said: str) -> None:
    with pytest.raises(ValueError, match="early_stop") as caught:
        ablation(early_stop=given)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_plan_says_that_early_stopping_may_end_runs_sooner(tmp_path: Path) -> None:
    said = []
    cases: dict[str, dict[str, Any]] = {"with": {"early_stop": "verdict"}, "without": {}}
    for name, early in cases.items():
        out = io.StringIO()
        _print_plan(unmeasured_plan(ablation(name=name, **early), tmp_path), Console(file=out, width=400))
        said.append("Early stopping ends hopeless runs sooner, from 20% of their steps on." in out.getvalue())
    assert said == [True, False]


# Honest selection


def test_the_best_is_chosen_on_one_half_and_reported_on_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The half that selects likes step 13 best, the half that reports step 26, all of them together step 39.
    looks = [Halves(0.9, 0.8), Halves(0.2, 0.7), Halves(0.4, 0.3), Halves(0.5, 0.5)]
    # At the end the last checkpoint and the chosen one are scored once more, on fresh latents.
    given = iter([*looks, Halves(0.6, 0.55), Halves(0.1, 0.75)])
    monkeypatch.setattr(Evaluator, "halves", lambda *_, **__: next(given))
    weights: dict[int, Any] = {}
    weights_at = _noting_weights(weights)
    monkeypatch.setattr(BestCheckpoint, "offer", weights_at)
    (result,) = fit(tmp_path, runs_of(tiny_recipe()))
    expected = {"metric": "sliced_w2", "step": 13, "select": 0.2, "report": 0.75, "last": 0.55}
    expected["fresh"] = True
    assert result.best_checkpoint == expected
    assert (result.best_checkpoint["step"], result.scores["sliced_w2"]["best"]) == (13, 0.75)
    assert score(result, "sliced_w2", "best") == 0.75
    best = checkpoints.load(run_directory(tmp_path, result.run_id) / "best.pt")
    assert best["step"] == 13
    assert all(torch.equal(best["generator"][key], value) for key, value in weights[13].items())
    assert any(not torch.equal(best["generator"][key], value) for key, value in weights[39].items())


def test_the_best_and_the_last_are_scored_on_the_same_fresh_latents_against_the_half_that_reports(
    both: tuple[Path, list[RunResult]],
) -> None:
    directory, results = both
    for recipe, result in zip((LIVELY, STUCK), results[:2], strict=True):
        chosen, evaluator = result.best_checkpoint, Evaluator(load_dataset(recipe.data))
        folder = run_directory(directory, result.run_id)
        latents = draw_latents(
            recipe.evaluate.num_samples, recipe.latent_dim, seed=result.seed, purpose="best checkpoint"
        )
        checkpoints_of: dict[str, Any] = {"report": "best", "last": "last"}
        for key, which in checkpoints_of.items():
            generator = load_run(folder, checkpoint=which).generator
            found = evaluator.halves(sample(generator, latents), "sliced_w2")
            assert chosen[key] == pytest.approx(found.report, rel=1e-6)
        assert chosen["fresh"]
        assert result.scores["sliced_w2"]["best"] == chosen["report"]


def test_a_metric_of_the_discriminators_scores_has_its_best_on_fresh_latents_too(tmp_path: Path) -> None:
    (result,) = fit(tmp_path, runs_of(tiny_recipe()), metric="d_auc")
    assert result.best_checkpoint["fresh"]
    assert 0 <= result.best_checkpoint["report"] <= 1


def test_networks_that_cannot_be_scored_on_fresh_latents_keep_the_scores_they_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    halves = Evaluator.halves
    looks = iter(range(100))

    def failing(self: Evaluator, *given: Any, **more: Any) -> Halves:
        if next(looks) > 3:
            raise RuntimeError("no more")
        return halves(self, *given, **more)

    monkeypatch.setattr(Evaluator, "halves", failing)
    (result,) = fit(tmp_path, runs_of(tiny_recipe()))
    assert result.outcome == "completed"
    assert result.best_checkpoint["fresh"] is False
    assert result.scores["sliced_w2"]["best"] == result.best_checkpoint["report"]


def _weights_of(step: int) -> dict[str, Any]:
    return {"generator": {"w": torch.tensor(float(step))}}


def _noting_weights(found: dict[int, Any]) -> Any:
    offer = BestCheckpoint.offer

    def noted(self: BestCheckpoint, step: int, select: float, report: float, weights: Any) -> None:
        found[step] = weights()["generator"]
        offer(self, step, select, report, weights)

    return noted


def test_last_and_area_stay_on_all_held_out_reals_and_so_does_the_best_of_other_metrics(
    whole: tuple[Path, RunResult],
) -> None:
    directory, result = whole
    rows = read_history(run_directory(directory, result.run_id) / "history.jsonl")
    curve = [row["eval/sliced_w2"] for row in rows if "eval/sliced_w2" in row]
    assert result.scores["sliced_w2"]["last"] == curve[-1]
    assert result.scores["sliced_w2"]["best"] not in curve
    recalls = [row["eval/recall"] for row in rows if "eval/recall" in row]
    assert result.scores["recall"]["best"] == max(recalls)


def test_a_metric_that_cannot_be_halved_has_the_best_of_its_curve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = Halves(float("nan"), float("nan"), "it cannot be halved")
    monkeypatch.setattr(Evaluator, "halves", lambda *_, **__: nothing)
    (result,) = fit(tmp_path, runs_of(tiny_recipe()))
    folder = run_directory(tmp_path, result.run_id)
    curve = [
        row["eval/sliced_w2"] for row in read_history(folder / "history.jsonl") if "eval/sliced_w2" in row
    ]
    assert result.best_checkpoint == {}
    assert result.scores["sliced_w2"]["best"] == min(curve)
    assert not (folder / "best.pt").exists()


@pytest.mark.parametrize(("goal", "step"), [("minimize", 1), ("maximize", 2)])
def test_a_selection_follows_the_goal_keeps_the_first_of_equals_and_survives_a_checkpoint(
    goal: Any, step: int
) -> None:
    target = Target(metric="m", goal=goal)
    selection = BestCheckpoint(target)
    for at, select in ((0, 2.0), (1, 1.0), (2, 3.0), (3, 1.0), (4, 3.0), (5, float("nan"))):
        selection.offer(at, select, select + 0.5, partial(_weights_of, at))
        selection = BestCheckpoint(target, selection.state_dict())
    assert selection.step == step
    assert selection.weights["generator"]["w"] == step


def test_the_best_of_a_run_with_averaged_weights_holds_them_and_no_optimiser(tmp_path: Path) -> None:
    result = train(tiny_recipe(train__ema=0.9), directory=tmp_path, wandb="disabled")
    best = checkpoints.load(run_directory(tmp_path, result.run_id) / "best.pt")
    assert {"generator", "generator_average", "discriminator", "recipe", "seed", "step"} <= set(best)
    assert not any("optimizer" in key for key in best)


# Measured in the same way


def test_a_result_says_what_its_scores_were_measured_against(whole: tuple[Path, RunResult]) -> None:
    check_comparable(whole[1].environment["fingerprint"], whole[1].environment["fingerprint"])
    assert whole[1].environment["sources"] == {}


def test_runs_measured_in_unlike_ways_are_refused_in_one_report(tmp_path: Path) -> None:
    plan = unmeasured_plan(ablation(seeds=1), tmp_path)
    Worker(plan.directory, wandb="disabled").work()
    summarise(plan.directory)
    path = run_directory(plan.directory, plan.runs[0].run_id) / "result.json"
    values = json.loads(path.read_text())
    values["environment"]["fingerprint"]["data"] = "another"
    write_json(path, values)
    with pytest.raises(ValueError, match=r"cannot stand in one report: .* their data differs") as caught:
        summarise(plan.directory)
    assert "\n" not in str(caught.value)
    del values["environment"]["fingerprint"]
    write_json(path, values)
    summarise(plan.directory)


# Told at once


def test_progress_names_the_run_that_is_lost_as_soon_as_it_is(tmp_path: Path) -> None:
    seen: list[Progress] = []
    runs = runs_of(LIVELY, STUCK)
    fit(tmp_path, runs, progress=seen.append)
    early = [progress for progress in seen if progress.alarms]
    assert {progress.step for progress in early} == {26, 39}
    line = early[0].alarms[runs[1].run_id]
    assert line.startswith(f"{runs[1].run_id} arm 1 · seed 0: diverged")
    assert "at step 26" in line
    assert list(early[-1].alarms) == [runs[1].run_id]
    assert early[0].verdicts[runs[1].run_id] == ("arm 1", "diverged")


def test_the_standing_counts_bad_verdicts_and_tells_each_run_once(tmp_path: Path) -> None:
    study = ablation(seeds=1, settings=OUTRUN | {"generator_optimizer.lr": 3.0}, early_stop="verdict")
    plan = unmeasured_plan(study, tmp_path)
    reader = StatusReader(plan)
    adam = plan.runs[0].run_id
    live = [
        {
            "label": "adam seed 0",
            "alarms": {adam: "adam has collapsed"},
            "verdicts": {adam: ["adam", "collapsed"]},
        }
    ]
    status = reader.status(live)
    assert reader.news(live) == ["adam has collapsed"]
    assert reader.news(live) == []
    assert [arm.bad_verdicts for arm in status.arms] == [{"collapsed": 1}, {}]
    Worker(plan.directory, wandb="disabled").work()
    status = reader.status([])
    (line,) = reader.news([])
    assert "sgd · seed 0: diverged" in line
    assert "at step 26" in line
    assert status.bad_verdicts == {"diverged": 2}
    assert (status.saved_steps, status.failed) == (26, 2)
    assert StatusReader(plan).news([]) == []


def _plain_result() -> RunResult:
    return RunResult(
        run_id="0" * 12,
        study="s",
        arm="a",
        overrides={},
        seed=0,
        phase="ablate",
        trial=None,
        outcome="completed",
        reason="",
        scores={},
        ledger={},
        recipe="",
        environment={},
    )
