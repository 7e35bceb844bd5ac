"""Structural schemas of custom resources: unknown fields, defaults, and what is wrong with an object.

Order and messages as in the API server
(https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/). CEL rules are
evaluated by `cel.py` for the forms that our own CRDs use.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from git_events_runner.resources.rule import compiled

from .cel import holds
from .refusal import Cause

_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
}
_NAMES: dict[type, str] = {
    dict: "object",
    list: "array",
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
}


_NEW = object()  # what no stored object has


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def prune(value: Any, schema: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Remove what the schema does not know from `value`, in place; the paths removed."""
    if isinstance(value, dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        properties, rest = schema.get("properties"), schema.get("additionalProperties")
        if schema.get("x-kubernetes-embedded-resource"):
            return
        for name in sorted(value):
            inner = (properties or {}).get(name)
            if inner is not None:
                yield from prune(value[name], inner, _join(path, name))
            elif isinstance(rest, Mapping):
                yield from prune(value[name], rest, _join(path, name))
            elif rest is not True and (properties is not None or schema.get("type") == "object"):
                del value[name]
                yield _join(path, name)
    elif isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        for index, item in enumerate(value):
            yield from prune(item, schema["items"], f"{path}[{index}]")


def default(value: Any, schema: Mapping[str, Any]) -> None:
    """Set defaults in place; a null where null is not allowed counts as absent."""
    if isinstance(value, dict):
        _drop_nulls(value, schema)
        for name, inner in (schema.get("properties") or {}).items():
            if "default" in inner and name not in value:
                value[name] = copy.deepcopy(inner["default"])
            if name in value:
                default(value[name], inner)
        if isinstance(schema.get("additionalProperties"), Mapping):
            for name, item in value.items():
                if name not in (schema.get("properties") or {}):
                    default(item, schema["additionalProperties"])
    elif isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        for item in value:
            default(item, schema["items"])


def _drop_nulls(value: dict[str, Any], schema: Mapping[str, Any]) -> None:
    properties, rest = schema.get("properties") or {}, schema.get("additionalProperties")
    for name in [name for name, item in value.items() if item is None]:
        inner = properties.get(name, rest)
        if isinstance(inner, Mapping) and not inner.get("nullable"):
            del value[name]


def problems(value: Any, schema: Mapping[str, Any], path: str = "", old: Any = _NEW) -> Iterator[Cause]:
    """What is wrong with `value`, field by field; where it is what the stored object has (`old`), nothing is.

    So the API server does since Kubernetes 1.30 ("validation ratcheting"): a stored object that a newer schema refuses
    may be changed elsewhere. Items of lists are only compared as complete lists.
    """
    if (value is None and schema.get("nullable")) or (old is not _NEW and value == old):
        return
    wrong = _wrong_type(value, schema, path)
    if wrong:
        yield wrong
        return
    yield from _limits(value, schema, path)
    if isinstance(value, dict):
        yield from _object(value, schema, path, old if isinstance(old, dict) else {})
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from problems(item, schema.get("items") or {}, f"{path}[{index}]")
    for rule in schema.get("x-kubernetes-validations") or ():
        if not holds(rule["rule"], value):
            at = path + str(rule.get("fieldPath", ""))
            reason = rule.get("message") or f"failed rule: {rule['rule']}"
            yield Cause(field=at, message=f"Invalid value: {_shown(value)}: {reason}")


def _wrong_type(value: Any, schema: Mapping[str, Any], path: str) -> Cause | None:
    if schema.get("x-kubernetes-int-or-string"):
        fits = isinstance(value, int | str) and not isinstance(value, bool)
        wanted = "integer or string"
    else:
        wanted = schema.get("type", "")
        fits = wanted not in _TYPES or (
            isinstance(value, _TYPES[wanted]) and (wanted == "boolean" or not isinstance(value, bool))
        )
    if fits:
        return None
    actual = "null" if value is None else _NAMES.get(type(value), "object")
    message = f'Invalid value: "{actual}": {path} in body must be of type {wanted}: "{actual}"'
    return Cause(field=path, message=message, reason="FieldValueTypeInvalid")


def _object(value: dict[str, Any], schema: Mapping[str, Any], path: str, old: Mapping[str, Any]) -> Iterator[Cause]:
    properties = schema.get("properties") or {}
    for name in schema.get("required") or ():
        if name not in value:
            yield Cause(field=_join(path, name), message="Required value", reason="FieldValueRequired")
    for name, item in value.items():
        inner = properties.get(name, schema.get("additionalProperties"))
        if isinstance(inner, Mapping):
            yield from problems(item, inner, _join(path, name), old.get(name, _NEW))


def _limits(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    allowed = schema.get("enum")
    if allowed is not None and not _among(value, allowed):
        options = ", ".join(_shown(option) for option in allowed)
        message = f"Unsupported value: {_shown(value)}: supported values: {options}"
        yield Cause(field=path, message=message, reason="FieldValueNotSupported")
    if _among(value, (schema.get("not") or {}).get("enum", ())):
        message = f"Invalid value: {_shown(value)}: {path} in body must not validate the schema (not)"
        yield Cause(field=path, message=message)
    checks: list[tuple[bool, str]] = []
    if isinstance(value, str):
        pattern = schema.get("pattern")
        checks = [
            (len(value) > schema.get("maxLength", len(value)), f"may not be longer than {schema.get('maxLength')}"),
            (len(value) < schema.get("minLength", 0), f"should be at least {schema.get('minLength')} chars long"),
            (pattern is not None and not compiled(pattern).search(value), f"should match '{pattern}'"),
        ]
    elif isinstance(value, list):
        checks = [
            (len(value) > schema.get("maxItems", len(value)), f"must have at most {schema.get('maxItems')} items"),
            (len(value) < schema.get("minItems", 0), f"should have at least {schema.get('minItems')} items"),
        ]
    elif isinstance(value, dict):
        most = schema.get("maxProperties", len(value))
        checks = [(len(value) > most, f"must have at most {most} items")]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        low, high = schema.get("minimum", value), schema.get("maximum", value)
        open_low = schema.get("exclusiveMinimum") is True and "minimum" in schema
        checks = [
            (value < low or (open_low and value == low), f"should be greater than or equal to {low}"),
            (value > high, f"should be less than or equal to {high}"),
        ]
    for failed, text in checks:
        if failed:
            yield Cause(field=path, message=f"Invalid value: {_shown(value)}: {path} in body {text}")


def _among(value: Any, options: Iterable[Any]) -> bool:
    """Whether a value is one of the options; true is not 1."""
    return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in options)


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return _NAMES.get(type(value), "object") if isinstance(value, dict | list) else str(value)
