"""Whether the API server still has the history that this process has seen: its etcd may be restored from a snapshot.

A resource version is the revision of one etcd, which only rises. Which resources share an etcd is the server's own
affair (`--etcd-servers-overrides`), so only versions of one kind are compared. Each comparison is reliable, because all
these requests are answered by the newest state (no `resourceVersion` is sent; `resourceVersion=0`, which a cache that
is behind may answer, never is):

- a list begins at a lower version than one that was seen of its kind before it was requested;
- an object has a lower version than one that was seen of the same uid before it was requested, or than the list's own;
- a created object has no higher version than one that was seen of its kind before.

Every replica reads the Lease every few seconds, and its holder writes it as often, so no snapshot has the version that
was seen last. After an interruption nothing is written before the Lease was read again.

https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
https://etcd.io/docs/v3.6/op-guide/recovery/
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from git_events_runner.errors import ApiError, ApiForbidden, ApiNotFound, ApiUnavailable
from git_events_runner.resources.kinds import Kind
from git_events_runner.resources.ref import Ref

from .responses import cause_of

Known = tuple[str, int]  # uid and version
_PROOF_S = 2.0
_DIGITS = 20  # of a revision, which has 64 bits
FREE = "Event"  # what is published about a restore must not be refused because of it


class History:
    """The highest version seen of each kind, and whether one decreased."""

    def __init__(self) -> None:
        self.cached: Callable[[Ref], Known | None] = lambda _: None
        self.problem: str | None = None
        self._highest: dict[str, int] = {}
        self._leases: dict[Ref, Known] = {}
        self._turned = asyncio.Event()
        self._interruptions = 0
        self._proven = 0
        self._proving = asyncio.Lock()

    async def turned(self) -> str:
        """Return when a version decreased: which."""
        await self._turned.wait()
        return str(self.problem)

    def interrupted(self) -> None:
        """A request failed on its way, or a watch ended: the API server may have been started on other data."""
        self._interruptions += 1

    @property
    def proven(self) -> bool:
        """Whether the Lease was read since the last interruption."""
        return self._proven == self._interruptions

    async def prove(self, read: Callable[[Ref], Awaitable[object]]) -> None:
        """Before a write: since the last interruption, was the Lease read, which is newer than any snapshot?

        `read` is called with a Lease that was read before, if there is one; callers share one reading.

        Raises:
            ApiError: It could not be read, or its version decreased.
        """
        needed = self._interruptions
        while self._proven < needed:
            async with self._proving:
                if self._proven >= needed:
                    return
                begun = self._interruptions
                for ref in self._leases:
                    with contextlib.suppress(ApiNotFound, ApiForbidden):
                        await read(ref)
                self._proven = begun

    def check(self, what: str) -> None:
        """Pass while the API server's data is not older than what was seen of it: nothing else may be acted upon.

        Raises:
            ApiUnavailable: It is older.
        """
        if self.problem is not None:
            raise ApiUnavailable(f"{what}: the API server's data was restored from an older state")

    async def check_before_write(self, kind: str, what: str, read: Callable[[Ref], Awaitable[object]]) -> None:
        """Pass while what this process knows is the API server's history; a Lease checks itself, Events change nothing.

        Raises:
            ApiUnavailable: It is not, or that cannot be read.
        """
        if kind == FREE:
            return
        self.check(what)
        if kind != "Lease" and not self.proven:
            try:
                async with asyncio.timeout(_PROOF_S):
                    await self.prove(read)
            except (ApiError, TimeoutError) as error:
                raise ApiUnavailable(f"{what}: the Lease cannot be read: {cause_of(error)}") from error
            self.check(what)

    def known(self, ref: Ref) -> Known | None:
        """What is known of an object: of those in the cache, and of Leases, which are read every few seconds."""
        return self._leases.get(ref) if ref.kind == "Lease" else self.cached(ref)

    def highest(self, kind: str) -> int:
        """The highest version seen of a kind so far."""
        return self._highest.get(kind, 0)

    def saw(self, kind: str, version: object) -> None:
        """A watch or an answer has that version."""
        number = version_number(version)
        if number > self._highest.get(kind, 0):
            self._highest[kind] = number

    async def watched(self, kind: Kind, events: AsyncIterator[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
        """The same events, their versions noted."""
        async for event in events:
            metadata = (event.get("object") or {}).get("metadata") or {}
            self.saw(kind.name, metadata.get("resourceVersion"))
            yield event

    def listed(self, kind: Kind, before: int | None, version: object, items: list[dict[str, Any]]) -> None:
        """A page of a list arrived; `before` is the highest version when its first page was requested, else None."""
        number = version_number(version)
        if before is not None and 0 < number < before:
            self._turn(f"the list of {kind.plural} is as of version {number}, but version {before} was seen before")
        for item in items:
            metadata = item.get("metadata") or {}
            ref = Ref(kind.name, metadata.get("namespace") if kind.namespaced else None, str(metadata.get("name")))
            known = self.known(ref)
            if known is not None and known[1] <= number:
                self._compare(ref, known, metadata)
        self.saw(kind.name, version)

    def compare_answer(self, ref: Ref, before: Known | None, body: Mapping[str, Any]) -> None:
        """An object was read or changed; `before` is what was known of it when that was requested."""
        metadata = body.get("metadata") or {}
        if before is not None:
            self._compare(ref, before, metadata)
        if ref.kind == "Lease":
            self._leases[ref] = (str(metadata.get("uid")), version_number(metadata.get("resourceVersion")))
        self.saw(ref.kind, metadata.get("resourceVersion"))

    def created(self, kind: Kind, before: int, body: Mapping[str, Any]) -> None:
        """An object was created; `before` is the highest version of its kind when that was requested."""
        number = version_number((body.get("metadata") or {}).get("resourceVersion"))
        if 0 < number <= before:
            self._turn(f"a new object of {kind.plural} has version {number}, but version {before} was seen before")
        self.saw(kind.name, str(number))

    def _compare(self, ref: Ref, known: Known, metadata: Mapping[str, Any]) -> None:
        number = version_number(metadata.get("resourceVersion"))
        if metadata.get("uid") == known[0] and 0 < number < known[1]:
            self._turn(f"{ref} has version {number}, but version {known[1]} of it was seen before")

    def _turn(self, problem: str) -> None:
        if self.problem is None:
            self.problem = problem
            self._turned.set()


def version_number(text: object) -> int:
    """A resource version as a number; 0 where it is none.

    >>> version_number("42"), version_number(""), version_number(None)
    (42, 0, 0)
    """
    fits = isinstance(text, str) and len(text) <= _DIGITS and text.isascii() and text.isdigit()
    return int(text) if fits and isinstance(text, str) else 0
