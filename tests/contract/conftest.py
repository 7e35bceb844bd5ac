"""Every contract test runs twice: against the in-process API server and against a real kube-apiserver."""

import asyncio
import base64
import os
import ssl
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from git_events_runner.edges.kube.client import Client
from git_events_runner.edges.kube.connection import Connection
from git_events_runner.errors import ApiAlreadyExists, ApiNotFound
from git_events_runner.local.apiserver.refusal import Refusal
from git_events_runner.local.apiserver.routes import Answer, Interceptor
from git_events_runner.local.apiserver.server import ApiServer, serving
from git_events_runner.resources.crds import crds
from git_events_runner.resources.kinds import KINDS
from git_events_runner.resources.ref import Ref

KUBECONFIG = "GIT_EVENTS_RUNNER_TEST_KUBECONFIG"
_CONTEXT_PREFIX = "git-events-runner-test"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A server under test: a client of it, a namespace of the test's own, and the server where it is in the process."""

    client: Client
    namespace: str
    real: bool
    server: ApiServer | None = None

    def ref(self, kind: str, name: str) -> Ref:
        return Ref(kind, self.namespace if KINDS[kind].namespaced else None, name)

    async def create(self, obj: dict[str, Any], *, strict: bool = True) -> dict[str, Any]:
        kind = KINDS[obj["kind"]]
        metadata = {"name": "x", **obj.get("metadata", {})}
        if kind.namespaced:
            metadata["namespace"] = self.namespace
        return await self.client.create(
            kind, {"apiVersion": kind.api_version, **obj, "metadata": metadata}, strict=strict
        )

    def forget(self) -> None:
        """Let the server know no version from before now; the real one never knew those from before its start."""
        if self.server is not None:
            self.server.forget_history()

    def stranger(self) -> Client:
        """A client without a role. The in-process server knows no roles: its refusal is put there."""
        if self.server is not None:
            told = 'User "system:anonymous" cannot get resource "secrets" in API group "" in the namespace'
            self.server.intercept = refusing(f'secrets "x" is forbidden: {told} "{self.namespace}"')
        return Client(replace(self.client._connection, authorization=Bearer(None)))

    async def limit_jobs(self) -> None:
        """A quota that allows no Job. The in-process server knows no quotas: its refusal is put there."""
        if self.server is not None:
            used = "requested: count/jobs.batch=1, used: count/jobs.batch=0, limited: count/jobs.batch=0"
            told = f'jobs.batch "x" is forbidden: exceeded quota: none, {used}'
            self.server.intercept = refusing(told, method="POST")
            return
        connection = self.client._connection
        url = f"{connection.url}/api/v1/namespaces/{self.namespace}/resourcequotas"
        headers = {"Authorization": str(await connection.authorization())}
        body = {"metadata": {"name": "none"}, "spec": {"hard": {"count/jobs.batch": "0"}}}
        async with connection.session.post(url, json=body, headers=headers) as made:
            assert made.status == 201
        async with asyncio.timeout(30):
            while True:
                async with connection.session.get(f"{url}/none", headers=headers) as answer:
                    if ((await answer.json()).get("status") or {}).get("hard"):
                        return
                await asyncio.sleep(0.1)


def refusing(message: str, *, method: str = "GET") -> Interceptor:
    """Answers every request of a method with 403, in the words of a real server."""

    async def intercept(request: Request, proceed: Answer) -> Response:
        if request.method != method:
            return await proceed()
        return JSONResponse(Refusal(403, "Forbidden", message).body, status_code=403)

    return intercept


@pytest.fixture(params=["in-process", "kube-apiserver"])
def kubeconfig(request: pytest.FixtureRequest) -> dict[str, Any] | None:
    """How to reach the real server; None for the in-process one."""
    if request.param == "in-process":
        return None
    if KUBECONFIG in os.environ:
        return _throw_away(_read(os.environ[KUBECONFIG]))
    try:
        plane = request.getfixturevalue("control_plane")
    except pytest.FixtureLookupError:
        pytest.skip("no real control plane: the fixture control_plane of tests/cluster is not there")
    return _read(plane.kubeconfig(plane.admin_token))


@pytest.fixture(scope="session")
def installed() -> set[str]:
    """The real servers that have our CRDs already."""
    return set()


def _throw_away(config: dict[str, Any]) -> dict[str, Any]:
    """Tests install CRDs and delete namespaces: a cluster has to be named for that."""
    name = str(config.get("current-context"))
    assert name.startswith(_CONTEXT_PREFIX), f"{KUBECONFIG}: context {name} must start with {_CONTEXT_PREFIX}"
    return config


def _read(path: str | Path) -> dict[str, Any]:
    return dict(yaml.safe_load(Path(path).read_text()))


@pytest.fixture
async def world(kubeconfig: dict[str, Any] | None, installed: set[str]) -> AsyncIterator[World]:
    """A server with our CRDs and a fresh namespace, and a client connected to it."""
    if kubeconfig is None:
        async with serving(bookmark_s=0.2) as api, connected(api.kubeconfig()) as client:
            yield await _with_namespace(client, api)
    else:
        async with connected(kubeconfig) as client:
            server = kubeconfig["clusters"][0]["cluster"]["server"]
            if server not in installed:
                await _install(client)
                installed.add(server)
            found = await _with_namespace(client, None)
            yield found
            await client.delete(Ref("Namespace", None, found.namespace))


@asynccontextmanager
async def connected(config: dict[str, Any]) -> AsyncIterator[Client]:
    """A client by the token and the CA (a file, or inline) of a kubeconfig with one context."""
    cluster, token = config["clusters"][0]["cluster"], config["users"][0]["user"]["token"]
    inline = base64.b64decode(cluster.get("certificate-authority-data", "")).decode() or None
    tls = ssl.create_default_context(cafile=cluster.get("certificate-authority"), cadata=inline)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session:
        yield Client(Connection(url=cluster["server"], session=session, authorization=Bearer(token)))


@dataclass(frozen=True, slots=True)
class Bearer:
    """Gives one token for ever; None gives none."""

    token: str | None

    async def __call__(self) -> str | None:
        return f"Bearer {self.token}" if self.token else None


async def _with_namespace(client: Client, server: ApiServer | None) -> World:
    name = f"contract-{uuid.uuid4().hex[:8]}"
    await client.create(KINDS["Namespace"], {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return World(client=client, namespace=name, real=server is None, server=server)


async def _install(client: Client) -> None:
    for definition in crds():
        kind = KINDS["CustomResourceDefinition"]
        try:
            await client.create(kind, definition)
        except ApiAlreadyExists:
            await client.patch(Ref(kind.name, None, definition["metadata"]["name"]), {"spec": definition["spec"]})
        async with asyncio.timeout(30):
            while not await _served(client, definition):  # noqa: ASYNC110  discovery has no event
                await asyncio.sleep(0.1)


async def _served(client: Client, definition: dict[str, Any]) -> bool:
    kind = KINDS[definition["spec"]["names"]["kind"]]
    found = await client.get(Ref("CustomResourceDefinition", None, definition["metadata"]["name"]))
    conditions = (found.get("status") or {}).get("conditions") or ()
    if not any(one["type"] == "Established" and one["status"] == "True" for one in conditions):
        return False
    try:
        await client.list_page(kind)
    except ApiNotFound:  # a kind just installed answers so for a moment
        return False
    return True
