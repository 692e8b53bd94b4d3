"""Files of points: what is read, and every way in which one can be wrong."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.data import Dataset, load_dataset
from harness.data.points import four_gaussians
from harness.data.points_file import read_points
from harness.recipe import choose
from harness.recipe.registry import datasets
from support.points import sliced_w2

REAL_FILE = Path(__file__).parents[2] / "../shared/data/points.mat"


def load(name: str, **options: bool | int | float | str) -> Dataset:
    return load_dataset(choose(datasets, name, **options))


def cloud(rows: int = 200, columns: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, columns))


def refusal(path: Path | str, **options: str) -> str:
    """The message with which a file is refused: one line that names the file."""
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        read_points(str(path), **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def outcome(path: Path) -> tuple[np.ndarray | None, str]:
    """The points in a file, or the one line with which it is refused."""
    try:
        return read_points(str(path)), ""
    except ValueError as error:
        message = str(error)
    assert "\n" not in message
    return None, message


def test_a_file_is_read_the_same_from_every_format(tmp_path: Path) -> None:
    points = cloud()
    scipy.io.savemat(tmp_path / "a.mat", {"xx": points, "other": cloud(3, 3)})
    scipy.io.savemat(tmp_path / "small.mat", {"xx": points}, do_compression=True, format="5")
    scipy.io.savemat(tmp_path / "old.mat", {"xx": points}, format="4")
    np.save(tmp_path / "a.npy", points)
    np.savetxt(tmp_path / "a.csv", points, delimiter=",")
    np.savetxt(tmp_path / "named.csv", points, delimiter=";", header="x;y", comments="")
    for file in tmp_path.iterdir():
        np.testing.assert_allclose(read_points(str(file)), points, err_msg=file.name)


def test_columns_are_named_by_number_or_by_header(tmp_path: Path) -> None:
    points = cloud(columns=3)
    table = tmp_path / "table.csv"
    table.write_text("\ufefftime, x , y\n\n" + "\n".join(",".join(map(repr, row)) for row in points.tolist()))
    np.testing.assert_array_equal(read_points(str(table), columns="x,y"), points[:, 1:])
    np.testing.assert_array_equal(read_points(str(table), columns="y, time"), points[:, [2, 0]])
    np.testing.assert_array_equal(read_points(str(table), columns="2,0"), points[:, [2, 0]])
    np.save(tmp_path / "table.npy", points)
    np.testing.assert_array_equal(read_points(str(tmp_path / "table.npy"), columns="2,1"), points[:, [2, 1]])


def test_integers_and_single_precision_are_numbers_too(tmp_path: Path) -> None:
    whole = np.arange(80).reshape(40, 2)
    for kind in ("int16", "uint8", "float32"):
        np.save(tmp_path / "a.npy", whole.astype(kind))
        assert read_points(str(tmp_path / "a.npy")).tolist() == whole.tolist()


def test_the_split_of_a_file_is_proportional_seeded_and_loses_nothing(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", cloud(8192))
    data = load("points-file", path=str(tmp_path / "a.npy"))
    assert (len(data.train), len(data.test)) == (7000, 1192)
    assert data.mixture is None
    np.save(tmp_path / "b.npy", cloud(1000))
    file = str(tmp_path / "b.npy")
    small = load("points-file", path=file)
    assert (len(small.train), len(small.test)) == (854, 146)
    half = load("points-file", path=file, test_share=0.5)
    assert (len(half.train), len(half.test)) == (500, 500)
    together = torch.cat([half.train, half.test]).numpy()
    expected = cloud(1000).astype(np.float32)
    assert sorted(together.tolist()) == sorted(expected.tolist())
    assert not np.array_equal(together, expected)


def test_a_file_that_changes_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "a.npy"
    np.save(file, cloud(300))
    first = load("points-file", path=str(file))
    np.save(file, cloud(400))
    second = load("points-file", path=str(file))
    assert len(second.train) > len(first.train)
    assert first.fingerprint != second.fingerprint


def test_a_path_that_is_empty_or_of_another_kind_is_refused() -> None:
    for path in ("", "points.txt", "points.npz", "points"):
        with pytest.raises(ValueError, match=r"`data\.path` must name a \.mat, \.npy or \.csv file, but got"):
            read_points(path)


@pytest.mark.parametrize("suffix", [".mat", ".npy", ".csv"])
def test_a_missing_file_a_folder_and_an_empty_file_are_refused(tmp_path: Path, suffix: str) -> None:
    assert "does not exist; check `data.path`" in refusal(tmp_path / f"gone{suffix}")
    folder = tmp_path / f"folder{suffix}"
    folder.mkdir()
    assert "cannot be read: Is a directory" in refusal(folder)
    empty = tmp_path / f"empty{suffix}"
    empty.touch()
    assert "is empty" in refusal(empty)


def test_a_path_with_a_null_byte_is_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        read_points("a\0b.npy")


def test_a_v73_file_is_refused_with_the_command_that_saves_it_again(tmp_path: Path) -> None:
    file = tmp_path / "new.mat"
    banner = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jan 1 00:00:00 2024 HDF5 schema 1.00 ."
    signature = b"\x89HDF\r\n\x1a\n"
    header = banner.ljust(124, b" ") + b"\x00\x02IM"
    for content in (header.ljust(512, b"\0") + signature, signature + b"\0" * 600, header):
        file.write_bytes(content)
        message = refusal(file)
        assert "v7.3 (HDF5)" in message
        assert "save('new.mat', 'xx', '-v7')" in message


def test_a_variable_that_is_not_there_lists_those_that_are(tmp_path: Path) -> None:
    file = tmp_path / "a.mat"
    scipy.io.savemat(file, {"points": cloud(), "labels": cloud()})
    assert "It holds: `points`, `labels`. Name one with `data.key`." in refusal(file)
    assert "did you mean `points`?" in refusal(file, key="point")
    scipy.io.savemat(file, {})
    assert "It holds: nothing." in refusal(file)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (np.arange(9.0).reshape(3, 3)[:, :1], "It has 1 column without names: `0`."),
        (np.zeros((4, 3, 2)), "has shape (4, 3, 2); save it as (N, 2)"),
        (cloud(2, 50), "save its transpose"),
        (cloud() + 1j, "holds complex numbers"),
        ("a text", "holds text"),
        (np.array([[1, "x"], [2, "y"]], dtype=object), "real numbers, but holds"),
        ({"inner": 1.0}, "holds"),
    ],
)
def test_a_variable_that_is_no_matrix_of_points_is_refused(
    tmp_path: Path, value: object, complaint: str
) -> None:
    file = tmp_path / "a.mat"
    scipy.io.savemat(file, {"xx": value})
    assert complaint in refusal(file)


def test_a_sparse_variable_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.mat"
    scipy.io.savemat(file, {"xx": scipy.sparse.csc_array(np.eye(30))})
    assert "save it as a dense matrix" in refusal(file)


def test_a_vector_and_python_objects_in_npy_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.npy"
    np.save(file, np.arange(10.0))
    assert "has shape (10,); save it as (N, 2)" in refusal(file)
    np.save(file, np.array([{}, []], dtype=object), allow_pickle=True)
    assert "holds Python objects" in refusal(file)
    np.save(file, np.zeros(3, dtype=[("x", float), ("y", float)]))
    assert "holds records" in refusal(file)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_a_number_that_is_not_finite_in_single_precision_is_refused(tmp_path: Path, bad: float) -> None:
    points = cloud()
    points[6, 1] = points[9, 0] = bad
    np.save(tmp_path / "a.npy", points)
    np.savetxt(tmp_path / "a.csv", points, delimiter=",")
    for name in ("a.npy", "a.csv"):
        message = refusal(tmp_path / name)
        assert f"row 7, column `1` is {bad:g} (2 of 200 rows are not finite)" in message
        assert "remove those rows" in message


def test_a_number_that_is_not_finite_in_a_mat_file_is_refused(tmp_path: Path) -> None:
    points = cloud()
    points[6, 1] = np.nan
    scipy.io.savemat(tmp_path / "a.mat", {"xx": points})
    assert "row 7, column `1` is nan (1 of 200 rows are not finite)" in refusal(tmp_path / "a.mat")


@pytest.mark.parametrize("columns", ["0", "0,1,2", "", "1,1", "0,2", "0,-1", "x,y", "0,1.5", "²,1"])
def test_columns_that_are_not_there_list_those_that_are(tmp_path: Path, columns: str) -> None:
    file = tmp_path / "a.npy"
    np.save(file, cloud())
    message = refusal(file, columns=columns)
    assert "`data.columns`" in message
    assert "It has 2 columns without names: `0`, `1`." in message


def test_a_header_that_lacks_a_column_offers_the_nearest(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("time,left,right\n" + "1,2,3\n2,3,4\n" * 50)
    message = refusal(file, columns="left,rihgt")
    assert "has no column `rihgt`; did you mean `right`?" in message
    assert "It has the columns `time`, `left`, `right`." in message
    assert "two different columns" in refusal(file, columns="left,1")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("x,y\n1,2\n3\n", "line 3 has 1 column, but the file starts with 2"),
        ("x,y\n1,2\n3,four\n", "line 3, column `y` must be a number, but is 'four'"),
        ("1,2\n3,\n", "line 2, column `1` must be a number, but is ''"),
        ("x,y\n", "data.columns"),
        ("\n \n", "holds no rows"),
        ("1,2\n1,2\n", "holds 2 rows with one and the same point"),
    ],
)
def test_a_broken_csv_says_where(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "a.csv"
    file.write_text(text)
    if complaint == "data.columns":
        assert read_points(str(file), columns="x,y").shape == (0, 2)
        return
    assert complaint in refusal(file)


def test_a_csv_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b"\xff\xfe\x00\x81,\x90\n" * 20)
    assert "is damaged or no CSV file" in refusal(file)


@pytest.mark.parametrize("rows", [1, 19, 100, 137])
def test_a_file_with_too_few_rows_says_the_minimum(tmp_path: Path, rows: int) -> None:
    file = tmp_path / "a.npy"
    np.save(file, cloud(rows) + np.arange(rows)[:, None])
    if rows == 137:
        assert len(load("points-file", path=str(file)).test) == 20
        return
    with pytest.raises(ValueError, match="at least 20") as caught:
        load("points-file", path=str(file))
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 2])
def test_a_test_share_outside_of_its_bounds_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=r"`test_share` must be in \(0, 1\)"):
        choose(datasets, "points-file", path="a.npy", test_share=share)


@pytest.mark.parametrize("suffix", [".mat", ".npy", ".csv"])
def test_a_file_cut_short_anywhere_is_refused_or_read_whole(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"a{suffix}"
    points = cloud()
    if suffix == ".mat":
        scipy.io.savemat(file, {"yy": cloud(50), "xx": points}, do_compression=True)
    elif suffix == ".npy":
        np.save(file, points)
    else:
        np.savetxt(file, points, delimiter=",")
    content = file.read_bytes()
    refused = 0
    num_sizes = 12 if suffix == ".mat" else 300  # a .mat file is read in a process of its own
    for size in range(1, len(content), 1 + len(content) // num_sizes):
        file.write_bytes(content[:size])
        read, message = outcome(file)
        if read is None:
            refused += 1
            assert str(file) in message
        else:
            assert suffix == ".csv", f"{size} of {len(content)} bytes were taken for the whole"
            assert len(read) < len(points) or size > len(content) - 25
    assert refused > 0


@pytest.mark.parametrize("suffix", [".mat", ".npy"])
@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(position=st.floats(0, 1, exclude_max=True), junk=st.binary(max_size=40))
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_file_is_refused_cleanly_or_read_as_points(
    tmp_path: Path, suffix: str, position: float, junk: bytes
) -> None:
    file = tmp_path / f"a{suffix}"
    if suffix == ".mat":
        scipy.io.savemat(file, {"xx": cloud(40)}, do_compression=len(junk) % 2 == 0)
    else:
        np.save(file, cloud(40))
    content = bytearray(file.read_bytes())
    start = int(position * len(content))
    content[start : start + len(junk)] = junk
    file.write_bytes(bytes(content))
    points, message = outcome(file)
    if points is None:
        assert str(file) in message
    else:
        assert points.shape[1] == 2
        assert np.isfinite(points).all()


def test_a_file_that_crashes_its_reader_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.mat"
    scipy.io.savemat(file, {"xx": cloud(40)})
    killed = subprocess.CompletedProcess([], returncode=-signal.SIGSEGV)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: killed)
    points, message = outcome(file)
    assert points is None
    assert f"`{file}`" in message
    assert "its reader crashed" in message


@pytest.mark.skipif(not REAL_FILE.is_file(), reason="the file that the mixture describes is not here")
def test_the_embedded_mixture_agrees_with_the_file_it_describes() -> None:
    data = load("points-file", path=str(REAL_FILE))
    made = load("points")
    assert (len(data.train), len(data.test)) == (7000, 1192)
    everything = torch.cat([data.train, data.test]).double().numpy()
    np.testing.assert_allclose(everything.mean(axis=0), [0.660, 0.470], atol=1e-3)
    np.testing.assert_allclose(everything.std(axis=0), [0.358, 0.079], atol=1e-3)
    assert sliced_w2(data.test.numpy(), made.test.numpy()) < 0.03
    assert sliced_w2(data.train.numpy(), made.train.numpy()) < 0.012
    parts = [read_points(str(REAL_FILE), key=name) * 0.04 + 0.5 for name in four_gaussians().names]
    for part, mean, covariance in zip(
        parts, four_gaussians().means, four_gaussians().covariances, strict=True
    ):
        np.testing.assert_allclose(part.mean(axis=0), mean, atol=1e-4)
        np.testing.assert_allclose(np.cov(part.T), covariance, atol=3e-5)
