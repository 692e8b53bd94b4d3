"""What gives trials up that others beat."""

from __future__ import annotations

import math

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from harness.study.grammar import EarlyTerminate
from harness.study.study import Study

__all__ = ["BracketPruner", "brackets", "make_pruner"]

_MAX_BRACKETS = 100
"""Brackets that W&B goes up to from `min_iter`."""


class BracketPruner(optuna.pruners.BasePruner):
    """W&B's hyperband, which judges every trial at every bracket and exempts none, as Optuna's own does.

    At each evaluation a trial is compared at the last bracket it has reached: with the values that all
    trials, finished and given up among them, had there. It is given up where it is worse than the one at the
    place n / eta, counted from 0, of the n values in order. Trials that come later can so give up one that
    went on at the bracket itself.

    Args:
        early: when trials are stopped.

    Source: W&B's package ``sweeps`` 0.3.0, ``hyperband_stop_runs``.
    """

    def __init__(self, early: EarlyTerminate) -> None:
        self._early = early

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether a trial is to be given up after its last report.

        Args:
            study: all trials.
            trial: the one that is asked about.
        """
        sign = -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0
        own = _history(trial, sign)
        bracket = max((found for found in brackets(self._early, len(own)) if found <= len(own)), default=0)
        if not bracket:
            return False
        histories = [_history(other, sign) for other in study.get_trials(deepcopy=False)]
        reached = sorted(found[bracket - 1] for found in histories if len(found) >= bracket)
        threshold = reached[int(1.0 / self._early.eta * len(reached))] if reached else math.inf
        return (own[bracket - 1] if self._early.strict else min(own)) > threshold


def brackets(early: EarlyTerminate, most: int) -> list[int]:
    """The evaluations at which trials are judged.

    Args:
        early: when trials are stopped.
        most: as far as brackets are looked for that go up from `min_iter`.
    """
    found: list[int] = []
    if early.max_iter is None:
        assert early.min_iter is not None
        bracket: float = early.min_iter
        while int(bracket) <= most and len(found) < _MAX_BRACKETS:
            found.append(int(bracket))
            bracket *= early.eta
        return found
    bracket = early.max_iter / early.eta
    while bracket >= 1 and len(found) < (early.s or 0):
        found.append(int(bracket))
        bracket /= early.eta
    return found


def _history(trial: FrozenTrial, sign: float) -> list[float]:
    """A trial's values in the order of its evaluations, those that were finite; the least is the best."""
    return [sign * trial.intermediate_values[step] for step in sorted(trial.intermediate_values)]


def make_pruner(study: Study) -> optuna.pruners.BasePruner:
    """The pruner of a study's `early_terminate`; where that is None, one that gives no trial up."""
    early = study.early_terminate
    return optuna.pruners.NopPruner() if early is None else BracketPruner(early)
