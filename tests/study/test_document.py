"""YAML reading: YAML 1.2 values, positions, and one clean line for everything else."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
import yaml

from harness.study.document import FieldError, dotted, one_line, plain, read_file, read_yaml, shown


def test_scalars_follow_yaml_1_2() -> None:
    text = "a: 1e-3\nb: 5e-5\nc: no\nd: 0x1f\ne: 1_000\nf: ~\ng: 2026-01-01\n"
    text += "h: true\ni: '1'\nj: -3\nk: 1.\nl: 0o17\n"
    assert dict(read_yaml(text).data) == {
        "a": 0.001,
        "b": 5e-5,
        "c": "no",
        "d": 31,
        "e": 1000,
        "f": None,
        "g": "2026-01-01",
        "h": True,
        "i": "1",
        "j": -3,
        "k": 1.0,
        "l": 15,
    }


READ_OTHERWISE = [
    # a plain word, what it is here, what it is by YAML 1.1
    ("010", 10, 8),
    ("-010", -10, -8),
    ("0o10", 8, "0o10"),
    ("yes", "yes", True),
    ("Off", "Off", False),
    ("1:30", "1:30", 90),
    ("1:30:00", "1:30:00", 5400),
    ("1:30.5", "1:30.5", 90.5),
    ("2026-01-01", "2026-01-01", datetime.date(2026, 1, 1)),
    ("2026-01-01 10:00:00", "2026-01-01 10:00:00", datetime.datetime(2026, 1, 1, 10)),
    # the same, or a word that a program reads as the same number
    ("1_000", 1000, 1000),
    ("0x1f", 31, 31),
    ("0b11", 3, 3),
    ("0", 0, 0),
    ("007", 7, 7),
    ("true", True, True),
    ("~", None, None),
    ("1.5e+3", 1500.0, 1500.0),
    ("1e-5", 1e-5, "1e-5"),
    ("08", 8, "08"),
    ("2026-1-1", "2026-1-1", "2026-1-1"),
    ("yEs", "yEs", "yEs"),
    ("y", "y", "y"),
    ("word", "word", "word"),
]


def test_what_wandbs_yaml_reads_otherwise_is_said_once(subtests: pytest.Subtests) -> None:
    for text, here, there in READ_OTHERWISE:
        with subtests.test(text=text):
            # PyYAML is what W&B reads sweep files with.
            assert yaml.safe_load(f"a: {text}") == {"a": there}
            document = read_yaml(f"a: &x {text}\nb: *x\n", source="f")
            assert document.data["a"] == here
            assert type(document.data["a"]) is type(here)
            alike = here == there and type(here) is type(there)
            same_for_a_program = isinstance(there, str) and isinstance(here, (int, float)) and text != "0o10"
            if alike or same_for_a_program:
                assert document.notes == []
                continue
            (note,) = document.notes
            assert note.startswith(f"f:1:4: `{text}` is {'a word' if isinstance(here, str) else here} here")
            told = {str: "a word", datetime.date: "a date", datetime.datetime: "a date"}.get(
                type(there), str(there).lower()
            )
            assert f" and {told} in W&B's YAML 1.1; write which is meant" in note
            assert read_yaml(f"a: '{text}'").notes == []


def test_positions_count_from_one() -> None:
    document = read_yaml("a: 1\nb:\n  c: [x, y]\n", source="f.yaml")
    assert document.values["b", "c", 1] == (3, 10)
    assert document.keys["b", "c"] == (3, 3)
    error = FieldError(("b", "c", 1), "wrong")
    assert str(document.locate(error)) == "f.yaml:3:10: wrong"
    assert str(document.locate(FieldError(("b", "c"), "wrong", at_key=True))) == "f.yaml:3:3: wrong"
    assert str(document.locate(FieldError(("b", "d", "e"), "wrong"))) == "f.yaml:3:3: wrong"


def test_anchors_and_merge_keys_are_expanded() -> None:
    text = "base: &b {min: 0, max: 1}\na: *b\nc:\n  <<: *b\n  max: 2\n"
    text += "d:\n  <<: [{max: 5}, *b]\ne: &e [1]\nf: *e\n"
    data = read_yaml(text).data
    assert data["a"] == {"min": 0, "max": 1}
    assert data["c"] == {"min": 0, "max": 2}
    assert data["d"] == {"min": 0, "max": 5}
    assert data["f"] == [1]


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


BROKEN = [
    ("", r"^f: the sweep file is empty"),
    ("# nothing\n", r"^f: the sweep file is empty"),
    ("just words", r"^f:1:1: a sweep file is a mapping"),
    ("- a", r"^f:1:1: a sweep file is a mapping"),
    ("a: 1\nb: 2\na: 3\n", r"^f:3:1: `a` is given twice, first on line 1; remove one of them\.$"),
    ("x:\n  y: 1\n  y: 2\n", r"^f:3:3: `x\.y` is given twice, first on line 2"),
    ("a: [1,\nb: 2", r"^f:2:5: not valid YAML: "),
    ("a: b: c", r"^f:1:5: not valid YAML: mapping values are not allowed here\.$"),
    ("a:\n\t- b", r"^f:2:1: not valid YAML: "),
    ("a: *x", r"^f:1:4: not valid YAML: found undefined alias 'x'"),
    ("--- 1\n--- 2", r"^f:.*not valid YAML: .*another document"),
    ("a: \x00", r"^f:1:4: not valid YAML: special characters are not allowed, #x0000"),
    ("a: 1\nbc: \ufffe", r"^f:2:5: not valid YAML: special characters are not allowed, #xfffe"),
    ("1: a", r"^f:1:1: a key must be a word, but got '1'; put it in quotes\.$"),
    ("? [a]\n: b", r"^f:1:3: a key must be a word, but got a list or mapping"),
    ("~: a", r"a key must be a word, but got '~'"),
    ("a: .nan", r"^f:1:4: `a` must be a finite number, but got '\.nan'"),
    ("a: [-.inf]", r"^f:1:5: `a\[0\]` must be a finite number"),
    ("a: 1e999", r"`a` must be a finite number"),
    ("a: " + "9" * 5000, r"`a` must be below 2\*\*63"),
    ("a: 9223372036854775808", r"`a` must be below 2\*\*63"),
    ("a: !!python/object:os.system {}", r"^f:1:4: `a` has the tag"),
    ("a: !!binary aGk=", r"has the tag"),
    ("a: !!int [1]", r"has the tag|must be|no number"),
    ("a: !!int x", r"no number that can be read"),
    ("a: !!set {x}", r"has the tag"),
    ("a: !!map x", r"has the tag"),
    ("a: !!str {b: 1}", r"has the tag"),
    ("a: !!bool x", r"must be true or false, but got 'x'"),
    ('a: "\\0"', r"holds a control character"),
    ('a: "\\uD800"', r"holds a control character|not valid YAML"),
    ("a: &a [*a]", r"nested too deeply or too large"),
    ("a: &a {b: *a}", r"nested too deeply or too large"),
    ("a: &a\n  <<: *a\n", r"nested too deeply or too large"),
    ("<<: 3", r"`<<` merges mappings, but got 3"),
    (BOMB, r"nested too deeply or too large"),
    ("[" * 3000, r"nested too deeply"),
    ("a: " + "{b: " * 60 + "1" + "}" * 60, r"nested too deeply"),
    ("a: " + "x" * 300_000, r"holds 300003 characters; a sweep file has at most"),
    ("%YAML 1.1\n---\na: 1:30", r"no number that can be read"),
    ("%YAML 9.9\n--- a", r"not valid YAML"),
]


def test_broken_yaml_gives_one_line_with_its_place(subtests: pytest.Subtests) -> None:
    for text, message in BROKEN:
        with subtests.test(text=text):
            with pytest.raises(ValueError, match=message) as caught:
                read_yaml(text, source="f")
            assert "\n" not in str(caught.value)
            assert str(caught.value).isprintable()


def test_unreadable_files_give_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nothing\.yaml: the sweep file cannot be read: No such file"):
        read_file(tmp_path / "nothing.yaml")
    with pytest.raises(ValueError, match="cannot be read: Is a directory"):
        read_file(tmp_path)
    with pytest.raises(ValueError, match="cannot be read"):
        read_file("a\0b")
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("a: 1\nb: é\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin\.yaml:2:1: a sweep file is UTF-8 text, but byte 8 is not"):
        read_file(latin)


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\n")
    assert dict(read_file(path).data) == {"a": 1}


def test_messages_are_safe_to_print() -> None:
    assert dotted(("a.b", 2, "c")) == "a.b[2].c"
    assert shown("x" * 100) == "'" + "x" * 56 + "..."
    assert one_line("a\nb\x1b[0m") == "a b\\x1b[0m"
    assert len(one_line("x" * 5000)) == 600


def test_plain_takes_a_scripts_data() -> None:
    assert plain({"a": (1, range(2)), "b": {"c": "d"}}) == {"a": [1, [0, 1]], "b": {"c": "d"}}
    with pytest.raises(ValueError, match="a key of a study must be a string, but got 1"):
        plain({1: 2})
