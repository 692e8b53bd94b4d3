"""`python -m harness` is the `harness` command."""

from __future__ import annotations

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    sys.path.append(sys.path.pop(0))  # or else a `random.py` in the working folder would be torch's

from harness.cli.main import main
from harness.machine import quick_end

__all__ = ["command"]


def command() -> None:
    """Run the command line as a process of its own, which ends with it."""
    tell_status = quick_end()
    try:
        main()
    except SystemExit as ended:
        if isinstance(ended.code, int):
            tell_status(ended.code)
        raise


if __name__ == "__main__":
    command()
