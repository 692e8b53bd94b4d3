"""Singular values of a population's weights, cheaply enough for every evaluation.

Shapes: K runs; a weight of (K, out, in, ...) is K matrices (out, in × ...).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from harness.engine.population import Population
    from harness.network.stacked import Network

__all__ = ["layer_norms", "spectra"]

_ROUNDS = 4
_DIRECTIONS = 8


@torch.no_grad()
def layer_norms(network: Network) -> dict[str, tuple[Tensor, Tensor]]:
    """The largest singular value σ₁ of each weight, and its stable rank ‖W‖²_F / σ₁².

    σ₁ comes from four rounds of power iteration, V ← WᵀWV, on eight fixed directions, and the largest
    singular value within what they span: never too large, exact where a few values stand out, and up to 6 %
    too small for a freshly drawn weight, where none does. A decomposition would give all singular values,
    but takes seconds for a weight of 36,864 × 1,024, where this reads it ten times; the stable rank needs no
    more, and falls with the spectrum as the effective rank does: from the number of rows to 1.

    Args:
        network: K networks. Weights of one dimension have no singular values and are left out.

    Returns:
        The weight's name → σ₁ and stable rank, (K,) float32 on the device; NaN where a weight is not finite
        or 0.

    Source: Halko, Martinsson and Tropp (2011), Algorithm 4.4 (departure: columns are scaled, not made
    orthogonal, between rounds); Miyato et al. (2018), section 2.1 (the matrix of a layer); Rudelson and
    Vershynin (2007), section 1 (stable rank).
    """
    found = {}
    for name, weight in network.weights().items():
        matrix = weight.flatten(2)
        drawn = _kept_directions if matrix.device.type == "cuda" else _directions
        directions = drawn(matrix.shape[2], matrix.device).expand(len(matrix), -1, -1)
        for _ in range(_ROUNDS):
            directions = _unit((_unit(matrix @ directions).mT @ matrix).mT)  # WᵀX: 17 times as long
        within = (matrix @ torch.linalg.qr(directions)[0]).double()
        finite = within.isfinite().all(-1).all(-1)
        gram = torch.where(finite[:, None, None], within.mT @ within, 0.0)
        top = torch.linalg.eigvalsh(gram)[:, -1].clamp_min(0).sqrt()
        top = torch.where(finite, top, torch.nan)
        size = torch.linalg.vector_norm(matrix, dim=(1, 2), dtype=torch.float64)
        found[name] = top.to(matrix.dtype), (size / top).square().to(matrix.dtype)
    return found


def _directions(width: int, device: torch.device) -> Tensor:
    """Where power iteration begins, (width, 8) at most; the same on every device and at every call."""
    fixed = torch.Generator().manual_seed(0)
    return torch.randn(width, min(_DIRECTIONS, width), generator=fixed).to(device)


_kept_directions = cache(_directions)
"""On a GPU they are drawn and sent once."""


def _unit(columns: Tensor) -> Tensor:
    """Columns of length 1; divided by their largest number first, whose square may be out of range."""
    columns = columns / columns.abs().amax(1, keepdim=True)
    unit: Tensor = columns / torch.linalg.vector_norm(columns, dim=1, keepdim=True)
    return unit


def spectra(population: Population, *, layers: bool = False) -> dict[str, list[float]]:
    """What the weights of every live run look like.

    Args:
        population: the runs.
        layers: whether to give every weight's numbers too.

    Returns:
        Key → a number for each live run: `spectra/g_top` and `spectra/d_top`, the largest σ₁ of any weight;
        `spectra/g_rank` and `spectra/d_rank`, the smallest stable rank of any weight, over the most that its
        shape allows; with `layers` also `spectra/g_top:<weight>` and so on.
    """
    live = population.positions()
    numbers: dict[str, Tensor] = {}
    for letter, network in (("g", population.generator), ("d", population.discriminator)):
        norms, shapes = layer_norms(network), network.weights()
        if not norms:
            continue
        tops = {name: top for name, (top, _) in norms.items()}
        ranks = {name: rank / min(shapes[name].flatten(2).shape[1:]) for name, (_, rank) in norms.items()}
        numbers[f"spectra/{letter}_top"] = torch.stack(list(tops.values())).amax(0)
        numbers[f"spectra/{letter}_rank"] = torch.stack(list(ranks.values())).amin(0)
        if layers:
            for name in norms:
                numbers[f"spectra/{letter}_top:{name}"] = tops[name]
                numbers[f"spectra/{letter}_rank:{name}"] = ranks[name]
    if not numbers:
        return {}
    table = torch.stack(list(numbers.values())).cpu()[:, live].tolist()
    return dict(zip(numbers, table, strict=True))
