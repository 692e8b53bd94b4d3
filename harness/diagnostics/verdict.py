"""The verdict on a run: one word for what became of it, the rule that said so, and the numbers behind it.

The rules, of which the first that fires wins; every number in them is a field of `Thresholds`:

| verdict            | rule                                                                        | looks |
|--------------------|-----------------------------------------------------------------------------|-------|
| `diverged`         | a number is not finite                                                      | 1     |
|                    | g > 100, and more than 30 times what it was at first                        | 2     |
| `d-saturated`      | A ≥ 0.99 and g < 1e-4                                                       | 2     |
| `collapsed`        | ρ < 0.1, or B ≤ 0.15                                                        | 2     |
| `partial-collapse` | B < 0.6, or C < 0.25                                                        | 1     |
| `immature`         | Dn < 0.3                                                                    | 1     |
| `healthy`          | none of these                                                               | 1     |

B is the share of the data's modes that are there, C the coverage of the real samples over what other real
samples get, Dn the density likewise, ρ the mean distance between two samples over that of real ones, A how
often D scores a real sample above a generated one, g the norm of the generator's gradient. The rules rest on
samples, because losses and gradients alone barely foretell failure. Two looks are two evaluations running,
the untrained generator's not among them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

__all__ = ["HOPELESS", "VERDICTS", "Judge", "Thresholds", "Verdict", "VerdictName", "judge_history"]

VerdictName = Literal["diverged", "d-saturated", "collapsed", "partial-collapse", "immature", "healthy"]

VERDICTS: tuple[VerdictName, ...] = get_args(VerdictName)
"""All verdicts, the worst first: of several rules that fire, the first one's."""

HOPELESS: frozenset[VerdictName] = frozenset({"diverged", "d-saturated", "collapsed"})
"""Verdicts from which runs do not recover: reasons to stop one."""

INTRA_MODE, OFF_DATA, UNJUDGED = "intra-mode", "off-data", "unjudged"

_IDEAL_COVERAGE = 0.969
"""What real points get, 1 − ∏ (n − i)/(n + m − i) at k = 5, where it was not measured."""

_SOURCES: dict[str, tuple[tuple[str, float], ...]] = {
    "modes": (("class_recall", 1.0), ("bin_recall", 1.0)),
    "coverage": (("coverage_over_real", 1.0), ("coverage", _IDEAL_COVERAGE)),
    "density": (("density_over_real", 1.0), ("density", 1.0)),
    "pair_distance": (("pair_distance", 1.0),),
    "d_auc": (("d_auc", 1.0),),
}
"""Each number, and the scores that it is read from: the first that is there, over what a perfect one gets."""

_NUMBERS = (*_SOURCES, "g_grad_norm")
_NEEDED = ("modes", "coverage", "density")
"""Numbers without which nothing can be called healthy."""

_WORDS = {
    "modes": "modes present",
    "coverage": "coverage",
    "density": "density",
    "pair_distance": "pair distance",
    "d_auc": "D's AUC",
    "g_grad_norm": "generator's gradient norm",
}


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Every number of the rules.

    Attributes:
        looks: evaluations running at which a rule must hold that condemns a run for good.
        diverged_grad_norm: g above which the generator may have diverged,
        diverged_growth: if it is also more than so many times the first g.
        saturated_d_auc: A from which D always knows,
        saturated_grad_norm: if g is also below this: nothing reaches the generator any more.
        collapsed_pair_distance: ρ below which all samples are the same.
        collapsed_modes: B up to which next to no modes are left.
        partial_modes: B below which modes are missing.
        partial_coverage: C below which most of the real samples have nothing near them.
        immature_density: Dn below which samples do not lie on the data yet.
        intra_mode_density: Dn above which samples huddle inside of modes; a flag.
        score_coverage: C that makes the score full.

    Raises:
        ValueError: a number that is not positive and finite, or out of order.
    """

    looks: int = 2
    diverged_grad_norm: float = 100.0
    diverged_growth: float = 30.0
    saturated_d_auc: float = 0.99
    saturated_grad_norm: float = 1e-4
    collapsed_pair_distance: float = 0.1
    collapsed_modes: float = 0.15
    partial_modes: float = 0.6
    partial_coverage: float = 0.25
    immature_density: float = 0.3
    intra_mode_density: float = 2.0
    score_coverage: float = 0.5

    def __post_init__(self) -> None:
        for given in fields(self):
            value = getattr(self, given.name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"`thresholds.{given.name}` must be positive and finite, but got {value}.")
        for low, high in (
            ("collapsed_modes", "partial_modes"),
            ("saturated_grad_norm", "diverged_grad_norm"),
            ("immature_density", "intra_mode_density"),
        ):
            if getattr(self, low) >= getattr(self, high):
                raise ValueError(
                    f"`thresholds.{low}` must be below `{high}`, {getattr(self, high)}, "
                    f"but got {getattr(self, low)}."
                )


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of a run, as far as one evaluation shows.

    Attributes:
        name: one of `VERDICTS`.
        rule: the rule that fired, with its number and its threshold, in words.
        evidence: the numbers that were looked at, by name: `modes`, `coverage`, `density`, `pair_distance`,
            `d_auc`, `g_grad_norm`; one that could not be had is not there.
        flags: `intra-mode`, samples huddle inside of modes; `off-data`, modes are missing because samples
            do not lie on the data; `unjudged`, numbers are missing without which nothing can be called
            healthy.
        score: min(B, C/½) within 0 to 1, how far the run is from failing; −1 if it has diverged.
        step: the step of the evaluation; −1 where samples of unknown origin were judged.
    """

    name: VerdictName
    rule: str
    evidence: Mapping[str, float]
    flags: tuple[str, ...] = ()
    score: float
    step: int

    @property
    def hopeless(self) -> bool:
        """Whether runs do not recover from it."""
        return self.name in HOPELESS

    @property
    def missing(self) -> tuple[str, ...]:
        """The numbers that could not be had."""
        return tuple(name for name in _NUMBERS if name not in self.evidence)

    def sentence(self) -> str:
        """One plain line: the verdict, the rule that fired, and the numbers."""
        title = "not judged" if UNJUDGED in self.flags else self.name
        shown = ", ".join(f"{_WORDS.get(key, key)} {value:.3g}" for key, value in self.evidence.items())
        flags = "".join(f" ({flag})" for flag in self.flags if flag != UNJUDGED)
        when = f" at step {self.step:,}" if self.step >= 0 else ""
        return f"{title}{flags}{when}: {self.rule}" + (f" [{shown}]" if shown else "")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; numbers that are not finite become `nan`, `inf` and `-inf`."""
        evidence = {
            key: value if math.isfinite(value) else str(value) for key, value in self.evidence.items()
        }
        return {
            "name": self.name,
            "rule": self.rule,
            "evidence": evidence,
            "flags": list(self.flags),
            "score": self.score,
            "step": self.step,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Verdict:
        """What `to_json` gave.

        Raises:
            ValueError: it is no verdict.
        """
        try:
            if values["name"] not in VERDICTS:
                raise ValueError(f"unknown verdict `{values['name']}`. Known: {', '.join(VERDICTS)}.")
            return cls(
                name=values["name"],
                rule=str(values["rule"]),
                evidence={str(key): float(value) for key, value in values["evidence"].items()},
                flags=tuple(str(flag) for flag in values["flags"]),
                score=float(values["score"]),
                step=int(values["step"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"this is no verdict: {error!r}.") from None


@dataclass(frozen=True, kw_only=True)
class _Numbers:
    """What the rules look at; a number that could not be had is None, and no rule that needs it fires."""

    modes: float | None = None
    coverage: float | None = None
    density: float | None = None
    pair_distance: float | None = None
    d_auc: float | None = None
    g_grad_norm: float | None = None
    first_g_grad_norm: float | None = None


_Test = Callable[[_Numbers, Thresholds], str | None]


def _exploded(n: _Numbers, t: Thresholds) -> str | None:
    g, first = n.g_grad_norm, n.first_g_grad_norm
    if g is None or first is None or g <= t.diverged_grad_norm or g <= t.diverged_growth * first:
        return None
    return (
        f"the generator's gradient norm is {g:.3g}, above {t.diverged_grad_norm:g} and more than "
        f"{t.diverged_growth:g} times the first, {first:.3g}"
    )


def _saturated(n: _Numbers, t: Thresholds) -> str | None:
    if n.d_auc is None or n.g_grad_norm is None:
        return None
    if n.d_auc < t.saturated_d_auc or n.g_grad_norm >= t.saturated_grad_norm:
        return None
    return (
        f"the discriminator always knows (AUC {n.d_auc:.3g}, from {t.saturated_d_auc:g} on) and the "
        f"generator's gradient norm is {n.g_grad_norm:.3g}, below {t.saturated_grad_norm:g}"
    )


def _same(n: _Numbers, t: Thresholds) -> str | None:
    if n.pair_distance is None or n.pair_distance >= t.collapsed_pair_distance:
        return None
    return (
        f"the distance between two samples is {n.pair_distance:.3g} of that between real ones, below "
        f"{t.collapsed_pair_distance:g}"
    )


def _few_modes(n: _Numbers, t: Thresholds) -> str | None:
    if n.modes is None or n.modes > t.collapsed_modes:
        return None
    return f"{n.modes:.0%} of the modes are left, not more than {t.collapsed_modes:.0%}"


def _some_modes(n: _Numbers, t: Thresholds) -> str | None:
    if n.modes is None or n.modes >= t.partial_modes:
        return None
    return f"{n.modes:.0%} of the modes are there, fewer than {t.partial_modes:.0%}"


def _uncovered(n: _Numbers, t: Thresholds) -> str | None:
    if n.coverage is None or n.coverage >= t.partial_coverage:
        return None
    return f"the coverage is {n.coverage:.3g}, below {t.partial_coverage:g}"


def _off_data(n: _Numbers, t: Thresholds) -> str | None:
    if n.density is None or n.density >= t.immature_density:
        return None
    return f"the density is {n.density:.3g}, below {t.immature_density:g}: samples do not lie on the data yet"


@dataclass(frozen=True, kw_only=True)
class _Rule:
    name: VerdictName
    tests: tuple[_Test, ...]
    condemns: bool


_RULES = (
    _Rule(name="diverged", tests=(_exploded,), condemns=True),
    _Rule(name="d-saturated", tests=(_saturated,), condemns=True),
    _Rule(name="collapsed", tests=(_same, _few_modes), condemns=True),
    _Rule(name="partial-collapse", tests=(_some_modes, _uncovered), condemns=False),
    _Rule(name="immature", tests=(_off_data,), condemns=False),
)
"""In the order of `VERDICTS`. A rule fires if one of its tests does; one that condemns, if it does at `looks`
evaluations running."""


class Judge:
    """Judges one run, evaluation by evaluation.

    Args:
        thresholds: the numbers of the rules.
    """

    def __init__(self, thresholds: Thresholds | None = None) -> None:
        self.thresholds = thresholds or Thresholds()
        self._running: dict[str, int] = {}
        self._first_grad_norm: float | None = None

    def judge(self, step: int, scores: Mapping[str, float], *, g_grad_norm: float | None = None) -> Verdict:
        """The verdict on an evaluation, given those before it.

        The untrained generator, at step 0, is `immature` whatever it makes: all samples of a fresh network
        are nearly the same, and that says nothing about the run.

        Args:
            step: where in training.
            scores: name to score, as `Evaluator.evaluate` gives them; one that failed is left out.
            g_grad_norm: norm of the generator's gradient in the latest steps, if it is known.
        """
        evidence = _evidence(scores, g_grad_norm)
        bad = [name for name, value in evidence.items() if not math.isfinite(value)]
        if bad:
            return self._verdict("diverged", f"the {_WORDS[bad[0]]} is {evidence[bad[0]]}", evidence, step)
        if step == 0:
            return self._verdict("immature", "the generator is untrained", evidence, step)
        if self._first_grad_norm is None:
            self._first_grad_norm = g_grad_norm
        numbers = _Numbers(**evidence, first_g_grad_norm=self._first_grad_norm)
        fired: tuple[VerdictName, str] | None = None
        for rule in _RULES:
            reasons = [reason for test in rule.tests if (reason := test(numbers, self.thresholds))]
            seen = self._running[rule.name] = self._running.get(rule.name, 0) + 1 if reasons else 0
            if reasons and fired is None and seen >= (self.thresholds.looks if rule.condemns else 1):
                again = f", at {seen} evaluations running" if rule.condemns and seen > 1 else ""
                fired = rule.name, "; ".join(reasons) + again
        if fired is not None:
            return self._verdict(*fired, evidence, step)
        absent = [_WORDS[name] for name in _NEEDED if name not in evidence]
        if absent:
            rule_text = f"no rule fired, but without {' and '.join(absent)} nothing can be called healthy"
            return self._verdict("immature", rule_text, evidence, step, UNJUDGED)
        return self._verdict("healthy", self._sound(), evidence, step)

    def diverged(self, step: int, reason: str) -> Verdict:
        """The verdict on a run that training found to have diverged.

        Args:
            step: where in training.
            reason: what was found, one line.
        """
        return self._verdict("diverged", reason.rstrip("."), {}, step)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of it, in plain JSON types."""
        return {"running": dict(self._running), "first_g_grad_norm": self._first_grad_norm}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._running = {str(name): int(count) for name, count in state["running"].items()}
        first = state["first_g_grad_norm"]
        self._first_grad_norm = None if first is None else float(first)

    def _sound(self) -> str:
        t = self.thresholds
        return (
            f"at least {t.partial_modes:.0%} of the modes are there, the coverage is at least "
            f"{t.partial_coverage:g} and the density at least {t.immature_density:g}"
        )

    def _verdict(
        self, name: VerdictName, rule: str, evidence: Mapping[str, float], step: int, *flags: str
    ) -> Verdict:
        density, failed = evidence.get("density", 1.0), name == "diverged"
        if not failed and density > self.thresholds.intra_mode_density:
            flags = (*flags, INTRA_MODE)
        if name in ("collapsed", "partial-collapse") and density < self.thresholds.immature_density:
            flags = (*flags, OFF_DATA)
        score = -1.0 if failed else self._score(evidence)
        return Verdict(name=name, rule=rule, evidence=dict(evidence), flags=flags, score=score, step=step)

    def _score(self, evidence: Mapping[str, float]) -> float:
        full = {"modes": 1.0, "coverage": self.thresholds.score_coverage}
        parts = [evidence[name] / enough for name, enough in full.items() if name in evidence]
        return min(*parts, 1.0) if parts else 0.0


def judge_history(rows: Iterable[Mapping[str, float]], thresholds: Thresholds | None = None) -> list[Verdict]:
    """The verdicts on a run that is over, from its record, with these thresholds.

    Args:
        rows: the rows of its `history.jsonl`: an evaluation has keys `eval/…`, and is judged with the latest
            `train/g_grad_norm` before it.
        thresholds: the numbers of the rules.

    Returns:
        One verdict an evaluation, in their order.
    """
    judge, verdicts = Judge(thresholds), []
    grad_norm: float | None = None
    for row in rows:
        grad_norm = row.get("train/g_grad_norm", grad_norm)
        scores = {key.removeprefix("eval/"): value for key, value in row.items() if key.startswith("eval/")}
        if scores:
            verdicts.append(judge.judge(int(row["train/step"]), scores, g_grad_norm=grad_norm))
    return verdicts


def _evidence(scores: Mapping[str, float], g_grad_norm: float | None) -> dict[str, float]:
    evidence = {}
    for name, sources in _SOURCES.items():
        for source, ideal in sources:
            if source in scores:
                evidence[name] = float(scores[source]) / ideal
                break
    if g_grad_norm is not None:
        evidence["g_grad_norm"] = float(g_grad_norm)
    return evidence
