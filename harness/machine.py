"""Where a run was made: versions, device, commit. Kept in its result, so that numbers can be placed later."""

from __future__ import annotations

import atexit
import contextlib
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from harness.version import __version__

__all__ = [
    "cache_place",
    "check_precision",
    "describe_environment",
    "expanded",
    "git_commit",
    "is_short_of_memory",
    "num_cores",
    "num_gpus",
    "processor",
    "quick_end",
    "resident_bytes",
    "resolve_device",
    "user_cache",
    "visible_gpu",
]

_DRIVERS = ("/dev/nvidiactl", "/proc/driver/nvidia", "/dev/dxg", "/dev/kfd")
"""What the drivers of the GPUs that torch can use leave in a Linux; /dev/dxg is Windows' below one."""
_GPUS = Path("/proc/driver/nvidia/gpus")
_MEMORY_SIGNS = ("DefaultCPUAllocator", "out of memory", "STATUS_ALLOC_FAILED", "Cannot allocate memory")
"""What torch's errors say where memory ran out and their class does not tell."""


def describe_environment(device: str) -> dict[str, Any]:
    """Versions, device and commit.

    Args:
        device: The device trained on: ``cpu``, ``cuda:0``, ….

    Returns:
        ``harness``, ``git_commit`` (None outside a checkout of the harness), ``python``, ``torch``,
        ``numpy``, ``platform``, ``device``, ``device_name``, ``num_cores``, ``num_threads``.
    """
    import torch

    return {
        "harness": __version__,
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": metadata.version("numpy"),
        "platform": platform.platform(),
        "device": device,
        "device_name": torch.cuda.get_device_name(device) if device.startswith("cuda") else processor(device),
        "num_cores": num_cores(),
        "num_threads": torch.get_num_threads(),
    }


@lru_cache(maxsize=1)
def git_commit() -> str | None:
    """The commit of the harness's own checkout, with ``-dirty`` if files differ; None if it is installed."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "describe", "--always", "--dirty", "--exclude=*", "--abbrev=40"]
    try:
        done = subprocess.run(
            command,
            cwd=root,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def num_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def resolve_device(device: str) -> str:
    """Turn ``auto`` into a device that is here, and check one that was named.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:<n>``.

    Raises:
        ValueError: If there is no such device.
    """
    count = _count_gpus()
    if device == "auto":
        return "cuda" if count else "cpu"
    kind, _, index = device.partition(":")
    if device != "cpu" and not (kind == "cuda" and (index.isdecimal() or device == "cuda")):
        raise ValueError(f"`device` must be auto, cpu, cuda or cuda:<number>, but got {device!r}.")
    if kind == "cuda" and int(index or 0) >= count:
        raise ValueError(f"`device` is {device}, but torch sees {count} CUDA devices; use auto or cpu.")
    return device


def _count_gpus() -> int:
    """GPUs that torch sees; it is not loaded for this where the system has none."""
    if "torch" not in sys.modules and sys.platform == "linux" and not any(map(os.path.exists, _DRIVERS)):
        return 0
    import torch

    return torch.cuda.device_count()


def check_precision(precision: str, device: str) -> None:
    """Refuse a precision that a device does not have.

    Args:
        precision: `train.precision` of a recipe.
        device: as `resolve_device` gave it.

    Raises:
        ValueError: it does not.
    """
    if precision == "tf32" and device == "cpu":
        raise ValueError("`train.precision` is tf32, which a cpu does not have; set it to float32 or bf16.")
    if precision != "float32" and device.startswith("cuda"):
        import torch

        if torch.cuda.get_device_capability(device) < (8, 0):
            name = torch.cuda.get_device_name(device)
            raise ValueError(
                f"`train.precision` is {precision}, which the {name} does not have; set it to float32."
            )


def num_gpus(device: str) -> int:
    """GPUs that a study may use: all that torch sees for ``cuda``, one for ``cuda:<n>``, none for ``cpu``.

    Args:
        device: as `resolve_device` gave it.
    """
    import torch

    if device == "cuda":
        return max(1, torch.cuda.device_count())
    return int(device.startswith("cuda"))


def visible_gpu(device: str, worker: int) -> str:
    """The only GPU that a worker is to see, as a value of ``CUDA_VISIBLE_DEVICES``; there it is ``cuda:0``.

    A process that sees one GPU alone leaves no context, and no memory, on the others.

    Args:
        device: ``cuda``, whose GPUs are taken in turn, or ``cuda:<n>``.
        worker: number of the worker, from 0.
    """
    named = device.partition(":")[2]
    number = int(named) if named else worker % num_gpus(device)
    seen = [entry.strip() for entry in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if entry.strip()]
    return seen[number] if number < len(seen) else str(number)


def is_short_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, the device's or the machine's.

    Args:
        error: whatever was raised.
    """
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError | OSError) and any(sign in str(error) for sign in _MEMORY_SIGNS)


def resident_bytes() -> int:
    """Memory of the machine that this process takes now; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def cache_place(part: str) -> Path:
    """Where what can be made again is kept: HARNESS_CACHE for all of it, or a folder of the user's cache.

    Args:
        part: the folder's name where HARNESS_CACHE says nothing.
    """
    chosen = os.environ.get("HARNESS_CACHE", "")
    return expanded(chosen) if chosen else user_cache() / part


def user_cache() -> Path:
    """The harness's part of the user's cache folder."""
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(chosen) if chosen else expanded("~/.cache")) / "harness"


def expanded(path: str) -> Path:
    """The path with a leading ~ resolved, or as it is where there is no such home."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def quick_end() -> Callable[[int], None]:
    """Have this process leave its memory to the system when it ends.

    To take a process apart that has loaded torch costs 0.4 to 0.8 CPU seconds. Threads are waited for and
    exit handlers called all the same, those that were registered after this call.

    Returns:
        To be told the exit status, once it is known; a process that was not told ends as any other.
    """
    known: list[int] = []

    def end() -> None:
        if not known:
            return
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:  # it was closed before the process began
                with contextlib.suppress(OSError, ValueError):  # whoever read it may be gone
                    stream.flush()
        os._exit(known[0])

    atexit.register(end)
    return known.append


@lru_cache(maxsize=8)
def processor(device: str) -> str:
    """The name of the machine's processor, or of all its GPUs, as far as the system tells it.

    Args:
        device: as `resolve_device` gave it.
    """
    if device.startswith("cuda"):  # to ask torch would leave a context on the GPU
        told = [path.read_text(encoding="utf-8") for path in sorted(_GPUS.glob("*/information"))]
        lines = [line for text in told for line in text.splitlines() if line.startswith("Model:")]
        return ", ".join(line.partition(":")[2].strip() for line in lines)
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
