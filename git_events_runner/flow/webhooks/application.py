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
        asked = _Asked(Request(scope, receive), self._trusted)
        self._open += 1
        try:
            response = await self._answer(asked)
        except Unproven as unproven:
            response = (await self._unproven(asked, unproven)).response()
        except HttpError as refused:
            self._refused(refused, asked)
            refused.close = refused.close or asked.unread
            response = refused.response()
        except ClientDisconnect:
            closed = HttpError(400, "the sender closed the connection", close=True)
            self._refused(closed, asked)
            response = closed.response()
        except Exception:
            log.exception("webhook.crashed", path=scope["path"])
            response = HttpError(500, "internal error", close=True).response()
        finally:
            self._open -= 1
        seconds = time.monotonic() - asked.began_at
        for trigger in asked.known or (None,):
            namespace, name = (trigger.ref.namespace, trigger.ref.name) if trigger else (None, None)
            self._metrics.webhook_finished(namespace, name, response.status_code, seconds)
        await response(scope, receive, send)

    async def _answer(self, asked: _Asked) -> Response:
        path, method = asked.path, asked.request.method
        uniform = asked.uniform = self._uniform()
        reads = len(path) == _TASK_PATH and path[2] == "tasks"
        if method != "POST" and not (reads and method == "GET"):
            allowed = "GET" if reads else "POST"
            raise HttpError(405, f"use {allowed}", allow=allowed)
        if not self._ready() or self._open > self._bounds.waiting:
            raise HttpError(503, "not able to take requests now", retry_after_s=2)
        self._buckets.check_sender(asked.sender)
        if reads and method == "GET":
            return await self._task(asked)
        if not 1 <= len(path) <= _LONGEST_PATH or not all(_NAME.match(name) for name in path):
            raise Unproven(404, NO_TRIGGER)
        if unsigned_ping(asked.headers) and (uniform or self._pinged(asked)):
            return DeliveryResult(status=200, message=PING).response()
        if not uniform:
            self._known(asked)
        with self._bodies.open(asked.sender) as held:
            body = await held.read(asked.request, asked.headers)
            asked.unread = False
            if uniform:
                await self._equalize(asked, body)
            delivery = Delivery(
                path=path, headers=asked.headers, body=body, said={}, began_at=asked.began_at, pool=self._pool
            )
            return await (self._take_all if len(path) == 1 else self._take)(asked, delivery)

    def _known(self, asked: _Asked) -> None:
        """Before the body is read: the triggers in the path, if the request may authenticate to one of them.

        Raises:
            `Unproven`: There is none.
            HttpError: 429, too many requests of them were accepted.
        """
        found = asked.found = self._triggers(asked.path)
        if not found:
            raise Unproven(404, NO_TRIGGER)
        if len(asked.path) > 1:
            asked.known.extend(found)
        self._buckets.check("trigger", *asked.names)
        missing = [self._authority.missing(trigger, asked.headers) for trigger in found if trigger.model is not None]
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

    def _pinged(self, asked: _Asked) -> bool:
        """Whether an unauthenticated connection test names a trigger of the forge that sends those."""
        models = (trigger.model for trigger in self._triggers(asked.path))
        auths = (model.spec.webhook.auth_config for model in models if model)
        return any(auth is not None and auth.type == "bitbucket" for auth in auths)

    async def _equalize(self, asked: _Asked, body: bytes) -> None:
        """Take the time of a wrong signature for a trigger that does not exist."""
        if not self._triggers(asked.path):
            await self._pool.run(equalize_timing, body, owner=asked.path[0])
            raise Unproven(404, NO_TRIGGER)

    async def _take(self, asked: _Asked, delivery: Delivery) -> Response:
        trigger = self._find(asked)
        warning = await self._authority.verify(trigger, delivery.headers, delivery.body, present=not asked.uniform)
        self._proven(asked)
        source = asked.path[2] if len(asked.path) > 2 else None  # noqa: PLR2004  /namespace/trigger/source
        taken = await self._deliveries.take(delivery, trigger, source, warning=warning)
        self._taken(taken, trigger, delivery)
        return taken.response()

    def _find(self, asked: _Asked) -> Snapshot:
        """The trigger that a path names."""
        found = asked.found or self._triggers(asked.path)
        if not found:
            raise Unproven(404, NO_TRIGGER)
        asked.known[:] = found
        if found[0].model is None:
            raise Unproven(500, INVALID)
        return found[0]

    def _proven(self, asked: _Asked) -> None:
        """Rates count authenticated requests.

        Raises:
            HttpError: 429, there were too many.
        """
        for key in (("global",), ("address", asked.sender), ("trigger", *asked.names)):
            self._buckets.take(*key)

    async def _take_all(self, asked: _Asked, delivery: Delivery) -> Response:
        """One hook for the triggers of a namespace that match repositories; each checks its own signature."""
        found = asked.found or self._triggers(asked.path)
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
        self._proven(asked)
        asked.known.extend(trigger for trigger, _ in verified)
        results = await asyncio.gather(*(self._take_one(delivery, trigger, warning) for trigger, warning in verified))
        failed = [result for result in results if isinstance(result, HttpError)]
        failed += [HttpError(_NOT_NOW, one.message, retry_after_s=one.retry_after_s) for one in unread]
        if failed:
            raise max(failed, key=lambda refused: refused.status)
        taken = [result for result in results if isinstance(result, DeliveryResult)]
        best = next((one for one in taken if one.status == 202), next((t for t in taken if t.task), taken[0]))  # noqa: PLR2004
        names = {trigger.ref.name: one.message for (trigger, _), one in zip(verified, taken, strict=True)}
        return best.response(triggers=names)

    async def _take_one(self, delivery: Delivery, trigger: Snapshot, warning: str | None) -> DeliveryResult | HttpError:
        try:
            taken = await self._deliveries.take(delivery, trigger, None, warning=warning)
        except HttpError as refused:
            return refused
        self._taken(taken, trigger, delivery)
        return taken

    async def _task(self, asked: _Asked) -> Response:
        """The status of a task, from the trigger's status and Jobs: the same on every replica and after a restart."""
        namespace, name, _, task = asked.path
        if not _NAME.match(namespace) or not _NAME.match(name) or not _TASK.match(task):
            raise Unproven(404, NO_TRIGGER)
        trigger = self._find(asked)
        await self._authority.verify_reader(trigger, asked.headers)
        self._proven(asked)
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

    async def _unproven(self, asked: _Asked, unproven: Unproven) -> HttpError:
        """The response to an unauthenticated request: its own, or one for all, after a multiple of a fixed time."""
        self._refused(unproven, asked)
        answer: HttpError = unproven
        if asked.uniform:
            answer = HttpError(404, UNIFORM)
            passed_s = time.monotonic() - asked.began_at
            await asyncio.sleep(_UNIFORM_S - passed_s % _UNIFORM_S)
        if unproven.status != _NOT_NOW:
            try:
                self._buckets.take_failure(asked.sender, *asked.names)
            except HttpError as refused:
                answer = refused
        answer.close = answer.close or asked.unread
        return answer

    def _taken(self, taken: DeliveryResult, trigger: Snapshot, delivery: Delivery) -> None:
        fields: dict[str, Any] = {"namespace": trigger.ref.namespace, "name": trigger.ref.name}
        fields |= {"status": taken.status, "seconds": round(time.monotonic() - delivery.began_at, 4)}
        if taken.task is None:
            log.info("webhook.ignored", **fields, reason=taken.message.removeprefix("ignored: "))
        elif taken.sources:
            log.info("webhook.accepted", **fields, task=taken.task, source=taken.named)
        else:
            log.info("webhook.repeated", **fields, task=taken.task)

    def _refused(self, refused: HttpError, asked: _Asked) -> None:
        """Log a flood of refusals as a few lines per second, with the number of the others."""
        if self._buckets.try_take(_LOGGED, "logged"):
            self._unlogged += 1
            return
        ref = asked.known[0].ref if len(asked.known) == 1 else None
        fields: dict[str, Any] = {"namespace": ref.namespace if ref else None, "name": ref.name if ref else None}
        fields |= {"status": refused.status, "seconds": round(time.monotonic() - asked.began_at, 4)}
        if self._unlogged:
            fields["unlogged"], self._unlogged = self._unlogged, 0
        log.info("webhook.rejected", **fields, reason=refused.message)


class _Asked:
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
