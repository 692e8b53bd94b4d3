"""The commands on a generator: generate; latent edit, interpolate and sefa."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.runs import Command, class_numbers, load_run, mirrored_study, run_options
from harness.files import csv_text, encodable, write_text
from harness.terminal import new_console, say

if TYPE_CHECKING:
    from harness.latent import Attributes, Effects, Explored
    from harness.runs.load import Run

__all__ = ["generate", "latent"]

_NUM_LATENTS = 8
_EFFECT_LATENTS = 32
_TABLE_ROWS = 10
_TABLE_WIDTH = 130
_MAX_VALUE = 24
_NO_RESULT = {"run", "checkpoint", "directory", "out", "device", "variant", "mode", "all_rows"}
"""Parameters that do not change what is drawn, or stand in the names of files already."""
_SERIES = {".gif": "film_gif", ".mp4": "film_mp4"}


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What the commands on one run have in common.

    Attributes:
        run: the run, loaded.
        seed: seed of the latents.
        labels: classes to go round in, None for all.
        out: the folder asked for.
    """

    run: Run
    seed: int
    labels: list[int] | None
    out: Path | None

    def file(self, name: str) -> Path:
        """Where a file of `latent` goes; its folder exists. In the run's own its name has `apart` in it."""
        path = self.out / name if self.out else self.run.directory / "latent" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path if self.out else path.with_stem(path.stem + apart())


def apart() -> str:
    """What sets a command's results apart from those of its defaults: ``-seed3-layers0-1``, say, or nothing.

    It is part of the names of files and folders that nobody named, so that no result replaces another one.
    """
    context = click.get_current_context()
    given = ""
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if parameter.name in _NO_RESULT or value is None or value == parameter.get_default(context):
            continue
        clean = re.sub(r"[^\w.,-]", "_", str(value), flags=re.ASCII)
        if clean != str(value) or len(clean) > _MAX_VALUE:
            clean = f"{clean[:_MAX_VALUE]}-{sha256(encodable(str(value)).encode()).hexdigest()[:8]}"
        given += f"-{parameter.opts[-1].lstrip('-').replace('_', '-')}{'' if value is True else clean}"
    return given


def _digest(checkpoint: Path) -> str:
    """What tells files of one name apart: those of two trainings are all called `generator.pth`."""
    with checkpoint.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()[:8]


def _on_run(command: Command) -> Command:
    """A command on one run: its first argument is what was asked of every one."""

    @functools.wraps(command)
    def loaded(
        run: str,
        labels: str | None,
        chosen: str | None,
        seed: int,
        directory: Path,
        out: Path | None,
        **options: Any,
    ) -> None:
        from harness.tracking import wandb_mode

        wandb_mode()  # a mode that is unknown is refused before anything is drawn
        found = load_run(run, directory, chosen)
        command(_Asked(run=found, seed=seed, labels=class_numbers(found, labels), out=out), **options)

    return click.argument("run")(run_options(loaded))


@click.command()
@_on_run
@click.option("--num", type=click.IntRange(min=1), default=64, show_default=True, help="How many samples.")
def generate(asked: _Asked, num: int) -> None:
    """Write samples of a run: a grid and separate images.

    RUN is the run's folder, or the first digits of its id.
    """
    from harness.latent import generate as write_samples

    folder = asked.out or asked.run.directory / f"generated{apart()}"
    made = write_samples(asked.run, num, directory=folder, labels=asked.labels, seed=asked.seed)
    say(f"{made.num} images: {made.folder}")
    say(f"grid: {made.grid}")
    _mirror(asked, "generated", made.grid, {"num": num})


@click.group()
def latent() -> None:
    """Edit a run's latents, walk between them, or find the directions that matter."""


@latent.command()
@_on_run
@click.option(
    "--dims",
    default="5",
    show_default=True,
    help="5: as many at random; top5: the strongest; 3,17,42: these.",
)
@click.option("--edits", default="double,zero,negate", show_default=True, help="What to do to a number.")
@click.option("--all-rows", is_flag=True, help="Edit the number in all eight latents, not in one.")
@click.option(
    "--row",
    type=click.IntRange(0, _NUM_LATENTS - 1),
    default=0,
    show_default=True,
    help="The latent to edit.",
)
def edit(asked: _Asked, dims: str, edits: str, all_rows: bool, row: int) -> None:
    """Edit single numbers of eight latents; rank what each number does.

    RUN is the run's folder, or the first digits of its id.
    """
    from harness.figures import write_png
    from harness.latent import choose_dims, edit_figure, effects, finding
    from harness.latent import edit as edit_latents
    from harness.runs.sampling import draw_latents

    run, seed = asked.run, asked.seed
    latents = draw_latents(_NUM_LATENTS, run.latent_dim, seed=seed, purpose="latent edit")
    many = draw_latents(_EFFECT_LATENTS, run.latent_dim, seed=seed, purpose="latent effects")
    ranked = effects(run.generator, many, labels=run.cycle_labels(len(many), asked.labels))
    classes = run.cycle_labels(len(latents), asked.labels)
    table = edit_latents(
        run.generator,
        latents,
        choose_dims(dims, ranked, seed=seed),
        edits=[name.strip() for name in edits.split(",") if name.strip()],
        all_rows=all_rows,
        row=row,
        labels=classes,
    )
    path = asked.file("edits_all_rows.png" if all_rows else "edits.png")
    made_with = {"dims": list(table.dims), "edits": list(table.edits), "all_rows": all_rows, "row": row}
    write_png(edit_figure(table, title=run.title, classes=run.names_of(classes)), path)
    _print_effects(ranked, table.dims)
    header = ("rank", "dimension", "change_per_unit", "standard_error")
    rows = [(one.rank, one.dim, f"{one.per_unit:.6g}", f"{one.error:.6g}") for one in ranked.ranked]
    table_file = asked.file("effects.csv")
    write_text(table_file, csv_text([header, *rows]))
    say()
    for line in finding(table, ranked):
        say(line)
    say(f"\nfigure: {path}\neffects of all dimensions: {table_file}")
    _mirror(asked, "latent_edit", path, made_with)


@latent.command()
@_on_run
@click.option("--mode", type=click.Choice(["linear", "spherical"]), default="spherical", show_default=True)
@click.option("--steps", type=click.IntRange(2, 50), default=11, show_default=True, help="Images a walk.")
@click.option("--num", type=click.IntRange(1, 50), default=6, show_default=True, help="How many walks.")
def interpolate(asked: _Asked, mode: str, steps: int, num: int) -> None:
    """Walk from latent to latent, a row a walk.

    RUN is the run's folder, or the first digits of its id.
    """
    from harness.figures import write_png
    from harness.latent import interpolate as walk
    from harness.latent import walk_figure
    from harness.runs.sampling import draw_latents

    run = asked.run
    ends = draw_latents(2 * num, run.latent_dim, seed=asked.seed, purpose="latent walk")
    path = walk(ends[::2], ends[1::2], steps=steps, mode="linear" if mode == "linear" else "spherical")
    classes = run.cycle_labels(num, asked.labels)
    title, names = f"{run.title} · {mode}", run.names_of(classes)
    picture = walk_figure(run.generator, path, labels=classes, classes=names, title=title)
    file = asked.file(f"interpolate_{mode}.png")
    write_png(picture, file)
    say(f"figure: {file}")
    _mirror(asked, "latent_interpolate", file, {"mode": mode, "steps": steps, "num": num})


@latent.command()
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
    help="lab: weights and codes as they are, -2 to 2; original: both normalised, -3 to 3.",
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
    from harness.tracking import wandb_mode

    wandb_mode()
    if (run is None) == (checkpoint is None):
        raise ValueError("`latent sefa` takes a run or --checkpoint, one of the two; give a run's id, say.")
    loaded, classes = None, None
    if checkpoint is not None:
        if labels is not None:
            raise ValueError("`--labels` are for runs of a conditional generator; a checkpoint takes none.")
        if chosen is not None:
            raise ValueError("`--from` chooses among a run's checkpoints; leave it out beside --checkpoint.")
        subject = published_subject(checkpoint, layers=layers)
        study = directory / f"sefa-{checkpoint.stem}-{_digest(checkpoint)}-{variant}{apart()}"
        folder = out or study
    else:
        loaded = load_run(str(run), directory, chosen)
        classes = loaded.cycle_labels(num_samples, class_numbers(loaded, labels))
        subject = run_subject(loaded, layers=layers)
        folder = out or loaded.directory / "latent" / f"sefa-{variant}{apart()}"
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
        say=functools.partial(say, err=True),
    )
    if made.attributes is not None:
        _print_attributes(made.attributes, made.scalars)
        say()
    for line in made.words:
        say(line)
    say()
    for file in made.files:
        say(file)
    if subject.generator is None:
        say("Its style weights alone were read, so there are directions, but no images.")
    elif find_ffmpeg() is None:
        say("There is no ffmpeg, so the film is a GIF alone; pip install imageio-ffmpeg.")
    if checkpoint is not None:
        _mirror_directions(made, study, study.name, 0, {"checkpoint": checkpoint.name, "variant": variant})
    elif loaded is not None and (study_of := mirrored_study(loaded)) is not None:
        name = f"sefa-{loaded.run_id}-{variant}{apart()}"
        _mirror_directions(made, study_of, name, loaded.step, {"run": loaded.run_id, "variant": variant})


def _mirror(asked: _Asked, series: str, picture: Path, made_with: Mapping[str, object]) -> None:
    """Show a picture in W&B beside the study's runs, where the run lies in a study.

    Each kind of picture is a W&B run of its own, for one made anew replaces all that it showed before.
    """
    from harness.tracking import log_pictures

    run, study = asked.run, mirrored_study(asked.run)
    if study is None:
        return
    kind = series if series == "generated" else picture.stem.removesuffix(apart()).replace("_", "-")
    log_pictures(
        study,
        study.name,
        f"{kind}{apart()}-{run.run_id}",
        pictures={f"samples/{series}": picture},
        step=run.step,
        config={"run": run.run_id, "seed": asked.seed, "labels": asked.labels, **made_with},
        tags=["latent"],
    )


def _print_effects(ranked: Effects, dims: tuple[int, ...]) -> None:
    from rich.table import Table

    table = Table(
        "rank", "dimension", "change per unit of z", "± standard error", "", box=None, pad_edge=False
    )
    for effect in ranked.ranked:
        if effect.rank <= _TABLE_ROWS or effect.dim in dims:
            shown = "shown" if effect.dim in dims else ""
            numbers = (f"{effect.per_unit:.4f}", f"{effect.error:.4f}")
            table.add_row(str(effect.rank), f"z[{effect.dim}]", *numbers, shown)
    console = new_console()
    console.print(
        f"Mean absolute change of a pixel, in [−1, 1], over {ranked.num_latents} latents; "
        f"{len(ranked.ranked)} dimensions in all.",
        highlight=False,
    )
    console.print(table)


def _mirror_directions(made: Explored, study: Path, name: str, step: int, config: dict[str, str]) -> None:
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
    from rich.table import Table

    from harness.latent import attribute_table

    values = [scalars[f"sefa/direction{row}/eigenvalue"] for row in range(found.num_directions)]
    header, *rows = attribute_table(found, values)
    table = Table(*header, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    classes = "; samples whose class changes" if found.class_names else ""
    console = new_console()
    console.width = max(console.width, _TABLE_WIDTH)
    console.print(
        "A unit along each direction: mean absolute change of a pixel; attributes in standard deviations "
        f"among samples,\n* beyond all {found.num_random} random directions{classes}. "
        f"{found.num_latents} latents.",
        highlight=False,
    )
    console.print(table, highlight=False)
