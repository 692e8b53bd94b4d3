"""The networks: sizes of the reports, layer tables, and whether they fit."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import orthogonal, spectral_norm, weight_norm

from harness.recipe import Recipe, find_recipe, networks
from harness.recipe.networks import build_discriminator, build_generator, check_networks, layer_table
from harness.recipe.registry import discriminators, generators

SHAPE = (2,)


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_the_points_networks_have_the_layers_of_the_report() -> None:
    recipe = find_recipe("points-gan")
    sizes = [2, 64, 256, 512, 2]
    linear = sum(a * b + b for a, b in pairwise(sizes))
    assert count(build_generator(recipe, SHAPE)) == linear + 2 * (256 + 512)
    assert count(build_discriminator(recipe, SHAPE)) == (2 * 64 + 64) + (64 * 256 + 256) + (256 + 1)
    norms = [m for m in build_generator(recipe, SHAPE).modules() if isinstance(m, nn.BatchNorm1d)]
    assert [(m.num_features, m.eps) for m in norms] == [(256, 0.8), (512, 0.8)]


def test_depth_repeats_the_last_hidden_layer_and_width_scales_all() -> None:
    recipe = find_recipe("points-gan").override({"discriminator.depth": 2, "discriminator.width": 0.5})
    linear = [m for m in build_discriminator(recipe, SHAPE).modules() if isinstance(m, nn.Linear)]
    assert [m.out_features for m in linear] == [32, 128, 128, 128, 1]


@pytest.mark.parametrize("name", [n for n in generators.names() if n in {"points-mlp", "tiny-mlp"}])
def test_every_generator_parameter_gets_a_gradient(name: str) -> None:
    network = generators[name](sample_shape=SHAPE, num_classes=0, latent_dim=3)
    made = network(torch.randn(16, 3))
    assert made.shape == (16, *SHAPE)
    made.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


@pytest.mark.parametrize("name", [n for n in discriminators.names() if n in {"points-mlp", "tiny-mlp"}])
@pytest.mark.parametrize("sigmoid", [False, True])
def test_every_discriminator_parameter_gets_a_gradient(name: str, sigmoid: bool) -> None:
    network = discriminators[name](sample_shape=SHAPE, num_classes=0, sigmoid=sigmoid)
    scores = network(torch.randn(16, *SHAPE))
    assert scores.shape == (16,)
    assert not sigmoid or (scores > 0).all() & (scores < 1).all()
    scores.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_a_layer_table_adds_up() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 4, stride=2, padding=1, bias=False),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(2048, 1),
    )
    rows = layer_table(network, torch.empty(1, 3, 32, 32))
    assert [row.kind for row in rows] == ["Conv2d", "LeakyReLU", "Flatten", "Linear"]
    assert [row.output_shape for row in rows] == [(8, 16, 16), (8, 16, 16), (2048,), (1,)]
    assert rows[0].multiply_adds == 3 * 8 * 4 * 4 * 16 * 16
    assert rows[3].multiply_adds == 2048
    assert sum(row.num_parameters for row in rows) == count(network)


def test_a_transposed_convolution_costs_its_kernel_at_every_input_pixel() -> None:
    network = nn.ConvTranspose2d(16, 8, 4, stride=2, padding=1)
    row = layer_table(network, torch.empty(1, 16, 5, 5))[0]
    assert row.output_shape == (8, 10, 10)
    assert row.multiply_adds == 16 * 8 * 4 * 4 * 5 * 5


def test_a_layer_table_leaves_the_network_as_it_was() -> None:
    network = build_generator(find_recipe("points-gan"), SHAPE).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    layer_table(network, torch.randn(4, 2))
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not any(m._forward_hooks for m in network.modules())


def test_networks_that_fit_pass_and_cost_nothing() -> None:
    check_networks(find_recipe("points-gan"), (2,))
    check_networks(find_recipe("points-gan").override({"generator.name": "tiny-mlp"}), (2,))


def test_a_network_that_does_not_take_the_data_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def flat(*, sample_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        return nn.Sequential(nn.Linear(3, 1), nn.Flatten(0))

    def small(*, sample_shape: tuple[int, ...], num_classes: int, latent_dim: int = 2) -> nn.Module:
        return nn.Linear(latent_dim, math.prod(sample_shape) + 1)

    monkeypatch.setitem(discriminators._entries, "of-three", flat)
    monkeypatch.setitem(generators._entries, "of-three", small)
    recipe = find_recipe("points-gan")
    with pytest.raises(
        ValueError, match=r"`discriminator.name` of-three does not take samples of shape \(2,\)"
    ):
        check_networks(recipe.override({"discriminator.name": "of-three"}), (2,))
    with pytest.raises(ValueError, match=r"`generator.name` of-three makes samples of shape \(3,\)"):
        check_networks(recipe.override({"generator.name": "of-three"}), (2,))


def test_a_gradient_penalty_refuses_batch_norm_in_d(monkeypatch: pytest.MonkeyPatch) -> None:
    def normed(*, sample_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        return nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Linear(8, 1), nn.Flatten(0))

    monkeypatch.setitem(discriminators._entries, "normed", normed)
    recipe = find_recipe("points-wgan-gp").override({"discriminator.name": "normed"})
    with pytest.raises(
        ValueError, match=r"`loss.gradient_penalty` is 0.001, but the discriminator holds BatchNorm1d"
    ):
        check_networks(recipe, (2,))


def conditional(**changes: object) -> Recipe:
    names = {"data.name": "digits", "generator.name": "cgan", "discriminator.name": "cgan"}
    return find_recipe("points-gan").override({**names, "generator.latent_dim": 6, **changes})


@pytest.mark.parametrize("largest", [0, 10**8])
def test_conditional_networks_are_checked_with_labels(largest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "_MAX_PARAMETERS", largest)
    check_networks(conditional(), (1, 8, 8), 10)
    check_networks(conditional(**{"discriminator.name": "mnist-d1"}), (1, 8, 8), 10)
    check_networks(conditional(**{"generator.name": "mnist-g1"}), (1, 8, 8), 10)


@pytest.mark.parametrize("which", ["generator", "discriminator"])
def test_a_conditional_network_on_unlabelled_data_is_refused(which: str) -> None:
    plain = {"generator": "discriminator.name", "discriminator": "generator.name"}[which]
    recipe = conditional(**{plain: "tiny-mlp"})
    with pytest.raises(
        ValueError, match=rf"^`{which}.name` cgan is class-conditional, but the data has no labels; choose .*"
    ) as caught:
        check_networks(recipe, (1, 8, 8), 0)
    assert "\n" not in str(caught.value)


def test_a_conditional_network_that_does_not_say_so_itself_is_refused_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Own(nn.Linear):
        takes_labels = True

    def own(*, sample_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        return Own(2, 1)

    monkeypatch.setitem(discriminators._entries, "own", own)
    recipe = find_recipe("points-gan").override({"discriminator.name": "own"})
    with pytest.raises(ValueError, match=r"`discriminator.name` own is class-conditional, .* no labels"):
        check_networks(recipe, (2,))


@pytest.mark.parametrize("which", ["generator", "discriminator"])
def test_a_network_of_another_image_size_is_refused(which: str) -> None:
    recipe = conditional(**{f"{which}.name": "dcgan-64"})
    with pytest.raises(
        ValueError,
        match=rf"^`{which}.name` dcgan-64 takes images .*, but the data has .* \(1, 9",
    ):
        check_networks(recipe, (1, 9, 9), 10)


def test_what_a_builder_has_against_the_data_begins_with_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    def fixed(*, sample_shape: tuple[int, ...], num_classes: int, latent_dim: int = 2) -> nn.Module:
        raise ValueError("takes 28×28 images alone, but the data has 64×64.")

    monkeypatch.setitem(generators._entries, "fixed", fixed)
    with pytest.raises(ValueError, match=r"^`generator.name` fixed: takes 28×28 images alone, but the data"):
        check_networks(find_recipe("points-gan").override({"generator.name": "fixed"}), (3, 64, 64))


@pytest.mark.parametrize("largest", [0, 10**8])
def test_a_check_leaves_the_random_state_alone(largest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "_MAX_PARAMETERS", largest)
    before = torch.get_rng_state()
    for name, shape in (("cgan", (1, 8, 8)), ("dcgan-64", (1, 8, 8)), ("mnist-g3", (1, 8, 8))):
        check_networks(conditional(**{"generator.name": name, "generator.dropout": 0.5}), shape, 10)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_layer_table_of_a_conditional_network_adds_up() -> None:
    recipe = conditional()
    generator, discriminator = (
        build_generator(recipe, (1, 28, 28), 10),
        build_discriminator(recipe, (1, 28, 28), 10),
    )
    for network, example in ((generator, torch.zeros(2, 6)), (discriminator, torch.zeros(2, 1, 28, 28))):
        rows = layer_table(network, example)
        assert sum(row.num_parameters for row in rows) == count(network)
        assert rows[0].kind == "LabelEmbedding"
        assert rows[0].output_shape == (10,)
        linear = sum(m.weight.numel() for m in network.modules() if isinstance(m, nn.Linear))
        assert sum(row.multiply_adds for row in rows) == linear


class Attention(nn.Module):
    """Attention whose products and scale stand in its own forward pass, over images of 4 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv1d(4, 12, 1, bias=False)
        self.scale = nn.Parameter(torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        query, key, value = self.mix(images.flatten(2)).mT.chunk(3, dim=-1)
        weights = torch.einsum("bld,bmd->blm", query, key).softmax(-1)
        found: Tensor = torch.bmm(weights, value)
        return found * self.scale


class TwoLabels(nn.Module):
    """A bilinear layer, a head that is a bare vector, and one layer used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.meet = nn.Bilinear(5, 5, 6)
        self.again = nn.Linear(6, 6)
        self.head = nn.Parameter(torch.ones(6))

    def forward(self, inputs: Tensor) -> Tensor:
        score: Tensor = self.again(self.again(self.meet(inputs, inputs))) @ self.head
        return score


class LookUp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 7)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.table(inputs.long()).flatten(1)


class SelfAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, words: Tensor) -> Tensor:
        found: Tensor = self.attend(words, words, words, need_weights=False)[0]
        return found


@pytest.mark.filterwarnings("ignore:.*is deprecated.*:FutureWarning")
@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(
    ("make", "shape", "multiply_adds"),
    [
        (lambda: spectral_norm(nn.Conv2d(3, 8, 3, padding=1)), (3, 6, 6), 3 * 8 * 9 * 36),
        (lambda: torch.nn.utils.spectral_norm(nn.Linear(5, 4)), (5,), 20),
        (lambda: weight_norm(nn.Linear(5, 4)), (5,), 20),
        (lambda: torch.nn.utils.weight_norm(nn.Linear(5, 4)), (5,), 20),
        (lambda: orthogonal(nn.Linear(5, 4)), (5,), 20),
        (lambda: nn.Conv2d(4, 6, 3, groups=2, dilation=2), (4, 9, 9), 2 * 6 * 9 * 25),
        (lambda: nn.Conv1d(4, 6, 3), (4, 9), 4 * 6 * 3 * 7),
        (lambda: nn.Conv3d(4, 6, 3), (4, 5, 5, 5), 4 * 6 * 27 * 27),
        (lambda: nn.ConvTranspose3d(4, 6, 2, groups=2), (4, 3, 3, 3), 2 * 6 * 8 * 27),
        (Attention, (4, 3, 3), 4 * 12 * 9 + 2 * 81 * 4),
        (SelfAttention, (5, 8), 5 * 8 * 32 + 2 * 25 * 8),
        (TwoLabels, (5,), 5 * 5 * 6 + 2 * 36 + 6),
        (LookUp, (3,), 0),
    ],
)
def test_a_layer_table_counts_every_parameter_and_every_product(
    make: Callable[[], nn.Module], shape: tuple[int, ...], multiply_adds: int, device: str
) -> None:
    network = nn.Sequential(make().to(device))
    rows = layer_table(network, torch.zeros(3, *shape, device=device))
    assert sum(row.num_parameters for row in rows) == count(network)
    assert sum(row.multiply_adds for row in rows) == multiply_adds


def test_a_layer_table_names_a_layer_and_not_what_makes_its_weight() -> None:
    network = nn.Sequential(spectral_norm(nn.Linear(5, 4)), Attention())
    network[1].register_forward_pre_hook(lambda _, args: (args[0].view(-1, 4, 1),))
    rows = layer_table(network, torch.zeros(1, 5))
    assert [(row.name, row.kind) for row in rows] == [
        ("0", "Linear"),
        ("1.mix", "Conv1d"),
        ("1", "Attention"),
    ]


def test_shared_layers_have_a_row_a_call_and_their_parameters_once() -> None:
    rows = layer_table(TwoLabels(), torch.zeros(1, 5))
    assert [row.name for row in rows] == ["meet", "again", "again", ""]
    assert [row.num_parameters for row in rows] == [156, 42, 0, 6]


class Looking(nn.Module):
    def forward(self, points: Tensor) -> Tensor:
        scaled: Tensor = points * vars(self)["scale"]
        return scaled


def _no_gpu() -> nn.Module:
    raise RuntimeError("no GPU")


def _frozen() -> nn.Module:
    network = nn.Linear(2, 1)
    network.weight.requires_grad_(False)
    return network


@pytest.mark.filterwarnings("ignore:.*is deprecated.*:FutureWarning")
@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature.*:UserWarning")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: torch.nn.utils.spectral_norm(nn.Linear(2, 1)),
            "take torch.nn.utils.parametrizations.spectral_",
        ),
        (
            lambda: torch.nn.utils.weight_norm(nn.Linear(2, 1)),
            "take torch.nn.utils.parametrizations.weight_norm",
        ),
        (lambda: nn.Linear(2, 1).double(), "holds the parameter 0.weight, which is torch.float64"),
        (_frozen, "holds the parameter 0.weight, which is frozen, .*register_buffer"),
        (lambda: nn.Linear(2, 3), r"must return one score a sample, \(2,\) for two, but returns \(6,\)"),
        (
            lambda: nn.LazyLinear(1),
            "holds .* 0.weight, whose shape is not known .*nn.Linear in place",
        ),
        (Looking, r"does not take .*test_networks\.py:\d+: KeyError: 'scale'"),
        (lambda: nn.AvgPool1d(2), "holds no parameters, so there is nothing to train; choose another."),
        (lambda: nn.GRU(2, 1), "must return a tensor, but returns a tuple"),
        (
            lambda: vars(nn)["Relu"],
            r"cannot be made with these .* test_networks\.py:\d+: KeyError: 'Relu'",
        ),
        (lambda: _no_gpu(), r"cannot be made .* test_networks\.py:\d+: RuntimeError: no GPU"),
        (lambda: nn.Bilinear(2, 2, 1), r"does not take samples of shape \(2,\) of `data.name` .*missing 1"),
    ],
)
def test_a_network_that_cannot_be_trained_is_refused_in_one_line(
    make: Callable[[], nn.Module], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def foreign(*, sample_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        made = make()
        return made if isinstance(made, nn.GRU) else nn.Sequential(made, nn.Flatten(0))

    monkeypatch.setitem(discriminators._entries, "foreign", foreign)
    with pytest.raises(ValueError, match=message) as caught:
        check_networks(find_recipe("points-gan").override({"discriminator.name": "foreign"}), (2,))
    assert str(caught.value).startswith("`discriminator.name` foreign ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (
            "hinge",
            "`loss.name` hinge needs unbounded scores, but `discriminator.name` bounded ends in",
        ),
        (
            "minimax",
            "`loss.name` minimax applies the sigmoid itself, but .*; leave that out, or",
        ),
        ("least-squares", ""),
    ],
)
def test_a_sigmoid_of_another_s_network_is_found_by_its_scores(
    loss: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Bounded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 1)

        def forward(self, points: Tensor) -> Tensor:
            return torch.sigmoid(self.layer(points)).view(-1, 1).squeeze(1)

    def bounded(*, sample_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        return Bounded()

    monkeypatch.setitem(discriminators._entries, "bounded", bounded)
    recipe = find_recipe("points-gan").override({"discriminator.name": "bounded", "loss.name": loss})
    if not message:
        assert check_networks(recipe, (2,)) is False
        return
    with pytest.raises(ValueError, match=message):
        check_networks(recipe, (2,))


def test_a_builder_that_makes_no_network_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def empty(*, sample_shape: tuple[int, ...], num_classes: int) -> None: ...

    monkeypatch.setitem(discriminators._entries, "empty", empty)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"`discriminator\.name` empty must make a `torch\.nn\.Module`, but"):
        check_networks(find_recipe("points-gan").override({"discriminator.name": "empty"}), (2,))
