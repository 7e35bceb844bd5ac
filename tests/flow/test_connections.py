"""Who gives way when a port is full, whose turn it is, and what a connection may not do."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from git_events_runner.rules.senders import sender
from git_events_runner.serving import Limits
from git_events_runner.serving.connections import Connections
from git_events_runner.serving.turnstile import Turnstile
from tests.flow.hooks import served
from tests.forges import deliveries as d


class Fake:
    """A connection of the address that its name begins with; `closed` when it was aborted."""

    def __init__(self, name, moved_at=0.0, *, waits=True):
        self.name, self.address = name, name[0]
        self.moved_at, self.waits, self.closed = moved_at, waits, False

    def abort(self):
        self.closed = True


def closed(most, *fakes):
    """The names of those that give way to one more."""
    connections = Connections(most)
    for one in fakes:
        assert connections.enter(one)
    connections.enter(Fake("new", 99.0))
    return [one.name for one in fakes if one.closed]


def test_the_address_with_the_most_gives_way():
    """One connection of another client stays, however long it makes no progress."""
    assert closed(4, Fake("b1", 1), Fake("a1", 3), Fake("a2", 2), Fake("a3", 4)) == ["a2"]


def test_of_one_address_the_one_without_progress_gives_way():
    """The one that has just sent something stays."""
    assert closed(3, Fake("a1", 5), Fake("a2", 2), Fake("a3", 4)) == ["a2"]


def test_of_many_addresses_the_one_without_progress_gives_way():
    """With one connection each, the longest without progress is the first, too."""
    assert closed(3, Fake("a1", 5), Fake("b1", 4), Fake("c1", 6)) == ["b1"]


def test_what_the_program_works_on_stays():
    """A request that is received completely is answered, whatever its address holds."""
    assert closed(3, Fake("a1", 1, waits=False), Fake("a2", 2, waits=False), Fake("b1", 9)) == ["b1"]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 9), st.booleans()), max_size=60), st.integers(1, 40))
def test_bounds_hold_whatever_comes(arriving, most):
    """Never more than the limit; only what waits is closed; no address loses while another has two more that wait."""
    connections, made = Connections(most), []
    for address, moved_at, waits in arriving:
        one = Fake(address, moved_at, waits=waits)
        before = [other for other in made if not other.closed]
        if connections.enter(one):
            made.append(one)
        else:
            assert not any(other.waits for other in before)
        after = [other for other in before if not other.closed]
        for lost in (other for other in before if other.closed):
            assert lost.waits
            counts = {name: sum(o.address == name and o.waits for o in after) for name in "abcd"}
            assert max(counts.values()) <= counts[lost.address] + 1
        assert len(list(connections)) <= most


async def test_addresses_take_turns():
    """A client with one read waits for one of another's hundred, not for all."""
    order, turnstile, loop = [], Turnstile(), asyncio.get_running_loop()

    class Reader:
        def __init__(self, address):
            self.address, self.loop = address, loop

        def read(self, data):
            order.append(self.address)

    for _ in range(100):
        turnstile.enter(Reader("many"), b"x")
    turnstile.enter(Reader("one"), b"x")
    for _ in range(200):
        await asyncio.sleep(0)
    assert len(order) == 100
    assert order.index("one") <= 1


def test_an_ipv6_network_is_one_client_and_a_proxy_is_many():
    """64 bits are what one client has; a trusted proxy's connections count one by one."""
    assert sender("2001:db8:1:2::5") == sender("2001:db8:1:2:ffff::1") != sender("2001:db8:1:3::1")
    assert sender("::ffff:192.0.2.7") == sender("192.0.2.7") == "192.0.2.7"


async def test_a_pipelined_request_is_not_read():
    """The first is answered, then the connection is closed: one answer, however many requests came with it."""
    async with served() as port:
        one = b"POST /ns/open HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        answer = await port.raw(one * 30)
        assert answer.count(b"HTTP/1.1 ") == 1
        assert answer.startswith(b"HTTP/1.1 202")
        assert len(port.counter.counted) == 1


async def test_requests_after_one_another_share_a_connection():
    """Also after a refusal whose body was still to come: it is received and dropped."""
    async with served() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port.number)
        for path, status in (("/ns/none", b"404"), ("/ns/open", b"202"), ("/ns/github", b"401"), ("/ns/open", b"202")):
            writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc".encode())
            await asyncio.sleep(0)
            writer.write(b"defghi")
            async with asyncio.timeout(20):
                answer = await reader.readuntil(b"}")
            assert answer[9:12] == status
        writer.close()
        await writer.wait_closed()


async def test_every_received_byte_counts():
    """Chunk extensions, tiny chunks and trailers end a connection like a body that is too large."""
    head = b"POST /ns/open HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with served(limits=Limits(message_bytes=100_000, headers=50)) as port:
        assert await port.raw(head + (b"1;" + b"x" * 1000 + b"\r\na\r\n") * 200) == b""
        assert await port.raw(head + b"0\r\n" + b"a: b\r\n" * 6000) == b""
        assert await port.raw(b"POST /ns/open HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 60 + b"\r\n") == b""
        assert await port.post("/ns/open", ({}, b"x" * 90_000)) == 202


async def test_large_headers_have_a_budget_together():
    """One request may have large headers while few have; small ones always pass."""
    large = b"POST /ns/open HTTP/1.1\r\nHost: x\r\nX-Large: " + b"x" * 30_000 + b"\r\n"
    async with served(limits=Limits(all_headers_bytes=100_000)) as port:
        open_ones = [await asyncio.open_connection("127.0.0.1", port.number) for _ in range(4)]
        for _, writer in open_ones:
            writer.write(large)
            await writer.drain()
        async with asyncio.timeout(20):
            done, _ = await asyncio.wait(
                [asyncio.ensure_future(reader.read()) for reader, _ in open_ones], return_when=asyncio.FIRST_COMPLETED
            )
        assert done
        assert await port.post("/ns/open", d.plain(b"x")) == 202
        for _, writer in open_ones:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)
