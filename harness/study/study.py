"""Study: all that one sweep file asks, checked before anything runs.

A study is one of four kinds:

``ablation``
    The file has ``ablate``. Each of its arms is trained with every seed, and compared with the baseline.
``tuned-ablation``
    It has ``ablate``, and something to search. In each arm ``run_cap`` trials are trained with every seed;
    then each arm's best is trained with the final seeds, and these are compared.
``grid``
    It has ``method: grid``, or nothing to search. Each arm is trained with every seed, without a baseline.
``search``
    It has ``method: random`` or ``bayes``. ``run_cap`` trials are trained with every seed. So are the points
    of ``method: grid`` with ``early_terminate``, which stops trials that others beat, and of a grid of more
    than a thousand points, which are too many for a page that compares arms.

The grammar is described in `harness.study.grammar`, the distributions in `harness.study.space`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from harness.recipe import Recipe, find_recipe
from harness.recipe.naming import nearest_key
from harness.recipe.plugins import Source, code_of, module_source
from harness.recipe.registry import Value, metrics, nearest, recipes
from harness.study.arms import Ablate
from harness.study.document import Document, FieldError, FieldPath, plain, read_file, read_yaml, shown
from harness.study.find import find_study
from harness.study.grammar import CHANGEABLE, METHODS, EarlyStop, EarlyTerminate, read_imports, read_sections
from harness.study.keywords import as_keywords, as_written
from harness.study.space import Distribution
from harness.study.target import Target

__all__ = [
    "Arm",
    "Study",
    "check_is_study",
    "find_study",
    "load_study",
]

Kind = Literal["ablation", "tuned-ablation", "grid", "search"]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


_MAX_ARMS = 1000


@dataclass(frozen=True, kw_only=True)
class Arm:
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


@dataclass(frozen=True, init=False)
class Study:
    """All that one sweep file asks, made from keywords, or by `load`, `parse` or `from_json`.

    The keywords are the keys of a sweep file, with a person's shorthands; what a study keeps is the
    `Attributes` below.

    Args:
        name: names the study's folder.
        recipe: what everything is changed from: a registered recipe's name, or such a recipe with settings
            changed, which are then fixed in the whole study.
        metric: what arms and trials are compared by: a metric's name, ``{"name": ..., "at": "best"}``, or a
            `Target`.
        seeds: how many, or which; an ablation must say.
        description: what the study is about, in a sentence.
        imports: modules of one's own that register what the study names: ``["my_gan.nets"]``.
        ablate: dotted key → the values it takes: the arms are their grid. Or name → that arm's settings.
        baseline: the arm that the others are compared with: key → value, or the name of a named arm.
        parameters: dotted key → its value in the whole study, or what is searched:
            ``{"min": 1e-5, "max": 1e-2, "distribution": "log_uniform_values"}``.
        method: ``grid``, ``random`` or ``bayes``, where something is searched.
        run_cap: trials, in each arm where there are arms.
        final_seeds: fresh seeds for each tuned arm's best trial, how many or which; 8 where arms are tuned.
        early_terminate: when trials that others beat are stopped: ``{"type": "hyperband", "min_iter": 3}``.
        early_stop: ``"verdict"`` to stop hopeless runs, or ``{"verdict": True, "warm_up": 0.4}``.
        smoke: changes for the two-minute version that `smoked` gives.

    Attributes:
        name: names its folder.
        description: what it is about, in a sentence.
        imports: modules of one's own that register what it names.
        recipe: name of the recipe that everything is changed from.
        overrides: settings fixed in the whole study, by dotted key.
        target: what arms and trials are compared by.
        seeds: seeds of every arm of an ablation or grid, and of every trial of a search.
        final_seeds: fresh seeds for each tuned arm's best trial; empty for the other kinds.
        ablate: the arms, or None.
        method: grid, random, bayes, or None where there is nothing to search.
        parameters: what is searched, and what is fixed in some arms only, by dotted key.
        run_cap: trials (in each arm), or None.
        early_terminate: when trials that others beat are stopped, or None.
        early_stop: when hopeless runs are stopped, or None.
        smoke: changes for the two-minute version; empty once they are applied.
        changed: what was changed of its file when it was loaded: dotted key, `seeds` or the like → value.
        unused: keys of W&B's that mean nothing here.
        notes: what of its file W&B would read as another value, a line each.

    Raises:
        ValueError: anything that could not be trained as it is asked; one line that names the field.

    Example:
        >>> from harness import Study
        >>> study = Study(
        ...     name="clip-bounds",
        ...     recipe="points-wgan",
        ...     metric="sliced_w2",
        ...     seeds=8,
        ...     ablate={"loss.weight_clip": [0.05, 0.1, 0.2]},
        ...     baseline={"loss.weight_clip": 0.1},
        ...     parameters={"train.epochs": 320},
        ...     smoke={"seeds": 2, "train.epochs": 10},
        ... )
        >>> study.kind, [arm.name for arm in study.arms]
        ('ablation', ['weight_clip=0.05', 'weight_clip=0.1', 'weight_clip=0.2'])
    """

    name: str
    description: str
    imports: tuple[str, ...]
    recipe: str
    overrides: Mapping[str, Value]
    target: Target
    seeds: tuple[int, ...]
    final_seeds: tuple[int, ...]
    ablate: Ablate | None
    method: str | None
    parameters: Mapping[str, Distribution]
    run_cap: int | None
    early_terminate: EarlyTerminate | None
    early_stop: EarlyStop | None
    smoke: Mapping[str, Any]
    changed: Mapping[str, Any] = field(compare=False)
    unused: tuple[str, ...] = field(compare=False)
    notes: tuple[str, ...] = field(compare=False)

    def __init__(
        self,
        *,
        name: str,
        recipe: str | Recipe,
        metric: str | Mapping[str, Any] | Target,
        seeds: int | Sequence[int] | None = None,
        description: str = "",
        imports: Sequence[str] | None = None,
        ablate: Mapping[str, Any] | None = None,
        baseline: Mapping[str, Any] | str | None = None,
        parameters: Mapping[str, Any] | None = None,
        method: str | None = None,
        run_cap: int | None = None,
        final_seeds: int | Sequence[int] | None = None,
        early_terminate: Mapping[str, Any] | None = None,
        early_stop: str | Mapping[str, Any] | None = None,
        smoke: Mapping[str, Any] | None = None,
    ) -> None:
        nested = {
            "name": name,
            "description": description,
            "imports": imports,
            "recipe": recipe,
            "metric": metric,
            "seeds": seeds,
            "final_seeds": final_seeds,
            "method": method,
            "run_cap": run_cap,
            "early_terminate": early_terminate,
            "early_stop": early_stop,
            "smoke": smoke,
        }
        written = as_written(nested, ablate=ablate, baseline=baseline, parameters=parameters)
        try:
            self._take(read_sections(Document(data=plain(written))))
        except FieldError as error:
            raise as_keywords(error) from None

    @classmethod
    def _of(cls, sections: Mapping[str, Any]) -> Study:
        """The study that `read_sections` read."""
        study = cls.__new__(cls)
        study._take(sections)
        return study

    def _take(self, sections: Mapping[str, Any]) -> None:
        for key, value in sections.items():
            object.__setattr__(self, key, value)
        if not _NAME.fullmatch(self.name):
            slug = re.sub(r"[^A-Za-z0-9._-]+", "-", self.name).strip("-._").lower()[:100]
            raise FieldError(
                ("name",),
                f"`name` names a folder, so it must be letters, digits, `.`, `_` and `-`, but got "
                f"{shown(self.name)}; write name: {slug or 'my-study'}.",
            )
        check_study(self)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        smoke: bool = False,
        seeds: int | Sequence[int] | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> Study:
        """Read a sweep file.

        Args:
            path: the YAML file.
            smoke: apply its `smoke` section; the study is then called ``<name>-smoke``.
            seeds: seeds to use instead of the file's: how many, or which.
            overrides: settings to fix in the whole study, by dotted recipe key; or the study's own `recipe`,
                `run_cap`, `seeds` and `final_seeds`; or `imports`, a list of modules beside the file's own.

        Raises:
            ValueError: one line, with file, line and column where they are known.
        """
        document = read_file(path)
        return cls._read(
            document,
            name=Path(path).stem,
            folder=Path(path).parent,
            smoke=smoke,
            seeds=seeds,
            overrides=overrides,
        )

    @classmethod
    def parse(
        cls,
        text: str,
        *,
        source: str = "<text>",
        smoke: bool = False,
        seeds: int | Sequence[int] | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> Study:
        """Read the text of a sweep file.

        Args:
            text: YAML.
            source: what messages call it.
            smoke: as for `load`.
            seeds: as for `load`.
            overrides: as for `load`.

        Raises:
            ValueError: as for `load`.
        """
        document = read_yaml(text, source=source)
        return cls._read(document, name="study", smoke=smoke, seeds=seeds, overrides=overrides)

    @classmethod
    def from_json(cls, nested: Mapping[str, Any]) -> Study:
        """The study that a dictionary in the sweep file's grammar describes: from `to_json`, or a script."""
        return cls._read(Document(data=plain(nested)), name="study")

    @classmethod
    def _read(
        cls,
        document: Document,
        *,
        name: str,
        folder: Path | None = None,
        smoke: bool = False,
        seeds: int | Sequence[int] | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> Study:
        try:
            study = cls._of(read_sections(document, name=name, folder=folder))
            short = study.smoked() if study.smoke else None
            if smoke:
                if short is None:
                    raise FieldError(
                        (), "`smoke` is missing; write smoke: {seeds: 2, train.epochs: 10}, for example."
                    )
                study = short
        except FieldError as error:
            raise document.locate(error) from None
        changes = dict(overrides or {})
        if seeds is not None:
            given = plain(seeds)
            changes["seeds"] = list(given) if isinstance(given, Iterable) else given
        return study._changed(changes, noted=True) if changes else study

    def smoked(self) -> Study:
        """The two-minute version: this study with its `smoke` section applied, named ``<name>-smoke``.

        Raises:
            ValueError: the section asks for something that cannot be trained.
        """
        try:
            return self._changed(self.smoke, name=f"{self.name}-smoke")
        except FieldError as error:
            blamed = next((key for key in self.smoke if key in error.path or f"`{key}`" in str(error)), None)
            raise FieldError(("smoke", blamed) if blamed else ("smoke",), f"in `smoke`: {error}") from None

    def _changed(self, changes: Mapping[str, Any], *, name: str | None = None, noted: bool = False) -> Study:
        nested = self.to_json() | {"name": name or self.name}
        nested.pop("smoke", None)
        told = {key: value for key, value in changes.items() if key != "imports"}
        if noted and told:
            nested["changed"] = dict(self.changed) | told
        fixed = nested.setdefault("parameters", {})
        if "seeds" in changes and "final_seeds" in nested and "final_seeds" not in changes:
            nested["final_seeds"] = len(self.final_seeds)
        for key, value in changes.items():
            if key in CHANGEABLE:
                nested[key] = value
                continue
            if key == "imports":
                nested[key] = list(dict.fromkeys((*self.imports, *read_imports(value))))
                continue
            if "." not in key:
                hint = nearest(key, CHANGEABLE) or nearest_key(key, self.base.keys()) or "."
                raise FieldError(
                    (key,),
                    f"`{key}` cannot be changed here{hint} Give a dotted recipe key, or one of "
                    f"{', '.join(CHANGEABLE)}.",
                )
            if key in self.parameters or (self.ablate is not None and key in self.ablate.parameters):
                raise FieldError(
                    (key,), f"`{key}` is what this study varies, so it cannot be fixed to {shown(value)}."
                )
            fixed[key] = {"value": value}
        if not fixed:
            del nested["parameters"]
        sections = read_sections(Document(data=plain(nested)))
        return Study._of(sections | {"unused": self.unused, "notes": self.notes})

    @property
    def kind(self) -> Kind:
        """What the study does; see the module's docstring."""
        searched = any(found.is_searched for found in self.parameters.values())
        if self.ablate is not None:
            return "tuned-ablation" if searched else "ablation"
        in_trials = self.method != "grid" or self.early_terminate is not None or self._num_cells > _MAX_ARMS
        return "search" if searched and in_trials else "grid"

    @property
    def base(self) -> Recipe:
        """The recipe that the others are seen against: the baseline's, or the first arm's."""
        arms = self.arms if self.lists_arms else (self.first_arm,)
        return next((arm.recipe for arm in arms if arm.is_baseline), arms[0].recipe)

    @cached_property
    def sources(self) -> dict[str, Source]:
        """Where entries that are not the harness's own come from: recipes, all that they name, the metric."""
        arms = self.arms if self.lists_arms else (self.first_arm,)
        met = [arm.recipe for arm in arms]
        for arm in arms:
            for key, distribution in self.space(arm).items():
                if key.endswith((".name", ".early_generator")):
                    met += [self.build(dict(arm.overrides) | {key: probe}) for probe in distribution.probes]
        filed = {f"recipe `{recipe.name}`": recipes.source(recipe.name) for recipe in met}
        filed[f"metric `{self.target.metric}`"] = metrics.source(self.target.metric)
        found = {entry: source for entry, source in filed.items() if source is not None}
        for recipe in met:
            found |= recipe.sources
        return found

    @cached_property
    def code(self) -> dict[str, str]:
        """File → hash of all code that is not the harness's own: of `sources`, and of `imports`."""
        return code_of([*map(module_source, self.imports), *self.sources.values()])

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """The arms: of an ablation or grid the arms of its grid, of a search the one space it searches.

        Raises:
            ValueError: there are too many to list; see `lists_arms`.
        """
        if not self.lists_arms:
            raise ValueError(f"{self.name} has {self.num_arms:,} arms; at most {_MAX_ARMS:,} are listed.")
        return tuple(grid_arms(self))

    @cached_property
    def first_arm(self) -> Arm:
        """The first of the arms, however many there are."""
        return next(grid_arms(self))

    @cached_property
    def num_arms(self) -> int:
        """How many arms there are, none of them listed."""
        if self.kind == "search":
            return 1
        if self.ablate is None:
            return self._num_cells
        return len(self.ablate.arms) or math.prod(map(len, self.ablate.parameters.values()))

    @property
    def lists_arms(self) -> bool:
        """Whether the arms can be listed: of an ablation of more, only the first is built, to be priced."""
        return self.num_arms <= _MAX_ARMS

    @property
    def num_runs(self) -> int:
        """How many runs the study takes in all."""
        trials = self.num_trials(self.first_arm) if self.kind in ("search", "tuned-ablation") else 1
        return self.num_arms * (trials * len(self.seeds) + len(self.final_seeds))

    @cached_property
    def _num_cells(self) -> int:
        """Points that `method: grid` goes through; what cannot be counted counts 1."""
        size = math.prod(found.num_points or 1 for found in self.parameters.values() if found.is_searched)
        return min(size, self.run_cap or size)

    def space(self, arm: Arm) -> dict[str, Distribution]:
        """What is searched inside an arm, by dotted key; the names of Optuna's parameters are these keys."""
        return {
            key: found
            for key, found in self.parameters.items()
            if found.is_searched and found.applies(arm.overrides)
        }

    def num_trials(self, arm: Arm) -> int:
        """Trials inside an arm; 0 where there is nothing to search."""
        if self.kind not in ("search", "tuned-ablation"):
            return 0
        if self.method == "grid":
            size = math.prod(num_points(self, self.space(arm)).values())
            return min(size, self.run_cap or size)
        assert self.run_cap is not None
        return self.run_cap

    def grid_point(self, arm: Arm, index: int) -> dict[str, Any]:
        """Optuna's parameters of a trial of an arm that is tuned by `method: grid`.

        Args:
            arm: the arm.
            index: the trial's number, from 0 to `num_trials` - 1.
        """
        space = self.space(arm)
        sizes = num_points(self, space)
        chosen = grid_indices(sizes, index, cut=self.num_trials(arm) < math.prod(sizes.values()))
        return {key: space[key].point(chosen[key])[0] for key in space}

    def trial_overrides(self, arm: Arm, params: Mapping[str, Any]) -> dict[str, Value]:
        """The settings of a trial, by dotted key: the arm's, and those that Optuna's parameters stand for.

        A pure function, so that a trial's runs can be rebuilt from the journal at any time.

        Args:
            arm: the arm.
            params: what `trial.params` holds; a parameter of the space must not be missing.

        Raises:
            ValueError: parameters of another space.
        """
        space = self.space(arm)
        if set(params) != set(space):
            raise ValueError(
                f"the trial has parameters {', '.join(sorted(params)) or 'none'}, but arm {arm.name} of "
                f"{self.name} searches {', '.join(sorted(space)) or 'none'}."
            )
        return dict(arm.overrides) | {key: found.value(params[key]) for key, found in space.items()}

    def trial_recipe(self, arm: Arm, params: Mapping[str, Any]) -> Recipe:
        """The recipe of a trial; see `trial_overrides`.

        Args:
            arm: the arm.
            params: Optuna's parameters of the trial.
        """
        return self.build(self.trial_overrides(arm, params))

    def to_json(self) -> dict[str, Any]:
        """The study in the sweep file's own grammar, all resolved: written as YAML it is a sweep file."""
        nested: dict[str, Any] = {
            "name": self.name,
            "description": self.description,
            **({"imports": list(self.imports)} if self.imports else {}),
            "recipe": self.recipe,
            "metric": self.target.to_json(),
            "seeds": list(self.seeds),
        }
        if self.final_seeds:
            nested["final_seeds"] = list(self.final_seeds)
        if self.ablate is not None:
            nested["ablate"] = self.ablate.to_json()
        if self.method is not None:
            nested["method"] = self.method
        fixed = {key: {"value": value} for key, value in self.overrides.items()}
        if fixed or self.parameters:
            nested["parameters"] = fixed | {key: found.spec() for key, found in self.parameters.items()}
        if self.run_cap is not None:
            nested["run_cap"] = self.run_cap
        if self.early_terminate is not None:
            given = dataclasses.asdict(self.early_terminate)
            set_ones = {key: value for key, value in given.items() if value is not None}
            nested["early_terminate"] = {"type": "hyperband"} | set_ones
        if self.early_stop is not None:
            nested["early_stop"] = self.early_stop.to_json()
        if self.smoke:
            nested["smoke"] = dict(self.smoke)
        if self.changed:
            nested["changed"] = dict(self.changed)
        return nested

    def difference(self, other: Study) -> list[str]:
        """What of `other` would train or compare something else, one line each; empty where nothing would."""
        ours, theirs = _leaves(self.to_json()), _leaves(other.to_json())
        lines = []
        for key in dict.fromkeys((*ours, *theirs)):
            is_told = key.split(".")[0] in ("description", "imports", "smoke", "changed")
            if not is_told and ours.get(key) != theirs.get(key):
                lines.append(f"`{key}`: {ours.get(key, 'not set')} → {theirs.get(key, 'not set')}")
        return lines

    def build(self, chosen: Mapping[str, Any], section: FieldPath = ("parameters",)) -> Recipe:
        """The study's recipe with its fixed settings and these, all changed at once.

        At once, because a change of an optimiser's name resets that optimiser's other options.

        Args:
            chosen: dotted key → value, `recipe` among them where the study varies it.
            section: where the file chose them, for messages.

        Raises:
            ValueError: the recipe is unknown, or refuses a value.
        """
        changes = dict(self.overrides) | dict(chosen)
        name = changes.pop("recipe", self.recipe)
        try:
            recipe = find_recipe(name)
        except ValueError as error:
            where = (*section, "recipe") if "recipe" in chosen else ("recipe",)
            raise FieldError(where, f"`recipe`: {error}") from None
        try:
            return recipe.override(changes)
        except ValueError as error:
            blamed = next((key for key in changes if f"`{key}`" in str(error)), None)
            if blamed is not None:
                section = section if blamed in chosen and blamed not in self.parameters else ("parameters",)
                section = (*section, blamed)
            at_key = "unknown key" in str(error) or "has no option" in str(error)
            raise FieldError(section, str(error), at_key=at_key) from None


def _leaves(nested: Any, prefix: str = "") -> dict[str, str]:
    if isinstance(nested, Mapping):
        found: dict[str, str] = {}
        for key, value in nested.items():
            found |= _leaves(value, f"{prefix}.{key}" if prefix else key)
        return found
    return {prefix: json.dumps(nested)}


def check_is_study(study: object) -> None:
    """Refuse the name or the path of a study where the study itself is asked for.

    Raises:
        ValueError: it is no study.
    """
    if not isinstance(study, Study):
        raise ValueError(f"`study` must be a Study, but got {study!r}; load_study({study!r}) finds one.")


def load_study(
    study: str | Path,
    *,
    smoke: bool = False,
    seeds: int | Sequence[int] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Study:
    """Find a study as the commands do, and read it.

    Args:
        study: a sweep file's path, or the name of one that `list_studies` knows; or the path or the name of a
            study's folder, ``runs/<name>``, whose file of the study as it is run is read.
        smoke: its two-minute version; see `Study.load`.
        seeds: seeds to use instead of the file's: how many, or which.
        overrides: settings to fix in the whole study, by dotted recipe key.

    Raises:
        ValueError: there is none of this name, the nearest is offered; or the file is not a study, in one
            line with file, line and column where they are known.

    Example:
        >>> from harness import load_study
        >>> study = load_study("optimizers", seeds=4, overrides={"train.epochs": 80})
        >>> [arm.name for arm in study.arms], study.seeds
        (['rmsprop', 'sgd', 'adam'], (0, 1, 2, 3))
    """
    return Study.load(find_study(str(study)), smoke=smoke, seeds=seeds, overrides=overrides)


def grid_arms(study: Study) -> Iterator[Arm]:
    """An ablation's arms as listed or as a grid, a grid without arms up to its `run_cap`, or a search's one.

    Of a grid the last key goes fastest.

    Raises:
        FieldError: a key cannot be gone through.
    """
    if study.kind == "search":
        yield Arm(name=study.recipe, overrides={}, recipe=_searched_recipe(study))
        return
    ablate = study.ablate
    if ablate is not None and ablate.arms:
        for name, chosen in ablate.arms.items():
            yield _arm(study, name, chosen, ("ablate", "arms", name))
        return
    section = ("ablate", "parameters") if ablate is not None else ("parameters",)
    space = {key: found for key, found in study.parameters.items() if found.is_searched}
    if ablate is not None:
        sizes = {key: len(values) for key, values in ablate.parameters.items()}
    else:
        sizes = num_points(study, space)

    def value(key: str, at: int) -> Value:
        return space[key].point(at)[1] if ablate is None else ablate.parameters[key][at]

    size = math.prod(sizes.values())
    wanted = size if ablate is not None else min(size, study.run_cap or size)
    for index in range(wanted):
        numbers = grid_indices(sizes, index, cut=wanted < size)
        chosen = {key: value(key, at) for key, at in numbers.items()}
        yield _arm(study, arm_name(chosen) or study.recipe, chosen, section)


def _searched_recipe(study: Study) -> Recipe:
    """The recipe that a search changes.

    A fixed setting may be an option of the entries that are searched and not of the recipe's own: beta1,
    where the optimiser's name is one of adam and adamw. The recipe has then the first of these names.
    """
    try:
        return study.build({})
    except FieldError:
        names = {
            key: found.probes[0]
            for key, found in study.parameters.items()
            if found.is_searched and key.endswith(".name")
        }
        if not names:
            raise
        return study.build(names)


def _arm(study: Study, name: str, chosen: Mapping[str, Value], section: FieldPath) -> Arm:
    """An arm with its settings, and those that are fixed in such arms only."""
    fixed = {
        key: found.arguments["value"]
        for key, found in study.parameters.items()
        if not found.is_searched and found.applies(chosen)
    }
    return Arm(
        name=name,
        overrides=dict(chosen) | fixed,
        recipe=study.build(dict(chosen) | fixed, section),
        is_baseline=study.ablate is not None and dict(chosen) == dict(study.ablate.baseline),
    )


def num_points(study: Study, space: Mapping[str, Distribution]) -> dict[str, int]:
    """How many values a grid goes through, by dotted key.

    Args:
        study: the study.
        space: what its grid, or that of one of its arms, is made of.

    Raises:
        FieldError: a distribution that has no countable values.
    """
    sizes = {}
    for key, found in space.items():
        count = found.num_points
        if count is None:
            raise FieldError(
                ("parameters", key),
                f"`parameters.{key}`: a grid cannot go through {found.name}; list its `values`, or take "
                "method: random.",
            )
        sizes[key] = count
    return sizes


def grid_indices(sizes: Mapping[str, int], index: int, *, cut: bool) -> dict[str, int]:
    """The point of a grid that has a number, as the number of each key's value; the last key goes fastest.

    Args:
        sizes: how many values each key has.
        index: the point's number.
        cut: whether `run_cap` leaves points out. Then the keys go by the alphabet, as in W&B, so that the
            same points are left.
    """
    found = {}
    for key in reversed(sorted(sizes) if cut else list(sizes)):
        index, found[key] = divmod(index, sizes[key])
    return {key: found[key] for key in sizes}


def arm_name(chosen: Mapping[str, Value]) -> str:
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


def check_study(study: Study) -> None:
    """Check that a study can be trained as it is asked, by building every recipe it may meet.

    Of a grid or an ablation each arm's recipe is built; of a search those at both ends of each range, at
    every choice and at a point inside.

    Raises:
        FieldError: it cannot, or its arms would not be compared fairly.
    """
    _check_kind(study)
    _check_metric(study)
    _check_seeds(study)
    _check_arms(study)
    if study.num_trials(study.first_arm):
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
        _ = study.first_arm  # a key that is unknown is the first thing to say
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
    if study.early_terminate is not None and study.kind not in ("search", "tuned-ablation"):
        raise FieldError(
            ("early_terminate",),
            "`early_terminate` stops trials of a search that others beat, but here nothing is searched, and "
            "every arm is trained to its end; remove it.",
        )


def _check_metric(study: Study) -> None:
    if not metrics[study.target.metric].exact:
        return
    listed = ", ".join(name for name in metrics.names() if not metrics[name].exact)
    if study.target.at != "last":
        raise FieldError(
            ("metric", "at"),
            f"`metric.at` is {study.target.at}, but {study.target.metric} is only measured at the end; write "
            f"at: last, or take one of {listed}.",
        )
    if study.early_terminate is not None:
        raise FieldError(
            ("early_terminate",),
            f"`early_terminate` watches the metric, but {study.target.metric} is only measured at the end; "
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


def _check_arms(study: Study) -> None:
    section = ("ablate",) if study.ablate is not None else ("parameters",)
    seen: dict[str, str] = {}
    arms = study.arms if study.lists_arms else (study.first_arm,)
    for arm in arms:
        fingerprint = arm.recipe.fingerprint
        if fingerprint in seen:
            raise FieldError(
                section,
                f"arms `{seen[fingerprint]}` and `{arm.name}` are the same recipe; remove one of them.",
            )
        seen[fingerprint] = arm.name
    for key, found in study.parameters.items():
        if study.lists_arms and not any(found.applies(arm.overrides) for arm in arms):
            raise FieldError(("parameters", key, "when"), f"`parameters.{key}.when` fits no arm; widen it.")


def _check_search(study: Study) -> None:
    budgets: dict[str, int] = {}
    for arm in study.arms if study.lists_arms else (study.first_arm,):
        space = study.space(arm)
        if not space:
            raise FieldError(
                ("ablate",),
                f"arm `{arm.name}` has nothing to tune while others have; give it a parameter too.",
            )
        inside = {key: found.probes[0] for key, found in space.items()}
        for key, found in space.items():
            try:
                for probe in found.probes:
                    study.build(dict(arm.overrides) | inside | {key: probe})
            except FieldError as error:
                if "must be an integer" not in str(error) or found.in_steps is None:
                    raise
                fix = f", which {found.name} draws; write distribution: {found.in_steps}, q: 1."
                raise FieldError(error.path, str(error).rstrip(".") + fix, at_key=error.at_key) from None
        budgets[arm.name] = study.num_trials(arm)
    few, many = min(budgets, key=budgets.__getitem__), max(budgets, key=budgets.__getitem__)
    if budgets[few] != budgets[many]:
        raise FieldError(
            ("parameters",),
            f"the grid of arm `{few}` has {budgets[few]} trials and that of `{many}` {budgets[many]}: arms "
            f"must have equal budgets; write run_cap: {budgets[few]}.",
        )
