"""A folder of images → one file of bytes: found, hashed, decoded once, and read from the cache ever after.

Images are put in the order of the hashes of their files, so neither names, places nor dates matter: the same
images are the same data set wherever they lie, and images that are added leave the others on their side of
the split.
"""

from __future__ import annotations

import hashlib
import math
import os
import stat
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from torch import Tensor

from harness.data import decode
from harness.data.cache import VERSION, cached, digest_of, drop_rows, reserve
from harness.data.decode import REMARKS, decode_rows
from harness.files import write_text
from harness.machine import num_cores
from harness.terminal import new_progress
from harness.words import legible, listed, plural

__all__ = ["FolderImages", "ImageFile", "find_images", "read_images"]

_NAMES = (
    "png apng jpg jpeg jpe jfif mpo webp gif bmp dib tif tiff ppm "
    "pgm pbm pnm tga ico jp2 j2k jpx pcx qoi avif sgi rgb"
)
SUFFIXES = frozenset(f".{name}" for name in _NAMES.split())
"""Names that promise an image. Files without a suffix are tried too; others are counted and left alone."""

_ARRAYS = "make an array a data set of your own by Dataset.of_images"
_KINDS_OF_ARRAYS = {".npy", ".npz", ".pt", ".mat", ".h5"}
_SHOWN, _KINDS_SHOWN = 5, 40
_CHUNK = 64  # files a task
_POOL_FROM_FILES = 8192
_POOL_FROM_BYTES = 128 * 2**20
"""With fewer files and bytes than these, starting processes takes longer than decoding, a few seconds."""
_MAX_PROCESSES = 16
_NO_FILE = ("special", "gone")
_NO_HASH = "unreadable"


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """A file that may be an image.

    Attributes:
        path: where it is.
        name: its path below the folder, with forward slashes.
        group: 0 for held out and 1 for training where the files say so, 0 for all where they do not.
        label: its class, or -1.
    """

    path: Path
    name: str
    group: int = 0
    label: int = -1


@dataclass(frozen=True, kw_only=True)
class FolderImages:
    """The images of a folder.

    Attributes:
        pixels: (N, C, S, S) uint8, mapped into memory; ordered by group and by the hash of the file.
        names: N file names.
        labels: N classes, -1 where there are none.
        groups: N groups.
        notes: what had to be done, one line each.
        sha256: of the pixels.
    """

    pixels: Tensor
    names: tuple[str, ...]
    labels: tuple[int, ...]
    groups: tuple[int, ...]
    notes: tuple[str, ...]
    sha256: str


def find_images(folder: Path, shown: str) -> tuple[list[ImageFile], str]:
    """Every file below a folder that may be an image, sorted by name; hidden ones are passed over.

    Args:
        folder: it and the folders in it are looked through, links followed.
        shown: how the user wrote it.

    Returns:
        The files, and a note about the other ones, or nothing.

    Raises:
        ValueError: not a folder, not to be read, or without images.
    """
    if not folder.is_dir():
        problem = f"is a file, not a folder; unpack an archive, {_ARRAYS}"
        problem = problem if folder.exists() else "does not exist; check it"
        raise ValueError(f"`data.path` {shown!r} {problem}, or name another folder.")
    found: list[ImageFile] = []
    others: Counter[str] = Counter()
    refused: list[OSError] = []
    visited = set()
    for place, below, names in os.walk(folder, followlinks=True, onerror=refused.append):
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in visited:
            below.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in names:
            suffix = os.path.splitext(name)[1].lower()
            path = Path(place, name)
            if name.startswith(".") or (path.exists() and not path.is_file()):
                continue
            if suffix and suffix not in SUFFIXES:
                others[suffix] += 1
            else:
                found.append(ImageFile(path=path, name=path.relative_to(folder).as_posix()))
    if refused:
        raise ValueError(
            f"`{refused[0].filename}` cannot be read: {refused[0].strerror}; check its permissions."
        )
    note = ""
    if others:
        kinds = listed(sorted(others), _KINDS_SHOWN) + (" kinds" if len(others) > _KINDS_SHOWN else "")
        note = legible(f"{plural(others.total(), 'other file')} ({kinds}) left alone")
    if not found:
        raise ValueError(
            f"`data.path` {shown!r} holds no images{f' ({note})' if note else ''}; name a folder of PNG, "
            f"JPEG, WebP, GIF, BMP or TIFF files{f', or {_ARRAYS}' if _KINDS_OF_ARRAYS & {*others} else ''}."
        )
    return sorted(found, key=lambda file: file.name), note


def read_images(
    files: Sequence[ImageFile],
    *,
    size: int,
    channels: int,
    cache: Path,
    title: str,
    num_processes: int | None = None,
) -> FolderImages:
    """Images as bytes, decoded on first use and taken from the cache after that.

    Notes name a few of the files that could not be read; beside the decoded images, a file of text names all.

    Args:
        files: the files.
        size: S, side of the squares wanted.
        channels: C, 3 or 1.
        cache: folder of decoded images.
        title: what they are called in progress and errors.
        num_processes: decode with this many; by default one a core where there are many files.

    Raises:
        ValueError: no file can be read, or the cache cannot be written to.
    """
    with new_progress() as progress:
        ordered = _ordered(files, cache, title, progress)
        content = [f"{digest} {file.group} {file.label}" for digest, file in ordered]
        key = digest_of("images", decode.VERSION, size, channels, *content)
        chosen = [file for _, file in ordered]

        def make(target: Path) -> dict[str, Any]:
            return _decode_all(chosen, target, (channels, size, size), title, num_processes, progress)

        pixels, facts = cached(cache, key, make)
    # Entries of older versions have the names in their notes, and nowhere else.
    unreadable = [f"{legible(name)} ({reason})" for name, reason in facts.get("unreadable", ())]
    names_path = _keep_names(cache / f"{key}.unreadable.txt", unreadable)
    notes = list(facts["notes"])
    if unreadable:
        note = f"{len(unreadable)} of {plural(len(files), 'file')} could not be read and left out: "
        place = f"; all in {legible(names_path)}" if names_path else ""
        notes.insert(0, note + listed(unreadable, _SHOWN) + place)
    dropped = set(facts["dropped"])
    kept = [file for row, file in enumerate(chosen) if row not in dropped]
    return FolderImages(
        pixels=pixels,
        names=tuple(file.name for file in kept),
        labels=tuple(file.label for file in kept),
        groups=tuple(file.group for file in kept),
        notes=tuple(notes),
        sha256=facts["sha256"],
    )


def _ordered(
    files: Sequence[ImageFile], cache: Path, title: str, progress: Any
) -> list[tuple[str, ImageFile]]:
    """The files with the hash of their content, by group and hash.

    Reading a large folder takes a while; while names, sizes and dates are the same, the hashes are too.
    """
    stamps = []
    for file in files:
        try:
            status = file.path.stat()
            regular = stat.S_ISREG(status.st_mode)
            stamps.append(f"{status.st_size} {status.st_mtime_ns}" if regular else _NO_FILE[0])
        except OSError:
            stamps.append(_NO_FILE[1])
    lines = [f"{file.path.absolute()} {stamp}" for file, stamp in zip(files, stamps, strict=True)]
    index = cache / f"{digest_of('index', VERSION, *lines)}.index"
    try:
        digests = index.read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        digests = []
    if len(digests) != len(files):
        task = progress.add_task(f"{title}: reading", total=len(files))
        with ThreadPoolExecutor(min(8, num_cores() * 2)) as pool:
            digests = []
            for digest in pool.map(_hash_file, files, stamps):
                digests.append(digest)
                progress.advance(task)
        progress.remove_task(task)
        # What could not be read today may be readable tomorrow, with the same date.
        if all(
            stamp in _NO_FILE or digest != _NO_HASH for digest, stamp in zip(digests, stamps, strict=True)
        ):
            try:
                write_text(index, "\n".join(digests))
            except OSError as error:
                raise ValueError(
                    f"`{cache}` cannot be written to ({error.strerror or error}); set HARNESS_CACHE to a "
                    "folder for decoded images."
                ) from error
    return sorted(zip(digests, files, strict=True), key=lambda pair: (pair[1].group, pair[0], pair[1].name))


def _hash_file(file: ImageFile, stamp: str) -> str:
    if stamp in _NO_FILE:
        return _NO_HASH
    try:
        with file.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()[:32]
    except OSError:
        return _NO_HASH


def _decode_all(
    files: Sequence[ImageFile],
    target: Path,
    sample_shape: tuple[int, int, int],
    title: str,
    num_processes: int | None,
    progress: Any,
) -> dict[str, Any]:
    """Fill `target` and tell what happened."""
    shape = (len(files), *sample_shape)
    if num_processes is None:
        num_processes = min(num_cores(), _MAX_PROCESSES) if _is_much(files) else 1
    tasks = [
        (target, shape, start, [file.path for file in files[start : start + _CHUNK]])
        for start in range(0, len(files), _CHUNK)
    ]
    unreadable: dict[int, str] = {}
    remarks: Counter[str] = Counter()
    reserve(target, shape)
    bar = progress.add_task(f"{title}: decoding", total=len(files))
    for done, (found, told) in _results(tasks, num_processes):
        unreadable |= found
        remarks += told
        progress.advance(bar, done)
    progress.remove_task(bar)
    notes = [f"{plural(remarks[key], 'image')} {text}" for key, text in REMARKS.items() if remarks[key]]
    named = sorted((files[row].name, reason) for row, reason in unreadable.items())
    if len(unreadable) == len(files):
        reasons = listed([f"{legible(name)} ({reason})" for name, reason in named], _SHOWN)
        raise ValueError(
            f"{title}: none of {plural(len(files), 'file')} can be read as an image: {reasons}; copy "
            "those again that are damaged, save the others as 8-bit PNG, or name another folder."
        )
    drop_rows(target, math.prod(sample_shape), len(files), set(unreadable))
    return {
        "shape": [len(files) - len(unreadable), *sample_shape],
        "dropped": sorted(unreadable),
        "unreadable": named,
        "notes": notes,
    }


def _keep_names(path: Path, named: Sequence[str]) -> Path | None:
    """A file with a line a name, written anew where it is not what it should be; None where there is none."""
    text = "".join(f"{name}\n" for name in named)
    try:
        if not text:
            path.unlink(missing_ok=True)
            return None
        if not path.exists() or path.read_bytes() != text.encode():
            write_text(path, text)
    except OSError:
        return None  # a cache that may only be read
    return path


def _is_much(files: Sequence[ImageFile]) -> bool:
    return len(files) >= _POOL_FROM_FILES or (
        sum(file.path.stat().st_size for file in files if file.path.exists()) >= _POOL_FROM_BYTES
    )


def _results(
    tasks: list[tuple[Path, tuple[int, int, int, int], int, list[Path]]], num_processes: int
) -> Iterable[tuple[int, tuple[dict[int, str], Counter[str]]]]:
    """Each task's number of files and result, as they come."""
    left = dict(enumerate(tasks))
    if num_processes > 1:
        # Forking a process whose libraries run threads can hang it, so each starts anew. Where that cannot
        # be, in a script without a main guard or one read from a pipe, the rest is decoded here.
        try:
            with ProcessPoolExecutor(num_processes, mp_context=get_context("spawn")) as pool:
                futures: dict[Future[Any], int] = {
                    pool.submit(decode_rows, *task): number for number, task in enumerate(tasks)
                }
                for future in as_completed(futures):
                    result = future.result()
                    yield len(left.pop(futures[future])[3]), result
        except BrokenProcessPool:
            pass
    for task in left.values():
        yield len(task[3]), decode_rows(*task)
