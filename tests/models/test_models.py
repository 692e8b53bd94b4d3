"""The image networks: sizes of the reports, what each option changes, and what a population needs of them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from gan_sweep_models.layers import Dropout
from harness.recipe.networks import layer_table
from harness.recipe.registry import Value, discriminators, generators

GREY, COLOUR, SMALL = (1, 28, 28), (3, 64, 64), (1, 8, 8)
GENERATORS = ["fashion-mlp", "mnist-g1", "mnist-g2", "mnist-g3", "cgan", "dcgan-28", "dcgan-64"]
DISCRIMINATORS = ["fashion-mlp", "mnist-d1", "mnist-d2", "cgan", "dcgan-28", "dcgan-64"]
EVERY = [("generator", name) for name in GENERATORS] + [("discriminator", name) for name in DISCRIMINATORS]
SEEDS = (3, 4, 5)


def build(
    kind: str, name: str, shape: tuple[int, ...] = GREY, *, seed: int = 0, classes: int = 10, **options: Value
) -> nn.Module:
    """A network on the CPU, from its own seed, without touching torch's random state."""
    registry = generators if kind == "generator" else discriminators
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = registry[name](sample_shape=shape, num_classes=classes, **options)
    return network


def on_meta(kind: str, name: str, shape: tuple[int, ...] = GREY, **options: Any) -> nn.Module:
    with torch.device("meta"):
        return build(kind, name, shape, **options)


def small(kind: str, name: str, *, seed: int = 0, **options: Any) -> nn.Module:
    return build(kind, name, SMALL, seed=seed, **{"width": 0.25, **options})


def inputs(kind: str, name: str, shape: tuple[int, ...], *lead: int) -> tuple[Tensor, ...]:
    """A batch of latents or samples, with labels where the network takes them."""
    generator = torch.Generator().manual_seed(1)
    first = torch.randn(*lead, *((100,) if kind == "generator" else shape), generator=generator)
    labels = torch.randint(10, lead, generator=generator)
    return (first, labels) if name == "cgan" else (first,)


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def layers_of(network: nn.Module, *kinds: type[nn.Module]) -> list[Any]:
    return [layer for layer in network.modules() if isinstance(layer, kinds)]


def sizes(network: nn.Module, example: Tensor, *kinds: str) -> list[tuple[int, ...]]:
    return [row.output_shape for row in layer_table(network, example) if row.kind in kinds]


@pytest.mark.parametrize(
    ("kind", "name", "shape", "options", "expected"),
    [
        ("generator", "fashion-mlp", GREY, {}, 114_064),
        ("discriminator", "fashion-mlp", GREY, {}, 100_609),
        ("generator", "dcgan-28", GREY, {}, 381_409),
        ("discriminator", "dcgan-28", GREY, {}, 67_841),
        ("generator", "mnist-g1", GREY, {}, 293_136),
        ("discriminator", "mnist-d1", GREY, {}, 267_009),
        ("generator", "mnist-g2", GREY, {}, 1_486_352),
        ("discriminator", "mnist-d2", GREY, {}, 38_293_889),
        ("generator", "mnist-g3", GREY, {}, 150_911),
        ("generator", "cgan", GREY, {}, 1_511_412),
        ("discriminator", "cgan", GREY, {}, 932_965),
        ("generator", "dcgan-64", COLOUR, {}, 3_576_704),
        ("generator", "dcgan-64", COLOUR, {"depth": 1}, 5_937_024),
        ("discriminator", "dcgan-64", COLOUR, {}, 2_765_568),
        ("discriminator", "dcgan-64", COLOUR, {"depth": 1}, 6_903_552),
    ],
)
def test_a_network_has_the_parameters_of_the_report(
    kind: str, name: str, shape: tuple[int, ...], options: dict[str, Value], expected: int
) -> None:
    assert count(on_meta(kind, name, shape, **options)) == expected


@pytest.mark.parametrize(
    ("kind", "depth", "millions"),
    [
        ("discriminator", 0, 103.8),
        ("discriminator", 1, 414.2),
        ("generator", 0, 104.6),
        ("generator", 1, 142.4),
    ],
)
def test_the_deeper_faces_network_costs_what_the_report_counts(
    kind: str, depth: int, millions: float
) -> None:
    network = on_meta(kind, "dcgan-64", COLOUR, depth=depth)
    example = (
        torch.empty(1, 100, device="meta") if kind == "generator" else torch.empty(1, *COLOUR, device="meta")
    )
    total = sum(row.multiply_adds for row in layer_table(network, example))
    assert round(total / 1e6, 1) == millions


def test_the_convolutions_have_the_sizes_of_the_report() -> None:
    z, grey, colour = (torch.empty(1, *shape, device="meta") for shape in ((100,), GREY, COLOUR))
    up, down = "ConvTranspose2d", "Conv2d"
    assert sizes(on_meta("generator", "dcgan-28"), z, "Unflatten", up) == [
        (64, 7, 7),
        (32, 7, 7),
        (16, 14, 14),
        (1, 28, 28),
    ]
    assert sizes(on_meta("discriminator", "dcgan-28"), grey, down) == [(16, 14, 14), (32, 7, 7), (64, 7, 7)]
    assert sizes(on_meta("generator", "mnist-g3"), z, "Unflatten", up) == [
        (1, 22, 22),
        (4, 24, 24),
        (8, 26, 26),
        (4, 28, 28),
        (1, 28, 28),
    ]
    assert sizes(on_meta("discriminator", "mnist-d2"), grey, down) == [(32, 26, 26), (64, 24, 24)]
    assert sizes(on_meta("generator", "dcgan-64", COLOUR, depth=1), z, up) == [
        (512, 4, 4),
        (512, 4, 4),
        (256, 8, 8),
        (128, 16, 16),
        (64, 32, 32),
        (3, 64, 64),
    ]
    assert sizes(on_meta("discriminator", "dcgan-64", COLOUR), colour, down) == [
        (64, 32, 32),
        (128, 16, 16),
        (256, 8, 8),
        (512, 4, 4),
        (1, 1, 1),
    ]


def test_extra_blocks_of_the_faces_discriminator_are_the_reports_then_repeat() -> None:
    example = torch.empty(1, *COLOUR, device="meta")
    for depth in (1, 3):
        network = on_meta("discriminator", "dcgan-64", COLOUR, depth=depth)
        assert sizes(network, example, "Conv2d") == [
            (64, 32, 32),
            *[(128, 32, 32)] * depth,
            (256, 16, 16),
            (512, 8, 8),
            (512, 4, 4),
            (1, 1, 1),
        ]
        kernels = [layer.kernel_size for layer in layers_of(network, nn.Conv2d)]
        assert kernels == [(4, 4), *[(3, 3)] * depth, *[(4, 4)] * 4]


def test_batch_norm_stands_where_the_reports_have_it() -> None:
    norms = (nn.BatchNorm1d, nn.BatchNorm2d)

    def features(kind: str, name: str, shape: tuple[int, ...] = GREY) -> list[int]:
        return [norm.num_features for norm in layers_of(on_meta(kind, name, shape), *norms)]

    assert features("generator", "mnist-g3") == [4, 8, 4, 1]
    assert features("generator", "cgan") == [256, 512, 1024]
    assert features("generator", "dcgan-28") == [64, 32, 16]
    assert features("discriminator", "dcgan-28") == [32, 64]
    assert features("generator", "dcgan-64", COLOUR) == [512, 256, 128, 64]
    assert features("discriminator", "dcgan-64", COLOUR) == [128, 256, 512]
    assert {norm.eps for norm in layers_of(on_meta("generator", "cgan"), nn.BatchNorm1d)} == {0.8}
    for kind, name in EVERY:
        assert not layers_of(on_meta(kind, name, batch_norm=False), *norms)
        assert layers_of(on_meta(kind, name, batch_norm=True), *norms)


def test_the_activation_is_as_printed_or_as_meant() -> None:
    for name in ("mnist-g2", "mnist-g3"):
        printed = layers_of(on_meta("generator", name), nn.LeakyReLU)
        meant = layers_of(on_meta("generator", name, activation="leaky"), nn.LeakyReLU)
        assert {layer.negative_slope for layer in printed} == {1.0}
        assert {layer.negative_slope for layer in meant} == {0.2}
        assert len(printed) == len(meant) > 0


def test_as_printed_g2_is_the_tanh_of_an_affine_map() -> None:
    network = small("generator", "mnist-g2").double()
    a, b = torch.randn(2, 4, 100, dtype=torch.float64)

    def before_tanh(z: Tensor) -> Tensor:
        made: Tensor = network(z)
        return made.atanh()

    middle = before_tanh(0.25 * a + 0.75 * b)
    torch.testing.assert_close(middle, 0.25 * before_tanh(a) + 0.75 * before_tanh(b))
    meant = small("generator", "mnist-g2", activation="leaky").double()
    network.load_state_dict(meant.state_dict())
    assert not torch.allclose(network(a), meant(a))


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_every_parameter_gets_a_gradient_and_outputs_are_in_range(kind: str, name: str) -> None:
    # In evaluation mode: while training, batch norm takes out whatever a bias before it adds.
    network = small(kind, name, dropout=0.1).eval()
    outputs = network(*inputs(kind, name, SMALL, 32))
    if kind == "generator":
        assert outputs.shape == (32, *SMALL)
        assert outputs.abs().max() <= 1
    else:
        assert outputs.shape == (32,)
    weights = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(2))
    named = dict(network.named_parameters())
    gradients = torch.autograd.grad((outputs * weights).sum(), list(named.values()))
    assert not [key for key, gradient in zip(named, gradients, strict=True) if not gradient.any()]


@pytest.mark.parametrize("name", [name for name in DISCRIMINATORS if name != "cgan"])
def test_a_sigmoid_squashes_the_scores(name: str) -> None:
    example = torch.randn(8, *SMALL)
    plain, squashed = (small("discriminator", name, sigmoid=on).eval() for on in (False, True))
    assert torch.equal(squashed(example), plain(example).sigmoid())


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_a_population_computes_what_single_networks_do(kind: str, name: str) -> None:
    options: dict[str, Value] = {"dropout": 0.3, "batch_norm": True}
    singles = [small(kind, name, seed=seed, **options).double().train() for seed in SEEDS]
    parameters = {
        key: torch.stack([dict(one.named_parameters())[key].detach() for one in singles]).requires_grad_()
        for key, _ in singles[0].named_parameters()
    }
    buffers = {
        key: torch.stack([one.get_buffer(key) for one in singles]) for key, _ in singles[0].named_buffers()
    }
    module = copy.deepcopy(singles[0])

    def call(own: dict[str, Tensor], state: dict[str, Tensor], *given: Tensor) -> Any:
        return functional_call(module, (own, state), given)

    first, *labels = inputs(kind, name, SMALL, len(SEEDS), 16)
    given = (first.double(), *labels)
    for _ in range(2):
        together = vmap(call, randomness="error")(parameters, buffers, *given)
        apart = torch.stack([one(*(part[k] for part in given)) for k, one in enumerate(singles)])
        torch.testing.assert_close(together, apart)
    for key, stacked in buffers.items():
        torch.testing.assert_close(stacked, torch.stack([one.get_buffer(key) for one in singles]))
    target = torch.linspace(-1, 1, together.numel()).view_as(together)
    gradients = torch.autograd.grad((together * target).sum(), list(parameters.values()))
    for k, one in enumerate(singles):
        alone = torch.autograd.grad((apart[k] * target[k]).sum(), list(one.parameters()), retain_graph=True)
        for stacked, own in zip(gradients, alone, strict=True):
            torch.testing.assert_close(stacked[k], own)


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_inputs_stay_as_they_are(kind: str, name: str) -> None:
    given = inputs(kind, name, SMALL, 4)
    before = [part.clone() for part in given]
    small(kind, name, dropout=0.3)(*given)
    assert all(torch.equal(now, then) for now, then in zip(given, before, strict=True))


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_width_scales_and_depth_adds_blocks(kind: str, name: str) -> None:
    def learnt(**options: Any) -> int:
        weighted = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
        return len(layers_of(on_meta(kind, name, **options), *weighted))

    assert [learnt(depth=depth) - learnt() for depth in (1, 2, 3)] == [1, 2, 3]
    assert count(on_meta(kind, name, width=0.5)) < count(on_meta(kind, name))
    assert count(on_meta(kind, name, depth=2)) > count(on_meta(kind, name, depth=1))


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_networks_take_images_of_other_sizes(kind: str, name: str) -> None:
    for shape in (SMALL, GREY, (3, 32, 32), COLOUR):
        for depth in (0, 2):
            network = on_meta(kind, name, shape, depth=depth)
            given = [part.to("meta") for part in inputs(kind, name, shape, 2)]
            found = network(*given).shape
            assert found == ((2, *shape) if kind == "generator" else (2,)), (shape, depth)


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_dropout_is_an_option_that_changes_no_weights(kind: str, name: str) -> None:
    plain, dropping = (small(kind, name, seed=1, dropout=rate) for rate in (0.0, 0.5))
    assert not layers_of(plain, Dropout)
    assert {layer.rate for layer in layers_of(dropping, Dropout)} == {0.5}
    ours, theirs = list(plain.parameters()), list(dropping.parameters())
    assert len(ours) == len(theirs)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_the_reports_toggles_of_g3_reach_its_expand_block() -> None:
    network = on_meta("generator", "mnist-g3", expand_batch_norm=True, dropout=0.3)
    assert [norm.num_features for norm in layers_of(network, nn.BatchNorm1d)] == [256, 484]
    assert len(layers_of(network, Dropout)) == 2


def test_init_is_an_option() -> None:
    for name in ("fashion-mlp", "dcgan-28", "dcgan-64"):
        default, drawn = (small("generator", name, seed=2, init=init) for init in ("default", "dcgan"))
        assert all(
            not torch.equal(a.weight, b.weight)
            for a, b in zip(
                layers_of(default, nn.Linear, nn.ConvTranspose2d),
                layers_of(drawn, nn.Linear, nn.ConvTranspose2d),
                strict=True,
            )
        )


def test_faces_networks_have_no_bias_unless_batch_norm_is_out() -> None:
    def biased(kind: str, **options: Value) -> list[bool]:
        network = on_meta(kind, "dcgan-64", COLOUR, **options)
        return [layer.bias is not None for layer in layers_of(network, nn.Conv2d, nn.ConvTranspose2d)]

    assert not any(biased("generator") + biased("discriminator"))
    assert biased("generator", batch_norm=False) == [True, True, True, True, False]
    assert biased("discriminator", batch_norm=False) == [False, True, True, True, False]


def test_conditional_widths_derive_from_label_dim() -> None:
    for label_dim, (z_and_label, image_and_label) in {10: (110, 794), 50: (150, 834)}.items():
        first = layers_of(on_meta("generator", "cgan", label_dim=label_dim), nn.Linear)[0]
        assert first.in_features == z_and_label
        first = layers_of(on_meta("discriminator", "cgan", label_dim=label_dim), nn.Linear)[0]
        assert first.in_features == image_and_label
    embedding = layers_of(build("generator", "cgan", classes=7, label_dim=50), nn.Embedding)[0]
    assert tuple(embedding.weight.shape) == (7, 50)


@pytest.mark.parametrize("kind", ["generator", "discriminator"])
def test_conditional_networks_heed_the_label(kind: str) -> None:
    network = small(kind, "cgan").eval()
    (first, _) = inputs(kind, "cgan", SMALL, 2)
    zero, one = (network(first, torch.full((2,), label)) for label in (0, 1))
    assert not torch.allclose(zero, one)


@pytest.mark.parametrize("kind", ["generator", "discriminator"])
def test_conditional_networks_refuse_data_without_labels(kind: str) -> None:
    with pytest.raises(
        ValueError, match=rf"`{kind}.name` cgan is class-conditional, but the data has no"
    ) as e:
        on_meta(kind, "cgan", classes=0)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("kind", "name", "shape", "takes"),
    [
        ("generator", "mnist-g3", (2,), "sides of 7 or more"),
        ("generator", "mnist-g3", (1, 6, 6), "sides of 7 or more"),
        ("discriminator", "mnist-d2", (1, 4, 4), "sides of 5 or more"),
        ("generator", "dcgan-28", (1, 30, 30), "sides that are multiples of 4"),
        ("discriminator", "dcgan-28", (2,), "sides of 1 or more"),
        ("generator", "dcgan-64", (3, 30, 30), "equal sides of 4 to 7 times a power of two"),
        ("discriminator", "dcgan-64", (3, 64, 32), "equal sides of 4 to 7 times a power of two"),
        ("discriminator", "dcgan-64", (3, 4, 4), "equal sides of 4 to 7 times a power of two"),
    ],
)
def test_a_network_names_the_images_it_takes(
    kind: str, name: str, shape: tuple[int, ...], takes: str
) -> None:
    with pytest.raises(ValueError, match=f"`{kind}.name` {name} takes images .* with {takes}.* but") as e:
        on_meta(kind, name, shape)
    assert str(shape) in str(e.value)
    assert "\n" not in str(e.value)


def test_dropout_goes_on_where_its_state_was_saved() -> None:
    layer, other = small("discriminator", "cgan", seed=1), small("discriminator", "cgan", seed=2)
    given = inputs("discriminator", "cgan", SMALL, 8)
    first = layer(*given)
    other.load_state_dict(layer.state_dict())
    second = layer(*given)
    assert not torch.equal(first, second)
    assert torch.equal(other(*given), second)


def test_dropout_allows_a_second_derivative() -> None:
    network = small("discriminator", "mnist-d1", dropout=0.3)
    given = torch.randn(4, *SMALL, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(given).sum(), given, create_graph=True)
    weights = [p for key, p in network.named_parameters() if key.endswith("weight")]
    assert all(second.any() for second in torch.autograd.grad(gradient.square().sum(), weights))
