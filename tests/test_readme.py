"""What the README shows works as it stands there."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """The README's blocks of code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def write_example(folder: Path) -> None:
    """Write the files of "Bring your own": the blocks that begin with a file's name."""
    for text in (*blocks("python"), *blocks("yaml")):
        name = re.match(r"# (\S+\.(?:py|yaml))\n", text)
        if name:
            path = folder / name[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.removeprefix(name[0]))


def harness(folder: Path, *words: str) -> str:
    """What a command prints in a folder; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "harness", *words],
        cwd=folder,
        env=os.environ | {"WANDB_MODE": "disabled", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def runs_of(folder: Path) -> set[str]:
    return {path.parent.name for path in folder.glob("runs/top-k/runs/*/result.json")}


def test_every_file_that_the_readme_links_to_is_there() -> None:
    links = {link for link in re.findall(r"\]\(([^)#]+)", README) if "://" not in link}
    assert len(links) > 10
    assert sorted(link for link in links if not (ROOT / link).exists()) == []


def test_every_command_of_the_readme_exists() -> None:
    from harness.cli.main import harness as commands

    named = set(re.findall(r"`?harness ([a-z]+)\b", "\n".join(blocks("sh")) + README.replace("\n", " ")))
    known = set(commands.commands)
    assert known <= named, f"commands that the README does not show: {sorted(known - named)}"
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    shown = {line.split()[1] for line in lines if line.startswith("harness ")}
    assert shown <= known


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_bring_your_own_works_from_an_empty_folder_by_command_line_alone(tmp_path: Path) -> None:
    write_example(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"my_gan", "top-k.yaml"}
    assert "top_k=0.5" in harness(tmp_path, "plan", "top-k.yaml")
    harness(tmp_path, "sweep", "top-k.yaml", "--workers", "2")
    first = runs_of(tmp_path)
    assert len(first) == 4
    with (tmp_path / "runs/top-k/report/table.csv").open(newline="") as file:
        assert {row["arm"] for row in csv.DictReader(file)} == {"top_k=1", "top_k=0.5"}
    assert "ink" in (tmp_path / "runs/top-k/report/index.html").read_text()
    harness(tmp_path, "report", "top-k.yaml")
    harness(tmp_path, "generate", min(first), "--num", "4", "--out", "images")
    assert len(list((tmp_path / "images").rglob("0*.png"))) == 4
    assert "my-resnet" in harness(tmp_path, "show", "my-gan", "--import", "my_gan.nets")

    nets = tmp_path / "my_gan" / "nets.py"
    changed = nets.read_text().replace("channels: int = 16", "channels: int = 8")
    nets.write_text(changed.replace("channels", "width"))  # an option of another name and default
    said = harness(tmp_path, "sweep", "top-k.yaml", "--workers", "2")
    assert "`my_gan/nets.py` has changed since these runs" in said
    second = runs_of(tmp_path)
    assert first < second
    assert len(second) == 8
