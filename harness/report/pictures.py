"""Which figures a study's report has, from which of its runs, and the words below each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from harness.analysis.statistics import mean
from harness.analysis.summary import ArmResult, Summary
from harness.recipe.registry import Value, metrics
from harness.report.costs import cost_picture
from harness.report.gallery import Picture, draw_gallery, words_of
from harness.report.outcomes import score_strips, verdict_timeline
from harness.runs.folder import RunFolder, run_directory
from harness.runs.result import RunResult
from harness.words import flagged, listed, rounded

__all__ = ["MAX_DOTS", "Picture", "draw_pictures", "metric_label", "selection_note", "shown_arms"]

MAX_DOTS = 60
"""Most arms of one figure or list; a study may have more, and its tables show them all."""

_MAX_CURVES = 8
_MAX_COSTS = 16
_OTHERS = _MAX_CURVES - 2
"""Style of arms that get a dot and no curve: black."""
_DYNAMICS = {
    "verdict/score": "verdict's score\n(higher is better)",
    "train/g_grad_norm": "generator gradient norm",
    "train/d_grad_norm": "discriminator gradient norm",
    "train/g_update_ratio": "generator update size\n(‖Δθ‖/‖θ‖)",
    "train/d_update_ratio": "discriminator update size\n(‖Δθ‖/‖θ‖)",
    "spectra/g_top": "generator: largest singular\nvalue of a layer",
    "spectra/d_top": "discriminator: largest singular\nvalue of a layer",
    "spectra/g_rank": "generator: smallest stable rank\nof a layer (share)",
    "spectra/d_rank": "discriminator: smallest stable\nrank of a layer (share)",
}
_DERIVED = ("_over_real", "_over_trace", "_minus_null", "_excess")
"""Endings of scores that only relate another one to what is natural: the tables have them."""


def draw_pictures(summary: Summary, folder: Path) -> list[Picture]:
    """Every figure that the finished runs in `summary` allow, written into `folder`."""
    from harness import figures

    shown = shown_arms(summary)
    styles = {arm.name: index for index, arm in enumerate(shown)}
    pictures = []
    label = metric_label(summary.metric, summary)
    if shown:
        arms = summary.arms if len(summary.arms) <= MAX_DOTS else summary.ranking[:MAX_DOTS]
        starts = {arm.name: arm.absurd(summary.metric, "first") for arm in shown}
        untrained = mean(
            [
                value
                for arm in shown
                for seed, value in arm.values(summary.metric, "first").items()
                if seed not in starts[arm.name]
            ]
        )
        dots = _dots(summary, [arm for arm in arms if arm.runs], styles)
        absurd = {arm.name for arm in arms if arm.absurd(summary.metric, summary.at)}
        figures.dot_and_interval(
            [replace(dot, label=flagged(dot.label, dot.label in absurd)) for dot in dots],
            folder / "arms",
            label=label,
            reference=untrained,
            reference_label="untrained generator",
        )
        left_out = (
            f" The {MAX_DOTS} best of {len(summary.arms)} arms." if len(arms) < len(summary.arms) else ""
        )
        pictures.append(
            Picture(
                path=folder / "arms.png",
                title="The arms side by side",
                caption="Large marks are means, thick lines their 95 % intervals (to compare arms, take the "
                "table's intervals of differences), faint dots the single seeds, crosses failed runs. The "
                "dashed line is the untrained generators' mean. Where "
                "the scale is logarithmic, equal distances are equal factors, and an interval that ends at "
                f"zero runs to the edge.{left_out}{_absurd_note(summary, arms)}",
            )
        )
        named = [arm for arm in dots if len(dots) <= _MAX_COSTS or arm.label in styles]
        pictures += cost_picture(summary, named, folder, label=label)
    scenes = [(_scene_title(summary, arm), _scene(summary, arm)) for arm in shown]
    if any(scene is not None for _, scene in scenes):
        figures.final_panel(scenes, folder / "final")
        pictures.append(
            Picture(
                path=folder / "final.png",
                title="What was learnt",
                caption="The last samples of each arm's run with the median score, over its discriminator's "
                "surface: blue where it believes in real data, orange where in generated ones; deeper is "
                "surer, and the palest tints are within half a percent of a coin toss. A good generator's "
                "points lie all over the data and nowhere else.",
            )
        )
    pictures += draw_gallery(summary, shown, folder)
    pictures += verdict_timeline(summary, shown, folder)
    histories = {arm.name: [_history(summary, run) for run in arm.runs] for arm in shown}
    pictures += _curves(summary, shown, styles, histories, folder)
    pictures += score_strips(summary, shown, folder)
    trials = _trials(summary, styles)
    if trials:
        logarithmic = {key for key, found in summary.study.parameters.items() if "log" in found.name}
        figures.trial_scatter(trials, folder / "trials", label=label, logarithmic=logarithmic)
        pictures.append(
            Picture(
                path=folder / "trials.png",
                title="The search",
                caption="Every finished trial against each number that was searched; a trial's value is the "
                "mean over its seeds. Trials whose value is absurd, (!) in their table, are left out.",
            )
        )
    return pictures


def shown_arms(summary: Summary) -> list[ArmResult]:
    """The arms that get a curve, a panel and a GIF: all, or the baseline, the best and the worst."""
    arms = [arm for arm in summary.arms if arm.runs]
    if len(arms) <= _MAX_CURVES:
        return arms
    baseline = [summary.baseline] if summary.baseline is not None and summary.baseline.runs else []
    ranked = [arm for arm in summary.ranking if not arm.is_baseline]
    chosen = [*baseline, *ranked[: _MAX_CURVES - 1 - len(baseline)], *ranked[-1:]]
    return sorted(chosen, key=lambda arm: arm.position)


def _dots(summary: Summary, arms: Sequence[ArmResult], styles: Mapping[str, int]) -> list[Any]:
    """The arms' scores; an absurd one would leave no room for the others, and is left to the caption."""
    from harness.figures import Dots

    broken = {arm.name: arm.absurd(summary.metric, summary.at) for arm in arms}
    keep_all = all(len(broken[arm.name]) == len(arm.runs) for arm in arms)
    dots = []
    for arm in arms:
        found, values = summary.estimates[arm.name], arm.values(summary.metric, summary.at)
        drawn = [keep_all or seed not in broken[arm.name] for seed in values]
        whole = all(drawn)
        dots.append(
            Dots(
                label=arm.name,
                style=styles.get(arm.name, _OTHERS),
                values=np.array(list(values.values()))[drawn],
                failed=np.array([run.failed for run in arm.runs], dtype=bool)[drawn],
                mean=found.mean if whole else math.nan,
                low=found.interval.low if whole else math.nan,
                high=found.interval.high if whole else math.nan,
            )
        )
    return dots


def _absurd_note(summary: Summary, arms: Sequence[ArmResult]) -> str:
    """Which scores of the study's metric a figure leaves out, and what they are; or that all are absurd."""
    found = {arm.name: arm.absurd(summary.metric, summary.at) for arm in arms}
    count = sum(map(len, found.values()))
    if not count:
        return ""
    if count == sum(len(arm.runs) for arm in arms):
        return " All of these scores are absurd (!): they tell of something broken, and nothing of quality."
    told = [
        f"{name} seed {seed}: {rounded(value)} (!)"
        for name, one in found.items()
        for seed, value in one.items()
    ]
    return (
        f" Left out, with the means that they are in, for they tell of something broken: {listed(told, 8)}."
    )


def _curves(
    summary: Summary,
    shown: Sequence[ArmResult],
    styles: Mapping[str, int],
    histories: Mapping[str, list[list[dict[str, float]]]],
    folder: Path,
) -> list[Picture]:
    from harness import figures

    def series(key: str) -> list[Any]:
        found = [_series(arm.name, styles[arm.name], histories[arm.name], key) for arm in shown]
        drawn = [one for one in found if one is not None and len(one.steps) > 1]
        return _without_absurd(key.removeprefix("eval/"), drawn)

    some = "" if len(shown) == sum(bool(arm.runs) for arm in summary.arms) else f" {selection_note(summary)}"
    words = (
        "Lines are means over the seeds, bands reach from the lowest to the highest seed. A run that "
        "diverged ends where it did, and is not in the mean from there on. An absurd score, (!) in the "
        f"tables, is not drawn where there are others.{some}"
    )
    pictures = []
    if score := series(f"eval/{summary.metric}"):
        figures.time_curves({metric_label(summary.metric, summary): score}, folder / "score_curves")
        title = f"How {summary.metric} went"
        caption = (
            f"{words} On the right the same against the seconds that runs had taken by then, on average."
        )
        pictures.append(Picture(path=folder / "score_curves.png", title=title, caption=caption))
    losses = {"discriminator loss": series("train/d_loss"), "generator loss": series("train/g_loss")}
    losses = {label: found for label, found in losses.items() if found}
    if losses:
        figures.time_curves(losses, folder / "loss_curves")
        caption = (
            f"{words} The losses of a GAN are two sides of one game: a falling loss does not mean better "
            "samples, and losses of different kinds cannot be compared. Look at the scores for that."
        )
        pictures.append(
            Picture(path=folder / "loss_curves.png", title="How the losses went", caption=caption)
        )
    titles = {
        metric: metric_label(metric, summary).replace(" (", "\n(")
        for metric in summary.metric_names[1:]
        if not metric.endswith(_DERIVED)
    }
    others = {title: found for metric, title in titles.items() if (found := series(f"eval/{metric}"))}
    if others:
        probabilities = {
            title
            for metric, title in titles.items()
            if metric in metrics and metrics[metric].unit == "probability"
        }
        figures.metric_curves(others, folder / "metric_curves", probabilities=probabilities)
        pictures.append(Picture(path=folder / "metric_curves.png", title="Other scores", caption=words))
    dynamics = {label: found for key, label in _DYNAMICS.items() if (found := series(key))}
    if dynamics:
        figures.metric_curves(dynamics, folder / "dynamics")
        caption = (
            f"{words} The verdict's score is the smaller of the share of modes and twice the coverage, 1 at "
            "most, and −1 for a run that diverged. An update's size is how far one step moves a network's "
            "weights for their length; about 0.001 is usual. The largest singular value says how much a "
            "layer can stretch its input; the stable rank how evenly it does so, over the most that its "
            "shape allows."
        )
        pictures.append(Picture(path=folder / "dynamics.png", title="How training went", caption=caption))
    return pictures


def _series(label: str, style: int, histories: Sequence[Sequence[Mapping[str, float]]], key: str) -> Any:
    """One quantity over the steps at which any run logged it; None if none did."""
    from harness.figures import Series

    steps = sorted({row["train/step"] for rows in histories for row in rows if key in row})
    if not steps:
        return None
    place = {step: column for column, step in enumerate(steps)}
    values = np.full((len(histories), len(steps)), math.nan)
    seconds = np.full((len(histories), len(steps)), math.nan)
    for row_index, rows in enumerate(histories):
        for row in rows:
            if key in row:
                values[row_index, place[row["train/step"]]] = row[key]
                seconds[row_index, place[row["train/step"]]] = row.get("ledger/elapsed_sec", math.nan)
    counts = np.isfinite(seconds).sum(axis=0)
    total = np.where(np.isfinite(seconds), seconds, 0.0).sum(axis=0)
    return Series(
        label=label,
        style=style,
        steps=np.array(steps, dtype=np.float64),
        seconds=np.where(counts > 0, total / np.maximum(counts, 1), math.nan),
        values=values,
    )


def _without_absurd(metric: str, series: Sequence[Any]) -> list[Any]:
    """Curves of a score with gaps for what tells of something broken; as they are if nothing else is left.

    Args:
        metric: name of the score; of what is none, like a loss, nothing is left out.
        series: the arms' curves.
    """
    if metric not in metrics:
        return list(series)
    kept = []
    for one in series:
        first = one.values[:, 0]
        broken = [
            [metrics[metric].is_absurd(value, start) for value in row]
            for row, start in zip(one.values, first, strict=True)
        ]
        kept.append(replace(one, values=np.where(broken, math.nan, one.values)))
    return kept if any(np.isfinite(one.values).any() for one in kept) else list(series)


def _trials(summary: Summary, styles: Mapping[str, int]) -> list[Any]:
    from harness.figures import Trials

    found = []
    for position, (arm, group) in enumerate(groupby(summary.trials, key=lambda trial: trial.arm)):
        trials = [trial for trial in group if math.isfinite(trial.value)]
        trials = [trial for trial in trials if not trial.is_absurd(summary.target)] or trials
        keys = dict.fromkeys(key for trial in trials for key in trial.parameters)
        parameters = {
            key: np.array([_number(trial.parameters.get(key)) for trial in trials])
            for key in keys
            if any(math.isfinite(_number(trial.parameters.get(key))) for trial in trials)
        }
        if parameters:
            values = np.array([trial.value for trial in trials])
            style = styles.get(arm, position)
            found.append(Trials(label=arm, style=style, parameters=parameters, values=values))
    return found


def _number(value: Value | None) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan


def _history(summary: Summary, run: RunResult) -> list[dict[str, float]]:
    from harness.tracking.history import read_history

    path = RunFolder(run_directory(summary.directory, run.run_id)).history
    return read_history(path) if path.exists() else []


def _scene(summary: Summary, arm: ArmResult) -> Any:
    from harness.figures import Scene

    run = summary.median_run(arm)
    path = RunFolder(run_directory(summary.directory, run.run_id)).scene if run else None
    return Scene.load(path) if path is not None and path.exists() else None


def _scene_title(summary: Summary, arm: ArmResult) -> str:
    run = summary.median_run(arm)
    if run is None:
        return arm.name
    return f"{arm.name}\n{words_of(summary, run)}"


def metric_label(metric: str, summary: Summary) -> str:
    """A `metric` for an axis: its name, its unit, and which way is better.

    That of the study is what `summary` says, and that of others what the registry does.
    """
    unit, direction = "", summary.target.direction if metric == summary.metric else ""
    if metric in metrics:
        info = metrics[metric]
        unit, direction = info.unit, direction or info.direction
    words = [unit, f"{direction} is better" if direction else ""]
    inside = ", ".join(word for word in words if word)
    return f"{metric} ({inside})" if inside else metric


def selection_note(summary: Summary) -> str:
    """Which arms `shown_arms` chose, in words."""
    count = sum(bool(arm.runs) for arm in summary.arms)
    return f"Of {count} arms, the baseline, the best and the worst are shown, {_MAX_CURVES} in all."
