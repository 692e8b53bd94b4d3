"""The second yardstick: the loop a good engineer writes by hand for one run. Claims of speed are against it.

The data set stays on the device, scaled once where it fits; fused optimisers, gradients set to None, no
number read, D frozen in G's step, fakes for D made without a graph, and one pass of D over real and fake
where no layer of it mixes samples.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.yardsticks import (
    Draws,
    Labelled,
    Source,
    called,
    discriminator_loss,
    generator_loss,
    penalties,
)
from harness.data import Dataset, scaled
from harness.network.stacked import mixes_samples
from harness.recipe import Choice, Recipe
from harness.recipe.networks import build_discriminator, build_generator

__all__ = ["Expert"]

_MAX_SCALED_BYTES = 2**30


class Resident(Draws):
    """Input drawn where it is used, a batch at a time.

    Args:
        recipe: what is trained.
        dataset: on what; brought to the device at once.
        device: where.
        labelled: whether labels are wanted.
    """

    def __init__(self, recipe: Recipe, dataset: Dataset, device: torch.device, *, labelled: bool) -> None:
        super().__init__(recipe, device, dataset.num_classes if labelled else 0)
        fits = 4 * dataset.train.numel() <= _MAX_SCALED_BYTES
        self.train = scaled(dataset.train.to(device)) if fits else dataset.train.to(device)
        labels = dataset.train_labels if labelled else None
        self.train_labels = None if labels is None else labels.to(device)
        self.rows: list[Tensor] = []

    def real(self) -> Labelled:
        if not self.rows:
            order = torch.randperm(len(self.train), device=self.device)
            whole = len(order) // self.batch_size * self.batch_size
            self.rows = list(order[:whole].split(self.batch_size))
        rows = self.rows.pop()
        labels = None if self.train_labels is None else self.train_labels[rows]
        return scaled(self.train.index_select(0, rows)), labels


class Expert:
    """One run of a recipe, trained as fast as a plain loop goes.

    Args:
        recipe: what to train.
        dataset: on what.
        device: where.
        seed: of the global random state.
        source: where input comes from; the device by default.
        compiled: whether both networks go through `torch.compile`.

    Attributes:
        d_loss: the last loss of D, on the device; to be read when somebody looks.
        g_loss: the last loss of G.
        average: the running average of G's parameters, where that is on.
    """

    def __init__(
        self,
        recipe: Recipe,
        dataset: Dataset,
        device: torch.device | str = "cpu",
        *,
        seed: int = 0,
        source: Source | None = None,
        compiled: bool = False,
    ) -> None:
        torch.manual_seed(seed)
        device = torch.device(device)
        self.recipe = recipe
        self.generator = build_generator(recipe, dataset.sample_shape, dataset.num_classes).to(device)
        self.discriminator = build_discriminator(recipe, dataset.sample_shape, dataset.num_classes).to(device)
        self._g_parameters = list(self.generator.parameters())
        self._d_parameters = list(self.discriminator.parameters())
        self.generator_optimizer = _optimizer(recipe.generator_optimizer, self._g_parameters)
        self.discriminator_optimizer = _optimizer(recipe.discriminator_optimizer, self._d_parameters)
        self.average = [p.detach().clone() for p in self._g_parameters] if recipe.train.ema else []
        self._joins = not mixes_samples(self.discriminator)
        labelled = any(getattr(n, "takes_labels", False) for n in (self.generator, self.discriminator))
        self.source: Source = source or Resident(recipe, dataset, device, labelled=labelled)
        self.d_loss = self.g_loss = torch.zeros((), device=device)
        if compiled:
            self.generator.compile()
            self.discriminator.compile()

    def iterate(self) -> None:
        """One iteration: the D and G steps of one turn, in the recipe's order."""
        train = self.recipe.train
        last = train.discriminator_steps - 1
        if train.order == "generator-first":
            for _ in range(train.generator_steps):
                made = self._make()
                self._step_generator(made)
        for index in range(train.discriminator_steps):
            if train.reuse_fakes and index == last:
                if train.order == "discriminator-first":
                    made = self._make()
                self._step_discriminator((made[0].detach(), made[1]))
            else:
                with torch.no_grad():
                    fake = self._make()
                self._step_discriminator(fake)
        if train.order == "discriminator-first":
            for index in range(train.generator_steps):
                if index or not train.reuse_fakes:
                    made = self._make()
                self._step_generator(made)

    def _make(self) -> Labelled:
        z, labels = self.source.latents()
        return called(self.generator, z, labels), labels

    def _judge(self, samples: Tensor, labels: Tensor | None) -> Tensor:
        return called(self.discriminator, samples, labels)

    def _step_discriminator(self, fake: Labelled) -> None:
        settings, real = self.recipe.loss, self.source.real()
        if self._joins:
            both = torch.cat([real[0], fake[0]])
            labels = None if real[1] is None or fake[1] is None else torch.cat([real[1], fake[1]])
            real_scores, fake_scores = self._judge(both, labels).chunk(2)
        else:
            real_scores, fake_scores = self._judge(*real), self._judge(*fake)
        loss = discriminator_loss(settings, real_scores, fake_scores)
        for penalty in penalties(settings, self._judge, real, fake, self.source):
            loss = loss + penalty
        loss.backward()  # type: ignore[no-untyped-call]
        self.discriminator_optimizer.step()
        self.discriminator_optimizer.zero_grad(set_to_none=True)
        if settings.weight_clip:
            with torch.no_grad():
                torch._foreach_clamp_min_(self._d_parameters, -settings.weight_clip)
                torch._foreach_clamp_max_(self._d_parameters, settings.weight_clip)
        self.d_loss = loss.detach()

    def _step_generator(self, fake: Labelled) -> None:
        for parameter in self._d_parameters:
            parameter.requires_grad_(False)
        loss = generator_loss(self.recipe.loss, self._judge(*fake))
        loss.backward()  # type: ignore[no-untyped-call]
        for parameter in self._d_parameters:
            parameter.requires_grad_(True)
        self.generator_optimizer.step()
        self.generator_optimizer.zero_grad(set_to_none=True)
        if self.average:
            with torch.no_grad():
                torch._foreach_lerp_(self.average, self._g_parameters, 1 - self.recipe.train.ema)
        self.g_loss = loss.detach()


def _optimizer(choice: Choice, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    options: dict[str, Any] = dict(choice.options)
    if choice.name == "rmsprop":  # torch has no fused one; foreach is a tenth faster than its loop on a CPU
        return torch.optim.RMSprop(parameters, foreach=True, **options)
    if choice.name == "sgd":
        return torch.optim.SGD(parameters, fused=True, **options)
    assert choice.name in ("adam", "adamw"), choice.name
    betas = (options.pop("beta1"), options.pop("beta2"))
    kind = torch.optim.Adam if choice.name == "adam" else torch.optim.AdamW
    return kind(parameters, betas=betas, fused=True, **options)
