"""idx files such as MNIST's, made up."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


def encode(array: Bytes) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def parts(num_train: int = 60, num_test: int = 25, side: int = 28) -> dict[str, Bytes]:
    random = np.random.RandomState(1)
    return {
        "train-images": random.randint(256, size=(num_train, side, side)).astype(np.uint8),
        "train-labels": (np.arange(num_train) % 10).astype(np.uint8),
        "t10k-images": random.randint(256, size=(num_test, side, side)).astype(np.uint8),
        "t10k-labels": (np.arange(num_test) % 10).astype(np.uint8),
    }


def write(folder: Path, arrays: dict[str, Bytes], suffix: str = "", mark: str = "-") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for key, array in arrays.items():
        content = encode(array)
        path = folder / f"{key}{mark}idx{array.ndim}-ubyte{suffix}"
        path.write_bytes(gzip.compress(content) if suffix else content)
    return folder
