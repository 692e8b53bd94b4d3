"""Make a study's plan: its past, its device, its price.

Everything that can be wrong with what a user asked for comes to light here, before a file is written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.machine import check_precision, num_cores, num_gpus, resolve_device
from harness.planning.memory import recalled, remember
from harness.planning.plan import ArmPlan, Plan, Price, RunGroup, with_all_groups
from harness.planning.plan_file import extended, how_to_go_on, read_plan
from harness.planning.size import TooLargeError, can_be_listed, size_in_words
from harness.recipe.registry import plain_value
from harness.study.folder import StudyFolder
from harness.study.study import Study, check_is_study

if TYPE_CHECKING:
    from harness.data import Dataset
    from harness.engine.measure import Measurement

__all__ = ["plan_study"]

_MEASURING_SEC = 0.8
"""Seconds that all measurements of a plan may take together."""
_WORKERS_A_GPU = 4
"""Worker processes of a study on one GPU: while one scores and draws its samples, the others train.

Where there are several GPUs, each has one.
"""


def plan_study(
    study: Study,
    *,
    directory: str | Path = "runs",
    workers: int | None = None,
    device: str = "auto",
    population: int | None = None,
    remeasure: bool = False,
) -> Plan:
    """Plan a study, or go on with the plan it has; nothing is written.

    What a run costs, and how many are best trained together, is measured for a moment on the device, once
    for each structure, and only if there are runs left to make.

    Args:
        study: The study.
        directory: Folder of all studies.
        workers: Worker processes; by default one a core on a CPU, four on one GPU, one each on several.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:<n>``. A study stays on the device it was begun on.
        population: Most runs to be trained together; measured by default. An old plan keeps its groups.
        remeasure: Whether to measure an old plan anew, and to group those of its runs anew that have not
            begun.

    Returns:
        The plan, with the ids of the runs that exist already.

    Raises:
        ValueError: If the study's folder holds something else, its networks do not fit its data, its data
            cannot be read, or an argument is out of range. A `TooLargeError` says what a study costs that
            has more arms or runs than can be listed.

    Example:
        >>> from harness import load_study, plan_study
        >>> plan = plan_study(load_study("optimizers", smoke=True), device="cpu")
        >>> plan.num_runs, [arm.name for arm in plan.arms]
        (9, ['rmsprop', 'sgd', 'adam'])
    """
    check_is_study(study)
    workers, population = plain_value(workers), plain_value(population)
    for name, number in (("workers", workers), ("population", population)):
        if number is not None and (not isinstance(number, int) or number < 1):
            raise ValueError(f"`{name}` must be an integer of at least 1, but got {number!r}.")
    folder = Path(directory) / study.name
    if not can_be_listed(study):
        raise TooLargeError(_price_of_one_arm(study, folder, workers, device))
    if StudyFolder(folder).plan.exists():
        plan = extended(read_plan(folder, renew=True), study)
        plan = replace(plan, device=_same_device(plan, device))
        if plan.num_done == plan.num_runs and not plan.is_search:
            _check_data_left(plan)
            return with_all_groups(replace(plan, workers=workers or 1))
        resolve_device(plan.device)
        if remeasure:
            plan = _unmeasured(plan)
    else:
        _check_folder(folder)
        plan = Plan(
            study=study,
            directory=folder,
            device=resolve_device(device),
            num_threads=0,
            workers=1,
            arms=tuple(ArmPlan(asked=arm) for arm in study.arms),
            run_groups=(),
        )
    plan = replace(plan, workers=_num_workers(plan, workers))
    if not plan.num_threads:
        plan = replace(plan, num_threads=max(1, num_cores() // plan.workers))
    plan = with_all_groups(replace(plan, arms=_found(plan, population, anew=remeasure)))
    return replace(plan, workers=_num_workers(plan, workers))


def _found(plan: Plan, population: int | None, *, anew: bool) -> tuple[ArmPlan, ...]:
    """The arms, checked and priced, as far as that was not found before, by this or another study's plan."""
    _check_precisions(plan)
    before = (
        {} if anew else {arm.name: found for arm in plan.arms if (found := recalled(plan, arm, population))}
    )
    left = tuple(arm for arm in plan.arms if arm.name not in before)
    datasets = _check_arms(replace(plan, arms=left))
    if not anew:
        with_data = (recalled(plan, arm, population, datasets[arm.name]) for arm in left)
        before |= {arm.name: arm for arm in with_data if arm is not None}
    for arm in before.values():
        if arm.alone:
            _check_alone(plan, arm, population, arm.alone)
    arms = _measured(
        replace(plan, arms=tuple(before.get(arm.name, arm) for arm in plan.arms)), datasets, population
    )
    for old, arm in zip(plan.arms, arms, strict=True):
        if old.price is None and arm.name not in before:  # an old price may be of another machine
            remember(plan, arm, population, datasets[arm.name])
    return arms


def _price_of_one_arm(study: Study, folder: Path, workers: int | None, device: str) -> str:
    """What a study costs that is too large to list: its first arm is measured, and taken for all."""
    arm = ArmPlan(asked=study.first_arm)
    workers = workers or num_cores()
    plan = Plan(
        study=study,
        directory=folder,
        device=resolve_device(device),
        num_threads=max(1, num_cores() // workers),
        workers=workers,
        arms=(arm,),
        run_groups=(),
    )
    price = _measured(plan, _check_arms(plan), None)[0].price
    assert price is not None
    eta_sec = study.num_runs * price.run_sec / workers
    size = size_in_words(study, study.num_runs, eta_sec, workers, plan.device)
    fix = "write a smaller number of seeds"
    if not study.lists_arms:
        fix = "list fewer values, or search them under `parameters`, by method: random with a run_cap"
    return f"{size}, if every arm costs what the first does. So many cannot be listed; {fix}."


def _unmeasured(plan: Plan) -> Plan:
    """A plan without prices, and without the groups of which nothing has been trained."""
    folder = StudyFolder(plan.directory)

    def has_begun(group: RunGroup) -> bool:
        checkpoint = folder.checkpoint(group.id)
        return any(run.run_id in plan.done for run in group.runs) or any(
            checkpoint.parent.glob(f"{group.id}*")
        )

    return replace(
        plan,
        arms=tuple(replace(arm, price=None, population=1) for arm in plan.arms),
        run_groups=tuple(group for group in plan.run_groups if has_begun(group)),
    )


def _same_device(plan: Plan, device: str) -> str:
    if device == "auto":
        return plan.device
    resolved = resolve_device(device)
    if resolved.partition(":")[0] != plan.device.partition(":")[0]:
        raise ValueError(
            f"{plan.directory} was begun on {plan.device}, whose numbers do not continue on {resolved}; "
            f"leave `--device` out, or {how_to_go_on(plan.directory)}"
        )
    return resolved


def _check_folder(folder: Path) -> None:
    """A study's folder is new, empty, or was left before its plan was written."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is in the way: it is not a folder; choose another with --directory.")
    try:
        entries = list(folder.iterdir()) if folder.exists() else []
    except OSError as error:
        raise ValueError(f"cannot read {folder}: {error.strerror or error}.") from None
    known = StudyFolder(folder)
    foreign = sorted({*entries} - {*known.folders, known.text})
    if foreign:
        raise ValueError(
            f"{folder} holds {foreign[0].name} but no plan.json, so it is not a study of this harness; "
            f"{how_to_go_on(folder)}"
        )


def _check_arms(plan: Plan) -> Mapping[str, Dataset]:
    """Load every arm's data, and check that it is what it was and that the networks fit it."""
    if not plan.arms:
        return {}
    from harness.planning.data import fitting_dataset

    found = {}
    metric, tried = plan.study.target.metric, set()
    for arm in plan.arms:
        dataset, with_labels = fitting_dataset(arm.asked.recipe)
        _check_same_data(plan, arm, dataset)
        _check_metric(metric, dataset, with_labels)
        num_samples = arm.asked.recipe.evaluate.num_samples
        if not plan.num_done and (dataset.fingerprint, num_samples) not in tried:
            _try_metric(metric, dataset, num_samples)
            tried.add((dataset.fingerprint, num_samples))
        found[arm.name] = dataset
    return found


def _check_precisions(plan: Plan) -> None:
    if plan.device != "cpu":  # a GPU is asked where it is measured
        return
    for arm in plan.arms:
        for precision in _precisions(plan, arm):
            check_precision(precision, plan.device)


def _precisions(plan: Plan, arm: ArmPlan) -> list[str]:
    """Every precision that runs of an arm may have."""
    searched = plan.study.space(arm.asked).get("train.precision") if plan.is_search else None
    asked = [] if searched is None else searched.arguments.get("values", [])
    return [arm.asked.recipe.train.precision, *map(str, asked)]


def _check_data_left(plan: Plan) -> None:
    """Of a study that is finished, check the data that can still be read."""
    for arm in plan.arms:
        if recalled(plan, arm, None) is not None:
            continue
        from harness.data import load_dataset

        try:
            dataset = load_dataset(arm.asked.recipe.data)
        except ValueError:
            continue
        _check_same_data(plan, arm, dataset)


def _check_same_data(plan: Plan, arm: ArmPlan, dataset: Dataset) -> None:
    if arm.data not in ("", dataset.fingerprint):
        raise ValueError(
            f"the data of arm {arm.name} ({dataset.name}) has changed since {plan.directory} was begun; "
            f"{how_to_go_on(plan.directory)}"
        )


def _check_metric(name: str, dataset: Dataset, with_labels: bool) -> None:
    """Refuse a study whose metric its data or networks cannot have, before hours are spent."""
    from harness.recipe.registry import metrics
    from harness.runs.examining import evaluator_of

    info = metrics[name]
    fit = [key for key, other in metrics.items().items() if other.kind in ("any", dataset.kind)]
    if info.kind not in ("any", dataset.kind):
        raise ValueError(
            f"`metric.name` {name} is a score of {info.kind}, but `data.name` {dataset.name} holds "
            f"{dataset.kind}; take one of {', '.join(fit)}."
        )
    if info.needs_mixture and dataset.mixture is None:
        raise ValueError(
            f"`metric.name` {name} needs to know where the data's clusters lie, which is not known of "
            f"`data.name` {dataset.name}; take sliced_w2, for example."
        )
    evaluator = evaluator_of(dataset)
    if name not in evaluator.names:
        raise ValueError(
            f"`metric.name` {name} is no score of `data.name` {dataset.name}; take one of "
            f"{', '.join(evaluator.names)}."
        )
    if evaluator.needs(name) == "labels" and not with_labels:
        raise ValueError(
            f"`metric.name` {name} needs networks that are told a class, but those of this study are not; "
            "take a class-conditional recipe, or another metric."
        )


def _try_metric(name: str, dataset: Dataset, num_samples: int) -> None:
    """Refuse a study whose metric would come to nothing: of too few samples, or by a broken function.

    It is computed of real training samples, over and over where they are too few, with made-up labels and
    scores: what cannot be computed of these cannot be of a generator's.
    """
    import torch

    from harness.data import gather, scaled
    from harness.metrics.groups import MAX_NULL
    from harness.runs.examining import evaluator_of

    def obstacle(count: int) -> str:
        """Why it cannot be had of so many samples; empty where it can."""
        order = torch.randperm(len(dataset.train), generator=torch.Generator().manual_seed(0))
        rows = torch.arange(count)
        found = evaluator_of(dataset).evaluate(
            scaled(gather(dataset.train, order[rows % len(order)].to(dataset.train.device))),
            real_scores=rows,
            fake_scores=rows,
            exact=True,
            fake_labels=rows % max(1, dataset.num_classes),
            only=name,
        )
        return found.failures.get(name, "")

    if not (reason := obstacle(min(num_samples, MAX_NULL))):
        return
    lasting = obstacle(MAX_NULL)  # what a larger number of samples would not cure
    cure = "mend that, or take another metric" if lasting else "raise `evaluate.num_samples`"
    raise ValueError(
        f"`metric.name` {name} cannot be computed of {num_samples} samples (`evaluate.num_samples`), tried "
        f"with real ones of `data.name` {dataset.name}: {(lasting or reason).rstrip('.')}; {cure}."
    )


def _num_workers(plan: Plan, asked: int | None) -> int:
    """Worker processes: as many as asked for, but no more than there are groups."""
    if plan.is_search:
        most = max(1, sum(plan.study.num_trials(arm.asked) for arm in plan.arms))
    else:
        groups = [
            group for group in plan.run_groups if any(run.run_id not in plan.done for run in group.runs)
        ]
        most = max(1, len(groups) if plan.run_groups else plan.num_runs - plan.num_done)
    if asked is None:
        asked = num_cores()
        if plan.device.startswith("cuda"):
            gpus = num_gpus(plan.device)
            asked = min(asked, gpus if gpus > 1 else _WORKERS_A_GPU)
    return min(asked, most)


def _measured(plan: Plan, datasets: Mapping[str, Dataset], population: int | None) -> tuple[ArmPlan, ...]:
    """The arms with their prices, each structure measured once."""
    from harness.recipe.structure import structure

    told: dict[tuple[str, int], str] = {}
    left = {structure(arm.asked.recipe): arm for arm in reversed(plan.arms) if arm.price is None}
    found_of = dict(
        zip(left, _measure(plan, list(left.values()), datasets, population), strict=True) if left else ()
    )
    arms = []
    for arm in plan.arms:
        if arm.price is not None:
            arms.append(arm)
            continue
        recipe, dataset = arm.asked.recipe, datasets[arm.name]
        found = found_of[structure(recipe)]
        if found.obstacle:
            _check_alone(plan, arm, population, found.obstacle)
        size = 1 if found.obstacle else population or found.population
        price = Price(
            steps=found.total_steps,
            run_sec=found.step_sec_by_size[size] * found.total_steps,
            memory_bytes=found.memory_bytes,
            host_bytes=found.host_bytes,
            multiply_adds=found.multiply_adds,
        )
        few = (dataset.fingerprint, recipe.evaluate.num_samples)
        if few not in told:
            from harness.planning.limits import limits

            told[few] = limits(dataset, plan.study.target.metric, recipe.evaluate.num_samples)
        arms.append(
            replace(
                arm,
                population=size,
                price=price,
                data=dataset.fingerprint,
                alone=found.obstacle,
                onednn=found.onednn,
                eager=found.eager,
                limits=told[few],
            )
        )
    return tuple(arms)


def _measure(
    plan: Plan, arms: Sequence[ArmPlan], datasets: Mapping[str, Dataset], population: int | None
) -> list[Measurement]:
    """Measure the structure of each of some arms, on a GPU in a process of its own."""
    settings: dict[str, Any] = {
        "num_threads": plan.num_threads,
        "population": population,
        "budget_sec": _MEASURING_SEC / len(arms),
    }
    if plan.device.startswith("cuda"):
        from harness.planning.measuring import measure_apart

        settings["sharing"] = math.ceil(plan.workers / num_gpus(plan.device))
        return measure_apart([arm.asked.recipe for arm in arms], plan.device, **settings)
    from harness.engine.measure import measure

    return [measure(arm.asked.recipe, datasets[arm.name], **settings) for arm in arms]


def _check_alone(plan: Plan, arm: ArmPlan, population: int | None, obstacle: str) -> None:
    """Refuse what would need an arm's runs trained together, where torch cannot."""
    reason = f"runs of arm {arm.name} can only be trained one at a time ({obstacle})"
    if population is not None and population > 1:
        raise ValueError(f"`population` is {population}, but {reason}; set it to 1.")
    if plan.is_search and plan.study.early_terminate is not None and len(plan.study.seeds) > 1:
        raise ValueError(
            f"`early_terminate` judges all seeds of a trial together, but {reason}; leave it out, or ask for "
            "one seed."
        )
