"""What an iteration of each recipe asks of a device, counted without one.

    python -m benchmarks.counts

records the table that `test_counts.py` holds the harness to, `counts.json`: with `tests` on PYTHONPATH, from
the root of the checkout. Record it anew where more operations are meant, and say why in the commit.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness import find_recipe, list_recipes
from harness.engine.population import Population
from harness.engine.trainer import Trainer
from harness.files import write_json
from harness.recipe import Recipe
from harness.recipe.loss import build_loss
from support.fake_device import DEVICE, Watch, fake_device, stand_in

__all__ = ["RECORDED", "count", "counted", "full_size"]

RECORDED = Path(__file__).parent / "counts.json"


def full_size() -> dict[str, Recipe]:
    """Every recipe of the catalogue; networks that grow at full size."""
    return {name: find_recipe(name).override({"train.grow_images": 0}) for name in list_recipes()}


def counted() -> Iterator[tuple[str, int]]:
    """The recipes, by name, and the K of each: 1, and 8 where no earlier recipe has its networks and loss."""
    seen = set()
    for name, recipe in full_size().items():
        yield name, 1
        kind = (recipe.generator.name, recipe.discriminator.name, recipe.loss.name, recipe.train.order)
        if kind not in seen:
            seen.add(kind)
            yield name, 8


def count(recipe: Recipe, size: int) -> dict[str, int]:
    """Operations, copies and reads of the second iteration of K runs: nothing is measured in it.

    Args:
        recipe: what to train; its data are stood in for.
        size: K.

    Returns:
        `launches` that compute on the device, `to_device` and `to_host` copies, and `reads` of numbers.
    """
    for name in (recipe.loss.name, recipe.loss.early_generator):
        build_loss(recipe.loss, name)  # it computes its value at chance, once, and fake tensors have none
    with fake_device():
        recipe, dataset = stand_in(recipe)
        trainer = Trainer(Population([recipe] * size, range(size), dataset=dataset, device=DEVICE), dataset)
        trainer.input(0)  # draws the input of many iterations at once, or of this one alone
        trainer.go_to(recipe.train.discriminator_steps)
        with Watch() as watch:
            trainer.advance(1)
    return {
        "launches": watch.launches.total(),
        "to_device": watch.to_device.total(),
        "to_host": watch.to_host.total(),
        "reads": watch.reads.total(),
    }


if __name__ == "__main__":
    recipes, found = full_size(), dict[str, dict[str, dict[str, int]]]()
    for name, size in counted():
        found.setdefault(name, {})[str(size)] = count(recipes[name], size)
    write_json(RECORDED, found)
