"""What an evaluation gives back, scores and why some could not be computed; and two scores of any data.

Shapes: D's scores of N fakes, (N,), and of M reals, (M,).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from harness.metrics.checks import Array

__all__ = ["Halves", "Scores", "d_auc", "energy"]


class Scores(dict[str, float]):
    """Scores by name, with the failures apart: a score that fails never stops a run, and is never made up.

    Args:
        values: name to score.
        failures: name to the reason, one line, for scores that were due but could not be computed.
        details: what is behind a score, by name: `class_ratios`, for each class the number of fakes that the
            classifier is sure are of it, over that of as many reals.
        too_few: those failures that only say that there is too little yet for the score to mean anything.
    """

    def __init__(
        self,
        values: Mapping[str, float],
        failures: Mapping[str, str] | None = None,
        details: Mapping[str, tuple[float, ...]] | None = None,
        too_few: Iterable[str] = (),
    ) -> None:
        super().__init__(values)
        self.failures: Mapping[str, str] = MappingProxyType(dict(failures or {}))
        self.details: Mapping[str, tuple[float, ...]] = MappingProxyType(dict(details or {}))
        self.too_few: frozenset[str] = frozenset(too_few)


class Halves(NamedTuple):
    """One score against two halves of the held-out reals.

    Attributes:
        select: against the half that a checkpoint is chosen by; NaN where it could not be computed.
        report: against the other, which had no say in the choice and says how good it is; NaN likewise.
        reason: why they are NaN, one line.
    """

    select: float
    report: float
    reason: str = ""


def energy(between: float, within_fake: float, within_real: float) -> float:
    """Unbiased squared maximum mean discrepancy with the energy kernel k(x, y) = −‖x − y‖.

    MMD² = 2 E‖x − y‖ − E‖x − x'‖ − E‖y − y'‖. Its mean is 0 where both samples have the same law, so it can
    be negative, and is not clamped.

    Args:
        between: mean distance of a fake and a real.
        within_fake: mean distance of two different fakes.
        within_real: mean distance of two different reals.

    Source: Székely and Rizzo 2013, eq. 2.1; Gretton et al. 2012, eq. 3 for the unbiased estimate.
    """
    return 2 * between - within_fake - within_real


def d_auc(real: Array, fake: Array) -> float:
    """Area under D's ROC curve, P(D(real) > D(fake)) + ½ P(D(real) = D(fake)).

    Only the order of the scores counts, so it means the same for logits, probabilities and critics.

    Args:
        real: (M,) D's scores of held-out reals.
        fake: (N,) D's scores of fresh fakes.

    Returns:
        A probability: 0.5 where D cannot tell, 1 where it always can.

    Source: Mann and Whitney 1947; Hanley and McNeil 1982.
    """
    ordered = np.sort(fake)
    below, not_above = ordered.searchsorted(real, "left"), ordered.searchsorted(real, "right")
    return float((below + not_above).mean() / (2 * len(fake)))
