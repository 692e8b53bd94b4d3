"""Inception v3 with weights from a file of the user's: the extractor of published FID and KID.

No weights are shipped or downloaded. Two kinds of file are known by their last layer: the port of the 2015
TensorFlow network (1008 outputs; pytorch-fid's and torch-fidelity's file), with which `frechet` is the FID;
and torchvision's (1000 outputs). Shapes: N images (N, C, H, W) in [-1, 1]; embeddings (N, 2048).
"""

from __future__ import annotations

import hashlib
import importlib
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.data import as_bytes
from harness.features.extractors import Features, check_channels, on_device, resized_to

__all__ = ["Inception", "load_inception", "resize_like_tensorflow"]

SIDE = 299
_CHUNK = 50
_PORT_CLASSES, _TORCHVISION_CLASSES = 1008, 1000


@dataclass(frozen=True, kw_only=True, eq=False)
class Inception:
    """Inception v3 up to its last pooling.

    Attributes:
        network: torchvision's module with the user's weights.
        sha256: of the file.
        num_classes: outputs of its last layer: 1008 or 1000.
    """

    network: nn.Module
    sha256: str
    num_classes: int
    stacked: bool = False
    costly: bool = True
    _by_device: dict[torch.device, nn.Module] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """`inception@6726825d` for the port, `inception-torchvision@…` for torchvision's."""
        kind = "inception" if self.num_classes == _PORT_CLASSES else "inception-torchvision"
        return f"{kind}@{self.sha256[:8]}"

    @property
    def preprocessing(self) -> str:
        """What is done to an image first."""
        if self.num_classes == _PORT_CLASSES:
            return f"bytes, grey repeated to 3 channels, {SIDE}x{SIDE} bilinear as in TensorFlow 1"
        return f"[-1, 1], grey repeated to 3 channels, {SIDE}x{SIDE} bilinear with antialiasing"

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Features:
        """Features of (N, 1 or 3, H, W) images; logits are without the last layer's bias, as is the custom.

        Raises:
            ValueError: images of another number of channels.
        """
        check_channels(images, (1, 3), self.name)
        network = on_device(self.network, images.device, self._by_device)
        pooled: list[Tensor] = []
        handle = network.get_submodule("avgpool").register_forward_hook(
            lambda _, __, output: pooled.append(output.flatten(1))
        )
        try:
            for part in torch.split(images, _CHUNK):
                network(self._prepared(part))
        finally:
            handle.remove()
        embedding = torch.cat(pooled)
        weight = network.get_submodule("fc").get_parameter("weight")
        return Features(embedding=embedding.double(), logits=(embedding @ weight.T).double())

    def _prepared(self, images: Tensor) -> Tensor:
        colour = images.expand(-1, 3, -1, -1)
        if self.num_classes == _PORT_CLASSES:
            return (resize_like_tensorflow(as_bytes(colour).float(), SIDE) - 128) / 128
        return resized_to(colour.float(), SIDE)


def resize_like_tensorflow(images: Tensor, side: int) -> Tensor:
    """Bilinear resizing whose output pixel i lies at i × size/side: no half pixels, no antialiasing.

    The FID is always measured with this; another resizing changes it by whole units.

    Args:
        images: (N, C, H, W).
        side: of the result.

    Source: TensorFlow 1's `tf.image.resize_bilinear`; Parmar et al. 2022 on how much it matters.
    """
    rows, columns = (_interpolation(size, side, images) for size in images.shape[2:])
    resized: Tensor = rows @ images @ columns.T
    return resized


def _interpolation(size: int, side: int, like: Tensor) -> Tensor:
    """(side, size) weights."""
    places = torch.arange(side, dtype=like.dtype, device=like.device) * (size / side)
    low = places.floor().long().clamp_max(size - 1)
    share = (places - low)[:, None]
    lower, upper = (F.one_hot(index, size).to(like.dtype) for index in (low, (low + 1).clamp_max(size - 1)))
    return lower * (1 - share) + upper * share


@lru_cache(maxsize=2)
def load_inception(path: str) -> Inception:
    """Inception from a file of weights.

    Args:
        path: a PyTorch file of the state of an Inception v3.

    Raises:
        ValueError: no such file, or one that is no Inception v3; the message is one line.
    """
    state, sha256 = _read(Path(path).expanduser())
    last = state.get("fc.weight")
    num_classes = len(last) if isinstance(last, Tensor) and last.ndim == 2 else 0
    if num_classes not in (_PORT_CLASSES, _TORCHVISION_CLASSES):
        raise ValueError(
            f"`{path}` is not a file of Inception v3 weights: it has no `fc.weight` of "
            f"{_PORT_CLASSES} or {_TORCHVISION_CLASSES} rows; give pytorch-fid's, torch-fidelity's or "
            "torchvision's."
        )
    network = _network(num_classes)
    kept = {key: value for key, value in state.items() if not key.startswith("AuxLogits")}
    try:
        lacking, unknown = network.load_state_dict(kept, strict=False)
    except RuntimeError as error:
        raise ValueError(f"`{path}` is not a file of Inception v3 weights: its shapes differ.") from error
    lacking = [key for key in lacking if not key.endswith("num_batches_tracked")]
    if lacking or unknown:
        odd = f"lacks {lacking[0]}" if lacking else f"has {unknown[0]}"
        raise ValueError(f"`{path}` is not a file of Inception v3 weights: it {odd}.")
    return Inception(network=network.eval().requires_grad_(False), sha256=sha256, num_classes=num_classes)


def _read(path: Path) -> tuple[dict[str, Any], str]:
    try:
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ValueError(f"`{path}` cannot be read ({error.strerror or error}).") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as error:
        raise ValueError(f"`{path}` is not a file of weights that PyTorch can read.") from error
    if not isinstance(state, dict):
        raise ValueError(f"`{path}` holds a {type(state).__name__}, not the weights of an Inception v3.")
    return state, sha256


def _network(num_classes: int) -> nn.Module:
    models = importlib.import_module("torchvision.models")  # slow to import
    network: nn.Module = models.Inception3(
        num_classes=num_classes, aux_logits=False, transform_input=False, init_weights=False, dropout=0.0
    )
    if num_classes == _PORT_CLASSES:
        # The original averages over pixels inside of the image only, and takes the maximum in its last block.
        for name in ("Mixed_5b", "Mixed_5c", "Mixed_5d", *(f"Mixed_6{x}" for x in "bcde"), "Mixed_7b"):
            _pool_by(network.get_submodule(name), _mean_inside)
        _pool_by(network.get_submodule("Mixed_7c"), _maximum)
    return network


def _mean_inside(images: Tensor) -> Tensor:
    return F.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)


def _maximum(images: Tensor) -> Tensor:
    return F.max_pool2d(images, 3, stride=1, padding=1)


def _pool_by(block: nn.Module, pool: Callable[[Tensor], Tensor]) -> None:
    """Let a block's pooling branch see its input pooled in another way."""
    seen: list[Tensor] = []
    block.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    block.get_submodule("branch_pool").register_forward_pre_hook(lambda _, __: (pool(seen.pop()),))
