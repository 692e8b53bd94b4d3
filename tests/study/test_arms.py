"""Arms listed one by one, where a study's arms are no full grid."""

from __future__ import annotations

import pytest

from harness.study.document import read_yaml
from harness.study.study import Study
from support.sweep_texts import changed, error

ARMS = """\
name: ratios
recipe: points-gan
metric: {name: sliced_w2}
seeds: 3
ablate:
  arms:
    "1:1": {}
    "5:1": {train.discriminator_steps: 5}
    late Wasserstein:
      recipe: points-wgan
      optimizer.lr: 1e-4
  baseline: "1:1"
smoke:
  seeds: 1
  train.epochs: 3
"""


def test_each_arm_is_a_cell_with_its_name_and_its_own_settings() -> None:
    study = Study.parse(ARMS)
    assert study.kind == "ablation"
    assert [(arm.name, arm.is_baseline) for arm in study.arms] == [
        ("1:1", True),
        ("5:1", False),
        ("late Wasserstein", False),
    ]
    plain, many, wasserstein = (arm.recipe for arm in study.arms)
    assert many == plain.override({"train.discriminator_steps": 5})
    assert wasserstein.loss.name == "wasserstein"
    assert wasserstein.generator_optimizer.options["lr"] == 1e-4
    assert [dict(arm.overrides) for arm in study.arms] == [
        {},
        {"train.discriminator_steps": 5},
        {"recipe": "points-wgan", "optimizer.lr": 1e-4},
    ]


def test_a_study_of_listed_arms_survives_json() -> None:
    study = Study.parse(ARMS)
    assert Study.from_json(study.to_json()) == study
    assert study.difference(Study.parse(ARMS)) == []
    other = Study.parse(changed(ARMS, "discriminator_steps: 5", "discriminator_steps: 4"))
    assert study.difference(other) == ["`ablate.arms.5:1.train.discriminator_steps`: 5 → 4"]


def test_the_short_version_changes_what_no_arm_does() -> None:
    short = Study.parse(ARMS, smoke=True)
    assert [arm.recipe.train.epochs for arm in short.arms] == [3, 3, 3]
    assert [arm.name for arm in short.arms] == ["1:1", "5:1", "late Wasserstein"]
    message = error(ARMS, overrides={"train.discriminator_steps": 2})
    assert message == "`train.discriminator_steps` is what this study varies, so it cannot be fixed to 2."


def test_a_setting_can_be_kept_to_some_of_the_listed_arms() -> None:
    text = ARMS + "parameters:\n  loss.drift: {value: 0.1, when: {train.discriminator_steps: 5}}\n"
    drifts = [arm.recipe.loss.drift for arm in Study.parse(text).arms]
    assert drifts == [0.0, 0.1, 0.0]


def test_listed_arms_can_be_tuned() -> None:
    text = ARMS + "method: random\nrun_cap: 2\nparameters:\n  loss.drift: {min: 0.0, max: 1.0}\n"
    assert Study.parse(text).kind == "tuned-ablation"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            '  baseline: "1:1"',
            '  baseline: "1:2"',
            "s.yaml:12:13: `ablate.baseline` must be the name of one of the arms 1:1, 5:1, late "
            "Wasserstein, but got '1:2'; did you mean `1:1`?",
        ),
        (
            '  baseline: "1:1"',
            "  parameters: {optimizer.name: [adam, sgd]}",
            "s.yaml:6:3: `ablate` takes `parameters` (a grid) or `arms` (a list), but got both; remove one.",
        ),
        (
            "{train.discriminator_steps: 5}",
            "five",
            "s.yaml:8:12: `ablate.arms.5:1` must map dotted recipe keys to values, but got 'five'.",
        ),
        (
            "{train.discriminator_steps: 5}",
            "{train.discriminator_steps: [5, 6]}",
            "`ablate.arms.5:1.train.discriminator_steps` must be a number, a word, true or false",
        ),
        (
            "train.discriminator_steps: 5",
            "train.discriminator_step: 5",
            "s.yaml:8:13: `train.discriminator_step`: train has no option `discriminator_step`; did you mean "
            "`discriminator_steps`?",
        ),
        (
            "{train.discriminator_steps: 5}",
            "{}",
            "arms `1:1` and `5:1` are the same recipe; remove one of them.",
        ),
    ],
)
def test_a_mistake_in_a_list_of_arms_is_named_where_it_stands(old: str, new: str, message: str) -> None:
    assert message in error(changed(ARMS, old, new))


def test_no_arms_at_all_are_refused() -> None:
    text = ARMS[: ARMS.index("ablate:")] + "ablate: {arms: {}, baseline: a}\n"
    assert "`ablate.arms` must map 1 to 1000 names to the arms' settings, but got {}." in error(text)
    nameless = changed(ARMS, '"5:1"', '"  "')
    assert "names each arm with 1 to 60 characters" in error(nameless)


def test_names_that_look_like_numbers_are_asked_for_in_quotes() -> None:
    assert read_yaml(ARMS, source="s").data["ablate"]["arms"]["1:1"] == {}
    assert "a key must be a word, but got '5'; put it in quotes" in error(changed(ARMS, '"5:1"', "5"))
