"""What a study hands back to a script: `StudyResult`."""

from __future__ import annotations

import math
import sys
from html.parser import HTMLParser
from pathlib import Path
from statistics import fmean

import pytest

from harness import Study, StudyResult, load_results
from support.synthetic_study import OPTIMIZERS, SEARCH, TUNED, make_ablation, make_search


@pytest.fixture
def ablation(tmp_path: Path) -> StudyResult:
    """Three optimisers, eight seeds each, one run diverged."""
    return load_results(make_ablation(tmp_path, Study.parse(OPTIMIZERS), diverged=[("adam", 3)]))


def test_an_ablation_hands_back_its_arms_runs_and_comparisons(ablation: StudyResult) -> None:
    assert [arm.name for arm in ablation.arms] == ["rmsprop", "sgd", "adam"]
    assert len(ablation.runs) == len({run.run_id for run in ablation.runs}) == 24
    assert {found.arm: found.decision for found in ablation.comparisons}["sgd"] == "worse"
    assert ablation.is_complete
    assert ablation.best_trial() is None
    assert ablation.report == ablation.directory / "report" / "index.html"
    assert repr(ablation).startswith("<StudyResult optimizers: 24 of 24 runs. ")


def test_rows_have_the_same_keys_and_their_means_are_the_arms_means(ablation: StudyResult) -> None:
    rows = ablation.to_rows()
    assert len(rows) == 24
    assert {tuple(row) for row in rows} == {tuple(rows[0])}
    for arm in ablation.arms:
        mine = [row["sliced_w2_last"] for row in rows if row["arm"] == arm.name]
        assert fmean(mine) == pytest.approx(arm.estimate("sliced_w2", "last").mean, rel=1e-12)
    diverged = next(row for row in rows if row["outcome"] == "diverged")
    assert (diverged["arm"], diverged["seed"]) == ("adam", 3)
    assert diverged["optimizer.name"] == "adam"
    assert {row["arm"] for row in rows if row["is_baseline"]} == {"rmsprop"}


def test_a_study_in_progress_says_how_far_it_is(tmp_path: Path) -> None:
    study = Study.parse(OPTIMIZERS)
    folder = make_ablation(
        tmp_path, study, missing=[(arm, seed) for arm in ("sgd", "adam") for seed in range(8)]
    )
    result = load_results(str(folder))
    assert not result.is_complete
    assert len(result.to_rows()) == 8
    assert "8 of 24 runs" in repr(result)
    assert "8 of 24 runs" in result._repr_html_()
    empty = load_results(
        make_ablation(tmp_path / "none", study, missing=[(a.name, s) for a in study.arms for s in range(8)])
    )
    assert empty.to_rows() == []
    assert "No run has finished yet" in empty._repr_html_()


def test_the_best_trial_is_the_one_of_the_smallest_value(tmp_path: Path) -> None:
    search = load_results(make_search(tmp_path, Study.parse(SEARCH)))
    best = search.best_trial()
    assert best is not None
    assert best.value == min(trial.value for trial in search.summary.trials)
    assert search.best_trial("points-gan") == best
    tuned = load_results(make_search(tmp_path, Study.parse(TUNED)))
    of_arms = [tuned.best_trial(arm.name) for arm in tuned.arms]
    assert tuned.best_trial() in of_arms
    phases = [run.phase for run in tuned.runs]
    assert phases.count("final") == 16
    assert phases.count("search") == 24
    with pytest.raises(ValueError, match=r"`arm` must be one of rmsprop, sgd, but got 'sgdd'; did you mean"):
        tuned.best_trial("sgdd")


def test_rows_become_a_frame(ablation: StudyResult) -> None:
    frame = ablation.to_frame()
    assert list(frame.columns) == list(ablation.to_rows()[0])
    means = frame.groupby("arm")["sliced_w2_last"].mean()
    assert means["sgd"] > means["rmsprop"]


def test_without_pandas_a_frame_is_one_line_that_says_how_to_get_it(
    ablation: StudyResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"^`to_frame` needs pandas; pip install pandas, or take `to_rows"):
        ablation.to_frame()


def test_a_notebook_shows_every_arm_and_runs_nothing_that_a_name_contains(tmp_path: Path) -> None:
    evil = OPTIMIZERS.replace(
        "  parameters: {optimizer.name: [rmsprop, sgd, adam]}\n  baseline: {optimizer.name: rmsprop}",
        "  arms: {'<script>alert(1)</script>': {optimizer.name: adam}, 'a & b': {optimizer.name: sgd}}\n"
        "  baseline: a & b",
    )
    page = load_results(make_ablation(tmp_path, Study.parse(evil)))._repr_html_()
    assert "<script" not in page

    class Cells(HTMLParser):
        found: list[str] = []  # noqa: RUF012

        def handle_data(self, data: str) -> None:
            self.found.append(data)

    Cells().feed(page)
    assert {"<script>alert(1)</script>", "a & b", "8/8"} <= set(Cells.found)


def test_a_folder_without_a_study_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no study \(there is no plan.json\)"):
        load_results(tmp_path)


def test_a_score_that_a_run_was_not_measured_by_is_no_number(ablation: StudyResult) -> None:
    assert all(not math.isnan(row["modes_best"]) for row in ablation.to_rows())
