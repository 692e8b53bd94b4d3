"""The one interface between a run and the places its numbers go to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol, final

__all__ = ["CompositeTracker", "Tracker"]


class Tracker(Protocol):
    """Where one run's rows, images and result go.

    There is one tracker object per run. Every row carries `train/step`; the other keys have one slash:
    `train/ eval/ collapse/ perf/ ledger/` for numbers and `samples/` for images.
    """

    def log(self, row: Mapping[str, float]) -> None:
        """Take one row of numbers.

        Args:
            row: Metric name → value; `train/step` is required. Values may be NaN or infinite.
        """
        ...

    def image(self, key: str, path: Path, step: int) -> None:
        """Take one image that lies on disk.

        Args:
            key: Name of the image's series, such as `samples/scatter`.
            path: The image file; it must stay where it is.
            step: The training step the image shows.
        """
        ...

    def alarm(self, title: str, text: str) -> None:
        """Take news that a person should have at once: the run has become hopeless. Called once a run.

        Args:
            title: Arm, seed and verdict.
            text: One line: run, arm, seed, step, and the verdict with its evidence.
        """
        ...

    def flush(self) -> None:
        """Make what was taken so far survive a crash; call it before a checkpoint is written."""
        ...

    def finish(self, result: Mapping[str, object]) -> None:
        """End the run with its result: `outcome`, `reason`, `scores`, `ledger`, `environment`."""
        ...

    def close(self) -> None:
        """End without a result, because the run was interrupted and will be resumed."""
        ...


@final
class CompositeTracker:
    """Hand everything to several trackers, in order.

    Args:
        trackers: The trackers; put the history first, because it is the record and the others are mirrors.
    """

    def __init__(self, trackers: Iterable[Tracker]) -> None:
        self._trackers = tuple(trackers)

    def log(self, row: Mapping[str, float]) -> None:
        for tracker in self._trackers:
            tracker.log(row)

    def image(self, key: str, path: Path, step: int) -> None:
        for tracker in self._trackers:
            tracker.image(key, path, step)

    def alarm(self, title: str, text: str) -> None:
        for tracker in self._trackers:
            tracker.alarm(title, text)

    def flush(self) -> None:
        for tracker in self._trackers:
            tracker.flush()

    def finish(self, result: Mapping[str, object]) -> None:
        for tracker in self._trackers:
            tracker.finish(result)

    def close(self) -> None:
        for tracker in self._trackers:
            tracker.close()
