"""The tests mean the same whatever the person who runs them has set."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import find_recipe, run_study, train
from harness.cli.main import main
from harness.tracking import log_summary, wandb_mode
from support.tiny_studies import ablation, tiny_recipe
from support.untrained_runs import make_small_run

ROOT = Path(__file__).parents[1]
HOSTILE = {
    "WANDB_MODE": "offline",
    "WANDB_API_KEY": "0" * 40,
    "WANDB_BASE_URL": "http://127.0.0.1:9",
    "WANDB_DIR": "/nowhere",
    "WANDB_PROJECT": "another",
    "NETRC": "/nowhere/netrc",
    "HARNESS_DATA": "/nowhere",
    "HARNESS_CACHE": "/proc/nowhere",
    "HARNESS_DOWNLOAD": "1",
    "HARNESS_INCEPTION": "/nowhere",
    "OMP_NUM_THREADS": "7",
    "MKL_NUM_THREADS": "many",
    "CUDA_VISIBLE_DEVICES": "99",
    "MPLBACKEND": "TkAgg",
    "MATPLOTLIBRC": "/nowhere",
    "NO_COLOR": "1",
    "FORCE_COLOR": "1",
    "TTY_COMPATIBLE": "1",
    "TERM": "dumb",
    "COLUMNS": "20",
    "LINES": "3",
    "TQDM_DISABLE": "1",
    "HOME": "/nowhere",
    "XDG_CACHE_HOME": "/proc/nowhere",
    "XDG_CONFIG_HOME": "/proc/nowhere",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "GIT_DIR": "/nowhere",
    "LC_ALL": "C",
    "LANG": "tr_TR",
    "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONIOENCODING": "ascii",
    "PYTHONWARNINGS": "ignore",
}
PART = {
    "tests/cli/test_cli.py": ["list_names_every_entry", "a_mistake_ends"],
    "tests/execution/test_launch.py": ["bad_input_is_refused_before", "that_is_refused_what_it_was_asked"],
    "tests/tracking/test_tracking.py": ["mode_is", "netrc", "respected", "is_terminal", "rows_config_image"],
    "tests/figures/test_figures.py": ["every_figure_is_written", "long_names"],
    "tests/features/test_extractors.py": ["inception"],
    "tests/data/test_data_root.py": [""],
    "tests/study/test_document.py": [""],
    "tests/test_terminal.py": ["utf_8_whatever", "written_as_people"],
}
"""Parts of the suite, by file and words in the tests' names, that look at any of these."""


@pytest.mark.parametrize("mode", [None, "offline", "online", "disabled", "dryrun"])
def test_an_unknown_mode_of_the_mirror_is_refused_whatever_the_environment_says(
    mode: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if mode is not None:
        monkeypatch.setenv("WANDB_MODE", mode)
    unknown = r"^`wandb` must be auto, online, offline or disabled, but got 'loud'\.$"
    with pytest.raises(ValueError, match=unknown):
        wandb_mode("loud")
    with pytest.raises(ValueError, match=unknown):
        train(tiny_recipe(), directory=tmp_path, wandb="loud")
    with pytest.raises(ValueError, match=unknown):
        run_study(ablation(), directory=tmp_path, wandb="loud")
    with pytest.raises(ValueError, match=unknown):
        log_summary(tmp_path, "study", mode="loud")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_mode_in_the_environment_is_refused_whatever_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "loud")
    for wandb in ("auto", "disabled"):
        with pytest.raises(ValueError, match=r"^`WANDB_MODE` must be auto, .*, but got 'loud'\.$"):
            train(find_recipe("ring-gan"), directory=tmp_path, wandb=wandb)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_mode_in_the_environment_is_refused_before_pictures_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "loud")
    run = str(make_small_run(tmp_path, latent_dim=6))
    before = sorted(tmp_path.rglob("*"))
    for words in (["generate"], ["latent", "edit"], ["latent", "interpolate"], ["latent", "sefa"]):
        monkeypatch.setattr(sys, "argv", ["harness", *words, run])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert stopped.value.code == 2
        assert capsys.readouterr().err.startswith("error: `WANDB_MODE` must be auto, ")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_part_of_the_suite_passes_in_a_hostile_environment(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    words = " or ".join(word for named in PART.values() for word in named if word)
    whole = " or ".join(Path(file).stem for file, named in PART.items() if named == [""])
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--basetemp",
        tmp_path / "temp",
    ]
    done = subprocess.run(
        [*command, *PART, "-k", f"{words} or {whole}"],
        cwd=ROOT,
        env=kept | HOSTILE,
        capture_output=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")
