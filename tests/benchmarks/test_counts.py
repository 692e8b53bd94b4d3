"""An iteration asks no more of a device than when it was last recorded; see `counts.py`."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.counts import RECORDED, count, counted, full_size
from harness.files import read_json
from harness.recipe import loss

RECIPES = full_size()
COUNTED = list(counted())


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    found: dict[str, Any] = read_json(RECORDED)
    return found


def test_every_recipe_is_recorded(recorded: dict[str, Any]) -> None:
    assert {(name, int(size)) for name, sizes in recorded.items() for size in sizes} == set(COUNTED)
    assert set(RECIPES) == set(recorded)


@pytest.mark.parametrize(("name", "K"), COUNTED)
def test_an_iteration_launches_copies_and_reads_no_more_than_recorded(
    name: str, K: int, recorded: dict[str, Any]
) -> None:
    found, expected = count(RECIPES[name], K), recorded[name][str(K)]
    assert found["launches"] > 20
    more = {key: (found[key], expected[key]) for key in expected if found[key] > expected[key]}
    assert not more, (
        f"more than recorded, {more} (found, recorded); if that is meant, record it anew by PYTHONPATH=tests "
        "python -m benchmarks.counts, and say why in the commit."
    )


def test_a_loss_is_made_while_tensors_hold_numbers(recorded: dict[str, Any]) -> None:
    # A process that read from the cache what a loss is has not made it yet.
    for name in ("ring-gan", "points-gan"):
        loss._built.cache_clear()
        assert count(RECIPES[name], 1)["launches"] <= recorded[name]["1"]["launches"]


def test_one_operation_more_is_found(monkeypatch: pytest.MonkeyPatch, recorded: dict[str, Any]) -> None:
    from harness.engine.meter import Meter

    add = Meter.add_generator

    def reading(self: Meter, loss: Any, update: Any) -> None:
        loss.item()
        add(self, loss + 0, update)

    monkeypatch.setattr(Meter, "add_generator", reading)
    found, expected = count(RECIPES["ring-gan"], 1), recorded["ring-gan"]["1"]
    assert (found["launches"], found["reads"]) == (expected["launches"] + 1, expected["reads"] + 1)
