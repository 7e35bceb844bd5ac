"""What a tenant writes into his objects, their statuses included, costs his neighbours nothing."""

from tests.adversary.conftest import TENANT
from tests.cluster.api import OURS, Refused
from tests.cluster.plane import wait_until
from tests.system.conftest import sources
from tests.system.roles import grant

_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_TEXT = 1_200_000


def test_large_actions_of_a_tenant_fill_no_memory(estate):
    """25 Actions of 1.1 MB with many small parts, 25 MiB each as objects, are refused beyond his share."""
    estate.start()
    env = [{"name": f"A{number}", "value": "x"} for number in range(30_000)]
    with estate.watched(seconds=10):
        for number in range(25):
            estate.tenant.ours("Action", estate.evil, f"a{number}", {"actionJob": {"command": ["true"], "env": env}})
        estate.tenant.ours("GitRepo", estate.evil, "app", {"repoUri": "https://git.example.com/app"})
        spec = sources() | {"webhook": {"multiSource": True}, "action": {"kind": "Action", "name": "a24"}}
        estate.tenant.ours("WebhookTrigger", estate.evil, "w", spec)
        wait_until(
            "the condition gives the reason",
            lambda: "objectMebibytesPerNamespace" in str(status_of(estate, "w")),
            timeout_s=60,
        )


def test_statuses_that_a_tenant_writes_stop_nothing(estate):
    """Conditions of 70,000 lines and 20,000 recorded sources of a tenant with all rights in our group cost no time."""
    rules = [{"apiGroups": ["git-events-runner.rs"], "resources": ["*"], "verbs": ["*"]}]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "tenant-all"}}
    estate.api.post(f"{_RBAC}/namespaces/{estate.evil}/roles", role | {"rules": rules})
    grant(estate.api, estate.evil, "Role", "tenant-all", [TENANT])
    estate.start()
    estate.tenant.ours("Action", estate.evil, "build", {"actionJob": {"command": ["true"]}})
    for number in range(8):
        spec = sources() | {"webhook": {"multiSource": True}}
        estate.tenant.ours("WebhookTrigger", estate.evil, f"w{number}", spec)
    lines = "\n".join(f"source s{number}: x" for number in range(70_000))
    stalled = {"type": "Stalled", "status": "True", "reason": "X", "message": lines[:_TEXT]}
    entries = {f"s{number}": {"requested": 1, "runs": 1} for number in range(20_000)}
    wait_until("the API server lets him", lambda: written(estate, "w0", {"state": "Idle"}), timeout_s=15)
    with estate.watched(seconds=15):
        for turn in range(24):
            status = {"conditions": [stalled]} if turn % 2 else {"checkedSources": entries}
            written(estate, f"w{turn % 8}", status)


def written(estate, name, status):
    """Whether the tenant's status is stored."""
    path = f"{OURS}/namespaces/{estate.evil}/webhooktriggers/{name}/status"
    try:
        estate.tenant.patch(path, {"status": status})
    except Refused:
        return False
    return True


def status_of(estate, name):
    """The status of a tenant's trigger."""
    return estate.api.trigger(estate.evil, name).get("status")
