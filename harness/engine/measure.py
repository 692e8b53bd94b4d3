"""How fast a recipe trains on this device, and how many runs at once are best.

Shapes: K runs in lockstep.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from harness.data import Dataset
from harness.engine.population import Population
from harness.engine.trainer import EVERY_KIND, Trainer
from harness.machine import resident_bytes
from harness.network.products import onednn_pays
from harness.recipe import Recipe
from harness.recipe.networks import operation_counter

__all__ = ["Measurement", "best_population", "measure"]

_SIZES = (1, 2, 4, 8)
_SIZES_CUDA = (1, 2, 4, 8, 16, 32, 64)
_ROUNDS = 5
_BUDGET_SEC = 1.5
_CLEAR_LOSS, _CLEAR_GAIN = 1.3, 1.6
"""How much faster a CPU must train eight runs at once for that to be clearly no better, or clearly better.

Nets bound by arithmetic gain nothing (1.0 to 1.25 measured, on a machine with other work to do), tiny ones
2.4.
"""
_SMALL_STEP = 20e6
"""Multiply-adds of a D step below which a CPU spends more on launching operations than on computing them.

There runs are trained together unless they clearly gain nothing, and above it only if they clearly gain.
"""
_WITHIN = 1.15  # on a GPU the smallest population is taken that is this close to the fastest
_LONG_STEP_SEC = 0.02  # a longer step of one run on a CPU is all arithmetic, and a larger K gains nothing
_MEMORY_SHARE = 0.5  # of what is free


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What a recipe costs on one device.

    Attributes:
        population: how many runs K to train in lockstep; see `best_population`.
        step_sec_by_size: K → seconds of one D step of one run, its share of G steps included, at every K
            measured: the median of a few rounds. Of networks that grow, the mean over a run.
        memory_bytes: peak memory of training a population of the best size; measured on a GPU, with what its
            graphs hold, and on a CPU what lives between steps and what a forward pass of both networks keeps.
        total_steps: D steps of a whole run.
        multiply_adds: multiplications with an addition that one run takes in all: forward and backward passes
            of both networks and penalties, as torch computes them, without updates and diagnostics.
        num_threads: CPU threads it was measured with.
        host_bytes: memory that the measuring process took of the machine in the end, its libraries and data
            included; 0 where the system does not tell.
        obstacle: why torch cannot train several runs together, where it cannot; only K = 1 is timed then.
        onednn: whether oneDNN is to compute large products of a run that trains alone on the CPU.
        eager: why a GPU cannot replay the iterations of the best size whole, where it cannot.
    """

    population: int
    step_sec_by_size: Mapping[int, float]
    memory_bytes: int
    total_steps: int
    multiply_adds: int
    num_threads: int
    host_bytes: int = 0
    obstacle: str = ""
    onednn: bool = False
    eager: str = ""


def measure(
    recipe: Recipe,
    dataset: Dataset,
    device: torch.device | str = "cpu",
    *,
    num_threads: int | None = None,
    population: int | None = None,
    budget_sec: float = _BUDGET_SEC,
    sharing: int = 1,
) -> Measurement:
    """Time a recipe at K = 1, 2, 4, ... for a moment each, as far as memory goes.

    On a CPU the sizes take turns: what else the machine does then disturbs all of them alike. Where a step
    takes long, two of them are all that is timed, and on a CPU K = 1 alone.

    Args:
        recipe: what to train.
        dataset: on what.
        device: where.
        num_threads: CPU threads; by default as many as are set now.
        population: the K to time, where it is settled already.
        budget_sec: seconds all timings may take, roughly.
        sharing: processes that are to share a GPU's memory.

    Returns:
        The costs, and the K to take.
    """
    device = torch.device(device)
    threads_before = torch.get_num_threads()
    threads = num_threads or threads_before
    torch.set_num_threads(threads)
    try:
        sizes: tuple[int, ...] = _SIZES_CUDA if device.type == "cuda" else _SIZES
        if population is not None:
            sizes = (population,)
        rounds: dict[int, list[float]] = {}
        memory: dict[int, int] = {}
        eager: dict[int, str] = {}
        trainer = _trainer(recipe, dataset, device, 1)
        total_steps, multiply_adds = trainer.total_steps, _count(trainer)
        trainer.population.take_onednn(onednn_pays())
        onednn = trainer.population.onednn
        obstacle = trainer.population.obstacle()
        if obstacle:
            sizes = (1,)
        timed: dict[int, Trainer] = {}
        for size in sizes:
            try:
                if size > 1:
                    trainer = _trainer(recipe, dataset, device, size)
                    trainer.advance(1)
                if device.type == "cuda":
                    _pass(trainer, EVERY_KIND)  # each is recorded at its first
                    rounds |= _rounds({size: trainer}, budget_sec / len(sizes))
                memory[size], eager[size] = _memory(trainer), trainer.obstacle
            except torch.OutOfMemoryError:
                if not memory:
                    raise
                rounds.pop(size, None)
                break
            if device.type == "cpu":
                timed[size] = trainer
                if len(sizes) > 1 and size == 1 and _pass(trainer, 1) > _LONG_STEP_SEC:
                    break
            if 2 * memory[size] > _memory_allowed(device, threads, sharing):
                break
        if timed:
            rounds = _rounds(timed, budget_sec)
        best = best_population(rounds, multiply_adds / total_steps, device)
        return Measurement(
            population=best,
            step_sec_by_size={size: statistics.median(found) for size, found in rounds.items()},
            memory_bytes=memory[best],
            total_steps=total_steps,
            multiply_adds=multiply_adds,
            num_threads=threads,
            host_bytes=resident_bytes(),
            obstacle=obstacle,
            onednn=onednn and best == 1,
            eager=eager[best],
        )
    finally:
        torch.set_num_threads(threads_before)


def best_population(rounds: Mapping[int, Sequence[float]], multiply_adds: float, device: torch.device) -> int:
    """How many runs to train together.

    On a CPU it is one or the largest size. The gain is the median, over the rounds, of the ratio of the two
    times of a round. Where it is clear, it decides; else what a step computes does, which is the same in
    every measurement.

    Args:
        rounds: K → seconds of one D step of one run, round by round.
        multiply_adds: of one D step of one run.
        device: where they were timed.
    """
    times = {size: statistics.median(found) for size, found in rounds.items()}
    if device.type != "cpu":
        return min(size for size, sec in times.items() if sec <= _WITHIN * min(times.values()))
    largest = max(rounds)
    if 1 not in rounds or largest == 1:
        return largest
    gain = statistics.median(one / many for one, many in zip(rounds[1], rounds[largest], strict=True))
    together = gain >= _CLEAR_GAIN or (gain > _CLEAR_LOSS and multiply_adds <= _SMALL_STEP)
    return largest if together else 1


def _trainer(recipe: Recipe, dataset: Dataset, device: torch.device, size: int) -> Trainer:
    return Trainer(Population([recipe] * size, range(size), dataset=dataset, device=device), dataset)


def _count(trainer: Trainer) -> int:
    """Multiply-adds of a whole run, from one iteration at each size that networks grow through."""
    total = 0.0
    for first, steps in trainer.stretches():
        trainer.go_to(first)
        with operation_counter() as counter:
            taken = trainer.advance(1, replayed=False)
        total += counter.total / 2 / taken * steps
    return round(total)


def _rounds(trainers: Mapping[int, Trainer], budget_sec: float) -> dict[int, list[float]]:
    """K → seconds of one D step of one run, in every round, in which the sizes take turns.

    Trainers are left at the last of the sizes that networks grow through, which takes most memory.
    """
    started = time.perf_counter()
    first = {size: [_pass(trainer, 1) / size] for size, trainer in trainers.items()}
    took = time.perf_counter() - started
    if _ROUNDS * took > budget_sec:
        return {size: [*first[size], _pass(trainer, 1) / size] for size, trainer in trainers.items()}
    iterations = max(1, int(budget_sec / took / _ROUNDS))
    found: dict[int, list[float]] = {size: [] for size in trainers}
    for _ in range(_ROUNDS):
        for size, trainer in trainers.items():
            found[size].append(_pass(trainer, iterations) / size)
    return found


def _pass(trainer: Trainer, iterations: int) -> float:
    """Seconds a D step of the whole population takes, over all sizes that networks grow through."""
    stretches = trainer.stretches()
    total = 0.0
    for first, steps in stretches:
        trainer.go_to(first)
        total += _time(trainer, iterations) * steps
    return total / sum(steps for _, steps in stretches)


def _time(trainer: Trainer, iterations: int) -> float:
    """Seconds a D step takes, over a few iterations.

    On a CPU it is the time that this process computes, not the time that passes: what else the machine does
    must not decide how many runs train together, nor what a study is said to cost.
    """
    on_cpu = trainer.population.device.type == "cpu"
    clock = time.process_time if on_cpu else time.perf_counter
    _synchronize(trainer)
    start = clock()
    steps = trainer.advance(iterations)
    _synchronize(trainer)
    return (clock() - start) / steps / (torch.get_num_threads() if on_cpu else 1)


def _memory(trainer: Trainer) -> int:
    """Bytes of training, the data set not counted."""
    device = trainer.population.device
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        trainer.advance(2)
        torch.cuda.synchronize(device)
        return int(torch.cuda.max_memory_reserved(device))  # a graph's memory is set aside, and not allocated
    held: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        held[storage.data_ptr()] = storage.nbytes()
        return tensor

    population, batches = trainer.population, trainer.input(0)
    labels = batches.labels[0] if batches.labels else None
    with torch.no_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        fake, of_generator = population.generator.record(batches.latents[0], labels)
        both = torch.cat([batches.real[0], fake], dim=int(population.stacked))
        if labels is not None:
            labels = torch.cat([batches.real_labels[0], labels], dim=int(population.stacked))
        _, of_discriminator = population.discriminator.record(both, labels)
    kept = [*of_generator.tensors(), *of_discriminator.tensors()]
    for tensor in (*trainer.tensors(), *kept):
        note(tensor)
    return sum(held.values())


def _memory_allowed(device: torch.device, threads: int, sharing: int) -> float:
    """Bytes one population may take; others like it train on the other cores, and in `sharing` on a GPU."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        return _MEMORY_SHARE * torch.cuda.mem_get_info(device)[0] / sharing
    populations = max(1, (os.cpu_count() or 1) // threads)
    return _MEMORY_SHARE * _free_memory() / populations


def _free_memory() -> float:
    """Bytes of the machine that are free, as far as the system tells it."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        free = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) * 1024.0
    except (OSError, StopIteration, ValueError):
        return math.inf
    try:  # a container's limit
        group = Path("/sys/fs/cgroup")
        limit, used = (
            float((group / f"memory.{name}").read_text(encoding="utf-8")) for name in ("max", "current")
        )
        return min(free, limit - used)
    except (OSError, ValueError):
        return free


def _synchronize(trainer: Trainer) -> None:
    if trainer.population.device.type == "cuda":
        torch.cuda.synchronize(trainer.population.device)
