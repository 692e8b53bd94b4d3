"""Pixels, text and files of pictures made of images, by Pillow alone: a grid a step must cost milliseconds.

Shapes: N images of (C, H, W), C being 1 or 3.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from harness.files import replaced

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont, ImageFont
    from torch import Tensor

__all__ = [
    "Bytes",
    "Images",
    "draw_lines",
    "fitted",
    "fitting_size",
    "image_bytes",
    "line_height",
    "save_gif",
    "size_of",
    "text_width",
    "whole_scale",
    "wrapped_lines",
    "write_gif",
    "write_images",
    "write_png",
]

Bytes: TypeAlias = npt.NDArray[np.uint8]
Images: TypeAlias = "Tensor | npt.NDArray[Any]"
"""(N, C, H, W), floats in [-1, 1] or bytes; a tensor on any device."""

_SHOWN_PIXELS = 64
_SMALLEST_TEXT = 8
_COMPRESSION = 6
_GIF_COLOURS = 64


def image_bytes(images: Images, name: str = "images") -> Bytes:
    """Images as they are drawn.

    Args:
        images: (N, C, H, W), floats in [-1, 1] (what is beyond is cut off) or bytes.
        name: what a message calls them.

    Returns:
        (N, H, W, C) uint8, C being 1 or 3.

    Raises:
        ValueError: another shape, no images, or numbers that are not finite.
    """
    import torch

    from harness.data.samples import as_bytes

    if isinstance(images, np.ndarray) and not images.flags.writeable:
        images = images.copy()  # torch warns of memory that it may not write to
    given = torch.as_tensor(images).detach()
    if given.ndim != 4 or given.shape[1] not in (1, 3) or not given.numel():
        raise ValueError(
            f"`{name}` must have the shape (N, C, H, W) with 1 or 3 channels and at least one image, "
            f"but got {tuple(given.shape)}."
        )
    if given.dtype != torch.uint8:
        given = given.to(torch.float32)
        bad = torch.nonzero(~given.isfinite().flatten(1).all(1)).flatten().tolist()
        if bad:
            raise ValueError(
                f"`{name}` hold numbers that are not finite in {len(bad)} of {len(given)} images "
                f"(the first is image {bad[0]}); a generator that diverged has nothing to show."
            )
    return as_bytes(given).permute(0, 2, 3, 1).contiguous().cpu().numpy()


def whole_scale(height: int, width: int) -> int:
    """The whole factor that brings images closest to 64 pixels without passing it; at least 1.

    Args:
        height: of an image, in pixels.
        width: the same.
    """
    return max(1, _SHOWN_PIXELS // max(height, width))


@lru_cache(maxsize=16)
def _font(size: int, bold: bool) -> FreeTypeFont | ImageFont:
    """DejaVu Sans, which knows arrows and Greek, from where matplotlib keeps it; else Pillow's own font."""
    from PIL import ImageFont

    home = find_spec("matplotlib")
    if home is not None and home.origin is not None:
        name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
        path = Path(home.origin).parent / "mpl-data" / "fonts" / "ttf" / name
        if path.exists():
            return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)
    return ImageFont.load_default(size)


def text_width(text: str, size: int, *, bold: bool = False) -> int:
    """Width of one line, in pixels.

    Args:
        text: the line.
        size: height of the type, in pixels.
        bold: whether in bold type.
    """
    return int(np.ceil(_font(size, bold).getlength(text)))


def line_height(size: int) -> int:
    """Distance of two lines, in pixels, in type of `size` pixels."""
    return round(1.3 * size)


def fitted(text: str, width: int, size: int, *, bold: bool = False) -> str:
    """`text` on one line, its end cut off where there is no room for it.

    Args:
        text: its line breaks become spaces.
        width: the room, in pixels.
        size: height of the type, in pixels.
        bold: whether in bold type.
    """
    text = " ".join(text.split())
    if text_width(text, size, bold=bold) <= width:
        return text
    while text and text_width(text + "…", size, bold=bold) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def fitting_size(texts: Sequence[str], width: int, *, largest: int) -> int:
    """The largest type in which no word is too wide.

    Args:
        texts: the words.
        width: the room of each, in pixels.
        largest: height of the largest type, in pixels.

    Returns:
        A height of 8 to `largest` pixels; 8 where even that is too large.
    """
    words = [word.strip() for text in texts for word in _pieces(text)]
    sizes = range(largest, _SMALLEST_TEXT, -1)
    fitting = (size for size in sizes if all(text_width(word, size) <= width for word in words))
    return next(fitting, _SMALLEST_TEXT)


def _pieces(text: str) -> list[str]:
    """Parts of a line between which it may be broken, with the spaces before them."""
    return re.findall(r"\s*(?:[^\s/,-]*[/,-]+|[^\s/,-]+)", text)


def wrapped_lines(text: str, width: int, size: int, *, bold: bool = False) -> list[str]:
    """`text` in lines of at most `width` pixels.

    It is broken at spaces, after slashes, hyphens and commas, else anywhere; its own line breaks stay.

    Args:
        text: what is to be written.
        width: the room, in pixels.
        size: height of the type, in pixels.
        bold: whether in bold type.
    """
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for piece in _pieces(paragraph):
            if text_width(line + piece, size, bold=bold) <= width:
                line += piece
                continue
            if line:
                lines.append(line.strip())
            line = piece.strip()
            while len(line) > 1 and text_width(line, size, bold=bold) > width:
                fits = next(
                    n
                    for n in range(len(line) - 1, 0, -1)
                    if n == 1 or text_width(line[:n], size, bold=bold) <= width
                )
                lines.append(line[:fits])
                line = line[fits:]
        lines.append(line.strip())
    return lines


def draw_lines(
    picture: Image,
    lines: Sequence[str],
    *,
    left: int,
    top: int,
    width: int,
    size: int,
    bold: bool = False,
    align: str = "center",
    colour: str = "#000000",
) -> None:
    """Write lines into a box of a picture.

    Args:
        picture: changed in place.
        lines: from the top down.
        left: the box's left edge, in pixels.
        top: its upper edge.
        width: its width.
        size: height of the font, in pixels.
        bold: whether in bold type.
        align: `left`, `center` or `right` within the box.
        colour: `#rrggbb`.
    """
    from PIL import ImageDraw

    draw = ImageDraw.Draw(picture)
    share = {"left": 0.0, "center": 0.5, "right": 1.0}[align]
    for number, line in enumerate(lines):
        room = width - text_width(line, size, bold=bold)
        place = (left + round(share * room), top + number * line_height(size))
        draw.text(place, line, fill=colour, font=_font(size, bold))


def write_png(picture: Image, path: Path) -> None:
    """Write a picture as PNG, with its layout if it is a grid; the file appears whole or not at all.

    Args:
        picture: what a function of `harness.figures.grids` returned.
        path: the file; its folder must exist.
    """
    from PIL.PngImagePlugin import PngInfo

    notes = PngInfo()
    if "layout" in picture.info:
        notes.add_text("layout", picture.info["layout"])
    with replaced(path) as temporary:
        picture.save(temporary, format="png", compress_level=_COMPRESSION, pnginfo=notes)


def write_images(images: Images, paths: Sequence[Path]) -> None:
    """Write every image as a PNG of its own, of its own size.

    Args:
        images: N of them.
        paths: N files; their folder must exist.

    Raises:
        ValueError: as for `image_bytes`.
    """
    from PIL import Image

    for pixels, path in zip(image_bytes(images), paths, strict=True):
        Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(path, format="png")


def write_gif(
    pictures: Sequence[Image], path: Path, *, seconds: float = 6.0, hold_seconds: float = 2.0
) -> None:
    """Write pictures as a GIF that plays for ever; the file appears whole or not at all.

    All share one palette of 64 colours, of the first, the middle and the last picture, so that nothing
    flickers and files stay small.

    Args:
        pictures: all of one size, in order.
        path: the file; its folder must exist.
        seconds: how long one pass takes, without the last picture's rest.
        hold_seconds: how long the last picture rests.

    Raises:
        ValueError: there are no pictures, or they differ in size.
    """
    from PIL import Image

    width, height = size_of(pictures)
    samples = (pictures[0], pictures[len(pictures) // 2], pictures[-1])
    strip = Image.new("RGB", (width, height * len(samples)))
    for number, sample in enumerate(samples):
        strip.paste(sample.convert("RGB"), (0, height * number))
    palette = strip.quantize(_GIF_COLOURS)
    frames = [p.convert("RGB").quantize(palette=palette, dither=Image.Dither.NONE) for p in pictures]
    save_gif(frames, path, seconds=seconds, hold_seconds=hold_seconds)


def save_gif(
    frames: Sequence[Image], path: Path, *, seconds: float = 6.0, hold_seconds: float = 2.0, **options: int
) -> None:
    """Write frames as a GIF, as they are; see `write_gif`.

    Args:
        frames: with a palette each, in order; at least one.
        path: the file; its folder must exist.
        seconds: how long one pass takes, without the last frame's rest.
        hold_seconds: how long the last frame rests.
        options: further ones of Pillow's writer.
    """
    each = max(20, 10 * int(100 * seconds / len(frames)))
    with replaced(path) as temporary:
        frames[0].save(
            temporary,
            format="gif",
            save_all=True,
            append_images=frames[1:],
            duration=[each] * (len(frames) - 1) + [each + round(1000 * hold_seconds)],
            loop=0,
            optimize=False,
            **options,
        )


def size_of(pictures: Sequence[Image]) -> tuple[int, int]:
    """The width and height that all the pictures have.

    Raises:
        ValueError: there are no pictures, or they differ in size.
    """
    if not pictures:
        raise ValueError("`pictures` must hold at least one picture, but got none.")
    sizes = sorted({picture.size for picture in pictures})
    if len(sizes) > 1:
        raise ValueError(f"`pictures` must be of one size, but got {sizes[0]} and {sizes[-1]}.")
    return sizes[0]
