"""What scores of images need to know of the real ones, each thing computed when it is first asked for.

Shapes: M held-out reals (M, C, H, W) as bytes; embeddings (M, d) float64; all on one device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

from harness.data import scaled
from harness.distances.balls import Neighbours, in_balls, neighbours, pairwise, radii
from harness.distances.bins import Bins, fit_bins
from harness.distances.frechet import Moments, covariance_root, mean_kernel, moments, vendi
from harness.features.cache import cached_features
from harness.features.extractors import Extractor, Features
from harness.metrics.copies import MAX_QUERIES, nearness
from harness.metrics.images.classes import ClassCounts, class_counts, classifier_score, label_accuracy
from harness.metrics.images.pyramid import PatchReference, patch_reference

__all__ = ["MAX_NEIGHBOURS", "Reference"]

MAX_NEIGHBOURS = 2500
"""Images compared each with each, at most: time and memory grow with the square."""

T = TypeVar("T")

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
        memory: gives the embeddings of the training set, each image once, to look for copies.
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
        memory: Callable[[], Tensor],
        fingerprint: Mapping[str, str],
    ) -> None:
        self.real = real
        self.train = train
        self.labels = labels
        self.num_classes = num_classes
        self.extractor = extractor
        self.memory = memory
        self._fingerprint = fingerprint
        self._within: dict[int, Tensor] = {}
        self._train_embeddings: dict[int, Tensor] = {}
        self._known: dict[tuple[str, int], Any] = {}

    @cached_property
    def pixels(self) -> Tensor:
        """(≤2500, C, H, W) float32 reals, for the scores of pixels."""
        return scaled(self.real[:_NUM_PIXEL_REALS])

    def of_pixels(self, score: Callable[[Tensor], float]) -> float:
        """A score of images, of `pixels`."""
        return self._once(score.__name__, len(self.pixels), lambda: score(self.pixels))

    def patches(self, num_images: int) -> PatchReference:
        """`patch_reference` of the first `num_images` reals."""
        return self._once("patches", num_images, lambda: patch_reference(self.pixels[:num_images]))

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
            memory=self.memory,
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
    def bins(self) -> Bins[Tensor]:
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
    def all_classes(self) -> ClassCounts:
        """The same of the reals and of up to 2500 training images together, to know each class's share by."""
        train = self._kept(f"first {len(self.train)} of train", self.train).logits
        assert train is not None
        return class_counts(torch.cat([self._logits, train]))

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
        """`vendi` of the first `count` reals, seen from the mean of all."""
        embedding = self.features.embedding
        return self._once("vendi", count, lambda: vendi(embedding[:count], embedding.mean(dim=0)))

    def within(self, count: int) -> Tensor:
        """(count, count) distances among the first `count` reals."""
        if count not in self._within:
            self._within.clear()  # it is large, and a run asks for one size
            embedding = self.features.embedding[:count]
            self._within[count] = pairwise(embedding, embedding)
        return self._within[count]

    def radii(self, count: int) -> Tensor:
        """(count,) radii of the first `count` reals among themselves."""
        return self._once("radii", count, lambda: radii(self.features.embedding[:count], self.within(count)))

    @cached_property
    def nearness(self) -> Tensor:
        """(≤1000,) `nearness` of the first reals to the training set."""
        return nearness(self.features.embedding[:MAX_QUERIES], self.memory())

    def gaps(self, count: int) -> Tensor:
        """(count,) distances of the first `count` reals to the nearest other one."""
        embedding = self.features.embedding[:count]
        return self._once("gaps", count, lambda: radii(embedding, self.within(count), 1))

    def null(self, count: int) -> Neighbours:
        """`neighbours` of the first `count` training reals: what a perfect generator would get."""

        def found() -> Neighbours:
            other, real = self._train_embedding(count), self.features.embedding[:count]
            between = pairwise(other, real)
            inside = in_balls(other, real, self.radii(count), between)
            own = radii(other, pairwise(other, other))
            return neighbours(inside, in_balls(real, other, own, between.T).T)

        return self._once("null", count, found)

    def _once(self, what: str, count: int, compute: Callable[[], T]) -> T:
        if (what, count) not in self._known:
            self._known[what, count] = compute()
        known: T = self._known[what, count]
        return known

    def _train_embedding(self, count: int) -> Tensor:
        if count not in self._train_embeddings:
            found = self._kept(f"first {count} of train", self.train[:count])
            self._train_embeddings[count] = found.embedding
        return self._train_embeddings[count]
