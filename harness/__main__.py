"""`python -m harness` is the `harness` command."""

import sys

if not sys.flags.safe_path:  # or else a `random.py` in the working folder would be torch's
    sys.path.append(sys.path.pop(0))

from harness.cli.main import main

main()
