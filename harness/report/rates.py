"""The tables of verdicts: CSV for programs, Markdown and LaTeX for readers."""

from __future__ import annotations

import math

from harness.analysis.rates import Rate, finding, judged_arms, rate_of_wrong, rates
from harness.analysis.statistics import Interval
from harness.analysis.summary import Summary
from harness.files import csv_text
from harness.report import tables
from harness.verdict.judge import VERDICTS
from harness.words import digits

__all__ = ["rates_csv", "rates_latex", "rates_markdown", "rates_table"]


def rates_table(summary: Summary) -> list[list[str]]:
    """The table that people read, header first; a verdict that no run has is left out."""
    arms = judged_arms(summary)
    table = {arm.name: rates(arm) for arm in arms}
    shown = [name for name in reversed(VERDICTS) if any(found[name].count for found in table.values())]
    rows = [["arm", "runs", *shown, "gone wrong", "95 % interval"]]
    for arm in arms:
        wrong = rate_of_wrong(arm)
        cells = [_cell(table[arm.name][name]) for name in shown]
        share = (
            "" if math.isnan(wrong.share) else f"{100 * wrong.share:.0f} % ({wrong.count} of {wrong.total})"
        )
        rows.append([arm.name, str(wrong.total), *cells, share, _span(wrong.interval)])
    return rows


def rates_csv(summary: Summary) -> str:
    """One row for each arm and verdict, and one for all that is wrong: counts, rate and exact interval."""
    rows = [["arm", "verdict", "count", "num_runs", "rate", "ci_low", "ci_high"]]
    for arm in judged_arms(summary):
        for name, rate in {**rates(arm), "any-wrong": rate_of_wrong(arm)}.items():
            ends = (rate.share, rate.interval.low, rate.interval.high)
            numbers = [str(rate.count), str(rate.total), *(digits(x) for x in ends)]
            rows.append([arm.name, name, *numbers])
    return csv_text(rows)


def rates_markdown(summary: Summary) -> str:
    """The reading table in Markdown."""
    title = f"{summary.study.name}: verdicts"
    return tables.markdown_table(title, _caption(summary), rates_table(summary))


def rates_latex(summary: Summary) -> str:
    """The reading table as a LaTeX `table` that needs no package."""
    return tables.latex_table(_caption(summary), rates_table(summary), num_names=1)


def _caption(summary: Summary) -> str:
    text = (
        "How runs ended: how many of each arm's seeds, with the exact (Clopper-Pearson) 95 % interval of the "
        "rate in brackets; runs that were stopped early are counted. Gone wrong is all but healthy and "
        "immature."
    )
    return " ".join([text, *finding(summary)])


def _cell(rate: Rate) -> str:
    return f"{rate.count} [{_span(rate.interval)}]" if rate.total else ""


def _span(interval: Interval) -> str:
    if math.isnan(interval.low):
        return ""
    return f"{100 * interval.low:.0f} to {100 * interval.high:.0f} %"
