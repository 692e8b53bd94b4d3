"""The networks a recipe names: built, checked against the data, and counted layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.recipe import Recipe
from harness.recipe.registry import discriminators, generators

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["LayerRow", "build_discriminator", "build_generator", "check_networks", "layer_table"]

_MAX_PARAMETERS = 100_000_000
"""Parameters of both networks together that a batch of two is computed with when they are checked."""


def build_generator(recipe: Recipe, sample_shape: tuple[int, ...], num_classes: int = 0) -> nn.Module:
    """G of a recipe, freshly initialised from torch's global random state, on its default device."""
    build = generators[recipe.generator.name]
    network: nn.Module = build(sample_shape=sample_shape, num_classes=num_classes, **recipe.generator.options)
    return network


def build_discriminator(recipe: Recipe, sample_shape: tuple[int, ...], num_classes: int = 0) -> nn.Module:
    """D of a recipe, freshly initialised from torch's global random state, on its default device."""
    build = discriminators[recipe.discriminator.name]
    options = recipe.discriminator.options
    network: nn.Module = build(sample_shape=sample_shape, num_classes=num_classes, **options)
    return network


def check_networks(recipe: Recipe, sample_shape: tuple[int, ...], num_classes: int = 0) -> bool:
    """Check that the networks fit the data and each other, and leave torch's random state as it is.

    Both are built without their random numbers and shown a batch of two: on the CPU, or very large ones on
    the meta device, which computes nothing, but takes a second for its own imports.

    Args:
        recipe: the recipe to check.
        sample_shape: shape of one sample of the data.
        num_classes: number of classes of the data, 0 where there are no labels.

    Returns:
        Whether any of the two is told the class of a sample.

    Raises:
        ValueError: a network does not take such data, the shapes do not fit, one is to grow that cannot, or a
            gradient penalty meets a layer that mixes samples. The message is one line that begins with the
            setting.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    class Unfilled(TorchFunctionMode):
        """Leaves what would be filled with random numbers as it is."""

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if getattr(func, "__name__", "").endswith(("uniform_", "normal_")):
                return args[0] if args else kwargs["tensor"]
            return func(*args, **(kwargs or {}))

    with torch.random.fork_rng(devices=[]), Unfilled():
        generator, discriminator = _pair(recipe, sample_shape, num_classes)
    for section, network in (("generator", generator), ("discriminator", discriminator)):
        if recipe.train.grow_images and not hasattr(network, "grow"):
            raise ValueError(
                f"`train.grow_images` is {recipe.train.grow_images}, but `{section}.name` "
                f"{getattr(recipe, section).name} does not grow; set it to 0, or take progan twice."
            )
    size = sum(p.numel() for network in (generator, discriminator) for p in network.parameters())
    device = torch.device("cpu" if size <= _MAX_PARAMETERS else "meta")
    generator, discriminator = generator.to(device), discriminator.to(device)
    with torch.random.fork_rng(devices=[]), torch.no_grad(), device:
        labels = torch.zeros(2, dtype=torch.int64)
        made = _called(generator, torch.zeros(2, recipe.latent_dim), labels)
        if tuple(made.shape) != (2, *sample_shape):
            raise ValueError(
                f"`generator.name` {recipe.generator.name} makes samples of shape {tuple(made.shape[1:])}, "
                f"but `data.name` {recipe.data.name} has {sample_shape}; choose a generator of that shape."
            )
        try:
            scores = _called(discriminator, made, labels)
        except RuntimeError as error:
            raise ValueError(
                f"`discriminator.name` {recipe.discriminator.name} does not take samples of shape "
                f"{sample_shape} of `data.name` {recipe.data.name}; choose a discriminator of that shape."
            ) from error
    assert tuple(scores.shape) == (2,), f"{recipe.discriminator.name} must return one score a sample"
    batch_norm = torch.nn.modules.batchnorm._BatchNorm
    mixing = [type(layer).__name__ for layer in discriminator.modules() if isinstance(layer, batch_norm)]
    penalty = next((key for key in ("gradient_penalty", "r1", "r2") if getattr(recipe.loss, key) > 0), None)
    if penalty and mixing:
        raise ValueError(
            f"`loss.{penalty}` is {getattr(recipe.loss, penalty):g}, but the discriminator holds "
            f"{mixing[0]}, which mixes the samples whose gradients it penalises; take it out, or set the "
            "penalty to 0."
        )
    return any(bool(getattr(network, "takes_labels", False)) for network in (generator, discriminator))


def _pair(recipe: Recipe, sample_shape: tuple[int, ...], num_classes: int) -> tuple[nn.Module, nn.Module]:
    """G and D; what their builders have against the data begins with the setting."""
    made = []
    for section, choice, build in (
        ("generator", recipe.generator, build_generator),
        ("discriminator", recipe.discriminator, build_discriminator),
    ):
        try:
            made.append(build(recipe, sample_shape, num_classes))
        except ValueError as error:
            setting = f"`{section}.name` {choice.name}"
            text = str(error)
            raise ValueError(text if text.startswith(f"`{section}.") else f"{setting}: {text}") from error
    return made[0], made[1]


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """One layer of a network, as `harness show` prints it.

    Attributes:
        name: dotted name within the network.
        kind: the layer's class.
        output_shape: shape of its output for one sample.
        num_parameters: its own trainable numbers.
        multiply_adds: multiplications with an addition for one sample; of linear and convolution layers.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    num_parameters: int
    multiply_adds: int


def layer_table(network: nn.Module, example: Tensor) -> list[LayerRow]:
    """One row for every layer without children, in the order of the forward pass.

    Args:
        network: the network, on any device, the meta device included.
        example: a batch of inputs of the shape it takes, (B, ...); one that takes labels is shown class 0.

    Returns:
        The rows; sums over them are the network's totals.
    """
    import torch

    rows: list[LayerRow] = []

    def record(name: str, layer: nn.Module) -> Any:
        def hook(_layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            rows.append(
                LayerRow(
                    name=name,
                    kind=type(layer).__name__,
                    output_shape=tuple(output.shape[1:]),
                    num_parameters=sum(p.numel() for p in layer.parameters(recurse=False)),
                    multiply_adds=_multiply_adds(layer, inputs[0], output),
                )
            )

        return layer.register_forward_hook(hook)

    leaves = [(name, layer) for name, layer in network.named_modules() if not list(layer.children())]
    handles = [record(name, layer) for name, layer in leaves]
    training = network.training
    try:
        with torch.no_grad():
            _called(network.eval(), example, example.new_zeros(len(example), dtype=torch.int64))
    finally:
        network.train(training)
        for handle in handles:
            handle.remove()
    return rows


def _called(network: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    """A network's output, of the labels too where it takes them."""
    output: Tensor = network(inputs, labels) if getattr(network, "takes_labels", False) else network(inputs)
    return output


def _multiply_adds(layer: nn.Module, taken: Tensor, output: Tensor) -> int:
    from torch import nn

    if isinstance(layer, nn.Linear):
        return layer.weight.numel() * (output[0].numel() // layer.out_features)
    if isinstance(layer, nn.ConvTranspose2d):
        return layer.weight.numel() * taken.shape[-2] * taken.shape[-1]
    if isinstance(layer, nn.Conv2d):  # one that takes a vector is a product with all of its weights
        places = output.shape[-2] * output.shape[-1] if taken.ndim == 4 else 1
        return layer.weight.numel() * places
    return 0
