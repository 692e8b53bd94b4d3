"""A trial of a search, which of several is the best, and which one won each arm."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from harness.files import read_json, write_json
from harness.leases import locked
from harness.study.folder import StudyFolder
from harness.study.target import Target

__all__ = ["Trial", "best_trial", "note_winner", "read_winners"]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One trial of a search.

    Attributes:
        number: Its number within its arm's budget, from 0.
        parameters: Optuna's parameters; `Study.trial_overrides` makes settings of them.
        state: ``running``, ``complete``, ``pruned`` or ``fail``.
        value: Mean of the study's metric over the seeds; None while running and where there is none.
    """

    number: int
    parameters: Mapping[str, Any]
    state: str
    value: float | None


class _Trial(Protocol):
    @property
    def number(self) -> int: ...
    @property
    def state(self) -> str: ...
    @property
    def value(self) -> float | None: ...


T = TypeVar("T", bound=_Trial)


def best_trial(trials: Iterable[T], target: Target) -> T | None:
    """The best of an arm's trials, the earliest of equals.

    A trial counts where it has run to its end with a finite value; where none has, those that were given up
    early count, by the last value they reached.

    Args:
        trials: of one arm.
        target: what they are compared by.

    Returns:
        It, or None where no trial has a finite value.
    """
    valued = [trial for trial in trials if trial.value is not None and math.isfinite(trial.value)]
    complete = [trial for trial in valued if trial.state == "complete"]
    ranked = sorted(complete or valued, key=lambda trial: (target.badness(trial.value or 0.0), trial.number))
    return ranked[0] if ranked else None


def note_winner(directory: Path, arm: str, best: Trial) -> None:
    """Keep which trial won an arm, for those who read results without a journal.

    Args:
        directory: ``runs/<study>``.
        arm: the arm.
        best: its best trial.
    """
    folder = StudyFolder(directory)
    with locked(folder.lock("winners")):
        known = read_winners(directory)
        noted = {"trial": best.number, "value": best.value}
        if known.get(arm) != noted:
            write_json(folder.winners, {**known, arm: noted})


def read_winners(directory: Path) -> dict[str, dict[str, Any]]:
    """Each arm's ``trial`` and ``value``, of those that have a winner.

    Args:
        directory: ``runs/<study>``.

    Raises:
        ValueError: the file is not JSON.
    """
    path = StudyFolder(directory).winners
    return dict(read_json(path)) if path.exists() else {}
