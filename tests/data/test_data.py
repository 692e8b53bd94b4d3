"""The data sets made here: their mixtures, moments, split and fingerprints."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from harness.data import Dataset, Mixture, load_dataset
from harness.data.points import four_gaussians
from harness.recipe import Choice, choose
from harness.recipe.registry import datasets


def load(name: str, **options: bool | int | float | str) -> Dataset:
    return load_dataset(choose(datasets, name, **options))


@pytest.mark.parametrize("name", ["points", "ring", "grid"])
def test_every_made_set_has_7000_points_to_train_on_and_1192_held_out(name: str) -> None:
    data = load(name)
    assert (data.name, data.kind, data.num_classes) == (name, "points", 0)
    assert (data.train.shape, data.test.shape, data.sample_shape) == ((7000, 2), (1192, 2), (2,))
    assert data.train.dtype == data.test.dtype == torch.float32
    assert data.train_labels is None
    assert data.test_labels is None
    assert bool(torch.isfinite(data.train).all())
    assert data.mixture is not None


def test_points_has_the_moments_of_the_mixture_and_2048_points_a_part() -> None:
    data = load("points")
    everything = torch.cat([data.train, data.test]).double().numpy()
    np.testing.assert_allclose(everything.mean(axis=0), [0.660, 0.470], atol=1e-3)
    np.testing.assert_allclose(everything.std(axis=0), [0.358, 0.079], atol=1e-3)
    for part in (data.train, data.test):
        np.testing.assert_allclose(part.mean(dim=0), [0.660, 0.470], atol=0.01)
        np.testing.assert_allclose(part.std(dim=0), [0.358, 0.079], rtol=0.03)
    _, nearest = four_gaussians().nearest_part(everything)
    np.testing.assert_allclose(np.bincount(nearest), 2048, rtol=0.04)


def test_the_four_gaussians_have_the_stated_axes_and_the_moments_of_the_whole() -> None:
    mixture = four_gaussians()
    variances, axes = np.linalg.eigh(mixture.covariances)
    np.testing.assert_allclose(np.sqrt(variances[:, 1]), [0.1025, 0.1017, 0.0940, 0.1043])
    np.testing.assert_allclose(np.sqrt(variances[:, 0]), [0.0269, 0.0163, 0.0348, 0.0282])
    degrees = np.degrees(np.arctan2(axes[:, 1, 1], axes[:, 0, 1])) % 180
    np.testing.assert_allclose(degrees, [40.6, 142.2, 31.8, 123.0])
    np.testing.assert_allclose(mixture.mean, [0.660, 0.470], atol=5e-4)
    np.testing.assert_allclose(np.sqrt(np.diag(mixture.covariance)), [0.358, 0.079], atol=5e-4)


def test_a_mixture_draws_what_it_says() -> None:
    mixture = four_gaussians()
    drawn = mixture.draw(np.full(4, 50_000), 3)
    np.testing.assert_allclose(drawn.mean(axis=0), mixture.mean, atol=1e-3)
    np.testing.assert_allclose(np.cov(drawn.T), mixture.covariance, atol=1e-3)
    np.testing.assert_allclose(np.cov(drawn[:50_000].T), mixture.covariances[0], atol=2e-4)
    assert np.array_equal(drawn, mixture.draw(np.full(4, 50_000), 3))
    assert not np.array_equal(drawn, mixture.draw(np.full(4, 50_000), 4))


def test_the_nearest_part_is_by_mahalanobis_distance() -> None:
    mixture = Mixture(
        names=("wide", "narrow"),
        means=np.array([[0.0, 0.0], [4.0, 0.0]]),
        covariances=np.array([np.diag([4.0, 1.0]), np.diag([0.25, 1.0])]),
        weights=np.array([0.5, 0.5]),
    )
    distance, part = mixture.nearest_part(np.array([[2.5, 0.0], [4.5, 0.0], [0.0, -2.0]]))
    assert part.tolist() == [0, 1, 0]
    np.testing.assert_allclose(distance, [1.25, 1.0, 2.0])


def test_the_ring_has_its_modes_on_the_circle() -> None:
    data = load("ring", modes=5, radius=3.0, sd=0.02, num_points=1003)
    assert data.mixture is not None
    assert len(data.mixture) == 5
    np.testing.assert_allclose(np.linalg.norm(data.mixture.means, axis=1), 3.0)
    everything = torch.cat([data.train, data.test]).double().numpy()
    assert len(everything) == 1003
    distance, part = data.mixture.nearest_part(everything)
    assert np.bincount(part).tolist() == [201, 201, 201, 200, 200]
    assert (distance**2).mean() == pytest.approx(2.0, rel=0.1)


def test_the_grid_is_centred_with_its_step() -> None:
    data = load("grid")
    assert data.mixture is not None
    assert sorted(set(data.mixture.means[:, 0])) == [-4, -2, 0, 2, 4]
    assert len({tuple(mean) for mean in data.mixture.means.tolist()}) == 25
    distance, _ = data.mixture.nearest_part(data.train.double().numpy())
    assert (distance**2).mean() == pytest.approx(2.0, rel=0.05)
    np.testing.assert_allclose(data.mixture.covariances[7], 0.05**2 * np.eye(2))


@pytest.mark.parametrize("name", ["points", "ring", "grid"])
def test_a_set_is_the_same_every_time_and_its_fingerprint_says_so(name: str) -> None:
    choice = choose(datasets, name)
    first = datasets[name](**choice.options)
    second = datasets[name](**choice.options)
    assert torch.equal(first.train, second.train)
    assert first.fingerprint == second.fingerprint == load_dataset(choice).fingerprint
    assert re.fullmatch(r"[0-9a-f]{16}", first.fingerprint)


def test_fingerprints_differ_where_the_data_do() -> None:
    prints = {load("points").fingerprint, load("ring").fingerprint, load("ring", sd=0.02).fingerprint}
    assert len(prints) == 3


def test_a_data_set_is_made_once_a_process() -> None:
    assert load("points") is load("points")


def test_moving_a_data_set_keeps_what_it_is() -> None:
    data = load("points")
    moved = data.to("meta")
    assert moved.train.device.type == moved.test.device.type == "meta"
    assert (moved.fingerprint, moved.mixture, moved.name) == (data.fingerprint, data.mixture, data.name)


def test_an_unknown_data_set_offers_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean `points`"):
        load_dataset(Choice(name="pionts", options={}))
