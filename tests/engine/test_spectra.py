"""Singular values of weights, against a full decomposition."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from harness.data import load_dataset
from harness.engine.population import Population
from harness.engine.spectra import layer_norms, spectra
from harness.network.stacked import Network
from harness.recipe import find_recipe

CPU = torch.device("cpu")


def network(K: int) -> Network:
    modules = []
    for seed in range(K):
        torch.manual_seed(seed)
        modules.append(nn.Sequential(nn.Conv2d(3, 8, 4), nn.Flatten(), nn.Linear(8 * 25, 10)))
    return Network(modules, CPU)


@pytest.mark.parametrize("K", [1, 3])
def test_the_largest_singular_value_and_the_stable_rank_are_those_of_a_decomposition(K: int) -> None:
    nets = network(K)
    found = layer_norms(nets)
    assert set(found) == {"0.weight", "2.weight"}  # biases have none
    for name, (top, rank) in found.items():
        values = torch.linalg.svdvals(nets.weights()[name].flatten(2).double())
        largest = values[:, 0]
        assert (top <= largest * (1 + 1e-5)).all()
        assert (top >= largest * 0.99).all()
        expected = values.square().sum(1) / top.double().square()
        torch.testing.assert_close(rank.double(), expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("size", [1e-18, 1.0, 1e18])
def test_a_flat_spectrum_of_any_size_is_told_to_a_few_percent(size: float) -> None:
    layer = nn.Linear(784, 256, bias=False)
    torch.manual_seed(0)
    with torch.no_grad():
        layer.weight.normal_().mul_(size)
    top, rank = layer_norms(Network([layer], CPU))["weight"]
    values = torch.linalg.svdvals(layer.weight.detach().double())
    assert 0.93 * values[0] <= float(top) <= (1 + 1e-5) * values[0]
    assert float(rank) == pytest.approx(float(values.square().sum() / top.double() ** 2), rel=1e-3)


def test_a_weight_of_one_direction_has_a_stable_rank_of_1() -> None:
    nets = network(2)
    flat: Tensor = nets.weights()["2.weight"]
    flat[0] = 3 * torch.outer(torch.ones(10) / math.sqrt(10), torch.ones(200) / math.sqrt(200))
    top, rank = layer_norms(nets)["2.weight"]
    torch.testing.assert_close(top[0], torch.tensor(3.0))
    torch.testing.assert_close(rank[0], torch.tensor(1.0))
    assert rank[1] > 2


def test_every_live_run_has_the_worst_of_its_layers_and_each_layer_if_asked() -> None:
    recipe = find_recipe("ring-gan").override({"generator.units": 12, "discriminator.units": 12})
    population = Population([recipe] * 3, range(3), dataset=load_dataset(recipe.data))
    population.discriminator.matrix[2] = torch.nan
    population.retire((1,))
    summed = spectra(population)
    assert set(summed) == {"spectra/g_top", "spectra/g_rank", "spectra/d_top", "spectra/d_rank"}
    assert all(len(values) == 2 for values in summed.values())
    assert math.isnan(summed["spectra/d_top"][1])  # never laundered
    assert 0 < summed["spectra/g_rank"][0] <= 1
    each = spectra(population, layers=True)
    tops = [values[0] for key, values in each.items() if key.startswith("spectra/g_top:")]
    assert max(tops) == summed["spectra/g_top"][0]
    assert len(tops) == len(population.generator.weights())
