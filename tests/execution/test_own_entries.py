"""A study of other people's entries by command line alone, from a folder of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.plugin import write_plugin

ROOT = Path(__file__).parents[2]


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`harness` as a user gives it in a folder."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", "harness", *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path, "WANDB_MODE": "disabled", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def output(folder: Path, *words: str) -> str:
    done = command(folder, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def python(folder: Path, script: str) -> str:
    """What a script prints that is run in a folder, in a process of its own."""
    words = [sys.executable, "-c", script]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True).stdout


def ids(folder: Path) -> set[str]:
    return {path.parent.name for path in folder.glob("runs/own/runs/*/result.json")}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_study_of_own_entries_runs_by_command_line_and_anew_once_their_code_changes(tmp_path: Path) -> None:
    package = write_plugin(tmp_path)
    assert "4 runs, 0 of them exist" in output(tmp_path, "plan", "own.yaml")
    assert "report: " in output(tmp_path, "sweep", "own.yaml", "--workers", "2")
    first = ids(tmp_path)
    assert len(first) == 4
    assert "4 runs, 4 of them exist." in output(tmp_path, "plan", "own.yaml")
    assert "report: " in output(tmp_path, "report", "own.yaml")
    assert "own-mlp" in output(tmp_path, "list", "generators", "--import", "my_gan.nets")
    shown = output(tmp_path, "show", "ring-gan", "--import", "my_gan.nets", "--set", "loss.name=hinge-top-k")
    assert "loss.top_k" in shown
    plan = json.loads((tmp_path / "runs/own/plan.json").read_text())
    assert [record["module"] for record in plan["imports"]] == ["my_gan.nets"]

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    run = tmp_path / "runs/own/runs" / min(first)
    assert "sliced" in output(elsewhere, "evaluate", str(run)), "the run's record says what it needs"

    (package / "sizes.py").write_text("WIDTH = 9\n")
    sentence = "`my_gan/sizes.py` has changed since these runs; a sweep trains them anew."
    assert sentence in output(tmp_path, "plan", "own.yaml")
    assert sentence in output(tmp_path, "report", "own.yaml")
    refused = command(elsewhere, "evaluate", str(run))
    assert refused.returncode == 2
    assert "`my_gan/sizes.py` changed since; train the run again." in refused.stderr
    assert sentence in output(tmp_path, "sweep", "own.yaml", "--workers", "2")
    assert len(ids(tmp_path)) == 8
    found = python(
        tmp_path,
        "from harness import load_results\nfor run in load_results('runs/own').runs: print(run.run_id)",
    )
    assert set(found.split()) == ids(tmp_path) - first
    assert "has changed" not in output(tmp_path, "plan", "own.yaml")

    package.rename(tmp_path / "moved")
    refused = command(elsewhere, "evaluate", str(run))
    assert refused.returncode == 2
    assert "needs module `my_gan.nets`" in refused.stderr
    assert "--import my_gan.nets" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_worker_with_other_code_than_the_plan_s_refuses(tmp_path: Path) -> None:
    package = write_plugin(tmp_path)
    output(tmp_path, "sweep", "own.yaml", "--set", "train.epochs=1")
    (package / "sizes.py").write_text("WIDTH = 9\n")
    script = (
        "from pathlib import Path\nfrom harness.execution.worker import Worker\n"
        "try:\n    Worker(Path('runs/own'))\nexcept ValueError as error:\n    print(error)\n"
    )
    assert "`my_gan/sizes.py` has changed since" in python(tmp_path, script)


def test_workers_refuse_entries_that_they_cannot_import(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "from torch import nn\n"
        "from harness import Study, find_recipe, register_generator, run_study, train\n\n"
        "@register_generator('nb-mlp')\n"
        "class Own(nn.Module):\n"
        "    def __init__(self, *, sample_shape: tuple, num_classes: int, latent_dim: int = 4) -> None:\n"
        "        super().__init__()\n"
        "        self.layer = nn.Linear(latent_dim, sample_shape[0])\n\n"
        "    def forward(self, z):\n"
        "        return self.layer(z)\n\n"
        "if __name__ == '__main__':\n"
        "    short = {'train.epochs': 1, 'evaluate.every_epochs': 1, 'evaluate.num_samples': 200}\n"
        "    own = find_recipe('ring-gan').override({'generator.name': 'nb-mlp', **short})\n"
        "    print(train(own, wandb='disabled').outcome)\n"
        "    settings = {'generator.name': 'nb-mlp', **short}\n"
        "    study = Study(name='own', recipe='ring-gan', metric='sliced_w2', parameters=settings)\n"
        "    try:\n"
        "        run_study(study, wandb='disabled')\n"
        "    except ValueError as error:\n"
        "        print(error)\n"
    )
    assert python(
        tmp_path, "import runpy; runpy.run_path('script.py', run_name='__main__')"
    ).splitlines() == [
        "completed",
        "workers cannot import `nb-mlp`: put it in a module and name that in `imports`.",
    ]
    assert not (tmp_path / "runs" / "own").exists()
