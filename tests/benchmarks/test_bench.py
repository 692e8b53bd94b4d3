"""`make bench` times what it says, ends when it was told to, and is ready for a GPU."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks import bench
from benchmarks.expert import Expert
from harness import find_recipe, list_recipes
from harness.files import read_json
from support.fake_device import DEVICE, Watch, fake_device

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
FOREVER = bench.Budget(until=float("inf"), share_sec=float("inf"))
QUICK = ("--turns", "1", "--turn-sec", "0.01")


@pytest.fixture(autouse=True)
def _measuring_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "MEASURING_SEC", 0.05)


def run(folder: Path, *words: str) -> tuple[int, dict[str, Any]]:
    status = bench.main([*words, *QUICK, "--folder", str(folder)])
    (path,) = folder.glob("*.json")
    record: dict[str, Any] = read_json(path)
    return status, record


def command_of(*variables: str) -> list[str]:
    """The words that `make bench` hands to the program, as make would run it."""
    done = subprocess.run(
        ["make", "-n", "bench", *variables], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return shlex.split(done.stdout.splitlines()[-1].partition("benchmarks.bench ")[2])


# -- the table -------------------------------------------------------------------------------------------


def test_the_table_has_every_column_and_is_written_with_where_it_was_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, record = run(tmp_path, "ring-gan", "--device", "cpu")
    printed = capsys.readouterr().out
    assert status == 0
    for heading in ("textbook", "expert", "K = 1", "K auto", "launch", "FLOP floor", "evaluation"):
        assert heading in printed
    assert {"git_commit", "torch", "device_name", "num_cores"} <= set(record["environment"])
    row = record["recipes"]["ring-gan"]
    assert row["launch_floor_sec"] < row["step_sec"]["1"]
    assert row["flop_floor_sec"] < row["step_sec"]["1"]
    assert row["evaluation_share"] > 0
    assert row["over_expert"]["1"] == pytest.approx(row["step_sec"]["expert"] / row["step_sec"]["1"])
    assert record["left_out"] == {}


def test_a_recipe_without_its_data_is_trained_on_digits_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(bench.__dict__, "find_recipe", lambda name: small_faces())
    _, record = run(tmp_path, "faces-dcgan64", "--device", "cpu")
    row = record["recipes"]["faces-dcgan64"]
    assert row["data"] == "digits"
    assert "evaluation_share" not in row
    assert "since their own data are not here: faces-dcgan64." in capsys.readouterr().out


def small_faces() -> Any:
    return find_recipe("faces-dcgan64").override(
        {
            "data.size": 16,
            "train.batch_size": 16,
            "generator.width": 0.1,
            "discriminator.width": 0.1,
        }
    )


def test_goals_are_higher_for_small_networks() -> None:
    goals = {name: bench.goal(find_recipe(name), CPU) for name in list_recipes()}
    assert (goals["ring-gan"], goals["points-gan"], goals["fashion-cgan"]) == (2.0, 1.2, 1.2)
    assert (goals["fashion-dcgan"], goals["mnist-g2d2"], goals["progan-fashion32"]) == (1.0, 1.0, 1.0)


def test_the_order_of_importance_names_recipes_that_exist() -> None:
    assert set(bench.FIRST) <= set(list_recipes())
    assert len(set(bench.FIRST)) == len(bench.FIRST)
    assert set(bench._read([]).names) == set(list_recipes())


# -- turns and time --------------------------------------------------------------------------------------


def test_contestants_take_turns_and_the_first_turn_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(bench, "now", lambda device: clock[0])
    order: list[str] = []

    def training(name: str, sec: float) -> Callable[[], int]:
        def train() -> int:
            order.append(name)
            clock[0] += sec * (100 if order.count(name) == 1 else 1)
            return 2

        return train

    found = bench.alternate({"a": training("a", 1), "b": training("b", 3)}, CPU, FOREVER, 3, 0.5)
    assert order == ["a", "b"] * 4
    assert found == {"a": [0.5] * 3, "b": [1.5] * 3}
    assert bench._ratio(found["b"], found["a"]) == 3


def test_short_iterations_are_timed_many_at_once_and_long_ones_alone() -> None:
    assert [bench._chunk(CPU, sec) for sec in (1e-4, 5e-3, 1.0)] == [20, 4, 1]
    assert bench._chunk(torch.device("cuda"), 1.0) == 20  # between two waits for it


def test_turns_end_with_the_share_of_a_recipe_and_with_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(bench, "now", lambda device: clock[0])
    monkeypatch.setattr(bench.time, "monotonic", lambda: clock[0])

    def train() -> int:
        clock[0] += 1
        return 1

    both = {"a": train, "b": train}
    shared = bench.Budget(until=1000.0, share_sec=1.0)
    assert len(bench.alternate(both, CPU, shared, 50, 1.0)["a"]) == bench.LEAST_TURNS
    clock[0] = 0.0
    found = bench.alternate(both, CPU, bench.Budget(until=4.5, share_sec=1000.0), 50, 1.0)
    assert {name: len(sec) for name, sec in found.items()} == {"a": 1, "b": 1}
    clock[0] = 0.0
    with pytest.raises(bench.OutOfTimeError):
        bench.alternate(both, CPU, bench.Budget(until=2.5, share_sec=1000.0), 50, 1.0)


def test_what_does_not_fit_is_named_with_a_command_that_times_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, record = run(tmp_path, "ring-gan", "grid-gan", "--device", "cpu", "--seconds", "0.01")
    assert status == 0
    assert record["recipes"] == {}
    assert record["left_out"] == dict.fromkeys(("ring-gan", "grid-gan"), "no time was left")
    printed = capsys.readouterr().out
    advised = re.search(r"Not timed within 0.01 s: ring-gan, grid-gan. For these: make bench (.*)", printed)
    assert advised is not None
    asked = bench._read(command_of(*shlex.split(advised[1])))
    assert asked.names == ["ring-gan", "grid-gan"]
    assert (asked.seconds, asked.device) == (bench.SECONDS, "cpu")


def test_a_recipe_that_fails_is_named_and_the_others_are_timed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = bench.timed

    def failing(recipe: Any, *rest: Any) -> dict[str, Any]:
        if recipe.name == "grid-gan":
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB")
        return timed(recipe, *rest)

    monkeypatch.setattr(bench, "timed", failing)
    status, record = run(tmp_path, "grid-gan", "ring-gan", "--device", "cpu")
    assert status == 1
    assert list(record["recipes"]) == ["ring-gan"]
    message = "OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB"
    assert record["left_out"] == {"grid-gan": message}
    assert f"grid-gan failed: {message}" in capsys.readouterr().out


# -- the command line ------------------------------------------------------------------------------------


def test_make_hands_its_variables_on() -> None:
    asked = bench._read(command_of("RECIPES=points-gan ring-gan", "SECONDS=12.5", "DEVICE=cpu"))
    assert (asked.names, asked.seconds, asked.device) == (["points-gan", "ring-gan"], 12.5, "cpu")
    assert bench._read(command_of()).seconds == bench.SECONDS <= 480


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ringgan"], "error: unknown recipe `ringgan`; did you mean `ring-gan`?"),
        (["--device", "gpu"], "error: `device` must be auto, cpu, cuda or cuda:<number>, but got 'gpu'."),
        (["--device", "cuda:99"], "error: `device` is cuda:99, but torch sees"),
        (["--seconds", "soon"], "error: `--seconds` must be a number above 0, but got 'soon'."),
        (["--seconds", "-1"], "error: `--seconds` must be a number above 0, but got '-1'."),
        (["--seconds", "inf"], "error: `--seconds` must be a number above 0, but got 'inf'."),
        (["--seconds", "nan"], "error: `--seconds` must be a number above 0, but got 'nan'."),
        (["--threads", "0"], "error: `--threads` must be a whole number above 0, but got '0'."),
        (["--turns", "1.5"], "error: `--turns` must be a whole number above 0, but got '1.5'."),
        (["--turn-sec", "0"], "error: `--turn-sec` must be a number above 0, but got '0'."),
        (["--folder", "/nowhere"], "error: `--folder` must be a folder, but /nowhere is none"),
        (["--fast"], "error: unrecognized arguments: --fast."),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        bench.main(words)
    captured = capsys.readouterr()
    assert stopped.value.code == 2
    assert captured.out == ""
    assert captured.err.startswith(message)
    assert captured.err.count("\n") == 1


# -- a GPU -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compiling_sec", [60.0, 1e6])
def test_the_path_of_a_gpu_runs_on_a_device_that_is_nowhere(
    compiling_sec: float, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[torch.device] = []
    graphs: list[int] = []

    @contextmanager
    def graph(_: object) -> Any:
        graphs.append(1)
        yield

    set_here: dict[str, Any] = {
        "resolve_device": lambda device: {"cuda": "meta"}[device],
        "describe_environment": lambda device: {"device_name": "NVIDIA Nothing", "torch": "0", "at": device},
        "measure": lambda recipe, dataset, device, budget_sec: SimpleNamespace(
            population=3, multiply_adds=10**9, total_steps=100, step_sec_by_size={1: 1e-3}
        ),
        "judging": lambda trainer, dataset: lambda: 1000,
        "count": lambda recipe, size: {"launches": 90},
        "Textbook": Expert,  # a DataLoader reads numbers, which fake tensors do not have
    }
    for name, value in set_here.items():
        monkeypatch.setitem(bench.__dict__, name, value)
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=lambda: None))
    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: graphs.append(2))
    monkeypatch.setattr(bench, "COMPILING_SEC", compiling_sec)
    monkeypatch.setattr(bench, "_chunk", lambda device, sec: 1)
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: None)
    recipe = find_recipe("ring-gan")
    monkeypatch.setitem(bench.__dict__, "find_recipe", lambda name: recipe)
    bench.load_dataset(recipe.data)  # while tensors still hold numbers; it is kept
    with fake_device(), Watch():
        status, record = run(tmp_path, "ring-gan", "--device", "cuda")
    printed = capsys.readouterr().out
    assert status == 0, record["left_out"]
    assert record["environment"]["at"] == str(DEVICE)
    assert record["clock"] == "seconds, synchronised"
    row = record["recipes"]["ring-gan"]
    assert set(row["step_sec"]) == {"textbook", "expert", "1", "auto"}
    assert (row["launches"], row["multiply_adds"], row["population"]) == (90, 10**7, 3)
    assert row["computed_because"] == ""
    if compiling_sec == 60.0:
        assert isinstance(row["expert_compiled"], float)
    else:  # too little to compile in
        assert "The expert's loop without torch.compile (no time was left): ring-gan." in printed
    assert set(map(str, waited)) == {"meta"}
    assert 1 in graphs
    assert 2 in graphs
    assert "K=3" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["nvidia-nothing-part.json"]


@pytest.mark.parametrize(("device", "number"), [("cuda", 0), ("cuda:1", 1)])
def test_the_gpu_asked_for_becomes_the_current_one(
    device: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class ReachedError(Exception):
        pass

    def stop(_: torch.device) -> None:
        raise ReachedError

    chosen: list[int] = []
    monkeypatch.setitem(bench.__dict__, "resolve_device", lambda asked: asked)
    monkeypatch.setattr(torch._C, "_cuda_setDevice", chosen.append, raising=False)
    monkeypatch.setattr(torch.cuda, "_check_stray_context", lambda _: None, raising=False)
    monkeypatch.setattr(bench.Floors, "measure", stop)
    with pytest.raises(ReachedError):
        bench.main(["ring-gan", "--device", device, "--folder", str(tmp_path)])
    assert chosen == [number]


def test_loops_written_by_hand_may_take_any_algorithm_of_cudnn() -> None:
    seen: list[bool] = []

    class Loop:
        def iterate(self) -> None:
            seen.append(torch.backends.cudnn.deterministic)

    torch.backends.cudnn.deterministic = True  # as the harness has it
    assert bench.iterating(Loop(), 2, 3)() == 6  # type: ignore[arg-type]
    assert seen == [False] * 3
    assert torch.backends.cudnn.deterministic


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_timed(tmp_path: Path) -> None:
    status, record = run(tmp_path, "ring-gan", "digits-dcgan", "--device", "cuda")
    assert status == 0, record["left_out"]
    for row in record["recipes"].values():
        assert row["launch_floor_sec"] < row["step_sec"]["1"] < row["step_sec"]["textbook"]
        assert row["computed_because"] == ""


# -- what the README says --------------------------------------------------------------------------------


def readme_rows(rows: dict[str, Any]) -> list[str]:
    """The README's table of a record's recipes."""
    found = []
    for name, row in rows.items():
        sec, over = row["step_sec"], row["over_expert"]
        together = f"{over['auto']:.2f}× (K = {row['population']})" if "auto" in over else "K = 1"
        share = f"{row['evaluation_share']:.1%}".replace("%", " %") if "evaluation_share" in row else ""
        cells = [
            f"`{name}`",
            bench._span(sec["textbook"]),
            bench._span(sec["expert"]),
            bench._span(sec["1"]),
            f"{row['over_textbook']['1']:.2f}×",
            f"{over['1']:.2f}×",
            together,
            share,
        ]
        found.append(f"| {' | '.join(cells)} |")
    return found


def test_the_readme_s_table_is_the_recorded_one() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"\((tests/benchmarks/results/[^)]+\.json)\)", text)
    rows = [row for path in named for row in readme_rows(read_json(ROOT / path)["recipes"])]
    assert [row for row in rows if row not in text] == []
    assert len(rows) > 10
