"""Fully connected networks for points in the plane.

Shapes: z (B, latent_dim) → samples (B, *sample_shape); samples (B, *sample_shape) → scores (B,).
"""

from __future__ import annotations

import math
from typing import Annotated

from torch import Tensor, nn

from harness.recipe.registry import Bounds, NonNegative, Positive, discriminators, generators

from .layers import fully_connected, widen, with_depth

__all__ = ["PointsDiscriminator", "PointsGenerator"]

_Depth = Annotated[int, Bounds(low=0, high=16)]
_Size = Annotated[int, Bounds(low=1, high=65536)]
_Width = Annotated[float, Bounds(low=0.0, high=64.0, open_low=True)]


class PointsGenerator(nn.Module):
    """latent_dim → widths → a point.

    Args:
        sample_shape: shape of one point.
        latent_dim: numbers in z.
        widths: units of the hidden layers.
        normalized: hidden layers (0-based) followed by batch norm.
        eps: batch norm's ε.
        slope: negative slope of the LeakyReLU; 0 is a ReLU.
    """

    def __init__(
        self,
        sample_shape: tuple[int, ...],
        latent_dim: int,
        widths: list[int],
        *,
        normalized: frozenset[int],
        eps: float,
        slope: float,
    ) -> None:
        super().__init__()
        self.sample_shape = sample_shape
        sizes = [latent_dim, *widths, math.prod(sample_shape)]
        self.layers = fully_connected(sizes, slope=slope, normalized=normalized, eps=eps)

    def forward(self, z: Tensor) -> Tensor:
        points: Tensor = self.layers(z)
        return points.view(-1, *self.sample_shape)


class PointsDiscriminator(nn.Module):
    """A point → widths → one score.

    Args:
        sample_shape: shape of one point.
        widths: units of the hidden layers.
        slope: negative slope of the LeakyReLU; 0 is a ReLU.
        sigmoid: squash the score into (0, 1).
    """

    def __init__(
        self, sample_shape: tuple[int, ...], widths: list[int], *, slope: float, sigmoid: bool
    ) -> None:
        super().__init__()
        sizes = [math.prod(sample_shape), *widths, 1]
        self.layers = fully_connected(sizes, slope=slope)
        self.squash = nn.Sigmoid() if sigmoid else nn.Identity()

    def forward(self, points: Tensor) -> Tensor:
        scores: Tensor = self.squash(self.layers(points.flatten(1)))
        return scores.squeeze(-1)


@generators.register("points-mlp")
def points_generator(
    *,
    sample_shape: tuple[int, ...],
    num_classes: int,
    latent_dim: _Size = 2,
    depth: _Depth = 0,
    width: _Width = 1.0,
    batch_norm: bool = True,
    batch_norm_eps: Annotated[float, Positive] = 0.8,
    slope: Annotated[float, NonNegative] = 0.2,
) -> nn.Module:
    """2-64-256-512-2, LeakyReLU, batch norm after 256 and 512; `depth` repeats the last hidden layer."""
    widths = with_depth([widen(units, width) for units in (64, 256, 512)], depth)
    normalized = frozenset(range(1, len(widths))) if batch_norm else frozenset[int]()
    return PointsGenerator(
        sample_shape, latent_dim, widths, normalized=normalized, eps=batch_norm_eps, slope=slope
    )


@discriminators.register("points-mlp")
def points_discriminator(
    *,
    sample_shape: tuple[int, ...],
    num_classes: int,
    depth: _Depth = 0,
    width: _Width = 1.0,
    slope: Annotated[float, NonNegative] = 0.2,
    sigmoid: bool = False,
) -> nn.Module:
    """2-64-256-1, LeakyReLU; `depth` repeats the last hidden layer."""
    widths = with_depth([widen(units, width) for units in (64, 256)], depth)
    return PointsDiscriminator(sample_shape, widths, slope=slope, sigmoid=sigmoid)


@generators.register("tiny-mlp")
def tiny_generator(
    *,
    sample_shape: tuple[int, ...],
    num_classes: int,
    latent_dim: _Size = 2,
    units: _Size = 64,
    depth: _Depth = 0,
    slope: Annotated[float, NonNegative] = 0.2,
) -> nn.Module:
    """z-64-64-2 with LeakyReLU, for rings and grids; `depth` adds hidden layers."""
    widths = with_depth([units, units], depth)
    return PointsGenerator(sample_shape, latent_dim, widths, normalized=frozenset(), eps=1e-5, slope=slope)


@discriminators.register("tiny-mlp")
def tiny_discriminator(
    *,
    sample_shape: tuple[int, ...],
    num_classes: int,
    units: _Size = 64,
    depth: _Depth = 0,
    slope: Annotated[float, NonNegative] = 0.2,
    sigmoid: bool = False,
) -> nn.Module:
    """2-64-64-1 with LeakyReLU, for rings and grids; `depth` adds hidden layers."""
    widths = with_depth([units, units], depth)
    return PointsDiscriminator(sample_shape, widths, slope=slope, sigmoid=sigmoid)
