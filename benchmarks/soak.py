"""A long run of ordinary life: `python -m benchmarks.soak [--minutes 60] [--seed 1]`; is anything growing?

One replica with about fifty triggers on ten repositories. All the time somebody pushes, calls webhooks, creates and
deletes triggers, changes the runtime config. Each minute has a row: what the process holds, and shows to a scrape,
after the calm of its last seconds. Exits 1 if memory, file descriptors or series of the end differ from those after
the first quarter by more than a bound.
"""

import argparse
import random
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.world import World
from tests.cluster.finisher import Finisher
from tests.cluster.plane import wait_until
from tests.system.test_tenancy import configure

TRIGGERS, REPOSITORIES = 50, 10
KINDS = ("ScheduleTrigger", "WebhookTrigger")
OPEN_JOBS = 100  # with more of them nothing is pushed: what is held must not depend on how fast a machine ends Jobs
CONFIGS = (
    "action: {ttlSecondsAfterFinished: 30, maxRunningJobs: 16}\n",
    "action: {ttlSecondsAfterFinished: 20, maxRunningJobs: 8}\ngit: {hostRate: 60}\n",
    "action: {ttlSecondsAfterFinished: 25, maxRunningJobs: 16}\ngit: {hostRate: 90, requestTimeoutSeconds: 15}\n",
)
REAPED_EVERY_S = 5.0
WORKING_S = 54.0  # of a minute; then it is calm, so that what is held can be compared
MEMORY_MIB, DESCRIPTORS, SERIES_SHARE = 2.0, 8, 0.05


class Life:
    """What users do; `act` is one thing of it."""

    def __init__(self, world, namespace, replica, seed):
        self._world, self._namespace, self._replica = world, namespace, replica
        self._random = random.Random(seed)
        self._made = 0
        self._triggers = {}
        self._open_jobs = 0
        self.counts = dict.fromkeys(("pushes", "webhooks", "created", "deleted", "configs", "refused"), 0)
        self._repositories = [world.git.repository() for _ in range(REPOSITORIES)]
        for number, repository in enumerate(self._repositories):
            repository.push({"README": "0\n"})
            world.api.ours("GitRepo", namespace, f"r{number}", {"repoUri": repository.url})
        configure(world.api, namespace, CONFIGS[0])
        for number in range(TRIGGERS):
            self._create(KINDS[number % 2], 1 + number // 2 % 2 * 2)

    def act(self):
        """Push, call, create and delete, or configure."""
        lot = self._random.random()
        if lot < 0.45:
            self._push()
        elif lot < 0.85:
            self._call()
        elif lot < 0.97:
            self._create(*self._delete())
        else:
            configure(self._world.api, self._namespace, self._random.choice(CONFIGS))
            self.counts["configs"] += 1

    def reap(self):
        """Delete Jobs whose TTL is over, as the TTL controller does."""
        path = f"/apis/batch/v1/namespaces/{self._namespace}/jobs"
        jobs = self._world.api.items(path)
        self._open_jobs = sum(not (job.get("status") or {}).get("completionTime") for job in jobs)
        for job in jobs:
            done = (job.get("status") or {}).get("completionTime")
            ttl_s = job["spec"].get("ttlSecondsAfterFinished")
            if done and ttl_s is not None:
                age_s = (datetime.now(UTC) - datetime.fromisoformat(done)).total_seconds()
                if age_s >= ttl_s:
                    self._world.api.delete(f"{path}/{job['metadata']['name']}")

    def _push(self):
        if self._open_jobs > OPEN_JOBS:
            return
        number = self.counts["pushes"] = self.counts["pushes"] + 1
        self._random.choice(self._repositories).push({"README": f"{number}\n"})

    def _call(self):
        hooks = [name for name, (kind, _) in self._triggers.items() if kind == "WebhookTrigger"]
        status = self._replica.post(f"/{self._namespace}/{self._random.choice(hooks)}")
        self.counts["webhooks" if status == 202 else "refused"] += 1

    def _create(self, kind, sources):
        self._made += 1
        self.counts["created"] += 1
        name = f"t{self._made}"
        watch = {"onChangeOnly": True, **self._random.choice(({}, {"files": ["README"]}))}
        names = [f"r{number}" for number in self._random.sample(range(REPOSITORIES), sources)]
        how = {"schedule": {"interval": "5s"}} if kind == "ScheduleTrigger" else {"webhook": {"multiSource": True}}
        spec = {"sources": {"kind": "GitRepo", "names": names, "watchOn": watch}}
        self._world.api.ours(kind, self._namespace, name, spec | {"action": {"kind": "Action", "name": "build"}} | how)
        self._triggers[name] = kind, sources

    def _delete(self):
        """What kind of trigger it was, and how many sources it had: another one like it takes its place."""
        name = self._random.choice(sorted(self._triggers))
        kind, sources = self._triggers.pop(name)
        place = f"/apis/git-events-runner.rs/v1alpha1/namespaces/{self._namespace}/{kind.lower()}s/{name}"
        self._world.api.delete(place)
        self.counts["deleted"] += 1
        return kind, sources


def held(replica):
    """Memory in MiB, file descriptors, series, CPU seconds so far."""
    descriptors = len(list(Path(f"/proc/{replica.process.pid}/fd").iterdir()))
    series = sum(not line.startswith("#") for line in replica.get("/metrics")[1].splitlines())
    return replica.rss_mib(), descriptors, series, replica.cpu_s()


def soak(minutes, seed):
    """Print a row for each minute; the rows as (memory, descriptors, series, CPU)."""
    rows = []
    with World() as world:
        namespace = world.namespace()
        replica = world.replica(namespace)
        life = Life(world, namespace, replica, seed)
        wait_until("the first Jobs", lambda: len(world.api.jobs(namespace)) >= TRIGGERS // 4, timeout_s=60)
        with Finisher(world.api, namespace, run_s=0.5):
            began = next_reap = time.monotonic()
            print("| minute | MiB | descriptors | series | CPU s | pushes | webhooks | created, deleted | configs |")
            print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
            for minute in range(1, minutes + 1):
                end = began + 60 * minute
                while time.monotonic() < end - (60 - WORKING_S):
                    life.act()
                    if time.monotonic() >= next_reap:
                        life.reap()
                        next_reap = time.monotonic() + REAPED_EVERY_S
                    time.sleep(0.25)
                time.sleep(max(0.0, end - time.monotonic()))
                rows.append(held(replica))
                memory, descriptors, series, cpu = rows[-1]
                done = life.counts
                what = (
                    f"{done['pushes']} | {done['webhooks']} | {done['created']}, {done['deleted']} | {done['configs']}"
                )
                print(f"| {minute} | {memory:.1f} | {descriptors} | {series} | {cpu:.1f} | {what} |", flush=True)
        assert replica.process.running
        print(f"refused webhooks (of triggers created a moment before): {life.counts['refused']}")
    return rows


def grown(rows):
    """What differs between the minutes after the first quarter and the last ones by more than its bound."""
    quarter, part = max(1, len(rows) // 4), max(1, len(rows) // 8)
    early, late = rows[quarter : quarter + part], rows[-part:]
    problems = []
    for name, place, bound in (
        ("memory (MiB)", 0, MEMORY_MIB),
        ("file descriptors", 1, DESCRIPTORS),
        ("series", 2, SERIES_SHARE * statistics.median(row[2] for row in early)),
    ):
        before, after = (statistics.median(row[place] for row in some) for some in (early, late))
        print(f"{name}: {before:.1f} -> {after:.1f} (bound {bound:.1f})")
        if abs(after - before) > bound:
            problems.append(name)
    return problems


def main():
    """The exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    problems = grown(soak(options.minutes, options.seed))
    print(f"grown: {', '.join(problems)}" if problems else "nothing grows")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
