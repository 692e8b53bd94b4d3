"""What a sweep file says of its arms: ``ablate``, a grid of settings or a list of named arms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.recipe.registry import Value, nearest
from harness.study.document import Document, FieldError, shown
from harness.study.parameters import flatten, read_mapping, read_setting, read_values
from harness.study.space import contains

__all__ = ["Ablate", "read_ablate"]

_MAX_ARMS = 1000
_MAX_NAME = 60


@dataclass(frozen=True, kw_only=True)
class Ablate:
    """The arms of a study.

    Attributes:
        parameters: dotted key → the values it takes; without `arms`, every arm of their grid is an arm.
        baseline: the settings of the arm that the others are compared with.
        arms: name → settings, where the arms are listed one by one; empty for a grid.
    """

    parameters: Mapping[str, tuple[Value, ...]]
    baseline: Mapping[str, Value]
    arms: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The section `ablate` of a sweep file."""
        if self.arms:
            name = next(name for name, chosen in self.arms.items() if chosen == self.baseline)
            return {"arms": {name: dict(chosen) for name, chosen in self.arms.items()}, "baseline": name}
        listed = {key: list(values) for key, values in self.parameters.items()}
        return {"parameters": listed, "baseline": dict(self.baseline)}


def read_ablate(value: Any, document: Document) -> Ablate:
    """Read the section `ablate`.

    Args:
        value: what the file says.
        document: the file, which learns where the flattened keys stand.

    Raises:
        FieldError: no arms, no baseline, or one that is no arm.
    """
    given = read_mapping(value, ("ablate",), ("parameters", "arms", "baseline"))
    if "parameters" in given and "arms" in given:
        raise FieldError(
            ("ablate", "arms"),
            "`ablate` takes `parameters` (a grid) or `arms` (a list), but got both; remove one.",
            at_key=True,
        )
    if "arms" in given:
        return _read_arms(given)
    if "parameters" not in given:
        raise FieldError(
            ("ablate",),
            "`ablate.parameters` is missing; write parameters: {optimizer.name: [rmsprop, adam]}, for "
            "example.",
        )
    parameters = {
        key: read_values(spec, where)
        for key, (spec, where) in flatten(given["parameters"], ("ablate", "parameters"), document).items()
    }
    if "baseline" not in given:
        first = ", ".join(f"{key}: {shown(values[0])}" for key, values in parameters.items() if values)
        raise FieldError(
            ("ablate",), f"`ablate.baseline` is missing; write baseline: {{{first}}}, for example."
        )
    return Ablate(parameters=parameters, baseline=_read_baseline(given["baseline"], parameters))


def _read_arms(given: Mapping[str, Any]) -> Ablate:
    path = ("ablate", "arms")
    listed = given["arms"]
    if not isinstance(listed, Mapping) or not 1 <= len(listed) <= _MAX_ARMS:
        raise FieldError(
            path,
            f"`ablate.arms` must map 1 to {_MAX_ARMS} names to the arms' settings, but got {shown(listed)}.",
        )
    arms: dict[str, dict[str, Value]] = {}
    for name, settings in listed.items():
        if not isinstance(name, str) or not name.strip() or len(name) > _MAX_NAME or not name.isprintable():
            raise FieldError(
                (*path, name),
                f"`ablate.arms` names each arm with 1 to {_MAX_NAME} characters, but got {shown(name)}.",
                at_key=True,
            )
        if settings is not None and not isinstance(settings, Mapping):
            raise FieldError(
                (*path, name),
                f"`ablate.arms.{name}` must map dotted recipe keys to values, but got {shown(settings)}.",
            )
        arms[name] = {
            str(key): read_setting(setting, (*path, name, key)) for key, setting in (settings or {}).items()
        }
    baseline = given.get("baseline")
    if not isinstance(baseline, str) or baseline not in arms:
        hint = nearest(str(baseline), arms) or "."
        raise FieldError(
            ("ablate", "baseline") if "baseline" in given else ("ablate",),
            f"`ablate.baseline` must be the name of one of the arms {', '.join(arms)}, "
            f"but got {shown(baseline)}{hint}",
        )
    parameters: dict[str, tuple[Value, ...]] = {}
    for settings in arms.values():
        for key, setting in settings.items():
            known = parameters.get(key, ())
            parameters[key] = known if contains(known, setting) else (*known, setting)
    return Ablate(parameters=parameters, baseline=arms[baseline], arms=arms)


def _read_baseline(baseline: Any, parameters: Mapping[str, tuple[Value, ...]]) -> dict[str, Value]:
    if not isinstance(baseline, Mapping):
        raise FieldError(
            ("ablate", "baseline"),
            f"`ablate.baseline` must map each key to its value, but got {shown(baseline)}.",
        )
    for key, chosen in baseline.items():
        where = ("ablate", "baseline", key)
        if key not in parameters:
            hint = nearest(key, parameters) or "."
            raise FieldError(
                where, f"`ablate.baseline.{key}` is no key of `ablate.parameters`{hint}", at_key=True
            )
        if not contains(parameters[key], chosen):
            listed = ", ".join(str(item) for item in parameters[key])
            raise FieldError(
                where, f"`ablate.baseline.{key}` must be one of the values {listed}, but got {shown(chosen)}."
            )
    missing = [key for key in parameters if key not in baseline]
    if missing:
        raise FieldError(
            ("ablate", "baseline"),
            f"`ablate.baseline` says nothing of `{missing[0]}`; give it one of its values.",
        )
    return {
        key: next(item for item in values if contains((item,), baseline[key]))
        for key, values in parameters.items()
    }
