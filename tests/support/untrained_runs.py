"""Folders of finished runs whose generators were never trained, for tests of what reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from harness.data import outline
from harness.engine import checkpoint as checkpoints
from harness.recipe import LossSettings, Recipe, choose, run_id
from harness.recipe.networks import build_generator
from harness.recipe.registry import datasets, discriminators, generators, optimizers

DIMS = 6


def make_recipe(generator: str = "mnist-g1", data: str = "digits") -> Recipe:
    adam = choose(optimizers, "adam", lr=2e-4)
    return Recipe(
        name=f"{data}-{generator}",
        data=choose(datasets, data),
        generator=choose(generators, generator, latent_dim=DIMS),
        discriminator=choose(
            discriminators, {"mnist-g1": "mnist-d1", "tiny-mlp": "tiny-mlp"}.get(generator, generator)
        ),
        loss=LossSettings(name="non-saturating"),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
    )


def make_run(
    runs: Path, recipe: Recipe, *, seed: int = 4, study: str = "train", averaged: bool = False
) -> tuple[Path, nn.Module]:
    """A finished run's folder with an untrained generator, and that generator."""
    torch.manual_seed(seed)
    known = outline(recipe.data)
    generator, other = (
        build_generator(recipe, known.sample_shape, known.num_classes).eval() for _ in range(2)
    )
    folder = runs / study / "runs" / run_id(recipe, seed)
    folder.mkdir(parents=True)
    (folder / "recipe.json").write_text(json.dumps(recipe.to_json()))
    state: dict[str, Any] = {"seed": seed, "step": 120, "generator": dict(generator.state_dict())}
    if averaged:
        state["generator_average"] = dict(other.state_dict())
    checkpoints.save(folder / "checkpoint.pt", state)
    return folder, other if averaged else generator


def make_small_run(folder: Path, name: str = "dcgan-28", *, best: bool = False, **options: Any) -> Path:
    """A finished run of an untrained generator of 8×8 at step 7, and a best checkpoint of other weights."""
    adam = choose(optimizers, "adam", lr=1e-3)
    recipe = Recipe(
        name="made",
        data=choose(datasets, "digits", size=8),
        generator=choose(generators, name, **options),
        discriminator=choose(discriminators, "dcgan-28"),
        loss=LossSettings(),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
    )
    path = folder / "study" / "runs" / run_id(recipe, 0)
    path.mkdir(parents=True)
    (path / "recipe.json").write_text(json.dumps(recipe.to_json()))
    for number, file in enumerate(["checkpoint.pt", "best.pt"][: 1 + best]):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(number)
            generator = build_generator(recipe, (1, 8, 8), 10)
        state = {"seed": 0, "step": 7 - 3 * number, "generator": generator.state_dict()}
        checkpoints.save(path / file, state)
    return path
