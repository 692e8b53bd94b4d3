"""What holds for every test."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """One CPU thread a process: the networks are tiny, and several test processes share the cores."""
    torch.set_num_threads(1)
