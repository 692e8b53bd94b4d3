"""Which training images are nearest to others: whether a generator has learnt some by heart.

Shapes: N query images, M training images, each (C, H, W), floats in [-1, 1] or bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.data import scaled
from harness.figures.neighbours import Neighbours

if TYPE_CHECKING:
    from harness.figures.canvas import Images

__all__ = ["nearest_images"]

_CHUNK_BYTES = 64 * 2**20
_QUERIES = 256
_SPARE = 16


def nearest_images(
    queries: Images, train: Images, *, num: int = 5, device: torch.device | str = "cpu"
) -> Neighbours:
    """Search all of the training set for each image's nearest, a chunk at a time.

    ‖q − x‖² = ‖q‖² + ‖x‖² − 2⟨q, x⟩ by matrix products in float32 picks `num` + 16 candidates; their
    distances are then taken anew from the differences, so that a copy is at 0 and not at what rounding left.

    Args:
        queries: N images.
        train: M images of the same shape, on any device, or a file mapped into memory.
        num: k, at most M.
        device: where to search.

    Raises:
        ValueError: shapes differ, `num` is not in 1…M, or numbers are not finite.
    """
    given, stored = torch.as_tensor(queries), torch.as_tensor(train)
    if given.shape[1:] != stored.shape[1:] or given.ndim < 2 or not len(given):
        raise ValueError(
            f"`queries` must be images of the training set's shape {tuple(stored.shape[1:])}, "
            f"but got {tuple(given.shape)}."
        )
    if not 1 <= num <= len(stored):
        raise ValueError(f"`num` must be in 1…{len(stored)}, the training images, but got {num}.")
    wanted = scaled(given.detach().to(device)).to(torch.float32).flatten(1)
    if not wanted.isfinite().all():
        raise ValueError("`queries` hold numbers that are not finite; a diverged generator copies nothing.")
    rows = max(1, _CHUNK_BYTES // (4 * wanted.shape[1]))
    kept = min(num + _SPARE, len(stored))
    squares = wanted.new_empty(len(wanted), 0)
    indices = torch.empty(len(wanted), 0, dtype=torch.int64, device=wanted.device)
    center = scaled(stored[:rows].to(device)).flatten(1).mean(0)  # small norms round less
    around = wanted - center
    for start in range(0, len(stored), rows):
        chunk = scaled(stored[start : start + rows].to(device)).flatten(1) - center
        found, places = _nearest(around, chunk, min(kept, len(chunk)))
        squares, indices = torch.cat([squares, found], dim=1), torch.cat([indices, places + start], dim=1)
        squares, order = squares.topk(min(kept, squares.shape[1]), dim=1, largest=False)
        indices = indices.gather(1, order)
    distances = torch.stack(
        [
            _distances(query, scaled(stored[places.to(stored.device)].to(device)))
            for query, places in zip(wanted, indices, strict=True)
        ]
    )
    nearest, order = distances.sort(dim=1, stable=True)
    return Neighbours(
        indices=indices.gather(1, order)[:, :num].cpu().numpy(), distances=nearest[:, :num].cpu().numpy()
    )


def _nearest(queries: Tensor, chunk: Tensor, kept: int) -> tuple[Tensor, Tensor]:
    """‖x‖² − 2⟨q, x⟩ of each query's nearest of a chunk, and which they are; (N, kept) both."""
    norms = chunk.square().sum(1)
    found = [
        torch.addmm(norms, part, chunk.T, alpha=-2).topk(kept, dim=1, largest=False)
        for part in torch.split(queries, _QUERIES)
    ]
    return torch.cat([part.values for part in found]), torch.cat([part.indices for part in found])


def _distances(query: Tensor, images: Tensor) -> Tensor:
    differences: Tensor = images.flatten(1).double() - query.double()
    return differences.square().sum(1).sqrt()
