"""What an unknown field may have been meant as."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from git_events_runner.resources.crds import crds
from git_events_runner.resources.kinds import OURS

_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
_SIMILAR = 0.6


def unknown_field(kind: str, obj: Mapping[str, Any], field: str) -> str:
    """The message for a field that a kind does not have: its likely name, where it belongs, or what there is.

    >>> unknown_field("Action", {"spec": {"actionJob": {"commands": []}}}, "spec.actionJob.commands")
    'Action has no such field; did you mean command?'
    >>> unknown_field("GitRepo", {"repoUri": ""}, "repoUri")
    'GitRepo has no such field; did you mean spec.repoUri? check its indentation'
    """
    problem = f"{kind} has no such field"
    schema = _schema(kind)
    if schema is None:
        return f"{problem}; check its spelling and its indentation"
    parent, _, name = field.rpartition(".")
    here = _properties(schema, parent)
    if near := difflib.get_close_matches(name, here, n=1, cutoff=_SIMILAR):
        given = obj if not parent else _value(obj, parent)
        if not isinstance(given, Mapping) or near[0] not in given:
            return f"{problem}; did you mean {near[0]}?"
    elsewhere = sorted(path for path in _paths(schema, "") if path.rpartition(".")[2] == name)
    if len(elsewhere) == 1 or (elsewhere and not here):
        return f"{problem}; did you mean {elsewhere[0]}? check its indentation"
    known = f"; {parent} has {', '.join(sorted(here))}" if parent and here else ""
    return f"{problem}; check its spelling and its indentation{known}"


def fields_of(kind: str, field: str) -> list[str]:
    """The fields of a mapping of one of our kinds; none where it has no fixed ones.

    >>> fields_of("ScheduleTrigger", "spec.schedule")
    ['cron', 'interval']
    """
    return sorted(_properties(_schema(kind) or {}, field))


@cache
def _schema(kind: str) -> Mapping[str, Any] | None:
    if kind not in OURS:
        return None
    definition = crds()[OURS.index(kind)]
    schema: dict[str, Any] = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    known = {name: value for name, value in schema["properties"].items() if name != "status"}
    return {**schema, "properties": known}


def _properties(schema: Mapping[str, Any], path: str) -> list[str]:
    node: Mapping[str, Any] = schema
    for match in _STEP.finditer(path):
        node = (node.get("items") if match[2] else (node.get("properties") or {}).get(match[1])) or {}
    return list(node.get("properties") or ())


def _value(obj: Any, path: str) -> Any:
    for match in _STEP.finditer(path):
        step: Any = int(match[2]) if match[2] else match[1]
        try:
            obj = obj[step]
        except (KeyError, IndexError, TypeError):
            return None
    return obj


def _paths(schema: Mapping[str, Any], path: str) -> Iterator[str]:
    for name, inner in (schema.get("properties") or {}).items():
        at = f"{path}.{name}" if path else name
        yield at
        yield from _paths(inner, at)
        yield from _paths(inner.get("items") or {}, f"{at}[]")
