"""Studies: what a sweep file means, and that its mistakes cost one line."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import optuna
import pytest

from harness.recipe import find_recipe
from harness.sweep.study import Study, find_studies, find_study

ROOT = Path(__file__).parents[1]

ABLATION = """\
name: optimizers
description: which optimiser
recipe: points-gan
metric: {name: sliced_w2}
seeds: 4
ablate:
  parameters:
    optimizer.name: [rmsprop, sgd, adam]
  baseline: {optimizer.name: rmsprop}
parameters:
  optimizer.lr: {value: 5e-5}
smoke:
  seeds: 2
  train.epochs: 3
"""

TUNED = """\
name: tuned
recipe: points-gan
metric: {name: eval/sliced_w2, at: best}
seeds: 2
final_seeds: 3
ablate:
  parameters:
    optimizer.name: {values: [rmsprop, sgd, adam]}
  baseline: {optimizer.name: sgd}
method: random
run_cap: 5
early_terminate: {type: hyperband, min_iter: 3, eta: 2}
parameters:
  train.epochs: {value: 10}
  optimizer.lr: {distribution: log_uniform_values, min: 1e-5, max: 1e-1}
  optimizer.momentum: {min: 0.0, max: 0.95, when: {optimizer.name: [rmsprop, sgd]}}
  optimizer.beta1: {values: [0.0, 0.5, 0.9], when: {optimizer.name: adam}}
  optimizer.beta2: {value: 0.99, when: {optimizer.name: adam}}
smoke:
  seeds: 1
  run_cap: 2
  train.epochs: 2
"""

WANDB = """\
program: train.py
command: ["${env}", python, "${program}", "${args}"]
project: gans
name: wandb-sweep
method: bayes
metric: {name: sliced_w2, goal: minimize, target: 0.01}
run_cap: 20
early_terminate: {type: hyperband, s: 2, eta: 3, max_iter: 27, strict: true}
recipe: points-gan
parameters:
  optimizer:
    parameters:
      name: {value: adam}
      lr: {distribution: log_uniform, min: -12, max: -3}
      beta1: {min: 0.0, max: 0.9}
  train.batch_size: {values: [64, 128, 256]}
  train.discriminator_steps: {min: 1, max: 5}
"""

GRID = """\
recipe: points-gan
metric: {name: modes, goal: minimize}
method: grid
parameters:
  train.discriminator_steps: {min: 1, max: 3}
  train.reuse_fakes: {values: [true, false]}
  train.ema: {distribution: q_uniform, min: 0.0, max: 0.5, q: 0.25}
  train.epochs: {value: 7}
"""


def error(text: str, **options: Any) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        Study.parse(text, source="s.yaml", **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def changed(text: str, old: str, new: str) -> str:
    assert text.count(old) >= 1
    return text.replace(old, new, 1)


def test_an_ablations_cells_are_its_grid_with_the_baseline_marked() -> None:
    study = Study.parse(ABLATION)
    assert study.kind == "ablation"
    assert study.seeds == (0, 1, 2, 3)
    assert study.final_seeds == ()
    assert [(cell.name, cell.is_baseline) for cell in study.cells] == [
        ("rmsprop", True),
        ("sgd", False),
        ("adam", False),
    ]
    for cell in study.cells:
        assert cell.overrides == {"optimizer.name": cell.name}
        assert cell.recipe.generator_optimizer.name == cell.name
        assert cell.recipe.discriminator_optimizer.options["lr"] == 5e-5
        assert study.num_trials(cell) == 0
    assert study.base == study.cells[0].recipe
    assert study.metric.goal == "minimize"
    assert study.metric.at == "last"


def test_fixed_settings_meet_each_arms_optimizer_not_the_recipes() -> None:
    study = Study.parse(
        changed(ABLATION, "[rmsprop, sgd, adam]", "[rmsprop, sgd]").replace(
            "optimizer.lr: {value: 5e-5}", "optimizer.momentum: {value: 0.9}"
        )
    )
    assert [cell.recipe.generator_optimizer.options["momentum"] for cell in study.cells] == [0.9, 0.9]


def test_cells_of_several_keys_have_names_that_tell_them_apart() -> None:
    text = ABLATION.replace(
        "    optimizer.name: [rmsprop, sgd, adam]\n  baseline: {optimizer.name: rmsprop}\n",
        "    generator_optimizer.name: [adam, sgd]\n    discriminator_optimizer.name: [adam, sgd]\n"
        "    train.discriminator_steps: [1, 5]\n    train.reuse_fakes: [true]\n    train.ema: [0.5]\n"
        "  baseline: {generator_optimizer.name: adam, discriminator_optimizer.name: adam, "
        "train.discriminator_steps: 1, train.reuse_fakes: true, train.ema: 0.5}\n",
    )
    names = [cell.name for cell in Study.parse(text).cells]
    assert len(set(names)) == 8
    assert names[0] == (
        "generator_optimizer.name=adam, discriminator_optimizer.name=adam, discriminator_steps=1, "
        "reuse_fakes=true, ema=0.5"
    )


def test_recipes_themselves_can_be_ablated() -> None:
    text = changed(ABLATION, "optimizer.name: [rmsprop, sgd, adam]", "recipe: [points-gan, points-wgan]")
    study = Study.parse(changed(text, "{optimizer.name: rmsprop}", "{recipe: points-gan}"))
    assert [cell.name for cell in study.cells] == ["points-gan", "points-wgan"]
    assert [cell.recipe.loss.name for cell in study.cells] == ["minimax", "wasserstein"]


def test_tuned_arms_search_what_their_optimizer_has_with_equal_budgets() -> None:
    study = Study.parse(TUNED)
    assert study.kind == "tuned-ablation"
    spaces = {cell.name: list(study.space(cell)) for cell in study.cells}
    assert spaces == {
        "rmsprop": ["optimizer.lr", "optimizer.momentum"],
        "sgd": ["optimizer.lr", "optimizer.momentum"],
        "adam": ["optimizer.lr", "optimizer.beta1"],
    }
    assert [study.num_trials(cell) for cell in study.cells] == [5, 5, 5]
    assert study.seeds == (0, 1)
    assert study.final_seeds == (2, 3, 4)
    assert study.base.generator_optimizer.name == "sgd"
    adam = study.cells[2]
    assert adam.overrides == {"optimizer.name": "adam", "optimizer.beta2": 0.99}
    assert study.metric.name == "sliced_w2"
    assert study.metric.at == "best"


def test_a_trials_recipe_follows_from_its_params_alone() -> None:
    study = Study.parse(TUNED)
    again = Study.from_json(json.loads(json.dumps(study.to_json())))
    for cell, twin in zip(study.cells, again.cells, strict=True):
        search = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        trial = search.ask({key: found.optuna() for key, found in study.space(cell).items()})
        params = json.loads(json.dumps(trial.params))
        overrides = study.trial_overrides(cell, params)
        assert overrides.items() >= cell.overrides.items()
        assert set(overrides) == set(cell.overrides) | set(study.space(cell))
        assert study.trial_recipe(cell, params) == again.trial_recipe(twin, params)
        assert study.trial_recipe(cell, params).train.epochs == 10
    with pytest.raises(ValueError, match="the trial has parameters none, but arm adam of tuned searches"):
        study.trial_overrides(study.cells[2], {})


def test_tuned_arms_by_grid_list_their_trials() -> None:
    text = TUNED.replace("early_terminate: {type: hyperband, min_iter: 3, eta: 2}\n", "")
    text = text.replace("{distribution: log_uniform_values, min: 1e-5, max: 1e-1}", "{values: [1e-4, 1e-3]}")
    text = text.replace("min: 0.0, max: 0.95", "values: [0.0, 0.5, 0.9]").replace("random", "grid")
    study = Study.parse(text)
    assert study.num_trials(study.cells[0]) == 5
    trials = study.grid(study.cells[2])
    assert trials[0] == {"optimizer.lr": 1e-4, "optimizer.beta1": 0.0}
    assert len(trials) == 5
    study = Study.parse(text.replace("run_cap: 5\n", "").replace("  run_cap: 2\n", ""))
    assert len(study.grid(study.cells[1])) == 6
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
        "early_terminate.strict",
    )
    assert study.overrides == {"optimizer.name": "adam"}
    assert list(study.parameters) == [
        "optimizer.lr",
        "optimizer.beta1",
        "train.batch_size",
        "train.discriminator_steps",
    ]
    assert study.parameters["train.discriminator_steps"].name == "int_uniform"
    (cell,) = study.cells
    assert study.num_trials(cell) == 20
    assert study.seeds == (0,)
    assert study.early_terminate is not None
    assert (study.early_terminate.max_iter, study.early_terminate.s, study.early_terminate.eta) == (27, 2, 3)
    assert "`recipe` is missing" in error(WANDB.replace("recipe: points-gan\n", ""))


def test_a_grid_has_cells_without_a_baseline_and_stops_at_its_run_cap() -> None:
    study = Study.parse(GRID)
    assert study.kind == "grid"
    assert len(study.cells) == 3 * 2 * 3
    assert not any(cell.is_baseline for cell in study.cells)
    assert study.cells[1].name == "discriminator_steps=1, reuse_fakes=true, ema=0.25"
    assert study.cells[1].recipe.train.epochs == 7
    assert study.metric.goal == "minimize"
    capped = Study.parse(GRID + "run_cap: 4\n")
    assert capped.cells == study.cells[:4]


def test_a_study_of_one_recipe_repeats_it() -> None:
    study = Study.parse("recipe: points-wgan\nmetric: {name: sliced_w2}\nseeds: [3, 1]\n")
    assert study.kind == "grid"
    assert [cell.name for cell in study.cells] == ["points-wgan"]
    assert study.cells[0].recipe == find_recipe("points-wgan")
    assert study.seeds == (3, 1)


@pytest.mark.parametrize("text", [ABLATION, TUNED, WANDB, GRID])
def test_json_keeps_everything(text: str) -> None:
    study = Study.parse(text)
    again = Study.from_json(json.loads(json.dumps(study.to_json())))
    assert again == study
    assert again.cells == study.cells
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
    assert [study.num_trials(cell) for cell in study.cells] == [2, 2, 2]
    assert {cell.recipe.train.epochs for cell in study.cells} == {2}
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
    assert study.num_trials(study.cells[0]) == 3
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
    assert len(study.cells) == 2
    with pytest.raises(ValueError, match=r"^unknown key `metrik`; did you mean `metric`"):
        Study.from_json({"recipe": "points-gan", "metrik": 1})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "recipe: points-gan",
            "recipe: point-gan",
            r"^s\.yaml:3:9: `recipe`: unknown recipe `point-gan`; did you",
        ),
        ("recipe: points-gan", "recipe: 3", r"^s\.yaml:3:9: `recipe` must be text, but got 3"),
        ("recipe: points-gan\n", "", r"^s\.yaml:1:1: `recipe` is missing: .*points-gan"),
        ("metric: {name: sliced_w2}\n", "", r"`metric` is missing: .*sliced_w2"),
        ("metric:", "metrik:", r"^s\.yaml:4:1: unknown key `metrik`; did you mean `metric`\?"),
        (
            "sliced_w2",
            "slicd_w2",
            r"^s\.yaml:4:16: `metric\.name`: unknown metric `slicd_w2`; did you mean `sl",
        ),
        ("name: sliced_w2", "nme: a", r"^s\.yaml:4:10: unknown key `metric\.nme`; did you mean `name`"),
        ("{name: sliced_w2}", "sliced_w2", r"`metric` must be a mapping with name, goal, at"),
        ("{name: sliced_w2}", "{goal: minimize}", r"`metric\.name` must name a metric, but got None"),
        (
            "sliced_w2}",
            "sliced_w2, goal: minimise}",
            r"`metric\.goal` must be one of .*did you mean `minimize`",
        ),
        ("sliced_w2}", "sliced_w2, at: first}", r"`metric\.at` must be one of last, best, area"),
        ("sliced_w2}", "w2, at: best}", r"`metric\.at` is best, but w2 is only measured at the end"),
        (
            "seeds: 4",
            "seeds: 0",
            r"^s\.yaml:5:8: `seeds` must be between 1 and 1000, but got 0; write seeds: 8",
        ),
        ("seeds: 4", "seeds: -2", r"`seeds` must be between 1 and 1000, but got -2"),
        ("seeds: 4", "seeds: four", r"`seeds` must be a number of seeds or a list of them, but got 'four'"),
        ("seeds: 4", "seeds: true", r"`seeds` must be a number of seeds"),
        ("seeds: 4", "seeds: 1.5", r"`seeds` must be a number of seeds"),
        ("seeds: 4", "seeds: []", r"`seeds` must list 1 to 1000 seeds, but lists 0"),
        ("seeds: 4", "seeds: [1, 2, 1]", r"`seeds` holds 1 twice"),
        ("seeds: 4", "seeds: [1, -1]", r"^s\.yaml:5:12: `seeds` must hold integers from 0 to .* but got -1"),
        ("seeds: 4", "seeds:", r"^s\.yaml:5:1: `seeds` is empty; give it a value, or remove the line"),
        ("seeds: 4\n", "", r"`seeds` is missing: an ablation compares arms over several seeds"),
        ("seeds: 4", "seeds: 4\nseeds: 5", r"^s\.yaml:6:1: `seeds` is given twice, first on line 5"),
        ("seeds: 4", "final_seeds: 3\nseeds: 4", r"`final_seeds` are for the best trial of each tuned arm"),
        ("seeds: 4", "seeds: 4\nrun_cap: 3", r"^s\.yaml:6:10: `run_cap` would cut arms off"),
        (
            "seeds: 4",
            "seeds: 4\nmethod: random",
            r"`method` is random, but `parameters` holds nothing to search",
        ),
        ("seeds: 4", "seeds: 4\nmethod: grd", r"`method` must be one of .* did you mean `grid`\?"),
        ("seeds: 4", "seeds: 4\nmethod: [grid]", r"`method` must be one of"),
        (
            "seeds: 4",
            "seeds: 4\nearly_terminate: {type: hyperband, min_iter: 2}",
            r"`early_terminate` stops hopeless trials of a search, but here every cell is trained to its end",
        ),
        ("name: optimizers", "name: my study!", r"`name` names a folder, .* write name: my-study\."),
        ("name: optimizers", "name: ../up", r"`name` names a folder.*write name: up"),
        ("name: optimizers", "name: 7", r"`name` must be text, but got 7; put it in quotes"),
        ("description: which", "description: [which]\n#", r"`description` must be text"),
        (
            "[rmsprop, sgd, adam]",
            "[rmsprop, sdg]",
            r"^s\.yaml:8:21: `optimizer\.name`: unknown optimizer `sdg`; did",
        ),
        (
            "[rmsprop, sgd, adam]",
            "[]",
            r"^s\.yaml:8:21: `ablate\.parameters\.optimizer\.name` must be a list of at",
        ),
        ("[rmsprop, sgd, adam]", "[rmsprop, rmsprop]", r"holds 'rmsprop' twice"),
        ("[rmsprop, sgd, adam]", "[rmsprop, null]", r"must be a number, a word, true or false, but got None"),
        (
            "[rmsprop, sgd, adam]",
            "[rmsprop, [sgd]]",
            r"must be a number, a word, true or false, but got \['sgd'\]",
        ),
        (
            "[rmsprop, sgd, adam]",
            "{min: 1, max: 2}",
            r"must list its values, but got .*put it under `parameters`",
        ),
        ("[rmsprop, sgd, adam]", "{value: rmsprop}", r"must list its values"),
        ("[rmsprop, sgd, adam]", "{valeus: [rmsprop]}", r"unknown key `valeus`; did you mean `values`"),
        (
            "optimizer.name: [",
            "optimizer.nam: [",
            r"`ablate\.baseline\.optimizer\.name` is no key of .* did you mean",
        ),
        (
            "    optimizer.name: [rmsprop, sgd, adam]\n  baseline: {optimizer.name: rmsprop}",
            "    generator.dpth: [1, 2]\n  baseline: {generator.dpth: 1}",
            r"^s\.yaml:8:5: `generator\.dpth`: .* has no option `dpth`",
        ),
        (
            "{optimizer.name: rmsprop}",
            "{optimizer.name: adamw}",
            r"`ablate\.baseline\.optimizer\.name` must be one of",
        ),
        ("{optimizer.name: rmsprop}", "{}", r"`ablate\.baseline` says nothing of `optimizer\.name`"),
        ("{optimizer.name: rmsprop}", "rmsprop", r"`ablate\.baseline` must map each key to its value"),
        ("  baseline: {optimizer.name: rmsprop}\n", "", r"`ablate\.baseline` is missing; write baseline: "),
        ("  baseline:", "  basline:", r"unknown key `ablate\.basline`; did you mean `baseline`"),
        (
            "optimizer.lr: {value: 5e-5}",
            "optimizer.lr: {value: -1}",
            r"^s\.yaml:11:17: `optimizer\.lr` must be positive",
        ),
        ("5e-5", "0", r"`optimizer\.lr` must be positive, but got 0"),
        ("5e-5", ".nan", r"^s\.yaml:11:25: `parameters\.optimizer\.lr\.value` must be a finite number"),
        ("5e-5", "fast", r"`optimizer\.lr` must be a number, but got 'fast'"),
        ("5e-5", "[1e-3]", r"`parameters\.optimizer\.lr\.value` must be a number, a word, true or false"),
        ("{value: 5e-5}", "5e-5", r"must say what to search, but got 5e-05; write \{value: 5e-05\}"),
        (
            "{value: 5e-5}",
            "{min: 1e-5, max: 1e-3}",
            r"`method` is missing: `parameters\.optimizer\.lr` is to be se",
        ),
        (
            "optimizer.lr: {",
            "optimizer.lrr: {",
            r"`optimizer\.lrr`: .* has no option `lrr`; did you mean `lr`",
        ),
        (
            "optimizer.lr: {",
            "optimiser.lr: {",
            r"^s\.yaml:11:3: unknown key `optimiser\.lr`; did you mean `optimizer",
        ),
        ("optimizer.lr: {value: 5e-5}", "optimizer.name: {value: sgd}", r"stands in both"),
        ("optimizer.lr: {value: 5e-5}", "optimizer.momentum: {value: 0.5}", r"adam has no option `momentum`"),
        (
            "{value: 5e-5}",
            "{value: 1e-3, when: {optimizer.name: adm}}",
            r"no arm has 'adm'; did you mean `adam`",
        ),
        (
            "{value: 5e-5}",
            "{value: 1e-3, when: {optimizer.nme: adam}}",
            r"is no key of .* did you mean `optimizer\.n",
        ),
        ("{value: 5e-5}", "{value: 1e-3, when: adam}", r"must map a key of `ablate\.parameters` to values"),
        (
            "{value: 5e-5}",
            "{value: 1e-3, when: {optimizer.name: []}}",
            r"is empty; give it at least one value",
        ),
        ("seeds: 2", "seeds: 0", r"^s\.yaml:13:10: in `smoke`: `seeds` must be between"),
        (
            "seeds: 2",
            "sedes: 1",
            r"^s\.yaml:13:10: in `smoke`: `sedes` cannot be changed here; did you mean `seeds`",
        ),
        (
            "train.epochs: 3",
            "train.epochs: 0",
            r"^s\.yaml:14:17: in `smoke`: `train\.epochs` must be at least 1",
        ),
        ("train.epochs: 3", "train.epoch: 3", r"in `smoke`: `train\.epoch`: .* did you mean `epochs`"),
        (
            "train.epochs: 3",
            "optimizer.name: sgd",
            r"in `smoke`: `optimizer\.name` is what this study varies",
        ),
        ("train.epochs: 3", "train.epochs: [3]", r"`smoke\.train\.epochs` must be a number"),
        ("  seeds: 2\n  train.epochs: 3\n", "  - a\n", r"`smoke` must map keys to their values"),
    ],
)
def test_a_mistake_in_an_ablation_is_named_with_its_place(old: str, new: str, message: str) -> None:
    found = error(changed(ABLATION, old, new))
    assert re.search(message, found), found


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "min: 1e-5",
            "min: 0.5",
            r"^s\.yaml:15:57: `parameters\.optimizer\.lr\.min` must be below .* swap them",
        ),
        ("min: 1e-5", "min: 0", r"`parameters\.optimizer\.lr\.min` must be positive, but got 0"),
        (
            "log_uniform_values",
            "log_unifrm",
            r"unknown distribution 'log_unifrm'; did you mean `log_uniform`",
        ),
        ("max: 0.95", "max: 1.0", r"^s\.yaml:16:23: `optimizer\.momentum` must be in \[0, 1\), but got 1"),
        (
            "min: 0.0, max: 0.95",
            "distribution: normal",
            r"`optimizer\.momentum` must be in \[0, 1\), but got -",
        ),
        ("[0.0, 0.5, 0.9]", "[0.0, 1.5]", r"`optimizer\.beta1` must be in \[0, 1\), but got 1\.5"),
        (
            "[0.0, 0.5, 0.9]",
            "[]",
            r"`parameters\.optimizer\.beta1\.values` must be a list of at least one value",
        ),
        (
            ", when: {optimizer.name: [rmsprop, sgd]}",
            "",
            r"`optimizer\.momentum`: adam has no option `momentum`",
        ),
        ("  optimizer.lr: {dist", "  train.batch_size: {dist", r"`train\.batch_size` must be"),
        (
            "run_cap: 5\n",
            "",
            r"`run_cap` is missing: method random needs a number of trials; write run_cap: 20",
        ),
        ("run_cap: 5", "run_cap: 0", r"`run_cap` must be an integer of at least 1, but got 0"),
        ("run_cap: 5", "run_cap: 2.5", r"`run_cap` must be an integer of at least 1, but got 2\.5"),
        ("method: random", "method: grid", r"`early_terminate` stops|a grid cannot go through"),
        (
            "final_seeds: 3",
            "final_seeds: [1, 7]",
            r"^s\.yaml:5:14: `final_seeds` must be fresh, but 1 is one of `seeds`",
        ),
        ("final_seeds: 3", "final_seeds: 0", r"`final_seeds` must be between 1 and 1000, but got 0"),
        ("final_seeds: 3", "final_seeds: []", r"`final_seeds` must list 1 to 1000 seeds"),
        ("type: hyperband", "type: median", r"`early_terminate\.type` must be hyperband, but got 'median'"),
        ("min_iter: 3", "max_iter: 9", r"takes `min_iter` .* or `max_iter` with `s`"),
        ("min_iter: 3", "min_iter: 3, max_iter: 9, s: 1", r"takes `min_iter` .* or `max_iter` with `s`"),
        ("min_iter: 3", "max_iter: 9, s: 5", r"`early_terminate\.s` 5 is too large"),
        (
            "min_iter: 3, eta: 2",
            "min_iter: 3, eta: 1.5",
            r"`early_terminate\.eta` must be an integer of at least 2",
        ),
        ("min_iter: 3", "min_itr: 3", r"unknown key `early_terminate\.min_itr`; did you mean `min_iter`"),
        (
            "eval/sliced_w2, at: best",
            "w2",
            r"`early_terminate` watches the metric, but w2 is only measured at the end",
        ),
        (
            "  optimizer.beta1: {values: [0.0, 0.5, 0.9], when: {optimizer.name: adam}}\n"
            "  optimizer.beta2: {value: 0.99, when: {optimizer.name: adam}}\n",
            "",
            None,
        ),
    ],
)
def test_a_mistake_in_a_search_is_named_with_its_place(old: str, new: str, message: str | None) -> None:
    text = changed(TUNED, old, new)
    if message is None:
        assert [len(Study.parse(text).space(cell)) for cell in Study.parse(text).cells] == [2, 2, 1]
        return
    found = error(text)
    assert re.search(message, found), found


def test_an_arm_without_anything_to_tune_is_refused() -> None:
    text = changed(
        TUNED, "min: 1e-5, max: 1e-1}", "min: 1e-5, max: 1e-1, when: {optimizer.name: [rmsprop, sgd]}}"
    )
    text = changed(
        text,
        "{values: [0.0, 0.5, 0.9], when: {optimizer.name: adam}}",
        "{value: 0.5, when: {optimizer.name: adam}}",
    )
    assert "arm `adam` has nothing to tune while others have" in error(text)


def test_cells_that_are_the_same_recipe_are_refused() -> None:
    text = changed(ABLATION, "optimizer.name: [rmsprop, sgd, adam]", "optimizer.lr: [1, 1.0]")
    text = changed(text, "{optimizer.name: rmsprop}", "{optimizer.lr: 1}")
    text = changed(text, "  optimizer.lr: {value: 5e-5}", "  train.epochs: {value: 3}")
    text = text.replace("  train.epochs: 3\n", "")
    assert "cells `lr=1` and `lr=1` are the same recipe" in error(text)


def test_nested_and_dotted_keys_cannot_meet() -> None:
    assert "`optimizer.lr` is given twice under `parameters`" in error(WANDB + "  optimizer.lr: {value: 1}\n")
    text = changed(WANDB, "    parameters:\n      name", "    value: 3\n    parameters:\n      name")
    assert "cannot stand beside nested `parameters`" in error(text)


def test_a_grid_of_too_many_cells_is_refused() -> None:
    text = GRID.replace("{min: 1, max: 3}", "{min: 1, max: 900}")
    assert "`parameters` makes a grid of 5400 cells; at most 1000 are planned" in error(text)
    assert len(Study.parse(text + "run_cap: 3\n").cells) == 3


def test_mistakes_of_the_command_line_do_not_blame_the_file() -> None:
    assert error(ABLATION, seeds=0).startswith("`seeds` must be between")
    assert error(ABLATION, overrides={"optimizer.lr": -1}) == "`optimizer.lr` must be positive, but got -1."
    assert "`optimizer.name` is what this study varies" in error(
        ABLATION, overrides={"optimizer.name": "sgd"}
    )
    assert "`lr` cannot be changed here" in error(ABLATION, overrides={"lr": 1})


def test_a_study_takes_its_name_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "my-file.yaml"
    path.write_text(GRID)
    assert Study.load(path).name == "my-file"


def test_shipped_studies_are_found_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(ROOT)
    assert find_study("optimizers") == Path("sweeps/optimizers.yaml")
    assert find_study("sweeps/optimizers.yaml") == Path("sweeps/optimizers.yaml")
    with pytest.raises(ValueError, match=r"unknown sweep 'optimisers'; did you mean `optimizers`\? Known: "):
        find_study("optimisers")
    names = [study.name for study in find_studies()]
    assert {"optimizers", "optimizers-tuned"} <= set(names)
    assert len(set(names)) == len(names)
    monkeypatch.chdir(tmp_path)
    assert find_study("optimizers").samefile(ROOT / "sweeps/optimizers.yaml")


def test_the_shipped_ablation_has_the_reports_settings() -> None:
    study = Study.load(ROOT / "sweeps/optimizers.yaml")
    assert [cell.name for cell in study.cells] == ["rmsprop", "sgd", "adam"]
    assert study.base.generator_optimizer.name == "rmsprop"
    assert len(study.seeds) == 8
    for cell in study.cells:
        assert cell.recipe.train.epochs == 320
        assert cell.recipe.generator_optimizer.options["lr"] == 5e-5
        assert cell.recipe.discriminator_optimizer.options["lr"] == 5e-5
    assert study.base.override({}) == find_recipe("points-gan")
    assert len(Study.load(ROOT / "sweeps/optimizers.yaml", smoke=True).seeds) >= 3


def test_the_shipped_tuned_ablation_gives_each_arm_its_momentum() -> None:
    study = Study.load(ROOT / "sweeps/optimizers-tuned.yaml")
    assert len({study.num_trials(cell) for cell in study.cells}) == 1
    assert [len(study.space(cell)) for cell in study.cells] == [2, 2, 2]
    assert len(study.final_seeds) == 8
    assert Study.load(ROOT / "sweeps/optimizers-tuned.yaml", smoke=True).kind == "tuned-ablation"


def test_run_hands_the_study_to_the_launcher(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    launcher = ModuleType("harness.sweep.launch")
    calls: list[tuple[Any, Any]] = []
    launcher.run_study = lambda study, **options: calls.append((study, options)) or tmp_path  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "harness.sweep.launch", launcher)
    study = Study.parse(ABLATION)
    assert study.run(directory=tmp_path, workers=2) == tmp_path
    assert calls[0][0] is study
    assert calls[0][1]["workers"] == 2


def test_reading_the_module_needs_neither_optuna_nor_torch() -> None:
    code = (
        "import sys, harness.sweep.study; "
        "print(sorted(set(sys.modules) & {'optuna', 'torch', 'scipy', 'wandb', 'matplotlib', 'ruamel.yaml'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
