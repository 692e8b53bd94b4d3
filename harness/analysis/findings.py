"""What a study found, in sentences: an answer for each arm, and flags for what a reader must not overlook."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from harness.analysis.statistics import Comparison, Interval, mean
from harness.analysis.summary import ArmResult, Estimate, Summary, TrialResult, known_score
from harness.verdict.rules import RULES_VERSION
from harness.words import flagged, in_words, joined, plural, rounded

__all__ = [
    "Answer",
    "Choice",
    "Flag",
    "answers",
    "changes_in_words",
    "choices",
    "flags",
    "headline",
    "without_value",
]

Decision: TypeAlias = Literal["better", "worse", "undecided", "too-few-seeds", "baseline", "best", "none"]

_BARELY = 0.25
_FAR = 2.0
_MOST_NAMES = 6
_WORST = "worst by far"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One or two sentences on one arm.

    Attributes:
        arm: the arm's name.
        decision: its decision, or what it is instead.
        claim: the answer itself.
        evidence: the numbers behind it.
    """

    arm: str
    decision: Decision
    claim: str
    evidence: str


@dataclass(frozen=True, kw_only=True)
class Flag:
    """A warning about one arm, or about the study.

    Attributes:
        arm: the arm's name; empty for the study.
        label: the flag in two or three words.
        text: the whole of it.
    """

    arm: str
    label: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What tuning chose for an arm, and what came of it.

    Attributes:
        arm: the arm's name.
        trial: the trial that was chosen.
        fresh: the study's metric of its settings, trained with seeds that they were not chosen by; None while
            no such run has finished.
        num_fresh: those seeds.
        loss: how much worse `fresh` is than the trial's value, by which it was chosen; negative where it is
            better, NaN where either is not known.
    """

    arm: str
    trial: TrialResult
    fresh: Estimate | None
    num_fresh: int
    loss: float


def headline(summary: Summary) -> str:
    """The study's outcome in one sentence."""
    if not summary.ranking:
        return without_value(summary) or "No run has finished yet, so there is nothing to say."
    best = summary.ranking[0]
    if summary.baseline is None:
        return f"The best of {plural(len(summary.ranking), _noun(summary))} is {best.name}."
    base = summary.baseline.name
    claims = {
        "better": "{names} {be} better than {base}",
        "worse": "{names} {be} worse than {base}",
        "undecided": "{names} cannot be told apart from {base}",
        "too-few-seeds": "{names} cannot be judged against {base} with so few seeds",
    }
    parts = []
    for decision, claim in claims.items():
        if names := [found.arm for found in summary.comparisons if found.decision == decision]:
            parts.append(claim.format(names=_listed(names), be="is" if len(names) == 1 else "are", base=base))
    far = [flag.arm for flag in flags(summary) if flag.label == _WORST]
    if far and parts:
        parts.append(f"{far[0]} is worst by far")
    return f"{'; '.join(parts)}." if parts else f"{base} is the only arm."


def changes_in_words(summary: Summary) -> str:
    """What the command line, or a script, changed of the study's file: `train.epochs is 2`; or nothing."""
    told = {
        key: in_words(value) if isinstance(value, (bool, int, float, str)) else ", ".join(map(str, value))
        for key, value in summary.study.changed.items()
    }
    return ", ".join(f"{key} is {value}" for key, value in told.items())


def without_value(summary: Summary) -> str:
    """Where runs have finished, but no arm has a value of the study's metric, a sentence that says why."""
    compared = [run for arm in summary.arms for run in arm.runs]
    runs = compared or [run for trial in summary.trials for run in trial.runs]
    lacking = [
        run for run in runs if not math.isfinite(known_score(run, summary.metric, summary.at, summary.target))
    ]
    is_judged = bool(summary.ranking) or (not compared and len(lacking) < len(runs))
    if not runs or is_judged:
        return ""
    reasons = [run.failed_scores.get(summary.metric, {}).get("reason", run.reason) for run in lacking]
    why = next((f": {str(reason).rstrip('.')}" for reason in reasons if reason), "")
    return (
        f"No arm can be judged: {len(lacking)} of {plural(len(runs), 'finished run')} "
        f"{'has' if len(lacking) == 1 else 'have'} no {summary.metric}{why}."
    )


def answers(summary: Summary) -> list[Answer]:
    """An answer for every arm, in the study's order; for a search, for the best trial only."""
    comparisons = {found.arm: found for found in summary.comparisons}
    found = []
    for arm in summary.arms:
        is_best = bool(summary.ranking) and arm == summary.ranking[0]
        if arm.name in comparisons:
            found.append(_compared(summary, arm, comparisons[arm.name]))
        elif arm.is_baseline:
            claim = f"{arm.name} is the baseline: the others are held against it, seed by seed."
            found.append(
                Answer(arm=arm.name, decision="baseline", claim=claim, evidence=_standing(summary, arm))
            )
        elif is_best or summary.study.kind != "search":
            place = _place(summary, arm)
            verdict: Decision = "best" if is_best else "none"
            found.append(
                Answer(
                    arm=arm.name,
                    decision=verdict,
                    claim=f"{arm.name} {place}.",
                    evidence=_standing(summary, arm),
                )
            )
    return found


def choices(summary: Summary) -> list[Choice]:
    """What tuning chose, arm by arm; none in a study without tuned arms."""
    if summary.study.kind == "search":
        return []
    found = []
    for arm in summary.arms:
        trial = summary.best_trial(arm.name)
        if trial is not None:
            fresh = summary.estimates[arm.name] if arm.runs else None
            loss = math.nan if fresh is None else summary.target.gain(fresh.mean, trial.value)
            found.append(Choice(arm=arm.name, trial=trial, fresh=fresh, num_fresh=len(arm.runs), loss=loss))
    return found


def flags(summary: Summary) -> list[Flag]:
    """Everything that a reader must not overlook, the study's own first."""
    found = []
    if changes := changes_in_words(summary):
        text = f"{changes}. Where the description says otherwise, it does not hold of these runs."
        found.append(Flag(arm="", label="changed from its file", text=text))
    if not summary.is_complete:
        found.append(
            Flag(
                arm="",
                label="not complete",
                text=f"This study is not complete: {summary.num_finished} of {summary.num_planned} runs have "
                "finished. Everything below is about those, and may still change.",
            )
        )
    if warning := summary.target.warning:
        found.append(Flag(arm="", label="a goal against the metric's own", text=warning))
    for line in summary.limits:
        text = f"{line[0].upper()}{line[1:]}."
        found.append(Flag(arm="", label="few samples", text=text))
    if any(compared.decision == "too-few-seeds" for compared in summary.comparisons):
        found.append(Flag(arm="", label="too few seeds", text=_too_few(summary)))
    if summary.study.kind == "search" and len(summary.ranking) > 1:
        found.append(
            Flag(
                arm="",
                label="a search",
                text=f"The best of {plural(len(summary.ranking), 'trial')} looks better than it is, because "
                "luck helped to choose it. Before it is believed, train it again with fresh seeds.",
            )
        )
    rules = [run.verdict["rules"] for arm in summary.arms for run in arm.runs if run.verdict]
    if older := sum(version != RULES_VERSION for version in rules):
        found.append(
            Flag(
                arm="",
                label="verdicts of other rules",
                text=f"The verdicts of {plural(older, 'run')} were given by other rules than those of today. "
                f"`harness report {summary.study.name} --judge-anew` judges them anew from their histories.",
            )
        )
    found.extend(_contrary_mean(summary))
    for arm in summary.arms:
        found.extend(_flags_of(summary, arm))
    return found


def _flags_of(summary: Summary, arm: ArmResult) -> Iterator[Flag]:
    if arm.failed:
        seeds = ", ".join(str(run.seed) for run in arm.failed)
        how = " or ".join(
            words
            for words, any_did in (
                ("diverged", any(run.stopped_by != "verdict" for run in arm.failed)),
                ("stopped as hopeless", any(run.stopped_by == "verdict" for run in arm.failed)),
            )
            if any_did
        )
        reasons = "; ".join(dict.fromkeys(run.why_failed for run in arm.failed if run.why_failed))
        yield Flag(
            arm=arm.name,
            label=f"{len(arm.failed)} of {len(arm.runs)} {how}",
            text=f"{len(arm.failed)} of {plural(len(arm.runs), 'run')} {how} (seed {seeds}"
            f"{': ' + reasons if reasons else ''}). Such a run counts with the worse of its untrained "
            "generator's score and the last it had; it is not left out.",
        )
    if absurd := summary.absurd_scores(arm):
        values = ", ".join(f"{name} {rounded(value)}" for name, value in absurd.items())
        yield Flag(
            arm=arm.name,
            label="absurd scores",
            text=f"Of {arm.name} something is broken, a run that ran away or data without contrast, say: "
            f"{values} (!). Such a score tells nothing of quality; the figures leave it out.",
        )
    yield from _failed_scores(arm, summary.metric)
    if summary.study.kind == "search":
        return
    if len(arm.runs) < arm.num_planned:
        yield Flag(
            arm=arm.name,
            label="unfinished",
            text=f"{len(arm.runs)} of {arm.num_planned} runs of {arm.name} have finished.",
        )
    if text := _far_behind(summary, arm):
        yield Flag(arm=arm.name, label=_WORST, text=text)
    if text := _barely_moved(summary, arm):
        yield Flag(arm=arm.name, label="barely moved", text=text)


def _too_few(summary: Summary) -> str:
    """Which comparisons nothing could have decided, by what test, and what to do about it."""
    few = [compared for compared in summary.comparisons if compared.decision == "too-few-seeds"]
    needed = max(compared.min_num_pairs for compared in few)
    planned = summary.baseline.num_planned if summary.baseline else 0
    if planned < needed:
        option = "`--seeds {}`" if summary.study.kind == "ablation" else "`--set final_seeds={}`"
        cure = f"Run the study with {option.format(needed)} or more."
    elif not summary.is_complete:
        cure = "The runs that have not finished may bring them."
    else:
        cure = "Run the study with more seeds, or compare by a metric that ties less often."
    names = "any arm" if len(few) == len(summary.comparisons) else _listed([compared.arm for compared in few])
    return (
        f"With {plural(len(summary.comparisons), 'comparison')}, no outcome whatever of the test that "
        f"decides (exact signed-rank, Holm-corrected) could tell {names} from the baseline: it takes "
        f"{needed} seeds whose two values differ. {cure}"
    )


def _contrary_mean(summary: Summary) -> Iterator[Flag]:
    """Flag decisions that the mean of the differences speaks against."""
    for found in summary.comparisons:
        if found.decision in ("better", "worse") and found.difference * found.mean_difference < 0:
            yield Flag(
                arm=found.arm,
                label="mean disagrees",
                text=f"Seed by seed {found.arm} is {found.decision} (pseudo-median "
                f"{rounded(found.difference, sign=True)}), but the mean of the differences is "
                f"{rounded(found.mean_difference, sign=True)}: few seeds, far off, carry it to the other "
                "side. The decision is about the former.",
            )


def _failed_scores(arm: ArmResult, metric: str) -> Iterator[Flag]:
    """Flag scores that could not be computed at some evaluations; of those that lack samples, the metric."""
    names = dict.fromkeys(
        name
        for run in arm.runs
        for name, failure in run.failed_scores.items()
        if name == metric or not failure.get("too_few")
    )
    for name in names:
        failures = [run.failed_scores[name] for run in arm.runs if name in run.failed_scores]
        count = sum(int(failure["count"]) for failure in failures)
        lost = sum(bool(failure.get("at_end")) for failure in failures)
        yield Flag(
            arm=arm.name,
            label=f"{name} missing",
            text=f"{name} could not be computed at {plural(count, 'evaluation')} of "
            f"{plural(len(failures), 'run')} of {arm.name}: {str(failures[-1]['reason']).rstrip('.')}."
            + (
                f" At the end {lost} of them had none, which counts like a failure of that score."
                if lost
                else ""
            ),
        )


def _barely_moved(summary: Summary, arm: ArmResult) -> str:
    """Flag an arm that, from its untrained score, went less than a quarter of the way the best one went."""
    gain, start = _gain(summary, arm)
    if math.isnan(gain):
        return ""
    moved = f"its {summary.metric} went from {rounded(start)} untrained to {_mean(summary, arm)}"
    if gain <= 0:
        return f"{arm.name} did not improve on its untrained generator: {moved}."
    # An arm whose untrained score is unknown has no gain, and a NaN must not decide a maximum.
    gains = {other.name: _gain(summary, other)[0] for other in summary.ranking}
    leader = max((name for name in gains if math.isfinite(gains[name])), key=lambda name: gains[name])
    most = gains[leader]
    if gain >= _BARELY * most:
        return ""
    return (
        f"{arm.name} barely moved from its untrained score: {moved}, {_percent(gain / most)} of the way that "
        f"{leader} went."
    )


def _far_behind(summary: Summary, arm: ArmResult) -> str:
    """Flag the last arm where its gap to the next is more than twice the range of all the others."""
    ranking = summary.ranking
    if len(ranking) < 3 or arm != ranking[-1]:
        return ""
    best, others_worst, worst = (summary.estimates[ranking[i].name] for i in (0, -2, -1))
    gap, spread = abs(worst.mean - others_worst.mean), abs(others_worst.mean - best.mean)
    if gap <= _FAR * spread or _overlap(worst.interval, others_worst.interval):
        return ""
    return (
        f"{arm.name} is worst by far: {summary.metric} {_mean(summary, arm)}, where the next worst arm, "
        f"{ranking[-2].name}, has {_mean(summary, ranking[-2])} and the best, {ranking[0].name}, "
        f"{_mean(summary, ranking[0])}."
    )


def _overlap(first: Interval, second: Interval) -> bool:
    if math.isnan(first.low) or math.isnan(second.low):
        return True
    return first.low <= second.high and second.low <= first.high


def _gain(summary: Summary, arm: ArmResult) -> tuple[float, float]:
    """Improvement on the untrained generator, positive when better; and the untrained score."""
    start = mean(list(arm.values(summary.metric, "first").values()))
    return summary.target.gain(start, summary.estimates[arm.name].mean), start


def _compared(summary: Summary, arm: ArmResult, found: Comparison) -> Answer:
    assert summary.baseline is not None
    base = summary.baseline.name
    if not arm.runs or not found.num_pairs:
        claim = f"{arm.name}: no seed has finished in both {arm.name} and {base} yet."
        return Answer(arm=arm.name, decision="too-few-seeds", claim=claim, evidence="")
    claims = {
        "better": f"{arm.name} is better than {base}.",
        "worse": f"{arm.name} is worse than {base}.",
        "undecided": _undecided(found, arm.name, base),
        "too-few-seeds": _few(found, arm.name, base),
    }
    own, other = (one.values(summary.metric, summary.at) for one in (arm, summary.baseline))
    shown = [
        one.in_words(mean([values[seed] for seed in own if seed in other]), summary.metric, summary.at)
        for one, values in ((arm, own), (summary.baseline, other))
    ]
    broken = any(one.absurd(summary.metric, summary.at) for one in (arm, summary.baseline))
    evidence = f"{summary.metric} {' against '.join(shown)}, {_over(found.num_pairs)}"
    if math.isnan(found.p_holm):
        evidence += "; no test, for a seed has no finite value."
    else:
        evidence += (
            f". {flagged(_difference(found), broken)}. p = {rounded(found.p_holm)} after correction. A run "
            f"of {arm.name} beats a run of {base} {_percent(found.probability_of_improvement)} of the time."
        )
    return Answer(arm=arm.name, decision=found.decision, claim=claims[found.decision], evidence=evidence)


def _undecided(found: Comparison, arm: str, base: str) -> str:
    """What it means that nothing was found."""
    if math.isnan(found.p_value):
        return f"{arm} could not be tested against {base}: a seed has no finite value."
    if not found.num_unequal:
        return (
            f"{arm} and {base} are the same at all {found.num_pairs} seeds, which does not mean that they "
            "are equal at others."
        )
    return f"{arm} and {base} cannot be told apart with these seeds, which does not mean that they are equal."


def _few(found: Comparison, arm: str, base: str) -> str:
    """Why too few pairs of seeds could decide."""
    equal = found.num_pairs - found.num_unequal
    if not equal or not found.num_unequal:
        return (
            f"{plural(found.num_pairs, 'seed')} {'is' if found.num_pairs == 1 else 'are'} too few to decide "
            f"between {arm} and {base}; it takes at least {found.min_num_pairs}."
        )
    return (
        f"{arm} and {base} are equal at {equal} of {plural(found.num_pairs, 'seed')}, and "
        f"{found.num_unequal} that differ {'is' if found.num_unequal == 1 else 'are'} too few to decide "
        f"between them; it takes at least {found.min_num_pairs}."
    )


def _difference(found: Comparison) -> str:
    """Which difference is tested, and how sure it is."""
    text = (
        "Tested is the typical difference, seed by seed (pseudo-median): "
        f"{rounded(found.difference, sign=True)}"
    )
    if ends := found.interval.in_words(sign=True):
        if found.interval.confidence < 1 - found.level:
            seeds = plural(found.num_pairs, "seed")
            text += f", {ends} in the widest interval that {seeds} can give, of {found.interval.level}"
        else:
            text += f", {found.interval.level} interval {ends}"
    return f"{text}; the mean difference is {rounded(found.mean_difference, sign=True)}"


def _standing(summary: Summary, arm: ArmResult) -> str:
    if not arm.runs:
        return "No run has finished yet."
    found = summary.estimates[arm.name]
    text = f"{summary.metric} {_mean(summary, arm)}, {_over(len(arm.runs))}"
    if ends := found.interval.in_words():
        text += f", 95 % interval {flagged(ends, bool(arm.absurd(summary.metric, summary.at)))}"
    return f"{text}."


def _mean(summary: Summary, arm: ArmResult) -> str:
    return arm.in_words(summary.estimates[arm.name].mean, summary.metric, summary.at)


def _place(summary: Summary, arm: ArmResult) -> str:
    if arm not in summary.ranking:
        return "has no value yet"
    if arm == summary.ranking[0]:
        settings = ", ".join(f"{key} {in_words(value)}" for key, value in arm.parameters.items())
        return f"has the best mean: {settings}" if settings else "has the best mean"
    return f"comes in place {1 + summary.ranking.index(arm)} of {len(summary.ranking)}"


def _noun(summary: Summary) -> str:
    return "trial" if summary.study.kind == "search" else "arm"


def _over(count: int) -> str:
    return "from one seed" if count == 1 else f"mean of {count} seeds"


def _percent(share: float) -> str:
    text = "less than 1" if 0 < share < 0.01 else f"{100 * share:.0f}"
    return f"{text}\N{NO-BREAK SPACE}%"


def _listed(names: list[str]) -> str:
    return f"{len(names)} arms" if len(names) > _MOST_NAMES else joined(names)
