"""Who is working on what: one lease a unit of work, taken by at most one process at a time.

A lease is a lock of the kernel's on a file that also says who holds it. The kernel drops it the moment its
holder dies, however it dies, so there is no such thing as a stale lease: no clock to compare, no process id
that another program may have got since, nothing to clean up by hand. It holds between processes of one
machine, and between machines on file systems that pass locks on (NFS 4 does). A file system without such
locks is refused: a lock that is a mere file would outlive its holder.
"""

import json
import os
import socket
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

__all__ = ["Lease", "holder", "locked", "take_lease"]

_POLL_SEC = 0.005


class Lease:
    """An exclusive claim on one unit of work, until it is released or nothing refers to it; see `take_lease`.

    Raises:
        Timeout: another process, or this one, holds it.
        OSError: the file system has no locks, or the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = FileLock(path, thread_local=False, fallback_to_soft=False, on_acquired=_sign)
        self._lock.acquire(blocking=False)

    def release(self) -> None:
        """Give the unit back. Its file goes first: once unlocked, it may be another's."""
        if self._lock.is_locked:
            self._path.unlink(missing_ok=True)
            self._lock.release()

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def take_lease(directory: Path, unit: str) -> Lease | None:
    """Claim a unit of work.

    Args:
        directory: The folder of leases; it must exist.
        unit: The unit's name, fit for a file name.

    Returns:
        The lease, or None while another living process (or this one) holds it.
    """
    try:
        return Lease(directory / f"{unit}.json")
    except Timeout:
        return None


def holder(directory: Path, unit: str) -> dict[str, Any]:
    """Who holds a lease that could not be taken: ``pid`` and ``host``; nothing if it was just given back.

    Args:
        directory: the folder of the leases.
        unit: name of the lease.
    """
    try:
        text = (directory / f"{unit}.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    return dict(json.loads(text)) if text else {}


def locked(path: Path) -> AbstractContextManager[object]:
    """Hold an exclusive lock on a file for the length of a ``with`` block, waiting for it if need be.

    The file stays, empty; it and its folder are made if they are not there.
    """
    path.parent.mkdir(exist_ok=True)
    return FileLock(path, poll_interval=_POLL_SEC, fallback_to_soft=False)


def _sign(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.write(descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
