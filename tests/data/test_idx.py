"""idx files: what is read, where it is looked for, and the one line said of each thing that is wrong."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
import torchvision.datasets

from harness.data import Dataset, load_dataset
from harness.data.idx import find_idx_files, read_idx_part
from harness.recipe import choose
from harness.recipe.registry import datasets
from support.idx_files import encode, parts, write


@pytest.fixture(autouse=True)
def _nowhere(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No data folder, no download, and a cache of the test's own."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    for name in ("HARNESS_DATA", "HARNESS_DOWNLOAD", "HARNESS_CACHE"):
        monkeypatch.delenv(name, raising=False)


def load(name: str = "mnist", **options: bool | int | float | str) -> Dataset:
    return load_dataset(choose(datasets, name, **options))


@pytest.mark.parametrize(("suffix", "mark"), [("", "-"), (".gz", "-"), ("", "."), (".gz", ".")])
def test_plain_and_gzipped_files_are_read_alike(tmp_path: Path, suffix: str, mark: str) -> None:
    arrays = parts()
    data = load(root=str(write(tmp_path, arrays, suffix, mark)))
    assert (data.kind, data.sample_shape, data.num_classes) == ("images", (1, 28, 28), 10)
    assert data.train.dtype == torch.uint8
    assert np.array_equal(data.train[:, 0].numpy(), arrays["train-images"])
    assert np.array_equal(data.test[:, 0].numpy(), arrays["t10k-images"])
    assert data.train_labels is not None
    assert data.test_labels is not None
    assert data.train_labels.tolist() == arrays["train-labels"].tolist()
    assert data.test_labels.tolist() == arrays["t10k-labels"].tolist()
    assert data.train_labels.dtype == torch.int64


def test_a_gzipped_file_without_the_suffix_is_read(tmp_path: Path) -> None:
    arrays = parts()
    write(tmp_path, arrays)
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert np.array_equal(load(root=str(tmp_path)).train[:, 0].numpy(), arrays["train-images"])


@pytest.mark.parametrize("below", ["mnist", "MNIST/raw", "."])
def test_a_set_is_found_below_the_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    write(tmp_path / below, parts(num_train=61))
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    assert len(load().train) == 61


def test_another_data_folder_is_another_set_in_the_same_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for count in (50, 70):
        write(tmp_path / str(count) / "fashion-mnist", parts(num_train=count))
        monkeypatch.setenv("HARNESS_DATA", str(tmp_path / str(count)))
        assert len(load("fashion-mnist").train) == count


def test_the_fingerprint_does_not_depend_on_where_files_lie(tmp_path: Path) -> None:
    here, there = write(tmp_path / "here", parts()), write(tmp_path / "there", parts(), ".gz")
    assert load(root=str(here)).fingerprint == load(root=str(there)).fingerprint


def test_a_missing_set_says_where_it_was_looked_for_and_three_ways_to_provide_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "data"))
    with pytest.raises(ValueError, match="in none of the places looked at") as caught:
        load("mnist")
    message = str(caught.value)
    assert "\n" not in message
    for place in ("data/mnist", "data/MNIST/raw", "harness/data/mnist", "/usr/share/datasets/mnist"):
        assert place in message
    for way in (
        "HARNESS_DATA (or `data.root`)",
        "copy its four idx files (plain or gzipped) to",
        "HARNESS_DOWNLOAD=1",
    ):
        assert way in message
    with pytest.raises(ValueError, match="apt-get install dataset-fashion-mnist"):
        load("fashion-mnist", root=str(tmp_path / "none"))
    with pytest.raises(ValueError, match=r"copy cifar-10-batches-py, .* to .*/harness/data/cifar10;"):
        load("cifar10", root=str(tmp_path / "none"))


def test_a_root_is_the_only_place_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_DATA", str(write(tmp_path / "data", parts())))
    with pytest.raises(ValueError, match="in none of the places") as caught:
        load(root=str(tmp_path / "elsewhere"))
    assert str(tmp_path / "data") not in str(caught.value)


def test_an_incomplete_set_names_the_file_that_lacks(tmp_path: Path) -> None:
    write(tmp_path, parts())
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(ValueError, match="holds 3 of the four idx files, but no t10k-labels-idx1-ubyte"):
        load(root=str(tmp_path))


def bad_magic(content: bytes) -> bytes:
    return b"\x89PNG" + content[4:]


def cut(content: bytes) -> bytes:
    return content[:-5]


def header_only(content: bytes) -> bytes:
    return content[:6]


def longer(content: bytes) -> bytes:
    return content + b"\0"


def nothing(content: bytes) -> bytes:
    return b""


def no_rows(content: bytes) -> bytes:
    return content[:4] + bytes(4) + content[8:16]


def damaged_gzip(content: bytes) -> bytes:
    return gzip.compress(content)[:-20]


def broken_gzip(content: bytes) -> bytes:
    packed = bytearray(gzip.compress(content))
    packed[20:40] = bytes(20)
    return bytes(packed)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (bad_magic, "is no idx file of images: it starts with 0x89504e47, but should with 0x00000803"),
        (cut, r"is too short: shape \(60, 28, 28\) takes 47040 bytes, but 47035 follow"),
        (header_only, "is short: it ends within its header, after 6 bytes"),
        (longer, "is too long"),
        (nothing, r"it starts with 0x\(nothing\)"),
        (no_rows, r"is empty: its header says shape \(0, 28, 28\)"),
        (damaged_gzip, "is a damaged gzip file"),
        (broken_gzip, "is a damaged gzip file"),
    ],
)
def test_a_bad_image_file_is_one_clear_line(tmp_path: Path, spoil: object, message: str) -> None:
    write(tmp_path, parts())
    path = tmp_path / "train-images-idx3-ubyte"
    assert callable(spoil)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ValueError, match=message) as caught:
        load(root=str(tmp_path))
    assert "train-images-idx3-ubyte" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_swapped_image_and_label_files_are_told(tmp_path: Path) -> None:
    write(tmp_path, parts())
    images, labels = tmp_path / "train-images-idx3-ubyte", tmp_path / "train-labels-idx1-ubyte"
    content = images.read_bytes()
    images.write_bytes(labels.read_bytes())
    labels.write_bytes(content)
    with pytest.raises(ValueError, match=r"labels where images are expected; .* swapped; rename them\."):
        load(root=str(tmp_path))


def test_files_that_do_not_belong_together_are_told(tmp_path: Path) -> None:
    write(tmp_path, parts() | {"train-labels": np.zeros(59, np.uint8)})
    with pytest.raises(ValueError, match=r"holds 60 images, but .* 59 labels; .* together; copy or down"):
        load(root=str(tmp_path))


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "stacked-mnist"])
def test_images_of_another_size_than_the_set_s_are_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path, parts() | {"t10k-images": np.ones((25, 14, 16), np.uint8)})
    with pytest.raises(ValueError, match=r"t10k-.* holds images of 14×16 pixels, but .* have 28×28; copy or"):
        load(name, root=str(tmp_path), size=28)


def test_a_label_beyond_the_classes_is_told(tmp_path: Path) -> None:
    write(tmp_path, parts() | {"t10k-labels": np.full(25, 47, np.uint8)})
    with pytest.raises(ValueError, match="holds the label 47, but there are 10 classes"):
        load(root=str(tmp_path))


def test_a_folder_at_the_place_of_a_file_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte").mkdir()
    assert find_idx_files(tmp_path) == {}


def test_a_part_is_read_as_it_was_written(tmp_path: Path) -> None:
    arrays = parts(side=5)
    files = find_idx_files(write(tmp_path, arrays))
    part = read_idx_part(files["t10k-images"], files["t10k-labels"], num_classes=10)
    assert np.array_equal(part.images, arrays["t10k-images"])
    assert np.array_equal(part.labels, arrays["t10k-labels"])


def test_the_other_set_under_the_same_file_names_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = parts()
    digest = hashlib.sha256(encode(arrays["train-labels"])).hexdigest()[:16]
    monkeypatch.setitem(__import__("harness.data.images").data.images._TRAIN_LABELS, digest, "fashion-mnist")
    write(tmp_path, arrays)
    with pytest.raises(ValueError, match="holds fashion-mnist, not mnist; data set `mnist` is in none"):
        load("mnist", root=str(tmp_path))
    assert len(load("fashion-mnist", root=str(tmp_path)).train) == 60


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """A server of this folder on this machine, while the block runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_torchvision_downloads_what_is_missing_where_that_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sorted(write(tmp_path / "server", parts(), ".gz").iterdir())
    kind = torchvision.datasets.MNIST
    monkeypatch.setattr(
        kind, "resources", [(file.name, hashlib.md5(file.read_bytes()).hexdigest()) for file in files]
    )
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HARNESS_DOWNLOAD", "1")
    with serving(tmp_path / "server") as address:
        monkeypatch.setattr(kind, "mirrors", [address])
        assert len(load("mnist").train) == 60
    assert (tmp_path / "data" / "MNIST" / "raw").is_dir()


def test_a_download_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [(tmp_path / "no-server").as_uri() + "/"])
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HARNESS_DOWNLOAD", "1")
    with pytest.raises(ValueError, match="data set `mnist` could not be downloaded to") as caught:
        load("mnist")
    assert "\n" not in str(caught.value)
