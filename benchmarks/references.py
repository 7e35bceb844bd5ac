"""What does a check cost that watches 1,000 branches, one that watches a single one, and a hostile list?

`python -m benchmarks.references [single | many | hostile …]`: requests, bytes, CPU and writes of a check, and what is
stored. The process's CPU without triggers is subtracted.
"""

import asyncio
import json
import resource
import subprocess
import sys
import time

from benchmarks.world import World
from tests.cluster.plane import wait_until
from tests.system.conftest import sources

CHECKS = "git_events_runner_trigger_check_count_total"
WRITES = "git_events_runner_status_writes_total"
BRANCHES, SINGLE, IDLE_S, MEASURED_S = 1000, 60, 10, 30
LISTED = {"references": {"branches": {}, "limit": 1000}}


def say(name, text):
    """One figure."""
    print(f"{name:24s} {text}", flush=True)


def measured(world, namespace, repository, triggers, watch, interval):
    """Figures of checks that find nothing new, of so many triggers; and the status of the first of them."""
    replica = world.replica(namespace)
    time.sleep(3)
    began, idle_s = replica.cpu_s(), time.monotonic()
    time.sleep(IDLE_S)
    idle = (replica.cpu_s() - began) / (time.monotonic() - idle_s)
    names = [f"t{number}" for number in range(triggers)]
    for name in names:
        world.api.ours("ScheduleTrigger", namespace, name, sources(**watch) | {"schedule": {"interval": interval}})
    wait_until("the first checks", lambda: replica.metric(CHECKS) > 2 * triggers, timeout_s=60)
    time.sleep(20)  # the Jobs' TTLs and phases are written
    before = (replica.cpu_s(), replica.metric(CHECKS), replica.metric(WRITES), len(world.git.requests(repository)))
    at = time.monotonic()
    time.sleep(MEASURED_S)
    after = (replica.cpu_s(), replica.metric(CHECKS), replica.metric(WRITES), len(world.git.requests(repository)))
    took_s = time.monotonic() - at
    cpu_s, checks, writes, requests = (b - a for a, b in zip(before, after, strict=True))
    window = world.git.requests(repository)[before[3] :]
    size = sum(request.sent + request.received for request in window)
    status = world.api.trigger(namespace, names[0], "ScheduleTrigger")["status"]
    text = (
        f"{checks:.0f} checks: {requests / checks:.2f} requests, {size / checks:.0f} bytes, "
        f"{1000 * (cpu_s - idle * took_s) / checks:.2f} ms CPU, {writes:.0f} status writes; "
        f"{replica.rss_mib():.0f} MiB; status {len(json.dumps(status, separators=(',', ':')))} bytes"
    )
    replica.process.stop()
    return text, status


def place(world):
    """A namespace with a repository `app`."""
    namespace, repository = world.namespace(), world.git.repository()
    head = repository.push({f"f{n}": "x\n" for n in range(20)})
    world.api.ours("GitRepo", namespace, "app", {"repoUri": repository.url})
    return namespace, repository, head


def single(world):
    """60 triggers of one branch every 2 s."""
    namespace, repository, _ = place(world)
    text, status = measured(world, namespace, repository, SINGLE, {}, "2s")
    say("single reference", text)
    say("", f"its entry: {json.dumps(status['checkedSources']['app'], sort_keys=True)}")


def many(world):
    """One trigger of 1,000 branches every second."""
    namespace, repository, head = place(world)
    lines = "".join(f"create refs/heads/feature/ticket-{n} {head}\n" for n in range(BRANCHES - 1))
    repository.git("update-ref", "--stdin", stdin=lines)
    repository.git("pack-refs", "--all")
    say("1,000 branches", measured(world, namespace, repository, 1, LISTED, "1s")[0])


def hostile(_):
    """A list of a million references, read by a process of its own."""
    done = subprocess.run([sys.executable, "-m", "benchmarks.references", "client"], capture_output=True, check=True)
    say("a million references", done.stdout.decode().strip())


async def client():
    """Read it; prints the error, time and the growth of memory."""
    from git_events_runner.edges.git import Limits, http_remote
    from git_events_runner.edges.git.request import Repository
    from git_events_runner.errors import GitTooManyReferences
    from tests.edges.git.test_git_lists import HEADS, answering, many

    remote = http_remote(Limits(refs_bytes=256 * 2**20))
    async with answering(many(1_000_000)) as url:
        before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        try:
            await remote.references(Repository(url=url), HEADS)
        except GitTooManyReferences as error:
            more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
            print(f"{more:.0f} MiB more, {time.process_time() - began:.2f} s CPU (of both sides): {error}")
    await remote.close()


def main():
    """Measure, and print one line each."""
    if sys.argv[1:] == ["client"]:
        asyncio.run(client())
        return
    names = sys.argv[1:] or ["single", "many", "hostile"]
    with World() as world:
        for name in names:
            {"single": single, "many": many, "hostile": hostile}[name](world)


if __name__ == "__main__":
    main()
