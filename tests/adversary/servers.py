"""Git servers of the attacker: scripts on threads of their own."""

import asyncio
import contextlib
import threading

from git_events_runner.edges.git.pktline import packet
from git_events_runner.edges.git.protocol import FLUSH
from tests.edges.git import attacks
from tests.edges.git.bombs import commit_of, entry, made_pack, object_id
from tests.edges.git.gitserver import scripted
from tests.servers.closing import end_tasks

_BAND = 65_000


@contextlib.contextmanager
def served(script):
    """The script on a thread of its own; gives the URL of a repository on it."""
    started, found, loop = threading.Event(), [], asyncio.new_event_loop()
    stop = asyncio.Event()

    async def aborting(reader, writer):
        try:
            await script(reader, writer)
        finally:
            writer.transport.abort()

    async def serve():
        async with scripted(aborting) as url:
            found.append(url)
            started.set()
            await stop.wait()
        await end_tasks()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


class Canned:
    """A repository whose answers are made beforehand, so that serving it costs nothing; `show` chooses the commit."""

    def __init__(self, *trees):
        """`trees` are contents of trees, each of a commit."""
        self._packs = {}
        for tree in trees:
            commit = commit_of(tree)
            pack = made_pack(entry(1, commit), entry(2, tree))
            bands = b"".join(packet(b"\x01" + pack[at : at + _BAND]) for at in range(0, len(pack), _BAND))
            self._packs[object_id(b"commit", commit).hex()] = packet(b"packfile\n") + bands + FLUSH
        self.commits = list(self._packs)
        self.shown = self.commits[0]

    async def serve(self, reader, writer):
        """Answer as a server of protocol v2."""
        kind = packet(b"version 2\n") + packet(b"ls-refs\n") + packet(b"fetch=shallow filter\n") + FLUSH
        while True:
            head = await attacks.head_of(reader)
            if head.startswith(b"GET"):
                writer.write(attacks.ADVERTISED + b"Content-Length: %d\r\n\r\n" % len(kind) + kind)
                continue
            size = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            body = await reader.readexactly(size)
            answer = packet(self.shown.encode() + b" refs/heads/main\n") + FLUSH
            if b"command=fetch" in body:
                answer = next(pack for commit, pack in self._packs.items() if b"want " + commit.encode() in body)
            writer.write(attacks.REFS + b"Content-Length: %d\r\n\r\n" % len(answer) + answer)
            await writer.drain()
