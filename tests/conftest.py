"""What holds for every test: an environment of its own, from before torch and matplotlib look at theirs.

The test processes and those they start see the variables named here and no other: no key and mode of W&B, no
data folder, no colours and widths of a terminal, no numbers of threads, no proxies, no locale, no home.
"""

from __future__ import annotations

import atexit
import contextlib
import locale
import os
import re
import shutil
import tempfile
from functools import cache

_KEPT = re.compile(
    "PATH|LD_.*|DYLD_.*|TMPDIR|TEMP|TMP|USER|LOGNAME|VIRTUAL_ENV|CONDA_PREFIX|CI|PYTEST_.*|COV.*|"
    "PYTHON(PATH|HOME|DONTWRITEBYTECODE|PYCACHEPREFIX)"
)
"""Where programs are found, where temporary files go, and what steers pytest itself."""


def _clean_environment() -> None:
    """Called once a process: the tests' workers inherit what is left, and the home with it."""
    kept = {name: value for name, value in os.environ.items() if _KEPT.fullmatch(name)}
    kept.setdefault("PYTEST_DATA", os.environ.get("HARNESS_DATA", ""))  # for tests of real data sets
    if "PYTEST_HOME" not in kept:
        kept["PYTEST_HOME"] = tempfile.mkdtemp(prefix="harness-tests-home-")
        atexit.register(shutil.rmtree, kept["PYTEST_HOME"], ignore_errors=True)
    kept |= {"HOME": kept["PYTEST_HOME"], "LC_ALL": "C.UTF-8", "PYTHONUTF8": "1"}
    os.environ.clear()
    os.environ.update(kept)
    # Python has read the locale by now, but for the encoding of files that are opened without one.
    with contextlib.suppress(locale.Error):
        locale.setlocale(locale.LC_ALL, "C.UTF-8")


_clean_environment()

import pytest  # noqa: E402
import torch  # noqa: E402


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """One CPU thread a process: the networks are tiny, and several test processes share the cores."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What one test has found out is not kept for the next, which may measure by a clock of its own."""
    monkeypatch.setattr("harness.kept._folder", cache(lambda: tmp_path_factory.mktemp("kept")))
