"""Claims about studies that are very large: a price and a question, and nothing listed or begun."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import plan_study, run_study
from harness.execution import launch
from harness.planning.size import LargeStudyError, TooLargeError, is_large, size_of
from harness.study.study import Study
from support.tiny_studies import SETTINGS, ablation, search, unmeasured_plan

RATES = [index / 1000 for index in range(1, 1001)]


def many_arms() -> Study:
    """A million arms."""
    return ablation(
        ablate={
            "parameters": {"optimizer.lr": RATES, "loss.r1": RATES},
            "baseline": {"optimizer.lr": 0.001, "loss.r1": 0.001},
        }
    )


def test_a_million_arms_or_very_many_seeds_have_a_price_and_are_not_listed(tmp_path: Path) -> None:
    more = {"parameters": {key: {"value": value} for key, value in SETTINGS.items()}}
    cases = [
        (
            many_arms(),
            r"tiny is 2,000,000 runs \(1,000,000 arms, 2 seeds\): about .* search them under",
        ),
        (
            ablation(seeds=10**6, **more),
            r"2,000,000 runs \(2 arms, 1,000,000 seeds\): .* smaller number",
        ),
    ]
    for study, message in cases:
        began = time.process_time()
        for ask in (plan_study, run_study):
            with pytest.raises(TooLargeError, match=message) as caught:
                ask(study, directory=tmp_path, device="cpu")  # type: ignore[operator]
            assert "\n" not in str(caught.value)
        assert time.process_time() - began < 30
    assert not list(tmp_path.iterdir())


LARGE: list[tuple[dict[str, Any], str]] = [
    ({"run_cap": 10**9}, r"1,000,000,000 trials, 2 seeds"),
    ({"run_cap": 10**9, "tuned": True}, r"2 arms, 1,000,000,000 trials each, 2 seeds"),
    ({"seeds": 10**5}, r"3 trials, 100,000 seeds"),
]


@pytest.mark.parametrize(("changes", "made_of"), LARGE)
def test_a_large_study_is_begun_only_if_it_is_said_to_be_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], made_of: str
) -> None:
    study = search(**changes)
    plan = plan_study(study, directory=tmp_path, device="cpu")
    assert is_large(plan)
    with pytest.raises(LargeStudyError, match=made_of) as caught:
        run_study(study, directory=tmp_path, device="cpu", wandb="disabled")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())

    class BegunError(Exception):
        pass

    def write(_: object) -> None:
        raise BegunError

    monkeypatch.setattr(launch, "write_plan", write)
    with pytest.raises(BegunError):
        run_study(study, directory=tmp_path, device="cpu", wandb="disabled", large=True)


def test_a_large_study_that_was_begun_goes_on_without_being_asked_about(tmp_path: Path) -> None:
    plan = unmeasured_plan(search(run_cap=10**6), tmp_path)
    launch._check_size(plan)
    with pytest.raises(LargeStudyError, match=r"4,000,000 runs \(2,000,000 trials, 2 seeds\)"):
        launch._check_size(replace(plan, study=search(run_cap=2 * 10**6)))


def test_a_study_of_usual_size_is_not_asked_about(tmp_path: Path) -> None:
    plan = unmeasured_plan(ablation(seeds=100), tmp_path)
    assert not is_large(plan)
    assert size_of(plan) == "tiny is 200 runs (2 arms, 100 seeds): about 3 min on cpu with 1 worker"
