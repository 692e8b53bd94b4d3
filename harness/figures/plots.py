"""The figures of a report: curves, dots with intervals, final panels, trials.

Every function takes plain numbers and writes two files, `<stem>.png` for the screen and `<stem>.pdf` for
print, the same bytes each time.

Shapes: S seeds of an arm, T points in time. NaN marks where a run has no value (any more).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness.figures.page import (
    NAME_CHARACTERS,
    PAGE_WIDTH,
    choose_scale,
    legend,
    page,
    plain_log_ticks,
    wants_log,
    wrapped,
    write_figure,
)
from harness.figures.scene import Scene, draw_scene
from harness.figures.style import FAKE_COLOUR, REAL_COLOUR, ArmStyle, arm_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "Dots",
    "Series",
    "Trials",
    "cost_scatter",
    "dot_and_interval",
    "final_panel",
    "metric_curves",
    "time_curves",
    "trial_scatter",
]

Array = npt.NDArray[np.float64]

_CROWDED = 5.0  # a factor beyond which names crowd on a linear scale
_NAME_PLACES = ((6, 4), (6, -10), (-6, 4), (-6, -10), (6, 14), (-6, 14), (6, -20), (-6, -20))
_TITLE_CHARACTERS = 31  # what fits above one of three panels abreast


@dataclass(frozen=True, kw_only=True)
class Series:
    """One quantity of one arm over time.

    Attributes:
        label: the arm's name.
        style: the arm's position in the study; it picks colour, marker and line.
        steps: (T,) training steps.
        seconds: (T,) mean seconds that the arm's runs had taken by then.
        values: (S, T) the quantity.
    """

    label: str
    style: int
    steps: Array
    seconds: Array
    values: Array


@dataclass(frozen=True, kw_only=True)
class Dots:
    """One arm of a dot-and-interval plot.

    Attributes:
        label: the arm's name.
        style: the arm's position in the study.
        values: (S,) one value a seed.
        failed: (S,) which of them stand for a failed run.
        mean: their mean.
        low: lower end of its interval, NaN if there is none.
        high: upper end.
    """

    label: str
    style: int
    values: Array
    failed: npt.NDArray[np.bool_]
    mean: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Trials:
    """The finished trials of one arm's search.

    Attributes:
        label: the arm's name.
        style: the arm's position in the study.
        parameters: name → (T,) values tried, numbers only; NaN where a trial has no such parameter.
        values: (T,) value of each trial.
    """

    label: str
    style: int
    parameters: Mapping[str, Array]
    values: Array


def time_curves(quantities: Mapping[str, Sequence[Series]], stem: Path) -> None:
    """Curves of each arm: mean over its seeds, with a band from its lowest to its highest seed.

    One row of panels a quantity; the left column runs over training steps, the right one over seconds.

    Args:
        quantities: label of the vertical axis → one series an arm.
        stem: path of the figure without its suffix.
    """
    rows = len(quantities)
    with page(height=0.5 + 2.3 * rows) as figure:
        panels = figure.subplots(rows, 2, squeeze=False, sharex="col", sharey="row")
        for row, (label, series) in zip(panels, quantities.items(), strict=True):
            for axes, clock in zip(row, ("steps", "seconds"), strict=True):
                for one in series:
                    _band(axes, getattr(one, clock), one)
                axes.set_xlim(left=0)
            choose_scale(row[0], np.concatenate([one.values.ravel() for one in series] or [np.zeros(0)]))
            row[0].set_ylabel(wrapped(label, 42))
        panels[-1][0].set_xlabel("training step (batches of real data)")
        panels[-1][1].set_xlabel("time since the start of the run (s)")
        legend(figure, panels[0][0])
        write_figure(figure, stem)


def metric_curves(
    quantities: Mapping[str, Sequence[Series]], stem: Path, *, probabilities: Collection[str] = ()
) -> None:
    """Small panels, three abreast: each arm's mean and band against training steps, one quantity a panel.

    Args:
        quantities: title of the panel → one series an arm.
        stem: path of the figure without its suffix.
        probabilities: titles of those whose axis is linear and goes from 0 to 1: a scale that depended on the
            lowest value would make much of next to nothing.
    """
    columns = 3
    rows = math.ceil(len(quantities) / columns)
    with page(height=0.6 + 1.85 * rows) as figure:
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
        for axes, (label, series) in zip(panels, quantities.items(), strict=False):
            for one in series:
                _band(axes, one.steps, one)
            if label in probabilities:
                axes.set_ylim(-0.03, 1.03)
            else:
                choose_scale(axes, np.concatenate([one.values.ravel() for one in series]))
            axes.set_title(wrapped(label, _TITLE_CHARACTERS), fontsize=8.5)
            axes.set_xlim(left=0)
            axes.tick_params(labelbottom=True)
        for axes in panels[len(quantities) :]:
            axes.set_axis_off()
        figure.supxlabel("training step (batches of real data)", fontsize=8.5)
        legend(figure, panels[0])
        write_figure(figure, stem)


def dot_and_interval(
    arms: Sequence[Dots], stem: Path, *, label: str, reference: float = math.nan, reference_label: str = ""
) -> None:
    """Each arm's mean with its 95 % interval, above the values of its seeds as faint dots.

    A failed run's value is a cross. The horizontal axis is logarithmic where the values are positive and
    spread over more than a factor of 20.

    Args:
        arms: from the top down.
        stem: path of the figure without its suffix.
        label: the metric, its unit and its direction.
        reference: a value to draw a vertical line at; NaN for none.
        reference_label: what that value is.
    """
    with page(height=0.95 + 0.42 * max(2, len(arms))) as figure:
        axes = figure.subplots()
        everything = np.concatenate([arm.values for arm in arms] or [np.zeros(0)])
        if wants_log(np.append(everything, reference)):
            axes.set_xscale("log")
        for position, arm in enumerate(arms):
            style = arm_style(arm.style)
            heights = position + 0.17 + 0.035 * (np.arange(len(arm.values)) % 3 - 1)
            lived, failed = arm.values[~arm.failed], arm.values[arm.failed]
            faint: dict[str, Any] = {"color": style.colour, "alpha": 0.35, "markeredgewidth": 0}
            axes.plot(lived, heights[~arm.failed], "o", markersize=4, **faint)
            axes.plot(failed, heights[arm.failed], "x", markersize=4.5, color=style.colour, alpha=0.8)
            if math.isfinite(arm.low):
                axes.plot([arm.low, arm.high], [position - 0.12] * 2, color=style.colour, linewidth=2.2)
            _mark(axes, arm.mean, position - 0.12, style)
        if math.isfinite(reference):
            axes.axvline(reference, color="#777777", linewidth=1.0, linestyle=(0, (4.0, 2.0)))
            axes.annotate(
                reference_label,
                (reference, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=8,
                color="#555555",
            )
        axes.set_yticks(range(len(arms)), [wrapped(arm.label, NAME_CHARACTERS) for arm in arms])
        axes.set_ylim(len(arms) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.grid(False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(label)
        axes.margins(x=0.06)
        plain_log_ticks(axes, "x")
        write_figure(figure, stem)


def cost_scatter(
    arms: Sequence[Dots], costs: Mapping[str, Sequence[float]], stem: Path, *, label: str
) -> None:
    """Each arm's mean with its interval against what it cost, one panel a kind of cost, with the arms' names.

    Args:
        arms: the arms.
        costs: label of the horizontal axis → one number an arm.
        stem: path of the figure without its suffix.
        label: the metric, its unit and its direction.
    """
    with page(height=3.6) as figure:
        panels = figure.subplots(1, len(costs), squeeze=False, sharey=True)[0]
        for axes, (name, values) in zip(panels, costs.items(), strict=True):
            for arm, cost in zip(arms, values, strict=True):
                style = arm_style(arm.style)
                axes.plot([cost, cost], [arm.low, arm.high], color=style.colour, linewidth=1.8)
                _mark(axes, cost, arm.mean, style)
            if wants_log(np.array([[arm.mean, arm.low, arm.high] for arm in arms]), _CROWDED):
                axes.set_yscale("log")
                plain_log_ticks(axes, "y")
            axes.margins(x=0.15, y=0.08)
            if wants_log(np.array(values)):
                axes.set_xscale("log")
                plain_log_ticks(axes, "x")
            else:
                axes.set_xlim(left=0)
            axes.set_xlabel(name)
        panels[0].set_ylabel(wrapped(label, 42))
        figure.draw_without_rendering()  # names are placed by where the marks have come to stand
        for axes, values in zip(panels, costs.values(), strict=True):
            write_names(axes, {arm.label: (cost, arm.mean) for arm, cost in zip(arms, values, strict=True)})
        write_figure(figure, stem)


def write_names(axes: Axes, places: Mapping[str, tuple[float, float]]) -> None:
    """Write names beside marks, each where it covers no other name or mark if there is such a place.

    Args:
        axes: a panel that has been laid out.
        places: name → x and y of its mark.
    """
    from matplotlib.transforms import Bbox

    marks = axes.transData.transform(list(places.values()))
    taken = [Bbox.from_bounds(x - 6, y - 6, 12, 12) for x, y in marks]
    inside = axes.get_window_extent()
    for name, place in places.items():
        for right, up in _NAME_PLACES:
            side = "left" if right > 0 else "right"
            text = axes.annotate(
                name, place, xytext=(right, up), textcoords="offset points", ha=side, fontsize=7.5
            )
            box = text.get_window_extent()
            if inside.contains(*box.p0) and inside.contains(*box.p1) and not box.count_overlaps(taken):
                break
            if (right, up) != _NAME_PLACES[-1]:
                text.remove()
        taken.append(box)


def final_panel(scenes: Sequence[tuple[str, Scene | None]], stem: Path) -> None:
    """Arms side by side: the last samples of one run each, over its discriminator's surface.

    Args:
        scenes: title and scene of each arm; without a scene its panel says so.
        stem: path of the figure without its suffix.
    """
    columns = min(3, max(1, len(scenes)))
    rows = max(1, math.ceil(len(scenes) / columns))
    drawn = [scene for _, scene in scenes if scene is not None]
    aspect = drawn[0].window.aspect if drawn else 0.6
    title_lines = max((len(wrapped(title, 84 // columns).splitlines()) for title, _ in scenes), default=1)
    each = (PAGE_WIDTH / columns - 0.3) * aspect + 0.2 + 0.16 * title_lines
    with page(height=0.45 + rows * each) as figure:
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for index, axes in enumerate(panels):
            axes.grid(False)
            axes.spines[["top", "right"]].set_visible(True)
            if index >= len(scenes):
                axes.set_axis_off()
                continue
            title, scene = scenes[index]
            axes.set_title(wrapped(title, 84 // columns))
            axes.tick_params(labelsize=7, length=2.5)
            if scene is None:
                axes.set_xticks([])
                axes.set_yticks([])
                axes.set_box_aspect(aspect)
                axes.text(0.5, 0.5, "no final samples", ha="center", va="center", transform=axes.transAxes)
            else:
                draw_scene(axes, scene, marker_size=1.5)
                axes.set_xlabel("x", labelpad=1)
                axes.set_ylabel("y", labelpad=3)
        for colour, marker, label in ((REAL_COLOUR, "o", "held-out data"), (FAKE_COLOUR, "^", "generated")):
            panels[0].plot([], [], marker, color=colour, label=label, markersize=5, markeredgewidth=0)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles[-2:], labels[-2:], loc="outside upper center", ncols=2, frameon=False)
        write_figure(figure, stem)


def trial_scatter(arms: Sequence[Trials], stem: Path, *, label: str, logarithmic: Collection[str]) -> None:
    """Value of every trial against each tuned parameter, one panel a parameter.

    Args:
        arms: the arms' trials.
        stem: path of the figure without its suffix.
        label: the metric, its unit and its direction.
        logarithmic: parameters that were drawn on a logarithmic scale.
    """
    names = list(dict.fromkeys(name for arm in arms for name in arm.parameters))
    columns = min(3, max(1, len(names)))
    rows = max(1, math.ceil(len(names) / columns))
    with page(height=0.6 + 2.1 * rows) as figure:
        panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for axes, name in zip(panels.ravel(), names, strict=False):
            for arm in arms:
                if name in arm.parameters:
                    style = arm_style(arm.style)
                    axes.plot(
                        arm.parameters[name],
                        arm.values,
                        style.marker,
                        color=style.colour,
                        markersize=4.5,
                        alpha=0.8,
                        markeredgewidth=0,
                        label=wrapped(arm.label, NAME_CHARACTERS),
                    )
            if name in logarithmic:
                axes.set_xscale("log")
            axes.set_xlabel(wrapped(name, 40))
        for axes in panels.ravel()[len(names) :]:
            axes.set_axis_off()
        values = np.concatenate([arm.values for arm in arms] or [np.zeros(0)])
        if wants_log(values):
            panels[0][0].set_yscale("log")
            plain_log_ticks(panels[0][0], "y")
        for row in panels:
            row[0].set_ylabel(wrapped(label, 42))
        legend(figure, *panels.ravel()[: len(names)])
        write_figure(figure, stem)


def _mark(axes: Axes, x: float, y: float, style: ArmStyle) -> None:
    look: Any = {"color": style.colour, "markersize": 7, "markeredgecolor": "white", "markeredgewidth": 0.8}
    axes.plot([x], [y], style.marker, **look)


def _band(axes: Axes, x: Array, series: Series) -> None:
    style = arm_style(series.style)
    values = np.where(np.isfinite(series.values), series.values, np.nan)
    seen = np.isfinite(values).any(axis=0) & np.isfinite(x)
    if not seen.any():
        return
    values, x = values[:, seen], x[seen]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        centre, low, high = np.nanmean(values, axis=0), np.nanmin(values, axis=0), np.nanmax(values, axis=0)
    label = wrapped(series.label, NAME_CHARACTERS)
    every = max(1, len(x) // 7)
    axes.plot(
        x,
        centre,
        color=style.colour,
        linestyle=style.line,
        marker=style.marker,
        markersize=4,
        markevery=(min(len(x) - 1, (series.style * every) // 4), every),
        markeredgewidth=0,
        label=label,
    )
    if len(values) > 1:
        axes.fill_between(x, low, high, color=style.colour, alpha=0.16, linewidth=0)
