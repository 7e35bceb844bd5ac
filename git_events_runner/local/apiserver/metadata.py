"""Object metadata as the API server keeps it: names, labels, what an update cannot change."""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from git_events_runner.resources.kinds import Kind

from .refusal import Cause

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
_LABEL_NAME = re.compile(r"([a-z0-9.-]+/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
_NAME_CHARS, _LABEL_CHARS, _GENERATED_CHARS = 253, 63, 58
_ANNOTATION_BYTES = 256 * 1024
_KEPT = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds", "generateName")
_STATEMENT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character"
)


def rfc3339(moment: datetime) -> str:
    """A time as Kubernetes writes it, in full seconds.

    >>> rfc3339(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    '2026-01-02T03:04:05Z'
    """
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def created(metadata: Mapping[str, Any], kind: Kind, namespace: str | None, now: datetime) -> dict[str, Any]:
    """The metadata of a new object: uid, creation time, a generated name when only `generateName` is given."""
    fresh = {name: value for name, value in metadata.items() if name not in {"managedFields", "selfLink"}}
    for name in ("deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion"):
        fresh.pop(name, None)
    if not fresh.get("name") and fresh.get("generateName"):
        prefix = str(fresh["generateName"])[:_GENERATED_CHARS]
        fresh["name"] = prefix + "".join(secrets.choice(_SUFFIX) for _ in range(5))
    fresh["uid"] = str(uuid.uuid4())
    fresh["creationTimestamp"] = rfc3339(now)
    fresh.pop("generation", None)
    if kind.namespaced:
        fresh["namespace"] = namespace
    else:
        fresh.pop("namespace", None)
    return _without_empty(fresh)


def updated(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """New metadata with what an update cannot change taken from the old."""
    result = {name: value for name, value in new.items() if name not in {"managedFields", "selfLink"}}
    for name in _KEPT:
        if name in old:
            result[name] = old[name]
        else:
            result.pop(name, None)
    result |= {name: old[name] for name in ("name", "namespace", "resourceVersion") if name in old}
    return _without_empty(result)


def _without_empty(metadata: dict[str, Any]) -> dict[str, Any]:
    droppable = {"labels", "annotations", "finalizers", "ownerReferences"}
    return {name: value for name, value in metadata.items() if value or name not in droppable}


def problems(metadata: Mapping[str, Any], kind: Kind) -> Iterator[Cause]:
    """What is wrong with the metadata of an object."""
    name = metadata.get("name")
    limit = _LABEL_CHARS if kind.name == "Namespace" else _NAME_CHARS
    if not name:
        message = "Required value: name or generateName is required"
        yield Cause(field="metadata.name", message=message, reason="FieldValueRequired")
    elif not isinstance(name, str) or len(name) > limit or not _SUBDOMAIN.fullmatch(name):
        yield Cause(field="metadata.name", message=f'Invalid value: "{name}": {_STATEMENT}')
    yield from label_problems(metadata.get("labels") or {}, "metadata.labels")
    annotations = metadata.get("annotations") or {}
    yield from _key_problems(annotations, "metadata.annotations")
    if sum(len(key.encode()) + len(str(value).encode()) for key, value in annotations.items()) > _ANNOTATION_BYTES:
        message = f"Too long: may not be more than {_ANNOTATION_BYTES} bytes"
        yield Cause(field="metadata.annotations", message=message, reason="FieldValueTooLong")
    owners = metadata.get("ownerReferences") or ()
    for index, owner in enumerate(owners):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                at = f"metadata.ownerReferences[{index}].{field}"
                yield Cause(field=at, message=f'Invalid value: "": {field} must not be empty')
    if sum(owner.get("controller") is True for owner in owners) > 1:
        message = "Invalid value: []: Only one reference can have Controller set to true"
        yield Cause(field="metadata.ownerReferences", message=message)


def label_problems(labels: Mapping[str, Any], path: str) -> Iterator[Cause]:
    """What is wrong with labels."""
    yield from _key_problems(labels, path)
    for value in labels.values():
        if len(str(value)) > _LABEL_CHARS:
            yield Cause(field=path, message=f'Invalid value: "{value}": must be no more than 63 bytes')
        elif not _LABEL_VALUE.fullmatch(str(value)):
            message = (
                f'Invalid value: "{value}": a valid label must be an empty string or consist of alphanumeric characters'
            )
            yield Cause(field=path, message=message)


def _key_problems(entries: Mapping[str, Any], path: str) -> Iterator[Cause]:
    for key in entries:
        prefix, _, own = key.rpartition("/")
        if not _LABEL_NAME.fullmatch(key) or len(own) > _LABEL_CHARS or len(prefix) > _NAME_CHARS:
            yield Cause(
                field=path, message=f'Invalid value: "{key}": name part must consist of alphanumeric characters'
            )
