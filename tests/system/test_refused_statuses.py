"""Statuses of one namespace that a real API server does not take delay no other namespace's Jobs."""

import contextlib

import pytest

from tests.cluster.api import OURS, Refused
from tests.cluster.finisher import Finisher
from tests.cluster.plane import wait_until
from tests.patience import timed
from tests.servers.apiproxy import ApiProxy
from tests.system.conftest import sources
from tests.system.roles import bind

POLICIES = "/apis/admissionregistration.k8s.io/v1"
TRIGGERS = [f"hook{number}" for number in range(20)]


@contextlib.contextmanager
def refusing_policy(api, tenant):
    """A ValidatingAdmissionPolicy that denies every status of a trigger in the namespace."""
    name = f"{tenant}-deny"
    rule = {
        "apiGroups": ["git-events-runner.rs"],
        "apiVersions": ["*"],
        "operations": ["UPDATE"],
        "resources": ["webhooktriggers/status"],
    }
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "false", "message": "no statuses here", "reason": "Forbidden"}],
    }
    selector = {"matchLabels": {"kubernetes.io/metadata.name": tenant}}
    binding = {"policyName": name, "validationActions": ["Deny"], "matchResources": {"namespaceSelector": selector}}
    api.post(f"{POLICIES}/validatingadmissionpolicies", {"metadata": {"name": name}, "spec": spec})
    api.post(f"{POLICIES}/validatingadmissionpolicybindings", {"metadata": {"name": name}, "spec": binding})

    def denied():
        try:
            api.patch(
                f"{OURS}/namespaces/{tenant}/webhooktriggers/{TRIGGERS[0]}/status", {"status": {"deliveries": ""}}
            )
        except Refused:
            return True
        return False

    try:
        wait_until("the policy works", denied, timeout_s=60)
        yield
    finally:
        for kind in ("validatingadmissionpolicybindings", "validatingadmissionpolicies"):
            api.delete(f"{POLICIES}/{kind}/{name}")


@contextlib.contextmanager
def busy(proxy, tenant):
    """429 with Retry-After for every status of a trigger in the namespace, as a webhook's server answers."""
    path = f"/namespaces/{tenant}/webhooktriggers/[^/]*/status"
    proxy.rule("write", path, "status", status=429, headers={"Retry-After": "5"}, times=10**9)
    yield
    proxy.clear()


@pytest.mark.parametrize("how", ["policy", "busy"])
def test_the_ends_of_other_tenants_jobs_are_shown_beside_twenty_refused_statuses(
    world, installation, repository, replicas, control_plane, how
):
    """Within a second each, also the admission of the next Job; and the refused ones are shown when they are taken."""
    tenant = f"{installation}-tenant"
    world.post("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": tenant}})
    bind(world, tenant)
    world.ours("GitRepo", tenant, "app", {"repoUri": repository.url})
    world.ours("Action", tenant, "build", {"actionJob": {"command": ["true"]}})
    webhook = {"webhook": {"multiSource": True}}
    for name in TRIGGERS:
        world.ours("WebhookTrigger", tenant, name, sources() | webhook)
    world.ours("WebhookTrigger", installation, "hook", sources(onChangeOnly=False) | webhook)
    path = f"/api/v1/namespaces/{installation}/configmaps"
    config = {"action": {"maxRunningJobs": 30, "maxRunningJobsPerNamespace": 25}}
    body = {"metadata": {"name": "git-events-runner-config"}, "data": {"runtimeConfig": str(config).replace("'", '"')}}
    world.post(path, {"apiVersion": "v1", "kind": "ConfigMap"} | body)
    with ApiProxy(control_plane) as proxy:
        replica = replicas(0, tenants=(tenant,), server=proxy.kubeconfig)
        for name in TRIGGERS:
            wait_until("a 202", lambda name=name: replica.post(f"/{tenant}/{name}") == 202)
        running = wait_until("all Jobs run", lambda: _all_running(world, tenant), timeout_s=60)
        with refusing_policy(world, tenant) if how == "policy" else busy(proxy, tenant):
            finisher = Finisher(world, tenant)
            for job in running:
                finisher.finish(job)
            for count in range(1, 6):
                wait_until("a 202", lambda: replica.post(f"/{installation}/hook") == 202)
                job = wait_until("the Job", lambda count=count: _new(world, installation, count), timeout_s=30)
                with timed() as watch:
                    Finisher(world, installation).finish(job)
                    phase = lambda: world.phase(installation, "hook", "app")  # noqa: E731
                    wait_until("its end", lambda phase=phase: phase() == "Succeeded", every_s=0.02, timeout_s=60)
                assert watch.fair_s < 2, f"end {count} was shown after {watch.seconds:.1f} s"
            assert world.phase(tenant, TRIGGERS[0], "app") == "Running"
        taken = lambda: all(world.phase(tenant, name, "app") == "Succeeded" for name in TRIGGERS)  # noqa: E731
        wait_until("the others", taken, timeout_s=60)


def _all_running(api, namespace):
    jobs = [job for job in api.jobs(namespace) if not job["spec"].get("suspend")]
    shown = all(api.phase(namespace, name, "app") == "Running" for name in TRIGGERS)
    return jobs if len(jobs) == len(TRIGGERS) and shown else None


def _new(api, namespace, count):
    jobs = [job for job in api.jobs(namespace) if not job["spec"].get("suspend")]
    open_jobs = [job for job in jobs if not (job.get("status") or {}).get("conditions")]
    return open_jobs[0] if len(jobs) == count and open_jobs else None
