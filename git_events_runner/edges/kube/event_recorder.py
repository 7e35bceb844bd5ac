"""Events (events.k8s.io/v1): what happened to an object, for `kubectl describe`; bounded, limited, merged.

Namespaces have turns: neither the Events of one nor its repetitions displace those of another, and one in which the API
server refuses Events or does not answer delays no other. Meanwhile they wait, with the time at which they happened.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from git_events_runner.concurrency.fairness import RoundRobin, Weight
from git_events_runner.concurrency.retry_delays import delay_s
from git_events_runner.edges.ports import KubeWriter
from git_events_runner.errors import ApiAlreadyExists, ApiError, ApiNotFound, ApiTooManyRequests, ApiUnavailable
from git_events_runner.resources.kinds import KINDS
from git_events_runner.resources.ref import Ref

_WAITING_EACH = 500  # in one namespace
_WAITING = 5000
_SERIES_S = 600.0
_PER_SECOND = 10.0
_ATTEMPTS = 6  # of an Event that the API server refuses for a while; while it does not answer, they do not count
_LONGEST_PAUSE_S = 10.0
_TOGETHER = 64  # requests
_NOTE_BYTES = 1024  # pkg/apis/core/validation/events.go, which counts bytes


@dataclass(slots=True)
class _Series:
    name: str
    count: int
    since: float


class Events:
    """Publishes in the background; what does not fit is dropped, what repeats within ten minutes becomes a series."""

    def __init__(
        self,
        *,
        api: KubeWriter,
        identity: str,
        now: Callable[[], datetime],
        failed: Callable[[ApiError], None],
        weight: Weight,
    ) -> None:
        """`weight` is that of a namespace among the others."""
        self._api = api
        self._identity = identity
        self._now = now
        self._failed = failed
        self._waiting: RoundRobin[tuple[Ref, str, str, str, str, str]] = RoundRobin(weight=weight, limit=_WAITING_EACH)
        self._came = asyncio.Event()
        self._busy: set[str] = set()  # namespaces whose Event is under way or is tried again
        self._requests = asyncio.Semaphore(_TOGETHER)
        self._series: dict[bytes, _Series] = {}  # the oldest first; at most as many as are published in their time

    @property
    def series(self) -> int:
        """How many Events may still be continued as a series."""
        return len(self._series)

    def publish(self, ref: Ref, uid: str, *, kind: str, reason: str, note: str) -> None:
        """Queue an Event about an object; `kind` is Normal or Warning. Never blocks, never raises."""
        namespace = ref.namespace or ""
        if len(self._waiting) < _WAITING or not self._waiting.waiting(namespace):
            self._waiting.put(namespace, (ref, uid, kind, reason, _cut(note), self._stamp()))
            self._came.set()

    async def record(self, ref: Ref, uid: str, *, kind: str, reason: str, note: str) -> None:
        """Publish an Event now, ahead of those that are queued; return when the API server has it.

        Raises:
            ApiError: It was refused, or its outcome is unknown.
        """
        await self._publish(ref, uid, kind, reason, _cut(note), self._stamp())

    def _stamp(self) -> str:
        return self._now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    async def run(self) -> None:
        """Publish what is queued, at most ten a second and one at a time in each namespace, until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                while (taken := self._waiting.pop(self._may_send)) is None:
                    self._came.clear()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_SERIES_S):
                            await self._came.wait()
                    self._drop_old_series()
                self._busy.add(taken[0])
                group.create_task(self._serve(*taken))
                await asyncio.sleep(1 / _PER_SECOND)

    def _may_send(self, namespace: str) -> bool:
        return namespace not in self._busy

    async def _serve(self, namespace: str, event: tuple[Ref, str, str, str, str, str]) -> None:
        """Publish an Event; its namespace has no other one under way meanwhile."""
        try:
            await self._publish_through(*event)
        except ApiError as error:
            self._failed(error)
        finally:
            self._busy.discard(namespace)
            self._came.set()

    async def _publish_through(self, ref: Ref, uid: str, kind: str, reason: str, note: str, stamp: str) -> None:
        """Publish an Event, through failures of the API server."""
        attempts, failures = 0, 0
        while True:
            try:
                async with self._requests:
                    return await self._publish(ref, uid, kind, reason, note, stamp)
            except (ApiUnavailable, ApiTooManyRequests) as error:
                attempts += bool(error.status)
                if attempts >= _ATTEMPTS:
                    raise
                self._failed(error)
            failures += 1
            pause_s = delay_s(failures, first_s=1.0, longest_s=_LONGEST_PAUSE_S)
            await asyncio.sleep(max(pause_s, len(self._busy) / _PER_SECOND))  # all of them keep within the rate

    async def _publish(self, ref: Ref, uid: str, kind: str, reason: str, note: str, stamp: str) -> None:
        """Publish an Event; once more is the same as once."""
        key = hashlib.sha256(f"{uid}/{reason}/{note}".encode()).digest()[:16]
        clock = asyncio.get_running_loop().time()
        self._drop_old_series()
        known = self._series.get(key)
        namespace = ref.namespace or "default"
        if known:
            count = known.count + 1
            series = {"count": count, "lastObservedTime": stamp}
            try:
                await self._api.patch(Ref("Event", namespace, known.name), {"series": series}, timeout_s=5)
            except ApiNotFound:
                del self._series[key]
            else:
                known.count = count
                return
        digest = hashlib.sha256(f"{uid}/{reason}/{note}/{stamp}/{self._identity}".encode()).hexdigest()[:16]
        name = f"{ref.name[:200].rstrip('-.')}.{digest}"
        body = {
            "apiVersion": KINDS["Event"].api_version,
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "eventTime": stamp,
            "type": kind,
            "reason": reason,
            "action": reason,
            "note": note,
            "reportingController": "git-events-runner.rs/controller",
            "reportingInstance": self._identity[:128] or "unknown",
            "regarding": {
                "apiVersion": KINDS[ref.kind].api_version,
                "kind": ref.kind,
                "name": ref.name,
                "namespace": ref.namespace,
                "uid": uid,
            },
        }
        with contextlib.suppress(ApiAlreadyExists):  # by an attempt whose answer was lost
            await self._api.create(KINDS["Event"], body, timeout_s=5)
        self._series[key] = _Series(name=name, count=1, since=clock)

    def _drop_old_series(self) -> None:
        old = asyncio.get_running_loop().time() - _SERIES_S
        while self._series and self._series[first := next(iter(self._series))].since <= old:
            del self._series[first]


def _cut(note: str) -> str:
    """As much of a note as an Event may have, in complete characters.

    >>> len(_cut("ä" * 600)), len(_cut("x" * 2000))
    (512, 1024)
    """
    return note.encode(errors="replace")[:_NOTE_BYTES].decode(errors="ignore")
