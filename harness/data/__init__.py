"""Data sets: what a recipe's `data.name` can be, resident in memory and split once, by a fixed seed."""

from __future__ import annotations

from harness.data import points as points
from harness.data import points_file as points_file
from harness.data.dataset import Dataset, load_dataset
from harness.data.mixture import Mixture

__all__ = ["Dataset", "Mixture", "load_dataset"]
