"""Generated images beside a data set's held-out ones, with everything about the reals computed only once.

Shapes: fake (N, C, H, W) in [-1, 1], real the same; embeddings (N, d) float64; all on the fakes' device.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from harness.data import Dataset, distinct_rows, gather, scaled
from harness.features.extractors import Extractor, Features
from harness.features.find import find_extractor
from harness.metrics.checks import as_images
from harness.metrics.groups import MIN_SAMPLES, Latest, Scorer, random_order
from harness.metrics.images.groups import IMAGE_GROUPS, ImageBatch
from harness.metrics.images.reference import MAX_NEIGHBOURS, Reference

__all__ = ["HeldOut", "ImageScorer"]

HeldOut = Literal["all", "select", "report"]

MAX_REALS = 10_000
"""Held-out images that are scored against, at most."""

MAX_MEMORY = 60_000
"""Training images among which copies are looked for, at most; they are chosen at random."""

_CHUNK = 1000


class ImageScorer(Scorer):
    """Puts generated images beside a data set's held-out ones. See `Evaluator`.

    Args:
        dataset: of images.
        held_out: which of the held-out images to score against; see `Evaluator`.
        extractor: what embeds them; by default the one for the data set.

    Raises:
        ValueError: samples that are no images, or fewer than 20 held out.
    """

    def __init__(
        self, dataset: Dataset, *, held_out: HeldOut = "all", extractor: Extractor | None = None
    ) -> None:
        num_real = len(dataset.test)
        if len(dataset.sample_shape) != 3:
            raise ValueError(
                f"the scores of images need samples of (channels, height, width), but a sample of "
                f"`{dataset.name}` has shape {dataset.sample_shape}."
            )
        order = random_order(num_real)
        chosen = {"all": order, "select": order[::2], "report": order[1::2]}[held_out][:MAX_REALS]
        if len(chosen) < MIN_SAMPLES:
            raise ValueError(
                f"the scores need at least {MIN_SAMPLES} held-out images, but `{dataset.name}` has "
                f"{len(chosen)} ({held_out}); hold out more."
            )
        self._extractor = extractor or find_extractor("auto", dataset)
        fingerprint = {
            "extractor": self._extractor.name,
            "data": dataset.fingerprint,
            "held_out": f"{held_out}, {len(chosen)} of {num_real}",
            "resolution": "x".join(str(size) for size in dataset.sample_shape),
            "preprocessing": self._extractor.preprocessing,
        }
        super().__init__(dataset, IMAGE_GROUPS, fingerprint=fingerprint, rows=torch.from_numpy(chosen))
        self._references: dict[torch.device, Reference] = {}
        self._memories: dict[torch.device, Tensor] = {}
        self._latest: Latest[Features] = Latest()

    def train_samples(self, count: int) -> Tensor:
        """(≤count, C, H, W) training images as bytes, in random order."""
        return self.reference(self.dataset.test.device).train[:count]

    def batch(self, fake: Tensor | ArrayLike, half: int | None = None) -> ImageBatch:
        """See `Scorer.batch`."""
        images = as_images(fake, self.dataset.sample_shape, "generated", MIN_SAMPLES)
        if images.device.type == "mps":
            images = images.cpu()  # it has no float64
        reference = self.reference(images.device)
        return ImageBatch(
            images=images,
            embed=lambda: self._latest.of(fake, lambda: reference.features_of(images)),
            reference=reference if half is None else reference.halves[half],
        )

    def reference(self, device: torch.device) -> Reference:
        """The real images on a device, and those of the training set that stand for a perfect generator's."""
        if device not in self._references:
            dataset, rows = self.dataset, self.held_out_rows
            train_rows = torch.from_numpy(random_order(len(dataset.train)))[:MAX_NEIGHBOURS]
            labels = None if dataset.test_labels is None else dataset.test_labels.cpu()[rows]
            self._references[device] = Reference(
                real=gather(dataset.test, rows.to(dataset.test.device)).to(device),
                train=gather(dataset.train, train_rows.to(dataset.train.device)).to(device),
                labels=None if labels is None else labels.to(device),
                num_classes=dataset.num_classes,
                extractor=self._extractor,
                memory=partial(self._memory, device),
                fingerprint=self.fingerprint,
            )
        return self._references[device]

    def _memory(self, device: torch.device) -> Tensor:
        """(≤60,000, d) embeddings of the training set on a device, of equal images only one."""
        if device not in self._memories:
            images = self.dataset.train
            rows = torch.from_numpy(random_order(len(images)))[:MAX_MEMORY]
            rows = rows[distinct_rows(images, rows)]
            parts = torch.split(rows.to(images.device), _CHUNK)
            embed = (self._extractor(scaled(gather(images, part).to(device))).embedding for part in parts)
            self._memories[device] = torch.cat(list(embed))
        return self._memories[device]
