"""Extractors: frozen features, names by hash, weights as recorded, Inception from the user's file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.data import Dataset, load_dataset, scaled
from harness.features import find as selections
from harness.features.cache import cached_features
from harness.features.extractors import (
    CLASSIFIERS,
    Features,
    build_network,
    load_classifier,
    random_conv,
    resized_to,
    save_classifier,
    weights_digest,
)
from harness.features.find import EXTRACTORS, StackedClassifier, find_extractor
from harness.features.inception import load_inception, resize_like_tensorflow
from harness.features.train import accuracy, junk, main, train
from harness.metrics.evaluator import Evaluator
from harness.recipe import choose
from harness.recipe.registry import datasets

GOLDEN = json.loads((Path(__file__).parent / "golden_features.json").read_text())
WEIGHTS = Path(selections.__file__).parent / "weights"


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset(choose(datasets, "digits"))


def drawn(channels: int = 1, side: int = 28) -> Tensor:
    """Two fixed images, from a stream that never changes."""
    values = np.random.RandomState(0).uniform(-1, 1, size=(2, channels, side // 4, side // 4))
    return resized_to(torch.from_numpy(values.astype(np.float32)), side)


# Frozen features


@pytest.mark.parametrize("data", CLASSIFIERS)
def test_shipped_classifiers_give_their_golden_features(data: str) -> None:
    found = load_classifier(data)(drawn(side=8 if data == "digits" else 28))
    assert found.logits is not None
    expected = GOLDEN[found_name(data)]
    np.testing.assert_allclose(found.embedding[:, :8].tolist(), expected["embedding"], atol=1e-4)
    np.testing.assert_allclose(found.logits.tolist(), expected["logits"], atol=1e-4)


def found_name(data: str) -> str:
    return load_classifier(data).name


def test_the_random_embedding_gives_its_golden_features() -> None:
    extractor = random_conv()
    found = extractor(drawn(3, 32)).embedding
    np.testing.assert_allclose(found[:, :8].tolist(), GOLDEN[extractor.name]["embedding"], atol=1e-4)


@pytest.mark.parametrize("data", CLASSIFIERS)
def test_shipped_weights_are_small_and_as_their_manifest_says(data: str) -> None:
    path = WEIGHTS / f"{CLASSIFIERS[data]}.npz"
    manifest = load_classifier(data).manifest
    assert path.stat().st_size <= 300_000
    assert weights_digest(load_classifier(data).network.state_dict()) == manifest["weights_sha256"]
    assert load_classifier(data).name == f"{CLASSIFIERS[data]}@{manifest['weights_sha256'][:8]}"
    assert manifest["local"] is False
    assert {"data_sha256", "preprocessing", "layer", "test_accuracy", "torch"} <= manifest.keys()


def test_the_digits_classifier_was_trained_on_the_digits_shipped_and_reads_them(digits: Dataset) -> None:
    classifier = load_classifier("digits")
    assert classifier.manifest["data_sha256"] == digits.fingerprint
    assert digits.test_labels is not None
    correct, _ = accuracy(classifier.network, digits.test, digits.test_labels)
    assert correct == pytest.approx(classifier.manifest["test_accuracy"], abs=1e-4)
    assert correct > 0.97


@pytest.mark.parametrize("data", CLASSIFIERS)
def test_classifiers_are_sure_of_neither_noise_nor_grey(data: str) -> None:
    random = torch.Generator().manual_seed(0)
    side = 8 if data == "digits" else 28
    white = torch.rand(200, 1, side, side, generator=random) * 2 - 1
    for images in (white, torch.zeros(1, 1, side, side)):
        logits = load_classifier(data)(images).logits
        assert logits is not None
        assert float((logits.softmax(dim=1).amax(dim=1) >= 0.9).double().mean()) < 0.02


def test_features_are_of_unit_size_and_do_not_depend_on_the_chunks(digits: Dataset) -> None:
    images = scaled(digits.test)
    for extractor, dimension in ((load_classifier("digits"), 84), (random_conv(), 128)):
        found = extractor(images).embedding
        assert found.dtype == torch.float64
        assert found.shape == (300, dimension)
        assert 0.1 < float(found.square().mean()) < 3
        one_by_one = torch.cat([extractor(images[i : i + 1]).embedding for i in range(3)])
        torch.testing.assert_close(found[:3], one_by_one, atol=1e-5, rtol=1e-5)


def test_images_of_another_resolution_are_resized(digits: Dataset) -> None:
    found = load_classifier("digits")(resized_to(scaled(digits.test), 16))
    assert found.logits is not None
    assert digits.test_labels is not None
    assert float((found.logits.argmax(dim=1) == digits.test_labels).double().mean()) > 0.9
    assert resized_to(digits.test, 8) is digits.test


# Choice


def test_extractors_are_chosen_by_name_and_by_data(digits: Dataset) -> None:
    assert find_extractor("auto", digits).name.startswith("lenet-digits@")
    assert find_extractor("lenet-mnist", digits).name.startswith("lenet-mnist@")
    assert find_extractor("random-conv", digits).name.startswith("random-conv@")
    assert "inception" in EXTRACTORS
    with pytest.raises(ValueError, match="unknown extractor `lenet-mnst`; did you mean `lenet-mnist`"):
        find_extractor("lenet-mnst", digits)
    with pytest.raises(ValueError, match="no classifier is shipped for `cifar10`; there are some for"):
        load_classifier("cifar10")


def test_stacked_digits_are_read_by_the_classifier_of_their_source() -> None:
    data = load_dataset(choose(datasets, "stacked-mnist", source="digits", num_samples=1000))
    extractor = find_extractor("auto", data)
    assert isinstance(extractor, StackedClassifier)
    assert extractor.name.startswith("stacked-lenet-digits@")
    found = extractor(scaled(data.test[:100]))
    assert found.embedding.shape == (100, 252)
    assert found.stacked is not None
    assert data.test_labels is not None
    read = (found.stacked.argmax(dim=2) * torch.tensor([100, 10, 1])).sum(dim=1)
    assert float((read == data.test_labels[:100]).double().mean()) > 0.9
    scores = Evaluator(data).evaluate(data.train[:400])
    assert scores["stacked_modes_over_real"] > 0.9
    assert Evaluator(data).evaluate(data.train[:1].expand(400, -1, -1, -1))["stacked_modes"] == 1


@pytest.mark.parametrize("channels", [2, 4])
def test_the_wrong_number_of_channels_is_a_clear_line(digits: Dataset, channels: int) -> None:
    images = torch.zeros(3, channels, 28, 28)
    with pytest.raises(ValueError, match=f"is for images of 1 channel, but these have {channels}"):
        load_classifier("mnist")(images)
    with pytest.raises(ValueError, match=f"is for images of 1 or 3 channels, but these have {channels}"):
        random_conv()(images)
    with pytest.raises(ValueError, match=f"is for images of 3 channels, but these have {channels}"):
        StackedClassifier(classifier=load_classifier("digits"))(images)


# Training


def test_training_the_same_again_gives_the_same_weights(digits: Dataset) -> None:
    first, second = (train(digits, epochs=1).state_dict() for _ in range(2))
    assert weights_digest(first) == weights_digest(second)
    assert weights_digest(train(digits, epochs=1, seed=1).state_dict()) != weights_digest(first)


def test_junk_is_of_the_images_shape_and_range_and_hardly_ever_real(digits: Dataset) -> None:
    assert digits.train_labels is not None
    images = scaled(digits.train[:256])
    found = junk(images, digits.train_labels[:256], torch.Generator().manual_seed(0))
    assert found.shape == images.shape
    assert float(found.abs().max()) <= 1
    assert not bool((found == images).flatten(1).all(dim=1).any())


def test_weights_trained_here_are_marked_as_local(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.npz"
    main(["digits", "--epochs", "1", "--out", str(path)])
    assert "accuracy" in capsys.readouterr().out
    with np.load(path) as content:
        assert json.loads(str(content["manifest"]))["local"] is True


def test_weights_that_differ_from_their_manifest_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = build_network(28, 10).state_dict()
    folder = tmp_path / "weights"
    folder.mkdir()
    path = folder / "lenet-mnist.npz"
    save_classifier(path, weights, {"side": 28, "num_classes": 10, "local": False})
    with np.load(path) as content:
        arrays = {name: content[name] for name in content.files}
    arrays["fifth.bias"] = arrays["fifth.bias"] + 1
    np.savez(path, **arrays)
    monkeypatch.setattr("harness.features.extractors.resources.files", lambda _: tmp_path)
    with pytest.raises(ValueError, match="weights of `lenet-mnist` differ from their manifest"):
        load_classifier.__wrapped__("mnist")


# The cache on the disk


def test_features_come_from_the_disk_the_second_time_and_anew_for_other_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    made = []

    def make() -> Features:
        made.append(1)
        return Features(embedding=torch.rand(5, 3).double(), logits=torch.rand(5, 2).double())

    first = cached_features({"data": "a"}, make)
    again = cached_features({"data": "a"}, make)
    assert len(made) == 1
    assert torch.equal(first.embedding, again.embedding)
    assert again.logits is not None
    assert again.stacked is None
    cached_features({"data": "b"}, make)
    assert len(made) == 2
    for path in tmp_path.glob("features-*.npz"):
        path.write_bytes(path.read_bytes()[:40])
    cached_features({"data": "a"}, make)
    assert len(made) == 3
    assert not list(tmp_path.glob(".*"))


def test_a_cache_that_cannot_be_written_costs_time_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("HARNESS_CACHE", str(blocked))
    found = cached_features({"data": "a"}, lambda: Features(embedding=torch.zeros(2, 2).double()))
    assert found.embedding.shape == (2, 2)


# Inception


def test_an_inception_file_that_is_none_is_a_clear_line(
    tmp_path: Path, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HARNESS_INCEPTION", raising=False)
    with pytest.raises(ValueError, match="needs a file of weights; set HARNESS_INCEPTION to it"):
        find_extractor("inception", digits)
    path = tmp_path / "weights.pth"
    monkeypatch.setenv("HARNESS_INCEPTION", str(path))
    with pytest.raises(ValueError, match=r"cannot be read \(No such file"):
        find_extractor("inception", digits)
    with pytest.raises(ValueError, match=r"cannot be read \(Is a directory"):
        find_extractor(f"inception:{tmp_path}", digits)
    path.write_bytes(b"\x89PNG not weights at all")
    with pytest.raises(ValueError, match="is not a file of weights that PyTorch can read"):
        load_inception(str(path))
    for number, (content, message) in enumerate(
        (
            ([1, 2], "holds a list, not the weights"),
            ({"fc.weight": torch.zeros(10, 4)}, "has no `fc.weight` of 1008 or 1000 rows"),
            ({"fc.weight": torch.zeros(1008, 4)}, "its shapes differ"),
            ({"fc.weight": torch.zeros(1008, 2048)}, "it lacks Conv2d_1a_3x3"),
        )
    ):
        other = tmp_path / f"{number}.pth"
        torch.save(content, other)
        with pytest.raises(ValueError, match=message) as caught:
            load_inception(str(other))
        assert "\n" not in str(caught.value)


def test_tensorflow_s_resizing_keeps_the_first_pixel_and_does_not_smooth() -> None:
    images = torch.arange(12.0).view(1, 1, 3, 4)
    twice = resize_like_tensorflow(images, 6)
    assert twice[0, 0, 0].tolist() == pytest.approx([0, 2 / 3, 4 / 3, 2, 8 / 3, 3])
    assert twice[0, 0, :, 0].tolist() == pytest.approx([0, 2, 4, 6, 8, 8])
