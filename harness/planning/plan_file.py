"""The plan on the disk: ``plan.json``, and ``study.yaml`` for people.

Reading it is where a study meets its past: another version of the harness, another study under the same name,
a recipe that has changed since. Each is refused in one line that says what differs and how to go on.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.files import read_json, write_json, write_text
from harness.leases import holder, locked, take_lease
from harness.planning.plan import ArmPlan, Plan, Price, RunGroup, with_all_groups
from harness.recipe import Recipe
from harness.recipe.plugins import ModuleMissing, changed, import_recorded, module_source, recorded_code
from harness.runs.folder import finished_runs
from harness.study.document import to_yaml
from harness.study.folder import StudyFolder
from harness.version import __version__
from harness.words import listed

if TYPE_CHECKING:
    from harness.study.study import Study

__all__ = [
    "PLAN_VERSION",
    "PlannedCosts",
    "extended",
    "how_to_go_on",
    "planned_costs",
    "planned_seeds",
    "read_plan",
    "read_planned",
    "write_plan",
]

PLAN_VERSION = 2
"""Version of the layout of ``plan.json`` and of what lies beside it."""

_DAMAGED = (AttributeError, KeyError, TypeError, ValueError)


def read_plan(directory: Path, workers: int = 1, *, renew: bool = False) -> Plan:
    """Read the plan of a study.

    Args:
        directory: ``runs/<study>``.
        workers: Worker processes there are to be.
        renew: Whether arms whose code has changed are planned anew: code that is not the harness's own. Their
            runs are other runs, and `Plan.changed` names the files.

    Raises:
        ValueError: If the plan is of another version or not one, or if what it planned has changed since.
    """
    path = StudyFolder(directory).plan
    values, study, recipes = read_planned(directory)
    try:
        kept = {arm["name"]: arm for arm in values["arms"]}
        arms = tuple(
            ArmPlan(
                asked=arm,
                population=kept[arm.name]["population"],
                price=None if kept[arm.name]["price"] is None else Price(**kept[arm.name]["price"]),
                data=kept[arm.name]["data"],
                alone=kept[arm.name].get("alone", ""),
                onednn=kept[arm.name].get("onednn", False),
                eager=kept[arm.name].get("eager", ""),
                limits=kept[arm.name].get("limits", ""),
            )
            if not _is_stale(kept[arm.name])
            else ArmPlan(asked=arm)
            for arm in study.arms
        )
        other = changed(values.get("code", {}))
        device, num_threads, planned = values["device"], values["num_threads"], values["run_groups"]
    except _DAMAGED as error:
        raise _unusable(directory, error) from None
    if other and not renew:
        raise ValueError(
            f"{listed([f'`{file}`' for file in other])} {'has' if len(other) == 1 else 'have'} changed since "
            f"{path} was written; start the study again, in a new process."
        )
    for arm in arms:
        differences = _changes(recipes[arm.name], arm.asked.recipe)
        if differences:
            raise ValueError(
                f"recipe `{arm.asked.recipe.name}` of arm {arm.name} has changed since {path} was written: "
                f"{differences}; {how_to_go_on(directory)}"
            )
    by_name = {arm.name: arm for arm in arms}
    try:
        groups = tuple(
            RunGroup(runs=tuple(by_name[run["arm"]].run(run["seed"]) for run in group["runs"]))
            for group in planned
        )
        known = [group["id"] for group in planned]
    except _DAMAGED as error:
        raise _unusable(directory, error) from None
    if other:
        groups = tuple(group for group, id_then in zip(groups, known, strict=True) if group.id == id_then)
    elif [group.id for group in groups] != known:
        raise ValueError(f"{path} lists other runs than its recipes make; {how_to_go_on(directory)}")
    return Plan(
        study=study,
        directory=directory,
        device=device,
        num_threads=num_threads,
        workers=workers,
        arms=arms,
        run_groups=groups,
        done=finished_runs(directory, with_code=bool(study.code)),
        changed=tuple(other),
        renewed=bool(other) and (len(groups) < len(known) or not known),
    )


def read_planned(directory: Path) -> tuple[dict[str, Any], Study, dict[str, Recipe]]:
    """What a study asked, as its plan kept it.

    Args:
        directory: ``runs/<study>``, with its `plan.json`.

    Returns:
        The file's content, the study, and each arm's recipe by name; of an arm whose code has changed, code
        that is not the harness's own, the recipe as it is now.

    Raises:
        ValueError: If the plan is of another version, or damaged.
    """
    from harness.study.study import Study

    values = _content(directory)
    try:
        import_recorded(values.get("imports"))
        study = Study.from_json(values["study"])
        now = {arm.name: arm.recipe for arm in study.arms}
        recipes = {
            arm["name"]: now[arm["name"]] if _is_stale(arm) else Recipe.from_json(arm["recipe"])
            for arm in values["arms"]
        }
    except ModuleMissing as error:
        raise ValueError(f"{StudyFolder(directory).plan} {error}") from None
    except _DAMAGED as error:
        raise _unusable(directory, error) from None
    return values, study, recipes


@dataclass(frozen=True, kw_only=True)
class PlannedCosts:
    """What a plan says of the cost of its runs.

    Attributes:
        prices: price of each arm that was measured, by the arm's name.
        populations: most runs that each arm trains together, by the arm's name.
        together: runs that train together with each planned run, itself included, by its id; a search's runs
            are not planned.
    """

    prices: Mapping[str, Price]
    populations: Mapping[str, int]
    together: Mapping[str, int]


def planned_costs(directory: Path) -> PlannedCosts:
    """What a study's plan says of the cost of its runs, even if its recipes have changed since.

    Args:
        directory: ``runs/<study>``, with its `plan.json`.

    Raises:
        ValueError: If the plan is of another version, or damaged.
    """
    values = _content(directory)
    try:
        return PlannedCosts(
            prices={arm["name"]: Price(**arm["price"]) for arm in values["arms"] if arm["price"] is not None},
            populations={arm["name"]: int(arm["population"]) for arm in values["arms"]},
            together={
                run["run_id"]: len(group["runs"]) for group in values["run_groups"] for run in group["runs"]
            },
        )
    except _DAMAGED as error:
        raise _unusable(directory, error) from None


def _is_stale(arm: Mapping[str, Any]) -> bool:
    """Whether the code of a planned arm has changed, where it is not the harness's own."""
    return bool(changed(recorded_code(arm["recipe"].get("imports"))))


def planned_seeds(directory: Path) -> dict[str, list[int]]:
    """The seeds of each phase that a study asks for; none without a plan, as in a folder of `harness train`.

    Args:
        directory: ``runs/<study>``.

    Raises:
        ValueError: If the plan is of another version, or damaged.
    """
    return dict(_content(directory).get("seeds", {})) if StudyFolder(directory).plan.exists() else {}


def _content(directory: Path) -> dict[str, Any]:
    path = StudyFolder(directory).plan
    try:
        values = read_json(path)
    except ValueError as error:
        raise ValueError(f"{str(error).rstrip('.')}; {how_to_go_on(directory)}") from None
    version = values.get("version") if isinstance(values, dict) else None
    if version != PLAN_VERSION:
        raise ValueError(
            f"{path} has version {version}, but this harness ({__version__}) reads {PLAN_VERSION}; "
            f"{how_to_go_on(directory)}"
        )
    return dict(values)


def _unusable(directory: Path, error: Exception) -> ValueError:
    reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error).rstrip(".")
    path = StudyFolder(directory).plan
    return ValueError(f"{path} cannot be used by this harness ({reason}); {how_to_go_on(directory)}")


def extended(old: Plan, study: Study) -> Plan:
    """An old plan of a study that now asks for other seeds or for more trials; new groups are not made yet.

    Args:
        old: the plan in the folder.
        study: the study as it is asked for now.

    Raises:
        ValueError: If the studies differ in anything else.
    """
    may_change = ("`seeds`:", "`run_cap`:")
    differences = [line for line in old.study.difference(study) if not line.startswith(may_change)]
    if old.is_search and study.seeds != old.study.seeds:
        differences.append(f"`seeds`: {_seeds(old.study.seeds)} → {_seeds(study.seeds)}")
    if (study.run_cap or math.inf) < (old.study.run_cap or math.inf):
        differences.append(f"`run_cap`: {old.study.run_cap} → {study.run_cap}")
    if differences:
        raise ValueError(
            f"{old.directory} holds another study named `{study.name}` ({'; '.join(differences)}); "
            f"{how_to_go_on(old.directory)}"
        )
    known = {arm.name: arm for arm in old.arms}
    arms = tuple(replace(known.get(arm.name, ArmPlan(asked=arm)), asked=arm) for arm in study.arms)
    return replace(old, study=study, arms=arms)


def write_plan(plan: Plan, *, anew: bool = False) -> Plan:
    """Write ``plan.json``, and ``study.yaml`` for people, each in one move.

    Args:
        plan: What to write. If another process has written the study's plan meanwhile, that one is kept,
            extended by what this one's study asks for.
        anew: Whether to put it in the place of the plan that is there, which no sweep may be carrying out.

    Returns:
        The plan as written.

    Raises:
        ValueError: If the folder cannot be written to; nothing is left behind then. Or if a sweep is at it.
    """
    folder = StudyFolder(plan.directory)
    if anew:
        _check_at_rest(folder)
    made: list[Path] = []
    try:
        for path in [*reversed(folder.path.parents), folder.path]:
            if not path.exists():
                path.mkdir()
                made.append(path)
        folder.make()
        with locked(folder.lock("plan")):
            if folder.plan.exists() and not anew:
                plan = _merged(read_plan(folder.path, plan.workers, renew=True), plan)
            write_text(folder.text, to_yaml(plan.study.to_json()))
            write_json(folder.plan, _to_json(plan))
    except OSError as error:
        _remove_empty(folder, made)
        raise ValueError(
            f"cannot write to {plan.directory}: {error.strerror or error}; choose another folder with "
            "--directory."
        ) from None
    return plan


def _check_at_rest(folder: StudyFolder) -> None:
    lease = take_lease(folder.leases, "sweep")
    if lease is None:
        pid = holder(folder.leases, "sweep").get("pid", "unknown")
        raise ValueError(f"{folder.path} is being run by process {pid}; wait for it, or stop it.")
    lease.release()


def _merged(kept: Plan, plan: Plan) -> Plan:
    """The plan on the disk, extended to what another asks for."""
    measured = {arm.name: arm for arm in plan.arms}
    merged = extended(kept, plan.study)
    arms = tuple(arm if arm.price is not None else measured[arm.name] for arm in merged.arms)
    return with_all_groups(replace(merged, arms=arms, device=plan.device))


def _to_json(plan: Plan) -> dict[str, Any]:
    """What is kept of a plan."""
    return {
        "version": PLAN_VERSION,
        "harness": __version__,
        **_code_to_json(plan.study),
        "study": plan.study.to_json(),
        "device": plan.device,
        "num_threads": plan.num_threads,
        "seeds": plan.seeds,
        "arms": [
            {
                "name": arm.name,
                "overrides": arm.asked.overrides,
                "is_baseline": arm.asked.is_baseline,
                "recipe": arm.asked.recipe.to_json(),
                "data": arm.data,
                "population": arm.population,
                "alone": arm.alone,
                "onednn": arm.onednn,
                "eager": arm.eager,
                "limits": arm.limits,
                "price": None if arm.price is None else asdict(arm.price),
            }
            for arm in plan.arms
        ],
        "run_groups": [
            {
                "id": group.id,
                "runs": [{"run_id": run.run_id, "arm": run.arm, "seed": run.seed} for run in group.runs],
            }
            for group in plan.run_groups
        ],
    }


def _code_to_json(study: Study) -> dict[str, Any]:
    """The modules of one's own that the study needs, and hashes of their code; empty where it needs none."""
    needed = [*map(module_source, study.imports), *study.sources.values()]
    records = {source.module: source.to_json() for source in needed if source is not None}
    return {"imports": list(records.values()), "code": study.code} if records else {}


def _remove_empty(folder: StudyFolder, made: Sequence[Path]) -> None:
    if folder.path not in made:
        return
    for path in (folder.lock("plan"), folder.text):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
    for path in (*folder.folders, *reversed(made)):
        with contextlib.suppress(OSError):
            path.rmdir()


def _changes(old: Recipe, new: Recipe) -> str:
    before, after = old.flat(), new.flat()
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    return listed([f"{key} {before.get(key, 'absent')} → {after.get(key, 'absent')}" for key in keys], 3)


def _seeds(seeds: Sequence[int]) -> str:
    return f"{len(seeds)} seeds" if len(seeds) > 8 else ", ".join(map(str, seeds))


def how_to_go_on(directory: Path) -> str:
    """What to do where a study's folder is in the way.

    Args:
        directory: the folder.
    """
    return f"give the study another `name` in its file, move {directory} away, or choose another --directory."
