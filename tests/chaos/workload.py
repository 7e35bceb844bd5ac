"""Pushes and deliveries, as people and forges make them; every one is written into the evidence."""

import concurrent.futures
import contextlib
import http.client
import threading
import time
import uuid

from tests.chaos.evidence import Delivery
from tests.forges import deliveries as forge

_ANSWER_S = 8.0


class Workload:
    """Works on the sources of an arena. A forge tries again for as long as nothing but `finish` ends it."""

    def __init__(self, arena, dice):
        self._arena, self._dice = arena, dice
        self._pool = concurrent.futures.ThreadPoolExecutor(16)
        self._stop = threading.Event()
        self._pushing = threading.Lock()
        self._flying = []

    def push(self, name, *, to=None):
        """Push to the repository of a trigger, and deliver it (first `to` that pod) if it is called; its future."""
        repository, source = self._arena.repositories[name], self._arena.evidence.sources[name]
        with self._pushing:  # a fault may push, too
            number = len(source.commits)
            source.commits.append(repository.push({"README": f"{number}\n"}))
        if not source.called:
            return None
        first = self._dice.randrange(len(self._arena.pods)) if to is None else to
        sent = self._delivery(name, repository, source.commits[-1])
        future = self._pool.submit(self._deliver, name, number, first, sent)
        self._flying.append(future)
        return future

    def pushes(self, count, over_s):
        """So many pushes to triggers chosen by the dice, over about so many seconds."""
        names = sorted(self._arena.evidence.sources)
        for _ in range(count):
            if self._stop.is_set():
                return
            self.push(self._dice.choice(names))
            self._stop.wait(self._dice.uniform(0, 2 * over_s / count))

    def hush(self):
        """No push from now on, and no delivery is tried again: nothing hides what a fault has cost."""
        self._stop.set()

    def finish(self):
        """Let what is on its way have its answer, and try nothing again."""
        self._stop.set()
        concurrent.futures.wait(self._flying, timeout=3 * _ANSWER_S)
        for future in self._flying:
            future.result(0)
        self._pool.shutdown()

    def _delivery(self, name, repository, commit):
        """Of GitHub, signed and with an id that stays when it is sent again; or just a call."""
        return ({}, b"") if name == "hook" else forge.github(after=commit, url=repository.url)

    def _deliver(self, name, push, first, sent):
        key, pods = uuid.uuid4().hex, self._arena.pods
        for attempt in range(1000):
            pod = pods[(first + attempt) % len(pods)]
            delivery = Delivery(trigger=name, push=push, key=key, pod=pod.number, sent_at=time.monotonic())
            self._arena.evidence.deliveries.append(delivery)
            delivery.status = self._post(pod.replica.hooks, f"/{self._arena.namespace}/{name}", *sent)
            delivery.answered_at = time.monotonic()
            if delivery.status in {200, 202} or self._stop.wait(0.3):
                return delivery.status
        return 0

    @staticmethod
    def _post(port, path, headers, body):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWER_S)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("POST", path, body, headers)
            return connection.getresponse().status
        return 0
