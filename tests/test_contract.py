"""Every registered entry keeps the contract; whatever is registered is checked here without being named."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from harness.recipe import Choice, choose, find_recipe
from harness.recipe.registry import (
    Registry,
    datasets,
    discriminators,
    generators,
    losses,
    metrics,
    optimizers,
    recipes,
)
from harness.testing import (
    check_dataset,
    check_discriminator,
    check_generator,
    check_loss,
    check_metric,
    check_optimizer,
    check_recipe,
)

SHAPES: tuple[tuple[int, ...], ...] = ((2,), (1, 8, 8), (1, 28, 28), (3, 64, 64))
NUM_CLASSES = 10


def entries(**registries: Registry[Any]) -> list[Any]:
    """Every entry of some registries, as a parameter named after it."""
    return [
        pytest.param(registry, name, id=f"{kind}-{name}")
        for kind, registry in registries.items()
        for name in registry.names()
    ]


def shape_for(registry: Registry[Any], name: str) -> tuple[int, ...]:
    """The smallest kind of sample that the network takes."""
    refusals = []
    for shape in SHAPES:
        try:
            registry[name](sample_shape=shape, num_classes=NUM_CLASSES, **narrow(registry, name))
        except ValueError as refusal:
            refusals.append(str(refusal))
        else:
            return shape
    raise AssertionError(f"{registry.noun} {name} takes none of {SHAPES}: {refusals}")


def narrow(registry: Registry[Any], name: str) -> dict[str, Any]:
    return {"width": 0.25} if "width" in registry.options(name) else {}


def quick(name: str) -> dict[str, Any]:
    """Changes that give a recipe narrow networks, and data that is sure to be there."""
    recipe = find_recipe(name)
    changes: dict[str, Any] = {"evaluate.num_samples": 100}
    changes |= {key: 0.25 for key in ("generator.width", "discriminator.width") if key in recipe.flat()}
    widths = ("generator.base_channels", "discriminator.base_channels")
    changes |= {key: 64 for key in widths if key in recipe.flat()}
    if "size" in recipe.data.options:
        changes |= {"data.name": "digits", "data.size": 8}
    return changes


@pytest.mark.parametrize(("registry", "name"), entries(generator=generators, discriminator=discriminators))
def test_a_network_keeps_the_contract(registry: Registry[Any], name: str) -> None:
    check = check_generator if registry is generators else check_discriminator
    check(
        name,
        sample_shape=shape_for(registry, name),
        num_classes=NUM_CLASSES,
        options=narrow(registry, name),
    )


@pytest.mark.parametrize("name", losses.names())
def test_a_loss_keeps_the_contract(name: str) -> None:
    check_loss(name)


@pytest.mark.parametrize("name", optimizers.names())
def test_an_optimizer_keeps_the_contract(name: str) -> None:
    check_optimizer(name, options={"weight_decay": 0.03})


@pytest.mark.parametrize("name", datasets.names())
def test_a_data_set_keeps_the_contract(name: str) -> None:
    try:
        check_dataset(name)
    except ValueError as error:
        pytest.skip(str(error))


def test_every_metric_keeps_the_contract() -> None:
    for name in metrics.names():
        check_metric(name)


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_keeps_the_contract(name: str) -> None:
    check_recipe(name, changes=quick(name))


@pytest.mark.parametrize(
    ("registry", "name"),
    entries(generator=generators, discriminator=discriminators, optimizer=optimizers, data=datasets),
)
def test_all_options_of_an_entry_are_resolved_and_survive_json(registry: Registry[Any], name: str) -> None:
    choice = choose(registry, name)
    assert set(choice.options) == set(registry.options(name))
    again = json.loads(json.dumps(dataclasses.asdict(choice)))
    assert Choice(**again) == choice
