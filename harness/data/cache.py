"""Decoded images on disk: one file of bytes and one of facts an entry, mapped into memory when read.

Shapes: N images of (C, S, S). An entry's key covers the content it was made of and how, so it is never stale;
entries appear whole or not at all, and any of them may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.files import read_json, replaced, write_text

__all__ = ["cached", "digest_of", "drop_rows", "map_bytes", "reserve"]

VERSION = 1
"""Part of every key; raised when the same content is to be decoded differently."""


def digest_of(*parts: object) -> str:
    """32 hexadecimal digits of the SHA-256 of these parts, file names as the bytes that they are."""
    text = "\n".join(str(part) for part in parts)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def cached(folder: Path, key: str, make: Callable[[Path], dict[str, Any]]) -> tuple[Tensor, dict[str, Any]]:
    """An entry, made where it is missing.

    Args:
        folder: the cache.
        key: names the content and all that is done to it.
        make: fills the file it is given, and returns the facts; `shape` is one of them.

    Returns:
        (N, C, S, S) uint8, mapped into memory, and the facts, among them `sha256` of the bytes.

    Raises:
        ValueError: the disk is full or not to be written to; and what `make` raises.
    """
    pixels, facts = folder / f"{key}.u8", folder / f"{key}.json"
    found = _read(pixels, facts)
    if found is None:
        # Another process may make the same entry at the same time; the last one in replaces equal bytes.
        try:
            with replaced(pixels) as scratch:
                made = make(scratch)
                made["sha256"] = _hash(scratch)
                write_text(facts, json.dumps(made))
        except OSError as error:
            raise ValueError(
                f"decoded images cannot be written to {folder} ({error.strerror or error}); free some space, "
                "or set HARNESS_CACHE to another folder."
            ) from error
        found = _read(pixels, facts)
        if found is None:
            raise ValueError(f"decoded images in {folder} were removed as they were made; start again.")
    return found


def reserve(path: Path, shape: tuple[int, ...]) -> None:
    """Make a file, and have its space: a full disk is an error here, not a crash later.

    Args:
        path: the file; one that is there is replaced.
        shape: of the uint8 array that it will hold.

    Raises:
        OSError: there is no space for it.
    """
    with path.open("wb") as stream:
        size = math.prod(shape)
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(stream.fileno(), 0, size)
        else:
            stream.truncate(size)


def drop_rows(path: Path, row_bytes: int, num_rows: int, dropped: set[int]) -> None:
    """Take rows out of a file of equal rows, in place.

    Args:
        path: the file.
        row_bytes: bytes of a row.
        num_rows: how many the file has.
        dropped: the rows to take out, by number.
    """
    if not dropped:
        return
    with path.open("r+b") as stream:
        end = 0
        for row in range(num_rows):
            if row in dropped:
                continue
            if end != row:
                stream.seek(row * row_bytes)
                content = stream.read(row_bytes)
                stream.seek(end * row_bytes)
                stream.write(content)
            end += 1
        stream.truncate(end * row_bytes)


def map_bytes(path: Path, shape: tuple[int, ...]) -> Tensor:
    """A file as a uint8 tensor; its pages are read as they are used, and shared by all processes.

    The mapping is read-only, so the system asks no memory for pages that might be written to, and a file may
    be larger than memory and swap; writing into the tensor ends the process.

    Args:
        path: a file of as many bytes as `shape` says, at least one.
        shape: of the tensor.
    """
    rows = np.memmap(path, np.uint8, "r", shape=shape)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(rows)


def _read(pixels: Path, facts: Path) -> tuple[Tensor, dict[str, Any]] | None:
    """An entry that is there and whole."""
    try:
        told = read_json(facts)
        shape = tuple(told["shape"])
        if pixels.stat().st_size != math.prod(shape):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return map_bytes(pixels, shape), told


def _hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
