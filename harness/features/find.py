"""Which extractor embeds a data set's images, by name."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.data import Dataset, scaled
from harness.features.extractors import (
    CLASSIFIERS,
    Classifier,
    Extractor,
    Features,
    check_channels,
    load_classifier,
    random_conv,
)
from harness.recipe.registry import nearest

__all__ = ["EXTRACTORS", "StackedClassifier", "find_extractor"]

EXTRACTORS = ("auto", *CLASSIFIERS.values(), "random-conv", "inception")
"""Names that `find_extractor` knows."""

_WEIGHTS_VARIABLE = "HARNESS_INCEPTION"
_AGREE_ROWS = 500


@dataclass(frozen=True, kw_only=True, eq=False)
class StackedClassifier:
    """A classifier of digits, looking at each colour of an image in which three digits are stacked.

    Attributes:
        classifier: of digits.
    """

    classifier: Classifier
    num_classes: int = 0
    stacked: bool = True
    costly: bool = False

    @property
    def name(self) -> str:
        """`stacked-lenet-mnist@…`."""
        return f"stacked-{self.classifier.name}"

    @property
    def preprocessing(self) -> str:
        """What is done to an image first."""
        return f"each of 3 channels: {self.classifier.preprocessing}"

    def __call__(self, images: Tensor) -> Features:
        """Features of (N, 3, H, W) images.

        Raises:
            ValueError: images that are not of three channels.
        """
        check_channels(images, (3,), self.name)
        found = self.classifier(images.flatten(0, 1)[:, None])
        assert found.logits is not None
        return Features(
            embedding=found.embedding.reshape(len(images), -1),
            stacked=found.logits.reshape(len(images), 3, -1),
        )


def find_extractor(name: str, dataset: Dataset) -> Extractor:
    """An extractor by name.

    `auto` is the classifier shipped for the data set, or else the random convolutions; it never is Inception,
    whose weights not everybody has. `inception` is the file that HARNESS_INCEPTION names, and
    `inception:PATH` any other.

    Args:
        name: one of `EXTRACTORS`, or `inception:PATH`.
        dataset: images.

    Raises:
        ValueError: an unknown name, or an Inception file that is missing or is none.
    """
    if name == "auto":
        if dataset.name == "stacked-mnist":
            return _stacked(dataset)
        return load_classifier(dataset.name) if dataset.name in CLASSIFIERS else random_conv()
    if name == "random-conv":
        return random_conv()
    data = {title: data for data, title in CLASSIFIERS.items()}
    if name in data:
        return load_classifier(data[name])
    if name == "inception" or name.startswith("inception:"):
        from harness.features.inception import load_inception

        path = name.partition(":")[2] or os.environ.get(_WEIGHTS_VARIABLE, "")
        if not path:
            raise ValueError(
                f"the extractor `inception` needs a file of weights; set {_WEIGHTS_VARIABLE} to it, or give "
                "`inception:PATH`."
            )
        return load_inception(path)
    hint = nearest(name, EXTRACTORS) or "."
    raise ValueError(f"unknown extractor `{name}`{hint} Known: {', '.join(EXTRACTORS)}.")


def _stacked(dataset: Dataset) -> StackedClassifier:
    """The classifier of the digits that were stacked, MNIST's or those shipped here, by who reads them."""
    images, labels = scaled(dataset.test[:_AGREE_ROWS]), dataset.test_labels
    assert labels is not None
    numbers = torch.tensor([100, 10, 1], device=labels.device)

    def agreement(found: StackedClassifier) -> float:
        stacked = found(images).stacked
        assert stacked is not None
        return float(((stacked.argmax(dim=2) * numbers).sum(dim=1) == labels[:_AGREE_ROWS]).double().mean())

    candidates = [StackedClassifier(classifier=load_classifier(data)) for data in ("mnist", "digits")]
    return max(candidates, key=agreement)
