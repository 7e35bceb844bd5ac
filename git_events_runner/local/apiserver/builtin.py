"""What the API server does to the built-in kinds this program uses: defaults, limits, unknown fields."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

from git_events_runner.local import shapes
from git_events_runner.resources.kinds import OURS, Kind

from . import job_rules
from .refusal import Cause

_FIELDS: dict[str, frozenset[str]] = {
    "Lease": frozenset(("spec",)),
    "Event": frozenset(
        (
            "action",
            "deprecatedCount",
            "deprecatedFirstTimestamp",
            "deprecatedLastTimestamp",
            "deprecatedSource",
            "eventTime",
            "note",
            "reason",
            "regarding",
            "related",
            "reportingController",
            "reportingInstance",
            "series",
            "type",
        )
    ),
}
_LEASE = frozenset(
    (
        "acquireTime",
        "holderIdentity",
        "leaseDurationSeconds",
        "leaseTransitions",
        "preferredHolder",
        "renewTime",
        "strategy",
    )
)
_WITHOUT_STATUS = frozenset(("Lease", "Event", "Secret", "ConfigMap"))
_CONDITIONAL_ONLY = frozenset(("Lease", "CustomResourceDefinition", *OURS))


def is_builtin(kind: Kind) -> bool:
    """Whether the kind is not a custom resource."""
    return kind.name not in OURS


def has_status(kind: Kind) -> bool:
    """Whether a built-in kind has the status subresource."""
    return kind.name not in _WITHOUT_STATUS


def has_generation(kind: Kind) -> bool:
    """Whether changes of the specification are counted in `metadata.generation`."""
    return kind.name in {"Job", "CustomResourceDefinition", *OURS}


def needs_version(kind: Kind) -> bool:
    """Whether a PUT must state which version it replaces."""
    return kind.name in _CONDITIONAL_ONLY


def unknown_fields(kind: Kind, obj: Mapping[str, Any]) -> Iterator[str]:
    """Paths of fields that the kind does not have, as far as they are known here."""
    if kind.name == "Job":
        yield from job_rules.unknown_fields(obj)
        return
    known = _FIELDS.get(kind.name)
    if known is not None:
        yield from (name for name in sorted(obj) if name not in known | {"apiVersion", "kind", "metadata"})
    if kind.name == "Lease":
        yield from (f"spec.{name}" for name in sorted(obj.get("spec") or {}) if name not in _LEASE)


def create(kind: Kind, obj: dict[str, Any]) -> None:
    """Set the defaults of a new object in place; it must have its name and uid."""
    match kind.name:
        case "Job":
            job_rules.default(obj)
        case "Namespace":
            name = obj["metadata"]["name"]
            obj["metadata"]["labels"] = {
                **(obj["metadata"].get("labels") or {}),
                "kubernetes.io/metadata.name": name,
            }
            given = (obj.get("spec") or {}).get("finalizers") or []
            obj["spec"] = {"finalizers": given if "kubernetes" in given else [*given, "kubernetes"]}
            obj["status"] = {"phase": "Active"}
        case "CustomResourceDefinition":
            obj["status"] = {"conditions": [{"type": "Established", "status": "True"}]}


def normalise(kind: Kind, obj: dict[str, Any]) -> None:
    """Bring what may be written in two ways into the one form that is stored, in place."""
    if kind.name in {"Secret", "ConfigMap"}:
        plain = shapes.without_nulls(obj)
        obj.clear()
        obj.update(plain)
    if kind.name != "Secret":
        return
    data = obj.get("data") or {}
    obj |= {"data": {name: shapes.base64_of(value) for name, value in data.items()}} if data else {}
    texts = obj.pop("stringData", None) or {}
    encoded = {name: base64.b64encode(str(text).encode()).decode() for name, text in texts.items()}
    if encoded:
        obj["data"] = {**(obj.get("data") or {}), **encoded}
    obj.setdefault("type", "Opaque")


def problems(kind: Kind, obj: Mapping[str, Any], old: Mapping[str, Any] | None) -> Iterator[Cause]:
    """What is wrong with an object; `old` is what it replaces, None when it is new."""
    match kind.name:
        case "Job":
            yield from job_rules.problems(obj) if old is None else job_rules.changed(old, obj)
            if old is not None:
                yield from job_rules.wrong_status(old, obj)
        case "Secret":
            yield from shapes.secret_problems(obj)
            if old is not None and old.get("type") != obj.get("type"):
                yield Cause(field="type", message=f'Invalid value: "{obj.get("type")}": field is immutable')
        case "Namespace":
            yield from shapes.namespace_problems(obj)
        case "ConfigMap":
            yield from shapes.config_map_problems(obj)
        case "Lease":
            yield from _lease(obj.get("spec") or {})
        case "Event":
            yield from _event(obj)


def _lease(spec: Mapping[str, Any]) -> Iterator[Cause]:
    duration = spec.get("leaseDurationSeconds")
    if duration is not None and duration <= 0:
        yield Cause(field="spec.leaseDurationSeconds", message=f"Invalid value: {duration}: must be greater than 0")
    transitions = spec.get("leaseTransitions")
    if transitions is not None and transitions < 0:
        at = "spec.leaseTransitions"
        yield Cause(field=at, message=f"Invalid value: {transitions}: must be greater than or equal to 0")


def _event(obj: Mapping[str, Any]) -> Iterator[Cause]:
    for name in ("eventTime", "reportingController", "reportingInstance", "action", "reason"):
        if not obj.get(name):
            yield Cause(field=name, message="Required value", reason="FieldValueRequired")
    if obj.get("type") not in {"Normal", "Warning"}:
        yield Cause(field="type", message=f'Invalid value: "{obj.get("type")}": must be "Normal" or "Warning"')
    regarding = (obj.get("regarding") or {}).get("namespace") or ""
    namespace = obj["metadata"].get("namespace", "")
    if regarding != namespace and not (not regarding and namespace in {"default", "kube-system"}):
        message = f'Invalid value: "{regarding}": does not match event.namespace'
        yield Cause(field="involvedObject.namespace", message=message)
