"""One replica of the controller as a process, under its own user and roles."""

import os
import signal
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.cluster.plane import Process, free_port, wait_until


class Replica:
    """`git-events-runner run` with its own ports and identity."""

    def __init__(
        self,
        plane,
        folder,
        namespace,
        number,
        *options,
        config=None,
        log="info",
        server=None,
        tenants=(),
        loopback=True,
        program=("git_events_runner",),
        environment=None,
    ):
        """`program` is the module that is run, with its first arguments: the product, or something around it."""
        self.number, self.hooks, self.utility = number, free_port(), free_port()
        kubeconfig = plane.kubeconfig(f"replica-{number}-token", **(server or {}))
        environment = (
            (environment or {})
            | {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
            | {
                "KUBECONFIG": str(kubeconfig),
                "POD_NAMESPACE": namespace,
                "POD_NAME": f"replica-{number}",
                "GIT_EVENTS_RUNNER_LOG": log,
                "PYTHONDONTWRITEBYTECODE": "1",
                "GIT_EVENTS_RUNNER_JOB_NAMESPACES": ",".join((namespace, *tenants)),
            }
        )
        if loopback:  # where the tests' git servers are
            environment["GIT_EVENTS_RUNNER_ALLOW_LOOPBACK"] = "true"
        command = [sys.executable, "-m", *program, "run", "--json-logs"]
        command += ["--webhooks-port", str(self.hooks), "--utility-port", str(self.utility), *options]
        self.process = Process(command, folder / f"replica-{number}-{self.hooks}.log", env=environment)
        self.started_at = time.monotonic()

    def wait_ready(self, timeout_s=30):
        """Return when it takes webhooks."""

        def ready():
            assert self.process.running, self.process.text()[-3000:]
            return self.get("/ready")[0] == 200

        wait_until(f"replica {self.number} is ready", ready, timeout_s=timeout_s)
        return self

    def get(self, path):
        """Status and body of the utility port; status 0 when it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.utility}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metric(self, start):
        """Sum of the series that begin so."""
        lines = self.get("/metrics")[1].splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(start))

    def post(self, path, headers=None, timeout_s=15):
        """Status of a webhook; 0 when it does not answer."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.hooks}{path}", data=b"", headers=headers or {}, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def restart(self):
        """Start it again on the same ports."""
        self.process.start()

    def kill(self):
        """Send SIGKILL and wait for the end."""
        self.process.kill()

    def terminate(self):
        """SIGTERM, without waiting."""
        self.process.send(signal.SIGTERM)

    @property
    def leads(self):
        """Whether its metrics say that it leads."""
        return self.get("/metrics")[1].find("git_events_runner_leading 1.0") >= 0

    def cpu_s(self):
        """User and system CPU seconds so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mib(self):
        """Resident memory."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        raise AssertionError("no VmRSS")
