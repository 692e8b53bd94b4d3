"""A mirror of the runs in Weights & Biases.

`history.jsonl` is the record and W&B shows it, rebuilt from it where need be. Tables and artifacts are left
out: both raise into training when a server dies, and both are lost when an offline folder moves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

from harness.recipe.registry import metrics
from harness.tracking.history import STEP, replay
from harness.tracking.mode import Mode, wandb_mode
from harness.tracking.tracker import Histogram
from harness.tracking.wandb import WandbRun, finite_or_nan, media, plain, short_tags

__all__ = ["WandbTracker", "absurd", "chart_key"]


@final
class WandbTracker:
    """Mirror one run as one W&B run, in the group of its study.

    A resumed run finds its W&B run again. Offline, the folder that its interrupted training left is dropped
    and the history logged anew, so that no row is lost or doubled; online, the rows that the server already
    has are passed over.

    Args:
        directory: The study's folder; W&B's files go to its `wandb/` (to WANDB_DIR's, if that is set).
        study: Name of the study: the group.
        run_id: The run's id.
        arm: The run's arm; with the seed it names the W&B run, `<arm>-s<seed>`.
        seed: The run's seed.
        config: The resolved recipe as nested JSON. `study`, `arm`, `seed` and `overrides` are added.
        overrides: What the arm changes: dotted key → value.
        tags: Tags of the run, such as its phase.
        history: The run's `history.jsonl`. Its rows and images are mirrored first, so pass it after
            `HistoryTracker` has cut it back to the checkpoint; an empty one means a fresh run.
        mode: See `wandb_mode`.

    Raises:
        ValueError: If the mode is unknown.
    """

    def __init__(
        self,
        *,
        directory: Path,
        study: str,
        run_id: str,
        arm: str,
        seed: int,
        config: Mapping[str, object],
        overrides: Mapping[str, object] | None = None,
        tags: Sequence[str] = (),
        history: Path | None = None,
        mode: str = "auto",
    ) -> None:
        resumed = history is not None and history.is_file() and history.stat().st_size > 0
        self._run = WandbRun(
            directory=Path(directory),
            mode=wandb_mode(mode),
            study=study,
            run_id=run_id,
            resumed=resumed,
            init={
                "group": study,
                "job_type": "train",
                "name": f"{arm}-s{seed}",
                "tags": short_tags(tags),
                "config": {
                    **config,
                    "study": study,
                    "arm": arm,
                    "seed": seed,
                    "overrides": _nested(overrides or {}),
                },
            },
        )
        self._known = self._run.num_known_rows
        if resumed and history is not None and self._run.mode != "disabled":
            replay(history, self)

    @property
    def mode(self) -> Mode:
        """How the run is mirrored in fact; `disabled` also if W&B could not be started at all."""
        return self._run.mode

    @property
    def failures(self) -> Mapping[str, int]:
        """Which calls failed, and how often."""
        return dict(self._run.failures)

    def log(self, row: Mapping[str, float]) -> None:
        """Mirror one row of numbers; see `Tracker.log`."""
        if not self._is_known():
            self._run.log(lambda _: {chart_key(key): finite_or_nan(value) for key, value in row.items()})

    def image(self, key: str, path: Path, step: int) -> None:
        """Mirror one image; see `Tracker.image`."""
        if not self._is_known():
            self._run.log(lambda library: {STEP: step, key: media(library, path)}, what="image")

    def histograms(self, histograms: Mapping[str, Histogram], step: int) -> None:
        """Mirror the histograms of one step; see `Tracker.histograms`."""
        if self._is_known():
            return
        self._run.log(
            lambda library: {
                STEP: step,
                **{key: library.Histogram(np_histogram=value) for key, value in histograms.items()},
            },
            what="histograms",
        )

    def alarm(self, title: str, text: str) -> None:
        """Send W&B's alert, once a run and online only; see `Tracker.alarm`."""
        self._run.alert(title, text)

    def flush(self) -> None:
        """Do nothing: what W&B has not written when the process dies is replayed from the history."""

    def finish(self, result: Mapping[str, object]) -> None:
        """Put outcome, verdict, scores, ledger and environment into the summary and end the W&B run.

        The verdict is also one of the run's tags then, to filter by.

        Returns after the time-out at the latest, uploaded or not.

        Args:
            result: `outcome`, `reason`, `scores`, `ledger`, `environment`, `verdict`, where there is one.
        """
        summary: dict[str, object] = {
            key: result[key] for key in ("outcome", "reason", "scores", "environment") if key in result
        }
        scores = result.get("scores")
        if isinstance(scores, Mapping) and (
            broken := [name for name in scores if absurd(name, scores[name])]
        ):
            summary["absurd_scores"] = ", ".join(broken)
            self._run.add_tag("absurd-scores")
        ledger = result.get("ledger")
        if isinstance(ledger, Mapping):
            summary |= {f"ledger/{key}": value for key, value in ledger.items()}
        verdict = result.get("verdict")
        if isinstance(verdict, Mapping) and verdict:
            summary |= {"verdict": verdict["name"], "verdict_rule": verdict["rule"]}
            summary |= {f"collapse/{key}": float(value) for key, value in verdict["evidence"].items()}
            summary |= {"collapse/score": verdict["score"], "collapse/since_step": verdict["since"]}
            self._run.add_tag(str(verdict["name"]))
        self._run.summarise(plain(summary))
        self._run.finish(exit_code=0)

    def settle(self) -> None:
        """Note that the run's result is on the disk: training it anew will make another W&B run.

        To be called after `finish`, and once the result is written: a run that is killed in between is
        trained on, or anew, under the same id.
        """
        self._run.settle()

    def close(self) -> None:
        """End the W&B run without a result; resuming the run takes it up again."""
        self._run.finish(exit_code=1)

    def _is_known(self) -> bool:
        """Whether the server has this row from before the run was interrupted; rows come in one order."""
        if self._known > 0:
            self._known -= 1
            return True
        return False


def chart_key(key: str) -> str:
    """A history's key as a chart's: all that concerns the verdict is in one section."""
    return {"verdict/code": "collapse/verdict", "verdict/score": "collapse/score"}.get(key, key)


def absurd(name: str, scores: Mapping[str, float]) -> set[str]:
    """Which of a score's values, `first` to `area`, tell of something broken; see `Metric.is_absurd`.

    Args:
        name: the score; of one that is not registered, nothing is known.
        scores: its values, the untrained generator's as `first`.
    """
    if name not in metrics:
        return set()
    untrained = float(scores.get("first", math.nan))
    return {key for key, value in scores.items() if metrics[name].is_absurd(float(value), untrained)}


def _nested(flat: Mapping[str, object]) -> dict[str, object]:
    """Dotted keys as nested dicts, the form W&B groups and filters by."""
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        *outer, last = key.split(".")
        inner = nested
        for part in outer:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return nested
