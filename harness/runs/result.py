"""What a finished run leaves behind, and what it is worth: one rule for failed runs, whoever asks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, TypeAlias

from harness.files import encode
from harness.recipe.plugins import changed
from harness.recipe.registry import metrics
from harness.study.target import At, Goal, Target

__all__ = [
    "RunResult",
    "failed_score",
    "last_on_half",
    "score",
    "summarise_curve",
]

Phase: TypeAlias = Literal["ablate", "search", "final"]
Outcome: TypeAlias = Literal["completed", "diverged", "stopped"]

_OUTCOMES = ("completed", "diverged", "stopped")
_PHASES = ("ablate", "search", "final")
_STOPPERS = ("", "verdict", "pruner", "callback")
_SUMMARIES = ("first", "last", "best", "area")


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """One finished run: one recipe trained with one seed.

    Attributes:
        run_id: Hash of recipe and seed; also the name of the run's folder.
        study: Name of the study.
        arm: Name of the arm. A search without arms has the one arm ``search``.
        overrides: What sets this run apart from the study's base recipe: dotted key to value, tuned values
            included.
        seed: The run's seed.
        phase: ``ablate`` for an arm of an ablation or grid, ``search`` for a trial's run, ``final`` for an
            arm's best trained anew with fresh seeds. Arms are compared by ``ablate`` and ``final`` runs only.
        trial: Number of the trial within its arm's search (for ``final``: of the trial it repeats).
        outcome: ``completed``; ``diverged`` (a parameter, a loss or a sample was not finite: the run failed);
            ``stopped`` (early; `stopped_by` says by what).
        reason: Why it did not complete, in words, else empty.
        scores: Metric to ``{"first", "last", "best", "area"}``: the untrained generator's score, the last
            one, the best one, and the mean over training (trapezoids over steps). First, last and area are
            measured on all held-out reals. The best of the study's metric is an honest one, see
            `best_checkpoint`; that of any other metric is its curve's optimum, which flatters: chosen and
            reported on one set.
        ledger: ``discriminator_steps``, ``generator_steps``, ``seen_images``, ``elapsed_sec`` of training,
            and ``diagnostics_sec`` of scores, verdicts, pictures, records and checkpoints. These seconds
            include those spent on the runs that trained beside it, but not on its film at the end. Of a run
            that was stopped also ``saved_steps``, the D steps that it was spared.
        recipe: The recipe's fingerprint.
        environment: Versions, device, git commit and whatever else places the run.
        failed_scores: Metric to ``{"count", "reason", "at_end"}``, how often it could not be computed, why
            the last time, and whether that was at the last evaluation; and ``"too_few"`` where nothing was
            wrong but that there were too few samples yet to tell. A score that failed is missing from its
            curve and is never made up.
        verdict: What became of the run: the fields of `harness.verdict.judge.Verdict` as plain values
            (``name``, ``rule``, ``evidence``, ``flags``, ``score``, ``step``), and ``since``, the step from
            which it has been that verdict without a break, ``timeline``, ``[[step, name], ...]`` over the
            evaluations, and ``rules``, the `harness.verdict.rules.RULES_VERSION` that gave them. Empty where
            it was never judged.
        stopped_by: What stopped a run early: ``verdict`` (hopeless: it counts as failed), ``pruner`` (its
            trial was beaten by others), ``callback`` (a function that `train` was given, which said the
            `reason`), or empty.
        best_checkpoint: ``metric``, ``step``, ``select``, ``report``, ``last``, ``fresh``: the checkpoint in
            ``best.pt`` was chosen by the study's metric on one half of the held-out reals (`select`), and its
            score on the other half (`report`) is what `scores` calls best; `last` is the last checkpoint's on
            that half. Both were measured at the end on fresh latents (`fresh`); those of a run that was not
            finite, on the latents of all its evaluations. Empty where the metric cannot be halved: its best
            then is its curve's optimum.

    Raises:
        ValueError: An unknown outcome, phase or `stopped_by`, or a metric without all of its four scores.
    """

    run_id: str
    study: str
    arm: str
    overrides: Mapping[str, bool | int | float | str]
    seed: int
    phase: Phase
    trial: int | None
    outcome: Outcome
    reason: str
    scores: Mapping[str, Mapping[str, float]]
    ledger: Mapping[str, float]
    recipe: str
    environment: Mapping[str, Any]
    failed_scores: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    verdict: Mapping[str, Any] = field(default_factory=dict)
    stopped_by: str = ""
    best_checkpoint: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.outcome not in _OUTCOMES:
            raise ValueError(f"`outcome` must be one of {', '.join(_OUTCOMES)}, but got {self.outcome!r}.")
        if self.phase not in _PHASES:
            raise ValueError(f"`phase` must be one of {', '.join(_PHASES)}, but got {self.phase!r}.")
        if self.stopped_by not in _STOPPERS or (self.stopped_by and self.outcome != "stopped"):
            raise ValueError(
                f"`stopped_by` must be verdict, pruner or callback, of a stopped run, but got "
                f"{self.stopped_by!r} with outcome {self.outcome}."
            )
        for metric, summary in self.scores.items():
            lacking = [at for at in _SUMMARIES if at not in summary]
            if lacking:
                raise ValueError(f"`scores.{metric}` lacks `{lacking[0]}`.")

    @property
    def failed(self) -> bool:
        """Whether the run counts as a failure: it diverged, or was stopped because it was hopeless.

        One that runs away with numbers that are finite to its end has diverged as much as one whose numbers
        overflow: its verdict says so.
        """
        return self.outcome == "diverged" or self.stopped_by == "verdict" or self.verdict_name == "diverged"

    @property
    def why_failed(self) -> str:
        """Why it failed: the reason for its end, or its verdict's; empty where it did not."""
        return (self.reason or str(self.verdict.get("rule", ""))) if self.failed else ""

    @property
    def is_current(self) -> bool:
        """Whether this process has the code that made it; the harness's own code is not compared."""
        return not changed(self.environment.get("code", {}))

    @property
    def pruned(self) -> bool:
        """Whether it was stopped for its trial's sake; that says nothing of the run itself."""
        return self.outcome == "stopped" and self.stopped_by not in ("verdict", "callback")

    @property
    def verdict_name(self) -> str:
        """The verdict's name; empty where it was never judged."""
        return str(self.verdict.get("name", ""))

    @property
    def saved_steps(self) -> int:
        """D steps that were not spent, because the run was stopped."""
        return int(self.ledger.get("saved_steps", 0))

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary; non-finite numbers become the strings ``nan``, ``inf`` and ``-inf``."""
        encoded = encode(asdict(self))
        assert isinstance(encoded, dict)
        return encoded

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "RunResult":
        """The inverse of `to_json`.

        Raises:
            ValueError: If a field is missing or unknown.
        """
        names = {field.name for field in fields(cls)}
        if names != set(values):
            raise ValueError(f"A result must have the fields {sorted(names)}, but got {sorted(values)}.")
        decoded = dict(values)
        decoded["verdict"] = _decoded_verdict(values["verdict"])
        decoded["best_checkpoint"] = _decoded_best(values["best_checkpoint"])
        decoded["scores"] = {
            metric: {at: float(value) for at, value in summary.items()}
            for metric, summary in values["scores"].items()
        }
        decoded["ledger"] = {key: float(value) if isinstance(value, str) else value
                             for key, value in values["ledger"].items()}  # fmt: skip
        return cls(**decoded)


def score(result: RunResult, metric: str, at: At = "last", *, goal: Goal | None = None) -> float:
    """The run's score; of one that failed, the worse of its untrained generator's and the last it had.

    An arm must pay for its failed runs rather than have them left out of its mean. The untrained score alone
    would be a gift to a run that got worse than that before it was stopped, and the last one alone to a run
    that was good until its numbers overflowed. Where means over training are compared, a failed run's mean
    counts if it is worse than both: to stop a run never makes better what it has come to by then. A score
    that could not be computed at a run's last evaluation is treated alike: what it was earlier is not what
    became of it.

    Args:
        result: A finished run.
        metric: Name of a metric, without ``eval/``.
        at: Which summary of the curve: ``last``, ``best`` (see `RunResult.scores`), ``area``, or ``first``,
            which is the untrained generator's whatever became of the run.
        goal: Which way is better; by default that of the metric's entry.

    Returns:
        The score; NaN where it could never be computed, and of a failed run where nobody knows which way the
        metric is better, as its entry is not registered.

    Raises:
        ValueError: If the run was not measured by this metric.
    """
    if not result.scores or (metric not in result.scores and metric in result.failed_scores):
        return math.nan
    if metric not in result.scores:
        known = ", ".join(sorted(result.scores))
        raise ValueError(f"Run {result.run_id} has no metric `{metric}`; it has {known}.")
    summary = result.scores[metric]
    if at == "first" or not _is_lost(result, metric):
        return summary[at]
    goal = goal or (metrics[metric].goal if metric in metrics else None)
    if goal is None:
        return math.nan
    over_training = (summary["area"],) if at == "area" else ()
    return failed_score(Target(metric=metric, goal=goal), summary["first"], summary["last"], *over_training)


def is_absurd(result: RunResult, metric: str, value: float) -> bool:
    """Whether a value of a run's score tells of something broken; see `Metric.is_absurd`.

    Args:
        result: The run.
        metric: Name of the metric; of one that is not registered, nothing is known.
        value: The score of the run at any time.
    """
    untrained = result.scores.get(metric, {}).get("first", math.nan)
    return metric in metrics and bool(metrics[metric].is_absurd(value, untrained))


def last_on_half(result: RunResult, metric: str, *, goal: Goal | None = None) -> float:
    """The last checkpoint's score against the half of the held-out reals that the best's is of.

    All held-out reals give another number for the same networks, Fréchet's distance a smaller one above all;
    this one can stand beside the best.

    Args:
        result: A finished run.
        metric: Name of a metric.
        goal: Which way is better; by default that of the metric's entry.

    Returns:
        The score, of a failed run as `score` has it; NaN where the best is not of a half.
    """
    if result.best_checkpoint.get("metric") != metric or "last" not in result.best_checkpoint:
        return math.nan
    if _is_lost(result, metric):
        return score(result, metric, "best", goal=goal)
    return float(result.best_checkpoint["last"])


def _is_lost(result: RunResult, metric: str) -> bool:
    """Whether a run's end has no score of its own: it failed, or none could be computed."""
    return result.failed or bool(result.failed_scores.get(metric, {}).get("at_end", False))


def failed_score(target: Target, *scores: float) -> float:
    """The worst of a failed run's scores, those left out that are not known; NaN where none is.

    Args:
        target: Says which way is better.
        scores: The untrained generator's, the last one, and whatever else it is judged by.
    """
    known = [value for value in scores if not math.isnan(value)]
    return max(known, key=target.badness, default=math.nan)


def summarise_curve(steps: Sequence[int], values: Sequence[float], target: Target) -> dict[str, float]:
    """First and last value of a curve, its optimum as ``best``, and its mean over training.

    ``area`` = ∫ value d(step) / (last step - first step) by trapezoids; of a single point, that point. It
    rewards a run for being good early, and is less at the mercy of where a swinging run happens to stop.

    Args:
        steps: Steps of the evaluations, increasing.
        values: The metric there, as many.
        target: Says which value is the best.

    Returns:
        ``{"first", "last", "best", "area"}``; ``first``, the untrained generator's, is NaN where the curve
        begins after step 0.

    Raises:
        ValueError: If there is no point, or lengths differ.
    """
    if not steps or len(steps) != len(values):
        raise ValueError(f"A curve needs as many values as steps, but got {len(values)} and {len(steps)}.")
    span = steps[-1] - steps[0]
    area = values[-1] if span == 0 else math.fsum(
        (steps[i + 1] - steps[i]) * (values[i] + values[i + 1]) / 2 for i in range(len(steps) - 1)
    ) / span  # fmt: skip
    best = min(values, key=target.badness)
    first = values[0] if steps[0] == 0 else math.nan
    return {"first": first, "last": values[-1], "best": best, "area": area}


def _decoded_verdict(values: Mapping[str, Any]) -> dict[str, Any]:
    """A verdict with all that a report reads of it, so that a damaged one is found here and not there."""
    if not values:
        return {}
    from harness.verdict.judge import VERDICTS, Verdict

    timeline = [[int(step), str(name)] for step, name in values["timeline"]]
    unknown = [name for _, name in timeline if name not in VERDICTS]
    if unknown:
        raise ValueError(f"unknown verdict `{unknown[0]}` in `verdict.timeline`")
    evidence = dict(Verdict.from_json(values).evidence)
    numbers = {"rules": int(values.get("rules", 1)), "since": int(values["since"])}
    return {**values, **numbers, "evidence": evidence, "timeline": timeline}


def _decoded_best(values: Mapping[str, Any]) -> dict[str, Any]:
    if not values:
        return {}
    numbers = {key: float(values[key]) for key in ("select", "report", "last") if key in values}
    if not {"select", "report"} <= set(numbers):
        raise ValueError("`best_checkpoint` lacks `select` or `report`")
    return {**values, "metric": str(values["metric"]), "step": int(values["step"]), **numbers}
