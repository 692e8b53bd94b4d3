"""Where data sets and what is made of them lie, and how a missing one is fetched.

Three variables of the environment say so, and leave recipes alone, so that a run is the same run wherever its
data lie: HARNESS_DATA, the folder of data sets; HARNESS_CACHE, the folder of decoded copies; and
HARNESS_DOWNLOAD=1, which lets torchvision download what is missing.
"""

from __future__ import annotations

import importlib
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from harness.machine import cache_place, expanded, user_cache

__all__ = ["cache_folder", "download", "find_set", "missing"]

T = TypeVar("T")

_TIMEOUT_SEC = 20.0
_SYSTEM = Path("/usr/share/datasets")
_TORCHVISION = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "cifar10": "CIFAR10", "celeba": "CelebA"}
_BELOW = {
    "mnist": ("mnist", "MNIST/raw", "."),
    "fashion-mnist": ("fashion-mnist", "FashionMNIST/raw", "."),
    "cifar10": ("cifar10", "cifar-10-batches-py", "cifar-10-batches-bin", "."),
    "celeba": ("celeba", "."),
}
"""Folders below a data folder where a set may lie: by its name, as torchvision lays it out, or bare."""

_WHAT = {
    "mnist": "its four idx files (plain or gzipped)",
    "fashion-mnist": "its four idx files (plain or gzipped)",
    "cifar10": "cifar-10-batches-py, cifar-10-batches-bin or data_batch_1.png and its like",
    "celeba": "img_align_celeba",
}


def find_set(name: str, root: str, look: Callable[[Path], T | None]) -> T:
    """A data set, wherever it lies; downloaded where it is missing and that is allowed.

    Args:
        name: `mnist`, `fashion-mnist`, `cifar10` or `celeba`.
        root: the only folder to look in; empty for HARNESS_DATA, the user's data folder and the system's.
        look: makes of a folder what is wanted, or None where the folder does not hold it.

    Returns:
        What `look` found in the first folder that has it.

    Raises:
        ValueError: the set is not there, or cannot be downloaded; or `look` found something wrong.
    """
    places = _places(name, root)
    for place in places:
        found = look(place) if place.is_dir() else None
        if found is not None:
            return found
    if os.environ.get("HARNESS_DOWNLOAD", "") not in ("", "0"):
        home = expanded(root) if root else _homes()[0]
        download(name, home)
        for place in _places(name, str(home)):
            found = look(place) if place.is_dir() else None
            if found is not None:
                return found
    raise missing(name, places)


def missing(name: str, places: list[Path]) -> ValueError:
    """The error that says where a set was looked for, and the three ways to provide it.

    Args:
        name: `mnist`, `fashion-mnist`, `cifar10` or `celeba`.
        places: folders that were looked at.
    """
    package = (
        "`apt-get install dataset-fashion-mnist` on Debian or Ubuntu"
        if name == "fashion-mnist"
        else f"copy {_WHAT[name]} to {user_cache() / 'data' / name}"
    )
    looked = ", ".join(str(place) for place in places)
    return ValueError(
        f"data set `{name}` is in none of the places looked at: {looked}. Three ways to provide it: set "
        f"HARNESS_DATA (or `data.root`) to a folder with {_WHAT[name]}; {package}; or set HARNESS_DOWNLOAD=1 "
        "to let torchvision download it."
    )


def download(name: str, folder: Path) -> None:
    """Let torchvision download a data set into a folder.

    Args:
        name: `mnist`, `fashion-mnist`, `cifar10` or `celeba`.
        folder: made where it is missing.

    Raises:
        ValueError: no connection, no space, or a file that is not what it should be.
    """
    kind = getattr(importlib.import_module("torchvision.datasets"), _TORCHVISION[name])  # slow to import
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _timeout():
            kind(str(folder), download=True)
    except (RuntimeError, OSError, ImportError, ModuleNotFoundError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(
            f"data set `{name}` could not be downloaded to {folder} ({reason}); try again, or set "
            f"HARNESS_DATA to a folder with {_WHAT[name]}."
        ) from error


def cache_folder() -> Path:
    """The folder of decoded copies: HARNESS_CACHE, or the user's cache folder; made where it is missing.

    Raises:
        ValueError: it cannot be made.
    """
    folder = cache_place("images")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"`{folder}` cannot be made ({error.strerror or error}); set HARNESS_CACHE to a folder for "
            "decoded images."
        ) from error
    return folder


def _places(name: str, root: str) -> list[Path]:
    bases = [expanded(root)] if root else _homes()
    places = [base / below for base in bases for below in _BELOW[name]]
    return places if root else [*places, _SYSTEM / name]


def _homes() -> list[Path]:
    """Data folders in the order in which they are looked at."""
    chosen = os.environ.get("HARNESS_DATA", "")
    return [*([expanded(chosen)] if chosen else []), user_cache() / "data"]


@contextmanager
def _timeout() -> Iterator[None]:
    """A limit on how long a silent server is waited for; there is none by default."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT_SEC)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
