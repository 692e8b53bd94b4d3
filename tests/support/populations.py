"""Runs trained as one population in this process, interrupted where a test wants it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from harness import RunResult
from harness.engine.population import Population
from harness.recipe import Recipe
from harness.runs.folder import run_directory
from harness.runs.job import Job, PlannedRun, Progress
from harness.runs.session import train_population
from harness.study.folder import StudyFolder
from harness.study.target import Target
from harness.tracking import read_history

DIVERGING = {"optimizer__name": "sgd", "optimizer__lr": 1e30}


def runs_of(*recipes: Recipe, seeds: tuple[int, ...] = (0,)) -> list[PlannedRun]:
    return [
        PlannedRun(recipe=recipe, seed=seed, arm=f"arm {index}", overrides={"i": index})
        for index, recipe in enumerate(recipes)
        for seed in seeds
    ]


def fit(
    directory: Path, runs: list[PlannedRun], *, metric: str = "sliced_w2", **more: Any
) -> list[RunResult]:
    """Train runs as one population. `more` goes to its `Job`."""
    StudyFolder(directory).make()
    settings: dict[str, Any] = {
        "study": directory.name,
        "directory": directory,
        "device": "cpu",
        "target": Target(metric=metric, goal="minimize"),
        "environment": {},
        "checkpoint": directory / "populations" / "group.pt",
        "wandb": "disabled",
    }
    return train_population(runs, Job(**(settings | more)))


def rows_without_seconds(directory: Path, run: PlannedRun) -> list[dict[str, float]]:
    rows = read_history(run_directory(directory, run.run_id) / "history.jsonl")
    return [{key: value for key, value in row.items() if not key.endswith("_sec")} for row in rows]


def stop_at(step: int, *, event: int = 1) -> dict[str, Callable[..., Any]]:
    """Arguments that stop a training at the first, or a later, event at or after a step.

    Of a step that ends an epoch, the first event is the log of its losses and the second its evaluation.
    """
    seen = [0]

    def note(progress: Progress) -> None:
        seen[0] += progress.step >= step

    return {"progress": note, "should_stop": lambda: seen[0] >= event}


def plain_networks(population: Population, row: int) -> tuple[nn.Module, nn.Module]:
    """G, of the averaged weights where those are on, and D of a live run, in evaluation mode."""
    position = population.rows.index(row)
    generator = population.generator.extract(position, population.average)
    return generator, population.discriminator.extract(position)
