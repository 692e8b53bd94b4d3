"""Names → builders, for everything a recipe can name.

A registry entry is any callable whose options are keyword-only parameters with annotated types: a function,
or a frozen keyword-only dataclass. The signature is the single source of an entry's options, their types,
defaults and bounds, so a recipe can be checked, printed and hashed without building anything.

Entries of one's own are filed by the decorators `register_generator("name")` and the like; which module
filed an entry is kept, for its source is part of what a run is: see `harness.recipe.plugins`.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Annotated, Any, Generic, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from harness.kept import depend_on, keep, recall
from harness.recipe.plugins import Source, count_as_own, source_of

__all__ = [
    "Bounds",
    "Fraction",
    "NonNegative",
    "Option",
    "Positive",
    "Registry",
    "Value",
    "datasets",
    "discriminators",
    "generators",
    "losses",
    "metrics",
    "nearest",
    "optimizers",
    "options_of",
    "plain_value",
    "recipes",
    "register_dataset",
    "register_discriminator",
    "register_generator",
    "register_loss",
    "register_optimizer",
    "register_recipe",
    "unquoted",
]

Value = bool | int | float | str
"""What an option's value may be: all of it survives a round trip through JSON."""

_SWITCHES = {"yes": "true", "on": "true", "no": "false", "off": "false", "true": "true", "false": "false"}
"""Words that are meant for truth values: YAML 1.2 reads most of them as words, and all in quotes."""

T = TypeVar("T")
E = TypeVar("E")


def plain_value(value: Any) -> Any:
    """A NumPy scalar, or an array of no dimensions, as the Python value that it reads as; else as it is.

    A float32 becomes the shortest decimal that stands for it, not the binary fraction that it holds:
    ``np.float32(0.1)`` is 0.1, and not 0.10000000149011612, so that it names the same setting as in a file.

    Example:
        >>> import numpy as np
        >>> plain_value(np.float32(0.1)), plain_value(np.array(3)), plain_value(np.True_)
        (0.1, 3, True)
    """
    numpy = sys.modules.get("numpy")  # where nobody has imported it there is no such scalar
    if numpy is not None and isinstance(value, numpy.ndarray) and not value.ndim:
        value = value[()]
    if numpy is None or not isinstance(value, numpy.generic):
        return value
    return float(str(value)) if isinstance(value, numpy.floating) else value.item()


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint for a mistyped `name`: ``; did you mean `x`?``, or nothing where none of `names` is close."""
    found = difflib.get_close_matches(str(name), list(names), n=1, cutoff=0.5)
    return f"; did you mean `{found[0]}`?" if found else ""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Limits of a number, written as metadata: ``lr: Annotated[float, Positive] = 1e-3``.

    Attributes:
        low: the least value.
        high: the largest value.
        open_low: whether `low` itself is refused.
        open_high: whether `high` itself is refused.
    """

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below

    def __str__(self) -> str:
        if self == Positive:
            return "positive"
        if self == NonNegative:
            return "zero or more"
        if self.high == math.inf:
            return f"{'more than' if self.open_low else 'at least'} {self.low:g}"
        if self.low == -math.inf:
            return f"{'less than' if self.open_high else 'at most'} {self.high:g}"
        left, right = "(" if self.open_low else "[", ")" if self.open_high else "]"
        return f"in {left}{self.low:.9g}, {self.high:.9g}{right}"


Positive = Bounds(low=0.0, open_low=True)
NonNegative = Bounds(low=0.0)
Fraction = Bounds(low=0.0, high=1.0, open_high=True)


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option of an entry, read from its builder's signature.

    Attributes:
        name: the parameter's name.
        kind: bool, int, float or str.
        default: the value taken where a recipe says nothing.
        bounds: limits of a number, or None.
        choices: the values allowed, or None where any of `kind` will do.
    """

    name: str
    kind: type[bool] | type[int] | type[float] | type[str]
    default: Value
    bounds: Bounds | None = None
    choices: tuple[Value, ...] | None = None

    def check(self, value: object, field: str) -> Value:
        """`value` as this option's type.

        An int is taken for a float, a float without a fraction for an int (1e3), and a NumPy scalar for the
        number that it is; nothing else is converted.

        Args:
            value: what the user gave.
            field: the dotted key, for the message.

        Raises:
            ValueError: wrong type, not finite, out of bounds or not one of the choices.
        """
        value = plain_value(value)
        if self.choices is not None:
            if (
                not isinstance(value, (bool, int, float, str))
                or value not in self.choices
                or isinstance(value, bool) != isinstance(self.choices[0], bool)
            ):
                listed = ", ".join(str(choice) for choice in self.choices)
                hint = nearest(str(value), [str(choice) for choice in self.choices])
                raise ValueError(f"`{field}` must be one of {listed}, but got {value!r}{hint or '.'}")
            return value
        checked = self._convert(value)
        if checked is None:
            noun = {bool: "true or false", int: "an integer", float: "a number", str: "a string"}[self.kind]
            fix = unquoted(value, self.kind)
            raise ValueError(f"`{field}` must be {noun}, but got {value!r}{fix}")
        if isinstance(checked, float) and not math.isfinite(checked):
            raise ValueError(f"`{field}` must be finite, but got {checked}.")
        if self.bounds is not None and not isinstance(checked, (bool, str)) and checked not in self.bounds:
            raise ValueError(f"`{field}` must be {self.bounds}, but got {checked:g}.")
        return checked

    def _convert(self, value: object) -> Value | None:
        if self.kind is bool or isinstance(value, bool):
            return value if self.kind is bool and isinstance(value, bool) else None
        if self.kind is str:
            return value if isinstance(value, str) else None
        if not isinstance(value, (int, float)):
            return None
        if self.kind is float:
            try:
                return float(value)
            except OverflowError:
                return math.inf
        if isinstance(value, int):
            return value
        return int(value) if math.isfinite(value) and value == int(value) else None


def unquoted(value: object, kind: type = float) -> str:
    """The end of a message about a value of the wrong kind: what to write where a word stands for another.

    Args:
        value: what was given.
        kind: bool, int, float or str.
    """
    if not isinstance(value, str) or kind is str:
        return "."
    if kind is bool:
        meant = _SWITCHES.get(value.lower())
        return f"; write {meant}." if meant else "."
    try:
        number = float(value)
    except ValueError:
        return "."
    fits = math.isfinite(number) and (kind is float or number.is_integer())
    return f"; write {value.strip()} without quotes." if fits else "."


@functools.cache
def options_of(builder: Callable[..., Any], injected: frozenset[str] = frozenset()) -> Mapping[str, Option]:
    """The options of a builder: its keyword-only parameters that are not injected.

    Args:
        builder: a function or a class.
        injected: parameters that the harness fills in.

    Raises:
        ValueError: a parameter that could be no option, in one line that says what it lacks.
    """
    annotated: Any = builder
    function = annotated.__init__ if isinstance(builder, type) else inspect.unwrap(builder)
    found: dict[str, Option] = {}
    for name, parameter in inspect.signature(builder).parameters.items():
        if name in injected or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            if parameter.default is inspect.Parameter.empty or isinstance(parameter.default, Value):
                raise ValueError(f"`{name}` must be a keyword-only parameter, an option; write *, {name}.")
            continue  # for scripts that build the entry themselves, of a type that no option has
        if parameter.default is inspect.Parameter.empty:
            raise ValueError(f"option `{name}` has no default; write {name}: ... = <its default>.")
        if parameter.annotation is inspect.Parameter.empty:
            raise ValueError(
                f"option `{name}` has no annotation; write {name}: {type(parameter.default).__name__} = "
                f"{parameter.default!r}."
            )
        # One at a time: what a builder's other annotations name need not be there to read its options.
        alone: Any = SimpleNamespace(__annotations__={name: parameter.annotation})
        try:
            hints = get_type_hints(alone, _names_known_to(builder, name, function), include_extras=True)
        except NameError as error:
            raise ValueError(f"option `{name}`: its annotation cannot be read: {error}.") from None
        found[name] = _option(name, hints[name], parameter.default)
    return found


def _names_known_to(builder: object, name: str, function: object) -> dict[str, Any]:
    """What an option's annotation may name; a dataclass's field is of the module that declares it."""
    if isinstance(builder, type) and is_dataclass(builder):
        for declared in builder.__mro__:
            if name in vars(declared).get("__annotations__", {}):
                return vars(sys.modules[declared.__module__])
    return getattr(function, "__globals__", {})


def _option(name: str, hint: Any, default: Value) -> Option:
    bounds: Bounds | None = None
    if get_origin(hint) is Annotated:
        hint, *extras = get_args(hint)
        bounds = next((extra for extra in extras if isinstance(extra, Bounds)), None)
    if get_origin(hint) is Literal:
        choices = get_args(hint)
        return Option(name=name, kind=type(choices[0]), default=default, choices=choices)
    if hint not in (bool, int, float, str):
        shown = hint if get_args(hint) else getattr(hint, "__name__", hint)
        raise ValueError(f"option `{name}` has type {shown}; it must be bool, int, float, str or a Literal.")
    option = Option(name=name, kind=hint, default=default, bounds=bounds)
    return Option(name=name, kind=hint, default=option.check(default, name), bounds=bounds)


@dataclass(frozen=True, kw_only=True)
class Described:
    """What can be known of a builder without it, and so without the libraries that its module needs.

    Attributes:
        options: its options by name.
        parameters: the names of all its parameters.
        summary: the first line of its docstring.
    """

    options: Mapping[str, Option]
    parameters: tuple[str, ...]
    summary: str

    def to_json(self) -> dict[str, Any]:
        """Itself as plain values."""
        options = []
        for option in self.options.values():
            limits = option.bounds and [
                [repr(option.bounds.low), repr(option.bounds.high)],
                [option.bounds.open_low, option.bounds.open_high],
            ]
            options.append([option.name, option.kind.__name__, option.default, limits, option.choices])
        return {"options": options, "parameters": self.parameters, "summary": self.summary}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Described:
        """What `to_json` made."""
        kinds = {kind.__name__: kind for kind in (bool, int, float, str)}
        options = {}
        for name, kind, default, limits, choices in values["options"]:
            bounds = None
            if limits:
                (low, high), (open_low, open_high) = limits
                bounds = Bounds(low=float(low), high=float(high), open_low=open_low, open_high=open_high)
            options[name] = Option(
                name=name,
                kind=kinds[kind],
                default=default,
                bounds=bounds,
                choices=None if choices is None else tuple(choices),
            )
        return cls(options=options, parameters=tuple(values["parameters"]), summary=values["summary"])


class Registry(Generic[T]):
    """Names → entries of one kind.

    Args:
        noun: what an entry is called in messages.
        injected: parameters of a builder that the harness fills in, and that are no options.
        needs: an option that every builder must have → how it is written, and what it is.
        builders: whether entries are builders with options.
    """

    def __init__(
        self,
        noun: str,
        *,
        injected: tuple[str, ...] = (),
        needs: Mapping[str, str] | None = None,
        builders: bool = True,
    ) -> None:
        self.noun = noun
        self._needs = dict(needs or {})
        self._modules: list[str] = []
        self._injected = frozenset(injected)
        self._builders = builders
        self._reserved: Mapping[str, str] = {}
        self._entries: dict[str, T] = {}
        self._homes: dict[str, Mapping[str, Any]] = {}
        self._sources: dict[str, Source | None] = {}

    def provide(self, module: str) -> None:
        """Name a module of the harness's own whose import registers entries.

        It is imported at the first look-up, so that asking for help stays fast.
        """
        count_as_own(module)
        depend_on(module.partition(".")[0])
        self._modules.append(module)

    def reserve(self, names: Iterable[str], why: str) -> None:
        """Names that no option may have.

        Args:
            names: the names.
            why: what they are, for the message: ``a setting of every loss``.
        """
        self._reserved = {**self._reserved, **dict.fromkeys(names, why)}

    def register(self, name: str, *, caller: FrameType | None = None) -> Callable[[E], E]:
        """Decorator: file an entry under `name`.

        A cell of a notebook may be run again: an entry of `__main__` takes the place of the one before it.

        Args:
            name: the name.
            caller: of whose module the entry is; the caller of this method, if nothing is said.

        Raises:
            ValueError: the name is taken, by what module is said; or the entry has a parameter that could be
                no option.

        Example:
            >>> from torch import nn
            >>> from harness import find_recipe, register_generator
            >>> @register_generator("one-layer")  # latent_dim is its option
            ... def one_layer(*, sample_shape, num_classes, latent_dim: int = 8):
            ...     return nn.Linear(latent_dim, sample_shape[0])
            >>> find_recipe("ring-gan").override({"generator.name": "one-layer"}).generator.name
            'one-layer'
        """
        if not isinstance(name, str) or not name:
            hint = '; write its name in parentheses: ("my-name").' if callable(name) else "."
            raise ValueError(f"{self.noun}: a name must be text, but got {name!r}{hint}")
        home = (caller or sys._getframe(1)).f_globals
        module, file = str(home.get("__name__", "__main__")), home.get("__file__")

        def decorate(entry: E) -> E:
            code = entry if self._builders else getattr(entry, "compute", entry)  # a metric's function
            source = source_of(module, Path(file) if file else None, code)
            if source is not None:
                self._load()
            if self._builders:
                self._check(name, module, entry)
            self._check_free(name, home)
            self._entries[name] = cast(T, entry)
            self._homes[name] = home
            self._sources[name] = source
            return entry

        return decorate

    def _check(self, name: str, module: str, entry: object) -> None:
        where = f"{self.noun} `{name}` of `{module}`"
        if not callable(entry):
            raise ValueError(f"{where}: it must be a function or a class, but got {entry!r}.")
        try:
            options = options_of(entry, self._injected)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{where}: {error}") from None
        for option, written in self._needs.items():
            if option not in options:
                raise ValueError(f"{where}: it has no option `{option}`; add {written}.")
        clash = next((option for option in options if option in self._reserved), None)
        if clash is not None:
            raise ValueError(
                f"{where}: option `{clash}` has the name of {self._reserved[clash]}; give it another name."
            )

    def _check_free(self, name: str, caller: Mapping[str, Any]) -> None:
        module, file = str(caller.get("__name__", "__main__")), caller.get("__file__")
        if name not in self._entries or name not in self._homes:
            return
        known = self._homes[name]
        home, home_file = str(known.get("__name__", "__main__")), known.get("__file__")
        if home == module == "__main__":
            return
        if home not in sys.modules or (home == module and known is not caller):
            return  # the import of that module failed later on, and it is imported again
        by = f"by `{home}`" if home == module else f"by `{home}` and `{module}`"
        if home != module and file and home_file and Path(file).resolve() == Path(home_file).resolve():
            raise ValueError(
                f"the {self.noun} `{name}` is registered twice, {by}, which are one file, {file}; import it "
                "under one name."
            )
        raise ValueError(
            f"the {self.noun} `{name}` is registered twice, {by}; give one of them another name."
        )

    def __getitem__(self, name: str) -> T:
        self._load()
        if not isinstance(name, str) or name not in self._entries:
            hint = nearest(name, self._entries) or "."
            raise ValueError(f"unknown {self.noun} `{name}`{hint} Known: {', '.join(self.names())}.")
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        if name in (self._described() or ()):
            return True
        self._load()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def names(self) -> list[str]:
        """All names, in the order of registration."""
        described = self._described()
        if described is not None:
            return list(described)
        self._load()
        return list(self._entries)

    def items(self) -> Mapping[str, T]:
        """All entries by name."""
        self._load()
        return dict(self._entries)

    def options(self, name: str) -> Mapping[str, Option]:
        """The options of an entry that is a builder."""
        described = self._described() or {}
        if name in described:
            return described[name].options
        builder = self[name]
        assert callable(builder)
        return options_of(builder, self._injected)

    def takes(self, name: str, parameter: str) -> bool:
        """Whether the builder of the entry `name` has this `parameter`, be it an option or not."""
        described = self._described() or {}
        if name in described:
            return parameter in described[name].parameters
        return parameter in inspect.signature(self[name]).parameters  # type: ignore[arg-type]

    def summaries(self) -> dict[str, str]:
        """Name → what the entry is, in a line."""
        described = self._described()
        if described is not None:
            return {name: entry.summary for name, entry in described.items()}
        return {name: _summary(entry) for name, entry in self.items().items()}

    def describe(self) -> dict[str, Described]:
        """What can be known of the builders of the harness's own, whose modules are loaded for it."""
        self._load()
        found = {}
        for name in self._entries:
            if self._sources.get(name) is None:
                parameters = tuple(inspect.signature(cast(Any, self[name])).parameters)
                found[name] = Described(
                    options=self.options(name), parameters=parameters, summary=_summary(self[name])
                )
        return found

    def _described(self) -> Mapping[str, Described] | None:
        """All entries, as they were described before; None where their modules are loaded, or must be."""
        if not self._modules or not self._builders:
            return None
        if _PLUG_INS in self._modules:
            importlib.import_module(_PLUG_INS)  # which loads all, where a plug-in files an entry
            self._modules = [module for module in self._modules if module != _PLUG_INS]
        return described().get(self.noun) if self._modules else None

    def source(self, name: str) -> Source | None:
        """The code of an entry that is not the harness's own; None where it is."""
        return self._sources.get(name)

    def sources(self) -> dict[str, Source]:
        """Name → code, of the entries registered so far that are not the harness's own."""
        known = {name: self._sources.get(name) for name in self._entries}
        return {name: source for name, source in known.items() if source is not None}

    def _load(self) -> None:
        while self._modules:
            importlib.import_module(self._modules.pop(0))


def _summary(entry: object) -> str:
    """What an entry is, in a line."""
    text = str(getattr(entry, "description", "") or (entry.__doc__ or "").strip())
    return text.partition("\n")[0]


_PLUG_INS = "harness.recipe.entry_points"

_NETWORK = ("sample_shape", "num_classes")
generators: Registry[Callable[..., Any]] = Registry(
    "generator", injected=_NETWORK, needs={"latent_dim": "latent_dim: int = 64, the numbers in z"}
)
discriminators: Registry[Callable[..., Any]] = Registry("discriminator", injected=_NETWORK)
datasets: Registry[Callable[..., Any]] = Registry("data set")
losses: Registry[Callable[..., Any]] = Registry("loss", injected=("clamp",))
optimizers: Registry[Callable[..., Any]] = Registry(
    "optimizer", needs={"lr": "lr: float = 1e-3, the learning rate"}
)
metrics: Registry[Any] = Registry("metric", builders=False)
recipes: Registry[Any] = Registry("recipe", builders=False)

register_generator = generators.register
register_discriminator = discriminators.register
register_dataset = datasets.register
register_loss = losses.register
register_optimizer = optimizers.register
register_recipe = recipes.register


@functools.cache
def described() -> Mapping[str, Mapping[str, Described]]:
    """What can be known of the harness's own builders: registry's noun → name → description.

    It is kept from one process to the next, for the modules of the builders take a second to load. Where
    nothing has been kept, they are loaded, and nothing is returned: from then on they know better.
    """
    kept = recall("entries")
    if kept is not None:
        return {
            noun: {name: Described.from_json(values) for name, values in entries.items()}
            for noun, entries in kept.items()
        }
    found = {}
    for registry in (generators, discriminators, datasets, losses, optimizers):
        found[registry.noun] = {name: entry.to_json() for name, entry in registry.describe().items()}
    keep("entries", value=found)
    return {}
