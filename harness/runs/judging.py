"""Judge runs that are over anew: their verdicts by the rules of today, from the histories that they left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.files import write_json
from harness.objective.objective import chance_loss
from harness.runs.folder import RunFolder, find_results, read_recipe, run_directory
from harness.runs.result import RunResult
from harness.tracking import read_history
from harness.verdict.timeline import RunVerdicts

__all__ = ["judge_anew", "judge_study_anew"]


def judge_study_anew(study_directory: Path) -> int:
    """Judge a study's finished runs by the rules as they are now, and keep the verdicts in their results.

    What a run did is left as it was: one that was stopped as hopeless stays stopped, whatever it is called
    now.

    Args:
        study_directory: ``runs/<study>``.

    Returns:
        How many runs end in another verdict than before.

    Raises:
        ValueError: A run has no history, or a file of it cannot be read.
    """
    changed = 0
    for result in find_results(study_directory):
        folder = run_directory(study_directory, result.run_id)
        judged = judge_anew(folder, result)
        if judged != result:
            write_json(RunFolder(folder).result, judged.to_json())
        changed += judged.verdict_name != result.verdict_name
    return changed


def judge_anew(folder: Path, result: RunResult) -> RunResult:
    """A finished run's result with the verdicts that the rules of today give its history.

    Args:
        folder: the run's folder.
        result: what it left.

    Raises:
        ValueError: It has no history, or a file of it cannot be read.
    """
    history = RunFolder(folder).history
    if not history.exists():
        raise ValueError(
            f"{history} is gone, so run {result.run_id} cannot be judged anew; leave out --judge-anew."
        )
    verdicts = RunVerdicts(chance=chance_loss(read_recipe(folder).loss))
    verdicts.replay(read_history(history))
    if result.outcome == "diverged":
        verdicts.diverged(int(result.verdict["step"]), str(result.verdict["rule"]))
    return replace(result, verdict=verdicts.to_json())
