"""The rules by which runs are judged, and every number in them.

Of several rules that fire, the first wins:

| verdict            | rule                                                                        | looks |
|--------------------|-----------------------------------------------------------------------------|-------|
| `diverged`         | a number is not finite, or S > 10,000                                       | 1     |
|                    | g > 100, and more than 30 times what it was at first, or S > 100            | 2     |
| `d-saturated`      | A ≥ 0.99, and g < 1e-4 or L < 0.01                                          | 2     |
| `collapsed`        | ρ < 0.05                                                                    | 2     |
|                    | B ≤ 0.15 and not growing, of clear samples on the data or with L > 0.6      | 2     |
| `partial-collapse` | B < 0.6, or C < 0.25, of samples on the data                                | 1     |
| `immature`         | Dn < 0.3, or K < 0.2, or M < 0.03                                           | 1     |
| `healthy`          | none of these                                                               | 1     |

- B: share of the data's modes that are there: classes where a classifier knows them, and else bins;
- C: coverage of the real samples, over what other real samples get;
- Dn: density of the samples, over what real samples get;
- K: share of samples of a clear class, or near a mode of points, over that of real ones;
- ρ: mean distance between two samples, over that of real ones;
- A: how often D scores a real sample above a generated one;
- g: norm of the generator's gradient;
- L: D's loss, over that of a D that cannot tell;
- S: distance between D's mean scores of real and of generated samples;
- M: how far the samples have ever been from the untrained generator's, in their distance from the data or
  from each other, as a share of the untrained one's.

The rules rest on samples, because losses and gradients alone barely foretell failure. Two looks are two
evaluations running, the untrained generator's not among them. `sweeps/results/verdict/` holds the runs on
which the numbers were chosen, and how they fare.

Samples are on the data if Dn ≥ 0.3, K ≥ 0.2 and M ≥ 0.03; modes are growing if B rises by more than 0.05 a
look. A young generator makes nearly the same image over and over, and recovers: few modes condemn only where
the samples are good (the collapse that the word was made for), or where D does not know them from real ones
(L > 0.6), so that there is nothing to recover by. Where nothing tells clear samples, as for images without a
classifier, L decides alone.

Classes are counted over images of a clear class alone. While images are still blurred few classes would be
found, and a network that is learning well would be condemned; so where K < 0.2, B is that of bins. A run that
has not moved (M < 0.03) is not collapsed, whatever its samples look like: it has not begun.

The non-saturating loss keeps g large however sure D is, so g alone does not show that D has won; L does. It
is not known for a critic, whose loss has no floor; there S tells a critic that runs away.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Literal, get_args

__all__ = ["HOPELESS", "RULES", "VERDICTS", "Numbers", "Rule", "Thresholds", "VerdictName"]

VerdictName = Literal["diverged", "d-saturated", "collapsed", "partial-collapse", "immature", "healthy"]

VERDICTS: tuple[VerdictName, ...] = get_args(VerdictName)
"""All verdicts, the worst first; where several rules fire, the first of them decides."""

HOPELESS: frozenset[VerdictName] = frozenset({"diverged", "d-saturated", "collapsed"})
"""Verdicts from which runs do not recover: reasons to stop one."""


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Every number of the rules.

    Attributes:
        looks: how many evaluations in a row a rule must hold to condemn a run for good.
        diverged_grad_norm: g above which a generator has diverged, if `diverged_growth` or
            `diverged_score_gap` is exceeded too.
        diverged_growth: g as a multiple of the first g.
        diverged_score_gap: S, how far D's scores of real and generated samples are apart.
        runaway_score_gap: S above which it has diverged whatever its gradients, which may be 0 by then.
        saturated_d_auc: A from which D always knows, if g or L is also below its bound.
        saturated_grad_norm: g below which nothing reaches the generator any more.
        saturated_loss_share: L below which D has nothing left to learn.
        collapsed_pair_distance: ρ below which all samples are the same.
        collapsed_modes: B up to which next to no modes are left, if they are not growing, and samples are
            clear or D cannot tell.
        growing_modes: rise of B since the look before, above which modes are growing.
        fooled_loss_share: L above which D cannot tell.
        partial_modes: B below which modes are missing.
        partial_coverage: C below which most of the real samples have nothing near them.
        immature_density: Dn below which samples do not lie on the data yet.
        intra_mode_density: Dn above which samples huddle inside of modes; a flag.
        unmoved: M below which a run has not begun.
        unclear_confident: K below which samples are not of a clear class yet, and their classes not counted.
        score_coverage: C that makes the score full.

    Raises:
        ValueError: a number that is not positive and finite, or out of order.
    """

    looks: int = 2
    diverged_grad_norm: float = 100.0
    diverged_growth: float = 30.0
    diverged_score_gap: float = 100.0
    runaway_score_gap: float = 10_000.0
    saturated_d_auc: float = 0.99
    saturated_grad_norm: float = 1e-4
    saturated_loss_share: float = 0.01
    collapsed_pair_distance: float = 0.05
    collapsed_modes: float = 0.15
    growing_modes: float = 0.05
    fooled_loss_share: float = 0.6
    partial_modes: float = 0.6
    partial_coverage: float = 0.25
    immature_density: float = 0.3
    intra_mode_density: float = 1.5
    unclear_confident: float = 0.2
    unmoved: float = 0.03
    score_coverage: float = 0.5

    def __post_init__(self) -> None:
        for given in fields(self):
            value = getattr(self, given.name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"`thresholds.{given.name}` must be positive and finite, but got {value}.")
        for low, high in (
            ("collapsed_modes", "partial_modes"),
            ("saturated_grad_norm", "diverged_grad_norm"),
            ("immature_density", "intra_mode_density"),
            ("diverged_score_gap", "runaway_score_gap"),
        ):
            if getattr(self, low) >= getattr(self, high):
                raise ValueError(
                    f"`thresholds.{low}` must be below `{high}`, {getattr(self, high)}, "
                    f"but got {getattr(self, low)}."
                )


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """What the rules look at; a number that could not be had is None, and no rule that needs it fires.

    Attributes:
        modes: B.
        coverage: C.
        density: Dn.
        pair_distance: ρ.
        d_auc: A.
        confident: K.
        g_grad_norm: g.
        d_loss_share: L.
        score_gap: S.
        moved: M.
        first_g_grad_norm: the first g of the run.
        previous_modes: B at the evaluation before, if it was of the same modes.
    """

    modes: float | None = None
    coverage: float | None = None
    density: float | None = None
    pair_distance: float | None = None
    d_auc: float | None = None
    confident: float | None = None
    g_grad_norm: float | None = None
    d_loss_share: float | None = None
    score_gap: float | None = None
    moved: float | None = None
    first_g_grad_norm: float | None = None
    previous_modes: float | None = None

    def begun(self, thresholds: Thresholds) -> bool:
        """Whether samples differ from the untrained generator's, or it is not known whether they do."""
        return self.moved is None or self.moved >= thresholds.unmoved

    def clear(self, thresholds: Thresholds) -> bool:
        """Whether samples are known to be of clear classes or modes, and lie on the data."""
        return self.confident is not None and self.on_data(thresholds)

    def on_data(self, thresholds: Thresholds) -> bool:
        """Whether samples lie on the data, clearly enough for missing modes to be told."""
        if not self.begun(thresholds):
            return False
        dense = self.density is None or self.density >= thresholds.immature_density
        return dense and (self.confident is None or self.confident >= thresholds.unclear_confident)


Test = Callable[[Numbers, Thresholds], str | None]


def _exploded(n: Numbers, t: Thresholds) -> str | None:
    g, first, gap = n.g_grad_norm, n.first_g_grad_norm, n.score_gap
    if g is None or g <= t.diverged_grad_norm:
        return None
    above = f"the generator's gradient norm is {g:.3g}, above {t.diverged_grad_norm:g}"
    if first is not None and g > t.diverged_growth * first:
        return f"{above} and more than {t.diverged_growth:g} times the first, {first:.3g}"
    if gap is not None and gap > t.diverged_score_gap:
        return (
            f"{above}, and the discriminator's scores of real and generated samples are {gap:.3g} apart, "
            f"more than {t.diverged_score_gap:g}"
        )
    return None


def _saturated(n: Numbers, t: Thresholds) -> str | None:
    if n.d_auc is None or n.d_auc < t.saturated_d_auc:
        return None
    always = f"the discriminator always knows (AUC {n.d_auc:.3g}, from {t.saturated_d_auc:g} on)"
    if n.g_grad_norm is not None and n.g_grad_norm < t.saturated_grad_norm:
        return (
            f"{always} and the generator's gradient norm is {n.g_grad_norm:.3g}, below "
            f"{t.saturated_grad_norm:g}"
        )
    if n.d_loss_share is not None and n.d_loss_share < t.saturated_loss_share:
        return (
            f"{always} and its loss is {n.d_loss_share:.2g} of one that cannot tell, below "
            f"{t.saturated_loss_share:g}"
        )
    return None


def _same(n: Numbers, t: Thresholds) -> str | None:
    if n.pair_distance is None or n.pair_distance >= t.collapsed_pair_distance or not n.begun(t):
        return None
    return (
        f"the distance between two samples is {n.pair_distance:.3g} of that between real ones, below "
        f"{t.collapsed_pair_distance:g}"
    )


def _few_modes(n: Numbers, t: Thresholds) -> str | None:
    if n.modes is None or n.modes > t.collapsed_modes or not n.begun(t):
        return None
    if n.previous_modes is not None and n.modes > n.previous_modes + t.growing_modes:
        return None
    left = f"{n.modes:.0%} of the modes are left, not more than {t.collapsed_modes:.0%}, and not growing"
    if n.clear(t):
        return left
    if n.d_loss_share is not None and n.d_loss_share > t.fooled_loss_share:
        return (
            f"{left}; and the discriminator does not know them from real ones: its loss is "
            f"{n.d_loss_share:.2g} of one that cannot tell, above {t.fooled_loss_share:g}"
        )
    return None


def _some_modes(n: Numbers, t: Thresholds) -> str | None:
    if n.modes is None or n.modes >= t.partial_modes or not n.on_data(t):
        return None
    return f"{n.modes:.0%} of the modes are there, fewer than {t.partial_modes:.0%}"


def _uncovered(n: Numbers, t: Thresholds) -> str | None:
    if n.coverage is None or n.coverage >= t.partial_coverage or not n.on_data(t):
        return None
    return f"the coverage is {n.coverage:.3g}, below {t.partial_coverage:g}"


def _off_data(n: Numbers, t: Thresholds) -> str | None:
    if n.density is None or n.density >= t.immature_density:
        return None
    return f"the density is {n.density:.3g}, below {t.immature_density:g}: samples do not lie on the data yet"


def _unclear(n: Numbers, t: Thresholds) -> str | None:
    if n.confident is None or n.confident >= t.unclear_confident:
        return None
    return (
        f"samples of a clear class or mode are {n.confident:.3g} of what they are among real ones, fewer "
        f"than {t.unclear_confident:g}"
    )


def _not_begun(n: Numbers, t: Thresholds) -> str | None:
    if n.moved is None or n.begun(t):
        return None
    return (
        f"samples have moved by {n.moved:.2g} of what the untrained generator's were, less than "
        f"{t.unmoved:g}: training has not begun to show"
    )


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A verdict and what leads to it.

    Attributes:
        name: of the verdict.
        tests: each gives its reason in words if it holds, or None.
        condemns: whether runs do not recover from it, so that it must hold at `looks` evaluations running.
    """

    name: VerdictName
    tests: tuple[Test, ...]
    condemns: bool


RULES = (
    Rule(name="diverged", tests=(_exploded,), condemns=True),
    Rule(name="d-saturated", tests=(_saturated,), condemns=True),
    Rule(name="collapsed", tests=(_same, _few_modes), condemns=True),
    Rule(name="partial-collapse", tests=(_some_modes, _uncovered), condemns=False),
    Rule(name="immature", tests=(_not_begun, _off_data, _unclear), condemns=False),
)
"""In the order of `VERDICTS`. A rule fires if one of its tests does; one that condemns, if it does at `looks`
evaluations running."""
