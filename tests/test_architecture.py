"""The layers of the house, read from the imports of every file."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = [
    "harness.registry",
    "models",
    "harness.settings",
    "harness.recipe",
    "harness.networks",
    "harness.recipes",
    "harness.data",
    "harness.engine",
    "harness.diagnostics",
    "harness.tracking",
    "harness.figures",
    "harness.latent",
    "harness.evaluation",
    "harness.sweep",
    "harness.cli_options",
    "harness.cli_evaluate",
    "harness.cli_runs",
    "harness.cli_sefa",
    "harness.cli_show",
    "harness.cli_latent",
    "harness.cli",
    "harness.__main__",
]
"""From the ground up: a file may import what stands above it in this list."""

ONLY = {
    "optuna": ("harness.sweep",),
    "wandb": ("harness.tracking.wandb",),
    "matplotlib": ("harness.figures",),
    "click": (
        "harness.cli",
        "harness.cli_options",
        "harness.cli_evaluate",
        "harness.cli_runs",
        "harness.cli_sefa",
        "harness.cli_show",
        "harness.cli_latent",
    ),
    "jinja2": ("harness.sweep", "harness.figures"),
    "ruamel": ("harness.sweep",),
}
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
DOORS = {("harness.sweep.study", "harness.sweep.launch")}
"""`Study.run` is the one door downwards: it imports the launcher when it is called."""


def modules() -> dict[str, Path]:
    files = [*ROOT.glob("harness/**/*.py"), *ROOT.glob("models/**/*.py")]
    names = {}
    for path in files:
        parts = path.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def imports(path: Path) -> set[str]:
    """Every absolute module named by an import statement, wherever in the file it stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def imported_when_loaded(path: Path) -> set[str]:
    """Top-level packages imported at module level, type-checking blocks left out."""
    tree = ast.parse(path.read_text())
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    return found


def layer(module: str) -> int | None:
    found = [i for i, name in enumerate(LAYERS) if module == name or module.startswith(name + ".")]
    return max(found, key=lambda i: len(LAYERS[i]), default=None)


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_run_upwards_only(module: str) -> None:
    own = layer(module)
    if module == "harness":
        return  # the front door re-exports, lazily
    assert own is not None, f"{module} has no place in the layers"
    for imported in imports(modules()[module]):
        above = layer(imported)
        if above is not None and (module, imported) not in DOORS:
            assert above <= own, f"{module} imports {imported}, which stands below it"


@pytest.mark.parametrize("module", sorted(modules()))
def test_each_library_is_used_in_one_place(module: str) -> None:
    for imported in imports(modules()[module]):
        homes = ONLY.get(imported.split(".")[0], (module,))
        assert any(f"{module}.".startswith(f"{home}.") for home in homes), (
            f"{module} imports {imported}, which only {' and '.join(homes)} may"
        )


def test_models_import_torch_and_the_registry_alone() -> None:
    allowed = {"torch", "harness", "models", "__future__", "math", "typing", "collections", "itertools"}
    for module, path in modules().items():
        if module.split(".")[0] == "models":
            assert {name.split(".")[0] for name in imports(path)} <= allowed
            harness = {name for name in imports(path) if name.startswith("harness")}
            assert all(name.startswith("harness.registry") for name in harness)


@pytest.mark.parametrize(
    "module",
    [
        "harness",
        "harness.registry",
        "harness.recipe",
        "harness.cli",
        "harness.cli_evaluate",
        "harness.cli_runs",
        "harness.cli_sefa",
        "harness.cli_show",
        "harness.cli_latent",
    ],
)
def test_asking_for_help_loads_no_heavy_library(module: str) -> None:
    heavy = {"torch", "optuna", "wandb", "matplotlib", "scipy", "torchvision"}
    assert not imported_when_loaded(modules()[module]) & heavy


@pytest.mark.parametrize("module", sorted(modules()))
def test_no_file_is_longer_than_a_reader_can_hold(module: str) -> None:
    assert len(modules()[module].read_text().splitlines()) <= 420


def test_nothing_else_lies_at_the_top() -> None:
    shown = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    made_by_use = {"runs", "wandb", "build", "dist"}
    eggs = {name for name in shown if name.endswith(".egg-info")}
    assert shown - made_by_use - eggs - {"shared"} <= ALLOWED_TOP_LEVEL
