"""Populations: K runs in lockstep are K runs alone."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.data import Dataset, load_dataset
from harness.engine.population import Population
from harness.engine.streams import Streams
from harness.engine.trainer import Trainer
from harness.network.stacked import Network, mixes_samples
from harness.recipe import Recipe, find_recipe
from harness.recipe.networks import build_discriminator, build_generator
from harness.recipe.registry import recipes
from harness.recipe.structure import structure
from support.populations import plain_networks

SMALL = {"generator.width": 0.25, "discriminator.width": 0.25, "train.batch_size": 32}
DIGITS: dict[str, object] = {
    **SMALL,
    "data.name": "digits",
    "data.size": 8,
    "optimizer.name": "sgd",
    "optimizer.lr": 0.05,
}
"""Changes that make any recipe of images quick to train, and its data sure to be there.

Plain gradient descent, since a bias before batch norm has no gradient but noise, which the others blow up.
"""


def small(name: str = "points-gan", **changes: object) -> Recipe:
    """A recipe of points with a quarter of the units, quick to train."""
    return find_recipe(name).override({**SMALL, **{k.replace("__", "."): v for k, v in changes.items()}})


def data(recipe: Recipe) -> Dataset:
    return load_dataset(recipe.data)


def trained(variants: Sequence[Recipe], seeds: Sequence[int], iterations: int) -> Population:
    population = Population(variants, seeds, dataset=data(variants[0]))
    Trainer(population, data(variants[0])).advance(iterations)
    return population


def distance(found: Tensor, expected: Tensor, start: Tensor) -> float:
    """How far two results are apart, over how far training moved."""
    return float((found - expected).norm() / (expected - start).norm())


def quick(name: str) -> Recipe:
    """A recipe as it is, but one of images with small digits and narrow networks."""
    recipe = find_recipe(name)
    if "size" not in recipe.data.options:
        return recipe
    known = recipe.keys()
    changes = {key: value for key, value in DIGITS.items() if not key.endswith(".width") or key in known}
    if recipe.train.grow_images:
        changes["train.grow_images"] = 64  # the third batch begins to fade, so that the fourth is half faded
    return recipe.override(changes)


@pytest.mark.parametrize("name", recipes.names())
def test_population_of_four_equals_four_single_runs(name: str) -> None:
    recipe = quick(name)
    rates = [1.0, 0.5, 2.0, 1.0]
    lr = float(recipe.flat()["discriminator_optimizer.lr"])
    variants = [recipe.override({"discriminator_optimizer.lr": lr * rate}) for rate in rates]
    seeds = [0, 1, 2, 7]
    together = trained(variants, seeds, 4)
    for row, (variant, seed) in enumerate(zip(variants, seeds, strict=True)):
        start = Population([variant], [seed], dataset=data(variant))
        alone = trained([variant], [seed], 4)
        for network in ("generator", "discriminator"):
            before, single, joint = (getattr(p, network).matrix for p in (start, alone, together))
            assert distance(joint[row], single[0], before[0]) < 2e-3, network
        for name_, buffer in alone.generator.buffers.items():
            torch.testing.assert_close(
                together.generator.buffers[name_][row], buffer[0], atol=3e-4, rtol=1e-3
            )


def test_runs_of_different_learning_rates_differ() -> None:
    """The comparison above would not notice if all rows took one rate and one seed."""
    variants = [small(), small(generator_optimizer__lr=1e-4)]
    population = trained(variants, [3, 3], 3)
    a, b = population.generator.matrix
    assert distance(a, b, Population(variants, [3, 3], dataset=data(small())).generator.matrix[0]) > 0.3


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("loss.r1", [0.1, 10.0]),
        ("loss.r2", [0.1, 10.0]),
        ("loss.drift", [0.1, 10.0]),
        ("loss.gradient_penalty", [0.1, 10.0]),
        ("loss.weight_clip", [0.01, 0.1]),
        ("loss.discriminator_scale", [0.1, 0.5]),
        ("loss.discriminator_scale", [1.0, 0.2]),
        ("loss.generator_scale", [1.0, 3.0]),
        ("train.ema", [0.5, 0.9]),
        ("discriminator_optimizer.alpha", [0.5, 0.9]),
        ("generator_optimizer.momentum", [0.1, 0.9]),
    ],
)
def test_every_number_of_a_run_reaches_its_row(key: str, values: list[float]) -> None:
    # Plain gradient descent, since the others hide the size of a gradient.
    rule = "rmsprop" if "alpha" in key else "sgd"
    base = small("points-gan", optimizer__name=rule, optimizer__lr=1e-3 if rule == "rmsprop" else 0.05)
    variants = [base.override({key: value}) for value in values]
    together = trained(variants, [5, 5], 6)
    singles = [trained([variant], [5], 6) for variant in variants]
    start = Population(variants[:1], [5], dataset=data(variants[0]))

    def weights(population: Population, row: int) -> Tensor:
        average = population.average
        generator = population.generator.matrix if average is None else average
        return torch.cat([generator[row], population.discriminator.matrix[row]])

    errors = [
        distance(weights(together, row), weights(single, 0), weights(start, 0))
        for row, single in enumerate(singles)
    ]
    assert max(errors) < 2e-3
    assert distance(weights(together, 0), weights(together, 1), weights(start, 0)) > 20 * max(errors)


def test_structure_ignores_numbers_and_nothing_else() -> None:
    base = small()
    same: list[dict[str, object]] = [
        {"optimizer.lr": 1e-3},
        {"optimizer.alpha": 0.5},
        {"loss.discriminator_scale": 0.5},
        {"loss.generator_scale": 2.0},
    ]
    other: list[dict[str, object]] = [
        {"optimizer.name": "adam"},
        {"optimizer.momentum": 0.9},
        {"optimizer.centered": True},
        {"loss.name": "hinge"},
        {"loss.r1": 1.0},
        {"loss.clamp": 100.0},
        {"loss.clamp": 50.0},
        {"loss.early_generator": "non-saturating"},
        {"loss.early_steps": 10},
        {"train.batch_size": 64},
        {"train.discriminator_steps": 2},
        {"train.ema": 0.9},
        {"generator.depth": 1},
        {"generator.batch_norm_eps": 0.1},
        {"evaluate.every_epochs": 7},
    ]
    assert all(structure(base.override(change)) == structure(base) for change in same)
    assert all(structure(base.override(change)) != structure(base) for change in other)
    assert len({structure(base.override(change)) for change in same + other}) == 1 + len(other)


@pytest.mark.parametrize(
    ("variants", "seeds", "message"),
    [
        ([], [], "needs at least one run"),
        ([small()], [0, 1], "got 1 runs and 2 seeds"),
        ([small(), small(train__batch_size=64)], [0, 1], "`train.batch_size` is 32 in one and 64"),
        ([small(), small(loss__r1=0.5)], [0, 1], "`loss.r1` is 0.0 in one and 0.5 in another"),
    ],
)
def test_runs_that_do_not_fit_together_are_refused(
    variants: list[Recipe], seeds: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Population(variants, seeds, dataset=data(small()))


def test_arms_with_one_seed_share_initialisation_order_and_noise() -> None:
    adam, sgd = small(optimizer__name="adam"), small(optimizer__name="sgd")
    first, second = (Population([arm], [4], dataset=data(arm)) for arm in (adam, sgd))
    assert torch.equal(first.generator.matrix, second.generator.matrix)
    assert torch.equal(first.discriminator.matrix, second.discriminator.matrix)
    batches = [Trainer(p, data(adam)).input(70) for p in (first, second)]
    assert torch.equal(batches[0].real[0], batches[1].real[0])
    assert torch.equal(batches[0].latents[0], batches[1].latents[0])


def test_initialisation_depends_on_the_seed_and_not_on_the_global_state_or_neighbours() -> None:
    torch.manual_seed(1)
    alone = Population([small()], [4], dataset=data(small()))
    torch.manual_seed(2)
    before = torch.get_rng_state()
    together = Population([small()] * 2, [9, 4], dataset=data(small()))
    assert torch.equal(alone.generator.matrix[0], together.generator.matrix[1])
    assert not torch.equal(together.generator.matrix[0], together.generator.matrix[1])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("K", [1, 3])
def test_generate_equals_the_plain_module_of_each_row(K: int) -> None:
    population = trained([small(train__ema=0.5)] * K, range(K), 5)
    latents = torch.randn(K, 20, 2)
    samples = population.generate(latents)
    scores = population.discriminate(samples)
    shared = population.discriminate(samples[0])
    assert samples.shape == (K, 20, 2)
    assert scores.shape == shared.shape == (K, 20)
    assert not samples.requires_grad
    for row in range(K):
        with torch.no_grad():
            generator, discriminator = plain_networks(population, row)
            expected = generator(latents[row])
            torch.testing.assert_close(samples[row], expected)
            torch.testing.assert_close(scores[row], discriminator(expected), atol=1e-6, rtol=1e-5)
            torch.testing.assert_close(shared[row], discriminator(samples[0]), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("K", [1, 3])
def test_evaluation_leaves_training_as_it_was(K: int) -> None:
    watched, plain = (Population([small()] * K, range(K), dataset=data(small())) for _ in range(2))
    trainers = [Trainer(population, data(small())) for population in (watched, plain)]
    for _ in range(3):
        for trainer in trainers:
            trainer.advance(2)
        watched.discriminate(watched.generate(torch.randn(K, 50, 2)))
        plain_networks(watched, 0)[0](torch.randn(9, 2))
    assert torch.equal(watched.generator.matrix, plain.generator.matrix)
    for name, buffer in plain.generator.buffers.items():
        assert torch.equal(watched.generator.buffers[name], buffer)


@pytest.mark.parametrize("K", [1, 2])
def test_running_average_follows_its_definition(K: int) -> None:
    decays = [0.9, 0.5][:K]
    variants = [small(train__ema=decay) for decay in decays]
    population = Population(variants, range(K), dataset=data(small()))
    trainer = Trainer(population, data(small()))
    expected = population.generator.matrix.double()
    for _ in range(6):
        trainer.advance(1)
        decay = torch.tensor(decays, dtype=torch.float64).unsqueeze(1)
        expected = decay * expected + (1 - decay) * population.generator.matrix.double()
    assert population.average is not None
    torch.testing.assert_close(population.average.double(), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("keep", [[0], [2], [0, 2], [1, 2, 3]])
def test_rows_kept_go_on_as_before(keep: list[int]) -> None:
    variants = [small("points-wgan", optimizer__lr=lr) for lr in (5e-5, 1e-4, 5e-5, 2e-4)]
    whole, part = (
        Trainer(Population(variants, range(4), dataset=data(small())), data(small())) for _ in "ab"
    )
    for trainer in (whole, part):
        trainer.advance(5)
    part.keep(keep)
    for trainer in (whole, part):
        trainer.advance(70)  # past the end of a block of input
    assert part.live == part.population.rows == tuple(keep)
    for row, state in ((row, whole.population.run_state(row)) for row in keep):
        torch.testing.assert_close(part.population.run_state(row), state, atol=2e-3, rtol=2e-3)
    with pytest.raises(ValueError, match="is not live; live rows: "):
        part.population.run_state(next(row for row in range(4) if row not in keep))


@pytest.mark.parametrize("seeds", [[0], [0, 1, 2]])
def test_a_runs_networks_are_copied_once_and_without_its_optimisers(
    seeds: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small("points-gan", train__ema=0.9, optimizer__name="adam")
    population = Population([recipe] * len(seeds), seeds, dataset=data(recipe))
    copied, clone = [0], Tensor.clone

    def counted(self: Tensor, **more: Any) -> Tensor:
        copied[0] += self.nbytes
        return clone(self, **more)

    expected = {
        "generator": population.generator.extract(0).state_dict(),
        "discriminator": population.discriminator.extract(0).state_dict(),
        "generator_average": population.generator.extract(0, population.average).state_dict(),
    }
    monkeypatch.setattr(Tensor, "clone", counted)
    networks = population.networks(0)
    assert {name: list(part) for name, part in networks.items()} == {n: list(p) for n, p in expected.items()}
    for name, part in networks.items():
        assert all(torch.equal(tensor, expected[name][key]) for key, tensor in part.items())
    assert copied[0] == sum(tensor.nbytes for part in networks.values() for tensor in part.values())


def test_parameters_of_a_single_run_are_views_of_its_row() -> None:
    population = Population([small()], [0], dataset=data(small()))
    assert not population.stacked
    population.generator.matrix.fill_(0.25)
    assert all((p == 0.25).all() for p in population.generator.module.parameters())
    start = population.generator.matrix.data_ptr()
    addresses = [p.data_ptr() - start for p in population.generator.module.parameters()]
    assert addresses[0] == 0
    assert addresses == sorted(addresses)
    assert addresses[-1] < population.generator.matrix.nbytes


@pytest.mark.parametrize("name", ["points-gan", "ring-gan"])
@pytest.mark.parametrize("K", [1, 3])
def test_gradients_equal_autograd_on_plain_modules(name: str, K: int) -> None:
    recipe = find_recipe(name)
    modules: list[nn.Module] = []
    copies: list[nn.Module] = []
    for seed in range(K):
        for group in (modules, copies):
            torch.manual_seed(seed)
            group.append(build_generator(recipe, (2,)))
    network = Network(modules, torch.device("cpu"))
    latents = torch.randn(K, 16, recipe.latent_dim)
    samples = network(latents if K > 1 else latents[0]).reshape(K, 16, 2)
    gradients = network.gradients(samples.square().sum((1, 2)) if K > 1 else samples.square().sum())
    for row, module in enumerate(copies):
        module(latents[row]).square().sum().backward()
        expected = torch.cat([p.grad.reshape(-1) for p in module.parameters() if p.grad is not None])
        torch.testing.assert_close(gradients[row], expected, atol=1e-4, rtol=1e-4)
        state: Mapping[str, Tensor] = module.state_dict()
        for key, buffer in network.buffers.items():
            torch.testing.assert_close(buffer[row], state[key])


def test_layers_that_mix_samples_are_found() -> None:
    assert mixes_samples(build_generator(find_recipe("points-gan"), (2,)))
    assert not mixes_samples(build_discriminator(find_recipe("points-gan"), (2,)))


def streams(seeds: Sequence[int], *, stacked: bool, num: int = 100, batch: int = 8) -> Streams:
    return Streams(
        seeds,
        torch.arange(num, dtype=torch.float32),
        device=torch.device("cpu"),
        batch_size=batch,
        latent_dim=3,
        num_real=2,
        num_latents=3,
        with_mixes=True,
        stacked=stacked,
    )


def test_every_epoch_shows_each_sample_at_most_once_and_the_order_changes() -> None:
    source = streams([5], stacked=False)
    steps = [batch for index in range(60) for batch in source[index].real]
    epochs = [torch.cat(steps[start : start + 12]) for start in range(0, 120, 12)]  # 100 // 8 batches each
    assert all(len(set(epoch.tolist())) == 96 for epoch in epochs)
    assert len({tuple(epoch.tolist()) for epoch in epochs}) == len(epochs)
    assert len(set(torch.cat(epochs).tolist())) == 100


def test_input_of_a_run_is_the_same_alone_in_a_population_and_in_any_order() -> None:
    together, alone = streams([3, 5], stacked=True), streams([5], stacked=False)
    late = [batch.clone() for batch in alone[200].latents]
    for index in (0, 63, 64, 65, 200):
        for group in ("real", "latents", "mixes"):
            for joint, single in zip(
                getattr(together[index], group), getattr(alone[index], group), strict=True
            ):
                assert torch.equal(joint[1], single)
                assert not torch.equal(joint[0], single)
    assert all(torch.equal(a, b) for a, b in zip(late, alone[200].latents, strict=True))


def test_latents_are_standard_normal_and_mixes_uniform() -> None:
    source = streams([11], stacked=False)
    latents = torch.cat([z for index in range(300) for z in source[index].latents])
    mixes = torch.cat([u for index in range(300) for u in source[index].mixes])
    assert abs(float(latents.mean())) < 0.02
    assert abs(float(latents.std()) - 1) < 0.02
    assert float(mixes.min()) >= 0
    assert float(mixes.max()) < 1
    assert abs(float(mixes.mean()) - 0.5) < 0.02


@pytest.mark.parametrize("K", [1, 2])
def test_a_population_that_nobody_holds_is_freed_at_once(K: int) -> None:
    recipe = find_recipe("ring-gan")
    population = Population([recipe] * K, range(K), dataset=data(recipe))
    held = weakref.ref(population.generator.matrix)
    gc.disable()
    try:
        del population
        assert held() is None
    finally:
        gc.enable()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("K", [1, 4])
@pytest.mark.parametrize("name", ["points-gan", "points-wgan-gp", "ring-gan"])
def test_a_population_on_cuda_equals_one_on_the_cpu(name: str, K: int) -> None:
    recipe = find_recipe(name)
    on_cpu = Population([recipe] * K, range(K), dataset=data(recipe))
    start = on_cpu.generator.matrix.clone()
    on_cuda = Population([recipe] * K, range(K), dataset=data(recipe), device="cuda")
    assert torch.equal(start, on_cuda.generator.matrix.cpu())
    trainer, other = (Trainer(population, data(recipe)) for population in (on_cpu, on_cuda))
    for index in range(4):
        batches = trainer.input(index)
        trainer.iterate(batches)
        moved = type(batches)(
            *([t.cuda() for t in group] for group in (batches.real, batches.latents, batches.mixes))
        )
        other.iterate(moved)
    assert distance(on_cuda.generator.matrix.cpu(), on_cpu.generator.matrix, start) < 1e-2
