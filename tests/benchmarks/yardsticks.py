"""What the two yardsticks share: the losses of the catalogue's recipes, and how a network is called.

Shapes: B samples a batch; samples (B, ...), scores and labels (B,), a loss is a number. The formulas stand in
`harness/objective`; they are written anew here, with torch's own losses, so that a yardstick is a loop of its
own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.recipe import Recipe
from harness.recipe.settings import LossSettings

__all__ = ["Draws", "Labelled", "Source", "called", "discriminator_loss", "generator_loss", "penalties"]

Labelled = tuple[Tensor, Tensor | None]
"""Samples or latents, and their classes; None where there are none."""


class Source(Protocol):
    """Where a loop's input comes from, on its device."""

    def real(self) -> Labelled:
        """The next batch of real samples."""
        ...

    def latents(self) -> Labelled:
        """z for the next batch of fakes, (B, latent_dim), and the classes to make."""
        ...

    def mixes(self) -> Tensor:
        """Where between real and fake the gradient penalty looks next, in [0, 1), (B,)."""
        ...


class Draws:
    """What both loops draw on their device: latents with their classes, and mixes.

    Args:
        recipe: what is trained.
        device: where.
        num_classes: of the labels; 0 where none are wanted.
    """

    def __init__(self, recipe: Recipe, device: torch.device, num_classes: int) -> None:
        self.batch_size, self.latent_dim = recipe.train.batch_size, recipe.latent_dim
        self.num_classes = num_classes
        self.device = device

    def latents(self) -> Labelled:
        z = torch.randn(self.batch_size, self.latent_dim, device=self.device)
        if not self.num_classes:
            return z, None
        return z, torch.randint(self.num_classes, (self.batch_size,), device=self.device)

    def mixes(self) -> Tensor:
        return torch.rand(self.batch_size, device=self.device)


def called(network: nn.Module, inputs: Tensor, labels: Tensor | None) -> Tensor:
    """The network's outputs, of the labels too where it takes them."""
    outputs: Tensor = network(inputs, labels) if getattr(network, "takes_labels", False) else network(inputs)
    return outputs


def discriminator_loss(settings: LossSettings, real: Tensor, fake: Tensor) -> Tensor:
    """D's loss of its scores, drift included and gradient penalties not."""
    if settings.name in ("minimax", "non-saturating"):
        loss = _cross_entropy(settings, real, target=1) + _cross_entropy(settings, fake, target=0)
    else:
        loss = _d_losses[settings.name](real, fake)
    if settings.discriminator_scale != 1:
        loss = loss * settings.discriminator_scale
    if settings.drift:
        loss = loss + settings.drift * real.square().mean()
    return loss


def generator_loss(settings: LossSettings, fake: Tensor) -> Tensor:
    """G's loss of D's scores of fakes."""
    assert not settings.early_generator, "no recipe of the catalogue has another loss early"
    if settings.name == "minimax":
        loss = -_cross_entropy(settings, fake, target=0)
    elif settings.name == "non-saturating":
        loss = _cross_entropy(settings, fake, target=1)
    else:
        loss = _g_losses[settings.name](fake)
    return loss if settings.generator_scale == 1 else loss * settings.generator_scale


def penalties(
    settings: LossSettings,
    judge: Callable[[Tensor, Tensor | None], Tensor],
    real: Labelled,
    fake: Labelled,
    source: Source,
) -> list[Tensor]:
    """The weighted penalties on D's gradients by its inputs, those that are on."""
    found = []
    if settings.gradient_penalty:
        weights = source.mixes().reshape(-1, *[1] * (real[0].ndim - 1))
        mixed = torch.lerp(fake[0], real[0], weights).requires_grad_()
        norms = torch.linalg.vector_norm(_gradient(judge(mixed, real[1]), mixed), dim=1)
        found.append(settings.gradient_penalty * (norms - settings.gradient_penalty_target).square().mean())
    for weight, (samples, labels) in ((settings.r1, real), (settings.r2, fake)):
        if weight:
            leaf = samples.detach().requires_grad_()
            found.append(weight / 2 * _gradient(judge(leaf, labels), leaf).square().sum(1).mean())
    return found


def _gradient(scores: Tensor, samples: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(scores.sum(), samples, create_graph=True)
    return gradient.flatten(1)


def _cross_entropy(settings: LossSettings, scores: Tensor, *, target: int) -> Tensor:
    targets = torch.ones_like(scores) if target else torch.zeros_like(scores)
    if settings.clamp:  # a recipe that bounds logarithms by 100 means torch's BCELoss
        return F.binary_cross_entropy(scores.sigmoid(), targets)
    return F.binary_cross_entropy_with_logits(scores, targets)


_d_losses: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "least-squares": lambda real, fake: 0.5 * ((real - 1).square().mean() + fake.square().mean()),
    "hinge": lambda real, fake: (1 - real).relu().mean() + (1 + fake).relu().mean(),
    "wasserstein": lambda real, fake: fake.mean() - real.mean(),
}
_g_losses: dict[str, Callable[[Tensor], Tensor]] = {
    "least-squares": lambda fake: 0.5 * (fake - 1).square().mean(),
    "hinge": lambda fake: -fake.mean(),
    "wasserstein": lambda fake: -fake.mean(),
}
