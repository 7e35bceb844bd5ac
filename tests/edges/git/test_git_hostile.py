"""Servers that mean harm: each ends in its error, in time, and hurts nobody else."""

from __future__ import annotations

import asyncio
import resource
import socket
import struct
import time

import pytest

from git_events_runner.edges.git import Limits, http_remote
from git_events_runner.edges.git.pktline import packet
from git_events_runner.edges.git.question import Question, Reference, Repository
from git_events_runner.errors import GitError, GitProtocolError, GitTimeout, GitTooLarge, GitUnreachable
from tests.edges.git import attacks
from tests.edges.git.attacks import ADVERTISED, REFS, V2, head_of
from tests.edges.git.gitserver import commit, new_repository, scripted

DEADLINE_S = 0.6


@pytest.fixture
async def hasty():
    limits = Limits(deadline_s=DEADLINE_S, refs_bytes=1 << 20, advertisement_bytes=1 << 20, pack_bytes=1 << 20)
    made = http_remote(limits)
    yield made
    await made.close()


def question(url):
    return Question(Repository(url=url), Reference("branch", "main"))


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (attacks.silent, GitTimeout),
        (attacks.dripping_head, GitTimeout),
        (attacks.dripping_body, (GitTimeout, GitProtocolError)),
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
async def test_every_attack_ends_in_time_and_memory(hasty, script, error):
    """Silence, drips, floods and rubbish end within the deadline, in their error, without holding what they send."""
    memory_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with scripted(script) as url:
        started = time.monotonic()
        with pytest.raises(error):
            await hasty.commit_of(question(url))
        # Twice the deadline: the machine may be busy.
        assert time.monotonic() - started < 2 * DEADLINE_S + 1
        await hasty.close()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory_kib < 24 * 1024


async def test_a_server_that_hangs_holds_nobody_else_up(hasty, git_server):
    """While every place at a hanging host is taken, others answer; those who wait for it share one time-out."""
    made = commit(new_repository(git_server.root / "app.git"), {"a": b"1"})
    async with scripted(attacks.silent) as url:
        started = time.monotonic()
        async with asyncio.TaskGroup() as group:
            waiting = [group.create_task(asyncio.wait_for(_failing(hasty, question(url)), 10)) for _ in range(100)]
            assert (await hasty.commit_of(question(git_server.url("app.git")))).commit == made
        assert {task.result() for task in waiting} == {GitTimeout}
        assert time.monotonic() - started < 3 * DEADLINE_S + 1
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
