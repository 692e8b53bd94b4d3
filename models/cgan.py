"""The fully connected class-conditional pair.

Shapes: z (B, latent_dim), labels (B,) integers → samples (B, *sample_shape);
samples (B, *sample_shape), labels (B,) integers → scores (B,).

`label_dim` is how many numbers a label becomes.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor, nn

from harness.recipe.registry import Fraction, NonNegative, Positive, discriminators, generators

from .layers import (
    Activation,
    Depth,
    Init,
    LabelEmbedding,
    Size,
    Width,
    fully_connected,
    initialize,
    slope_of,
    widen,
    with_depth,
)

__all__ = ["ConditionalDiscriminator", "ConditionalGenerator"]


@generators.register("cgan")
class ConditionalGenerator(nn.Module):
    """Label and z, 110-128-256-512-1024-784, LeakyReLU 0.2, tanh; batch norm after all hidden but the first.

    `depth` repeats the last hidden layer; `dropout` follows those that batch norm follows.

    Raises:
        ValueError: the data have no labels.
    """

    takes_labels = True

    def __init__(
        self,
        *,
        sample_shape: tuple[int, ...],
        num_classes: int,
        latent_dim: Size = 100,
        label_dim: Size = 10,
        depth: Depth = 0,
        width: Width = 1.0,
        activation: Activation = "leaky",
        slope: Annotated[float, NonNegative] = 0.2,
        batch_norm: bool = True,
        batch_norm_eps: Annotated[float, Positive] = 0.8,
        dropout: Annotated[float, Fraction] = 0.0,
        init: Init = "default",
    ) -> None:
        super().__init__()
        _check_labels("`generator.name` cgan", num_classes)
        widths = with_depth([widen(units, width) for units in (128, 256, 512, 1024)], depth)
        later = frozenset(range(1, len(widths)))
        layers = fully_connected(
            [label_dim + latent_dim, *widths, math.prod(sample_shape)],
            slope=slope_of(activation, slope),
            normalized=later if batch_norm else frozenset(),
            eps=batch_norm_eps,
            dropout=dropout,
            dropped=later,
        )
        self.embedding = LabelEmbedding(num_classes, label_dim)
        self.layers = layers
        self.squash = nn.Tanh()
        self.shape = nn.Unflatten(1, sample_shape)
        initialize(self, init)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        samples: Tensor = self.shape(self.squash(self.layers(torch.cat([self.embedding(labels), z], dim=1))))
        return samples


@discriminators.register("cgan")
class ConditionalDiscriminator(nn.Module):
    """Image and label, 794-512-512-512-1, LeakyReLU 0.2, dropout after all hidden layers but the first.

    `depth` repeats the last hidden layer; `batch_norm` follows the layers that dropout follows.

    Raises:
        ValueError: the data have no labels.
    """

    takes_labels = True

    def __init__(
        self,
        *,
        sample_shape: tuple[int, ...],
        num_classes: int,
        label_dim: Size = 10,
        depth: Depth = 0,
        width: Width = 1.0,
        activation: Activation = "leaky",
        slope: Annotated[float, NonNegative] = 0.2,
        batch_norm: bool = False,
        dropout: Annotated[float, Fraction] = 0.4,
        init: Init = "default",
    ) -> None:
        super().__init__()
        _check_labels("`discriminator.name` cgan", num_classes)
        widths = with_depth([widen(512, width)] * 3, depth)
        later = frozenset(range(1, len(widths)))
        layers = fully_connected(
            [math.prod(sample_shape) + label_dim, *widths, 1],
            slope=slope_of(activation, slope),
            normalized=later if batch_norm else frozenset(),
            dropout=dropout,
            dropped=later,
        )
        self.embedding = LabelEmbedding(num_classes, label_dim)
        self.layers = layers
        initialize(self, init)

    def forward(self, samples: Tensor, labels: Tensor) -> Tensor:
        scores: Tensor = self.layers(torch.cat([samples.flatten(1), self.embedding(labels)], dim=1))
        return scores.squeeze(-1)


def _check_labels(entry: str, num_classes: int) -> None:
    if num_classes < 1:
        raise ValueError(
            f"{entry} is class-conditional, but the data has no labels; choose labelled data, or another "
            "network."
        )
