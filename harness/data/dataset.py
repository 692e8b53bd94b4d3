"""What a data set is, how it is split, and how a recipe's choice becomes one.

Shapes: N training and M held-out samples, each of `sample_shape`.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.data import arrays
from harness.data.arrays import Channels, Given
from harness.data.mixture import Mixture
from harness.data.oddities import oddities
from harness.recipe import Choice
from harness.recipe.plugins import reason_of
from harness.recipe.registry import Value, datasets
from harness.terminal import new_console
from harness.words import legible

__all__ = [
    "MIN_HELD_OUT",
    "TEST_SHARE",
    "Dataset",
    "Outline",
    "fitting_share",
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

    Made from arrays of one's own by `of_images` and `of_points`.

    Attributes:
        name: the registered name, which `load_dataset` sees to.
        kind: what a sample is, `points` or `images`.
        train: (N, *sample_shape), to train on: points as float32, images (N, C, H, W) as uint8, or as float32
            in [-1, 1]. Networks and scores see `harness.data.scaled` of it. A large set is a file mapped into
            memory.
        test: (M, *sample_shape), the same, held out: seen by scores only.
        train_labels: (N,) int64 classes, or None.
        test_labels: (M,) int64 classes, or None.
        num_classes: number of classes, 0 where there are no labels.
        class_names: one name a class, or none.
        notes: one line each: what had to be done to files on the way in, as files left out or conversions;
            and what is odd about the training set, see `harness.data.oddities`.
        mixture: the Gaussian mixture that the samples were drawn from, where it is known.
        fingerprint: 16 hexadecimal digits of a SHA-256 that covers all samples, labels and the split.

    Raises:
        ValueError: parts that are not of one kind, types other than these, or labels that do not go with
            samples and classes.
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
        if self.kind not in ("points", "images"):
            raise ValueError(f"`kind` must be points or images, but got {self.kind!r}.")
        arrays.same_shape(self.train, self.test, "train", "test")
        for part in ("train", "test"):
            arrays.check_stored(getattr(self, part), part, self.kind)
            samples, labels = getattr(self, part), getattr(self, f"{part}_labels")
            if (labels is None) != (self.num_classes == 0):
                raise ValueError(
                    f"`num_classes` is {self.num_classes}, but `{part}_labels` "
                    f"{'are missing' if labels is None else 'are given'}; give both parts their labels and "
                    "the number of classes, or none of them."
                )
            if labels is not None and (labels.dtype, tuple(labels.shape)) != (torch.int64, (len(samples),)):
                raise ValueError(
                    f"`{part}_labels` must be int64 of shape ({len(samples)},), but are "
                    f"{str(labels.dtype)[6:]} of shape {tuple(labels.shape)}."
                )
        if len(self.class_names) not in (0, self.num_classes):
            raise ValueError(
                f"`class_names` must be {self.num_classes} names or none, but got {len(self.class_names)}."
            )
        if not self.fingerprint:
            object.__setattr__(self, "fingerprint", _fingerprint(self))

    @classmethod
    def of_images(
        cls,
        name: str,
        images: Given,
        *,
        labels: Given | None = None,
        range: tuple[float, float] | None = None,
        channels: Channels | None = None,
        test: Given | None = None,
        test_labels: Given | None = None,
        test_share: float | None = None,
        class_names: Sequence[str] = (),
    ) -> Dataset:
        """A data set of images of one's own.

        Bytes are kept as bytes. Floats are kept as float32: `range` is spread over [-1, 1], which is exact to
        the last bit where it is (-1.0, 1.0), and to float32's rounding elsewhere.

        Args:
            name: the registered name.
            images: (N, S, S), (N, C, S, S) or (N, S, S, C), C being 1 or 3: uint8, or floats whose `range` is
                given. A NumPy array, a tensor, or a memory-mapped array, which stays mapped where it is
                opened read-only, needs no conversion and comes with a `test` part.
            labels: (N,) whole numbers from 0, or none.
            range: the values that stand for black and white, of floats; it is never guessed.
            channels: where C stands, `first` or `last`; needed only where the shape leaves it open.
            test: held-out images of the same kind; without them a share of `images` is held out, chosen by a
                fixed seed.
            test_labels: the classes of `test`.
            test_share: the share held out; by default about 15 %.
            class_names: a name a class, or none.

        Raises:
            ValueError: an array that will not do; one line with argument, value and fix.

        Example:
            >>> import numpy as np
            >>> faces = np.random.default_rng(0).random((200, 16, 16), dtype=np.float32)
            >>> data = Dataset.of_images("faces", faces, range=(0.0, 1.0))
            >>> data.sample_shape, len(data.train), len(data.test)
            ((1, 16, 16), 171, 29)
        """
        try:
            _check_parts(test, labels, test_labels, test_share)
            train = arrays.read_images(images, "images", range=range, channels=channels, shared=test is None)
            train_classes = None if labels is None else arrays.read_labels(labels, "labels", len(train))
            test_classes = None
            if test is None:
                order, num_train = _split(len(train), TEST_SHARE if test_share is None else test_share)
                held_out, kept = torch.from_numpy(order[num_train:]), torch.from_numpy(order[:num_train])
                train, found = train[kept], train[held_out]
                if train_classes is not None:
                    train_classes, test_classes = train_classes[kept], train_classes[held_out]
            else:
                found = arrays.read_images(test, "test", range=range, channels=channels)
                arrays.same_shape(train, found, "images", "test")
                _check_enough(len(train), len(found))
                if test_labels is not None:
                    test_classes = arrays.read_labels(test_labels, "test_labels", len(found))
            return cls(
                name=name,
                kind="images",
                train=train,
                test=found,
                train_labels=train_classes,
                test_labels=test_classes,
                num_classes=_count_classes(train_classes, test_classes, len(class_names)),
                class_names=tuple(class_names),
            )
        except ValueError as error:
            raise ValueError(f"data set `{name}`: {error}") from error

    @classmethod
    def of_points(
        cls, name: str, points: Given, *, test: Given | None = None, test_share: float | None = None
    ) -> Dataset:
        """A data set of points in the plane of one's own, kept as float32.

        Args:
            name: the registered name.
            points: (N, 2) numbers.
            test: (M, 2) held-out points; without them a share of `points` is held out, chosen by a fixed
                seed.
            test_share: the share held out; by default about 15 %.

        Raises:
            ValueError: an array that will not do; one line with argument, value and fix.

        Example:
            >>> import numpy as np
            >>> angles = np.random.default_rng(0).uniform(0, 6.3, 500)
            >>> data = Dataset.of_points("circle", np.stack([np.cos(angles), np.sin(angles)], axis=1))
            >>> data.sample_shape, len(data.train), len(data.test)
            ((2,), 427, 73)
        """
        try:
            _check_parts(test, None, None, test_share)
            read = arrays.read_points(points, "points")
            if test is None:
                return from_points(name, read, test_share=TEST_SHARE if test_share is None else test_share)
            held_out = arrays.read_points(test, "test")
            _check_enough(len(read), len(held_out))
            train, found = (torch.from_numpy(part.astype(np.float32)) for part in (read, held_out))
            return cls(name=name, kind="points", train=train, test=found)
        except ValueError as error:
            raise ValueError(f"data set `{name}`: {error}") from error

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.train.shape[1:])

    def to(self, device: torch.device | str) -> Dataset:
        """The same data set with its tensors on `device`.

        A training set that would take more than half of a GPU's free memory stays where it is, and
        `harness.data.gather` brings the rows of each batch.

        Args:
            device: where to.
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
    order, num_train = _split(len(points), test_share)
    shuffled = torch.from_numpy(points[order].astype(np.float32))
    return Dataset(
        name=name,
        kind="points",
        train=shuffled[:num_train].clone(),
        test=shuffled[num_train:].clone(),
        mixture=mixture,
    )


def fitting_share(num_rows: int, num_test: int) -> str:
    """The nearest share, in as few digits as do, that leaves enough on both sides of 40 rows or more.

    Args:
        num_rows: how many there are.
        num_test: how many the share that is wanted holds out.
    """
    low, high = MIN_HELD_OUT, num_rows - MIN_HELD_OUT
    wanted = (low if num_test < low else high) / num_rows
    texts = (f"{wanted:.{digits}g}" for digits in range(1, 18))
    return next(text for text in texts if low <= round(num_rows * float(text)) <= high)


def _split(num_rows: int, test_share: float) -> tuple[NDArray[np.int64], int]:
    """The rows in an order that a fixed seed gives, and how many of the first are to train on."""
    if not 0.0 < test_share < 1.0:
        raise ValueError(f"`test_share` must be in (0, 1), but got {test_share}.")
    num_test = round(num_rows * test_share)
    if min(num_test, num_rows - num_test) < MIN_HELD_OUT:
        fix = f"give at least {2 * MIN_HELD_OUT} rows, with `test_share` 0.5"
        if num_rows >= 2 * MIN_HELD_OUT:
            fix = f"choose {fitting_share(num_rows, num_test)}"
        raise ValueError(
            f"`test_share` {test_share:g} splits {num_rows} rows into {num_rows - num_test} to train on and "
            f"{num_test} held out, but both need at least {MIN_HELD_OUT}; {fix}."
        )
    # RandomState's streams are frozen by numpy's promise (NEP 19), so the split is the same everywhere.
    return np.random.RandomState(_SPLIT_SEED).permutation(num_rows).astype(np.int64), num_rows - num_test


def _check_parts(
    test: Given | None, labels: Given | None, test_labels: Given | None, test_share: float | None
) -> None:
    """Raise a ValueError where arguments do not go together."""
    if test is None and test_labels is not None:
        raise ValueError("`test_labels` are given without `test`; give the images that they are of.")
    if test is not None and test_share is not None:
        raise ValueError("`test` and `test_share` both say what is held out; leave one of them out.")
    if test is not None and (labels is None) != (test_labels is None):
        lacking = "labels" if labels is None else "test_labels"
        raise ValueError(f"`{lacking}` are missing, though the other part has labels; give both or neither.")


def _check_enough(num_train: int, num_test: int) -> None:
    for field, count in (("train", num_train), ("test", num_test)):
        if count < MIN_HELD_OUT:
            what = "to train on" if field == "train" else "in `test`"
            raise ValueError(f"{count} samples {what} are too few; give at least {MIN_HELD_OUT}.")


def _count_classes(train: Tensor | None, test: Tensor | None, num_names: int) -> int:
    """How many classes labels are of, 0 where there are none."""
    if train is None or test is None:
        if num_names:
            raise ValueError(f"`class_names` names {num_names} classes, but `labels` are missing; give both.")
        return 0
    found = torch.unique(torch.cat([train, test]))
    highest = int(found[-1])
    if num_names and highest >= num_names:
        raise ValueError(f"`labels` holds {highest}, but `class_names` names {num_names} classes, from 0.")
    if not num_names and len(found) <= highest:
        lacking = next(number for number, label in enumerate(found.tolist()) if number != label)
        raise ValueError(
            f"`labels` go up to {highest}, but no sample is of class {lacking}; number the classes without "
            "gaps with numpy.unique(labels, return_inverse=True)[1], or give `class_names`."
        )
    count = num_names or highest + 1
    if count < 2:
        raise ValueError("`labels` are all 0: one class is none; leave `labels` out.")
    return count


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

    Raises:
        ValueError: the data set has an outline already.
    """
    if name in _outlines:
        raise ValueError(f"the data set `{name}` is outlined twice; remove one of them.")
    _outlines[name] = tell


@lru_cache(maxsize=16)
def _load(name: str, options: tuple[tuple[str, Value], ...], stamp: tuple[object, ...]) -> Dataset:
    try:
        dataset = datasets[name](**dict(options))
    except OSError as error:
        raise ValueError(f"data set `{name}` cannot be read: {error}.") from error
    except (ValueError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(f"data set `{name}` cannot be made: {reason_of(error)}.") from error
    if not isinstance(dataset, Dataset):
        raise ValueError(
            f"data set `{name}` must make a Dataset, but made {type(dataset).__name__}; return "
            "Dataset.of_images(...) or Dataset.of_points(...)."
        )
    for part, labels in (("train", dataset.train_labels), ("test", dataset.test_labels)):
        low, high = (0, 0) if labels is None else map(int, labels.aminmax())
        samples, most = getattr(dataset, part), max(dataset.num_classes - 1, 0)
        reach, wrong = max(map(abs, map(float, samples.aminmax()))), ""
        if low < 0 or high > most:
            wrong = f"`{part}_labels` must be from 0 to {most}, but run from {low} to {high}"
        elif not math.isfinite(reach):
            wrong = f"`{part}` holds numbers that are not finite; leave those samples out"
        elif dataset.kind == "images" and samples.dtype == torch.float32 and reach > 1:
            wrong = f"float32 images must lie in [-1, 1], but `{part}` reaches {reach:g}; "
            wrong += "Dataset.of_images brings them there by its `range`"
        if wrong:
            raise ValueError(f"data set `{name}`: {wrong}.")
    dataset = dataset if dataset.name == name else replace(dataset, name=name)
    told = _outlines[name](dict(options)) if name in _outlines else None
    made = Outline(sample_shape=dataset.sample_shape, num_classes=dataset.num_classes)
    if told is not None and told != made:
        raise ValueError(
            f"data set `{name}` is outlined as {told.sample_shape} with {told.num_classes} classes, but has "
            f"{made.sample_shape} with {made.num_classes}; correct its outline."
        )
    odd = oddities(dataset.train, dataset.train_labels, dataset.num_classes, dataset.class_names)
    dataset = replace(dataset, notes=(*dataset.notes, *odd))
    if dataset.notes:
        _show_notes(dict(options).get("path") or name, dataset.notes)
    return dataset


def _show_notes(title: Value, notes: tuple[str, ...]) -> None:
    console = new_console(stderr=True)
    for note in notes:
        line = legible(f"`{title}`: {note}")
        console.print(line, markup=False, highlight=False, soft_wrap=True)


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
