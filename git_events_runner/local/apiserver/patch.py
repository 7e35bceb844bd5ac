"""JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7396) on plain data; the input is never changed."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from .refusal import bad_request, unprocessable

_MISSING = object()


def merge(target: Any, patch: Any) -> Any:
    """The target with a merge patch applied: null removes, objects merge, everything else replaces.

    >>> merge({"a": {"b": 1, "c": 2}}, {"a": {"b": None}})
    {'a': {'c': 2}}
    """
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


def apply(target: Any, operations: Any) -> Any:
    """The target with a JSON Patch applied completely or not.

    Replacing a name that an object does not have adds it, as the API server's library does (against RFC 6902, seen on
    Kubernetes 1.34).

    Raises:
        Refusal: 422 when a test fails or a path is not there, 400 when it is no JSON Patch.
    """
    if not isinstance(operations, Sequence) or isinstance(operations, str):
        raise bad_request("error decoding patch: json: cannot unmarshal into Go value of type jsonpatch.Patch")
    document = copy.deepcopy(target)
    for operation in operations:
        if not isinstance(operation, Mapping):
            raise bad_request("error decoding patch: an operation is not an object")
        document = _step(document, operation)
    return document


def _step(document: Any, operation: Mapping[str, Any]) -> Any:
    path = _parts(operation.get("path"))
    match operation.get("op"):
        case "test":
            found = _read(document, path)
            if not _same(None if found is _MISSING else found, operation.get("value")):
                raise unprocessable()
            return document
        case "add":
            return _add(document, path, copy.deepcopy(operation.get("value")))
        case "replace":
            return _put(document, path, copy.deepcopy(operation.get("value")))
        case "remove":
            return _remove(document, path)
        case "copy" | "move" as op:
            source = _parts(operation.get("from"))
            value = copy.deepcopy(_read(document, source))
            if value is _MISSING:
                raise unprocessable()
            return _add(_remove(document, source) if op == "move" else document, path, value)
    raise unprocessable()


def _parts(path: object) -> list[str]:
    if not isinstance(path, str) or (path and not path.startswith("/")):
        raise unprocessable()
    return [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]


def _same(left: Any, right: Any) -> bool:
    """Equality of JSON values: true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[name], right[name]) for name in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(_same(one, other) for one, other in zip(left, right, strict=True))
    return bool(left == right)


def _index(items: list[Any], part: str, *, end: int) -> int:
    if part == "-" and end == len(items) + 1:
        return len(items)
    if not (part.isascii() and part.isdigit()) or int(part) >= end:
        raise unprocessable()
    return int(part)


def _read(document: Any, path: Sequence[str]) -> Any:
    for part in path:
        if isinstance(document, dict):
            document = document.get(part, _MISSING)
        elif isinstance(document, list) and part.isascii() and part.isdigit() and int(part) < len(document):
            document = document[int(part)]
        else:
            return _MISSING
    return document


def _parent(document: Any, path: Sequence[str]) -> Any:
    parent = _read(document, path[:-1])
    if not isinstance(parent, dict | list):
        raise unprocessable()
    return parent


def _add(document: Any, path: Sequence[str], value: Any) -> Any:
    if not path:
        return value
    parent = _parent(document, path)
    if isinstance(parent, list):
        parent.insert(_index(parent, path[-1], end=len(parent) + 1), value)
    else:
        parent[path[-1]] = value
    return document


def _put(document: Any, path: Sequence[str], value: Any) -> Any:
    if not path:
        return value
    parent = _parent(document, path)
    if isinstance(parent, list):
        parent[_index(parent, path[-1], end=len(parent))] = value
    else:
        parent[path[-1]] = value
    return document


def _remove(document: Any, path: Sequence[str]) -> Any:
    if not path:
        raise unprocessable()
    parent = _parent(document, path)
    if isinstance(parent, list):
        del parent[_index(parent, path[-1], end=len(parent))]
    elif path[-1] in parent:
        del parent[path[-1]]
    else:
        raise unprocessable()
    return document
