"""Scores that are computed together, and how all of a batch's are: one that fails costs itself alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from harness.metrics.checks import Array

__all__ = ["MAX_NULL", "MIN_SAMPLES", "Group", "Scorer", "compute"]

MIN_SAMPLES = 20
"""Samples below which the scores mean nothing."""

MAX_NULL = 2500
"""Real samples that are scored in place of generated ones, at most."""

B = TypeVar("B")


@dataclass(frozen=True, kw_only=True, eq=False)
class Group(Generic[B]):
    """Scores that are computed together, and fail together.

    Attributes:
        names: of the scores.
        compute: the scores of a batch of samples, by name.
        available: whether a reference, what is known of the reals, allows them.
        exact: they are dear, and due only where they are asked for.
        embedded: they depend on the extractor.
        needs: what a batch must come with: D's `scores`, or the `labels` that were asked for.
    """

    names: tuple[str, ...]
    compute: Callable[[B], dict[str, float]]
    available: Callable[[Any], bool] = lambda reference: True
    exact: bool = False
    embedded: bool = False
    needs: Literal["", "scores", "labels"] = ""


class Scorer(Protocol):
    """One kind of data's reals, and how a generator's samples are put beside them."""

    @property
    def fingerprint(self) -> Mapping[str, str]:
        """What the scores are measured against."""

    @property
    def held_out_rows(self) -> Tensor:
        """(M,) rows of the held-out samples that are scored against."""

    def groups(self) -> tuple[Group[Any], ...]:
        """The groups of scores that the data set gets."""

    def train_samples(self, count: int) -> Tensor:
        """(≤count, *sample_shape) samples of the training set, in random order."""

    def batch(
        self,
        fake: Tensor | ArrayLike,
        *,
        judged: tuple[Array, Array] | None,
        labels: Tensor | ArrayLike | None,
        half: int | None = None,
    ) -> Any:
        """What the groups compute from; see `Evaluator.evaluate`.

        Args:
            fake: (N, *sample_shape).
            judged: D's scores of held-out reals, (M,), and of the fakes, (N,).
            labels: (N,) classes asked for.
            half: 0 or 1, to score against every second of the reals from that one on.

        Raises:
            ValueError: too few samples, another shape, or a number that is not finite.
        """


def compute(groups: Iterable[Group[B]], batch: B) -> tuple[dict[str, float], dict[str, str]]:
    """All scores of some groups, and of those that could not be computed the reasons, one line each."""
    values: dict[str, float] = {}
    failures: dict[str, str] = {}
    for group in groups:
        try:
            values |= group.compute(batch)
        except torch.cuda.OutOfMemoryError:
            raise  # the population is halved, and goes on
        except Exception as error:  # whatever it is: a score never ends a run
            failures |= dict.fromkeys(group.names, _reason(error))
    for name in [name for name, value in values.items() if not math.isfinite(value)]:
        failures[name] = f"it came out as {values.pop(name)}."
    return values, failures


def _reason(error: Exception) -> str:
    """One line; of an error that was not meant for people, with its kind."""
    text = " ".join(str(error).split())
    expected = isinstance(error, (ValueError, RuntimeError, ArithmeticError)) and text
    return text if expected else f"{type(error).__name__}: {text or 'no more is known'}"
