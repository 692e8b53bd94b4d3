"""Data sets: what a recipe's `data.name` can be, resident in memory and split once, by a fixed seed."""

from __future__ import annotations

from harness.data import images as images
from harness.data import points as points
from harness.data import points_file as points_file
from harness.data.dataset import Dataset, Outline, known_outline, load_dataset, outline, outlined
from harness.data.mixture import Mixture
from harness.data.samples import as_bytes, distinct_rows, gather, scaled

__all__ = [
    "Dataset",
    "Mixture",
    "Outline",
    "as_bytes",
    "distinct_rows",
    "gather",
    "known_outline",
    "load_dataset",
    "outline",
    "outlined",
    "scaled",
]
