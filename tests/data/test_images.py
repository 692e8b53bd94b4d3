"""Image data sets: bytes in memory, [-1, 1] in a step, sizes, classes, and the sets that are shipped."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from harness.data import Dataset, as_bytes, gather, load_dataset, outline, scaled
from harness.data.decode import resized
from harness.recipe import Choice, choose
from harness.recipe.registry import datasets

REAL = Path(os.environ["PYTEST_DATA"] or "/usr/share/datasets")


@pytest.fixture(autouse=True)
def _nowhere(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No data folder, no download, and a cache of the test's own."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    for name in ("HARNESS_DATA", "HARNESS_DOWNLOAD", "HARNESS_CACHE"):
        monkeypatch.delenv(name, raising=False)


def load(name: str, **options: bool | int | float | str) -> Dataset:
    return load_dataset(choose(datasets, name, **options))


def test_scaling_bytes_and_back_is_exact() -> None:
    every = torch.arange(256, dtype=torch.uint8)
    numbers = scaled(every)
    assert numbers.dtype == torch.float32
    assert (numbers.min().item(), numbers.max().item()) == (-1.0, 1.0)
    torch.testing.assert_close(numbers, torch.linspace(-1, 1, 256))
    assert torch.equal(as_bytes(numbers), every)
    assert every.tolist() == list(range(256))


def test_scaling_leaves_numbers_alone_and_bytes_beyond_the_range_are_cut() -> None:
    points = torch.randn(5, 2)
    assert scaled(points) is points
    assert as_bytes(torch.tensor([-7.0, 7.0])).tolist() == [0, 255]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9), st.integers(1, 4), st.integers(0, 2**31 - 1))
def test_gathered_rows_are_those_asked_for(num_rows: int, num_runs: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    samples = torch.randint(256, (num_rows, 3, 2, 2), dtype=torch.uint8, generator=generator)
    indices = torch.randint(num_rows, (num_runs, 5), generator=generator)
    found = gather(samples, indices)
    assert (found.shape, found.dtype) == ((num_runs, 5, 3, 2, 2), torch.uint8)
    assert torch.equal(found, samples[indices])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_rows_come_to_the_device_from_wherever_the_set_is() -> None:
    samples = torch.randint(256, (50, 1, 4, 4), dtype=torch.uint8)
    indices = torch.randint(50, (3, 7))
    for stored in (samples, samples.cuda()):
        found = gather(stored, indices.cuda())
        assert found.device.type == "cuda"
        assert torch.equal(found.cpu(), samples[indices])
    torch.testing.assert_close(scaled(samples.cuda()).cpu(), scaled(samples), rtol=0, atol=0)


def test_a_set_too_large_for_the_device_stays_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.data import dataset

    data = load("digits")
    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2 * data.train.nbytes, 10**9))
    assert dataset._fits(data.train, cuda)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2 * data.train.nbytes - 2, 10**9))
    assert not dataset._fits(data.train, cuda)
    assert dataset._fits(data.train, torch.device("cpu"))


def test_digits_are_shipped_with_classes_and_a_split() -> None:
    data = load("digits")
    assert (data.kind, data.sample_shape, data.num_classes) == ("images", (1, 8, 8), 10)
    assert (len(data.train), len(data.test)) == (1497, 300)
    assert data.train.dtype == data.test.dtype == torch.uint8
    assert data.class_names == tuple("0123456789")
    assert data.train_labels is not None
    assert data.test_labels is not None
    assert data.train_labels.unique().tolist() == data.test_labels.unique().tolist() == list(range(10))
    assert (int(data.train.min()), int(data.train.max())) == (0, 255)
    everything = torch.cat([data.train, data.test]).flatten(1)
    levels = (everything.double() * 16 / 255).round()
    assert levels.sum().item() == 561718  # the sum of all levels as published
    counts = torch.cat([data.train_labels, data.test_labels]).bincount().tolist()
    assert counts == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_a_classifier_learns_digits_from_the_labels_given() -> None:
    data = load("digits")
    assert data.train_labels is not None
    assert data.test_labels is not None
    means = torch.stack([scaled(data.train[data.train_labels == c]).mean(dim=0) for c in range(10)])
    nearest = torch.cdist(scaled(data.test).flatten(1), means.flatten(1)).argmin(dim=1)
    assert (nearest == data.test_labels).double().mean() > 0.85


@pytest.mark.parametrize("size", [8, 28, 32, 64])
def test_digits_come_in_every_size_with_the_same_split(size: int) -> None:
    data, native = load("digits", size=size), load("digits")
    assert data.sample_shape == (1, size, size)
    assert data.train_labels is not None
    assert native.train_labels is not None
    assert torch.equal(data.train_labels, native.train_labels)
    means, native_means = data.train.double().mean(dim=(1, 2, 3)), native.train.double().mean(dim=(1, 2, 3))
    # Resizing weighs the border a little less or more; it makes no other picture.
    assert torch.corrcoef(torch.stack([means, native_means]))[0, 1] > 0.98


def test_data_are_the_same_every_time_and_fingerprints_tell_them_apart() -> None:
    first, second = datasets["digits"](size=28), datasets["digits"](size=28)
    assert torch.equal(first.train, second.train)
    assert first.fingerprint == second.fingerprint
    others = [load("digits"), load("digits", size=28, limit=500), load("digits", size=32)]
    assert len({first.fingerprint, *(other.fingerprint for other in others)}) == 4


def test_a_limit_takes_the_first_training_images_and_all_held_out_ones() -> None:
    data, whole = load("digits", limit=100), load("digits")
    assert torch.equal(data.train, whole.train[:100])
    assert torch.equal(data.test, whole.test)


def test_moving_an_image_set_moves_labels_too() -> None:
    moved = load("digits").to("meta")
    assert moved.train_labels is not None
    assert moved.train.device.type == moved.train_labels.device.type == "meta"
    assert moved.class_names == load("digits").class_names


@pytest.mark.parametrize("name", datasets.names())
def test_an_outline_needs_no_files(name: str) -> None:
    choice = choose(datasets, name)
    if name == "points-file":
        with pytest.raises(ValueError, match=r"data\.path"):
            outline(choice)
    elif choice.options.get("root", choice.options.get("path")) is None:
        dataset = load_dataset(choice)
        assert outline(choice).sample_shape == dataset.sample_shape
        assert outline(choice).num_classes == dataset.num_classes
    else:
        size = choice.options["size"]
        assert outline(choice).sample_shape[1:] == (size, size)
        assert outline(choice).sample_shape[0] in (1, 3)


def test_an_outline_follows_the_options() -> None:
    assert outline(choose(datasets, "mnist", size=32)).sample_shape == (1, 32, 32)
    assert outline(choose(datasets, "stacked-mnist")).num_classes == 1000
    grey = choose(datasets, "image-folder", channels=1, size=28)
    assert (outline(grey).sample_shape, outline(grey).num_classes) == ((1, 28, 28), 0)
    with pytest.raises(ValueError, match="did you mean `mnist`"):
        outline(Choice(name="mnits", options={}))


def test_a_size_out_of_bounds_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`size` must be in \[4, 1024\], but got 2"):
        choose(datasets, "digits", size=2)


def test_resizing_keeps_flat_images_flat_and_square_ones_whole() -> None:
    flat = np.full((2, 3, 7, 7), 93, np.uint8)
    assert np.array_equal(resized(flat, 20), np.full((2, 3, 20, 20), 93, np.uint8))
    assert resized(flat, 7) is flat
    halves = np.zeros((1, 1, 8, 8), np.uint8)
    halves[..., 4:] = 200
    small = resized(halves, 4)[0, 0]
    assert (small[:, 0] == 0).all()
    assert (small[:, 3] == 200).all()


def test_resizing_crops_the_centre_of_what_is_not_square() -> None:
    wide = np.zeros((1, 1, 4, 12), np.uint8)
    wide[..., 4:8] = 255
    assert (resized(wide, 4) == 255).all()


def test_stacked_digits_are_three_digits_and_their_number() -> None:
    data = load("stacked-mnist", source="digits", size=8, num_samples=3000)
    digits = load("digits")
    assert (data.sample_shape, data.num_classes) == ((3, 8, 8), 1000)
    assert (len(data.train), len(data.test)) == (3000, 3000)
    assert data.train_labels is not None
    assert digits.train_labels is not None
    assert len(data.train_labels.unique()) > 900
    assert data.class_names[7] == "007"
    originals = {
        row.numpy().tobytes(): int(c) for row, c in zip(digits.train, digits.train_labels, strict=True)
    }
    for image, label in zip(data.train[:200], data.train_labels[:200], strict=True):
        stacked = [originals[image[channel].contiguous().numpy().tobytes()] for channel in range(3)]
        assert int(label) == 100 * stacked[0] + 10 * stacked[1] + stacked[2]


def cifar_rows(count: int, seed: int) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.uint8]], list[int]]:
    random = np.random.RandomState(seed)
    return random.randint(256, size=(count, 3, 32, 32)).astype(np.uint8), random.randint(
        10, size=count
    ).tolist()


def write_cifar(folder: Path, form: str) -> None:
    labels: dict[str, list[int]] = {"train": [], "test": []}
    for number, name in enumerate([f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"]):
        images, classes = cifar_rows(30, number)
        labels["test" if name == "test_batch" else "train"] += classes
        if form == "bin":
            rows = np.concatenate([np.array(classes, np.uint8)[:, None], images.reshape(30, -1)], axis=1)
            rows.tofile(folder / f"{name}.bin")
        else:
            rows = images.reshape(30, 3, 1024).transpose(0, 2, 1)
            Image.fromarray(np.ascontiguousarray(rows)).save(folder / f"{name}.png")
    if form == "png":
        (folder / "train_lables.json").write_text(json.dumps(labels["train"]))
        (folder / "test_labels.json").write_text(json.dumps(labels["test"]))


@pytest.mark.parametrize("form", ["bin", "png"])
def test_cifar10_is_read_in_each_form(tmp_path: Path, form: str) -> None:
    write_cifar(tmp_path, form)
    for _ in range(2):
        data = datasets["cifar10"](root=str(tmp_path))
        assert (data.sample_shape, len(data.train), len(data.test)) == ((3, 32, 32), 150, 30)
        images, classes = cifar_rows(30, 1)
        assert np.array_equal(data.train[30:60].numpy(), images)
        assert data.train_labels[30:60].tolist() == classes
        assert data.class_names[3] == "cat"


def test_cifar10_says_what_is_wrong(tmp_path: Path) -> None:
    write_cifar(tmp_path, "bin")
    (tmp_path / "data_batch_3.bin").unlink()
    with pytest.raises(ValueError, match=r"lacks data_batch_3\.bin of CIFAR-10"):
        datasets["cifar10"](root=str(tmp_path))
    (tmp_path / "data_batch_3.bin").write_bytes(bytes(100))
    with pytest.raises(ValueError, match="holds 100 bytes, which are not whole images"):
        datasets["cifar10"](root=str(tmp_path))


def test_cifar10_in_png_says_what_is_wrong(tmp_path: Path) -> None:
    write_cifar(tmp_path, "png")
    (tmp_path / "test_labels.json").write_text("[1, 2]")
    with pytest.raises(ValueError, match="holds 2 labels, but there are 30 images"):
        datasets["cifar10"](root=str(tmp_path))
    path = tmp_path / "data_batch_2.png"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"data_batch_2\.png` is damaged"):
        datasets["cifar10"](root=str(tmp_path))


def test_cifar10_takes_no_pickle_that_is_not_the_published_one(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]:
        (folder / name).write_bytes(pickle.dumps({"data": [], "labels": []}))
    with pytest.raises(ValueError, match="cifar-10-batches-py` is damaged"):
        datasets["cifar10"](root=str(tmp_path))


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10"])
def test_the_real_sets_are_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_DATA", str(REAL))
    try:
        data = load(name)
    except ValueError as error:
        pytest.skip(str(error)[:80])
    assert len(data.test) == 10_000
    assert len(data.train) == (50_000 if name == "cifar10" else 60_000)
    assert data.train_labels is not None
    per_class = data.train_labels.bincount()
    assert per_class.sum() == len(data.train)
    if name != "mnist":
        assert (per_class == len(data.train) // 10).all()
    mean = {"mnist": 0.1307, "fashion-mnist": 0.2860, "cifar10": 0.4734}[name]
    assert data.train.float().mean().item() / 255 == pytest.approx(mean, abs=1e-4)
