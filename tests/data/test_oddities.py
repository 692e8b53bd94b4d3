"""What is odd about a training set is said before training, and of sound ones nothing is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from harness.data import Dataset, load_dataset
from harness.data.oddities import oddities
from harness.recipe import choose
from harness.recipe.registry import datasets


def images(count: int, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 1, 6, 6), generator=random, dtype=torch.uint8)


@pytest.mark.parametrize("name", ["digits", "points", "ring", "grid"])
def test_nothing_is_odd_about_the_data_sets_shipped(name: str) -> None:
    assert load_dataset(choose(datasets, name)).notes == ()


def test_samples_that_are_all_the_same_are_told() -> None:
    assert oddities(images(1).expand(50, -1, -1, -1)) == (
        "all 50 training images are the same, so a generator that makes nothing else is right",
    )
    (told,) = oddities(torch.ones(70, 2))
    assert told.startswith("all 70 training points are the same")


def test_a_tenth_of_copies_is_told_and_less_is_not() -> None:
    different = images(90)
    (told,) = oddities(torch.cat([different, different[:10]]))
    assert told.startswith("only 90 of 100 training images are different, the others are exact copies")
    assert oddities(torch.cat([images(91), images(91)[:9]])) == ()
    (told,) = oddities(torch.randn(40, 2).repeat(5, 1))
    assert told.startswith("only 40 of 200 training points are different")


def test_images_of_one_colour_or_nearly_are_told() -> None:
    constant = torch.arange(100).byte()[:, None, None, None].expand(-1, 3, 6, 6)
    (told,) = oddities(constant)
    assert told.startswith("100 of 100 training images are of one colour all over, or nearly")
    flat = torch.cat([images(80), (images(20, 1) % 3) + torch.arange(20).byte()[:, None, None, None] * 9])
    (told,) = oddities(flat)
    assert told.startswith("20 of 100 training images are of one colour all over, or nearly")


def test_images_that_hardly_differ_are_told_however_they_are_stored() -> None:
    alike = images(1).clamp(5, 250) + images(60, 1) % 3
    for train in (alike, alike.float() / 127.5 - 1):
        (told,) = oddities(train)
        assert told.startswith("the training images hardly differ: no pixel's standard deviation is above 0.")
    assert oddities(images(1).clamp(5, 200) + images(60, 1) % 40) == ()


def test_points_on_a_line_and_points_far_away_are_told() -> None:
    points = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    assert oddities(points) == oddities(points * torch.tensor([1.0, 1e-3])) == ()
    (told,) = oddities(points[:, :1] @ torch.tensor([[1.0, -2.0]]))
    assert told == "the training points lie on a line, so the scores of the plane say little of them"
    (told,) = oddities(points * 0.01 + 1000)
    assert told.endswith("float32 leaves few digits of that; subtract their mean")


def test_classes_without_a_training_sample_are_told() -> None:
    train, labels = images(60), torch.arange(60) % 3
    assert oddities(train, labels, 3) == ()
    assert oddities(train, labels, 8) == ("no training sample is of class 3, 4, 5, 6 and 1 more",)
    assert oddities(train, 0 * labels + 1, 3, ("cat", "dog", "owl")) == (
        "all training labels are dog, one class of 3",
    )


def test_many_samples_are_looked_at_evenly_spaced() -> None:
    pairs = torch.arange(70_000)[:, None].float().repeat(1, 2) // 7000
    (told, _) = oddities(pairs * torch.tensor([1.0, 0.5]))
    assert told.startswith("only 10 of 60,000 of 70,000 training points are different")


def test_a_data_set_of_one_s_own_is_told_of_when_it_is_loaded(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    black = np.zeros((200, 8, 8), np.uint8)
    made = Dataset.of_images("odd-ones", black)
    monkeypatch.setitem(datasets._entries, "odd-ones", lambda: made)
    notes = load_dataset(choose(datasets, "odd-ones")).notes
    assert notes == ("all 171 training images are the same, so a generator that makes nothing else is right",)
    assert f"`odd-ones`: {notes[0]}" in capfd.readouterr().err


def test_a_folder_of_equal_images_is_told_of_beside_what_was_done_to_its_files(tmp_path: Path) -> None:
    for number in range(45):
        Image.new("RGBA", (8, 8), (200, 10, 10, 99)).save(tmp_path / f"{number}.png")
    notes = load_dataset(choose(datasets, "image-folder", path=str(tmp_path), size=8)).notes
    assert [note.split(",")[0] for note in notes] == [
        "45 images had transparency: laid over white",
        "all 25 training images are the same",
    ]
