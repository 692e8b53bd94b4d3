"""Scores: how close generated samples are to held-out real ones, in numbers tested against closed forms."""

from __future__ import annotations

from harness.diagnostics import image_metrics as image_metrics
from harness.diagnostics.evaluator import Evaluator
from harness.diagnostics.metrics import MetricInfo
from harness.diagnostics.scores import Halves, Scores
from harness.diagnostics.selection import EXTRACTORS, check_comparable, find_extractor
from harness.diagnostics.verdict import (
    HOPELESS,
    VERDICTS,
    Judge,
    Thresholds,
    Verdict,
    VerdictName,
    dynamics_of,
    judge_history,
)

__all__ = [
    "EXTRACTORS",
    "HOPELESS",
    "VERDICTS",
    "Evaluator",
    "Halves",
    "Judge",
    "MetricInfo",
    "Scores",
    "Thresholds",
    "Verdict",
    "VerdictName",
    "check_comparable",
    "dynamics_of",
    "find_extractor",
    "judge_history",
]
