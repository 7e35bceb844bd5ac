"""Thirty served namespaces on a real API server, of which one is deleted and one refuses: all others are served."""

import pytest

from tests.cluster.api import OURS
from tests.cluster.finisher import Finisher
from tests.cluster.plane import wait_until
from tests.system.conftest import sources
from tests.system.roles import USERS, grant
from tests.system.test_tenancy import configure

ROLE = "git-events-runner-controller-jobs"
BINDING = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{{}}/rolebindings/{ROLE}"


def create(api, name):
    """A namespace."""
    api.post("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


def bind_jobs(api, name):
    """Let the replicas serve a namespace, as the chart does."""
    grant(api, name, "ClusterRole", ROLE, USERS)


def remove(api, name):
    """Delete a namespace as Kubernetes does: what is in it first, its roles among that."""
    api.delete(BINDING.format(name))
    for plural in ("webhooktriggers", "gitrepos", "actions"):
        for found in api.items(f"{OURS}/namespaces/{name}/{plural}"):
            api.delete(f"{OURS}/namespaces/{name}/{plural}/{found['metadata']['name']}")
    path = f"/api/v1/namespaces/{name}"
    api.delete(path)
    api.put(f"{path}/finalize", api.get(path) | {"spec": {"finalizers": []}})


def fill(api, name, repository):
    """A source, an action, and a webhook trigger."""
    api.ours("GitRepo", name, "app", {"repoUri": repository.url})
    api.ours("Action", name, "build", {"actionJob": {"command": ["true"]}})
    api.ours("WebhookTrigger", name, "hook", sources() | {"webhook": {"multiSource": True}})


def named(replica):
    """The namespaces that `/ready` names, with its status."""
    status, text = replica.get("/ready")
    return status, [line.split()[1].rstrip(":") for line in text.splitlines() if line.startswith("namespace ")]


@pytest.fixture
def tenants(api, installation, repository):
    """Thirty namespaces with a trigger each."""
    names = [f"{installation}-{number:02}" for number in range(30)]
    for name in names:
        create(api, name)
        bind_jobs(api, name)
        fill(api, name, repository)
    yield names
    for found in api.items("/api/v1/namespaces"):
        if found["metadata"]["name"] in names:
            api.delete(f"/api/v1/namespaces/{found['metadata']['name']}")


def test_a_deleted_and_a_refusing_namespace_stop_no_other(api, installation, tenants, repository, replicas):
    """Reported from the start on; all others run Jobs, also after a restart; each joins when it can be read."""
    configure(api, installation, "action: {maxRunningJobs: 50}\n")
    deleted, shut, known, *others = tenants
    remove(api, deleted)
    api.delete(BINDING.format(shut))
    replica = replicas(0, tenants=tenants)
    assert named(replica) == (200, [deleted, shut])
    assert replica.metric("git_events_runner_namespaces_not_served") == 2
    assert (replica.post(f"/{deleted}/hook"), replica.post(f"/{shut}/hook")) == (404, 503)
    for name in (known, *others):
        assert replica.post(f"/{name}/hook") == 202, name
    for name in (known, *others):
        wait_until(f"the Job in {name}", lambda name=name: api.phase(name, "hook", "app") == "Running", timeout_s=60)
    [event] = wait_until("the Event", lambda: api.events(installation, "NamespaceNotServed", kind="ConfigMap"))
    assert deleted in event["note"]
    assert shut in event["note"]

    api.delete(BINDING.format(known))
    replica.kill()
    replica.restart()
    replica.wait_ready(60)
    wait_until("what refuses since is reported", lambda: named(replica) == (200, [deleted, shut, known]))
    wait_until("it leads", lambda: replica.leads)
    pushed = repository.push({"README": "two\n"})
    for name in others:
        assert replica.post(f"/{name}/hook") == 202, name
    for name in others:
        wait_until(f"the second Job in {name}", lambda name=name: len(api.jobs(name)) == 2, timeout_s=60)
    assert api.jobs(others[0])[-1]["metadata"]["annotations"]["git-events-runner.rs/commit"] == pushed
    assert replica.post(f"/{known}/hook") == 503
    assert api.phase(known, "hook", "app") == "Running"

    for name in (shut, known):
        bind_jobs(api, name)
    create(api, deleted)
    bind_jobs(api, deleted)
    fill(api, deleted, repository)
    wait_until("all joined", lambda: named(replica) == (200, []), timeout_s=60)
    assert replica.metric("git_events_runner_namespaces_not_served") == 0
    for name in (deleted, shut):
        wait_until("its trigger", lambda name=name: replica.post(f"/{name}/hook") == 202, timeout_s=60)
        wait_until("its Job", lambda name=name: api.jobs(name), timeout_s=60)
    with Finisher(api, known):
        wait_until("the end of the Job that could not be seen", lambda: api.phase(known, "hook", "app") == "Succeeded")
    assert replica.get("/alive")[0] == 200
