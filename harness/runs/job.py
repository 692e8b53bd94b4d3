"""What a run is before it is trained, and what training it is asked for: the job, and how far it has come."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.recipe import Recipe, run_id
from harness.recipe.registry import Value
from harness.runs.result import Phase

if TYPE_CHECKING:
    from harness.runs.callbacks import Callback
    from harness.study.grammar import EarlyStop
    from harness.study.target import Target
    from harness.tracking import Tracker

__all__ = ["Interrupted", "Job", "PlannedRun", "Progress"]


class Interrupted(Exception):  # noqa: N818, for it is no error
    """Training was asked to stop, and has left a checkpoint to go on from."""


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One run to be made.

    Attributes:
        recipe: What is trained.
        seed: With what seed.
        arm: Name of the arm.
        overrides: What sets it apart from the study's base: dotted key to value.
        phase: ``ablate``, ``search`` or ``final``; see `harness.runs.result.RunResult`.
        trial: Number of the trial, for ``search`` and ``final``.
        fingerprint: The recipe's, where it is known already; many runs share one.
    """

    recipe: Recipe
    seed: int
    arm: str
    overrides: Mapping[str, Value]
    phase: Phase = "ablate"
    trial: int | None = None
    fingerprint: str = field(default="", compare=False, repr=False)

    @cached_property
    def run_id(self) -> str:
        """Hash of recipe and seed."""
        return run_id(self.fingerprint or self.recipe.fingerprint, self.seed)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a population has come.

    Attributes:
        step: Steps done.
        total_steps: Steps in all.
        elapsed_sec: Seconds of training so far, evaluations left out.
        num_live: Runs still training.
        scores: The latest value of the study's metric, by run id.
        verdicts: The latest verdict of each run that still trains, ``[arm, verdict]`` by run id.
        alarms: The line on each run that has become hopeless, by run id; it stays when the run recovers. And
            one on iterations that a GPU does not replay.
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

    Attributes:
        study: Name of the study.
        directory: ``runs/<study>``.
        device: The torch device.
        target: What runs are shown, pruned and kept by.
        environment: Goes into every result; ``population``, ``precision``, ``data``, how scores are measured
            and, on a GPU, how ``iterations`` are made are added.
        checkpoint: Where the population's checkpoint is; deleted at the end.
        wandb: Mode of the W&B mirror.
        early_stop: When hopeless runs are stopped, or None.
        should_stop: Asked at every event, and every second or so between two; True leaves a checkpoint and
            raises `Interrupted`.
        prune: Asked after every evaluation but the first and the last with its number, from 1, and the mean
            of the metric over the runs, failed ones as `score` counts them; True stops all of them.
        progress: Told at every event.
        watch: Makes one more tracker for a run, given the run and its number of steps.
        callbacks: Called at every event; see `harness.runs.callbacks`. For a population of one run.
        onednn: Whether oneDNN computes large products of a run that trains alone on a CPU; a checkpoint keeps
            to what it was made with.
        checkpoint_sec: Seconds between two checkpoints; by default 20, or as many as keep them within 2 % of
            the training.
    """

    study: str
    directory: Path
    device: str
    target: Target
    environment: Mapping[str, Any]
    checkpoint: Path
    wandb: str = "auto"
    early_stop: EarlyStop | None = None
    should_stop: Callable[[], bool] = lambda: False
    prune: Callable[[int, float], bool] | None = None
    progress: Callable[[Progress], None] | None = None
    watch: Callable[[PlannedRun, int], Tracker] | None = None
    callbacks: Sequence[Callback] = ()
    onednn: bool = False
    checkpoint_sec: float | None = None
