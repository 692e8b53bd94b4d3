"""Where every random number of a run comes from: its seed, what the numbers are for, and an index.

No generator outlives the numbers it was made for, so nothing about them needs to be saved: whoever knows the
seed can draw any block of any run again, alone or in a population. The exception is what layers draw from
torch's global state while training; a population keeps one of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

__all__ = ["RandomState", "generator_for", "random_states", "seed_for", "seeded", "set_random_states"]


def seed_for(seed: int, purpose: str, index: int = 0) -> int:
    """A 63-bit seed: the head of SHA-256 of (seed, purpose, index).

    Args:
        seed: the run's seed.
        purpose: what is drawn, `order` or `noise` say. Arms with the same seed share each purpose's numbers
            where they draw as many in a block: arms of other ratios of D to G steps share no noise.
        index: the block drawn.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator_for(seed: int, purpose: str, index: int, device: torch.device) -> torch.Generator:
    """A fresh generator on `device`, seeded by `seed_for`.

    Args:
        seed: the run's.
        purpose: what the numbers are for.
        index: which block of them.
        device: where they are drawn.
    """
    return torch.Generator(device).manual_seed(seed_for(seed, purpose, index))


@contextmanager
def seeded(seed: int, purpose: str, device: torch.device) -> Iterator[None]:
    """Torch's global random state, seeded for as long as it lasts and then given back.

    It is what layers draw from that are random in evaluation mode too, so that samples are the same at every
    call.

    Args:
        seed: the run's.
        purpose: what the numbers are for.
        device: where they are drawn.
    """
    with torch.random.fork_rng([] if device.type == "cpu" else [device]):
        torch.manual_seed(seed_for(seed, purpose))
        yield


def random_states(device: torch.device) -> list[Tensor]:
    """Torch's global random states that layers on a device may draw from: the CPU's, and the device's own.

    Args:
        device: where the layers are.
    """
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return states


def set_random_states(states: Sequence[Tensor], device: torch.device) -> None:
    """Put back what `random_states` gave.

    Args:
        states: the CPU's, and the device's own where it has one.
        device: where the layers are.
    """
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)


class RandomState:
    """Torch's global random state as one population left it, on the CPU and on its device.

    Args:
        seed: where it starts.
        device: the population's.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self._device = device
        theirs = self._current()
        torch.manual_seed(seed_for(seed, "layers"))
        self._states = self._current()
        self._install(theirs)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Go on from this state, and give the process its own back at the end."""
        theirs = self._current()
        self._install(self._states)
        try:
            yield
        finally:
            self._states = self._current()
            self._install(theirs)

    def state_dict(self) -> list[Tensor]:
        """The states, copied."""
        return [state.clone() for state in self._states]

    def load_state_dict(self, states: Sequence[Tensor]) -> None:
        """Take what `state_dict` gave."""
        self._states = [state.clone() for state in states]

    def _current(self) -> list[Tensor]:
        return random_states(self._device)

    def _install(self, states: Sequence[Tensor]) -> None:
        set_random_states(states, self._device)
