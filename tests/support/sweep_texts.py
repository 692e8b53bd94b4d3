"""Sweep files of each kind, for the tests of studies and of their mistakes."""

from __future__ import annotations

from typing import Any

import pytest

from harness.study.study import Study

SHORT = """\
name: short
recipe: ring-gan
metric: {name: sliced_w2}
seeds: 1
ablate:
  parameters: {optimizer.name: [adam, sgd]}
  baseline: {optimizer.name: adam}
parameters:
  optimizer.lr: {value: 0.001}
  train.epochs: {value: 2}
  train.batch_size: {value: 512}
  evaluate.num_samples: {value: 100}
"""
"""Two runs of a moment each."""

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
      lr: {distribution: log_uniform_values, min: 6e-6, max: 5e-2}
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
    """The one-line message that a sweep file is refused with."""
    with pytest.raises(ValueError, match=r".") as caught:
        Study.parse(text, source="s.yaml", **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def changed(text: str, old: str, new: str) -> str:
    """`text` with the first `old`, which must be there, made `new`."""
    assert text.count(old) >= 1
    return text.replace(old, new, 1)
