"""How fast training is, against two loops written by hand and two floors: `make bench`.

    make bench [RECIPES="ring-gan points-gan"] [SECONDS=450] [DEVICE=auto]

All train the same recipe in the same process, on the same device, in float32 and with as many threads, in
turns; a time is the median of the turns after the first, and a ratio the median of the turns' ratios. On a
CPU it is CPU time, so that what else the machine does counts for little; on a GPU it is time that passes,
with the device waited for. Every time is that of one D step of one run, with its share of G steps.

    textbook          what a tutorial would write; see `textbook.py`
    expert            what a good engineer would; see `expert.py`. On a GPU the last third of the time goes
                      to its loop through `torch.compile`, which counts where it is faster. On a CPU it is
                      not: 0.5 to 0.9 times as fast, after 16 to 71 s of compiling
    K = 1             one run of the harness
    K auto            as many runs together as a plan would train, and how much faster each of them is
    launch floor      its operations, at the least that one takes here: launched from Python, or on a GPU
                      replayed in a graph
    FLOP floor        its multiply-adds, at the rate of large products of matrices
    evaluation share  what an evaluation takes (samples, all scores that are due each time, spectra), over the
                      training between two of them; not of data that are not here

Recipes are timed in the order of their importance, and all of it ends in SECONDS, `--seconds`; what did not
fit is named. A recipe whose data are not on this machine is trained on the digits shipped here, at the same
size; one that grows is trained at full size. Results go to `results/<processor or GPU>.json`, those of only
some recipes to `results/<...>-part.json`.
"""

from __future__ import annotations

import argparse
import itertools
import re
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.counts import count
from benchmarks.expert import Expert
from benchmarks.textbook import Textbook
from harness import find_recipe, list_recipes
from harness.data import Dataset, load_dataset
from harness.engine.measure import measure
from harness.engine.population import Population
from harness.engine.spectra import spectra
from harness.engine.streams import Streams
from harness.engine.trainer import Trainer
from harness.files import write_json
from harness.machine import describe_environment, resolve_device
from harness.metrics.evaluator import Evaluator
from harness.network.products import onednn_pays
from harness.recipe import Recipe
from harness.runs.examining import Examiner

__all__ = ["main"]

RESULTS = Path(__file__).parent / "results"
SECONDS = 450.0
FIRST = (
    *("points-gan", "ring-gan", "mnist-g1d1", "fashion-cgan", "fashion-dcgan", "points-wgan-gp-10"),
    *("fashion-gan", "grid-gan", "points-wgan", "points-wgan-gp", "progan-fashion32", "faces-dcgan64"),
    *("mnist-g2d2", "mnist-g3d2", "digits-gan", "digits-cgan", "digits-dcgan", "progan-digits16"),
)
"""The most important recipes, in order; all others follow as they stand in the catalogue."""
TINY = ("ring", "grid")
"""Data sets of recipes whose nets are tiny."""
LEAST_TURNS = 3
LOOK_SEC = 0.02
"""Between two looks at the clock of a CPU, where an iteration is shorter."""
MEASURING_SEC = 1.5
COMPILING_SHARE = 1 / 3
"""Of the time on a GPU, what is kept for compiling the expert's networks."""
COMPILING_SEC = 60.0
"""What must be left for the compilation of a recipe's networks; it cannot be interrupted."""


class OutOfTimeError(Exception):
    """The budget was spent before a recipe had a turn of everyone."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """When a turn has to end.

    Attributes:
        until: when everything does, as `time.monotonic` tells it.
        share_sec: what one recipe should take, if it has had `LEAST_TURNS` by then.
    """

    until: float
    share_sec: float


def main(words: Sequence[str] | None = None) -> int:
    """Time recipes, print the table, write the results.

    Args:
        words: the command line; that of the process by default.

    Returns:
        The exit status: 1 where a recipe failed.
    """
    asked = _read(words)
    started = time.monotonic()
    torch.set_num_threads(asked.threads)
    device = torch.device(asked.device)
    if device.type == "cuda":
        torch.cuda.set_device(device.index or 0)  # it takes no device without a number
    console = Console()
    if not console.is_terminal:
        console = Console(width=170)
    floors = Floors.measure(device)
    record: dict[str, Any] = {
        "environment": describe_environment(str(device)),
        "clock": "CPU seconds" if device.type == "cpu" else "seconds, synchronised",
        "floors": floors.numbers(),
        "recipes": {},
        "left_out": {},
    }
    path = (
        asked.folder / f"{_slug(record['environment']['device_name'])}{'' if asked.whole else '-part'}.json"
    )
    end = started + asked.seconds
    until = end if device.type == "cpu" else started + (1 - COMPILING_SHARE) * asked.seconds
    rows, left_out = record["recipes"], record["left_out"]
    for index, name in enumerate(asked.names):
        share = (until - time.monotonic()) / (len(asked.names) - index)
        try:
            recipe = find_recipe(name)
            budget = Budget(until=until, share_sec=share)
            rows[name] = timed(recipe, device, floors, budget, asked.turns, asked.turn_sec)
        except OutOfTimeError:
            left_out[name] = "no time was left"
        except (RuntimeError, MemoryError) as error:  # a table without one recipe is better than none
            left_out[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        _forget(device)
        write_json(path, record)
    for name in rows if device.type != "cpu" else ():
        if time.monotonic() + COMPILING_SEC > end:
            rows[name]["expert_compiled"] = "no time was left"
        else:
            rows[name] |= compiled(find_recipe(name), device, asked.turns, asked.turn_sec)
        _forget(device)
        write_json(path, record)
    console.print(_table(rows, device))
    _explain(console, record, device, asked, path)
    return int(any(reason != "no time was left" for reason in left_out.values()))


# -- the command line -------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        _refuse(f"{message}.")


def _refuse(message: str) -> NoReturn:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


def _read(words: Sequence[str] | None) -> argparse.Namespace:
    """The options, checked; a mistake is one line and exit status 2."""
    parser = _Parser(prog="make bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", help="recipes, RECIPES=; all by default")
    parser.add_argument("--device", default="auto", help="DEVICE=; auto, cpu, cuda or cuda:<number>")
    parser.add_argument("--seconds", default=str(SECONDS), help=f"SECONDS=; {SECONDS:g} by default")
    parser.add_argument("--threads", default="1", help="CPU threads")
    parser.add_argument("--turns", default="7", help="turns of each contestant after the first")
    parser.add_argument("--turn-sec", default="0.2", help="seconds of a turn")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where results go")
    asked = parser.parse_args(words)
    known = list_recipes()
    try:
        for name in asked.names:
            find_recipe(name)
        asked.device = resolve_device(asked.device)
    except ValueError as error:
        _refuse(str(error))
    asked.seconds = _number("seconds", asked.seconds, float)
    asked.turn_sec = _number("turn-sec", asked.turn_sec, float)
    asked.threads = _number("threads", asked.threads, int)
    asked.turns = _number("turns", asked.turns, int)
    if not asked.folder.is_dir():
        _refuse(f"`--folder` must be a folder, but {asked.folder} is none; make it first.")
    asked.whole = not asked.names
    asked.names = list(dict.fromkeys(asked.names or (*FIRST, *known)))
    return asked


def _number(option: str, text: str, kind: type[int] | type[float]) -> float:
    try:
        value = kind(text)
    except ValueError:
        value = -1
    if not 0 < value < float("inf"):
        what = "a whole number above 0" if kind is int else "a number above 0"
        _refuse(f"`--{option}` must be {what}, but got {text!r}.")
    return value


# -- one recipe -------------------------------------------------------------------------------------------


def at_hand(recipe: Recipe) -> Recipe:
    """The recipe at full size, on the digits where its own data are not on this machine."""
    if recipe.train.grow_images:
        recipe = recipe.override({"train.grow_images": 0})
    try:
        load_dataset(recipe.data)
    except ValueError:
        return recipe.override({"data.name": "digits"})
    return recipe


def timed(
    recipe: Recipe, device: torch.device, floors: Floors, budget: Budget, turns: int, turn_sec: float
) -> dict[str, Any]:
    """A recipe's row of the table.

    Args:
        recipe: what to train.
        device: where.
        floors: what an operation and a multiplication take there.
        budget: when to end.
        turns: turns of each contestant after the first.
        turn_sec: seconds a turn.

    Raises:
        OutOfTimeError: not everyone had a turn.
    """
    started = time.monotonic()
    trained = at_hand(recipe)
    host = load_dataset(trained.data)
    dataset = host.to(device)
    steps = trained.train.discriminator_steps
    launches = count(trained, 1)["launches"] / steps
    measured = measure(trained, dataset, device, budget_sec=MEASURING_SEC)
    multiply_adds = measured.multiply_adds / measured.total_steps
    sizes = {"1": 1} | ({"auto": measured.population} if measured.population > 1 else {})
    trainers = {
        key: Trainer(Population([trained] * size, range(size), dataset=dataset, device=device), dataset)
        for key, size in sizes.items()
    }
    trainers["1"].population.take_onednn(onednn_pays())  # as a run trained by itself
    chunk = _chunk(device, steps * measured.step_sec_by_size[1])
    contestants = {
        "textbook": iterating(Textbook(trained, host, device), steps, chunk),
        "expert": iterating(Expert(trained, dataset, device), steps, chunk),
        **{key: advancing(trainer, sizes[key], chunk) for key, trainer in trainers.items()},
        "data": bringing(trainers["1"], dataset),
    }
    if trained.data.name == recipe.data.name:
        contestants["evaluation"] = judging(trainers["1"], dataset)
    preparing_sec = time.monotonic() - started
    sec = alternate(contestants, device, budget, turns, turn_sec)
    times = {key: statistics.median(found) for key, found in sec.items()}
    row: dict[str, Any] = {
        "data": trained.data.name,
        "turns": len(sec["1"]),
        "population": measured.population,
        "step_sec": {key: times[key] for key in ("textbook", "expert", *sizes)},
        "over_textbook": {key: _ratio(sec["textbook"], sec[key]) for key in ("expert", *sizes)},
        "over_expert": {key: _ratio(sec["expert"], sec[key]) for key in sizes},
        "launches": launches,
        "multiply_adds": round(multiply_adds),
        "launch_floor_sec": launches * floors.launch_sec,
        "flop_floor_sec": 2 * multiply_adds / floors.flops,
        "data_share": times["data"] / times["1"],
        "goal": goal(trained, device),
        "preparing_sec": preparing_sec,
    }
    if "evaluation" in times:
        row["evaluation_share"] = times["evaluation"] / times["1"]
    if device.type != "cpu":
        row["computed_because"] = trainers["1"].obstacle
    return row


def goal(recipe: Recipe, device: torch.device) -> float:
    """How much faster than the expert's loop, and on a GPU than the textbook's, K = 1 should be."""
    if recipe.data.name in TINY:
        return 2.0 if device.type == "cpu" else 10.0
    kinds = (recipe.generator.name, recipe.discriminator.name)
    is_connected = all(kind in CONNECTED for kind in kinds)
    if device.type == "cpu":
        return 1.2 if is_connected else 1.0
    return 10.0 if is_connected else 1.0


CONNECTED = ("points-mlp", "tiny-mlp", "fashion-mlp", "mnist-g1", "mnist-d1", "cgan")
"""Networks that are fully connected."""


def compiled(recipe: Recipe, device: torch.device, turns: int, turn_sec: float) -> dict[str, Any]:
    """What `torch.compile` does for the expert's loop: the parts of a row that say so.

    Gradient penalties are differentiated twice, which compiled networks cannot be.
    """
    trained = at_hand(recipe)
    loss = trained.loss
    if loss.gradient_penalty or loss.r1 or loss.r2:
        return {"expert_compiled": "not with gradient penalties"}
    dataset = load_dataset(trained.data).to(device)
    steps, chunk = trained.train.discriminator_steps, _chunk(device, LOOK_SEC)
    torch.compiler.reset()  # else the networks of many recipes count as one that is compiled too often
    started = time.monotonic()
    try:
        loop = Expert(trained, dataset, device, compiled=True)
        loop.iterate()
        loop.iterate()
    except Exception as error:  # whatever a compiler says: the loop that is not compiled stands
        return {"expert_compiled": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
    compiling_sec = time.monotonic() - started
    contestants = {
        "plain": iterating(Expert(trained, dataset, device), steps, chunk),
        "compiled": iterating(loop, steps, chunk),
    }
    forever = Budget(until=float("inf"), share_sec=float("inf"))
    sec = alternate(contestants, device, forever, turns, turn_sec)
    return {"expert_compiled": _ratio(sec["plain"], sec["compiled"]), "compiling_sec": compiling_sec}


def _chunk(device: torch.device, iteration_sec: float) -> int:
    """Iterations between two looks at the clock: of many at once, as training goes, unless they are long."""
    return 20 if device.type != "cpu" else max(1, min(20, int(LOOK_SEC / iteration_sec)))


def iterating(loop: Textbook | Expert, steps: int, chunk: int) -> Callable[[], int]:
    """A function that trains a loop for some iterations and returns the D steps taken."""
    tunes = isinstance(loop, Expert)

    def iterate() -> int:
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = tunes, False
        for _ in range(chunk):
            loop.iterate()
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True
        return chunk * steps

    return iterate


def advancing(trainer: Trainer, size: int, chunk: int) -> Callable[[], int]:
    """A function that trains `size` runs for some iterations and returns the D steps, summed over them."""
    return lambda: trainer.advance(chunk) * size


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
    examiner = Examiner(trainer, dataset, Evaluator(dataset))
    between = trainer.population.recipe.evaluate.every_epochs * trainer.steps_per_epoch

    def judge() -> int:
        examiner.examine().scores(0, exact=False)
        spectra(trainer.population)
        return between

    return judge


# -- time -------------------------------------------------------------------------------------------------


def now(device: torch.device) -> float:
    """Seconds: of CPU time where that is the device, else of time passed once the device has done all."""
    if device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def alternate(
    contestants: Mapping[str, Callable[[], int]],
    device: torch.device,
    budget: Budget,
    turns: int,
    turn_sec: float,
) -> dict[str, list[float]]:
    """Seconds a D step took each contestant, turn by turn; the first turn is for warming up.

    Args:
        contestants: functions that train for a moment and return the D steps taken, summed over runs.
        device: where.
        budget: when to end.
        turns: how many, after the first.
        turn_sec: seconds of a turn.

    Raises:
        OutOfTimeError: not everyone had a turn after the first.
    """
    found: dict[str, list[float]] = {name: [] for name in contestants}
    share_ends = time.monotonic() + budget.share_sec
    for turn in range(turns + 1):
        if turn > LEAST_TURNS and time.monotonic() > share_ends:
            break
        times = {}
        for name, train in contestants.items():
            if time.monotonic() > budget.until:
                break
            start, steps = now(device), 0
            while True:
                steps += train()
                spent = now(device) - start
                if spent >= turn_sec:
                    break
            times[name] = spent / steps
        if len(times) < len(contestants):
            break
        if turn:
            for name, sec in times.items():
                found[name].append(sec)
    if not all(found.values()):
        raise OutOfTimeError
    return found


def _ratio(slower: Sequence[float], faster: Sequence[float]) -> float:
    return statistics.median(one / other for one, other in zip(slower, faster, strict=True))


@dataclass(frozen=True, kw_only=True)
class Floors:
    """What a device takes at the least, measured on it.

    Attributes:
        launch_sec: seconds an operation on a few numbers takes: launched from Python on a CPU, replayed in a
            graph on a GPU.
        eager_launch_sec: seconds it takes launched from Python.
        flops: floating point operations a second of products of large float32 matrices.
    """

    launch_sec: float
    eager_launch_sec: float
    flops: float

    def numbers(self) -> dict[str, float]:
        """As a record has them."""
        return {
            "launch_sec": self.launch_sec,
            "eager_launch_sec": self.eager_launch_sec,
            "flops": self.flops,
        }

    @classmethod
    def measure(cls, device: torch.device) -> Floors:
        """Time both for a moment."""
        few, calls = torch.zeros(8, device=device), 1000

        def launch() -> None:
            for _ in range(calls):
                few.add_(1.0)

        eager = least_sec(launch, device) / calls
        replayed = eager
        if device.type != "cpu":
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                launch()
            replayed = least_sec(graph.replay, device) / calls
        side = 512 if device.type == "cpu" else 8192
        left, right = torch.randn(2, side, side, device=device).unbind()
        products: list[Callable[[], Tensor]] = [lambda: left @ right]
        if device.type == "cpu" and torch.backends.mkldnn.is_available():  # faster than MKL on some
            products.append(lambda: torch.ops.mkldnn._linear_pointwise(left, right, None, "none", [], ""))
        sec = min(least_sec(product, device) for product in products)
        return cls(launch_sec=replayed, eager_launch_sec=eager, flops=2 * side**3 / sec)


def least_sec(work: Callable[[], object], device: torch.device) -> float:
    """The least seconds that a piece of work took, of ten times after two."""
    found = []
    for _ in range(12):
        start = now(device)
        work()
        found.append(now(device) - start)
    return min(found[2:])


def _forget(device: torch.device) -> None:
    """Give back what a recipe took of the device."""
    if device.type != "cpu":
        torch.cuda.empty_cache()


# -- what is printed --------------------------------------------------------------------------------------


def _table(rows: Mapping[str, Mapping[str, Any]], device: torch.device) -> Table:
    table = Table()
    for heading in (
        *("recipe", "textbook", "expert", "K = 1", "over textbook", "over expert", "K auto", "over expert"),
        *("launch floor", "FLOP floor", "evaluation share", "goal"),
    ):
        table.add_column(heading, justify="left" if heading == "recipe" else "right")
    for name, row in rows.items():
        sec, gain = row["step_sec"], max(1.0, _gain(row))
        over_expert = row["over_expert"]["1"] / gain
        reached = over_expert if device.type == "cpu" else row["over_textbook"]["1"]
        met = "[green]met" if reached >= row["goal"] else "[red]missed"
        together = ("", "")
        if "auto" in sec:
            ratio = row["over_expert"]["auto"] / gain
            together = (f"K={row['population']} {_span(sec['auto'])}", f"{ratio:.2f}×")
        table.add_row(
            name,
            _span(sec["textbook"]),
            _span(sec["expert"] / gain) + ("*" if gain > 1 else ""),
            _span(sec["1"]),
            f"{row['over_textbook']['1']:.2f}×",
            f"{over_expert:.2f}×",
            *together,
            _span(row["launch_floor_sec"]),
            _span(row["flop_floor_sec"]),
            f"{row['evaluation_share']:.1%}" if "evaluation_share" in row else "",
            f"{row['goal']:g}× {met}",
        )
    return table


def _gain(row: Mapping[str, Any]) -> float:
    """How much faster `torch.compile` made the expert's loop; 0 where it was not compiled."""
    gain = row.get("expert_compiled", 0.0)
    return gain if isinstance(gain, float) else 0.0


def _span(sec: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if sec >= size:
            return f"{sec / size:.3g} {unit}"
    return f"{sec / 1e-9:.3g} ns"


def _explain(
    console: Console, record: Mapping[str, Any], device: torch.device, asked: argparse.Namespace, path: Path
) -> None:
    environment, rows = record["environment"], record["recipes"]

    def say(text: str) -> None:
        console.print(text, soft_wrap=True, markup=False, highlight=False)

    say(
        f"Time a D step of a run takes, with its share of G steps, in {record['clock']}: "
        f"{environment['device_name']}, {asked.threads} thread(s), torch {environment['torch']}. The goal is "
        f"of K = 1 over the {'expert' if device.type == 'cpu' else 'textbook'}."
    )
    if any(_gain(row) > 1 for row in rows.values()):
        say("* with torch.compile.")
    plain = {name: row["expert_compiled"] for name, row in rows.items() if "expert_compiled" in row}
    for reason in dict.fromkeys(reason for reason in plain.values() if isinstance(reason, str)):
        named = ", ".join(name for name, found in plain.items() if found == reason)
        say(f"The expert's loop without torch.compile ({reason}): {named}.")
    for name, row in rows.items():
        if row.get("computed_because"):
            say(f"{name}: no graph, since {row['computed_because']}")
    replaced = [name for name, row in rows.items() if row["data"] != find_recipe(name).data.name]
    if replaced:
        say(f"Trained on the shipped digits, since their own data are not here: {', '.join(replaced)}.")
    late = [name for name, reason in record["left_out"].items() if reason == "no time was left"]
    if late:
        again = (
            f'RECIPES="{" ".join(late)}" SECONDS={max(2 * asked.seconds, SECONDS):g} DEVICE={asked.device}'
        )
        say(f"Not timed within {asked.seconds:g} s: {', '.join(late)}. For these: make bench {again}")
    for name, reason in record["left_out"].items():
        if name not in late:
            say(f"{name} failed: {reason}")
    say(f"Written to {path}.")


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "unknown"


if __name__ == "__main__":
    sys.exit(main())
