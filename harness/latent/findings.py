"""What latent edits show: the figure, and the plain finding in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from harness.latent.edits import EditTable, Effects

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["edit_figure", "finding"]

_WORDS = {"double": "× 2", "zero": "= 0", "negate": "× −1"}
_SHIFTS = {"double": "+z_d", "zero": "−z_d", "negate": "−2·z_d"}
_STANDS_OUT = 3.0
_ROUNDING = 1e-5


def edit_figure(table: EditTable, *, title: str = "", classes: Sequence[str] = ()) -> Image:
    """A row of originals above R rows of edits, a column a latent; dimension by dimension.

    Many edits cannot be seen, so each row says what it measures: the mean absolute change of a pixel of the
    latent that was edited, or of all if all were.

    Args:
        table: what `edit` made, of images.
        title: one line above all.
        classes: the name of each latent's class, L of them, or none.
    """
    from harness.figures import grid

    num = len(table.originals)
    edited = table.edited.flatten(0, 1)
    edits = [f"z[{dim}] {_WORDS[name]}" for dim in table.dims for name in table.edits]
    changes = (table.changes.mean(1) if table.row is None else table.changes[:, table.row]).tolist()
    labels = [f"{words}\nchange {value:.2g} a pixel" for words, value in zip(edits, changes, strict=True)]
    headers = [f"latent {i}" + ("\nedited" if table.row in (None, i) else "\nleft alone") for i in range(num)]
    if classes:
        headers = [f"{words}\n{name}" for words, name in zip(headers, classes, strict=True)]
    return grid(
        torch.cat([table.originals, edited]),
        columns=num,
        title=title,
        column_headers=headers,
        row_labels=["originals\npixels in [−1, 1]", *labels],
    )


def finding(table: EditTable, ranked: Effects) -> list[str]:
    """What the edits say, in sentences; also what they cannot say.

    Args:
        table: the edits.
        ranked: effects of the table's dimensions at least.
    """
    return [_independence(table), _collinearity(table), *_ranking(table, ranked)]


def _independence(table: EditTable) -> str:
    num = len(table.originals)
    if table.row is None:
        ratios = (table.changes / table.shifts.clamp(min=1e-12))[table.shifts > 0].tolist() or [0.0]
        changed = int((table.changes > 0).any(0).sum())
        return (
            f"The numbers were edited in all {num} latents, and changed {changed} of {num} images, by "
            f"{min(ratios):.2g} to {max(ratios):.2g} a pixel per unit of z: how much a number does depends "
            "on the others beside it."
        )
    if table.largest_leak > _ROUNDING:
        return (
            f"An edit of latent {table.row} changed other images too, a pixel by up to "
            f"{table.largest_leak:.2g}: this generator mixes the samples of a batch, as batch norm does in "
            "training mode."
        )
    same = "to the last bit" if table.largest_leak == 0 else "but for rounding"
    return (
        f"An edit of latent {table.row} changed image {table.row} alone; the other {num - 1} are the same "
        f"{same}. That restates that the rows of a batch are independent, each image being a function of its "
        "own latent; it says nothing about what the generator has learnt."
    )


def _collinearity(table: EditTable) -> str:
    moves = ", ".join(f"{_SHIFTS[name]} ({name})" for name in table.edits)
    words = f"The edits of a number move z along one line, Δz = {moves}"
    words += ": one direction at several distances, not several directions." if len(table.edits) > 1 else "."
    per_unit = table.per_unit
    if len(table.edits) > 1 and bool((per_unit > 0).all()):
        spread = float((per_unit.max(1).values / per_unit.min(1).values).max())
        words += (
            f" Per unit of z their effects differ by a factor of {spread:.2f} at most: what it is above 1 is "
            "how much the generator bends along the line."
        )
    return words


def _ranking(table: EditTable, ranked: Effects) -> list[str]:
    strongest = ranked.ranked[0]
    weakest = ranked.ranked[-1]
    if strongest.per_unit == 0:
        return ["No dimension that was measured changes the image: the generator ignores its latent there."]
    lines = []
    if len(ranked.ranked) > 1:
        ratio = strongest.per_unit / ranked.median if ranked.median > 0 else float("inf")
        verdict = "stands out" if ratio >= _STANDS_OUT else "does not stand out"
        lines.append(
            f"Of {len(ranked.ranked)} dimensions z[{strongest.dim}] moves the image most, "
            f"{strongest.per_unit:.3g} a pixel per unit of z, {ratio:.2g} times the median "
            f"{ranked.median:.3g}; the weakest, z[{weakest.dim}], {weakest.per_unit:.3g}. It {verdict}."
        )
    dead = [effect.dim for effect in ranked.ranked if effect.per_unit == 0]
    if dead:
        shown = ", ".join(f"z[{dim}]" for dim in dead[:5])
        lines.append(f"{len(dead)} of them do nothing at all: {shown}{' …' if len(dead) > 5 else ''}.")
    chosen = [ranked.of(dim) for dim in table.dims]
    if len(ranked.ranked) > len(chosen):
        places = ", ".join(f"z[{effect.dim}] {effect.rank}" for effect in chosen)
        lines.append(f"Ranks of the dimensions shown, of {len(ranked.ranked)}: {places}.")
    return lines
