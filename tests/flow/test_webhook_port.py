"""The webhook port of the whole program on the API server in memory, while the program is not ready."""

import asyncio
import copy
import http.client
import socket

import pytest
import yaml

from git_events_runner.app import controller
from git_events_runner.edges.kube.client import Client
from git_events_runner.local.apiserver.server import serving
from git_events_runner.resources.crds import crds
from git_events_runner.settings import Settings


def free_port():
    """A port that nothing listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def outdated():
    """The CRDs of 0.4: without the ledger's fields."""
    found = copy.deepcopy(crds())
    for one in found:
        for version in one["spec"]["versions"]:
            version["schema"]["openAPIV3Schema"]["properties"].pop("status", None)
    return found


def post(port):
    """Status and `Retry-After` of a webhook request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("POST", "/ns/open")
        answer = connection.getresponse()
        return answer.status, answer.getheader("Retry-After")
    finally:
        connection.close()


@pytest.fixture
def kubeconfig(tmp_path):
    """Where the kubeconfig of a server is written to."""
    return tmp_path / "kubeconfig"


async def test_a_webhook_while_the_crds_are_outdated_gets_503(kubeconfig):
    """The sender is answered and not left waiting: nothing is promised, it may come again."""
    async with serving(definitions=outdated()) as api:
        kubeconfig.write_text(yaml.safe_dump(api.kubeconfig()))
        port = free_port()
        given = {"webhooks_port": str(port), "utility_port": str(free_port()), "host": "127.0.0.1"}
        settings = Settings.of(given, {"KUBECONFIG": str(kubeconfig)})

        async def run():
            async with Client.connect(settings.kubeconfig) as client, controller(settings, client):
                raise AssertionError("it must not become ready")

        running = asyncio.create_task(run())
        try:
            async with asyncio.timeout(20):
                while True:
                    try:
                        assert await asyncio.to_thread(post, port) == (503, "2")
                        break
                    except ConnectionRefusedError:
                        await asyncio.sleep(0.05)
        finally:
            running.cancel()
            await asyncio.wait({running})
