"""What plans have found of arms, kept across studies: that they are in order, what they cost, how they group.

An arm of the same structure, on the same data and device and with the same versions, need not be checked and
measured again, nor torch be loaded for it; and its runs are grouped as they were. Data from files may change,
so every plan loads and checks them, and what it measured before holds for the same content. Of recipes and
metrics that need modules of other people, nothing is kept.
"""

from __future__ import annotations

import os
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any

from harness.kept import keep, recall
from harness.machine import processor
from harness.planning.plan import ArmPlan, Plan, Price
from harness.recipe.registry import datasets, metrics
from harness.recipe.structure import structure

if TYPE_CHECKING:
    from harness.data import Dataset

__all__ = ["recalled", "remember"]

_FOUND = tuple(field.name for field in fields(ArmPlan) if field.name not in ("asked", "price"))
_FILES = ("path", "root")
"""Options that a data set has if it is read from files."""


def recalled(
    plan: Plan, arm: ArmPlan, population: int | None, dataset: Dataset | None = None
) -> ArmPlan | None:
    """An arm as an earlier plan found it; one that is priced keeps its price and its groups.

    Args:
        plan: whose device, threads and workers count.
        arm: the arm.
        population: most runs to be trained together, as asked for; None where it is measured.
        dataset: its data, where they have been loaded.

    Returns:
        The arm, or None where nothing is known, or its data were others when it was planned.
    """
    if not _is_ours(plan, arm) or (dataset is None and _is_of_files(arm)):
        return None
    found = recall("arm", *_key(plan, arm, population, dataset))
    if found is None or arm.data not in ("", found["data"]):
        return None
    if arm.price is not None:
        return arm
    return replace(arm, **{**found, "price": Price(**found["price"])})


def remember(plan: Plan, arm: ArmPlan, population: int | None, dataset: Dataset) -> None:
    """Keep what was found of an arm, unless its data gave cause for a note, which is shown every time.

    Args:
        plan: whose device, threads and workers count.
        arm: the arm, with its price.
        population: as for `recalled`.
        dataset: its data.
    """
    if arm.price is None or not _is_ours(plan, arm) or (dataset.notes and not _is_of_files(arm)):
        return
    found = {key: getattr(arm, key) for key in _FOUND}
    keep("arm", *_key(plan, arm, population, dataset), value={**found, "price": asdict(arm.price)})


def _is_ours(plan: Plan, arm: ArmPlan) -> bool:
    recipe, metric = arm.asked.recipe, plan.study.target.metric
    is_own = not recipe.code and metric in metrics and metrics.source(metric) is None
    return is_own and bool(processor(plan.device))


def _is_of_files(arm: ArmPlan) -> bool:
    return any(option in datasets.options(arm.asked.recipe.data.name) for option in _FILES)


def _key(plan: Plan, arm: ArmPlan, population: int | None, dataset: Dataset | None) -> tuple[Any, ...]:
    gpus: tuple[Any, ...] = ()
    if plan.device.startswith("cuda"):
        gpus = (os.environ.get("CUDA_VISIBLE_DEVICES", ""), plan.workers)
    return (
        structure(arm.asked.recipe),
        plan.study.target.metric,
        [plan.device, processor(plan.device), *gpus, plan.num_threads],
        population,
        dataset.fingerprint if dataset is not None and _is_of_files(arm) else "",
        [plan.is_search, plan.study.early_terminate is not None],
    )
