"""How fast a recipe trains on this device, and how many runs at once are best.

Shapes: K runs in lockstep.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from harness.data import Dataset
from harness.engine.population import Population
from harness.engine.trainer import Trainer
from harness.recipe import Recipe
from harness.recipe.networks import operation_counter

__all__ = ["Measurement", "measure"]

_SIZES = (1, 2, 4, 8)
_SIZES_CUDA = (1, 2, 4, 8, 16, 32, 64)
_REPEATS = 3
_BUDGET_SEC = 1.5
_NEEDED_GAIN = 1.15
_LONG_STEP_SEC = 0.02  # a longer step of one run on a CPU is all arithmetic, and a larger K gains nothing
_MEMORY_SHARE = 0.5  # of what is free


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What a recipe costs on one device.

    Attributes:
        population: the best number K of runs in lockstep. More than one only where it trains at least
            15 % more run-steps a second, so that two measurements agree.
        step_sec_by_size: K → seconds of one D step of one run, its share of G steps included, at every K
            measured; larger ones are left out once K is clearly too large. Of networks that grow, the mean
            over a run.
        memory_bytes: peak memory of training a population of the best size; measured on a GPU, and on a CPU
            what lives between steps and what a forward pass of both networks keeps.
        total_steps: D steps of a whole run.
        multiply_adds: multiplications with an addition that one run takes in all: forward and backward passes
            of both networks and penalties, as torch computes them, without updates and diagnostics.
        num_threads: CPU threads it was measured with.
        obstacle: why torch cannot train several runs together, where it cannot; only K = 1 is timed then.
    """

    population: int
    step_sec_by_size: Mapping[int, float]
    memory_bytes: int
    total_steps: int
    multiply_adds: int
    num_threads: int
    obstacle: str = ""


def measure(
    recipe: Recipe,
    dataset: Dataset,
    device: torch.device | str = "cpu",
    *,
    num_threads: int | None = None,
    population: int | None = None,
    budget_sec: float = _BUDGET_SEC,
) -> Measurement:
    """Time a recipe at K = 1, 2, 4, ... for a moment each, as far as memory goes.

    Where a step takes long, two of them are all that is timed, and on a CPU K = 1 alone.

    Args:
        recipe: what to train.
        dataset: on what.
        device: where.
        num_threads: CPU threads; by default as many as are set now.
        population: the K to time, where it is settled already.
        budget_sec: seconds all timings may take, roughly.

    Returns:
        The costs, and the best K.
    """
    device = torch.device(device)
    threads_before = torch.get_num_threads()
    threads = num_threads or threads_before
    torch.set_num_threads(threads)
    try:
        sizes: tuple[int, ...] = _SIZES_CUDA if device.type == "cuda" else _SIZES
        if population is not None:
            sizes = (population,)
        times: dict[int, float] = {}
        memory: dict[int, int] = {}
        total_steps = 0
        trainer = _trainer(recipe, dataset, device, 1)
        multiply_adds = _count(trainer)
        obstacle = trainer.population.obstacle()
        if obstacle:
            sizes = (1,)
        for size in sizes:
            try:
                if size > 1:
                    trainer = _trainer(recipe, dataset, device, size)
                times[size] = _mean_time(trainer, budget_sec / len(sizes), warm=size == 1) / size
                memory[size] = _memory(trainer)
            except torch.OutOfMemoryError:
                times.pop(size, None)
                if not times:
                    raise
                break
            total_steps = trainer.total_steps
            long = device.type == "cpu" and times[size] > _LONG_STEP_SEC
            if long or (size > 2 and times[size] > min(times.values()) * 1.2):
                break
            if 2 * memory[size] > _memory_allowed(device, threads):
                break
        best = min(times, key=lambda size: times[size])
        if times.get(1, math.inf) < _NEEDED_GAIN * times[best]:
            best = 1
        return Measurement(
            population=best,
            step_sec_by_size=times,
            memory_bytes=memory[best],
            total_steps=total_steps,
            multiply_adds=multiply_adds,
            num_threads=threads,
            obstacle=obstacle,
        )
    finally:
        torch.set_num_threads(threads_before)


def _trainer(recipe: Recipe, dataset: Dataset, device: torch.device, size: int) -> Trainer:
    return Trainer(Population([recipe] * size, range(size), dataset=dataset, device=device), dataset)


def _count(trainer: Trainer) -> int:
    """Multiply-adds of a whole run, from one iteration at each size that networks grow through."""
    total = 0.0
    for first, steps in trainer.stretches():
        trainer.go_to(first)
        with operation_counter() as counter:
            taken = trainer.advance(1)
        total += counter.total / 2 / taken * steps
    return round(total)


def _mean_time(trainer: Trainer, budget_sec: float, *, warm: bool) -> float:
    """Seconds a D step of the whole population takes, over all sizes that networks grow through.

    The trainer is left at the last of them, which takes most memory.
    """
    stretches = trainer.stretches()
    total = 0.0
    for first, steps in stretches:
        trainer.go_to(first)
        total += _time(trainer, budget_sec / len(stretches), warm=warm) * steps
    return total / sum(steps for _, steps in stretches)


def _time(trainer: Trainer, budget_sec: float, *, warm: bool) -> float:
    """Seconds a D step of the whole population takes: the least of a few stretches, once it is warm."""
    started = time.perf_counter()
    if not warm:
        trainer.advance(1)
    _synchronize(trainer)
    warmed = time.perf_counter()
    first = _stretch(trainer, 1)
    ended = time.perf_counter()
    if _REPEATS * (ended - warmed) > budget_sec:
        return min(first, _stretch(trainer, 1))
    iterations = max(1, int((budget_sec - (ended - started)) / (ended - warmed) / _REPEATS))
    return min(_stretch(trainer, iterations) for _ in range(_REPEATS))


def _stretch(trainer: Trainer, iterations: int) -> float:
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
        torch.cuda.reset_peak_memory_stats(device)
        trainer.advance(2)
        torch.cuda.synchronize(device)
        return int(torch.cuda.max_memory_allocated(device))
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


def _memory_allowed(device: torch.device, threads: int) -> float:
    """Bytes one population may take; on a CPU others like it train on the other cores."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        return _MEMORY_SHARE * torch.cuda.mem_get_info(device)[0]
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
