"""What turns images into numbers that scores compare: frozen classifiers, and a network of random weights.

Shapes: N images (N, C, H, W) in [-1, 1]; embeddings (N, d) float64 of about unit size; logits (N, classes).
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = [
    "CLASSIFIERS",
    "Classifier",
    "Extractor",
    "Features",
    "RandomConv",
    "check_channels",
    "load_classifier",
    "on_device",
    "random_conv",
    "resized_to",
    "save_classifier",
    "weights_digest",
]

CLASSIFIERS = {"mnist": "lenet-mnist", "fashion-mnist": "lenet-fashion-mnist", "digits": "lenet-digits"}
"""Data set → the classifier whose weights are shipped for it."""

_CHUNK = 250
_RANDOM_SEED = 0
_RANDOM_SIDE = 32


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """What an extractor makes of images.

    Attributes:
        embedding: (N, d) float64.
        logits: (N, classes) float64, or None where the extractor is no classifier.
        stacked: (N, 3, 10) float64, logits of three stacked digits, or None for other images.
    """

    embedding: Tensor
    logits: Tensor | None = None
    stacked: Tensor | None = None

    def to(self, device: torch.device) -> Features:
        """The same features on a device."""
        return self._mapped(lambda values: values.to(device))

    def __getitem__(self, rows: slice) -> Features:
        """The features of some of the images."""
        return self._mapped(lambda values: values[rows])

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> Features:
        logits = None if self.logits is None else change(self.logits)
        stacked = None if self.stacked is None else change(self.stacked)
        return Features(embedding=change(self.embedding), logits=logits, stacked=stacked)

    @classmethod
    def joined(cls, parts: Sequence[Features]) -> Features:
        """Features of parts, one after the other."""

        def all_of(found: list[Tensor | None]) -> Tensor | None:
            kept = [one for one in found if one is not None]
            return torch.cat(kept) if kept else None

        return cls(
            embedding=torch.cat([part.embedding for part in parts]),
            logits=all_of([part.logits for part in parts]),
            stacked=all_of([part.stacked for part in parts]),
        )


class Extractor(Protocol):
    """Images to features; the same everywhere, and named by its weights."""

    @property
    def name(self) -> str:
        """`lenet-mnist@1a2b3c4d`: what it is, and the first eight digits of its weights' SHA-256."""

    @property
    def preprocessing(self) -> str:
        """What is done to an image first, in words."""

    @property
    def num_classes(self) -> int:
        """Classes told apart, or 0."""

    @property
    def stacked(self) -> bool:
        """Whether it reads three stacked digits."""

    @property
    def costly(self) -> bool:
        """Whether the reals' features are worth a place on the disk."""

    def __call__(self, images: Tensor) -> Features:
        """Features of (N, C, H, W) images in [-1, 1], computed on their device."""


def check_channels(images: Tensor, allowed: Sequence[int], extractor: str) -> None:
    """Refuse images of a number of channels that an extractor cannot see.

    Args:
        images: (N, C, H, W).
        allowed: the numbers of channels that it can see.
        extractor: its name, for the message.

    Raises:
        ValueError: the number is not among those allowed.
    """
    if images.shape[1] in allowed:
        return
    wanted = " or ".join(map(str, allowed))
    channels = "channel" if wanted == "1" else "channels"
    raise ValueError(
        f"the extractor `{extractor}` is for images of {wanted} {channels}, but these have {images.shape[1]}."
    )


def resized_to(images: Tensor, side: int) -> Tensor:
    """Images at another resolution, by bilinear interpolation with antialiasing; untouched at their own.

    Args:
        images: (N, C, H, W).
        side: pixels a side that are wanted.

    Returns:
        (N, C, side, side).
    """
    if tuple(images.shape[2:]) == (side, side):
        return images
    return F.interpolate(images, size=(side, side), mode="bilinear", antialias=True, align_corners=False)


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of weights: names, shapes and values in the order of their names, whatever file holds them."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        values = weights[name].detach().cpu().contiguous()
        digest.update(f"{name}{values.dtype}{tuple(values.shape)}".encode())
        digest.update(values.numpy().data)
    return digest.hexdigest()


class _Network(nn.Module):
    """A LeNet-5 for images of one channel: two convolutions and three linear layers.

    At 28×28 it has 61,706 parameters; images below 16 pixels keep their resolution through the first
    convolution, since there is none to give away.
    """

    def __init__(self, side: int, num_classes: int) -> None:
        super().__init__()
        small = side < 16
        self.first = nn.Conv2d(
            1, 6 if not small else 12, 5 if not small else 3, padding=2 if not small else 1
        )
        self.second = nn.Conv2d(self.first.out_channels, 16 if not small else 24, 5 if not small else 3)
        self.pool_first = not small
        half = side if small else side // 2
        last = (half - self.second.kernel_size[0] + 1) // 2
        self.third = nn.Linear(self.second.out_channels * last * last, 120)
        self.fourth = nn.Linear(120, 84)
        self.fifth = nn.Linear(84, num_classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Embedding (N, 84), the fourth layer before its activation, and logits."""
        hidden = F.relu(self.first(images))
        if self.pool_first:
            hidden = F.max_pool2d(hidden, 2)
        hidden = F.max_pool2d(F.relu(self.second(hidden)), 2)
        embedding = self.fourth(F.relu(self.third(hidden.flatten(1))))
        return embedding, self.fifth(F.relu(embedding))


@dataclass(frozen=True, kw_only=True, eq=False)
class Classifier:
    """A frozen classifier of LeNet-5's size, trained once on one data set's real images.

    Attributes:
        title: what it is called without its weights' hash, `lenet-mnist`.
        manifest: what is known of the weights: `weights_sha256`, `data`, `data_sha256`, `preprocessing`,
            `layer`, `test_accuracy`, `torch`, `side`, `num_classes`, `feature_scale`, `local`.
        network: the network, in evaluation mode.
    """

    title: str
    manifest: Mapping[str, Any]
    network: nn.Module
    stacked: bool = False
    costly: bool = False
    _by_device: dict[torch.device, nn.Module] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """`lenet-mnist@1a2b3c4d`; weights trained on this machine are marked `-local`."""
        local = "-local" if self.manifest["local"] else ""
        return f"{self.title}{local}@{self.manifest['weights_sha256'][:8]}"

    @property
    def preprocessing(self) -> str:
        """What is done to an image first."""
        return str(self.manifest["preprocessing"])

    @property
    def num_classes(self) -> int:
        """Classes told apart."""
        return int(self.manifest["num_classes"])

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Features:
        """Features of (N, 1, H, W) images; those of another resolution are resized.

        Raises:
            ValueError: images that are not of one channel.
        """
        check_channels(images, (1,), self.name)
        network = on_device(self.network, images.device, self._by_device)
        side, scale = int(self.manifest["side"]), float(self.manifest["feature_scale"])
        parts = [network(resized_to(part.float(), side)) for part in torch.split(images, _CHUNK)]
        return Features(
            embedding=torch.cat([embedding for embedding, _ in parts]).double() / scale,
            logits=torch.cat([logits for _, logits in parts]).double(),
        )


def build_network(side: int, num_classes: int) -> nn.Module:
    """The classifier's network with fresh weights.

    Args:
        side: pixels a side of the images.
        num_classes: classes to be told apart.
    """
    return _Network(side, num_classes)


def save_classifier(path: Path, weights: Mapping[str, Tensor], manifest: Mapping[str, Any]) -> None:
    """Write weights and manifest as one .npz file; the manifest's `weights_sha256` is filled in.

    Args:
        path: the file; what is there is replaced.
        weights: of the network, by name.
        manifest: what is known of them; see `Classifier`.
    """
    full = {**manifest, "weights_sha256": weights_digest(weights)}
    arrays: dict[str, Any] = {name: values.detach().cpu().numpy() for name, values in weights.items()}
    arrays["manifest"] = np.array(json.dumps(full, indent=1, sort_keys=True))
    with path.open("wb") as stream:
        np.savez(stream, **arrays)


@cache
def load_classifier(data: str) -> Classifier:
    """The shipped classifier of a data set, checked against its manifest.

    Args:
        data: `mnist`, `fashion-mnist` or `digits`.

    Raises:
        ValueError: there is none for this data set, or its file is not what it was.
    """
    if data not in CLASSIFIERS:
        raise ValueError(
            f"no classifier is shipped for `{data}`; there are some for {', '.join(CLASSIFIERS)}."
        )
    title = CLASSIFIERS[data]
    with (
        resources.files(__package__).joinpath(f"weights/{title}.npz").open("rb") as stream,
        np.load(stream) as content,
    ):
        manifest = json.loads(str(content["manifest"]))
        weights = {name: torch.from_numpy(content[name]) for name in content.files if name != "manifest"}
    if weights_digest(weights) != manifest["weights_sha256"]:
        raise ValueError(f"the weights of `{title}` differ from their manifest; install the harness again.")
    network = build_network(int(manifest["side"]), int(manifest["num_classes"]))
    network.load_state_dict(weights)
    return Classifier(title=title, manifest=manifest, network=network.eval().requires_grad_(False))


@dataclass(frozen=True, kw_only=True, eq=False)
class RandomConv:
    """Three strided convolutions with fixed random weights and a random projection: an embedding by seed.

    Random convolutions keep what images are made of (edges, colours, their rough places) and know nothing of
    classes. It is for colour, and for images without labels, where no trained weights are given.

    Attributes:
        weights: by layer.
        sha256: of the weights.
    """

    weights: Mapping[str, Tensor]
    sha256: str

    num_classes: int = 0
    stacked: bool = False
    costly: bool = False
    preprocessing: str = f"[-1, 1], grey repeated to 3 channels, larger sides to {_RANDOM_SIDE}, bilinear"

    @property
    def name(self) -> str:
        """`random-conv@…`."""
        return f"random-conv@{self.sha256[:8]}"

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Features:
        """Features of (N, 1 or 3, H, W) images.

        Raises:
            ValueError: images of another number of channels.
        """
        check_channels(images, (1, 3), self.name)
        weights = {name: values.to(images.device) for name, values in self.weights.items()}
        side = min(_RANDOM_SIDE, *images.shape[2:])
        parts = []
        for part in torch.split(images, _CHUNK):
            hidden = resized_to(part.float(), side).expand(-1, 3, -1, -1)
            for number, stride in ((1, 2), (2, 2), (3, 2)):
                hidden = F.leaky_relu(
                    F.conv2d(hidden, weights[f"{number}"], stride=stride, padding=1), negative_slope=0.2
                )
            parts.append(F.adaptive_avg_pool2d(hidden, 2).flatten(1) @ weights["projection"])
        return Features(embedding=torch.cat(parts).double())


@lru_cache(maxsize=1)
def random_conv() -> RandomConv:
    """The one random embedding, from its seed."""
    random = np.random.RandomState(_RANDOM_SEED)  # its streams are frozen by numpy's promise (NEP 19)
    weights = {}
    for number, (inputs, outputs) in enumerate(((3, 32), (32, 64), (64, 128)), start=1):
        values = random.standard_normal((outputs, inputs, 3, 3)) * np.sqrt(2 / (9 * inputs))
        weights[f"{number}"] = torch.from_numpy(values.astype(np.float32))
    basis, _ = np.linalg.qr(random.standard_normal((512, 128)))
    projection = np.round(basis * np.sqrt(512 / 128), 5)  # rounded, so that it is the same on every machine
    weights["projection"] = torch.from_numpy(projection.astype(np.float32))
    return RandomConv(weights=weights, sha256=weights_digest(weights))


def on_device(network: nn.Module, device: torch.device, made: dict[torch.device, nn.Module]) -> nn.Module:
    """The network's copy on a device, made once.

    Args:
        network: on the CPU.
        device: where it is wanted.
        made: the copies made before; a new one is put there.
    """
    if device not in made:
        made[device] = network if device.type == "cpu" else copy.deepcopy(network).to(device)
    return made[device]
