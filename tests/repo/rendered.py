"""Values under which linters and tests render the chart: the defaults, everything on, the original's, and more."""

from functools import cache
from pathlib import Path

import yaml

from tests.repo import helm

MONITORING = "monitoring.coreos.com/v1"
ORIGINAL = yaml.safe_load((Path(__file__).parent / "values-0.4.14.yaml").read_text())
EVERYTHING = {
    "controllerNamespace": "events",
    "createNamespace": True,
    "namespaceLabels": {"pod-security.kubernetes.io/enforce": "restricted"},
    "replicaCount": 3,
    "imageRegistry": "mirror.example/ger",
    "image": {"digest": "sha256:" + "0123456789abcdef" * 4},
    "imagePullSecrets": [{"name": "pull"}],
    "commonLabels": {"team": "platform"},
    "serviceAccount": {"annotations": {"a": "b"}},
    "actionJobServiceAccounts": {"namespaces": ["team-a", "team-b"], "annotations": {"a": "b"}},
    "rbac": {
        "aggregateToDefaultRoles": True,
        "controller": {"secretsNamespaces": ["team-a", "vault"], "jobsNamespaces": ["team-a", "team-b"]},
    },
    "podAnnotations": {"a": "b"},
    "podLabels": {"c": "d"},
    "startupProbe": {"httpGet": {"path": "/alive", "port": "utility"}},
    "lifecycle": {"preStop": {"exec": {"command": ["/usr/bin/python3", "-c", "pass"]}}},
    "updateStrategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
    "revisionHistoryLimit": 3,
    "priorityClassName": "high",
    "runtimeClassName": "gvisor",
    "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
    "extraEnvFrom": [{"configMapRef": {"name": "more", "optional": True}}],
    "extraArgs": ["--hooks-rrl-global=10/1"],
    "volumes": [{"name": "certs", "secret": {"secretName": "hooks"}}],
    "volumeMounts": [{"name": "certs", "mountPath": "/certs", "readOnly": True}],
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "x", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
    ],
    "pdb": {"minAvailable": 1},
    "service": {
        "utility": {"type": "ClusterIP", "annotations": {"a": "b"}},
        "webhook": {"type": "LoadBalancer", "extraSpec": {"externalTrafficPolicy": "Local"}},
    },
    "ingress": {
        "enabled": True,
        "className": "nginx",
        "hosts": [{"host": "hooks.example", "paths": [{"path": "/", "pathType": "Prefix"}]}],
        "tls": [{"secretName": "hooks", "hosts": ["hooks.example"]}],
    },
    "httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": ["hooks.example"]},
    "networkPolicy": {
        "enabled": True,
        "webhookFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
        "extraEgress": [{"ports": [{"port": 3128}]}],
    },
    "prometheus": {
        "force": True,
        "podMonitor": {"enabled": True, "interval": "30s", "labels": {"release": "prometheus"}},
        "serviceMonitor": {"enabled": True},
        "rules": {"enabled": True, "alertLabels": {"team": "platform"}},
        "dashboard": {"enabled": True},
    },
    "admissionPolicy": {"enabled": True},
    "controllerOptions": {
        "jsonLogs": True,
        "otlp": {"enabled": True, "endpoint": "http://collector:4317"},
        "webhooksRateLimits": {"global": "100/10", "address": "7/10", "trigger": "10/10", "source": "5/10"},
        "trustedProxies": ["10.0.0.0/8", "fd00::/8"],
        "webhooksTls": {"secret": "hooks"},
    },
    "runtimeConfig": {
        "action": {"actionsMayName": {"serviceAccounts": ["builder"]}},
        "policy": {
            "forbiddenLabelPrefixes": ["iam."],
            "forbiddenAnnotationPrefixes": ["iam.", "sidecar."],
            "clonerImages": "none",
        },
    },
    "extraObjects": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-more"}, "data": {}}
    ],
}
CASES = {
    "defaults": {},
    "everything": EVERYTHING,
    "the original's": ORIGINAL,
    "everywhere": {"rbac": {"controller": {"secretsNamespaces": ["*"], "jobsNamespaces": ["*"]}}},
    "autoscaled": {
        "autoscaling": {"enabled": True, "minReplicas": 2, "targetMemoryUtilizationPercentage": 70},
        "crds": {"keep": False},
    },
    "many tenants": {
        "profile": "multiTenant",
        "rbac": {"controller": {"jobsNamespaces": ["team-a", "team-b"]}},
        "runtimeConfig": {
            "git": {"clusterNetworks": ["10.96.0.0/12"]},
            "policy": {"minimumIntervalSeconds": 5, "clonerImages": "withoutClusterCredentials"},
        },
    },
    "little": {
        "crds": {"enabled": False},
        "rbac": {"create": False},
        "serviceAccount": {"create": False},
        "actionJobServiceAccounts": {"create": False},
        "pdb": {"enabled": False},
        "tests": {"enabled": False},
    },
}


@cache
def _rendered(name):
    return tuple(helm.objects(CASES[name]))


def render_case(name):
    """The objects of a case."""
    return list(_rendered(name))
