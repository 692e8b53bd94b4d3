"""What a study found, for scripts and notebooks: its arms, its runs, the comparisons, and rows of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from harness.analysis.findings import headline
from harness.analysis.statistics import Comparison
from harness.analysis.summary import ArmResult, Summary, TrialResult, known_score, summarise
from harness.recipe.registry import nearest
from harness.runs.result import RunResult, is_absurd
from harness.search.trial import best_trial
from harness.study.folder import StudyFolder
from harness.study.target import At, Target
from harness.words import in_words, rounded

if TYPE_CHECKING:
    from harness.study.study import Study

__all__ = ["StudyResult", "load_results"]

_SUMMARIES: tuple[At, ...] = ("last", "best", "area")
_LEDGER = ("discriminator_steps", "generator_steps", "seen_images", "elapsed_sec")
_CELL = "text-align:left;padding:2px 10px"


@final
@dataclass(frozen=True, kw_only=True, repr=False)
class StudyResult:
    """What a study has found so far; of a study in progress, by the runs that have finished.

    Attributes:
        summary: all that a report shows, from which everything here is read.

    Example:
        >>> from harness import load_results
        >>> result = load_results("runs/optimizers-smoke")
        >>> [arm.name for arm in result.arms]
        ['rmsprop', 'sgd', 'adam']
    """

    summary: Summary

    @property
    def study(self) -> Study:
        """What was asked."""
        return self.summary.study

    @property
    def directory(self) -> Path:
        """The study's folder."""
        return self.summary.directory

    @property
    def report(self) -> Path:
        """The report's page: there once `run_study` or `write_report` has written it."""
        return StudyFolder(self.directory).report / "index.html"

    @property
    def is_complete(self) -> bool:
        """Whether every run has finished."""
        return self.summary.is_complete

    @property
    def target(self) -> Target:
        """What arms are compared by."""
        return self.summary.target

    @property
    def headline(self) -> str:
        """The answer in one sentence."""
        return headline(self.summary)

    @property
    def arms(self) -> tuple[ArmResult, ...]:
        """The rows of the table, in the study's order; of a search, its trials."""
        return self.summary.arms

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """Every other arm against the baseline; none if the study has no baseline."""
        return self.summary.comparisons

    @property
    def runs(self) -> tuple[RunResult, ...]:
        """Every finished run, once: those of the arms, then those that only served to tune them."""
        compared = [run for arm in self.arms for run in arm.runs]
        tried = [run for trial in self.summary.trials for run in trial.runs]
        return tuple({run.run_id: run for run in (*compared, *tried)}.values())

    def best_trial(self, arm: str | None = None) -> TrialResult | None:
        """The best trial so far.

        Args:
            arm: the tuned arm that it belongs to; by default the best of all arms.

        Returns:
            It, or None where nothing is searched, or no trial has a value yet.

        Raises:
            ValueError: the study has no such arm.
        """
        names = [asked.name for asked in self.study.arms]
        if arm is not None and arm not in names:
            raise ValueError(
                f"`arm` must be one of {', '.join(names)}, but got {arm!r}{nearest(str(arm), names) or '.'}"
            )
        trials = [trial for trial in self.summary.trials if arm is None or trial.arm == arm]
        return best_trial(trials, self.target)

    def to_rows(self) -> list[dict[str, Any]]:
        """One row for each finished run, in the order of `runs`.

        All rows have the same keys: ``run_id``, ``arm``, ``is_baseline``, ``phase``, ``trial``, ``seed``;
        each setting that sets arms or trials apart, by its dotted key; ``outcome``, ``stopped_by`` and
        ``verdict``; ``absurd``, the metrics that tell of something broken; ``<metric>_last``,
        ``<metric>_best`` and ``<metric>_area``, the study's metric first; and what the run spent. A failed
        run has the worse of its untrained generator's score and the last it had, as in the tables, so that
        the mean over an arm's rows is the arm's mean. What does not apply is None, a score that does not
        exist NaN.
        """
        runs = self.runs
        settings = list(dict.fromkeys(key for run in runs for key in run.overrides))
        measured = list(dict.fromkeys(name for run in runs for name in run.scores))
        names = dict.fromkeys((*self.summary.metric_names, *measured))
        baseline = self.summary.baseline
        return [
            {
                "run_id": run.run_id,
                "arm": run.arm,
                "is_baseline": baseline is not None and run.arm == baseline.name,
                "phase": run.phase,
                "trial": run.trial,
                "seed": run.seed,
                **{key: run.overrides.get(key) for key in settings},
                "outcome": run.outcome,
                "stopped_by": run.stopped_by,
                "verdict": run.verdict_name,
                "absurd": ", ".join(
                    name
                    for name in names
                    if any(is_absurd(run, name, known_score(run, name, at, self.target)) for at in _SUMMARIES)
                ),
                **{
                    f"{name}_{at}": known_score(run, name, at, self.target)
                    for name in names
                    for at in _SUMMARIES
                },
                **{key: run.ledger.get(key) for key in _LEDGER},
            }
            for run in runs
        ]

    def to_frame(self) -> Any:
        """`to_rows` as a `pandas.DataFrame`.

        Raises:
            ImportError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise ImportError("`to_frame` needs pandas; pip install pandas, or take `to_rows()`.") from None
        return pandas.DataFrame(self.to_rows())

    def __repr__(self) -> str:
        done, planned = self.summary.num_finished, self.summary.num_planned
        return f"<StudyResult {self.study.name}: {done} of {planned} runs. {self.headline}>"

    def _repr_html_(self) -> str:
        """The answer and the table of arms, as a notebook shows it."""
        header, *rows = self._table()
        lines = [
            f"<p><b>{escape(self.study.name)}</b>: {self.summary.num_finished} of "
            f"{self.summary.num_planned} runs. {escape(self.headline)}</p>",
            "<table><thead><tr>",
            *(f'<th style="{_CELL}">{escape(cell)}</th>' for cell in header),
            "</tr></thead><tbody>",
        ]
        for row in rows:
            cells = "".join(f'<td style="{_CELL}">{escape(cell)}</td>' for cell in row)
            lines.append(f"<tr>{cells}</tr>")
        return "\n".join([*lines, "</tbody></table>"])

    def _table(self) -> list[list[str]]:
        compared = {found.arm: found for found in self.comparisons}
        settings = self.summary.parameter_names if self.study.kind == "search" else ()
        header = ["arm", *settings, "runs", "failed", f"mean {self.target.metric}", "95 % interval"]
        header += ["difference", "its interval", "p (Holm)", "decision"] if compared else []
        rows = [header]
        for arm in self.arms:
            found, other = self.summary.estimates[arm.name], compared.get(arm.name)
            row = [arm.name, *(in_words(arm.parameters.get(key)) for key in settings)]
            row += [f"{len(arm.runs)}/{arm.num_planned}", str(len(arm.failed))]
            row += [arm.in_words(found.mean, self.target.metric, self.target.at), found.interval.in_words()]
            if other is not None:
                ends = other.interval.in_words(sign=True)
                row += [rounded(other.difference, sign=True), ends and f"{ends} ({other.interval.level})"]
                row += [in_words(other.p_holm), other.decision]
            elif compared:
                row += ["", "", "", "baseline" if arm.is_baseline else ""]
            rows.append(row)
        return rows


def load_results(folder: str | Path) -> StudyResult:
    """What a study has found so far, from its folder; the study may still be in progress.

    Args:
        folder: ``runs/<study>``.

    Raises:
        ValueError: the folder holds no study, a file is not what it should be, or runs were measured in
            unlike ways.

    Example:
        >>> from harness import load_results
        >>> result = load_results("runs/optimizers-smoke")
        >>> result.is_complete, result.to_rows()[0]["arm"]
        (True, 'rmsprop')
    """
    return StudyResult(summary=summarise(Path(folder).expanduser()))
