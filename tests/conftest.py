"""What holds for every test."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

_SETTINGS = ("WANDB_", "HARNESS_")
_VARIABLES = ("COLUMNS", "FORCE_COLOR", "MKL_NUM_THREADS", "MPLBACKEND", "NO_COLOR", "OMP_NUM_THREADS")


@pytest.fixture(autouse=True, scope="session")
def _clean_environment() -> Iterator[None]:
    """None of the machine's own settings, and no key for W&B: tests set what they need."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(_SETTINGS) or name in _VARIABLES:
                patch.delenv(name)
        patch.setenv("NETRC", os.devnull)
        yield


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """One CPU thread a process: the networks are tiny, and several test processes share the cores."""
    torch.set_num_threads(1)
