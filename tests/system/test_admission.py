"""Who admits a Job, on a real API server: suspensions of others stand; Kueue's Jobs have their Secret beforehand."""

from tests.cluster.api import OURS
from tests.cluster.plane import wait_until
from tests.system.conftest import sources
from tests.system.roles import bind
from tests.system.test_roles import secret
from tests.system.test_tenancy import hook

FAST = ("--leader-lease-duration=3", "--leader-lease-grace=1")


def admission(job):
    """Who admits a Job, and whether it is suspended."""
    return job["metadata"]["annotations"]["git-events-runner.rs/admission"], job["spec"]["suspend"]


def test_a_job_that_a_person_suspends_stays_suspended(world, installation, repository, replicas):
    """Also under a new leader, while the next change runs; a served namespace that does not exist hinders nothing."""
    places = {"tenants": (f"{installation}-never-there",)}
    hook(world, installation)
    replica = replicas(0, *FAST, **places)
    assert replica.post(f"/{installation}/hook") == 202
    wait_until("a Job", lambda: world.jobs(installation))
    wait_until("it is admitted", lambda: admission(world.jobs(installation)[0]) == ("admitted", False))
    [job] = world.jobs(installation)
    path = f"/apis/batch/v1/namespaces/{installation}/jobs/{job['metadata']['name']}"
    wait_until("it is recorded", lambda: world.phase(installation, "hook", "app") == "Running")
    world.patch(path, {"spec": {"suspend": True}})
    wait_until("its phase", lambda: world.phase(installation, "hook", "app") == "Suspended")
    wait_until("its Event", lambda: world.events(installation, "JobSuspended"))
    replica.kill()
    replica = replicas(1, *FAST, **places)
    repository.push({"README": "two\n"})
    assert replica.post(f"/{installation}/hook") == 202
    wait_until("the next run", lambda: len(world.jobs(installation)) == 2, timeout_s=60)
    others = [job for job in world.jobs(installation) if job["metadata"]["name"] not in path]
    again = f"/apis/batch/v1/namespaces/{installation}/jobs/{others[0]['metadata']['name']}"
    wait_until("it is admitted", lambda: admission(world.get(again)) == ("admitted", False), timeout_s=60)
    assert admission(world.get(path)) == ("admitted", True)


def test_a_job_of_kueue_has_its_secret_before_it_is_admitted(world, installation, repository, replicas):
    """The credential lives in another namespace; the Job stays suspended until another party resumes it."""
    vault, shared = f"{installation}-vault", f"shared-{installation}"
    world.post("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": vault}})
    bind(world, vault)
    secret(world, vault, "robot", token="Bearer x")
    login = {"type": "token", "secretRef": {"name": "robot", "namespace": vault}}
    world.ours("ClusterGitRepo", None, shared, {"repoUri": repository.url, "authConfig": login})
    try:
        world.ours("Action", installation, "queued", {"actionJob": {"labels": {"kueue.x-k8s.io/queue-name": "team"}}})
        named = sources()["sources"] | {"kind": "ClusterGitRepo", "names": [shared]}
        hook(world, installation, sources=named, action={"kind": "Action", "name": "queued"})
        replica = replicas(0, tenants=(vault,))
        assert replica.post(f"/{installation}/hook") == 202
        secrets = f"/api/v1/namespaces/{installation}/secrets"
        wait_until("the copy", lambda: world.items(secrets))
        [job], [copy] = world.jobs(installation), world.items(secrets)
        assert copy["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
        assert admission(job) == ("elsewhere", True)
        wait_until("its phase", lambda: world.phase(installation, "hook", shared) == "Queued")
        path = f"/apis/batch/v1/namespaces/{installation}/jobs/{job['metadata']['name']}"
        world.patch(path, {"spec": {"suspend": False}})
        wait_until("it runs", lambda: world.phase(installation, "hook", shared) == "Running")
    finally:
        world.delete(f"{OURS}/clustergitrepos/{shared}")
        world.delete(f"/api/v1/namespaces/{vault}")
