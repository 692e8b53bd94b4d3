"""Every command, option, make target and setting that a message, a page or the README names is there."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from harness import load_run, train
from harness.analysis.findings import flags
from harness.analysis.summary import summarise
from harness.cli.main import harness
from harness.engine import checkpoint as checkpoints
from harness.execution.worker import Worker
from harness.figures import find_ffmpeg
from harness.files import read_json, write_json
from harness.planning import planner
from harness.planning.planner import plan_study
from harness.recipe import find_recipe, list_recipes, registry
from harness.study.study import Study
from support.sweep_texts import SHORT
from support.synthetic_study import OPTIMIZERS, make_ablation
from support.tiny_studies import tiny_recipe, unmeasured_plan

ROOT = Path(__file__).parents[1]
TEXTS = ("README.md", "harness/**/*.jinja", "sweeps/**/*.yaml", "Makefile")
SECTIONS = (
    "data|generator|discriminator|loss|optimizer|generator_optimizer|discriminator_optimizer|train|evaluate"
)
OWN = {"loss.top_k", "generator.channels"}
"""Options of the entries that the README shows how to write."""


@cache
def commands() -> dict[str, set[str]]:
    """Each command's words → its options, those of the group that it belongs to among them."""
    found: dict[str, set[str]] = {}

    def walk(words: str, command: click.Command) -> None:
        found[words] = {"--help", *(one for option in command.params for one in option.opts)}
        if isinstance(command, click.Group):
            for name, inner in command.commands.items():
                walk(f"{words} {name}".strip(), inner)

    walk("", harness)
    found[""] |= {"--version"}
    return found


@cache
def settings() -> set[str]:
    """Every dotted key that some recipe takes, with any of the entries that are registered."""
    found = {key for name in list_recipes() for key in find_recipe(name).flat()}
    for section, kind in {
        "data": "datasets",
        "generator": "generators",
        "discriminator": "discriminators",
        "generator_optimizer": "optimizers",
        "discriminator_optimizer": "optimizers",
        "loss": "losses",
    }.items():
        entries = getattr(registry, kind)
        found |= {f"{section}.{option}" for name in entries.names() for option in entries.options(name)}
    return found | {key.replace("generator_optimizer.", "optimizer.") for key in found}


def literals() -> Iterator[tuple[str, str]]:
    """Place and text of every string of the code that is no docstring; what f-strings fill in is `{}`."""
    for path in (*ROOT.glob("harness/**/*.py"), *ROOT.glob("models/**/*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        passed = {id(part) for node in ast.walk(tree) for part in inner(node)}
        for node in ast.walk(tree):
            place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.JoinedStr):
                yield place, "".join(str(getattr(part, "value", "{}")) for part in plain(node))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in passed:
                yield place, node.value


def inner(node: ast.AST) -> list[ast.AST]:
    """The strings in a node that are none of their own: its docstring, or the pieces of an f-string."""
    if isinstance(node, ast.JoinedStr):
        return list(node.values)
    first = (
        next(iter(getattr(node, "body", [])), None) if not isinstance(node, ast.Lambda | ast.IfExp) else None
    )
    return [first.value] if isinstance(first, ast.Expr) else []


def plain(node: ast.JoinedStr) -> list[ast.AST]:
    """The pieces of an f-string, what is filled in as an empty node."""
    return [part if isinstance(part, ast.Constant) else ast.Pass() for part in node.values]


@cache
def texts() -> tuple[tuple[str, str], ...]:
    found = [(place, text) for place, text in literals() if " " in text]  # the others are no sentences
    for path in (path for pattern in TEXTS for path in ROOT.glob(pattern)):
        text = re.sub(r"<style>.*?</style>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        found.append((str(path.relative_to(ROOT)), text))
    return tuple(found)


def found_in_texts(pattern: str) -> list[tuple[str, re.Match[str]]]:
    return [(place, match) for place, text in texts() for match in re.finditer(pattern, text)]


def test_every_command_that_is_named_exists_and_takes_the_options_beside_it() -> None:
    wrong, seen = [], 0
    for place, match in found_in_texts(r"(?:`|<code>|^\s*|\n)(?:\$ )?harness ((?:[a-z]+ ?)+)([^`<\n|#]*)"):
        words = match[1].split()
        named = next((" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in commands()), None)
        seen += 1
        if named is None or named == "latent":
            wrong.append(f"{place}: harness {match[1]}")
            continue
        options = set(re.findall(r"(?<!\S)--[a-z][a-z-]*", match[2]))
        wrong += [f"{place}: harness {named} {option}" for option in options - commands()[named]]
    assert wrong == []
    assert seen > 20


def test_every_option_that_is_named_is_one_of_some_command() -> None:
    known = set().union(*commands().values())
    found = [
        (place, match)
        for place, match in found_in_texts(r"(?<![\w\-{}$(|])--[a-z][a-z-]+")
        if place != "Makefile"
        and not re.search(r"(pip|pytest|git|ruff) [^`\n]*$", match.string[: match.start()])
    ]
    wrong = {f"{place}: {match[0]}" for place, match in found if match[0] not in known}
    assert wrong == set()
    assert len(found) > 40


def test_every_make_target_and_variable_that_is_named_is_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    variables = set(re.findall(r"^([A-Z]+) \?=", makefile, re.MULTILINE))
    found = found_in_texts(r"(?:`|\n\s*|\"  )make ([a-z-]+)((?: [A-Z]+=\S+)*)")
    wrong = [f"{place}: make {match[1]}" for place, match in found if match[1] not in targets]
    for place, match in found:
        wrong += [f"{place}: {name}" for name in re.findall(r"([A-Z]+)=", match[2]) if name not in variables]
    assert wrong == []
    assert len(found) > 8


def test_make_hands_on_that_a_large_study_is_meant() -> None:
    for given, handed_on in (("YES=1", True), ("YES=0", False), ("YES=", False)):
        made = subprocess.run(
            ["make", "--dry-run", "sweep", given],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            check=True,
        )
        assert made.stdout.rstrip().endswith(" --yes") == handed_on


def test_every_setting_that_is_named_is_one_of_some_recipe() -> None:
    found = found_in_texts(rf"(?<![\w./{{}}\-])(?:{SECTIONS})\.([a-z_0-9]+)(?![\w.(/])")
    wrong = {f"{place}: {match[0]}" for place, match in found if match[0] not in settings() | OWN}
    assert wrong == set()
    assert len(found) > 100


def test_every_variable_of_the_environment_that_is_named_is_read() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("harness/**/*.py"))
    read = set(re.findall(r"(?:environ\.get\(|environ\[|_VARIABLE = )\"(HARNESS_[A-Z]+)\"", code))
    named = {match[0] for _, match in found_in_texts(r"HARNESS_[A-Z]+")}
    assert named == read


TUNED = """\
name: unlike
recipe: ring-gan
metric: {name: sliced_w2}
method: grid
seeds: 1
ablate:
  parameters: {optimizer.name: [adam, sgd]}
  baseline: {optimizer.name: adam}
parameters:
  optimizer.lr: {values: [0.01, 0.001]}
  optimizer.momentum: {values: [0.0, 0.9], when: {optimizer.name: sgd}}
"""


def test_arms_of_unlike_grids_get_equal_budgets_by_what_the_message_says() -> None:
    with pytest.raises(ValueError, match=r"must have equal budgets; write run_cap: 2\.$"):
        Study.parse(TUNED)
    study = Study.parse(TUNED + "run_cap: 2\n")
    assert [study.num_trials(arm) for arm in study.arms] == [2, 2]


def test_an_arm_that_has_nothing_to_tune_gets_a_parameter_as_the_message_says() -> None:
    lacking = TUNED.replace("  optimizer.lr: {values: [0.01, 0.001]}\n", "")
    with pytest.raises(ValueError, match=r"arm `adam` has nothing to tune .*; give it a parameter too\.$"):
        Study.parse(lacking)
    study = Study.parse(lacking + "  optimizer.beta1: {values: [0.0, 0.9], when: {optimizer.name: adam}}\n")
    assert [study.num_trials(arm) for arm in study.arms] == [2, 2]


def test_too_few_seeds_are_cured_by_the_option_that_the_report_names(tmp_path: Path) -> None:
    few = Study.parse(OPTIMIZERS, seeds=3)
    (flag,) = (
        flag for flag in flags(summarise(make_ablation(tmp_path, few))) if flag.label == "too few seeds"
    )
    (option,) = re.findall(r"`--seeds (\d+)`", flag.text)
    found = summarise(make_ablation(tmp_path / "more", Study.parse(OPTIMIZERS, seeds=int(option))))
    assert "too-few-seeds" not in {compared.decision for compared in found.comparisons}


def in_the_way(folder: Path, kind: str) -> None:
    """Put something into a study's place."""
    if kind == "a foreign file":
        (folder / "short").mkdir()
        (folder / "short" / "notes.txt").touch()
        return
    other = Study.parse(SHORT.replace("0.001", "0.002"))
    plan = unmeasured_plan(other, folder)
    if kind == "other data":
        values = read_json(plan.directory / "plan.json")
        for arm in values["arms"]:
            arm["data"] = "0" * 16
        write_json(plan.directory / "plan.json", values)


@pytest.mark.parametrize("kind", ["a foreign file", "another study", "other data"])
def test_each_way_out_where_a_study_s_folder_is_in_the_way_is_one(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "_measured", lambda plan, *_: plan.arms)
    in_the_way(tmp_path, kind)
    text = SHORT if kind != "other data" else SHORT.replace("0.001", "0.002")
    way_out = (
        rf"give the study another `name` in its file, move {tmp_path}/short away, or choose another "
        r"--directory\.$"
    )
    with pytest.raises(ValueError, match=way_out):
        plan_study(Study.parse(text), directory=tmp_path, workers=1)
    assert plan_study(Study.parse(text), directory=tmp_path / "elsewhere", workers=1).num_done == 0
    named = Study.parse(text.replace("name: short", "name: another"))
    assert plan_study(named, directory=tmp_path, workers=1).directory == tmp_path / "another"
    (tmp_path / "short").rename(tmp_path / "away")
    assert plan_study(Study.parse(text), directory=tmp_path, workers=1).num_done == 0


def test_runs_that_cannot_stand_in_one_report_can_once_one_is_trained_anew_as_the_message_says(
    tmp_path: Path,
) -> None:
    plan = unmeasured_plan(Study.parse(SHORT), tmp_path)
    Worker(plan.directory, wandb="disabled").work()
    path = plan.directory / "runs" / plan.runs[0].run_id / "result.json"
    values = read_json(path)
    values["environment"]["fingerprint"]["data"] = "another"
    write_json(path, values)
    with pytest.raises(ValueError, match=r"cannot stand in one report") as caught:
        summarise(plan.directory)
    (named,) = (word for word in re.findall(r"(\S+/runs/\w+)", str(caught.value)) if word == str(path.parent))
    shutil.rmtree(named)
    Worker(plan.directory, wandb="disabled").work()
    assert len(summarise(plan.directory).arms) == 2


def test_a_run_whose_networks_do_not_fit_is_trained_anew_once_it_is_removed_as_the_message_says(
    tmp_path: Path,
) -> None:
    recipe = tiny_recipe()
    kept = train(recipe, directory=tmp_path, wandb="disabled")
    folder = tmp_path / "runs" / kept.run_id
    state = checkpoints.load(folder / "checkpoint.pt")
    lost = {key: {} for key in state if key.startswith("generator")}
    checkpoints.save(folder / "checkpoint.pt", state | lost)
    named = rf"; remove {re.escape(str(folder))} and train the run again\.$"
    with pytest.raises(ValueError, match="does not fit the generator .*" + named):
        load_run(folder)
    checkpoints.save(folder / "checkpoint.pt", state | {"discriminator": {}})
    with pytest.raises(ValueError, match="does not fit the discriminator .*" + named):
        _ = load_run(folder).discriminator
    shutil.rmtree(folder)
    assert train(recipe, directory=tmp_path, wandb="disabled").scores == kept.scores
    assert load_run(folder).discriminator is not None


def test_films_are_made_once_the_package_is_there_that_the_message_names() -> None:
    named = [match[1] for _, match in found_in_texts(r"ffmpeg.*pip install ([\w-]+)\.")]
    assert set(named) == {"imageio-ffmpeg"}
    assert find_ffmpeg() is not None
