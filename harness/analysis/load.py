"""The finished runs of a study, and whether their scores may stand side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.features.comparing import check_comparable
from harness.planning.plan_file import how_to_go_on, planned_seeds
from harness.runs.folder import find_results, run_directory
from harness.runs.result import RunResult
from harness.search.trial import read_winners

if TYPE_CHECKING:
    from harness.recipe import Recipe

__all__ = ["check_measured_alike", "read_results"]


def check_measured_alike(
    results: Sequence[RunResult], recipes: Mapping[str, Recipe], directory: Path
) -> None:
    """Refuse runs on the same data whose scores were measured against something else.

    Arms that differ in their data on purpose are each held against their own data, and are not compared
    here; neither are results from before it was recorded what they were measured against.

    Args:
        results: The runs that a report puts side by side.
        recipes: Name of each arm to its recipe.
        directory: The study's folder.

    Raises:
        ValueError: Two runs differ; one line that names them and the difference.
    """
    first: dict[Any, RunResult] = {}
    for result in results:
        if "fingerprint" not in result.environment:
            continue
        recipe = recipes.get(result.arm)
        changed = {key: value for key, value in result.overrides.items() if key.startswith("data.")}
        key = (recipe.data if recipe else result.arm, tuple(sorted(changed.items())))
        other = first.setdefault(repr(key), result)
        try:
            check_comparable(other.environment["fingerprint"], result.environment["fingerprint"])
        except ValueError as error:
            raise ValueError(
                f"runs {other.run_id} and {result.run_id} cannot stand in one report: {error} Remove "
                f"{run_directory(directory, other.run_id)} or {run_directory(directory, result.run_id)}, and "
                f"run the study again, which trains that run anew; or {how_to_go_on(directory)}"
            ) from None


def read_results(study_directory: Path) -> list[RunResult]:
    """Every finished run of a study, by phase, arm, trial and seed.

    Runs of seeds that the study no longer asks for (`seeds` was shrunk) stay on the disk and are left out,
    and so are the final runs of a trial that is no longer its arm's best (`run_cap` was raised), and runs of
    other code than this process has, where that is not the harness's own.

    Args:
        study_directory: ``runs/<study>``.

    Returns:
        The results; an empty list if none has finished.

    Raises:
        ValueError: If a result file is unreadable.
    """
    asked, winners = planned_seeds(study_directory), read_winners(study_directory)
    results = []
    for result in find_results(study_directory):
        if not result.is_current or (asked and result.seed not in asked.get(result.phase, ())):
            continue
        if result.phase == "final" and result.trial != winners.get(result.arm, {}).get("trial", result.trial):
            continue
        results.append(result)
    return sorted(results, key=lambda r: (r.phase, r.arm, -1 if r.trial is None else r.trial, r.seed))
