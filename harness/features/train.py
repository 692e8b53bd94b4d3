"""Train the frozen classifier of a data set: ``python -m harness.features.train mnist``.

Scores measured with other weights are other scores, so nothing calls this but a person, and what it writes is
marked as local unless it is made to be shipped (`--ship`).

Shapes: B images (B, 1, H, W) in [-1, 1].
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.data import Dataset, load_dataset, scaled
from harness.features.extractors import CLASSIFIERS, build_network, resized_to, save_classifier
from harness.recipe import choose
from harness.recipe.registry import datasets

__all__ = ["accuracy", "junk", "main", "resampled", "train"]

BATCH = 128
JUNK_SHARE = 0.5
LR = 2e-3
EPOCHS = {"mnist": 12, "fashion-mnist": 16, "digits": 150}
_WEIGHTS = Path(__file__).parent / "weights"


def junk(images: Tensor, labels: Tensor, random: torch.Generator) -> Tensor:
    """Images of no class, made of real ones and of noise, in equal parts.

    A classifier that has seen only its classes is as sure of noise as of a digit. Shown these with the demand
    to be unsure, its confidence says whether an image is of a class at all (Hendrycks et al. 2019, "Deep
    anomaly detection with outlier exposure"). The kinds: white noise, coarse noise, sparse noise, shuffled
    pixels, shuffled quarters, two classes blended, and plain grey.

    Args:
        images: (B, 1, H, W) reals.
        labels: (B,) their classes.
        random: the source of chance.

    Returns:
        (B, 1, H, W); a real image whose partner in a blend is of its own class stays as it is.
    """
    count, _, height, width = images.shape

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=random)

    white = uniform(count, 1, height, width) * 2 - 1
    coarse = F.interpolate(uniform(count, 1, 4, 4) * 2 - 1, size=(height, width), mode="bilinear")
    sparse = torch.where(uniform(count, 1, height, width) < 0.3 * uniform(count, 1, 1, 1), 1.0, -1.0)
    pixels = images.flatten(2)[:, :, torch.randperm(height * width, generator=random)].view_as(images)
    top, left = height // 2, width // 2
    quarters = torch.cat(
        [
            torch.cat([images[:, :, top:, left:], images.flip(0)[:, :, top:, :left]], dim=3),
            torch.cat([images.flip(0)[:, :, :top, left:], images[:, :, :top, :left]], dim=3),
        ],
        dim=2,
    )
    quarters = F.interpolate(quarters, size=(height, width))
    partner = torch.randperm(count, generator=random)
    blended = (images + images[partner]) / 2
    grey = (uniform(count, 1, 1, 1) * 2 - 1).expand_as(images)
    kinds = torch.stack([white, coarse, sparse, pixels, quarters, blended, grey])
    kind = torch.randint(len(kinds), (count,), generator=random)
    same = (kind == 5) & (labels == labels[partner])
    kind = torch.where(same, 0, kind)
    return kinds[kind, torch.arange(count)]


def resampled(images: Tensor, random: torch.Generator) -> Tensor:
    """Images taken to another resolution and back, half of the time: what resizing does is not of no class.

    Args:
        images: (B, 1, S, S).
        random: chooses whether, and a resolution of 5/7 S to 64.
    """
    side = images.shape[2]
    if float(torch.rand(1, generator=random)) < 0.5:
        return images
    other = int(torch.randint(side * 5 // 7 + 1, 65, (1,), generator=random))
    return resized_to(resized_to(images, other), side)


def train(dataset: Dataset, *, epochs: int, seed: int = 0, device: str = "cpu") -> nn.Module:
    """A classifier of a labelled data set's images.

    Args:
        dataset: images of one channel with labels.
        epochs: times that every training image is seen, shifted by up to a fourteenth of its side.
        seed: of weights, order, shifts and junk.
        device: where to train; the results differ in the last digits between devices.
    """
    assert dataset.train_labels is not None
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    side = dataset.sample_shape[1]
    network = build_network(side, dataset.num_classes).to(device)
    per_epoch = len(dataset.train) // BATCH
    optimizer = torch.optim.AdamW(network.parameters(), lr=LR, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=LR, total_steps=epochs * per_epoch)
    reach = max(1, side // 14)
    for epoch in range(epochs):
        order = torch.randperm(len(dataset.train), generator=random)
        total = 0.0
        for step in range(per_epoch):
            rows = order[step * BATCH : (step + 1) * BATCH]
            images, labels = scaled(dataset.train[rows]), dataset.train_labels[rows]
            none = junk(images, labels, random)[: int(JUNK_SHARE * BATCH)].to(device)
            padded = F.pad(images, (reach,) * 4, value=-1.0)
            top, left = torch.randint(2 * reach + 1, (2,), generator=random).tolist()
            shifted = resampled(padded[:, :, top : top + side, left : left + side], random).to(device)
            _, logits = network(torch.cat([shifted, none]))
            known = F.cross_entropy(logits[: len(rows)], labels.to(device))
            unknown = -F.log_softmax(logits[len(rows) :], dim=1).mean()
            loss = known + JUNK_SHARE * unknown
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        print(f"epoch {epoch + 1}/{epochs}: loss {total / per_epoch:.4f}", file=sys.stderr, flush=True)
    return network.cpu().eval()


@torch.no_grad()
def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Share of images put in their class, and share of which the network is 90 % sure.

    Args:
        network: from `train`.
        images: (M, 1, H, W), bytes or numbers.
        labels: (M,).
    """
    logits = torch.cat([network(scaled(part))[1] for part in torch.split(images, 1000)])
    sure = logits.softmax(dim=1).amax(dim=1) >= 0.9
    return float((logits.argmax(dim=1) == labels).double().mean()), float(sure.double().mean())


def main(arguments: list[str] | None = None) -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(prog="python -m harness.features.train", description=__doc__)
    parser.add_argument("data", choices=list(CLASSIFIERS))
    parser.add_argument("--epochs", type=int, default=0, help="0 for the number the shipped weights had")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=None, help="the .npz file to write")
    parser.add_argument("--ship", action="store_true", help="write into the package, not marked as local")
    given = parser.parse_args(arguments)
    title = CLASSIFIERS[given.data]
    path = given.out or (_WEIGHTS if given.ship else Path()) / f"{title}.npz"
    dataset = load_dataset(choose(datasets, given.data))
    assert dataset.test_labels is not None
    network = train(dataset, epochs=given.epochs or EPOCHS[given.data], device=given.device)
    correct, sure = accuracy(network, dataset.test, dataset.test_labels)
    with torch.no_grad():
        sample = scaled(dataset.train[:: max(1, len(dataset.train) // 5000)])
        power = float(network(sample)[0].double().square().mean())
    side = dataset.sample_shape[1]
    manifest = {
        "data": given.data,
        "data_sha256": dataset.fingerprint,
        "preprocessing": f"[-1, 1], 1 channel, {side}x{side}, other sizes bilinear with antialiasing",
        "layer": "fourth, 84 values before the activation, over feature_scale",
        "side": side,
        "num_classes": dataset.num_classes,
        "feature_scale": round(math.sqrt(power), 6),
        "test_accuracy": round(correct, 4),
        "test_share_sure": round(sure, 4),
        "torch": torch.__version__.split("+")[0],
        "local": not given.ship,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_classifier(path, network.state_dict(), manifest)
    print(f"{path}: accuracy {correct:.4f}, {sure:.4f} sure, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
