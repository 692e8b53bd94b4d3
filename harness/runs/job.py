"""Train one population and write down all of its runs: the job, and how it is split where memory is short."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from harness.runs.result import CHECKPOINT_SEC, RunResult

if TYPE_CHECKING:
    from harness.planning.plan import PlannedRun
    from harness.study.grammar import EarlyStop, Metric
    from harness.tracking import Tracker

__all__ = ["Interrupted", "Job", "Progress", "train_population"]


class Interrupted(Exception):  # noqa: N818, for it is no error
    """Training was asked to stop, and has left a checkpoint to go on from."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a population has come.

    Args:
        step: Steps done.
        total_steps: Steps in all.
        elapsed_sec: Seconds of training so far, evaluations left out.
        num_live: Runs still training.
        scores: The latest value of the study's metric, by run id.
        verdicts: The latest verdict of each run that still trains, ``[arm, verdict]`` by run id.
        alarms: The line on each run that has become hopeless, by run id; it stays when the run recovers.
    """

    step: int
    total_steps: int
    elapsed_sec: float
    num_live: int
    scores: Mapping[str, float]
    verdicts: Mapping[str, tuple[str, str]]
    alarms: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Job:
    """How a population is trained, and whom to tell.

    Args:
        study: Name of the study.
        directory: ``runs/<study>``.
        device: The torch device.
        metric: The metric shown, pruned and selected by.
        environment: Goes into every result; ``population``, ``data`` and how scores are measured are added.
        checkpoint: Where the population's checkpoint is; deleted at the end.
        wandb: Mode of the W&B mirror.
        early_stop: When hopeless runs are stopped, or None.
        should_stop: Asked at every event, and every second or so between two; True leaves a checkpoint and
            raises `Interrupted`.
        prune: Asked after every evaluation but the first and the last with its number, from 1, and the mean
            of the metric over the runs, failed ones at their untrained value; True stops all of them.
        progress: Told at every event.
        watch: Makes one more tracker for a run, given the run and its number of steps.
        checkpoint_sec: Seconds between two checkpoints.
    """

    study: str
    directory: Path
    device: str
    metric: Metric
    environment: Mapping[str, Any]
    checkpoint: Path
    wandb: str = "auto"
    early_stop: EarlyStop | None = None
    should_stop: Callable[[], bool] = lambda: False
    prune: Callable[[int, float], bool] | None = None
    progress: Callable[[Progress], None] | None = None
    watch: Callable[[PlannedRun, int], Tracker] | None = None
    checkpoint_sec: float = CHECKPOINT_SEC


def train_population(runs: Sequence[PlannedRun], job: Job) -> list[RunResult]:
    """Train runs of one structure in lockstep, from their checkpoint if there is one.

    Runs that diverge are recorded as such and leave; the others do not notice. Runs that the job's early stop
    gives up leave too, and cost nothing from then on. If the device's memory does not hold them all, they
    are trained in halves, each from the start, and their environment says so.

    Args:
        runs: The population, K runs of one structure and data set.
        job: How, and whom to tell.

    Returns:
        The results, in the order of `runs`; of runs that had finished before, the results they left.

    Raises:
        Interrupted: If `job.should_stop` said so.
    """
    from harness.runs.session import Session

    checkpoint = job.checkpoint
    halves = [checkpoint.with_name(f"{checkpoint.stem}-{part}.pt") for part in "ab"]
    split = checkpoint.with_suffix(".split")
    if not split.exists():
        try:
            return Session(runs, job).train()
        except torch.cuda.OutOfMemoryError:
            if len(runs) == 1:
                raise
            checkpoint.unlink(missing_ok=True)
            split.touch()
    torch.cuda.empty_cache()
    middle = len(runs) // 2
    results = []
    for half, path in zip((runs[:middle], runs[middle:]), halves, strict=True):
        results += train_population(half, replace(job, checkpoint=path))
    split.unlink(missing_ok=True)
    return results
