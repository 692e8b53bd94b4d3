"""The networks a recipe names: built, checked against the data, and counted layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.recipe import Recipe
from harness.recipe.loss import build_loss, check_loss
from harness.recipe.plugins import reason_of
from harness.recipe.registry import discriminators, generators

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = [
    "LayerRow",
    "build_discriminator",
    "build_generator",
    "check_networks",
    "layer_table",
    "operation_counter",
]

_MAX_PARAMETERS = 100_000_000
"""Parameters of both networks together that a batch of two is computed with when they are checked."""


def build_generator(recipe: Recipe, sample_shape: tuple[int, ...], num_classes: int = 0) -> nn.Module:
    """G of a recipe, freshly initialised from torch's global random state, on its default device.

    Args:
        recipe: names the network and its options.
        sample_shape: shape of one sample of the data.
        num_classes: classes of the data, or 0.
    """
    build = generators[recipe.generator.name]
    network: nn.Module = build(sample_shape=sample_shape, num_classes=num_classes, **recipe.generator.options)
    return network


def build_discriminator(recipe: Recipe, sample_shape: tuple[int, ...], num_classes: int = 0) -> nn.Module:
    """D of a recipe, freshly initialised from torch's global random state, on its default device.

    Args:
        recipe: names the network and its options.
        sample_shape: shape of one sample of the data.
        num_classes: classes of the data, or 0.
    """
    build = discriminators[recipe.discriminator.name]
    options = recipe.discriminator.options
    network: nn.Module = build(sample_shape=sample_shape, num_classes=num_classes, **options)
    return network


def check_networks(recipe: Recipe, sample_shape: tuple[int, ...], num_classes: int = 0) -> bool:
    """Check that the networks fit the data and each other, and the loss their scores.

    Torch's random state is left as it is.

    Both are built without their random numbers and shown a batch of two: on the CPU, or very large ones on
    the meta device, which computes nothing, but takes a second for its own imports.

    Args:
        recipe: the recipe to check.
        sample_shape: shape of one sample of the data.
        num_classes: number of classes of the data, 0 where there are no labels.

    Returns:
        Whether any of the two is told the class of a sample.

    Raises:
        ValueError: a network cannot be made or does not take such data, the shapes do not fit, one is to grow
            that cannot, scores end in a sigmoid that the loss cannot do with, a gradient penalty meets a
            layer that mixes samples, or the loss is not one number a run. The message is one line that begins
            with the setting.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    class Unfilled(TorchFunctionMode):
        """Leaves what would be filled with random numbers as it is."""

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if getattr(func, "__name__", "").endswith(("uniform_", "normal_")):
                return args[0] if args else kwargs["tensor"]
            return func(*args, **(kwargs or {}))

    check_loss(recipe.loss)
    with torch.random.fork_rng(devices=[]), Unfilled():
        generator, discriminator = _pair(recipe, sample_shape, num_classes)
    for section, network in (("generator", generator), ("discriminator", discriminator)):
        if recipe.train.grow_images and not hasattr(network, "grow"):
            raise ValueError(
                f"`train.grow_images` is {recipe.train.grow_images}, but `{section}.name` "
                f"{getattr(recipe, section).name} does not grow; set it to 0, or take progan twice."
            )
        _check_weights(f"`{section}.name` {getattr(recipe, section).name}", network)
        if getattr(network, "takes_labels", False) and num_classes == 0:
            raise ValueError(
                f"`{section}.name` {getattr(recipe, section).name} is class-conditional, but the data has no "
                "labels; choose data with labels, or another network."
            )
    size = sum(p.numel() for network in (generator, discriminator) for p in network.parameters())
    device = torch.device("cpu" if size <= _MAX_PARAMETERS else "meta")
    generator, discriminator = generator.to(device), discriminator.to(device)
    with torch.random.fork_rng(devices=[]), torch.no_grad(), device:
        labels = torch.zeros(2, dtype=torch.int64)
        try:
            made = _called(generator, torch.zeros(2, recipe.latent_dim), labels)
        except Exception as error:
            raise ValueError(
                f"`generator.name` {recipe.generator.name} does not take latents of shape "
                f"{(2, recipe.latent_dim)}: {_line(error)}"
            ) from error
        _check_tensor(f"`generator.name` {recipe.generator.name}", made)
        if tuple(made.shape) != (2, *sample_shape):
            raise ValueError(
                f"`generator.name` {recipe.generator.name} makes samples of shape {tuple(made.shape[1:])}, "
                f"but `data.name` {recipe.data.name} has {sample_shape}; choose a generator of that shape."
            )
        try:
            with torch.enable_grad():
                scores = _called(discriminator, made, labels)
        except Exception as error:
            raise ValueError(
                f"`discriminator.name` {recipe.discriminator.name} does not take samples of shape "
                f"{sample_shape} of `data.name` {recipe.data.name}; choose a discriminator of that shape "
                f"({_line(error)})."
            ) from error
    _check_tensor(f"`discriminator.name` {recipe.discriminator.name}", scores)
    if tuple(scores.shape) != (2,):
        raise ValueError(
            f"`discriminator.name` {recipe.discriminator.name} must return one score a sample, (2,) for two, "
            f"but returns {tuple(scores.shape)}; flatten its last layer's output."
        )
    for section, network in (("generator", generator), ("discriminator", discriminator)):
        if not any(True for _ in network.parameters()):
            raise ValueError(
                f"`{section}.name` {getattr(recipe, section).name} holds no parameters, so there is nothing "
                "to train; choose another."
            )
    _check_sigmoid(recipe, scores)
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


def _check_weights(entry: str, network: nn.Module) -> None:
    """Refuse weights that one matrix of float32 parameters cannot hold."""
    import torch
    from torch.nn.utils.spectral_norm import SpectralNorm
    from torch.nn.utils.weight_norm import WeightNorm

    for name, parameter in network.named_parameters():
        if isinstance(parameter, torch.nn.parameter.UninitializedParameter):
            raise ValueError(
                f"{entry} holds the parameter {name}, whose shape is not known before it is used; take the "
                "layer that is told its shape, nn.Linear in place of nn.LazyLinear say."
            )
        if parameter.dtype != torch.float32 or not parameter.requires_grad:
            what = str(parameter.dtype) if parameter.requires_grad else "frozen"
            raise ValueError(
                f"{entry} holds the parameter {name}, which is {what}, but all are trained, in float32; "
                "register what is not to be trained by `register_buffer`."
            )
    for name, layer in network.named_modules():
        for hook in layer._forward_pre_hooks.values():
            if isinstance(hook, (SpectralNorm, WeightNorm)):
                kind = "spectral_norm" if isinstance(hook, SpectralNorm) else "weight_norm"
                raise ValueError(
                    f"{entry} has torch.nn.utils.{kind} on its layer {name}, whose weight is no parameter "
                    f"and cannot be copied; take torch.nn.utils.parametrizations.{kind}."
                )


def _check_tensor(setting: str, output: object) -> None:
    from torch import Tensor

    if not isinstance(output, Tensor):
        raise ValueError(f"{setting} must return a tensor, but returns a {type(output).__name__}.")


def _check_sigmoid(recipe: Recipe, scores: Tensor) -> None:
    """Refuse scores that a sigmoid has bounded where the loss applies its own, or needs them unbounded."""
    node = scores.grad_fn
    while node is not None and node.name().startswith(_RESHAPES):
        node = node.next_functions[0][0]
    if node is None or not node.name().startswith("SigmoidBackward"):
        return
    for key, name in (("loss.name", recipe.loss.name), ("loss.early_generator", recipe.loss.early_generator)):
        loss = build_loss(recipe.loss, name) if name else None
        if loss is not None and (loss.critic or loss.logits):
            why = "applies the sigmoid itself" if loss.logits else "needs unbounded scores"
            raise ValueError(
                f"`{key}` {name} {why}, but `discriminator.name` {recipe.discriminator.name} ends in a "
                "sigmoid; leave that out, or take least-squares."
            )


def _line(error: Exception) -> str:
    """An error in one line; of one that is not torch's, with the line of code that raised it."""
    if isinstance(error, (RuntimeError, TypeError)):
        return " ".join(str(error).split())
    return reason_of(error)


def _pair(recipe: Recipe, sample_shape: tuple[int, ...], num_classes: int) -> tuple[nn.Module, nn.Module]:
    """G and D; what their builders have against the data begins with the setting."""
    from torch import nn

    made = []
    for section, choice, build in (
        ("generator", recipe.generator, build_generator),
        ("discriminator", recipe.discriminator, build_discriminator),
    ):
        setting = f"`{section}.name` {choice.name}"
        try:
            network = build(recipe, sample_shape, num_classes)
        except ValueError as error:
            text = str(error)
            raise ValueError(text if text.startswith(f"`{section}.") else f"{setting}: {text}") from error
        except Exception as error:
            if "memory" in str(error) or isinstance(error, MemoryError):
                raise  # a network that is too large, which is no mistake of its builder's
            raise ValueError(f"{setting} cannot be made with these options: {reason_of(error)}.") from error
        if not isinstance(network, nn.Module):
            raise ValueError(f"{setting} must make a `torch.nn.Module`, but made {network!r}.")
        made.append(network)
    return made[0], made[1]


_RESHAPES = tuple(
    f"{name}Backward"
    for name in ("View", "UnsafeView", "ReshapeAlias", "Squeeze", "Select", "Slice", "Alias", "Clone")
)
"""What autograd calls steps that leave the scores what they are."""


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """One layer of a network, as `harness show` prints it.

    Attributes:
        name: dotted name within the network; the network itself has none.
        kind: the layer's class.
        output_shape: shape of its output for one sample.
        num_parameters: its own trainable numbers, at its first call.
        multiply_adds: multiplications with an addition that one sample takes in it, outside of its layers.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    num_parameters: int
    multiply_adds: int


@dataclass(frozen=True, kw_only=True)
class _Call:
    """One call of a layer.

    Attributes:
        name: dotted name of the layer.
        layer: the layer.
        output_shape: of its first output, the batch left out.
        flops: spent in it, but not in layers that it called.
    """

    name: str
    layer: nn.Module
    output_shape: tuple[int, ...]
    flops: int


def layer_table(network: nn.Module, example: Tensor) -> list[LayerRow]:
    """What every layer of a network holds and costs, in the order of the forward pass.

    There is a row for each call of a layer without children, and of any other module that holds parameters
    or multiplies outside of its layers. Every parameter counts once, however many layers share it: with the
    module that holds it, or, where that is never called, as the projection of `nn.MultiheadAttention`, with
    the one around it. What makes a weight (`spectral_norm`, say) belongs to the weight's layer.

    Multiply-adds are what a second sample adds to a batch of one: matrix products, convolutions and
    attention, wherever they stand, and nothing that is done once for all samples. A look-up costs nothing.

    Args:
        network: the network, on any device, the meta device included.
        example: a batch of inputs of the shape it takes, (B, ...); one that takes labels is shown class 0.

    Returns:
        The rows; sums over them are the network's totals.
    """
    from torch import nn
    from torch.nn.utils.parametrize import type_before_parametrizations

    one, two = (_calls(network, example[:1].repeat(n, *[1] * (example.ndim - 1))) for n in (1, 2))
    own = _own_parameters(network, {call.layer for call in one})
    rows = []
    for call, doubled in zip(one, two, strict=True):
        parameters = own.pop(call.layer, 0)
        looks_up = isinstance(call.layer, nn.Embedding)
        multiply_adds = 0 if looks_up else (doubled.flops - call.flops) // 2
        is_leaf = all(name == "parametrizations" for name, _ in call.layer.named_children())
        if is_leaf or parameters or multiply_adds:
            rows.append(
                LayerRow(
                    name=call.name,
                    kind=type_before_parametrizations(call.layer).__name__,
                    output_shape=call.output_shape,
                    num_parameters=parameters,
                    multiply_adds=multiply_adds,
                )
            )
    return rows


def operation_counter() -> Any:
    """Counts, as its `total`, the operations that torch takes while it is entered, two a multiply-add.

    They are those of matrix products, convolutions and attention, forwards and backwards. Torch's own
    counter keeps watch over modules too, which autograd forbids where gradients of inputs are asked for.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import flop_registry

    def of_vector(matrix: Tensor, *_: Any, **__: Any) -> int:
        return 2 * matrix.numel()

    def of_bilinear(left: Tensor, weight: Tensor, *_: Any, **__: Any) -> int:
        return 2 * left.shape[0] * weight.numel()

    aten = torch.ops.aten
    known = {**flop_registry, aten.mv: of_vector, aten._trilinear: of_bilinear}

    class Counting:
        total = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            named = kwargs or {}
            made = func(*args, **named)
            count = known.get(func.overloadpacket)
            if count is not None:
                self.total += count(*args, **named, out_val=made)
            return made

    class Counter(Counting, TorchDispatchMode):  # type: ignore[no-untyped-call]
        """Inherits what it does: of a mode's own method, torch would load its compiler first (1.3 s)."""

    return Counter()  # type: ignore[no-untyped-call]


def _calls(network: nn.Module, batch: Tensor) -> list[_Call]:
    """Every call of a module in one forward pass in evaluation mode, in the order in which they end."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils._pytree import tree_leaves

    counter = operation_counter()
    calls: list[_Call] = []
    spent = [0]  # by the layers that each module under way has called
    begun: list[int] = []

    def begin(*_: Any) -> None:
        begun.append(counter.total)
        spent.append(0)

    def end(name: str, layer: nn.Module, output: Any) -> None:
        total, inner = counter.total - begun.pop(), spent.pop()
        spent[-1] += total
        first = next(item for item in tree_leaves(output) if isinstance(item, torch.Tensor))
        calls.append(_Call(name=name, layer=layer, output_shape=tuple(first.shape[1:]), flops=total - inner))

    handles = []
    for name, layer in network.named_modules():
        if "parametrizations" not in name.split("."):
            handles.append(layer.register_forward_pre_hook(begin, prepend=True))
            handles.append(
                layer.register_forward_hook(lambda own, _, output, name=name: end(name, own, output))
            )
    training = network.training
    try:
        # Attention is counted by its products: not every version of torch counts each of its fused kernels,
        # nor any the one operation that it is without gradients.
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), counter:
            _called(network.eval(), batch, batch.new_zeros(len(batch), dtype=torch.int64))
    finally:
        network.train(training)
        for handle in handles:
            handle.remove()
    return calls


def _own_parameters(network: nn.Module, called: set[nn.Module]) -> dict[nn.Module, int]:
    """Numbers in the parameters that each called module answers for: its own and those of uncalled ones."""
    seen: set[int] = set()
    found: dict[nn.Module, int] = {}
    for path, layer in network.named_modules():
        names = path.split(".") if path else []
        around = (network.get_submodule(".".join(names[:end])) for end in range(len(names), -1, -1))
        owner = next(module for module in around if module in called)
        for parameter in layer.parameters(recurse=False):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                found[owner] = found.get(owner, 0) + parameter.numel()
    return found


def _called(network: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    """A network's output, of the labels too where it takes them."""
    output: Tensor = network(inputs, labels) if getattr(network, "takes_labels", False) else network(inputs)
    return output
