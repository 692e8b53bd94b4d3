"""Where the core-seconds of a sweep go, by phase and process, and how much of them is training.

    python tests/benchmarks/core_seconds.py optimizers --smoke

runs `harness sweep` with these arguments in a folder that it throws away, and prints CPU seconds: a row for
what was done, a column for each process. What a phase does that is a phase of its own counts there alone, so
that columns add up to what the system says of each process; `the rest` is what no phase is, above all the
start of the interpreter and its end. `programs` are what a process started beside: W&B's service, git. CPU
seconds are those of all threads; on a machine with other work to do they grow a little.
"""

from __future__ import annotations

import atexit
import functools
import importlib.machinery
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

FOLDER = "CORE_SECONDS_FOLDER"
"""The variable that tells each process of a sweep where to leave its count."""

PHASES = {
    "harness.planning.planner": {"plan_study": "planning", "_measure": "measuring"},
    "harness.planning.plan_file": {"read_plan": "planning", "write_plan": "planning"},
    "harness.report.publish": {"publish": "report"},
    "harness.execution.launch": {"_show": "watching", "publish": "report"},
    "harness.engine.trainer": {"Trainer.advance": "training"},
    "harness.runs.session": {
        "Session.__init__": "building",
        "Session._handle": "recording",
        "Session._finish": "recording",
        "Session._save": "checkpoints",
        "spectra": "spectra",
    },
    "harness.runs.examining": {
        "Examination.scores": "scores",
        "Examination.halves": "scores",
        "Examiner.examine": "scores",
        "Examiner.fresh_score": "scores",
    },
    "harness.runs.recording": {"RunRecorder.draw": "pictures", "RunRecorder.draw_last": "pictures"},
    "harness.tracking.wandb": {
        f"WandbRun.{name}": "W&B" for name in ("__init__", "log", "save", "summarise", "alert", "finish")
    },
}
"""Module → function or method → the phase that its calls are."""
_WHOLE = {"measuring"}
"""Phases to which all that they call belongs, imports apart."""
_IMPORT = "importing "

seconds: Counter[str] = Counter()
"""CPU seconds of this process by phase."""
_at_work: list[list[Any]] = []
"""The phases at work, outermost first: name, and the seconds of the phases in it."""


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Count the block's CPU seconds, without those of the phases in it."""
    outer = _at_work[-1][0] if _at_work else ""
    if (outer in _WHOLE and not name.startswith(_IMPORT)) or outer.startswith(_IMPORT) or outer == name:
        yield
        return
    started = time.process_time()
    _at_work.append([name, 0.0])
    try:
        yield
    finally:
        took = time.process_time() - started
        seconds[name] += took - _at_work.pop()[1]
        if _at_work:
            _at_work[-1][1] += took


def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, its calls counted as a phase."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with phase(name):
            return function(*args, **kwargs)

    return call


def count_imports(loader: Any) -> None:
    """Count what the imports of each package take, and watch the modules of the harness."""
    execute, create = loader.exec_module, loader.create_module

    def exec_module(self: Any, module: Any) -> None:
        package = module.__name__.partition(".")[0]
        if package == "harness":
            execute(self, module)
            watch(module)
            return
        with phase(f"{_IMPORT}{package}"):
            execute(self, module)

    def create_module(self: Any, spec: Any) -> Any:
        with phase(f"{_IMPORT}{spec.name.partition('.')[0]}"):
            return create(self, spec)

    loader.exec_module, loader.create_module = exec_module, create_module


def watch(module: Any) -> None:
    """Count the phases that a module has."""
    for path, name in PHASES.get(module.__name__, {}).items():
        holder, _, last = path.rpartition(".")
        owner = getattr(module, holder) if holder else module
        setattr(owner, last, counted(name, getattr(owner, last)))


def count_here() -> None:
    """Count in this process, and leave the count in the folder when it ends."""
    for loader in (importlib.machinery.SourceFileLoader, importlib.machinery.ExtensionFileLoader):
        count_imports(loader)
    exit_at_once = os._exit

    def leave_first(status: int) -> NoReturn:
        leave()
        exit_at_once(status)

    atexit.register(leave)
    os._exit = leave_first


def leave() -> None:
    """Write what this process has counted."""
    multiprocessing = sys.modules.get("multiprocessing")
    name = multiprocessing.current_process().name if multiprocessing else "MainProcess"
    own, below = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    count = {
        "name": "parent" if name == "MainProcess" else name,
        "own": own.ru_utime + own.ru_stime,
        "below": below.ru_utime + below.ru_stime,
        "seconds": seconds,
    }
    Path(os.environ[FOLDER], f"{os.getpid()}.json").write_text(json.dumps(count))


def main(arguments: list[str]) -> None:
    """Run a sweep, every process of which counts, and print the table."""
    from rich.console import Console
    from rich.table import Table

    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        command = [sys.executable, __file__, *arguments, "--directory", str(Path(folder) / "runs")]
        subprocess.run(command, env={**os.environ, FOLDER: folder}, check=True)
        took = time.perf_counter() - started
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        counts = [json.loads(path.read_text()) for path in Path(folder).glob("*.json")]
    total = used.ru_utime + used.ru_stime
    by_name: dict[str, Counter[str]] = {}
    processes = sum(count["own"] for count in counts)
    for count in sorted(counts, key=lambda count: count["name"]):
        column = by_name.setdefault(count["name"], Counter())
        column.update(count["seconds"])
        column["the rest"] += count["own"] - sum(count["seconds"].values())
    by_name["programs"] = Counter({"beside": total - processes})
    sums: Counter[str] = sum(by_name.values(), Counter())
    table = Table("", *by_name, "all", "share")
    small = 0.005 * total
    for name in [name for name, sec in sums.most_common() if sec >= small]:
        cells = [f"{column[name]:.2f}" if column[name] >= 0.005 else "" for column in by_name.values()]
        table.add_row(name, *cells, f"{sums[name]:.2f}", f"{sums[name] / total:.1%}")
    little = sum(sec for sec in sums.values() if sec < small)
    table.add_row("less than 0.5 % each", *("" for _ in by_name), f"{little:.2f}", f"{little / total:.1%}")
    cells = [f"{sum(column.values()):.2f}" for column in by_name.values()]
    table.add_row("all", *cells, f"{total:.2f}", "")
    console = Console()
    console.print(table)
    console.print(f"training: {sums['training'] / total:.1%} of {total:.1f} core-seconds, in {took:.1f} s")


if os.environ.get(FOLDER):  # a sweep's own process, or a worker, which imports its parent's script
    count_here()
if __name__ == "__main__":
    if os.environ.get(FOLDER):
        from harness.__main__ import command

        sys.argv[1:1] = ["sweep"]
        command()
    else:
        main(sys.argv[1:])
