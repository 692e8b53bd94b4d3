"""Run a study on this machine: plan, workers, report.

The parent trains nothing. It starts the workers, draws how the study stands, starts a worker again that has
died, and asks all of them to stop when it is asked to.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.analysis.result import StudyResult, load_results
from harness.execution.display import SweepDisplay
from harness.execution.pool import Pool, WorkerError
from harness.execution.status import StatusReader
from harness.leases import holder, take_lease
from harness.planning.plan import Plan
from harness.planning.plan_file import read_plan, write_plan
from harness.planning.planner import plan_study
from harness.planning.size import LargeStudyError, is_large, size_of
from harness.report.publish import publish
from harness.study.folder import StudyFolder
from harness.study.study import Study, check_is_study
from harness.tracking import wandb_mode

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["WorkerError", "run_study"]

_POLL_SEC, _LONGEST_POLL_SEC = 0.5, 5.0
_POLL_SHARE = 0.02
"""Part of a core's time that looking at the workers may take: with very many runs a look is long."""


def run_study(
    study: Study,
    *,
    directory: str | Path = "runs",
    workers: int | None = None,
    device: str = "auto",
    wandb: str = "auto",
    population: int | None = None,
    checkpoint_sec: float | None = None,
    console: Console | None = None,
    large: bool = False,
) -> StudyResult:
    """Plan a study, train what is not trained yet with a pool of workers, and write its report.

    The same call again goes on from where the study was interrupted; finished runs are never redone. Called
    from a script, it must stand below ``if __name__ == "__main__":``, for the workers import the script.

    Args:
        study: The study.
        directory: Folder of all studies; this one's is ``<directory>/<study>``.
        workers: Worker processes; by default one a core on a CPU, four on one GPU, one each on several.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:<n>``.
        wandb: ``auto``, ``online``, ``offline`` or ``disabled``.
        population: Most runs to be trained together; measured by default.
        checkpoint_sec: Seconds of work that may be lost when a worker is killed; by default 20, or as many
            as keep them within 2 % of the training.
        console: Where progress is shown; by default the standard output.
        large: Whether a study that takes more than 10,000 runs or 30 days may be begun; a plan that is in the
            folder already goes on without.

    Returns:
        What the study found; `StudyResult.report` is the page.

    Raises:
        ValueError: If what is asked cannot be done, in which case nothing has been written; or if another
            process is running the study. A `LargeStudyError` says what a study costs that is begun only
            with `large`.
        WorkerError: If a worker keeps dying on one group.
        KeyboardInterrupt: After Ctrl-C or SIGTERM, once the workers have left their checkpoints.

    Example:
        >>> from harness import load_study, run_study
        >>> if __name__ == "__main__":
        ...     found = run_study(load_study("optimizers", smoke=True), wandb="disabled")
        ...     print(found.is_complete, len(found.runs), found.report.exists())
        optimizers-smoke: ...
        True 9 True
    """
    check_is_study(study)
    wandb_mode(wandb)
    _check_importable(study)
    plan = plan_study(study, directory=directory, workers=workers, device=device, population=population)
    if not large:
        _check_size(plan)
    remarks = plan.remarks
    plan = write_plan(plan)
    reader = StatusReader(plan)
    is_complete = reader.is_complete()
    if not is_complete:
        with _alone(plan.directory), SweepDisplay(study.name, console=console) as display:
            for line in [*remarks, *_remarks(study)]:
                display.say(line)
            _train(reader, display, Pool(plan, wandb, checkpoint_sec))
    if not is_complete or not StudyFolder(plan.directory).journal.exists():
        reader.record()
    publish(plan, wandb)
    return load_results(plan.directory)


def _check_size(plan: Plan) -> None:
    """Refuse to begin a study that nobody would wait for, unless it is said to be meant."""
    if not is_large(plan):
        return
    if StudyFolder(plan.directory).plan.exists():
        kept = read_plan(plan.directory, renew=True)
        if kept.num_runs >= plan.num_runs:
            return
    raise LargeStudyError(
        f"{size_of(plan)}; to begin it all the same give --yes (make sweep YES=1), or large=True in a script."
    )


def _check_importable(study: Study) -> None:
    """Refuse a study with entries that its workers could not import, being processes of their own."""
    for entry, source in study.sources.items():
        if not source.importable:
            name = entry[entry.index("`") :]
            raise ValueError(f"workers cannot import {name}: put it in a module and name that in `imports`.")


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Keep a second command for the same study from starting as many workers again on the same cores."""
    leases = StudyFolder(directory).leases
    lease = take_lease(leases, "sweep")
    if lease is None:
        pid = holder(leases, "sweep").get("pid", "unknown")
        raise ValueError(f"{directory} is being run by process {pid}; wait for it, or stop it.")
    with lease:
        yield


def _train(reader: StatusReader, display: SweepDisplay, pool: Pool) -> None:
    with _stop_signals() as asked, pool:
        while pool.watch():
            if asked:
                display.say("stopping: the workers leave their checkpoints ...")
                pool.stop()
                display.update(reader.status([]))
                display.say("stopped in order; the same command goes on from here.")
                raise KeyboardInterrupt
            began = time.perf_counter()
            _show(reader, display, pool.progress())
            look_sec = time.perf_counter() - began
            pool.wait(min(_LONGEST_POLL_SEC, max(_POLL_SEC, look_sec / _POLL_SHARE)))
        _show(reader, display, [])


def _show(reader: StatusReader, display: SweepDisplay, progress: Sequence[Mapping[str, Any]]) -> None:
    """Draw how the study stands, and say at once which runs have become hopeless."""
    display.update(reader.status(progress))
    for line in reader.news(progress):
        display.say(line, alarming=True)


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect the signals that ask for a stop; whoever asks twice does not want to wait for checkpoints."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def note(number: int, _: object) -> None:
        asked.append(number)
        if len(asked) > 1:
            raise KeyboardInterrupt

    before = {
        number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _remarks(study: Study) -> list[str]:
    """What a user should know before hours are spent: recipes that are known to go badly."""
    lines: list[str] = []
    for arm in study.arms:
        lines += [f"warning: {arm.name}: {line}" for line in arm.recipe.warnings()]
    return list(dict.fromkeys(lines))
