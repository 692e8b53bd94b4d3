"""The verdict on a run: one word for what became of it, the rule that said so, and the numbers behind it.

The rules are in `harness.verdict.rules`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.files import encode
from harness.verdict.rules import HOPELESS, RULES, VERDICTS, Numbers, Thresholds, VerdictName

__all__ = [
    "HOPELESS",
    "VERDICTS",
    "Judge",
    "Thresholds",
    "Verdict",
    "dynamics_of",
    "judge_history",
    "replayed",
]

INTRA_MODE, OFF_DATA, UNCLEAR, UNJUDGED = "intra-mode", "off-data", "unclear", "unjudged"
SAME_SAMPLES = "same-samples"

_IDEAL_COVERAGE = 0.969
"""What real points get as coverage, 1 − ∏ (n − i)/(n + m − i) at k = 5; used where it was not measured."""

_IDEAL_QUALITY = 1 - math.exp(-4.5)
"""Share of a Gaussian's points that are within three standard deviations of its centre."""

_SOURCES: dict[str, tuple[tuple[str, float], ...]] = {
    "modes": (("class_recall", 1.0), ("bin_recall", 1.0)),
    "coverage": (("coverage_over_real", 1.0), ("coverage", _IDEAL_COVERAGE)),
    "density": (("density_over_real", 1.0), ("density", 1.0)),
    "pair_distance": (("pair_distance", 1.0),),
    "d_auc": (("d_auc", 1.0),),
    "confident": (("confident_over_real", 1.0), ("high_quality", _IDEAL_QUALITY)),
}
"""Number → the scores that give it, the first that is there, each with what a perfect generator gets."""

_DISTANCES = ("frechet", "sliced_w2", "pair_distance")
"""Scores that tell whether a run has moved from its untrained generator, as far as they can be had."""

_NUMBERS = ("modes", "coverage", "density", "pair_distance", "d_auc", "g_grad_norm")
_NEEDED = ("modes", "coverage", "density")
"""Numbers without which nothing can be called healthy."""

_WORDS = {
    "modes": "modes present",
    "coverage": "coverage",
    "density": "density",
    "pair_distance": "pair distance",
    "d_auc": "D's AUC",
    "confident": "samples of a clear class",
    "g_grad_norm": "generator's gradient norm",
    "d_loss_share": "D's loss over that of one that cannot tell",
    "score_gap": "gap between D's scores",
    "moved": "way from the untrained generator",
}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of a run, as far as one evaluation shows.

    Attributes:
        name: one of `VERDICTS`.
        rule: the rule that fired, with its number and its threshold, in words.
        evidence: the numbers that were looked at, by name: `modes`, `coverage`, `density`, `pair_distance`,
            `d_auc`, `g_grad_norm`, `d_loss_share`, `score_gap`, `moved`, and `confident` where there are
            classes; one that could not be had is not there.
        flags: `intra-mode`, samples huddle inside of modes; `off-data`, modes are missing and samples do not
            lie on the data; `same-samples`, of a run that is d-saturated: all samples are the same too;
            `unclear`, so few images are of a clear class that the modes are bins, not classes; `unjudged`,
            numbers are missing without which nothing can be called healthy.
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
        return {
            "name": self.name,
            "rule": self.rule,
            "evidence": encode(self.evidence),
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


class Judge:
    """Judges one run, evaluation by evaluation.

    Args:
        thresholds: the numbers of the rules.
    """

    def __init__(self, thresholds: Thresholds | None = None) -> None:
        self.thresholds = thresholds or Thresholds()
        self._running: dict[str, int] = {}
        self._first_grad_norm: float | None = None
        self._untrained: dict[str, float] = {}
        self._moved: float | None = None
        self._previous_modes: float | None = None
        self._previous_unclear = False

    def judge(
        self,
        step: int,
        scores: Mapping[str, float],
        *,
        g_grad_norm: float | None = None,
        d_loss_share: float | None = None,
        score_gap: float | None = None,
    ) -> Verdict:
        """The verdict on an evaluation, given those before it.

        The untrained generator, at step 0, is `immature` whatever it makes: all samples of a fresh network
        are nearly the same, and that says nothing about the run.

        Args:
            step: where in training.
            scores: name to score, as `Evaluator.evaluate` gives them; one that failed is left out.
            g_grad_norm: norm of the generator's gradient in the latest steps, if it is known.
            d_loss_share: D's loss in the latest steps over its value at chance, likewise.
            score_gap: |mean D(x) − mean D(G(z))| in the latest steps, likewise.
        """
        dynamics = {"g_grad_norm": g_grad_norm, "d_loss_share": d_loss_share, "score_gap": score_gap}
        evidence = self._evidence(step, scores, dynamics)
        bad = [name for name, value in evidence.items() if not math.isfinite(value)]
        if bad:
            return self._verdict("diverged", f"the {_WORDS[bad[0]]} is {evidence[bad[0]]}", evidence, step)
        gap, most = evidence.get("score_gap", 0.0), self.thresholds.runaway_score_gap
        if gap > most:
            apart = f"{gap:.3g} apart, more than {most:g}"
            rule_text = f"the discriminator's scores of real and generated samples are {apart}"
            return self._verdict("diverged", rule_text, evidence, step)
        if step == 0:
            return self._verdict("immature", "the generator is untrained", evidence, step)
        self.trained(g_grad_norm)
        unclear = self._unclear(evidence)
        previous = self._previous_modes if unclear == self._previous_unclear else None
        numbers = Numbers(**evidence, first_g_grad_norm=self._first_grad_norm, previous_modes=previous)
        self._previous_modes, self._previous_unclear = numbers.modes, unclear
        fired: tuple[VerdictName, str] | None = None
        for rule in RULES:
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

    def begin(self, scores: Mapping[str, float]) -> None:
        """Take note of the untrained generator's scores, where its evaluation was not judged here."""
        self._evidence(0, scores, {})

    def trained(self, g_grad_norm: float | None) -> None:
        """Take note of the norm of G's gradient between evaluations; only a run's first norm is kept."""
        if self._first_grad_norm is None:
            self._first_grad_norm = g_grad_norm

    def diverged(self, step: int, reason: str) -> Verdict:
        """The verdict on a run that training found to have diverged.

        Args:
            step: where in training.
            reason: what was found, one line.
        """
        return self._verdict("diverged", reason.rstrip("."), {}, step)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of it, in plain JSON types."""
        return {
            "running": dict(self._running),
            "first_g_grad_norm": self._first_grad_norm,
            "untrained": dict(self._untrained),
            "moved": self._moved,
            "previous_modes": self._previous_modes,
            "previous_unclear": self._previous_unclear,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._running = {str(name): int(count) for name, count in state["running"].items()}
        self._first_grad_norm = _number(state["first_g_grad_norm"])
        self._untrained = {str(name): float(value) for name, value in state["untrained"].items()}
        self._moved = _number(state["moved"])
        self._previous_modes = _number(state["previous_modes"])
        self._previous_unclear = bool(state["previous_unclear"])

    def _evidence(
        self, step: int, scores: Mapping[str, float], dynamics: Mapping[str, float | None]
    ) -> dict[str, float]:
        evidence = {}
        for name, sources in _SOURCES.items():
            for source, ideal in sources:
                if source in scores:
                    evidence[name] = float(scores[source]) / ideal
                    break
        if self._unclear(evidence) and "bin_recall" in scores:
            evidence["modes"] = float(scores["bin_recall"])
        evidence |= {name: float(value) for name, value in dynamics.items() if value is not None}
        if step == 0:
            self._untrained = {name: float(scores[name]) for name in _DISTANCES if scores.get(name)}
        ways = [abs(scores[name] / first - 1) for name, first in self._untrained.items() if name in scores]
        if ways and step:
            self._moved = evidence["moved"] = max(self._moved or 0.0, *ways)
        return evidence

    def _unclear(self, evidence: Mapping[str, float]) -> bool:
        """Whether too few samples are of a clear class for classes to be counted, so that bins are."""
        return evidence.get("confident", 1.0) < self.thresholds.unclear_confident

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
        spread = evidence.get("pair_distance", 1.0)
        if name == "d-saturated" and spread < self.thresholds.collapsed_pair_distance:
            flags = (*flags, SAME_SAMPLES)
        if not failed and self._unclear(evidence):
            flags = (*flags, UNCLEAR)
        score = -1.0 if failed else self._score(evidence)
        return Verdict(name=name, rule=rule, evidence=dict(evidence), flags=flags, score=score, step=step)

    def _score(self, evidence: Mapping[str, float]) -> float:
        full = {"modes": 1.0, "coverage": self.thresholds.score_coverage}
        parts = [evidence[name] / enough for name, enough in full.items() if name in evidence]
        return min(*parts, 1.0) if parts else 0.0


def judge_history(
    rows: Iterable[Mapping[str, float]],
    thresholds: Thresholds | None = None,
    *,
    chance: float | None = None,
    first_grad_norm: float | None = None,
) -> list[Verdict]:
    """The verdicts on a run that is over, from its record, with these thresholds.

    Args:
        rows: the rows of its `history.jsonl`: an evaluation has keys `eval/…`, and is judged with the latest
            `train/…` before it.
        thresholds: the numbers of the rules.
        chance: `harness.objective.objective.chance_loss` of its loss.
        first_grad_norm: the first norm of G's gradient, where the rows do not have it.

    Returns:
        One verdict an evaluation, in their order.
    """
    judge, verdicts = Judge(thresholds), []
    judge.trained(first_grad_norm)
    for step, scores, logged in replayed(rows):
        judge.trained(logged.get("train/g_grad_norm"))
        if scores:
            verdicts.append(judge.judge(step, scores, **dynamics_of(logged, chance)))
    return verdicts


def replayed(
    rows: Iterable[Mapping[str, float]],
) -> Iterator[tuple[int, dict[str, float], dict[str, float]]]:
    """What was known of a run at each row of its history.

    Args:
        rows: the rows of its `history.jsonl`.

    Yields:
        The row's step; its scores, by name without ``eval/``, empty unless it is an evaluation; and the
        latest ``train/…`` numbers by then.
    """
    logged: dict[str, float] = {}
    for row in rows:
        logged = logged | {key: value for key, value in row.items() if key.startswith("train/")}
        scores = {key.removeprefix("eval/"): value for key, value in row.items() if key.startswith("eval/")}
        yield int(row["train/step"]), scores, logged


def dynamics_of(logged: Mapping[str, float], chance: float | None) -> dict[str, float]:
    """What `Judge.judge` wants to know of training.

    Args:
        logged: the latest `train/…` numbers.
        chance: `harness.objective.objective.chance_loss` of the run's loss.

    Returns:
        Keyword arguments, as far as they can be had.
    """
    dynamics = {}
    if "train/g_grad_norm" in logged:
        dynamics["g_grad_norm"] = logged["train/g_grad_norm"]
    if chance and "train/d_loss" in logged:
        dynamics["d_loss_share"] = logged["train/d_loss"] / chance
    if "train/d_real" in logged and "train/d_fake" in logged:
        dynamics["score_gap"] = abs(logged["train/d_real"] - logged["train/d_fake"])
    return dynamics


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
