"""A device that is nowhere: whole iterations run on fake tensors, which have shapes and no numbers.

What only a GPU would show comes to light without one: tensors of two devices in one operation raise, and
`Watch` counts what costs a synchronisation. Torch's own fake CUDA tensors need a driver for autograd, so the
device is `meta`; whatever is not on it is on the host.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from harness.data import Dataset
from harness.data.dataset import known_outline
from harness.recipe import Recipe

DEVICE = torch.device("meta")
_ROWS = 300
_VIEWS = (
    "aten.detach.default",
    "aten.lift_fresh.default",
    "aten._unsafe_view.default",
    "prim.device.default",
)


class Watch(TorchDispatchMode):
    """Counts the operations on the device, and by name those that the host has to wait for.

    A number that is read comes out as 1, so that what depends on it goes on.

    Attributes:
        launches: operations that compute on the device.
        reads: numbers read from the device, `.item()` say.
        to_host: copies from the device.
        to_device: copies to the device.
    """

    def __init__(self) -> None:
        super().__init__()
        self.launches: Counter[str] = Counter()
        self.reads: Counter[str] = Counter()
        self.to_host: Counter[str] = Counter()
        self.to_device: Counter[str] = Counter()

    @property
    def waits(self) -> dict[str, int]:
        """Everything the host would wait for, by name."""
        return dict(self.reads + self.to_host + self.to_device)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func)
        given = [leaf for leaf in tree_leaves((args, kwargs or {})) if isinstance(leaf, Tensor)]
        if func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.is_nonzero.default):
            if given[0].device == DEVICE:
                self.reads[name] += 1
            one: bool | float = given[0].dtype == torch.bool or (1.0 if given[0].is_floating_point() else 1)
            return one if _is_fake(given[0]) else func(*args)
        outcome = func(*args, **(kwargs or {}))
        made = [leaf for leaf in tree_leaves(outcome) if isinstance(leaf, Tensor)]
        if func in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default):
            source = given[-1] if func is torch.ops.aten.copy_.default else given[0]
            if source.device != made[0].device:
                (self.to_device if made[0].device == DEVICE else self.to_host)[name] += 1
                return outcome
        is_view = any(item.alias_info and not item.alias_info.is_write for item in func._schema.returns)
        if not is_view and name not in _VIEWS and any(t.device == DEVICE for t in (*given, *made)):
            self.launches[name] += 1
        return outcome


class _HostGenerator(torch.Generator):
    """One of the host, whatever device it is asked for."""

    def __new__(cls, device: object = "cpu") -> Any:
        return super().__new__(cls)


def _moved(module: nn.Module, device: torch.device) -> nn.Module:
    for layer in module.modules():
        for name, parameter in layer._parameters.items():
            if parameter is not None:
                layer._parameters[name] = nn.Parameter(parameter.detach().to(device))
        for name, buffer in layer._buffers.items():
            layer._buffers[name] = None if buffer is None else buffer.to(device)
    return module


def _is_fake(tensor: Tensor) -> bool:
    return isinstance(tensor, FakeTensor)


@contextmanager
def fake_device() -> Iterator[None]:
    """Every tensor made within is fake, on the host or on `DEVICE`.

    Stood in for is what torch cannot do there: generators of the device, which draw nothing, its random
    state, and two that it does wrong: `Module.to` fails once another holds a parameter, and a deep copy of a
    fake tensor writes beyond its memory. Torch's fused optimisers are let in, as on a GPU; of SGD's it does
    not know yet that it makes nothing.
    """
    set_state = torch.set_rng_state

    def without_generator(draw: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda *args, generator=None, **kwargs: draw(*args, **kwargs)

    def set_real_state(state: Tensor) -> None:
        if not _is_fake(state):
            set_state(state)

    with (
        torch.random.fork_rng(devices=[]),
        pytest.MonkeyPatch.context() as patch,
        torch.library._scoped_library("aten", "IMPL") as library,
    ):
        library.impl("_fused_sgd_", lambda *_, **__: None, "Meta")
        patch.setattr(
            sys.modules["torch.optim.optimizer"],
            "_get_fused_kernels_supported_devices",
            lambda: [DEVICE.type],
        )
        patch.setattr(torch, "Generator", _HostGenerator)
        for name in ("randn", "rand", "randint", "randperm"):
            patch.setattr(torch, name, without_generator(getattr(torch, name)))
        for module in (torch, torch.random):
            patch.setattr(module, "set_rng_state", set_real_state)
        patch.setattr(torch.cuda, "get_rng_state", lambda device=None: torch.zeros(16, dtype=torch.uint8))
        patch.setattr(torch.cuda, "set_rng_state", lambda state, device=None: None)
        patch.setattr(FakeTensor, "__deepcopy__", lambda self, memo: self.detach().clone())
        patch.setattr(nn.Module, "to", _moved)
        with FakeTensorMode(allow_non_fake_inputs=True):
            yield


def stand_in(recipe: Recipe) -> tuple[Recipe, Dataset]:
    """A recipe on a small set with the outline of its own: of an iteration, only the shapes matter.

    Networks that grow do so within that set.
    """
    outline = known_outline(recipe.data)
    shape, classes = ((3, 64, 64), 0) if outline is None else (outline.sample_shape, outline.num_classes)
    rows = max(_ROWS, 2 * recipe.train.batch_size)
    kind, dtype = ("points", torch.float32) if len(shape) == 1 else ("images", torch.uint8)
    labels = torch.arange(rows) % classes if classes else None
    samples = torch.zeros(rows, *shape, dtype=dtype)
    dataset = Dataset(
        name=recipe.data.name,
        kind=kind,  # type: ignore[arg-type]
        train=samples,
        test=samples[:_ROWS],
        train_labels=labels,
        test_labels=None if labels is None else labels[:_ROWS],
        num_classes=classes,
        fingerprint="0" * 16,
    )
    if recipe.train.grow_images:
        train = replace(recipe.train, grow_images=2 * recipe.train.batch_size, epochs=50)
        recipe = replace(recipe, train=train)
    return recipe, dataset


def places(tensors: Iterator[Tensor]) -> list[tuple[Any, int]]:
    """Where tensors lie: each one's storage, held so that no other takes its place, and the offset in it."""
    return [(tensor.untyped_storage(), tensor.storage_offset()) for tensor in tensors]


def same_places(before: list[tuple[Any, int]], after: list[tuple[Any, int]]) -> bool:
    """Whether two lists of `places` name the same memory."""
    ids = [[(storage._cdata, offset) for storage, offset in found] for found in (before, after)]
    return ids[0] == ids[1]
