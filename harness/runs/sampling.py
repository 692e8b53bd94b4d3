"""Samples of a generator, and a discriminator's scores of samples, in evaluation mode.

Shapes: N latents of `latent_dim` numbers, N labels, N samples of `sample_shape`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import Tensor, nn

from harness.data import scaled
from harness.recipe.seeds import checked_seed
from harness.seeding import generator_for, seeded

__all__ = ["Generator", "draw_latents", "evaluating", "sample", "scores_of"]

Generator: TypeAlias = Callable[..., Tensor]
"""z (N, latent_dim) → samples, or (z, labels) → samples; a module or any function."""

_BATCH = 256


@contextmanager
def evaluating(generator: Generator) -> Iterator[None]:
    """Evaluation mode for as long as it lasts: batch norm must not let one latent's edit reach the others."""
    training = [m for m in generator.modules() if m.training] if isinstance(generator, nn.Module) else []
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


@torch.no_grad()
def sample(
    generator: Generator, latents: Tensor, labels: Tensor | None = None, *, batch: int = _BATCH
) -> Tensor:
    """The samples of these latents, in evaluation mode, a batch at a time; the same at every call.

    Args:
        generator: a module, or a function of latents and labels.
        latents: (N, latent_dim).
        labels: (N,) classes, for a generator that takes them.
        batch: samples made at once.

    Returns:
        (N, *sample_shape).
    """
    parts = []
    with evaluating(generator), seeded(0, "evaluation", latents.device):
        for start in range(0, len(latents), batch):
            rows = slice(start, start + batch)
            given = (latents[rows],) if labels is None else (latents[rows], labels[rows])
            parts.append(generator(*given))
    return torch.cat(parts)


@torch.no_grad()
def scores_of(
    discriminator: nn.Module, samples: Tensor, labels: Tensor | None = None, *, batch: int = _BATCH
) -> Tensor:
    """A discriminator's scores, a batch at a time.

    Args:
        discriminator: a module in evaluation mode.
        samples: (N, *sample_shape), as networks make them, or bytes as they are stored.
        labels: (N,) their classes; only a discriminator that takes labels is told them.
        batch: samples scored at once.

    Returns:
        (N,)
    """
    takes_labels = bool(getattr(discriminator, "takes_labels", False))
    parts = []
    for start in range(0, len(samples), batch):
        rows = slice(start, start + batch)
        given = (scaled(samples[rows]), *([labels[rows]] if takes_labels and labels is not None else []))
        parts.append(discriminator(*given).flatten())
    return torch.cat(parts)


def draw_latents(num: int, latent_dim: int, *, seed: int, purpose: str = "generate") -> Tensor:
    """Standard normal latents, the same for a seed and a purpose on every device.

    Args:
        num: how many.
        latent_dim: numbers in each.
        seed: from 0 to 2**63 - 1.
        purpose: names the stream; those of other names are independent.

    Returns:
        (num, latent_dim), on the CPU.

    Raises:
        ValueError: it is no seed.
    """
    draw = generator_for(checked_seed(seed), purpose, 0, torch.device("cpu"))
    return torch.randn(num, latent_dim, generator=draw)
