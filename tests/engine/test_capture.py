"""Iterations that are recorded and replayed: the same numbers as computed ones, to the last bit.

On a CPU two things stand in for a CUDA graph: the iteration run again, and its operations run again without
Python, as in a graph. The tests marked `gpu` do the same with graphs.
"""

from __future__ import annotations

import contextlib
import inspect
import random
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from gan_sweep_models.layers import fully_connected
from gan_sweep_models.points import PointsDiscriminator
from harness import find_recipe
from harness.data import load_dataset
from harness.engine.capture import Recorder, recorder_for
from harness.engine.events import EvaluationDue, Event, Logged, RunsDiverged
from harness.engine.meter import Meter
from harness.engine.population import Population
from harness.engine.trainer import Trainer
from harness.recipe import Recipe
from harness.recipe.loss import Loss
from harness.recipe.registry import discriminators, losses
from support.image_recipes import small
from support.recording import Again, OnTape, Operations

T = TypeVar("T")

POINTS = {
    "generator.width": 0.1,
    "discriminator.width": 0.1,
    "train.batch_size": 512,  # 13 batches an epoch
    "train.epochs": 16,
    "train.reuse_fakes": False,
    "evaluate.every_epochs": 4,
    "optimizer.name": "adam",
}
FAMILIES: dict[str, dict[str, object]] = {
    "plain": {},
    "gradient penalty, five D steps": {
        "loss.name": "wasserstein",
        "loss.gradient_penalty": 0.5,
        "train.discriminator_steps": 5,
        "train.epochs": 80,
    },
    "R1, R2, drift": {"loss.r1": 0.3, "loss.r2": 0.2, "loss.drift": 0.1},
    "clip, RMSProp": {"loss.name": "wasserstein", "loss.weight_clip": 0.05, "optimizer.name": "rmsprop"},
    "running average": {"train.ema": 0.9},
    "another G loss early": {"loss.early_generator": "relativistic", "loss.early_steps": 100},
    "reused fakes, two G steps": {"train.reuse_fakes": True, "train.generator_steps": 2},
    "generator first": {"train.order": "generator-first", "optimizer.name": "optimistic-adam"},
}
IMAGES = {"train.epochs": 25, "evaluate.every_epochs": 5, "evaluate.num_grids": 0}  # 8 batches an epoch
RECIPES: dict[str, Callable[[], Recipe]] = {
    **{name: lambda changes=changes: points(**changes) for name, changes in FAMILIES.items()},  # type: ignore[misc]
    "bfloat16": lambda: points(train__precision="bf16", loss__name="wasserstein", loss__gradient_penalty=0.5),
    "bytes": lambda: small("digits-gan").override(IMAGES),
    "labels and dropout": lambda: small("digits-cgan").override(IMAGES),
    "convolutions": lambda: small("digits-dcgan").override(IMAGES | {"optimizer.lr": 1e-3}),
    "growth": lambda: growing(),
}
GRAPHS = pytest.param(
    recorder_for,
    id="graphs",
    marks=[
        pytest.mark.gpu,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    ],
)
WAYS = [OnTape, GRAPHS]
Way = Callable[..., Recorder | None]


def points(**changes: object) -> Recipe:
    return find_recipe("points-gan").override(
        POINTS | {key.replace("__", "."): v for key, v in changes.items()}
    )


def growing() -> Recipe:
    narrow = {
        f"{network}.{key}": value
        for network in ("generator", "discriminator")
        for key, value in (("base_channels", 32), ("max_channels", 6))
    }
    return find_recipe("progan-digits16").override(
        narrow | {"train.batch_size": 16, "train.epochs": 3, "train.grow_images": 320}  # 20 steps a phase
    )


def trained(
    way: Way | None, like: Way, recipes: Recipe | list[Recipe], flow: Callable[[Trainer], T], K: int = 1
) -> T:
    """What comes of a training whose iterations are recorded in a way, or computed one by one.

    Args:
        way: how they are recorded, if they are.
        like: where and how they would be, so that all else is alike.
        recipes: of every run, or of K runs the same.
        flow: what is done with the trainer.
        K: runs.
    """
    chosen = recipes if isinstance(recipes, list) else [recipes] * K
    device = torch.device("cuda" if like is recorder_for else "cpu")
    dataset = load_dataset(chosen[0].data)

    def recorder(device: torch.device) -> Recorder | None:
        if way is None:
            return None
        return way(device) if way is recorder_for else way()

    def make() -> Trainer:
        population = Population(chosen, range(len(chosen)), dataset=dataset, device=device)
        if like is OnTape:  # as on a GPU: the number of updates lives there too
            for optimizer in (population.generator_optimizer, population.discriminator_optimizer):
                optimizer.step = torch.zeros((), dtype=torch.float64)
        return Trainer(population, dataset, log_every_steps=37)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.engine.trainer.recorder_for", recorder)
        trainer = make()
        trainer.again = make  # type: ignore[attr-defined]
        found = flow(trainer)
        assert trainer.obstacle == "" or way is None or flow.__name__ == "foreign"
        return found


def plain(event: Event) -> tuple[Any, ...]:
    """An event as something that `==` compares to the last bit."""
    if isinstance(event, Logged):
        numbers = (event.metrics | event.histograms).items()
        return ("log", event.step, {key: value.tobytes() for key, value in numbers})
    return (type(event).__name__, *vars(event).values())


def state_of(trainer: Trainer) -> list[Any]:
    """Everything that training has changed, to the last bit."""
    leaves = tree_leaves(trainer.state_dict())
    return [leaf.cpu().numpy().tobytes() if isinstance(leaf, Tensor) else leaf for leaf in leaves]


def whole(trainer: Trainer) -> tuple[list[Any], list[Any]]:
    events = [plain(event) for event in trainer.run()]
    assert trainer.step >= 200
    return events, state_of(trainer)


# -- equal to the last bit ---------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("name", "K"),
    [
        pytest.param(name, K, marks=pytest.mark.slow if name == "growth" and K > 1 else ())
        for name in RECIPES
        for K in (1, 3)
    ],
)
def test_two_hundred_replayed_iterations_equal_computed_ones_bit_for_bit(name: str, K: int, way: Way) -> None:
    recipe = RECIPES[name]()
    computed, replayed = (trained(chosen, way, recipe, whole, K) for chosen in (None, way))
    assert replayed[0] == computed[0]
    assert replayed[1] == computed[1]


@pytest.mark.parametrize("K", [1, 3])
@pytest.mark.parametrize("name", ["plain", "gradient penalty, five D steps", "labels and dropout"])
def test_an_iteration_that_finds_its_input_by_a_counter_is_the_one_a_cpu_computes(name: str, K: int) -> None:
    computed, found = (trained(chosen, Again, RECIPES[name](), whole, K) for chosen in (None, Again))
    assert found == computed


@pytest.mark.parametrize("way", [GRAPHS])
@pytest.mark.parametrize("K", [1, 3])
def test_products_in_tf32_are_replayed_as_they_are_computed(K: int, way: Way) -> None:
    recipe = points(train__precision="tf32")
    computed, replayed = (trained(chosen, way, recipe, whole, K) for chosen in (None, way))
    assert replayed == computed


@pytest.mark.parametrize("way", WAYS)
def test_runs_that_differ_in_their_numbers_are_replayed_with_their_own(way: Way) -> None:
    recipes = [
        points(optimizer__lr=rate, train__ema=1 - rate, loss__r1=rate, loss__drift=rate)
        for rate in (1e-3, 1e-2)
    ]
    computed, replayed = (trained(chosen, way, recipes, whole) for chosen in (None, way))
    assert replayed == computed


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "name",
    [
        "plain",
        "another G loss early",
        "labels and dropout",
        pytest.param("growth", marks=pytest.mark.slow),
    ],
)
def test_a_replayed_run_resumed_from_any_look_has_the_same_end(name: str, way: Way) -> None:
    def resumed(trainer: Trainer) -> None:
        events, states = [], []
        for event in trainer.run():
            events.append(plain(event))
            states.append(trainer.state_dict())
        for index in {2, len(states) // 2}:
            other: Trainer = trainer.again()  # type: ignore[attr-defined]
            other.load_state_dict(states[index])
            torch.randn(5)
            assert [plain(event) for event in other.run()] == events[index + 1 :]
            assert state_of(other) == state_of(trainer)

    trained(way, way, RECIPES[name](), resumed, K=1 + (name != "growth"))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_a_run_that_diverges_is_retired_and_its_neighbours_are_replayed_on(network: str, way: Way) -> None:
    def poisoned(trainer: Trainer) -> tuple[list[Any], list[Any]]:
        events = []
        for event in trainer.run():
            events.append(plain(event))
            if isinstance(event, Logged) and event.step == 74:
                getattr(trainer.population, network).matrix[1, 5] = torch.nan
            if isinstance(event, RunsDiverged):
                assert event.rows == (1,)
        assert trainer.live == (0, 2)
        return events, state_of(trainer)

    computed, replayed = (trained(chosen, way, points(), poisoned, K=3) for chosen in (None, way))
    assert replayed == computed


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["plain", "labels and dropout"])
def test_runs_that_are_left_go_on_being_replayed(name: str, way: Way) -> None:
    def kept(trainer: Trainer) -> tuple[list[Any], list[Any]]:
        events = []
        for event in trainer.run():
            events.append(plain(event))
            if isinstance(event, EvaluationDue) and event.step and len(trainer.live) > 1:
                trainer.keep(trainer.live[1:])
        assert trainer.live == (2,)
        return events, state_of(trainer)

    computed, replayed = (trained(chosen, way, RECIPES[name](), kept, K=3) for chosen in (None, way))
    assert replayed == computed


# -- one recording for each kind of iteration --------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kinds"),
    [("plain", 2), ("another G loss early", 4), ("growth", 10)],  # five phases, measured and not
)
def test_an_iteration_is_recorded_once_for_each_kind(
    name: str, kinds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Again()
    monkeypatch.setattr("harness.engine.trainer.recorder_for", lambda _: recorder)
    recipe = RECIPES[name]()
    dataset = load_dataset(recipe.data)
    trainer = Trainer(Population([recipe], [0], dataset=dataset), dataset)
    for _ in trainer.run():
        pass
    assert recorder.recorded == kinds


def test_recording_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = RECIPES["labels and dropout"]()
    dataset = load_dataset(recipe.data)
    monkeypatch.setattr("harness.engine.trainer.recorder_for", lambda _: Again())
    trainer = Trainer(Population([recipe], [0], dataset=dataset), dataset)
    replays = trainer._replays
    assert replays is not None
    trainer.advance(5)

    def state() -> list[Any]:
        return [*state_of(trainer), torch.get_rng_state().numpy().tobytes(), int(replays._position)]

    before = state()
    replays._prepare(Again(), 5, "another", lambda batches, meter: trainer.iterate(batches, meter))
    assert "another" in replays._programs
    assert state() == before


class _Stream:
    """Notes who waits for whom."""

    def __init__(self, *_: object) -> None:
        self.waited_for: list[object] = []

    def wait_stream(self, other: object) -> None:
        self.waited_for.append(other)


def test_graphs_are_recorded_aside_from_one_pool_with_what_waits_forbidden(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Torch's functions for CUDA are stood in for; a graph is operations on tape."""
    main, modes, pools = _Stream(), [0], iter(range(9))
    asked: list[dict[str, Any]] = []
    signature, cuda = inspect.signature(torch.cuda.graph), torch.cuda

    class Graph:
        def __init__(self) -> None:
            self.replay: Callable[[], None] | None = None

    class Capture(contextlib.AbstractContextManager[None]):
        def __init__(self, *args: Any, **how: Any) -> None:
            self.graph = signature.bind(*args, **how).arguments["cuda_graph"]
            self.operations = Operations()
            asked.append(how)

        def __enter__(self) -> None:
            self.operations.__enter__()

        def __exit__(self, *found: Any) -> None:
            self.operations.__exit__(*found)
            self.graph.replay = self.operations.replay

    def set_mode(mode: int | str) -> None:
        modes.append(2 if mode == "error" else int(mode))

    for name, stand_in in {
        "Stream": _Stream,
        "CUDAGraph": Graph,
        "graph": Capture,
        "graph_pool_handle": lambda: next(pools),
        "current_stream": lambda device: main,
        "stream": lambda stream: contextlib.nullcontext(),
        "device": lambda device: contextlib.nullcontext(),
        "get_sync_debug_mode": lambda: modes[-1],
        "set_sync_debug_mode": set_mode,
    }.items():
        assert callable(getattr(cuda, name))
        monkeypatch.setattr(cuda, name, stand_in)

    def graphs() -> Recorder | None:
        return recorder_for(torch.device("cuda"))

    computed, replayed = (trained(way, OnTape, points(), whole) for way in (None, graphs))
    assert replayed == computed
    assert len(asked) == 2
    assert len({how["pool"] for how in asked}) == 1
    assert {how["capture_error_mode"] for how in asked} == {"thread_local"}
    (stream,) = {how["stream"] for how in asked}
    assert stream.waited_for == [main, main]
    assert main.waited_for == [stream, stream]
    assert modes == [0, 2, 0, 2, 0]


# -- what cannot be recorded -------------------------------------------------------------------------------


class Asking(PointsDiscriminator):
    """Asks the host how large its scores are."""

    def forward(self, inputs: Tensor) -> Tensor:
        scores = super().forward(inputs)
        return scores / max(1.0, float(scores.detach().abs().max()))


class Counting(PointsDiscriminator):
    """Counts in Python how often it was called."""

    calls = 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(inputs) * (1 + self.calls % 5)


class Rebinding(PointsDiscriminator):
    """Puts a new tensor in the place of its buffer."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__(layers)
        self.register_buffer("scale", torch.ones(()))

    scale: Tensor

    def forward(self, inputs: Tensor) -> Tensor:
        scores = super().forward(inputs)
        self.scale = 0.9 * self.scale + 0.1 * scores.detach().abs().mean()
        return scores / self.scale


class Gambling(PointsDiscriminator):
    """Draws by Python."""

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs) * (1 + random.random())


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Asking, "operation not permitted when stream is capturing"),
        (Counting, "replayed, it does not give the numbers that it gives when it is computed"),
        (Rebinding, "replayed, it does not give the numbers that it gives when it is computed"),
        (Gambling, "replayed, it does not give the numbers that it gives when it is computed"),
    ],
)
def test_networks_that_cannot_be_replayed_are_computed_and_it_is_said_why(
    kind: type[PointsDiscriminator], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*, sample_shape: tuple[int, ...], num_classes: int, width: float = 1.0) -> nn.Module:
        return kind(fully_connected([2, 8, 1], slope=0.2))

    discriminators.names()
    monkeypatch.setitem(discriminators._entries, "foreign", build)

    def foreign(trainer: Trainer) -> tuple[list[Any], str]:
        random.seed(0)
        trainer.advance(20)
        return state_of(trainer), trainer.obstacle

    computed, replayed = (
        trained(way, OnTape, points(discriminator__name="foreign"), foreign) for way in (None, OnTape)
    )
    assert computed[1] == ""
    assert replayed[1] == reason
    if kind in (Asking, Rebinding):  # others have gone on in Python while it was tried
        assert replayed[0] == computed[0]


def test_a_loss_of_another_precision_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    def exact() -> Loss:
        return Loss(
            discriminator=lambda real, fake: (fake.mean(-1) - real.mean(-1)).double(),
            generator=lambda fake, _: -fake.mean(-1).double(),
            chance=None,
        )

    losses.names()
    monkeypatch.setitem(losses._entries, "exact", exact)

    def foreign(trainer: Trainer) -> tuple[list[Any], str]:
        trainer.advance(20)
        return state_of(trainer), trainer.obstacle

    computed, replayed = (trained(way, OnTape, points(loss__name="exact"), foreign) for way in (None, OnTape))
    assert replayed == (computed[0], "its losses or scores are not float32")


@pytest.mark.parametrize("where", ["aside", "record"])
def test_where_memory_does_not_hold_a_recording_training_goes_on_computed(where: str) -> None:
    class Full(OnTape):
        def aside(self) -> Any:
            if where == "aside":
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return super().aside()

        def record(self, body: Callable[[], None]) -> Callable[[], None]:
            body()
            try:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            finally:  # as torch does
                raise RuntimeError("operation failed due to a previous error during capture")

    def foreign(trainer: Trainer) -> tuple[list[Any], str]:
        trainer.advance(20)
        return state_of(trainer), trainer.obstacle

    computed, replayed = (trained(way, OnTape, points(), foreign) for way in (None, Full))
    assert replayed == (computed[0], "memory does not hold it")


def test_a_host_that_counts_updates_is_found_out() -> None:
    def foreign(trainer: Trainer) -> str:
        for optimizer in (trainer.population.generator_optimizer, trainer.population.discriminator_optimizer):
            optimizer.step = 0
        trainer.advance(5)
        return trainer.obstacle

    reason = trained(OnTape, OnTape, points(), foreign)
    assert reason == "replayed, it does not give the numbers that it gives when it is computed"


def test_what_is_told_of_replayed_iterations_waits_where_no_later_one_writes() -> None:
    """A meter sums 64 D steps at a time, and rows come round again after more iterations than that."""

    def told(trainer: Trainer) -> list[float]:
        seen: list[float] = []
        settle = Meter.settle

        def spy(meter: Meter) -> None:
            seen.extend(float(value) for value in meter._pending["d_loss"])
            settle(meter)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Meter, "settle", spy)
            trainer.advance(200)
            trainer._meter.settle()
        return seen

    computed, replayed = (trained(way, Again, points(), told) for way in (None, Again))
    assert len(set(computed)) > 190
    assert replayed == computed
