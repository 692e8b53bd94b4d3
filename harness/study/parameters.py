"""What a sweep file says of its settings: ``parameters``, read into fixed values and distributions."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from harness.recipe.naming import is_seed
from harness.recipe.registry import Value, nearest, unquoted
from harness.study.document import Document, FieldError, FieldPath, dotted, shown
from harness.study.space import (
    DISTRIBUTIONS,
    EXPONENTS,
    MAX_EXACT,
    POSITIVE_BOUNDS,
    Distribution,
    contains,
)

__all__ = [
    "flatten",
    "read_distribution",
    "read_mapping",
    "read_parameters",
    "read_setting",
    "read_values",
]

_MAX_VALUES = 1000


def read_mapping(value: Any, path: FieldPath, known: tuple[str, ...]) -> Mapping[str, Any]:
    """`value`, checked to be a mapping with none but the known keys.

    Args:
        value: what the file says.
        path: where it stands.
        known: the keys that it may have.

    Raises:
        FieldError: it is not; the nearest known key is offered.
    """
    name = dotted(path)
    if not isinstance(value, Mapping):
        raise FieldError(path, f"`{name}` must be a mapping with {', '.join(known)}, but got {shown(value)}.")
    for key in value:
        if key not in known:
            hint = nearest(key, known) or "."
            raise FieldError(
                (*path, key), f"unknown key `{name}.{key}`{hint} Known: {', '.join(known)}.", at_key=True
            )
    return value


def read_setting(value: Any, path: FieldPath) -> Value:
    """A value that a recipe's option could have.

    Args:
        value: what the file says.
        path: where it stands.

    Raises:
        FieldError: nothing, a list or a mapping.
    """
    if isinstance(value, (bool, int, float, str)):
        return value
    if value is None:
        fix = "W&B hands None to the program, but every option here has a value: write the one that is meant"
    else:
        kind = "a list" if isinstance(value, list) else "a mapping"
        fix = f"W&B hands {kind} to the program whole, but an option here is one value: give its parts by key"
    raise FieldError(
        path, f"`{dotted(path)}` must be a number, a word, true or false, but got {shown(value)}; {fix}."
    )


def flatten(
    value: Any, path: FieldPath, document: Document, prefix: str = ""
) -> dict[str, tuple[Any, FieldPath]]:
    """Dotted key → (spec, where it stands), W&B's nested `parameters:` unfolded.

    Args:
        value: the mapping, as the file has it.
        path: where it stands.
        document: the file, which learns where the flattened keys stand.
        prefix: what the keys above it come to, with a dot at the end.

    Raises:
        FieldError: no mapping, or a key that is there twice.
    """
    name = dotted(path)
    if not isinstance(value, Mapping) or not value:
        raise FieldError(path, f"`{name}` must map dotted recipe keys to values, but got {shown(value)}.")
    found: dict[str, tuple[Any, FieldPath]] = {}
    for key, spec in value.items():
        where = (*path, key)
        inner: dict[str, tuple[Any, FieldPath]]
        if isinstance(spec, Mapping) and "parameters" in spec:
            beside = [other for other in spec if other != "parameters"]
            if beside:
                raise FieldError(
                    (*where, beside[0]),
                    f"`{dotted(where)}.{beside[0]}` cannot stand beside nested `parameters`; remove one.",
                    at_key=True,
                )
            inner = flatten(spec["parameters"], (*where, "parameters"), document, f"{prefix}{key}.")
        else:
            inner = {f"{prefix}{key}": (spec, where)}
        for flat, entry in inner.items():
            if flat in found:
                raise FieldError(entry[1], f"`{flat}` is given twice under `{name}`; remove one of them.")
            found[flat] = entry
    if not prefix:
        for flat, (_, where) in found.items():
            if where != (*path, flat):
                document.alias((*path, flat), where)
    return found


def read_values(value: Any, path: FieldPath) -> tuple[Value, ...]:
    """The values that an ablation's key takes: a list, or a mapping that lists them under `values`.

    Args:
        value: what the file says.
        path: where it stands.

    Raises:
        FieldError: a range, no values, or one given twice.
    """
    listed = value
    if isinstance(value, Mapping):
        found = read_distribution(value, path)
        if found.name != "categorical" or "when" in value:
            raise FieldError(
                path,
                f"`{dotted(path)}` must list its values, but got {shown(dict(value))}; to search a "
                "range, put it under `parameters`.",
            )
        listed = found.arguments["values"]
    listed = _argument("categorical", "values", listed, path)
    for index, item in enumerate(listed):
        read_setting(item, (*path, index))
        if any(item == other and type(item) is type(other) for other in listed[:index]):
            raise FieldError(
                (*path, index),
                f"`{dotted(path)}` holds {shown(item)} twice, which makes two equal arms; remove one.",
            )
    return tuple(listed)


def read_parameters(
    value: Any, ablated: Mapping[str, tuple[Value, ...]] | None, document: Document
) -> tuple[dict[str, Value], dict[str, Distribution]]:
    """Read the section `parameters`.

    Args:
        value: what the file says.
        ablated: `ablate.parameters`, whose keys `when` may name; None where there is no `ablate`.
        document: the file, which learns where the flattened keys stand.

    Returns:
        The settings fixed in the whole study, and what is searched or fixed in some arms only; by dotted key.

    Raises:
        FieldError: a parameter that says nothing sensible, or a key that the ablation has too.
    """
    overrides: dict[str, Value] = {}
    parameters: dict[str, Distribution] = {}
    for key, (spec, where) in flatten(value, ("parameters",), document).items():
        if is_seed(key):
            raise FieldError(where, f"`{dotted(where)}`: {_as_seeds(spec)}", at_key=True)
        found = read_distribution(spec, where)
        if key in (ablated or {}):
            raise FieldError(
                where, f"`{key}` stands in both `ablate.parameters` and `parameters`; keep one.", at_key=True
            )
        if "when" in spec:
            found = dataclasses.replace(found, when=_when(spec["when"], ablated, (*where, "when")))
        for index, probe in enumerate(found.probes if found.name.startswith("c") else ()):
            single = found.name == "constant"
            read_setting(probe, (*where, "value") if single else (*where, "values", index))
        if found.is_searched or found.when:
            parameters[key] = found
        else:
            overrides[key] = found.arguments["value"]
    return overrides, parameters


def _as_seeds(spec: Any) -> str:
    """The line of `seeds` that asks for what a parameter called seed does."""
    given = spec if isinstance(spec, Mapping) else {"value": spec}
    listed = given["values"] if isinstance(given.get("values"), list) else [given.get("value")]
    whole = [seed for seed in listed if isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0]
    seeds = list(dict.fromkeys(whole))
    fits = len(whole) == len(listed) and 1 <= len(seeds) <= 20
    written = f"[{', '.join(map(str, seeds))}]" if fits else max(len(listed), 8)
    return (
        "a recipe has no seed, and every configuration is trained with each of the study's; remove it, and "
        f"write seeds: {written}."
    )


def _when(
    value: Any, ablated: Mapping[str, tuple[Value, ...]] | None, path: FieldPath
) -> dict[str, tuple[Value, ...]]:
    name = dotted(path)
    if ablated is None:
        raise FieldError(path, f"`{name}` names arms, but the study has no `ablate`; remove it.")
    if not isinstance(value, Mapping) or not value:
        raise FieldError(
            path, f"`{name}` must map a key of `ablate.parameters` to values, but got {shown(value)}."
        )
    conditions: dict[str, tuple[Value, ...]] = {}
    for key, wanted in value.items():
        if key not in ablated:
            hint = nearest(key, ablated) or "."
            raise FieldError(
                (*path, key),
                f"`{name}.{key}` is no key of `ablate.parameters`{hint} Its keys: {', '.join(ablated)}.",
                at_key=True,
            )
        wanted = wanted if isinstance(wanted, list) else [wanted]
        for item in wanted:
            if not contains(ablated[key], item):
                names = [str(known) for known in ablated[key]]
                hint = nearest(str(item), names) or "."
                raise FieldError(
                    (*path, key),
                    f"`{name}.{key}`: no arm has {shown(item)}{hint} Its values: {', '.join(names)}.",
                )
        if not wanted:
            raise FieldError((*path, key), f"`{name}.{key}` is empty; give it at least one value.")
        conditions[key] = tuple(wanted)
    return conditions


def read_distribution(spec: Any, path: FieldPath) -> Distribution:
    """Read one parameter of a sweep file, without its `when`.

    Args:
        spec: what the file says, ``{min: 1e-5, max: 0.1, distribution: log_uniform_values}`` for example.
        path: where it says so, for messages.

    Raises:
        FieldError: an unknown distribution or argument, one that is missing, or one of the wrong kind.
    """
    field_name = dotted(path)
    if not isinstance(spec, Mapping):
        fix = f"{{values: {shown(spec)}}}" if isinstance(spec, list) else f"{{value: {shown(spec)}}}"
        raise FieldError(path, f"`{field_name}` must say what to search, but got {shown(spec)}; write {fix}.")
    name = _name(spec, path)
    defaults = DISTRIBUTIONS[name]
    for key in spec:
        if key not in (*defaults, "distribution", "when"):
            hint = nearest(key, [*defaults, "distribution", "when"]) or "."
            raise FieldError(
                (*path, key),
                f"`{field_name}.{key}`: {name} has no argument `{key}`{hint} Its arguments: "
                f"{', '.join(defaults)}.",
                at_key=True,
            )
    given: dict[str, Any] = {}
    for key, default in defaults.items():
        if key not in spec and default is None:
            raise FieldError(path, f"`{field_name}` has no `{key}`, which {name} needs; add it.")
        given[key] = _argument(name, key, spec.get(key, default), (*path, key))
    _check_together(name, given, path)
    try:
        return Distribution(name=name, arguments=given)
    except ValueError as error:
        raise FieldError(path, f"`{field_name}`: {error}.") from None


def _name(spec: Mapping[str, Any], path: FieldPath) -> str:
    """The distribution that is named, or the one W&B takes where none is."""
    field_name = dotted(path)
    if "distribution" in spec:
        name = spec["distribution"]
        if isinstance(name, str) and name in EXPONENTS:
            raise FieldError((*path, "distribution"), _both_readings(name, spec, field_name))
        if not isinstance(name, str) or name not in DISTRIBUTIONS:
            hint = nearest(str(name), [*DISTRIBUTIONS, *EXPONENTS]) or "."
            for known, instead in EXPONENTS.items():
                hint = hint.replace(f"`{known}`", f"`{instead}`")
            raise FieldError(
                (*path, "distribution"),
                f"`{field_name}.distribution`: unknown distribution {shown(name)}{hint} "
                f"Known: {', '.join(DISTRIBUTIONS)}.",
            )
        return name
    if "value" in spec:
        return "constant"
    if "values" in spec:
        return "categorical_w_probabilities" if "probabilities" in spec else "categorical"
    if "min" in spec or "max" in spec:
        ends = [spec.get("min"), spec.get("max")]
        if "q" in spec:
            raise FieldError(
                path, f"`{field_name}` has a `q` but no `distribution`; add distribution: q_uniform."
            )
        whole = all(isinstance(end, int) and not isinstance(end, bool) for end in ends)
        return "int_uniform" if whole else "uniform"
    unknown = next((key for key in spec if key not in ("when", "mu", "sigma", "a", "b", "q")), None)
    names = ["value", "values", "min", "max", "distribution", "parameters", "when"]
    if unknown is not None:
        raise FieldError(
            (*path, unknown),
            f"`{field_name}.{unknown}`: unknown key `{unknown}`{nearest(unknown, names) or '.'} "
            f"Known: {', '.join(names)}.",
            at_key=True,
        )
    raise FieldError(
        path,
        f"`{field_name}` says nothing to search; give `value`, `values`, `min` and `max`, or a distribution.",
    )


def _both_readings(name: str, spec: Mapping[str, Any], field_name: str) -> str:
    """Why a distribution of exponents is refused: the range by either reading of its bounds, and the fix."""
    message = (
        f"`{field_name}.distribution`: the bounds of {name} are exponents of e, and most files mean values"
    )
    fix = f"write distribution: {EXPONENTS[name]}, as W&B asks too"
    low, high = spec.get("min"), spec.get("max")
    for end in (low, high):
        if isinstance(end, bool) or not isinstance(end, (int, float)):
            return f"{message}; {fix}, with values as bounds."
    assert low is not None
    assert high is not None
    try:
        ends = [math.exp(end) for end in ((-high, -low) if name.startswith("inv") else (low, high))]
    except OverflowError:
        return f"{message}, and e to the power of {high:g} is no number; {fix}, with values as bounds."
    powers = [f"{end:.6g}" for end in ends]
    if powers[0] == powers[1]:
        powers = [repr(end) for end in ends]
    as_exponents = f"by exponents [{low:g}, {high:g}] is {powers[0]} to {powers[1]}"
    if low <= 0:
        return f"{message}; {as_exponents}, by values nothing; {fix}, min: {powers[0]}, max: {powers[1]}."
    return (
        f"{message}; {as_exponents}, by values {low:g} to {high:g}; {fix}, and for exponents min: "
        f"{powers[0]}, max: {powers[1]}."
    )


def _argument(name: str, key: str, value: Any, path: FieldPath) -> Any:
    field_name = dotted(path)
    if key == "value":
        return value
    if key in ("values", "probabilities"):
        if not isinstance(value, list) or not value:
            raise FieldError(
                path, f"`{field_name}` must be a list of at least one value, but got {shown(value)}."
            )
        if len(value) > _MAX_VALUES:
            raise FieldError(
                path, f"`{field_name}` lists {len(value)} values; at most {_MAX_VALUES} are read."
            )
        if key == "values":
            return list(value)
        return [_number(item, (*path, index), low=0.0) for index, item in enumerate(value)]
    if name == "int_uniform":
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > MAX_EXACT:
            raise FieldError(
                path,
                f"`{field_name}` must be an integer up to 2**53, but got {shown(value)}; or use uniform.",
            )
        return value
    if key in ("sigma", "a", "b"):
        return _number(value, path, low=0.0)
    if key == "q" or (key in ("min", "max") and name in POSITIVE_BOUNDS):
        return _number(value, path, low=0.0, open_low=True)
    return _number(value, path)


def _number(value: Any, path: FieldPath, *, low: float = -math.inf, open_low: bool = False) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise FieldError(path, f"`{dotted(path)}` must be a number, but got {shown(value)}{unquoted(value)}")
    if not math.isfinite(value):
        raise FieldError(path, f"`{dotted(path)}` must be finite, but got {value}.")
    if value < low or (open_low and value == low):
        what = "positive" if open_low else "zero or more"
        raise FieldError(path, f"`{dotted(path)}` must be {what}, but got {value:g}.")
    return value


def _check_together(name: str, given: Mapping[str, Any], path: FieldPath) -> None:
    field_name = dotted(path)
    if "probabilities" in given:
        shares, values = given["probabilities"], given["values"]
        if len(shares) != len(values):
            raise FieldError(
                (*path, "probabilities"),
                f"`{field_name}.probabilities` has {len(shares)} entries for {len(values)} values; "
                "give one each.",
            )
        if not math.isclose(sum(shares), 1.0, abs_tol=1e-6):
            raise FieldError(
                (*path, "probabilities"),
                f"`{field_name}.probabilities` must add up to 1, but add up to {sum(shares):g}.",
            )
    for key in ("sigma", "a", "b"):
        if given.get(key) == 0:
            fix = f"{{value: {_centre(name, given)!r}}}" if key == "sigma" else f"{key}: 1"
            raise FieldError(
                (*path, key),
                f"`{field_name}.{key}` must be positive, but got 0: W&B takes the file and then draws nan; "
                f"write {fix}.",
            )
    if "min" not in given:
        return
    low, high = given["min"], given["max"]
    if low >= high:
        fix = "swap them" if low > high else f"for one value write {{value: {low}}}"
        raise FieldError(
            (*path, "min"),
            f"`{field_name}.min` must be below `{field_name}.max`, but got {low} and {high}; {fix}.",
        )
    if not math.isfinite(float(high) - float(low)) or abs(low) > 1e300 or abs(high) > 1e300:
        raise FieldError((*path, "max"), f"`{field_name}` is wider than numbers go; narrow it.")
    if "q" in given:
        q = given["q"]
        if max(abs(low), abs(high)) / q > MAX_EXACT:
            raise FieldError(
                (*path, "q"), f"`{field_name}.q` {q:g} is too fine for its bounds; make it larger."
            )
        first, last = round(low / q), round(high / q)
        if first == last and not low <= first * q <= high:
            raise FieldError(
                (*path, "q"),
                f"`{field_name}.q` {q:g} is too coarse: W&B rounds all that it draws in [{low:g}, {high:g}] "
                f"to {first * q:g}; make q smaller.",
            )


def _centre(name: str, given: Mapping[str, Any]) -> float:
    """The one value of a normal distribution without width."""
    mean: float = given["mu"]
    value = math.exp(min(mean, 700.0)) if "log" in name else mean
    return round(value / given["q"]) * given["q"] if "q" in given else value
