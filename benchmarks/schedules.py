"""1,000 triggers on 100 repositories, every 10 s, nothing changed: `python -m benchmarks.schedules [SECONDS]`.

The controller is a process of its own, against the in-process API server and the canned git server. Prints exchanges
a second, CPU of the controller, checks, status writes, and how late checks began.
"""

import asyncio
import contextlib
import json
import os
import sys
import tempfile
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import aiohttp

from benchmarks.canned import HEAD
from benchmarks.git import Canned
from git_events_runner.local.apiserver.server import serving
from git_events_runner.resources.kinds import GROUP
from tests.cluster.plane import Process, free_port

REPOSITORIES, TRIGGERS, INTERVAL_S = 100, 1000, 10
VERSION = f"{GROUP}/v1alpha1"
PREFIX = "git_events_runner"


async def declare(api, url):
    """Sources, an action, and triggers that have recorded the commit already."""
    api.create(
        {
            "apiVersion": VERSION,
            "kind": "Action",
            "metadata": {"name": "build"},
            "spec": {"actionJob": {"command": ["true"]}},
        }
    )
    for n in range(REPOSITORIES):
        spec = {"repoUri": f"{url}/refs-10/{n}.git"}
        api.create({"apiVersion": VERSION, "kind": "GitRepo", "metadata": {"name": f"app{n}"}, "spec": spec})
    statuses = {}
    moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    for n in range(TRIGGERS):
        name = f"app{n % REPOSITORIES}"
        spec = {
            "sources": {"names": [name], "kind": "GitRepo"},
            "schedule": {"interval": f"{INTERVAL_S}s"},
            "action": {"kind": "Action", "name": "build"},
        }
        entry = {"commitHash": HEAD, "changed": moment, "runs": 1, "requested": 0, "handled": 0}
        api.create({"apiVersion": VERSION, "kind": "ScheduleTrigger", "metadata": {"name": f"t{n}"}, "spec": spec})
        statuses[f"t{n}"] = {"status": {"checkedSources": {name: entry}, "lastRun": moment}}
    headers = {"Authorization": f"Bearer {api.token}", "Content-Type": "application/merge-patch+json"}
    async with aiohttp.ClientSession(headers=headers) as session:
        for name, body in statuses.items():
            url = f"{api.url}/apis/{VERSION}/namespaces/default/scheduletriggers/{name}/status"
            async with session.patch(url, data=json.dumps(body)) as answer:
                assert answer.status == 200, await answer.text()


class Controller:
    """`git-events-runner run` as a process."""

    def __init__(self, folder, api):
        self.utility = free_port()
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(json.dumps(api.kubeconfig()))
        environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        environment |= {"KUBECONFIG": str(kubeconfig), "POD_NAMESPACE": "default", "POD_NAME": "one"}
        ports = ["--webhooks-port", str(free_port()), "--utility-port", str(self.utility)]
        command = [sys.executable, "-m", "git_events_runner", "run", "--json-logs", *ports]
        self.process = Process(command, folder / "controller.log", env=environment)

    def _metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.utility}/metrics", timeout=10) as answer:
            return answer.read().decode()

    async def sample(self):
        """CPU seconds, and the samples of the metrics by series."""
        text = await asyncio.to_thread(self._metrics)
        series = dict(line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
        return self._cpu_s(), {name: float(value) for name, value in series.items()}

    def _cpu_s(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def wait_checked(self, checks):
        """Return when so many checks were done."""
        while True:
            assert self.process.running, self.process.text()[-3000:]
            with contextlib.suppress(OSError):
                _, series = await self.sample()
                if total(series, f"{PREFIX}_trigger_check_count_total") >= checks:
                    return
            await asyncio.sleep(0.5)


def total(series, start):
    """Sum of the series of a metric."""
    return sum(value for name, value in series.items() if name.startswith(start))


def latest(before, after):
    """Upper bound of the bucket that holds the latest start of a check."""
    start = f"{PREFIX}_check_start_delay_seconds_bucket"
    counts = {
        float(name.partition('le="')[2].partition('"')[0]): after[name] - before.get(name, 0)
        for name in after
        if name.startswith(start)
    }
    return min(bound for bound, count in counts.items() if count == counts[float("inf")])


async def main():
    """One run."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "git").mkdir()
        git = await asyncio.to_thread(Canned, folder / "git")
        async with serving() as api:
            await declare(api, git.url)
            controller = Controller(folder, api)
            try:
                await controller.wait_checked(4 * TRIGGERS)  # the first look, spread after a start, is behind us
                cpu, before = await controller.sample()
                await asyncio.sleep(seconds)
                later_cpu, after = await controller.sample()
            finally:
                await asyncio.to_thread(controller.process.stop)
                git.close()

    def each_second(metric):
        return (total(after, f"{PREFIX}_{metric}") - total(before, f"{PREFIX}_{metric}")) / seconds

    exchanges, checks = each_second("git_exchanges_total"), each_second("trigger_check_count_total")
    writes, jobs = each_second("status_writes_total"), each_second("jobs_queue_completed_count_total")
    print(f"{TRIGGERS} triggers, {REPOSITORIES} repositories, every {INTERVAL_S} s, over {seconds:.0f} s:")
    print(f"  {checks:.1f} checks and {exchanges:.1f} exchanges a second, {writes:.2f} status writes, {jobs:.2f} Jobs")
    share = 100 * (later_cpu - cpu) / seconds
    print(f"  {share:.1f} % of a core; the latest check began within {latest(before, after)} s")


if __name__ == "__main__":
    asyncio.run(main())
