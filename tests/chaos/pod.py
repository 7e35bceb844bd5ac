"""A replica as a pod: behind a proxy of its own, started again when it ends, with a clock that can be set."""

import contextlib
import signal
import struct
import threading
from pathlib import Path

from tests.cluster.plane import wait_until
from tests.servers.apiproxy import ApiProxy
from tests.system.replica import Replica

ROOT = Path(__file__).parents[2]


class Pod:
    """One replica. What ends it by itself starts it again after a second, as a kubelet does; `exits` counts that."""

    def __init__(self, plane, folder, namespace, number, *options, mutant=None):
        self.number = number
        self.proxy = ApiProxy(plane)
        self.proxy.__enter__()
        self._clock = folder / f"clock-{number}"
        self.set_clock(0.0)
        environment = {"CHAOS_CLOCK": str(self._clock), "PYTHONPATH": str(ROOT)}
        if mutant:
            environment["CHAOS_MUTANT"] = mutant
        self.replica = Replica(
            plane,
            folder,
            namespace,
            number,
            *options,
            server=self.proxy.kubeconfig,
            program=("tests.chaos.launcher",),
            environment=environment,
        )
        self.exits, self.wanted = 0, True
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()

    def _keep(self):
        while not self._stop.wait(1.0):
            with self._lock:
                if self.wanted and not self.replica.process.running:
                    self.exits += 1
                    self.replica.restart()

    def kill(self):
        """SIGKILL; it stays away until `start`."""
        with self._lock:
            self.wanted = False
            if self.replica.process.running:
                self.replica.kill()

    def terminate(self):
        """SIGTERM, and wait for its end; it stays away until `start`."""
        with self._lock:
            self.wanted = False
            self.replica.terminate()
            self.replica.process.wait(40)

    def start(self, *, stdout=None):
        """Start it again if it is not there; `stdout` is a descriptor for its standard output."""
        with self._lock:
            if not self.replica.process.running:
                self.replica.process.start(stdout=stdout)
            self.wanted = True

    def stand_still(self):
        """SIGSTOP."""
        self.replica.process.send(signal.SIGSTOP)

    def go_on(self):
        """SIGCONT."""
        self.replica.process.send(signal.SIGCONT)

    def set_clock(self, ahead_s):
        """Set its wall clock so far ahead of this machine's."""
        if not self._clock.exists():
            self._clock.write_bytes(bytes(8))
        with self._clock.open("r+b") as file:
            file.write(struct.pack("d", ahead_s))

    def wait_ready(self, timeout_s=90):
        """Return when it takes webhooks."""
        wait_until(f"pod {self.number} is ready", lambda: self.replica.get("/ready")[0] == 200, timeout_s=timeout_s)

    def close(self):
        """End it and its proxy."""
        self._stop.set()
        self._keeper.join(10)
        with contextlib.suppress(Exception):
            self.go_on()
            self.kill()
        self.proxy.__exit__()
