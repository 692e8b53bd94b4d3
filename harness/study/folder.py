"""A study's folder: what lies in it, and under which names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["StudyFolder"]

_FOLDERS = ("runs", "leases", "populations", "workers")


@dataclass(frozen=True)
class StudyFolder:
    """The names of what lies in ``runs/<study>``; nothing is read or written here but by `make`.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def plan(self) -> Path:
        """How the study is carried out; the folder that has it is a study's."""
        return self.path / "plan.json"

    @property
    def text(self) -> Path:
        """The study file, everything in it resolved."""
        return self.path / "study.yaml"

    @property
    def journal(self) -> Path:
        """Optuna's journal of the trials."""
        return self.path / "journal.log"

    @property
    def winners(self) -> Path:
        """Which trial won each arm."""
        return self.path / "winners.json"

    @property
    def report(self) -> Path:
        """The folder of the report."""
        return self.path / "report"

    @property
    def runs(self) -> Path:
        """The folder of the runs; what lies in a run's folder, `harness.runs.folder` knows."""
        return self.path / "runs"

    @property
    def leases(self) -> Path:
        """The folder of leases and locks."""
        return self.path / "leases"

    @property
    def workers(self) -> Path:
        """The folder of the workers' progress and logs."""
        return self.path / "workers"

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders that workers write to."""
        return tuple(self.path / name for name in _FOLDERS)

    def lock(self, name: str) -> Path:
        """The file that is locked while `name` is written."""
        return self.leases / f"{name}.lock"

    def checkpoint(self, group: str) -> Path:
        """Where the run group of this id keeps its checkpoint while it trains."""
        return self.path / "populations" / f"{group}.pt"

    def make(self) -> None:
        """Make the folders that workers write to, and this one."""
        for folder in self.folders:
            folder.mkdir(parents=True, exist_ok=True)
