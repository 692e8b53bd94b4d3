"""What one run is: registry, settings, recipe, catalogue, and networks built and checked."""

from __future__ import annotations

from harness.recipe.loss import Loss
from harness.recipe.recipe import Choice, Recipe, choose, find_recipe, list_recipes, run_id
from harness.recipe.settings import EvaluateSettings, LossSettings, TrainSettings

__all__ = [
    "Choice",
    "EvaluateSettings",
    "Loss",
    "LossSettings",
    "Recipe",
    "TrainSettings",
    "choose",
    "find_recipe",
    "list_recipes",
    "run_id",
]
