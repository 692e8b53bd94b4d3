"""Distances of embeddings as whole distributions: Fréchet, KID, Vendi.

Shapes: embeddings (N, d) and (M, d), float64, on any one device.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Moments", "covariance_root", "frechet", "frechet_null", "kid", "mean_kernel", "moments", "vendi"]

_CHUNK = 256


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """Mean and covariance of a sample.

    Attributes:
        mean: (d,).
        covariance: (d, d), with N − 1 in the denominator.
        count: N.
    """

    mean: Tensor
    covariance: Tensor
    count: int


def moments(embedding: Tensor, what: str = "generated") -> Moments:
    """Mean and covariance of embeddings.

    Args:
        embedding: (N, d), finite, N > d: with fewer the covariance is singular, and a distance made of it
            says more of N than of the data.
        what: what the images are, for the message.

    Raises:
        ValueError: too few samples, or a value that is not finite.
    """
    count, dimension = embedding.shape
    if count <= dimension:
        raise ValueError(
            f"the Fréchet distance needs at least {dimension + 1} {what} images, one more than the features "
            f"have dimensions, but got {count}."
        )
    values = embedding.double()
    if not bool(values.isfinite().all()):
        raise ValueError(f"the features of some {what} images are not finite.")
    mean = values.mean(dim=0)
    centred = values - mean
    return Moments(mean=mean, covariance=centred.T @ centred / (count - 1), count=count)


def frechet(fake: Moments, real: Moments, real_root: Tensor | None = None) -> float:
    """Fréchet distance of two normal distributions with these moments.

    ‖μ₁ − μ₂‖² + tr Σ₁ + tr Σ₂ − 2 tr (Σ₁^½ Σ₂ Σ₁^½)^½; the last root is of a symmetric matrix, so that its
    trace is the sum of the roots of eigenvalues, which rounding may leave slightly below 0.

    Args:
        fake: of one sample.
        real: of the other.
        real_root: `covariance_root(real)`, where it is known already.

    Returns:
        The squared 2-Wasserstein distance of the two normals, 0 where they agree; a sample of the reals' own
        law gets about `frechet_null`.

    Raises:
        ValueError: moments that are not finite.

    Source: Dowson and Landau 1982, eq. 4; Heusel et al. 2017, eq. 6.
    """
    for values in (fake.mean, fake.covariance, real.mean, real.covariance):
        if not bool(values.isfinite().all()):
            raise ValueError("the moments of the features are not finite.")
    root = covariance_root(real) if real_root is None else real_root
    shared = torch.linalg.eigvalsh(root @ fake.covariance @ root).clamp_min(0).sqrt().sum()
    gap = (fake.mean - real.mean).square().sum()
    return float(gap + fake.covariance.trace() + real.covariance.trace() - 2 * shared)


def frechet_null(real: Moments, count: int) -> float:
    """Expected Fréchet distance of `count` samples of the reals' own law, to first order.

    (1/n + 1/m) [tr Σ + ½ Σᵢⱼ λᵢ λⱼ (1 + δᵢⱼ)/(λᵢ + λⱼ)], with λ the eigenvalues of Σ: what a perfect
    generator gets for the sake of finite samples alone. With Σ the identity in 128 dimensions it
    is 8.51 at n = m = 1000.

    Args:
        real: moments of m reals.
        count: n, the number of generated samples.
    """
    values = torch.linalg.eigvalsh(real.covariance).clamp_min(0)
    sums = (values[:, None] + values).clamp_min(1e-300)
    pairs = values[:, None] * values / sums
    spread = values.sum() + (pairs.sum() + pairs.diagonal().sum()) / 2
    return float((1 / count + 1 / real.count) * spread)


def kid(fake: Tensor, real: Tensor, within_real: float | None = None) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel k(x, y) = (x·y/d + 1)³.

    MMD² = mean k(x, x') + mean k(y, y') − 2 mean k(x, y), pairs of a sample with itself left out. Its mean is
    0 where both samples have one law, whatever their number, so it can be negative, and is not clamped.

    Args:
        fake: (N, d) embeddings of about unit size, at least 2.
        real: (M, d), at least 2.
        within_real: `mean_kernel(real)`, where it is known already.

    Raises:
        ValueError: fewer than 2 samples.

    Source: Bińkowski et al. 2018, section 4; Gretton et al. 2012, eq. 3. Departure: one estimate from all
    samples in place of the mean over random subsets, which only adds noise.
    """
    if min(len(fake), len(real)) < 2:
        raise ValueError(f"KID needs at least 2 images of each kind, but got {len(fake)} and {len(real)}.")
    inside = mean_kernel(real) if within_real is None else within_real
    between = _kernel_sum(fake, real) / (len(fake) * len(real))
    return mean_kernel(fake) + inside - 2 * between


def mean_kernel(embedding: Tensor) -> float:
    """Mean of the cubic kernel over all pairs of different samples of an (N, d) embedding."""
    count, dimension = embedding.shape
    total = _kernel_sum(embedding, embedding)
    itself = float((embedding.square().sum(dim=1) / dimension + 1).pow(3).sum())
    return (total - itself) / (count * (count - 1))


def vendi(embedding: Tensor, centre: Tensor) -> float:
    """Effective number of different samples: exp of the entropy of the cosine kernel's spectrum.

    K = XXᵀ/N with rows of X of unit length, seen from `centre`; its non-zero eigenvalues are those of XᵀX/N.
    n orthogonal samples count as n, identical ones as 1. Seen from the reals' mean, a noisy point mass lies
    all in one direction and counts little; seen from its own mean, its noise would count as variety.

    Args:
        embedding: (N, d).
        centre: (d,) the reals' mean.

    Source: Friedman and Dieng 2023, definition 3.1; the centre is ours.
    """
    rows = torch.nn.functional.normalize(embedding.double() - centre, dim=1)
    smaller = rows.T @ rows if rows.shape[0] > rows.shape[1] else rows @ rows.T
    values = torch.linalg.eigvalsh(smaller / len(rows)).clamp_min(0)
    total = values.sum()
    if float(total) == 0:
        return 1.0
    share = values / total
    return float(torch.exp(-torch.xlogy(share, share).sum()))


def _kernel_sum(x: Tensor, y: Tensor) -> float:
    """Sum of the cubic kernel over all pairs, by rows that a processor's cache holds."""
    columns = y.T.contiguous()
    total = 0.0
    for part in torch.split(x / x.shape[1], _CHUNK):
        products = (part @ columns).add_(1)
        total += float((products * products).mul_(products).sum())
    return total


def covariance_root(found: Moments) -> Tensor:
    """(d, d) symmetric square root of a covariance."""
    values, vectors = torch.linalg.eigh(found.covariance)
    root: Tensor = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    return root
