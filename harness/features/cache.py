"""Features of real images on the disk, for extractors that take minutes: made once a machine, not once a run.

A file's name covers the weights, the data, the part held out, the number of images, their resolution and what
is done to them first, so it is never stale; files appear whole or not at all, and may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from harness.data.cache import digest_of
from harness.data.places import cache_folder
from harness.features.extractors import Features
from harness.files import replaced

__all__ = ["cached_features"]

_VERSION = 1


def cached_features(fingerprint: Mapping[str, str], make: Callable[[], Features]) -> Features:
    """Features from the disk, or made and put there.

    A cache that cannot be read or written costs time, and nothing else.

    Args:
        fingerprint: everything that the features depend on.
        make: computes them.
    """
    parts = (f"{name}={fingerprint[name]}" for name in sorted(fingerprint))
    try:
        path = cache_folder() / f"features-{digest_of(_VERSION, *parts)}.npz"
    except ValueError:
        return make()
    found = _read(path)
    if found is None:
        found = make()
        with contextlib.suppress(OSError):
            _write(path, found)
    return found


def _read(path: Path) -> Features | None:
    try:
        with path.open("rb") as stream, np.load(stream) as content:
            return Features(
                embedding=torch.from_numpy(content["embedding"]).double(),
                logits=torch.from_numpy(content["logits"]).double() if "logits" in content else None,
                stacked=torch.from_numpy(content["stacked"]).double() if "stacked" in content else None,
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _write(path: Path, features: Features) -> None:
    given: dict[str, Tensor | None] = {
        "embedding": features.embedding,
        "logits": features.logits,
        "stacked": features.stacked,
    }
    # The networks compute in float32, so nothing is lost.
    arrays = {name: values.float().cpu().numpy() for name, values in given.items() if values is not None}
    with replaced(path) as temporary:
        np.savez(temporary, **arrays)  # type: ignore[arg-type]
