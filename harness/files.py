"""Whole files and JSON: a reader sees the old file or the new one, never a part."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["encode", "read_json", "write_json", "write_text"]


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        ValueError: If the file is not JSON, in one line that names it.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}).") from None


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file in one move: a reader sees the old file or the new one, never a part.

    Args:
        path: Where to; the folder must exist.
        value: Mappings, sequences, strings and numbers; non-finite numbers become strings.
    """
    write_text(path, json.dumps(encode(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file in one move, on the disk before it has its name."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def encode(value: Any) -> Any:
    """Plain values for JSON: keys as text, numbers that are not finite as ``nan``, ``inf`` and ``-inf``."""
    if isinstance(value, Mapping):
        return {str(key): encode(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [encode(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
