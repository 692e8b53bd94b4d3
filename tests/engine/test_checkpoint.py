"""Checkpoints are whole or absent, and say plainly when they are neither."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.engine import checkpoint

STATE = {
    "step": 3,
    "names": ["a", "b"],
    "nested": {"matrix": torch.arange(6.0).view(2, 3), "flag": True},
    "random": [torch.get_rng_state()],
}


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "c.pt", STATE)
    loaded = checkpoint.load(tmp_path / "c.pt")
    assert loaded["step"] == 3
    assert loaded["names"] == ["a", "b"]
    assert loaded["nested"]["flag"] is True
    assert torch.equal(loaded["nested"]["matrix"], torch.arange(6.0).view(2, 3))
    assert torch.equal(loaded["random"][0], STATE["random"][0])  # type: ignore[index]


def test_saving_again_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "c.pt", STATE)
    checkpoint.save(tmp_path / "c.pt", {"step": 4})
    assert checkpoint.load(tmp_path / "c.pt") == {"step": 4}
    assert [path.name for path in tmp_path.iterdir()] == ["c.pt"]


@pytest.mark.parametrize("failing", ["torch.save", "os.fsync", "pathlib.Path.replace"])
def test_a_save_that_fails_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    checkpoint.save(tmp_path / "c.pt", STATE)

    def fail(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(failing, fail)
        with pytest.raises(OSError, match="no space left"):
            checkpoint.save(tmp_path / "c.pt", {"step": 4})
    assert checkpoint.load(tmp_path / "c.pt")["step"] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["c.pt"]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_named(tmp_path: Path, share: float) -> None:
    path = tmp_path / "c.pt"
    checkpoint.save(path, STATE)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match=r"c\.pt is damaged or not a checkpoint; delete it") as caught:
        checkpoint.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"\x00" * 4096, b"hello\n" * 100, b"\x80\x02}q\x00."])
def test_a_foreign_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"c\.pt is (damaged or )?not a checkpoint"):
        checkpoint.load(path)


@pytest.mark.parametrize("content", [{"step": 3}, [1, 2], {"format": "gan-sweep-harness/checkpoint/999"}])
def test_a_file_of_another_format_is_named(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "c.pt")
    with pytest.raises(ValueError, match=r"c\.pt is not a checkpoint of format .*; delete it to train anew"):
        checkpoint.load(tmp_path / "c.pt")


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    torch.save({"format": checkpoint._FORMAT, "state": {"path": Path("/")}}, tmp_path / "c.pt")
    with pytest.raises(ValueError, match="damaged or not a checkpoint"):
        checkpoint.load(tmp_path / "c.pt")


def test_a_missing_file_is_reported_as_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        checkpoint.load(tmp_path / "c.pt")


def test_a_folder_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        checkpoint.save(tmp_path / "missing" / "c.pt", STATE)
