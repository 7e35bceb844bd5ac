"""An installation at size: its objects are created by many requests at a time, its replicas measured from outside."""

import asyncio
import contextlib
import json
import ssl
import threading
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import aiohttp

from benchmarks.canned import HEAD
from git_events_runner.resources.kinds import GROUP
from tests.cluster.plane import wait_until
from tests.system.replica import Replica
from tests.system.roles import bind

VERSION = f"{GROUP}/v1alpha1"
OURS = f"/apis/{VERSION}"
PREFIX = "git_events_runner"
CHECKS, LAG = f"{PREFIX}_check_verdicts_total", f"{PREFIX}_event_loop_lag_seconds_bucket"
_AT_A_TIME = 24
_PROBE_S = 0.02
_PROCESS_CLOCK = 2  # clock_getcpuclockid(3): the CPU time of a process, on Linux
_PATCH = {list: "application/json-patch+json", dict: "application/merge-patch+json"}


def moment():
    """Now, as a status holds it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Bulk:
    """Requests to the API server, many at a time."""

    def __init__(self, plane):
        self._url, self._token = plane.url, plane.admin_token
        self._context = ssl.create_default_context(cafile=str(plane.authority.path))

    def send(self, requests):
        """Send (method, path, body) in any order; fails on an error of one."""
        asyncio.run(self._send(list(requests)))

    async def _send(self, requests):
        connector = aiohttp.TCPConnector(limit=_AT_A_TIME, ssl=self._context)
        headers = {"Authorization": f"Bearer {self._token}"}
        waiting = iter(requests)
        async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

            async def work():
                for method, path, body in waiting:
                    kind = _PATCH[type(body)] if method == "PATCH" else "application/json"
                    data = None if body is None else json.dumps(body)
                    async with session.request(
                        method, self._url + path, data=data, headers={"Content-Type": kind}
                    ) as answer:
                        text = await answer.text()
                        assert answer.status < 300, text[:500]

            await asyncio.gather(*(work() for _ in range(_AT_A_TIME)))

    def watch(self, path, seen):
        """Call `seen(event)` for each event of a watch, in a thread, until the process ends.

        The API server ends watches that are read too slowly; the next one begins with the state of all objects again.
        """
        request = urllib.request.Request(
            f"{self._url}{path}?watch=true", headers={"Authorization": f"Bearer {self._token}"}
        )

        def read():
            while True:
                with (
                    contextlib.suppress(OSError, ValueError),
                    urllib.request.urlopen(request, context=self._context) as stream,
                ):
                    for line in stream:
                        event = json.loads(line)
                        if event["type"] != "ERROR":
                            seen(event)
                time.sleep(0.2)

        threading.Thread(target=read, daemon=True).start()


def ours(kind, namespace, name, spec):
    """The request that creates one of our objects."""
    body = {"apiVersion": VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}
    return "POST", f"{OURS}/namespaces/{namespace}/{kind.lower()}s", body


def recorded(namespace, plural, name, *sources):
    """The request that records the canned server's commit in a trigger's status: nothing is new."""
    now = moment()
    entry = {"commitHash": HEAD, "changed": now, "runs": 1, "requested": 0, "handled": 0, "answeredAt": now}
    status = {"checkedSources": dict.fromkeys(sources, entry), "lastRun": now}
    return "PATCH", f"{OURS}/namespaces/{namespace}/{plural}/{name}/status", {"status": status}


def spec_of(*sources, **more):
    """The spec of a trigger."""
    watch = {"kind": "GitRepo", "names": list(sources), "watchOn": {"onChangeOnly": True}}
    return {"sources": watch, "action": {"kind": "Action", "name": "build"}, **more}


class Fleet:
    """One installation: a namespace for the controller, perhaps others for tenants, and its replicas."""

    def __init__(self, world, git, *, config="", tenants=0):
        self.world, self.git, self.replicas = world, git, []
        self.bulk = Bulk(world.plane)
        self.namespace = world.namespace()
        self.tenants = [self._tenant(f"{self.namespace}-t{n}") for n in range(tenants)]
        text = "git: {hostRate: 2000, hostBurst: 200, hostConcurrency: 64}\n" + config
        world.api.post(
            f"/api/v1/namespaces/{self.namespace}/configmaps",
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "git-events-runner-config"},
                "data": {"runtimeConfig": text},
            },
        )

    def _tenant(self, name):
        api = self.world.api
        api.post("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        bind(api, name)
        api.ours("Action", name, "build", {"actionJob": {"command": ["true"]}})
        return name

    def triggers(self, count, *, repositories=None, interval_s=60, known=True):
        """ScheduleTriggers, each on its own repository or on one of so many; `known`: their commit is recorded."""
        places = self.tenants or [self.namespace]
        at = [(places[n % len(places)], n) for n in range(count)]
        repositories = repositories or count
        self.bulk.send(
            ours("GitRepo", place, f"app{n}", {"repoUri": f"{self.git.url}/refs-10/{self.namespace}-{n}.git"})
            for place, n in at[:repositories]
        )
        self.bulk.send(
            ours(
                "ScheduleTrigger",
                place,
                f"t{n}",
                spec_of(f"app{n % repositories}", schedule={"interval": f"{interval_s}s"}),
            )
            for place, n in at
        )
        if known:
            self.bulk.send(recorded(place, "scheduletriggers", f"t{n}", f"app{n % repositories}") for place, n in at)

    def start(self, number=0):
        """A replica that is ready."""
        made = Measured(self.world.plane, self.world.folder, self.namespace, number, tenants=self.tenants)
        self.replicas.append(made)
        return made.wait_ready(timeout_s=180)

    def close(self):
        """End its replicas; the objects stay, nobody watches them."""
        for replica in self.replicas:
            if replica.process.running:
                replica.kill()


class Measured(Replica):
    """A replica whose CPU, memory, series and event loop are read from outside."""

    def fine_cpu_s(self):
        """CPU seconds so far, of all threads and those that have ended, in nanoseconds' resolution."""
        return time.clock_gettime(~self.process.pid << 3 | _PROCESS_CLOCK)

    def scrape(self):
        """The samples by series, seconds of CPU while it was answered, and its bytes."""
        before = self.fine_cpu_s()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.utility}/metrics", timeout=60) as answer:
            text = answer.read()
        used_s = self.fine_cpu_s() - before
        lines = [line for line in text.decode().splitlines() if line and line[0] != "#"]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}, used_s, len(text)

    def total(self, start):
        """Sum of a metric's series."""
        return total(self.scrape()[0], start)

    def wait_checks(self, count, *, timeout_s=300):
        """Return when so many checks were done since its start."""
        wait_until(f"{count} checks", lambda: self.total(CHECKS) >= count, timeout_s=timeout_s, every_s=2.0)

    def wait_leading(self, timeout_s=60):
        """Return when it is the leader."""
        wait_until("a leader", lambda: self.leads, timeout_s=timeout_s, every_s=0.2)

    def api_cpu_s(self, plane):
        """CPU seconds of the API server."""
        fields = Path(f"/proc/{plane.apiserver.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100


def total(series, start):
    """Sum of a metric's series."""
    return sum(value for name, value in series.items() if name.startswith(start))


def lag_of(series):
    """Upper bound of the bucket of the event loop's longest lag, in seconds."""
    counts = {
        float(name.partition('le="')[2].partition('"')[0]): value
        for name, value in series.items()
        if name.startswith(LAG)
    }
    return min(bound for bound, count in counts.items() if count == counts[float("inf")])


class Prober:
    """Asks `/alive` each 20 ms while entered: the longest answer shows how long the loop was held up."""

    def __init__(self, replica):
        self._port = replica.utility
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._work()), daemon=True)
        self.longest_s = 0.0

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(30)

    async def _work(self):
        async with aiohttp.ClientSession() as session:
            while not self._stop.is_set():
                began = time.monotonic()
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"http://127.0.0.1:{self._port}/alive") as answer:
                        await answer.read()
                self.longest_s = max(self.longest_s, time.monotonic() - began)
                await asyncio.sleep(_PROBE_S)
