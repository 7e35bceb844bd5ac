"""An informer on the real API server through a proxy: streams on which nothing comes any more."""

import asyncio
import ssl

import aiohttp

from git_events_runner.edges.kube.client import Client
from git_events_runner.edges.kube.connection import Connection
from git_events_runner.edges.kube.informer import Informer
from git_events_runner.edges.kube.store import Store, StoreWriter
from git_events_runner.resources.kinds import KINDS
from git_events_runner.resources.ref import Ref
from git_events_runner.serving import running
from tests.servers.apiproxy import ApiProxy


async def test_a_frozen_watch_is_noticed_and_begun_again(control_plane, api, namespace):
    """No reset, no end, just silence: noticed a grace after the server's own time-out, then nothing was missed."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}
    await asyncio.to_thread(api.post, path, body | {"data": {"a": "1"}})
    ref, store, failed = Ref("ConfigMap", namespace, "x"), Store(), []

    async def authorization():
        return f"Bearer {control_plane.admin_token}"

    async def until(condition):
        async with asyncio.timeout(15):
            while not condition():  # noqa: ASYNC110  the condition is in a store
                await asyncio.sleep(0.02)

    trusted = ssl.create_default_context(cafile=str(control_plane.authority.path))
    with ApiProxy(control_plane) as proxy:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusted)) as session:
            connection = Connection(url=proxy.url, session=session, authorization=authorization)
            informer = Informer(
                client=Client(connection, watch_grace_s=1.0),
                kind=KINDS["ConfigMap"],
                writer=StoreWriter(store, "ConfigMap", namespace=namespace),
                namespace=namespace,
                failed=lambda _kind, error: failed.append(str(error)),
                absent=lambda: False,
                watch_s=(1, 1),
            )
            frozen = proxy.rule("GET", "watch=true", "freeze", times=2)
            async with running(informer=informer.run()):
                await until(lambda: store.get(ref) and frozen.hits)
                await asyncio.to_thread(api.patch, f"{path}/x", {"data": {"a": "2"}})
                await until(lambda: store.get(ref).raw["data"]["a"] == "2")
            assert frozen.hits == 2
            assert failed
            lists = [exchange for exchange in proxy.log if exchange.lists]
            assert len(lists) == 1
