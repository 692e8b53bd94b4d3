"""What a trainer reports while it trains.

Shapes: K live runs. Row numbers are always those of the original population; the arrays' first axis is
aligned with `Trainer.live`, the rows still training.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["EvaluationDue", "Event", "Finished", "Logged", "Paused", "RunsDiverged", "SamplesDue"]


@dataclass(frozen=True, kw_only=True)
class Logged:
    """Training statistics since the last such event; one comes right before every evaluation but the first.

    Attributes:
        step: D steps taken so far.
        epoch: the same in passes over the training set.
        metrics: key → (K,) float64. `train/d_loss` and `train/g_loss` are means of the whole losses,
            penalties included; `train/d_real` and `train/d_fake` of D's scores in its own steps;
            `train/d_auc` of how often it scores a real sample of a batch above a fake one there,
            `train/d_grad_norm` and `train/g_grad_norm` of the gradients' norms, `train/d_update_ratio` and
            `train/g_update_ratio` of ‖Δθ‖/‖θ‖, both in every tenth iteration and in the one before an
            evaluation, absent where there was none; `train/nonfinite` counts the steps whose loss was not
            finite. `growth/size`, in pixels a side, and `growth/alpha` say where networks that grow stand
            now; others have none.
        histograms: key → (K, bins) int64 of how many of D's scores were in each bin of `SCORE_EDGES`, in the
            same iterations: `train/d_real_hist` of real and `train/d_fake_hist` of generated samples; absent
            where there were none.
    """

    step: int
    epoch: float
    metrics: dict[str, NDArray[np.float64]]
    histograms: dict[str, NDArray[np.int64]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class EvaluationDue:
    """The consumer should score the population now.

    Attributes:
        step: D steps taken so far; 0 is the untrained population.
        epoch: passes over the training set this evaluation stands for.
        final: whether training is complete.
    """

    step: int
    epoch: int
    final: bool


@dataclass(frozen=True, kw_only=True)
class SamplesDue:
    """The consumer should picture samples now; an evaluation, which pictures them too, is not due.

    Attributes:
        step: D steps taken so far.
        epoch: the same in passes over the training set.
    """

    step: int
    epoch: float


@dataclass(frozen=True, kw_only=True)
class Paused:
    """Nothing is due, but the consumer asked for a moment between two iterations, for instance to stop.

    Attributes:
        step: D steps taken so far.
    """

    step: int


@dataclass(frozen=True, kw_only=True)
class RunsDiverged:
    """Runs that stopped being finite; they are no longer live when this event arrives.

    Attributes:
        step: D steps taken so far.
        rows: their original row numbers.
        reasons: one line for each of them.
    """

    step: int
    rows: tuple[int, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Finished:
    """Training is over: all steps are done, or no run is live.

    Attributes:
        step: D steps taken.
    """

    step: int


Event = Logged | EvaluationDue | SamplesDue | Paused | RunsDiverged | Finished
