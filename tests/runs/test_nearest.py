"""The search for the nearest training images."""

import numpy as np
import pytest
import torch

from harness.data.images import digits
from harness.runs.nearest import nearest_images


def test_planted_copies_are_found_at_distance_zero() -> None:
    data = digits()
    copies = data.train[[1200, 3]].to(torch.float32) / 127.5 - 1
    found = nearest_images(copies, data.train, num=3)
    assert found.indices[:, 0].tolist() == [1200, 3]
    assert (found.distances[:, 0] < 1e-5).all()
    assert (np.diff(found.distances, axis=1) >= 0).all()


def test_the_search_in_chunks_finds_what_all_distances_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.runs.nearest._CHUNK_BYTES", 4 * 64 * 100)
    monkeypatch.setattr("harness.runs.nearest._QUERIES", 7)
    data = digits()
    queries, train = (part.double().flatten(1) / 127.5 - 1 for part in (data.test[:40], data.train))
    expected, order = torch.cdist(queries, train).sort(dim=1)
    found = nearest_images(data.test[:40], data.train, num=4)
    assert np.allclose(found.distances, expected[:, :4].numpy(), atol=1e-5)
    clear = (expected[:, :4] + 1e-6 < expected[:, 1:5]).all(1).numpy()
    assert (found.indices[clear] == order[:, :4].numpy()[clear]).all()


def test_the_search_refuses_what_cannot_be_searched() -> None:
    train = digits().train
    with pytest.raises(ValueError, match=r"shape \(1, 8, 8\), but got \(2, 1, 9, 9\)"):
        nearest_images(torch.zeros(2, 1, 9, 9), train)
    with pytest.raises(ValueError, match="`num` must be in 1…1497, the training images, but got 0"):
        nearest_images(train[:2], train, num=0)
    with pytest.raises(ValueError, match="not finite"):
        nearest_images(torch.full((1, 1, 8, 8), torch.nan), train)
