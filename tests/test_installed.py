"""What a wheel and an editable install bring: all of the harness, and nothing that gets in anybody's way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MINE = """\
name: my-study
recipe: ring-gan
metric: {name: sliced_w2}
seeds: 2
ablate:
  parameters: {optimizer.name: [adam, sgd]}
  baseline: {optimizer.name: adam}
parameters:
  train.epochs: {value: 1}
  train.batch_size: {value: 512}
  evaluate.num_samples: {value: 100}
"""


def test_every_package_is_installed_under_its_name() -> None:
    folders = {path.parent.relative_to(ROOT) for path in ROOT.glob("harness/**/__init__.py")}
    expected = {".".join(folder.parts) for folder in folders} | {"gan_sweep_models", "harness.sweeps"}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == expected


def test_every_requirement_is_pinned_at_a_version_that_it_allows() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {}
    for line in lines:
        if line and not line.startswith("#"):
            name, version = line.split("==")
            pinned[name.lower().replace("_", "-")] = version
    extras = PROJECT["project"]["optional-dependencies"].values()
    for text in (*PROJECT["project"]["dependencies"], *(text for extra in extras for text in extra)):
        needed = Requirement(text)
        assert needed.name.lower() in pinned, f"{needed.name} has no line in constraints.txt"
        version = pinned[needed.name.lower()]
        assert needed.specifier.contains(version, prereleases=True), f"{text}, but {version} is pinned"


def copy_of_the_sources(folder: Path) -> Path:
    """What the package is built from, so that building leaves nothing in the checkout."""
    folder.mkdir()
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder)
    for name in ("harness", "models", "sweeps", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def pip(*words: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    sources = copy_of_the_sources(folder / "sources")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, sources)
    (found,) = folder.glob("*.whl")
    return found


@pytest.mark.slow
def test_a_wheel_holds_two_packages_the_shipped_sweeps_and_no_pictures(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    top = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert top == {"harness", "gan_sweep_models"}
    shipped = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("sweeps/*.yaml")}
    shipped |= {path.relative_to(ROOT).as_posix() for path in ROOT.glob("sweeps/reports/*.yaml")}
    assert {f"harness/{name}" for name in shipped} == {n for n in names if n.endswith(".yaml")}
    data = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("harness/**/*") if path.is_file()}
    assert {name for name in data if "__pycache__" not in name} <= set(names)
    assert not [name for name in names if name.endswith((".png", ".gif", ".mp4"))]
    assert wheel.stat().st_size < 2**21


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wheel", "editable"])
def test_installed_it_works_from_a_folder_with_models_sweeps_and_tests_of_ones_own(
    kind: str, wheel: Path, tmp_path: Path
) -> None:
    # The environment has the harness alone, and borrows its dependencies: a path in a .pth file is searched
    # last, and the .pth files there, an editable install's among them, are not read.
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python = environment / "bin" / "python"
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    asked = [wheel] if kind == "wheel" else ["--editable", copy_of_the_sources(tmp_path / "sources")]
    pip("--python", python, "install", "--ignore-installed", "--no-deps", "--no-build-isolation", *asked)

    home = tmp_path / "home"
    for name in ("models", "sweeps", "tests"):
        (home / name).mkdir(parents=True)
        (home / name / "__init__.py").write_text(f"raise AssertionError('one\\'s own {name} was loaded')\n")
    (home / "sweeps" / "mine.yaml").write_text(MINE)
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def harness(*words: str) -> str:
        done = subprocess.run(
            [str(environment / "bin" / "harness"), *words],
            capture_output=True,
            text=True,
            cwd=home,
            env=kept | {"WANDB_MODE": "disabled", "COLUMNS": "200"},
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    shipped = (site / "harness" if kind == "wheel" else tmp_path / "sources") / "sweeps"
    studies = {path.stem for pattern in ("*.yaml", "reports/*.yaml") for path in shipped.glob(pattern)}
    listed = harness("list")
    for name in ("points-gan", "mnist-g1", "rmsprop", "fashion-mnist", "sliced_w2", "mine (study my-study)"):
        assert name in listed
    assert {"optimizers", "f-depth"} <= studies <= set(harness("list", "sweeps").split())
    assert "Generator" in harness("show", "points-gan")
    assert harness("plan", "optimizers", "--smoke").startswith(f"study: {shipped / 'optimizers.yaml'}\n")
    assert harness("plan", "my-study").startswith("study: sweeps/mine.yaml\n")
    assert (home / harness("sweep", "mine", "--workers", "2").split("report: ")[1].strip()).is_file()
