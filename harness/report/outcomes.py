"""What became of a study's runs, in pictures: verdicts over time, D's scores, those that went wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from harness.analysis.rates import WRONG, judged_arms
from harness.analysis.summary import ArmResult, Summary
from harness.engine.bins import SCORE_EDGES
from harness.report.gallery import Picture, last_frame
from harness.runs.folder import RunFolder, run_directory
from harness.runs.result import RunResult
from harness.verdict.judge import VERDICTS
from harness.words import rounded

if TYPE_CHECKING:
    from harness.figures.verdicts import ScoreCounts
    from harness.tracking import Histogram

__all__ = ["Failure", "FailureGroup", "failures", "score_strips", "verdict_timeline"]

_MAX_STRIPS = 120
_MAX_FAILURES = 6
"""Most runs of one verdict that the gallery shows."""

_SCORES = ("train/d_real_hist", "train/d_fake_hist")


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One run that went wrong.

    Attributes:
        arm: its arm.
        run: the run.
        heading: run, arm and seed, in words.
        rule: the rule that fired, as a sentence without its full stop.
        when: since which step it has been so, and how it ended.
        numbers: what the verdict rests on: name and value.
        samples: its last samples, if it left any.
        scores: D's scores of real samples against generated ones at the end, if they were recorded.
    """

    arm: str
    run: RunResult
    heading: str
    rule: str
    when: str
    numbers: tuple[tuple[str, str], ...]
    samples: Path | None
    scores: Path | None


@dataclass(frozen=True, kw_only=True)
class FailureGroup:
    """The runs that ended in one verdict.

    Attributes:
        verdict: its name.
        shown: some of them.
        count: how many there are.
    """

    verdict: str
    shown: tuple[Failure, ...]
    count: int


def failures(summary: Summary, folder: Path) -> list[FailureGroup]:
    """The runs that went wrong, by verdict, the worst first; each arm shows one before any shows two.

    Args:
        summary: the study.
        folder: where the figures of D's scores go.
    """
    for stale in folder.glob("scores_*"):
        stale.unlink()  # of runs that gave way to others since the last report
    groups = []
    for verdict in VERDICTS:
        if verdict not in WRONG:
            continue
        found = [
            (place, arm.position, arm, run)
            for arm in summary.arms
            for place, run in enumerate(run for run in arm.runs if run.verdict_name == verdict)
        ]
        if not found:
            continue
        chosen = sorted(
            sorted(found, key=lambda entry: entry[:2])[:_MAX_FAILURES], key=lambda entry: entry[1]
        )
        shown = tuple(_failure(summary, arm, run, folder) for _, _, arm, run in chosen)
        groups.append(FailureGroup(verdict=verdict, shown=shown, count=len(found)))
    return groups


def _failure(summary: Summary, arm: ArmResult, run: RunResult, folder: Path) -> Failure:
    from harness.figures.verdicts import score_histogram

    verdict = run.verdict
    since, step = int(verdict["since"]), int(verdict["step"])
    last = int(run.ledger["discriminator_steps"])
    when = f"from step {since:,} on" if since < step else f"at step {step:,}"
    ends = {"completed": "trained to the end", "diverged": "ended there", "stopped": "stopped early"}
    when += f"; {ends[run.outcome]}, {last:,} steps"
    if run.saved_steps:
        when += f" of {last + run.saved_steps:,}"
    scores = None
    counts = _score_counts(f"{arm.name}, seed {run.seed}", [_histograms(summary, run)])
    if counts is not None:
        score_histogram(counts, SCORE_EDGES, folder / f"scores_{run.run_id}")
        scores = folder / f"scores_{run.run_id}.png"
    flags = ", ".join(str(flag) for flag in verdict["flags"])
    numbers = [(name.replace("_", " "), rounded(value)) for name, value in verdict["evidence"].items()]
    return Failure(
        arm=arm.name,
        run=run,
        heading=f"{arm.name}, seed {run.seed}" + (f" ({flags})" if flags else ""),
        rule=_sentence(str(verdict["rule"])),
        when=_sentence(when),
        numbers=tuple(numbers),
        samples=last_frame(summary, run),
        scores=scores,
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def verdict_timeline(summary: Summary, shown: Sequence[ArmResult], folder: Path) -> list[Picture]:
    """Every run's verdicts over time, or the shown arms' where runs are many; none without verdicts.

    Args:
        summary: the study.
        shown: the arms that the figures show.
        folder: where the figure is written.
    """
    from harness.figures import verdicts as figures
    from harness.figures.verdicts import Strip

    arms = judged_arms(summary)
    cut = sum(len(arm.runs) for arm in arms) > _MAX_STRIPS
    if cut:
        arms = [arm for arm in arms if arm in shown]
    strips: list[Strip] = [
        Strip(
            arm=arm.name,
            label=str(run.seed),
            timeline=[(int(step), str(name)) for step, name in run.verdict["timeline"]],
            end=int(run.ledger["discriminator_steps"]),
            planned=int(run.ledger["discriminator_steps"]) + run.saved_steps,
        )
        for arm in arms
        for run in arm.runs
        if run.verdict_name
    ][:_MAX_STRIPS]
    if not strips:
        return []
    figures.verdict_timeline(strips, folder / "verdicts")
    caption = (
        "A row is a run, its colour the verdict that an evaluation came to, up to that evaluation; the "
        "letter is the last verdict. Rows end where runs ended; a dotted line is what early stopping spared."
    )
    if cut:
        caption += " Only some of the arms are shown."
    return [Picture(path=folder / "verdicts.png", title="What became of each run", caption=caption)]


def score_strips(summary: Summary, shown: Sequence[ArmResult], folder: Path) -> list[Picture]:
    """Where D's scores were, over time and over each arm's runs; none where no run recorded them.

    Args:
        summary: the study.
        shown: the arms that the figures show.
        folder: where the figure is written.
    """
    from harness.figures import verdicts as figures

    found = [_score_counts(arm.name, [_histograms(summary, run) for run in arm.runs]) for arm in shown]
    counts = [one for one in found if one is not None]
    if not counts:
        return []
    figures.score_strips(counts, SCORE_EDGES, folder / "score_strips")
    caption = (
        "How D's raw scores (logits, or a critic's) were distributed while it trained, over all runs of an "
        "arm: the darker a shade, the more of them had that score; the black line is their median, the "
        "dashed line a score of 0. The scale is linear within 0.05 of 0 and logarithmic beyond. Where the "
        "two sides look alike, D cannot tell real from generated samples; where they part for good, it "
        "always can."
    )
    path = folder / "score_strips.png"
    return [Picture(path=path, title="What the discriminators said", caption=caption)]


def _histograms(summary: Summary, run: RunResult) -> dict[str, list[tuple[int, Histogram]]]:
    from harness.tracking import read_histograms

    path = RunFolder(run_directory(summary.directory, run.run_id)).history
    return read_histograms(path) if path.exists() else {}


def _score_counts(
    label: str, runs: Sequence[Mapping[str, Sequence[tuple[int, Histogram]]]]
) -> ScoreCounts | None:
    """Histograms of several runs, added up at each step; None if there are none of the bins known here."""
    from harness.figures.verdicts import ScoreCounts

    by_step: dict[int, npt.NDArray[np.int64]] = {}
    for histograms in runs:
        for kind, key in enumerate(_SCORES):
            for step, histogram in histograms.get(key, ()):
                first = int(np.searchsorted(SCORE_EDGES, histogram.edges[0]))
                end = first + len(histogram.counts)
                if not np.array_equal(SCORE_EDGES[first : end + 1], histogram.edges):
                    return None
                table = by_step.setdefault(step, np.zeros((2, len(SCORE_EDGES) - 1), dtype=np.int64))
                table[kind, first:end] += np.asarray(histogram.counts)
    if not by_step:
        return None
    steps = sorted(by_step)
    counts = np.stack([by_step[step] for step in steps])
    at = np.array(steps, dtype=np.float64)
    return ScoreCounts(label=label, steps=at, real=counts[:, 0], fake=counts[:, 1])
