"""Adversarial losses: pure functions of scores.

Shapes: scores are (K, B), B scores for each of K runs, and a loss is (K,). A population of one that calls its
module directly leaves the K axis out: (B,) → (). Scores are D's raw outputs (logits), written D(x) below; σ
is the logistic function.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.recipe.loss import Loss
from harness.recipe.registry import losses

__all__ = [
    "Derived",
    "at_chance",
    "cross_entropy",
    "hinge",
    "least_squares",
    "minimax",
    "non_saturating",
    "relativistic",
    "wasserstein",
]


_aten = torch.ops.aten


@dataclass(frozen=True, kw_only=True)
class Derived:
    """A mean over scores whose derivatives are known: what autograd gives, bit for bit, in fewer operations.

    Attributes:
        value: scores → loss.
        derive: (each sample's share, scores...) → loss, and derivatives by the scores that it depends on,
            (K, B) all. A share is what the loss is multiplied with, over B; it scales the derivatives alone.
    """

    value: Callable[..., Tensor]
    derive: Callable[..., tuple[Tensor, tuple[Tensor, ...]]]

    def __call__(self, *scores: Tensor) -> Tensor:
        """The loss, (K,), of scores (K, B)."""
        return self.value(*scores)


@losses.register("minimax")
def minimax(*, clamp: float = 0.0) -> Loss:
    """The original game: G minimises what D maximises.

    D: −E[log σ(D(x))] − E[log(1 − σ(D(G(z))))];  G: E[log(1 − σ(D(G(z))))], which saturates where D is sure.
    `clamp` bounds every logarithm; see `cross_entropy`.

    Source: Goodfellow et al. (2014), Eq. 1. Departure: none.
    """
    discriminator = _known(_cross_entropies, _derive_cross_entropies, clamp)
    return Loss(
        discriminator=discriminator,
        generator=lambda fake, _: -cross_entropy(fake, target=0, clamp=clamp),
        chance=at_chance(discriminator),
        logits=True,
    )


@losses.register("non-saturating")
def non_saturating(*, clamp: float = 0.0) -> Loss:
    """D as in the minimax game; G maximises log σ(D(G(z))), whose gradient stays where D is sure.

    `clamp` bounds every logarithm; see `cross_entropy`.

    Source: Goodfellow et al. (2014), end of section 3. Departure: none.
    """
    discriminator = _known(_cross_entropies, _derive_cross_entropies, clamp)
    return Loss(
        discriminator=discriminator,
        generator=_known(_fooled, _derive_fooled, clamp),
        chance=at_chance(discriminator),
        logits=True,
    )


@losses.register("least-squares")
def least_squares() -> Loss:
    """D: ½E[(D(x) − 1)²] + ½E[D(G(z))²];  G: ½E[(D(G(z)) − 1)²].

    Source: Mao et al. (2017), Eq. 9 (labels a=0, b=c=1). Departure: none.
    """

    def discriminator(real: Tensor, fake: Tensor) -> Tensor:
        return 0.5 * ((real - 1).square().mean(-1) + fake.square().mean(-1))

    return Loss(
        discriminator=discriminator,
        generator=lambda fake, _: 0.5 * (fake - 1).square().mean(-1),
        chance=at_chance(discriminator),
    )


@losses.register("wasserstein")
def wasserstein() -> Loss:
    """D: E[D(G(z))] − E[D(x)];  G: −E[D(G(z))]. Needs a Lipschitz critic: weight clip or gradient penalty.

    Source: Arjovsky et al. (2017), Eq. 2 and Algorithm 1. Departure: none.
    """
    return Loss(
        discriminator=lambda real, fake: fake.mean(-1) - real.mean(-1),
        generator=lambda fake, _: -fake.mean(-1),
        chance=None,
        critic=True,
    )


@losses.register("hinge")
def hinge() -> Loss:
    """D: E[max(0, 1 − D(x))] + E[max(0, 1 + D(G(z)))];  G: −E[D(G(z))].

    Source: Lim and Ye (2017), Eq. 15; Miyato et al. (2018), Eq. 16 and 17. Departure: none.
    """
    return Loss(
        discriminator=lambda real, fake: F.relu(1 - real).mean(-1) + F.relu(1 + fake).mean(-1),
        generator=lambda fake, _: -fake.mean(-1),
        chance=2.0,
        critic=True,
    )


@losses.register("relativistic")
def relativistic() -> Loss:
    """Relativistic pairing: each fake is judged against one real sample.

    D: −E[log σ(D(x) − D(G(z)))];  G: −E[log σ(D(G(z)) − D(x))].

    Source: Jolicoeur-Martineau (2018), section 4.1, with the logistic f of Huang et al. (2024), Eq. 2.
    Departure: none.
    """
    return Loss(
        discriminator=lambda real, fake: F.softplus(fake - real).mean(-1),
        generator=lambda fake, real: F.softplus(real - fake).mean(-1),
        chance=math.log(2),
        critic=True,
        compares=True,
    )


def at_chance(discriminator: Callable[[Tensor, Tensor], Tensor]) -> float:
    """D's loss where it cannot tell real from fake: the least of L(c, c) over scores c from −3 to 3.

    2 ln 2 for cross-entropy, ¼ for least squares; to 1e-4.

    Args:
        discriminator: L, (real scores, fake scores) → loss.
    """
    same = torch.linspace(-3, 3, 601, dtype=torch.float64, device="cpu").unsqueeze(1)
    return float(discriminator(same, same).min())


def _cross_entropies(real: Tensor, fake: Tensor, *, clamp: float) -> Tensor:
    return cross_entropy(fake, target=0, clamp=clamp) + cross_entropy(real, target=1, clamp=clamp)


def _fooled(fake: Tensor, _: Tensor, *, clamp: float) -> Tensor:
    return cross_entropy(fake, target=1, clamp=clamp)


def _derive_cross_entropies(
    share: Tensor, real: Tensor, fake: Tensor, *, clamp: float
) -> tuple[Tensor, tuple[Tensor, ...]]:
    of_fake, by_fake = _derive_cross_entropy(share, fake, target=0, clamp=clamp)
    of_real, by_real = _derive_cross_entropy(share, real, target=1, clamp=clamp)
    return of_fake + of_real, (by_real, by_fake)


def _derive_fooled(
    share: Tensor, fake: Tensor, _: Tensor, *, clamp: float
) -> tuple[Tensor, tuple[Tensor, ...]]:
    loss, by_fake = _derive_cross_entropy(share, fake, target=1, clamp=clamp)
    return loss, (by_fake,)


def _known(
    value: Callable[..., Tensor], derive: Callable[..., tuple[Tensor, tuple[Tensor, ...]]], clamp: float
) -> Derived:
    return Derived(value=functools.partial(value, clamp=clamp), derive=functools.partial(derive, clamp=clamp))


def cross_entropy(scores: Tensor, *, target: Literal[0, 1], clamp: float = 0.0) -> Tensor:
    """−E[log σ(s)] for a target of 1, −E[log(1 − σ(s))] for one of 0: exact, or as torch's BCELoss of σ(s).

    BCELoss takes the logarithm of a rounded σ and bounds it by 100. A fake of s ≥ 17 costs 100 at once, for
    1 − σ rounds to 0 in float32; a real sample costs −s, and 100 from s = −100 on. The gradient by s is the
    exact one, σ − target, while σ·(1 − σ) is above 1e-12, to |s| = 27.6; then it fades to nothing, and where
    1 − σ rounds to 0 it is 0. So a D that is sure enough is never corrected, and teaches G nothing.

    Args:
        scores: s, (K, B).
        target: what D should say.
        clamp: the bound of each value, 100 or less; the gradient is BCELoss's whatever it is. 0 is off:
            values and gradients are exact.

    Returns:
        One loss for each run, (K,).
    """
    if clamp:
        clamped: Tensor = _Clamped.apply(scores, target, clamp)
        return clamped.mean(-1)
    return -F.logsigmoid(scores).mean(-1) if target else F.softplus(scores).mean(-1)


def _derive_cross_entropy(
    share: Tensor, scores: Tensor, *, target: Literal[0, 1], clamp: float
) -> tuple[Tensor, Tensor]:
    """`cross_entropy`, and its derivative by the scores, times B and the share."""
    if clamp:
        chance = scores.sigmoid()
        return _clamped(chance, target, clamp).mean(-1), _slope_of_clamped(share, chance, target)
    if target:
        log_chance, buffer = _aten.log_sigmoid_forward.default(scores)
        return -log_chance.mean(-1), _aten.log_sigmoid_backward.default(-share, scores, buffer)
    return F.softplus(scores).mean(-1), _aten.softplus_backward.default(share, scores, 1, 20)


class _Clamped(torch.autograd.Function):
    """BCELoss of a sigmoid, unreduced. Written out, for BCELoss itself stops everything at a NaN."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, target: int, clamp: float) -> Tensor:
        chance = scores.sigmoid()
        ctx.save_for_backward(chance)
        ctx.target = target
        return _clamped(chance, target, clamp)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (chance,) = ctx.saved_tensors
        return _slope_of_clamped(gradients[0], chance, ctx.target), None, None


def _clamped(chance: Tensor, target: int, clamp: float) -> Tensor:
    return -(chance.log() if target else torch.log1p(-chance)).clamp(min=-clamp)


def _slope_of_clamped(gradient: Tensor, chance: Tensor, target: int) -> Tensor:
    spread = chance * (1 - chance)
    return gradient * (chance - target) / spread.clamp(min=1e-12) * spread
