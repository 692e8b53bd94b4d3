"""Cells: the arms of a study, and what people call them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.recipe import Recipe
from harness.recipe.registry import Value
from harness.study.document import FieldError, FieldPath

if TYPE_CHECKING:
    from harness.study.study import Study

__all__ = ["Cell", "axes_of", "cell_name", "grid_cells"]

_MAX_CELLS = 1000


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One arm: a point of the study's grid.

    Attributes:
        name: what people call it: ``adam``, ``discriminator_steps=5``, ``adam, depth=4``, or the file's word.
        overrides: the settings that tell it from the others, by dotted key.
        recipe: the whole of it, with the study's fixed settings.
        is_baseline: whether the others are compared with it.
    """

    name: str
    overrides: Mapping[str, Value]
    recipe: Recipe
    is_baseline: bool = False


def grid_cells(study: Study) -> Iterator[Cell]:
    """An ablation's arms as listed or as a grid, or a grid without arms up to its `run_cap`.

    Of a grid the last key goes fastest.

    Raises:
        FieldError: a key cannot be gone through, or there are too many cells.
    """
    ablate = study.ablate
    if ablate is not None and ablate.arms:
        for name, chosen in ablate.arms.items():
            yield _cell(study, name, chosen, ("ablate", "arms", name))
        return
    section = ("ablate", "parameters") if ablate is not None else ("parameters",)
    axes: dict[str, list[Value]]
    if ablate is not None:
        axes = {key: list(values) for key, values in ablate.parameters.items()}
    else:
        axes = {key: [value for _, value in points] for key, points in axes_of(study, {}).items()}
    size = math.prod(len(values) for values in axes.values())
    wanted = size if ablate is not None else min(size, study.run_cap or size)
    if wanted > _MAX_CELLS:
        raise FieldError(
            section, f"`{section[0]}` makes a grid of {size} cells; at most {_MAX_CELLS} are planned."
        )
    for point in itertools.islice(itertools.product(*axes.values()), wanted):
        chosen = dict(zip(axes, point, strict=True))
        yield _cell(study, cell_name(chosen) or study.recipe, chosen, section)


def _cell(study: Study, name: str, chosen: Mapping[str, Value], section: FieldPath) -> Cell:
    """An arm with its settings, and those that are fixed in such arms only."""
    fixed = {
        key: found.arguments["value"]
        for key, found in study.parameters.items()
        if not found.is_searched and found.applies(chosen)
    }
    return Cell(
        name=name,
        overrides=dict(chosen) | fixed,
        recipe=study.build(dict(chosen) | fixed, section),
        is_baseline=study.ablate is not None and dict(chosen) == dict(study.ablate.baseline),
    )


def axes_of(study: Study, arm: Mapping[str, Value]) -> dict[str, list[tuple[Any, Value]]]:
    """The values of each searched key of an arm, after Optuna's parameters for them.

    Raises:
        FieldError: a distribution that has no countable values.
    """
    axes = {}
    for key, found in study.parameters.items():
        if found.is_searched and found.applies(arm):
            points = found.grid()
            if points is None:
                raise FieldError(
                    ("parameters", key),
                    f"`parameters.{key}`: a grid cannot go through {found.name}; list its `values`, or take "
                    "method: random.",
                )
            axes[key] = points
    return axes


def cell_name(chosen: Mapping[str, Value]) -> str:
    """A name from the values of the grid's keys: words stand for themselves, unless two keys end alike.

    Args:
        chosen: dotted key → value.

    Returns:
        ``adam, depth=4`` for ``{"optimizer.name": "adam", "generator.depth": 4}``; empty for no keys.
    """
    ends = [key.rsplit(".", 1)[-1] for key in chosen]
    parts = []
    for (key, value), end in zip(chosen.items(), ends, strict=True):
        alone = ends.count(end) == 1
        word = isinstance(value, str) and alone
        parts.append(str(value) if word else f"{end if alone else key}={_written(value)}")
    return ", ".join(parts)


def _written(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value)
