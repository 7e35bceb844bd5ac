"""Streams of watches on which nothing comes any more."""

import asyncio
import socket
from contextlib import asynccontextmanager

import aiohttp
import pytest

from git_events_runner.edges.kube.client import Client
from git_events_runner.edges.kube.informer import QUIET_S, Informer
from git_events_runner.edges.kube.page import Page
from git_events_runner.edges.kube.store import Store, StoreWriter
from git_events_runner.edges.kube.streams import keep_alive
from git_events_runner.errors import ApiUnavailable
from git_events_runner.resources.kinds import KINDS
from git_events_runner.resources.ref import Ref
from git_events_runner.serving import running
from tests.edges.kube.scripted import Reply, Server
from tests.flow.virtual import virtual

BOOKMARK = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}}


class Watched:
    """An API server whose streams have a bookmark each minute, or none, until it is `dead`: then nothing comes."""

    def __init__(self, *, bookmarks):
        self.bookmarks, self.dead, self.opened = bookmarks, False, []

    async def list_page(self, kind, **_):
        return Page(items=[], resource_version="7", continue_token=None)

    @asynccontextmanager
    async def watch(self, kind, *, timeout_s, quiet_s, **_):
        loop = asyncio.get_running_loop()
        self.opened.append(loop.time())
        deadline = loop.time() + timeout_s

        async def events():
            silent = self.dead or not self.bookmarks
            while not silent and loop.time() + 60 < deadline:
                await asyncio.sleep(60)
                if self.dead:
                    break
                yield BOOKMARK
            if self.dead:
                await asyncio.sleep(min(quiet_s or 1e9, timeout_s + 30))
                raise ApiUnavailable("Timeout on reading data from socket")
            await asyncio.sleep(deadline - loop.time())

        yield events()


@asynccontextmanager
async def informed(server, store=None):
    informer = Informer(
        client=server,
        kind=KINDS["Job"],
        writer=StoreWriter(store or Store(), "Job"),
        failed=lambda _kind, _error: None,
        absent=lambda: False,
    )
    async with running(informer=informer.run()):
        yield


@virtual
async def test_a_stream_without_bookmarks_is_left_when_others_had_them():
    """Three missed ones are enough: the store is three minutes old at most, not ten."""
    server = Watched(bookmarks=True)
    async with informed(server):
        await asyncio.sleep(1500)
        server.dead = True
        await asyncio.sleep(QUIET_S + 62)
        assert 1500 < server.opened[-1] <= 1500 + QUIET_S + 61


@virtual
async def test_a_bookmark_shows_that_the_watch_has_come_to_what_it_does_not_select():
    """A Job that was created without the labels of its selector has no event: it would wait for its group for ever."""
    job = {
        "kind": "Job",
        "metadata": {"name": "a", "namespace": "team", "uid": "a", "resourceVersion": "9"},
        "spec": {"suspend": True, "template": {"spec": {"containers": []}}},
    }
    store = Store()
    async with informed(Watched(bookmarks=True), store):
        await asyncio.sleep(1)
        store.observe(job)
        held = store.get(Ref("Job", "team", "a"))
        assert not store.is_shown(held)
        await asyncio.sleep(60)
        assert store.is_shown(held)


@virtual
async def test_a_quiet_stream_of_a_server_without_bookmarks_lasts():
    """It is not begun again every few minutes for nothing."""
    server = Watched(bookmarks=False)
    async with informed(server):
        await asyncio.sleep(36000)
    assert len(server.opened) <= 36000 / 300 + 1


@virtual
async def test_a_server_that_stops_to_send_bookmarks_is_left_once():
    """Then its streams last as long as they are asked for."""
    server = Watched(bookmarks=True)
    async with informed(server):
        await asyncio.sleep(1500)
        server.bookmarks, before = False, len(server.opened)
        await asyncio.sleep(36000)
    assert len(server.opened) - before <= 36000 / 300 + 2


async def test_the_system_asks_whether_the_other_end_is_there():
    """Within a minute: who only reads learns it in no other way."""
    silent = Reply(lines=(BOOKMARK,), ending="silence")
    async with Server(silent) as server, aiohttp.ClientSession() as session, session.get(server.url) as response:
        sock = response.connection.transport.get_extra_info("socket")
        keep_alive(response)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        idle_s, every_s, times = (sock.getsockopt(socket.IPPROTO_TCP, option) for option in options)
        assert idle_s + every_s * times <= 60


async def test_a_stream_ends_when_it_is_quiet_for_too_long():
    """Long before its own time-out."""
    silent = Reply(lines=(BOOKMARK,), ending="silence")
    async with (
        Server(silent) as server,
        Client.connect_to(server.url, "hush") as client,
        client.watch(KINDS["Job"], resource_version="5", timeout_s=300, quiet_s=0.2) as events,
    ):
        assert await anext(events) == BOOKMARK
        with pytest.raises(ApiUnavailable):
            await anext(events)
