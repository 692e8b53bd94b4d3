"""With how many digits a GPU multiplies: those of float32, unless a recipe asks for fewer.

Torch rounds what convolutions multiply to TF32 by default, ten binary digits instead of 23, and products of
matrices not. Here both are alike. Algorithms are those that give the same bits every time, and are not chosen
by timing them, for that choice could be another one when a run is resumed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["PRECISIONS", "multiply", "multiplying"]

PRECISIONS = {
    "float32": "float32, TF32 off",
    "tf32": "float32, products in TF32",
    "bf16": "forward passes in bfloat16, penalties, losses and updates in float32, TF32 off",
}
"""What each `train.precision` means, for the record of a run."""


def multiply(*, tf32: bool) -> None:
    """Set how GPUs multiply in this process from now on.

    Args:
        tf32: whether products of matrices and convolutions are rounded to TF32.
    """
    digits = "tf32" if tf32 else "ieee"
    torch.backends.cuda.matmul.fp32_precision = digits
    torch.backends.cudnn.fp32_precision = digits
    # of their own: torch 2.11 begins with TF32
    torch.backends.cudnn.conv.fp32_precision = digits  # type: ignore[attr-defined]
    torch.backends.cudnn.rnn.fp32_precision = digits  # type: ignore[attr-defined]
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


@contextmanager
def multiplying(precision: str) -> Iterator[None]:
    """Multiply as a recipe asks for as long as this lasts, and in float32 afterwards.

    Args:
        precision: `train.precision`.
    """
    multiply(tf32=precision == "tf32")
    try:
        yield
    finally:
        multiply(tf32=False)
