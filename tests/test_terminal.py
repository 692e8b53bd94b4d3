"""What is printed fits every encoding, and what is written is UTF-8 in every locale."""

from __future__ import annotations

import ast
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from harness.cli.main import harness
from harness.terminal import degrade_output, new_console, say
from support.sweep_texts import SHORT
from support.untrained_runs import make_small_run

ROOT = Path(__file__).parents[1]
NO_UTF8 = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""A POSIX locale in which Python is kept from using UTF-8 all the same."""
PLACES = {
    "utf-8": ({"PYTHONIOENCODING": "utf-8"}, "utf-8"),
    "latin-1": ({"PYTHONIOENCODING": "latin-1"}, "latin-1"),
    "ascii": ({"PYTHONIOENCODING": "ascii"}, "ascii"),
    "cp1252": ({"PYTHONIOENCODING": "cp1252"}, "cp1252"),
    "posix": (NO_UTF8, "ascii"),
}
"""Variables of the environment, and the encoding of what is printed there."""
STUDY = SHORT.replace("name: short", "name: coded\ndescription: Is σ ≥ ½ × Δ? An étude — in all encodings …")
RUN = (
    "import json, sys\nfrom harness.cli.main import main\n"
    + """
def status(words):
    sys.argv = ["harness", *words]
    try:
        main()
    except SystemExit as stopped:
        return stopped.code
found = [status(words) for words in json.load(open("commands.json", encoding="utf-8"))]
json.dump(found, open("statuses.json", "w", encoding="utf-8"))
"""
)
REFUSED = [
    ["show", "σ-gan"],
    ["plan", "größer.yaml"],
    ["train", "ring-gan", "--set", "optimizer.lr=−1"],
    ["list", "\udce9"],
    ["evaluate", "étude", "--against", "ring"],
]


def commands(study_run: str, images_run: Path) -> list[list[str]]:
    """Every command, on little; what is trained in `folder` is trained by the first call alone."""
    small = ["--attribute-latents", "0", "--num-samples", "2", "--num-directions", "2"]
    short = [f"--set=train.{setting}" for setting in ("epochs=1", "batch_size=512")]
    few = ["--set", "evaluate.num_samples=100"]
    return [
        ["--help"],
        ["--version"],
        ["list"],
        ["show", "ring-gan"],
        ["train", "ring-gan", *short, *few],
        ["plan", "coded.yaml", "--workers", "1"],
        ["sweep", "coded.yaml", "--workers", "1"],
        ["report", "coded.yaml"],
        ["evaluate", study_run, "--num", "100"],
        ["generate", str(images_run), "--num", "2"],
        ["latent", "edit", str(images_run)],
        ["latent", "interpolate", str(images_run), "--num", "1", "--steps", "2"],
        ["latent", "sefa", str(images_run), *small],
        *REFUSED,
    ]


def run_all(folder: Path, settings: dict[str, str]) -> tuple[list[int], bytes, bytes]:
    """Exit status of every command, and what they printed."""
    environment = os.environ | {"WANDB_MODE": "disabled", "COLUMNS": "120", "OMP_NUM_THREADS": "1"} | settings
    done = subprocess.run(
        [sys.executable, "-c", RUN], cwd=folder, env=environment, capture_output=True, timeout=240
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return json.loads((folder / "statuses.json").read_text(encoding="utf-8")), done.stdout, done.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every command has run once, where Python writes ASCII unless it is told otherwise."""
    folder = tmp_path_factory.mktemp("coded")
    (folder / "coded.yaml").write_text(STUDY, encoding="utf-8")
    images = make_small_run(folder / "runs", latent_dim=6)
    trained = [["sweep", "coded.yaml", "--workers", "1"]]
    (folder / "commands.json").write_text(json.dumps(trained), encoding="utf-8")
    statuses, out, error = run_all(folder, NO_UTF8)
    assert statuses == [0], error.decode("ascii")
    assert b"An etude" not in out
    (run, _) = sorted((folder / "runs/coded/runs").iterdir())
    asked = commands(str(run.relative_to(folder)), images.relative_to(folder))
    (folder / "commands.json").write_text(json.dumps(asked), encoding="utf-8")
    return folder


@pytest.mark.parametrize("place", PLACES)
def test_every_command_does_in_every_encoding_what_it_does_in_utf_8(place: str, made: Path) -> None:
    settings, encoding = PLACES[place]
    asked = json.loads((made / "commands.json").read_text(encoding="utf-8"))
    expected = [2 if words in REFUSED else 0 for words in asked]
    leaves = {word for name, command in harness.commands.items() for word in leaf_names(name, command)}
    assert {" ".join(words[: 1 + (words[0] == "latent")]) for words in asked} >= leaves
    statuses, raw, raw_error = run_all(made, settings)
    out, error = raw.decode(encoding), raw_error.decode(encoding)
    wrong = [words for words, status, due in zip(asked, statuses, expected, strict=True) if status != due]
    assert not wrong, error
    assert "Traceback" not in out + error
    assert sum(line.startswith("error: ") for line in error.splitlines()) == len(REFUSED), error
    assert "harness, version" in out
    assert ("log sigma(D(G(z)))" in out) == (encoding != "utf-8")


def leaf_names(name: str, command: click.Command) -> list[str]:
    if isinstance(command, click.Group):
        return [f"{name} {inner}" for inner in command.commands]
    return [name]


def test_what_an_encoding_lacks_is_written_as_people_write_it_without() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        degrade_output()
        say("3×3 → −½ ≤ σ² ‖Δθ‖ … é ﬁ \udce9 ☃")
        new_console().print("μ̂ ≈ ∞ 2·z")
    stream.flush()
    lines = raw.getvalue().decode("ascii").splitlines()
    assert lines[0] == r"3x3 -> -1/2 <= sigma2 ||Deltatheta|| ... \xe9 fi \xe9 \u2603"
    assert lines[1] == r"mu\u0302 ~ inf 2*z"


@pytest.mark.parametrize(
    "command", [["list"], ["list", "recipes"], ["plan", "optimizers"], ["--help"], ["show", "ring-gan"]]
)
def test_a_reader_that_has_had_enough_ends_a_command_without_a_word(
    command: list[str], tmp_path: Path
) -> None:
    unread, written = os.pipe()
    os.close(unread)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "harness", *command],
            cwd=tmp_path,
            stdout=written,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
    finally:
        os.close(written)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_command_works_with_an_output_that_was_closed_before_it_began() -> None:
    for redirection, said in ((">&-", ""), ("2>&-", None)):
        line = f'exec "$0" -m harness list losses {redirection}'
        done = subprocess.run(["sh", "-c", line, sys.executable], capture_output=True, encoding="utf-8")
        assert (done.returncode, done.stderr) == (0, "")
        assert said is None or done.stdout == said


def test_a_log_is_utf_8_whatever_the_locale_says() -> None:
    script = "from harness.terminal import degrade_output, say; degrade_output('utf-8'); say(chr(963))"
    done = subprocess.run([sys.executable, "-c", script], env=os.environ | NO_UTF8, capture_output=True)
    assert done.stdout.decode("utf-8") == "σ\n", done.stderr


def test_help_is_ascii_for_click_prints_it_past_us() -> None:
    def texts(command: click.Command) -> list[str]:
        with click.Context(command) as context:
            found = [command.get_help(context)]
        return found + [t for c in getattr(command, "commands", {}).values() for t in texts(c)]

    found = texts(harness)
    assert len(found) > 10
    assert [text for text in found if not text.isascii()] == []


def test_every_text_file_is_opened_with_its_encoding_said() -> None:
    found, seen = [], 0
    for path in (*ROOT.glob("harness/**/*.py"), *ROOT.glob("models/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            named = {word.arg for word in node.keywords}
            modes = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
            text = name == "read_text" or (name == "write_text" and isinstance(node.func, ast.Attribute))
            text |= name in ("open", "fdopen") and not any("b" in str(mode) for mode in modes)
            text |= name in ("run", "check_output", "Popen") and bool(named & {"text", "universal_newlines"})
            if text and ast.unparse(node.func) not in ("Image.open", "os.open", "self._open"):
                seen += 1
                if "encoding" not in named:
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert seen > 10
    assert found == []
