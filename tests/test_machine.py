"""Claims about the machine: which GPU is whose, and what an error says of memory."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from harness.machine import is_short_of_memory, num_gpus, visible_gpu


@pytest.fixture
def three_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.usefixtures("three_gpus")
def test_a_study_counts_the_gpus_it_may_use() -> None:
    assert [num_gpus(device) for device in ("cpu", "cuda", "cuda:2")] == [0, 3, 1]


@pytest.mark.usefixtures("three_gpus")
def test_workers_take_the_gpus_in_turn_and_a_named_one_is_everybodys(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [visible_gpu("cuda", worker) for worker in range(4)] == ["0", "1", "2", "0"]
    assert [visible_gpu("cuda:1", worker) for worker in range(2)] == ["1", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, GPU-5f,6")
    assert [visible_gpu("cuda", worker) for worker in range(4)] == ["4", "GPU-5f", "6", "4"]
    assert visible_gpu("cuda:1", 0) == "GPU-5f"


def raised_by_torch() -> BaseException:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    return caught.value


def raised_by_numpy() -> BaseException:
    with pytest.raises(MemoryError) as caught:
        np.empty(2**60, dtype=np.uint8)
    return caught.value


def test_errors_that_tell_of_too_little_memory_are_told_from_others() -> None:
    short = (
        raised_by_torch(),
        raised_by_numpy(),
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        OSError(12, "Cannot allocate memory"),
    )
    other = (
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        ValueError("out of memory"),
        OSError(28, "No space left on device"),
        KeyboardInterrupt(),
    )
    assert [is_short_of_memory(error) for error in short] == [True] * len(short)
    assert [is_short_of_memory(error) for error in other] == [False] * len(other)


@pytest.mark.parametrize("told", [True, False])
def test_a_quick_end_keeps_status_output_and_handlers_and_leaves_out_the_rest(told: bool) -> None:
    script = f"""
import atexit, sys
from harness.machine import quick_end

class Taken:
    def __del__(self):
        print("taken apart")

taken = Taken()
tell = quick_end()
atexit.register(print, "handler")
print("output")
if {told}:
    tell(3)
sys.exit(3)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, encoding="utf-8", timeout=60, check=False
    )
    assert done.returncode == 3
    assert not done.stderr
    assert done.stdout.split("\n")[:2] == ["output", "handler"]
    assert ("taken apart" in done.stdout) is not told
