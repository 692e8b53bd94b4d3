"""The data sets of images, shipped, found, downloaded or the user's own.

Shapes: N images of (C, S, S), stored as bytes. Of all sets, `size` is S, to which images of another size are
resized; `limit` is how many of the first images are trained on, 0 for all; and `root` is the folder to look
in, or HARNESS_DATA and the usual places where it is empty.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.data import cifar
from harness.data.cache import VERSION, cached, digest_of, reserve
from harness.data.dataset import MIN_HELD_OUT, Dataset, Outline, fitting_share, outlined
from harness.data.decode import resized
from harness.data.folder import FolderImages, ImageFile, find_images, read_images
from harness.data.idx import find_idx_files, read_idx_part
from harness.data.places import cache_folder, find_set
from harness.machine import expanded
from harness.recipe.registry import Bounds, Value, datasets
from harness.words import legible, plural

__all__ = ["celeba", "cifar10", "digits", "fashion_mnist", "image_folder", "mnist", "stacked_mnist"]

Bytes = NDArray[np.uint8]
Part = tuple[Bytes, Bytes]
"""(N, C, H, W) images and (N,) labels."""

_Size = Annotated[int, Bounds(low=4, high=1024)]
_Limit = Annotated[int, Bounds(low=0)]
_TestShare = Annotated[float, Bounds(low=0.0, high=1.0, open_low=True, open_high=True)]

_DIGIT_NAMES = tuple("0123456789")
_FASHION_NAMES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
_TRAIN_LABELS = {"65a50cbbf4e906d7": "mnist", "bad3541b69d91243": "fashion-mnist"}
"""First digits of the SHA-256 of the idx files of training labels: both sets' files have the same names."""

_SPLIT_SEED = 0
_STACK_SEED = 0
_DIGITS_HELD_OUT = 300


@datasets.register("digits")
def digits(*, size: _Size = 8, limit: _Limit = 0) -> Dataset:
    """1797 handwritten digits of 8×8 pixels, shipped with the harness; 1497 to train on and 300 held out.

    Source: Alpaydin and Kaynak (1998), "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository, doi 10.24432/C50P49, CC BY 4.0; its test part, levels 0 to 16 spread over 0 to 255.
    """
    train, test = _digits()
    return _from_arrays("digits", train, test, _DIGIT_NAMES, size=size, limit=limit)


@datasets.register("mnist")
def mnist(*, size: _Size = 28, limit: _Limit = 0, root: str = "") -> Dataset:
    """70000 handwritten digits of 28×28 pixels; 60000 to train on and 10000 held out.

    Looked for as idx files, plain or gzipped, in `root`, or in HARNESS_DATA and the usual places.

    Source: LeCun, Bottou, Bengio and Haffner (1998), "Gradient-based learning applied to document
    recognition", Proceedings of the IEEE.
    """
    train, test = _idx_set("mnist", root)
    return _from_arrays("mnist", train, test, _DIGIT_NAMES, size=size, limit=limit)


@datasets.register("fashion-mnist")
def fashion_mnist(*, size: _Size = 28, limit: _Limit = 0, root: str = "") -> Dataset:
    """70000 pieces of clothing of 28×28 pixels in ten classes; 60000 to train on and 10000 held out.

    Looked for as idx files, plain or gzipped, in `root`, or in HARNESS_DATA and the usual places.

    Source: Xiao, Rasul and Vollgraf (2017), "Fashion-MNIST", arXiv:1708.07747.
    """
    train, test = _idx_set("fashion-mnist", root)
    return _from_arrays("fashion-mnist", train, test, _FASHION_NAMES, size=size, limit=limit)


@datasets.register("cifar10")
def cifar10(*, size: _Size = 32, limit: _Limit = 0, root: str = "") -> Dataset:
    """60000 colour photographs of 32×32 pixels in ten classes; 50000 to train on and 10000 held out."""
    train, test = find_set("cifar10", root, cifar.read_cifar10)
    return _from_arrays("cifar10", train, test, cifar.CLASS_NAMES, size=size, limit=limit)


@datasets.register("stacked-mnist")
def stacked_mnist(
    *,
    size: _Size = 28,
    num_samples: Annotated[int, Bounds(low=1000, high=1_000_000)] = 60_000,
    source: Literal["mnist", "digits"] = "mnist",
    root: str = "",
) -> Dataset:
    """Three random digits as the red, green and blue of one image: 1000 classes, to count dropped modes by.

    The class is the three digits read as a number. `num_samples` are trained on, and as many held out, 10000
    at most. `source` digits stacks the digits shipped here.

    Source: Metz et al. (2017), "Unrolled GANs", arXiv:1611.02163, section 3.3.1.
    """
    train, test = _digits() if source == "digits" else _idx_set("mnist", root)
    random = np.random.RandomState(_STACK_SEED)
    parts = []
    for (images, labels), count in ((train, num_samples), (test, min(num_samples, 10_000))):
        rows = random.randint(len(images), size=(count, 3))
        stacked = resized(images, size)[:, 0][rows]
        parts.append((stacked, (labels[rows].astype(np.int64) * [100, 10, 1]).sum(axis=1)))
    names = tuple(f"{number:03d}" for number in range(1000))
    return _from_arrays("stacked-mnist", parts[0], parts[1], names, size=size, limit=0)


@datasets.register("image-folder")
def image_folder(
    *,
    path: str = "",
    size: _Size = 64,
    channels: Literal[3, 1] = 3,
    labels: Literal["none", "folders"] = "none",
    test_share: _TestShare = 0.1,
    limit: _Limit = 0,
) -> Dataset:
    """Any folder of images, resized and centre-cropped; classes, where wanted, are the folders in it.

    A relative `path` starts from the current folder, or else from HARNESS_DATA; the folders below it are
    looked through too. Images are decoded once, and read from a cache after that. Which of them are held out
    depends on their content alone.

    Args:
        path: the folder.
        size: S.
        channels: 3 for colour, 1 for grey.
        labels: `folders` makes the folders in it the classes.
        test_share: share of the images held out, 20 of them at least.
        limit: how many of the others to train on; 0 is all.

    Raises:
        ValueError: no folder, or too few images in it that can be read.
    """
    folder = _image_folder(path)
    files, note = find_images(folder, path)
    class_names: tuple[str, ...] = ()
    if labels == "folders":
        files, class_names = _labelled(files, path)
    found = read_images(
        files, size=size, channels=channels, cache=cache_folder(), title=f"`data.path` {path!r}"
    )
    count, fewest = len(found.names), 2 * MIN_HELD_OUT
    num_test = max(MIN_HELD_OUT, round(count * test_share))
    if count - num_test < MIN_HELD_OUT:
        fix = f"lower `data.test_share` to {fitting_share(max(count, fewest), max(num_test, fewest))}"
        if count < fewest:
            too_much = round(fewest * test_share) > MIN_HELD_OUT
            fix = f"add images until there are {fewest}" + (f", and {fix}" if too_much else "")
        raise ValueError(
            f"`data.path` {path!r} holds {plural(count, 'image')}, of which {min(num_test, count)} would be "
            f"held out, but {MIN_HELD_OUT} at least are needed to train on; {fix}."
        )
    return _from_folder("image-folder", found, num_test, class_names, limit, (note,) if note else ())


@datasets.register("celeba")
def celeba(*, size: _Size = 64, limit: _Limit = 0, root: str = "") -> Dataset:
    """202599 faces in colour, resized and centre-cropped; the official test part, 19962 of them, is held out.

    Without list_eval_partition.txt beside the images, a tenth is held out.

    Raises:
        ValueError: the folder holds too few images to train on and to hold out.

    Source: Liu, Luo, Wang and Tang (2015), "Deep Learning Face Attributes in the Wild", ICCV.
    """
    folder = find_set("celeba", root, _celeba_images)
    files, _ = find_images(folder, str(folder))
    parts = _celeba_parts(folder)
    grouped = [
        ImageFile(path=file.path, name=file.name, group=int(parts.get(file.path.name) != "2"))
        for file in files
    ]
    split = 0 < sum(file.group for file in grouped) < len(grouped)
    found = read_images(
        grouped if split else files, size=size, channels=3, cache=cache_folder(), title=f"`{folder}`"
    )
    num_test = found.groups.count(0) if split else round(len(found.names) / 10)
    if min(num_test, len(found.names) - num_test) < MIN_HELD_OUT:
        raise ValueError(f"`{folder}` holds only {len(found.names)} images; copy or download them again.")
    return _from_folder("celeba", found, num_test, (), limit, ())


def _from_arrays(
    name: str,
    train: tuple[Bytes, NDArray[Any]],
    test: tuple[Bytes, NDArray[Any]],
    class_names: tuple[str, ...],
    *,
    size: int,
    limit: int,
) -> Dataset:
    (train_images, train_labels), (test_images, test_labels) = train, test
    if limit:
        train_images, train_labels = train_images[:limit], train_labels[:limit]
    return Dataset(
        name=name,
        kind="images",
        train=_at_size(train_images, size),
        test=_at_size(test_images, size),
        train_labels=torch.from_numpy(train_labels.astype(np.int64)),
        test_labels=torch.from_numpy(test_labels.astype(np.int64)),
        num_classes=len(class_names),
        class_names=class_names,
    )


def _from_folder(
    name: str,
    found: FolderImages,
    num_test: int,
    class_names: tuple[str, ...],
    limit: int,
    notes: tuple[str, ...],
) -> Dataset:
    """The first images are held out; both parts are views of one mapped file."""
    stop = num_test + limit if limit else None
    labels = torch.tensor(found.labels, dtype=torch.int64) if class_names else None
    content = (found.sha256, tuple(found.pixels.shape), found.labels, class_names, num_test, limit)
    return Dataset(
        name=name,
        kind="images",
        train=found.pixels[num_test:stop],
        test=found.pixels[:num_test],
        train_labels=None if labels is None else labels[num_test:stop],
        test_labels=None if labels is None else labels[:num_test],
        num_classes=len(class_names),
        class_names=class_names,
        notes=(*found.notes, *notes),
        fingerprint=hashlib.sha256(repr(content).encode()).hexdigest()[:16],
    )


def _at_size(images: Bytes, size: int) -> Tensor:
    """Images resized, and those that took long from the cache."""
    if images.shape[2:] == (size, size):
        return torch.from_numpy(np.require(images, requirements=["C", "W"]))
    if len(images) < 5000:
        return torch.from_numpy(resized(images, size))

    def make(target: Path) -> dict[str, Any]:
        shape = (*images.shape[:2], size, size)
        reserve(target, shape)
        rows = np.memmap(target, np.uint8, "r+", shape=shape)
        for start in range(0, len(images), 1000):
            rows[start : start + 1000] = resized(images[start : start + 1000], size)
        return {"shape": list(shape)}

    content = hashlib.sha256(np.ascontiguousarray(images).data).hexdigest()
    pixels, _ = cached(cache_folder(), digest_of("resized", VERSION, images.shape, content, size), make)
    return pixels


def _digits() -> tuple[Part, Part]:
    with resources.files(__package__).joinpath("digits.npz").open("rb") as stream:
        content = np.load(stream)
        levels, labels = content["images"], content["labels"]
    images = ((levels.astype(np.int64) * 255 + 8) // 16).astype(np.uint8)[:, None]
    order = np.random.RandomState(_SPLIT_SEED).permutation(len(images))
    images, labels = images[order], labels[order]
    held_out = slice(len(images) - _DIGITS_HELD_OUT, None)
    kept = slice(0, len(images) - _DIGITS_HELD_OUT)
    return (images[kept], labels[kept]), (images[held_out], labels[held_out])


def _idx_set(name: str, root: str) -> tuple[Part, Part]:
    def look(folder: Path) -> tuple[Part, Part] | None:
        files = find_idx_files(folder)
        if not files:
            return None
        wanted = [f"{part}-{kind}" for part in ("train", "t10k") for kind in ("images", "labels")]
        lacking = [key for key in wanted if key not in files]
        if lacking:
            kind = 3 if lacking[0].endswith("images") else 1
            raise ValueError(
                f"`{folder}` holds {len(files)} of the four idx files, but no {lacking[0]}-idx{kind}-ubyte "
                "nor its .gz; copy or download it again."
            )
        parts = []
        for part in ("train", "t10k"):
            read = read_idx_part(files[f"{part}-images"], files[f"{part}-labels"], num_classes=10)
            shape = "×".join(map(str, read.images.shape[1:]))
            if shape != "28×28":
                raise ValueError(
                    f"`{files[f'{part}-images']}` holds images of {shape} pixels, but those of {name} have "
                    "28×28; copy or download it again, or give them as a folder to data set image-folder."
                )
            parts.append((read.images[:, None], read.labels))
        header = b"\0\0\x08\x01" + len(parts[0][1]).to_bytes(4, "big")
        digest = hashlib.sha256(header + parts[0][1].tobytes()).hexdigest()[:16]
        held = _TRAIN_LABELS.get(digest, name)
        if held != name:
            strays.append(f"`{folder}` holds {held}, not {name}")
            return None
        return parts[0], parts[1]

    strays: list[str] = []
    try:
        return find_set(name, root, look)
    except ValueError as error:
        raise ValueError("; ".join([*strays, str(error)])) from error


def _image_folder(path: str) -> Path:
    """Where the path leads: from here, or else from HARNESS_DATA."""
    if not path:
        raise ValueError("`data.path` must name a folder of images, but is empty.")
    folder = expanded(path)
    home = os.environ.get("HARNESS_DATA", "")
    if not folder.is_absolute() and not folder.exists() and home and (Path(home) / folder).exists():
        return Path(home) / folder
    return folder


def _labelled(files: list[ImageFile], path: str) -> tuple[list[ImageFile], tuple[str, ...]]:
    """Files with the folder they lie in as their class."""
    loose = next((file for file in files if "/" not in file.name), None)
    if loose is not None:
        raise ValueError(
            f"`data.labels` folders needs every image in a folder of its class, but {loose.name} lies "
            f"directly in {path!r}; move it, or set data.labels to none."
        )
    names = sorted({file.name.split("/")[0] for file in files})
    if len(names) < 2:
        raise ValueError(
            f"`data.labels` folders needs two folders or more, but {path!r} has images in {names[0]} alone; "
            "set data.labels to none."
        )
    return [
        ImageFile(path=file.path, name=file.name, label=names.index(file.name.split("/")[0]))
        for file in files
    ], tuple(legible(name) for name in names)


def _celeba_images(folder: Path) -> Path | None:
    images = folder / "img_align_celeba"
    return images if images.is_dir() else None


def _celeba_parts(images: Path) -> Mapping[str, str]:
    """Official part, 0 to 2, by file name."""
    path = images.parent / "list_eval_partition.txt"
    if not path.is_file():
        return {}
    rows = [
        line.split()
        for line in path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        if line.strip()
    ]
    if any(len(row) != 2 or row[1] not in ("0", "1", "2") for row in rows):
        raise ValueError(f"`{path}` must hold a file name and 0, 1 or 2 a line; copy or download it again.")
    return {row[0]: row[1] for row in rows}


def _outline(channels: int, num_classes: int, options: Mapping[str, Value]) -> Outline:
    size = int(options["size"])
    return Outline(sample_shape=(channels, size, size), num_classes=num_classes)


outlined("digits", lambda options: _outline(1, 10, options))
outlined("mnist", lambda options: _outline(1, 10, options))
outlined("fashion-mnist", lambda options: _outline(1, 10, options))
outlined("cifar10", lambda options: _outline(3, 10, options))
outlined("celeba", lambda options: _outline(3, 0, options))
outlined("stacked-mnist", lambda options: _outline(3, 1000, options))
outlined(
    "image-folder",
    lambda options: (
        None if options["labels"] == "folders" else _outline(int(options["channels"]), 0, options)
    ),
)
