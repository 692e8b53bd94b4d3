"""Ablations of GAN design choices, with seeds, intervals and paired tests.

from harness import Study, find_recipe, run_study, train

result = train(find_recipe("points-gan").override({"optimizer.name": "adam"}), seed=3)
run_study(Study.load("sweeps/optimizers.yaml"))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from harness.recipe import registry
from harness.version import __version__

if TYPE_CHECKING:
    from harness.evaluation import Evaluation as Evaluation
    from harness.evaluation import evaluate as evaluate
    from harness.execution.launch import run_study as run_study
    from harness.execution.single import train as train
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
    "run_study",
    "train",
]

_HOMES = {
    "Evaluation": "harness.evaluation",
    "evaluate": "harness.evaluation",
    "Recipe": "harness.recipe",
    "RunResult": "harness.runs.result",
    "Study": "harness.study.study",
    "find_recipe": "harness.recipe",
    "run_study": "harness.execution.launch",
    "train": "harness.execution.single",
}

for _registry, _module in (
    (registry.generators, "gan_sweep_models"),
    (registry.discriminators, "gan_sweep_models"),
    (registry.datasets, "harness.data"),
    (registry.losses, "harness.objective.adversarial"),
    (registry.optimizers, "harness.optim.rules"),
    (registry.metrics, "harness.metrics.image_catalogue"),
    (registry.recipes, "harness.recipe.catalogue"),
):
    _registry.provide(_module)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'harness' has no attribute '{name}'")
