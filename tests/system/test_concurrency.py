"""Runs that do not overlap, on two replicas that are killed at random: measured by the pods that live.

The measured form of it, with longer Jobs and pauses, and its figures in the output (`-s`):
`GIT_EVENTS_RUNNER_LONG=1 pytest tests/system/test_concurrency.py -k never_overlap -s`.
"""

import contextlib
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cluster.api import Refused
from tests.cluster.finisher import Finisher
from tests.cluster.plane import wait_until
from tests.system.conftest import sources
from tests.system.test_storms import Reaper, deliver

_COMMIT, _RUN = "git-events-runner.rs/commit", "git-events-runner.rs/run"
_LEASE = ("--leader-lease-duration", "6", "--leader-lease-grace", "2")
_GRACE_S = 0.6
_LONG = bool(os.environ.get("GIT_EVENTS_RUNNER_LONG"))
_PUSHES, _PAUSE_S, _RUN_S = (100, 5.0, 3.0) if _LONG else (60, 0.5, 0.4)


def run_of(job):
    """Trigger and number of a run."""
    uid, _, number = job["metadata"]["annotations"][_RUN].split("/")
    return uid, int(number)


class Pods(Finisher):
    """Plays Job controller and kubelet: pods live for a while after their Job is stopped.

    A pod is a ConfigMap with a finalizer: the real garbage collector keeps a Job that is deleted in the foreground, and
    no other one, while it exists.
    `most` is the highest number of pods alive at the same time, `started` the runs in the order of their pods.
    """

    def __init__(self, api, namespace, *, run_s):
        super().__init__(api, namespace, run_s=run_s)
        self.alive, self.created, self.started, self.ended, self.orphans = {}, set(), [], [], 0

    def _pass(self):
        jobs = {job["metadata"]["uid"]: job for job in self._api.items(self._path())}
        now = time.monotonic()
        for uid, job in jobs.items():
            self.created.add(run_of(job))
            if uid in self.alive:
                self._continue(uid, job, now)
            elif job["metadata"].get("deletionTimestamp"):
                continue
            elif not job["spec"].get("suspend") and not (job.get("status") or {}).get("conditions"):
                self._begin(uid, job, now)
        for uid in [uid for uid in self.alive if uid not in jobs]:
            self.orphans += 1
            del self.alive[uid]

    def _path(self, job=None, part=""):
        name = f"/{job['metadata']['name']}" if job else ""
        return f"/apis/batch/v1/namespaces/{self._namespace}/jobs{name}{part}"

    def _begin(self, uid, job, now):
        self.alive[uid] = {"since": now, "stopped": None}
        self.started.append((*run_of(job), job["metadata"]["annotations"][_COMMIT]))
        self.most = max(self.most, len(self.alive))
        start = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job["metadata"]["name"], "uid": uid}
        metadata = {
            "name": job["metadata"]["name"],
            "finalizers": ["tests.example/pod"],
            "ownerReferences": [owner | {"blockOwnerDeletion": True, "controller": True}],
        }
        pod = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        self._api.post(f"/api/v1/namespaces/{self._namespace}/configmaps", pod)
        with contextlib.suppress(Refused):
            self._api.patch(self._path(job, "/status"), {"status": {"startTime": start, "active": 1, "ready": 1}})

    def _continue(self, uid, job, now):
        pod = self.alive[uid]
        if job["metadata"].get("deletionTimestamp"):
            pod["stopped"] = pod["stopped"] or now
            if now - pod["stopped"] >= _GRACE_S:
                del self.alive[uid]
                self._release(job)
        elif now - pod["since"] >= self._run_s:
            if not _ended(job):  # else the response to an earlier pass was lost
                self._api.patch(self._path(job, "/status"), {"status": {"active": None, "ready": 0}})
                self.finish(job)
            del self.alive[uid]
            self._release(job)
            self.ended.append(job["metadata"]["annotations"][_COMMIT])

    def _release(self, job):
        path = f"/api/v1/namespaces/{self._namespace}/configmaps/{job['metadata']['name']}"
        with contextlib.suppress(Refused):
            self._api.patch(path, {"metadata": {"finalizers": None}})


@pytest.mark.parametrize("triggers", [1, 3])
@pytest.mark.parametrize("policy", ["Queue", "QueueLatest", "Replace"])
def test_runs_of_a_group_never_overlap(world, installation, repository, replicas, policy, triggers):
    """Pushes at random times, either replica killed at random: one pod at a time, in order, the last head runs.

    With Queue every run runs; a group of three triggers is the same as one.
    """
    concurrency = {"policy": policy} | ({"group": "terraform"} if triggers > 1 else {})
    names = [f"hook{number}" for number in range(triggers)]
    for name in names:
        hook = {"webhook": {"multiSource": True}, "concurrency": concurrency}
        world.ours("WebhookTrigger", installation, name, sources() | hook)
    both = [replicas(number, *_LEASE) for number in range(2)]
    chance, head = random.Random(11), None
    with Pods(world, installation, run_s=_RUN_S) as pods, ThreadPoolExecutor(32) as pool:
        with Reaper(both, every_s=7) as reaper:
            for number in range(-(-_PUSHES // triggers)):
                head = repository.push({"README": f"{number}\n"})
                sent = {name: deliver(pool, both, f"/{installation}/{name}", times=1) for name in names}
                time.sleep(chance.uniform(0, _PAUSE_S))
        for name, deliveries in sent.items():  # a forge sends again what no replica has accepted
            accepted = any(delivery.result() == 202 for delivery in deliveries)
            wait_until(name, lambda name=name, done=accepted: done or both[0].post(f"/{installation}/{name}") == 202)
        wait_until("the last head runs", lambda: pods.ended.count(head) == triggers, timeout_s=150 + _PUSHES * _RUN_S)
        wait_until("nothing waits", lambda: not pods.alive and not _open(world, installation), timeout_s=60)
    print(
        f"{policy}, {triggers} triggers: {-(-_PUSHES // triggers) * triggers} deliveries, {reaper.kills} kills,",
        f"{len(pods.created)} runs, {len(pods.started)} started, {len(pods.ended)} ended, most alive {pods.most}",
    )
    order = {}
    for uid, number, _ in pods.started:
        order.setdefault(uid, []).append(number)
    assert pods.most == 1
    assert pods.orphans == 0
    assert len(order) == triggers
    for uid, numbers in order.items():
        assert numbers == sorted(set(numbers))
        if policy == "Queue":
            assert numbers == sorted(number for one, number in pods.created if one == uid)


def _ended(job):
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(condition["type"] in {"Complete", "Failed"} for condition in conditions)


def _open(api, namespace):
    return [job for job in api.jobs(namespace) if not _ended(job)]


def test_seventeen_runs_of_seventeen_pushes_while_sixteen_jobs_hold_every_slot(
    world, installation, repository, replicas
):
    """They wait for longer than jobWaitingTimeoutSeconds, and all run."""
    config = {"runtimeConfig": "action: {maxRunningJobs: 16, jobWaitingTimeoutSeconds: 2}\n"}
    path = f"/api/v1/namespaces/{installation}/configmaps"
    metadata = {"name": "git-events-runner-config"}
    world.post(path, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": config})
    names = [f"hook{number}" for number in range(33)]
    for name in names:
        world.ours("WebhookTrigger", installation, name, sources() | {"webhook": {"multiSource": True}})
    replica = replicas(0)
    wait_until("a leader", lambda: replica.leads)
    for name in names[:16]:
        wait_until(name, lambda name=name: replica.post(f"/{installation}/{name}") == 202)
    wait_until("every slot is held", lambda: len(_running(world, installation)) == 16, timeout_s=60)
    for name in names[16:]:
        assert replica.post(f"/{installation}/{name}") == 202
    waits = lambda: world.events(installation, "WaitingForSlot")  # noqa: E731
    wait_until("all wait for too long", lambda: len({e["regarding"]["name"] for e in waits()}) == 17, timeout_s=60)
    with Finisher(world, installation, run_s=0.1):
        wait_until(
            "all ran", lambda: len(world.jobs(installation)) == 33 and not _open(world, installation), timeout_s=90
        )
    assert {job["metadata"]["labels"]["git-events-runner.rs/trigger-name"] for job in world.jobs(installation)} == {
        *names
    }


def _running(api, namespace):
    return [job for job in api.jobs(namespace) if not job["spec"].get("suspend")]
