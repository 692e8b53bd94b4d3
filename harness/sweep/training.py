"""Train one population and write down all of its runs: events in, files out.

Shapes: K live runs, N generated samples and M held-out ones an evaluation.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from harness.data import Dataset, load_dataset
from harness.diagnostics import Evaluator
from harness.engine import checkpoint as checkpoints
from harness.engine.events import EvaluationDue, Event, Finished, Logged, RunsDiverged, SamplesDue
from harness.engine.population import Population
from harness.engine.trainer import Trainer
from harness.registry import metrics
from harness.sweep.frames import Frames, frames_of
from harness.sweep.recording import RunRecorder
from harness.sweep.results import CHECKPOINT_SEC, Outcome, RunResult, load_result, run_directory, score
from harness.tracking import Tracker

if TYPE_CHECKING:
    from harness.sweep.grammar import Metric
    from harness.sweep.plan import PlannedRun

__all__ = ["Interrupted", "Progress", "train_population"]


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
    """

    step: int
    total_steps: int
    elapsed_sec: float
    num_live: int
    scores: Mapping[str, float]


def train_population(
    runs: Sequence[PlannedRun],
    *,
    study: str,
    directory: Path,
    device: str,
    metric: Metric,
    environment: Mapping[str, Any],
    checkpoint: Path,
    wandb: str = "auto",
    should_stop: Callable[[], bool] = lambda: False,
    prune: Callable[[int, float], bool] | None = None,
    progress: Callable[[Progress], None] | None = None,
    watch: Callable[[PlannedRun, int], Tracker] | None = None,
    checkpoint_sec: float = CHECKPOINT_SEC,
) -> list[RunResult]:
    """Train runs of one structure in lockstep, from their checkpoint if there is one.

    Runs that diverge are recorded as such and leave; the others do not notice. If the device's memory does
    not hold them all, they are trained in halves, each from the start, and their environment says so.

    Args:
        runs: The population, K runs of one structure and data set.
        study: Name of the study.
        directory: ``runs/<study>``.
        device: The torch device.
        metric: The metric shown and pruned by.
        environment: Goes into every result; ``population`` is added.
        checkpoint: Where the population's checkpoint is; deleted at the end.
        wandb: Mode of the W&B mirror.
        should_stop: Asked at every event; True leaves a checkpoint and raises `Interrupted`.
        prune: Asked after every evaluation but the first and the last with its number, from 1, and the mean
            of the metric over the runs, failed ones at their untrained value; True stops all of them.
        progress: Told at every event.
        watch: Makes one more tracker for a run, given the run and its number of steps.
        checkpoint_sec: Seconds between two checkpoints; they are written at events only.

    Returns:
        The results, in the order of `runs`; of runs that had finished before, the results they left.

    Raises:
        Interrupted: If `should_stop` said so.
    """
    shared: dict[str, Any] = {
        "study": study,
        "directory": directory,
        "device": device,
        "metric": metric,
        "environment": environment,
        "wandb": wandb,
        "should_stop": should_stop,
        "prune": prune,
        "progress": progress,
        "watch": watch,
        "checkpoint_sec": checkpoint_sec,
    }
    halves = [checkpoint.with_name(f"{checkpoint.stem}-{part}.pt") for part in "ab"]
    split = checkpoint.with_suffix(".split")
    if not split.exists():
        try:
            return _Session(runs, checkpoint=checkpoint, **shared).train()
        except torch.cuda.OutOfMemoryError:
            if len(runs) == 1:
                raise
            checkpoint.unlink(missing_ok=True)
            split.touch()
    torch.cuda.empty_cache()
    middle = len(runs) // 2
    results = []
    for half, path in zip((runs[:middle], runs[middle:]), halves, strict=True):
        results += train_population(half, checkpoint=path, **shared)
    split.unlink(missing_ok=True)
    return results


class _Session:
    """One population from its first event, or its checkpoint, to its results."""

    def __init__(
        self,
        runs: Sequence[PlannedRun],
        *,
        study: str,
        directory: Path,
        device: str,
        metric: Metric,
        environment: Mapping[str, Any],
        checkpoint: Path,
        wandb: str,
        should_stop: Callable[[], bool],
        prune: Callable[[int, float], bool] | None,
        progress: Callable[[Progress], None] | None,
        watch: Callable[[PlannedRun, int], Tracker] | None,
        checkpoint_sec: float,
    ) -> None:
        self._runs = runs
        self._study = study
        self._directory = directory
        self._metric = metric
        self._checkpoint = checkpoint
        self._should_stop = should_stop
        self._prune = prune
        self._progress = progress
        self._checkpoint_sec = checkpoint_sec
        loaded = load_dataset(runs[0].recipe.data)
        self._evaluator = _evaluator(loaded)
        self._dataset, self._frames = _at_hand(loaded, torch.device(device))
        self._population = Population(
            [run.recipe for run in runs],
            [run.seed for run in runs],
            dataset=self._dataset,
            device=torch.device(device),
        )
        self._trainer = Trainer(self._population, self._dataset)
        self._elapsed_sec = 0.0
        for torn in checkpoint.parent.glob(f".{checkpoint.name}.*"):
            torn.unlink()  # left by a worker that was killed while it wrote
        state = self._load()
        self._recorders: dict[int, RunRecorder] = {}
        self._before: dict[int, RunResult] = {}
        for row, run in enumerate(runs):
            result = load_result(run_directory(directory, run.run_id))
            if result is not None:
                self._before[row] = result
            else:
                self._recorders[row] = RunRecorder(
                    run,
                    study=study,
                    directory=directory,
                    metric=metric,
                    frames=self._frames,
                    environment={**environment, "population": len(runs), "data": loaded.fingerprint},
                    wandb=wandb,
                    resume_step=None if state is None else state["step"],
                    state={} if state is None else state["records"].get(run.run_id, {}),
                    trackers=[] if watch is None else [watch(run, self._trainer.total_steps)],
                )
        self._saved_at = time.monotonic()

    def train(self) -> list[RunResult]:
        """Run to the end."""
        try:
            events = iter(self._trainer.run())
            while self._open():
                started = time.perf_counter()
                event = next(events, None)
                self._elapsed_sec += time.perf_counter() - started
                if event is None:
                    break
                self._handle(event)
                if isinstance(event, Finished):
                    break
                self._report()
                self._save_if_due()
            self._finish_all("completed", "", self._trainer.step)
        finally:
            for recorder in self._recorders.values():
                recorder.close()
        self._checkpoint.unlink(missing_ok=True)
        results = [load_result(run_directory(self._directory, run.run_id)) for run in self._runs]
        assert all(result is not None for result in results)
        return [result for result in results if result is not None]

    def _open(self) -> list[tuple[int, int]]:
        """Position and original row of every run that is live and not finished."""
        return [
            (position, row)
            for position, row in enumerate(self._trainer.live)
            if row in self._recorders and self._recorders[row].result is None
        ]

    def _handle(self, event: Event) -> None:
        if isinstance(event, Logged):
            ledger = self._ledger()
            for position, row in self._open():
                values = {key: float(series[position]) for key, series in event.metrics.items()}
                self._recorders[row].log(event.step, event.epoch, values, ledger)
        elif isinstance(event, EvaluationDue):
            self._evaluate(event)
        elif isinstance(event, SamplesDue):
            self._draw(event)
        elif isinstance(event, RunsDiverged):
            for row, reason in zip(event.rows, event.reasons, strict=True):
                self._diverged(row, reason)

    def _evaluate(self, event: EvaluationDue) -> None:
        due = [(p, row) for p, row in self._open() if self._recorders[row].last_evaluation_step < event.step]
        if not due:
            return
        ledger = self._ledger()
        samples, labels = self._samples()
        fake_scores = self._population.discriminate(samples, labels).cpu()
        real_scores = self._real_scores().cpu()
        frames = self._frames.look(self._population, samples, labels)
        exact = event.final or event.step == 0 or metrics[self._metric.name].exact
        for position, row in due:
            recorder = self._recorders[row]
            try:
                scores = self._evaluator.evaluate(
                    samples[position],
                    real_scores=real_scores[position],
                    fake_scores=fake_scores[position],
                    exact=exact,
                    fake_labels=labels,
                )
            except ValueError as error:
                judged = (samples[position], fake_scores[position], real_scores[position])
                if all(bool(values.isfinite().all()) for values in judged):
                    raise
                self._diverged(row, f"{str(error).rstrip('.')} (step {event.step})")
                continue
            recorder.evaluated(event.step, event.epoch, scores, ledger, failures=scores.failures)
            recorder.draw(event.step, f"epoch {event.epoch}{recorder.score_in_words()}", frames[position])
            if event.final:
                recorder.draw_last(frames[position], samples[position])
        self._prune_if_hopeless(event)
        self._retire_finished()

    def _retire_finished(self) -> None:
        """Retired rows leave the bits of the others alone."""
        self._population.retire([row for row, recorder in self._recorders.items() if recorder.result])

    def _draw(self, event: SamplesDue) -> None:
        samples, labels = self._samples(self._frames.num_shown)
        frames = self._frames.look(self._population, samples, labels)
        for position, row in self._open():
            if bool(samples[position].isfinite().all()):
                self._recorders[row].draw(event.step, f"step {event.step:,}", frames[position])
            else:
                self._diverged(row, f"the generated samples are not finite (step {event.step})")
        self._retire_finished()

    def _samples(self, most: int | None = None) -> tuple[Tensor, Tensor | None]:
        """Samples of every live run's fixed latents, (K, N, ...), and their classes, (N,); `most` first ones.

        N is the same in every call: the first of many latents are not those of a few.
        """
        trainer, num = self._trainer, self._runs[0].recipe.evaluate.num_samples
        latents = torch.stack([trainer.fixed_latents(row, num)[:most] for row in trainer.live])
        labels = trainer.fixed_labels(trainer.live[0], len(latents[0]))
        return self._population.generate(latents, labels), labels

    def _real_scores(self) -> Tensor:
        """Every live run's D on held-out samples, (K, M): of images, on as many as are generated."""
        dataset, num = self._dataset, len(self._dataset.test)
        if dataset.kind == "images":
            num = min(num, self._runs[0].recipe.evaluate.num_samples)
        labels = None if dataset.test_labels is None else dataset.test_labels[:num]
        return self._population.discriminate(dataset.test[:num], labels)

    def _prune_if_hopeless(self, event: EvaluationDue) -> None:
        if self._prune is None or event.final or event.step == 0 or not self._open():
            return
        values = [recorder.latest for recorder in self._recorders.values()]
        values += [score(result, self._metric.name) for result in self._before.values()]
        mean = sum(values) / len(values)
        evaluation = max(recorder.num_evaluations for recorder in self._recorders.values()) - 1
        if math.isfinite(mean) and self._prune(evaluation, mean):
            self._finish_all(
                "stopped", f"pruned at step {event.step}: mean {self._metric.name} {mean:.4g}", event.step
            )

    def _diverged(self, row: int, reason: str) -> None:
        recorder = self._recorders.get(row)
        if recorder is not None and recorder.result is None:
            recorder.finish("diverged", reason, self._ledger())

    def _finish_all(self, outcome: Outcome, reason: str, step: int) -> None:
        for _, row in self._open():
            path = run_directory(self._directory, self._runs[row].run_id) / "checkpoint.pt"
            checkpoints.save(path, self._run_state(row, step))
            self._recorders[row].finish(outcome, reason, self._ledger())

    def _run_state(self, row: int, step: int) -> dict[str, Any]:
        """One run's networks and optimisers, as plain modules and tensors."""
        run = self._runs[row]
        state = {"run_id": run.run_id, "recipe": run.recipe.to_json(), "seed": run.seed, "step": step}
        return {**state, **self._population.run_state(row)}

    def _ledger(self) -> dict[str, float]:
        """What every live run has spent: in lockstep, all have spent the same."""
        return {**self._trainer.spent, "elapsed_sec": round(self._elapsed_sec, 6)}

    def _report(self) -> None:
        if self._progress is not None:
            scores = {recorder.run.run_id: recorder.latest for recorder in self._recorders.values()}
            self._progress(
                Progress(
                    step=self._trainer.step,
                    total_steps=self._trainer.total_steps,
                    elapsed_sec=self._elapsed_sec,
                    num_live=len(self._open()),
                    scores=scores,
                )
            )

    def _save_if_due(self) -> None:
        stop = self._should_stop()
        if stop or time.monotonic() - self._saved_at >= self._checkpoint_sec:
            for recorder in self._recorders.values():
                if recorder.result is None:
                    recorder.flush()
            state = {
                "run_ids": [run.run_id for run in self._runs],
                "step": self._trainer.step,
                "elapsed_sec": self._elapsed_sec,
                "records": {r.run.run_id: r.state_dict() for r in self._recorders.values()},
                "trainer": self._trainer.state_dict(),
            }
            checkpoints.save(self._checkpoint, state)
            self._saved_at = time.monotonic()
        if stop:
            raise Interrupted

    def _load(self) -> dict[str, Any] | None:
        """Go on from the checkpoint; one that cannot be read is as good as none: training repeats itself."""
        if not self._checkpoint.exists():
            return None
        try:
            state = checkpoints.load(self._checkpoint)
            if state["run_ids"] != [run.run_id for run in self._runs] or "records" not in state:
                raise ValueError("it is of other runs")
        except (ValueError, KeyError):
            self._checkpoint.unlink(missing_ok=True)
            return None
        self._trainer.load_state_dict(state["trainer"])
        self._elapsed_sec = float(state["elapsed_sec"])
        return dict(state)


@lru_cache(maxsize=2)
def _evaluator(dataset: Dataset) -> Evaluator:
    return Evaluator(dataset)


@lru_cache(maxsize=1)
def _at_hand(dataset: Dataset, device: torch.device) -> tuple[Dataset, Frames]:
    """A data set on the device, where the next population finds it, and how runs on it are drawn."""
    resident = dataset.to(device)
    return resident, frames_of(resident)
