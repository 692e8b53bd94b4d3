"""A study's folder as a sweep would leave it, with made-up runs: for tests of what comes after training."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.figures import Scene, gif, scatter_over_surface, scatter_window, surface_points
from harness.files import write_json
from harness.planning.plan import ArmPlan, Plan
from harness.planning.plan_file import write_plan
from harness.recipe import Recipe, run_id
from harness.runs.result import RunResult, summarise_curve
from harness.search.search import Search
from harness.search.storage import open_storage
from harness.study.study import Arm, Study
from harness.study.target import Target

UNTRAINED = 0.59
NUM_EVALUATIONS = 33
TOTAL_STEPS = 8640

OPTIMIZERS = """
name: optimizers
description: The GAN on two-dimensional points, trained with RMSProp, plain gradient descent (SGD) and Adam.
recipe: points-gan
metric: {name: sliced_w2, at: last}
seeds: 8
ablate:
  parameters: {optimizer.name: [rmsprop, sgd, adam]}
  baseline: {optimizer.name: rmsprop}
parameters:
  optimizer.lr: {value: 5e-5}
"""

TUNED = """
name: tuned
recipe: points-gan
metric: {name: sliced_w2}
seeds: 2
final_seeds: 8
ablate:
  parameters: {optimizer.name: [rmsprop, sgd]}
  baseline: {optimizer.name: rmsprop}
method: random
run_cap: 6
parameters:
  optimizer.lr: {distribution: log_uniform_values, min: 1e-5, max: 1e-1}
  optimizer.momentum: {min: 0.0, max: 0.95}
"""

SEARCH = """
name: search
recipe: points-gan
metric: {name: sliced_w2}
seeds: 2
method: random
run_cap: 5
parameters:
  optimizer.lr: {distribution: log_uniform_values, min: 1e-5, max: 1e-1}
"""


def end_score(arm: str, seed: int) -> float:
    """A made-up last score: rmsprop is best, adam a little worse on every seed, sgd hardly moves."""
    rng = np.random.default_rng([seed, *arm.encode()])
    middle = {"rmsprop": 0.027, "adam": 0.075, "sgd": 0.501}.get(arm, 0.05)
    return float(middle * math.exp(rng.normal() * (0.01 if arm == "sgd" else 0.2)))


def plan_study(directory: Path, study: Study) -> Path:
    """Write the study's plan; return its folder."""
    folder = directory / study.name
    arms = tuple(ArmPlan(asked=arm) for arm in study.arms)
    write_plan(
        Plan(study=study, directory=folder, device="cpu", num_threads=1, workers=1, arms=arms, run_groups=())
    )
    return folder


def make_ablation(
    directory: Path,
    study: Study,
    *,
    end: Callable[[str, int], float] = end_score,
    diverged: Collection[tuple[str, int]] = (),
    missing: Collection[tuple[str, int]] = (),
    pictures: bool = False,
) -> Path:
    """An ablation's folder: every arm with every seed, except for those missing."""
    folder = plan_study(directory, study)
    for arm in study.arms:
        for seed in study.seeds:
            if (arm.name, seed) not in missing:
                write_run(
                    folder,
                    study,
                    arm,
                    seed,
                    recipe=arm.recipe,
                    end=end(arm.name, seed),
                    failed=(arm.name, seed) in diverged,
                    pictures=pictures,
                )
    return folder


def make_search(directory: Path, study: Study, *, num_trials: int | None = None) -> Path:
    """A search's or a tuned ablation's folder, with its journal; its final runs too, if all trials are in."""
    folder = plan_study(directory, study)
    storage = open_storage(folder)
    for arm in study.arms:
        search = Search(storage, study, arm, folder)
        cap = study.num_trials(arm)
        for _ in range(cap if num_trials is None else num_trials):
            record = search.ask(cap)
            assert record is not None
            overrides = study.trial_overrides(arm, record.parameters)
            recipe = study.trial_recipe(arm, record.parameters)
            distance = abs(math.log10(float(overrides["optimizer.lr"])) + 3)
            ends = [0.02 + 0.1 * distance + 0.001 * seed for seed in study.seeds]
            for seed, end in zip(study.seeds, ends, strict=True):
                extra = {"phase": "search", "trial": record.number, "overrides": overrides}
                write_run(folder, study, arm, seed, recipe=recipe, end=end, **extra)
            search.tell(record.number, sum(ends) / len(ends))
        best = search.best()
        if study.final_seeds and num_trials is None and best is not None:
            overrides = study.trial_overrides(arm, best.parameters)
            recipe = study.trial_recipe(arm, best.parameters)
            for seed in study.final_seeds:
                extra = {"phase": "final", "trial": best.number, "overrides": overrides}
                write_run(folder, study, arm, seed, recipe=recipe, end=end_score(arm.name, seed), **extra)
    return folder


def write_run(
    folder: Path,
    study: Study,
    arm: Arm,
    seed: int,
    *,
    recipe: Recipe,
    end: float,
    failed: bool = False,
    pictures: bool = False,
    phase: Any = "ablate",
    trial: int | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> None:
    """One run's files; a failed one ends halfway, without final samples."""
    identity = run_id(recipe, seed)
    run = folder / "runs" / identity
    (run / "samples").mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, len(arm.name)])
    steps = np.linspace(0, TOTAL_STEPS, NUM_EVALUATIONS).astype(int)[
        : NUM_EVALUATIONS // 2 if failed else None
    ]
    noise = np.exp(0.15 * rng.normal(size=len(steps))) ** (steps > 0)
    curve = (end + (UNTRAINED - end) * np.exp(-steps / 1200)) * noise
    curve[-1] = end
    speed = {"sgd": 480.0, "adam": 360.0}.get(arm.name, 400.0)
    rows, scores = [], {"sliced_w2": curve, "modes": np.minimum(4, 1 + steps // 1000)}
    scores["coverage"] = 1 - curve / UNTRAINED
    for index, step in enumerate(steps.tolist()):
        row: dict[str, float] = {
            "train/step": step,
            "train/epoch": step / 27,
            "ledger/elapsed_sec": step / speed,
        }
        rows.append(row | {f"eval/{name}": float(values[index]) for name, values in scores.items()})
        if step:
            losses = rng.normal(size=2) * 0.05
            rows.append(row | {"train/d_loss": 1.386 + losses[0], "train/g_loss": 0.69 + losses[1]})
    (run / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_json(run / "recipe.json", recipe.to_json())
    goals: dict[str, Any] = {"sliced_w2": "minimize", "modes": "maximize", "coverage": "maximize"}
    summary = {
        name: summarise_curve(
            steps.tolist(), [float(v) for v in values], Target(metric=name, goal=goals[name])
        )
        for name, values in scores.items()
    }
    result = RunResult(
        run_id=identity,
        study=study.name,
        arm=arm.name,
        overrides=arm.overrides if overrides is None else overrides,
        seed=seed,
        phase=phase,
        trial=trial,
        outcome="diverged" if failed else "completed",
        reason="the generator's loss was not finite at step 4050" if failed else "",
        scores=summary,
        ledger={
            "discriminator_steps": int(steps[-1]),
            "generator_steps": int(steps[-1]),
            "seen_images": int(steps[-1]) * 256,
            "elapsed_sec": float(steps[-1] / speed) * float(rng.uniform(0.9, 1.1)),
        },
        recipe=recipe.fingerprint,
        environment={"python": "3.11.7", "torch": "2.15.0", "device": "cpu", "git_commit": "0123abc"},
    )
    if pictures:
        _draw(run / "samples", steps.tolist(), curve, arm.name, seed, final=not failed)
    write_json(run / "result.json", result.to_json())


def _draw(samples: Path, steps: list[int], curve: Any, name: str, seed: int, *, final: bool) -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1.1, size=1192)
    real = np.stack([x, 0.5 + 0.1 * np.sin(6 * x) + 0.03 * rng.normal(size=1192)], axis=1)
    window = scatter_window(real)
    nodes = surface_points(window)
    frames = []
    for step, score in zip(steps, curve, strict=True):
        share = 1 - score / UNTRAINED
        fake = share * rng.permutation(real) + (1 - share) * 0.1 * rng.normal(size=real.shape)
        surface = (1 - share) * 4 * (nodes[:, 1] - 0.3 + 0.2 * np.sin(4 * nodes[:, 0])).reshape(64, 64)
        scene = Scene(real=real, fake=fake, surface=surface, window=window)
        frames.append(samples / f"step_{step:08d}.png")
        title = f"{name} · seed {seed} · epoch {step // 27} · sliced_w2 {score:.3g}"
        scatter_over_surface(scene, frames[-1], title=title)
    if final:
        scene.save(samples / "final.npz")
    gif(frames, samples / "run.gif")
