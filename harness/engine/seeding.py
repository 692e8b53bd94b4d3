"""Where every random number of a run comes from: its seed, what the numbers are for, and an index.

No generator outlives the numbers it was made for, so nothing about randomness needs to be saved: whoever
knows the seed can draw any block of any run again, alone or in a population.
"""

from __future__ import annotations

import hashlib

import torch

__all__ = ["generator_for", "seed_for"]


def seed_for(seed: int, purpose: str, index: int = 0) -> int:
    """A 63-bit seed: the head of SHA-256 of (seed, purpose, index).

    Args:
        seed: the run's seed.
        purpose: what is drawn, `order` or `noise` say. Arms with the same seed share each purpose's numbers.
        index: the block drawn.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator_for(seed: int, purpose: str, index: int, device: torch.device) -> torch.Generator:
    """A fresh generator on `device`, seeded by `seed_for`."""
    return torch.Generator(device).manual_seed(seed_for(seed, purpose, index))
