"""One version of an object, as the store keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from git_events_runner.errors import InvalidObject
from git_events_runner.resources.job import JobView, own_metadata
from git_events_runner.resources.kinds import KINDS, OURS
from git_events_runner.resources.parse import again, parse
from git_events_runner.resources.ref import Ref
from git_events_runner.resources.status_bounds import bounded_status

KEPT_METADATA = ("name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp")
_DROPPED_ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One object as last seen: trimmed JSON, and its model (or why it has none)."""

    ref: Ref
    uid: str
    version: int
    generation: int
    raw: Mapping[str, Any]
    model: Any
    invalid: InvalidObject | None
    partial: bool = False  # kept without spec and status: its namespace has no more room


def snapshot_of(raw: Mapping[str, Any], kind: str, old: Snapshot | None = None) -> Snapshot:
    """Trim and parse one object of the API server; an invalid one keeps its reason instead of a model.

    With its snapshot of before, the same spec is not parsed again: a status changes far more often.
    """
    metadata = raw["metadata"]
    trimmed = _trim(raw, kind)
    model: Any = None
    invalid: InvalidObject | None = None
    if kind == "Job":
        model = JobView.of(raw)
    elif kind in OURS:
        try:
            if old is not None and old.model is not None and _same_spec(old, trimmed):
                model = again(old.model, trimmed)
            else:
                model = parse({**trimmed, "kind": kind, "apiVersion": KINDS[kind].api_version})
        except InvalidObject as error:
            invalid = error
        except (TypeError, ValueError, AttributeError, KeyError, RecursionError) as error:
            invalid = InvalidObject("spec", f"cannot be read: {error}")  # one odd object never stops the stream
    return Snapshot(
        ref=ref_of(raw, kind),
        uid=metadata.get("uid") or "",
        version=version_number(metadata.get("resourceVersion")),
        generation=metadata.get("generation") or 0,
        raw=trimmed,
        model=model,
        invalid=invalid,
    )


def _same_spec(old: Snapshot, trimmed: Mapping[str, Any]) -> bool:
    """Also of the same generation: to Python 1 and True are equal."""
    generation = trimmed["metadata"].get("generation") or 0
    return bool(old.generation == generation and old.raw.get("spec") == trimmed.get("spec"))


def declares_the_same(old: Snapshot, new: Snapshot) -> bool:
    """Whether two snapshots of one name differ in their status, labels or annotations at most."""
    if (old.uid, old.generation, old.partial) != (new.uid, new.generation, new.partial):
        return False
    if new.ref.kind == "Namespace":
        return bool(old.raw["metadata"].get("labels") == new.raw["metadata"].get("labels"))
    return all(old.raw.get(name) == new.raw.get(name) for name in ("spec", "data"))


def ref_of(raw: Mapping[str, Any], kind: str) -> Ref:
    """The name of an object."""
    metadata = raw["metadata"]
    return Ref(kind, metadata.get("namespace") if KINDS[kind].namespaced else None, metadata["name"])


def version_number(text: object) -> int:
    """A resource version as a number; 0 for what is none."""
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() else 0


def version_of(raw: Mapping[str, Any]) -> int:
    """The resource version of an object of the API server; 0: it has none."""
    return version_number(raw["metadata"].get("resourceVersion"))


def _trim(raw: Mapping[str, Any], kind: str) -> dict[str, Any]:
    metadata = {name: value for name, value in raw["metadata"].items() if name != "managedFields"}
    annotations = metadata.get("annotations")
    if annotations and _DROPPED_ANNOTATION in annotations:
        metadata["annotations"] = {name: value for name, value in annotations.items() if name != _DROPPED_ANNOTATION}
    if kind == "Job":
        return {"metadata": own_metadata(metadata)}
    trimmed = {"metadata": metadata} | {name: raw[name] for name in ("spec", "status", "data") if name in raw}
    if kind in OURS and "status" in trimmed:
        trimmed["status"] = bounded_status(trimmed["status"], trimmed.get("spec"))
    return trimmed
