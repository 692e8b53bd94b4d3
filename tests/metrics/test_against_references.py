"""Scores against torch-fidelity and prdc, where these are installed and compute the same thing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.distances.balls import Neighbours, in_balls, neighbours, pairwise, radii
from harness.distances.frechet import frechet, kid, moments
from harness.features.inception import load_inception, resize_like_tensorflow
from harness.metrics.images.classes import classifier_score


def features(rows: int, seed: int, shift: float = 0.0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    mixing = torch.randn(24, 24, generator=torch.Generator().manual_seed(99), dtype=torch.float64) / 5
    return torch.randn(rows, 24, generator=random, dtype=torch.float64) @ mixing + shift


def reference(name: str) -> Any:
    return pytest.importorskip(name, exc_type=ImportError)


def prdc(fake: Tensor, real: Tensor, k: int) -> Neighbours:
    between, (own, theirs) = pairwise(fake, real), (radii(x, pairwise(x, x), k) for x in (fake, real))
    return neighbours(in_balls(fake, real, theirs, between), in_balls(real, fake, own, between.T).T, k)


def test_frechet_is_torch_fidelity_s() -> None:
    theirs = reference("torch_fidelity.metric_fid")
    fake, real = features(500, 0, 0.3), features(700, 1)
    expected = theirs.fid_statistics_to_metric(
        theirs.fid_features_to_statistics(fake), theirs.fid_features_to_statistics(real), verbose=False
    )
    assert frechet(moments(fake), moments(real)) == pytest.approx(
        expected["frechet_inception_distance"], rel=1e-6
    )


def test_kid_is_torch_fidelity_s_on_one_subset_of_all() -> None:
    theirs = reference("torch_fidelity.metric_kid")
    fake, real = features(600, 0, 0.3), features(600, 1)
    expected = theirs.kid_features_to_metric(
        fake, real, kid_subsets=1, kid_subset_size=600, verbose=False, rng_seed=0
    )
    assert kid(fake, real) == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-6, abs=1e-12)


def test_the_classifier_score_is_torch_fidelity_s_of_one_split() -> None:
    theirs = reference("torch_fidelity.metric_isc")
    logits = 4 * features(800, 0)
    expected = theirs.isc_features_to_metric(logits, splits=1)["inception_score_mean"]
    # Theirs is the mean over splits of exp(KL), so with one split the two are the same.
    assert classifier_score(logits) == pytest.approx(expected, rel=1e-6)


def test_precision_and_recall_are_torch_fidelity_s() -> None:
    theirs = reference("torch_fidelity.metric_prc")
    fake, real = features(400, 0, 0.2), features(500, 1)
    precision, recall = theirs.calculate_precision_recall_full(fake, real, neighborhood=3)
    found = prdc(fake, real, 3)
    assert (found.precision, found.recall) == pytest.approx((precision, recall), abs=1e-6)


def test_all_four_neighbour_scores_are_prdc_s(capsys: pytest.CaptureFixture[str]) -> None:
    theirs = reference("prdc")
    fake, real = features(300, 0, 0.2), features(400, 1)
    expected = theirs.compute_prdc(real.numpy(), fake.numpy(), nearest_k=5)
    capsys.readouterr()
    found = prdc(fake, real, 5)
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(float(value), abs=1e-6), name


@pytest.mark.parametrize(("height", "width"), [(28, 28), (400, 310)])
def test_tensorflow_s_resizing_is_torch_fidelity_s(height: int, width: int) -> None:
    theirs = reference("torch_fidelity.interpolate_compat_tensorflow")
    images = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0)) * 255
    expected = theirs.interpolate_bilinear_2d_like_tensorflow1x(images, size=(299, 299), align_corners=False)
    torch.testing.assert_close(resize_like_tensorflow(images, 299), expected, atol=1e-2, rtol=1e-5)


@pytest.mark.slow
def test_inception_features_are_torch_fidelity_s_whatever_the_weights(tmp_path: Path) -> None:
    theirs = reference("torch_fidelity.feature_extractor_inceptionv3")
    path = tmp_path / "weights.pth"
    torch.manual_seed(0)
    models = pytest.importorskip("torchvision.models")
    network = models.Inception3(num_classes=1008, aux_logits=False, transform_input=False, init_weights=False)
    state = {key: value for key, value in network.state_dict().items() if "num_batches" not in key}
    for key, value in state.items():
        if value.ndim > 1:
            torch.nn.init.kaiming_normal_(value)
        elif "running_var" in key or key.endswith("bn.weight"):
            value.uniform_(0.5, 1.5)
    torch.save(state, path)
    extractor = load_inception(str(path))
    images = torch.randint(0, 256, (3, 3, 40, 40), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    other = theirs.FeatureExtractorInceptionV3(
        "other", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(path)
    )
    pooled, logits = other(images)
    found = extractor(images.float() / 127.5 - 1)
    assert found.logits is not None
    scale = float(pooled.abs().mean())
    assert math.isfinite(scale)
    np.testing.assert_allclose(found.embedding.numpy(), pooled.numpy(), atol=1e-3 * scale, rtol=1e-3)
    np.testing.assert_allclose(found.logits.numpy(), logits.numpy(), atol=1e-3 * float(logits.abs().mean()))
    assert extractor.name.startswith("inception@")


@pytest.mark.slow
def test_torchvision_s_inception_is_read_as_torchvision_s(tmp_path: Path) -> None:
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    network = models.Inception3(num_classes=1000, aux_logits=True, transform_input=True, init_weights=False)
    path = tmp_path / "weights.pth"
    torch.save(network.state_dict(), path)
    extractor = load_inception(str(path))
    assert extractor.name.startswith("inception-torchvision@")
    images = torch.rand(2, 3, 299, 299, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mean, sd = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    usual = ((images + 1) / 2 - torch.tensor(mean)[:, None, None]) / torch.tensor(sd)[:, None, None]
    with torch.no_grad():
        expected = network.eval()(usual) - network.fc.bias
    found = extractor(images)
    assert found.logits is not None
    np.testing.assert_allclose(found.logits.numpy(), expected.numpy(), atol=1e-4, rtol=1e-3)
    grey = extractor(images[:, :1])
    assert grey.embedding.shape == (2, 2048)
