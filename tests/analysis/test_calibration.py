"""The recorded runs on which the verdict was calibrated, judged anew by the rules as they are."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from harness.analysis.calibration import (
    Labelled,
    check_calibration,
    choose_thresholds,
    confusion,
    judge_labelled,
    labelled_runs,
    leave_designs_out,
    main,
    read_table,
    write_calibration,
)
from harness.execution.single import train
from harness.verdict.judge import HOPELESS, VERDICTS, Thresholds
from support.tiny_studies import tiny_recipe

RECORDED = Path(__file__).parents[2] / "sweeps" / "results" / "verdict"


@pytest.fixture(scope="module")
def labelled() -> list[Labelled]:
    return labelled_runs(read_table(RECORDED / "readings.csv"), read_table(RECORDED / "labels.csv"))


def test_every_recorded_run_is_judged_as_it_was() -> None:
    assert check_calibration(RECORDED) == []


def test_no_failed_run_is_called_healthy_and_no_other_ends_hopeless(labelled: list[Labelled]) -> None:
    runs = [judge_labelled(run) for run in labelled]
    assert len(runs) >= 140
    assert {run.label for run in runs} == set(VERDICTS)
    for run, found in zip(labelled, runs, strict=True):
        if run.label in HOPELESS:
            assert found.verdict != "healthy", found
        if not run.failed:
            assert found.verdict not in HOPELESS, found
    assert sum(found.acceptable for found in runs) >= 0.86 * len(runs)
    others = [found for run, found in zip(labelled, runs, strict=True) if not run.failed]
    assert sum(found.hopeless_once for found in others) <= 3


def test_a_run_without_the_readings_that_health_rests_on_is_unjudged(labelled: list[Labelled]) -> None:
    sound = next(run for run in labelled if judge_labelled(run).verdict == "healthy")
    lacking = [{k: v for k, v in row.items() if k != "eval/precision_over_real"} for row in sound.history]
    found = judge_labelled(replace(sound, history=tuple(lacking)))
    assert (found.verdict, found.timeline[-1], found.acceptable) == ("unjudged", "U", False)


def test_other_thresholds_give_other_verdicts(labelled: list[Labelled]) -> None:
    lax = Thresholds(collapsed_modes=1e-9, collapsed_pair_distance=1e-9, saturated_d_auc=2.0)
    before, after = (
        sum(judge_labelled(run, numbers).verdict == "collapsed" for run in labelled)
        for numbers in (None, lax)
    )
    assert after < before


def test_the_confusion_counts_every_run_once(labelled: list[Labelled]) -> None:
    rows = confusion([judge_labelled(run) for run in labelled])
    assert [row["label"] for row in rows] == list(VERDICTS)
    assert sum(int(row[verdict]) for row in rows for verdict in (*VERDICTS, "unjudged")) == len(labelled)
    assert rows == read_table(RECORDED / "confusion.csv")


def test_a_design_is_left_out_of_the_choice_of_the_numbers_that_judge_it(labelled: list[Labelled]) -> None:
    designs = list(dict.fromkeys(run.design for run in labelled))[:2]
    some = [run for run in labelled if run.design in designs]
    assert len(some) >= 3
    found = leave_designs_out(some)
    for run, judged in zip(some, found, strict=True):
        others = choose_thresholds([other for other in some if other.design != run.design])
        assert judged == judge_labelled(run, others)
    assert choose_thresholds([]).clear == 0.15  # with nothing to choose by, the first of each


def test_the_recorded_choice_without_each_design_is_of_these_runs(labelled: list[Labelled]) -> None:
    recorded = read_table(RECORDED / "left_out.csv")
    assert [(row["study"], row["arm"], row["seed"], row["label"]) for row in recorded] == [
        (run.study, run.arm, str(run.seed), run.label) for run in labelled
    ]


def test_a_change_of_a_reading_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = tmp_path / "verdict"
    shutil.copytree(RECORDED, changed, ignore=shutil.ignore_patterns("*.png", "*.md"))
    assert main(["check", str(changed)]) == 0
    rows = (changed / "runs.csv").read_text().splitlines()
    rows[1] = rows[1].replace(rows[1].rsplit(",", 1)[1], "IHHH")
    (changed / "runs.csv").write_text("\n".join(rows) + "\n")
    assert main(["check", str(changed)]) == 1
    assert "(IHHH), and now" in capsys.readouterr().out


def test_tables_are_written_from_the_histories_of_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "study"
    train(tiny_recipe(), seed=3, directory=study, wandb="disabled")
    labels = tmp_path / "labels.csv"
    head = "study,arm,seed,design,label,also,why\n"
    labels.write_text(head + 'study,ring-gan,3,tiny,immature,,"few steps, so far"\n')
    (run,) = write_calibration(tmp_path / "out", [study], labels)
    assert (run.arm, run.seed, run.design, run.acceptable) == ("ring-gan", 3, "tiny", True)
    assert check_calibration(tmp_path / "out") == []
    assert read_table(tmp_path / "out" / "labels.csv")[0]["why"] == "few steps, so far"
    written = (tmp_path / "out" / "readings.csv").read_bytes()
    assert write_calibration(tmp_path / "out", [], labels) == [run]  # its history may be gone by now
    assert (tmp_path / "out" / "readings.csv").read_bytes() == written
    for line, said in (
        ("study,ring-gan,4,tiny,immature,,", "no finished run"),
        ("study,ring-gan,3,tiny,bad,,", "must be"),
    ):
        labels.write_text(head + line + "\n")
        assert main(["write", str(tmp_path / "out"), str(study), "--labels", str(labels)]) == 2
        assert said in capsys.readouterr().err
