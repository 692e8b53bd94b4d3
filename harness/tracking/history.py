"""The full record of a run: one JSON object a line in `history.jsonl`.

A line of numbers is `{"train/step": 270, "train/d_loss": 0.69, ...}`. JSON has no NaN, so non-finite values
are the strings "nan", "inf" and "-inf". A line for an image is
`{"train/step": 270, "samples/scatter": {"image": "samples/step_00000270.png"}}`, its path being relative to
the history's folder. A line of histograms is
`{"train/step": 270, "train/d_real_hist": {"counts": [3, 0, 9], "edges": [-0.1, 0.0, 0.1, 0.2]}, ...}`, empty
bins on either side left out. Every other place that shows a run can be rebuilt from this file.
"""

from __future__ import annotations

import json
import math
import numbers
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, final

from harness.files import UNENCODABLE, write_text
from harness.tracking.tracker import Histogram, Tracker

__all__ = ["HistoryTracker", "read_histograms", "read_history", "read_images", "replay"]

STEP = "train/step"
_NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


@final
class HistoryTracker:
    """Append a run's rows to its history file.

    A row reaches the operating system as soon as it is logged, so killing the process loses none; `flush`
    also survives a power cut.

    Args:
        path: The history file. Its folder is created.
        resume_step: None starts the history afresh. A step keeps the rows up to and including that step and
            drops later ones, and a torn last line, because training goes on from a checkpoint of that step.

    Raises:
        OSError: If the file cannot be written.
        ValueError: If an existing history is resumed and one of its lines is not a row.
    """

    def __init__(self, path: Path, *, resume_step: int | None = None) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        kept = [] if resume_step is None else [row for row in _rows(self.path) if row[STEP] <= resume_step]
        write_text(self.path, "".join(_line(row) for row in kept))
        self._file = self.path.open("a", encoding="utf-8", errors=UNENCODABLE)

    def log(self, row: Mapping[str, float]) -> None:
        """Append one row of numbers; see `Tracker.log`."""
        assert STEP in row, f"a row needs `{STEP}`, but got only {sorted(row)}"
        self._append({key: _encode(value) for key, value in row.items()})

    def image(self, key: str, path: Path, step: int) -> None:
        """Append a reference to an image; see `Tracker.image`."""
        folder, path = self.path.parent.resolve(), Path(path).resolve()
        shown = path.relative_to(folder) if path.is_relative_to(folder) else path
        self._append({STEP: int(step), key: {"image": shown.as_posix()}})

    def histograms(self, histograms: Mapping[str, Histogram], step: int) -> None:
        """Append the histograms of one step; see `Tracker.histograms`."""
        self._append({STEP: int(step), **{key: value._asdict() for key, value in histograms.items()}})

    def alarm(self, title: str, text: str) -> None:
        """Do nothing: the row of the evaluation holds the verdict."""

    def flush(self) -> None:
        """Put every row on the disk."""
        if not self._file.closed:
            os.fsync(self._file.fileno())

    def finish(self, result: Mapping[str, object]) -> None:
        """Close the file; the result has a file of its own."""
        self.close()

    def close(self) -> None:
        """Put every row on the disk and close the file."""
        self.flush()
        self._file.close()

    def _append(self, row: Mapping[str, object]) -> None:
        self._file.write(_line(row))
        self._file.flush()


def read_history(path: Path) -> list[dict[str, float]]:
    """Read a history's rows of numbers, in the order they were logged.

    Args:
        path: A `history.jsonl`. A torn last line, left by a crash, is passed over.

    Returns:
        One dict a row: metric name → value, non-finite values being floats again.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a line is not a row.
    """
    rows = ({key: _decode(value) for key, value in row.items() if _is_number(value)} for row in _rows(path))
    return [row for row in rows if len(row) > 1]


def read_images(path: Path) -> list[tuple[str, Path, int]]:
    """Read a history's images as (key, file, step), in the order they were logged.

    Args:
        path: A `history.jsonl`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a line is not a row.
    """
    return [
        (key, Path(path).parent / value["image"], int(row[STEP]))
        for row in _rows(path)
        for key, value in row.items()
        if _is_image(value)
    ]


def read_histograms(path: Path) -> dict[str, list[tuple[int, Histogram]]]:
    """Read a history's histograms: key → (step, histogram), in the order they were logged.

    Args:
        path: A `history.jsonl`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a line is not a row.
    """
    found: dict[str, list[tuple[int, Histogram]]] = {}
    for row in _rows(path):
        for key, histogram in _histograms(row).items():
            found.setdefault(key, []).append((int(row[STEP]), histogram))
    return found


def replay(path: Path, tracker: Tracker) -> int:
    """Hand every row, image and histogram of a history to another tracker, in the order they were logged.

    Args:
        path: A `history.jsonl`.
        tracker: What takes them.

    Returns:
        How many lines there were.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a line is not a row.
    """
    count = 0
    for row in _rows(path):
        images = {key: value["image"] for key, value in row.items() if _is_image(value)}
        values = {key: _decode(value) for key, value in row.items() if _is_number(value)}
        histograms = _histograms(row)
        if len(values) > 1:
            tracker.log(values)
            count += 1
        for key, image in images.items():
            tracker.image(key, Path(path).parent / image, int(values[STEP]))
            count += 1
        if histograms:
            tracker.histograms(histograms, int(values[STEP]))
            count += 1
    return count


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a history as JSON objects; a line without its newline is one a crash cut short."""
    with Path(path).open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith("\n"):
                return
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if not isinstance(row, dict) or not isinstance(row.get(STEP), int):
                raise ValueError(
                    f"{path}, line {number} is not a row of a history. Delete that line, or the run's folder "
                    f"to train it again."
                )
            yield row


def _line(row: Mapping[str, object]) -> str:
    return json.dumps(row, allow_nan=False, ensure_ascii=False) + "\n"


def _encode(value: float) -> int | float | str:
    if isinstance(value, numbers.Integral):
        return int(value)
    number = float(value)
    return number if math.isfinite(number) else str(number)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) or (isinstance(value, str) and value in _NON_FINITE)


def _is_image(value: object) -> bool:
    return isinstance(value, dict) and "image" in value


def _histograms(row: Mapping[str, Any]) -> dict[str, Histogram]:
    return {
        key: Histogram(tuple(value["counts"]), tuple(value["edges"]))
        for key, value in row.items()
        if isinstance(value, dict) and "counts" in value
    }


def _decode(value: float | str) -> float:
    return _NON_FINITE[value] if isinstance(value, str) else value
