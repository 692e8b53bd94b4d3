"""What scores of images need to know of the real ones, each thing computed when it is first asked for.

Shapes: M held-out reals (M, C, H, W) as bytes; embeddings (M, d) float64; all on one device.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import torch
from torch import Tensor

from harness.data import scaled
from harness.features.cache import cached_features
from harness.features.extractors import Extractor, Features
from harness.metrics.images.classes import ClassCounts, class_counts, classifier_score, label_accuracy
from harness.metrics.images.frechet import Moments, covariance_root, mean_kernel, moments, vendi
from harness.metrics.images.pixels import mean_symmetry, pair_distance_of, pair_ms_ssim, sharpness_of
from harness.metrics.images.pyramid import PatchReference, patch_reference
from harness.metrics.neighbours import Bins, Neighbours, fit_bins, neighbours, pairwise, radii

__all__ = ["MAX_NEIGHBOURS", "Reference"]

MAX_NEIGHBOURS = 2500
"""Images compared each with each, at most: time and memory grow with the square."""

_NUM_PIXEL_REALS = 2500
_CHUNK = 1000


class Reference:
    """Real images, and what follows from them alone.

    Args:
        real: (M, C, H, W) uint8, held out, in random order.
        train: (T, C, H, W) uint8, reals of the training set in random order, to compare reals with reals.
        labels: (M,) classes of `real`, or None.
        num_classes: number of classes.
        extractor: what embeds images.
        fingerprint: what the features of `real` depend on, to keep those of a costly extractor by.
    """

    def __init__(
        self,
        *,
        real: Tensor,
        train: Tensor,
        labels: Tensor | None,
        num_classes: int,
        extractor: Extractor,
        fingerprint: Mapping[str, str],
    ) -> None:
        self.real = real
        self.train = train
        self.labels = labels
        self.num_classes = num_classes
        self.extractor = extractor
        self._fingerprint = fingerprint
        self._within: dict[int, Tensor] = {}
        self._radii: dict[int, Tensor] = {}
        self._null: dict[int, Neighbours] = {}
        self._train_embeddings: dict[int, Tensor] = {}
        self._vendi: dict[int, float] = {}
        self._patches: dict[int, PatchReference] = {}

    @cached_property
    def pixels(self) -> Tensor:
        """(≤2500, C, H, W) float32 reals, for the scores of pixels."""
        return scaled(self.real[:_NUM_PIXEL_REALS])

    @cached_property
    def sharpness(self) -> float:
        """`sharpness_of` the reals."""
        return sharpness_of(self.pixels)

    @cached_property
    def symmetry(self) -> float:
        """`mean_symmetry` of the reals."""
        return mean_symmetry(self.pixels)

    @cached_property
    def pair_distance(self) -> float:
        """`pair_distance_of` the reals."""
        return pair_distance_of(self.pixels)

    @cached_property
    def ms_ssim(self) -> float:
        """`pair_ms_ssim` of the reals."""
        return pair_ms_ssim(self.pixels)

    def patches(self, num_images: int) -> PatchReference:
        """`patch_reference` of the first so many reals."""
        if num_images not in self._patches:
            self._patches[num_images] = patch_reference(self.pixels[:num_images])
        return self._patches[num_images]

    @cached_property
    def halves(self) -> tuple[Reference, Reference]:
        """Every second of the reals, from the first on and from the second on."""
        return self._every_second(0), self._every_second(1)

    def _every_second(self, start: int) -> Reference:
        half = Reference(
            real=self.real[start::2],
            train=self.train,
            labels=None if self.labels is None else self.labels[start::2],
            num_classes=self.num_classes,
            extractor=self.extractor,
            fingerprint=self._fingerprint,
        )
        half.__dict__["features"] = self.features[start::2]  # what the cached property would compute
        half._train_embeddings = self._train_embeddings
        return half

    @cached_property
    def features(self) -> Features:
        """Features of all the reals."""
        return self._kept("held out", self.real)

    def _kept(self, part: str, images: Tensor) -> Features:
        if not self.extractor.costly:
            return self.features_of(images)
        found = cached_features({**self._fingerprint, "part": part}, lambda: self.features_of(images))
        return found.to(images.device)

    def features_of(self, images: Tensor) -> Features:
        """Features of images, bytes or numbers, a thousand at a time."""
        parts = [self.extractor(scaled(part)) for part in torch.split(images, _CHUNK)]
        return Features.joined(parts)

    @cached_property
    def bins(self) -> Bins:
        """K-means bins of the reals' embeddings."""
        return fit_bins(self.features.embedding)

    @cached_property
    def moments(self) -> Moments:
        """Mean and covariance of the reals' embeddings."""
        return moments(self.features.embedding, "held-out")

    @cached_property
    def frechet_root(self) -> Tensor:
        """Square root of the reals' covariance."""
        return covariance_root(self.moments)

    @cached_property
    def kernel(self) -> float:
        """`mean_kernel` of the first 2500 reals."""
        return mean_kernel(self.features.embedding[:MAX_NEIGHBOURS])

    @cached_property
    def classes(self) -> ClassCounts:
        """How many reals the classifier is sure to be of each class."""
        return class_counts(self._logits)

    @cached_property
    def classifier_score(self) -> float:
        """`classifier_score` of the reals."""
        return classifier_score(self._logits)

    @cached_property
    def label_accuracy(self) -> float:
        """Share of reals that the classifier puts in the class of their label."""
        return 0.0 if self.labels is None else label_accuracy(self._logits, self.labels)

    @property
    def _logits(self) -> Tensor:
        assert self.features.logits is not None
        return self.features.logits

    def vendi(self, count: int) -> float:
        """`vendi` of the first so many reals, seen from the mean of all."""
        if count not in self._vendi:
            embedding = self.features.embedding
            self._vendi[count] = vendi(embedding[:count], embedding.mean(dim=0))
        return self._vendi[count]

    def within(self, count: int) -> Tensor:
        """(count, count) distances among the first so many reals."""
        if count not in self._within:
            self._within.clear()  # it is large, and a run asks for one size
            embedding = self.features.embedding[:count]
            self._within[count] = pairwise(embedding, embedding)
        return self._within[count]

    def radii(self, count: int) -> Tensor:
        """(count,) radii of the first so many reals among themselves."""
        if count not in self._radii:
            self._radii[count] = radii(self.within(count))
        return self._radii[count]

    def null(self, count: int) -> Neighbours:
        """The neighbours' scores of so many reals of the training set: what a perfect generator would get."""
        if count not in self._null:
            other = self._train_embedding(count)
            self._null[count] = neighbours(
                pairwise(other, self.features.embedding[:count]),
                radii(pairwise(other, other)),
                self.radii(count),
            )
        return self._null[count]

    def _train_embedding(self, count: int) -> Tensor:
        if count not in self._train_embeddings:
            found = self._kept(f"first {count} of train", self.train[:count])
            self._train_embeddings[count] = found.embedding
        return self._train_embeddings[count]
