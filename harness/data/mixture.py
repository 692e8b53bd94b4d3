"""Gaussian mixtures in the plane, the known truth behind the made data sets.

Shapes: points (N, 2); C parts; everything float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Mixture"]

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Mixture:
    """A mixture of C Gaussians in the plane.

    Attributes:
        names: C names of the parts.
        means: (C, 2) centres.
        covariances: (C, 2, 2) symmetric positive definite.
        weights: (C,) shares, positive, with sum 1.

    Raises:
        ValueError: another shape, or weights that are no shares.
    """

    names: tuple[str, ...]
    means: Array
    covariances: Array
    weights: Array

    def __post_init__(self) -> None:
        count = len(self.names)
        for field, shape in (("means", (count, 2)), ("covariances", (count, 2, 2)), ("weights", (count,))):
            if getattr(self, field).shape != shape:
                raise ValueError(
                    f"`{field}` of a mixture of {count} parts must have the shape {shape}, but has "
                    f"{getattr(self, field).shape}."
                )
        if not (self.weights > 0).all() or not math.isclose(float(self.weights.sum()), 1.0):
            raise ValueError(
                f"`weights` must be positive and add up to 1, but got {self.weights.tolist()}; divide them "
                "by their sum."
            )

    def __len__(self) -> int:
        return len(self.names)

    @property
    def mean(self) -> Array:
        """(2,) mean of the whole: μ = Σ w_c μ_c."""
        return self.weights @ self.means

    @property
    def covariance(self) -> Array:
        """(2, 2) covariance of the whole: Σ w_c (Σ_c + (μ_c − μ)(μ_c − μ)ᵀ)."""
        offsets = self.means - self.mean
        parts = self.covariances + offsets[:, :, None] * offsets[:, None, :]
        covariance: Array = np.einsum("c,cij->ij", self.weights, parts)
        return covariance

    def short_axes(self) -> tuple[Array, Array]:
        """The short axis of every part: (C, 2) unit vectors, and the (C,) standard deviations along them.

        A round part has no short axis; any one direction stands in, always the same.
        """
        variances, axes = np.linalg.eigh(self.covariances)
        return axes[:, :, 0], np.sqrt(variances[:, 0])

    def nearest_part(self, points: Array) -> tuple[Array, NDArray[np.intp]]:
        """The nearest part of every point by Mahalanobis distance, √((x − μ_c)ᵀ Σ_c⁻¹ (x − μ_c)).

        Args:
            points: (N, 2).

        Returns:
            (N,) distances in standard deviations, and the (N,) indices of the parts.
        """
        whiten = np.linalg.inv(np.linalg.cholesky(self.covariances))
        shifts = np.einsum("cij,cj->ci", whiten, self.means)
        squares = np.stack(
            [((points @ w.T - s) ** 2).sum(axis=1) for w, s in zip(whiten, shifts, strict=True)], axis=1
        )
        parts = squares.argmin(axis=1)
        return np.sqrt(squares[np.arange(len(points)), parts]), parts

    def draw(self, counts: NDArray[np.intp], seed: int) -> Array:
        """Points of every part, one part after the other.

        Args:
            counts: (C,) points of each part.
            seed: the same seed gives the same points on every machine and numpy version.

        Returns:
            (sum of counts, 2) points.
        """
        # RandomState's streams are frozen by numpy's promise (NEP 19); those of default_rng may change.
        random = np.random.RandomState(seed)
        roots = np.linalg.cholesky(self.covariances)
        parts = [
            mean + random.standard_normal((int(count), 2)) @ root.T
            for mean, root, count in zip(self.means, roots, counts, strict=True)
        ]
        return np.concatenate(parts)
