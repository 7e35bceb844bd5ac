"""Metadata of an object, and the frame that all kinds share: reference, metadata, spec, status as it was stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from git_events_runner.errors import InvalidObject

from .job import timestamp
from .ref import Ref


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What we read of `metadata` (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/)."""

    name: str
    namespace: str | None
    uid: str
    resource_version: str
    generation: int
    created_at: datetime | None
    deleting: bool
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    finalizers: tuple[str, ...]

    @classmethod
    def of(cls, obj: Mapping[str, Any]) -> Metadata:
        """Read an object's metadata; only the name is demanded, manifests that were never stored have no more.

        Raises:
            InvalidObject: There is no name.
        """
        metadata = obj.get("metadata")
        metadata = metadata if isinstance(metadata, Mapping) else {}
        name = metadata.get("name")
        if not isinstance(name, str) or not name:
            raise InvalidObject("metadata.name", "is required")
        generation = metadata.get("generation")
        return cls(
            name=name,
            namespace=metadata.get("namespace") or None,
            uid=metadata.get("uid") or "",
            resource_version=str(metadata.get("resourceVersion") or ""),
            generation=generation if isinstance(generation, int) else 0,
            created_at=timestamp(metadata.get("creationTimestamp")),
            deleting=bool(metadata.get("deletionTimestamp")),
            labels=metadata.get("labels") or {},
            annotations=metadata.get("annotations") or {},
            finalizers=tuple(metadata.get("finalizers") or ()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One object of ours. `raw_status` is the mapping as stored: reading it never makes an object invalid."""

    ref: Ref
    metadata: Metadata
    raw_status: Mapping[str, Any]
