"""Ablations of GAN design choices, with seeds, intervals and paired tests.

    from harness import find_recipe, load_study, run_study, train

    if __name__ == "__main__":  # workers are processes of their own
        result = train(find_recipe("points-gan").override({"optimizer.name": "adam"}), seed=3)
        found = run_study(load_study("optimizers", smoke=True))
        print(found.headline)

Each name is loaded when it is first asked for, so that ``import harness`` is fast and loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from harness.recipe import registry
from harness.version import __version__

if TYPE_CHECKING:
    from harness.analysis.result import StudyResult as StudyResult
    from harness.analysis.result import load_results as load_results
    from harness.data import Dataset as Dataset
    from harness.evaluation import Evaluation as Evaluation
    from harness.evaluation import evaluate as evaluate
    from harness.execution.launch import run_study as run_study
    from harness.execution.single import train as train
    from harness.metrics.catalogue import Metric as Metric
    from harness.metrics.catalogue import register_metric as register_metric
    from harness.planning.planner import plan_study as plan_study
    from harness.recipe import Loss as Loss
    from harness.recipe import Recipe as Recipe
    from harness.recipe import find_recipe as find_recipe
    from harness.recipe import list_recipes as list_recipes
    from harness.recipe.registry import register_dataset as register_dataset
    from harness.recipe.registry import register_discriminator as register_discriminator
    from harness.recipe.registry import register_generator as register_generator
    from harness.recipe.registry import register_loss as register_loss
    from harness.recipe.registry import register_optimizer as register_optimizer
    from harness.recipe.registry import register_recipe as register_recipe
    from harness.report.page import write_report as write_report
    from harness.runs.load import Run as Run
    from harness.runs.load import load_run as load_run
    from harness.runs.result import RunResult as RunResult
    from harness.study.find import list_studies as list_studies
    from harness.study.study import Study as Study
    from harness.study.study import load_study as load_study

_HOMES = {
    "Dataset": "harness.data",
    "Evaluation": "harness.evaluation",
    "Loss": "harness.recipe",
    "Metric": "harness.metrics.catalogue",
    "Recipe": "harness.recipe",
    "Run": "harness.runs.load",
    "RunResult": "harness.runs.result",
    "Study": "harness.study.study",
    "StudyResult": "harness.analysis.result",
    "evaluate": "harness.evaluation",
    "find_recipe": "harness.recipe",
    "list_recipes": "harness.recipe",
    "list_studies": "harness.study.find",
    "load_results": "harness.analysis.result",
    "load_run": "harness.runs.load",
    "load_study": "harness.study.study",
    "plan_study": "harness.planning.planner",
    "register_dataset": "harness.recipe.registry",
    "register_discriminator": "harness.recipe.registry",
    "register_generator": "harness.recipe.registry",
    "register_loss": "harness.recipe.registry",
    "register_metric": "harness.metrics.catalogue",
    "register_optimizer": "harness.recipe.registry",
    "register_recipe": "harness.recipe.registry",
    "run_study": "harness.execution.launch",
    "train": "harness.execution.single",
    "write_report": "harness.report.page",
}
"""Where each public name is found."""

__all__ = [
    "Dataset",
    "Evaluation",
    "Loss",
    "Metric",
    "Recipe",
    "Run",
    "RunResult",
    "Study",
    "StudyResult",
    "__version__",
    "evaluate",
    "find_recipe",
    "list_recipes",
    "list_studies",
    "load_results",
    "load_run",
    "load_study",
    "plan_study",
    "register_dataset",
    "register_discriminator",
    "register_generator",
    "register_loss",
    "register_metric",
    "register_optimizer",
    "register_recipe",
    "run_study",
    "train",
    "write_report",
]

for _registry, _module in (
    (registry.generators, "gan_sweep_models"),
    (registry.discriminators, "gan_sweep_models"),
    (registry.datasets, "harness.data"),
    (registry.losses, "harness.objective.adversarial"),
    (registry.optimizers, "harness.optim.rules"),
    (registry.metrics, "harness.metrics.catalogue"),
    (registry.recipes, "harness.recipe.catalogue"),
):
    _registry.provide(_module)
    _registry.provide("harness.recipe.entry_points")


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'harness' has no attribute '{name}'")


def __dir__() -> list[str]:
    return list(__all__)
