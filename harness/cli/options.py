"""Options that several commands take, and how KEY=VALUE is read."""

from __future__ import annotations

import os
from pathlib import Path

import click

from harness.recipe.plugins import import_modules
from harness.recipe.registry import Value
from harness.recipe.seeds import MAX_SEED

__all__ = ["SEED", "data_root", "directory", "import_option", "imported", "read_settings", "set_option"]

SEED = click.IntRange(min=0, max=MAX_SEED)
"""The seeds that a command takes, those of sweep files."""
set_option = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a setting, e.g. optimizer.lr=1e-4.",
)
directory = click.option(
    "--directory",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Where runs go.",
)


def _use_data_root(_context: click.Context, _parameter: click.Parameter, root: Path | None) -> None:
    """Workers inherit the environment, so they find the data where this process does."""
    if root is not None:
        os.environ["HARNESS_DATA"] = str(root.absolute())


data_root = click.option(
    "--data-root",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    callback=_use_data_root,
    expose_value=False,
    help="Folder of data sets, in place of $HARNESS_DATA.",
)


_IMPORTED = "gan-sweep-harness: imported modules"


def _import(context: click.Context, _parameter: click.Parameter, modules: tuple[str, ...]) -> None:
    import_modules(modules, field="`--import`")
    context.meta[_IMPORTED] = list(modules)


def imported() -> list[str]:
    """The modules that ``--import`` named, for a study to keep."""
    return list(click.get_current_context().meta.get(_IMPORTED, []))


import_option = click.option(
    "--import",
    "modules",
    multiple=True,
    metavar="MODULE",
    is_eager=True,
    callback=_import,
    expose_value=False,
    help="A module that registers entries of one's own, e.g. my_gan.nets.",
)


def read_settings(pairs: tuple[str, ...]) -> dict[str, Value]:
    """The values of KEY=VALUE, each read as true or false, a whole number, a number, or else a text.

    Raises:
        ValueError: a pair without a key or an equals sign, or a key that is given twice.
    """
    settings: dict[str, Value] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not key or not equals:
            raise ValueError(f"`--set` takes KEY=VALUE, but got {pair!r}; write --set optimizer.lr=1e-4.")
        if key in settings:
            raise ValueError(f"`--set` gives {key} twice; keep one of them.")
        settings[key] = _value(text)
    return settings


def _value(text: str) -> Value:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
