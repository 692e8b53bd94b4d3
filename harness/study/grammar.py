"""The sweep file's grammar: what each key means, from plain data to checked parts.

W&B's own (``method``, ``metric``, ``parameters``, ``run_cap``, ``early_terminate``), so that a W&B sweep
file runs here once it names a recipe, a metric and a number of trials, and a few words more:

``imports``
    Modules that register entries of one's own: ``imports: [my_gan.nets]``. The folder of the sweep file and
    the working folder are searched last of all.
``recipe``
    The recipe that everything is changed from.
``seeds``
    A number n (seeds 0 to n-1) or a list of seeds: every arm and every trial is trained with each. An
    ablation must give it; elsewhere the default is one seed, W&B's one run per configuration.
``ablate``
    ``parameters`` (dotted recipe key, or ``recipe`` itself → a list of values, bare or under ``values``)
    and ``baseline`` (one value for each of those keys). The arms of its grid are the study's arms. Where
    arms are no full grid: ``arms`` (a name → dotted recipe keys and their values, one each) and ``baseline``
    (the name of one of them). What an arm does not say is as the recipe has it.
``parameters``
    ``{value: x}`` fixes a setting in the whole study. Everything else is searched, by ``method``, inside
    each arm where there are arms. ``when: {key of the ablation: value or list of values}`` beside a
    parameter keeps it to the arms it is meant for: momentum, for one, has another name in each optimiser.
``run_cap``
    The number of trials; of trials *in each arm* where there are arms, so that their budgets are equal. A
    grid without arms stops after that many arms, as in W&B. Random and bayes searches must give it.
``final_seeds``
    The fresh seeds with which each tuned arm's best trial is trained again, as a number (the seeds that
    follow the largest of ``seeds``) or a list; 8 where nothing is said. The arms are compared on these runs
    alone.
``early_terminate``
    W&B's hyperband, for searches of any ``method``; an iteration is an evaluation. Trials are judged at
    brackets: at ``min_iter``, and at ``eta`` (3, or any number from 1.01) times the one before; or at
    ``max_iter`` divided by ``eta`` once to ``s`` times. Each is rounded down; of both W&B goes by the latter.
    One trial in ``eta`` of all that have reached a bracket goes on, by its value there, or by its best so far
    with ``strict: false``. With ``method: grid`` the points of the grid are then trials, in place of arms
    that are trained to their end. Final runs are never stopped.
``early_stop``
    ``verdict`` stops a run that is hopeless: diverged, d-saturated or collapsed at an evaluation, once a
    fifth of its steps are done. It counts as failed, with the worse of its untrained generator's score
    and the last it had; its ledger says how many steps it was spared. ``{verdict: true, warm_up: 0.4}`` waits
    for another part of the steps. Every run is watched, final ones too: unlike ``early_terminate``, it looks
    at one run alone.
``metric``
    ``name`` (a metric, with or without ``eval/``), ``goal`` (the metric's own where nothing is said) and
    ``at``: the ``last`` evaluation, the ``best``, or the ``area`` under the curve (its mean over time). The
    best is an honest one: the checkpoint is chosen on one half of the held-out reals, and its score on the
    other half, of latents that had no part in the choice, counts.
``smoke``
    Changes for a two-minute version: ``seeds``, ``final_seeds``, ``run_cap``, ``recipe`` or dotted recipe
    keys.
``changed``
    What was changed of the file when it was run, by ``--set`` and ``--seeds``: the harness notes it in the
    ``study.yaml`` that it leaves, and the report says it at the top. It changes nothing.

``program``, ``command``, ``project``, ``entity`` and the like are read and reported as unused. A setting is
given once: under ``ablate.parameters`` or under ``parameters``. A parameter ``seed``, as many W&B files have,
is refused with the line of ``seeds`` that asks the same.

A file is YAML 1.2, W&B's are 1.1: what is another value there, ``010`` or ``yes``, is reported; see
`harness.study.document`.

Source: W&B, "Sweep configuration options".
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from harness.recipe.plugins import import_modules
from harness.recipe.registry import metrics, nearest
from harness.recipe.seeds import MAX_SEED, checked_seed
from harness.study.arms import read_ablate
from harness.study.document import Document, FieldError, FieldPath, dotted, shown
from harness.study.parameters import read_mapping, read_parameters, read_setting
from harness.study.target import Goal, Target

__all__ = [
    "CHANGEABLE",
    "METHODS",
    "EarlyStop",
    "EarlyTerminate",
    "read_imports",
    "read_sections",
    "read_seeds",
]

_AT = ("last", "best", "area")
METHODS = ("grid", "random", "bayes")
CHANGEABLE = ("recipe", "seeds", "final_seeds", "run_cap")
"""The study's own keys that `smoke` and the command line may change, beside dotted recipe keys."""

_KEYS = (
    "name",
    "description",
    "imports",
    "recipe",
    "metric",
    "seeds",
    "final_seeds",
    "ablate",
    "method",
    "parameters",
    "run_cap",
    "early_terminate",
    "early_stop",
    "smoke",
    "changed",
)
_UNUSED = ("program", "command", "project", "entity", "apiVersion", "kind", "controller", "job", "image_uri")
_ELSEWHERE = {
    **dict.fromkeys(("num_trials", "n_trials", "trials", "max_trials", "count"), "run_cap"),
    **dict.fromkeys(("num_runs", "n_runs", "max_runs"), "run_cap"),
    **dict.fromkeys(("seed", "random_seed", "num_seeds", "n_seeds"), "seeds"),
    **dict.fromkeys(("search_space", "params", "hyperparameters", "config"), "parameters"),
    **dict.fromkeys(("objective", "metrics", "optimize"), "metric"),
    **dict.fromkeys(("strategy", "algorithm", "search_method", "scheduler"), "method"),
    **dict.fromkeys(("model", "base", "base_recipe"), "recipe"),
}
"""What other tools call the keys of a sweep file."""
_UNUSED_METRIC = ("target", "impute", "impute_while_running")
_MAX_SEEDS = 1_000_000
_MAX_WHOLE = 2**53


@dataclass(frozen=True, kw_only=True)
class EarlyTerminate:
    """Hyperband in W&B's words; an iteration is one evaluation.

    Attributes:
        min_iter: the first bracket; the others follow it.
        max_iter: the iteration that the brackets are counted back from, `s` of them.
        s: the number of brackets; those below one iteration are left out.
        eta: a trial in eta goes on, and each bracket is eta times the one before.
        strict: whether a trial is judged by its value at the bracket, not by its best so far.
    """

    min_iter: int | None = None
    max_iter: int | None = None
    s: int | None = None
    eta: float = 3
    strict: bool = True


@dataclass(frozen=True, kw_only=True)
class EarlyStop:
    """When runs are given up because of their verdict.

    Attributes:
        warm_up: share of a run's steps before which none is.
    """

    warm_up: float = 0.2

    def to_json(self) -> str | dict[str, Any]:
        """As a sweep file says it."""
        return "verdict" if self == EarlyStop() else {"verdict": True, "warm_up": self.warm_up}


def read_sections(document: Document, *, name: str = "", folder: Path | None = None) -> dict[str, Any]:
    """Read a sweep file's data into the fields of a `Study`.

    Args:
        document: the file.
        name: the study's name where the file gives none.
        folder: the file's folder, where its modules may lie.

    Raises:
        FieldError: anything but the grammar.
    """
    data = document.data
    unused = [key for key in data if key in _UNUSED]
    for key, value in data.items():
        if key not in _KEYS and key not in _UNUSED:
            meant = _ELSEWHERE.get(key.lower())
            hint = f"; did you mean `{meant}`?" if meant else nearest(key, _KEYS) or "."
            if meant == "seeds" and key.endswith("seed"):
                hint = f"; write seeds: [{value}], a list."
            raise FieldError((key,), f"unknown key `{key}`{hint} Known: {', '.join(_KEYS)}.", at_key=True)
        if value is None and key not in _UNUSED:
            raise FieldError((key,), f"`{key}` is empty; give it a value, or remove the line.", at_key=True)
    imports = read_imports(data.get("imports", []), folder)
    if "recipe" not in data:
        raise FieldError(
            (),
            "`recipe` is missing: it says what to train, for example recipe: points-gan; see `harness list`.",
        )
    if "metric" not in data:
        raise FieldError(
            (), "`metric` is missing: it says how results compare, for example metric: {name: sliced_w2}."
        )
    ablate = read_ablate(data["ablate"], document) if "ablate" in data else None
    if ablate is not None and "seeds" not in data:
        raise FieldError(
            ("ablate",), "`seeds` is missing: an ablation compares arms over several seeds; write seeds: 8."
        )
    overrides, parameters = (
        read_parameters(data["parameters"], ablate.parameters if ablate else None, document)
        if "parameters" in data
        else ({}, {})
    )
    if data.get("method") == "grid":
        parameters = {key: dataclasses.replace(found, in_grid=True) for key, found in parameters.items()}
    seeds = read_seeds(data.get("seeds", 1), ("seeds",))
    tuned = ablate is not None and any(found.is_searched for found in parameters.values())
    final = data.get("final_seeds", 8 if tuned else [])
    target, unused_metric = _target(data["metric"], document)
    early, unused_early = (
        _early_terminate(data["early_terminate"]) if "early_terminate" in data else (None, [])
    )
    return {
        "name": _text(data, "name", name),
        "description": _text(data, "description", ""),
        "imports": imports,
        "recipe": _text(data, "recipe", ""),
        "overrides": overrides,
        "target": target,
        "seeds": seeds,
        "final_seeds": read_seeds(final, ("final_seeds",), after=max(seeds)) if final != [] or tuned else (),
        "ablate": ablate,
        "method": data.get("method"),
        "parameters": parameters,
        "run_cap": _whole(data["run_cap"], ("run_cap",)) if "run_cap" in data else None,
        "early_terminate": early,
        "early_stop": _early_stop(data["early_stop"]) if "early_stop" in data else None,
        "smoke": _smoke(data.get("smoke", {})),
        "changed": _noted(data.get("changed", {})),
        "unused": (*unused, *unused_metric, *unused_early),
        "notes": tuple(document.notes),
    }


def _noted(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise FieldError(
            ("changed",), f"`changed` must map keys to values, but got {shown(value)}; remove the line."
        )
    return {str(key): change for key, change in value.items()}


def read_imports(value: Any, folder: Path | None = None) -> tuple[str, ...]:
    """Import the modules that a study needs, before anything of theirs is looked up.

    Args:
        value: their names, or one.
        folder: a folder to search beside the working folder.

    Raises:
        FieldError: one of them cannot be imported, or it is no name of a module.
    """
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple):
        raise FieldError(
            ("imports",),
            f"`imports` must list modules, but got {shown(value)}; write imports: [my_gan.nets].",
        )
    try:
        import_modules(names, folder=folder)
    except ValueError as error:
        raise FieldError(("imports",), str(error)) from None
    return tuple(names)


def read_seeds(value: Any, path: FieldPath, *, after: int = -1) -> tuple[int, ...]:
    """Seeds from a number or a list.

    Args:
        value: how many, or which.
        path: the field, for messages.
        after: a number of seeds counts up from the one after this.

    Raises:
        FieldError: no seeds at all, too many, or something that is no seed.
    """
    name = dotted(path)
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= _MAX_SEEDS:
            raise FieldError(
                path, f"`{name}` must be between 1 and {_MAX_SEEDS}, but got {value}; write {name}: 8."
            )
        if after + value > MAX_SEED:
            raise FieldError(path, f"`{name}` {value} counts up from {after}, beyond 2**63 - 1; list them.")
        return tuple(range(after + 1, after + 1 + value))
    if not isinstance(value, list):
        raise FieldError(
            path,
            f"`{name}` must be a number of seeds or a list of them, but got {shown(value)}; write {name}: 8.",
        )
    if not 1 <= len(value) <= _MAX_SEEDS:
        raise FieldError(path, f"`{name}` must list 1 to {_MAX_SEEDS} seeds, but lists {len(value)}.")
    for index, seed in enumerate(value):
        try:
            checked_seed(seed, f"{name}[{index}]")
        except ValueError as error:
            raise FieldError((*path, index), str(error)) from None
    known: set[int] = set()
    for seed in value:
        if seed in known:
            raise FieldError(path, f"`{name}` holds {seed} twice: equal seeds make equal runs; remove one.")
        known.add(seed)
    return tuple(value)


def _text(data: Mapping[str, Any], key: str, default: str) -> str:
    value = data.get(key, default)
    if not isinstance(value, str):
        raise FieldError((key,), f"`{key}` must be text, but got {shown(value)}; put it in quotes.")
    return value.strip()


def _whole(value: Any, path: FieldPath, *, low: int = 1) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # to JSON's grammar, and so to W&B, 20.0 is an integer
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value < _MAX_WHOLE:
        limit = f"at least {low}" if not isinstance(value, int) or value < low else "less than 2**53"
        raise FieldError(path, f"`{dotted(path)}` must be an integer of {limit}, but got {shown(value)}.")
    return value


_CALLED = {"fid": "frechet", "is": "classifier_score", "inception_score": "classifier_score", "emd": "w2"}
"""What metrics are called elsewhere."""


def _target(value: Any, document: Document) -> tuple[Target, list[str]]:
    given = read_mapping(value, ("metric",), ("name", "goal", "at", *_UNUSED_METRIC))
    name = given.get("name")
    if not isinstance(name, str):
        raise FieldError(("metric",), f"`metric.name` must name a metric, but got {shown(name)}.")
    name = name.removeprefix("eval/")
    if name not in metrics:
        hint = nearest(_CALLED.get(name.lower(), name), metrics.names()) or "."
        raise FieldError(
            ("metric", "name"),
            f"`metric.name`: unknown metric `{name}`{hint} Known: {', '.join(metrics.names())}.",
        )
    goal = given.get("goal", metrics[name].goal)
    for key, chosen, allowed in (
        ("goal", goal, get_args(Goal)),
        ("at", given.get("at", "last"), _AT),
    ):
        if chosen not in allowed:
            hint = nearest(str(chosen), allowed) or "."
            raise FieldError(
                ("metric", key),
                f"`metric.{key}` must be one of {', '.join(allowed)}, but got {shown(chosen)}{hint}",
            )
    unused = [f"metric.{key}" for key in _UNUSED_METRIC if key in given]
    if document.source and "method" in document.data and "goal" not in given and goal == "maximize":
        told = f"`metric.goal` is not given: {name} is maximized, and in W&B minimized; write goal: maximize."
        document.notes.append(told)
    return Target(metric=name, goal=goal, at=given.get("at", "last")), unused


def _early_terminate(value: Any) -> tuple[EarlyTerminate, list[str]]:
    """W&B's rule, and what W&B too passes over: `min_iter` beside `max_iter`, `s` beside `min_iter` alone."""
    path = ("early_terminate",)
    given = read_mapping(value, path, ("type", "min_iter", "max_iter", "s", "eta", "strict"))
    if given.get("type") != "hyperband":
        raise FieldError(
            (*path, "type"), f"`early_terminate.type` must be hyperband, but got {shown(given.get('type'))}."
        )
    read = {key: _whole(given[key], (*path, key)) for key in ("min_iter", "max_iter", "s") if key in given}
    eta = _eta(given["eta"], (*path, "eta")) if "eta" in given else EarlyTerminate.eta
    strict = given.get("strict", True)
    if not isinstance(strict, bool):
        raise FieldError(
            (*path, "strict"), f"`early_terminate.strict` must be true or false, but got {shown(strict)}."
        )
    if not {"min_iter", "max_iter"} & set(read):
        raise FieldError(
            path,
            "`early_terminate` takes `min_iter` (successive halving) or `max_iter` with `s` (hyperband), but "
            f"got {', '.join(read) or 'neither'}; write min_iter: 3.",
        )
    if "max_iter" not in read:
        unused = ["early_terminate.s"] if "s" in read else []
        return EarlyTerminate(min_iter=read["min_iter"], eta=eta, strict=strict), unused
    if "s" not in read:
        raise FieldError(
            path,
            "`early_terminate.max_iter` needs `s`, the number of brackets, without which W&B fails too; "
            "write s: 2, or min_iter alone.",
        )
    if read["max_iter"] < eta:
        raise FieldError(
            (*path, "max_iter"),
            f"`early_terminate.max_iter` {read['max_iter']} is less than `eta` {eta:g}: no bracket is left, "
            f"and W&B fails too; write max_iter: {math.ceil(eta)} or more.",
        )
    unused = ["early_terminate.min_iter"] if "min_iter" in read else []
    return EarlyTerminate(max_iter=read["max_iter"], s=read["s"], eta=eta, strict=strict), unused


def _eta(value: Any, path: FieldPath) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 1.01 <= value < 2**31:
        raise FieldError(
            path,
            f"`{dotted(path)}` must be a number from 1.01, but got {shown(value)}: one trial in so many goes "
            "on; write eta: 3.",
        )
    return int(value) if value == int(value) else value


def _early_stop(value: Any) -> EarlyStop:
    path = ("early_stop",)
    if value == "verdict":
        return EarlyStop()
    if not isinstance(value, Mapping):
        raise FieldError(
            path,
            f"`early_stop` must be verdict, or {{verdict: true, warm_up: 0.2}}, but got {shown(value)}; "
            "write early_stop: verdict.",
        )
    given = read_mapping(value, path, ("verdict", "warm_up"))
    if given.get("verdict") is not True:
        raise FieldError(
            (*path, "verdict"),
            f"`early_stop.verdict` must be true, but got {shown(given.get('verdict'))}; remove `early_stop` "
            "to let every run go on.",
        )
    warm_up = given.get("warm_up", EarlyStop.warm_up)
    if isinstance(warm_up, bool) or not isinstance(warm_up, int | float) or not 0 <= warm_up < 1:
        raise FieldError(
            (*path, "warm_up"),
            "`early_stop.warm_up` must be a share of a run's steps, from 0 to less than 1, but got "
            f"{shown(warm_up)}; write warm_up: 0.2.",
        )
    return EarlyStop(warm_up=float(warm_up))


def _smoke(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise FieldError(
            ("smoke",), f"`smoke` must map keys to their values in the short version, but got {shown(value)}."
        )
    for key, changed in value.items():
        if key not in ("seeds", "final_seeds"):
            read_setting(changed, ("smoke", key))
    return dict(value)
