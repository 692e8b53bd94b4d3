"""What is odd about a training set, said before anything is trained on it: nothing to tell apart, or little.

Shapes: N training samples (N, *sample_shape), images as stored, points (N, 2).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from harness.data.samples import distinct_rows, scaled
from harness.words import listed

__all__ = ["oddities"]

_MAX_ROWS = 60_000
_MAX_BYTES = 2**27
_MANY = 0.1
"""Share of samples from which copies, or images of one colour, are told."""

_FLAT = 0.02
"""Range of an image's values, and spread of a pixel's, in [-1, 1], up to which there is next to nothing."""

_ROUNDED = 1e-4
"""Spread of points over their distance from the origin below which float32 leaves few digits of them."""

_CHUNK = 1000


def oddities(
    train: Tensor, labels: Tensor | None = None, num_classes: int = 0, class_names: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """What a reader should know before a generator is held against such data, one line each.

    Samples that are all the same, hardly differ or come more than once; images of one colour; points on a
    line; classes without a sample. At most 60,000 samples or 128 MB are looked at, evenly spaced; of
    28×28 images, that many take a third of a second.

    Args:
        train: (N, *sample_shape), points or images by their shape.
        labels: (N,) their classes, or None.
        num_classes: number of classes.
        class_names: one name a class, or none.
    """
    most = max(1, min(_MAX_ROWS, _MAX_BYTES // train[0].nbytes))
    rows = torch.linspace(0, len(train) - 1, min(len(train), most), dtype=torch.float64).long()
    what = "training images" if train.ndim == 4 else "training points"
    found = [_copies(train, rows, what)]
    if not found[0].startswith("all"):
        found.append(_flatness(train, rows) if train.ndim == 4 else _line(train, rows))
    if labels is not None:
        names = class_names or tuple(map(str, range(num_classes)))
        found.append(_classes(labels, names))
    return tuple(filter(None, found))


def _copies(train: Tensor, rows: Tensor, what: str) -> str:
    looked = f"{len(rows):,}" + (f" of {len(train):,}" if len(rows) < len(train) else "")
    different = len(distinct_rows(train, rows))
    if different == 1 < len(rows):
        return f"all {looked} {what} are the same, so a generator that makes nothing else is right"
    if len(rows) - different < _MANY * len(rows):
        return ""
    return (
        f"only {different:,} of {looked} {what} are different, the others are exact copies; a generator that "
        "copies them is then like the data"
    )


def _flatness(train: Tensor, rows: Tensor) -> str:
    """Images that hardly differ from each other, or in which there is nothing to see."""
    flat = 0
    first = scaled(train[rows[:1].to(train.device)]).double()
    total, squares = torch.zeros_like(first[0]), torch.zeros_like(first[0])
    for part in torch.split(rows, _CHUNK):
        images = scaled(train[part.to(train.device)])
        pixels = images.flatten(2)
        flat += int(((pixels.amax(dim=2) - pixels.amin(dim=2)) <= _FLAT).all(dim=1).sum())
        apart = images.double() - first
        total += apart.sum(dim=0)
        squares += apart.square().sum(dim=0)
    spread = float((squares / len(rows) - (total / len(rows)).square()).clamp_min(0).max().sqrt())
    if spread <= _FLAT:
        return (
            f"the training images hardly differ: no pixel's standard deviation is above {spread / 2:.2%} of "
            "the range; look whether they were read right"
        )
    if flat >= _MANY * len(rows):
        return (
            f"{flat:,} of {len(rows):,} training images are of one colour all over, or nearly; look whether "
            "they were read right"
        )
    return ""


def _line(train: Tensor, rows: Tensor) -> str:
    """Points that do not spread in the plane."""
    points = train[rows.to(train.device)].double().cpu()
    spread, far = points.std(dim=0, correction=0), float(points.abs().max())
    if float(spread.max()) <= _ROUNDED * far:
        return (
            f"the training points spread over {float(spread.max()):.2g} at a distance of {far:.2g} from the "
            "origin, and float32 leaves few digits of that; subtract their mean"
        )
    smallest = float(torch.linalg.eigvalsh(torch.cov(points.T))[0].clamp_min(0).sqrt())
    if smallest <= _ROUNDED * math.sqrt(float(spread.square().sum())):
        return "the training points lie on a line, so the scores of the plane say little of them"
    return ""


def _classes(labels: Tensor, names: tuple[str, ...]) -> str:
    counts = torch.bincount(labels.cpu(), minlength=len(names))
    there = counts.nonzero().flatten().tolist()
    if len(there) == 1:
        return f"all training labels are {names[there[0]]}, one class of {len(names)}"
    lacking = [name for name, count in zip(names, counts.tolist(), strict=True) if not count]
    return f"no training sample is of class {listed(lacking)}" if lacking else ""
