"""Slots of Jobs and copies of Secrets (items 17 and 24): what one tenant holds, and for how long."""

from tests.adversary.test_identity import jobs_path, own_hook, started
from tests.cluster.finisher import Finisher
from tests.cluster.plane import wait_until
from tests.system.conftest import sources


def test_sleeping_jobs_of_one_namespace_leave_slots_to_the_others(estate, repository):
    """Item 17: twenty older Jobs that never end; the neighbour's Jobs start as promised, and none runs for ever."""
    names = [f"s{number}" for number in range(20)]
    for name in names:
        estate.tenant.ours("GitRepo", estate.evil, name, {"repoUri": repository.url})
    sleep = {"actionJob": {"command": ["sleep", "inf"], "activeDeadlineSeconds": 10**9, "jobWaitingTimeoutSeconds": 0}}
    estate.tenant.ours("Action", estate.evil, "sleep", sleep)
    where = {"kind": "GitRepo", "names": names, "watchOn": {"onChangeOnly": True}}
    own_hook(estate, repository, "many", sources=where, action={"kind": "Action", "name": "sleep"})
    estate.configure("action: {maxActiveDeadlineSeconds: 900}\n")
    replica = estate.start()
    assert replica.post(f"/{estate.evil}/many") == 202
    wait_until("the tenant's share", lambda: len(started(estate, estate.evil, "many")) == 12, timeout_s=60)
    with estate.watched(seconds=6, starts=True):
        wait_until("all of them", lambda: len(estate.api.jobs(estate.evil)) == 20, timeout_s=60)
    assert len(started(estate, estate.evil, "many")) == 12
    assert {job["spec"]["activeDeadlineSeconds"] for job in estate.api.jobs(estate.evil)} == {900}
    with Finisher(estate.api, estate.evil):
        wait_until("the tenant's other Jobs", lambda: len(started(estate, estate.evil, "many")) == 20, timeout_s=60)


def test_a_copy_lives_no_longer_than_the_init_container(estate, repository, shared):
    """Item 24: by the Job's status, without a right on pods; another pod gets it again, the end of the Job ends it."""
    allowed = {"allowedNamespaces": {"names": [estate.evil, estate.good]}}
    estate.api.patch(f"/apis/git-events-runner.rs/v1alpha1/clustergitrepos/{shared}", {"spec": allowed})
    cluster = sources()["sources"] | {"kind": "ClusterGitRepo", "names": [shared]}
    own_hook(estate, repository, "copied", sources=cluster)
    replica = estate.start()
    assert replica.post(f"/{estate.evil}/copied") == 202
    [job] = wait_until("the Job", lambda: started(estate, estate.evil, "copied"), timeout_s=60)
    path = jobs_path(estate.evil, job["metadata"]["name"])

    def copies():
        return [secret["metadata"]["name"] for secret in estate.api.items(f"/api/v1/namespaces/{estate.evil}/secrets")]

    def becomes(**status):
        began = {"startTime": job["metadata"]["creationTimestamp"]}
        estate.api.patch(f"{path}/status", {"status": began | status})

    name = f"git-events-runner-{job['metadata']['name']}"
    with estate.watched(seconds=4):
        becomes(active=1, ready=0)
        assert copies() == [name]
        becomes(active=1, ready=1)
        wait_until("the copy is deleted", lambda: copies() == [], timeout_s=10)
        becomes(active=1, ready=0)
        wait_until("the copy for another pod", lambda: copies() == [name], timeout_s=10)
        with Finisher(estate.api, estate.evil):
            wait_until("no copy of a Job that ended", lambda: copies() == [], timeout_s=10)
    assert estate.api.get(path)["status"]["conditions"]
