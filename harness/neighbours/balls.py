"""Nearest neighbours: do generated samples lie where real ones do, and the other way round?

Shapes: fake (N, d), real (M, d), both float64. Points are numpy arrays, d = 2; embeddings are tensors on any
one device.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import KDTree
from torch import Tensor

__all__ = [
    "NEIGHBOURS",
    "NEIGHBOUR_SCORES",
    "Neighbours",
    "neighbours",
    "pairwise",
    "point_radii",
    "radii",
]

Array = NDArray[np.float64]

NEIGHBOURS = 5

_CHUNK = 1024


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """Four scores from nearest neighbours.

    Attributes:
        precision: share of fakes inside the neighbourhood of some real.
        recall: share of reals inside the neighbourhood of some fake.
        density: mean number of reals' neighbourhoods that a fake lies in, over k.
        coverage: share of reals whose neighbourhood holds a fake.
    """

    precision: float
    recall: float
    density: float
    coverage: float

    def beside(self, null: Neighbours) -> dict[str, float]:
        """The scores by name, and each over what reals get in the fakes' place; NaN where that is 0.

        Args:
            null: the same scores of as many training samples, beside the same reals.
        """
        found, ideal = asdict(self), asdict(null)
        over = {name: value / ideal[name] if ideal[name] else math.nan for name, value in found.items()}
        return found | {f"{name}_over_real": value for name, value in over.items()}


NEIGHBOUR_SCORES = tuple(
    name + over for over in ("", "_over_real") for name in ("precision", "recall", "density", "coverage")
)
"""Names of the scores that `Neighbours.beside` gives."""


def neighbours(
    between: Tensor | Array, fake_radii: Tensor | Array, real_radii: Tensor | Array, k: int = NEIGHBOURS
) -> Neighbours:
    """Precision, recall, density and coverage from nearest neighbours.

    The neighbourhood of a sample is the open ball to its k-th nearest neighbour among its own kind. Under one
    law E[coverage] = 1 − Π_{i=1..k} (M − i)/(N + M − i) and E[density] = 1, whatever the law. In many
    dimensions samples that huddle inside of modes raise density far above 1; in the plane they hardly do.

    Args:
        between: (N, M) distances of fakes to reals.
        fake_radii: (N,) radii of the fakes' neighbourhoods, from `radii` or `point_radii`.
        real_radii: (M,) radii of the reals'.
        k: the neighbour that the radii are of.

    Source: Kynkäänniemi et al. 2019 (precision, recall); Naeem et al. 2020, eqs. 4 and 5, lemma 2.
    """
    distances, own = torch.as_tensor(between), torch.as_tensor(fake_radii)
    inside, around = distances < torch.as_tensor(real_radii), distances < own[:, None]
    num_fake, num_real = distances.shape
    return Neighbours(
        precision=int(inside.any(dim=1).sum()) / num_fake,
        recall=int(around.any(dim=0).sum()) / num_real,
        density=int(inside.sum()) / (k * num_fake),
        coverage=int(inside.any(dim=0).sum()) / num_real,
    )


def pairwise(x: Tensor, y: Tensor) -> Tensor:
    """(N, M) Euclidean distances, by rows of 1024 so that work space stays small.

    Args:
        x: (N, d).
        y: (M, d).
    """
    return torch.cat([torch.cdist(part, y) for part in torch.split(x, _CHUNK)])


def radii(within: Tensor, k: int = NEIGHBOURS) -> Tensor:
    """(N,) distance of every sample to its k-th nearest other one.

    Args:
        within: (N, N) distances of the samples from each other.
        k: which neighbour, 1 being the nearest.
    """
    return torch.cat(
        [part.topk(k + 1, dim=1, largest=False).values[:, k] for part in torch.split(within, _CHUNK)]
    )


def point_radii(points: Array, k: int = NEIGHBOURS) -> Array:
    """(N,) distance of every one of (N, 2) points to its k-th nearest other one, by a k-d tree.

    Args:
        points: (N, 2).
        k: which neighbour, 1 being the nearest.
    """
    found, _ = KDTree(points).query(points, k=[k + 1])
    return np.asarray(found, dtype=np.float64)[:, 0]
