"""A plug-in in a folder of its own: one network, one loss with an option, and a sweep file for them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.recipe import plugins
from harness.recipe.registry import (
    datasets,
    discriminators,
    generators,
    losses,
    metrics,
    optimizers,
    recipes,
)

__all__ = ["NETS", "SWEEP", "as_before", "forget", "write_plugin"]

NETS = '''"""Networks and a loss of one's own."""

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from harness import Loss, register_generator, register_loss
from harness.recipe.registry import Bounds

from .sizes import WIDTH

Share = Annotated[float, Bounds(low=0.0, high=1.0, open_low=True)]


@register_generator("own-mlp")
class OwnMLP(nn.Module):
    """Two layers."""

    def __init__(
        self, *, sample_shape: tuple[int, ...], num_classes: int, latent_dim: int = 4, bias: bool = True
    ) -> None:
        super().__init__()
        self.first = nn.Linear(latent_dim, WIDTH)
        self.last = nn.Linear(WIDTH, sample_shape[0], bias=bias)

    def forward(self, z: Tensor) -> Tensor:
        return self.last(F.relu(self.first(z)))


@register_loss("hinge-top-k")
def hinge_top_k(*, top_k: Share = 1.0) -> Loss:
    """The hinge, whose G learns from its best fakes alone."""

    def generator(fake: Tensor, _: Tensor) -> Tensor:
        return -fake.topk(max(1, round(top_k * fake.shape[-1])), dim=-1).values.mean(-1)

    return Loss(
        discriminator=lambda real, fake: F.relu(1 - real).mean(-1) + F.relu(1 + fake).mean(-1),
        generator=generator,
        chance=2.0,
        critic=True,
    )
'''

SWEEP = """imports: [{package}.nets]
recipe: ring-gan
metric: {{name: sliced_w2}}
seeds: 2
parameters:
  generator.name: {{value: own-mlp}}
  loss.name: {{value: hinge-top-k}}
  train.epochs: {{value: 2}}
  evaluate.every_epochs: {{value: 1}}
  evaluate.num_samples: {{value: 200}}
ablate:
  parameters: {{loss.top_k: [1.0, 0.5]}}
  baseline: {{loss.top_k: 1.0}}
"""


def write_plugin(folder: Path, package: str = "my_gan") -> Path:
    """Write the package and ``own.yaml`` into a folder; returns the package's folder."""
    made = folder / package
    made.mkdir()
    (made / "sizes.py").write_text("WIDTH = 8\n")
    (made / "nets.py").write_text(NETS)
    (folder / "own.yaml").write_text(SWEEP.format(package=package))
    return made


REGISTRIES = (datasets, discriminators, generators, losses, metrics, optimizers, recipes)


@pytest.fixture
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Registries, the path and the modules of this process are afterwards what they were."""
    for registry in REGISTRIES:
        registry.names()
        for own in ("_entries", "_homes", "_sources"):
            monkeypatch.setattr(registry, own, dict(getattr(registry, own)))
    for own in ("_files", "_modules"):
        monkeypatch.setattr(plugins, own, dict(getattr(plugins, own)))
    monkeypatch.setattr(sys, "path", list(sys.path))
    modules = set(sys.modules)
    yield
    for name in set(sys.modules) - modules:
        if name.split(".")[0] in ("my_gan", "nets", "alone"):
            del sys.modules[name]


def forget() -> None:
    """Be a process that has never seen the plug-in."""
    for name in [name for name in sys.modules if name.split(".")[0] == "my_gan"]:
        del sys.modules[name]
    plugins._files.clear()
    plugins._modules.clear()
    for registry in REGISTRIES:
        for name, home in list(registry._homes.items()):
            if home["__name__"].split(".")[0] == "my_gan":
                del registry._entries[name], registry._homes[name]
