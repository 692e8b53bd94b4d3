"""Mistakes in a sweep file: each costs one line that names the field, its place and the fix."""

from __future__ import annotations

import re

import pytest

from harness.study.study import Study
from support.sweep_texts import ABLATION, TUNED, WANDB, changed, error

MISTAKES_IN_AN_ABLATION = [
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
    ("sliced_w2", "FID", r"unknown metric `FID`; did you mean `frechet`\?"),
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
        r"^s\.yaml:5:8: `seeds` must be between 1 and 1000000, but got 0; write seeds: 8",
    ),
    ("seeds: 4", "seeds: -2", r"`seeds` must be between 1 and 1000000, but got -2"),
    ("seeds: 4", "seeds: four", r"`seeds` must be a number of seeds or a list of them, but got 'four'"),
    ("seeds: 4", "seeds: true", r"`seeds` must be a number of seeds"),
    ("seeds: 4", "seeds: 1.5", r"`seeds` must be a number of seeds"),
    ("seeds: 4", "seeds: []", r"`seeds` must list 1 to 1000000 seeds, but lists 0"),
    ("seeds: 4", "seeds: [1, 2, 1]", r"`seeds` holds 1 twice"),
    ("seeds: 4", "seeds: [1, -1]", r"^s\.yaml:5:12: `seeds\[1\]` must be an integer from 0 to .* got -1"),
    ("seeds: 4", "seed: 4", r"^s\.yaml:5:1: unknown key `seed`; write seeds: \[4\], a list\."),
    ("seeds: 4", "num_trials: 4\nseeds: 4", r"unknown key `num_trials`; did you mean `run_cap`\?"),
    ("seeds: 4", "count: 4\nseeds: 4", r"unknown key `count`; did you mean `run_cap`\?"),
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
        r"`early_terminate` stops trials of a search that others beat, but here nothing is searched",
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
    (
        "  baseline: {optimizer.name: rmsprop}\n",
        "",
        r"`ablate\.baseline` is missing; write baseline: \{optimizer\.name: 'rmsprop'\}, for",
    ),
    ("  baseline:", "  basline:", r"unknown key `ablate\.basline`; did you mean `baseline`"),
    (
        "optimizer.lr: {value: 5e-5}",
        "optimizer.lr: {value: -1}",
        r"^s\.yaml:11:17: `optimizer\.lr` must be positive",
    ),
    ("5e-5", "0", r"`optimizer\.lr` must be positive, but got 0"),
    ("5e-5", ".nan", r"^s\.yaml:11:25: `parameters\.optimizer\.lr\.value` must be a finite number"),
    (
        "5e-5",
        "null",
        r"`parameters\.optimizer\.lr\.value` .* W&B hands None to the program, .* write",
    ),
    ("5e-5", "{a: 1}", r"but got \{'a': 1\}; W&B hands a mapping to the program whole"),
    (
        "optimizer.lr: {",
        "learning_rate: {",
        r"^s\.yaml:11:3: .*; did you mean `optimizer\.lr`\?",
    ),
    ("optimizer.lr: {", "trainer.learning_rate: {", r"did you mean `optimizer\.lr`\?"),
    (
        "optimizer.lr: {value: 5e-5}",
        "seed: {values: [3, 1, 3]}",
        r"`parameters\.seed`: .* write seeds: \[3, 1\]\.",
    ),
    (
        "optimizer.lr: {value: 5e-5}",
        "seed: {value: 42}",
        r"^s\.yaml:11:3: .* write seeds: \[42\]\.",
    ),
    ("optimizer.lr: {value: 5e-5}", "run.seed: {min: 0, max: 99}", r"remove it, and write seeds: 8\."),
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
        r"^s\.yaml:14:17: in `smoke`: `train\.epochs` must be in \[1, 1000000\], but got 0",
    ),
    ("train.epochs: 3", "train.epoch: 3", r"in `smoke`: `train\.epoch`: .* did you mean `epochs`"),
    (
        "train.epochs: 3",
        "optimizer.name: sgd",
        r"in `smoke`: `optimizer\.name` is what this study varies",
    ),
    ("train.epochs: 3", "train.epochs: [3]", r"`smoke\.train\.epochs` must be a number"),
    ("  seeds: 2\n  train.epochs: 3\n", "  - a\n", r"`smoke` must map keys to their values"),
]


def test_a_mistake_in_an_ablation_is_named_with_its_place(subtests: pytest.Subtests) -> None:
    for old, new, message in MISTAKES_IN_AN_ABLATION:
        with subtests.test(old=old, new=new):
            found = error(changed(ABLATION, old, new))
            assert re.search(message, found), found


MISTAKES_IN_A_SEARCH = [
    (
        "min: 1e-5",
        "min: 0.5",
        r"^s\.yaml:15:57: `parameters\.optimizer\.lr\.min` must be below .* swap them",
    ),
    ("min: 1e-5", "min: 0", r"`parameters\.optimizer\.lr\.min` must be positive, but got 0"),
    (
        "log_uniform_values",
        "log_unifrm",
        r"unknown distribution 'log_unifrm'; did you mean `log_uniform_values`",
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
    (
        "method: random",
        "method: grid",
        r"`parameters\.optimizer\.lr`: a grid cannot go through log_",
    ),
    (
        "final_seeds: 3",
        "final_seeds: [1, 7]",
        r"^s\.yaml:5:14: `final_seeds` must be fresh, but 1 is one of `seeds`",
    ),
    ("final_seeds: 3", "final_seeds: 0", r"`final_seeds` must be between 1 and 1000000, but got 0"),
    ("final_seeds: 3", "final_seeds: []", r"`final_seeds` must list 1 to 1000000 seeds"),
    ("type: hyperband", "type: median", r"`early_terminate\.type` must be hyperband, but got 'median'"),
    ("min_iter: 3", "max_iter: 9", r"`early_terminate\.max_iter` needs `s`, .* without which W&B fails too"),
    ("min_iter: 3", "min_iter: 3, max_iter: 9", r"`early_terminate\.max_iter` needs `s`"),
    ("min_iter: 3", "s: 3", r"takes `min_iter` .* or `max_iter` with `s` .*, but got s; write min_iter: 3"),
    ("min_iter: 3, eta: 2", "max_iter: 2, s: 1", r"`early_terminate\.max_iter` 2 is less than `eta` 3"),
    ("min_iter: 3", "min_iter: 0", r"`early_terminate\.min_iter` must be an integer of at least 1"),
    ("eta: 2", "eta: 1", r"`early_terminate\.eta` must be a number from 1\.01, but got 1: .* write eta: 3\."),
    ("eta: 2", "eta: true", r"`early_terminate\.eta` must be a number from 1\.01, but got True"),
    ("eta: 2", "strict: 1", r"`early_terminate\.strict` must be true or false, but got 1"),
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
]


def test_a_mistake_in_a_search_is_named_with_its_place(subtests: pytest.Subtests) -> None:
    for old, new, message in MISTAKES_IN_A_SEARCH:
        with subtests.test(old=old, new=new):
            text = changed(TUNED, old, new)
            if message is None:
                assert [len(Study.parse(text).space(arm)) for arm in Study.parse(text).arms] == [2, 2, 1]
                continue
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
    assert "arms `lr=1` and `lr=1` are the same recipe" in error(text)


def test_nested_and_dotted_keys_cannot_meet() -> None:
    assert "`optimizer.lr` is given twice under `parameters`" in error(WANDB + "  optimizer.lr: {value: 1}\n")
    text = changed(WANDB, "    parameters:\n      name", "    value: 3\n    parameters:\n      name")
    assert "cannot stand beside nested `parameters`" in error(text)


def test_mistakes_of_the_command_line_do_not_blame_the_file() -> None:
    assert error(ABLATION, seeds=0).startswith("`seeds` must be between")
    assert error(ABLATION, overrides={"optimizer.lr": -1}) == "`optimizer.lr` must be positive, but got -1."
    assert "`optimizer.name` is what this study varies" in error(
        ABLATION, overrides={"optimizer.name": "sgd"}
    )
    assert "`lr` cannot be changed here" in error(ABLATION, overrides={"lr": 1})
    assert error(ABLATION, overrides={"imports": 3}).startswith("`imports` must list modules, but got 3;")
    assert "cannot import `no_such`" in error(ABLATION, overrides={"imports": "no_such"})


def test_of_a_search_without_ranges_a_key_that_is_unknown_is_the_first_mistake() -> None:
    text = "recipe: ring-gan\nmetric: {name: sliced_w2}\nseeds: 1\nmethod: random\nrun_cap: 2\n"
    with pytest.raises(ValueError, match=r"unknown key `epochs`; did you mean `train\.epochs`\?"):
        Study.parse(text + "parameters: {epochs: {value: 3}}\n")
    with pytest.raises(ValueError, match="`parameters` holds nothing to search"):
        Study.parse(text + "parameters: {train.epochs: {value: 3}}\n")
