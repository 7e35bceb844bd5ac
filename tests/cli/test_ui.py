"""`ui`: the status page on loopback, with the caller's kubeconfig and rights."""

import asyncio
import contextlib
import signal
import sys

import aiohttp
from starlette.responses import JSONResponse

from tests.cli.conftest import run
from tests.cli.controllers import working

_PATIENCE_S = 60


@contextlib.asynccontextmanager
async def opened(cluster, *words):
    """The program as a process, its page's address, and its process."""
    command = [sys.executable, "-m", "git_events_runner", "ui", "--port", "0", "--kubeconfig", str(cluster.kubeconfig)]
    process = await asyncio.create_subprocess_exec(*command, *words, stdout=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(_PATIENCE_S):
            line = (await process.stdout.readline()).decode()
        yield line.rsplit(" ", 1)[1].strip(), process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_the_page_follows_the_cluster_and_a_view_costs_no_request(cluster):
    """What is created appears; 120 views, more than a controller allows, send no request; Ctrl-C ends with 0."""
    await cluster.world()
    await cluster.trigger("nightly")
    async with opened(cluster) as (url, process), aiohttp.ClientSession() as session:

        async def text(path=""):
            async with session.get(url + path) as response:
                assert response.status == 200
                return await response.text()

        assert "nightly" in await text("triggers")
        assert "known to the controller" in await text("triggers/ScheduleTrigger/default/nightly")
        before = cluster.requests
        for _ in range(20):
            for path in ("", "triggers", "runs", "queue", "hosts", "triggers/ScheduleTrigger/default/nightly?yaml=1"):
                await text(path)
        assert cluster.requests == before
        async with session.get(f"{url}events") as events:
            await events.content.readuntil(b"\n\n")
            await cluster.trigger("hourly")
            async with asyncio.timeout(_PATIENCE_S):
                assert (await events.content.readuntil(b"\n\n")).startswith(b"event: changed")
            assert "hourly" in await text("triggers")
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0


async def test_a_view_of_the_controllers_page_costs_no_request(cluster):
    """Among 120 views there are rounds without any request but those for the lease."""
    await cluster.world()
    await cluster.trigger("nightly", suspend=True)
    requests = 0

    async def count(request, proceed):
        nonlocal requests
        requests += "/leases/" not in request.url.path
        return await proceed()

    cluster.server.intercept = count
    async with working(cluster, ui=True) as at, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{at.utility_port}/ui/"

        async def view(path="", words=""):
            """A page with these words; a flood of views is refused for a moment."""
            async with asyncio.timeout(_PATIENCE_S):
                while True:
                    async with session.get(url + path) as response:
                        if words in await response.text() and response.status == 200:
                            return
                    await asyncio.sleep(0.3)

        await view("triggers", "nightly")
        rounds = []
        for _ in range(20):  # what the controller does by itself falls into some of them
            before = requests
            for path in ("", "triggers", "runs", "queue", "hosts", "triggers/ScheduleTrigger/default/nightly?yaml=1"):
                await view(path)
            rounds.append(requests - before)
    assert min(rounds) == 0, rounds


async def test_a_page_of_another_site_is_refused(cluster):
    """A request that names another host (DNS rebinding) gets nothing, and there is nothing but the page."""
    async with opened(cluster, "-n", "default") as (url, _), aiohttp.ClientSession() as session:
        async with session.get(url, headers={"Host": "evil.example"}) as response:
            assert response.status == 421
        async with session.get(url.replace("/ui/", "/metrics")) as response:
            assert response.status == 404
        async with session.get(url.replace("/ui/", "/")) as response:
            assert (response.status, response.url.path) == (200, "/ui/")


async def test_without_the_right_to_list_triggers_it_ends_with_3(cluster):
    """The message names what is not allowed; without the right to list cluster sources the page has a note."""

    async def forbid(request, proceed):
        if any(plural in request.url.path for plural in refused):
            return JSONResponse(
                {"kind": "Status", "code": 403, "message": "no", "reason": "Forbidden"}, status_code=403
            )
        return await proceed()

    cluster.server.intercept, refused = forbid, ("scheduletriggers",)
    ended = await cluster.run("ui", "--port", "0")
    assert ended.code == 3
    assert "scheduletriggers" in ended.err
    refused = ("clustergitrepos",)
    async with opened(cluster) as (url, _), aiohttp.ClientSession() as session, session.get(url) as response:
        assert "You may not list clustergitrepos" in await response.text()


def test_a_wrong_port_is_refused():
    """In one line, exit code 2."""
    ended = run("ui", "--port", "70000")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
