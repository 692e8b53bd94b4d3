"""One run's files while it trains: history, samples, W&B, and at the end its result."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.registry import metrics
from harness.sweep.results import Outcome, RunResult, run_directory, summarise_curve, write_json
from harness.tracking import CompositeTracker, HistoryTracker, Tracker, WandbTracker, wandb_mode

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.figures import Window
    from harness.sweep.grammar import Metric
    from harness.sweep.plan import PlannedRun

__all__ = ["Pictures", "RunRecorder"]


class Pictures:
    """What all frames of a data set share: the reals, the window, and where to ask D for its surface.

    Args:
        real: (M, 2) held-out points.
    """

    def __init__(self, real: NDArray[np.float32]) -> None:
        from harness.figures import scatter_window, surface_points

        self.real = real
        self.window: Window = scatter_window(real)
        self.grid = surface_points(self.window)
        """(R², 2) points of the plane."""


class RunRecorder:
    """Writes down one run; see the module's docstring.

    A run that goes on from a checkpoint hands its curves back in, and its history is cut back to the
    checkpoint's step, so that what it leaves is what an undisturbed run would have left.

    Args:
        run: The run.
        study: Name of the study.
        directory: ``runs/<study>``.
        metric: The study's metric, whose goal it may have set itself.
        environment: Goes into the result as it is.
        wandb: Mode of the W&B mirror: ``auto``, ``online``, ``offline``, ``disabled``.
        resume_step: Step of the checkpoint that the run goes on from; None for a fresh run.
        curves: What `curves` was at that checkpoint.
        trackers: More places for rows and images to go to.
    """

    def __init__(
        self,
        run: PlannedRun,
        *,
        study: str,
        directory: Path,
        metric: Metric,
        environment: Mapping[str, Any],
        wandb: str = "auto",
        resume_step: int | None = None,
        curves: Mapping[str, Sequence[Sequence[float]]] | None = None,
        trackers: Sequence[Tracker] = (),
    ) -> None:
        self.run = run
        self.directory = run_directory(directory, run.run_id)
        self.result: RunResult | None = None
        self._study = study
        self._metric = metric
        self._environment = environment
        self._curves: dict[str, list[list[float]]] = {
            metric: [list(point) for point in points] for metric, points in (curves or {}).items()
        }
        self._samples = self.directory / "samples"
        self._samples.mkdir(parents=True, exist_ok=True)
        torn = [*self.directory.glob(".*"), *self._samples.glob(".*")]
        stale = self._samples.glob("step_*.png") if resume_step is None else ()
        for path in (*torn, *stale):
            path.unlink()
        config = run.recipe.to_json()
        write_json(self.directory / "recipe.json", config)
        history = self.directory / "history.jsonl"
        resumed = resume_step is not None and history.exists()
        record: Tracker = HistoryTracker(history, resume_step=resume_step if resumed else None)
        mirrors: list[Tracker] = [*trackers]
        if wandb_mode(wandb) != "disabled":
            mirrors.append(
                WandbTracker(
                    directory=directory,
                    study=study,
                    run_id=run.run_id,
                    cell=run.cell,
                    seed=run.seed,
                    config=config,
                    overrides=run.overrides,
                    tags=[run.phase, run.cell],
                    history=history,
                    mode=wandb,
                )
            )
        self._trackers = CompositeTracker([record, *mirrors])

    @property
    def curves(self) -> dict[str, list[list[float]]]:
        """Metric to its evaluations so far, as [step, value]."""
        return self._curves

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
        """The study's metric at the last evaluation, of a failed run that of its untrained generator.

        NaN before the first evaluation.
        """
        points = self._curves.get(self._metric.name)
        if not points:
            return math.nan
        failed = self.result is not None and self.result.failed
        return points[0 if failed else -1][1]

    def log(self, step: int, epoch: float, values: Mapping[str, float], ledger: Mapping[str, float]) -> None:
        """Add a row of training metrics, keyed ``train/…``."""
        self._trackers.log(_row(step, epoch, ledger) | dict(values))

    def evaluated(
        self, step: int, epoch: float, scores: Mapping[str, float], ledger: Mapping[str, float]
    ) -> None:
        """Add an evaluation: a row keyed ``eval/…`` and a point on every metric's curve."""
        for metric, value in scores.items():
            self._curves.setdefault(metric, []).append([step, value])
        self._trackers.log(
            _row(step, epoch, ledger) | {f"eval/{key}": value for key, value in scores.items()}
        )

    def picture(
        self,
        step: int,
        epoch: int,
        pictures: Pictures,
        fake: NDArray[np.float32],
        surface: NDArray[np.float32],
        *,
        final: bool,
    ) -> None:
        """Draw the samples over D's surface.

        Args:
            step: Where in training.
            epoch: The same in epochs, for the title.
            pictures: What all frames share.
            fake: (N, 2) generated points.
            surface: (R²,) scores of D at ``pictures.grid``.
            final: Whether this is the run's last frame, which is also kept as data for the report.
        """
        from harness.figures import Scene, scatter_over_surface

        side = round(len(surface) ** 0.5)
        scene = Scene(
            real=pictures.real,
            fake=fake,
            surface=surface.reshape(side, side),
            window=pictures.window,
            critic=self.run.recipe.loss.name not in ("minimax", "non-saturating"),
        )
        score = f" · {self._metric.name} {self.latest:.3g}" if self._metric.name in self._curves else ""
        path = self._samples / f"step_{step:08d}.png"
        scatter_over_surface(
            scene, path, title=f"{self.run.cell} · seed {self.run.seed} · epoch {epoch}{score}"
        )
        self._trackers.image("samples/scatter", path, step)
        if final:
            scene.save(self._samples / "final.npz")

    def flush(self) -> None:
        """Put all rows on the disk; to be done before a checkpoint is written."""
        self._trackers.flush()

    def finish(self, outcome: Outcome, reason: str, ledger: Mapping[str, float]) -> RunResult:
        """End the run: join its frames, write its result, close its trackers."""
        from harness.figures import gif

        frames = sorted(self._samples.glob("step_*.png"))
        if frames:
            gif(frames, self._samples / "run.gif")
        scores = {
            name: summarise_curve(
                [int(step) for step, _ in points],
                [value for _, value in points],
                self._metric.goal if name == self._metric.name else metrics[name].goal,
            )
            for name, points in self._curves.items()
        }
        result = RunResult(
            run_id=self.run.run_id,
            study=self._study,
            cell=self.run.cell,
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
        )
        self.flush()
        write_json(self.directory / "result.json", result.to_json())
        self._trackers.finish(result.to_json())
        self.result = result
        return result

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
