"""A run's folder: the names of the files in it, which are spelled here alone, and how they are read.

A run is finished when, and only when, its result is there; that is written in one move, last of all. Whatever
reads results (the workers on resuming, the report, the status on the screen) reads them here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from harness.files import read_json
from harness.recipe import Recipe
from harness.recipe.plugins import ModuleMissing, changed, recorded_code
from harness.runs.result import RunResult
from harness.study.folder import StudyFolder
from harness.words import listed

__all__ = [
    "Checkpoint",
    "RunFolder",
    "find_results",
    "find_runs",
    "finished_runs",
    "load_result",
    "read_recipe",
    "run_directory",
]

Checkpoint: TypeAlias = Literal["last", "best"]

_ID = re.compile(r"[0-9a-f]{12}")
"""What `harness.recipe.run_id` gives."""
_RENAMED = {"cell": "arm", "selection": "best_checkpoint"}
"""Fields of results that earlier versions wrote, and what they are called now."""


@dataclass(frozen=True)
class RunFolder:
    """The names of a run's files; nothing is read or written here.

    Attributes:
        path: ``<study>/runs/<run id>``, or wherever the folder was copied to.
    """

    path: Path

    @property
    def recipe(self) -> Path:
        """What is trained; there from the start."""
        return self.path / "recipe.json"

    @property
    def history(self) -> Path:
        """The rows of `harness.tracking.HistoryTracker`."""
        return self.path / "history.jsonl"

    @property
    def result(self) -> Path:
        """The result; there once the run is finished."""
        return self.path / "result.json"

    @property
    def samples(self) -> Path:
        """The folder of what was drawn."""
        return self.path / "samples"

    @property
    def film(self) -> Path:
        """The frames in a row."""
        return self.samples / "run.gif"

    @property
    def reals(self) -> Path:
        """Training images, where the data are images."""
        return self.samples / "real.png"

    @property
    def scene(self) -> Path:
        """The last frame as data, where the data are points."""
        return self.samples / "final.npz"

    @property
    def latent(self) -> Path:
        """The folder of what ``harness latent`` has drawn."""
        return self.path / "latent"

    def checkpoint(self, which: Checkpoint = "last") -> Path:
        """The networks of the last step, or of the one chosen on half of the held-out samples."""
        return self.path / ("checkpoint.pt" if which == "last" else "best.pt")


def run_directory(study_directory: Path, run_id: str) -> Path:
    """Where the files of the run `run_id` are: ``runs/<run_id>`` in `study_directory`."""
    return StudyFolder(study_directory).runs / run_id


def find_runs(study_directory: Path) -> list[Path]:
    """The folders of a study's runs, begun or finished, by id.

    A run's folder is named by the run's id, so copies that lie beside it (``<id>.bak``) are no runs.
    """
    folders = StudyFolder(study_directory).runs.glob("*")
    return sorted(path for path in folders if _ID.fullmatch(path.name) and _is_begun(RunFolder(path)))


def finished_runs(study_directory: Path, *, with_code: bool = False) -> frozenset[str]:
    """Ids of the runs that have a result.

    Args:
        study_directory: ``runs/<study>``.
        with_code: whether to leave out runs that were made by other code of one's own than this process has;
            every result is read to find out.
    """
    folders = [path for path in find_runs(study_directory) if RunFolder(path).result.exists()]
    if with_code:
        results = ((path, load_result(path)) for path in folders)
        folders = [path for path, result in results if result is not None and result.is_current]
    return frozenset(path.name for path in folders)


def find_results(study_directory: Path, known: Collection[str] = ()) -> list[RunResult]:
    """The results of a study's finished runs, by id, but for those that are known already.

    Args:
        study_directory: ``runs/<study>``.
        known: ids of the runs to leave out.

    Raises:
        ValueError: If a file is there but is not a result.
    """
    found = {run_id: load_result(run_directory(study_directory, run_id))
             for run_id in sorted(finished_runs(study_directory) - set(known))}  # fmt: skip
    return [result for run_id, result in found.items() if result is not None and result.run_id == run_id]


def load_result(directory: Path) -> RunResult | None:
    """The result in a run's folder, or None if the run has not finished.

    Raises:
        ValueError: If the file is there but is not a result, or is one of an earlier version of the harness.
    """
    path = RunFolder(directory).result
    if not path.exists():
        return None
    try:
        values = read_json(path)
        old = next((name for name in _RENAMED if name in values), None)
        if old is None:
            return RunResult.from_json(values)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is not a run's result ({error}); delete it to train the run again."
        ) from None
    study = directory.parents[1] if directory.parent.name == StudyFolder(directory).runs.name else directory
    raise ValueError(
        f"{path} was written by an earlier version of the harness (`{old}` is `{_RENAMED[old]}` now); move "
        f"{study} away, or choose another folder with --directory."
    )


def read_recipe(directory: Path) -> Recipe:
    """The recipe in a run's folder.

    Raises:
        ValueError: If it is not one, in one line that names the file.
    """
    path = RunFolder(directory).recipe
    values = read_json(path)
    try:
        return Recipe.from_json(values)
    except ModuleMissing as error:
        raise ValueError(f"{path} {error}") from None
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        if isinstance(values, dict) and (files := _changed_files(values)):
            raise ValueError(
                f"{path} does not fit {listed(files)}, changed since the run was trained "
                f"({str(error).rstrip('.')}); bring back the code of then, or train the run anew."
            ) from None
        raise ValueError(
            f"{path} is no recipe of this version of the harness ({str(error).rstrip('.')}); delete the "
            "run's folder to train it again."
        ) from None


def _changed_files(recipe: Mapping[str, Any]) -> list[str]:
    """The files that a recipe was made with and that are others now, each in backticks."""
    try:
        return [f"`{file}`" for file in changed(recorded_code(recipe.get("imports")))]
    except (TypeError, AttributeError, KeyError):
        return []  # no list of modules: the recipe is damaged


def _is_begun(folder: RunFolder) -> bool:
    return folder.recipe.exists() or folder.result.exists()
