"""Manifests of every kind, and what a person, a template or a careless script makes of them."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

OURS = "git-events-runner.rs/v1alpha1"
ANY_TIME = "2026-01-01T00:00:00Z"
_SCALARS: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**63 - 1, 1.5, "", " ", "x", "1", "true", "a b", "é", "../x", "\n", "X" * 300,
    [], {}, ["x"], [1], [None], [{}], {"x": "y"}, {"x": None}, {"": ""}, {"name": "x"},
)  # fmt: skip


def _metadata(name: str, **more: Any) -> dict[str, Any]:
    marks = {"labels": {"app": "web"}, "annotations": {"note": "as it is"}, "finalizers": ["example.com/hold"]}
    return {"name": name, **marks, **more}


def _auth(kind: str) -> dict[str, Any]:
    return {"type": kind, "secretRef": {"name": "forge"}, "keys": {"token": "token"}}


ACTION_JOB: dict[str, Any] = {
    "workdir": "/work",
    "clonerImage": "registry.test/cloner:1",
    "actionImage": "registry.test/worker:1",
    "command": ["sh", "-c"],
    "args": ["true"],
    "serviceAccount": "builder",
    "labels": {"team": "web"},
    "annotations": {"note": "x"},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 1}],
    "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}]}}},
    "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "forge", "key": "a"}}}],
    "envFrom": [{"prefix": "C_", "configMapRef": {"name": "settings", "optional": True}}],
    "resources": {"limits": {"cpu": 1, "memory": "64Mi"}, "requests": {"cpu": "100m"}},
    "volumes": [{"name": "cache", "emptyDir": {"sizeLimit": "1Gi"}}, {"name": "s", "secret": {"secretName": "forge"}}],
    "volumeMounts": [{"name": "cache", "mountPath": "/cache", "readOnly": True}],
    "imagePullSecrets": [{"name": "forge"}],
    "imagePullPolicy": "Always",
    "priorityClassName": "low",
    "runtimeClassName": "plain",
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": {}}}
    ],
    "podSecurityContext": {"fsGroup": 1, "sysctls": [{"name": "a", "value": "b"}]},
    "securityContext": {"runAsUser": 1000, "capabilities": {"drop": ["ALL"]}},
    "backoffLimit": 0,
    "podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]},
    "ttlSecondsAfterFinished": 60,
    "activeDeadlineSeconds": 60,
    "jobWaitingTimeoutSeconds": 60,
    "startTimeoutSeconds": 60,
    "enableClonerDebug": True,
    "preserveGitFolder": True,
    "clone": {"depth": 0, "tags": True, "filter": "blob:none", "sparse": ["/docs/"],
              "submodules": True, "submoduleHosts": ["git.example"], "lfs": True},
}  # fmt: skip
_SOURCES = {
    "kind": "GitRepo",
    "names": ["app"],
    "watchOn": {"onChangeOnly": True, "reference": {"branch": "main"}, "files": ["*.md", "!docs/"]},
}
_ALLOWED = {
    "names": ["team"],
    "selector": {
        "matchLabels": {"a": "b"},
        "matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}],
    },
}
_REPO = {
    "repoUri": "https://git.test/team/app.git",
    "tlsConfig": {"noVerifySsl": False, "caCert": {"secretRef": {"name": "forge"}, "key": "token"}},
    "authConfig": _auth("token"),
    "proxy": {"url": "http://proxy.test:3128"},
}
SEEDS: tuple[dict[str, Any], ...] = (
    {"apiVersion": "v1", "kind": "Namespace", "metadata": _metadata("extra"), "spec": {"finalizers": ["kubernetes"]}},
    {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata("forge"),
        "type": "Opaque",
        "immutable": True,
        "data": {"token": "QmVhcmVyIHg=", "user.name": ""},
        "stringData": {"a": "x"},
    },
    {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata("tls"),
        "type": "kubernetes.io/tls",
        "data": {"tls.crt": "eA==", "tls.key": "eA=="},
    },
    {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata("settings"),
        "immutable": False,
        "data": {"LEVEL": "debug"},
        "binaryData": {"logo": "aGVsbG8="},
    },
    {"apiVersion": OURS, "kind": "GitRepo", "metadata": _metadata("app"), "spec": _REPO},
    {
        "apiVersion": OURS,
        "kind": "ClusterGitRepo",
        "metadata": _metadata("shared"),
        "spec": {**_REPO, "allowedNamespaces": _ALLOWED},
    },
    {
        "apiVersion": OURS,
        "kind": "Action",
        "metadata": _metadata("deploy"),
        "spec": {
            "actionJob": ACTION_JOB,
            "sourceOverride": {"kind": "GitRepo", "name": "app", "reference": {"tag": "v1"}},
        },
    },
    {
        "apiVersion": OURS,
        "kind": "ClusterAction",
        "metadata": _metadata("deploy-anywhere"),
        "spec": {"actionJob": {"command": ["true"]}, "allowedNamespaces": _ALLOWED},
    },
    {
        "apiVersion": OURS,
        "kind": "ScheduleTrigger",
        "metadata": _metadata("nightly"),
        "spec": {
            "sources": _SOURCES,
            "schedule": {"interval": "1h"},
            "action": {"kind": "Action", "name": "deploy"},
        },
    },
    {
        "apiVersion": OURS,
        "kind": "WebhookTrigger",
        "metadata": _metadata("push"),
        "spec": {
            "sources": _SOURCES,
            "schedule": {"cron": "0 3 * * *"},
            "action": {"kind": "Action", "name": "deploy"},
            "webhook": {
                "multiSource": True,
                "authConfig": {"type": "hmac", "secretRef": {"name": "forge"}, "key": "token", "header": "X-Sig"},
            },
        },
    },
)


def mutated(seed: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """The manifest with one to three changes, anywhere but in what says which object it is."""
    found = copy.deepcopy(seed)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        places = [place for place in _places(found, ()) if place not in {("apiVersion",), ("kind",), ("metadata",)}]
        places = [place for place in places if place != ("metadata", "name")]
        _change(found, chance.choice(places), chance)
    return found


def _places(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield from _places(inner, (*path, key))


def _change(found: Any, path: tuple[Any, ...], chance: random.Random) -> None:
    parent = found
    for step in path[:-1]:
        parent = parent[step]
    key = path[-1]
    match chance.randrange(6):
        case 0:
            del parent[key]
        case 1 if isinstance(parent, dict):  # a field of another name
            parent[f"{key}s" if chance.random() < 0.5 else str(key)[:-1]] = parent.pop(key)
        case 2 if isinstance(parent, dict):  # a field that is none
            parent["extra"] = copy.deepcopy(chance.choice(_SCALARS))
        case 3 if isinstance(parent, list):  # twice
            parent.append(copy.deepcopy(parent[key]))
        case 4:  # what is below it in its place, or it in a list
            inner = parent[key]
            parent[key] = next(iter(inner.values())) if isinstance(inner, dict) and inner else [inner]
        case _:
            parent[key] = copy.deepcopy(chance.choice(_SCALARS))
