"""Matrix products by oneDNN, which on some processors is twice as fast as the library that torch calls.

Its sums round otherwise, so that a run keeps to what it began with.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Linear", "large_from", "linear", "onednn_pays", "product"]

_LARGE = 2.5e6
"""Multiply-adds from which oneDNN's own cost, some 15 µs a call, does not show."""
_CLEAR_GAIN = 1.25
_ROUNDS = 7
_SIZES = (64, 512, 512)


def large_from(weight: Tensor) -> float:
    """Samples from which on a linear layer's product is one that oneDNN may do faster."""
    return _LARGE / weight.numel()


def product(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """left · rightᵀ + bias by oneDNN.

    Args:
        left: (M, K).
        right: (N, K). Either is copied where oneDNN would fall back to a slow kernel for its strides.
        bias: (N,).

    Returns:
        (M, N).
    """
    if not right.is_contiguous() and not right.t().is_contiguous():
        right = right.contiguous()
    result: Tensor = torch.ops.mkldnn._linear_pointwise(left.contiguous(), right, bias, "none", [], "")
    return result


def linear(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`F.linear`, by oneDNN where it is large; autograd differentiates it as often as asked.

    Args:
        inputs: (B, I), or of more axes.
        weight: (O, I).
        bias: (O,).
    """
    if inputs.ndim != 2 or len(inputs) < large_from(weight):
        return F.linear(inputs, weight, bias)
    outputs: Tensor = _Product.apply(inputs, weight, bias)
    return outputs


class Linear(nn.Linear):
    """A linear layer whose large products oneDNN computes while it trains."""

    def forward(self, inputs: Tensor) -> Tensor:
        """`linear`, or in evaluation mode what torch does."""
        if not self.training:
            return super().forward(inputs)
        return linear(inputs, self.weight, self.bias)


class _Product(torch.autograd.Function):
    """`product`, whose derivatives are products."""

    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(left, right)
        return product(left, right, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        (gradient,), (left, right) = gradients, ctx.saved_tensors
        to_left, to_right, to_bias = ctx.needs_input_grad
        return (
            _Product.apply(gradient, right.t(), None) if to_left else None,
            _Product.apply(gradient.t(), left.t(), None) if to_right else None,
            gradient.sum(0) if to_bias else None,
        )


@functools.cache
def onednn_pays() -> bool:
    """Whether oneDNN multiplies clearly faster on this machine's CPU; measured once, in some 10 ms."""
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    batch, inputs, outputs = _SIZES
    left = torch.linspace(-1, 1, batch * inputs, device="cpu").view(batch, inputs)
    right = torch.linspace(-1, 1, outputs * inputs, device="cpu").view(outputs, inputs)

    def seconds(multiply: Callable[[], Tensor]) -> float:
        started = time.perf_counter()
        multiply()
        return time.perf_counter() - started

    with torch.no_grad():
        plain, onednn = zip(
            *(
                (seconds(lambda: left @ right.T), seconds(lambda: product(left, right)))
                for _ in range(_ROUNDS)
            ),
            strict=True,
        )
    return bool(min(plain) > _CLEAR_GAIN * min(onednn))
