"""The studies in `sweeps/`: each is valid, and its short version runs on data shipped with the harness."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from rich.console import Console

from harness.analysis.load import read_results
from harness.data import load_dataset, outline
from harness.execution.launch import run_study
from harness.recipe.networks import check_networks
from harness.recipe.registry import metrics
from harness.study.study import Study, find_study
from harness.study.target import Target

LOWER = Target(metric="sliced_w2", goal="minimize")
SWEEPS = Path(__file__).parents[2] / "sweeps"
FILES = sorted([*SWEEPS.glob("*.yaml"), *SWEEPS.glob("reports/*.yaml")])
REPORTS = {
    "a-fc-vs-dcgan",
    "b-pairs",
    "b-steps-ratio",
    "b-generator-loss",
    "b-norm-dropout",
    "b-activation",
    "c-cgan",
    "c-label-dim",
    "d-losses",
    "d-optimizers",
    "f-depth",
}
EMBEDDED = {"points", "ring", "grid", "digits"}


def names(paths: list[Path]) -> list[str]:
    return [path.stem for path in paths]


def test_every_question_of_the_reports_has_its_study() -> None:
    assert set(names(list(SWEEPS.glob("reports/*.yaml")))) >= REPORTS
    assert set(names(list(SWEEPS.glob("*.yaml")))) >= {
        "optimizers",
        "optimizers-tuned",
        "depth",
        "depth-fc",
        "losses",
        "growing",
    }


def test_a_study_can_be_trained_as_it_is_asked(subtests: pytest.Subtests) -> None:
    for path in FILES:
        with subtests.test(path=path):
            study = Study.load(path)
            assert study.name == path.stem
            assert find_study(path.stem).resolve() == path
            assert len(study.description) > 100
            assert Study.from_json(study.to_json()) == study
            assert sum(arm.is_baseline for arm in study.arms) == 1
            for arm in study.arms:
                shape = outline(arm.recipe.data)
                check_networks(arm.recipe, shape.sample_shape, shape.num_classes)
                kind = "images" if len(shape.sample_shape) == 3 else "points"
                assert metrics[study.target.metric].kind in (kind, "any")
                assert arm.recipe.warnings() == []


def test_enough_seeds_are_asked_for_to_decide(subtests: pytest.Subtests) -> None:
    from harness.analysis.statistics import compare

    for path in FILES:
        with subtests.test(path=path):
            study = Study.load(path)
            seeds = study.final_seeds or study.seeds
            base = dict.fromkeys(seeds, 0.0)
            arms = {
                arm.name: {seed: 1.0 + seed for seed in seeds} for arm in study.arms if not arm.is_baseline
            }
            assert {found.decision for found in compare(base, arms, target=LOWER)} == {"worse"}


def test_a_short_version_is_short_and_needs_no_download(
    monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests
) -> None:
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    for path in FILES:
        with subtests.test(path=path):
            study, short = Study.load(path), Study.load(path, smoke=True)
            assert short.name == f"{study.name}-smoke"
            assert [arm.name for arm in short.arms] == [arm.name for arm in study.arms]
            for arm in short.arms:
                assert arm.recipe.data.name in EMBEDDED
                dataset = load_dataset(arm.recipe.data)
                check_networks(arm.recipe, dataset.sample_shape, dataset.num_classes)
            runs = len(short.arms) * len(short.seeds)
            epochs = max(arm.recipe.train.epochs for arm in short.arms)
            assert runs * epochs <= 600


@pytest.mark.slow
@pytest.mark.timeout(900)  # two of them may share two cores with other work
@pytest.mark.parametrize("path", FILES, ids=names(FILES))
def test_a_short_version_runs_to_its_report(path: Path, tmp_path: Path) -> None:
    study = Study.load(path, smoke=True)
    console = Console(file=(tmp_path / "log").open("w"), width=100)
    report = run_study(study, directory=tmp_path, workers=2, wandb="disabled", console=console).report.parent
    console.file.close()
    results = read_results(tmp_path / study.name)
    compared = [result for result in results if result.phase != "search"]
    assert len(compared) == len(study.arms) * len(study.final_seeds or study.seeds)
    assert [result.reason for result in results if result.outcome == "diverged"] == []
    assert all("too_few" in failed for result in results for failed in result.failed_scores.values())
    with (report / "table.csv").open(newline="") as file:
        table = {row["arm"]: row for row in csv.DictReader(file)}
    assert list(table) == [arm.name for arm in study.arms]
    assert all(float(row["mean"]) == float(row["mean"]) for row in table.values())
    page = (report / "index.html").read_text()
    assert "short version" in page
    figures = {figure.name for figure in (report / "figures").glob("*.png")}
    if len(outline(study.base.data).sample_shape) == 3:
        assert {"arms.png", "samples.png", "filmstrips.png"} <= figures
        assert "Learnt, or learnt by heart?" in page
    else:
        assert {"arms.png", "final.png"} <= figures
    assert len(re.findall("data:image/gif;base64", page)) == min(8, len(study.arms))
