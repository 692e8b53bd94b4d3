"""How the verdict fares on runs whose fate was told by eye: tables that anybody can compute again.

    python -m harness.analysis.calibration write OUT RUNS... --labels labels.csv
    python -m harness.analysis.calibration check OUT
    python -m harness.analysis.calibration leave-out OUT

`write` reads the histories of studies and leaves in OUT: `readings.csv`, the numbers of every evaluation that
the rules look at; `runs.csv`, one line a run with its label and its verdicts; `confusion.csv`, labels against
verdicts. `check` judges the readings anew, by the rules as they are now, and says what differs. `leave-out`
chooses fourteen of the rules' numbers anew for each design from all the others, by a search that starts from
none of those in use, and judges the design left out by them: `left_out.csv` and `confusion_left_out.csv`. The
rules themselves, their other numbers and the values tried were chosen with all designs in view.

The labels are given by hand, from samples and class recall, by somebody who does not look at the verdict.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from harness.data import load_dataset
from harness.engine.schedule import count_steps
from harness.files import csv_text, write_text
from harness.objective.objective import chance_loss
from harness.runs.folder import RunFolder, find_results, read_recipe, run_directory
from harness.runs.result import RunResult
from harness.terminal import degrade_output
from harness.tracking import read_history
from harness.verdict.judge import HOPELESS, UNJUDGED, VERDICTS, Thresholds, judge_history, replayed

__all__ = [
    "Calibrated",
    "Labelled",
    "check_calibration",
    "choose_thresholds",
    "confusion",
    "judge_labelled",
    "labelled_runs",
    "leave_designs_out",
    "main",
    "read_table",
    "write_calibration",
]

_EVALUATED = (
    *("bin_recall", "class_recall", "class_recall_clear", "class_surplus", "mode_recall", "mode_surplus"),
    *("coverage_over_real", "density_over_real", "precision_over_real", "recall_over_real"),
    *("pair_distance", "confident_over_real", "high_quality", "sharpness", "repeated", "memorised"),
    *("frechet", "frechet_over_trace", "sliced_w2", "d_auc"),
)
_LOGGED = ("g_grad_norm", "d_loss", "d_real", "d_fake", "d_auc")
_KEYS = (*(f"eval/{name}" for name in _EVALUATED), *(f"train/{name}" for name in _LOGGED))
_NORM = "train/g_grad_norm"
_EARLY = 0.2
"""Share of the budget by which a failure should have been called by its name."""

_GRID: Mapping[str, tuple[Any, ...]] = {
    "clear": (0.15, 0.2, 0.25, 0.3),
    "immature_density": (0.2, 0.3, 0.4),
    "immature_precision": (0.5, 0.6, 0.7),
    "immature_misfit": (0.12, 0.18, 0.25),
    "partial_modes": (0.5, 0.6, 0.7),
    "partial_coverage": (0.15, 0.25, 0.35),
    "collapsed_pair_distance": (0.03, 0.05, 0.1),
    "collapsed_modes": (0.1, 0.15, 0.2),
    "moved": (0.1, 0.25, 0.5),
    "fallen_spread": (0.3, 0.5, 0.7),
    "falling": (0.01, 0.03, 0.1),
    "fooled_loss_share": (0.4, 0.6, 0.8),
    "lost_loss_share": (1.02, 1.05, 1.2),
    "saturated_loss_share": (0.003, 0.01, 0.03),
}
"""The numbers that a search chooses, and the values that it tries; it starts from the first of each."""
_PASSES = 2


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """A run's readings, and what eyes said of it.

    Attributes:
        study, arm, seed: which run.
        design: runs of one design differ in their seeds alone.
        label: one of `VERDICTS`, by eye.
        also: other verdicts that would not be wrong either.
        history: its evaluations, as rows of a `history.jsonl`.
        total_steps: its budget.
        chance: the loss of a D that cannot tell; None where it has no floor.
        first_grad_norm: the first norm of G's gradient; None where it is not known.
        diverged_at: the step at which training found a number that is not finite; None where it did not.
    """

    study: str
    arm: str
    seed: int
    design: str
    label: str
    also: tuple[str, ...]
    history: tuple[Mapping[str, float], ...]
    total_steps: float
    chance: float | None
    first_grad_norm: float | None
    diverged_at: float | None

    @property
    def failed(self) -> bool:
        """Whether eyes say that it has failed, or might have."""
        return bool({self.label, *self.also} & HOPELESS)


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """A run, what eyes said of it, and what the rules say.

    Attributes:
        study, arm, seed, design, label: as in `Labelled`.
        verdict: at its last evaluation; `unjudged` where readings are missing without which nothing can be
            called healthy, and which is never acceptable.
        acceptable: whether that is the label, or would not be wrong either.
        early: the first hopeless verdict within a fifth of its budget, or "".
        hopeless_once: whether it was called hopeless at any evaluation.
        timeline: the first letter of each verdict, D, C, S (d-saturated), P, I, H, U (unjudged).
    """

    study: str
    arm: str
    seed: int
    design: str
    label: str
    verdict: str
    acceptable: bool
    early: str
    hopeless_once: bool
    timeline: str


def write_calibration(out: Path, studies: Sequence[Path], labels: Path) -> list[Calibrated]:
    """Write `readings.csv`, `runs.csv` and `confusion.csv`.

    Args:
        out: a folder; made if need be. Runs whose readings it has already need no history any more.
        studies: folders of studies, or of `harness train`, with `runs/` in them.
        labels: columns study, arm, seed, design, label, also (verdicts that would not be wrong either, with
            spaces between), why.

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
        for name in (row["label"], *row["also"].split()):
            if name not in VERDICTS:
                raise ValueError(f"{labels}: `label` must be one of {', '.join(VERDICTS)}, but got {name}.")
        if key not in found and key not in kept:
            raise ValueError(f"{labels}: there is no finished run {' · '.join(key)}; take the line out.")
        readings += _readings_of(*found[key], key) if key in found else kept[key]
    out.mkdir(parents=True, exist_ok=True)
    _write(out / "readings.csv", readings)
    _write(out / "labels.csv", told)
    runs = [judge_labelled(run) for run in labelled_runs(readings, told)]
    _write(out / "runs.csv", [_as_row(run) for run in runs])
    _write(out / "confusion.csv", confusion(runs))
    return runs


def check_calibration(out: Path) -> list[str]:
    """What the rules of today say otherwise than `runs.csv` does, a line a run.

    Args:
        out: where `write_calibration` has written.
    """
    recorded = {(row["study"], row["arm"], row["seed"]): row for row in read_table(out / "runs.csv")}
    differences = []
    for run in map(judge_labelled, _recorded(out)):
        before = recorded[run.study, run.arm, str(run.seed)]
        if (run.verdict, run.timeline) != (before["verdict"], before["timeline"]):
            differences.append(
                f"{run.study} · {run.arm} · seed {run.seed}: {before['verdict']} ({before['timeline']}), "
                f"and now {run.verdict} ({run.timeline})"
            )
    return differences


def labelled_runs(
    readings: Iterable[Mapping[str, str]], labels: Iterable[Mapping[str, str]]
) -> list[Labelled]:
    """The labelled runs, in the order of the labels.

    Args:
        readings: rows of `readings.csv`.
        labels: rows of `labels.csv`.
    """
    by_run: dict[tuple[str, str, str], list[Mapping[str, str]]] = {}
    for row in readings:
        by_run.setdefault((row["study"], row["arm"], row["seed"]), []).append(row)
    runs = []
    for told in labels:
        rows = by_run[told["study"], told["arm"], told["seed"]]
        first = rows[0]
        runs.append(
            Labelled(
                study=told["study"],
                arm=told["arm"],
                seed=int(told["seed"]),
                design=told["design"],
                label=told["label"],
                also=tuple(told["also"].split()),
                history=tuple(
                    {"train/step": float(row["step"])} | {k: float(row[k]) for k in _KEYS if row.get(k)}
                    for row in rows
                ),
                total_steps=float(first["total_steps"]),
                chance=_number(first["chance"]),
                first_grad_norm=_number(first["first_g_grad_norm"]),
                diverged_at=_number(first["diverged_at"]),
            )
        )
    return runs


def judge_labelled(run: Labelled, thresholds: Thresholds | None = None) -> Calibrated:
    """What the rules say of a labelled run.

    Args:
        run: the run.
        thresholds: the numbers of the rules.
    """
    verdicts = judge_history(run.history, thresholds, chance=run.chance, first_grad_norm=run.first_grad_norm)
    names: list[str] = [UNJUDGED if UNJUDGED in verdict.flags else verdict.name for verdict in verdicts]
    early = [
        name
        for name, row in zip(names, run.history, strict=True)
        if name in HOPELESS and row["train/step"] <= _EARLY * run.total_steps
    ]
    if run.diverged_at is not None:  # training itself found numbers that were not finite
        names.append("diverged")
        early += ["diverged"] if run.diverged_at <= _EARLY * run.total_steps else []
    return Calibrated(
        study=run.study,
        arm=run.arm,
        seed=run.seed,
        design=run.design,
        label=run.label,
        verdict=names[-1],
        acceptable=names[-1] in (run.label, *run.also),
        early=early[0] if early else "",
        hopeless_once=any(name in HOPELESS for name in names),
        timeline="".join("S" if name == "d-saturated" else name[0].upper() for name in names),
    )


def choose_thresholds(runs: Sequence[Labelled]) -> Thresholds:
    """The numbers of the rules that suit some labelled runs best, found without those in use.

    Starting from the first value of each number that is tried, one number after the other takes the value of
    the least cost, twice over; of equal costs the first. The cost of a run is 1 if its last verdict is not
    acceptable; 1 more if it has not failed and was called hopeless on the way, 2 more if at the end; and if
    it has failed, half less where it was called so within a fifth of its budget.

    Args:
        runs: the runs to choose by.
    """
    costs = _Costs(runs)
    return _chosen(lambda thresholds: sum(costs.of(thresholds)))


def leave_designs_out(runs: Sequence[Labelled]) -> list[Calibrated]:
    """Every run judged by numbers that were chosen without any run of its design.

    Args:
        runs: all labelled runs.

    Returns:
        One for each run, in their order.
    """
    costs = _Costs(runs)
    found: dict[str, Thresholds] = {}
    for design in dict.fromkeys(run.design for run in runs):
        kept = [place for place, run in enumerate(runs) if run.design != design]
        found[design] = _chosen(partial(_cost_of_some, costs, kept))
    return [judge_labelled(run, found[run.design]) for run in runs]


def confusion(runs: Iterable[Calibrated]) -> list[dict[str, str]]:
    """Labels (rows) against verdicts (columns), counts."""
    counts = Counter((run.label, run.verdict) for run in runs)
    return [
        {"label": label} | {verdict: str(counts[label, verdict]) for verdict in (*VERDICTS, UNJUDGED)}
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


class _Costs:
    """What each run costs by some numbers of the rules, computed once: searches try the same ones again.

    Args:
        runs: the labelled runs.
    """

    def __init__(self, runs: Sequence[Labelled]) -> None:
        self._runs = runs
        self._known: dict[Thresholds, list[float]] = {}

    def of(self, thresholds: Thresholds) -> list[float]:
        """One cost a run, in their order."""
        if thresholds not in self._known:
            self._known[thresholds] = [_cost(run, judge_labelled(run, thresholds)) for run in self._runs]
        return self._known[thresholds]


def _cost(run: Labelled, found: Calibrated) -> float:
    wrong = 0.0 if found.acceptable else 1.0
    if run.failed:
        return wrong - (0.5 if found.early else 0.0)
    return wrong + (2.0 if found.verdict in HOPELESS else float(found.hopeless_once))


def _cost_of_some(costs: _Costs, places: Sequence[int], thresholds: Thresholds) -> float:
    by_run = costs.of(thresholds)
    return sum(by_run[place] for place in places)


def _chosen(cost: Callable[[Thresholds], float]) -> Thresholds:
    chosen = Thresholds(**{name: values[0] for name, values in _GRID.items()})
    for _ in range(_PASSES):
        for name, values in _GRID.items():
            chosen = min((replace(chosen, **{name: value}) for value in values), key=cost)
    return chosen


def _recorded(out: Path) -> list[Labelled]:
    return labelled_runs(read_table(out / "readings.csv"), read_table(out / "labels.csv"))


def _number(text: str) -> float | None:
    return float(text) if text else None


def _as_row(run: Calibrated) -> dict[str, str]:
    return {key: _shown(value) for key, value in vars(run).items()}


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
    leaving = commands.add_parser("leave-out", help="judge each design by numbers chosen without it")
    leaving.add_argument("out", type=Path)
    given = parser.parse_args(arguments)
    degrade_output()
    try:
        if given.command == "check":
            differences = check_calibration(given.out)
            print("\n".join(differences) or "every run is judged as it was.")
            return int(bool(differences))
        if given.command == "leave-out":
            runs = leave_designs_out(_recorded(given.out))
            _write(given.out / "left_out.csv", [_as_row(run) for run in runs])
            _write(given.out / "confusion_left_out.csv", confusion(runs))
        else:
            runs = write_calibration(given.out, given.studies, given.labels)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for row in confusion(runs):
        print("  ".join(f"{value:>16}" for value in row.values()))
    failed = [run for run in runs if run.label in HOPELESS]
    print(f"{sum(run.acceptable for run in runs)} of {len(runs)} end with an acceptable verdict.")
    print(f"{sum(bool(run.early) for run in failed)} of {len(failed)} failed runs are named in time.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
