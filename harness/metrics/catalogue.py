"""Every score's entry in the registry: what it means, its unit, and which way is better.

A study names a score by its entry, `metric: {name: frechet}`. A score that depends on an extractor is then
that of the data set's own extractor; `Evaluator.sources` tells its full name, `frechet/lenet-mnist@1a2b3c4d`.
Tables list scores in the order in which their entries stand here; other people's follow.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, Literal, TypeAlias, TypeVar, get_args, overload

from harness.recipe.registry import metrics, nearest
from harness.study.target import Goal, Target

__all__ = ["Compute", "Kind", "Metric", "register_metric"]

Kind: TypeAlias = Literal["points", "images", "any"]

Compute: TypeAlias = Callable[[Any, Any, Any], float]
"""`(samples, reals, labels) -> float`; see `register_metric`."""

C = TypeVar("C", bound=Compute)

_SIGNED = frozenset(
    ("mmd2", "symmetry", "ms_ssim", "ms_ssim_excess", "memorised", "repeated", "frechet_minus_null", "kid")
)
"""Scores of ours that can be negative: estimates without bias, differences, correlations."""

_ABSURD = 1e6
_ROUNDING = 1e-6
_DISTANCES = ("data units", "units of distance", "squared units of distance")
"""Units that depend on the data and on what embeds them."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What a reader needs to know of a score, and how it is computed where it is not one of ours.

    Attributes:
        name: its key, without the prefix `eval/`: a letter, then letters, digits, `_` or `-`.
        goal: which way is better. Where `ideal` lies in between, the way in which failing runs miss it.
        kind: the data it is for: `points` in the plane, `images`, or `any`.
        description: one plain sentence or two.
        unit: what it is counted in; `data units` are those of the points' coordinates.
        ideal: the value that a perfect generator has, but for chance; None where it depends on the data.
        needs_mixture: it is given only where the mixture behind the data is known.
        exact: it is dear, and given only at the first and the final evaluation.
        compute: the function behind it, see `register_metric`; None for the scores of the harness, which
            are computed in groups.

    Raises:
        ValueError: a field that cannot be used; one line names it.
    """

    name: str
    goal: Goal
    kind: Kind
    description: str
    unit: str = ""
    ideal: float | None = None
    needs_mixture: bool = False
    exact: bool = False
    compute: Compute | None = None

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and re.fullmatch(r"[A-Za-z][\w-]*", self.name, re.ASCII)):
            raise ValueError(
                "a metric's `name` must be a letter, then letters, digits, `_` or `-`, but got "
                f"{self.name!r}."
            )
        for field, value, allowed in (
            ("goal", self.goal, get_args(Goal)),
            ("kind", self.kind, get_args(Kind)),
        ):
            if value not in allowed:
                hint = nearest(str(value), allowed) or "."
                raise ValueError(
                    f"`{field}` of metric `{self.name}` must be {', '.join(allowed[:-1])} or {allowed[-1]}, "
                    f"but got {value!r}{hint}"
                )
        if not (isinstance(self.description, str) and self.description.strip()):
            raise ValueError(f"`description` of metric `{self.name}` must say in words what it means.")
        number = isinstance(self.ideal, Real) and not isinstance(self.ideal, bool)
        if self.ideal is not None and not (number and math.isfinite(self.ideal)):
            raise ValueError(
                f"`ideal` of metric `{self.name}` must be a number or None, but got {self.ideal!r}."
            )
        if self.compute is not None and not callable(self.compute):
            raise ValueError(
                f"`compute` of metric `{self.name}` must be a function, but got {self.compute!r}."
            )

    @property
    def target(self) -> Target:
        """The metric as what runs are compared by."""
        return Target(metric=self.name, goal=self.goal)

    @property
    def direction(self) -> str:
        """Which scores are better: ``lower`` or ``higher``."""
        return self.target.direction

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest value there can be; infinite where none is known, as of one's own."""
        if self.compute is not None:
            return -math.inf, math.inf
        least = -math.inf if self.name in _SIGNED else 0.0
        return least, 1.0 if self.unit in ("share", "probability") else math.inf

    def is_absurd(self, value: float, untrained: float = math.nan) -> bool:
        """Whether a score tells that something is broken, a run or the data, and nothing of quality.

        It lies beyond `bounds`, or beyond a million times its unit: ratios, standard deviations and counts
        come nowhere near, whatever a network draws. Distances, and scores of one's own, have no such unit:
        they are held against a million times what the untrained generator got, and 1 at least.

        Args:
            value: the score.
            untrained: the same score of the untrained generator, or of real samples; NaN where not known.
        """
        has_scale = self.compute is None and self.unit not in _DISTANCES
        scale = 1.0 if has_scale else math.inf if math.isnan(untrained) else max(1.0, abs(untrained))
        least, most = self.bounds
        return (
            math.isinf(value)
            or abs(value) > _ABSURD * scale
            or value < least - _ROUNDING
            or value > most + _ROUNDING
        )


@overload
def register_metric(metric: Metric, /) -> Metric: ...


@overload
def register_metric(
    name: str,
    /,
    *,
    goal: Goal,
    kind: Kind,
    description: str,
    unit: str = "",
    ideal: float | None = None,
    exact: bool = False,
) -> Callable[[C], C]: ...


def register_metric(metric: Metric | str, /, **fields: Any) -> Metric | Callable[[C], C]:
    """Register a score of one's own: a decorator of the function that computes it, or a `Metric` at once.

    The function is called as `compute(samples, reals, labels)`, at every evaluation of a run on data of the
    metric's kind, and returns a number. What it is given are numpy arrays of its own, free to be changed:

    - samples: (N, 2) float64 generated points, or (N, C, H, W) float32 generated images, in the data's
      scaling to [-1, 1];
    - reals: (M, 2) or (M, C, H, W), the same of held-out reals in random order, of images at most 2500;
      against halves of the reals, which choose and report the best checkpoint, half of them;
    - labels: (N,) int64 classes that the samples were asked to be of, or None without them.

    If it raises, or does not return a finite number, the score is recorded as failed with the reason, and the
    run goes on. What it draws at random must be seeded by itself, or its scores change from
    one evaluation to the next.

    Args:
        metric: the score's name, or a whole entry that has `compute`.
        fields: with a name, the other fields of `Metric`: `goal`, `kind`, `description`, and if need be
            `unit`, `ideal` and `exact`.

    Returns:
        With a name, a decorator that gives back the function; else the entry.

    Raises:
        ValueError: the name is taken, an entry without `compute`, or a field that cannot be used.

    Example:
        >>> from harness import Study, register_metric
        >>> @register_metric("mean_gap", goal="minimize", kind="points", description="Gap of the means.")
        ... def mean_gap(samples, reals, labels):
        ...     return float(abs(samples.mean(axis=0) - reals.mean(axis=0)).max())
        >>> Study(name="means", recipe="points-gan", metric="mean_gap").target.better(0.1, 0.2)
        True
    """
    caller = sys._getframe(1)
    if isinstance(metric, Metric):
        if metric.compute is None:
            raise ValueError(f"metric `{metric.name}` needs `compute`, the function that computes it.")
        return metrics.register(metric.name, caller=caller)(metric)
    if not isinstance(metric, str):
        raise ValueError(
            f"a metric's name must be text, but got {metric!r}; write it in parentheses, with its goal, kind "
            "and description."
        )
    entry = Metric(name=metric, **fields)

    def decorate(compute: C) -> C:
        metrics.register(metric, caller=caller)(replace(entry, compute=compute))
        return compute

    return decorate


def _declare(name: str, goal: Goal, kind: Kind, unit: str, **fields: Any) -> Callable[[str], Metric]:
    """Register one of the harness's scores; call the result with its description."""

    def describe(description: str) -> Metric:
        entry = Metric(name=name, goal=goal, kind=kind, description=description, unit=unit, **fields)
        metrics.register(name)(entry)
        return entry

    return describe


_declare("sliced_w2", "minimize", "points", "data units", ideal=0.0)(
    "How far the generated cloud of points is from the real one: how far its points must move to match, "
    "looking at both clouds from one side, averaged over 500 sides."
)
_declare("w2", "minimize", "points", "data units", ideal=0.0, exact=True)(
    "How far the generated points must move, at the least, to become the real points (root mean square over "
    "the best one-to-one assignment)."
)
_declare("mmd2", "minimize", "any", "units of distance", ideal=0.0)(
    "Energy distance: how much farther generated samples are from real ones than each kind is from its own; "
    "chance can make it slightly negative."
)
_declare("modes", "maximize", "points", "clusters", needs_mixture=True)(
    "Clusters of the data that get at least a fifth of the points they should get."
)
_declare("modes_hit", "maximize", "points", "clusters", needs_mixture=True)(
    "Clusters of the data that get at least one point: a lenient count."
)
_declare("mode_recall", "maximize", "points", "share", ideal=1.0, needs_mixture=True)(
    "Share of clusters that get at least a fifth of their share of the points that lie within three standard "
    "deviations of a cluster, however few these are; not given below ten of them a cluster."
)
_declare("mode_surplus", "minimize", "points", "share", ideal=0.0, needs_mixture=True)(
    "What the most favoured cluster has too much of these points, over the most that it could: 1 where all "
    "are of one cluster; chance leaves it somewhat above 0."
)
_declare("high_quality", "maximize", "points", "share", ideal=0.9889, needs_mixture=True)(
    "Share of generated points that lie within three standard deviations of a cluster."
)
_declare("mode_kl", "minimize", "points", "nats", ideal=0.0, needs_mixture=True)(
    "How unevenly the generated points are spread over the clusters, those outside of all clusters counted "
    "as one more (reverse Kullback-Leibler divergence)."
)
_declare("thinness", "maximize", "points", "ratio", ideal=1.0, needs_mixture=True)(
    "Width of the generated clusters across their narrow side over the true width: 1 is right, below 1 is "
    "too thin."
)
_declare("bin_recall", "maximize", "any", "share", ideal=1.0)(
    "Share of 50 small regions of the data that get at least a fifth of the samples they should get; low "
    "when whole regions are missing."
)
_declare("precision", "maximize", "any", "share")("Share of generated samples that lie among real ones.")
_declare("recall", "maximize", "any", "share")("Share of real samples that lie among generated ones.")
_declare("density", "maximize", "any", "ratio", ideal=1.0)(
    "How crowded the real samples are where the generated ones lie: 1 is right, below 1 means that samples "
    "lie off the data, far above 1 that they huddle inside of it."
)
_declare("coverage", "maximize", "any", "share")(
    "Share of real samples that have a generated one in their neighbourhood; what is right depends on how "
    "many samples there are of each."
)
_declare("pair_distance", "maximize", "any", "ratio", ideal=1.0)(
    "Mean distance between two generated samples over that between two real ones: 1 is right, 0 means that "
    "all generated samples are the same."
)
_declare("d_auc", "minimize", "any", "probability", ideal=0.5)(
    "How often the discriminator, in evaluation mode, scores an unseen real sample above a generated one: "
    "0.5: it cannot tell, 1: always. One with batch norm may tell only whole batches."
)
_declare("swd", "minimize", "images", "1/1000 standard deviations", ideal=0.0)(
    "How far small patches of generated images are from patches of real ones, at several sizes (sliced "
    "Wasserstein distance, times 1000); needs no trained network."
)
_declare("sharpness", "maximize", "images", "ratio", ideal=1.0)(
    "Strength of fine detail in generated images over that in real ones: 1 is right, below 1 is blurred, "
    "above 1 is noisy."
)
_declare("symmetry", "maximize", "images", "ratio", ideal=1.0)(
    "How alike the left and right halves of generated images are, over the same for real ones: 1 is right, "
    "below 1 means mismatched halves."
)
_declare("ms_ssim", "minimize", "images", "similarity")(
    "How alike two random generated images look: 1 means that all are the same."
)
_declare("ms_ssim_excess", "minimize", "images", "similarity", ideal=0.0)(
    "How much more alike two generated images look than two real ones: 0 is right, above 0 means too little "
    "variety."
)
_declare("precision_over_real", "maximize", "any", "ratio", ideal=1.0)(
    "Share of generated samples that lie among real ones, over what as many other real samples get."
)
_declare("recall_over_real", "maximize", "any", "ratio", ideal=1.0)(
    "Share of real samples that lie among generated ones, over what as many other real samples get."
)
_declare("density_over_real", "maximize", "any", "ratio", ideal=1.0)(
    "How crowded the real samples are where generated ones lie, over what as many other real samples get; "
    "far above 1 means too little variety inside of modes."
)
_declare("coverage_over_real", "maximize", "any", "ratio", ideal=1.0)(
    "Share of real samples with a generated one near by, over what as many other real samples get."
)
_declare("memorised", "minimize", "any", "share", ideal=0.0, exact=True)(
    "Share of generated samples that lie far nearer to one training sample than real ones that were held out "
    "do, less chance: 0 is right, 1 means copies of training samples."
)
_declare("repeated", "minimize", "any", "share", ideal=0.0)(
    "Share of generated samples of which there is another one, or nearly, where real ones have none so near, "
    "less chance: 0 is right, 1 means few samples made many times."
)
_declare("ndb", "minimize", "images", "share", ideal=0.05)(
    "Share of 50 small regions of the data that get significantly more or fewer images than they should; "
    "chance alone leaves 0.05."
)
_declare("frechet", "minimize", "images", "squared units of distance", ideal=0.0)(
    "How far the generated images are from the real ones as a whole, in what a small trained network sees: "
    "centre and spread (Fréchet distance)."
)
_declare("frechet_minus_null", "minimize", "images", "squared units of distance", ideal=0.0)(
    "The Fréchet distance less what as many real images would get by chance: 0 is right."
)
_declare("frechet_over_trace", "minimize", "images", "ratio", ideal=0.0)(
    "The Fréchet distance over the spread of the real images, to compare across networks and data."
)
_declare("kid", "minimize", "images", "squared units of distance", ideal=0.0)(
    "How far the generated images are from the real ones in what a small trained network sees, by an "
    "unbiased estimate; chance can make it slightly negative."
)
_declare("vendi", "maximize", "images", "images")(
    "Effective number of different generated images: 1 means that all are the same."
)
_declare("vendi_over_real", "maximize", "images", "ratio", ideal=1.0)(
    "Effective number of different generated images, over that of as many real ones: 1 is right."
)
_declare("classes", "maximize", "images", "classes")(
    "Classes that get at least a fifth of the images they should get, counting only images whose class is "
    "clear."
)
_declare("class_recall", "maximize", "images", "share", ideal=1.0)(
    "Share of classes that get at least a fifth of the images they should get, counting only images whose "
    "class is clear."
)
_declare("class_recall_clear", "maximize", "images", "share", ideal=1.0)(
    "Share of classes that get at least a fifth of their share of the images of a clear class, however few "
    "these are; not given below ten of them a class."
)
_declare("class_surplus", "minimize", "images", "share", ideal=0.0)(
    "What the most favoured class has too much of the images of a clear class, over the most that it could: "
    "1 where all are of one class, 0.44 where one of ten has half; chance leaves it somewhat above 0."
)
_declare("class_kl", "minimize", "images", "nats", ideal=0.0)(
    "How unevenly images of a clear class are spread over the classes (reverse Kullback-Leibler divergence); "
    "dropping half of ten gives 0.69."
)
_declare("class_tv", "minimize", "images", "share", ideal=0.0)(
    "Share of the images of a clear class that would have to change class to match the real ones."
)
_declare("confident", "maximize", "images", "share")(
    "Share of generated images of which a classifier is sure, at 90 %."
)
_declare("confident_over_real", "maximize", "images", "ratio", ideal=1.0)(
    "Share of generated images of which a classifier is sure, over that of real ones: low where images look "
    "like nothing."
)
_declare("classifier_score", "maximize", "images", "classes")(
    "How clear the class of each image is, and how many classes there are: from 1 to the number of classes "
    "(the Inception Score, with another classifier)."
)
_declare("classifier_score_over_real", "maximize", "images", "ratio", ideal=1.0)(
    "The classifier score over that of real images: 1 is right."
)
_declare("label_accuracy", "maximize", "images", "share")(
    "Share of generated images that look like the class they were asked to be of."
)
_declare("stacked_modes", "maximize", "images", "numbers")(
    "Of the 1000 three-digit numbers, how many are among the generated images; published results are for "
    "26,000 images."
)
_declare("stacked_modes_over_real", "maximize", "images", "ratio", ideal=1.0)(
    "Three-digit numbers among the generated images, over how many a perfect generator hits with as many "
    "images."
)
_declare("stacked_modes_sure", "maximize", "images", "numbers")(
    "Three-digit numbers among the generated images, counting only images whose three digits are clear."
)
_declare("stacked_kl", "minimize", "images", "nats")(
    "How unevenly the generated images are spread over the 1000 numbers (reverse Kullback-Leibler "
    "divergence)."
)
