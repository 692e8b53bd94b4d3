"""The command that scores what there is: harness evaluate."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from harness.cli.options import data_root, directory, import_option, read_settings
from harness.terminal import new_console, say
from harness.words import ABSURD, flagged, joined

if TYPE_CHECKING:
    from rich.table import Table

    from harness.evaluation import Evaluation

__all__ = ["evaluate"]

_TABLE_WIDTH = 112
"""Full names are not cut off: a narrow terminal wraps them."""

_COLOURS = {
    "diverged": "red",
    "d-saturated": "red",
    "collapsed": "red",
    "partial-collapse": "yellow",
    "immature": "yellow",
    "healthy": "green",
}


@click.command()
@click.argument("source", metavar="RUN|FOLDER")
@click.option("--against", default="", metavar="DATASET", help="The data set; a run's own by default.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="An option of the data set, e.g. size=32."
)
@click.option(
    "--extractor",
    default="auto",
    show_default=True,
    help="What embeds images: auto, random-conv, inception, inception:FILE, or a classifier's name.",
)
@click.option(
    "--num", type=click.IntRange(min=1), help="How many samples; by default what the run was judged by."
)
@click.option(
    "--checkpoint", type=click.Choice(["last", "best"]), default="last", show_default=True, help="Of a run."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@directory
@data_root
@import_option
def evaluate(
    source: str,
    against: str,
    settings: tuple[str, ...],
    extractor: str,
    num: int | None,
    checkpoint: Literal["last", "best"],
    as_json: bool,
    directory: Path,
) -> None:
    """Score a run, or any folder of generated images, and judge it.

    RUN is the run's folder, or the first digits of its id. FOLDER holds images of the data's size, of
    whatever origin, and needs --against.
    """
    from harness.evaluation import evaluate as evaluate_source

    found = evaluate_source(
        source,
        against=against,
        options=read_settings(settings),
        extractor=extractor,
        num=num or 0,
        checkpoint=checkpoint,
        directory=directory,
    )
    if as_json:
        say(json.dumps(found.to_json(), indent=2, allow_nan=False))
        return
    console = new_console()
    console.width = max(console.width, _TABLE_WIDTH)
    console.print(f"{_title(found)}\n", highlight=False, soft_wrap=True, markup=False)
    console.print(_table(found))
    failures, too_few = found.scores.failures, found.scores.too_few
    lines = [(f"failed: {name}: {why}", "yellow") for name, why in failures.items() if name not in too_few]
    if lines:
        lines.append((f"{len(lines)} of {len(lines) + len(found.scores)} scores could not be computed.", ""))
    for reason in dict.fromkeys(failures[name] for name in failures if name in too_few):
        names = [name for name in failures if name in too_few and failures[name] == reason]
        lines.append((f"not given: {joined(names)}: {reason}", ""))
    lines += [("", ""), (found.verdict.sentence(), _COLOURS[found.verdict.name])]
    for line, style in [*lines, *((line, "") for line in _lines(found))]:
        console.print(line, style=style, highlight=False, soft_wrap=True, markup=False)


def _title(found: Evaluation) -> str:
    when = "" if found.step is None else f" at step {found.step:,}"
    known = found.fingerprint
    measured = [f"{key.replace('_', ' ')} {known[key]}" for key in ("extractor", "held_out") if key in known]
    parts = "".join(f"; {part}" for part in measured)
    return f"{found.source}{when}: {found.num_samples:,} samples against {found.data} {known['data']}{parts}"


def _table(found: Evaluation) -> Table:
    from rich.table import Table

    from harness.recipe.registry import metrics

    table = Table("score", box=None, pad_edge=False)
    table.add_column("value", justify="right")
    table.add_column(f"{found.num_null:,} real samples", justify="right")
    table.add_column("better")
    for name, value in found.scores.items():
        info, null = metrics[name], found.null.get(name)
        ideal = "" if info.ideal is None else f", {info.ideal:g} is right"
        real = "–" if null is None else f"{null:.4g}"
        score = flagged(f"{value:.4g}", _is_absurd(found, name))
        table.add_row(found.titles[name], score, real, info.direction + ideal)
    return table


def _is_absurd(found: Evaluation, name: str) -> bool:
    from harness.recipe.registry import metrics

    return bool(metrics[name].is_absurd(found.scores[name], found.null.get(name, math.nan)))


def _lines(found: Evaluation) -> list[str]:
    lines = [ABSURD] if any(_is_absurd(found, name) for name in found.scores) else []
    if found.missing_classes:
        lines.append(f"classes with less than a fifth of their images: {', '.join(found.missing_classes)}")
    if found.verdict.missing:
        lines.append(f"not known to the verdict: {', '.join(found.verdict.missing)}")
    if found.recorded:
        lines.append(f"verdict when it was trained: {found.recorded}")
    return [*lines, *found.notes]
