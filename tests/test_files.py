"""Whole files: the old one or the new one, never a part of either."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.files import leftovers, read_json, replaced, write_json


def test_a_block_that_ends_well_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    with replaced(path) as temporary:
        assert temporary.suffix == ".csv"
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert leftovers(path) == [temporary]
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("durable", [True, False])
def test_a_block_that_raises_leaves_the_old_file_alone(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")

    def write_half() -> None:
        with replaced(path, durable=durable) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_writers_left_is_found_and_nothing_else(tmp_path: Path) -> None:
    mine = tmp_path / ".group.17.pt"
    for path in (mine, tmp_path / "group.pt", tmp_path / ".other.17.pt", tmp_path / ".group.17.json"):
        path.touch()
    assert leftovers(tmp_path / "group.pt") == [mine]


def test_json_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    write_json(path, {"loss": float("nan")})
    assert read_json(path) == {"loss": "nan"}
    path.write_bytes(b"\xff{")
    with pytest.raises(ValueError, match=r"plan\.json is not valid JSON"):
        read_json(path)
