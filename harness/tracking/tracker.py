"""The one interface between a run and the places its numbers go to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, final

__all__ = ["CompositeTracker", "Histogram", "Tracker"]


class Histogram(NamedTuple):
    """How many values fell into each of a row of bins.

    Attributes:
        counts: one a bin.
        edges: of the bins, increasing, one more than there are bins.
    """

    counts: tuple[int, ...]
    edges: tuple[float, ...]

    @classmethod
    def trimmed(cls, counts: Sequence[int], edges: Sequence[float]) -> Histogram:
        """A histogram without its empty bins on either side; of nothing, it has no bin at all.

        Args:
            counts: how many values fell into each bin.
            edges: of the bins, increasing, one more than there are bins.
        """
        filled = [index for index, count in enumerate(counts) if count]
        if not filled:
            return cls((), ())
        first, end = filled[0], filled[-1] + 1
        return cls(
            tuple(int(count) for count in counts[first:end]),
            tuple(float(edge) for edge in edges[first : end + 1]),
        )


class Tracker(Protocol):
    """Where one run's rows, images and result go.

    There is one tracker object per run. Every row carries `train/step`; the other keys have one slash:
    `train/ eval/ verdict/ collapse/ spectra/ growth/ ledger/` for numbers and `samples/` for images.
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

    def histograms(self, histograms: Mapping[str, Histogram], step: int) -> None:
        """Take the histograms of one step.

        Args:
            histograms: Name, such as `train/d_real_hist`, → histogram; none of them empty.
            step: The training step they were counted up to.
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

    def histograms(self, histograms: Mapping[str, Histogram], step: int) -> None:
        for tracker in self._trackers:
            tracker.histograms(histograms, step)

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
