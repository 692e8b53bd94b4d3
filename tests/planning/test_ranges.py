"""Claims about the ranges that a plan shows: the values that recipes really get."""

from __future__ import annotations

from harness.planning.ranges import parameter_ranges
from harness.study.study import Study

TEXT = """\
recipe: points-gan
metric: {name: sliced_w2}
method: METHOD
run_cap: 3
parameters:
"""

SAMPLED = {
    "optimizer.lr: {distribution: log_uniform_values, min: 0.0001, max: 0.1}": (
        "0.0001 to 0.1",
        ("0.0003162", "0.003162", "0.03162"),
    ),
    "train.batch_size: {distribution: q_uniform, min: 10, max: 70, q: 8}": ("8 to 72", ("16", "40", "64")),
    "train.epochs: {min: 1, max: 6}": ("1 to 6", ("2", "4", "6")),
    "optimizer.eps: {values: [0.1, 0.2]}": ("0.1, 0.2", ("0.1", "0.2", "0.2")),
    "train.generator_steps: {values: [1, 2, 3, 4, 5, 6, 7]}": ("1, 2, 3 ... 7 (7 values)", ("2", "4", "6")),
    "optimizer.centered: {values: [true, false], probabilities: [0.25, 0.75]}": (
        "true (0.25), false (0.75)",
        ("true", "false", "false"),
    ),
    "loss.generator_scale: {distribution: log_normal}": (
        "98 % from 0.09765 to 10.24",
        ("0.3801", "1", "2.631"),
    ),
}


def test_a_plan_shows_every_searched_parameters_range_and_three_values() -> None:
    study = Study.parse(TEXT.replace("METHOD", "random") + "".join(f"  {line}\n" for line in SAMPLED))
    found = parameter_ranges(study)
    assert [f"{one.key}: " for one in found] == [line[: line.index("{")] for line in SAMPLED]
    assert [(one.reach, one.samples) for one in found] == list(SAMPLED.values())


def test_of_a_grid_its_points_are_shown() -> None:
    text = (
        TEXT.replace("METHOD", "grid")
        + "  train.batch_size: {distribution: q_uniform, min: 3, max: 10, q: 2}\n"
    )
    text += "  train.epochs: {min: 1, max: 900}\n"
    found = parameter_ranges(Study.parse(text))
    assert [one.reach for one in found] == ["3, 5, 7, 9", "1, 2, 3 ... 900 (900 values)"]


def test_fixed_settings_have_no_range() -> None:
    text = "recipe: points-gan\nmetric: {name: sliced_w2}\nparameters: {train.epochs: {value: 3}}\n"
    assert parameter_ranges(Study.parse(text)) == []
