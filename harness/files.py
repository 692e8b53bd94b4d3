"""Whole files and JSON: a reader sees the old file or the new one, never a part."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

__all__ = [
    "UNENCODABLE",
    "csv_text",
    "encodable",
    "encode",
    "json_text",
    "leftovers",
    "read_json",
    "replaced",
    "write_json",
    "write_text",
]

UNENCODABLE = "backslashreplace"
"""How text is encoded that no UTF-8 stands for: a file's name may be any bytes, and reads as surrogates."""


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        ValueError: If the file is not JSON, in one line that names it.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}).") from None


def write_json(path: Path, value: Any, *, durable: bool = True) -> None:
    """Write a JSON file in one move: a reader sees the old file or the new one, never a part.

    Args:
        path: Where to; the folder must exist.
        value: Mappings, sequences, strings and numbers; non-finite numbers become strings.
        durable: As for `replaced`.
    """
    write_text(path, json_text(value) + "\n", durable=durable)


def json_text(value: Any) -> str:
    """A value as indented JSON that any file and stream takes; see `write_json`."""
    return encodable(json.dumps(encode(value), indent=2, ensure_ascii=False, allow_nan=False))


def encodable(text: str) -> str:
    """Text that is UTF-8: bytes of file names that are not as ``\\udce9``."""
    return text.encode("utf-8", UNENCODABLE).decode("utf-8")


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Write text as UTF-8 in one move; bytes of file names that are not as ``\\udce9``, as JSON does.

    Args:
        path: Where to; the folder must exist.
        text: What to write.
        durable: As for `replaced`.
    """
    with replaced(path, durable=durable) as temporary:
        temporary.write_text(text, encoding="utf-8", errors=UNENCODABLE)


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Rows as CSV, a line each; cells with commas, quotes or new lines are quoted."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue()


@contextmanager
def replaced(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """A file to be written beside another, whose place it takes when the block ends well.

    At every moment a reader finds the old file or the new one, whole. If the block raises, the old one stays
    and nothing is left of the new one.

    Args:
        path: The file; its folder must exist.
        durable: Whether it is to survive a power cut: on the disk before it has its name.

    Yields:
        Where to write: a hidden file of the same suffix, by which many writers tell the format.
    """
    temporary = _temporary(path, os.getpid())
    try:
        yield temporary
        if durable:
            _sync(temporary)
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    if durable:
        with suppress(OSError):  # not every system lets a folder be synced
            _sync(path.parent)


def leftovers(path: Path) -> list[Path]:
    """What writers of a file left beside it when they were killed, or write at this moment."""
    pattern = _temporary(path, "*").name
    return list(path.parent.glob(pattern))


def _temporary(path: Path, writer: object) -> Path:
    return path.with_name(f".{path.stem}.{writer}{path.suffix}")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def encode(value: Any) -> Any:
    """Plain values for JSON: keys as text, numbers that are not finite as ``nan``, ``inf`` and ``-inf``."""
    if isinstance(value, Mapping):
        return {str(key): encode(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [encode(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
