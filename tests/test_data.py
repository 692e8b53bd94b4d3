"""Data sets: the mixtures drawn, the split, and every way in which a file of points can be wrong."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.data import Dataset, Mixture, load_dataset
from harness.data.points import four_gaussians
from harness.data.points_file import read_points
from harness.diagnostics.fidelity import sliced_w2
from harness.recipe import Choice, choose
from harness.registry import datasets

REAL_FILE = Path(__file__).parents[1] / "../shared/data/points.mat"


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


# The sets made here


@pytest.mark.parametrize("name", ["points", "ring", "grid"])
def test_every_made_set_has_7000_points_to_train_on_and_1192_held_out(name: str) -> None:
    data = load(name)
    assert (data.name, data.kind, data.num_classes) == (name, "points", 0)
    assert (data.train.shape, data.test.shape, data.sample_shape) == ((7000, 2), (1192, 2), (2,))
    assert data.train.dtype == data.test.dtype == torch.float32
    assert data.train_labels is None
    assert data.test_labels is None
    assert bool(torch.isfinite(data.train).all())
    assert data.mixture is not None


def test_points_has_the_moments_of_the_mixture_and_2048_points_a_part() -> None:
    data = load("points")
    everything = torch.cat([data.train, data.test]).double().numpy()
    np.testing.assert_allclose(everything.mean(axis=0), [0.660, 0.470], atol=1e-3)
    np.testing.assert_allclose(everything.std(axis=0), [0.358, 0.079], atol=1e-3)
    for part in (data.train, data.test):
        np.testing.assert_allclose(part.mean(dim=0), [0.660, 0.470], atol=0.01)
        np.testing.assert_allclose(part.std(dim=0), [0.358, 0.079], rtol=0.03)
    _, nearest = four_gaussians().nearest_part(everything)
    np.testing.assert_allclose(np.bincount(nearest), 2048, rtol=0.04)


def test_the_four_gaussians_have_the_stated_axes_and_the_moments_of_the_whole() -> None:
    mixture = four_gaussians()
    variances, axes = np.linalg.eigh(mixture.covariances)
    np.testing.assert_allclose(np.sqrt(variances[:, 1]), [0.1025, 0.1017, 0.0940, 0.1043])
    np.testing.assert_allclose(np.sqrt(variances[:, 0]), [0.0269, 0.0163, 0.0348, 0.0282])
    degrees = np.degrees(np.arctan2(axes[:, 1, 1], axes[:, 0, 1])) % 180
    np.testing.assert_allclose(degrees, [40.6, 142.2, 31.8, 123.0])
    np.testing.assert_allclose(mixture.mean, [0.660, 0.470], atol=5e-4)
    np.testing.assert_allclose(np.sqrt(np.diag(mixture.covariance)), [0.358, 0.079], atol=5e-4)


def test_a_mixture_draws_what_it_says() -> None:
    mixture = four_gaussians()
    drawn = mixture.draw(np.full(4, 50_000), 3)
    np.testing.assert_allclose(drawn.mean(axis=0), mixture.mean, atol=1e-3)
    np.testing.assert_allclose(np.cov(drawn.T), mixture.covariance, atol=1e-3)
    np.testing.assert_allclose(np.cov(drawn[:50_000].T), mixture.covariances[0], atol=2e-4)
    assert np.array_equal(drawn, mixture.draw(np.full(4, 50_000), 3))
    assert not np.array_equal(drawn, mixture.draw(np.full(4, 50_000), 4))


def test_the_nearest_part_is_by_mahalanobis_distance() -> None:
    mixture = Mixture(
        names=("wide", "narrow"),
        means=np.array([[0.0, 0.0], [4.0, 0.0]]),
        covariances=np.array([np.diag([4.0, 1.0]), np.diag([0.25, 1.0])]),
        weights=np.array([0.5, 0.5]),
    )
    distance, part = mixture.nearest_part(np.array([[2.5, 0.0], [4.5, 0.0], [0.0, -2.0]]))
    assert part.tolist() == [0, 1, 0]
    np.testing.assert_allclose(distance, [1.25, 1.0, 2.0])


def test_the_ring_has_its_modes_on_the_circle() -> None:
    data = load("ring", modes=5, radius=3.0, sd=0.02, num_points=1003)
    assert data.mixture is not None
    assert len(data.mixture) == 5
    np.testing.assert_allclose(np.linalg.norm(data.mixture.means, axis=1), 3.0)
    everything = torch.cat([data.train, data.test]).double().numpy()
    assert len(everything) == 1003
    distance, part = data.mixture.nearest_part(everything)
    assert np.bincount(part).tolist() == [201, 201, 201, 200, 200]
    assert (distance**2).mean() == pytest.approx(2.0, rel=0.1)


def test_the_grid_is_centred_with_its_step() -> None:
    data = load("grid")
    assert data.mixture is not None
    assert sorted(set(data.mixture.means[:, 0])) == [-4, -2, 0, 2, 4]
    assert len({tuple(mean) for mean in data.mixture.means.tolist()}) == 25
    distance, _ = data.mixture.nearest_part(data.train.double().numpy())
    assert (distance**2).mean() == pytest.approx(2.0, rel=0.05)
    np.testing.assert_allclose(data.mixture.covariances[7], 0.05**2 * np.eye(2))


@pytest.mark.parametrize("name", ["points", "ring", "grid"])
def test_a_set_is_the_same_every_time_and_its_fingerprint_says_so(name: str) -> None:
    choice = choose(datasets, name)
    first = datasets[name](**choice.options)
    second = datasets[name](**choice.options)
    assert torch.equal(first.train, second.train)
    assert first.fingerprint == second.fingerprint == load_dataset(choice).fingerprint
    assert re.fullmatch(r"[0-9a-f]{16}", first.fingerprint)


def test_fingerprints_differ_where_the_data_do() -> None:
    prints = {load("points").fingerprint, load("ring").fingerprint, load("ring", sd=0.02).fingerprint}
    assert len(prints) == 3


def test_a_data_set_is_made_once_a_process() -> None:
    assert load("points") is load("points")


def test_moving_a_data_set_keeps_what_it_is() -> None:
    data = load("points")
    moved = data.to("meta")
    assert moved.train.device.type == moved.test.device.type == "meta"
    assert (moved.fingerprint, moved.mixture, moved.name) == (data.fingerprint, data.mixture, data.name)


def test_an_unknown_data_set_offers_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean `points`"):
        load_dataset(Choice(name="pionts", options={}))


# Files


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
@pytest.mark.parametrize("suffix", [".mat", ".npy", ".csv"])
def test_a_number_that_is_not_finite_in_single_precision_is_refused(
    tmp_path: Path, suffix: str, bad: float
) -> None:
    points = cloud()
    points[6, 1] = points[9, 0] = bad
    file = tmp_path / f"a{suffix}"
    if suffix == ".mat":
        scipy.io.savemat(file, {"xx": points})
    elif suffix == ".npy":
        np.save(file, points)
    else:
        np.savetxt(file, points, delimiter=",")
    message = refusal(file)
    assert f"row 7, column `1` is {bad:g} (2 of 200 rows are not finite)" in message
    assert "remove those rows" in message


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
    for size in range(1, len(content), 1 + len(content) // 300):
        file.write_bytes(content[:size])
        read, message = outcome(file)
        if read is None:
            refused += 1
            assert str(file) in message
        else:
            assert suffix == ".csv", f"{size} of {len(content)} bytes were taken for the whole"
            assert len(read) < len(points) or size > len(content) - 25
    assert refused > 0


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    position=st.floats(0, 1, exclude_max=True),
    junk=st.binary(max_size=40),
    suffix=st.sampled_from([".mat", ".npy"]),
)
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_file_is_refused_cleanly_or_read_as_points(
    tmp_path: Path, position: float, junk: bytes, suffix: str
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
