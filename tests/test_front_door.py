"""The front door: what `from harness import` gives."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import harness
from harness import Study
from support.synthetic_study import OPTIMIZERS, make_ablation

LISTED = (
    *("Recipe", "find_recipe", "list_recipes"),
    *("Study", "load_study", "list_studies", "plan_study", "run_study"),
    *("StudyResult", "load_results", "write_report"),
    *("train", "RunResult", "Run", "load_run", "evaluate", "Evaluation"),
    *("register_generator", "register_discriminator", "register_dataset", "register_loss"),
    *("register_optimizer", "register_metric", "register_recipe", "Dataset", "Loss", "Metric"),
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


EXAMPLES = (
    *("find_recipe", "list_recipes", "Study", "load_study", "list_studies", "plan_study", "train"),
    *(
        "StudyResult",
        "load_results",
        "write_report",
        "load_run",
        "evaluate",
        "register_generator",
        "register_metric",
    ),
)
SHOWN = ("StudyResult", "load_results", "write_report")
"""Those whose examples look at a study that is there."""
RUNNER = """
import doctest, os, sys
import harness

def run(names):
    failed = 0
    for name in names:
        os.chdir(name)
        entry, space = getattr(harness, name), {"__name__": "__main__"}
        (example,) = doctest.DocTestFinder(recurse=False).find(entry, name, module=False, globs=space)
        assert example.examples, f"{name} has no example"
        failed += doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example).failed
        os.chdir("..")
    sys.exit(failed)

if __name__ == "__main__":  # the workers import this file
    run(sys.argv[1:])
"""


def run_examples(folder: Path, *names: str) -> None:
    """Run the examples in the docstrings of these names, each in a folder of its own, in another process."""
    for name in names:
        (folder / name).mkdir()
        if name in SHOWN:
            text = OPTIMIZERS.replace("name: optimizers", "name: optimizers-smoke")
            make_ablation(folder / name / "runs", Study.parse(text, seeds=3))
    file = folder / "examples.py"
    file.write_text(RUNNER)
    done = subprocess.run(
        [sys.executable, file, *names], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_examples_of_the_entry_points_run(tmp_path: Path) -> None:
    run_examples(tmp_path, *EXAMPLES)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_example_of_a_whole_study_runs(tmp_path: Path) -> None:
    run_examples(tmp_path, "run_study")


def test_every_function_and_maker_has_an_example() -> None:
    types = {"Recipe", "Run", "RunResult", "Evaluation", "Dataset", "Loss", "Metric"}
    for name in set(LISTED) - types:
        assert ">>>" in getattr(harness, name).__doc__, f"{name} has no example"
