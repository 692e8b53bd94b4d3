"""A study's keywords, with a person's shorthands, written as a sweep file has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.recipe import Recipe, find_recipe
from harness.recipe.recipe import SECTIONS
from harness.recipe.registry import recipes
from harness.study.document import FieldError, shown
from harness.study.target import Target

__all__ = ["as_keywords", "as_written"]

_BOTH = ("generator_optimizer.", "discriminator_optimizer.")
_KEYWORDS = {"`ablate.parameters": "`ablate", "`ablate.arms": "`ablate", "`ablate.baseline": "`baseline"}
"""What a sweep file calls a field → what the keyword is called."""


def as_written(
    given: Mapping[str, Any],
    *,
    ablate: Mapping[str, Any] | None,
    baseline: Mapping[str, Any] | str | None,
    parameters: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The data of the sweep file that asks the same as these keywords.

    Args:
        given: keywords that are called as in a file; those that are None were not given.
        ablate: values by dotted key, or settings by the arms' names.
        baseline: one value a key, or an arm's name.
        parameters: a value, or what is searched, by dotted key.

    Raises:
        FieldError: a keyword that no file could say.
    """
    written = {key: value for key, value in given.items() if value is not None}
    if isinstance(written["metric"], Target):
        written["metric"] = written["metric"].to_json()
    elif isinstance(written["metric"], str):
        written["metric"] = {"name": written["metric"]}
    for key, value in (("ablate", ablate), ("parameters", parameters)):
        if value is not None and not isinstance(value, Mapping):
            raise FieldError((key,), f"`{key}` must map dotted keys to values, but got {shown(value)}.")
    if (ablate is None) != (baseline is None):
        missing, there = ("ablate", "baseline") if ablate is None else ("baseline", "ablate")
        raise FieldError((missing,), f"`{there}` needs `{missing}` too: arms are compared with a baseline.")
    if ablate is not None:
        listed = "arms" if isinstance(baseline, str) else "parameters"
        written["ablate"] = {listed: ablate, "baseline": baseline}
    settings = {
        key: value if isinstance(value, Mapping) else {"value": value}
        for key, value in (parameters or {}).items()
    }
    if isinstance(written["recipe"], Recipe):
        varied = {*settings, *(ablate or {})}
        if isinstance(baseline, str):
            varied = varied.union(*(arm or () for arm in (ablate or {}).values()))
        changed = _changes(written["recipe"], varied)
        written["recipe"] = written["recipe"].name
        settings = {key: {"value": value} for key, value in changed.items()} | settings
    if settings:
        written["parameters"] = settings
    return written


def as_keywords(error: FieldError) -> FieldError:
    """The same mistake, told of the keyword instead of the file's field."""
    message = str(error)
    for field, keyword in _KEYWORDS.items():
        message = message.replace(field, keyword)
    return FieldError(error.path, message, at_key=error.at_key)


def _changes(recipe: Recipe, varied: set[str]) -> dict[str, Any]:
    """The settings in which a recipe differs from the registered one of its name, but for those varied."""
    if recipe.name not in recipes:
        raise FieldError(
            ("recipe",),
            f"`recipe` {recipe.name!r} is not registered, so workers could not find it; register it with "
            "`register_recipe` in a module that can be imported.",
        )
    registered = find_recipe(recipe.name)
    before, after = registered.flat(), recipe.flat()
    # A change of an entry's name resets the options that are not given, so another entry's are given whole.
    other = tuple(f"{name}." for name in SECTIONS if before.get(f"{name}.name") != after.get(f"{name}.name"))
    changed = {k: value for k, value in after.items() if before.get(k) != value or k.startswith(other)}
    if registered.override(changed).fingerprint != recipe.fingerprint:
        raise FieldError(
            ("recipe",),
            f"`recipe` {recipe.name!r} cannot be written as changes of the registered one of its name; "
            "register it under a name of its own with `register_recipe`.",
        )
    for key in list(changed):
        prefix, _, option = key.partition(".")
        if key in varied or (f"{prefix}." in _BOTH and f"optimizer.{option}" in varied):
            del changed[key]
    return changed
