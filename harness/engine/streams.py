"""The random input of training: real batches, latents, labels and mixing weights, for every run its own.

Shapes: K runs, B samples a batch; without the K axis where the population is not stacked.

Input is drawn in blocks of iterations. Block i of a run depends on its seed and i alone, and the block's size
on the recipe alone, so a run sees the same numbers alone or in a population, interrupted or not. Blocks hold
real samples as they are stored; those that are bytes are scaled a batch at a time.

What an iteration sees are views of its block. One that is recorded to be replayed sees copies that a counter
on the device selects; then a block is copied to where the one before it was.

A set that is not on the device stays on the host, and the rows of the next block are brought together in
pinned memory while this one is trained on. The host then waits for the device once an epoch, to learn its
order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.data import gather, scaled
from harness.seeding import generator_for

__all__ = ["Iteration", "Streams"]

_PARTS = ("real", "latents", "mixes", "real_labels", "labels")
_MAX_ITERATIONS = 64
_MAX_BYTES = 2**22  # of real samples or of latents, a run


@dataclass(frozen=True, slots=True)
class Iteration:
    """Input of one iteration.

    Attributes:
        real: one batch for each D step, (K, B, *sample_shape).
        latents: one batch for each batch of fakes, (K, B, latent_dim).
        mixes: for each D step, where between real and fake to look, in [0, 1), (K, B); empty if not wanted.
        real_labels: for each batch of real samples their classes, (K, B) int64; empty if not wanted.
        labels: for each batch of latents the classes to make, (K, B) int64; empty if not wanted.
    """

    real: Sequence[Tensor]
    latents: Sequence[Tensor]
    mixes: Sequence[Tensor]
    real_labels: Sequence[Tensor] = ()
    labels: Sequence[Tensor] = ()


class Streams:
    """All input of K runs.

    Args:
        seeds: the runs' seeds.
        train: the training set, (N, *sample_shape), float32 or uint8; on the device, or on the host, from
            where a block's rows are brought as they are stored.
        device: where input is wanted.
        batch_size: B.
        latent_dim: numbers in a latent.
        num_real: batches of real samples an iteration.
        num_latents: batches of latents an iteration.
        with_mixes: whether mixing weights are wanted.
        train_labels: classes of the training set, (N,) int64, where labels are wanted.
        num_classes: number of classes, where labels are wanted.
        stacked: whether tensors carry the K axis; without it there is one run.
        stays: whether every block lies where the first one did; see `at`.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        train: Tensor,
        *,
        device: torch.device,
        batch_size: int,
        latent_dim: int,
        num_real: int,
        num_latents: int,
        with_mixes: bool,
        stacked: bool,
        train_labels: Tensor | None = None,
        num_classes: int = 0,
        stays: bool = False,
    ) -> None:
        assert stacked or len(seeds) == 1, seeds
        assert (train_labels is None) == (num_classes == 0), num_classes
        self._seeds = tuple(seeds)
        self._train = train
        self._train_labels = train_labels
        self._num_classes = num_classes
        self._device = device
        self._batch_size = batch_size
        self._latent_dim = latent_dim
        self._counts = dict(
            zip(_PARTS, (num_real, num_latents, num_real, num_real, num_latents), strict=True)
        )
        self._with_mixes = with_mixes
        self._stacked = stacked
        self._batches_per_epoch = len(train) // batch_size
        iteration = batch_size * max(num_real * train[0].nbytes, num_latents * latent_dim * 4)
        self.block_size = max(1, min(_MAX_ITERATIONS, _MAX_BYTES // iteration))
        self._stays = stays
        self._block = -1
        self._blocks: dict[str, Tensor] = {}
        self._batches: dict[str, tuple[Tensor, ...]] = dict.fromkeys(_PARTS, ())
        self._orders: dict[int, Tensor] = {}
        self._resident = train.device.type == device.type
        self._host_orders: dict[int, Tensor] = {}
        self._coming: tuple[int, Future[Tensor]] | None = None  # first batch, and the rows of its block
        self._bringer = None if self._resident else ThreadPoolExecutor(1, "rows")

    def __getitem__(self, iteration: int) -> Iteration:
        """Input of this iteration, counted from 0."""
        offset = self.bring(iteration)
        found = {
            name: self._batches[name][offset * count : (offset + 1) * count]
            for name, count in self._counts.items()
        }
        return Iteration(**found | {"real": [scaled(batch) for batch in found["real"]]})

    def bring(self, iteration: int) -> int:
        """Have the block of this iteration at hand, and give the iteration's place in it."""
        block, offset = divmod(iteration, self.block_size)
        if block != self._block:
            self._draw(block)
        return offset

    def at(self, position: Tensor) -> Iteration:
        """Input of an iteration of the block at hand, by its number on the device.

        Nothing here depends on the number as the host knows it, so that the same operations serve for every
        iteration.

        Args:
            position: (1,) int64.
        """
        offset = position.remainder(self.block_size)
        found = {}
        for name, block in self._blocks.items():
            batches = block.view(self.block_size, self._counts[name], *block.shape[1:])
            picked = batches.index_select(0, offset).squeeze(0)
            found[name] = (scaled(picked) if name == "real" else picked).unbind(0)
        return Iteration(**dict.fromkeys(_PARTS, ()) | found)

    def keep(self, positions: Sequence[int]) -> None:
        """Keep these runs only."""
        self._seeds = tuple(self._seeds[position] for position in positions)
        self._block = -1
        self._blocks = {}
        self._orders = {}
        self._host_orders = {}
        self._coming = None

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor held."""
        yield from self._blocks.values()
        yield from self._orders.values()

    def _draw(self, block: int) -> None:
        size = self._batch_size
        num_real, num_latents = (self.block_size * self._counts[name] for name in ("real", "latents"))
        self._draw_real(block * num_real, num_real)
        latents = (num_latents, size, self._latent_dim)
        self._each("latents", "noise", block, lambda **own: torch.randn(latents, **own))
        if self._with_mixes:
            self._each("mixes", "mixes", block, lambda **own: torch.rand((num_real, size), **own))
        if self._num_classes:
            self._each(
                "labels",
                "labels",
                block,
                lambda **own: torch.randint(self._num_classes, (num_latents, size), **own),
            )
        self._block = block

    def _each(self, name: str, purpose: str, block: int, draw: Callable[..., Tensor]) -> None:
        """Take what each run draws from its own generator for this purpose, batch by batch."""
        drawn = [
            draw(generator=generator_for(seed, purpose, block, self._device), device=self._device)
            for seed in self._seeds
        ]
        self._take(name, torch.stack(drawn, dim=1))

    def _draw_real(self, first: int, count: int) -> None:
        """Batches `first` to `first + count` of the run, through as many epochs as they span."""
        per_epoch = self._batches_per_epoch
        ahead = 0 if self._resident else count
        epochs = range(first // per_epoch, (first + count + ahead - 1) // per_epoch + 1)
        self._orders = {
            epoch: self._orders[epoch] if epoch in self._orders else self._order(epoch) for epoch in epochs
        }
        indices = self._indices(self._orders, first, count)
        self._take("real", gather(self._train, indices) if self._resident else self._brought(first, count))
        if self._train_labels is not None:
            self._take("real_labels", gather(self._train_labels, indices))

    def _indices(self, orders: Mapping[int, Tensor], first: int, count: int) -> Tensor:
        """Rows of the training set in these batches, (count, K, B)."""
        per_epoch, size = self._batches_per_epoch, self._batch_size
        epochs = range(first // per_epoch, (first + count - 1) // per_epoch + 1)
        order = torch.cat([orders[epoch] for epoch in epochs], dim=1)
        start = (first - epochs[0] * per_epoch) * size
        return order[:, start : start + count * size].view(-1, count, size).transpose(0, 1)

    def _brought(self, first: int, count: int) -> Tensor:
        """These batches from the host, and have the next block's brought together meanwhile."""
        assert self._bringer is not None
        home = self._train.device
        self._host_orders = {
            epoch: self._host_orders[epoch] if epoch in self._host_orders else order.to(home)
            for epoch, order in self._orders.items()
        }
        if self._coming is None or self._coming[0] != first:
            self._coming = (
                first,
                self._bringer.submit(self._together, self._indices(self._host_orders, first, count)),
            )
        rows = self._coming[1].result()
        self._coming = (
            first + count,
            self._bringer.submit(self._together, self._indices(self._host_orders, first + count, count)),
        )
        return rows.to(self._device, non_blocking=True)

    def _together(self, indices: Tensor) -> Tensor:
        """Rows on the host, where a GPU can fetch them by itself."""
        rows = gather(self._train, indices)
        return rows.pin_memory() if self._device.type == "cuda" else rows

    def _order(self, epoch: int) -> Tensor:
        """The training set's order in this epoch, (K, samples in whole batches)."""
        device, used = self._device, self._batches_per_epoch * self._batch_size
        orders = [
            torch.randperm(
                len(self._train), generator=generator_for(seed, "order", epoch, device), device=device
            )
            for seed in self._seeds
        ]
        return torch.stack([order[:used] for order in orders])

    def _take(self, name: str, block: Tensor) -> None:
        """Take a part of a block, (batches, K, B, ...), for the one at hand."""
        if not self._stacked:
            block = block.squeeze(1)
        if self._stays and name in self._blocks:
            self._blocks[name].copy_(block)
            return
        self._blocks[name] = block = block.contiguous()
        self._batches[name] = block.unbind(0)
