"""Webhooks under load, by a generator of its own (Go, open loop): floods, durable deliveries, many triggers."""

import asyncio
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from git_events_runner.edges.kube.client import Client
from git_events_runner.resources.kinds import KINDS
from git_events_runner.resources.ref import Ref
from tests.cluster.plane import wait_until
from tests.forges import deliveries as d
from tests.system.conftest import sources
from tests.system.fuzz import fuzz, prepare
from tests.system.sending import requested, secret

MARK = "00000000-0000-4000-8000-000000000000"
WRITES = "git_events_runner_status_writes_total"
WRONG = "not the secret of the house"
_LOAD = Path(__file__).parent / "load"


def say(name, text):
    """One figure."""
    print(f"{name:34s} {text}", flush=True)


def request_file(folder, name, path, delivery):
    """One request as bytes in a file; its delivery id is replaced by the generator."""
    headers, body = delivery
    lines = [f"POST {path} HTTP/1.1", "Host: hooks.example.com", f"Content-Length: {len(body)}"]
    lines += [f"{key}: {MARK if key == 'X-GitHub-Delivery' else value}" for key, value in headers.items()]
    found = Path(folder) / name
    found.write_bytes("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    return str(found)


def load(folder, replica, files, *, rate, seconds, connections):
    """Offer requests; what the generator has measured."""
    binary = Path(folder) / "load"
    if not binary.exists():
        subprocess.run([shutil.which("go"), "build", "-o", str(binary), "."], cwd=_LOAD, check=True)
    command = [str(binary), "-address", f"127.0.0.1:{replica.hooks}", "-probe", f"127.0.0.1:{replica.utility}"]
    command += ["-rate", str(rate), "-seconds", str(seconds), "-connections", str(connections), *files]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def told(found, cpu_s=None):
    """The generator's figures as a line."""
    statuses = ", ".join(f"{count} x {status}" for status, count in sorted(found["statuses"].items()))
    parts = [f"{found['offered'] / found['offered_s']:.0f}/s offered in {found['offered_s']:.1f} s: {statuses}"]
    if found["accepted"]:
        accepted = found["accepted"]
        rate = accepted["count"] / found["took_s"]
        parts.append(f"202: {rate:.0f}/s, p50 {accepted['p50']:.0f} ms, p99 {accepted['p99']:.0f} ms")
    if found["probe"]:
        parts.append(f"/alive p50 {found['probe']['p50']:.1f} ms, p99 {found['probe']['p99']:.1f} ms")
    if cpu_s is not None:
        parts.append(f"CPU: controller {cpu_s:.1f} s, generator {found['cpu_s']:.1f} s")
    return "; ".join(parts)


def trigger(world, namespace, name, kind="github"):
    """A trigger with the secret that every delivery here is signed with."""
    spec = sources() | {"webhook": {"multiSource": True}}
    spec["webhook"]["authConfig"] = {"secretRef": {"name": "hook"}, "key": "token", "type": kind}
    world.api.ours("WebhookTrigger", namespace, name, spec)


def ready_world(world, count):
    """A namespace with `count` triggers on one repository, and a replica that leads."""
    namespace, repository = world.namespace(), world.git.repository()
    head = repository.push({"f": "0\n"})
    secret(world.api, namespace, "hook", d.SECRET)
    world.api.ours("GitRepo", namespace, "app", {"repoUri": repository.url})
    for number in range(count):
        trigger(world, namespace, f"t{number}")
    replica = world.replica(namespace)
    wait_until("it leads", lambda: replica.leads)
    return namespace, repository, head, replica


def counted(world, namespace, count):
    """Deliveries that are in the statuses."""
    return sum(requested(world.api, namespace, f"t{number}") for number in range(count))


def flood(world):
    """10,000 requests a second offered for 15 s: valid, wrong, unproven, unknown paths, other branches."""
    namespace, repository, head, replica = ready_world(world, 1)
    with tempfile.TemporaryDirectory() as folder:
        good = d.github(after=head, url=repository.url)
        path = f"/{namespace}/t0"
        files = [
            request_file(folder, "good", path, good),
            request_file(folder, "wrong", path, d.github(secret=WRONG, url=repository.url)),
            request_file(folder, "unproven", path, ({"Content-Type": "application/json"}, good[1])),
            request_file(folder, "unknown", f"/{namespace}/none", good),
            request_file(folder, "other", path, d.github(ref="refs/heads/other", url=repository.url)),
        ]
        load(folder, replica, files[:1], rate=50, seconds=2, connections=4)
        before, memory = counted(world, namespace, 1), replica.rss_mib()
        cpu_s = replica.cpu_s()
        found = load(folder, replica, files, rate=10_000, seconds=15, connections=512)
        cpu_s = replica.cpu_s() - cpu_s
    lost = found["statuses"].get("202", 0) - (counted(world, namespace, 1) - before)
    say("flood of 10,000/s", told(found, cpu_s))
    say("flood, kinds", str(found["by"]))
    say("flood, memory", f"{memory:.0f} MiB before, {replica.rss_mib():.0f} MiB after")
    say("flood, accepted and not counted", str(lost))
    wait_until("it is answered", lambda: _answered(world, namespace, 1), timeout_s=60)
    replica.process.stop()


def durable(world):
    """One trigger: how many deliveries a second are accepted, each in the status before its 202."""
    namespace, repository, head, replica = ready_world(world, 1)
    with tempfile.TemporaryDirectory() as folder:
        good = [request_file(folder, "good", f"/{namespace}/t0", d.github(after=head, url=repository.url))]
        load(folder, replica, good, rate=50, seconds=2, connections=4)
        for rate in (1000, 1500, 2000, 3000):
            before, cpu_s, writes = counted(world, namespace, 1), replica.cpu_s(), replica.metric(WRITES)
            found = load(folder, replica, good, rate=rate, seconds=8, connections=128)
            new = counted(world, namespace, 1) - before
            figures = told(found, replica.cpu_s() - cpu_s)
            writes = replica.metric(WRITES) - writes
            say(f"durable, one trigger, {rate}/s", f"{figures}; {new} counted in {writes:.0f} writes")
            wait_until("it is answered", lambda: _answered(world, namespace, 1), timeout_s=60)
    replica.process.stop()


async def _put_statuses(world, namespace, count, seconds):
    """Status writes a second of 16 writers, each a PUT to one of `count` triggers: what the API server can do here."""
    kind, done = KINDS["WebhookTrigger"], 0
    async with Client.connect(str(world.plane.kubeconfig("admin-token"))) as client:
        found = [await client.get(Ref(kind.name, namespace, f"t{number}")) for number in range(count)]
        until = time.monotonic() + seconds

        async def write(share):
            nonlocal done
            for obj in itertools.cycle(share):
                if time.monotonic() > until:
                    return
                names = ("name", "namespace", "uid", "resourceVersion")
                lean = {"apiVersion": kind.api_version, "kind": kind.name}
                lean["metadata"] = {name: obj["metadata"][name] for name in names}
                status = obj["status"]
                status["deliveries"] = status["deliveries"][11:] + f"{done:011d}"
                obj.update(await client.replace(kind, lean | {"status": status}, subresource="status", strict=True))
                done += 1

        await asyncio.gather(*(write(found[number::16]) for number in range(16)))
    return done / seconds


def ceiling(world, namespace, count):
    """What the API server does alone, just now: machines differ, and one machine from minute to minute."""
    say("the API server alone", f"{asyncio.run(_put_statuses(world, namespace, count, 5)):.0f} status writes/s")


def many(world):
    """100 triggers: latency at 200 deliveries a second, and where it saturates; beside what the API server can do."""
    namespace, repository, head, replica = ready_world(world, 100)
    with tempfile.TemporaryDirectory() as folder:
        good = d.github(after=head, url=repository.url)
        files = [request_file(folder, f"t{n}", f"/{namespace}/t{n}", good) for n in range(100)]
        load(folder, replica, files, rate=50, seconds=4, connections=8)
        wait_until("they ran once", lambda: len(world.api.jobs(namespace)) == 100, timeout_s=60)
        time.sleep(20)
        for rate in (100, 150, 200, 280, 350):
            before, cpu_s, writes = counted(world, namespace, 100), replica.cpu_s(), replica.metric(WRITES)
            found = load(folder, replica, files, rate=rate, seconds=10, connections=64)
            new = counted(world, namespace, 100) - before
            figures = told(found, replica.cpu_s() - cpu_s)
            writes = replica.metric(WRITES) - writes
            say(f"durable, 100 triggers, {rate}/s", f"{figures}; {new} counted in {writes:.0f} writes")
            wait_until("they are answered", lambda: _answered(world, namespace, 100), timeout_s=90)
    replica.process.stop()
    ceiling(world, namespace, 100)


def fuzzed(world):
    """100,000 requests of the fuzzer: statuses, tracebacks, memory."""
    namespace, repository = world.namespace(), world.git.repository()
    repository.push({"f": "0\n"})
    world.api.ours("GitRepo", namespace, "app", {"repoUri": repository.url})
    prepare(world.api, namespace)
    replica = world.replica(namespace)
    memory, started = replica.rss_mib(), time.monotonic()
    statuses = fuzz(replica, namespace, count=100_000, seed=time.time_ns())
    listed = ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items(), key=str))
    say("fuzz", f"{sum(statuses.values())} requests in {time.monotonic() - started:.0f} s: {listed}")
    say("fuzz, memory", f"{memory:.0f} MiB before, {replica.rss_mib():.0f} MiB after")
    say("fuzz, tracebacks", str(replica.process.text().count("Traceback")))
    replica.process.stop()


def _answered(world, namespace, count):
    for number in range(count):
        status = world.api.trigger(namespace, f"t{number}")["status"]["checkedSources"]["app"]
        if status["handled"] != status["requested"]:
            return False
    return True


ALL = {"webhooks-flood": flood, "webhooks-durable": durable, "webhooks-many": many, "webhooks-fuzz": fuzzed}
