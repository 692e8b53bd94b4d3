"""What a data set is, how it is split, and how a recipe's choice becomes one.

Shapes: N training and M held-out samples, each of `sample_shape`.
"""

from __future__ import annotations

import hashlib
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
from harness.registry import datasets

__all__ = ["MIN_HELD_OUT", "TEST_SHARE", "Dataset", "from_points", "load_dataset"]

TEST_SHARE = 1192 / 8192
"""Share of the rows held out for scoring: 7000 train and 1192 test of 8192."""

MIN_HELD_OUT = 20
"""Held-out rows below which no score means anything."""

_SPLIT_SEED = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """A data set, split and ready.

    Attributes:
        name: the registered name.
        kind: what a sample is, `points` or `images`.
        train: (N, *sample_shape) float32, to train on.
        test: (M, *sample_shape) float32, held out: seen by scores only.
        train_labels: (N,) int64 classes, or None.
        test_labels: (M,) int64 classes, or None.
        num_classes: number of classes, 0 where there are no labels.
        mixture: the Gaussian mixture that the samples were drawn from, where it is known.
        fingerprint: 16 hexadecimal digits of the SHA-256 of all samples and labels.
    """

    name: str
    kind: Literal["points", "images"]
    train: Tensor
    test: Tensor
    train_labels: Tensor | None = None
    test_labels: Tensor | None = None
    num_classes: int = 0
    mixture: Mixture | None = None
    fingerprint: str = ""

    def __post_init__(self) -> None:
        assert self.train.shape[1:] == self.test.shape[1:], (self.train.shape, self.test.shape)
        assert self.train.dtype == self.test.dtype == torch.float32, (self.train.dtype, self.test.dtype)
        if not self.fingerprint:
            object.__setattr__(self, "fingerprint", _fingerprint(self))

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.train.shape[1:])

    def to(self, device: torch.device | str) -> Dataset:
        """The same data set with its tensors on `device`."""

        def move(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device)

        return replace(
            self,
            train=self.train.to(device),
            test=self.test.to(device),
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

    Args:
        choice: `recipe.data`.

    Raises:
        ValueError: an unknown name, or a file that cannot be used; the message is one line with the fix.
    """
    return _load(choice.name, tuple(sorted(choice.options.items())), _stamp(choice))


@lru_cache(maxsize=16)
def _load(
    name: str, options: tuple[tuple[str, bool | int | float | str], ...], stamp: tuple[int, int]
) -> Dataset:
    dataset = datasets[name](**dict(options))
    assert isinstance(dataset, Dataset), f"{name} made a {type(dataset).__name__}"
    return dataset


def _stamp(choice: Choice) -> tuple[int, int]:
    """Modification time and size of the file behind a data set, (0, 0) where there is none."""
    path = choice.options.get("path")
    if not isinstance(path, str) or not path:
        return (0, 0)
    try:
        status = Path(path).expanduser().stat()
    except (OSError, ValueError, RuntimeError):
        return (0, 0)
    return (status.st_mtime_ns, status.st_size)


def _fingerprint(dataset: Dataset) -> str:
    digest = hashlib.sha256()
    for tensor in (dataset.train, dataset.test, dataset.train_labels, dataset.test_labels):
        if tensor is not None:
            digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
