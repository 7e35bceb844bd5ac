"""The webhook port's application: paths, errors of one request, responses, one log line and metric per request."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from git_events_runner.concurrency.pools import Pool
from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.edges.ports import SecretReader
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.forges import unsigned_ping
from git_events_runner.rules.identity import runs_of
from git_events_runner.rules.ledger.tasks import task_status_of
from git_events_runner.rules.proofs import Headers
from git_events_runner.rules.rate_limit import Rate
from git_events_runner.rules.senders import Network
from git_events_runner.rules.signatures import equalize_timing
from git_events_runner.telemetry.metrics import Metrics

from .authentication import Authentication
from .deliveries import Deliveries, Delivery, DeliveryRecorder
from .limits import Bodies, Bounds, Buckets, sender_of
from .responses import (
    INVALID,
    MISSING,
    NO_TRIGGER,
    PING,
    REFUSED,
    UNIFORM,
    UNREADABLE,
    WRONG,
    DeliveryResult,
    HttpError,
    Unproven,
)

log = structlog.get_logger(target="webhooks")

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z")
_TASK = re.compile(r"[0-9a-f-]{36}\Z")
_LONGEST_PATH = 3
_TASK_PATH = 4
_UNIFORM_S = 0.05
_NOT_NOW = 503
_REFUSED_S = 30
_BOUNDS = Bounds()
_LOGGED = Rate(burst=20, seconds=1)


class Webhooks:
    """An ASGI application."""

    def __init__(
        self,
        *,
        store: Store,
        counter: DeliveryRecorder,
        secrets: SecretReader,
        recheck_secret: Callable[[Ref], None],
        default_header: Callable[[], str],
        uniform: Callable[[], bool],
        aliases: Callable[[], Mapping[str, str]],
        rates: Mapping[str, Rate | None],
        trusted_proxies: Sequence[Network],
        ready: Callable[[], bool],
        metrics: Metrics,
        now: Callable[[], datetime],
        bounds: Bounds = _BOUNDS,
    ) -> None:
        """`rates` has the limits `global`, `address`, `trigger` and `source`; `ready`: whether requests are accepted.

        `recheck_secret`: the condition of a trigger does not match its Secret any more.
        `uniform`: whether all unauthenticated requests get one response; `aliases`: other names of forges' hosts.
        """
        self._store = store
        self._trusted = trusted_proxies
        self._ready = ready
        self._uniform = uniform
        self._metrics = metrics
        self._buckets = Buckets(rates)
        self._bounds = bounds
        self._bodies = Bodies(bounds)
        self._authority = Authentication(
            secrets=secrets, default_header=default_header, buckets=self._buckets, recheck=recheck_secret, now=now
        )
        self._deliveries = Deliveries(store=store, counter=counter, buckets=self._buckets, aliases=aliases)
        self._pool = Pool("payloads", threads=2)
        self._open = 0
        self._unlogged = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one request in JSON; every result is counted and logged."""
        if scope["type"] != "http":
            return
        incoming = _Incoming(Request(scope, receive), self._trusted)
        self._open += 1
        try:
            response = await self._respond(incoming)
        except Unproven as unproven:
            response = (await self._unproven(incoming, unproven)).response()
        except HttpError as refused:
            self._refused(refused, incoming)
            refused.close = refused.close or incoming.unread
            response = refused.response()
        except ClientDisconnect:
            closed = HttpError(400, "the sender closed the connection", close=True)
            self._refused(closed, incoming)
            response = closed.response()
        except Exception:
            log.exception("webhook.crashed", path=scope["path"])
            response = HttpError(500, "internal error", close=True).response()
        finally:
            self._open -= 1
        seconds = time.monotonic() - incoming.began_at
        for trigger in incoming.known or (None,):
            namespace, name = (trigger.ref.namespace, trigger.ref.name) if trigger else (None, None)
            self._metrics.webhook_finished(namespace, name, response.status_code, seconds)
        await response(scope, receive, send)

    async def _respond(self, incoming: _Incoming) -> Response:
        path, method = incoming.path, incoming.request.method
        uniform = incoming.uniform = self._uniform()
        reads = len(path) == _TASK_PATH and path[2] == "tasks"
        if method != "POST" and not (reads and method == "GET"):
            allowed = "GET" if reads else "POST"
            raise HttpError(405, f"use {allowed}", allow=allowed)
        if not self._ready() or self._open > self._bounds.waiting:
            raise HttpError(503, "not able to take requests now", retry_after_s=2)
        self._buckets.check_sender(incoming.sender)
        if reads and method == "GET":
            return await self._task(incoming)
        if not 1 <= len(path) <= _LONGEST_PATH or not all(_NAME.match(name) for name in path):
            raise Unproven(404, NO_TRIGGER)
        if unsigned_ping(incoming.headers) and (uniform or self._pinged(incoming)):
            return DeliveryResult(status=200, message=PING).response()
        if not uniform:
            self._known(incoming)
        with self._bodies.open(incoming.sender) as held:
            body = await held.read(incoming.request, incoming.headers)
            incoming.unread = False
            if uniform:
                await self._equalize(incoming, body)
            delivery = Delivery(
                path=path, headers=incoming.headers, body=body, parsed={}, began_at=incoming.began_at, pool=self._pool
            )
            return await (self._accept_all if len(path) == 1 else self._accept)(incoming, delivery)

    def _known(self, incoming: _Incoming) -> None:
        """Before the body is read: the triggers in the path, if the request may authenticate to one of them.

        Raises:
            `Unproven`: There is none.
            HttpError: 429, too many requests of them were accepted.
        """
        found = incoming.found = self._triggers(incoming.path)
        if not found:
            raise Unproven(404, NO_TRIGGER)
        if len(incoming.path) > 1:
            incoming.known.extend(found)
        self._buckets.check("trigger", *incoming.names)
        missing = [self._authority.missing(trigger, incoming.headers) for trigger in found if trigger.model is not None]
        if not missing:
            raise Unproven(500, INVALID)
        if False not in missing:
            raise Unproven(401, MISSING)

    def _triggers(self, path: tuple[str, ...]) -> list[Snapshot]:
        """The trigger that a path names, or those of a namespace that match repositories.

        Raises:
            HttpError: 503, the triggers of the namespace cannot be read: a match may exist.
        """
        if len(path) > 1:
            trigger = self._store.get(Ref("WebhookTrigger", path[0], path[1]))
            found = [] if trigger is None else [trigger]
        else:
            listed = self._store.all("WebhookTrigger", path[0])
            found = [one for one in listed if one.model and one.model.spec.webhook.match_repository]
        if not found and self._store.refused(path[0], "WebhookTrigger"):
            raise HttpError(503, REFUSED, retry_after_s=_REFUSED_S)
        return found

    def _pinged(self, incoming: _Incoming) -> bool:
        """Whether an unauthenticated connection test names a trigger of the forge that sends those."""
        models = (trigger.model for trigger in self._triggers(incoming.path))
        auths = (model.spec.webhook.auth_config for model in models if model)
        return any(auth is not None and auth.type == "bitbucket" for auth in auths)

    async def _equalize(self, incoming: _Incoming, body: bytes) -> None:
        """Take the time of a wrong signature for a trigger that does not exist."""
        if not self._triggers(incoming.path):
            await self._pool.run(equalize_timing, body, owner=incoming.path[0])
            raise Unproven(404, NO_TRIGGER)

    async def _accept(self, incoming: _Incoming, delivery: Delivery) -> Response:
        trigger = self._find(incoming)
        warning = await self._authority.verify(trigger, delivery.headers, delivery.body, present=not incoming.uniform)
        self._proven(incoming)
        source = incoming.path[2] if len(incoming.path) > 2 else None  # noqa: PLR2004  /namespace/trigger/source
        result = await self._deliveries.accept(delivery, trigger, source, warning=warning)
        self._log_accepted(result, trigger, delivery)
        return result.response()

    def _find(self, incoming: _Incoming) -> Snapshot:
        """The trigger that a path names."""
        found = incoming.found or self._triggers(incoming.path)
        if not found:
            raise Unproven(404, NO_TRIGGER)
        incoming.known[:] = found
        if found[0].model is None:
            raise Unproven(500, INVALID)
        return found[0]

    def _proven(self, incoming: _Incoming) -> None:
        """Rates count authenticated requests.

        Raises:
            HttpError: 429, there were too many.
        """
        for key in (("global",), ("address", incoming.sender), ("trigger", *incoming.names)):
            self._buckets.spend(*key)

    async def _accept_all(self, incoming: _Incoming, delivery: Delivery) -> Response:
        """One hook for the triggers of a namespace that match repositories; each checks its own signature."""
        found = incoming.found or self._triggers(incoming.path)
        if not found:
            raise Unproven(404, NO_TRIGGER)
        verified: list[tuple[Snapshot, str | None]] = []
        refusals: list[Unproven] = []
        for trigger in found:
            try:
                verified.append((trigger, await self._authority.verify(trigger, delivery.headers, delivery.body)))
            except Unproven as refused:
                refusals.append(refused)
        unread = [refused for refused in refusals if refused.status == _NOT_NOW]
        if not verified:
            raise unread[0] if unread else _worst(refusals)
        self._proven(incoming)
        incoming.known.extend(trigger for trigger, _ in verified)
        results = await asyncio.gather(*(self._accept_one(delivery, trigger, warning) for trigger, warning in verified))
        failed = [result for result in results if isinstance(result, HttpError)]
        failed += [HttpError(_NOT_NOW, one.message, retry_after_s=one.retry_after_s) for one in unread]
        if failed:
            raise max(failed, key=lambda refused: refused.status)
        result = [result for result in results if isinstance(result, DeliveryResult)]
        best = next((one for one in result if one.status == 202), next((t for t in result if t.task), result[0]))  # noqa: PLR2004
        names = {trigger.ref.name: one.message for (trigger, _), one in zip(verified, result, strict=True)}
        return best.response(triggers=names)

    async def _accept_one(
        self, delivery: Delivery, trigger: Snapshot, warning: str | None
    ) -> DeliveryResult | HttpError:
        try:
            result = await self._deliveries.accept(delivery, trigger, None, warning=warning)
        except HttpError as refused:
            return refused
        self._log_accepted(result, trigger, delivery)
        return result

    async def _task(self, incoming: _Incoming) -> Response:
        """The status of a task, from the trigger's status and Jobs: the same on every replica and after a restart."""
        namespace, name, _, task = incoming.path
        if not _NAME.match(namespace) or not _NAME.match(name) or not _TASK.match(task):
            raise Unproven(404, NO_TRIGGER)
        trigger = self._find(incoming)
        await self._authority.verify_reader(trigger, incoming.headers)
        self._proven(incoming)
        if self._store.refused(namespace, "Job"):
            raise HttpError(503, REFUSED, retry_after_s=_REFUSED_S)
        jobs = (
            (job.ref.name, job.model.phase, job.raw["metadata"].get("annotations") or {})
            for job in runs_of(trigger, self._store.jobs_of(trigger.uid))
        )
        answer = task_status_of(task, trigger.raw.get("status"), jobs)
        if answer is None:
            raise HttpError(404, "no such task: it was never accepted, or is long past")
        listed = [{"name": job, "state": state} for job, state in answer.jobs]
        body = {"status": "ok", "message": answer.text, "task_id": task, "state": answer.state, "jobs": listed}
        return JSONResponse(body)

    async def _unproven(self, incoming: _Incoming, unproven: Unproven) -> HttpError:
        """The response to an unauthenticated request: its own, or one for all, after a multiple of a fixed time."""
        self._refused(unproven, incoming)
        answer: HttpError = unproven
        if incoming.uniform:
            answer = HttpError(404, UNIFORM)
            passed_s = time.monotonic() - incoming.began_at
            await asyncio.sleep(_UNIFORM_S - passed_s % _UNIFORM_S)
        if unproven.status != _NOT_NOW:
            try:
                self._buckets.spend_failure(incoming.sender, *incoming.names)
            except HttpError as refused:
                answer = refused
        answer.close = answer.close or incoming.unread
        return answer

    def _log_accepted(self, result: DeliveryResult, trigger: Snapshot, delivery: Delivery) -> None:
        fields: dict[str, Any] = {"namespace": trigger.ref.namespace, "name": trigger.ref.name}
        fields |= {"status": result.status, "seconds": round(time.monotonic() - delivery.began_at, 4)}
        if result.task is None:
            log.info("webhook.ignored", **fields, reason=result.message.removeprefix("ignored: "))
        elif result.sources:
            log.info("webhook.accepted", **fields, task=result.task, source=result.named)
        else:
            log.info("webhook.repeated", **fields, task=result.task)

    def _refused(self, refused: HttpError, incoming: _Incoming) -> None:
        """Log a flood of refusals as a few lines per second, with the number of the others."""
        if self._buckets.try_spend(_LOGGED, "logged"):
            self._unlogged += 1
            return
        ref = incoming.known[0].ref if len(incoming.known) == 1 else None
        fields: dict[str, Any] = {"namespace": ref.namespace if ref else None, "name": ref.name if ref else None}
        fields |= {"status": refused.status, "seconds": round(time.monotonic() - incoming.began_at, 4)}
        if self._unlogged:
            fields["unlogged"], self._unlogged = self._unlogged, 0
        log.info("webhook.rejected", **fields, reason=refused.message)


class _Incoming:
    """One request: its names, its sender, the triggers in its path, and those that it is for.

    `names` are namespace and trigger in the path; for all triggers of a namespace no trigger.

    `unread`: it has a body that is too large to be received only to be dropped, or that the sender withholds.
    """

    __slots__ = ("began_at", "found", "headers", "known", "names", "path", "request", "sender", "uniform", "unread")

    def __init__(self, request: Request, trusted: Sequence[Network]) -> None:
        self.request = request
        self.uniform = False
        self.began_at = time.monotonic()
        self.path = path = _path(request)
        self.names = (path[0], path[1] if len(path) > 1 else "")
        self.headers = _headers(request)
        self.sender = sender_of(request, trusted)
        self.known: list[Snapshot] = []
        self.found: list[Snapshot] = []
        length = b"".join(self.headers.get("content-length", ()))
        short = length.isdigit() and len(length) < 6  # noqa: PLR2004  below 100 kB
        held_back = "expect" in self.headers or "transfer-encoding" in self.headers
        self.unread = held_back or (bool(length) and not short)


def _path(request: Request) -> tuple[str, ...]:
    """The parts of the path as they were sent, less a slash at the end: an escaped part is no valid name."""
    raw: bytes = request.scope.get("raw_path") or b""
    return tuple(raw.decode("latin-1").removeprefix("/").removesuffix("/").split("/"))


def _headers(request: Request) -> Headers:
    found: dict[str, list[bytes]] = {}
    for name, value in request.scope["headers"]:
        found.setdefault(name.decode("latin-1"), []).append(value.strip())
    return found


def _worst(refusals: Sequence[HttpError]) -> Unproven:
    """One response for many refusals: 401 without a signature, 403 for a wrong one, 500 if that is unknown."""
    messages = {refused.message for refused in refusals}
    if WRONG in messages:
        return Unproven(403, WRONG)
    if UNREADABLE in messages and messages != {UNREADABLE, MISSING}:
        return Unproven(500, UNREADABLE)
    found = next((refused for refused in refusals if refused.status == 401), refusals[0])  # noqa: PLR2004  unauthorized
    return Unproven(found.status, found.message)
