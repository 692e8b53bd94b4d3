"""Read back what a run wrote to its .wandb log, with no network and no service.

The file is a LevelDB-style log: a 7-byte file header, then 32 KiB blocks of chunks
(crc 4, length 2, type 1: 1 whole, 2 first, 3 middle, 4 last), each record one protobuf `Record`.
"""

from __future__ import annotations

import importlib
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BLOCK = 32768


@dataclass
class LoggedRun:
    """What one .wandb log holds.

    Attributes:
        folder: The run's folder.
        run: Its run record: `run_id`, `run_group`, `job_type`, `display_name`, `tags`, `project`.
        config: Its nested configuration.
        rows: Its history rows, W&B's own keys left out.
        summary: Its summary, W&B's own keys left out.
        step_metrics: Metric or glob → the metric it is drawn against.
        finished: Whether the log ends with an exit record.
    """

    folder: Path
    run: Any = None
    config: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    step_metrics: dict[str, str] = field(default_factory=dict)
    finished: bool = False

    @property
    def numbers(self) -> list[dict[str, Any]]:
        """The rows without images."""
        return [row for row in self.rows if not any(isinstance(value, dict) for value in row.values())]

    @property
    def images(self) -> list[tuple[str, Path, int]]:
        """(key, file, train/step) of every image and film."""
        return [
            (key, self.folder / "files" / value["path"], row["train/step"])
            for row in self.rows
            for key, value in row.items()
            if isinstance(value, dict) and value.get("_type") in ("image-file", "video-file")
        ]


def read_run(folder: Path) -> LoggedRun:
    """Read the log in a run's folder."""
    (path,) = folder.glob("run-*.wandb")
    found = LoggedRun(folder)
    for record in records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found.run = record.run
            _update(found.config, record.run.config.update)
        elif kind == "config":
            _update(found.config, record.config.update)
        elif kind == "summary":
            _update(found.summary, record.summary.update)
        elif kind == "history":
            row: dict[str, Any] = {}
            _update(row, record.history.item)
            found.rows.append({key: value for key, value in row.items() if not key.startswith("_")})
        elif kind == "metric":
            found.step_metrics[record.metric.glob_name or record.metric.name] = record.metric.step_metric
        elif kind == "exit":
            found.finished = True
    found.config.pop("_wandb", None)
    found.summary = {key: value for key, value in found.summary.items() if not key.startswith("_")}
    return found


def records(path: Path) -> Iterator[Any]:
    """The log's records, up to where a killed run's log breaks off."""
    record_type = importlib.import_module("wandb.proto.wandb_internal_pb2").Record
    data = path.read_bytes()
    if data[:4] != b":W&B":
        raise ValueError(f"{path} is not a .wandb file")
    at, parts = 7, b""
    while at + 7 <= len(data):
        left = BLOCK - at % BLOCK
        if left < 7:  # too short for a chunk header: padding
            at += left
            continue
        _crc, length, kind = struct.unpack_from("<IHB", data, at)
        if kind == 0 or at + 7 + length > len(data):
            return  # the tail of a run that was killed
        chunk, at = data[at + 7 : at + 7 + length], at + 7 + length
        parts = chunk if kind in (1, 2) else parts + chunk
        if kind in (1, 4):
            yield record_type.FromString(parts)


def _update(target: dict[str, Any], items: Any) -> None:
    for item in items:
        *outer, last = item.nested_key or [item.key]
        inner = target
        for key in outer:
            inner = inner.setdefault(key, {})
        inner[last] = json.loads(item.value_json)
