"""A run's data: loaded once its networks are known to fit them, and compared with those of its past."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.data import Dataset, known_outline, load_dataset
from harness.optim.population import check_rule
from harness.recipe.networks import check_networks

if TYPE_CHECKING:
    from harness.recipe import Recipe
    from harness.runs.result import RunResult

__all__ = ["check_same_data", "fitting_dataset"]


def fitting_dataset(recipe: Recipe) -> tuple[Dataset, bool]:
    """A recipe's data, with networks that fit them.

    Decoding a folder may take an hour, so the networks are checked first where the options tell what the data
    are like; the files have the last word.

    Args:
        recipe: The recipe.

    Returns:
        The data, and whether a network is told the class of a sample.

    Raises:
        ValueError: If the networks do not fit the data, an optimiser does not work, or the data cannot be
            read.
    """
    for section in ("generator_optimizer", "discriminator_optimizer"):
        check_rule(getattr(recipe, section), section)
    known = known_outline(recipe.data)
    if known is not None:
        check_networks(recipe, known.sample_shape, known.num_classes)
    dataset = load_dataset(recipe.data)
    return dataset, check_networks(recipe, dataset.sample_shape, dataset.num_classes)


def check_same_data(result: RunResult, recipe: Recipe, folder: Path) -> None:
    """Refuse to hand back a result that was trained on other data than are there now.

    Data that are gone, or can no longer be read, say nothing against it; neither does a result from before
    its data were recorded.

    Args:
        result: What the run came to.
        recipe: The run's recipe.
        folder: The run's folder.

    Raises:
        ValueError: If the run was trained on other data.
    """
    try:
        dataset = load_dataset(recipe.data)
    except ValueError:
        return
    before = result.environment.get("data", dataset.fingerprint)
    if before != dataset.fingerprint:
        raise ValueError(
            f"run {result.run_id} was trained on other data: `data.name` {dataset.name} had the fingerprint "
            f"{before}, but has {dataset.fingerprint} now; choose another --directory, or remove {folder}."
        )
