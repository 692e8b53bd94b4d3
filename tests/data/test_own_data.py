"""Data sets made of arrays of one's own: what is taken, what is refused, and that they train."""

from __future__ import annotations

import doctest
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from harness import RunResult, find_recipe
from harness.data import Dataset, Mixture, Outline, load_dataset, outline, outlined, scaled
from harness.machine import describe_environment
from harness.recipe import Choice, Recipe, choose
from harness.recipe.registry import datasets, plain_value
from harness.runs.folder import run_directory
from harness.runs.job import Job, PlannedRun
from harness.runs.session import train_population
from harness.study.target import Target

Register = Callable[[str, Callable[..., Dataset]], None]


@pytest.fixture
def register() -> Iterator[Register]:
    """Registers data sets for one test."""
    from harness.data import dataset as module

    before = dict(datasets.items()), dict(module._outlines)

    def add(name: str, make: Callable[..., Dataset]) -> None:
        datasets.register(name)(make)

    yield add
    datasets._entries = before[0]
    module._outlines.clear()
    module._outlines.update(before[1])
    module._load.cache_clear()


def pictures(num: int = 200, *, size: int = 8, channels: int = 1, seed: int = 0) -> NDArray[np.uint8]:
    """(N, C, S, S) bytes: blobs that a network can learn something of."""
    random = np.random.RandomState(seed)
    ticks = np.arange(size)
    centres = random.uniform(2, size - 2, (num, channels, 2, 1))
    lines = np.exp(-((ticks - centres) ** 2) / 4)
    return np.rint(255 * lines[:, :, 0, :, None] * lines[:, :, 1, None, :]).astype(np.uint8)


def labels_of(num: int = 200) -> NDArray[np.int64]:
    return np.arange(num) % 4


def recipe_on(name: str, base: str, **changes: Any) -> Recipe:
    few = {"train.epochs": 2, "evaluate.every_epochs": 1, "evaluate.num_samples": 150, "train.batch_size": 32}
    return find_recipe(base).override({"data.name": name, **few, **changes})


def train_two(recipe: Recipe, folder: Path) -> list[RunResult]:
    """A population of two seeds, trained for a few steps."""
    for name in ("populations", "runs", "leases"):
        (folder / name).mkdir(parents=True)
    runs = tuple(PlannedRun(recipe=recipe, seed=seed, arm=recipe.name, overrides={}) for seed in (0, 1))
    return train_population(
        runs,
        Job(
            study="own",
            directory=folder,
            device="cpu",
            target=Target(metric="frechet", goal="minimize"),
            environment=describe_environment("cpu"),
            checkpoint=folder / "populations" / "p.pt",
            wandb="disabled",
        ),
    )


@pytest.mark.parametrize("kind", ["bytes", "floats", "labelled", "points"])
def test_each_kind_is_trained_scored_and_drawn(kind: str, register: Register, tmp_path: Path) -> None:
    images = pictures(1000)

    def make(*, level: float = 1.0) -> Dataset:
        if kind == "points":
            return Dataset.of_points("own", np.random.RandomState(0).normal(0, level, (300, 2)))
        if kind == "floats":
            return Dataset.of_images("own", images / np.float32(255), range=(0.0, 1.0))
        labels = labels_of(1000) if kind == "labelled" else None
        return Dataset.of_images("own", images, labels=labels)

    register("own", make)
    base = {"points": "points-gan", "labelled": "digits-cgan"}.get(kind, "digits-gan")
    results = train_two(recipe_on("own", base), tmp_path)
    data = load_dataset(choose(datasets, "own"))
    for result in results:
        assert not result.failed, result.reason
        assert result.environment["data"] == data.fingerprint
        files = {path.name for path in (run_directory(tmp_path, result.run_id) / "samples").iterdir()}
        assert files >= ({"run.gif"} if kind == "points" else {"filmstrip.png", "real.png", "neighbours.png"})
        score = "sliced_w2" if kind == "points" else "frechet"
        assert np.isfinite(result.scores[score]["last"])


@pytest.mark.parametrize("shape", ["grey", "first", "last"])
def test_channels_are_found_where_they_stand(shape: str) -> None:
    images = pictures(channels=3) if shape != "grey" else pictures()
    given = {"grey": images[:, 0], "first": images, "last": images.transpose(0, 2, 3, 1)}[shape]
    data = Dataset.of_images("own", given)
    assert data.sample_shape == images.shape[1:]
    assert data.train.dtype == torch.uint8
    found = torch.cat([data.train, data.test]).numpy()
    assert sorted(image.tobytes() for image in found) == sorted(image.tobytes() for image in images)


def test_an_axis_that_may_be_channels_twice_must_be_declared() -> None:
    images = np.random.RandomState(0).randint(0, 256, (200, 3, 8, 8)).astype(np.uint8)
    odd = images[:, :, :3, :3]
    with pytest.raises(ValueError, match=r'may have its channels first or last; say which: channels="first"'):
        Dataset.of_images("own", odd)
    wide = np.zeros((200, 3, 8, 8), np.uint8)
    with pytest.raises(ValueError, match='only if they are first; say channels="first"'):
        Dataset.of_images("own", wide, channels="last")


@pytest.mark.parametrize("range", [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)])
def test_a_declared_range_is_spread_over_what_networks_see(range: tuple[float, float]) -> None:
    images = pictures()
    low, high = range
    for dtype in (np.float16, np.float32, np.float64):
        given = (images / 255 * (high - low) + low).clip(low, high).astype(dtype)
        part = Dataset.of_images("own", given[:150], range=range, test=given[150:])
        assert part.train.dtype == torch.float32
        expected = (given.astype(np.float64) - low) / ((high - low) / 2) - 1
        np.testing.assert_allclose(scaled(part.train), expected[:150], atol=1e-7)
        assert float(part.train.min()) >= -1.0
        assert float(part.train.max()) <= 1.0
        if range == (-1.0, 1.0):
            assert np.array_equal(part.test.numpy(), given[150:].astype(np.float32))


def test_arrays_tensors_lists_and_mapped_files_are_the_same_data(tmp_path: Path) -> None:
    images = pictures()
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    sets = [
        Dataset.of_images("own", given, labels=labels)
        for given, labels in (
            (images, labels_of()),
            (torch.from_numpy(images), torch.from_numpy(labels_of())),
            (mapped, labels_of().tolist()),
        )
    ]
    assert len({data.fingerprint for data in sets}) == 1
    points = np.random.RandomState(0).normal(size=(200, 2))
    assert (
        Dataset.of_points("own", points.tolist()).fingerprint == Dataset.of_points("own", points).fingerprint
    )


def test_a_mapped_file_stays_mapped_and_an_array_is_copied(tmp_path: Path) -> None:
    images = pictures()
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    data = Dataset.of_images("own", mapped[:150], test=mapped[150:])
    assert data.train.data_ptr() == mapped.ctypes.data
    copied = Dataset.of_images("own", images[:150], test=images[150:])
    before = copied.train.clone()
    images[:] = 0
    assert torch.equal(copied.train, before)


def test_a_split_is_seeded_keeps_labels_with_images_and_loses_nothing() -> None:
    images = pictures()
    labels = images[:, 0, 4, 4].astype(np.int64) % 3
    data, again = (Dataset.of_images("own", images, labels=labels) for _ in range(2))
    assert data.fingerprint == again.fingerprint
    assert (len(data.train), len(data.test), data.num_classes) == (171, 29, 3)
    for part, classes in ((data.train, data.train_labels), (data.test, data.test_labels)):
        assert classes is not None
        assert torch.equal(part[:, 0, 4, 4].long() % 3, classes)
    assert len(Dataset.of_images("own", images, test_share=0.5).test) == 100


def test_fingerprints_differ_where_the_data_do() -> None:
    images = pictures()
    other = images.copy()
    other[7, 0, 3, 3] ^= 1
    unit = images / np.float32(255)
    found = [
        Dataset.of_images("own", images),
        Dataset.of_images("own", other),
        Dataset.of_images("own", images, labels=labels_of()),
        Dataset.of_images("own", images, labels=labels_of()[::-1]),
        Dataset.of_images("own", unit, range=(0.0, 1.0)),
        Dataset.of_images("own", unit, range=(0.0, 2.0)),
        Dataset.of_images("own", images[:150], test=images[150:]),
    ]
    assert len({data.fingerprint for data in found}) == len(found)


def test_options_of_the_function_are_options_of_recipes(register: Register) -> None:
    def make(*, size: int = 8, level: float = 1.0) -> Dataset:
        return Dataset.of_images("another", (pictures(size=size) * level).astype(np.uint8))

    register("own", make)
    recipe = recipe_on("own", "digits-gan", **{"data.size": 12, "data.level": np.float32(0.5)})
    assert recipe.data == Choice(name="own", options={"size": 12, "level": 0.5})
    assert outline(recipe.data) == Outline(sample_shape=(1, 12, 12))
    assert load_dataset(recipe.data).name == "own"
    with pytest.raises(ValueError, match=r"`data\.sizes`: own has no option `sizes`"):
        recipe.override({"data.sizes": 9})


def test_an_outline_spares_loading_and_must_be_true(register: Register) -> None:
    loaded: list[int] = []

    def make(*, size: int = 8) -> Dataset:
        loaded.append(size)
        return Dataset.of_images("own", pictures(size=size))

    register("own", make)
    outlined("own", lambda options: Outline(sample_shape=(1, 8, int(options["size"]))))
    assert outline(choose(datasets, "own")) == Outline(sample_shape=(1, 8, 8))
    assert loaded == []
    load_dataset(choose(datasets, "own"))
    with pytest.raises(ValueError, match=r"outlined as \(1, 8, 9\) with 0 classes, but has \(1, 9, 9\)"):
        load_dataset(choose(datasets, "own", size=9))
    with pytest.raises(ValueError, match="the data set `own` is outlined twice"):
        outlined("own", lambda options: None)


def test_a_function_whose_file_is_missing_is_one_line(register: Register, tmp_path: Path) -> None:
    register("own", lambda: Dataset.of_images("own", np.load(tmp_path / "none.npy")))
    with pytest.raises(ValueError, match=r"^data set `own` cannot be read: .*No such file.*none\.npy"):
        load_dataset(choose(datasets, "own"))


def test_a_function_that_raises_is_one_line(register: Register) -> None:
    register("own", lambda: {}["images"])
    with pytest.raises(
        ValueError, match=r"^data set `own` cannot be made: test_own_data\.py:\d+: KeyError: 'images'\.$"
    ):
        load_dataset(choose(datasets, "own"))


@pytest.mark.parametrize("given", [iter([np.zeros((8, 8))]), torch.utils.data.TensorDataset(torch.zeros(30))])
def test_what_only_gives_samples_one_by_one_is_to_be_stacked(given: object) -> None:
    with pytest.raises(ValueError, match=r"`images` must be an array of numbers, but is a .*put its samples"):
        Dataset.of_images("own", given, range=(0, 1))  # type: ignore[arg-type]


def test_a_function_that_makes_no_data_set_is_told(register: Register) -> None:
    register("own", lambda: pictures())  # type: ignore[arg-type, return-value]
    with pytest.raises(
        ValueError, match=r"data set `own` must make a Dataset, but made ndarray; return Dataset\."
    ):
        load_dataset(choose(datasets, "own"))


IMAGES = pictures()
UNIT = IMAGES / np.float32(255)


def spoilt(value: float) -> NDArray[np.float32]:
    array = UNIT.copy()
    array[123, 0, 2, 2] = value
    return array


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (
            UNIT,
            {},
            "`images` is float32, so `range` must say which values are black and white: (0.0, 1.0) or",
        ),
        (
            UNIT,
            {"range": (1.0, 0.0)},
            "`range` must rise from one finite number to another, but got (1.0, 0.0)",
        ),
        (UNIT, {"range": 1.0}, "`range` must be two numbers, (0.0, 1.0) for example, but got 1.0."),
        (
            IMAGES,
            {"range": (0.0, 1.0)},
            "`range` is for floats, but `images` is uint8, 0 to 255; leave it out.",
        ),
        (
            spoilt(1.25),
            {"range": (0.0, 1.0)},
            "its `range`, 0 to 1, but sample 123 holds 1.25; give the range",
        ),
        (
            spoilt(np.nan),
            {"range": (0.0, 1.0)},
            "`images` must be finite, but sample 123 holds nan; leave it out.",
        ),
        (spoilt(-np.inf), {"range": (0.0, 1.0)}, "`images` must be finite, but sample 123 holds -inf"),
        (
            IMAGES.astype(np.int64),
            {},
            "`images` must be uint8, or floats whose `range` is given, but is int64",
        ),
        (
            IMAGES > 9,
            {},
            "given, but is bool; convert it with .astype(numpy.float32), with range=(0.0, 1.0).",
        ),
        (IMAGES[:0], {}, "`images` must have the shape (N, S, S), (N, C, S, S) or (N, S, S, C), but has (0,"),
        (IMAGES[0], {}, "`test_share` 0.145508 splits 1 rows into 1 to train on and 0 held out"),
        (
            np.ma.array(IMAGES),
            {},
            "`images` must not be a masked array; leave out what is masked, or fill it.",
        ),
        (IMAGES[0, 0], {}, "`images` must have the shape (N, S, S)"),
        ([[1, 2], [3]], {}, "`images` is no array of numbers ("),
        (
            np.array([IMAGES[0], None], dtype=object),
            {},
            "`images` must be an array of numbers, but holds Python",
        ),
        (
            IMAGES[:, :, :6],
            {},
            "`images` must be square images of 4 pixels a side at least, but they are 6×8",
        ),
        (np.zeros((99, 4, 8, 8), np.uint8), {}, "`images` must have 1 or 3 channels, (N, C, S, S) or"),
        (IMAGES, {"channels": "middle"}, '`channels` must be "first" or "last", but got \'middle\'.'),
        (
            IMAGES,
            {"labels": labels_of(199)},
            "`labels` must have the shape (200,), one class a sample, but has",
        ),
        (
            IMAGES,
            {"labels": labels_of() + 0.5},
            "`labels` must be whole numbers from 0, but is float64; number",
        ),
        (IMAGES, {"labels": labels_of() - 1}, "`labels` must be whole numbers from 0, but holds -1"),
        (IMAGES, {"labels": labels_of() + 1}, "`labels` go up to 4, but no sample is of class 0; number the"),
        (IMAGES, {"labels": labels_of() * 0}, "`labels` are all 0: one class is none; leave `labels` out."),
        (
            IMAGES,
            {"labels": labels_of(), "class_names": ["a"]},
            "`labels` holds 3, but `class_names` names 1",
        ),
        (
            IMAGES,
            {"class_names": ["a"]},
            "`class_names` names 1 classes, but `labels` are missing; give both.",
        ),
        (IMAGES, {"test_labels": labels_of()}, "`test_labels` are given without `test`"),
        (
            IMAGES,
            {"test": IMAGES, "labels": labels_of()},
            "`test_labels` are missing, though the other part has",
        ),
        (IMAGES, {"test": IMAGES, "test_share": 0.5}, "`test` and `test_share` both say what is held out"),
        (IMAGES, {"test": IMAGES[:5]}, "5 samples in `test` are too few; give at least 20."),
        (
            IMAGES,
            {"test": IMAGES[:, :, :6, :6]},
            "`test` must be samples as those of `images`, 1×8×8 uint8, but",
        ),
        (IMAGES, {"test_share": 1.5}, "`test_share` must be in (0, 1), but got 1.5."),
        (
            IMAGES[:30],
            {},
            "`test_share` 0.145508 splits 30 rows into 26 to train on and 4 held out, but both",
        ),
    ],
)
def test_images_that_will_not_do_are_one_line(images: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        Dataset.of_images("own", images, **options)
    assert str(caught.value).startswith("data set `own`: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((2, 200)), "`points` must have the shape (N, 2), but has (2, 200); give its transpose."),
        (np.zeros((200, 3)), "`points` must have the shape (N, 2), but has (200, 3); give one point a row."),
        (np.zeros((0, 2)), "`points` must have the shape (N, 2), but has (0, 2)"),
        (np.full((200, 2), np.nan), "`points` must be finite, but sample 0 holds nan"),
        (np.full((200, 2), 1e300), "`points` must be finite, but sample 0 holds inf"),
        (np.full((200, 2), "1"), "`points` must be numbers, but is <U1; give floats."),
        (np.full((200, 2), None), "`points` must be an array of numbers, but holds Python objects"),
        (np.zeros((30, 2)), "`test_share` 0.145508 splits 30 rows"),
    ],
)
def test_points_that_will_not_do_are_one_line(points: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        Dataset.of_points("own", points)
    assert "\n" not in str(caught.value)


FLOATS = torch.ones(9, 1, 8, 8)


def both(samples: Any) -> dict[str, Any]:
    return {"train": samples, "test": samples}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"train": torch.zeros(9, 1, 4, 4)},
            "`test` must be samples as those of `train`, 1×4×4 float32, but",
        ),
        ({"kind": "points"}, "`train` of points must be float32, but is uint8; Dataset.of_points converts"),
        ({"num_classes": 2}, "`num_classes` is 2, but `train_labels` are missing; give both parts"),
        ({"train_labels": torch.zeros(171).long()}, "`num_classes` is 0, but `train_labels` are given"),
        (
            {"num_classes": 2, "train_labels": torch.zeros(171)},
            "`train_labels` must be int64 of shape (171,), but are float32 of shape (171,).",
        ),
        ({"class_names": ("a",)}, "`class_names` must be 0 names or none, but got 1."),
        ({"kind": "pictures"}, "`kind` must be points or images, but got 'pictures'."),
        (
            both(FLOATS[:, 0]),
            "`train` of images must have the shape (N, C, H, W), C 1 or 3, but has (9, 8, 8)",
        ),
        (both(FLOATS.repeat(1, 2, 1, 1)), "(N, C, H, W), C 1 or 3, but has (9, 2, 8, 8)"),
        (both(FLOATS[:0]), "(N, C, H, W), C 1 or 3, but has (0, 1, 8, 8)"),
        (
            both(FLOATS.numpy()),
            "`train` of images must be uint8 or float32, but is ndarray; Dataset.of_images",
        ),
        (both(FLOATS.clone().requires_grad_()), "must be uint8 or float32, but is float32 with a gradient"),
        (both(FLOATS) | {"kind": "points"}, "`train` of points must have the shape (N, 2), but has"),
    ],
)
def test_a_data_set_put_together_by_hand_is_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        replace(Dataset.of_images("own", IMAGES), **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            both(FLOATS * 255),
            "float32 images must lie in [-1, 1], but `train` reaches 255; Dataset.of_images",
        ),
        *(
            ({"test": FLOATS * value}, "data set `own`: `test` holds numbers that are not finite; leave")
            for value in (math.nan, math.inf)
        ),
        (
            {"train_labels": torch.arange(9) - 1, "test_labels": torch.arange(9) % 2, "num_classes": 2},
            "data set `own`: `train_labels` must be from 0 to 1, but run from -1 to 7.",
        ),
        (
            {"train_labels": torch.zeros(9).long(), "test_labels": torch.ones(9).long(), "num_classes": 1},
            "`test_labels` must be from 0 to 0, but run from 1 to 1.",
        ),
    ],
)
def test_a_data_set_of_numbers_that_no_network_makes_is_not_loaded(
    register: Register, changes: dict[str, Any], message: str
) -> None:
    made = Dataset(name="own", kind="images", **(both(FLOATS) | changes))
    register("own", lambda: made)
    with pytest.raises(ValueError, match=re.escape(message)):
        load_dataset(choose(datasets, "own"))


@pytest.mark.parametrize(
    ("count", "share"),
    [(9, None), (39, 0.5), (40, 0.1), (60, 0.9), (100, None), (5000, 0.999), (90_000, 1e-5)],
)
def test_what_too_few_points_are_told_to_do_helps(count: int, share: float | None) -> None:
    points = np.random.default_rng(0).standard_normal((count, 2))
    with pytest.raises(ValueError, match="but both need at least 20; ") as caught:
        Dataset.of_points("own", points, test_share=share)
    fix = str(caught.value).rpartition("; ")[2]
    advised = float(re.findall(r"[\d.e-]*\d", fix)[-1])
    if count < 40:
        assert fix == "give at least 40 rows, with `test_share` 0.5."
        points = np.random.default_rng(0).standard_normal((40, 2))
    else:
        assert re.fullmatch(r"choose [\d.e-]+\.", fix)
    found = Dataset.of_points("own", points, test_share=advised)
    assert min(len(found.train), len(found.test)) >= 20


@pytest.mark.parametrize("entry", [Dataset.of_images, Dataset.of_points, plain_value])
def test_the_examples_hold(entry: Callable[..., Any]) -> None:
    finder = doctest.DocTestFinder(recurse=False)
    (example,) = finder.find(entry, module=False, globs={"Dataset": Dataset, "plain_value": plain_value})
    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0


def test_a_mixture_that_is_none_is_told() -> None:
    good: dict[str, Any] = {
        "names": ("a", "b"),
        "means": np.zeros((2, 2)),
        "covariances": np.tile(np.eye(2), (2, 1, 1)),
        "weights": np.full(2, 0.5),
    }
    with pytest.raises(ValueError, match=r"`means` of a mixture of 2 parts must have the shape \(2, 2\)"):
        Mixture(**good | {"means": np.zeros((3, 2))})
    with pytest.raises(ValueError, match="`weights` must be positive and add up to 1, but got"):
        Mixture(**good | {"weights": np.array([0.5, 0.6])})
