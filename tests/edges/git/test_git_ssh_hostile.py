"""SSH servers that mean no good: each costs one deadline, a bounded number of bytes, and nobody else anything."""

from __future__ import annotations

import asyncio
import resource
import time
from contextlib import asynccontextmanager

import asyncssh
import pytest

from git_events_runner.edges.git import Limits, http_remote
from git_events_runner.edges.git.access import SshAccess
from git_events_runner.edges.git.pktline import packet
from git_events_runner.edges.git.protocol import FLUSH
from git_events_runner.edges.git.question import Question, Reference, Repository
from git_events_runner.errors import (
    GitAuthRequired,
    GitHostKeyUnknown,
    GitNotFound,
    GitProtocolError,
    GitReferenceNotFound,
    GitTimeout,
    GitTooLarge,
    GitUnreachable,
)
from tests.edges.git.gitserver import scripted

MAIN = Reference("branch", "main")
DEADLINE_S = 1.0
V2 = packet(b"version 2\n") + packet(b"fetch=shallow\n") + FLUSH


@pytest.fixture(scope="module")
def keys():
    """The client's key and the server's."""
    return asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")


@pytest.fixture
async def hasty():
    made = http_remote(Limits(deadline_s=DEADLINE_S, refs_bytes=2**20, advertisement_bytes=2**20, pack_bytes=2**20))
    yield made
    await made.close()


def repository(keys, port, *, known=True):
    host = keys[1].export_public_key().decode().strip()
    access = SshAccess(
        private_key=keys[0].export_private_key().decode(), known_hosts=f"[127.0.0.1]:{port} {host}" if known else ""
    )
    return Repository(url=f"ssh://git@127.0.0.1:{port}/x.git", ssh=access)


def port_of(url):
    return int(url.split(":")[2].split("/")[0])


async def fails(remote, there, *errors):
    """The question fails with one of these within twice the deadline, in bounded memory."""
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(errors) as caught:
        await remote.commit_of(Question(there, MAIN))
    assert time.monotonic() - started < 2 * DEADLINE_S + 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024
    return caught.value


async def silent(reader, writer):
    await reader.read()


async def drips(reader, writer):
    while True:
        writer.write(b"S")
        await writer.drain()
        await asyncio.sleep(0.05)


async def floods(reader, writer):
    while True:
        writer.write(b"welcome " * 512 + b"\r\n")
        await writer.drain()


async def floods_one_line(reader, writer):
    while True:
        writer.write(b"S" * 65536)
        await writer.drain()


async def speaks_http(reader, writer):
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n<html>no</html>\r\n")
    await writer.drain()


async def stops_after_the_version(reader, writer):
    writer.write(b"SSH-2.0-OpenSSH_9.9\r\n")
    await writer.drain()
    await reader.read()


async def sends_garbage(reader, writer):
    writer.write(b"SSH-2.0-OpenSSH_9.9\r\n" + b"\x00\x00\x10\x00" + bytes(range(256)) * 16)
    await writer.drain()
    await reader.read()


async def promises_a_huge_packet(reader, writer):
    writer.write(b"SSH-2.0-OpenSSH_9.9\r\n" + b"\x7f\xff\xff\xfc\x04\x14")
    while True:
        writer.write(b"\0" * 65536)
        await writer.drain()


@pytest.mark.parametrize(
    ("script", "errors"),
    [
        (silent, (GitTimeout,)),
        (drips, (GitTimeout, GitProtocolError)),
        (floods, (GitProtocolError, GitTimeout)),
        (floods_one_line, (GitProtocolError,)),
        (speaks_http, (GitUnreachable, GitProtocolError)),
        (stops_after_the_version, (GitTimeout,)),
        (sends_garbage, (GitProtocolError, GitUnreachable)),
        (promises_a_huge_packet, (GitProtocolError, GitTimeout, GitUnreachable)),
    ],
)
async def test_before_the_login(keys, hasty, script, errors):
    """Silence, drips, banners without end, garbage and other protocols end in their error by the deadline."""
    async with scripted(script) as url:
        await fails(hasty, repository(keys, port_of(url)), *errors)


class _Hostile(asyncssh.SSHServer):
    """Answers logins as a test says."""

    def __init__(self, behaviour, connections):
        self.behaviour = behaviour
        self.connections = connections

    def connection_made(self, conn):
        self.connection = conn
        self.connections.append(conn)

    async def begin_auth(self, username):
        if self.behaviour == "hang":
            await asyncio.sleep(30)
        if self.behaviour == "banner":
            for _ in range(4000):
                self.connection.send_auth_banner("login here \x1b[31m" * 100)
                await asyncio.sleep(0)
        return True

    def public_key_auth_supported(self):
        return self.behaviour != "prompt"

    def password_auth_supported(self):
        return self.behaviour == "prompt"

    def kbdint_auth_supported(self):
        return self.behaviour == "prompt"

    def get_kbdint_challenge(self, username, lang, submethods):
        raise AssertionError("a prompt was asked for")

    def validate_password(self, username, password):
        raise AssertionError("a password was given")

    def validate_public_key(self, username, key):
        return self.behaviour != "refuse"


@asynccontextmanager
async def serving(keys, behaviour="", process=None):
    """An SSH server with this behaviour, and a process that answers every command."""
    connections = []

    async def serve(channel):
        try:
            await process(channel)
        except (BrokenPipeError, ConnectionError, asyncssh.Error):
            pass
        finally:
            channel.exit(1)

    server = await asyncssh.create_server(
        lambda: _Hostile(behaviour, connections),
        "127.0.0.1",
        0,
        server_host_keys=[keys[1]],
        process_factory=serve if process else None,
        encoding=None,
        login_timeout=5,
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for connection in connections:
            connection.abort()
            await connection.wait_closed()
        await server.wait_closed()


async def test_a_login_that_hangs(keys, hasty):
    """The deadline holds for the login too."""
    async with serving(keys, "hang") as port:
        await fails(hasty, repository(keys, port), GitTimeout)


async def test_a_flood_of_banners(keys, hasty):
    """Banners without end end the connection; what they say is nowhere."""
    async with serving(keys, "banner") as port:
        error = await fails(hasty, repository(keys, port), GitProtocolError, GitUnreachable)
        assert "login here" not in str(error)


@pytest.mark.parametrize("behaviour", ["prompt", "refuse"])
async def test_no_prompt_is_answered(keys, hasty, behaviour):
    """A server that wants a password or an answer gets neither: the credential is not accepted."""
    async with serving(keys, behaviour) as port:
        await fails(hasty, repository(keys, port), GitAuthRequired)


async def test_nothing_is_sent_to_an_unknown_server(keys, hasty):
    """With no key known for the host the login is not even begun."""
    begun = []

    async def process(channel):
        begun.append(channel)

    async with serving(keys, "hang", process) as port:
        await fails(hasty, repository(keys, port, known=False), GitHostKeyUnknown)
    assert begun == []


async def hangs(channel):
    await channel.stdin.read()
    await asyncio.sleep(30)


async def ends(channel):
    channel.exit(0)


async def says(channel):
    channel.stderr.write(b"ERROR: Repository not found.\nfatal: \x1b[31mCould not read\x07 from remote repository.\n")


async def says_without_end(channel):
    while True:
        channel.stderr.write(b"x" * 65536)
        await channel.stderr.drain()


async def refs_without_end(channel):
    channel.stdout.write(V2)
    await channel.stdin.read(1)
    line = b"a" * 40 + b" refs/heads/main" + b"x" * 100 + b"\n"
    while True:
        channel.stdout.write(packet(line) * 1000)
        await channel.stdout.drain()


async def an_advertisement_without_end(channel):
    line = b"a" * 40 + b" refs/heads/" + b"x" * 100 + b"\n"
    while True:
        channel.stdout.write(packet(line) * 1000)
        await channel.stdout.drain()


async def html(channel):
    channel.stdout.write(b"<html>Sign in</html>")
    await channel.stdin.read()


async def no_v2_answer(channel):
    channel.stdout.write(V2)
    await channel.stdin.read(1)
    channel.stdout.write(packet(b"not a reference"))
    await channel.stdin.read()


@pytest.mark.parametrize(
    ("process", "errors"),
    [
        (hangs, (GitTimeout,)),
        (ends, (GitProtocolError,)),
        (says, (GitNotFound,)),
        (says_without_end, (GitProtocolError,)),
        (refs_without_end, (GitTooLarge,)),
        (an_advertisement_without_end, (GitTooLarge,)),
        (html, (GitProtocolError,)),
        (no_v2_answer, (GitProtocolError,)),
    ],
)
async def test_after_the_login(keys, hasty, process, errors):
    """Silence, refusals, streams without end and other protocols end in their error by the deadline."""
    async with serving(keys, process=process) as port:
        error = await fails(hasty, repository(keys, port), *errors)
        assert str(error).isprintable()


async def test_an_endless_pack_and_a_forged_reference(keys, hasty):
    """A pack is cut at its limit; references that nobody asked for are not looked at."""

    async def process(channel):
        channel.stdout.write(V2)
        asked = await channel.stdin.read(2000)
        if b"command=fetch" in asked:
            channel.stdout.write(packet(b"packfile\n"))
            while True:
                channel.stdout.write(packet(b"\1" + b"\0" * 32768) * 8)
                await channel.stdout.drain()
        forged = b"a" * 40 + b" refs/heads/../../x$(id)\x1b[0m\n"
        channel.stdout.write(packet(forged) + FLUSH)
        await channel.stdin.read()

    async with serving(keys, process=process) as port:
        there = repository(keys, port)
        await fails(hasty, there, GitReferenceNotFound)
        with pytest.raises(GitTooLarge):
            await hasty.tree(there, "a" * 40)


async def test_one_that_hangs_does_not_hold_up_others(keys, hasty):
    """While one server hangs, another one is asked as ever."""

    async def good(channel):
        channel.stdout.write(V2)
        await channel.stdin.read(1)
        channel.stdout.write(packet(b"b" * 40 + b" refs/heads/main\n") + FLUSH)
        await channel.stdin.read()

    async with scripted(silent) as url, serving(keys, process=good) as port:
        hanging = asyncio.ensure_future(hasty.commit_of(Question(repository(keys, port_of(url)), MAIN)))
        answer = await hasty.commit_of(Question(repository(keys, port), MAIN))
        assert answer.commit == "b" * 40
        assert not hanging.done()
        with pytest.raises(GitTimeout):
            await hanging


async def test_sessions_that_never_end_do_not_pile_up(keys):
    """A server that keeps every session open costs a bounded number of connections."""
    logins = []

    async def keeps(channel):
        logins.append(channel.get_extra_info("connection"))
        channel.stdout.write(V2)
        await channel.stdin.read(1)
        channel.stdout.write(packet(b"b" * 40 + b" refs/heads/main\n") + FLUSH)
        await asyncio.sleep(60)

    remote = http_remote(Limits(deadline_s=5.0))
    async with serving(keys, process=keeps) as port:
        there = repository(keys, port)
        for _ in range(30):
            await remote.commit_of(Question(there, MAIN))
        assert len(set(logins)) <= 4
        await remote.close()
