"""Claims about how verdicts reach W&B and the terminal."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harness.execution.display import SweepDisplay
from harness.execution.status import ArmStatus, StudyStatus
from harness.tracking import ConsoleTracker
from harness.tracking import wandb as library
from harness.verdict.judge import Judge
from harness.verdict.timeline import RunVerdicts, verdict_numbers
from support.tracked_runs import Child, open_trackers, segments
from support.wandb_standin import StandIn

BAD = {
    "bin_recall": 0.04,
    "coverage_over_real": 0.01,
    "density_over_real": 1.0,
    "pair_distance": 0.04,
    "high_quality": 0.9,
    "sliced_w2": 0.5,
}


@pytest.fixture(autouse=True)
def _no_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setattr(library, "_session", library._Session())


def collapsed() -> dict[str, Any]:
    """The verdict part of a collapsed run's result."""
    verdicts = RunVerdicts()
    verdicts.judge(0, BAD | {"pair_distance": 0.3})
    for step in (10, 20, 30):
        verdicts.trained({"train/g_grad_norm": 0.5})
        verdicts.judge(step, BAD)
    return verdicts.to_json()


def test_the_summary_names_the_verdict_its_rule_and_its_evidence_and_a_tag_does_too(tmp_path: Path) -> None:
    study = tmp_path / "study"
    tracker, wandb = open_trackers(study)
    verdict = Judge().judge(10, BAD, g_grad_norm=0.5)
    tracker.log({"train/step": 10, "eval/bin_recall": 0.04, **verdict_numbers(verdict)})
    tracker.finish({"outcome": "completed", "verdict": collapsed()})
    assert wandb.failures == {}
    (run,) = segments(study)
    assert run.summary["verdict"] == "collapsed"
    assert "modes are left" in run.summary["verdict_rule"]
    assert run.summary["collapse/modes"] == 0.04
    assert run.summary["collapse/g_grad_norm"] == 0.5
    assert run.summary["collapse/since_step"] == 20
    assert list(run.run.tags) == ["ablate", "collapsed"]
    (row,) = run.rows
    assert row["collapse/verdict"] == 4
    assert row["collapse/score"] == pytest.approx(0.01 / 0.5)
    assert row["collapse/pair_distance"] == 0.04
    assert not any(key.startswith("verdict") for key in row)


ALARM = """
tracker, wandb = open_trackers(study, resume_step={resume_step})
log_steps(tracker, study / "runs" / "abc", range({start}, {stop}))
for _ in range(2):
    tracker.alarm("arm · seed 0: collapsed", "abc arm · seed 0: collapsed at step 3")
{end}
print(json.dumps([wandb.mode, dict(wandb.failures)]))
"""


def alarm_online(study: Path, server: StandIn, end: str, *, start: int = 0) -> list[Any]:
    script = ALARM.format(resume_step=start - 1 if start else None, start=start, stop=start + 4, end=end)
    (line,), _ = Child(script, study, server.env).end()
    found: list[Any] = json.loads(line)
    return found


def alerts(server: StandIn) -> list[int]:
    return [status for what, status in server.requests if what == "graphql NotifyScriptableRunAlert"]


def test_one_alert_is_sent_for_a_run_however_often_it_is_resumed(tmp_path: Path) -> None:
    study = tmp_path / "study"
    with StandIn() as server:
        assert alarm_online(study, server, "tracker.close()") == ["online", {}]
        assert alarm_online(study, server, "tracker.finish({'outcome': 'completed'})", start=4) == [
            "online",
            {},
        ]
        assert alerts(server) == [200]


def test_an_alert_that_the_server_refuses_does_not_stop_the_training(tmp_path: Path) -> None:
    study = tmp_path / "study"
    script = ALARM.format(resume_step=None, start=0, stop=4, end="tracker.finish({'outcome': 'completed'})")
    script = script.replace("for _ in", 'wait("open")\nfor _ in', 1)
    with StandIn() as server:
        child = Child(script, study, server.env | {"WANDB_INIT_TIMEOUT": "5"})
        child.until("open")
        server.faults["graphql"] = "400"
        child.go()
        lines, _ = child.end()
    assert json.loads(lines[-1])[0] == "online"
    assert 200 not in alerts(server)


def test_offline_there_is_nobody_to_alert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb as real

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("an alert was sent")

    monkeypatch.setattr(real.Run, "alert", fail)
    tracker, wandb = open_trackers(tmp_path / "study", mode="offline")
    tracker.alarm("title", "text")
    tracker.finish({"outcome": "completed"})
    assert wandb.failures == {}


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_terminal_says_on_one_line_and_at_once_that_a_run_has_collapsed(is_terminal: bool) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=is_terminal, width=60)
    tracker = ConsoleTracker(label="points-gan seed 3", total_steps=1000, console=console)
    tracker.log({"train/step": 10, "train/d_loss": 0.69})
    line = (
        "0123456789ab points-gan · seed 3: collapsed at step 20: 4% of the modes are left, not more than 15%"
    )
    tracker.alarm("points-gan · seed 3: collapsed", line)
    assert line in out.getvalue()
    tracker.finish({"outcome": "completed", "verdict": collapsed()})
    assert "collapsed: the distance between two samples" in out.getvalue()


def test_the_result_of_a_run_says_how_its_best_was_chosen() -> None:
    out = io.StringIO()
    tracker = ConsoleTracker(label="run", total_steps=10, console=Console(file=out, width=400))
    selection = {"metric": "frechet", "step": 4320, "select": 1.0, "report": 1.5}
    tracker.finish({"outcome": "completed", "scores": {}, "best_checkpoint": selection})
    assert "best frechet: of the checkpoint of step 4,320" in out.getvalue()
    assert "optimum, which flatters" in out.getvalue()


def test_the_result_of_a_run_says_which_score_is_missing_and_why() -> None:
    out = io.StringIO()
    tracker = ConsoleTracker(label="run", total_steps=10, console=Console(file=out, width=400))
    scores = {"kid": {"first": "nan", "last": 0.25, "best": 0.25, "area": 0.5}}
    failed = {"frechet": {"count": 4, "reason": "it needs 129 images.", "at_end": True}}
    tracker.finish({"outcome": "completed", "scores": scores, "failed_scores": failed})
    said = "frechet is missing at 4 evaluations, the last among them: it needs 129 images."
    assert said in out.getvalue()
    assert "nan" in out.getvalue()


def test_the_standing_of_a_sweep_shows_bad_verdicts_and_saved_steps_where_there_are_any() -> None:
    arms = [
        ArmStatus(name="good", done=2, total=4),
        ArmStatus(
            name="bad",
            done=2,
            total=4,
            failed=1,
            bad_verdicts={"d-saturated": 1, "collapsed": 2},
            saved_steps=4800,
        ),
    ]
    out = io.StringIO()
    with SweepDisplay("study", console=Console(file=out, width=140)) as display:
        display.update(StudyStatus(arms=arms))
        display.say("x" * 150, alarming=True)
    text = out.getvalue()
    assert text.splitlines()[0].startswith(
        "study: 4/8 runs, 1 failed, verdicts: 1 d-saturated, 2 collapsed, 4,800 steps"
    )
    assert "x" * 150 in text.splitlines()
    row = next(line for line in text.splitlines() if line.startswith("bad"))
    assert "1 d-saturated, 2 collapsed" in row
    assert row.endswith("4,800")
    out = io.StringIO()
    with SweepDisplay("study", console=Console(file=out, width=140)) as display:
        display.update(StudyStatus(arms=arms[:1]))
    assert "verdicts" not in out.getvalue()
    assert "saved" not in out.getvalue()
