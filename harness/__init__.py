"""Ablations of GAN design choices, with seeds, intervals and paired tests.

from harness import Study, find_recipe, train

result = train(find_recipe("points-gan").override({"optimizer.name": "adam"}), seed=3)
Study.load("sweeps/optimizers.yaml").run()
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.evaluation import Evaluation as Evaluation
    from harness.evaluation import evaluate as evaluate
    from harness.execution.worker import train as train
    from harness.recipe import Recipe as Recipe
    from harness.recipe import find_recipe as find_recipe
    from harness.runs.result import RunResult as RunResult
    from harness.study.study import Study as Study

__all__ = [
    "Evaluation",
    "Recipe",
    "RunResult",
    "Study",
    "__version__",
    "evaluate",
    "find_recipe",
    "train",
]

__version__ = "0.1.0"

_HOMES = {
    "Evaluation": "harness.evaluation",
    "evaluate": "harness.evaluation",
    "Recipe": "harness.recipe",
    "RunResult": "harness.runs.result",
    "Study": "harness.study.study",
    "find_recipe": "harness.recipe",
    "train": "harness.execution.worker",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'harness' has no attribute '{name}'")
