"""A release as the Rust program's chart leaves it: names, labels and CRDs of contract and chart 0.4.14, under Helm."""

import copy

import yaml

from git_events_runner.resources.crds import crds
from tests.e2e.images import ROOT

FINALIZER = "scheduletriggers.git-events-runner.rs"
_OLD_STATUS = ("state", "lastRun", "checkedSources")
_OLD_ENTRY = ("commitHash", "fileHash", "changed")
_LABELS = {"app.kubernetes.io/name": "git-events-runner", "app.kubernetes.io/instance": "ger"}
_NAME = "ger-git-events-runner"


def old_crds():
    """The six CRDs without what is ours: short names, conditions, the ledger's fields."""
    found = copy.deepcopy(list(crds()))
    for crd in found:
        for name in ("shortNames", "categories"):
            crd["spec"]["names"].pop(name, None)
        version = crd["spec"]["versions"][0]
        version["additionalPrinterColumns"] = [{"name": "State", "type": "string", "jsonPath": ".status.state"}]
        properties = version["schema"]["openAPIV3Schema"]["properties"]
        if "checkedSources" not in properties["status"]["properties"]:
            del properties["status"]
            continue
        status = properties["status"]["properties"]
        entry = status["checkedSources"]["additionalProperties"]
        entry["properties"] = {name: entry["properties"][name] for name in _OLD_ENTRY}
        properties["status"]["properties"] = {name: status[name] for name in _OLD_STATUS}
    return found


def write_chart(folder, image):
    """The chart, its container an image that only waits."""
    (folder / "crds").mkdir(parents=True)
    (folder / "templates").mkdir()
    chart = {"apiVersion": "v2", "name": "git-events-runner", "version": "0.4.14", "appVersion": "0.4.15"}
    (folder / "Chart.yaml").write_text(yaml.safe_dump(chart))
    (folder / "crds" / "crds.yaml").write_text(yaml.safe_dump_all(old_crds()))
    (folder / "templates" / "all.yaml").write_text(yaml.safe_dump_all(_objects(image)))
    return folder


def _objects(image):
    labels = _LABELS | {"app.kubernetes.io/managed-by": "Helm", "helm.sh/chart": "git-events-runner-0.4.14"}
    context = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {"name": "git-events-runner", "image": image, "securityContext": context}
    pod = {"serviceAccountName": _NAME, "containers": [container], "terminationGracePeriodSeconds": 1}
    ports = [{"name": "webhook", "port": 8080, "targetPort": "webhook"}]
    config = (ROOT / "tests" / "e2e" / "original-config.yaml").read_text()
    for kind, api, name, fields in (
        ("ServiceAccount", "v1", _NAME, {}),
        ("ServiceAccount", "v1", f"{_NAME}-action-job", {}),
        ("ConfigMap", "v1", f"{_NAME}-config", {"data": {"runtimeConfig": config}}),
        ("Service", "v1", _NAME, {"spec": {"selector": _LABELS, "ports": ports}}),
        (
            "Deployment",
            "apps/v1",
            _NAME,
            {
                "spec": {
                    "replicas": 1,
                    "selector": {"matchLabels": _LABELS},
                    "template": {"metadata": {"labels": labels}, "spec": pod},
                }
            },
        ),
    ):
        yield {"apiVersion": api, "kind": kind, "metadata": {"name": name, "labels": labels}, **fields}
