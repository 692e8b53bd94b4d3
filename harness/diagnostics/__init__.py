"""Scores: how close generated samples are to held-out real ones, in numbers tested against closed forms."""

from __future__ import annotations

from harness.diagnostics import image_metrics as image_metrics
from harness.diagnostics.evaluator import Evaluator
from harness.diagnostics.metrics import MetricInfo
from harness.diagnostics.scores import Scores

__all__ = ["Evaluator", "MetricInfo", "Scores"]
