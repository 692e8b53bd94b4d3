"""The groups of image scores: what is computed together, when it is to be had, and when it is due.

Shapes: N fakes (N, C, H, W) in [-1, 1]; embeddings (N, d) float64; all on one device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.distances.balls import NEIGHBOUR_SCORES, in_balls, neighbours, pairwise, radii
from harness.distances.bins import bin_recall, ndb, nearest_bins
from harness.distances.frechet import frechet, frechet_null, kid, moments, vendi
from harness.features.extractors import Features
from harness.metrics.copies import memorised, nearness, repeated
from harness.metrics.groups import Batch, Group, d_auc_group, group
from harness.metrics.images import classes
from harness.metrics.images.pixels import (
    mean_symmetry,
    ms_ssim_scales,
    pair_distance_of,
    pair_ms_ssim,
    sharpness_of,
)
from harness.metrics.images.pyramid import NUM_IMAGES, swd
from harness.metrics.images.reference import MAX_NEIGHBOURS, Reference
from harness.metrics.scores import energy

__all__ = ["IMAGE_GROUPS", "ImageBatch"]

_MIN_SYMMETRY = 0.05
"""Mean correlation of the reals with their mirror images below which there is nothing to relate to."""

_MAX_CLASSES = 100
_MIN_AGREEMENT = 0.7
"""Accuracy on the reals below which a classifier's classes are not those of the labels."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageBatch(Batch):
    """Generated images beside real ones.

    Attributes:
        images: (N, C, H, W) float32 in [-1, 1].
        embed: gives their features.
        reference: the real images.
    """

    images: Tensor
    embed: Callable[[], Features]
    reference: Reference

    @cached_property
    def features(self) -> Features:
        """The fakes' features."""
        return self.embed()

    @cached_property
    def classes(self) -> classes.ClassCounts:
        """How many fakes the classifier is sure to be of each class."""
        return classes.class_counts(self.logits)

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

    @cached_property
    def within(self) -> Tensor:
        """(num_compared, num_compared) distances of fakes from each other."""
        fake = self.features.embedding[: self.num_compared]
        return pairwise(fake, fake)

    @property
    def num_compared(self) -> int:
        """How many fakes are compared each with each, with as many reals."""
        return min(len(self.images), len(self.reference.real), MAX_NEIGHBOURS)

    def arrays(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """New (N, C, H, W) and (M, C, H, W) float32 arrays, of at most 2500 reals."""
        fake, real = (images.cpu().numpy().copy() for images in (self.images, self.reference.pixels))
        return fake, real


def _has_symmetry(reference: Reference) -> bool:
    return abs(reference.of_pixels(mean_symmetry)) >= _MIN_SYMMETRY


def _is_classifier(reference: Reference) -> bool:
    """Classes that a data set may have; Inception's thousand are nobody's."""
    return 0 < reference.extractor.num_classes <= _MAX_CLASSES


def _has_labels(reference: Reference) -> bool:
    return _is_classifier(reference) and reference.num_classes == reference.extractor.num_classes


def _is_quick(reference: Reference) -> bool:
    """Inception would embed a training set for minutes."""
    return not reference.extractor.costly


def _is_large(reference: Reference) -> bool:
    return ms_ssim_scales(min(reference.real.shape[2:])) > 0


def _above_zero(value: float, what: str) -> float:
    if value <= 0:
        raise ValueError(f"the held-out images have no {what}, so nothing can be related to theirs.")
    return value


@group("sharpness")
def _sharpness(batch: ImageBatch) -> dict[str, float]:
    return {
        "sharpness": sharpness_of(batch.images)
        / _above_zero(batch.reference.of_pixels(sharpness_of), "contrast")
    }


@group("symmetry", available=_has_symmetry)
def _symmetry(batch: ImageBatch) -> dict[str, float]:
    return {"symmetry": mean_symmetry(batch.images) / batch.reference.of_pixels(mean_symmetry)}


@group("pair_distance")
def _pair_distance(batch: ImageBatch) -> dict[str, float]:
    spread = _above_zero(batch.reference.of_pixels(pair_distance_of), "spread")
    return {"pair_distance": pair_distance_of(batch.images) / spread}


@group("swd")
def _swd(batch: ImageBatch) -> dict[str, float]:
    count = min(len(batch.images), len(batch.reference.pixels), NUM_IMAGES)
    return {"swd": swd(batch.images[:count], batch.reference.patches(count))}


@group("ms_ssim", "ms_ssim_excess", available=_is_large)
def _ms_ssim(batch: ImageBatch) -> dict[str, float]:
    value = pair_ms_ssim(batch.images)
    return {"ms_ssim": value, "ms_ssim_excess": value - batch.reference.of_pixels(pair_ms_ssim)}


@group("mmd2", *NEIGHBOUR_SCORES, embedded=True)
def _neighbours(batch: ImageBatch) -> dict[str, float]:
    count, reference = batch.num_compared, batch.reference
    fake, real = batch.features.embedding[:count], reference.features.embedding[:count]
    between, within = pairwise(fake, real), batch.within
    inside = in_balls(fake, real, reference.radii(count), between)
    around = in_balls(real, fake, radii(fake, within), between.T).T
    pairs = count * (count - 1)
    apart = [float(distances.sum()) / pairs for distances in (within, reference.within(count))]
    found = neighbours(inside, around).beside(reference.null(min(count, len(reference.train))))
    return {"mmd2": energy(float(between.mean()), *apart), **found}


@group("repeated", embedded=True)
def _repeated(batch: ImageBatch) -> dict[str, float]:
    count = batch.num_compared
    fake = radii(batch.features.embedding[:count], batch.within, 1)
    return {"repeated": repeated(fake, batch.reference.gaps(count))}


@group("memorised", available=_is_quick, embedded=True, beside_train=True)
def _memorised(batch: ImageBatch) -> dict[str, float]:
    reference = batch.reference
    ratios = nearness(batch.features.embedding, reference.memory())
    return {"memorised": memorised(ratios, reference.nearness)}


@group("bin_recall", "ndb", embedded=True)
def _bins(batch: ImageBatch) -> dict[str, float]:
    bins = batch.reference.bins
    nearest = nearest_bins(batch.features.embedding, bins.centres)
    counts = torch.bincount(nearest, minlength=len(bins.centres))
    recalled = bin_recall(counts.cpu().numpy(), bins.counts.cpu().numpy())
    return {"bin_recall": recalled, "ndb": ndb(counts, bins.counts)}


@group("frechet", "frechet_minus_null", "frechet_over_trace", embedded=True)
def _frechet(batch: ImageBatch) -> dict[str, float]:
    reference = batch.reference
    value = frechet(moments(batch.features.embedding), reference.moments, reference.frechet_root)
    return {
        "frechet": value,
        "frechet_minus_null": value - frechet_null(reference.moments, len(batch.images)),
        "frechet_over_trace": value
        / _above_zero(float(reference.moments.covariance.trace()), "spread of features"),
    }


@group("kid", embedded=True)
def _kid(batch: ImageBatch) -> dict[str, float]:
    real = batch.reference.features.embedding[:MAX_NEIGHBOURS]
    return {"kid": kid(batch.features.embedding, real, batch.reference.kernel)}


@group("vendi", "vendi_over_real", embedded=True)
def _vendi(batch: ImageBatch) -> dict[str, float]:
    count, reference = min(len(batch.images), len(batch.reference.real)), batch.reference
    value = vendi(batch.features.embedding[:count], reference.features.embedding.mean(dim=0))
    return {"vendi": value, "vendi_over_real": value / reference.vendi(count)}


@group(
    *("classes", "class_recall", "class_kl", "class_tv", "confident", "confident_over_real"),
    available=_is_classifier,
    embedded=True,
)
def _classes(batch: ImageBatch) -> dict[str, float]:
    fake, real = batch.classes, batch.reference.classes
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


@group("class_recall_clear", "class_surplus", available=_is_classifier, embedded=True)
def _clear_classes(batch: ImageBatch) -> dict[str, float]:
    ratios = classes.clear_ratios(batch.classes, batch.reference.all_classes)
    return {
        "class_recall_clear": classes.num_present(ratios) / len(ratios),
        "class_surplus": classes.class_surplus(batch.classes, batch.reference.all_classes),
    }


@group(
    "classifier_score",
    "classifier_score_over_real",
    available=lambda reference: reference.extractor.num_classes > 0,
    embedded=True,
)
def _classifier_score(batch: ImageBatch) -> dict[str, float]:
    value = classes.classifier_score(batch.logits)
    return {"classifier_score": value, "classifier_score_over_real": value / batch.reference.classifier_score}


@group("label_accuracy", available=_has_labels, embedded=True, needs="labels")
def _label_accuracy(batch: ImageBatch) -> dict[str, float]:
    assert batch.labels is not None
    if batch.reference.label_accuracy < _MIN_AGREEMENT:
        raise ValueError(
            f"the classifier finds the labels of only {batch.reference.label_accuracy:.0%} of the held-out "
            "images, so its classes are not those of the labels."
        )
    return {"label_accuracy": classes.label_accuracy(batch.logits, batch.labels)}


@group(
    *("stacked_modes", "stacked_modes_over_real", "stacked_modes_sure", "stacked_kl", "confident"),
    available=lambda reference: reference.extractor.stacked,
    embedded=True,
)
def _stacked(batch: ImageBatch) -> dict[str, float]:
    every, sure = (classes.stacked_counts(batch.stacked, gate=gate) for gate in (False, True))
    hit = int((every > 0).sum())
    return {
        "stacked_modes": float(hit),
        "stacked_modes_over_real": hit / classes.expected_modes(len(batch.images)),
        "stacked_modes_sure": float((sure > 0).sum()),
        "stacked_kl": classes.uniform_kl(every),
        "confident": float(sure.sum()) / len(batch.images),
    }


IMAGE_GROUPS: tuple[Group[Any], ...] = (
    *(_sharpness, _symmetry, _pair_distance, _swd, _ms_ssim),
    *(_neighbours, _repeated, _memorised, _bins, _frechet, _kid, _vendi),
    *(_classes, _clear_classes, _classifier_score, _label_accuracy, _stacked),
    d_auc_group,
)
