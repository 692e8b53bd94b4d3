"""Study → plan: every run, grouped and priced, before anything starts.

The plan is decided once and kept in ``plan.json``. How runs are grouped and how many threads they get decide
the last bits of their numbers, so whoever goes on with the study, tomorrow or with other workers, keeps both:
a study that was killed and resumed gives the same table as one that was not.

What a worker takes is a run group, trained as one population. The groups of an ablation stand in the plan;
those of a trial follow from its parameters by `trial_groups`, a pure function, so nobody needs to write
them down.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.runs.job import PlannedRun
from harness.runs.result import Phase
from harness.words import duration, joined, listed

if TYPE_CHECKING:
    from harness.study.study import Arm, Study

__all__ = ["ArmPlan", "Plan", "Price", "RunGroup", "trial_groups", "with_all_groups"]

_WORTH_A_CUT = 0.95
"""Part of a study's time that a cut must leave at most."""


@dataclass(frozen=True, kw_only=True)
class RunGroup:
    """Runs that are trained together, as one population, by one worker.

    Attributes:
        runs: one or more, in the order of the population's rows.
    """

    runs: tuple[PlannedRun, ...]

    @cached_property
    def id(self) -> str:
        """Hash of the runs' ids, in order."""
        return hashlib.sha256("\n".join(run.run_id for run in self.runs).encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """Arms and seeds, as a person would name them."""
        arms = list(dict.fromkeys(run.arm for run in self.runs))
        seeds = sorted({run.seed for run in self.runs})
        shown = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]}–{seeds[-1]}"
        name = arms[0] if len(arms) == 1 else f"{arms[0]} and {len(arms) - 1} more"
        trial = self.runs[0].trial
        return f"{name}{'' if trial is None else f' trial {trial}'} seed {shown}"


@dataclass(frozen=True, kw_only=True)
class Price:
    """What a run costs, from a short measurement on the device.

    Attributes:
        steps: Training steps of one run.
        run_sec: Seconds of one run's training, its share of its population's.
        memory_bytes: Memory that its population takes on the device.
        host_bytes: Memory that a worker takes of the machine, its libraries and data included, and on a CPU
            its population; 0 in plans of a time when it was not measured.
        multiply_adds: Multiplications with an addition of one run's training; 0 in plans of a time when they
            were not counted.
    """

    steps: int
    run_sec: float
    memory_bytes: int
    multiply_adds: int = 0
    host_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class ArmPlan:
    """One arm of the study, and what is known of training it.

    Attributes:
        asked: Its name, settings and recipe; a search changes the recipe further.
        population: Most runs that are trained together, K.
        price: What a run costs; None where it has not been measured.
        data: Fingerprint of its data set; empty where it has not been measured.
        alone: Why its runs are trained one at a time, where torch cannot train several together; else empty.
        onednn: Whether oneDNN computes large products of its runs that train alone.
        eager: Why a GPU cannot replay its iterations as graphs, where it cannot; else empty.
        limits: What its evaluations cannot show, for they are of few samples; else empty.
    """

    asked: Arm
    population: int = 1
    price: Price | None = None
    data: str = ""
    alone: str = ""
    onednn: bool = False
    eager: str = ""
    limits: str = ""

    @property
    def name(self) -> str:
        """The arm's name."""
        return self.asked.name

    @cached_property
    def _fingerprint(self) -> str:
        return self.asked.recipe.fingerprint

    def run(self, seed: int) -> PlannedRun:
        """This arm's run of an ablation with some seed."""
        return PlannedRun(
            recipe=self.asked.recipe,
            seed=seed,
            arm=self.name,
            overrides=self.asked.overrides,
            fingerprint=self._fingerprint,
        )


@dataclass(frozen=True, kw_only=True, repr=False)
class Plan:
    """What is to be done for a study, and how.

    Attributes:
        study: The study.
        directory: ``runs/<study>``.
        device: ``cpu``, ``cuda`` or ``cuda:<n>``.
        num_threads: Threads of each worker.
        workers: Worker processes; not part of what is kept.
        arms: The arms.
        run_groups: The run groups of an ablation; a search has none before its trials are asked.
        done: Ids of the runs that have a result; not part of what is kept.
        changed: Files that have changed since the plan was written, of code that is not the harness's own;
            not part of what is kept.
        renewed: Whether new runs are planned because of these changes.
    """

    study: Study
    directory: Path
    device: str
    num_threads: int
    workers: int
    arms: tuple[ArmPlan, ...]
    run_groups: tuple[RunGroup, ...]
    done: frozenset[str] = frozenset()
    changed: tuple[str, ...] = ()
    renewed: bool = False

    @property
    def is_search(self) -> bool:
        """Whether trials are asked; a grid without arms is planned like an ablation."""
        return self.study.kind in ("search", "tuned-ablation")

    @property
    def seeds(self) -> dict[Phase, tuple[int, ...]]:
        """The seeds of each phase that the study has.

        An arm's best trial is trained anew with fresh seeds: it was chosen for how it did with its own.
        """
        if not self.is_search:
            return {"ablate": self.study.seeds}
        if self.study.kind == "search":
            return {"search": self.study.seeds}
        return {"search": self.study.seeds, "final": self.study.final_seeds}

    @cached_property
    def runs(self) -> tuple[PlannedRun, ...]:
        """The runs known before anything starts, an ablation's: one for each arm and seed asked for."""
        if self.is_search:
            return ()
        return tuple(arm.run(seed) for arm in self.arms for seed in self.study.seeds)

    @property
    def num_runs(self) -> int:
        """How many runs the study takes in all."""
        return self.study.num_runs

    @property
    def num_done(self) -> int:
        """How many of them have a result."""
        if self.is_search:
            return min(len(self.done), self.num_runs)
        return sum(run.run_id in self.done for run in self.runs)

    @property
    def total_steps(self) -> int:
        """Steps of the runs that are left."""
        return round(self._left(lambda price: price.steps))

    @property
    def total_sec(self) -> float:
        """Seconds of training that are left, on one worker."""
        return self._left(lambda price: price.run_sec)

    @property
    def remarks(self) -> list[str]:
        """What a user should know of the plan before it is carried out."""
        warning = self.study.target.warning
        told = [f"warning: {warning}"] if warning else []
        told += [f"note: {line}" for line in self.study.notes]
        if self.study.unused:
            keys = joined([f"`{key}`" for key in self.study.unused])
            mean = "means" if len(self.study.unused) == 1 else "mean"
            told.append(f"note: {keys} {mean} nothing here; passed over.")
        told += [f"note: {line}." for line in dict.fromkeys(arm.limits for arm in self.arms) if line]
        told += [
            f"note: the iterations of {arm.name} are computed, and not replayed as CUDA graphs: {arm.eager}."
            for arm in self.arms
            if arm.eager
        ]
        if not self.changed:
            return told
        files = listed([f"`{file}`" for file in self.changed])
        has = "has" if len(self.changed) == 1 else "have"
        then = "a sweep trains them anew" if self.renewed else "their scores are those of the old code"
        return [*told, f"{files} {has} changed since these runs; {then}."]

    @property
    def eta_sec(self) -> float:
        """Seconds until the study is done, by all workers at once."""
        return self.total_sec / self.workers

    @property
    def memory_bytes(self) -> int:
        """Most memory that the populations of all workers take at once, on their devices."""
        return self.workers * max((arm.price.memory_bytes for arm in self.arms if arm.price), default=0)

    @property
    def host_bytes(self) -> int:
        """Most memory that all workers take of the machine at once; 0 where it was not measured."""
        return self.workers * max((arm.price.host_bytes for arm in self.arms if arm.price), default=0)

    def __repr__(self) -> str:
        left = self.num_runs - self.num_done
        cost = f"{self.total_steps:,} steps to go on {self.device}, about {duration(self.eta_sec)}"
        left_over = f"; {cost} with {self.workers} workers" if left else ""
        runs = f"{self.num_runs} runs of {len(self.arms)} arms, {self.num_done} of them exist"
        return f"<Plan {self.study.name}: {runs}{left_over}>"

    def arm(self, name: str) -> ArmPlan:
        """The arm of this name."""
        return next(arm for arm in self.arms if arm.name == name)

    def _left(self, cost: Callable[[Price], float]) -> float:
        if self.is_search:
            share = (self.num_runs - self.num_done) / len(self.arms)
            return sum(share * cost(arm.price) for arm in self.arms if arm.price)
        prices = {arm.name: arm.price for arm in self.arms}
        left = (run for run in self.runs if run.run_id not in self.done)
        return sum(cost(price) for run in left if (price := prices[run.arm]) is not None)


def trial_groups(
    plan: Plan, arm: ArmPlan, trial: int, parameters: Mapping[str, Any], phase: Phase
) -> tuple[RunGroup, ...]:
    """The groups of one trial, or of an arm's best trained anew.

    A study that prunes trains all seeds of a trial as one population, for they are judged together.

    Args:
        plan: The study's plan.
        arm: The trial's arm.
        trial: Its number.
        parameters: Optuna's parameters.
        phase: ``search`` or ``final``.

    Raises:
        ValueError: If the trial's parameters make no valid recipe.
    """
    overrides = plan.study.trial_overrides(arm.asked, parameters)
    recipe = plan.study.trial_recipe(arm.asked, parameters)
    runs = [
        PlannedRun(recipe=recipe, seed=seed, arm=arm.name, overrides=overrides, phase=phase, trial=trial)
        for seed in plan.seeds[phase]
    ]
    lockstep = phase == "search" and plan.study.early_terminate is not None
    return chunks(runs, len(runs) if lockstep else arm.population)


def chunks(runs: Sequence[PlannedRun], population: int) -> tuple[RunGroup, ...]:
    """Runs in order, in as few groups of at most `population` as there must be, of even size.

    Args:
        runs: runs of one structure.
        population: most runs of a group.
    """
    if not runs:
        return ()
    count = math.ceil(len(runs) / population)
    bounds = [round(i * len(runs) / count) for i in range(count + 1)]
    return tuple(RunGroup(runs=tuple(runs[low:high])) for low, high in itertools.pairwise(bounds))


def with_all_groups(plan: Plan) -> Plan:
    """An ablation's plan with a group for every run that it asks for and that has none yet."""
    if plan.is_search:
        return plan
    known = {run.run_id for group in plan.run_groups for run in group.runs}
    added = grouped(plan.arms, plan.study.seeds, plan.workers, known)
    return replace(plan, run_groups=(*plan.run_groups, *added))


def grouped(
    arms: Sequence[ArmPlan], seeds: Sequence[int], workers: int, known: Iterable[str] = ()
) -> tuple[RunGroup, ...]:
    """Put an ablation's runs into groups: same structure and data, at most K.

    Arms that differ only in numbers share a structure, and so share populations. The first seeds come first,
    and of these the longest groups, so that those which the workers train last are short. No group is so
    large that a worker would have nothing to do: what would be trained last while others wait is halved.

    Args:
        arms: The arms, measured.
        seeds: Seeds of each.
        workers: Worker processes.
        known: Ids of runs that have their group already.
    """
    from harness.recipe.structure import structure

    skip = set(known)
    alike: dict[Any, list[PlannedRun]] = {}
    most: dict[Any, int] = {}
    keys = [structure(arm.asked.recipe) for arm in arms]
    for seed in seeds:
        for arm, key in zip(arms, keys, strict=True):
            run = arm.run(seed)
            if run.run_id not in skip:
                skip.add(run.run_id)
                alike.setdefault(key, []).append(run)
                most[key] = arm.population
    share = max(1, math.ceil(sum(map(len, alike.values())) / workers))
    groups = [group for key, runs in alike.items() for group in chunks(runs, min(most[key], share))]
    order = {seed: position for position, seed in enumerate(seeds)}
    work = {arm.name: (arm.price and arm.price.multiply_adds) or 1 for arm in arms}
    while True:
        groups.sort(key=lambda group: (order[group.runs[0].seed], -_length(group, work)))
        length, last = _makespan(groups, work, workers)
        cut = [
            part
            for place, group in enumerate(groups)
            for part in (chunks(group.runs, math.ceil(len(group.runs) / 2)) if place in last else (group,))
        ]
        if len(cut) == len(groups) or _makespan(cut, work, workers)[0] > _WORTH_A_CUT * length:
            return tuple(groups)
        groups = cut


def _length(group: RunGroup, work: Mapping[str, int]) -> float:
    """How long a group takes, in multiply-adds of one run alone: a third of it more for each further run.

    That was measured of tiny nets, eight of which take as long as 3.3 alone; others are trained one by one.
    Counted and not timed, it makes of one study one plan, whatever else the machine does.
    """
    return work[group.runs[0].arm] * (2 + len(group.runs)) / 3


def _makespan(groups: Sequence[RunGroup], work: Mapping[str, int], workers: int) -> tuple[float, set[int]]:
    """When the last of some groups ends that workers take in order, and the places of those that end then."""
    free, ends = [0.0] * workers, []
    for group in groups:
        ends.append(heapq.heappop(free) + _length(group, work))
        heapq.heappush(free, ends[-1])
    length = max(ends, default=0.0)
    return length, {place for place, end in enumerate(ends) if end == length}
