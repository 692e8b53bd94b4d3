"""Samples of a generator, and a folder of them for other tools.

Shapes: N latents of `latent_dim` numbers, N labels, N samples of `sample_shape`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.recipe.registry import plain_value
from harness.runs.sampling import draw_latents, sample

if TYPE_CHECKING:
    from PIL.Image import Image

    from harness.runs.load import Run

__all__ = ["Generated", "check_images", "generate"]


_BATCH = 256
_MOST_SHOWN = 400
_FEW_CLASSES = 6
_MOST_CLASSES = 25


def check_images(run: Run) -> None:
    """Refuse a run whose samples are no images.

    Raises:
        ValueError: they are not (C, H, W) with 1 or 3 channels.
    """
    shape = run.sample_shape
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise ValueError(
            f"run {run.run_id} ({run.recipe.name}) makes samples of shape {shape}, not images; "
            "choose a run of a recipe on images."
        )


@dataclass(frozen=True, kw_only=True)
class Generated:
    """What `generate` wrote.

    Attributes:
        grid: the PNG that shows them all, or the first 400 of them.
        folder: the folder of the separate PNGs.
        num: how many there are.
    """

    grid: Path
    folder: Path
    num: int


def generate(
    run: Run, num: int, *, directory: Path, labels: Sequence[int] | None = None, seed: int = 0
) -> Generated:
    """Write samples of a run: ``grid.png``, and ``images/00000.png`` and so on, one file a sample.

    The separate files have the data's own size, for tools that score a folder of images. Where there are
    classes, the file's name ends in ``_class3`` and the grid has a column a class, or where they are few a
    caption an image.

    Args:
        run: the run.
        num: N.
        directory: where to; made if it is not there.
        labels: classes to go round in: sample i is of class ``labels[i % len(labels)]``. By default all.
        seed: seed of the latents.

    Raises:
        ValueError: the run makes no images, `num` is below 1, labels are no classes of the run or the run has
            none, or the folder holds other PNGs, which would mix with these.
    """
    from harness.figures import write_images, write_png

    check_images(run)
    num = plain_value(num)
    if isinstance(num, bool) or not isinstance(num, int) or num < 1:
        raise ValueError(f"`num` must be at least 1, but got {num!r}.")
    classes = run.cycle_labels(num, labels)
    latents = draw_latents(num, run.latent_dim, seed=seed)
    folder = directory / "images"
    files = [folder / f"{i:05d}.png" for i in range(num)]
    if classes is not None:
        files = [file.with_stem(f"{file.stem}_class{c}") for file, c in zip(files, classes, strict=True)]
    others = sorted({path.name for path in folder.glob("*.png")} - {file.name for file in files})
    if others:
        raise ValueError(
            f"{folder} holds {len(others)} other PNGs ({others[0]} is one), which would mix with the "
            "samples; give another --out, or empty it."
        )
    folder.mkdir(parents=True, exist_ok=True)
    shown: list[Tensor] = []
    for start in range(0, num, _BATCH):
        batch = slice(start, start + _BATCH)
        made = sample(run.generator, latents[batch], None if classes is None else classes[batch])
        write_images(made, files[batch])
        if start < _MOST_SHOWN:
            shown.append(made)
    images = torch.cat(shown)[:_MOST_SHOWN]
    write_png(_picture(run, images, classes), directory / "grid.png")
    return Generated(grid=directory / "grid.png", folder=folder, num=num)


def _picture(run: Run, images: Tensor, classes: Tensor | None) -> Image:
    from harness.figures import class_grid, grid

    if classes is None:
        return grid(images, title=run.title)
    shown, names = classes[: len(images)], run.class_names
    found = sorted(set(shown.tolist()))
    if len(found) < _FEW_CLASSES:
        return grid(images, title=run.title, captions=[names[number] for number in shown])
    return class_grid(
        images, shown, class_names=names, classes=found[:_MOST_CLASSES], rows=len(images), title=run.title
    )
