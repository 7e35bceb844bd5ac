"""Host keys of SSH servers: which are accepted for a source, and their entries in its status.

The first key seen is pinned in the source's status by compare-and-swap on its resource version: of two replicas that
see one at the same time, the second finds the key of the first, and uses that.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import structlog

from git_events_runner.edges.kube.snapshot import Snapshot, snapshot_of
from git_events_runner.edges.kube.store import Store
from git_events_runner.edges.ports import EventRecorder, KubeClient
from git_events_runner.errors import ApiConflict, ApiError, ApiForbidden, GitHostKeyRefused, GitHostKeyUnknown
from git_events_runner.resources.ref import Ref
from git_events_runner.resources.ssh import HostKeyPolicy, SshAddress, fingerprint, known_for
from git_events_runner.rules.host_keys import NOT_CHECKED, PINNED, HostKeyVerdict, accepted, advice
from git_events_runner.rules.ledger.mutations import rfc3339

log = structlog.get_logger(target="hostkeys")

_ATTEMPTS = 8


class HostKeys:
    """Decides for each source with an SSH URL, and keeps its status."""

    def __init__(
        self,
        *,
        api: KubeClient,
        store: Store,
        announcer: EventRecorder,
        policy: Callable[[], HostKeyPolicy],
        now: Callable[[], datetime],
    ) -> None:
        self._api = api
        self._store = store
        self._announcer = announcer
        self._policy = policy
        self._now = now

    @property
    def policy(self) -> HostKeyPolicy:
        """Which host keys are accepted now."""
        return self._policy()

    async def refused(self, source: Any, address: SshAddress, error: GitHostKeyRefused, *, own: bool) -> Any:
        """The server's key was refused: the source for another request, when another key is accepted meanwhile or now.

        `own`: the Secret's known hosts decided.

        Raises:
            GitHostKeyRefused: An operator has to act; the message states how.
            ApiError: The API server does not answer.
        """
        policy = self._policy()
        for _ in range(_ATTEMPTS):
            live = snapshot_of(await self._api.get(source.ref), source.ref.kind)
            if live.model is None or live.uid != source.metadata.uid or live.generation != source.metadata.generation:
                raise error
            if not own and known_for(address, policy, live.model.status.host_keys) != known_for(
                address, policy, source.status.host_keys
            ):
                self._store.observe({"kind": live.ref.kind, **live.raw})
                return live.model
            if isinstance(error, GitHostKeyUnknown) and policy.mode == "pin" and not own and error.offered:
                pinned = await self._pin(live, address, error)
                if pinned is not None:
                    return pinned
                continue
            hint = advice(source.ref, address, policy, own=own, reason=error.reason)
            described = type(error)(f"{error}; {hint}", offered=error.offered)
            await self._report(live, HostKeyVerdict(reason=error.reason, message=str(described)), event="Warning")
            raise described from error
        raise error

    async def confirm(self, source: Any, *, own: bool) -> None:
        """The server has answered: a complaint about its key ends, and insecure answers are named as such, once."""
        verdict = accepted(source.raw_status, self._policy(), own=own)
        if verdict is None:
            return
        found = self._store.get(source.ref)
        if found is not None and found.uid == source.metadata.uid:
            await self._report(found, verdict, event="Warning" if verdict.reason == NOT_CHECKED else None)

    async def _pin(self, live: Snapshot, address: SshAddress, error: GitHostKeyRefused) -> Any | None:
        """Pin the key that was shown; None when the source has changed meanwhile."""
        line = f"{address.known_hosts_name} {error.offered}"
        seen = fingerprint(error.offered)
        verdict = HostKeyVerdict(reason=PINNED, message=f"{address.known_hosts_name} is known by {seen}", pin=(line,))
        try:
            written = await self._write(live, verdict)
        except ApiConflict:
            return None
        except ApiForbidden as forbidden:
            raise GitHostKeyUnknown(
                f"{error}, and the controller may not pin it: let it patch {live.ref.kind.lower()}s/status",
                offered=error.offered,
            ) from forbidden
        if written is not None:
            note = f"the host key of {address.known_hosts_name} was seen for the first time and is pinned: {seen}"
            self._announcer.publish(live.ref, live.uid, kind="Normal", reason=PINNED, note=note)
            log.info("hostkey.pinned", **_fields(live.ref), host=address.known_hosts_name, key=seen)
            return written
        return live.model

    async def _report(self, found: Snapshot, verdict: HostKeyVerdict, *, event: str | None) -> None:
        """Put a verdict into the status; with an Event if that is news. The next time makes up for a failure."""
        try:
            written = await self._write(found, verdict)
        except ApiError as error:
            if not isinstance(error, ApiConflict):
                log.warning("status.failed", **_fields(found.ref), error=str(error), reason=error.reason)
            return
        if written is None or event is None:
            return
        self._announcer.publish(found.ref, found.uid, kind=event, reason=verdict.reason, note=verdict.message)
        if verdict.refused:
            log.warning("hostkey.refused", **_fields(found.ref), reason=verdict.reason, error=verdict.message)
        else:
            log.warning("hostkey.unchecked", **_fields(found.ref), error=verdict.message)

    async def _write(self, found: Snapshot, verdict: HostKeyVerdict) -> Any | None:
        """One merge patch on the version that was read; None when there is nothing to write.

        Raises:
            ApiConflict: The object has changed since.
        """
        status = found.raw.get("status") or {}
        wanted = verdict.applied(status, generation=found.generation, now=rfc3339(self._now()))
        if wanted is None:
            return None
        metadata = {"resourceVersion": found.raw["metadata"]["resourceVersion"], "uid": found.uid}
        body = {"metadata": metadata, "status": wanted}
        raw = await self._api.patch(found.ref, body, subresource="status", strict=True)
        self._store.observe(raw)
        return snapshot_of(raw, found.ref.kind).model


def _fields(ref: Ref) -> dict[str, Any]:
    return {"kind": ref.kind, "namespace": ref.namespace, "name": ref.name}
