"""Folders of images: every kind of damage, the cache, the pool, the split."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from harness.data import Dataset, load_dataset, outline
from harness.data import folder as folders
from harness.data.dataset import _load
from harness.data.decode import Unreadable, decode
from harness.recipe import choose
from harness.recipe.registry import datasets

Bytes = NDArray[np.uint8]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No data folder, no download, and a cache of the test's own."""
    home = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("HARNESS_CACHE", str(home))
    for name in ("HARNESS_DATA", "HARNESS_DOWNLOAD"):
        monkeypatch.delenv(name, raising=False)
    return home


def picture(seed: int, height: int = 20, width: int = 20) -> Bytes:
    """A gradient with a tint, unlike any other seed's."""
    y, x = np.mgrid[:height, :width]
    base = np.stack([x * 7, y * 9, (x + y) * 5], axis=-1)
    return ((base + np.random.RandomState(seed).randint(256, size=3)) % 256).astype(np.uint8)


def fill(path: Path, count: int = 45, first: int = 0) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for seed in range(first, first + count):
        Image.fromarray(picture(seed)).save(path / f"{seed:03d}.png")
    return path


def load(path: Path | str, **options: bool | int | float | str) -> Dataset:
    """Anew, past the copy that this process has."""
    choice = choose(datasets, "image-folder", path=str(path), **({"size": 16} | options))
    dataset: Dataset = datasets["image-folder"](**choice.options)
    return dataset


def test_a_folder_becomes_bytes_and_a_split(tmp_path: Path) -> None:
    data = load(fill(tmp_path, 60), size=20)
    assert (data.kind, data.sample_shape, data.num_classes) == ("images", (3, 20, 20), 0)
    assert (len(data.train), len(data.test), data.train_labels, data.notes) == (40, 20, None, ())
    found = {row.numpy().tobytes() for row in (*data.train, *data.test)}
    assert found == {picture(seed).transpose(2, 0, 1).tobytes() for seed in range(60)}


def spoilt(folder: Path) -> dict[str, str]:
    """Files that no one can read, and what is said of each."""
    whole = (folder / "000.png").read_bytes()
    noise = np.random.RandomState(0).randint(256, size=(64, 64, 3)).astype(np.uint8)
    Image.fromarray(noise).save(folder / "whole.jpg")
    photo = (folder / "whole.jpg").read_bytes()
    (folder / "whole.jpg").unlink()
    (folder / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (folder / "truncated.jpg").write_bytes(photo[: len(photo) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.jpg").write_text("<html>404</html>")
    middle = len(whole) // 2
    (folder / "corrupt.png").write_bytes(whole[:middle] + b"\0" * 16 + whole[middle + 16 :])
    Image.fromarray(np.ones((4, 4), np.float32)).save(folder / "float.tif")
    (folder / "dangling.png").symlink_to(folder / "gone.png")
    (folder / "huge.bmp").write_bytes(
        b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0)
    )
    return {
        "truncated.png": "truncated",
        "truncated.jpg": "truncated",
        "empty.png": "the file is empty",
        "text.jpg": "no image, or of a format not read here",
        "corrupt.png": "",
        "float.tif": "floating-point pixels, whose range is unknown",
        "dangling.png": "No such file",
        "huge.bmp": "exceeds limit",
    }


def test_each_unreadable_file_says_why(tmp_path: Path) -> None:
    for name, reason in spoilt(fill(tmp_path, 1)).items():
        with pytest.raises(Unreadable) as caught:
            decode(tmp_path / name, 16, 3)
        assert reason in str(caught.value), name
        assert "\n" not in str(caught.value)


def test_unreadable_files_are_counted_named_and_left_out(tmp_path: Path) -> None:
    names = spoilt(fill(tmp_path, 60))
    Image.new("RGBA", (8, 8), (1, 2, 3, 4)).save(tmp_path / "clear.png")
    (tmp_path / "labels.csv").write_text("a,b")
    (tmp_path / ".hidden.png").write_bytes(b"no image")
    data = load(tmp_path)
    assert len(data.train) + len(data.test) == 61
    assert data.notes[0].startswith(
        f"{len(names)} of {61 + len(names)} files could not be read and left out: corrupt.png ("
    )
    assert "dangling.png (No such file or directory), empty.png (the file is empty)" in data.notes[0]
    assert " and 3 more; all in " in data.notes[0]
    assert data.notes[1] == "1 image had transparency: laid over white"
    assert data.notes[2] == "1 other file (.csv) left alone"
    # The same images without the bad files are the same data set; only the notes differ.
    for name in names:
        (tmp_path / name).unlink()
    again = load(tmp_path)
    assert again.fingerprint == data.fingerprint
    assert torch.equal(again.train, data.train)


def test_a_file_beside_the_decoded_images_names_every_unreadable_file(tmp_path: Path, cache: Path) -> None:
    names = spoilt(fill(tmp_path))
    (named,) = load(tmp_path).notes
    (path,) = cache.glob("*.txt")
    assert named.endswith(f"; all in {path}")
    (pixels,) = cache.glob("*.u8")
    assert path.name.startswith(pixels.stem)
    lines = path.read_text().splitlines()
    assert [line.partition(" (")[0] for line in lines] == sorted(names)
    assert all(names[line.partition(" (")[0]] in line for line in lines)
    # It goes and comes with the entry, and is replaced where it is not what it should be.
    for spoil in (path.unlink, lambda: path.write_text("other")):
        spoil()
        load(tmp_path)
        assert path.read_text().splitlines() == lines
    pixels.unlink()
    for name in names:
        (tmp_path / name).unlink()
    load(tmp_path)
    assert len(list(cache.glob("*.u8"))) == 1
    assert not list(cache.glob(".*"))


def test_images_decoded_by_an_older_version_keep_their_notes(tmp_path: Path, cache: Path) -> None:
    spoilt(fill(tmp_path))
    load(tmp_path)
    (path,) = cache.glob("*.json")
    facts = json.loads(path.read_text())
    del facts["unreadable"]
    path.write_text(json.dumps(facts | {"notes": ["8 of 53 files could not be read and left out: x"]}))
    assert load(tmp_path).notes == ("8 of 53 files could not be read and left out: x",)


def test_notes_are_shown_each_time_a_process_loads_the_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoilt(fill(tmp_path))
    choice = choose(datasets, "image-folder", path=str(tmp_path), size=16)
    for _ in range(2):
        notes = load_dataset(choice).notes
        assert capsys.readouterr().err == "".join(f"`{tmp_path}`: {note}\n" for note in notes)
        load_dataset(choice)
        assert capsys.readouterr().err == ""
        _load.cache_clear()


def test_a_second_look_decodes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spoilt(fill(tmp_path))
    first = load(tmp_path)
    capsys.readouterr()
    monkeypatch.setattr(folders, "decode_rows", None)
    second = load(tmp_path)
    assert torch.equal(first.train, second.train)
    assert (first.fingerprint, first.notes) == (second.fingerprint, second.notes)
    assert capsys.readouterr().err == ""


def test_the_cache_goes_by_content_and_size(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load(fill(tmp_path / "here"))
    (tmp_path / "here").rename(tmp_path / "there")
    (tmp_path / "there" / "000.png").rename(tmp_path / "there" / "zzz.png")
    with monkeypatch.context() as patch:
        patch.setattr(folders, "decode_rows", None)
        assert load(tmp_path / "there").fingerprint == first.fingerprint
    assert load(tmp_path / "there", size=8).fingerprint != first.fingerprint
    assert len(list(cache.glob("*.u8"))) == 2
    Image.fromarray(picture(99)).save(tmp_path / "there" / "zzz.png")
    assert load(tmp_path / "there").fingerprint != first.fingerprint
    assert len(list(cache.glob("*.u8"))) == 3
    assert not list(cache.glob(".*"))


def test_a_cache_that_was_cut_short_is_made_anew(tmp_path: Path, cache: Path) -> None:
    first = load(fill(tmp_path))
    content = first.train.clone()
    for path in cache.glob("*.u8"):
        # A new file, as the old one is still mapped.
        other = path.with_suffix(".tmp")
        other.write_bytes(path.read_bytes()[:-1])
        other.replace(path)
    assert torch.equal(load(tmp_path).train, content)
    for path in cache.glob("*.json"):
        path.write_text("{")
    assert torch.equal(load(tmp_path).train, content)
    for path in cache.iterdir():
        path.unlink()
    assert torch.equal(load(tmp_path).train, content)
    assert torch.equal(first.train, content)


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "images")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(ValueError, match="set HARNESS_CACHE to a folder"):
        load(tmp_path / "images")


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(ValueError, match=r"No space left on device\); free some space, or set HARNESS_CACHE"):
        load(fill(tmp_path))
    assert not list(cache.glob(".*"))


def test_images_that_come_leave_the_others_on_their_side_of_the_split(tmp_path: Path) -> None:
    def rows(samples: torch.Tensor) -> set[bytes]:
        return {row.numpy().tobytes() for row in samples}

    before = load(fill(tmp_path, 200), test_share=0.2)
    after = load(fill(tmp_path, 50, first=200), test_share=0.2)
    assert (len(before.test), len(after.test)) == (40, 50)
    moved = rows(before.train) & rows(after.test) | rows(before.test) & rows(after.train)
    assert len(moved) <= 5


def test_processes_decode_what_one_does(tmp_path: Path, cache: Path) -> None:
    spoilt(fill(tmp_path / "images", 150))
    files, _ = folders.find_images(tmp_path / "images", "images")
    (cache / "one").mkdir()
    (cache / "two").mkdir()
    one, two = (
        folders.read_images(
            files, size=12, channels=3, cache=cache / name, title="images", num_processes=count
        )
        for name, count in (("one", 1), ("two", 2))
    )
    assert torch.equal(one.pixels, two.pixels)
    assert (one.names, one.sha256) == (two.names, two.sha256)
    told, told_again = ([note.partition("; all in ")[0] for note in found.notes] for found in (one, two))
    assert told == told_again
    assert len(one.names) == 150


def test_where_processes_cannot_start_the_images_are_decoded_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(folders.ProcessPoolExecutor):
        def submit(self, *_: object, **__: object) -> object:  # type: ignore[override]
            raise folders.BrokenProcessPool("no process could start")

    monkeypatch.setattr(folders, "ProcessPoolExecutor", Broken)
    monkeypatch.setattr(folders, "_POOL_FROM_FILES", 1)
    monkeypatch.setattr(folders, "num_cores", lambda: 2)
    assert len(load(fill(tmp_path)).train) == 25


def test_classes_are_the_folders(tmp_path: Path) -> None:
    for number, name in enumerate(("cats", "dogs", "emus")):
        fill(tmp_path / name, 30, first=100 * number)
    fill(tmp_path / "dogs" / "more", 5, first=150)
    data = load(tmp_path, labels="folders", size=20, test_share=0.3)
    assert (data.num_classes, data.class_names) == (3, ("cats", "dogs", "emus"))
    assert data.train_labels is not None
    assert data.test_labels is not None
    assert torch.cat([data.train_labels, data.test_labels]).bincount().tolist() == [30, 35, 30]
    classes = {picture(seed).transpose(2, 0, 1).tobytes(): seed // 100 for seed in range(300)}
    for image, label in zip(data.train, data.train_labels, strict=True):
        assert classes[image.numpy().tobytes()] == int(label)
    choice = choose(datasets, "image-folder", path=str(tmp_path), labels="folders", size=20)
    assert outline(choice).num_classes == 3
    fill(tmp_path, 1, first=999)
    with pytest.raises(
        ValueError, match=r"999\.png lies directly in .*; move it, or set data\.labels to none"
    ):
        load(tmp_path, labels="folders")


def test_one_folder_is_no_set_of_classes(tmp_path: Path) -> None:
    fill(tmp_path / "cats")
    with pytest.raises(ValueError, match="needs two folders or more"):
        load(tmp_path, labels="folders")


def test_links_are_followed_once(tmp_path: Path) -> None:
    fill(tmp_path / "images" / "deep")
    fill(tmp_path / "elsewhere", 5, first=80)
    (tmp_path / "images" / "loop").symlink_to(tmp_path / "images")
    (tmp_path / "images" / "linked").symlink_to(tmp_path / "elsewhere")
    data = load(tmp_path / "images")
    assert len(data.train) + len(data.test) == 50


def test_a_relative_path_starts_here_or_from_the_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "data" / "faces")
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "data"))
    assert len(load("faces").train) == 25
    monkeypatch.chdir(fill(tmp_path / "here" / "faces", 60).parent)
    assert len(load("faces").train) == 40


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", r"`data\.path` must name a folder of images, but is empty"),
        ("none", r"`data\.path` 'none' does not exist"),
        ("file", r"`data\.path` 'file' is a file, not a folder; unpack an archive, make an array a data"),
        (
            "arrays",
            r"\(1 other file \(\.npy\) left alone\); name .* TIFF files, or make an array a data set of",
        ),
        ("empty", r"`data\.path` 'empty' holds no images; name a folder of PNG"),
        ("texts", r"holds no images \(2 other files \(\.csv, \.txt\) left alone\)"),
        (
            "few",
            r"holds 25 images, of which 20 would be held out, but 20 at least are needed to train on; add "
            r"images until there are 40\.$",
        ),
        (
            "bad",
            r"^`data\.path` 'bad': none of 2 files can be read as an image: a\.png \(the file is empty\), "
            r"b\.jpg \(no image.*\); copy those again that are damaged, "
            r"save the others as 8-bit PNG, or name another folder\.$",
        ),
    ],
)
def test_a_folder_that_will_not_do_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    for name in ("empty", "texts", "bad", "arrays"):
        (tmp_path / name).mkdir()
    (tmp_path / "arrays" / "a.npy").write_text("")
    (tmp_path / "texts" / "a.txt").write_text("")
    (tmp_path / "texts" / "b.csv").write_text("")
    (tmp_path / "bad" / "a.png").write_text("")
    (tmp_path / "bad" / "b.jpg").write_text("no image")
    fill(tmp_path / "few", 25)
    with pytest.raises(ValueError, match=message) as caught:
        load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("count", "share"), [(1, 0.1), (25, 0.1), (25, 0.9), (39, 0.5), (40, 0.9), (45, 0.6), (300, 0.99)]
)
def test_what_a_folder_of_too_few_images_is_told_to_do_helps(
    tmp_path: Path, count: int, share: float
) -> None:
    with pytest.raises(ValueError, match=r"at least are needed to train on") as caught:
        load(fill(tmp_path, count), test_share=share)
    more = re.search(r"until there are (\d+)", str(caught.value))
    lower = re.search(r"lower `data\.test_share` to ([\d.]*\d)", str(caught.value))
    assert (more is not None) == (count < 40)
    assert (lower is not None) == (round(max(count, 40) * share) > 20)
    fill(tmp_path, int(more[1]) if more else count)
    data = load(tmp_path, test_share=float(lower[1]) if lower else share)
    assert min(len(data.train), len(data.test)) >= 20


def test_every_kind_of_file_left_alone_is_named_or_counted(tmp_path: Path) -> None:
    for kind in ("csv", "db", "json", "mp4", "pth", "txt"):
        (tmp_path / f"x.{kind}").write_text("")
    told = load(fill(tmp_path)).notes[0]
    assert told == "6 other files (.csv, .db, .json, .mp4, .pth, .txt) left alone"
    for number in range(10, 54):
        (tmp_path / f"x.{number}").write_text("")
    told = load(tmp_path).notes[0]
    assert told.startswith("50 other files (.10, .11, ")
    assert told.endswith(", .49 and 10 more kinds) left alone")


def test_a_folder_is_loaded_anew_when_files_come(tmp_path: Path) -> None:
    choice = choose(datasets, "image-folder", path=str(fill(tmp_path)), size=16)
    assert load_dataset(choice) is load_dataset(choice)
    fill(tmp_path, 5, first=200)
    assert len(load_dataset(choice).train) == 30


def celeba(root: Path, *, parts: bool = True) -> Path:
    images = fill(root / "celeba" / "img_align_celeba", 90)
    if parts:
        rows = [f"{seed:03d}.png {0 if seed < 50 else 1 if seed < 60 else 2}\n" for seed in range(90)]
        (root / "celeba" / "list_eval_partition.txt").write_text("".join(rows))
    return images


def test_celeba_holds_out_its_official_test_part(tmp_path: Path) -> None:
    celeba(tmp_path)
    data = datasets["celeba"](root=str(tmp_path), size=20)
    assert (data.sample_shape, len(data.train), len(data.test)) == ((3, 20, 20), 60, 30)
    held_out = {picture(seed).transpose(2, 0, 1).tobytes() for seed in range(60, 90)}
    assert {row.numpy().tobytes() for row in data.test} == held_out
    assert len(datasets["celeba"](root=str(tmp_path), size=20, limit=7).train) == 7


def test_celeba_without_its_parts_holds_out_a_tenth_and_needs_enough(tmp_path: Path) -> None:
    fill(celeba(tmp_path, parts=False), 150, first=90)
    data = datasets["celeba"](root=str(tmp_path))
    assert (len(data.train), len(data.test), data.sample_shape) == (216, 24, (3, 64, 64))


def test_celeba_with_a_spoilt_list_is_told(tmp_path: Path) -> None:
    celeba(tmp_path)
    (tmp_path / "celeba" / "list_eval_partition.txt").write_text("000.png seven\n")
    with pytest.raises(ValueError, match="must hold a file name and 0, 1 or 2 a line"):
        datasets["celeba"](root=str(tmp_path))
