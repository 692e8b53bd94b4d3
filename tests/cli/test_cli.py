"""The command line, as a person uses it: in a process of its own."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from harness.cli.main import harness as group
from harness.cli.main import main
from harness.execution.launch import run_study
from harness.files import read_json, write_json
from harness.study.study import Study, load_study
from support.tiny_studies import unmeasured_plan
from support.untrained_runs import make_recipe, make_run

ROOT = Path(__file__).parents[2]
TINY = """\
name: tiny
recipe: ring-gan
metric: {name: sliced_w2}
seeds: 2
ablate:
  parameters: {optimizer.name: [adam, sgd]}
  baseline: {optimizer.name: adam}
parameters:
  train.epochs: {value: 2}
  evaluate.every_epochs: {value: 1}
  evaluate.num_samples: {value: 200}
"""


def harness(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "WANDB_MODE": "disabled", "COLUMNS": "120", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "harness", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture
def prints(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """What a command that succeeds prints; it runs in this process."""

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["harness", *arguments])
        monkeypatch.setenv("WANDB_MODE", "disabled")
        monkeypatch.setenv("COLUMNS", "120")
        with pytest.raises(SystemExit) as stopped:
            main()
        assert stopped.value.code == 0
        return capsys.readouterr().out

    return run


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """The one line on stderr of a command that must be refused; it runs in this process."""

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["harness", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        printed = capsys.readouterr()
        assert stopped.value.code == 2
        lines = printed.err.strip().splitlines()
        assert len(lines) == 1, printed.err
        return lines[0].removeprefix("error: ")

    return run


def test_help_answers_at_once() -> None:
    took = []
    for _ in range(3):
        started = time.perf_counter()
        done = harness("--help")
        took.append(time.perf_counter() - started)
        assert done.returncode == 0
        for command in ("list", "show", "train", "plan", "sweep", "report"):
            assert command in done.stdout
    assert min(took) < 2.0, "help must not load a heavy library"


def test_list_names_every_entry() -> None:
    known = {
        "recipes": "points-wgan-gp",
        "losses": "relativistic",
        "optimizers": "optimistic-adam",
        "datasets": "points-file",
        "metrics": "sliced_w2",
        "sweeps": "optimizers-tuned",
    }
    done = harness("list")
    assert done.returncode == 0
    for kind, entry in known.items():
        assert f"\n{kind}\n" in done.stdout
        assert f"\n{entry} " in done.stdout


def test_show_prints_networks_costs_and_settings() -> None:
    done = harness("show", "points-gan", "--set", "optimizer.name=adam")
    assert done.returncode == 0
    assert "BatchNorm1d(512, eps=0.8" in done.stdout
    assert "150,978" in done.stdout
    assert "17,089" in done.stdout
    assert "generator_optimizer.beta1" in done.stdout


MISTAKES = [
    (("show", "points-gn"), "unknown recipe `points-gn`; did you mean `points-gan`?"),
    (("train", "points-gan", "--set", "optimizer.lr=-1"), "`optimizer.lr` must be positive, but got -1."),
    (("train", "points-gan", "--set", "optimizer.lr=nan"), "`optimizer.lr` must be finite, but got nan."),
    (
        ("train", "points-gan", "--set", "optimizer.lr=fast"),
        "`optimizer.lr` must be a number, but got 'fast'.",
    ),
    (("train", "points-gan", "--set", "lr"), "`--set` takes KEY=VALUE, but got 'lr'"),
    (("train", "points-gan", "--set", "lr=1"), "unknown key `lr`"),
    (
        ("train", "points-gan", "--set", "train.epochs=1", "--set", "train.epochs=2"),
        "`--set` gives train.epochs twice",
    ),
    (
        ("train", "points-gan", "--set", "evaluate.num_samples=100000000000"),
        "`evaluate.num_samples` must be in [100, 1000000], but got 1e+11.",
    ),
    (("train", "points-gan", "--seed", "-1"), "Invalid value for '--seed'"),
    (("train", "points-gan", "--device", "tpu"), "`device`"),
    (("list", "recipe"), "unknown kind `recipe`; did you mean `recipes`?"),
    (("sweep", "optimizer"), "unknown sweep 'optimizer'; did you mean `optimizers`?"),
    (("plan", "optimizers", "--seeds", "0"), "Invalid value for '--seeds'"),
    (
        ("report", "optimizers", "--directory", "nowhere"),
        "there is nothing to report in nowhere/optimizers",
    ),
    (("sweep",), "Missing argument 'SWEEP'."),
    (("swep",), "No such command 'swep'."),
]


def test_a_mistake_is_one_line_and_exit_status_2(
    refused: Callable[..., str], subtests: pytest.Subtests
) -> None:
    for arguments, message in MISTAKES:
        with subtests.test(arguments=arguments):
            assert refused(*arguments).startswith(message)


def test_a_broken_sweep_file_is_named_with_line_and_column(
    tmp_path: Path, refused: Callable[..., str]
) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("name: broken\nseeds: 2\nseeds: 3\n")
    message = refused("plan", str(path))
    assert message.startswith(f"{path}:3:1:")
    assert "seeds" in message


def test_nothing_is_written_where_the_input_is_bad(tmp_path: Path, refused: Callable[..., str]) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(TINY.replace("[adam, sgd]", "[adam, sdg]"))
    assert "did you mean `sgd`?" in refused("sweep", str(path), "--directory", str(tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_cannot_be_written_is_a_clear_line(tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    assert "file" in refused("sweep", str(path), "--directory", str(tmp_path / "file" / "runs"))


def test_a_mistake_ends_the_process_with_status_2_and_no_traceback() -> None:
    done = harness("train", "points-gan", "--set", "optimizer.lr=-1")
    assert done.returncode == 2
    assert done.stderr == "error: `optimizer.lr` must be positive, but got -1.\n"


def test_train_prints_progress_and_a_result_and_is_not_redone(tmp_path: Path) -> None:
    arguments = [
        "train",
        "ring-gan",
        "--set",
        "train.epochs=3",
        "--set",
        "optimizer.name=adam",
        "--seed",
        "3",
    ]
    first = harness(*arguments, "--directory", str(tmp_path))
    assert first.returncode == 0, first.stderr
    assert "step" in first.stdout
    assert "sliced_w2" in first.stdout
    assert "327 D and 327 G steps" in first.stdout
    second = harness(*arguments, "--directory", str(tmp_path))
    assert "was trained before" in second.stdout
    assert len(list((tmp_path / "train" / "runs").iterdir())) == 1


def test_a_sweep_is_planned_trained_reported_and_not_redone(
    tmp_path: Path, prints: Callable[..., str]
) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    where = ("--directory", str(tmp_path / "runs"))
    assert prints("plan", str(path), *where).count("to do") == 4
    assert not (tmp_path / "runs").exists()
    swept = harness("sweep", str(path), *where)
    assert swept.returncode == 0, swept.stderr
    report = tmp_path / "runs" / "tiny" / "report"
    assert f"report: {report / 'index.html'}" in swept.stdout
    results = {p: p.stat().st_mtime_ns for p in (tmp_path / "runs").rglob("result.json")}
    assert len(results) == 4
    prints("sweep", str(path), *where)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "runs").rglob("result.json")} == results
    assert prints("plan", str(path), *where).count("exists") == 4
    (report / "table.csv").unlink()
    prints("report", str(path), *where)
    assert (report / "table.csv").exists()
    # Runs that are all there, but none of which has the metric, are a failure and no answer.
    for result in results:
        values = read_json(result)
        failed = {"sliced_w2": {"count": 2, "reason": "it came out as nan.", "at_end": True}}
        write_json(result, values | {"scores": {}, "failed_scores": failed})
    swept = harness("sweep", str(path), *where)
    assert swept.returncode == 1
    said = "No arm can be judged: 4 of 4 finished runs have no sliced_w2: it came out as nan."
    assert swept.stderr.strip() == f"error: {said}"


def test_a_study_of_a_script_is_named_by_its_folder_or_its_name_in_every_command(
    tmp_path: Path, prints: Callable[..., str], refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study = Study(
        name="by-script",
        recipe="ring-gan",
        metric="sliced_w2",
        seeds=1,
        parameters={"train.epochs": 2, "evaluate.num_samples": 200},
    )
    found = run_study(study, directory="own", wandb="disabled")
    (run,) = found.runs
    where = ("--directory", "own")
    for named in (("own/by-script",), ("by-script", *where)):
        found.report.unlink()
        assert "study: own/by-script\n" in prints("report", *named)
        assert found.report.is_file()
        assert "1 of them exist" in prints("plan", *named)
        assert run.run_id in prints("evaluate", *named)
    assert "study: own/by-script/study.yaml" in prints("sweep", "own/by-script/")
    assert not (tmp_path / "runs").exists()
    assert load_study("own/by-script") == study
    said = refused("report", "by-script")
    assert "unknown sweep 'by-script'" in said
    said = refused("report", "optimizers", *where)
    assert said.startswith("there is nothing to report in own/optimizers; run `harness sweep optimizers --d")
    assert said.endswith("--directory own` first, or report one that is there: own/by-script.")
    said = refused("sweep", "own/by-script", "--directory", "other")
    assert said.endswith("or name the file own/by-script/study.yaml to run the study anew there.")
    assert "0 of them exist" in prints("plan", "own/by-script/study.yaml", "--directory", "other")
    said = refused("report", "own/by-script", "--directory", "other")
    assert said.endswith("or name the file own/by-script/study.yaml to run the study anew there.")
    Path("link").symlink_to("own/by-script")
    monkeypatch.chdir("own/by-script")
    for named in (".", "../by-script", "../../link"):
        assert "1 of them exist" in prints("plan", named)
    monkeypatch.chdir(tmp_path)
    Path("own/by-script").rename("own/renamed")
    said = refused("sweep", "own/renamed")
    assert said.startswith(
        "own/renamed was renamed: the study in it is called by-script, and runs in a folder"
    )
    assert "0 of them exist" in prints("plan", "own/renamed/study.yaml", "--directory", "other")


def test_a_rate_that_is_far_too_high_is_a_result_and_one_that_is_no_number_a_mistake(
    tmp_path: Path, prints: Callable[..., str], refused: Callable[..., str]
) -> None:
    short = ("--directory", str(tmp_path), "--set", "train.epochs=2", "--set", "evaluate.num_samples=200")
    told = prints("train", "ring-gan", *short, "--set", "optimizer.lr=1e10")
    assert "diverged" in told
    (result,) = tmp_path.glob("train/runs/*/result.json")
    assert read_json(result)["outcome"] == "diverged"
    for value in ("nan", "inf", "1e400"):
        said = refused("train", "ring-gan", *short, "--set", f"optimizer.lr={value}")
        assert said.startswith("`optimizer.lr` must be finite, but got ")
    for value in ("0", "-1e10"):
        said = refused("train", "ring-gan", *short, "--set", f"optimizer.lr={value}")
        assert said.startswith("`optimizer.lr` must be positive, but got ")
    assert len(list(tmp_path.glob("train/runs/*"))) == 1


def test_folders_of_an_earlier_version_are_refused_by_every_command(
    tmp_path: Path, refused: Callable[..., str]
) -> None:
    text = tmp_path / "tiny.yaml"
    text.write_text(TINY)
    runs = tmp_path / "runs"
    (runs / "tiny").mkdir(parents=True)
    write_json(runs / "tiny" / "plan.json", {"version": 1, "units": []})
    folder, _ = make_run(runs, make_recipe())
    write_json(folder / "result.json", {"run_id": folder.name, "cell": "adam", "selection": {}})
    where = ("--directory", str(runs))
    for command in ("sweep", "plan", "report"):
        said = refused(command, str(text), *where)
        assert "version 1" in said
        assert said.endswith(f"move {runs / 'tiny'} away, or choose another --directory.")
    for command in (("generate",), ("evaluate",), ("latent", "edit"), ("latent", "sefa")):
        said = refused(*command, folder.name, *where)
        assert "earlier version of the harness" in said
        assert said.endswith(f"move {runs / 'train'} away, or choose another folder with --directory.")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"),
        RuntimeError("unable to mmap 9 bytes from file <x>: Cannot allocate memory (12)"),
        RuntimeError("CUDA out of memory."),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_memory_that_runs_out_is_one_line_with_what_to_lower(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("harness.cli.main._entries", fail)
    assert refused("list").startswith("memory ran out; lower train.batch_size")


def test_a_user_s_mistake_that_speaks_of_memory_keeps_its_words(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("the machine is out of memory slots.")

    monkeypatch.setattr("harness.cli.main._entries", fail)
    assert refused("list") == "the machine is out of memory slots."


def test_every_command_takes_modules_to_import() -> None:
    def leaves(command: click.Command) -> list[click.Command]:
        if not isinstance(command, click.Group):
            return [command]
        return [leaf for inner in command.commands.values() for leaf in leaves(inner)]

    commands = leaves(group)
    assert len(commands) >= 10
    for command in commands:
        assert any("--import" in parameter.opts for parameter in command.params), command.name


def test_a_module_that_is_not_there_is_one_line(refused: Callable[..., str]) -> None:
    line = refused("list", "losses", "--import", "my_gun.nets")
    assert line.startswith("`--import`: cannot import `my_gun.nets`: there is no such module; put it in ")


def test_the_working_folder_shadows_nothing(tmp_path: Path) -> None:
    (tmp_path / "rich.py").write_text("raise SystemExit('shadowed')\n")
    done = harness("list", "losses", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "hinge" in done.stdout


PORTED = """\
program: train.py
project: gans
entity: me
recipe: ring-gan
metric: {name: sliced_w2}
method: random
run_cap: 2
seeds: [3]
parameters:
  train.epochs: {values: [010]}
  train.batch_size: {distribution: q_uniform, min: 500, max: 1500, q: 500}
"""


def test_plan_measures_again_where_it_is_asked_to(tmp_path: Path, prints: Callable[..., str]) -> None:
    path, runs = tmp_path / "tiny.yaml", tmp_path / "runs"
    path.write_text(TINY)
    given = ("plan", str(path), "--directory", str(runs), "--device", "cpu", "--remeasure")
    prints(*given)
    assert not runs.exists()
    plan = unmeasured_plan(Study.load(path), runs).directory / "plan.json"
    assert {arm["price"]["steps"] for arm in read_json(plan)["arms"]} == {100}
    assert "of memory" in prints(*given)
    assert all(arm["price"]["host_bytes"] > 100e6 for arm in read_json(plan)["arms"])
    assert {arm["price"]["steps"] for arm in read_json(plan)["arms"]} != {100}


def test_plan_says_ranges_and_what_wandb_reads_otherwise(tmp_path: Path, prints: Callable[..., str]) -> None:
    path = tmp_path / "ported.yaml"
    path.write_text(PORTED)
    printed = prints("plan", str(path), "--directory", str(tmp_path), "--device", "cpu")
    assert "note: `program`, `project` and `entity` mean nothing here; passed over." in printed
    assert f"note: {path}:10:27: `010` is 10 here, by YAML 1.2, and 8 in W&B's YAML 1.1" in printed
    assert re.search(r"train\.batch_size +q_uniform +500 to 1500 +500 +1000 +1500", printed)
    assert re.search(r"train\.epochs +categorical +10 +10 +10 +10", printed)


def large_sweep(folder: Path, run_cap: int) -> str:
    path = folder / "large.yaml"
    path.write_text(PORTED.replace("run_cap: 2", f"run_cap: {run_cap}").replace("010", "1"))
    return str(path)


def test_a_large_study_is_priced_by_plan_and_refused_where_nobody_can_be_asked(tmp_path: Path) -> None:
    path = large_sweep(tmp_path, 10**9)
    planned = harness("plan", path, "--directory", str(tmp_path / "runs"), "--device", "cpu")
    assert planned.returncode == 0
    assert "1,000,000,000 runs, 0 of them exist" in planned.stdout
    assert "begun only when asked, or with --yes" in planned.stdout
    refused = harness("sweep", path, "--directory", str(tmp_path / "runs"), "--device", "cpu")
    assert refused.returncode == 2
    (line,) = refused.stderr.strip().splitlines()
    assert re.match(r"error: large is 1,000,000,000 runs \(.*\): about .* years on cpu .* give --yes", line)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("answer", ["n", "y", "--yes"])
def test_a_large_study_is_begun_when_the_question_or_the_option_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    class BegunError(Exception):
        """What takes the place of training."""

    def begin(_: object) -> None:
        raise BegunError

    asked: list[str] = []

    def confirm(text: str) -> bool:
        asked.append(text)
        return answer == "y"

    monkeypatch.setattr("harness.planning.size._LARGE_RUNS", 1)
    monkeypatch.setattr("harness.execution.launch.write_plan", begin)
    monkeypatch.setattr("click.confirm", confirm)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    options = ["--directory", str(tmp_path), "--device", "cpu", *(["--yes"] if answer == "--yes" else [])]
    monkeypatch.setattr(sys, "argv", ["harness", "sweep", large_sweep(tmp_path, 2), *options])
    with pytest.raises(SystemExit if answer == "n" else BegunError) as stopped:
        main()
    if isinstance(stopped.value, SystemExit):
        assert stopped.value.code == 130
    if answer == "--yes":
        assert not asked
    else:
        (question,) = asked
        assert re.fullmatch(r"large is 2 runs \(2 trials, 1 seed\): about .* workers?\. Begin\?", question)
