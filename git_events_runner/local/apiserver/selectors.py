"""Label and field selectors (https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from .refusal import bad_request

Predicate = Callable[[Mapping[str, Any]], bool]
# What objects are selected by; `regarding` is of Events alone.
_FIELDS = {
    "metadata": frozenset(("name", "namespace")),
    "regarding": frozenset(("kind", "name", "namespace", "uid")),
}
_REQUIREMENT = re.compile(
    r"\s*(?:(?P<set>[^\s,!=()]+)\s+(?P<how>in|notin)\s*\((?P<values>[^)]*)\)"
    r"|(?P<name>[^\s,!=()]+)\s*(?P<op>==|=|!=)\s*(?P<value>[^\s,()]*)"
    r"|(?P<absent>!)?\s*(?P<exists>[^\s,!=()]+))\s*(?:,|$)"
)


def selecting(labels: str | None, fields: str | None) -> Predicate:
    """A predicate on objects for both selectors of a request; None or empty selects everything.

    Raises:
        Refusal: 400 for a selector that cannot be read or a field that cannot be selected by.

    >>> chosen = selecting("app=web,tier notin (db),!gone", "metadata.name=x")
    >>> chosen({"metadata": {"name": "x", "labels": {"app": "web"}}})
    True
    """
    tests = _labels(labels or "") + _fields(fields or "")
    return lambda obj: all(test(obj) for test in tests)


def _labels(text: str) -> list[Predicate]:
    tests: list[Predicate] = []
    position = 0
    while position < len(text):
        match = _REQUIREMENT.match(text, position)
        if match is None:
            raise bad_request(f'unable to parse requirement: found "{text[position:]}"')
        tests.append(_label(match))
        position = match.end()
    return tests


def _label(match: re.Match[str]) -> Predicate:
    if match["how"]:
        values = frozenset(value.strip() for value in match["values"].split(","))
        inside = match["how"] == "in"
        name = match["set"]
        return lambda obj: (_of(obj).get(name) in values) is inside
    if match["op"]:
        name, value, equal = match["name"], match["value"], match["op"] != "!="
        return lambda obj: (_of(obj).get(name) == value) is equal
    name, present = match["exists"], not match["absent"]
    return lambda obj: (name in _of(obj)) is present


def _of(obj: Mapping[str, Any]) -> Mapping[str, str]:
    return obj["metadata"].get("labels") or {}


def _fields(text: str) -> list[Predicate]:
    return [_field(part) for part in text.split(",") if part]


def _field(part: str) -> Predicate:
    path, operator, value = re.match(r"([^!=]*)(==|!=|=|)(.*)", part, re.DOTALL).groups()  # type: ignore[union-attr]  # the pattern matches every text
    section, _, name = path.partition(".")
    known = _FIELDS.get(section, frozenset())
    if not operator or name not in known:
        raise bad_request(f"field label not supported: {path}")
    equal = operator != "!="
    return lambda obj: ((obj.get(section) or {}).get(name, "") == value) is equal
