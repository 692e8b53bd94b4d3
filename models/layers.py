"""Blocks shared by the families."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

__all__ = ["fully_connected", "widen", "with_depth"]


def widen(width: int, factor: float) -> int:
    """`width` scaled by `factor`, at least 1 unit."""
    return max(1, round(width * factor))


def with_depth(widths: Sequence[int], depth: int) -> list[int]:
    """Hidden widths with the last one repeated `depth` more times."""
    return [*widths, *[widths[-1]] * depth]


def fully_connected(
    widths: Sequence[int], *, slope: float, normalized: frozenset[int] = frozenset(), eps: float = 1e-5
) -> nn.Sequential:
    """Linear layers with a LeakyReLU between each two.

    Args:
        widths: units of every layer, input and output included.
        slope: negative slope of the LeakyReLU; 0 is a ReLU.
        normalized: indices of the linear layers followed by batch norm, before the activation.
        eps: batch norm's ε.
    """
    layers: list[nn.Module] = []
    for index, (before, after) in enumerate(pairwise(widths)):
        layers.append(nn.Linear(before, after))
        if index in normalized:
            layers.append(nn.BatchNorm1d(after, eps=eps))
        if index < len(widths) - 2:
            layers.append(nn.LeakyReLU(slope) if slope else nn.ReLU())
    return nn.Sequential(*layers)
