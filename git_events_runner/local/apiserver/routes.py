"""From HTTP to the registry: paths, verbs, content types, tokens, and Status objects for errors."""

from __future__ import annotations

import hmac
import re
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from git_events_runner.resources.kinds import KINDS, Kind

from . import patch, refusal
from .registry import Deletion, Object, ObjectPath, Registry
from .selectors import selecting
from .storage import Storage
from .watch import Lister, Query, Watcher

Answer = Callable[[], Awaitable[Response]]
Interceptor = Callable[[Request, Answer], Awaitable[Response]]
_KINDS: dict[tuple[str, str, str], Kind] = {(kind.group, kind.version, kind.plural): kind for kind in KINDS.values()}
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)(ms|s|m|h))+")
_PLAIN = frozenset(("/healthz", "/livez", "/readyz"))
_VERSION = {"major": "1", "minor": "34", "gitVersion": "v1.34.0+local", "platform": "linux/local"}
_JSON = "application/json"


def path_of(path: str) -> ObjectPath:
    """What a URL path names.

    Raises:
        Refusal: 404 when it names nothing.

    >>> path_of("/apis/batch/v1/namespaces/team/jobs/x/status").subresource
    'status'
    """
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["api"] and len(parts) > 2:  # noqa: PLR2004  api, version, plural
        group, version, rest = "", parts[1], parts[2:]
    elif parts[:1] == ["apis"] and len(parts) > 3:  # noqa: PLR2004  apis, group, version, plural
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        raise refusal.no_such_path()
    namespace = None
    scoped = rest[0] == "namespaces" and len(rest) > 2 and (group, version, rest[2]) in _KINDS  # noqa: PLR2004
    if scoped:
        namespace, rest = rest[1], rest[2:]
    kind = _KINDS.get((group, version, rest[0]))
    if kind is None or len(rest) > 3 or (scoped and not kind.namespaced):  # noqa: PLR2004  plural, name, subresource
        raise refusal.no_such_path()
    name, subresource = (*rest[1:], None, None)[:2]
    if kind.namespaced and name is not None and namespace is None:
        raise refusal.no_such_path()
    return ObjectPath(kind=kind, namespace=namespace, name=name, subresource=subresource)


class Api:
    """The ASGI endpoint; `intercept` may inspect, delay, refuse or swallow any request (tests of faults)."""

    def __init__(self, *, storage: Storage, registry: Registry, lister: Lister, token: str, bookmark_s: float) -> None:
        self._storage = storage
        self._registry = registry
        self._lister = lister
        self._token = token
        self._bookmark_s = bookmark_s
        self.intercept: Interceptor | None = None

    async def answer(self, request: Request) -> Response:
        """Answer one request; what is refused becomes a Status object."""

        async def proceed() -> Response:
            try:
                return await self._serve(request)
            except refusal.Refusal as refused:
                return _respond(refused.body, refused.code)

        return await (self.intercept(request, proceed) if self.intercept else proceed())

    async def _serve(self, request: Request) -> Response:
        path = request.url.path
        if path in _PLAIN:
            return Response("ok", media_type="text/plain")
        expected = f"Bearer {self._token}"
        if not hmac.compare_digest(request.headers.get("authorization", "").encode(), expected.encode()):
            raise refusal.unauthorized()
        if path == "/version":
            return _respond(_VERSION)
        place = path_of(path)
        _timeout_s(request.query_params.get("timeout"))
        strict = request.query_params.get("fieldValidation") == "Strict"
        match request.method:
            case "GET" if place.name is not None:
                return _respond(self._registry.read(place))
            case "GET":
                return self._collection(place, request)
            case "POST" if place.name is None:
                body = _object(await _body(request, _JSON))
                return _respond(self._registry.create(place, body, strict=strict), 201)
            case "PUT" if place.name is not None:
                body = _object(await _body(request, _JSON))
                return _respond(self._put(place, body, strict=strict))
            case "PATCH" if place.name is not None:
                return _respond(await self._patch(place, request, strict=strict))
            case "DELETE" if place.name is not None and place.subresource is None:
                return _respond(self._delete(place, await _deletion(request)))
        raise refusal.method_not_allowed()

    def _collection(self, place: ObjectPath, request: Request) -> Response:
        self._registry.check_served(place.kind)
        given = request.query_params
        labels, fields = given.get("labelSelector"), given.get("fieldSelector")
        query = Query(
            kind=place.kind,
            namespace=place.namespace,
            chosen=selecting(labels, fields),
            selective=bool(labels or fields),
            limit=_number(given.get("limit"), "limit"),
            continue_token=given.get("continue", ""),
            resource_version=given.get("resourceVersion", ""),
            bookmarks=given.get("allowWatchBookmarks") in {"true", "1", "True"},
            timeout_s=float(_number(given.get("timeoutSeconds"), "timeoutSeconds") or 1800),
        )
        if given.get("watch") not in {"true", "1", "True"}:
            return _respond(self._lister.answer(query))
        watcher = Watcher(storage=self._storage, query=query, bookmark_s=self._bookmark_s)
        return StreamingResponse(watcher.lines(), media_type=_JSON)

    def _put(self, place: ObjectPath, body: Object, *, strict: bool) -> Object:
        creating = place.kind.name == "Lease" and place.subresource is None
        if creating and self._storage.get(place.kind, place.namespace, place.name or "") is None:
            at = ObjectPath(kind=place.kind, namespace=place.namespace)
            return self._registry.create(at, body, strict=strict)
        return self._registry.update(place, lambda _: body, strict=strict)

    async def _patch(self, place: ObjectPath, request: Request, *, strict: bool) -> Object:
        changes = await _body(request, "application/json-patch+json", "application/merge-patch+json")
        if request.headers["content-type"].startswith("application/json-patch+json"):
            return self._registry.update(
                place, lambda old: _object(patch.apply(old, changes)), strict=strict, patch=True
            )
        changes = _object(changes)
        return self._registry.update(place, lambda old: _object(patch.merge(old, changes)), strict=strict, patch=True)

    def _delete(self, place: ObjectPath, options: Deletion) -> Object:
        left, deleted = self._registry.delete(place, options)
        if not deleted or place.kind.name == "Namespace":
            return left
        details = {"name": place.name, "kind": place.kind.plural, "uid": left["metadata"]["uid"]}
        if place.kind.group:
            details["group"] = place.kind.group
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def _respond(obj: Any, code: int = 200) -> Response:
    return Response(orjson.dumps(obj), status_code=code, media_type=_JSON)


def _object(value: Any) -> Object:
    if not isinstance(value, dict):
        raise refusal.bad_request("couldn't get version/kind; json parse error: the body is not an object")
    return value


async def _body(request: Request, *types: str) -> Any:
    given = request.headers.get("content-type", "").partition(";")[0].strip()
    if given not in types:
        raise refusal.unsupported_media(given)
    return _parse(await request.body())


def _parse(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise refusal.bad_request(f"couldn't get version/kind; json parse error: {error}") from error


async def _deletion(request: Request) -> Deletion:
    raw = await request.body()
    options = _object(_parse(raw)) if raw else {}
    preconditions = options.get("preconditions") or {}
    propagation = options.get("propagationPolicy") or request.query_params.get("propagationPolicy")
    if propagation not in {None, "Background", "Foreground", "Orphan"}:
        raise refusal.bad_request(f'invalid propagationPolicy "{propagation}"')
    return Deletion(
        uid=preconditions.get("uid"),
        resource_version=preconditions.get("resourceVersion"),
        propagation=propagation,
    )


def _number(text: str | None, name: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()):
        raise refusal.bad_request(f"invalid value for query parameter {name}: {text}")
    return int(text)


def _timeout_s(text: str | None) -> None:
    if text and not _DURATION.fullmatch(text):
        raise refusal.bad_request(f'invalid timeout specified in the request URL: time: invalid duration "{text}"')
