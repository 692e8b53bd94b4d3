"""How the images of fixed latents change while a run trains: filmstrips and GIFs.

Shapes: N images of (C, H, W) a step, floats in [-1, 1] or bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.figures.canvas import Bytes, Images, image_bytes, write_gif
from harness.figures.grids import cell_grid, grid, read_grid, read_headers

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["filmstrip", "filmstrip_gif", "read_classes", "read_frames"]

_COLUMNS = 12
_MAX_FRAMES = 30
_FRAME_IMAGES = 32


def read_frames(folder: Path) -> dict[int, Bytes]:
    """The images of every ``step_00001234.png`` in a folder that is a grid.

    Args:
        folder: a run's samples.

    Returns:
        step → (N, C, H, W) bytes, by step.

    Raises:
        ValueError: one of them is not a grid that `write_png` wrote.
    """
    paths = {int(path.stem.removeprefix("step_")): path for path in folder.glob("step_*.png")}
    return {step: read_grid(paths[step]) for step in sorted(paths)}


def read_classes(folder: Path) -> list[str]:
    """The class of each image of a folder's frames; none where frames have no column a class.

    Args:
        folder: a run's samples.
    """
    last = max(folder.glob("step_*.png"), default=None)
    return [] if last is None else read_headers(last)


def filmstrip(
    frames: Mapping[int, Images],
    *,
    rows: int = 8,
    row_labels: Sequence[str] = (),
    title: str = "",
) -> Image:
    """How the images of the same latents change while training: a row a latent, a column each of 12 steps.

    The first and the last step are always there.

    Args:
        frames: step → the images of the fixed latents, in the same order at every step.
        rows: how many latents, at most.
        row_labels: a text for each latent, such as its class, or none.
        title: one line above all.

    Raises:
        ValueError: as for `grid`; or there are no frames.
    """
    steps = _chosen(sorted(frames), _COLUMNS)
    rows = min(rows, *(len(frames[step]) for step in steps))
    columns = [image_bytes(frames[step][:rows]) for step in steps]
    cells = np.arange(rows * len(steps)).reshape(len(steps), rows).T
    headers = [f"step\n{steps[0]:,}", *(f"{step:,}" for step in steps[1:])]
    return cell_grid(
        np.concatenate(columns),
        cells,
        title=title,
        column_headers=headers,
        row_labels=row_labels[:rows],
    )


def filmstrip_gif(frames: Mapping[int, Images], path: Path, *, title: str = "") -> None:
    """Write the images of 32 latents, eight a row, as a GIF, a frame each of 30 steps, the step above them.

    The first and the last step are always there.

    Args:
        frames: step → the images of the fixed latents.
        path: the GIF; its folder must exist.
        title: what stands before the step.

    Raises:
        ValueError: as for `filmstrip`.
    """
    words = f"{title} · " if title else ""
    pictures = [
        grid(frames[step][:_FRAME_IMAGES], columns=8, title=f"{words}step {step:,}")
        for step in _chosen(sorted(frames), _MAX_FRAMES)
    ]
    write_gif(pictures, path)


def _chosen(steps: Sequence[int], count: int) -> list[int]:
    if not steps:
        raise ValueError("`frames` must hold the images of at least one step, but got none.")
    places = np.unique(np.linspace(0, len(steps) - 1, min(count, len(steps))).round().astype(int))
    return [steps[place] for place in places]
