"""The webhook port's application: paths, the border of one request, answers, one log line and metric for each."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from git_events_runner.edges.kube.store import Snapshot, Store
from git_events_runner.pools import Pool
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.identity import runs_of
from git_events_runner.rules.rates import Rate
from git_events_runner.rules.signatures import Headers, waste
from git_events_runner.rules.tasks import answer_of
from git_events_runner.telemetry import Metrics

from .answers import MISSING, NO_TRIGGER, UNREADABLE, WRONG, Refused, Taken
from .authority import Authority, SecretReader
from .deliveries import Counter, Deliveries, Delivery
from .limits import Bodies, Bounds, Buckets, Network, sender_of

log = structlog.get_logger(target="webhooks")

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z")
_TASK = re.compile(r"[0-9a-f-]{36}\Z")
_LONGEST_PATH = 3
_BOUNDS = Bounds()
_LOGGED = Rate(burst=20, seconds=1)


class Webhooks:
    """An ASGI application."""

    def __init__(
        self,
        *,
        store: Store,
        counter: Counter,
        secrets: SecretReader,
        default_header: Callable[[], str],
        rates: Mapping[str, Rate | None],
        trusted_proxies: Sequence[Network],
        ready: Callable[[], bool],
        metrics: Metrics,
        bounds: Bounds = _BOUNDS,
    ) -> None:
        """`rates` has the limits `global`, `address`, `trigger` and `source`; `ready`: whether requests are taken."""
        self._store = store
        self._trusted = trusted_proxies
        self._ready = ready
        self._metrics = metrics
        self._buckets = Buckets(rates)
        self._bounds = bounds
        self._bodies = Bodies(bounds)
        self._authority = Authority(secrets=secrets, default_header=default_header, buckets=self._buckets)
        self._deliveries = Deliveries(store=store, counter=counter, buckets=self._buckets)
        self._pool = Pool("payloads", threads=2)
        self._open = 0
        self._unlogged = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; every way out is counted, logged, and answered in JSON."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        started = time.monotonic()
        known: list[Snapshot] = []
        self._open += 1
        try:
            response = await self._answer(request, known, started)
        except Refused as refused:
            self._refused(refused, known, started)
            response = refused.response()
        except ClientDisconnect:
            gone = Refused(400, "the sender went away", close=True)
            self._refused(gone, known, started)
            response = gone.response()
        except Exception:
            log.exception("webhook.crashed", path=scope["path"])
            response = Refused(500, "internal error", close=True).response()
        finally:
            self._open -= 1
        seconds = time.monotonic() - started
        for trigger in known or (None,):
            namespace, name = (trigger.ref.namespace, trigger.ref.name) if trigger else (None, None)
            self._metrics.webhook_finished(namespace, name, response.status_code, seconds)
        await response(scope, receive, send)

    async def _answer(self, request: Request, known: list[Snapshot], began_at: float) -> Response:
        path = _path(request)
        if request.method == "GET" and len(path) == 4 and path[2] == "tasks":  # noqa: PLR2004  /ns/trigger/tasks/id
            return await self._task(request, path, known)
        if request.method != "POST":
            raise Refused(405, "use POST", close=True)
        if not self._ready() or self._open > self._bounds.waiting:
            raise Refused(503, "not able to take requests now", retry_after_s=2, close=True)
        self._limit(request)
        if not 1 <= len(path) <= _LONGEST_PATH or not all(_NAME.match(name) for name in path):
            raise Refused(404, NO_TRIGGER, close=True)
        body = await self._bodies.read(request)
        delivery = Delivery(
            path=path, headers=_headers(request), body=body, said={}, began_at=began_at, pool=self._pool
        )
        if len(path) == 1:
            return await self._take_all(delivery, path[0], known)
        trigger = self._find(path[0], path[1], body)
        known.append(trigger)
        warning = await self._authority.verify(trigger, delivery.headers, body)
        taken = await self._deliveries.take(delivery, trigger, path[2] if len(path) > 2 else None, warning=warning)  # noqa: PLR2004
        self._taken(taken, trigger, delivery)
        return taken.response()

    def _limit(self, request: Request) -> None:
        self._buckets.take("global")
        if self._buckets.limits("address"):
            self._buckets.take("address", sender_of(request, self._trusted))

    def _find(self, namespace: str, name: str, body: bytes) -> Snapshot:
        """The trigger, within its rate limit: no Secret is read for it above that."""
        trigger = self._store.get(Ref("WebhookTrigger", namespace, name))
        if trigger is None:
            waste(body)
            raise Refused(404, NO_TRIGGER)
        self._buckets.take("trigger", namespace, name)
        if trigger.model is None:
            raise Refused(500, "the trigger is not valid; see its conditions")
        return trigger

    async def _take_all(self, delivery: Delivery, namespace: str, known: list[Snapshot]) -> Response:
        """One hook for the triggers of a namespace that match repositories; each checks its own signature."""
        found = [
            trigger
            for trigger in self._store.all("WebhookTrigger", namespace)
            if trigger.model and trigger.model.spec.webhook.match_repository
        ]
        if not found:
            waste(delivery.body)
            raise Refused(404, NO_TRIGGER)
        self._buckets.take("trigger", namespace, "")
        verified: list[tuple[Snapshot, str | None]] = []
        refusals: list[Refused] = []
        for trigger in found:
            try:
                verified.append((trigger, await self._authority.verify(trigger, delivery.headers, delivery.body)))
            except Refused as refused:
                refusals.append(refused)
        if not verified:
            raise _worst(refusals)
        known.extend(trigger for trigger, _ in verified)
        results = await asyncio.gather(*(self._take_one(delivery, trigger, warning) for trigger, warning in verified))
        failed = [result for result in results if isinstance(result, Refused)]
        if failed:
            raise max(failed, key=lambda refused: refused.status)
        taken = [result for result in results if isinstance(result, Taken)]
        best = next((one for one in taken if one.status == 202), next((t for t in taken if t.task), taken[0]))  # noqa: PLR2004
        names = {trigger.ref.name: one.message for (trigger, _), one in zip(verified, taken, strict=True)}
        return best.response(triggers=names)

    async def _take_one(self, delivery: Delivery, trigger: Snapshot, warning: str | None) -> Taken | Refused:
        try:
            taken = await self._deliveries.take(delivery, trigger, None, warning=warning)
        except Refused as refused:
            return refused
        self._taken(taken, trigger, delivery)
        return taken

    async def _task(self, request: Request, path: tuple[str, ...], known: list[Snapshot]) -> Response:
        """What became of a task, from the status and the Jobs: the same on every replica, also after a restart."""
        if not self._ready():
            raise Refused(503, "not able to take requests now", retry_after_s=2, close=True)
        self._limit(request)
        namespace, name, _, task = path
        if not _NAME.match(namespace) or not _NAME.match(name) or not _TASK.match(task):
            raise Refused(404, NO_TRIGGER)
        trigger = self._find(namespace, name, b"")
        known.append(trigger)
        await self._authority.verify_reader(trigger, _headers(request))
        jobs = (
            (job.ref.name, job.model.phase, job.raw["metadata"].get("annotations") or {})
            for job in runs_of(trigger, self._store.jobs_of(trigger.uid))
        )
        answer = answer_of(task, trigger.raw.get("status"), jobs)
        if answer is None:
            raise Refused(404, "no such task: it was never accepted, or is long past")
        listed = [{"name": job, "state": state} for job, state in answer.jobs]
        body = {"status": "ok", "message": answer.text, "task_id": task, "state": answer.state, "jobs": listed}
        return JSONResponse(body)

    def _taken(self, taken: Taken, trigger: Snapshot, delivery: Delivery) -> None:
        fields: dict[str, Any] = {"namespace": trigger.ref.namespace, "name": trigger.ref.name}
        fields |= {"status": taken.status, "seconds": round(time.monotonic() - delivery.began_at, 4)}
        if taken.task is None:
            log.info("webhook.ignored", **fields, reason=taken.message.removeprefix("ignored: "))
        elif taken.sources:
            log.info("webhook.accepted", **fields, task=taken.task, source=taken.named)
        else:
            log.info("webhook.repeated", **fields, task=taken.task)

    def _refused(self, refused: Refused, known: list[Snapshot], began_at: float) -> None:
        """A flood of refusals writes a few lines a second, and how many more there were."""
        if self._buckets.try_take(_LOGGED, "logged"):
            self._unlogged += 1
            return
        ref = known[0].ref if len(known) == 1 else None
        fields: dict[str, Any] = {"namespace": ref.namespace if ref else None, "name": ref.name if ref else None}
        fields |= {"status": refused.status, "seconds": round(time.monotonic() - began_at, 4)}
        if self._unlogged:
            fields["unlogged"], self._unlogged = self._unlogged, 0
        log.info("webhook.rejected", **fields, reason=refused.message)


def _path(request: Request) -> tuple[str, ...]:
    """The parts of the path as they were sent: an escaped one is no name of ours."""
    raw: bytes = request.scope.get("raw_path") or b""
    return tuple(raw.decode("latin-1").removeprefix("/").split("/"))


def _headers(request: Request) -> Headers:
    found: dict[str, list[bytes]] = {}
    for name, value in request.scope["headers"]:
        found.setdefault(name.decode("latin-1"), []).append(value.strip())
    return found


def _worst(refusals: Sequence[Refused]) -> Refused:
    """One answer for many refusals: 401 if no signature was there, 403 if one was wrong, 500 if nobody could tell."""
    messages = {refused.message for refused in refusals}
    if WRONG in messages:
        return Refused(403, WRONG)
    if UNREADABLE in messages and messages != {UNREADABLE, MISSING}:
        return Refused(500, UNREADABLE)
    return next((refused for refused in refusals if refused.status == 401), refusals[0])  # noqa: PLR2004  unauthorized
