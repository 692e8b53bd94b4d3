"""The report, and pictures made after training, as W&B runs of their own in the study's group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.tracking.history import STEP
from harness.tracking.mode import wandb_mode
from harness.tracking.wandb import WandbRun, media, plain, short_tags

__all__ = ["log_pictures", "log_summary"]


def log_summary(
    directory: Path,
    study: str,
    *,
    scalars: Mapping[str, float | str] | None = None,
    images: Mapping[str, Path] | None = None,
    files: Sequence[Path] = (),
    config: Mapping[str, object] | None = None,
    tags: Sequence[str] = (),
    mode: str = "auto",
) -> Mapping[str, int]:
    """Mirror a study's report as one W&B run named `summary`, replacing the one of an earlier report.

    Tables go as scalars and files, because W&B's own tables are lost when an offline folder moves.

    Args:
        directory: The study's folder.
        study: Name of the study: the group.
        scalars: Key, such as `table/adam/mean`, → value; they go to the run's summary.
        images: Key, such as `figures/arms`, → image file.
        files: Files to keep with the run, such as the tables and the page.
        config: What the study asks, nested.
        tags: Tags of the run.
        mode: See `wandb_mode`.

    Returns:
        Which calls failed, and how often: empty if all went well.

    Raises:
        ValueError: If the mode is unknown.
    """
    run = _open(directory, study, "summary", "summary", config, tags, mode)
    _show(run, images or {}, 0, what="log")
    for file in files:
        run.save(Path(file))
    return _finished(run, scalars)


def log_pictures(
    directory: Path,
    study: str,
    name: str,
    *,
    pictures: Mapping[str, Path],
    step: int = 0,
    scalars: Mapping[str, float | str] | None = None,
    config: Mapping[str, object] | None = None,
    tags: Sequence[str] = (),
) -> Mapping[str, int]:
    """Show pictures and films in W&B; made anew, they replace the earlier ones.

    Args:
        directory: the study's folder; W&B's files go to its `wandb/` (to WANDB_DIR's, if that is set).
        study: name of the study: the group.
        name: name of the W&B run, such as `sefa-0123456789ab`.
        pictures: key, such as `sefa/frame0`, → PNG, GIF or MP4.
        step: the training step they show.
        scalars: key → value; they go to the run's summary.
        config: what they were made with, nested.
        tags: tags of the run.

    Returns:
        Which calls failed, and how often: empty if all went well.

    Raises:
        ValueError: the mode that the environment asks for is unknown.
    """
    run = _open(directory, study, name, "pictures", config, tags, "auto")
    _show(run, pictures, step, what="image")
    return _finished(run, scalars)


def _open(
    directory: Path,
    study: str,
    name: str,
    kind: str,
    config: Mapping[str, object] | None,
    tags: Sequence[str],
    mode: str,
) -> WandbRun:
    init = {"group": study, "job_type": kind, "name": name, "tags": short_tags(tags)}
    return WandbRun(
        directory=Path(directory),
        mode=wandb_mode(mode),
        study=study,
        run_id=name,
        resumed=True,
        init={**init, "config": {**(config or {}), "study": study}},
    )


def _show(run: WandbRun, shown: Mapping[str, Path], step: int, *, what: str) -> None:
    if shown:
        run.log(
            lambda library: {STEP: step, **{key: media(library, path) for key, path in shown.items()}},
            what=what,
        )


def _finished(run: WandbRun, scalars: Mapping[str, float | str] | None) -> Mapping[str, int]:
    run.summarise(plain(scalars or {}))
    run.finish(exit_code=0)
    return dict(run.failures)
