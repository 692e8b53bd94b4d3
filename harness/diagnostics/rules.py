"""The rules by which runs are judged, and every number in them.

Of several rules that fire, the first wins:

| verdict            | rule                                                                        | looks |
|--------------------|-----------------------------------------------------------------------------|-------|
| `diverged`         | a number is not finite                                                      | 1     |
|                    | g > 100, and more than 30 times what it was at first                        | 2     |
| `d-saturated`      | A ≥ 0.99 and g < 1e-4                                                       | 2     |
| `collapsed`        | ρ < 0.1, or B ≤ 0.15                                                        | 2     |
| `partial-collapse` | B < 0.6, or C < 0.25                                                        | 1     |
| `immature`         | Dn < 0.3, or K < 0.2                                                        | 1     |
| `healthy`          | none of these                                                               | 1     |

B is the share of the data's modes that are there: classes where a classifier knows them, and else bins. C is
the coverage of the real samples over what other real samples get, Dn the density likewise, K the share of
images of a clear class over that of real ones, ρ the mean distance between two samples over that of real
ones, A how often D scores a real sample above a generated one, g the norm of the generator's gradient. The
rules rest on samples, because losses and gradients alone barely foretell failure. Two looks are two
evaluations running, the untrained generator's not among them.

Classes count only images whose class is clear, so images of every kind that are blurred yet have few of them,
and a network that is learning well would be condemned. Where K < 0.2, B is that of bins.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Literal, get_args

__all__ = ["HOPELESS", "RULES", "VERDICTS", "Numbers", "Rule", "Thresholds", "VerdictName"]

VerdictName = Literal["diverged", "d-saturated", "collapsed", "partial-collapse", "immature", "healthy"]

VERDICTS: tuple[VerdictName, ...] = get_args(VerdictName)
"""All verdicts, the worst first: of several rules that fire, the first one's."""

HOPELESS: frozenset[VerdictName] = frozenset({"diverged", "d-saturated", "collapsed"})
"""Verdicts from which runs do not recover: reasons to stop one."""


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Every number of the rules.

    Attributes:
        looks: evaluations running at which a rule must hold that condemns a run for good.
        diverged_grad_norm: g above which the generator may have diverged,
        diverged_growth: if it is also more than so many times the first g.
        saturated_d_auc: A from which D always knows,
        saturated_grad_norm: if g is also below this: nothing reaches the generator any more.
        collapsed_pair_distance: ρ below which all samples are the same.
        collapsed_modes: B up to which next to no modes are left.
        partial_modes: B below which modes are missing.
        partial_coverage: C below which most of the real samples have nothing near them.
        immature_density: Dn below which samples do not lie on the data yet.
        intra_mode_density: Dn above which samples huddle inside of modes; a flag.
        unclear_confident: K below which images are not of a clear class yet, and their classes not counted.
        score_coverage: C that makes the score full.

    Raises:
        ValueError: a number that is not positive and finite, or out of order.
    """

    looks: int = 2
    diverged_grad_norm: float = 100.0
    diverged_growth: float = 30.0
    saturated_d_auc: float = 0.99
    saturated_grad_norm: float = 1e-4
    collapsed_pair_distance: float = 0.1
    collapsed_modes: float = 0.15
    partial_modes: float = 0.6
    partial_coverage: float = 0.25
    immature_density: float = 0.3
    intra_mode_density: float = 2.0
    unclear_confident: float = 0.2
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
        ):
            if getattr(self, low) >= getattr(self, high):
                raise ValueError(
                    f"`thresholds.{low}` must be below `{high}`, {getattr(self, high)}, "
                    f"but got {getattr(self, low)}."
                )


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """What the rules look at; a number that could not be had is None, and no rule that needs it fires."""

    modes: float | None = None
    coverage: float | None = None
    density: float | None = None
    pair_distance: float | None = None
    d_auc: float | None = None
    confident: float | None = None
    g_grad_norm: float | None = None
    first_g_grad_norm: float | None = None


Test = Callable[[Numbers, Thresholds], str | None]


def _exploded(n: Numbers, t: Thresholds) -> str | None:
    g, first = n.g_grad_norm, n.first_g_grad_norm
    if g is None or first is None or g <= t.diverged_grad_norm or g <= t.diverged_growth * first:
        return None
    return (
        f"the generator's gradient norm is {g:.3g}, above {t.diverged_grad_norm:g} and more than "
        f"{t.diverged_growth:g} times the first, {first:.3g}"
    )


def _saturated(n: Numbers, t: Thresholds) -> str | None:
    if n.d_auc is None or n.g_grad_norm is None:
        return None
    if n.d_auc < t.saturated_d_auc or n.g_grad_norm >= t.saturated_grad_norm:
        return None
    return (
        f"the discriminator always knows (AUC {n.d_auc:.3g}, from {t.saturated_d_auc:g} on) and the "
        f"generator's gradient norm is {n.g_grad_norm:.3g}, below {t.saturated_grad_norm:g}"
    )


def _same(n: Numbers, t: Thresholds) -> str | None:
    if n.pair_distance is None or n.pair_distance >= t.collapsed_pair_distance:
        return None
    return (
        f"the distance between two samples is {n.pair_distance:.3g} of that between real ones, below "
        f"{t.collapsed_pair_distance:g}"
    )


def _few_modes(n: Numbers, t: Thresholds) -> str | None:
    if n.modes is None or n.modes > t.collapsed_modes:
        return None
    return f"{n.modes:.0%} of the modes are left, not more than {t.collapsed_modes:.0%}"


def _some_modes(n: Numbers, t: Thresholds) -> str | None:
    if n.modes is None or n.modes >= t.partial_modes:
        return None
    return f"{n.modes:.0%} of the modes are there, fewer than {t.partial_modes:.0%}"


def _uncovered(n: Numbers, t: Thresholds) -> str | None:
    if n.coverage is None or n.coverage >= t.partial_coverage:
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
        f"images of a clear class are {n.confident:.3g} of what they are among real ones, fewer than "
        f"{t.unclear_confident:g}"
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
    Rule(name="immature", tests=(_off_data, _unclear), condemns=False),
)
"""In the order of `VERDICTS`. A rule fires if one of its tests does; one that condemns, if it does at `looks`
evaluations running."""
