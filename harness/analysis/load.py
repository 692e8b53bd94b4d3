"""Whether scores of a study's runs may stand side by side: measured in the same way, or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.features.find import check_comparable

if TYPE_CHECKING:
    from harness.recipe import Recipe
    from harness.runs.result import RunResult

__all__ = ["check_measured_alike"]


def check_measured_alike(results: Sequence[RunResult], recipes: Mapping[str, Recipe]) -> None:
    """Refuse runs on the same data whose scores were measured against something else.

    Arms that differ in their data on purpose are each held against their own data, and are not compared
    here; neither are results from before it was recorded what they were measured against.

    Args:
        results: The runs that a report puts side by side.
        recipes: Name of each arm to its recipe.

    Raises:
        ValueError: Two runs differ; one line that names them and the difference.
    """
    first: dict[Any, RunResult] = {}
    for result in results:
        if "fingerprint" not in result.environment:
            continue
        recipe = recipes.get(result.cell)
        changed = {key: value for key, value in result.overrides.items() if key.startswith("data.")}
        key = (recipe.data if recipe else result.cell, tuple(sorted(changed.items())))
        other = first.setdefault(repr(key), result)
        try:
            check_comparable(other.environment["fingerprint"], result.environment["fingerprint"])
        except ValueError as error:
            raise ValueError(
                f"runs {other.run_id} and {result.run_id} cannot stand in one report: {error} Delete the "
                "result.json of those to be trained again, or give the study another name."
            ) from None
