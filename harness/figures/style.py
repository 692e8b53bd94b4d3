"""Colours, markers and the look that every figure shares.

Source: Okabe and Ito (2008), "Color Universal Design": eight colours that colour-blind readers tell apart.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "FAKE_COLOUR",
    "FAKE_TINT",
    "NEUTRAL_TINT",
    "REAL_COLOUR",
    "REAL_TINT",
    "STYLES",
    "VERDICT_STYLES",
    "ArmStyle",
    "VerdictStyle",
    "arm_style",
    "mix",
]

REAL_COLOUR = "#0072B2"
FAKE_COLOUR = "#D55E00"
REAL_TINT = "#A9D2EC"
FAKE_TINT = "#F7CBA8"
NEUTRAL_TINT = "#F7F5F2"


@dataclass(frozen=True, kw_only=True)
class ArmStyle:
    """How one arm is drawn everywhere: it differs from the others in colour, in marker and in line.

    Attributes:
        colour: `#rrggbb`.
        marker: matplotlib's sign of it.
        line: matplotlib's sign of it, or an offset and the lengths of dashes and gaps, in points.
    """

    colour: str
    marker: str
    line: str | tuple[int, tuple[float, ...]]


STYLES = (
    ArmStyle(colour="#0072B2", marker="o", line="-"),
    ArmStyle(colour="#D55E00", marker="s", line="--"),
    ArmStyle(colour="#009E73", marker="^", line="-."),
    ArmStyle(colour="#CC79A7", marker="D", line=":"),
    ArmStyle(colour="#E69F00", marker="v", line=(0, (5.0, 1.0, 1.0, 1.0, 1.0, 1.0))),
    ArmStyle(colour="#56B4E9", marker="P", line=(0, (8.0, 2.0))),
    ArmStyle(colour="#000000", marker="X", line=(0, (1.0, 2.0))),
    ArmStyle(colour="#8A8200", marker="*", line=(0, (3.0, 1.5, 1.0, 1.5))),
)
"""Okabe–Ito, in order of use; their yellow is darkened to be seen on white, and black comes late."""


@dataclass(frozen=True, kw_only=True)
class VerdictStyle:
    """How a verdict is drawn everywhere.

    Attributes:
        colour: `#rrggbb`.
        hatch: matplotlib's pattern for a bad one, or empty.
        letter: its initial.
    """

    colour: str
    hatch: str
    letter: str


VERDICT_STYLES = {
    "healthy": VerdictStyle(colour="#56B4E9", hatch="", letter="H"),
    "immature": VerdictStyle(colour="#E8E4DA", hatch="", letter="I"),
    "partial-collapse": VerdictStyle(colour="#E8C33C", hatch="...", letter="P"),
    "collapsed": VerdictStyle(colour="#D55E00", hatch="////", letter="C"),
    "d-saturated": VerdictStyle(colour="#5E2A7E", hatch="xxxx", letter="S"),
    "diverged": VerdictStyle(colour="#1A1A1A", hatch="", letter="D"),
}
"""The best first. In grey, each differs from the next by a seventh of the way from black to white or more."""


def arm_style(index: int) -> ArmStyle:
    """The style of an arm.

    Args:
        index: its position in the study, from 0; after eight arms styles repeat.
    """
    return STYLES[index % len(STYLES)]


def mix(first: str, second: str, share: float) -> tuple[float, float, float]:
    """A colour between two.

    Args:
        first: `#rrggbb`.
        second: `#rrggbb`.
        share: how much of the second, in [0, 1].

    Returns:
        Red, green and blue in [0, 1].
    """

    def channels(colour: str) -> list[float]:
        return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]

    red, green, blue = (
        (1 - share) * a + share * b for a, b in zip(channels(first), channels(second), strict=True)
    )
    return red, green, blue
