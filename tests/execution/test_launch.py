"""Claims about whole studies run by processes: killed, interrupted, resumed, and the same in the end.

Every study here starts real workers, so there are few of them, and each proves several things.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
from rich.console import Console

from harness.analysis.load import read_results
from harness.execution import launch
from harness.execution.launch import WorkerError, run_study
from harness.execution.pool import Pool
from harness.execution.status import StatusReader
from harness.execution.worker import Worker
from harness.leases import take_lease
from harness.planning.plan import Plan
from harness.planning.planner import plan_study
from harness.report.page import write_report
from harness.study.study import Study
from support.tiny_studies import ablation, search, unmeasured_plan

SETTINGS = {"train.epochs": 12}
SCRIPT = """
import json, sys
from pathlib import Path
from harness.leases import take_lease
from harness.execution.launch import run_study
from harness.study.study import Study

if __name__ == "__main__":
    study = Study.from_json(json.loads(Path(sys.argv[1]).read_text()))
    run_study(study, directory=sys.argv[2], workers=2, wandb="disabled", population=1, checkpoint_sec=0.0)
"""


def test_the_parent_waits_fifty_times_as_long_as_it_looks_up_to_five_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for look_sec, pause_sec in ((0.001, 0.5), (0.04, 2.0), (3.0, 5.0)):
        clock = SimpleNamespace(now=0.0)
        watched = MagicMock(spec=Pool)
        watched.watch.side_effect = [True, True, False]

        def show(*_: object, clock: SimpleNamespace = clock, look_sec: float = look_sec) -> None:
            clock.now += look_sec

        fake = SimpleNamespace(perf_counter=lambda clock=clock: clock.now)
        monkeypatch.setattr(launch, "time", fake)
        monkeypatch.setattr(launch, "_show", show)
        launch._train(MagicMock(), MagicMock(), watched)
        waited = [call.args[0] for call in watched.wait.call_args_list]
        assert waited == pytest.approx([pause_sec] * 2)


def quiet() -> Console:
    return Console(file=io.StringIO())


@contextmanager
def running(directory: Path, study: Study) -> Iterator[subprocess.Popen[str]]:
    """The study run by a process group of its own, of which nothing is left afterwards."""
    directory.mkdir(exist_ok=True)
    (directory / "study.json").write_text(json.dumps(study.to_json()))
    (directory / "run.py").write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(directory / "run.py"), str(directory / "study.json"), str(directory / "runs")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def wait_for(condition: Any, process: subprocess.Popen[str] | None = None, seconds: float = 120.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        assert process is None or process.poll() is None, process.stdout and process.stdout.read()
        time.sleep(0.01)
    raise AssertionError("waited in vain")


def trainers(folder: Path) -> list[int]:
    """Process ids of the workers that are in the middle of a run and have a checkpoint to go on from."""
    if not list((folder / "populations").glob("*.pt")):
        return []
    found = []
    for path in (folder / "workers").glob("*.json"):
        try:
            doing = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        if 0 < doing.get("step", 0) < doing.get("total_steps", 0):
            found.append(int(doing["pid"]))
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The table of a study that one worker trained in this process, from start to end."""
    import torch

    torch.set_num_threads(1)
    plan = unmeasured_plan(ablation(settings=SETTINGS), tmp_path_factory.mktemp("undisturbed"))
    Worker(plan.directory, wandb="disabled").work()
    return (write_report(plan.directory) / "table.csv").read_bytes()


def test_a_study_killed_in_the_middle_ends_with_the_same_table(tmp_path: Path, undisturbed: bytes) -> None:
    study = ablation(settings=SETTINGS)
    unmeasured_plan(study, tmp_path / "runs")  # what a measurement decides, oneDNN say, decides the last bits
    folder = tmp_path / "runs" / study.name
    with running(tmp_path, study) as process:
        # One worker is killed, and the parent starts another; then everything is killed at once.
        victim = wait_for(lambda: trainers(folder), process)[0]
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: [pid for pid in trainers(folder) if pid != victim], process)
        os.killpg(process.pid, signal.SIGKILL)
    before = {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/result.json")}
    assert len(before) < 4
    with running(tmp_path, study) as process:
        output, _ = process.communicate(timeout=200)
        assert process.returncode == 0, output
    assert (folder / "report" / "table.csv").read_bytes() == undisturbed
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert list((folder / "populations").iterdir()) == []
    assert list((folder / "leases").glob("*.json")) == []


def test_ctrl_c_stops_in_order_and_the_same_command_goes_on(tmp_path: Path, undisturbed: bytes) -> None:
    study = ablation(settings=SETTINGS)
    unmeasured_plan(study, tmp_path / "runs")  # what a measurement decides, oneDNN say, decides the last bits
    folder = tmp_path / "runs" / study.name
    with running(tmp_path, study) as process:
        wait_for(lambda: trainers(folder), process)
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=200)
    assert process.returncode == -signal.SIGINT
    assert "the same command goes on from here" in output
    assert not list((folder / "leases").glob("*.json"))
    assert not list((folder / "workers").glob("*.log"))
    run_study(study, directory=tmp_path / "runs", wandb="disabled", console=quiet())
    assert (folder / "report" / "table.csv").read_bytes() == undisturbed


def finished(tmp_path: Path, study: Study) -> Plan:
    """A finished study, trained in this process."""
    plan = unmeasured_plan(study, tmp_path)
    Worker(plan.directory, wandb="disabled").work()
    return plan


def test_a_finished_study_is_not_trained_measured_or_reported_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = ablation()
    plan = finished(tmp_path, study)
    monkeypatch.setattr(launch, "Pool", None)
    monkeypatch.setattr("harness.engine.measure.measure", None)
    first = run_study(study, directory=tmp_path, wandb="disabled", console=quiet()).report.parent
    files = {path: path.stat().st_mtime_ns for path in first.rglob("*") if path.is_file()}
    assert first / "index.html" in files
    assert run_study(study, directory=tmp_path, wandb="disabled", console=quiet()).report.parent == first
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert plan.directory / "report" == first
    (first / "index.html").unlink()
    run_study(study, directory=tmp_path, wandb="disabled", console=quiet())
    assert (first / "index.html").exists()


def test_a_report_is_written_anew_when_the_study_asks_for_other_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished(tmp_path, ablation())
    monkeypatch.setattr(launch, "Pool", None)
    folder = run_study(ablation(), directory=tmp_path, wandb="disabled", console=quiet()).report.parent
    two = (folder / "table.csv").read_bytes()
    run_study(ablation(seeds=1), directory=tmp_path, wandb="disabled", console=quiet())
    assert (folder / "table.csv").read_bytes() != two
    run_study(ablation(), directory=tmp_path, wandb="disabled", console=quiet())
    assert (folder / "table.csv").read_bytes() == two


def test_the_cells_of_a_finished_ablation_are_in_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import optuna

    from harness.search.storage import open_storage

    plan = finished(tmp_path, ablation())
    monkeypatch.setattr(launch, "Pool", None)
    for _ in range(2):
        run_study(ablation(), directory=tmp_path, wandb="disabled", console=quiet())
    trials = optuna.load_study(storage=open_storage(plan.directory), study_name="tiny").trials
    assert [trial.user_attrs["arm"] for trial in trials] == ["adam", "sgd"]


def test_bad_input_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`workers` must be an integer of at least 1"):
        run_study(ablation(), directory=tmp_path, workers=0, console=quiet())
    with pytest.raises(ValueError, match="`wandb` must be auto, online, offline or disabled"):
        run_study(ablation(), directory=tmp_path, wandb="perhaps", console=quiet())
    assert list(tmp_path.iterdir()) == []


def test_numpy_numbers_of_workers_and_population_are_numbers(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`workers` must be an integer of at least 1, but got 0\.$"):
        plan_study(ablation(), directory=tmp_path, workers=np.int64(0))
    plan = plan_study(ablation(), directory=tmp_path, workers=np.int64(1), population=np.int64(2))
    assert (plan.workers, plan.arms[0].population) == (1, 2)
    assert {type(plan.workers), type(plan.arms[0].population)} == {int}


def test_a_study_is_not_run_by_two_commands_at_once(tmp_path: Path) -> None:
    plan = unmeasured_plan(ablation(), tmp_path)
    lease = take_lease(plan.directory / "leases", "sweep")
    assert lease is not None
    with lease, pytest.raises(ValueError, match=rf"is being run by process {os.getpid()}; wait for it"):
        run_study(ablation(), directory=tmp_path, wandb="disabled", console=quiet())


def test_workers_that_keep_dying_on_one_unit_are_given_up_with_its_name(tmp_path: Path) -> None:
    plan = unmeasured_plan(ablation(), tmp_path)
    pool = Pool(plan, "disabled")
    pool._folder.mkdir(exist_ok=True)
    doing = {"pid": 1, "group": plan.run_groups[0].id, "label": plan.run_groups[0].label}
    for death in range(3):
        (pool._folder / "0.json").write_text(json.dumps(doing))
        if death < 2:
            pool._note_death(0, -9)
            continue
        with pytest.raises(
            WorkerError, match=r"died 3 times on adam seed 0 \(group \w{12}, signal SIGKILL\)"
        ):
            pool._note_death(0, -9)


def test_workers_that_never_began_are_told_of_the_guard_that_a_script_needs(tmp_path: Path) -> None:
    pool = Pool(unmeasured_plan(ablation(), tmp_path), "disabled")
    pool._folder.mkdir(exist_ok=True)
    for _ in range(2):
        pool._note_death(0, 1)
    with pytest.raises(
        WorkerError, match=r"before they began \(exit code 1\).* below `if __name__ == \"__main"
    ):
        pool._note_death(0, 1)


def test_a_worker_that_is_refused_what_it_was_asked_ends_the_study_in_one_line(tmp_path: Path) -> None:
    plan = unmeasured_plan(ablation(), tmp_path)
    path = plan.directory / "plan.json"
    path.write_text(path.read_text().replace('"version": 2', '"version": 99'))
    with Pool(replace(plan, workers=1), "disabled") as pool, pytest.raises(WorkerError) as caught:
        wait_for(lambda: not pool.watch())
    assert "has version 99, but this harness" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "Traceback" in (plan.directory / "workers" / "0.log").read_text()


def test_the_standing_counts_runs_and_means_of_each_arm(tmp_path: Path) -> None:
    plan = finished(tmp_path, ablation())
    reader = StatusReader(plan)
    assert reader.is_complete()
    status = reader.status([])
    assert [(arm.name, arm.done, arm.total) for arm in status.arms] == [("adam", 2, 2), ("sgd", 2, 2)]
    results = [r.scores["sliced_w2"]["last"] for r in read_results(plan.directory) if r.arm == "adam"]
    assert status.arms[0].mean == pytest.approx(sum(results) / 2)
    assert (status.done, status.total) == (4, 4)


def test_the_standing_of_a_search_shows_its_best_trial(tmp_path: Path) -> None:
    plan = unmeasured_plan(search(run_cap=2), tmp_path)
    assert not StatusReader(plan).is_complete()
    Worker(plan.directory, wandb="disabled").work()
    reader = StatusReader(plan)
    assert reader.is_complete()
    by_trial: dict[int | None, list[float]] = {}
    for result in read_results(plan.directory):
        by_trial.setdefault(result.trial, []).append(result.scores["sliced_w2"]["last"])
    assert reader.status([]).arms[0].mean == pytest.approx(min(sum(v) / 2 for v in by_trial.values()))
    assert reader.status([]).total == 4


def test_the_time_left_is_priced_at_first(tmp_path: Path) -> None:
    plan = unmeasured_plan(ablation(), tmp_path)
    progress = [{"label": "x", "step": 50, "total_steps": 100, "num_live": 1, "elapsed_sec": 1.0}]
    status = StatusReader(plan).status(progress)
    assert status.eta_sec == pytest.approx(3.5)
    assert status.running[0].steps_per_sec == pytest.approx(50.0)


def test_an_interrupted_study_is_mirrored_whole_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.runs.job import Interrupted
    from harness.tracking import read_history, read_images
    from harness.tracking.mirror import chart_key
    from support.wandb_reader import read_run

    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    study = ablation(seeds=1)
    plan = unmeasured_plan(study, tmp_path)
    questions = itertools.count()
    with pytest.raises(Interrupted):
        Worker(plan.directory, wandb="offline", should_stop=lambda: next(questions) > 5).work()
    Worker(plan.directory, wandb="offline").work()
    monkeypatch.setattr(launch, "Pool", None)
    run_study(study, directory=tmp_path, wandb="offline", console=quiet())
    logs = [read_run(folder) for folder in (plan.directory / "wandb").glob("offline-run-*")]
    mirrored = {log.run.display_name: log for log in logs}
    assert sorted(log.run.display_name for log in logs) == ["adam-s0", "sgd-s0", "summary"]
    for run in plan.runs:
        mirror = mirrored[f"{run.arm}-s0"]
        history = plan.directory / "runs" / run.run_id / "history.jsonl"
        rows = [{chart_key(key): value for key, value in row.items()} for row in read_history(history)]
        assert mirror.numbers == rows
        assert [step for _, _, step in mirror.images] == [step for _, _, step in read_images(history)]
        assert all(image.is_file() for _, image, _ in mirror.images)
        optimizer = run.recipe.to_json()["generator_optimizer"]
        assert mirror.config["generator_optimizer"] == optimizer
        assert mirror.summary["outcome"] == "completed"
        assert mirror.run.run_group == "tiny"
    assert mirrored["summary"].summary["table/adam/mean"] > 0
    shown = mirrored["summary"].summary
    assert 0 <= shown["verdicts/adam/any-wrong/ci_low"] <= shown["verdicts/adam/any-wrong/rate"] <= 1
