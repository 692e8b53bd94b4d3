"""Generated points beside a data set's held-out ones, with everything about the reals computed only once.

Shapes: fake (N, 2), real (M, 2); everything float64.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist
from torch import Tensor

from harness.data import Dataset, Mixture
from harness.metrics.checks import Array, as_points, to_array
from harness.metrics.groups import MIN_SAMPLES, Group
from harness.metrics.points import modes
from harness.metrics.points.coverage import (
    bin_centres,
    bin_counts,
    compare_counts,
    neighbour_radii,
    neighbours_within,
)
from harness.metrics.points.distances import (
    d_auc,
    directions,
    energy,
    interval_means,
    mean_distance,
    sliced_w2_to,
    sorted_projections,
    w2,
)

__all__ = ["PointBatch", "PointFakes", "PointReference", "PointScorer"]

_ORDER_SEED = 0


class PointReference:
    """Real points, and what follows from them alone.

    Args:
        real: (M, 2), held out.
        mixture: the mixture that they were drawn from, where it is known.
    """

    def __init__(self, real: Array, mixture: Mixture | None) -> None:
        self.real = real
        self.mixture = mixture
        self._means: dict[int, tuple[Array, float]] = {}

    @cached_property
    def halves(self) -> tuple[PointReference, PointReference]:
        """Every second of the reals in a fixed random order, from the first on and from the second on."""
        # RandomState's streams are frozen by numpy's promise (NEP 19), so the order is the same everywhere.
        order = np.random.RandomState(_ORDER_SEED).permutation(len(self.real))
        first, second = (PointReference(self.real[order[start::2]], self.mixture) for start in (0, 1))
        return first, second

    @cached_property
    def distance(self) -> float:
        """Mean distance between two of the reals."""
        return mean_distance(self.real)

    @cached_property
    def radii(self) -> Array:
        """(M,) radii of the reals' neighbourhoods."""
        return neighbour_radii(self.real)

    @cached_property
    def centres(self) -> Array:
        """(B, 2) centres of the reals' bins."""
        return bin_centres(self.real)

    @cached_property
    def counts(self) -> NDArray[np.intp]:
        """(B,) reals in each bin."""
        return bin_counts(self.real, self.centres)

    @cached_property
    def projections(self) -> Array:
        """(L, M) the reals seen from each side, in order."""
        return sorted_projections(self.real, directions())

    @cached_property
    def widths(self) -> Array | None:
        """(C,) widths of the mixture's parts."""
        return None if self.mixture is None else modes.true_short_axis_sd(self.mixture)

    def means(self, count: int) -> tuple[Array, float]:
        """`interval_means` of the projections, for so many fakes."""
        if count not in self._means:
            self._means[count] = interval_means(self.projections, count)
        return self._means[count]


@dataclass(frozen=True, eq=False)
class PointFakes:
    """Generated points, and what follows from them alone.

    Attributes:
        points: (N, 2).
    """

    points: Array

    @cached_property
    def distance(self) -> float:
        """Mean distance between two of them."""
        return mean_distance(self.points)

    @cached_property
    def radii(self) -> Array:
        """(N,) radii of their neighbourhoods."""
        return neighbour_radii(self.points)

    @cached_property
    def projections(self) -> Array:
        """(L, N) they seen from each side, in order."""
        return sorted_projections(self.points, directions())


@dataclass(frozen=True, kw_only=True, eq=False)
class PointBatch:
    """Generated points beside real ones, with what several scores need of both."""

    fakes: PointFakes
    reference: PointReference
    judged: tuple[Array, Array] | None = None
    details: dict[str, tuple[float, ...]] = field(default_factory=dict)

    @cached_property
    def between(self) -> Array:
        """(N, M) distances of fakes to reals."""
        return cdist(self.points, self.reference.real)

    @property
    def points(self) -> Array:
        """(N, 2) the fakes."""
        return self.fakes.points


def _sliced_w2(batch: PointBatch) -> dict[str, float]:
    means, rest = batch.reference.means(len(batch.points))
    return {"sliced_w2": sliced_w2_to(batch.fakes.projections, means, rest)}


def _mmd2(batch: PointBatch) -> dict[str, float]:
    return {"mmd2": energy(float(batch.between.mean()), batch.fakes.distance, batch.reference.distance)}


def _bins(batch: PointBatch) -> dict[str, float]:
    reference = batch.reference
    return {"bin_recall": compare_counts(bin_counts(batch.points, reference.centres), reference.counts)}


def _neighbours(batch: PointBatch) -> dict[str, float]:
    near = neighbours_within(batch.between, batch.fakes.radii, batch.reference.radii)
    return {name: getattr(near, name) for name in ("precision", "recall", "density", "coverage")}


def _pair_distance(batch: PointBatch) -> dict[str, float]:
    return {"pair_distance": batch.fakes.distance / batch.reference.distance}


def _modes(batch: PointBatch) -> dict[str, float]:
    mixture = batch.reference.mixture
    assert mixture is not None
    found = modes.assign(batch.points, mixture)
    return {
        "modes": float(modes.modes(found, mixture)),
        "modes_hit": float(modes.modes_hit(found)),
        "high_quality": modes.high_quality(found),
        "mode_kl": modes.mode_kl(found, mixture),
        "thinness": modes.thinness(found, mixture, batch.reference.widths),
    }


def _d_auc(batch: PointBatch) -> dict[str, float]:
    assert batch.judged is not None
    return {"d_auc": d_auc(*batch.judged)}


def _w2(batch: PointBatch) -> dict[str, float]:
    return {"w2": w2(batch.points, batch.reference.real)}


def _has_mixture(reference: PointReference) -> bool:
    return reference.mixture is not None


_ALL = (
    Group(names=("sliced_w2",), compute=_sliced_w2),
    Group(names=("mmd2",), compute=_mmd2),
    Group(names=("bin_recall",), compute=_bins),
    Group(names=("precision", "recall", "density", "coverage"), compute=_neighbours),
    Group(names=("pair_distance",), compute=_pair_distance),
    Group(
        names=("modes", "modes_hit", "high_quality", "mode_kl", "thinness"),
        compute=_modes,
        available=_has_mixture,
    ),
    Group(names=("d_auc",), compute=_d_auc, needs="scores"),
    # It takes 0.1 s at 1200 good points and 1 s at collapsed ones, and is cubic in their number.
    Group(names=("w2",), compute=_w2, exact=True),
)


class PointScorer:
    """Puts generated points beside a data set's held-out ones. See `Evaluator`, and `Scorer`.

    Raises:
        ValueError: samples that are no points in the plane, fewer than 20 held out, or all of them the same.
    """

    def __init__(self, dataset: Dataset) -> None:
        if dataset.sample_shape != (2,):
            raise ValueError(
                f"these scores are for points in the plane, but a sample of `{dataset.name}` has shape "
                f"{dataset.sample_shape}; choose a data set of points."
            )
        self.fingerprint: Mapping[str, str] = {"data": dataset.fingerprint}
        self._reference = PointReference(
            as_points(to_array(dataset.test), "real", MIN_SAMPLES), dataset.mixture
        )
        self._train = dataset.train
        self._latest: tuple[weakref.ref[Tensor], int, PointFakes] | None = None
        if self._reference.distance == 0:
            raise ValueError(f"the held-out points of `{dataset.name}` are all the same; give other data.")

    @property
    def held_out_rows(self) -> Tensor:
        """(M,) rows of the held-out points: all of them."""
        return torch.arange(len(self._reference.real))

    def groups(self) -> tuple[Group[PointBatch], ...]:
        """The groups of scores that these points get; some need the mixture behind them."""
        return tuple(group for group in _ALL if group.available(self._reference))

    def train_samples(self, count: int) -> Tensor:
        """(≤count, 2) training points."""
        return self._train[:count]

    def batch(
        self,
        fake: Tensor | ArrayLike,
        *,
        judged: tuple[Array, Array] | None,
        labels: Tensor | ArrayLike | None,
        half: int | None = None,
    ) -> PointBatch:
        """See `Scorer.batch`; labels are not looked at, for points have no classes."""
        return PointBatch(
            fakes=self._fakes(fake),
            reference=self._reference if half is None else self._reference.halves[half],
            judged=judged,
        )

    def _fakes(self, fake: Tensor | ArrayLike) -> PointFakes:
        """The fakes; what is known of the latest ones is kept for as long as their tensor is there."""
        if self._latest is not None:
            tensor, version, fakes = self._latest
            if tensor() is fake and isinstance(fake, Tensor) and fake._version == version:
                return fakes
        fakes = PointFakes(as_points(to_array(fake), "generated", MIN_SAMPLES))
        if isinstance(fake, Tensor) and not fake.is_inference():
            self._latest = weakref.ref(fake), fake._version, fakes
        return fakes
