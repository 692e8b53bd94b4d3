"""A study's report, written where it is not whole or not of these results, and shown in W&B."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

from harness.files import write_text
from harness.planning.plan import Plan
from harness.report.page import write_report
from harness.tracking import log_summary, wandb_mode
from harness.version import __version__

__all__ = ["publish"]


def publish(plan: Plan, wandb: str) -> Path:
    """Write the report, unless the one that is there is whole and was written from these very results."""
    folder = plan.directory / "report"
    stamp = folder / ".made-from"
    inputs = _fingerprint(plan)
    is_whole = all((folder / name).exists() for name in (*_FILES, "figures"))
    if is_whole and stamp.exists() and stamp.read_text(encoding="utf-8") == inputs:
        return folder
    folder = write_report(plan.directory)
    if wandb_mode(wandb) != "disabled":
        _mirror(plan, folder, wandb)
    write_text(stamp, inputs)
    return folder


def _mirror(plan: Plan, folder: Path, wandb: str) -> None:
    """Show the report in W&B, as the study's one run named `summary`."""
    scalars: dict[str, float] = {}
    with (folder / "table.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            known = {column: float(row[column]) for column in _MIRRORED if row[column]}
            scalars |= {f"table/{row['arm']}/{column}": value for column, value in known.items()}
    with (folder / "verdicts.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            known = {column: float(row[column]) for column in ("rate", "ci_low", "ci_high") if row[column]}
            key = f"verdicts/{row['arm']}/{row['verdict']}"
            scalars |= {f"{key}/{column}": value for column, value in known.items()}
    log_summary(
        plan.directory,
        plan.study.name,
        scalars=scalars,
        images={f"figures/{path.stem}": path for path in sorted((folder / "figures").glob("*.png"))},
        files=[folder / name for name in ("table.csv", "comparisons.csv", "verdicts.csv", "index.html")],
        config=plan.study.to_json(),
        tags=["summary"],
        mode=wandb,
    )


def _fingerprint(plan: Plan) -> str:
    """A hash of all that a report is made from."""
    digest = hashlib.sha256(f"{__version__}\n".encode())
    files = [plan.directory / "plan.json", *sorted((plan.directory / "runs").glob("*/result.json"))]
    for path in files:
        digest.update(f"{path.parent.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


_MIRRORED = ("num_seeds", "num_failed", "mean", "iqm", "ci_low", "ci_high")
"""Columns of the table that W&B shows as numbers of the study."""


_FILES = ("index.html", "table.csv", "table.md", "table.tex", "comparisons.csv", "verdicts.csv")
"""What a report must have to be left as it is."""
