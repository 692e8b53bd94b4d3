"""Measure structures in a process of its own: what it took of a GPU is free again when it ends.

A process that has computed on a GPU keeps a context there, and its allocator what it once took; one that
plans a study lives as long as the study does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from harness.machine import is_short_of_memory, visible_gpu

if TYPE_CHECKING:
    from harness.engine.measure import Measurement
    from harness.recipe import Recipe

__all__ = ["measure_apart"]


def measure_apart(recipes: Sequence[Recipe], device: str, **settings: Any) -> list[Measurement]:
    """What `harness.engine.measure.measure` finds of some recipes, each on its own data.

    Args:
        recipes: what to measure, one after the other.
        device: ``cpu``, ``cuda`` or ``cuda:<n>``; the first of a study's GPUs stands for all.
        settings: the arguments of `measure` by name, the device left out.

    Raises:
        ValueError: it cannot be measured; one line that says why.
    """
    from harness.engine.measure import Measurement

    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    inside = device
    if device.startswith("cuda"):
        environment["CUDA_VISIBLE_DEVICES"] = visible_gpu(device, 0)
        inside = "cuda:0"
    asked = {"recipes": [recipe.to_json() for recipe in recipes], "device": inside, "settings": settings}
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        input=json.dumps(asked),
        capture_output=True,
        encoding="utf-8",
        env=environment,
        check=False,
    )
    said = done.stdout.splitlines()
    if done.returncode or not said:
        why = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise ValueError(f"measuring on {device} failed: {why[-1]}")
    answer = json.loads(said[-1])
    if "error" in answer:
        raise ValueError(answer["error"])
    return [
        Measurement(
            **found
            | {"step_sec_by_size": {int(size): sec for size, sec in found["step_sec_by_size"].items()}}
        )
        for found in answer["found"]
    ]


def _measured(asked: dict[str, Any]) -> dict[str, Any]:
    """What the process answers."""
    from harness.data import load_dataset
    from harness.engine.measure import measure
    from harness.recipe import Recipe

    found = []
    for values in asked["recipes"]:
        try:
            recipe = Recipe.from_json(values)
            found.append(
                asdict(measure(recipe, load_dataset(recipe.data), asked["device"], **asked["settings"]))
            )
        except ValueError as error:
            return {"error": str(error)}
        except Exception as error:
            if not is_short_of_memory(error):
                raise
            return {
                "error": f"recipe `{values['name']}` does not fit into memory, with one run alone; lower "
                "`train.batch_size`, or the networks' sizes."
            }
    return {"found": found}


if __name__ == "__main__":
    print(json.dumps(_measured(json.load(sys.stdin))))
