"""Webhooks: a forge (or anybody with the secret) says that something changed.

Order: limits, trigger, secret, multiSource and source; then the request is counted in the trigger's status, and only
then answered with 202. What cannot be counted is answered with 503: nothing was promised, the sender tries again.
"""

from __future__ import annotations

import asyncio
import hmac
import math
import re
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import structlog
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from git_events_runner.edges.kube.store import Snapshot, Store
from git_events_runner.errors import ApiError, ApiNotFound, SecretUnusable
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.rates import Bucket, Rate
from git_events_runner.telemetry import Metrics

log = structlog.get_logger(target="webhooks")

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z")
_BODY_BYTES = 25 * 2**20
_BODY_S = 10.0
_COUNT_S = 10.0
_WAITING = 1000
_BUCKETS = 20_000
_DELIVERY_HEADERS = (
    "x-github-delivery",
    "x-gitea-delivery",
    "x-forgejo-delivery",
    "x-gitlab-event-uuid",
    "x-request-uuid",
    "x-delivery-id",
)


class Counter(Protocol):
    """Counts requests durably."""

    async def count(
        self,
        trigger: Ref,
        uid: str,
        sources: tuple[str, ...],
        *,
        delivery: str | None,
        announced: str | None,
        task: str,
    ) -> None:
        """Count one delivery for each source, then ask for the checks."""


class SecretReader(Protocol):
    """Reads Secrets, with a time-limited cache."""

    async def get(self, namespace: str, name: str) -> Mapping[str, bytes]:
        """The decoded data of a Secret."""

    def forget(self, namespace: str, name: str) -> None:
        """Read it anew the next time."""


class _Answer(Exception):
    def __init__(self, status: int, message: str, *, retry_after_s: float | None = None) -> None:
        self.status = status
        self.message = message
        self.retry_after_s = retry_after_s
        super().__init__(message)


class Webhooks:
    """The webhook port's application (`app`)."""

    def __init__(
        self,
        *,
        store: Store,
        counter: Counter,
        secrets: SecretReader,
        default_header: Callable[[], str],
        rates: Mapping[str, Rate | None],
        ready: Callable[[], bool],
        metrics: Metrics,
    ) -> None:
        """`rates` has the limits `global`, `trigger` and `source`; `ready` says whether requests can be taken now."""
        self._store = store
        self._counter = counter
        self._secrets = secrets
        self._default_header = default_header
        self._rates = rates
        self._ready = ready
        self._metrics = metrics
        self._buckets: OrderedDict[tuple[str, ...], Bucket] = OrderedDict()
        self._open = 0
        self.app = Starlette(
            routes=[
                Route("/{namespace}/{trigger}", self._answer, methods=["POST"]),
                Route("/{namespace}/{trigger}/{source}", self._answer, methods=["POST"]),
            ],
            exception_handlers={404: _plain(404, "no such path"), 405: _plain(405, "use POST")},
        )

    async def _answer(self, request: Request) -> Response:
        """The border of one request: every way out is counted, logged once, and answered in JSON."""
        started = time.monotonic()
        known: list[Snapshot] = []
        task = str(uuid.uuid4())
        self._open += 1
        try:
            await self._take(request, task, known)
        except _Answer as answer:
            response = _refusal(answer)
            reason = answer.message
        except ClientDisconnect:
            response, reason = _refusal(_Answer(400, "the sender went away")), "the sender went away"
        except Exception:
            log.exception("webhook.crashed", path=request.url.path)
            response, reason = _refusal(_Answer(500, "internal error")), "internal error"
        else:
            reason = ""
            response = JSONResponse(
                {"status": "ok", "message": "job has been scheduled", "task_id": task}, status_code=202
            )
        finally:
            self._open -= 1
        ref = known[0].ref if known else None
        seconds = time.monotonic() - started
        self._metrics.webhook_finished(
            ref.namespace if ref else None, ref.name if ref else None, response.status_code, seconds
        )
        fields: dict[str, Any] = {"namespace": ref.namespace if ref else None, "name": ref.name if ref else None}
        fields |= {"status": response.status_code, "seconds": round(seconds, 4), "task": task}
        if reason:
            log.info("webhook.rejected", **fields, reason=reason)
        else:
            log.info("webhook.accepted", **fields, source=request.path_params.get("source"))
        return response

    async def _take(self, request: Request, task: str, known: list[Snapshot]) -> None:
        if not self._ready() or self._open > _WAITING:
            raise _Answer(503, "not able to take requests now", retry_after_s=2)
        names = {name: request.path_params.get(name) for name in ("namespace", "trigger", "source")}
        if any(name is not None and not _NAME.match(name) for name in names.values()):
            raise _Answer(404, "no such trigger")
        self._limit("global")
        await self._body(request)
        ref = Ref("WebhookTrigger", names["namespace"], names["trigger"] or "")
        trigger = self._store.get(ref)
        if trigger is None:
            raise _Answer(404, f"no trigger {ref.namespace}/{ref.name}")
        known.append(trigger)
        if trigger.model is None:
            raise _Answer(500, f"the trigger is not valid: {trigger.invalid}")
        self._limit("trigger", ref.namespace or "", ref.name)
        await self._verify(request, trigger)
        sources = self._sources(trigger.model, names["source"])
        for source in sources:
            self._limit("source", ref.namespace or "", ref.name, source)
        delivery = next((request.headers[name] for name in _DELIVERY_HEADERS if name in request.headers), None)
        try:
            async with asyncio.timeout(_COUNT_S):
                await self._counter.count(ref, trigger.uid, sources, delivery=delivery, announced=None, task=task)
        except ApiNotFound:
            raise _Answer(404, f"no trigger {ref.namespace}/{ref.name}") from None
        except (ApiError, TimeoutError) as error:
            log.warning("webhook.uncounted", namespace=ref.namespace, name=ref.name, error=str(error) or "time-out")
            raise _Answer(503, "the request could not be recorded; send it again", retry_after_s=2) from None

    async def _body(self, request: Request) -> bytes:
        """The raw body, within its limits of size and time."""
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length) > _BODY_BYTES:
            raise _Answer(413, f"the body is larger than {_BODY_BYTES} bytes")
        body = bytearray()
        try:
            async with asyncio.timeout(_BODY_S):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > _BODY_BYTES:
                        raise _Answer(413, f"the body is larger than {_BODY_BYTES} bytes")
        except TimeoutError:
            raise _Answer(408, f"the body did not arrive within {_BODY_S:g} s") from None
        return bytes(body)

    async def _verify(self, request: Request, trigger: Snapshot) -> None:
        """The header secret, compared in constant time; a Secret just rotated is read anew once."""
        auth = trigger.model.spec.webhook.auth_config
        if auth is None:
            return
        header = auth.header or self._default_header()
        given = request.headers.get(header)
        if given is None:
            raise _Answer(401, f"header {header} is missing")
        namespace, name = trigger.ref.namespace or "", auth.secret_ref.name
        for attempt in (1, 2):
            try:
                data = await self._secrets.get(namespace, name)
            except (SecretUnusable, ApiError) as error:
                log.warning("secret.unreadable", namespace=namespace, name=trigger.ref.name, error=str(error))
                raise _Answer(500, "the trigger's secret cannot be read") from None
            if auth.key not in data:
                log.warning("secret.unreadable", namespace=namespace, name=trigger.ref.name, error=f"no key {auth.key}")
                raise _Answer(500, "the trigger's secret cannot be read")
            if hmac.compare_digest(given.encode("latin-1"), data[auth.key]):
                return
            if attempt == 1 and self._may_reread(namespace, name):
                self._secrets.forget(namespace, name)
            else:
                break
        raise _Answer(403, "wrong secret")

    def _may_reread(self, namespace: str, name: str) -> bool:
        """A wrong secret makes the Secret be read anew at most once in five seconds."""
        key = ("reread", namespace, name)
        bucket, wait_s = self._bucket(key, Rate(burst=1, seconds=5))
        self._buckets[key] = bucket
        return wait_s <= 0

    def _sources(self, trigger: Any, source: str | None) -> tuple[str, ...]:
        names = tuple(trigger.spec.sources.names)
        if source is not None:
            if source not in names:
                raise _Answer(404, f"the trigger has no source {source}")
            return (source,)
        if not trigger.spec.webhook.multi_source:
            raise _Answer(400, "the trigger takes requests for one source: POST /{namespace}/{trigger}/{source}")
        return names

    def _limit(self, *key: str) -> None:
        rate = self._rates.get(key[0])
        if rate is None:
            return
        bucket, wait_s = self._bucket(key, rate)
        self._buckets[key] = bucket
        if len(self._buckets) > _BUCKETS:
            self._buckets.popitem(last=False)
        if wait_s > 0:
            raise _Answer(429, f"too many requests ({key[0]} limit)", retry_after_s=wait_s)

    def _bucket(self, key: tuple[str, ...], rate: Rate) -> tuple[Bucket, float]:
        now = time.monotonic()
        bucket = self._buckets.pop(key, None) or Bucket(tokens=float(rate.burst), at=now)
        return bucket.take(rate, now)


def _refusal(answer: _Answer) -> JSONResponse:
    headers = {} if answer.retry_after_s is None else {"Retry-After": str(max(math.ceil(answer.retry_after_s), 1))}
    body = {"status": "error", "message": answer.message}
    return JSONResponse(body, status_code=answer.status, headers=headers)


def _plain(status: int, message: str) -> Callable[[Request, Exception], Response]:
    def handle(_: Request, __: Exception) -> Response:
        return _refusal(_Answer(status, message))

    return handle
