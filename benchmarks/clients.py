"""The clients that benchmarks/git.py compares, each in a process of its own: `python -m benchmarks.clients NAME …`.

Arguments: name, URL, number of exchanges, how many at once, file with the CA. Prints seconds and CPU seconds as JSON.
"""

import asyncio
import json
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

MAIN = "refs/heads/main"


def cpu_s(who=resource.RUSAGE_SELF):
    """User and system CPU seconds so far."""
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def ours(url, count, at_once, ca):
    """This program: errors, bounds, sharing, pace and metrics included; each worker has a repository of its own."""
    import uvloop

    from git_events_runner.edges.git import Limits, http_remote
    from git_events_runner.edges.git.request import GitRequest, Reference, Repository
    from git_events_runner.telemetry.metrics import Metrics

    async def main():
        metrics = Metrics(prefix="benchmark")
        metrics.git.keep_hosts({url.split("/")[2]})
        limits = Limits(host_rate=1e6, host_burst=1_000_000)
        remote = http_remote(limits, observer=metrics.git)
        # What differs makes questions that are not shared; "/" at the end of a URL does not.
        repositories = [Repository(url=url, ca_pem=ca + "\n" * n if ca else None) for n in range(at_once)]
        if not ca:
            repositories = [Repository(url=_spelled(url, n)) for n in range(at_once)]

        async def ask(repository, times):
            for _ in range(times):
                await remote.commit_of(GitRequest(repository, Reference("branch", "main")))

        await asyncio.gather(*(ask(each, 5) for each in repositories))
        began, used = time.perf_counter(), cpu_s()
        await asyncio.gather(*(ask(each, count // at_once) for each in repositories))
        ended = time.perf_counter() - began, cpu_s() - used
        await remote.close()
        return ended

    return uvloop.run(main())


def _spelled(url, number):
    """The same place, spelled so that nobody takes two of them for one repository."""
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    letters = "".join(c.upper() if number >> i & 1 else c for i, c in enumerate(scheme))
    return f"{letters}://{host}/{path}"


def bare(url, count, at_once, ca):
    """Aiohttp alone: the same request in a loop, nothing looked at. The floor on this machine."""
    import ssl

    import aiohttp
    import uvloop

    from git_events_runner.edges.git.protocol import Capabilities, ls_refs_request

    body = ls_refs_request(Capabilities(version=2), [MAIN])
    kind = "application/x-git-upload-pack-"
    headers = {"Git-Protocol": "version=2", "Content-Type": f"{kind}request", "Accept": f"{kind}result"}
    context = ssl.create_default_context(cadata=ca) if ca else True

    async def main():
        connector = aiohttp.TCPConnector(limit=0, ssl=context)
        async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:

            async def ask(times):
                for _ in range(times):
                    async with session.post(f"{url}/git-upload-pack", data=body, headers=headers) as answer:
                        await answer.read()

            await asyncio.gather(*(ask(5) for _ in range(at_once)))
            began, used = time.perf_counter(), cpu_s()
            await asyncio.gather(*(ask(count // at_once) for _ in range(at_once)))
            return time.perf_counter() - began, cpu_s() - used

    return uvloop.run(main())


def dulwich(url, count, at_once, ca):
    """Dulwich's client with one pool of connections, the reference as prefix."""
    import tempfile

    import urllib3
    from dulwich.client import get_transport_and_path

    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(ca or "")
        file.flush()
        trust = {"ca_certs": file.name} if ca else {}
        pool = urllib3.PoolManager(maxsize=at_once, **trust)

        def ask(_):
            client, path = get_transport_and_path(url, pool_manager=pool)
            found = client.get_refs(path.encode(), ref_prefix=[MAIN.encode()])
            assert MAIN.encode() in found.refs

        ask(0)
        with ThreadPoolExecutor(at_once) as threads:
            began, used = time.perf_counter(), cpu_s()
            list(threads.map(ask, range(count)))
            return time.perf_counter() - began, cpu_s() - used


def git(url, count, at_once, ca):
    """`git ls-remote`, a process for each question."""
    import os
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(ca or "")
        file.flush()
        environment = os.environ | {"GIT_SSL_CAINFO": file.name, "GIT_CONFIG_NOSYSTEM": "1", "HOME": "/nonexistent"}

        def ask(_):
            subprocess.run(["git", "ls-remote", url, MAIN], env=environment, check=True, capture_output=True)

        ask(0)
        with ThreadPoolExecutor(at_once) as threads:
            began, used = time.perf_counter(), cpu_s(resource.RUSAGE_CHILDREN)
            list(threads.map(ask, range(count)))
            return time.perf_counter() - began, cpu_s(resource.RUSAGE_CHILDREN) - used


def main():
    """One client, one figure."""
    name, url, count, at_once, ca = sys.argv[1:]
    trust = Path(ca).read_text() if url.startswith("https") else None
    client = {"ours": ours, "bare": bare, "dulwich": dulwich, "git": git}[name]
    seconds, used_s = client(url, int(count), int(at_once), trust)
    print(json.dumps({"seconds": seconds, "cpu_s": used_s}))


if __name__ == "__main__":
    main()
