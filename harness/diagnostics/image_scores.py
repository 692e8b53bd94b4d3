"""All scores of generated images at once, with everything about the reals computed only once.

Shapes: fake (N, C, H, W) in [-1, 1], real the same; embeddings (N, d) float64; all on the fakes' device.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from harness.data import Dataset, gather
from harness.diagnostics.checks import as_images, as_scores, to_array
from harness.diagnostics.extractors import Extractor
from harness.diagnostics.image_groups import D_AUC, LABEL_ACCURACY, Batch, Group, groups_of
from harness.diagnostics.reference import MAX_NEIGHBOURS, Reference
from harness.diagnostics.scores import Scores
from harness.diagnostics.selection import find_extractor

__all__ = ["HeldOut", "ImageScorer"]

HeldOut = Literal["all", "select", "report"]

MIN_SAMPLES = 20
"""Images below which the scores mean nothing."""

MAX_REALS = 10_000
_ORDER_SEED = 0


class ImageScorer:
    """Scores generated images against a data set's held-out ones. See `Evaluator`."""

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

    @property
    def names(self) -> tuple[str, ...]:
        """The scores that this data set gets, those of the final evaluation included."""
        return tuple(name for group in self._groups() for name in group.names)

    @property
    def sources(self) -> Mapping[str, str]:
        """Full names of the scores that depend on the extractor."""
        return {
            name: f"{name}/{self._extractor.name}"
            for group in self._groups()
            if group.embedded
            for name in group.names
        }

    @property
    def held_out_rows(self) -> Tensor:
        """(M,) rows of the held-out images that are scored against, in random order."""
        return self._rows

    def null(self, count: int) -> Scores:
        """Scores of real training images. See `Evaluator.null`."""
        return self.evaluate(self._reference(self._dataset.test.device).train[:count], exact=True)

    def evaluate(
        self,
        fake: Tensor | ArrayLike,
        *,
        real_scores: Tensor | ArrayLike | None = None,
        fake_scores: Tensor | ArrayLike | None = None,
        exact: bool = False,
        fake_labels: Tensor | ArrayLike | None = None,
    ) -> Scores:
        """All scores. See `Evaluator.evaluate`."""
        images = as_images(fake, self._shape, "generated", MIN_SAMPLES)
        if images.device.type == "mps":
            images = images.cpu()  # it has no float64
        judged = None
        if real_scores is not None and fake_scores is not None:
            judged = (as_scores(to_array(real_scores), "real"), as_scores(to_array(fake_scores), "generated"))
        labels = None if fake_labels is None else torch.as_tensor(fake_labels).to(images.device)
        batch = Batch(images=images, reference=self._reference(images.device), judged=judged, labels=labels)
        unasked = [group for group, given in ((D_AUC, judged), (LABEL_ACCURACY, labels)) if given is None]
        values: dict[str, float] = {}
        failures: dict[str, str] = {}
        for group in groups_of(batch.reference):
            if (group.exact and not exact) or group in unasked:
                continue
            try:
                values |= group.compute(batch)
            except (ValueError, RuntimeError, ArithmeticError) as error:
                if isinstance(error, torch.cuda.OutOfMemoryError):
                    raise
                failures |= dict.fromkeys(group.names, " ".join(str(error).split()))
        for name in [name for name, value in values.items() if not np.isfinite(value)]:
            failures[name] = f"it came out as {values.pop(name)}."
        return Scores(values, failures, batch.details)

    def _groups(self) -> tuple[Group, ...]:
        return groups_of(self._reference(self._dataset.test.device))

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
