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


def _hidden(
    units: tuple[int, ...], depth: int, width: float, batch_norm: bool
) -> tuple[list[int], frozenset[int], frozenset[int]]:
    """Widths of the hidden layers, which of them are normalised, and all of them."""
    widths = with_depth([widen(count, width) for count in units], depth)
    every = frozenset(range(len(widths)))
    return widths, every if batch_norm else frozenset(), every


def _generator(
    units: tuple[int, ...],
    sample_shape: tuple[int, ...],
    latent_dim: int,
    *,
    depth: int,
    width: float,
    slope: float,
    batch_norm: bool,
    dropout: float,
    init: Init,
) -> nn.Module:
    widths, normalized, every = _hidden(units, depth, width, batch_norm)
    layers = fully_connected(
        [latent_dim, *widths, math.prod(sample_shape)],
        slope=slope,
        normalized=normalized,
        dropout=dropout,
        dropped=every,
    )
    return initialize(nn.Sequential(*layers, nn.Tanh(), nn.Unflatten(1, sample_shape)), init)


def _discriminator(
    units: tuple[int, ...],
    sample_shape: tuple[int, ...],
    *,
    depth: int,
    width: float,
    slope: float,
    batch_norm: bool,
    dropout: float,
    sigmoid: bool,
    init: Init,
) -> nn.Module:
    widths, normalized, every = _hidden(units, depth, width, batch_norm)
    layers = fully_connected(
        [math.prod(sample_shape), *widths, 1],
        slope=slope,
        normalized=normalized,
        dropout=dropout,
        dropped=every,
    )
    return initialize(nn.Sequential(nn.Flatten(), *layers, *score(sigmoid=sigmoid)), init)


@generators.register("fashion-mlp")
def fashion_generator(
    *,
    sample_shape: tuple[int, ...],
    num_classes: int,
    latent_dim: Size = 100,
    depth: Depth = 0,
    width: Width = 1.0,
    activation: Activation = "leaky",
    slope: Annotated[float, NonNegative] = 0.2,
    batch_norm: bool = False,
    dropout: Annotated[float, Fraction] = 0.0,
    init: Init = "default",
) -> nn.Module:
    """100-128-784, LeakyReLU 0.2, tanh; `depth` repeats the hidden layer."""
    return _generator(
        (128,),
        sample_shape,
        latent_dim,
        depth=depth,
        width=width,
        slope=slope_of(activation, slope),
        batch_norm=batch_norm,
        dropout=dropout,
        init=init,
    )


@discriminators.register("fashion-mlp")
def fashion_discriminator(
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
    """784-128-1, LeakyReLU 0.2; `depth` repeats the hidden layer."""
    return _discriminator(
        (128,),
        sample_shape,
        depth=depth,
        width=width,
        slope=slope_of(activation, slope),
        batch_norm=batch_norm,
        dropout=dropout,
        sigmoid=sigmoid,
        init=init,
    )


@generators.register("mnist-g1")
def mnist_g1(
    *,
    sample_shape: tuple[int, ...],
    num_classes: int,
    latent_dim: Size = 100,
    depth: Depth = 0,
    width: Width = 1.0,
    activation: Activation = "relu",
    slope: Annotated[float, NonNegative] = 0.2,
    batch_norm: bool = False,
    dropout: Annotated[float, Fraction] = 0.0,
    init: Init = "default",
) -> nn.Module:
    """100-256-256-784, ReLU, tanh; `depth` repeats the last hidden layer."""
    return _generator(
        (256, 256),
        sample_shape,
        latent_dim,
        depth=depth,
        width=width,
        slope=slope_of(activation, slope),
        batch_norm=batch_norm,
        dropout=dropout,
        init=init,
    )


@discriminators.register("mnist-d1")
def mnist_d1(
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
    """784-256-256-1, LeakyReLU 0.2; `depth` repeats the last hidden layer."""
    return _discriminator(
        (256, 256),
        sample_shape,
        depth=depth,
        width=width,
        slope=slope_of(activation, slope),
        batch_norm=batch_norm,
        dropout=dropout,
        sigmoid=sigmoid,
        init=init,
    )


@generators.register("mnist-g2")
def mnist_g2(
    *,
    sample_shape: tuple[int, ...],
    num_classes: int,
    latent_dim: Size = 100,
    depth: Depth = 0,
    width: Width = 1.0,
    activation: Activation = "identity",
    slope: Annotated[float, NonNegative] = 0.2,
    batch_norm: bool = False,
    dropout: Annotated[float, Fraction] = 0.0,
    init: Init = "default",
) -> nn.Module:
    """100-256-512-1024-784, tanh; `depth` repeats the last hidden layer.

    It was written with LeakyReLU(True), a slope of 1: as printed (`identity`) it is tanh of an affine map.
    `leaky` is what was surely meant.
    """
    return _generator(
        (256, 512, 1024),
        sample_shape,
        latent_dim,
        depth=depth,
        width=width,
        slope=slope_of(activation, slope),
        batch_norm=batch_norm,
        dropout=dropout,
        init=init,
    )
