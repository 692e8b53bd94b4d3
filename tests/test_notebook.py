"""The harness in a Jupyter notebook, executed cell by cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

CELLS = (
    """
from dataclasses import replace
from harness import Study, find_recipe, load_run, register_recipe, run_study, train

TINY = {"train.epochs": 3, "train.batch_size": 512, "evaluate.num_samples": 100}

@register_recipe("nb-ring")
def nb_ring():
    "The ring, briefly."
    return replace(find_recipe("ring-gan").override(TINY), name="nb-ring")

result = train(find_recipe("nb-ring"), device="cpu", wandb="disabled")
load_run(result.run_id).sample(4).shape
""",
    """
study = Study(
    name="tiny",
    recipe=find_recipe("ring-gan").override(TINY),
    metric="sliced_w2",
    seeds=2,
    ablate={"optimizer.name": ["adam", "sgd"]},
    baseline={"optimizer.name": "adam"},
)
found = run_study(study, workers=2, device="cpu", wandb="disabled")
""",
    """
mine = Study(name="mine", recipe="nb-ring", metric="sliced_w2", seeds=2, parameters={"train.epochs": 2})
try:
    run_study(mine, workers=2, device="cpu", wandb="disabled")
except ValueError as error:
    print(error)
""",
    "found",
    "found.to_frame().groupby('arm')['sliced_w2_last'].count()",
)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of the notebook's machinery
def test_a_notebook_trains_a_recipe_of_its_own_and_a_study_with_workers(tmp_path: Path) -> None:
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell.strip()) for cell in CELLS])
    nbclient.NotebookClient(
        book, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    one, two, refused, shown, frame = ([dict(output) for output in cell.outputs] for cell in book.cells)
    assert texts(one) == "torch.Size([4, 2])"
    assert len(two) <= 3, "progress is drawn in one place"
    assert "4/4 runs" in html(two)
    assert "workers cannot import `nb-ring`: put it in a module" in str(refused)
    assert not (tmp_path / "runs" / "mine").exists()
    assert "<table>" in html(shown)
    assert {"adam", "sgd"} <= set(texts(frame).split())
    assert (tmp_path / "runs" / "tiny" / "report" / "index.html").exists()


def texts(outputs: list[dict[str, Any]]) -> str:
    return "".join(output.get("data", {}).get("text/plain", "") for output in outputs)


def html(outputs: list[dict[str, Any]]) -> str:
    return "".join(output.get("data", {}).get("text/html", "") for output in outputs)
