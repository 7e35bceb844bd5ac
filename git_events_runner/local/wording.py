"""Problems of models and server in words that state what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from .suggestions import fields_of
from .yamlfiles import Document

_WRONG_TYPE = re.compile(r'Invalid value: "(\w+)": \S+ in body must be of type string: "\w+"')
_SCALARS = frozenset(("integer", "number", "boolean"))
_SPLIT = frozenset(("apiVersion", "kind"))


def plainer(kind: str, field: str, problem: str) -> str:
    """A problem of a field, with what to do.

    >>> plainer("ScheduleTrigger", "spec.schedule", "must be a mapping")
    'must be a mapping, with the fields cron, interval'
    >>> plainer("Secret", "data.token", "illegal base64 data")
    'illegal base64 data; plain text belongs into stringData'
    >>> plainer("Action", "spec.a", 'Invalid value: "integer": spec.a in body must be of type string: "integer"')
    'must be of type string, found integer; put it into quotes'
    """
    if problem == "must be a mapping" and (fields := fields_of(kind, field)):
        return f"{problem}, with the fields {', '.join(fields)}"
    if problem == "illegal base64 data" and kind == "Secret":
        return f"{problem}; plain text belongs into stringData"
    found = _WRONG_TYPE.fullmatch(problem)
    if found and found[1] in _SCALARS:
        return f"must be of type string, found {found[1]}; put it into quotes"
    return problem


def unnamed(kind: str, metadata: Any) -> str:
    """Why an object has no name that can be used.

    >>> unnamed("Action", {"name": False})
    'is required as text; YAML reads n, yes, off and numbers as other values: put it into quotes'
    >>> unnamed("Action", {})
    'is required: give the Action a name, as text'
    """
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if isinstance(name, bool | int | float):
        return "is required as text; YAML reads n, yes, off and numbers as other values: put it into quotes"
    return f"is required: give the {kind} a name, as text"


def of_repeats(document: Document, *, foreign: bool) -> Iterator[str]:
    """Keys that a mapping has twice: kubectl uses the last one, and drops the other without a word.

    Of objects of other programs only those are reported that were two objects: the first one may be ours.
    """
    split = next(iter(document.repeats), "")
    if split in _SPLIT:
        last, first = document.repeats[split]
        yield f"{document.name}:{last}: {split}: is also in line {first}; write a line `---` between two objects"
    elif not foreign:
        for field, (last, first) in document.repeats.items():
            yield f"{document.name}:{last}: {field}: is also in line {first}; keep one of them"
