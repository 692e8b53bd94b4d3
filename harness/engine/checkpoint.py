"""Checkpoints: one file, replaced in one move, read back without running any code."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from harness.files import replaced

__all__ = ["check_identity", "load", "save"]

_FORMAT = "gan-sweep-harness/checkpoint/1"


def save(path: str | Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint so that at every moment `path` is the old one or the new one, whole.

    Args:
        path: the file; its folder must exist.
        state: numbers, strings, tensors, and lists and dictionaries of them.

    Raises:
        OSError: it cannot be written; the old one is left as it was.
    """
    with replaced(Path(path), durable=True) as temporary, temporary.open("wb") as file:
        torch.save({"format": _FORMAT, "state": dict(state)}, file)


def load(path: str | Path) -> dict[str, Any]:
    """Read what `save` wrote, onto the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is truncated, or not a checkpoint of this format.
    """
    path = Path(path)
    data = path.read_bytes()  # apart, so that a disk's error is not taken for a damaged file
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path} is damaged or not a checkpoint; delete it to train anew.") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise ValueError(
            f"{path} is not a checkpoint of format {_FORMAT} (found {found}); delete it to train anew."
        )
    state: dict[str, Any] = content["state"]
    return state


def check_identity(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """Refuse a checkpoint of other runs.

    Args:
        mine: what must be the same, by name.
        theirs: the checkpoint's.

    Raises:
        ValueError: something differs.
    """
    for key, value in mine.items():
        if theirs.get(key) != value:
            raise ValueError(
                f"the checkpoint is of other {key} than this population's ({theirs.get(key)} instead of "
                f"{value}); delete it to train anew."
            )
