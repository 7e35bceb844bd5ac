"""The check of manifests: what `local` checks before it starts, and policy and references of a cluster."""

from __future__ import annotations

import asyncio
import contextlib
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from git_events_runner.errors import ApiError, ApiForbidden, ConfigError
from git_events_runner.local.apiserver.server import serving
from git_events_runner.local.manifests import load, one_line
from git_events_runner.local.policy import refusals
from git_events_runner.local.references import UNREAD, Existing
from git_events_runner.local.standins import StandIn
from git_events_runner.local.yamlfiles import files
from git_events_runner.resources.kinds import KINDS, OURS
from git_events_runner.resources.ref import Ref
from git_events_runner.settings.runtime import RuntimeConfig

from .installation import find_installation
from .session import Session

_AT_A_TIME = 16
_PLACE = re.compile(r"(?::(?P<line>\d+))?: (?:(?P<field>[^\s:]+): )?(?P<text>.*)", re.DOTALL)


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
    """Look up in the cluster what the manifests name and do not have; notes about what may not be read.

    Raises:
        ApiError: The cluster cannot be read, or does not have the custom resources.
    """
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
                elif ref.kind in OURS:
                    absent.add(ref.kind)

    absent: set[str] = set()
    await asyncio.gather(*(one(ref) for ref in sorted(existing.missed, key=str)))
    for kind in (KINDS[name] for name in sorted(absent)):  # or is the kind itself not there?
        with contextlib.suppress(ApiForbidden):
            await session.client.list_page(kind, namespace=session.home if kind.namespaced else None, limit=1)
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
    refused = refusals(loaded, in_cluster, config)
    problems = list(_split(map(one_line, refused), names))
    return Inspection(files=names, objects=len(loaded.manifests), problems=problems, skipped=loaded.skipped)


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
