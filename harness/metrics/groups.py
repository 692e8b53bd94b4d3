"""Scores that are computed together, and what one kind of data's scorer is: reals, and samples beside them.

A score that fails costs itself alone, with those of its group. Other people's scores are a group each.
"""

from __future__ import annotations

import math
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from numbers import Real
from typing import Any, Generic, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from harness.data import Dataset
from harness.metrics.catalogue import Metric
from harness.metrics.checks import Array
from harness.metrics.scores import Scores, d_auc
from harness.recipe.registry import metrics

__all__ = [
    "MAX_NULL",
    "MIN_SAMPLES",
    "Batch",
    "Group",
    "Latest",
    "Scorer",
    "TooFewError",
    "compute",
    "d_auc_group",
    "group",
    "random_order",
]

MIN_SAMPLES = 20
"""Samples below which the scores mean nothing."""

MAX_NULL = 2500
"""Real samples that are scored in place of generated ones, at most."""

_ORDER_SEED = 0

B = TypeVar("B", bound="Batch")
T = TypeVar("T")


class TooFewError(ValueError):
    """There is too little yet for a score to mean anything: it is left out, and nothing is wrong."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch(ABC):
    """Generated samples beside real ones, with what several scores need of both.

    Attributes:
        judged: D's scores of held-out reals, (M,), and of the fakes, (N,), or None.
        labels: (N,) classes that the fakes were asked to be of, or None.
        details: what is behind a score, by its name; see `Scores`.
    """

    judged: tuple[Array, Array] | None = None
    labels: Tensor | None = None
    details: dict[str, tuple[float, ...]] = field(default_factory=dict)

    @abstractmethod
    def arrays(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """New arrays of the fakes, (N, *sample_shape), and of reals, (M, *sample_shape)."""


@dataclass(frozen=True, eq=False)
class Group(Generic[B]):
    """Scores that are computed together, and fail together.

    Attributes:
        names: of the scores, entries of the registry; whether they are dear, or need a mixture, stands there.
        compute: the scores of a batch of samples, by name.
        available: whether a reference, what is known of the reals, allows them.
        embedded: they depend on the extractor.
        beside_train: they look at the training set, so that they say nothing of samples taken from it.
        needs: what a batch must come with: D's `scores`, or the `labels` that were asked for.
    """

    names: tuple[str, ...]
    compute: Callable[[B], dict[str, float]]
    _: KW_ONLY
    available: Callable[[Any], bool] = lambda reference: True
    embedded: bool = False
    beside_train: bool = False
    needs: Literal["", "scores", "labels"] = ""

    @property
    def exact(self) -> bool:
        """Whether they are dear, and due only where they are asked for."""
        return any(metrics[name].exact for name in self.names)

    @property
    def needs_mixture(self) -> bool:
        """Whether the mixture behind the data must be known."""
        return any(metrics[name].needs_mixture for name in self.names)


def group(
    *names: str,
    available: Callable[[Any], bool] = lambda reference: True,
    embedded: bool = False,
    beside_train: bool = False,
    needs: Literal["", "scores", "labels"] = "",
) -> Callable[[Callable[[B], dict[str, float]]], Group[B]]:
    """Decorator: turn a function that computes these scores into their `Group`.

    Args:
        names: of the scores.
        available: as in `Group`; by default every reference allows them.
        embedded: as in `Group`.
        beside_train: as in `Group`.
        needs: as in `Group`.
    """
    return partial(
        Group, names, available=available, embedded=embedded, beside_train=beside_train, needs=needs
    )


@group("d_auc", needs="scores")
def d_auc_group(batch: Batch) -> dict[str, float]:
    """`d_auc`, which takes no look at the samples themselves."""
    assert batch.judged is not None
    return {"d_auc": d_auc(*batch.judged)}


class Scorer(ABC):
    """One kind of data's reals, and how a generator's samples are put beside them.

    Args:
        dataset: the data set.
        groups: all groups of the harness's scores of this kind of data.
        fingerprint: what the scores are measured against.
        rows: (M,) int64 rows of the held-out samples that are scored against.
    """

    def __init__(
        self,
        dataset: Dataset,
        groups: tuple[Group[Any], ...],
        *,
        fingerprint: Mapping[str, str],
        rows: Tensor,
    ) -> None:
        self.dataset = dataset
        self.fingerprint = fingerprint
        self.held_out_rows = rows
        self._groups = groups

    def groups(self) -> tuple[Group[Any], ...]:
        """The groups of scores that the data set gets: the harness's, then other people's."""
        reference, with_mixture = self.reference(self.dataset.test.device), self.dataset.mixture is not None
        ours = [one for one in self._groups if one.available(reference)]
        theirs = [
            Group((name,), partial(_computed, metric))
            for name, metric in metrics.items().items()
            if metric.compute is not None and metric.kind in ("any", self.dataset.kind)
        ]
        return tuple(one for one in (*ours, *theirs) if with_mixture or not one.needs_mixture)

    @abstractmethod
    def reference(self, device: torch.device) -> Any:
        """What is known of the reals, on a device; each thing is computed when it is first asked for."""

    @abstractmethod
    def train_samples(self, count: int) -> Tensor:
        """(≤count, *sample_shape) samples of the training set, in random order."""

    @abstractmethod
    def batch(self, fake: Tensor | ArrayLike, half: int | None = None) -> Batch:
        """Samples beside the reals, for the groups to compute from.

        Args:
            fake: (N, *sample_shape) generated samples.
            half: 0 or 1, to put them beside every second of the reals from that one on.

        Raises:
            ValueError: too few samples, another shape, or a number that is not finite.
        """


class Latest(Generic[T]):
    """What was made of the latest samples, kept for as long as their tensor is there and unchanged."""

    def __init__(self) -> None:
        self._known: tuple[weakref.ref[Tensor], int, T] | None = None

    def of(self, fake: object, make: Callable[[], T]) -> T:
        """What was made of `fake` before, or where that is not known, what `make` makes of it now."""
        if self._known is not None:
            tensor, version, known = self._known
            if tensor() is fake and isinstance(fake, Tensor) and fake._version == version:
                return known
        made = make()
        if isinstance(fake, Tensor) and not fake.is_inference():
            self._known = weakref.ref(fake), fake._version, made
        return made


def random_order(count: int) -> NDArray[np.int64]:
    """(count,) rows of a set in random order, always the same: files list them by writer, class or name."""
    # RandomState's streams are frozen by numpy's promise (NEP 19), so the order is the same everywhere.
    return np.random.RandomState(_ORDER_SEED).permutation(count).astype(np.int64)


def compute(groups: Iterable[Group[B]], batch: B) -> Scores:
    """All scores of some groups; a score that fails never stops the others.

    Args:
        groups: those that are due.
        batch: the samples, and what they came with.

    Raises:
        torch.cuda.OutOfMemoryError: the device's memory does not do for the whole population.
    """
    values: dict[str, float] = {}
    failures: dict[str, str] = {}
    too_few: set[str] = set()
    for due in groups:
        try:
            values |= due.compute(batch)
        except torch.cuda.OutOfMemoryError:
            raise  # the population is halved, and goes on
        except Exception as error:  # whatever it is: a score never ends a run
            failures |= dict.fromkeys(due.names, _reason(error))
            if isinstance(error, TooFewError):
                too_few.update(due.names)
    for name in [name for name, value in values.items() if not math.isfinite(value)]:
        failures[name] = f"it came out as {values.pop(name)}."
    return Scores(values, failures, batch.details, too_few)


def _computed(metric: Metric, batch: Batch) -> dict[str, float]:
    """The score that somebody else's function computes, on arrays that it may change."""
    assert metric.compute is not None
    labels = None if batch.labels is None else batch.labels.cpu().numpy().copy()
    value = metric.compute(*batch.arrays(), labels)
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"it must return a number, but returned {type(value).__name__}; write float(...).")
    return {metric.name: float(value)}


def _reason(error: Exception) -> str:
    """An error in one line; the name of its class goes with it unless its words were meant for people."""
    text = " ".join(str(error).split())
    expected = isinstance(error, (ValueError, RuntimeError, ArithmeticError)) and text
    return text if expected else f"{type(error).__name__}: {text or 'no more is known'}"
