"""YAML text → plain data, with the line and column that every key and value came from.

The reader is strict where a sweep file gains nothing from more: one document, string keys, finite numbers,
no tags. Anchors and merge keys work, and are expanded on a budget, so a few lines cannot unfold into
millions.

YAML 1.2 rules apply: 1e-3 is a number and `no` a word. W&B reads sweep files by YAML 1.1, as PyYAML does.
Where that makes another value of an unquoted word, `Document.notes` says so: 010 is 10 here and 8 there,
`yes` a word and true, 0o10 the number 8 and a word, 1:30 a word and 90, 2026-01-01 a word and a date. Nothing
is said of 1e-3 and 08, which are words there, but the same numbers for the program that is given them.
"""

from __future__ import annotations

import dataclasses
import io
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.recipe.registry import plain_value
from harness.yaml11 import read_otherwise

if TYPE_CHECKING:
    from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

__all__ = [
    "Document",
    "FieldError",
    "FieldPath",
    "dotted",
    "one_line",
    "plain",
    "read_file",
    "read_yaml",
    "shown",
]

FieldPath = tuple[str | int, ...]
"""Where a value stands: keys of mappings and indices of lists, from the top of the file."""

_MAX_CHARACTERS = 200_000
_MAX_VALUES = 20_000
_MAX_DEPTH = 24
_MAX_INTEGER = 2**63
_TRUE = ("true", "yes", "on", "y")
_FALSE = ("false", "no", "off", "n")
_SCALARS = ("null", "bool", "int", "float", "str", "timestamp")
_TAG = "tag:yaml.org,2002:"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")


class FieldError(ValueError):
    """A mistake in one field of a sweep file.

    Args:
        path: the field, from the top of the file.
        message: one line that names the field and its value, and says what to write instead.
        at_key: the mistake is the key itself, not its value.
    """

    def __init__(self, path: FieldPath, message: str, *, at_key: bool = False) -> None:
        super().__init__(one_line(message))
        self.path = path
        self.at_key = at_key


@dataclass(frozen=True, kw_only=True)
class Document:
    """What a sweep file holds.

    Attributes:
        source: the file's name, for messages; empty for data that came from no file.
        data: the top mapping.
        values: line and column (from 1) of each value.
        keys: line and column (from 1) of each key.
        notes: what W&B would read as another value, a line each.
    """

    source: str = ""
    data: Mapping[str, Any]
    values: dict[FieldPath, tuple[int, int]] = field(default_factory=dict)
    keys: dict[FieldPath, tuple[int, int]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def alias(self, path: FieldPath, target: FieldPath) -> None:
        """Let errors at `path`, and below it, point at where `target` was written.

        Args:
            path: where a value is known to the reader.
            target: where it stands in the file.
        """
        for positions in (self.values, self.keys):
            for known, position in list(positions.items()):
                if known[: len(target)] == target:
                    positions.setdefault((*path, *known[len(target) :]), position)

    def locate(self, error: FieldError) -> ValueError:
        """The same error with ``file:line:column:`` before its message, as far as they are known."""
        path = error.path
        positions = self.keys if error.at_key else self.values
        while path and path not in positions:
            path, positions = path[:-1], self.values
        if not self.source:
            return ValueError(str(error))
        if path not in positions:
            return ValueError(f"{self.source}: {error}")
        line, column = positions[path]
        return ValueError(f"{self.source}:{line}:{column}: {error}")


def dotted(path: FieldPath) -> str:
    """A path as people write it: ``parameters.optimizer.lr.min``, ``seeds[2]``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def shown(value: object) -> str:
    """A value for a message: its repr, cut to a readable length."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def one_line(text: str) -> str:
    """`text` on one line of printable characters, at most 600 of them."""
    safe = "".join(
        c if c.isprintable() else " " if c.isspace() else c.encode("unicode_escape").decode() for c in text
    )
    return safe if len(safe) <= 600 else f"{safe[:597]}..."


def plain(value: Any) -> Any:
    """Tuples, ranges and arrays as lists, mappings as dictionaries, NumPy's scalars as numbers, throughout.

    Raises:
        ValueError: a key is no string.
    """
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ValueError(f"a key of a study must be a string, but got {shown(key)}.")
        return {key: plain(item) for key, item in value.items()}
    numpy = sys.modules.get("numpy")  # where nobody has imported it there is no array
    if isinstance(value, (list, tuple, range)) or (
        numpy is not None and isinstance(value, numpy.ndarray) and value.ndim
    ):
        return [plain(item) for item in value]
    return plain_value(value)


def read_file(path: str | Path) -> Document:
    """Read a sweep file.

    Raises:
        ValueError: the file is missing, unreadable, not UTF-8, or not YAML of the kind `read_yaml` takes.
    """
    source = one_line(str(path))
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ValueError(f"{source}: the sweep file cannot be read: {one_line(reason)}.") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{source}:{line}:1: a sweep file is UTF-8 text, but byte {error.start} is not; save it as UTF-8."
        ) from None
    return read_yaml(text, source=source)


def read_yaml(text: str, *, source: str = "<text>") -> Document:
    """Read YAML text into plain data with positions.

    Args:
        text: the file's content.
        source: the file's name, for messages.

    Raises:
        ValueError: broken YAML, a duplicate key, a tag, an endless or huge structure, a number that is not
            finite, a key that is no string, or a top level that is no mapping. One line, with the position.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError
    from ruamel.yaml.reader import ReaderError

    source = one_line(source)
    if len(text) > _MAX_CHARACTERS:
        raise ValueError(
            f"{source}: holds {len(text)} characters; a sweep file has at most {_MAX_CHARACTERS}."
        )
    try:
        root = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{source}:{mark.line + 1}:{mark.column + 1}" if mark else source
        reason = one_line(", ".join(part for part in (error.context, error.problem) if part))
        fix = "; write spaces in place of tabs" if "'\\t'" in reason else ""
        raise ValueError(f"{place}: not valid YAML: {reason}{fix}.") from None
    except ReaderError as error:
        before = text[: error.position]
        place = f"{source}:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"
        raise ValueError(
            f"{place}: not valid YAML: {error.reason}, #x{ord(text[error.position]):04x}."
        ) from None
    except YAMLError as error:
        raise ValueError(f"{source}: not valid YAML: {one_line(str(error))}.") from None
    except RecursionError:
        raise ValueError(
            f"{source}: nested too deeply; a sweep file has at most {_MAX_DEPTH} levels."
        ) from None
    except (
        Exception
    ) as error:  # The parser answers some broken input with its own TypeError or AssertionError.
        raise ValueError(
            f"{source}: not valid YAML: {type(error).__name__} {one_line(str(error))}."
        ) from None
    if root is None:
        raise ValueError(
            f"{source}: the sweep file is empty; it needs at least `recipe`, `metric` and `seeds`."
        )
    document = Document(source=source, data={})
    reader = _Reader(document)
    try:
        data = reader.value(root, ())
        if not isinstance(data, dict):
            raise FieldError((), f"a sweep file is a mapping of keys to values, but got {shown(data)}.")
    except FieldError as error:
        raise document.locate(error) from None
    return dataclasses.replace(document, data=data)


class _Reader:
    """Turns composed nodes into plain data, filling in the positions of a document."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.count = 0

    def value(self, node: Node, path: FieldPath) -> Any:
        self.document.values.setdefault(path, _position(node))
        self.count += 1
        if self.count > _MAX_VALUES or len(path) > _MAX_DEPTH:
            raise FieldError(
                path[:3],
                f"`{dotted(path[:3])}` is nested too deeply or too large: a sweep file has at most "
                f"{_MAX_DEPTH} levels and {_MAX_VALUES} values, anchors expanded.",
            )
        from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

        kind = str(node.tag).removeprefix(_TAG)
        if isinstance(node, MappingNode) and kind == "map":
            return self._mapping(node, path)
        if isinstance(node, SequenceNode) and kind == "seq":
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        if isinstance(node, ScalarNode) and kind in _SCALARS:
            read = _scalar(node, kind, path)
            if node.style is None and (told := read_otherwise(node.value, read)):
                line, column = _position(node)
                self._note(f"{self.document.source}:{line}:{column}: {told}")
            return read
        name = f"`{dotted(path)}`" if path else "the sweep file"
        raise FieldError(path, f"{name} has the tag `{node.tag}`; write a plain value without tags.")

    def _note(self, line: str) -> None:
        """Keep a note, once for an anchor that is used often."""
        if line not in self.document.notes:
            self.document.notes.append(line)

    def _mapping(self, node: MappingNode, path: FieldPath) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            kind = str(key_node.tag).removeprefix(_TAG)
            if kind == "merge":
                merged |= self._merged(value_node, path)
                continue
            position = _position(key_node)
            key = key_node.value
            if kind != "str" or not isinstance(key, str):
                self.document.keys[(*path, "")] = position
                what = shown(key) if isinstance(key, str) else "a list or mapping"
                raise FieldError(
                    (*path, ""), f"a key must be a word, but got {what}; put it in quotes.", at_key=True
                )
            where = (*path, key)
            if key in found:
                line = self.document.keys[where][0]
                self.document.keys[where] = position
                raise FieldError(
                    where,
                    f"`{dotted(where)}` is given twice, first on line {line}; remove one of them.",
                    at_key=True,
                )
            self.document.keys[where] = position
            self.document.values.pop(where, None)
            found[key] = self.value(value_node, where)
        return merged | found

    def _merged(self, node: Node, path: FieldPath) -> dict[str, Any]:
        """What ``<<: *anchor`` or ``<<: [*a, *b]`` brings in; of several, the first wins."""
        data = self.value(node, (*path, "<<"))
        parts = data if isinstance(data, list) else [data]
        merged: dict[str, Any] = {}
        for part in parts:
            if not isinstance(part, dict):
                raise FieldError((*path, "<<"), f"`<<` merges mappings, but got {shown(part)}.")
            merged = part | merged
        for key in merged:
            self.document.values.setdefault((*path, key), _position(node))
            self.document.keys.setdefault((*path, key), _position(node))
        return merged


def _position(node: Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _scalar(node: ScalarNode, kind: str, path: FieldPath) -> bool | int | float | str | None:
    text = node.value
    name = f"`{dotted(path)}`" if path else "the sweep file"
    if kind == "null":
        return None
    if kind == "bool":
        if text.lower() not in (*_TRUE, *_FALSE):
            raise FieldError(path, f"{name} must be true or false, but got {shown(text)}.")
        return text.lower() in _TRUE
    if kind in ("int", "float"):
        try:
            number = _integer(text) if kind == "int" else _decimal(text)
        except ValueError:
            raise FieldError(path, f"{name} is no number that can be read: {shown(text)}.") from None
        if isinstance(number, float) and not math.isfinite(number):
            raise FieldError(path, f"{name} must be a finite number, but got {shown(text)}.")
        if isinstance(number, int) and abs(number) >= _MAX_INTEGER:
            raise FieldError(path, f"{name} must be below 2**63, but got {shown(text)}.")
        return number
    if _CONTROL.search(text):
        raise FieldError(path, f"{name} holds a control character; remove it: {shown(text)}.")
    return str(text)


def _integer(text: str) -> int:
    digits = text.replace("_", "").lower()
    sign = -1 if digits.startswith("-") else 1
    digits = digits.lstrip("+-")
    base = {"0x": 16, "0o": 8, "0b": 2}.get(digits[:2], 10)
    if len(digits) > 100:
        return _MAX_INTEGER
    return sign * int(digits[2:] if base != 10 else digits, base)


def _decimal(text: str) -> float:
    number = text.replace("_", "").lower()
    if number.lstrip("+-") in (".inf", ".nan"):
        number = number.replace(".", "")
    return float(number)


def to_yaml(nested: Mapping[str, Any]) -> str:
    """A nested dictionary as the text of a YAML file, its keys in their order."""
    from ruamel.yaml import YAML

    stream = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(dict(nested), stream)
    return stream.getvalue()
