"""Networks of other people: whatever they are built from, runs together are runs alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils.parametrizations import orthogonal, spectral_norm, weight_norm

import support.own_nets  # noqa: F401 (imported, its networks are registered)
from harness.data import load_dataset
from harness.engine import checkpoint
from harness.engine.measure import measure
from harness.engine.population import Population
from harness.engine.trainer import Trainer
from harness.network.stacked import DRAWS, Network
from harness.recipe import Recipe, find_recipe
from harness.recipe.registry import discriminators, generators
from harness.runs.sampling import sample
from harness.seeding import random_states

CPU = torch.device("cpu")


class Reassigned(nn.Module):
    """A running mean that forward assigns anew, and a count that it changes in place."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 8)
        self.register_buffer("mean", torch.ones(8))
        self.register_buffer("count", torch.zeros(()))
        self.mixes_samples = True

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.layer(inputs) * self.mean
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * outputs.detach().mean(0)
            self.count += 1
        return outputs.tanh()


class Attention(nn.Module):
    """Heads of attention over the pixels of an image, of one kind or another."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.attend = nn.MultiheadAttention(4, 2, batch_first=True)
        self.encode = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
        self.gamma = nn.Parameter(torch.full((), 0.5))

    def forward(self, images: Tensor) -> Tensor:
        words = images.flatten(2).mT
        if self.kind == "multihead":
            return self.gamma * self.attend(words, words, words, need_weights=False)[0]
        if self.kind == "encoder":
            return self.gamma * self.encode(words)
        query = words.unsqueeze(1)
        return self.gamma * F.scaled_dot_product_attention(query, query, query)


class Tied(nn.Module):
    """Two layers that share a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.second.weight = self.first.weight

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.second(self.first(inputs).tanh())
        return outputs


def images(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Unflatten(1, (2, 3, 3)), nn.Conv2d(2, 4, 3, padding=1), *layers, nn.Tanh())


NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "spectral": (lambda: nn.Sequential(spectral_norm(nn.Linear(6, 8)), nn.Tanh(), nn.Linear(8, 1)), 6),
    "spectral-transposed": (lambda: images(spectral_norm(nn.ConvTranspose2d(4, 3, 2))), 18),
    "weight-norm": (lambda: nn.Sequential(weight_norm(nn.Linear(6, 8)), nn.Tanh()), 6),
    "weight-norm-whole": (lambda: nn.Sequential(weight_norm(nn.Linear(6, 8), dim=None), nn.Tanh()), 6),
    "orthogonal": (lambda: nn.Sequential(orthogonal(nn.Linear(6, 6)), nn.Tanh()), 6),
    "reassigned": (Reassigned, 6),
    "tied": (Tied, 6),
    "group-norm": (lambda: images(nn.GroupNorm(2, 4)), 18),
    "instance-norm": (lambda: images(nn.InstanceNorm2d(4, affine=True, track_running_stats=True)), 18),
    "layer-norm": (lambda: nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Tanh()), 6),
    "batch-norm": (lambda: images(nn.BatchNorm2d(4)), 18),
    "multihead": (lambda: images(Attention("multihead")), 18),
    "encoder": (lambda: images(Attention("encoder")), 18),
    "products": (lambda: images(Attention("products")), 18),
}


def copies(make: Callable[[], nn.Module], count: int) -> list[nn.Module]:
    made = []
    for seed in range(count):
        torch.manual_seed(seed)
        made.append(make())
    return made


def step(network: Network, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs, and the gradients of their squares and of a gradient penalty; as training asks for them."""
    with torch.no_grad():
        outputs, tape = network.record(inputs)
        by_outputs = network.backward(tape, 2 * outputs).clone()
    source = inputs.detach().requires_grad_()
    (slopes,) = torch.autograd.grad(network(source).sum(), source, create_graph=True)
    axes = tuple(range(int(network.stacked), slopes.ndim))
    return outputs, by_outputs, network.gradients(slopes.square().sum(axes))


@sdpa_kernel(SDPBackend.MATH)
def plain(module: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same of a module by itself; torch's fused attention has no second derivative."""
    parameters = list(module.parameters())
    outputs = module(inputs)
    first = torch.autograd.grad(outputs.square().sum(), parameters, materialize_grads=True)
    source = inputs.detach().requires_grad_()
    (slopes,) = torch.autograd.grad(module(source).sum(), source, create_graph=True)
    second = torch.autograd.grad(slopes.square().sum(), parameters, materialize_grads=True)
    joined = (torch.cat([part.reshape(-1) for part in parts]) for parts in (first, second))
    return outputs.detach(), *joined


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("K", [1, 3])
def test_rows_are_plain_modules_through_training_evaluation_and_double_backward(name: str, K: int) -> None:
    make, width = NETWORKS[name]
    modules = copies(make, K)
    alone = copy.deepcopy(modules)
    network = Network(modules, CPU)
    draw = torch.Generator().manual_seed(0)
    for _ in range(3):
        inputs = torch.randn(K, 5, width, generator=draw)
        found = step(network, inputs if K > 1 else inputs[0])
        for row, module in enumerate(alone):
            for mine, theirs in zip(found, plain(module, inputs[row]), strict=True):
                own = mine[row] if K > 1 else mine.reshape(theirs.shape)
                assert (own - theirs).norm() <= 2e-4 * theirs.norm() + 1e-6
    for row, module in enumerate(alone):
        for key, buffer in module.named_buffers():
            torch.testing.assert_close(network.buffers[key][row], buffer, atol=1e-6, rtol=1e-5)
    before = {key: buffer.clone() for key, buffer in network.buffers.items()}
    judged = network.evaluate(inputs)
    for row, module in enumerate(alone):
        expected = module.eval()(inputs[row])
        torch.testing.assert_close(judged[row], expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(network.extract(row)(inputs[row]), expected, atol=1e-5, rtol=1e-4)
    assert all(torch.equal(before[key], buffer) for key, buffer in network.buffers.items())


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("K", [1, 2])
def test_a_saved_network_goes_on_bit_for_bit(name: str, K: int, tmp_path: Path) -> None:
    make, width = NETWORKS[name]
    first, again = (Network(copies(make, K), CPU) for _ in "ab")
    inputs = torch.randn(K, 5, width, generator=torch.Generator().manual_seed(1)).squeeze(0)
    step(first, inputs)
    checkpoint.save(tmp_path / "network.pt", first.state_dict())
    again.load_state_dict(checkpoint.load(tmp_path / "network.pt"))
    for _ in range(2):
        for mine, theirs in zip(step(first, inputs), step(again, inputs), strict=True):
            assert torch.equal(mine, theirs)
    assert all(torch.equal(first.buffers[key], again.buffers[key]) for key in first.buffers)


class Recurrent(nn.Module):
    """Layers that torch cannot map over the runs."""

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.GRU(2, 3, batch_first=True)

    def forward(self, points: Tensor) -> Tensor:
        return self.read(points.unsqueeze(1))[0].sum((1, 2))


def test_what_torch_cannot_map_is_trained_one_run_at_a_time_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def recurrent(*, sample_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        return Recurrent()

    monkeypatch.setitem(discriminators._entries, "recurrent", recurrent)
    recipe = find_recipe("ring-gan").override({"discriminator.name": "recurrent"})
    found = measure(recipe, load_dataset(recipe.data), num_threads=1, budget_sec=0.05)
    assert list(found.step_sec_by_size) == [found.population] == [1]
    assert found.obstacle.startswith("`discriminator.name` recurrent: Batching rule not implemented")


class Noisy(nn.Module):
    """Draws noise in its forward pass, in evaluation mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, latents: Tensor) -> Tensor:
        outputs: Tensor = self.layer(latents) + 0.5 * torch.randn(len(latents), 2, device=latents.device)
        return outputs


def noisy(*, sample_shape: tuple[int, ...], num_classes: int, latent_dim: int = 4) -> nn.Module:
    return Noisy()


def test_what_draws_on_a_gpu_is_told_by_the_state_of_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter(range(9))
    monkeypatch.setattr("torch.cuda.get_rng_state", lambda device: torch.tensor([next(drawn)]))
    network = Network([nn.Sequential(nn.Linear(2, 2), nn.GELU())], torch.device("cpu"))
    assert network.obstacle(torch.zeros(3, 2)) == ""
    monkeypatch.setattr(
        "harness.network.stacked.random_states", lambda _: random_states(torch.device("cuda"))
    )
    assert network.obstacle(torch.zeros(3, 2)) == DRAWS


def test_what_draws_in_its_forward_pass_is_trained_one_run_at_a_time_and_evaluated_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(generators._entries, "noisy", noisy)
    recipe = find_recipe("ring-gan").override({"generator.name": "noisy", "generator.latent_dim": 4})
    dataset = load_dataset(recipe.data)
    found = measure(recipe, dataset, num_threads=1, budget_sec=0.05)
    assert list(found.step_sec_by_size) == [found.population] == [1]
    assert found.obstacle.startswith("`generator.name` noisy: it draws from torch's random state")

    def trained() -> Population:
        torch.rand(3)  # what the process has drawn before is of no account
        population = Population([recipe], [3], dataset=dataset)
        Trainer(population, dataset).advance(3)
        return population

    latents = torch.zeros(1, 6, 4)
    first, again = trained(), trained()
    drawn = torch.get_rng_state()
    samples = first.generate(latents)
    assert samples[0].std(0).min() > 0.1
    for other in (first.generate(latents), again.generate(latents)):
        assert torch.equal(samples, other)
    assert torch.equal(drawn, torch.get_rng_state())
    network = first.generator.extract(0)
    assert torch.equal(sample(network, latents[0]), sample(network, latents[0]))


@pytest.mark.parametrize("name", NETWORKS)
def test_whether_torch_can_map_a_network_is_asked_without_a_trace(name: str) -> None:
    make, width = NETWORKS[name]
    network = Network(copies(make, 1), CPU)
    before, drawn = network.state_dict(), torch.get_rng_state()
    assert network.obstacle(torch.zeros(2, width)) == ""
    assert all(torch.equal(before["buffers"][key], buffer) for key, buffer in network.buffers.items())
    assert torch.equal(drawn, torch.get_rng_state())


def resnets(**changes: object) -> Recipe:
    """A GAN of the tests' own ResNets on small digits, by plain gradient descent."""
    settings: dict[str, object] = {
        "data.size": 8,
        "generator.name": "own-resnet",
        "generator.latent_dim": 8,
        "generator.channels": 8,
        "discriminator.name": "own-resnet",
        "discriminator.channels": 8,
        "loss.name": "hinge",
        "optimizer.name": "sgd",
        "optimizer.lr": 0.02,
        "train.batch_size": 16,
        "train.ema": 0.5,
    }
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    return find_recipe("digits-dcgan").override(settings | dotted)


@pytest.mark.parametrize("penalty", [{"loss__r1": 0.1}, {"loss__gradient_penalty": 0.1}])
def test_resnets_with_penalties_train_together_as_alone(penalty: dict[str, object]) -> None:
    recipe = resnets(**penalty)
    dataset = load_dataset(recipe.data)

    def trained(seeds: list[int], iterations: int = 3) -> Population:
        population = Population([recipe] * len(seeds), seeds, dataset=dataset)
        Trainer(population, dataset).advance(iterations)
        return population

    together = trained([3, 5])
    for row, seed in enumerate([3, 5]):
        alone, start = trained([seed]), trained([seed], 0)
        for side in ("generator", "discriminator"):
            joint, own, before = (getattr(each, side) for each in (together, alone, start))
            moved = (own.matrix[0] - before.matrix[0]).norm()
            assert (joint.matrix[row] - own.matrix[0]).norm() < 2e-3 * moved
            for name, buffer in own.buffers.items():
                torch.testing.assert_close(joint.buffers[name][row], buffer[0], atol=3e-4, rtol=1e-3)


def test_networks_go_to_a_device_all_at_once() -> None:
    modules = copies(NETWORKS["batch-norm"][0], 2)
    network = Network(modules, torch.device("meta"))
    held = [network.matrix, *network.buffers.values(), *network.module.parameters()]
    assert {tensor.device.type for tensor in held} == {"meta"}
