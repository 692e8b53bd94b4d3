"""What every figure of a report shares: the page, its look, its scales, its legend and how it is written.

Shapes: V values that a scale is chosen for, (V,).
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness.files import replaced

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "NAME_CHARACTERS",
    "PAGE_WIDTH",
    "choose_scale",
    "legend",
    "page",
    "plain_log_ticks",
    "rendered",
    "wants_log",
    "wrapped",
    "write_figure",
]

Array = npt.NDArray[np.float64]

PAGE_WIDTH = 7.2
"""Width of a full-page figure, in inches."""

_DOTS_PER_INCH = 150
_LOG_SPREAD = 20.0
NAME_CHARACTERS = 34
"""Longest line of an arm's name, in characters."""

_LOOK: Any = {
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.5,
    "pdf.fonttype": 42,
    "svg.hashsalt": "harness",
    "text.parse_math": False,  # a dollar in a name is a dollar
}


def choose_scale(axes: Axes, values: Array) -> None:
    """Logarithmic for positive values of great spread; symmetric-log where a few dwarf all others.

    Args:
        axes: whose y axis is set.
        values: what is drawn, any shape; those that are not finite do not count.
    """
    known = np.abs(values[np.isfinite(values)])
    typical = float(np.quantile(known, 0.75)) if len(known) else 0.0
    if wants_log(values):
        axes.set_yscale("log")
        plain_log_ticks(axes, "y")
    elif typical > 0 and float(known.max()) > 50 * typical:
        axes.set_yscale("symlog", linthresh=10.0 ** math.ceil(math.log10(typical)))


def wants_log(values: Array, spread: float = _LOG_SPREAD) -> bool:
    """Whether values want a logarithmic axis: all positive, and spread over more than a factor.

    Args:
        values: any shape; those that are not finite are passed over.
        spread: the factor.
    """
    known = values[np.isfinite(values)]
    return len(known) > 0 and bool(0 < known.min() < known.max() / spread)


def plain_log_ticks(axes: Axes, which: str) -> None:
    """Write 0.03 rather than 3×10⁻² on logarithmic axes, as long as that is short.

    Args:
        axes: the panel.
        which: `x` or `y`.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis = axes.xaxis if which == "x" else axes.yaxis
    if axis.get_scale() != "log":
        return
    low, high = axis.get_view_interval()
    decades = math.log10(high / low)
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 3 else (1.0,), numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def legend(figure: Figure, *sources: Axes) -> None:
    """One legend above all panels: every label that the given ones have, once.

    Args:
        figure: the page.
        sources: the panels whose labels it shows.
    """
    found: dict[str, Any] = {}
    for axes in sources:
        handles, labels = axes.get_legend_handles_labels()
        found |= {label: handle for label, handle in zip(labels, handles, strict=True) if label not in found}
    if not found:
        return
    longest = max(len(line) for label in found for line in label.splitlines())
    columns = max(1, min(len(found), int(PAGE_WIDTH / (0.62 + 0.066 * longest))))
    figure.legend(
        found.values(),
        found.keys(),
        loc="outside upper center",
        ncols=columns,
        frameon=False,
        handlelength=3.2,
        columnspacing=1.6,
    )


def wrapped(text: str, width: int) -> str:
    """`text` in lines; its own line breaks stay.

    Args:
        text: what is to be written.
        width: the longest line, in characters.
    """
    lines = (textwrap.wrap(line, width, break_long_words=True) for line in text.splitlines())
    return "\n".join(part for line in lines for part in line)


@contextmanager
def page(*, height: float, width: float = PAGE_WIDTH) -> Iterator[Figure]:
    """A figure in the common look.

    Args:
        height: in inches.
        width: in inches; by default a page's.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_LOOK):
        figure = Figure(figsize=(width, height), dpi=_DOTS_PER_INCH, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def rendered(template: Path, values: Mapping[str, Any]) -> str:
    """A page of HTML.

    Args:
        template: a Jinja file; what is put into it is escaped.
        values: what it names; a name without a value is an error.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(template.name).render(values)


def write_figure(figure: Figure, stem: Path) -> None:
    """Write a figure as PNG and PDF, each in one move, and without a date in them.

    Args:
        figure: the page.
        stem: the files' path without its ending.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_pdf import FigureCanvasPdf

    # `savefig` would draw, and lay out, twice for each file; what is laid out for the first stays for both.
    with replaced(stem.with_name(f"{stem.name}.png")) as temporary:
        FigureCanvasAgg(figure).print_png(temporary, metadata={"Software": None})  # type: ignore[no-untyped-call]
    figure.set_layout_engine("none")
    with replaced(stem.with_name(f"{stem.name}.pdf")) as temporary:
        FigureCanvasPdf(figure).print_pdf(temporary, metadata={"CreationDate": None})  # type: ignore[no-untyped-call]
