"""What a data set is, how it is split, and how a recipe's choice becomes one.

Shapes: N training and M held-out samples, each of `sample_shape`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.data.mixture import Mixture
from harness.recipe import Choice
from harness.recipe.registry import Value, datasets

__all__ = [
    "MIN_HELD_OUT",
    "TEST_SHARE",
    "Dataset",
    "Outline",
    "from_points",
    "known_outline",
    "load_dataset",
    "outline",
    "outlined",
]

TEST_SHARE = 1192 / 8192
"""Share of the rows held out for scoring: 7000 train and 1192 test of 8192."""

MIN_HELD_OUT = 20
"""Held-out rows below which no score means anything."""

_SPLIT_SEED = 0
_DEVICE_SHARE = 0.5
"""Share of a device's free memory that a training set may take; the networks need the rest."""


@dataclass(frozen=True, kw_only=True)
class Outline:
    """What networks need to know of a data set.

    Attributes:
        sample_shape: shape of one sample.
        num_classes: number of classes, 0 where there are no labels.
    """

    sample_shape: tuple[int, ...]
    num_classes: int = 0


_outlines: dict[str, Callable[[Mapping[str, Value]], Outline | None]] = {}


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """A data set, split and ready.

    Attributes:
        name: the registered name.
        kind: what a sample is, `points` or `images`.
        train: (N, *sample_shape), to train on: points as float32, images (N, C, H, W) as uint8. Networks and
            scores see `harness.data.scaled` of it. A large set is a file mapped into memory.
        test: (M, *sample_shape), the same, held out: seen by scores only.
        train_labels: (N,) int64 classes, or None.
        test_labels: (M,) int64 classes, or None.
        num_classes: number of classes, 0 where there are no labels.
        class_names: one name a class, or none.
        notes: what had to be done to files on the way in, one line each: files left out, conversions.
        mixture: the Gaussian mixture that the samples were drawn from, where it is known.
        fingerprint: 16 hexadecimal digits of a SHA-256 that covers all samples, labels and the split.
    """

    name: str
    kind: Literal["points", "images"]
    train: Tensor
    test: Tensor
    train_labels: Tensor | None = None
    test_labels: Tensor | None = None
    num_classes: int = 0
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    mixture: Mixture | None = None
    fingerprint: str = ""

    def __post_init__(self) -> None:
        assert self.train.shape[1:] == self.test.shape[1:], (self.train.shape, self.test.shape)
        stored = torch.uint8 if self.kind == "images" else torch.float32
        assert self.train.dtype == self.test.dtype == stored, (self.train.dtype, self.test.dtype)
        for samples, labels in ((self.train, self.train_labels), (self.test, self.test_labels)):
            assert (labels is None) == (self.num_classes == 0), (labels is None, self.num_classes)
            assert labels is None or (labels.dtype, len(labels)) == (torch.int64, len(samples)), labels
        assert len(self.class_names) in (0, self.num_classes), self.class_names
        if not self.fingerprint:
            object.__setattr__(self, "fingerprint", _fingerprint(self))

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.train.shape[1:])

    def to(self, device: torch.device | str) -> Dataset:
        """The same data set with its tensors on `device`.

        A training set that would take more than half of a GPU's free memory stays where it is, and
        `harness.data.gather` brings the rows of each batch.
        """
        target = torch.device(device)

        def move(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(target)

        return replace(
            self,
            train=self.train.to(target) if _fits(self.train, target) else self.train,
            test=self.test.to(target),
            train_labels=move(self.train_labels),
            test_labels=move(self.test_labels),
        )


def from_points(
    name: str, points: NDArray[np.float64], *, test_share: float = TEST_SHARE, mixture: Mixture | None = None
) -> Dataset:
    """A data set of points in the plane, shuffled and split by a fixed seed.

    Args:
        name: the registered name.
        points: (N, 2), finite.
        test_share: share of the rows held out, rounded to whole rows.
        mixture: the mixture that the points were drawn from, where it is known.

    Raises:
        ValueError: fewer than `MIN_HELD_OUT` rows would be held out, or fewer left to train on.
    """
    num_test = round(len(points) * test_share)
    num_train = len(points) - num_test
    if min(num_test, num_train) < MIN_HELD_OUT:
        raise ValueError(
            f"`data.test_share` {test_share:g} splits {len(points)} rows into {num_train} to train on and "
            f"{num_test} held out, but both need at least {MIN_HELD_OUT}; change the share or give more rows."
        )
    # RandomState's streams are frozen by numpy's promise (NEP 19), so the split is the same everywhere.
    order = np.random.RandomState(_SPLIT_SEED).permutation(len(points))
    shuffled = torch.from_numpy(points[order].astype(np.float32))
    split = len(points) - num_test
    return Dataset(
        name=name,
        kind="points",
        train=shuffled[:split].clone(),
        test=shuffled[split:].clone(),
        mixture=mixture,
    )


def load_dataset(choice: Choice) -> Dataset:
    """The data set that a recipe chose; made once a process, and anew when the file behind it changes.

    Its notes go to stderr when it is made, so that every command shows them once.

    Args:
        choice: `recipe.data`.

    Raises:
        ValueError: an unknown name, or a file that cannot be used; the message is one line with the fix.
    """
    return _load(choice.name, tuple(sorted(choice.options.items())), _stamp(choice))


def outline(choice: Choice) -> Outline:
    """Sample shape and number of classes of a data set, without its files where its options tell them.

    Networks can be built, checked and counted before the data are there.

    Args:
        choice: `recipe.data`.

    Raises:
        ValueError: an unknown name; or, where only the files can tell, files that cannot be used.
    """
    told = known_outline(choice)
    if told is not None:
        return told
    dataset = load_dataset(choice)
    return Outline(sample_shape=dataset.sample_shape, num_classes=dataset.num_classes)


def known_outline(choice: Choice) -> Outline | None:
    """The outline of a data set where its options tell it, or None where only its files can.

    Args:
        choice: `recipe.data`.

    Raises:
        ValueError: an unknown name.
    """
    datasets[choice.name]
    tell = _outlines.get(choice.name)
    return None if tell is None else tell(choice.options)


def outlined(name: str, tell: Callable[[Mapping[str, Value]], Outline | None]) -> None:
    """Let `outline` know data set `name` by its options.

    Args:
        name: the registered name.
        tell: from the options to the outline, or to None where these options leave it to the files.
    """
    assert name not in _outlines, name
    _outlines[name] = tell


@lru_cache(maxsize=16)
def _load(name: str, options: tuple[tuple[str, Value], ...], stamp: tuple[object, ...]) -> Dataset:
    dataset = datasets[name](**dict(options))
    assert isinstance(dataset, Dataset), f"{name} made a {type(dataset).__name__}"
    if dataset.notes:
        _show_notes(dict(options).get("path") or name, dataset.notes)
    return dataset


def _show_notes(title: Value, notes: tuple[str, ...]) -> None:
    from rich.console import Console

    for note in notes:
        Console(stderr=True).print(f"`{title}`: {note}", markup=False, highlight=False, soft_wrap=True)


def _stamp(choice: Choice) -> tuple[object, ...]:
    """What a data set depends on besides its options: the environment, and time and size of its file.

    Of a folder it is the time at which files last came to it or went.
    """
    environment = (os.environ.get("HARNESS_DATA", ""), os.environ.get("HARNESS_CACHE", ""))
    path = choice.options.get("path") or choice.options.get("root")
    if not isinstance(path, str) or not path:
        return environment
    try:
        status = Path(path).expanduser().stat()
    except (OSError, ValueError, RuntimeError):
        return environment
    return (*environment, status.st_mtime_ns, status.st_size)


def _fits(samples: Tensor, device: torch.device) -> bool:
    if device.type != "cuda" or samples.device == device:
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return samples.nbytes <= _DEVICE_SHARE * free


def _fingerprint(dataset: Dataset) -> str:
    digest = hashlib.sha256()
    for tensor in (dataset.train, dataset.test, dataset.train_labels, dataset.test_labels):
        if tensor is not None:
            digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
            digest.update(tensor.cpu().contiguous().numpy().data)
    return digest.hexdigest()[:16]
