"""What must be true of a study as a whole, beyond each of its fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.recipe.registry import metrics, nearest
from harness.study.document import FieldError, shown
from harness.study.grammar import METHODS

if TYPE_CHECKING:
    from harness.study.study import Study

__all__ = ["check_study"]


def check_study(study: Study) -> None:
    """Check that a study can be trained as it is asked, by building every recipe it may meet.

    Of a grid or an ablation each cell's recipe is built; of a search those at both ends of each range, at
    every choice and at a point inside.

    Raises:
        FieldError: it cannot, or its arms would not be compared fairly.
    """
    _check_kind(study)
    _check_metric(study)
    _check_seeds(study)
    _check_cells(study)
    if study.num_trials(study.cells[0]):
        _check_search(study)


def _check_kind(study: Study) -> None:
    searched = [key for key, found in study.parameters.items() if found.is_searched]
    if study.method is not None and study.method not in METHODS:
        hint = nearest(str(study.method), METHODS) or "."
        raise FieldError(
            ("method",), f"`method` must be one of {', '.join(METHODS)}, but got {shown(study.method)}{hint}"
        )
    if searched and study.method is None:
        raise FieldError(
            ("parameters", searched[0]),
            f"`method` is missing: `parameters.{searched[0]}` is to be searched; write method: random, bayes "
            "or grid.",
        )
    sampled = study.method in ("random", "bayes")
    if sampled and not searched:
        raise FieldError(
            ("method",),
            f"`method` is {study.method}, but `parameters` holds nothing to search; add a range.",
        )
    if sampled and study.run_cap is None:
        raise FieldError(
            ("method",),
            f"`run_cap` is missing: method {study.method} needs a number of trials; write run_cap: 20.",
        )
    if study.run_cap is not None and study.kind == "ablation":
        raise FieldError(
            ("run_cap",), "`run_cap` would cut arms off an ablation that searches nothing; remove it."
        )
    if study.early_terminate is not None and not sampled:
        raise FieldError(
            ("early_terminate",),
            "`early_terminate` stops hopeless trials of a search, but here every cell is trained to its end; "
            "remove it, or take method: random or bayes.",
        )


def _check_metric(study: Study) -> None:
    if not metrics[study.metric.name].exact:
        return
    listed = ", ".join(name for name in metrics.names() if not metrics[name].exact)
    if study.metric.at != "last":
        raise FieldError(
            ("metric", "at"),
            f"`metric.at` is {study.metric.at}, but {study.metric.name} is only measured at the end; write "
            f"at: last, or take one of {listed}.",
        )
    if study.early_terminate is not None:
        raise FieldError(
            ("early_terminate",),
            f"`early_terminate` watches the metric, but {study.metric.name} is only measured at the end; "
            f"take one of {listed}.",
        )


def _check_seeds(study: Study) -> None:
    if study.final_seeds and study.kind != "tuned-ablation":
        raise FieldError(
            ("final_seeds",),
            "`final_seeds` are for the best trial of each tuned arm, but this study tunes none; remove it.",
        )
    shared = sorted(set(study.seeds) & set(study.final_seeds))
    if shared:
        raise FieldError(
            ("final_seeds",),
            f"`final_seeds` must be fresh, but {shared[0]} is one of `seeds`; a best trial is judged on "
            "seeds it was not chosen by.",
        )


def _check_cells(study: Study) -> None:
    section = ("ablate",) if study.ablate is not None else ("parameters",)
    seen: dict[str, str] = {}
    for cell in study.cells:
        fingerprint = cell.recipe.fingerprint
        if fingerprint in seen:
            raise FieldError(
                section,
                f"cells `{seen[fingerprint]}` and `{cell.name}` are the same recipe; remove one of them.",
            )
        seen[fingerprint] = cell.name
    for key, found in study.parameters.items():
        if not any(found.applies(cell.overrides) for cell in study.cells):
            raise FieldError(("parameters", key, "when"), f"`parameters.{key}.when` fits no arm; widen it.")


def _check_search(study: Study) -> None:
    budgets: dict[str, int] = {}
    for cell in study.cells:
        space = study.space(cell)
        if not space:
            raise FieldError(
                ("ablate",),
                f"arm `{cell.name}` has nothing to tune while others have; give it a parameter too.",
            )
        inside = {key: found.probes[0] for key, found in space.items()}
        for key, found in space.items():
            for probe in found.probes:
                study.build(dict(cell.overrides) | inside | {key: probe})
        budgets[cell.name] = study.num_trials(cell)
    few, many = min(budgets, key=budgets.__getitem__), max(budgets, key=budgets.__getitem__)
    if budgets[few] != budgets[many]:
        raise FieldError(
            ("parameters",),
            f"the grid of arm `{few}` has {budgets[few]} trials and that of `{many}` {budgets[many]}: arms "
            f"must have equal budgets; write run_cap: {budgets[few]}.",
        )
