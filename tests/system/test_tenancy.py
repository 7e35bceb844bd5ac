"""What the runtime config and cluster objects forbid tenants, on a real API server: condition, Event, no Job."""

import base64

import pytest

from tests.cluster.api import OURS
from tests.cluster.finisher import Finisher
from tests.cluster.plane import wait_until
from tests.system.conftest import sources
from tests.system.roles import bind, let_read_secrets

CONFIG = "git-events-runner-config"


def configure(api, namespace, text):
    """Write the runtime config."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIG}, "data": {"runtimeConfig": text}}
    if any(found["metadata"]["name"] == CONFIG for found in api.items(path)):
        api.put(f"{path}/{CONFIG}", body)
    else:
        api.post(path, body)


def hook(api, namespace, **spec):
    """A webhook trigger `hook`; parts of its spec may be replaced."""
    return api.ours("WebhookTrigger", namespace, "hook", sources() | {"webhook": {"multiSource": True}} | spec)


def reason(api, namespace, name="hook", kind="WebhookTrigger", condition="Stalled"):
    """Reason of a condition that is true."""
    status = api.trigger(namespace, name, kind).get("status") or {}
    found = [c["reason"] for c in status.get("conditions") or () if c["type"] == condition and c["status"] == "True"]
    return found[0] if found else None


@pytest.fixture
def shared(api, installation, repository):
    """Name of a ClusterGitRepo, unlike that of other tests; made by `make(**spec)`."""
    name = f"shared-{installation}"

    def make(**spec):
        return api.ours("ClusterGitRepo", None, name, {"repoUri": repository.url} | spec)

    make.name = name
    make.path = f"{OURS}/clustergitrepos/{name}"
    yield make
    api.delete(make.path)


def test_a_cluster_source_serves_the_namespaces_it_allows(world, installation, shared, git_server, replicas):
    """Refused: condition, Event, and no question to git; once the namespace is selected, the counted request runs."""
    shared(allowedNamespaces={"names": ["somebody-else"]})
    cluster = sources()["sources"] | {"kind": "ClusterGitRepo", "names": [shared.name]}
    hook(world, installation, sources=cluster)
    replica = replicas(0)
    before = git_server.requests()
    assert replica.post(f"/{installation}/hook") == 202
    wait_until("the refusal", lambda: reason(world, installation) == "NamespaceNotAllowed")
    [event] = wait_until("the Event", lambda: world.events(installation, "NamespaceNotAllowed"))
    assert shared.name in event["note"]
    assert (world.jobs(installation), git_server.requests()) == ([], before)
    labels = {"matchLabels": {"kubernetes.io/metadata.name": installation}}
    world.patch(shared.path, {"spec": {"allowedNamespaces": {"selector": labels}}})
    wait_until("conditions without it", lambda: reason(world, installation) is None)
    wait_until("the Job", lambda: world.jobs(installation), timeout_s=60)


def test_a_queued_run_gets_no_secret_of_a_source_that_was_closed_meanwhile(world, installation, shared, replicas):
    """The copy is made by the policy of that moment, not by the one under which the Job was queued."""
    vault = f"{installation}-vault"
    world.post("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": vault}})
    try:
        let_read_secrets(world, vault)
        token = {"token": base64.b64encode(b"Bearer x").decode()}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "robot"}, "data": token}
        world.post(f"/api/v1/namespaces/{vault}/secrets", secret)
        shared(authConfig={"type": "token", "secretRef": {"name": "robot", "namespace": vault}})
        configure(world, installation, "action: {maxRunningJobs: 0}\n")
        hook(world, installation, sources=sources()["sources"] | {"kind": "ClusterGitRepo", "names": [shared.name]})
        replica = replicas(0)
        assert replica.post(f"/{installation}/hook") == 202
        wait_until("the queued Job", lambda: world.jobs(installation))
        world.patch(shared.path, {"spec": {"allowedNamespaces": {"names": []}}})
        wait_until("the refusal", lambda: reason(world, installation) == "NamespaceNotAllowed")
        configure(world, installation, "action: {maxRunningJobs: 4}\n")
        retried = wait_until("the leader's try", lambda: reason(world, installation, condition="Reconciling"))
        assert retried == "NamespaceNotAllowed"
        [job] = world.jobs(installation)
        assert job["spec"]["suspend"]
        assert world.items(f"/api/v1/namespaces/{installation}/secrets") == []
        world.patch(shared.path, {"spec": {"allowedNamespaces": None}})
        wait_until("the release", lambda: not world.jobs(installation)[0]["spec"]["suspend"], timeout_s=60)
        [copy] = world.items(f"/api/v1/namespaces/{installation}/secrets")
        assert copy["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
    finally:
        world.delete(f"/api/v1/namespaces/{vault}")


@pytest.mark.parametrize(
    ("policy", "job", "expected"),
    [
        ("action: {actionsMayName: {serviceAccounts: [builder]}}", {"serviceAccount": "admin"}, "ServiceAccount"),
        ("policy: {forbiddenLabelPrefixes: [team.]}", {"labels": {"team.example/x": "y"}}, "Label"),
        ("policy: {forbiddenAnnotationPrefixes: [iam.]}", {"annotations": {"iam.example/role": "y"}}, "Annotation"),
        ("policy: {clonerImages: none}", {"clonerImage": "mine:1"}, "ClonerImage"),
    ],
    ids=["accounts", "labels", "annotations", "cloner"],
)
def test_what_an_action_may_not_say_runs_once_the_policy_is_lifted(api, policy, job, expected, request):
    """Refused with condition and Event; a changed runtime config is followed without a restart."""
    installation, repository = request.getfixturevalue("installation"), request.getfixturevalue("repository")
    api.ours("GitRepo", installation, "app", {"repoUri": repository.url})
    api.ours("Action", installation, "build", {"actionJob": {"command": ["true"]} | job})
    configure(api, installation, policy)
    hook(api, installation)
    replica = request.getfixturevalue("replicas")(0)
    assert replica.post(f"/{installation}/hook") == 202
    wait_until("the refusal", lambda: reason(api, installation) == f"{expected}NotAllowed")
    wait_until("the Event", lambda: api.events(installation, f"{expected}NotAllowed"))
    assert api.jobs(installation) == []
    configure(api, installation, "policy: {}\n")
    wait_until("conditions without it", lambda: reason(api, installation) is None)
    assert replica.post(f"/{installation}/hook") == 202
    wait_until("the Job", lambda: api.jobs(installation))


def test_a_schedule_that_comes_due_too_often_is_not_followed(world, installation, replicas):
    """It says so, does not run, and begins as soon as the installation allows it."""
    configure(world, installation, "policy: {minimumIntervalSeconds: 60}\n")
    world.ours("ScheduleTrigger", installation, "every", sources() | {"schedule": {"interval": "1s"}})
    world.ours("ScheduleTrigger", installation, "minute", sources() | {"schedule": {"cron": "* * * * *"}})
    replicas(0)
    wait_until("a Job of the slow one", lambda: world.jobs(installation, "minute"))
    wait_until("the refusal", lambda: reason(world, installation, "every", "ScheduleTrigger") == "IntervalTooShort")
    assert world.jobs(installation, "every") == []
    configure(world, installation, "policy: {minimumIntervalSeconds: 1}\n")
    wait_until("a Job of the fast one", lambda: world.jobs(installation, "every"))
    wait_until("all well", lambda: reason(world, installation, "every", "ScheduleTrigger") is None)


def test_a_namespace_has_no_more_unfinished_runs_than_its_share(world, installation, repository, replicas):
    """Three changed sources and a share of two: two Jobs, the third as soon as one of them has ended."""
    names = ["app", "two", "three"]
    for name in names[1:]:
        world.ours("GitRepo", installation, name, {"repoUri": repository.url})
    configure(world, installation, "policy: {unfinishedRunsPerNamespace: 2}\n")
    hook(world, installation, sources=sources()["sources"] | {"names": names})
    replica = replicas(0)
    assert replica.post(f"/{installation}/hook") == 202
    wait_until(
        "the third waits",
        lambda: reason(world, installation, condition="Reconciling") == "NamespaceLimitReached",
    )
    assert len(world.jobs(installation)) == 2
    with Finisher(world, installation):
        wait_until("all three", lambda: len(world.jobs(installation)) == 3, timeout_s=90)
    wait_until("all well", lambda: reason(world, installation, condition="Reconciling") is None)


def test_rights_lost_in_one_namespace_leave_the_others_alone(world, installation, repository, replicas):
    """No 202 that could not be recorded, the log says why; with the rights back it goes on without a restart."""
    tenant = f"{installation}-tenant"
    world.post("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": tenant}})
    bind(world, tenant)
    world.ours("GitRepo", tenant, "app", {"repoUri": repository.url})
    world.ours("Action", tenant, "build", {"actionJob": {"command": ["true"]}})
    hook(world, installation)
    hook(world, tenant)
    replica = replicas(0, tenants=(tenant,))
    assert (replica.post(f"/{installation}/hook"), replica.post(f"/{tenant}/hook")) == (202, 202)
    for namespace in (installation, tenant):
        wait_until(f"the Job of {namespace}", lambda namespace=namespace: world.jobs(namespace), timeout_s=60)
    bindings = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{tenant}/rolebindings"
    kept = world.items(bindings)
    for binding in kept:
        world.delete(f"{bindings}/{binding['metadata']['name']}")
    repository.push({"README": "two\n"})
    assert wait_until("a refusal", lambda: replica.post(f"/{tenant}/hook") == 503)
    assert replica.post(f"/{installation}/hook") == 202
    wait_until("the other's Job", lambda: len(world.jobs(installation)) == 2, timeout_s=60)
    assert (replica.get("/ready")[0], replica.get("/alive")[0]) == (200, 200)
    [told, *_] = [line for line in replica.process.text().splitlines() if "webhook.uncounted" in line]
    assert "is forbidden" in told
    assert tenant in told
    assert len(world.jobs(tenant)) == 1
    for binding in kept:
        again = {name: binding["metadata"][name] for name in ("name", "namespace")}
        world.post(bindings, {"metadata": again, "roleRef": binding["roleRef"], "subjects": binding["subjects"]})
    wait_until("it is taken again", lambda: replica.post(f"/{tenant}/hook") == 202)
    wait_until("the tenant's Job", lambda: len(world.jobs(tenant)) == 2, timeout_s=60)
