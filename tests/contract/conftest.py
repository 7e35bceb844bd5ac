"""Every contract test runs twice: against the in-process API server and against a real kube-apiserver."""

import asyncio
import base64
import os
import ssl
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from git_events_runner.edges.kube.client import Client
from git_events_runner.edges.kube.connection import Connection
from git_events_runner.errors import ApiAlreadyExists, ApiNotFound
from git_events_runner.local.apiserver import serving
from git_events_runner.resources.crds import crds
from git_events_runner.resources.kinds import KINDS
from git_events_runner.resources.ref import Ref

KUBECONFIG = "GIT_EVENTS_RUNNER_TEST_KUBECONFIG"
_CONTEXT_PREFIX = "git-events-runner-test"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A server under test: a client of it, a namespace of the test's own, and whether it is the real one."""

    client: Client
    namespace: str
    real: bool

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
            yield await _with_namespace(client, real=False)
    else:
        async with connected(kubeconfig) as client:
            server = kubeconfig["clusters"][0]["cluster"]["server"]
            if server not in installed:
                await _install(client)
                installed.add(server)
            found = await _with_namespace(client, real=True)
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
    """Gives one token for ever."""

    token: str

    async def __call__(self) -> str:
        return f"Bearer {self.token}"


async def _with_namespace(client: Client, *, real: bool) -> World:
    name = f"contract-{uuid.uuid4().hex[:8]}"
    await client.create(KINDS["Namespace"], {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return World(client=client, namespace=name, real=real)


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
