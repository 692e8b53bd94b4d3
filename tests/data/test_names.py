"""File names that are any bytes: a folder, the folders in it, its own name, and what is written of them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from harness.cli.main import harness
from harness.data import Dataset, load_dataset
from harness.data.cache import digest_of
from harness.data.points_file import read_points
from harness.metrics.images.folder import read_images
from harness.recipe import choose
from harness.recipe.registry import datasets

ODD = (b"caf\xe9", b"\xff\xfe", b"a\nb", b"a\x1b[31mb", b"$a$b", b"[b] <i>", "naïve".encode())


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, whose name is odd too."""
    home = Path(os.fsdecode(os.fsencode(tmp_path_factory.mktemp("cache")) + b"/\xe9"))
    monkeypatch.setenv("HARNESS_CACHE", str(home))
    return home


def odd_folder(path: Path, *, each: int = 10) -> Path:
    """A folder of a folder of images for each odd name, named oddly itself."""
    root = os.fsencode(path) + b"/im\xe9s"
    random = np.random.RandomState(0)
    for name in ODD:
        os.makedirs(root + b"/" + name)
        for number in range(each):
            levels = random.randint(256, size=(8, 8, 3)).astype(np.uint8)
            Image.fromarray(levels).save(os.fsdecode(root + b"/" + name + b"/%d" % number + name + b".png"))
    return Path(os.fsdecode(root))


def load(path: Path, **options: bool | int | float | str) -> Dataset:
    choice = choose(datasets, "image-folder", path=str(path), **({"size": 8} | options))
    dataset: Dataset = datasets["image-folder"](**choice.options)
    return dataset


def test_any_bytes_name_images_and_their_classes(tmp_path: Path) -> None:
    data = load(odd_folder(tmp_path), labels="folders")
    assert len(data.train) + len(data.test) == 10 * len(ODD)
    assert set(data.class_names) == {
        *(r"caf\xe9", r"\xff\xfe", r"a\nb", r"a\x1b[31mb", "$a$b", "[b] <i>", "naïve")
    }
    assert data.notes == ()
    assert load(tmp_path / os.fsdecode(b"im\xe9s"), labels="folders").fingerprint == data.fingerprint


def test_names_do_not_count_in_a_fingerprint(tmp_path: Path) -> None:
    folder = odd_folder(tmp_path)
    before = load(folder).fingerprint
    for number, file in enumerate(sorted(folder.rglob("*.png"))):
        file.rename(tmp_path / f"{number}.png")
    assert load(tmp_path).fingerprint == before


def test_a_damaged_file_is_named_on_one_line_whatever_its_name(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = odd_folder(tmp_path)
    (folder / os.fsdecode(b"br\xe9k\nen.png")).write_bytes(b"no image")
    (note,) = load_dataset(choose(datasets, "image-folder", path=str(folder), size=8)).notes
    assert r"left out: br\xe9k\nen.png (no image, or of a format not read here); all in" in note
    assert note.isprintable()
    assert capsys.readouterr().err.rstrip("\n").isprintable()
    (names,) = cache.glob("*.unreadable.txt")
    assert names.read_text() == "br\\xe9k\\nen.png (no image, or of a format not read here)\n"


def test_a_folder_of_samples_may_have_any_names(tmp_path: Path) -> None:
    folder = odd_folder(tmp_path)
    (folder / os.fsdecode(b"br\xe9ken.png")).write_bytes(b"no image")
    images, (note,) = read_images(folder, (3, 8, 8), num=1000)
    assert len(images) == 10 * len(ODD)
    assert note.startswith(rf"1 of {10 * len(ODD) + 1} files could not be read, and are left out: br\xe9ken")


@pytest.mark.parametrize("suffix", [".csv", ".npy", ".mat"])
def test_a_file_of_points_may_have_any_name(tmp_path: Path, suffix: str) -> None:
    import scipy.io

    points = np.random.RandomState(0).standard_normal((100, 2))
    path = tmp_path / os.fsdecode(b"p\xe9" + suffix.encode())
    with path.open("wb") as stream:
        if suffix == ".csv":
            np.savetxt(stream, points, delimiter=",")
        elif suffix == ".npy":
            np.save(stream, points)
        else:
            scipy.io.savemat(stream, {"xx": points})
    assert np.allclose(read_points(str(path)), points)


def test_digests_of_names_that_are_utf_8_are_what_they_were() -> None:
    assert digest_of("index", 1, "/data/naïve.png 12 34") == "e93213bdf13806f9b638ea47d91f627b"
    assert digest_of(os.fsdecode(b"\xe9")) != digest_of(os.fsdecode(b"\xe8"))


def test_a_recipe_whose_data_have_any_name_is_shown() -> None:
    path = os.fsdecode(b"[/b] caf\xe9\n")
    shown = CliRunner().invoke(harness, ["show", "faces-dcgan64", "--set", f"data.path={path}"])
    assert shown.exit_code == 0, shown.exception
    assert r"[/b] caf\xe9\n" in shown.output
