"""The entries of image scores in the registry: what each means, its unit, and which way is better.

A study names a score by its entry, `metric: {name: frechet}`. A score that depends on an extractor is then
that of the data set's own extractor; `Evaluator.sources` tells its full name, `frechet/lenet-mnist@1a2b3c4d`.
"""

from __future__ import annotations

from harness.diagnostics.metrics import MetricInfo
from harness.registry import metrics

__all__: list[str] = []

_ENTRIES = (
    MetricInfo(
        name="swd",
        goal="minimize",
        kind="images",
        description="How far small patches of generated images are from patches of real ones, at several "
        "sizes (sliced Wasserstein distance, times 1000); needs no trained network.",
        unit="1/1000 standard deviations",
        ideal=0.0,
    ),
    MetricInfo(
        name="sharpness",
        goal="maximize",
        kind="images",
        description="Strength of fine detail in generated images over that in real ones: 1 is right, below 1 "
        "is blurred, above 1 is noisy.",
        unit="ratio",
        ideal=1.0,
    ),
    MetricInfo(
        name="symmetry",
        goal="maximize",
        kind="images",
        description="How alike the left and right halves of generated images are, over the same for real "
        "ones: 1 is right, below 1 means mismatched halves.",
        unit="ratio",
        ideal=1.0,
    ),
    MetricInfo(
        name="ms_ssim",
        goal="minimize",
        kind="images",
        description="How alike two random generated images look: 1 means that all are the same.",
        unit="similarity",
        ideal=None,
    ),
    MetricInfo(
        name="ms_ssim_excess",
        goal="minimize",
        kind="images",
        description="How much more alike two generated images look than two real ones: 0 is right, above 0 "
        "means too little variety.",
        unit="similarity",
        ideal=0.0,
    ),
    MetricInfo(
        name="precision_over_real",
        goal="maximize",
        kind="images",
        description="Share of generated images that lie among real ones, over what other real images get.",
        unit="ratio",
        ideal=1.0,
    ),
    MetricInfo(
        name="recall_over_real",
        goal="maximize",
        kind="images",
        description="Share of real images that lie among generated ones, over what other real images get.",
        unit="ratio",
        ideal=1.0,
    ),
    MetricInfo(
        name="density_over_real",
        goal="maximize",
        kind="images",
        description="How crowded the real images are where generated ones lie, over what other real images "
        "get; far above 1 means too little variety inside of modes.",
        unit="ratio",
        ideal=1.0,
    ),
    MetricInfo(
        name="coverage_over_real",
        goal="maximize",
        kind="images",
        description="Share of real images with a generated one near by, over what other real images get.",
        unit="ratio",
        ideal=1.0,
    ),
    MetricInfo(
        name="ndb",
        goal="minimize",
        kind="images",
        description="Share of 50 small regions of the data that get significantly more or fewer images than "
        "they should; chance alone leaves 0.05.",
        unit="share",
        ideal=0.05,
    ),
)

for _entry in _ENTRIES:
    metrics.register(_entry.name)(_entry)
