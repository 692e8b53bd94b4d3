"""Claims about training a run and about being one of a study's workers."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness import RunResult, files, train
from harness.analysis.load import read_results
from harness.engine import checkpoint as checkpoints
from harness.engine import trainer as trainer_module
from harness.engine.population import Population
from harness.engine.trainer import Trainer
from harness.execution.worker import Worker
from harness.leases import take_lease
from harness.metrics.evaluator import Evaluator
from harness.metrics.scores import Scores
from harness.planning.plan import Plan, RunGroup
from harness.planning.planner import plan_study
from harness.recipe import Recipe, find_recipe
from harness.runs import session
from harness.runs.examining import Examiner
from harness.runs.folder import load_result, run_directory
from harness.runs.job import Interrupted, Job, PlannedRun
from harness.runs.result import score
from harness.search.search import Search
from harness.search.storage import open_storage
from harness.study.folder import StudyFolder
from harness.study.study import Study
from harness.tracking import read_history, read_images
from support.populations import DIVERGING, fit, rows_without_seconds, runs_of, stop_at
from support.tiny_studies import ablation, search, tiny_recipe, unmeasured_plan


def work(plan: Plan, **more: Any) -> None:
    Worker(plan.directory, wandb="disabled", **more).work()


def forbid_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("nothing was to be trained")

    monkeypatch.setattr("harness.runs.session.train_population", fail)


def test_a_run_leaves_all_of_its_files(tmp_path: Path) -> None:
    recipe = tiny_recipe()
    result = train(recipe, seed=3, directory=tmp_path / "mine", wandb="disabled")
    folder = tmp_path / "mine" / "runs" / result.run_id
    assert sorted(path.name for path in folder.iterdir()) == [
        "best.pt",
        "checkpoint.pt",
        "history.jsonl",
        "recipe.json",
        "result.json",
        "samples",
    ]
    frames = sorted(path.name for path in (folder / "samples").iterdir())
    assert frames == ["final.npz", "run.gif", *(f"step_{step:08d}.png" for step in (0, 13, 26, 39))]
    assert Recipe.from_json(json.loads((folder / "recipe.json").read_text())) == recipe
    assert load_result(folder) == result
    assert list((tmp_path / "mine" / "populations").iterdir()) == []
    assert list((tmp_path / "mine" / "leases").iterdir()) == []


def test_a_result_says_what_was_run_where_and_what_it_cost(tmp_path: Path) -> None:
    recipe = tiny_recipe(train__discriminator_steps=2)
    result = train(recipe, seed=3, directory=tmp_path / "mine", wandb="disabled")
    assert (result.study, result.arm, result.seed, result.outcome) == ("mine", "ring-gan", 3, "completed")
    assert result.recipe == recipe.fingerprint
    assert result.ledger["discriminator_steps"] == 38
    assert result.ledger["generator_steps"] == 19
    assert result.ledger["seen_images"] == 38 * 512
    assert result.ledger["elapsed_sec"] > 0
    assert result.ledger["diagnostics_sec"] > 0
    expected = {"harness", "git_commit", "python", "torch", "device", "device_name", "num_threads"}
    assert expected <= set(result.environment)
    assert set(result.scores["w2"]) == {"first", "last", "best", "area"}


def test_runs_multiply_as_was_measured_and_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for pays in (True, False):
        monkeypatch.setattr("harness.execution.single.onednn_pays", lambda pays=pays: bool(pays))
        alone = train(tiny_recipe(), directory=tmp_path / f"alone {pays}", wandb="disabled")
        plan = unmeasured_plan(ablation(), tmp_path / f"study {pays}", onednn=pays)
        work(plan)
        runs = [load_result(run_directory(plan.directory, run.run_id)) for run in plan.runs]
        for result in (alone, *runs):
            assert result is not None
            assert result.environment.get("products") == ("oneDNN" if pays else None)


def test_the_history_holds_every_evaluation_and_its_picture(tmp_path: Path) -> None:
    result = train(tiny_recipe(), directory=tmp_path, wandb="disabled")
    path = run_directory(tmp_path, result.run_id) / "history.jsonl"
    rows = read_history(path)
    evaluations = {row["train/step"]: row["eval/sliced_w2"] for row in rows if "eval/sliced_w2" in row}
    assert list(evaluations) == [0, 13, 26, 39]
    assert evaluations[0] == result.scores["sliced_w2"]["first"]
    assert evaluations[39] == result.scores["sliced_w2"]["last"]
    assert any("train/d_loss" in row for row in rows)
    assert all(row["ledger/seen_images"] == 512 * row["train/step"] for row in rows)
    images = read_images(path)
    assert [(key, step) for key, _, step in images] == [("samples/scatter", s) for s in (0, 13, 26, 39)]
    assert all(image.is_file() for _, image, _ in images)


def test_a_finished_run_is_handed_back_and_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(tiny_recipe(), directory=tmp_path, wandb="disabled")
    forbid_training(monkeypatch)
    assert train(tiny_recipe(), directory=tmp_path, wandb="disabled") == first


def points_recipe(path: Path, *, first: int = 0) -> Recipe:
    """The tiny GAN on a file of 200 points, written anew."""
    np.save(path, np.random.RandomState(first).normal(size=(200, 2)))
    return tiny_recipe(data__name="points-file", data__path=str(path), train__batch_size=100)


def test_a_finished_run_is_not_handed_back_for_other_data(tmp_path: Path) -> None:
    recipe = points_recipe(tmp_path / "points.npy")
    first = train(recipe, directory=tmp_path, wandb="disabled")
    before = first.environment["data"]
    folder = run_directory(tmp_path, first.run_id)
    assert points_recipe(tmp_path / "points.npy", first=1) == recipe
    told = f"{first.run_id} was trained on other data: `data.name` points-file had the fingerprint {before}"
    with pytest.raises(ValueError, match=re.escape(told)) as caught:
        train(recipe, directory=tmp_path, wandb="disabled")
    assert str(caught.value).endswith(f" now; choose another --directory, or remove {folder}.")
    shutil.rmtree(folder)
    assert train(recipe, directory=tmp_path, wandb="disabled").environment["data"] != before


def test_a_finished_run_is_handed_back_where_its_data_are_gone(tmp_path: Path) -> None:
    recipe = points_recipe(tmp_path / "points.npy")
    first = train(recipe, directory=tmp_path, wandb="disabled")
    (tmp_path / "points.npy").unlink()
    assert train(recipe, directory=tmp_path, wandb="disabled") == first
    with pytest.raises(ValueError, match="does not exist; check `data"):
        train(recipe, seed=1, directory=tmp_path, wandb="disabled")


def test_networks_that_want_labels_are_refused_before_an_unlabelled_folder_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.data.images.read_images", None)
    monkeypatch.setattr("harness.data.images.find_images", None)
    settings = {"data.name": "image-folder", "data.path": "faces", "data.size": 28, "data.channels": 1}
    recipe = find_recipe("fashion-cgan").override(settings)
    with pytest.raises(ValueError, match=r"`generator\.name` cgan is class-conditional, but the data has no"):
        train(recipe, directory=tmp_path, wandb="disabled")
    study = Study.from_json(
        {
            "name": "conditional",
            "recipe": "fashion-cgan",
            "metric": {"name": "frechet"},
            "seeds": 1,
            "parameters": {key: {"value": value} for key, value in settings.items()},
            "ablate": {
                "parameters": {"optimizer.name": ["adam", "sgd"]},
                "baseline": {"optimizer.name": "adam"},
            },
        }
    )
    with pytest.raises(ValueError, match=r"`generator\.name` cgan is class-conditional, but the data has no"):
        plan_study(study, directory=tmp_path)


def test_the_networks_of_a_finished_run_can_be_used(tmp_path: Path) -> None:
    from harness.recipe.networks import build_generator

    recipe = tiny_recipe(train__ema=0.9)
    result = train(recipe, directory=tmp_path, wandb="disabled")
    state = checkpoints.load(run_directory(tmp_path, result.run_id) / "checkpoint.pt")
    generator = build_generator(recipe, (2,))
    generator.load_state_dict(state["generator"])
    assert generator(torch.randn(5, recipe.latent_dim)).shape == (5, 2)
    assert set(state["generator_average"]) == set(state["generator"])
    assert state["generator_optimizer"]["step"] == 39
    assert (state["step"], state["seed"]) == (39, 0)


@pytest.mark.parametrize("seed", [-1, 1.5, True])
def test_a_seed_that_is_none_is_named(tmp_path: Path, seed: Any) -> None:
    with pytest.raises(ValueError, match=r"`seed` must be an integer from 0 to 2\*\*63 - 1"):
        train(tiny_recipe(), seed=seed, directory=tmp_path)


def test_a_numpy_seed_is_the_same_run(tmp_path: Path) -> None:
    first = train(tiny_recipe(), seed=1, directory=tmp_path)
    again = train(tiny_recipe(), seed=np.int64(1), directory=tmp_path)
    assert again == first


def test_a_run_is_not_trained_by_two_processes(tmp_path: Path) -> None:
    StudyFolder(tmp_path).make()
    group = RunGroup(runs=(PlannedRun(recipe=tiny_recipe(), seed=0, arm="ring-gan", overrides={}),))
    lease = take_lease(tmp_path / "leases", group.id)
    assert lease is not None
    with lease, pytest.raises(ValueError, match=r"is being trained by process \d+; wait for it"):
        train(tiny_recipe(), directory=tmp_path, wandb="disabled")


def test_a_run_in_a_place_that_cannot_be_written_to_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"cannot write to .*file: "):
        train(tiny_recipe(), directory=tmp_path / "file", wandb="disabled")


@pytest.mark.parametrize(("step", "event"), [(0, 1), (13, 1), (26, 2), (39, 1)])
def test_a_stopped_and_resumed_population_equals_an_undisturbed_one(
    tmp_path: Path, step: int, event: int
) -> None:
    runs = runs_of(tiny_recipe(), seeds=(0, 1))
    calm = fit(tmp_path / "calm", runs)
    with pytest.raises(Interrupted):
        fit(tmp_path / "stopped", runs, **stop_at(step, event=event))
    assert read_results(tmp_path / "stopped") == []
    resumed = fit(tmp_path / "stopped", runs)
    assert [result.scores for result in resumed] == [result.scores for result in calm]
    for run in runs:
        assert rows_without_seconds(tmp_path / "stopped", run) == rows_without_seconds(tmp_path / "calm", run)
        folders = [run_directory(tmp_path / name, run.run_id) for name in ("stopped", "calm")]
        frames = [sorted((folder / "samples").glob("*.png")) for folder in folders]
        assert [f.read_bytes() for f in frames[0]] == [f.read_bytes() for f in frames[1]]
        states = [checkpoints.load(folder / "checkpoint.pt") for folder in folders]
        for name, tensor in states[0]["generator"].items():
            assert torch.equal(tensor, states[1]["generator"][name])


def test_a_stop_does_not_wait_for_the_end_of_a_logging_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = runs_of(tiny_recipe(), seeds=(0, 1))
    calm = fit(tmp_path / "calm", runs)
    monkeypatch.setattr("harness.engine.trainer._LOOK_SEC", 0.0)
    seen: list[int] = []
    questions = itertools.count()
    with pytest.raises(Interrupted):
        fit(
            tmp_path / "stopped",
            runs,
            progress=lambda progress: seen.append(progress.step),
            should_stop=lambda: next(questions) > 5,
        )
    assert seen[-1] not in {row["train/step"] for row in rows_without_seconds(tmp_path / "calm", runs[0])}
    resumed = fit(tmp_path / "stopped", runs)
    assert [result.scores for result in resumed] == [result.scores for result in calm]
    for run in runs:
        assert rows_without_seconds(tmp_path / "stopped", run) == rows_without_seconds(tmp_path / "calm", run)


def test_what_a_killed_writer_left_half_written_is_cleared_away(tmp_path: Path) -> None:
    runs = runs_of(tiny_recipe())
    with pytest.raises(Interrupted):
        fit(tmp_path, runs, **stop_at(13))
    folder = run_directory(tmp_path, runs[0].run_id)
    torn = [
        tmp_path / "populations" / ".group.123.pt",
        folder / ".result.123.json",
        folder / "samples" / ".step_00000026.123.png",
    ]
    for path in torn:
        path.write_bytes(b"half")
    fit(tmp_path, runs)
    assert not any(path.exists() for path in torn)


def test_folders_of_others_beside_a_runs_files_are_left_alone(tmp_path: Path) -> None:
    runs = runs_of(tiny_recipe())
    folder = run_directory(tmp_path, runs[0].run_id)
    for hidden in (folder / ".ipynb_checkpoints", folder / "samples" / ".thumbnails"):
        hidden.mkdir(parents=True)
        (hidden / "file").write_text("")
    (result,) = fit(tmp_path, runs)
    assert result.outcome == "completed"
    assert (folder / ".ipynb_checkpoints" / "file").exists()


def test_an_evaluation_that_fails_altogether_ends_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate = Evaluator.evaluate
    looks = iter(range(100))

    def failing(self: Evaluator, *given: Any, **more: Any) -> Scores:
        if next(looks) == 1:
            raise ValueError("there is no disk\nleft")
        return evaluate(self, *given, **more)

    monkeypatch.setattr(Evaluator, "evaluate", failing)
    result = fit(tmp_path, runs_of(tiny_recipe()))[0]
    assert result.outcome == "completed"
    assert result.failed_scores["sliced_w2"] == {
        "count": 1,
        "reason": "there is no disk left",
        "at_end": False,
    }
    assert len(result.verdict["timeline"]) == 4


def test_seconds_go_on_from_the_checkpoint(tmp_path: Path) -> None:
    runs = runs_of(tiny_recipe())
    with pytest.raises(Interrupted):
        fit(tmp_path, runs, **stop_at(26))
    before = read_history(run_directory(tmp_path, runs[0].run_id) / "history.jsonl")[-1]
    result = fit(tmp_path, runs)[0]
    assert result.ledger["elapsed_sec"] > before["ledger/elapsed_sec"] > 0


def test_a_damaged_checkpoint_costs_time_and_nothing_else(tmp_path: Path) -> None:
    runs = runs_of(tiny_recipe())
    calm = fit(tmp_path / "calm", runs)
    with pytest.raises(Interrupted):
        fit(tmp_path / "hurt", runs, **stop_at(26))
    path = tmp_path / "hurt" / "populations" / "group.pt"
    path.write_bytes(path.read_bytes()[:500])
    assert fit(tmp_path / "hurt", runs)[0].scores == calm[0].scores
    assert rows_without_seconds(tmp_path / "hurt", runs[0]) == rows_without_seconds(
        tmp_path / "calm", runs[0]
    )


def test_a_diverging_run_fails_with_its_reason_and_leaves_its_neighbours_alone(tmp_path: Path) -> None:
    sane = tiny_recipe(optimizer__name="sgd", optimizer__lr=1e-3)
    runs = runs_of(sane, tiny_recipe(**DIVERGING), sane.override({"optimizer.lr": 2e-3}))
    mixed = fit(tmp_path / "mixed", runs)
    assert [result.outcome for result in mixed] == ["completed", "diverged", "completed"]
    assert "not finite" in mixed[1].reason
    assert "step" in mixed[1].reason
    assert score(mixed[1], "sliced_w2", "best") == mixed[1].scores["sliced_w2"]["first"]
    sane_twice = runs_of(sane, sane.override({"optimizer.lr": 1.5e-3}), sane.override({"optimizer.lr": 2e-3}))
    calm = fit(tmp_path / "calm", sane_twice)
    assert [mixed[0].scores, mixed[2].scores] == [calm[0].scores, calm[2].scores]


def test_a_population_that_diverges_as_a_whole_ends(tmp_path: Path) -> None:
    results = fit(tmp_path, runs_of(tiny_recipe(**DIVERGING), seeds=(0, 1)))
    assert [result.outcome for result in results] == ["diverged", "diverged"]
    assert all(result.ledger["discriminator_steps"] < 39 for result in results)


def test_samples_that_are_not_finite_are_a_divergence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate = Population.generate

    def spoilt(self: Any, latents: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        samples = generate(self, latents, labels)
        samples[0, 0] = torch.nan
        return samples

    runs = runs_of(tiny_recipe(), seeds=(0, 1))
    with pytest.raises(Interrupted):
        fit(tmp_path, runs, **stop_at(0))
    monkeypatch.setattr(Population, "generate", spoilt)
    first, second = fit(tmp_path, runs)
    assert (first.outcome, second.outcome) == ("diverged", "diverged")
    assert first.ledger["discriminator_steps"] == 13
    assert second.ledger["discriminator_steps"] == 26


def test_a_run_that_diverged_before_the_kill_stays_as_it_was(tmp_path: Path) -> None:
    sane = tiny_recipe(optimizer__name="sgd", optimizer__lr=1e-3)
    runs = runs_of(sane, tiny_recipe(**DIVERGING))
    with pytest.raises(Interrupted):
        fit(tmp_path, runs, **stop_at(26))
    before = read_results(tmp_path)
    assert [result.outcome for result in before] == ["diverged"]
    after = fit(tmp_path, runs)
    assert after[1] == before[0]
    assert after[0].outcome == "completed"


SHORT = (
    torch.cuda.OutOfMemoryError("CUDA out of memory."),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
)


@pytest.mark.parametrize("error", SHORT)
def test_too_little_memory_halves_the_population_until_it_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    whole = session.Session

    def limited(runs: list[PlannedRun], job: Job) -> session.Session:
        if len(runs) > 1:
            raise error
        return whole(runs, job)

    monkeypatch.setattr(session, "Session", limited)
    results = fit(tmp_path, runs_of(tiny_recipe(), seeds=(0, 1, 2)))
    assert [result.seed for result in results] == [0, 1, 2]
    assert [result.environment["population"] for result in results] == [1, 1, 1]
    assert list((tmp_path / "populations").iterdir()) == []


def test_another_error_halves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> session.Session:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(session, "Session", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        fit(tmp_path, runs_of(tiny_recipe(), seeds=(0, 1)))
    assert list((tmp_path / "populations").iterdir()) == []


def test_what_a_worker_is_doing_costs_no_wait_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = unmeasured_plan(ablation(seeds=1), tmp_path)
    synced: list[str] = []
    sync = files._sync

    def noted(path: Path) -> None:
        synced.append(path.parent.name)
        sync(path)

    monkeypatch.setattr(files, "_sync", noted)
    monkeypatch.setattr("harness.execution.worker._PROGRESS_SEC", 0.0)
    work(plan)
    assert synced
    assert "workers" not in synced


def limit_after(monkeypatch: pytest.MonkeyPatch, step: int, *, most: int) -> list[tuple[int, int]]:
    """Let memory run out at a step of populations of more runs than `most`; (runs, first step) of each."""
    begun: list[tuple[int, int]] = []
    advance = Trainer.advance

    def limited(self: Trainer, iterations: int, *more: Any) -> int:
        num_runs = len(self.population.recipes)
        if not begun or begun[-1][0] != num_runs or self.step < begun[-1][1]:
            begun.append((num_runs, self.step))
        if num_runs > most and self.step >= step:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return advance(self, iterations, *more)

    monkeypatch.setattr(Trainer, "advance", limited)
    return begun


class Clock:
    """Stands in for the module ``time``."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    perf_counter = monotonic


@pytest.mark.parametrize(("cost_sec", "fewest", "most"), [(0.1, 20, 24), (0.4, 17, 19), (1.5, 4, 5)])
def test_checkpoints_take_a_fiftieth_of_the_training_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cost_sec: float, fewest: int, most: int
) -> None:
    clock, saved = Clock(), []
    iterate, examine, save = Trainer.iterate, Examiner.examine, checkpoints.save

    def timed(self: Trainer, *given: Any, **more: Any) -> None:
        clock.now += 1.0
        iterate(self, *given, **more)

    def examined(self: Examiner) -> Any:
        clock.now += 30.0
        return examine(self)

    def written(path: Path, state: dict[str, Any]) -> None:
        if path.parent.name == "populations":
            saved.append(clock.now)
            clock.now += cost_sec
        save(path, state)

    for module in (session, trainer_module):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(Trainer, "iterate", timed)
    monkeypatch.setattr(Examiner, "examine", examined)
    monkeypatch.setattr(checkpoints, "save", written)
    fit(tmp_path, runs_of(tiny_recipe(train__epochs=30, evaluate__every_epochs=10)))
    assert fewest <= len(saved) <= most
    assert len(saved) * cost_sec <= 0.02 * 390
    assert all(later - earlier >= 20 for earlier, later in itertools.pairwise([0.0, *saved]))


def test_seconds_between_checkpoints_that_were_asked_for_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, saved, save = Clock(), [], checkpoints.save

    def written(path: Path, state: dict[str, Any]) -> None:
        saved.append(path.parent.name)
        clock.now += 60.0
        save(path, state)

    monkeypatch.setattr(session, "time", clock)
    monkeypatch.setattr(checkpoints, "save", written)
    fit(tmp_path, runs_of(tiny_recipe()), checkpoint_sec=0.0)
    assert saved.count("populations") > 4


@pytest.mark.parametrize("most", [2, 1])
def test_halves_go_on_from_where_the_whole_was_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    runs = runs_of(tiny_recipe(train__ema=0.9), seeds=(0, 1, 2, 3))
    undisturbed = fit(tmp_path / "whole", runs)
    begun = limit_after(monkeypatch, 26, most=most)
    results = fit(tmp_path / "halved", runs, checkpoint_sec=0.0)
    assert begun[0] == (4, 0)
    assert {size for size, _ in begun} == {4, 2, most}
    assert all(first >= 26 for size, first in begun if size < 4)
    for run, result, before in zip(runs, results, undisturbed, strict=True):
        assert result.environment["population"] == most
        assert result.ledger["discriminator_steps"] == before.ledger["discriminator_steps"]
        last, expected = (found.scores["sliced_w2"]["last"] for found in (result, before))
        assert last == pytest.approx(expected, rel=1e-3)
        steps = [row["train/step"] for row in rows_without_seconds(tmp_path / "halved", run)]
        assert steps == [row["train/step"] for row in rows_without_seconds(tmp_path / "whole", run)]
    assert list((tmp_path / "halved" / "populations").iterdir()) == []


def test_a_group_whose_worker_was_killed_for_memory_goes_on_in_halves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, checkpoint = runs_of(tiny_recipe(), seeds=(0, 1, 2)), tmp_path / "populations" / "group.pt"
    with pytest.raises(Interrupted):
        fit(tmp_path, runs, **stop_at(13))
    session.halve(checkpoint)
    begun = limit_after(monkeypatch, 0, most=3)
    results = fit(tmp_path, runs)
    assert [size for size, _ in begun] == [1, 2]
    assert all(first >= 13 for _, first in begun)
    assert [result.environment["population"] for result in results] == [1, 2, 2]
    assert list(checkpoint.parent.iterdir()) == []


def test_a_half_without_a_live_run_has_nothing_left_to_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    diverging, sane = tiny_recipe(**DIVERGING), tiny_recipe(optimizer__name="sgd", optimizer__lr=1e-3)
    runs = runs_of(diverging, sane)
    with pytest.raises(Interrupted):
        fit(tmp_path, runs, **stop_at(26))
    before = read_results(tmp_path)
    session.halve(tmp_path / "populations" / "group.pt")
    after = fit(tmp_path, runs)
    assert [result.outcome for result in after] == ["diverged", "completed"]
    assert after[0] == before[0]


def test_a_pruned_population_stops_as_one(tmp_path: Path) -> None:
    asked: list[tuple[int, float]] = []

    def prune(evaluation: int, value: float) -> bool:
        asked.append((evaluation, value))
        return evaluation == 2

    results = fit(tmp_path, runs_of(tiny_recipe(), seeds=(0, 1)), prune=prune)
    assert [result.outcome for result in results] == ["stopped", "stopped"]
    assert [evaluation for evaluation, _ in asked] == [1, 2]
    assert asked[1][1] == pytest.approx(sum(r.scores["sliced_w2"]["last"] for r in results) / 2)
    assert all(result.ledger["discriminator_steps"] == 26 for result in results)


def test_a_failed_run_counts_as_untrained_when_its_trial_is_judged(tmp_path: Path) -> None:
    asked: list[float] = []

    def prune(_: int, value: float) -> bool:
        asked.append(value)
        return False

    sane = tiny_recipe(optimizer__name="sgd", optimizer__lr=1e-3)
    results = fit(tmp_path, runs_of(sane, tiny_recipe(**DIVERGING)), prune=prune)
    rows = read_history(run_directory(tmp_path, results[0].run_id) / "history.jsonl")
    curve = [row["eval/sliced_w2"] for row in rows if "eval/sliced_w2" in row]
    untrained = results[1].scores["sliced_w2"]["first"]
    assert asked == [pytest.approx((value + untrained) / 2) for value in curve[1:-1]]


def test_a_worker_trains_every_run_of_an_ablation(tmp_path: Path) -> None:
    plan = unmeasured_plan(ablation(), tmp_path, population=2)
    work(plan)
    results = read_results(plan.directory)
    assert [(r.arm, r.seed, r.phase, r.trial) for r in results] == [
        (arm, seed, "ablate", None) for arm in ("adam", "sgd") for seed in (0, 1)
    ]
    assert {r.run_id for r in results} == {run.run_id for run in plan.runs}
    assert list((plan.directory / "leases").glob("*.json")) == []
    assert list((plan.directory / "workers").iterdir()) == []


def test_a_second_worker_finds_nothing_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = unmeasured_plan(ablation(), tmp_path)
    work(plan)
    forbid_training(monkeypatch)
    work(plan)


def test_a_unit_in_other_hands_is_left_alone(tmp_path: Path) -> None:
    plan = unmeasured_plan(ablation(), tmp_path)
    lease = take_lease(plan.directory / "leases", plan.run_groups[0].id)
    assert lease is not None
    waited: list[bool] = []

    def give_up() -> bool:
        done = len(list((plan.directory / "runs").glob("*/result.json"))) == 3
        waited.append(done)
        return done

    with lease, pytest.raises(Interrupted):
        work(plan, should_stop=give_up)
    done = {result.run_id for result in read_results(plan.directory)}
    assert done == {run.run_id for group in plan.run_groups[1:] for run in group.runs}


def test_a_worker_trains_only_seeds_that_are_still_asked_for(tmp_path: Path) -> None:
    unmeasured_plan(ablation(seeds=3), tmp_path)
    plan = unmeasured_plan(ablation(seeds=1), tmp_path)
    work(plan)
    assert [(r.arm, r.seed) for r in read_results(plan.directory)] == [("adam", 0), ("sgd", 0)]


def search_of(plan: Plan, arm: int = 0) -> Search:
    return Search(open_storage(plan.directory), plan.study, plan.arms[arm].asked, plan.directory)


def test_a_search_trains_each_trial_with_all_seeds_and_tells_the_mean(tmp_path: Path) -> None:
    plan = unmeasured_plan(search(), tmp_path)
    work(plan)
    trials = search_of(plan).trials()
    results = read_results(plan.directory)
    assert [trial.state for trial in trials] == ["complete"] * 3
    for trial in trials:
        mine = [r for r in results if r.trial == trial.number]
        assert [r.seed for r in mine] == [0, 1]
        assert all(r.overrides["optimizer.lr"] == trial.parameters["optimizer.lr"] for r in mine)
        assert trial.value == pytest.approx(sum(score(r, "sliced_w2") for r in mine) / 2)


def test_a_resumed_search_repeats_no_trial_and_tries_what_an_undisturbed_one_would(tmp_path: Path) -> None:
    calm = unmeasured_plan(search(), tmp_path / "calm")
    work(calm)
    plan = unmeasured_plan(search(), tmp_path / "stopped")
    runs = plan.directory / "runs"
    with pytest.raises(Interrupted):
        work(plan, should_stop=lambda: len(list(runs.glob("*/result.json"))) >= 3)
    early = {path: path.stat().st_mtime_ns for path in runs.glob("*/result.json")}
    work(plan)
    assert {path: path.stat().st_mtime_ns for path in early} == early
    assert search_of(plan).trials() == search_of(calm).trials()


def test_a_search_with_more_trials_keeps_the_ones_it_has(tmp_path: Path) -> None:
    plan = unmeasured_plan(search(run_cap=1), tmp_path)
    work(plan)
    first = search_of(plan).trials()
    more = unmeasured_plan(search(run_cap=2), tmp_path)
    work(more)
    trials = search_of(more).trials()
    assert len(trials) == 2
    assert trials[:1] == first


def test_failed_runs_count_as_untrained_in_a_trials_value(tmp_path: Path) -> None:
    parameters = {
        "train.epochs": {"value": 3},
        "train.batch_size": {"value": 512},
        "evaluate.num_samples": {"value": 100},
        "optimizer.name": {"value": "sgd"},
        "optimizer.lr": {"min": 1e29, "max": 1e30},
    }
    plan = unmeasured_plan(search(run_cap=1, parameters=parameters), tmp_path)
    work(plan)
    results = read_results(plan.directory)
    assert all(result.failed for result in results)
    (trial,) = search_of(plan).trials()
    assert trial.state == "complete"
    assert trial.value == pytest.approx(sum(r.scores["sliced_w2"]["first"] for r in results) / 2)


def test_a_search_that_prunes_stops_hopeless_trials_and_still_finds_a_best(tmp_path: Path) -> None:
    study = search(run_cap=6, early_terminate={"type": "hyperband", "min_iter": 1, "eta": 2})
    plan = unmeasured_plan(study, tmp_path)
    work(plan)
    trials = search_of(plan).trials()
    results = read_results(plan.directory)
    assert {trial.state for trial in trials} == {"complete", "pruned"}
    for trial in trials:
        outcomes = {r.outcome for r in results if r.trial == trial.number}
        assert outcomes == {"stopped" if trial.state == "pruned" else "completed"}
    best = search_of(plan).best()
    assert best is not None
    assert best.state == "complete"


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A tuned ablation, done."""
    plan = unmeasured_plan(search(tuned=True), tmp_path_factory.mktemp("tuned"))
    work(plan)
    return plan


def test_a_tuned_ablation_gives_every_arm_the_same_budget(tuned: Plan) -> None:
    counts = {arm: len(search_of(tuned, arm).trials()) for arm in (0, 1)}
    assert counts == {0: 3, 1: 3}
    searched = [r.arm for r in read_results(tuned.directory) if r.phase == "search"]
    assert searched == ["adam"] * 6 + ["sgd"] * 6


def test_a_tuned_ablation_trains_each_arms_best_anew_with_fresh_seeds(tuned: Plan) -> None:
    results = read_results(tuned.directory)
    final = [r for r in results if r.phase == "final"]
    assert [(r.arm, r.seed) for r in final] == [("adam", 2), ("adam", 3), ("sgd", 2), ("sgd", 3)]
    for index, arm in enumerate(tuned.arms):
        best = search_of(tuned, index).best()
        assert best is not None
        mine = [r for r in final if r.arm == arm.name]
        assert {r.trial for r in mine} == {best.number}
        assert {r.overrides["optimizer.lr"] for r in mine} == {best.parameters["optimizer.lr"]}
    assert not {r.seed for r in final} & {r.seed for r in results if r.phase == "search"}


def test_the_final_runs_of_a_beaten_trial_are_no_longer_counted(tuned: Plan, tmp_path: Path) -> None:
    copy = tmp_path / "tuned"
    shutil.copytree(tuned.directory, copy)
    winners = json.loads((copy / "winners.json").read_text())
    (copy / "winners.json").write_text(json.dumps(winners | {"adam": {"trial": 99, "value": 0.0}}))
    final = [r.arm for r in read_results(copy) if r.phase == "final"]
    assert final == ["sgd", "sgd"]


def test_two_workers_at_once_train_each_run_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The second worker takes a group of its own while the first holds its lease.
    plan = unmeasured_plan(ablation(), tmp_path)
    trained: list[str] = []
    nested = [False]
    whole = session.train_population

    def noted(runs: list[PlannedRun], job: Job) -> list[RunResult]:
        trained.extend(run.run_id for run in runs)
        if not nested[0]:
            nested[0] = True
            with pytest.raises(Interrupted):
                work(plan, index=1, should_stop=lambda: any(plan.directory.glob("runs/*/result.json")))
            nested[0] = False
        return whole(runs, job)

    monkeypatch.setattr("harness.runs.session.train_population", noted)
    work(plan)
    assert sorted(trained) == sorted(run.run_id for run in plan.runs)


def test_a_worker_says_what_it_is_doing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.execution.worker._PROGRESS_SEC", 0.0)
    plan = unmeasured_plan(ablation(seeds=1), tmp_path)
    seen: list[Any] = []

    def look() -> bool:
        for path in (plan.directory / "workers").glob("*.json"):
            seen.append(json.loads(path.read_text()))
        return False

    work(plan, should_stop=look)
    assert {entry["label"] for entry in seen} == {"adam seed 0", "sgd seed 0"}
    assert any(entry.get("total_steps") == 39 for entry in seen)
