"""The commands on a generator: generate, latent edit, latent interpolate; latent sefa is in cli_sefa."""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.runs import Command, class_numbers, load_run, mirrored_study, run_options
from harness.cli.sefa import sefa

if TYPE_CHECKING:
    from harness.latent import Effects
    from harness.runs.load import Run

__all__ = ["generate", "latent"]

_NUM_LATENTS = 8
_EFFECT_LATENTS = 32
_TABLE_ROWS = 10


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

    @property
    def folder(self) -> Path:
        """Where the files of `latent` go; it exists."""
        folder = self.out or self.run.directory / "latent"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def title(self) -> str:
        """The run in a line."""
        return f"{self.run.recipe.name} · seed {self.run.seed} · step {self.run.step:,}"


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

    folder = asked.out or asked.run.directory / "generated"
    made = write_samples(asked.run, num, directory=folder, labels=asked.labels, seed=asked.seed)
    click.echo(f"{made.num} images: {made.folder}")
    click.echo(f"grid: {made.grid}")
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
    path = asked.folder / ("edits_all_rows.png" if all_rows else "edits.png")
    made_with = {"dims": list(table.dims), "edits": list(table.edits), "all_rows": all_rows, "row": row}
    write_png(edit_figure(table, title=asked.title, classes=run.names_of(classes)), path)
    _print_effects(ranked, table.dims)
    _write_effects(ranked, asked.folder / "effects.csv")
    click.echo()
    for line in finding(table, ranked):
        click.echo(line)
    click.echo(f"\nfigure: {path}\neffects of all dimensions: {asked.folder / 'effects.csv'}")
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
    title, names = f"{asked.title} · {mode}", run.names_of(classes)
    picture = walk_figure(run.generator, path, labels=classes, classes=names, title=title)
    file = asked.folder / f"interpolate_{mode}.png"
    write_png(picture, file)
    click.echo(f"figure: {file}")
    _mirror(asked, "latent_interpolate", file, {"mode": mode, "steps": steps, "num": num})


latent.add_command(sefa)


def _mirror(asked: _Asked, series: str, picture: Path, made_with: Mapping[str, object]) -> None:
    """Show a picture in W&B beside the study's runs, where the run lies in a study.

    Each kind of picture is a W&B run of its own, for one made anew replaces all that it showed before.
    """
    from harness.tracking import log_pictures

    run, study = asked.run, mirrored_study(asked.run)
    if study is None:
        return
    kind = "generated" if series == "generated" else picture.stem.replace("_", "-")
    log_pictures(
        study,
        study.name,
        f"{kind}-{run.run_id}",
        pictures={f"samples/{series}": picture},
        step=run.step,
        config={"run": run.run_id, "seed": asked.seed, "labels": asked.labels, **made_with},
        tags=["latent"],
    )


def _print_effects(ranked: Effects, dims: tuple[int, ...]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "rank", "dimension", "change per unit of z", "± standard error", "", box=None, pad_edge=False
    )
    for effect in ranked.ranked:
        if effect.rank <= _TABLE_ROWS or effect.dim in dims:
            shown = "shown" if effect.dim in dims else ""
            numbers = (f"{effect.per_unit:.4f}", f"{effect.error:.4f}")
            table.add_row(str(effect.rank), f"z[{effect.dim}]", *numbers, shown)
    console = Console()
    console.print(
        f"Mean absolute change of a pixel, in [−1, 1], over {ranked.num_latents} latents; "
        f"{len(ranked.ranked)} dimensions in all.",
        highlight=False,
    )
    console.print(table)


def _write_effects(ranked: Effects, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["rank", "dimension", "change_per_unit", "standard_error"])
        for effect in ranked.ranked:
            writer.writerow([effect.rank, effect.dim, f"{effect.per_unit:.6g}", f"{effect.error:.6g}"])
