"""Pictures side by side: the arms of a study, runs with their outcomes, real images beside generated ones.

Shapes: N real images, M generated ones, each (C, H, W), floats in [-1, 1] or bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.figures.canvas import Images, draw_lines, line_height, wrapped_lines
from harness.figures.grids import TEXT, TITLE, class_grid, grid
from harness.figures.style import FAKE_COLOUR

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Panel", "panels", "real_beside_fake"]

_PANEL_GAP = 20
_MIN_PANEL_WIDTH = 180
_PAGE_PIXELS = 1500


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One picture among others.

    Attributes:
        picture: the picture, of `grid` say, or read from a file by Pillow.
        title: in bold above it: an arm, or a run.
        note: below it: a score, an outcome and its reason, a verdict. It may have several lines.
        failed: framed and noted in the colour of warnings.
    """

    picture: Image
    title: str
    note: str = ""
    failed: bool = False


def panels(shown: Sequence[Panel], *, columns: int | None = None) -> Image:
    """Pictures side by side, each with its name above and words below.

    The arms of a study at equal budget; final grids of runs with their outcomes; real beside generated.

    Args:
        shown: in reading order.
        columns: panels a row; by default as many as 1500 pixels hold.

    Raises:
        ValueError: there are none.
    """
    from PIL import Image, ImageDraw

    if not shown:
        raise ValueError("`shown` must hold at least one panel, but got none.")
    width = max(_MIN_PANEL_WIDTH, *(panel.picture.width for panel in shown))
    fitting = max(1, (_PAGE_PIXELS + _PANEL_GAP) // (width + _PANEL_GAP))
    columns = min(len(shown), fitting if columns is None else columns)
    titles = [wrapped_lines(panel.title, width, TITLE, bold=True) for panel in shown]
    notes = [wrapped_lines(panel.note, width, TEXT) for panel in shown]
    total_width = columns * (width + _PANEL_GAP) - _PANEL_GAP
    rows = [range(start, min(start + columns, len(shown))) for start in range(0, len(shown), columns)]
    measures = [
        (
            max(len(titles[i]) for i in row) * line_height(TITLE) + 4,
            max(shown[i].picture.height for i in row) + 4,
            max(len(notes[i]) for i in row) * line_height(TEXT),
        )
        for row in rows
    ]
    total_height = sum(map(sum, measures)) + _PANEL_GAP * (len(rows) - 1)
    sheet = Image.new("RGB", (total_width, total_height), "#ffffff")
    draw = ImageDraw.Draw(sheet)
    top = 0
    for row, (above, middle, below) in zip(rows, measures, strict=True):
        for place, index in enumerate(row):
            panel, left = shown[index], place * (width + _PANEL_GAP)
            colour = FAKE_COLOUR if panel.failed else "#000000"
            name_top = top + above - 4 - len(titles[index]) * line_height(TITLE)
            draw_lines(
                sheet,
                titles[index],
                left=left,
                top=name_top,
                width=width,
                size=TITLE,
                bold=True,
                align="left",
            )
            sheet.paste(panel.picture.convert("RGB"), (left, top + above))
            if panel.failed:
                right, bottom = left + panel.picture.width - 1, top + above + panel.picture.height - 1
                draw.rectangle((left, top + above, right, bottom), outline=colour, width=2)
            note_top = top + above + panel.picture.height + 4
            draw_lines(
                sheet,
                notes[index],
                left=left,
                top=note_top,
                width=width,
                size=TEXT,
                align="left",
                colour=colour,
            )
        top += above + middle + below + _PANEL_GAP
    return sheet


def real_beside_fake(
    real: Images,
    fake: Images,
    *,
    labels: tuple[Images, Images] | None = None,
    class_names: Sequence[str] = (),
    num_images: int = 64,
) -> Image:
    """Training images on the left, generated ones on the right, as many of each.

    Args:
        real: N images of the data.
        fake: M generated ones of the same shape.
        labels: (N,) and (M,) their classes; with them, both sides have a column for each class that was
            generated.
        class_names: a name a class; by default its number.
        num_images: how many of each, at most; where there are labels, all.

    Raises:
        ValueError: as for `grid`, or `class_grid`.
    """
    if labels is None:
        count = min(num_images, len(real), len(fake))
        left, right = (grid(images[:count]) for images in (real, fake))
    else:
        classes = sorted(set(labels[1].tolist()))
        left, right = (
            class_grid(images, of, class_names=class_names, classes=classes)
            for images, of in zip((real, fake), labels, strict=True)
        )
    return panels([Panel(picture=left, title="real"), Panel(picture=right, title="generated")])
