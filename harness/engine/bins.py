"""The bins that D's scores are counted in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["NUM_BINS", "SCORE_EDGES"]

NUM_BINS = 64
_FARTHEST = 1000.0
_LINEAR = 0.05


def _edges() -> NDArray[np.float64]:
    half = np.sinh(np.linspace(0, np.arcsinh(_FARTHEST / _LINEAR), NUM_BINS // 2 + 1)) * _LINEAR
    half = np.array([float(f"{edge:.4g}") for edge in half])
    return np.concatenate([-half[:0:-1], half])


SCORE_EDGES = _edges()
"""Edges of the bins that D's raw scores are counted in, (E + 1,): even in asinh(score / 0.05) from −1000 to
1000, so that one scale serves logits and the scores of any critic, a clipped one's hundredths too. A bin away
from 0 is 1.39 times as wide as the one before. The outermost bins count all that lies beyond them too.
"""
