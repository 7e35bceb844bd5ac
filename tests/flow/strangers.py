"""What strangers do to a port, as a process of its own: `python -m tests.flow.strangers KIND PORT [PATH]`.

Goes on until its standard input is closed; prints "begun" once the attack stands, and at the end what it did as JSON.
"""

import asyncio
import contextlib
import json
import resource
import sys

import uvloop

CONNECTIONS = 1050
_FILES = 4096


class Attack:
    """`CONNECTIONS` connections that each send `opening`, then `more` every `pause_s`; closed ones come again."""

    def __init__(self, port, *, opening, more=b"", pause_s=0.5, connections=CONNECTIONS, reads=False):
        self.port = port
        self.opening, self.more, self.pause_s, self.reads = opening, more, pause_s, reads
        self.connections = connections
        self.opened = self.sent = self.answers = 0

    async def run(self):
        """Attack until cancelled."""
        async with asyncio.TaskGroup() as group:
            for number in range(self.connections):
                group.create_task(self._one(number * 0.001))

    async def _one(self, delay_s):
        await asyncio.sleep(delay_s)
        while True:
            with contextlib.suppress(OSError, TimeoutError):
                await self._connection()
            await asyncio.sleep(0.5)

    async def _connection(self):
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1)
        self.opened += 1
        try:
            writer.write(self.opening)
            while not writer.transport.is_closing():
                if self.reads:
                    self.answers += bool(await reader.read(65536))
                    return
                await asyncio.sleep(self.pause_s)
                if self.more:
                    writer.write(self.more)
                    self.sent += len(self.more)
                    async with asyncio.timeout(20):
                        await writer.drain()
        finally:
            writer.transport.abort()


_POST = b"POST /ns/open HTTP/1.1\r\nHost: x\r\n"
_CHUNKED = _POST + b"Transfer-Encoding: chunked\r\n\r\n"
_TRAILERS = b"".join(b"a%d:\r\n" % number for number in range(5000))
KINDS = {
    "trailers": {"opening": _CHUNKED + b"0\r\n", "more": _TRAILERS, "pause_s": 0.01, "connections": 20},
    "extensions": {"opening": _CHUNKED, "more": b"1;" + b"x" * 4000 + b"\r\na\r\n", "pause_s": 0.01, "connections": 50},
    "headers": {"opening": _POST + b"a: b\r\n" * 30, "more": b"x: " + b"y" * 8000 + b"\r\n", "pause_s": 0.3},
    "silent": {"opening": _POST + b"Content-Length: 100\r\n\r\n"},
    "trickle": {"opening": _POST + b"Content-Length: 100000\r\n\r\n", "more": b"x", "pause_s": 0.9},
    "large": {
        "opening": _POST + b"Content-Type: application/json\r\nContent-Length: 3100000\r\n\r\n" + b"x" * 3_000_000,
        "more": b"x" * 1000,
        "pause_s": 0.9,
        "connections": 60,
    },
    "unread": {"opening": b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 30},
    "scrapes": {"opening": b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "reads": True, "connections": 300},
    "wrong": {
        "opening": b"POST /ns/github HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n"
        b"Content-Type: application/json\r\nX-GitHub-Event: push\r\nX-Hub-Signature-256: sha256=00\r\n\r\n",
        "reads": True,
        "connections": 100,
    },
}


async def main(kind, port, path="/ns/open"):
    """Attack until standard input is closed; webhooks are those of an open trigger at `path`."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_FILES, hard), hard))
    found = dict(KINDS[kind])
    found["opening"] = found["opening"].replace(b"/ns/open", path.encode())
    attack = Attack(int(port), **found)
    task = asyncio.ensure_future(attack.run())
    wanted = found.get("connections", CONNECTIONS)
    for _ in range(200):
        await asyncio.sleep(0.05)
        if attack.opened >= wanted:
            break
    print("begun", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    print(json.dumps({"opened": attack.opened, "sent": attack.sent, "answers": attack.answers}), flush=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(*sys.argv[1:]))
