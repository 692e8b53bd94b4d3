"""Studies small enough for tests: a tiny GAN on a ring, a handful of steps a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.machine import num_cores
from harness.planning.plan import ArmPlan, Plan, Price, with_all_groups
from harness.planning.plan_file import extended, read_plan, write_plan
from harness.recipe import Recipe, find_recipe
from harness.runs.folder import finished_runs
from harness.study.study import Study

SETTINGS: dict[str, Any] = {
    "train.epochs": 3,
    "train.batch_size": 512,
    "evaluate.every_epochs": 1,
    "evaluate.num_samples": 100,
}
"""About 40 steps and four evaluations a run."""


def tiny_recipe(**changes: Any) -> Recipe:
    """The ring GAN, cut down; `changes` have double underscores for dots."""
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    return find_recipe("ring-gan").override(SETTINGS | dotted)


def ablation(
    *, name: str = "tiny", seeds: int | list[int] = 2, settings: Mapping[str, Any] | None = None, **more: Any
) -> Study:
    """Adam against SGD."""
    return Study.from_json(
        {
            "name": name,
            "recipe": "ring-gan",
            "metric": {"name": "sliced_w2"},
            "seeds": seeds,
            "parameters": {key: {"value": value} for key, value in (SETTINGS | dict(settings or {})).items()},
            "ablate": {
                "parameters": {"optimizer.name": ["adam", "sgd"]},
                "baseline": {"optimizer.name": "adam"},
            },
        }
        | more
    )


def search(*, name: str = "searched", tuned: bool = False, **more: Any) -> Study:
    """A random search of the learning rate, inside each of two arms if `tuned`."""
    nested: dict[str, Any] = {
        "name": name,
        "recipe": "ring-gan",
        "metric": {"name": "sliced_w2"},
        "seeds": 2,
        "method": "random",
        "run_cap": 3,
        "parameters": {key: {"value": value} for key, value in SETTINGS.items()}
        | {"optimizer.lr": {"min": 1e-4, "max": 1e-2, "distribution": "log_uniform_values"}},
    }
    if tuned:
        nested["final_seeds"] = 2
        nested["ablate"] = {
            "parameters": {"optimizer.name": ["adam", "sgd"]},
            "baseline": {"optimizer.name": "adam"},
        }
    return Study.from_json(nested | more)


def unmeasured_plan(
    study: Study, directory: Path, *, workers: int = 1, population: int = 1, onednn: bool = False
) -> Plan:
    """The study's plan with a made-up price, written to its folder."""
    folder = directory / study.name
    price = Price(steps=100, run_sec=1.0, memory_bytes=1_000_000, multiply_adds=50_000_000)
    if (folder / "plan.json").exists():
        plan = extended(read_plan(folder), study)
    else:
        plan = Plan(
            study=study,
            directory=folder,
            device="cpu",
            num_threads=1,
            workers=workers,
            arms=(),
            run_groups=(),
        )
        arms = tuple(
            ArmPlan(asked=arm, population=population, price=price, onednn=onednn) for arm in study.arms
        )
        plan = replace(plan, arms=arms)
    plan = replace(plan, workers=min(workers, num_cores()), done=finished_runs(folder))
    return write_plan(with_all_groups(plan))
