"""Growing by a schedule: where a run stands, what it computes there, and that it goes on from anywhere."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gan_sweep_models.progan import fade
from harness.data import Dataset, load_dataset
from harness.engine import checkpoint, measure
from harness.engine.events import Logged
from harness.engine.growth import Growth, GrowthState, growth_of
from harness.engine.population import Population
from harness.engine.trainer import Trainer
from harness.recipe import Recipe, TrainSettings, find_recipe
from harness.recipe.networks import build_generator, check_networks, layer_table
from harness.runs.folder import run_directory
from harness.runs.job import Interrupted, Job, PlannedRun
from harness.runs.session import train_population
from harness.study.target import Target
from harness.tracking import read_history
from support.populations import plain_networks

BATCH, PHASE = 16, 48  # three steps a phase
SIZE = 16
LEVELS = 3


def recipe(**changes: object) -> Recipe:
    """A narrow pair on digits; twelve steps until it is grown, and three epochs of 89."""
    settings: dict[str, object] = {
        "generator.base_channels": 32,
        "generator.max_channels": 6,
        "discriminator.base_channels": 32,
        "discriminator.max_channels": 6,
        "train.batch_size": BATCH,
        "train.epochs": 3,
        "train.grow_images": PHASE,
        "evaluate.num_grids": 0,
    }
    changed = {key.replace("__", "."): value for key, value in changes.items()}
    return find_recipe("progan-digits16").override(settings | changed)


def data() -> Dataset:
    return load_dataset(recipe().data)


def trainer(*variants: Recipe, seeds: tuple[int, ...] = (0,)) -> Trainer:
    chosen = variants or (recipe(),) * len(seeds)
    return Trainer(Population(chosen, seeds, dataset=data()), data())


def stand(found: Trainer) -> tuple[int, bool, float]:
    """Level, whether it fades, and α, as G and D have them, and all of their rows."""
    seen = set()
    for network in (found.population.generator, found.population.discriminator):
        module: Any = network.module
        for lod in network.buffers["lod"].tolist():
            seen.add((module.level, module.fading, round(module.num_levels - module.level - lod, 5)))
    (only,) = seen
    return only


def everything(found: Trainer) -> list[Tensor]:
    state = found.population.state_dict()
    optimizers = [state[f"{name}_optimizer"]["buffers"] for name in ("generator", "discriminator")]
    networks = [state[name] for name in ("generator", "discriminator")]
    parts = [network["parameters"] for network in networks] + [
        network["buffers"]["lod"] for network in networks
    ]
    return [*parts, *(buffer for buffers in optimizers for buffer in buffers.values()), state["average"]]


# The schedule


def test_levels_are_faded_in_and_kept_for_as_many_images() -> None:
    growth = Growth(num_levels=3, phase_images=100)
    expected = {0: (0, 1), 99: (0, 1), 100: (1, 0), 125: (1, 0.25), 199: (1, 0.99), 200: (1, 1), 299: (1, 1)}
    expected |= {300: (2, 0), 350: (2, 0.5), 399: (2, 0.99), 400: (2, 1), 10_000: (2, 1)}
    assert {seen: growth.at(seen) for seen in expected} == {
        seen: GrowthState(level=level, alpha=alpha) for seen, (level, alpha) in expected.items()
    }
    assert growth.grown_images == 400


@given(
    num_levels=st.integers(1, 9),
    phase_images=st.integers(1, 500),
    total=st.integers(1, 5000),
    multiple_of=st.integers(1, 200),
)
def test_the_stretches_of_a_run_tile_it_and_each_is_of_one_phase(
    num_levels: int, phase_images: int, total: int, multiple_of: int
) -> None:
    total *= multiple_of
    growth = Growth(num_levels=num_levels, phase_images=phase_images)
    phases = growth.phases(total, multiple_of=multiple_of)
    ends = [start + images for start, images in phases]
    assert [start for start, _ in phases] == [0, *ends[:-1]]
    assert ends[-1] == total
    seen = [{growth.at(start + step).phase for step in range(0, n, multiple_of)} for start, n in phases[:20]]
    assert all(len(phase) == 1 for phase in seen)
    assert all(a != b for a, b in itertools.pairwise(seen))


@given(num_levels=st.integers(1, 9), phase_images=st.integers(1, 500))
def test_a_schedule_only_ever_grows(num_levels: int, phase_images: int) -> None:
    growth = Growth(num_levels=num_levels, phase_images=phase_images)
    stands = [growth.at(seen) for seen in range(0, growth.grown_images + 2, max(1, phase_images // 7))]
    heights = [found.level + found.alpha for found in stands]
    assert heights == sorted(heights)
    assert growth.at(growth.grown_images) == GrowthState(level=num_levels - 1, alpha=1.0)


def test_a_run_that_ends_too_early_is_refused_and_the_remedy_works() -> None:
    train = TrainSettings(batch_size=16, epochs=2, grow_images=1000)
    message = (
        r"`train.grow_images` 1000 takes 4000 images to reach the last of 3 sizes, but the run ends after "
        r"1600; set it to 396 or less, or raise `train.epochs`\."
    )
    with pytest.raises(ValueError, match=message):
        growth_of(train, 3, 100)
    for images, fits in ((396, True), (397, False)):
        if fits:
            growth = growth_of(TrainSettings(batch_size=16, grow_images=images), 3, 100)
            assert growth is not None
            assert growth.at(99 * 16) == GrowthState(level=2, alpha=1.0)  # the last batch is of full size
        else:
            with pytest.raises(ValueError, match=r"397 takes 1588"):
                growth_of(TrainSettings(batch_size=16, grow_images=images), 3, 100)
    with pytest.raises(ValueError, match=r"but the run ends after 16; raise `train.epochs`\."):
        growth_of(TrainSettings(batch_size=16, grow_images=1), 3, 1)
    assert growth_of(TrainSettings(), 3, 1) is None


def test_a_trainer_refuses_a_run_that_ends_too_early() -> None:
    with pytest.raises(ValueError, match=r"`train.grow_images` 9000 takes 36000 images"):
        trainer(recipe(train__grow_images=9000))


@pytest.mark.parametrize("section", ["generator", "discriminator"])
def test_a_network_that_cannot_grow_is_refused(section: str) -> None:
    other = recipe().override({f"{section}.name": "dcgan-64"})
    with pytest.raises(
        ValueError, match=rf"`train.grow_images` is 48, but `{section}.name` dcgan-64 does not"
    ):
        check_networks(other, (1, 64, 64), 10)
    check_networks(recipe(), (1, SIZE, SIZE), 10)


def test_runs_from_before_there_was_growth_keep_their_ids() -> None:
    old = find_recipe("points-gan")
    assert old.fingerprint == "7a34fc8b33d5396b"
    nested = old.to_json()
    del nested["train"]["grow_images"]
    assert Recipe.from_json(nested) == old
    prints = {recipe(train__grow_images=images).fingerprint for images in (0, 48, 49)}
    assert len(prints) == 3


# Training


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_all_runs_stand_where_the_images_seen_say(seeds: tuple[int, ...]) -> None:
    found = trainer(seeds=seeds)
    stands = [stand(found)]
    for _ in range(14):
        found.advance(1)
        stands.append(stand(found))
    fading = [(True, 0.0), (True, 0.33333), (True, 0.66667)]
    kept = [(False, 1.0)] * 3
    assert stands == [
        *((0, *now) for now in kept),
        *((1, *now) for now in fading + kept),
        *((2, *now) for now in fading + kept),
    ]


def test_iterations_longer_than_a_phase_pass_over_levels() -> None:
    found = trainer(recipe(train__grow_images=5, train__discriminator_steps=2))
    found.advance(1)
    assert stand(found) == (2, False, 1.0)
    assert found.stretches() == [(0, 2), (2, found.total_steps - 2)]


def test_images_do_not_jump_where_a_level_begins_or_ends_to_fade() -> None:
    found = trainer()
    latents = found.fixed_latents(0, 8)[None]
    found.go_to(3)  # level 1 at α = 0
    began = found.population.generate(latents)
    found.go_to(2)
    torch.testing.assert_close(began, found.population.generate(latents))
    found.population.grow(GrowthState(level=1, alpha=1 - 1e-6))
    ending = found.population.generate(latents)
    found.go_to(6)
    torch.testing.assert_close(ending, found.population.generate(latents), rtol=1e-4, atol=1e-5)


def test_the_critic_is_shown_real_images_as_faded_as_generated_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    found = trainer()
    found.go_to(5)  # level 1 at α = 2/3
    shown: list[Tensor] = []
    critic = found.population.discriminator
    record = critic.record

    def spy(inputs: Tensor, *rest: Any, **options: Any) -> Any:
        shown.append(inputs.clone())
        return record(inputs, *rest, **options)

    monkeypatch.setattr(critic, "record", spy)
    real = found.input(5).real[0]
    found.advance(1)
    torch.testing.assert_close(shown[0], fade(real, num_levels=LEVELS, level=1, alpha=2 / 3))
    assert not torch.allclose(shown[0], real)


def test_optimisers_start_anew_with_every_phase_and_only_then() -> None:
    found = trainer()
    counts = []
    for _ in range(14):
        found.advance(1)
        states = [found.population.generator_optimizer, found.population.discriminator_optimizer]
        assert states[0].step == states[1].step
        counts.append(states[0].step)
        if not states[0].step:
            assert not any(buffer.any() for state in states for buffer in state.buffers.values())
    assert counts == [1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2]


def test_layers_of_levels_to_come_stay_as_they_were_made() -> None:
    found = trainer()
    before = found.population.generator.weights()
    before = {name: weight.clone() for name, weight in before.items()}
    found.advance(2)
    moved = {
        name.split(".")[0]
        for name, weight in found.population.generator.weights().items()
        if not torch.equal(weight, before[name])
    }
    assert moved == {"layer0", "layer1", "output0"}


def test_a_small_size_is_computed_by_few_layers() -> None:
    network: Any = build_generator(find_recipe("progan-fashion32"), (1, 32, 32))
    costs = []
    for level in range(network.num_levels):
        network.grow(level)
        costs.append(sum(row.multiply_adds for row in layer_table(network, torch.zeros(1, 64))))
    assert costs[0] < costs[-1] / 20
    assert all(1.5 * low < high for low, high in itertools.pairwise(costs)), costs


@pytest.mark.parametrize("step", [1, 3, 4, 6, 11, 13])
def test_a_run_goes_on_bit_for_bit_from_any_phase(step: int, tmp_path: Path) -> None:
    whole = trainer(seeds=(0, 1))
    whole.advance(step)
    checkpoint.save(tmp_path / "population.pt", whole.state_dict())
    resumed = trainer(seeds=(0, 1))
    resumed.load_state_dict(checkpoint.load(tmp_path / "population.pt"))
    assert stand(resumed) == stand(whole)
    for found in (whole, resumed):
        found.advance(5)
    assert stand(resumed) == stand(whole)
    for one, other in zip(everything(resumed), everything(whole), strict=True):
        assert torch.equal(one, other)


def test_every_logged_row_says_where_the_networks_stand() -> None:
    found = trainer(seeds=(0, 1))
    found.log_every_steps = 1
    found._schedule = replace(found._schedule, log_every_steps=1)
    events = itertools.takewhile(lambda event: event.step <= 13, found.run())
    rows = [event for event in events if isinstance(event, Logged)]
    sizes = [event.metrics["growth/size"].tolist() for event in rows]
    alphas = [event.metrics["growth/alpha"].tolist() for event in rows]
    at = [Growth(num_levels=LEVELS, phase_images=PHASE).at(BATCH * event.step) for event in rows]
    assert len(rows) == 13
    assert sizes == [[4 << where.level] * 2 for where in at]
    assert alphas == [[where.alpha] * 2 for where in at]
    assert sorted({row[0] for row in sizes}) == [4, 8, 16]
    assert sorted({row[0] for row in alphas}) == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert trainer(recipe(train__grow_images=0)).growth_state == {}


def test_a_resumed_runs_history_says_where_it_stood_like_an_undisturbed_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.runs.session.Trainer", partial(Trainer, log_every_steps=4))
    run = PlannedRun(recipe=recipe(train__epochs=1), seed=0, arm="a", overrides={})
    found = []
    for stopped in (False, True):
        seen: list[int] = []
        job = Job(
            study="grown",
            directory=tmp_path / str(stopped),
            device="cpu",
            target=Target(metric="frechet", goal="minimize"),
            environment={},
            checkpoint=tmp_path / "population.pt",
            wandb="disabled",
            progress=lambda progress, seen=seen: seen.append(progress.step),  # type: ignore[misc]
            should_stop=lambda stopped=stopped, seen=seen: stopped and seen == [0, 4],  # type: ignore[misc]
        )
        if stopped:
            with pytest.raises(Interrupted):
                train_population([run], job)
        train_population([run], job)
        rows = read_history(run_directory(job.directory, run.run_id) / "history.jsonl")
        found.append([{key: value for key, value in row.items() if "_sec" not in key} for row in rows])
    assert found[0] == found[1]
    stood = [(row["train/step"], row["growth/size"], row["growth/alpha"]) for row in found[0]]
    assert stood[:4] == [(0, 4, 1), (4, 8, pytest.approx(1 / 3)), (8, 8, 1), (12, 16, 1)]
    assert {"eval/frechet", "growth/size"} <= set(found[0][-1])


def test_a_population_fades_as_single_runs_do() -> None:
    together, alone = trainer(seeds=(0, 1)), [trainer(seeds=(seed,)) for seed in (0, 1)]
    latents = torch.randn(2, 8, together.population.recipe.latent_dim)
    for found in (together, *alone):
        found.go_to(4)
    for found in (together, *alone):
        found.advance(1)
    made = together.population.generate(latents)
    for row, single in enumerate(alone):
        own = single.population.generate(latents[row : row + 1])[0]
        torch.testing.assert_close(made[row], own, rtol=1e-3, atol=1e-3)


def test_rows_dropped_in_the_middle_of_a_fade_leave_the_others_as_they_are() -> None:
    kept, whole = trainer(seeds=(0, 1)), trainer(seeds=(0, 1))
    for found in (kept, whole):
        found.advance(4)
    kept.keep([1])
    for found in (kept, whole):
        found.advance(3)
    assert stand(kept) == stand(whole)
    one, other = kept.population.generator.matrix[0], whole.population.generator.matrix[1]
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_before_the_last_level_samples_are_smaller_ones_enlarged() -> None:
    found = trainer()
    found.advance(3)
    latents = found.fixed_latents(0, 5)
    samples = found.population.generate(latents[None])[0]
    assert samples.shape == (5, 1, SIZE, SIZE)
    small = samples[..., ::4, ::4]
    assert torch.equal(samples, small.repeat_interleave(4, -1).repeat_interleave(4, -2))
    alone, _ = plain_networks(found.population, 0)
    torch.testing.assert_close(alone(latents), samples)
    fresh: Any = build_generator(found.population.recipe, (1, SIZE, SIZE))
    fresh.load_state_dict(found.population.run_state(0)["generator_average"])
    torch.testing.assert_close(fresh.eval()(latents), samples)


# The price


def test_the_price_of_a_run_is_that_of_all_its_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {0: 1.0, 1: 10.0, 2: 100.0}
    monkeypatch.setattr(measure, "_time", lambda found, _, **__: seconds[stand(found)[0]])
    grown = measure.measure(recipe(), data())
    steps = {0: 3, 1: 6, 2: grown.total_steps - 9}
    whole = sum(seconds[level] * count for level, count in steps.items())
    assert grown.step_sec_by_size[grown.population] * grown.total_steps == pytest.approx(whole)
    full = measure.measure(recipe(train__grow_images=0), data(), population=1)
    assert full.step_sec_by_size == {1: 100.0}
    assert grown.memory_bytes == full.memory_bytes


def test_show_lists_what_each_size_takes() -> None:
    from click.testing import CliRunner

    from harness.cli.main import harness

    done = CliRunner().invoke(harness, ["show", "progan-fashion32"], catch_exceptions=False)
    lines = [line.split() for line in done.output.split("Growth\n")[1].splitlines()[1:5]]
    assert [line[0] for line in lines] == ["4×4", "8×8", "16×16", "32×32"]
    assert lines[0][1:3] == ["60,000", "images"]
    assert lines[3][1:5] == ["60,000", "images", "the", "rest"]
    assert "Growth" not in CliRunner().invoke(harness, ["show", "points-gan"]).output


def test_show_refuses_a_run_that_ends_too_early_as_training_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from harness.cli.main import main

    short = ["harness", "show", "progan-digits16", "--set", "train.epochs=1"]
    monkeypatch.setattr("sys.argv", short)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    told = capsys.readouterr()
    assert "`train.grow_images` 2000 takes 8000 images to reach the last of 3 sizes" in told.err
    assert not told.out


def test_show_says_where_it_cannot_tell_whether_a_run_is_long_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    from harness.cli.main import harness

    def missing(_: object) -> Dataset:
        raise ValueError("there are no files")

    line = "Whether the run is long enough for it is seen when it is trained."
    show = ["show", "progan-digits16"]
    assert line not in CliRunner().invoke(harness, show, catch_exceptions=False).output
    monkeypatch.setattr("harness.data.load_dataset", missing)
    assert line in CliRunner().invoke(harness, show, catch_exceptions=False).output
