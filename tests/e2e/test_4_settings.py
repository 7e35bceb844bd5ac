"""Pod settings of an Action, on a real kubelet."""

import base64

import pytest

from tests.cluster.plane import wait_until

_SETTINGS = {
    "env": [{"name": "STAGE", "value": "blue $(ACTION_JOB_TRIGGER_NAME)"}],
    "envFrom": [{"secretRef": {"name": "settings"}}],
    "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
    "volumes": [
        {"name": "config", "configMap": {"name": "settings"}},
        {"name": "scratch", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
    ],
    "volumeMounts": [{"name": "config", "mountPath": "/config"}, {"name": "scratch", "mountPath": "/scratch"}],
    "imagePullSecrets": [{"name": "settings"}],
    "imagePullPolicy": "IfNotPresent",
    "priorityClassName": "e2e",
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
    ],
    "podSecurityContext": {"fsGroup": 1234, "runAsUser": 1001},
    "securityContext": {"readOnlyRootFilesystem": True},
    "backoffLimit": 0,
    "podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]},
}
_TOOLS = r"""
id -u; for tool in aws ansible git jq; do $tool --version | head -1; done; helm version --short
mkdir -p probe/templates && printf 'apiVersion: v2\nname: probe\nversion: 0.1.0\n' > probe/Chart.yaml
printf 'kubernetes: {{ .Capabilities.KubeVersion }}\n' > probe/templates/version.yaml && helm template probe
"""


@pytest.fixture(scope="module")
def source(cluster, release):
    """An open repository, and what the settings name."""
    repository = cluster.git.repository()
    repository.push({"README": "one\n"})
    cluster.api.ours("GitRepo", "team", "open", {"repoUri": repository.url})
    place = "/api/v1/namespaces/team"
    cluster.api.post(f"{place}/configmaps", {"metadata": {"name": "settings"}, "data": {"file": "from a ConfigMap"}})
    data = {"FROM_SECRET": base64.b64encode(b"shown to the worker").decode()}
    cluster.api.post(f"{place}/secrets", {"metadata": {"name": "settings"}, "data": data})
    cluster.api.post("/apis/scheduling.k8s.io/v1/priorityclasses", {"metadata": {"name": "e2e"}, "value": 7})
    return ("GitRepo", "open")


def test_every_setting_reaches_the_pod(cluster, release, source):
    """Variables, volumes, limits, priority and user, in a namespace that enforces `restricted`."""
    script = """echo "$STAGE|$FROM_SECRET|$(cat /config/file)|$(id -u)"
echo x >/scratch/x && echo wrote; touch /x 2>/dev/null || echo read-only; id -G"""
    cluster.api.ours("Action", "team", "settings", {"actionJob": {"command": ["/bin/sh", "-c", script], **_SETTINGS}})
    cluster.hook("team", "settings", source, ("Action", "settings"))
    job = cluster.run("team", "settings")
    text = cluster.printed(job)
    assert text.startswith("blue settings|shown to the worker|from a ConfigMap|1001\nwrote\n")
    assert "\nread-only\n" in text
    assert "1234" in text.splitlines()[-1].split()
    pod = cluster.pod(job)["spec"]
    assert pod["priority"] == 7
    assert pod["containers"][0]["resources"]["limits"] == {"memory": "64Mi"}
    assert pod["initContainers"][0]["securityContext"]["runAsUser"] == 65532


def test_what_the_api_server_refuses_is_said_in_the_trigger(cluster, release, source):
    """The message names the field of the Job, and the reason says that it was refused."""
    wrong = {"actionJob": {"command": ["true"], "env": [{"name": "not a name=", "value": "x"}]}}
    cluster.api.ours("Action", "team", "wrong", wrong)
    cluster.hook("team", "wrong", source, ("Action", "wrong"))
    assert cluster.webhook(release, "/team/wrong")[0] == 202

    def refused():
        conditions = (cluster.api.trigger("team", "wrong").get("status") or {}).get("conditions") or ()
        return [c for c in conditions if c["type"] == "Ready" and c["reason"] == "JobCreateFailed"]

    [ready] = wait_until("the condition", refused)
    assert "containers[0].env" in ready["message"]


def test_a_reserved_name_is_refused_by_us(cluster, release, source):
    """An Action that would mount a copied credential gets no Job."""
    volume = {"name": "steal", "secret": {"secretName": "git-events-runner-push-abc"}}
    cluster.api.ours("Action", "team", "steal", {"actionJob": {"command": ["true"], "volumes": [volume]}})
    cluster.hook("team", "steal", source, ("Action", "steal"))
    assert cluster.webhook(release, "/team/steal")[0] == 202

    def refused():
        status = cluster.api.trigger("team", "steal").get("status") or {}
        conditions = {c["type"]: c for c in status.get("conditions") or ()}
        return status.get("state") == "WrongConfig" and conditions.get("Stalled")

    stalled = wait_until("the condition", refused)
    assert "spec.actionJob.volumes[0]" in stalled["message"]
    assert not cluster.api.jobs("team", "steal")


def test_outside_of_restricted_namespaces_the_worker_is_as_before(cluster, release):
    """No security context but RuntimeDefault seccomp; the cloner satisfies `restricted` all the same."""
    repository = cluster.git.repository()
    repository.push({"README": "one\n"})
    cluster.api.ours("GitRepo", "other", "open", {"repoUri": repository.url})
    action = {"actionJob": {"command": ["/bin/sh", "-c", _TOOLS], "serviceAccount": "default"}}
    cluster.api.ours("Action", "other", "plain", action)
    cluster.hook("other", "plain", ("GitRepo", "open"), ("Action", "plain"))
    job = cluster.run("other", "plain")
    pod = cluster.pod(job)["spec"]
    assert "securityContext" not in pod["containers"][0]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    cloner = pod["initContainers"][0]["securityContext"]
    assert cloner["runAsNonRoot"]
    assert cloner["capabilities"] == {"drop": ["ALL"]}
    text = cluster.printed(job)
    print(text)
    assert text.startswith("1000\naws-cli/2")
    for tool in ("v3.", "jq-", "git version", "ansible", "kubernetes: v1.34"):
        assert tool in text
