"""Training statistics, summed on the device and fetched once an interval.

Shapes: K runs, B samples, E = 64 bins. Adding a value appends to a list and computes nothing; sums are taken
a chunk of steps at a time, because many small operations would cost more than the training of small networks
does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.engine.bins import NUM_BINS, SCORE_EDGES
from harness.engine.population import Update

__all__ = ["Meter", "MeterRows"]

_CHUNK = 64
_LOSSES = ("d_loss", "g_loss")
_SCORES = ("d_real", "d_fake")
_UPDATES = ("d_grad_norm", "d_update_ratio", "g_grad_norm", "g_update_ratio")
_AUC = "d_auc"
_KEYS = (*_LOSSES, *_SCORES, *_UPDATES, _AUC)


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
        self._inner = torch.tensor(SCORE_EDGES[1:-1], dtype=torch.float32, device=device)
        self._bins = torch.zeros(len(_SCORES), num_runs, NUM_BINS, dtype=torch.int64, device=device)
        self._pending: dict[str, list[Tensor]] = {key: [] for key in _KEYS}
        self._measured: list[int] = []  # which of the pending scores to count in bins

    def add_discriminator(self, loss: Tensor, real: Tensor, fake: Tensor, update: Update | None) -> None:
        """One D step.

        Args:
            loss: (K,).
            real: scores of the real samples, (K, B).
            fake: scores of the fakes, (K, B).
            update: what was measured of its update, if anything was.
        """
        pending = self._pending
        if update is not None:
            self._measured.append(len(pending["d_real"]))
            pending["d_grad_norm"].append(update.gradient_norm)
            pending["d_update_ratio"].append(update.ratio)
        pending["d_real"].append(real.detach())
        pending["d_fake"].append(fake.detach())
        pending["d_loss"].append(loss.detach())
        if len(pending["d_loss"]) >= _CHUNK:
            self.settle()

    def add_generator(self, loss: Tensor, update: Update | None) -> None:
        """One G step.

        Args:
            loss: (K,).
            update: what was measured of its update, if anything was.
        """
        self._pending["g_loss"].append(loss.detach())
        if update is not None:
            self._pending["g_grad_norm"].append(update.gradient_norm)
            self._pending["g_update_ratio"].append(update.ratio)

    def settle(self) -> None:
        """Take the values added so far into the sums."""
        if self._measured:
            real, fake = (torch.stack([self._pending[key][i] for i in self._measured]) for key in _SCORES)
            for which, scores in enumerate((real, fake)):
                self._count(which, scores)
            self._pending[_AUC].extend(_auc(real, fake))
        for index, (key, values) in enumerate(self._pending.items()):
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
        self._measured.clear()

    def _count(self, which: int, scores: Tensor) -> None:
        """Count scores, (steps, K, B) or (steps, B), in bins; NaN is in none."""
        scores = scores.view(len(scores), self._num_runs, -1)
        bins = torch.bucketize(scores, self._inner, right=True)
        bins += torch.arange(self._num_runs, device=bins.device).unsqueeze(1) * NUM_BINS
        known = scores.isnan().logical_not().long()
        self._bins[which].view(-1).index_add_(0, bins.view(-1), known.view(-1))

    def suspects(self) -> Tensor:
        """How many losses were not finite since the last call, (K,), on the device."""
        self.settle()
        suspects = self._suspects
        self._suspects = torch.zeros_like(suspects)
        return suspects

    def report(self) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.int64]]]:
        """The interval's statistics, in one transfer; the next interval starts empty.

        Returns:
            Key → (K,) means, and key → (K, E) counts of D's scores in the bins of `SCORE_EDGES`.
        """
        self.settle()
        bins = self._bins.transpose(1, 2).reshape(-1, self._num_runs)
        rows = torch.cat([self._sums, self._nonfinite.unsqueeze(0), bins]).cpu().numpy()
        report = {
            f"train/{key}": rows[index] / self._counts[index]
            for index, key in enumerate(_KEYS)
            if self._counts[index]
        }
        report["train/nonfinite"] = rows[len(_KEYS)]
        counts = rows[len(_KEYS) + 1 :].reshape(len(_SCORES), NUM_BINS, self._num_runs).astype(np.int64)
        measured = self._counts[_KEYS.index("d_grad_norm")] > 0
        histograms = {f"train/{key}_hist": counts[i].T for i, key in enumerate(_SCORES) if measured}
        for tensor in (self._sums, self._nonfinite, self._bins):
            tensor.zero_()
        self._counts = [0] * len(_KEYS)
        return report, histograms

    def keep(self, positions: Tensor) -> None:
        """Keep these rows only."""
        self.settle()
        self._num_runs = len(positions)
        self._sums = self._sums[:, positions]
        self._bins = self._bins[:, positions]
        self._nonfinite = self._nonfinite[positions]
        self._suspects = self._suspects[positions]

    def state_dict(self) -> dict[str, Any]:
        """The interval's sums so far and what is still to be added to them, copied.

        Values that wait stay apart: added earlier than they would be, they could change a sum's last bit.
        """
        return {
            "pending": {key: [value.clone() for value in values] for key, values in self._pending.items()},
            "measured": list(self._measured),
            "sums": self._sums.clone(),
            "counts": list(self._counts),
            "nonfinite": self._nonfinite.clone(),
            "suspects": self._suspects.clone(),
            "bins": self._bins.clone(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        device = self._sums.device
        self._sums = state["sums"].to(device, copy=True)
        self._nonfinite = state["nonfinite"].to(device, copy=True)
        self._suspects = state["suspects"].to(device, copy=True)
        self._bins = state["bins"].to(device, copy=True)
        self._counts = [int(count) for count in state["counts"]]
        self._num_runs = len(self._nonfinite)
        pending = state["pending"]
        self._pending = {key: [value.to(device, copy=True) for value in pending[key]] for key in _KEYS}
        self._measured = [int(index) for index in state["measured"]]


class MeterRows:
    """What recorded iterations tell a meter: each leaves its values in a row, for as long as one may wait.

    It stands in for the meter while an iteration is recorded. Which row is written follows from a counter on
    the device, so that every replay writes another one.
    """

    def __init__(self) -> None:
        self._added: list[tuple[str, tuple[Tensor, ...]]] = []
        self._shapes: list[tuple[str, list[torch.Size]]] = []
        self._rows: Tensor | None = None
        self._told: dict[int, list[tuple[str, tuple[Tensor, ...]]]] = {}

    def add_discriminator(self, loss: Tensor, real: Tensor, fake: Tensor, update: Update | None) -> None:
        """One D step.

        Args:
            loss: (K,).
            real: scores of the real samples, (K, B).
            fake: scores of the fakes, (K, B).
            update: what was measured of its update, if anything was.
        """
        self._added.append(("add_discriminator", (loss, real, fake, *(update or ()))))

    def add_generator(self, loss: Tensor, update: Update | None) -> None:
        """One G step.

        Args:
            loss: (K,).
            update: what was measured of its update, if anything was.
        """
        self._added.append(("add_generator", (loss, *(update or ()))))

    def write(self, position: Tensor) -> None:
        """Put what was added into the row of an iteration; to be recorded as its end.

        Args:
            position: the iteration's number on the device, (1,) int64.

        Raises:
            ValueError: something else than float32 was added.
        """
        values = [value.detach() for _, added in self._added for value in added]
        if any(value.dtype != torch.float32 for value in values):
            raise ValueError("its losses or scores are not float32")
        row = torch.cat([value.reshape(-1) for value in values])
        self._shapes = [(method, [value.shape for value in added]) for method, added in self._added]
        self._added = []
        if self._rows is None:
            self._rows = row.new_zeros(_CHUNK + 1, len(row))
        self._rows.index_copy_(0, position.remainder(len(self._rows)), row.unsqueeze(0))

    def tell(self, iteration: int, meter: Meter) -> None:
        """Add to a meter what an iteration has left, or, on a device that lags behind, what it will leave.

        Args:
            iteration: its number; no later one but the next 64 may have begun when the meter sums.
            meter: whom to tell.
        """
        assert self._rows is not None
        number = iteration % len(self._rows)
        if number not in self._told:
            self._told[number] = self._parts(self._rows[number])
        for method, values in self._told[number]:
            if method == "add_generator":
                meter.add_generator(values[0], Update(*values[1:]) if values[1:] else None)
            else:
                loss, real, fake, *update = values
                meter.add_discriminator(loss, real, fake, Update(*update) if update else None)

    def _parts(self, row: Tensor) -> list[tuple[str, tuple[Tensor, ...]]]:
        sizes = [shape.numel() for _, shapes in self._shapes for shape in shapes]
        parts = iter(torch.split_with_sizes(row, sizes))
        return [
            (method, tuple(next(parts).view(shape) for shape in shapes)) for method, shapes in self._shapes
        ]


def _auc(real: Tensor, fake: Tensor) -> Tensor:
    """P(D(real) > D(fake)) + ½ P(they are equal), by step: (steps, K, B) scores, or (steps, B)."""
    ordered = fake.sort(dim=-1).values
    below, not_above = (torch.searchsorted(ordered, real, right=right) for right in (False, True))
    return (below + not_above).double().mean(-1) / (2 * fake.shape[-1])
