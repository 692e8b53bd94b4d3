"""Claims about seeds: one rule for sweep files, commands and scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import Study, train
from harness.recipe.seeds import MAX_SEED, checked_seed
from harness.runs.load import load_run
from harness.runs.sampling import draw_latents
from support.tiny_studies import tiny_recipe

SEEDS: list[Any] = [0, 3, 2**32, MAX_SEED, np.int64(3), np.uint64(MAX_SEED), np.array(7), np.int8(5)]
NO_SEEDS: list[Any] = [-1, MAX_SEED + 1, 1.0, True, "3", None, np.float32(1), np.array([1]), np.int64(-1)]


def test_a_seed_is_pythons_integer_whoever_gives_it(subtests: pytest.Subtests) -> None:
    for seed in SEEDS:
        with subtests.test(seed=seed):
            assert type(checked_seed(seed)) is int
            assert checked_seed(seed) == int(seed)
            study = Study(name="a", recipe="ring-gan", metric="sliced_w2", seeds=[seed])
            assert study.seeds == (int(seed),)
            assert type(study.seeds[0]) is int
            assert (draw_latents(2, 3, seed=seed) == draw_latents(2, 3, seed=int(seed))).all()


def test_what_is_no_seed_is_refused_alike(subtests: pytest.Subtests, tmp_path: Path) -> None:
    rule = r"must be an integer from 0 to 2\*\*63 - 1, but got"
    for seed in NO_SEEDS:
        with subtests.test(seed=seed):
            with pytest.raises(ValueError, match=rule):
                checked_seed(seed)
            with pytest.raises(ValueError, match=rule):
                Study(name="a", recipe="ring-gan", metric="sliced_w2", seeds=[seed])
            with pytest.raises(ValueError, match=rule):
                train(tiny_recipe(), seed=seed, directory=tmp_path, wandb="disabled")
            with pytest.raises(ValueError, match=rule):
                draw_latents(2, 3, seed=seed)
    assert not list(tmp_path.iterdir())


def test_a_number_of_seeds_may_be_numpys() -> None:
    for number in (np.int64(3), np.array(3), 3):
        study = Study(name="a", recipe="ring-gan", metric="sliced_w2", seeds=number)
        assert study.seeds == (0, 1, 2)
    text = "recipe: ring-gan\nmetric: {name: sliced_w2}\n"
    assert Study.parse(text, seeds=np.array(2)).seeds == (0, 1)  # type: ignore[arg-type]
    assert Study.parse(text, seeds=np.array([4, 9])).seeds == (4, 9)  # type: ignore[arg-type]


def test_seeds_do_not_count_up_beyond_the_largest() -> None:
    text = "recipe: ring-gan\nmetric: {name: sliced_w2}\nmethod: random\nrun_cap: 2\n"
    text += "ablate: {parameters: {optimizer.name: [adam, sgd]}, baseline: {optimizer.name: adam}}\n"
    text += f"parameters: {{optimizer.lr: {{min: 0.1, max: 0.2}}}}\nseeds: [{MAX_SEED}]\n"
    with pytest.raises(ValueError, match=r"`final_seeds` 8 counts up from .*, beyond 2\*\*63 - 1; list them"):
        Study.parse(text)
    assert Study.parse(text + "final_seeds: [1, 2]\n").final_seeds == (1, 2)


@pytest.mark.parametrize("seed", [2**32, MAX_SEED])
def test_the_largest_seeds_train_and_sample(seed: int, tmp_path: Path) -> None:
    result = train(tiny_recipe(train__epochs=1), seed=seed, directory=tmp_path, wandb="disabled")
    run = load_run(tmp_path / "runs" / result.run_id)
    assert run.seed == seed
    assert run.sample(3, seed=seed).shape == (3, 2)
