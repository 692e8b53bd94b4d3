"""How fast training is, against the textbook loop: `make bench`.

Both train the same recipe in the same process, on the same device, with the same number of threads, in turns;
every number is the median of the turns after the first. A recipe whose data are not on this machine is
trained on the digits shipped here, at the same size; one that grows is trained at full size. `data` is the
share of a step of K = 1 that goes into ordering, gathering and scaling real samples and their labels; 5 % is
the most it may take. `scores` is what an evaluation takes (samples, all scores that are due each time,
spectra), over what training takes between two of them; it is not given for data that are not here. Results go
to `results/<host>.json`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from textbook import Textbook

from harness.data import Dataset, load_dataset
from harness.engine.population import Population
from harness.engine.spectra import spectra
from harness.engine.streams import Streams
from harness.engine.trainer import Trainer
from harness.metrics.evaluator import Evaluator
from harness.recipe import Recipe, find_recipe
from harness.recipe.registry import recipes
from harness.runs.examining import Examiner

RESULTS = Path(__file__).parent / "results"
SIZES = (1, 4, 8, 16)
GOALS = {"points": 1.3, "ring": 2.5, "grid": 2.5}
"""Goals for K = 1, by the data set's name; no recipe may be slower than the textbook loop."""
MOST_DATA = 0.05
LONG_SEC = 0.02
"""A step beyond which, on a CPU, K = 1 alone is timed."""


def seconds(train: Callable[[], int], turn_sec: float, device: torch.device) -> Callable[[], float]:
    """A function that trains for about `turn_sec` and returns the seconds a run-step took.

    Args:
        train: trains for a moment and returns the D steps taken, summed over the runs.
        turn_sec: seconds a turn.
        device: where.
    """

    def turn() -> float:
        synchronize(device)
        start = time.perf_counter()
        steps = 0
        while time.perf_counter() - start < turn_sec:
            steps += train()
            synchronize(device)
        return (time.perf_counter() - start) / steps

    return turn


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def compare(
    recipe: Recipe, device: torch.device, sizes: Sequence[int], turns: int, turn_sec: float
) -> dict[str, float]:
    """Seconds a run-step takes: of the textbook loop, and of populations of each size.

    Returns:
        `textbook`, the sizes as strings, and `data` of one run → seconds; `scores` of one run → seconds for
        every step between two evaluations.
    """
    dataset = load_dataset(recipe.data).to(device)
    stride = recipe.train.discriminator_steps
    textbook = Textbook(recipe, load_dataset(recipe.data), device)
    chunk = 10 if device.type == "cuda" else 1

    def plain() -> int:
        for _ in range(chunk):
            textbook.iterate()
        return chunk * stride

    contestants = {"textbook": seconds(plain, turn_sec, device)}
    if device.type == "cpu" and contestants["textbook"]() > LONG_SEC:
        sizes = [1]
    for size in sizes:
        trainer = Trainer(Population([recipe] * size, range(size), dataset=dataset, device=device), dataset)

        def advance(trainer: Trainer = trainer, size: int = size) -> int:
            return trainer.advance(chunk) * size

        contestants[str(size)] = seconds(advance, turn_sec, device)
        if size == 1:
            contestants["data"] = seconds(bringing(trainer, dataset), turn_sec / 4, device)
            contestants["scores"] = seconds(judging(trainer, dataset), turn_sec, device)
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(turns + 1):
        for name, turn in contestants.items():
            times[name].append(turn())
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def bringing(trainer: Trainer, dataset: Dataset) -> Callable[[], int]:
    """A function that brings the real samples of 64 iterations, and next to nothing else."""
    population = trainer.population
    train = population.recipe.train
    streams = Streams(
        population.seeds,
        dataset.train,
        device=population.device,
        batch_size=train.batch_size,
        latent_dim=1,
        num_real=train.discriminator_steps,
        num_latents=1,
        with_mixes=False,
        stacked=False,
        train_labels=dataset.train_labels if population.takes_labels else None,
        num_classes=dataset.num_classes if population.takes_labels else 0,
    )
    iterations = itertools.count()

    def bring() -> int:
        for _ in range(64):
            assert len(streams[next(iterations)].real) == train.discriminator_steps
        return 64 * train.discriminator_steps

    return bring


def judging(trainer: Trainer, dataset: Dataset) -> Callable[[], int]:
    """A function that evaluates a run once, and returns the D steps between two evaluations of the recipe."""
    evaluator = Evaluator(dataset)
    examiner = Examiner(trainer, dataset, evaluator)
    between = trainer.population.recipe.evaluate.every_epochs * trainer.steps_per_epoch

    def judge() -> int:
        examiner.examine().scores(0, exact=False)
        spectra(trainer.population)
        return between

    judge()  # what concerns the reals alone is computed once
    return judge


def at_hand(recipe: Recipe) -> Recipe:
    """The recipe at full size, on the digits where its own data are not on this machine."""
    if recipe.train.grow_images:
        recipe = recipe.override({"train.grow_images": 0})
    try:
        load_dataset(recipe.data)
    except ValueError:
        return recipe.override({"data.name": "digits"})
    return recipe


def main() -> None:
    """Compare, print a table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="recipes; all by default")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--turn-sec", type=float, default=0.2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    heads = ("recipe", "textbook", *(f"K={size}" for size in SIZES), "data", "scores", "goal, K=1", "")
    table = Table(*heads)
    found = {}
    for name in arguments.names or recipes.names():
        recipe = find_recipe(name)
        trained = at_hand(recipe)
        times = compare(trained, device, SIZES, arguments.turns, arguments.turn_sec)
        if trained.data.name != recipe.data.name:
            del times["scores"]
        found[name] = times
        ratios = {key: times["textbook"] / sec for key, sec in times.items()}
        goal = GOALS.get(recipe.data.name, 1.0)
        arms = [
            f"{times[key] * 1e6:.0f} µs {ratios[key]:.2f}×" if key in times else "" for key in map(str, SIZES)
        ]
        share = times["data"] / times["1"]
        met = ratios["1"] >= goal and share <= MOST_DATA
        verdict = "[green]met" if met else "[red]missed"
        scores = f"{times['scores'] / times['1']:.1%}" if "scores" in times else ""
        table.add_row(
            name, f"{times['textbook'] * 1e6:.0f} µs", *arms, f"{share:.1%}", scores, f"{goal:g}×", verdict
        )
    console = Console()
    if not console.is_terminal:
        console = Console(width=130)
    console.print(table)
    console.print(
        f"Time a D step of a run takes, with its share of G steps; {device}, {arguments.threads} thread(s)."
    )
    record = {
        "host": platform.node(),
        "machine": platform.machine(),
        "processor": processor(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": arguments.threads,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "turns": arguments.turns,
        "run_step_sec": found,
        "speedup": {
            name: {key: times["textbook"] / sec for key, sec in times.items() if key.isdigit()}
            for name, times in found.items()
        },
        "scores_share": {
            name: times["scores"] / times["1"] for name, times in found.items() if "scores" in times
        },
        "data_share": {name: times["data"] / times["1"] for name, times in found.items()},
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{platform.node() or 'unknown'}.json"
    path.write_text(json.dumps(record, indent=2) + "\n")
    console.print(f"Written to {path}.", soft_wrap=True)


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


if __name__ == "__main__":
    main()
