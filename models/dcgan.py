"""Deep convolutional pairs: the one of 28×28 with 5×5 kernels, and the one of 64×64 with 4×4 kernels.

Shapes: z (B, latent_dim) → images (B, C, H, W); images (B, C, H, W) → scores (B,).

Source: Radford et al. (2016), Unsupervised representation learning with deep convolutional GANs.
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
    image_shape,
    initialize,
    score,
    slope_of,
    widen,
)

__all__: list[str] = []


@generators.register("dcgan-28")
def dcgan28_generator(
    *,
    sample_shape: tuple[int, ...],
    num_classes: int,
    latent_dim: Size = 100,
    depth: Depth = 0,
    width: Width = 1.0,
    activation: Activation = "relu",
    slope: Annotated[float, NonNegative] = 0.2,
    batch_norm: bool = True,
    dropout: Annotated[float, Fraction] = 0.0,
    init: Init = "default",
) -> nn.Module:
    """fc to 64 channels of 7×7, then 5×5 transposed convolutions 32@7, 16@14, 1@28; ReLU, tanh.

    Batch norm follows all but the last; sizes are quarter, quarter, half and whole of the image's. `depth`
    adds 5×5 transposed convolutions of 64 channels at the first size.

    Raises:
        ValueError: the data are no images with sides that are multiples of 4.
    """
    channels, height, wide = image_shape(
        "`generator.name` dcgan-28",
        sample_shape,
        takes="sides that are multiples of 4",
        fits=lambda height, width: height % 4 == 0 and width % 4 == 0,
    )
    bend = slope_of(activation, slope)
    first, second, third = (widen(count, width) for count in (64, 32, 16))
    start = (first, height // 4, wide // 4)
    layers: list[nn.Module] = [
        nn.Linear(latent_dim, start[0] * start[1] * start[2]),
        *block(
            nn.Unflatten(1, start),
            slope=bend,
            norm=nn.BatchNorm2d(first) if batch_norm else None,
            dropout=dropout,
        ),
    ]
    for before, after, stride in [*[(first, first, 1)] * depth, (first, second, 1), (second, third, 2)]:
        layers += block(
            nn.ConvTranspose2d(before, after, 5, stride, 2, output_padding=stride - 1),
            slope=bend,
            norm=nn.BatchNorm2d(after) if batch_norm else None,
            dropout=dropout,
        )
    layers.append(nn.ConvTranspose2d(third, channels, 5, 2, 2, output_padding=1))
    return initialize(nn.Sequential(*layers, nn.Tanh()), init)


@discriminators.register("dcgan-28")
def dcgan28_discriminator(
    *,
    sample_shape: tuple[int, ...],
    num_classes: int,
    depth: Depth = 0,
    width: Width = 1.0,
    activation: Activation = "leaky",
    slope: Annotated[float, NonNegative] = 0.2,
    batch_norm: bool = True,
    dropout: Annotated[float, Fraction] = 0.0,
    sigmoid: bool = False,
    init: Init = "default",
) -> nn.Module:
    """5×5 convolutions 16@14, 32@7, 64@7, then fc 3136-1; LeakyReLU 0.2, batch norm after all but the first.

    `depth` adds 5×5 convolutions of 64 channels at the last size.

    Raises:
        ValueError: the data are no images.
    """
    channels, height, wide = image_shape(
        "`discriminator.name` dcgan-28",
        sample_shape,
        takes="sides of 1 or more",
        fits=lambda height, width: True,
    )
    first, second, third = (widen(count, width) for count in (16, 32, 64))
    layers: list[nn.Module] = []
    for index, (before, after, stride) in enumerate(
        [(channels, first, 2), (first, second, 2), (second, third, 1), *[(third, third, 1)] * depth]
    ):
        layers += block(
            nn.Conv2d(before, after, 5, stride, 2),
            slope=slope_of(activation, slope),
            norm=nn.BatchNorm2d(after) if batch_norm and index else None,
            dropout=dropout,
        )
    size = third * -(-height // 4) * -(-wide // 4)
    return initialize(nn.Sequential(*layers, nn.Flatten(), nn.Linear(size, 1), *score(sigmoid=sigmoid)), init)


@generators.register("dcgan-64")
def dcgan64_generator(
    *,
    sample_shape: tuple[int, ...],
    num_classes: int,
    latent_dim: Size = 100,
    depth: Depth = 0,
    width: Width = 1.0,
    activation: Activation = "relu",
    slope: Annotated[float, NonNegative] = 0.2,
    batch_norm: bool = True,
    dropout: Annotated[float, Fraction] = 0.0,
    init: Init = "dcgan",
) -> nn.Module:
    """Transposed convolutions 512@4, 256@8, 128@16, 64@32, 3@64 of 4×4, ReLU, tanh; no biases.

    Batch norm follows all but the last; without it, biases do its shifts' work. Other sizes take as many
    doublings as reach them, 28×28 from 7×7 and 32×32 from 4×4, with 64 channels before the last. `depth` adds
    3×3 transposed convolutions at the first size; the deeper network of the faces is `depth` 1.

    Raises:
        ValueError: the data are no square images with sides of 4 to 7 times a power of two.
    """
    channels, doublings, base = _pyramid("`generator.name` dcgan-64", sample_shape)
    sizes = [widen(64 << level, width) for level in reversed(range(doublings))]
    steps = [
        (latent_dim, sizes[0], base, 1, 0),
        *[(sizes[0], sizes[0], 3, 1, 1)] * depth,
        *[(before, after, 4, 2, 1) for before, after in pairwise(sizes)],
    ]
    layers: list[nn.Module] = [nn.Unflatten(1, (latent_dim, 1, 1))]
    for before, after, kernel, stride, padding in steps:
        layers += block(
            nn.ConvTranspose2d(before, after, kernel, stride, padding, bias=not batch_norm),
            slope=slope_of(activation, slope),
            norm=nn.BatchNorm2d(after) if batch_norm else None,
            dropout=dropout,
        )
    last = nn.ConvTranspose2d(sizes[-1], channels, 4, 2, 1, bias=False)
    return initialize(nn.Sequential(*layers, last, nn.Tanh()), init)


@discriminators.register("dcgan-64")
def dcgan64_discriminator(
    *,
    sample_shape: tuple[int, ...],
    num_classes: int,
    depth: Depth = 0,
    width: Width = 1.0,
    activation: Activation = "leaky",
    slope: Annotated[float, NonNegative] = 0.2,
    batch_norm: bool = True,
    dropout: Annotated[float, Fraction] = 0.0,
    sigmoid: bool = False,
    init: Init = "dcgan",
) -> nn.Module:
    """Convolutions 64@32, 128@16, 256@8, 512@4 of 4×4, then 4×4 to 1; LeakyReLU 0.2; no biases.

    Batch norm follows all but the first and the last; without it, biases do its shifts' work. Other sizes
    take as many halvings as reach 4 to 7. `depth` adds 3×3 convolutions after the first halving. The first of
    them doubles the channels, and later layers stop doubling at 512: the deeper network of the faces is
    `depth` 1, 64@32, 128@32, 256@16, 512@8, 512@4. Further blocks keep 128@32.

    Raises:
        ValueError: the data are no square images with sides of 4 to 7 times a power of two.
    """
    channels, halvings, base = _pyramid("`discriminator.name` dcgan-64", sample_shape)
    most = 64 << (halvings - 1)
    added = [min(128, most)] * depth
    counts = [64, *added]
    for _ in range(halvings - 1):
        counts.append(min(2 * counts[-1], most))
    sizes = [channels, *(widen(count, width) for count in counts)]
    layers: list[nn.Module] = []
    for index, (before, after) in enumerate(pairwise(sizes)):
        kernel, stride = (3, 1) if 1 <= index <= depth else (4, 2)
        layers += block(
            nn.Conv2d(before, after, kernel, stride, 1, bias=not batch_norm and index > 0),
            slope=slope_of(activation, slope),
            norm=nn.BatchNorm2d(after) if batch_norm and index else None,
            dropout=dropout,
        )
    last = nn.Conv2d(sizes[-1], 1, base, bias=False)
    return initialize(nn.Sequential(*layers, last, *score(sigmoid=sigmoid)), init)


def _pyramid(entry: str, sample_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Channels of the image, how often its side halves, and the side of 4 to 7 that is left."""

    def halvings(side: int) -> int:
        return max(0, side.bit_length() - 3)

    channels, side, _ = image_shape(
        entry,
        sample_shape,
        takes="equal sides of 4 to 7 times a power of two (8, 28, 32, 64, 128)",
        fits=lambda height, width: (
            height == width and halvings(height) > 0 and height % (1 << halvings(height)) == 0
        ),
    )
    return channels, halvings(side), side >> halvings(side)
