"""Histograms of D's scores: from the history's lines to whatever mirrors them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.tracking import (
    Histogram,
    HistoryTracker,
    WandbTracker,
    read_histograms,
    read_history,
    read_images,
    replay,
)
from support.wandb_reader import read_run

KEY = "train/d_real_hist"
SOME = Histogram((3, 0, 9), (-0.1, 0.0, 0.1, 0.2))
MORE = Histogram((1,), (5.0, 7.0))


class Listener:
    """A tracker that remembers what it is handed."""

    def __init__(self) -> None:
        self.heard: list[tuple[object, ...]] = []

    def log(self, row: Mapping[str, float]) -> None:
        self.heard.append(("row", dict(row)))

    def image(self, key: str, path: Path, step: int) -> None:
        self.heard.append(("image", key, step))

    def histograms(self, histograms: Mapping[str, Histogram], step: int) -> None:
        self.heard.append(("histograms", dict(histograms), step))

    def alarm(self, title: str, text: str) -> None:
        self.heard.append(("alarm",))

    def flush(self) -> None:
        self.heard.append(("flush",))

    def finish(self, result: Mapping[str, object]) -> None:
        self.heard.append(("finish",))

    def close(self) -> None:
        self.heard.append(("close",))


def recorded(path: Path, *, resume_step: int | None = None) -> HistoryTracker:
    tracker = HistoryTracker(path, resume_step=resume_step)
    for step in (10, 20):
        if resume_step is None or step > resume_step:
            tracker.log({"train/step": step, "train/d_loss": 0.5})
            tracker.histograms({KEY: SOME, "train/d_fake_hist": MORE}, step)
    tracker.image("samples/grid", path.parent / "a.png", 20)
    return tracker


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([0, 0, 3, 0, 9, 0], Histogram((3, 0, 9), (2, 3, 4, 5))),
        ([1, 0, 0, 0, 0, 1], Histogram((1, 0, 0, 0, 0, 1), (0, 1, 2, 3, 4, 5, 6))),
        ([0] * 6, Histogram((), ())),
    ],
)
def test_empty_bins_on_either_side_are_left_out(counts: list[int], expected: Histogram) -> None:
    assert Histogram.trimmed(counts, range(7)) == expected


def test_histograms_come_back_from_the_history_and_are_no_rows_and_no_images(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    recorded(path).close()
    assert read_histograms(path) == {
        KEY: [(10, SOME), (20, SOME)],
        "train/d_fake_hist": [(10, MORE), (20, MORE)],
    }
    assert [row["train/step"] for row in read_history(path)] == [10, 20]
    assert all(KEY not in row for row in read_history(path))
    assert [key for key, _, _ in read_images(path)] == ["samples/grid"]


def test_a_resumed_history_has_every_histogram_once(tmp_path: Path) -> None:
    recorded(tmp_path / "whole.jsonl").close()
    recorded(tmp_path / "cut.jsonl").close()
    recorded(tmp_path / "cut.jsonl", resume_step=10).close()
    assert (tmp_path / "cut.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_replay_hands_on_histograms_in_their_place(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    recorded(path).close()
    listener = Listener()
    assert replay(path, listener) == 5
    assert [entry[0] for entry in listener.heard] == ["row", "histograms", "row", "histograms", "image"]
    assert listener.heard[1] == ("histograms", {KEY: SOME, "train/d_fake_hist": MORE}, 10)


def test_offline_files_hold_the_histograms(tmp_path: Path) -> None:
    history = tmp_path / "runs" / "abc" / "history.jsonl"
    tracker = recorded(history)
    mirror = WandbTracker(
        directory=tmp_path,
        study="study",
        run_id="abc",
        arm="adam",
        seed=1,
        config={},
        history=history,
        mode="offline",
    )
    mirror.histograms({KEY: MORE}, 30)
    mirror.finish({"outcome": "completed"})
    tracker.close()
    assert sum(mirror.failures.values()) == 1  # the image that does not exist, and no histogram
    (log,) = (tmp_path / "wandb").glob("*/run-study-abc-*.wandb")
    found = [
        (row["train/step"], tuple(row[KEY]["values"]), tuple(row[KEY]["bins"]))
        for row in read_run(log.parent).rows
        if KEY in row
    ]
    assert found == [(10, *SOME), (20, *SOME), (30, *MORE)]
