"""Which repository each source object is for each namespace: built once, and its cache entries are dropped with it.

A repository with a credential is built for each request, so that it holds no values of Secrets longer than the cache of
Secrets does; parsed private keys and open connections have their own limits (`edges/git/ssh/keys`, `../ssh/pool`).
A key names URL, credential, TLS and proxy. It is used no more when its source is deleted or edited, or its Secret has
another value.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from git_events_runner.edges.git.described import repository_of
from git_events_runner.edges.git.request import Repository
from git_events_runner.edges.kube.store import Store
from git_events_runner.resources.kinds import SOURCES
from git_events_runner.resources.ref import Ref
from git_events_runner.resources.ssh import HostKeyPolicy
from git_events_runner.rules.jobs.clone import describe

_BATCH_S = 1.0  # many deletions are one pass over what is remembered
_UNUSED_S = 60.0  # so often keys are dropped that no event of the API server has made unused


def build_repository(source: Any, namespace: str, files: Mapping[str, str], policy: HostKeyPolicy) -> Repository:
    """The repository that a source is for a namespace, with the contents of its Secrets.

    Raises:
        SecretUnusable: A value is missing or cannot be sent.
    """
    return repository_of(describe(source, policy, source.status.host_keys), files, owner=namespace)


@dataclass(frozen=True, slots=True)
class _Built:
    """A repository without a credential, and what it was built from."""

    source: Any
    policy: HostKeyPolicy
    repository: Repository


class Repositories:
    """The keys in use; each of `forget` gets those that are not used any more, some time."""

    def __init__(self, *, store: Store, forget: Collection[Callable[[Collection[str]], object]]) -> None:
        self._store = store
        self._forget = forget
        self._keys: dict[Ref, dict[str, str]] = {}
        self._built: dict[tuple[Ref, str], _Built] = {}
        self._users: Counter[str] = Counter()
        self._unused: set[str] = set()

    def build(self, source: Any, namespace: str, files: Mapping[str, str], policy: HostKeyPolicy) -> Repository:
        """As `build_repository`; the repository is used from now on.

        Raises:
            SecretUnusable: As there.
        """
        built = self._built.get((source.ref, namespace))
        if built is not None and built.source is source and built.policy == policy and not files:
            return built.repository
        repository = build_repository(source, namespace, files, policy)
        self.used(source.ref, namespace, repository.key)
        if not files:
            self._built[source.ref, namespace] = _Built(source, policy, repository)
        return repository

    def used(self, source: Ref, namespace: str, key: str) -> None:
        """A source is this repository for a namespace, and no other one any more."""
        keys = self._keys.setdefault(source, {})
        old = keys.get(namespace)
        if old != key:
            keys[namespace] = key
            self._users[key] += 1
            self._unused.discard(key)
            if old is not None:
                self._release(source, namespace, old)

    async def run(self) -> None:
        """Give on what is unused, until cancelled."""
        with self._store.subscribe(*SOURCES, "Namespace") as changes:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_UNUSED_S):
                        await changes.wait()
                await asyncio.sleep(_BATCH_S)
                self._drop_absent({ref.name for ref in changes.drain() if ref.kind == "Namespace"})
                unused, self._unused = self._unused, set()
                for forget in self._forget if unused else ():
                    forget(unused)

    def _drop_absent(self, namespaces: Collection[str]) -> None:
        """Release the keys of sources and namespaces that do not exist any more."""
        for source in [source for source in self._keys if self._store.get(source) is None]:
            for namespace, unused in self._keys.pop(source).items():
                self._release(source, namespace, unused)
        for namespace in namespaces:
            if self._store.get(Ref("Namespace", None, namespace)) is None:
                for source, keys in self._keys.items():
                    if (key := keys.pop(namespace, None)) is not None:
                        self._release(source, namespace, key)

    def _release(self, source: Ref, namespace: str, key: str) -> None:
        self._built.pop((source, namespace), None)
        self._users[key] -= 1
        if not self._users[key]:
            del self._users[key]
            self._unused.add(key)
