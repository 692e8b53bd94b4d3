"""The verdict on a run: one word for what became of it, the rule that said so, and the numbers behind it.

The rules are in `harness.verdict.rules`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.files import encode
from harness.verdict.rules import (
    BLIND,
    HOPELESS,
    MEANING,
    RULES,
    RULES_VERSION,
    VERDICTS,
    Numbers,
    Thresholds,
    VerdictName,
    not_recovered,
)
from harness.verdict.trend import Trend
from harness.words import joined

__all__ = [
    "BLIND",
    "HOPELESS",
    "MEANING",
    "RULES_VERSION",
    "UNJUDGED",
    "VERDICTS",
    "Judge",
    "Thresholds",
    "TrainingNumbers",
    "Verdict",
    "dynamics_of",
    "judge_history",
    "judge_rows",
    "replayed",
]

INTRA_MODE, OFF_DATA, UNCLEAR, UNJUDGED = "intra-mode", "off-data", "unclear", "unjudged"
SAME_SAMPLES, MEMORISED = "same-samples", "memorised"

_IDEAL_QUALITY = 1 - math.exp(-4.5)
"""Share of a Gaussian's points that are within three standard deviations of its centre."""

_SOURCES: dict[str, tuple[tuple[str, float], ...]] = {
    "parts": (("mode_recall", 1.0),),
    "coverage": (("coverage_over_real", 1.0),),
    "density": (("density_over_real", 1.0),),
    "precision": (("precision_over_real", 1.0),),
    "recall": (("recall_over_real", 1.0),),
    "pair_distance": (("pair_distance", 1.0),),
    "confident": (("confident_over_real", 1.0), ("high_quality", _IDEAL_QUALITY)),
    "surplus": (("class_surplus", 1.0), ("mode_surplus", 1.0)),
    "repeated": (("repeated", 1.0),),
    "misfit": (("frechet_over_trace", 1.0),),
    "detail": (("sharpness", 1.0),),
    "d_auc": (("d_auc", 1.0),),
    "memorised": (("memorised", 1.0),),
}
"""Number → the scores that give it, the first that is there, each with what a perfect generator gets."""

_FAILED = -1.0
"""The score of a run that has diverged."""

_NORM, _LOSS = "train/g_grad_norm", "train/d_loss"
_CLASSES = ("class_recall_clear", "class_recall")
_UNBOUNDED = "sliced_w2"
"""A score that points have and images have not."""

_NUMBERS = ("modes", "coverage", "density", "precision", "recall", "pair_distance", "d_auc", "g_grad_norm")
_NEEDED = ("modes", "coverage", "density", "precision")
"""Numbers without which nothing can be called healthy; images need the misfit as well."""

_WORDS = {
    "modes": "modes present",
    "parts": "clusters present",
    "coverage": "coverage",
    "density": "density",
    "precision": "precision",
    "recall": "recall",
    "pair_distance": "pair distance",
    "confident": "samples of a clear class",
    "surplus": "too much of one class",
    "repeated": "samples made more than once",
    "misfit": "Fréchet distance over the real spread",
    "detail": "detail",
    "memorised": "copies of training samples",
    "d_auc": "D's AUC",
    "d_auc_trained": "D's AUC as it is trained",
    "g_grad_norm": "generator's gradient norm",
    "d_loss_share": "D's loss over that of one that cannot tell",
    "score_gap": "gap between D's scores",
    "distance": "distance over the untrained generator's",
    "moved": "way from the untrained generator",
}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of a run, as far as one evaluation shows.

    Attributes:
        name: one of `VERDICTS`.
        rule: the rule that fired, with its number and its threshold, in words.
        evidence: the numbers that were looked at, by name (`modes`, `coverage`, `density` and so on); see
            `harness.verdict.rules.Numbers`. One that could not be had is not there.
        flags: `intra-mode`, samples huddle inside of modes; `off-data`, modes are missing and samples do not
            lie on the data; `same-samples`, all samples are the same, though the run is not collapsed;
            `unclear`, so few samples are of a clear class that the modes are bins, not classes; `memorised`,
            samples are copies of training samples; `unjudged`, numbers are missing without which nothing can
            be called healthy.
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
        self._trend = Trend()
        self._running = 0
        self._held: VerdictName | None = None
        self._was_on_data = False
        self._first_grad_norm: float | None = None

    def judge(
        self,
        step: int,
        scores: Mapping[str, float],
        *,
        g_grad_norm: float | None = None,
        d_loss_share: float | None = None,
        score_gap: float | None = None,
        d_auc_trained: float | None = None,
    ) -> Verdict:
        """The verdict on an evaluation, given those before it.

        The untrained generator, at step 0, is `immature` whatever it makes: all samples of a fresh network
        are nearly the same, and that says nothing about the run.

        Args:
            step: where in training.
            scores: name to score, as `Evaluator.evaluate` gives them; one that failed is left out.
            g_grad_norm: norm of the generator's gradient in the latest steps, if it is known.
            d_loss_share: D's loss since the last look over its value at chance, likewise.
            score_gap: |mean D(x) − mean D(G(z))| in the latest steps, likewise.
            d_auc_trained: how often D scored a real sample above a generated one there, likewise.
        """
        self._trend.add(scores)
        dynamics = {
            "d_auc_trained": d_auc_trained,
            "g_grad_norm": g_grad_norm,
            "d_loss_share": d_loss_share,
            "score_gap": score_gap,
        }
        evidence = self._evidence(scores, dynamics, trained=step != 0)
        bad = [name for name, value in evidence.items() if not math.isfinite(value)]
        if bad:
            return self._verdict("diverged", f"the {_WORDS[bad[0]]} is {evidence[bad[0]]}", evidence, step)
        gap, most = evidence.get("score_gap", 0.0), self.thresholds.runaway_score_gap
        if gap > most:
            self._held = "diverged"
            apart = f"{gap:.3g} apart, more than {most:g}"
            rule_text = f"the discriminator's scores of real and generated samples are {apart}"
            return self._verdict("diverged", rule_text, evidence, step)
        if step == 0:
            return self._verdict("immature", "the generator is untrained", evidence, step)
        self.trained(g_grad_norm)
        numbers = self._numbers(evidence, scores)
        fired = {rule.name: reasons for rule in RULES if (reasons := rule.reasons(numbers, self.thresholds))}
        on_data, before = numbers.is_on_data(self.thresholds), self._was_on_data
        self._was_on_data = on_data
        if condemned := self._condemned(fired, numbers):
            return self._verdict(*condemned, evidence, step)
        if "partial-collapse" in fired and not before and self.thresholds.looks > 1:
            fired = {"immature": ["samples lie on the data for the first time", *fired["partial-collapse"]]}
        for name in ("partial-collapse", "immature"):
            if name in fired:
                return self._verdict(name, "; ".join(fired[name]), evidence, step)
        needed = (*_NEEDED, *(() if numbers.unbounded else ("misfit",)))
        absent = [_WORDS[name] for name in needed if name not in evidence]
        if absent:
            rule_text = f"no rule fired, but without {' and '.join(absent)} nothing can be called healthy"
            return self._verdict("immature", rule_text, evidence, step, UNJUDGED)
        return self._verdict("healthy", self._sound(evidence), evidence, step)

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
            "trend": self._trend.state_dict(),
            "running": self._running,
            "held": self._held,
            "was_on_data": self._was_on_data,
            "first_g_grad_norm": self._first_grad_norm,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._trend = Trend(state["trend"])
        self._running = int(state["running"])
        self._held = state["held"]
        self._was_on_data = bool(state["was_on_data"])
        self._first_grad_norm = _number(state["first_g_grad_norm"])

    def _condemned(
        self, fired: Mapping[VerdictName, list[str]], numbers: Numbers
    ) -> tuple[VerdictName, str] | None:
        """The verdict of a run without hope, and why: one that is condemned now, or still."""
        reasons = [(rule.name, fired[rule.name]) for rule in RULES if rule.condemns and rule.name in fired]
        self._running = self._running + 1 if reasons else 0
        if reasons and self._running >= self.thresholds.looks:
            self._held = reasons[0][0]
            again = f", at {self._running} evaluations running" if self._running > 1 else ""
            return self._held, "; ".join(reason for _, some in reasons for reason in some) + again
        why = not_recovered(self._held, numbers, self.thresholds) if self._held else None
        if self._held and why:
            return self._held, f"it was {self._held} before, and {why}"
        self._held = None
        return None

    def _evidence(
        self, scores: Mapping[str, float], dynamics: Mapping[str, float | None], *, trained: bool
    ) -> dict[str, float]:
        evidence = {}
        for name, sources in _SOURCES.items():
            for source, ideal in sources:
                if source in scores:
                    evidence[name] = float(scores[source]) / ideal
                    break
        modes = self._modes(scores, evidence)
        evidence = ({} if modes is None else {"modes": modes}) | evidence
        evidence |= {name: float(value) for name, value in dynamics.items() if value is not None}
        if trained:
            ways = {"distance": self._trend.distance, "moved": self._trend.moved}
            evidence |= {name: way for name, way in ways.items() if way is not None}
        return evidence

    def _modes(self, scores: Mapping[str, float], evidence: Mapping[str, float]) -> float | None:
        """B: bins, but where samples are clear classes, or the fewer of bins and parts of the mixture."""
        bins = scores.get("bin_recall")
        classes = next((scores[name] for name in _CLASSES if name in scores), None)
        if bins is not None and (classes is None or self._unclear(evidence)):
            parts = 1.0 if self._unclear(evidence) else evidence.get("parts", 1.0)
            return float(min(bins, parts))
        return None if classes is None else float(classes)

    def _numbers(self, evidence: Mapping[str, float], scores: Mapping[str, float]) -> Numbers:
        known = {name: value for name, value in evidence.items() if name != "memorised"}
        return Numbers(
            **known,
            first_g_grad_norm=self._first_grad_norm,
            distance_left=self._trend.distance_left,
            best_of_last=self._trend.best_of_last(self.thresholds.patience),
            nearest=self._trend.nearest,
            swing=self._trend.swing,
            spread_left=self._trend.spread_left,
            spread_gain=self._trend.spread_gain,
            modes_gain=self._trend.modes_gain,
            unbounded=_UNBOUNDED in scores,
        )

    def _unclear(self, evidence: Mapping[str, float]) -> bool:
        """Whether too few samples are of a clear class for classes to be counted, so that bins are."""
        return evidence.get("confident", 1.0) < self.thresholds.clear

    def _sound(self, evidence: Mapping[str, float]) -> str:
        t = self.thresholds
        least = [
            f"the coverage is at least {t.partial_coverage:g}",
            f"the density {t.immature_density:g}",
            f"the precision {t.immature_precision:g}",
        ]
        present = f"at least {t.partial_modes:.0%} of the modes are there"
        return f"{present}, and of what real samples get {joined(least)}"

    def _verdict(
        self, name: VerdictName, rule: str, evidence: Mapping[str, float], step: int, *flags: str
    ) -> Verdict:
        t, failed = self.thresholds, name == "diverged"
        density, spread = evidence.get("density", 1.0), evidence.get("pair_distance", 1.0)
        told = {
            INTRA_MODE: not failed and density > t.intra_mode_density,
            OFF_DATA: name in ("collapsed", "partial-collapse") and density < t.immature_density,
            SAME_SAMPLES: not failed and name != "collapsed" and spread < t.collapsed_pair_distance,
            UNCLEAR: not failed and self._unclear(evidence),
            MEMORISED: not failed and evidence.get("memorised", 0.0) > t.memorised,
        }
        flags = (*flags, *(flag for flag, holds in told.items() if holds))
        score = _FAILED if failed else self._score(evidence)
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
    judge = Judge(thresholds)
    judge.trained(first_grad_norm)
    return list(judge_rows(judge, rows, chance))


def judge_rows(judge: Judge, rows: Iterable[Mapping[str, float]], chance: float | None) -> Iterator[Verdict]:
    """The verdicts of a judge on the evaluations of a history, as it goes through the rows.

    Args:
        judge: who goes on from what it has seen.
        rows: rows of a `history.jsonl`.
        chance: `harness.objective.objective.chance_loss` of the run's loss.
    """
    for step, scores, logged in replayed(rows):
        judge.trained(logged.get(_NORM))
        if scores is not None:
            yield judge.judge(step, scores, **dynamics_of(logged, chance))


def replayed(
    rows: Iterable[Mapping[str, float]],
) -> Iterator[tuple[int, dict[str, float] | None, dict[str, float]]]:
    """What was known of a run at each row of its history.

    Args:
        rows: the rows of its `history.jsonl`.

    Yields:
        The row's step; its scores, by name without ``eval/``, None unless it is an evaluation, and empty
        where all of its scores failed; and the ``train/…`` numbers by then, as `TrainingNumbers` has them.
    """
    training = TrainingNumbers()
    for row in rows:
        training.add(row)
        scores = {key.removeprefix("eval/"): value for key, value in row.items() if key.startswith("eval/")}
        # A verdict alone is of an evaluation too, unless training found the run to have diverged.
        is_evaluation = scores or row.get("verdict/score", _FAILED) != _FAILED
        yield int(row["train/step"]), scores if is_evaluation else None, training.numbers
        if is_evaluation:
            training.looked()


class TrainingNumbers:
    """The ``train/…`` numbers of a run as a judge is to see them: the latest, and of D's loss the median.

    What is logged of D's loss is a moment's, and swings; the median is of all that was logged since the last
    look.

    Args:
        state: What `state_dict` gave at the checkpoint that the run goes on from; None for a fresh run.
    """

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        self._latest: dict[str, float] = dict(state["latest"]) if state else {}
        self._losses: list[float] = list(state["losses"]) if state else []

    def add(self, row: Mapping[str, float]) -> None:
        """Take note of a row; what is not of training is passed over."""
        self._latest |= {key: value for key, value in row.items() if key.startswith("train/")}
        if _LOSS in row:
            self._losses.append(row[_LOSS])

    @property
    def numbers(self) -> dict[str, float]:
        """They are, by name; D's loss is that of the last look where none was logged since."""
        if not self._losses or not all(map(math.isfinite, self._losses)):
            return dict(self._latest)
        return self._latest | {_LOSS: statistics.median(self._losses)}

    def looked(self) -> None:
        """Begin anew, after an evaluation."""
        self._latest, self._losses = self.numbers, []

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {"latest": dict(self._latest), "losses": list(self._losses)}


def dynamics_of(logged: Mapping[str, float], chance: float | None) -> dict[str, float]:
    """What `Judge.judge` wants to know of training.

    Args:
        logged: the latest `train/…` numbers.
        chance: `harness.objective.objective.chance_loss` of the run's loss.

    Returns:
        Keyword arguments, as far as they can be had.
    """
    dynamics = {}
    for key, name in ((_NORM, "g_grad_norm"), ("train/d_auc", "d_auc_trained")):
        if key in logged:
            dynamics[name] = logged[key]
    if chance and _LOSS in logged:
        dynamics["d_loss_share"] = logged[_LOSS] / chance
    if "train/d_real" in logged and "train/d_fake" in logged:
        dynamics["score_gap"] = abs(logged["train/d_real"] - logged["train/d_fake"])
    return dynamics


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
