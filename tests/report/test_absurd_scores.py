"""Scores that tell of something broken are marked wherever they stand, and no number is dropped."""

from __future__ import annotations

import csv
import io
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from harness import figures
from harness.analysis.findings import answers, flags
from harness.analysis.result import load_results
from harness.analysis.summary import summarise
from harness.cli.main import main
from harness.execution.display import SweepDisplay
from harness.execution.status import StatusReader
from harness.planning.plan_file import read_plan
from harness.recipe.registry import metrics
from harness.report.page import write_report
from harness.study.study import Study
from harness.tracking import ConsoleTracker
from harness.words import ABSURD
from support.synthetic_study import OPTIMIZERS, end_score, make_ablation

HUGE = 3.65e21


def broken_end(arm: str, seed: int) -> float:
    return HUGE if (arm, seed) == ("adam", 3) else end_score(arm, seed)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of which one run of one arm ran away."""
    return make_ablation(tmp_path_factory.mktemp("broken"), Study.parse(OPTIMIZERS), end=broken_end)


@pytest.mark.parametrize(
    ("name", "value", "untrained", "absurd"),
    [
        ("swd", HUGE, math.nan, True),
        ("swd", 800.5, math.nan, False),  # of constant images against noise
        ("swd", 60_000.0, math.nan, False),  # noise against images of a contrast of a hundredth
        ("precision", 1.5, math.nan, True),
        ("precision", 1.0 + 1e-9, math.nan, False),
        ("mmd2", -0.01, 1.0, False),
        ("repeated", -0.5, math.nan, False),
        ("sliced_w2", 1e20, 0.6, True),
        ("sliced_w2", 5e8, 1e7, False),  # points with coordinates in the millions
        ("sliced_w2", 5e8, math.nan, False),
        ("frechet", math.inf, math.nan, True),
    ],
)
def test_a_score_is_absurd_beyond_what_its_definition_and_the_untrained_generator_bear(
    name: str, value: float, untrained: float, absurd: bool
) -> None:
    assert metrics[name].is_absurd(value, untrained) is absurd


def test_tables_keep_the_number_and_mark_it(study: Path) -> None:
    report = write_report(study)
    rows = {row["arm"]: row for row in csv.DictReader(io.StringIO((report / "table.csv").read_text()))}
    assert float(rows["adam"]["mean"]) == pytest.approx(HUGE / 8, rel=1e-5)
    assert {arm: row["absurd"] for arm, row in rows.items()} == {
        "rmsprop": "",
        "sgd": "",
        "adam": "sliced_w2 coverage",
    }
    compared = csv.DictReader(io.StringIO((report / "comparisons.csv").read_text()))
    assert {row["arm"]: row["absurd"] for row in compared} == {"sgd": "false", "adam": "true"}
    for name in ("table.md", "table.tex"):
        text = (report / name).read_text(encoding="utf-8")
        lines = {line.strip("| ").split()[0]: line for line in text.splitlines() if line.strip("| ")}
        assert lines["adam"].count("(!)") == 7  # the mean over training and the differences among them
        assert "4.56e20 (!)" in lines["adam"]
        assert "(!)" not in lines["sgd"]
        assert ABSURD in text


def test_the_page_says_what_is_broken(study: Path) -> None:
    page = (write_report(study) / "index.html").read_text(encoding="utf-8")
    assert "4.56e20 (!)" in page
    assert ABSURD in page
    summary = summarise(study)
    (flag,) = (flag for flag in flags(summary) if flag.label == "absurd scores")
    assert flag.arm == "adam"
    assert "sliced_w2 3.65e21, coverage -6.19e21 (!)" in flag.text
    (told,) = (answer for answer in answers(summary) if answer.arm == "adam")
    assert "4.56e20 (!)" in told.evidence
    found = load_results(study)
    assert "4.56e20 (!)" in found._repr_html_()
    absurd = {(row["arm"], row["seed"]): row["absurd"] for row in found.to_rows() if row["absurd"]}
    assert absurd == {("adam", 3): "sliced_w2, coverage"}


def test_figures_give_the_axis_to_the_other_scores_and_the_caption_tells_the_number(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[str, list[float]] = {}

    def dots(arms: list[figures.Dots], *_: object, **__: object) -> None:
        assert [arm.label for arm in arms] == ["rmsprop", "sgd", "adam (!)"]
        drawn["dots"] = [value for arm in arms for value in (*arm.values, arm.mean, arm.low, arm.high)]

    def curves(quantities: dict[str, list[figures.Series]], *_: object, **__: object) -> None:
        for label, series in quantities.items():
            drawn[label] = np.concatenate([one.values.ravel() for one in series]).tolist()

    monkeypatch.setattr(figures, "dot_and_interval", dots)
    monkeypatch.setattr(figures, "time_curves", curves)
    monkeypatch.setattr(figures, "metric_curves", curves)
    from harness.report.pictures import draw_pictures

    folder = study / "report" / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        pictures = draw_pictures(summarise(study), folder)
    finally:
        monkeypatch.undo()
        write_report(study)
    assert len(drawn["dots"]) == 8 + 8 + 7 + 9
    assert len(drawn) > 3
    for values in drawn.values():
        assert np.nanmax(np.abs(values)) < 1e6
    assert "adam seed 3: 3.65e21 (!)" in pictures[0].caption


def test_where_every_score_is_absurd_all_are_drawn_and_the_caption_says_so(tmp_path: Path) -> None:
    text = OPTIMIZERS.replace("[rmsprop, sgd, adam]", "[rmsprop, adam]")
    folder = make_ablation(tmp_path, Study.parse(text, seeds=2), end=lambda arm, seed: HUGE * (1 + seed))
    page = (write_report(folder) / "index.html").read_text(encoding="utf-8")
    assert "All of these scores are absurd (!)" in page
    assert (folder / "report" / "figures" / "arms.png").stat().st_size > 5000


def test_the_terminal_marks_them_while_a_study_runs_and_when_a_run_ends(study: Path) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=120)
    with SweepDisplay("optimizers", console=console) as display:
        display.update(StatusReader(read_plan(study)).status([]))
    shown = stream.getvalue()
    (line,) = (line for line in shown.splitlines() if line.startswith("adam"))
    assert "4.562e+20 (!)" in line
    assert ABSURD in shown.replace("\n", " ")

    run = next(run for run in load_results(study).runs if (run.arm, run.seed) == ("adam", 3))
    tracker = ConsoleTracker(label="run", total_steps=1, console=Console(file=stream, width=120))
    tracker.finish(run.to_json())
    assert "3.65e+21 (!)" in stream.getvalue()
    assert stream.getvalue().count(ABSURD) == 2


def test_evaluate_marks_the_scores_of_images_without_contrast(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for name in ("real", "made"):
        (tmp_path / name).mkdir()
        for number in range(200):
            grey = np.full((16, 16), 128) if name == "real" else rng.integers(0, 256, (16, 16))
            Image.fromarray(grey.astype(np.uint8)).save(tmp_path / name / f"{number}.png")
    data = ["--against", "image-folder", f"--set=path={tmp_path}/real", "--set=size=16"]
    monkeypatch.setattr(sys, "argv", ["harness", "evaluate", str(tmp_path / "made"), *data])
    with pytest.raises(SystemExit) as stopped:
        main()
    said = capsys.readouterr()
    assert stopped.value.code == 0, said.err
    (line,) = (line for line in said.out.splitlines() if line.startswith("swd"))
    assert " (!) " in line
    assert ABSURD in said.out.replace("\n", " ")
