"""Fully connected networks for points in the plane.

Shapes: z (B, latent_dim) → samples (B, *sample_shape); samples (B, *sample_shape) → scores (B,).
"""

from __future__ import annotations

import math
from typing import Annotated

from torch import Tensor, nn

from harness.recipe.registry import NonNegative, Positive, discriminators, generators

from .layers import Depth, Size, Width, fully_connected, widen, with_depth

__all__ = ["PointsDiscriminator", "PointsGenerator"]


class PointsGenerator(nn.Module):
    """Layers from z to a point's numbers, in the shape of a point.

    Args:
        sample_shape: shape of one point.
        layers: (B, latent_dim) → (B, numbers of a point).
    """

    def __init__(self, sample_shape: tuple[int, ...], layers: nn.Module) -> None:
        super().__init__()
        self.sample_shape = sample_shape
        self.layers = layers

    def forward(self, z: Tensor) -> Tensor:
        points: Tensor = self.layers(z)
        return points.view(-1, *self.sample_shape)


class PointsDiscriminator(nn.Module):
    """Layers from a point's numbers to one score.

    Args:
        layers: (B, numbers of a point) → (B, 1).
        sigmoid: squash the score into (0, 1).
    """

    def __init__(self, layers: nn.Module, *, sigmoid: bool = False) -> None:
        super().__init__()
        self.layers = layers
        self.squash = nn.Sigmoid() if sigmoid else nn.Identity()

    def forward(self, points: Tensor) -> Tensor:
        scores: Tensor = self.squash(self.layers(points.flatten(1)))
        return scores.squeeze(-1)


@generators.register("points-mlp")
def points_generator(
    *,
    sample_shape: tuple[int, ...],
    num_classes: int,
    latent_dim: Size = 2,
    depth: Depth = 0,
    width: Width = 1.0,
    batch_norm: bool = True,
    batch_norm_eps: Annotated[float, Positive] = 0.8,
    slope: Annotated[float, NonNegative] = 0.2,
) -> nn.Module:
    """2-64-256-512-2, LeakyReLU, batch norm after 256 and 512; `depth` repeats the last hidden layer."""
    widths = with_depth([widen(units, width) for units in (64, 256, 512)], depth)
    layers = fully_connected(
        [latent_dim, *widths, math.prod(sample_shape)],
        slope=slope,
        normalized=frozenset(range(1, len(widths))) if batch_norm else frozenset(),
        eps=batch_norm_eps,
    )
    return PointsGenerator(sample_shape, layers)


@discriminators.register("points-mlp")
def points_discriminator(
    *,
    sample_shape: tuple[int, ...],
    num_classes: int,
    depth: Depth = 0,
    width: Width = 1.0,
    slope: Annotated[float, NonNegative] = 0.2,
    sigmoid: bool = False,
) -> nn.Module:
    """2-64-256-1, LeakyReLU; `depth` repeats the last hidden layer."""
    widths = with_depth([widen(units, width) for units in (64, 256)], depth)
    layers = fully_connected([math.prod(sample_shape), *widths, 1], slope=slope)
    return PointsDiscriminator(layers, sigmoid=sigmoid)


@generators.register("tiny-mlp")
def tiny_generator(
    *,
    sample_shape: tuple[int, ...],
    num_classes: int,
    latent_dim: Size = 2,
    units: Size = 64,
    depth: Depth = 0,
    slope: Annotated[float, NonNegative] = 0.2,
) -> nn.Module:
    """z-64-64-2 with LeakyReLU, for rings and grids; `units` a hidden layer, of which `depth` adds more."""
    widths = with_depth([units, units], depth)
    layers = fully_connected([latent_dim, *widths, math.prod(sample_shape)], slope=slope)
    return PointsGenerator(sample_shape, layers)


@discriminators.register("tiny-mlp")
def tiny_discriminator(
    *,
    sample_shape: tuple[int, ...],
    num_classes: int,
    units: Size = 64,
    depth: Depth = 0,
    slope: Annotated[float, NonNegative] = 0.2,
    sigmoid: bool = False,
) -> nn.Module:
    """2-64-64-1 with LeakyReLU, for rings and grids; `units` a hidden layer, of which `depth` adds more."""
    widths = with_depth([units, units], depth)
    layers = fully_connected([math.prod(sample_shape), *widths, 1], slope=slope)
    return PointsDiscriminator(layers, sigmoid=sigmoid)
