"""What an adversarial loss is: two functions of scores, and what a recipe must know of them.

Losses of one's own are registered as builders of a `Loss`, whose keyword-only parameters are their options::

    @register_loss("hinge-top-k")
    def hinge_top_k(*, top_k: Annotated[float, Bounds(low=0.0, high=1.0, open_low=True)] = 1.0) -> Loss:
        ...

`loss.top_k` is then a key of every recipe that chooses this loss.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.recipe.registry import Value, losses
from harness.recipe.settings import LossSettings

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Loss", "build_loss"]


@dataclass(frozen=True, kw_only=True)
class Loss:
    """An adversarial loss: what each network minimises, from scores (K, B) to losses (K,).

    Attributes:
        discriminator: (real scores, fake scores) → loss of D.
        generator: (fake scores, real scores) → loss of G; only a loss that compares samples reads the second.
        chance: D's loss where it cannot tell real from fake: the least of L(c, c) over scores c, all the
            same. How far D's loss is below it says how sure D is. None where the loss has no floor.
        critic: whether it needs unbounded scores, so that D may end in no sigmoid.
        logits: whether it applies the sigmoid to the scores itself, so that D must not.
        compares: whether G's loss needs the scores of real samples.

    Raises:
        ValueError: it is a critic's and takes logits too.
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor], Tensor]
    chance: float | None
    critic: bool = False
    logits: bool = False
    compares: bool = False

    def __post_init__(self) -> None:
        if self.critic and self.logits:
            raise ValueError(
                "a loss whose `logits` it turns into chances itself is no critic's; leave `critic` out."
            )


def build_loss(settings: LossSettings, name: str = "") -> Loss:
    """The loss that settings ask for.

    Args:
        settings: a run's loss.
        name: another loss to build in its place: `early_generator`, which has its own defaults.

    Raises:
        ValueError: there is no such loss, or its builder makes none.
    """
    name = name or settings.name
    given = dict(settings.options) if name == settings.name else {}
    if losses.takes(name, "clamp"):
        given["clamp"] = settings.clamp
    loss = _built(losses[name], tuple(sorted(given.items())))
    if not isinstance(loss, Loss):
        raise ValueError(f"loss `{name}` must make a `harness.Loss`, but made {loss!r}.")
    return loss


@functools.lru_cache(maxsize=256)
def _built(builder: Callable[..., object], options: tuple[tuple[str, Value], ...]) -> object:
    """What a builder makes, once: a study checks hundreds of recipes, and each asks what its loss is."""
    return builder(**dict(options))
