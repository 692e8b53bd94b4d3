"""Where sweep files lie, and how one is found by its name."""

from __future__ import annotations

from pathlib import Path

from harness.recipe.registry import nearest
from harness.study.document import shown

__all__ = ["find_study", "sweep_files"]


def find_study(name: str) -> Path:
    """The sweep file of this name.

    Args:
        name: a path, or the name of a file in `sweeps/` or `sweeps/reports/`, with or without its ending.

    Raises:
        ValueError: there is none; the nearest name is offered.
    """
    if Path(name).is_file():
        return Path(name)
    found = sweep_files()
    stem = name.removesuffix(".yaml")
    if stem not in found:
        hint = nearest(stem, found) or "."
        raise ValueError(
            f"unknown sweep {shown(name)}{hint} Known: {', '.join(found) or 'none'}; or give a path."
        )
    return found[stem]


def sweep_files() -> dict[str, Path]:
    """Name → file, in the working directory or, where that has no sweeps, beside the package."""
    here = Path("sweeps")
    folder = here if here.is_dir() else Path(__file__).parents[2] / "sweeps"
    return {
        path.relative_to(folder).with_suffix("").as_posix().removeprefix("reports/"): path
        for path in sorted([*folder.glob("*.yaml"), *folder.glob("reports/*.yaml")])
    }
