"""Blocks shared by the families, and the types of the options they share.

Shapes: B samples a batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from harness.recipe.registry import Bounds

__all__ = [
    "Activation",
    "Depth",
    "Dropout",
    "Init",
    "LabelEmbedding",
    "Size",
    "Width",
    "block",
    "fully_connected",
    "image_shape",
    "initialize",
    "score",
    "slope_of",
    "widen",
    "with_depth",
]

Depth = Annotated[int, Bounds(low=0, high=16)]
Size = Annotated[int, Bounds(low=1, high=65536)]
Width = Annotated[float, Bounds(low=0.0, high=64.0, open_low=True)]
Activation = Literal["identity", "leaky", "relu"]
"""`identity` is what LeakyReLU(True) comes to: its first argument is the negative slope."""
Init = Literal["default", "dcgan"]

_WORD = 0xFFFFFFFF


def widen(width: int, factor: float) -> int:
    """`width` scaled by `factor`, at least 1 unit."""
    return max(1, round(width * factor))


def with_depth(widths: Sequence[int], depth: int) -> list[int]:
    """Hidden `widths` with the last one repeated `depth` more times."""
    return [*widths, *[widths[-1]] * depth]


def slope_of(activation: Activation, slope: float) -> float:
    """The negative slope of an `activation`: 1 for the identity, 0 for a ReLU, else the `slope` given."""
    return {"identity": 1.0, "relu": 0.0}.get(activation, slope)


def block(
    layer: nn.Module, *, slope: float, norm: nn.Module | None = None, dropout: float = 0.0
) -> list[nn.Module]:
    """A layer, its batch norm if any, its activation, and dropout if any.

    Args:
        layer: a linear layer or a convolution, or the last step of one.
        slope: negative slope of the LeakyReLU; 0 is a ReLU.
        norm: batch norm for the layer's outputs.
        dropout: chance of an output to be dropped.
    """
    layers = [layer] if norm is None else [layer, norm]
    layers.append(nn.LeakyReLU(slope) if slope else nn.ReLU())
    return [*layers, Dropout(dropout)] if dropout else layers


def fully_connected(
    widths: Sequence[int],
    *,
    slope: float,
    normalized: frozenset[int] = frozenset(),
    eps: float = 1e-5,
    dropout: float = 0.0,
    dropped: frozenset[int] = frozenset(),
) -> nn.Sequential:
    """Linear layers with a LeakyReLU between each two.

    Args:
        widths: units of every layer, input and output included.
        slope: negative slope of the LeakyReLU; 0 is a ReLU.
        normalized: indices of the linear layers followed by batch norm, before the activation.
        eps: batch norm's ε.
        dropout: chance of a unit to be dropped.
        dropped: indices of the linear layers followed by dropout, after the activation.
    """
    layers: list[nn.Module] = []
    for index, (before, after) in enumerate(pairwise(widths[:-1])):
        layers += block(
            nn.Linear(before, after),
            slope=slope,
            norm=nn.BatchNorm1d(after, eps=eps) if index in normalized else None,
            dropout=dropout if index in dropped else 0.0,
        )
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


def score(*, sigmoid: bool) -> list[nn.Module]:
    """What ends a discriminator: one number a sample to scores (B,), squashed into (0, 1) if asked for."""
    return [nn.Flatten(0), nn.Sigmoid()] if sigmoid else [nn.Flatten(0)]


def initialize(network: nn.Module, init: Init) -> nn.Module:
    """Draw a network's first weights.

    Args:
        network: what to initialise, in place.
        init: `default` leaves it as torch made it. `dcgan` draws the weights of linear layers and of
            convolutions from N(0, 0.02), those of batch norm from N(1, 0.02) with a bias of 0; other biases
            and embeddings stay.

    Returns:
        The network.

    Source: Radford et al. (2016), section 4, with batch norm as in the DCGAN reference code.
    """
    if init == "dcgan":
        for layer in network.modules():
            if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.normal_(layer.weight, 0.0, 0.02)
            elif isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
                nn.init.normal_(layer.weight, 1.0, 0.02)
                nn.init.zeros_(layer.bias)
    return network


def image_shape(
    entry: str, sample_shape: tuple[int, ...], *, takes: str, fits: Callable[[int, int], bool]
) -> tuple[int, int, int]:
    """Channels, height and width of the data's samples.

    Args:
        entry: the network, as messages name it.
        sample_shape: shape of one sample of the data.
        takes: the sizes the network takes, in words.
        fits: whether it takes a height and a width.

    Raises:
        ValueError: the samples are no images, or not of a size it takes.
    """
    if len(sample_shape) != 3 or not fits(sample_shape[1], sample_shape[2]):
        raise ValueError(
            f"{entry} takes images of shape (channels, height, width) with {takes}, but the data has samples "
            f"of shape {sample_shape}; choose another network or other data."
        )
    return sample_shape[0], sample_shape[1], sample_shape[2]


class Dropout(nn.Module):
    """Zeroes each number with a fixed chance while training, and scales the others to keep the mean.

    y = x·m / (1 − p), where m is 0 with probability p, else 1.

    Which numbers go is a hash of the layer's key, of how often it has drawn and of the number's place in the
    batch. Key and count are buffers, so a run's masks are its own: the same alone or in a population, on any
    device, and after a resume. The key comes from torch's random state when the layer is made, and leaves
    that state as it was, so that networks with and without dropout start from the same weights.

    Args:
        rate: p.

    Source: Srivastava et al. (2014), section 10 (scaled while training). Departure: a hash instead of a
    stream of random numbers. Its form is that of Wellons' 32-bit hashes (2018): each round folds high bits
    into low ones and multiplies; with two rounds, places 4096 apart were correlated by 0.03, with three the
    correlations are those of chance.
    """

    key: Tensor
    draws: Tensor

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        with torch.random.fork_rng(devices=[]):
            self.register_buffer("key", torch.randint(2**62, ()))
        self.register_buffer("draws", torch.zeros((), dtype=torch.int64))

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.training:
            return inputs
        self.draws.add_(1)
        kept = self._kept(inputs)
        return inputs * kept.to(inputs.dtype).mul_(1 / (1 - self.rate))

    def extra_repr(self) -> str:
        """The rate, for torch's description of a network."""
        return f"rate={self.rate:g}"

    def _kept(self, inputs: Tensor) -> Tensor:
        """m as booleans. No product overflows: 32-bit words times constants below 2³¹ stay below 2⁶³."""
        first = _mix((self.key + self.draws) & _WORD)
        second = _mix(first ^ (self.key >> 32))
        places = torch.arange(inputs.numel(), device=inputs.device).view(inputs.shape)
        words = places ^ first
        words = words.bitwise_xor_(words >> 17).mul_(0x21F0AAAD).bitwise_and_(_WORD).bitwise_xor_(second)
        words = words.bitwise_xor_(words >> 11).mul_(0x735A2D97).bitwise_and_(_WORD)
        words = words.bitwise_xor_(words >> 15).mul_(0x31848BAB).bitwise_and_(_WORD)
        return words >= math.floor(self.rate * 2**32)


def _mix(words: Tensor) -> Tensor:
    words = ((words ^ (words >> 16)) * 0x21F0AAAD) & _WORD
    words = ((words ^ (words >> 15)) * 0x735A2D97) & _WORD
    return words ^ (words >> 15)


class LabelEmbedding(nn.Embedding):
    """A learnt vector for each class, looked up by a product with one-hot rows.

    The product's gradient needs no scatter, so a GPU computes it alike every time, and whatever the batch it
    can be captured in a CUDA graph. A label that is no class gives zeros.

    Args:
        num_classes: number of classes.
        label_dim: numbers in a vector.
    """

    def __init__(self, num_classes: int, label_dim: int) -> None:
        super().__init__(num_classes, label_dim)

    def forward(self, labels: Tensor) -> Tensor:
        """(B,) integers to (B, label_dim)."""
        classes = torch.arange(self.num_embeddings, device=labels.device)
        return (labels.unsqueeze(-1) == classes).to(self.weight.dtype) @ self.weight
