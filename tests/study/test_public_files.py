"""Sweep files as people publish them: each is read as W&B reads it, or led there by one line at a time."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from harness.study.study import Study
from support.sweep_texts import changed

NEW = "recipe: points-gan\n"
OF_ADAM = "  optimizer.name: {value: adam}\n"

DCGAN = """\
program: train.py
project: gan-sweeps
entity: someone
method: bayes
metric:
  goal: minimize
  name: sliced_w2
parameters:
  learning_rate:
    distribution: log_uniform
    min: 0.0001
    max: 0.1
  batch_size:
    values: [16, 32, 64]
  seed:
    values: [1, 2, 3]
"""
COMMAND = """\
program: main.py
command:
  - ${env}
  - python3
  - ${program}
  - ${args}
method: grid
metric: {goal: minimize, name: sliced_w2}
parameters:
  lr: {values: [1e-4, 3e-4]}
  beta1: {values: [0.0, 0.5]}
  epochs: {value: 50}
  seed: {value: 42}
"""
NESTED = """\
method: random
run_cap: 10
metric: {name: sliced_w2, goal: minimize}
early_terminate: {type: hyperband, min_iter: 3, s: 2}
parameters:
  optimizer:
    parameters:
      name: {value: adam}
      learning_rate: {distribution: log_uniform_values, min: 1e-5, max: 1e-2}
  model:
    parameters:
      hidden_size: {values: [32, 64]}
"""
HALVED = """\
method: bayes
metric: {name: sliced_w2, goal: minimize}
count: 20
early_terminate: {type: hyperband, max_iter: 27, s: 5, eta: 1.5}
parameters:
  trainer.lr: {distribution: inv_log_uniform_values, min: 1e-5, max: 1e-2}
  trainer.batch_size: {distribution: q_log_uniform_values, min: 32, max: 256, q: 8}
"""
WGAN = """\
method: random
num_trials: 20
metric: {name: sliced_w2}
parameters:
  n_critic: {values: [1, 5, 5]}
  lambda_gp: {distribution: q_uniform, min: 0, max: 20, q: 5}
  reuse: {values: [yes, no]}
"""
WEIGHTED = """\
method: random
run_cap: 8
metric: {name: sliced_w2}
parameters:
  optimizer: {value: adam}
  optimizer.beta1: {distribution: normal, mu: 0.5, sigma: 0}
  batch_norm: {values: [true, false], probabilities: [0.75, 0.25]}
  layers: {values: [[64, 64], [128]]}
"""
STEPPED = """\
method: random
run_cap: 4
metric: {name: sliced_w2}
parameters:
  epochs: {distribution: q_normal, mu: 50, sigma: 5}
  batch_size: {min: 16, max: 256, q: 16}
  momentum: {distribution: beta, a: 2, b: 5}
"""
EXPONENTS = """\
method: random
run_cap: 4
metric: {name: sliced_w2}
parameters:
  train.batch_size: {distribution: q_log_uniform, min: 3, max: 6}
"""
AS_IT_IS = """\
controller: {type: local}
description: as published
method: grid
run_cap: 2
early_terminate: {type: hyperband, min_iter: 2}
metric: {name: sliced_w2, target: 0.1}
parameters:
  train.batch_size: {values: [32, 64, 64]}
  optimizer.lr: {distribution: constant, value: 0.001}
"""

FILES: dict[str, tuple[str, Sequence[tuple[str, str, str]], tuple[str, ...]]] = {
    # the file; what is said, and what is written for what after it; what is searched in the end
    "dcgan": (
        DCGAN,
        [
            (r"log_uniform_values, as W&B asks too", "log_uniform\n", "log_uniform_values\n"),
            (r"seeds: \[1, 2, 3\]", "  seed:\n    values: [1, 2, 3]\n", "seeds: [1, 2, 3]\n"),
            (r"write run_cap: 20", "parameters:", "run_cap: 20\nparameters:"),
            (r"`learning_rate`; did you mean `optimizer\.lr`", "learning_rate", "optimizer.lr"),
            (r"`batch_size`; did you mean `train\.batch_size`", "batch_size", "train.batch_size"),
        ],
        ("optimizer.lr", "train.batch_size"),
    ),
    "command": (
        COMMAND,
        [
            (r"write seeds: \[42\]", "  seed: {value: 42}\n", "seeds: [42]\n"),
            (r"`epochs`; did you mean `train\.epochs`|`lr`|`beta1`", "  epochs", "  train.epochs"),
            (r"`lr`; did you mean `optimizer\.lr`", "  lr", "  optimizer.lr"),
            (r"`beta1`; did you mean `optimizer\.beta1`", "  beta1", "  optimizer.beta1"),
            (
                r"adam.* have; choose by `optimizer\.name`",
                "  train.e",
                OF_ADAM + "  train.e",
            ),
        ],
        ("optimizer.lr", "optimizer.beta1"),
    ),
    "nested": (
        NESTED,
        [
            (r"`model\.hidden_size`; did you mean `generator\.width`", "hidden_size", "width"),
            (r"`model\.width`; did you mean `generator\.width`", "model:", "generator:"),
            (r"did you mean `lr`", "learning_rate", "lr"),
        ],
        ("optimizer.lr", "generator.width"),
    ),
    "halved": (
        HALVED,
        [
            (r"`count`; did you mean `run_cap`", "count", "run_cap"),
            (r"did you mean `optimizer\.lr`", "trainer.lr", "optimizer.lr"),
            (r"did you mean `train\.batch_size`", "trainer.batch_size", "train.batch_size"),
        ],
        ("optimizer.lr", "train.batch_size"),
    ),
    "wgan": (
        WGAN,
        [
            (r"`num_trials`; did you mean `run_cap`", "num_trials", "run_cap"),
            (r"did you mean `train\.discriminator_steps`", "n_critic", "train.discriminator_steps"),
            (r"did you mean `loss\.gradient_penalty`", "lambda_gp", "loss.gradient_penalty"),
            (r"`reuse`", "reuse", "train.reuse_fakes"),
            (r"`train\.reuse_fakes` must be true or false, but got 'yes'; write true", "yes", "true"),
            (r"but got 'no'; write false", "no]", "false]"),
        ],
        ("train.discriminator_steps", "loss.gradient_penalty", "train.reuse_fakes"),
    ),
    "weighted": (
        WEIGHTED,
        [
            (
                r"W&B takes the file and then draws nan; write \{value: 0\.5\}",
                "distribution: normal, mu: 0.5, sigma: 0",
                "value: 0.5",
            ),
            (r"W&B hands a list to the program whole", "[[64, 64], [128]]", "[2, 3]"),
            (r"`optimizer`; did you mean `optimizer\.name`", "  optimizer:", "  optimizer.name:"),
            (r"did you mean `generator\.batch_norm`", "  batch_norm", "  generator.batch_norm"),
            (r"did you mean `generator\.depth`", "layers", "generator.depth"),
        ],
        ("generator.batch_norm", "generator.depth"),
    ),
    "stepped": (
        STEPPED,
        [
            (r"add distribution: q_uniform", "q: 16", "q: 16, distribution: q_uniform"),
            (r"did you mean `train\.epochs`", "epochs", "train.epochs"),
            (r"did you mean `train\.batch_size`", "batch_size", "train.batch_size"),
            (r"did you mean `optimizer\.momentum`", "momentum", "optimizer.momentum"),
        ],
        ("train.epochs", "train.batch_size", "optimizer.momentum"),
    ),
    "exponents": (
        EXPONENTS,
        [
            (
                r"is 20\.0855 to 403\.429, by values 3 to 6; write distribution: q_log_uniform_values",
                "q_log_uniform, min: 3, max: 6",
                "q_log_uniform_values, min: 20.0855, max: 403.429",
            )
        ],
        ("train.batch_size",),
    ),
    "as it is": (AS_IT_IS, [], ("train.batch_size",)),
}


@pytest.mark.parametrize("name", FILES)
def test_a_published_file_is_read_once_each_line_of_advice_is_followed(name: str) -> None:
    text, steps, searched = FILES[name]
    text = NEW + text
    for message, old, new in steps:
        with pytest.raises(ValueError, match=message) as caught:
            Study.parse(text, source="sweep.yaml")
        assert re.match(r"sweep\.yaml:\d+:\d+: ", str(caught.value))
        text = changed(text, old, new)
    study = Study.parse(text, source="sweep.yaml")
    assert tuple(key for key, found in study.parameters.items() if found.is_searched) == searched


def test_what_wandb_has_for_itself_is_reported() -> None:
    text = (
        NEW + "program: a.py\nproject: p\nentity: e\ncommand: [x]\nmetric: {name: sliced_w2, impute: worst}\n"
    )
    study = Study.parse(
        text + "method: random\nrun_cap: 2\nparameters: {optimizer.lr: {min: 0.1, max: 0.2}}\n"
    )
    assert study.unused == ("program", "project", "entity", "command", "metric.impute")


GRID = (
    NEW + "method: grid\nrun_cap: 2.0\nmetric: {name: modes}\nparameters: {train.epochs: {values: [2, 3]}}\n"
)


def test_a_metric_without_a_goal_is_told_apart_from_wandb_s_which_minimizes() -> None:
    study = Study.parse(GRID)
    (note,) = study.notes
    assert study.target.goal == "maximize"
    assert note.endswith("modes is maximized, and in W&B minimized; write goal: maximize.")
    said = Study.parse(changed(GRID, "modes", "modes, goal: maximize"))
    assert said.notes == ()
    assert said == study
    assert Study.parse(changed(GRID, "modes", "sliced_w2")).notes == ()


def test_whole_numbers_may_be_written_as_json_has_them() -> None:
    assert Study.parse(GRID).run_cap == 2
    with pytest.raises(ValueError, match=r"`run_cap` must be an integer of at least 1, but got 2\.5"):
        Study.parse(changed(GRID, "2.0", "2.5"))


def test_tabs_are_named_as_the_mistake_they_are() -> None:
    with pytest.raises(
        ValueError, match=r"sweep\.yaml:2:8: not valid YAML: .*; write spaces in place of tabs\."
    ):
        Study.parse(changed(GRID, "method: grid", "method:\tgrid"), source="sweep.yaml")
