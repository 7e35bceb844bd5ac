"""The client against servers that misbehave, on real sockets."""

import asyncio
import json

import aiohttp
import pytest

from git_events_runner.edges.kube.client import Client
from git_events_runner.edges.kube.connection import Connection, connect_to
from git_events_runner.edges.kube.secrets import Secrets
from git_events_runner.errors import (
    ApiAlreadyExists,
    ApiConflict,
    ApiForbidden,
    ApiGone,
    ApiInvalid,
    ApiNotFound,
    ApiTooManyRequests,
    ApiUnauthorized,
    ApiUnavailable,
    SecretUnusable,
)
from git_events_runner.resources.kinds import KINDS
from git_events_runner.resources.ref import Ref
from tests.edges.kube.scripted import Reply, Server, job, page, status
from tests.patience import timed

REF = Ref("Job", "n", "a")


def connected(server):
    return Client.connect_to(server.url, "hush")


async def watched(client, seen=None, *, timeout_s=60):
    """All events of one watch; those before an error are in `seen`."""
    seen = [] if seen is None else seen
    async with client.watch(KINDS["Job"], resource_version="5", timeout_s=timeout_s) as events:
        async for event in events:
            seen.append(event)
    return seen


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(status=409, body=status(409, "AlreadyExists")), ApiAlreadyExists),
        (Reply(status=409, body=status(409, "Conflict")), ApiConflict),
        (Reply(status=409, body=b"<html>"), ApiConflict),
        (Reply(status=400, body=status(400, "BadRequest")), ApiInvalid),
        (Reply(status=422, body=status(422, "Invalid")), ApiInvalid),
        (Reply(status=401, body=status(401, "Unauthorized")), ApiUnauthorized),
        (Reply(status=410, body=status(410, "Expired")), ApiGone),
        (Reply(status=500, body=status(500, "", "etcdserver: request timed out")), ApiUnavailable),
        (Reply(status=502, body=b"<html>bad gateway</html>"), ApiUnavailable),
        (Reply(status=503, body=b""), ApiUnavailable),
        (Reply(status=504, body=status(504, "Timeout")), ApiUnavailable),
        (Reply(status=200, body=b"<html>a login page</html>"), ApiUnavailable),
        (Reply(status=200, body=b"[1]"), ApiUnavailable),
    ],
)
async def test_every_refusal_has_its_class(reply, expected):
    """What a caller does next depends on it: 5xx and nonsense leave the outcome unknown."""
    async with Server(reply) as server, connected(server) as client:
        with pytest.raises(expected) as caught:
            await client.create(KINDS["Job"], job())
        assert type(caught.value) is expected
        assert "hush" not in str(caught.value)


@pytest.mark.parametrize("name", ["../../other/secrets/x", "..", ".", "", "%2e%2e", "a/b"])
async def test_a_name_that_leads_elsewhere_is_nowhere(name):
    """Names of Secrets are tenants' words: none may read what is in another namespace, or of another kind."""
    async with Server(Reply(body={"data": {"password": "aHVzaA=="}})) as server, connected(server) as client:
        for ref in (Ref("Secret", "team", name), Ref("Secret", name, "x")):
            with pytest.raises(ApiNotFound):
                await client.get(ref)
        with pytest.raises(SecretUnusable, match="does not exist"):
            await Secrets(reader=client, cache_s=60, clock=lambda: 0.0).get("team", name)
        assert server.asked == []
        await client.get(Ref("Secret", "team", "a?b#c"))
        assert "/api/v1/namespaces/team/secrets/a%3Fb%23c" in str(server.asked)


async def test_a_terminating_namespace_is_told_apart():
    """Nothing can be created in it ever again, so the run is dropped silently."""
    body = status(403, "Forbidden", causes=[{"reason": "NamespaceTerminating"}])
    async with Server(Reply(status=403, body=body)) as server, connected(server) as client:
        with pytest.raises(ApiForbidden) as caught:
            await client.create(KINDS["Job"], job())
    assert caught.value.namespace_terminating


@pytest.mark.parametrize(("header", "expected"), [("7", 7.0), ("", 1.0), ("soon", 1.0), ("99999", 60.0)])
async def test_429_says_when_to_come_back(header, expected):
    """Retry-After in seconds, a minute at most; anything else is a second."""
    reply = Reply(status=429, body=status(429), headers={"Retry-After": header} if header else {})
    async with Server(reply) as server, connected(server) as client:
        with pytest.raises(ApiTooManyRequests) as caught:
            await client.get(REF)
    assert caught.value.retry_after_s == expected


async def test_a_write_carries_its_deadline_and_asks_for_strictness():
    """The server gives up in time too, and refuses fields that it would drop."""
    async with Server(Reply(body=job())) as server, connected(server) as client:
        await client.create(KINDS["Job"], job(), timeout_s=5.0, strict=True)
        await client.delete(REF, uid="u1", resource_version="3", timeout_s=2.5)
        await client.patch(REF, [], timeout_s=0.3)
    made, deleted, patched = server.asked
    assert made.query == {"timeout": "5s", "fieldValidation": "Strict"}
    assert deleted.query == {"timeout": "2s"}
    assert json.loads(deleted.body)["preconditions"] == {"uid": "u1", "resourceVersion": "3"}
    assert json.loads(deleted.body)["propagationPolicy"] == "Background"
    assert patched.query == {"timeout": "1s"}


async def test_silence_ends_at_the_deadline():
    """A server that takes the request and says nothing: the outcome is unknown, soon."""
    async with Server(None) as server, connected(server) as client:
        with timed() as watch, pytest.raises(ApiUnavailable, match="no answer"):
            await client.get(REF, timeout_s=0.1)
        assert watch.fair_s < 2


async def test_nobody_listens():
    """A refused connection is the API server being away."""
    async with Server(Reply()) as server:
        url = server.url
    async with Client.connect_to(url, "x") as client:
        with pytest.raises(ApiUnavailable):
            await client.get(REF)


async def test_a_log_that_is_cut_is_an_error_of_the_api():
    """A kubelet that is stopped in the middle: callers handle that as they handle any other missing answer."""
    async with (
        Server(Reply(lines=(b"one\n",), ending="cut")) as server,
        connected(server) as client,
        client.log("team", "build-x", "worker", follow=False) as pieces,
    ):
        assert await anext(pieces) == b"one\n"
        with pytest.raises(ApiUnavailable, match="reading the log of pod team/build-x"):
            await anext(pieces)


async def test_a_line_cut_in_the_middle_is_dropped():
    """Whole events are given, the rest of the stream is an error after which the watch goes on from the last one."""
    lines = ({"type": "ADDED", "object": job()}, b'{"type":"MODIFIED","obj')
    async with Server(Reply(lines=lines, ending="cut")) as server, connected(server) as client:
        seen = []
        with pytest.raises(ApiUnavailable):
            await watched(client, seen)
        assert [event["type"] for event in seen] == ["ADDED"]
    async with Server(Reply(lines=lines)) as server, connected(server) as client:
        assert [event["type"] for event in await watched(client)] == ["ADDED"]


@pytest.mark.parametrize("line", [b"<html>\n", b"5\n", b'{"type":\n'])
async def test_nonsense_in_a_stream_is_the_server_being_away(line):
    """A proxy's page is no event, and ends nothing but the stream."""
    async with Server(Reply(lines=(line,))) as server, connected(server) as client:
        with pytest.raises(ApiUnavailable):
            await watched(client)


async def test_a_half_open_stream_is_noticed():
    """A stream on which nothing comes any more ends a grace after the server's own time-out (here: at once)."""
    lines = ({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}},)
    async with Server(Reply(lines=lines, ending="silence")) as server, connect_to(server.url, "x") as connection:
        client = Client(connection, watch_grace_s=0)
        with pytest.raises(ApiUnavailable):
            await watched(client, timeout_s=1)
    assert server.asked[0].query["timeoutSeconds"] == "1"
    assert server.asked[0].query["allowWatchBookmarks"] == "true"


async def test_a_watch_may_be_refused():
    """410 and 429 have their classes before any event."""
    gone, busy = Reply(status=410, body=status(410)), Reply(status=429, body=status(429), headers={"Retry-After": "3"})
    async with Server(gone, busy) as server, connected(server) as client:
        with pytest.raises(ApiGone):
            await watched(client)
        with pytest.raises(ApiTooManyRequests) as caught:
            await watched(client)
    assert caught.value.retry_after_s == 3


async def test_lists_come_in_pages():
    """Each page's token asks for the next; items get their kind, which lists leave out."""
    bare = {key: value for key, value in job("b").items() if key not in {"kind", "apiVersion"}}
    answers = Reply(body=page(job("a"), token="t1")), Reply(body=page(bare))
    async with Server(*answers) as server, connected(server) as client:
        found = [item async for item in client.list(KINDS["Job"], limit=1)]
    assert [(item["kind"], item["metadata"]["name"]) for item in found] == [("Job", "a"), ("Job", "b")]
    assert [asked.query.get("continue") for asked in server.asked] == [None, "t1"]


async def test_a_refused_token_is_read_anew_once():
    """401 means that nothing was done: the same request goes again with the token of now, and only once."""
    renewed = []

    async def authorization():
        return f"Bearer t{len(renewed)}"

    async def renew():
        renewed.append(1)
        return True

    refusal = Reply(status=401, body=status(401))
    async with Server(refusal, Reply(body=job()), refusal) as server, aiohttp.ClientSession() as session:
        client = Client(Connection(url=server.url, session=session, authorization=authorization, renew=renew))
        assert (await client.get(REF))["metadata"]["name"] == "a"
        assert [asked.headers["authorization"] for asked in server.asked] == ["Bearer t0", "Bearer t1"]
        with pytest.raises(ApiUnauthorized):
            await client.get(REF)
    assert len(server.asked) == 4


async def test_a_dry_run_and_the_time_of_the_last_write():
    """The query says so; reads, refusals and pages of a proxy are no writes."""
    replies = (Reply(body={}), Reply(status=403, body=status(403, "Forbidden")), Reply(body=b"<html>"), Reply(body={}))
    async with Server(*replies) as server, connected(server) as client:
        await client.get(REF)
        for _ in range(2):
            with pytest.raises((ApiForbidden, ApiUnavailable)):
                await client.replace(KINDS["Job"], job())
        assert client.written_at == float("-inf")
        await client.replace(KINDS["Job"], job(), dry_run=True)
        assert client.written_at <= asyncio.get_running_loop().time()
        assert server.asked[-1].query == {"dryRun": "All"}
