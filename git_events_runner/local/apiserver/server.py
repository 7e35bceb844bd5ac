"""The in-process API server: what this program needs of Kubernetes, on loopback, behind a token of its own.

    async with serving() as api:
        ...  # api.url, api.token, api.kubeconfig()

It follows the real one where the controller depends on it; `tests/contract` runs the same tests against both.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Route

from git_events_runner import serving as http
from git_events_runner.local import shapes
from git_events_runner.resources.crds import crds
from git_events_runner.resources.kinds import KINDS
from git_events_runner.resources.ref import Ref
from git_events_runner.serving import running

from .collector import Collector
from .registry import ObjectPath, Registry
from .routes import Api, Interceptor
from .storage import Storage
from .watch import Lister

_MERGED = ("labels", "annotations")
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


class ApiServer:
    """A running server; made by `serving`."""

    def __init__(self, *, url: str, token: str, storage: Storage, registry: Registry, lister: Lister, api: Api) -> None:
        self.url = url
        self.token = token
        self.storage = storage
        self._registry = registry
        self._lister = lister
        self._api = api

    @property
    def intercept(self) -> Interceptor | None:
        """What gets every request first; None if there is none."""
        return self._api.intercept

    @intercept.setter
    def intercept(self, interceptor: Interceptor | None) -> None:
        self._api.intercept = interceptor

    def create(self, obj: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object without a request, as this program's own; what is stored.

        Raises:
            Refusal: as the POST would answer.
        """
        kind = KINDS[obj["kind"]]
        namespace = (obj.get("metadata") or {}).get("namespace") or ("default" if kind.namespaced else None)
        return self._registry.create(ObjectPath(kind=kind, namespace=namespace), dict(obj), strict=True)

    def restore(self, obj: Mapping[str, Any]) -> None:
        """Store an object of an earlier start with its identity and status.

        Raises:
            Refusal: It is not valid.
        """
        self._registry.restore(KINDS[obj["kind"]], dict(obj))

    def merge(self, obj: Mapping[str, Any]) -> None:
        """Put labels and annotations of an object on the stored one of its name, as `kubectl apply` does.

        Raises:
            Refusal: as the PATCH would answer.
        """
        kind, given = KINDS[obj["kind"]], obj["metadata"]
        shapes.check(kind, obj, strict=True)

        def revise(old: dict[str, Any]) -> dict[str, Any]:
            merged = {name: {**(old["metadata"].get(name) or {}), **(given.get(name) or {})} for name in _MERGED}
            return {**old, "metadata": {**old["metadata"], **merged}}

        self._registry.update(ObjectPath(kind=kind, name=given["name"]), revise, strict=True)

    def replace_spec(self, ref: Ref, fields: Mapping[str, Any]) -> None:
        """Replace fields of a stored object's spec.

        Raises:
            Refusal: as the PUT would answer.
        """
        place = ObjectPath(kind=KINDS[ref.kind], namespace=ref.namespace, name=ref.name)
        self._registry.update(place, lambda old: {**old, "spec": {**old["spec"], **fields}}, strict=True)

    def forget_history(self) -> None:
        """Let every watch and every continue token from before now be too old."""
        for kind in KINDS.values():
            self.storage.log(kind).forget()
            self.storage.log(kind).wake()
        self._lister.forget()

    def kubeconfig(self) -> dict[str, Any]:
        """A kubeconfig for this server, to be written as YAML or JSON."""
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "local",
            "clusters": [{"name": "local", "cluster": {"server": self.url}}],
            "users": [{"name": "local", "user": {"token": self.token}}],
            "contexts": [{"name": "local", "context": {"cluster": "local", "user": "local", "namespace": "default"}}],
        }


@contextlib.asynccontextmanager
async def serving(
    *,
    definitions: Sequence[Mapping[str, Any]] | None = None,
    port: int = 0,
    path: Path | None = None,
    history: int = 2000,
    bookmark_s: float = 60.0,
    collect_after_s: float = 0.05,
) -> AsyncIterator[ApiServer]:
    """A started server with this program's CRDs and the namespaces `default` and `kube-system`; stopped on leaving.

    `definitions` are other CRDs to begin with.
    `port` 0 takes a free one; with a `path` a Unix socket there is listened on instead; `history` is the number of
    changes of a kind that watches can request; `bookmark_s` is the time between bookmarks; objects without owners go
    after `collect_after_s` seconds.
    """
    storage = Storage(history=history)
    registry = Registry(storage=storage, now=lambda: datetime.now(UTC))
    lister = Lister(storage)
    token = secrets.token_urlsafe(24)
    api = Api(storage=storage, registry=registry, lister=lister, token=token, bookmark_s=bookmark_s)
    with _listener(port, path) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}" if path is None else "http://localhost"
        server = ApiServer(url=url, token=token, storage=storage, registry=registry, lister=lister, api=api)
        for name in ("default", "kube-system"):
            server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        for definition in crds() if definitions is None else definitions:
            server.create(definition)
        app = Starlette(routes=[Route("/{path:path}", api.answer, methods=_METHODS)])
        collector = Collector(storage=storage, registry=registry, delay_s=collect_after_s)
        async with running(collector=collector.run()), http.serving(app, listener, drain_s=1):
            try:
                yield server
            finally:
                for kind in KINDS.values():
                    storage.log(kind).close()


def _listener(port: int, path: Path | None) -> socket.socket:
    """A listening socket, at a path or on loopback; then its protocol is named: asyncio sets TCP_NODELAY only so."""
    if path is not None:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        listener.listen(512)
        return listener
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(512)
    return listener
