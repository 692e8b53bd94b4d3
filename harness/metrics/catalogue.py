"""Every score's entry in the registry: what it means, its unit, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.recipe.registry import metrics
from harness.study.target import Goal, Target

__all__ = ["Metric"]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What a reader needs to know of a score.

    Attributes:
        name: its key, without the prefix `eval/`.
        goal: which way is better. Where `ideal` lies in between, the way in which failing runs miss it.
        kind: the data it is for: `points` in the plane, `images`, or `any`.
        description: one plain sentence or two.
        unit: what it is counted in; `data units` are those of the points' coordinates.
        ideal: the value that a perfect generator has, but for chance; None where it depends on the data.
        needs_mixture: it is given only where the mixture behind the data is known.
        exact: it is dear, and given only at the final evaluation.
    """

    name: str
    goal: Goal
    kind: Literal["points", "images", "any"]
    description: str
    unit: str
    ideal: float | None
    needs_mixture: bool = False
    exact: bool = False

    @property
    def target(self) -> Target:
        """The metric as what runs are compared by."""
        return Target(metric=self.name, goal=self.goal)

    @property
    def direction(self) -> str:
        """Which scores are better: ``lower`` or ``higher``."""
        return self.target.direction


_ENTRIES = (
    Metric(
        name="sliced_w2",
        goal="minimize",
        kind="points",
        description="How far the generated cloud of points is from the real one: how far its points must "
        "move to match, looking at both clouds from one side, averaged over 500 sides.",
        unit="data units",
        ideal=0.0,
    ),
    Metric(
        name="w2",
        goal="minimize",
        kind="points",
        description="How far the generated points must move, at the least, to become the real points "
        "(root mean square over the best one-to-one assignment).",
        unit="data units",
        ideal=0.0,
        exact=True,
    ),
    Metric(
        name="mmd2",
        goal="minimize",
        kind="any",
        description="Energy distance: how much farther generated samples are from real ones than each kind "
        "is from its own; chance can make it slightly negative.",
        unit="units of distance",
        ideal=0.0,
    ),
    Metric(
        name="modes",
        goal="maximize",
        kind="points",
        description="Clusters of the data that get at least a fifth of the points they should get.",
        unit="clusters",
        ideal=None,
        needs_mixture=True,
    ),
    Metric(
        name="modes_hit",
        goal="maximize",
        kind="points",
        description="Clusters of the data that get at least one point: a lenient count.",
        unit="clusters",
        ideal=None,
        needs_mixture=True,
    ),
    Metric(
        name="high_quality",
        goal="maximize",
        kind="points",
        description="Share of generated points that lie within three standard deviations of a cluster.",
        unit="share",
        ideal=0.9889,
        needs_mixture=True,
    ),
    Metric(
        name="mode_kl",
        goal="minimize",
        kind="points",
        description="How unevenly the generated points are spread over the clusters, those outside of all "
        "clusters counted as one more (reverse Kullback-Leibler divergence).",
        unit="nats",
        ideal=0.0,
        needs_mixture=True,
    ),
    Metric(
        name="thinness",
        goal="maximize",
        kind="points",
        description="Width of the generated clusters across their narrow side over the true width: 1 is "
        "right, below 1 is too thin.",
        unit="ratio",
        ideal=1.0,
        needs_mixture=True,
    ),
    Metric(
        name="bin_recall",
        goal="maximize",
        kind="any",
        description="Share of 50 small regions of the data that get at least a fifth of the samples they "
        "should get; low when whole regions are missing.",
        unit="share",
        ideal=1.0,
    ),
    Metric(
        name="precision",
        goal="maximize",
        kind="any",
        description="Share of generated samples that lie among real ones.",
        unit="share",
        ideal=None,
    ),
    Metric(
        name="recall",
        goal="maximize",
        kind="any",
        description="Share of real samples that lie among generated ones.",
        unit="share",
        ideal=None,
    ),
    Metric(
        name="density",
        goal="maximize",
        kind="any",
        description="How crowded the real samples are where the generated ones lie: 1 is right, below 1 "
        "means that samples lie off the data, far above 1 that they huddle inside of it.",
        unit="ratio",
        ideal=1.0,
    ),
    Metric(
        name="coverage",
        goal="maximize",
        kind="any",
        description="Share of real samples that have a generated one in their neighbourhood.",
        unit="share",
        ideal=0.969,
    ),
    Metric(
        name="pair_distance",
        goal="maximize",
        kind="any",
        description="Mean distance between two generated samples over that between two real ones: 1 is "
        "right, 0 means that all generated samples are the same.",
        unit="ratio",
        ideal=1.0,
    ),
    Metric(
        name="d_auc",
        goal="minimize",
        kind="any",
        description="How often the discriminator, in evaluation mode, scores an unseen real sample above a "
        "generated one: 0.5: it cannot tell, 1: always. One with batch norm may tell only whole batches.",
        unit="probability",
        ideal=0.5,
    ),
)

for _entry in _ENTRIES:
    metrics.register(_entry.name)(_entry)
