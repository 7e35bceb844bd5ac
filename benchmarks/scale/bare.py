"""The requests of checks by aiohttp alone, in a process of its own: `python -m benchmarks.scale.bare URL RATE SECONDS`.

One `ls-refs` request after another, each to another repository below the URL, at an even rate; responses are not looked
at. Prints the CPU of an exchange in milliseconds: the lower bound for a check at that rate on this machine.
"""

import asyncio
import sys
import time

import aiohttp
import uvloop

from git_events_runner.edges.git.protocol import Capabilities, ls_refs_request

_REPOSITORIES = 1000
_KIND = "application/x-git-upload-pack-"


async def _exchanges(url, rate, seconds):
    """CPU seconds of so many requests, and their number."""
    body = ls_refs_request(Capabilities(version=2), ["refs/heads/main"])
    headers = {"Git-Protocol": "version=2", "Content-Type": f"{_KIND}request", "Accept": f"{_KIND}result"}
    loop, count = asyncio.get_running_loop(), int(rate * seconds)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar(), headers=headers
    ) as session:
        used, began = 0.0, loop.time()
        for number in range(-int(rate), count):  # the first second is not measured
            if number == 0:
                used, began = time.process_time(), loop.time()
            await asyncio.sleep(max(began + number / rate - loop.time(), 0) if number >= 0 else 1 / rate)
            address = f"{url}/refs-10/bare-{number % _REPOSITORIES}.git/git-upload-pack"
            async with session.post(address, data=body) as answer:
                await answer.read()
        return time.process_time() - used, count


if __name__ == "__main__":
    used_s, exchanges = uvloop.run(_exchanges(sys.argv[1], float(sys.argv[2]), float(sys.argv[3])))
    print(f"{1000 * used_s / exchanges:.3f}")
