"""Jobs whose image does not exist yet, with the real Job controller: they hold no slot, and each runs once later."""

from datetime import datetime

import pytest

from tests.chaos.servers import servers
from tests.cluster import binaries
from tests.cluster.finisher import PodFinisher
from tests.cluster.plane import WITH_JOBS, wait_until
from tests.system.conftest import sources
from tests.system.replica import Replica
from tests.system.roles import bind
from tests.system.test_tenancy import configure

_SLOTS, _START_TIMEOUT_S = 16, 15
_TRIGGER = "git-events-runner.rs/trigger-name"
_CONFIG = (
    f"action: {{maxRunningJobs: {_SLOTS}, maxRunningJobsPerNamespace: {_SLOTS}, "
    f"startTimeoutSeconds: {_START_TIMEOUT_S}}}"
)


class Pods(PodFinisher):
    """Plays the kubelet: pods of `missing` triggers do not start, since their image is missing; the others end."""

    def __init__(self, api, namespace, missing):
        super().__init__(api, namespace)
        self.missing = missing

    def _pods(self):
        pods = super()._pods()
        return [pod for pod in pods if pod["metadata"]["labels"][_TRIGGER] not in self.missing]


@pytest.fixture
def world(tmp_path, repository):
    """A control plane with the real Job controller, and an installation in it."""
    try:
        found = binaries.find()
    except binaries.Unavailable as missing:
        pytest.skip(str(missing))
    if found.controller_manager is None:
        pytest.skip("KUBEBUILDER_ASSETS has no kube-controller-manager")
    with servers(tmp_path, controllers=WITH_JOBS) as (plane, api, _):
        api.post("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "t"}})
        bind(api, "t")
        api.ours("GitRepo", "t", "app", {"repoUri": repository.url})
        api.ours("Action", "t", "build", {"actionJob": {"command": ["true"]}})
        configure(api, "t", _CONFIG)
        yield plane, api


@pytest.mark.timeout(600)
def test_sixteen_jobs_without_an_image_leave_their_slots_and_run_once_it_is_there(world, tmp_path):
    """Another run starts within 30 s of the time-out, though they held every slot; then each of them runs once."""
    plane, api = world
    names = {f"broken{number:02}" for number in range(_SLOTS)}
    for name in (*sorted(names), "other"):
        api.ours("WebhookTrigger", "t", name, sources() | {"webhook": {"multiSource": True}})
    replica = Replica(plane, tmp_path, "t", 0)
    try:
        replica.wait_ready()
        wait_until("a leader", lambda: replica.leads)
        with Pods(api, "t", names) as pods:
            for name in sorted(names):
                wait_until(name, lambda name=name: replica.post(f"/t/{name}") == 202)
            wait_until("every slot is held", lambda: len(_running(api)) == _SLOTS, timeout_s=60)
            assert replica.post("/t/other") == 202
            [late] = wait_until("its Job", lambda: api.jobs("t", "other"))
            first = max(datetime.fromisoformat(job["status"]["startTime"]) for job in _running(api))
            wait_until("it runs elsewhere", lambda: _complete(api, "other"), timeout_s=120)
            started = datetime.fromisoformat(api.jobs("t", "other")[0]["status"]["startTime"])
            waited_s = (started - first).total_seconds()
            print(f"the 17th run started {waited_s:.0f} s after the sixteen, whose time-out is {_START_TIMEOUT_S} s")
            assert 0 < waited_s <= _START_TIMEOUT_S + 30
            assert all(not _complete(api, name) for name in names)
            pods.missing = set()
            wait_until("the sixteen run", lambda: all(_complete(api, name) for name in names), timeout_s=300)
        jobs = api.jobs("t")
    finally:
        replica.kill()
    assert len(jobs) == _SLOTS + 1
    assert {job["status"]["succeeded"] for job in jobs} == {1}
    assert {job["status"].get("failed", 0) for job in jobs} == {0}
    requeued = {job["metadata"]["labels"][_TRIGGER] for job in jobs if _requeues(job)}
    assert requeued <= names
    assert len(requeued) > 0
    assert late["metadata"]["uid"] in {job["metadata"]["uid"] for job in jobs}


def _running(api):
    return [
        job
        for job in api.jobs("t")
        if not job["spec"].get("suspend") and (job.get("status") or {}).get("startTime") and not _ended(job)
    ]


def _ended(job):
    return any(one["type"] in {"Complete", "Failed"} for one in (job.get("status") or {}).get("conditions") or ())


def _complete(api, name):
    jobs = api.jobs("t", name)
    return bool(jobs) and all(_ended(job) for job in jobs)


def _requeues(job):
    return job["metadata"]["annotations"].get("git-events-runner.rs/requeues")
