"""All scores of generated images at once, with everything about the reals computed only once.

Shapes: fake (N, C, H, W) in [-1, 1], real the same; embeddings (N, d) float64; all on the fakes' device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from harness.data import Dataset, gather
from harness.diagnostics.checks import Array, as_images, as_scores, to_array
from harness.diagnostics.coverage import compare_counts
from harness.diagnostics.extractors import Extractor, Features, random_conv
from harness.diagnostics.fidelity import d_auc
from harness.diagnostics.manifold import found_neighbours, ndb, nearest_bins, pairwise, radii
from harness.diagnostics.pixels import (
    mean_symmetry,
    ms_ssim_scales,
    pair_distance_of,
    pair_ms_ssim,
    sharpness_of,
)
from harness.diagnostics.pyramid import NUM_IMAGES, swd
from harness.diagnostics.reference import MAX_NEIGHBOURS, Reference
from harness.diagnostics.scores import Scores

__all__ = ["HeldOut", "ImageScorer"]

HeldOut = Literal["all", "select", "report"]

MIN_SAMPLES = 20
"""Images below which the scores mean nothing."""

MAX_REALS = 10_000
_ORDER_SEED = 0
_MIN_SYMMETRY = 0.05
"""Mean correlation of the reals with their mirror images below which there is nothing to relate to."""


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
        self._extractor = extractor or _default_extractor(dataset)
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
        batch = _Batch(images=images, reference=self._reference(images.device), judged=judged)
        values: dict[str, float] = {}
        failures: dict[str, str] = {}
        for group in _groups(batch.reference):
            if (group.exact and not exact) or (group is _D_AUC and judged is None):
                continue
            try:
                values |= group.compute(batch)
            except (ValueError, RuntimeError, ArithmeticError) as error:
                if isinstance(error, torch.cuda.OutOfMemoryError):
                    raise
                failures |= dict.fromkeys(group.names, " ".join(str(error).split()))
        for name in [name for name, value in values.items() if not np.isfinite(value)]:
            failures[name] = f"it came out as {values.pop(name)}."
        return Scores(values, failures)

    def _groups(self) -> tuple[_Group, ...]:
        return _groups(self._reference(self._dataset.test.device))

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
            )
        return self._references[device]


def _order(count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The rows of a set in random order: files list them by writer, by class, or by name."""
    # RandomState's streams are frozen by numpy's promise (NEP 19), so the order is the same everywhere.
    return np.random.RandomState(_ORDER_SEED).permutation(count).astype(np.int64)


def _default_extractor(dataset: Dataset) -> Extractor:
    return random_conv()


@dataclass(frozen=True, kw_only=True, eq=False)
class _Batch:
    """Generated images, with what several scores need of them."""

    images: Tensor
    reference: Reference
    judged: tuple[Array, Array] | None

    @cached_property
    def features(self) -> Features:
        return self.reference.features_of(self.images)

    @property
    def num_compared(self) -> int:
        """How many fakes are compared each with each, with as many reals."""
        return min(len(self.images), len(self.reference.real), MAX_NEIGHBOURS)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Group:
    """Scores that are computed together, and fail together."""

    names: tuple[str, ...]
    compute: Callable[[_Batch], dict[str, float]]
    available: Callable[[Reference], bool] = lambda reference: True
    exact: bool = False
    embedded: bool = False


def _sharpness(batch: _Batch) -> dict[str, float]:
    return {"sharpness": sharpness_of(batch.images) / _above_zero(batch.reference.sharpness, "contrast")}


def _symmetry(batch: _Batch) -> dict[str, float]:
    return {"symmetry": mean_symmetry(batch.images) / batch.reference.symmetry}


def _pair_distance(batch: _Batch) -> dict[str, float]:
    spread = _above_zero(batch.reference.pair_distance, "spread")
    return {"pair_distance": pair_distance_of(batch.images) / spread}


def _swd(batch: _Batch) -> dict[str, float]:
    count = min(len(batch.images), len(batch.reference.pixels), NUM_IMAGES)
    return {"swd": swd(batch.images[:count], batch.reference.patches(count))}


def _ms_ssim(batch: _Batch) -> dict[str, float]:
    value = pair_ms_ssim(batch.images)
    return {"ms_ssim": value, "ms_ssim_excess": value - batch.reference.ms_ssim}


def _neighbours(batch: _Batch) -> dict[str, float]:
    count, reference = batch.num_compared, batch.reference
    fake, real = batch.features.embedding[:count], reference.features.embedding[:count]
    found = found_neighbours(pairwise(fake, real), radii(pairwise(fake, fake)), reference.radii(count))
    null = reference.null(min(count, len(reference.train)))
    scores = {}
    for name in ("precision", "recall", "density", "coverage"):
        value, ideal = float(getattr(found, name)), float(getattr(null, name))
        scores[name] = value
        scores[f"{name}_over_real"] = value / ideal if ideal else math.nan
    return scores


def _bins(batch: _Batch) -> dict[str, float]:
    bins = batch.reference.bins
    nearest = nearest_bins(batch.features.embedding, bins.centres)
    counts = torch.bincount(nearest, minlength=len(bins.centres))
    recalled = compare_counts(counts.cpu().numpy(), bins.counts.cpu().numpy())
    return {"bin_recall": recalled, "ndb": ndb(counts, bins.counts)}


def _d_auc(batch: _Batch) -> dict[str, float]:
    assert batch.judged is not None
    return {"d_auc": d_auc(*batch.judged)}


def _above_zero(value: float, what: str) -> float:
    if value <= 0:
        raise ValueError(f"the held-out images have no {what}, so nothing can be related to theirs.")
    return value


def _has_symmetry(reference: Reference) -> bool:
    return abs(reference.symmetry) >= _MIN_SYMMETRY


def _is_large(reference: Reference) -> bool:
    return ms_ssim_scales(min(reference.real.shape[2:])) > 0


_D_AUC = _Group(names=("d_auc",), compute=_d_auc)
_ALL = (
    _Group(names=("sharpness",), compute=_sharpness),
    _Group(names=("symmetry",), compute=_symmetry, available=_has_symmetry),
    _Group(names=("pair_distance",), compute=_pair_distance),
    _Group(names=("swd",), compute=_swd),
    _Group(names=("ms_ssim", "ms_ssim_excess"), compute=_ms_ssim, available=_is_large),
    _Group(
        names=tuple(
            f"{name}{ending}"
            for ending in ("", "_over_real")
            for name in ("precision", "recall", "density", "coverage")
        ),
        compute=_neighbours,
        embedded=True,
    ),
    _Group(names=("bin_recall", "ndb"), compute=_bins, embedded=True),
    _D_AUC,
)


def _groups(reference: Reference) -> tuple[_Group, ...]:
    return tuple(group for group in _ALL if group.available(reference))
