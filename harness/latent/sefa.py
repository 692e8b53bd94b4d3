"""SeFa: samples of a generator, moved along the directions of its first layer.

Shapes: Z numbers in a latent, N samples, K directions, T steps.

Source: Shen and Zhou (2021), Closed-form factorization of latent semantics in GANs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.latent.edits import change_per_unit
from harness.latent.factors import Factors, choose_layers, latent_weight
from harness.latent.published import load_published
from harness.runs.load import Run
from harness.runs.sampling import Generator, draw_latents, sample

__all__ = [
    "VARIANTS",
    "Strengths",
    "Subject",
    "Variant",
    "measure",
    "num_measured",
    "published_subject",
    "run_subject",
    "start_codes",
    "traverse",
]

_EPS = 1e-8
_SIDE = 256
"""Images with longer sides are shown at a whole fraction of their size."""
_NUMBERS_AT_ONCE = 2**22
_MOST_MEASURED = 2**27
_COMPARED = 16
_NUM_LATENTS = 32


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to do it.

    Attributes:
        normalize_columns: give every column of W length 1, so that each of the M numbers counts alike.
        normalize_codes: bring every code to a mean square of 1 before it is moved.
        span: how far it is moved, to both sides.
        num_steps: T.
    """

    normalize_columns: bool
    normalize_codes: bool
    span: float
    num_steps: int

    @property
    def columns(self) -> str:
        """What is done to W, in words that follow its name."""
        return "with columns of length 1" if self.normalize_columns else "as it is"

    @property
    def distances(self) -> list[float]:
        """The T distances, from one end to the other."""
        middle = (self.num_steps - 1) / 2
        return [self.span * (step - middle) / middle for step in range(self.num_steps)]


VARIANTS: dict[str, Variant] = {
    "lab": Variant(normalize_columns=False, normalize_codes=False, span=2.0, num_steps=21),
    "original": Variant(normalize_columns=True, normalize_codes=True, span=3.0, num_steps=11),
}
"""`original` is that of the published code, `lab` plainer: weights and codes as they are."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A generator to find directions of.

    Attributes:
        title: what it is, in a line.
        weights: of the layers that take the latent, (Z, M) each, float64.
        layers: the numbers of those that were chosen.
        generator: latents (and labels) → images, in evaluation mode; None where a file gives weights alone.
        sample_shape: shape of one image, () without a generator.
        told: told how many images were made, a batch at a time.
    """

    title: str
    weights: tuple[Tensor, ...]
    layers: tuple[int, ...]
    generator: nn.Module | None
    sample_shape: tuple[int, ...]
    told: Callable[[int], None] | None = None

    @property
    def latent_dim(self) -> int:
        """Z."""
        return self.weights[0].shape[0]

    def make(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images of latents.

        Args:
            latents: (N, Z).
            labels: classes, (N,), for a generator that takes them.

        Returns:
            (N, *sample_shape), on the CPU wherever the generator is.

        Raises:
            ValueError: it is known by its weights alone.
        """
        if self.generator is None:
            raise ValueError(f"{self.title} is known by its style weights alone, which make no images.")
        device = next((p.device for p in self.generator.parameters()), latents.device)
        given = (latents,) if labels is None else (latents, labels)
        made: Tensor = self.generator(*(part.to(device) for part in given)).cpu()
        if self.told is not None:
            self.told(len(made))
        return made

    @property
    def batch(self) -> int:
        """Images to make at once."""
        return max(1, min(256, _NUMBERS_AT_ONCE // max(1, math.prod(self.sample_shape))))


def run_subject(run: Run, *, layers: str = "all") -> Subject:
    """A finished run's generator.

    Args:
        run: the run.
        layers: as for `choose_layers`; a run's generator takes z in one layer alone.

    Raises:
        ValueError: no layer of it takes z, it holds numbers that are not finite, or there is no such layer.
    """
    weight = latent_weight(run.generator, run.latent_dim, num_classes=run.num_classes)
    return Subject(
        title=run.title,
        weights=(weight,),
        layers=choose_layers(layers, 1),
        generator=run.generator,
        sample_shape=run.sample_shape,
    )


def published_subject(path: Path, *, layers: str = "all") -> Subject:
    """The generator of a published checkpoint.

    Args:
        path: the file.
        layers: as for `choose_layers`.

    Raises:
        ValueError: as for `load_published`; or there is no such layer.
    """
    found = load_published(path)
    return Subject(
        title=f"{path.name} · {found.layout}",
        weights=found.weights,
        layers=choose_layers(layers, len(found.weights)),
        generator=None if found.generator is None else found.generator.float(),
        sample_shape=found.sample_shape or (),
    )


def start_codes(num: int, latent_dim: int, *, seed: int, variant: Variant) -> Tensor:
    """The codes that are moved, (N, Z).

    Args:
        num: N.
        latent_dim: Z.
        seed: of the normal numbers.
        variant: brings codes to a mean square of 1, or leaves them.
    """
    codes = draw_latents(num, latent_dim, seed=seed, purpose="latent sefa")
    return codes * (codes.square().mean(1, keepdim=True) + _EPS).rsqrt() if variant.normalize_codes else codes


def traverse(
    generator: Generator,
    codes: Tensor,
    directions: Tensor,
    distances: Sequence[float],
    *,
    labels: Tensor | None = None,
    batch: int = 256,
    side: int = _SIDE,
) -> tuple[Tensor, Tensor]:
    """Images of codes that are moved along directions: G(z + d n).

    Args:
        generator: latents (and labels) → images.
        codes: z, (N, Z).
        directions: n, (K, Z).
        distances: d, T numbers.
        labels: (N,) classes, for a generator that takes them.
        batch: images made at once.
        side: images with longer sides are averaged down to a whole fraction.

    Returns:
        The codes' own images, (N, C, H, W), and the moved ones', (K, N, T, C, H, W).
    """
    steps = torch.tensor(distances, dtype=torch.float64)[:, None] * directions.double()[:, None]  # (K, T, Z)
    moved = (codes.double()[None, :, None] + steps[:, None]).to(codes.dtype)  # (K, N, T, Z)
    everything = torch.cat([codes, moved.flatten(0, 2)])
    classes: Tensor | None = None
    if labels is not None:
        classes = torch.cat([labels, labels.repeat_interleave(len(distances)).repeat(len(directions))])
    parts = []
    for start in range(0, len(everything), batch):
        rows = slice(start, start + batch)
        made = sample(generator, everything[rows], None if classes is None else classes[rows], batch=batch)
        parts.append(_shrunk(made.float(), side))
    images = torch.cat(parts)
    return images[: len(codes)], images[len(codes) :].view(*moved.shape[:3], *images.shape[1:])


def _shrunk(images: Tensor, side: int) -> Tensor:
    factor = -(-max(images.shape[-2:]) // side)
    return F.avg_pool2d(images, factor) if factor > 1 else images


@dataclass(frozen=True, kw_only=True)
class Strengths:
    """How much directions move the image, beside how much they move the first layer.

    Attributes:
        shown: numbers of the eigenvectors that were measured, from 0; (R,).
        values: their eigenvalues, (R,).
        changes: mean absolute change of a pixel in [-1, 1] for a unit along each, (R,).
        errors: standard errors of `changes` over the latents, (R,).
        random_values: |Wᵀn|² of random unit vectors n, (Q,).
        random_changes: the change along each of them, (Q,).
        num_latents: over how many latents the changes are means.
    """

    shown: tuple[int, ...]
    values: Tensor
    changes: Tensor
    errors: Tensor
    random_values: Tensor
    random_changes: Tensor
    num_latents: int


def _compared(subject: Subject, num_directions: int) -> tuple[tuple[int, ...], int]:
    """Numbers of the eigenvectors to measure, and over how many latents."""
    spread = torch.linspace(0, subject.latent_dim - 1, min(subject.latent_dim, _COMPARED)).round().long()
    shown = tuple(sorted({*range(num_directions), *spread.tolist()}))
    afforded = _MOST_MEASURED // (2 * (len(shown) + _COMPARED) * max(1, math.prod(subject.sample_shape)))
    return shown, max(2, min(_NUM_LATENTS, afforded))


def num_measured(subject: Subject, num_directions: int) -> int:
    """How many images `measure` makes.

    Args:
        subject: the generator.
        num_directions: how many directions are shown.
    """
    shown, num_latents = _compared(subject, num_directions)
    return num_latents * (1 + 2 * (len(shown) + _COMPARED))


def measure(
    subject: Subject,
    factors: Factors,
    *,
    num_directions: int,
    seed: int,
    variant: Variant,
    labels: Tensor | None = None,
) -> Strengths:
    """Measure the first directions, others spread over the spectrum, and random ones.

    Args:
        subject: with a generator.
        factors: of its weights.
        num_directions: K: all of the first K are measured.
        seed: of the latents and of the random directions.
        variant: how the codes are drawn.
        labels: classes to go round in, for a generator that takes them.
    """
    dim = subject.latent_dim
    shown, num_latents = _compared(subject, num_directions)
    random = draw_latents(_COMPARED, dim, seed=seed, purpose="latent sefa random").double()
    random = F.normalize(random, dim=1)
    codes = start_codes(num_latents, dim, seed=seed + 1, variant=variant)
    classes = None if labels is None else labels.repeat(-(-num_latents // len(labels)))[:num_latents]
    everything = torch.cat([factors.directions[list(shown)], random])
    changes = change_per_unit(subject.make, codes, everything, labels=classes, batch=subject.batch)
    own, others = changes[: len(shown)], changes[len(shown) :]
    return Strengths(
        shown=shown,
        values=factors.values[list(shown)],
        changes=own.mean(1),
        errors=own.std(1) / num_latents**0.5,
        random_values=factors.stretch(random),
        random_changes=others.mean(1),
        num_latents=num_latents,
    )
