"""A pool of worker processes: started, watched, started again when they die, and stopped in order."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.files import read_json, write_json
from harness.machine import is_short_of_memory, quick_end, visible_gpu
from harness.study.folder import StudyFolder
from harness.terminal import degrade_output

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    from harness.planning.plan import Plan

__all__ = ["Pool", "WorkerError"]

_MOST_DEATHS = 3
"""Deaths of workers on one group after which the group is taken to be their cause."""
_STOP_SEC = 120.0
"""Seconds that workers get to leave their checkpoints."""
_REFUSED, _STOPPED, _NO_MEMORY = 2, 3, 4
"""Exit codes of a worker: what it was asked cannot be done; it was asked to stop; memory ran out."""
_OOM_COUNTS = (Path("/sys/fs/cgroup/memory.events"), Path("/proc/vmstat"))
"""Where Linux counts the processes that it killed for want of memory: in this container, on the machine."""
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class WorkerError(RuntimeError):
    """The workers cannot go on; one line that says why and names the log."""


class Pool:
    """The workers of one study; a context manager that leaves none behind.

    Args:
        plan: The study's plan.
        wandb: Mode of the W&B mirror.
        checkpoint_sec: Seconds of work that may be lost when a worker is killed; by default 20, or as many
            as keep them within 2 % of the training.
    """

    def __init__(self, plan: Plan, wandb: str, checkpoint_sec: float | None = None) -> None:
        self._plan = plan
        self._wandb = wandb
        self._checkpoint_sec = checkpoint_sec
        self._context = multiprocessing.get_context("spawn")
        self._folder = StudyFolder(plan.directory).workers
        self._processes: dict[int, SpawnProcess] = {}
        self._deaths: Counter[str] = Counter()
        self._halvings: Counter[str] = Counter()
        self._memory_kills = _memory_kills()

    def __enter__(self) -> Pool:
        for path in self._folder.glob("*.json"):
            path.unlink(missing_ok=True)
        for index in range(self._plan.workers):
            self._start(index)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def watch(self) -> bool:
        """Check every worker once: start those again that died, and let go of those that are done.

        Returns:
            Whether any is still at work.

        Raises:
            WorkerError: If one cannot do what it was asked, or several died on the same group.
        """
        for index, process in list(self._processes.items()):
            if process.exitcode is None:
                continue
            del self._processes[index]
            if process.exitcode == _REFUSED:
                message = read_json(self._folder / f"{index}.error")["message"].rstrip(".")
                raise WorkerError(f"{message} (see {self._folder / f'{index}.log'}).")
            if process.exitcode != 0:
                self._note_death(index, process.exitcode)
                self._start(index)
        return bool(self._processes)

    def wait(self, seconds: float) -> None:
        """Wait until a worker ends, but so many seconds at most."""
        wait([process.sentinel for process in self._processes.values()], seconds)

    def progress(self) -> list[dict[str, Any]]:
        """What each worker says that it is doing, as `harness.execution.worker.Worker` writes it."""
        found = []
        for index in sorted(self._processes):
            with contextlib.suppress(OSError, ValueError):
                found.append(read_json(self._folder / f"{index}.json"))
        return found

    def stop(self) -> None:
        """Ask all workers to leave a checkpoint and end; after two minutes, or a second Ctrl-C, end them."""
        for process in self._processes.values():
            process.terminate()
        deadline = time.monotonic() + _STOP_SEC
        try:
            for process in self._processes.values():
                process.join(max(0.0, deadline - time.monotonic()))
        finally:
            for process in self._processes.values():
                process.kill()
                process.join()
            self._processes.clear()
        for log in self._folder.glob("*.log"):
            if not log.stat().st_size:
                log.unlink()

    def _start(self, index: int) -> None:
        device, variables = self._plan.device, dict.fromkeys(_THREAD_VARIABLES, str(self._plan.num_threads))
        if device.startswith("cuda"):
            variables["CUDA_VISIBLE_DEVICES"] = visible_gpu(device, index)
            device = "cuda:0"
        process = self._context.Process(
            target=_work,
            args=(self._plan.directory, index),
            kwargs={
                "device": device,
                "num_threads": self._plan.num_threads,
                "wandb": self._wandb,
                "checkpoint_sec": self._checkpoint_sec,
            },
            name=f"worker-{index}",
        )
        # Threads of the numerical libraries are fixed when those are loaded, and so are the GPUs seen; a
        # blocked Ctrl-C is inherited by all that a worker starts, so that it reaches the parent alone, who
        # asks the workers to stop.
        with _environment(variables), _interrupts_blocked():
            process.start()
        self._processes[index] = process

    def _note_death(self, index: int, exit_code: int) -> None:
        """Count a death; where memory ran out, have the group trained in halves as long as it has some."""
        path, log = self._folder / f"{index}.json", self._folder / f"{index}.log"
        doing: dict[str, Any] = {"group": "", "label": "no group", "num_runs": 1}
        with contextlib.suppress(OSError, ValueError):
            doing |= read_json(path)
        path.unlink(missing_ok=True)
        group = str(doing["group"])
        of_memory = self._is_of_memory(exit_code)
        if of_memory and doing["num_runs"] >> self._halvings[group] > 1:
            from harness.runs.session import halve

            self._halvings[group] += 1
            halve(StudyFolder(self._plan.directory).checkpoint(group))
            return
        self._deaths[group] += 1
        if self._deaths[group] < _MOST_DEATHS:
            return
        if of_memory:
            label = f"on {doing['label']} (group {group}), even with one run at a time"
            raise WorkerError(
                f"workers ran out of memory {_MOST_DEATHS} times "
                f"{label if group else 'before they had a run to train'}; lower `train.batch_size` or "
                f"`evaluate.num_samples`, or start fewer by --workers; see {log}."
            )
        how = f"signal {signal.Signals(-exit_code).name}" if exit_code < 0 else f"exit code {exit_code}"
        if not group and not log.exists():
            raise WorkerError(
                f"workers died {_MOST_DEATHS} times before they began ({how}). Each imports the script "
                'that started it: there run_study belongs below `if __name__ == "__main__":`.'
            )
        raise WorkerError(
            f"workers died {_MOST_DEATHS} times on {doing['label']} (group {group or 'none'}, "
            f"{how}); see {log}. The same command tries again."
        )

    def _is_of_memory(self, exit_code: int) -> bool:
        """Whether a worker died for want of memory: it said so, or Linux has killed something for that."""
        killed, self._memory_kills = self._memory_kills, _memory_kills()
        return exit_code == _NO_MEMORY or (exit_code == -signal.SIGKILL and killed != self._memory_kills)


def _work(directory: Path, index: int, **settings: Any) -> None:
    """The body of a worker process; see `_worked`."""
    tell_status = quick_end()
    status = _worked(directory, index, **settings)
    tell_status(status)
    sys.exit(status)


def _worked(
    directory: Path, index: int, *, device: str, num_threads: int, wandb: str, checkpoint_sec: float | None
) -> int:
    """Work until nothing is left to do; the exit code."""
    folder = StudyFolder(directory).workers
    parent = os.getppid()
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    log = os.open(folder / f"{index}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, sys.stdout.fileno())
    os.dup2(log, sys.stderr.fileno())
    os.close(log)
    degrade_output("utf-8")

    import torch

    from harness.execution.worker import Worker
    from harness.runs.job import Interrupted

    torch.set_num_threads(num_threads)
    try:
        # A worker whose parent was killed must not go on by itself: the next command starts its own.
        Worker(
            directory,
            index=index,
            device=device,
            wandb=wandb,
            should_stop=lambda: bool(asked) or os.getppid() != parent,
            checkpoint_sec=checkpoint_sec,
        ).work()
    except Interrupted:
        return _STOPPED
    except Exception as error:
        traceback.print_exc()
        if is_short_of_memory(error):
            return _NO_MEMORY
        if not isinstance(error, ValueError | OSError):
            return 1
        write_json(folder / f"{index}.error", {"message": " ".join(str(error).split())})
        return _REFUSED
    return 0


def _memory_kills() -> list[int]:
    """How often Linux has killed a process for want of memory, by each of its counts; 0 where it has none."""
    found = []
    for path in _OOM_COUNTS:
        words = ""
        with contextlib.suppress(OSError):
            words = path.read_text(encoding="utf-8")
        counts = [line.split()[1] for line in words.splitlines() if line.startswith("oom_kill ")]
        found.append(int(counts[0]) if counts else 0)
    return found


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    # The tracker would otherwise start with the first process, and unblock Ctrl-C as it does.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
