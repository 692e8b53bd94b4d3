"""The entries of image scores in the registry: what each means, its unit, and which way is better.

A study names a score by its entry, `metric: {name: frechet}`. A score that depends on an extractor is then
that of the data set's own extractor; `Evaluator.sources` tells its full name, `frechet/lenet-mnist@1a2b3c4d`.
"""

from __future__ import annotations

from harness.metrics.catalogue import Metric
from harness.recipe.registry import metrics

__all__: list[str] = []

_ENTRIES = (
    Metric(
        name="swd",
        goal="minimize",
        kind="images",
        description="How far small patches of generated images are from patches of real ones, at several "
        "sizes (sliced Wasserstein distance, times 1000); needs no trained network.",
        unit="1/1000 standard deviations",
        ideal=0.0,
    ),
    Metric(
        name="sharpness",
        goal="maximize",
        kind="images",
        description="Strength of fine detail in generated images over that in real ones: 1 is right, below 1 "
        "is blurred, above 1 is noisy.",
        unit="ratio",
        ideal=1.0,
    ),
    Metric(
        name="symmetry",
        goal="maximize",
        kind="images",
        description="How alike the left and right halves of generated images are, over the same for real "
        "ones: 1 is right, below 1 means mismatched halves.",
        unit="ratio",
        ideal=1.0,
    ),
    Metric(
        name="ms_ssim",
        goal="minimize",
        kind="images",
        description="How alike two random generated images look: 1 means that all are the same.",
        unit="similarity",
        ideal=None,
    ),
    Metric(
        name="ms_ssim_excess",
        goal="minimize",
        kind="images",
        description="How much more alike two generated images look than two real ones: 0 is right, above 0 "
        "means too little variety.",
        unit="similarity",
        ideal=0.0,
    ),
    Metric(
        name="precision_over_real",
        goal="maximize",
        kind="images",
        description="Share of generated images that lie among real ones, over what other real images get.",
        unit="ratio",
        ideal=1.0,
    ),
    Metric(
        name="recall_over_real",
        goal="maximize",
        kind="images",
        description="Share of real images that lie among generated ones, over what other real images get.",
        unit="ratio",
        ideal=1.0,
    ),
    Metric(
        name="density_over_real",
        goal="maximize",
        kind="images",
        description="How crowded the real images are where generated ones lie, over what other real images "
        "get; far above 1 means too little variety inside of modes.",
        unit="ratio",
        ideal=1.0,
    ),
    Metric(
        name="coverage_over_real",
        goal="maximize",
        kind="images",
        description="Share of real images with a generated one near by, over what other real images get.",
        unit="ratio",
        ideal=1.0,
    ),
    Metric(
        name="ndb",
        goal="minimize",
        kind="images",
        description="Share of 50 small regions of the data that get significantly more or fewer images than "
        "they should; chance alone leaves 0.05.",
        unit="share",
        ideal=0.05,
    ),
    Metric(
        name="frechet",
        goal="minimize",
        kind="images",
        description="How far the generated images are from the real ones as a whole, in what a small "
        "trained network sees: centre and spread (Fréchet distance).",
        unit="squared units of distance",
        ideal=0.0,
    ),
    Metric(
        name="frechet_minus_null",
        goal="minimize",
        kind="images",
        description="The Fréchet distance less what as many real images would get by chance: 0 is right.",
        unit="squared units of distance",
        ideal=0.0,
    ),
    Metric(
        name="frechet_over_trace",
        goal="minimize",
        kind="images",
        description="The Fréchet distance over the spread of the real images, to compare across "
        "networks and data.",
        unit="ratio",
        ideal=0.0,
    ),
    Metric(
        name="kid",
        goal="minimize",
        kind="images",
        description="How far the generated images are from the real ones in what a small trained "
        "network sees, by an unbiased estimate; chance can make it slightly negative.",
        unit="squared units of distance",
        ideal=0.0,
    ),
    Metric(
        name="vendi",
        goal="maximize",
        kind="images",
        description="Effective number of different generated images: 1 means that all are the same.",
        unit="images",
        ideal=None,
    ),
    Metric(
        name="vendi_over_real",
        goal="maximize",
        kind="images",
        description="Effective number of different generated images, over that of as many real ones: 1 "
        "is right.",
        unit="ratio",
        ideal=1.0,
    ),
    Metric(
        name="classes",
        goal="maximize",
        kind="images",
        description="Classes that get at least a fifth of the images they should get, counting only "
        "images whose class is clear.",
        unit="classes",
        ideal=None,
    ),
    Metric(
        name="class_recall",
        goal="maximize",
        kind="images",
        description="Share of classes that get at least a fifth of the images they should get, counting "
        "only images whose class is clear.",
        unit="share",
        ideal=1.0,
    ),
    Metric(
        name="class_kl",
        goal="minimize",
        kind="images",
        description="How unevenly images of a clear class are spread over the classes (reverse "
        "Kullback-Leibler divergence); dropping half of ten gives 0.69.",
        unit="nats",
        ideal=0.0,
    ),
    Metric(
        name="class_tv",
        goal="minimize",
        kind="images",
        description="Share of the images of a clear class that would have to change class to match the "
        "real ones.",
        unit="share",
        ideal=0.0,
    ),
    Metric(
        name="confident",
        goal="maximize",
        kind="images",
        description="Share of generated images of which a classifier is sure, at 90 %.",
        unit="share",
        ideal=None,
    ),
    Metric(
        name="confident_over_real",
        goal="maximize",
        kind="images",
        description="Share of generated images of which a classifier is sure, over that of real ones: "
        "low where images look like nothing.",
        unit="ratio",
        ideal=1.0,
    ),
    Metric(
        name="classifier_score",
        goal="maximize",
        kind="images",
        description="How clear the class of each image is, and how many classes there are: from 1 to "
        "the number of classes (the Inception Score, with another classifier).",
        unit="classes",
        ideal=None,
    ),
    Metric(
        name="classifier_score_over_real",
        goal="maximize",
        kind="images",
        description="The classifier score over that of real images: 1 is right.",
        unit="ratio",
        ideal=1.0,
    ),
    Metric(
        name="label_accuracy",
        goal="maximize",
        kind="images",
        description="Share of generated images that look like the class they were asked to be of.",
        unit="share",
        ideal=None,
    ),
    Metric(
        name="stacked_modes",
        goal="maximize",
        kind="images",
        description="Of the 1000 three-digit numbers, how many are among the generated images; "
        "published results are for 26,000 images.",
        unit="numbers",
        ideal=None,
    ),
    Metric(
        name="stacked_modes_over_real",
        goal="maximize",
        kind="images",
        description="Three-digit numbers among the generated images, over how many a perfect generator "
        "hits with as many images.",
        unit="ratio",
        ideal=1.0,
    ),
    Metric(
        name="stacked_modes_sure",
        goal="maximize",
        kind="images",
        description="Three-digit numbers among the generated images, counting only images whose three "
        "digits are clear.",
        unit="numbers",
        ideal=None,
    ),
    Metric(
        name="stacked_kl",
        goal="minimize",
        kind="images",
        description="How unevenly the generated images are spread over the 1000 numbers (reverse "
        "Kullback-Leibler divergence).",
        unit="nats",
        ideal=None,
    ),
)

for _entry in _ENTRIES:
    metrics.register(_entry.name)(_entry)
