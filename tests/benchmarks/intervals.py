"""What intervals, tests and choices made from few seeds are worth: the tables of `analysis/statistics.py`.

    python tests/benchmarks/intervals.py

prints, from simulated seeds whose truth is known:

    means        how often candidate 95 % intervals hold the mean, and how wide they are
    iqm          the same for the interquartile mean
    differences  how often the signed-rank interval holds the pseudo-median of differences and their mean, how
                 often it and the decision disagree, and how often arms that do not differ are told apart
    selection    how much better the best of a search's trials looks than it is

A standard error of a coverage of 95 % is 0.2 points with 10,000 samples, as closed formulas get, and 0.7
points with 1,000, as intervals that resample get. It takes about a minute and a half on one core.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import stats

from harness.analysis.statistics import compare, interval_of_iqm, interval_of_mean, signed_rank_interval
from harness.study.target import Target

Array: TypeAlias = npt.NDArray[np.float64]
Ends: TypeAlias = tuple[Array, Array]
Candidate: TypeAlias = Callable[[Array], Ends]

NUM_SEEDS = (3, 4, 5, 6, 8, 10, 15, 20)
_MIDDLE = (np.arange(20_000) + 0.5) / 40_000 + 0.25
_CHUNK = 200


@dataclass(frozen=True, kw_only=True)
class World:
    """Where seeds' values come from.

    Attributes:
        quantile: the inverse of the distribution function.
        mean: the mean.
        failing: the share of runs that fail.
        failed_score: what they score; the others are standard normal.
    """

    quantile: Callable[[Array], Array]
    mean: float
    failing: float = 0.0
    failed_score: float = math.nan

    def draw(self, rng: np.random.Generator, *shape: int) -> Array:
        """Independent values."""
        return self.quantile(rng.random(shape))

    @property
    def iqm(self) -> float:
        """The mean of the middle half of the distribution."""
        return float(self.quantile(_MIDDLE).mean())


def _failing(share: float, score: float) -> World:
    def quantile(p: Array) -> Array:
        lives = p < 1 - share
        return np.where(lives, stats.norm.ppf(np.where(lives, p / (1 - share), 0.5)), score)

    return World(quantile=quantile, mean=share * score, failing=share, failed_score=score)


WORLDS: Mapping[str, World] = {
    "normal": World(quantile=stats.norm.ppf, mean=0.0),
    "log-normal, σ = 0.5": World(quantile=lambda p: np.exp(0.5 * stats.norm.ppf(p)), mean=math.exp(0.125)),
    "log-normal, σ = 1": World(quantile=lambda p: np.exp(stats.norm.ppf(p)), mean=math.exp(0.5)),
    "t, 2 degrees": World(quantile=lambda p: stats.t.ppf(p, 2), mean=0.0),
    "10 % fail, 10 sd off": _failing(0.1, 10.0),
    "10 % fail, 100 sd off": _failing(0.1, 100.0),
    "30 % fail, 10 sd off": _failing(0.3, 10.0),
}
"""Seeds' values; sd is that of the runs that live."""

JUDGED = ("normal", "log-normal, σ = 0.5", "log-normal, σ = 1", "t, 2 degrees")
"""The worlds by whose worst coverage the interval of the mean was chosen."""
MOST_ON_NORMALS = 0.975
"""What a candidate may cover of normal means; wider ones would win by their width alone."""


def student(x: Array, level: float = 0.05) -> Ends:
    """x̄ ± t·s/√n."""
    n = x.shape[1]
    reach = stats.t.ppf(1 - level / 2, n - 1) * x.std(axis=1, ddof=1) / math.sqrt(n)
    return x.mean(axis=1) - reach, x.mean(axis=1) + reach


def skewness(x: Array) -> Array:
    """m₃/m₂^1.5; 0 for equal values."""
    spread = x.std(axis=1)
    third = ((x - x.mean(axis=1, keepdims=True)) ** 3).mean(axis=1)
    return np.where(spread > 0, third / np.where(spread > 0, spread, 1.0) ** 3, 0.0)


def johnson(x: Array) -> Ends:
    """Johnson's (1978) modified t: the centre moved by the skewness."""
    n, q = x.shape[1], stats.t.ppf(0.975, x.shape[1] - 1)
    moved = skewness(x) * x.std(axis=1, ddof=1) * (1 + 2 * q**2) / (6 * n)
    low, high = student(x)
    return low + moved, high + moved


def hall(x: Array, factor: float = 1.0) -> Ends:
    """Hall's (1992) transformation with Student's quantile, `factor` times the plain skewness."""
    n, q = x.shape[1], stats.t.ppf(0.975, x.shape[1] - 1)
    lean = factor * skewness(x) / math.sqrt(n)
    lean = np.where(np.abs(lean) < 1e-5, 1e-5, lean)
    error, centre = x.std(axis=1, ddof=1) / math.sqrt(n), x.mean(axis=1)
    below, above = (3 / lean * (np.cbrt(1 + lean * (y - lean / 6)) - 1) for y in (q, -q))
    return centre - error * below, centre - error * above


def adjusted(n: int) -> float:
    """What makes G₁ of the plain skewness."""
    return math.sqrt(n * (n - 1)) / (n - 2)


def farther(first: Ends, second: Ends) -> Ends:
    """Of two intervals the farther end on each side."""
    return np.minimum(first[0], second[0]), np.maximum(first[1], second[1])


def chosen_for_means(x: Array) -> Ends:
    """`interval_of_mean`, for many samples at once."""
    return farther(student(x), hall(x, adjusted(x.shape[1])))


def resampled(x: Array, num: int) -> Array:
    """Resamples of each sample, (R, num, n)."""
    places = np.random.default_rng(1).integers(0, x.shape[1], size=(num, x.shape[1]))
    return x[:, places]


def percentile(x: Array) -> Ends:
    """The percentile bootstrap."""
    low, high = np.quantile(resampled(x, 999).mean(axis=2), (0.025, 0.975), axis=1)
    return low, high


def _expanded_tail(n: int) -> float:
    return float(stats.norm.cdf(-math.sqrt(n / (n - 1)) * stats.t.ppf(0.975, n - 1)))


def bca_expanded(x: Array) -> Ends:
    """The bias-corrected and accelerated bootstrap at the expanded level."""
    n, rows = x.shape[1], np.arange(len(x))
    means = np.sort(resampled(x, 4999).mean(axis=2), axis=1)
    centre = x.mean(axis=1, keepdims=True)
    below = ((means < centre).mean(axis=1) + (means <= centre).mean(axis=1)) / 2
    bias = stats.norm.ppf(np.clip(below, 1e-4, 1 - 1e-4))
    acceleration = skewness(x) / (6 * math.sqrt(n))
    ends = []
    for z in (stats.norm.ppf(_expanded_tail(n)), -stats.norm.ppf(_expanded_tail(n))):
        share = stats.norm.cdf(bias + (bias + z) / (1 - acceleration * (bias + z)))
        ends.append(means[rows, np.clip((share * means.shape[1]).astype(int), 0, means.shape[1] - 1)])
    return ends[0], ends[1]


def bootstrap_t(x: Array) -> Ends:
    """The bootstrap of Student's t; without end where too many resamples have no spread."""
    n = x.shape[1]
    again = resampled(x, 1999)
    shift, spread = again.mean(axis=2) - x.mean(axis=1, keepdims=True), again.std(axis=2, ddof=1)
    flat = spread <= 1e-12 * x.std(axis=1, keepdims=True)
    t = np.where(flat, np.copysign(np.inf, shift), shift * math.sqrt(n) / np.where(flat, 1.0, spread))
    t = np.sort(np.where(flat & (shift == 0), 0.0, t), axis=1)
    error, last = x.std(axis=1, ddof=1) / math.sqrt(n), t.shape[1] - 1
    return x.mean(axis=1) - error * t[:, int(0.975 * last)], x.mean(axis=1) - error * t[:, int(0.025 * last)]


def empirical_likelihood(x: Array) -> Ends:
    """Owen's (1988) empirical likelihood, by the F distribution's quantile; it never leaves the data."""
    n = x.shape[1]
    threshold = stats.f.ppf(0.95, 1, n - 1)

    def ratio(mu: Array) -> Array:
        z = x - mu[:, None]
        low = -(1 - 1e-9) / np.maximum(z.max(axis=1), 1e-300)
        high = (1 - 1e-9) / np.maximum(-z.min(axis=1), 1e-300)
        for _ in range(40):
            middle = (low + high) / 2
            rising = (z / (1 + middle[:, None] * z)).sum(axis=1) > 0
            low, high = np.where(rising, middle, low), np.where(rising, high, middle)
        return np.asarray(2 * np.log1p(np.maximum(low[:, None] * z, 1e-300 - 1)).sum(axis=1))

    ends = []
    for edge in (x.min(axis=1), x.max(axis=1)):
        kept, lost = x.mean(axis=1), edge
        for _ in range(30):
            middle = (kept + lost) / 2
            inside = ratio(middle) < threshold
            kept, lost = np.where(inside, middle, kept), np.where(inside, lost, middle)
        ends.append(kept)
    return ends[0], ends[1]


CLOSED: Mapping[str, Candidate] = {
    "Student's t": student,
    "t at 97.5 %": lambda x: student(x, 0.025),
    "t at 99 %": lambda x: student(x, 0.01),
    "Johnson's t": johnson,
    "Hall's": hall,
    "farther of t and Hall's": lambda x: farther(student(x), hall(x)),
    "farther of t and Hall's by G₁ (chosen)": chosen_for_means,
    "farther of t and Hall's by 2 g₁": lambda x: farther(student(x), hall(x, 2.0)),
}
RESAMPLING: Mapping[str, Candidate] = {
    "percentile bootstrap": percentile,
    "BCa, expanded": bca_expanded,
    "bootstrap-t": bootstrap_t,
    "empirical likelihood": empirical_likelihood,
}


def chosen_for_iqm(x: Array) -> Ends:
    """`interval_of_iqm`, one sample after the other."""
    found = [interval_of_iqm(row) for row in x]
    return np.array([one.low for one in found]), np.array([one.high for one in found])


def yuen(x: Array) -> Ends:
    """Tukey and McLaughlin's t of the trimmed mean, by the winsorised spread."""
    n = x.shape[1]
    cut = n // 4
    kept, ordered = n - 2 * cut, np.sort(x, axis=1)
    clipped = np.clip(ordered, ordered[:, [cut]], ordered[:, [n - 1 - cut]])
    reach = stats.t.ppf(0.975, kept - 1) * clipped.std(axis=1, ddof=1) * math.sqrt(n) / kept
    centre = ordered[:, cut : n - cut].mean(axis=1)
    return centre - reach, centre + reach


IQM: Mapping[str, Candidate] = {
    "Tukey and McLaughlin's t": yuen,
    "the mean's interval": chosen_for_means,
    "percentile bootstrap, expanded; the mean's below 5 (chosen)": chosen_for_iqm,
}


def coverage(
    candidate: Candidate, world: World, n: int, *, num: int, of: str = "mean"
) -> tuple[float, float]:
    """How often an interval holds the truth, and how wide it is.

    Args:
        candidate: makes the intervals.
        world: makes the values.
        n: seeds in a sample.
        num: samples.
        of: `mean` or `iqm`.

    Returns:
        The share of samples, and the mean width over that of Student's interval; infinite where an interval
        has no end.
    """
    x = world.draw(np.random.default_rng([n, num]), num, n)
    parts = [candidate(x[start : start + _CHUNK]) for start in range(0, num, _CHUNK)]
    low, high = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
    truth = getattr(world, of)
    first, last = student(x)
    return float(((low <= truth) & (truth <= high)).mean()), float(
        (high - low).mean() / (last - first).mean()
    )


def ceiling(world: World, n: int) -> float:
    """What an interval covers at most where failures are far off: without one, nothing points at them."""
    return 1 - (1 - world.failing) ** n


def print_means(num: int) -> None:
    """Coverage of every candidate in every world, and the choice among them."""
    print(f"\nHow often a 95 % interval holds the mean, in percent; n = {_row(NUM_SEEDS, '{:6d}')}")
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for title, world in WORLDS.items():
        print(f"\n{title}")
        for name, candidate in {**CLOSED, **RESAMPLING}.items():
            count = num if name in CLOSED else num // 10
            cells = [coverage(candidate, world, n, num=count) for n in NUM_SEEDS]
            found.setdefault(name, {})[title] = cells
            print(f"  {name:46}{_row([100 * share for share, _ in cells])}")
        if world.failing:
            print(f"  {'one failed run more than was seen':46}{_row(_one_more(world, num))}")
            most = [100 * ceiling(world, n) for n in NUM_SEEDS]
            print(f"  {'at most, if they were infinitely far':46}{_row(most)}")
    print("\nMean width over Student's, of normal values")
    for name, worlds in found.items():
        print(f"  {name:46}{_row((width for _, width in worlds['normal']), '{:6.2f}')}")
    print(f"\nWorst coverage over {'; '.join(JUDGED)}, and most of normal means")
    for name, worlds in found.items():
        worst = min(share for title in JUDGED for share, _ in worlds[title])
        normal = worlds["normal"]
        most = max(share for share, _ in normal)
        out = most > MOST_ON_NORMALS + 0.003 or not all(math.isfinite(width) for _, width in normal)
        print(f"  {name:46}{100 * worst:6.1f}{100 * most:6.1f}{'   out: too wide, or without end' * out}")


def _one_more(world: World, num: int) -> list[float]:
    """Coverage in percent of Student's interval where each sample gets one failed run more."""

    def candidate(x: Array) -> Ends:
        return student(np.column_stack([x, np.full(len(x), world.failed_score)]))

    return [100 * coverage(candidate, world, n, num=num)[0] for n in NUM_SEEDS]


def print_iqm(num: int) -> None:
    """The same for the interquartile mean."""
    print(f"\nHow often a 95 % interval holds the IQM, in percent; n = {_row(NUM_SEEDS, '{:6d}')}")
    for title, world in WORLDS.items():
        print(f"\n{title}")
        for name, candidate in IQM.items():
            count = num if candidate is not chosen_for_iqm else num // 5
            shares = [100 * coverage(candidate, world, n, num=count, of="iqm")[0] for n in NUM_SEEDS]
            print(f"  {name:60}{_row(shares)}")


def equal_arms(kind: str, rng: np.random.Generator, num: int, n: int, arms: int) -> Array:
    """Values of arms that do not differ, (num, arms, n): what a seed shares, and what each arm adds.

    Args:
        kind: `normal`, `log-normal`, `t` with 2 degrees, `10 % fail`, or `whole numbers`, which tie.
        rng: where they come from.
        num: studies.
        n: seeds.
        arms: arms of each study, the baseline among them.
    """
    shared = rng.normal(size=(num, 1, n))
    own = rng.normal(size=(num, arms, n))
    if kind == "log-normal":
        return np.exp(0.5 * shared + own)
    if kind == "t":
        return shared + rng.standard_t(2, size=own.shape)
    if kind == "10 % fail":
        return np.where(rng.random(own.shape) < 0.1, 10.0, shared + own)
    return np.round(shared + own) if kind == "whole numbers" else shared + own


KINDS = ("normal", "log-normal", "t", "10 % fail", "whole numbers")


def decisions(kind: str, n: int, *, num: int, arms: int) -> tuple[float, float, int]:
    """Studies of arms that do not differ, decided as a report decides them.

    Args:
        kind: of values, see `equal_arms`.
        n: seeds.
        num: studies.
        arms: arms that are compared with the baseline.

    Returns:
        The share of studies with any arm called better or worse; the share of intervals that leave out 0; and
        the number of intervals that say other than the decision (those of too few seeds say nothing).
    """
    target = Target(metric="x", goal="minimize")
    false, excluding, disagreeing = 0, 0, 0
    for values in equal_arms(kind, np.random.default_rng([n, num, arms]), num, n, arms + 1):
        rows = [dict(enumerate(row.tolist())) for row in values]
        found = compare(rows[0], {str(i): row for i, row in enumerate(rows[1:])}, target=target)
        decided = [one.decision in ("better", "worse") for one in found]
        outside = [not one.interval.low <= 0 <= one.interval.high for one in found]
        false += any(decided)
        excluding += sum(outside)
        disagreeing += sum(
            a != b
            for one, a, b in zip(found, decided, outside, strict=True)
            if one.decision != "too-few-seeds"
        )
    return false / num, excluding / (num * arms), disagreeing


def held(n: int, sigma: float, *, num: int) -> tuple[float, float, float]:
    """Differences that are not symmetric: an arm whose log-normal values are e times the baseline's.

    Args:
        n: seeds.
        sigma: spread of the logarithm of either arm's values.
        num: samples.

    Returns:
        How often the interval holds the pseudo-median, how often it holds the mean difference, and the
        confidence that it states.
    """
    rng = np.random.default_rng([n, num])

    def draw(*shape: int) -> Array:
        return np.exp(1 + sigma * rng.normal(size=shape)) - np.exp(sigma * rng.normal(size=shape))

    pairs = draw(2, 2_000_000)
    middle, centre = float(np.median(pairs.mean(axis=0))), float(np.e - 1) * math.exp(sigma**2 / 2)
    found = [signed_rank_interval(row) for row in draw(num, n)]
    shares = [np.mean([one.low <= truth <= one.high for one in found]) for truth in (middle, centre)]
    return float(shares[0]), float(shares[1]), found[0].confidence


def print_differences(num: int) -> None:
    """Errors of decisions, disagreements with intervals, and what intervals of differences hold."""
    print("\nTwo arms that do not differ from the baseline: studies with any decision, in percent")
    total = 0
    for kind in KINDS:
        found = [decisions(kind, n, num=num, arms=2) for n in (7, 8, 10, 20)]
        total += sum(disagreeing for *_, disagreeing in found)
        print(f"  {kind:24}n = 7, 8, 10, 20 {_row([100 * false for false, *_ in found])}")
    print(f"  decisions that their interval contradicts: {total}")
    print("\nLog-normal values, e times as large in one arm: pseudo-median and mean held, in percent")
    for sigma in (0.5, 1.0):
        for n in (3, 5, 6, 8, 10, 20):
            middle, centre, stated = held(n, sigma, num=num)
            print(
                f"  σ = {sigma}, n = {n:2d}{_row([100 * middle, 100 * centre])}   stated {100 * stated:.1f}"
            )


def selection(
    spread: float, *, num: int, trials: int = 12, seeds: int = 2, fresh: int = 8, failing: float = 0.0
) -> tuple[float, float, float]:
    """The best of a search's trials, as an arm that is tuned has it: values are minimised.

    Args:
        spread: standard deviation of the trials' true values, in that of a trial's seeds.
        num: searches.
        trials: of a search.
        seeds: of a trial; the trial with the lowest mean is chosen.
        fresh: seeds with which the choice is trained anew.
        failing: share of the runs that fail, and score 10 of the seeds' standard deviations more.

    Returns:
        By how much the mean of fresh seeds is worse than the value at selection, in standard deviations of
        seeds; in which share of searches it is worse at all; and how far the choice is from the best trial.
    """
    rng = np.random.default_rng([trials, seeds, round(10 * spread)])

    def seen(truth: Array, count: int) -> Array:
        noise = rng.normal(size=(*truth.shape, count))
        return (truth[..., None] + np.where(rng.random(noise.shape) < failing, 10.0, noise)).mean(axis=-1)

    truths = spread * rng.normal(size=(num, trials))
    values = seen(truths, seeds)
    best = values.argmin(axis=1)
    rows = np.arange(num)
    again = seen(truths[rows, best], fresh)
    loss = again - values[rows, best]
    regret = truths[rows, best] - truths.min(axis=1)
    return float(loss.mean()), float((loss > 0).mean()), float(regret.mean())


SPREADS = (0.0, 0.5, 1.0, 2.0, 5.0, 20.0)


def print_selection(num: int) -> None:
    """The winner's curse, by how far trials differ."""
    print("\nThe best of 12 trials of 2 seeds, by the spread of the trials in standard deviations of seeds")
    print(f"  {'spread':62}{_row(SPREADS, '{:8.1f}')}")
    for failing in (0.0, 0.1):
        found = [selection(spread, num=num, failing=failing) for spread in SPREADS]
        with_failures = f" ({100 * failing:.0f} % of runs fail)" if failing else ""
        labels = (
            "fresh seeds are worse by",
            "in percent of searches",
            "the choice is worse than the best by",
        )
        for label, row in zip(labels, zip(*found, strict=True), strict=True):
            scale = 100 if "percent" in label else 1
            print(f"  {label + with_failures:62}{_row([scale * x for x in row], '{:8.2f}')}")


def _row(numbers: Iterable[float], style: str = "{:6.1f}") -> str:
    return "".join(style.format(number) for number in numbers)


def main() -> None:
    """Print every table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--num", type=int, default=10_000, help="samples for closed formulas; 10,000")
    num = parser.parse_args().num
    x = WORLDS["log-normal, σ = 1"].draw(np.random.default_rng(0), 50, 7)
    ours = [interval_of_mean(row) for row in x]
    assert np.allclose(chosen_for_means(x), ([one.low for one in ours], [one.high for one in ours]))
    print_means(num)
    print_iqm(num)
    print_differences(num // 10)
    print_selection(num)


if __name__ == "__main__":
    main()
