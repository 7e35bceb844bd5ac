"""The check of manifests: what `local` checks before it starts, and policy and references of a cluster."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from git_events_runner.errors import ApiError, ApiForbidden, ConfigError, InvalidObject
from git_events_runner.local.apiserver.server import serving
from git_events_runner.local.manifests import Loaded, Manifest, load, one_line
from git_events_runner.local.references import UNREAD, Existing
from git_events_runner.local.standins import StandIn
from git_events_runner.local.yamlfiles import files
from git_events_runner.resources.kinds import TRIGGERS
from git_events_runner.resources.parse import parse
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.ledger.report import Problem
from git_events_runner.rules.policy import refusal, too_often
from git_events_runner.rules.resolve import resolve
from git_events_runner.rules.schedule.schedule import parse_schedule
from git_events_runner.rules.strangers import forks_refused
from git_events_runner.settings.document import parse_runtime_config
from git_events_runner.settings.runtime import CONFIG_KEY, RuntimeConfig
from git_events_runner.wiring.config import policy_of

from .facts import entry_key
from .installation import find_installation
from .session import Session

_AT_A_TIME = 16
_PLACE = re.compile(r"(?::(?P<line>\d+))?: (?:(?P<field>[^\s:]+): )?(?P<text>.*)", re.DOTALL)
_OF_ACTION = {
    "ServiceAccountNotAllowed": "spec.actionJob.serviceAccount",
    "LabelNotAllowed": "spec.actionJob.labels",
    "AnnotationNotAllowed": "spec.actionJob.annotations",
    "ClonerImageNotAllowed": "spec.actionJob.clonerImage",
    "PodSettingNotAllowed": "spec.actionJob",
}
_OF_TRIGGER = {"ForksNotAllowed": "spec.sources.watchOn.references.pullRequests.from"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestProblem:
    """One problem: file, line (None: of the file itself), field, and what to do."""

    file: str
    line: int | None
    field: str
    text: str

    def __str__(self) -> str:
        """As a compiler writes it: `file:line: field: what`."""
        where = f"{self.file}:{self.line}" if self.line is not None else self.file
        return f"{where}: {self.field}: {self.text}" if self.field else f"{where}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What was found in manifests: problems, documents that were skipped, and what could not be checked."""

    files: Sequence[str]
    objects: int
    problems: Sequence[ManifestProblem]
    skipped: Sequence[str] = ()
    notes: Sequence[str] = ()


async def inspect(paths: Sequence[str], secrets: Sequence[StandIn], namespace: str) -> Inspection:
    """Check manifests alone: Secrets and ConfigMaps that they do not have may exist elsewhere."""
    existing = Existing({}, assumed=("Secret", "ConfigMap"))
    return await _inspect(paths, secrets, namespace, existing, None)


async def inspect_with(session: Session, paths: Sequence[str], secrets: Sequence[StandIn]) -> Inspection:
    """Check manifests with a cluster: names may mean objects that exist there, and its policy holds.

    Raises:
        ApiError: The cluster cannot be read.
    """
    existing = Existing({})
    await _inspect(paths, secrets, session.home, existing, None)
    unread = await _read(session, existing)
    installation = await find_installation(session, None)
    known = Existing(dict(existing), assumed=())
    found = await _inspect(
        paths, secrets, session.home, known, installation.config if installation.config_known else None
    )
    notes = [*unread]
    if not installation.config_known:
        notes.append("the runtime config cannot be read, so its policy is not checked")
    words = "in these manifests"
    problems = [replace(one, text=one.text.replace(words, f"{words} or the cluster")) for one in found.problems]
    return replace(found, problems=problems, notes=notes)


async def _read(session: Session, existing: Existing) -> list[str]:
    """Look up in the cluster what the manifests name and do not have; notes about what may not be read."""
    slots, notes = asyncio.Semaphore(_AT_A_TIME), []

    async def one(ref: Ref) -> None:
        async with slots:
            try:
                found = await session.find(ref)
            except ApiForbidden:
                existing[ref] = UNREAD
                notes.append(f"{ref} may not be read, so it is not checked")
            except ApiError:
                raise
            else:
                if found is not None:
                    existing[ref] = found

    await asyncio.gather(*(one(ref) for ref in sorted(existing.missed, key=str)))
    return sorted(notes)


async def _inspect(
    paths: Sequence[str],
    secrets: Sequence[StandIn],
    namespace: str,
    existing: Existing,
    config: RuntimeConfig | None,
) -> Inspection:
    names: list[str] = []
    in_cluster = dict(existing)
    with tempfile.TemporaryDirectory(prefix="git-events-runner-") as folder:
        async with serving(path=Path(folder) / "api") as server:
            try:
                names = ["stdin" if str(path) == "-" else str(path) for path in files([Path(one) for one in paths])]
                loaded = load(paths, server, secrets=secrets, namespace=namespace, existing=existing)
            except ConfigError as error:
                return Inspection(files=names, objects=0, problems=list(_split(error.problems, names)))
    refused = _policy(loaded, in_cluster, config)
    problems = list(_split(map(one_line, refused), names))
    return Inspection(files=names, objects=len(loaded.manifests), problems=problems, skipped=loaded.skipped)


def _policy(loaded: Loaded, in_cluster: Mapping[Ref, Mapping[str, Any]], config: RuntimeConfig | None) -> Iterator[str]:
    """What the installation's policy refuses, by the rules that the controller applies."""
    manifests = {one.ref: one for one in loaded.manifests}
    policy = policy_of(_config_of(loaded.manifests) or config or RuntimeConfig())
    found = {ref: _Found.of(obj) for ref, obj in {**in_cluster, **{r: m.obj for r, m in manifests.items()}}.items()}
    seen: set[str] = set()
    for one in loaded.manifests:
        if one.ref.kind not in TRIGGERS:
            continue
        trigger: Any = parse(one.obj)
        namespace = str(one.ref.namespace)
        own = found.get(Ref("Namespace", None, namespace))
        for name in trigger.spec.sources.names:
            deletes = trigger.spec.sources.watch_on.on_delete is not None
            for deleted in (False, True) if deletes else (False,):
                resolved = resolve(trigger, entry_key(trigger, name), found.get, deleted=deleted)
                if isinstance(resolved, Problem):
                    continue
                problem = refusal(policy, resolved, namespace, own.labels if own else {})
                problem = problem or forks_refused(policy.fork_pull_requests, trigger, resolved)
                if problem is not None and problem.message not in seen:
                    seen.add(problem.message)
                    yield _refused(one, problem, manifests, resolved.action)
        schedule = trigger.spec.schedule
        if schedule is not None:
            often = too_often(policy, parse_schedule(schedule.interval, schedule.cron), datetime.now(UTC))
            if often is not None:
                yield f"{one.document.at(often.field)}: {often.field}: {often.problem}"


def _refused(trigger: Manifest, problem: Problem, manifests: Mapping[Ref, Manifest], action: Ref) -> str:
    """A refusal, at the field of the Action that causes it, or of the trigger that names it."""
    field = _OF_ACTION.get(problem.reason)
    if field is not None and action in manifests:
        return f"{manifests[action].document.at(field)}: {field}: {problem.message}"
    field = _OF_TRIGGER.get(problem.reason, "spec.action.name")
    return f"{trigger.document.at(field)}: {field}: {problem.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """An object as the rules read it."""

    uid: str
    generation: int
    model: Any
    invalid: InvalidObject | None
    labels: Mapping[str, str]

    @classmethod
    def of(cls, obj: Mapping[str, Any]) -> _Found:
        """Read an object; one that cannot be read is not valid."""
        metadata = obj.get("metadata") or {}
        model, invalid = None, None
        if obj.get("kind") != "Namespace":
            try:
                model = parse(obj)
            except InvalidObject as error:
                invalid = error
        return cls(uid="", generation=0, model=model, invalid=invalid, labels=metadata.get("labels") or {})


def _config_of(manifests: Iterable[Manifest]) -> RuntimeConfig | None:
    """The runtime config that the manifests have."""
    for one in manifests:
        text = (one.obj.get("data") or {}).get(CONFIG_KEY) if one.ref.kind == "ConfigMap" else None
        if isinstance(text, str):
            try:
                return parse_runtime_config(text)
            except ConfigError:
                return None
    return None


def _split(problems: Iterable[str], names: Sequence[str]) -> Iterator[ManifestProblem]:
    """Problems as values: each begins with the name of its file."""
    for text in problems:
        file = max((name for name in names if text.startswith(f"{name}:")), key=len, default="")
        match = _PLACE.fullmatch(text[len(file) :]) if file else None
        if match is None:
            yield ManifestProblem(file=file or "-", line=None, field="", text=text)
        else:
            line = int(match["line"]) if match["line"] else None
            yield ManifestProblem(file=file, line=line, field=match["field"] or "", text=match["text"])
