"""Namespaces whose quota covers limits: pods of our Jobs are admitted, since every container has resources there."""

import pytest

from tests.cluster.api import Refused
from tests.cluster.plane import wait_until
from tests.system.conftest import sources
from tests.system.test_chart import _account
from tests.system.test_tenancy import configure

HARD = {"limits.cpu": "4", "limits.memory": "4Gi", "requests.cpu": "4", "requests.memory": "4Gi"}


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


_NONE = "{requests: {}, limits: {}}"


@pytest.mark.parametrize(
    ("config", "refused"),
    [
        ("action: {}", None),
        (f"action: {{containers: {{cloner: {{resources: {_NONE}}}}}}}", "action-cloner"),
        (f"action: {{containers: {{worker: {{quotaResources: {_NONE}}}}}}}", "action-worker"),
    ],
    ids=["by default", "cloner without resources", "worker without resources"],
)
def test_jobs_run_where_a_quota_covers_limits(world, installation, replicas, quota, config, refused):
    """Neither the Action nor a LimitRange names resources: both containers have small ones of the runtime config."""
    configure(world, installation, config)
    world.ours("ScheduleTrigger", installation, "t", sources() | {"schedule": {"interval": "1h"}})
    replicas(0)
    [job] = wait_until("the Job", lambda: world.jobs(installation))
    path = f"/api/v1/namespaces/{installation}/pods?dryRun=All"
    if refused is None:
        assert world.post(path, pod_of(job))["kind"] == "Pod"
    else:
        with pytest.raises(Refused, match=rf"must specify limits\.cpu for: {refused}"):
            world.post(path, pod_of(job))


def test_a_limit_range_keeps_its_values_for_the_worker(world, installation, replicas, quota):
    """What it sets is not set by the controller, and its maximum is not exceeded."""
    path = f"/api/v1/namespaces/{installation}"
    limits = [{"type": "Container", "max": {"cpu": "1", "memory": "2Gi"}, "default": {"memory": "1536Mi"}}]
    world.post(f"{path}/limitranges", {"metadata": {"name": "r"}, "spec": {"limits": limits}})
    world.ours("ScheduleTrigger", installation, "t", sources() | {"schedule": {"interval": "1h"}})
    replicas(0)
    [job] = wait_until("the Job", lambda: world.jobs(installation))
    pod = world.post(f"{path}/pods?dryRun=All", pod_of(job))
    [worker] = pod["spec"]["containers"]
    assert worker["resources"]["limits"] == {"cpu": "1", "memory": "1536Mi"}
