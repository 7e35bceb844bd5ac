"""From a release of the Rust program to ours, in place, and away again."""

import contextlib

from tests.cluster.api import OURS, Refused
from tests.cluster.plane import wait_until
from tests.e2e.helm import CHART
from tests.e2e.original import FINALIZER, write_chart

_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_NAME = "ger-git-events-runner"


def _names(cluster, path):
    with contextlib.suppress(Refused):
        return [item["metadata"]["name"] for item in cluster.api.items(path) if "ger-" in item["metadata"]["name"]]
    return []


def test_upgrade_in_place_rollback_and_uninstall(cluster, repository, tmp_path):
    """CRDs are adopted, the finalizer goes, a recorded commit does not run and the next one does; nothing is left."""
    api, helm = cluster.api, cluster.helm
    namespace, tenant = cluster.namespace("old-system"), cluster.namespace("old-team")
    original = write_chart(tmp_path / "original", "localhost/pause:1")
    helm("install", "ger", str(original), "--namespace", namespace, "--wait", "--timeout", "60s")
    selector = api.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{_NAME}")["spec"]["selector"]

    open_repository = cluster.git.repository()
    head = open_repository.push({"README": "one\n"})
    api.ours("GitRepo", tenant, "app", {"repoUri": open_repository.url})
    api.ours("Action", tenant, "build", {"actionJob": {"command": ["true"]}})
    spec = {
        "schedule": {"interval": "2s"},
        "sources": {"kind": "GitRepo", "names": ["app"]},
        "action": {"kind": "Action", "name": "build"},
    }
    api.ours("ScheduleTrigger", tenant, "every", spec, finalizers=[FINALIZER])
    path = f"{OURS}/namespaces/{tenant}/scheduletriggers/every"
    entry = {"commitHash": head, "fileHash": None, "changed": "2026-01-02T03:04:05Z"}
    status = {"state": "Idle", "lastRun": "2026-01-02T03:04:05Z", "checkedSources": {"app": entry}}
    api.patch(f"{path}/status", {"status": status})

    values = {
        "rbac": {"controller": {"jobsNamespaces": [tenant]}},
        "actionJobServiceAccounts": {"namespaces": [tenant]},
    }
    cluster.install("upgrade", namespace, CHART, "--take-ownership", **values)
    now = api.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{_NAME}")
    assert now["spec"]["selector"] == selector
    assert now["status"]["readyReplicas"] == 2
    wait_until("the finalizer is gone", lambda: not api.get(path)["metadata"].get("finalizers"), timeout_s=40)

    def adopted():
        found = api.get(path)["status"]
        conditions = {c["type"]: c["status"] for c in found.get("conditions") or ()}
        return conditions.get("Ready") == "True" and found["checkedSources"]["app"]["commitHash"] == head

    wait_until("the record is adopted", adopted, timeout_s=40)
    assert not api.jobs(tenant)
    pushed = open_repository.push({"README": "two\n"})
    job, condition = cluster.finished(tenant, "every")
    assert condition["type"] == "Complete", condition
    assert job["metadata"]["annotations"]["git-events-runner.rs/commit"] == pushed

    helm("rollback", "ger", "1", "--namespace", namespace, "--wait", "--timeout", "60s")
    container = api.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{_NAME}")["spec"]["template"]["spec"]
    assert container["containers"][0]["image"] == "localhost/pause:1"
    assert api.get(path)["status"]["checkedSources"]["app"]["commitHash"] == pushed

    cluster.install("upgrade", namespace, CHART, "--take-ownership", **values)
    assert len(api.jobs(tenant)) == 1
    helm("uninstall", "ger", "--namespace", namespace, "--wait", "--timeout", "60s")
    for place in (
        "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    ):
        assert _names(cluster, place) == []
    for kind in ("services", "configmaps", "secrets", "serviceaccounts"):
        assert _names(cluster, f"/api/v1/namespaces/{namespace}/{kind}") == []
    for kind in ("roles", "rolebindings"):
        for where in (namespace, tenant):
            assert _names(cluster, f"/apis/rbac.authorization.k8s.io/v1/namespaces/{where}/{kind}") == []
    assert api.get(path)["status"]["checkedSources"]["app"]["commitHash"] == pushed
    for name in (tenant, namespace):
        api.delete(f"/api/v1/namespaces/{name}")
