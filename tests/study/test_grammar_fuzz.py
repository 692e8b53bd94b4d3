"""Random sweep files: whatever comes, the parser answers with a study or with one clean line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from harness.study.document import plain
from harness.study.study import Study

ROOT = Path(__file__).parents[2]

SEARCH = {
    "program": "train.py",
    "recipe": "ring-gan",
    "method": "bayes",
    "run_cap": 4,
    "metric": {"name": "sliced_w2", "goal": "minimize", "at": "area"},
    "early_terminate": {"type": "hyperband", "max_iter": 9, "s": 2, "eta": 3},
    "early_stop": {"verdict": True, "warm_up": 0.4},
    "seeds": [1, 4],
    "parameters": {
        "optimizer": {"parameters": {"name": {"value": "adam"}, "beta1": {"min": 0.0, "max": 0.9}}},
        "optimizer.lr": {"distribution": "q_log_uniform_values", "min": 0.001, "max": 0.1, "q": 0.001},
        "train.epochs": {"distribution": "q_uniform", "min": 2, "max": 10, "q": 2},
        "train.batch_size": {"values": [32, 64], "probabilities": [0.5, 0.5]},
        "train.ema": {"distribution": "beta", "a": 2, "b": 5},
        "loss.r1": {"distribution": "log_normal", "mu": -2, "sigma": 0.5},
    },
}
GRID = {
    "recipe": "points-gan",
    "metric": {"name": "modes"},
    "method": "grid",
    "parameters": {"train.epochs": {"min": 1, "max": 4}, "loss.name": {"values": ["minimax", "hinge"]}},
    "smoke": {"seeds": 1, "train.batch_size": 16},
}
SEEDS: list[Any] = [
    *(plain(YAML(typ="safe", pure=True).load(path)) for path in sorted(ROOT.glob("sweeps/*.yaml"))),
    SEARCH,
    GRID,
]
WORDS = sorted(
    {"adam", "min", "max", "values", "value", "when", "recipe", "points-wgan", "uniform", "normal", "q", ""}
    | {"distribution", "parameters", "ablate", "grid", "random", "optimizer.lr", "constant", "q_beta", "<<"}
)

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 12)
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.sampled_from(WORDS)
    | st.text(max_size=8)
)
trees = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


def places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) of a tree."""
    if isinstance(tree, (dict, list)):
        for key in tree if isinstance(tree, dict) else range(len(tree)):
            yield tree, key
            yield from places(tree[key])


@st.composite
def broken_studies(draw: st.DrawFn) -> str:
    """A valid sweep file after one to four changes, as YAML."""
    tree = json.loads(json.dumps(draw(st.sampled_from(SEEDS))))
    for _ in range(draw(st.integers(1, 4))):
        container, key = draw(st.sampled_from(list(places(tree)) or [({}, "recipe")]))
        action = draw(st.sampled_from(["replace", "remove", "rename", "add", "move"]))
        if action == "replace":
            container[key] = draw(trees)
        elif action == "remove":
            del container[key]
        elif isinstance(container, list):
            container.append(draw(trees))
        elif action == "rename":
            container[draw(st.sampled_from(WORDS) | st.text(max_size=5))] = container.pop(key)
        elif action == "add":
            container[draw(st.sampled_from(WORDS))] = draw(trees)
        else:
            container[key] = json.loads(json.dumps(draw(st.sampled_from([t[k] for t, k in places(tree)]))))
    text = json.dumps(tree, indent=1, ensure_ascii=draw(st.booleans()))
    return text.replace("NaN", ".nan").replace("Infinity", ".inf")


TEXTS = [path.read_text() for path in sorted(ROOT.glob("sweeps/*.yaml"))]
PIECES = [
    "\n",
    " ",
    "\t",
    ":",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "&a ",
    "*a",
    "!!int ",
    "!x ",
    "<<: ",
    "'",
    '"',
    "|",
    ">",
    "#",
]
PIECES += [
    "? ",
    "%YAML 1.1\n",
    "---\n",
    "...",
    "\x00",
    "\ufeff",
    ".nan",
    "1e999",
    "0x",
    "~",
    "\u2028",
    "\\",
    "@",
    ",",
]


@st.composite
def broken_texts(draw: st.DrawFn) -> str:
    """The text of a sweep file with pieces cut out, repeated and put in."""
    text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 40)))
        piece = draw(st.sampled_from(PIECES) | st.text(max_size=6))
        text = draw(
            st.sampled_from(
                [text[:start] + text[end:], text[:end] + text[start:], text[:start] + piece + text[start:]]
            )
        )
    return text


anything = broken_studies() | broken_texts() | st.text(max_size=200)


def answer(text: str, *, smoke: bool) -> None:
    try:
        study = Study.parse(text, source="s.yaml", smoke=smoke)
    except ValueError as error:
        message = str(error)
        assert message.startswith("s.yaml:")
        assert message.isprintable()
        assert len(message) < 700
    else:
        assert Study.from_json(json.loads(json.dumps(study.to_json()))) == study


def quickly(max_examples: int) -> settings:
    return settings(
        max_examples=max_examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@quickly(200)
@given(text=anything, smoke=st.booleans())
def test_any_text_gives_a_study_or_one_clean_line(text: str, smoke: bool) -> None:
    answer(text, smoke=smoke)


@pytest.mark.slow
@quickly(6000)
@given(text=anything, smoke=st.booleans())
def test_very_many_texts_give_a_study_or_one_clean_line(text: str, smoke: bool) -> None:
    answer(text, smoke=smoke)


@quickly(60)
@given(content=st.binary(max_size=60) | anything.map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_file_gives_a_study_or_one_clean_line(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "s.yaml"
    path.write_bytes(content)
    message = f"{path}: none"
    try:
        Study.load(path)
    except ValueError as error:
        message = str(error)
    assert message.startswith(f"{path}:")
    assert message.isprintable()


def test_the_files_that_are_broken_are_whole_at_first() -> None:
    for tree in SEEDS:
        Study.from_json(tree)
