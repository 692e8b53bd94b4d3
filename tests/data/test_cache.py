"""Decoded images on disk: how they are mapped into memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from harness.data.cache import map_bytes


def test_a_mapped_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "pixels.u8"
    path.write_bytes(bytes(range(24)))
    found = map_bytes(path, (2, 3, 2, 2))
    assert found.dtype == torch.uint8
    assert torch.equal(found, torch.arange(24, dtype=torch.uint8).view(2, 3, 2, 2))


def test_a_file_twice_as_large_as_memory_is_mapped(tmp_path: Path) -> None:
    path = tmp_path / "pixels.u8"
    row_bytes = 2**20
    num_rows = 2 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // row_bytes
    path.touch()
    try:
        os.truncate(path, num_rows * row_bytes)
        with path.open("r+b") as stream:
            stream.seek(-1, os.SEEK_END)
            stream.write(b"\7")
    except OSError as error:
        pytest.skip(f"no sparse file of that size here: {error}")
    if path.stat().st_blocks * 512 > row_bytes:
        pytest.skip("the file system keeps no sparse files")
    found = map_bytes(path, (num_rows, row_bytes))
    assert (int(found[0, 0]), int(found[-1, -1])) == (0, 7)
    assert found[num_rows // 2 :].shape == (num_rows - num_rows // 2, row_bytes)
