"""A study's report: tables, figures, and one page that explains them.

    <study>/report/index.html         everything on one self-contained page
    <study>/report/table.csv          one row an arm          (also table.md and table.tex)
    <study>/report/comparisons.csv    one row for each arm but the baseline
    <study>/report/verdicts.csv       one row for each arm and verdict    (also verdicts.md and verdicts.tex)
    <study>/report/trials.csv         one row a trial, where there was a search
    <study>/report/figures/           each figure as PNG and PDF

It is made from whatever has finished, and says so where that is not everything.
"""

from __future__ import annotations

import base64
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.analysis import rates
from harness.analysis.findings import Answer, answers, choices, flags, headline
from harness.analysis.summary import ArmResult, Summary, summarise
from harness.files import write_text
from harness.recipe.registry import Value, metrics
from harness.report import tables
from harness.report.costs import spent_table
from harness.report.gallery import beside_pictures, latent_pictures, neighbour_pictures, words_of
from harness.report.outcomes import Failure, FailureGroup, failures
from harness.report.pictures import MAX_DOTS, Picture, draw_pictures, selection_note, shown_arms
from harness.report.rates import rates_csv, rates_latex, rates_markdown, rates_table
from harness.runs.folder import RunFolder, find_runs, read_recipe, run_directory
from harness.study.folder import StudyFolder
from harness.verdict.judge import BLIND, MEANING, VERDICTS
from harness.words import ABSURD, flagged, in_words, rounded

__all__ = ["write_pages", "write_report"]

_MAX_ANSWERS = 12
_MAX_TRIALS = 200
_TEMPLATE = Path(__file__).with_name("page.html.jinja")


def write_report(study_dir: str | Path) -> Path:
    """Write a study's report, from the runs that have finished.

    Args:
        study_dir: ``runs/<study>``.

    Returns:
        The report's folder.

    Raises:
        ValueError: the folder holds no study, a file in it is broken, or the report cannot be written.

    Example:
        >>> from harness import write_report
        >>> folder = write_report("runs/optimizers-smoke")
        >>> (folder / "index.html").exists(), (folder / "table.csv").exists()
        (True, True)
    """
    return write_pages(summarise(Path(study_dir)))


def write_pages(summary: Summary) -> Path:
    """Write the report of a study that has been read; see `write_report`.

    Returns:
        The report's folder.

    Raises:
        ValueError: the files cannot be written.
    """
    report = StudyFolder(summary.directory).report
    figures = report / "figures"
    try:
        figures.mkdir(parents=True, exist_ok=True)
        for name, text in {
            "table.csv": tables.table_csv(summary),
            "table.md": tables.markdown(summary),
            "table.tex": tables.latex(summary),
            "comparisons.csv": tables.comparisons_csv(summary),
            "verdicts.csv": rates_csv(summary),
            "verdicts.md": rates_markdown(summary),
            "verdicts.tex": rates_latex(summary),
        }.items():
            write_text(report / name, text)
        if summary.trials:
            write_text(report / "trials.csv", tables.trials_csv(summary))
        pictures = draw_pictures(summary, figures)
        failed = failures(summary, figures)
        write_text(report / "index.html", _page(summary, pictures, failed))
    except OSError as error:
        raise ValueError(f"cannot write the report to {report}: {error.strerror or error}.") from None
    return report


def _page(summary: Summary, pictures: Sequence[Picture], failed: Sequence[FailureGroup]) -> str:
    from harness.figures.page import rendered
    from harness.figures.style import VERDICT_STYLES, arm_style

    shown = shown_arms(summary)
    found = flags(summary)
    infos = [metrics[name] for name in summary.metric_names if name in metrics]
    header, *rows = tables.reading_table(summary)
    is_cut = len(shown) < sum(bool(arm.runs) for arm in summary.arms)
    values = {
        "summary": summary,
        "study": summary.study,
        "headline": headline(summary),
        "answers": _told(summary, shown),
        "flags": found,
        "flags_of": {arm.name: [flag for flag in found if flag.arm == arm.name] for arm in summary.arms},
        "metric": next((info for info in infos if info.name == summary.metric), None),
        "metric_infos": infos,
        "colours": {arm.name: arm_style(index).colour for index, arm in enumerate(shown)},
        "header": header,
        "rows": rows,
        "pictures": [(picture, _data_url(picture.path, "image/png")) for picture in pictures],
        "rates": rates_table(summary) if rates.judged_arms(summary) else [],
        "rates_found": rates.finding(summary),
        "verdicts": [(name, MEANING[name], BLIND[name]) for name in reversed(VERDICTS)],
        "verdict_colours": {name: style.colour for name, style in VERDICT_STYLES.items()},
        "failures": [(group, [_card(failure) for failure in group.shown]) for group in failed],
        "gifs": [_gif(summary, arm) for arm in shown],
        "film_shows": _film_shows(summary),
        "beside": _embedded(beside_pictures(summary, shown)),
        "neighbours": _embedded(neighbour_pictures(summary, shown)),
        "latents": [
            (picture, _data_url(picture.path, "image/png")) for picture in latent_pictures(summary, shown)
        ],
        "trial_rows": _trial_rows(summary),
        "choices": choices(summary),
        "num_trials": len(summary.trials),
        "settings": _settings(summary),
        "spent": spent_table(summary, most=MAX_DOTS),
        "ledger": _ledger(summary),
        "environment": _environment(summary),
        "selection": selection_note(summary) if is_cut else "",
        "single_run": _single_run(summary),
        "in_words": in_words,
        "rounded": rounded,
        "flagged": flagged,
        "absurd": ABSURD if any(map(summary.absurd_scores, summary.arms)) else "",
    }
    return rendered(_TEMPLATE, values)


def _embedded(found: Sequence[tuple[str, Path, str]]) -> list[tuple[str, str, str]]:
    """ArmResult, picture and words, the picture as a data URL."""
    return [(name, _data_url(path, "image/png"), words) for name, path, words in found]


def _told(summary: Summary, shown: Sequence[ArmResult]) -> list[Answer]:
    """The answers that the page spells out: of many arms, those decided and those that the figures show."""
    given = answers(summary)
    if len(given) <= _MAX_ANSWERS:
        return given
    names = {arm.name for arm in shown}
    return [one for one in given if one.decision in ("better", "worse") or one.arm in names][:MAX_DOTS]


def _card(failure: Failure) -> tuple[Failure, str, str]:
    """A run that went wrong, with its pictures as data URLs, or nothing."""
    samples, scores = (
        "" if path is None else _data_url(path, "image/png") for path in (failure.samples, failure.scores)
    )
    return failure, samples, scores


def _gif(summary: Summary, arm: ArmResult) -> tuple[str, str, str]:
    """An arm's name, its median run's animation as a data URL (or nothing), and what to say below it."""
    run = summary.median_run(arm)
    if run is None:
        return arm.name, "", "no run with a score"
    path = RunFolder(run_directory(summary.directory, run.run_id)).film
    return arm.name, _data_url(path, "image/gif") if path.exists() else "", words_of(summary, run)


def _film_shows(summary: Summary) -> str:
    """What the animations show, for those who cannot see them."""
    images = any(RunFolder(path).reals.exists() for path in find_runs(summary.directory))
    return "generated images" if images else "generated points over the discriminator's surface"


def _trial_rows(summary: Summary) -> list[list[str]]:
    """The trials' table, header first: each arm's best first, and no more than a page can bear."""
    if not summary.trials or summary.study.kind == "search":
        return []
    order = {arm.name: arm.position for arm in summary.arms}
    ranked = sorted(
        summary.trials,
        key=lambda trial: (
            order[trial.arm],
            summary.target.badness(trial.value) if math.isfinite(trial.value) else math.inf,
            trial.number,
        ),
    )
    names, rows = tables.trials_table(ranked[:_MAX_TRIALS], setting=in_words, value=rounded)
    for row, trial in zip(rows, ranked, strict=False):
        row[-1] = flagged(row[-1], trial.is_absurd(summary.target))
    return [["arm", "trial", *names, "seeds", "failed", "state", summary.metric], *rows]


def _settings(summary: Summary) -> dict[str, Any]:
    """Every setting of the base recipe, and where the arms depart from it."""
    flats = {arm.name: _flat(summary, arm) for arm in summary.arms}
    base = summary.baseline or (summary.arms[0] if summary.arms else None)
    base_flat = flats[base.name] if base else dict(next(iter(summary.recipes.values())).flat())
    absent = object()
    departures = []
    for arm in summary.arms:
        changed = {
            key: (in_words(base_flat.get(key)), in_words(flats[arm.name].get(key)))
            for key in dict.fromkeys((*base_flat, *flats[arm.name]))
            if base_flat.get(key, absent) != flats[arm.name].get(key, absent)
        }
        if changed:
            departures.append((arm.name, _joined(changed)))
    return {
        "base": base.name if base else summary.study.recipe,
        "rows": [(key, in_words(value)) for key, value in base_flat.items()],
        "departures": departures[:MAX_DOTS],
    }


def _joined(changed: Mapping[str, tuple[str, str]]) -> list[tuple[str, str, str]]:
    """Changes as rows; one that both optimisers share is one row, `optimizer.x`."""
    rows = []
    for key, change in changed.items():
        section, _, option = key.partition(".")
        if section.endswith("_optimizer"):
            other = {"generator_optimizer": "discriminator_optimizer"}.get(section, "generator_optimizer")
            if changed.get(f"{other}.{option}") == change:
                if section == "generator_optimizer":
                    rows.append((f"optimizer.{option}", *change))
                continue
        rows.append((key, *change))
    return rows


def _flat(summary: Summary, arm: ArmResult) -> dict[str, Value]:
    """An arm's settings as its runs recorded them, or else as they were planned."""
    for run in arm.runs[:1]:
        path = run_directory(summary.directory, run.run_id)
        if RunFolder(path).recipe.exists():
            return read_recipe(path).flat()
    recipe = summary.recipes.get(arm.name) or next(iter(summary.recipes.values()))
    return recipe.flat()


def _ledger(summary: Summary) -> str:
    """What the whole study has spent, in words, and what early stopping has spared."""
    tried = {run.run_id: run for trial in summary.trials for run in trial.runs}
    runs = tried | {run.run_id: run for arm in summary.arms for run in arm.runs}
    total = {
        key: sum(float(run.ledger.get(key, 0)) for run in runs.values())
        for key in ("discriminator_steps", "generator_steps", "seen_images")
    }
    text = (
        f"All {len(runs)} runs together: {total['discriminator_steps']:,.0f} discriminator steps, "
        f"{total['generator_steps']:,.0f} generator steps, {total['seen_images']:,.0f} real samples seen."
    )
    stopped = [run for run in runs.values() if run.outcome == "stopped"]
    if stopped:
        share = summary.saved_steps / max(1.0, summary.saved_steps + total["discriminator_steps"])
        by = {who: sum(run.stopped_by == who for run in stopped) for who in ("verdict", "pruner")}
        whose = {"verdict": "as hopeless", "pruner": "as beaten by other trials"}
        words = " and ".join(f"{count} {whose[who]}" for who, count in by.items() if count)
        text += (
            f" Stopped early: {words or len(stopped)}, which saved {summary.saved_steps:,} discriminator "
            f"steps, {100 * share:.0f} % of what the study would have cost."
        )
    return text


def _environment(summary: Summary) -> list[tuple[str, str]]:
    """Each fact of the runs' environments; where runs differ, every value that occurs.

    A list of strings is so many values.
    """
    facts: dict[str, dict[str, None]] = {}
    for arm in summary.arms:
        for run in arm.runs:
            for key, value in run.environment.items():
                lines = isinstance(value, list) and all(isinstance(line, str) for line in value)
                for one in value if lines else (value,):
                    text = one if isinstance(one, str) else json.dumps(one)
                    facts.setdefault(key, {})[text] = None
    return [(key, "; ".join(values)) for key, values in facts.items()]


def _single_run(summary: Summary) -> str:
    """The command that trains one of the runs alone."""
    arm = next((arm for arm in (*reversed(summary.ranking), *summary.arms) if arm.runs), None)
    recipe = summary.study.recipe
    if arm is None:
        return f"harness train {recipe}"
    changes = dict(summary.study.overrides) | dict(arm.parameters)
    recipe = str(changes.pop("recipe", recipe))
    words = " ".join(f"--set {shlex.quote(f'{key}={_typed(value)}')}" for key, value in changes.items())
    return f"harness train {recipe} {words + ' ' if words else ''}--seed {arm.runs[0].seed}"


def _typed(value: Value) -> str:
    """A setting as the command line reads it back, no digit lost."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _data_url(path: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
