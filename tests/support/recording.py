"""What a CUDA graph does, without a GPU: operations are recorded once, and computed again at a replay.

As in a graph, tensors are what lies at their addresses, and everything else is what it was when it was
recorded; Python does not run again, and what reads a number cannot be recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Body = Callable[[], None]


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Every operation within, to be done again."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.done: list[tuple[Any, Any, Any, list[Tensor]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("operation not permitted when stream is capturing")
        outcome = func(*args, **(kwargs or {}))
        self.done.append((func, args, kwargs or {}, _tensors(outcome)))
        return outcome

    @torch.no_grad()
    def replay(self) -> None:
        """Do all of them again, each on the tensors it was done on."""
        for func, args, kwargs, before in self.done:
            for there, now in zip(before, _tensors(func(*args, **kwargs)), strict=True):
                if there.data_ptr() != now.data_ptr():
                    there.copy_(now)


def _tensors(outcome: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(outcome) if isinstance(leaf, Tensor)]


class OnTape:
    """A recorder of a CPU.

    Attributes:
        recorded: how many bodies have been recorded.
    """

    def __init__(self) -> None:
        self.recorded = 0

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Nowhere else."""
        yield

    def record(self, body: Body) -> Body:
        """The body's operations."""
        operations = Operations()
        with operations:
            body()
        self.recorded += 1
        return operations.replay


class Again(OnTape):
    """Records nothing: the body itself is run again, and Python with it."""

    def record(self, body: Body) -> Body:
        """The body."""
        self.recorded += 1
        return body
