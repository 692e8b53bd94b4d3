"""One run's files while it trains: history, samples, W&B, and at the end its result.

Rows of the history hold ``train/…``, or of an evaluation ``eval/…``, the verdict on it (``verdict/code``, its
index in `VERDICTS`, and ``verdict/score``), that verdict's evidence, ``collapse/…``, and what the networks'
weights are like, ``spectra/…``. Both kinds say where networks that grow stand:
``growth/size``, pixels a side, and ``growth/alpha``. Histograms of D's scores have lines of their own.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.engine import checkpoint as checkpoints
from harness.engine.bins import SCORE_EDGES
from harness.files import write_json
from harness.objective.objective import chance_loss
from harness.recipe.registry import metrics
from harness.runs.best import BestCheckpoint
from harness.runs.folder import RunFolder, run_directory
from harness.runs.result import Outcome, RunResult, failed_score, score, summarise_curve
from harness.tracking import (
    CompositeTracker,
    Histogram,
    HistoryTracker,
    Tracker,
    WandbTracker,
    read_history,
    read_images,
    wandb_mode,
)
from harness.verdict.timeline import RunVerdicts, verdict_numbers

if TYPE_CHECKING:
    from torch import Tensor

    from harness.runs.frames import Frame, Frames
    from harness.runs.job import Job, PlannedRun
    from harness.verdict.judge import Verdict

__all__ = ["RunRecorder"]


class RunRecorder:
    """Writes down one run; see the module's docstring.

    A run that goes on from a checkpoint hands its curves back in, and its history is cut back to the
    checkpoint's step, so that what it leaves is what an undisturbed run would have left. What the history has
    of that step from before the interruption is not written twice.

    Args:
        run: The run.
        job: What it is a part of: the study, its folder, and what the study compares by.
        frames: How it is drawn.
        environment: Goes into the result as it is.
        resume_step: Step of the checkpoint that the run goes on from; None for a fresh run.
        state: What `state_dict` gave at that checkpoint.
        trackers: More places for rows and images to go to.
    """

    def __init__(
        self,
        run: PlannedRun,
        job: Job,
        *,
        frames: Frames,
        environment: Mapping[str, Any],
        resume_step: int | None = None,
        state: Mapping[str, Any] | None = None,
        trackers: Sequence[Tracker] = (),
    ) -> None:
        self.run = run
        self._folder = RunFolder(run_directory(job.directory, run.run_id))
        self.result: RunResult | None = None
        self.alarm = ""
        self._study = job.study
        self._target = job.target
        self._frames = frames
        self._environment = environment
        state = state or {}
        self._curves: dict[str, list[list[float]]] = {
            name: [list(point) for point in points] for name, points in state.get("curves", {}).items()
        }
        self._failed_scores: dict[str, dict[str, Any]] = {
            name: dict(failure) for name, failure in state.get("failed_scores", {}).items()
        }
        self._verdicts = RunVerdicts(state.get("verdicts"), chance=chance_loss(run.recipe.loss))
        self.best_checkpoint = BestCheckpoint(job.target, state.get("best_checkpoint"))
        self._logged: dict[str, float] = dict(state.get("logged", {}))
        self._samples = self._folder.samples
        self._samples.mkdir(parents=True, exist_ok=True)
        for path in (
            *self._folder.path.glob(".*"),
            *self._samples.glob(".*"),
            *self._frames_after(resume_step),
        ):
            if path.is_file():  # others' folders, .ipynb_checkpoints say, are none of ours
                path.unlink()
        config = run.recipe.to_json()
        write_json(self._folder.recipe, config)
        history = self._folder.history
        resumed = resume_step is not None and history.exists()
        record: Tracker = HistoryTracker(history, resume_step=resume_step if resumed else None)
        rows = read_history(history)
        self._evaluated = {int(row["train/step"]) for row in rows if _is_evaluation(row)}
        self._judged = {int(row["train/step"]) for row in rows if "verdict/code" in row}
        self._shown = {(key, step) for key, _, step in read_images(history)}
        self._step = max((step for _, step in self._shown), default=0)
        self._mirror: WandbTracker | None = None
        if wandb_mode(job.wandb) != "disabled":
            self._mirror = WandbTracker(
                directory=job.directory,
                study=job.study,
                run_id=run.run_id,
                arm=run.arm,
                seed=run.seed,
                config=config,
                overrides=run.overrides,
                tags=[run.phase, run.arm],
                history=history,
                mode=job.wandb,
            )
        mirrors = [*trackers, *([self._mirror] if self._mirror is not None else [])]
        self._trackers = CompositeTracker([record, *mirrors])

    def _frames_after(self, step: int | None) -> list[Path]:
        """Frames that training will draw again."""
        paths = self._samples.glob("step_*.png")
        return [path for path in paths if step is None or int(path.stem.removeprefix("step_")) > step]

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of it: curves, failed scores, verdicts, and the best weights so far."""
        return {
            "curves": self._curves,
            "failed_scores": self._failed_scores,
            "verdicts": self._verdicts.state_dict(),
            "best_checkpoint": self.best_checkpoint.state_dict(),
            "logged": self._logged,
        }

    @property
    def logged(self) -> Mapping[str, float]:
        """The latest of each training statistic."""
        return dict(self._logged)

    @property
    def scores(self) -> Mapping[str, float]:
        """Every metric at its last evaluation."""
        return {name: points[-1][1] for name, points in self._curves.items()}

    @property
    def verdict(self) -> Verdict | None:
        """The latest verdict; None before the first evaluation."""
        return self._verdicts.latest

    @property
    def num_evaluations(self) -> int:
        """How many evaluations there were, the untrained generator's included."""
        return max((len(points) for points in self._curves.values()), default=0)

    @property
    def last_evaluation_step(self) -> int:
        """Step of the last evaluation; -1 before the first."""
        return max((int(points[-1][0]) for points in self._curves.values()), default=-1)

    @property
    def latest(self) -> float:
        """The study's metric at the last evaluation, of a run that has failed see `score`.

        NaN before the first evaluation.
        """
        metric = self._target.metric
        if self.result is not None:
            return score(self.result, metric, goal=self._target.goal) if metric in self._curves else math.nan
        points = self._curves.get(metric)
        if not points:
            return math.nan
        has_diverged = self.verdict is not None and self.verdict.name == "diverged"
        is_lost = has_diverged or self._failed_scores.get(metric, {}).get("at_end", False)
        if not is_lost:
            return points[-1][1]
        untrained = points[0][1] if points[0][0] == 0 else math.nan
        return failed_score(self._target, untrained, points[-1][1])

    def log(self, step: int, epoch: float, values: Mapping[str, float], ledger: Mapping[str, float]) -> None:
        """Add a row of training metrics.

        Args:
            step: D steps so far.
            epoch: passes over the data so far.
            values: keyed ``train/…`` and, of networks that grow, ``growth/…``.
            ledger: what the run has spent.
        """
        self._logged |= values
        self._verdicts.trained(values)
        self._trackers.log(_row(step, epoch, ledger) | dict(values))

    def count(self, step: int, counts: Mapping[str, Sequence[int]]) -> None:
        """Add how D's scores were distributed.

        Args:
            step: Where in training.
            counts: ``train/…_hist`` to the counts in the bins of `SCORE_EDGES`.
        """
        histograms = {key: Histogram.trimmed(values, SCORE_EDGES.tolist()) for key, values in counts.items()}
        if known := {key: histogram for key, histogram in histograms.items() if histogram.counts}:
            self._trackers.histograms(known, step)

    def evaluated(
        self,
        step: int,
        epoch: float,
        scores: Mapping[str, float],
        ledger: Mapping[str, float],
        *,
        failures: Mapping[str, str],
        too_few: Collection[str] = (),
        networks: Mapping[str, float] | None = None,
    ) -> None:
        """Add an evaluation: a row, a point on every metric's curve, and the verdict on it.

        Args:
            step: Where in training.
            epoch: The same in epochs.
            scores: Metric to score.
            ledger: What the run has spent.
            failures: Metric to why it could not be computed.
            too_few: Those of them that only lack samples; see `harness.metrics.scores.Scores`.
            networks: ``spectra/…`` of their weights, and ``growth/…``, where they stand, of those that grow.
        """
        for metric, value in scores.items():
            self._curves.setdefault(metric, []).append([step, value])
            if metric in self._failed_scores:
                self._failed_scores[metric]["at_end"] = False
        for metric, reason in failures.items():
            count = self._failed_scores.get(metric, {"count": 0})["count"]
            failure = {"count": count + 1, "reason": reason, "at_end": True}
            self._failed_scores[metric] = failure | ({"too_few": True} if metric in too_few else {})
        verdict = self._verdicts.judge(step, scores)
        if step not in self._evaluated:
            values = {f"eval/{key}": value for key, value in scores.items()}
            values |= verdict_numbers(verdict) | dict(networks or {})
            self._trackers.log(_row(step, epoch, ledger) | values)
        self._ring_if_hopeless()

    def diverged(self, step: int, epoch: float, reason: str, ledger: Mapping[str, float]) -> None:
        """Add the verdict on a run that is no longer finite; `finish` ends it.

        Args:
            step: Where in training.
            epoch: The same in epochs.
            reason: What was found.
            ledger: What the run has spent.
        """
        verdict = self._verdicts.diverged(step, reason)
        if step not in self._judged - self._evaluated:
            self._trackers.log(_row(step, epoch, ledger) | verdict_numbers(verdict))
        self._ring_if_hopeless()

    def _ring_if_hopeless(self) -> None:
        if self._verdicts.rings() and self.verdict is not None:
            self.alarm = f"{self.run.run_id} {self._name}: {self.verdict.sentence()}"
            self._trackers.alarm(f"{self._name}: {self.verdict.name}", self.alarm)

    def draw(self, step: int, when: str, frame: Frame) -> None:
        """Draw a frame, unless that step has one.

        Args:
            step: Where in training.
            when: The same in words, for the title.
            frame: What it shows.
        """
        self._step = step
        if (f"samples/{self._frames.key}", step) in self._shown:
            return
        if not self._shown:
            self._show(self._frames.opening(frame, self._samples))
        path = self._samples / f"step_{step:08d}.png"
        frame.draw(path, title=f"{self._name} · {when}")
        self._show({self._frames.key: path})

    def draw_last(self, frame: Frame, samples: Tensor) -> None:
        """Draw what belongs to the end of a run that was trained to it.

        Args:
            frame: The last frame.
            samples: (N, *sample_shape) samples of the trained generator.
        """
        self._show(self._frames.closing(frame, samples, self._samples))

    def score_in_words(self) -> str:
        """The study's metric at the last evaluation, for a title; nothing if it has no value."""
        points = self._curves.get(self._target.metric)
        known = points and points[-1][0] == self.last_evaluation_step
        return f" · {self._target.metric} {points[-1][1]:.3g}" if points and known else ""

    @property
    def _name(self) -> str:
        return f"{self.run.arm} · seed {self.run.seed}"

    def _show(self, files: Mapping[str, Path]) -> None:
        """Hand images to the trackers, those of the run's present step, each once."""
        for name, path in files.items():
            key = f"samples/{name}"
            if (key, self._step) not in self._shown:
                self._shown.add((key, self._step))
                self._trackers.image(key, path, self._step)

    def flush(self) -> None:
        """Put all rows on the disk; to be done before a checkpoint is written."""
        self._trackers.flush()

    def finish(
        self, outcome: Outcome, reason: str, ledger: Mapping[str, float], *, stopped_by: str = ""
    ) -> RunResult:
        """End the run: join its frames, keep its best weights, end its trackers, write its result.

        The result comes last, because it is what makes a run finished: a run that is killed before is taken
        up again from its checkpoint, and W&B's copy of it too.

        Args:
            outcome: How it ended.
            reason: Why it did not complete, or nothing.
            ledger: What it has spent.
            stopped_by: What stopped it; see `RunResult`.
        """
        if next(self._samples.glob("step_*.png"), None) is not None:
            self._show(self._frames.film(self._samples, title=self._name))
        scores = {
            name: summarise_curve(
                [int(step) for step, _ in points],
                [value for _, value in points],
                self._target if name == self._target.metric else metrics[name].target,
            )
            for name, points in self._curves.items()
        }
        if self.best_checkpoint.report is not None:
            scores[self._target.metric]["best"] = self.best_checkpoint.report
            self._save_best()
        result = RunResult(
            run_id=self.run.run_id,
            study=self._study,
            arm=self.run.arm,
            overrides=dict(self.run.overrides),
            seed=self.run.seed,
            phase=self.run.phase,
            trial=self.run.trial,
            outcome=outcome,
            reason=reason,
            scores=scores,
            ledger=dict(ledger),
            recipe=self.run.recipe.fingerprint,
            environment=dict(self._environment),
            failed_scores=self._failed_scores,
            verdict=self._verdicts.to_json(),
            stopped_by=stopped_by,
            best_checkpoint=self.best_checkpoint.to_json(),
        )
        self.flush()
        self._trackers.finish(result.to_json())
        write_json(self._folder.result, result.to_json())
        if self._mirror is not None:
            self._mirror.settle()
        self.result = result
        return result

    def _save_best(self) -> None:
        """Keep the checkpoint that was selected, laid out like ``checkpoint.pt``, without the optimisers."""
        run = self.run
        state = {"run_id": run.run_id, "recipe": run.recipe.to_json(), "seed": run.seed}
        chosen = self.best_checkpoint.to_json()
        checkpoints.save(
            self._folder.checkpoint("best"),
            {
                **state,
                "step": self.best_checkpoint.step,
                "best_checkpoint": chosen,
                **self.best_checkpoint.weights,
            },
        )

    def close(self) -> None:
        """Let go of the files of a run that has not finished; it can be resumed."""
        if self.result is None:
            self._trackers.close()


def _row(step: int, epoch: float, ledger: Mapping[str, float]) -> dict[str, float]:
    return {
        "train/step": step,
        "train/epoch": epoch,
        **{f"ledger/{key}": value for key, value in ledger.items()},
    }


def _is_evaluation(row: Mapping[str, float]) -> bool:
    return any(key.startswith("eval/") for key in row)
