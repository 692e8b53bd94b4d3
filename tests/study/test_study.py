"""Studies: what a sweep file means, and that its mistakes cost one line."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pytest

from harness.recipe import find_recipe
from harness.search.space import optuna_distribution
from harness.study.study import Study
from support.sweep_texts import ABLATION, GRID, TUNED, WANDB, changed, error

ROOT = Path(__file__).parents[2]


def test_an_ablations_cells_are_its_grid_with_the_baseline_marked() -> None:
    study = Study.parse(ABLATION)
    assert study.kind == "ablation"
    assert study.seeds == (0, 1, 2, 3)
    assert study.final_seeds == ()
    assert [(arm.name, arm.is_baseline) for arm in study.arms] == [
        ("rmsprop", True),
        ("sgd", False),
        ("adam", False),
    ]
    for arm in study.arms:
        assert arm.overrides == {"optimizer.name": arm.name}
        assert arm.recipe.generator_optimizer.name == arm.name
        assert arm.recipe.discriminator_optimizer.options["lr"] == 5e-5
        assert study.num_trials(arm) == 0
    assert study.base == study.arms[0].recipe
    assert study.target.goal == "minimize"
    assert study.target.at == "last"


def test_fixed_settings_meet_each_arms_optimizer_not_the_recipes() -> None:
    study = Study.parse(
        changed(ABLATION, "[rmsprop, sgd, adam]", "[rmsprop, sgd]").replace(
            "optimizer.lr: {value: 5e-5}", "optimizer.momentum: {value: 0.9}"
        )
    )
    assert [arm.recipe.generator_optimizer.options["momentum"] for arm in study.arms] == [0.9, 0.9]


def test_cells_of_several_keys_have_names_that_tell_them_apart() -> None:
    text = ABLATION.replace(
        "    optimizer.name: [rmsprop, sgd, adam]\n  baseline: {optimizer.name: rmsprop}\n",
        "    generator_optimizer.name: [adam, sgd]\n    discriminator_optimizer.name: [adam, sgd]\n"
        "    train.discriminator_steps: [1, 5]\n    train.reuse_fakes: [true]\n    train.ema: [0.5]\n"
        "  baseline: {generator_optimizer.name: adam, discriminator_optimizer.name: adam, "
        "train.discriminator_steps: 1, train.reuse_fakes: true, train.ema: 0.5}\n",
    )
    names = [arm.name for arm in Study.parse(text).arms]
    assert len(set(names)) == 8
    assert names[0] == (
        "generator_optimizer.name=adam, discriminator_optimizer.name=adam, discriminator_steps=1, "
        "reuse_fakes=true, ema=0.5"
    )


def test_recipes_themselves_can_be_ablated() -> None:
    text = changed(ABLATION, "optimizer.name: [rmsprop, sgd, adam]", "recipe: [points-gan, points-wgan]")
    study = Study.parse(changed(text, "{optimizer.name: rmsprop}", "{recipe: points-gan}"))
    assert [arm.name for arm in study.arms] == ["points-gan", "points-wgan"]
    assert [arm.recipe.loss.name for arm in study.arms] == ["minimax", "wasserstein"]


def test_tuned_arms_search_what_their_optimizer_has_with_equal_budgets() -> None:
    study = Study.parse(TUNED)
    assert study.kind == "tuned-ablation"
    spaces = {arm.name: list(study.space(arm)) for arm in study.arms}
    assert spaces == {
        "rmsprop": ["optimizer.lr", "optimizer.momentum"],
        "sgd": ["optimizer.lr", "optimizer.momentum"],
        "adam": ["optimizer.lr", "optimizer.beta1"],
    }
    assert [study.num_trials(arm) for arm in study.arms] == [5, 5, 5]
    assert study.seeds == (0, 1)
    assert study.final_seeds == (2, 3, 4)
    assert study.base.generator_optimizer.name == "sgd"
    adam = study.arms[2]
    assert adam.overrides == {"optimizer.name": "adam", "optimizer.beta2": 0.99}
    assert study.target.metric == "sliced_w2"
    assert study.target.at == "best"


def test_a_trials_recipe_follows_from_its_params_alone() -> None:
    study = Study.parse(TUNED)
    again = Study.from_json(json.loads(json.dumps(study.to_json())))
    for arm, twin in zip(study.arms, again.arms, strict=True):
        search = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        trial = search.ask({key: optuna_distribution(found) for key, found in study.space(arm).items()})
        params = json.loads(json.dumps(trial.params))
        overrides = study.trial_overrides(arm, params)
        assert overrides.items() >= arm.overrides.items()
        assert set(overrides) == set(arm.overrides) | set(study.space(arm))
        assert study.trial_recipe(arm, params) == again.trial_recipe(twin, params)
        assert study.trial_recipe(arm, params).train.epochs == 10
    with pytest.raises(ValueError, match="the trial has parameters none, but arm adam of tuned searches"):
        study.trial_overrides(study.arms[2], {})


def test_tuned_arms_by_grid_list_their_trials() -> None:
    text = TUNED.replace("early_terminate: {type: hyperband, min_iter: 3, eta: 2}\n", "")
    text = text.replace("{distribution: log_uniform_values, min: 1e-5, max: 1e-1}", "{values: [1e-4, 1e-3]}")
    text = text.replace("min: 0.0, max: 0.95", "values: [0.0, 0.5, 0.9]").replace("random", "grid")
    study = Study.parse(text)
    assert study.num_trials(study.arms[0]) == 5
    trials = [study.grid_point(study.arms[2], index) for index in range(5)]
    assert trials[:2] == [
        {"optimizer.lr": 1e-4, "optimizer.beta1": 0.0},
        {"optimizer.lr": 1e-3, "optimizer.beta1": 0.0},
    ]
    assert len({tuple(trial.values()) for trial in trials}) == 5
    study = Study.parse(text.replace("run_cap: 5\n", "").replace("  run_cap: 2\n", ""))
    assert study.num_trials(study.arms[1]) == 6
    message = error(
        text.replace("run_cap: 5\n", "").replace("values: [0.0, 0.5, 0.9], when", "values: [0.5], when", 1)
    )
    assert "arms must have equal budgets; write run_cap: 2" in message


def test_a_wandb_file_runs_as_it_is_once_it_names_a_recipe() -> None:
    study = Study.parse(WANDB)
    assert study.kind == "search"
    assert study.unused == (
        "program",
        "command",
        "project",
        "metric.target",
    )
    assert study.overrides == {"optimizer.name": "adam"}
    assert list(study.parameters) == [
        "optimizer.lr",
        "optimizer.beta1",
        "train.batch_size",
        "train.discriminator_steps",
    ]
    assert study.parameters["train.discriminator_steps"].name == "int_uniform"
    (arm,) = study.arms
    assert study.num_trials(arm) == 20
    assert study.seeds == (0,)
    assert study.early_terminate is not None
    assert (study.early_terminate.max_iter, study.early_terminate.s, study.early_terminate.eta) == (27, 2, 3)
    assert "`recipe` is missing" in error(WANDB.replace("recipe: points-gan\n", ""))


def test_a_grid_has_cells_without_a_baseline_and_stops_at_its_run_cap() -> None:
    study = Study.parse(GRID)
    assert study.kind == "grid"
    assert len(study.arms) == 3 * 2 * 2
    assert not any(arm.is_baseline for arm in study.arms)
    assert study.arms[1].name == "discriminator_steps=1, reuse_fakes=true, ema=0.25"
    assert study.arms[1].recipe.train.epochs == 7
    assert study.target.goal == "minimize"
    capped = Study.parse(GRID + "run_cap: 4\n")
    assert [arm.name for arm in capped.arms] == [
        "discriminator_steps=1, reuse_fakes=true, ema=0",
        "discriminator_steps=1, reuse_fakes=false, ema=0",
        "discriminator_steps=1, reuse_fakes=true, ema=0.25",
        "discriminator_steps=1, reuse_fakes=false, ema=0.25",
    ]
    assert all(arm in study.arms for arm in capped.arms)


STOPPED = [
    # what the file says, (min_iter, max_iter, s, eta) of it, what W&B too passes over
    ("min_iter: 3", (3, None, None, 3), ()),
    ("min_iter: 3, s: 2", (3, None, None, 3), ("early_terminate.s",)),
    ("min_iter: 3, max_iter: 27, s: 2", (None, 27, 2, 3), ("early_terminate.min_iter",)),
    ("s: 5, max_iter: 27", (None, 27, 5, 3), ()),
    ("s: 1000000000, max_iter: 1000000000, eta: 2", (None, 10**9, 10**9, 2), ()),
    ("min_iter: 3, eta: 2.0", (3, None, None, 2), ()),
    ("max_iter: 27, s: 5, eta: 1.5", (None, 27, 5, 1.5), ()),
    ("max_iter: 27.0, s: 20, eta: 1.5", (None, 27, 20, 1.5), ()),
    ("max_iter: 2, s: 1, eta: 1.5", (None, 2, 1, 1.5), ()),
]


def test_hyperband_means_what_it_does_in_wandb(subtests: pytest.Subtests) -> None:
    for said, expected, unused in STOPPED:
        with subtests.test(said=said):
            text = TUNED.replace("min_iter: 3, eta: 2", said)
            study = Study.parse(text)
            found = study.early_terminate
            assert found is not None
            assert (found.min_iter, found.max_iter, found.s, found.eta) == expected
            assert study.unused == unused
            assert Study.from_json(study.to_json()) == study


def test_a_grid_that_stops_early_is_a_search_of_its_points() -> None:
    study = Study.parse(
        GRID.replace("modes, goal: minimize", "sliced_w2")
        + "early_terminate: {type: hyperband, min_iter: 2}\n"
    )
    assert study.kind == "search"
    (arm,) = study.arms
    assert study.num_trials(arm) == 12
    points = [study.trial_overrides(arm, study.grid_point(arm, index)) for index in range(12)]
    plain = Study.parse(GRID)
    assert points == [dict(found.overrides) for found in plain.arms]
    assert [study.build(point) for point in points] == [found.recipe for found in plain.arms]


def test_a_grid_of_very_many_points_is_a_search_of_them_and_none_is_listed() -> None:
    text = GRID.replace("{min: 1, max: 3}", "{min: 1, max: 900000}")
    study = Study.parse(text)
    assert (study.kind, study.num_arms, study.num_runs) == ("search", 1, 900_000 * 2 * 2)
    (arm,) = study.arms
    last = study.trial_overrides(arm, study.grid_point(arm, study.num_runs - 1))
    assert last == {"train.discriminator_steps": 900_000, "train.reuse_fakes": False, "train.ema": 0.25}
    assert len(Study.parse(text + "run_cap: 3\n").arms) == 3


def test_of_an_ablation_with_very_many_arms_only_the_first_is_built() -> None:
    values = ", ".join(str(rate) for rate in range(1, 1001))
    grid = (
        f"    optimizer.lr: [{values}]\n    loss.r1: [{values}]\n  baseline: {{optimizer.lr: 2, loss.r1: 1}}"
    )
    text = ABLATION.replace(
        "    optimizer.name: [rmsprop, sgd, adam]\n  baseline: {optimizer.name: rmsprop}", grid
    )
    study = Study.parse(text.replace("optimizer.lr: {value: 5e-5}", "optimizer.eps: {value: 1e-8}"))
    assert (study.num_arms, study.num_runs, study.lists_arms) == (10**6, 4 * 10**6, False)
    assert study.first_arm.overrides == {"optimizer.lr": 1, "loss.r1": 1}
    assert Study.from_json(study.to_json()) == study
    with pytest.raises(ValueError, match=r"optimizers has 1,000,000 arms; at most 1,000 are listed"):
        _ = study.arms


@pytest.mark.parametrize("text", [ABLATION, TUNED, WANDB, GRID])
def test_runs_are_counted_without_listing_them(text: str) -> None:
    study = Study.parse(text)
    assert study.num_arms == len(study.arms)
    assert study.first_arm == study.arms[0]
    trials = sum(study.num_trials(arm) or 1 for arm in study.arms)
    assert study.num_runs == trials * len(study.seeds) + len(study.arms) * len(study.final_seeds)


def test_a_fixed_option_of_the_optimisers_that_are_searched_is_taken() -> None:
    text = "recipe: points-gan\nmetric: {name: sliced_w2}\nmethod: random\nrun_cap: 3\nparameters:\n"
    text += "  optimizer.beta1: {value: 0.5}\n  optimizer.name: {values: [adam, adamw]}\n"
    study = Study.parse(text)
    (arm,) = study.arms
    for name in ("adam", "adamw"):
        optimizer = study.trial_recipe(arm, {"optimizer.name": name}).generator_optimizer
        assert (optimizer.name, optimizer.options["beta1"]) == (name, 0.5)
    assert arm.recipe.generator_optimizer.name == "adam"
    with pytest.raises(ValueError, match="sgd has no option `beta1`"):
        Study.parse(text.replace("adamw", "sgd"))


def test_a_study_of_one_recipe_repeats_it() -> None:
    study = Study.parse("recipe: points-wgan\nmetric: {name: sliced_w2}\nseeds: [3, 1]\n")
    assert study.kind == "grid"
    assert [arm.name for arm in study.arms] == ["points-wgan"]
    assert study.arms[0].recipe == find_recipe("points-wgan")
    assert study.seeds == (3, 1)


@pytest.mark.parametrize("text", [ABLATION, TUNED, WANDB, GRID])
def test_json_keeps_everything(text: str) -> None:
    study = Study.parse(text)
    again = Study.from_json(json.loads(json.dumps(study.to_json())))
    assert again == study
    assert again.arms == study.arms
    assert study.difference(again) == []
    assert pickle.loads(pickle.dumps(study)) == study


def test_what_is_written_down_is_a_sweep_file(tmp_path: Path) -> None:
    from ruamel.yaml import YAML

    study = Study.parse(TUNED)
    path = tmp_path / "study.yaml"
    with path.open("w") as file:
        YAML(typ="safe", pure=True).dump(study.to_json(), file)
    assert Study.load(path) == study


def test_smoke_changes_the_study_and_its_name() -> None:
    study = Study.parse(TUNED, smoke=True)
    assert study.name == "tuned-smoke"
    assert study.smoke == {}
    assert study.seeds == (0,)
    assert len(study.final_seeds) == 3
    assert not set(study.seeds) & set(study.final_seeds)
    assert [study.num_trials(arm) for arm in study.arms] == [2, 2, 2]
    assert {arm.recipe.train.epochs for arm in study.arms} == {2}
    assert Study.parse(TUNED).overrides == {"train.epochs": 10}
    assert "`smoke` is missing" in error(TUNED.split("smoke:")[0], smoke=True)


def test_seeds_and_overrides_go_before_the_file() -> None:
    study = Study.parse(
        TUNED,
        seeds=6,
        overrides={"train.epochs": 4, "run_cap": 3, "data.name": "points", "final_seeds": [99]},
    )
    assert study.seeds == (0, 1, 2, 3, 4, 5)
    assert study.final_seeds == (99,)
    assert study.num_trials(study.arms[0]) == 3
    assert study.base.train.epochs == 4
    assert Study.parse(TUNED, seeds=[5, 7]).final_seeds == (8, 9, 10)
    assert Study.parse(ABLATION, overrides={"recipe": "points-wgan"}).base.loss.name == "wasserstein"
    assert Study.parse(WANDB, seeds=2).unused == Study.parse(WANDB).unused


def test_difference_names_what_would_train_something_else() -> None:
    study = Study.parse(ABLATION)
    other = Study.parse(ABLATION.replace("5e-5", "1e-4").replace("which optimiser", "why"), seeds=2)
    assert study.difference(other) == [
        "`seeds`: [0, 1, 2, 3] → [0, 1]",
        "`parameters.optimizer.lr.value`: 5e-05 → 0.0001",
    ]
    assert '`ablate.baseline.optimizer.name`: "rmsprop" → not set' in study.difference(Study.parse(GRID))


def test_a_script_can_give_the_grammar_as_a_dictionary() -> None:
    study = Study.from_json(
        {
            "name": "scripted",
            "recipe": "points-gan",
            "metric": {"name": "sliced_w2"},
            "seeds": range(3),
            "ablate": {"parameters": {"train.ema": (0.0, 0.9)}, "baseline": {"train.ema": 0.0}},
        }
    )
    assert study.seeds == (0, 1, 2)
    assert len(study.arms) == 2
    with pytest.raises(ValueError, match=r"^unknown key `metrik`; did you mean `metric`"):
        Study.from_json({"recipe": "points-gan", "metrik": 1})


def test_numpy_scalars_in_a_study_are_the_numbers_that_they_read_as() -> None:
    nested = {
        "name": "scripted",
        "recipe": "points-gan",
        "metric": {"name": "sliced_w2"},
        "seeds": np.arange(2).tolist(),
        "method": "random",
        "run_cap": 3,
        "parameters": {
            "optimizer.lr": {"min": 0.001, "max": 0.1, "distribution": "log_uniform_values"},
            "train.ema": {"values": [0.0, 0.9]},
        },
    }
    plain = Study.from_json(nested)
    nested["seeds"] = np.int64(2)
    nested["run_cap"] = np.array(3)
    nested["parameters"] = {
        "optimizer.lr": {
            "min": np.float32(0.001),
            "max": np.float64(0.1),
            "distribution": "log_uniform_values",
        },
        "train.ema": {"values": [np.array(0.0), np.float32(0.9)]},
    }
    assert Study.from_json(nested) == plain
    assert json.loads(json.dumps(Study.from_json(nested).to_json())) == plain.to_json()
    changes = {"train.epochs": np.int64(7), "run_cap": np.int64(2)}
    loaded = Study.parse(GRID, seeds=np.int64(2), overrides={"train.epochs": np.int64(7)})
    assert loaded == Study.parse(GRID, seeds=2, overrides={"train.epochs": 7})
    assert Study.parse(GRID, seeds=list(np.arange(2)), overrides=changes).run_cap == 2
    arrays = {"train.epochs": np.array(7), "optimizer.lr": np.array(0.1, np.float32)}
    found = Study.parse(GRID, seeds=np.arange(2), overrides=arrays)
    assert found.seeds == (0, 1)
    assert found.overrides["train.epochs"] == 7
    assert found.base.generator_optimizer.options["lr"] == 0.1


def test_a_study_takes_its_name_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "my-file.yaml"
    path.write_text(GRID)
    assert Study.load(path).name == "my-file"


def test_the_shipped_ablation_has_the_reports_settings() -> None:
    study = Study.load(ROOT / "sweeps/optimizers.yaml")
    assert [arm.name for arm in study.arms] == ["rmsprop", "sgd", "adam"]
    assert study.base.generator_optimizer.name == "rmsprop"
    assert len(study.seeds) == 8
    for arm in study.arms:
        assert arm.recipe.train.epochs == 320
        assert arm.recipe.generator_optimizer.options["lr"] == 5e-5
        assert arm.recipe.discriminator_optimizer.options["lr"] == 5e-5
    assert study.base.override({}) == find_recipe("points-gan")
    assert len(Study.load(ROOT / "sweeps/optimizers.yaml", smoke=True).seeds) >= 3


def test_the_shipped_tuned_ablation_gives_each_arm_its_momentum() -> None:
    study = Study.load(ROOT / "sweeps/optimizers-tuned.yaml")
    assert len({study.num_trials(arm) for arm in study.arms}) == 1
    assert [len(study.space(arm)) for arm in study.arms] == [2, 2, 2]
    assert len(study.final_seeds) == 8
    assert Study.load(ROOT / "sweeps/optimizers-tuned.yaml", smoke=True).kind == "tuned-ablation"


def test_reading_the_module_needs_neither_optuna_nor_torch() -> None:
    code = (
        "import sys, harness.study.study; "
        "print(sorted(set(sys.modules) & {'optuna', 'torch', 'scipy', 'wandb', 'matplotlib', 'ruamel.yaml'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
