"""The command that shows a recipe before anything is trained: harness show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape
from rich.table import Table

from harness.cli.options import data_root, import_option, read_settings, set_option
from harness.recipe.registry import Value
from harness.terminal import new_console
from harness.words import legible

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.data import Outline
    from harness.recipe import Recipe

__all__ = ["show"]


@click.command()
@click.argument("recipe")
@set_option
@data_root
@import_option
def show(recipe: str, settings: tuple[str, ...]) -> None:
    """Print a recipe: its networks, their layers' cost, and every setting."""
    import torch

    from harness.data import outline
    from harness.recipe import find_recipe
    from harness.recipe.networks import build_discriminator, build_generator, check_networks

    resolved = find_recipe(recipe).override(read_settings(settings))
    data = outline(resolved.data)
    check_networks(resolved, data.sample_shape, data.num_classes)
    with torch.device("meta"):
        generator = build_generator(resolved, data.sample_shape, data.num_classes)
        discriminator = build_discriminator(resolved, data.sample_shape, data.num_classes)
        latent = torch.empty(1, resolved.latent_dim)
        sample = torch.empty(1, *data.sample_shape)
    known = _check_growth(resolved, generator)
    console = new_console()
    console.print(f"[bold]{resolved.name}[/bold]  {resolved.description}\n")
    for title, network, example in (
        ("Generator", generator, latent),
        ("Discriminator", discriminator, sample),
    ):
        console.print(f"[bold]{title}[/bold]")
        console.print(str(network), markup=False, highlight=False)
        console.print(_layers(network, example))
        if line := _depth_cost(resolved, title.lower(), network, example, data):
            console.print(line, highlight=False, soft_wrap=True)
        console.print()
    if resolved.train.grow_images:
        console.print("[bold]Growth[/bold]")
        console.print(_growth(resolved, (generator, latent), (discriminator, sample)))
        if not known:
            console.print("Whether the run is long enough for it is seen when it is trained.")
        console.print()
    table = Table("setting", "value", box=None, pad_edge=False)
    for key, value in resolved.flat().items():
        table.add_row(key, escape(legible(_printed(value))))
    console.print(table)
    for line in resolved.warnings():
        console.print(f"[yellow]warning:[/yellow] {line}")


def _layers(network: nn.Module, example: Tensor) -> Table:
    from harness.recipe.networks import layer_table

    rows = layer_table(network, example)
    table = Table("layer", "kind", "output shape", box=None, pad_edge=False)
    table.add_column("parameters", justify="right")
    table.add_column("multiply-adds", justify="right")
    for row in rows:
        shape = "×".join(map(str, row.output_shape)) or "1"
        table.add_row(row.name, row.kind, shape, f"{row.num_parameters:,}", f"{row.multiply_adds:,}")
    parameters = sum(row.num_parameters for row in rows)
    table.add_row(
        "total", "", "", f"{parameters:,}", f"{sum(row.multiply_adds for row in rows):,}", style="bold"
    )
    return table


def _depth_cost(recipe: Recipe, section: str, network: nn.Module, example: Tensor, data: Outline) -> str:
    """What a network costs against the same at depth 0; nothing where that is what it is."""
    import torch

    from harness.recipe.networks import build_discriminator, build_generator, layer_table

    depth = getattr(recipe, section).options.get("depth", 0)
    if not depth:
        return ""
    build = build_generator if section == "generator" else build_discriminator
    with torch.device("meta"):
        plain = build(recipe.override({f"{section}.depth": 0}), data.sample_shape, data.num_classes)
    rows, plain_rows = layer_table(network, example), layer_table(plain, example)
    costs = []
    for name in ("multiply_adds", "num_parameters"):
        before, after = (sum(getattr(row, name) for row in table) for table in (plain_rows, rows))
        costs.append(f"{after / before:.2f}× the {name.replace('num_', '').replace('_', '-')} ({before:,})")
    return f"depth {depth} against depth 0: {costs[0]} and {costs[1]}"


def _check_growth(recipe: Recipe, generator: Any) -> bool:
    """Refuse a run that ends before it is grown, as training does.

    Returns:
        Whether that is known: not without the data, nor of files that take minutes to decode at first.

    Raises:
        ValueError: it does.
    """
    from harness.data import load_dataset
    from harness.engine.growth import growth_of
    from harness.engine.schedule import count_steps

    if not recipe.train.grow_images or recipe.data.name in ("celeba", "image-folder"):
        return False
    try:
        dataset = load_dataset(recipe.data)
    except ValueError:
        return False
    _, total_steps = count_steps(recipe.train, len(dataset.train), dataset.name)
    growth_of(recipe.train, generator.num_levels, total_steps)
    return True


def _growth(recipe: Recipe, *pairs: tuple[Any, Tensor]) -> Table:
    """Each size that the networks grow through: its images, and what one image costs each network."""
    from harness.recipe.networks import layer_table

    table = Table("size", "faded in over", "kept for", box=None, pad_edge=False)
    for title in ("generator's multiply-adds", "discriminator's"):
        table.add_column(title, justify="right")
    num_levels, images = pairs[0][0].num_levels, f"{recipe.train.grow_images:,} images"
    for level in range(num_levels):
        costs = []
        for network, example in pairs:
            network.grow(level)
            costs.append(f"{sum(row.multiply_adds for row in layer_table(network, example)):,}")
        kept = "the rest" if level == num_levels - 1 else images
        table.add_row(f"{4 << level}×{4 << level}", images if level else "", kept, *costs)
    return table


def _printed(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
