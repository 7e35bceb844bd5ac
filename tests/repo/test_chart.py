"""The chart: the original's names, least privilege, restricted pods, values that mean what they say."""

import json
import re

import helm_python
import pytest
import yaml

from git_events_runner.resources.crds import crds
from git_events_runner.settings import IMAGE_REGISTRY, VERSION, default_runtime_config_yaml
from git_events_runner.telemetry.metrics import Metrics
from tests.repo import chart, helm
from tests.repo.rendered import CASES, EVERYTHING, MONITORING, render_case

RESTRICTED = {"allowPrivilegeEscalation": False, "runAsNonRoot": True, "readOnlyRootFilesystem": True}


def named(objects):
    """(kind, namespace, name) → object."""
    found = {(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]): o for o in objects}
    assert len(found) == len(objects), "an object was rendered twice"
    return found


def one(objects, kind, name=None):
    """The object of a kind."""
    [found] = [o for o in objects if o["kind"] == kind and (name is None or o["metadata"]["name"] == name)]
    return found


def rules(objects):
    """Every rule of the controller's roles."""
    roles = [o for o in objects if o["kind"] in {"Role", "ClusterRole"} and "-controller" in o["metadata"]["name"]]
    return [rule for role in roles for rule in role["rules"]]


def test_objects_have_the_originals_names():
    """An upgrade in place meets the objects of the release by their names, and adds none of another kind."""
    found = set(named(helm.objects(name="ger", namespace="ns")))
    crd_names = {("CustomResourceDefinition", None, crd["metadata"]["name"]) for crd in crds()}
    full = "ger-git-events-runner"
    assert found == crd_names | {
        ("Deployment", "ns", full),
        ("Service", "ns", full),
        ("NetworkPolicy", "ns", full),
        ("ConfigMap", "ns", f"{full}-config"),
        ("ServiceAccount", "ns", full),
        ("ServiceAccount", "ns", f"{full}-action-job"),
        ("ClusterRole", None, f"{full}-controller"),
        ("ClusterRoleBinding", None, f"{full}-controller-cluster"),
        ("Role", "ns", f"{full}-controller"),
        ("RoleBinding", "ns", f"{full}-controller"),
        ("ClusterRole", None, f"{full}-controller-jobs"),
        ("RoleBinding", "ns", f"{full}-controller-jobs"),
        ("ClusterRole", None, f"{full}-controller-secrets"),
        ("RoleBinding", "ns", f"{full}-controller-secrets"),
        ("Role", "default", f"{full}-controller-events"),
        ("RoleBinding", "default", f"{full}-controller-events"),
        ("Pod", "ns", f"{full}-test"),
    }
    assert any(name == "git-events-runner" for _, _, name in named(helm.objects(name="git-events-runner")))


def test_the_selector_is_the_originals():
    """A Deployment's selector cannot change: name and instance, whatever else is set."""
    for case in CASES:
        objects = render_case(case)
        deployment = one(objects, "Deployment")
        selector = deployment["spec"]["selector"]["matchLabels"]
        assert set(selector) == {"app.kubernetes.io/name", "app.kubernetes.io/instance"}
        assert selector.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
        for pod in (o for o in objects if o["kind"] == "Pod"):
            assert not selector.items() <= pod["metadata"]["labels"].items()


@pytest.mark.parametrize("case", CASES)
def test_every_object_has_one_name_and_its_namespace(case):
    """Nothing is rendered twice, nothing namespaced is left to chance, and all bear the common labels."""
    cluster = {"Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}
    cluster |= {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
    for kind, namespace, name in named([o for o in render_case(case) if not name_of(o).endswith("-more")]):
        assert (namespace is None) == (kind in cluster), name
    if case == "everything":
        for found in render_case(case):
            if found["kind"] != "Pod" and not name_of(found).endswith("-more"):
                assert found["metadata"]["labels"]["team"] == "platform", found["metadata"]


def name_of(found):
    return found["metadata"]["name"]


def test_pods_of_the_chart_are_restricted():
    """Controller and `helm test` satisfy the restricted Pod Security Standard, numeric user, nothing writable."""
    objects = helm.objects()
    for pod in (one(objects, "Deployment")["spec"]["template"]["spec"], one(objects, "Pod")["spec"]):
        [container] = pod["containers"]
        context = container["securityContext"]
        assert RESTRICTED.items() <= context.items()
        assert context["runAsUser"] >= 10_000
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["enableServiceLinks"] is False
        assert container["image"] == f"{IMAGE_REGISTRY}/git-events-runner:{VERSION}"
    assert one(objects, "Pod")["spec"]["automountServiceAccountToken"] is False


def test_roles_name_what_they_allow():
    """No wildcard, no list of Secrets, no right over roles, pods, other leases; deleted are Jobs and copies alone."""
    for case in CASES:
        for rule in rules(render_case(case)):
            assert "*" not in rule["apiGroups"] + rule["resources"] + rule["verbs"]
            assert not {"pods", "roles", "rolebindings", "serviceaccounts"} & set(rule["resources"])
            if "secrets" in rule["resources"]:
                assert set(rule["verbs"]) in ({"get"}, {"create", "delete"})
            if "leases" in rule["resources"]:
                assert rule["verbs"] == ["create"] or rule["resourceNames"]
            if {"delete", "deletecollection"} & set(rule["verbs"]):
                assert rule["resources"] in (["jobs"], ["secrets"])


def test_roles_are_bound_where_the_values_say():
    """The controller's own namespace always; further ones by a binding in each; `*` for the cluster as a whole."""

    def bindings(objects, role):
        return sorted(
            (o["kind"], o["metadata"].get("namespace"))
            for o in objects
            if o["kind"].endswith("RoleBinding") and o["roleRef"]["name"].endswith(role)
        )

    def env(objects):
        [container] = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
        return {e["name"]: e.get("value") for e in container["env"]}["GIT_EVENTS_RUNNER_JOB_NAMESPACES"]

    objects = helm.objects(namespace="ns")
    assert bindings(objects, "-jobs") == bindings(objects, "-secrets") == [("RoleBinding", "ns")]
    assert env(objects) == "ns"
    values = {"rbac": {"controller": {"jobsNamespaces": ["a", "ns", "b"], "secretsNamespaces": ["vault"]}}}
    objects = helm.objects(values, namespace="ns")
    assert bindings(objects, "-jobs") == [("RoleBinding", n) for n in ("a", "b", "ns")]
    assert bindings(objects, "-secrets") == [("RoleBinding", "ns"), ("RoleBinding", "vault")]
    assert set(env(objects).split(",")) == {"a", "b", "ns"}
    objects = helm.objects(CASES["everywhere"], namespace="ns")
    assert bindings(objects, "-jobs") == bindings(objects, "-secrets") == [("ClusterRoleBinding", None)]
    assert env(objects) == "*"
    narrow = {"watchNamespaces": ["a"], "rbac": {"controller": {"jobsNamespaces": ["a", "b"]}}}
    assert env(helm.objects(narrow)) == "a"
    copies = {"rbac": {"controller": {"secretCopies": False, "secretNames": ["robot"]}}}
    kept = [rule for rule in rules(helm.objects(copies)) if "secrets" in rule["resources"]]
    assert kept == [{"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["robot"], "verbs": ["get"]}]
    assert not [o for o in helm.objects(CASES["little"]) if "Role" in o["kind"]]


def test_events_of_cluster_objects_need_a_role_in_the_namespace_default():
    """Unless the controller may publish Events there anyway, or is not to publish them."""

    def there(controller):
        objects = helm.objects({"rbac": {"controller": controller}}, namespace="ns")
        return {o["kind"] for o in objects if o["metadata"].get("namespace") == "default"}

    assert there({}) == there({"jobsNamespaces": ["a"]}) == {"Role", "RoleBinding"}
    assert there({"jobsNamespaces": ["*"]}) == there({"clusterEvents": False}) == set()
    assert there({"jobsNamespaces": ["default"]}) == {"RoleBinding"}  # that of the Jobs


def test_logs_of_workers_can_be_read_where_the_values_say_so():
    """Nowhere by default; not in the controller's namespace either, unless it is named."""
    readable = lambda objects: [rule for rule in rules(objects) if {"pods", "pods/log"} & set(rule["resources"])]  # noqa: E731
    assert readable(helm.objects(namespace="ns")) == []
    objects = helm.objects({"rbac": {"controller": {"workerLogsNamespaces": ["a", "b"]}}}, namespace="ns")
    assert [(rule["resources"], rule["verbs"]) for rule in readable(objects)] == [
        (["pods"], ["list"]),
        (["pods/log"], ["get"]),
    ]
    bound = [o for o in objects if o["kind"].endswith("Binding") and o["metadata"]["name"].endswith("-controller-logs")]
    assert [(o["kind"], o["metadata"]["namespace"]) for o in bound] == [("RoleBinding", "a"), ("RoleBinding", "b")]
    objects = helm.objects({"rbac": {"controller": {"workerLogsNamespaces": ["*"]}}})
    bound = [o for o in objects if o["kind"].endswith("Binding") and o["metadata"]["name"].endswith("-controller-logs")]
    assert [o["kind"] for o in bound] == ["ClusterRoleBinding"]


def test_the_originals_cloner_gets_its_roles_only_when_it_is_given_a_token():
    """Accounts of Jobs may do nothing, until the runtime config says that the original's cloner image is used."""
    token = {"runtimeConfig": {"action": {"containers": {"cloner": {"apiToken": True}}}}}
    none = {"rbac": {"actionJobServiceAccounts": {"createRoleBindings": False}}}

    def bound(values):
        return [o for o in helm.objects(values) if o["kind"].endswith("Binding") and "action-jobs" in name_of(o)]

    assert bound({}) == []
    assert len(bound(token)) == 2
    assert bound(token | none) == []


def test_a_budget_needs_a_second_replica():
    """With one replica it would only stop the draining of a node."""
    kinds = lambda values: {o["kind"] for o in helm.objects(values)}  # noqa: E731
    assert "PodDisruptionBudget" not in kinds({})
    assert "PodDisruptionBudget" in kinds({"replicaCount": 2})
    assert "PodDisruptionBudget" not in kinds({"replicaCount": 2, "pdb": {"enabled": False}})
    scaled = {"autoscaling": {"enabled": True, "minReplicas": 2}}
    assert {"PodDisruptionBudget", "HorizontalPodAutoscaler"} <= kinds(scaled)
    assert "replicas" not in one(helm.objects(scaled), "Deployment")["spec"]


def test_crds_are_ours_and_stay():
    """They are what the program prints; by default they survive `helm uninstall`; they can be left out."""
    for keep in (True, False):
        found = [o for o in helm.objects({"crds": {"keep": keep}}) if o["kind"] == "CustomResourceDefinition"]
        assert {name_of(o): o["spec"] for o in found} == {crd["metadata"]["name"]: crd["spec"] for crd in crds()}
        for crd in found:
            policy = (crd["metadata"].get("annotations") or {}).get("helm.sh/resource-policy")
            assert policy == ("keep" if keep else None)
    assert not [o for o in render_case("little") if o["kind"] == "CustomResourceDefinition"]


def test_values_hold_the_programs_runtime_config():
    """`git-events-runner config --helm-template` is `runtimeConfig` of values.yaml."""
    assert chart.values()["runtimeConfig"] == yaml.safe_load(default_runtime_config_yaml(helm_template=True))
    assert chart.values()["imageRegistry"] == IMAGE_REGISTRY


def test_chart_and_program_have_one_version():
    """They are released together."""
    found = yaml.safe_load((helm.CHART / "Chart.yaml").read_text())
    assert (found["version"], found["appVersion"]) == (VERSION, VERSION)
    images = {image["image"] for image in yaml.safe_load(found["annotations"]["artifacthub.io/images"])}
    names = ("git-events-runner", "gitrepo-cloner", "action-worker")
    assert images == {f"{IMAGE_REGISTRY}/{name}:{VERSION}" for name in names}
    listed = {crd["name"] for crd in yaml.safe_load(found["annotations"]["artifacthub.io/crds"])}
    assert listed == {crd["metadata"]["name"] for crd in crds()}


def keys(values, path=""):
    """Dotted paths of every key of a values file."""
    for key, value in values.items():
        yield f"{path}{key}"
        if isinstance(value, dict):
            yield from keys(value, f"{path}{key}.")


def test_every_value_is_described_and_in_the_schema():
    """The README's table has a line for each, and the schema knows each by name."""
    described = {key for _, rows in chart.sections((helm.CHART / "values.yaml").read_text()) for key, _, _ in rows}
    whole = set(keys(chart.values()))
    below = {key for key in whole if any(key.startswith(f"{other}.") for other in described)}
    above = {key for key in whole if any(other.startswith(f"{key}.") for other in described)}
    assert whole - described - below - above == set()
    schema = json.loads((helm.CHART / "values.schema.json").read_text())

    def known(node, path):
        for step in path.split("."):
            node = node.get("properties", {}).get(step)
            if node is None:
                return False
        return True

    assert [key for key in described if not known(schema, key)] == []


@pytest.mark.parametrize(
    ("values", "named_key"),
    [
        ({"replicas": 2}, "replicas"),
        ({"controllerOptions": {"scheduleParalellism": 5}}, "scheduleParalellism"),
        ({"controllerOptions": {"scheduleParallelism": 256}}, "scheduleParallelism"),
        ({"controllerOptions": {"webhooksRateLimits": {"global": "10"}}}, "webhooksRateLimits/global"),
        ({"runtimeConfig": {"action": {"maxRuningJobs": 5}}}, "maxRuningJobs"),
        ({"runtimeConfig": {"action": {"maxRunningJobs": "5"}}}, "maxRunningJobs"),
        ({"runtimeConfig": {"policy": {"clonerImages": "some"}}}, "clonerImages"),
        ({"image": {"digest": "latest"}}, "digest"),
        ({"service": {"webhook": {"port": 0}}}, "webhook/port"),
        ({"controllerOptions": {"webhooksTls": {"secret": "x", "key": "/y"}}}, "webhooksTls"),
        ({"controllerOptions": {"webhooksTls": {"certificate": "/x"}}}, "webhooksTls"),
        ({"controllerOptions": {"otlp": {"enabled": True}}}, "otlp.endpoint"),
        ({"httpRoute": {"enabled": True}}, "httpRoute.parentRefs"),
        ({"watchNamespaces": ["*"]}, "watchNamespaces"),
        ({"watchNamespaces": ["team-a"]}, "watchNamespaces"),
    ],
)
def test_a_wrong_value_is_refused_by_name(values, named_key):
    """Helm refuses what the program would refuse, and says which value it is."""
    with pytest.raises(helm_python.HelmError) as refused:
        helm.render(values)
    assert named_key in str(refused.value).replace("'", "").replace(".", "/").replace("//", "/") + str(refused.value)


def test_monitors_wait_for_their_kinds():
    """Without the Prometheus operator they are left out and the notes say so; with it, or forced, they are there."""
    monitors = {"PodMonitor", "ServiceMonitor", "PrometheusRule"}
    wanted = {"prometheus": EVERYTHING["prometheus"] | {"force": False}}
    assert not monitors & {o["kind"] for o in helm.objects(wanted)}
    assert "were left out" in helm.render(wanted)["NOTES.txt"]
    found = helm.objects(wanted, api_versions=[MONITORING])
    assert monitors <= {o["kind"] for o in found}
    assert "were left out" not in helm.render(wanted, api_versions=[MONITORING])["NOTES.txt"]
    [port] = one(found, "Service", "ger-git-events-runner-utility")["spec"]["ports"]
    assert port["name"] == one(found, "ServiceMonitor")["spec"]["endpoints"][0]["port"] == "utility"


def test_rules_and_dashboard_ask_for_metrics_that_exist():
    """Each metric that an alert or a panel names is one of ours, under the prefix that the values say."""
    described = {metric.name for metric in Metrics(prefix="p").described()}
    suffixes = ("", "_bucket", "_sum", "_count")
    known = {name + suffix for name in described for suffix in suffixes}
    values = {"prometheus": EVERYTHING["prometheus"], "controllerOptions": {"metricsPrefix": "p"}}
    objects = helm.objects(values)
    rule = one(objects, "PrometheusRule")
    expressions = [alert["expr"] for group in rule["spec"]["groups"] for alert in group["rules"]]
    dashboard = json.loads(
        one(objects, "ConfigMap", "ger-git-events-runner-dashboard")["data"]["git-events-runner.json"]
    )
    expressions += [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked = {name for expression in expressions for name in re.findall(r"\bp_[a-z_]+", expression)}
    assert len(asked) > 10
    assert asked - known == set()


def test_extra_objects_are_templates():
    """Objects and texts of `extraObjects` belong to the release."""
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}-text'}\n"
    found = helm.objects({"extraObjects": [*EVERYTHING["extraObjects"], text]})
    assert {"ger-more", "ger-text"} <= {name_of(o) for o in found}


def test_notes_say_where_webhooks_are_taken():
    """The Service, the Ingress' hosts or the route's; which namespaces are served; what is open."""
    notes = helm.render()["NOTES.txt"]
    assert "http://ger-git-events-runner.ger.svc:8080/NAMESPACE/TRIGGER" in notes
    assert "Triggers are served in: ger " in notes
    assert "https://hooks.example/NAMESPACE/TRIGGER" in helm.render(EVERYTHING)["NOTES.txt"]
    assert "in every namespace" in helm.render(CASES["everywhere"])["NOTES.txt"]
    assert "git-events-runner crds | kubectl apply" in helm.render(CASES["little"])["NOTES.txt"]


def test_the_policy_for_jobs_is_there_where_the_cluster_serves_it():
    """By default, and for the namespaces where the controller works; `force` renders it without asking the cluster."""
    served = ["admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy"]

    def policies(values, **options):
        return [o for o in helm.objects(values, **options) if o["kind"].startswith("ValidatingAdmission")]

    assert policies({}) == []
    assert len(policies({}, api_versions=served)) == 4
    without = {"rbac": {"controller": {"secretCopies": False}}}
    assert len(policies(without, api_versions=served)) == 2
    assert policies({"admissionPolicy": {"jobs": {"enabled": False}}}, api_versions=served) == []
    jobs = {"admissionPolicy": {"jobs": {"force": True, "accounts": ["system:serviceaccount:old:old"]}}}
    policy, binding, *_ = policies(jobs | {"rbac": {"controller": {"jobsNamespaces": ["team-a"]}}})
    [condition] = policy["spec"]["matchConditions"]
    assert (
        "'system:serviceaccount:ger:ger-git-events-runner','system:serviceaccount:old:old'" in condition["expression"]
    )
    [only] = binding["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"]
    assert only["values"] == ["ger", "team-a"]
    _, everywhere, *_ = policies(jobs | {"rbac": {"controller": {"jobsNamespaces": ["*"]}}})
    assert "matchResources" not in everywhere["spec"]
