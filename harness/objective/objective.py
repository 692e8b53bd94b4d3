"""What the runs of a population minimise: their loss, its weights, and its penalties.

Shapes: K runs, B samples a batch. Samples are (K, B, ...), scores and labels (K, B), losses (K,); a
population of one leaves the K axis out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from harness.objective.adversarial import Derived
from harness.objective.penalties import drift, gradient_penalty, interpolate, squared_gradient_norm
from harness.optim.rules import Number, per_run, pick
from harness.recipe.loss import Loss, build_loss
from harness.recipe.settings import LossSettings

__all__ = ["Labelled", "Objective", "chance_loss", "derive", "joined", "labelled"]

Discriminator = Callable[[Tensor, Tensor | None], Tensor]
"""Samples (K, B, ...) and their classes, or None → scores (K, B)."""

Labelled = tuple[Tensor, Tensor | None]
"""Samples and their classes; None where no network takes labels."""

_WEIGHTS = (
    "discriminator_scale",
    "generator_scale",
    "weight_clip",
    "gradient_penalty",
    "gradient_penalty_target",
    "r1",
    "r2",
    "drift",
)


class Objective:
    """The losses of K runs.

    Args:
        settings: of each run; equal but for their numbers.
        like: a tensor on the device of the runs.

    Attributes:
        settings: of the first run, to see what is on and what is off.
        weights: every number, where runs may differ: one for all, or (K,).
    """

    def __init__(self, settings: Sequence[LossSettings], like: Tensor) -> None:
        self.settings = settings[0]
        self.weights: dict[str, Number] = {
            key: per_run([getattr(own, key) for own in settings], like) for key in _WEIGHTS
        }
        self._shares: dict[tuple[str, torch.Size], Tensor] = {}
        self._loss = build_loss(self.settings)
        self._early = build_loss(self.settings, self.settings.early_generator)

    @property
    def has_penalties(self) -> bool:
        """Whether D's gradients by its inputs are penalised."""
        return bool(self.settings.gradient_penalty or self.settings.r1 or self.settings.r2)

    @torch.no_grad()
    def draws(self) -> bool:
        """Whether its losses draw from torch's random state, as those with noisy labels do."""
        scores = torch.zeros(2, 3, device="cpu")
        with torch.random.fork_rng(devices=[]):
            before = torch.get_rng_state()
            for loss in (self._loss, self._early):
                loss.discriminator(scores, scores)
                loss.generator(scores, scores)
            return not torch.equal(before, torch.get_rng_state())

    def discriminator(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        """D's loss, as far as it depends on scores alone, drift included and gradient penalties not.

        Args:
            real_scores: D's scores of reals, (K, B).
            fake_scores: D's scores of fakes, (K, B).

        Returns:
            (K,).
        """
        loss = _scaled(
            self._loss.discriminator(real_scores, fake_scores), self.weights["discriminator_scale"]
        )
        if self.settings.drift:
            loss = loss + self.weights["drift"] * drift(real_scores)
        return loss

    def derive_discriminator(
        self, real_scores: Tensor, fake_scores: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """`discriminator`, and its derivatives.

        Args:
            real_scores: D's scores of reals, (K, B).
            fake_scores: D's scores of fakes, (K, B).

        Returns:
            The loss, (K,), and the derivatives by both, (K, B) each; a run's depend on its own alone.
        """
        part = self._loss.discriminator
        if not isinstance(part, Derived) or self.settings.drift:
            return derive(self.discriminator, real_scores, fake_scores)
        loss, by_scores = part.derive(
            self._share("discriminator_scale", real_scores), real_scores, fake_scores
        )
        return _scaled(loss, self.weights["discriminator_scale"]), by_scores

    def derive_generator(
        self, step: int, fake_scores: Tensor, real_scores: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """G's loss, scaled, and its derivative.

        Args:
            step: the D step.
            fake_scores: D's scores of fakes, (K, B).
            real_scores: D's scores of reals, (K, B), where the loss compares.

        Returns:
            The loss, (K,), and the derivative by the scores of fakes, (K, B).
        """
        part = self.generator(step).generator
        if isinstance(part, Derived):
            loss, (by_scores,) = part.derive(
                self._share("generator_scale", fake_scores), fake_scores, fake_scores
            )
            return _scaled(loss, self.weights["generator_scale"]), by_scores

        def of(scores: Tensor) -> Tensor:
            others = scores if real_scores is None else real_scores
            return _scaled(part(scores, others), self.weights["generator_scale"])

        loss, (by_scores,) = derive(of, fake_scores)
        return loss, by_scores

    def _share(self, scale: str, scores: Tensor) -> Tensor:
        """What a loss is multiplied with, over the number of samples, of the scores' shape; kept."""
        key = scale, scores.shape
        if key not in self._shares:
            weight = self.weights[scale]
            if isinstance(weight, Tensor):
                whole = weight.unsqueeze(-1).expand_as(scores)
            else:
                whole = torch.full_like(scores, weight)
            self._shares[key] = whole / scores.shape[-1]
        return self._shares[key]

    def generator(self, step: int) -> Loss:
        """The loss whose part for G holds at this D step, without its scale."""
        return self._early if step < self.settings.early_steps else self._loss

    @torch.enable_grad()
    def penalty(
        self, discriminator: Discriminator, real: Labelled, fake: Labelled, mixes: Tensor | None
    ) -> Tensor:
        """Penalties on D's gradients by its inputs, weighted; autograd differentiates them again.

        Between a real sample and a fake, D is told the class of the real one.

        Args:
            discriminator: D, from samples and their classes to scores.
            real: a batch of real samples.
            fake: a batch of fakes.
            mixes: where between them to look, (K, B), if there.
        """
        penalties = []
        if mixes is not None:
            mixed = interpolate(real[0], fake[0], mixes)
            target = self.weights["gradient_penalty_target"]
            penalty = gradient_penalty(discriminator(mixed, real[1]), mixed, target)
            penalties.append(self.weights["gradient_penalty"] * penalty)
        for key, (samples, labels) in (("r1", real), ("r2", fake)):
            if getattr(self.settings, key):
                source = samples.detach().requires_grad_()
                penalty = squared_gradient_norm(discriminator(source, labels), source)
                penalties.append(self.weights[key] * (0.5 * penalty))
        return functools.reduce(torch.add, penalties)

    def keep(self, positions: Tensor) -> None:
        """Keep these rows only."""
        self.weights = {key: pick(value, positions) for key, value in self.weights.items()}
        self._shares.clear()


def derive(function: Callable[..., Tensor], *scores: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """A loss of scores, and its derivatives by each of them.

    Args:
        function: from the scores to the loss of each run.
        scores: each (K, B).

    Returns:
        The loss, (K,), and a derivative (K, B) for each of the scores; a run's depend on its own alone.
    """
    leaves = [score.detach().requires_grad_() for score in scores]
    with torch.enable_grad():
        loss = function(*leaves)
    return loss.detach(), torch.autograd.grad(loss, leaves, torch.ones_like(loss))


def chance_loss(settings: LossSettings) -> float | None:
    """D's loss where it cannot tell real from generated: the loss's own `chance`, times its scale.

    How far D's loss is below it says how sure D is, whatever the loss.

    Args:
        settings: a run's loss; penalties do not count.

    Returns:
        It; None for a loss without a floor.
    """
    chance = build_loss(settings).chance
    return None if chance is None else chance * settings.discriminator_scale


def _scaled(loss: Tensor, scale: Number) -> Tensor:
    return loss if isinstance(scale, float) and scale == 1 else loss * scale


def labelled(batches: Sequence[Tensor], labels: Sequence[Tensor]) -> list[Labelled]:
    """The `batches`, each with its `labels`, or with None where that is empty."""
    classes: Sequence[Tensor | None] = labels or [None] * len(batches)
    return list(zip(batches, classes, strict=True))


def joined(first: Labelled, second: Labelled, *, axis: int) -> Labelled:
    """Two batches as one, along the axis of the samples.

    Args:
        first: samples and their labels, or None.
        second: the same; the labels of the two are joined only where both have some.
        axis: of the samples.
    """
    (samples, classes), (others, other_classes) = first, second
    if classes is None or other_classes is None:
        return torch.cat([samples, others], dim=axis), None
    return torch.cat([samples, others], dim=axis), torch.cat([classes, other_classes], dim=axis)
