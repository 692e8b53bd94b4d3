"""Scores of what a classifier sees: which classes there are, how evenly, and how surely.

An image counts for a class only if the classifier is sure of it, with a probability of 0.9: a histogram of
classes without this gate looks even for noise. Shapes: N fakes, M reals, C classes; logits (N, C) float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.distances.bins import EXPECTED_SHARE, surplus
from harness.metrics.groups import TooFewError

__all__ = [
    "CONFIDENCE",
    "ClassCounts",
    "class_counts",
    "class_kl",
    "class_ratios",
    "class_surplus",
    "class_tv",
    "classifier_score",
    "clear_ratios",
    "expected_modes",
    "label_accuracy",
    "num_present",
    "stacked_counts",
    "uniform_kl",
]

CONFIDENCE = 0.9
"""Probability from which a classifier counts as sure."""

MIN_PER_CLASS = 10
"""Sure images a class below which its share means nothing."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassCounts:
    """How many images a classifier puts in each class, and is sure of.

    Attributes:
        counts: (C,) images that it is sure of.
        total: all images, sure or not.
    """

    counts: Tensor
    total: int

    @property
    def confident(self) -> float:
        """Share of images that it is sure of."""
        return float(self.counts.sum()) / self.total

    @property
    def shares(self) -> Tensor:
        """(C,) shares of the classes among those images; all 0 where there are none."""
        return self.counts.double() / max(1, int(self.counts.sum()))


def class_counts(logits: Tensor) -> ClassCounts:
    """Histogram of the likeliest class over the images that the classifier is sure of.

    Args:
        logits: (N, C).
    """
    confidence, label = logits.softmax(dim=1).max(dim=1)
    counts = torch.bincount(label[confidence >= CONFIDENCE], minlength=logits.shape[1])
    return ClassCounts(counts=counts, total=len(logits))


def class_ratios(fake: ClassCounts, real: ClassCounts) -> Tensor:
    """(C,) for each class, how many fakes are surely of it, over how many of as many reals are.

    A class that no real is surely of has the ratio 1.

    Args:
        fake: of the generated images.
        real: of the real ones.
    """
    expected = real.counts.double() / real.total * fake.total
    return torch.where(expected > 0, fake.counts.double() / expected.clamp_min(1e-300), 1.0)


def clear_ratios(fake: ClassCounts, real: ClassCounts) -> Tensor:
    """(≤C,) for each class, its share of the sure fakes over its share of the sure reals.

    Unlike `class_ratios` they do not fall with the share of fakes that are sure of any class. Classes of
    which fewer than ten reals are sure are left out, since their share is not known. Where fewer than ten
    fakes are to be expected, the ratio is taken to ten, so that chance does not make it large.

    Args:
        fake: of the generated images.
        real: of the real ones.

    Raises:
        TooFewError: fewer than ten sure fakes a class, or no class of which ten reals are sure.
    """
    known = _known_classes(fake, real)
    expected = real.shares[known] * int(fake.counts.sum())
    return fake.counts[known].double() / expected.clamp_min(MIN_PER_CLASS)


def class_surplus(fake: ClassCounts, real: ClassCounts) -> float:
    """What the most favoured class has too much, as a share of the most that it could: (p − q)/(1 − q).

    0 for right shares and 1 where all sure images are of one class, however many classes there are; 0.44
    where one of ten has half of them. Classes of which fewer than ten reals are sure are left out.

    Args:
        fake: of the generated images, with shares p.
        real: of the real ones, with shares q.

    Raises:
        TooFewError: as `clear_ratios` does.
    """
    known = _known_classes(fake, real)
    return surplus(fake.shares[known].numpy(), real.shares[known].numpy())


def _known_classes(fake: ClassCounts, real: ClassCounts) -> Tensor:
    """(C,) which classes have a known share; a `TooFewError` where fakes are too few to have shares."""
    known = real.counts >= MIN_PER_CLASS
    count, needed = int(fake.counts.sum()), MIN_PER_CLASS * int(known.sum())
    if not needed:
        raise TooFewError(f"of no class are {MIN_PER_CLASS} real images clear, so none has a known share.")
    if count < needed:
        raise TooFewError(
            f"only {count} generated images are of a clear class, but the shares of {int(known.sum())} "
            f"classes need {needed}."
        )
    return known


def num_present(ratios: Tensor) -> int:
    """Classes with at least a fifth of the images that they should have, by their (C,) `class_ratios`."""
    return int((ratios >= EXPECTED_SHARE).sum())


def class_kl(fake: ClassCounts, real: ClassCounts) -> float:
    """Reverse KL divergence of the shares of classes, Σ p ln(p/q), in nats.

    Dropping half of evenly spread classes gives ln 2. Without any sure fake it is the most that it can be,
    −ln min q. The reals' counts get half an image more in each class, so that no q is 0.

    Args:
        fake: of the generated images, with shares p.
        real: of the real ones, with shares q.
    """
    expected = real.counts.double() + 0.5
    expected = expected / expected.sum()
    if not int(fake.counts.sum()):
        return -math.log(float(expected.min()))
    return float(torch.xlogy(fake.shares, fake.shares / expected).sum())


def class_tv(fake: ClassCounts, real: ClassCounts) -> float:
    """Total variation distance of the shares of classes, ½ Σ |p − q|; 1 without any sure fake.

    Args:
        fake: of the generated images, with shares p.
        real: of the real ones, with shares q.
    """
    if not int(fake.counts.sum()):
        return 1.0
    return float((fake.shares - real.shares).abs().sum() / 2)


def classifier_score(logits: Tensor) -> float:
    """exp of the mean KL divergence of p(class | image) from p(class): from 1 to the number of classes.

    It is high where the classifier is sure of each image and sees all classes. With Inception it is the
    Inception Score, of one split.

    Args:
        logits: (N, C).

    Source: Salimans et al. 2016, section 4.
    """
    log_p = logits.log_softmax(dim=1)
    p = log_p.exp()
    mean = p.mean(dim=0)
    return math.exp(float((torch.xlogy(p, p) - torch.xlogy(p, mean)).sum(dim=1).mean()))


def label_accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of images that the classifier puts in the class that they were asked to be of.

    Args:
        logits: (N, C).
        labels: (N,) the classes asked for.

    Raises:
        ValueError: another number of labels than of images.
    """
    if labels.shape != (len(logits),):
        raise ValueError(f"there are {len(logits)} images, but labels of shape {tuple(labels.shape)}.")
    return float((logits.argmax(dim=1) == labels.to(logits.device)).double().mean())


def stacked_counts(logits: Tensor, *, gate: bool) -> Tensor:
    """(1000,) images of each number, read off three stacked digits.

    Args:
        logits: (N, 3, 10) of the digits.
        gate: count only images of which all three digits are sure.
    """
    confidence, digit = logits.softmax(dim=2).max(dim=2)
    number = digit @ torch.tensor([100, 10, 1], device=digit.device)
    if gate:
        number = number[(confidence >= CONFIDENCE).all(dim=1)]
    return torch.bincount(number, minlength=1000)


def expected_modes(count: int, modes: int = 1000) -> float:
    """How many of `modes` a perfect sampler hits with `count` images, modes × (1 − (1 − 1/modes)^count)."""
    return modes * -math.expm1(count * math.log1p(-1 / modes))


def uniform_kl(counts: Tensor) -> float:
    """Reverse KL divergence of (C,) counts from even shares, in nats; ln C where all counts are 0."""
    shares = counts.double() / max(1, int(counts.sum()))
    if not int(counts.sum()):
        return math.log(len(counts))
    return float(torch.xlogy(shares, shares * len(counts)).sum())
