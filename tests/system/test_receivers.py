"""Receivers that fail in every way, with real sockets: what arrives, what it costs, and that no run waits for them.

`GIT_EVENTS_RUNNER_LONG=1` lets them fail for ten minutes, with answers after 30 s, and prints the table.
"""

import http.server
import json
import os
import threading
import time
from collections import Counter

import pytest

from tests.cluster.api import OURS
from tests.cluster.finisher import Finisher
from tests.cluster.plane import free_port, wait_until
from tests.forges import deliveries as d
from tests.system.conftest import sources
from tests.system.sending import secret

LONG = bool(os.environ.get("GIT_EVENTS_RUNNER_LONG"))
RUNS = 60 if LONG else 20
FAILS_S = 600.0 if LONG else 0.0
SLOW_S = 30.0 if LONG else 1.0
FAULTS = ("none", "down", "slow", "429", "401", "422", "503", "hanging", "endless")
REFUSED = {"401", "422"}


class Faulty:
    """A receiver with one fault, until it is healed; `got` are the ids and states that it has accepted."""

    def __init__(self, fault):
        self.fault, self.port, self.got, self.requests = fault, free_port(), [], 0
        self.healed, self._server = threading.Event(), None
        if fault != "down":
            self._serve()

    def _serve(self):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.requests += 1
                outer.answer(self, self.headers["webhook-id"], json.loads(body))

            def log_message(self, *_):
                """Print nothing."""

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_):
                """The client may end a connection at any time."""

        self._server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def answer(self, handler, identity, body):
        """As the fault wants it; a message counts as accepted when the whole answer is sent, or has begun."""
        fault = "none" if self.healed.is_set() else self.fault
        if fault == "hanging":
            self.healed.wait(900)
            handler.close_connection = True
            return
        if fault == "slow":
            self.healed.wait(SLOW_S)
        status = int(fault) if fault.isdigit() else 204
        if status == 204:
            self.got.append((identity, body["data"]["job"], body["type"]))
        handler.send_response(200 if fault == "endless" else status)
        if status == 429:
            handler.send_header("Retry-After", "2")
        if fault != "endless":
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.close_connection = True
        while not self.healed.is_set():
            handler.wfile.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")

    def heal(self):
        """From now on it accepts everything."""
        self.healed.set()
        if self._server is None:
            self._serve()

    def close(self):
        self.healed.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


@pytest.fixture
def receivers():
    found = {fault: Faulty(fault) for fault in FAULTS}
    yield found
    for one in found.values():
        one.close()


class Times:
    """How long it takes from a webhook to its Job."""

    def __init__(self, api, namespace, replica):
        self._api, self._namespace, self._replica = api, namespace, replica

    def run(self, trigger, count, every_s=0.0):
        """Request runs one after the other; the seconds of each until its Job exists."""
        seconds, known = [], len(self._api.jobs(self._namespace, trigger))
        for number in range(1, count + 1):
            begin = time.monotonic()
            wait_until("the webhook", lambda: self._replica.post(f"/{self._namespace}/{trigger}") == 202)
            wait_until(
                "its Job",
                lambda n=known + number: len(self._api.jobs(self._namespace, trigger)) >= n,
                timeout_s=60,
                every_s=0.02,
            )
            seconds.append(time.monotonic() - begin)
            time.sleep(max(0.0, every_s - seconds[-1]))
        return seconds


def _p99(seconds):
    return sorted(seconds)[min(len(seconds) - 1, int(len(seconds) * 0.99))]


@pytest.mark.timeout(1500 if LONG else 300)
def test_receivers_that_fail_lose_nothing_and_delay_nothing(world, installation, replicas, receivers):
    """Each accepts every run's end once it works, at most one twice; a refusal is a condition until it changes."""
    secret(world, installation, "key", d.SECRET)
    for name in ("before", "during"):
        labels = {"reported": "yes"} if name == "during" else {}
        spec = sources(onChangeOnly=False) | {"webhook": {"multiSource": True}}
        world.ours("WebhookTrigger", installation, name, spec, labels=labels)
    replica = replicas(0)
    times = Times(world, installation, replica)
    with Finisher(world, installation):
        before = times.run("before", RUNS)
        quiet_mib = replica.rss_mib()
        for fault, receiver in receivers.items():
            spec = {
                "type": "webhook",
                "address": f"http://127.0.0.1:{receiver.port}/hook",
                "secretRef": {"name": "key", "key": "token"},
                "events": ["Succeeded"],
                "triggers": {"selector": {"matchLabels": {"reported": "yes"}}},
            }
            world.ours("Notifier", installation, f"to-{fault}", spec)
        wait_until("the first message", lambda: _requested(times, receivers["none"]), timeout_s=60)
        during = times.run("during", RUNS, every_s=FAILS_S / RUNS)
        failing_mib = replica.rss_mib()
        jobs = {job["metadata"]["name"] for job in world.jobs(installation, "during")}
        for fault in REFUSED:
            refused = lambda f=fault: _condition(world, installation, f) == "DeliveryRefused"  # noqa: E731
            wait_until(f"the condition of {fault}", refused, timeout_s=60)
        for receiver in receivers.values():
            receiver.heal()
        for fault in REFUSED:
            path = f"{OURS}/namespaces/{installation}/notifiers/to-{fault}"
            world.patch(path, {"spec": {"targetUrl": "https://ci.example/{run}"}})

        def missing():
            return {fault: jobs - {job for _, job, _ in one.got} for fault, one in receivers.items()}

        wait_until("every message", lambda: not any(missing().values()), timeout_s=200)
    doubled = {f: sum(n - 1 for n in Counter(i for i, *_ in one.got).values()) for f, one in receivers.items()}
    if LONG:
        print(f"\nwebhook to Job, p99 of {RUNS}: {_p99(before):.3f} s without, {_p99(during):.3f} s with failing ones")
        print(f"resident memory: {quiet_mib:.1f} MiB without, {failing_mib:.1f} MiB with failing ones")
        for fault, one in receivers.items():
            print(f"{fault:8} requests {one.requests:5} lost {len(missing()[fault])} doubled {doubled[fault]}")
    assert all(count <= 1 for count in doubled.values()), doubled
    assert failing_mib < quiet_mib + 40
    assert "Traceback" not in replica.process.text()


def _requested(times, receiver):
    """Whether a run is reported; else another one is requested: the replica may not know the Notifiers yet."""
    times.run("during", 1)
    return receiver.got


def _condition(api, namespace, fault):
    """The reason of the condition Ready."""
    status = api.get(f"{OURS}/namespaces/{namespace}/notifiers/to-{fault}").get("status") or {}
    return next((one["reason"] for one in status.get("conditions") or ()), None)
