"""Chains of known layers compute what the modules and autograd do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from harness.network.chain import chain_of
from harness.network.stacked import Network, Tape
from harness.recipe import find_recipe
from harness.recipe.networks import build_discriminator, build_generator

B = 12


class Scores(nn.Module):
    """Layers, then one number a sample without its axis."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, inputs: Tensor) -> Tensor:
        scores: Tensor = self.layers(inputs.flatten(1))
        return scores.squeeze(-1)


def points(name: str, which: str) -> nn.Module:
    recipe = find_recipe(name)
    return (build_generator if which == "G" else build_discriminator)(recipe, (2,))


KNOWN: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "points G": (lambda: points("points-gan", "G"), (2,)),
    "points D": (lambda: points("points-gan", "D"), (2,)),
    "tiny G": (lambda: points("ring-gan", "G"), (find_recipe("ring-gan").latent_dim,)),
    "tiny D": (lambda: points("ring-gan", "D"), (2,)),
    "scores": (lambda: Scores(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 1), nn.Sigmoid()), (2, 3)),
    "no bias": (lambda: nn.Sequential(nn.Linear(3, 5, bias=False), nn.ReLU(), nn.Linear(5, 2)), (3,)),
    "flattened": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(6, 1), nn.Flatten(0)), (2, 3)),
    "unflattened": (lambda: nn.Sequential(nn.Linear(3, 8), nn.Unflatten(1, (2, 4)), nn.Identity()), (3,)),
    "wide input": (lambda: nn.Sequential(nn.Linear(3, 5), nn.LeakyReLU(0.1), nn.Linear(5, 4)), (2, 3)),
    "batch norm 2-d": (
        lambda: nn.Sequential(
            nn.Linear(3, 8), nn.Unflatten(1, (2, 2, 2)), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2)
        ),
        (3,),
    ),
}


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.layer(inputs) if inputs.sum() > 0 else inputs
        return outputs


class Adding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = inputs + self.layer(inputs)
        return outputs


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.second.weight = self.first.weight

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.second(self.first(inputs))
        return outputs


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.first(inputs)
        return outputs


class Twice(Unused):
    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.second(self.first(self.first(inputs)))
        return outputs


class Doubled(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def parametrized() -> nn.Module:
    layer = nn.Linear(3, 3)
    nn.utils.parametrize.register_parametrization(layer, "weight", Doubled())
    return layer


def hooked() -> nn.Module:
    module = nn.Sequential(nn.Linear(3, 3))
    module[0].register_forward_hook(lambda *_: None)
    return module


UNKNOWN: dict[str, Callable[[], nn.Module]] = {
    "a branch": Branching,
    "an addition": Adding,
    "a shared weight": Shared,
    "a hook": hooked,
    "a convolution": lambda: nn.Sequential(nn.Unflatten(1, (1, 3)), nn.Conv1d(1, 2, 1), nn.Flatten()),
    "a parametrised layer": lambda: nn.Sequential(parametrized()),
    "layer norm": lambda: nn.Sequential(nn.LayerNorm(3)),
    "dropout": lambda: nn.Sequential(nn.Dropout(0.0), nn.Linear(3, 3)),
    "an unused layer": Unused,
    "a layer used twice": Twice,
    "a running mean without momentum": lambda: nn.Sequential(nn.BatchNorm1d(3, momentum=None)),
}


def modules(build: Callable[[], nn.Module], K: int) -> list[nn.Module]:
    made = []
    for seed in range(K):
        torch.manual_seed(seed)
        made.append(build())
    return made


def test_a_chain_equals_the_module_its_gradients_and_its_buffers(subtests: pytest.Subtests) -> None:
    """Twice over, for the running statistics; with and without autograd in turn."""
    for build, shape in KNOWN.values():
        for K in [1, 3]:
            with subtests.test(build=build, shape=shape, K=K):
                network, plain = Network(modules(build, K), torch.device("cpu")), modules(build, K)
                assert network._chain is not None
                inputs = torch.randn(K, B, *shape)
                own = inputs if K > 1 else inputs[0]
                for by_hand in (True, False, True):
                    if by_hand:
                        with torch.no_grad():
                            outputs, record = network.record(own)
                            kept = outputs.clone()
                            gradients = network.backward(record, 2 * outputs)
                            outputs = kept
                    else:
                        outputs = network(own)
                        squares = outputs.square()
                        gradients = network.gradients(squares.flatten(1).sum(1) if K > 1 else squares.sum())
                    outputs = outputs.reshape(K, *outputs.shape[K > 1 :])
                    for row, module in enumerate(plain):
                        module.zero_grad()
                        expected = module(inputs[row])
                        torch.testing.assert_close(outputs[row], expected, atol=1e-5, rtol=1e-5)
                        expected.square().sum().backward()
                        flat = torch.cat(
                            [p.grad.reshape(-1) for p in module.parameters() if p.grad is not None]
                        )
                        torch.testing.assert_close(gradients[row], flat, atol=1e-4, rtol=1e-4)
                        for name, buffer in module.named_buffers():
                            torch.testing.assert_close(network.buffers[name][row], buffer)


def test_a_backward_pass_to_the_inputs_equals_autograd_and_touches_nothing(subtests: pytest.Subtests) -> None:
    for build, shape in KNOWN.values():
        for K in [1, 3]:
            with subtests.test(build=build, shape=shape, K=K):
                network = Network(modules(build, K), torch.device("cpu"))
                inputs = torch.randn(K, B, *shape)
                before = inputs.clone()
                with torch.no_grad():
                    outputs, record = network.record(inputs if K > 1 else inputs[0], to_inputs=True)
                    found = network.backward(record, 2 * outputs).reshape(inputs.shape)
                assert torch.equal(inputs, before)
                for row, module in enumerate(modules(build, K)):
                    source = inputs[row].clone().requires_grad_()
                    (expected,) = torch.autograd.grad(module(source).square().sum(), source)
                    torch.testing.assert_close(found[row], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("K", [1, 3])
def test_a_module_that_is_no_chain_has_the_same_passes(K: int) -> None:
    network = Network(modules(Adding, K), torch.device("cpu"))
    assert network._chain is None
    inputs = torch.randn(K, B, 3)
    own = inputs if K > 1 else inputs[0]
    with torch.no_grad():
        outputs, record = network.record(own)
        gradients = network.backward(record, 2 * outputs)
        outputs, record = network.record(own, to_inputs=True)
        by_inputs = network.backward(record, 2 * outputs).reshape(inputs.shape)
    assert not outputs.requires_grad
    for row, module in enumerate(modules(Adding, K)):
        source = inputs[row].clone().requires_grad_()
        targets = [source, *module.parameters()]
        expected, *flat = torch.autograd.grad(module(source).square().sum(), targets)
        torch.testing.assert_close(by_inputs[row], expected, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(
            gradients[row], torch.cat([part.reshape(-1) for part in flat]), atol=1e-4, rtol=1e-4
        )


@pytest.mark.parametrize("K", [1, 3])
@pytest.mark.parametrize("build", [Adding, lambda: Scores(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))])
def test_the_gradient_of_two_passes_is_the_sum_of_theirs_bit_for_bit(
    build: Callable[[], nn.Module], K: int
) -> None:
    network = Network(modules(build, K), torch.device("cpu"))
    first, second = (torch.randn(K, B, 3) if K > 1 else torch.randn(B, 3) for _ in range(2))

    @torch.no_grad()
    def passes() -> list[tuple[Tape, Tensor]]:
        recorded = [network.record(inputs) for inputs in (first, second)]
        return [(tape, 2 * outputs) for outputs, tape in recorded]

    with torch.no_grad():
        expected = sum((network.backward(*own).clone() for own in passes()), torch.zeros(()))
        assert torch.equal(network.backward_both(*passes()), expected)


def test_what_is_unknown_is_left_to_the_module(subtests: pytest.Subtests) -> None:
    for build in UNKNOWN.values():
        for K in [1, 3]:
            with subtests.test(build=build, K=K):
                assert chain_of(build().train(), stacked=K > 1) is None
                if K > 1 and build in (UNKNOWN["a branch"], UNKNOWN["a running mean without momentum"]):
                    continue  # neither can be mapped over runs by torch
                network = Network(modules(build, K), torch.device("cpu"))
                assert network._chain is None
                inputs = torch.randn(K, B, 3)
                outputs = network(inputs if K > 1 else inputs[0]).reshape(K, B, -1)
                for row, module in enumerate(modules(build, K)):
                    torch.testing.assert_close(
                        outputs[row], module(inputs[row]).reshape(B, -1), atol=1e-5, rtol=1e-5
                    )


def test_a_module_in_evaluation_mode_is_no_chain() -> None:
    assert chain_of(nn.Sequential(nn.Linear(3, 3)).eval(), stacked=False) is None
