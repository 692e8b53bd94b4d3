"""Modules of other people: found, imported, and their code told apart.

A module that registers entries is named by `imports` in a sweep file, by `--import`, or by an entry point of
the group `gan_sweep_harness`. What is not the harness's own counts as part of a run: the source of the module
that filed an entry, and of the modules beside it in its package, is hashed when the entry is filed, and goes
into the fingerprint of every recipe that names the entry. A recipe's JSON says which modules it needs and
where they were found, so that whoever reads it need not be told again.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

__all__ = [
    "ModuleMissing",
    "Source",
    "changed",
    "code_of",
    "count_as_own",
    "import_modules",
    "import_recorded",
    "load_entry_points",
    "module_source",
    "reason_of",
    "recorded_code",
    "source_of",
]

_GROUP = "gan_sweep_harness"
_MAIN = "__main__"

_own = {"harness"}
"""Top-level packages whose entries do not count as code, for the harness's version stands for them."""
_files: dict[str, str] = {}
"""The code that this process runs: file → its hash when it was imported."""
_modules: dict[str, ModuleType | None] = {}
"""The modules whose files these are: one that failed and is imported again is another module."""


class ModuleMissing(ValueError):  # noqa: N818, for it says what is missing
    """A run or a plan needs a module that is not here; one line that says how to give it."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where an entry that is not the harness's own comes from.

    Attributes:
        module: the module that filed it.
        folder: the folder that the module is imported from; None for a notebook or a script.
        file: the module's file, if it has one.
        files: hash of the module's file and of each module beside it in its package, by path below `folder`;
            for a notebook or a script, of the entry's own source, by the entry's name.
    """

    module: str
    folder: Path | None
    file: Path | None
    files: Mapping[str, str]

    @property
    def importable(self) -> bool:
        """Whether another process can import it."""
        return self.module != _MAIN

    def to_json(self) -> dict[str, Any]:
        """What a later command needs to find it, and to see whether it has changed."""
        folder = None if self.folder is None else str(self.folder)
        return {"module": self.module, "folder": folder, "files": dict(self.files)}


def count_as_own(module: str) -> None:
    """Say that a module's package is the harness's own, as the front door does."""
    _own.add(module.split(".")[0])


def source_of(module: str, file: Path | None, entry: object) -> Source | None:
    """The source of an entry, as it is now.

    Args:
        module: name of the module that files it.
        file: the module's file, if it has one.
        entry: the entry.

    Returns:
        Its source, or None where it is the harness's own.

    Raises:
        ValueError: the entry is of no module, and its source cannot be read.
    """
    if module.split(".")[0] in _own:
        return None
    if module in (_MAIN, "__mp_main__") or file is None:
        return Source(module=_MAIN, folder=None, file=file, files=_own_source(entry))
    folder, files = _package_files(module, file.resolve())
    return Source(module=module, folder=folder, file=file, files=files)


def module_source(module: str) -> Source | None:
    """The source of a module that is imported; None where it is the harness's own, or has no file."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return source_of(module, Path(file), None) if file else None


def code_of(sources: Iterable[Source | None]) -> dict[str, str]:
    """File → hash of all sources, sorted; empty where all is the harness's own."""
    found: dict[str, str] = {}
    for source in sources:
        found |= {} if source is None else source.files
    return dict(sorted(found.items()))


def recorded_code(records: Iterable[Mapping[str, Any]] | None) -> dict[str, str]:
    """File → hash, of what `Source.to_json` gave."""
    return {file: digest for record in records or () for file, digest in record["files"].items()}


def changed(code: Mapping[str, str]) -> list[str]:
    """The files that this process knows otherwise than a record, or not at all, and those that came beside.

    Args:
        code: file → hash, as a run or a plan recorded it.
    """
    other = [file for file, digest in code.items() if _files.get(file) != digest]
    packages = {PurePosixPath(file).parent for file in code} - {PurePosixPath()}
    added = [file for file in _files if PurePosixPath(file).parent in packages and file not in code]
    return sorted({*other, *added})


def import_modules(
    modules: Sequence[str], *, folder: Path | None = None, field: str = "`imports`", hint: str = ""
) -> None:
    """Import modules that register entries; one that is imported already is left alone.

    `folder` and the working folder are searched last of all, so that they shadow nothing.

    Args:
        modules: their dotted names.
        folder: a folder to search beside the working folder: the sweep file's.
        field: who named them, for messages.
        hint: how to go on where one is not found, in place of the usual words.

    Raises:
        ValueError: one cannot be imported, or is not the one in `folder`; one line.
    """
    if not modules:
        return
    places = [place.resolve() for place in (folder, Path()) if place is not None]
    for place in places:
        if str(place) not in sys.path:
            sys.path.append(str(place))
    importlib.invalidate_caches()
    for name in modules:
        _check_name(name, field)
        if name not in sys.modules:
            _import(name, field, hint or _how_to_find(places))
        _check_is_that_of(name, places, field)
        if name.split(".")[0] not in _own:
            module_source(name)


def import_recorded(records: object) -> None:
    """Import what a plan or a recipe says that it needs, from where it was found then.

    Args:
        records: what `Source.to_json` gave, a list.

    Raises:
        ModuleMissing: a module is not there any more, or cannot be imported.
        ValueError, KeyError, TypeError: it is no such list.
    """
    if not isinstance(records, list | None):
        raise ValueError(f"`imports` must be a list, but got {records!r}.")
    for record in records or []:
        module, folder = str(record["module"]), record["folder"]
        if module in sys.modules and module != _MAIN:
            continue
        if module == _MAIN:
            absent = next((entry for entry in record["files"] if entry not in _files), None)
            if absent is not None:
                name = absent.partition(":")[2]
                raise ModuleMissing(
                    f"needs `{name}`, which a script or a notebook registered: put it in a module and name "
                    "that with `--import`."
                )
            continue
        hint = f"give it with `--import {module}` from the folder that holds it"
        if folder is not None:
            hint = f"it was in {folder}; {hint}"
        place = None if folder is None else Path(folder)
        if place is not None and not place.is_dir():
            place = None
        try:
            import_modules([module], folder=place, hint=hint)
        except ValueError as error:
            reason = str(error).removeprefix("`imports`: ")
            raise ModuleMissing(f"needs module `{module}`: {reason}") from None


def load_entry_points() -> None:
    """Import the modules that installed packages name under ``gan_sweep_harness``.

    Raises:
        ValueError: one of them cannot be imported; one line that names its package.
    """
    for point in metadata.entry_points(group=_GROUP):
        package = point.dist.name if point.dist is not None else "a package"
        import_modules(
            [point.module],
            field=f"entry point `{point.name}` of {package}",
            hint=f"mend {package}, or uninstall it",
        )


def _import(name: str, field: str, hint: str) -> None:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = str(error.name)
        if name != missing and not name.startswith(f"{missing}."):
            reason, hint = f"it needs `{missing}`, which is not here", f"install {missing.split('.')[0]}"
            raise ValueError(_sentence(field, name, reason, hint)) from None
        raise ValueError(_sentence(field, name, "there is no such module", hint)) from None
    except (Exception, SystemExit) as error:
        raise ValueError(
            _sentence(field, name, reason_of(error), "mend it, and give the command again")
        ) from None


def _sentence(field: str, name: str, reason: str, hint: str) -> str:
    return f"{field}: cannot import `{name}`: {reason}; {hint}."


def reason_of(error: BaseException) -> str:
    """An exception in a line, with the line of other people's code that raised it."""
    text = " ".join(str(error).split()).rstrip(".")
    if isinstance(error, SyntaxError):
        return f"{Path(error.filename or '').name}:{error.lineno}: {error.msg}"
    files = [getattr(sys.modules.get(name), "__file__", None) for name in ("importlib", "torch", "wandb")]
    ours = {Path(__file__).parents[1], *(Path(file).parent for file in files if file)}
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen") and ours.isdisjoint(Path(frame.filename).parents)
    ]
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}: " if frames else ""
    kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
    return f"{place}{kind}{text}"


def _how_to_find(places: Sequence[Path]) -> str:
    listed = " or ".join(str(place) for place in dict.fromkeys(places))
    return f"put it in {listed}, or install it"


def _check_name(name: object, field: str) -> None:
    is_file = isinstance(name, str) and name.endswith(".py")
    if isinstance(name, str) and not is_file and all(part.isidentifier() for part in name.split(".")):
        return
    hint = ""
    if isinstance(name, str) and is_file:
        hint = f"; write {name.removesuffix('.py').strip('./').replace('/', '.')}."
    raise ValueError(f"{field} must name modules, like my_gan.nets, but got {name!r}{hint or '.'}")


def _check_is_that_of(name: str, places: Iterable[Path], field: str) -> None:
    """Refuse a module that only has the name of the one in the first of these folders that holds one."""
    file = getattr(sys.modules[name], "__file__", None)
    stems = [place.joinpath(*name.split(".")) for place in places]
    candidates = [
        path for stem in stems for path in (stem.with_name(f"{stem.name}.py"), stem / "__init__.py")
    ]
    wanted = next((path for path in candidates if path.is_file()), None)
    if file is not None and wanted is not None and not wanted.samefile(file):
        raise ValueError(
            f"{field}: `{name}` is {file}, which is found before {wanted}; give yours another name."
        )


def _package_files(module: str, file: Path) -> tuple[Path, Mapping[str, str]]:
    """The folder that a module is imported from, and the hash of each module of its package's folder."""
    is_package = file.stem == "__init__"
    folder = file.parents[module.count(".") + is_package]
    is_new = module not in _modules or _modules[module] is not sys.modules.get(module)
    _modules[module] = sys.modules.get(module)
    files = {}
    for path in sorted({file, *(file.parent.glob("*.py") if is_package or "." in module else ())}):
        name = path.relative_to(folder).as_posix()
        if name not in _files or (is_new and path == file):
            _files[name] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        files[name] = _files[name]
    return folder, files


def _own_source(entry: object) -> dict[str, str]:
    """The hash of a function's or a class's own source, by its name; nothing for what has none."""
    if entry is None or not (inspect.isfunction(entry) or inspect.isclass(entry)):
        return {}
    functions = (
        [entry] if inspect.isfunction(entry) else list(filter(inspect.isfunction, vars(entry).values()))
    )
    try:
        texts = [inspect.getsource(function) for function in functions if _is_written(function)]
    except (OSError, TypeError):
        raise ValueError(
            f"the source of `{entry.__qualname__}` cannot be read, but is part of what a run is; put it in a "
            "module."
        ) from None
    name = f"{_MAIN}:{entry.__qualname__}"
    _files[name] = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
    return {name: _files[name]}


def _is_written(function: Any) -> bool:
    """Whether a function was written by hand; a dataclass makes some of its own."""
    return str(function.__code__.co_filename) != "<string>"
