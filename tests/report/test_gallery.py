"""The report of a study on images."""

from __future__ import annotations

import re
from base64 import b64encode
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.analysis.findings import flags
from harness.analysis.summary import Summary, summarise
from harness.execution.worker import Worker
from harness.figures.canvas import line_height
from harness.figures.grids import TITLE
from harness.files import read_json, write_json
from harness.report.gallery import _frame_at, beside_pictures, draw_gallery, words_of
from harness.report.page import write_report
from harness.report.pictures import shown_arms
from harness.runs.folder import run_directory
from harness.study.study import Study
from harness.tracking import read_history
from harness.words import rounded
from support.image_recipes import SMALL
from support.tiny_studies import unmeasured_plan


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three arms with three seeds each: one trains twice as long, one diverges. Not to be changed."""
    study = Study.from_json(
        {
            "name": "pictured",
            "recipe": "digits-gan",
            "metric": {"name": "frechet"},
            "seeds": 3,
            "parameters": {k: {"value": v} for k, v in SMALL.items() if k != "train.epochs"},
            "ablate": {
                "arms": {
                    "short": {"train.epochs": 2},
                    "long": {"train.epochs": 4},
                    "wild": {"train.epochs": 2, "optimizer.name": "sgd", "optimizer.lr": 1e30},
                },
                "baseline": "short",
            },
        }
    )
    plan = unmeasured_plan(study, tmp_path_factory.mktemp("runs"))
    Worker(plan.directory, wandb="disabled").work()
    write_report(plan.directory)
    return plan.directory


def page(folder: Path) -> str:
    html = (folder / "report" / "index.html").read_text()
    return " ".join(unescape(re.sub(r"data:[^\"]+|<[^>]+>", " ", html)).split())


def pixels(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with Image.open(path) as file:
        return np.asarray(file.convert("RGB"))


def holds(picture: np.ndarray, part: np.ndarray) -> bool:  # type: ignore[type-arg]
    """Whether one picture is somewhere inside of another, pixel by pixel."""
    rows, columns = part.shape[:2]
    places = np.argwhere((picture[:, :, 0] == part[0, 0, 0])[: 1 - rows or None, : 1 - columns or None])
    return any(np.array_equal(picture[y : y + rows, x : x + columns], part) for y, x in places)


def frame(summary: Summary, run_id: str, step: int) -> np.ndarray:  # type: ignore[type-arg]
    """The first rows of a run's grid, without the edges, which may be framed."""
    path = run_directory(summary.directory, run_id) / "samples" / f"step_{step:08d}.png"
    top = line_height(TITLE) + 2
    return pixels(path)[top + 5 : top + 150, 5:400]


def test_images_of_the_arms_stand_side_by_side_after_as_many_real_images(folder: Path) -> None:
    summary = summarise(folder)
    picture = pixels(folder / "report" / "figures" / "samples.png")
    short, long, _ = (summary.median_run(arm) for arm in summary.arms)
    assert short is not None
    assert long is not None
    assert holds(picture, frame(summary, short.run_id, 16))
    assert holds(picture, frame(summary, long.run_id, 16))
    assert not holds(picture, frame(summary, long.run_id, 32))
    text = page(folder)
    assert "when every discriminator had seen 512 real images, the most that all of them saw" in text


def test_of_the_frames_with_a_score_the_one_nearest_to_the_budget_is_shown_with_its_own_score(
    folder: Path, tmp_path: Path
) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    summary = summarise(copy)
    run = summary.median_run(summary.arms[1])
    assert run is not None
    rows = read_history(run_directory(copy, run.run_id) / "history.jsonl")
    curve = {int(row["train/step"]): row["eval/frechet"] for row in rows if "eval/frechet" in row}
    samples = run_directory(copy, run.run_id) / "samples"
    (samples / "step_00000016.png").rename(samples / "step_00000017.png")
    # Step 17 is nearer, but has no score; step 8 is as near to 16 as step 24, which goes.
    (samples / "step_00000024.png").unlink()
    for budget, step in ((512, 8), (540, 8), (641, 32), (1e9, 32)):
        path, found = _frame_at(summary, run, budget)
        assert (found, path) == (step, samples / f"step_{step:08d}.png")
        assert words_of(summary, run, step).endswith(f"frechet {rounded(curve[step])}")
    assert words_of(summary, run) == words_of(summary, run, 32) != words_of(summary, run, 8)
    first, *_ = draw_gallery(summary, shown_arms(summary)[:2], tmp_path)
    assert "as near as a frame with a score comes to the time when every discriminator had" in first.caption


def test_runs_that_diverged_are_among_the_worst_with_their_last_grid(folder: Path) -> None:
    summary = summarise(folder)
    picture = pixels(folder / "report" / "figures" / "worst.png")
    wild = summary.arms[2]
    assert len(wild.failed) == 3
    run = wild.failed[0]
    last = max(run_directory(folder, run.run_id).glob("samples/step_*.png"))
    assert any(holds(picture, frame(summary, run.run_id, int(last.stem[5:]))) for run in wild.failed)
    assert "The worst runs" in page(folder)


def test_the_page_shows_films_filmstrips_and_neighbours_in_words(folder: Path) -> None:
    html, text = (folder / "report" / "index.html").read_text(), page(folder)
    assert len(re.findall("data:image/gif;base64", html)) == 3
    assert 'alt="Film of a run of short: generated images"' in html
    assert "From noise to images" in text
    assert "Learnt, or learnt by heart?" in text
    assert len(re.findall('alt="Training images beside images made by ', html)) == 2
    assert len(re.findall('alt="Generated images of ', html)) == 2  # the third arm has none
    assert "of the training set" not in text  # it is in the picture
    assert "surface" not in text


def test_what_was_drawn_of_a_runs_latents_is_on_the_page_with_the_run_named(
    folder: Path, tmp_path: Path
) -> None:
    import shutil

    assert "What the latents do" not in page(folder)
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    run = summarise(copy).arms[1].runs[2]
    latent = run_directory(copy, run.run_id) / "latent"
    latent.mkdir()
    Image.new("L", (3, 3)).save(latent / "interpolate_linear.png")
    write_report(copy)
    text = page(copy)
    assert f"long, seed {run.seed}: straight walks between latents Run {run.run_id}." in text
    html = (copy / "report" / "index.html").read_text()
    assert b64encode((latent / "interpolate_linear.png").read_bytes()).decode() in html


def test_a_study_that_ends_at_equal_budgets_says_so(folder: Path, tmp_path: Path) -> None:
    summary = summarise(folder)
    arms = [arm for arm in shown_arms(summary) if arm.name == "short"]
    first, *_ = draw_gallery(summary, arms, tmp_path)
    assert "at the end of training, when every discriminator had seen equally many" in first.caption


def test_of_many_arms_the_baseline_alone_is_shown_beside_real_images(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = summarise(folder)
    found = beside_pictures(summary, shown_arms(summary))
    assert [(name, words[:7]) for name, _, words in found] == [("short", "seed 0,"), ("long", "seed 0,")]
    monkeypatch.setattr("harness.report.gallery._MAX_BESIDE", 2)
    assert [name for name, *_ in beside_pictures(summary, shown_arms(summary))] == ["short"]


def test_points_have_no_gallery(tmp_path: Path) -> None:
    from support.synthetic_study import OPTIMIZERS, make_ablation

    summary = summarise(make_ablation(tmp_path, Study.parse(OPTIMIZERS, seeds=1)))
    assert draw_gallery(summary, shown_arms(summary), tmp_path) == []


def test_scores_that_failed_are_flagged_with_their_reason(folder: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    short = summarise(copy).arms[0].runs
    for run in short[:2]:
        path = run_directory(copy, run.run_id) / "result.json"
        failed = {"kid": {"count": 2, "reason": "no embedding."}}
        write_json(path, read_json(path) | {"failed_scores": failed})
    found = [flag for flag in flags(summarise(copy)) if flag.label == "kid missing"]
    assert [flag.text for flag in found] == [
        "kid could not be computed at 4 evaluations of 2 runs of short: no embedding."
    ]


def test_a_run_without_pictures_leaves_a_blank_and_no_error(folder: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    for path in copy.glob("runs/*/samples/step_*.png"):
        path.unlink()
    write_report(copy)
    assert (copy / "report" / "figures" / "samples.png").exists()


def test_named_arms_are_not_spelt_out_in_the_table_that_people_read(folder: Path) -> None:
    header = (folder / "report" / "table.md").read_text().splitlines()[4]
    assert "optimizer.lr" not in header
    assert "optimizer.lr" in (folder / "report" / "table.csv").read_text().splitlines()[0]
    assert "optimizer.lr" in page(folder)
