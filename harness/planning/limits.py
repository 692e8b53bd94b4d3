"""What evaluations of few samples cannot show, measured with real samples before a study is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from harness.data import gather, scaled
from harness.runs.examining import evaluator_of
from harness.words import joined, rounded

if TYPE_CHECKING:
    from harness.data import Dataset

__all__ = ["FEW_SAMPLES", "limits"]

FEW_SAMPLES = 500
"""From here on all scores of ten classes or 25 clusters are given; below, the data at hand are measured."""

_MOST_SETS = 10


def limits(dataset: Dataset, metric: str, num_samples: int) -> str:
    """What evaluations of so many samples leave open: how much is chance, and which scores are not given.

    Sets of as many training samples, none of which is in two, are scored like generated ones. 20 to 100 ms a
    set of 100 points or small images.

    Args:
        dataset: the data.
        metric: what runs are compared by.
        num_samples: samples an evaluation.

    Returns:
        A sentence without its full stop; empty from `FEW_SAMPLES` on.
    """
    if num_samples >= FEW_SAMPLES:
        return ""
    order = torch.randperm(len(dataset.train), generator=torch.Generator().manual_seed(0))
    found = []
    for start in range(0, min(len(order), _MOST_SETS * num_samples) - num_samples + 1, num_samples):
        rows = order[start : start + num_samples].to(dataset.train.device)
        found.append(evaluator_of(dataset).evaluate(scaled(gather(dataset.train, rows))))
    values = [scores[metric] for scores in found if metric in scores]
    lacking = [name for name in evaluator_of(dataset).names if any(name in one.too_few for one in found)]
    parts = []
    if values and min(values) < max(values):
        parts.append(
            f"{len(values)} sets of as many real ones get {metric} {rounded(min(values))} to "
            f"{rounded(max(values))}, so that lesser differences between good runs are chance"
        )
    if lacking:
        favoured = any("surplus" in name for name in lacking)
        parts.append(
            f"{joined(lacking)} {'is' if len(lacking) == 1 else 'are'} not given, and verdicts go without"
            + (": they cannot tell a class or cluster that is favoured" if favoured else "")
        )
    if not parts:
        return ""
    return f"evaluations of {num_samples} samples (`evaluate.num_samples`) show little: {'; '.join(parts)}"
