"""The end of the installation."""

from tests.cluster.api import OURS
from tests.cluster.plane import wait_until
from tests.e2e.options import TENANT


def test_uninstalling_leaves_the_users_objects_and_nothing_of_ours(cluster, release):
    """CRDs and triggers stay (crds.keep), and nothing holds a namespace back: no finalizer anywhere."""
    cluster.helm("uninstall", "ger", "--namespace", release, "--wait", "--timeout", "90s")
    assert cluster.api.items(f"{OURS}/namespaces/team/gitrepos")
    for kind in ("services", "configmaps", "serviceaccounts", "secrets"):
        left = [item["metadata"]["name"] for item in cluster.api.items(f"/api/v1/namespaces/{release}/{kind}")]
        assert not [name for name in left if name.startswith("ger-")]
    for kind in ("clusterroles", "clusterrolebindings"):
        left = [item["metadata"]["name"] for item in cluster.api.items(f"/apis/rbac.authorization.k8s.io/v1/{kind}")]
        assert not [name for name in left if name.startswith("ger-")]
    for namespace in ("team", TENANT, "other"):
        for kind in ("scheduletriggers", "webhooktriggers"):
            for trigger in cluster.api.items(f"{OURS}/namespaces/{namespace}/{kind}"):
                assert "finalizers" not in trigger["metadata"]
    leases = f"/apis/coordination.k8s.io/v1/namespaces/{release}/leases"
    wait_until("the leader's Lease is collected", lambda: not cluster.api.items(leases))
    for name in (release, "team", TENANT, "other", "vault"):
        cluster.api.delete(f"/api/v1/namespaces/{name}")
