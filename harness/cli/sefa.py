"""The command `latent sefa`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.runs import class_numbers, load_run, mirrored_study, run_options

if TYPE_CHECKING:
    from harness.latent import Attributes, Explored

__all__ = ["sefa"]

_TABLE_WIDTH = 130
_SERIES = {".gif": "film_gif", ".mp4": "film_mp4"}


@click.command()
@click.argument("run", required=False)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    help="A published PGGAN, StyleGAN or StyleGAN2 generator, in place of RUN.",
)
@click.option(
    "--variant",
    type=click.Choice(["lab", "original"]),
    default="lab",
    show_default=True,
    help="lab: weights and codes as they are, −2 to 2; original: both normalised, −3 to 3.",
)
@click.option(
    "--num-samples", type=click.IntRange(1, 50), default=5, show_default=True, help="How many samples."
)
@click.option(
    "--num-directions", type=click.IntRange(1, 50), default=5, show_default=True, help="How many directions."
)
@click.option("--layers", default="all", show_default=True, help="Layers that take the latent, like 0-1,5.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option(
    "--attribute-latents",
    type=click.IntRange(min=0),
    help="Latents over which attributes are measured; 0 for none; by default 256, or what a minute affords.",
)
@click.option(
    "--num-random",
    type=click.IntRange(min=20),
    default=99,
    show_default=True,
    help="Random directions to compare attributes with.",
)
@run_options
def sefa(
    run: str | None,
    checkpoint: Path | None,
    variant: str,
    num_samples: int,
    num_directions: int,
    layers: str,
    device: str,
    attribute_latents: int | None,
    num_random: int,
    labels: str | None,
    chosen: str | None,
    seed: int,
    directory: Path,
    out: Path | None,
) -> None:
    """Find the directions that the first layer's weights favour, and say what moves along them.

    Each is shown on samples, and measured beside random directions: by the brightness, contrast, sharpness,
    width, height and slant of the image, and by the class that the data set's frozen classifier sees.

    RUN is the run's folder, or the first digits of its id.
    """
    from harness.figures import find_ffmpeg
    from harness.latent import explore, published_subject, run_classifier, run_subject
    from harness.machine import resolve_device

    if (run is None) == (checkpoint is None):
        raise ValueError("`latent sefa` takes a run or --checkpoint, one of the two; give a run's id, say.")
    loaded, classes = None, None
    if checkpoint is not None:
        if labels is not None:
            raise ValueError("`--labels` are for runs of a conditional generator; a checkpoint takes none.")
        if chosen is not None:
            raise ValueError("`--from` chooses among a run's checkpoints; leave it out beside --checkpoint.")
        subject = published_subject(checkpoint, layers=layers)
        folder = out or directory / f"sefa-{checkpoint.stem}-{variant}"
    else:
        assert run is not None
        loaded = load_run(run, directory, chosen)
        classes = loaded.cycle_labels(num_samples, class_numbers(loaded, labels))
        subject = run_subject(loaded, layers=layers)
        folder = out or loaded.directory / "latent" / f"sefa-{variant}"
    made = explore(
        subject,
        folder,
        variant=variant,
        num_samples=num_samples,
        num_directions=num_directions,
        seed=seed,
        labels=classes,
        device=resolve_device(device),
        classifier=None if loaded is None else run_classifier(loaded),
        class_names=() if loaded is None else loaded.class_names,
        num_latents=attribute_latents,
        num_random=num_random,
        say=lambda line: click.echo(line, err=True),
    )
    if made.attributes is not None:
        _print_attributes(made.attributes, made.scalars)
        click.echo()
    for line in made.words:
        click.echo(line)
    click.echo()
    for file in made.files:
        click.echo(file)
    if subject.generator is None:
        click.echo("Its style weights alone were read, so there are directions, but no images.")
    elif find_ffmpeg() is None:
        click.echo("There is no ffmpeg, so the film is a GIF alone; install gan-sweep-harness[video].")
    if checkpoint is not None:
        study = directory / f"sefa-{checkpoint.stem}-{variant}"
        _mirror(made, study, study.name, 0, {"checkpoint": checkpoint.name, "variant": variant})
    elif loaded is not None and (study_of := mirrored_study(loaded)) is not None:
        name = f"sefa-{loaded.run_id}-{variant}"
        _mirror(made, study_of, name, loaded.step, {"run": loaded.run_id, "variant": variant})


def _mirror(made: Explored, study: Path, name: str, step: int, config: dict[str, str]) -> None:
    """Show the pictures in W&B: a run's beside its study's runs, a file's as a study of their own."""
    from harness.tracking import log_pictures, wandb_mode

    shown = [file for file in made.files if file.suffix in (".png", ".gif", ".mp4")]
    if not shown or wandb_mode() == "disabled":
        return
    log_pictures(
        study,
        study.name,
        name,
        pictures={f"sefa/{_SERIES.get(file.suffix, file.stem)}": file for file in shown},
        step=step,
        scalars=made.scalars,
        config=config,
        tags=["sefa"],
    )


def _print_attributes(found: Attributes, scalars: dict[str, float]) -> None:
    from rich.console import Console
    from rich.table import Table

    from harness.latent import attribute_table

    values = [scalars[f"sefa/direction{row}/eigenvalue"] for row in range(found.num_directions)]
    header, *rows = attribute_table(found, values)
    table = Table(*header, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    classes = "; samples whose class changes" if found.class_names else ""
    console = Console()
    console = Console(width=max(console.width, _TABLE_WIDTH))
    console.print(
        "A unit along each direction: mean absolute change of a pixel; attributes in standard deviations "
        f"among samples,\n* beyond all {found.num_random} random directions{classes}. "
        f"{found.num_latents} latents.",
        highlight=False,
    )
    console.print(table, highlight=False)
