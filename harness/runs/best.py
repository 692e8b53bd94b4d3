"""The checkpoint that a run is remembered by: chosen on one half of the held-out reals, scored on the other.

The smallest of many noisy scores is smaller than any of them deserves. Choosing on one half and reporting on
the other takes that flattery out: the reported half had no say in the choice. Nor had the latents that the
chosen checkpoint and, to put beside it, the last one are scored with once the run is at its end: every look
on the way is at the same ones, and a choice made on those is a lucky one for them too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from harness.study.target import Target

__all__ = ["BestCheckpoint"]

Weights = dict[str, Any]


class BestCheckpoint:
    """The best checkpoint of one run so far.

    Args:
        target: What the study compares by.
        state: What `state_dict` gave at the checkpoint that the run goes on from; None for a fresh run.
    """

    def __init__(
        self,
        target: Target,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        self._target = target
        self._best: dict[str, Any] = dict(state or {})

    def offer(self, step: int, select: float, report: float, weights: Callable[[], Weights]) -> None:
        """Keep this checkpoint if it is better than all before it on the half that selects.

        Args:
            step: Where in training.
            select: The metric on the half that selects; one that is not finite is passed over.
            report: The metric on the other half.
            weights: Gives the networks' state dictionaries; asked only if they are kept.
        """
        if not math.isfinite(select):
            return
        if not self._best or self._target.better(select, self._best["select"]):
            self._best = {"step": step, "select": select, "report": report, "weights": _on_cpu(weights())}
        self._best |= {"last": report, "fresh": False}

    def settle(self, report: float, last: float) -> None:
        """Take the scores on fresh latents, once the run is at its end, in place of those on the way.

        Args:
            report: Of the checkpoint kept, on the half that reports.
            last: Of the last checkpoint, on the same half. Where either is NaN, both stay what they were.
        """
        if self._best and math.isfinite(report) and math.isfinite(last):
            self._best |= {"report": report, "last": last, "fresh": True}

    @property
    def step(self) -> int | None:
        """The step of the checkpoint kept; None before there is one."""
        return int(self._best["step"]) if self._best else None

    @property
    def report(self) -> float | None:
        """The metric of the checkpoint kept, on the half that had no say."""
        return float(self._best["report"]) if self._best else None

    @property
    def weights(self) -> Weights:
        """The networks' state dictionaries by name, on the CPU."""
        return dict(self._best["weights"])

    def to_json(self) -> dict[str, Any]:
        """``metric``, ``step``, ``select``, ``report``, ``last``, ``fresh``; empty before there is one.

        ``last`` is the last checkpoint's score on the half that reports, to put beside it; ``fresh`` says
        whether these two are of latents that had no part in the choice.
        """
        if not self._best:
            return {}
        known = {key: self._best[key] for key in ("step", "select", "report", "last", "fresh")}
        return {"metric": self._target.metric, **known}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return dict(self._best)


def _on_cpu(weights: Mapping[str, Any]) -> Weights:
    """Copies, so that a device's memory does not hold two of every run."""
    return {
        name: {key: value.cpu() if isinstance(value, Tensor) else value for key, value in part.items()}
        for name, part in weights.items()
    }
