"""SSH servers that mean no good: each costs one deadline, a bounded number of bytes, and nobody else anything."""

from __future__ import annotations

import asyncio
import resource

import asyncssh
import pytest

from git_events_runner.edges.git import Limits, http_remote
from git_events_runner.edges.git.access import SshAccess
from git_events_runner.edges.git.pktline import packet
from git_events_runner.edges.git.protocol import FLUSH
from git_events_runner.edges.git.request import GitRequest, Reference, Repository
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
from tests.edges.git import sshattacks
from tests.edges.git.gitserver import scripted
from tests.edges.git.sshattacks import V2, serving
from tests.patience import timed

MAIN = Reference("branch", "main")
DEADLINE_S = 1.0


@pytest.fixture(scope="module")
def keys():
    """The client's key and the server's."""
    return asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")


@pytest.fixture
async def hasty():
    made = http_remote(Limits(deadline_s=DEADLINE_S, refs_bytes=2**20, advertisement_bytes=2**20, pack_bytes=2**20))
    yield made
    await made.close()


@pytest.fixture
async def patient():
    """A remote whose deadline no attack needs that ends by its content."""
    made = http_remote(Limits(deadline_s=60.0))
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
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with timed() as watch, pytest.raises(errors) as caught:
        await remote.commit_of(GitRequest(there, MAIN))
    assert watch.fair_s < 2 * DEADLINE_S + 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024
    return caught.value


@pytest.mark.parametrize(
    ("script", "errors"),
    [
        (sshattacks.silent, (GitTimeout,)),
        (sshattacks.drips, (GitTimeout, GitProtocolError)),
        (sshattacks.floods, (GitProtocolError, GitTimeout)),
        (sshattacks.floods_one_line, (GitProtocolError,)),
        (sshattacks.sends_messages_to_ignore, (GitProtocolError,)),
        (sshattacks.speaks_http, (GitUnreachable, GitProtocolError)),
        (sshattacks.stops_after_the_version, (GitTimeout,)),
        (sshattacks.sends_garbage, (GitProtocolError, GitUnreachable)),
        (sshattacks.promises_a_huge_packet, (GitProtocolError, GitTimeout, GitUnreachable)),
    ],
)
async def test_before_the_login(keys, hasty, script, errors):
    """Silence, drips, banners without end, garbage and other protocols end in their error by the deadline."""
    async with scripted(script) as url:
        await fails(hasty, repository(keys, port_of(url)), *errors)


async def test_a_login_that_hangs(keys, hasty):
    """The deadline holds for the login too."""
    async with serving(keys, "hang") as port:
        await fails(hasty, repository(keys, port), GitTimeout)


async def test_a_flood_of_banners(keys, hasty):
    """Banners without end end the connection; what they say is nowhere."""
    async with serving(keys, "banner") as port:
        error = await fails(hasty, repository(keys, port), GitProtocolError, GitUnreachable)
        assert "login here" not in str(error)


async def test_a_flood_of_debug_messages(keys, patient):
    """Messages that mean nothing end the connection after 128 KiB, long before the deadline."""
    async with serving(keys, "debug") as port:
        error = await fails(patient, repository(keys, port), GitProtocolError)
        assert "not part of its response" in str(error)


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


@pytest.mark.parametrize(
    ("process", "errors"),
    [
        (sshattacks.hangs, (GitTimeout,)),
        (sshattacks.ends, (GitProtocolError,)),
        (sshattacks.says, (GitNotFound,)),
        (sshattacks.says_without_end, (GitProtocolError,)),
        (sshattacks.refs_without_end, (GitTooLarge,)),
        (sshattacks.an_advertisement_without_end, (GitTooLarge,)),
        (sshattacks.html, (GitProtocolError,)),
        (sshattacks.no_v2_answer, (GitProtocolError,)),
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

    async with scripted(sshattacks.silent) as url, serving(keys, process=good) as port:
        hanging = asyncio.ensure_future(hasty.commit_of(GitRequest(repository(keys, port_of(url)), MAIN)))
        answer = await hasty.commit_of(GitRequest(repository(keys, port), MAIN))
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
            await remote.commit_of(GitRequest(there, MAIN))
        assert len(set(logins)) <= 4
        await remote.close()
