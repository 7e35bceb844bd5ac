"""Manifests for `local`: our kinds, Secrets, ConfigMaps and Namespaces, each problem with file, line and field.

All problems of all files are found at once, also names that nothing in the manifests bears.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from git_events_runner.errors import ConfigError, InvalidObject
from git_events_runner.resources.kinds import KINDS, OURS
from git_events_runner.resources.parse import parse
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.patterns import Patterns
from git_events_runner.rules.schedule import parse_schedule

from .references import dangling
from .refusal import Refusal
from .yamlfiles import Document, documents, files

TAKEN = (*OURS, "Secret", "ConfigMap", "Namespace")
_DEFAULT = "default"
_UNKNOWN = re.compile(r'unknown field "([^"]+)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One object, complete with its namespace, and the document that it comes from."""

    ref: Ref
    obj: dict[str, Any]
    document: Document


class Registrar(Protocol):
    """Where the objects go."""

    def create(self, obj: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object; Refusal says what is wrong with it."""


def load(paths: Sequence[str], server: Registrar) -> list[Manifest]:
    """Read manifests and create every object, namespaces first (those that are only named, too).

    Raises:
        ConfigError: Something is wrong; every problem is named, as `file:line: field: what; what to do`.
    """
    problems: list[str] = []
    found: dict[Ref, Manifest] = {}
    for path in files([Path(one) for one in paths]):
        try:
            for document in documents(path):
                problems += _add(document, found)
        except ConfigError as error:
            problems += error.problems
    manifests = sorted(found.values(), key=lambda one: one.ref.kind != "Namespace")
    if not manifests and not problems:
        problems.append(f"{', '.join(paths)}: no object in there; write at least a GitRepo, an Action and a trigger")
    problems += _create(manifests, server)
    if not problems:
        problems += [f"{one.document.at(field)}: {field}: {told}" for one, field, told in dangling(manifests)]
    if problems:
        raise ConfigError(*problems)
    return manifests


def _add(document: Document, found: dict[Ref, Manifest]) -> Iterator[str]:
    """Take a document over; its problems."""
    obj = document.value
    if not isinstance(obj, dict):
        yield f"{document.at('')}: is no object: it must begin with apiVersion, kind and metadata"
        return
    kind = obj.get("kind")
    if kind not in TAKEN:
        yield f"{document.at('kind')}: kind: {_unknown_kind(kind)}"
        return
    wanted = KINDS[kind].api_version
    if obj.get("apiVersion") != wanted:
        told = f"must be {wanted} for a {kind} (found {obj.get('apiVersion')!r})"
        yield f"{document.at('apiVersion')}: apiVersion: {told}"
        return
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        yield f"{document.at('metadata')}: metadata.name: is required: give the {kind} a name, as text"
        return
    namespace = str(metadata.get("namespace") or _DEFAULT) if KINDS[kind].namespaced else None
    ref = Ref(kind, namespace, metadata["name"])
    if ref in found:
        yield f"{document.at('metadata.name')}: metadata.name: {ref} is there already, at {found[ref].document.at('')}"
        return
    whole = {**obj, "metadata": {**metadata, "namespace": namespace} if namespace else metadata}
    whole.pop("status", None)
    found[ref] = Manifest(ref=ref, obj=whole, document=document)


def _unknown_kind(kind: object) -> str:
    if kind is None:
        return f"is required: one of {', '.join(TAKEN)}"
    near = difflib.get_close_matches(str(kind), TAKEN, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(TAKEN)}"
    return f"{kind} is no kind that is known here; {hint}"


def _create(manifests: Iterable[Manifest], server: Registrar) -> Iterator[str]:
    """Make namespaces and objects; the problems that the models and the server find."""
    manifests = list(manifests)
    present = {one.ref.name for one in manifests if one.ref.kind == "Namespace"} | {"default", "kube-system"}
    for name in sorted({one.ref.namespace for one in manifests if one.ref.namespace} - present):
        try:
            server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        except Refusal as refusal:
            first = next(one for one in manifests if one.ref.namespace == name)
            yield f"{first.document.at('metadata.namespace')}: metadata.namespace: {refusal}"
    for manifest in manifests:
        if manifest.ref == Ref("Namespace", None, "default"):
            continue
        yield from _create_one(manifest, server)


def _create_one(manifest: Manifest, server: Registrar) -> Iterator[str]:
    """Create an object; what is wrong with it, unknown fields first, since a misspelt one is missed elsewhere."""
    at = manifest.document.at
    wrong: InvalidObject | None = None
    refusal: Refusal | None = None
    try:
        _check(manifest)
    except InvalidObject as error:
        wrong = error
    try:
        server.create(manifest.obj)
    except Refusal as refused:
        refusal = refused
    unknown = _UNKNOWN.findall(str(refusal)) if refusal and refusal.code == 400 else []  # noqa: PLR2004  HTTP
    yield from (f"{at(field)}: {field}: {_unknown_field(manifest)}" for field in unknown)
    if wrong and wrong.field == "spec" and manifest.obj.get("spec") is None:
        yield f"{at('spec')}: spec: is empty; are the lines below it indented?"
    elif wrong:
        yield f"{at(wrong.field)}: {wrong}"
    elif refusal and not unknown:
        causes = refusal.details.get("causes") or ()
        yield from (f"{at(cause['field'])}: {cause['field']}: {cause['message']}" for cause in causes)
        if not causes:
            yield f"{at('')}: {refusal}"


def _unknown_field(manifest: Manifest) -> str:
    return f"{manifest.ref.kind} has no such field; look at its spelling and its indentation"


def _check(manifest: Manifest) -> None:
    """What no schema can tell: whether a schedule can be read, and file patterns.

    Raises:
        InvalidObject: They cannot.
    """
    if manifest.ref.kind not in OURS:
        return
    model: Any = parse(manifest.obj)
    if manifest.ref.kind == "ScheduleTrigger":
        parse_schedule(model.spec.schedule.interval, model.spec.schedule.cron)
    if manifest.ref.kind in {"ScheduleTrigger", "WebhookTrigger"}:
        Patterns(list(model.spec.sources.watch_on.files or ()))
