"""A discriminator of plain convolutions, and a generator that grows an image by convolutions without padding.

Shapes: z (B, latent_dim) → images (B, C, H, W); images (B, C, H, W) → scores (B,).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from torch import nn

from harness.recipe.registry import Fraction, NonNegative, discriminators, generators

from .layers import (
    Activation,
    Depth,
    Init,
    Size,
    Width,
    block,
    fully_connected,
    image_shape,
    initialize,
    score,
    slope_of,
    widen,
)

__all__: list[str] = []


@discriminators.register("mnist-d2")
def mnist_d2(
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
    """Convolutions 1→32→64 of 3×3 without padding, then 36864-1024-512-1; LeakyReLU 0.2.

    `depth` adds 3×3 convolutions of 64 channels that keep the size. `batch_norm` and `dropout` follow every
    hidden layer.

    Raises:
        ValueError: the data are no images of 5×5 or more.
    """
    channels, height, wide = image_shape(
        "`discriminator.name` mnist-d2",
        sample_shape,
        takes="sides of 5 or more",
        fits=lambda height, width: min(height, width) >= 5,
    )
    bend = slope_of(activation, slope)
    first, second = widen(32, width), widen(64, width)
    layers: list[nn.Module] = []
    for before, after, padding in [(channels, first, 0), (first, second, 0), *[(second, second, 1)] * depth]:
        layers += block(
            nn.Conv2d(before, after, 3, padding=padding),
            slope=bend,
            norm=nn.BatchNorm2d(after) if batch_norm else None,
            dropout=dropout,
        )
    dense = fully_connected(
        [second * (height - 4) * (wide - 4), widen(1024, width), widen(512, width), 1],
        slope=bend,
        normalized=frozenset({0, 1}) if batch_norm else frozenset(),
        dropout=dropout,
        dropped=frozenset({0, 1}),
    )
    return initialize(nn.Sequential(*layers, nn.Flatten(), *dense, *score(sigmoid=sigmoid)), init)


@generators.register("mnist-g3")
def mnist_g3(
    *,
    sample_shape: tuple[int, ...],
    num_classes: int,
    latent_dim: Size = 100,
    depth: Depth = 0,
    width: Width = 1.0,
    activation: Activation = "identity",
    slope: Annotated[float, NonNegative] = 0.2,
    batch_norm: bool = True,
    expand_batch_norm: bool = False,
    dropout: Annotated[float, Fraction] = 0.0,
    init: Init = "default",
) -> nn.Module:
    """100-256-484, seen as 22×22, then 3×3 transposed convolutions 1→4→8→4 up to 28×28, 4→1 of 1×1, tanh.

    It was written with LeakyReLU(True), a slope of 1: as printed (`identity`) it is affine before its tanh,
    but for batch norm's statistics. `leaky` is what was surely meant. `batch_norm` follows every transposed
    convolution, the last one too; `expand_batch_norm` and `dropout` are for the fully connected part.
    `depth` adds 3×3 transposed convolutions of 4 channels that keep the size.

    Raises:
        ValueError: the data are no images of 7×7 or more.
    """
    channels, height, wide = image_shape(
        "`generator.name` mnist-g3",
        sample_shape,
        takes="sides of 7 or more",
        fits=lambda height, width: min(height, width) >= 7,
    )
    bend = slope_of(activation, slope)
    start = (1, height - 6, wide - 6)
    layers: list[nn.Module] = []
    for before, after in pairwise([latent_dim, widen(256, width), start[1] * start[2]]):
        layers += block(
            nn.Linear(before, after),
            slope=bend,
            norm=nn.BatchNorm1d(after) if expand_batch_norm else None,
            dropout=dropout,
        )
    layers.append(nn.Unflatten(1, start))
    narrow, broad = widen(4, width), widen(8, width)
    for before, after, padding in [
        (1, narrow, 0),
        (narrow, broad, 0),
        (broad, narrow, 0),
        *[(narrow, narrow, 1)] * depth,
    ]:
        layers += block(
            nn.ConvTranspose2d(before, after, 3, padding=padding),
            slope=bend,
            norm=nn.BatchNorm2d(after) if batch_norm else None,
        )
    layers.append(nn.ConvTranspose2d(narrow, channels, 1))
    if batch_norm:
        layers.append(nn.BatchNorm2d(channels))
    return initialize(nn.Sequential(*layers, nn.Tanh()), init)
