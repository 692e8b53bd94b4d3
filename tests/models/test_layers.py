"""The blocks that families share: dropout of each run's own, label embeddings, first weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gan_sweep_models.layers import Dropout, LabelEmbedding, initialize


def test_an_embedding_is_a_look_up_with_its_gradient() -> None:
    ours = LabelEmbedding(10, 6)
    reference = nn.Embedding(10, 6)
    reference.load_state_dict(ours.state_dict())
    labels = torch.tensor([3, 0, 3, 9])
    assert torch.equal(ours(labels), reference(labels))
    weights = torch.randn(4, 6)
    torch.testing.assert_close(
        *(torch.autograd.grad((one(labels) * weights).sum(), one.weight) for one in (ours, reference))
    )


@pytest.mark.parametrize("rate", [0.1, 0.4, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(rate: float) -> None:
    torch.manual_seed(0)
    layer = Dropout(rate)
    masks = torch.stack([layer(torch.ones(100, 200)) for _ in range(5)])
    assert masks.max() == pytest.approx(1 / (1 - rate))
    assert bool(((masks == 0) | (masks == masks.max())).all())
    assert float((masks == 0).double().mean()) == pytest.approx(rate, abs=0.01)
    assert float(masks.mean()) == pytest.approx(1, abs=0.03 if rate < 0.5 else 0.1)
    assert torch.equal(layer.eval()(masks), masks)


def test_dropout_masks_are_independent_in_place_and_time_and_between_layers() -> None:
    torch.manual_seed(1)
    layers = [Dropout(0.5), Dropout(0.5)]
    torch.manual_seed(2)
    layers.append(Dropout(0.5))
    signs = torch.stack([layer(torch.ones(512, 128)) - 1 for layer in layers for _ in range(4)]).flatten(1)
    bound = 5 / signs.shape[1] ** 0.5
    same_state, other_state = signs[:4], signs[8:]
    assert torch.equal(signs[:4], signs[4:8])  # one key: as torch's state had not moved, layers are alike
    drawn = torch.cat([same_state, other_state])
    correlations = drawn @ drawn.T / drawn.shape[1]
    assert (correlations - torch.eye(len(drawn))).abs().max() < bound
    for shift in (1, 2, 127, 128, 129, 4096):
        assert (drawn * drawn.roll(shift, 1)).mean(1).abs().max() < bound


def test_dropout_leaves_torchs_random_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    layer = Dropout(0.5)
    layer(torch.ones(8, 8))
    assert torch.equal(torch.rand(3), expected)


def test_the_init_of_dcgan_draws_small_weights() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 64, 4), nn.BatchNorm2d(4096), nn.ConvTranspose2d(64, 3, 4), nn.Linear(64, 64)
    )
    initialize(network, "dcgan")
    values = {key: parameter.detach() for key, parameter in network.named_parameters()}
    for index in (0, 2, 3):
        weight = values[f"{index}.weight"]
        assert abs(float(weight.mean())) < 2e-3
        assert float(weight.std()) == pytest.approx(0.02, rel=0.1)
    assert float(values["1.weight"].mean()) == pytest.approx(1, abs=2e-3)
    assert float(values["1.weight"].std()) == pytest.approx(0.02, rel=0.1)
    assert not values["1.bias"].any()
