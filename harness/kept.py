"""What one command has found out and the next need not: small JSON files in the user's cache folder.

A file's name covers all that its content depends on, the harness's own code and the versions of its libraries
included, so it is never stale; files appear whole or not at all, and any of them may be deleted at any time.
One that cannot be read or written costs time, and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import sys
import time
from collections.abc import Iterator
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from harness.files import read_json, write_text
from harness.machine import cache_place
from harness.version import __version__

__all__ = ["depend_on", "keep", "recall"]

_UNUSED_DAYS = 60
_LIBRARIES = ("torch", "numpy", "scipy")


_packages = {"harness"}


def depend_on(package: str) -> None:
    """Count the files of one more package as the harness's own code.

    Args:
        package: its name, at the top level.
    """
    _packages.add(package)


def recall(kind: str, *key: Any) -> Any:
    """What was kept under a key; None where nothing is.

    Args:
        kind: what it is, for the file's name.
        key: all that it depends on besides code and versions, plain values.
    """
    path = _path(kind, key)
    try:
        found = read_json(path)
        os.utime(path)
    except (OSError, ValueError):
        return None
    return found


def keep(kind: str, *key: Any, value: Any) -> None:
    """Keep a value, and drop what has not been asked for in two months.

    Args:
        kind: what it is, for the file's name.
        key: all that it depends on besides code and versions, plain values.
        value: plain values; numbers must be finite.
    """
    path = _path(kind, key)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        oldest = time.time() - _UNUSED_DAYS * 86400
        for other in path.parent.glob(f"{kind}-*.json"):
            with contextlib.suppress(OSError):
                if other.stat().st_mtime < oldest:
                    other.unlink()
        write_text(path, json.dumps(value))


def _path(kind: str, key: tuple[Any, ...]) -> Path:
    text = json.dumps([_code(), key], sort_keys=True)
    return _folder() / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


def _folder() -> Path:
    return cache_place("kept")


@lru_cache(maxsize=1)
def _code() -> list[Any]:
    """Versions, and time and size of every file of the harness."""
    files = [[*path.parts[-2:], status.st_mtime_ns, status.st_size] for path, status in sorted(_files())]
    return [__version__, sys.version, [metadata.version(name) for name in _LIBRARIES], files]


def _files() -> Iterator[tuple[Path, os.stat_result]]:
    for package in sorted(_packages):
        spec = importlib.util.find_spec(package)
        for place in (spec and spec.submodule_search_locations) or ():
            for path in Path(place).rglob("*.py"):
                yield path, path.stat()
