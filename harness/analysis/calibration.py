"""How the verdict fares on runs whose fate was told by eye: a table that anybody can compute again.

    python -m harness.analysis.calibration write OUT RUNS... --labels labels.csv
    python -m harness.analysis.calibration check OUT

`write` reads the histories of studies and leaves in OUT: `readings.csv`, the numbers of every evaluation that
the rules look at; `runs.csv`, one line a run with its label and its verdicts; `confusion.csv`, labels against
verdicts. `check` judges the readings anew, by the rules as they are now, and says what differs.

The labels are given by hand, from samples and class recall, by somebody who does not look at the verdict.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.data import load_dataset
from harness.engine.schedule import count_steps
from harness.files import csv_text, write_text
from harness.objective.objective import chance_loss
from harness.runs.folder import RunFolder, find_results, read_recipe, run_directory
from harness.runs.result import RunResult
from harness.tracking import read_history
from harness.verdict.judge import HOPELESS, VERDICTS, Thresholds, judge_history, replayed

__all__ = [
    "Calibrated",
    "check_calibration",
    "confusion",
    "judge_readings",
    "main",
    "read_table",
    "write_calibration",
]

_EVALUATED = (
    "class_recall",
    "bin_recall",
    "coverage_over_real",
    "density_over_real",
    "pair_distance",
    "d_auc",
    "confident_over_real",
    "frechet",
)
_LOGGED = ("g_grad_norm", "d_loss", "d_real", "d_fake")
_KEYS = (*(f"eval/{name}" for name in _EVALUATED), *(f"train/{name}" for name in _LOGGED))
_NORM = "train/g_grad_norm"
_EARLY = 0.2
"""Share of the budget by which a failure should have been called by its name."""


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """A run, what eyes said of it, and what the rules say.

    Attributes:
        study, arm, seed: which run.
        held_out: whether it had no part in choosing the thresholds.
        label: one of `VERDICTS`, by eye.
        verdict: at its last evaluation.
        early: the first hopeless verdict within a fifth of its budget, or "".
        timeline: the first letter of each verdict, D, S (d-saturated), C, P, I, H.
    """

    study: str
    arm: str
    seed: int
    held_out: bool
    label: str
    verdict: str
    early: str
    timeline: str


def write_calibration(out: Path, studies: Sequence[Path], labels: Path) -> list[Calibrated]:
    """Write `readings.csv`, `runs.csv` and `confusion.csv`.

    Args:
        out: a folder; made if need be. Runs whose readings it has already need no history any more.
        studies: folders of studies, or of `harness train`, with `runs/` in them.
        labels: columns study, arm, seed, label, held_out (yes or no), why.

    Returns:
        The runs, in the order of the labels.

    Raises:
        ValueError: a label without a run, or one that is no verdict.
    """
    told = read_table(labels)
    kept: dict[tuple[str, str, str], list[dict[str, str]]] = {}
    if (out / "readings.csv").exists():
        for row in read_table(out / "readings.csv"):
            kept.setdefault((row["study"], row["arm"], row["seed"]), []).append(row)
    readings: list[dict[str, str]] = []
    found: dict[tuple[str, str, str], tuple[Path, RunResult]] = {}
    for study in studies:
        for result in find_results(study):
            found[study.name, result.arm, str(result.seed)] = (run_directory(study, result.run_id), result)
    for row in told:
        key = (row["study"], row["arm"], row["seed"])
        if row["label"] not in VERDICTS:
            raise ValueError(
                f"{labels}: `label` must be one of {', '.join(VERDICTS)}, but got {row['label']}."
            )
        if key not in found and key not in kept:
            raise ValueError(f"{labels}: there is no finished run {' · '.join(key)}; take the line out.")
        readings += _readings_of(*found[key], key) if key in found else kept[key]
    out.mkdir(parents=True, exist_ok=True)
    _write(out / "readings.csv", readings)
    _write(out / "labels.csv", told)
    runs = judge_readings(readings, told)
    _write_runs(out, runs)
    return runs


def check_calibration(out: Path) -> list[str]:
    """What the rules of today say otherwise than `runs.csv` does, a line a run.

    Args:
        out: where `write_calibration` has written.
    """
    recorded = {(row["study"], row["arm"], row["seed"]): row for row in read_table(out / "runs.csv")}
    differences = []
    for run in judge_readings(read_table(out / "readings.csv"), read_table(out / "labels.csv")):
        before = recorded[run.study, run.arm, str(run.seed)]
        if (run.verdict, run.timeline) != (before["verdict"], before["timeline"]):
            differences.append(
                f"{run.study} · {run.arm} · seed {run.seed}: {before['verdict']} ({before['timeline']}), "
                f"and now {run.verdict} ({run.timeline})"
            )
    return differences


def judge_readings(
    readings: Iterable[Mapping[str, str]],
    labels: Iterable[Mapping[str, str]],
    thresholds: Thresholds | None = None,
) -> list[Calibrated]:
    """What the rules say of recorded readings.

    Args:
        readings: rows of `readings.csv`.
        labels: rows of `labels.csv`.
        thresholds: the numbers of the rules.
    """
    by_run: dict[tuple[str, str, str], list[Mapping[str, str]]] = {}
    for row in readings:
        by_run.setdefault((row["study"], row["arm"], row["seed"]), []).append(row)
    runs = []
    for told in labels:
        rows = by_run[told["study"], told["arm"], told["seed"]]
        chance = float(rows[0]["chance"]) if rows[0]["chance"] else None
        history = [
            {"train/step": float(row["step"])} | {key: float(row[key]) for key in _KEYS if row[key]}
            for row in rows
        ]
        norm = rows[0].get("first_g_grad_norm")
        verdicts = judge_history(
            history, thresholds, chance=chance, first_grad_norm=float(norm) if norm else None
        )
        names: list[str] = [verdict.name for verdict in verdicts]
        budget = float(rows[0]["total_steps"])
        early = [
            name
            for name, row in zip(names, rows, strict=True)
            if name in HOPELESS and float(row["step"]) <= _EARLY * budget
        ]
        if rows[0]["diverged_at"]:  # training itself found numbers that were not finite
            names.append("diverged")
            early += ["diverged"] if float(rows[0]["diverged_at"]) <= _EARLY * budget else []
        runs.append(
            Calibrated(
                study=told["study"],
                arm=told["arm"],
                seed=int(told["seed"]),
                held_out=told["held_out"] == "yes",
                label=told["label"],
                verdict=names[-1],
                early=early[0] if early else "",
                timeline="".join("S" if name == "d-saturated" else name[0].upper() for name in names),
            )
        )
    return runs


def confusion(runs: Iterable[Calibrated]) -> list[dict[str, str]]:
    """Labels (rows) against verdicts (columns), counts."""
    counts = Counter((run.label, run.verdict) for run in runs)
    return [
        {"label": label} | {verdict: str(counts[label, verdict]) for verdict in VERDICTS}
        for label in VERDICTS
    ]


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}.") from None


def _readings_of(directory: Path, result: RunResult, key: tuple[str, str, str]) -> list[dict[str, str]]:
    """A run's evaluations, each with the last numbers logged by then."""
    recipe = read_recipe(directory)
    chance = chance_loss(recipe.loss)
    data = load_dataset(recipe.data)
    _, total = count_steps(recipe.train, len(data.train), data.name)
    diverged_at = str(int(result.ledger["discriminator_steps"])) if result.outcome == "diverged" else ""
    told = dict(zip(("study", "arm", "seed"), key, strict=True))
    known = list(replayed(read_history(RunFolder(directory).history)))
    norm = next((logged[_NORM] for _, _, logged in known if _NORM in logged), None)
    readings = []
    for step, scores, logged in known:
        if not scores:
            continue
        numbers = logged | {f"eval/{name}": value for name, value in scores.items()}
        readings.append(
            {
                **told,
                "total_steps": str(total),
                "chance": "" if chance is None else f"{chance:.6g}",
                "diverged_at": diverged_at,
                "first_g_grad_norm": "" if norm is None else f"{norm:.6g}",
                "step": str(step),
                **{name: f"{numbers[name]:.6g}" if name in numbers else "" for name in _KEYS},
            }
        )
    return readings


def _write_runs(out: Path, runs: Sequence[Calibrated]) -> None:
    _write(out / "runs.csv", [{key: _shown(value) for key, value in vars(run).items()} for run in runs])
    tables = {"confusion": runs, "confusion_held_out": [run for run in runs if run.held_out]}
    for name, some in tables.items():
        _write(out / f"{name}.csv", confusion(some))


def _shown(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _write(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    write_text(path, csv_text([names, *([row.get(name, "") for name in names] for row in rows)]))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m harness.analysis.calibration", description=__doc__)
    commands = parser.add_subparsers(required=True, dest="command")
    writing = commands.add_parser("write", help="from histories to tables")
    writing.add_argument("out", type=Path)
    writing.add_argument("studies", type=Path, nargs="+")
    writing.add_argument("--labels", type=Path, required=True)
    checking = commands.add_parser("check", help="judge the recorded readings anew")
    checking.add_argument("out", type=Path)
    given = parser.parse_args(arguments)
    try:
        if given.command == "check":
            differences = check_calibration(given.out)
            print("\n".join(differences) or "every run is judged as it was.")
            return int(bool(differences))
        runs = write_calibration(given.out, given.studies, given.labels)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for row in confusion(runs):
        print("  ".join(f"{value:>16}" for value in row.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
