"""How often runs end in each verdict: rates with exact intervals, exact tests between arms, and sentences.

Every finished run counts, those that were stopped early too: leaving them out would make an arm look healthy
by its failures. Runs from before there were verdicts have none, and are said to be missing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from harness.analysis.statistics import ALPHA, Interval, binomial_interval, fisher_test, holm
from harness.analysis.summary import ArmResult, Summary
from harness.runs.result import RunResult
from harness.verdict.judge import VERDICTS
from harness.words import rounded

__all__ = [
    "WRONG",
    "Contrast",
    "Rate",
    "contrasts",
    "finding",
    "judged_arms",
    "rate_of_wrong",
    "rates",
]

WRONG = ("diverged", "d-saturated", "collapsed", "partial-collapse")
"""Verdicts of runs that have gone wrong: all but those that learnt, or are still learning."""

_MAX_ARMS = 12


@dataclass(frozen=True, kw_only=True)
class Rate:
    """How often the runs of an arm ended with one verdict.

    Attributes:
        count: the runs with that verdict.
        total: the runs with any verdict.
        interval: 95 % interval of the rate, Clopper and Pearson's.
    """

    count: int
    total: int
    interval: Interval

    @property
    def share(self) -> float:
        """`count` of `total`; NaN if no run has a verdict."""
        return self.count / self.total if self.total else math.nan


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Two arms, by how many of their runs went wrong.

    Attributes:
        arm: the arm with the higher share of runs that went wrong.
        other: the other arm.
        p_value: Fisher's exact test, two-sided.
        p_holm: the same, corrected for the number of pairs that were tested.
    """

    arm: str
    other: str
    p_value: float
    p_holm: float


def judged_arms(summary: Summary) -> list[ArmResult]:
    """The arms with at least one run that has a verdict."""
    return [arm for arm in summary.arms if _judged(arm)]


def rates(arm: ArmResult) -> dict[str, Rate]:
    """The rate of each verdict, in the order of `VERDICTS`."""
    judged = _judged(arm)
    counts = Counter(run.verdict_name for run in judged)
    return {name: _rate(counts[name], len(judged)) for name in VERDICTS}


def rate_of_wrong(arm: ArmResult) -> Rate:
    """The rate of runs that went wrong in any way."""
    judged = _judged(arm)
    return _rate(sum(run.verdict_name in WRONG for run in judged), len(judged))


def contrasts(summary: Summary) -> list[Contrast]:
    """Arms against the baseline, or each against each where there is none, by how many runs went wrong.

    A search has none, for its trials have one seed or two each. Nor have more than 12 arms without a
    baseline: with that many pairs to correct for, no difference could ever be found.
    """
    arms = judged_arms(summary)
    base = summary.baseline
    if summary.study.kind == "search":
        return []
    if base is not None:
        pairs = [(base, arm) for arm in arms if base in arms and arm != base]
    else:
        pairs = list(combinations(arms, 2)) if len(arms) <= _MAX_ARMS else []
    tested = []
    for first, second in pairs:
        a, b = rate_of_wrong(first), rate_of_wrong(second)
        if a.share > b.share:
            first, second = second, first
        tested.append((second.name, first.name, fisher_test(a.count, a.total, b.count, b.total)))
    corrected = holm([p for _, _, p in tested])
    return [
        Contrast(arm=arm, other=other, p_value=p, p_holm=p_holm)
        for (arm, other, p), p_holm in zip(tested, corrected, strict=True)
    ]


def finding(summary: Summary) -> list[str]:
    """What the rates say, in sentences; none where no run has a verdict."""
    arms = judged_arms(summary)
    if not arms:
        return []
    wrong = {arm.name: rate_of_wrong(arm) for arm in arms}
    total, count = sum(rate.total for rate in wrong.values()), sum(rate.count for rate in wrong.values())
    sentences = [_overall(count, total)]
    tested = contrasts(summary)
    for found in tested:
        if found.p_holm <= ALPHA:
            sentences.append(
                f"{found.arm} goes wrong more often than {found.other}: {_of(wrong[found.arm])} runs against "
                f"{_of(wrong[found.other])} (p = {rounded(found.p_holm)}"
                f"{' after correction' if len(tested) > 1 else ''})."
            )
    if tested and len(sentences) == 1 and 0 < count < total:
        sentences.append(_undecided(wrong, tested))
    missing = sum(len(arm.runs) for arm in summary.arms) - total
    if missing:
        are = "run has" if missing == 1 else "runs have"
        sentences.append(
            f"{missing} {are} no verdict, and {'is' if missing == 1 else 'are'} not counted here."
        )
    return sentences


def _judged(arm: ArmResult) -> list[RunResult]:
    return [run for run in arm.runs if run.verdict_name]


def _rate(count: int, total: int) -> Rate:
    return Rate(count=count, total=total, interval=binomial_interval(count, total))


def _overall(count: int, total: int) -> str:
    if not count:
        return f"No run went wrong: all {total} ended healthy or still learning."
    if count == total:
        return f"All {total} runs went wrong." if total > 1 else "The one run went wrong."
    return f"{count} of {total} runs went wrong."


def _undecided(wrong: dict[str, Rate], tested: Sequence[Contrast]) -> str:
    """Why nothing was found: the rates are too near, or the seeds too few for any rates."""
    least = min(
        fisher_test(wrong[c.arm].total, wrong[c.arm].total, 0, wrong[c.other].total) for c in tested
    ) * len(tested)
    if least > ALPHA:
        return (
            "Whether one arm goes wrong more often than another is undecided, and with so few seeds it would "
            "be even if all runs of one did and none of the other."
        )
    return (
        "Whether one arm goes wrong more often than another is undecided: such differences come about by "
        "chance (Fisher's exact test, corrected), which does not mean that the rates are equal."
    )


def _of(rate: Rate) -> str:
    return f"{rate.count} of {rate.total}"
