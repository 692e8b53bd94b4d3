"""All scores of generated points at once, with everything about the reals computed only once.

Shapes: fake (N, 2), real (M, 2); everything float64.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist
from torch import Tensor

from harness.data import Dataset
from harness.diagnostics import modes
from harness.diagnostics.checks import Array, as_points, to_array
from harness.diagnostics.coverage import (
    bin_centres,
    bin_counts,
    compare_counts,
    neighbour_radii,
    neighbours_within,
)
from harness.diagnostics.fidelity import (
    d_auc,
    directions,
    energy,
    interval_means,
    mean_distance,
    sliced_w2_to,
    sorted_projections,
    w2,
)
from harness.diagnostics.metrics import MetricInfo
from harness.diagnostics.scores import Scores
from harness.registry import metrics

__all__ = ["PointScorer"]

MIN_SAMPLES = 20
"""Points below which the scores mean nothing."""


MAX_NULL = 2500


class PointScorer:
    """Scores generated points against a data set's held-out reals.

    What concerns the reals alone (sorted projections, radii, bins, widths of the mixture's parts) is computed
    when the evaluator is made, so keep it: one serves all runs on a data set, and it holds no other state.

    Args:
        dataset: the data set; `dataset.test` are the reals.

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
        self._real = as_points(to_array(dataset.test), "real", MIN_SAMPLES)
        self._mixture = dataset.mixture
        self._train = dataset.train
        self._real_distance = mean_distance(self._real)
        if self._real_distance == 0:
            raise ValueError(f"the held-out points of `{dataset.name}` are all the same; give other data.")
        self._real_radii = neighbour_radii(self._real)
        self._centres = bin_centres(self._real)
        self._real_counts = bin_counts(self._real, self._centres)
        self._projections = sorted_projections(self._real, directions())
        self._means: dict[int, tuple[Array, float]] = {}
        self._widths = None if self._mixture is None else modes.true_short_axis_sd(self._mixture)

    @property
    def sources(self) -> Mapping[str, str]:
        """None of the scores depends on an extractor."""
        return {}

    @property
    def names(self) -> tuple[str, ...]:
        """The scores that this data set gets, those of the final evaluation included."""
        infos: list[MetricInfo] = list(metrics.items().values())
        return tuple(
            info.name
            for info in infos
            if info.kind in ("points", "any") and (self._mixture is not None or not info.needs_mixture)
        )

    @property
    def held_out_rows(self) -> Tensor:
        """(M,) rows of the held-out points: all of them."""
        return torch.arange(len(self._real))

    def null(self, count: int) -> Scores:
        """Scores of real training points. See `Evaluator.null`."""
        return self.evaluate(self._train[: min(count, MAX_NULL)], exact=True)

    def evaluate(
        self,
        fake: Tensor | ArrayLike,
        *,
        real_scores: Tensor | ArrayLike | None = None,
        fake_scores: Tensor | ArrayLike | None = None,
        exact: bool = False,
        fake_labels: Tensor | ArrayLike | None = None,
    ) -> Scores:
        """All scores of a generator's points.

        Args:
            fake: (N, 2) generated points, at least 20, in random order.
            real_scores: (M,) D's scores of the held-out reals; without them there is no `d_auc`.
            fake_scores: (N,) D's scores of `fake`.
            exact: also compute `w2`, which is dear: 0.1 s at 1200 good points and 1 s at
                collapsed ones, and cubic in their number.
            fake_labels: not looked at: points have no classes.

        Returns:
            Name to score, by the names in the registry of metrics; those that need a mixture are there only
            where it is known.

        Raises:
            ValueError: too few points, another shape, or a number that is not finite.
        """
        points = as_points(to_array(fake), "generated", MIN_SAMPLES)
        between = cdist(points, self._real)
        fake_distance = mean_distance(points)
        near = neighbours_within(between, neighbour_radii(points), self._real_radii)
        scores = {
            "sliced_w2": sliced_w2_to(points, *self._real_means(len(points)), directions()),
            "mmd2": energy(float(between.mean()), fake_distance, self._real_distance),
            "bin_recall": compare_counts(bin_counts(points, self._centres), self._real_counts),
            "precision": near.precision,
            "recall": near.recall,
            "density": near.density,
            "coverage": near.coverage,
            "pair_distance": fake_distance / self._real_distance,
        }
        if self._mixture is not None:
            found = modes.assign(points, self._mixture)
            scores["modes"] = float(modes.modes(found, self._mixture))
            scores["modes_hit"] = float(modes.modes_hit(found))
            scores["high_quality"] = modes.high_quality(found)
            scores["mode_kl"] = modes.mode_kl(found, self._mixture)
            scores["thinness"] = modes.thinness(found, self._mixture, self._widths)
        if real_scores is not None and fake_scores is not None:
            scores["d_auc"] = d_auc(to_array(real_scores), to_array(fake_scores))
        if exact:
            scores["w2"] = w2(points, self._real)
        return Scores(scores)

    def _real_means(self, count: int) -> tuple[Array, float]:
        if count not in self._means:
            self._means[count] = interval_means(self._projections, count)
        return self._means[count]
