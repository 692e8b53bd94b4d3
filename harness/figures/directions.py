"""Pictures of a latent space's directions: grids and film frames, two pages, and strength against eigenvalue.

Shapes: N samples, K directions, T steps of C·H·W numbers, in [-1, 1] or bytes.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness.figures.canvas import Bytes, image_bytes
from harness.figures.grids import grid
from harness.figures.page import page, plain_log_ticks, rendered, wants_log, write_figure
from harness.figures.style import FAKE_COLOUR, REAL_COLOUR, mix
from harness.files import write_text

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

__all__ = ["attribute_map", "direction_films", "direction_frames", "direction_pages", "strength_plot"]

_TEMPLATE = Path(__file__).with_name("directions.html.jinja")
_PNG_SIDE = 64
_SHOWN_SIDE = 96
_JPEG_QUALITY = 90
_HEADROOM = 1.15
"""Height of the axes over the highest mark, for the number above it."""

Array = npt.NDArray[np.float64]


def direction_frames(moved: Tensor, distances: Sequence[float], *, title: str = "") -> list[Image]:
    """K grids, one a direction: a row a sample, a column a step.

    Args:
        moved: (K, N, T, C, H, W).
        distances: T.
        title: what stands before the direction's number.
    """
    headers = [_signed(distance) for distance in distances]
    words = f"{title} · " if title else ""
    labels = [f"sample {number}" for number in range(moved.shape[1])]
    return [
        grid(
            images.flatten(0, 1),
            columns=len(distances),
            title=f"{words}direction {number}",
            column_headers=headers,
            row_labels=labels,
        )
        for number, images in enumerate(moved)
    ]


def direction_films(
    originals: Tensor, moved: Tensor, distances: Sequence[float], *, title: str = ""
) -> list[Image]:
    """T frames of a film: a row a sample; its unedited image, then a column a direction, all at one step.

    Args:
        originals: (N, C, H, W).
        moved: (K, N, T, C, H, W).
        distances: T.
        title: what stands before the distance.
    """
    import torch

    headers = ["un-\nedited", *(f"direction\n{number}" for number in range(len(moved)))]
    words = f"{title} · " if title else ""
    frames = []
    for step, distance in enumerate(distances):
        rows = torch.cat([originals[:, None], moved[:, :, step].transpose(0, 1)], dim=1)
        name = f"{words}{_signed(distance)}"
        frames.append(grid(rows.flatten(0, 1), columns=len(headers), title=name, column_headers=headers))
    return frames


def direction_pages(
    moved: Tensor,
    distances: Sequence[float],
    values: Sequence[float],
    *,
    title: str,
    words: str,
    sample_first: Path,
    semantic_first: Path,
) -> None:
    """Write the two pages, each a single file that needs no other.

    Both show the same images, a row a sample and a direction, a column a step. On the first the samples
    follow each other first: a block a direction, all samples in it. On the second the directions do.

    Args:
        moved: (K, N, T, C, H, W).
        distances: T.
        values: the directions' eigenvalues, K.
        title: what the generator is.
        words: how the directions were found, in a sentence.
        sample_first: path of the first page; its folder must exist.
        semantic_first: path of the second page.
    """
    shape = moved.shape[:3]
    pixels = image_bytes(moved.flatten(0, 2))
    urls = np.array([_data_url(image) for image in pixels], dtype=object).reshape(shape).tolist()
    directions = [f"Direction {k}" for k in range(shape[0])]
    notes = [f"eigenvalue {value:.4g}" for value in values]
    samples = [f"Sample {n}" for n in range(shape[1])]
    by_direction = [
        (name, note, list(zip(samples, rows, strict=True)))
        for name, note, rows in zip(directions, notes, urls, strict=True)
    ]
    by_sample = [
        (name, "", [(f"{directions[k]} ({values[k]:.3g})", urls[k][n]) for k in range(shape[0])])
        for n, name in enumerate(samples)
    ]
    common = {
        "title": title,
        "words": words,
        "headers": [_signed(distance) for distance in distances],
        "size": max(_SHOWN_SIDE, *pixels.shape[1:3]) if max(pixels.shape[1:3]) > _PNG_SIDE else _SHOWN_SIDE,
        "sharp": max(pixels.shape[1:3]) <= _PNG_SIDE,
    }
    for path, order, blocks in (
        (sample_first, "sample first", by_direction),
        (semantic_first, "semantic first", by_sample),
    ):
        write_text(path, rendered(_TEMPLATE, {**common, "order": order, "blocks": blocks}))


def strength_plot(
    stem: Path,
    *,
    shown: Sequence[int],
    values: Array,
    changes: Array,
    errors: Array,
    random_values: Array,
    random_changes: Array,
    num_marked: int,
    columns: str,
    title: str,
) -> None:
    """What a unit along each direction changes in the image, against its eigenvalue.

    Args:
        stem: path of the figure without its suffix.
        shown: numbers of the directions, (R,).
        values: their eigenvalues, (R,).
        changes: mean absolute change of a pixel for a unit along them, (R,).
        errors: standard errors of `changes`, (R,).
        random_values: what stands in an eigenvalue's place for random directions, (Q,).
        random_changes: (Q,).
        num_marked: the first K directions are named.
        columns: what was done to W before it was factorised, such as `with columns of length 1`.
        title: one line above all.
    """
    top = float(max((changes + errors).max(), random_changes.max(initial=0.0)))
    with page(height=3.8) as figure:
        axes = figure.subplots()
        axes.plot(
            random_values,
            random_changes,
            "x",
            color=FAKE_COLOUR,
            markersize=5,
            alpha=0.8,
            label=f"{len(random_values)} random directions",
        )
        bars: dict[str, Any] = {"fmt": "o", "color": REAL_COLOUR, "elinewidth": 1.0, "capsize": 0}
        marked = np.asarray(shown) < num_marked
        rest = ~marked
        if rest.any():
            axes.errorbar(
                values[rest],
                changes[rest],
                errors[rest],
                markersize=4,
                markerfacecolor="white",
                label="further eigenvectors",
                **bars,
            )
        axes.errorbar(
            values[marked], changes[marked], errors[marked], markersize=5, label="those shown", **bars
        )
        for place in np.flatnonzero(marked).tolist():
            axes.annotate(
                str(shown[place]),
                (values[place], changes[place] + errors[place]),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=8,
                color=REAL_COLOUR,
            )
        if wants_log(values):
            axes.set_xscale("log")
            plain_log_ticks(axes, "x")
        axes.set_ylim(0, _HEADROOM * top if top > 0 else None)
        axes.set_xlabel(f"eigenvalue of W Wᵀ; W {columns}")
        axes.set_ylabel("mean absolute change of a pixel\nin [−1, 1], per unit along the direction")
        axes.set_title(title)
        figure.legend(loc="outside upper center", ncols=3, frameon=False)
        write_figure(figure, stem)


def attribute_map(
    stem: Path,
    *,
    names: Sequence[str],
    effects: Array,
    largest_random: Array,
    num_random: int,
    meanings: Sequence[str],
    class_changes: Array | None,
    largest_changes: float,
    title: str,
) -> None:
    """Directions × attributes: what a unit does, in standard deviations, above the most that random ones do.

    Blue is more and vermilion less, which colour-blind readers tell apart; every cell has its number too, and
    a frame where it is beyond all random directions.

    Args:
        stem: path of the figure without its suffix.
        names: of the attributes, (A,).
        effects: (K, A).
        largest_random: the largest size of an effect of a random direction, (A,).
        num_random: how many those are.
        meanings: what the directions are called, (K,).
        class_changes: share of samples of which another class is seen after a unit, (K,), or None.
        largest_changes: the largest of the random directions'.
        title: one line above all.
    """
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.patches import Rectangle

    dark = [mix(colour, "#000000", 0.15) for colour in (FAKE_COLOUR, REAL_COLOUR)]
    stops = [(0.0, dark[0]), (0.5, (1.0, 1.0, 1.0)), (1.0, dark[1])]
    colours = LinearSegmentedColormap.from_list("effects", stops)
    num, every = len(effects), np.vstack([effects, largest_random])
    limit = max(float(np.abs(effects).max()), 1e-9)
    coloured = np.ma.masked_array(every, mask=np.arange(num + 1)[:, None] * np.ones(len(names)) == num)
    with page(height=1.8 + 0.3 * (num + 1)) as figure:
        axes = figure.subplots()
        shown = axes.imshow(coloured, cmap=colours, vmin=-limit, vmax=limit, aspect="auto")
        for (row, column), value in np.ndenumerate(every):
            is_size = row == num or names[column] == "class"
            text = f"{value:.2f}" if is_size else f"{value:+.2f}".replace("-", "−")
            ink = "white" if row < num and abs(value) > 0.6 * limit else "black"
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color=ink)
            if row < num and abs(value) > largest_random[column]:
                corner = (column - 0.46, row - 0.44)
                axes.add_patch(Rectangle(corner, 0.92, 0.88, fill=False, edgecolor="black", linewidth=1.2))
        axes.axhline(num - 0.5, color="black", linewidth=0.8)
        axes.grid(False)
        axes.set_xticks(range(len(names)), names)
        axes.xaxis.tick_top()
        axes.set_yticks(
            range(num + 1), [*(f"direction {row}" for row in range(num)), f"largest of {num_random} random"]
        )
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        right = axes.secondary_yaxis("right")
        notes = list(meanings)
        if class_changes is not None:
            notes = [
                f"{note} ({share:.0%})" for note, share in zip(notes, class_changes.tolist(), strict=True)
            ]
        last = "" if class_changes is None else f"({largest_changes:.0%} at most)"
        right.set_yticks(range(num + 1), [*notes, last])
        right.tick_params(length=0)
        right.spines[:].set_visible(False)
        if class_changes is not None:
            axes.set_xlabel("in brackets: samples whose class changes within a unit", fontsize=8)
        axes.set_title(title)
        figure.colorbar(
            shown,
            ax=axes,
            orientation="horizontal",
            shrink=0.5,
            aspect=40,
            label="change per unit, in standard deviations among samples; framed: beyond all random ones\n"
            "in that attribute alone. A name needs a direction to pass them over all attributes together,\n"
            "so there may be frames in a row with nothing nameable.",
        )
        write_figure(figure, stem)


def _data_url(pixels: Bytes) -> str:
    """An image as text: a PNG, or a JPEG where it is large."""
    from PIL import Image

    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    kind = "png" if max(picture.size) <= _PNG_SIDE else "jpeg"
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **({} if kind == "png" else {"quality": _JPEG_QUALITY}))
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _signed(distance: float) -> str:
    """`+1.5`, `−2`, `0`."""
    text = f"{abs(distance):.2f}".rstrip("0").rstrip(".")
    return text if text == "0" else f"{'−' if distance < 0 else '+'}{text}"
