"""The bounds of the webhook port, through real sockets: sizes, times, connections, paths, rates, whatever bytes."""

import asyncio
import contextlib
import gzip
import ipaddress
import resource
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from git_events_runner.errors import ApiUnavailable
from git_events_runner.rules.rate_limit import Rate
from tests.flow.hooks import KINDS, served, trigger
from tests.forges import deliveries as d
from tests.patience import timed

_FILES = 4096


async def test_the_codes_and_their_order():
    """Trigger before secret, secret before source, source before the payload; the same words for whoever is refused."""
    async with served() as port:
        good = d.github()
        assert await port.post("/ns/github", good) == 202
        assert await port.post("/ns/none/app", ({}, b"")) == 404
        assert await port.post("/ns/github/none", ({}, b"")) == 401
        assert await port.post("/ns/github/none", d.github(secret="wrong")) == 403
        assert await port.post("/ns/github/none", d.github()) == 404
        assert await port.post("/ns/single", ({}, b"")) == 400
        assert await port.post("/ns/single/app", ({}, b"")) == 202
        assert await port.post("/ns/broken", d.github()) == 500
        assert await port.post("/ns/github", d.github(), method="PUT") == 405
        headers, _ = d.github()
        assert await port.post("/ns/github", (headers, b"not json")) == 403
        bad = b"{not json"
        proven = headers | {"X-Hub-Signature-256": f"sha256={d.digest(d.SECRET, bad)}"}
        assert await port.post("/ns/github", (proven, bad)) == 400
        assert await port.post("/ns/github", (proven | {"Content-Type": "text/plain"}, bad)) == 415
        assert await port.post("/ns/open", ({}, bad)) == 202
        assert await port.post("/ns/header", d.plain(b"whatever")) == 202
        one = await port.raw(b"POST /ns/none HTTP/1.0\r\n\r\n")
        assert one == await port.raw(b"POST /elsewhere/open HTTP/1.0\r\n\r\n")


async def test_what_an_answer_says():
    """202 keeps the message of 0.4 and adds what was done; 405 names the method; a slash at the end changes nothing."""
    async with served() as port:
        accepted = await port.raw(b"POST /ns/open/ HTTP/1.0\r\n\r\n")
        assert b'"message":"job has been scheduled"' in accepted
        assert b'"detail":"recorded; its sources will be checked' in accepted
        assert b"\r\nallow: POST\r\n" in await port.raw(b"GET /ns/open HTTP/1.0\r\n\r\n")
        task = b"/ns/open/tasks/00000000-0000-4000-8000-000000000000"
        assert b"\r\nallow: GET\r\n" in await port.raw(b"PUT " + task + b" HTTP/1.0\r\n\r\n")


async def test_an_answer_for_a_suspended_trigger_promises_no_check():
    """202, since the delivery is recorded; no word of a check that will be made."""
    async with served() as port:
        held = trigger("held")
        held["spec"]["suspend"] = True
        port.store.observe(held)
        told = await port.raw(b"POST /ns/held HTTP/1.0\r\n\r\n")
        assert b" 202 " in told
        assert b'"message":"recorded; the trigger is suspended, its sources are checked when it is resumed"' in told
        assert b"detail" not in told


async def test_a_connection_test_proves_nothing_and_needs_nothing():
    """Bitbucket Data Center's unsigned ping: 200 for its trigger, no Secret read, nothing counted; else as always."""
    ping = ({"X-Event-Key": "diagnostics:ping", "Content-Type": "application/json"}, b'{"test": true}')
    async with served() as port:
        assert await port.post("/ns/bitbucket", ping) == 200
        assert await port.post("/ns/github", ping) == 401
        assert await port.post("/ns/none", ping) == 404
        assert port.secrets.reads == 0
        assert port.counter.counted == []


async def test_wrong_requests_have_buckets_of_their_own():
    """They get 429 after their rate, and take nothing from the trigger's, whose own delivery is accepted."""
    rates = {"trigger": Rate(burst=3, seconds=3600), "global": Rate(burst=4, seconds=3600)}
    async with served(rates=rates) as port:
        wrong = [await port.post("/ns/github", d.github(secret="wrong")) for _ in range(6)]
        assert wrong == [403, 403, 403, 429, 429, 429]
        assert [await port.post("/ns/none") for _ in range(2)] == [429, 429]
        assert [await port.post("/ns/github", d.github()) for _ in range(4)] == [202, 202, 202, 429]


async def test_an_address_that_fails_too_often_is_refused_before_its_proof():
    """Its good requests count for another bucket, and those of other addresses are not touched."""
    rates = {"address": Rate(burst=2, seconds=3600)}
    proxies = (ipaddress.ip_network("127.0.0.0/8"),)
    async with served(rates=rates, trusted=proxies) as port:

        async def post(sender, delivery):
            headers, body = delivery
            return await port.post("/ns/github", (headers | {"X-Forwarded-For": sender}, body))

        assert [await post("192.0.2.1", d.github(secret="wrong")) for _ in range(3)] == [403, 403, 429]
        reads = port.secrets.reads
        assert await post("192.0.2.1", d.github()) == 429
        assert port.secrets.reads == reads
        assert [await post("192.0.2.2", d.github()) for _ in range(3)] == [202, 202, 429]


async def test_with_uniform_refusals_nothing_shows_which_triggers_exist():
    """Unknown, without a proof, with a wrong one, without a Secret: one answer, byte for byte; good ones as always."""
    async with served(uniform=True) as port:
        answers = set()
        for path in ("/ns/none", "/ns/github", "/ns/broken", "/elsewhere/x", "/ns"):
            for headers, body in (({}, b""), d.github(secret="wrong"), d.gitlab(), d.azure()):
                lines = [f"POST {path} HTTP/1.0", f"Content-Length: {len(body)}"]
                lines += [f"{name}: {value}" for name, value in headers.items()]
                answers.add(await port.raw("\r\n".join(lines).encode() + b"\r\n\r\n" + body))
        task = b"/tasks/00000000-0000-4000-8000-000000000000 HTTP/1.0\r\n\r\n"
        answers |= {await port.raw(b"GET /ns/" + name + task) for name in (b"github", b"none")}
        answers.add(await port.raw(b"POST /NOT/a/name/at/all HTTP/1.0\r\n\r\n"))
        assert len(answers) == 1
        assert next(iter(answers)).startswith(b"HTTP/1.1 404")
        assert await port.post("/ns/github", d.github()) == 202


async def test_stalled_bodies_give_way_when_the_memory_is_used_up():
    """A body that stopped arriving ends with 408; the one that needs its room is accepted."""
    async with served(all_bodies_bytes=4 * 2**20, stalled_s=0.05) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port.number)
        writer.write(b"POST /ns/open HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 2_900_000)
        await writer.drain()
        async with asyncio.timeout(20):
            while await port.post("/ns/open", ({}, b"x" * 2_000_000)) != 202:
                pass
            while reader.at_eof() is False and not (answer := await reader.read(12)):
                pass
        assert answer.endswith(b"408")
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def test_a_missing_proof_reads_no_secret():
    """Neither does a trigger that does not exist, nor one above its rate."""
    async with served(rates={"trigger": Rate(burst=2, seconds=3600)}) as port:
        assert await port.post("/ns/github", ({}, b"{}")) == 401
        assert await port.post("/ns/none", d.github()) == 404
        assert port.secrets.reads == 0
        assert await port.post("/ns/github", d.github()) == 202
        assert await port.post("/ns/github", d.github()) == 202
        reads = port.secrets.reads
        assert await port.post("/ns/github", d.github()) == 429
        assert port.secrets.reads == reads


async def test_hints_choose_sources_and_announce_to_those_of_the_repository_only():
    """Two sources: the one that was pushed to is looked at, with the commit announced for it."""
    async with served(objects=[trigger("matching", "github", match=True)]) as port:
        await port.post("/ns/github", d.github())
        await port.post("/ns/github", d.github(url="https://elsewhere.example.com/x/y.git"))
        await port.post("/ns/github/other", d.github(url="https://elsewhere.example.com/x/y.git"))
        assert await port.post("/ns/matching", d.github(url="https://elsewhere.example.com/x/y.git")) == 200
        assert await port.post("/ns/matching/other", d.github()) == 200
        asked = [one[1] for one in port.counter.counted]
        assert asked == [{"app": d.AFTER}, {"app": None, "other": None}, {"other": d.AFTER}]


async def test_large_bodies_are_refused_without_being_held():
    """413 by the length that is said, by chunks that never end, and by a lying length; the connection is closed."""
    async with served() as port:
        assert await port.post("/ns/open", ({"Content-Length": str(100 * 2**20)}, b"x")) == 413
        assert await port.post("/ns/open", ({"Content-Length": "9" * 40}, b"x")) in {400, 413}
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        assert await port.post("/ns/open", ({"Transfer-Encoding": "chunked"}, chunk * 64)) == 413
        assert await port.post("/ns/open", ({"Content-Length": "-1"}, b"")) == 400
        both = {"Content-Length": "3", "Transfer-Encoding": "chunked"}
        assert await port.post("/ns/open", (both, b"0\r\n\r\n")) == 400
        assert await port.post("/ns/open", ({}, b"x" * (3 * 2**20))) == 202
        assert await port.post("/ns/open", ({"Content-Encoding": "gzip"}, gzip.compress(b"{}"))) == 415
        assert await port.post("/ns/open", ({"Content-Encoding": "identity"}, b"{}")) == 202


async def _begun(port, data):
    """A request whose body is not complete yet: the beginning of its response, later, and where to write the rest."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port.number)
    writer.write(data)
    with contextlib.suppress(ConnectionError):
        await writer.drain()
    return asyncio.ensure_future(reader.read(12)), writer


async def _closed(writer):
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_all_bodies_together_have_a_budget():
    """Many large bodies at once are told to come back; those under way are finished."""
    async with served(all_bodies_bytes=4 * 2**20) as port:
        half = b"POST /ns/open HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 2_900_000
        async with asyncio.timeout(60):
            answer, writer = await _begun(port, half)
            while await port.post("/ns/open", ({}, b"x" * 2_000_000)) != 503:
                if answer.done():  # it came after the other one, and is the one to come back
                    await _closed(writer)
                    answer, writer = await _begun(port, half)
        assert await port.post("/ns/open", ({}, b"x")) == 202
        writer.write(b"x" * 100_000)
        assert (await answer).endswith(b"202")
        await _closed(writer)


async def test_slow_bodies_end_with_408():
    """A body has its time, however steadily it trickles."""
    async with served(body_s=0.4) as port:
        with timed() as watch:
            assert await port.post("/ns/open", ({"Content-Length": "100"}, b"x")) == 408
        assert watch.fair_s < 5


async def test_slow_and_endless_headers_end_the_connection():
    """Ten seconds for the headers in production; 256 KiB of them, at most."""
    async with served(header_s=0.3) as port:
        assert await port.raw(b"POST /ns/open HTTP/1.1\r\nHost: x\r\n") == b""
        endless = b"POST /ns/open HTTP/1.1\r\nHost: x\r\n" + b"".join(
            b"X-%d: %s\r\n" % (n, b"y" * 1000) for n in range(600)
        )
        assert b"202" not in await port.raw(endless)
        assert await port.post("/ns/open", ({"X-Long": "y" * 100_000}, b"")) in {202, 400}


@pytest.fixture
def many_files():
    """This process may open 4,096 files while the test runs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < _FILES:
        pytest.skip(f"a limit of {_FILES} open files (this machine's is {hard})")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, _FILES), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_idle_connections_give_way_to_new_ones(many_files):
    """1,500 connections that say nothing: requests are answered all the while, no more than the limit stays open."""
    idle = []
    async with served() as port:
        try:
            for number in range(1500):
                idle.append(await asyncio.open_connection("127.0.0.1", port.number))
                if number % 300 == 299:
                    assert await port.post("/ns/open") == 202
            async with asyncio.timeout(10):
                closed = [asyncio.ensure_future(reader.read()) for reader, _ in idle[:400]]
                with contextlib.suppress(ConnectionError):
                    await closed[0]
                await asyncio.gather(*closed, return_exceptions=True)
            assert await port.post("/ns/open") == 202
        finally:
            for _, writer in idle:
                writer.close()
            await asyncio.gather(*(writer.wait_closed() for _, writer in idle), return_exceptions=True)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "//",
        "/ns/",
        "/ns/open//",
        "/ns//open",
        "/ns/open/app/x",
        "/NS/open",
        "/ns/%6fpen",
        "/ns/open%2fapp",
        "/%2e%2e/open",
        "/ns/../open",
        "/ns/open%00",
        "/ns/-open",
        "/ns/" + "x" * 10_000,
        "/ns/tr%C3%AFgger",
        "/ns/open;x",
        "/ns/_open",
    ],
)
async def test_a_twisted_path_is_no_such_trigger(path):
    """Escapes, dots, upper case, length: 404, the same for all, and nothing is redirected or counted."""
    async with served() as port:
        assert await port.post(path) == 404
        assert port.counter.counted == []


async def test_addresses_have_buckets_of_their_own():
    """Behind a trusted proxy the sender that it names counts; nobody else is believed."""
    proxies = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("10.0.0.0/8"))
    rates = {"address": Rate(burst=1, seconds=3600)}
    async with served(rates=rates, trusted=proxies) as port:
        for sender in ("203.0.113.1", "203.0.113.2", "9.9.9.9, 203.0.113.3, 10.1.1.1", "2001:db8::1"):
            assert await port.post("/ns/open", ({"X-Forwarded-For": sender}, b"")) == 202
        for again in ("203.0.113.1", "8.8.8.8, 203.0.113.3", "2001:db8::2"):
            assert await port.post("/ns/open", ({"X-Forwarded-For": again}, b"")) == 429
    async with served(rates=rates) as port:
        assert await port.post("/ns/open", ({"X-Forwarded-For": "203.0.113.1"}, b"")) == 202
        assert await port.post("/ns/open", ({"X-Forwarded-For": "203.0.113.2"}, b"")) == 429


async def test_what_cannot_be_counted_is_not_promised():
    """503 with Retry-After while the API server is away, and while this replica is not ready."""
    async with served() as port:
        port.counter.failure = ApiUnavailable("away")
        found = await port.raw(b"POST /ns/open HTTP/1.0\r\n\r\n")
        assert found.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 2" in found
    async with served(ready=lambda: False) as port:
        assert await port.post("/ns/open") == 503


async def test_a_sender_that_goes_away_leaves_nothing_half_done():
    """Before the body is complete nothing is counted."""
    async with served() as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port.number)
        writer.write(b"POST /ns/open HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        async with asyncio.timeout(5):
            while b'status="400"' not in port.metrics.render():
                assert await port.post("/ns/none") == 404
        assert port.counter.counted == []


async def test_a_flood_of_refusals_writes_few_lines(capsys):
    """Two hundred wrong signatures: twenty lines, and twenty more a second; the rest is counted in the next one."""
    began = time.monotonic()
    async with served() as port:
        for _ in range(200):
            assert await port.post("/ns/github", d.github(secret="wrong")) == 403
    most = 21 + 20 * (time.monotonic() - began)
    assert 20 <= capsys.readouterr().out.count("webhook.rejected") <= most


@pytest.mark.parametrize("body", [b"&" * 3 * 2**20, b"payload=" + b"%" * (3 * 2**20 - 8)], ids=["fields", "escapes"])
async def test_large_bodies_with_a_wrong_signature_do_not_hold_up_the_loop(body):
    """What anybody may send is hashed and decoded beside the loop, in about the time that it takes to read it."""
    headers, _ = d.gitea(form=True)
    many = [trigger(f"more{n}", "gitea", match=True) for n in range(8)]
    longest = 0.0

    async def look():
        nonlocal longest
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.005)
            longest = max(longest, time.monotonic() - before)

    async with served(objects=many) as port:
        looking = asyncio.create_task(look())
        used = time.process_time()
        with timed() as watch:
            assert await port.post("/ns/gitea", (headers, body)) == 403
            assert await port.post("/ns", (headers, body)) == 403
            looking.cancel()
        used = time.process_time() - used
    assert longest / watch.slowness < 1
    assert used < 5


MAKERS = [
    d.github,
    d.gitea,
    d.gitlab,
    d.bitbucket_cloud,
    d.bitbucket_server,
    d.azure,
    d.standard,
    d.plain_hmac,
    d.plain,
]
TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=255, exclude_characters="\x7f"), max_size=60)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from([*KINDS, "open", "broken", "rotated", "none"]),
            st.sampled_from(MAKERS),
            st.dictionaries(
                st.sampled_from(
                    ["Content-Type", "X-Hub-Signature-256", "X-GitHub-Event", "Authorization", "webhook-id"]
                ),
                TEXT,
                max_size=3,
            ),
            st.none() | st.binary(max_size=300),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_no_request_makes_a_server_error(requests):
    """Any mixture of types, deliveries, headers and bodies: 2xx or 4xx, but for the Secret that is missing."""

    async def work():
        async with served() as port:
            for name, make, more, body in requests:
                headers, made = make()
                status = await port.post(f"/ns/{name}", (headers | more, made if body is None else body))
                assert 200 <= status < 500 or (status == 500 and name == "broken")

    asyncio.run(work())
