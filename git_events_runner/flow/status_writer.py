"""The only writer of triggers' statuses in this process: mutations during a write share the next write.

Each write has a batching window, so that a storm of deliveries to one trigger costs a request for dozens of them. The
window grows with the time that a write takes: a status of 1,000 sources costs the API server 80 ms, as a patch too.
A refused write, and one of unknown outcome, is evaluated per mutation on the object just read.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog

from git_events_runner.edges.kube.store import Store
from git_events_runner.edges.ports import KubeClient
from git_events_runner.errors import ApiConflict, ApiError, ApiInvalid, ApiNotFound, ApiTooManyRequests, ApiUnavailable
from git_events_runner.resources.kinds import KINDS
from git_events_runner.resources.ref import Ref
from git_events_runner.resources.status_bounds import bounded_status
from git_events_runner.rules.derived_conditions import names_in_spec
from git_events_runner.rules.ledger.deliveries import DELIVERIES_KEPT, deliveries_overtaken
from git_events_runner.rules.ledger.mutations import Count, Guards, Mutation, Outcome, Settle
from git_events_runner.rules.ledger.patch import combine, patch_for
from git_events_runner.rules.ledger.prune import Prune
from git_events_runner.rules.reference_entries import kept_keys, watched_by
from git_events_runner.telemetry.metrics import Metrics

log = structlog.get_logger(target="status")

_ATTEMPTS = 40
_REQUEST_TIMEOUT_S = 5.0
_DEFERRED_S = 1.0
_DEFERRED_BUSY_S = 5.0
_BUSY = 4
_SHARED_S = 60.0
_SLOW_S = 0.05  # a write that takes longer is one of a large status, or of an API server under load
_SLOW_GATHER = 2.0  # of the time that the last write took: one trigger occupies the API server for a third of the time
_LONGEST_GATHER_S = 0.5  # a delivery waits for it before its 202
_REFUSED_S = 15.0


@dataclass(slots=True)
class _Waiting:
    """One caller's mutations, and the future of their outcomes."""

    mutations: Sequence[Mutation]
    done: asyncio.Future[list[Outcome]]


class _LostAnswers:
    """The mutations of a batch that may be written, by an attempt whose response was lost."""

    def __init__(self) -> None:
        self._numbers: set[int] = set()
        self._statuses: list[Mapping[str, Any] | None] = []

    def note(self, problem: ApiError, outcomes: Sequence[Outcome], status: Mapping[str, Any] | None) -> None:
        """A write on that status failed; it is kept if its outcome is unknown."""
        if not isinstance(problem, ApiUnavailable):
            return
        self._numbers |= {number for number, outcome in enumerate(outcomes) if outcome is Outcome.WRITE}
        self._statuses.append(status)

    def as_written(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """The outcomes; a mutation that is there already counts as written if it may be written here."""
        return [Outcome.WRITE if o is Outcome.DONE and n in self._numbers else o for n, o in enumerate(outcomes)]

    def undecidable(
        self, mutations: Sequence[Mutation], outcomes: Sequence[Outcome], status: Mapping[str, Any] | None
    ) -> bool:
        """Whether a delivery that would be recorded now may be recorded already, without evidence."""
        if not self._statuses or not deliveries_overtaken(self._statuses[0], status):
            return False
        return any(outcomes[n] is Outcome.WRITE and isinstance(mutations[n], Count) for n in self._numbers)


class GroupedStatusWriter:
    """Group commit: one write at a time for each trigger; `run` must be running for `write` to return."""

    def __init__(
        self,
        *,
        api: KubeClient,
        store: Store,
        metrics: Metrics,
        history_limit: Callable[[object], int],
        next_check: Callable[[Ref], str | None],
        gather_s: float,
    ) -> None:
        """`history_limit`: how many runs a status keeps, from `spec.historyLimit`; `next_check`: its `nextCheck`."""
        self._history_limit = history_limit
        self._next_check = next_check
        self._api = api
        self._store = store
        self._metrics = metrics
        self._gather_s = gather_s
        self._lanes: dict[tuple[Ref, str], list[_Waiting]] = {}
        self._deferred: dict[tuple[Ref, str], list[_Waiting]] = {}
        self._shared_until = 0.0
        self._started: asyncio.Queue[tuple[Ref, str]] = asyncio.Queue()
        self._ended = False

    async def write(self, ref: Ref, uid: str, *mutations: Mutation) -> list[Outcome]:
        """Write mutations to the status of the trigger `ref` with that uid; their outcomes, in order.

        Cancelling withdraws what has not been sent yet.

        Raises:
            ApiNotFound: the trigger is deleted, or another one has its name.
            ApiError: the API server did not accept the write, or its outcome stayed unknown.
        """
        waiting = _Waiting(mutations, asyncio.get_running_loop().create_future())
        self._enter((ref, uid), waiting)
        return await waiting.done

    def defer(self, ref: Ref, uid: str, mutation: Mutation, *, unwritten: Callable[[], None]) -> None:
        """Write a mutation with the next write of that trigger, within a second; `unwritten` is called if it cannot be.

        While writes to more than a few triggers are under way, its batching window is up to 5 s. For data that may be
        lost with this process: another check follows then, immediately if it was stale, else later.
        """
        key = (ref, uid)
        waiting = _Waiting([mutation], asyncio.get_running_loop().create_future())
        waiting.done.add_done_callback(lambda done: _call_unless_written(done, unwritten))
        held = self._deferred.get(key)
        if held is None:
            self._deferred[key] = [waiting]
            loop = asyncio.get_running_loop()
            loop.call_later(_DEFERRED_S, self._flush_unless_busy, key, waiting, loop.time() + _DEFERRED_BUSY_S)
        else:
            held.append(waiting)

    async def flush(self) -> None:
        """Write deferred mutations now, and return when they are written or given up."""
        waiting = [one.done for held in self._deferred.values() for one in held]
        for key in list(self._deferred):
            self._flush(key)
        if waiting:
            await asyncio.wait(waiting)

    def _flush_unless_busy(self, key: tuple[Ref, str], first: _Waiting, latest: float) -> None:
        if first not in self._deferred.get(key, ()):
            return  # another write took it meanwhile
        loop = asyncio.get_running_loop()
        if len(self._lanes) > _BUSY and loop.time() + _DEFERRED_S <= latest:
            loop.call_later(_DEFERRED_S, self._flush_unless_busy, key, first, latest)
        else:
            self._flush(key)

    def _flush(self, key: tuple[Ref, str]) -> None:
        for waiting in self._deferred.pop(key, ()):
            self._enter(key, waiting)

    def _enter(self, key: tuple[Ref, str], waiting: _Waiting) -> None:
        if self._ended:
            _fail(waiting, _stopping(key[0]))
            return
        lane = self._lanes.get(key)
        if lane is None:
            self._lanes[key] = [waiting]
            self._started.put_nowait(key)
        else:
            lane.append(waiting)

    @property
    def idle(self) -> bool:
        """Whether no write waits."""
        return not self._lanes

    async def run(self) -> None:
        """Serve writes until cancelled; callers that wait then, or come later, get an unknown outcome."""
        self._ended = False
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    ref, uid = await self._started.get()
                    group.create_task(self._drain(ref, uid))
        finally:
            self._ended = True
            for (ref, _), lane in self._lanes.items():
                for waiting in lane:
                    _fail(waiting, _stopping(ref))
            self._lanes.clear()

    async def _drain(self, ref: Ref, uid: str) -> None:
        key, loop = (ref, uid), asyncio.get_running_loop()
        wait_s = 0.0  # the first write is sent immediately; later mutations gather for the next
        while True:
            await asyncio.sleep(wait_s)
            batch, self._lanes[key] = _bounded([one for one in self._lanes[key] if not one.done.done()])
            full, started_at = bool(self._lanes[key]), loop.time()
            if batch:
                batch += self._deferred.pop(key, ())
            if batch:
                try:
                    await self._commit_together(ref, uid, batch)
                except Exception as error:  # noqa: BLE001  its callers get it; other triggers continue
                    for waiting in batch:
                        _fail(waiting, error)
                finally:
                    for waiting in batch:  # cancelled in the middle: no caller keeps waiting
                        _fail(waiting, _stopping(ref))
            took_s = loop.time() - started_at
            slow = took_s > _SLOW_S and not full
            wait_s = min(max(_SLOW_GATHER * took_s, self._gather_s), _LONGEST_GATHER_S) if slow else self._gather_s
            if not self._lanes[key] and not slow:
                del self._lanes[key]
                return

    async def _commit_together(self, ref: Ref, uid: str, batch: list[_Waiting]) -> None:
        """Write a batch; what the API server refuses as invalid is written by caller: only one of them may be wrong."""
        try:
            await self._commit(ref, uid, batch)
        except ApiInvalid:
            if len(batch) == 1:
                raise
            for waiting in batch:
                try:
                    await self._commit(ref, uid, [waiting])
                except ApiInvalid as error:
                    _fail(waiting, error)

    async def _commit(self, ref: Ref, uid: str, batch: list[_Waiting]) -> None:
        mutations = [mutation for waiting in batch for mutation in waiting.mutations]
        snapshot = self._store.get(ref)
        fresh = snapshot is None or snapshot.uid != uid or snapshot.partial
        base: Mapping[str, Any] = await self._read(ref, uid) if snapshot is None or fresh else snapshot.raw
        error: ApiError = ApiConflict(f"writing the status of {ref}: too many writers")
        lost = _LostAnswers()
        for attempt in range(_ATTEMPTS):
            mutations = [self._for_object(mutation, base) for mutation in mutations]
            status, outcomes = combine(base.get("status"), mutations, sources=names_in_spec(base))
            found = lost.as_written(outcomes)
            if Outcome.WRITE not in outcomes:
                _resolve(batch, found)
                return
            if lost.undecidable(mutations, outcomes, base.get("status")):
                raise error
            _set(status, "nextCheck", self._next_check(ref))
            guards = Guards()
            for mutation, outcome in zip(mutations, outcomes, strict=True):
                if outcome is Outcome.WRITE:
                    guards |= mutation.guards()
            version = base["metadata"].get("resourceVersion")
            alone = not attempt and self._shared_until <= asyncio.get_running_loop().time()
            patch = None if guards.counted and alone else patch_for(uid, base.get("status"), status, guards)
            try:
                self._store.observe(await self._send(ref, uid, base, status, patch))
            except ApiNotFound:
                raise
            except (ApiConflict, ApiInvalid, ApiUnavailable, ApiTooManyRequests) as problem:
                error = problem
                lost.note(problem, outcomes, base.get("status"))
                await asyncio.sleep(_pause_s(attempt, problem))
                base = await self._read_for(batch, ref, uid, problem)
                unchanged = fresh and base["metadata"].get("resourceVersion") == version
                if isinstance(problem, ApiInvalid) and unchanged:
                    raise  # no test failed: the API server will never accept this
                fresh = True
            else:
                self._metrics.status_written()
                _resolve(batch, found)
                return
        raise error

    def _for_object(self, mutation: Mutation, base: Mapping[str, Any]) -> Mutation:
        """Decisions by the spec of the written object: what is pruned, how many runs are kept."""
        if isinstance(mutation, Settle):
            spec = base.get("spec")
            wanted = spec.get("historyLimit") if isinstance(spec, Mapping) else None
            return replace(mutation, history_limit=self._history_limit(wanted))
        return _pruned_by(base, mutation.now) if isinstance(mutation, Prune) else mutation

    async def _send(
        self, ref: Ref, uid: str, base: Mapping[str, Any], status: Mapping[str, Any], patch: list[dict[str, Any]] | None
    ) -> dict[str, Any]:
        """Send the patch; without one, the full status with its resource version (which costs the server a fifth less).

        The server keeps the spec when a status is put.
        """
        if patch is not None:
            return await self._api.patch(ref, patch, subresource="status", strict=True, timeout_s=_REQUEST_TIMEOUT_S)
        kind = KINDS[ref.kind]
        metadata = {"name": ref.name, "namespace": ref.namespace, "uid": uid}
        metadata["resourceVersion"] = base["metadata"]["resourceVersion"]
        whole = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, "status": status}
        try:
            return await self._api.replace(kind, whole, subresource="status", strict=True, timeout_s=_REQUEST_TIMEOUT_S)
        except ApiConflict:  # others write too: partial patches do not conflict
            self._shared_until = asyncio.get_running_loop().time() + _SHARED_S
            raise

    async def _read_for(self, batch: list[_Waiting], ref: Ref, uid: str, problem: ApiError) -> dict[str, Any]:
        """The live object for another attempt; if all callers have given up, as a former leader does, raise instead."""
        if all(waiting.done.done() for waiting in batch):
            log.warning("status.failed", kind=ref.kind, namespace=ref.namespace, name=ref.name, error=str(problem))
            raise problem
        return await self._read(ref, uid)

    async def _read(self, ref: Ref, uid: str) -> dict[str, Any]:
        """The live object, with retries after a few failures of the API server."""
        for attempt in range(6):
            try:
                found = await self._api.get(ref)
            except (ApiUnavailable, ApiTooManyRequests) as problem:
                await asyncio.sleep(_pause_s(attempt + 4, problem))
            else:
                if found["metadata"]["uid"] != uid:
                    raise ApiNotFound(f"writing the status of {ref}: it was deleted and made again")
                return _bounded_object(found)
        return _bounded_object(await self._api.get(ref))


def _set(status: dict[str, Any], name: str, value: str | None) -> None:
    if value is None:
        status.pop(name, None)
    else:
        status[name] = value


def _bounded_object(found: dict[str, Any]) -> dict[str, Any]:
    """The object as in the store: cut to the bounds of a status."""
    return {**found, "status": bounded_status(found["status"], found.get("spec"))} if "status" in found else found


def _bounded(waiting: list[_Waiting]) -> tuple[list[_Waiting], list[_Waiting]]:
    """The first of them, up to the maximum of one write, and the rest.

    A status keeps the hashes of the last 64 deliveries, by which a write of unknown outcome is recognised: a write
    leaves at least one hash from before it.
    """
    counts = 0
    for number, one in enumerate(waiting):
        counts += sum(isinstance(mutation, Count) for mutation in one.mutations)
        if counts >= DELIVERIES_KEPT and number:
            return waiting[:number], waiting[number:]
    return waiting, []


def _pruned_by(base: Mapping[str, Any], now: datetime | None) -> Prune:
    """The sources and references to keep, by the spec of the written object."""
    names, status = names_in_spec(base), base.get("status") or {}
    try:
        watched = watched_by(base.get("spec"))
    except ValueError:
        names = None
    if names is None:
        return Prune(keep=frozenset((status.get("checkedSources") or {}).keys()))
    return Prune(keep=kept_keys(status, names, watched, now))


def _pause_s(attempt: int, problem: ApiError) -> float:
    if isinstance(problem, ApiTooManyRequests):
        return problem.retry_after_s
    return random.uniform(0, min(0.005 * 2**attempt, 1.0))  # noqa: S311  jitter, not a secret


def _resolve(batch: list[_Waiting], outcomes: list[Outcome]) -> None:
    rest = iter(outcomes)
    for waiting in batch:
        mine = [next(rest) for _ in waiting.mutations]
        if not waiting.done.done():
            waiting.done.set_result(mine)


def _call_unless_written(done: asyncio.Future[list[Outcome]], unwritten: Callable[[], None]) -> None:
    failed = None if done.cancelled() else done.exception()
    if done.cancelled() or isinstance(failed, ApiNotFound):
        return
    if failed is not None:
        done.get_loop().call_later(_REFUSED_S, unwritten)
    elif Outcome.STALE in done.result():
        unwritten()


def _stopping(ref: Ref) -> ApiUnavailable:
    return ApiUnavailable(f"writing the status of {ref}: this process is stopping")


def _fail(waiting: _Waiting, error: Exception) -> None:
    with contextlib.suppress(asyncio.InvalidStateError):
        if not waiting.done.done():
            waiting.done.set_exception(error)
