"""Training on images: bytes, labels, and every family of image networks, on the small digits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.data import Dataset, load_dataset, scaled
from harness.engine import checkpoint
from harness.engine.measure import measure
from harness.engine.population import Population
from harness.engine.streams import Streams
from harness.engine.trainer import Trainer
from harness.recipe import Recipe, find_recipe
from support.populations import plain_networks

FAMILIES: dict[str, dict[str, object]] = {
    "fully connected": {"generator.name": "fashion-mlp", "discriminator.name": "fashion-mlp"},
    "mnist-g1d1": {"generator.name": "mnist-g1", "discriminator.name": "mnist-d1"},
    "mnist-g3d2": {"generator.name": "mnist-g3", "discriminator.name": "mnist-d2"},
    "dcgan-28": {"generator.name": "dcgan-28", "discriminator.name": "dcgan-28"},
    "dcgan-64": {"generator.name": "dcgan-64", "discriminator.name": "dcgan-64"},
    "conditional": {"generator.name": "cgan", "discriminator.name": "cgan"},
    "conditional G": {"generator.name": "cgan", "discriminator.name": "mnist-d1"},
    "conditional D": {"generator.name": "mnist-g1", "discriminator.name": "cgan"},
    "dropout in G": {
        "generator.name": "mnist-g2",
        "generator.dropout": 0.3,
        "generator.activation": "leaky",
        "discriminator.name": "mnist-d1",
    },
}
families = pytest.mark.parametrize("family", FAMILIES)


def small(family: str = "conditional", **changes: object) -> Recipe:
    """A family's networks at a quarter of their width, on 8×8 digits."""
    return find_recipe("points-gan").override(
        {
            "data.name": "digits",
            **FAMILIES[family],
            "generator.latent_dim": 8,
            "generator.width": 0.25,
            "discriminator.width": 0.25,
            "train.batch_size": 32,
            "train.epochs": 1,
            **{key.replace("__", "."): value for key, value in changes.items()},
        }
    )


def digits() -> Dataset:
    return load_dataset(small().data)


def trained(recipes: Sequence[Recipe], seeds: Sequence[int], iterations: int) -> Population:
    population = Population(recipes, seeds, dataset=digits())
    Trainer(population, digits()).advance(iterations)
    return population


def matrices(population: Population) -> list[Tensor]:
    networks = (population.generator, population.discriminator)
    return [tensor for network in networks for tensor in (network.matrix, *network.buffers.values())]


def distance(found: Tensor, expected: Tensor, start: Tensor) -> float:
    """How far two results are apart, over how far training moved."""
    return float((found - expected).norm() / (expected - start).norm())


@families
def test_a_population_equals_single_runs(family: str) -> None:
    # Plain gradient descent: a bias before batch norm has no gradient but noise, which the others blow up.
    variants = [
        small(family, optimizer__name="sgd", optimizer__lr=0.05, generator_optimizer__lr=lr)
        for lr in (0.02, 0.05, 0.1)
    ]
    seeds = [0, 3, 5]
    together = trained(variants, seeds, 4)
    start = Population(variants, seeds, dataset=digits())
    for row, (variant, seed) in enumerate(zip(variants, seeds, strict=True)):
        alone = trained([variant], [seed], 4)
        for network in ("generator", "discriminator"):
            before, single, joint = (getattr(p, network) for p in (start, alone, together))
            assert distance(joint.matrix[row], single.matrix[0], before.matrix[row]) < 5e-3, network
            for name, buffer in single.buffers.items():
                torch.testing.assert_close(joint.buffers[name][row], buffer[0], atol=1e-3, rtol=1e-2)


@families
def test_training_is_resumed_bit_for_bit(family: str, tmp_path: Path, subtests: pytest.Subtests) -> None:
    recipe = small(family, train__reuse_fakes=True, optimizer__name="adam")

    def trainer(K: int) -> Trainer:
        return Trainer(Population([recipe] * K, range(K), dataset=digits()), digits(), log_every_steps=7)

    for K in (1, 2):
        with subtests.test(K=K):
            whole = trainer(K)
            states = [whole.state_dict() for _ in whole.run()]
            checkpoint.save(tmp_path / "c.pt", states[2])
            resumed = trainer(K)
            resumed.load_state_dict(checkpoint.load(tmp_path / "c.pt"))
            list(resumed.run())
            for found, expected in zip(matrices(resumed.population), matrices(whole.population), strict=True):
                assert torch.equal(found, expected)


@families
def test_generated_and_judged_samples_are_those_of_the_plain_modules(
    family: str, subtests: pytest.Subtests
) -> None:
    for K in [1, 2]:
        with subtests.test(K=K):
            population = trained([small(family)] * K, range(K), 2)
            trainer = Trainer(population, digits())
            latents = torch.stack([trainer.fixed_latents(row, 25) for row in range(K)])
            labels = trainer.fixed_labels(25)
            samples = population.generate(latents, labels)
            scores = population.discriminate(samples, labels)
            assert samples.shape == (K, 25, 1, 8, 8)
            assert scores.shape == (K, 25)
            for row in range(K):
                generator, discriminator = plain_networks(population, row)
                with torch.no_grad():
                    given = (labels,) if population.generator.takes_labels else ()
                    torch.testing.assert_close(
                        samples[row], generator(latents[row], *given), atol=1e-5, rtol=1e-5
                    )
                    given = (labels,) if population.discriminator.takes_labels else ()
                    expected = discriminator(samples[row], *given)
                    torch.testing.assert_close(scores[row], expected, atol=1e-5, rtol=1e-5)


# Labels


def test_labels_of_fakes_are_uniform_and_a_run_s_own() -> None:
    together = Trainer(Population([small()] * 2, [3, 5], dataset=digits()), digits())
    alone = Trainer(Population([small()], [5], dataset=digits()), digits())
    counts = torch.zeros(10)
    for index in range(200):
        joint, single = together.input(index), alone.input(index)
        assert len(single.labels) == len(single.latents)
        for batch, own in zip(joint.labels, single.labels, strict=True):
            assert torch.equal(batch[1], own)
            assert not torch.equal(batch[0], own)
            counts += own.bincount(minlength=10)
    share = counts / counts.sum()
    assert float((share - 0.1).abs().max()) < 0.015


def test_labels_change_no_other_random_number() -> None:
    labelled, plain = (
        Trainer(Population([small(family)], [5], dataset=digits()), digits()).input(70)
        for family in ("conditional", "mnist-g1d1")
    )
    assert torch.equal(labelled.real[0], plain.real[0])
    assert torch.equal(labelled.latents[0], plain.latents[0])
    assert plain.labels == plain.real_labels == ()


def test_real_samples_keep_their_own_labels() -> None:
    dataset = digits()
    assert dataset.train_labels is not None
    whole = {
        scaled(image).numpy().tobytes(): int(label)
        for image, label in zip(dataset.train, dataset.train_labels, strict=True)
    }
    trainer = Trainer(Population([small()] * 2, [3, 5], dataset=dataset), dataset)
    for index in (0, 63, 64, 200):
        batches = trainer.input(index)
        for image, label in zip(batches.real[0].flatten(0, 1), batches.real_labels[0].flatten(), strict=True):
            assert whole[image.numpy().tobytes()] == int(label)


@pytest.mark.parametrize("order", ["generator-first", "discriminator-first"])
@pytest.mark.parametrize("reuse", [False, True])
def test_d_sees_fakes_with_the_labels_they_were_made_with(
    order: str, reuse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(
        Population([small(train__order=order, train__reuse_fakes=reuse)], [0], dataset=digits()), digits()
    )
    discriminator, generator = trainer.population.discriminator, trainer.population.generator
    made: dict[bytes, Tensor] = {}
    shown: list[tuple[Tensor, Tensor | None]] = []
    call, record = type(generator).__call__, type(generator).record

    def watch_call(self: Any, inputs: Tensor, labels: Tensor | None = None) -> Tensor:
        outputs = call(self, inputs, labels)
        if self is generator and labels is not None:
            made.update(zip(map(bytes, outputs.detach().numpy()), labels, strict=True))
        return outputs

    def watch_record(self: Any, inputs: Tensor, labels: Tensor | None = None, **options: bool) -> Any:
        if self is discriminator:
            shown.append((inputs, labels))
        return record(self, inputs, labels, **options)

    monkeypatch.setattr(type(generator), "__call__", watch_call)
    monkeypatch.setattr(type(generator), "record", watch_record)
    trainer.advance(3)
    fakes = 0
    for samples, labels in shown:
        assert labels is not None
        for sample, label in zip(samples.numpy(), labels, strict=True):
            if bytes(sample) in made:
                fakes += 1
                assert made[bytes(sample)] == label
    assert fakes == 3 * 2 * 32  # a batch for D and one for G, three times


def test_fixed_labels_cycle_through_the_classes() -> None:
    trainer = Trainer(Population([small()] * 2, [0, 1], dataset=digits()), digits())
    labels = trainer.fixed_labels(25)
    assert labels is not None
    assert labels.tolist() == [*range(10), *range(10), *range(5)]
    unlabelled = small("dcgan-28")
    assert Trainer(Population([unlabelled], [0], dataset=digits()), digits()).fixed_labels(9) is None


def test_a_conditional_generator_needs_labels() -> None:
    population = Population([small()], [0], dataset=digits())
    with pytest.raises(ValueError, match=r"`generator.name` cgan is class-conditional, but no labels were"):
        population.generate(torch.randn(1, 4, 8))
    with pytest.raises(ValueError, match=r"`discriminator.name` cgan is class-conditional, but no labels"):
        population.discriminate(digits().test[:4])


def test_labels_for_each_run_reach_their_row() -> None:
    population = trained([small()] * 2, [4, 4], 1)
    latents = torch.randn(1, 6, 8).expand(2, 6, 8)
    labels = torch.stack([torch.arange(6), torch.arange(6).flip(0)])
    both = population.generate(latents, labels)
    torch.testing.assert_close(both[0], population.generate(latents, labels[0])[0])
    torch.testing.assert_close(both[1], population.generate(latents, labels[1])[1])
    assert not torch.allclose(both[0, 0], both[1, 0])


@pytest.mark.parametrize("K", [1, 2])
@pytest.mark.parametrize(
    "changes",
    [
        {"loss.name": "relativistic"},
        {"loss.name": "wasserstein", "loss.gradient_penalty": 1.0, "train.discriminator_steps": 2},
        {"loss.r1": 0.5, "loss.r2": 0.5},
    ],
)
def test_losses_that_look_at_both_batches_work_with_labels(changes: dict[str, object], K: int) -> None:
    recipe = small().override(changes)
    together = trained([recipe] * K, range(K), 3)
    alone = trained([recipe], [K - 1], 3)
    start = Population([recipe], [K - 1], dataset=digits())
    assert together.discriminator.matrix.isfinite().all()
    for network in ("generator", "discriminator"):
        before, single, joint = (getattr(p, network).matrix for p in (start, alone, together))
        assert distance(joint[K - 1], single[0], before[0]) < 5e-3


def test_a_retired_run_leaves_labels_to_the_others() -> None:
    population = trained([small()] * 3, range(3), 2)
    latents, labels = torch.randn(3, 7, 8), torch.randint(10, (3, 7))
    expected = population.generate(latents, labels)
    judged = population.discriminate(expected, labels)
    population.retire([1])
    assert torch.equal(population.generate(latents[[0, 2]], labels[[0, 2]]), expected[[0, 2]])
    assert torch.equal(population.discriminate(expected[[0, 2]], labels[[0, 2]]), judged[[0, 2]])


# Bytes


def test_bytes_reach_the_networks_scaled() -> None:
    dataset = digits()
    assert dataset.train.dtype == torch.uint8
    batch = Trainer(Population([small()], [0], dataset=dataset), dataset).input(0).real[0]
    assert batch.dtype == torch.float32
    assert float(batch.min()) == -1
    assert float(batch.max()) == 1
    rows = {scaled(image).numpy().tobytes() for image in dataset.train}
    assert all(image.numpy().tobytes() in rows for image in batch)


def test_blocks_are_held_as_bytes_of_a_bounded_size() -> None:
    train = torch.randint(256, (300, 3, 32, 32), dtype=torch.uint8)
    streams = Streams(
        [0, 1],
        train,
        device=torch.device("cpu"),
        batch_size=64,
        latent_dim=10,
        num_real=1,
        num_latents=1,
        with_mixes=False,
        stacked=True,
    )
    assert streams[0].real[0].shape == (2, 64, 3, 32, 32)
    held = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in streams.tensors()}
    assert streams.block_size == 2**22 // (64 * 3 * 32 * 32)
    assert max(held.values()) <= 2 * 2**22


def test_bytes_are_judged_as_they_are_stored() -> None:
    population = trained([small("dcgan-28")] * 2, range(2), 1)
    test = digits().test[:50]
    assert torch.equal(population.discriminate(test), population.discriminate(scaled(test)))


def test_a_set_mapped_from_a_file_trains_like_one_in_memory(tmp_path: Path) -> None:
    dataset, recipe = digits(), small("dcgan-28")
    dataset.train.numpy().tofile(tmp_path / "images")
    mapped = torch.from_numpy(np.memmap(tmp_path / "images", np.uint8, "c", shape=tuple(dataset.train.shape)))
    results = []
    for train in (dataset.train, mapped):
        data = replace(dataset, train=train)
        population = Population([recipe], [1], dataset=data)
        Trainer(population, data).advance(5)
        results.append(matrices(population))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_many_samples_are_evaluated_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.engine import population as module

    population = trained([small()] * 2, range(2), 2)
    latents, labels = torch.randn(2, 33, 8), torch.arange(33) % 10
    whole = population.generate(latents, labels)
    scores = population.discriminate(whole, labels)
    monkeypatch.setattr(module, "_MAX_NUMBERS", 2 * 64 * 10)
    torch.testing.assert_close(population.generate(latents, labels), whole, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(population.discriminate(whole, labels), scores, atol=1e-6, rtol=1e-5)


# Measurement


@pytest.mark.parametrize("family", ["conditional", "dcgan-28"])
def test_image_recipes_are_measured(family: str) -> None:
    found = measure(small(family), digits(), num_threads=1, budget_sec=0.2)
    assert 0 < found.step_sec_by_size[found.population] < 1
    assert found.memory_bytes > 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("K", [1, 2])
@families
def test_a_set_left_on_the_host_trains_on_cuda_like_one_that_moved(
    family: str, K: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.data import dataset as module

    results = []
    for fits in (True, False):
        monkeypatch.setattr(module, "_fits", lambda samples, device, fits=fits: fits)
        population = Population([small(family)] * K, range(K), dataset=digits(), device="cuda")
        trainer = Trainer(population, digits())
        assert trainer.input(0).real[0].is_cuda
        trainer.advance(2)
        results.append(matrices(population))
    for moved, left in zip(*results, strict=True):
        torch.testing.assert_close(moved, left)
