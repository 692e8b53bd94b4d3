"""The images of a folder exactly as they are, as scores of them need: nothing resized, no colour thrown away.

Shapes: N images (N, C, S, S) as bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.data.decode import REMARKS, Unreadable, decode
from harness.data.folder import SUFFIXES
from harness.words import legible

__all__ = ["read_images"]

_ORDER_SEED = 0
_SHOWN = 3


def read_images(
    folder: Path, shape: Sequence[int], *, num: int, fewest: int = 1, largest: float = 0
) -> tuple[Tensor, tuple[str, ...]]:
    """The images of a folder as they are: none is resized, and no colour is thrown away.

    Args:
        folder: it and those below it are looked through; hidden files are passed over.
        shape: (C, S, S) that each image must have; C is 1 or 3.
        num: the most images to take, chosen at random by a fixed seed.
        fewest: how many must be readable.
        largest: the largest side, in pixels, that the data can be had at.

    Returns:
        (N, C, S, S) bytes in random order, and what had to be done, one line each.

    Raises:
        ValueError: no image, too few that can be read, one of another size, or one in colour where grey is
            wanted.
    """
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not files:
        raise ValueError(f"{folder} holds no images; name a folder of PNG or JPEG files, or a run.")
    # RandomState's streams are frozen by numpy's promise (NEP 19), so the order is the same everywhere.
    order = np.random.RandomState(_ORDER_SEED).permutation(len(files))[:num]
    channels, side = shape[0], shape[1]
    images: list[np.ndarray[Any, np.dtype[np.uint8]]] = []
    unreadable: list[str] = []
    remarks: Counter[str] = Counter()
    for path in (files[row] for row in order):
        try:
            size = _size(path)
            if size != (side, side):
                theirs = (
                    f", or data of theirs (--set size={size[0]})" if size[0] == size[1] <= largest else ""
                )
                raise ValueError(
                    f"{path} is {size[0]}×{size[1]}, but the data are {side}×{side}, and nothing is resized: "
                    f"that would change the scores; give images of the data's size{theirs}."
                )
            planes, found = decode(path, side, 3)
        except Unreadable as error:
            unreadable.append(f"{legible(path.name)} ({error})")
            continue
        if channels == 1:
            if (planes != planes[:1]).any():
                raise ValueError(
                    f"{path} is in colour, 3 channels, but the data are grey, 1 channel; score it against "
                    "the data that it imitates."
                )
            planes = planes[:1]
        images.append(planes)
        remarks.update(found)
    if not images:
        raise ValueError(f"none of the {len(files)} files in {folder} can be read: {unreadable[0]}.")
    if unreadable and len(images) < fewest:
        raise ValueError(
            f"at least {fewest} images are needed, but of the {len(order)} files in {folder} only "
            f"{len(images)} can be read; one of the others: {unreadable[0]}."
        )
    notes = [f"{remarks[key]} images {text}." for key, text in REMARKS.items() if remarks[key]]
    if unreadable:
        shown = ", ".join(unreadable[:_SHOWN])
        notes.append(f"{len(unreadable)} of {len(order)} files could not be read, and are left out: {shown}.")
    if len(order) < len(files):
        notes.append(f"{len(order)} of {len(files)} images were chosen at random; --num takes more.")
    return torch.from_numpy(np.stack(images)), tuple(notes)


def _size(path: Path) -> tuple[int, int]:
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.size
    except Exception as error:
        # Pillow's decoders raise whatever the damage leads to.
        raise Unreadable(" ".join(str(error).split())[:120] or type(error).__name__) from error
