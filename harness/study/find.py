"""How a study is named, in every command: a sweep file, a study's folder, or the name of either."""

from __future__ import annotations

from pathlib import Path

from harness.recipe.registry import nearest
from harness.study.document import read_file, shown
from harness.study.folder import StudyFolder
from harness.words import listed

__all__ = ["RUNS", "find_folder", "find_study", "list_studies", "read_instead", "studies_in"]

RUNS = Path("runs")
"""Where studies run where nothing else is said."""

_OWN = Path("sweeps")
_MOST_LISTED = 20


def find_study(name: str, directory: Path = RUNS) -> Path:
    """The sweep file of this name; of a study's folder, the file in it that holds the study as it is run.

    Args:
        name: a sweep file's path; the path of a study's folder; the name of a file in `sweeps/` or
            `sweeps/reports/`, with or without its ending, or the study's name that stands in such a file,
            where one's own come before those shipped with the harness; or a study's name in `directory`.
        directory: where studies run.

    Raises:
        ValueError: there is none, the nearest name is offered; or several files hold a study of this name.
    """
    if (folder := _folder_at(name)) is not None:
        return StudyFolder(folder).text
    if (path := _find_file(name)) is not None:
        return path
    if (folder := _folder_at(directory / name)) is not None:
        return StudyFolder(folder).text
    raise ValueError(_unknown(name, directory))


def find_folder(name: str, directory: Path = RUNS) -> Path | None:
    """The study's folder that `find_study` finds by this name; None where it finds a sweep file, or nothing.

    Args:
        name: see `find_study`.
        directory: where studies run.

    Raises:
        ValueError: several files hold a study of this name.
    """
    folder = _folder_at(name)
    return _folder_at(directory / name) if folder is None and _find_file(name) is None else folder


def read_instead(name: str) -> str:
    """Where a study shipped with the harness is read, though there is a `sweeps/` here: what to know of it.

    Args:
        name: by which `find_study` found it.
    """
    own, shipped = _folders()
    path = _find_file(name)
    if not _OWN.is_dir() or path not in shipped.values():
        return ""
    hint = nearest(_stem(name), [*own, *filter(None, map(_study_name, own.values()))])
    return (
        f"`{_OWN}/` here has no study {shown(_stem(name))}{hint or '.'} The one shipped with the harness is "
        f"read. In `{_OWN}/`: {listed(own, _MOST_LISTED) or 'none'}."
    )


def studies_in(directory: Path) -> list[str]:
    """The names of the studies that run in a folder."""
    return sorted(path.parent.name for path in directory.glob(f"*/{StudyFolder(directory).plan.name}"))


def _folder_at(path: str | Path) -> Path | None:
    """The folder, if it is a study's, under the name that it has: not `.`, `..` or a link's."""
    folder = Path(path).expanduser()
    if not str(path) or not StudyFolder(folder).plan.is_file():
        return None
    return folder.resolve() if folder.name in ("", "..") or folder.is_symlink() else folder


def _find_file(name: str) -> Path | None:
    """The sweep file of this path or name."""
    if Path(name).is_file():
        return Path(name)
    for files in _folders():
        if _stem(name) in files:
            return files[_stem(name)]
        found = [path for path in files.values() if _study_name(path) == _stem(name)]
        if len(found) > 1:
            paths = ", ".join(map(str, found))
            raise ValueError(f"{shown(name)} is the name of several studies; give a path: {paths}.")
        if found:
            return found[0]
    return None


def _stem(name: str) -> str:
    return name.removesuffix(".yaml").removesuffix(".yml")


def _unknown(name: str, directory: Path) -> str:
    """What there is, where nothing is of this name."""
    own, shipped = _folders()
    studies = {path: _study_name(path) for path in (*own.values(), *shipped.values())}
    run = studies_in(directory)
    broken = [str(path) for path, study in studies.items() if study is None]
    known = [f"in `{_OWN}/`: {', '.join(own) or 'none'}", f"shipped: {', '.join(shipped) or 'none'}"]
    known += [f"in `{directory}/`: {listed(run, _MOST_LISTED)}"] if run else []
    known += [f"not readable: {', '.join(broken)}"] if broken else []
    if name and Path(name).is_dir():
        return (
            f"{name} is not a study's folder: there is no {StudyFolder(Path(name)).plan.name} in it. Known "
            f"studies {'; '.join(known)}."
        )
    here = [
        str(path)
        for folder in (Path(name).parent, _OWN)
        for path in folder.glob("*.y*ml")
        if _stem(path.name) == _stem(Path(name).name)
    ]
    names = [*own, *shipped, *filter(None, studies.values()), *run]
    hint = f"; did you mean `{here[0]}`?" if here else nearest(_stem(name), names) or "."
    return f"unknown sweep {shown(name)}{hint} Known {'; '.join(known)}; or give a path."


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
