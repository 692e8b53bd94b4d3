"""What became of runs: their verdicts over time, and what their discriminators said of real and fake samples.

Shapes: T points in time, E bins of a score.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness.figures.page import NAME_CHARACTERS, PAGE_WIDTH, page, wrapped, write_figure
from harness.figures.style import FAKE_COLOUR, REAL_COLOUR, VERDICT_STYLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ScoreCounts", "Strip", "score_histogram", "score_strips", "verdict_timeline"]

Array = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

_ROW = 0.15
_KINDS = (("real", "Blues"), ("fake", "Oranges"))
_MEDIAN_COLOUR = "#1d2430"
_ZERO_COLOUR, _ZERO_LINE = "#777777", (0, (4.0, 2.0))
_TICKS = (-1000, -100, -10, -1, 0, 1, 10, 100, 1000)
_FINE = 32  # bins up to which there is room for ticks close to 0
_FINE_TICKS = (-0.3, -0.1, 0.1, 0.3)


@dataclass(frozen=True, kw_only=True)
class Strip:
    """One run's verdicts.

    Attributes:
        arm: the run's arm; strips of one arm are neighbours.
        label: the run itself, its seed say.
        timeline: (step, verdict) of each evaluation.
        end: the step at which the run ended.
        planned: the step at which it would have ended, had it not been stopped.
    """

    arm: str
    label: str
    timeline: Sequence[tuple[int, str]]
    end: int
    planned: int


@dataclass(frozen=True, kw_only=True)
class ScoreCounts:
    """Where D's scores were, over time.

    Attributes:
        label: the arm, or the run.
        steps: (T,) ends of the intervals in which they were counted.
        real: (T, E) counts of the scores of real samples.
        fake: (T, E) counts of the scores of generated ones.
    """

    label: str
    steps: Array
    real: Counts
    fake: Counts


def verdict_timeline(strips: Sequence[Strip], stem: Path) -> None:
    """A thin row for each run, coloured by its verdict.

    What an evaluation found colours the time since the one before it. Behind its row stands the letter of the
    run's last verdict; where a run was stopped, a thin line reaches to where it would have ended.

    Args:
        strips: from the top down.
        stem: path of the figure without its suffix.
    """
    groups = [(arm, len(list(group))) for arm, group in groupby(strips, key=lambda strip: strip.arm)]
    with page(height=0.95 + _ROW * (len(strips) + 0.6 * len(groups))) as figure:
        axes = figure.subplots()
        axes.grid(False, axis="y")
        longest = max((strip.planned for strip in strips), default=1) or 1
        ticks: list[float] = []
        names: list[tuple[float, str]] = []
        top, position = 0.0, 0
        for arm, count in groups:
            for strip in strips[position : position + count]:
                ticks.append(top)
                _strip(axes, strip, top, longest)
                top += 1
            names.append((top - count / 2 - 0.5, arm))
            position += count
            top += 0.6
        axes.set_yticks(ticks, [strip.label for strip in strips])
        axes.tick_params(axis="y", length=0, labelsize=6.5, pad=2)
        for middle, arm in names:
            axes.annotate(
                wrapped(arm, NAME_CHARACTERS),
                (0, middle),
                xycoords=axes.get_yaxis_transform(),
                xytext=(-26, 0),
                textcoords="offset points",
                ha="right",
                va="center",
                fontsize=8.5,
            )
        axes.set_ylim(top - 0.6 + 0.2, -0.8)
        axes.set_xlim(0, longest * 1.03)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("training step (batches of real data); rows are runs, by their seed")
        handles = [_patch(name) for name in VERDICT_STYLES]
        figure.legend(
            handles=handles, loc="outside upper center", ncols=6, frameon=False, columnspacing=1.2, fontsize=8
        )
        write_figure(figure, stem)


def score_strips(arms: Sequence[ScoreCounts], edges: Array, stem: Path) -> None:
    """Where D's scores were over time: of real samples on the left, of generated ones on the right.

    Darker is more of them; the line is the median. Both columns share their scale, which is linear around 0
    and logarithmic far from it.

    Args:
        arms: each with at least one point in time.
        edges: (E + 1,) of the bins.
        stem: path of the figure without its suffix.
    """
    with page(height=1.0 + 1.25 * len(arms)) as figure:
        panels = figure.subplots(len(arms), 2, squeeze=False, sharex=True, sharey="row")
        for row, one in zip(panels, arms, strict=True):
            low, high = _used(one.real + one.fake)
            for axes, (kind, colours) in zip(row, _KINDS, strict=True):
                counts = getattr(one, kind)
                shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
                starts = np.concatenate([[0.0], one.steps])
                axes.grid(False)
                axes.pcolormesh(
                    starts,
                    np.arange(low, high + 1),
                    shares[:, low:high].T,
                    cmap=colours,
                    vmin=0,
                    vmax=max(0.05, float(np.quantile(shares.max(axis=1), 0.5))),
                    rasterized=True,
                )
                middle = (starts[:-1] + starts[1:]) / 2
                axes.plot(middle, _medians(counts), color=_MEDIAN_COLOUR, linewidth=1.1)
                if low < len(edges) // 2 < high:
                    axes.axhline(len(edges) // 2, color=_ZERO_COLOUR, linewidth=0.7, linestyle=_ZERO_LINE)
                places, texts = _score_ticks(edges, low, high)
                axes.set_yticks(places, texts)
                axes.set_ylim(low, high)
                axes.spines[["top", "right"]].set_visible(True)
            row[0].set_ylabel(wrapped(one.label, 20), fontsize=8)
        panels[0][0].set_title("D's scores of real samples", color=REAL_COLOUR)
        panels[0][1].set_title("D's scores of generated samples", color=FAKE_COLOUR)
        figure.supxlabel("training step (batches of real data)", fontsize=8.5)
        figure.legend(handles=_strip_keys(), loc="outside upper center", ncols=4, frameon=False, fontsize=8)
        write_figure(figure, stem)


def _strip_keys() -> list[Any]:
    """The legend of `score_strips`."""
    from matplotlib import colormaps
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    shades = zip(("real", "generated"), _KINDS, strict=True)
    return [
        *(Patch(color=colormaps[name](0.75), label=f"{kind}: darker is more") for kind, (_, name) in shades),
        Line2D([], [], color=_MEDIAN_COLOUR, linewidth=1.1, label="median"),
        Line2D([], [], color=_ZERO_COLOUR, linewidth=0.7, linestyle=_ZERO_LINE, label="a score of 0"),
    ]


def score_histogram(one: ScoreCounts, edges: Array, stem: Path) -> None:
    """D's scores at the end of a run: of real samples upwards, of generated ones downwards.

    Args:
        one: the run; its last point in time is drawn.
        edges: (E + 1,) of the bins.
        stem: path of the figure without its suffix.
    """
    real, fake = (counts[-1] / max(1, int(counts[-1].sum())) for counts in (one.real, one.fake))
    low, high = _used((one.real + one.fake)[-1:])
    with page(height=1.7, width=0.42 * PAGE_WIDTH) as figure:
        axes = figure.subplots()
        places = np.arange(low, high) + 0.5
        axes.bar(places, real[low:high], width=1.0, color=REAL_COLOUR, label="real")
        axes.bar(places, -fake[low:high], width=1.0, color=FAKE_COLOUR, hatch="////", label="generated")
        axes.axhline(0, color="#1d2430", linewidth=0.8)
        axes.set_xticks(*_score_ticks(edges, low, high))
        axes.set_xlim(low, high)
        axes.set_xlabel("D's score", labelpad=1)
        axes.set_ylabel("share of samples")
        axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
        reach = 1.15 * max(float(real.max()), float(fake.max()), 1e-9)
        axes.set_ylim(-reach, reach)
        figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=7.5)
        write_figure(figure, stem)


def _strip(axes: Axes, strip: Strip, top: float, longest: int) -> None:
    # The untrained generator's verdict colours nothing, unless it is all there is.
    spans: list[tuple[int, int, str]] = []
    start = 0
    for step, name in strip.timeline:
        if step > start:
            spans.append((start, step, name))
            start = step
    if strip.end > start and spans:
        spans.append((start, strip.end, spans[-1][2]))
    if not spans and strip.timeline:
        spans.append((0, max(strip.end, longest // 100), strip.timeline[-1][1]))
    for name, group in groupby(spans, key=lambda span: span[2]):
        joined = list(group)
        _bar(axes, joined[0][0], joined[-1][1] - joined[0][0], top, name)
    if not spans:
        return
    right = spans[-1][1]
    if strip.planned > right:
        dotted = (0, (1.0, 2.0))
        axes.plot([right, strip.planned], [top, top], color="#999999", linewidth=0.7, linestyle=dotted)
    axes.annotate(
        VERDICT_STYLES[strip.timeline[-1][1]].letter,
        (right, top),
        xytext=(2.5, 0),
        textcoords="offset points",
        va="center",
        fontsize=6.5,
        fontweight="bold",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.3},
    )


def _bar(axes: Axes, left: float, width: float, top: float, name: str) -> None:
    axes.barh(top, width, left=left, height=0.78, **_looks(name))


def _looks(name: str) -> dict[str, Any]:
    style = VERDICT_STYLES[name]
    return {
        "facecolor": style.colour,
        "hatch": style.hatch,
        "edgecolor": "#ffffff" if name == "d-saturated" else "#3a3a3a",
        "linewidth": 0.0,
    }


def _patch(name: str) -> Any:
    from matplotlib.patches import Patch

    label = f"{VERDICT_STYLES[name].letter}  {name}"
    return Patch(label=label, **(_looks(name) | {"linewidth": 0.4}))


def _used(counts: Counts) -> tuple[int, int]:
    """The bins that hold all but the outermost thousandth of the counts, with one more on either side."""
    total = counts.sum(axis=0)
    if not total.sum():
        return len(total) // 2 - 4, len(total) // 2 + 4
    reached = np.cumsum(total) / total.sum()
    low, high = int(np.searchsorted(reached, 0.0005)), int(np.searchsorted(reached, 0.9995)) + 1
    return max(0, min(low - 1, len(total) // 2 - 4)), min(len(total), max(high + 1, len(total) // 2 + 4))


def _medians(counts: Counts) -> Array:
    """The median of each row, in bins from 0; NaN where there is nothing."""
    found = np.full(len(counts), math.nan)
    for index, row in enumerate(counts):
        if total := int(row.sum()):
            reached = np.cumsum(row)
            place = int(np.searchsorted(reached, total / 2))
            found[index] = place + (total / 2 - (reached[place] - row[place])) / max(1, int(row[place]))
    return found


def _score_ticks(edges: Array, low: int, high: int) -> tuple[list[float], list[str]]:
    """Where round scores are among the bins, as many as fit."""
    values = sorted(_TICKS) if high - low > _FINE else sorted((*_TICKS, *_FINE_TICKS))
    places = {value: float(np.interp(value, edges, np.arange(len(edges)))) for value in values}
    inside = {value: place for value, place in places.items() if low <= place <= high}
    kept: dict[float, float] = {}
    gap = (high - low) / 10
    for value in sorted(
        inside, key=lambda value: (abs(value) != 0, -abs(value) if high - low > _FINE else 0)
    ):
        if all(abs(inside[value] - place) >= gap for place in kept.values()):
            kept[value] = inside[value]
    return list(kept.values()), [f"{value:g}" for value in kept]
