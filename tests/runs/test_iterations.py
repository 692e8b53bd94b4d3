"""What a run's record says of how it was computed, and what is said of it meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness import find_recipe
from harness.cli.main import harness
from harness.runs.job import Progress
from support.populations import fit, rows_without_seconds, runs_of
from support.recording import Again, OnTape

SHORT = {
    "train.epochs": 3,
    "train.batch_size": 512,
    "evaluate.every_epochs": 1,
    "evaluate.num_samples": 100,
    "evaluate.num_grids": 0,
}


class Full(OnTape):
    """Has no memory left."""

    def record(self, body: Callable[[], None]) -> Callable[[], None]:
        raise MemoryError


def result_of(directory: Path, **more: Any) -> Any:
    (result,) = fit(directory, runs_of(find_recipe("ring-gan").override(SHORT)), **more)
    return result


def test_a_run_records_its_precision_and_whether_its_iterations_were_replayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = result_of(tmp_path / "cpu").environment
    assert environment["precision"] == "float32, TF32 off"
    assert "iterations" not in environment
    monkeypatch.setattr("harness.engine.trainer.recorder_for", lambda _: Again())
    assert result_of(tmp_path / "replayed").environment["iterations"] == "replayed as CUDA graphs"
    assert rows_without_seconds(tmp_path / "cpu", runs_of(find_recipe("ring-gan").override(SHORT))[0]) == (
        rows_without_seconds(tmp_path / "replayed", runs_of(find_recipe("ring-gan").override(SHORT))[0])
    )


def test_a_run_that_is_not_replayed_says_why_in_its_record_and_on_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.engine.trainer.recorder_for", lambda _: Full())
    seen: list[Progress] = []
    result = result_of(tmp_path / "full", progress=seen.append)
    assert result.environment["iterations"] == "computed: memory does not hold it"
    line = "arm 0: its iterations are computed, and not replayed as CUDA graphs: memory does not hold it"
    assert line in seen[-1].alarms.values()
    settings = [word for key, value in SHORT.items() for word in ("--set", f"{key}={value}")]
    shown = CliRunner().invoke(harness, ["train", "ring-gan", *settings, "--directory", str(tmp_path)])
    assert "iterations: computed: memory does not hold it" in shown.output.splitlines()
