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
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.kept import keep, recall
from harness.recipe.plugins import reason_of
from harness.recipe.registry import Value, losses, plain_value
from harness.recipe.settings import LossSettings

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Loss", "Traits", "build_loss", "check_loss", "traits"]


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
        ValueError: there is no such loss, or its builder makes none of these options.
    """
    name = name or settings.name
    given = dict(settings.options) if name == settings.name else {}
    if losses.takes(name, "clamp"):
        given["clamp"] = settings.clamp
    try:
        loss = _built(losses[name], tuple(sorted(given.items())))
    except Exception as error:
        raise ValueError(f"loss `{name}` cannot be made with these options: {reason_of(error)}.") from error
    if not isinstance(loss, Loss):
        raise ValueError(f"loss `{name}` must make a `harness.Loss`, but made {loss!r}.")
    return loss


class Traits(NamedTuple):
    """What a recipe must know of a loss; see `Loss`.

    Attributes:
        chance: D's loss where it cannot tell real from fake, or None.
        critic: whether it needs unbounded scores.
        logits: whether it applies the sigmoid itself.
    """

    chance: float | None
    critic: bool
    logits: bool


def traits(settings: LossSettings, name: str = "") -> Traits:
    """What a recipe must know of a loss, without building it where one of the harness's own was built before.

    Args:
        settings: a run's loss.
        name: another loss in its place: `early_generator`, which has its own defaults.

    Raises:
        ValueError: there is no such loss, or its builder makes none of these options.
    """
    name = name or settings.name
    given = dict(settings.options) if name == settings.name else {}
    if losses.source(name) is not None:
        return _traits_of(build_loss(settings, name))
    key = (name, settings.clamp, tuple(sorted(given.items())))
    if key not in _known_traits:
        kept = recall("loss", *key)
        _known_traits[key] = Traits(*kept) if kept is not None else _traits_of(build_loss(settings, name))
        if kept is None:
            keep("loss", *key, value=_known_traits[key])
    return _known_traits[key]


_known_traits: dict[tuple[Any, ...], Traits] = {}


def _traits_of(loss: Loss) -> Traits:
    return Traits(chance=loss.chance, critic=loss.critic, logits=loss.logits)


@functools.lru_cache(maxsize=256)
def _built(builder: Callable[..., object], options: tuple[tuple[str, Value], ...]) -> object:
    """What a builder makes, once: a study checks hundreds of recipes, and each asks what its loss is."""
    return builder(**dict(options))


def check_loss(settings: LossSettings) -> None:
    """Refuse a loss that does not give every run a loss of its own scores, or is not what it says.

    A mean over all scores would train a run alone, and runs together at another rate, without a word. A loss
    that compares and does not say so is given the scores of fakes in place of those of real samples.

    Args:
        settings: a run's loss; that of G's early steps is checked too.

    Raises:
        ValueError: a part of it does not take scores (K, B), does not make losses (K,) of them, each of its
            own run's, or has no gradient; or G's loss reads the scores of real samples unsaid.
    """
    import torch

    for field, name in (("loss.name", settings.name), ("loss.early_generator", settings.early_generator)):
        if not name:
            continue
        loss = build_loss(settings, name)
        draw = torch.Generator("cpu").manual_seed(0)
        real, fake = torch.randn(2, 2, 3, generator=draw, device="cpu").unbind()
        fake.requires_grad_()
        others = torch.tensor([[0.0], [1.0]], device="cpu")  # to be added to the scores of the second run
        found = {}
        for part, function in (
            ("discriminator", loss.discriminator),
            ("generator", lambda real, fake, play=loss.generator: play(fake, real)),
        ):
            where = f"`{field}` {name}: its `{part}`"
            try:
                made, moved, *_ = found[part] = [
                    _drawn_alike(function, *pair)
                    for pair in ((real, fake), (real + others, fake + others), (real + 1, fake))
                ]
                shape = tuple(made.shape)
            except Exception as error:
                reason = str(error) if isinstance(error, (RuntimeError, TypeError)) else reason_of(error)
                raise ValueError(
                    f"{where} does not turn scores into a loss: {' '.join(reason.split())}."
                ) from error
            if shape != (2,):
                raise ValueError(
                    f"{where} must turn scores of 2 runs, (2, 3), into 2 losses, (2,), but makes {shape}; "
                    "reduce the last axis alone, by .mean(-1) say."
                )
            if not made.requires_grad:
                raise ValueError(
                    f"{where} has no gradient by the scores of fakes; compute it from them, without detach()."
                )
            if not torch.equal(moved[0], made[0]):
                raise ValueError(
                    f"{where} lets the scores of one run into the loss of another; reduce the last axis "
                    "alone, by .mean(-1) say."
                )
        made, _, other = found["generator"]
        if not loss.compares and not torch.equal(other, made):
            raise ValueError(
                f"`{field}` {name}: its `generator` reads the scores of real samples, but does not say so; "
                "give compares=True."
            )


def _drawn_alike(function: Callable[[Tensor, Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """A loss of scores, from the same random state at every call."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return function(real, fake)
