"""The neighbour's probe: a process of its own that calls a webhook, follows Jobs and `/alive`, and weighs the replica.

`python -m tests.adversary.probe` reads its order as one JSON line, works until standard input ends, then prints what
it measured as one JSON line. Seconds and MiB throughout. A process of its own, so that an attack in Python does not
disturb the measurement; how slow the machine and the API server are meanwhile is measured as well (`writes`, `naps`).
"""

import contextlib
import http.client
import itertools
import json
import ssl
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

from tests.cluster.api import Api
from tests.cluster.finisher import Finisher

# Runs of one trigger wait for one another: on a slow machine, all calls to one of them would measure that alone.
HOOKS = ("hook-0", "hook-1", "hook-2", "hook-3")
_CALL_EVERY_S = 0.25
_ALIVE_EVERY_S = 0.1
_WRITE_EVERY_S = 0.2
_NAP_S = 0.02
_TIMEOUT_S = 20.0
_REST_S = 30.0


class Probe:
    """Threads that append to lists; `report` says what they found."""

    def __init__(self, order):
        self._order = order
        self._context = ssl.create_default_context(cafile=order["authority"])
        self._stop = threading.Event()
        self._quit = threading.Event()
        self.refused, self.alive, self.rss, self.writes, self.naps = [], [], [], [], []
        self.called = {name: [] for name in HOOKS}
        self._turns = itertools.cycle(HOOKS)
        self.jobs, self.started = {}, {}
        self._callers = []
        self._began = time.time()

    def run(self):
        """Work until standard input ends; then wait for the Jobs that are still owed."""
        work = [self._call, self._ask_alive, self._weigh, self._write, self._nap]
        threads = [threading.Thread(target=self._until_stopped, args=(one,), daemon=True) for one in work]
        watcher = threading.Thread(target=self._watch, daemon=True)
        host, port = self._order["api"]
        plane = SimpleNamespace(
            host=host,
            port=port,
            admin_token=self._order["token"],
            authority=SimpleNamespace(path=self._order["authority"]),
        )
        with Finisher(Api(plane), self._order["namespace"], run_s=0.2):
            for thread in (watcher, *threads):
                thread.start()
            print("started", flush=True)
            sys.stdin.readline()
            self._stop.set()
            for thread in (*threads, *self._callers):
                thread.join(_TIMEOUT_S)
            deadline = time.monotonic() + _REST_S
            while self._owed(self.started) and time.monotonic() < deadline:
                time.sleep(0.05)
        self._quit.set()

    def report(self):
        """Lists of seconds: webhook to Job (and to its start), lateness of scheduled Jobs, answers of `/alive`; MiB."""
        clocks = self._of("clock", self.jobs)
        return {
            "webhook_to_job": self._after_call(self.jobs),
            "webhook_to_start": self._after_call(self.started),
            "lost": self._owed(self.jobs),
            "refused": self.refused,
            "late": [seen_at - due_at for _, (seen_at, due_at) in clocks],
            "due": [due_at for _, (_, due_at) in clocks],
            "alive": self.alive,
            "rss": self.rss,
            "writes": self.writes,
            "naps": self.naps,
        }

    def _after_call(self, noted):
        return [
            max(seen - called, 0.0)
            for name in HOOKS
            for called, (seen, _) in zip(sorted(self.called[name]), self._of(name, noted), strict=False)
        ]

    def _owed(self, noted):
        """How many accepted calls have no Job there."""
        return sum(max(len(self.called[name]) - len(self._of(name, noted)), 0) for name in HOOKS)

    def _of(self, trigger, seen):
        """What was noted of each Job of a trigger, by its number: (monotonic, (wall clock, scheduled time))."""
        return [noted for _, noted in sorted((key[1], noted) for key, noted in list(seen.items()) if key[0] == trigger)]

    def _until_stopped(self, step):
        while not self._stop.is_set():
            step()

    def _call(self):
        """A call every quarter of a second, whether the one before is answered or not."""
        caller = threading.Thread(target=self._call_once, args=(next(self._turns), time.monotonic()), daemon=True)
        self._callers.append(caller)
        caller.start()
        self._stop.wait(_CALL_EVERY_S)

    def _call_once(self, name, began):
        status = self._request(self._order["hooks"], "POST", f"/{self._order['namespace']}/{name}", b"{}")
        if status == 202:
            self.called[name].append(began)
        else:
            self.refused.append(status)

    def _ask_alive(self):
        began = time.monotonic()
        status = self._request(self._order["utility"], "GET", "/alive")
        self.alive.append(time.monotonic() - began if status == 200 else _TIMEOUT_S)
        self._stop.wait(_ALIVE_EVERY_S)

    def _weigh(self):
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{self._order['pid']}/status").read_text()
            self.rss += [int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("VmRSS")]
        self._stop.wait(_ALIVE_EVERY_S)

    def _write(self):
        """One write to the API server: what the cluster costs just now, without the program."""
        began = time.monotonic()
        body = {"metadata": {"annotations": {"mood": str(began)}}}
        with contextlib.suppress(OSError, http.client.HTTPException):
            self._api("PATCH", f"/api/v1/namespaces/{self._order['namespace']}", body)
            self.writes.append(time.monotonic() - began)
        self._stop.wait(_WRITE_EVERY_S)

    def _nap(self):
        """How much longer than asked a thread sleeps: what the machine is like just now."""
        began = time.monotonic()
        time.sleep(_NAP_S)
        self.naps.append(time.monotonic() - began - _NAP_S)

    def _request(self, port, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__
        else:
            return answer.status
        finally:
            connection.close()

    def _connection(self):
        return http.client.HTTPSConnection(*self._order["api"], context=self._context, timeout=_TIMEOUT_S)

    def _headers(self):
        return {
            "Authorization": f"Bearer {self._order['token']}",
            "Content-Type": "application/merge-patch+json",
        }

    def _api(self, method, path, body):
        connection = self._connection()
        try:
            connection.request(method, path, json.dumps(body), self._headers())
            connection.getresponse().read()
        finally:
            connection.close()

    def _watch(self):
        """Follow the Jobs of the namespace; the first sight of each is noted."""
        path = f"/apis/batch/v1/namespaces/{self._order['namespace']}/jobs?watch=true&resourceVersion=0"
        while not self._quit.is_set():
            connection = self._connection()
            try:
                connection.request("GET", path, headers=self._headers())
                answer = connection.getresponse()
                while not self._quit.is_set():
                    line = answer.readline()
                    if not line:
                        break
                    self._note(json.loads(line).get("object") or {})
            except (OSError, http.client.HTTPException, ValueError):
                continue
            finally:
                connection.close()

    def _note(self, job):
        metadata = job.get("metadata") or {}
        labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
        run = str(annotations.get("git-events-runner.rs/run") or "")
        number = run.rpartition("/")[2]
        trigger = labels.get("git-events-runner.rs/trigger-name")
        if not number.isdigit() or trigger not in {*HOOKS, "clock"}:
            return
        key, now = (trigger, int(number)), datetime.now(UTC)
        created = _time(metadata.get("creationTimestamp")) or now
        if trigger == "clock" and created.timestamp() < self._began - 1:
            return  # it was there before: when it was made cannot be told to the second
        due = _time(annotations.get("git-events-runner.rs/occurrence")) or now
        noted = (time.monotonic(), (now.timestamp(), due.timestamp()))
        self.jobs.setdefault(key, noted)
        if not job["spec"].get("suspend"):
            self.started.setdefault(key, noted)


def _time(text):
    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None


def main():
    """Read the order, measure, report."""
    probe = Probe(json.loads(sys.stdin.readline()))
    probe.run()
    print(json.dumps(probe.report()), flush=True)


if __name__ == "__main__":
    main()
