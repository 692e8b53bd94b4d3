"""Networks as one brings them from elsewhere: residual blocks, spectral norm, self-attention.

Shapes: B samples a batch; images (B, C, S, S) with S = 8 or 16, in [-1, 1]; latents z (B, latent_dim).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from harness.recipe.registry import Bounds, discriminators, generators

__all__ = ["Block", "ResNetDiscriminator", "ResNetGenerator", "SelfAttention"]

Size = Annotated[int, Bounds(low=1, high=1024)]


class SelfAttention(nn.Module):
    """x + γ·(attention of every pixel to every other), with γ learnt from 0.

    Source: Zhang et al. (2019), Eq. 1 to 3. Departure: keys and values are not pooled.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.narrow = max(1, channels // 8)
        self.project = spectral_norm(nn.Conv2d(channels, 2 * self.narrow + channels, 1, bias=False))
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        sizes = [self.narrow, self.narrow, images.shape[1]]
        query, key, value = self.project(images).flatten(2).split(sizes, dim=1)
        weights = torch.einsum("bcl,bcm->blm", query, key).softmax(-1)
        return images + self.gamma * torch.einsum("blm,bcm->bcl", weights, value).reshape(images.shape)


class Block(nn.Module):
    """A residual block of two 3×3 convolutions with spectral norm.

    Args:
        before: channels that come in.
        after: channels that go out.
        scale: 2 doubles the sides, 0.5 halves them.
        norm: what stands before each activation: `nn.BatchNorm2d` in a generator, nothing in D.
    """

    def __init__(self, before: int, after: int, *, scale: float, norm: type[nn.Module] = nn.Identity) -> None:
        super().__init__()
        self.up = nn.Upsample(scale_factor=2) if scale > 1 else nn.Identity()
        self.down = nn.AvgPool2d(2) if scale < 1 else nn.Identity()
        self.first = spectral_norm(nn.Conv2d(before, after, 3, padding=1))
        self.second = spectral_norm(nn.Conv2d(after, after, 3, padding=1))
        self.skip = spectral_norm(nn.Conv2d(before, after, 1))
        self.norms = nn.ModuleList([norm(before), norm(after)])

    def forward(self, images: Tensor) -> Tensor:
        inner = self.first(self.up(self.norms[0](images).relu()))
        inner = self.second(self.norms[1](inner).relu())
        found: Tensor = self.down(inner + self.skip(self.up(images)))
        return found


class ResNetGenerator(nn.Module):
    """z → 4×4 → doubled to the size of the data, with attention at the last size but one."""

    def __init__(self, sample_shape: tuple[int, ...], latent_dim: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.start = spectral_norm(nn.Linear(latent_dim, channels * 16))
        doublings = sample_shape[1].bit_length() - 3
        blocks = [Block(channels, channels, scale=2, norm=nn.BatchNorm2d) for _ in range(doublings)]
        self.blocks = nn.Sequential(*blocks[:-1], SelfAttention(channels), blocks[-1])
        self.end = nn.Sequential(
            nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, sample_shape[0], 3, padding=1), nn.Tanh()
        )

    def forward(self, z: Tensor) -> Tensor:
        images: Tensor = self.end(self.blocks(self.start(z).view(-1, self.channels, 4, 4)))
        return images


class ResNetDiscriminator(nn.Module):
    """An image halved to 4×4, with attention after the first block → one score."""

    def __init__(self, sample_shape: tuple[int, ...], channels: int) -> None:
        super().__init__()
        halvings = sample_shape[1].bit_length() - 3
        sizes = [sample_shape[0], *[channels] * halvings]
        blocks = [Block(before, after, scale=0.5) for before, after in pairwise(sizes)]
        self.blocks = nn.Sequential(blocks[0], SelfAttention(channels), *blocks[1:], nn.ReLU())
        self.score = spectral_norm(nn.Linear(channels, 1))

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.score(self.blocks(images).sum((2, 3)))
        return scores.squeeze(-1)


def _check(sample_shape: tuple[int, ...]) -> None:
    if len(sample_shape) != 3 or sample_shape[1:] not in ((8, 8), (16, 16)):
        raise ValueError(
            f"takes images of 8×8 or 16×16, but the data has samples of shape {sample_shape}; "
            "set `data.size` to 8 or 16."
        )


@generators.register("own-resnet")
def resnet_generator(
    *, sample_shape: tuple[int, ...], num_classes: int, latent_dim: Size = 32, channels: Size = 16
) -> nn.Module:
    """A ResNet with spectral norm and self-attention, for images of 8×8 or 16×16."""
    _check(sample_shape)
    return ResNetGenerator(sample_shape, latent_dim, channels)


@discriminators.register("own-resnet")
def resnet_discriminator(
    *, sample_shape: tuple[int, ...], num_classes: int, channels: Size = 16
) -> nn.Module:
    """A ResNet with spectral norm and self-attention, for images of 8×8 or 16×16."""
    _check(sample_shape)
    return ResNetDiscriminator(sample_shape, channels)
