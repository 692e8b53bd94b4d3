"""What arms of one seed share: what `harness.analysis.statistics` and the page say of it."""

import pytest
import torch

from harness.data import load_dataset
from harness.engine.population import Population
from harness.engine.streams import Iteration
from harness.engine.trainer import Trainer
from harness.recipe import find_recipe

_BLOCK = 64
"""Iterations whose noise is drawn at once; whatever is drawn, all begin a block with the same numbers."""


def _trainer(**changes: object) -> Trainer:
    recipe = find_recipe("points-gan").override({key.replace("__", "."): x for key, x in changes.items()})
    dataset = load_dataset(recipe.data)
    return Trainer(Population([recipe], [3], dataset=dataset), dataset)


def _input(trainer: Trainer) -> list[Iteration]:
    """The input of the first iterations, beyond the first block of noise."""
    return [trainer._streams[index] for index in range(_BLOCK + 20)]


RATIOS = (
    {"train__discriminator_steps": 5},
    {"train__generator_steps": 2},
    {"train__reuse_fakes": False},
)


@pytest.mark.parametrize("changes", RATIOS)
def test_arms_of_other_ratios_share_real_batches_but_not_the_noise(changes: dict[str, object]) -> None:
    plain, other = _input(_trainer()), _input(_trainer(**changes))
    reals, theirs = ([batch for one in arm for batch in one.real] for arm in (plain, other))
    assert all(torch.equal(a, b) for a, b in zip(reals, theirs, strict=False))
    for index, (one, another) in enumerate(zip(plain, other, strict=True)):
        if index % _BLOCK:
            assert not any(torch.equal(x, y) for x in one.latents for y in another.latents)


def test_arms_that_draw_as_much_noise_an_iteration_share_it() -> None:
    plain, other = _input(_trainer()), _input(_trainer(optimizer__name="adam", discriminator__width=0.5))
    assert all(
        torch.equal(x, y)
        for a, b in zip(plain, other, strict=True)
        for x, y in zip(a.latents, b.latents, strict=True)
    )
    balanced = _input(_trainer(train__discriminator_steps=2, train__generator_steps=1))
    turned = _input(_trainer(train__discriminator_steps=1, train__generator_steps=2))
    assert all(torch.equal(a.latents[0], b.latents[0]) for a, b in zip(balanced, turned, strict=True))


def test_arms_whose_generators_are_the_same_start_from_the_same_one_and_are_judged_on_the_same_latents() -> (
    None
):
    plain, other = _trainer(), _trainer(discriminator__width=0.5, train__discriminator_steps=5)
    assert torch.equal(plain.population.generator.matrix, other.population.generator.matrix)
    assert plain.population.discriminator.matrix.shape != other.population.discriminator.matrix.shape
    assert torch.equal(plain.fixed_latents(0, 100), other.fixed_latents(0, 100))
