"""The house, read from the imports of every file: rooms on floors, no rings, one place for each library.

Every import counts: at module level, inside functions, under `TYPE_CHECKING`, and by name in a string. The
one exception is the front door, `harness/__init__.py`, which stands above all floors and hands the registry
the names of the modules that register entries.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
FLOORS = (
    {"version"},
    {"files", "words", "machine", "leases", "terminal", "seeding", "yaml11"},
    {"kept"},
    {"recipe", "verdict"},
    {"data", "study", "optim", "distances", "network"},
    {"objective", "features", "search", "tracking"},
    {"engine", "metrics"},
    {"figures"},
    {"runs"},
    {"latent", "evaluation"},
    {"planning"},
    {"analysis"},
    {"report"},
    {"execution", "testing"},
    {"cli"},
    {"__main__"},
)
"""Rooms by floor, from the ground up. A room may use rooms of lower floors only."""

ONLY = {
    "click": {"harness.cli"},
    "filelock": {"harness.leases"},
    "jinja2": {"harness.figures"},
    "matplotlib": {"harness.figures"},
    "optuna": {"harness.search"},
    "pandas": {"harness.analysis"},
    "ruamel": {"harness.study"},
    "wandb": {"harness.tracking"},
}
"""Where a library may be imported."""

NAMED_IN = {
    "result.json": "harness.runs",
    "recipe.json": "harness.runs",
    "history.jsonl": "harness.runs",
    "checkpoint.pt": "harness.runs",
    "best.pt": "harness.runs",
    "plan.json": "harness.study.folder",
    "study.yaml": "harness.study.folder",
    "winners.json": "harness.study.folder",
    "journal.log": "harness.study.folder",
}
"""The files of a run and of a study, and the one place that knows them by name."""

MAX_ROOM_LINES = 3000
ALLOWED_TOP_LEVEL = {
    "pyproject.toml",
    "README.md",
    "CHANGELOG.md",
    "Makefile",
    "constraints.txt",
    "harness",
    "models",
    "sweeps",
    "tests",
}
LIGHT = {"torch", "optuna", "wandb", "matplotlib", "scipy", "torchvision", "pandas"}
"""What asking for help must not load."""


def modules() -> dict[str, Path]:
    """Dotted name → file, of every module of the harness and of the networks shipped with it."""
    names = {}
    for path in [*ROOT.glob("harness/**/*.py"), *ROOT.glob("models/**/*.py")]:
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[0] == "models":
            parts = ("gan_sweep_models", *parts[1:])
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


MODULES = modules()


def named(text: str) -> str:
    """The module of the house that a string names, itself or by what is in it; empty for other strings.

    What an f-string or a sum begins with ends in a dot, and names what stands before the dot: the front door,
    which no room may use, if that is ``harness``.
    """
    name = text.partition(":")[0]
    if not re.fullmatch(r"(harness\.|gan_sweep_models\b)[\w.]*", name):
        return ""
    while name not in MODULES:
        name = name.rpartition(".")[0]
    return name


@cache
def imports(module: str) -> frozenset[str]:
    """Every module that a file names: in an import, wherever it stands, or in a string."""
    package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *filter(None, [base])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.add(inner if inner in MODULES else base)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(named(node.value))
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called in ("import_module", "__import__", "find_spec"):
                found.add(str(node.args[0].value))
    return frozenset(found - {module, ""})


def room(module: str) -> str:
    """The room of a module; the front door is `harness`, the networks' package a room of its own."""
    parts = module.split(".")
    return parts[1] if parts[0] == "harness" and len(parts) > 1 else parts[0]


def ring(graph: dict[str, set[str]]) -> list[str]:
    """One ring of a graph of imports, or nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def internal(module: str) -> set[str]:
    """The modules of the house that a module imports; the front door imports lazily, and is left out."""
    return set() if module == "harness" else set(imports(module) & set(MODULES))


def test_no_two_modules_import_each_other_in_a_ring() -> None:
    found = ring({module: internal(module) for module in MODULES})
    assert found == [], " → ".join(found)


def test_a_room_uses_rooms_of_lower_floors_only() -> None:
    floor = {name: level for level, rooms in enumerate(FLOORS) for name in rooms}
    houses = {room(module) for module in MODULES} - {"harness", "gan_sweep_models"}
    assert houses <= set(floor), f"rooms without a floor: {sorted(houses - set(floor))}"
    wrong = [
        f"{module} imports {imported}"
        for module in MODULES
        for imported in internal(module)
        if room(module) != room(imported)
        and room(module) in floor
        and not (room(imported) in floor and floor[room(imported)] < floor[room(module)])
    ]
    assert wrong == [], "\n".join(sorted(wrong))


def test_each_library_is_used_in_one_place() -> None:
    wrong = [
        f"{module} imports {imported}"
        for module in MODULES
        for imported in imports(module)
        if imported.split(".")[0] in ONLY
        and not any(f"{module}.".startswith(f"{home}.") for home in ONLY[imported.split(".")[0]])
    ]
    assert wrong == [], "\n".join(sorted(wrong))


def test_a_file_of_a_run_or_a_study_is_named_in_one_place() -> None:
    named = [
        (node.value, module)
        for module in MODULES
        for node in ast.walk(ast.parse(MODULES[module].read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in NAMED_IN
    ]
    assert {name for name, _ in named} == set(NAMED_IN)
    wrong = [f"{module} names {name}" for name, module in named
             if not f"{module}.".startswith(f"{NAMED_IN[name]}.")]  # fmt: skip
    assert wrong == [], "\n".join(sorted(wrong))


def test_the_networks_import_torch_and_the_registry_alone() -> None:
    allowed = {"torch", "__future__", "math", "typing", "collections", "itertools", "dataclasses"}
    for module in MODULES:
        if room(module) == "gan_sweep_models":
            others = {name for name in imports(module) if not name.startswith("gan_sweep_models")}
            outside = {name for name in others if name.split(".")[0] not in allowed}
            assert outside <= {"harness.recipe.registry"}, f"{module} imports {sorted(outside)}"


def test_asking_for_help_loads_no_heavy_library() -> None:
    names = ["harness", *(name for name in MODULES if room(name) in ("recipe", "cli", "study"))]
    for module in names:
        for node in ast.parse(MODULES[module].read_text()).body:
            loaded = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            loaded += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            heavy = {name.split(".")[0] for name in loaded} & LIGHT
            assert not heavy, f"{module} loads {sorted(heavy)} at once"


def test_no_room_is_a_hall() -> None:
    lines: dict[str, int] = {}
    for module, path in MODULES.items():
        lines[room(module)] = lines.get(room(module), 0) + len(path.read_text().splitlines())
    assert {name: count for name, count in lines.items() if count > MAX_ROOM_LINES} == {}


def test_no_two_files_of_tests_have_one_name() -> None:
    names = sorted(path.name for path in ROOT.glob("tests/**/test_*.py"))
    assert sorted(set(names)) == names, "pytest knows them by their name alone"


def test_nothing_else_lies_at_the_top() -> None:
    shown = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    made_by_use = {"runs", "wandb", "build", "dist"}
    eggs = {name for name in shown if name.endswith(".egg-info")}
    assert shown - made_by_use - eggs - {"shared"} <= ALLOWED_TOP_LEVEL
