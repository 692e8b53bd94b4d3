"""CIFAR-10 in the three forms in which it is passed around: pickled batches, binary batches, rows of PNG.

Source: Krizhevsky (2009), "Learning Multiple Layers of Features from Tiny Images".
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.cache import VERSION, cached, digest_of
from harness.data.places import cache_folder

__all__ = ["CLASS_NAMES", "CifarPart", "read_cifar10"]

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

Bytes = NDArray[np.uint8]
CifarPart = tuple[Bytes, Bytes]
"""(N, 3, 32, 32) images and (N,) labels."""

_SHAPE = (3, 32, 32)
_NUM_PIXELS = 3 * 32 * 32
_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
_HINT = "; copy or download it again."


def read_cifar10(folder: Path) -> tuple[CifarPart, CifarPart] | None:
    """CIFAR-10 from a folder, in whatever form it is there.

    Args:
        folder: with `data_batch_1`…`data_batch_5` and `test_batch`: pickled as torchvision has them, `.bin`,
            or `.png` with one image a row and labels in .json files.

    Returns:
        The training and the test part; None where the folder holds none of it.

    Raises:
        ValueError: a file is missing, damaged or of the wrong size.
    """
    forms: tuple[tuple[str, Callable[[Path, tuple[str, ...]], CifarPart]], ...] = (
        (".bin", _read_binary),
        (".png", _read_png),
        ("", _read_pickled),
    )
    for suffix, read in forms:
        there = [name for name in (*_BATCHES, "test_batch") if (folder / f"{name}{suffix}").is_file()]
        if not there:
            continue
        lacking = [name for name in (*_BATCHES, "test_batch") if name not in there]
        if lacking:
            raise ValueError(f"`{folder}` lacks {lacking[0]}{suffix} of CIFAR-10{_HINT}")
        return read(folder, _BATCHES), read(folder, ("test_batch",))
    return None


def _read_binary(folder: Path, names: tuple[str, ...]) -> CifarPart:
    parts = []
    for name in names:
        path = folder / f"{name}.bin"
        content = np.fromfile(path, np.uint8)
        if not len(content) or len(content) % (_NUM_PIXELS + 1):
            raise ValueError(
                f"`{path}` holds {len(content)} bytes, which are not whole images of {_NUM_PIXELS + 1}{_HINT}"
            )
        parts.append(content.reshape(-1, _NUM_PIXELS + 1))
    rows = np.concatenate(parts)
    return rows[:, 1:].reshape(-1, *_SHAPE), _checked(rows[:, 0], folder / names[0])


def _read_png(folder: Path, names: tuple[str, ...]) -> CifarPart:
    def make(target: Path) -> dict[str, Any]:
        images = np.concatenate([_pixels(path) for path in paths])
        images.transpose(0, 2, 1).tofile(target)
        return {"shape": [len(images), *_SHAPE]}

    # Decoding takes seconds, so the result is kept.
    paths = [folder / f"{name}.png" for name in names]
    stamps = [(path.absolute(), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    pixels, _ = cached(cache_folder(), digest_of("cifar10-png", VERSION, stamps), make)
    images = pixels.numpy()
    kind = "test" if names == ("test_batch",) else "train"
    there = [folder / f"{kind}_{noun}.json" for noun in ("labels", "lables")]
    there = [path for path in there if path.is_file()]
    if not there:
        raise ValueError(f"`{folder}` lacks {kind}_labels.json, the classes of {names[0]}.png{_HINT}")
    path = there[0]
    try:
        labels = np.asarray(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ValueError(f"`{path}` is damaged ({error}){_HINT}") from error
    if labels.shape != (len(images),):
        raise ValueError(f"`{path}` holds {labels.size} labels, but there are {len(images)} images{_HINT}")
    return images, _checked(labels, path)


def _pixels(path: Path) -> Bytes:
    """One image a row, (N, 1024, 3)."""
    from PIL import Image

    try:
        with Image.open(path, formats=["PNG"]) as image:
            pixels = np.asarray(image.convert("RGB"))
    except Exception as error:  # whatever a damaged file leads to
        raise ValueError(f"`{path}` is damaged ({' '.join(str(error).split())[:120]}){_HINT}") from error
    if pixels.shape[1] != 32 * 32:
        raise ValueError(f"`{path}` is {pixels.shape[1]} pixels wide, and not 1024: one image a row{_HINT}")
    return pixels


def _read_pickled(folder: Path, names: tuple[str, ...]) -> CifarPart:
    # torchvision reads these pickles only where their checksums are those of the published files.
    if folder.name != "cifar-10-batches-py":
        raise ValueError(f"`{folder}` holds CIFAR-10's Python batches; call that folder cifar-10-batches-py.")
    try:
        torchvision_datasets: Any = importlib.import_module("torchvision.datasets")  # slow to import
        part = torchvision_datasets.CIFAR10(str(folder.parent), train=names == _BATCHES)
    except (RuntimeError, OSError) as error:
        raise ValueError(f"`{folder}` is damaged ({' '.join(str(error).split())}){_HINT}") from error
    images = np.ascontiguousarray(part.data.transpose(0, 3, 1, 2))
    return images, _checked(np.asarray(part.targets), folder)


def _checked(labels: NDArray[Any], path: Path) -> Bytes:
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= len(CLASS_NAMES):
        raise ValueError(f"`{path}` holds labels other than 0 to 9{_HINT}")
    return labels.astype(np.uint8)
