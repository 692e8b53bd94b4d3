"""What an evaluation gives back: scores, and beside them what could not be computed and why."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["Halves", "Scores"]


class Scores(dict[str, float]):
    """Scores by name, with the failures apart: a score that fails never stops a run, and is never made up.

    Args:
        values: name to score.
        failures: name to the reason, one line, for scores that were due but could not be computed.
        details: what is behind a score, by name: `class_ratios`, one number a class, the sure fakes over the
            number that as many reals would have.
    """

    def __init__(
        self,
        values: Mapping[str, float],
        failures: Mapping[str, str] | None = None,
        details: Mapping[str, tuple[float, ...]] | None = None,
    ) -> None:
        super().__init__(values)
        self.failures: Mapping[str, str] = MappingProxyType(dict(failures or {}))
        self.details: Mapping[str, tuple[float, ...]] = MappingProxyType(dict(details or {}))


class Halves(tuple[float, float]):
    """One score against two halves of the held-out reals, as a pair `(select, report)`.

    Args:
        select: against the half that a checkpoint is chosen by; NaN where it could not be computed.
        report: against the other, which says how good it is; NaN likewise.
        reason: why they are NaN, one line.
    """

    reason: str

    def __new__(cls, select: float, report: float, reason: str = "") -> Halves:
        """The pair."""
        halves = super().__new__(cls, (select, report))
        halves.reason = reason
        return halves

    @property
    def select(self) -> float:
        """The score against the half that a checkpoint is chosen by."""
        return self[0]

    @property
    def report(self) -> float:
        """The score against the half that had no say in the choice."""
        return self[1]
