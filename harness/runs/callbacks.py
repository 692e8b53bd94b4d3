"""Functions of a script's own that are told how a run goes on, and may stop it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from harness.recipe import Recipe
from harness.runs.result import RunResult

__all__ = ["Callback", "RunEvent", "reason_of"]


@dataclass(frozen=True, kw_only=True)
class RunEvent:
    """What has just happened in a run, and what is known of it by now.

    Attributes:
        kind: ``logged`` (statistics of the last steps), ``evaluated`` (scores and a verdict), ``samples``
            (pictured without being scored) or ``finished`` (the run has its result).
        run_id: hash of recipe and seed.
        recipe: what is trained.
        seed: with what seed.
        step: D steps done.
        total_steps: D steps in all.
        seen_images: real samples shown to D.
        elapsed_sec: seconds of training, evaluations left out.
        logged: the latest ``train/…`` and ``growth/…`` statistics; empty before the first.
        scores: every metric at the latest evaluation; empty before the first.
        verdict: the verdict's name there; empty before the first.
        result: the run's result, once it has finished.
    """

    kind: Literal["logged", "evaluated", "samples", "finished"]
    run_id: str
    recipe: Recipe
    seed: int
    step: int
    total_steps: int
    seen_images: int
    elapsed_sec: float
    logged: Mapping[str, float]
    scores: Mapping[str, float]
    verdict: str
    result: RunResult | None = None


Callback: TypeAlias = Callable[[RunEvent], str | None]
"""Called at every event. A reason that it returns stops the run; None lets it go on."""


def reason_of(callback: Callback, event: RunEvent) -> str:
    """Call a `callback` with an `event`.

    Returns:
        Why the run is to stop, on one line; empty where it goes on.

    Raises:
        TypeError: the callback returned something that is no reason.
    """
    answer = callback(event)
    if answer is None:
        return ""
    if not isinstance(answer, str) or not answer.strip():
        raise TypeError(
            f"a callback must return None, or a reason to stop the run as text, but "
            f"{getattr(callback, '__name__', callback)} returned {answer!r}."
        )
    return " ".join(answer.split())
