"""Copies of training samples, and of each other: are generated samples nearer to them than real ones are?

How near to a training sample is near differs from place to place: where the data are crowded, whatever is
likely there lies near some training sample. So a sample's distance to the nearest training sample is taken in
units of that to the second nearest. A copy, and one with a little noise, has one neighbour by far the
nearest; a typical sample, a blurred one or the mean of a class has two that are about equally far.

Among generated samples one may be there a hundred times, so there the distances themselves are held against
those of as many real samples from each other.

Shapes: N samples and T different training samples (·, d), all float64 and on one device.
"""

from __future__ import annotations

import torch
from torch import Tensor

from harness.metrics.groups import MIN_SAMPLES, TooFewError

__all__ = ["MAX_QUERIES", "memorised", "nearness", "nearness_of", "repeated"]

MAX_QUERIES = 1000
"""Held-out samples that tell how near is natural, at most."""

_NATURAL_SHARE = 0.01
_COPY = 0.01
"""Nearness below which a sample is a copy, whatever the data; what is natural is told from the others. Among
distances it is the same share of the median."""

_DOUBLE = 0.5
"""Share of a distance that is natural, if rare, up to which two samples are one twice."""

_CANDIDATES = 8
_BLOCK_BYTES = 64 * 2**20


def nearness(samples: Tensor, train: Tensor) -> Tensor:
    """(N,) distance of each sample to the nearest of the training samples, over that to the second nearest.

    Matrix products in float32 pick eight candidates, in blocks of 64 MB at most; their distances are then
    taken from the differences, so that a copy is at 0 and not at what rounding left.

    Args:
        samples: (N, d).
        train: (T, d), all different.

    Raises:
        TooFewError: fewer than two training samples are different.
    """
    if len(train) < 2:
        raise TooFewError("all training samples are the same, so copies of them cannot be told from others.")
    count = min(_CANDIDATES, len(train))
    centre = train.mean(dim=0)  # small norms round less
    known = (train - centre).float()
    norms = known.square().sum(dim=1)
    found = []
    for part in torch.split(samples, max(1, _BLOCK_BYTES // (4 * len(train)))):
        squares = torch.addmm(norms, (part - centre).float(), known.T, alpha=-2)
        places = squares.topk(count, dim=1, largest=False).indices
        apart = (part[:, None] - train[places]).square().sum(dim=2).sqrt()
        found.append(apart.topk(2, dim=1, largest=False).values)
    return nearness_of(torch.cat(found))


def nearness_of(distances: Tensor) -> Tensor:
    """(N,) the first of two distances over the second; 0 where both are.

    Args:
        distances: (N, 2) to the nearest and the second nearest of different training samples.
    """
    first, second = distances.unbind(dim=1)
    return torch.where(second > 0, first / second, 0.0)


def memorised(fake: Tensor, real: Tensor) -> float:
    """Share of fakes that lie nearer to a training sample than is natural, less what chance gives.

    (F − R)/(1 − R), where F and R are the shares of fakes and of held-out reals whose nearness is at most q,
    and one in a hundred of the reals that are no copies is at most q. A perfect generator gets 0 but for
    chance, also where reals come more than once, so that some held-out ones are copies themselves; a
    generator of copies gets 1. It can be slightly negative, and is not clamped.

    Args:
        fake: (N,) nearness of the generated samples.
        real: (M,) nearness of the held-out ones.

    Raises:
        TooFewError: nearly all held-out samples are copies of training samples, or all are equally near.

    Source: Meehan, Chaudhuri and Dasgupta 2020 (held-out samples as the measure of copying); the ratio of
    two distances is Lowe's, 2004, section 7.1.
    """
    new = real[real >= _COPY]
    if len(new) < MIN_SAMPLES:
        raise TooFewError(
            f"all but {len(new)} of {len(real)} held-out samples are copies of training samples, so copies "
            "cannot be told from new samples."
        )
    natural = torch.quantile(new, _NATURAL_SHARE, interpolation="higher")
    near, chance = (float((values <= natural).double().mean()) for values in (fake, real))
    if chance == 1:
        raise TooFewError("all held-out samples are equally near to training samples; none is too near.")
    return (near - chance) / (1 - chance)


def repeated(fake: Tensor, real: Tensor) -> float:
    """Share of fakes of which there is another one, or nearly, less what chance gives.

    (F − R)/(1 − R), where F and R are the shares of fakes and of reals that have their nearest neighbour
    within half of q, and one in a hundred of the reals that are there but once has it within q. Real samples
    get 0, and so do blurred and noisy ones; 200 images each five times, with a little noise, get 1, and where
    half of all images are one, the score is a half.

    Args:
        fake: (N,) distances of the generated samples to the nearest other one.
        real: (N,) the same of as many reals.

    Raises:
        TooFewError: nearly all of the reals are there more than once.
    """
    once = real[real > _COPY * real.median()]
    if len(once) < MIN_SAMPLES:
        raise TooFewError(
            f"all but {len(once)} of {len(real)} real samples are there more than once, so generated samples "
            "may be."
        )
    double = _DOUBLE * torch.quantile(once, _NATURAL_SHARE, interpolation="higher")
    share, chance = (float((values <= double).double().mean()) for values in (fake, real))
    return (share - chance) / (1 - chance)
