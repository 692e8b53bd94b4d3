"""The training loop.

Shapes: K live runs, B samples a batch. Samples are (K, B, ...), scores and labels (K, B); a population of one
leaves the K axis out. A *step* is one batch of real data shown to D; an iteration is all D and G steps of one
turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.data import Dataset
from harness.engine import checkpoint
from harness.engine.capture import Replays, recorder_for
from harness.engine.events import EvaluationDue, Event, Finished, Logged, Paused, RunsDiverged, SamplesDue
from harness.engine.growth import growth_of
from harness.engine.meter import Meter, MeterRows
from harness.engine.population import Population
from harness.engine.schedule import Schedule, count_steps, log_spaced_steps
from harness.engine.streams import Iteration, Streams
from harness.network.precision import multiplying
from harness.network.stacked import Tape
from harness.objective.objective import Labelled, joined, labelled
from harness.seeding import RandomState, generator_for

__all__ = ["EVERY_KIND", "Trainer", "part_of_state"]

EVERY_KIND = 10
"""Iterations one after the other among which one is measured: a norm costs as much as a part of an update."""
_LOOK_SEC = 1.0
_STAGES = ("log", "check", "evaluate", "samples", "finish")


class Trainer:
    """Trains a population and yields events; what to do about them is the consumer's business.

    A state taken at any event, loaded into a new trainer of an equal population, yields the events that would
    have followed; on a CPU they are equal bit for bit.

    Args:
        population: the runs.
        dataset: what they are trained on; best on the population's device already, or it is brought there.
        log_every_steps: D steps between two `Logged` events; by default 250, or a thousandth of the whole.

    Raises:
        ValueError: the data set has less than one batch, or the schedule less than one iteration, or networks
            that grow would not be grown up in the end.
    """

    def __init__(
        self, population: Population, dataset: Dataset, *, log_every_steps: int | None = None
    ) -> None:
        train = population.recipe.train
        self.population = population
        self.steps_per_epoch, self.total_steps = count_steps(train, len(dataset.train), dataset.name)
        if log_every_steps is not None and log_every_steps < 1:
            raise ValueError(f"`log_every_steps` must be at least 1, but got {log_every_steps}.")
        self.log_every_steps = log_every_steps or max(250, self.total_steps // 1000)
        num_grids, stride = population.recipe.evaluate.num_grids, train.discriminator_steps
        self._schedule = Schedule(
            total_steps=self.total_steps,
            stride=stride,
            log_every_steps=self.log_every_steps,
            evaluate_every_steps=population.recipe.evaluate.every_epochs * self.steps_per_epoch,
            sample_steps=log_spaced_steps(self.total_steps, max(2, num_grids), multiple_of=stride)
            if num_grids
            else (),
        )
        self._growth = growth_of(train, population.generator.num_levels, self.total_steps)
        self._side = dataset.sample_shape[-1]
        self.go_to(0)
        self._stage = 0
        self._dataset_fingerprint = dataset.fingerprint
        reused = int(train.reuse_fakes)
        dataset = dataset.to(population.device)
        self._is_recorded = population.device.type != "cpu" or recorder_for(population.device) is not None
        self._streams = Streams(
            population.seeds,
            dataset.train,
            device=population.device,
            batch_size=train.batch_size,
            latent_dim=population.recipe.latent_dim,
            num_real=train.discriminator_steps,
            num_latents=train.discriminator_steps + train.generator_steps - reused,
            with_mixes=population.recipe.loss.gradient_penalty > 0,
            stacked=population.stacked,
            train_labels=dataset.train_labels if population.takes_labels else None,
            num_classes=dataset.num_classes if population.takes_labels else 0,
            stays=self._is_recorded,
        )
        self._replays = self._new_replays()
        self._fixed_latents: dict[tuple[int, int], Tensor] = {}
        self._meter = Meter(len(population.live), population.device)
        self._random_state = RandomState(population.seeds[0], population.device)

    @property
    def live(self) -> tuple[int, ...]:
        """Rows still training, in the order of every array's first axis."""
        return self.population.live

    def run(self, asked: Callable[[], bool] = lambda: False) -> Iterator[Event]:
        """Train to the end, from wherever training stands.

        Args:
            asked: whether to pause; asked every second or so between two events, after an iteration.
        """
        while True:
            while self._stage < len(_STAGES):
                stage = _STAGES[self._stage]
                self._stage += 1
                event = self._report(stage)
                if event is not None:
                    yield event
            if self._done:
                return
            due = self._schedule.next_after(self.step)
            self.advance((due - self.step) // self.population.recipe.train.discriminator_steps, asked)
            if self.step < due:
                yield Paused(step=self.step)
            else:
                self._stage = 0

    def keep(self, rows: Sequence[int]) -> None:
        """Stop all runs but these, and drop their rows; allowed at any event.

        Args:
            rows: original row numbers, a subset of `live`; any order.
        """
        kept = [row for row in self.live if row in set(rows)]
        if len(kept) < len(self.live):
            self._drop(kept)

    def _drop(self, kept: Sequence[int]) -> None:
        positions = [self.population.rows.index(row) for row in kept]
        self._fixed_latents.clear()
        self._meter.keep(torch.tensor(positions, dtype=torch.long, device=self.population.device))
        self._streams.keep(positions)
        self.population.keep(kept)
        self._replays = self._new_replays()

    def _new_replays(self) -> Replays | None:
        """What runs iterations where their rows are as they are now; None where they are computed as ever."""
        if not self._is_recorded:
            return None
        return Replays(self.population, self._streams, recorder_for(self.population.device))

    def fixed_latents(self, row: int, num_samples: int) -> Tensor:
        """The latents by which a run is judged, the same at every call and on every device; drawn once.

        Args:
            row: original row number.
            num_samples: N.

        Returns:
            z, (N, latent_dim), on the population's device.
        """
        if (row, num_samples) not in self._fixed_latents:
            generator = generator_for(self.population.seeds[row], "evaluation", 0, torch.device("cpu"))
            latents = torch.randn(num_samples, self.population.recipe.latent_dim, generator=generator)
            self._fixed_latents[row, num_samples] = latents.to(self.population.device)
        return self._fixed_latents[row, num_samples]

    def fixed_labels(self, num_samples: int) -> Tensor | None:
        """The classes that go with `fixed_latents`: every class in turn, so that grids have columns of them.

        Args:
            num_samples: N.

        Returns:
            (N,) int64 on the population's device, or None where neither network takes labels.
        """
        if not self.population.takes_labels:
            return None
        return torch.arange(num_samples, device=self.population.device) % self.population.num_classes

    @property
    def spent(self) -> dict[str, int]:
        """What each live run has spent so far: D steps, G steps, real images seen."""
        train = self.population.recipe.train
        return {
            "discriminator_steps": self.step,
            "generator_steps": self.step // train.discriminator_steps * train.generator_steps,
            "seen_images": self.step * train.batch_size,
        }

    def state_dict(self) -> dict[str, Any]:
        """All that the future depends on, as numbers, strings and tensors; valid at any event."""
        return {
            "step": self.step,
            "stage": self._stage,
            "identity": self._identity(),
            "population": self.population.state_dict(),
            "meter": self._meter.state_dict(),
            "random_state": self._random_state.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where `state_dict` was called.

        Args:
            state: of a trainer with the same recipes, seeds and data; this one must be untouched.

        Raises:
            ValueError: it is of other recipes, seeds or data.
        """
        checkpoint.check_identity(self._identity(), state["identity"])
        rows = tuple(state["population"]["rows"])
        if rows != self.population.rows:
            self._drop(rows)
        self.go_to(int(state["step"]))
        self.population.load_state_dict(state["population"])
        self._meter.load_state_dict(state["meter"])
        self._random_state.load_state_dict(state["random_state"])
        self._stage = int(state["stage"])

    @torch.no_grad()
    def iterate(
        self, batches: Iteration, meter: Meter | MeterRows | None = None, *, measured: bool = False
    ) -> None:
        """One iteration: the updates of both networks, in the recipe's order.

        Args:
            batches: its input.
            meter: told its statistics; the trainer's own by default.
            measured: whether to measure what each update does, and D's scores.
        """
        meter = self._meter if meter is None else meter
        train, generator = self.population.recipe.train, self.population.generator
        shown = batches.real
        if self._growth is not None:
            shown = [self.population.discriminator.fade(batch) for batch in shown]
        reals = labelled(shown, batches.real_labels)
        sources = iter(labelled(batches.latents, batches.labels))
        last = train.discriminator_steps - 1
        made: tuple[Labelled, Tape] | None = None

        def make() -> tuple[Labelled, Tape]:
            latents, labels = next(sources)
            fake, tape = generator.record(latents, labels)
            return (fake, labels), tape

        if train.order == "generator-first":
            for _ in range(train.generator_steps):
                made = make()
                self._step_generator(*made, reals[0], meter, measured)
        for index, real in enumerate(reals):
            if not (train.reuse_fakes and index == last):
                latents, labels = next(sources)
                fake = generator(latents, labels), labels
            else:
                if train.order == "discriminator-first":
                    made = make()
                assert made is not None
                fake = made[0]
            mixes = batches.mixes[index] if batches.mixes else None
            self._step_discriminator(real, fake, mixes, meter, measured)
        if train.order == "discriminator-first":
            for index in range(train.generator_steps):
                if index or not train.reuse_fakes:
                    made = make()
                assert made is not None
                self._step_generator(*made, reals[-1], meter, measured)

    def advance(
        self, iterations: int, asked: Callable[[], bool] = lambda: False, *, replayed: bool = True
    ) -> int:
        """Train for a number of iterations, or fewer where `asked` says so, without any event.

        Args:
            iterations: how many.
            asked: asked about once a second whether to stop.
            replayed: whether iterations may be replayed, where the device can; else all are computed.

        Returns:
            The D steps taken.
        """
        stride, first = self.population.recipe.train.discriminator_steps, self.step
        looked = time.monotonic()
        precision = self.population.recipe.train.precision
        with self._random_state.installed(), multiplying(precision):
            for _ in range(iterations):
                index = self.step // stride
                measured = index % EVERY_KIND == 0 or self._schedule.is_evaluated(self.step + stride)
                if self._replays is None or not replayed:
                    self.iterate(self._streams[index], measured=measured)
                else:
                    early = self.step < self.population.recipe.loss.early_steps
                    key = (self.population.phase, early, measured)
                    self._replays.run(index, key, partial(self.iterate, measured=measured), self._meter)
                self.go_to(self.step + stride)
                if time.monotonic() - looked >= _LOOK_SEC:
                    if asked():
                        break
                    looked = time.monotonic()
        return self.step - first

    def stretches(self) -> list[tuple[int, int]]:
        """(first step, steps) of each part of the run within which all steps cost the same, in order."""
        if self._growth is None:
            return [(0, self.total_steps)]
        return self._growth.stretches(self.population.recipe.train, self.total_steps)

    def go_to(self, step: int) -> None:
        """Put the networks where they stand at a step, without training up to it; for measuring speed."""
        self.step = step
        if self._growth is not None:
            self.population.grow(self._growth.at(step * self.population.recipe.train.batch_size))

    @property
    def growth_state(self) -> dict[str, float]:
        """Where networks that grow stand, `growth/size` in pixels a side and `growth/alpha`; else nothing."""
        if self._growth is None:
            return {}
        return self._growth.at(self.spent["seen_images"]).numbers(self._growth.num_levels, self._side)

    @property
    def obstacle(self) -> str:
        """Why iterations are not replayed on a device that could; empty where they are, or on a CPU."""
        return "" if self._replays is None else self._replays.obstacle

    @property
    def iterations(self) -> str:
        """How iterations are made, in words, for the record of a run; empty on a CPU."""
        if self._replays is None:
            return ""
        return f"computed: {self.obstacle}" if self.obstacle else "replayed as CUDA graphs"

    def input(self, iteration: int) -> Iteration:
        """What an iteration, counted from 0, is trained on; the same whenever it is asked for."""
        return self._streams[iteration]

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor that lives as long as training does, the data set apart."""
        yield from self.population.tensors()
        yield from self._streams.tensors()

    def _step_discriminator(
        self,
        real: Labelled,
        fake: Labelled,
        mixes: Tensor | None,
        meter: Meter | MeterRows,
        measured: bool,
    ) -> None:
        discriminator, objective = self.population.discriminator, self.population.objective
        if discriminator.mixes_samples:
            real_scores, of_real = discriminator.record(*real)
            fake_scores, of_fake = discriminator.record(*fake)
            loss, (by_real, by_fake) = objective.derive_discriminator(real_scores, fake_scores)
            gradients = discriminator.backward_both((of_real, by_real), (of_fake, by_fake))
        else:  # one forward pass does for both
            both = joined(real, fake, axis=int(self.population.stacked))
            size = both[0].shape[int(self.population.stacked)] // 2
            scores, tape = discriminator.record(*both)
            real_scores, fake_scores = torch.split_with_sizes(scores, [size, size], dim=-1)
            loss, by_scores = objective.derive_discriminator(real_scores, fake_scores)
            gradients = discriminator.backward(tape, torch.cat(by_scores, dim=-1))
        if objective.has_penalties:
            penalty = objective.penalty(discriminator.exact, real, fake, mixes)
            loss = loss + penalty.detach()
            gradients += discriminator.gradients(penalty)
        update = self.population.update_discriminator(gradients, measured=measured)
        meter.add_discriminator(loss, real_scores, fake_scores, update)

    def _step_generator(
        self, fake: Labelled, tape: Tape, real: Labelled, meter: Meter | MeterRows, measured: bool
    ) -> None:
        population, objective = self.population, self.population.objective
        discriminator = population.discriminator
        real_scores = discriminator(*real) if objective.generator(self.step).compares else None
        fake_scores, through = discriminator.record(*fake, to_inputs=True)
        loss, by_scores = objective.derive_generator(self.step, fake_scores, real_scores)
        by_fake = discriminator.backward(through, by_scores)
        update = population.update_generator(population.generator.backward(tape, by_fake), measured=measured)
        meter.add_generator(loss, update)

    @property
    def _done(self) -> bool:
        return self.step >= self.total_steps or not self.live

    def _report(self, stage: str) -> Event | None:
        if stage == "check":
            return self._check()
        if stage == "finish":
            return Finished(step=self.step) if self._done else None
        if not self.live:
            return None
        schedule = self._schedule
        if stage == "log":
            return self._log() if schedule.is_logged(self.step) else None
        if stage == "samples":
            due = schedule.is_pictured(self.step)
            return SamplesDue(step=self.step, epoch=self.step / self.steps_per_epoch) if due else None
        if not schedule.is_evaluated(self.step):
            return None
        final = self.step >= self.total_steps
        recipe, evaluations = self.population.recipe, self.step // schedule.evaluate_every_steps
        epoch = recipe.train.epochs if final else evaluations * recipe.evaluate.every_epochs
        return EvaluationDue(step=self.step, epoch=epoch, final=final)

    def _log(self) -> Logged:
        positions = self.population.positions()
        metrics, histograms = self._meter.report()
        return Logged(
            step=self.step,
            epoch=self.step / self.steps_per_epoch,
            metrics={key: values[positions] for key, values in metrics.items()}
            | {key: np.full(len(positions), value) for key, value in self.growth_state.items()},
            histograms={key: counts[positions] for key, counts in histograms.items()},
        )

    def _check(self) -> RunsDiverged | None:
        """Retire the runs that are no longer finite."""
        if not self.live:
            return None
        generator, discriminator = self.population.finite()
        suspects = self._meter.suspects()
        fine = torch.stack([generator, discriminator, suspects == 0])[:, self.population.positions()].cpu()
        bad = [position for position in range(len(self.live)) if not fine[:, position].all()]
        if not bad:
            return None
        rows = tuple(self.live[position] for position in bad)
        whats = ("the generator", "the discriminator", "a loss")
        reasons = tuple(
            f"{', '.join(w for w, ok in zip(whats, fine[:, position], strict=True) if not ok)} "
            f"was not finite by step {self.step}"
            for position in bad
        )
        self.population.retire(rows)
        return RunsDiverged(step=self.step, rows=rows, reasons=reasons)

    def _identity(self) -> dict[str, Any]:
        return {
            "recipes": [recipe.fingerprint for recipe in self.population.recipes],
            "seeds": list(self.population.seeds),
            "data": self._dataset_fingerprint,
            "schedule": [self.total_steps, self.log_every_steps],
        }


def part_of_state(state: Mapping[str, Any], rows: range) -> dict[str, Any] | None:
    """A trainer's state, cut down to some of its rows: the state of a trainer of these alone.

    The statistics that wait to be summed are summed first, which may change the last bit of an interval's.

    Args:
        state: what `Trainer.state_dict` gave, on the CPU.
        rows: original row numbers, next to one another; they are counted from 0 in the part.

    Returns:
        The part; None where all of these rows have been dropped.
    """
    population, identity = state["population"], state["identity"]
    held = [row for row in population["rows"] if row in rows]
    if not held:
        return None
    positions = torch.tensor([population["rows"].index(row) for row in held], dtype=torch.long)

    def cut(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: cut(item) for key, item in value.items()}
        return value[positions] if isinstance(value, Tensor) else value

    meter = Meter(len(population["rows"]), torch.device("cpu"))
    meter.load_state_dict(state["meter"])
    meter.keep(positions)
    own = slice(rows.start, rows.stop)
    return {
        **state,
        "identity": {**identity, "recipes": identity["recipes"][own], "seeds": identity["seeds"][own]},
        "population": {
            **{key: cut(value) for key, value in population.items()},
            "rows": [row - rows.start for row in held],
            "live": [row - rows.start for row in population["live"] if row in rows],
        },
        "meter": meter.state_dict(),
    }
