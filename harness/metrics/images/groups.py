"""The groups of image scores: what is computed together, when it is to be had, and when it is due.

Shapes: N fakes (N, C, H, W) in [-1, 1]; embeddings (N, d) float64; all on one device.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from harness.features.extractors import Features
from harness.metrics.checks import Array
from harness.metrics.groups import Group
from harness.metrics.images import classes
from harness.metrics.images.frechet import frechet, frechet_null, kid, moments, vendi
from harness.metrics.images.manifold import found_neighbours, ndb, nearest_bins, pairwise, radii
from harness.metrics.images.pixels import (
    mean_symmetry,
    ms_ssim_scales,
    pair_distance_of,
    pair_ms_ssim,
    sharpness_of,
)
from harness.metrics.images.pyramid import NUM_IMAGES, swd
from harness.metrics.images.reference import MAX_NEIGHBOURS, Reference
from harness.metrics.points.coverage import compare_counts
from harness.metrics.points.distances import d_auc, energy

__all__ = ["Batch", "groups_of"]

_MIN_SYMMETRY = 0.05
"""Mean correlation of the reals with their mirror images below which there is nothing to relate to."""

_MAX_CLASSES = 100
_MIN_AGREEMENT = 0.7
"""Accuracy on the reals below which a classifier's classes are not those of the labels."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Generated images, with what several scores need of them."""

    images: Tensor
    embed: Callable[[], Features]
    reference: Reference
    judged: tuple[Array, Array] | None = None
    labels: Tensor | None = None
    details: dict[str, tuple[float, ...]] = field(default_factory=dict)

    @cached_property
    def features(self) -> Features:
        return self.embed()

    @property
    def logits(self) -> Tensor:
        """(N, classes)"""
        assert self.features.logits is not None
        return self.features.logits

    @property
    def stacked(self) -> Tensor:
        """(N, 3, 10)"""
        assert self.features.stacked is not None
        return self.features.stacked

    @property
    def num_compared(self) -> int:
        """How many fakes are compared each with each, with as many reals."""
        return min(len(self.images), len(self.reference.real), MAX_NEIGHBOURS)


def _sharpness(batch: Batch) -> dict[str, float]:
    return {"sharpness": sharpness_of(batch.images) / _above_zero(batch.reference.sharpness, "contrast")}


def _symmetry(batch: Batch) -> dict[str, float]:
    return {"symmetry": mean_symmetry(batch.images) / batch.reference.symmetry}


def _pair_distance(batch: Batch) -> dict[str, float]:
    spread = _above_zero(batch.reference.pair_distance, "spread")
    return {"pair_distance": pair_distance_of(batch.images) / spread}


def _swd(batch: Batch) -> dict[str, float]:
    count = min(len(batch.images), len(batch.reference.pixels), NUM_IMAGES)
    return {"swd": swd(batch.images[:count], batch.reference.patches(count))}


def _ms_ssim(batch: Batch) -> dict[str, float]:
    value = pair_ms_ssim(batch.images)
    return {"ms_ssim": value, "ms_ssim_excess": value - batch.reference.ms_ssim}


def _neighbours(batch: Batch) -> dict[str, float]:
    count, reference = batch.num_compared, batch.reference
    fake, real = batch.features.embedding[:count], reference.features.embedding[:count]
    between, within = pairwise(fake, real), pairwise(fake, fake)
    found = found_neighbours(between, radii(within), reference.radii(count))
    null = reference.null(min(count, len(reference.train)))
    pairs = count * (count - 1)
    inside = [float(distances.sum()) / pairs for distances in (within, reference.within(count))]
    scores = {"mmd2": energy(float(between.mean()), *inside)}
    for name in ("precision", "recall", "density", "coverage"):
        value, ideal = float(getattr(found, name)), float(getattr(null, name))
        scores[name] = value
        scores[f"{name}_over_real"] = value / ideal if ideal else math.nan
    return scores


def _bins(batch: Batch) -> dict[str, float]:
    bins = batch.reference.bins
    nearest = nearest_bins(batch.features.embedding, bins.centres)
    counts = torch.bincount(nearest, minlength=len(bins.centres))
    recalled = compare_counts(counts.cpu().numpy(), bins.counts.cpu().numpy())
    return {"bin_recall": recalled, "ndb": ndb(counts, bins.counts)}


def _d_auc(batch: Batch) -> dict[str, float]:
    assert batch.judged is not None
    return {"d_auc": d_auc(*batch.judged)}


def _frechet(batch: Batch) -> dict[str, float]:
    reference = batch.reference
    value = frechet(moments(batch.features.embedding), reference.moments, reference.frechet_root)
    return {
        "frechet": value,
        "frechet_minus_null": value - frechet_null(reference.moments, len(batch.images)),
        "frechet_over_trace": value / float(reference.moments.covariance.trace()),
    }


def _kid(batch: Batch) -> dict[str, float]:
    real = batch.reference.features.embedding[:MAX_NEIGHBOURS]
    return {"kid": kid(batch.features.embedding, real, batch.reference.kernel)}


def _vendi(batch: Batch) -> dict[str, float]:
    count, reference = min(len(batch.images), len(batch.reference.real)), batch.reference
    value = vendi(batch.features.embedding[:count], reference.features.embedding.mean(dim=0))
    return {"vendi": value, "vendi_over_real": value / reference.vendi(count)}


def _classes(batch: Batch) -> dict[str, float]:
    fake, real = classes.class_counts(batch.logits), batch.reference.classes
    ratios = classes.class_ratios(fake, real)
    present = classes.num_present(ratios)
    batch.details["class_ratios"] = tuple(ratios.tolist())
    return {
        "classes": float(present),
        "class_recall": present / len(ratios),
        "class_kl": classes.class_kl(fake, real),
        "class_tv": classes.class_tv(fake, real),
        "confident": fake.confident,
        "confident_over_real": fake.confident / _above_zero(real.confident, "image of a clear class"),
    }


def _classifier_score(batch: Batch) -> dict[str, float]:
    value = classes.classifier_score(batch.logits)
    return {"classifier_score": value, "classifier_score_over_real": value / batch.reference.classifier_score}


def _label_accuracy(batch: Batch) -> dict[str, float]:
    assert batch.labels is not None
    if batch.reference.label_accuracy < _MIN_AGREEMENT:
        raise ValueError(
            f"the classifier finds the labels of only {batch.reference.label_accuracy:.0%} of the held-out "
            "images, so its classes are not those of the labels."
        )
    return {"label_accuracy": classes.label_accuracy(batch.logits, batch.labels)}


def _stacked(batch: Batch) -> dict[str, float]:
    every, sure = (classes.stacked_counts(batch.stacked, gate=gate) for gate in (False, True))
    hit = int((every > 0).sum())
    return {
        "stacked_modes": float(hit),
        "stacked_modes_over_real": hit / classes.expected_modes(len(batch.images)),
        "stacked_modes_sure": float((sure > 0).sum()),
        "stacked_kl": classes.uniform_kl(every),
        "confident": float(sure.sum()) / len(batch.images),
    }


def _above_zero(value: float, what: str) -> float:
    if value <= 0:
        raise ValueError(f"the held-out images have no {what}, so nothing can be related to theirs.")
    return value


def _has_symmetry(reference: Reference) -> bool:
    return abs(reference.symmetry) >= _MIN_SYMMETRY


def _is_classifier(reference: Reference) -> bool:
    """Classes that a data set may have; Inception's thousand are nobody's."""
    return 0 < reference.extractor.num_classes <= _MAX_CLASSES


def _has_logits(reference: Reference) -> bool:
    return reference.extractor.num_classes > 0


def _has_labels(reference: Reference) -> bool:
    return _is_classifier(reference) and reference.num_classes == reference.extractor.num_classes


def _is_stacked(reference: Reference) -> bool:
    return reference.extractor.stacked


def _is_large(reference: Reference) -> bool:
    return ms_ssim_scales(min(reference.real.shape[2:])) > 0


_ALL = (
    Group(names=("sharpness",), compute=_sharpness),
    Group(names=("symmetry",), compute=_symmetry, available=_has_symmetry),
    Group(names=("pair_distance",), compute=_pair_distance),
    Group(names=("swd",), compute=_swd),
    Group(names=("ms_ssim", "ms_ssim_excess"), compute=_ms_ssim, available=_is_large),
    Group(
        names=(
            "mmd2",
            *(
                f"{name}{ending}"
                for ending in ("", "_over_real")
                for name in ("precision", "recall", "density", "coverage")
            ),
        ),
        compute=_neighbours,
        embedded=True,
    ),
    Group(names=("bin_recall", "ndb"), compute=_bins, embedded=True),
    Group(names=("frechet", "frechet_minus_null", "frechet_over_trace"), compute=_frechet, embedded=True),
    Group(names=("kid",), compute=_kid, embedded=True),
    Group(names=("vendi", "vendi_over_real"), compute=_vendi, embedded=True),
    Group(
        names=("classes", "class_recall", "class_kl", "class_tv", "confident", "confident_over_real"),
        compute=_classes,
        available=_is_classifier,
        embedded=True,
    ),
    Group(
        names=("classifier_score", "classifier_score_over_real"),
        compute=_classifier_score,
        available=_has_logits,
        embedded=True,
    ),
    Group(
        names=("label_accuracy",),
        compute=_label_accuracy,
        available=_has_labels,
        embedded=True,
        needs="labels",
    ),
    Group(
        names=("stacked_modes", "stacked_modes_over_real", "stacked_modes_sure", "stacked_kl", "confident"),
        compute=_stacked,
        available=_is_stacked,
        embedded=True,
    ),
    Group(names=("d_auc",), compute=_d_auc, needs="scores"),
)


def groups_of(reference: Reference) -> tuple[Group[Batch], ...]:
    """The groups of scores that can be had against these reals."""
    return tuple(group for group in _ALL if group.available(reference))
