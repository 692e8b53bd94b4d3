"""A study's tables: CSV for programs, Markdown and LaTeX for readers.

The CSV files hold no seconds and no dates and round to six significant digits, so the same results make the
same bytes, however often a study was interrupted on its way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.analysis.findings import changes_in_words
from harness.analysis.statistics import Interval, mean
from harness.analysis.summary import ArmResult, Summary, TrialResult
from harness.files import csv_text
from harness.recipe.registry import Value
from harness.study.target import At
from harness.words import ABSURD, digits, flagged, in_words, plain, plural, rounded

__all__ = [
    "comparisons_csv",
    "latex",
    "latex_table",
    "markdown",
    "markdown_table",
    "reading_table",
    "table_csv",
    "trials_csv",
    "trials_table",
]

_SUMMARIES: tuple[At, ...] = ("last", "best", "area")
_IN_HEADER: dict[At, str] = {"last": "at the end", "best": "best", "area": "over training"}
_IN_WORDS: dict[At, str] = {
    "first": "before training",
    "last": "at the last evaluation",
    "best": "at its best evaluation",
    "area": "averaged over training",
}
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "–": "--",
    "−": "$-$",
    "×": r"$\times$",
}


def table_csv(summary: Summary) -> str:
    """One row an arm: its parameters, its seeds, the study's metric, then every other metric.

    `mean` with its interval `ci_low` to `ci_high`, and `iqm` with its own, `iqm_ci_low` to `iqm_ci_high`, are
    of the study's metric at the study's summary of the curve;
    `<metric>_last`, `<metric>_best` and `<metric>_area` are its means at each summary, and
    `<metric>_last_on_half` is the last checkpoint's on the half of the held-out data that the best's is of.
    The other metrics are taken at the last evaluation. A value that does not exist is an empty field.
    `absurd` names the metrics that tell that something is broken, with spaces between.
    """
    others = summary.metric_names[1:]
    fields = ("mean", "iqm", "ci_low", "ci_high", "iqm_ci_low", "iqm_ci_high")
    header = ["arm", *summary.parameter_names, "num_seeds", "num_failed", *fields]
    header += [f"{summary.metric}_{at}" for at in _SUMMARIES] + [f"{summary.metric}_last_on_half"]
    header += [f"{metric}_{field}" for metric in others for field in fields] + ["absurd"]
    rows = []
    for arm in summary.arms:
        row = [arm.name, *(plain(arm.parameters.get(key)) for key in summary.parameter_names)]
        row += [str(len(arm.runs)), str(len(arm.failed))]
        for metric, at in ((summary.metric, summary.at), *((metric, "last") for metric in others)):
            found = summary.estimates[arm.name] if metric == summary.metric else arm.estimate(metric, at)
            ends = (found.interval.low, found.interval.high, found.iqm_interval.low, found.iqm_interval.high)
            row += [digits(x) for x in (found.mean, found.iqm, *ends)]
            if metric == summary.metric:
                row += [digits(mean(list(arm.values(metric, each).values()))) for each in _SUMMARIES]
                row.append(digits(mean(list(arm.last_on_half(metric).values()))))
        rows.append([*row, " ".join(summary.absurd_scores(arm))])
    return csv_text([header, *rows])


def comparisons_csv(summary: Summary) -> str:
    """One row for each arm that is compared with the baseline; the header alone if there is no baseline.

    `difference` is the pseudo-median of the paired differences, by which `decision` is made; `ci_low` to
    `ci_high` is its interval at the confidence `ci_level`; `mean_difference` is the mean of the same pairs;
    `absurd` is true where one of the scores tells that something is broken.
    """
    header = ["baseline", "arm", "num_pairs", "difference", "ci_low", "ci_high", "ci_level"]
    header += ["mean_difference", "p_value", "p_holm", "probability_of_improvement", "decision", "absurd"]
    broken = {arm.name for arm in summary.arms if arm.absurd(summary.metric, summary.at)}
    base = summary.baseline.name if summary.baseline else ""
    rows = [
        [
            base,
            found.arm,
            str(found.num_pairs),
            digits(found.difference),
            digits(found.interval.low),
            digits(found.interval.high),
            digits(found.interval.confidence),
            digits(found.mean_difference),
            digits(found.p_value),
            digits(found.p_holm),
            digits(found.probability_of_improvement),
            found.decision,
            plain(bool(broken & {base, found.arm})),
        ]
        for found in summary.comparisons
    ]
    return csv_text([header, *rows])


def trials_csv(summary: Summary) -> str:
    """One row a trial: its arm, its number, its parameters, its seeds and its value."""
    names, rows = trials_table(summary.trials, setting=plain, value=digits)
    rows = [
        [*row, plain(trial.is_absurd(summary.target))]
        for row, trial in zip(rows, summary.trials, strict=True)
    ]
    return csv_text([["arm", "trial", *names, "num_seeds", "num_failed", "state", "value", "absurd"], *rows])


def trials_table(
    trials: Sequence[TrialResult], *, setting: Callable[[Value | None], str], value: Callable[[float], str]
) -> tuple[list[str], list[list[str]]]:
    """The tuned parameters' names, and a row a trial: arm, number, parameters, seeds, failed, state, value.

    Args:
        trials: in the order of the rows.
        setting: writes a parameter.
        value: writes a trial's value.
    """
    names = list(dict.fromkeys(key for trial in trials for key in trial.parameters))
    rows = [
        [
            trial.arm,
            str(trial.number),
            *(setting(trial.parameters.get(name)) for name in names),
            str(len(trial.runs)),
            str(trial.num_failed),
            trial.state,
            value(trial.value),
        ]
        for trial in trials
    ]
    return names, rows


def reading_table(summary: Summary) -> list[list[str]]:
    """The table that people read, header first: fewer columns and fewer digits than `table.csv`.

    A parameter that only repeats the arms' names is left out, and what named arms are made of; so are
    failures if there are none. The metric at the study's summary of its curve comes with its interval; its
    means at the other two summaries follow, and where the best is of half of the held-out data, before
    them the last checkpoint's on that half.
    """
    compared = bool(summary.comparisons)
    decisions = {found.arm: found for found in summary.comparisons}
    ablate = summary.study.ablate
    named = ablate.parameters if ablate is not None and ablate.arms else {}
    names = [
        name
        for name in summary.parameter_names
        if name not in named and any(in_words(arm.parameters.get(name)) != arm.name for arm in summary.arms)
    ]
    any_failed = any(arm.failed for arm in summary.arms)
    header = ["arm", *names, *(["decision"] * compared), "seeds", *(["failed"] * any_failed)]
    header += [summary.metric, "95 % interval", "IQM", "95 % interval"]
    others = [at for at in _SUMMARIES if at != summary.at]
    halved = _num_halved(summary) > 0
    of_half = {"best": "best (half)"} if halved else {}
    header += ["at the end (half)"] * halved + [of_half.get(at, _IN_HEADER[at]) for at in others]
    header += ["difference", "its interval", "p (Holm)", "P(better)"] * compared
    rows = [header]

    def score(value: float, arm: ArmResult, at: At) -> str:
        return arm.in_words(value, summary.metric, at)

    for arm in summary.arms:
        found, versus = summary.estimates[arm.name], decisions.get(arm.name)
        row = [arm.name, *(in_words(arm.parameters.get(key)) for key in names)]
        row += [versus.decision if versus else "baseline"] * compared
        row += [_count(len(arm.runs), arm.num_planned), *([str(len(arm.failed))] * any_failed)]
        broken = bool(arm.absurd(summary.metric, summary.at))
        row += [rounded(found.mean), found.interval.in_words()]
        row += [rounded(found.iqm), found.iqm_interval.in_words()]
        row[-4:] = [flagged(cell, broken) for cell in row[-4:]]
        row += [score(mean(list(arm.last_on_half(summary.metric).values())), arm, "last")] * halved
        row += [score(mean(list(arm.values(summary.metric, at).values())), arm, at) for at in others]
        if versus is not None:
            base = summary.baseline
            broken = broken or bool(base and base.absurd(summary.metric, summary.at))
            shown = (rounded(versus.difference, sign=True), _with_level(versus.interval))
            row += [flagged(cell, broken) for cell in shown]
            row += [rounded(versus.p_holm), rounded(versus.probability_of_improvement)]
        rows.append(row + [""] * (len(header) - len(row)))
    return rows


def markdown(summary: Summary) -> str:
    """The reading table in Markdown, under a line that says what it shows."""
    return markdown_table(summary.study.name, _caption(summary), reading_table(summary))


def markdown_table(title: str, caption: str, table: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, under a heading and a line that says what it shows.

    Args:
        title: the heading.
        caption: that line.
        table: the header and the rows, all of one length.
    """
    header, *rows = ([_escape_markdown(cell) for cell in row] for row in table)
    lines = [
        f"# {title}",
        "",
        _escape_markdown(caption),
        "",
        "| " + " | ".join(header) + " |",
        "|" + " --- |" * len(header),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def latex(summary: Summary) -> str:
    """The reading table as a LaTeX `table` that needs no package."""
    table = reading_table(summary)
    return latex_table(_caption(summary), table, num_names=table[0].index("seeds"))


def latex_table(caption: str, table: Sequence[Sequence[str]], *, num_names: int) -> str:
    """A table, header first, as a LaTeX `table`.

    Args:
        caption: what it shows.
        table: the header and the rows, all of one length.
        num_names: how many columns at the left hold words; the others are numbers.
    """
    header, *rows = ([_escape_latex(cell) for cell in row] for row in table)
    columns = "l" * num_names + "r" * (len(header) - num_names)
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{_escape_latex(caption)}}}",
        rf"  \begin{{tabular}}{{{columns}}}",
        r"    \hline",
        f"    {' & '.join(header)} \\\\",
        r"    \hline",
        *(f"    {' & '.join(row)} \\\\" for row in rows),
        r"    \hline",
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _caption(summary: Summary) -> str:
    text = (
        f"{summary.metric} {_IN_WORDS[summary.at]} ({summary.target.direction} is better): mean over seeds, "
        "95 % interval of the mean, interquartile mean (IQM), 95 % interval of that."
    )
    others = [_IN_WORDS[at] for at in _SUMMARIES if at != summary.at]
    text += f" Then its mean {' and '.join(others)}."
    if num_halved := _num_halved(summary):
        text += (
            " The best checkpoint of a run was chosen on one half of the held-out data, and is scored on the "
            "other; so is the last one, to put beside it: (half)."
        )
        num_fresh = sum(bool(run.best_checkpoint.get("fresh")) for arm in summary.arms for run in arm.runs)
        which = "Both are" if num_fresh == num_halved else f"In {num_fresh} of {num_halved} runs both are"
        if num_fresh:
            text += f" {which} scored on latents that had no part in the choice."
    if summary.baseline is not None:
        family = len(summary.comparisons)
        text += (
            f" Differences are pseudo-medians (Hodges and Lehmann) of those to {summary.baseline.name} seed "
            f"by seed; p is the exact signed-rank test's, Holm-corrected for {plural(family, 'comparison')}, "
            "and the interval is what that test does not reject, at the level in brackets."
        )
    if changes := changes_in_words(summary):
        text += f" Changed from its file: {changes}."
    if any(map(summary.absurd_scores, summary.arms)):
        text += f" {ABSURD}"
    if not summary.is_complete:
        text += f" Not complete: {summary.num_finished} of {summary.num_planned} runs have finished."
    return text


def _num_halved(summary: Summary) -> int:
    """How many runs have their last checkpoint's score on the half that the best's is of."""
    return sum("last" in run.best_checkpoint for arm in summary.arms for run in arm.runs)


def _with_level(interval: Interval) -> str:
    """An interval of a difference, whose level is not the same in each row."""
    text = interval.in_words(sign=True)
    return f"{text} ({interval.level})" if text else ""


def _count(finished: int, planned: int) -> str:
    return str(finished) if finished == planned else f"{finished} of {planned}"


def _escape_markdown(text: str) -> str:
    for character in "\\|*_`<":
        text = text.replace(character, f"\\{character}")
    return text


def _escape_latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
