"""Parts of a Job that have no effect without a cluster: each is reported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_POD = (
    "serviceAccountName",
    "imagePullSecrets",
    "priorityClassName",
    "runtimeClassName",
    "topologySpreadConstraints",
    "nodeSelector",
    "tolerations",
    "affinity",
)
_NAMES = {"serviceAccountName": "serviceAccount"}  # where an Action has another name for it
_WORKER = ("resources", "imagePullPolicy", "securityContext")
_VOLUMES = frozenset(("name", "emptyDir", "secret", "configMap", "projected"))


def ignored(job: Mapping[str, Any]) -> list[str]:
    """Fields of the Action, as `spec.actionJob` has them, that a run as local processes takes no notice of.

    >>> ignored({"spec": {"template": {"spec": {"affinity": {"x": 1}, "containers": []}}}})
    ['affinity']
    >>> ignored({"spec": {"template": {"spec": {"serviceAccountName": "builder", "containers": []}}}})
    ['serviceAccount']
    """
    return list(dict.fromkeys(_ignored(job["spec"])))


def _ignored(spec: Mapping[str, Any]) -> Iterator[str]:
    pod = spec["template"]["spec"]
    yield from (_NAMES.get(name, name) for name in _POD if pod.get(name))
    for volume in pod.get("volumes") or ():
        if volume.keys() - _VOLUMES:
            yield f"volumes ({volume['name']} is an empty folder)"
    for worker in pod.get("containers") or ():
        yield from (name for name in _WORKER if worker.get(name))
