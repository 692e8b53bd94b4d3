"""Made data sets of points in the plane, whose mixture is known: `points`, `ring`, `grid`."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from harness.data.dataset import Dataset, from_points
from harness.data.mixture import Mixture
from harness.recipe.registry import Bounds, Positive, datasets

__all__ = ["four_gaussians", "grid", "points", "ring"]

_POINTS_SEED = 2
"""A draw whose mean and standard deviation are the mixture's to three digits."""

_ROUND_SEED = 0
_NumPoints = Annotated[int, Bounds(low=200, high=10_000_000)]


def four_gaussians() -> Mixture:
    """Four elongated Gaussians that form a zigzag "M", equally heavy, ordered from left to right."""
    degrees = np.array([40.6, 142.2, 31.8, 123.0])
    long = np.array([0.1025, 0.1017, 0.0940, 0.1043])
    short = np.array([0.0269, 0.0163, 0.0348, 0.0282])
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    axes = np.stack([np.stack([cos, -sin], axis=1), np.stack([sin, cos], axis=1)], axis=1)
    variances = np.stack([long**2, short**2], axis=1)
    return Mixture(
        names=("b", "a", "c", "d"),
        means=np.array([[0.1809, 0.5014], [0.4999, 0.4998], [0.8582, 0.4595], [1.1011, 0.4188]]),
        covariances=np.einsum("cij,cj,ckj->cik", axes, variances, axes),
        weights=np.full(4, 0.25),
    )


@datasets.register("points")
def points() -> Dataset:
    """A zigzag of four elongated Gaussians, 2048 points each; 7000 to train on and 1192 held out."""
    mixture = four_gaussians()
    return from_points("points", mixture.draw(np.full(4, 2048), _POINTS_SEED), mixture=mixture)


@datasets.register("ring")
def ring(
    *,
    modes: Annotated[int, Bounds(low=2, high=1000)] = 8,
    radius: Annotated[float, Positive] = 1.0,
    sd: Annotated[float, Positive] = 0.01,
    num_points: _NumPoints = 8192,
) -> Dataset:
    """Round Gaussians, evenly spaced on a circle: the usual test of mode collapse.

    Args:
        modes: how many.
        radius: of the circle, which is centred at the origin.
        sd: standard deviation of each, in every direction.
        num_points: of all together, before some are held out.
    """
    angles = 2 * np.pi * np.arange(modes) / modes
    means = radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return _round("ring", means, sd, num_points)


@datasets.register("grid")
def grid(
    *,
    side: Annotated[int, Bounds(low=2, high=32)] = 5,
    step: Annotated[float, Positive] = 2.0,
    sd: Annotated[float, Positive] = 0.05,
    num_points: _NumPoints = 8192,
) -> Dataset:
    """Round Gaussians on a square grid centred at the origin, `side` by `side` of them, `step` apart.

    Args:
        side: how many in a row.
        step: distance of two neighbours.
        sd: standard deviation of each, in every direction.
        num_points: of all together, before some are held out.
    """
    ticks = step * (np.arange(side) - (side - 1) / 2)
    means = np.stack([axis.ravel() for axis in np.meshgrid(ticks, ticks)], axis=1)
    return _round("grid", means, sd, num_points)


def _round(name: str, means: NDArray[np.float64], sd: float, num_points: int) -> Dataset:
    """Equally many points of round Gaussians; the first parts take one more if need be."""
    count = len(means)
    mixture = Mixture(
        names=tuple(str(part) for part in range(count)),
        means=means,
        covariances=np.tile(sd**2 * np.eye(2), (count, 1, 1)),
        weights=np.full(count, 1 / count),
    )
    counts = np.full(count, num_points // count)
    counts[: num_points % count] += 1
    return from_points(name, mixture.draw(counts, _ROUND_SEED), mixture=mixture)
