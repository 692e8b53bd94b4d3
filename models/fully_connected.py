"""Fully connected networks for images, or for samples of any other shape in [-1, 1].

Shapes: z (B, latent_dim) → samples (B, *sample_shape); samples (B, *sample_shape) → scores (B,).
"""

from __future__ import annotations

import math
from typing import Annotated

from torch import nn

from harness.recipe.registry import Fraction, NonNegative, discriminators, generators

from .layers import (
    Activation,
    Depth,
    Init,
    Size,
    Width,
    fully_connected,
    initialize,
    score,
    slope_of,
    widen,
    with_depth,
)

__all__: list[str] = []


def _generator(name: str, units: tuple[int, ...], activation: Activation, doc: str) -> None:
    """Register tanh of fully connected layers; entries differ in hidden units and default activation."""
    usual = activation

    def build(
        *,
        sample_shape: tuple[int, ...],
        num_classes: int,
        latent_dim: Size = 100,
        depth: Depth = 0,
        width: Width = 1.0,
        activation: Activation = usual,
        slope: Annotated[float, NonNegative] = 0.2,
        batch_norm: bool = False,
        dropout: Annotated[float, Fraction] = 0.0,
        init: Init = "default",
    ) -> nn.Module:
        widths = with_depth([widen(count, width) for count in units], depth)
        every = frozenset(range(len(widths)))
        layers = fully_connected(
            [latent_dim, *widths, math.prod(sample_shape)],
            slope=slope_of(activation, slope),
            normalized=every if batch_norm else frozenset(),
            dropout=dropout,
            dropped=every,
        )
        return initialize(nn.Sequential(*layers, nn.Tanh(), nn.Unflatten(1, sample_shape)), init)

    build.__doc__ = doc
    generators.register(name)(build)


def _discriminator(name: str, units: tuple[int, ...], doc: str) -> None:
    """Register fully connected layers to one score; entries differ in their hidden units."""

    def build(
        *,
        sample_shape: tuple[int, ...],
        num_classes: int,
        depth: Depth = 0,
        width: Width = 1.0,
        activation: Activation = "leaky",
        slope: Annotated[float, NonNegative] = 0.2,
        batch_norm: bool = False,
        dropout: Annotated[float, Fraction] = 0.0,
        sigmoid: bool = False,
        init: Init = "default",
    ) -> nn.Module:
        widths = with_depth([widen(count, width) for count in units], depth)
        every = frozenset(range(len(widths)))
        layers = fully_connected(
            [math.prod(sample_shape), *widths, 1],
            slope=slope_of(activation, slope),
            normalized=every if batch_norm else frozenset(),
            dropout=dropout,
            dropped=every,
        )
        return initialize(nn.Sequential(nn.Flatten(), *layers, *score(sigmoid=sigmoid)), init)

    build.__doc__ = doc
    discriminators.register(name)(build)


_generator(
    "fashion-mlp", (128,), "leaky", "100-128-784, LeakyReLU 0.2, tanh; `depth` repeats the hidden layer."
)
_discriminator("fashion-mlp", (128,), "784-128-1, LeakyReLU 0.2; `depth` repeats the hidden layer.")
_generator(
    "mnist-g1", (256, 256), "relu", "100-256-256-784, ReLU, tanh; `depth` repeats the last hidden layer."
)
_discriminator("mnist-d1", (256, 256), "784-256-256-1, LeakyReLU 0.2; `depth` repeats the last hidden layer.")
_generator(
    "mnist-g2",
    (256, 512, 1024),
    "identity",
    """100-256-512-1024-784, tanh; `depth` repeats the last hidden layer.

    It was written with LeakyReLU(True), a slope of 1: as printed (`identity`) it is tanh of an affine map.
    `leaky` is what was surely meant.
    """,
)
