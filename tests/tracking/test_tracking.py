"""Tracking: the history is complete, W&B mirrors it, and nothing that breaks there reaches a training."""

from __future__ import annotations

import io
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from harness.execution.display import SweepDisplay
from harness.execution.status import ArmStatus, RunningGroup, StudyStatus
from harness.study.target import Target
from harness.tracking import (
    CompositeTracker,
    ConsoleTracker,
    HistoryTracker,
    log_summary,
    read_history,
    read_images,
    replay,
    wandb_mode,
)
from harness.tracking import wandb as library
from harness.tracking.segments import claim_id, settle_id
from support.tracked_runs import Child, log_steps, open_trackers, segments, wait_for, write_png
from support.wandb_reader import LoggedRun, read_run
from support.wandb_standin import StandIn

KEY = "0" * 40


@pytest.fixture(autouse=True)
def _no_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide the machine's own W&B settings and keys, and forget what earlier tests learnt about servers."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setattr(library, "_session", library._Session())


def assert_complete(run: LoggedRun, history: Path, *, non_finite: float = math.nan) -> None:
    """Every row and image of the history is in the run once, in order, with the same bytes."""
    assert [comparable(row) for row in run.numbers] == [comparable(row) for row in read_history(history)]
    wanted = [(key, path.read_bytes(), step) for key, path, step in read_images(history)]
    assert [(key, path.read_bytes(), step) for key, path, step in run.images] == wanted


def comparable(row: Mapping[str, float]) -> dict[str, float | str]:
    return {key: value if math.isfinite(value) else "non-finite" for key, value in row.items()}


# The history


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["train/d_loss", "eval/w2", "perf/ü"]), st.floats() | st.integers(), min_size=1
        ),
        max_size=5,
    )
)
def test_history_gives_back_every_number_that_was_logged(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, float]]
) -> None:
    path = tmp_path_factory.mktemp("history") / "history.jsonl"
    tracker = HistoryTracker(path)
    for step, row in enumerate(rows):
        tracker.log({"train/step": step, **row})
    tracker.finish({})
    assert repr(read_history(path)) == repr([{"train/step": step, **row} for step, row in enumerate(rows)])
    assert all(json.loads(line, parse_constant=pytest.fail) for line in path.read_text().splitlines())


def test_history_rows_are_on_disk_before_anything_is_flushed(tmp_path: Path) -> None:
    tracker = HistoryTracker(tmp_path / "history.jsonl")
    tracker.log({"train/step": 0, "train/d_loss": 0.5})
    assert read_history(tracker.path) == [{"train/step": 0, "train/d_loss": 0.5}]
    tracker.close()
    tracker.close()


def test_resumed_history_drops_rows_after_the_checkpoint_and_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    tracker = HistoryTracker(path)
    for step in range(5):
        tracker.log({"train/step": step, "train/d_loss": step})
        tracker.image("samples/scatter", tmp_path / f"{step}.png", step)
    tracker.close()
    with path.open("a") as file:
        file.write('{"train/step": 2, "train/d')
    tracker = HistoryTracker(path, resume_step=2)
    tracker.log({"train/step": 3, "train/d_loss": 30})
    tracker.close()
    assert [row["train/d_loss"] for row in read_history(path)] == [0, 1, 2, 30]
    assert [step for _, _, step in read_images(path)] == [0, 1, 2]


def test_history_without_a_checkpoint_starts_afresh(tmp_path: Path) -> None:
    for value in (1.0, 2.0):
        tracker = HistoryTracker(tmp_path / "history.jsonl")
        tracker.log({"train/step": 0, "train/d_loss": value})
        tracker.close()
    assert read_history(tracker.path) == [{"train/step": 0, "train/d_loss": 2.0}]


@pytest.mark.parametrize("line", ["{", "[1]", '{"train/d_loss": 1}', '{"train/step": "x"}'])
def test_damaged_history_is_refused_naming_the_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text(f'{{"train/step": 0, "a/b": 1}}\n{line}\n{{"train/step": 1, "a/b": 1}}\n')
    with pytest.raises(ValueError, match=r"history.jsonl, line 2 is not a row of a history\. Delete"):
        read_history(path)


def test_history_finds_its_images_after_the_folder_moved(tmp_path: Path) -> None:
    tracker = HistoryTracker(tmp_path / "old" / "history.jsonl")
    tracker.image("samples/scatter", write_png(tmp_path / "old" / "samples" / "a.png", 1), 7)
    tracker.close()
    (tmp_path / "old").rename(tmp_path / "new")
    (found,) = read_images(tmp_path / "new" / "history.jsonl")
    assert found == ("samples/scatter", tmp_path / "new" / "samples" / "a.png", 7)
    assert found[1].is_file()


def test_replayed_history_is_the_same_history(tmp_path: Path) -> None:
    first = HistoryTracker(tmp_path / "history.jsonl")
    log_steps(CompositeTracker([first]), tmp_path, range(7))
    second = HistoryTracker(tmp_path / "copy.jsonl")
    assert replay(first.path, second) == 7 + 2 * 3
    assert second.path.read_bytes() == first.path.read_bytes()
    first.close()
    second.close()


# Which mode


@pytest.mark.parametrize(
    ("variable", "requested", "key", "mode"),
    [
        (None, "auto", False, "offline"),
        (None, "auto", True, "online"),
        (None, "offline", True, "offline"),
        (None, "disabled", True, "disabled"),
        ("offline", "online", True, "offline"),
        ("disabled", "online", True, "disabled"),
        ("online", "disabled", False, "online"),
        ("dryrun", "auto", True, "offline"),
        ("", "auto", True, "online"),
    ],
)
def test_mode_is_the_variable_then_the_request_then_the_key(
    monkeypatch: pytest.MonkeyPatch, variable: str | None, requested: str, key: bool, mode: str
) -> None:
    if variable is not None:
        monkeypatch.setenv("WANDB_MODE", variable)
    if key:
        monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert wandb_mode(requested) == mode


@pytest.mark.parametrize(("host", "mode"), [("api.wandb.ai", "offline"), ("wandb.example.org", "online")])
def test_key_in_the_netrc_file_counts_for_its_own_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, host: str, mode: str
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {host} login user password {KEY}\n")
    netrc.chmod(0o600)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "settings").write_text("[default]\nbase_url = https://wandb.example.org\n")
    assert wandb_mode() == mode


def test_unknown_mode_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ValueError, match="`wandb` must be auto, online, offline or disabled, but got 'onlin'"
    ):
        wandb_mode("onlin")
    monkeypatch.setenv("WANDB_MODE", "offline")
    with pytest.raises(ValueError, match=r"`wandb` must be .*, but got 'onlin'"):
        wandb_mode("onlin")
    monkeypatch.setenv("WANDB_MODE", "shared")
    with pytest.raises(ValueError, match="`WANDB_MODE` must be"):
        wandb_mode("offline")


def test_disabled_wandb_leaves_no_trace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr(library, "_library", pytest.fail)
    tracker, wandb = open_trackers(tmp_path / "study", mode="online")
    log_steps(tracker, tmp_path / "study" / "runs" / "abc", range(4))
    tracker.flush()
    tracker.finish({"outcome": "completed"})
    assert (wandb.mode, wandb.failures) == ("disabled", {})
    assert log_summary(tmp_path / "study", "study", scalars={"a/b": 1.0}) == {}
    assert not (tmp_path / "study" / "wandb").exists()
    assert len(read_history(tmp_path / "study" / "runs" / "abc" / "history.jsonl")) == 6


# Offline


def test_offline_files_hold_every_row_config_image_and_result(tmp_path: Path) -> None:
    study = tmp_path / "optimizers"
    tracker, wandb = open_trackers(study)
    log_steps(tracker, study / "runs" / "abc", range(40))
    tracker.flush()
    tracker.finish(
        {
            "outcome": "diverged",
            "reason": "a parameter is not finite",
            "scores": {"sliced_w2": {"first": 0.59, "last": math.inf}},
            "ledger": {"seen_images": 10240, "elapsed_sec": 1.5},
            "environment": {"python": "3.11"},
        }
    )
    (run,) = segments(study)
    assert (wandb.mode, wandb.failures) == ("offline", {})
    assert run.finished
    assert len(run.images) == 14
    assert_complete(run, study / "runs" / "abc" / "history.jsonl")
    assert math.isnan(
        next(row["eval/sliced_w2"] for row in run.numbers if row["train/step"] == 3 and len(row) == 2)
    )
    assert run.config == {
        "loss": {"name": "minimax", "options": {"r1": 0.5}},
        "train": {"epochs": 320},
        "study": "optimizers",
        "arm": "optimizer.name=adam",
        "seed": 3,
        "overrides": {"optimizer": {"name": "adam", "lr": 1e-4}},
    }
    record = run.run
    assert (record.run_group, record.job_type, record.display_name) == (
        "optimizers",
        "train",
        "optimizer.name=adam-s3",
    )
    assert (record.run_id[:-6], record.project) == ("optimizers-abc-", library.PROJECT)
    assert list(record.tags) == ["ablate", "absurd-scores"]
    assert run.summary["absurd_scores"] == "sliced_w2"
    assert run.step_metrics == {"*": "train/step"}
    assert (run.summary["outcome"], run.summary["reason"]) == ("diverged", "a parameter is not finite")
    assert run.summary["scores"]["sliced_w2"]["first"] == 0.59
    assert run.summary["ledger/seen_images"] == 10240


def test_runs_of_a_population_do_not_mix(tmp_path: Path) -> None:
    study = tmp_path / "study"
    runs = [open_trackers(study, f"run{seed}", seed=seed) for seed in range(3)]
    for step in range(20):
        for seed, (tracker, _) in enumerate(runs):
            tracker.log({"train/step": step, "train/d_loss": seed + step / 100})
    for tracker, _ in reversed(runs):
        tracker.finish({"outcome": "completed"})
    for seed in range(3):
        (run,) = segments(study, f"run{seed}")
        assert [row["train/d_loss"] for row in run.rows] == [seed + step / 100 for step in range(20)]
        assert run.config["seed"] == seed


def test_killed_and_resumed_offline_run_has_every_row_once(tmp_path: Path) -> None:
    study = tmp_path / "study"
    child = Child(
        "tracker, _ = open_trackers(study)\n"
        "log_steps(tracker, study / 'runs' / 'abc', range(200))\n"
        "wait('killed here')",
        study,
    )
    child.until("killed here")
    child.kill()
    (log,) = (study / "wandb").glob("offline-run-*/run-study-abc-*.wandb")
    log.write_bytes(log.read_bytes()[:5000])  # at the worst the end of the log is lost with the process

    tracker, wandb = open_trackers(study, resume_step=149)
    log_steps(tracker, study / "runs" / "abc", range(150, 210))
    tracker.finish({"outcome": "completed"})
    (run,) = segments(study)
    history = study / "runs" / "abc" / "history.jsonl"
    assert [row["train/step"] for row in read_history(history) if "train/d_loss" in row] == list(range(210))
    assert_complete(run, history)
    assert (run.finished, run.summary["outcome"], wandb.failures) == (True, "completed", {})
    assert list((tmp_path / "home").rglob("*wandb*")) == []  # nothing of the library's outside the study


def test_interrupted_run_is_taken_up_again_without_doubled_rows(tmp_path: Path) -> None:
    study = tmp_path / "study"
    for start, resume_step in ((0, None), (10, 9), (20, 19)):
        tracker, _ = open_trackers(study, resume_step=resume_step)
        log_steps(tracker, study / "runs" / "abc", range(start, start + 15))
        tracker.close()
    (run,) = segments(study)
    assert [row["train/step"] for row in run.rows if "train/d_loss" in row] == list(range(35))
    assert_complete(run, study / "runs" / "abc" / "history.jsonl")


def test_users_own_wandb_folders_are_respected(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "mine"))
    before = dict(os.environ)
    tracker, _ = open_trackers(tmp_path / "study")
    tracker.close()
    assert len(list((tmp_path / "mine" / "wandb").glob("offline-run-*"))) == 1
    assert not (tmp_path / "study" / "wandb").exists()
    assert {key for key in os.environ if os.environ[key] != before.get(key)} <= {
        "WANDB_SERVICE",
        "WANDB__SERVICE",
    }


def test_call_that_fails_is_counted_and_said_once_and_training_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker, wandb = open_trackers(tmp_path / "study")
    for step in range(3):
        wandb.image("samples/scatter", tmp_path / "missing.png", step)
        tracker.log({"train/step": step, "train/d_loss": 1.0})
    tracker.finish({"outcome": "completed"})
    (run,) = segments(tmp_path / "study")
    assert len(run.rows) == 3
    assert wandb.failures == {"image": 3}
    (message,) = capsys.readouterr().err.splitlines()
    assert message.startswith("W&B: a call failed (image: ")


def test_library_that_cannot_start_costs_the_mirror_but_not_the_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "file" / "folder"))
    (tmp_path / "file").write_text("not a folder")
    for run_id in ("one", "two"):
        tracker, wandb = open_trackers(tmp_path / "study", run_id)
        log_steps(tracker, tmp_path / "study" / "runs" / run_id, range(4))
        tracker.finish({"outcome": "completed"})
        assert (wandb.mode, dict(wandb.failures)) == ("disabled", {"init": 1})
    said = capsys.readouterr().err
    assert said == "W&B: could not be started, so runs are not mirrored. Their history.jsonl is complete.\n"


def test_online_without_a_key_goes_offline_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker, wandb = open_trackers(tmp_path / "study", mode="online")
    tracker.close()
    assert wandb.mode == "offline"
    said = capsys.readouterr().err
    assert said == "W&B: no API key found, so runs are logged offline. Run `wandb login` to log online.\n"


def test_ids_are_accepted_by_wandb_and_differ_between_studies(tmp_path: Path) -> None:
    names = ["optimizers", "optimizers-smoke", "a/b", "a?b", "größe", "x" * 300, "x" * 301]
    identities = {claim_id(tmp_path, name, "0123456789ab", resumed=False)[:-7] for name in names}
    assert len(identities) == len(names)
    assert "optimizers-0123456789ab" in identities
    assert all(len(identity) <= 120 and not set(identity) & set(r"/\#?%:") for identity in identities)


def test_id_is_kept_until_the_run_has_its_result(tmp_path: Path) -> None:
    def claim(resumed: bool) -> str:
        return claim_id(tmp_path, "study", "abc", resumed=resumed)

    first = claim(False)
    assert claim(False) == claim(True) == first
    settle_id(tmp_path, first)
    assert claim(True) == first  # killed between W&B's end and its own
    settle_id(tmp_path, first)
    assert claim(False) != first


def test_summary_run_holds_scalars_images_and_files_and_is_replaced(tmp_path: Path) -> None:
    study = tmp_path / "study"
    figure = write_png(study / "report" / "figures" / "arms.png", 9)
    table = study / "report" / "table.csv"
    for mean in (1.0, 2.0):
        table.write_text(f"arm,mean\nadam,{mean}\n")
        failures = log_summary(
            study,
            "study",
            scalars={"table/adam/mean": mean, "table/adam/decision": "better"},
            images={"figures/arms": figure},
            files=[table],
            config={"seeds": [0, 1]},
        )
        assert failures == {}
    (run,) = segments(study, "summary")
    assert (run.run.run_group, run.run.job_type, run.run.display_name) == ("study", "summary", "summary")
    assert run.summary["table/adam/mean"] == 2.0
    assert run.summary["table/adam/decision"] == "better"
    assert run.config == {"seeds": [0, 1], "study": "study"}
    ((key, image, _),) = run.images
    assert (key, image.read_bytes()) == ("figures/arms", figure.read_bytes())
    assert (run.folder / "files" / "table.csv").read_text() == table.read_text()


# Online

TRAIN = """
runs = [open_trackers(study, f"run{seed}", seed=seed) for seed in range(2)]
wait("open")
for seed, (tracker, _) in enumerate(runs):
    log_steps(tracker, study / "runs" / f"run{seed}", range(30))
wait("trained")
for tracker, wandb in runs:
    started = time.monotonic()
    tracker.finish({"outcome": "completed", "scores": {"w2": {"last": 0.5}}})
    print(json.dumps([wandb.mode, time.monotonic() - started, dict(wandb.failures)]))
tracker, wandb = open_trackers(study, "late")
tracker.close()
print(json.dumps([wandb.mode, 0, {}]))
"""


def test_server_receives_every_row_config_and_image(tmp_path: Path) -> None:
    study = tmp_path / "study"
    with StandIn() as server:
        child = Child(TRAIN, study, server.env)
        for word in ("open", "trained"):
            child.until(word)
            child.go()
        lines, err = child.end()
    assert [json.loads(line)[::2] for line in lines] == [["online", {}]] * 3
    assert err == ""
    assert server.unknown == []
    for seed in range(2):
        history = study / "runs" / f"run{seed}" / "history.jsonl"
        run = server.run(f"study-run{seed}")
        rows = [row for row in run.history if "samples/scatter" not in row]
        assert [row.get("train/d_loss") for row in rows] == [
            row.get("train/d_loss") for row in read_history(history)
        ]
        images = [
            run.files[row["samples/scatter"]["path"]] for row in run.history if "samples/scatter" in row
        ]
        assert images == [path.read_bytes() for _, path, _ in read_images(history)]
        assert run.config["overrides"] == {"optimizer": {"name": "adam", "lr": 1e-4}}
        assert (run.attributes["groupName"], run.attributes["displayName"]) == (
            "study",
            f"optimizer.name=adam-s{seed}",
        )
        assert (run.summary["outcome"], run.summary["scores"]) == ("completed", {"w2": {"last": 0.5}})
        assert (run.complete, run.exitcode) == (True, 0)


FAULTS: dict[str, Callable[[StandIn], None]] = {
    "500": lambda server: server.fail("500"),
    "hang": lambda server: server.fail("hang"),
    "reset": lambda server: server.fail("reset"),
    "death": lambda server: server.stop(),
}


@pytest.fixture(scope="module")
def faulty_trainings(
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, tuple[Path, list[Any], str]]:
    """Trainings whose server fails after they have begun, all at once, because they mostly wait."""
    root = tmp_path_factory.mktemp("faults")
    children: dict[str, Child] = {}
    with ExitStack() as stack:
        servers = {name: stack.enter_context(StandIn()) for name in FAULTS}
        for name, server in servers.items():
            (root / name).mkdir()
            children[name] = Child(TRAIN, root / name / "study", server.env)
        for name, child in children.items():
            child.until("open")
            FAULTS[name](servers[name])
            child.go()
        for child in children.values():
            child.until("trained")
            child.go()
        ends = {name: child.end() for name, child in children.items()}
    return {
        name: (root / name / "study", [json.loads(line) for line in out], err)
        for name, (out, err) in ends.items()
    }


@pytest.mark.parametrize("fault", FAULTS)
def test_failing_server_neither_stops_training_nor_holds_up_its_end(
    faulty_trainings: dict[str, tuple[Path, list[Any], str]], fault: str
) -> None:
    study, ends, err = faulty_trainings[fault]
    for seed in range(2):
        assert len(read_history(study / "runs" / f"run{seed}" / "history.jsonl")) == 40
    (mode, first_sec, first), (_, second_sec, second), (late, _, _) = ends
    assert (mode, late) == ("online", "offline")  # after one time-out the process asks that server no more
    assert 1.5 < first_sec < 10  # the time-out is set to 2 s, and to 0.5 s once it has passed
    assert second_sec < 5
    assert first == second == {"finish": 1}
    assert err.count("W&B:") == 1
    assert "upload them later with `wandb sync" in err.lower()
    for seed in range(2):  # what the server did not take can still be uploaded
        (log,) = (study / "wandb").glob(f"run-*/run-study-run{seed}-*.wandb")
        run = read_run(log.parent)
        assert_complete(run, study / "runs" / f"run{seed}" / "history.jsonl")


def test_server_that_cannot_be_reached_sends_every_run_offline_after_one_wait(tmp_path: Path) -> None:
    study = tmp_path / "study"
    with StandIn() as server:
        env = server.env
    child = Child(TRAIN, study, env)
    for word in ("open", "trained"):
        child.until(word)
        child.go()
    lines, err = child.end()
    first, second, _ = [json.loads(line) for line in lines]
    assert (first[0], first[2], second[0], second[2]) == ("offline", {"init": 1}, "offline", {})
    assert err.count("W&B:") == 1
    assert "cannot be used" in err
    for seed in range(2):
        (run,) = segments(study, f"run{seed}")
        assert_complete(run, study / "runs" / f"run{seed}" / "history.jsonl")


RESUME = """
tracker, wandb = open_trackers(study, resume_step={resume_step})
log_steps(tracker, study / "runs" / "abc", range({start}, {stop}))
wait("trained")
{end}
print(json.dumps([wandb.mode, dict(wandb.failures)]))
"""


def run_online(study: Path, server: StandIn, resume_step: int | None, steps: range, end: str) -> None:
    script = RESUME.format(resume_step=resume_step, start=steps.start, stop=steps.stop, end=end)
    child = Child(script, study, server.env)
    child.until("trained")
    if end == "kill":
        wait_for(lambda: len(server.run("study-abc").history) >= len(steps))
        child.kill()
        return
    child.go()
    (line,), err = child.end()
    assert json.loads(line) == ["online", {}], err


@pytest.mark.parametrize(
    "end",
    [
        "tracker.close()",
        pytest.param("kill", marks=pytest.mark.slow),  # the library sends rows every 15 s
    ],
)
def test_online_run_resumed_behind_what_the_server_has_holds_every_row_once(tmp_path: Path, end: str) -> None:
    study, finish = tmp_path / "study", "tracker.finish({'outcome': 'completed'})"
    with StandIn() as server:
        run_online(study, server, None, range(30), end)
        run_online(study, server, 14, range(15, 40), finish)
    run = server.run("study-abc")
    assert [row["train/step"] for row in run.history if "train/d_loss" in row] == list(range(40))
    assert len(run.history) == 40 + 2 * 14
    assert (run.summary["outcome"], run.complete, run.exitcode) == ("completed", True, 0)


def test_finished_run_trained_anew_is_another_run_online_and_replaces_the_older_one_offline(
    tmp_path: Path,
) -> None:
    study, finish = tmp_path / "study", "tracker.finish({'outcome': 'completed'}); wandb.settle()"
    with StandIn() as server:
        run_online(study, server, None, range(4), finish)
        run_online(study, server, None, range(6), finish)
    assert [len(run.history) for run in server.runs.values()] == [4 + 2 * 2, 6 + 2 * 2]
    for stop in (4, 6):
        tracker, _ = open_trackers(tmp_path / "local")
        log_steps(tracker, tmp_path / "local" / "runs" / "abc", range(stop))
        tracker.finish({"outcome": "completed"})
    (run,) = segments(tmp_path / "local")
    assert len(run.rows) == 6 + 2 * 2


@pytest.mark.slow
def test_offline_runs_are_uploaded_whole_even_after_their_folder_moved(tmp_path: Path) -> None:
    study, moved = tmp_path / "study", tmp_path / "elsewhere"
    tracker, _ = open_trackers(study)
    log_steps(tracker, study / "runs" / "abc", range(20))
    tracker.finish({"outcome": "completed"})
    figure = write_png(study / "report" / "arms.png", 1)
    log_summary(
        study, "study", scalars={"table/adam/mean": 0.5}, images={"figures/arms": figure}, files=[figure]
    )
    assert len(segments(study) + segments(study, "summary")) == 2
    study.rename(moved)
    with StandIn() as server:
        for folder in sorted((moved / "wandb").glob("offline-run-*")):
            command = [str(Path(sys.executable).with_name("wandb")), "sync", str(folder)]
            subprocess.run(command, env={**os.environ, **server.env}, check=True, capture_output=True)
    run, summary = server.run("study-abc"), server.run("study-summary")
    assert len(run.history) == 20 + 2 * 7
    assert len([file for file in run.files if file.startswith("media/images/samples/")]) == 7
    assert run.summary["outcome"] == "completed"
    assert summary.summary["table/adam/mean"] == 0.5
    assert summary.files["arms.png"] == (moved / "report" / "arms.png").read_bytes()


# The terminal


def status(done: int) -> StudyStatus:
    return StudyStatus(
        arms=[
            ArmStatus(name="rmsprop", done=done, total=8, mean=0.021 if done else None),
            ArmStatus(
                name="sgd [lr]", done=done, total=8, mean=0.5 if done else None, failed=1 if done else 0
            ),
            ArmStatus(name="adam", done=0, total=8, mean=math.nan),
        ],
        running=[RunningGroup(label="adam, seeds 0–7", step=4320, total_steps=8640, steps_per_sec=812.0)],
        target=Target(metric="sliced_w2", goal="minimize"),
        eta_sec=125.0,
    )


def test_sweep_display_redraws_in_place_on_a_terminal() -> None:
    out = io.StringIO()
    with SweepDisplay("optimizers", console=Console(file=out, force_terminal=True, width=100)) as display:
        for done in range(9):
            display.update(status(done))
        display.say("a worker ended early; its runs go on")
    text = out.getvalue()
    assert text.count("\x1b[2K") > 0
    for part in (
        "16/24 runs",
        "2:05 to go",
        "sgd [lr]",
        "0.021",
        "adam, seeds 0–7",
        "812 steps/s",
        "its runs go on",
    ):
        assert part in text


def test_sweep_display_prints_a_line_now_and_then_elsewhere() -> None:
    out = io.StringIO()
    with SweepDisplay("optimizers", console=Console(file=out, width=100), line_every_sec=3600) as display:
        for done in range(9):
            display.update(status(done))
    lines = out.getvalue().splitlines()
    assert "\x1b" not in out.getvalue()
    assert lines[0].startswith("optimizers: 0/24 runs, 1 in training at 812 steps/s, 0:00, 2:05 to go")
    assert lines[1].startswith(
        "optimizers: 16/24 runs, 1 failed, 1 in training at 812 steps/s, sliced_w2 0.021"
    )
    assert [line.split()[0] for line in lines[2:]] == ["arm", "rmsprop", "sgd", "adam"]


@pytest.mark.parametrize(("goal", "leader"), [("minimize", "a"), ("maximize", "b")])
def test_leading_arm_follows_the_goal_and_skips_what_is_not_finite(goal: Any, leader: str) -> None:
    means = {"a": 0.1, "b": 0.9, "c": math.nan, "d": math.inf, "e": None}
    arms = [ArmStatus(name=name, done=1, total=1, mean=mean) for name, mean in means.items()]
    best = StudyStatus(arms=arms, target=Target(metric="m", goal=goal)).best
    assert best is not None
    assert best.name == leader
    assert StudyStatus(arms=[]).best is None


@pytest.mark.parametrize("is_terminal", [True, False])
def test_console_tracker_shows_progress_and_result(is_terminal: bool) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=is_terminal, width=100)
    tracker = ConsoleTracker(label="points-gan, seed 3", total_steps=1000, console=console)
    for step in range(0, 1001, 10):
        tracker.log(
            {"train/step": step, "train/d_loss": 0.69, "eval/sliced_w2": 0.5, "train/g_loss": math.nan}
        )
    tracker.flush()
    tracker.finish(
        {"outcome": "diverged", "reason": "d_loss", "scores": {"sliced_w2": {"first": 0.59, "last": 0.5}}}
    )
    text = out.getvalue()
    for part in (
        "points-gan, seed 3",
        "1,000/1,000",
        "d_loss 0.69",
        "g_loss nan",
        "diverged",
        "(d_loss)",
        "0.59",
    ):
        assert part in text
    if not is_terminal:
        assert len(text.splitlines()) == 11 + 3


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_progress_of_networks_that_grow_tells_their_size(is_terminal: bool) -> None:
    out = io.StringIO()
    tracker = ConsoleTracker(
        label="progan",
        total_steps=3,
        console=Console(file=out, width=200, force_terminal=is_terminal),
    )
    for step, size, alpha in ((0, 8, 1.0), (1, 16, 0.4), (3, 16, 1.0)):
        tracker.log({"train/step": step, "growth/size": size, "growth/alpha": alpha})
        tracker._drawn_at = -math.inf
    tracker.close()
    text = out.getvalue()
    assert "8×8" in text
    assert "16×16 fading in 40 %" in text
    assert "8×8 fading" not in text


def test_a_folder_whose_name_wandb_cannot_take_is_told_with_a_way_out_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = os.fsdecode(b"caf\xe9")
    given: dict[str, Any] = {"study": odd, "run_id": "0" * 12, "resumed": False, "mode": "offline"}
    init = {"name": odd, "config": {"data": {"path": odd}}}
    run = library.WandbRun(directory=tmp_path / odd, init=init, **given)
    assert (run.mode, dict(run.failures)) == ("disabled", {"init": 1})
    assert rf"not UTF-8, {tmp_path}/caf\xe9; set WANDB_DIR to another" in capsys.readouterr().err
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    run = library.WandbRun(directory=tmp_path / odd, init=init, **given)
    run.finish(exit_code=0)
    assert (run.mode, dict(run.failures)) == ("offline", {})


def test_mirroring_numbers_images_and_histograms_loads_no_pandas(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from harness.tracking import Histogram, WandbTracker
from support.tracked_runs import write_png

folder = Path(sys.argv[1])
write_png(folder / "a.png", 7)
run = {"study": "s", "run_id": "r", "arm": "a", "seed": 0, "config": {}}
tracker = WandbTracker(directory=folder, mode="offline", **run)
tracker.log({"train/step": 1, "train/d_loss": 0.5})
tracker.image("samples/scatter", folder / "a.png", 1)
tracker.histograms({"train/d_real_hist": Histogram((3, 1), (0.0, 1.0, 2.0))}, 1)
tracker.finish({"outcome": "completed", "reason": ""})
assert not tracker.failures, tracker.failures
print("pandas" in sys.modules)
"""
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False"], done.stderr
