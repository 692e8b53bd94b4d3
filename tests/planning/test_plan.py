"""Claims about plans: complete, stable, priced, and refused where they would mix what does not belong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from harness.files import write_json
from harness.leases import take_lease
from harness.planning import measuring
from harness.planning.measuring import measure_apart
from harness.planning.plan import ArmPlan, Price, chunks, grouped, trial_groups
from harness.planning.plan_file import PLAN_VERSION, extended, read_plan, write_plan
from harness.planning.planner import plan_study
from harness.report.page import write_report
from harness.runs.job import PlannedRun
from harness.study.folder import StudyFolder
from harness.study.study import Arm, Study
from support.tiny_studies import ablation, search, tiny_recipe, unmeasured_plan


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace the measurement, and count its calls."""
    calls: list[str] = []

    def measure(recipe: Any, *_: Any, population: int | None = None, **__: Any) -> SimpleNamespace:
        calls.append(recipe.generator_optimizer.name)
        sizes = {1: 2e-3, 2: 1.5e-3, 8: 1e-3} if population is None else {population: 1e-3}
        return SimpleNamespace(
            population=max(sizes),
            step_sec_by_size=sizes,
            memory_bytes=1_000_000,
            host_bytes=700_000_000,
            total_steps=1000,
            multiply_adds=5_000_000_000,
            obstacle="",
            onednn=False,
            eager="",
        )

    monkeypatch.setattr("harness.engine.measure.measure", measure)
    return calls


def finish(directory: Path, run_id: str) -> None:
    folder = directory / "runs" / run_id
    folder.mkdir(parents=True)
    (folder / "result.json").write_text("{}")


def tree(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def test_a_plan_holds_every_cell_with_every_seed_once(tmp_path: Path, measured: list[str]) -> None:
    plan = plan_study(ablation(seeds=3), directory=tmp_path, workers=2)
    planned = [(run.arm, run.seed) for group in plan.run_groups for run in group.runs]
    assert sorted(planned) == [(arm, seed) for arm in ("adam", "sgd") for seed in range(3)]
    assert len({run.run_id for run in plan.runs}) == plan.num_runs == 6


def test_planning_writes_nothing(tmp_path: Path, measured: list[str]) -> None:
    plan_study(ablation(), directory=tmp_path)
    assert tree(tmp_path) == []


def test_each_structure_is_measured_once(tmp_path: Path, measured: list[str]) -> None:
    settings = {"optimizer.lr": [1e-3, 1e-4], "optimizer.name": ["adam", "sgd"]}
    arms = {"parameters": settings, "baseline": {"optimizer.lr": 1e-3, "optimizer.name": "adam"}}
    plan = plan_study(ablation(ablate=arms), directory=tmp_path)
    assert len(plan.arms) == 4
    assert sorted(measured) == ["adam", "sgd"]


def test_the_price_is_per_run_and_workers_share_it(tmp_path: Path, measured: list[str]) -> None:
    one = plan_study(ablation(), directory=tmp_path, workers=1)
    two = plan_study(ablation(), directory=tmp_path, workers=2)
    assert one.total_steps == two.total_steps == 4 * 1000
    assert one.total_sec == pytest.approx(4.0)
    assert one.eta_sec == pytest.approx(4.0)
    assert two.eta_sec == pytest.approx(2.0)
    assert (one.memory_bytes, two.memory_bytes) == (1_000_000, 2_000_000)
    assert (one.host_bytes, two.host_bytes) == (700_000_000, 1_400_000_000)


def test_a_real_measurement_prices_a_run(tmp_path: Path) -> None:
    plan = plan_study(ablation(), directory=tmp_path, workers=1, population=1)
    prices = [arm.price for arm in plan.arms]
    assert all(price is not None and price.steps == 39 for price in prices)
    assert all(price is not None and price.run_sec > 0 and price.memory_bytes > 0 for price in prices)
    assert [arm.population for arm in plan.arms] == [1, 1]


def test_finished_runs_are_known_and_no_longer_priced(tmp_path: Path, measured: list[str]) -> None:
    plan = unmeasured_plan(ablation(), tmp_path)
    finish(plan.directory, plan.runs[0].run_id)
    again = plan_study(ablation(), directory=tmp_path)
    assert (again.num_done, again.num_runs) == (1, 4)
    assert again.total_sec == pytest.approx(3.0)
    assert measured == []


def test_a_finished_study_is_planned_without_looking_at_data_or_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = unmeasured_plan(ablation(), tmp_path)
    for run in plan.runs:
        finish(plan.directory, run.run_id)
    monkeypatch.setattr("harness.planning.planner._check_arms", None)
    assert plan_study(ablation(), directory=tmp_path).eta_sec == 0


def test_a_worker_is_priced_with_its_libraries_and_data(tmp_path: Path) -> None:
    plan = plan_study(ablation(), directory=tmp_path, workers=2, population=1)
    assert 2 * 200e6 < plan.host_bytes < 2 * 8e9
    assert plan.host_bytes > 10 * plan.memory_bytes
    write_plan(plan)
    assert read_plan(plan.directory, workers=2).host_bytes == plan.host_bytes


@pytest.mark.parametrize(
    ("gpus", "device", "workers", "sharing"),
    [(1, "cuda", 4, 4), (4, "cuda", 4, 1), (2, "cuda", 2, 1), (4, "cuda:3", 4, 4)],
)
def test_workers_on_one_gpu_share_it_and_several_gpus_have_one_worker_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: int, device: str, workers: int, sharing: int
) -> None:
    asked: list[tuple[str, int]] = []

    def measure(recipes: list[Any], device: str, *, sharing: int, **_: Any) -> list[SimpleNamespace]:
        asked.append((device, sharing))
        found = SimpleNamespace(
            population=1,
            step_sec_by_size={1: 1e-3},
            memory_bytes=5,
            host_bytes=7,
            total_steps=1,
            multiply_adds=1,
            obstacle="",
            onednn=False,
            eager="",
        )
        return [found] * len(recipes)

    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    monkeypatch.setattr("harness.planning.planner.num_cores", lambda: 16)
    monkeypatch.setattr("harness.planning.measuring.measure_apart", measure)
    plan = plan_study(ablation(seeds=8), directory=tmp_path, device=device)
    assert asked == [(device, sharing)]
    assert plan.workers == workers
    assert (plan.memory_bytes, plan.host_bytes) == (5 * workers, 7 * workers)


def test_a_process_of_its_own_measures_as_this_one_does() -> None:
    found = measure_apart([tiny_recipe()], "cpu", num_threads=1, population=2, budget_sec=0.01)
    assert (found[0].population, list(found[0].step_sec_by_size)) == (2, [2])
    assert found[0].total_steps == 39
    assert found[0].host_bytes > 100e6


def test_what_cannot_be_measured_apart_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(ValueError, match=r"^measuring on cuda:1 failed: exit code 1$"):
        measure_apart([tiny_recipe()], "cuda:1")


def test_a_recipe_too_large_for_memory_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("harness.engine.measure.measure", short)
    asked = {"recipes": [tiny_recipe().to_json()], "device": "cpu", "settings": {}}
    assert "`ring-gan` does not fit into memory" in measuring._measured(asked)["error"]


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A measurement of networks that torch cannot train together."""
    found = SimpleNamespace(
        population=1,
        step_sec_by_size={1: 1e-3},
        memory_bytes=1,
        host_bytes=1,
        total_steps=1,
        multiply_adds=1,
        obstacle="no rule for gru",
        onednn=True,
        eager="it waits for the host",
    )
    monkeypatch.setattr("harness.engine.measure.measure", lambda *_, **__: found)


@pytest.mark.usefixtures("alone")
def test_runs_that_cannot_be_trained_together_are_planned_alone_and_the_plan_says_why(tmp_path: Path) -> None:
    plan = plan_study(ablation(), directory=tmp_path)
    assert {len(group.runs) for group in plan.run_groups} == {1}
    write_plan(plan)
    assert {arm.alone for arm in read_plan(plan.directory).arms} == {"no rule for gru"}
    assert {arm.eager for arm in read_plan(plan.directory).arms} == {"it waits for the host"}
    assert {arm.onednn for arm in read_plan(plan.directory).arms} == {True}
    reason = "are computed, and not replayed as CUDA graphs: it waits for the host."
    assert any(line.endswith(reason) for line in read_plan(plan.directory).remarks)
    with pytest.raises(
        ValueError, match=r"`population` is 3, but runs of arm .* \(no rule for gru\); set it to 1"
    ):
        plan_study(ablation(), directory=tmp_path / "other", population=3)


@pytest.mark.usefixtures("alone")
def test_pruning_of_runs_that_cannot_be_trained_together_is_refused(tmp_path: Path) -> None:
    pruned = search(early_terminate={"type": "hyperband", "min_iter": 1})
    with pytest.raises(
        ValueError, match=r"`early_terminate` judges all seeds .*; leave it out, or ask for one seed"
    ):
        plan_study(pruned, directory=tmp_path)


def test_arms_that_differ_in_numbers_share_populations() -> None:
    arms = [
        ArmPlan(asked=Arm(name=f"{lr}", overrides={}, recipe=tiny_recipe(optimizer__lr=lr)), population=8)
        for lr in (1e-3, 1e-4)
    ]
    groups = grouped(arms, range(4), workers=1)
    assert [len(group.runs) for group in groups] == [8]
    assert {run.arm for run in groups[0].runs} == {"0.001", "0.0001"}


def test_arms_of_different_structure_do_not_share_populations() -> None:
    arms = [
        ArmPlan(asked=Arm(name=name, overrides={}, recipe=tiny_recipe(optimizer__name=name)), population=8)
        for name in ("adam", "sgd")
    ]
    for group in grouped(arms, range(4), workers=1):
        assert len({run.arm for run in group.runs}) == 1


def test_no_population_leaves_a_worker_without_work() -> None:
    arm = ArmPlan(asked=Arm(name="a", overrides={}, recipe=tiny_recipe()), population=64)
    assert [len(group.runs) for group in grouped([arm], range(8), workers=2)] == [4, 4]


def _arms(work: dict[str, int], *, population: int = 1) -> list[ArmPlan]:
    """Arms of different structure, by the multiply-adds of a run."""
    return [
        ArmPlan(
            asked=Arm(name=name, overrides={}, recipe=tiny_recipe(train__batch_size=64 + place)),
            population=population,
            price=Price(steps=1, run_sec=1.0, memory_bytes=1, multiply_adds=count),
        )
        for place, (name, count) in enumerate(work.items())
    ]


def test_of_the_same_seeds_the_longest_groups_come_first() -> None:
    groups = grouped(_arms({"short": 10, "long": 30, "middle": 20}), [5, 3], workers=2)
    assert [(group.runs[0].seed, group.runs[0].arm) for group in groups] == [
        (seed, arm) for seed in (5, 3) for arm in ("long", "middle", "short")
    ]


@pytest.mark.parametrize(
    ("num_arms", "num_seeds", "workers", "sizes"),
    [
        (3, 3, 2, [3, 3, 2, 1]),  # the third would have been trained while the other worker waits
        (3, 3, 1, [3, 3, 3]),
        (2, 3, 2, [3, 3]),
        (1, 7, 2, [4, 3]),
        (5, 8, 4, [8, 8, 8, 8, 2, 2, 2, 2]),
        (3, 1, 2, [1, 1, 1]),  # what is trained alone cannot be cut
    ],
)
def test_a_group_that_others_would_wait_for_is_cut(
    num_arms: int, num_seeds: int, workers: int, sizes: list[int]
) -> None:
    arms = _arms({str(number): 10 for number in range(num_arms)}, population=8)
    groups = grouped(arms, range(num_seeds), workers)
    assert sorted((len(group.runs) for group in groups), reverse=True) == sizes
    assert len({run.run_id for group in groups for run in group.runs}) == num_arms * num_seeds


def test_how_long_a_measurement_took_decides_nothing_of_the_groups() -> None:
    arms = _arms({"a": 10, "b": 10, "c": 10}, population=8)
    others = [
        replace(arm, price=replace(arm.price, run_sec=float(place)))
        for place, arm in enumerate(arms)
        if arm.price is not None
    ]
    assert grouped(arms, range(3), 2) == grouped(others, range(3), 2)


@given(count=st.integers(0, 60), population=st.integers(1, 20))
def test_chunks_keep_order_and_are_few_and_even(count: int, population: int) -> None:
    recipe = tiny_recipe()
    runs = [PlannedRun(recipe=recipe, seed=seed, arm="a", overrides={}) for seed in range(count)]
    groups = chunks(runs, population)
    sizes = [len(group.runs) for group in groups]
    assert [run.seed for group in groups for run in group.runs] == list(range(count))
    assert len(sizes) == -(-count // population)
    assert not sizes or (max(sizes) <= population and max(sizes) - min(sizes) <= 1)


def test_a_plan_survives_the_disk(tmp_path: Path) -> None:
    plan = unmeasured_plan(ablation(), tmp_path, population=2)
    read = read_plan(plan.directory)
    assert read.run_groups == plan.run_groups
    assert read.arms == plan.arms
    assert read.study == plan.study
    assert (read.device, read.num_threads) == (plan.device, plan.num_threads)


def test_the_study_is_kept_as_a_sweep_file(tmp_path: Path) -> None:
    from harness.study.study import Study

    plan = unmeasured_plan(search(tuned=True), tmp_path)
    assert Study.load(plan.directory / "study.yaml").difference(plan.study) == []


def test_more_seeds_form_new_populations_and_leave_the_old_ones(tmp_path: Path) -> None:
    old = unmeasured_plan(ablation(seeds=3), tmp_path, population=2)
    new = unmeasured_plan(ablation(seeds=5), tmp_path)
    assert new.run_groups[: len(old.run_groups)] == old.run_groups
    assert sorted((run.arm, run.seed) for group in new.run_groups for run in group.runs) == [
        (arm, seed) for arm in ("adam", "sgd") for seed in range(5)
    ]
    assert read_plan(new.directory).study.seeds == (0, 1, 2, 3, 4)


def test_fewer_seeds_leave_the_populations_and_ask_for_fewer_runs(tmp_path: Path) -> None:
    old = unmeasured_plan(ablation(seeds=3), tmp_path, population=3)
    new = unmeasured_plan(ablation(seeds=1), tmp_path)
    assert new.run_groups == old.run_groups
    assert [run.seed for run in new.runs] == [0, 0]
    assert json.loads((new.directory / "plan.json").read_text())["seeds"] == {"ablate": [0]}


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (ablation(settings={"optimizer.lr": 1e-5}), "`parameters.optimizer.lr.value`: not set → 1e-05"),
        (ablation(metric={"name": "w2"}), '`metric.name`: "sliced_w2" → "w2"'),
        (search(name="tiny"), "`method`: not set"),
    ],
)
def test_another_study_of_the_same_name_is_refused_with_the_difference(
    tmp_path: Path, measured: list[str], other: Any, difference: str
) -> None:
    plan = unmeasured_plan(ablation(), tmp_path)
    before = (plan.directory / "plan.json").read_bytes()
    with pytest.raises(ValueError, match="holds another study named `tiny`") as caught:
        plan_study(other, directory=tmp_path)
    assert difference in str(caught.value)
    assert str(caught.value).endswith(
        f"give the study another `name` in its file, move {plan.directory} away, or choose another "
        "--directory."
    )
    assert "\n" not in str(caught.value)
    assert (plan.directory / "plan.json").read_bytes() == before


def test_other_seeds_or_fewer_trials_do_not_fit_a_search_already_begun(tmp_path: Path) -> None:
    old = unmeasured_plan(search(), tmp_path)
    with pytest.raises(ValueError, match="`seeds`: 0, 1 → 0, 1, 2"):
        extended(old, search(seeds=3))
    with pytest.raises(ValueError, match="`run_cap`: 3 → 2"):
        extended(old, search(run_cap=2))
    assert extended(old, search(run_cap=5)).num_runs == 10


def test_a_plan_of_another_version_is_refused(tmp_path: Path, measured: list[str]) -> None:
    plan = unmeasured_plan(ablation(), tmp_path)
    path = plan.directory / "plan.json"
    write_json(path, json.loads(path.read_text()) | {"version": PLAN_VERSION + 1})
    with pytest.raises(
        ValueError, match=rf"has version {PLAN_VERSION + 1}, but this harness .* reads 2; give"
    ):
        plan_study(ablation(), directory=tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"version": 2}', '{"version": 2, "study": {}}'])
def test_a_broken_plan_is_refused_in_one_line(tmp_path: Path, measured: list[str], text: str) -> None:
    plan = unmeasured_plan(ablation(), tmp_path)
    (plan.directory / "plan.json").write_text(text)
    with pytest.raises(ValueError, match=r"plan\.json") as caught:
        plan_study(ablation(), directory=tmp_path)
    assert "\n" not in str(caught.value)


def test_a_recipe_that_has_changed_since_is_named(tmp_path: Path, measured: list[str]) -> None:
    plan = unmeasured_plan(ablation(), tmp_path)
    path = plan.directory / "plan.json"
    values = json.loads(path.read_text())
    values["arms"][1]["recipe"]["loss"]["drift"] = 0.25
    write_json(path, values)
    with pytest.raises(ValueError, match=r"of arm sgd has changed since .*: loss.drift 0.25 → 0.0; give"):
        plan_study(ablation(), directory=tmp_path)


def test_a_plan_with_other_runs_than_its_recipes_make_is_refused(tmp_path: Path) -> None:
    plan = unmeasured_plan(ablation(), tmp_path)
    path = plan.directory / "plan.json"
    values = json.loads(path.read_text())
    values["run_groups"][0]["id"] = "0" * 12
    write_json(path, values)
    with pytest.raises(ValueError, match="lists other runs than its recipes make"):
        read_plan(plan.directory)


def test_data_that_have_changed_since_are_named(tmp_path: Path, measured: list[str]) -> None:
    plan = plan_study(ablation(), directory=tmp_path)
    write_plan(replace(plan, arms=tuple(replace(arm, data="0" * 16) for arm in plan.arms)))
    with pytest.raises(ValueError, match=r"the data of arm adam \(ring\) has changed since"):
        plan_study(ablation(), directory=tmp_path)


def test_a_finished_study_is_not_taken_for_one_of_other_data(tmp_path: Path, measured: list[str]) -> None:
    path = tmp_path / "points.npy"
    np.save(path, np.random.RandomState(0).normal(size=(200, 2)))
    study = ablation(settings={"data.name": "points-file", "data.path": str(path), "train.batch_size": 100})
    plan = write_plan(plan_study(study, directory=tmp_path))
    for run in plan.runs:
        finish(plan.directory, run.run_id)
    assert plan_study(study, directory=tmp_path).num_done == 4
    np.save(path, np.random.RandomState(1).normal(size=(200, 2)))
    with pytest.raises(ValueError, match=r"the data of arm adam \(points-file\) has changed since"):
        plan_study(study, directory=tmp_path)
    path.unlink()
    assert plan_study(study, directory=tmp_path).num_done == 4


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, measured: list[str]) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "thesis.tex").write_text("precious")
    with pytest.raises(ValueError, match=r"holds thesis\.tex but no plan\.json"):
        plan_study(ablation(), directory=tmp_path)
    assert tree(tmp_path) == ["tiny", "tiny/thesis.tex"]


def test_a_folder_left_before_its_plan_was_written_is_taken_up(tmp_path: Path, measured: list[str]) -> None:
    (tmp_path / "tiny" / "runs").mkdir(parents=True)
    assert plan_study(ablation(), directory=tmp_path).num_runs == 4


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_a_place_that_cannot_be_written_to_is_one_line_and_leaves_nothing(
    tmp_path: Path, measured: list[str], below: str
) -> None:
    (tmp_path / "file").write_text("")
    plan = plan_study(ablation(), directory=tmp_path / "new")
    target = replace(plan, directory=tmp_path / "file" / below / "tiny")
    with pytest.raises(ValueError, match=r"cannot write to .*tiny: Not a directory; choose another folder"):
        write_plan(target)
    assert tree(tmp_path) == ["file"]


def test_a_write_that_fails_halfway_leaves_no_folder(
    tmp_path: Path, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_study(ablation(), directory=tmp_path / "a" / "b")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("harness.planning.plan_file.write_text", fail)
    with pytest.raises(ValueError, match="No space left on device"):
        write_plan(plan)
    assert tree(tmp_path) == []


def test_a_plan_measured_again_groups_anew_what_has_not_begun(tmp_path: Path, measured: list[str]) -> None:
    old = unmeasured_plan(ablation(seeds=4), tmp_path)
    assert [len(group.runs) for group in old.run_groups] == [1] * 8
    finish(old.directory, old.run_groups[0].runs[0].run_id)
    (StudyFolder(old.directory).checkpoint(old.run_groups[1].id)).touch()
    before = tree(tmp_path), (old.directory / "plan.json").read_bytes()
    again = plan_study(ablation(seeds=4), directory=tmp_path, workers=1, remeasure=True)
    assert (tree(tmp_path), (old.directory / "plan.json").read_bytes()) == before
    assert sorted(measured) == ["adam", "sgd"]
    assert again.run_groups[:2] == old.run_groups[:2]
    assert [len(group.runs) for group in again.run_groups] == [1, 1, 3, 3]
    assert all(arm.price is not None and arm.price.steps == 1000 for arm in again.arms)
    write_plan(again, anew=True)
    kept = read_plan(old.directory)
    assert (kept.run_groups, kept.arms) == (again.run_groups, again.arms)


def test_a_plan_that_is_being_carried_out_is_not_replaced(tmp_path: Path, measured: list[str]) -> None:
    plan = unmeasured_plan(ablation(), tmp_path)
    lease = take_lease(StudyFolder(plan.directory).leases, "sweep")
    assert lease is not None
    with lease, pytest.raises(ValueError, match=r"is being run by process \d+; wait for it, or stop it"):
        write_plan(plan, anew=True)


def test_two_processes_that_begin_one_study_end_up_with_one_plan(tmp_path: Path, measured: list[str]) -> None:
    one = plan_study(ablation(), directory=tmp_path, population=1)
    two = plan_study(ablation(seeds=3), directory=tmp_path, population=4)
    first, second = write_plan(one), write_plan(two)
    assert second.run_groups[: len(first.run_groups)] == first.run_groups
    assert read_plan(first.directory).run_groups == second.run_groups


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workers": 0}, "`workers` must be an integer of at least 1, but got 0"),
        ({"workers": "two"}, "`workers` must be an integer of at least 1, but got 'two'"),
        ({"population": -1}, "`population` must be an integer of at least 1, but got -1"),
        ({"device": "tpu"}, "`device` must be auto, cpu, cuda or cuda:<number>, but got 'tpu'"),
        ({"device": "cuda:x"}, "`device` must be auto, cpu, cuda or cuda:<number>, but got 'cuda:x'"),
        ({"device": "cuda:99"}, "`device` is cuda:99, but torch sees"),
    ],
)
def test_arguments_out_of_range_are_named(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan_study(ablation(), directory=tmp_path, **arguments)
    assert tree(tmp_path) == []


def test_a_name_in_place_of_a_study_is_refused_with_what_gives_one(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"`study` must be a Study, but got 'growing'; load_study\('growing'\)"
    ):
        plan_study("growing", directory=tmp_path)  # type: ignore[arg-type]


def test_a_study_stays_on_its_device(
    tmp_path: Path, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    unmeasured_plan(ablation(), tmp_path)
    monkeypatch.setattr("harness.planning.planner.resolve_device", lambda device: device)
    with pytest.raises(ValueError, match="was begun on cpu, whose numbers do not continue on cuda"):
        plan_study(ablation(), directory=tmp_path, device="cuda")
    assert plan_study(ablation(), directory=tmp_path, device="auto").device == "cpu"


def test_a_search_is_counted_in_trials_and_a_tuned_one_in_final_runs_too(tmp_path: Path) -> None:
    assert unmeasured_plan(search(), tmp_path).num_runs == 3 * 2
    tuned = unmeasured_plan(search(name="tuned", tuned=True), tmp_path)
    assert tuned.num_runs == 2 * (3 * 2 + 2)
    assert tuned.seeds == {"search": (0, 1), "final": (2, 3)}


def test_the_units_of_a_trial_follow_from_its_parameters(tmp_path: Path) -> None:
    plan = unmeasured_plan(search(tuned=True), tmp_path)
    arm = plan.arm("sgd")
    groups = trial_groups(plan, arm, 2, {"optimizer.lr": 0.001}, "search")
    assert [group.id for group in groups] == [
        group.id for group in trial_groups(plan, arm, 2, {"optimizer.lr": 0.001}, "search")
    ]
    assert [[run.seed for run in group.runs] for group in groups] == [[0], [1]]
    run = groups[0].runs[0]
    assert run.overrides == {"optimizer.name": "sgd", "optimizer.lr": 0.001}
    assert run.recipe.flat()["generator_optimizer.lr"] == 0.001
    assert (run.arm, run.phase, run.trial) == ("sgd", "search", 2)


def test_a_trial_that_may_be_pruned_is_one_population(tmp_path: Path) -> None:
    study = search(early_terminate={"type": "hyperband", "min_iter": 1})
    plan = unmeasured_plan(study, tmp_path)
    groups = trial_groups(plan, plan.arms[0], 0, {"optimizer.lr": 0.001}, "search")
    assert [len(group.runs) for group in groups] == [2]


def test_a_metric_of_another_kind_of_data_is_refused(tmp_path: Path) -> None:
    study = Study.from_json({"recipe": "ring-gan", "seeds": 1, "metric": {"name": "frechet"}})
    with pytest.raises(ValueError, match=r"`metric.name` frechet is a score of images, but `data.name` ring"):
        plan_study(study, directory=tmp_path)


@pytest.mark.parametrize(
    ("recipe", "metric", "message"),
    [
        ("digits-gan", "stacked_modes", "is no score of `data.name` digits; take one of sharpness, "),
        ("digits-gan", "label_accuracy", "needs networks that are told a class"),
        ("digits-gan", "ms_ssim", "is no score of `data.name` digits"),
    ],
)
def test_a_metric_that_the_runs_would_never_have_is_refused(
    tmp_path: Path, recipe: str, metric: str, message: str
) -> None:
    study = Study.from_json({"recipe": recipe, "seeds": 1, "metric": {"name": metric}})
    with pytest.raises(ValueError, match=f"`metric.name` {metric} {message}"):
        plan_study(study, directory=tmp_path)


def test_a_metric_that_needs_more_samples_than_an_evaluation_has_is_refused_with_the_number(
    tmp_path: Path, measured: list[str]
) -> None:
    few = {
        "recipe": "digits-gan",
        "seeds": 1,
        "metric": {"name": "class_surplus"},
        "parameters": {"evaluate.num_samples": {"value": 100}},
    }
    said = r"of 100 samples \(`evaluate.num_samples`\).*classes need 100; raise `evaluate.num_samples`"
    with pytest.raises(ValueError, match=said) as caught:
        plan_study(Study.from_json(few), directory=tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
    enough = few | {"parameters": {"evaluate.num_samples": {"value": 200}}}
    assert plan_study(Study.from_json(enough), directory=tmp_path).num_runs == 1


def test_a_metric_that_needs_more_held_out_images_than_there_are_is_refused_with_their_number(
    tmp_path: Path, measured: list[str]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (400, 64, 64, 3), dtype=np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    study = Study.from_json(
        {
            "recipe": "faces-dcgan64",
            "seeds": 1,
            "metric": {"name": "frechet"},
            "parameters": {"data.path": {"value": str(tmp_path)}, "evaluate.num_samples": {"value": 100}},
        }
    )
    with pytest.raises(ValueError, match=r"needs at least 129 held-out images, .* but got 40; mend that"):
        plan_study(study, directory=tmp_path / "runs")


def test_a_goal_against_the_metrics_own_is_said(tmp_path: Path) -> None:
    for goal, said in (("maximize", ["lower is better of sliced_w2"]), ("minimize", [])):
        study = ablation(metric={"name": "sliced_w2", "goal": goal})
        remarks = unmeasured_plan(study, tmp_path / goal).remarks
        assert [part in line for part, line in zip(said, remarks, strict=True)] == [True] * len(said)


def test_a_conditional_recipe_may_be_measured_by_its_labels(tmp_path: Path, measured: list[str]) -> None:
    study = Study.from_json({"recipe": "digits-cgan", "seeds": 1, "metric": {"name": "label_accuracy"}})
    assert plan_study(study, directory=tmp_path).num_runs == 1


def test_a_metric_that_needs_the_clusters_is_refused_on_a_file_of_points(tmp_path: Path) -> None:
    np.save(tmp_path / "cloud.npy", np.random.default_rng(0).normal(size=(600, 2)))
    parameters = {"data.name": {"value": "points-file"}, "data.path": {"value": str(tmp_path / "cloud.npy")}}
    study = Study.from_json(
        {"recipe": "ring-gan", "seeds": 1, "metric": {"name": "modes"}, "parameters": parameters}
    )
    with pytest.raises(ValueError, match="needs to know where the data's clusters lie"):
        plan_study(study, directory=tmp_path / "runs")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda plan: plan.update(version=0), "has version 0"),
        (lambda plan: plan.update(study=[]), "cannot be used by this harness"),
        (lambda plan: plan.pop("arms"), "it lacks 'arms'"),
    ],
)
def test_a_damaged_plan_is_refused_by_sweep_and_report_alike(
    tmp_path: Path, damage: Callable[[dict[str, Any]], object], message: str
) -> None:
    unmeasured_plan(ablation(), tmp_path)
    folder = next(tmp_path.rglob("plan.json")).parent
    values = json.loads((folder / "plan.json").read_text())
    damage(values)
    (folder / "plan.json").write_text(json.dumps(values))
    for read in (read_plan, write_report):
        with pytest.raises(ValueError, match=re.escape(message)) as caught:
            read(folder)
        assert str(caught.value).startswith(str(folder))
        assert "move" in str(caught.value)
    assert not (folder / "report").exists()


def test_damaged_run_groups_are_refused_where_they_are_read(tmp_path: Path) -> None:
    unmeasured_plan(ablation(), tmp_path)
    folder = next(tmp_path.rglob("plan.json")).parent
    values = json.loads((folder / "plan.json").read_text())
    for groups in (3, [{"id": "0" * 12}], [{"id": "0" * 12, "runs": [{"arm": "none", "seed": 0}]}]):
        (folder / "plan.json").write_text(json.dumps(values | {"run_groups": groups}))
        with pytest.raises(ValueError, match="cannot be used by this harness"):
            read_plan(folder)
