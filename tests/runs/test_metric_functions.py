"""A metric of one's own from training to files, evaluation and study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness import evaluate, load_results, register_metric, train, write_report
from harness.execution.worker import Worker
from harness.planning.planner import plan_study
from harness.recipe.registry import metrics
from harness.tracking import read_history
from support.tiny_studies import ablation, tiny_recipe, unmeasured_plan

GAP = {"goal": "minimize", "kind": "points", "description": "How far apart the means are.", "ideal": 0.0}


@pytest.fixture(autouse=True)
def _gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """A metric that is computed and one that fails, for the time of a test."""
    metrics.names()
    for name in ("_entries", "_homes", "_sources"):
        monkeypatch.setattr(metrics, name, dict(getattr(metrics, name)))

    def mean_gap(samples: Any, reals: Any, labels: Any) -> float:
        return float(abs(samples.mean(axis=0) - reals.mean(axis=0)).max())

    def broken(samples: Any, reals: Any, labels: Any) -> float:
        raise IndexError("no\nsuch row")

    register_metric("mean_gap", **GAP)(mean_gap)
    register_metric("broken", **GAP)(broken)


def test_a_metric_of_one_s_own_is_recorded_with_the_others_and_its_failure_ends_no_run(
    tmp_path: Path,
) -> None:
    result = train(tiny_recipe(), seed=0, device="cpu", directory=tmp_path, wandb="disabled")
    assert result.outcome == "completed"
    broken = {"count": 4, "reason": "IndexError: no such row", "at_end": True}
    assert result.failed_scores["broken"] == broken
    assert all("too_few" in failed for name, failed in result.failed_scores.items() if name != "broken")
    run = tmp_path / "runs" / result.run_id
    seen = [row["eval/mean_gap"] for row in read_history(run / "history.jsonl") if "eval/mean_gap" in row]
    assert len(seen) == 4
    assert result.scores["mean_gap"]["last"] == seen[-1]
    again = evaluate(run)
    assert again.scores["mean_gap"] == seen[-1]
    failures = {key: text for key, text in again.scores.failures.items() if key not in again.scores.too_few}
    assert failures == {"broken": "IndexError: no such row"}
    assert again.to_json()["scores"]["mean_gap"]["goal"] == "minimize"


def test_a_study_can_be_of_a_metric_of_one_s_own_and_choose_checkpoints_by_it(tmp_path: Path) -> None:
    study = ablation(seeds=1, metric={"name": "mean_gap", "at": "best"})
    Worker(unmeasured_plan(study, tmp_path).directory, wandb="disabled").work()
    found = load_results(tmp_path / study.name)
    for run in found.runs:
        curve = run.scores["mean_gap"]
        assert run.best_checkpoint["metric"] == "mean_gap"
        assert run.best_checkpoint["report"] == curve["best"]
        assert run.best_checkpoint["select"] != curve["best"]
    assert {arm.estimate("mean_gap", "best").mean for arm in found.arms} == {
        run.scores["mean_gap"]["best"] for run in found.runs
    }
    page = write_report(found.directory) / "index.html"
    assert str(GAP["description"]) in page.read_text(encoding="utf-8")


def test_a_study_of_a_metric_that_always_fails_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    study = ablation(seeds=1, metric={"name": "broken"})
    with pytest.raises(ValueError, match=r"`metric.name` broken cannot .* IndexError: no such row; mend"):
        plan_study(study, directory=tmp_path, device="cpu")
    assert not list(tmp_path.iterdir())
