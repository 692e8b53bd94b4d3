"""Claims about the pool without a worker: what one is started with, and what its death means."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from harness.execution import pool as pools
from harness.execution.pool import Pool, WorkerError
from harness.files import write_json
from harness.planning.plan import Plan
from harness.study.folder import StudyFolder
from support.tiny_studies import ablation, unmeasured_plan

OUT_OF_MEMORY = 4


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return unmeasured_plan(ablation(seeds=4), tmp_path, population=4)


@pytest.mark.parametrize(
    ("device", "outer", "visible"),
    [
        ("cuda", None, ["0", "1", "2", "0"]),
        ("cuda", "3,5,7", ["3", "5", "7", "3"]),
        ("cuda:1", None, ["1", "1", "1", "1"]),
        ("cuda:1", "3,5,7", ["5", "5", "5", "5"]),
        ("cpu", "3,5,7", ["3,5,7"] * 4),
    ],
)
def test_each_worker_sees_the_one_gpu_that_is_its_own(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, device: str, outer: str | None, visible: list[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if outer is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", outer)
    begun: list[tuple[str | None, str]] = []

    def process(*, kwargs: dict[str, Any], **_: Any) -> SimpleNamespace:
        return SimpleNamespace(
            start=lambda: begun.append((os.environ.get("CUDA_VISIBLE_DEVICES"), kwargs["device"]))
        )

    pool = Pool(replace(plan, device=device), "disabled")
    monkeypatch.setattr(pool, "_context", SimpleNamespace(Process=process))
    for index in range(4):
        pool._start(index)
    inside = "cpu" if device == "cpu" else "cuda:0"
    assert begun == [(seen, inside) for seen in visible]
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == outer


@pytest.fixture
def die(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let worker 0 die over the first group; `killed` is how often Linux killed for memory until then."""
    counts = [0]
    monkeypatch.setattr(pools, "_memory_kills", lambda: list(counts))
    pool, group = Pool(plan, "disabled"), plan.run_groups[0]

    def now(exit_code: int, *, killed: int = 0, doing: bool = True) -> None:
        counts[0] = killed
        if doing:
            said = {"group": group.id, "label": group.label, "num_runs": len(group.runs)}
            write_json(StudyFolder(plan.directory).workers / "0.json", said)
        pool._note_death(0, exit_code)

    return now


def marks(plan: Plan) -> list[str]:
    id = plan.run_groups[0].id
    found = StudyFolder(plan.directory).checkpoint(id).parent.glob("*.split")
    return sorted(path.name.removeprefix(id) for path in found)


def test_a_group_too_large_for_memory_is_halved_until_a_run_is_alone(
    plan: Plan, die: Callable[..., None]
) -> None:
    die(OUT_OF_MEMORY)
    assert marks(plan) == [".split"]
    die(-signal.SIGKILL, killed=1)
    assert marks(plan) == ["-a.split", "-b.split", ".split"]
    die(OUT_OF_MEMORY, killed=1)
    die(OUT_OF_MEMORY, killed=1)
    with pytest.raises(WorkerError, match=r"out of memory 3 times on adam seed 0–3 .*one run at a time") as e:
        die(OUT_OF_MEMORY, killed=1)
    assert "--workers" in str(e.value)


def test_a_worker_that_somebody_killed_has_not_run_out_of_memory(
    plan: Plan, die: Callable[..., None]
) -> None:
    die(-signal.SIGKILL)
    die(-signal.SIGKILL)
    with pytest.raises(WorkerError, match=r"died 3 times on adam seed 0–3 .*signal SIGKILL"):
        die(-signal.SIGKILL)
    assert marks(plan) == []


def test_too_little_memory_to_begin_is_said_to_be_that(plan: Plan, die: Callable[..., None]) -> None:
    die(OUT_OF_MEMORY, doing=False)
    die(OUT_OF_MEMORY, doing=False)
    with pytest.raises(WorkerError, match="workers ran out of memory 3 times before they had a run"):
        die(OUT_OF_MEMORY, doing=False)


SCRIPT = """
import sys
from pathlib import Path
from harness.execution import pool, worker

def work(self):
    {raised}

worker.Worker.work = work
pool._work(Path(sys.argv[1]), 0, device="cpu", num_threads=1, wandb="disabled", checkpoint_sec=1.0)
"""


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        ("import torch; torch.empty(2**60, dtype=torch.uint8)", OUT_OF_MEMORY),
        ("raise ValueError('no such data')", 2),
        ("raise KeyError('x')", 1),
    ],
)
def test_a_worker_says_what_it_died_of(plan: Plan, raised: str, code: int) -> None:
    command = [sys.executable, "-c", SCRIPT.format(raised=raised), str(plan.directory)]
    assert subprocess.run(command, check=False).returncode == code
    log = (StudyFolder(plan.directory).workers / "0.log").read_text()
    assert log.count("Traceback") == 1


def test_what_linux_killed_for_memory_is_counted_where_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "events").write_text("low 0\noom 3\noom_kill 2\noom_group_kill 0\n")
    (tmp_path / "stat").write_text("nr_free_pages 1\noom_kill 7\n")
    paths = tuple(tmp_path / name for name in ("events", "stat", "missing"))
    monkeypatch.setattr(pools, "_OOM_COUNTS", paths)
    assert pools._memory_kills() == [2, 7, 0]


def test_waiting_ends_with_the_first_worker_that_does(plan: Plan) -> None:
    ended, end = os.pipe()
    running, _ = os.pipe()
    os.close(end)
    pool = Pool(plan, "disabled")
    pool._processes = {0: SimpleNamespace(sentinel=running), 1: SimpleNamespace(sentinel=ended)}  # type: ignore[dict-item]
    pool.wait(3600.0)
