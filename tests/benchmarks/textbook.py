"""The first yardstick: the training loop any tutorial would write, for the recipes of the catalogue.

A `DataLoader`, `nn.Module`s, torch's own losses and optimisers, `zero_grad/backward/step`, `.item()` each
step, one run after the other.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

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
from harness.recipe import Choice, Recipe
from harness.recipe.networks import build_discriminator, build_generator

__all__ = ["Textbook"]


class Loader(Draws):
    """Input as a tutorial has it: a `DataLoader` on the host, a batch brought over at a time.

    Args:
        recipe: what is trained.
        dataset: on what.
        device: where.
    """

    def __init__(self, recipe: Recipe, dataset: Dataset, device: torch.device) -> None:
        super().__init__(recipe, device, dataset.num_classes)
        columns = [dataset.train] if dataset.train_labels is None else [dataset.train, dataset.train_labels]
        self.loader = DataLoader(
            TensorDataset(*columns), batch_size=self.batch_size, shuffle=True, drop_last=True
        )
        self.batches = iter(self.loader)

    def real(self) -> Labelled:
        try:
            real, *labels = next(self.batches)
        except StopIteration:
            self.batches = iter(self.loader)
            real, *labels = next(self.batches)
        return scaled(real.to(self.device)), labels[0].to(self.device) if labels else None


class Textbook:
    """One run of a recipe, trained the ordinary way.

    Args:
        recipe: what to train.
        dataset: on what; on the host.
        device: where.
        seed: of the global random state.
        source: where input comes from; a `DataLoader` by default.
    """

    def __init__(
        self,
        recipe: Recipe,
        dataset: Dataset,
        device: torch.device | str = "cpu",
        *,
        seed: int = 0,
        source: Source | None = None,
    ) -> None:
        torch.manual_seed(seed)
        self.recipe = recipe
        self.device = torch.device(device)
        self.generator = build_generator(recipe, dataset.sample_shape, dataset.num_classes).to(self.device)
        self.discriminator = build_discriminator(recipe, dataset.sample_shape, dataset.num_classes)
        self.discriminator.to(self.device)
        self.generator_optimizer = _optimizer(recipe.generator_optimizer, self.generator)
        self.discriminator_optimizer = _optimizer(recipe.discriminator_optimizer, self.discriminator)
        self.average = [p.detach().clone() for p in self.generator.parameters()] if recipe.train.ema else []
        self.source: Source = source or Loader(recipe, dataset, self.device)
        self.d_losses: list[float] = []
        self.g_losses: list[float] = []

    def iterate(self) -> None:
        """One iteration: the D and G steps of one turn, in the recipe's order."""
        train = self.recipe.train
        last = train.discriminator_steps - 1
        if train.order == "generator-first":
            for _ in range(train.generator_steps):
                fake = self.train_generator()
            for index in range(train.discriminator_steps):
                reused = train.reuse_fakes and index == last
                self.train_discriminator(fake if reused else self.make_fake())
            return
        for _ in range(train.discriminator_steps):
            fake = self.make_fake()
            self.train_discriminator(fake)
        for index in range(train.generator_steps):
            self.train_generator(fake if train.reuse_fakes and index == 0 else None)

    def make_fake(self) -> Labelled:
        z, labels = self.source.latents()
        return called(self.generator, z, labels), labels

    def judge(self, samples: Tensor, labels: Tensor | None) -> Tensor:
        return called(self.discriminator, samples, labels)

    def train_discriminator(self, fake: Labelled) -> None:
        settings = self.recipe.loss
        real, made = self.source.real(), (fake[0].detach(), fake[1])
        loss = discriminator_loss(settings, self.judge(*real), self.judge(*made))
        for penalty in penalties(settings, self.judge, real, made, self.source):
            loss = loss + penalty
        self.discriminator_optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.discriminator_optimizer.step()
        clip = settings.weight_clip
        if clip:
            for parameter in self.discriminator.parameters():
                parameter.data.clamp_(-clip, clip)
        self.d_losses.append(loss.item())

    def train_generator(self, fake: Labelled | None = None) -> Labelled:
        if fake is None:
            fake = self.make_fake()
        loss = generator_loss(self.recipe.loss, self.judge(*fake))
        self.generator_optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.generator_optimizer.step()
        decay = self.recipe.train.ema
        if decay:
            for average, parameter in zip(self.average, self.generator.parameters(), strict=True):
                average.mul_(decay).add_(parameter.data, alpha=1 - decay)
        self.g_losses.append(loss.item())
        return fake


def _optimizer(choice: Choice, network: nn.Module) -> torch.optim.Optimizer:
    options: dict[str, Any] = dict(choice.options)
    if choice.name == "rmsprop":
        return torch.optim.RMSprop(network.parameters(), **options)
    if choice.name == "sgd":
        return torch.optim.SGD(network.parameters(), **options)
    assert choice.name in ("adam", "adamw"), choice.name
    betas = (options.pop("beta1"), options.pop("beta2"))
    kind = torch.optim.Adam if choice.name == "adam" else torch.optim.AdamW
    return kind(network.parameters(), betas=betas, **options)
