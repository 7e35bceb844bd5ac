"""One verified delivery to one trigger: its sources, whether it is a duplicate, and its record in the status."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from git_events_runner.concurrency.pools import Pool
from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.errors import ApiError, ApiNotFound
from git_events_runner.resources.ref import Ref, named
from git_events_runner.rules.delivery_choice import Choice, choice_of
from git_events_runner.rules.forges import (
    BY_NAME,
    IgnoredEvent,
    MalformedPayload,
    PullRequest,
    Push,
    delivery_of,
    forge_of,
    read,
)
from git_events_runner.rules.ledger.deliveries import delivery_hash, delivery_known
from git_events_runner.rules.ledger.tasks import task_id
from git_events_runner.rules.proofs import Headers
from git_events_runner.rules.pull_requests import PullRecord
from git_events_runner.rules.references import source_of

from .limits import ON_LOOP_BYTES, Buckets
from .responses import ACCEPTED, DUPLICATE, NO_TRIGGER, SUSPENDED, DeliveryResult, HttpError

log = structlog.get_logger(target="webhooks")

_COUNT_S = 10.0


class DeliveryRecorder(Protocol):
    """Records requests durably."""

    async def count(
        self,
        trigger: Ref,
        uid: str,
        requests: Mapping[str, str | None],
        *,
        task: str,
        warning: str | None,
        pulls: Mapping[str, PullRecord],
    ) -> bool:
        """Record one delivery per source (with the commit announced for it), then submit the checks.

        `pulls` is what it reports of pull requests, by key.

        False: it was recorded before.
        """


@dataclass(slots=True, kw_only=True)
class Delivery:
    """A request whose body is read: it is parsed at most once per dialect, after it was verified."""

    path: tuple[str, ...]
    headers: Headers
    body: bytes
    parsed: dict[str, Push | PullRequest | IgnoredEvent]
    began_at: float
    pool: Pool

    async def parse(self, auth_type: str) -> Push | PullRequest | IgnoredEvent:
        """The parsed payload.

        Raises:
            HttpError: 400 or 415, it is no payload of that forge.
        """
        forge = forge_of(auth_type, self.headers)
        if forge not in self.parsed:
            try:
                if len(self.body) > ON_LOOP_BYTES:
                    self.parsed[forge] = await self.pool.run(read, forge, self.headers, self.body, owner=self.path[0])
                else:
                    self.parsed[forge] = read(forge, self.headers, self.body)
            except MalformedPayload as error:
                raise HttpError(415 if error.media_type else 400, str(error)) from None
        return self.parsed[forge]

    async def task(self, auth_type: str) -> str:
        """The task id: derived from the forge's delivery id where there is one."""
        wanted = (self.headers, auth_type, self.body)
        large = len(self.body) > ON_LOOP_BYTES
        delivery = await self.pool.run(delivery_of, *wanted, owner=self.path[0]) if large else delivery_of(*wanted)
        return str(uuid.uuid4()) if delivery is None else task_id(self.path, delivery)


class Deliveries:
    """Accepts verified deliveries."""

    def __init__(
        self, *, store: Store, counter: DeliveryRecorder, buckets: Buckets, aliases: Callable[[], Mapping[str, str]]
    ) -> None:
        """`aliases`: other names of forges' hosts."""
        self._store = store
        self._aliases = aliases
        self._counter = counter
        self._buckets = buckets

    async def accept(
        self, delivery: Delivery, trigger: Snapshot, source: str | None, *, warning: str | None
    ) -> DeliveryResult:
        """Accept a delivery that is authenticated for the trigger (about one source, if its path names one).

        Raises:
            HttpError: It requests what the trigger does not have, is invalid, or cannot be recorded.
        """
        spec = trigger.model.spec
        names = self._sources(spec, source)
        auth = spec.webhook.auth_config
        auth_type = auth.type if auth else "header"
        choice = Choice(requests=dict.fromkeys(names))
        if auth_type in BY_NAME or spec.webhook.match_repository:
            chosen = self._chosen(await delivery.parse(auth_type), trigger, names)
            if isinstance(chosen, IgnoredEvent):
                return DeliveryResult(status=200, message=f"ignored: {chosen.reason}")
            choice = chosen
        requests = choice.requests
        for name in dict.fromkeys(map(source_of, requests)):
            self._buckets.spend("source", trigger.ref.namespace or "", trigger.ref.name, name)
        task = await delivery.task(auth_type)
        if delivery_known(trigger.raw.get("status"), delivery_hash(task)):
            return DeliveryResult(status=200, message=DUPLICATE, task=task)
        if not await self._count(trigger, choice, task, warning):
            return DeliveryResult(status=200, message=DUPLICATE, task=task)
        message = SUSPENDED if spec.suspend else ACCEPTED
        return DeliveryResult(status=202, message=message, task=task, sources=tuple(requests))

    def _sources(self, spec: Any, source: str | None) -> tuple[str, ...]:
        names: tuple[str, ...] = spec.sources.names
        if source is not None:
            if source not in names:
                raise HttpError(404, NO_TRIGGER)
            return (source,)
        if not spec.webhook.multi_source and not spec.webhook.match_repository:
            raise HttpError(400, "the trigger takes requests for one source: POST /{namespace}/{trigger}/{source}")
        return names

    def _chosen(
        self, event: Push | PullRequest | IgnoredEvent, trigger: Snapshot, names: tuple[str, ...]
    ) -> Choice | IgnoredEvent:
        """The sources to check, each with the commit announced for it; or why there are none."""

        def address(name: str) -> str:
            return self._address(trigger, name)

        return choice_of(event, trigger.model.spec, names, address, self._aliases())

    def _address(self, trigger: Snapshot, name: str) -> str:
        found = self._store.get(named(trigger.model.spec.sources.kind, trigger.ref.namespace, name))
        return found.model.spec.repo_uri if found and found.model else ""

    async def _count(self, trigger: Snapshot, choice: Choice, task: str, warning: str | None) -> bool:
        try:
            async with asyncio.timeout(_COUNT_S):
                return await self._counter.count(
                    trigger.ref, trigger.uid, choice.requests, task=task, warning=warning, pulls=choice.pulls
                )
        except ApiNotFound:
            raise HttpError(404, NO_TRIGGER) from None
        except (ApiError, TimeoutError) as error:
            ref = trigger.ref
            log.warning("webhook.uncounted", namespace=ref.namespace, name=ref.name, error=str(error) or "time-out")
            raise HttpError(503, "the request could not be recorded; send it again", retry_after_s=2) from None
