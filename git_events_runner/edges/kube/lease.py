"""Leadership by a coordination.k8s.io Lease: one holder, evaluated by when *we* saw the record change.

The election step is pure (`elect`). Expiry runs on a monotonic clock, so that clocks of other machines do not matter;
every write is a compare-and-swap on resourceVersion; a leader that cannot renew within the renew deadline stops before
another one may start.

A new Lease gets an owner, with which Kubernetes collects it; that of one that is there stays as it is, as its labels
do: where owners are guarded (OwnerReferencesPermissionEnforcement), only who may delete an object may change them.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Protocol

from git_events_runner.errors import (
    ApiAlreadyExists,
    ApiConflict,
    ApiError,
    ApiInvalid,
    ApiNotFound,
    FenceLost,
)
from git_events_runner.resources.kinds import KINDS, Kind
from git_events_runner.resources.ref import Ref

_RELEASED_S = 1
# What a write keeps as other clients wrote it.
_KEPT = ("labels", "annotations", "ownerReferences", "finalizers")


class Move(Enum):
    """What an election step does."""

    CREATE = "create"
    TAKE = "take"
    RENEW = "renew"
    WAIT = "wait"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A Lease as last read, and when (monotonic) we saw it change; `deleted`: it was removed since."""

    holder: str
    version: str
    duration_s: float
    transitions: int
    changed_at: float
    deleted: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def released(self) -> bool:
        """Whether its holder released it: by itself (`_release` writes one second), not by a user's edit."""
        return not self.holder and self.duration_s <= _RELEASED_S


def elect(seen: Seen | None, *, identity: str, now: float) -> Move:
    """The rules, in order: none seen yet → create; ours → renew; released or expired by our clock → take; else wait.

    A lease that was deleted, or whose holder was edited away, may have a leader that has not noticed: it expires first.

    >>> elect(None, identity="a", now=0.0).value
    'create'
    """
    if seen is None:
        return Move.CREATE
    if seen.holder == identity:
        return Move.CREATE if seen.deleted else Move.RENEW
    if seen.released or now - seen.changed_at >= seen.duration_s:
        return Move.CREATE if seen.deleted else Move.TAKE
    return Move.WAIT


class Fence:
    """Leadership as a value: holds while the last renewal *began* less than the renew deadline ago."""

    def __init__(self, *, renew_deadline_s: float, clock: Callable[[], float]) -> None:
        self._renew_deadline_s = renew_deadline_s
        self._clock = clock
        self._renewed_at = float("-inf")

    def renewed(self, began_at: float) -> None:
        """A renewal that began then has succeeded."""
        self._renewed_at = began_at

    def close(self) -> None:
        """Leadership is over."""
        self._renewed_at = float("-inf")

    @property
    def holds(self) -> bool:
        """Whether this replica may still act as the leader."""
        return self._clock() - self._renewed_at < self._renew_deadline_s

    def check(self) -> None:
        """Pass while this replica is the leader.

        Raises:
            FenceLost: The last renewal is too long ago, or leadership ended.
        """
        if not self.holds:
            raise FenceLost("this replica is no longer the leader; the next leader continues the work")


class Api(Protocol):
    """What a lease needs of the API server."""

    async def get(self, ref: Ref, *, timeout_s: float) -> dict[str, Any]:
        """The object as it is now."""

    async def create(
        self, kind: Kind, obj: Mapping[str, Any], *, timeout_s: float | None = None, strict: bool = False
    ) -> dict[str, Any]:
        """Create an object."""

    async def replace(
        self,
        kind: Kind,
        obj: Mapping[str, Any],
        *,
        subresource: str | None = None,
        strict: bool = False,
        timeout_s: float | None = None,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Put an object; `dry_run`: without storing it."""


class Marks(Protocol):
    """What the leader writes into the lease for the next one."""

    @property
    def annotations(self) -> Mapping[str, str]:
        """Those that the lease has from now on."""

    def replaced(self, former: Mapping[str, str]) -> None:
        """Those of them that the lease had with other values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds: how long a record is good, how long a leader tries to renew, and how often each replica reads it."""

    duration_s: float
    renew_deadline_s: float
    retry_s: float


class Lease:
    """One lease. `run` is the leader whenever it can."""

    def __init__(
        self,
        *,
        api: Api,
        ref: Ref,
        identity: str,
        timing: Timing,
        owner: Callable[[], Mapping[str, Any] | None],
        marks: Marks,
        changed: Callable[[bool], None],
        failed: Callable[[ApiError], None],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._api = api
        self._ref = ref
        self._identity = identity
        self._timing = timing
        self._owner = owner
        self._marks = marks
        self._changed = changed
        self._failed = failed
        self._clock = clock
        self._sleep = sleep
        self._seen: Seen | None = None
        self._move = Move.WAIT
        self._new = True  # this process was never the leader: a lease with its name is that of a former process
        self._landed_at = clock() + timing.duration_s - timing.renew_deadline_s
        self._read_at = float("-inf")
        self._record: Mapping[str, Any] | None = None  # as last read
        self.moved_at = clock()
        self.answered_at = clock()

    @property
    def follows(self) -> bool:
        """Whether another replica held the lease, and renewed it in time, when it was last read."""
        seen = self._seen
        if seen is None or seen.deleted or seen.holder in {"", self._identity}:
            return False
        return self._read_at - seen.changed_at < seen.duration_s

    @property
    def holder(self) -> str | None:
        """Which replica held the lease when it was last read; empty: none did, None: it was not read yet."""
        if self._seen is None:
            return None
        expired = self._clock() - self._seen.changed_at >= self._seen.duration_s
        return "" if self._seen.deleted or expired else self._seen.holder

    async def try_write(self) -> bool:
        """Whether a write of this replica reaches the lease: put as it was last read, as a dry run.

        A conflict is an answer of the same kind, because another replica renews it; so is the refusal of dry runs by an
        admission webhook.
        """
        if self._record is None:
            return False
        try:
            body = {"apiVersion": KINDS["Lease"].api_version, "kind": "Lease", **self._record}
            await self._api.replace(KINDS["Lease"], body, timeout_s=self._timing.retry_s * 2, dry_run=True)
        except (ApiConflict, ApiInvalid):
            return True
        except ApiError as error:
            self._failed(error)
            return False
        return True

    async def run(self, work: Callable[[Fence], Awaitable[None]]) -> None:
        """Wait for leadership, run `work` while it lasts, and again. Cancelled: cancel `work`, then release it."""
        while True:
            fence = await self._acquire()
            self._changed(True)
            try:
                await self._work_as_leader(fence, work)
            finally:
                fence.close()
                self._changed(False)
                await asyncio.shield(self._release())

    async def _acquire(self) -> Fence:
        fence = Fence(renew_deadline_s=self._timing.renew_deadline_s, clock=self._clock)
        while True:
            self.moved_at = began = self._clock()
            if await self._try():
                if self._new and self._move is Move.RENEW and self._landed_at > self._clock():
                    # What a killed process of the same name has sent may still arrive (`own_lease_waits` in the model).
                    await self._sleep(self._landed_at - self._clock())
                    continue
                self._new = False
                fence.renewed(began)
                return fence
            await self._sleep(self._timing.retry_s * random.uniform(0.8, 1.2))  # noqa: S311  jitter

    async def _work_as_leader(self, fence: Fence, work: Callable[[Fence], Awaitable[None]]) -> None:
        """Run `work` and renew; the first that ends cancels the other."""
        renewing = asyncio.ensure_future(self._renew(fence))
        working = asyncio.ensure_future(work(fence))
        try:
            await asyncio.wait({renewing, working}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            fence.close() if renewing.done() else None
            for task in (working, renewing):
                task.cancel()
            results = await asyncio.gather(working, renewing, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, (asyncio.CancelledError, FenceLost)):
                raise result

    async def _renew(self, fence: Fence) -> None:
        """Renew until the renew deadline passes without success; a fence that did not hold never holds again."""
        while True:
            await self._sleep(self._timing.retry_s)
            try:
                async with asyncio.timeout(self._timing.renew_deadline_s - self._timing.retry_s):
                    while True:
                        self.moved_at = began = self._clock()
                        if await self._try():
                            if not fence.holds:  # it lapsed: what it has stopped since is planned by a new term alone
                                return
                            fence.renewed(began)
                            break
                        if self._seen is not None and self._seen.holder != self._identity:
                            return  # another holder has it
                        await self._sleep(min(self._timing.retry_s / 4, 1.0))
            except TimeoutError:
                return

    async def _try(self) -> bool:
        """One look and, if it may, one write; whether the lease is ours by a renewal that began just now."""
        try:
            await self._read_record()
            move = elect(self._seen, identity=self._identity, now=self._clock())
            if move is Move.WAIT:
                return False
            self._move = move
            await self._write(move)
        except (ApiConflict, ApiAlreadyExists):
            self.answered_at = self._clock()
            return False  # another replica was faster; the next read shows which
        except ApiError as error:
            if error.answered:
                self.answered_at = self._clock()
            self._failed(error)
            return False
        return True

    async def _read_record(self) -> None:
        try:
            lease = await self._api.get(self._ref, timeout_s=self._timing.retry_s * 2)
        except ApiNotFound:
            self.answered_at = self._clock()
            if self._seen is not None:
                self._seen = replace(self._seen, deleted=True)
            return
        self._remember(lease)

    def _remember(self, lease: Mapping[str, Any]) -> None:
        """The content of an answer, as of its arrival: the record may have changed at any time before."""
        now = self._read_at = self.answered_at = self._clock()
        self._record = lease
        spec, metadata = lease.get("spec") or {}, lease["metadata"]
        version = metadata["resourceVersion"]
        same = self._seen is not None and self._seen.version == version
        self._seen = Seen(
            holder=spec.get("holderIdentity") or "",
            version=version,
            duration_s=float(spec.get("leaseDurationSeconds") or self._timing.duration_s),
            transitions=int(spec.get("leaseTransitions") or 0),
            changed_at=self._seen.changed_at if same and self._seen else now,
            metadata={name: metadata[name] for name in _KEPT if name in metadata},
        )

    async def _write(self, move: Move, *, holder: str | None = None) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        seen = self._seen
        taken = move is not Move.RENEW
        spec: dict[str, Any] = {
            "holderIdentity": self._identity if holder is None else holder,
            "leaseDurationSeconds": max(int(self._timing.duration_s), 1) if holder is None else _RELEASED_S,
            "renewTime": now,
            "leaseTransitions": (seen.transitions if seen else 0) + (1 if move is Move.TAKE else 0),
        }
        if taken:
            spec["acquireTime"] = now
        body: dict[str, Any] = {
            "apiVersion": KINDS["Lease"].api_version,
            "kind": "Lease",
            "metadata": {"name": self._ref.name, "namespace": self._ref.namespace},
            "spec": spec,
        }
        timeout_s = self._timing.retry_s * 2
        known: Mapping[str, str] = (seen.metadata.get("annotations") or {}) if seen and not seen.deleted else {}
        marks = self._marks.annotations
        annotations = {"annotations": {**known, **marks}}
        if seen is None or seen.deleted:
            body["metadata"] |= annotations
            owner = self._owner()
            if owner is not None:
                body["metadata"]["ownerReferences"] = [dict(owner)]
            written = await self._api.create(KINDS["Lease"], body, timeout_s=timeout_s)
        else:
            body["metadata"] |= {**seen.metadata, **annotations, "resourceVersion": seen.version}
            written = await self._api.replace(KINDS["Lease"], body, timeout_s=timeout_s)
        self._remember(written)
        if former := {name: known[name] for name in marks if known.get(name, marks[name]) != marks[name]}:
            self._marks.replaced(former)

    async def _release(self) -> None:
        """Give the lease back, if it is ours, so that another replica takes it at its next look."""
        with contextlib.suppress(ApiError, TimeoutError):
            async with asyncio.timeout(self._timing.retry_s * 2):
                await self._read_record()
                if self._seen is not None and not self._seen.deleted and self._seen.holder == self._identity:
                    await self._write(Move.RENEW, holder="")
