"""What a docstring must say, read from the source of every module: one test a rule, all modules in it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeGuard

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


class Told(NamedTuple):
    """A function and the docstring that speaks for it: of a constructor, its class's."""

    name: str
    function: Function
    text: str
    is_builder: bool


def functions() -> Iterator[Told]:
    """Every public function of a module, and public method or constructor of a public class.

    Left out are commands, whose docstring is the help that a user reads, overloads, and methods that a class
    above documents.
    """
    for path, tree in sources().items():
        for node in tree.body:
            if is_function(node) and not decorators(node) & {"command", "group", "overload"}:
                text = ast.get_docstring(node) or ""
                yield Told(f"{path}: {node.name}", node, text, "register" in decorators(node))
    for path, owner in classes():
        told = told_above(owner)
        for node in owner.body:
            if is_function(node) and node.name not in told:
                yield Told(f"{path}: {owner.name}.{node.name}", node, ast.get_docstring(node) or "", False)
            elif isinstance(node, Function) and node.name in ("__init__", "__post_init__"):
                text = ast.get_docstring(owner) or ""
                yield Told(f"{path}: {owner.name}", node, text, "register" in decorators(owner))


def says(text: str, heading: str) -> bool:
    return re.search(rf"^{heading}:$", text, re.MULTILINE) is not None


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
    bare += [told.name for told in functions() if not told.text]
    assert bare == [], "\n".join(bare)


def explained(told: Told) -> set[str]:
    """The parameters that a docstring explains: under ``Args:``, or where it has none, in backticks.

    What builders of a registry share may also be explained, in backticks, by their module or their package.
    """
    arguments = named_in(section(told.text, "Args"))
    if not told.is_builder:
        return arguments or set(re.findall(r"`(\w+)`", told.text))
    path = Path(told.name.partition(":")[0])
    above = [ast.get_docstring(sources()[str(file)]) or "" for file in (path, path.parent / "__init__.py")]
    return arguments.union(*(re.findall(r"`(\w+)`", text) for text in (told.text, *above)))


def test_two_parameters_or_more_are_explained() -> None:
    wrong = []
    for told in functions():
        wanted = parameters(told.function)
        left = sorted(set(wanted) - explained(told))
        if len(wanted) >= 2 and left:
            wrong.append(f"{told.name}: {', '.join(left)}")
    assert wrong == [], "\n".join(wrong)


def test_no_argument_is_explained_that_is_not_there() -> None:
    wrong = []
    for told in functions():
        if told.function.name != "__post_init__":
            extra = named_in(section(told.text, "Args")) - set(parameters(told.function))
            wrong += [f"{told.name}: {item}" for item in sorted(extra)]
    assert wrong == [], "\n".join(wrong)


def test_what_raises_a_value_error_says_when() -> None:
    wrong = []
    for told in functions():
        raised = [item.exc for item in own_nodes(told.function) if isinstance(item, ast.Raise) and item.exc]
        kinds = {ast.unparse(item.func if isinstance(item, ast.Call) else item) for item in raised}
        if kinds & {"ValueError", "FieldError"} and not says(told.text, "Raises"):
            wrong.append(told.name)
    assert wrong == [], "\n".join(wrong)


def test_a_dataclass_explains_its_fields_as_attributes() -> None:
    wrong = []
    for path, node in classes():
        if "dataclass" in decorators(node):
            text = ast.get_docstring(node) or ""
            told = named_in(section(text, "Attributes"))
            told |= told_above(node)
            wrong += [f"{path}: {node.name}.{field}" for field in fields(node) if field not in told]
            has_own_init = any(isinstance(item, Function) and item.name == "__init__" for item in node.body)
            if says(text, "Args") and not has_own_init:
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
