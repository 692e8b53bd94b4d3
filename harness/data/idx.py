"""The idx format of MNIST and its like: four files, plain or gzipped, images and labels of two parts.

A file is a big-endian header, (magic, one length for each axis), and bytes. Every way in which one can be
wrong ends in a ValueError of one line: path, what is wrong, fix.

Source: the description that came with MNIST (LeCun, Cortes and Burges, 1998).
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["IdxPart", "find_idx_files", "read_idx_part"]

Bytes = NDArray[np.uint8]

_GZIP = b"\x1f\x8b"
_RANKS = {"images": 3, "labels": 1}
_HINT = "; copy or download it again."


@dataclass(frozen=True, kw_only=True)
class IdxPart:
    """One part of an idx set.

    Attributes:
        images: (N, H, W).
        labels: (N,).
    """

    images: Bytes
    labels: Bytes


def find_idx_files(folder: Path) -> dict[str, Path]:
    """The idx files of a folder, by what they hold.

    Names are those of MNIST, as in `train-images-idx3-ubyte` or `train-images.idx3-ubyte`, with `.gz` or not.

    Args:
        folder: it alone, not those below it.

    Returns:
        File by `train-images`, `train-labels`, `t10k-images`, `t10k-labels`; those that are there.
    """
    found = {}
    for part in ("train", "t10k"):
        for kind, rank in _RANKS.items():
            for mark in ("-", "."):
                for suffix in ("", ".gz"):
                    path = folder / f"{part}-{kind}{mark}idx{rank}-ubyte{suffix}"
                    if f"{part}-{kind}" not in found and path.is_file():
                        found[f"{part}-{kind}"] = path
    return found


def read_idx_part(images: Path, labels: Path, *, num_classes: int) -> IdxPart:
    """One part of an idx set, checked.

    Args:
        images: file of N images.
        labels: file of their N labels.
        num_classes: labels must be below it.

    Raises:
        ValueError: a file that is missing, damaged, short, too long, of the other kind, empty or not an idx
            file; or two files that do not belong together.
    """
    pixels, classes = _read(images, "images"), _read(labels, "labels")
    if len(pixels) != len(classes):
        raise ValueError(
            f"`{images}` holds {len(pixels)} images, but `{labels}` {len(classes)} labels; they do not "
            "belong together; copy or download them again."
        )
    if int(classes.max()) >= num_classes:
        raise ValueError(
            f"`{labels}` holds the label {int(classes.max())}, but there are {num_classes} classes, counted "
            f"from 0{_HINT}"
        )
    return IdxPart(images=pixels, labels=classes)


def _read(path: Path, kind: str) -> Bytes:
    content, rank = _content(path), _RANKS[kind]
    other = next(name for name in _RANKS if name != kind)
    if content[:4] == bytes([0, 0, 8, _RANKS[other]]):
        raise ValueError(
            f"`{path}` holds {other} where {kind} are expected; the image and the label file are swapped; "
            "rename them."
        )
    magic = bytes([0, 0, 8, rank])
    if content[:4] != magic:
        raise ValueError(
            f"`{path}` is no idx file of {kind}: it starts with 0x{content[:4].hex() or '(nothing)'}, but "
            f"should with 0x{magic.hex()}{_HINT}"
        )
    start = 4 + 4 * rank
    if len(content) < start:
        raise ValueError(f"`{path}` is short: it ends within its header, after {len(content)} bytes{_HINT}")
    shape = tuple(int(length) for length in np.frombuffer(content, ">u4", rank, 4))
    size = int(np.prod(shape, dtype=object))
    if size == 0:
        raise ValueError(f"`{path}` is empty: its header says shape {shape}{_HINT}")
    held = len(content) - start
    if held != size:
        raise ValueError(
            f"`{path}` is too {'short' if held < size else 'long'}: shape {shape} takes {size} bytes, but "
            f"{held} follow the header{_HINT}"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _content(path: Path) -> bytes:
    """The file's bytes, unpacked where they are gzipped, whatever its name says."""
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == _GZIP else content
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"`{path}` is a damaged gzip file ({error}){_HINT}") from error
    except OSError as error:
        raise ValueError(
            f"`{path}` cannot be read: {error.strerror or error}; check its permissions."
        ) from error
