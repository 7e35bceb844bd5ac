"""What a write does to the storage: the rules between a request's body and a stored object.

Follows k8s.io/apiserver's generic registry (create, update, delete with preconditions and finalizers).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from git_events_runner.local import shapes
from git_events_runner.resources.kinds import KINDS, Kind

from . import builtin, metadata, schema
from .refusal import (
    Cause,
    Refusal,
    already_exists,
    bad_request,
    conflict,
    invalid,
    no_such_path,
    not_found,
    terminating,
    wrong_request,
)
from .storage import Storage

Object = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectPath:
    """What a request's path names: a kind, its namespace (None: all, or cluster-scoped), name and subresource."""

    kind: Kind
    namespace: str | None = None
    name: str | None = None
    subresource: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """Options of a DELETE; `propagation` is Background, Foreground, Orphan or None."""

    uid: str | None = None
    resource_version: str | None = None
    propagation: str | None = None


class Registry:
    """The verbs on objects, each atomic."""

    def __init__(self, *, storage: Storage, now: Callable[[], datetime]) -> None:
        self._storage = storage
        self._now = now

    def read(self, place: ObjectPath) -> Object:
        """The object at a path.

        Raises:
            Refusal: 404.
        """
        self.check_served(place.kind, place.subresource)
        found = self._storage.get(place.kind, place.namespace, place.name or "")
        if found is None:
            raise not_found(place.kind, place.name or "")
        return found

    def check_served(self, kind: Kind, subresource: str | None = None) -> None:
        """Refuse kinds whose definition is not installed, and subresources that they do not have."""
        if builtin.is_builtin(kind):
            served = subresource is None or (subresource == "status" and builtin.has_status(kind))
        else:
            version = self._definition(kind)
            served = version is not None and (
                subresource is None or (subresource == "status" and "status" in (version.get("subresources") or {}))
            )
        if not served:
            raise no_such_path()

    def create(self, place: ObjectPath, body: Object, *, strict: bool) -> Object:
        """Store a new object.

        Raises:
            Refusal: 400, 403 (namespace terminating), 404 (no namespace), 409 AlreadyExists, 422.
        """
        kind, namespace = place.kind, place.namespace
        self.check_served(kind)
        _check_type(kind, body)
        shapes.check(kind, body, strict=strict)
        given = body.get("metadata") or {}
        if given.get("namespace") not in {None, "", namespace}:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        if given.get("resourceVersion"):
            raise wrong_request(
                "metadata.resourceVersion", "resourceVersion should not be set on objects to be created"
            )
        obj = {**body, "metadata": metadata.created(given, kind, namespace, self._now())}
        name = obj["metadata"].get("name", "")
        self._check_namespace(kind, namespace, name)
        obj = copy.deepcopy(obj)
        dropped = obj.pop("status", None) if self._has_status(kind) else None
        if builtin.has_generation(kind):
            obj["metadata"]["generation"] = 1
        if name:
            builtin.create(kind, obj)
        self._finish(kind, obj, None, strict=strict, dropped=dropped)
        existing = self._storage.get(kind, namespace, name)
        if existing is not None:
            raise already_exists(kind, name, deleting="deletionTimestamp" in existing["metadata"])
        return self._storage.put(kind, obj)

    def restore(self, kind: Kind, obj: Object) -> None:
        """Store an object of an earlier start as it is, with its identity and status; unknown fields are dropped.

        Raises:
            Refusal: 422: it is not valid.
        """
        obj = copy.deepcopy(obj)
        self._finish(kind, obj, None, strict=False)
        self._storage.put(kind, obj)

    def update(
        self, place: ObjectPath, revise: Callable[[Object], Object], *, strict: bool, patch: bool = False
    ) -> Object:
        """Replace an object by what `revise` makes of it; an identical one is not written.

        Raises:
            Refusal: 400, 404, 409 Conflict, 422.
        """
        kind, name = place.kind, place.name or ""
        old = self.read(place)
        new = revise(old)
        _check_type(kind, new)
        shapes.check(kind, new, strict=strict)
        given = new.get("metadata") or {}
        self._check_identity(place, old["metadata"], given, patch=patch)
        obj = copy.deepcopy({**new, "metadata": metadata.updated(old["metadata"], given)})
        if place.subresource == "status":
            obj = self._with_status(kind, old, obj)
        elif self._has_status(kind):
            obj.pop("status", None)
            obj |= {"status": old["status"]} if "status" in old else {}
        self._finish(kind, obj, old, strict=strict)
        if builtin.has_generation(kind) and _content(obj) != _content(old):
            obj["metadata"]["generation"] = old["metadata"].get("generation", 1) + 1
        if obj == old:
            return old
        if "deletionTimestamp" in obj["metadata"] and not _held(kind, obj):
            self._storage.put(kind, obj)
            return self._storage.remove(kind, place.namespace, name)
        return self._storage.put(kind, obj)

    def delete(self, place: ObjectPath, options: Deletion) -> tuple[Object, bool]:
        """Delete an object, or mark it when finalizers hold it; what is left of it, and whether it is deleted.

        Raises:
            Refusal: 404, 409 when a precondition fails.
        """
        kind, name = place.kind, place.name or ""
        old = self.read(place)
        found = old["metadata"]
        if options.uid is not None and options.uid != found["uid"]:
            why = f"UID in precondition: {options.uid}, UID in object meta: {found['uid']}"
            raise conflict(kind, name, f"the UID in the precondition ({why}) does not match")
        if options.resource_version is not None and options.resource_version != found["resourceVersion"]:
            raise conflict(kind, name)
        fresh = dict(found)
        finalizers = [one for one in found.get("finalizers") or () if one not in {"orphan", "foregroundDeletion"}]
        extra = {"Orphan": ["orphan"], "Foreground": ["foregroundDeletion"]}.get(options.propagation or "", [])
        if finalizers + extra:
            fresh["finalizers"] = finalizers + extra
        else:
            fresh.pop("finalizers", None)
        obj = {**old, "metadata": fresh}
        if not _held(kind, obj):
            return self._storage.remove(kind, place.namespace, name), True
        if "deletionTimestamp" not in fresh:
            fresh |= {"deletionTimestamp": metadata.rfc3339(self._now()), "deletionGracePeriodSeconds": 0}
            if "generation" in fresh:
                fresh["generation"] += 1
            if kind.name == "Namespace":
                del fresh["deletionGracePeriodSeconds"]
                obj["status"] = {**obj.get("status", {}), "phase": "Terminating"}
        return (old if obj == old else self._storage.put(kind, obj)), False

    def _check_namespace(self, kind: Kind, namespace: str | None, name: str) -> None:
        if not kind.namespaced:
            return
        if not namespace:
            raise bad_request("an empty namespace may not be set during creation")
        found = self._storage.get(KINDS["Namespace"], None, namespace)
        if found is None:
            raise not_found(KINDS["Namespace"], namespace)
        if "deletionTimestamp" in found["metadata"]:
            raise terminating(kind, name, namespace)

    def _check_identity(
        self, place: ObjectPath, old: Mapping[str, Any], given: Mapping[str, Any], *, patch: bool
    ) -> None:
        kind, name = place.kind, place.name or ""
        if given.get("name") != name:
            raise bad_request(
                f"the name of the object ({given.get('name', '')}) does not match the name on the URL ({name})"
            )
        if kind.namespaced and given.get("namespace") not in {None, "", place.namespace}:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        if given.get("uid") not in {None, "", old["uid"]}:
            why = f"UID in precondition: {given.get('uid')}, UID in object meta: {old['uid']}"
            raise conflict(kind, name, f"Precondition failed: {why}")
        version = given.get("resourceVersion")
        if not version and builtin.needs_version(kind) and not patch:
            cause = Cause(field="metadata.resourceVersion", message="Invalid value: 0: must be specified for an update")
            raise invalid(kind, name, [cause])
        if version and version != old["resourceVersion"]:
            raise conflict(kind, name)
        deleting = "deletionTimestamp" in old
        if deleting and set(given.get("finalizers") or ()) - set(old.get("finalizers") or ()):
            message = "Forbidden: no new finalizers can be added if the object is being deleted"
            raise invalid(
                kind, name, [Cause(field="metadata.finalizers", message=message, reason="FieldValueForbidden")]
            )

    def _with_status(self, kind: Kind, old: Object, new: Object) -> Object:
        kept = {**old, "metadata": new["metadata"] if builtin.is_builtin(kind) else dict(old["metadata"])}
        kept.pop("status", None)
        return copy.deepcopy(kept) | ({"status": new["status"]} if "status" in new else {})

    def _finish(self, kind: Kind, obj: Object, old: Object | None, *, strict: bool, dropped: Any = None) -> None:
        """Prune, default and validate in place; of a status that is dropped unknown fields are named nevertheless."""
        name = obj["metadata"].get("name", "")
        rules = (
            None
            if builtin.is_builtin(kind)
            else (self._definition(kind) or {}).get("schema", {}).get("openAPIV3Schema")
        )
        if rules is not None:
            properties = {**rules.get("properties", {}), **_ROOT}
            rules = {**rules, "properties": properties}
            unknown = list(schema.prune(obj, rules))
            unknown += schema.prune({"status": dropped}, rules) if dropped is not None else ()
            schema.default(obj, rules)
        else:
            unknown = list(builtin.unknown_fields(kind, obj))
            builtin.normalise(kind, obj)
        if unknown and strict:
            raise _unknown(kind, unknown)
        causes = list(metadata.problems(obj["metadata"], kind))
        causes += schema.problems(obj, rules, "", old or {}) if rules is not None else builtin.problems(kind, obj, old)
        if causes:
            raise invalid(kind, name, causes)

    def _has_status(self, kind: Kind) -> bool:
        if builtin.is_builtin(kind):
            return builtin.has_status(kind)
        return "status" in ((self._definition(kind) or {}).get("subresources") or {})

    def _definition(self, kind: Kind) -> Mapping[str, Any] | None:
        """The version of the kind in its CustomResourceDefinition; None when that is not installed."""
        found = self._storage.get(KINDS["CustomResourceDefinition"], None, f"{kind.plural}.{kind.group}")
        versions = found["spec"]["versions"] if found else ()
        return next((one for one in versions if one["name"] == kind.version and one.get("served", True)), None)


_ROOT: dict[str, Any] = {
    "apiVersion": {"type": "string"},
    "kind": {"type": "string"},
    "metadata": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
}


def _check_type(kind: Kind, body: Object) -> None:
    if body.get("kind", kind.name) != kind.name or body.get("apiVersion", kind.api_version) != kind.api_version:
        given = f"{body.get('kind')} in version {body.get('apiVersion')}"
        raise bad_request(f"the object provided is unrecognized (must be of type {kind.name}): {given}")
    if not isinstance(body.get("metadata", {}), dict):
        raise bad_request("json: cannot unmarshal into Go struct field .metadata of type v1.ObjectMeta")
    body.setdefault("kind", kind.name)
    body.setdefault("apiVersion", kind.api_version)


def _content(obj: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in obj.items() if name not in {"metadata", "status"}}


def _held(kind: Kind, obj: Mapping[str, Any]) -> bool:
    """Whether something must happen before the object can go."""
    if kind.name == "Namespace" and (obj.get("spec") or {}).get("finalizers"):
        return True
    return bool(obj["metadata"].get("finalizers"))


def _unknown(kind: Kind, paths: Iterable[str]) -> Refusal:
    fields = ", ".join(f'unknown field "{path}"' for path in paths)
    return bad_request(
        f'{kind.name} in version "{kind.version}" cannot be handled as a {kind.name}: strict decoding error: {fields}'
    )
