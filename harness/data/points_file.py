"""`points-file`: points in the plane from a .mat, .npy or .csv file of the user's.

Every way in which such a file can be wrong ends in a ValueError of one line: path, what is wrong, fix.
"""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from harness.data.dataset import TEST_SHARE, Dataset, from_points
from harness.recipe.registry import Bounds, datasets, nearest
from harness.words import listed, plural

__all__ = ["points_file", "read_points"]

_HDF5 = b"\x89HDF\r\n\x1a\n"
_SHOWN = 20

# `except Exception` below stands around parsers of SciPy and NumPy alone: they raise whatever the damage of a
# file leads to, TypeError, zlib.error, TokenError, MemoryError and more.

Array = NDArray[np.float64]


@datasets.register("points-file")
def points_file(
    *,
    path: str = "",
    key: str = "xx",
    columns: str = "0,1",
    test_share: Annotated[float, Bounds(low=0.0, high=1.0, open_low=True, open_high=True)] = TEST_SHARE,
) -> Dataset:
    """Points from `path`, a .mat (variable `key`), .npy or .csv; `columns` by number or header name.

    The rows are shuffled and split by a fixed seed. Nothing is known of a mixture behind them, so the scores
    that need one are not given.

    Args:
        path: the file; a relative path starts from the current folder.
        key: the variable of a .mat file.
        columns: two of them, parted by a comma.
        test_share: share of the rows held out.

    Raises:
        ValueError: a file that cannot be used, or too few points in it.
    """
    points = read_points(path, key=key, columns=columns)
    try:
        return from_points("points-file", points, test_share=test_share)
    except ValueError as error:
        raise ValueError(f"`{path}`: {str(error).replace('`test_share`', '`data.test_share`')}") from error


def read_points(path: str, *, key: str = "xx", columns: str = "0,1") -> Array:
    """Two columns of numbers from a file.

    Args:
        path: a .mat file (MATLAB 4 to 7.2), a .npy file or a .csv file with a header or without. Columns of a
            .csv are parted by commas, semicolons or tabs.
        key: the variable of a .mat file; other files have none.
        columns: two columns parted by a comma: numbers from 0, or names in the header of a .csv.

    Returns:
        (N, 2) float64, finite also as float32.

    Raises:
        ValueError: a missing, unreadable, damaged or unfit file.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (".mat", ".npy", ".csv"):
        raise ValueError(f"`data.path` must name a .mat, .npy or .csv file, but got {path!r}.")
    try:
        file = Path(path).expanduser()
        with file.open("rb") as stream:
            head = stream.read(1024)
    except FileNotFoundError:
        raise ValueError(
            f"`{path}` does not exist; check `data.path` (a relative path starts from the current folder)."
        ) from None
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ValueError(
            f"`{path}` cannot be read: {reason}; check `data.path` and its permissions."
        ) from error
    if not head:
        raise ValueError(f"`{path}` is empty; write the points to it again.")
    header: list[str] = []
    if suffix == ".mat":
        table = _read_mat(file, path, key, head)
        holds = f"`{key}` in `{path}`"
    elif suffix == ".npy":
        table = _read_npy(file, path)
        holds = f"`{path}`"
    else:
        table, header = _read_csv(file, path)
        holds = f"`{path}`"
    return _choose(_as_matrix(table, holds), columns, header, holds)


def _read_mat(file: Path, path: str, key: str, head: bytes) -> Any:
    import scipy.io

    if head.startswith(b"MATLAB 7.3") or _HDF5 in (head[:8], head[512:520]):
        raise ValueError(
            f"`{path}` is a v7.3 (HDF5) file, which is not read here; "
            f"in MATLAB, save it again with save('{Path(path).name}', '{key}', '-v7')."
        )
    _check_that_reading_ends_well(file, path, key)
    try:
        names = [str(name) for name, _, _ in scipy.io.whosmat(str(file))]
    except Exception as error:
        raise ValueError(_damaged(path, "MATLAB", error)) from error
    if key not in names:
        hint = nearest(key, names) or "."
        raise ValueError(
            f"`{path}` holds no variable `{key}`{hint} It holds: {_listed(names)}. Name one with `data.key`."
        )
    try:
        return scipy.io.loadmat(str(file), variable_names=[key])[key]
    except Exception as error:
        raise ValueError(_damaged(path, "MATLAB", error)) from error


def _check_that_reading_ends_well(file: Path, path: str, key: str) -> None:
    """Read the file in a process of its own first: SciPy's reader can crash outright on a damaged one."""
    script = "import sys, scipy.io; scipy.io.loadmat(sys.argv[1], variable_names=[sys.argv[2]])"
    done = subprocess.run(
        [sys.executable, "-c", script, str(file), key],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode < 0:
        raise ValueError(_damaged(path, "MATLAB", ValueError("its reader crashed")))


def _read_npy(file: Path, path: str) -> Any:
    try:
        return np.load(file, allow_pickle=False)
    except Exception as error:
        if "allow_pickle" in str(error):
            raise ValueError(
                f"`{path}` holds Python objects, which are not read here; save a plain matrix with np.save."
            ) from error
        raise ValueError(_damaged(path, "NumPy", error)) from error


def _read_csv(file: Path, path: str) -> tuple[Array, list[str]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            first = next((line for line in stream if line.strip()), "")
            stream.seek(0)
            delimiter = max(",;\t", key=first.count)
            reader = csv.reader(stream, delimiter=delimiter)
            rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise ValueError(_damaged(path, "CSV", error)) from error
    if not rows:
        raise ValueError(f"`{path}` holds no rows; write the points to it again.")
    header: list[str] = []
    if all(_number(cell) is None for cell in rows[0][1]):
        header = [" ".join(cell.split()) for cell in rows.pop(0)[1]]
    width = len(header or rows[0][1])
    numbers = np.empty((len(rows), width))
    for index, (line, row) in enumerate(rows):
        if len(row) != width:
            raise ValueError(
                f"`{path}` line {line} has {plural(len(row), 'column')}, but the file starts with {width}; "
                "give every line the same."
            )
        for column, cell in enumerate(row):
            value = _number(cell)
            if value is None:
                name = header[column] if header else column
                raise ValueError(
                    f"`{path}` line {line}, column `{name}` must be a number, but is {cell.strip()[:40]!r}."
                )
            numbers[index, column] = value
    return numbers, header


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _as_matrix(table: Any, holds: str) -> Array:
    array = np.asarray(table)
    if array.dtype.kind not in "iuf":
        kind = {"c": "complex numbers", "b": "true/false values", "U": "text", "V": "records"}
        held = type(table).__name__ if array.ndim == 0 else kind.get(array.dtype.kind, str(array.dtype))
        raise ValueError(
            f"{holds} must be a matrix of real numbers, but holds {held}; save it as a dense matrix."
        )
    if array.ndim != 2:
        raise ValueError(
            f"{holds} must be a matrix with one point a row, but has shape {array.shape}; save it as (N, 2)."
        )
    if len(array) <= 2 < array.shape[1]:
        raise ValueError(
            f"{holds} has one point a column, shape {array.shape}, but needs one a row; save its transpose."
        )
    return array.astype(np.float64)


def _choose(matrix: Array, columns: str, header: list[str], holds: str) -> Array:
    """The two columns named, checked."""
    width = matrix.shape[1]
    named = [" ".join(name.split()) for name in columns.split(",")]
    there = (
        f"It has the columns {_listed(header)}."
        if header
        else f"It has {plural(width, 'column')} without names: {_listed([str(i) for i in range(width)])}."
    )
    if len(named) != 2 or named[0] == named[1]:
        raise ValueError(
            f"`data.columns` must name two different columns of {holds}, but got {columns!r}. {there}"
        )
    indices: list[int] = []
    for name in named:
        if name in header:
            indices.append(header.index(name))
        elif name.isascii() and name.isdigit() and int(name) < width:
            indices.append(int(name))
        else:
            hint = nearest(name, header) or "."
            raise ValueError(f"`data.columns`: {holds} has no column `{name}`{hint} {there}")
    if indices[0] == indices[1]:
        raise ValueError(
            f"`data.columns` must name two different columns of {holds}, but got {columns!r}. {there}"
        )
    points = matrix[:, indices]
    with np.errstate(over="ignore"):
        finite = np.isfinite(points.astype(np.float32))
    if not finite.all():
        row, column = (int(index) for index in np.argwhere(~finite)[0])
        raise ValueError(
            f"{holds} must be finite, but row {row + 1}, column `{named[column]}` is {points[row, column]:g} "
            f"({int((~finite).any(axis=1).sum())} of {len(points)} rows are not finite); remove those rows."
        )
    if len(points) > 1 and bool((points == points[0]).all()):
        raise ValueError(f"{holds} holds {len(points)} rows with one and the same point; give more points.")
    return points


def _damaged(path: str, kind: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:120] or type(error).__name__
    return f"`{path}` is damaged or no {kind} file ({reason}); copy or save it again."


def _listed(names: list[str]) -> str:
    return listed([f"`{name}`" for name in names], _SHOWN) or "nothing"
