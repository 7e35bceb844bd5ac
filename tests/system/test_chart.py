"""The chart on a real API server: everything is accepted, pods are admitted under `restricted`, and Helm works."""

import base64
import copy

import helm_python
import pytest
import yaml

from git_events_runner.resources.crds import crds
from tests.cluster.api import OURS, Refused
from tests.cluster.plane import wait_until
from tests.repo import helm
from tests.repo.rendered import CASES, render_case
from tests.rules.podsettings import ALLOWED, REFUSED

_SERVED_ELSEWHERE = ("monitoring.coreos.com/", "gateway.networking.k8s.io/")
_PLURALS = {"NetworkPolicy": "networkpolicies", "Ingress": "ingresses"}
_PLURALS |= {"ValidatingAdmissionPolicy": "validatingadmissionpolicies"}
_RELEASE = "sh.helm.release.v1"


def path_of(found):
    """Where the API server serves an object."""
    group = found["apiVersion"]
    root = f"/apis/{group}" if "/" in group else f"/api/{group}"
    namespace = found["metadata"].get("namespace")
    place = f"/namespaces/{namespace}" if namespace else ""
    plural = _PLURALS.get(found["kind"], found["kind"].lower() + "s")
    return f"{root}{place}/{plural}/{found['metadata']['name']}"


def namespace_of(api, name, **labels):
    """Create a namespace unless it is there."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    try:
        api.post("/api/v1/namespaces", body)
    except Refused as refused:
        if refused.status != 409:
            raise


@pytest.mark.parametrize("case", CASES)
def test_the_api_server_accepts_everything_rendered(api, case):
    """Server-side apply, dry, with strict validation: no field is unknown, misplaced or of a wrong type."""
    for name in ("ger", "events", "team-a", "team-b", "vault"):
        namespace_of(api, name)
        _account(api, name, "default")  # for the pod of `helm test`; no controller makes accounts here
    accepted = 0
    for found in render_case(case):
        if found["apiVersion"].startswith(_SERVED_ELSEWHERE):
            continue
        if found["kind"] == "ConfigMap":
            found["metadata"].setdefault("namespace", "ger")
        query = "?fieldManager=test&fieldValidation=Strict&force=true&dryRun=All"
        api.call("PATCH", path_of(found) + query, found, content_type="application/apply-patch+yaml")
        accepted += 1
    assert accepted >= 3


def test_pods_of_the_chart_are_admitted_where_restricted_is_enforced(api, namespace):
    """Controller and `helm test`, with the defaults and with TLS and more replicas; a plain pod is not."""
    place = f"{namespace}-restricted"
    namespace_of(api, place, **{"pod-security.kubernetes.io/enforce": "restricted"})
    pods = f"/api/v1/namespaces/{place}/pods"
    try:
        naked = {"containers": [{"name": "x", "image": "x"}]}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "naked", "namespace": place}, "spec": naked}
        _account(api, place, "default")
        with pytest.raises(Refused, match="violates PodSecurity"):
            api.post(f"{pods}?dryRun=All", body)
        for values in ({}, {"controllerOptions": {"webhooksTls": {"secret": "hooks"}}, "replicaCount": 3}):
            for found in helm.objects(values, namespace=place):
                if found["kind"] not in {"Deployment", "Pod"}:
                    continue
                spec = copy.deepcopy(found["spec"] if found["kind"] == "Pod" else found["spec"]["template"]["spec"])
                _account(api, place, spec.get("serviceAccountName", "default"))
                pod = body | {"metadata": {"name": "pod", "namespace": place}, "spec": spec}
                assert api.post(f"{pods}?dryRun=All", pod)["spec"]["containers"]
    finally:
        api.delete(f"/api/v1/namespaces/{place}")


def _account(api, namespace, name):
    body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
    try:
        api.post(f"/api/v1/namespaces/{namespace}/serviceaccounts", body)
    except Refused as refused:
        if refused.status != 409:
            raise


# --- Helm itself --------------------------------------------------------------------------------------------------


@pytest.fixture
def helm_config(control_plane, namespace):
    """Helm, as administrator, in a namespace of its own."""
    path = control_plane.kubeconfig(control_plane.admin_token, namespace=namespace)
    with helm_python.Config(kubeconfig_path=str(path), namespace=namespace) as config:
        yield config


def adopt(api, release, namespace):
    """What docs/migration.md says about CRDs that no release owns."""
    owner = {
        "labels": {"app.kubernetes.io/managed-by": "Helm"},
        "annotations": {"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": namespace},
    }
    for crd in crds():
        api.patch(
            f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crd['metadata']['name']}", {"metadata": owner}
        )


def the_originals(release, namespace):
    """The objects that a release of the original's chart has, as far as an upgrade can stumble over them."""
    full = f"{release}-git-events-runner"
    selector = {"app.kubernetes.io/name": "git-events-runner", "app.kubernetes.io/instance": release}
    labels = selector | {"helm.sh/chart": "git-events-runner-0.4.14", "app.kubernetes.io/managed-by": "Helm"}
    meta = lambda name: {"name": name, "namespace": namespace, "labels": labels}  # noqa: E731
    rbac, group = "rbac.authorization.k8s.io/v1", "rbac.authorization.k8s.io"
    subjects = [{"kind": "ServiceAccount", "name": full, "namespace": namespace}]

    def role(kind, name):
        rules = [{"apiGroups": ["git-events-runner.rs"], "resources": ["*"], "verbs": ["*"]}]
        return {"apiVersion": rbac, "kind": kind, "metadata": meta(name), "rules": rules}

    def binding(kind, name, to, to_kind="ClusterRole"):
        ref = {"apiGroup": group, "kind": to_kind, "name": to}
        return {"apiVersion": rbac, "kind": kind, "metadata": meta(name), "roleRef": ref, "subjects": subjects}

    container = {
        "name": "git-events-runner",
        "image": "ghcr.io/old/git-events-runner:v0.4.15",
        "args": ["run", "--webhooks-port", "8080"],
        "ports": [{"name": "utility", "containerPort": 3000}, {"name": "webhook", "containerPort": 8080}],
        "volumeMounts": [{"name": "temp-repo-data", "mountPath": "/tmp/git-events-runner"}],
    }
    pod = {
        "containers": [container],
        "volumes": [{"name": "temp-repo-data", "emptyDir": {}}],
        "serviceAccountName": full,
    }
    template = {"metadata": {"labels": labels}, "spec": pod}
    port = {"name": "webhook", "port": 8080, "targetPort": "webhook", "protocol": "TCP"}
    deployment = {"replicas": 1, "selector": {"matchLabels": selector}, "template": template}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta(full)},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta(f"{full}-action-job")},
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": meta(f"{full}-config"),
            "data": {"runtimeConfig": "action: {maxRunningJobs: 3}\n"},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta(full),
            "spec": {"ports": [port], "selector": selector},
        },
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta(full), "spec": deployment},
        role("ClusterRole", f"{full}-controller"),
        role("Role", f"{full}-controller"),
        role("ClusterRole", f"{full}-action-jobs"),
        binding("RoleBinding", f"{full}-controller", f"{full}-controller", "Role"),
        binding("RoleBinding", f"{full}-controller-cluster", f"{full}-controller"),
        binding("ClusterRoleBinding", f"{full}-controller-cluster", f"{full}-controller"),
        binding("RoleBinding", f"{full}-action-jobs", f"{full}-action-jobs"),
    ]


def test_helm_installs_upgrades_and_uninstalls(api, namespace, helm_config):
    """CRDs of nobody are not taken silently; adopted, they go with the release, and stay when it is uninstalled."""
    with pytest.raises(helm_python.HelmError, match=r"invalid ownership metadata"):
        helm_config.install(str(helm.CHART), "ger", {})
    helm_config.uninstall("ger", ignore_not_found=True)
    adopt(api, "ger", namespace)
    helm_config.install(str(helm.CHART), "ger", {})
    deployment = f"/apis/apps/v1/namespaces/{namespace}/deployments/ger-git-events-runner"
    assert api.get(deployment)["spec"]["replicas"] == 1
    helm_config.upgrade(str(helm.CHART), "ger", {"replicaCount": 2})
    assert api.get(deployment)["spec"]["replicas"] == 2
    assert api.get(f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets/ger-git-events-runner")
    secrets = [
        s for s in api.items(f"/api/v1/namespaces/{namespace}/secrets") if s["metadata"]["name"].startswith(_RELEASE)
    ]
    size = max(len(base64.b64decode(s["data"]["release"])) for s in secrets)
    assert size < 300_000, "a release has to fit into one Secret of 1 MiB"
    helm_config.rollback("ger", version=1)
    assert api.get(deployment)["spec"]["replicas"] == 1
    helm_config.uninstall("ger")
    for crd in crds():
        assert api.get(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crd['metadata']['name']}")
    left = [
        path_of(o) for o in helm.objects(name="ger", namespace=namespace) if o["kind"] != "CustomResourceDefinition"
    ]
    wait_until("nothing is left", lambda: not [path for path in left if _exists(api, path)])


def test_a_namespace_that_does_not_exist_does_not_block_helm(api, namespace, helm_config):
    """With `skipMissingNamespaces` it is left out with its roles and accounts, and the next upgrade takes it in."""
    late = f"{namespace}-late"
    controller = {"jobsNamespaces": [late], "secretsNamespaces": [late]}
    values = {"crds": {"enabled": False}, "rbac": {"controller": controller}}
    values["actionJobServiceAccounts"] = {"namespaces": [late]}
    with pytest.raises(helm_python.HelmError, match=rf'namespaces "{late}" not found'):
        helm_config.install(str(helm.CHART), "ger", values)
    helm_config.uninstall("ger", ignore_not_found=True)
    controller["skipMissingNamespaces"] = True

    def served():
        found = api.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/ger-git-events-runner")
        [container] = found["spec"]["template"]["spec"]["containers"]
        return {one["name"]: one.get("value") for one in container["env"]}["GIT_EVENTS_RUNNER_JOB_NAMESPACES"].split(
            ","
        )

    helm_config.install(str(helm.CHART), "ger", values)
    assert served() == [namespace]
    namespace_of(api, late)
    try:
        helm_config.upgrade(str(helm.CHART), "ger", values)
        assert served() == [namespace, late]
        bindings = api.items(f"/apis/rbac.authorization.k8s.io/v1/namespaces/{late}/rolebindings")
        assert len(bindings) == 2
        assert _exists(api, f"/api/v1/namespaces/{late}/serviceaccounts/ger-git-events-runner-action-job")
    finally:
        api.delete(f"/api/v1/namespaces/{late}")
    helm_config.upgrade(str(helm.CHART), "ger", values)
    assert served() == [namespace]
    helm_config.uninstall("ger")


def test_a_release_of_the_originals_chart_is_upgraded_in_place(api, namespace, helm_config, tmp_path):
    """Selector, bindings and names meet; what is gone is removed; the runtime config of the values is taken over."""
    old = tmp_path / "git-events-runner"
    (old / "templates").mkdir(parents=True)
    (old / "Chart.yaml").write_text("apiVersion: v2\nname: git-events-runner\nversion: 0.4.14\nappVersion: v0.4.15\n")
    objects = the_originals("ger", namespace)
    (old / "templates" / "all.yaml").write_text(yaml.safe_dump_all(objects))
    helm_config.install(str(old), "ger", {})
    adopt(api, "ger", namespace)
    values = {
        "runtimeConfig": {"action": {"maxRunningJobs": 3}},
        "controllerOptions": {"leaderLease": {"duration": 30}},
    }
    helm_config.upgrade(str(helm.CHART), "ger", values)
    found = api.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/ger-git-events-runner")
    [container] = found["spec"]["template"]["spec"]["containers"]
    assert container["image"].startswith("ghcr.io/git-events-runner/git-events-runner:")
    assert "--leader-lease-duration=30" in container["args"]
    assert container["volumeMounts"] == [{"name": "temp-repo-data", "mountPath": "/tmp/git-events-runner"}]
    config = api.get(f"/api/v1/namespaces/{namespace}/configmaps/ger-git-events-runner-config")
    assert yaml.safe_load(config["data"]["runtimeConfig"])["action"]["maxRunningJobs"] == 3
    rules = api.get("/apis/rbac.authorization.k8s.io/v1/clusterroles/ger-git-events-runner-controller")["rules"]
    assert not [rule for rule in rules if "*" in rule["verbs"]]
    gone = "/apis/rbac.authorization.k8s.io/v1/clusterroles/ger-git-events-runner-action-jobs"
    assert not _exists(api, gone)
    helm_config.uninstall("ger")


def _exists(api, path):
    try:
        return api.get(path)
    except Refused as refused:
        if refused.status != 404:
            raise
        return None


# --- the admission policy -----------------------------------------------------------------------------------------


def test_the_admission_policy_refuses_at_once_what_the_controller_would_refuse(api, control_plane, namespace):
    """Accounts that the author may not impersonate, unlisted accounts, labels, annotations, cloner images."""
    tenant = type(api)(control_plane, token="replica-3-token")
    role = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    writes = {
        "apiGroups": ["git-events-runner.rs"],
        "resources": ["actions"],
        "verbs": ["create", "update", "patch", "get"],
    }
    acts_as = {"apiGroups": [""], "resources": ["serviceaccounts"], "resourceNames": ["builder", "admin"]}
    rules = [writes, acts_as | {"verbs": ["impersonate"]}]
    meta = {"name": "tenant"}
    rbac = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": meta}
    api.post(f"{role}/roles", rbac | {"kind": "Role", "rules": rules})
    to = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "tenant"}
    who = [{"kind": "User", "name": "replica-3", "apiGroup": "rbac.authorization.k8s.io"}]
    api.post(f"{role}/rolebindings", rbac | {"kind": "RoleBinding", "roleRef": to, "subjects": who})
    values = {
        "admissionPolicy": {
            "enabled": True,
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        },
        "runtimeConfig": CASES["everything"]["runtimeConfig"],
    }
    before = api.ours("Action", namespace, "before", {"actionJob": {"serviceAccount": "nobody"}})
    policies = [o for o in helm.objects(values, name=namespace) if o["kind"].startswith("ValidatingAdmission")]
    for found in policies:
        api.post(path_of(found).rpartition("/")[0], found)
    try:

        def refused(message, **job):
            try:
                tenant.ours("Action", namespace, f"a{len(job)}", {"actionJob": job})
            except Refused as error:
                return error.status in {403, 422} and message in str(error)
            return False

        wait_until("the policy holds", lambda: refused("may not use the service account", serviceAccount="nobody"))
        assert refused("is none of builder", serviceAccount="admin", args=["1"])
        assert refused("none may begin with iam.", labels={"iam.x/y": "z"})
        assert refused("none may begin with iam., sidecar.", annotations={"sidecar.x/y": "z"})
        assert refused("may not be replaced", clonerImage="mine:1")
        good = {"serviceAccount": "builder", "labels": {"team": "x"}, "annotations": {"a": "b"}, "command": ["true"]}
        tenant.ours("Action", namespace, "good", {"actionJob": good})
        tenant.ours("Action", namespace, "plain", {})
        tenant.ours("Action", namespace, "null", {"actionJob": None})
        nulls = {"serviceAccount": None, "labels": None, "annotations": None, "clonerImage": None}
        tenant.ours("Action", namespace, "nulls", {"actionJob": nulls})
        changed = tenant.patch(
            f"{OURS}/namespaces/{namespace}/actions/good", {"spec": {"actionJob": {"args": ["more"]}}}
        )
        assert changed["spec"]["actionJob"]["args"] == ["more"]
        assert before["spec"]["actionJob"]["serviceAccount"] == "nobody"
    finally:
        for found in reversed(policies):
            api.delete(path_of(found))


def test_the_profiles_admission_policy_refuses_what_baseline_does_not_allow(api, namespace):
    """The same table as the controller's rule: each privilege is refused at the API server, all else is written."""
    values = {
        "profile": "multiTenant",
        "admissionPolicy": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}},
    }
    wanted = f"{namespace}-git-events-runner-actions"
    policies = [o for o in helm.objects(values, name=namespace) if o["metadata"]["name"] == wanted]
    assert {o["kind"] for o in policies} == {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
    for found in policies:
        api.post(path_of(found).rpartition("/")[0], found)
    numbers = iter(range(1000))

    def refused(job):
        try:
            api.ours("Action", namespace, f"a{next(numbers)}", {"actionJob": job})
        except Refused as error:
            return "in this installation" in str(error)
        return False

    try:
        wait_until("the policy holds", lambda: refused(REFUSED[0]))
        assert [job for job in REFUSED if not refused(job)] == []
        assert [job for job in ALLOWED if refused(job)] == []
    finally:
        for found in reversed(policies):
            api.delete(path_of(found))
