"""Namespaces whose quota covers limits: pods of our Jobs are admitted, because every container names its own."""

import pytest

from tests.cluster.api import Refused
from tests.cluster.plane import wait_until
from tests.system.conftest import sources
from tests.system.test_chart import _account
from tests.system.test_tenancy import configure

HARD = {"limits.cpu": "4", "limits.memory": "4Gi", "requests.cpu": "4", "requests.memory": "4Gi"}
SHARE = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "100m", "memory": "64Mi"}}


@pytest.fixture
def quota(api, installation):
    """A quota over requests and limits in the installation's namespace, once it is enforced."""
    path = f"/api/v1/namespaces/{installation}/resourcequotas"
    api.post(path, {"metadata": {"name": "q"}, "spec": {"hard": HARD}})
    wait_until("the quota", lambda: (api.get(f"{path}/q").get("status") or {}).get("hard"))
    _account(api, installation, "default")


def pod_of(job):
    """The pod that the Job controller would make."""
    template = job["spec"]["template"]
    metadata = {"name": job["metadata"]["name"], "labels": template["metadata"]["labels"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


@pytest.mark.parametrize(
    ("config", "admitted"),
    [("action: {}", True), ("action: {containers: {cloner: {resources: {requests: {}, limits: {}}}}}", False)],
    ids=["by default", "without resources"],
)
def test_jobs_run_where_a_quota_covers_limits(world, installation, replicas, quota, config, admitted):
    """The Action names the worker's share, the runtime config the cloner's; without that no pod was ever made."""
    world.patch(
        f"/apis/git-events-runner.rs/v1alpha1/namespaces/{installation}/actions/build",
        {"spec": {"actionJob": {"resources": SHARE}}},
    )
    configure(world, installation, config)
    world.ours("ScheduleTrigger", installation, "t", sources() | {"schedule": {"interval": "1h"}})
    replicas(0)
    [job] = wait_until("the Job", lambda: world.jobs(installation))
    path = f"/api/v1/namespaces/{installation}/pods?dryRun=All"
    if admitted:
        assert world.post(path, pod_of(job))["kind"] == "Pod"
    else:
        with pytest.raises(Refused, match=r"must specify limits\.cpu for: action-cloner"):
            world.post(path, pod_of(job))
