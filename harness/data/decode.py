"""One image file → (C, S, S) bytes, whatever its size and format; and whole arrays to another size.

An image is turned as its camera says, laid over white where it is transparent, brought to 8 bits and to grey
or RGB; then the largest centred square is taken and resized with an antialiasing bilinear filter: the usual
"resize the shorter side, crop the centre", in one step.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

__all__ = ["REMARKS", "VERSION", "Unreadable", "decode", "decode_rows", "resized"]

VERSION = 2
"""Raised when a file is to be decoded differently. With 2, large JPEGs are reduced as they are decoded."""

Bytes = NDArray[np.uint8]

_FORMATS = "PNG JPEG MPO WEBP GIF BMP DIB TIFF PPM TGA ICO JPEG2000 PCX QOI AVIF SGI"
"""Formats that are read; those left out are no photographs or start other programs."""

REMARKS = {
    "animated": "held several images: the first was taken",
    "16-bit": "had 16 bits a channel: scaled to 8",
    "alpha": "had transparency: laid over white",
    "palette": "had a palette: its colours were looked up",
    "CMYK": "had CMYK colours: converted",
}
"""What may be done to an image on the way in, and how it is said."""


_REDUCED_FROM = 2_000_000
"""Pixels from which a JPEG is reduced by a whole factor as it is decoded, in half the time or less."""
_REDUCED_TO = 4
"""How many times the side wanted is left; in the mean, levels then differ by half a step of 256 at most."""

_PNG_DEPTH_AT = 24  # signature, then the header's length, name, width and height
_BITS_PER_SAMPLE = 258


class Unreadable(Exception):  # noqa: N818 - said of a file, and never seen by users
    """An image file that cannot be used; the message says why."""


def decode(path: Path, size: int, channels: int) -> tuple[Bytes, tuple[str, ...]]:
    """The pixels of an image file.

    Args:
        path: the file.
        size: S, side of the square wanted, in pixels.
        channels: C, 3 for RGB or 1 for grey.

    Returns:
        (C, S, S), and those keys of `REMARKS` that apply.

    Raises:
        Unreadable: damaged, truncated, empty, no image, too large, or with pixels of unknown range.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns of large files and of odd metadata; an image that can be read is one.
            warnings.simplefilter("ignore")
            return _decode(path, size, channels)
    except UnidentifiedImageError:
        empty = path.stat().st_size == 0
        raise Unreadable("the file is empty" if empty else "no image, or of a format not read here") from None
    except Unreadable:
        raise
    except Exception as error:
        # Pillow's decoders raise whatever the damage leads to: SyntaxError, struct.error and more.
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise Unreadable(str(reason)[:120]) from error


def _decode(path: Path, size: int, channels: int) -> tuple[Bytes, tuple[str, ...]]:
    remarks = []
    with Image.open(path, formats=_known_formats()) as opened:
        if getattr(opened, "n_frames", 1) > 1:
            remarks.append("animated")
            opened.seek(0)
        has_16_bits = _has_16_bits(opened, path)
        if opened.width * opened.height >= _REDUCED_FROM:
            opened.draft(None, (_REDUCED_TO * size, _REDUCED_TO * size))  # of other formats, nothing
        opened.load()
        image: Image.Image = ImageOps.exif_transpose(opened)
    if image.mode == "F":
        raise Unreadable("floating-point pixels, whose range is unknown")
    if image.mode.startswith("I"):
        image = _to_8_bits(image)
        has_16_bits = True
    if has_16_bits:
        remarks.append("16-bit")
    if image.mode in ("P", "PA"):
        remarks.append("palette")
    if image.mode in ("CMYK", "YCCK"):
        remarks.append("CMYK")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            remarks.append("alpha")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("RGB" if channels == 3 else "L")
    return _planes(fit(image, size)), tuple(remarks)


def fit(image: Image.Image, size: int) -> Image.Image:
    """The largest centred square of an image, resized.

    Args:
        image: of any size.
        size: S, pixels a side; an image of that size is returned as it is.
    """
    if image.size == (size, size):
        return image
    return ImageOps.fit(image, (size, size), method=Image.Resampling.BILINEAR)


def resized(images: Bytes, size: int) -> Bytes:
    """Images of one size at another, as `decode` does it.

    Args:
        images: (N, C, H, W), C 1 or 3.
        size: S.

    Returns:
        (N, C, S, S); `images` itself where that is its shape.
    """
    if images.shape[2:] == (size, size):
        return images
    found = np.empty((*images.shape[:2], size, size), np.uint8)
    for row, planes in enumerate(images):
        pixels = planes[0] if len(planes) == 1 else np.ascontiguousarray(planes.transpose(1, 2, 0))
        found[row] = _planes(fit(Image.fromarray(pixels), size))
    return found


def decode_rows(
    target: Path, shape: tuple[int, int, int, int], start: int, paths: Sequence[Path]
) -> tuple[dict[int, str], Counter[str]]:
    """Decode files into consecutive rows of a file of bytes; what a process of the pool does.

    Args:
        target: a file of `shape` bytes, there already.
        shape: (N, C, S, S).
        start: row of the first file.
        paths: the files.

    Returns:
        Why a row could not be filled, by row; and how often each of `REMARKS` applied.
    """
    rows = np.memmap(target, np.uint8, "r+", shape=shape)
    unreadable, remarks = {}, Counter[str]()
    for row, path in enumerate(paths, start):
        try:
            rows[row], found = decode(path, shape[2], shape[1])
            remarks.update(found)
        except Unreadable as error:
            unreadable[row] = str(error)
    return unreadable, remarks


def _planes(image: Image.Image) -> Bytes:
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _has_16_bits(image: Image.Image, path: Path) -> bool:
    """Whether a PNG or TIFF says that its channels have 16 bits; of colours, Pillow gives 8 and no word."""
    if image.format == "PNG":
        with path.open("rb") as stream:
            return stream.read(_PNG_DEPTH_AT + 1)[_PNG_DEPTH_AT] == 16
    return 16 in getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, ())


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Grey levels of 16 bits as 8; Pillow itself would cut them off at 255."""
    levels = np.asarray(image).astype(np.int64)
    if levels.min() < 0 or levels.max() > 65535:
        raise Unreadable(f"pixels from {levels.min()} to {levels.max()}, which is no range of 16 bits")
    return Image.fromarray(((levels + 128) // 257).astype(np.uint8))


def _known_formats() -> list[str]:
    Image.init()
    return [name for name in _FORMATS.split() if name in Image.OPEN]
