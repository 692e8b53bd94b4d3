"""The yardstick: the training loop any tutorial would write, for any recipe.

A `DataLoader`, `nn.Module`s, torch's own losses and optimisers, `zero_grad/backward/step`, `.item()` each
step, one run after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from harness.data import Dataset, scaled
from harness.recipe import Choice, Recipe
from harness.recipe.networks import build_discriminator, build_generator

__all__ = ["Textbook"]

Labelled = tuple[Tensor, Tensor | None]


class Textbook:
    """One run of a recipe, trained the ordinary way.

    Args:
        recipe: what to train.
        dataset: on what.
        device: where.
        seed: of the global random state.
    """

    def __init__(
        self, recipe: Recipe, dataset: Dataset, device: torch.device | str = "cpu", seed: int = 0
    ) -> None:
        torch.manual_seed(seed)
        self.recipe = recipe
        self.device = torch.device(device)
        self.generator = build_generator(recipe, dataset.sample_shape, dataset.num_classes).to(self.device)
        self.discriminator = build_discriminator(recipe, dataset.sample_shape, dataset.num_classes)
        self.discriminator.to(self.device)
        self.generator_optimizer = _optimizer(recipe.generator_optimizer, self.generator)
        self.discriminator_optimizer = _optimizer(recipe.discriminator_optimizer, self.discriminator)
        columns = [dataset.train] if dataset.train_labels is None else [dataset.train, dataset.train_labels]
        self.num_classes = dataset.num_classes
        self.loader = DataLoader(
            TensorDataset(*columns), batch_size=recipe.train.batch_size, shuffle=True, drop_last=True
        )
        self.batches = iter(self.loader)
        self.d_losses: list[float] = []
        self.g_losses: list[float] = []

    def iterate(self) -> None:
        """One iteration: the D and G steps of one turn, in the recipe's order."""
        train = self.recipe.train
        if train.order == "generator-first":
            for _ in range(train.generator_steps):
                fake = self.train_generator()
            for _ in range(train.discriminator_steps):
                self.train_discriminator(fake if train.reuse_fakes else self.make_fake())
            return
        for _ in range(train.discriminator_steps):
            fake = self.make_fake()
            self.train_discriminator(fake)
        for index in range(train.generator_steps):
            self.train_generator(fake if train.reuse_fakes and index == 0 else None)

    def next_real(self) -> Labelled:
        try:
            real, *labels = next(self.batches)
        except StopIteration:
            self.batches = iter(self.loader)
            real, *labels = next(self.batches)
        return scaled(real.to(self.device)), labels[0].to(self.device) if labels else None

    def make_fake(self) -> Labelled:
        size = self.recipe.train.batch_size
        z = torch.randn(size, self.recipe.latent_dim, device=self.device)
        labels = torch.randint(self.num_classes, (size,), device=self.device) if self.num_classes else None
        return called(self.generator, z, labels), labels

    def judge(self, samples: Tensor, labels: Tensor | None) -> Tensor:
        return called(self.discriminator, samples, labels)

    def train_discriminator(self, fake: Labelled) -> None:
        settings = self.recipe.loss
        real, of_real = self.next_real()
        made, of_fake = fake[0].detach(), fake[1]
        loss = _d_losses[settings.name](self.judge(real, of_real), self.judge(made, of_fake))
        if settings.discriminator_scale != 1:
            loss = loss * settings.discriminator_scale
        if settings.gradient_penalty:
            loss = loss + settings.gradient_penalty * self.gradient_penalty(real, made, of_real)
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
        loss = _g_losses[self.recipe.loss.name](self.judge(*fake))
        if self.recipe.loss.generator_scale != 1:
            loss = loss * self.recipe.loss.generator_scale
        self.generator_optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.generator_optimizer.step()
        self.g_losses.append(loss.item())
        return fake

    def gradient_penalty(self, real: Tensor, fake: Tensor, labels: Tensor | None) -> Tensor:
        weights = torch.rand(len(real), *[1] * (real.ndim - 1), device=self.device)
        mixed = (weights * real + (1 - weights) * fake).requires_grad_()
        scores = self.judge(mixed, labels)
        (gradient,) = torch.autograd.grad(scores, mixed, torch.ones_like(scores), create_graph=True)
        norms = gradient.flatten(1).norm(2, dim=1)
        penalty: Tensor = ((norms - self.recipe.loss.gradient_penalty_target) ** 2).mean()
        return penalty


def called(network: nn.Module, inputs: Tensor, labels: Tensor | None) -> Tensor:
    """The network's outputs, of the labels too where it takes them."""
    outputs: Tensor = network(inputs, labels) if getattr(network, "takes_labels", False) else network(inputs)
    return outputs


_cross_entropy = nn.BCELoss()
_squared_error = nn.MSELoss()


def _ones(scores: Tensor) -> Tensor:
    return torch.ones_like(scores)


def _zeros(scores: Tensor) -> Tensor:
    return torch.zeros_like(scores)


def _minimax_d(real: Tensor, fake: Tensor) -> Tensor:
    real, fake = real.sigmoid(), fake.sigmoid()
    loss: Tensor = _cross_entropy(real, _ones(real)) + _cross_entropy(fake, _zeros(fake))
    return loss


def _least_squares_d(real: Tensor, fake: Tensor) -> Tensor:
    loss: Tensor = 0.5 * (_squared_error(real, _ones(real)) + _squared_error(fake, _zeros(fake)))
    return loss


_d_losses: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "minimax": _minimax_d,
    "non-saturating": _minimax_d,
    "least-squares": _least_squares_d,
    "hinge": lambda real, fake: (1 - real).relu().mean() + (1 + fake).relu().mean(),
    "wasserstein": lambda real, fake: fake.mean() - real.mean(),
}
_g_losses: dict[str, Callable[[Tensor], Tensor]] = {
    "minimax": lambda fake: -_cross_entropy(fake.sigmoid(), _zeros(fake)),
    "non-saturating": lambda fake: _cross_entropy(fake.sigmoid(), _ones(fake)),
    "least-squares": lambda fake: 0.5 * _squared_error(fake, _ones(fake)),
    "hinge": lambda fake: -fake.mean(),
    "wasserstein": lambda fake: -fake.mean(),
}


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
