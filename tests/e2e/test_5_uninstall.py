"""The end of the installation."""

from tests.cluster.api import OURS


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
    for namespace in ("team", "other"):
        for kind in ("scheduletriggers", "webhooktriggers"):
            for trigger in cluster.api.items(f"{OURS}/namespaces/{namespace}/{kind}"):
                assert "finalizers" not in trigger["metadata"]
    leases = cluster.api.items(f"/apis/coordination.k8s.io/v1/namespaces/{release}/leases")
    assert [lease["metadata"]["name"] for lease in leases] == ["ger-git-events-runner-leader-lock"]
    for name in (release, "team", "other", "vault"):
        cluster.api.delete(f"/api/v1/namespaces/{name}")
