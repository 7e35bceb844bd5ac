"""Raw calls of the Kubernetes API: dicts in, dicts out, every failure one of errors.Api*.

https://kubernetes.io/docs/reference/using-api/api-concepts/ is what it rests on. Each call has an overall deadline; a
call whose answer did not come (time-out, reset, 5xx) raises ApiUnavailable: its outcome is unknown.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import aiohttp
import orjson

from git_events_runner.errors import ApiError, ApiUnavailable
from git_events_runner.resources.bounds import LIST_BYTES
from git_events_runner.resources.kinds import KINDS, POD, Kind
from git_events_runner.resources.ref import Ref

from .connection import Connection, connect, connect_to
from .history import FREE, History, Known
from .page import Page
from .request_slots import RequestSlots
from .responses import ERROR_BYTES, PageTooLargeError, cause_of, read_most, refusal_of
from .sender import Sender
from .server_clock import ServerClock
from .streams import keep_alive, lines, pieces

_TIMEOUT_S = 30.0
_GRACE_S = 2.0
_WATCH_GRACE_S = 30.0  # a stream on which nothing came for so long after its own time-out is half-open
_FEWER = 8
_PATCH_TYPES = {list: "application/json-patch+json", dict: "application/merge-patch+json"}


Json = list[dict[str, Any]] | dict[str, Any]


class Client:
    """Calls of one API server over one connection."""

    def __init__(self, connection: Connection, *, watch_grace_s: float = _WATCH_GRACE_S) -> None:
        self._connection = connection
        self._watch_grace_s = watch_grace_s
        self._sender = Sender(connection)
        self._turns = RequestSlots()
        self.written_at = float("-inf")  # the loop's time when a write last succeeded
        self.history = History()

    @property
    def url(self) -> str:
        """Address of the API server."""
        return self._connection.url

    @property
    def namespace(self) -> str | None:
        """The namespace of the kubeconfig's context, or of the pod."""
        return self._connection.namespace

    @property
    def clock(self) -> ServerClock:
        """The API server's clock, from the dates of its responses."""
        return self._sender.clock

    def trusted_at(self) -> float:
        """The loop's time when the server's certificate was last not known to be refused."""
        return self._sender.trusted_at()

    @classmethod
    @asynccontextmanager
    async def connect(cls, kubeconfig: str | None = None, *, context: str | None = None) -> AsyncIterator[Self]:
        """In the cluster, or by a kubeconfig; see `connection.connect`."""
        async with connect(kubeconfig, context=context) as connection:
            yield cls(connection)

    @classmethod
    @asynccontextmanager
    async def connect_to(cls, url: str, token: str, *, socket: Path | None = None) -> AsyncIterator[Self]:
        """By URL and token, or by a Unix socket."""
        async with connect_to(url, token, socket=socket) as connection:
            yield cls(connection)

    async def get(self, ref: Ref, *, timeout_s: float = _TIMEOUT_S) -> dict[str, Any]:
        """The object as it is now.

        Raises:
            ApiNotFound: There is none.
            ApiError: Any other of its classes.
        """
        path, known = KINDS[ref.kind].path(ref.namespace, ref.name), self.history.known(ref)
        body = await self._call("GET", path, f"reading {ref}", timeout_s=timeout_s)
        return self._compared(ref, known, body)

    async def list_page(
        self,
        kind: Kind,
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        limit: int = 500,
        continue_token: str | None = None,
        resource_version: str | None = None,
    ) -> Page:
        """One page of at most `limit` objects; of fewer, where so many would be too many bytes.

        Raises:
            ApiGone: The continue token is too old; begin again.
            ApiError: Any other of its classes.
        """
        query = _query(
            labelSelector=label_selector,
            fieldSelector=field_selector,
            limit=str(limit),
            resourceVersion=resource_version,
            **{"continue": continue_token},
        )
        where = f" in {namespace}" if namespace else ""
        what = f"listing {kind.plural}{where}"
        newest = continue_token is None and resource_version is None
        before = self.history.highest(kind.name) if newest else None
        while True:
            try:
                most = LIST_BYTES if limit > 1 else None
                body = await self._call("GET", kind.path(namespace), what, query=query, most_bytes=most)
                break
            except PageTooLargeError:
                limit = max(limit // _FEWER, 1)
                query["limit"] = str(limit)
        metadata = body.get("metadata") or {}
        items = body.get("items") or []
        for item in items:
            item["kind"], item["apiVersion"] = kind.name, kind.api_version
        self.history.listed(kind, before, metadata.get("resourceVersion"), items)
        self.history.check(what)
        return Page(
            items=items,
            resource_version=metadata.get("resourceVersion") or "",
            continue_token=metadata.get("continue") or None,
        )

    async def list(
        self, kind: Kind, *, namespace: str | None = None, label_selector: str | None = None, limit: int = 500
    ) -> AsyncIterator[dict[str, Any]]:
        """All objects of a kind, page by page."""
        token: str | None = None
        while True:
            page = await self.list_page(
                kind, namespace=namespace, label_selector=label_selector, limit=limit, continue_token=token
            )
            for item in page.items:
                yield item
            token = page.continue_token
            if token is None:
                return

    async def create(
        self, kind: Kind, obj: Mapping[str, Any], *, timeout_s: float | None = None, strict: bool = False
    ) -> dict[str, Any]:
        """Create an object; with `timeout_s` the server gives up in time too.

        Raises:
            ApiAlreadyExists: One of that name exists.
            ApiUnavailable: The outcome is unknown.
            ApiError: Any other of its classes.
        """
        metadata = obj["metadata"]
        what = f"creating {Ref(kind.name, metadata.get('namespace'), metadata.get('name') or '(generated)')}"
        path, before = kind.path(metadata.get("namespace")), self.history.highest(kind.name)
        await self.history.check_before_write(kind.name, what, self.get)
        body = await self._call("POST", path, what, body=obj, timeout_s=timeout_s, strict=strict, write=True)
        self.history.created(kind, before, body)
        if kind.name != FREE:
            self.history.check(what)
        return body

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
        """Put an object; its resource version must be the current one. `dry_run`: all of that but storing it.

        Raises:
            ApiConflict: It changed meanwhile.
            ApiError: Any other of its classes.
        """
        metadata = obj["metadata"]
        ref = Ref(kind.name, metadata.get("namespace"), metadata["name"])
        path, known = kind.path(ref.namespace, ref.name, subresource), self.history.known(ref)
        what, query = f"writing {ref}", {"dryRun": "All"} if dry_run else None
        await self.history.check_before_write(ref.kind, what, self.get)
        body = await self._call(
            "PUT", path, what, query=query, body=obj, timeout_s=timeout_s, strict=strict, write=True
        )
        return body if dry_run else self._compared(ref, known, body)

    async def patch(
        self,
        ref: Ref,
        body: Json,
        *,
        subresource: str | None = None,
        strict: bool = False,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """A list is a JSON Patch (RFC 6902), a dict a merge patch (RFC 7386).

        Raises:
            ApiInvalid: A test of the patch does not hold, or the result is not valid.
            ApiError: Any other of its classes.
        """
        path, known = KINDS[ref.kind].path(ref.namespace, ref.name, subresource), self.history.known(ref)
        what = f"patching {ref}"
        await self.history.check_before_write(ref.kind, what, self.get)
        answer = await self._call(
            "PATCH",
            path,
            what,
            body=body,
            timeout_s=timeout_s,
            strict=strict,
            write=True,
            content_type=_PATCH_TYPES[type(body)],
        )
        return self._compared(ref, known, answer)

    async def delete(
        self,
        ref: Ref,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation: str = "Background",
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """Delete an object if uid and resource version are still these.

        Raises:
            ApiConflict: A precondition does not hold.
            ApiNotFound: There is none.
            ApiError: Any other of its classes.
        """
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        preconditions = _query(uid=uid, resourceVersion=resource_version)
        if preconditions:
            options["preconditions"] = preconditions
        path, what = KINDS[ref.kind].path(ref.namespace, ref.name), f"deleting {ref}"
        await self.history.check_before_write(ref.kind, what, self.get)
        return await self._call("DELETE", path, what, body=options, timeout_s=timeout_s, write=True)

    @asynccontextmanager
    async def watch(
        self,
        kind: Kind,
        *,
        resource_version: str,
        timeout_s: int,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        quiet_s: float | None = None,
    ) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """Events since `resource_version` as raw dicts, until the server ends the stream.

        ERROR events are given like the others. The client's own deadline is 30 s after the server's, or `quiet_s`
        after the last that came, if that is earlier. A server that does not exist any more is noticed within a minute.

        Raises:
            ApiGone: HTTP 410; list again.
            ApiError: Any other of its classes; ApiUnavailable also while reading, when the stream is cut.
        """
        query = _query(
            watch="true",
            allowWatchBookmarks="true",
            resourceVersion=resource_version,
            timeoutSeconds=str(timeout_s),
            labelSelector=label_selector,
            fieldSelector=field_selector,
        )
        what = f"watching {kind.plural}"
        read_s = min(timeout_s + self._watch_grace_s, quiet_s or float("inf"))
        async with self._streaming(kind.path(namespace), query, what, read_s) as response:
            yield self.history.watched(kind, lines(response, what))

    @asynccontextmanager
    async def log(
        self, namespace: str, pod: str, container: str, *, follow: bool, bounds: Mapping[str, str] | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The log of a container (`bounds`: `tailLines`, `limitBytes`), as it comes; with `follow` until it ends.

        Raises:
            ApiNotFound: There is no such pod.
            ApiError: Any other of its classes: the container has not started (ApiInvalid), or the log may not be read;
                ApiUnavailable also while reading, when the stream is cut.
        """
        path = POD.path(namespace, pod, "log")
        what = f"reading the log of pod {namespace}/{pod}"
        query = _query(container=container, follow="true" if follow else None, **(bounds or {}))
        async with self._streaming(path, query, what, None if follow else _TIMEOUT_S) as response:
            yield pieces(response, what)

    @asynccontextmanager
    async def _streaming(
        self, path: str, query: Mapping[str, str], what: str, read_s: float | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A response whose body is read while it comes; nothing for `read_s` seconds ends it."""
        limits = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=read_s)
        response = None
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                response = await self._sender.send("GET", path, query, None, None, limits)
            if response.status != 200:  # noqa: PLR2004  HTTP
                self.history.interrupted()
                raise refusal_of(what, response, await response.content.read(ERROR_BYTES))
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            self.history.interrupted()
            if response is not None:
                response.close()
            raise ApiUnavailable(f"{what}: {cause_of(error)}") from error
        except ApiError:
            if response is not None:
                response.close()
            raise
        try:
            keep_alive(response)
            yield response
        finally:
            self.history.interrupted()
            response.close()  # not release: a half-read stream must not go back to the pool

    def _compared(self, ref: Ref, known: Known | None, body: dict[str, Any]) -> dict[str, Any]:
        """An answer about an object, if it is no older than what was known before its request."""
        self.history.compare_answer(ref, known, body)
        self.history.check(f"reading {ref}")
        return body

    async def _call(
        self,
        method: str,
        path: str,
        what: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        timeout_s: float | None = None,
        strict: bool = False,
        write: bool = False,
        content_type: str = "application/json",
        most_bytes: int | None = None,
    ) -> dict[str, Any]:
        params = dict(query or {})
        if write and timeout_s is not None:
            params["timeout"] = f"{max(int(timeout_s), 1)}s"
        if strict:
            params["fieldValidation"] = "Strict"
        limit_s = timeout_s if timeout_s is not None else _TIMEOUT_S
        data = None if body is None else orjson.dumps(body)
        try:
            async with asyncio.timeout(limit_s + (_GRACE_S if write else 0)):
                async with (
                    self._turns.of(path),
                    await self._sender.send(method, path, params, data, content_type, None) as response,
                ):
                    answer = await (response.read() if most_bytes is None else read_most(response, most_bytes))
        except TimeoutError as error:
            self.history.interrupted()
            raise ApiUnavailable(f"{what}: no answer within {limit_s:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            self.history.interrupted()
            raise ApiUnavailable(f"{what}: {cause_of(error)}") from error
        if response.status >= 500:  # noqa: PLR2004  HTTP
            self.history.interrupted()
        if not response.ok:
            raise refusal_of(what, response, answer[:ERROR_BYTES])
        try:
            parsed = orjson.loads(answer)
        except orjson.JSONDecodeError as error:
            raise ApiUnavailable(f"{what}: the answer is not JSON") from error
        if not isinstance(parsed, dict):
            raise ApiUnavailable(f"{what}: the answer is no object")
        if write:
            self.written_at = asyncio.get_running_loop().time()
        return parsed


def _query(**values: str | None) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}
