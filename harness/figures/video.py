"""Films as MP4, by the ffmpeg that the extra `video` brings, or else by the one on the machine."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.figures.canvas import size_of
from harness.files import replaced

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["find_ffmpeg", "write_mp4"]


def find_ffmpeg() -> str | None:
    """The program that writes films, or None where there is none."""
    if importlib.util.find_spec("imageio_ffmpeg") is not None:
        try:
            return str(importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe())
        except RuntimeError:  # a package without its program
            pass
    return shutil.which("ffmpeg")


def write_mp4(pictures: Sequence[Image], path: Path, *, seconds: float = 4.0) -> None:
    """Write pictures as an MP4 that any browser plays (H.264); the file appears whole or not at all.

    Sides are padded with white to even numbers, which the format wants.

    Args:
        pictures: all of one size, in order.
        path: the file; its folder must exist.
        seconds: how long it takes.

    Raises:
        ValueError: there are no pictures, they differ in size, or there is no ffmpeg, or it fails.
    """
    size_of(pictures)
    program = find_ffmpeg()
    if program is None:
        raise ValueError("there is no ffmpeg to write MP4 with; pip install imageio-ffmpeg.")
    frames = np.stack([np.asarray(picture.convert("RGB")) for picture in pictures])
    height, width = (side + side % 2 for side in frames.shape[1:3])
    padding = ((0, 0), (0, height - frames.shape[1]), (0, width - frames.shape[2]), (0, 0))
    frames = np.pad(frames, padding, constant_values=255)
    rate = f"{len(frames) / seconds:.6g}"
    given = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", rate, "-i", "-"]
    made = ["-an", "-c:v", "libx264", "-crf", "12", "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
    with replaced(path) as temporary:
        done = subprocess.run(
            [program, "-y", "-loglevel", "error", *given, *made, str(temporary)],
            input=frames.tobytes(),
            capture_output=True,
            check=False,
        )
        if done.returncode:
            said = (done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"])[-1]
            raise ValueError(f"ffmpeg could not write {path}; it said: {said}")
