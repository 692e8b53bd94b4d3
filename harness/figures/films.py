"""How the images of fixed latents change while a run trains: filmstrips and GIFs.

Shapes: N images of (C, H, W) a step, floats in [-1, 1] or bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.engine.schedule import log_spaced_steps
from harness.figures.canvas import Bytes, Images, image_bytes, write_gif
from harness.figures.grids import cell_grid, grid, read_grid, read_headers

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["filmstrip", "filmstrip_gif", "log_spaced_steps", "read_classes", "read_frames"]


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
    max_columns: int = 12,
    row_labels: Sequence[str] = (),
    title: str = "",
    scale: int | None = None,
) -> Image:
    """How the images of the same latents change while training: a row a latent, a column a step.

    Args:
        frames: step → the images of the fixed latents, in the same order at every step.
        rows: how many latents, at most.
        max_columns: how many steps, at most; the first and the last are always there.
        row_labels: a text for each latent, such as its class, or none.
        title: one line above all.
        scale: as for `grid`.

    Raises:
        ValueError: as for `grid`; or there are no frames.
    """
    steps = _chosen(sorted(frames), max_columns)
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
        scale=scale,
    )


def filmstrip_gif(
    frames: Mapping[int, Images],
    path: Path,
    *,
    title: str = "",
    num_images: int = 32,
    max_frames: int = 30,
    seconds: float = 6.0,
    scale: int | None = None,
) -> None:
    """Write the images of the same latents as a GIF, a frame a step, the step above them.

    Args:
        frames: step → the images of the fixed latents.
        path: the GIF; its folder must exist.
        title: what stands before the step.
        num_images: how many latents, at most, eight a row.
        max_frames: how many steps, at most; the first and the last are always there.
        seconds: how long one pass takes.
        scale: as for `grid`.

    Raises:
        ValueError: as for `filmstrip`.
    """
    words = f"{title} · " if title else ""
    pictures = [
        grid(frames[step][:num_images], columns=8, title=f"{words}step {step:,}", scale=scale)
        for step in _chosen(sorted(frames), max_frames)
    ]
    write_gif(pictures, path, seconds=seconds)


def _chosen(steps: Sequence[int], count: int) -> list[int]:
    if not steps:
        raise ValueError("`frames` must hold the images of at least one step, but got none.")
    places = np.unique(np.linspace(0, len(steps) - 1, min(count, len(steps))).round().astype(int))
    return [steps[place] for place in places]
