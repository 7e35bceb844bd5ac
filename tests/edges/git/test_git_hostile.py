"""Servers that mean harm: each ends in its error, in time, and hurts nobody else."""

from __future__ import annotations

import asyncio
import resource
import socket
import struct

import pytest

from git_events_runner.edges.git import Limits, http_remote
from git_events_runner.edges.git.access import SshAccess
from git_events_runner.edges.git.pktline import packet
from git_events_runner.edges.git.request import Credential, GitRequest, Reference, Repository
from git_events_runner.errors import (
    GitError,
    GitProtocolError,
    GitReferenceNotFound,
    GitTimeout,
    GitTlsError,
    GitTooLarge,
    GitUnreachable,
    GitUnsupported,
)
from tests.edges.git import attacks
from tests.edges.git.attacks import ADVERTISED, REFS, V2, head_of
from tests.edges.git.gitserver import commit, new_repository, scripted
from tests.patience import timed

DEADLINE_S = 0.6


@pytest.fixture
async def hasty():
    made = remote_within(DEADLINE_S)
    yield made
    await made.close()


def remote_within(deadline_s):
    return http_remote(
        Limits(deadline_s=deadline_s, refs_bytes=1 << 20, advertisement_bytes=1 << 20, pack_bytes=1 << 20)
    )


def question(url):
    return GitRequest(Repository(url=url), Reference("branch", "main"))


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (attacks.silent, GitTimeout),
        (attacks.dripping_head, GitTimeout),
        (attacks.dripping_body, (GitTimeout, GitProtocolError)),
        (attacks.dripping_answer, GitTimeout),
        (attacks.endless_header, GitProtocolError),
        (attacks.endless_headers, GitProtocolError),
        (attacks.endless_references, GitTooLarge),
        (attacks.endless_chunks, GitTooLarge),
        (attacks.no_http, GitProtocolError),
        (attacks.binary, GitProtocolError),
        (attacks.hang_up, GitUnreachable),
        (attacks.cut_head, (GitUnreachable, GitProtocolError)),
        (attacks.cut_length, GitProtocolError),
        (attacks.cut_chunks, GitProtocolError),
        (attacks.gzip_unasked, GitProtocolError),
        (attacks.huge_refs_after_v2, GitTooLarge),
    ],
)
async def test_every_attack_ends_in_time_and_memory(script, error):
    """Silence, drips, floods and rubbish end within the deadline, in their error, without holding what they send.

    What ends by its content does so without the deadline, however slow the machine is.
    """
    remote = remote_within(DEADLINE_S if error is GitTimeout else 60.0)
    memory_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with scripted(script) as url:
        with timed() as watch, pytest.raises(error):
            await remote.commit_of(question(url))
        assert watch.fair_s < 2 * DEADLINE_S + 1
        await remote.close()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory_kib < 24 * 1024


async def test_a_server_that_hangs_holds_nobody_else_up(hasty, git_server):
    """While every place at a hanging host is taken, others answer; those who wait for it share one time-out."""
    made = commit(new_repository(git_server.root / "app.git"), {"a": b"1"})
    async with scripted(attacks.silent) as url:
        with timed() as watch:
            async with asyncio.TaskGroup() as group:
                waiting = [group.create_task(asyncio.wait_for(_failing(hasty, question(url)), 60)) for _ in range(100)]
                assert (await hasty.commit_of(question(git_server.url("app.git")))).commit == made
        assert {task.result() for task in waiting} == {GitTimeout}
        assert watch.fair_s < 3 * DEADLINE_S + 1
        await hasty.close()


async def _failing(remote, asked):
    try:
        await remote.commit_of(asked)
    except GitError as error:
        return type(error)
    return None


async def test_a_pack_without_end_is_cut(hasty):
    """A fetch stops at its cap."""
    async with scripted(attacks.endless_pack) as url:
        with pytest.raises(GitTooLarge):
            await hasty.tree(Repository(url=url), "a" * 40)
        await hasty.close()


@pytest.mark.parametrize("url", [f"{scheme}://127.0.0.1:{{}}/x.git" for scheme in ("http", "https", "ssh")])
async def test_a_connection_that_is_neither_taken_nor_refused(hasty, url):
    """A host that drops the first packets of a connection costs one deadline, over each transport."""
    with attacks.full_backlog() as port:
        there = Repository(url=url.format(port), ssh=SshAccess(insecure=True))
        with timed() as watch, pytest.raises(GitTimeout):
            await hasty.commit_of(GitRequest(there, Reference("branch", "main")))
        assert watch.fair_s < 2 * DEADLINE_S + 1


@pytest.mark.parametrize(
    "script",
    [
        attacks.answering(attacks.listed(*attacks.FORGED)),
        attacks.answering(b"", kind=attacks.older(*attacks.FORGED)),
    ],
)
async def test_forged_names_are_nobodys_answer(hasty, script):
    """Names with steps up, control characters, shell signs or 4 kB are not the branch and not in the message."""
    async with scripted(script) as url:
        with pytest.raises(GitReferenceNotFound) as caught:
            await hasty.commit_of(question(url))
        await hasty.close()
    assert str(caught.value).isprintable()
    assert not any(sign in str(caught.value) for sign in ("$(", "..", "xxxx", "2J"))


@pytest.mark.parametrize("v2", [True, False])
async def test_a_branch_among_forged_names_is_found(hasty, v2):
    """The branch that was asked for is answered, whatever else the server lists."""
    names = (*attacks.FORGED, b"refs/heads/main", *attacks.FORGED)
    script = attacks.answering(attacks.listed(*names)) if v2 else attacks.answering(b"", kind=attacks.older(*names))
    async with scripted(script) as url:
        assert (await hasty.commit_of(question(url))).commit == "a" * 40
        await hasty.close()


async def test_two_hundred_thousand_references():
    """A server without v2 lists 200,000 references: the answer comes, and none of the others is held."""
    names = (b"refs/heads/topic/branch-%d" % number for number in range(200_000))
    script = attacks.answering(b"", kind=attacks.older(*names, b"refs/heads/main"))
    remote = http_remote(Limits())
    async with scripted(script) as url:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert (await remote.commit_of(question(url))).commit == "a" * 40
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 24 * 1024
        await remote.close()


@pytest.mark.parametrize("certificate", ["expired.pem", "server.pem"])
async def test_a_certificate_that_does_not_hold(hasty, certificates, certificate):
    """Expired, or of a CA that is not trusted: refused before a byte of the question is sent, and not asked again."""
    asked = []

    async def listens(reader, writer):
        asked.append(await reader.read(1))

    async with scripted(listens, tls=certificates.server_context(certificate)) as url:
        ca_pem = certificates.ca_pem if certificate == "expired.pem" else None
        there = Repository(url=url, ca_pem=ca_pem, credential=Credential.token("Bearer word"))
        with pytest.raises(GitTlsError, match="certificate is not accepted") as caught:
            await hasty.commit_of(GitRequest(there, Reference("branch", "main")))
        await hasty.close()
    assert ("expired" in str(caught.value)) == (certificate == "expired.pem")
    assert asked == []


@pytest.mark.parametrize(("script", "error"), [(attacks.silent, GitTimeout), (attacks.refusing(200), GitTlsError)])
async def test_no_tls_where_there_should_be(hasty, script, error):
    """A server that does not speak TLS at an https URL is not asked in plain text instead."""
    heard = []

    async def listens(reader, writer):
        heard.append(await reader.readexactly(1))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" if error is GitTlsError else b"")
        await script(reader, writer)

    async with scripted(listens) as url:
        with pytest.raises(error):
            await hasty.commit_of(question(url.replace("http:", "https:")))
        await hasty.close()
    assert set(heard) == {b"\x16"}  # the first byte of a TLS handshake


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (packet(b"version 2\n") + packet(b"object-format=sha512\n") + b"0000", GitUnsupported),
        (attacks.older(b"refs/heads/main", features=b"object-format=md5"), GitUnsupported),
        (packet(b"version 3\n") + b"0000", GitProtocolError),
    ],
)
async def test_formats_that_nobody_knows(hasty, kind, error):
    """Object formats and protocol versions of another time are named, not guessed at."""
    async with scripted(attacks.answering(b"", kind=kind)) as url:
        with pytest.raises(error):
            await hasty.commit_of(question(url))
        await hasty.close()


@pytest.mark.parametrize("reset", [False, True])
async def test_a_connection_closed_while_idle_is_opened_again(hasty, reset):
    """A kept-alive connection that the server closed or reset costs a new connection, not a failed check."""
    seen = []

    async def one_answer_each(reader, writer):
        while True:
            head = await head_of(reader)
            if head.startswith(b"GET"):
                writer.write(ADVERTISED + b"Content-Length: %d\r\n\r\n" % len(V2) + V2)
                continue
            await reader.readuntil(b"0000")
            body = packet(b"a" * 40 + b" refs/heads/main\n") + b"0000"
            seen.append(head)
            writer.write(REFS + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
            if len(seen) > 1:
                # Closes after having read the next request: the answer to it never comes.
                await head_of(reader)
                seen.clear()
                if reset:
                    linger = struct.pack("ii", 1, 0)
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    writer.transport.abort()
                return

    async with scripted(one_answer_each) as url:
        for _ in range(5):
            assert (await hasty.commit_of(question(url))).commit == "a" * 40
        await hasty.close()
