"""Values of the original's chart, each set to what this node can show: two installations that differ in all of them."""

import copy
from pathlib import Path

import yaml

from tests.e2e.images import REGISTRY

ORIGINAL = yaml.safe_load((Path(__file__).parents[1] / "repo" / "values-0.4.14.yaml").read_text())
RELEASE, NAMESPACE, NAME = "custom-release", "custom", "ger-custom"
TENANTS = ["custom-a", "custom-b"]
VAULT = "custom-vault"
BALANCER = "10.251.77.200"
CONTROLLER, CLONER, WORKER = (f"{REGISTRY}/mirror-{name}" for name in ("controller", "cloner", "worker"))
_TOKEN = {
    "name": "token",
    "projected": {
        "sources": [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
        ]
    },
}
_SSD = {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}


def merged(values, other):
    """Values over which others are laid, as Helm does it; None takes a key away."""
    found = copy.deepcopy(values)
    for key, value in other.items():
        found[key] = (
            merged(found[key], value) if isinstance(value, dict) and isinstance(found.get(key), dict) else value
        )
    return found


def leaves(values, path=""):
    """Dotted paths of everything that is no mapping."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}"


def first(collector):
    """Everything in the original's file, with names and images that are here; traces go to the collector."""
    return merged(
        ORIGINAL,
        {
            "crds": {"enabled": False},
            "controllerNamespace": NAMESPACE,
            "namespaceLabels": {"pod-security.kubernetes.io/enforce": "restricted"},
            "image": {"repository": CONTROLLER, "pullPolicy": "Never"},
            "actionJobServiceAccounts": {"namespaces": TENANTS},
            "rbac": {"controller": {"jobsNamespaces": TENANTS, "secretsNamespaces": [TENANTS[0], VAULT]}},
            "volumes": [*ORIGINAL["volumes"], _TOKEN],
            "volumeMounts": [
                *ORIGINAL["volumeMounts"],
                {"name": "token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": True},
            ],
            "affinity": {
                "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [_SSD]}}
            },
            "controllerOptions": {
                "otlp": {"endpoint": collector},
                "leaderLease": {"duration": 12, "grace": 5},
                "metricsByTrigger": "histograms",
                "secretsCacheTime": 2,
                "webhooksRateLimits": {"global": "100/600", "trigger": "40/600", "source": "8/600"},
            },
            "runtimeConfig": {
                "action": {
                    "containers": {
                        "cloner": {"image": CLONER + ":{{ .Chart.AppVersion }}", "apiToken": True},
                        "worker": {"image": f"{WORKER}:7"},
                    }
                }
            },
        },
    )


def second(collector):
    """The other way: accounts that are there, every namespace, scaled, TLS from a Secret."""
    return merged(
        first(collector),
        {
            "serviceAccount": {"create": False, "name": "own", "automount": True},
            "actionJobServiceAccounts": {"create": False, "name": "own-jobs"},
            "rbac": {
                "controller": {"jobsNamespaces": ["*"], "secretsNamespaces": ["*"]},
                "actionJobServiceAccounts": {"createRoleBindings": True},
            },
            "autoscaling": {"enabled": True, "minReplicas": 3},
            "pdb": {"minAvailable": 1, "maxUnavailable": None},
            "readinessProbe": {"periodSeconds": 1},
            "service": {"utility": {"type": "ClusterIP"}, "webhook": {"type": "NodePort"}},
            "ingress": {"enabled": False},
            "volumes": [],
            "volumeMounts": [],
            "prometheus": {"podMonitor": {"enabled": False}},
            "controllerOptions": {
                "jsonLogs": False,
                "leaderLease": {"duration": 10, "grace": 4},
                "logLevel": "info",
                "otlp": {"enabled": False},
                "webhooksRateLimits": {"global": "", "trigger": "", "source": ""},
                "webhooksTls": {"certificate": "", "key": "", "secret": "hooks-tls", "secretNamespace": VAULT},
            },
            "runtimeConfig": {
                "action": {
                    "maxRunningJobs": 1,
                    "defaultServiceAccount": '{{ include "git-events-runner.actionJobServiceAccountName" . }}',
                }
            },
        },
    )


def third(collector):
    """No role, no budget: they are somebody else's business."""
    return merged(
        second(collector),
        {
            "rbac": {"create": False, "controller": {"jobsNamespaces": TENANTS}},
            "pdb": {"enabled": False},
            "autoscaling": {"enabled": False},
            "replicaCount": 1,
            "lifecycle": {"preStop": None},
        },
    )
