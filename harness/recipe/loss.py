"""What an adversarial loss is: two functions of scores, and what a recipe must know of them.

Losses of one's own are registered as builders of a `Loss`, whose keyword-only parameters are their options::

    @register_loss("hinge-top-k")
    def hinge_top_k(*, top_k: Annotated[float, Bounds(low=0.0, high=1.0, open_low=True)] = 1.0) -> Loss:
        ...

`loss.top_k` is then a key of every recipe that chooses this loss.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.recipe.registry import Value, losses, plain_value
from harness.recipe.settings import LossSettings

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Loss", "build_loss", "check_loss"]


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
        ValueError: a part is no function, `chance` no number, or it is a critic's and takes logits too.
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor], Tensor]
    chance: float | None
    critic: bool = False
    logits: bool = False
    compares: bool = False

    def __post_init__(self) -> None:
        for part in ("discriminator", "generator"):
            if not callable(getattr(self, part)):
                raise ValueError(
                    f"`{part}` of a loss must be a function of scores, but got {getattr(self, part)!r}."
                )
        chance = plain_value(self.chance)
        if chance is not None and not (isinstance(chance, int | float) and math.isfinite(chance)):
            raise ValueError(f"`chance` of a loss must be a number, or None, but got {chance!r}.")
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


def check_loss(settings: LossSettings) -> None:
    """Refuse a loss that does not give every run a loss of its own scores.

    A mean over all scores would train a run alone, and runs together at another rate, without a word.

    Args:
        settings: a run's loss; that of G's early steps is checked too.

    Raises:
        ValueError: a part of it does not take scores (K, B), or does not make losses (K,) of them.
    """
    import torch

    for field, name in (("loss.name", settings.name), ("loss.early_generator", settings.early_generator)):
        if not name:
            continue
        loss = build_loss(settings, name)
        scores = torch.zeros(2, 3, device="cpu")
        for part, function in (("discriminator", loss.discriminator), ("generator", loss.generator)):
            try:
                shape = tuple(function(scores, scores).shape)
            except (RuntimeError, TypeError, AttributeError) as error:
                reason = " ".join(str(error).split())
                raise ValueError(
                    f"`{field}` {name}: its `{part}` does not turn scores into a loss: {reason}."
                ) from error
            if shape != (2,):
                raise ValueError(
                    f"`{field}` {name}: its `{part}` must turn scores of 2 runs, (2, 3), into 2 losses, "
                    f"(2,), but makes {shape}; reduce the last axis alone, by .mean(-1) say."
                )
