"""Binds exactly the chart's roles for the users that play replicas, in a namespace of their own."""

import contextlib
from pathlib import Path

import yaml

from tests.cluster.api import Refused

_INSTALL = Path(__file__).parents[2] / "manifests" / "install.yaml"
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
CLUSTER_EVENTS = "default"  # the namespace of Events about objects without one
USERS = [{"kind": "User", "name": f"replica-{n}", "apiGroup": "rbac.authorization.k8s.io"} for n in range(4)]


def roles():
    """The chart's roles and bindings, as the plain manifests have them."""
    found = yaml.load_all(_INSTALL.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return [one for one in found if one["apiVersion"].startswith("rbac.")]


def bind(api, namespace):
    """Bind every role, with the namespace in place of the installation's; what all share may be there already."""
    for found in roles():
        kind, metadata = found["kind"], dict(found["metadata"])
        if kind == "ClusterRole":
            continue
        shared = kind == "ClusterRoleBinding" or metadata["namespace"] == CLUSTER_EVENTS
        if kind == "ClusterRoleBinding":
            path = f"{_RBAC}/clusterrolebindings"
        else:
            metadata["namespace"] = metadata["namespace"] if shared else namespace
            path = f"{_RBAC}/namespaces/{metadata['namespace']}/{kind.lower()}s"
        body = found | {"metadata": metadata}
        if "subjects" in body:
            body["subjects"] = USERS
        with contextlib.suppress(Refused) if shared else contextlib.nullcontext():
            api.post(path, body)
    return namespace


def grant(api, namespace, kind, name, subjects):
    """Bind a Role or ClusterRole in a namespace."""
    group = "rbac.authorization.k8s.io"
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name.replace(":", "-")},
        "roleRef": {"apiGroup": group, "kind": kind, "name": name},
        "subjects": subjects,
    }
    api.post(f"{_RBAC}/namespaces/{namespace}/rolebindings", binding)


def let_read_secrets(api, namespace):
    """Let the replicas read Secrets of a namespace, by the chart's role."""
    grant(api, namespace, "ClusterRole", "git-events-runner-controller-secrets", USERS)
