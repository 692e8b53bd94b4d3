"""What runs must agree in to be trained together."""

from __future__ import annotations

from harness.recipe.recipe import Recipe

__all__ = ["structure"]

_PER_RUN = ("loss", "generator_optimizer", "discriminator_optimizer", "train")
_SHARED = ("loss.clamp",)
"""Numbers of those sections that all runs share."""


def structure(recipe: Recipe) -> tuple[tuple[str, bool | int | float | str], ...]:
    """What runs must agree in to be trained as one population.

    That is every setting, but of the numbers of the optimisers, the loss and the running average only whether
    they are zero: a penalty is computed for all rows or for none. The options of a loss must be equal, for
    only the loss knows what it does with them.

    Returns:
        A hashable key, (dotted key, value) pairs.
    """
    shared = {*_SHARED, *(f"loss.{key}" for key in recipe.loss.options)}

    def is_own(key: str, value: object) -> bool:
        return isinstance(value, float) and key.split(".")[0] in _PER_RUN and key not in shared

    return tuple(
        (key, value != 0) if is_own(key, value) else (key, value) for key, value in recipe.flat().items()
    )
