"""All scores of generated samples at once, for any kind of data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from numpy.typing import ArrayLike
from torch import Tensor

from harness.data import Dataset
from harness.diagnostics.image_scores import HeldOut, ImageScorer
from harness.diagnostics.point_scores import PointScorer
from harness.diagnostics.scores import Scores

if TYPE_CHECKING:
    from harness.diagnostics.extractors import Extractor

__all__ = ["Evaluator"]


class Evaluator:
    """Scores generated samples against a data set's held-out reals.

    What concerns the reals alone (sorted projections, radii, bins, embeddings) is computed once, when it is
    first needed, so keep the evaluator: one serves all runs on a data set, and it holds no other state.

    One evaluation of 28×28 images takes 0.15 s of one CPU core at 1000 samples and 0.35 s at 2500, half of it
    for neighbours and KID; of 32×32 colour images 0.48 s at 1000, most of it for `swd`. Making it takes
    another second, at the first evaluation.

    Args:
        dataset: the data set; `dataset.test` are the reals.
        held_out: for images, which of the held-out reals to score against: `all`; or `select`, one half, to
            choose a checkpoint by, and `report`, the other, to say how good it is.
        extractor: for images, what embeds them; by default the classifier shipped for the data set, or else
            the random convolutions.

    Raises:
        ValueError: samples that are neither points in the plane nor images, or too few held out.
    """

    def __init__(
        self, dataset: Dataset, *, held_out: HeldOut = "all", extractor: Extractor | None = None
    ) -> None:
        self._scorer: PointScorer | ImageScorer
        if dataset.kind == "images":
            self._scorer = ImageScorer(dataset, held_out=held_out, extractor=extractor)
        else:
            self._scorer = PointScorer(dataset)

    @property
    def names(self) -> tuple[str, ...]:
        """The scores that this data set gets, those of the final evaluation included."""
        return self._scorer.names

    @property
    def sources(self) -> Mapping[str, str]:
        """Full names of scores that depend on an extractor: `frechet` → `frechet/lenet-mnist@1a2b3c4d`."""
        return self._scorer.sources

    @property
    def fingerprint(self) -> Mapping[str, str]:
        """What the scores are measured against; scores are comparable only where it is the same.

        Record it with the scores, and compare two with `harness.diagnostics.check_comparable`.
        """
        return self._scorer.fingerprint

    @property
    def held_out_rows(self) -> Tensor:
        """(M,) int64 rows of `dataset.test` that are scored against, in random order where they are images.

        D's scores of the first thousand or two of them will do for `real_scores`.
        """
        return self._scorer.held_out_rows

    def null(self, count: int) -> Scores:
        """The scores of real training samples in place of generated ones: what a perfect generator gets.

        Args:
            count: how many generated samples they stand for; at most 2500, and as many as there are.
        """
        return self._scorer.null(count)

    def evaluate(
        self,
        fake: Tensor | ArrayLike,
        *,
        real_scores: Tensor | ArrayLike | None = None,
        fake_scores: Tensor | ArrayLike | None = None,
        exact: bool = False,
        fake_labels: Tensor | ArrayLike | None = None,
    ) -> Scores:
        """All scores of a generator's samples.

        Args:
            fake: (N, *sample_shape) generated samples, at least 20, in random order; images in [-1, 1].
            real_scores: (M,) D's scores of the held-out reals; without them there is no `d_auc`.
            fake_scores: (N,) D's scores of `fake`.
            exact: also compute the dear scores, those whose `MetricInfo.exact` is set.
            fake_labels: (N,) classes that the samples were asked to be of, where the generator is told.

        Returns:
            Name to score, by the names in the registry of metrics, with `.failures`: the scores that were due
            but could not be computed, and why.

        Raises:
            ValueError: too few samples, another shape, or a number that is not finite.
        """
        return self._scorer.evaluate(
            fake, real_scores=real_scores, fake_scores=fake_scores, exact=exact, fake_labels=fake_labels
        )
