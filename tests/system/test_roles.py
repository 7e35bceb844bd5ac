"""The chart's roles: a run of the controller uses each verb on each resource, and nothing that it asks is refused."""

import base64
import re

import pytest

from git_events_runner.resources.job import RunKey, job_name
from git_events_runner.resources.ref import Ref
from tests.cluster.api import OURS
from tests.cluster.plane import wait_until
from tests.servers.sshd import Sshd, Unavailable
from tests.system.conftest import sources
from tests.system.roles import CLUSTER_EVENTS, let_read_secrets, roles
from tests.system.test_tenancy import configure

FINALIZER = "scheduletriggers.git-events-runner.rs"
KEPT = "git-events-runner-controller"
TRACKED = "git-events-runner.rs/trigger-name"
# Events of cluster objects that repeat: a matter of minutes; those of the Jobs' namespaces do in this run.
REPEATED = {(f"{KEPT}-events", "Role", "events.k8s.io", "events", "patch")}


def granted():
    """(role, group, resource, verb) of the controller's roles."""
    return {
        (role["metadata"]["name"], role["kind"], group, resource, verb)
        for role in roles()
        if role["kind"] in {"Role", "ClusterRole"}
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def used(events):
    """The same of what was allowed, by the authorizer's own reason."""
    found = set()
    for event in events:
        reason = event["annotations"].get("authorization.k8s.io/reason", "")
        by = re.search(r'of (Cluster)?Role "([^"]+)"', reason)
        if by:
            target = event["objectRef"]
            resource = "/".join(part for part in (target["resource"], target.get("subresource")) if part)
            kind = "ClusterRole" if by[1] else "Role"
            found.add((by[2], kind, target.get("apiGroup", ""), resource, event["verb"]))
    return found


@pytest.fixture
def ssh(tmp_path):
    """A real sshd with git."""
    try:
        server = Sshd(tmp_path / "sshd")
    except Unavailable as missing:
        pytest.skip(str(missing))
    yield server
    server.close()


@pytest.fixture
def vault(api, installation):
    """A namespace whose Secrets the controller may read, with a credential in it."""
    name = f"{installation}-vault"
    api.post("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    let_read_secrets(api, name)
    yield name
    api.delete(f"/api/v1/namespaces/{name}")


def secret(api, namespace, name, **data):
    """Create a Secret."""
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": encoded}
    api.post(f"/api/v1/namespaces/{namespace}/secrets", body)


def report(world, installation):
    """Notifiers of both kinds, whose Secret is missing: their condition says so."""
    spec = {"type": "webhook", "address": "http://127.0.0.1:1/", "events": ["Queued"], "secretRef": {"name": "none"}}
    here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": installation}}}
    world.ours("Notifier", installation, "report", spec)
    world.ours("ClusterNotifier", None, f"report-{installation}", spec | {"triggers": here})


def test_each_rule_of_the_roles_is_used_and_nothing_is_missing(
    world, installation, repository, replicas, control_plane, ssh, vault
):
    """Every way of the program through the API: leave a verb out and a request of this run is refused."""
    hook = {"webhook": {"multiSource": True}}
    client_key = ssh.key.read_text()
    secret(world, vault, "robot", **{"ssh-privatekey": client_key})
    secret(world, installation, "robot", **{"ssh-privatekey": client_key})
    login = {"type": "ssh", "secretRef": {"name": "robot"}}
    url = ssh.url(repository.path)
    world.ours("GitRepo", installation, "own", {"repoUri": url, "authConfig": login})
    elsewhere = login | {"secretRef": {"name": "robot", "namespace": vault}}
    shared = f"shared-{installation}"
    world.ours("ClusterGitRepo", None, shared, {"repoUri": url, "authConfig": elsewhere})
    everybody = f"build-{installation}"
    report(world, installation)
    world.ours("ClusterAction", None, everybody, {"actionJob": {"command": ["true"]}})
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}}
    quotas = f"/api/v1/namespaces/{installation}/resourcequotas"
    world.post(quotas, quota | {"spec": {"hard": {"count/jobs.batch": "0"}}})
    wait_until("the quota counts", lambda: (world.get(f"{quotas}/none").get("status") or {}).get("hard"))
    configure(world, installation, "action: {maxRunningJobs: 0, jobWaitingTimeoutSeconds: 0}\n")
    try:
        own = sources()["sources"] | {"names": ["own"]}
        cluster = sources()["sources"] | {"kind": "ClusterGitRepo", "names": [shared]}
        by_all = {"action": {"kind": "ClusterAction", "name": everybody}}
        world.ours("WebhookTrigger", installation, "own", sources() | hook | {"sources": own})
        world.ours("WebhookTrigger", installation, "shared", sources() | hook | {"sources": cluster} | by_all)
        hasty = {"action": {"kind": "Action", "name": "hasty"}}
        world.ours("Action", installation, "hasty", {"actionJob": {"jobWaitingTimeoutSeconds": 1}})
        world.ours("WebhookTrigger", installation, "hasty", sources(onChangeOnly=False) | hook | hasty)
        timed = sources() | {"schedule": {"interval": "1s"}}
        world.ours("ScheduleTrigger", installation, "timed", timed, finalizers=[FINALIZER])
        taken = world.ours("WebhookTrigger", installation, "taken", sources() | hook)
        name = job_name("taken", RunKey(trigger_uid=taken["metadata"]["uid"], source="app", number=1))
        replica = replicas(0)
        for trigger in ("own", "shared", "hasty"):
            assert replica.post(f"/{installation}/{trigger}") == 202
        wait_until("refusals that repeat", lambda: _series(world, installation), timeout_s=60)
        world.delete(f"{quotas}/none")
        foreign = {"containers": [{"name": "x", "image": "x"}], "restartPolicy": "Never"}
        job = {"suspend": True, "template": {"spec": foreign}}
        path = f"/apis/batch/v1/namespaces/{installation}/jobs"
        world.post(path, {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": job})
        assert replica.post(f"/{installation}/taken") == 202
        wait_until("a Job that waits too long", lambda: _reason(world, installation, "Expired"), timeout_s=90)
        wait_until("queued Jobs", lambda: len(_ours(world, installation)) == 3, timeout_s=90)
        wait_until("an Event of the ClusterNotifier", lambda: _about(world, f"report-{installation}"), timeout_s=60)
        gone = Ref("ScheduleTrigger", installation, "timed")
        wait_until(
            "no finalizer", lambda: not world.trigger(installation, gone.name, gone.kind)["metadata"].get("finalizers")
        )
        configure(world, installation, "action: {maxRunningJobs: 9}\n")
        wait_until("they run", lambda: not any(j["spec"]["suspend"] for j in _ours(world, installation)))
        [copied] = world.jobs(installation, "shared")
        ready = {"status": {"startTime": copied["metadata"]["creationTimestamp"], "active": 1, "ready": 1}}
        world.patch(f"{path}/{copied['metadata']['name']}/status", ready)  # its init container is done: the copy goes
        wait_until("the name's conflict", lambda: _reason(world, installation, "JobNameConflict"), timeout_s=60)
        wanted = {one for one in granted() if one[0].startswith(KEPT)} - REPEATED
        namespaces = (installation, vault, CLUSTER_EVENTS)
        requests = lambda: [e for e in control_plane.audited() if _here(e, *namespaces)]  # noqa: E731
        wait_until("every right is used", lambda: wanted <= used(requests()), timeout_s=30)
        assert wanted - used(requests()) == set()
        refused = [e for e in requests() if (e.get("responseStatus") or {}).get("code") == 403]
        quota_only = [e for e in refused if "exceeded quota" in str(e["responseStatus"].get("message"))]
        assert refused == quota_only
    finally:
        world.delete(f"{OURS}/clustergitrepos/{shared}")
        world.delete(f"{OURS}/clusteractions/{everybody}")
        world.delete(f"{OURS}/clusternotifiers/report-{installation}")


def _here(event, *namespaces):
    return event["objectRef"].get("namespace") in (None, "", *namespaces)


def _ours(api, namespace):
    return [job for job in api.jobs(namespace) if TRACKED in (job["metadata"].get("labels") or {})]


def _series(api, namespace):
    return [e for e in api.items(f"/apis/events.k8s.io/v1/namespaces/{namespace}/events") if e.get("series")]


def _about(api, name):
    events = api.items(f"/apis/events.k8s.io/v1/namespaces/{CLUSTER_EVENTS}/events")
    return [e for e in events if e["regarding"]["name"] == name]


def _reason(api, namespace, reason):
    events = api.items(f"/apis/events.k8s.io/v1/namespaces/{namespace}/events")
    return [e for e in events if e["reason"] == reason]
