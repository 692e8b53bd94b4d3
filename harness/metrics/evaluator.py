"""All scores of generated samples at once, for any kind of data set."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from harness.data import Dataset
from harness.metrics.checks import Array, as_scores, to_array
from harness.metrics.groups import MAX_NULL, MIN_SAMPLES, Group, Scorer, compute
from harness.metrics.images.scorer import HeldOut, ImageScorer
from harness.metrics.points.scorer import PointScorer
from harness.metrics.scores import Halves, Scores

if TYPE_CHECKING:
    from harness.features.extractors import Extractor

__all__ = ["Evaluator"]


class Evaluator:
    """Scores generated samples against a data set's held-out reals.

    What concerns the reals alone (sorted projections, radii, bins, embeddings) is computed once, when it is
    first needed, so keep the evaluator: one serves all runs on a data set, and nothing that it holds changes
    a score.

    One evaluation of 28×28 images takes 0.15 s of one CPU core at 1000 samples and 0.35 s at 2500, half of it
    for neighbours and KID; of 32×32 colour images 0.48 s at 1000, most of it for `swd`. Making it takes
    another second, at the first evaluation. What is dear adds 0.3 s at 1000 images to look for copies among
    60,000, and 2 s once.

    Args:
        dataset: the data set; `dataset.test` are the reals.
        held_out: for images, which of the held-out reals to score against: `all`; or `select`, one half, to
            choose a checkpoint by, and `report`, the other, to say how good it is. See also `halves`.
        extractor: for images, what embeds them; by default the classifier shipped for the data set, or else
            the random convolutions.

    Raises:
        ValueError: samples that are neither points in the plane nor images, or too few held out.
    """

    def __init__(
        self, dataset: Dataset, *, held_out: HeldOut = "all", extractor: Extractor | None = None
    ) -> None:
        images = dataset.kind == "images"
        self._scorer: Scorer = (
            ImageScorer(dataset, held_out=held_out, extractor=extractor) if images else PointScorer(dataset)
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The scores that this data set gets, those of the final evaluation included."""
        return tuple(name for group in self._scorer.groups() for name in group.names)

    def needs(self, metric: str) -> str:
        """What a score must be given beside samples: `scores` of D's, `labels`, or nothing."""
        group = self._group(metric)
        return "" if group is None else group.needs

    def _group(self, metric: str) -> Group[Any] | None:
        return next((group for group in self._scorer.groups() if metric in group.names), None)

    @property
    def sources(self) -> Mapping[str, str]:
        """Full names of scores that depend on an extractor: `frechet` → `frechet/lenet-mnist@1a2b3c4d`."""
        return {
            name: f"{name}/{self._scorer.fingerprint['extractor']}"
            for group in self._scorer.groups()
            if group.embedded
            for name in group.names
        }

    @property
    def fingerprint(self) -> Mapping[str, str]:
        """What the scores are measured against; scores are comparable only where it is the same.

        Record it with the scores, and compare two with `harness.features.comparing.check_comparable`.
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

        `memorised` is not among them: it would find the training samples in the training set.

        Args:
            count: how many generated samples they stand for; at most 2500, and as many as there are.
        """
        batch = self._scorer.batch(self._scorer.train_samples(min(count, MAX_NULL)))
        due = [one for one in self._scorer.groups() if not one.needs and not one.beside_train]
        return compute(due, batch)

    def evaluate(
        self,
        fake: Tensor | ArrayLike,
        *,
        real_scores: Tensor | ArrayLike | None = None,
        fake_scores: Tensor | ArrayLike | None = None,
        exact: bool = False,
        fake_labels: Tensor | ArrayLike | None = None,
        only: str = "",
    ) -> Scores:
        """All scores of a generator's samples.

        Args:
            fake: (N, *sample_shape) generated samples, at least 20, in random order; images in [-1, 1].
            real_scores: (M,) D's scores of the held-out reals; without them there is no `d_auc`.
            fake_scores: (N,) D's scores of `fake`.
            exact: also compute the dear scores, those whose `Metric.exact` is set.
            fake_labels: (N,) classes that the samples were asked to be of, where the generator is told.
            only: name of a score, to leave out all that are not computed together with it.

        Returns:
            Name to score, by the names in the registry of metrics, with `.failures`: the scores that were due
            but could not be computed, and why.

        Raises:
            ValueError: too few samples, another shape, or a number that is not finite.
        """
        judged, labels = _judged(real_scores, fake_scores), _labels(fake_labels)
        given = {"", *(["scores"] if judged else []), *(["labels"] if labels is not None else [])}
        batch = replace(self._scorer.batch(fake), judged=judged, labels=labels)
        due = [g for g in self._scorer.groups() if g.needs in given and (exact or not g.exact)]
        due = [one for one in due if not only or only in one.names]
        return compute(due, batch)

    def halves(
        self,
        fake: Tensor | ArrayLike,
        metric: str,
        *,
        real_scores: Tensor | ArrayLike | None = None,
        fake_scores: Tensor | ArrayLike | None = None,
        fake_labels: Tensor | ArrayLike | None = None,
    ) -> Halves:
        """One score against each half of the held-out reals: one to choose a checkpoint by, one to report.

        The best of many scores flatters: it is the best by luck too. The same checkpoint's score on reals
        that had no say in the choice does not. The halves share no sample, and are the same at every call.
        Only the score's group is computed, twice; the fakes' features are those of the latest `evaluate` or
        `halves`, if that was given the same tensor object.

        Args:
            fake: (N, *sample_shape) generated samples, as for `evaluate`.
            metric: the score's name.
            real_scores: (M,) D's scores of the held-out reals, for `d_auc`; every second one is a half.
            fake_scores: (N,) D's scores of `fake`.
            fake_labels: (N,) classes that the samples were asked to be of.

        Returns:
            `(select, report)`, both NaN where one could not be computed; `.reason` then says why. A score
            that looks at the reals only through the truth behind them, like `modes`, is twice the same.

        Raises:
            ValueError: too few samples, another shape, or a number that is not finite.
        """
        group = self._group(metric)
        if group is None:
            return Halves(math.nan, math.nan, f"`{metric}` is not a score of this data set.")
        judged, labels = _judged(real_scores, fake_scores), _labels(fake_labels)
        lacking = {"scores": judged is None, "labels": labels is None}.get(group.needs, False)
        if lacking:
            return Halves(math.nan, math.nan, f"`{metric}` needs {group.needs}, which were not given.")
        by_scores = judged is not None and group.needs == "scores"
        num_real = len(judged[0]) if judged is not None and by_scores else len(self.held_out_rows)
        fewest = 1 if by_scores else MIN_SAMPLES
        if num_real // 2 < fewest:
            return Halves(math.nan, math.nan, f"half of the held-out samples are fewer than {fewest}.")
        found = []
        for half in (0, 1):
            part = None if judged is None else (judged[0][half::2], judged[1])
            batch = replace(self._scorer.batch(fake, half), judged=part, labels=labels)
            scores = compute([group], batch)
            if metric in scores.failures:
                return Halves(math.nan, math.nan, scores.failures[metric])
            found.append(scores[metric])
        return Halves(found[0], found[1])


def _judged(
    real_scores: Tensor | ArrayLike | None, fake_scores: Tensor | ArrayLike | None
) -> tuple[Array, Array] | None:
    if real_scores is None or fake_scores is None:
        return None
    return as_scores(to_array(real_scores), "real"), as_scores(to_array(fake_scores), "generated")


def _labels(labels: Tensor | ArrayLike | None) -> Tensor | None:
    return None if labels is None else torch.as_tensor(labels)
