"""A study's report, written where it is not whole or not of these results, and shown in W&B."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

from harness.analysis.rates import judged_arms, rate_of_wrong, rates
from harness.analysis.summary import Summary, summarise
from harness.files import write_text
from harness.planning.plan import Plan
from harness.report.page import write_pages
from harness.runs.folder import RunFolder, finished_runs, run_directory
from harness.study.folder import StudyFolder
from harness.tracking import log_summary, wandb_mode
from harness.version import __version__

__all__ = ["publish"]

_FILES = ("index.html", "table.csv", "table.md", "table.tex", "comparisons.csv", "verdicts.csv")
"""What a report must have to be left as it is."""


def publish(plan: Plan, wandb: str) -> Path:
    """Write the report, unless the one that is there is whole and was written from these very results.

    Args:
        plan: The study's plan.
        wandb: Mode of the W&B mirror.

    Returns:
        The report's folder.

    Raises:
        ValueError: As `write_report`.
    """
    folder = StudyFolder(plan.directory).report
    stamp = folder / ".made-from"
    inputs = _fingerprint(plan)
    is_whole = all((folder / name).exists() for name in (*_FILES, "figures"))
    if is_whole and stamp.exists() and stamp.read_text(encoding="utf-8") == inputs:
        return folder
    summary = summarise(plan.directory)
    folder = write_pages(summary)
    if wandb_mode(wandb) != "disabled":
        _mirror(summary, folder, wandb)
    write_text(stamp, inputs)
    return folder


def _mirror(summary: Summary, folder: Path, wandb: str) -> None:
    """Show the report in W&B, as the study's one run named `summary`."""
    numbers: dict[str, float] = {}
    for arm in summary.arms:
        found = summary.estimates[arm.name]
        row = {"num_seeds": len(arm.runs), "num_failed": len(arm.failed), "mean": found.mean}
        row |= {"num_absurd": len(arm.absurd(summary.metric, summary.at))}
        row |= {"iqm": found.iqm, "ci_low": found.interval.low, "ci_high": found.interval.high}
        row |= {"iqm_ci_low": found.iqm_interval.low, "iqm_ci_high": found.iqm_interval.high}
        numbers |= {f"table/{arm.name}/{column}": value for column, value in row.items()}
    for arm in judged_arms(summary):
        for verdict, rate in {**rates(arm), "any-wrong": rate_of_wrong(arm)}.items():
            shares = {"rate": rate.share, "ci_low": rate.interval.low, "ci_high": rate.interval.high}
            numbers |= {f"verdicts/{arm.name}/{verdict}/{column}": x for column, x in shares.items()}
    log_summary(
        summary.directory,
        summary.study.name,
        scalars={key: value for key, value in numbers.items() if not math.isnan(value)},
        images={f"figures/{path.stem}": path for path in sorted((folder / "figures").glob("*.png"))},
        files=[folder / name for name in ("table.csv", "comparisons.csv", "verdicts.csv", "index.html")],
        config=summary.study.to_json(),
        tags=["summary"],
        mode=wandb,
    )


def _fingerprint(plan: Plan) -> str:
    """A hash of all that a report is made from."""
    digest = hashlib.sha256(f"{__version__}\n".encode())
    folder = StudyFolder(plan.directory)
    runs = [run_directory(folder.path, run_id) for run_id in sorted(finished_runs(folder.path))]
    files = [folder.plan, *(RunFolder(path).result for path in runs)]
    for path in files:
        digest.update(f"{path.parent.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()
