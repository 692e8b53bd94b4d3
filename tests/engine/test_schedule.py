"""When samples are due: at log-spaced steps, and never where an evaluation is."""

from __future__ import annotations

from typing import Any

import pytest

from harness.data import load_dataset
from harness.engine.events import EvaluationDue, Event, Finished, RunsDiverged, SamplesDue
from harness.engine.population import Population
from harness.engine.schedule import log_spaced_steps
from harness.engine.trainer import Trainer
from harness.recipe import Recipe, find_recipe


def tiny(**changes: object) -> Recipe:
    """13 batches an epoch, four epochs."""
    return find_recipe("points-gan").override(
        {
            "generator.width": 0.1,
            "discriminator.width": 0.1,
            "train.batch_size": 512,
            "train.epochs": 4,
            "evaluate.every_epochs": 2,
            **{key.replace("__", "."): value for key, value in changes.items()},
        }
    )


def trainer(recipe: Recipe, log_every_steps: int = 50) -> Trainer:
    dataset = load_dataset(recipe.data)
    return Trainer(Population([recipe], [0], dataset=dataset), dataset, log_every_steps=log_every_steps)


def steps(events: list[Event], kind: type[Event] | Any) -> list[int]:
    return [event.step for event in events if isinstance(event, kind)]


def test_no_samples_are_due_unless_asked_for() -> None:
    assert not steps(list(trainer(tiny()).run()), SamplesDue)


@pytest.mark.parametrize("num", [1, 2, 5, 16, 1000])
def test_samples_are_due_at_log_spaced_steps_between_the_evaluations(num: int) -> None:
    events = list(trainer(tiny(evaluate__num_grids=num)).run())
    evaluated = steps(events, EvaluationDue)
    assert evaluated == [0, 26, 52]
    expected = [step for step in log_spaced_steps(52, max(2, num)) if step not in evaluated]
    assert steps(events, SamplesDue) == expected
    assert [event.step for event in events] == sorted(event.step for event in events)
    samples = [event for event in events if isinstance(event, SamplesDue)]
    assert all(event.epoch == event.step / 13 for event in samples)


def test_samples_are_due_at_whole_iterations() -> None:
    recipe = tiny(evaluate__num_grids=9, train__discriminator_steps=4)
    events = list(trainer(recipe).run())
    evaluated = steps(events, EvaluationDue)
    due = steps(events, SamplesDue)
    assert due == [step for step in log_spaced_steps(52, 9, multiple_of=4) if step not in evaluated]
    assert due
    assert all(step % 4 == 0 for step in due)


def test_samples_do_not_change_training() -> None:
    with_samples, without = trainer(tiny(evaluate__num_grids=12)), trainer(tiny())
    for run in (with_samples, without):
        list(run.run())
    assert with_samples.population.generator.matrix.equal(without.population.generator.matrix)


def test_a_run_resumed_at_any_event_goes_on_with_the_next() -> None:
    def build() -> Trainer:
        return trainer(tiny(evaluate__num_grids=8), log_every_steps=10)

    whole = build()
    events, states = [], []
    for event in whole.run():
        events.append((type(event), event.step))
        states.append(whole.state_dict())
    assert SamplesDue in {kind for kind, _ in events}
    for index, state in enumerate(states):
        resumed = build()
        resumed.load_state_dict(state)
        assert [(type(event), event.step) for event in resumed.run()] == events[index + 1 :]


def test_no_samples_are_due_of_runs_that_diverged() -> None:
    recipe = tiny(evaluate__num_grids=20, optimizer__name="sgd", optimizer__lr=1e30, loss__name="wasserstein")
    events = list(trainer(recipe).run())
    at = next(index for index, event in enumerate(events) if isinstance(event, RunsDiverged))
    assert [type(event) for event in events[at + 1 :]] == [Finished]
