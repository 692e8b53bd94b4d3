"""Training on a device, without one: no mixed devices, no waits within an iteration, tensors that stay put.

Everything here runs on fake tensors, which compute nothing; that the numbers are right is for the tests on a
CPU, and for those marked `gpu`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from harness import find_recipe, list_recipes
from harness.engine.population import Population
from harness.engine.spectra import spectra
from harness.engine.streams import Streams
from harness.engine.trainer import Trainer
from harness.recipe import Recipe
from harness.recipe.registry import losses, optimizers
from harness.runs.examining import Examiner
from support.fake_device import DEVICE, Watch, fake_device, places, same_places, stand_in

SETTINGS: dict[str, dict[str, object]] = {
    "gradient penalty": {"loss.name": "wasserstein", "loss.gradient_penalty": 10.0},
    "R1, R2, drift": {"loss.r1": 0.3, "loss.r2": 0.2, "loss.drift": 0.1},
    "clip": {"loss.name": "wasserstein", "loss.weight_clip": 0.05, "train.discriminator_steps": 2},
    "clamp": {"loss.clamp": 100.0, "train.generator_steps": 2},
    "average": {"train.ema": 0.99, "train.order": "generator-first"},
    "another G loss early": {"loss.early_generator": "relativistic", "loss.early_steps": 1},
    **{f"loss {name}": {"loss.name": name} for name in losses},
    **{f"optimizer {name}": {"optimizer.name": name} for name in optimizers},
}

RECIPES = {name: find_recipe(name) for name in list_recipes()}
"""Made before anything is fake: a recipe's checks compute on the host."""
CHANGED = {name: RECIPES["ring-gan"].override(values) for name, values in SETTINGS.items()}


@pytest.fixture
def device() -> Iterator[None]:
    with fake_device():
        yield


def trainer_of(*recipes: Recipe) -> Trainer:
    stood_in = [stand_in(recipe) for recipe in recipes]
    dataset = stood_in[0][1]
    population = Population(
        [recipe for recipe, _ in stood_in], range(len(recipes)), dataset=dataset, device=DEVICE
    )
    return Trainer(population, dataset)


def assert_trains_without_waiting(trainer: Trainer, *, iterations: int = 2) -> None:
    """The first iteration of a training is measured, the next one is not."""
    before = places(trainer.population.tensors())
    with Watch() as watch:
        trainer.advance(iterations)
    assert watch.waits == {}
    assert watch.launches.total() > 0
    assert same_places(before, places(trainer.population.tensors()))


# -- the device itself -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("device")
def test_the_fake_device_raises_where_devices_mix_and_counts_what_waits() -> None:
    here, there = torch.zeros(3), torch.zeros(3, device=DEVICE)
    with pytest.raises(RuntimeError, match="devices"):
        here + there
    with pytest.raises(RuntimeError, match="devices"):
        torch.stack([here, there])
    with Watch() as watch:
        assert float(there.sum()) == 1
        there.cpu()
        here.to(DEVICE)
        there.copy_(here)
    assert dict(watch.reads) == {"aten._local_scalar_dense.default": 1}
    assert (watch.to_host.total(), watch.to_device.total()) == (1, 2)
    assert dict(watch.launches) == {"aten.sum.default": 1}


@pytest.mark.usefixtures("device")
def test_the_fake_device_tells_a_tensor_that_moved_from_one_that_stayed() -> None:
    tensor = torch.zeros(2, 3, device=DEVICE)
    before = places(iter([tensor]))
    assert same_places(before, places(iter([tensor.add_(1)])))
    assert not same_places(before, places(iter([tensor + 1])))
    assert not same_places(before, places(iter([tensor[1]])))


@pytest.mark.usefixtures("device")
def test_a_module_that_moves_is_wholly_on_the_fake_device() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3)).to(DEVICE)
    assert {tensor.device for tensor in module.state_dict().values()} == {DEVICE}


# -- every recipe ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("K", [1, 3])
@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_trains_is_looked_at_and_resumed_on_a_device(name: str, K: int) -> None:
    trainer = trainer_of(*[RECIPES[name]] * K)
    population = trainer.population
    assert {tensor.device for tensor in population.tensors()} == {DEVICE}
    assert_trains_without_waiting(trainer, iterations=1)

    labels = trainer.fixed_labels(5)
    latents = torch.stack([trainer.fixed_latents(row, 5) for row in trainer.live])
    samples = population.generate(latents, labels)
    scores = population.discriminate(samples, labels)
    assert (samples.device, samples.shape[:2]) == (DEVICE, (K, 5))
    assert (scores.device, scores.shape) == (DEVICE, (K, 5))

    before = places(population.tensors())
    with Watch():  # a checkpoint may read, the number of updates say
        state = trainer.state_dict()
    trainer.load_state_dict(on_the_host(state))
    assert same_places(before, places(population.tensors()))
    trainer.go_to(trainer.stretches()[-1][0] or trainer.step)  # networks that grow are grown up there
    assert_trains_without_waiting(trainer, iterations=1)
    assert {tensor.device for tensor in trainer.tensors()} == {DEVICE}


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("K", [1, 3])
def test_growing_waits_for_nothing(K: int) -> None:
    trainer = trainer_of(*[RECIPES["progan-digits16"]] * K)
    before = places(trainer.population.tensors())
    stretches = trainer.stretches()
    assert len(stretches) > 4
    for first, _ in stretches:
        with Watch() as watch:
            trainer.go_to(first)
            trainer.advance(1)
        assert watch.waits == {}
    assert same_places(before, places(trainer.population.tensors()))


# -- every setting ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("K", [1, 3])
@pytest.mark.parametrize("name", list(SETTINGS))
def test_every_setting_trains_without_waiting(name: str, K: int) -> None:
    assert_trains_without_waiting(trainer_of(*[CHANGED[name]] * K))


@pytest.mark.parametrize("name", list(optimizers))
def test_runs_that_differ_in_numbers_train_without_waiting(name: str) -> None:
    recipes = [
        RECIPES["ring-gan"].override(
            {
                "loss.name": "wasserstein",
                "optimizer.name": name,
                "optimizer.lr": factor * 1e-3,
                "loss.gradient_penalty": factor,
                "loss.gradient_penalty_target": factor,
                "loss.weight_clip": factor,
                "loss.drift": factor,
                "train.ema": 1 - factor / 10,
            }
        )
        for factor in (1.0, 0.5, 0.25)
    ]
    with fake_device():
        assert_trains_without_waiting(trainer_of(*recipes))


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("name", ["ring-gan", "digits-cgan", "digits-dcgan"])
def test_rows_that_leave_leave_the_rest_on_the_device(name: str) -> None:
    trainer = trainer_of(*[RECIPES[name]] * 3)
    trainer.advance(1)
    trainer.population.retire([0])
    assert_trains_without_waiting(trainer, iterations=1)
    latents = torch.stack([trainer.fixed_latents(row, 4) for row in trainer.live])
    assert trainer.population.generate(latents, trainer.fixed_labels(4)).shape[:2] == (2, 4)
    trainer.keep([2])
    assert {tensor.device for tensor in trainer.tensors()} == {DEVICE}
    assert_trains_without_waiting(trainer, iterations=1)
    again = trainer_of(*[RECIPES[name]] * 3)
    with Watch():
        state = trainer.state_dict()
    again.load_state_dict(on_the_host(state))
    assert again.live == (2,)
    assert_trains_without_waiting(again, iterations=1)


# -- a set that does not fit ------------------------------------------------------------------------------


class AtOnce:
    """A thread that is none, since fake tensors know of no threads."""

    def __init__(self, *_: object) -> None:
        pass

    def submit(self, function: Callable[..., Any], *args: Any) -> SimpleNamespace:
        done = function(*args)
        return SimpleNamespace(result=lambda: done)


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("K", [1, 3])
@pytest.mark.parametrize("name", ["digits-gan", "digits-cgan"])
def test_a_set_left_on_the_host_is_waited_for_once_an_epoch(
    name: str, K: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.data.dataset._fits", lambda *_: False)
    monkeypatch.setattr("harness.engine.streams._MAX_ITERATIONS", 1)
    monkeypatch.setattr("harness.engine.streams.ThreadPoolExecutor", AtOnce)
    trainer = trainer_of(*[RECIPES[name].override({"train.batch_size": 32})] * K)  # 9 batches an epoch
    for block in range(20):
        with Watch() as watch:
            batch = trainer.input(block)
        assert {part.device for part in (*batch.real, *batch.latents, *batch.real_labels)} == {DEVICE}
        assert watch.to_host.total() == (block == 0 or (block + 1) % 9 == 0)
        assert watch.to_device.total() == 1
        assert not watch.reads


def test_rows_brought_from_the_host_are_those_of_a_set_on_the_device() -> None:
    train = torch.arange(70.0).view(70, 1)

    def streams() -> Streams:
        return Streams(
            (3, 4),
            train,
            device=torch.device("cpu"),
            batch_size=8,
            latent_dim=2,
            num_real=2,
            num_latents=1,
            with_mixes=False,
            stacked=True,
        )

    resident, brought = streams(), streams()
    brought._resident, brought._bringer = False, ThreadPoolExecutor(1)
    for iteration in (*range(200), 7, 150, 3):
        for one, other in zip(resident[iteration].real, brought[iteration].real, strict=True):
            assert torch.equal(one, other)
    for stream in (resident, brought):
        stream.keep([1])
    assert torch.equal(resident[9].real[0], brought[9].real[0])


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("K", [1, 3])
@pytest.mark.parametrize("name", ["ring-gan", "digits-cgan", "points-wgan-gp-10"])
def test_every_block_of_input_lies_where_the_first_one_did(name: str, K: int) -> None:
    trainer = trainer_of(*[RECIPES[name]] * K)
    trainer.advance(1)
    before = places(trainer._streams._blocks.values())
    assert len(before) >= 2
    with Watch() as watch:
        trainer.input(trainer._streams.block_size)
    assert watch.launches["aten.copy_.default"] >= len(before)
    assert same_places(before, places(trainer._streams._blocks.values()))


# -- looks -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("K", [1, 3])
@pytest.mark.parametrize("name", ["ring-gan", "digits-cgan", "progan-digits16"])
def test_a_look_sends_nothing_to_the_device_after_the_first(name: str, K: int) -> None:
    trainer = trainer_of(*[RECIPES[name]] * K)
    _, dataset = stand_in(RECIPES[name])
    evaluator = cast(Any, SimpleNamespace(held_out_rows=torch.arange(50)))
    examiner = Examiner(trainer, dataset.to(DEVICE), evaluator)
    examiner.examine()
    with Watch() as watch:
        seen = examiner.examine()
        examiner.samples([0, 2])
    assert (seen.samples.device, seen.fake_scores.device.type) == (DEVICE, "cpu")
    assert dict(watch.to_device) == {}
    assert watch.to_host.total() == 2  # D's scores of fakes, and of held-out reals


@pytest.mark.usefixtures("device")
def test_what_is_logged_comes_across_once_an_interval() -> None:
    trainer = trainer_of(*[RECIPES["ring-gan"]] * 3)
    trainer.advance(3)
    with Watch() as watch:
        trainer._meter.settle()
    assert watch.waits == {}
    with Watch() as watch:
        spectra(trainer.population)
    assert watch.to_host.total() == 1


def on_the_host(state: Any) -> Any:
    """A state with its tensors where a checkpoint's are."""
    if isinstance(state, torch.Tensor):
        return state.cpu()
    if isinstance(state, dict):
        return {key: on_the_host(value) for key, value in state.items()}
    return [on_the_host(value) for value in state] if isinstance(state, list | tuple) else state
