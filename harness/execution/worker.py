"""Train a study's run groups, one after the other, as one worker among several.

Workers are equal and share nothing but the study's folder. Each takes the next group that has no result and
no lease, trains it from its checkpoint if it has one, and looks again. In a search it also asks for trials,
tells what they are worth, and, once an arm's budget is spent, trains its best anew.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.files import write_json
from harness.leases import Lease, take_lease
from harness.machine import describe_environment
from harness.planning.plan import ArmPlan, Plan, RunGroup, trial_groups
from harness.planning.plan_file import read_plan
from harness.runs.folder import RunFolder, load_result, run_directory
from harness.runs.result import score
from harness.search.trial import note_winner
from harness.study.folder import StudyFolder

if TYPE_CHECKING:
    from harness.runs.job import Progress
    from harness.search.search import Search
    from harness.search.trial import Trial

__all__ = ["Worker"]

_IDLE_SEC = 0.3
_PROGRESS_SEC = 0.5


@dataclass(frozen=True, kw_only=True)
class _Claim:
    """A group this worker has the lease of, and the trial it belongs to."""

    group: RunGroup
    lease: Lease
    arm: ArmPlan | None = None
    trial: Trial | None = None


class Worker:
    """One of a study's workers.

    Args:
        directory: ``runs/<study>``, with a plan.
        index: Number of the worker, from 0; names its progress file and its log.
        device: Where it trains.
        wandb: Mode of the W&B mirror.
        should_stop: Asked at every event, every second or so between two, and between groups.
        checkpoint_sec: Seconds of work that may be lost when it is killed; by default 20, or as many
            as keep them within 2 % of the training.
    """

    def __init__(
        self,
        directory: Path,
        *,
        index: int = 0,
        device: str = "cpu",
        wandb: str = "auto",
        should_stop: Callable[[], bool] = lambda: False,
        checkpoint_sec: float | None = None,
    ) -> None:
        self._plan: Plan = read_plan(directory)
        self._directory = directory
        self._folder = StudyFolder(directory)
        self._device = device
        self._wandb = wandb
        self._should_stop = should_stop
        self._checkpoint_sec = checkpoint_sec
        self._onednn = {arm.name: arm.onednn for arm in self._plan.arms}
        self._environment = describe_environment(device)
        self._searches: dict[str, Search] = self._open_searches()
        self._progress_path = self._folder.workers / f"{index}.json"
        self._reported_at = 0.0

    def work(self) -> None:
        """Train groups until the study has none left, then return.

        What it was doing stands in its progress file if it dies of anything else.

        Raises:
            Interrupted: If `should_stop` said so; the group at hand has a checkpoint then.
        """
        from harness.runs.job import Interrupted

        try:
            self._work()
        except Interrupted:
            self._tell_idle()
            raise
        self._tell_idle()

    def _work(self) -> None:
        from harness.runs.job import Interrupted

        while True:
            if self._should_stop():
                raise Interrupted
            claim, is_open = self._next()
            if claim is not None:
                with claim.lease:
                    self._train(claim)
            elif is_open:
                self._tell_idle()
                time.sleep(_IDLE_SEC)
            else:
                return

    def _next(self) -> tuple[_Claim | None, bool]:
        """The next group to train, and whether any is left, be it in another worker's hands."""
        if not self._plan.is_search:
            return self._next_planned()
        is_open = False
        searches = {name: (search, search.trials()) for name, search in self._searches.items()}
        # The arm with the fewest trials comes first, so that the arms go forward together.
        for name in sorted(searches, key=lambda name: len(searches[name][1])):
            search, trials = searches[name]
            claim, arm_is_open = self._next_of_arm(self._plan.arm(name), search, trials)
            if claim is not None:
                return claim, True
            is_open |= arm_is_open
        return None, is_open

    def _next_planned(self) -> tuple[_Claim | None, bool]:
        asked = set(self._plan.study.seeds)
        is_open = False
        for group in self._plan.run_groups:
            if self._is_done(group, asked):
                continue
            is_open = True
            claim = self._claim(group, asked)
            if claim is not None:
                return claim, True
        return None, is_open

    def _next_of_arm(self, arm: ArmPlan, search: Search, trials: list[Trial]) -> tuple[_Claim | None, bool]:
        budget = self._plan.study.num_trials(arm.asked)
        for trial in trials:
            if trial.state == "running":
                claim = self._next_of_trial(arm, search, trial)
                if claim is not None:
                    return claim, True
        asked = search.ask(budget) if len(trials) < budget else None
        while asked is not None:
            claim = self._next_of_trial(arm, search, asked)
            if claim is not None:
                return claim, True
            asked = search.ask(budget)
        trials = search.trials()
        if len(trials) < budget or any(trial.state == "running" for trial in trials):
            return None, True
        return self._next_final(arm, search)

    def _next_of_trial(self, arm: ArmPlan, search: Search, trial: Trial) -> _Claim | None:
        try:
            groups = trial_groups(self._plan, arm, trial.number, trial.parameters, "search")
        except ValueError:
            # Within the bounds of each parameter, and yet no recipe: it has used up its part of the budget.
            search.tell(trial.number, float("nan"))
            return None
        for group in groups:
            claim = None if self._is_done(group) else self._claim(group, arm=arm, trial=trial)
            if claim is not None:
                return claim
        self._tell_if_done(search, trial, groups)
        return None

    def _next_final(self, arm: ArmPlan, search: Search) -> tuple[_Claim | None, bool]:
        best = search.best() if "final" in self._plan.seeds else None
        if best is None:
            return None, False
        note_winner(self._directory, arm.name, best)
        groups = trial_groups(self._plan, arm, best.number, best.parameters, "final")
        left = [group for group in groups if not self._is_done(group)]
        for group in left:
            claim = self._claim(group)
            if claim is not None:
                return claim, True
        return None, bool(left)

    def _claim(
        self,
        group: RunGroup,
        asked: set[int] | None = None,
        *,
        arm: ArmPlan | None = None,
        trial: Trial | None = None,
    ) -> _Claim | None:
        lease = take_lease(self._folder.leases, group.id)
        if lease is None:
            return None
        if self._is_done(group, asked):
            lease.release()
            return None
        return _Claim(group=group, lease=lease, arm=arm, trial=trial)

    def _is_done(self, group: RunGroup, asked: set[int] | None = None) -> bool:
        """Whether every run of the group that has one of the seeds asked for has its result."""
        return all(
            RunFolder(run_directory(self._directory, run.run_id)).result.exists()
            for run in group.runs
            if asked is None or run.seed in asked
        )

    def _train(self, claim: _Claim) -> None:
        from harness.runs.job import Job
        from harness.runs.session import train_population

        search = self._searches[claim.arm.name] if claim.arm is not None else None
        trial = claim.trial
        prune: Callable[[int, float], bool] | None = None
        if search is not None and trial is not None and self._plan.study.early_terminate is not None:
            prune = _pruner(search, trial.number)
        self._report(claim.group, None)
        job = Job(
            study=self._plan.study.name,
            directory=self._directory,
            device=self._device,
            target=self._plan.study.target,
            environment=self._environment,
            checkpoint=self._folder.checkpoint(claim.group.id),
            wandb=self._wandb,
            early_stop=self._plan.study.early_stop,
            should_stop=self._should_stop,
            prune=prune,
            progress=lambda progress: self._report(claim.group, progress),
            onednn=self._onednn[claim.group.runs[0].arm],
            checkpoint_sec=self._checkpoint_sec,
        )
        train_population(claim.group.runs, job)
        if search is not None and trial is not None and claim.arm is not None:
            groups = trial_groups(self._plan, claim.arm, trial.number, trial.parameters, "search")
            self._tell_if_done(search, trial, groups)

    def _tell_if_done(self, search: Search, trial: Trial, groups: tuple[RunGroup, ...]) -> None:
        """Tell a trial's value, the mean over its seeds, once all of them are in."""
        results = [
            load_result(run_directory(self._directory, run.run_id)) for group in groups for run in group.runs
        ]
        found = [result for result in results if result is not None]
        if len(found) == len(results):
            target = self._plan.study.target
            value = sum(score(result, target.metric, target.at, goal=target.goal) for result in found) / len(
                found
            )
            search.tell(trial.number, value, pruned=any(result.pruned for result in found))

    def _open_searches(self) -> dict[str, Search]:
        if not self._plan.is_search:
            return {}
        from harness.search.search import Search
        from harness.search.storage import open_storage

        storage = open_storage(self._directory)
        return {
            arm.name: Search(storage, self._plan.study, arm.asked, self._directory) for arm in self._plan.arms
        }

    def _report(self, group: RunGroup, progress: Progress | None) -> None:
        """Say in this worker's progress file what it is doing; not more often than anyone looks."""
        now = time.monotonic()
        if progress is not None and now - self._reported_at < _PROGRESS_SEC:
            return
        self._reported_at = now
        known = {} if progress is None else asdict(progress)
        write_json(
            self._progress_path,
            {
                "pid": os.getpid(),
                "group": group.id,
                "label": group.label,
                "num_runs": len(group.runs),
                **known,
            },
            durable=False,  # nobody asks for it after a power cut
        )

    def _tell_idle(self) -> None:
        self._progress_path.unlink(missing_ok=True)


def _pruner(search: Search, trial: int) -> Callable[[int, float], bool]:
    return lambda evaluation, value: search.should_prune(trial, evaluation, value)
