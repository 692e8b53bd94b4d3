"""What is printed, in whatever encoding its reader takes: a terminal, a pipe, a log, an old code page.

A character that the encoding lacks is written in an ASCII form, ``x`` for ``×``; no output fails for it.
Files that the harness keeps do not pass here: they are UTF-8 everywhere.
"""

from __future__ import annotations

import codecs
import io
import sys
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

__all__ = ["degrade_output", "new_console", "new_progress", "say"]

_ERRORS = "harness-ascii-forms"
_FORMS = {
    "−": "-",
    "–": "-",
    "—": "-",
    "×": "x",
    "·": "*",
    "•": "*",
    "→": "->",
    "←": "<-",
    "≤": "<=",
    "≥": ">=",
    "≈": "~",
    "±": "+-",
    "√": "sqrt",
    "∞": "inf",
    "‖": "||",
    "½": "1/2",
    "¼": "1/4",
    "⅓": "1/3",
    "∇": "grad ",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
    "━": "-",
    "╸": "-",
    "╺": "-",
    "─": "-",
    "│": "|",
}
_BYTES = range(0xDC80, 0xDD00)
"""What Python reads a byte of a file's name as that is no text: `\\udce9` is the byte E9."""


def _form(character: str) -> str:
    """One character in ASCII: as people write it who lack it, or else its code, so that none is lost."""
    if character in _FORMS:
        return _FORMS[character]
    if ord(character) in _BYTES:
        return f"\\x{ord(character) - 0xDC00:02x}"
    name = unicodedata.name(character, "")
    if name.startswith("GREEK") and " LETTER " in name:
        letter = name.partition(" WITH ")[0].split()[-1].replace("LAMDA", "LAMBDA")
        return letter.lower() if "SMALL" in name else letter.capitalize()
    alike = unicodedata.normalize("NFKC", character)  # ² is 2 written small, ᵀ is T
    if alike.isascii():
        return alike
    return character.encode("ascii", "backslashreplace").decode()


def _ascii_forms(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_form, error.object[error.start : error.end])), error.end


codecs.register_error(_ERRORS, _ascii_forms)


def degrade_output(encoding: str | None = None) -> None:
    """From now on write what the encoding of standard output and error lacks in ASCII forms.

    Args:
        encoding: change to this one too, whatever the locale says; for logs, which are files.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a notebook's is not, and takes all text
            stream.reconfigure(encoding=encoding or stream.encoding, errors=_ERRORS)


def new_console(*, stderr: bool = False) -> Console:
    """A console of rich's on standard output or error that any encoding can bear.

    Args:
        stderr: on standard error.
    """
    from rich.console import Console

    degrade_output()
    return Console(stderr=stderr)


def new_progress() -> Progress:
    """Bars on standard error for what takes long, each gone when it is done; nothing where nobody looks."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console, text = new_console(stderr=True), TextColumn("{task.description}", markup=False)
    columns = (text, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def say(line: object = "", *, err: bool = False) -> None:
    """Print a line at once. Not `click.echo`, which writes UTF-8 where ASCII was asked for.

    Args:
        line: the text, or what is printed as text.
        err: to standard error.
    """
    print(line, file=sys.stderr if err else sys.stdout, flush=True)
