"""What every command on a trained run has in common: its options, and how its run and classes are found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import click

from harness.cli.options import SEED, data_root, import_option
from harness.terminal import say
from harness.words import listed

if TYPE_CHECKING:
    from harness.runs.load import Run

__all__ = ["Command", "class_numbers", "load_run", "mirrored_study", "run_options"]

Command: TypeAlias = Callable[..., None]


def run_options(command: Command) -> Command:
    """The options of every command on a generator."""
    folder = click.Path(path_type=Path)
    for option in (
        import_option,
        data_root,
        click.option(
            "--out",
            type=click.Path(path_type=Path, file_okay=False),
            help="Folder for the files; by default in the run's, each other choice under a name of its own.",
        ),
        click.option(
            "--directory", type=folder, default=Path("runs"), show_default=True, help="Where runs are."
        ),
        click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of the latents."),
        click.option(
            "--labels", metavar="A,B,...", help="Classes, by number or name, to go round in; all by default."
        ),
        click.option(
            "--from",
            "chosen",
            type=click.Choice(["last", "best"]),
            help="The run's last checkpoint, or its best, chosen on held-out samples.  [default: last]",
        ),
    ):
        command = option(command)
    return command


def load_run(text: str, directory: Path, chosen: str | None) -> Run:
    """The run of images that a command names.

    Args:
        text: its folder, or the first digits of its id.
        directory: where runs are.
        chosen: ``last`` or ``best`` checkpoint; None for the last.

    Raises:
        ValueError: there is none, or it makes no images.
    """
    from harness import latent
    from harness.runs import load

    run = load.load_run(text, directory=directory, checkpoint="best" if chosen == "best" else "last")
    latent.check_images(run)
    if run.changed:
        files = listed([f"`{file}`" for file in run.changed])
        say(f"note: {files} changed since run {run.run_id} was trained.", err=True)
    return run


def class_numbers(run: Run, text: str | None) -> list[int] | None:
    """Class numbers of ``--labels``, which takes numbers and names.

    Args:
        run: the run, which knows its classes' names.
        text: numbers or names, with commas between them; None for all classes.

    Raises:
        ValueError: a name that is no class.
    """
    if text is None:
        return None
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not run.conditional or all(word.isdecimal() for word in words):
        return [int(word) if word.isdecimal() else 0 for word in words]
    names = {name.casefold(): number for number, name in enumerate(run.class_names)}
    unknown = [word for word in words if not word.isdecimal() and word.casefold() not in names]
    if unknown:
        raise ValueError(f"`--labels`: unknown class `{unknown[0]}`. Known: {', '.join(run.class_names)}.")
    return [int(word) if word.isdecimal() else names[word.casefold()] for word in words]


def mirrored_study(run: Run) -> Path | None:
    """The study that a run lies in, whose W&B files show its pictures too; None where nothing is shown."""
    from harness.tracking import wandb_mode

    place = run.directory.resolve()
    return place.parents[1] if place.parent.name == "runs" and wandb_mode() != "disabled" else None
