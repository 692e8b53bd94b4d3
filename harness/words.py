"""Numbers, settings and lists as people read them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

__all__ = [
    "ABSURD",
    "about",
    "compact",
    "counted",
    "digits",
    "duration",
    "flagged",
    "in_words",
    "joined",
    "legible",
    "listed",
    "plain",
    "plural",
    "rounded",
]

Scalar: TypeAlias = bool | int | float | str

ABSURD = (
    "(!) marks a score so far off that it tells of something broken, a run that ran away or data without "
    "contrast, say, and nothing of quality."
)

_ILLEGIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, and the surrogates by which Python reads bytes that are not UTF-8."""


def in_words(value: Scalar | None) -> str:
    """A setting as a person would write it: at most three significant digits; nothing for None."""
    if isinstance(value, float):
        return _short_exponent(f"{value:.3g}")
    return plain(value)


def rounded(value: float, *, sign: bool = False) -> str:
    """A `value` that was measured to three significant digits, zeros at the end kept; nothing for NaN.

    With `sign`, positive numbers have a plus, for differences.
    """
    if math.isnan(value):
        return ""
    text = _short_exponent(f"{value:+#.3g}" if sign else f"{value:#.3g}").removesuffix(".")
    return text.replace("-", "−") if sign else text


def _short_exponent(text: str) -> str:
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa.removesuffix('.')}e{int(exponent)}" if e else text


def digits(value: float) -> str:
    """A number to six significant digits, as files for programs have it; nothing for NaN."""
    return "" if math.isnan(value) else f"{value + 0.0:.6g}"


def plain(value: Scalar | None) -> str:
    """A setting as files for programs have it: six significant digits; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def flagged(text: str, is_absurd: bool) -> str:
    """A score with the mark that `ABSURD` explains where it is absurd; nothing where there is no text.

    Args:
        text: the score as it is written.
        is_absurd: whether it is.
    """
    return f"{text} (!)" if is_absurd and text else text


def duration(seconds: float) -> str:
    """Seconds as `m:ss`, or `h:mm:ss` from an hour on."""
    minutes, secs = divmod(max(round(seconds), 0), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{secs:02}" if hours else f"{minutes}:{secs:02}"


def about(seconds: float) -> str:
    """Seconds in the unit that suits them: ``3.2 s``, ``5 min``, ``7.5 h``, ``12 days``, ``3,400 years``."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes = seconds / 60
    if minutes < 120:
        return f"{minutes:.0f} min"
    if minutes < 72 * 60:
        return f"{minutes / 60:.1f} h"
    days = minutes / (24 * 60)
    return f"{days:.0f} days" if days < 1000 else f"{days / 365.25:,.0f} years"


def counted(verdicts: Mapping[str, int]) -> str:
    """How many runs have each verdict: `3 healthy, 1 collapsed`."""
    return ", ".join(f"{count} {name}" for name, count in verdicts.items())


def compact(value: float) -> str:
    """A number to four significant digits."""
    return f"{value:.4g}"


def legible(name: object) -> str:
    """A file's name as one line to print: bytes that are not UTF-8 as ``\\xe9``, newlines as ``\\n``."""
    return _ILLEGIBLE.sub(lambda found: repr(found[0])[1:-1].replace("\\udc", "\\x"), str(name))


def plural(count: int, noun: str) -> str:
    """A `count` with its `noun`: ``1 run``, ``2,000 runs``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def joined(names: Sequence[str]) -> str:
    """All of them, one at least: ``a``, ``a and b``, ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def listed(names: Iterable[object], most: int = 4) -> str:
    """``a, b and 3 more``: the first `most` of the `names`, and the number of those left out."""
    shown = [str(name) for name in names]
    more = len(shown) - most
    return ", ".join(shown[:most]) + (f" and {more} more" if more > 0 else "")
