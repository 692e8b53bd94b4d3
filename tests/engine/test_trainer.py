"""The training loop: its schedule, its steps, and that nothing but its input decides them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_sweep_models.layers import fully_connected
from gan_sweep_models.points import PointsDiscriminator
from harness.data import Dataset, load_dataset
from harness.engine import checkpoint
from harness.engine.bins import SCORE_EDGES
from harness.engine.events import EvaluationDue, Event, Finished, Logged, Paused, RunsDiverged
from harness.engine.measure import best_population, measure
from harness.engine.meter import Meter
from harness.engine.population import Population, Update
from harness.engine.trainer import Trainer
from harness.metrics.scores import d_auc
from harness.network import products
from harness.recipe import Recipe, find_recipe
from harness.recipe.registry import discriminators
from support.populations import plain_networks

TINY = {
    "generator.width": 0.1,
    "discriminator.width": 0.1,
    "train.batch_size": 512,  # 13 batches an epoch
    "train.epochs": 4,
    "evaluate.every_epochs": 2,
}
SCHEDULES: dict[str, dict[str, object]] = {
    "plain": {},
    "five D steps": {"train.discriminator_steps": 5},
    "generator first": {"train.order": "generator-first"},
    "generator first, two G steps": {"train.order": "generator-first", "train.generator_steps": 2},
    "generator first, reuse": {"train.order": "generator-first", "train.reuse_fakes": True},
    "reuse": {"train.reuse_fakes": True},
    "reuse, three D and two G steps": {
        "train.reuse_fakes": True,
        "train.discriminator_steps": 3,
        "train.generator_steps": 2,
    },
    "gradient penalty": {
        "loss.name": "wasserstein",
        "loss.gradient_penalty": 0.5,
        "train.discriminator_steps": 2,
    },
    "clip": {"loss.name": "wasserstein", "loss.weight_clip": 0.05},
    "R1, R2, drift": {"loss.r1": 0.3, "loss.r2": 0.2, "loss.drift": 0.1, "loss.discriminator_scale": 0.5},
    "scaled": {"loss.discriminator_scale": 0.5, "loss.generator_scale": 2.0},
    "another G loss early": {"loss.early_generator": "non-saturating", "loss.early_steps": 3},
    "a comparing G loss early, two D steps": {
        "loss.early_generator": "relativistic",
        "loss.early_steps": 5,  # within the third iteration, and so to its end
        "train.discriminator_steps": 2,
    },
    "relativistic": {"loss.name": "relativistic", "train.generator_steps": 2},
    "relativistic, generator first": {"loss.name": "relativistic", "train.order": "generator-first"},
    "averaged": {"train.ema": 0.9},
}
schedules = pytest.mark.parametrize("changes", SCHEDULES.values(), ids=SCHEDULES.keys())


def tiny(**changes: object) -> Recipe:
    return find_recipe("points-gan").override(
        {"train.reuse_fakes": False, **TINY, **{key.replace("__", "."): v for key, v in changes.items()}}
    )


def data() -> Dataset:
    return load_dataset(tiny().data)


def trainer(recipe: Recipe, K: int = 2, log_every_steps: int | None = 10) -> Trainer:
    population = Population([recipe] * K, range(K), dataset=data())
    return Trainer(population, data(), log_every_steps=log_every_steps)


def matrices(trainer: Trainer) -> list[Tensor]:
    population = trainer.population
    average = [] if population.average is None else [population.average]
    buffers = [*population.generator.buffers.values(), *population.discriminator.buffers.values()]
    return [population.generator.matrix, population.discriminator.matrix, *average, *buffers]


def same(a: Trainer, b: Trainer) -> bool:
    live = [run.population.positions() for run in (a, b)]
    return a.live == b.live and all(
        torch.equal(x[live[0]], y[live[1]]) for x, y in zip(matrices(a), matrices(b), strict=True)
    )


def plain(event: Event) -> tuple[Any, ...]:
    """An event as something that `==` compares bit for bit."""
    if isinstance(event, Logged):
        return (
            "log",
            event.step,
            event.epoch,
            {key: value.tobytes() for key, value in (event.metrics | event.histograms).items()},
        )
    return (type(event).__name__, *vars(event).values())


# Schedule


def test_events_come_on_their_grids() -> None:
    events = list(trainer(tiny(), log_every_steps=20).run())
    found = [(type(event).__name__, event.step) for event in events]
    assert found == [
        ("EvaluationDue", 0),
        ("Logged", 20),
        ("Logged", 26),
        ("EvaluationDue", 26),
        ("Logged", 40),
        ("Logged", 52),
        ("EvaluationDue", 52),
        ("Finished", 52),
    ]
    evaluations = [event for event in events if isinstance(event, EvaluationDue)]
    assert [(event.epoch, event.final) for event in evaluations] == [(0, False), (2, False), (4, True)]
    assert [event.epoch for event in events if isinstance(event, Logged)] == [20 / 13, 2.0, 40 / 13, 4.0]


def test_events_wait_for_the_end_of_an_iteration() -> None:
    recipe = tiny(train__discriminator_steps=5)
    run = trainer(recipe, log_every_steps=12)
    assert run.total_steps == 50  # 52, rounded down to whole iterations
    events = list(run.run())
    assert [event.step for event in events if isinstance(event, Logged)] == [15, 25, 30, 40, 50]
    evaluations = [event for event in events if isinstance(event, EvaluationDue)]
    assert [(event.step, event.epoch) for event in evaluations] == [(0, 0), (30, 2), (50, 4)]
    assert [run.spent for _ in run.live] == [
        {"discriminator_steps": 50, "generator_steps": 10, "seen_images": 50 * 512},
        {"discriminator_steps": 50, "generator_steps": 10, "seen_images": 50 * 512},
    ]


def test_last_epochs_that_are_no_multiple_are_evaluated_too() -> None:
    recipe = tiny(train__epochs=3)
    evaluations = [event for event in trainer(recipe).run() if isinstance(event, EvaluationDue)]
    assert [(event.step, event.epoch, event.final) for event in evaluations] == [
        (0, 0, False),
        (26, 2, False),
        (39, 3, True),
    ]


def test_the_log_grid_grows_with_the_run() -> None:
    assert trainer(tiny(), log_every_steps=None).log_every_steps == 250
    assert trainer(tiny(train__epochs=100_000), log_every_steps=None).log_every_steps == 1300


@pytest.mark.parametrize(
    ("changes", "log_every_steps", "message"),
    [
        (
            {"train__batch_size": 7001},
            None,
            "`train.batch_size` 7001 is more than the 7000 training samples",
        ),
        (
            {"train__discriminator_steps": 53},
            None,
            "`train.discriminator_steps` 53 is more than the 52 steps",
        ),
        ({}, 0, "`log_every_steps` must be at least 1, but got 0"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(
    changes: dict[str, object], log_every_steps: int | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        trainer(tiny(**changes), log_every_steps=log_every_steps)


# Steps


class Reference:
    """The same training written the plain way: modules, torch.optim, a backward pass for each loss."""

    def __init__(self, trainer: Trainer) -> None:
        self.recipe = trainer.population.recipe
        self.trainer = trainer
        generator, discriminator = plain_networks(trainer.population, 0)
        self.generator, self.discriminator = generator.train(), discriminator.train()
        options = [self.recipe.generator_optimizer.options, self.recipe.discriminator_optimizer.options]
        self.optimizers = [
            torch.optim.SGD(network.parameters(), lr=float(option["lr"]))
            for network, option in zip((self.generator, self.discriminator), options, strict=True)
        ]

    def iterate(self, index: int) -> None:
        train, batches = self.recipe.train, self.trainer.input(index)
        latents, mixes = iter(batches.latents), iter(batches.mixes)
        if train.order == "generator-first":
            for _ in range(train.generator_steps):
                fake = self.generator(next(latents))
                self.train_generator(fake, batches.real[0], index)
        for step, real in enumerate(batches.real):
            if not (train.order == "generator-first" and train.reuse_fakes and step == 0):
                fake = self.generator(next(latents))
            self.train_discriminator(real, fake.detach(), next(mixes, None))
        if train.order == "discriminator-first":
            for step in range(train.generator_steps):
                if step or not train.reuse_fakes:
                    fake = self.generator(next(latents))
                self.train_generator(fake, batches.real[-1], index)
        assert next(latents, None) is None
        assert next(mixes, None) is None

    def train_generator(self, fake: Tensor, real: Tensor, iteration: int) -> None:
        scores, settings = self.discriminator(fake), self.recipe.loss
        losses: dict[str, Callable[[], Tensor]] = {
            "minimax": lambda: torch.log(1 - scores.sigmoid()).mean(),
            "non-saturating": lambda: -torch.log(scores.sigmoid()).mean(),
            "wasserstein": lambda: -scores.mean(),
            "relativistic": lambda: -F.logsigmoid(scores - self.discriminator(real)).mean(),
        }
        early = iteration * self.recipe.train.discriminator_steps < settings.early_steps
        name = settings.early_generator if early else settings.name
        self.step(0, settings.generator_scale * losses[name]())

    def train_discriminator(self, real: Tensor, fake: Tensor, mix: Tensor | None) -> None:
        settings = self.recipe.loss
        real, fake = real.clone().requires_grad_(), fake.clone().requires_grad_()
        r, f = self.discriminator(real), self.discriminator(fake)
        losses: dict[str, Callable[[], Tensor]] = {
            "minimax": lambda: (
                F.binary_cross_entropy(r.sigmoid(), torch.ones_like(r))
                + F.binary_cross_entropy(f.sigmoid(), torch.zeros_like(f))
            ),
            "wasserstein": lambda: f.mean() - r.mean(),
            "relativistic": lambda: -F.logsigmoid(r - f).mean(),
        }
        loss = losses[settings.name]()
        loss = settings.discriminator_scale * loss
        loss = loss + settings.r1 / 2 * self.gradient(r, real).square().sum(1).mean()
        loss = loss + settings.r2 / 2 * self.gradient(f, fake).square().sum(1).mean()
        loss = loss + settings.drift * r.square().mean()
        if settings.gradient_penalty:
            assert mix is not None
            mixed = (mix[:, None] * real + (1 - mix[:, None]) * fake).detach().requires_grad_()
            norms = self.gradient(self.discriminator(mixed), mixed).norm(dim=1)
            penalty = (norms - settings.gradient_penalty_target).square().mean()
            loss = loss + settings.gradient_penalty * penalty
        self.step(1, loss)
        if settings.weight_clip:
            for parameter in self.discriminator.parameters():
                parameter.data.clamp_(-settings.weight_clip, settings.weight_clip)

    @staticmethod
    def gradient(scores: Tensor, samples: Tensor) -> Tensor:
        return torch.autograd.grad(scores.sum(), samples, create_graph=True)[0]

    def step(self, which: int, loss: Tensor) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizers[which].step()


@schedules
def test_an_iteration_equals_the_same_training_written_plainly(
    changes: dict[str, object], subtests: pytest.Subtests
) -> None:
    for K in [1, 3]:
        with subtests.test(K=K):
            recipe = tiny(optimizer__name="sgd", optimizer__lr=0.05).override(changes)
            run = trainer(recipe, K)
            alone = trainer(recipe, 1)
            reference = Reference(alone)
            before = [matrix.clone() for matrix in matrices(run)[:2]]
            for index in range(5):
                reference.iterate(index)
            run.advance(5)
            for network, start, matrix in zip(
                (reference.generator, reference.discriminator), before, matrices(run)[:2], strict=True
            ):
                expected = torch.cat([p.detach().reshape(-1) for p in network.parameters()])
                moved = float((expected - start[0]).norm())
                assert moved > 1e-4
                assert float((matrix[0] - expected).norm()) / moved < 1e-3
            for name, buffer in reference.generator.named_buffers():
                torch.testing.assert_close(
                    run.population.generator.buffers[name][0], buffer, rtol=1e-3, atol=1e-4
                )


def test_logged_statistics_are_those_of_the_steps() -> None:
    run = trainer(tiny(), K=2, log_every_steps=26)
    seen: list[tuple[Tensor, ...]] = []
    measured: list[tuple[Tensor, Tensor]] = []
    add = run._meter.add_discriminator

    def spy(loss: Tensor, real: Tensor, fake: Tensor, update: Update | None) -> None:
        seen.append((loss.detach(), real.detach().mean(-1), fake.detach().mean(-1)))
        if update is not None:
            measured.append((real.detach(), fake.detach()))
        add(loss, real, fake, update)

    run._meter.add_discriminator = spy  # type: ignore[method-assign]
    first = next(event for event in run.run() if isinstance(event, Logged))
    assert len(seen) == 26
    for key, values in zip(
        ("train/d_loss", "train/d_real", "train/d_fake"), zip(*seen, strict=True), strict=True
    ):
        expected = torch.stack(values).double().mean(0)
        np.testing.assert_allclose(first.metrics[key], expected, rtol=1e-6)
    assert set(first.metrics) == {
        "train/d_loss",
        "train/g_loss",
        "train/d_real",
        "train/d_fake",
        "train/d_auc",
        "train/d_grad_norm",
        "train/g_grad_norm",
        "train/d_update_ratio",
        "train/g_update_ratio",
        "train/nonfinite",
    }
    assert all(value.shape == (2,) for value in first.metrics.values())
    assert (first.metrics["train/nonfinite"] == 0).all()
    assert len(measured) == 4  # iterations 0, 10 and 20, and the one before the evaluation
    for key, scores in zip(
        ("train/d_real_hist", "train/d_fake_hist"), zip(*measured, strict=True), strict=True
    ):
        for run_scores, counts in zip(torch.cat(scores, dim=1).numpy(), first.histograms[key], strict=True):
            assert (counts == np.histogram(run_scores, SCORE_EDGES.astype(np.float32))[0]).all()
    for row, auc in enumerate(first.metrics["train/d_auc"]):
        real, fake = (
            torch.cat(scores, dim=1)[row].double().numpy() for scores in zip(*measured, strict=True)
        )
        assert auc == pytest.approx(d_auc(real, fake), abs=0.02)  # scores that share a bin count half


def test_every_evaluation_comes_with_gradients_measured_in_the_iteration_before() -> None:
    recipe = tiny(train__batch_size=3500, evaluate__every_epochs=1)  # 2 steps an epoch
    logged = [event for event in trainer(recipe, log_every_steps=None).run() if isinstance(event, Logged)]
    assert [event.step for event in logged] == [2, 4, 6, 8]
    for event in logged:
        assert {"train/d_grad_norm", "train/g_grad_norm", "train/g_update_ratio"} <= set(event.metrics)
        assert event.histograms["train/d_real_hist"].sum(1).min() >= 3500


def test_scores_are_counted_in_bins_that_serve_logits_and_critics() -> None:
    assert SCORE_EDGES.shape == (65,)
    assert (np.diff(SCORE_EDGES) > 0).all()
    assert (-SCORE_EDGES[::-1] == SCORE_EDGES).all()
    meter = Meter(2, torch.device("cpu"))
    nothing = Update(torch.zeros(2), torch.zeros(2))
    odd = torch.tensor([[torch.nan, torch.inf, -torch.inf], [0.0, 5e4, -5e4]])
    meter.add_discriminator(torch.zeros(2), odd, torch.full((2, 3), 0.01), nothing)
    meter.add_discriminator(torch.zeros(2), odd, odd, None)  # not measured, so not counted
    _, histograms = meter.report()
    real, fake = histograms["train/d_real_hist"], histograms["train/d_fake_hist"]
    assert real.sum(1).tolist() == [2, 3]  # what is no number is in no bin
    assert real[:, [0, 32, -1]].tolist() == [[1, 0, 1], [1, 1, 1]]
    assert fake[:, 32].tolist() == [3, 3]
    _, emptied = meter.report()
    assert emptied == {}


# Determinism and resume


@pytest.mark.parametrize("K", [1, 2])
def test_the_same_training_gives_the_same_bits_whatever_the_global_state(K: int) -> None:
    torch.manual_seed(1)
    first = trainer(tiny(), K)
    events = [plain(event) for event in first.run()]
    torch.manual_seed(2)
    torch.randn(7)
    second = trainer(tiny(), K)
    again = []
    for event in second.run():
        torch.randn(3)
        again.append(plain(event))
    assert events == again
    assert same(first, second)


def test_the_cadence_of_logging_does_not_change_training() -> None:
    first, second = trainer(tiny(), log_every_steps=3), trainer(tiny(), log_every_steps=50)
    for run in (first, second):
        list(run.run())
    assert same(first, second)


def test_training_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    list(trainer(tiny()).run())
    assert torch.equal(torch.get_rng_state(), before)


@schedules
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    changes: dict[str, object], tmp_path: Path
) -> None:
    recipe = tiny(optimizer__name="adam").override(changes)
    whole = trainer(recipe, log_every_steps=7)
    events = [plain(event) for event in whole.run()]
    for cut in (2, 5, -2):
        interrupted = trainer(recipe, log_every_steps=7)
        run = interrupted.run()
        taken = cut % len(events)
        head = [plain(next(run)) for _ in range(taken)]
        checkpoint.save(tmp_path / "c.pt", interrupted.state_dict())
        next(run)  # what is trained after the checkpoint is lost

        resumed = trainer(recipe, log_every_steps=7)
        resumed.load_state_dict(checkpoint.load(tmp_path / "c.pt"))
        tail = [plain(event) for event in resumed.run()]
        assert head + tail == events
        assert same(resumed, whole)


def test_a_run_that_began_by_onednn_is_resumed_by_it_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "_LARGE", 0)
    plain_run, whole, interrupted, resumed = (trainer(tiny(), K=1, log_every_steps=7) for _ in range(4))
    for taken in (whole, interrupted):
        taken.population.take_onednn(True)
    list(plain_run.run())
    list(whole.run())
    run = interrupted.run()
    for _ in range(5):
        next(run)
    checkpoint.save(tmp_path / "c.pt", interrupted.state_dict())
    resumed.load_state_dict(checkpoint.load(tmp_path / "c.pt"))
    list(resumed.run())
    assert resumed.population.onednn
    assert same(resumed, whole)
    assert not same(plain_run, whole)


def test_a_population_of_several_runs_leaves_onednn() -> None:
    several = trainer(tiny(), K=2)
    several.population.take_onednn(True)
    assert not several.population.onednn


def test_a_run_resumed_from_any_event_has_the_same_end() -> None:
    whole = trainer(tiny(), log_every_steps=10)
    states: list[dict[str, Any]] = []
    events = []
    for event in whole.run():
        events.append(plain(event))
        states.append(whole.state_dict())
    for index, state in enumerate(states):
        resumed = trainer(tiny(), log_every_steps=10)
        resumed.load_state_dict(state)
        assert [plain(event) for event in resumed.run()] == events[index + 1 :]
        assert same(resumed, whole)


@schedules
@pytest.mark.parametrize("K", [1, 2])
def test_a_run_paused_between_two_events_goes_on_bit_for_bit(
    changes: dict[str, object], K: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny(optimizer__name="adam").override(changes)
    whole = trainer(recipe, K, log_every_steps=13)
    events = [plain(event) for event in whole.run()]
    monkeypatch.setattr("harness.engine.trainer._LOOK_SEC", 0.0)
    interrupted = trainer(recipe, K, log_every_steps=13)
    turns = itertools.count()
    head, pauses = [], 0
    while len(head) < len(events):
        for event in interrupted.run(lambda: next(turns) % 2 == 0):
            if isinstance(event, Paused):
                break
            head.append(plain(event))
        else:
            break
        pauses += 1
        checkpoint.save(tmp_path / "c.pt", interrupted.state_dict())
        interrupted = trainer(recipe, K, log_every_steps=13)
        interrupted.load_state_dict(checkpoint.load(tmp_path / "c.pt"))
    assert pauses >= 2
    assert head == events
    assert same(interrupted, whole)


def test_a_resumed_population_keeps_the_rows_it_had() -> None:
    def run(trainer: Trainer, events: Iterator[Event], until: int) -> None:
        for event in events:
            if event.step >= until and isinstance(event, EvaluationDue):
                return

    whole = trainer(tiny(), K=3)
    events = whole.run()
    run(whole, events, 26)
    whole.keep([0, 2])
    state = whole.state_dict()
    run(whole, events, 52)
    resumed = trainer(tiny(), K=3)
    resumed.load_state_dict(state)
    assert resumed.live == (0, 2)
    run(resumed, resumed.run(), 52)
    assert same(resumed, whole)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: trainer(tiny(optimizer__lr=0.1)), "other recipes"),
        (lambda: Trainer(Population([tiny()] * 2, [0, 5], dataset=data()), data()), "other seeds"),
        (lambda: trainer(tiny(), log_every_steps=11), "other schedule"),
    ],
)
def test_a_checkpoint_of_other_runs_is_refused(other: Any, message: str) -> None:
    state = trainer(tiny()).state_dict()
    with pytest.raises(ValueError, match=f"{message} than this population's"):
        other().load_state_dict(state)


class Dropped(PointsDiscriminator):
    """A discriminator with dropout on its input."""

    def forward(self, points: Tensor) -> Tensor:
        return super().forward(F.dropout(points, 0.3, self.training))


@pytest.mark.parametrize("K", [1, 2])
def test_dropout_is_resumed_bit_for_bit(K: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*, sample_shape: tuple[int, ...], num_classes: int, width: float = 1.0) -> nn.Module:
        return Dropped(fully_connected([math.prod(sample_shape), 8, 1], slope=0.2))

    discriminators.names()
    monkeypatch.setitem(discriminators._entries, "dropped", build)
    recipe = tiny(discriminator__name="dropped")
    whole = trainer(recipe, K)
    states = [whole.state_dict() for _ in whole.run()]
    resumed = trainer(recipe, K)
    resumed.load_state_dict(states[3])
    torch.randn(5)
    list(resumed.run())
    assert same(resumed, whole)


def test_latents_for_evaluation_are_fixed_for_each_run() -> None:
    run, alone = trainer(tiny(), K=3), Trainer(Population([tiny()], [2], dataset=data()), data())
    first = run.fixed_latents(2, 50)
    list(run.run())
    assert first.shape == (50, 2)
    assert torch.equal(first, run.fixed_latents(2, 50))
    assert torch.equal(first, alone.fixed_latents(0, 50))
    assert not torch.equal(first, run.fixed_latents(1, 50))


# Divergence


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_nan_in_one_run_leaves_its_neighbours_bits_alone(network: str) -> None:
    clean, poisoned = trainer(tiny(), K=3), trainer(tiny(), K=3)
    list(clean.run())
    events: list[Event] = []
    for event in poisoned.run():
        events.append(event)
        if isinstance(event, Logged) and event.step == 10:
            getattr(poisoned.population, network).matrix[1, 5] = torch.nan
    diverged = [event for event in events if isinstance(event, RunsDiverged)]
    assert [(event.step, event.rows) for event in diverged] == [(10, (1,))]
    assert diverged[0].reasons[0].startswith(f"the {network} was not finite by step 10")
    assert poisoned.live == (0, 2)
    for matrix, expected in zip(matrices(poisoned), matrices(clean), strict=True):
        assert torch.equal(matrix[[0, 2]], expected[[0, 2]])
    latents = torch.randn(3, 30, 2)
    samples = poisoned.population.generate(latents[[0, 2]])
    assert samples.shape == (2, 30, 2)
    assert torch.equal(samples, clean.population.generate(latents)[[0, 2]])
    assert poisoned.population.discriminate(samples).shape == (2, 30)
    poisoned.keep([2])
    assert len(poisoned.population.generator.matrix) == 1
    with pytest.raises(ValueError, match="input for 2 runs was given, but 1 are live"):
        poisoned.population.generate(latents[:2])


def test_a_run_that_diverges_between_two_events_is_dropped_at_the_next() -> None:
    recipe = tiny(optimizer__name="sgd", loss__name="wasserstein")
    rates = [1e-3, 1e30, 1e-3]
    variants = [recipe.override({"optimizer.lr": lr}) for lr in rates]
    run = Trainer(Population(variants, range(3), dataset=data()), data(), log_every_steps=10)
    events = list(run.run())
    diverged = [event for event in events if isinstance(event, RunsDiverged)]
    assert [(event.step, event.rows) for event in diverged] == [(10, (1,))]
    logs = {event.step: event.metrics for event in events if isinstance(event, Logged)}
    assert logs[10]["train/nonfinite"][1] > 0
    assert not np.isfinite(logs[10]["train/d_loss"][1])
    assert np.isfinite(logs[10]["train/d_loss"][[0, 2]]).all()
    assert all(metrics["train/d_loss"].shape == (2,) for step, metrics in logs.items() if step > 10)
    kinds = [type(event) for event in events if event.step == 10]
    assert kinds == [Logged, RunsDiverged]


@pytest.mark.parametrize("K", [1, 2])
def test_training_ends_when_no_run_is_left(K: int) -> None:
    recipe = tiny(optimizer__name="sgd", optimizer__lr=1e30, loss__name="wasserstein")
    run = trainer(recipe, K)
    events = list(run.run())
    assert [type(event) for event in events] == [EvaluationDue, Logged, RunsDiverged, Finished]
    assert isinstance(events[2], RunsDiverged)
    assert events[2].rows == tuple(range(K))
    assert run.live == ()
    assert run.spent["discriminator_steps"] == 10


def test_a_divergence_is_reported_once_when_resumed_before_its_report() -> None:
    recipe = tiny(optimizer__name="sgd", loss__name="wasserstein")
    variants = [recipe.override({"optimizer.lr": lr}) for lr in (1e-3, 1e30)]

    def build() -> Trainer:
        return Trainer(Population(variants, range(2), dataset=data()), data(), log_every_steps=10)

    whole = build()
    events, states = [], []
    for event in whole.run():
        events.append(plain(event))
        states.append(whole.state_dict())
    at_log = next(index for index, event in enumerate(events) if event[0] == "log")
    for index in (at_log, at_log + 1):
        resumed = build()
        resumed.load_state_dict(states[index])
        assert [plain(event) for event in resumed.run()] == events[index + 1 :]
        assert same(resumed, whole)


# Measurement


def test_a_measurement_is_sane_and_leaves_the_threads_alone() -> None:
    threads = torch.get_num_threads()
    found = measure(tiny(), data(), num_threads=1, budget_sec=0.2)
    assert torch.get_num_threads() == threads
    assert found.num_threads == 1
    assert found.population in found.step_sec_by_size
    assert 0 < found.step_sec_by_size[found.population] < 1
    assert found.total_steps == 52
    weights = sum(m.nbytes for m in matrices(trainer(tiny(), found.population)))
    assert weights < found.memory_bytes < 2**30


def test_a_settled_population_is_the_only_one_measured() -> None:
    found = measure(tiny(), data(), population=3, budget_sec=0.1)
    assert found.population == 3
    assert list(found.step_sec_by_size) == [3]


CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("gains", "multiply_adds", "population"),
    [
        ([2.4, 2.5, 2.4, 2.3, 2.4], 3e6, 8),  # tiny
        ([1.0, 1.1, 1.0, 0.9, 1.0], 150e6, 1),  # bound by arithmetic
        ([2.4, 0.4, 2.4, 0.9, 2.4], 3e6, 8),  # two rounds disturbed
        ([1.0, 9.0, 1.0, 5.0, 1.0], 150e6, 1),
        ([1.45, 1.5, 1.4, 1.5, 1.45], 3e6, 8),  # not clear: what a step computes decides
        ([1.45, 1.5, 1.4, 1.5, 1.45], 150e6, 1),
        ([1.1, 1.2, 1.0, 1.1, 1.1], 3e6, 1),  # clear, against what a step computes
        ([1.9, 1.9, 1.8, 1.9, 1.9], 150e6, 8),
    ],
)
def test_how_many_train_together_is_decided_by_a_clear_gain_or_by_the_size_of_a_step(
    gains: list[float], multiply_adds: float, population: int
) -> None:
    rounds = {1: [1.0] * 5, 2: [0.9] * 5, 8: [1 / gain for gain in gains]}
    assert best_population(rounds, multiply_adds, CPU) == population


def test_a_machine_that_slows_down_meanwhile_changes_nothing() -> None:
    rounds = {1: [1.0, 1.1, 3.0, 3.1, 3.0], 8: [0.5, 0.55, 1.5, 1.4, 1.6]}
    assert best_population(rounds, 150e6, CPU) == 8


def test_a_gpu_takes_the_smallest_population_close_to_the_fastest() -> None:
    assert best_population({1: [1.0], 2: [0.5], 4: [0.26], 8: [0.25]}, 3e6, GPU) == 4
    assert best_population({1: [1.0], 2: [0.95], 4: [0.94]}, 3e6, GPU) == 1


def test_the_sizes_take_turns_while_they_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.engine import measure as module

    timed: list[int] = []

    def time(run: Trainer, *_: Any) -> float:
        timed.append(len(run.live))
        return 1e-3

    monkeypatch.setattr(module, "_time", time)
    found = measure(tiny(), data())
    assert timed == [1, *[1, 2, 4, 8] * 6]
    assert found.step_sec_by_size == {1: 1e-3, 2: 5e-4, 4: 2.5e-4, 8: 1.25e-4}


def test_a_long_step_is_timed_twice_and_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.engine import measure as module

    monkeypatch.setattr(module, "_LONG_STEP_SEC", 0.0)
    advanced: list[int] = []
    advance = Trainer.advance

    def spy(self: Trainer, iterations: int, **how: bool) -> int:
        advanced.append(iterations)
        return advance(self, iterations, **how)

    monkeypatch.setattr(Trainer, "advance", spy)
    found = measure(tiny(train__discriminator_steps=2), data(), budget_sec=0.0)
    assert advanced == [1, 1, 1, 1], "a warm-up, a look at how long it takes, and the two that are timed"
    assert list(found.step_sec_by_size) == [1]
    assert found.population == 1
    assert 0 < found.step_sec_by_size[1] < 1


def test_no_population_is_measured_that_memory_would_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.engine import measure as module

    monkeypatch.setattr(module, "_memory", lambda run: len(run.live) * 1000)
    monkeypatch.setattr(module, "_memory_allowed", lambda *_: 4500)
    assert list(measure(tiny(), data(), budget_sec=0.05).step_sec_by_size) == [1, 2, 4]
    monkeypatch.setattr(module, "_memory_allowed", lambda *_: 10)
    assert list(measure(tiny(), data(), budget_sec=0.05).step_sec_by_size) == [1]


def test_free_memory_is_told_where_the_system_tells_it() -> None:
    from harness.engine.measure import _free_memory

    assert _free_memory() > 2**20
