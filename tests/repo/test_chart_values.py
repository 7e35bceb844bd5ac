"""Every value of the original's chart does what it is for: judged by rendering, and by the program's own reading."""

import argparse

import pytest
import yaml

from git_events_runner.cli.parser import parser_for
from git_events_runner.settings import OPTIONS, RuntimeConfig, Settings, TlsFiles, TlsSecret, parse_runtime_config
from tests.repo import chart, helm
from tests.repo.rendered import EVERYTHING, ORIGINAL, render_case
from tests.repo.test_chart import one


def settings(objects):
    """What the program makes of the Deployment's arguments and variables, and the container."""
    [container] = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    arguments = parser_for(container["args"]).parse_args(container["args"])
    assert isinstance(arguments, argparse.Namespace)
    environ = {e["name"]: e.get("value", e["name"].lower()) for e in container["env"]}
    return Settings.of(vars(arguments), environ, json_logs=arguments.json_logs), container


def config(objects):
    """What the program reads in the ConfigMap."""
    found = [o for o in objects if o["kind"] == "ConfigMap" and "runtimeConfig" in o["data"]]
    return parse_runtime_config(found[0]["data"]["runtimeConfig"])


def same(given, ours, path=""):
    """Dotted paths of values that are the same in two files."""
    for key, value in given.items():
        if isinstance(value, dict) and isinstance(ours.get(key), dict):
            yield from same(value, ours[key], f"{path}{key}.")
        elif value == ours.get(key):
            yield f"{path}{key}"


def test_default_values_are_the_programs_defaults():
    """A default install runs as the program does by itself, but for names and the namespaces it serves."""
    objects = helm.objects(namespace="ns")
    found, _ = settings(objects)
    alone = Settings.of({}, {"POD_NAME": "pod_name", "POD_NAMESPACE": "pod_namespace"})
    differs = {f for f in Settings.__dataclass_fields__ if getattr(found, f) != getattr(alone, f)}
    assert differs == {"config_map_name", "leader_lease_name", "job_namespaces"}
    assert found.job_namespaces == ("ns",)
    read, default = config(objects).model_dump(), RuntimeConfig().model_dump()
    assert read["action"].pop("default_service_account") == "ger-git-events-runner-action-job"
    assert default["action"].pop("default_service_account") is None
    assert read == default


def test_the_originals_values_are_all_there():
    """The list of them is complete but for what `*` in the contract leaves open, and each is known to our schema."""
    listed = """controllerNamespace createNamespace replicaCount image imagePullSecrets nameOverride fullnameOverride
        serviceAccount actionJobServiceAccounts rbac podAnnotations podLabels podSecurityContext securityContext service
        ingress resources livenessProbe readinessProbe autoscaling pdb volumes volumeMounts nodeSelector tolerations
        affinity prometheus controllerOptions runtimeConfig"""
    assert set(ORIGINAL) == set(listed.split())
    assert helm.render(ORIGINAL)
    # What only makes sense at its default, or has its opposite tested elsewhere.
    assert set(same(ORIGINAL, chart.values())) == {
        *(
            "serviceAccount.create",
            "actionJobServiceAccounts.create",
            "rbac.create",
            "autoscaling.enabled",
            "pdb.enabled",
        ),
        *("livenessProbe.httpGet.path", "livenessProbe.httpGet.port"),
        *("readinessProbe.httpGet.path", "readinessProbe.httpGet.port"),
    }


def test_controller_options_reach_the_program():
    """Flags and variables, read back with the program's own parser."""
    found, container = settings(render_case("the original's"))
    options = ORIGINAL["controllerOptions"]
    assert (found.webhooks_port, found.utility_port) == (8081, 3001)
    assert (found.schedule_parallelism, found.webhooks_parallelism) == (17, 18)
    assert (found.lease.duration_s, found.lease.renew_deadline_s) == (30, 23)
    assert (found.metrics_prefix, found.json_logs, found.log_filter) == ("my_runner", True, "debug")
    assert found.otlp_endpoint == options["otlp"]["endpoint"]
    assert found.secrets_cache_time_s == 61
    assert found.source_clone_folder == "/scratch"
    assert {scope: (rate.burst, rate.seconds) for scope, rate in found.rates.items() if rate} == {
        "global": (100, 10),
        "trigger": (10, 11),
        "source": (5, 12),
    }
    assert found.tls == TlsFiles(cert_path="/certs/tls.crt", key_path="/certs/tls.key")
    assert (found.config_map_name, found.leader_lease_name) == ("ger-custom-config", "ger-custom-leader-lock")
    assert found.job_namespaces == ("events", "team-a", "team-b")
    assert {"name": "scratch", "mountPath": "/scratch"} in container["volumeMounts"]
    assert settings(render_case("everything"))[0].tls == TlsSecret(name="hooks", namespace=None)
    rates, proxies = (
        settings(render_case("everything"))[0].rates,
        settings(render_case("everything"))[0].trusted_proxies,
    )
    assert (rates["address"].burst, [str(network) for network in proxies]) == (7, ["10.0.0.0/8", "fd00::/8"])
    service = {"service": {"scheduleParallelism": 3, "webhooksParallelism": 4}}
    found, _ = settings(helm.objects(service))
    assert (found.schedule_parallelism, found.webhooks_parallelism) == (3, 4)


def test_the_status_page_is_off_until_a_value_enables_it():
    """`ui.enabled` becomes the program's option."""
    assert not settings(helm.objects())[0].ui
    assert settings(helm.objects({"ui": {"enabled": True}}))[0].ui


def test_the_chart_knows_every_option_of_the_program():
    """Each of `run` is among the arguments that some values render."""
    cases = ("the original's", "everything")
    [*given] = [arg for case in cases for arg in settings(render_case(case))[1]["args"]]
    other = {"controllerOptions": {"webhooksTls": {"secret": "s", "secretNamespace": "n"}}, "ui": {"enabled": True}}
    given += settings(helm.objects(other))[1]["args"]
    names = {argument.partition("=")[0].removeprefix("--") for argument in given} - {"run"}
    assert names == {option.name for option in OPTIONS} | {"json-logs"}


def test_the_runtime_config_reaches_the_config_map():
    """With the templates in its texts rendered."""
    action = config(render_case("the original's")).action
    assert action.containers.cloner.image.startswith("mirror.example/cloner:1.")
    assert (action.containers.worker.image, action.containers.worker.name) == ("mirror.example/worker:7", "worker")
    assert (action.containers.cloner.name, action.containers.worker.variables_prefix) == ("cloner", "JOB_")
    assert (action.max_running_jobs, action.job_waiting_timeout_seconds) == (5, 301)
    assert (action.active_deadline_seconds, action.ttl_seconds_after_finished) == (3601, 7201)
    assert action.default_service_account == "somebody"
    assert (action.workdir.mount_path, action.workdir.volume_name) == ("/elsewhere", "elsewhere")
    assert config(render_case("the original's")).trigger.webhook.default_auth_header == "x-other"


def test_one_prefix_serves_all_three_images():
    """A mirror is one setting; the controller's own repository, tag and digest win over it."""
    objects = render_case("everything")
    images = config(objects).action.containers
    assert images.cloner.image.startswith("mirror.example/ger/gitrepo-cloner:")
    assert images.worker.image.startswith("mirror.example/ger/action-worker:")
    digest = EVERYTHING["image"]["digest"]
    assert settings(objects)[1]["image"] == f"mirror.example/ger/git-events-runner@{digest}"
    assert settings(render_case("the original's"))[1]["image"] == "mirror.example/controller:v7"


def test_one_tag_serves_all_three_images():
    """Images that were built under another version are one setting, too."""
    objects = helm.objects({"imageRegistry": "mirror.example/ger", "image": {"tag": "1.0.0-custom"}})
    containers = config(objects).action.containers
    images = [settings(objects)[1]["image"], containers.cloner.image, containers.worker.image]
    names = ("git-events-runner", "gitrepo-cloner", "action-worker")
    assert images == [f"mirror.example/ger/{name}:1.0.0-custom" for name in names]


def test_pods_of_the_controller_are_as_the_values_say():
    """Metadata, contexts, probes, resources, placement, volumes, pull secrets, pull policy, account."""
    deployment = one(render_case("the original's"), "Deployment")
    template = deployment["spec"]["template"]
    pod, [container] = template["spec"], template["spec"]["containers"]
    assert (deployment["metadata"]["name"], deployment["metadata"]["namespace"]) == ("ger-custom", "events")
    assert deployment["spec"]["replicas"] == 2
    assert template["metadata"]["labels"]["app.kubernetes.io/name"] == "runner"
    assert template["metadata"]["annotations"] == {"pod": "annotation", "prometheus.io/scrape": "true"}
    assert template["metadata"]["labels"]["pod"] == "label"
    assert pod["securityContext"]["fsGroup"] == 2000
    assert (container["securityContext"]["runAsUser"], container["securityContext"]["readOnlyRootFilesystem"]) == (
        1000,
        False,
    )
    assert container["resources"] == ORIGINAL["resources"]
    assert (container["livenessProbe"]["periodSeconds"], container["readinessProbe"]["periodSeconds"]) == (7, 8)
    assert {p["name"]: p["containerPort"] for p in container["ports"]} == {"utility": 3001, "webhook": 8081}
    assert ORIGINAL["volumes"][0] in pod["volumes"]
    assert ORIGINAL["volumeMounts"][0] in container["volumeMounts"]
    for key in ("nodeSelector", "tolerations", "affinity", "imagePullSecrets"):
        assert pod[key] == ORIGINAL[key]
    assert container["imagePullPolicy"] == "Always"
    assert pod["serviceAccountName"] == "boss"


def test_accounts_services_and_the_rest_are_as_the_values_say():
    """Accounts in every namespace, Services with types and ports, Ingress, budget, PodMonitor, Namespace."""
    objects = render_case("the original's")
    accounts = {
        (o["metadata"]["namespace"], o["metadata"]["name"]): o for o in objects if o["kind"] == "ServiceAccount"
    }
    assert set(accounts) == {("events", "boss")} | {(n, "worker") for n in ("events", "team-a", "team-b")}
    assert accounts["events", "boss"]["metadata"]["annotations"] == {"cloud.example/role": "controller"}
    assert accounts["team-a", "worker"]["metadata"]["annotations"] == {"cloud.example/role": "job"}
    assert {a["automountServiceAccountToken"] for a in accounts.values()} == {False}
    services = {o["metadata"]["name"]: o["spec"] for o in objects if o["kind"] == "Service"}
    assert services["ger-custom"]["type"] == "LoadBalancer"
    assert services["ger-custom"]["ports"][0]["port"] == 8081
    assert services["ger-custom-utility"]["type"] == "NodePort"
    assert services["ger-custom-utility"]["ports"][0]["port"] == 3001
    ingress = one(objects, "Ingress")
    assert (ingress["spec"]["ingressClassName"], ingress["spec"]["tls"]) == ("nginx", ORIGINAL["ingress"]["tls"])
    assert ingress["metadata"]["annotations"] == ORIGINAL["ingress"]["annotations"]
    [rule] = ingress["spec"]["rules"]
    assert (rule["host"], rule["http"]["paths"][0]["path"]) == ("hooks.example", "/hooks")
    assert rule["http"]["paths"][0]["backend"]["service"] == {"name": "ger-custom", "port": {"name": "webhook"}}
    assert one(objects, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 2
    assert one(objects, "Namespace")["metadata"]["name"] == "events"
    monitored = helm.objects(ORIGINAL, api_versions=["monitoring.coreos.com/v1"])
    assert one(monitored, "PodMonitor")["spec"]["podMetricsEndpoints"][0]["interval"] == "17s"
    scaled = one(helm.objects(ORIGINAL | {"autoscaling": ORIGINAL["autoscaling"] | {"enabled": True}}), _HPA)
    assert (scaled["spec"]["minReplicas"], scaled["spec"]["maxReplicas"]) == (2, 5)
    targets = [metric["resource"]["target"]["averageUtilization"] for metric in scaled["spec"]["metrics"]]
    assert targets == [70, 60]


_HPA = "HorizontalPodAutoscaler"


@pytest.mark.parametrize(
    ("create", "name", "expected"), [(True, "", "ger-git-events-runner"), (False, "", "default"), (False, "x", "x")]
)
def test_accounts_that_are_not_created_are_named(create, name, expected):
    """`default`, or the one that is named, as by the original's chart; for Jobs too."""
    account = {"create": create, "name": name}
    objects = helm.objects({"serviceAccount": account, "actionJobServiceAccounts": account})
    assert one(objects, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"] == expected
    job = expected if expected in {"default", "x"} else f"{expected}-action-job"
    assert config(objects).action.default_service_account == job
    subjects = {s["name"] for o in objects if o["kind"].endswith("RoleBinding") for s in o["subjects"]}
    assert subjects == {expected}


def test_further_values_reach_the_pods():
    """What the original's chart did not have: variables, arguments, spread, priority, strategy, grace."""
    deployment = one(render_case("everything"), "Deployment")["spec"]
    pod = deployment["template"]["spec"]
    found, container = settings(render_case("everything"))
    assert found.rates["global"].burst == 10, "extraArgs come last and win"
    assert container["env"][-1] == EVERYTHING["extraEnv"][0]
    assert container["envFrom"] == EVERYTHING["extraEnvFrom"]
    assert container["startupProbe"] == EVERYTHING["startupProbe"]
    assert container["lifecycle"] == EVERYTHING["lifecycle"]
    [spread] = pod["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"] == deployment["selector"]["matchLabels"]
    assert (pod["priorityClassName"], pod["runtimeClassName"]) == ("high", "gvisor")
    assert deployment["strategy"] == EVERYTHING["updateStrategy"]
    assert (deployment["revisionHistoryLimit"], pod["terminationGracePeriodSeconds"]) == (3, 45)


def test_the_network_policy_opens_what_is_needed():
    """Webhooks and probes come in; names, API server, git servers and the collector go out; peers are the values'."""
    policy = one(render_case("everything"), "NetworkPolicy")["spec"]
    assert policy["podSelector"]["matchLabels"]["app.kubernetes.io/instance"] == "ger"
    hooks, utility = policy["ingress"]
    assert (hooks["ports"][0]["port"], hooks["from"]) == ("webhook", [{"ipBlock": {"cidr": "10.0.0.0/8"}}])
    assert (utility["ports"][0]["port"], utility["from"]) == ("utility", [{"namespaceSelector": {}}])
    ports = [sorted({port["port"] for port in rule["ports"]}) for rule in policy["egress"]]
    assert ports == [[53], [443, 6443], [22, 80, 443], [4317], [3128]]


def test_the_plain_manifests_are_the_chart_without_helm():
    """The same objects; nothing in them speaks of Helm; the namespace and the CRDs come first."""
    text = (helm.CHART.parents[1] / "manifests" / "install.yaml").read_text()
    found = [o for o in yaml.load_all(text, Loader=yaml.CSafeLoader) if o]
    assert "helm" not in text.lower()
    assert [o["kind"] for o in found[:7]] == ["Namespace"] + ["CustomResourceDefinition"] * 6
    served = ["admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy"]
    rendered = {(o["kind"], o["metadata"]["name"]) for o in helm.objects(name="git-events-runner", api_versions=served)}
    plain = {(o["kind"], o["metadata"]["name"]) for o in found}
    assert plain == (rendered - {("Pod", "git-events-runner-test")}) | {("Namespace", "git-events-runner")}
