"""Real pods where other parties have a say: a person, Kueue, a quota, a cluster that chooses the users itself."""

import pytest

from tests.cluster.api import Refused
from tests.cluster.plane import wait_until
from tests.e2e.cluster import BATCH

_POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolic"
_SHARE = {"requests": {"cpu": "50m", "memory": "32Mi"}, "limits": {"cpu": "50m", "memory": "32Mi"}}
_RANGE = 1000650000
_ALL = "object.spec.containers + (has(object.spec.initContainers) ? object.spec.initContainers : [])"
_IN_RANGE = f">= {_RANGE} && %s < {_RANGE + 10000}"


@pytest.fixture(scope="module")
def open_source(cluster, release):
    """An open repository, as a source of each namespace."""
    repository = cluster.git.repository()
    repository.push({"README": "one\n"})
    for namespace in ("team", "bounded", "ranged"):
        cluster.api.ours("GitRepo", namespace, "plain", {"repoUri": repository.url})
    return repository


def waiting(cluster, release, namespace, name, action):
    """The first Job of a new trigger with that action, not awaited."""
    cluster.api.ours("Action", namespace, name, {"actionJob": action})
    cluster.hook(namespace, name, ("GitRepo", "plain"), ("Action", name))
    wait_until("its webhook", lambda: cluster.webhook(release, f"/{namespace}/{name}")[0] == 202)
    [job] = wait_until("its Job", lambda: cluster.api.jobs(namespace, name))
    return job


def test_a_failed_run_names_its_exit_code_and_commit(cluster, release, open_source):
    """The Event of the trigger has what a person needs, the command for the logs included."""
    job = waiting(cluster, release, "team", "three", {"command": ["/bin/sh", "-c", "exit 3"]})
    name = job["metadata"]["name"]
    [event] = wait_until("the Event", lambda: cluster.api.events("team", "JobFailed", name="three"), timeout_s=120)
    note = event["note"]
    assert f"Job {name} failed: container action-worker ended with exit code 3" in note
    assert f"source plain at commit {open_source.head()[:12]} (first check)" in note
    assert f"kubectl logs -n team job/{name} -c action-worker" in note
    wait_until("its phase", lambda: cluster.api.phase("team", "three", "plain") == "Failed")


def test_a_job_that_a_person_suspends_waits_for_that_person(cluster, release, open_source):
    """Its pod is deleted, other runs come and end meanwhile, and it has a second pod only once it is resumed."""
    job = waiting(cluster, release, "team", "held", {"command": ["sleep", "600"]})
    name = job["metadata"]["name"]
    path = f"{BATCH}/namespaces/team/jobs/{name}"
    wait_until("its worker", lambda: (cluster.api.get(path)["status"] or {}).get("ready") == 1, timeout_s=60)
    cluster.api.patch(path, {"spec": {"suspend": True}})
    wait_until("its pod is deleted", lambda: cluster.api.events("team", "SuccessfulDelete", name=name), timeout_s=60)
    wait_until("its phase", lambda: cluster.api.phase("team", "held", "plain") == "Suspended")
    cluster.api.ours("Action", "team", "passing", {"actionJob": {"command": ["true"]}})
    cluster.hook("team", "passing", ("GitRepo", "plain"), ("Action", "passing"))
    cluster.run("team", "passing")
    assert cluster.api.get(path)["spec"]["suspend"] is True
    assert len(cluster.api.events("team", "SuccessfulCreate", name=name)) == 1
    cluster.api.patch(path, {"spec": {"suspend": False}})
    wait_until(
        "a second pod", lambda: len(cluster.api.events("team", "SuccessfulCreate", name=name)) == 2, timeout_s=60
    )
    wait_until("its phase", lambda: cluster.api.phase("team", "held", "plain") == "Running")
    cluster.api.delete(path)


def test_a_job_of_kueue_clones_with_a_secret_from_elsewhere(cluster, release, credential, repository):
    """The copy is there before another party resumes the Job, and its pod ends well."""
    login = {"type": "basic", "secretRef": {"name": "git", "namespace": "vault"}}
    cluster.api.ours("ClusterGitRepo", None, "queued", {"repoUri": repository.url, "authConfig": login})
    labels = {"kueue.x-k8s.io/queue-name": "team"}
    cluster.api.ours("Action", "team", "queued", {"actionJob": {"command": ["true"], "labels": labels}})
    cluster.hook("team", "queued", ("ClusterGitRepo", "queued"), ("Action", "queued"))
    wait_until("its webhook", lambda: cluster.webhook(release, "/team/queued")[0] == 202)
    [job] = wait_until("its Job", lambda: cluster.api.jobs("team", "queued"))
    name = job["metadata"]["name"]
    secrets = "/api/v1/namespaces/team/secrets"
    copy = f"git-events-runner-{name}"
    wait_until("the copy", lambda: copy in {s["metadata"]["name"] for s in cluster.api.items(secrets)})
    wait_until("its phase", lambda: cluster.api.phase("team", "queued", "queued") == "Queued")
    assert not cluster.api.events("team", "SuccessfulCreate", name=name)
    cluster.api.patch(f"{BATCH}/namespaces/team/jobs/{name}", {"spec": {"suspend": False}})
    assert cluster.finished("team", "queued")[1]["type"] == "Complete"


def test_a_run_fits_into_a_quota_that_covers_limits(cluster, release, open_source):
    """At default settings: the cloner names limits of its own, and the worker gets some if its Action names none."""
    path = "/api/v1/namespaces/bounded/resourcequotas"
    hard = {"limits.cpu": "4", "limits.memory": "4Gi", "requests.cpu": "4", "requests.memory": "4Gi"}
    cluster.api.post(path, {"metadata": {"name": "q"}, "spec": {"hard": hard}})
    wait_until("the quota", lambda: (cluster.api.get(f"{path}/q").get("status") or {}).get("hard"))
    for name, own in (("small", {"resources": _SHARE}), ("plain", {})):
        waiting(cluster, release, "bounded", name, {"command": ["true"]} | own)
        assert cluster.finished("bounded", name)[1]["type"] == "Complete"


@pytest.fixture
def users_in_range(cluster):
    """A policy that does with users and groups what OpenShift's restricted-v2 does, in the namespace `ranged`."""
    user = "c.securityContext.runAsUser"
    group = "object.spec.securityContext.fsGroup"
    named = f"has(c.securityContext) && has({user})"
    grouped = f"has(object.spec.securityContext) && has({group})"
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]
    place = {"matchLabels": {"kubernetes.io/metadata.name": "ranged"}}
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": rules, "namespaceSelector": place},
        "validations": [
            {"expression": f"({_ALL}).all(c, !({named}) || {user} {_IN_RANGE % user})", "message": "runAsUser"},
            {"expression": f"!({grouped}) || {group} {_IN_RANGE % group}", "message": "fsGroup"},
        ],
    }
    cluster.api.post(f"{_POLICIES}ies", {"metadata": {"name": "ranged"}, "spec": spec})
    binding = {"policyName": "ranged", "validationActions": ["Deny"]}
    cluster.api.post(f"{_POLICIES}ybindings", {"metadata": {"name": "ranged"}, "spec": binding})
    yield
    cluster.api.delete(f"{_POLICIES}ybindings/ranged")
    cluster.api.delete(f"{_POLICIES}ies/ranged")


def test_a_run_where_the_cluster_chooses_users(cluster, release, open_source, users_in_range):
    """A pod that names another user is refused there; ours name none, in a namespace annotated as OpenShift's are."""
    security = {"podSecurityContext": {"fsGroup": _RANGE, "runAsUser": _RANGE}}
    foreign = {
        "metadata": {"name": "foreign"},
        "spec": {"containers": [{"name": "c", "image": "x", "securityContext": {"runAsUser": 65532}}]},
    }

    def refused():
        try:
            cluster.api.post("/api/v1/namespaces/ranged/pods?dryRun=All", foreign)
        except Refused as error:
            return "runAsUser" in str(error)
        return False

    wait_until("the policy is enforced", refused, timeout_s=60)
    waiting(cluster, release, "ranged", "chosen", {"command": ["id", "-u"], "resources": _SHARE, **security})
    job, condition = cluster.finished("ranged", "chosen")
    assert condition["type"] == "Complete"
    assert cluster.printed(job).strip() == str(_RANGE)
    cloner = cluster.pod(job)["spec"]["initContainers"][0]
    assert "runAsUser" not in cloner["securityContext"]
