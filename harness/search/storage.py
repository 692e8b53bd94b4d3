"""The study's memory of trials: one Optuna journal, ``runs/<study>/journal.log``, for all of its workers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from harness.files import replaced
from harness.leases import locked
from harness.study.folder import StudyFolder

__all__ = ["open_storage", "repair_journal"]


class _Journal(JournalFileBackend):
    """A journal that drops a torn last line, left by a killed writer, before it adds to it.

    Its lock is one that the kernel drops with its holder; Optuna's own outlive a kill by half a minute.
    """

    def __init__(self, path: Path) -> None:
        self._journal = path
        super().__init__(str(path))

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        with locked(_lock_of(self._journal)):
            _drop_torn_line(self._journal)
            lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
            with self._journal.open("ab") as file:
                file.write(lines.encode())
                file.flush()
                os.fsync(file.fileno())


def open_storage(study_directory: Path) -> JournalStorage:
    """Open a study's journal, made if it is not there and repaired if need be.

    Args:
        study_directory: ``runs/<study>``; it must exist.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = StudyFolder(study_directory).journal
    repair_journal(path)
    return JournalStorage(_Journal(path))


def repair_journal(path: Path) -> int:
    """Drop the lines of a journal that no reader could decode, under its lock.

    A killed writer leaves at most a torn last line, but one bad line anywhere stops every reader at it.

    Args:
        path: The journal; it need not exist.

    Returns:
        The number of lines dropped.
    """
    if not path.exists():
        return 0
    with locked(_lock_of(path)):
        lines = path.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if _is_whole(line)]
        if len(kept) < len(lines):
            with replaced(path) as temporary:
                temporary.write_bytes(b"".join(kept))
        return len(lines) - len(kept)


def _lock_of(journal: Path) -> Path:
    """Held while the journal is written."""
    return StudyFolder(journal.parent).lock("journal")


def _is_whole(line: bytes) -> bool:
    if not line.endswith(b"\n"):
        return False
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _drop_torn_line(path: Path) -> None:
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        if size == 0:
            return
        file.seek(size - 1)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        whole = file.read().rfind(b"\n") + 1
        file.truncate(whole)
