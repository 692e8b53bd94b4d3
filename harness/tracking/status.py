"""How a sweep stands: what its display shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["ArmStanding", "RunningUnit", "SweepStatus"]


@dataclass(frozen=True, kw_only=True)
class ArmStanding:
    """How one arm of a study stands.

    Args:
        name: The arm.
        done: Its finished runs, failed ones included.
        total: All its runs.
        mean: Mean of the study's metric over the finished runs; None before the first.
        failed: Runs that diverged, or were stopped because they were hopeless.
        bad_verdicts: Verdict → how many runs have it, finished ones and those in training; of those that say
            that something is wrong, the worst first.
        saved_steps: Training steps that stopped runs were spared.
    """

    name: str
    done: int
    total: int
    mean: float | None = None
    failed: int = 0
    bad_verdicts: Mapping[str, int] = field(default_factory=dict)
    saved_steps: int = 0


@dataclass(frozen=True, kw_only=True)
class RunningUnit:
    """What one worker is training now.

    Args:
        label: Arm and seeds, as a person would name them.
        step: Training steps done.
        total_steps: Training steps in all.
        steps_per_sec: Speed; 0 while unknown.
    """

    label: str
    step: int
    total_steps: int
    steps_per_sec: float = 0.0


@dataclass(frozen=True, kw_only=True)
class SweepStatus:
    """How a study stands at one moment.

    Args:
        arms: Its arms, in the order of the plan.
        running: What is being trained.
        metric: Name of the study's metric, the heading of the means.
        goal: Which mean is the best one.
        eta_sec: Seconds to go; None while unknown.
        num_runs: Runs done and in all, where these are not the sums over the arms (a search adds arms' runs
            as it goes).
    """

    arms: Sequence[ArmStanding]
    running: Sequence[RunningUnit] = ()
    metric: str = ""
    goal: Literal["minimize", "maximize"] = "minimize"
    eta_sec: float | None = None
    num_runs: tuple[int, int] | None = None

    @property
    def done(self) -> int:
        return self.num_runs[0] if self.num_runs else sum(arm.done for arm in self.arms)

    @property
    def total(self) -> int:
        return self.num_runs[1] if self.num_runs else sum(arm.total for arm in self.arms)

    @property
    def failed(self) -> int:
        return sum(arm.failed for arm in self.arms)

    @property
    def bad_verdicts(self) -> dict[str, int]:
        """The arms' bad verdicts, added up."""
        counts: dict[str, int] = {}
        for arm in self.arms:
            for name, count in arm.bad_verdicts.items():
                counts[name] = counts.get(name, 0) + count
        return counts

    @property
    def saved_steps(self) -> int:
        return sum(arm.saved_steps for arm in self.arms)

    @property
    def best(self) -> ArmStanding | None:
        """The leading arm among those with a finite mean."""
        known = [arm for arm in self.arms if arm.mean is not None and math.isfinite(arm.mean)]
        sign = 1 if self.goal == "minimize" else -1
        return min(known, key=lambda arm: sign * (arm.mean or 0.0), default=None)
