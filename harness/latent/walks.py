"""Walks from latent to latent.

Shapes: N pairs of latents of Z numbers, T steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import torch
from torch import Tensor

from harness.runs.sampling import Generator, sample

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Mode", "interpolate", "walk_figure"]

Mode: TypeAlias = Literal["linear", "spherical"]

_PARALLEL = 1e-6


def interpolate(first: Tensor, last: Tensor, *, steps: int, mode: Mode = "spherical") -> Tensor:
    """Latents on the way from `first` to `last`, both among them.

    linear: z(t) = (1 − t) a + t b. In many dimensions its middle is shorter than any latent that the
    generator was trained on: |z(½)| ≈ √(Z/2) where |a| ≈ |b| ≈ √Z.

    spherical: the direction goes along the great circle from a/|a| to b/|b|,
    u(t) = [sin((1 − t)Ω) a/|a| + sin(tΩ) b/|b|] / sin Ω, and the length evenly from |a| to |b|.

    Args:
        first: a, (N, Z).
        last: b, (N, Z).
        steps: T, at least 2.
        mode: which of the two.

    Returns:
        (N, T, Z); the ends are a and b, exactly.

    Raises:
        ValueError: shapes differ, too few steps, an unknown mode; or, on the sphere, a pair of opposite
            latents or a latent of zeros, between which no great circle is the shortest.

    Source: Shoemake (1985), "Animating rotation with quaternion curves"; for latents White (2016), "Sampling
        generative networks", arXiv:1609.04468. Departure: the length is interpolated apart.
    """
    if first.shape != last.shape or first.ndim != 2:
        raise ValueError(
            f"`first` and `last` must both be (N, Z), but got {tuple(first.shape)} and {tuple(last.shape)}."
        )
    if steps < 2:
        raise ValueError(f"`steps` must be at least 2, both ends, but got {steps}.")
    if mode not in get_args(Mode):
        raise ValueError(f"`mode` must be linear or spherical, but got {mode!r}.")
    a, b = first.double()[:, None], last.double()[:, None]
    t = torch.linspace(0, 1, steps, dtype=torch.float64, device=first.device)[:, None]
    way = (1 - t) * a + t * b if mode == "linear" else _spherical(a, b, t)
    way[:, 0], way[:, -1] = a[:, 0], b[:, 0]
    return way.to(first.dtype)


def _spherical(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    lengths = a.norm(dim=-1, keepdim=True), b.norm(dim=-1, keepdim=True)
    if not all(bool((length > 0).all()) for length in lengths):
        raise ValueError("a latent of zeros has no direction; take another seed, or --mode linear.")
    start, end = a / lengths[0], b / lengths[1]
    angle = 2 * torch.atan2((start - end).norm(dim=-1), (start + end).norm(dim=-1))[..., None]
    if bool((angle > torch.pi - _PARALLEL).any()):
        raise ValueError("two opposite latents have no shortest way between them; take --mode linear.")
    sine = torch.where(angle > _PARALLEL, angle.sin(), torch.ones_like(angle))
    turned = (((1 - t) * angle).sin() * start + (t * angle).sin() * end) / sine
    direction = torch.where(angle > _PARALLEL, turned, start.expand_as(turned))
    way: Tensor = direction * ((1 - t) * lengths[0] + t * lengths[1])
    return way


def walk_figure(
    generator: Generator,
    latents: Tensor,
    *,
    labels: Tensor | None = None,
    classes: Sequence[str] = (),
    title: str = "",
) -> Image:
    """A row a walk, a column a step.

    Args:
        generator: latents (and labels) → images.
        latents: (N, T, Z), of `interpolate`.
        labels: (N,) classes, one a walk, for a generator that takes them.
        classes: the name of each walk's class, N of them, or none.
        title: one line above all.
    """
    from harness.figures import grid

    steps = latents.shape[1]
    every = None if labels is None else labels.repeat_interleave(steps)
    images = sample(generator, latents.flatten(0, 1), every)
    headers = [f"{step / (steps - 1):.2f}".rstrip("0").rstrip(".") for step in range(steps)]
    return grid(images, columns=steps, column_headers=headers, row_labels=classes, title=title)
