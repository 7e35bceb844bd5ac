"""How the API server reads metadata and the plain built-in kinds from JSON: types, and fields that they do not have.

Go's decoder takes null for every value as its zero value. Shapes are written as structural schemas:
https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/ and the kinds' own pages.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from git_events_runner.local.apiserver.refusal import Cause, Refusal
from git_events_runner.resources.kinds import Kind

_TEXT: dict[str, Any] = {"type": "string"}
_TIME: dict[str, Any] = {"type": "string", "format": "date-time"}
_INTEGER: dict[str, Any] = {"type": "integer"}
_FLAG: dict[str, Any] = {"type": "boolean"}
_BYTES: dict[str, Any] = {"type": "string", "format": "byte"}


def _map(values: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": values}


def _list(items: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _object(**properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


_ANYTHING: dict[str, Any] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_OWNER = _object(apiVersion=_TEXT, kind=_TEXT, name=_TEXT, uid=_TEXT, controller=_FLAG, blockOwnerDeletion=_FLAG)
_METADATA = _object(
    name=_TEXT,
    generateName=_TEXT,
    namespace=_TEXT,
    selfLink=_TEXT,
    uid=_TEXT,
    resourceVersion=_TEXT,
    generation=_INTEGER,
    creationTimestamp=_TIME,
    deletionTimestamp=_TIME,
    deletionGracePeriodSeconds=_INTEGER,
    labels=_map(_TEXT),
    annotations=_map(_TEXT),
    ownerReferences=_list(_OWNER),
    finalizers=_list(_TEXT),
    managedFields=_list(_ANYTHING),
)
_CONDITION = _object(type=_TEXT, status=_TEXT, reason=_TEXT, message=_TEXT, lastTransitionTime=_TIME)
_KINDS: dict[str, dict[str, Any]] = {
    "Secret": _object(data=_map(_BYTES), stringData=_map(_TEXT), type=_TEXT, immutable=_FLAG),
    "ConfigMap": _object(data=_map(_TEXT), binaryData=_map(_BYTES), immutable=_FLAG),
    "Namespace": _object(
        spec=_object(finalizers=_list(_TEXT)), status=_object(phase=_TEXT, conditions=_list(_CONDITION))
    ),
}
_ROOT = {"apiVersion": _TEXT, "kind": _TEXT, "metadata": _METADATA}
_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "boolean": bool,
}
_JSON = {dict: "object", list: "array", str: "string", int: "number", float: "number", bool: "bool"}
_QUALIFIED = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_OCTETS = range(256)  # Go takes a list of numbers for bytes, too
_BYTES_MOST = 1024 * 1024
_REQUIRED = {
    "kubernetes.io/dockercfg": ".dockercfg",
    "kubernetes.io/dockerconfigjson": ".dockerconfigjson",
    "kubernetes.io/ssh-auth": "ssh-privatekey",
    "kubernetes.io/tls": "tls.crt",
}


def check(kind: Kind, obj: Mapping[str, Any], *, strict: bool) -> None:
    """Refuse an object that the server cannot read; with `strict` also fields of metadata that are none.

    Raises:
        Refusal: 400; its details name each field.
    """
    shape = _KINDS.get(kind.name)
    schema = {"type": "object", "properties": {**_ROOT, **(shape or _ANYTHING).get("properties", {})}}
    wrong = list(_wrong(obj, schema, ""))
    if wrong:
        problem = f'{kind.name} in version "{kind.version}" cannot be handled as a {kind.name}'
        causes = [cause.as_json() for cause in wrong]
        field, message = wrong[0].field, wrong[0].message
        raise Refusal(400, "BadRequest", f"{problem}: json: cannot unmarshal {field}: {message}", {"causes": causes})
    unknown = list(_unknown(obj, schema, "")) if shape else list(_unknown(obj.get("metadata"), _METADATA, "metadata"))
    if unknown and strict:
        problem = ", ".join(f'unknown field "{path}"' for path in unknown)
        version = f'{kind.name} in version "{kind.version}" cannot be handled as a {kind.name}'
        raise Refusal(400, "BadRequest", f"{version}: strict decoding error: {problem}")


def _wrong(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    if value is None or (schema.get("format") == "byte" and _are_octets(value)):
        return
    wanted = schema["type"]
    if not isinstance(value, _TYPES[wanted]) or (isinstance(value, bool) and wanted != "boolean"):
        hint = "; put it into quotes" if wanted == "string" and not isinstance(value, dict | list) else ""
        yield Cause(field=path, message=f"must be of type {wanted}, found {_JSON.get(type(value), 'object')}{hint}")
    elif isinstance(value, dict):
        properties, rest = schema.get("properties") or {}, schema.get("additionalProperties")
        for name, inner in value.items():
            if known := properties.get(name, rest):
                yield from _wrong(inner, known, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _wrong(inner, schema["items"], f"{path}[{index}]")
    elif "format" in schema:
        yield from _wrong_text(str(value), schema["format"], path)


def _wrong_text(text: str, form: str, path: str) -> Iterator[Cause]:
    if form == "byte" and decoded(text) is None:
        yield Cause(field=path, message="illegal base64 data")
    elif form == "date-time" and not _is_time(text):
        yield Cause(field=path, message=f'parsing time "{text}" as RFC 3339')


def _unknown(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    if isinstance(value, dict) and "properties" in schema:
        for name, inner in sorted(value.items()):
            at = f"{path}.{name}" if path else name
            if name in schema["properties"]:
                yield from _unknown(inner, schema["properties"][name], at)
            else:
                yield at
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _unknown(inner, schema["items"], f"{path}[{index}]")


def _are_octets(value: Any) -> bool:
    return isinstance(value, list) and all(one is None or (type(one) is int and one in _OCTETS) for one in value)


def base64_of(value: Any) -> str:
    r"""Bytes as JSON has them, as they are stored: without line breaks; a list of numbers is taken for bytes, too.

    >>> base64_of("aGVs\nbG8="), base64_of([104, None])
    ('aGVsbG8=', 'aAA=')
    """
    if isinstance(value, list):
        return base64.b64encode(bytes(one or 0 for one in value)).decode()
    return "".join(value.split())


def decoded(text: str) -> bytes | None:
    r"""Base64 as Go's decoder reads it, which passes over line breaks; None where it is none.

    >>> decoded("aGVs\nbG8=\n"), decoded("aGVs bG8=")
    (b'hello', None)
    """
    plain = text.replace("\n", "").replace("\r", "")
    try:
        return base64.b64decode(plain, validate=True) if plain.isascii() else None
    except binascii.Error:
        return None


def _is_time(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None and "T" in text
    except ValueError:
        return False


def without_nulls(obj: dict[str, Any]) -> dict[str, Any]:
    """Texts of maps that are null become empty ones, other nulls go, as the zero values they are."""
    result = {name: value for name, value in obj.items() if value is not None}
    for name in ("data", "stringData", "binaryData"):
        if isinstance(result.get(name), dict):
            result[name] = {key: _text(value) for key, value in result[name].items()}
    metadata = {name: value for name, value in result.get("metadata", {}).items() if value is not None}
    for name in ("labels", "annotations"):
        if name in metadata:
            metadata[name] = {key: "" if value is None else value for key, value in metadata[name].items()}
    return {**result, "metadata": metadata}


def _text(value: Any) -> Any:
    """A null is an empty text; a list of numbers is bytes."""
    return base64_of(value) if isinstance(value, list) else "" if value is None else value


def secret_problems(obj: Mapping[str, Any]) -> Iterator[Cause]:
    """What is wrong with a Secret whose texts are encoded (`ValidateSecret`)."""
    data = obj.get("data") or {}
    yield from _keys("data", data)
    if sum(len(decoded(value) or b"") for value in data.values()) > _BYTES_MOST:
        yield Cause(field="data", message=f"Too long: may not be more than {_BYTES_MOST} bytes")
    kind = obj.get("type")
    needed = _REQUIRED.get(str(kind))
    if needed is not None and needed not in data:
        yield Cause(field=f"data[{needed}]", message="Required value", reason="FieldValueRequired")
    elif str(kind).startswith("kubernetes.io/dockerc") and not _is_json(decoded(data[needed]) or b""):
        yield Cause(field=f"data[{needed}]", message='Invalid value: "<secret contents redacted>": is no JSON')
    if kind == "kubernetes.io/tls" and "tls.key" not in data:
        yield Cause(field="data[tls.key]", message="Required value", reason="FieldValueRequired")
    if kind == "kubernetes.io/basic-auth" and not {"username", "password"} & data.keys():
        yield Cause(field="data[username]", message="Required value", reason="FieldValueRequired")
        yield Cause(field="data[password]", message="Required value", reason="FieldValueRequired")
    account = (obj["metadata"].get("annotations") or {}).get("kubernetes.io/service-account.name")
    if kind == "kubernetes.io/service-account-token" and not account:
        at = "metadata.annotations[kubernetes.io/service-account.name]"
        yield Cause(field=at, message="Required value", reason="FieldValueRequired")


def namespace_problems(obj: Mapping[str, Any]) -> Iterator[Cause]:
    """What is wrong with a Namespace (`ValidateNamespace`)."""
    for name in (obj.get("spec") or {}).get("finalizers") or ():
        if name != "kubernetes" and not _QUALIFIED.fullmatch(name or ""):
            problem = "name is neither a standard finalizer name nor is it fully qualified"
            yield Cause(field="spec.finalizers", message=f'Invalid value: "{name}": {problem}')


def config_map_problems(obj: Mapping[str, Any]) -> Iterator[Cause]:
    """What is wrong with a ConfigMap (`ValidateConfigMap`)."""
    data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
    yield from _keys("data", data)
    yield from _keys("binaryData", binary)
    for key in sorted(data.keys() & binary.keys()):
        yield Cause(field=f"data[{key}]", message=f'Invalid value: "{key}": duplicate of key present in binaryData')
    size = sum(len(value.encode()) for value in data.values())
    if size + sum(len(decoded(value) or b"") for value in binary.values()) > _BYTES_MOST:
        yield Cause(field="", message=f"Too long: may not be more than {_BYTES_MOST} bytes")


def _keys(field: str, data: Mapping[str, Any]) -> Iterator[Cause]:
    for key in data:
        if not _KEY.fullmatch(key) or key == "." or key.startswith(".."):
            what = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
            yield Cause(field=f"{field}[{key}]", message=f'Invalid value: "{key}": {what}')


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content)
    except ValueError:
        return False
    return True
