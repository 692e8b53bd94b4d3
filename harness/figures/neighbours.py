"""Generated images beside the training images nearest to them: memorisation at a glance.

Shapes: N query images, M training images, T held-out ones, each (C, H, W), floats in [-1, 1] or bytes.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from harness.figures.canvas import Images, draw_lines, image_bytes, line_height, wrapped_lines
from harness.figures.grids import TEXT, cell_grid
from harness.figures.style import FAKE_COLOUR

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Neighbours", "memorisation_note", "neighbour_grid"]

_CLOSE_SHARE = 0.01
_CHANCE = 1e-3
_COPY_LEVELS = 1.0
_PAIR_GAP = 12
_BLOCK_GAP = 32


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """The nearest training images of some images.

    Attributes:
        indices: (N, k) which training images, the nearest first.
        distances: (N, k) Euclidean distances to them over all pixels and channels, each in [-1, 1].
    """

    indices: npt.NDArray[np.int64]
    distances: npt.NDArray[np.float64]


def memorisation_note(
    generated: npt.NDArray[np.float64], held_out: npt.NDArray[np.float64], *, num_pixels: int
) -> str:
    """How near generated images are to the training set, against how near held-out real ones are.

    Real images that were never trained on say how near is natural. One in a hundred of them lies closer than
    the distance `limit`; generated images that are copies lie there much more often than that.

    Args:
        generated: (N,) distance of each generated image to its nearest training image.
        held_out: (T,) the same of held-out images.
        num_pixels: numbers in an image; a distance of less than one grey level a pixel makes a copy.

    Returns:
        Two or three sentences.

    Raises:
        ValueError: one of the two is empty.
    """
    if not len(generated) or not len(held_out):
        raise ValueError("distances must be given of at least one generated and one held-out image.")
    limit = close_limit(held_out)
    num, close = len(generated), int(np.count_nonzero(generated < limit))
    share = (np.count_nonzero(held_out < limit) + 1) / (len(held_out) + 1)
    copies = int(np.count_nonzero(generated < _COPY_LEVELS / 127.5 * math.sqrt(num_pixels)))
    words = (
        f"Generated images lie {np.median(generated):.3g} from the nearest training image (median), "
        f"held-out real ones {np.median(held_out):.3g}. Closer than {limit:.3g}, where 1 % of the held-out "
        f"ones are, lie {close} of {num} generated ones ({100 * close / num:.3g} %). "
    )
    if copies:
        words += f"{copies} of them {'is a copy' if copies == 1 else 'are copies'} of a training image. "
    if _tail(close, num, share) >= _CHANCE:
        return words + ("" if copies else "That is no more than chance.")
    return words + (
        "So many are more than chance: look whether they are copies, or only smooth, for distances between "
        "pixels favour smooth images."
    )


def close_limit(held_out: npt.NDArray[np.float64]) -> float:
    """The distance to the training set that 1 % of held-out images fall below.

    Args:
        held_out: (T,) distances of held-out images to their nearest training image.
    """
    return float(np.quantile(held_out, _CLOSE_SHARE))


def _tail(count: int, num: int, share: float) -> float:
    """Chance of `count` or more of `num` where each is one with probability `share`."""
    from scipy.stats import binom

    return float(binom.sf(count - 1, num, share))


def neighbour_grid(
    samples: Images,
    train: Images,
    found: Neighbours,
    *,
    labels: Images | None = None,
    held_out: npt.NDArray[np.float64] | None = None,
    rows: int = 10,
    blocks: int = 2,
) -> Image:
    """The samples nearest to the training set, nearest first, each before its nearest training images.

    Left to themselves they are nearly all of the easiest class, so where there are classes, up to half of the
    places go to the nearest of each. Below each training image stands its distance. Samples closer to the
    training set than 99 % of held-out images are framed.

    Args:
        samples: N generated images.
        train: M training images of the same shape.
        found: what `harness.runs.nearest.nearest_images` found for all of `samples`.
        labels: (M,) the training images' classes; a sample is of its nearest training image's class.
        held_out: (T,) distances of held-out images to their nearest training image; with them, what
            `memorisation_note` says stands above.
        rows: samples in a column, at most.
        blocks: columns of samples, at most.

    Raises:
        ValueError: as for `grid`; or `found` is not of these samples.
    """
    from PIL import Image, ImageDraw

    if len(found.indices) != len(samples):
        raise ValueError(f"`found` is of {len(found.indices)} samples, but got {len(samples)} samples.")
    order, num_classes = _shown(found, labels, rows * blocks)
    num = found.indices.shape[1]
    limit = close_limit(held_out) if held_out is not None and len(held_out) else -math.inf
    parts = []
    for start in range(0, len(order), rows):
        chosen = order[start : start + rows]
        left = cell_grid(
            image_bytes(samples[chosen], "samples"),
            np.arange(len(chosen))[:, None],
            column_headers=["generated"],
            captions=[" "] * len(chosen),
        )
        near = image_bytes(train[found.indices[chosen].ravel()], "train")
        right = cell_grid(
            near,
            np.arange(len(near)).reshape(len(chosen), num),
            column_headers=["nearest", *[""] * (num - 1)],
            captions=[f"{distance:#.3g}" for distance in found.distances[chosen].ravel()],
        )
        part = Image.new(
            "RGB", (left.width + _PAIR_GAP + right.width, max(left.height, right.height)), "#ffffff"
        )
        part.paste(left.convert("RGB"), (0, part.height - left.height))
        part.paste(right.convert("RGB"), (left.width + _PAIR_GAP, part.height - right.height))
        layout = json.loads(left.info["layout"])
        first = part.height - left.height + layout["top"]
        for row in np.flatnonzero(found.distances[chosen, 0] < limit):
            top = first + int(row) * layout["step"][0]
            bottom = top + layout["size"][0] * layout["scale"] - 1
            ImageDraw.Draw(part).rectangle((0, top, left.width - 1, bottom), outline=FAKE_COLOUR, width=2)
        parts.append(part)
    width = sum(part.width for part in parts) + _BLOCK_GAP * (len(parts) - 1)
    shown = "" if len(order) == len(samples) else f"The {len(order)} nearest of {len(samples)}. "
    if shown and num_classes:
        shown = (
            f"{len(order)} of {len(samples)}: the nearest of each of {num_classes} classes, a sample's being "
            "its nearest training image's, and the nearest of the others. "
        )
    if held_out is not None and len(held_out):
        pixels = int(np.prod(samples.shape[1:]))
        shown += memorisation_note(found.distances[:, 0], held_out, num_pixels=pixels)
    lines = wrapped_lines(shown, width, TEXT) if shown else []
    top = len(lines) * line_height(TEXT) + (6 if lines else 0)
    sheet = Image.new("RGB", (width, top + max(part.height for part in parts)), "#ffffff")
    draw_lines(sheet, lines, left=0, top=0, width=width, size=TEXT, align="left")
    place = 0
    for part in parts:
        sheet.paste(part, (place, top))
        place += part.width + _BLOCK_GAP
    return sheet


def _shown(found: Neighbours, labels: Images | None, count: int) -> tuple[npt.NDArray[np.int64], int]:
    """Which samples are shown, nearest first; and of how many classes room was kept for the nearest."""
    order: npt.NDArray[np.int64] = np.argsort(found.distances[:, 0], kind="stable")
    firsts = np.zeros(0, dtype=np.int64)
    if labels is not None:
        classes = np.asarray(labels.tolist())[found.indices[order, 0]]
        firsts = np.sort(np.unique(classes, return_index=True)[1])[: count // 2]
    others = np.setdiff1d(np.arange(len(order)), firsts)[: count - len(firsts)]
    chosen: npt.NDArray[np.int64] = order[np.sort(np.concatenate([firsts, others]))]
    return chosen, len(firsts)
