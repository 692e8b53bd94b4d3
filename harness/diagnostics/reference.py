"""What scores of images need to know of the real ones, each thing computed when it is first asked for.

Shapes: M held-out reals (M, C, H, W) as bytes; embeddings (M, d) float64; all on one device.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from harness.data import scaled
from harness.diagnostics.coverage import Neighbours
from harness.diagnostics.extractors import Extractor, Features
from harness.diagnostics.manifold import Bins, fit_bins, found_neighbours, pairwise, radii
from harness.diagnostics.pixels import mean_symmetry, pair_distance_of, pair_ms_ssim, sharpness_of
from harness.diagnostics.pyramid import PatchReference, patch_reference

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
    """

    def __init__(
        self, *, real: Tensor, train: Tensor, labels: Tensor | None, num_classes: int, extractor: Extractor
    ) -> None:
        self.real = real
        self.train = train
        self.labels = labels
        self.num_classes = num_classes
        self.extractor = extractor
        self._within: dict[int, Tensor] = {}
        self._radii: dict[int, Tensor] = {}
        self._null: dict[int, Neighbours] = {}
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
    def features(self) -> Features:
        """Features of all the reals."""
        return self.features_of(self.real)

    def features_of(self, images: Tensor) -> Features:
        """Features of images, bytes or numbers, a thousand at a time."""
        parts = [self.extractor(scaled(part)) for part in torch.split(images, _CHUNK)]
        logits = [part.logits for part in parts if part.logits is not None]
        return Features(
            embedding=torch.cat([part.embedding for part in parts]),
            logits=torch.cat(logits) if logits else None,
        )

    @cached_property
    def bins(self) -> Bins:
        """K-means bins of the reals' embeddings."""
        return fit_bins(self.features.embedding)

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
            other = self.features_of(self.train[:count]).embedding
            self._null[count] = found_neighbours(
                pairwise(other, self.features.embedding[:count]),
                radii(pairwise(other, other)),
                self.radii(count),
            )
        return self._null[count]
