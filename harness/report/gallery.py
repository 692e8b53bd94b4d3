"""The pictures of a report on images: the arms' samples side by side, their worst runs, filmstrips.

They are put together from the grids that runs left, pixel by pixel; nothing is generated anew.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.analysis.summary import ArmResult, Summary
from harness.runs.folder import RunFolder, run_directory
from harness.runs.result import RunResult, is_absurd
from harness.tracking.history import read_history
from harness.words import flagged, rounded

if TYPE_CHECKING:
    from harness.figures import Panel

__all__ = [
    "Picture",
    "beside_pictures",
    "draw_gallery",
    "last_frame",
    "latent_pictures",
    "neighbour_pictures",
    "words_of",
]

_ROWS = 6
_FILM_ROWS = 3
_FILM_COLUMNS = 2
_MAX_BESIDE = 4
_MAX_LATENT = 12
_LATENT_WORDS = {
    "edits": "single numbers of one latent, edited",
    "edits_all_rows": "single numbers, edited in every latent",
    "interpolate_linear": "straight walks between latents",
    "interpolate_spherical": "walks between latents along great circles",
}


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure on the page.

    Attributes:
        path: its file.
        title: its heading.
        caption: the words below it.
    """

    path: Path
    title: str
    caption: str


def draw_gallery(summary: Summary, shown: Sequence[ArmResult], folder: Path) -> list[Picture]:
    """The figures that only images have; none where the study's runs made no images.

    Args:
        summary: the study.
        shown: the arms that get a panel.
        folder: where figures go.
    """
    chosen = [(arm, run) for arm in shown if (run := _typical(summary, arm)) is not None]
    chosen = [(arm, run) for arm, run in chosen if (_files(summary, run).samples / "real.png").exists()]
    if not chosen:
        return []
    drawn = (draw(summary, chosen, folder) for draw in (_side_by_side, _worst, _filmstrips))
    return [picture for pictures in drawn for picture in pictures]


def neighbour_pictures(summary: Summary, shown: Sequence[ArmResult]) -> list[tuple[str, Path, str]]:
    """The training images nearest to the samples of each arm's median run: arm, file, and which run it is.

    Args:
        summary: the study.
        shown: the arms that the figures show.
    """
    found = []
    for arm in shown:
        run = _typical(summary, arm)
        path = None if run is None else _files(summary, run).samples / "neighbours.png"
        if run is not None and path is not None and path.exists():
            found.append((arm.name, path, words_of(summary, run)))
    return found


def beside_pictures(summary: Summary, shown: Sequence[ArmResult]) -> list[tuple[str, Path, str]]:
    """Training images beside those of each arm's first seed that has them: arm, file, and which run it is.

    Of more than four arms, the baseline's alone, or those of the best where there is none.

    Args:
        summary: the study.
        shown: the arms that the figures show.
    """
    if len(shown) > _MAX_BESIDE:
        chosen = summary.baseline or next(iter(summary.ranking), shown[0])
        shown = [chosen]
    found = []
    for arm in shown:
        for run in sorted(arm.runs, key=lambda run: run.seed):
            path = _files(summary, run).samples / "real_beside_fake.png"
            if path.exists():
                found.append((arm.name, path, words_of(summary, run)))
                break
    return found


def latent_pictures(summary: Summary, shown: Sequence[ArmResult]) -> list[Picture]:
    """What `latent edit` and `latent interpolate` have drawn of the shown arms' runs, twelve files at most.

    Each arm's median run comes first, for it is the one that the other figures show.

    Args:
        summary: the study.
        shown: the arms that the figures show.
    """
    found = []
    for arm in shown:
        typical = _typical(summary, arm)
        for run in sorted(arm.runs, key=lambda run: typical is None or run.run_id != typical.run_id):
            for path in sorted(_files(summary, run).latent.glob("*.png")):
                kind, _, options = path.stem.partition("-")
                words = _LATENT_WORDS.get(kind, kind) + (f" ({options})" if options else "")
                title = f"{arm.name}, seed {run.seed}: {words}"
                found.append(Picture(path=path, title=title, caption=f"Run {run.run_id}."))
    return found[:_MAX_LATENT]


def last_frame(summary: Summary, run: RunResult) -> Path | None:
    """The last picture that a `run` of the study in `summary` left of its samples; None if it left none."""
    return _frame_at(summary, run, None)[0]


def _side_by_side(
    summary: Summary, chosen: Sequence[tuple[ArmResult, RunResult]], folder: Path
) -> list[Picture]:
    from harness.figures import Panel, panels, top_rows, write_png

    budget = min((run.ledger["seen_images"] for _, run in chosen if not run.failed), default=0)
    real = _files(summary, chosen[0][1]).reals
    found = [Panel(picture=top_rows(real, _ROWS), title="real images", note="of the training set")]
    cut, beside = False, False
    for arm, run in chosen:
        path, step = _frame_at(summary, run, budget)
        last = int(run.ledger["discriminator_steps"])
        note = words_of(summary, run, step)
        if step < last and not run.failed:
            cut = True
            note += f"\nat step {step:,} of {last:,}"
        beside |= not run.failed and step * _batch(run) != budget
        found.append(_panel(path, arm.name, note, run))
    write_png(panels(found), folder / "samples.png")
    near = "as near as a frame with a score comes to the time " if beside else ""
    when = (
        f"{near}when every discriminator had seen {budget:,.0f} real images, the most that all of them saw"
        if cut or beside
        else "at the end of training, when every discriminator had seen equally many real images"
    )
    return [
        Picture(
            path=folder / "samples.png",
            title="What was learnt",
            caption=f"Images made by each arm's run with the median score, {when}; each score is that of the "
            "images shown. Runs with the same seed "
            "make them from the same random numbers, and every grid shows its first ones, not the best. "
            "Where the generator is told what to make, each column is one class.",
        )
    ]


def _worst(summary: Summary, chosen: Sequence[tuple[ArmResult, RunResult]], folder: Path) -> list[Picture]:
    from harness.figures import panels, write_png

    found: list[Panel] = []
    for arm, typical in chosen:
        run = _worst_run(summary, arm)
        if run is not None and (run.failed or run.run_id != typical.run_id):
            path = last_frame(summary, run)
            if path is not None:
                found.append(_panel(path, arm.name, words_of(summary, run), run))
    if not found:
        return []
    write_png(panels(found), folder / "worst.png")
    return [
        Picture(
            path=folder / "worst.png",
            title="The worst runs",
            caption="The last images of each arm's run with the worst score; framed, and with the reason, "
            "where it diverged or was stopped as hopeless. A mean can hide that a design fails now and then: "
            "noise, one image over and over, or nothing at all.",
        )
    ]


def _filmstrips(
    summary: Summary, chosen: Sequence[tuple[ArmResult, RunResult]], folder: Path
) -> list[Picture]:
    from harness.figures import Panel, filmstrip, panels, read_classes, read_frames, write_png

    found = []
    for arm, run in chosen:
        frames = read_frames(_files(summary, run).samples)
        if len(frames) > 1:
            strip = filmstrip(frames, rows=_FILM_ROWS, row_labels=read_classes(_files(summary, run).samples))
            found.append(Panel(picture=strip, title=arm.name, note=words_of(summary, run)))
    if not found:
        return []
    write_png(panels(found, columns=_FILM_COLUMNS), folder / "filmstrips.png")
    return [
        Picture(
            path=folder / "filmstrips.png",
            title="From noise to images",
            caption="How the images of the same few random numbers changed while the networks trained, from "
            "left to right, in each arm's run with the median score. Above them stands how many batches of "
            "real images the discriminator had seen; steps are close together at first, when most happens.",
        )
    ]


def _panel(path: Path | None, title: str, note: str, run: RunResult) -> Panel:
    from PIL import Image

    from harness.figures import Panel, top_rows

    picture = Image.new("RGB", (180, 120), "#eeeeee") if path is None else top_rows(path, _ROWS)
    return Panel(picture=picture, title=title, note=note, failed=run.failed)


def _typical(summary: Summary, arm: ArmResult) -> RunResult | None:
    return summary.median_run(arm) or next(iter(arm.runs), None)


def _worst_run(summary: Summary, arm: ArmResult) -> RunResult | None:
    """The arm's run with the worst score, a failed one before all others."""
    values = arm.values(summary.metric, summary.at)
    scored = [run for run in arm.runs if run.failed or values[run.seed] == values[run.seed]]
    return max(scored, key=lambda run: (run.failed, summary.target.badness(values[run.seed])), default=None)


def _frame_at(summary: Summary, run: RunResult, budget: float | None) -> tuple[Path | None, int]:
    """A run's frame with a score that is nearest to a budget of real images, or its last, and its step."""
    frames = {
        int(path.stem.removeprefix("step_")): path for path in _files(summary, run).samples.glob("step_*.png")
    }
    if budget is None or run.failed:
        step = max(frames, default=-1)
    else:
        scored = set(_scores(summary, run)) & set(frames) or frames
        step = min(scored, key=lambda step: (abs(step * _batch(run) - budget), step), default=-1)
    return frames.get(step), step


def _batch(run: RunResult) -> float:
    """Real images that one step of the discriminator saw."""
    return run.ledger["seen_images"] / max(1.0, run.ledger["discriminator_steps"])


def _scores(summary: Summary, run: RunResult) -> dict[int, float]:
    """Step → the study's metric, at every evaluation that has it."""
    path, key = _files(summary, run).history, f"eval/{summary.metric}"
    rows = read_history(path) if path.exists() else ()
    return {int(row["train/step"]): row[key] for row in rows if key in row}


def words_of(summary: Summary, run: RunResult, step: int | None = None) -> str:
    """What stands below a picture of a run: its seed, and the score of the networks that made the picture.

    That is another number than the run's in the table where the study compares best scores or means over
    training, or where the picture is not of the last step.

    Args:
        summary: the study.
        run: the run; of one that failed, it is how and why.
        step: where the picture was made; by default at the end.
    """
    if run.failed:
        how = "stopped" if run.stopped_by == "verdict" else "diverged"
        return f"seed {run.seed}, {how}: {run.why_failed}"
    if step is None or step == int(run.ledger["discriminator_steps"]):
        is_lost = bool(run.failed_scores.get(summary.metric, {}).get("at_end"))
        value = math.nan if is_lost else run.scores.get(summary.metric, {}).get("last", math.nan)
    else:
        value = _scores(summary, run).get(step, math.nan)
    shown = flagged(rounded(value), is_absurd(run, summary.metric, value))
    return f"seed {run.seed}, {summary.metric} {shown or 'unknown'}"


def _files(summary: Summary, run: RunResult) -> RunFolder:
    return RunFolder(run_directory(summary.directory, run.run_id))
