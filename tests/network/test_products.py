"""Products by oneDNN are those of torch, to rounding, and their derivatives too."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.network import products
from harness.network.products import linear, onednn_pays, product
from harness.network.stacked import Network
from harness.recipe import find_recipe
from harness.recipe.networks import build_discriminator, build_generator

pytestmark = pytest.mark.skipif(
    not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="torch was built without oneDNN"
)

B = 128


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of what oneDNN multiplies."""
    found: list[tuple[int, ...]] = []

    def noted(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
        found.append((*left.shape, len(right)))
        return product(left, right, bias)

    monkeypatch.setattr(products, "product", noted)
    monkeypatch.setattr("harness.network.chain.product", noted)
    return found


def test_a_product_equals_torch_s_whatever_the_strides() -> None:
    wide = torch.randn(40, 60)
    for left in (
        torch.randn(20, 30),
        torch.randn(30, 20).t(),
        wide[::2, ::2],
        torch.randn(1, 30).expand(20, 30),
    ):
        for right in (torch.randn(50, 30), torch.randn(30, 50).t(), torch.randn(50, 60)[:, ::2]):
            for bias in (None, torch.randn(50)):
                torch.testing.assert_close(product(left, right, bias), F.linear(left, right, bias))


def test_a_linear_layer_is_differentiated_twice_like_torch_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_LARGE", 0)
    inputs, weight, bias = torch.randn(9, 5), torch.randn(7, 5), torch.randn(7)

    def derivatives(layer: object) -> list[Tensor]:
        leaves = [tensor.clone().requires_grad_() for tensor in (inputs, weight, bias)]
        outputs = layer(*leaves).tanh()  # type: ignore[operator]
        first = torch.autograd.grad(outputs, leaves, torch.ones_like(outputs), create_graph=True)
        penalty = sum((part.square().sum() for part in first), torch.zeros(()))
        return [*first, *torch.autograd.grad(penalty, leaves)]

    torch.testing.assert_close(derivatives(linear), derivatives(F.linear))


def passes(network: Network, inputs: Tensor, labels: Tensor | None) -> list[Tensor]:
    """Outputs, gradients by parameters and by inputs, and a penalty's gradient."""
    with torch.no_grad():
        outputs, tape = network.record(inputs, labels)
        by_parameters = network.backward(tape, torch.ones_like(outputs)).clone()
        by_inputs = network.backward(
            network.record(inputs, labels, to_inputs=True)[1], torch.ones_like(outputs)
        )
    source = inputs.clone().requires_grad_()
    scores = network(source, labels)
    (slope,) = torch.autograd.grad(scores, source, torch.ones_like(scores), create_graph=True)
    return [outputs, by_parameters, by_inputs, network.gradients(slope.square().sum()).clone()]


@pytest.mark.parametrize("name", ["mnist-g1d1", "fashion-cgan"])
@pytest.mark.parametrize("which", ["G", "D"])
def test_a_network_by_onednn_equals_itself_without_to_rounding(
    name: str, which: str, counted: list[tuple[int, ...]]
) -> None:
    recipe, shape = find_recipe(name), (1, 28, 28)

    def taken(*choices: bool) -> list[Tensor]:
        torch.manual_seed(0)
        build = build_generator if which == "G" else build_discriminator
        network = Network([build(recipe, shape, 10)], torch.device("cpu"))
        for choice in choices:
            network.take_onednn(choice)
        inputs = torch.randn(B, recipe.latent_dim) if which == "G" else torch.randn(B, *shape)
        return passes(network, inputs, torch.arange(B) % 10)

    plain = taken()
    assert all(map(torch.equal, taken(True, False), plain))
    assert not counted
    torch.testing.assert_close(taken(True), plain, rtol=1e-4, atol=1e-4)
    assert counted
    assert all(batch * inner * outer >= products._LARGE for batch, inner, outer in counted)


def test_small_products_keep_their_bits() -> None:
    network = Network([nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))], torch.device("cpu"))
    inputs = torch.randn(B, 6)
    before = passes(network, inputs, None)
    network.take_onednn(True)
    assert all(map(torch.equal, passes(network, inputs, None), before))


def test_evaluation_and_what_is_extracted_compute_as_torch_does(counted: list[tuple[int, ...]]) -> None:
    recipe = find_recipe("fashion-cgan")
    network = Network([build_generator(recipe, (1, 28, 28), 10)], torch.device("cpu"))
    network.take_onednn(True)
    latents, labels = torch.randn(1, B, recipe.latent_dim), torch.arange(B).unsqueeze(0) % 10
    images = network.evaluate(latents, labels)
    assert torch.equal(images[0], network.extract(0)(latents[0], labels[0]))
    assert not counted


def test_whether_onednn_pays_is_measured_by_the_time_both_take(monkeypatch: pytest.MonkeyPatch) -> None:
    for slow, pays in (("plain", True), ("onednn", False)):
        clock = iter(range(10_000))
        spent = 0.0

        def now(slow: str = slow, clock: object = clock) -> float:
            nonlocal spent
            index = next(clock)  # type: ignore[call-overload]
            ends, onednn = index % 2 == 1, index % 4 >= 2
            spent += (2.0 if onednn == (slow == "onednn") else 1.0) if ends else 0.0
            return spent

        with monkeypatch.context() as timed:
            timed.setattr(products.time, "perf_counter", now)
            assert onednn_pays.__wrapped__() is pays
