"""Runs that are logged without being trained, in this process and in ones that can be killed."""

from __future__ import annotations

import math
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from harness.tracking import CompositeTracker, HistoryTracker, WandbTracker
from support.wandb_reader import LoggedRun, read_run

ROOT = Path(__file__).parents[2]


def write_png(path: Path, level: int) -> Path:
    """A grey 8×8 PNG; its level tells it from the others."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    path.parent.mkdir(parents=True, exist_ok=True)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress((b"\0" + bytes([level]) * 8) * 8))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b""))
    return path


def open_trackers(
    study: Path, run_id: str = "abc", *, seed: int = 3, resume_step: int | None = None, **options: Any
) -> tuple[CompositeTracker, WandbTracker]:
    history = HistoryTracker(study / "runs" / run_id / "history.jsonl", resume_step=resume_step)
    wandb = WandbTracker(
        directory=study,
        study=study.name,
        run_id=run_id,
        arm="optimizer.name=adam",
        seed=seed,
        config={"loss": {"name": "minimax", "options": {"r1": 0.5}}, "train": {"epochs": 320}},
        overrides={"optimizer.name": "adam", "optimizer.lr": 1e-4},
        tags=["ablate", "ablate", ""],
        history=history.path,
        **options,
    )
    return CompositeTracker([history, wandb]), wandb


def log_steps(tracker: CompositeTracker, folder: Path, steps: range, *, offset: float = 0.0) -> None:
    """Log a row every step and an image every third one."""
    for step in steps:
        tracker.log({"train/step": step, "train/d_loss": offset + step / 7, "ledger/elapsed_sec": 0.5 * step})
        if step % 3 == 0:
            tracker.log({"train/step": step, "eval/sliced_w2": math.nan if step == 3 else 1 / (1 + step)})
            tracker.image(
                "samples/scatter", write_png(folder / "samples" / f"step_{step:08d}.png", step), step
            )


def wait_for(condition: Callable[[], bool], *, timeout_sec: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_sec
    while time.monotonic() < deadline:
        with suppress(ValueError):  # not there yet
            if condition():
                return
        time.sleep(0.02)
    pytest.fail("waited in vain")


def segments(study: Path, run_id: str = "abc") -> list[LoggedRun]:
    """What W&B's folders hold of a run; the library's service may still be writing when `finish` returns."""

    def read() -> list[LoggedRun]:
        logs = sorted((study / "wandb").glob(f"*/run-{study.name}-{run_id}-*.wandb"))
        return [read_run(log.parent) for log in logs]

    wait_for(lambda: all(run.finished for run in read()))
    return read()


CHILD = """
import json, os, sys, time
from pathlib import Path
from support.tracked_runs import log_steps, open_trackers
from harness.tracking import wandb as library
library.FINISH_TIMEOUT_SEC, library.INIT_TIMEOUT_SEC, library.ABANDONED_FINISH_SEC = 2.0, 3.0, 0.5
study = Path(sys.argv[1])
def wait(word):
    print(word, flush=True)
    sys.stdin.readline()
"""


class Child:
    """A Python process that runs a script step by step: it waits where the script says `wait(word)`."""

    def __init__(self, script: str, study: Path, env: Mapping[str, str] | None = None) -> None:
        home = study.parent / "home"
        home.mkdir(exist_ok=True)
        path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        kept = {
            key: value for key, value in os.environ.items() if not key.startswith("WANDB_") and key != "NETRC"
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD + script, str(study)],
            env={**kept, "HOME": str(home), "XDG_CACHE_HOME": "", "PYTHONPATH": path, **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def until(self, word: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.strip() == word:
                return
        pytest.fail(f"the process ended before {word!r}: {self.end()}")

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()

    def end(self) -> tuple[list[str], str]:
        """The lines it printed last, and what it wrote to stderr."""
        out, err = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, err
        return out.splitlines(), err
