"""Singular values of a network's layers: which of them has lost its rank, or blows its input up.

Shapes: a weight (out, in, ...) is the matrix (out, in × ...).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

__all__ = ["Spectrum", "layer_spectra"]


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """Singular values of one layer's weight.

    Attributes:
        largest: the most that the layer can stretch its input (of a convolution, of one patch).
        smallest: the least.
        effective_rank: exp of the entropy of the values' shares: from 1 to their number.
        num_values: how many there are.
    """

    largest: float
    smallest: float
    effective_rank: float
    num_values: int


def layer_spectra(network: nn.Module) -> dict[str, Spectrum]:
    """Spectra of all weights with two dimensions or more, by the parameter's name.

    Args:
        network: a plain module; transposed convolutions are read as they are stored.

    Raises:
        ValueError: a weight that is not finite.

    Source: Roy and Vetterli 2007 (effective rank); Miyato et al. 2018, section 2.1 (the matrix of a layer).
    """
    found = {}
    for name, weight in network.named_parameters():
        if weight.ndim < 2:
            continue
        matrix = weight.detach().flatten(1).double().cpu()
        if not bool(matrix.isfinite().all()):
            raise ValueError(f"the weight `{name}` is not finite; the run has diverged.")
        values = torch.linalg.svdvals(matrix)
        share = values / values.sum().clamp_min(1e-300)
        found[name] = Spectrum(
            largest=float(values.max()),
            smallest=float(values.min()),
            effective_rank=float(torch.exp(-torch.xlogy(share, share).sum())),
            num_values=len(values),
        )
    return found
