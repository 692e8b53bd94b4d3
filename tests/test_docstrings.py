"""What a docstring must say, read from the source of every module: one test a rule, all modules in it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TypeAlias, TypeGuard

ROOT = Path(__file__).parents[1]
TENSOR_ROOMS = ("engine", "features", "figures", "latent", "metrics", "objective", "optim")
"""Rooms that compute on arrays."""

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def sources() -> dict[str, ast.Module]:
    """File, relative to the repository → its syntax tree."""
    files = sorted([*ROOT.glob("harness/**/*.py"), *ROOT.glob("models/**/*.py")])
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text()) for path in files}


def is_public(name: str) -> bool:
    return not name.startswith("_")


def is_function(node: ast.AST) -> TypeGuard[Function]:
    """Whether a node is the definition of a public function or method."""
    return isinstance(node, Function) and is_public(node.name)


def decorators(node: Function | ast.ClassDef) -> set[str]:
    """The last word of every decorator: ``property``, ``dataclass``, ``command``."""
    called = [item.func if isinstance(item, ast.Call) else item for item in node.decorator_list]
    return {getattr(item, "attr", getattr(item, "id", "")) for item in called}


def classes() -> Iterator[tuple[str, ast.ClassDef]]:
    """Every public class at the top of a module."""
    for path, tree in sources().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and is_public(node.name):
                yield path, node


@cache
def documented() -> dict[str, set[str]]:
    """Class → its methods that have a docstring, over all modules."""
    found: dict[str, set[str]] = {}
    for tree in sources().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                methods = [item for item in node.body if isinstance(item, Function)]
                found.setdefault(node.name, set()).update(m.name for m in methods if ast.get_docstring(m))
    return found


@cache
def protocols() -> dict[str, frozenset[str]]:
    """Protocol → its public members, for a class that has them all is one, whether it says so or not."""
    return {node.name: members(node) for _, node in classes() if "Protocol" in map(ast.unparse, node.bases)}


def members(owner: ast.ClassDef) -> frozenset[str]:
    """The public methods and fields of a class."""
    methods = {node.name for node in owner.body if is_function(node)}
    return frozenset(methods.union(fields(owner)))


@cache
def bases() -> dict[str, set[str]]:
    """Class → the classes it is made of by name, its ancestors included."""
    direct = {
        node.name: {getattr(base, "attr", getattr(base, "id", "")) for base in plain_bases(node)}
        for tree in sources().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }

    def above(name: str, below: frozenset[str] = frozenset()) -> set[str]:
        further = direct.get(name, set()) - below
        return further.union(*(above(base, below | {name}) for base in further - {name}))

    return {name: above(name) for name in direct}


def plain_bases(node: ast.ClassDef) -> list[ast.expr]:
    """A class's bases, without what stands in brackets behind them."""
    return [base.value if isinstance(base, ast.Subscript) else base for base in node.bases]


def told_above(owner: ast.ClassDef) -> set[str]:
    """The members of a class that a base class of the house, or a protocol that it follows, explains."""
    above = bases()[owner.name] | {name for name, wanted in protocols().items() if wanted <= members(owner)}
    told = {member for name in above - {owner.name} for member in documented().get(name, ())}
    return told | ({"forward"} if "Module" in above else set())


def functions() -> Iterator[tuple[str, Function]]:
    """Every public function of a module and public method of a public class that is documented nowhere else.

    Commands are left out, whose docstring is the help that a user reads, and so are overloads.
    """
    for path, tree in sources().items():
        for node in tree.body:
            if is_function(node) and not decorators(node) & {"command", "group", "overload"}:
                yield f"{path}: {node.name}", node
    for path, owner in classes():
        told = told_above(owner)
        for node in owner.body:
            if is_function(node) and node.name not in told:
                yield f"{path}: {owner.name}.{node.name}", node


def says(node: Function | ast.ClassDef, heading: str) -> bool:
    return re.search(rf"^{heading}:$", ast.get_docstring(node) or "", re.MULTILINE) is not None


def own_nodes(function: Function) -> Iterator[ast.AST]:
    """All that a function does itself: what is in functions inside it is left out."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, Function | ast.Lambda | ast.ClassDef):
            waiting.extend(ast.iter_child_nodes(node))


def parameters(function: Function) -> list[str]:
    names = function.args
    every = [*names.posonlyargs, *names.args, names.vararg, *names.kwonlyargs, names.kwarg]
    return [name.arg for name in every if name is not None and name.arg not in ("self", "cls")]


def fields(owner: ast.ClassDef) -> list[str]:
    """The public fields that a dataclass declares itself."""
    return [
        node.target.id
        for node in owner.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and is_public(node.target.id)
        and "ClassVar" not in ast.unparse(node.annotation)
    ]


def section(text: str, heading: str) -> str:
    """What stands indented under a heading."""
    found = re.search(rf"^{heading}:\n((?:    .*\n?|\n)*)", text, re.MULTILINE)
    return found.group(1) if found else ""


def named_in(section_text: str) -> set[str]:
    """The names that a section of a docstring explains: ``a:``, and both of ``a, b:``."""
    lines = re.findall(r"^    ([*\w]+(?:, [*\w]+)*):", section_text, re.MULTILINE)
    return {name.strip("*") for line in lines for name in line.split(", ")}


def test_every_module_and_whatever_is_public_in_it_has_a_docstring() -> None:
    bare = [path for path, tree in sources().items() if not ast.get_docstring(tree)]
    bare += [f"{path}: {node.name}" for path, node in classes() if not ast.get_docstring(node)]
    bare += [name for name, node in functions() if not ast.get_docstring(node)]
    assert bare == [], "\n".join(bare)


def shared_options(name: str, node: Function) -> set[str]:
    """The parameters of a registered builder that its module, or its package, explains for all builders."""
    if "register" not in decorators(node):
        return set()
    path = Path(name.partition(":")[0])
    texts = [ast.get_docstring(sources()[str(file)]) or "" for file in (path, path.parent / "__init__.py")]
    return set(re.findall(r"`(\w+)`", " ".join(texts)))


def test_two_parameters_or_more_are_explained() -> None:
    """Each under ``Args:``; or, where a sentence says it all, each named in it in backticks."""
    wrong = []
    for name, node in functions():
        text = ast.get_docstring(node) or ""
        wanted = set(parameters(node))
        told = named_in(section(text, "Args")) if says(node, "Args") else set(re.findall(r"`(\w+)`", text))
        if len(wanted) >= 2 and (left := wanted - told - shared_options(name, node)):
            wrong.append(f"{name}: {', '.join(sorted(left))}")
    assert wrong == [], "\n".join(wrong)


def test_no_argument_is_explained_that_is_not_there() -> None:
    wrong = []
    for name, node in functions():
        extra = named_in(section(ast.get_docstring(node) or "", "Args")) - set(parameters(node))
        wrong += [f"{name}: {item}" for item in sorted(extra)]
    assert wrong == [], "\n".join(wrong)


def test_what_raises_a_value_error_says_when() -> None:
    wrong = []
    for name, node in functions():
        raised = [item.exc for item in own_nodes(node) if isinstance(item, ast.Raise) and item.exc]
        kinds = {ast.unparse(item.func if isinstance(item, ast.Call) else item) for item in raised}
        if kinds & {"ValueError", "FieldError"} and not says(node, "Raises"):
            wrong.append(name)
    assert wrong == [], "\n".join(wrong)


def test_a_dataclass_explains_its_fields_as_attributes() -> None:
    wrong = []
    for path, node in classes():
        if "dataclass" in decorators(node):
            told = named_in(section(ast.get_docstring(node) or "", "Attributes"))
            told |= told_above(node)
            wrong += [f"{path}: {node.name}.{field}" for field in fields(node) if field not in told]
            has_own_init = any(isinstance(item, Function) and item.name == "__init__" for item in node.body)
            if says(node, "Args") and not has_own_init:
                wrong.append(f"{path}: {node.name} says Args")
    assert wrong == [], "\n".join(wrong)


def test_a_file_whose_functions_take_tensors_opens_with_the_legend_of_their_shapes() -> None:
    wrong = []
    for path, tree in sources().items():
        taken = {
            word
            for node in tree.body
            if is_function(node)
            for argument in [*node.args.args, *node.args.kwonlyargs]
            if argument.annotation
            for word in re.findall(r"\w+", ast.unparse(argument.annotation))
        }
        takes_tensors = taken & {"Tensor", "NDArray", "Array", "Bytes", "Images"}
        legend = re.search(r"\bShapes: ", ast.get_docstring(tree) or "")
        if path.split("/")[1] in TENSOR_ROOMS and takes_tensors and legend is None:
            wrong.append(path)
    assert wrong == [], "\n".join(wrong)
