"""How a study stands: which runs are in, what each arm is worth so far, and how long it will take."""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

from harness.runs.folder import find_results
from harness.runs.result import RunResult, is_absurd, score
from harness.search.trial import Trial, best_trial
from harness.study.folder import StudyFolder
from harness.study.target import Target
from harness.verdict.judge import HOPELESS, VERDICTS, Verdict

if TYPE_CHECKING:
    from harness.planning.plan import ArmPlan, Plan

__all__ = ["ArmStatus", "RunningGroup", "StatusReader", "StudyStatus"]

_BAD = tuple(name for name in VERDICTS if name not in ("immature", "healthy"))
_SETTLED_SEC = 5.0
"""Seconds before a speed is believed."""


@dataclass(frozen=True, kw_only=True)
class ArmStatus:
    """How one arm of a study stands.

    Attributes:
        name: The arm.
        done: Its finished runs, failed ones included.
        total: All its runs.
        mean: Mean of the study's metric over the finished runs; None before the first.
        failed: Runs that diverged, or were stopped because they were hopeless.
        bad_verdicts: Verdict → how many runs have it, finished or in training. Only verdicts that say that
            something is wrong, the worst first.
        saved_steps: Training steps that stopped runs were spared.
        is_absurd: Whether a score in the mean tells that something is broken.
    """

    name: str
    done: int
    total: int
    mean: float | None = None
    failed: int = 0
    bad_verdicts: Mapping[str, int] = field(default_factory=dict)
    saved_steps: int = 0
    is_absurd: bool = False


@dataclass(frozen=True, kw_only=True)
class RunningGroup:
    """What one worker is training now.

    Attributes:
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
class StudyStatus:
    """How a study stands at one moment.

    Attributes:
        arms: Its arms, in the order of the plan.
        running: What is being trained.
        target: What the means are of, and which one is the best.
        eta_sec: Seconds to go; None while unknown.
        num_runs: Runs done and in all, where these are not the sums over the arms (a search adds arms' runs
            as it goes).
    """

    arms: Sequence[ArmStatus]
    running: Sequence[RunningGroup] = ()
    target: Target | None = None
    eta_sec: float | None = None
    num_runs: tuple[int, int] | None = None

    @property
    def done(self) -> int:
        """Runs that have a result."""
        return self.num_runs[0] if self.num_runs else sum(arm.done for arm in self.arms)

    @property
    def total(self) -> int:
        """Runs that the study asks for."""
        return self.num_runs[1] if self.num_runs else sum(arm.total for arm in self.arms)

    @property
    def failed(self) -> int:
        """Runs that diverged, or were stopped as hopeless."""
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
        """D steps that stopped runs were spared."""
        return sum(arm.saved_steps for arm in self.arms)

    @property
    def best(self) -> ArmStatus | None:
        """The leading arm among those with a finite mean."""
        known = [arm for arm in self.arms if arm.mean is not None and math.isfinite(arm.mean)]
        target = self.target
        if target is None:
            return None
        return min(known, key=lambda arm: target.badness(arm.mean or 0.0), default=None)


class StatusReader:
    """Follows a study's results as they come in.

    Args:
        plan: The study's plan.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._results: dict[str, RunResult] = {}
        self._started = time.monotonic()
        self.refresh()
        self._steps_before = self._finished_steps()
        self._told = set(self._results)

    def refresh(self) -> None:
        """Read the results that are new."""
        for result in find_results(self._plan.directory, self._results):
            if result.is_current and result.seed in self._plan.seeds.get(result.phase, ()):
                self._results[result.run_id] = result

    def is_complete(self) -> bool:
        """Whether nothing is left to train."""
        self.refresh()
        if not self._plan.is_search:
            return all(run.run_id in self._results for run in self._plan.runs)
        from harness.search.search import Search
        from harness.search.storage import open_storage

        if not StudyFolder(self._plan.directory).journal.exists():
            return False
        storage = open_storage(self._plan.directory)
        for arm in self._plan.arms:
            search = Search(storage, self._plan.study, arm.asked, self._plan.directory)
            trials = search.trials()
            budget = self._plan.study.num_trials(arm.asked)
            if len(trials) < budget or any(trial.state == "running" for trial in trials):
                return False
            best = search.best()
            if "final" in self._plan.seeds and best is not None:
                seeds = {r.seed for r in self._of(arm.name) if r.phase == "final" and r.trial == best.number}
                if seeds != set(self._plan.seeds["final"]):
                    return False
        return True

    def record(self) -> None:
        """Put the finished arms of an ablation into the journal, where dashboards look."""
        if self._plan.is_search:
            return
        from harness.search.search import record_arms
        from harness.search.storage import open_storage

        self.refresh()
        study, directory = self._plan.study, self._plan.directory
        found = {arm.name: self._of(arm.name) for arm in self._plan.arms}
        values = {
            name: fmean(self._scores(runs)) for name, runs in found.items() if len(runs) == len(study.seeds)
        }
        record_arms(open_storage(directory), study, values, directory)

    def status(self, progress: Sequence[Mapping[str, Any]]) -> StudyStatus:
        """What the display shows.

        Args:
            progress: What the workers say that they are doing.
        """
        self.refresh()
        running = [
            RunningGroup(
                label=str(group["label"]),
                step=int(group.get("step", 0)),
                total_steps=int(group.get("total_steps", 0)),
                steps_per_sec=_ratio(group.get("step", 0), group.get("elapsed_sec", 0.0)),
            )
            for group in progress
        ]
        return StudyStatus(
            arms=[self._arm(arm, progress) for arm in self._plan.arms],
            running=running,
            target=self._plan.study.target,
            eta_sec=self._eta(progress),
        )

    def news(self, progress: Sequence[Mapping[str, Any]]) -> list[str]:
        """A line on each run that has become hopeless since this was last asked, and was not told of before.

        Args:
            progress: What the workers say that they are doing.
        """
        lines: dict[str, str] = {}
        for group in progress:
            lines |= group.get("alarms", {})
        # A worker reports only on the runs it trains now; what became of others stands in their results.
        for run_id, result in self._results.items():
            if result.verdict_name in HOPELESS:
                sentence = Verdict.from_json(result.verdict).sentence()
                lines.setdefault(run_id, f"{run_id} {result.arm} · seed {result.seed}: {sentence}")
        fresh = [line for run_id, line in lines.items() if run_id not in self._told]
        self._told |= set(lines)
        return fresh

    def _arm(self, arm: ArmPlan, progress: Sequence[Mapping[str, Any]]) -> ArmStatus:
        results = self._of(arm.name)
        if self._plan.is_search:
            total = self._plan.study.num_trials(arm.asked) * len(self._plan.seeds["search"])
            total += len(self._plan.seeds.get("final", ()))
        else:
            total = len(self._plan.study.seeds)
        return ArmStatus(
            name=arm.name,
            done=min(len(results), total),
            total=total,
            mean=self._worth(results),
            failed=sum(result.failed for result in results),
            bad_verdicts=self._bad_verdicts(arm, results, progress),
            saved_steps=sum(result.saved_steps for result in results),
            is_absurd=any(map(self._is_absurd, results)),
        )

    def _bad_verdicts(
        self, arm: ArmPlan, results: Sequence[RunResult], progress: Sequence[Mapping[str, Any]]
    ) -> dict[str, int]:
        counts = Counter(result.verdict_name for result in results)
        for group in progress:
            for run_id, (other, name) in group.get("verdicts", {}).items():
                counts[name] += other == arm.name and run_id not in self._results
        return {name: counts[name] for name in _BAD if counts[name]}

    def _worth(self, results: Sequence[RunResult]) -> float | None:
        """An arm's mean so far; of a search, its best trial's until the final runs come in."""
        compared = [result for result in results if result.phase != "search"]
        if compared:
            return fmean(self._scores(compared))
        tried: dict[int, list[RunResult]] = defaultdict(list)
        for result in results:
            tried[result.trial or 0].append(result)
        trials = [
            Trial(
                number=number,
                parameters={},
                state="pruned" if any(run.pruned for run in runs) else "complete",
                value=fmean(self._scores(runs)),
            )
            for number, runs in tried.items()
        ]
        best = best_trial(trials, self._plan.study.target)
        return best.value if best else None

    def _of(self, arm: str) -> list[RunResult]:
        return [result for result in self._results.values() if result.arm == arm]

    def _is_absurd(self, result: RunResult) -> bool:
        (value,) = self._scores([result])
        return is_absurd(result, self._plan.study.target.metric, value)

    def _scores(self, results: Sequence[RunResult]) -> list[float]:
        target = self._plan.study.target
        return [score(result, target.metric, target.at, goal=target.goal) for result in results]

    def _eta(self, progress: Sequence[Mapping[str, Any]]) -> float | None:
        """Seconds left: by the plan's prices at first, by this session's own pace once it has one."""
        steps = {arm.name: arm.price.steps for arm in self._plan.arms if arm.price}
        if self._plan.is_search:
            per_run = fmean(steps.values()) if steps else 0.0
            total = per_run * self._plan.num_runs
        else:
            total = sum(steps.get(run.arm, 0) for run in self._plan.runs)
        finished = self._finished_steps()
        under_way = sum(int(group.get("step", 0)) * int(group.get("num_live", 0)) for group in progress)
        saved = sum(result.saved_steps for result in self._results.values())
        left = max(0.0, total - finished - saved - under_way)
        elapsed_sec = time.monotonic() - self._started
        made = finished + under_way - self._steps_before
        if made <= 0 or elapsed_sec < _SETTLED_SEC:
            priced = sum(arm.price.run_sec for arm in self._plan.arms if arm.price)
            return left * _ratio(priced, sum(steps.values())) / self._plan.workers or None
        return left * elapsed_sec / made

    def _finished_steps(self) -> float:
        return sum(result.ledger.get("discriminator_steps", 0.0) for result in self._results.values())


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator and math.isfinite(denominator) else 0.0
