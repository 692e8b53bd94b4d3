"""The front door: what `from harness import` gives."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import harness

LISTED = (
    *("Recipe", "find_recipe", "list_recipes"),
    *("Study", "load_study", "list_studies", "plan_study", "run_study"),
    *("StudyResult", "load_results", "write_report"),
    *("train", "RunResult", "Run", "load_run", "evaluate", "Evaluation"),
    *("register_generator", "register_discriminator", "register_dataset", "register_loss"),
    *("register_optimizer", "register_metric", "register_recipe", "Dataset", "Loss"),
)


def test_the_door_gives_what_is_listed_and_nothing_else() -> None:
    assert sorted([*LISTED, "__version__"]) == sorted(harness.__all__)
    assert dir(harness) == sorted(harness.__all__)
    space: dict[str, object] = {}
    exec("from harness import *", space)
    assert set(LISTED) <= set(space)


def test_every_public_name_is_documented() -> None:
    for name in LISTED:
        entry = getattr(harness, name)
        assert inspect.getdoc(entry), name
        assert not entry.__doc__.startswith(f"{name}("), f"{name} has no docstring of its own"


def test_a_wrong_name_is_said_to_be_wrong() -> None:
    with pytest.raises(AttributeError, match=r"module 'harness' has no attribute 'find_recipes'"):
        _ = harness.find_recipes


def test_importing_the_harness_loads_no_torch() -> None:
    heavy = {"torch", "optuna", "wandb", "matplotlib", "pandas"}
    code = f"import sys, harness; dir(harness); print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
