"""One image file: every format, and what is done to it on the way in."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from harness.data.decode import Unreadable, decode

Bytes = NDArray[np.uint8]


def picture(seed: int, height: int, width: int) -> Bytes:
    """A gradient with a tint, unlike any other seed's."""
    y, x = np.mgrid[:height, :width]
    base = np.stack([x * 7, y * 9, (x + y) * 5], axis=-1)
    return ((base + np.random.RandomState(seed).randint(256, size=3)) % 256).astype(np.uint8)


def test_any_size_is_resized_and_centre_cropped(tmp_path: Path) -> None:
    wide = np.zeros((30, 90, 3), np.uint8)
    wide[:, 30:60] = (200, 100, 50)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    pixels, remarks = decode(tmp_path / "wide.png", 16, 3)
    assert (pixels.shape, remarks) == ((3, 16, 16), ())
    # The outermost pixels are mixed with what lies just beyond the crop, as if the whole had been resized.
    assert (pixels[:, :, 1:-1] == np.array([200, 100, 50])[:, None, None]).all()
    Image.fromarray(picture(1, 1, 500)).save(tmp_path / "line.png")
    assert decode(tmp_path / "line.png", 16, 3)[0].shape == (3, 16, 16)
    Image.fromarray(np.full((1, 1, 3), 9, np.uint8)).save(tmp_path / "dot.png")
    assert (decode(tmp_path / "dot.png", 16, 3)[0] == 9).all()


@pytest.mark.parametrize(
    "suffix", [".png", ".jpg", ".webp", ".gif", ".bmp", ".tif", ".ppm", ".tga", ".pcx", ".jp2"]
)
def test_every_usual_format_is_read(tmp_path: Path, suffix: str) -> None:
    flat = Image.new("RGB", (24, 24), (200, 100, 50))
    flat.save(tmp_path / f"flat{suffix}")
    pixels, _ = decode(tmp_path / f"flat{suffix}", 12, 3)
    assert np.abs(pixels.astype(int) - np.array([200, 100, 50])[:, None, None]).max() <= 4


@pytest.mark.parametrize("mode", ["I;16", "I"])
def test_16_bits_become_8_and_are_not_cut_off(tmp_path: Path, mode: str) -> None:
    levels = np.array([[0, 257, 32768, 65535]] * 4, np.uint16)
    image = Image.fromarray(levels) if mode == "I;16" else Image.fromarray(levels.astype(np.int32))
    image.save(tmp_path / "deep.tif")
    pixels, remarks = decode(tmp_path / "deep.tif", 4, 1)
    assert remarks == ("16-bit",)
    assert pixels[0, 0].tolist() == [0, 1, 128, 255]


def deep_png(colour_type: int, num_channels: int) -> bytes:
    """8×8 pixels of 16 bits a channel, all at 0x80FF."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    header = struct.pack(">IIBBBBB", 8, 8, 16, colour_type, 0, 0, 0)
    rows = (b"\0" + b"\x80\xff" * 8 * num_channels) * 8
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(*part) for part in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    )


@pytest.mark.parametrize(
    ("colour_type", "num_channels", "told"),
    [(0, 1, ("16-bit",)), (2, 3, ("16-bit",)), (4, 2, ("16-bit", "alpha")), (6, 4, ("16-bit", "alpha"))],
)
def test_16_bits_of_a_png_are_told_whatever_its_channels(
    tmp_path: Path, colour_type: int, num_channels: int, told: tuple[str, ...]
) -> None:
    (tmp_path / "deep.png").write_bytes(deep_png(colour_type, num_channels))
    assert decode(tmp_path / "deep.png", 8, 3)[1] == told


def test_16_bits_of_a_colour_tiff_are_told(tmp_path: Path) -> None:
    entries = [(256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 3, 8), (259, 3, 1, 1), (262, 3, 1, 2)]
    entries += [(273, 4, 1, 14), (277, 3, 1, 3), (278, 4, 1, 8), (279, 4, 1, 8 * 8 * 6)]
    head = b"II*\0" + struct.pack("<I", 14 + 8 * 8 * 6) + struct.pack("<3H", 16, 16, 16)
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    pixels = b"\xff\x80" * 8 * 8 * 3
    (tmp_path / "deep.tif").write_bytes(head + pixels + struct.pack("<H", 9) + table + bytes(4))
    found, remarks = decode(tmp_path / "deep.tif", 8, 3)
    assert remarks == ("16-bit",)
    assert (found == 128).all()


def test_8_bits_are_no_remark(tmp_path: Path) -> None:
    for name in ("flat.png", "flat.tif"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
        assert decode(tmp_path / name, 8, 3)[1] == ()


def test_cmyk_is_converted(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "print.jpg", quality=100)
    pixels, remarks = decode(tmp_path / "print.jpg", 8, 3)
    assert remarks == ("CMYK",)
    assert pixels[0].min() > 240
    assert pixels[1:].max() < 16


def test_a_palette_is_looked_up_with_its_transparency(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 10, 200, 30])
    image.save(tmp_path / "plain.png")
    pixels, remarks = decode(tmp_path / "plain.png", 8, 3)
    assert remarks == ("palette",)
    assert (pixels == np.array([10, 200, 30])[:, None, None]).all()
    image.save(tmp_path / "clear.gif", transparency=1)
    pixels, remarks = decode(tmp_path / "clear.gif", 8, 3)
    assert set(remarks) >= {"alpha"}
    assert (pixels == 255).all()


@pytest.mark.parametrize(("mode", "colour"), [("RGBA", (0, 0, 0, 0)), ("LA", (0, 0))])
def test_transparency_is_laid_over_white(tmp_path: Path, mode: str, colour: tuple[int, ...]) -> None:
    Image.new(mode, (8, 8), colour).save(tmp_path / "clear.png")
    pixels, remarks = decode(tmp_path / "clear.png", 8, 3)
    assert (pixels == 255).all()
    assert remarks == ("alpha",)


def test_an_opaque_alpha_channel_is_no_remark(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (5, 6, 7, 255)).save(tmp_path / "opaque.png")
    pixels, remarks = decode(tmp_path / "opaque.png", 8, 3)
    assert remarks == ()
    assert pixels[:, 0, 0].tolist() == [5, 6, 7]


def test_of_an_animation_the_first_image_is_taken(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    for name in ("moving.gif", "moving.webp", "moving.png"):
        first.save(
            tmp_path / name,
            save_all=True,
            append_images=[second],
            **({"lossless": True} if "webp" in name else {}),
        )
        pixels, remarks = decode(tmp_path / name, 8, 3)
        assert "animated" in remarks, name
        assert pixels[:, 0, 0].tolist() == [255, 0, 0], name


def test_a_photograph_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    upright = np.zeros((8, 8, 3), np.uint8)
    upright[:4] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90° clockwise to view
    Image.fromarray(upright).save(tmp_path / "turned.png", exif=exif)
    pixels, _ = decode(tmp_path / "turned.png", 8, 1)
    assert (pixels[0, :, 4:] == 255).all()
    assert (pixels[0, :, :4] == 0).all()


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "YCbCr"])
def test_colour_and_grey_become_each_other(tmp_path: Path, mode: str) -> None:
    Image.new("L", (8, 8), 255).convert("RGB").convert(mode).save(tmp_path / "white.tif")
    for channels in (1, 3):
        pixels, _ = decode(tmp_path / "white.tif", 8, channels)
        assert pixels.shape == (channels, 8, 8)
        assert pixels.min() > 250


def at_full_size(path: Path, size: int) -> Bytes:
    """The pixels by the same steps, but for the reduction."""
    with Image.open(path) as opened:
        square = ImageOps.fit(opened.convert("RGB"), (size, size), method=Image.Resampling.BILINEAR)
    return np.asarray(square).transpose(2, 0, 1)


def photo(path: Path, height: int, width: int) -> Path:
    """A JPEG with detail at every scale."""
    random = np.random.RandomState(0)
    levels = np.zeros((height, width, 3))
    for side in (4, 16, 64, 256):
        coarse = Image.fromarray(random.randint(256, size=(side, side, 3)).astype(np.uint8))
        levels += np.asarray(coarse.resize((width, height))).astype(float) / 4
    Image.fromarray(levels.astype(np.uint8)).save(path, quality=92)
    return path


@pytest.mark.parametrize("size", [16, 64, 128])
def test_a_large_jpeg_is_reduced_as_it_is_decoded_and_hardly_differs(tmp_path: Path, size: int) -> None:
    path = photo(tmp_path / "large.jpg", 1500, 2000)
    apart = np.abs(decode(path, size, 3)[0].astype(int) - at_full_size(path, size))
    assert 0 < apart.mean() < 0.6
    assert apart.max() <= 12


@pytest.mark.parametrize(
    ("suffix", "height", "width", "size"),
    [("jpg", 1000, 1999, 16), ("png", 1500, 2000, 16), ("jpg", 1500, 2000, 512)],
)
def test_smaller_jpegs_other_formats_and_large_sizes_are_decoded_whole(
    tmp_path: Path, suffix: str, height: int, width: int, size: int
) -> None:
    path = photo(tmp_path / "large.jpg", height, width)
    if suffix != "jpg":
        with Image.open(path) as opened:
            opened.save(path := tmp_path / f"large.{suffix}")
    assert np.array_equal(decode(path, size, 3)[0], at_full_size(path, size))


def test_half_of_a_large_jpeg_is_still_damaged(tmp_path: Path) -> None:
    path = photo(tmp_path / "large.jpg", 1500, 2000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(Unreadable, match="truncated"):
        decode(path, 64, 3)
