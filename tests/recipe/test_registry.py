"""Names, options and bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import pytest

from harness.optim.rules import Optimizer
from harness.recipe.registry import Bounds, Fraction, NonNegative, Positive, Registry, nearest, options_of


def build(
    *,
    shape: tuple[int, ...],
    lr: Annotated[float, Positive] = 0.1,
    steps: Annotated[int, Bounds(low=1)] = 1,
    nesterov: bool = False,
    order: Literal["first", "second"] = "first",
    path: str = "",
) -> None:
    """An entry with one option of each kind."""


@pytest.fixture
def registry() -> Registry[object]:
    filled: Registry[object] = Registry("optimizer", injected=("shape",))
    filled.register("adam")(build)
    filled.register("sgd")(build)
    return filled


def test_a_name_registered_twice_raises(registry: Registry[object]) -> None:
    with pytest.raises(ValueError, match="optimizer `adam` is registered twice"):
        registry.register("adam")(build)


def test_an_unknown_name_lists_the_nearest_and_all(registry: Registry[object]) -> None:
    with pytest.raises(
        ValueError, match=r"unknown optimizer `adm`; did you mean `adam`\? Known: adam, sgd\."
    ):
        registry["adm"]


def test_options_are_the_keyword_parameters_that_are_not_injected(registry: Registry[object]) -> None:
    options = registry.options("adam")
    assert list(options) == ["lr", "steps", "nesterov", "order", "path"]
    assert [option.kind for option in options.values()] == [float, int, bool, str, str]
    assert options["lr"].bounds == Positive
    assert options["order"].choices == ("first", "second")


def test_options_of_a_dataclass_are_its_fields() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Settings:
        decay: Annotated[float, Fraction] = 0.0

    assert options_of(Settings)["decay"].bounds == Fraction


def test_a_field_that_a_dataclass_inherits_is_read_where_it_is_declared() -> None:
    names: dict[str, Any] = {"dataclass": dataclass, "Optimizer": Optimizer, "__name__": "typing"}
    exec("@dataclass(frozen=True, kw_only=True)\nclass Own(Optimizer):\n    decay: float = 0.5", names)
    options = options_of(names["Own"])
    assert list(options) == ["lr", "decay"]
    assert options["lr"].bounds == Positive


BAD_VALUES = [
    ("lr", -0.1, "`optimizer.lr` must be positive, but got -0.1."),
    ("lr", 0, "`optimizer.lr` must be positive, but got 0."),
    ("lr", float("nan"), "`optimizer.lr` must be finite, but got nan."),
    ("lr", float("inf"), "`optimizer.lr` must be finite, but got inf."),
    ("lr", 10**400, "`optimizer.lr` must be finite, but got inf."),
    ("lr", "fast", "`optimizer.lr` must be a number, but got 'fast'."),
    ("lr", "1e-5", "`optimizer.lr` must be a number, but got '1e-5'; write 1e-5 without quotes."),
    ("lr", "inf", "`optimizer.lr` must be a number, but got 'inf'."),
    ("steps", "5", "`optimizer.steps` must be an integer, but got '5'; write 5 without quotes."),
    ("steps", "1.5", "`optimizer.steps` must be an integer, but got '1.5'."),
    ("lr", True, "`optimizer.lr` must be a number, but got True."),
    ("lr", [0.1], "`optimizer.lr` must be a number, but got [0.1]."),
    ("steps", 0, "`optimizer.steps` must be at least 1, but got 0."),
    ("steps", 1.5, "`optimizer.steps` must be an integer, but got 1.5."),
    ("nesterov", 1, "`optimizer.nesterov` must be true or false, but got 1."),
    ("order", "frist", "`optimizer.order` must be one of first, second, but got 'frist'; did you mean"),
    ("path", 3, "`optimizer.path` must be a string, but got 3."),
]


def test_a_bad_value_is_refused_with_field_and_value(
    registry: Registry[object], subtests: pytest.Subtests
) -> None:
    for key, value, message in BAD_VALUES:
        with subtests.test(key=key, value=value):
            with pytest.raises(ValueError, match="`optimizer") as caught:
                registry.options("adam")[key].check(value, f"optimizer.{key}")
            assert str(caught.value).startswith(message)
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("key", "given", "kept"), [("lr", 1, 1.0), ("steps", 1e3, 1000), ("lr", 1e-3, 1e-3)])
def test_numbers_become_the_option_s_type(
    registry: Registry[object], key: str, given: float, kept: float
) -> None:
    value = registry.options("adam")[key].check(given, key)
    assert value == kept
    assert type(value) is type(kept)


SCALARS = [
    ("lr", np.float32(0.1), 0.1),
    ("lr", np.array(0.1, np.float32), 0.1),
    ("steps", np.array(3), 3),
    ("lr", np.float16(1e-3), 1e-3),
    ("lr", np.float64(1 / 3), 1 / 3),
    ("lr", np.int8(2), 2.0),
    ("steps", np.int64(3), 3),
    ("steps", np.float32(1e3), 1000),
    ("nesterov", np.True_, True),
    ("order", np.str_("second"), "second"),
]


def test_a_numpy_scalar_is_the_number_that_it_reads_as(
    registry: Registry[object], subtests: pytest.Subtests
) -> None:
    for key, given, kept in SCALARS:
        with subtests.test(key=key, given=given):
            value = registry.options("adam")[key].check(given, key)
            assert value == kept
            assert type(value) is type(kept)


@pytest.mark.parametrize("key", ["lr", "nesterov", "order", "path"])
def test_an_array_is_no_setting(registry: Registry[object], key: str) -> None:
    with pytest.raises(ValueError, match=f"`{key}` must be"):
        registry.options("adam")[key].check(np.array([0.1]), key)


@pytest.mark.parametrize(
    ("bounds", "inside", "outside", "words"),
    [
        (Positive, 1e-9, 0.0, "positive"),
        (NonNegative, 0.0, -1e-9, "zero or more"),
        (Fraction, 0.0, 1.0, "in [0, 1)"),
        (Bounds(low=2), 2, 1.99, "at least 2"),
        (Bounds(high=3, open_high=True), 2.99, 3, "less than 3"),
    ],
)
def test_bounds_hold_their_ends_and_say_so(bounds: Bounds, inside: float, outside: float, words: str) -> None:
    assert inside in bounds
    assert outside not in bounds
    assert str(bounds) == words


def test_no_hint_where_no_name_is_close() -> None:
    assert nearest("zzz", ["adam", "sgd"]) == ""


def no_default(*, width: int) -> None: ...
def no_annotation(*, width=3) -> None: ...  # type: ignore[no-untyped-def]
def no_type(*, width: list[int] = [3]) -> None: ...  # noqa: B006
def no_such_name(*, width: Width = 3) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def no_star(width: int = 3) -> None: ...
def out_of_bounds(*, width: Annotated[float, Positive] = -1.0) -> None: ...


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (no_default, "option `width` has no default; write width: ... = <its default>."),
        (no_annotation, "option `width` has no annotation; write width: int = 3."),
        (no_type, "option `width` has type list[int]; it must be bool, int, float, str or a Literal."),
        (
            no_such_name,
            "option `width`: its annotation cannot be read: name 'Width' is not defined.",
        ),
        (no_star, "`width` must be a keyword-only parameter, an option; write *, width."),
        (out_of_bounds, "`width` must be positive, but got -1."),
        (3, "it must be a function or a class, but got 3."),
    ],
)
def test_an_entry_that_could_not_be_chosen_is_refused_in_one_line(
    registry: Registry[object], entry: object, message: str
) -> None:
    with pytest.raises(ValueError, match="optimizer `mine`") as caught:
        registry.register("mine")(entry)
    assert str(caught.value) == f"optimizer `mine` of `{__name__}`: {message}"
    assert "mine" not in registry


def test_a_decorator_without_a_name_is_refused_at_once(registry: Registry[object]) -> None:
    with pytest.raises(ValueError, match=r"a name must be text, .* write its name in parentheses"):
        registry.register(no_star)  # type: ignore[arg-type]


def no_latents(*, width: int = 3) -> None: ...


def test_a_builder_without_an_option_that_all_need_is_refused() -> None:
    registry: Registry[object] = Registry("generator", needs={"latent_dim": "latent_dim: int = 64, z"})
    with pytest.raises(ValueError, match=r"it has no option `latent_dim`; add latent_dim: int = 64, z\."):
        registry.register("mine")(no_latents)
    assert "mine" not in registry


def test_an_option_may_not_have_a_reserved_name(registry: Registry[object]) -> None:
    registry.reserve(["nesterov"], "a setting of every optimizer")
    with pytest.raises(ValueError, match="option `nesterov` has the name of a setting of every optimizer"):
        registry.register("mine")(build)


def test_annotations_that_are_no_options_need_not_be_there(registry: Registry[object]) -> None:
    def typed_for_checkers(*, width: int = 3) -> NoSuchType: ...  # type: ignore[name-defined]  # noqa: F821

    registry.register("mine")(typed_for_checkers)
    assert list(registry.options("mine")) == ["width"]
