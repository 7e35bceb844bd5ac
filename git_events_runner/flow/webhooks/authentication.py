"""Authenticates requests for a trigger: its Secret, read when needed, and the result of `rules/signatures`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import structlog

from git_events_runner.concurrency.pools import Pool
from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.ports import SecretReader
from git_events_runner.errors import ApiError, SecretUnusable
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.problems import WEBHOOK, part_problem
from git_events_runner.rules.proofs import Headers, Scheme, Signature
from git_events_runner.rules.rate_limit import Rate
from git_events_runner.rules.signatures import reader_verifier, short_keys, verify_signature

from .keys import read_keys
from .limits import ON_LOOP_BYTES, Buckets
from .responses import AWAY, MISSING, OLD, UNREADABLE, WRONG, Unproven

log = structlog.get_logger(target="webhooks")

_REREAD = Rate(burst=1, seconds=5)
_HMAC_HEADER = "x-signature"
_REFUSALS = {Signature.MISSING: (401, MISSING), Signature.WRONG: (403, WRONG), Signature.OLD: (401, OLD)}
_DOUBTFUL = frozenset({Signature.WRONG, Signature.UNUSABLE})  # the Secret may have just changed
_RETRY_AFTER_S = 2.0
_SHORT = "has fewer than 16 bytes and can be guessed; take a longer one"


class Authentication:
    """Authenticates requests; a Secret just rotated is read again once."""

    def __init__(
        self,
        *,
        secrets: SecretReader,
        default_header: Callable[[], str],
        buckets: Buckets,
        recheck: Callable[[Ref], None],
        now: Callable[[], datetime],
    ) -> None:
        """`recheck` is called if a trigger's conditions do not match its current Secret.

        `now` is compared with signed timestamps.
        """
        self._now = now
        self._secrets = secrets
        self._recheck = recheck
        self._default_header = default_header
        self._buckets = buckets
        self._pool = Pool("signatures", threads=2)

    async def verify(self, trigger: Snapshot, headers: Headers, body: bytes, *, present: bool = False) -> str | None:
        """Return if the request authenticates for the trigger: a warning about its secret, or None.

        `present`: the request has a signature or token, as `missing` has found.

        Raises:
            `Unproven`: It does not, or that is unknown.
        """
        auth = trigger.model.spec.webhook.auth_config
        if auth is None:
            return None
        scheme = self._scheme(auth)

        def verify_with(keys: tuple[bytes, ...]) -> Signature:
            return verify_signature(scheme, headers, body, keys, now_s=self._now().timestamp())

        keys = await self._verify_secret(trigger, auth, verify_with, weight=len(body), present=present)
        return f"key {auth.key} of Secret {auth.secret_ref.name} {_SHORT}" if short_keys(keys) else None

    def missing(self, trigger: Snapshot, headers: Headers) -> bool:
        """Whether a request has no signature or token of the trigger's scheme: its body need not be read."""
        auth = trigger.model.spec.webhook.auth_config
        if auth is None:
            return False
        return (
            verify_signature(self._scheme(auth), headers, b"", (), now_s=self._now().timestamp()) is Signature.MISSING
        )

    async def verify_reader(self, trigger: Snapshot, headers: Headers) -> None:
        """Return if the request, which has no body to sign, has the trigger's secret.

        Raises:
            `Unproven`: It does not, or that is unknown.
        """
        auth = trigger.model.spec.webhook.auth_config
        if auth is not None:
            scheme, default = self._scheme(auth), self._default_header()
            await self._verify_secret(
                trigger, auth, lambda keys: reader_verifier(scheme, headers, keys, default_header=default)
            )

    def _scheme(self, auth: Any) -> Scheme:
        default = _HMAC_HEADER if auth.type == "hmac" else self._default_header()
        return Scheme(type=auth.type, header=auth.header or default, algorithm=auth.algorithm)

    async def _verify_secret(
        self,
        trigger: Snapshot,
        auth: Any,
        verify_with: Callable[[tuple[bytes, ...]], Signature],
        *,
        weight: int = 0,
        present: bool = False,
    ) -> tuple[bytes, ...]:
        missing = not present and verify_with(()) is Signature.MISSING
        found = Signature.MISSING if missing else Signature.WRONG
        namespace, name = trigger.ref.namespace or "", auth.secret_ref.name
        keys: tuple[bytes, ...] = ()
        for live in (False, True):
            if found is Signature.MISSING:
                break
            keys = await self._keys(trigger, auth, live=live)
            found = (
                verify_with(keys)
                if weight <= ON_LOOP_BYTES
                else await self._pool.run(verify_with, keys, owner=namespace)
            )
            if found not in _DOUBTFUL or live or self._buckets.try_spend(_REREAD, "reread", namespace, name):
                break
        if found is Signature.GOOD:
            if part_problem(trigger.raw.get("status"), WEBHOOK) is not None:
                self._recheck(trigger.ref)
            return keys
        if found is Signature.UNUSABLE:
            self._unreadable(trigger, f"key {auth.key} of Secret {namespace}/{name} holds no usable secret")
        status, message = _REFUSALS.get(found, (500, UNREADABLE))
        raise Unproven(status, message)

    async def _keys(self, trigger: Snapshot, auth: Any, *, live: bool) -> tuple[bytes, ...]:
        try:
            return await read_keys(self._secrets, trigger.ref.namespace or "", auth, live=live)
        except SecretUnusable as error:
            named = (trigger.ref.namespace or "", auth.secret_ref.name)
            if not live and not self._buckets.try_spend(_REREAD, "reread", *named):
                return await self._keys(trigger, auth, live=True)
            self._unreadable(trigger, str(error))
            raise Unproven(500, UNREADABLE) from None
        except ApiError as error:
            self._unreadable(trigger, str(error), away=True)
            raise Unproven(503, AWAY, retry_after_s=_RETRY_AFTER_S) from None

    def _unreadable(self, trigger: Snapshot, error: str, *, away: bool = False) -> None:
        ref = trigger.ref
        if not self._buckets.try_spend(_REREAD, "reported", ref.namespace or "", ref.name):
            log.warning("secret.unreadable", namespace=ref.namespace, name=ref.name, error=error)
            if not away:
                self._recheck(ref)
