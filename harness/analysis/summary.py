"""A study's results, arm by arm: what its tables, its figures and its sentences are made from.

An *arm* is a row of the table: an arm of an ablation or grid; a tuned arm's best, trained anew with fresh
seeds; or, in a search, a trial. Trials that only served to tune an arm are kept apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from harness.analysis.load import check_measured_alike, read_results
from harness.analysis.statistics import (
    Comparison,
    Interval,
    compare,
    interquartile_mean,
    interval_of_iqm,
    interval_of_mean,
    mean,
)
from harness.recipe.registry import Value, metrics
from harness.runs.result import RunResult, is_absurd, last_on_half, score
from harness.search.trial import best_trial
from harness.study.folder import StudyFolder
from harness.study.target import At, Target
from harness.words import flagged, rounded

if TYPE_CHECKING:
    from harness.recipe import Recipe
    from harness.study.study import Arm, Study

__all__ = ["ArmResult", "Estimate", "Summary", "TrialResult", "known_score", "summarise"]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One metric of one arm, over its finished runs.

    Attributes:
        mean: mean over seeds, a failed run counted as `harness.runs.result.score` says.
        iqm: interquartile mean.
        interval: 95 % interval of the mean.
        iqm_interval: 95 % interval of the interquartile mean.
    """

    mean: float
    iqm: float
    interval: Interval
    iqm_interval: Interval


@dataclass(frozen=True, kw_only=True)
class ArmResult:
    """One row of the table.

    Attributes:
        name: the arm's name, or `trial 7`.
        position: its place in the study, from 0; it picks the arm's colour.
        parameters: what sets it apart, by dotted key; tuned values included.
        is_baseline: whether the others are compared with it.
        runs: its finished runs, by seed.
        num_planned: how many there will be.
        target: what the study compares by.
    """

    name: str
    position: int
    parameters: Mapping[str, Value]
    is_baseline: bool
    runs: tuple[RunResult, ...]
    num_planned: int
    target: Target

    @property
    def failed(self) -> tuple[RunResult, ...]:
        """The runs that failed; see `RunResult.failed`."""
        return tuple(run for run in self.runs if run.failed)

    @property
    def saved_steps(self) -> int:
        """D steps that its stopped runs were spared."""
        return sum(run.saved_steps for run in self.runs)

    def values(self, metric: str, at: At) -> dict[int, float]:
        """Seed → score of each finished run; NaN where a run was not measured by this metric.

        Args:
            metric: name of the metric.
            at: which summary of a run's curve.
        """
        return {run.seed: known_score(run, metric, at, self.target) for run in self.runs}

    def absurd(self, metric: str, at: At) -> dict[int, float]:
        """Seed → score, of those runs whose score tells that something is broken.

        Args:
            metric: name of the metric.
            at: which summary of a run's curve.
        """
        values = self.values(metric, at)
        return {run.seed: x for run in self.runs if is_absurd(run, metric, x := values[run.seed])}

    def in_words(self, value: float, metric: str, at: At) -> str:
        """What the arm's scores come to as people read it, marked where one of them is absurd.

        Args:
            value: a mean of theirs, or the like.
            metric: name of the metric.
            at: which summary of a run's curve.
        """
        return flagged(rounded(value), bool(self.absurd(metric, at)))

    def last_on_half(self, metric: str) -> dict[int, float]:
        """Seed → what stands beside each run's best score; see `harness.runs.result.last_on_half`."""
        return {run.seed: last_on_half(run, metric, goal=self.target.goal) for run in self.runs}

    def estimate(self, metric: str, at: At) -> Estimate:
        """The metric over this arm's finished runs. One run without a value leaves none for the arm.

        Intervals end where the metric does: a distance's mean is not below zero.

        Args:
            metric: name of the metric.
            at: which summary of a run's curve.
        """
        values = list(self.values(metric, at).values())
        least, most = metrics[metric].bounds if metric in metrics else (-math.inf, math.inf)
        return Estimate(
            mean=mean(values),
            iqm=interquartile_mean(values),
            interval=interval_of_mean(values).within(least, most),
            iqm_interval=interval_of_iqm(values).within(least, most),
        )


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """One trial of a search.

    Attributes:
        arm: the arm it searched for.
        number: its number within that arm.
        parameters: the values tried, by dotted key.
        run_ids: ids of its runs.
        runs: those that have finished, by seed.
        state: `running`, `complete`, `stopped` (given up: beaten by others) or `fail`.
        value: mean of the study's metric over its finished runs.
    """

    arm: str
    number: int
    parameters: Mapping[str, Value]
    run_ids: tuple[str, ...]
    runs: tuple[RunResult, ...]
    state: str
    value: float

    def is_absurd(self, target: Target) -> bool:
        """Whether its value is of a score that tells that something is broken.

        Args:
            target: what the study compares by.
        """
        return any(
            is_absurd(run, target.metric, known_score(run, target.metric, target.at, target))
            for run in self.runs
        )

    @property
    def num_failed(self) -> int:
        """How many of its runs failed."""
        return sum(run.failed for run in self.runs)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """All of a study that a report shows.

    Attributes:
        study: the study.
        directory: its folder.
        recipes: name of each arm → its recipe, as it was planned.
        arms: the rows of the table, in the study's order.
        trials: the trials that were told apart from arms: those of a search or of tuning.
        num_planned: runs that the study asks for, trials included.
        num_finished: how many of them have finished.
        limits: what evaluations of few samples cannot show, a sentence each, without its full stop.
    """

    study: Study
    directory: Path
    recipes: Mapping[str, Recipe]
    arms: tuple[ArmResult, ...]
    trials: tuple[TrialResult, ...]
    num_planned: int
    num_finished: int
    limits: tuple[str, ...] = ()

    @property
    def saved_steps(self) -> int:
        """D steps that stopped runs were spared, those of trials included."""
        tried = {run.run_id: run for trial in self.trials for run in trial.runs}
        runs = {run.run_id: run for arm in self.arms for run in arm.runs}
        return sum(run.saved_steps for run in (tried | runs).values())

    @property
    def target(self) -> Target:
        """What arms are compared by."""
        return self.study.target

    @property
    def metric(self) -> str:
        """The study's metric."""
        return self.target.metric

    @property
    def at(self) -> At:
        """Which summary of its curve arms are compared by."""
        return self.target.at

    @property
    def is_complete(self) -> bool:
        """Whether every run has finished."""
        return self.num_finished >= self.num_planned

    @cached_property
    def baseline(self) -> ArmResult | None:
        """The arm that the others are compared with."""
        return next((arm for arm in self.arms if arm.is_baseline), None)

    @cached_property
    def metric_names(self) -> tuple[str, ...]:
        """Every metric that a run was measured by: the study's first, then as the registry lists them."""
        seen = {name for arm in self.arms for run in arm.runs for name in run.scores}
        order = [name for name in metrics.names() if name in seen]
        others = [name for name in (*order, *sorted(seen - set(order))) if name != self.metric]
        return (self.metric, *others)

    def absurd_scores(self, arm: ArmResult) -> dict[str, float]:
        """Metric → one value, where it tells of something broken: the study's anywhere, others at the end.

        Args:
            arm: the arm whose runs are looked at.
        """
        found: dict[str, float] = {}
        for name in self.metric_names:
            looks: tuple[At, ...] = ("last", "best", "area") if name == self.metric else ("last",)
            values = [value for at in looks for value in arm.absurd(name, at).values()]
            found |= {name: max(values, key=abs)} if values else {}
        return found

    @cached_property
    def estimates(self) -> dict[str, Estimate]:
        """The study's metric of each arm, by the arm's name."""
        return {arm.name: arm.estimate(self.metric, self.at) for arm in self.arms}

    @cached_property
    def comparisons(self) -> tuple[Comparison, ...]:
        """Every other arm against the baseline; none if the study has no baseline."""
        if self.baseline is None:
            return ()
        others = {arm.name: arm.values(self.metric, self.at) for arm in self.arms if not arm.is_baseline}
        return tuple(compare(self.baseline.values(self.metric, self.at), others, target=self.target))

    @cached_property
    def ranking(self) -> tuple[ArmResult, ...]:
        """The arms that have a value, best first."""
        valued = [arm for arm in self.arms if math.isfinite(self.estimates[arm.name].mean)]
        return tuple(
            sorted(valued, key=lambda arm: (self.target.badness(self.estimates[arm.name].mean), arm.position))
        )

    @cached_property
    def parameter_names(self) -> tuple[str, ...]:
        """The parameters' columns: every dotted key that sets arms apart."""
        return tuple(dict.fromkeys(key for arm in self.arms for key in arm.parameters))

    def median_run(self, arm: ArmResult) -> RunResult | None:
        """The run with the median score (of an even number, the better of the two middle ones)."""
        scored = [
            (self.target.badness(value), run.seed, run)
            for run in arm.runs
            if math.isfinite(value := known_score(run, self.metric, self.at, self.target))
        ]
        return sorted(scored, key=lambda entry: entry[:2])[(len(scored) - 1) // 2][2] if scored else None

    def best_trial(self, arm: str) -> TrialResult | None:
        """An arm's best trial so far; see `harness.search.trial.best_trial`."""
        return best_trial([trial for trial in self.trials if trial.arm == arm], self.target)


def summarise(directory: Path) -> Summary:
    """Read a study's folder.

    Args:
        directory: ``runs/<study>``, with its `plan.json`.

    Returns:
        The summary of whatever has finished.

    Raises:
        ValueError: there is no plan, a file is not what it should be, or runs were measured in unlike ways.
    """
    from harness.planning.plan_file import read_planned

    if not StudyFolder(directory).plan.exists():
        raise ValueError(f"{directory} holds no study (there is no plan.json); run `harness sweep` first.")
    planned, study, recipes = read_planned(directory)
    results = read_results(directory)
    check_measured_alike(results, recipes, directory)
    searched = {run.run_id: run for run in results if run.phase == "search"}
    trials = [trial for arm in study.arms for trial in _trials(study, arm, directory, searched)]
    if study.kind == "search":
        arms = [_arm_of_trial(study, trial, position) for position, trial in enumerate(trials)]
    else:
        phase = "final" if study.kind == "tuned-ablation" else "ablate"
        arms = [
            _arm_result(study, arm, position, [run for run in results if run.phase == phase])
            for position, arm in enumerate(study.arms)
        ]
    untried = sum(study.num_trials(arm) for arm in study.arms) - len(trials)
    tried = {run_id for trial in trials for run_id in trial.run_ids}
    finals = [] if study.kind == "search" else arms
    return Summary(
        study=study,
        directory=directory,
        recipes=recipes,
        arms=tuple(arms),
        trials=tuple(trials),
        num_planned=len(tried) + untried * len(study.seeds) + sum(arm.num_planned for arm in finals),
        num_finished=len(tried & set(searched)) + sum(len(arm.runs) for arm in finals),
        limits=tuple(dict.fromkeys(arm["limits"] for arm in planned["arms"] if arm.get("limits"))),
    )


def _trials(study: Study, arm: Arm, directory: Path, searched: Mapping[str, RunResult]) -> list[TrialResult]:
    """The trials asked so far inside an arm, from the journal; their runs are found by what they are.

    Two trials may try the same settings, and then share their runs.
    """
    from harness.recipe import run_id
    from harness.search.search import Search
    from harness.search.storage import open_storage

    if not study.num_trials(arm) or not StudyFolder(directory).journal.exists():
        return []
    trials = []
    for record in Search(open_storage(directory), study, arm, directory).trials():
        overrides = study.trial_overrides(arm, record.parameters)
        recipe = study.trial_recipe(arm, record.parameters)
        run_ids = tuple(run_id(recipe, seed) for seed in study.seeds)
        runs = tuple(searched[identity] for identity in run_ids if identity in searched)
        trials.append(
            TrialResult(
                arm=arm.name,
                number=record.number,
                parameters={key: value for key, value in overrides.items() if key in study.space(arm)},
                run_ids=run_ids,
                runs=runs,
                state="stopped" if record.state == "pruned" else record.state,
                value=mean(
                    [known_score(run, study.target.metric, study.target.at, study.target) for run in runs]
                ),
            )
        )
    return trials


def _arm_of_trial(study: Study, trial: TrialResult, position: int) -> ArmResult:
    return ArmResult(
        name=f"trial {trial.number}",
        position=position,
        parameters=trial.parameters,
        is_baseline=False,
        runs=trial.runs,
        num_planned=len(study.seeds),
        target=study.target,
    )


def _arm_result(study: Study, arm: Arm, position: int, results: Sequence[RunResult]) -> ArmResult:
    runs = sorted((run for run in results if run.arm == arm.name), key=lambda run: run.seed)
    return ArmResult(
        name=arm.name,
        position=position,
        parameters=dict(arm.overrides) | (dict(runs[0].overrides) if runs else {}),
        is_baseline=arm.is_baseline,
        runs=tuple(runs),
        num_planned=len(study.final_seeds if study.kind == "tuned-ablation" else study.seeds),
        target=study.target,
    )


def known_score(run: RunResult, metric: str, at: At, target: Target | None = None) -> float:
    """A run's score; see `harness.runs.result.score`. NaN where the run was not measured by this metric.

    Args:
        run: the finished run.
        metric: name of the metric.
        at: which summary of its curve.
        target: what the study compares by, whose goal holds for its metric.
    """
    goal = target.goal if target is not None and target.metric == metric else None
    return score(run, metric, at, goal=goal) if metric in run.scores else math.nan
