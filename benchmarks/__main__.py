"""Measures what docs/performance.md claims and prints one line a figure; `python -m benchmarks [NAME …]`."""

import json
import ssl
import statistics
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from benchmarks import recovery, webhooks
from benchmarks.world import World
from tests.cluster.plane import wait_until
from tests.system.conftest import sources

CHECKS = "git_events_runner_trigger_check_count_total"
WRITES = "git_events_runner_status_writes_total"
COMMIT = "git-events-runner.rs/commit"


def say(name, text):
    """One figure."""
    print(f"{name:28s} {text}", flush=True)


def unchanged(world):
    """60 ScheduleTriggers every 2 s on an unchanged repository: requests, bytes, CPU and writes of a check."""
    shapes = {
        "20 files": ({f"f{n}": "x\n" for n in range(20)}, 0),
        "1,000 files": ({f"d{n % 20}/f{n}": "x\n" for n in range(1000)}, 0),
        "20,001 refs": ({"f": "x\n"}, 20_000),
    }
    for name, (files, refs) in shapes.items():
        namespace, repository = world.namespace(), world.git.repository()
        head = repository.push(files)
        if refs:
            lines = "".join(f"create refs/heads/b{n} {head}\n" for n in range(refs))
            repository.git("update-ref", "--stdin", stdin=lines)
            repository.git("pack-refs", "--all")
        world.api.ours("GitRepo", namespace, "app", {"repoUri": repository.url})
        for number in range(60):
            world.api.ours("ScheduleTrigger", namespace, f"t{number}", sources() | {"schedule": {"interval": "2s"}})
        replica = world.replica(namespace)
        wait_until("60 Jobs", lambda ns=namespace: len(world.api.jobs(ns)) == 60, timeout_s=60)
        time.sleep(20)  # the Jobs' TTLs and phases are written
        before = (replica.cpu_s(), replica.metric(CHECKS), replica.metric(WRITES), len(world.git.requests(repository)))
        time.sleep(30)
        after = (replica.cpu_s(), replica.metric(CHECKS), replica.metric(WRITES), len(world.git.requests(repository)))
        cpu_s, checks, writes, requests = (b - a for a, b in zip(before, after, strict=True))
        window = world.git.requests(repository)[before[3] :]
        size = sum(request.sent + request.received for request in window)
        say(
            f"unchanged, {name}",
            f"{checks:.0f} checks: {requests / checks:.2f} requests, {size / checks:.0f} bytes, "
            f"{1000 * cpu_s / checks:.2f} ms CPU, {writes:.0f} status writes; {replica.rss_mib():.0f} MiB",
        )
        replica.process.stop()


class JobWatch:
    """When the Job of each commit was first seen, by a watch of its own."""

    def __init__(self, plane, namespace):
        self.seen = {}
        context = ssl.create_default_context(cafile=str(plane.authority.path))
        path = f"/apis/batch/v1/namespaces/{namespace}/jobs?watch=true"
        headers = {"Authorization": f"Bearer {plane.admin_token}"}
        stream = urllib.request.urlopen(urllib.request.Request(plane.url + path, headers=headers), context=context)
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def _read(self, stream):
        for line in stream:
            event = json.loads(line)
            self.seen.setdefault(event["object"]["metadata"]["annotations"][COMMIT], time.monotonic())


def latency(world):
    """Webhook sent to Job object there, one push at a time."""
    namespace, repository = world.namespace(), world.git.repository()
    world.api.ours("GitRepo", namespace, "app", {"repoUri": repository.url})
    world.api.ours("WebhookTrigger", namespace, "hook", sources() | {"webhook": {"multiSource": True}})
    replica = world.replica(namespace)
    wait_until("it leads", lambda: replica.leads)
    times = []
    watch = JobWatch(world.plane, namespace)
    for number in range(30):
        pushed = repository.push({"f": f"{number}\n"})
        started = time.monotonic()
        assert replica.post(f"/{namespace}/hook") == 202

        seen_at = wait_until("the Job", lambda pushed=pushed: watch.seen.get(pushed), every_s=0.002)
        times.append(1000 * (seen_at - started))
        time.sleep(0.3)
    times.sort()
    say("webhook to Job", f"p50 {statistics.median(times):.0f} ms, max {times[-1]:.0f} ms over {len(times)} pushes")
    replica.process.stop()


def storm(world):
    """300 deliveries of one push to two replicas."""
    namespace, repository = world.namespace(), world.git.repository()
    repository.push({"f": "0\n"})
    world.api.ours("GitRepo", namespace, "app", {"repoUri": repository.url})
    world.api.ours("WebhookTrigger", namespace, "hook", sources() | {"webhook": {"multiSource": True}})
    both = [world.replica(namespace, 0), world.replica(namespace, 1)]
    with ThreadPoolExecutor(32) as pool:
        started = time.monotonic()
        answers = list(pool.map(lambda n: both[n % 2].post(f"/{namespace}/hook"), range(300)))
        answered_s = time.monotonic() - started

    def settled():
        entry = world.api.trigger(namespace, "hook")["status"]["checkedSources"]["app"]
        return entry["handled"] == entry["requested"] == 300

    wait_until("settled", settled, timeout_s=60)
    say(
        "300 deliveries of one push",
        f"{len(world.api.jobs(namespace))} Job, {len(world.git.requests(repository))} git requests, answered in "
        f"{answered_s:.1f} s ({answers.count(202)} with 202), settled in {time.monotonic() - started:.1f} s",
    )
    for replica in both:
        replica.process.stop()


def memory(world):
    """Resident memory idle, and with 1,000 triggers."""
    namespace, repository = world.namespace(), world.git.repository()
    repository.push({"f": "0\n"})
    replica = world.replica(namespace)
    time.sleep(5)
    say("memory, idle", f"{replica.rss_mib():.0f} MiB")
    world.api.ours("GitRepo", namespace, "app", {"repoUri": repository.url})
    for number in range(1000):
        spec = sources() | {"webhook": {"multiSource": True}}
        world.api.ours("WebhookTrigger", namespace, f"t{number}", spec)
    wait_until(
        "all are reconciled",
        lambda: (world.api.trigger(namespace, "t999").get("status") or {}).get("conditions"),
        timeout_s=120,
    )
    time.sleep(5)
    say("memory, 1,000 triggers", f"{replica.rss_mib():.0f} MiB")
    started = time.monotonic()
    replica.process.stop()
    say("clean stop", f"{time.monotonic() - started:.1f} s")


ALL = {function.__name__: function for function in (memory, latency, storm, unchanged, recovery.recovery)}
ALL |= webhooks.ALL


def main():
    """Run those named, or all."""
    names = sys.argv[1:] or list(ALL)
    with World() as world:
        for name in names:
            ALL[name](world)


if __name__ == "__main__":
    main()
