"""Penalties on D: pure functions of its scores, and of the samples that they were computed from.

Shapes: scores are (K, B), B scores for each of K runs, samples (K, B, ...), and a penalty is (K,). A
population of one that calls its module directly leaves the K axis out.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["drift", "gradient_penalty", "interpolate", "squared_gradient_norm"]


def interpolate(real: Tensor, fake: Tensor, weights: Tensor) -> Tensor:
    """Points on the lines between real and fake samples: u·x + (1 − u)·G(z).

    Args:
        real: (K, B, ...).
        fake: (K, B, ...).
        weights: u in [0, 1), (K, B), one for each sample.

    Returns:
        (K, B, ...), a leaf that requires grad.
    """
    shaped = weights.reshape(weights.shape + (1,) * (real.ndim - weights.ndim))
    return torch.lerp(fake, real, shaped).detach().requires_grad_()


def gradient_penalty(scores: Tensor, samples: Tensor, target: float | Tensor) -> Tensor:
    """E[(‖∇D(x̂)‖ − target)²] over the samples the scores were computed from.

    Args:
        scores: (K, B).
        samples: (K, B, ...), requiring grad.
        target: the norm aimed at; 1 is the original, 0 pulls towards a flat critic. A number, or (K,).

    Returns:
        One penalty for each run, (K,), before weighting.

    Source: Gulrajani et al. (2017), Eq. 3. Departure: the target is an option.
    """
    norms: Tensor = torch.linalg.vector_norm(_gradient(scores, samples), dim=-1)
    shaped = target.unsqueeze(-1) if isinstance(target, Tensor) else target
    return (norms - shaped).square().mean(-1)


def squared_gradient_norm(scores: Tensor, samples: Tensor) -> Tensor:
    """E[‖∇D(x)‖²] over the samples the scores were computed from: R1 at real ones, R2 at fakes.

    At real samples alone it leaves the equilibrium where it is.

    Args:
        scores: (K, B).
        samples: (K, B, ...), requiring grad.

    Returns:
        One penalty for each run, (K,), before weighting; the trainer adds γ/2 times it.

    Source: Mescheder et al. (2018), Eq. 9 and 10. Departure: none.
    """
    return _gradient(scores, samples).square().sum(-1).mean(-1)


def drift(real_scores: Tensor) -> Tensor:
    """E[D(x)²], which keeps a critic's scores near zero.

    Args:
        real_scores: (K, B).

    Returns:
        One penalty for each run, (K,), before weighting.

    Source: Karras et al. (2018), section A.1. Departure: none.
    """
    return real_scores.square().mean(-1)


def _gradient(scores: Tensor, samples: Tensor) -> Tensor:
    """∇D at each sample, flattened, (K, B, numbers in a sample), itself differentiable."""
    gradient: Tensor
    (gradient,) = torch.autograd.grad(scores, samples, torch.ones_like(scores), create_graph=True)
    return gradient.flatten(scores.ndim)
