"""What git shows now of a trigger's sources: one `ls-refs` request each, with the caller's rights to the Secrets."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any

from git_events_runner.edges.git.described import repository_of
from git_events_runner.edges.git.rate_limits import Unobserved
from git_events_runner.edges.git.request import GitRequest, Reference
from git_events_runner.errors import ApiError, GitError, InvalidObject, SecretUnusable
from git_events_runner.resources.parse import parse
from git_events_runner.resources.ref import Ref, named
from git_events_runner.rules.jobs.clone import describe, secrets_of
from git_events_runner.rules.ledger.entry import entry_of
from git_events_runner.rules.reference_entries import Listed, listed_keys
from git_events_runner.rules.reference_plan import plan
from git_events_runner.rules.references import Watched, full_name_of
from git_events_runner.wiring.config import git_remote, host_key_policy

from .facts import Facts, Live
from .findings import counted
from .session import Session

_AT_A_TIME = 8


async def ls_refs(session: Session, facts: Facts, names: Iterable[str]) -> dict[str, Live]:
    """The commit of the watched reference of each source, or why git shows none.

    Of patterns, by the keys of entries: those of references that have an entry, and of those that the next check runs.
    """
    remote = git_remote(facts.config.git, observer=Unobserved(), loopback=True)
    slots = asyncio.Semaphore(_AT_A_TIME)

    async def one(name: str) -> dict[str, Live]:
        async with slots:
            try:
                return await _shown(session, facts, remote, name)
            except (ApiError, GitError, InvalidObject, SecretUnusable) as error:
                return {name: Live(problem=str(error))}

    try:
        found = await asyncio.gather(*map(one, names))
        return {key: live for one in found for key, live in one.items()}
    finally:
        await remote.close()


async def _shown(session: Session, facts: Facts, remote: Any, name: str) -> dict[str, Live]:
    trigger: Any = parse(facts.trigger)
    namespace = str(trigger.ref.namespace)
    stored = facts.objects.get(named(trigger.spec.sources.kind, namespace, name))
    if stored is None:
        return {name: Live(problem=f"{trigger.spec.sources.kind} {name} cannot be read")}
    source: Any = parse(stored)
    files: dict[str, str] = {}
    for keys in secrets_of(source, namespace):
        secret = await session.client.get(Ref("Secret", keys.namespace, keys.name))
        data = secret.get("data") or {}
        wanted = {**keys.files, **{key: key for key in keys.optional}}
        files |= {file: _text(data, key) for key, file in wanted.items() if key in data}
    pinned = (stored.get("status") or {}).get("hostKeys") or ()
    repository = repository_of(describe(source, host_key_policy(facts.config), pinned), files)
    watch = trigger.spec.sources.watch_on
    if watch.references is not None:
        return await _references(facts, remote, repository, name, trigger.spec)
    answer = await remote.commit_of(GitRequest(repository, Reference(watch.reference.type, watch.reference.name)))
    return {name: Live(commit=answer.commit)}


async def _references(facts: Facts, remote: Any, repository: Any, name: str, spec: Any) -> dict[str, Live]:
    """By the rules of a check: those that it would run, and those that have an entry."""
    watched, status = Watched.of(spec.sources.watch_on.references), facts.trigger.get("status") or {}
    answer = await remote.references(repository, watched.prefixes)
    shown = {full: refs for full, refs in answer.refs.items() if watched.matches(full)}
    entries = {key: entry_of(status, key) for key in listed_keys(status, name) if watched.selects(full_name_of(key))}
    checks = plan(name, watched, shown, entries, Listed.of(status, name), record=spec.records_first).checks
    found = {name: Live(text=f"git shows {counted(len(shown), 'reference')} of the patterns")}
    if not shown:
        found[name] = Live(problem="git shows no reference that the patterns select")
    for key in dict.fromkeys((*checks, *entries)):
        commit = shown.get(full_name_of(key), (None,))[0]
        found[key] = (
            Live(commit=commit) if commit else Live(problem=f"{repository} has no {full_name_of(key)} any more")
        )
    return found


def _text(data: Mapping[str, str], key: str) -> str:
    try:
        return base64.b64decode(data[key], validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise SecretUnusable(f"key {key} is not UTF-8 text", reason="SecretInvalid") from error
