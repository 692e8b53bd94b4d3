"""Generated points beside a data set's held-out ones, with everything about the reals computed only once.

Shapes: fake (N, 2), real (M, 2); everything float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist
from torch import Tensor

from harness.data import Dataset, Mixture
from harness.distances.balls import NEIGHBOUR_SCORES, Neighbours, neighbours, point_radii
from harness.distances.bins import Bins, bin_recall, point_bin_counts, point_bins
from harness.distances.plane import (
    interval_means,
    mean_distance,
    sliced_w2,
    sorted_projections,
    w2,
)
from harness.metrics.checks import Array, as_points, to_array
from harness.metrics.copies import MAX_QUERIES, memorised, nearness_of, repeated
from harness.metrics.groups import MIN_SAMPLES, Batch, Group, Latest, Scorer, d_auc_group, group, random_order
from harness.metrics.points import modes
from harness.metrics.scores import energy

__all__ = ["POINT_GROUPS", "Cloud", "PointBatch", "PointReference", "PointScorer"]


class Cloud:
    """Points, and what follows from them alone, each thing computed when it is first asked for.

    Args:
        points: (N, 2).
    """

    def __init__(self, points: Array) -> None:
        self.points = points

    @cached_property
    def distance(self) -> float:
        """Mean distance between two of them."""
        return mean_distance(self.points)

    @cached_property
    def radii(self) -> Array:
        """(N,) radii of their neighbourhoods."""
        return point_radii(self.points)

    @cached_property
    def projections(self) -> Array:
        """(L, N) their coordinates along each direction, in order."""
        return sorted_projections(self.points)


class PointReference(Cloud):
    """Real points.

    Args:
        points: (M, 2), held out.
        train: (T, 2), the training set's in random order, to compare reals with reals and to look for copies.
        mixture: the mixture that they were drawn from, where it is known.
    """

    def __init__(self, points: Array, train: Array, mixture: Mixture | None = None) -> None:
        super().__init__(points)
        self.train = train
        self.mixture = mixture
        self._means: dict[int, tuple[Array, float]] = {}
        self._nulls: dict[int, Neighbours] = {}

    @cached_property
    def halves(self) -> tuple[PointReference, PointReference]:
        """Every second of the reals in a fixed random order, from the first on and from the second on."""
        order = random_order(len(self.points))
        first, second = (
            PointReference(self.points[order[start::2]], self.train, self.mixture) for start in (0, 1)
        )
        return first, second

    @cached_property
    def bins(self) -> Bins[NDArray[Any]]:
        """K-means bins of the reals."""
        return point_bins(self.points)

    @cached_property
    def widths(self) -> Array | None:
        """(C,) widths of the mixture's parts."""
        return None if self.mixture is None else modes.true_short_axis_sd(self.mixture)

    def null(self, count: int) -> Neighbours:
        """`neighbours` of the first `count` training points: what a perfect generator would get."""
        if count not in self._nulls:
            other = Cloud(self.train[:count])
            between = cdist(other.points, self.points)
            self._nulls[count] = neighbours(between < self.radii, between < other.radii[:, None])
        return self._nulls[count]

    @cached_property
    def memory(self) -> KDTree:
        """The training set, of equal points only one."""
        return KDTree(np.unique(self.train, axis=0))

    @cached_property
    def nearness(self) -> Tensor:
        """(≤1000,) `nearness` of the first reals to the training set."""
        return self.nearness_of(self.points[:MAX_QUERIES])

    def nearness_of(self, points: Array) -> Tensor:
        """(N,) `nearness` of (N, 2) points to the training set."""
        found, _ = self.memory.query(points, k=2)
        return nearness_of(torch.from_numpy(found))

    def means(self, count: int) -> tuple[Array, float]:
        """`interval_means` of the projections, for `count` fakes."""
        if count not in self._means:
            self._means[count] = interval_means(self.projections, count)
        return self._means[count]


@dataclass(frozen=True, kw_only=True, eq=False)
class PointBatch(Batch):
    """Generated points beside real ones.

    Attributes:
        fakes: the generated points.
        reference: the real ones.
    """

    fakes: Cloud
    reference: PointReference

    @cached_property
    def between(self) -> Array:
        """(N, M) distances of fakes to reals."""
        return cdist(self.points, self.reference.points)

    @cached_property
    def assigned(self) -> tuple[modes.Assignment, Mixture]:
        """The fakes by the mixture's parts, and the mixture, which must be known."""
        mixture = self.reference.mixture
        assert mixture is not None
        return modes.assign(self.points, mixture), mixture

    @property
    def points(self) -> Array:
        """(N, 2) the fakes."""
        return self.fakes.points

    def arrays(self) -> tuple[Array, Array]:
        """New (N, 2) and (M, 2) float64 arrays."""
        return self.points.copy(), self.reference.points.copy()


@group("sliced_w2")
def _sliced_w2(batch: PointBatch) -> dict[str, float]:
    means, rest = batch.reference.means(len(batch.points))
    return {"sliced_w2": sliced_w2(batch.fakes.projections, means, rest)}


@group("mmd2")
def _mmd2(batch: PointBatch) -> dict[str, float]:
    return {"mmd2": energy(float(batch.between.mean()), batch.fakes.distance, batch.reference.distance)}


@group("bin_recall")
def _bins(batch: PointBatch) -> dict[str, float]:
    bins = batch.reference.bins
    return {"bin_recall": bin_recall(point_bin_counts(batch.points, bins.centres), bins.counts)}


@group(*NEIGHBOUR_SCORES)
def _neighbours(batch: PointBatch) -> dict[str, float]:
    between, real = batch.between, batch.reference.radii
    found = neighbours(between < real, between < batch.fakes.radii[:, None])
    return found.beside(batch.reference.null(len(batch.points)))


@group("repeated")
def _repeated(batch: PointBatch) -> dict[str, float]:
    clouds = (batch.points, batch.reference.points)
    count = min(map(len, clouds))
    fake, real = (torch.from_numpy(point_radii(points[:count], 1)) for points in clouds)
    return {"repeated": repeated(fake, real)}


@group("memorised", beside_train=True)
def _memorised(batch: PointBatch) -> dict[str, float]:
    reference = batch.reference
    return {"memorised": memorised(reference.nearness_of(batch.points), reference.nearness)}


@group("pair_distance")
def _pair_distance(batch: PointBatch) -> dict[str, float]:
    if not batch.reference.distance:
        raise ValueError("the held-out points are all the same, so nothing can be related to their spread.")
    return {"pair_distance": batch.fakes.distance / batch.reference.distance}


@group("modes", "modes_hit", "high_quality", "mode_kl", "thinness")
def _modes(batch: PointBatch) -> dict[str, float]:
    found, mixture = batch.assigned
    return {
        "modes": float(modes.modes(found, mixture)),
        "modes_hit": float(modes.modes_hit(found)),
        "high_quality": modes.high_quality(found),
        "mode_kl": modes.mode_kl(found, mixture),
        "thinness": modes.thinness(found, mixture, batch.reference.widths),
    }


@group("mode_recall", "mode_surplus")
def _mode_shares(batch: PointBatch) -> dict[str, float]:
    return {
        "mode_recall": modes.mode_recall(*batch.assigned),
        "mode_surplus": modes.mode_surplus(*batch.assigned),
    }


@group("w2")
def _w2(batch: PointBatch) -> dict[str, float]:
    return {"w2": w2(batch.points, batch.reference.points)}


POINT_GROUPS: tuple[Group[Any], ...] = (
    *(
        _sliced_w2,
        _mmd2,
        _bins,
        _neighbours,
        _repeated,
        _memorised,
        _pair_distance,
        _modes,
        _mode_shares,
        d_auc_group,
        _w2,
    ),
)


class PointScorer(Scorer):
    """Puts generated points beside a data set's held-out ones. See `Evaluator`.

    Args:
        dataset: of points.

    Raises:
        ValueError: samples that are no points in the plane, fewer than 20 held out, or all of them the same.
    """

    def __init__(self, dataset: Dataset) -> None:
        if dataset.sample_shape != (2,):
            raise ValueError(
                f"these scores are for points in the plane, but a sample of `{dataset.name}` has shape "
                f"{dataset.sample_shape}; choose a data set of points."
            )
        rows = torch.arange(len(dataset.test))
        super().__init__(dataset, POINT_GROUPS, fingerprint={"data": dataset.fingerprint}, rows=rows)
        real = as_points(to_array(dataset.test), "real", MIN_SAMPLES)
        train = as_points(to_array(self.train_samples(len(dataset.train))), "training")
        self._reference = PointReference(real, train, dataset.mixture)
        self._latest: Latest[Cloud] = Latest()
        if self._reference.distance == 0:
            raise ValueError(f"the held-out points of `{dataset.name}` are all the same; give other data.")

    def reference(self, device: torch.device) -> PointReference:
        """The real points, which are on the host whatever the device."""
        return self._reference

    def train_samples(self, count: int) -> Tensor:
        """(≤count, 2) training points, in random order."""
        train = self.dataset.train
        return train[torch.from_numpy(random_order(len(train))[:count]).to(train.device)]

    def batch(self, fake: Tensor | ArrayLike, half: int | None = None) -> PointBatch:
        """See `Scorer.batch`."""
        reference = self._reference
        return PointBatch(
            fakes=self._latest.of(fake, lambda: Cloud(as_points(to_array(fake), "generated", MIN_SAMPLES))),
            reference=reference if half is None else reference.halves[half],
        )
