"""The rules by which runs are judged, and every number in them.

Of several rules that fire, the first wins:

| verdict            | rule                                                                        | looks |
|--------------------|-----------------------------------------------------------------------------|-------|
| `diverged`         | a number is not finite, or S > 10,000                                       | 1     |
|                    | ρ > 5; or points with F > 3, off the data and stuck                         | 2     |
|                    | g > 100, and more than 30 times what it was at first, or S > 100, of        | 2     |
|                    | samples off the data                                                        |       |
| `collapsed`        | ρ < 0.05, and the run has moved and is stuck                                | 2     |
|                    | B ≤ 0.15 of samples on the data; it has moved, and is stuck or L > 1.05     | 2     |
|                    | B ≤ 0.15, ρ ≤ 1.5, D is fooled; it has moved, and is stuck or L > 1.05      | 2     |
|                    | R < 0.03 and C < 0.25 of samples on the data, P ≥ 0.6, and it is stuck      | 2     |
|                    | R < 0.03, C < 0.1, B ≤ 0.2; F has swung by 0.25 since the first look, and   | 2     |
|                    | set no new low for 3 looks; and ρ has fallen to 0.7 of its largest or less  |       |
| `d-saturated`      | A ≥ 0.99, B < 0.6, and L < 0.01 or g < 0.001 of the first                   | 2     |
| `partial-collapse` | B < 0.6, C < 0.25, X > ⅓, N > 0.3, or R < 0.03 with P ≥ 0.6, of samples on  | 1     |
|                    | the data now and at the look before                                         |       |
| `immature`         | M < 0.03, Dn < 0.3, K < 0.25, P < 0.6, T > 0.18, or U outside 0.15 to 4;    | 1     |
|                    | or B or C as above, of samples that are not                                 |       |
| `healthy`          | none of these                                                               | 1     |

- B: share of the data's modes that are there. Bins of the data; where samples are clear, the classes that a
  classifier knows, or the fewer of bins and parts of a known mixture;
- P, R, C, Dn: precision, recall, coverage and density over what real samples get at the same sizes;
- K: share of samples of a clear class, or near a part of a known mixture, over that of real ones;
- ρ: mean distance between two samples, over that of real ones;
- F: distance from the data (Fréchet of images, sliced W2 of points) over the untrained generator's;
- M: how far F has ever been from 1;
- T: Fréchet distance over the spread of real images;
- U: detail (the Laplacian's variance) over that of real images;
- X: what one class or part has too much of the clear samples, over the most that it could, (p − q)/(1 − q)
  for a share p where q is due;
- N: share of samples that are made more than once, or nearly so;
- A: how often D scores a real sample above a generated one, in evaluation mode or as it is trained, whichever
  is more; batch norm can hide from the one what the other shows;
- L: D's loss over that of a D that cannot tell, the median of what was logged since the last look;
- S: distance between D's mean scores of real and of generated samples;
- g: norm of the generator's gradient.

Words:

- *moved*: M ≥ 0.25, and from the second look on F has come nearer by as much or swung by 0.2 since the first
  look; or ρ has fallen to half of its largest or less. Batch norm's statistics alone change ρ and F once,
  without a single step of G, so ρ's growth is no move, nor is a change of F that was there at the first look.
- *stuck*: neither falling nor growing. Falling: F is lower by 3 % than in all looks but the last one, the
  untrained generator's left out once there are others. Growing: ρ, while it is below 1, is higher by a tenth
  than in all looks before, or the share of the data's bins that are filled by 0.05.
- *clear*: K ≥ 0.25; where nothing tells classes or parts, Dn ≥ 0.7 and ρ ≥ 0.05. *On the data*: clear, and
  Dn ≥ 0.3. *Off the data*: not on it, and C < 0.1.
- *fooled*: L > 0.6, or where D's loss has no floor, D scores real samples above generated ones in at most
  90 % of pairs; and ρ has fallen to half of its largest, or Dn ≥ 0.1, or A in evaluation mode is at most a
  half.

The rules rest on samples, because losses and gradients alone barely foretell failure, and what they ask has
no units: a gradient's norm of 100 is nothing where the data are small. Direction matters more than level. A
young generator makes nearly the same sample over and over, and one that is only slow does so for long: few
modes are a collapse only if samples have moved and no longer come nearer or spread, or D does worse than
chance. A D that always knows condemns whichever way samples go: to wait until they stand still would name
fewer failures, and later. Two looks are two evaluations running, the untrained generator's not among them. A
number that could not be had makes no rule fire, and without B, C, Dn, P and, of images, T nothing is healthy.

A run that is condemned stays so until the cause is gone: B of 0.2 and ρ of 0.05 after collapse; on the data,
or B of 0.6, or D's A below 0.95, or F lower by a tenth, after D's saturation; ρ of 5, F of 3 where samples
are points, and samples no longer off the data after divergence.

What each verdict says, and cannot see, stands in `MEANING` and `BLIND`. `sweeps/results/verdict/` holds the
runs on which the numbers were chosen, and how they fare.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Literal, get_args

__all__ = [
    "BLIND",
    "HOPELESS",
    "MEANING",
    "RULES",
    "RULES_VERSION",
    "VERDICTS",
    "Numbers",
    "Rule",
    "Thresholds",
    "VerdictName",
    "not_recovered",
]

RULES_VERSION = 7
"""Raised with every change of a rule or of a number in one: verdicts of different rules are told apart."""

VerdictName = Literal["diverged", "collapsed", "d-saturated", "partial-collapse", "immature", "healthy"]

VERDICTS: tuple[VerdictName, ...] = get_args(VerdictName)
"""All verdicts, the worst first; where several rules fire, the first of them decides."""

HOPELESS: frozenset[VerdictName] = frozenset({"diverged", "collapsed", "d-saturated"})
"""Verdicts from which runs do not recover: reasons to stop one."""

MEANING: Mapping[VerdictName, str] = {
    "diverged": "numbers are no longer finite, or samples, gradients or D's scores run away, off the data",
    "collapsed": "all samples are the same, or next to no modes are left, and it does not get better",
    "d-saturated": "the discriminator always knows, and has no loss left or leaves the generator no gradient",
    "partial-collapse": "good samples, but modes are missing, most real samples have nothing near them, one "
    "class takes the place of others, or there are few different samples",
    "immature": "samples do not lie on the data yet, none is clear, they are blurred or noisy, or training "
    "has not begun to show; a run that is merely slow is here",
    "healthy": "the samples cover the data, and lie on it",
}
"""What a verdict says, after a colon."""

BLIND: Mapping[VerdictName, str] = {
    "diverged": "why: whether a smaller learning rate would have held",
    "collapsed": "a collapse between two evaluations that was over by the second; and a run that would have "
    "come back by itself is called so until it has",
    "d-saturated": "whether the generator would have caught up: one that learns slowly against a sure "
    "discriminator looks the same",
    "partial-collapse": "too little variety inside of a mode or class; and where no classifier knows the "
    "classes, regions of the data stand for them",
    "immature": "whether more training would help: a network that is too small stays immature",
    "healthy": "what a small classifier takes for real and an eye does not, a class that is scarce but "
    "there, too little variety inside of a mode, and copies of training samples, which have a flag of their "
    "own, memorised",
}
"""What a verdict cannot see, after those words."""


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Every number of the rules.

    Attributes:
        looks: how many evaluations in a row must condemn a run for it to be condemned.
        diverged_spread: ρ above which samples have run away.
        diverged_distance: F above which points off the data have, if they are stuck.
        diverged_grad_norm: g above which a generator off the data has diverged, if `diverged_growth` or
            `diverged_score_gap` is exceeded too.
        diverged_growth: g as a multiple of the first g.
        diverged_score_gap: S, how far D's scores of real and generated samples are apart.
        runaway_score_gap: S above which it has diverged whatever its gradients, which may be 0 by then.
        saturated_d_auc: A from which D always knows, if g or L is also below its bound.
        saturated_gradient: g as a share of the first g, below which nothing reaches the generator any more.
        saturated_loss_share: L below which D has nothing left to learn.
        collapsed_pair_distance: ρ below which all samples are the same.
        collapsed_modes: B up to which next to no modes are left.
        collapsed_recall: R below which next to nothing of the reals lies among the samples.
        collapsed_coverage: C below which next to nothing of them has a sample near it either.
        wide_spread: ρ above which few modes off the data are not those of a collapse.
        moved: M from which a run has moved, so that it can have collapsed; and how far F must have swung for
            one that recalls nothing to be spent.
        swung: how far F must have swung between looks, the untrained one left out, for a run to have moved
            that has come no nearer.
        fallen_spread: ρ as a share of its largest, up to which it has fallen, and the run moved.
        spent_spread: the same, up to which a run that recalls nothing may be spent.
        falling: the share by which F must be below all looks but the last to be falling.
        growing_spread: the share by which ρ, while it is below 1, must be above all looks before to be
            growing.
        growing_modes: the same of B, not as a share.
        fooled_loss_share: L above which D cannot tell.
        fooled_d_auc: A up to which it cannot, where its loss has no floor.
        lost_d_auc: A in evaluation mode up to which D does no better than chance, so that nothing leads G
            back either.
        lost_loss_share: L above which D does worse than one that cannot tell, so that nothing leads G back.
        patience: evaluations without a new low of F after which a run that recalls nothing is spent.
        near_density: Dn from which samples off the data are near it.
        recovered_d_auc: A below which D no longer always knows.
        recovered_distance: F, as a share of its least, below which a run against such a D has recovered.
        partial_modes: B below which modes are missing.
        partial_coverage: C below which most of the real samples have nothing near them.
        partial_surplus: X above which one class or part takes the place of the others.
        partial_repeats: N above which there are too few different samples.
        immature_density: Dn below which samples do not lie on the data yet.
        immature_precision: P below which too many lie among no real ones.
        immature_misfit: T above which images are too far from real ones as a whole.
        immature_blur: U below which images are blurred.
        immature_noise: U above which they are noisy.
        clear: K below which samples are not of a clear class yet, and their classes not counted.
        clear_density: Dn from which they are taken for clear where nothing tells classes or parts.
        unmoved: M below which a run has not begun.
        off_coverage: C below which samples that are not on the data are off it, and one that recalls nothing
            may be spent.
        intra_mode_density: Dn above which samples huddle inside of modes; a flag.
        memorised: share of samples far nearer to a training sample than held-out ones are, above which they
            are copies; a flag.
        score_coverage: C that makes the score full.

    Raises:
        ValueError: a number that is not positive and finite, or out of order.
    """

    looks: int = 2
    diverged_spread: float = 5.0
    diverged_distance: float = 3.0
    diverged_grad_norm: float = 100.0
    diverged_growth: float = 30.0
    diverged_score_gap: float = 100.0
    runaway_score_gap: float = 10_000.0
    saturated_d_auc: float = 0.99
    saturated_gradient: float = 1e-3
    saturated_loss_share: float = 0.01
    collapsed_pair_distance: float = 0.05
    collapsed_modes: float = 0.15
    collapsed_recall: float = 0.03
    collapsed_coverage: float = 0.25
    wide_spread: float = 1.5
    moved: float = 0.25
    swung: float = 0.2
    fallen_spread: float = 0.5
    spent_spread: float = 0.7
    falling: float = 0.03
    growing_spread: float = 0.1
    growing_modes: float = 0.05
    fooled_loss_share: float = 0.6
    fooled_d_auc: float = 0.9
    lost_d_auc: float = 0.5
    lost_loss_share: float = 1.05
    patience: int = 3
    near_density: float = 0.1
    recovered_d_auc: float = 0.95
    recovered_distance: float = 0.9
    partial_modes: float = 0.6
    partial_coverage: float = 0.25
    partial_surplus: float = 1 / 3
    partial_repeats: float = 0.3
    immature_density: float = 0.3
    immature_precision: float = 0.6
    immature_misfit: float = 0.18
    immature_blur: float = 0.15
    immature_noise: float = 4.0
    clear: float = 0.25
    clear_density: float = 0.7
    unmoved: float = 0.03
    off_coverage: float = 0.1
    intra_mode_density: float = 1.5
    memorised: float = 0.25
    score_coverage: float = 0.5

    def __post_init__(self) -> None:
        for given in fields(self):
            value = getattr(self, given.name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"`thresholds.{given.name}` must be positive and finite, but got {value}.")
        for low, high in (
            ("collapsed_modes", "partial_modes"),
            ("collapsed_pair_distance", "diverged_spread"),
            ("immature_density", "intra_mode_density"),
            ("immature_blur", "immature_noise"),
            ("diverged_score_gap", "runaway_score_gap"),
            ("unmoved", "moved"),
        ):
            if getattr(self, low) >= getattr(self, high):
                raise ValueError(
                    f"`thresholds.{low}` must be below `{high}`, {getattr(self, high)}, "
                    f"but got {getattr(self, low)}."
                )

    @property
    def enough_modes(self) -> float:
        """B from which a collapse is over: more than are few, by what counts as growing."""
        return round(self.collapsed_modes + self.growing_modes, 6)


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """What the rules look at; a number that could not be had is None, and no rule that needs it fires.

    Attributes:
        modes: B.
        parts: share of a known mixture's parts that are there, counted over good samples.
        coverage: C.
        density: Dn.
        precision: P.
        recall: R.
        pair_distance: ρ.
        confident: K.
        surplus: X.
        repeated: N.
        misfit: T.
        detail: U.
        d_auc: A in evaluation mode.
        d_auc_trained: A as D is trained.
        d_loss_share: L.
        score_gap: S.
        g_grad_norm: g.
        first_g_grad_norm: the first g of the run.
        distance: F.
        moved: M.
        distance_left: F over the least of trained generators before the last look; below 1 it falls.
        best_of_last: the least F of the last `patience` looks over the least before.
        nearest: the least F of trained generators.
        swing: the largest F over the least, less 1, of trained generators; None at the first of them.
        spread_left: ρ over the largest before, the untrained generator's included.
        spread_gain: ρ over the largest before, of trained generators.
        modes_gain: the share of bins filled, less the largest before, of trained generators.
        unbounded: whether samples can leave the data by any distance, as points can.
    """

    modes: float | None = None
    parts: float | None = None
    coverage: float | None = None
    density: float | None = None
    precision: float | None = None
    recall: float | None = None
    pair_distance: float | None = None
    confident: float | None = None
    surplus: float | None = None
    repeated: float | None = None
    misfit: float | None = None
    detail: float | None = None
    d_auc: float | None = None
    d_auc_trained: float | None = None
    d_loss_share: float | None = None
    score_gap: float | None = None
    g_grad_norm: float | None = None
    first_g_grad_norm: float | None = None
    distance: float | None = None
    moved: float | None = None
    distance_left: float | None = None
    best_of_last: float | None = None
    nearest: float | None = None
    swing: float | None = None
    spread_left: float | None = None
    spread_gain: float | None = None
    modes_gain: float | None = None
    unbounded: bool = False

    def has_fallen(self, t: Thresholds) -> bool:
        """Whether samples are much nearer to each other than they were."""
        return self.spread_left is not None and self.spread_left <= t.fallen_spread

    def has_moved(self, t: Thresholds) -> bool:
        """Whether samples have left the untrained generator's, or it is not known whether they have."""
        if self.moved is None or self.has_fallen(t):
            return True
        is_nearer = self.nearest is not None and self.nearest <= 1 - t.moved
        by_itself = is_nearer or self.swing is None or self.swing >= t.swung
        return self.moved >= t.moved and by_itself

    def is_falling(self, t: Thresholds, share: float | None = None) -> bool:
        """Whether samples still come nearer to the data.

        Args:
            t: the numbers of the rules.
            share: by how much they must; `t.falling` if it is not given.
        """
        return self.distance_left is not None and self.distance_left < 1 - (share or t.falling)

    def is_growing(self, t: Thresholds) -> bool:
        """Whether samples still spread, over space or over modes."""
        wider = self.spread_gain is not None and self.spread_gain >= 1 + t.growing_spread
        more = self.modes_gain is not None and self.modes_gain > t.growing_modes
        return (wider and (self.pair_distance or 0.0) < 1) or more

    def is_stuck(self, t: Thresholds) -> bool:
        """Whether samples neither come nearer nor spread; not where only this look has no distance."""
        if self.distance_left is None and self.moved is not None:
            return False
        return not self.is_falling(t) and not self.is_growing(t)

    def is_clear(self, t: Thresholds) -> bool:
        """Whether samples are of clear classes or parts; where nothing tells, dense and not all the same."""
        if self.confident is not None:
            return self.confident >= t.clear
        same = self.pair_distance is not None and self.pair_distance < t.collapsed_pair_distance
        return self.density is not None and self.density >= t.clear_density and not same

    def is_on_data(self, t: Thresholds) -> bool:
        """Whether samples lie on the data, clearly enough for missing modes to be told."""
        return self.is_clear(t) and (self.density is None or self.density >= t.immature_density)

    def is_off_data(self, t: Thresholds) -> bool:
        """Whether samples lie nowhere near the data."""
        return not self.is_on_data(t) and (self.coverage is None or self.coverage < t.off_coverage)

    def is_near(self, t: Thresholds) -> bool:
        """Whether samples reach most of the modes, on the data or not."""
        return self.modes is not None and self.modes >= t.partial_modes

    @property
    def aucs(self) -> tuple[float, ...]:
        """A in evaluation mode and as D is trained, as far as they are known."""
        return tuple(auc for auc in (self.d_auc, self.d_auc_trained) if auc is not None)


Test = Callable[[Numbers, Thresholds], str | None]


def _ran_away(n: Numbers, t: Thresholds) -> str | None:
    if n.pair_distance is not None and n.pair_distance > t.diverged_spread:
        return (
            f"the distance between two samples is {n.pair_distance:.3g} times that between real ones, above "
            f"{t.diverged_spread:g}"
        )
    if n.distance is None or not n.unbounded or n.distance <= t.diverged_distance:
        return None
    if not n.is_off_data(t) or not n.is_stuck(t):
        return None
    return (
        f"samples are off the data, {n.distance:.3g} times as far as the untrained generator's, more than "
        f"{t.diverged_distance:g}"
    )


def _exploded(n: Numbers, t: Thresholds) -> str | None:
    g, first, gap = n.g_grad_norm, n.first_g_grad_norm, n.score_gap
    if g is None or g <= t.diverged_grad_norm or not n.is_off_data(t):
        return None
    above = f"samples are off the data, and the generator's gradient norm is {g:.3g}, above "
    above += f"{t.diverged_grad_norm:g}"
    if first is not None and g > t.diverged_growth * first:
        return f"{above} and more than {t.diverged_growth:g} times the first, {first:.3g}"
    if gap is not None and gap > t.diverged_score_gap:
        return (
            f"{above}, and the discriminator's scores of real and generated samples are {gap:.3g} apart, "
            f"more than {t.diverged_score_gap:g}"
        )
    return None


def _same(n: Numbers, t: Thresholds) -> str | None:
    if n.pair_distance is None or n.pair_distance >= t.collapsed_pair_distance:
        return None
    if not n.has_moved(t) or not n.is_stuck(t):
        return None
    return (
        f"the distance between two samples is {n.pair_distance:.3g} of that between real ones, below "
        f"{t.collapsed_pair_distance:g}, and does not grow"
    )


def _few_modes(n: Numbers, t: Thresholds) -> str | None:
    if n.modes is None or n.modes > t.collapsed_modes or not n.has_moved(t):
        return None
    lost = n.d_loss_share is not None and n.d_loss_share > t.lost_loss_share
    if not (n.is_stuck(t) or lost):
        return None
    left = f"{n.modes:.0%} of the modes are left, not more than {t.collapsed_modes:.0%}, and not growing"
    if n.is_on_data(t):
        return left
    if n.pair_distance is None or n.pair_distance > t.wide_spread:
        return None
    blob = n.has_fallen(t) or (n.density or 0.0) >= t.near_density
    if not (blob or (n.d_auc is not None and n.d_auc <= t.lost_d_auc)):
        return None
    if n.d_loss_share is not None:
        if n.d_loss_share <= t.fooled_loss_share:
            return None
        return (
            f"{left}; and the discriminator does not drive it out of them: its loss is "
            f"{n.d_loss_share:.2g} of one that cannot tell, above {t.fooled_loss_share:g}"
        )
    if not n.aucs or min(n.aucs) > t.fooled_d_auc:
        return None
    return (
        f"{left}; and the discriminator does not drive it out of them: it knows real samples in "
        f"{min(n.aucs):.0%} of pairs, not more than {t.fooled_d_auc:.0%}"
    )


def _nothing_recalled(n: Numbers, t: Thresholds) -> str | None:
    few = _few_recalled(n, t)
    if few is None or n.coverage is None or n.coverage >= t.collapsed_coverage or not n.is_stuck(t):
        return None
    return f"{few}, and the coverage {n.coverage:.2g}, below {t.collapsed_coverage:g}"


def _spent(n: Numbers, t: Thresholds) -> str | None:
    if n.recall is None or n.recall >= t.collapsed_recall:
        return None
    if n.modes is None or n.modes > t.enough_modes:
        return None
    if n.coverage is None or n.coverage >= t.off_coverage or n.swing is None or n.swing < t.moved:
        return None
    if n.best_of_last is None or n.best_of_last < 1 - t.falling or n.is_growing(t):
        return None
    if n.spread_left is None or n.spread_left > t.spent_spread:
        return None
    return (
        f"samples have come no nearer to the data for {t.patience} evaluations, with {n.modes:.0%} of the "
        f"modes and a recall of {n.recall:.2g} of what real samples get, below {t.collapsed_recall:g}"
    )


def _repeated(n: Numbers, t: Thresholds) -> str | None:
    if n.repeated is None or n.repeated <= t.partial_repeats or not n.is_on_data(t):
        return None
    return (
        f"{n.repeated:.0%} of the samples are made more than once or nearly so, more than "
        f"{t.partial_repeats:.0%}"
    )


def _few_recalled(n: Numbers, t: Thresholds) -> str | None:
    if n.recall is None or n.recall >= t.collapsed_recall or not n.is_on_data(t):
        return None
    if n.precision is None or n.precision < t.immature_precision:
        return None
    return (
        f"samples lie on the data, but there are so few different ones that the recall is {n.recall:.2g} of "
        f"what real samples get, below {t.collapsed_recall:g}"
    )


def _saturated(n: Numbers, t: Thresholds) -> str | None:
    if not n.aucs or max(n.aucs) < t.saturated_d_auc or n.is_near(t):
        return None
    always = f"the discriminator always knows (AUC {max(n.aucs):.3g}, from {t.saturated_d_auc:g} on)"
    if n.d_loss_share is not None and n.d_loss_share < t.saturated_loss_share:
        return (
            f"{always} and its loss is {n.d_loss_share:.2g} of one that cannot tell, below "
            f"{t.saturated_loss_share:g}"
        )
    g, first = n.g_grad_norm, n.first_g_grad_norm
    if g is not None and first and g < t.saturated_gradient * first:
        return (
            f"{always} and the generator's gradient norm is {g:.3g}, below {t.saturated_gradient:g} of the "
            f"first, {first:.3g}"
        )
    return None


def _some_modes(n: Numbers, t: Thresholds) -> str | None:
    return _too_few(n, t) if n.is_on_data(t) else None


def _one_class(n: Numbers, t: Thresholds) -> str | None:
    if n.surplus is None or n.surplus <= t.partial_surplus or not n.is_on_data(t):
        return None
    return (
        f"one class or mode has {n.surplus:.0%} of all that is due to the others, more than "
        f"{t.partial_surplus:.0%}"
    )


def _off_data(n: Numbers, t: Thresholds) -> str | None:
    if n.density is not None and n.density < t.immature_density:
        return (
            f"the density is {n.density:.3g}, below {t.immature_density:g}: samples do not lie on the data "
            "yet"
        )
    if n.precision is not None and n.precision < t.immature_precision:
        return (
            f"the precision is {n.precision:.2g} of what real samples get, below {t.immature_precision:g}: "
            "too many samples lie among no real ones"
        )
    return None


def _unclear(n: Numbers, t: Thresholds) -> str | None:
    if n.confident is None or n.confident >= t.clear:
        return None
    return (
        f"samples of a clear class or mode are {n.confident:.3g} of what they are among real ones, fewer "
        f"than {t.clear:g}"
    )


def _too_few(n: Numbers, t: Thresholds) -> str | None:
    modes = min((share for share in (n.modes, n.parts) if share is not None), default=1.0)
    if modes < t.partial_modes:
        return f"{modes:.0%} of the modes are there, fewer than {t.partial_modes:.0%}"
    if n.coverage is not None and n.coverage < t.partial_coverage:
        return f"the coverage is {n.coverage:.3g} of what real samples get, below {t.partial_coverage:g}"
    return None


def _misfit(n: Numbers, t: Thresholds) -> str | None:
    if n.misfit is None or n.misfit <= t.immature_misfit:
        return None
    return (
        f"the Fréchet distance is {n.misfit:.2g} of the real images' spread, above {t.immature_misfit:g}: "
        "as a whole they do not look like real ones yet"
    )


def _detail(n: Numbers, t: Thresholds) -> str | None:
    if n.detail is None or t.immature_blur <= n.detail <= t.immature_noise:
        return None
    blurred = n.detail < t.immature_blur
    bound = f"below {t.immature_blur:g}" if blurred else f"above {t.immature_noise:g}"
    return (
        f"images have {n.detail:.2g} times the detail of real ones, {bound}: they are "
        f"{'blurred' if blurred else 'noisy'}"
    )


def _not_begun(n: Numbers, t: Thresholds) -> str | None:
    if n.moved is None or n.moved >= t.unmoved:
        return None
    return (
        f"the distance from the data has changed by {n.moved:.2g} of the untrained generator's, less than "
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

    def reasons(self, n: Numbers, t: Thresholds) -> list[str]:
        """Why it fires; empty if it does not.

        Args:
            n: the numbers of the look at hand.
            t: the numbers of the rules.
        """
        return [reason for test in self.tests if (reason := test(n, t))]


RULES = (
    Rule(name="diverged", tests=(_ran_away, _exploded), condemns=True),
    Rule(name="collapsed", tests=(_same, _few_modes, _nothing_recalled, _spent), condemns=True),
    Rule(name="d-saturated", tests=(_saturated,), condemns=True),
    Rule(name="partial-collapse", tests=(_some_modes, _one_class, _few_recalled, _repeated), condemns=False),
    Rule(
        name="immature", tests=(_not_begun, _off_data, _unclear, _too_few, _misfit, _detail), condemns=False
    ),
)
"""In the order of `VERDICTS`. A rule fires if one of its tests does; a run is condemned if one of the rules
that condemn fires at each of `looks` evaluations running."""


def not_recovered(name: VerdictName, n: Numbers, t: Thresholds) -> str | None:
    """Why a run that was condemned still is; None once the cause is gone.

    Args:
        name: what it was condemned as.
        n: the numbers of the look at hand.
        t: the numbers of the rules.
    """
    spread = n.pair_distance
    if name == "collapsed":
        if n.modes is not None and n.modes < t.enough_modes:
            return f"only {n.modes:.0%} of the modes are there, fewer than {t.enough_modes:.0%}"
        if spread is not None and spread < t.collapsed_pair_distance:
            return f"two samples are still only {spread:.3g} of the real distance apart"
        return None
    if name == "d-saturated":
        if n.is_on_data(t) or n.is_near(t) or n.is_falling(t, 1 - t.recovered_distance):
            return None
        if n.aucs and max(n.aucs) < t.recovered_d_auc:
            return None
        return "the discriminator still knows, and samples do not come nearer to the data"
    if spread is not None and spread > t.diverged_spread:
        return f"two samples are still {spread:.3g} times the real distance apart"
    far = n.unbounded and n.distance is not None and n.distance > t.diverged_distance
    return "samples are still off the data" if far or n.is_off_data(t) else None
