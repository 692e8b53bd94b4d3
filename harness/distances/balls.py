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
    "in_balls",
    "neighbours",
    "pairwise",
    "point_radii",
    "radii",
]

Array = NDArray[np.float64]
Marks = NDArray[np.bool_]

NEIGHBOURS = 5

_CHUNK = 1024
_PAIRS = 16_384
_SPARE = 2
_ROUNDING = 1e-12
"""How wrong a squared distance from matrix products may be, as a share of the squared norms: at most."""


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


def neighbours(inside: Tensor | Marks, around: Tensor | Marks, k: int = NEIGHBOURS) -> Neighbours:
    """Precision, recall, density and coverage from nearest neighbours.

    The neighbourhood of a sample is the open ball to its k-th nearest neighbour among its own kind. Under one
    law E[coverage] = 1 − Π_{i=1..k} (M − i)/(N + M − i) and E[density] = 1, whatever the law. In many
    dimensions samples that huddle inside of modes raise density far above 1; in the plane they hardly do.

    Args:
        inside: (N, M) whether each fake is inside the neighbourhood of each real, from `in_balls`.
        around: (N, M) whether each real is inside the neighbourhood of each fake.
        k: the neighbour that the neighbourhoods reach to.

    Source: Kynkäänniemi et al. 2019 (precision, recall); Naeem et al. 2020, eqs. 4 and 5, lemma 2.
    """
    in_reals, in_fakes = torch.as_tensor(inside), torch.as_tensor(around)
    num_fake, num_real = in_reals.shape
    return Neighbours(
        precision=int(in_reals.any(dim=1).sum()) / num_fake,
        recall=int(in_fakes.any(dim=0).sum()) / num_real,
        density=int(in_reals.sum()) / (k * num_fake),
        coverage=int(in_reals.any(dim=0).sum()) / num_real,
    )


def pairwise(x: Tensor, y: Tensor) -> Tensor:
    """(N, M) Euclidean distances but for rounding, by rows of 1024 so that work space stays small.

    By matrix products, the same samples are up to a millionth of their norm apart, and not 0. That is nothing
    to a mean, but decides where distances are compared: there `radii` and `in_balls` look again.

    Args:
        x: (N, d).
        y: (M, d).
    """
    return torch.cat([torch.cdist(part, y) for part in torch.split(x, _CHUNK)])


def radii(samples: Tensor, within: Tensor, k: int = NEIGHBOURS) -> Tensor:
    """(N,) distance of every sample to its k-th nearest other one, taken from the differences.

    Args:
        samples: (N, d).
        within: (N, N) their distances from each other, from `pairwise`, to pick candidates by.
        k: which neighbour, 1 being the nearest.

    Raises:
        ValueError: there are not more than k samples.
    """
    _check_enough(len(samples), k)
    count = min(k + 1 + _SPARE, len(samples))
    near = [part.topk(count, dim=1, largest=False).indices for part in torch.split(within, _CHUNK)]
    rows = torch.arange(len(samples), device=samples.device).repeat_interleave(count)
    apart = _apart(samples, rows, samples, torch.cat(near).flatten()).view(-1, count)
    return apart.topk(k + 1, dim=1, largest=False).values[:, k]


def in_balls(samples: Tensor, centres: Tensor, radii: Tensor, distances: Tensor) -> Tensor:
    """(N, M) whether each sample lies inside the open ball around each centre.

    Where rounding could decide, the distance is taken again from the difference. So a sample that equals the
    neighbour to which a ball reaches lies on its edge, and not inside.

    Args:
        samples: (N, d).
        centres: (M, d).
        radii: (M,) of the balls.
        distances: (N, M) from `pairwise`.
    """
    norms, squares = torch.linalg.vector_norm(centres, dim=1), radii.square()
    slack = _ROUNDING * (norms.square() + (norms + radii).square())
    found: Tensor = distances < (squares - slack).clamp_min(0).sqrt()
    perhaps = distances < torch.where(radii > 0, squares + slack, 0).sqrt()
    rows, columns = (perhaps & ~found).nonzero(as_tuple=True)
    found[rows, columns] = _apart(samples, rows, centres, columns) < radii[columns]
    return found


def _apart(x: Tensor, rows: Tensor, y: Tensor, columns: Tensor) -> Tensor:
    """(P,) distances of some pairs, of x[rows] and y[columns]; the same pair has the same one in any call."""
    parts = zip(torch.split(rows, _PAIRS), torch.split(columns, _PAIRS), strict=True)
    return torch.cat([(x[row] - y[column]).square().sum(dim=1).sqrt() for row, column in parts])


def point_radii(points: Array, k: int = NEIGHBOURS) -> Array:
    """(N,) distance of every one of (N, 2) points to its k-th nearest other one, by a k-d tree.

    Args:
        points: (N, 2).
        k: which neighbour, 1 being the nearest.

    Raises:
        ValueError: there are not more than k points.
    """
    _check_enough(len(points), k)
    found, _ = KDTree(points).query(points, k=[k + 1])
    return np.asarray(found, dtype=np.float64)[:, 0]


def _check_enough(count: int, k: int) -> None:
    if count <= k:
        raise ValueError(
            f"the neighbourhood of a sample reaches to neighbour {k} of its kind, which needs at least "
            f"{k + 1} samples, but got {count}."
        )
