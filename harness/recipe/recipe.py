"""Recipe: one complete combination of data, networks, loss, optimisers and schedule.

Every option is resolved when a recipe is made, so its JSON is complete, its fingerprint is stable, and two
recipes are the same experiment exactly when their fingerprints are equal.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.recipe.loss import traits
from harness.recipe.naming import called_elsewhere, nearest_key
from harness.recipe.plugins import Source, code_of, import_recorded
from harness.recipe.registry import (
    Option,
    Registry,
    Value,
    datasets,
    discriminators,
    generators,
    losses,
    metrics,
    nearest,
    optimizers,
    options_of,
    plain_value,
    recipes,
)
from harness.recipe.settings import EvaluateSettings, LossSettings, TrainSettings

__all__ = [
    "Choice",
    "Recipe",
    "choose",
    "find_recipe",
    "list_recipes",
    "run_id",
]

_NESTED = frozenset({"options"})
"""Where `LossSettings` keeps the options of its loss, which are keys of the section like any other."""
_CARRIED = frozenset({"lr", "weight_decay", "latent_dim", "size"})


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A registry entry and all of its options.

    Attributes:
        name: the entry's name in its registry.
        options: every option that the entry has, by name; none is left out.
    """

    name: str
    options: Mapping[str, Value]

    def __hash__(self) -> int:
        return hash((self.name, tuple(sorted(self.options.items()))))


_CHOICES: dict[str, Registry[Any]] = {
    "data": datasets,
    "generator": generators,
    "discriminator": discriminators,
    "generator_optimizer": optimizers,
    "discriminator_optimizer": optimizers,
}
_SETTINGS: dict[str, Callable[..., Any]] = {
    "loss": LossSettings,
    "train": TrainSettings,
    "evaluate": EvaluateSettings,
}
_ADDED: dict[tuple[str, str], Value] = {("train", "grow_images"): 0, ("train", "precision"): "float32"}
_OPTIMIZERS = ("generator_optimizer", "discriminator_optimizer")
SECTIONS = (
    "data",
    "generator",
    "discriminator",
    "loss",
    "generator_optimizer",
    "discriminator_optimizer",
    "train",
    "evaluate",
)
"""The sections of a recipe, in the order in which they are printed."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A complete, checked combination; see the module's docstring.

    Attributes:
        name: what it is called; no part of its fingerprint.
        description: what it is, in a sentence; no part of its fingerprint.
        data: the data set.
        generator: G.
        discriminator: D.
        loss: the adversarial loss, its scales, and D's penalties.
        generator_optimizer: G's update rule.
        discriminator_optimizer: D's update rule.
        train: epochs, batches, and the order of steps.
        evaluate: when and on how many samples runs are scored, and what is drawn.

    Raises:
        ValueError: an unknown name or option, a value out of bounds, or a combination that cannot be meant.
    """

    name: str
    description: str = ""
    data: Choice
    generator: Choice
    discriminator: Choice
    loss: LossSettings
    generator_optimizer: Choice
    discriminator_optimizer: Choice
    train: TrainSettings = field(default_factory=TrainSettings)
    evaluate: EvaluateSettings = field(default_factory=EvaluateSettings)

    def __post_init__(self) -> None:
        object.__setattr__(self, "loss", _with_options(self.loss))
        for section in SECTIONS:
            self._take_plain(section)
            self._check_section(section)
        self._check_losses()
        self._check_combination()

    def _take_plain(self, section: str) -> None:
        """Let a section hold Python's values where it was made with NumPy's."""
        part = getattr(self, section)
        values = _values(part)
        plain = {key: plain_value(value) for key, value in values.items()}
        if any(plain[key] is not value for key, value in values.items()):
            taken = Choice(name=part.name, options=plain) if isinstance(part, Choice) else type(part)(**plain)
            object.__setattr__(self, section, taken)

    def _check_section(self, section: str) -> None:
        allowed = _options(section, self)
        values = _values(getattr(self, section))
        name = getattr(getattr(self, section), "name", section)
        for key, value in values.items():
            if key not in allowed:
                raise ValueError(_unknown_option(f"{section}.{key}", name, key, allowed))
            checked = allowed[key].check(value, f"{section}.{key}")
            if type(checked) is not type(value):
                raise ValueError(
                    f"`{section}.{key}` must be written as {allowed[key].kind.__name__}, but got {value!r}."
                )
        missing = [key for key in allowed if key not in values]
        if missing:
            raise ValueError(f"`{section}` lacks {', '.join(missing)}; a recipe states every option.")

    def _check_losses(self) -> None:
        sigmoid = self.discriminator.options.get("sigmoid", False)
        for key, name in (("loss.name", self.loss.name), ("loss.early_generator", self.loss.early_generator)):
            if key == "loss.early_generator" and not name:
                continue
            if name not in losses:
                raise ValueError(_unknown_name(key, name, losses))
            loss = traits(self.loss, name)
            if sigmoid and loss.critic:
                raise ValueError(
                    f"`{key}` {name} needs unbounded scores, but `discriminator.sigmoid` is true; "
                    "set discriminator.sigmoid to false, or take least-squares."
                )
            if sigmoid and loss.logits:
                raise ValueError(
                    f"`{key}` {name} applies the sigmoid itself, but `discriminator.sigmoid` is true; "
                    "set discriminator.sigmoid to false."
                )

    def _check_combination(self) -> None:
        if (
            self.train.reuse_fakes
            and self.train.order == "generator-first"
            and self.train.discriminator_steps > 1
        ):
            raise ValueError(
                "`train.reuse_fakes` with `train.order` generator-first shows all "
                f"{self.train.discriminator_steps} D steps the same fakes; set train.reuse_fakes to false, "
                "or train.discriminator_steps to 1."
            )

    def warnings(self) -> list[str]:
        """One line for each combination that is allowed and known to go badly."""
        found = []
        momentum = {"beta1": "beta1", "momentum": "momentum"}
        moved = [
            f"discriminator_optimizer.{key}={self.discriminator_optimizer.options[key]:g}"
            for key in momentum
            if self.discriminator_optimizer.options.get(key)
        ]
        if self.loss.weight_clip > 0 and moved:
            found.append(
                f"a clipped critic and momentum ({', '.join(moved)}) are known to be unstable together."
            )
        loss = traits(self.loss)
        is_bounded = loss.chance is not None or self.loss.weight_clip or self.loss.gradient_penalty
        if loss.critic and not is_bounded:
            found.append(
                f"a critic of the loss {self.loss.name} without loss.weight_clip or loss.gradient_penalty is "
                "not Lipschitz: its loss has no bound."
            )
        if self.loss.clamp and not losses.takes(self.loss.name, "clamp"):
            found.append(f"loss.clamp {self.loss.clamp:g} has no effect on the loss {self.loss.name}.")
        if bool(self.loss.early_generator) != bool(self.loss.early_steps):
            found.append(
                f"loss.early_generator {self.loss.early_generator!r} for loss.early_steps "
                f"{self.loss.early_steps} changes nothing; both are needed."
            )
        return found

    @property
    def latent_dim(self) -> int:
        """Numbers in a latent vector."""
        return int(self.generator.options["latent_dim"])

    def flat(self) -> dict[str, Value]:
        """Every setting by its dotted key."""
        flat: dict[str, Value] = {}
        for section in SECTIONS:
            part = getattr(self, section)
            if isinstance(part, Choice):
                flat[f"{section}.name"] = part.name
            flat.update({f"{section}.{key}": value for key, value in _values(part).items()})
        return flat

    def keys(self) -> list[str]:
        """The dotted keys that `override` takes, `optimizer.*` (both optimisers at once) among them."""
        both = [
            key.removeprefix("generator_")
            for key in self.flat()
            if key.startswith("generator_optimizer.")
            and f"discriminator_{key.removeprefix('generator_')}" in self.flat()
        ]
        return [*self.flat(), *both]

    def override(self, changes: Mapping[str, object]) -> Recipe:
        """This recipe with some settings changed.

        `optimizer.x` sets x of both optimisers; `generator_optimizer.x` and `discriminator_optimizer.x` go
        before it. A change of a name keeps the learning rate, the weight decay, the latent size and the size
        of images, where the new entry has them, and takes the new entry's defaults for its other options.

        Args:
            changes: dotted key → value, in any order.

        Raises:
            ValueError: an unknown key (the nearest is offered), or a value that is refused.
        """
        if not isinstance(changes, Mapping):
            raise ValueError(
                f"`override` takes settings by dotted key, {{'optimizer.lr': 1e-4}} say, but got {changes!r}."
            )
        by_section: dict[str, dict[str, tuple[str, object]]] = {}
        general = {key: value for key, value in changes.items() if str(key).startswith("optimizer.")}
        for key, value in [*general.items(), *((k, v) for k, v in changes.items() if k not in general)]:
            section, _, option = str(key).partition(".")
            sections = _OPTIMIZERS if section == "optimizer" else (section,)
            if not option or any(name not in SECTIONS for name in sections):
                hint = nearest_key(str(key), self.keys()) or "."
                raise ValueError(f"unknown key `{key}`{hint} See `harness show {self.name}`.")
            for name in sections:
                by_section.setdefault(name, {})[option] = (str(key), value)
        return dataclasses.replace(
            self, **{section: self._overridden(section, wanted) for section, wanted in by_section.items()}
        )

    def _overridden(self, section: str, wanted: dict[str, tuple[str, object]]) -> Any:
        part = getattr(self, section)
        values = dict(_values(part))
        if section == "loss":
            return self._overridden_loss(wanted)
        if section in _CHOICES:
            registry = _CHOICES[section]
            name = part.name
            if "name" in wanted:
                key, given = wanted.pop("name")
                if given not in registry if isinstance(given, str) else True:
                    raise ValueError(_unknown_name(key, given, registry))
                name = str(given)
            allowed = registry.options(name)
            if name != part.name:
                kept = {key: value for key, value in values.items() if key in _CARRIED and key in allowed}
                values = {key: option.default for key, option in allowed.items()} | kept
        else:
            name, allowed = section, _options(section, self)
        for option, (key, value) in wanted.items():
            if option not in allowed:
                raise ValueError(_unknown_option(key, name, option, allowed, self))
            values[option] = allowed[option].check(value, key)
        if section in _CHOICES:
            return Choice(name=name, options=values)
        return _SETTINGS[section](**values)

    def _overridden_loss(self, wanted: Mapping[str, tuple[str, object]]) -> LossSettings:
        """The loss with changes; another one takes its own defaults for its own options."""
        settings = options_of(LossSettings, _NESTED)
        named = {option: given for option, given in wanted.items() if option in settings}
        values: dict[str, Any] = {
            option: settings[option].check(value, key) for option, (key, value) in named.items()
        }
        loss = dataclasses.replace(self.loss, **values)
        if loss.name not in losses:
            raise ValueError(_unknown_name(wanted["name"][0], loss.name, losses))
        allowed = losses.options(loss.name)
        kept = self.loss.options if loss.name == self.loss.name else {}
        options = {key: kept.get(key, option.default) for key, option in allowed.items()}
        for option, (key, value) in wanted.items():
            if option in named:
                continue
            if option not in allowed:
                raise ValueError(_unknown_option(key, loss.name, option, {**settings, **allowed}, self))
            options[option] = allowed[option].check(value, key)
        return dataclasses.replace(loss, options=options)

    @property
    def sources(self) -> dict[str, Source]:
        """Where entries that are not the harness's own come from, by noun and name.

        Metrics of one's own are among them, all that are known to this process: every run is scored by them,
        so that a change of their code makes it another run.
        """
        named = [(registry, getattr(self, section).name) for section, registry in _CHOICES.items()]
        named += [(losses, name) for name in (self.loss.name, self.loss.early_generator) if name]
        found = ((f"{registry.noun} `{name}`", registry.source(name)) for registry, name in named)
        own = {entry: source for entry, source in found if source is not None}
        return own | {f"{metrics.noun} `{name}`": source for name, source in metrics.sources().items()}

    @property
    def code(self) -> dict[str, str]:
        """File → hash of the source of entries that are not the harness's own; empty where all are."""
        return code_of(self.sources.values())

    def to_json(self) -> dict[str, Any]:
        """A nested dictionary of plain values, from which `from_json` makes an equal recipe.

        Of a recipe with entries that are not the harness's own, ``imports`` says what it needs.
        """
        nested: dict[str, Any] = {"name": self.name, "description": self.description}
        needed = {source.module: source.to_json() for source in self.sources.values()}
        if needed:
            nested["imports"] = list(needed.values())
        for key, value in self.flat().items():
            section, _, option = key.partition(".")
            nested.setdefault(section, {})[option] = value
        return nested

    @classmethod
    def from_json(cls, nested: Mapping[str, Any]) -> Recipe:
        """The recipe that `to_json` wrote.

        The modules that it needs are imported, from where they were found when it was written.

        Raises:
            ValueError: a section is missing or unknown, or holds something that no recipe would; or a module
                that it needs cannot be imported any more.
        """
        unknown = [key for key in nested if key not in (*SECTIONS, "name", "description", "imports")]
        missing = [key for key in ("name", *SECTIONS) if key not in nested]
        if unknown or missing:
            problem = f"unknown section `{unknown[0]}`" if unknown else f"section `{missing[0]}` is missing"
            raise ValueError(f"not a recipe: {problem}; sections are {', '.join(SECTIONS)}.")
        import_recorded(nested.get("imports"))
        parts: dict[str, Any] = {}
        for section in SECTIONS:
            values = dict(nested[section])
            if section in _CHOICES:
                parts[section] = Choice(name=values.pop("name", ""), options=values)
                _CHOICES[section].options(parts[section].name)
            else:
                allowed = options_of(_SETTINGS[section], _NESTED)
                if section == "loss" and values.get("name") in losses:
                    own = losses.options(values["name"])
                    values["options"] = {key: values.pop(key) for key in own if key in values}
                for key in [key for key in values if key not in ("options", *allowed)]:
                    raise ValueError(_unknown_option(f"{section}.{key}", section, key, allowed))
                parts[section] = _SETTINGS[section](**values)
        return cls(name=str(nested["name"]), description=str(nested.get("description", "")), **parts)

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of the SHA-256 of every setting; names and descriptions do not count.

        Nor does a setting of `_ADDED` where it is off: it came later, and runs from before keep their ids.
        The source of entries that are not the harness's own counts: `code`.
        """
        content = {key: value for key, value in self.to_json().items() if key in SECTIONS}
        for (section, key), off in _ADDED.items():
            if content[section][key] == off:
                del content[section][key]
        if self.code:
            content["code"] = self.code
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def choose(registry: Registry[Any], name: str, **options: Value) -> Choice:
    """A registry entry with the options given, and its defaults for the others.

    Args:
        registry: where the entry is looked up.
        name: the entry.
        options: those that differ from its defaults.

    Raises:
        ValueError: an unknown name or option, or a value that is refused.
    """
    allowed = registry.options(name)
    for key in options:
        if key not in allowed:
            raise ValueError(_unknown_option(key, name, key, allowed))
    resolved = {key: option.check(options.get(key, option.default), key) for key, option in allowed.items()}
    return Choice(name=name, options=resolved)


def find_recipe(name: str) -> Recipe:
    """The registered recipe of this name.

    One that is made from another by `override` gets its own name, and the first line of its builder's docs
    for a description; neither counts in its fingerprint.

    Raises:
        ValueError: there is none; the nearest name is offered.

    Example:
        >>> from harness import find_recipe
        >>> recipe = find_recipe("points-gan").override({"optimizer.name": "adam", "optimizer.lr": 2e-4})
        >>> recipe.generator_optimizer.options["lr"]
        0.0002
    """
    builder = recipes[name]
    recipe = builder()
    if not isinstance(recipe, Recipe):
        raise ValueError(
            f"recipe `{name}` must be a function that makes a `harness.Recipe`, but made {recipe!r}."
        )
    if recipe.name == name:
        return recipe
    about = (inspect.getdoc(builder) or recipe.description).partition("\n")[0]
    return dataclasses.replace(recipe, name=name, description=about)


def list_recipes() -> list[str]:
    """The names of all registered recipes.

    Example:
        >>> from harness import list_recipes
        >>> "points-gan" in list_recipes()
        True
    """
    return recipes.names()


def run_id(recipe: Recipe | str, seed: int) -> str:
    """The id of a run: 12 hexadecimal digits of a hash of recipe and seed.

    Args:
        recipe: the recipe, or its fingerprint.
        seed: the seed.
    """
    fingerprint = recipe if isinstance(recipe, str) else recipe.fingerprint
    return hashlib.sha256(f"{fingerprint}:{seed}".encode()).hexdigest()[:12]


def _options(section: str, recipe: Recipe) -> Mapping[str, Option]:
    if section in _CHOICES:
        return _CHOICES[section].options(getattr(recipe, section).name)
    allowed = options_of(_SETTINGS[section], _NESTED)
    return {**allowed, **losses.options(recipe.loss.name)} if section == "loss" else allowed


def _values(part: Choice | LossSettings | TrainSettings | EvaluateSettings) -> Mapping[str, Value]:
    if isinstance(part, Choice):
        return part.options
    values = dataclasses.asdict(part)
    own = values.pop("options", {})
    return {**values, **own}


def _with_options(loss: LossSettings) -> LossSettings:
    """The loss with every option of its own; those that are not given are at their defaults."""
    if loss.name not in losses:
        raise ValueError(_unknown_name("loss.name", loss.name, losses))
    allowed = losses.options(loss.name)
    unknown = next((key for key in loss.options if key not in allowed), None)
    if unknown is not None:
        raise ValueError(_unknown_option(f"loss.{unknown}", loss.name, unknown, allowed))
    options = {key: option.default for key, option in allowed.items()} | dict(loss.options)
    return dataclasses.replace(loss, options=options)


def _unknown_name(key: str, given: object, registry: Registry[Any]) -> str:
    hint = nearest(str(given), registry.names()) or "."
    return f"`{key}`: unknown {registry.noun} `{given}`{hint} Known: {', '.join(registry.names())}."


def _unknown_option(
    key: str, owner: str, option: str, allowed: Mapping[str, Option], recipe: Recipe | None = None
) -> str:
    """That an option's owner lacks it, and where it is: in other entries, or by another name or section."""
    hint = nearest(option, allowed) or "."
    if recipe is not None:
        section, known = key.partition(".")[0], recipe.keys()
        owners = [name for name, options in _options_by_entry(section).items() if option in options]
        elsewhere = [other for other in known if other.rpartition(".")[2] == option]
        if owners:
            have = "has" if len(owners) == 1 else "have"
            hint = f", but {', '.join(owners)} {have}; choose by `{section}.name`."
        elif elsewhere or called_elsewhere(key):
            hint = nearest_key(key, known).replace(f"`{section}.", "`")
    listed = ", ".join(allowed) or "none"
    return f"`{key}`: {owner} has no option `{option}`{hint} Its options: {listed}."


def _options_by_entry(section: str) -> dict[str, Mapping[str, Option]]:
    """The options of each entry that a section could choose; nothing for a section that chooses none."""
    registry = {**_CHOICES, "optimizer": optimizers, "loss": losses}.get(section)
    return {name: registry.options(name) for name in registry} if registry is not None else {}
