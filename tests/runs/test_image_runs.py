"""What runs on images leave behind: grids, films, neighbours, and scores that failed."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from harness import RunResult, train
from harness.analysis.load import read_results
from harness.data import load_dataset
from harness.engine.population import Population
from harness.engine.schedule import log_spaced_steps
from harness.engine.trainer import Trainer
from harness.figures import shown_classes
from harness.figures.grids import read_grid
from harness.files import write_json
from harness.metrics.evaluator import Evaluator
from harness.metrics.scores import Scores
from harness.recipe import choose
from harness.recipe.registry import datasets
from harness.runs import recording
from harness.runs.examining import Examiner
from harness.runs.folder import load_result, run_directory
from harness.runs.frames import frames_of
from harness.runs.job import Interrupted
from harness.runs.nearest import nearest_images
from harness.runs.result import score
from harness.tracking import read_history, read_images
from support.image_recipes import small
from support.populations import fit, runs_of, stop_at
from support.wandb_reader import read_run

TOTAL = 16
EVALUATIONS = (0, 8, 16)
FRAMES = tuple(sorted({*EVALUATIONS, *log_spaced_steps(TOTAL, 6)}))


def samples(directory: Path, result: RunResult) -> Path:
    return run_directory(directory, result.run_id) / "samples"


def shown(directory: Path, result: RunResult) -> list[tuple[str, int]]:
    """Series and step of every image in the history, in order."""
    return [
        (k, step) for k, _, step in read_images(run_directory(directory, result.run_id) / "history.jsonl")
    ]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunResult]:
    """A finished run; not to be changed."""
    directory = tmp_path_factory.mktemp("done")
    return directory, train(small(), seed=3, directory=directory, wandb="disabled")


def test_a_run_on_images_leaves_grids_films_and_neighbours(done: tuple[Path, RunResult]) -> None:
    directory, result = done
    assert result.outcome == "completed"
    assert sorted(path.name for path in samples(directory, result).iterdir()) == [
        "filmstrip.png",
        "neighbours.png",
        "real.png",
        "real_beside_fake.png",
        "run.gif",
        *(f"step_{step:08d}.png" for step in FRAMES),
    ]


def test_every_picture_is_in_the_history_once_at_its_step(done: tuple[Path, RunResult]) -> None:
    assert shown(*done) == [
        ("samples/real", 0),
        *(("samples/grid", step) for step in FRAMES),
        ("samples/real_beside_fake", TOTAL),
        ("samples/neighbours", TOTAL),
        ("samples/filmstrip", TOTAL),
        ("samples/film", TOTAL),
    ]


def test_the_grids_hold_the_same_latents_at_every_step(done: tuple[Path, RunResult]) -> None:
    from harness.runs.load import load_run
    from harness.runs.sampling import sample

    directory, result = done
    run = load_run(run_directory(directory, result.run_id))
    grids = {step: read_grid(samples(directory, result) / f"step_{step:08d}.png") for step in FRAMES}
    assert {grid.shape for grid in grids.values()} == {(64, 1, 8, 8)}
    assert not np.array_equal(grids[0], grids[TOTAL])
    from harness.seeding import generator_for

    drawn = generator_for(3, "evaluation", 0, torch.device("cpu"))
    latents = torch.randn(100, run.latent_dim, generator=drawn)[:64]
    made = sample(run.generator, latents)
    expected = ((made + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()
    assert np.abs(grids[TOTAL].astype(int) - expected.astype(int)).max() <= 1


def test_the_film_goes_from_the_first_frame_to_the_last(done: tuple[Path, RunResult]) -> None:
    with Image.open(samples(*done) / "run.gif") as film:
        assert film.n_frames == len(FRAMES)
    strip = read_grid(samples(*done) / "filmstrip.png")
    first = read_grid(samples(*done) / "step_00000000.png")
    assert strip.shape == (8 * len(FRAMES), 1, 8, 8)
    assert np.array_equal(strip[:8], first[:8])


def test_real_images_are_training_images(done: tuple[Path, RunResult]) -> None:
    real = read_grid(samples(*done) / "real.png")
    assert real.shape == (64, 1, 8, 8)
    dataset = load_dataset(small().data)
    assert nearest_images(real, dataset.train, num=1).distances.max() == 0


def test_a_run_on_images_has_the_scores_of_images(done: tuple[Path, RunResult]) -> None:
    directory, result = done
    names = Evaluator(load_dataset(small().data)).names
    expected = {name for name in names if name != "label_accuracy"}
    untold = {"class_recall_clear", "class_surplus"}
    assert expected - untold == set(result.scores)
    assert result.failed_scores.keys() == untold  # a young generator's images are of no clear class
    assert all(failure["too_few"] and failure["at_end"] for failure in result.failed_scores.values())
    rows = read_history(run_directory(directory, result.run_id) / "history.jsonl")
    assert [row["train/step"] for row in rows if "eval/frechet" in row] == list(EVALUATIONS)


def test_grids_of_a_conditional_generator_have_a_column_a_class(tmp_path: Path) -> None:
    (result,) = fit(tmp_path, runs_of(small("digits-cgan")), metric="frechet")
    for name in ("real.png", f"step_{TOTAL:08d}.png"):
        with Image.open(samples(tmp_path, result) / name) as file:
            arms = np.array(json.loads(file.info["layout"])["cells"])
        assert arms.shape == (10, 10)
        if name.startswith("step"):
            assert (arms % 10 == np.arange(10)).all()
    dataset = load_dataset(small("digits-cgan").data)
    assert dataset.train_labels is not None
    found = nearest_images(read_grid(samples(tmp_path, result) / "real.png"), dataset.train, num=1)
    labels = dataset.train_labels[torch.from_numpy(found.indices[:, 0])]
    assert labels.tolist() == [number // 10 for number in range(100)]
    folder = samples(tmp_path, result)
    with Image.open(folder / "real_beside_fake.png") as beside, Image.open(folder / "real.png") as real:
        assert beside.width == 2 * real.width + 20
    assert 0 <= result.scores["label_accuracy"]["last"] <= 1


def test_of_a_thousand_classes_no_more_images_are_made_than_are_shown(tmp_path: Path) -> None:
    digits = choose(datasets, "stacked-mnist", source="digits", size=8, num_samples=1000)
    frames = frames_of(load_dataset(digits))

    def population(*, takes_labels: bool, num: int = 10_000) -> Any:
        recipe = SimpleNamespace(evaluate=SimpleNamespace(num_samples=num))
        return SimpleNamespace(generator=SimpleNamespace(takes_labels=takes_labels), recipe=recipe)

    assert frames.shown(population(takes_labels=False)) == list(range(64))
    assert len(frames.shown(population(takes_labels=True, num=100)) or []) == 20
    wanted = frames.shown(population(takes_labels=True))
    assert wanted is not None
    labels = torch.tensor(wanted) % 1000
    assert [*map(int, labels[:20])] == shown_classes(1000)
    images = torch.arange(200.0).view(1, 200, 1, 1, 1).expand(-1, -1, 3, 8, 8) / 200
    (frame,) = frames.look(population(takes_labels=True), images, labels)
    frame.draw(tmp_path / "grid.png", title="")
    frames.opening(frame, tmp_path)
    for name in ("grid.png", "real.png"):
        with Image.open(tmp_path / name) as file:
            assert len(json.loads(file.info["layout"])["cells"][0]) == 20
    assert len(read_grid(tmp_path / "grid.png")) == 200


@pytest.mark.parametrize("step", [0, 2, 8, 16])
def test_a_stopped_and_resumed_run_leaves_the_same_pictures(tmp_path: Path, step: int) -> None:
    (calm,) = fit(tmp_path / "calm", runs_of(small()), metric="frechet")
    with pytest.raises(Interrupted):
        fit(tmp_path / "stopped", runs_of(small()), metric="frechet", **stop_at(step))
    assert read_results(tmp_path / "stopped") == []
    (resumed,) = fit(tmp_path / "stopped", runs_of(small()), metric="frechet")
    assert resumed.scores == calm.scores
    assert shown(tmp_path / "stopped", resumed) == shown(tmp_path / "calm", calm)
    folders = [samples(tmp_path / "calm", calm), samples(tmp_path / "stopped", resumed)]
    names = [sorted(path.name for path in folder.iterdir()) for folder in folders]
    assert names[0] == names[1]
    for name in names[0]:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


def test_what_was_drawn_after_the_checkpoint_is_not_drawn_twice(tmp_path: Path) -> None:
    # Killed after it had evaluated and drawn step 8, with a checkpoint of step 8 from just before.
    (calm,) = fit(tmp_path / "calm", runs_of(small()), metric="frechet")
    with pytest.raises(Interrupted):
        fit(tmp_path / "killed", runs_of(small()), metric="frechet", **stop_at(8))
    group = tmp_path / "killed" / "populations" / "group.pt"
    before = group.read_bytes()
    with pytest.raises(Interrupted):
        fit(tmp_path / "killed", runs_of(small()), metric="frechet", **stop_at(8))
    group.write_bytes(before)
    folder = run_directory(tmp_path / "killed", calm.run_id)
    rows = read_history(folder / "history.jsonl")
    assert "eval/frechet" in rows[-1]
    (resumed,) = fit(tmp_path / "killed", runs_of(small()), metric="frechet")
    assert resumed.scores == calm.scores
    again = [row for row in read_history(folder / "history.jsonl") if row["train/step"] <= 8]
    assert [row["train/step"] for row in again] == [row["train/step"] for row in rows]
    assert shown(tmp_path / "killed", resumed) == shown(tmp_path / "calm", calm)


def test_d_is_asked_about_held_out_images_in_the_evaluators_order_not_in_the_files(tmp_path: Path) -> None:
    # Files may list one class after the other, and D would be asked about the first class alone.
    dataset = load_dataset(small().data)
    evaluator = Evaluator(dataset)
    trainer = Trainer(Population([small()], [0], dataset=dataset), dataset)
    seen = Examiner(trainer, dataset, evaluator).examine()
    rows = evaluator.held_out_rows[:100]
    assert not torch.equal(rows, torch.arange(len(rows)))
    assert torch.equal(seen.real_scores, trainer.population.discriminate(dataset.test[rows]))


def test_a_diverged_run_keeps_its_last_grid_and_has_a_film(tmp_path: Path) -> None:
    wild = small(optimizer__name="sgd", optimizer__lr=1e30)
    (result,) = fit(tmp_path, runs_of(wild), metric="frechet")
    assert result.outcome == "diverged"
    names = {path.name for path in samples(tmp_path, result).iterdir()}
    assert {"step_00000000.png", "real.png", "run.gif", "filmstrip.png"} <= names
    assert "neighbours.png" not in names


def test_images_that_are_not_finite_are_a_divergence_between_evaluations_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate = Population.generate

    def spoilt(self: Any, latents: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        made = generate(self, latents, labels)
        if latents.shape[1] < 200:  # not at an evaluation
            made[0, 0] = torch.nan
        return made

    monkeypatch.setattr(Population, "generate", spoilt)
    first, second = fit(tmp_path, runs_of(small(evaluate__num_samples=200), seeds=(0, 1)), metric="frechet")
    assert (first.outcome, second.outcome) == ("diverged", "diverged")
    assert "samples are not finite (step 1)" in first.reason
    assert "samples are not finite (step 2)" in second.reason


def test_a_score_that_fails_is_counted_with_its_reason_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate = Evaluator.evaluate

    def without_swd(self: Any, *args: Any, **options: Any) -> Scores:
        scores = evaluate(self, *args, **options)
        return Scores({k: v for k, v in scores.items() if k != "swd"}, {"swd": "no patches today."})

    monkeypatch.setattr(Evaluator, "evaluate", without_swd)
    with pytest.raises(Interrupted):
        fit(tmp_path, runs_of(small()), metric="frechet", **stop_at(8))
    (result,) = fit(tmp_path, runs_of(small()), metric="frechet")
    assert result.outcome == "completed"
    assert result.failed_scores == {"swd": {"count": 3, "reason": "no patches today.", "at_end": True}}
    assert "swd" not in result.scores
    assert np.isnan(score(result, "swd"))
    assert load_result(run_directory(tmp_path, result.run_id)) == result


def test_a_run_killed_between_wandbs_end_and_its_result_is_one_run_in_wandb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(path: Path, value: Any) -> None:
        if path.name == "result.json":
            raise Killed
        write_json(path, value)

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr(recording, "write_json", die)
    with pytest.raises(Killed):
        fit(tmp_path, runs_of(small()), metric="frechet", wandb="offline")
    monkeypatch.undo()
    assert read_results(tmp_path) == []
    (result,) = fit(tmp_path, runs_of(small()), metric="frechet", wandb="offline")
    (log,) = (tmp_path / "wandb").glob(f"*run-*/run-*{result.run_id}*.wandb")
    run = read_run(log.parent)
    assert [(key, step) for key, _, step in run.images] == shown(tmp_path, result)
    assert run.summary["outcome"] == "completed"


def test_d_judges_as_many_held_out_images_as_are_generated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[tuple[int, int]] = []
    evaluate = Evaluator.evaluate

    def noted(self: Any, fake: Any, **options: Any) -> Scores:
        sizes.append((len(options["real_scores"]), len(options["fake_scores"])))
        return evaluate(self, fake, **options)

    monkeypatch.setattr(Evaluator, "evaluate", noted)
    fit(tmp_path, runs_of(small(train__epochs=1)), metric="frechet")
    assert set(sizes) == {(100, 100)}
