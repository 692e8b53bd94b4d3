"""Pictures and films made after training, as a W&B run of their own in the study's group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.tracking.history import STEP
from harness.tracking.mode import wandb_mode
from harness.tracking.wandb import Notify, WandbRun

__all__ = ["log_pictures"]

_FILMS = {".gif": "gif", ".mp4": "mp4"}


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
    mode: str = "auto",
    notify: Notify | None = None,
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
        mode: see `wandb_mode`.
        notify: takes the few messages a user should see; by default stderr.

    Returns:
        Which calls failed, and how often: empty if all went well.

    Raises:
        ValueError: the mode is unknown.
    """
    run = WandbRun(
        directory=Path(directory),
        mode=wandb_mode(mode),
        notify=notify,
        study=study,
        run_id=name,
        resumed=True,
        init={
            "group": study,
            "job_type": "pictures",
            "name": name,
            "tags": [tag[:64] for tag in dict.fromkeys(tags) if tag],
            "config": {**(config or {}), "study": study},
        },
    )
    if pictures:
        run.log(
            lambda library: {
                STEP: step,
                **{
                    key: library.Video(str(path), format=_FILMS[path.suffix])
                    if path.suffix in _FILMS
                    else library.Image(str(path))
                    for key, path in pictures.items()
                },
            },
            what="image",
        )
    run.summarise(dict(scalars or {}))
    run.finish(exit_code=0)
    return dict(run.failures)
