"""The rows of the table: each builds an installation of its size, measures, and returns what its columns hold."""

import subprocess
import sys
import time

from benchmarks.scale.fleet import (
    CHECKS,
    OURS,
    PREFIX,
    Fleet,
    Prober,
    lag_of,
    moment,
    ours,
    recorded,
    spec_of,
    total,
)
from tests.cluster.plane import wait_until

_WINDOW_S = 20
_BARE_S = 10
_APART_S = 5.5  # longer than one rendering of /metrics is shared
_ANNOTATION = "benchmark.example/touched"


def _steady(row, replica, count):
    """CPU of a check, scrapes and memory, after a complete round of checks."""
    replica.wait_leading()
    replica.wait_checks(count)
    time.sleep(_APART_S)
    before, first_s, size = replica.scrape()
    cpu, began = replica.fine_cpu_s(), time.monotonic()
    time.sleep(_WINDOW_S)
    used_s, window_s = replica.fine_cpu_s() - cpu, time.monotonic() - began
    after, second_s, _ = replica.scrape()
    checks = total(after, CHECKS) - total(before, CHECKS)
    exchanges = total(after, f"{PREFIX}_git_exchanges_total") - total(before, f"{PREFIX}_git_exchanges_total")
    # What the scrape itself took is in neither: the share of the window that falls into it is taken off.
    row["checks/s"] = f"{checks / window_s:.1f}"
    row["CPU per check"] = f"{1000 * used_s / max(checks, 1):.2f} ms"
    row["loop lag"] = f"≤ {1000 * lag_of(after):.0f} ms"
    row["memory"] = f"{replica.rss_mib():.0f} MiB"
    row["scrape"] = f"{1000 * max(first_s, second_s):.0f} ms, {size / 2**20:.1f} MiB"
    row["other"] = f"{exchanges / max(checks, 1):.2f} requests per check"


class Rows:
    """Makes rows; an installation of own repositories is kept for the rows that follow with the same size."""

    def __init__(self, world, git):
        self._world, self._git = world, git
        self._own = None

    def close(self):
        """End what was kept."""
        if self._own is not None:
            self._own[1].close()
            self._own = None

    def _owning(self, count):
        """An installation of so many triggers on their own repositories."""
        if self._own is None or self._own[0] != count:
            self.close()
            fleet = Fleet(self._world, self._git)
            fleet.triggers(count, interval_s=10 if count <= 100 else 60)
            self._own = count, fleet
        return self._own[1]

    def _leading(self, fleet):
        """Its running replica, after the first checks."""
        for replica in fleet.replicas:
            if replica.process.running:
                return replica
        replica = fleet.start()
        replica.wait_leading()
        return replica

    def own(self, row, count):
        """Triggers on their own repositories, every minute (100 and fewer: every 10 s), nothing new."""
        fleet = self._owning(count)
        _steady(row, self._leading(fleet), count)

    def paced(self, row, count):
        """Triggers on their own repositories, every 10 s; and the same exchanges by aiohttp alone, before and after."""
        self.close()
        fleet = Fleet(self._world, self._git)
        fleet.triggers(count, interval_s=10)
        rate = count / 10
        bare = [self._bare_ms(rate)]
        _steady(row, fleet.start(), 2 * count)
        fleet.close()
        bare.append(self._bare_ms(rate))
        row["other"] += f"; aiohttp alone at {rate:.0f} per second: {min(bare):.2f} to {max(bare):.2f} ms"

    def _bare_ms(self, rate):
        """CPU of an exchange of aiohttp alone at that rate."""
        command = [sys.executable, "-m", "benchmarks.scale.bare", self._git.url, str(rate), str(_BARE_S)]
        return float(subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout)

    def shared(self, row, count):
        """Triggers on 100 repositories, every 30 s."""
        fleet = Fleet(self._world, self._git)
        fleet.triggers(count, repositories=min(100, count), interval_s=30)
        _steady(row, fleet.start(), count)
        fleet.close()

    def namespaces(self, row, count):
        """Ten triggers in each of so many namespaces, every 30 s."""
        self.close()
        fleet = Fleet(self._world, self._git, tenants=count)
        fleet.triggers(10 * count, interval_s=30)
        began = time.monotonic()
        replica = fleet.start()
        ready_s = time.monotonic() - began
        _steady(row, replica, 10 * count)
        row["other"] += f", ready in {ready_s:.1f} s"
        fleet.close()

    def edits(self, row, count):
        """100 labels of sources, 5 of the Action that all triggers name, then a policy of all namespaces."""
        fleet = self._owning(count)
        replica = self._leading(fleet)
        replica.wait_checks(count)
        root, label = f"{OURS}/namespaces/{fleet.namespace}", {"metadata": {"labels": {"benchmark": "x"}}}
        results = []
        config = f"/api/v1/namespaces/{fleet.namespace}/configmaps/git-events-runner-config"
        text = "git: {hostRate: 2000, hostBurst: 200, hostConcurrency: 64}\npolicy: {minimumIntervalSeconds: 5}\n"
        for name, requests in (
            ("a source's label", [("PATCH", f"{root}/gitrepos/app{n}", label) for n in range(min(count, 100))]),
            (
                "the Action's label",
                [
                    ("PATCH", f"{root}/actions/build", {"metadata": {"labels": {"benchmark": f"x{n}"}}})
                    for n in range(5)
                ],
            ),
            ("the policy", [("PATCH", config, {"data": {"runtimeConfig": text}})]),
        ):
            with Prober(replica) as prober:
                time.sleep(0.5)
                idle = self._idle_s(replica)
                cpu, began = replica.fine_cpu_s(), time.monotonic()
                fleet.bulk.send(requests)
                time.sleep(4)
                used_s = replica.fine_cpu_s() - cpu - idle * (time.monotonic() - began)
            results.append((name, 1000 * max(used_s, 0) / len(requests), 1000 * prober.longest_s))
        row["loop lag"] = f"{max(lag for _, _, lag in results):.0f} ms"
        row["memory"] = f"{replica.rss_mib():.0f} MiB"
        row["other"] = "; ".join(f"{name}: {cpu:.1f} ms CPU, lag {lag:.0f} ms" for name, cpu, lag in results)

    def deletions(self, row, count):
        """All triggers are deleted together."""
        fleet = self._owning(count)
        replica = self._leading(fleet)
        replica.wait_checks(count)
        path = f"{OURS}/namespaces/{fleet.namespace}/scheduletriggers"
        with Prober(replica) as prober:
            time.sleep(0.5)
            cpu, began = replica.fine_cpu_s(), time.monotonic()
            fleet.bulk.send([("DELETE", path, None)])
            series = f"{PREFIX}_trigger_check_count_total"
            wait_until("no series", lambda: replica.total(series) == 0, timeout_s=120, every_s=1.0)
            used_s, took_s = replica.fine_cpu_s() - cpu, time.monotonic() - began
        row["loop lag"] = f"{1000 * prober.longest_s:.0f} ms"
        row["memory"] = f"{replica.rss_mib():.0f} MiB"
        row["other"] = f"{1000 * used_s / count:.2f} ms CPU per deletion, all forgotten after {took_s:.1f} s"
        row["other"] += f", {'still' if replica.leads else 'NOT'} the leader"
        self.close()

    def takeover(self, row, count):
        """The leader is killed; a second replica takes over."""
        fleet = self._owning(count)
        first = self._leading(fleet)
        second = fleet.start(1)
        time.sleep(2)
        with Prober(second) as prober:
            first.kill()
            began = time.monotonic()
            second.wait_leading()
            leading_s = time.monotonic() - began
            wait_until("its first check", lambda: second.total(CHECKS) > 0, timeout_s=60, every_s=0.2)
            checking_s = time.monotonic() - began
            time.sleep(_WINDOW_S)
        row["loop lag"] = f"{1000 * prober.longest_s:.0f} ms"
        row["memory"] = f"{second.rss_mib():.0f} MiB"
        row["other"] = f"leader after {leading_s:.1f} s, checks after {checking_s:.1f} s"
        fleet.close()
        self._own = None

    def waiting(self, row, count):
        """So many Jobs wait for a slot, then all may run."""
        self.close()
        config = "action: {{maxRunningJobs: {0}, maxRunningJobsPerNamespace: {0}, jobWaitingTimeoutSeconds: 0}}\n"
        fleet = Fleet(self._world, self._git, config=config.format(0))
        fleet.triggers(count, known=False, interval_s=3600)
        admitted, jobs = {}, f"/apis/batch/v1/namespaces/{fleet.namespace}/jobs"
        seen = set()

        def note(event):
            job = event["object"]
            seen.add(job["metadata"]["name"])
            if not job["spec"].get("suspend"):
                admitted.setdefault(job["metadata"]["name"], time.monotonic())

        fleet.bulk.watch(jobs, note)
        replica = fleet.start()
        began = time.monotonic()
        wait_until(f"{count} Jobs", lambda: len(seen) >= count, timeout_s=300, every_s=0.5)
        created_s = time.monotonic() - began
        time.sleep(15)
        idle = self._idle_s(replica, over_s=10)
        text = "git: {hostRate: 2000, hostBurst: 200, hostConcurrency: 64}\n" + config.format(count)
        path = f"/api/v1/namespaces/{fleet.namespace}/configmaps/git-events-runner-config"
        with Prober(replica) as prober:
            cpu = replica.fine_cpu_s()
            fleet.bulk.send([("PATCH", path, {"data": {"runtimeConfig": text}})])
            wait_until("all are admitted", lambda: len(admitted) >= count, timeout_s=180, every_s=0.1)
            used_s = replica.fine_cpu_s() - cpu
        row["loop lag"] = f"{1000 * prober.longest_s:.0f} ms"
        row["memory"] = f"{replica.rss_mib():.0f} MiB"
        rate = (count - 1) / max(max(admitted.values()) - min(admitted.values()), 0.001)
        row["other"] = f"{rate:.0f} admissions/s, {1000 * used_s / count:.2f} ms CPU each; created at "
        row["other"] += f"{count / created_s:.0f}/s; idle with all waiting {100 * idle:.1f} % of a core"
        fleet.close()

    def finished(self, row, count):
        """So many Jobs have ended and are kept; then events of others' writes on 500 of them."""
        self.close()
        config = f"action: {{maxRunningJobs: {count}, maxRunningJobsPerNamespace: {count}}}\n"
        fleet = Fleet(self._world, self._git, config=config)
        fleet.triggers(count, known=False, interval_s=3600)
        names, ended = {}, set()
        jobs = f"/apis/batch/v1/namespaces/{fleet.namespace}/jobs"

        def note(event):
            job = event["object"]
            names[job["metadata"]["name"]] = True
            complete = any(c["type"] == "Complete" for c in job["status"].get("conditions") or ())
            if complete and job["spec"].get("ttlSecondsAfterFinished") is not None:
                ended.add(job["metadata"]["name"])

        fleet.bulk.watch(jobs, note)
        replica = fleet.start()
        wait_until(f"{count} Jobs", lambda: len(names) >= count, timeout_s=400, every_s=0.5)
        time.sleep(2)
        with Prober(replica) as prober:
            for step in (_ending, _ended):
                fleet.bulk.send(("PATCH", f"{jobs}/{name}/status", {"status": step()}) for name in list(names))
            wait_until("all have their TTL", lambda: len(ended) >= count, timeout_s=300, every_s=0.5)
        time.sleep(10)
        idle = self._idle_s(replica, over_s=15)
        touched = list(names)[:500]
        cpu, began = replica.fine_cpu_s(), time.monotonic()
        fleet.bulk.send(
            ("PATCH", f"{jobs}/{name}", {"metadata": {"annotations": {_ANNOTATION: "x"}}}) for name in touched
        )
        time.sleep(3)
        used_s = replica.fine_cpu_s() - cpu - idle * (time.monotonic() - began)
        row["loop lag"] = f"{1000 * prober.longest_s:.0f} ms"
        row["memory"] = f"{replica.rss_mib():.0f} MiB"
        row["other"] = (
            f"{1000 * max(used_s, 0) / len(touched):.2f} ms CPU per Job event; idle {100 * idle:.1f} % of a core"
        )
        fleet.close()

    def sources(self, row, count):
        """One trigger of so many sources: its checks every 30 s, and deliveries to single ones."""
        self.close()
        fleet = Fleet(self._world, self._git)
        names = [f"app{n}" for n in range(count)]
        fleet.bulk.send(
            ours("GitRepo", fleet.namespace, name, {"repoUri": f"{self._git.url}/refs-10/{fleet.namespace}-{name}.git"})
            for name in names
        )
        spec = spec_of(*names, schedule={"interval": "30s"}, webhook={"multiSource": True})
        fleet.bulk.send([ours("WebhookTrigger", fleet.namespace, "many", spec)])
        fleet.bulk.send([recorded(fleet.namespace, "webhooktriggers", "many", *names)])
        replica = fleet.start()
        _steady(row, replica, count)
        api, cpu, settled = replica.api_cpu_s(self._world.plane), replica.fine_cpu_s(), []
        for number in range(20):
            name, began = names[number * 7 % count], time.monotonic()
            assert replica.post(f"/{fleet.namespace}/many/{name}") == 202

            def handled(name=name):
                status = self._world.api.trigger(fleet.namespace, "many")["status"]
                entry = status["checkedSources"][name]
                return entry["requested"] > 0 and entry["handled"] == entry["requested"]

            wait_until("it is handled", handled, every_s=0.05)
            settled.append(time.monotonic() - began)
        settled.sort()
        api_s, used_s = replica.api_cpu_s(self._world.plane) - api, replica.fine_cpu_s() - cpu
        row["other"] += f"; a delivery: {50 * api_s:.0f} ms CPU of the API server (our reads included), "
        row["other"] += f"{50 * used_s:.0f} ms of the controller (its checks included), handled after "
        row["other"] += f"{1000 * settled[len(settled) // 2]:.0f} ms p50"
        fleet.close()

    @staticmethod
    def _idle_s(replica, *, over_s=5):
        """CPU seconds in a second of what goes on anyway."""
        cpu, began = replica.fine_cpu_s(), time.monotonic()
        time.sleep(over_s)
        return (replica.fine_cpu_s() - cpu) / (time.monotonic() - began)


def _ending():
    now = moment()[:19] + "Z"
    first = {"type": "SuccessCriteriaMet", "status": "True", "lastTransitionTime": now, "lastProbeTime": now}
    return {"startTime": now, "conditions": [first]}


def _ended():
    now = moment()[:19] + "Z"
    conditions = [
        {"type": kind, "status": "True", "lastTransitionTime": now, "lastProbeTime": now}
        for kind in ("SuccessCriteriaMet", "Complete")
    ]
    return {"conditions": conditions, "succeeded": 1, "completionTime": now}
