"""The ids of W&B runs, and the folders that W&B keeps of them.

A W&B run is opened again whenever its training is resumed, and each time leaves a folder, a segment. A server
gives up neither the rows of an id nor the id itself, so a run that is trained anew needs a new id while a
resumed one needs its old one: the folder `ids` remembers which is in use.
"""

from __future__ import annotations

import re
import secrets
import shutil
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from harness.files import encodable, write_text

__all__ = ["claim_id", "drop_segment", "find_segments", "is_first_alert", "settle_id"]

_DONE = "done"
_MAX_BASE = 100  # W&B allows 128 characters
_RANDOM = re.compile(r"-[0-9a-f]{6}$")


def claim_id(folder: Path, study: str, run_id: str, *, resumed: bool) -> str:
    """Choose the W&B id of a run that is about to be opened.

    Args:
        folder: The folder that holds W&B's files.
        study: Name of the study.
        run_id: The run's id within its study.
        resumed: Whether training goes on from a checkpoint. If it does not, but the run's last training was
            cut short, the id is kept too: the same training begins again and brings the same rows.

    Returns:
        `<study>-<run id>-<six random digits>`, with any characters that W&B refuses replaced.
    """
    base = _base(study, run_id)
    path = folder / "ids" / base
    identity, _, state = (
        path.read_text(encoding="utf-8").strip().partition(" ") if path.is_file() else ("", "", "")
    )
    if not identity or (state == _DONE and not resumed):
        identity = f"{base}-{secrets.token_hex(3)}"
    _write(path, identity)
    return identity


def settle_id(folder: Path, identity: str) -> None:
    """Note in W&B's `folder` that the run `identity` has its result; trained anew it is another W&B run."""
    _write(folder / "ids" / _RANDOM.sub("", identity), f"{identity} {_DONE}")


def is_first_alert(folder: Path, identity: str) -> bool:
    """Whether no alert was sent for a run before, say by a training that was killed since.

    To be asked right before one is sent: the next time, the answer is no.

    Args:
        folder: W&B's folder.
        identity: id of the run.
    """
    path = folder / "alerts" / identity
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def find_segments(folder: Path, identity: str) -> list[Path]:
    """The folders in `folder` that hold parts of the run `identity`, whatever random digits its ids had."""
    stem = f"run-{_RANDOM.sub('', identity)}"
    return [log.parent for log in folder.glob("*/run-*.wandb") if _RANDOM.sub("", log.stem) == stem]


def drop_segment(segment: Path) -> None:
    """Remove a segment. Renamed first, it is out of reach of a service that still writes to it by name."""
    with suppress(OSError):
        segment = segment.replace(segment.with_name(f"dropped-{segment.name}"))
    shutil.rmtree(segment, ignore_errors=True)


def _base(study: str, run_id: str) -> str:
    wanted = f"{study}-{run_id}"
    base = re.sub(r"[^A-Za-z0-9_.-]", "_", wanted)
    if base != wanted or len(base) > _MAX_BASE:
        base = f"{base[:60]}-{sha256(encodable(wanted).encode()).hexdigest()[:12]}"
    return base


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, f"{text}\n")
