"""What is known of a trigger: read once from the cluster, given as a value to what explains it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from git_events_runner.errors import ApiError, ApiNotFound
from git_events_runner.resources.job import IDENTITY_LABEL, TRIGGER_KIND_LABEL, TRIGGER_LABEL, JobView
from git_events_runner.resources.kinds import KINDS, NOTIFIERS, SOURCES
from git_events_runner.resources.ref import Ref, named
from git_events_runner.rules.jobs.labels import label
from git_events_runner.settings.runtime import RuntimeConfig

from .installation import Installation, find_installation
from .session import Session

_FEW = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """What git shows now for a source or a reference: the commit, or why it shows none.

    Of a source whose references are watched by patterns, `text` has how many there are.
    """

    commit: str | None = None
    problem: str | None = None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A trigger and what concerns it. What could not be read is in `unread`, with the reason.

    `elsewhere` has the namespaces in which an object that is missing here exists under its name; `unfinished` the Jobs
    of the installation that wait or run (None: not known); `webhook_key` the value of the webhook's secret, which is
    never printed.
    """

    trigger: Mapping[str, Any]
    now: datetime
    objects: Mapping[Ref, Mapping[str, Any]] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)
    elsewhere: Mapping[Ref, Sequence[str]] = field(default_factory=dict)
    jobs: Sequence[Mapping[str, Any]] = ()
    unfinished: Sequence[Mapping[str, Any]] | None = None
    events: Sequence[Mapping[str, Any]] = ()
    installation: Installation = field(default_factory=Installation)
    webhook_key: bytes | None = field(default=None, repr=False)
    live: Mapping[str, Live] = field(default_factory=dict)
    notifiers: Sequence[Mapping[str, Any]] = ()

    @property
    def config(self) -> RuntimeConfig:
        """The runtime config; the defaults where it is not known."""
        return self.installation.config


def ref_of(trigger: Mapping[str, Any]) -> Ref:
    """The identity of a stored trigger."""
    metadata = trigger["metadata"]
    return Ref(str(trigger["kind"]), metadata.get("namespace"), metadata["name"])


async def gather(session: Session, trigger: Mapping[str, Any], *, installation: str | None) -> Facts:
    """Read everything that concerns a trigger, with one request for each object and list."""
    unread: dict[str, str] = {}
    ref = ref_of(trigger)
    objects, elsewhere = await _named(session, trigger, unread)
    labels = f"{TRIGGER_KIND_LABEL}={ref.kind},{TRIGGER_LABEL}={label(ref.name)}"
    found = await find_installation(session, installation)
    jobs = await _all(session, "Job", ref.namespace, labels, "Jobs", unread) or ()
    waits = any(JobView.of(job).waits for job in jobs)
    return Facts(
        trigger=trigger,
        now=session.now(),
        objects=objects,
        unread=unread,
        elsewhere=elsewhere,
        jobs=jobs,
        unfinished=await _all(session, "Job", None, IDENTITY_LABEL, "Jobs of all namespaces", unread)
        if waits
        else None,
        events=await _events(session, ref, unread),
        installation=found,
        webhook_key=await _key(session, trigger, unread),
        notifiers=await _notifiers(session, ref.namespace, unread),
    )


async def _notifiers(session: Session, namespace: str | None, unread: dict[str, str]) -> list[dict[str, Any]]:
    """The Notifiers of a namespace, and those of the cluster."""
    found: list[dict[str, Any]] = []
    for kind in NOTIFIERS:
        try:
            listed = await session.all(KINDS[kind], namespace=None if kind.startswith("Cluster") else namespace)
        except ApiNotFound:  # older CRDs: there are none
            continue
        except ApiError as error:
            unread[KINDS[kind].plural] = str(error)
            continue
        found += [{**one, "kind": kind, "apiVersion": KINDS[kind].api_version} for one in listed]
    return found


async def _named(
    session: Session, trigger: Mapping[str, Any], unread: dict[str, str]
) -> tuple[dict[Ref, Mapping[str, Any]], dict[Ref, Sequence[str]]]:
    """The objects that a trigger names, and where those that are missing exist under their names."""
    objects: dict[Ref, Mapping[str, Any]] = {}
    elsewhere: dict[Ref, Sequence[str]] = {}
    namespace = str(trigger["metadata"].get("namespace"))
    wanted = list(named_refs(trigger))
    known = await _many_sources(session, wanted, unread)
    for ref in wanted:  # grows by what an Action names
        try:
            obj = known[ref] if ref in known else await session.find(ref)
            if obj is None and ref.namespace:
                same = await session.selected(KINDS[ref.kind], f"metadata.name={ref.name}")
                elsewhere[ref] = sorted(one["metadata"]["namespace"] for one in same)
        except ApiError as error:
            unread[str(ref)] = str(error)
            continue
        if obj is None:
            continue
        objects[ref] = obj
        override = (obj.get("spec") or {}).get("sourceOverride") if ref.kind.endswith("Action") else None
        if isinstance(override, Mapping):
            other = named(str(override.get("kind")), namespace, str(override.get("name")))
            wanted += [other] if other not in wanted else []
    return objects, elsewhere


async def _many_sources(
    session: Session, wanted: Sequence[Ref], unread: dict[str, str]
) -> dict[Ref, dict[str, Any] | None]:
    """The sources of a trigger with many: one list instead of a request for each."""
    sources = [ref for ref in wanted if ref.kind in SOURCES]
    if len(sources) <= _FEW:
        return {}
    first = sources[0]
    try:
        found = await session.all(KINDS[first.kind], namespace=first.namespace)
    except ApiError as error:
        unread[f"{KINDS[first.kind].plural} of {first.namespace}"] = str(error)
        return {}
    by_name = {one["metadata"]["name"]: one for one in found}
    return {ref: by_name.get(ref.name) for ref in sources}


def named_refs(trigger: Mapping[str, Any]) -> tuple[Ref, ...]:
    """The sources and the action that a trigger names, and its namespace."""
    spec, namespace = trigger.get("spec") or {}, str(trigger["metadata"].get("namespace"))
    sources, action = spec.get("sources") or {}, spec.get("action") or {}
    kind = str(sources.get("kind") or "GitRepo")
    refs = [named(kind, namespace, str(name)) for name in dict.fromkeys(sources.get("names") or ())]
    return (
        *refs,
        named(str(action.get("kind")), namespace, str(action.get("name"))),
        Ref("Namespace", None, namespace),
    )


async def _all(
    session: Session, kind: str, namespace: str | None, labels: str, what: str, unread: dict[str, str]
) -> list[dict[str, Any]] | None:
    try:
        return await session.all(KINDS[kind], namespace=namespace, labels=labels)
    except ApiError as error:
        unread[what] = str(error)
        return None


async def _events(session: Session, ref: Ref, unread: dict[str, str]) -> list[dict[str, Any]]:
    try:
        found = await session.selected(
            KINDS["Event"], f"regarding.kind={ref.kind},regarding.name={ref.name}", namespace=ref.namespace
        )
    except ApiError as error:
        unread["Events"] = str(error)
        return []
    return sorted(found, key=event_time)


def event_time(event: Mapping[str, Any]) -> str:
    """When an Event was last seen, as the API server writes it."""
    series = event.get("series") or {}
    return str(series.get("lastObservedTime") or event.get("eventTime") or event.get("deprecatedLastTimestamp") or "")


async def _key(session: Session, trigger: Mapping[str, Any], unread: dict[str, str]) -> bytes | None:
    """The value of the webhook's secret, where the caller may read it."""
    auth = ((trigger.get("spec") or {}).get("webhook") or {}).get("authConfig")
    if not auth:
        return None
    ref = Ref("Secret", trigger["metadata"].get("namespace"), str((auth.get("secretRef") or {}).get("name")))
    try:
        secret = await session.find(ref)
    except ApiError as error:
        unread[str(ref)] = str(error)
        return None
    value = ((secret or {}).get("data") or {}).get(auth.get("key"))
    try:
        return base64.b64decode(value, validate=True) if isinstance(value, str) else None
    except binascii.Error:
        return None
