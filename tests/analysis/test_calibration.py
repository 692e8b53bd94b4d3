"""The recorded runs on which the verdict was calibrated, judged anew by the rules as they are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.analysis.calibration import (
    check_calibration,
    confusion,
    judge_readings,
    main,
    read_table,
    write_calibration,
)
from harness.execution.single import train
from harness.verdict.judge import HOPELESS, VERDICTS, Thresholds
from support.tiny_studies import tiny_recipe

RECORDED = Path(__file__).parents[2] / "sweeps" / "results" / "verdict"


@pytest.fixture(scope="module")
def tables() -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    return read_table(RECORDED / "readings.csv"), read_table(RECORDED / "labels.csv")


def test_every_recorded_run_is_judged_as_it_was() -> None:
    assert check_calibration(RECORDED) == []


def test_no_failed_run_is_called_healthy_and_no_good_one_hopeless(
    tables: tuple[list[dict[str, str]], list[dict[str, str]]],
) -> None:
    runs = judge_readings(*tables)
    assert len(runs) >= 60
    assert sum(run.held_out for run in runs) >= len(runs) / 3
    assert {run.label for run in runs} == set(VERDICTS)
    for run in runs:
        if run.label in HOPELESS:
            assert run.verdict != "healthy", run
        if run.label in ("healthy", "immature"):
            assert run.verdict not in HOPELESS, run
            assert not run.early, run


def test_other_thresholds_give_other_verdicts(
    tables: tuple[list[dict[str, str]], list[dict[str, str]]],
) -> None:
    lax = Thresholds(collapsed_modes=1e-9, collapsed_pair_distance=1e-9, saturated_d_auc=2.0)
    before, after = judge_readings(*tables), judge_readings(*tables, lax)
    assert sum(run.verdict == "collapsed" for run in after) < sum(
        run.verdict == "collapsed" for run in before
    )


def test_the_confusion_counts_every_run_once(
    tables: tuple[list[dict[str, str]], list[dict[str, str]]],
) -> None:
    runs = judge_readings(*tables)
    rows = confusion(runs)
    assert [row["label"] for row in rows] == list(VERDICTS)
    assert sum(int(row[verdict]) for row in rows for verdict in VERDICTS) == len(runs)
    assert rows == read_table(RECORDED / "confusion.csv")


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
    head = "study,arm,seed,label,held_out,why\n"
    labels.write_text(head + 'study,ring-gan,3,immature,yes,"few steps, so far"\n')
    (run,) = write_calibration(tmp_path / "out", [study], labels)
    assert (run.arm, run.seed, run.held_out, run.label) == ("ring-gan", 3, True, "immature")
    assert check_calibration(tmp_path / "out") == []
    assert read_table(tmp_path / "out" / "labels.csv")[0]["why"] == "few steps, so far"
    written = (tmp_path / "out" / "readings.csv").read_bytes()
    assert write_calibration(tmp_path / "out", [], labels) == [run]  # its history may be gone by now
    assert (tmp_path / "out" / "readings.csv").read_bytes() == written
    for line, said in (
        ("study,ring-gan,4,immature,no,", "no finished run"),
        ("study,ring-gan,3,bad,no,", "must be"),
    ):
        labels.write_text(head + line + "\n")
        assert main(["write", str(tmp_path / "out"), str(study), "--labels", str(labels)]) == 2
        assert said in capsys.readouterr().err
