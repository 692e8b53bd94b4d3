"""YAML 1.1, by which PyYAML and so W&B read files, where it makes another value of a word than YAML 1.2."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

__all__ = ["read_otherwise"]

_WORDS: tuple[tuple[str, Callable[[str], Any]], ...] = (
    (r"yes|Yes|YES|on|On|ON", lambda text: True),
    (r"no|No|NO|off|Off|OFF", lambda text: False),
    (r"[-+]?0[0-7_]+", lambda text: int(text.replace("_", ""), 8)),
    (r"[-+]?[1-9][0-9_]*(:[0-5]?[0-9])+", lambda text: _sexagesimal(text)),
    (r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+\.[0-9_]*", lambda text: _sexagesimal(text)),
    (r"[0-9]{4}-[0-9]{2}-[0-9]{2}", lambda text: "a date"),
    (r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}.*", lambda text: "a date"),
    (r"[-+]?0o[0-7_]+", lambda text: "a word"),
)
"""What YAML 1.1 makes of a plain word, where YAML 1.2 makes something else of it."""


def read_otherwise(text: str, read: bool | int | float | str | None) -> str:
    """That W&B's YAML reads a plain word as something else; empty where it does not.

    Args:
        text: the word, unquoted.
        read: what it is by YAML 1.2.
    """
    for pattern, value in _WORDS:
        if re.fullmatch(pattern, text):
            theirs = value(text)
            if theirs == read and type(theirs) is type(read):
                return ""
            ours = "a word" if isinstance(read, str) else read
            return (
                f"`{text}` is {ours} here, by YAML 1.2, and {str(theirs).lower()} in W&B's YAML 1.1; write "
                "which is meant, a word in quotes."
            )
    return ""


def _sexagesimal(text: str) -> int | float:
    """1:30 as YAML 1.1 has it, 90: digits to the base of 60."""
    sign = -1 if text.startswith("-") else 1
    value: int | float = 0
    for part in text.replace("_", "").lstrip("+-").split(":"):
        value = value * 60 + (float(part) if "." in part else int(part))
    return sign * value
