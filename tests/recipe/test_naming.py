"""Claims about keys of other people's files: each is led to the setting that it means here."""

from __future__ import annotations

import pytest

from harness import find_recipe
from harness.recipe import naming
from harness.recipe.naming import called_elsewhere, nearest_key
from harness.recipe.registry import datasets, discriminators, generators, optimizers

MEANT = {
    "learning_rate": "optimizer.lr",
    "lr": "optimizer.lr",
    "trainer.Learning-Rate": "optimizer.lr",
    "optimizer.params.lr": "optimizer.lr",
    "optimiser.lr": "optimizer.lr",
    "lr_g": "generator_optimizer.lr",
    "generator.lr": "generator_optimizer.lr",
    "batch_size": "train.batch_size",
    "trainer.batch_size": "train.batch_size",
    "epochs": "train.epochs",
    "num_epochs": "train.epochs",
    "beta1": "optimizer.beta1",
    "optimizer": "optimizer.name",
    "dataset": "data.name",
    "dataset.name": "data.name",
    "n_critic": "train.discriminator_steps",
    "lambda_gp": "loss.gradient_penalty",
    "nz": "generator.latent_dim",
    "depht": "generator.depth",
    "wieght_decay": "optimizer.weight_decay",
}


def test_a_key_is_matched_by_its_last_part(subtests: pytest.Subtests) -> None:
    keys = find_recipe("points-gan").keys()
    for key, meant in MEANT.items():
        with subtests.test(key=key):
            assert nearest_key(key, keys) == f"; did you mean `{meant}`?"


def test_a_key_like_none_gets_no_hint() -> None:
    assert nearest_key("foo", find_recipe("points-gan").keys()) == ""


def test_every_key_that_is_offered_is_one_of_some_entry() -> None:
    sections = {"optimizer": optimizers, "data": datasets, "generator": generators} | {
        "discriminator": discriminators,
        "generator_optimizer": optimizers,
        "discriminator_optimizer": optimizers,
    }
    known = set(find_recipe("points-gan").keys())
    for section, registry in sections.items():
        known |= {f"{section}.{option}" for name in registry.names() for option in registry.options(name)}
    assert {called_elsewhere(alias) for alias in naming._ALIASES} <= known


def test_what_is_offered_for_a_key_is_taken(subtests: pytest.Subtests) -> None:
    recipe = find_recipe("points-gan").override({"optimizer.name": "adam"})
    for key, value in {
        "learning_rate": 1e-3,
        "lr": 1e-3,
        "batch_size": 64,
        "epochs": 3,
        "beta1": 0.5,
    }.items():
        with subtests.test(key=key):
            with pytest.raises(ValueError, match=f"unknown key `{key}`; did you mean `") as caught:
                recipe.override({key: value})
            offered = str(caught.value).split("did you mean `")[1].split("`")[0]
            assert (
                recipe.override({offered: value}).flat()[offered.replace("optim", "generator_optim")] == value
            )


OPTIONS = [
    (
        {"optimizer.beta1": 0.5},
        "no option `beta1`, but adam, adamw, optimistic-adam have; choose by `optim",
    ),
    ({"generator_optimizer.beta1": 0.5}, "have; choose by `generator_optimizer.name`"),
    ({"train.lr": 0.5}, "train has no option `lr`; did you mean `optimizer.lr`?"),
    ({"train.epoch": 3}, "train has no option `epoch`; did you mean `epochs`?"),
    ({"optimizer.learning_rate": 1}, "rmsprop has no option `learning_rate`; did you mean `lr`?"),
    ({"loss.lambda_gp": 10}, "did you mean `gradient_penalty`?"),
    (
        {"data.path": "faces"},
        "no option `path`, but image-folder, points-file have; choose by `data.name`",
    ),
    (
        {"seed": 3},
        "`seed`; a recipe has no seed: write `seeds` in a sweep file, or --seed behind",
    ),
    ({"train.reuse_fakes": "yes"}, "`train.reuse_fakes` must be true or false, but got 'yes'; write true."),
    ({"train.reuse_fakes": "Off"}, "but got 'Off'; write false."),
    ({"train.reuse_fakes": "maybe"}, "`train.reuse_fakes` must be true or false, but got 'maybe'."),
]


def test_an_option_that_is_missing_is_looked_for_elsewhere(subtests: pytest.Subtests) -> None:
    for changes, message in OPTIONS:
        with subtests.test(changes=changes):
            with pytest.raises(ValueError, match=r"`") as caught:
                find_recipe("points-gan").override(changes)
            assert message in str(caught.value)
