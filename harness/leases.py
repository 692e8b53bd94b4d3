"""Who is working on what: one lease a unit of work, taken by at most one process at a time.

A lease is an exclusive `flock` on a file that also says who holds it. The kernel drops the lock the moment
its holder dies, however it dies, so there is no such thing as a stale lease: no clock to compare, no process
id that another program may have got since, nothing to clean up by hand. It holds between processes of one
machine, and between machines on file systems that pass locks on (NFS 4 does).
"""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["Lease", "holder", "locked", "take_lease"]


class Lease:
    """An exclusive claim on one unit of work; see `take_lease`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Give the unit back. The file goes first, while the lock is still held: see `take_lease`."""
        if self._descriptor is None:
            return
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = None

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
    path = directory / f"{unit}.json"
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        if _is_still_at(path, descriptor):
            break
        # Its last holder deleted it between our opening and our locking it: that is a lock on nothing.
        os.close(descriptor)
    os.ftruncate(descriptor, 0)
    os.write(
        descriptor, json.dumps({"unit": unit, "pid": os.getpid(), "host": socket.gethostname()}).encode()
    )
    return Lease(path, descriptor)


def holder(directory: Path, unit: str) -> dict[str, Any] | None:
    """Who holds a unit's lease: ``{"unit", "pid", "host"}``, or None if nobody alive does."""
    path = directory / f"{unit}.json"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.read(descriptor, 4096).decode()
        return dict(json.loads(text)) if text else {"unit": unit, "pid": 0, "host": ""}
    else:
        return None
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file for the length of a ``with`` block, waiting for it if need be.

    The file stays, empty; it and its folder are made if they are not there.
    """
    path.parent.mkdir(exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _is_still_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
