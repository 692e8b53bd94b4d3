"""Studies so large that they are asked about: what one costs, before anything of it is listed or begun."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.words import about, plural

if TYPE_CHECKING:
    from harness.planning.plan import Plan
    from harness.study.study import Study

__all__ = ["LargeStudyError", "TooLargeError", "can_be_listed", "is_large", "size_in_words", "size_of"]

_MOST_LISTED = 400_000
"""Runs whose ids a plan can hold: half a minute of work, and a gigabyte at most."""
_LARGE_RUNS = 10_000
_LARGE_SEC = 30 * 86400


class LargeStudyError(ValueError):
    """A study that is begun only once somebody has said that this is meant; its text says what it costs."""


class TooLargeError(ValueError):
    """A study with more arms or runs than a plan can list; its text says what it would cost."""


def can_be_listed(study: Study) -> bool:
    """Whether a plan can name each arm, and each run of an ablation or of a trial."""
    listed = len(study.seeds) if study.kind in ("search", "tuned-ablation") else study.num_runs
    return study.lists_arms and listed <= _MOST_LISTED


def is_large(plan: Plan) -> bool:
    """Whether carrying out a plan should be asked about first."""
    return plan.num_runs - plan.num_done > _LARGE_RUNS or plan.eta_sec > _LARGE_SEC


def size_of(plan: Plan) -> str:
    """What is left of a plan and what it costs, in words."""
    return size_in_words(plan.study, plan.num_runs - plan.num_done, plan.eta_sec, plan.workers, plan.device)


def size_in_words(study: Study, num_runs: int, eta_sec: float, workers: int, device: str) -> str:
    """How many runs there are to make, of what, and how long they take.

    Args:
        study: the study.
        num_runs: runs to make.
        eta_sec: seconds that all workers need for them.
        workers: worker processes.
        device: where they train.
    """
    made_of = [plural(study.num_arms, "arm")] if study.num_arms > 1 else []
    if study.kind in ("search", "tuned-ablation"):
        made_of.append(f"{plural(study.num_trials(study.first_arm), 'trial')}{' each' if made_of else ''}")
    made_of.append(plural(len(study.seeds), "seed"))
    size = f"{study.name} is {plural(num_runs, 'run')} ({', '.join(made_of)})"
    return f"{size}: about {about(eta_sec)} on {device} with {plural(workers, 'worker')}"
