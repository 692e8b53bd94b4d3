"""Recipes: overrides, validation, JSON and fingerprints."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from harness.recipe import Choice, LossSettings, Recipe, TrainSettings, find_recipe, run_id
from harness.recipe.registry import recipes

IDS_AT_SEED_0 = {
    "points-gan": "90265068ce6b",
    "points-wgan": "909d043b0324",
    "points-wgan-gp": "71f02574bc9d",
    "points-wgan-gp-0.1": "4d3adb9c8a23",
    "points-wgan-gp-10": "d490f4155b9f",
    "ring-gan": "201ad8f5b562",
    "grid-gan": "805d877b2a9a",
    "fashion-gan": "551d80f2f72f",
    "fashion-dcgan": "c70e6545fa80",
    "fashion-cgan": "3a82ed16429c",
    "mnist-g1d1": "e6fb680ada56",
    "mnist-g2d2": "bf2eb8316a57",
    "mnist-g3d2": "e40ef8ff59bc",
    "faces-dcgan64": "a1fc053e5324",
    "faces-dcgan64-deep": "f9f4d049c18a",
    "cifar10-dcgan28": "f30f90c72e05",
    "cifar10-dcgan32": "402bd332d787",
    "cifar10-dcgan64": "3353cda725fd",
    "progan-fashion32": "ee03d5a7bf58",
    "progan-faces64": "6ca938790845",
    "progan-digits16": "31e88253639f",
    "digits-gan": "94e803ea303b",
    "digits-dcgan": "12877184820c",
    "digits-cgan": "6e8d58aac015",
    "digits-dcgan28": "4f9537d8cdd2",
    "digits-dcgan32": "bd55f3cc1e82",
    "digits-dcgan64": "6257a8fc33e9",
}
"""Finished runs are found by these: no change may move them."""


@pytest.fixture
def recipe() -> Recipe:
    return find_recipe("points-gan")


def test_every_recipe_survives_json(subtests: pytest.Subtests) -> None:
    for name in recipes.names():
        with subtests.test(name=name):
            recipe = find_recipe(name)
            again = Recipe.from_json(json.loads(json.dumps(recipe.to_json())))
            assert again == recipe
            assert again.fingerprint == recipe.fingerprint
            assert recipe.name == name
            assert recipe.description


def test_a_shared_optimizer_key_reaches_both_networks(recipe: Recipe) -> None:
    changed = recipe.override({"optimizer.lr": 1e-3})
    assert changed.generator_optimizer.options["lr"] == 1e-3
    assert changed.discriminator_optimizer.options["lr"] == 1e-3


@pytest.mark.parametrize("first", [True, False])
def test_a_network_s_own_optimizer_key_goes_before_the_shared_one(recipe: Recipe, first: bool) -> None:
    keys = {"discriminator_optimizer.lr": 2e-4, "optimizer.lr": 1e-3}
    changed = recipe.override(keys if first else dict(reversed(keys.items())))
    assert changed.discriminator_optimizer.options["lr"] == 2e-4
    assert changed.generator_optimizer.options["lr"] == 1e-3


def test_another_optimizer_keeps_the_learning_rate_and_takes_its_own_defaults(recipe: Recipe) -> None:
    adam = recipe.override({"optimizer.name": "adam"}).generator_optimizer
    assert adam.name == "adam"
    assert adam.options["lr"] == 5e-5
    assert adam.options["beta1"] == 0.9
    assert "alpha" not in adam.options


def test_the_order_of_overrides_does_not_matter(recipe: Recipe) -> None:
    keys: dict[str, object] = {"optimizer.beta1": 0.5, "optimizer.name": "adam", "train.epochs": 3}
    assert recipe.override(keys) == recipe.override(dict(reversed(keys.items())))


def test_the_original_is_not_changed(recipe: Recipe) -> None:
    before = recipe.to_json()
    recipe.override({"optimizer.name": "sgd", "generator.depth": 2})
    assert recipe.to_json() == before


def test_a_recipe_made_of_numpy_scalars_is_the_same_experiment(recipe: Recipe) -> None:
    plain = recipe.override({"optimizer.lr": 0.1, "train.epochs": 3})
    assert recipe.override({"optimizer.lr": np.float32(0.1), "train.epochs": np.int64(3)}) == plain
    options = {**plain.generator_optimizer.options, "lr": np.float32(0.1)}
    made = dataclasses.replace(
        recipe.override({"discriminator_optimizer.lr": np.float64(0.1)}),
        generator_optimizer=Choice(name=plain.generator_optimizer.name, options=options),
        train=dataclasses.replace(plain.train, epochs=np.int32(3)),
    )
    assert made == plain
    assert made.fingerprint == plain.fingerprint


def test_every_flat_key_can_be_overridden_with_its_own_value(recipe: Recipe) -> None:
    assert recipe.override(recipe.flat()) == recipe
    assert set(recipe.flat()) <= set(recipe.keys())


BAD_OVERRIDES = [
    ({"optimiser.lr": 1e-3}, "unknown key `optimiser.lr`; did you mean `optimizer.lr`?"),
    ({"lr": 1e-3}, "unknown key `lr`"),
    ({"optimizer.": 1e-3}, "unknown key `optimizer.`"),
    ({"optimizer.name": "adm"}, "`optimizer.name`: unknown optimizer `adm`; did you mean `adam`?"),
    ({"optimizer.name": 3}, "`optimizer.name`: unknown optimizer `3`"),
    ({"loss.name": 3}, "`loss.name` must be a string, but got 3."),
    ({"optimizer.momentun": 0.5}, "`optimizer.momentun`: rmsprop has no option `momentun`; did you mean"),
    ({"optimizer.lr": -0.1}, "`optimizer.lr` must be positive, but got -0.1."),
    ({"optimizer.lr": float("nan")}, "`optimizer.lr` must be finite, but got nan."),
    ({"optimizer.lr": "fast"}, "`optimizer.lr` must be a number, but got 'fast'."),
    ({"loss.name": "wassertein"}, "`loss.name`: unknown loss `wassertein`; did you mean `wasserstein`?"),
    (
        {"loss.early_generator": "minmax"},
        "`loss.early_generator`: unknown loss `minmax`; did you mean `minimax`?",
    ),
    ({"loss.clamp": 120}, "`loss.clamp` must be in [0, 100], but got 120."),
    ({"loss.generator_scale": 0}, "`loss.generator_scale` must be positive, but got 0."),
    ({"loss.early_steps": -1}, "`loss.early_steps` must be zero or more, but got -1."),
    ({"evaluate.num_grids": 0.5}, "`evaluate.num_grids` must be an integer, but got 0.5."),
    ({"loss.gradient_penalty": -1}, "`loss.gradient_penalty` must be zero or more, but got -1."),
    ({"train.epochs": 0}, "`train.epochs` must be in [1, 1000000], but got 0."),
    ({"train.order": "both"}, "`train.order` must be one of discriminator-first, generator-first"),
    ({"generator.name": "points-mpl"}, "`generator.name`: unknown generator `points-mpl`"),
    ({"data.name": "pionts"}, "`data.name`: unknown data set `pionts`; did you mean `points`?"),
    ({"generator.width": 0.0}, "`generator.width` must be in (0, 64], but got 0."),
]


def test_a_bad_override_is_one_clear_line(recipe: Recipe, subtests: pytest.Subtests) -> None:
    for changes, message in BAD_OVERRIDES:
        with subtests.test(changes=changes):
            with pytest.raises(ValueError, match="`") as caught:
                recipe.override(changes)
            assert str(caught.value).startswith(message)
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("loss", ["wasserstein", "hinge", "relativistic", "minimax", "non-saturating"])
def test_a_loss_on_scores_refuses_a_sigmoid(recipe: Recipe, loss: str) -> None:
    with pytest.raises(
        ValueError, match=r"`discriminator.sigmoid` is true; set discriminator.sigmoid to false"
    ):
        recipe.override({"loss.name": loss, "discriminator.sigmoid": True})


def test_an_early_loss_on_scores_refuses_a_sigmoid(recipe: Recipe) -> None:
    changes: dict[str, object] = {"loss.name": "least-squares", "discriminator.sigmoid": True}
    with pytest.raises(ValueError, match=r"`loss.early_generator` hinge needs unbounded scores"):
        recipe.override({**changes, "loss.early_generator": "hinge"})


def test_least_squares_takes_a_sigmoid(recipe: Recipe) -> None:
    changed = recipe.override({"loss.name": "least-squares", "discriminator.sigmoid": True})
    assert changed.discriminator.options["sigmoid"] is True


def test_reused_fakes_are_refused_where_several_critic_steps_would_see_the_same(recipe: Recipe) -> None:
    changes: dict[str, object] = {"train.order": "generator-first", "train.discriminator_steps": 5}
    with pytest.raises(ValueError, match="shows all 5 D steps the same fakes"):
        recipe.override({**changes, "train.reuse_fakes": True})


def test_known_trouble_is_warned_of(recipe: Recipe) -> None:
    assert find_recipe("points-gan").warnings() == []
    clipped = find_recipe("points-wgan").override({"optimizer.name": "adam"})
    assert any("a clipped critic and momentum" in line for line in clipped.warnings())
    clamped = find_recipe("points-wgan").override({"loss.clamp": 100})
    assert any("loss.clamp 100 has no effect on the loss wasserstein" in w for w in clamped.warnings())
    for half in ({"loss.early_steps": 9}, {"loss.early_generator": "minimax"}):
        assert any("changes nothing; both are needed" in w for w in recipe.override(half).warnings())
    unclipped = find_recipe("points-wgan").override({"loss.weight_clip": 0})
    assert any("not Lipschitz" in line for line in unclipped.warnings())


def test_a_fingerprint_covers_every_setting_and_no_name(recipe: Recipe) -> None:
    renamed = dataclasses.replace(recipe, name="other", description="another text")
    assert renamed.fingerprint == recipe.fingerprint
    changes: list[dict[str, object]] = [
        {"optimizer.lr": 6e-5},
        {"train.epochs": 321},
        {"generator.depth": 1},
        {"evaluate.num_samples": 1201},
        {"loss.r1": 0.1},
    ]
    prints = {recipe.override(change).fingerprint for change in changes}
    assert len(prints | {recipe.fingerprint}) == len(changes) + 1


def test_a_run_id_depends_on_recipe_and_seed(recipe: Recipe) -> None:
    ids = {run_id(recipe, 0), run_id(recipe, 1), run_id(recipe.override({"optimizer.lr": 1e-4}), 0)}
    assert len(ids) == 3
    assert all(len(name) == 12 and int(name, 16) >= 0 for name in ids)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda j: j.pop("loss"), "section `loss` is missing"),
        (lambda j: j.update(extra={}), "unknown section `extra`"),
        (lambda j: j["loss"].update(weird=1), "`loss.weird`: loss has no option `weird`"),
        (lambda j: j["generator"].update(name="gone"), "unknown generator `gone`"),
        (lambda j: j["generator"].pop("depth"), "`generator` lacks depth"),
        (lambda j: j["train"].update(epochs=-1), "`train.epochs` must be in [1, 1000000]"),
    ],
)
def test_a_broken_file_is_not_read_as_a_recipe(recipe: Recipe, broken: Any, message: str) -> None:
    nested = json.loads(json.dumps(recipe.to_json()))
    broken(nested)
    with pytest.raises(ValueError, match="`") as caught:
        Recipe.from_json(nested)
    assert message in str(caught.value)


def test_settings_made_directly_are_checked_too(recipe: Recipe) -> None:
    with pytest.raises(ValueError, match=r"`train.batch_size` must be in \[2, 1000000\], but got 1\."):
        dataclasses.replace(recipe, train=TrainSettings(batch_size=1))
    with pytest.raises(ValueError, match=r"unknown loss `magic`"):
        dataclasses.replace(recipe, loss=LossSettings(name="magic"))


def test_the_ids_of_the_harness_s_own_recipes_are_those_of_finished_runs() -> None:
    assert {name: run_id(find_recipe(name), 0) for name in recipes.names()} == IDS_AT_SEED_0


def test_what_is_no_mapping_of_settings_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`override` takes settings by dotted key, .* but got 3\."):
        find_recipe("points-gan").override(3)  # type: ignore[arg-type]
