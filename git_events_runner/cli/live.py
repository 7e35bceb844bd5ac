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
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.jobs.clone import describe, secrets_of
from git_events_runner.wiring.config import git_remote, host_key_policy

from .facts import Facts, Live, named
from .session import Session

_AT_A_TIME = 8


async def ls_refs(session: Session, facts: Facts, names: Iterable[str]) -> dict[str, Live]:
    """The commit of the watched reference of each source, or why git shows none."""
    remote = git_remote(facts.config.git, observer=Unobserved(), loopback=True)
    slots = asyncio.Semaphore(_AT_A_TIME)

    async def one(name: str) -> Live:
        async with slots:
            try:
                return await _commit(session, facts, remote, name)
            except (ApiError, GitError, InvalidObject, SecretUnusable) as error:
                return Live(problem=str(error))

    chosen = list(names)
    try:
        return dict(zip(chosen, await asyncio.gather(*map(one, chosen)), strict=True))
    finally:
        await remote.close()


async def _commit(session: Session, facts: Facts, remote: Any, name: str) -> Live:
    trigger: Any = parse(facts.trigger)
    namespace = str(trigger.ref.namespace)
    stored = facts.objects.get(named(trigger.spec.sources.kind, namespace, name))
    if stored is None:
        return Live(problem=f"{trigger.spec.sources.kind} {name} cannot be read")
    source: Any = parse(stored)
    files: dict[str, str] = {}
    for keys in secrets_of(source, namespace):
        secret = await session.client.get(Ref("Secret", keys.namespace, keys.name))
        data = secret.get("data") or {}
        wanted = {**keys.files, **{key: key for key in keys.optional}}
        files |= {file: _text(data, key) for key, file in wanted.items() if key in data}
    pinned = (stored.get("status") or {}).get("hostKeys") or ()
    repository = repository_of(describe(source, host_key_policy(facts.config), pinned), files)
    reference = trigger.spec.sources.watch_on.reference
    if reference is None:
        return Live(problem="--live shows one reference, and the trigger watches patterns of references")
    answer = await remote.commit_of(GitRequest(repository, Reference(reference.type, reference.name)))
    return Live(commit=answer.commit)


def _text(data: Mapping[str, str], key: str) -> str:
    try:
        return base64.b64decode(data[key], validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise SecretUnusable(f"key {key} is not UTF-8 text", reason="SecretInvalid") from error
