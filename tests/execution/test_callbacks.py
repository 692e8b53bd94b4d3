"""Callbacks of `train`: told of everything, and able to stop a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness import RunResult, train
from harness.analysis.load import read_results
from harness.runs.callbacks import RunEvent
from harness.runs.folder import run_directory
from harness.tracking import read_history
from support.tiny_studies import tiny_recipe


def trained(tmp_path: Path, *callbacks: Any) -> RunResult:
    return train(
        tiny_recipe(), seed=1, device="cpu", directory=tmp_path, wandb="disabled", callbacks=callbacks
    )


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return trained(tmp_path_factory.mktemp("calm"))


def test_a_callback_is_told_of_everything_and_changes_nothing(tmp_path: Path, calm: RunResult) -> None:
    told: list[RunEvent] = []
    result = trained(tmp_path, told.append)
    assert result.scores == calm.scores
    assert {event.kind for event in told} >= {"logged", "evaluated", "finished"}
    assert [event.step for event in told] == sorted(event.step for event in told)
    first, last = told[0], told[-1]
    assert (first.kind, first.step, first.verdict != "") == ("evaluated", 0, True)
    assert first.logged == {}
    assert (last.kind, last.result, last.step) == ("finished", result, last.total_steps)
    assert last.scores["sliced_w2"] == result.scores["sliced_w2"]["last"]
    assert last.verdict == result.verdict_name
    assert last.seen_images == result.ledger["seen_images"]
    assert "train/d_loss" in last.logged
    assert (last.run_id, last.seed, last.recipe) == (result.run_id, 1, tiny_recipe())
    assert all(event.result is None for event in told[:-1])


@pytest.mark.parametrize("kind", ["logged", "evaluated"])
def test_a_reason_stops_the_run_where_it_stands_and_is_kept(tmp_path: Path, kind: str) -> None:
    seen: list[RunEvent] = []

    def enough(event: RunEvent) -> str | None:
        seen.append(event)
        return "enough\nis enough" if event.kind == kind and event.step > 0 else None

    result = trained(tmp_path, enough)
    assert (result.outcome, result.stopped_by, result.reason) == ("stopped", "callback", "enough is enough")
    assert not result.failed
    assert not result.pruned
    stop = seen[-2]
    assert 0 < stop.step < stop.total_steps
    assert result.ledger["discriminator_steps"] == stop.step
    assert result.saved_steps == stop.total_steps - stop.step
    assert seen[-1].kind == "finished"
    folder = run_directory(tmp_path, result.run_id)
    assert json.loads((folder / "result.json").read_text()) == result.to_json()
    rows = read_history(folder / "history.jsonl")
    assert any(row.get("train/step") == stop.step and "eval/sliced_w2" in row for row in rows)
    assert trained(tmp_path, lambda event: pytest.fail("it has its result")) == result
    assert list((tmp_path / "populations").iterdir()) == []


def test_a_run_whose_steps_are_all_done_is_complete_whatever_a_callback_says(tmp_path: Path) -> None:
    result = trained(tmp_path, lambda event: "late" if event.step == event.total_steps else None)
    assert (result.outcome, result.stopped_by, result.reason) == ("completed", "", "")


def test_a_callback_that_raises_leaves_a_checkpoint_to_go_on_from(tmp_path: Path, calm: RunResult) -> None:
    def broken(event: RunEvent) -> None:
        if event.kind == "logged" and event.step > 10:
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        trained(tmp_path, broken)
    assert read_results(tmp_path) == []
    assert len(list((tmp_path / "populations").glob("*.pt"))) == 1
    steps: list[int] = []
    result = trained(tmp_path, lambda event: steps.append(event.step))
    assert steps[0] > 0
    assert result.scores == calm.scores


def test_an_answer_that_is_no_reason_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"a callback must return None, or a reason .* returned True"):
        trained(tmp_path, lambda event: True)


def test_what_cannot_be_called_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`callbacks` must hold functions of an event, but got 'stop'"):
        trained(tmp_path / "new", "stop")
    with pytest.raises(ValueError, match="`callbacks` must be a list of functions of an event, but got 3"):
        train(tiny_recipe(), directory=tmp_path / "new", callbacks=3)  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r"`recipe` must be a Recipe, but got 'ring-gan'; find_recipe\('ring-gan'\)"
    ):
        train("ring-gan", directory=tmp_path / "new")  # type: ignore[arg-type]
    assert not (tmp_path / "new").exists()
