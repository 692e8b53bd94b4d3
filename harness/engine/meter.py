"""Training statistics, summed on the device and fetched once an interval.

Shapes: K runs, B samples. Adding a value appends to a list and computes nothing; sums are taken a chunk of
steps at a time, because many small operations would cost more than the training of small networks does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Meter"]

_CHUNK = 64
_LOSSES = ("d_loss", "g_loss")
_SCORES = ("d_real", "d_fake")
_NORMS = ("d_grad_norm", "g_grad_norm")
_KEYS = (*_LOSSES, *_SCORES, *_NORMS)


class Meter:
    """Sums over the steps of an interval, for K runs.

    Args:
        num_runs: K.
        device: where the values live.
    """

    def __init__(self, num_runs: int, device: torch.device) -> None:
        self._num_runs = num_runs
        self._sums = torch.zeros(len(_KEYS), num_runs, dtype=torch.float64, device=device)
        self._counts = [0] * len(_KEYS)
        self._nonfinite = torch.zeros(num_runs, dtype=torch.int64, device=device)
        self._suspects = torch.zeros_like(self._nonfinite)
        self._pending: list[list[Tensor]] = [[] for _ in _KEYS]

    def add_discriminator(self, loss: Tensor, real: Tensor, fake: Tensor, norm: Tensor | None) -> None:
        """One D step: its loss (K,), scores (K, B) each, gradient norm (K,) if measured."""
        d_loss, _, d_real, d_fake, d_norm, _ = self._pending
        d_loss.append(loss.detach())
        d_real.append(real.detach())
        d_fake.append(fake.detach())
        if norm is not None:
            d_norm.append(norm)
        if len(d_loss) >= _CHUNK:
            self.settle()

    def add_generator(self, loss: Tensor, norm: Tensor | None) -> None:
        """One G step: its loss (K,), gradient norm (K,) if measured."""
        self._pending[1].append(loss.detach())
        if norm is not None:
            self._pending[5].append(norm)

    def settle(self) -> None:
        """Take the values added so far into the sums."""
        for index, (key, values) in enumerate(zip(_KEYS, self._pending, strict=True)):
            if not values:
                continue
            stacked = torch.stack(values)
            if key in _SCORES:
                stacked = stacked.mean(-1)
            stacked = stacked.view(len(values), self._num_runs)
            self._sums[index] += stacked.sum(0, dtype=torch.float64)
            self._counts[index] += len(values)
            if key in _LOSSES:
                nonfinite = stacked.isfinite().logical_not().sum(0)
                self._nonfinite += nonfinite
                self._suspects += nonfinite
            values.clear()

    def suspects(self) -> Tensor:
        """How many losses were not finite since the last call, (K,), on the device."""
        self.settle()
        suspects = self._suspects
        self._suspects = torch.zeros_like(suspects)
        return suspects

    def report(self) -> dict[str, NDArray[np.float64]]:
        """The interval's statistics, key → (K,), in one transfer; the next interval starts empty."""
        self.settle()
        rows = torch.cat([self._sums, self._nonfinite.unsqueeze(0).double()]).cpu().numpy()
        report = {
            f"train/{key}": rows[index] / self._counts[index]
            for index, key in enumerate(_KEYS)
            if self._counts[index]
        }
        report["train/nonfinite"] = rows[-1]
        self._sums.zero_()
        self._nonfinite.zero_()
        self._counts = [0] * len(_KEYS)
        return report

    def keep(self, positions: Tensor) -> None:
        """Keep these rows only."""
        self.settle()
        self._num_runs = len(positions)
        self._sums = self._sums[:, positions]
        self._nonfinite = self._nonfinite[positions]
        self._suspects = self._suspects[positions]

    def state_dict(self) -> dict[str, Any]:
        """The interval's sums so far, copied."""
        self.settle()
        return {
            "sums": self._sums.clone(),
            "counts": list(self._counts),
            "nonfinite": self._nonfinite.clone(),
            "suspects": self._suspects.clone(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        device = self._sums.device
        self._sums = state["sums"].to(device, copy=True)
        self._nonfinite = state["nonfinite"].to(device, copy=True)
        self._suspects = state["suspects"].to(device, copy=True)
        self._counts = [int(count) for count in state["counts"]]
        self._num_runs = len(self._nonfinite)
        self._pending = [[] for _ in _KEYS]
