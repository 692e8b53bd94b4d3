"""Points to score, and scores of points, however few, by the groups that the evaluator computes from."""

from __future__ import annotations

from dataclasses import fields
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.data import Dataset, Mixture, load_dataset
from harness.distances.balls import Neighbours
from harness.metrics.points.scorer import POINT_GROUPS, Cloud, PointBatch, PointReference
from harness.recipe import choose
from harness.recipe.registry import datasets

Array = NDArray[np.float64]


def normal(rows: int, seed: int, scale: float = 1.0) -> Array:
    return scale * np.random.default_rng(seed).normal(size=(rows, 2))


def load(name: str) -> Dataset:
    return load_dataset(choose(datasets, name))


def mixture_of(name: str) -> Mixture:
    mixture = load(name).mixture
    assert mixture is not None
    return mixture


def sample(mixture: Mixture, count: int, seed: int, weights: Array | None = None) -> Array:
    """A perfect sampler's points, or those of one with other weights."""
    random = np.random.default_rng(seed)
    counts = random.multinomial(count, mixture.weights if weights is None else weights)
    return random.permutation(mixture.draw(counts, seed))


def scores(
    name: str,
    fake: ArrayLike,
    real: ArrayLike,
    mixture: Mixture | None = None,
    train: ArrayLike | None = None,
) -> dict[str, float]:
    """A score, and those of its group, of (N, 2) points beside (M, 2) real ones, by default both parts."""
    real = np.asarray(real, dtype=np.float64)
    reference = PointReference(real, real if train is None else np.asarray(train), mixture)
    batch = PointBatch(fakes=Cloud(np.asarray(fake, dtype=np.float64)), reference=reference)
    return next(group for group in POINT_GROUPS if name in group.names).compute(batch)


def score(
    name: str,
    fake: ArrayLike,
    real: ArrayLike,
    mixture: Mixture | None = None,
    train: ArrayLike | None = None,
) -> float:
    return scores(name, fake, real, mixture, train)[name]


w2, sliced_w2, mmd2, bin_recall, pair_distance = (
    partial(score, name) for name in ("w2", "sliced_w2", "mmd2", "bin_recall", "pair_distance")
)


def neighbours(fake: ArrayLike, real: ArrayLike) -> Neighbours:
    found = scores("precision", fake, real)
    return Neighbours(**{field.name: found[field.name] for field in fields(Neighbours)})
