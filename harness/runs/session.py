"""One population from its first event, or its checkpoint, to its results: events in, files out.

Everything that decides which rows are computed on (who diverged, who was given up) follows from the training
and from results on the disk alone, so a population that was killed and resumed ends like one that was not.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from harness.data import Dataset, load_dataset
from harness.engine import checkpoint as checkpoints
from harness.engine.events import EvaluationDue, Event, Finished, Logged, RunsDiverged, SamplesDue
from harness.engine.population import Population
from harness.engine.spectra import spectra
from harness.engine.trainer import Trainer, part_of_state
from harness.files import leftovers
from harness.machine import is_short_of_memory
from harness.metrics.scores import Scores
from harness.network.precision import PRECISIONS
from harness.recipe.registry import metrics
from harness.runs.callbacks import RunEvent, reason_of
from harness.runs.examining import Examiner, evaluator_of
from harness.runs.folder import RunFolder, load_result, run_directory
from harness.runs.frames import Frames, frames_of
from harness.runs.job import Interrupted, Job, Progress
from harness.runs.recording import RunRecorder
from harness.runs.result import Outcome, RunResult, score

if TYPE_CHECKING:
    from harness.runs.job import PlannedRun

__all__ = ["Session", "halve", "train_population"]

_VERSION = 7
"""Version of what a population's checkpoint holds, and of the numbers that go on from it."""
_SAVE_SEC = 20.0
"""Seconds of work that may be lost when the process is killed, where checkpoints are cheap."""
_SAVE_SHARE = 0.02
"""Most of the training's time that checkpoints may take."""
_BYTES_A_SEC = 200e6
"""Speed at which a first checkpoint is taken to be written: a slow disk's."""
_TOLD: dict[type[Event], Literal["logged", "evaluated", "samples"]] = {
    Logged: "logged",
    EvaluationDue: "evaluated",
    SamplesDue: "samples",
}
"""The events that callbacks are told of, and the kind that they are told."""


class Session:
    """Trains one population; see `harness.runs.session.train_population`.

    Args:
        runs: The population.
        job: How, and whom to tell.
    """

    def __init__(self, runs: Sequence[PlannedRun], job: Job) -> None:
        assert len(runs) == 1 or not job.callbacks, "callbacks are told of one run"
        self._runs = runs
        self._job = job
        loaded = load_dataset(runs[0].recipe.data)
        evaluator = evaluator_of(loaded)
        device = torch.device(job.device)
        dataset, self._frames = _at_hand(loaded, device)
        self._population = Population(
            [run.recipe for run in runs], [run.seed for run in runs], dataset=dataset, device=device
        )
        self._population.take_onednn(job.onednn)
        self._trainer = Trainer(self._population, dataset)
        self._examiner = Examiner(self._trainer, dataset, evaluator)
        self._elapsed_sec = 0.0
        self._diagnostics_sec = 0.0
        self._handling_since: float | None = None
        for torn in leftovers(job.checkpoint):
            torn.unlink()  # left by a worker that was killed while it wrote
        state = self._load()
        self._environment = environment = {
            **job.environment,
            "precision": PRECISIONS[runs[0].recipe.train.precision],
            "population": len(runs),
            **({"products": "oneDNN"} if self._population.onednn else {}),
            "data": loaded.fingerprint,
            **({"code": runs[0].recipe.code} if runs[0].recipe.code else {}),
            **({"data_notes": list(loaded.notes)} if loaded.notes else {}),
            "fingerprint": dict(evaluator.fingerprint),
            "sources": dict(evaluator.sources),
        }
        self._recorders: dict[int, RunRecorder] = {}
        self._before: dict[int, RunResult] = {}
        for row, run in enumerate(runs):
            result = load_result(run_directory(job.directory, run.run_id))
            if result is not None:
                self._before[row] = result
            else:
                self._recorders[row] = RunRecorder(
                    run,
                    job,
                    frames=self._frames,
                    environment=environment,
                    resume_step=None if state is None else state["step"],
                    state={} if state is None else state["records"].get(run.run_id, {}),
                    trackers=[] if job.watch is None else [job.watch(run, self._trainer.total_steps)],
                )
        size = sum(tensor.nbytes for tensor in self._population.tensors())
        self._next_save_sec, self._saves_sec = size / _BYTES_A_SEC, 0.0
        self._began_at = self._saved_at = time.monotonic()
        self._handled_before_sec = self._handled_sec

    def train(self) -> list[RunResult]:
        """Run to the end."""
        try:
            events = iter(self._trainer.run(self._is_save_due))
            while self._open():
                started = time.perf_counter()
                event = next(events, None)
                self._handling_since = time.perf_counter()
                self._elapsed_sec += self._handling_since - started
                if event is None:
                    break
                self._handle(event)
                self._call_back(event)
                if isinstance(event, Finished):
                    break
                self._report()
                self._save_if_due()
                self._diagnostics_sec, self._handling_since = self._handled_sec, None
            for _, row in self._open():
                self._finish(row, "completed")
        finally:
            for recorder in self._recorders.values():
                recorder.close()
        self._job.checkpoint.unlink(missing_ok=True)
        if self._job.callbacks and self._recorders:
            self._ask("finished")
        results = [load_result(run_directory(self._job.directory, run.run_id)) for run in self._runs]
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
        if self._trainer.iterations:
            self._environment["iterations"] = self._trainer.iterations
        if isinstance(event, Logged):
            ledger = self._ledger()
            for position, row in self._open():
                values = {key: float(series[position]) for key, series in event.metrics.items()}
                self._recorders[row].log(event.step, event.epoch, values, ledger)
                counts = {key: table[position].tolist() for key, table in event.histograms.items()}
                self._recorders[row].count(event.step, counts)
        elif isinstance(event, EvaluationDue):
            self._evaluate(event)
            self._stop_hopeless(event)
            self._prune_if_beaten(event)
            self._retire_finished()
        elif isinstance(event, SamplesDue):
            self._draw(event)
        elif isinstance(event, RunsDiverged):
            for row, reason in zip(event.rows, event.reasons, strict=True):
                self._diverged(row, reason)

    def _call_back(self, event: Event) -> None:
        """Tell the callbacks of an event, and stop the run where one of them says why.

        It is stopped as it stands: measured here, unless it has just been. One whose steps are all done has
        nothing left to be stopped. A callback that raises leaves a checkpoint to go on from.
        """
        kind = _TOLD.get(type(event))
        if not self._job.callbacks or kind is None or not self._open():
            return
        try:
            reason = self._ask(kind)
        except BaseException:
            self._save()
            raise
        step = self._trainer.step
        if reason and step < self._trainer.total_steps:
            epoch = round(step / self._trainer.steps_per_epoch)
            self._evaluate(EvaluationDue(step=step, epoch=epoch, final=True))
            for _, row in self._open():
                self._finish(row, "stopped", reason, stopped_by="callback")

    def _ask(self, kind: Literal["logged", "evaluated", "samples", "finished"]) -> str:
        """Call every callback; the first reason to stop, or nothing."""
        (recorder,) = self._recorders.values()
        ledger, result = self._ledger(), recorder.result
        event = RunEvent(
            kind=kind,
            run_id=recorder.run.run_id,
            recipe=recorder.run.recipe,
            seed=recorder.run.seed,
            step=self._trainer.step,
            total_steps=self._trainer.total_steps,
            seen_images=int(ledger["seen_images"]),
            elapsed_sec=ledger["elapsed_sec"],
            logged=recorder.logged,
            scores=recorder.scores,
            verdict=recorder.verdict.name if recorder.verdict else "",
            result=result,
        )
        return next(filter(None, [reason_of(callback, event) for callback in self._job.callbacks]), "")

    def _evaluate(self, event: EvaluationDue) -> None:
        due = [(p, row) for p, row in self._open() if self._recorders[row].last_evaluation_step < event.step]
        if not due:
            return
        ledger, metric = self._ledger(), self._job.target.metric
        seen = self._examiner.examine()
        shown = self._frames.shown(self._population)
        frames = self._frames.look(self._population, *seen.some(shown))
        exact = event.final or event.step == 0 or metrics[metric].exact
        spread = spectra(self._population, layers=event.final)
        for position, row in due:
            recorder = self._recorders[row]
            try:
                scores = seen.scores(position, exact=exact)
            except torch.cuda.OutOfMemoryError:
                raise
            except Exception as error:  # no score ends a run
                if not seen.is_finite(position):
                    self._diverged(row, f"{str(error).rstrip('.')} (step {event.step})")
                    continue
                scores = Scores({}, dict.fromkeys(seen.evaluator.names, " ".join(str(error).split())))
            recorder.evaluated(
                event.step,
                event.epoch,
                scores,
                ledger,
                failures=scores.failures,
                too_few=scores.too_few,
                networks={key: values[position] for key, values in spread.items()}
                | self._trainer.growth_state,
            )
            if metric in scores:
                select, report = seen.halves(position, metric)
                recorder.best_checkpoint.offer(
                    event.step, select, report, partial(self._population.networks, row)
                )
            recorder.draw(event.step, f"epoch {event.epoch}{recorder.score_in_words()}", frames[position])
            if event.final:
                recorder.draw_last(frames[position], seen.rows[position])

    def _stop_hopeless(self, event: EvaluationDue) -> None:
        """Give up the runs whose verdict is hopeless, and drop their rows from what is computed.

        Those that were given up at this very step before the population was last killed are dropped with
        them: the size of a matrix decides the last bits of what is computed with it.
        """
        early = self._job.early_stop
        if early is None or event.final or event.step < early.warm_up * self._trainer.total_steps:
            return
        for _, row in self._open():
            verdict = self._recorders[row].verdict
            if verdict is not None and verdict.hopeless:
                self._finish(row, "stopped", f"hopeless: {verdict.sentence()}", stopped_by="verdict")
        ended = {
            row: result
            for row in range(len(self._runs))
            if (result := self._result(row)) is not None
            and result.ledger["discriminator_steps"] <= event.step
        }
        if not any(
            result.stopped_by == "verdict" and result.ledger["discriminator_steps"] == event.step
            for result in ended.values()
        ):
            return
        kept = [row for row in self._trainer.live if row not in ended]
        if kept:
            self._trainer.keep(kept)
        else:
            self._population.retire(tuple(ended))

    def _result(self, row: int) -> RunResult | None:
        return self._before[row] if row in self._before else self._recorders[row].result

    def _retire_finished(self) -> None:
        """Retired rows leave the bits of the others alone."""
        self._population.retire([row for row, recorder in self._recorders.items() if recorder.result])

    def _draw(self, event: SamplesDue) -> None:
        samples, labels = self._examiner.samples(self._frames.shown(self._population))
        frames = self._frames.look(self._population, samples, labels)
        for position, row in self._open():
            if bool(samples[position].isfinite().all()):
                self._recorders[row].draw(event.step, f"step {event.step:,}", frames[position])
            else:
                self._diverged(row, f"the generated samples are not finite (step {event.step})")
        self._retire_finished()

    def _prune_if_beaten(self, event: EvaluationDue) -> None:
        prune, metric, goal = self._job.prune, self._job.target.metric, self._job.target.goal
        if prune is None or event.final or event.step == 0 or not self._open():
            return
        values = [recorder.latest for recorder in self._recorders.values()]
        values += [score(result, metric, goal=goal) for result in self._before.values()]
        mean = sum(values) / len(values)
        evaluation = max(recorder.num_evaluations for recorder in self._recorders.values()) - 1
        if math.isfinite(mean) and prune(evaluation, mean):
            reason = f"pruned at step {event.step}: mean {metric} {mean:.4g}"
            for _, row in self._open():
                self._finish(row, "stopped", reason, stopped_by="pruner")

    def _diverged(self, row: int, reason: str) -> None:
        recorder = self._recorders.get(row)
        if recorder is not None and recorder.result is None:
            step = self._trainer.step
            recorder.diverged(step, step / self._trainer.steps_per_epoch, reason, self._ledger())
            recorder.finish("diverged", reason, self._ledger())

    def _finish(self, row: int, outcome: Outcome, reason: str = "", *, stopped_by: str = "") -> None:
        """End a run that has networks to show."""
        run, step, networks = self._runs[row], self._trainer.step, self._population.run_state(row)
        path = RunFolder(run_directory(self._job.directory, run.run_id)).checkpoint()
        state = {"run_id": run.run_id, "recipe": run.recipe.to_json(), "seed": run.seed, "step": step}
        checkpoints.save(path, {**state, **networks})
        best = self._recorders[row].best_checkpoint
        if best.step is not None:
            metric = self._job.target.metric
            last = self._examiner.fresh_score(row, networks, metric)
            best.settle(
                last if best.step == step else self._examiner.fresh_score(row, best.weights, metric), last
            )
        ledger = self._ledger()
        if outcome == "stopped":
            ledger["saved_steps"] = self._trainer.total_steps - step
        self._recorders[row].finish(outcome, reason, ledger, stopped_by=stopped_by)

    def _ledger(self) -> dict[str, float]:
        """What each live run has spent; runs in lockstep have all spent the same, time included."""
        return {
            **self._trainer.spent,
            "elapsed_sec": round(self._elapsed_sec, 6),
            "diagnostics_sec": round(self._handled_sec, 6),
        }

    @property
    def _handled_sec(self) -> float:
        """Seconds spent on events so far, the one at hand included."""
        now = time.perf_counter()
        return self._diagnostics_sec + (0.0 if self._handling_since is None else now - self._handling_since)

    def _report(self) -> None:
        if self._job.progress is None:
            return
        recorders = {recorder.run.run_id: recorder for recorder in self._recorders.values()}
        self._job.progress(
            Progress(
                step=self._trainer.step,
                total_steps=self._trainer.total_steps,
                elapsed_sec=self._elapsed_sec,
                num_live=len(self._open()),
                scores={run_id: recorder.latest for run_id, recorder in recorders.items()},
                verdicts={
                    run_id: (recorder.run.arm, recorder.verdict.name)
                    for run_id, recorder in recorders.items()
                    if recorder.verdict is not None and recorder.result is None
                },
                alarms={run_id: recorder.alarm for run_id, recorder in recorders.items() if recorder.alarm}
                | self._note(),
            )
        )

    def _note(self) -> dict[str, str]:
        """What is said once of a population whose iterations a GPU does not replay."""
        run, reason = self._runs[0], self._trainer.obstacle
        line = f"{run.arm}: its iterations are computed, and not replayed as CUDA graphs: {reason}"
        return {f"iterations of {run.run_id}": line} if reason else {}

    def _is_save_due(self, *, stop: bool | None = None) -> bool:
        stop = self._job.should_stop() if stop is None else stop
        if stop:
            return True
        now = time.monotonic()
        pause_sec = now - self._saved_at
        if self._job.checkpoint_sec is not None:
            return pause_sec >= self._job.checkpoint_sec
        trained_sec = now - self._began_at - (self._handled_sec - self._handled_before_sec)
        return pause_sec >= _SAVE_SEC and self._saves_sec + self._next_save_sec <= _SAVE_SHARE * trained_sec

    def _save_if_due(self) -> None:
        stop = self._job.should_stop()
        if self._is_save_due(stop=stop):
            self._save()
        if stop:
            raise Interrupted

    def _save(self) -> None:
        started = time.monotonic()
        for recorder in self._recorders.values():
            if recorder.result is None:
                recorder.flush()
        state = {
            "version": _VERSION,
            "run_ids": [run.run_id for run in self._runs],
            "step": self._trainer.step,
            "elapsed_sec": self._elapsed_sec,
            "diagnostics_sec": self._handled_sec,
            "records": {r.run.run_id: r.state_dict() for r in self._recorders.values()},
            "trainer": self._trainer.state_dict(),
        }
        checkpoints.save(self._job.checkpoint, state)
        self._saved_at = time.monotonic()
        self._next_save_sec = self._saved_at - started
        self._saves_sec += self._next_save_sec

    def _load(self) -> dict[str, Any] | None:
        """Go on from the checkpoint; one that cannot be read is as good as none: training repeats itself."""
        path = self._job.checkpoint
        if not path.exists():
            return None
        try:
            state = checkpoints.load(path)
            if not _is_of(state, self._runs):
                raise ValueError("it is of another version, or of other runs")
        except (ValueError, KeyError):
            path.unlink(missing_ok=True)
            return None
        self._trainer.load_state_dict(state["trainer"])
        self._elapsed_sec = float(state["elapsed_sec"])
        self._diagnostics_sec = float(state["diagnostics_sec"])
        return dict(state)


@lru_cache(maxsize=1)
def _at_hand(dataset: Dataset, device: torch.device) -> tuple[Dataset, Frames]:
    """A data set on the device, where the next population finds it, and how runs on it are drawn."""
    resident = dataset.to(device)
    return resident, frames_of(resident)


def train_population(runs: Sequence[PlannedRun], job: Job) -> list[RunResult]:
    """Train runs of one structure in lockstep, from their checkpoint if there is one.

    Runs that diverge are recorded as such and leave; the others do not notice. Runs that the job's early stop
    gives up leave too, and cost nothing from then on. If memory, the device's or the machine's, does not hold
    them all, they go on from their checkpoint in halves, one after the other, and their environment says so.

    Args:
        runs: The population, K runs of one structure and data set.
        job: How, and whom to tell.

    Returns:
        The results, in the order of `runs`; of runs that had finished before, the results they left.

    Raises:
        Interrupted: If `job.should_stop` said so.
    """
    split, halves = _split_mark(job.checkpoint), _half_checkpoints(job.checkpoint)
    results = None if split.exists() and len(runs) > 1 else _trained_whole(runs, job)
    if results is None:
        middle = len(runs) // 2
        _split(runs, middle, job.checkpoint)
        torch.cuda.empty_cache()
        results = []
        for half, path in zip((runs[:middle], runs[middle:]), halves, strict=True):
            results += train_population(half, replace(job, checkpoint=path))
    for path in (split, *halves):
        path.unlink(missing_ok=True)
    return results


def halve(checkpoint: Path) -> None:
    """Have a population trained in halves from now on, or in halves of these where it is already.

    For whoever sees a worker killed for the memory it took; what it had saved is not lost.

    Args:
        checkpoint: the population's; it need not exist.
    """
    if not _split_mark(checkpoint).exists():
        _split_mark(checkpoint).touch()
        return
    for half in _half_checkpoints(checkpoint):
        halve(half)


def _trained_whole(runs: Sequence[PlannedRun], job: Job) -> list[RunResult] | None:
    """The results of runs trained together; None where memory does not hold several."""
    try:
        return Session(runs, job).train()
    except Exception as error:
        if len(runs) == 1 or not is_short_of_memory(error):
            raise
    return None  # outside, where the error holds on to nothing any more


def _split(runs: Sequence[PlannedRun], middle: int, checkpoint: Path) -> None:
    """Cut a population's checkpoint, if it has one, into one for each half.

    The whole one goes last, so that whoever is killed on the way cuts it again.
    """
    _split_mark(checkpoint).touch()
    if not checkpoint.exists():
        return
    with contextlib.suppress(ValueError):  # one that cannot be read is as good as none
        state = checkpoints.load(checkpoint)
        if _is_of(state, runs):
            parts = (range(middle), range(middle, len(runs)))
            for rows, path in zip(parts, _half_checkpoints(checkpoint), strict=True):
                trainer = part_of_state(state["trainer"], rows)
                if trainer is not None:
                    ids = [runs[row].run_id for row in rows]
                    checkpoints.save(path, {**state, "run_ids": ids, "trainer": trainer})
    checkpoint.unlink()


def _is_of(state: Mapping[str, Any], runs: Sequence[PlannedRun]) -> bool:
    """Whether a checkpoint is of these runs, and of this version."""
    return state.get("version") == _VERSION and state.get("run_ids") == [run.run_id for run in runs]


def _split_mark(checkpoint: Path) -> Path:
    return checkpoint.with_suffix(".split")


def _half_checkpoints(checkpoint: Path) -> tuple[Path, Path]:
    first, second = (checkpoint.with_name(f"{checkpoint.stem}-{part}.pt") for part in "ab")
    return first, second
