"""Strangers at the ports, each as a process of its own: real deliveries and probes are answered all the while.

Issue items 10 to 12 on the two applications alone; `tests/adversary/test_ports.py` has them on a whole replica.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flow.strangers import KINDS
from tests.forges import deliveries as d

_MIB = 160
_SECONDS = 3.0
_PATIENCE_S = 20.0
_LEAST = 8
_UTILITY = {"unread", "scrapes"}


@contextlib.contextmanager
def process(*arguments):
    """A Python module of the tests with pipes; its standard input is closed in the end."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-m", *map(str, arguments)], **pipes) as started:
        try:
            yield started
        finally:
            started.kill()


def request(line, headers=(), body=b""):
    """A request as bytes."""
    lines = [f"{line} HTTP/1.1", "Host: x", "Connection: close", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def status(port, data):
    """The status of one request; what happened instead, if it got none."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(data)
                answer = await reader.read()
            finally:
                writer.transport.abort()
            return int(answer[9:12]) if answer else "closed without an answer"
    except (OSError, TimeoutError) as error:
        return repr(error)


async def wait_for(condition):
    """Return when it holds."""
    async with asyncio.timeout(4 * _PATIENCE_S):
        while not condition():  # noqa: ASYNC110  any condition
            await asyncio.sleep(0.02)


def peak_mib(pid):
    """The most memory that a process had."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


@pytest.mark.parametrize("kind", sorted(KINDS))
async def test_deliveries_and_probes_are_answered_during_an_attack(kind):
    """None is reset, none times out, although the attacker has the same address; the memory stays where it was."""
    with process("tests.flow.ports") as served:
        ports = json.loads(served.stdout.readline())
        with process("tests.flow.strangers", kind, ports["utility" if kind in _UTILITY else "hooks"]) as stranger:
            seen = []

            async def senders():
                while True:
                    headers, body = d.github()
                    delivery = request("POST /ns/github", [f"{k}: {v}" for k, v in headers.items()], body)
                    seen.append(await status(ports["hooks"], delivery))
                    seen.append(await status(ports["utility"], request("GET /alive")))
                    await asyncio.sleep(0.02)

            sending = asyncio.create_task(senders())
            await asyncio.to_thread(stranger.stdout.readline)
            await asyncio.sleep(_SECONDS)
            await wait_for(lambda: len(seen) >= _LEAST)
            sending.cancel()
            await asyncio.wait({sending})
            did = json.loads(stranger.communicate("")[0])
        assert peak_mib(served.pid) < _MIB
        assert set(seen) <= {200, 202}, seen
        assert did["opened"] > 10
