"""Checkpoints of generators that others have published: read without running any code, checked key by key.

Shapes: Z numbers in a latent, M numbers that a layer makes of it.

The file is a dictionary that holds the generator's state under `generator_smooth`, the running average, or
else under `generator`. Three layouts are known. A progressive GAN is loaded whole, as the registry's
`progan`, whose names and arithmetic are the file's. Of StyleGAN and StyleGAN2 the style weights alone are
read: what their layers make of w is enough for its directions, not for images.

Source: names and shapes of the layouts as in genforce/sefa (Shen and Zhou, 2021), `models/`.
"""

from __future__ import annotations

import math
import pickle
import pickletools
import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from harness.recipe.registry import generators
from harness.words import listed

__all__ = ["Published", "load_published"]

_KEYS = ("generator_smooth", "generator")
_LEVELS = range(2, 10)
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_NAMES_AN_OBJECT = ("GLOBAL", "STACK_GLOBAL", "INST")
_PROGRESSIVE = re.compile(r"(layer|output)\d+\.(weight|bias)|lod")
_STYLE = re.compile(r"synthesis\.(layer|output)(\d+)\.style\.weight")

Layout = Literal["pggan", "stylegan", "stylegan2"]


@dataclass(frozen=True, kw_only=True)
class Published:
    """A generator from a file.

    Attributes:
        layout: which of the three it is.
        key: the entry it was read from.
        weights: layer by layer, what takes the latent, (Z, M): of a progressive GAN one layer; of the others
            all that take a style.
        generator: a progressive GAN's, in evaluation mode, in the file's precision; None of the others.
        sample_shape: shape of one image; None of the others.
    """

    layout: Layout
    key: str
    weights: tuple[Tensor, ...]
    generator: nn.Module | None
    sample_shape: tuple[int, int, int] | None


def load_published(path: Path) -> Published:
    """Read a published checkpoint.

    Args:
        path: the file.

    Raises:
        ValueError: there is no such file, it holds anything but tensors, or another architecture, or keys are
            missing or too many, or shapes or numbers are not what they must be. One line, which names them.
    """
    key, state = _state(path)
    try:
        if any(_STYLE.fullmatch(name) for name in state):
            layout, weights = _style_weights(state)
            _check_numbers(weights)
            transposed = tuple(weight.double().T for weight in weights.values())
            return Published(layout=layout, key=key, weights=transposed, generator=None, sample_shape=None)
        if sum(bool(_PROGRESSIVE.fullmatch(name)) for name in state) < len(state) / 2:
            raise ValueError(
                f"is of another architecture (its keys are {listed(list(state))}); known are the layouts "
                "pggan, stylegan and stylegan2."
            )
        generator = _progressive(state)
    except ValueError as error:
        raise ValueError(f"{path}: `{key}` {error}") from None
    numbers = generator.state_dict()
    size = 4 << (len(numbers) // 6 - 1)
    return Published(
        layout="pggan",
        key=key,
        weights=(numbers["layer0.weight"].double().transpose(0, 1).flatten(1),),
        generator=generator,
        sample_shape=(len(numbers["output0.bias"]), size, size),
    )


def _state(path: Path) -> tuple[str, dict[str, Tensor]]:
    """The generator's entry of the file, its name first."""
    if not path.is_file():
        raise ValueError(f"`--checkpoint` must be a file, but there is none at {path}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a pickle's protocol
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        told = str(error)
        if "GLOBAL" in told or ("Unsupported operand" in told and _pickles_objects(path)):
            raise ValueError(
                f"{path} holds Python objects besides tensors, and reading those can run code, so it is "
                "refused; save the generator's state_dict alone."
            ) from None
        raise ValueError(f"{path} is damaged, or no file that torch.save wrote.") from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise ValueError(f"{path} is damaged, or no file that torch.save wrote.") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a dictionary, but it holds a {type(content).__name__}.")
    if isinstance(content.get("format"), str) and "state" in content:
        raise ValueError(f"{path} is a checkpoint of a run; give the run's folder or id instead of it.")
    held = [key for key in _KEYS if key in content]
    key = next((key for key in held if content[key] is not None), held[0] if held else None)
    if key is None:
        raise ValueError(
            f"{path} has no entry `generator_smooth` or `generator`; its entries are {listed(content)}."
        )
    state = content[key]
    if not isinstance(state, dict) or not state:
        raise ValueError(f"{path}: `{key}` must be a state_dict, but it is a {type(state).__name__}.")
    strange = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if strange:
        raise ValueError(f"{path}: `{key}` holds more than tensors: {listed(strange)}.")
    return key, {str(name): value for name, value in state.items()}


def _pickles_objects(path: Path) -> bool:
    """Whether a file is a pickle, of any protocol, that names a class or function. It is parsed, not run."""
    try:
        with path.open("rb") as file:
            found = {operation.name for operation, _, _ in pickletools.genops(file)}
    except (ValueError, EOFError):
        return False
    return not found.isdisjoint(_NAMES_AN_OBJECT)


def _progressive(state: Mapping[str, Tensor]) -> nn.Module:
    """The generator of a progressive GAN, of as many levels as fit the keys best."""
    expected = min(
        (_names(levels) for levels in _LEVELS), key=lambda names: len(names.symmetric_difference(state))
    )
    missing = [name for name in _names_in_order(expected) if name not in state]
    extra = [name for name in state if name not in expected]
    if missing or extra:
        levels = (len(expected) - 1) // 6
        found = [f"{word} {listed(names)}" for word, names in (("lacks", missing), ("has", extra)) if names]
        more = " beyond it" if extra else ""
        raise ValueError(
            f"{' and '.join(found)}{more}: a generator of {4 << (levels - 1)} pixels a side has "
            f"{len(expected)} keys, lod, layer0…{2 * levels - 1} and output0…{levels - 1}."
        )
    with torch.device("meta"), _Unfilled():
        published, narrower = _as_published(state), _as_found(state)
        generator = min((published, narrower), key=lambda one: len(_misfits(one, state)))
    misfits = _misfits(generator, state)
    if misfits:
        wanted = {name: tuple(value.shape) for name, value in generator.state_dict().items()}
        told = [f"{name} is {tuple(state[name].shape)}, not {wanted[name]}" for name in misfits]
        raise ValueError(f"has other shapes than its layout: {listed(told)}.")
    _check_numbers(state)
    channels = len(state["output0.bias"])
    if channels not in (1, 3):
        raise ValueError(f"makes images of {channels} channels (output0.bias), which must be 1 or 3.")
    lod, last = float(state["lod"]), (len(expected) - 1) // 6 - 1
    if not 0 <= lod <= last:
        raise ValueError(f"has a `lod` of {lod:g}, which must be in 0…{last}.")
    kind = torch.float64 if any(value.dtype == torch.float64 for value in state.values()) else torch.float32
    generator.load_state_dict({name: value.to(kind) for name, value in state.items()}, assign=True)
    return generator.eval().requires_grad_(False)


def _names(levels: int) -> set[str]:
    layers = {f"layer{i}.{part}" for i in range(2 * levels) for part in ("weight", "bias")}
    return layers | {f"output{i}.{part}" for i in range(levels) for part in ("weight", "bias")} | {"lod"}


def _names_in_order(names: Collection[str]) -> list[str]:
    """Layers before outputs, by number."""
    return sorted(names, key=lambda name: [int(part) if part.isdecimal() else part for part in _SPLIT(name)])


_SPLIT = re.compile(r"(\d+)").split


class _Unfilled(TorchFunctionMode):
    """Leaves new weights unfilled: their shapes are wanted, and filling meta tensors imports for a second."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return given["tensor"] if "tensor" in given else args[0]
        return func(*args, **given)


def _progan(channels: Sequence[int], *, latent_dim: int, image_channels: int) -> nn.Module:
    """The registry's growing generator, of other widths than its options can say."""
    size = 2 << len(channels)
    generator: nn.Module = generators["progan"](
        channels, sample_shape=(image_channels, size, size), num_classes=0, latent_dim=latent_dim
    )
    return generator


def _as_published(state: Mapping[str, Tensor]) -> nn.Module:
    """The generator of the published widths: min(16384 / size, 512) channels."""
    channels = [min(4096 >> level, 512) for level in range((len(state) - 1) // 6)]
    return _progan(channels, latent_dim=512, image_channels=3)


def _as_found(state: Mapping[str, Tensor]) -> nn.Module:
    """The generator of the widths that the weights themselves tell."""

    def size(name: str, axis: int) -> int:
        shape = state[name].shape
        return shape[axis] if axis < len(shape) and shape[axis] > 0 else 1

    levels = (len(state) - 1) // 6
    channels = [size(f"layer{2 * level + 1}.weight", 0) for level in range(levels)]
    image = size(f"output{levels - 1}.weight", 0)
    return _progan(channels, latent_dim=size("layer0.weight", 1), image_channels=image)


def _misfits(generator: nn.Module, state: Mapping[str, Tensor]) -> list[str]:
    return [name for name, value in generator.state_dict().items() if value.shape != state[name].shape]


def _style_weights(state: Mapping[str, Tensor]) -> tuple[Layout, dict[str, Tensor]]:
    """The weights (M, Z) that make styles of w, in the order of the layers.

    The last layer of StyleGAN2 is the one that makes the full image; the other outputs, which share their
    level's style with a layer, count as none.
    """
    found = [_STYLE.fullmatch(name) for name in state]
    numbers = {
        kind: {int(match[2]) for match in found if match and match[1] == kind} for kind in ("layer", "output")
    }
    layout: Layout = "stylegan2" if numbers["output"] else "stylegan"
    last = max(numbers["layer"], default=-1)
    names = [f"synthesis.layer{i}.style.weight" for i in range(last + 1)]
    if layout == "stylegan2":
        names.append(f"synthesis.output{(last + 1) // 2}.style.weight")
    missing = [name for name in names if name not in state]
    if missing:
        raise ValueError(f"lacks {listed(missing)}: a {layout} generator has a style for every layer.")
    levels = len(names) // 2
    if len(names) % 2 or levels not in _LEVELS:
        raise ValueError(
            f"has styles for {len(names)} layers, which is no {layout} generator of 8 to 1024 pixels a side."
        )
    weights = {name: state[name] for name in names}
    width = weights[names[0]].shape[-1:]
    strange = [name for name, weight in weights.items() if weight.ndim != 2 or weight.shape[-1:] != width]
    if strange:
        told = [f"{name} is {tuple(weights[name].shape)}" for name in strange]
        raise ValueError(f"has style weights of other shapes than (M, {math.prod(width)}): {listed(told)}.")
    return layout, weights


def _check_numbers(state: Mapping[str, Tensor]) -> None:
    """Refuse what is no weight: sparse, quantised, without data, of whole, truth or complex numbers, NaN."""
    told = [f"{name} is {kind}" for name, value in state.items() if (kind := _other_kind(value))]
    if told:
        raise ValueError(f"must hold dense floating-point tensors alone, but {listed(told)}.")
    bad = [name for name, value in state.items() if not bool(value.isfinite().all())]
    if bad:
        raise ValueError(f"holds numbers that are not finite, in {listed(bad)}.")


def _other_kind(value: Tensor) -> str:
    """What a tensor is if it isn't a dense one of floating-point numbers; nothing if it is."""
    if value.is_meta:
        return "without data"
    if value.is_quantized:
        return "quantised"
    if value.layout != torch.strided or value.is_nested:
        return "sparse or nested"
    return "" if value.dtype in _FLOATS else str(value.dtype).removeprefix("torch.")
