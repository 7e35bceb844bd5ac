"""For each value of the original's chart: what is seen of it in the installation of `custom.py`, and what is wanted."""

import json

from git_events_runner.settings import VERSION
from tests.cluster.plane import wait_until
from tests.e2e import values as v
from tests.e2e.custom import ROTATED, SECRET
from tests.e2e.node import ADDRESS

_A, _B = v.TENANTS
HOOK = f"/{_A}/run"
_JOBS = "git-events-runner.rs"


def _account(custom, name, namespace=v.NAMESPACE):
    return custom.object("serviceaccounts", name, namespace)


def _worker(custom):
    return custom.cluster.pod(custom.jobs[-1])["spec"]["containers"][0]


def _cloner(custom):
    return custom.cluster.pod(custom.jobs[-1])["spec"]["initContainers"][0]


def _ingress(custom):
    return custom.object("ingresses", group="networking.k8s.io/v1")


def _through_the_ingress(custom):
    """Status of a request to the port that the Ingress names."""
    [path] = _ingress(custom)["spec"]["rules"][0]["http"]["paths"]
    named = path["backend"]["service"]
    service = custom.object("services", named["name"])["spec"]
    assert named["port"]["name"] in {port["name"] for port in service["ports"]}
    return path["path"], path["pathType"], custom.call("/none/none", host=service["clusterIP"])[0]


def _utility(custom):
    """What the port of the node answers."""
    service = custom.object("services", f"{v.NAME}-utility")["spec"]
    [port] = service["ports"]
    return service["type"], custom.cluster.ask(ADDRESS, port["nodePort"], "/alive")


def _budget(custom):
    found = custom.object("poddisruptionbudgets", group="policy/v1")
    wait_until("the budget counts", lambda: custom.object("poddisruptionbudgets", group="policy/v1")["status"])
    return found["spec"]


def _rotated(custom):
    """Whether every replica takes a new secret, and refuses the old one, soon after the Secret has changed."""
    custom.secret(_A, "hooks", {"token": ROTATED})
    _taken(custom, ROTATED)
    refused = {custom.call(HOOK, SECRET, host)[0] for host in custom.addresses}
    custom.secret(_A, "hooks", {"token": SECRET})
    _taken(custom, SECRET)
    return refused


def _taken(custom, secret):
    for host in custom.addresses:
        wait_until(
            "the new secret", lambda host=host: custom.call(HOOK, secret, host)[0] == 202, timeout_s=15, every_s=1
        )


def _limited(custom, path, secret=None):
    """What the refusal says; each replica counts for itself."""
    return custom.until_limited(path, secret)[1]


def _values(custom, path):
    found = custom.values
    for key in path.split("."):
        found = found[key]
    return found


def _spec(path, name=None):
    """A field of the pod, of a replica that is ready, is the value."""
    return lambda c: (c.pod[name or path], _values(c, path))


def _in_container(path):
    root, *keys = path.split(".")

    def check(custom):
        seen = custom.container[root]
        for key in keys:
            seen = seen[key]
        return seen, _values(custom, path)

    return check


def _in_config(path, seen):
    """A value of the runtime config, and where it shows."""
    return lambda c: (seen(c), _values(c, f"runtimeConfig.{path}"))


FIRST = {
    "controllerNamespace": lambda c: (len(c.pods), 2),
    "createNamespace": lambda c: (
        c.api.get(f"/api/v1/namespaces/{v.NAMESPACE}")["metadata"]["labels"]["app.kubernetes.io/managed-by"],
        "Helm",
    ),
    "replicaCount": lambda c: (c.deployment["status"]["readyReplicas"], 2),
    "image.repository": lambda c: (c.container["image"].rpartition(":")[0], v.CONTROLLER),
    "image.tag": lambda c: (c.container["image"].rpartition(":")[2], "v7"),
    "image.pullPolicy": lambda c: (c.container["imagePullPolicy"], "Never"),
    "imagePullSecrets": _spec("imagePullSecrets"),
    "nameOverride": lambda c: (c.service["selector"]["app.kubernetes.io/name"], "runner"),
    "fullnameOverride": lambda c: (c.has("deployments", "ger-custom", group="apps/v1"), True),
    "serviceAccount.create": lambda c: (c.has("serviceaccounts", "boss"), True),
    "serviceAccount.automount": lambda c: (_account(c, "boss")["automountServiceAccountToken"], False),
    "serviceAccount.annotations.cloud.example/role": lambda c: (
        _account(c, "boss")["metadata"]["annotations"]["cloud.example/role"],
        "controller",
    ),
    "serviceAccount.name": lambda c: (c.pod["serviceAccountName"], "boss"),
    "actionJobServiceAccounts.create": lambda c: (c.has("serviceaccounts", "worker"), True),
    "actionJobServiceAccounts.namespaces": lambda c: (
        [c.has("serviceaccounts", "worker", n) for n in v.TENANTS],
        [True] * 2,
    ),
    "actionJobServiceAccounts.automount": lambda c: (_account(c, "worker", _A)["automountServiceAccountToken"], False),
    "actionJobServiceAccounts.annotations.cloud.example/role": lambda c: (
        _account(c, "worker", _B)["metadata"]["annotations"]["cloud.example/role"],
        "job",
    ),
    "actionJobServiceAccounts.name": lambda c: (c.has("serviceaccounts", "worker", _B), True),
    "rbac.create": lambda c: (c.rbac("roles", f"{v.NAME}-controller", v.NAMESPACE), True),
    "rbac.controller.secretsNamespaces": lambda c: (
        [c.rbac("rolebindings", f"{v.NAME}-controller-secrets", n) for n in (_A, v.VAULT, _B)],
        [True, True, False],
    ),
    "rbac.controller.jobsNamespaces": lambda c: (
        [c.rbac("rolebindings", f"{v.NAME}-controller-jobs", n) for n in (_A, _B, v.VAULT)],
        [True, True, False],
    ),
    "rbac.actionJobServiceAccounts.createRoleBindings": lambda c: (
        c.rbac("rolebindings", f"{v.NAME}-action-jobs", _A),
        False,
    ),
    "podAnnotations.pod": lambda c: (c.pods[0]["metadata"]["annotations"]["pod"], "annotation"),
    "podLabels.pod": lambda c: (c.pods[0]["metadata"]["labels"]["pod"], "label"),
    "podSecurityContext.fsGroup": lambda c: ("2000" in c.status("Groups"), True),
    "securityContext.readOnlyRootFilesystem": lambda c: (c.mount("/").split()[5].split(",")[0], "rw"),
    "securityContext.runAsUser": lambda c: (c.status("Uid")[0], "1000"),
    "service.utility.type": lambda c: (_utility(c)[0], "NodePort"),
    "service.utility.port": lambda c: (_utility(c)[1], (200, "alive\n")),
    "service.webhook.type": lambda c: (c.call("/none/none", host=v.BALANCER)[0], 404),
    "service.webhook.port": lambda c: (c.service["ports"][0]["port"], 8081),
    "ingress.enabled": lambda c: (_through_the_ingress(c)[2], 404),
    "ingress.className": lambda c: (_ingress(c)["spec"]["ingressClassName"], "nginx"),
    "ingress.annotations.nginx.example/size": lambda c: (
        _ingress(c)["metadata"]["annotations"]["nginx.example/size"],
        "1",
    ),
    "ingress.hosts": lambda c: (
        (_ingress(c)["spec"]["rules"][0]["host"], *_through_the_ingress(c)[:2]),
        ("hooks.example", "/hooks", "Prefix"),
    ),
    "ingress.tls": lambda c: (_ingress(c)["spec"]["tls"], _values(c, "ingress.tls")),
    "resources.limits.memory": _in_container("resources.limits.memory"),
    "resources.requests.cpu": _in_container("resources.requests.cpu"),
    "resources.requests.memory": _in_container("resources.requests.memory"),
    "livenessProbe.httpGet.path": _in_container("livenessProbe.httpGet.path"),
    "livenessProbe.httpGet.port": _in_container("livenessProbe.httpGet.port"),
    "livenessProbe.periodSeconds": _in_container("livenessProbe.periodSeconds"),
    "readinessProbe.httpGet.path": _in_container("readinessProbe.httpGet.path"),
    "readinessProbe.httpGet.port": _in_container("readinessProbe.httpGet.port"),
    "readinessProbe.periodSeconds": _in_container("readinessProbe.periodSeconds"),
    "pdb.enabled": lambda c: (_budget(c)["selector"]["matchLabels"]["app.kubernetes.io/name"], "runner"),
    "pdb.maxUnavailable": lambda c: (_budget(c)["maxUnavailable"], 2),
    "volumes": lambda c: ({"certs", "token"} <= {volume["name"] for volume in c.pod["volumes"]}, True),
    "volumeMounts": lambda c: (bool(c.mount("/certs")), True),
    "nodeSelector.disk": lambda c: (c.pod["nodeSelector"], {"disk": "ssd"}),
    "tolerations": lambda c: ({"key": "x", "operator": "Exists"} in c.pod["tolerations"], True),
    "affinity.nodeAffinity": lambda c: (c.pod["affinity"]["nodeAffinity"], _values(c, "affinity.nodeAffinity")),
    "prometheus.podAnnotations.prometheus.io/scrape": lambda c: (
        c.pods[0]["metadata"]["annotations"]["prometheus.io/scrape"],
        "true",
    ),
    "prometheus.podMonitor.enabled": lambda c: (c.has("podmonitors", group="monitoring.coreos.com/v1"), True),
    "prometheus.podMonitor.interval": lambda c: (
        c.object("podmonitors", group="monitoring.coreos.com/v1")["spec"]["podMetricsEndpoints"][0]["interval"],
        "17s",
    ),
    "controllerOptions.logLevel": lambda c: ('"level":"debug"' in c.logs.replace(" ", ""), True),
    "controllerOptions.jsonLogs": lambda c: ({type(json.loads(line)) for line in c.logs.splitlines()}, {dict}),
    "controllerOptions.metricsPrefix": lambda c: ("\nmy_runner_jobs_queue_limit 5.0\n" in c.metrics, True),
    "controllerOptions.metricsByTrigger": lambda c: (c.arguments["metrics-by-trigger"], "histograms"),
    "controllerOptions.otlp.enabled": lambda c: (bool(wait_until("a span", lambda: c.collector.spans)), True),
    "controllerOptions.otlp.endpoint": lambda c: (c.environment["OPENTELEMETRY_ENDPOINT_URL"], c.endpoint),
    "controllerOptions.leaderLease.duration": lambda c: (
        c.object("leases", f"{v.NAME}-leader-lock", group="coordination.k8s.io/v1")["spec"]["leaseDurationSeconds"],
        12,
    ),
    "controllerOptions.leaderLease.grace": lambda c: (c.arguments["leader-lease-grace"], "5"),
    "controllerOptions.scheduleParallelism": lambda c: (c.arguments["schedule-parallelism"], "17"),
    "controllerOptions.webhooksParallelism": lambda c: (c.arguments["webhooks-parallelism"], "18"),
    "controllerOptions.webhooksTls.certificate": lambda c: (c.arguments["tls-cert-path"], "/certs/tls.crt"),
    "controllerOptions.webhooksTls.key": lambda c: (c.arguments["tls-key-path"], "/certs/tls.key"),
    "controllerOptions.sourceCloneFolder.mountPath": lambda c: ("tmpfs" in c.mount("/scratch").split(), True),
    "controllerOptions.sourceCloneFolder.volumeName": lambda c: (
        "scratch" in {volume["name"] for volume in c.pod["volumes"]},
        True,
    ),
    "runtimeConfig.trigger.webhook.defaultAuthHeader": lambda c: (c.call(HOOK)[0], 401),
    "runtimeConfig.action.maxRunningJobs": lambda c: ("\nmy_runner_jobs_queue_limit 5.0\n" in c.metrics, True),
    "runtimeConfig.action.jobWaitingTimeoutSeconds": lambda c: (
        c.jobs[-1]["metadata"]["annotations"][f"{_JOBS}/waiting-timeout-seconds"],
        "301",
    ),
    "runtimeConfig.action.activeDeadlineSeconds": lambda c: (c.jobs[-1]["spec"]["activeDeadlineSeconds"], 3601),
    "runtimeConfig.action.defaultServiceAccount": lambda c: (
        c.cluster.pod(c.jobs[-1])["spec"]["serviceAccountName"],
        "somebody",
    ),
    "runtimeConfig.action.workdir.mountPath": lambda c: (_printed(c).splitlines()[:2], ["/elsewhere", "one"]),
    "runtimeConfig.action.workdir.volumeName": _in_config(
        "action.workdir.volumeName", lambda c: _worker(c)["volumeMounts"][0]["name"]
    ),
    "runtimeConfig.action.containers.cloner.name": _in_config(
        "action.containers.cloner.name", lambda c: _cloner(c)["name"]
    ),
    "runtimeConfig.action.containers.cloner.image": lambda c: (_cloner(c)["image"], f"{v.CLONER}:{VERSION}"),
    "runtimeConfig.action.containers.worker.name": _in_config(
        "action.containers.worker.name", lambda c: _worker(c)["name"]
    ),
    "runtimeConfig.action.containers.worker.image": lambda c: (_worker(c)["image"], f"{v.WORKER}:7"),
    "runtimeConfig.action.containers.worker.variablesPrefix": lambda c: (
        "\nJOB_TRIGGER_NAME=run\n" in _printed(c),
        True,
    ),
    # What uses up requests comes last.
    "controllerOptions.secretsCacheTime": lambda c: (_rotated(c), {403}),
    "controllerOptions.webhooksRateLimits.source": lambda c: (
        _limited(c, f"{HOOK}/app", SECRET),
        "too many requests (source limit)",
    ),
    "controllerOptions.webhooksRateLimits.trigger": lambda c: (
        _limited(c, HOOK, "wrong"),
        "too many requests (trigger limit)",
    ),
    "controllerOptions.webhooksRateLimits.global": lambda c: (
        _limited(c, "/none/none-{number}"),  # each name that is not proven has a limit of its own
        "too many requests (global limit)",
    ),
}


def _printed(custom):
    return custom.cluster.printed(custom.jobs[-1], "worker")


# --- the other way --------------------------------------------------------------------------------------------------


def _scaler(custom):
    return custom.object("horizontalpodautoscalers", group="autoscaling/v2")["spec"]


def _targets(custom):
    metrics = {m["resource"]["name"]: m["resource"]["target"]["averageUtilization"] for m in _scaler(custom)["metrics"]}
    return metrics["cpu"], metrics["memory"]


def _apart(jobs):
    """Whether one began when the other had ended."""
    one, other = sorted((job["startTime"], job["completionTime"]) for job in jobs)
    return one[1] <= other[0]


def _first_job(custom):
    return custom.object("jobs", custom.jobs[0]["metadata"]["name"], _A, "batch/v1")


SECOND = {
    # Of the first installation, whose Job has been settled for long enough by now.
    "runtimeConfig.action.ttlSecondsAfterFinished": lambda c: (
        wait_until("its TTL", lambda: _first_job(c)["spec"].get("ttlSecondsAfterFinished")),
        7201,
    ),
    "serviceAccount.create": lambda c: (c.has("serviceaccounts", "boss"), False),
    "serviceAccount.name": lambda c: ({pod["spec"]["serviceAccountName"] for pod in c.pods}, {"own"}),
    "actionJobServiceAccounts.create": lambda c: (c.has("serviceaccounts", "worker", _A), False),
    "actionJobServiceAccounts.name": lambda c: (c.cluster.pod(c.jobs[-1])["spec"]["serviceAccountName"], "own-jobs"),
    "rbac.controller.jobsNamespaces": lambda c: (c.rbac("clusterrolebindings", f"{v.NAME}-controller-jobs"), True),
    "rbac.controller.secretsNamespaces": lambda c: (
        c.rbac("clusterrolebindings", f"{v.NAME}-controller-secrets"),
        True,
    ),
    "rbac.actionJobServiceAccounts.createRoleBindings": lambda c: (
        c.rbac("rolebindings", f"{v.NAME}-action-jobs", _A),
        True,
    ),
    "autoscaling.enabled": lambda c: (_scaler(c)["scaleTargetRef"]["name"], v.NAME),
    "autoscaling.minReplicas": lambda c: (wait_until("3 replicas", lambda: len(c.pods) == 3, timeout_s=60), True),
    "autoscaling.maxReplicas": lambda c: (_scaler(c)["maxReplicas"], 5),
    "autoscaling.targetCPUUtilizationPercentage": lambda c: (_targets(c)[0], 70),
    "autoscaling.targetMemoryUtilizationPercentage": lambda c: (_targets(c)[1], 60),
    "pdb.minAvailable": lambda c: (_budget(c)["minAvailable"], 1),
    "service.webhook.type": lambda c: (c.service["type"], "NodePort"),
    "ingress.enabled": lambda c: (c.has("ingresses", group="networking.k8s.io/v1"), False),
    "prometheus.podMonitor.enabled": lambda c: (c.has("podmonitors", group="monitoring.coreos.com/v1"), False),
    "controllerOptions.webhooksTls.secret": lambda c: (c.arguments["tls-secret-name"], "hooks-tls"),
    "controllerOptions.webhooksTls.secretNamespace": lambda c: (c.arguments["tls-secret-namespace"], v.VAULT),
    "controllerOptions.logLevel": lambda c: ("debug" in c.logs, False),
    "controllerOptions.jsonLogs": lambda c: (c.logs.startswith("{"), False),
    "controllerOptions.otlp.enabled": lambda c: ("OPENTELEMETRY_ENDPOINT_URL" in c.environment, False),
    "runtimeConfig.action.maxRunningJobs": lambda c: (_apart(c.slow), True),
}

THIRD = {
    "rbac.create": lambda c: (c.rbac("clusterroles", f"{v.NAME}-controller"), False),
    "pdb.enabled": lambda c: (c.has("poddisruptionbudgets", group="policy/v1"), False),
    "autoscaling.enabled": lambda c: (c.has("horizontalpodautoscalers", group="autoscaling/v2"), False),
    "replicaCount": lambda c: (c.deployment["status"]["readyReplicas"], 1),
    "rbac.controller.jobsNamespaces": lambda c: (
        c.environment["GIT_EVENTS_RUNNER_JOB_NAMESPACES"],
        ",".join((v.NAMESPACE, *v.TENANTS)),
    ),
}
