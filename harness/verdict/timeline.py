"""One run's verdicts: from evaluation to evaluation, and what the result says of them at the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from harness.verdict.judge import (
    RULES_VERSION,
    VERDICTS,
    Judge,
    TrainingNumbers,
    Verdict,
    dynamics_of,
    judge_rows,
)

__all__ = ["RunVerdicts", "verdict_numbers"]


class RunVerdicts:
    """Judges one run at each of its evaluations, and remembers what it was called and since when.

    Args:
        state: What `state_dict` gave at the checkpoint that the run goes on from; None for a fresh run.
        chance: `harness.objective.objective.chance_loss` of the run's loss.
    """

    def __init__(self, state: Mapping[str, Any] | None = None, *, chance: float | None = None) -> None:
        self._judge = Judge()
        self._training = TrainingNumbers(state.get("training") if state else None)
        self._chance = chance
        self._timeline: list[tuple[int, str]] = []
        self.latest: Verdict | None = None
        self.alarmed = False
        if state:
            self._judge.load_state_dict(state["judge"])
            self._timeline = [(int(step), str(name)) for step, name in state["timeline"]]
            self.latest = Verdict.from_json(state["latest"]) if state["latest"] else None
            self.alarmed = bool(state["alarmed"])

    def trained(self, logged: Mapping[str, float]) -> None:
        """Take note of the ``train/…`` numbers of an interval."""
        self._judge.trained(logged.get("train/g_grad_norm"))
        self._training.add(logged)

    def judge(self, step: int, scores: Mapping[str, float]) -> Verdict:
        """The verdict on an evaluation; see `harness.verdict.judge.Judge.judge`.

        Args:
            step: Where in training.
            scores: Metric to score.
        """
        dynamics = dynamics_of(self._training.numbers, self._chance)
        self._training.looked()
        return self._note(self._judge.judge(step, scores, **dynamics))

    def replay(self, rows: Iterable[Mapping[str, float]]) -> None:
        """Judge the evaluations that rows of a ``history.jsonl`` tell of."""
        for verdict in judge_rows(self._judge, rows, self._chance):
            self._note(verdict)

    def diverged(self, step: int, reason: str) -> Verdict:
        """The verdict on a run that training found to be no longer finite.

        Args:
            step: Where in training.
            reason: What is not finite, in words.
        """
        return self._note(self._judge.diverged(step, reason))

    def rings(self) -> bool:
        """Whether the run has just become hopeless for the first time; True once in its life."""
        if self.alarmed or self.latest is None or not self.latest.hopeless:
            return False
        self.alarmed = True
        return True

    @property
    def since(self) -> int:
        """The step from which the latest verdict has held without a break."""
        step, name = self._timeline[-1]
        for earlier, other in reversed(self._timeline):
            if other != name:
                break
            step = earlier
        return step

    def to_json(self) -> dict[str, Any]:
        """The latest verdict with `since`, `timeline` and the rules' version; empty before the first."""
        if self.latest is None:
            return {}
        return {
            **self.latest.to_json(),
            "evidence": dict(self.latest.evidence),
            "rules": RULES_VERSION,
            "since": self.since,
            "timeline": [[step, name] for step, name in self._timeline],
        }

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {
            "judge": self._judge.state_dict(),
            "training": self._training.state_dict(),
            "timeline": [[step, name] for step, name in self._timeline],
            "latest": None if self.latest is None else self.latest.to_json(),
            "alarmed": self.alarmed,
        }

    def _note(self, verdict: Verdict) -> Verdict:
        self._timeline.append((verdict.step, verdict.name))
        self.latest = verdict
        return verdict


def verdict_numbers(verdict: Verdict) -> dict[str, float]:
    """A verdict as numbers of a history row.

    Returns:
        ``verdict/code``, its index in `VERDICTS`, ``verdict/score``, and its evidence as ``collapse/…``.
    """
    numbers: dict[str, float] = {"verdict/code": VERDICTS.index(verdict.name), "verdict/score": verdict.score}
    return numbers | {f"collapse/{key}": value for key, value in verdict.evidence.items()}
