import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.summary import summarise
from harness.files import read_json, write_json
from harness.planning.plan import Price
from harness.report.costs import arm_costs, spent_table
from harness.report.page import write_report
from harness.study.study import Study
from support.synthetic_study import OPTIMIZERS, TOTAL_STEPS, TUNED, make_ablation, make_search

COSTS = {"rmsprop": 4_000_000, "sgd": 1_000_000, "adam": 9_000_000}
ALIKE = OPTIMIZERS.replace("optimizer.name: [rmsprop, sgd, adam]", "optimizer.beta1: [0.5, 0.9]")
ALIKE = ALIKE.replace("{optimizer.name: rmsprop}", "{optimizer.beta1: 0.5}").replace(
    "parameters:\n  optimizer.lr: {value: 5e-5}", "parameters:\n  optimizer.name: {value: adam}"
)


def _priced(folder: Path, costs: dict[str, int]) -> Path:
    """The same study, with what a run of each arm costs in its plan."""
    plan: Any = read_json(folder / "plan.json")
    for arm in plan["arms"]:
        count = costs.get(arm["name"], 7)
        arm["price"] = asdict(Price(steps=TOTAL_STEPS, run_sec=20, memory_bytes=1, multiply_adds=count))
    write_json(folder / "plan.json", plan)
    return folder


def test_quality_is_drawn_against_multiply_adds_and_seconds(tmp_path: Path) -> None:
    report = write_report(_priced(make_ablation(tmp_path, Study.parse(OPTIMIZERS)), COSTS))
    html = (report / "index.html").read_text()
    assert (report / "figures" / "cost.png").exists()
    assert (report / "figures" / "cost.pdf").exists()
    assert 'alt="Quality against cost. Marks are means over the seeds' in html
    assert "the lower left corner. Multiply-adds are counted" in html
    assert "<td>9e+06</td>" in html


def test_seconds_alone_are_drawn_where_multiply_adds_were_not_counted(tmp_path: Path) -> None:
    report = write_report(make_ablation(tmp_path, Study.parse(OPTIMIZERS)))
    html = (report / "index.html").read_text()
    assert 'alt="Quality against cost' in html
    assert "Multiply-adds are counted" not in html


def test_arms_that_cost_the_same_have_no_such_figure(tmp_path: Path) -> None:
    folder = _priced(make_ablation(tmp_path, Study.parse(ALIKE)), {})
    (folder / "report" / "figures").mkdir(parents=True)
    (folder / "report" / "figures" / "cost.png").write_bytes(b"of an earlier report")
    report = write_report(folder)
    assert not (report / "figures" / "cost.png").exists()
    assert "Quality against cost" not in (report / "index.html").read_text()


def test_runs_that_ended_halfway_cost_half(tmp_path: Path) -> None:
    ended = [("sgd", seed) for seed in range(8)]
    study = Study.parse(OPTIMIZERS)
    folder = _priced(make_ablation(tmp_path, study, diverged=ended), COSTS)
    costs = arm_costs(summarise(folder))
    assert costs["sgd"].multiply_adds == pytest.approx(0.5e6, rel=0.07)
    assert costs["adam"].multiply_adds == 9e6


def test_seconds_of_runs_that_train_together_are_shared_among_them(tmp_path: Path) -> None:
    folder = make_ablation(tmp_path, Study.parse(OPTIMIZERS))
    alone = arm_costs(summarise(folder))
    plan: Any = read_json(folder / "plan.json")
    of_adam = {run.run_id for run in summarise(folder).arms[2].runs}
    plan["run_groups"] = [{"id": "", "runs": [{"run_id": run_id} for run_id in sorted(of_adam)]}]
    write_json(folder / "plan.json", plan)
    together = arm_costs(summarise(folder))
    assert together["adam"].seconds == pytest.approx(alone["adam"].seconds / 8)
    assert together["sgd"] == alone["sgd"]


def test_tuned_arms_share_their_seconds_by_the_most_that_train_together(tmp_path: Path) -> None:
    folder = make_search(tmp_path, Study.parse(TUNED))
    alone = arm_costs(summarise(folder))
    plan: Any = read_json(folder / "plan.json")
    for arm in plan["arms"]:
        arm["population"] = 5
    write_json(folder / "plan.json", plan)
    together = arm_costs(summarise(folder))  # eight seeds, in two groups of four
    assert together["sgd"].seconds == pytest.approx(alone["sgd"].seconds / 4)


def test_multiply_adds_are_known_of_tuned_rates_and_not_of_tuned_widths(tmp_path: Path) -> None:
    rates = _priced(make_search(tmp_path / "rates", Study.parse(TUNED)), COSTS)
    widths = TUNED.replace(
        "optimizer.momentum: {min: 0.0, max: 0.95}", "generator.width: {values: [0.5, 2.0]}"
    )
    folder = _priced(make_search(tmp_path / "widths", Study.parse(widths)), COSTS)
    assert arm_costs(summarise(rates))["sgd"].multiply_adds == COSTS["sgd"]
    assert math.isnan(arm_costs(summarise(folder))["sgd"].multiply_adds)
    assert {row[4] for row in spent_table(summarise(folder), most=9)[1:]} == {""}
