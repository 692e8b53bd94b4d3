"""K runs of the same structure, trained in lockstep.

Shapes: K runs, N or B samples. Row numbers are those the population was made with; they keep their meaning
when runs leave, and `live` lists the ones left, in the order of the first axis of all that goes in or out.

A run leaves in one of two ways. One that diverged is *retired*: its row stays and is computed on, to no end,
so that its neighbours' bits stay what they would have been (the same arithmetic on a matrix of another size
rounds differently here and there). Runs stopped on purpose are dropped by `keep`, and cost nothing more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from harness.data import Dataset, scaled
from harness.engine.growth import GrowthState
from harness.machine import check_precision
from harness.network.precision import multiply
from harness.network.stacked import DRAWS, Network
from harness.objective.objective import Objective
from harness.optim.population import PopulationOptimizer
from harness.optim.rules import Number, per_run, pick
from harness.recipe import Recipe
from harness.recipe.networks import build_discriminator, build_generator
from harness.recipe.structure import structure
from harness.seeding import seed_for, seeded

__all__ = ["Population", "Update"]

_MAX_NUMBERS = 2**20
"""Most numbers in the samples that are evaluated at once; hidden layers hold a few times as many."""


class Update(NamedTuple):
    """What was measured of one update of a network.

    Attributes:
        gradient_norm: ‖g‖ of each run, (K,).
        ratio: ‖Δθ‖/‖θ‖ of each run, (K,): how far the parameters moved for their size.
    """

    gradient_norm: Tensor
    ratio: Tensor


class Population:
    """K runs: two networks, their optimisers, and what differs from run to run.

    Args:
        recipes: one for each run; equal in `structure`.
        seeds: one for each run.
        dataset: what they are trained on.
        device: where.

    Raises:
        ValueError: no runs, not as many seeds as recipes, or structures that differ; or the device does not
            have their precision.
    """

    def __init__(
        self,
        recipes: Sequence[Recipe],
        seeds: Sequence[int],
        *,
        dataset: Dataset,
        device: torch.device | str = "cpu",
    ) -> None:
        _check(recipes, seeds)
        self.device = torch.device(device)
        check_precision(recipes[0].train.precision, str(self.device))
        multiply(tf32=False)
        _keep_freed_memory()
        self.recipe = recipes[0]
        self.recipes = tuple(recipes)
        self.seeds = tuple(seeds)
        self.rows = self.live = tuple(range(len(recipes)))
        self.num_classes = dataset.num_classes
        self._sample_shape = dataset.sample_shape
        self.generator = self._build(build_generator, "init/generator", dataset)
        self.discriminator = self._build(build_discriminator, "init/discriminator", dataset)
        self.generator_optimizer = PopulationOptimizer(
            [recipe.generator_optimizer for recipe in recipes], self.generator.matrix
        )
        self.discriminator_optimizer = PopulationOptimizer(
            [recipe.discriminator_optimizer for recipe in recipes], self.discriminator.matrix
        )
        self.objective = Objective([recipe.loss for recipe in recipes], self.generator.matrix)
        self._average_step = per_run([1 - recipe.train.ema for recipe in recipes], self.generator.matrix)
        self.average = self.generator.matrix.clone() if self.recipe.train.ema else None
        self._growth_state: GrowthState | None = None
        self.onednn = False

    @property
    def stacked(self) -> bool:
        """Whether tensors carry the K axis: a population of one leaves it out."""
        return self.generator.stacked

    @property
    def takes_labels(self) -> bool:
        """Whether any of the two networks is class-conditional."""
        return self.generator.takes_labels or self.discriminator.takes_labels

    def take_onednn(self, taken: bool) -> None:
        """Let oneDNN compute the large products of a single run's linear layers on a CPU, or not.

        Sums are rounded otherwise, so a run keeps to it: `state_dict` holds it.
        """
        self.onednn = taken and self.device.type == "cpu" and not self.stacked
        for network in (self.generator, self.discriminator):
            network.take_onednn(self.onednn)

    def obstacle(self) -> str:
        """Why runs like this one cannot be trained together; empty where they can. Asked of a single run."""
        labels = torch.zeros(2, dtype=torch.int64, device=self.device)
        latents = torch.zeros(2, self.recipe.latent_dim, device=self.device)
        samples = torch.zeros(2, *self._sample_shape, device=self.device)
        found = {
            f"`generator.name` {self.recipe.generator.name}": self.generator.obstacle(latents, labels),
            f"`discriminator.name` {self.recipe.discriminator.name}": self.discriminator.obstacle(
                samples, labels
            ),
            f"`loss.name` {self.recipe.loss.name}": DRAWS if self.objective.draws() else "",
        }
        return "; ".join(f"{name}: {reason}" for name, reason in found.items() if reason)

    def generate(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Samples of every live run, in evaluation mode, of the averaged weights where those are on.

        Args:
            latents: z, (K, N, latent_dim).
            labels: the classes to make, (K, N), or (N,) for all runs the same; only a G that takes labels
                reads them, and it needs them.

        Returns:
            (K, N, *sample_shape).

        Raises:
            ValueError: not as many rows as live runs, or no labels where they are needed.
        """
        return self._all_rows(self.generator, latents, labels, self.average)

    def discriminate(self, samples: Tensor, labels: Tensor | None = None) -> Tensor:
        """D's scores for every live run, in evaluation mode.

        Args:
            samples: (K, N, *sample_shape), or (N, *sample_shape) to show all runs the same; as networks make
                them, or bytes as they are stored.
            labels: their classes, (K, N) or (N,); only a D that takes labels reads them, and it needs them.

        Returns:
            Logits, (K, N).

        Raises:
            ValueError: as for `generate`.
        """
        if samples.ndim == len(self._sample_shape) + 1:
            samples = samples.expand(len(self.live), *samples.shape)
        return self._all_rows(self.discriminator, samples, labels)

    def networks(self, row: int) -> dict[str, Any]:
        """One run's networks as plain modules' state dictionaries, copied: enough to sample and to judge.

        Args:
            row: original row number.

        Returns:
            ``generator``, ``discriminator``, and ``generator_average`` where that is on.
        """
        position = self._position(row)
        state = {
            "generator": self.generator.row_state(position),
            "discriminator": self.discriminator.row_state(position),
        }
        if self.average is not None:
            state["generator_average"] = self.generator.row_state(position, self.average)
        return state

    def run_state(self, row: int) -> dict[str, Any]:
        """All of one run: its `networks`, and the optimisers' buffers, copied."""
        position, state = self._position(row), self.networks(row)
        for name in ("generator_optimizer", "discriminator_optimizer"):
            optimizer: PopulationOptimizer = getattr(self, name)
            buffers = {key: buffer[position].clone() for key, buffer in optimizer.buffers.items()}
            state[name] = {"step": int(optimizer.step), "buffers": buffers}
        return state

    def update_generator(self, gradients: Tensor, *, measured: bool = False) -> Update | None:
        """One update of G, and of its running average where that is on; to be called under `no_grad`.

        Args:
            gradients: of each run's loss by its G's parameters, (K, P); may be overwritten.
            measured: whether to measure it.

        Returns:
            What was measured, where asked for.
        """
        norm = torch.linalg.vector_norm(gradients, dim=1) if measured else None
        ratio = self.generator_optimizer.update(self.generator.matrix, gradients, with_ratio=measured)
        if self.average is not None:
            self.average.lerp_(self.generator.matrix, _column(self._average_step))
        return None if norm is None or ratio is None else Update(norm, ratio)

    def update_discriminator(self, gradients: Tensor, *, measured: bool = False) -> Update | None:
        """One update of D, and the clip of its weights where that is on; to be called under `no_grad`.

        Args:
            gradients: of each run's loss by its D's parameters, (K, P); may be overwritten.
            measured: whether to measure it.

        Returns:
            What was measured, where asked for.
        """
        norm = torch.linalg.vector_norm(gradients, dim=1) if measured else None
        bound = _column(self.objective.weights["weight_clip"]) if self.recipe.loss.weight_clip else None
        ratio = self.discriminator_optimizer.update(
            self.discriminator.matrix, gradients, bound=bound, with_ratio=measured
        )
        return None if norm is None or ratio is None else Update(norm, ratio)

    def grow(self, state: GrowthState) -> None:
        """Let both networks stand where a schedule says.

        When a level begins to be faded in, and when it is wholly there, the optimisers start anew: what they
        remember of gradients' sizes is of another program, and without their count at 0 the first steps of
        new layers would be too long by 1/√(1 − β₂).

        Args:
            state: where.

        Source: Karras et al. (2018), `reset_opt_for_new_lod` of the authors' code. Departure: none.
        """
        if state == self._growth_state:
            return
        if self._growth_state is not None and state.phase != self._growth_state.phase:
            self.generator_optimizer.reset()
            self.discriminator_optimizer.reset()
        self._growth_state = state
        for network in (self.generator, self.discriminator):
            network.grow(state.level, state.alpha)

    @property
    def phase(self) -> tuple[int, bool] | None:
        """What the program of networks that grow depends on, where they do; see `GrowthState.phase`."""
        return None if self._growth_state is None else self._growth_state.phase

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor held: parameters, buffers, what the optimisers remember, the running average."""
        for network in (self.generator, self.discriminator):
            yield network.matrix
            yield network.gradient
            yield from network.buffers.values()
        for optimizer in (self.generator_optimizer, self.discriminator_optimizer):
            yield from optimizer.buffers.values()
        if self.average is not None:
            yield self.average

    def finite(self) -> tuple[Tensor, Tensor]:
        """Whether all numbers of the G and of the D of each row are finite, retired ones too."""
        return self.generator.finite(), self.discriminator.finite()

    def positions(self) -> list[int]:
        """Where the live runs are among the rows, retired ones included."""
        return [self.rows.index(row) for row in self.live]

    def retire(self, rows: Sequence[int]) -> None:
        """Take runs out of the live ones, and leave everything else as it is, bit for bit."""
        self.live = tuple(row for row in self.live if row not in rows)

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these.

        Args:
            rows: row numbers, a subset of `live` in its order.
        """
        kept = [self._position(row) for row in rows]
        positions = torch.tensor(kept, dtype=torch.long, device=self.device)
        self.live = tuple(rows)
        if not rows:
            return
        self.rows = self.live
        for part in (self.generator, self.discriminator, self.objective):
            part.keep(positions)
        for optimizer in (self.generator_optimizer, self.discriminator_optimizer):
            optimizer.keep(kept)
        self._average_step = pick(self._average_step, positions)
        if self.average is not None:
            self.average = self.average[positions]

    def state_dict(self) -> dict[str, Any]:
        """Everything that training has changed, copied."""
        state: dict[str, Any] = {
            "rows": list(self.rows),
            "live": list(self.live),
            "onednn": self.onednn,
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "generator_optimizer": self.generator_optimizer.state_dict(),
            "discriminator_optimizer": self.discriminator_optimizer.state_dict(),
        }
        if self.average is not None:
            state["average"] = self.average.clone()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` of an equal population gave; rows it had dropped are dropped here."""
        if tuple(state["rows"]) != self.rows:
            self.keep(state["rows"])
        self.live = tuple(state["live"])
        self.take_onednn(bool(state.get("onednn", False)))
        self.generator.load_state_dict(state["generator"])
        self.discriminator.load_state_dict(state["discriminator"])
        self.generator_optimizer.load_state_dict(state["generator_optimizer"])
        self.discriminator_optimizer.load_state_dict(state["discriminator_optimizer"])
        if self.average is not None:
            self.average.copy_(state["average"])

    def _position(self, row: int) -> int:
        if row not in self.live:
            raise ValueError(f"row {row} is not live; live rows: {', '.join(map(str, self.live)) or 'none'}.")
        return self.rows.index(row)

    def _all_rows(
        self, network: Network, inputs: Tensor, labels: Tensor | None, matrix: Tensor | None = None
    ) -> Tensor:
        """Evaluate the live runs' inputs, a part at a time where they are many."""
        if len(inputs) != len(self.live):
            raise ValueError(f"input for {len(inputs)} runs was given, but {len(self.live)} are live.")
        if network.takes_labels and labels is None:
            which = "generator" if network is self.generator else "discriminator"
            choice = getattr(self.recipe, which).name
            raise ValueError(f"`{which}.name` {choice} is class-conditional, but no labels were given.")
        if labels is not None:
            labels = labels.expand(inputs.shape[:2])
        size = max(1, _MAX_NUMBERS // (len(self.rows) * math.prod(self._sample_shape)))
        parts = []
        with seeded(self.seeds[0], "evaluation", self.device):
            for start in range(0, max(1, inputs.shape[1]), size):
                given = scaled(self._padded(inputs[:, start : start + size]))
                of_given = None if labels is None else self._padded(labels[:, start : start + size])
                parts.append(network.evaluate(given, of_given, matrix=matrix))
        outputs = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        return outputs if len(self.live) == len(self.rows) else outputs[self.positions()]

    def _padded(self, inputs: Tensor) -> Tensor:
        """Input of the live runs for all rows, on the device; retired ones are shown the first one's."""
        inputs = inputs.to(self.device)
        if len(self.live) == len(self.rows):
            return inputs
        padded = inputs[:1].expand(len(self.rows), *inputs.shape[1:]).clone()
        padded[self.positions()] = inputs
        return padded

    def _build(self, build: Callable[..., nn.Module], purpose: str, dataset: Dataset) -> Network:
        """K networks, each initialised from its own seed, on the CPU, so that every device starts alike."""
        modules = []
        for recipe, seed in zip(self.recipes, self.seeds, strict=True):
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(seed_for(seed, purpose))
                modules.append(build(recipe, dataset.sample_shape, dataset.num_classes))
        return Network(modules, self.device, bf16=self.recipe.train.precision == "bf16")


def _keep_freed_memory() -> None:
    """Teach the C library to keep freed memory instead of handing it back after every step.

    glibc gives large blocks back to the system until it has seen one as large freed; fetching their pages
    again costs some 4 % of a step of medium nets. One block of just under 32 MiB, the largest it learns from,
    is enough.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)


def _column(value: Number) -> Any:
    """A per-run number shaped to scale the rows of a (K, P) matrix."""
    return value.unsqueeze(1) if isinstance(value, Tensor) else value


def _check(recipes: Sequence[Recipe], seeds: Sequence[int]) -> None:
    if not recipes:
        raise ValueError("a population needs at least one run, but got none.")
    if len(seeds) != len(recipes):
        raise ValueError(
            f"a population needs one seed a run, but got {len(recipes)} runs and {len(seeds)} seeds."
        )
    first = dict(structure(recipes[0]))
    for recipe in recipes[1:]:
        other = dict(structure(recipe))
        key = next((key for key in {**first, **other} if first.get(key) != other.get(key)), None)
        if key is not None:
            values = [candidate.flat().get(key, "nothing") for candidate in (recipes[0], recipe)]
            raise ValueError(
                f"runs of one population must have the same structure, but `{key}` is {values[0]} in one and "
                f"{values[1]} in another; put them into separate populations."
            )
