"""Manifests are read as kubectl reads them."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from git_events_runner.errors import ConfigError
from git_events_runner.local.yamlfiles import Document, documents, read


def one(text: str) -> Document:
    (found,) = read(Path("f.yaml"), text)
    return found


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True),
        ("off", False),
        ("n", False),
        ("Yes", True),
        ("yEs", "yEs"),
        ("12:30", "12:30"),
        ("2026-01-01", "2026-01-01"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("017", 15),
        ("08", 8),
        ("0o17", 15),
        ("0b11", 3),
        ("0x1f", 31),
        ("1_000", 1000),
        ("1e3", 1000),
        ("123e4", 1230000),
        ("1.5", 1.5),
        ("+1", 1),
        ("-.5", -0.5),
        ("1.2.3", "1.2.3"),
        (".", "."),
        ("~", None),
        ("", None),
        ("nULL", "nULL"),
        ("'yes'", "yes"),
        ("!!str 1", "1"),
    ],
)
def test_scalars(text: str, value: Any):
    """A plain scalar has the type that kubectl gives it."""
    found = one(f"a: {text}\n").value["a"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("key", ["on", "1", "1.0", "true"])
def test_keys_are_text(key: str):
    """A key that another reader takes for a boolean or a number is text."""
    assert all(isinstance(name, str) for name in one(f"{{{key}: x}}").value)


BILLION = "a: &a [1, 1]\n" + "".join(f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]\n" for a, b in pairwise("abcdefghijklm"))


@pytest.mark.parametrize(
    "text",
    [
        "&a [*a]",
        "&a {b: *a}",
        "[" * 100_000,
        '{"a":' * 100_000,
        BILLION,
        "? [a]\n: 1",
        "a: .inf",
        "a: !!binary aGk=",
        "a: !!set {b}",
        "a: !foo b",
        "a: !!python/object:os.system b",
        "a: \x01",
        "~: 1",
        "a: b: c",
        "a: " + "9" * 5000,
        '{"a": NaN}',
        "a: *b",
    ],
)  # fmt: skip
def test_what_cannot_be_read(text: str, tmp_path: Path):
    """What has no form in JSON, repeats itself or is nested without end is refused in one line with its place."""
    path = tmp_path / "f.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        list(documents(path))
    (problem,) = refused.value.problems
    assert problem.startswith(f"{path}:")
    assert "\n" not in problem


def test_json():
    """JSON may be indented with tabs, and escape what it likes; its lines are known where it is YAML, too."""
    found = one('{"a":\t1,\n\t"b": {"c": 2}}')
    assert found.value == {"a": 1, "b": {"c": 2}}
    assert found.at("b.c") == "f.yaml:2"
    assert one('{"a": "\\ud83d\\ude00"}').value == {"a": "😀"}


def test_a_byte_order_mark(tmp_path: Path):
    """An editor's byte order mark is no part of the text."""
    (tmp_path / "f.yaml").write_text("﻿a: 1\n", encoding="utf-8")
    assert next(documents(tmp_path / "f.yaml")).value == {"a": 1}


def test_places():
    """Fields are found by dotted path, also keys with dots and in brackets; lines of a block text by number."""
    found = one("data:\n  tls.crt: x\n  text: |\n    one\n    two\nitems:\n- a: 1\n  b:\n  - c\n")
    assert found.at("data[tls.crt]") == "f.yaml:2"
    assert found.inside("data.text", 2) == "f.yaml:5"
    assert found.item("items[0]", {}).at("b[0]") == "f.yaml:9"
    assert found.at("data.absent.deep") == "f.yaml:1"


def test_repeated_keys():
    """Keys that a mapping has twice have both lines; the last value counts, as for kubectl; merged keys may repeat."""
    found = one("a: 1\nb: {c: 1}\na: 2\n")
    assert (found.value, found.repeats) == ({"a": 2, "b": {"c": 1}}, {"a": (3, 1)})
    assert one("l:\n- a: {b: 1}\n  a: {b: 2}\n").item("l[0]", {}).repeats == {"a": (3, 2)}
    assert not one("x: &x {a: 1}\ny: {<<: *x, a: 2}\nz: {<<: *x, <<: *x}\n'y.a': 1\n").repeats


def test_several_documents():
    """A text may hold several documents; one that is broken is refused where it is."""
    assert [document.value for document in read(Path("f.yaml"), "a: 1\n---\nb: 2\n")] == [{"a": 1}, {"b": 2}]
    with pytest.raises(yaml.YAMLError) as refused:
        list(read(Path("f.yaml"), "a: 1\n---\nb: [\n"))
    assert refused.value.problem_mark.line == 3
