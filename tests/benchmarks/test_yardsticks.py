"""The loops that speed is measured against train what the harness trains: same nets, batches and losses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest
import torch
from torch import Tensor

from benchmarks.expert import Expert
from benchmarks.textbook import Textbook
from benchmarks.yardsticks import Labelled
from harness import find_recipe, list_recipes
from harness.data import load_dataset
from harness.engine.population import Population
from harness.engine.trainer import Trainer
from harness.objective.objective import labelled
from harness.recipe import Recipe
from harness.seeding import seed_for
from support.fake_device import DEVICE, Watch, fake_device, stand_in

SMALL = {"data.name": "digits", "generator.width": 0.125, "discriminator.width": 0.125}
RECIPES: dict[str, dict[str, object]] = {
    "points-gan": {},
    "points-wgan": {},
    "points-wgan-gp-0.1": {},
    "ring-gan": {},
    "digits-gan": {},
    "digits-cgan": {},
    "digits-dcgan": {},
    "mnist-g1d1": SMALL,
    "mnist-g3d2": SMALL,
    "faces-dcgan64": {**SMALL, "data.size": 16, "train.batch_size": 32},
    "progan-digits16": {"train.grow_images": 0, "train.batch_size": 16},
}
"""A recipe of each kind of loss, order, penalty, network and optimiser, small enough for a moment each."""
SETTINGS: dict[str, dict[str, object]] = {
    "R1, R2": {"loss.r1": 0.3, "loss.r2": 0.2},
    "hinge": {"loss.name": "hinge", "optimizer.name": "sgd", "optimizer.lr": 0.05},
    "AdamW": {"optimizer.name": "adamw"},
    "momentum": {"optimizer.name": "sgd", "optimizer.momentum": 0.9},
    "several steps": {"train.discriminator_steps": 2, "train.generator_steps": 2},
    "G first": {"train.order": "generator-first", "train.generator_steps": 2},
}
"""Hinge takes plain steps: the gradient of D's last bias is rounding alone, which Adam would blow up."""
CASES = {name: find_recipe(name).override(changes) for name, changes in RECIPES.items()} | {
    name: find_recipe("ring-gan").override(changes) for name, changes in SETTINGS.items()
}
WHOLE = {name: find_recipe(name).override({"train.grow_images": 0}) for name in list_recipes()}
ITERATIONS = 5
SEED = 7


class Given:
    """The input of a trainer's iterations, one batch after the other."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer

    def go_to(self, iteration: int) -> None:
        batches = self.trainer.input(iteration)
        self.reals = iter(labelled(batches.real, batches.real_labels))
        self.sources = iter(labelled(batches.latents, batches.labels))
        self.weights: Iterator[Tensor] = iter(batches.mixes)

    def real(self) -> Labelled:
        return next(self.reals)

    def latents(self) -> Labelled:
        return next(self.sources)

    def mixes(self) -> Tensor:
        return next(self.weights)

    def assert_used_up(self) -> None:
        for rest in (self.reals, self.sources, self.weights):
            assert next(rest, None) is None


def noting(step: Callable[..., object], note: Callable[[], object]) -> Callable[..., object]:
    """The step, which is noted after it has been taken."""

    def taken(*args: object) -> object:
        made = step(*args)
        note()
        return made

    return taken


def losses_of_textbook(loop: Textbook, source: Given) -> list[tuple[float, float]]:
    found = []
    for index in range(ITERATIONS):
        source.go_to(index)
        loop.iterate()
        source.assert_used_up()
        found.append((_mean(loop.d_losses), _mean(loop.g_losses)))
        loop.d_losses.clear()
        loop.g_losses.clear()
    return found


def losses_of_expert(loop: Expert, source: Given) -> list[tuple[float, float]]:
    seen: dict[str, list[float]] = {"d": [], "g": []}
    loop._step_discriminator = noting(  # type: ignore[method-assign, assignment]
        loop._step_discriminator, lambda: seen["d"].append(float(loop.d_loss))
    )
    loop._step_generator = noting(  # type: ignore[method-assign, assignment]
        loop._step_generator, lambda: seen["g"].append(float(loop.g_loss))
    )
    found = []
    for index in range(ITERATIONS):
        source.go_to(index)
        loop.iterate()
        source.assert_used_up()
        found.append((_mean(seen["d"]), _mean(seen["g"])))
        seen["d"].clear()
        seen["g"].clear()
    return found


def losses_of_harness(trainer: Trainer) -> list[tuple[float, float]]:
    """Mean losses of each iteration, as they would be logged."""
    found = []
    for _ in range(ITERATIONS):
        trainer.advance(1)
        metrics, _ = trainer._meter.report()
        found.append((float(metrics["train/d_loss"][0]), float(metrics["train/g_loss"][0])))
    return found


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def alike(kind: type[Textbook] | type[Expert], recipe: Recipe) -> tuple[Trainer, Textbook | Expert, Given]:
    """A trainer of one run, a loop that starts from the same networks, and the trainer's input for it."""
    dataset = load_dataset(recipe.data)
    trainer = Trainer(Population([recipe], [SEED], dataset=dataset), dataset)
    source = Given(trainer)
    loop = kind(recipe, dataset, source=source)
    loop.generator.load_state_dict(trainer.population.generator.extract(0).state_dict())
    loop.discriminator.load_state_dict(trainer.population.discriminator.extract(0).state_dict())
    for average, parameter in zip(loop.average, loop.generator.parameters(), strict=bool(loop.average)):
        average.copy_(parameter.detach())
    return trainer, loop, source


@pytest.mark.parametrize("name", CASES)
def test_the_expert_s_losses_and_average_are_the_harness_s(name: str) -> None:
    trainer, loop, source = alike(Expert, CASES[name])
    assert isinstance(loop, Expert)
    expected = losses_of_harness(trainer)
    torch.manual_seed(seed_for(SEED, "layers"))  # dropout's numbers
    found = losses_of_expert(loop, source)
    assert len({round(d, 6) for d, _ in expected}) == ITERATIONS  # they move
    torch.testing.assert_close(torch.tensor(found), torch.tensor(expected), rtol=1e-4, atol=1e-5)
    assert bool(loop.average) == (trainer.population.average is not None)
    if trainer.population.average is not None:
        average = torch.cat([part.reshape(-1) for part in loop.average])
        torch.testing.assert_close(trainer.population.average[0], average, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_the_textbook_s_losses_and_average_are_the_harness_s(name: str) -> None:
    recipe = CASES[name]
    if "discriminator.dropout" in recipe.flat():  # D sees real and fake apart: dropout draws other numbers
        recipe = recipe.override({"discriminator.dropout": 0.0})
    trainer, loop, source = alike(Textbook, recipe)
    assert isinstance(loop, Textbook)
    expected = losses_of_harness(trainer)
    found = losses_of_textbook(loop, source)
    torch.testing.assert_close(torch.tensor(found), torch.tensor(expected), rtol=1e-4, atol=1e-5)
    if trainer.population.average is not None:
        average = torch.cat([part.reshape(-1) for part in loop.average])
        torch.testing.assert_close(trainer.population.average[0], average, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", WHOLE)
def test_the_expert_trains_every_recipe_on_a_device_without_waiting(name: str) -> None:
    with fake_device():
        recipe, dataset = stand_in(WHOLE[name])
        loop = Expert(recipe, dataset, DEVICE)
        loop.iterate()
        with Watch() as watch:
            loop.iterate()
        assert watch.waits == {}
        assert watch.launches.total() > 0
