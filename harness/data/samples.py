"""Samples between storage and networks: bytes in memory, [-1, 1] in a step, bytes in a picture.

Shapes: N stored samples, each of `sample_shape`; `...` is any leading shape of indices, (K, B) say.
"""

from __future__ import annotations

from functools import cache
from hashlib import blake2b

import torch
from torch import Tensor

__all__ = ["as_bytes", "distinct_rows", "gather", "scaled"]

_CHUNK = 1000
_half_range = cache(lambda device: torch.full((), 127.5, device=device))


def scaled(samples: Tensor) -> Tensor:
    """Samples as networks see them: bytes v become v / 127.5 − 1 in [-1, 1], floats stay as they are.

    Scaling a batch where it is used, rather than the set where it is stored, keeps a set at a quarter of the
    memory and of the traffic.

    Args:
        samples: any shape, uint8 or float32, on any device.

    Returns:
        float32, on the same device; `samples` itself where it is float32 already.
    """
    if samples.dtype != torch.uint8:
        return samples
    if samples.device.type == "cuda":  # by a number of the host it would multiply by 1 / 127.5, a bit off
        return samples.div(_half_range(samples.device)).sub_(1.0)
    return samples.to(torch.float32).div_(127.5).sub_(1.0)  # at once it takes a CPU up to 15 times as long


def as_bytes(samples: Tensor) -> Tensor:
    """The nearest bytes of samples in [-1, 1], the inverse of `scaled`; values beyond are cut off.

    Args:
        samples: any shape, float; uint8 passes unchanged.

    Returns:
        uint8, on the same device.
    """
    if samples.dtype == torch.uint8:
        return samples
    return samples.add(1.0).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def gather(samples: Tensor, indices: Tensor) -> Tensor:
    """The samples at these indices, as they are stored, on the indices' device.

    Where a set does not fit on the device it stays in host memory, or in a file mapped into it, and only the
    rows asked for travel, as bytes.

    Args:
        samples: (N, *sample_shape), on the indices' device or on the CPU.
        indices: (...) int64.

    Returns:
        (..., *sample_shape); give it to `scaled`.
    """
    rows = indices.reshape(-1)
    if samples.device == indices.device:
        found = samples.index_select(0, rows)
    else:
        found = samples.index_select(0, rows.to(samples.device))
        if indices.device.type == "cuda":
            found = found.pin_memory()
        found = found.to(indices.device, non_blocking=True)
    return found.view(*indices.shape, *samples.shape[1:])


def distinct_rows(samples: Tensor, rows: Tensor) -> Tensor:
    """Which of some rows hold a sample that no earlier one of them holds, to the last bit.

    Args:
        samples: (N, *sample_shape), as they are stored, on any device.
        rows: (R,) int64 rows of them, on the CPU.

    Returns:
        (≤R,) int64 places in `rows`, increasing.
    """
    seen: set[bytes] = set()
    found = []
    for start in range(0, len(rows), _CHUNK):
        part = samples[rows[start : start + _CHUNK].to(samples.device)].cpu().flatten(1).numpy()
        for place, sample in enumerate(part, start):
            digest = blake2b(sample, digest_size=16).digest()
            if digest not in seen:
                seen.add(digest)
                found.append(place)
    return torch.tensor(found, dtype=torch.int64)
