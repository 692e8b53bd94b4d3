"""What the evaluations of a population look at: its samples, D's scores of them and of held-out reals.

Shapes: K live runs, N generated samples and M held-out ones an evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from harness.data import Dataset, gather
from harness.metrics.evaluator import Evaluator
from harness.recipe.networks import build_discriminator, build_generator
from harness.runs.sampling import draw_latents, sample, scores_of

if TYPE_CHECKING:
    from harness.engine.trainer import Trainer
    from harness.metrics.scores import Scores

__all__ = ["Examination", "Examiner", "evaluator_of"]


@lru_cache(maxsize=2)
def evaluator_of(dataset: Dataset) -> Evaluator:
    """The evaluator of a data set, one for all populations on it."""
    return Evaluator(dataset)


@dataclass(frozen=True, kw_only=True)
class Examination:
    """One evaluation of all live runs.

    Attributes:
        samples: (K, N, *sample_shape) of each run's fixed latents, on the device.
        labels: (N,) their classes, where a network takes labels.
        rows: the samples again, one tensor a run; the evaluator knows a tensor that it has just embedded.
        fake_scores: (K, N) D's scores of them, on the CPU.
        real_scores: (K, M) D's scores of held-out reals, on the CPU.
        evaluator: scores them.
    """

    samples: Tensor
    labels: Tensor | None
    rows: tuple[Tensor, ...]
    fake_scores: Tensor
    real_scores: Tensor
    evaluator: Evaluator

    def some(self, shown: Sequence[int] | None) -> tuple[Tensor, Tensor | None]:
        """The samples of some of the fixed latents, (K, S, *sample_shape), and their classes, (S,)."""
        if shown is None:
            return self.samples, self.labels
        return self.samples[:, shown], None if self.labels is None else self.labels[shown]

    def is_finite(self, position: int) -> bool:
        """Whether all that is judged of a run is finite."""
        judged = (self.rows[position], self.fake_scores[position], self.real_scores[position])
        return all(bool(values.isfinite().all()) for values in judged)

    def scores(self, position: int, *, exact: bool) -> Scores:
        """All scores of a run against all held-out reals; see `Evaluator.evaluate`.

        Args:
            position: the run's row in this evaluation.
            exact: whether scores that are dear are due too.
        """
        return self.evaluator.evaluate(
            self.rows[position],
            real_scores=self.real_scores[position],
            fake_scores=self.fake_scores[position],
            exact=exact,
            fake_labels=self.labels,
        )

    def halves(self, position: int, metric: str) -> tuple[float, float]:
        """One score of a run against each half of the held-out reals, NaN where it has none.

        Args:
            position: the run's row in this evaluation.
            metric: name of the score.

        Returns:
            The score on the half that selects, and on the half that reports.
        """
        try:
            found = self.evaluator.halves(
                self.rows[position],
                metric,
                real_scores=self.real_scores[position],
                fake_scores=self.fake_scores[position],
                fake_labels=self.labels,
            )
        except torch.cuda.OutOfMemoryError:
            raise
        except Exception:  # the score against all reals has already recorded what is wrong with the samples
            return math.nan, math.nan
        return found.select, found.report


class Examiner:
    """Makes the examinations of one population.

    Args:
        trainer: trains it.
        dataset: what it is trained on, on its device.
        evaluator: the data set's evaluator.
    """

    def __init__(self, trainer: Trainer, dataset: Dataset, evaluator: Evaluator) -> None:
        self._trainer = trainer
        self._population = trainer.population
        self._dataset = dataset
        self._evaluator = evaluator
        self._num = self._population.recipe.evaluate.num_samples
        rows = evaluator.held_out_rows.to(dataset.test.device)
        if dataset.kind == "images":  # as many as are generated; the rows are in random order
            rows = rows[: self._num]
        self._real = gather(dataset.test, rows)
        self._real_labels = None if dataset.test_labels is None else dataset.test_labels[rows]

    def examine(self) -> Examination:
        """Look at all live runs, of which there must be at least one."""
        samples, labels = self.samples()
        return Examination(
            samples=samples,
            labels=labels,
            rows=tuple(samples),
            fake_scores=self._population.discriminate(samples, labels).cpu(),
            real_scores=self._population.discriminate(self._real, self._real_labels).cpu(),
            evaluator=self._evaluator,
        )

    def samples(self, shown: Sequence[int] | None = None) -> tuple[Tensor, Tensor | None]:
        """Samples of every live run's fixed latents, (K, N, ...), and their classes, (N,); or some of them.

        The same number of latents is drawn in every call, because the first of many differ from a few.
        """
        trainer = self._trainer
        wanted = slice(None) if shown is None else list(shown)
        latents = torch.stack([trainer.fixed_latents(row, self._num)[wanted] for row in trainer.live])
        labels = trainer.fixed_labels(self._num)
        labels = None if labels is None else labels[wanted]
        return self._population.generate(latents, labels), labels

    def fresh_score(self, row: int, weights: Mapping[str, Any], metric: str) -> float:
        """A score of one of a run's checkpoints, of latents that no evaluation has looked at.

        It is measured against the half of the held-out reals that reports, and by the networks alone, so that
        it is the same whatever they were trained beside. It costs a part of one evaluation: the samples, and
        one group of scores against two halves; 0.03 s of one CPU core for 1000 small images or points.

        Args:
            row: original row number of the run.
            weights: the networks' state dictionaries, as `Population.run_state` has them.
            metric: name of the score.

        Returns:
            The score; NaN where it has none.
        """
        try:
            return self._fresh_score(row, weights, metric)
        except torch.cuda.OutOfMemoryError:
            raise
        except Exception:  # no score ends a run
            return math.nan

    def _fresh_score(self, row: int, weights: Mapping[str, Any], metric: str) -> float:
        recipe, dataset, device = self._population.recipes[row], self._dataset, self._population.device
        latents = draw_latents(
            self._num, recipe.latent_dim, seed=self._population.seeds[row], purpose="best checkpoint"
        )
        labels = self._trainer.fixed_labels(self._num)
        with torch.random.fork_rng(devices=()):
            generator = build_generator(recipe, dataset.sample_shape, dataset.num_classes)
            discriminator = build_discriminator(recipe, dataset.sample_shape, dataset.num_classes)
        generator.load_state_dict(weights.get("generator_average", weights["generator"]))
        asked = labels if getattr(generator, "takes_labels", False) else None
        samples = sample(generator.to(device), latents.to(device), asked)
        judged = {}
        if self._evaluator.needs(metric) == "scores":
            discriminator.load_state_dict(weights["discriminator"])
            discriminator = discriminator.to(device).eval()
            real_labels = None if self._real_labels is None else self._real_labels.to(device)
            judged["fake_scores"] = scores_of(discriminator, samples, labels).cpu()
            judged["real_scores"] = scores_of(discriminator, self._real.to(device), real_labels).cpu()
        return self._evaluator.halves(samples, metric, **judged, fake_labels=labels).report
