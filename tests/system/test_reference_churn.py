"""Many branches created, moved and deleted at random, on a real API server and git server, while replicas are killed.

`REFERENCE_CHURN_CLUSTER=1000,200,600,800` takes 1,000 branches, of which 200 change 800 times in 600 s.
"""

import contextlib
import os
import random
import threading
import time

import pytest

from tests.cluster.api import Refused
from tests.cluster.finisher import Finisher
from tests.cluster.plane import wait_until
from tests.flow.churn import History
from tests.forges import deliveries
from tests.system.conftest import sources
from tests.system.sending import secret, send

PREFIX = "git-events-runner.rs/"
BRANCHES, MOVING, SECONDS, CHANGES = map(int, os.environ.get("REFERENCE_CHURN_CLUSTER", "60,10,20,16").split(","))
STAYS_S, DELETION_S, PRUNED_S = 20, 50, 220
LEASE = ("--leader-lease-duration", "5", "--leader-lease-grace", "2")
WATCH = {"references": {"branches": {}, "limit": 1000}, "onDelete": {"kind": "Action", "name": "teardown"}}
AUTH = {"type": "github", "secretRef": {"name": "forge"}, "key": "token"}


class Jobs(Finisher):
    """Ends Jobs and keeps what they ran; deletes those that have a TTL, as the TTL controller does later."""

    def __init__(self, api, namespace):
        super().__init__(api, namespace)
        self.seen, self.twice = {}, []

    def _pass(self):
        path = f"/apis/batch/v1/namespaces/{self._namespace}/jobs"
        for job in self._api.items(path):
            metadata, spec = job["metadata"], job["spec"]
            notes, name = metadata["annotations"], metadata["name"]
            key, _, number = notes[f"{PREFIX}run"].partition("/")[2].rpartition("/")
            reason = notes[f"{PREFIX}reason"]
            run = (key.partition("@")[2], int(number), notes[f"{PREFIX}commit"], reason == "fire-deleted")
            if self.seen.setdefault(name, (metadata["uid"], run)) != (metadata["uid"], run):
                self.twice.append(run)
            ended = (job.get("status") or {}).get("conditions")
            if not ended and not spec.get("suspend"):
                with contextlib.suppress(Refused):
                    self.finish(job)
            elif ended and spec.get("ttlSecondsAfterFinished") is not None:
                with contextlib.suppress(Refused):
                    self._api.delete(f"{path}/{name}")

    @property
    def runs(self):
        """Branch, number, commit, and whether it is that of a deletion, of each."""
        return sorted(run for _, run in list(self.seen.values()))


class Kills:
    """Kills one replica or the other with SIGKILL, and starts it again, until it is left."""

    def __init__(self, replicas, chance, *, every_s):
        self.replicas, self.chance, self.every_s, self.count = replicas, chance, every_s, 0
        self._stop, self.problem = threading.Event(), None
        self._thread = threading.Thread(target=self._work, daemon=True)

    def _work(self):
        try:
            while not self._stop.wait(self.chance.uniform(self.every_s / 2, self.every_s * 1.5)):
                one = self.chance.choice(self.replicas)
                one.kill()
                self.count += 1
                one.restart()
                one.wait_ready(60)
        except BaseException as problem:  # noqa: BLE001  the test reports it
            self.problem = problem

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(90)


class Forge:
    """The repository: changes a branch and delivers it, or not; is unreachable or hides branches for a moment."""

    def __init__(self, repository, namespace, replicas, chance):
        self.repository, self.chance = repository, chance
        self.namespace, self.replicas = namespace, replicas
        self.root = repository.git("rev-parse", "refs/heads/main")
        self.tree = repository.git("rev-parse", "refs/heads/main^{tree}")
        lines = "".join(f"create refs/heads/b{number} {self.root}\n" for number in range(BRANCHES - 1))
        repository.git("update-ref", "--stdin", stdin=lines)
        heads = {f"heads/b{number}": self.root for number in range(BRANCHES - 1)} | {"heads/main": self.root}
        self.history, self.delivered = History(heads, time.monotonic()), 0

    def change(self, name):
        """Create, move or delete a branch."""
        commit = None
        if name in self.history.heads and self.chance.random() < 0.4:
            self.repository.git("update-ref", "-d", f"refs/{name}")
        else:
            text = f"{name} {self.chance.random()}"
            commit = self.repository.git("commit-tree", self.tree, "-p", self.root, "-m", text)
            self.repository.git("update-ref", f"refs/{name}", commit)
        self.history.change(name, commit, time.monotonic())
        if self.chance.random() < 0.67:
            delivery = deliveries.github(f"refs/{name}", commit or deliveries.ZERO, url=self.repository.url)
            answer = send(self.chance.choice(self.replicas), f"/{self.namespace}/churn", delivery)
            self.delivered += answer.status == 202

    def fault(self):
        """Start one, and return how to end it."""
        if self.chance.random() < 0.5:
            hidden = self.repository.path.with_suffix(".away")
            self.repository.path.rename(hidden)
            return lambda: hidden.rename(self.repository.path)
        names = self.chance.sample(sorted(self.history.heads), len(self.history.heads) // 2)
        for name in names[:100]:
            self.repository.git("config", "--add", "transfer.hideRefs", f"refs/{name}")
        return lambda: self.repository.git("config", "--unset-all", "transfer.hideRefs")


@pytest.mark.timeout(SECONDS + 560)
def test_each_head_that_stayed_runs_once_and_each_deletion_once(world, installation, repository, replicas):
    """Through kills, losses and faults of git: no run is doubled, lost or made up; entries are pruned."""
    chance = random.Random(int(os.environ.get("REFERENCE_CHURN_SEED", "19")))
    secret(world, installation, "forge", deliveries.SECRET)
    world.ours("Action", installation, "teardown", {"actionJob": {"command": ["true"]}})
    hook = {"webhook": {"multiSource": True, "authConfig": AUTH}, "schedule": {"interval": "2s"}}
    both = []
    forge = Forge(repository, installation, both, chance)
    world.ours("WebhookTrigger", installation, "churn", sources(**WATCH) | hook)
    both += [replicas(0, *LEASE), replicas(1, *LEASE)]

    def entries():
        return (world.trigger(installation, "churn", "WebhookTrigger").get("status") or {}).get("checkedSources") or {}

    wait_until("the first list", lambda: (entries().get("app") or {}).get("listedAt"), timeout_s=60)
    free = {f"heads/b{number}": 0.0 for number in range(MOVING)}
    stays = [(0, STAYS_S), (STAYS_S, DELETION_S), (STAYS_S, DELETION_S), (DELETION_S, DELETION_S + 5)]
    stays += [(PRUNED_S, PRUNED_S + 30)] * (SECONDS > 2 * PRUNED_S)
    until, restore, fault_at = time.monotonic() + SECONDS, None, time.monotonic() + 10
    with Jobs(world, installation) as jobs:
        with Kills(both, chance, every_s=min(30, SECONDS / 4)) as kills:
            while (now := time.monotonic()) < until:
                if now >= fault_at:
                    restore, _ = (None, restore()) if restore else (forge.fault(), None)
                    fault_at = now + chance.uniform(1, 4) if restore else now + chance.uniform(20, 40)
                ready = [name for name, at in free.items() if at <= now] if restore is None else []
                if ready:
                    name = chance.choice(ready)
                    forge.change(name)
                    free[name] = now + chance.uniform(*chance.choice(stays))
                time.sleep(chance.uniform(0, 2 * SECONDS / CHANGES))
            if restore:
                restore()
        assert kills.problem is None
        ended_at = time.monotonic()

        def wrong():
            return forge.history.problems(jobs.runs, until=ended_at + 100, stays_s=STAYS_S, deletion_s=DELETION_S)

        def details():
            """History and runs of each branch with a problem, times from the end."""
            named = {one.partition(":")[0] for one in wrong()}
            for name in sorted(named):
                changes = [(round(at - ended_at, 1), commit) for at, commit in forge.history.changes[name]]
                yield name, changes, [run[1:] for run in jobs.runs if run[0] == name]

        wait_until("all runs", lambda: not wrong() or time.monotonic() > ended_at + 120, timeout_s=150)
        assert wrong() == [], list(details())
        assert jobs.twice == []
        alive = {"app", *(f"app@{name}" for name in forge.history.heads)}
        if SECONDS > PRUNED_S:
            wait_until("the pruning", lambda: set(entries()) == alive, timeout_s=400)
            assert wrong() == []
    changes = sum(len(seen) - 1 for seen in forge.history.changes.values())
    print(
        f"{BRANCHES} branches, {changes} changes, {forge.delivered} deliveries, {kills.count} kills, "
        f"{len(jobs.runs)} runs, {sum(run[3] for run in jobs.runs)} of deletions"
    )
    assert kills.count
    assert len(jobs.runs) > changes // 4
