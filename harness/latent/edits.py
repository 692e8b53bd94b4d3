"""Edits of single numbers of latents, how much each dimension of z moves the image, and what that shows.

Shapes: L latents of Z numbers; D chosen dimensions; E edits; R = D · E rows of edited images, dimension by
dimension: row d · E + e shows edit e of dimension d.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.runs.sampling import Generator, sample
from harness.seeding import generator_for

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "EDITS",
    "EditTable",
    "Effect",
    "Effects",
    "change_per_unit",
    "choose_dims",
    "edit",
    "edit_figure",
    "effects",
    "finding",
]

EDITS: dict[str, float] = {"double": 2.0, "zero": 0.0, "negate": -1.0}
"""What each edit multiplies a number by. All three move it along one line: Δz = +z, −z, −2z."""

_WORDS = {"double": "× 2", "zero": "= 0", "negate": "× −1"}
_SHIFTS = {"double": "+z_d", "zero": "−z_d", "negate": "−2·z_d"}
_STANDS_OUT = 3.0
_ROUNDING = 1e-5


@dataclass(frozen=True, kw_only=True)
class EditTable:
    """Images of latents, before and after edits.

    Attributes:
        dims: the D dimensions.
        edits: the E names of edits.
        row: the only latent that was edited, or None if all were.
        originals: (L, *shape).
        edited: (R, L, *shape).
        changes: (R, L) mean absolute change of a pixel, pixels being in [-1, 1].
        shifts: (R, L) |Δz|, how far the edit moved the number; 0 for a latent that was left alone.
    """

    dims: tuple[int, ...]
    edits: tuple[str, ...]
    row: int | None
    originals: Tensor
    edited: Tensor
    changes: Tensor
    shifts: Tensor

    @property
    def per_unit(self) -> Tensor:
        """(D, E) mean absolute change of a pixel per unit of z: all changes over all shifts of a row."""
        shifts = self.shifts.sum(1)
        ratios = torch.where(shifts > 0, self.changes.sum(1) / shifts, torch.zeros_like(shifts))
        return ratios.view(len(self.dims), len(self.edits))

    @property
    def largest_leak(self) -> float:
        """The largest change of any pixel of a latent that was left alone; 0 if latents are independent."""
        if self.row is None:
            return 0.0
        others = [i for i in range(len(self.originals)) if i != self.row]
        if not others:
            return 0.0
        return float((self.edited[:, others] - self.originals[others]).abs().max())


def edit(
    generator: Generator,
    latents: Tensor,
    dims: Sequence[int],
    *,
    edits: Sequence[str] = tuple(EDITS),
    all_rows: bool = False,
    row: int = 0,
    labels: Tensor | None = None,
) -> EditTable:
    """Edit chosen numbers of latents, and look.

    "Editing one number" has two readings: one number of one latent, z[row, d], with the others of the batch
    beside it as witnesses; or a dimension, z[:, d], in all latents.

    Args:
        generator: latents (and labels) → images; a module is put into evaluation mode meanwhile.
        latents: (L, Z).
        dims: the dimensions d.
        edits: of `EDITS`.
        all_rows: the second reading.
        row: which latent the first reading edits.
        labels: (L,) classes, for a generator that takes them.

    Raises:
        ValueError: a dimension, an edit or a row that there is not, or none at all.
    """
    _check_dims(dims, latents.shape[1])
    unknown = [name for name in edits if name not in EDITS]
    if unknown or not edits:
        raise ValueError(
            f"`edits` must be of {', '.join(EDITS)}, but got {unknown[0] if unknown else 'none'}."
        )
    if not 0 <= row < len(latents):
        raise ValueError(f"`row` must be in 0…{len(latents) - 1}, but got {row}.")
    rows = slice(None) if all_rows else slice(row, row + 1)
    originals = sample(generator, latents, labels)
    changed, shifts = [], []
    for dim in dims:
        for name in edits:
            moved = latents.clone()
            moved[rows, dim] *= EDITS[name]
            changed.append(sample(generator, moved, labels))
            shifts.append((moved - latents)[:, dim].abs())
    edited = torch.stack(changed)
    return EditTable(
        dims=tuple(dims),
        edits=tuple(edits),
        row=None if all_rows else row,
        originals=originals,
        edited=edited,
        changes=(edited - originals).abs().flatten(2).mean(2),
        shifts=torch.stack(shifts),
    )


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What one dimension does.

    Attributes:
        dim: the dimension.
        per_unit: mean absolute change of a pixel, in [-1, 1], when z moves by 1 along it.
        error: standard error of `per_unit` over the latents.
        rank: 1 for the strongest of those measured.
    """

    dim: int
    per_unit: float
    error: float
    rank: int


@dataclass(frozen=True, kw_only=True)
class Effects:
    """The effects of dimensions.

    Attributes:
        ranked: strongest first.
        num_latents: over how many latents they are means.
        latent_dim: Z.
    """

    ranked: tuple[Effect, ...]
    num_latents: int
    latent_dim: int

    def of(self, dim: int) -> Effect:
        """The effect of one dimension."""
        return next(effect for effect in self.ranked if effect.dim == dim)

    @property
    def median(self) -> float:
        """The median effect."""
        return float(torch.tensor([effect.per_unit for effect in self.ranked]).median())


def change_per_unit(
    generator: Generator,
    latents: Tensor,
    directions: Tensor,
    *,
    labels: Tensor | None = None,
    batch: int = 256,
) -> Tensor:
    """How much the images change when their latents move by one unit along each direction, both ways.

    c(n, z) = mean over pixels of (|G(z + n) − G(z)| + |G(z − n) − G(z)|) / 2

    A whole unit, one standard deviation of z, is taken rather than a derivative, so that the directions are
    compared over a distance at which one sees something; both ways, so that where z lies does not matter.

    Args:
        generator: latents (and labels) → images.
        latents: (L, Z).
        directions: n, (R, Z), of length 1.
        labels: (L,) classes, for a generator that takes them.
        batch: images made at once.

    Returns:
        c, (R, L) float64; pixels are in [-1, 1].
    """
    originals = sample(generator, latents, labels, batch=batch)
    twice = None if labels is None else torch.cat([labels, labels])
    rows = []
    for unit in directions.to(latents.dtype):
        both = sample(generator, torch.cat([latents + unit, latents - unit]), twice, batch=batch)
        moved = (both.view(2, *originals.shape) - originals).abs()
        rows.append(moved.flatten(2).double().mean((0, 2)))
    return torch.stack(rows)


def effects(
    generator: Generator, latents: Tensor, *, dims: Sequence[int] | None = None, labels: Tensor | None = None
) -> Effects:
    """How much each dimension moves the image: mean absolute pixel change per unit of z.

    effect(d) is the mean over latents of what `change_per_unit` measures along e_d.

    Args:
        generator: latents (and labels) → images.
        latents: (L, Z).
        dims: which dimensions; by default all.
        labels: (L,) classes, for a generator that takes them.

    Raises:
        ValueError: a dimension that there is not, or none.
    """
    wanted = tuple(range(latents.shape[1])) if dims is None else tuple(dims)
    _check_dims(wanted, latents.shape[1])
    units = torch.eye(latents.shape[1], dtype=latents.dtype)[list(wanted)]
    moved = change_per_unit(generator, latents, units, labels=labels)
    means = moved.mean(1).tolist()
    errors = (moved.std(1) / moved.shape[1] ** 0.5 if moved.shape[1] > 1 else moved[:, 0] * nan).tolist()
    order = sorted(range(len(wanted)), key=lambda i: (-means[i], wanted[i]))
    ranked = tuple(
        Effect(dim=wanted[i], per_unit=means[i], error=errors[i], rank=rank)
        for rank, i in enumerate(order, start=1)
    )
    return Effects(ranked=ranked, num_latents=len(latents), latent_dim=latents.shape[1])


def choose_dims(text: str, ranked: Effects, *, seed: int = 0) -> tuple[int, ...]:
    """The dimensions that a command's words mean.

    Args:
        text: ``5``: as many, drawn by the seed; ``top5``: the strongest; ``3,17,42`` (or ``3,``): these.
        ranked: the effects of all dimensions.
        seed: of the draw.

    Raises:
        ValueError: anything else, or more than there are.
    """
    count, total = text.removeprefix("top"), ranked.latent_dim
    if "," in text:
        parts = [part.strip() for part in text.split(",") if part.strip()]
        if not parts or not all(part.isdecimal() for part in parts):
            raise ValueError(f"`--dims` takes a number, top5, or a list like 3,17,42, but got {text!r}.")
        chosen = tuple(dict.fromkeys(int(part) for part in parts))
        _check_dims(chosen, total)
        return chosen
    if not count.isdecimal():
        raise ValueError(f"`--dims` takes a number, top5, or a list like 3,17,42, but got {text!r}.")
    if not 1 <= int(count) <= total:
        raise ValueError(f"`--dims` must be in 1…{total}, the latent's dimensions, but got {text}.")
    if text.startswith("top"):
        return tuple(effect.dim for effect in ranked.ranked[: int(count)])
    random = generator_for(seed, "latent dims", 0, torch.device("cpu"))
    return tuple(sorted(torch.randperm(total, generator=random)[: int(count)].tolist()))


def _check_dims(dims: Sequence[int], latent_dim: int) -> None:
    bad = [dim for dim in dims if not 0 <= dim < latent_dim]
    if bad or not dims:
        raise ValueError(
            f"`dims` must be in 0…{latent_dim - 1}, the latent's dimensions, "
            f"but got {bad[0] if bad else 'none'}."
        )


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
