"""What each arm's runs have cost, as a table and as a figure of quality against cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.summary import ArmResult, Summary
from harness.planning.plan_file import PlannedCosts, planned_costs
from harness.recipe.registry import Value
from harness.report.gallery import Picture
from harness.words import rounded

if TYPE_CHECKING:
    from harness.figures import Dots
    from harness.recipe import Recipe

__all__ = ["ArmCost", "arm_costs", "cost_picture", "spent_table"]

_SPREAD = 1.25
"""Where multiply-adds are equal or were not counted, arms differ in cost from this ratio of seconds on."""


@dataclass(frozen=True, kw_only=True)
class ArmCost:
    """What one arm's runs have cost.

    Attributes:
        multiply_adds: multiplications with an addition of a run's training, as far as its median run got;
            NaN where they were not counted, or a search changed what they depend on.
        seconds: of training, the median run's; of runs that train together, a run's share.
    """

    multiply_adds: float
    seconds: float


def arm_costs(summary: Summary) -> dict[str, ArmCost]:
    """What the runs of each arm that has any have cost, by the arm's name."""
    planned = planned_costs(summary.directory)
    return {arm.name: _cost(summary, arm, planned) for arm in summary.arms if arm.runs}


def cost_picture(summary: Summary, dots: Sequence[Dots], folder: Path, *, label: str) -> list[Picture]:
    """Each arm's score with its interval against what a run cost; none where all arms cost the same.

    Args:
        summary: the study.
        dots: the arms to draw, each with its score.
        folder: where the figure is written.
        label: the metric, its unit and its direction.
    """
    from harness import figures

    dots = [arm for arm in dots if math.isfinite(arm.mean)]
    every = arm_costs(summary)
    costs = [every[arm.label] for arm in dots]
    panels = {}
    counted = [cost.multiply_adds for cost in costs]
    if len(set(counted)) > 1 and all(map(math.isfinite, counted)):
        panels["multiply-adds of a run's training"] = counted
    seconds = [cost.seconds for cost in costs]
    if len(seconds) > 1 and min(seconds) > 0 and (panels or max(seconds) > _SPREAD * min(seconds)):
        panels["seconds of a run's training"] = seconds
    for ending in ("png", "pdf"):
        (folder / f"cost.{ending}").unlink(missing_ok=True)  # of a time when arms differed
    if not panels:
        return []
    figures.cost_scatter(dots, panels, folder / "cost", label=label)
    corner = "lower" if summary.target.goal == "minimize" else "upper"
    caption = (
        "Marks are means over the seeds, bars their intervals, as in the table. What is good and cheap lies "
        f"in the {corner} left corner."
    )
    if len(panels) > 1:
        caption += " Multiply-adds are counted: those of a run's forward and backward passes and penalties."
    caption += (
        " Seconds are the median run's, without diagnostics, and of runs trained together a run's share; "
        "they depend on the machine, and on what else it did."
    )
    return [Picture(path=folder / "cost.png", title="Quality against cost", caption=caption)]


def spent_table(summary: Summary, *, most: int) -> list[list[str]]:
    """What an arm's median run has spent and saved, header first; nothing where no run has finished.

    Args:
        summary: the study.
        most: arms that it may show.
    """
    counts = {
        "discriminator steps": "discriminator_steps",
        "generator steps": "generator_steps",
        "real samples seen": "seen_images",
    }
    costs = arm_costs(summary)
    rows = [[*("arm", *counts), "multiply-adds", "seconds of training", "of diagnostics", "steps saved"]]
    for arm in summary.arms[:most]:
        if arm.runs:
            cost = costs[arm.name]
            rows.append(
                [
                    arm.name,
                    *("" if math.isnan(x := _median(arm, key)) else f"{x:,.0f}" for key in counts.values()),
                    "" if math.isnan(cost.multiply_adds) else f"{cost.multiply_adds:.3g}",
                    *(
                        "" if math.isnan(x) else rounded(x)
                        for x in (cost.seconds, _median(arm, "diagnostics_sec"))
                    ),
                    f"{arm.saved_steps:,}",
                ]
            )
    return rows if len(rows) > 1 else []


def _cost(summary: Summary, arm: ArmResult, planned: PlannedCosts) -> ArmCost:
    price = planned.prices.get(arm.name)
    multiply_adds = math.nan
    if price is not None and price.multiply_adds and _is_as_planned(summary, arm):
        multiply_adds = price.multiply_adds * _median(arm, "discriminator_steps") / price.steps
    together = _together(summary, arm, planned)
    shares = [
        float(run.ledger.get("elapsed_sec", math.nan)) / planned.together.get(run.run_id, together)
        for run in arm.runs
    ]
    return ArmCost(multiply_adds=multiply_adds, seconds=float(np.median(shares)))


def _together(summary: Summary, arm: ArmResult, planned: PlannedCosts) -> float:
    """How many runs of a search's arm train together, on average over its groups."""
    study = summary.study
    if study.kind == "search" and study.early_terminate is not None:
        return arm.num_planned
    population = planned.populations.get(arm.name, min(planned.populations.values(), default=1))
    return arm.num_planned / math.ceil(arm.num_planned / population)


def _is_as_planned(summary: Summary, arm: ArmResult) -> bool:
    """Whether tuning has left alone all that multiply-adds depend on."""
    recipe = summary.recipes[arm.name]
    tuned = recipe if summary.study.kind != "tuned-ablation" else recipe.override(arm.parameters)
    return _priced_settings(tuned) == _priced_settings(recipe)


def _priced_settings(recipe: Recipe) -> list[tuple[str, Value]]:
    """What runs that train together have in common, but for the optimisers: updates are not counted."""
    from harness.recipe.structure import structure

    return [(key, value) for key, value in structure(recipe) if "_optimizer." not in key]


def _median(arm: ArmResult, key: str) -> float:
    return float(np.median([float(run.ledger.get(key, math.nan)) for run in arm.runs]))
