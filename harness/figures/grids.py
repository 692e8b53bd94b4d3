"""Grids of images.

Every function takes images and returns a Pillow picture; `write_png` puts it on the disk. Images are enlarged
by whole factors only and never resampled, so every pixel of a picture is a pixel of an image, and a grid that
was written as a PNG gives its images back: `read_grid`.

Shapes: N images of (C, H, W), floats in [-1, 1] or bytes; a grid has R rows and S columns.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from harness.figures.canvas import (
    Bytes,
    Images,
    draw_lines,
    fitted,
    fitting_size,
    image_bytes,
    line_height,
    text_width,
    whole_scale,
    wrapped_lines,
)

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "GAP",
    "TEXT",
    "TITLE",
    "cell_grid",
    "class_grid",
    "grid",
    "read_grid",
    "read_headers",
    "shown_classes",
    "top_rows",
]

GAP = 2
"""White between two images, in pixels."""

TEXT = 11
"""Height of the type, in pixels."""

TITLE = 13
"""Height of the titles' type, in pixels."""

_EDGE = 8
_MARGIN = 2
_MAX_CLASSES = 20

Cells = npt.NDArray[np.int64]


def grid(
    images: Images,
    *,
    columns: int | None = None,
    title: str = "",
    column_headers: Sequence[str] = (),
    row_labels: Sequence[str] = (),
    captions: Sequence[str] = (),
    scale: int | None = None,
) -> Image:
    """Images in rows, from the left to the right and from the top down, two white pixels apart.

    Args:
        images: N of them.
        columns: S; by default the grid is as square as can be.
        title: one line above all; what does not fit is cut off, so that equal grids are of equal size.
        column_headers: S texts, or none.
        row_labels: R texts, or none.
        captions: a text below each image, or none.
        scale: pixels a side that one of an image takes; by default what brings it closest to 64 pixels.

    Returns:
        A picture, grey if the images are, that carries its layout for `read_grid`.

    Raises:
        ValueError: images of another shape or not finite, or texts that are not as many as what they name.
    """
    pixels = image_bytes(images)
    columns = math.ceil(math.sqrt(len(pixels))) if columns is None else columns
    if columns < 1:
        raise ValueError(f"`columns` must be at least 1, but got {columns}.")
    rows = math.ceil(len(pixels) / columns)
    cells = np.full(rows * columns, -1, dtype=np.int64)
    cells[: len(pixels)] = np.arange(len(pixels))
    return cell_grid(
        pixels,
        cells.reshape(rows, columns),
        title=title,
        column_headers=column_headers,
        row_labels=row_labels,
        captions=captions,
        scale=scale,
    )


def cell_grid(
    pixels: Bytes,
    cells: Cells,
    *,
    title: str = "",
    column_headers: Sequence[str] = (),
    row_labels: Sequence[str] = (),
    captions: Sequence[str] = (),
    scale: int | None = None,
) -> Image:
    """`grid` with every image's place given.

    Args:
        pixels: (N, H, W, C) bytes.
        cells: (R, S) which image is where; −1 leaves a cell white.
        title: as for `grid`.
        column_headers: as for `grid`.
        row_labels: as for `grid`.
        captions: as for `grid`.
        scale: as for `grid`.

    Raises:
        ValueError: as for `grid`.
    """
    from PIL import Image

    rows, columns = cells.shape
    for name, texts, count in (
        ("column_headers", column_headers, columns),
        ("row_labels", row_labels, rows),
        ("captions", captions, len(pixels)),
    ):
        if len(texts) not in (0, count):
            raise ValueError(f"`{name}` must be {count} texts or none, but got {len(texts)}.")
    height, width, channels = pixels.shape[1:]
    scale = whole_scale(height, width) if scale is None else scale
    if scale < 1:
        raise ValueError(f"`scale` must be at least 1, but got {scale}.")
    header = fitting_size(column_headers, width * scale, largest=TEXT)
    headers = [wrapped_lines(text, width * scale, header) for text in column_headers]
    below = [wrapped_lines(text, width * scale, TEXT) for text in captions]
    caption_height = max((len(lines) for lines in below), default=0) * line_height(TEXT)
    header_height = max((len(lines) for lines in headers), default=0) * line_height(header)
    title_height = line_height(TITLE) + 2 if title else 0
    labels = [text.splitlines() for text in row_labels]
    left = max((text_width(line, TEXT) for lines in labels for line in lines), default=-_EDGE) + _EDGE
    left += _MARGIN if left else 0
    top = title_height + header_height + (GAP if header_height else 0)
    gap = (GAP + caption_height + (GAP if caption_height else 0), GAP)
    tiles = _tiles(pixels, cells, scale, gap)
    size = (left + tiles.shape[1], top + tiles.shape[0] + caption_height)
    picture = Image.new("L" if channels == 1 else "RGB", size, "#ffffff")
    picture.paste(Image.fromarray(tiles[:, :, 0] if channels == 1 else tiles), (left, top))
    draw_lines(
        picture,
        [fitted(title, size[0], TITLE, bold=True)] if title else [],
        left=0,
        top=0,
        width=size[0],
        size=TITLE,
        bold=True,
        align="left",
    )
    step = (height * scale + gap[0], width * scale + gap[1])
    for column, lines in enumerate(headers):
        place = top - GAP - len(lines) * line_height(header)
        draw_lines(picture, lines, left=left + column * step[1], top=place, width=width * scale, size=header)
    for row, lines in enumerate(labels):
        place = top + row * step[0] + (height * scale - len(lines) * line_height(TEXT)) // 2
        draw_lines(picture, lines, left=0, top=place, width=left - _EDGE, size=TEXT, align="right")
    for (row, column), index in np.ndenumerate(cells):
        if captions and index >= 0:
            place = top + row * step[0] + height * scale + 1
            place_left = left + column * step[1]
            draw_lines(picture, below[index], left=place_left, top=place, width=width * scale, size=TEXT)
    picture.info["layout"] = json.dumps(
        {
            "left": left,
            "top": top,
            "step": step,
            "size": (height, width),
            "scale": scale,
            "cells": cells.tolist(),
            "headers": list(column_headers),
            "labels": list(row_labels),
        }
    )
    return picture


def read_grid(path: Path) -> Bytes:
    """The images of a grid that `write_png` wrote, pixel by pixel as they went in.

    Args:
        path: the PNG.

    Returns:
        (N, C, H, W) bytes, in the order in which they were given; of those that were shown.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a PNG of a grid.
    """
    from PIL import Image

    try:
        with Image.open(path) as file:
            layout = json.loads(file.info["layout"])
            pixels = np.asarray(file)
        (height, width), (down, right), scale = layout["size"], layout["step"], layout["scale"]
        cells = np.array(layout["cells"])
        found = {
            int(index): pixels[
                layout["top"] + row * down : layout["top"] + row * down + height * scale : scale,
                layout["left"] + column * right : layout["left"] + column * right + width * scale : scale,
            ]
            for (row, column), index in np.ndenumerate(cells)
            if index >= 0
        }
        images = np.stack([found[index] for index in sorted(found)])
    except FileNotFoundError:
        raise
    except (KeyError, ValueError, TypeError, OSError, SyntaxError):
        raise ValueError(f"{path} is not a grid of images written by the harness.") from None
    return images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)


def top_rows(path: Path, rows: int) -> Image:
    """The first rows of a grid that `write_png` wrote with a title, without that title.

    Args:
        path: the PNG.
        rows: how many, at most.
    """
    from PIL import Image

    with Image.open(path) as file:
        layout = json.loads(file.info["layout"])
        below = min(rows, len(layout["cells"])) - 1
        bottom = layout["top"] + below * layout["step"][0] + layout["size"][0] * layout["scale"]
        return file.crop((0, line_height(TITLE) + 2, file.width, bottom))


def read_headers(path: Path) -> list[str]:
    """What stands above the column of each image of a grid: its class, in one of `class_grid`.

    Args:
        path: a PNG that `write_png` wrote.

    Returns:
        A text for each image that `read_grid` gives, or none where columns have no headers.
    """
    from PIL import Image

    with Image.open(path) as file:
        layout = json.loads(file.info.get("layout", "{}"))
    headers = layout.get("headers")  # of what earlier versions wrote there are none
    if not headers:
        return []
    found = {index: headers[column] for row in layout["cells"] for column, index in enumerate(row)}
    return [found[index] for index in sorted(found) if index >= 0]


def class_grid(
    images: Images,
    labels: Images,
    *,
    class_names: Sequence[str] = (),
    classes: Sequence[int] | None = None,
    rows: int = 10,
    title: str = "",
) -> Image:
    """A grid whose columns are classes: the first `rows` images of each.

    Where a class has fewer images than others, cells stay white.

    Args:
        images: N of them.
        labels: (N,) their classes.
        class_names: a name a class; by default its number.
        classes: which classes; by default all, or 20 spread evenly over them where there are more.
        rows: R.
        title: one line above all.

    Raises:
        ValueError: as for `grid`; or labels are not as many as images, or are no classes.
    """
    pixels = image_bytes(images)
    found = np.asarray(labels.tolist(), dtype=np.int64)
    if found.shape != (len(pixels),):
        raise ValueError(f"`labels` must be {len(pixels)} classes, one an image, but got {found.shape}.")
    count = len(class_names) or int(found.max()) + 1
    if found.min() < 0 or found.max() >= count:
        raise ValueError(f"`labels` must be in 0…{count - 1}, but got {found.min()}…{found.max()}.")
    if classes is None:
        classes = shown_classes(count)
    places = [np.flatnonzero(found == one)[:rows] for one in classes]
    cells = np.full((max(1, *(len(place) for place in places)), len(classes)), -1, dtype=np.int64)
    for column, place in enumerate(places):
        cells[: len(place), column] = place
    headers = [class_names[one] if class_names else str(one) for one in classes]
    return cell_grid(pixels, cells, title=title, column_headers=headers)


def shown_classes(count: int) -> list[int]:
    """The classes that have a column: all of `count`, or 20 spread evenly over them where there are more."""
    found: list[int] = np.linspace(0, count - 1, min(count, _MAX_CLASSES)).round().astype(int).tolist()
    return found


def _tiles(pixels: Bytes, cells: Cells, scale: int, gap: tuple[int, int]) -> Bytes:
    """The images in their cells on white, without anything around them: (height, width, C)."""
    (rows, columns), (height, width, channels) = cells.shape, pixels.shape[1:]
    enlarged = pixels.repeat(scale, axis=1).repeat(scale, axis=2)
    down, right = height * scale + gap[0], width * scale + gap[1]
    sheet = np.full((rows, columns, down, right, channels), 255, dtype=np.uint8)
    shown = cells >= 0
    sheet[shown, : height * scale, : width * scale] = enlarged[cells[shown]]
    joined = sheet.transpose(0, 2, 1, 3, 4).reshape(rows * down, columns * right, channels)
    return joined[: rows * down - gap[0], : columns * right - gap[1]]
