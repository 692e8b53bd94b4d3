"""Generated images beside a data set's held-out ones, with everything about the reals computed only once.

Shapes: fake (N, C, H, W) in [-1, 1], real the same; embeddings (N, d) float64; all on the fakes' device.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from harness.data import Dataset, gather
from harness.features.extractors import Extractor, Features
from harness.features.find import find_extractor
from harness.metrics.checks import Array, as_images
from harness.metrics.groups import MIN_SAMPLES, Group
from harness.metrics.images.groups import Batch, groups_of
from harness.metrics.images.reference import MAX_NEIGHBOURS, Reference

__all__ = ["HeldOut", "ImageScorer"]

HeldOut = Literal["all", "select", "report"]

MAX_REALS = 10_000
_ORDER_SEED = 0


class ImageScorer:
    """Puts generated images beside a data set's held-out ones. See `Evaluator`, and `Scorer`."""

    def __init__(
        self, dataset: Dataset, *, held_out: HeldOut = "all", extractor: Extractor | None = None
    ) -> None:
        real = dataset.test
        if len(real.shape) != 4:
            raise ValueError(
                f"the scores of images need samples of (channels, height, width), but a sample of "
                f"`{dataset.name}` has shape {dataset.sample_shape}."
            )
        order = _order(len(real))
        chosen = {"all": order, "select": order[::2], "report": order[1::2]}[held_out][:MAX_REALS]
        if len(chosen) < MIN_SAMPLES:
            raise ValueError(
                f"the scores need at least {MIN_SAMPLES} held-out images, but `{dataset.name}` has "
                f"{len(chosen)} ({held_out}); hold out more."
            )
        self._shape = dataset.sample_shape
        self._dataset, self._rows = dataset, torch.from_numpy(chosen)
        self._extractor = extractor or find_extractor("auto", dataset)
        self.fingerprint: Mapping[str, str] = {
            "extractor": self._extractor.name,
            "data": dataset.fingerprint,
            "held_out": f"{held_out}, {len(chosen)} of {len(real)}",
            "resolution": "x".join(str(size) for size in dataset.sample_shape),
            "preprocessing": self._extractor.preprocessing,
        }
        self._references: dict[torch.device, Reference] = {}
        self._latest: tuple[weakref.ref[Tensor], int, Features] | None = None

    @property
    def held_out_rows(self) -> Tensor:
        """(M,) rows of the held-out images that are scored against, in random order."""
        return self._rows

    def groups(self) -> tuple[Group[Batch], ...]:
        """The groups of scores that these images get."""
        return groups_of(self._reference(self._dataset.test.device))

    def train_samples(self, count: int) -> Tensor:
        """(≤count, C, H, W) training images as bytes, in random order."""
        return self._reference(self._dataset.test.device).train[:count]

    def batch(
        self,
        fake: Tensor | ArrayLike,
        *,
        judged: tuple[Array, Array] | None,
        labels: Tensor | ArrayLike | None,
        half: int | None = None,
    ) -> Batch:
        """See `Scorer.batch`."""
        images = as_images(fake, self._shape, "generated", MIN_SAMPLES)
        if images.device.type == "mps":
            images = images.cpu()  # it has no float64
        reference = self._reference(images.device)
        return Batch(
            images=images,
            embed=lambda: self._features(fake, images),
            reference=reference if half is None else reference.halves[half],
            judged=judged,
            labels=None if labels is None else torch.as_tensor(labels).to(images.device),
        )

    def _features(self, fake: object, images: Tensor) -> Features:
        """Features of the fakes; those of the latest ones are kept for as long as their tensor is there."""
        if self._latest is not None:
            tensor, version, features = self._latest
            if tensor() is fake and isinstance(fake, Tensor) and fake._version == version:
                return features
        features = self._reference(images.device).features_of(images)
        if isinstance(fake, Tensor) and not fake.is_inference():
            self._latest = weakref.ref(fake), fake._version, features
        return features

    def _reference(self, device: torch.device) -> Reference:
        if device not in self._references:
            dataset, train_rows = self._dataset, torch.from_numpy(_order(len(self._dataset.train)))
            labels = None if dataset.test_labels is None else dataset.test_labels.cpu()[self._rows]
            self._references[device] = Reference(
                real=gather(dataset.test, self._rows.to(dataset.test.device)).to(device),
                train=gather(dataset.train, train_rows[:MAX_NEIGHBOURS].to(dataset.train.device)).to(device),
                labels=None if labels is None else labels.to(device),
                num_classes=dataset.num_classes,
                extractor=self._extractor,
                fingerprint=self.fingerprint,
            )
        return self._references[device]


def _order(count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The rows of a set in random order: files list them by writer, by class, or by name."""
    # RandomState's streams are frozen by numpy's promise (NEP 19), so the order is the same everywhere.
    return np.random.RandomState(_ORDER_SEED).permutation(count).astype(np.int64)
