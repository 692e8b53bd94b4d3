"""The contract's functions: what keeps it passes, and each broken promise is found and said in a sentence."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import harness.testing as contract
import support.own_nets as own_nets
from harness.data import Dataset
from harness.metrics.catalogue import Metric
from harness.optim.rules import Adam, Optimizer
from harness.recipe import Loss, Recipe, find_recipe
from harness.recipe.registry import (
    Registry,
    datasets,
    discriminators,
    losses,
    metrics,
    optimizers,
    recipes,
)
from harness.testing import ContractError

DRAWS = itertools.count()
"""Something that changes from call to call, and that no seed decides."""


def filed(monkeypatch: pytest.MonkeyPatch, registry: Registry[Any], entry: Any) -> None:
    monkeypatch.setitem(registry._entries, "own", entry)


def broken(message: str) -> Any:
    return pytest.raises(ContractError, match=re.compile(message))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 16)])
def test_a_resnet_with_spectral_norm_and_attention_keeps_the_contract(shape: tuple[int, ...]) -> None:
    contract.check_generator("own-resnet", sample_shape=shape, options={"latent_dim": 8, "channels": 8})
    contract.check_discriminator("own-resnet", sample_shape=shape, options={"channels": 8})


def test_all_entries_of_a_module_are_checked_and_named() -> None:
    checked = contract.check_all(own_nets.__name__, sample_shape=(1, 8, 8))
    assert checked == ["generator own-resnet", "discriminator own-resnet"]
    with pytest.raises(ValueError, match=r"`sample_shape` is needed to check the generator `own-resnet`"):
        contract.check_all(own_nets.__name__)
    with pytest.raises(ValueError, match=r"`module` json registers no entries"):
        contract.check_all("json")


def test_the_examples_run() -> None:
    for name in contract.__all__:
        text = getattr(contract, name).__doc__ or ""
        if "Example:" in text and name != "check_all":  # whose module is the reader's
            lines = text.partition("Example:\n")[2].splitlines()
            exec("\n".join(line[8:] for line in lines), {})


class Points(nn.Module):
    """A sound D of points, which the networks below break in one way each."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, points: Tensor) -> Tensor:
        return self.score(points).squeeze(-1)

    def score(self, points: Tensor) -> Tensor:
        scores: Tensor = self.layers(points)
        return scores


class Wide(Points):
    def forward(self, points: Tensor) -> Tensor:
        return self.score(points)


class Unused(Points):
    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Parameter(torch.ones(3))


class Unseeded(Points):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.tensor(float(next(DRAWS))))

    def score(self, points: Tensor) -> Tensor:
        return super().score(points) + self.shift


class Counting(Points):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def score(self, points: Tensor) -> Tensor:
        self.count += 1
        return super().score(points)


class Mixing(Points):
    def score(self, points: Tensor) -> Tensor:
        scores = super().score(points)
        return scores - scores.mean() if self.training else scores


class Hidden(Points):
    calls = 0

    def score(self, points: Tensor) -> Tensor:
        if self.training:
            self.calls += 1
        return super().score(points) * (1 + self.calls)


class Passing(Points):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.rand(()) + 1, persistent=False)

    def score(self, points: Tensor) -> Tensor:
        return super().score(points) * self.scale


class Dropping(Points):
    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def score(self, points: Tensor) -> Tensor:
        return super().score(self.drop(points))


class Recurrent(Points):
    def __init__(self) -> None:
        super().__init__()
        self.read = nn.GRU(2, 2, batch_first=True)

    def score(self, points: Tensor) -> Tensor:
        return super().score(self.read(points.unsqueeze(1).repeat(1, 2, 1))[0][:, 1])


@pytest.mark.filterwarnings("ignore:.*torch.compile.*")
@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Wide, r"discriminator `own` must map 6 inputs of shape \(2,\) to \(6,\), but maps them to \(6, 1\)"),
        (Unused, "no gradient reaches spare"),
        (Unseeded, "two networks of one seed differ"),
        (Counting, "evaluation changes the buffer count; change it where `self.training` alone"),
        (Mixing, "mixes the samples of a batch .* attribute mixes_samples = True"),
        (
            Hidden,
            "read back from a file it does not go on as before; keep what a forward pass changes",
        ),
        (Passing, "its `state_dict` is not all of it; make its buffers persistent"),
        (Dropping, "draws from torch's random state in its forward pass.*`gan_sweep_models.layers.Dropout`"),
        (Recurrent, "torch cannot compute 3 runs of it together.*aten::gru"),
    ],
)
def test_a_network_that_breaks_a_promise_is_told_which(
    network: Callable[[], nn.Module], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*, sample_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        return network()

    filed(monkeypatch, discriminators, build)
    with broken(message) as caught:
        contract.check_discriminator("own", sample_shape=(2,))
    assert "\n" not in str(caught.value)


def test_an_option_that_does_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*, sample_shape: tuple[int, ...], num_classes: int, units: int = 8) -> nn.Module:
        return Points()

    filed(monkeypatch, discriminators, build)
    contract.check_discriminator("own", sample_shape=(2,))
    with broken("discriminator `own`: its option `units` does nothing: 16 is as 8"):
        contract.check_discriminator("own", sample_shape=(2,), options={"units": 16})


def _least_squares(real: Tensor, fake: Tensor) -> Tensor:
    return 0.5 * ((real - 1).square().mean(-1) + fake.square().mean(-1))


def _fooled(fake: Tensor, real: Tensor) -> Tensor:
    return (fake - 1).square().mean(-1)


def _linear(fake: Tensor, real: Tensor) -> Tensor:
    return -fake.mean(-1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, ""),
        ({"chance": 0.5}, r"says chance=0.5, but where D cannot tell its loss is 0.25 at the least"),
        (
            {"compares": True},
            "says compares=True, but G's loss does not depend on the scores of real",
        ),
        (
            {"generator": lambda fake, real: _linear(fake - real, real)},
            "compares=False, but G's loss dep",
        ),
        ({"generator": lambda fake, real: fake.mean(-1)}, "the loss of G must be lower where it wins"),
        (
            {"generator": lambda fake, real: _linear(fake, real).mean()},
            r"must be \(3,\) and \(\), but is",
        ),
        (
            {"discriminator": lambda real, fake: fake.mean() - real.mean(-1)},
            "the loss of D in a population is not what it is alone",
        ),
        (
            {"generator": lambda fake, real: _linear(fake.round(), real)},
            "G has no gradient by the scores",
        ),
        (
            {"discriminator": lambda real, fake: _least_squares(real, fake) + next(DRAWS)},
            "the loss of D differs from call to call",
        ),
    ],
)
def test_a_loss_that_breaks_a_promise_is_told_which(
    changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound: dict[str, Any] = {"discriminator": _least_squares, "generator": _linear, "chance": 0.25}
    filed(monkeypatch, losses, lambda: Loss(**sound | changes))
    if not message:
        contract.check_loss("own")
        return
    with broken(f"loss `own`.*{message}"):
        contract.check_loss("own")


class Uphill(Adam):
    """Adam the wrong way."""

    def update(self, parameters: Tensor, gradients: Tensor, *rest: Any) -> None:
        super().update(parameters, gradients.neg_(), *rest)


class Normed(Adam):
    """A rule that looks at a run's whole gradient."""

    def update(self, parameters: Tensor, gradients: Tensor, *rest: Any) -> None:
        super().update(parameters, gradients.sub_(gradients.mean(1, keepdim=True)), *rest)


class Joint(Adam):
    """A rule that looks at the other runs."""

    def update(self, parameters: Tensor, gradients: Tensor, *rest: Any) -> None:
        super().update(parameters, gradients.add_(gradients.mean(0)), *rest)


class Forgetful(Optimizer):
    """A rule that keeps its velocity to itself."""

    def buffers(self) -> tuple[str, ...]:
        return ()

    def update(self, parameters: Tensor, gradients: Tensor, buffers: Any, options: Any, step: Any) -> None:
        velocity = gradients + 0.5 * getattr(self, "velocity", torch.zeros(()))
        object.__setattr__(self, "velocity", velocity)
        parameters.sub_(options["lr"] * velocity)


class Fixed(Adam):
    """Adam that ignores its β₁."""

    def update(self, parameters: Tensor, gradients: Tensor, buffers: Any, options: Any, step: Any) -> None:
        super().update(parameters, gradients, buffers, {**options, "beta1": 0.9}, step)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (Uphill, r"100 steps of lr 0.001 down ½‖θ‖² lead"),
        (Normed, "half of the columns by themselves are updated otherwise than all together"),
        (Joint, "a run among others, at its own lr is not what it is alone"),
        (Forgetful, r"it does not go on as before; keep all it remembers in `buffers\(\)`"),
        (Fixed, "its option `beta1` does nothing: 0.5 is as 0.9"),
    ],
)
def test_an_optimizer_that_breaks_a_promise_is_told_which(
    rule: type[Optimizer], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    filed(monkeypatch, optimizers, rule)
    with broken(f"optimizer `own`.*{message}"):
        contract.check_optimizer("own", options={"beta1": 0.5} if rule is Fixed else {})


IMAGES = torch.linspace(-1, 1, 9 * 16).view(9, 1, 4, 4)


def _points(seed: int = 0, **changes: Any) -> Dataset:
    draw = torch.Generator().manual_seed(seed)
    parts = {"train": torch.randn(90, 2, generator=draw), "test": torch.randn(60, 2, generator=draw)}
    return Dataset(name="own", kind="points", **parts | changes)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (_points, ""),
        (lambda: _points(next(DRAWS)), "made twice it has the fingerprints .* seed what it draws"),
        (lambda: _points(train=torch.full((90, 2), torch.nan)), "`train` holds numbers that are not finite"),
        (lambda: _points(test=torch.ones(60, 2)), "all numbers in `test` are the same"),
        (lambda: _points(test=_points().train[:60]), "`test` holds the samples of `train`"),
        (
            lambda: Dataset(name="own", kind="images", train=IMAGES * 1.5, test=IMAGES.flip(0)),
            r"images of `train` reach 1.5, but networks make \[-1, 1\]",
        ),
        (
            lambda: _points(
                train_labels=torch.full((90,), 5),
                test_labels=torch.zeros(60, dtype=torch.int64),
                num_classes=3,
            ),
            "labels of `train` run from 5 to 5, but there are 3 classes",
        ),
    ],
)
def test_a_data_set_that_breaks_a_promise_is_told_which(
    build: Callable[[], Dataset], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def entry() -> Dataset:
        return build()

    filed(monkeypatch, datasets, entry)
    if not message:
        contract.check_dataset("own")
        return
    with broken(f"data set `own`: .*{message}"):
        contract.check_dataset("own")


def _gap(samples: Any, reals: Any, labels: Any) -> float:
    return float(np.abs(samples.mean(axis=0) - reals.mean(axis=0)).max())


@pytest.mark.parametrize(
    ("compute", "ideal", "message"),
    [
        (_gap, 0.0, ""),
        (_gap, 100.0, r"says ideal=100, but gives real samples .* and noise"),
        (lambda *_: None, None, "must give a finite number, but gave None of 400 samples"),
        (lambda *_: float("inf"), None, "must give a finite number, but gave inf"),
        (lambda *_: float(next(DRAWS)), None, "the same samples get another score; seed what it draws"),
    ],
)
@pytest.mark.parametrize("kind", ["points", "images"])
def test_a_metric_that_breaks_a_promise_is_told_which(
    compute: Any, ideal: float | None, message: str, kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = Metric(
        name="own", goal="minimize", kind=kind, description="A gap.", unit="", ideal=ideal, compute=compute
    )
    filed(monkeypatch, metrics, entry)
    if not message:
        contract.check_metric("own")
        return
    with broken(f"metric `own`.*{message}"):
        contract.check_metric("own")


def test_a_recipe_whose_networks_draw_without_a_seed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*, sample_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        return Unseeded()

    def recipe() -> Recipe:
        return find_recipe("ring-gan").override({"discriminator.name": "own"})

    filed(monkeypatch, discriminators, build)
    filed(monkeypatch, recipes, recipe)
    with broken("recipe `own`: two runs of one seed end with different generators"):
        contract.check_recipe("own")
