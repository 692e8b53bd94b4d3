"""The growing pair: its arithmetic, its levels, and what a population needs of it."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from gan_sweep_models.progan import Growing, fade
from harness.network.stacked import Network, mixes_samples
from harness.recipe import LossSettings, Recipe, choose
from harness.recipe.networks import check_networks, layer_table
from harness.recipe.registry import Value, datasets, discriminators, generators, optimizers

SMALL: dict[str, Value] = {"base_channels": 64, "max_channels": 8}
KINDS = {"generator": generators, "discriminator": discriminators}


def build(kind: str, size: int = 16, *, channels: int = 1, seed: int = 0, **options: Value) -> Any:
    """A small network in float64, from its own seed."""
    given = {**SMALL, **({"latent_dim": 12} if kind == "generator" else {}), **options}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = KINDS[kind]["progan"](sample_shape=(channels, size, size), num_classes=0, **given)
        for parameter in network.parameters():
            if parameter.ndim == 1:
                nn.init.normal_(parameter)  # biases start at zero, where a slip would not show
    return network.double()


def inputs(kind: str, *lead: int, size: int = 16) -> Tensor:
    shape = (12,) if kind == "generator" else (1, size, size)
    return torch.randn(*lead, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_at_the_papers_size_there_are_as_many_parameters_as_in_the_paper() -> None:
    faces: dict[str, Any] = {"sample_shape": (3, 1024, 1024), "num_classes": 0}
    widths = {"base_channels": 16384, "max_channels": 512}
    with torch.device("meta"):
        generator = generators["progan"](**faces, **widths, latent_dim=512)
        discriminator = discriminators["progan"](**faces, **widths)
    assert sum(p.numel() for p in generator.parameters()) == 23_079_115
    assert round(sum(p.numel() for p in discriminator.parameters()) / 1e6, 1) == 23.1
    assert generator(torch.empty(2, 512, device="meta")).shape == (2, 3, 1024, 1024)
    assert discriminator(torch.empty(2, 3, 1024, 1024, device="meta")).shape == (2,)


@pytest.mark.parametrize("kind", KINDS)
def test_any_power_of_two_from_four_on_is_taken(kind: str) -> None:
    for size in (4, 8, 32, 64):
        network = build(kind, size)
        assert network.num_levels == int(math.log2(size)) - 1
        expected = (3, 1, size, size) if kind == "generator" else (3,)
        assert network(inputs(kind, 3, size=size)).shape == expected


@pytest.mark.parametrize("kind", KINDS)
def test_other_sizes_are_refused(kind: str) -> None:
    for shape in ((1, 28, 28), (3, 2, 2), (1, 8, 16), (2,)):
        with pytest.raises(ValueError, match=rf"`{kind}.name` progan .* a power of two, 4 or more, but"):
            KINDS[kind]["progan"](sample_shape=shape, num_classes=0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_scale_of_equalised_weights_acts_when_they_are_used(kind: str) -> None:
    scaled, plain = build(kind), build(kind, equalized=False)
    given = inputs(kind, 4)
    torch.testing.assert_close(scaled(given), plain(given), rtol=1e-5, atol=1e-6)
    weights = [p for p in scaled.parameters() if p.ndim == 4]
    assert all(abs(float(w.detach().std()) - 1) < 0.2 for w in weights if w.numel() > 100)
    fan_in = scaled.layer1.weight[0].numel()
    torch.testing.assert_close(plain.layer1.weight, scaled.layer1.weight * math.sqrt(2 / fan_in))


def test_the_first_layer_is_a_convolution_of_one_pixel_with_padding_three() -> None:
    layer, z = build("generator").layer0, inputs("generator", 5)
    weight = layer.weight * math.sqrt(2 / (12 * 16))
    expected = nn.functional.conv2d(z[:, :, None, None], weight, layer.bias, padding=3)
    torch.testing.assert_close(layer(z), expected)


def test_with_pixel_norm_the_length_of_z_does_not_matter() -> None:
    z = inputs("generator", 4)
    normed, plain = build("generator"), build("generator", pixel_norm=False)
    torch.testing.assert_close(normed(z), normed(5 * z))
    assert not torch.allclose(plain(z), plain(5 * z))


def test_the_critic_sees_the_spread_of_its_batch_and_can_do_without() -> None:
    with_std, without = build("discriminator"), build("discriminator", minibatch_std=False)
    assert mixes_samples(with_std)
    assert not mixes_samples(without)
    batch = inputs("discriminator", 6)
    other = torch.cat([batch[:1], 3 * batch[1:]])
    torch.testing.assert_close(without(batch)[0], without(other)[0])
    assert not torch.isclose(with_std(batch)[0], with_std(other)[0])
    features = torch.randn(6, 8, 4, 4, dtype=torch.float64)
    spread = with_std.spread(features)
    assert spread.shape == (6, 9, 4, 4)
    torch.testing.assert_close(spread[:, 8], features.std(0, correction=0).mean().expand(6, 4, 4))
    assert with_std(batch[:1]).isfinite().all()


def test_an_early_level_makes_the_images_of_a_smaller_network() -> None:
    large, small = build("generator", 32), build("generator", 8)
    large.load_state_dict({**large.state_dict(), **small.state_dict()})
    large.grow(1)
    z = inputs("generator", 3)
    expected = small(z).repeat_interleave(4, 2).repeat_interleave(4, 3)
    torch.testing.assert_close(large(z), expected)


def test_a_critic_at_an_early_level_sees_what_a_smaller_one_does() -> None:
    large, small = build("discriminator", 32), build("discriminator", 8)
    large.load_state_dict({**large.state_dict(), **small.state_dict()})
    large.grow(1)
    images = inputs("discriminator", 3, size=8)
    torch.testing.assert_close(large(images.repeat_interleave(4, 2).repeat_interleave(4, 3)), small(images))


@pytest.mark.parametrize("kind", KINDS)
def test_a_level_is_faded_in_from_the_one_before_it(kind: str) -> None:
    network, given = build(kind, 16), inputs(kind, 3)
    network.grow(1)
    before = network(given)
    network.grow(2, 0.0)
    assert network.fading
    torch.testing.assert_close(network(given), before)
    network.grow(2, 1.0)
    assert not network.fading
    after = network(given)
    network.grow(2, 1 - 1e-9)
    torch.testing.assert_close(network(given), after, rtol=1e-5, atol=1e-5)
    network.grow(2, 0.25)
    halfway = network(given)
    if kind == "generator":
        torch.testing.assert_close(halfway, 0.75 * before + 0.25 * after)
    else:
        assert not torch.allclose(halfway, before)


def test_real_images_are_faded_as_generated_ones_are() -> None:
    images = inputs("discriminator", 2, 3, size=16)  # two leading axes
    fine = images.unflatten(-1, (8, 2)).unflatten(-3, (8, 2)).mean((-1, -3))
    coarse = images.unflatten(-1, (4, 4)).unflatten(-3, (4, 4)).mean((-1, -3))
    expected = 0.3 * fine + 0.7 * coarse.repeat_interleave(2, -1).repeat_interleave(2, -2)
    found = fade(images, num_levels=3, level=1, alpha=0.3)
    torch.testing.assert_close(found, expected.repeat_interleave(2, -1).repeat_interleave(2, -2))
    critic = build("discriminator", 16)
    critic.grow(1)
    torch.testing.assert_close(
        critic(fade(images[0], num_levels=3, level=1, alpha=1.0)), critic(images[0]), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("level", "alpha"), [(0, 1.0), (1, 0.4), (1, 1.0), (2, 0.7), (2, 1.0)])
def test_parameters_of_levels_to_come_get_no_gradient(kind: str, level: int, alpha: float) -> None:
    network = build(kind, 16)
    network.grow(level, alpha)
    outputs = network(inputs(kind, 4))
    weights = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    named = dict(network.named_parameters())
    gradients = torch.autograd.grad((outputs * weights).sum(), list(named.values()), materialize_grads=True)
    moved = {key.split(".")[0] for key, gradient in zip(named, gradients, strict=True) if gradient.any()}
    ends = {level} | ({level - 1} if alpha < 1 else set())
    end = "output" if kind == "generator" else "input"
    expected = {f"layer{i}" for i in range(2 * level + 2)} | {f"{end}{i}" for i in ends}
    assert moved == expected | ({"score"} if kind == "discriminator" else set())


@pytest.mark.parametrize("kind", KINDS)
def test_where_a_network_stands_is_saved_with_its_numbers(kind: str) -> None:
    network, other = build(kind, 16, seed=1), build(kind, 16, seed=2)
    given = inputs(kind, 3)
    for level, alpha in ((0, 1.0), (1, 0.25), (2, 0.5), (2, 1.0)):
        network.grow(level, alpha)
        other.load_state_dict(network.state_dict())
        assert (other.level, other.fading) == (network.level, network.fading)
        torch.testing.assert_close(other(given), network(given))
        assert float(other.alpha) == alpha


def test_a_level_that_there_is_not_is_refused() -> None:
    network = Growing(3)
    with pytest.raises(ValueError, match=r"`level` must be in 0…2, but got 3\."):
        network.grow(3)
    with pytest.raises(ValueError, match=r"`alpha` must be in \[0, 1\], but got 1\.5\."):
        network.grow(1, 1.5)
    network.grow(0, 0.5)  # there is nothing below it to be faded into
    assert not network.fading
    assert float(network.lod) == 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("level", "alpha"), [(0, 1.0), (1, 0.4), (2, 1.0)])
def test_a_population_computes_what_single_networks_do(kind: str, level: int, alpha: float) -> None:
    singles = [build(kind, 16, seed=seed) for seed in (3, 4, 5)]
    for one in singles:
        one.grow(level, alpha)
    parameters = {
        key: torch.stack([dict(one.named_parameters())[key].detach() for one in singles]).requires_grad_()
        for key, _ in singles[0].named_parameters()
    }
    buffers = {"lod": torch.stack([one.lod for one in singles])}
    module = copy.deepcopy(singles[0])
    given = inputs(kind, 3, 4)
    together = vmap(lambda own, state, x: functional_call(module, (own, state), (x,)), randomness="error")(
        parameters, buffers, given
    )
    apart = torch.stack([one(x) for one, x in zip(singles, given, strict=True)])
    torch.testing.assert_close(together, apart)
    gradients = torch.autograd.grad(
        together.square().sum(), list(parameters.values()), materialize_grads=True
    )
    for k, one in enumerate(singles):
        loss = apart[k].square().sum()
        alone = torch.autograd.grad(loss, list(one.parameters()), retain_graph=True, materialize_grads=True)
        for stacked, own in zip(gradients, alone, strict=True):
            torch.testing.assert_close(stacked[k], own)


@pytest.mark.parametrize("count", [1, 2])
def test_alpha_moves_in_the_engines_buffers_without_a_new_network(count: int) -> None:
    modules = [build("generator", 16, seed=seed).float() for seed in range(count)]
    singles = copy.deepcopy(modules)
    network = Network(modules, torch.device("cpu"))
    network.module.grow(2, 0.5)
    given = inputs("generator", count, 3).float()
    for alpha in (0.5, 0.75):
        network.buffers["lod"].fill_(1 - alpha)
        made = network(given if count > 1 else given[0])
        for k, one in enumerate(singles):
            one.grow(2, alpha)
            torch.testing.assert_close(made[k] if count > 1 else made, one(given[k]), rtol=1e-4, atol=1e-5)
    alone = network.extract(0)
    assert (alone.level, alone.fading, float(alone.lod)) == (2, True, 0.25)


@pytest.mark.parametrize("count", [1, 3])
def test_a_number_that_is_not_finite_is_found_in_its_own_row(count: int) -> None:
    network = Network([build("discriminator", seed=k).float() for k in range(count)], torch.device("cpu"))
    assert network.finite().tolist() == [True] * count
    network.buffers["lod"][-1] = math.nan  # a buffer without axes of its own
    assert network.finite().tolist() == [True] * (count - 1) + [False]


def test_the_gradient_penalty_has_a_gradient_for_every_weight_in_use() -> None:
    critic, images = build("discriminator", 16), inputs("discriminator", 4).requires_grad_()
    critic.grow(2, 0.5)
    (gradient,) = torch.autograd.grad(critic(images).sum(), images, create_graph=True)
    penalty = (gradient.flatten(1).norm(dim=1) - 1).square().mean()
    weights = {key: p for key, p in critic.named_parameters() if key.endswith("weight")}
    second = torch.autograd.grad(penalty, list(weights.values()), materialize_grads=True)
    still = [key for key, found in zip(weights, second, strict=True) if not found.any()]
    assert still == ["input0.weight"]  # two levels below the one that is faded in


def test_a_recipe_with_gradient_penalty_and_drift_takes_the_pair() -> None:
    adam = choose(optimizers, "adam", lr=1e-3, beta1=0.0, beta2=0.99)
    recipe = Recipe(
        name="grown",
        data=choose(datasets, "digits", size=32),
        generator=choose(generators, "progan"),
        discriminator=choose(discriminators, "progan"),
        loss=LossSettings(name="wasserstein", gradient_penalty=10.0, drift=0.001),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
    )
    check_networks(recipe, (1, 32, 32), 10)
    assert recipe.latent_dim == 128


def test_the_table_of_layers_counts_the_product_with_z_once() -> None:
    rows = layer_table(build("generator", 8).float(), inputs("generator", 1).float())
    first = next(row for row in rows if row.name == "layer0")
    assert first.multiply_adds == 12 * 8 * 16
    assert first.output_shape == (8, 4, 4)
