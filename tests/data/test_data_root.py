"""Data on the command line: where it is, and what can be said without it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from harness.cli.main import harness
from harness.data.dataset import _load
from support.idx_files import parts, write
from support.untrained_runs import make_recipe, make_run

TINY = ["data.path=faces", "data.size=8", "train.epochs=1", "train.batch_size=16", "evaluate.num_samples=100"]
TINY += ["generator.width=0.05", "discriminator.width=0.05", "evaluate.num_grids=0"]
Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a command in this process, with no data set anywhere but where it is told."""
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "nowhere"))
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(harness, [str(word) for word in words])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of data sets with sixty images in `faces`."""
    folder = tmp_path / "data" / "faces"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(60):
        pixels = random.integers(0, 256, size=(8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("recipe", "parameters"),
    [
        ("mnist-g2d2", ("1,486,352", "38,293,889")),
        ("fashion-cgan", ("1,511,412", "932,965")),
        ("faces-dcgan64-deep", ("5,937,024", "6,903,552")),
    ],
)
def test_a_recipe_is_shown_without_its_data(run: Run, recipe: str, parameters: tuple[str, str]) -> None:
    shown = run("show", recipe)
    assert shown.exit_code == 0, shown.output
    totals = [line for line in shown.output.splitlines() if line.startswith("total")]
    assert [count in line for count, line in zip(parameters, totals, strict=True)] == [True, True]


def test_the_deeper_discriminator_costs_four_times_as_much(run: Run) -> None:
    costs = []
    for recipe in ("faces-dcgan64", "faces-dcgan64-deep"):
        totals = [line for line in run("show", recipe).output.splitlines() if line.startswith("total")]
        costs.append([int(line.split()[-1].replace(",", "")) for line in totals])
    (generator, discriminator), (deep_generator, deep_discriminator) = costs
    assert discriminator == 103_817_216
    assert deep_discriminator / discriminator == pytest.approx(4.0, abs=0.02)
    assert deep_generator / generator == pytest.approx(1.36, abs=0.01)


def test_a_deeper_recipe_says_what_its_depth_costs(run: Run) -> None:
    assert "against depth 0" not in run("show", "faces-dcgan64").output
    lines = [line for line in run("show", "faces-dcgan64-deep").output.splitlines() if "depth 0" in line]
    assert [line.partition(" the ")[0] for line in lines] == [
        "depth 1 against depth 0: 1.36×",
        "depth 1 against depth 0: 3.99×",
    ]
    assert "multiply-adds (103,817,216) and " in lines[1]
    (line,) = [
        line
        for line in run("show", "mnist-g1d1", "--set", "generator.depth=2").output.splitlines()
        if "depth 0" in line
    ]
    assert line.startswith("depth 2 against depth 0: ")


def test_data_are_found_below_the_root_that_is_given(run: Run, root: Path, tmp_path: Path) -> None:
    settings = [word for pair in TINY for word in ("--set", pair)]
    trained = run("train", "faces-dcgan64", *settings, "--data-root", root, "--directory", tmp_path / "runs")
    assert trained.exit_code == 0, trained.output
    assert os.environ["HARNESS_DATA"] == str(root)
    (folder,) = (tmp_path / "runs" / "train" / "runs").iterdir()
    assert (folder / "samples" / "real.png").exists()


def test_notes_on_the_data_are_shown_by_every_command_and_kept_with_the_run(
    run: Run, root: Path, tmp_path: Path
) -> None:
    (root / "faces" / "torn.png").write_bytes(b"")
    settings = [word for pair in TINY for word in ("--set", pair)]
    told = "1 of 61 files could not be read and left out: torn.png (the file is empty); all in "
    for attempt in ("trained", "handed back"):
        _load.cache_clear()  # each command is a process of its own
        done = run("train", "faces-dcgan64", *settings, "--data-root", root, "--directory", tmp_path / "runs")
        assert done.exit_code == 0, (attempt, done.output)
        assert done.stderr.startswith(f"`faces`: {told}"), attempt
    (path,) = (tmp_path / "runs" / "train" / "runs").glob("*/result.json")
    (note,) = json.loads(path.read_text())["environment"]["data_notes"]
    assert note.startswith(told)
    _load.cache_clear()
    planned = run("plan", "f-depth", "--seeds", 1, *settings, "--data-root", root)
    assert planned.stderr.count(told) == 1


def test_names_of_classes_are_found_below_the_root(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.data.places._SYSTEM", tmp_path / "system")
    write(tmp_path / "data" / "fashion-mnist", parts())
    folder, _ = make_run(tmp_path / "apart", make_recipe("cgan", "fashion-mnist"))
    unknown = run("generate", folder, "--labels", "trouser", "--out", tmp_path / "none")
    assert "unknown class `trouser`. Known: 0, 1" in str(unknown.exception)
    for command in (("generate", "--num", 1), ("latent", "edit", "--dims", "1,"), ("latent", "interpolate")):
        out = ("--data-root", tmp_path / "data", "--out", tmp_path / str(command[1]))
        done = run(*command, folder, "--labels", "trouser", *out)
        assert done.exit_code == 0, done.exception
    assert (tmp_path / "--num" / "images" / "00000_class1.png").exists()


def test_a_study_is_planned_on_the_data_below_the_root(run: Run, root: Path) -> None:
    for copy in range(60, 300):  # the Fréchet distance needs 129 held out
        folder = root / "faces"
        (folder / f"{copy}.png").write_bytes((folder / f"{copy % 60:02d}.png").read_bytes())
    enough = ["evaluate.num_samples=150", "data.test_share=0.5"]
    few = [pair for pair in TINY if not pair.startswith("evaluate.num_samples")]
    settings = [word for pair in (*few, *enough) for word in ("--set", pair)]
    planned = run("plan", "f-depth", "--seeds", 1, *settings, "--data-root", root)
    assert planned.exit_code == 0, planned.exception
    assert planned.output.count("to do") == 10


def test_a_root_that_is_no_folder_is_refused(run: Run, tmp_path: Path) -> None:
    refused = run("train", "mnist-g1d1", "--data-root", tmp_path / "missing")
    assert refused.exit_code == 2
    assert "Directory" in refused.output
    assert "does not exist" in refused.output


def test_missing_data_are_named_with_the_places_looked_at(run: Run, tmp_path: Path) -> None:
    refused = run("train", "mnist-g1d1", "--directory", tmp_path / "runs")
    assert isinstance(refused.exception, ValueError)
    assert "data set `mnist` is in none of the places looked at" in str(refused.exception)
    assert "HARNESS_DATA" in str(refused.exception)
