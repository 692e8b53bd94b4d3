"""Claims about what commands load: nothing that they do not need, and nothing for what was found before."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.engine import measure as measuring
from harness.planning.planner import plan_study
from harness.recipe import find_recipe, registry
from harness.recipe.loss import build_loss, traits
from harness.recipe.registry import Described
from harness.study.document import to_yaml
from harness.study.study import Study
from support.tiny_studies import ablation, unmeasured_plan

HEAVY = {"torch", "torchvision", "wandb", "matplotlib", "scipy", "optuna", "pandas", "numpy"}
REPORT_LOADED = """
import os, sys
end = os._exit

def tell(status):
    print("loaded:", *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr, flush=True)
    end(status)

os._exit = tell
"""
"""A `sitecustomize` that tells the packages that a process has loaded."""

BUILDERS = (
    registry.generators,
    registry.discriminators,
    registry.datasets,
    registry.losses,
    registry.optimizers,
)


def run(folder: Path, *arguments: str) -> tuple[str, set[str]]:
    """What a command prints, and the packages that it has loaded by its end; its cache is in `folder`."""
    hook = folder / "hook"
    hook.mkdir(exist_ok=True)
    (hook / "sitecustomize.py").write_text(REPORT_LOADED)
    done = subprocess.run(
        [sys.executable, "-m", "harness", *arguments],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(hook), *(entry for entry in sys.path if entry)]),
            "HARNESS_CACHE": str(folder / "cache"),
        },
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        timeout=200,
        check=True,
    )
    told = next(line for line in done.stderr.splitlines() if line.startswith("loaded:"))
    return done.stdout, set(told.split()[1:])


def sweep_file(folder: Path, study: Study) -> str:
    """The study's file, by which a command finds it."""
    path = folder / f"{study.name}.yaml"
    path.write_text(to_yaml(study.to_json()))
    return str(path)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the optimisers of what is measured, one after the other."""
    calls: list[str] = []
    really: Callable[..., Any] = measuring.measure

    def measure(recipe: Any, *arguments: Any, **settings: Any) -> Any:
        calls.append(recipe.generator_optimizer.name)
        return really(recipe, *arguments, **settings | {"budget_sec": 0.01})

    monkeypatch.setattr(measuring, "measure", measure)
    return calls


def test_help_loads_no_library_that_computes_draws_or_tracks(tmp_path: Path) -> None:
    assert not HEAVY & run(tmp_path, "--help")[1]


@pytest.mark.parametrize("kind", [(), ("sweeps",)])
def test_a_list_given_before_is_given_again_without_torch(tmp_path: Path, kind: tuple[str, ...]) -> None:
    first, loaded = run(tmp_path, "list", *kind)
    assert "torch" in loaded
    again, loaded = run(tmp_path, "list", *kind)
    assert not HEAVY & loaded
    assert again == first


def test_a_plan_of_structures_measured_before_is_made_without_torch(tmp_path: Path) -> None:
    first, loaded = run(tmp_path, "plan", sweep_file(tmp_path, ablation(name="one")))
    assert "torch" in loaded
    again, loaded = run(tmp_path, "plan", sweep_file(tmp_path, ablation(name="one")))
    assert not HEAVY & loaded
    assert again == first
    other = ablation(name="other", seeds=3, settings={"optimizer.lr": 0.002})
    assert not HEAVY & run(tmp_path, "plan", sweep_file(tmp_path, other))[1]


def test_the_parent_of_workers_and_the_report_load_no_torch_for_structures_measured_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    file = sweep_file(tmp_path, ablation(seeds=1, settings={"train.epochs": 1}))
    run(tmp_path, "plan", file)
    for command in ("sweep", "report"):
        told, loaded = run(tmp_path, command, file)
        assert "report: " in told
        assert not {"torch", "torchvision", "wandb"} & loaded


def test_a_structure_is_measured_once_for_all_studies_and_again_when_asked(
    tmp_path: Path, measured: list[str]
) -> None:
    first = plan_study(ablation(name="one"), directory=tmp_path, workers=1)
    assert sorted(measured) == ["adam", "sgd"]
    again = plan_study(ablation(name="other", seeds=5), directory=tmp_path, workers=1)
    assert len(measured) == 2
    for before, arm in zip(first.arms, again.arms, strict=True):
        assert (arm.price, arm.population, arm.data) == (before.price, before.population, before.data)
    plan_study(ablation(name="one"), directory=tmp_path, workers=1, remeasure=True)
    assert len(measured) == 4


@pytest.mark.parametrize(
    "changed",
    [
        {"settings": {"train.batch_size": 256}},
        {"settings": {"generator.units": 5}},
        {"metric": {"name": "w2"}},
    ],
)
def test_another_structure_or_metric_is_looked_at_anew(
    tmp_path: Path, measured: list[str], changed: dict[str, Any]
) -> None:
    plan_study(ablation(), directory=tmp_path, workers=1)
    plan_study(ablation(name="other", **changed), directory=tmp_path, workers=1)
    assert len(measured) == 4


def test_another_population_or_number_of_threads_is_measured_anew(
    tmp_path: Path, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.planning.planner.num_cores", lambda: 2)
    plan_study(ablation(), directory=tmp_path, workers=1)
    plan_study(ablation(), directory=tmp_path, workers=2)
    plan_study(ablation(), directory=tmp_path, workers=2, population=1)
    assert len(measured) == 6


def test_data_from_a_file_are_loaded_by_every_plan_and_measured_once(
    tmp_path: Path, measured: list[str]
) -> None:
    file = tmp_path / "points.csv"
    settings = {"data.name": "points-file", "data.path": str(file)}
    for count, text in ((2, "{},{}\n"), (2, "{},{}\n"), (4, "{},-{}\n")):
        file.write_text("".join(text.format(i % 7, i % 5) for i in range(700)))
        plan_study(ablation(name=f"study-{len(measured)}", settings=settings), directory=tmp_path, workers=1)
        assert len(measured) == count


def test_a_precision_that_a_device_lacks_is_refused_of_a_structure_known(
    tmp_path: Path, measured: list[str]
) -> None:
    plan_study(ablation(), directory=tmp_path, workers=1)
    with pytest.raises(ValueError, match=r"train\.precision"):
        plan_study(
            ablation(name="other", settings={"train.precision": "tf32"}), directory=tmp_path, device="cpu"
        )


@pytest.mark.parametrize("one", BUILDERS, ids=lambda one: one.noun)
def test_a_builder_that_is_described_has_the_options_that_it_has(one: registry.Registry[Any]) -> None:
    for name, described in one.describe().items():
        kept = Described.from_json(described.to_json())
        assert kept == described
        assert kept.options == one.options(name)
        assert all(one.takes(name, parameter) for parameter in kept.parameters)


def test_a_loss_that_is_known_is_what_it_would_be_built_to() -> None:
    for name in registry.losses.names():
        settings = find_recipe("ring-gan").override({"loss.name": name, "discriminator.sigmoid": False}).loss
        for _ in range(2):
            found, loss = traits(settings), build_loss(settings)
            assert found == (loss.chance, loss.critic, loss.logits)


@pytest.mark.parametrize("mode", ["disabled", "offline"])
def test_a_worker_loads_wandb_only_to_mirror_runs(tmp_path: Path, mode: str) -> None:
    plan = unmeasured_plan(ablation(seeds=1, settings={"train.epochs": 1}), tmp_path)
    script = """
import sys
from pathlib import Path
from harness.execution.worker import Worker
Worker(Path(sys.argv[1]), wandb=sys.argv[2]).work()
print("wandb" in sys.modules, "optuna" in sys.modules, "torch._dynamo" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(plan.directory), mode],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
        capture_output=True,
        encoding="utf-8",
        timeout=200,
        check=True,
    )
    assert done.stdout.split()[-3:] == [str(mode == "offline"), "False", "False"]
