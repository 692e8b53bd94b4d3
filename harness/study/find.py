"""Where sweep files lie, and how one is found by its name."""

from __future__ import annotations

from pathlib import Path

from harness.recipe.registry import nearest
from harness.study.document import read_file, shown

__all__ = ["find_study", "list_studies"]

_OWN = Path("sweeps")


def find_study(name: str) -> Path:
    """The sweep file of this name; files of one's own come before those shipped with the harness.

    Args:
        name: a path; the name of a file in `sweeps/` or `sweeps/reports/`, with or without its ending; or
            the study's name that stands in such a file.

    Raises:
        ValueError: there is none, the nearest name is offered; or several files hold a study of this name.
    """
    if Path(name).is_file():
        return Path(name)
    stem = name.removesuffix(".yaml")
    own, shipped = _folders()
    for files in (own, shipped):
        if stem in files:
            return files[stem]
        found = [path for path in files.values() if _study_name(path) == stem]
        if len(found) > 1:
            paths = ", ".join(map(str, found))
            raise ValueError(f"{shown(name)} is the name of several studies; give a path: {paths}.")
        if found:
            return found[0]
    studies = {path: _study_name(path) for path in (*own.values(), *shipped.values())}
    broken = [str(path) for path, study in studies.items() if study is None]
    known = [f"in `{_OWN}/`: {', '.join(own) or 'none'}", f"shipped: {', '.join(shipped) or 'none'}"]
    known += [f"not readable: {', '.join(broken)}"] if broken else []
    hint = nearest(stem, [*own, *shipped, *filter(None, studies.values())]) or "."
    raise ValueError(f"unknown sweep {shown(name)}{hint} Known {'; '.join(known)}; or give a path.")


def list_studies() -> dict[str, Path]:
    """The sweep files that there are: the name by which each is found → its path; one's own come first.

    Example:
        >>> from harness import list_studies
        >>> "optimizers" in list_studies()
        True
    """
    own, shipped = _folders()
    return own | {name: path for name, path in shipped.items() if name not in own}


def _folders() -> tuple[dict[str, Path], dict[str, Path]]:
    """Name → file, of one's own and of those shipped; in a checkout, where they are the same, all as own.

    The shipped ones lie in the package where it is installed as a wheel, and beside it in a checkout.
    """
    packaged = Path(__file__).parents[1] / "sweeps"
    shipped = packaged if packaged.is_dir() else Path(__file__).parents[2] / "sweeps"
    same = _OWN.is_dir() and _OWN.samefile(shipped)
    return _files(_OWN), {} if same else _files(shipped)


def _files(folder: Path) -> dict[str, Path]:
    """Name → file, of a folder; in `reports/`, a name that the folder has too keeps its ``reports/``."""
    found = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    for path in sorted(folder.glob("reports/*.yaml")):
        found[f"reports/{path.stem}" if path.stem in found else path.stem] = path
    return found


def _study_name(path: Path) -> str | None:
    """The study's name that stands in a file, empty where there is none; None of a file that is broken."""
    try:
        return str(read_file(path).data.get("name", ""))
    except ValueError:
        return None
