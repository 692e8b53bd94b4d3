"""What arms and trials are compared by: a metric, at which time of training, and which way it is better."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from harness.recipe.registry import metrics

__all__ = ["At", "Goal", "Target"]

Goal: TypeAlias = Literal["minimize", "maximize"]
At: TypeAlias = Literal["first", "last", "best", "area"]


@dataclass(frozen=True, kw_only=True)
class Target:
    """What arms and trials are compared by.

    Attributes:
        metric: an entry of the metric registry.
        goal: which way is better.
        at: the last evaluation, the best one, or the mean over the time of training.
    """

    metric: str
    goal: Goal
    at: At = "last"

    def better(self, a: float, b: float) -> bool:
        """Whether the score `a` is better than `b`; any score is better than NaN."""
        return self.badness(a) < self.badness(b)

    def badness(self, score: float) -> float:
        """A number that is the smaller the better the score, to sort by; infinite for NaN."""
        if math.isnan(score):
            return math.inf
        return score if self.goal == "minimize" else -score

    def gain(self, before: float, after: float) -> float:
        """How much better `after` is than `before`; negative where it is worse, NaN where either is."""
        return before - after if self.goal == "minimize" else after - before

    @property
    def direction(self) -> str:
        """Which scores are better: ``lower`` or ``higher``."""
        return "lower" if self.goal == "minimize" else "higher"

    @property
    def warning(self) -> str:
        """One line where the goal is against the metric's own, else empty: it looks for the worst then."""
        if self.metric not in metrics or metrics[self.metric].goal == self.goal:
            return ""
        return (
            f"`metric.goal` is {self.goal}, but {metrics[self.metric].direction} is better of {self.metric}: "
            "this study calls the worst the best; leave `goal` out to look for the best."
        )

    def to_json(self) -> dict[str, str]:
        """The section `metric` of a sweep file."""
        return {"name": self.metric, "goal": self.goal, "at": self.at}
