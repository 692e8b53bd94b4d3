"""What evaluations of few samples cannot show is measured, and said in the plan and on the page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from harness.analysis.findings import flags
from harness.analysis.summary import summarise
from harness.data import gather, load_dataset, scaled
from harness.planning.limits import FEW_SAMPLES, limits
from harness.planning.plan_file import write_plan
from harness.planning.planner import plan_study
from harness.recipe import choose
from harness.recipe.registry import datasets
from harness.runs.examining import evaluator_of
from support.tiny_studies import ablation


def test_the_spread_is_that_of_sets_of_real_samples() -> None:
    ring = load_dataset(choose(datasets, "ring"))
    found = re.search(
        r"10 sets of as many real ones get sliced_w2 (\S+) to (\S+), ", limits(ring, "sliced_w2", 100)
    )
    assert found is not None
    low, high = map(float, found.groups())
    draw = torch.Generator().manual_seed(7)
    others = [torch.randperm(len(ring.train), generator=draw)[:100] for _ in range(40)]
    scores = [evaluator_of(ring).evaluate(scaled(gather(ring.train, rows)))["sliced_w2"] for rows in others]
    inside = sum(low <= score <= high for score in scores)
    assert inside >= 28  # nine of eleven are, of one law


@pytest.mark.parametrize(
    ("data", "metric", "lacking"),
    [
        ("grid", "modes", "mode_recall and mode_surplus are"),
        ("digits", "frechet", "class_recall_clear and class_surplus are"),
    ],
)
def test_scores_that_a_hundred_samples_do_not_give_are_named(data: str, metric: str, lacking: str) -> None:
    dataset = load_dataset(choose(datasets, data))
    told = limits(dataset, metric, 100)
    assert f"{lacking} not given, and verdicts go without: they cannot tell a class or cluster" in told
    assert "not given" not in limits(dataset, metric, FEW_SAMPLES - 1)
    assert limits(dataset, metric, FEW_SAMPLES) == ""


def test_the_plan_keeps_it_and_the_page_shows_it(tmp_path: Path) -> None:
    plan = plan_study(ablation(), directory=tmp_path, workers=1)
    assert plan.study.arms[0].recipe.evaluate.num_samples == 100
    (line,) = (line for line in plan.remarks if "samples" in line)
    assert line.startswith(
        "note: evaluations of 100 samples (`evaluate.num_samples`) show little: 10 sets of "
    )
    write_plan(plan)
    (flag,) = (flag for flag in flags(summarise(plan.directory)) if flag.label == "few samples")
    assert flag.text[1:] in line
