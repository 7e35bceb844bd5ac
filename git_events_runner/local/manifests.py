"""Manifests for `local`: our kinds, Secrets, ConfigMaps and Namespaces, each problem with file, line and field.

All problems of all files are reported together, also names that no object in the manifests has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from git_events_runner.errors import ConfigError, InvalidObject
from git_events_runner.local.apiserver.refusal import Refusal
from git_events_runner.resources.kinds import KINDS, NOTIFIERS, OURS, TRIGGERS
from git_events_runner.resources.parse import parse
from git_events_runner.resources.ref import Ref
from git_events_runner.rules import patterns
from git_events_runner.rules.schedule.schedule import parse_schedule
from git_events_runner.rules.waits import WaitPolicy

from . import configfile
from .foreign import is_foreign, is_list, titled, wrong_type
from .references import Existing, dangling
from .standins import StandIn
from .suggestions import unknown_field
from .wording import of_repeats, plainer, unnamed
from .yamlfiles import Document, documents, files

_DEFAULT = "default"
_GIVEN = frozenset(("default", "kube-system"))
_UNREADABLE = 400
_ON = re.compile(r"^spec\.retry\.true(?![^.\[])")
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
        """Create an object; Refusal states what is wrong with it."""

    def merge(self, obj: Mapping[str, Any]) -> None:
        """Put labels and annotations of an object on the one that is there; Refusal states what is wrong with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What the manifests hold: objects, and where documents were passed over that are no business of this program."""

    manifests: list[Manifest]
    skipped: list[str]


def load(
    paths: Sequence[str],
    server: Registrar,
    *,
    secrets: Sequence[StandIn] = (),
    namespace: str = _DEFAULT,
    existing: Existing | None = None,
    sends: bool = True,
) -> Loaded:
    """Read manifests and create every object, namespaces first (those that are only named, too).

    `secrets` are keys that are given in addition to the manifests; they win. `namespace` is that of objects without
    one; `existing` are objects that exist in a cluster, which manifests may name. `sends`: messages of Notifiers are
    sent, which needs their Secrets.

    Raises:
        ConfigError: Something is wrong; every problem is named, as `file:line: field: what; what to do`.
    """
    problems: list[str] = []
    skipped: list[str] = []
    found: dict[Ref, Manifest] = {}
    for path, explicit in files([Path(one) for one in paths]).items():
        try:
            for document in chain.from_iterable(map(items_of, documents(path, explicit=explicit))):
                foreign = is_foreign(document.value, explicit=document.explicit)
                problems += of_repeats(document, foreign=foreign)
                if foreign:
                    skipped.append(f"{document.at('')}: {titled(document.value)}")
                else:
                    problems += _add(document, found, namespace)
        except ConfigError as error:
            problems += error.problems
    _stand_in(found, secrets)
    manifests = sorted(found.values(), key=lambda one: one.ref.kind != "Namespace")
    if not manifests and not problems:
        problems.append(f"{', '.join(paths)}: no object in there; write at least a GitRepo, an Action and a trigger")
    stored: dict[Ref, dict[str, Any]] = {}
    complete = not problems  # a document that is no object may be the one that a name means
    wrong: set[Ref] = set()
    problems += _create(manifests, server, stored, wrong)
    manifests = [replace(one, obj=stored.get(one.ref, one.obj)) for one in manifests]  # nulls removed, defaults set
    if complete:
        named = [one for one in manifests if sends or one.ref.kind not in NOTIFIERS]
        problems += [
            f"{one.document.at(field)}: {field}: {problem}" for one, field, problem in dangling(named, wrong, existing)
        ]
    if problems:
        raise ConfigError(*map(one_line, problems))
    return Loaded(manifests=manifests, skipped=[one_line(text) for text in skipped])


def one_line(text: str) -> str:
    r"""A text without line breaks and all else that a terminal obeys: names in manifests may hold anything.

    >>> one_line("no GitRepo a\n\x1b[2J")
    'no GitRepo a\\n\\x1b[2J'
    """
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def items_of(document: Document) -> Iterator[Document]:
    """The document, or the objects in it where it is a list."""
    if not is_list(document.value):
        yield document
        return
    for index, item in enumerate(document.value["items"]):
        if item is not None:
            yield from items_of(document.item(f"items[{index}]", item))


def _add(document: Document, found: dict[Ref, Manifest], default: str) -> Iterator[str]:
    """Take a document over; its problems."""
    obj = document.value
    if not isinstance(obj, dict):
        yield f"{document.at('')}: is no object: it must begin with apiVersion, kind and metadata"
        return
    wrong = wrong_type(obj)
    if wrong is not None:
        yield f"{document.at(wrong[0])}: {wrong[0]}: {wrong[1]}"
        return
    kind, metadata = obj["kind"], obj.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str) or not metadata["name"]:
        yield f"{document.at('metadata.name')}: metadata.name: {unnamed(kind, metadata)}"
        return
    namespace = metadata.get("namespace") or default
    if not isinstance(namespace, str):
        yield f"{document.at('metadata.namespace')}: metadata.namespace: must be text"
        return
    ref = Ref(kind, namespace if KINDS[kind].namespaced else None, metadata["name"])
    if ref in found:
        yield f"{document.at('metadata.name')}: metadata.name: {ref} is there already, at {found[ref].document.at('')}"
        return
    complete = {**obj, "metadata": {**metadata, "namespace": namespace} if ref.namespace else metadata}
    found[ref] = Manifest(ref=ref, obj=complete, document=document)


def _stand_in(found: dict[Ref, Manifest], secrets: Sequence[StandIn]) -> None:
    """Put keys that are given in addition to the manifests into their Secrets."""
    nowhere = Document(path=Path("--secret"), line=0, value=None, lines={}, blocks={}, repeats={})
    for one in secrets:
        old = found.get(one.secret)
        document = old.document if old else nowhere
        obj: dict[str, Any] = dict(old.obj) if old else {"apiVersion": "v1", "kind": "Secret"}
        obj.setdefault("metadata", {"name": one.secret.name, "namespace": one.secret.namespace})
        for field in ("data", "stringData"):
            if isinstance(obj.get(field), dict):
                obj[field] = {key: value for key, value in obj[field].items() if key != one.key}
        obj["data"] = {**(obj.get("data") or {}), one.key: one.encoded}
        found[one.secret] = Manifest(ref=one.secret, obj=obj, document=document)


def _create(
    manifests: Iterable[Manifest], server: Registrar, created: dict[Ref, dict[str, Any]], wrong: set[Ref]
) -> Iterator[str]:
    """Make namespaces and objects, note which are stored and which are wrong; the problems of models and server."""
    manifests = list(manifests)
    present = {one.ref.name for one in manifests if one.ref.kind == "Namespace"} | _GIVEN
    for name in sorted({one.ref.namespace for one in manifests if one.ref.namespace} - present):
        try:
            server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        except Refusal as refusal:
            first = next(one for one in manifests if one.ref.namespace == name)
            yield f"{first.document.at('metadata.namespace')}: metadata.namespace: {refusal}"
    for manifest in manifests:
        for problem in _create_one(manifest, server, created):
            wrong.add(manifest.ref)
            yield problem


def _create_one(manifest: Manifest, server: Registrar, created: dict[Ref, dict[str, Any]]) -> Iterator[str]:
    """Create an object; what is wrong with it, unknown fields first, since a misspelt one is missed elsewhere."""
    at, kind = manifest.document.at, manifest.ref.kind
    stored, refusal = _stored(manifest, server)
    created[manifest.ref] = stored
    causes = (refusal.details.get("causes") if refusal else None) or ()
    wrong = None if refusal and refusal.code == _UNREADABLE and causes else _wrong(kind, stored)
    if not causes:
        yield from configfile.problems(manifest.ref, manifest.document)
    unknown = _UNKNOWN.findall(str(refusal)) if refusal and refusal.code == _UNREADABLE else []
    yield from (f"{at(field)}: {field}: {unknown_field(kind, manifest.obj, field)}" for field in unknown)
    if wrong and wrong.field == "spec" and manifest.obj.get("spec") is None:
        yield f"{at('spec')}: spec: is empty; are the lines below it indented?"
    elif wrong or not unknown:
        found = list(wrong.problems) if wrong else []
        others = [(cause["field"], cause["message"]) for cause in causes]
        found += [one for one in others if not any(_related(one[0], field) for field, _ in found)]
        yield from (f"{at(field)}: {as_written(field)}: {plainer(kind, field, problem)}" for field, problem in found)
        if refusal and not found:
            yield f"{at('')}: {kind}: {refusal}"


def as_written(field: str) -> str:
    """A field as manifests have it: YAML 1.1 reads a plain `on` as `true`.

    >>> as_written("spec.retry.true[0]"), as_written("spec.retry.truer")
    ('spec.retry.on[0]', 'spec.retry.truer')
    """
    return _ON.sub("spec.retry.on", field)


def _related(one: str, other: str) -> bool:
    """Whether one field is the other, or inside it: a problem of both is one problem.

    >>> _related("spec.a", "spec.a.b"), _related("spec.a", "spec.ab")
    (True, False)
    """
    return any(
        inner == outer or inner.startswith((f"{outer}.", f"{outer}[")) for inner, outer in ((one, other), (other, one))
    )


def _stored(manifest: Manifest, server: Registrar) -> tuple[dict[str, Any], Refusal | None]:
    """Create an object, or change one that every cluster has: what is stored, or the object and its refusal."""
    try:
        if manifest.ref.kind == "Namespace" and manifest.ref.name in _GIVEN:
            server.merge(manifest.obj)
        else:
            return server.create(manifest.obj), None
    except Refusal as refused:
        return manifest.obj, refused
    return manifest.obj, None


def _wrong(kind: str, obj: dict[str, Any]) -> InvalidObject | None:
    """What the models find, in their words, which are plainer than a schema's."""
    try:
        _check(kind, obj)
    except InvalidObject as error:
        return error
    return None


def _check(kind: str, obj: dict[str, Any]) -> None:
    """What no schema can check: whether a schedule can be read, windows and times, and file patterns.

    Raises:
        InvalidObject: They cannot.
    """
    if kind not in OURS:
        return
    model: Any = parse(obj)
    if kind in TRIGGERS:
        if model.spec.schedule is not None:
            parse_schedule(model.spec.schedule.interval, model.spec.schedule.cron)
        WaitPolicy.of(model.spec, ())
        patterns.check(model.spec.sources.watch_on.files or ())
