"""The commands on a finished run's generator: generate, latent edit, latent interpolate."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from harness.latent import Effects, Run

__all__ = ["generate", "latent"]

_NUM_LATENTS = 8
_EFFECT_LATENTS = 32
_TABLE_ROWS = 10

_seed = click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the latents."
)
_directory = click.option(
    "--directory",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Where runs are.",
)
_out = click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the files; in the run's by default.",
)
_labels = click.option(
    "--labels", metavar="A,B,…", help="Classes, by number or name, to go round in; all by default."
)


@click.command()
@click.argument("run")
@click.option("--num", type=click.IntRange(min=1), default=64, show_default=True, help="How many samples.")
@_labels
@_seed
@_directory
@_out
def generate(run: str, num: int, labels: str | None, seed: int, directory: Path, out: Path | None) -> None:
    """Write samples of a run: a grid and separate images.

    RUN is the run's folder, or the first digits of its id.
    """
    from harness.latent import generate as write_samples

    loaded = _load(run, directory)
    folder = out or loaded.directory / "generated"
    made = write_samples(loaded, num, directory=folder, labels=_classes(loaded, labels), seed=seed)
    click.echo(f"{made.num} images: {made.folder}")
    click.echo(f"grid: {made.grid}")


@click.group()
def latent() -> None:
    """Edit a run's latents, or walk between them."""


@latent.command()
@click.argument("run")
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
@_labels
@_seed
@_directory
@_out
def edit(
    run: str,
    dims: str,
    edits: str,
    all_rows: bool,
    row: int,
    labels: str | None,
    seed: int,
    directory: Path,
    out: Path | None,
) -> None:
    """Edit single numbers of eight latents; rank what each number does.

    RUN is the run's folder, or the first digits of its id.
    """
    from harness.figures import write_png
    from harness.latent import choose_dims, draw_latents, edit_figure, effects, finding
    from harness.latent import edit as edit_latents

    loaded = _load(run, directory)
    latents = draw_latents(_NUM_LATENTS, loaded.latent_dim, seed=seed, purpose="latent edit")
    many = draw_latents(_EFFECT_LATENTS, loaded.latent_dim, seed=seed, purpose="latent effects")
    asked = _classes(loaded, labels)
    ranked = effects(loaded.generator, many, labels=loaded.cycle_labels(len(many), asked))
    table = edit_latents(
        loaded.generator,
        latents,
        choose_dims(dims, ranked, seed=seed),
        edits=[name.strip() for name in edits.split(",") if name.strip()],
        all_rows=all_rows,
        row=row,
        labels=loaded.cycle_labels(len(latents), asked),
    )
    folder = _folder(loaded, out)
    path = folder / ("edits_all_rows.png" if all_rows else "edits.png")
    write_png(edit_figure(table, title=_title(loaded)), path)
    _print_effects(ranked, table.dims)
    _write_effects(ranked, folder / "effects.csv")
    click.echo()
    for line in finding(table, ranked):
        click.echo(line)
    click.echo(f"\nfigure: {path}\neffects of all dimensions: {folder / 'effects.csv'}")


@latent.command()
@click.argument("run")
@click.option("--mode", type=click.Choice(["linear", "spherical"]), default="spherical", show_default=True)
@click.option("--steps", type=click.IntRange(2, 50), default=11, show_default=True, help="Images a walk.")
@click.option("--num", type=click.IntRange(1, 50), default=6, show_default=True, help="How many walks.")
@_labels
@_seed
@_directory
@_out
def interpolate(
    run: str,
    mode: str,
    steps: int,
    num: int,
    labels: str | None,
    seed: int,
    directory: Path,
    out: Path | None,
) -> None:
    """Walk from latent to latent, a row a walk.

    RUN is the run's folder, or the first digits of its id.
    """
    from harness.figures import write_png
    from harness.latent import draw_latents, walk_figure
    from harness.latent import interpolate as walk

    loaded = _load(run, directory)
    ends = draw_latents(2 * num, loaded.latent_dim, seed=seed, purpose="latent walk")
    path = walk(ends[::2], ends[1::2], steps=steps, mode="linear" if mode == "linear" else "spherical")
    classes = loaded.cycle_labels(num, _classes(loaded, labels))
    picture = walk_figure(loaded.generator, path, labels=classes, title=f"{_title(loaded)} · {mode}")
    file = _folder(loaded, out) / f"interpolate_{mode}.png"
    write_png(picture, file)
    click.echo(f"figure: {file}")


def _load(text: str, directory: Path) -> Run:
    from harness.latent import check_images, find_run, load_run

    run = load_run(find_run(text, directory=directory))
    check_images(run)
    return run


def _folder(run: Run, out: Path | None) -> Path:
    folder = out or run.directory / "latent"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _title(run: Run) -> str:
    return f"{run.recipe.name} · seed {run.seed} · step {run.step:,}"


def _classes(run: Run, text: str | None) -> list[int] | None:
    """Class numbers of ``--labels``, which takes numbers and names."""
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
