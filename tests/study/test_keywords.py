"""A study made from keywords is the study of a sweep file that says the same."""

from __future__ import annotations

import pickle
import re
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import Study, find_recipe
from harness.study.target import Target

ROOT = Path(__file__).parents[2]
FILE = """
name: clip
recipe: points-wgan
metric: {name: sliced_w2}
seeds: 3
ablate:
  parameters: {loss.weight_clip: [0.05, 0.1, 0.2]}
  baseline: {loss.weight_clip: 0.1}
parameters:
  train.epochs: {value: 20}
smoke: {seeds: 2}
"""
CLIP: dict[str, Any] = {
    "name": "clip",
    "recipe": "points-wgan",
    "metric": "sliced_w2",
    "seeds": 3,
    "ablate": {"loss.weight_clip": [0.05, 0.1, 0.2]},
    "baseline": {"loss.weight_clip": 0.1},
    "parameters": {"train.epochs": 20},
    "smoke": {"seeds": 2},
}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"metric": {"name": "sliced_w2"}},
        {"metric": Target(metric="sliced_w2", goal="minimize")},
        {"seeds": range(3)},
        {"seeds": np.int64(3)},
        {"seeds": np.arange(3)},
        {"ablate": {"loss.weight_clip": np.array([0.05, 0.1, 0.2])}},
        {"ablate": {"loss.weight_clip": (0.05, np.float32(0.1), 0.2)}, "baseline": {"loss.weight_clip": 0.1}},
        {"parameters": {"train.epochs": {"value": np.int32(20)}}},
        {"recipe": find_recipe("points-wgan")},
        {"recipe": find_recipe("points-wgan").override({"train.epochs": 20}), "parameters": None},
        {"recipe": find_recipe("points-wgan").override({"loss.weight_clip": 0.3})},
    ],
)
def test_shorthands_mean_what_the_file_says(change: dict[str, Any]) -> None:
    assert Study(**(CLIP | change)) == Study.parse(FILE)


def test_named_arms_have_a_baseline_by_name() -> None:
    study = Study(
        name="named",
        recipe="points-gan",
        metric={"name": "sliced_w2", "at": "area"},
        seeds=[1, 4],
        ablate={"fast": {"optimizer.lr": 1e-3}, "slow": {"optimizer.lr": 1e-5}},
        baseline="slow",
    )
    assert [(arm.name, arm.is_baseline) for arm in study.arms] == [("fast", False), ("slow", True)]
    assert study.target.at == "area"
    assert Study.from_json(study.to_json()) == study


def test_a_search_says_its_ranges() -> None:
    study = Study(
        name="searched",
        recipe="points-gan",
        metric="sliced_w2",
        parameters={"train.epochs": 5, "optimizer.lr": {"min": 1e-5, "max": 1e-2}},
        method="random",
        run_cap=4,
        early_terminate={"type": "hyperband", "min_iter": 2},
        early_stop="verdict",
    )
    assert study.kind == "search"
    assert study.overrides == {"train.epochs": 5}
    assert Study.from_json(study.to_json()) == study


def test_a_recipe_with_changes_is_that_recipe_in_every_arm() -> None:
    recipe = find_recipe("points-gan").override({"optimizer.name": "sgd", "train.epochs": 7})
    study = Study(
        name="mine",
        recipe=recipe,
        metric="sliced_w2",
        seeds=2,
        ablate={"train.batch_size": [64, 128]},
        baseline={"train.batch_size": 64},
    )
    for arm, size in zip(study.arms, (64, 128), strict=True):
        assert arm.recipe.fingerprint == recipe.override({"train.batch_size": size}).fingerprint


MISTAKES = [
    ({"seeds": 0}, "`seeds` must be between 1 and 1000000, but got 0"),
    ({"seeds": "three"}, "`seeds` must be a number of seeds or a list of them, but got 'three'"),
    ({"seeds": None}, "`seeds` is missing: an ablation compares arms over several seeds"),
    ({"metric": "sliced_w3"}, "`metric.name`: unknown metric `sliced_w3`; did you mean"),
    ({"recipe": "points-wgann"}, "`recipe`: unknown recipe `points-wgann`; did you mean"),
    (
        {"recipe": replace(find_recipe("points-gan"), name="nb-mlp")},
        "`recipe` 'nb-mlp' is not registered",
    ),
    ({"baseline": None}, "`ablate` needs `baseline` too"),
    ({"ablate": None}, "`baseline` needs `ablate` too"),
    ({"ablate": ["loss.weight_clip"]}, "`ablate` must map dotted keys to values, but got"),
    ({"baseline": {"loss.weight_clip": 0.3}}, "`baseline.loss.weight_clip` must be one of the values"),
    ({"baseline": {}}, "`baseline` says nothing of `loss.weight_clip`"),
    ({"ablate": {"loss.weight_clip": 0.1}}, "`ablate.loss.weight_clip`"),
    ({"parameters": {"train.epoch": 3}}, "`train.epoch`"),
    ({"name": "a b"}, "`name` names a folder"),
    ({"smoke": {"epochs": 3}}, "epochs"),
]


def test_a_mistake_is_one_line_that_names_the_keyword(subtests: pytest.Subtests) -> None:
    for change, message in MISTAKES:
        with subtests.test(change=change):
            with pytest.raises(ValueError, match=re.escape(message)) as caught:
                Study(**(CLIP | change)).smoked()
            assert "\n" not in str(caught.value)
            assert "ablate.parameters" not in str(caught.value)


def test_a_study_can_be_sent_to_another_process() -> None:
    study = Study(**CLIP)
    assert pickle.loads(pickle.dumps(study)) == study


def test_the_scripted_study_is_a_study() -> None:
    study = runpy.run_path(str(ROOT / "sweeps" / "clip_bounds.py"))["clip_bounds"]()
    assert [arm.overrides["loss.weight_clip"] for arm in study.arms] == [0.025, 0.05, 0.1, 0.2, 0.4]
    assert study.base.loss.weight_clip == 0.1
    assert Study.from_json(study.to_json()) == study
    assert len(study.smoked().seeds) == 2
