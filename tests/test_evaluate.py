"""Scoring what there is: runs, whose numbers come again, and folders of images, whoever made them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from harness import RunResult, train
from harness.cli.main import main
from harness.data import load_dataset
from harness.engine import checkpoint as checkpoints
from harness.evaluation import evaluate
from harness.metrics.images.folder import read_images
from harness.recipe import choose, find_recipe
from harness.recipe.registry import datasets
from harness.tracking import read_history

SMALL = {
    "data.limit": 256,
    "train.batch_size": 32,
    "train.epochs": 2,
    "evaluate.every_epochs": 1,
    "evaluate.num_samples": 100,
    "evaluate.num_grids": 0,
    "generator.width": 0.25,
    "discriminator.width": 0.25,
}
POINTS = {"train.epochs": 1, "evaluate.num_samples": 200, "evaluate.num_grids": 0}


def trained(directory: Path, name: str, changes: Mapping[str, Any]) -> tuple[Path, RunResult]:
    recipe = find_recipe(name).override(changes)
    result = train(recipe, seed=3, device="cpu", directory=directory / "train", wandb="disabled")
    return directory / "train" / "runs" / result.run_id, result


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def run(runs: Path) -> Path:
    return trained(runs, "digits-gan", SMALL)[0]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 digits as PNGs: grey, grey saved in colour, and grey with a palette; some in a folder below."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "below").mkdir()
    data = load_dataset(choose(datasets, "digits"))
    for number, pixels in enumerate(data.train[:120, 0].numpy()):
        mode = ("L", "RGB", "P")[number % 3]
        place = folder / "below" if number % 2 else folder
        Image.fromarray(pixels).convert(mode).save(place / f"{number:03d}.png")
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_bytes(b"no image")
    return folder


def last_scores(run: Path) -> dict[str, float]:
    rows = [row for row in read_history(run / "history.jsonl") if "eval/pair_distance" in row]
    found = {key.removeprefix("eval/"): value for key, value in rows[-1].items() if key.startswith("eval/")}
    assert found
    return found


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command that must fail says: one line, with exit status 2."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["harness", "evaluate", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1, said
    return said


def output_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["harness", "evaluate", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
    said = capsys.readouterr()
    assert stopped.value.code == 0, said.err
    return said.out


# Runs


@pytest.mark.parametrize(
    ("recipe", "changes"),
    [("digits-gan", SMALL), ("digits-cgan", SMALL), ("digits-dcgan", SMALL), ("points-gan", POINTS)],
)
def test_a_run_gets_the_numbers_of_its_last_evaluation(
    runs: Path, recipe: str, changes: dict[str, Any]
) -> None:
    folder, result = trained(runs, recipe, changes)
    found = evaluate(result.run_id, directory=runs)
    assert found.source == str(folder)
    assert found.num_samples == changes["evaluate.num_samples"]
    expected = last_scores(folder)
    assert {"d_auc", "coverage"} <= expected.keys() <= found.scores.keys()
    for name, value in expected.items():
        assert found.scores[name] == pytest.approx(value, rel=1e-4, abs=1e-5), name
    assert set(found.scores.failures) == found.scores.too_few
    assert found.verdict.step == found.step == max(row["train/step"] for row in read_history_of(folder))
    assert {"d_auc", "g_grad_norm", "modes"} <= found.verdict.evidence.keys()
    assert found.recorded == result.verdict["name"] == found.verdict.name


def read_history_of(folder: Path) -> list[dict[str, float]]:
    return read_history(folder / "history.jsonl")


def test_the_best_checkpoint_is_another_one_and_its_absence_one_line(run: Path, tmp_path: Path) -> None:
    state = checkpoints.load(run / "checkpoint.pt")
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "recipe.json").write_bytes((run / "recipe.json").read_bytes())
    checkpoints.save(alone / "checkpoint.pt", state)
    with pytest.raises(ValueError, match=r"has no best\.pt"):
        evaluate(alone, checkpoint="best")
    weights = {key: value * 1.5 for key, value in state["generator"].items()}
    checkpoints.save(alone / "best.pt", {**state, "generator": weights, "step": 5})
    best, last = (evaluate(alone, checkpoint=which) for which in ("best", "last"))
    assert best.step == 5
    assert best.scores["pair_distance"] != last.scores["pair_distance"]
    assert last.scores["pair_distance"] == pytest.approx(last_scores(run)["pair_distance"], rel=1e-4)
    assert "g_grad_norm" in last.verdict.missing  # there is no history


def test_against_other_data_there_is_no_d_auc_and_an_extractor_has_its_name(run: Path) -> None:
    other = evaluate(run, against="digits", options={"limit": 300}, extractor="random-conv")
    assert "d_auc" not in other.scores
    assert other.titles["frechet"].startswith("frechet/random-conv@")
    assert "class_recall" not in other.scores


def test_a_run_has_moved_only_from_untrained_scores_that_were_measured_alike(run: Path) -> None:
    assert "moved" in evaluate(run).verdict.evidence
    assert (
        "moved"
        in evaluate(run, against="digits", extractor="lenet-digits", options={"limit": 256}).verdict.evidence
    )
    assert "moved" not in evaluate(run, extractor="random-conv").verdict.evidence


def test_a_run_without_a_result_lacks_only_what_that_would_have_told(run: Path, tmp_path: Path) -> None:
    for name in ("recipe.json", "checkpoint.pt", "history.jsonl"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    found = evaluate(tmp_path)
    assert found.recorded == ""
    assert found.scores == evaluate(run).scores
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(ValueError, match=r"result\.json is not a run's result"):
        evaluate(tmp_path)


def test_a_run_whose_samples_are_not_finite_is_refused(run: Path, tmp_path: Path) -> None:
    state = checkpoints.load(run / "checkpoint.pt")
    key = next(iter(state["generator"]))
    state["generator"][key] = torch.full_like(state["generator"][key], torch.nan)
    (tmp_path / "recipe.json").write_bytes((run / "recipe.json").read_bytes())
    checkpoints.save(tmp_path / "checkpoint.pt", state)
    with pytest.raises(ValueError, match=r"100 of 100 .* are not finite; the run has diverged"):
        evaluate(tmp_path)


# Folders


def test_images_of_a_folder_are_taken_as_they_are(pictures: Path) -> None:
    images, notes = read_images(pictures, (1, 8, 8), num=1000)
    data = load_dataset(choose(datasets, "digits"))
    assert images.dtype == torch.uint8
    assert {row.numpy().tobytes() for row in images} == {row.numpy().tobytes() for row in data.train[:120]}
    assert images[:5].tolist() != data.train[:5].tolist()  # in random order
    assert notes == ("40 images had a palette: its colours were looked up.",)
    colour, _ = read_images(pictures, (3, 8, 8), num=1000)
    assert torch.equal(colour, images.expand(-1, 3, -1, -1))
    few, notes = read_images(pictures, (1, 8, 8), num=30)
    assert torch.equal(few, images[:30])
    assert notes[-1] == "30 of 120 images were chosen at random; --num takes more."


@pytest.mark.parametrize(
    ("side", "ending"), [(20, r"size, or data of theirs \(--set size=20\)."), (1200, "size.")]
)
def test_a_size_is_advised_where_the_data_can_be_had_at_it(tmp_path: Path, side: int, ending: str) -> None:
    for number in range(20):
        Image.new("L", (side, side), number).save(tmp_path / f"{number}.png")
    with pytest.raises(ValueError, match=rf"give images of the data's {ending}$"):
        evaluate(tmp_path, against="digits")


def test_a_folder_is_scored_like_the_images_in_it_and_judged_at_one_look(pictures: Path) -> None:
    found = evaluate(pictures, against="digits")
    assert found.step is None
    assert found.num_samples == found.num_null == 120
    assert found.scores["class_recall"] == 1
    assert found.scores["precision_over_real"] == pytest.approx(1, abs=0.05)
    assert "d_auc" not in found.scores
    assert found.verdict.name == "healthy"
    assert found.verdict.missing == ("d_auc", "g_grad_norm")
    assert any("one look counts as enough" in note for note in found.notes)


def test_a_folder_of_one_class_is_collapsed_and_the_missing_ones_are_named(tmp_path: Path) -> None:
    data = load_dataset(choose(datasets, "digits"))
    assert data.train_labels is not None
    for number, pixels in enumerate(data.train[data.train_labels == 4, 0].numpy()):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    found = evaluate(tmp_path, against="digits")
    assert found.verdict.name == "collapsed"
    assert found.missing_classes == tuple("012356789")


def test_exact_copies_are_counted(pictures: Path, tmp_path: Path) -> None:
    assert not any("copies" in note for note in evaluate(pictures, against="digits").notes)
    chosen = sorted(pictures.glob("[0-9]*.png"))[:30]
    for number, path in enumerate(chosen * 4):
        (tmp_path / f"{number}.png").write_bytes(path.read_bytes())
    notes = evaluate(tmp_path, against="digits").notes
    assert "90 of the 120 images are exact copies of others." in notes


def test_a_file_that_is_no_image_is_left_out_and_counted(pictures: Path, tmp_path: Path) -> None:
    for path in pictures.glob("*.png"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "odd.png").write_bytes(b"not an image")
    images, notes = read_images(tmp_path, (1, 8, 8), num=1000)
    assert len(images) == 60
    assert notes[-1].startswith("1 of 61 files could not be read, and are left out: odd.png (")
    for path in tmp_path.glob("[0-9]*.png"):
        path.unlink()
    with pytest.raises(ValueError, match=r"none of the 1 files in .* can be read: odd\.png"):
        read_images(tmp_path, (1, 8, 8), num=1000)
    (tmp_path / "good.png").write_bytes(next(pictures.glob("*.png")).read_bytes())
    with pytest.raises(
        ValueError, match=r"at least 20 .* of the 2 files in .* only 1 can be read; .* odd\.png"
    ):
        evaluate(tmp_path, against="digits")


# The command


def test_the_command_prints_scores_with_full_names_beside_real_ones_and_the_verdict(
    capsys: pytest.CaptureFixture[str], run: Path, pictures: Path
) -> None:
    said = output_of(capsys, str(run))
    frechet = next(line for line in said.splitlines() if line.startswith("frechet/lenet-digits@"))
    assert re.fullmatch(r"frechet/lenet-digits@\w{8} +[\d.]+ +[\d.]+ +lower, 0 is right", frechet.strip()), (
        frechet
    )
    assert "100 real samples" in said
    assert "at step 16: " in said
    assert "and at the recorded evaluations before it" in said
    failed = output_of(capsys, str(pictures), "--against", "digits", "--num", "50")
    assert "failed: frechet: " in failed
    assert "at least 85 generated images" in failed
    assert re.search(r"^3 of \d\d scores could not be computed\.$", failed, re.MULTILINE)
    assert re.search(r"^not given: class_recall_clear and class_surplus: only \d\d gen", failed, re.MULTILINE)


def test_json_holds_what_the_table_shows(capsys: pytest.CaptureFixture[str], pictures: Path) -> None:
    said = output_of(capsys, str(pictures), "--against", "digits", "--json")
    found = json.loads(said)
    assert found["verdict"]["name"] == "healthy"
    assert found["scores"]["coverage"]["ideal"] is None  # it depends on how many samples there are
    assert found["scores"]["coverage_over_real"]["ideal"] == 1
    assert found["scores"]["kid"]["name"].startswith("kid/lenet-digits@")
    assert found["scores"]["swd"]["real"] < 100
    assert found["fingerprint"]["extractor"].startswith("lenet-digits@")
    assert (found["num_samples"], found["failed"]) == (120, {})
    assert list(found["not_given"]) == ["class_recall_clear", "class_surplus"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["PICTURES"], "is taken for one of generated images; say what they imitate (--against"),
        (["PICTURES", "--against", "digit"], "unknown data set `digit`; did you mean `digits`"),
        (["PICTURES", "--against", "points"], "is a data set of points"),
        (["PICTURES", "--against", "digits", "--extractor", "lenet"], "unknown extractor `lenet`"),
        (["PICTURES", "--against", "digits", "--num", "19"], "need at least 20 generated images, but got 19"),
        (["PICTURES", "--against", "digits", "--set", "size=16"], "is 8×8, but the data are 16×16"),
        (["PICTURES", "--against", "digits", "--set", "sizes=8"], "digits has no option `sizes`"),
        (
            ["PICTURES", "--against", "digits", "--extractor", "inception:NOTES"],
            "is not a file of weights that PyTorch can read",
        ),
        (["EMPTY", "--against", "digits"], "holds no images"),
        (["COLOUR", "--against", "digits"], "is in colour, 3 channels, but the data are grey"),
        (["NOTES", "--against", "digits"], "is a file; name a run's folder or id"),
        (["EMPTY/none", "--against", "digits"], "does not exist; name a run's folder or id"),
        (["abcdef"], "is neither a run's folder nor the beginning of a run's id"),
        (["RUN", "--num", "5"], "need at least 20 generated images, but got 5"),
        (["RUN", "--against", "points"], "makes samples of shape (1, 8, 8), but those of `points` have (2,)"),
        (["RUN", "--set", "size=28"], "makes samples of shape (1, 8, 8), but those of `digits` have (1, 28"),
        (["RUN", "--set", "sizes=8"], "digits has no option `sizes`"),
        (["RUN", "--extractor", "inception:NOTES"], "is not a file of weights that PyTorch can read"),
        (["UNFINISHED"], "the run has not finished"),
    ],
)
def test_bad_input_is_one_line(
    capsys: pytest.CaptureFixture[str],
    run: Path,
    pictures: Path,
    tmp_path: Path,
    arguments: list[str],
    said: str,
) -> None:
    places = {
        "PICTURES": pictures,
        "NOTES": pictures / "notes.txt",
        "EMPTY": tmp_path / "empty",
        "COLOUR": tmp_path / "colour",
        "UNFINISHED": tmp_path / "unfinished",
        "RUN": run,
    }
    for name in ("empty", "colour", "unfinished"):
        (tmp_path / name).mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, size=(8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "colour" / "a.png")
    (tmp_path / "unfinished" / "recipe.json").write_bytes((run / "recipe.json").read_bytes())
    for index, word in enumerate(arguments):
        for name, place in places.items():
            word = word.replace(name, str(place))
        arguments = [*arguments[:index], word, *arguments[index + 1 :]]
    assert said in error_of(capsys, *arguments, "--directory", str(tmp_path))


def test_a_number_of_samples_below_none_is_refused(runs: Path, run: Path) -> None:
    with pytest.raises(ValueError, match=r"`num` must be at least 1, or 0 for the default, but got -1"):
        evaluate(run, num=-1)
    with pytest.raises(ValueError, match="holds points, which need no extractor"):
        evaluate(trained(runs, "points-gan", POINTS)[0], extractor="random-conv")
