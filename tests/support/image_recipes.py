"""Recipes of images small enough for tests."""

from __future__ import annotations

from harness.recipe import Recipe, find_recipe

SMALL: dict[str, object] = {
    "data.limit": 256,
    "train.batch_size": 32,
    "train.epochs": 2,
    "evaluate.every_epochs": 1,
    "evaluate.num_samples": 100,
    "evaluate.num_grids": 6,
    "generator.width": 0.25,
    "discriminator.width": 0.25,
}


def small(name: str = "digits-gan", **changes: object) -> Recipe:
    """16 steps on 256 digits; `changes` have double underscores for dots."""
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    return find_recipe(name).override(SMALL | dotted)
