"""Writes `resources/podschema.json`: the parts of a pod that an Action may give, by the API server's own OpenAPI.

    python -m tests.cluster.podschema      (starts a kube-apiserver, reads /openapi/v3, writes the file)

What a CRD says more strictly than Kubernetes is loosened: null is as absent, an optional word may be empty, lists may
repeat a name, nothing is filled in. Bounds of numbers, which OpenAPI does not have, are from Kubernetes' validation.
"""

import json
import sys
import tempfile
from pathlib import Path

from tests.cluster import binaries
from tests.cluster.api import Api
from tests.cluster.plane import ControlPlane

FILE = Path(__file__).parents[2] / "git_events_runner" / "resources" / "podschema.json"
_CORE, _BATCH = "/openapi/v3/api/v1", "/openapi/v3/apis/batch/v1"
_PARTS = {
    "affinity": "core.v1.Affinity",
    "env": ["core.v1.EnvVar"],
    "envFrom": ["core.v1.EnvFromSource"],
    "imagePullSecrets": ["core.v1.LocalObjectReference"],
    "podFailurePolicy": "batch.v1.PodFailurePolicy",
    "podSecurityContext": "core.v1.PodSecurityContext",
    "resources": "core.v1.ResourceRequirements",
    "securityContext": "core.v1.SecurityContext",
    "tolerations": ["core.v1.Toleration"],
    "topologySpreadConstraints": ["core.v1.TopologySpreadConstraint"],
    "volumeMounts": ["core.v1.VolumeMount"],
    "volumes": ["core.v1.Volume"],
}
_KEPT = ("type", "format", "enum", "required")
_SAFE = 2**53 - 1  # a CRD holds bounds as floating-point numbers
_RANGES = {"int32": (-(2**31), 2**31 - 1), "int64": (-_SAFE, _SAFE)}
_USER, _MODE = (0, 2**31 - 1), (0, 0o777)
# By the name of the field. https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/validation/validation.go
_BOUNDS = {
    "weight": (1, 100),
    "maxSkew": (1, 2**31 - 1),
    "minDomains": (1, 2**31 - 1),
    "defaultMode": _MODE,
    "mode": _MODE,
    "runAsUser": _USER,
    "runAsGroup": _USER,
    "fsGroup": _USER,
    "supplementalGroups": _USER,
    "expirationSeconds": (600, 2**32),
    "lun": (0, 255),
    "partition": (0, 255),
}
# Values of Kubernetes versions after the one whose OpenAPI is read.
_NEWER = {"operator": {"Equal": ["Gt", "Lt"]}}
# Required by OpenAPI, and yet a Job without them is taken: tests/contract/test_pod_parts.py tries each of the others.
_NOT_NEEDED = {
    "io.k8s.api.batch.v1.PodFailurePolicyOnPodConditionsPattern": {"status"},
    "io.k8s.api.batch.v1.PodFailurePolicy": {"rules"},
    "io.k8s.api.core.v1.ISCSIVolumeSource": {"lun"},
    "io.k8s.api.core.v1.PreferredSchedulingTerm": {"preference"},
    "io.k8s.api.core.v1.ScaleIOVolumeSource": {"secretRef"},
    "io.k8s.api.core.v1.Sysctl": {"value"},
}
# A number or a text, as `0.5` or `500m`: no type of a CRD takes both, so each other type is shut out by itself.
_QUANTITY = {
    "x-kubernetes-preserve-unknown-fields": True,
    "pattern": r"^[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$",
    "maxItems": 0,
    "maxProperties": 0,
    "not": {"enum": [True, False]},
}


def made(api):
    """The schemas by the field of `spec.actionJob`, from an API server's OpenAPI."""
    known = {**api.get(_CORE)["components"]["schemas"], **api.get(_BATCH)["components"]["schemas"]}
    found = {}
    for field, kind in _PARTS.items():
        whole = {"$ref": f"/io.k8s.api.{kind[0] if isinstance(kind, list) else kind}"}
        schema = _structural(whole, known, field)
        found[field] = {"type": "array", "items": _optional(schema)} if isinstance(kind, list) else schema
    return found


def text(schemas):
    """The file's text."""
    return json.dumps(schemas, indent=1, sort_keys=True) + "\n"


def _structural(schema, known, field):
    schema = {**(schema.get("allOf") or [{}])[0], **schema}
    kind = schema.get("$ref", "").rpartition("/")[2]
    if kind.endswith("api.resource.Quantity"):
        return _QUANTITY
    schema = {**known.get(kind, {}), **schema}
    node = {name: schema[name] for name in _KEPT if name in schema}
    required = [name for name in node.pop("required", ()) if name not in _NOT_NEEDED.get(kind, ())]
    if required:
        node["required"] = required
    if "enum" in node:
        newer = [value for mark, values in _NEWER.get(field, {}).items() if mark in node["enum"] for value in values]
        node["enum"] = sorted({*node["enum"], *newer})
    if node.get("type") == "integer":
        node["minimum"], node["maximum"] = _BOUNDS.get(field) or _RANGES[node["format"]]
    if "properties" in schema:
        node["properties"] = {
            name: _optional(_structural(value, known, name), name in required)
            for name, value in schema["properties"].items()
        }
    if "items" in schema:
        node["items"] = _optional(_structural(schema["items"], known, field))
    if isinstance(schema.get("additionalProperties"), dict):
        node["additionalProperties"] = _optional(_structural(schema["additionalProperties"], known, field))
    return node


def _optional(node, required=False):
    if required:
        return node
    empty = {"enum": sorted({"", *node["enum"]})} if "enum" in node else {}
    return {**node, **empty, "nullable": True}


def main():
    """Write the file; the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        plane = ControlPlane(binaries.find(), Path(folder), controllers=False)
        try:
            FILE.write_text(text(made(Api(plane))), encoding="utf-8")
        finally:
            plane.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
