"""What a generator's first layer does to its latent: the layer itself, and the closed form of its directions.

Shapes: Z numbers in a latent, M numbers that the first layer makes of it.

A generator's first layer takes z to Wᵀz + b. Moved by a unit vector n, its output changes by Wᵀn, whatever z
is. The directions that change it most are the eigenvectors of W Wᵀ with the largest eigenvalues.

Source: Shen and Zhou (2021), Closed-form factorization of latent semantics in GANs, equation 4. Departures:
`eigh` in float64 instead of `eig`, sorted, and each vector's largest number made positive, so that the same
weights always give the same directions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.runs.sampling import draw_latents, evaluating

__all__ = ["Factors", "choose_layers", "factorize", "latent_weight"]


@dataclass(frozen=True, kw_only=True)
class Factors:
    """What W Wᵀ is made of.

    Attributes:
        values: eigenvalues, (Z,) float64, the largest first; those that rounding may have made are 0.
        directions: eigenvectors of length 1 as rows, (Z, Z) float64.
        gram: W Wᵀ itself, (Z, Z) float64.
    """

    values: Tensor
    directions: Tensor
    gram: Tensor

    def stretch(self, directions: Tensor) -> Tensor:
        """|Wᵀn|² of unit vectors n (R, Z), (R,): of an eigenvector this is its eigenvalue."""
        return ((directions.double() @ self.gram) * directions.double()).sum(1)


def factorize(weight: Tensor, *, normalize_columns: bool = False) -> Factors:
    """Eigenvalues and eigenvectors of W Wᵀ.

    Args:
        weight: W, (Z, M); of several layers their matrices side by side.
        normalize_columns: divide each of the M columns by its length first; one of zeros stays.

    Raises:
        ValueError: W is no matrix, or holds numbers that are not finite.
    """
    if weight.ndim != 2 or not weight.numel():
        raise ValueError(f"`weight` must be a matrix (Z, M), but got the shape {tuple(weight.shape)}.")
    if not bool(weight.isfinite().all()):
        raise ValueError("`weight` must be finite, but holds numbers that are not.")
    matrix = weight.double()
    if normalize_columns:
        matrix = F.normalize(matrix, dim=0)
    gram = matrix @ matrix.T
    values, vectors = torch.linalg.eigh(gram)
    directions = vectors.T.flip(0)
    signs = directions.gather(1, directions.abs().argmax(1, keepdim=True)).sign()
    values = values.flip(0)
    rounding = values[0] * len(values) * torch.finfo(torch.float64).eps
    values = torch.where(values > rounding, values, torch.zeros_like(values))
    return Factors(values=values, directions=directions * signs, gram=gram)


def choose_layers(text: str, count: int) -> tuple[int, ...]:
    """The layers that a command's words mean.

    Args:
        text: ``all``, or numbers and ranges with both ends in them, like ``0-1,5``.
        count: how many layers there are.

    Raises:
        ValueError: anything else, or a layer that there is not.
    """
    if text.strip() == "all":
        return tuple(range(count))
    chosen: list[int] = []
    for part in text.split(","):
        first, dash, last = (piece.strip() for piece in part.partition("-"))
        if not first.isdecimal() or not (last.isdecimal() if dash else True):
            raise ValueError(f"`--layers` takes all, or numbers and ranges like 0-1,5, but got {text!r}.")
        chosen += range(int(first), int(last or first) + 1)
    bad = [layer for layer in chosen if layer >= count]
    if bad or not chosen:
        there = f"0 to {count - 1}" if count > 1 else "0 alone"
        raise ValueError(
            f"`--layers` must be layers that take the latent, {there}, but got {bad[0] if bad else text!r}."
        )
    return tuple(sorted(set(chosen)))


class _FoundError(Exception):
    """Ends a forward pass: the layer that was looked for has been reached."""


def latent_weight(generator: nn.Module, latent_dim: int, *, num_classes: int = 0) -> Tensor:
    """W of the first layer that takes z: its weights, the latent dimension first.

    A linear layer or a convolution takes z if z's numbers are among its inputs, one by one, as they are or
    all scaled alike. What else it takes, such as a label's embedding, is left out.

    Args:
        generator: latents (and labels) → samples.
        latent_dim: Z.
        num_classes: classes, where it takes labels.

    Returns:
        W, (Z, M) float64. A fully connected layer has M units, a convolution its channels times its kernel.

    Raises:
        ValueError: there is no such layer, or its weights are not finite.
    """
    example = next(iter(generator.parameters()), torch.zeros(()))
    z = draw_latents(3, latent_dim, seed=0, purpose="latent layer").to(example.device, example.dtype)
    found: list[Tensor] = []

    def look(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        rows = _rows_of_latent(layer, given[0], z)
        if rows is not None:
            found.append(rows)
            raise _FoundError

    kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
    handles = [m.register_forward_pre_hook(look) for m in generator.modules() if isinstance(m, kinds)]
    labels = torch.arange(3, device=z.device) % max(1, num_classes)
    given = (z, labels) if getattr(generator, "takes_labels", False) else (z,)
    try:
        with torch.no_grad(), evaluating(generator):
            generator(*given)
    except _FoundError:
        pass
    finally:
        for handle in handles:
            handle.remove()
    if not found:
        raise ValueError(
            f"no linear layer or convolution of {type(generator).__name__} takes the latent's {latent_dim} "
            "numbers, so there is nothing to factorise; choose a generator whose first layer takes z."
        )
    if not bool(found[0].isfinite().all()):
        raise ValueError("the layer that takes the latent holds numbers that are not finite.")
    return found[0]


def _rows_of_latent(layer: Any, given: Tensor, z: Tensor) -> Tensor | None:
    """The layer's weights (Z, M) for z's numbers, or None where they are not what it is given."""
    taken = given.detach().flatten(1)
    if len(taken) != len(z) or taken.shape[1] != given.shape[1] or taken.shape[1] < z.shape[1]:
        return None
    scale = taken.norm(dim=1, keepdim=True) / z.norm(dim=1, keepdim=True)
    for wanted in (z, z * scale):
        same = torch.isclose(taken[:, None], wanted[:, :, None], rtol=1e-4, atol=1e-6).all(0)
        if bool((same.sum(1) == 1).all()):
            columns = same.int().argmax(1)
            weight: Tensor = layer.weight.detach().double()
            lead = weight if isinstance(layer, nn.ConvTranspose2d) else weight.transpose(0, 1)
            return lead[columns].flatten(1)
    return None
