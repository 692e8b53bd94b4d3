"""What every registered entry must keep to; whatever is registered is tested here without being named."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.data import Dataset, load_dataset
from harness.engine import checkpoint
from harness.engine.events import EvaluationDue
from harness.engine.population import Population
from harness.engine.trainer import Trainer
from harness.recipe import Choice, Recipe, choose, find_recipe
from harness.recipe.registry import (
    Registry,
    datasets,
    discriminators,
    generators,
    losses,
    optimizers,
    recipes,
)

NETWORKS = [("generator", name) for name in generators.names()]
NETWORKS += [("discriminator", name) for name in discriminators.names()]
SHAPES: tuple[tuple[int, ...], ...] = ((2,), (1, 8, 8), (1, 28, 28), (3, 64, 64))
NUM_CLASSES = 10
BATCH = 6


def registry_of(kind: str) -> Registry[Any]:
    return generators if kind == "generator" else discriminators


def shape_for(kind: str, name: str) -> tuple[int, ...]:
    """The smallest kind of sample that the network takes."""
    refusals = []
    for shape in SHAPES:
        try:
            built(kind, name, shape, seed=0)
        except ValueError as refusal:
            refusals.append(str(refusal))
        else:
            return shape
    raise AssertionError(f"{kind} {name} takes none of {SHAPES}: {refusals}")


def built(kind: str, name: str, shape: tuple[int, ...], *, seed: int) -> nn.Module:
    """A narrow network from its own seed."""
    entry = registry_of(kind)
    options = {"width": 0.25} if "width" in entry.options(name) else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = entry[name](sample_shape=shape, num_classes=NUM_CLASSES, **options)
    return network


def inputs(kind: str, name: str, shape: tuple[int, ...], network: nn.Module) -> tuple[Tensor, ...]:
    """A batch for it; classes too where it takes them."""
    draw = torch.Generator().manual_seed(1)
    latent_dim = int(str(choose(registry_of(kind), name).options.get("latent_dim", 0)))
    first = torch.randn(BATCH, *((latent_dim,) if kind == "generator" else shape), generator=draw)
    if not getattr(network, "takes_labels", False):
        return (first,)
    return first, torch.randint(NUM_CLASSES, (BATCH,), generator=draw)


def phases(network: nn.Module) -> Iterator[None]:
    """Put a network that grows through all its sizes; another has one."""
    if not hasattr(network, "grow"):
        yield
        return
    growing: Any = network
    for level in range(growing.num_levels):
        growing.grow(level)
        yield


def quick(name: str) -> Recipe:
    """Any recipe with narrow networks, three short epochs and data that is sure to be there."""
    recipe = find_recipe(name)
    changes: dict[str, Any] = {"train.epochs": 3, "evaluate.every_epochs": 1, "evaluate.num_samples": 100}
    changes["train.batch_size"] = 32
    changes |= {key: 0.25 for key in ("generator.width", "discriminator.width") if key in recipe.flat()}
    widths = ("generator.base_channels", "discriminator.base_channels")
    changes |= {key: 64 for key in widths if key in recipe.flat()}
    if recipe.train.grow_images:
        changes["train.grow_images"] = 200  # of 480: the first two evaluations come as a level is faded in
    if "size" in recipe.data.options:
        changes |= {"data.name": "digits", "data.size": 8}
    return recipe.override(changes)


def trainer_of(recipe: Recipe, dataset: Dataset) -> Trainer:
    return Trainer(Population([recipe, recipe], [0, 5], dataset=dataset), dataset)


def little(recipe: Recipe) -> Dataset:
    """At most 160 of the recipe's samples: five steps an epoch."""
    whole = load_dataset(recipe.data)
    labels = None if whole.train_labels is None else whole.train_labels[:160]
    return dataclasses.replace(whole, train=whole.train[:160], train_labels=labels)


def weights_of(trainer: Trainer) -> list[Tensor]:
    population = trainer.population
    return [population.generator.matrix.clone(), population.discriminator.matrix.clone()]


@pytest.mark.parametrize(("kind", "name"), NETWORKS)
def test_a_network_maps_a_batch_to_samples_or_scores(kind: str, name: str) -> None:
    shape = shape_for(kind, name)
    network = built(kind, name, shape, seed=0)
    output = network(*inputs(kind, name, shape, network))
    assert output.shape == ((BATCH, *shape) if kind == "generator" else (BATCH,))
    assert output.isfinite().all()
    assert output.std() > 0


@pytest.mark.parametrize(("kind", "name"), NETWORKS)
def test_gradients_reach_every_parameter(kind: str, name: str) -> None:
    shape = shape_for(kind, name)
    network = built(kind, name, shape, seed=0).eval()  # batch norm takes a bias before it out while it trains
    untouched = {key for key, parameter in network.named_parameters() if parameter.requires_grad}
    for _ in phases(network):
        network.zero_grad()
        output = network(*inputs(kind, name, shape, network))
        output.backward(torch.linspace(0, 1, output.numel()).view_as(output))
        untouched -= {key for key, p in network.named_parameters() if p.grad is not None and p.grad.any()}
    assert not untouched


@pytest.mark.parametrize(("kind", "name"), NETWORKS)
def test_a_network_is_its_seed_and_its_saved_state(kind: str, name: str, tmp_path: Path) -> None:
    shape = shape_for(kind, name)
    first, again, other = (built(kind, name, shape, seed=seed).eval() for seed in (0, 0, 1))
    given = inputs(kind, name, shape, first)
    assert torch.equal(first(*given), again(*given))
    assert not torch.equal(first(*given), other(*given))
    checkpoint.save(tmp_path / "network.pt", dict(first.state_dict()))
    other.load_state_dict(checkpoint.load(tmp_path / "network.pt"))
    assert torch.equal(first(*given), other(*given))


@pytest.mark.parametrize(
    ("registry", "name"),
    [
        pytest.param(registry, name, id=f"{kind}-{name}")
        for kind, registry in {
            "generator": generators,
            "discriminator": discriminators,
            "optimizer": optimizers,
            "data": datasets,
        }.items()
        for name in registry.names()
    ],
)
def test_all_options_of_an_entry_are_resolved_and_survive_json(registry: Registry[Any], name: str) -> None:
    choice = choose(registry, name)
    assert set(choice.options) == set(registry.options(name))
    again = json.loads(json.dumps(dataclasses.asdict(choice)))
    assert Choice(**again) == choice


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_trains_the_same_twice_and_otherwise_with_another_seed(name: str) -> None:
    recipe = quick(name)
    dataset = little(recipe)
    first, again = trainer_of(recipe, dataset), trainer_of(recipe, dataset)
    first.advance(2)
    again.advance(2)
    for one, other in zip(weights_of(first), weights_of(again), strict=True):
        assert one.isfinite().all()
        assert torch.equal(one, other)
        assert not torch.equal(one[0], one[1])


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_goes_on_bit_for_bit_from_a_file(name: str, tmp_path: Path) -> None:
    recipe = quick(name)
    dataset = little(recipe)
    whole = trainer_of(recipe, dataset)
    for event in whole.run():
        if isinstance(event, EvaluationDue) and event.step > 0 and not event.final:
            checkpoint.save(tmp_path / "population.pt", whole.state_dict())
    resumed = trainer_of(recipe, dataset)
    resumed.load_state_dict(checkpoint.load(tmp_path / "population.pt"))
    assert 0 < resumed.step < whole.step
    for _ in resumed.run():
        pass
    assert resumed.step == whole.step
    for one, other in zip(weights_of(resumed), weights_of(whole), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", losses.names())
def test_a_loss_of_scores_that_d_has_right_is_lower_for_d(name: str) -> None:
    loss: Any = losses[name]()
    right, wrong = torch.full((2, 8), 0.8), torch.full((2, 8), -0.8)
    good, bad = loss.discriminator(right, wrong), loss.discriminator(wrong, right)
    assert good.shape == (2,)
    assert (good < bad).all()
