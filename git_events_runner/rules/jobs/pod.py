"""The pod settings of an Action: what is refused, where each is set, how a failed clone shows in the Job.

They are the worker's (or the pod's where only a pod has them). None is set on the init container, which holds
credentials and satisfies the `restricted` Pod Security Standard with every Action.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from git_events_runner.resources.actions import ActionJob
from git_events_runner.resources.job import RESERVED

from .changes import folder_of

_MAX_RULES = 20
# What `securityContext` of a pod and of a container have in common: it is set on the worker alone.
_CONTAINER_FIELDS = frozenset(
    (
        "appArmorProfile",
        "runAsGroup",
        "runAsNonRoot",
        "runAsUser",
        "seLinuxOptions",
        "seccompProfile",
        "windowsOptions",
    )
)
_NETWORK = 5
CLONER_CODES = (2, 3, 4, _NETWORK, 6, 7)


def problems(action: ActionJob, *, workdir: str, volume_name: str) -> Iterator[str]:
    """Which of an Action's pod settings are invalid, in words for its author."""
    for index, volume in enumerate(action.volumes or ()):
        name = volume.get("name")
        if name == volume_name:
            yield f"spec.actionJob.volumes[{index}].name: {name} is the working directory's volume; choose another name"
    for field in ("volumes", "volume_mounts", "env", "env_from", "image_pull_secrets"):
        for index, item in enumerate(getattr(action, field) or ()):
            found = next((text for text in _texts(item) if text.startswith(RESERVED)), None)
            if found is not None:
                json_name = _JSON_NAMES[field]
                yield (
                    f"spec.actionJob.{json_name}[{index}]: names that begin with {RESERVED} are the controller's own "
                    f"(found {found[:100]}); choose another name"
                )
    for index, mount in enumerate(action.volume_mounts or ()):
        path = str(mount.get("mountPath") or "").rstrip("/")
        where = f"spec.actionJob.volumeMounts[{index}]"
        if mount.get("name") == volume_name:
            yield f"{where}.name: the worker has the working directory already; leave it out"
        elif path == workdir.rstrip("/"):
            yield f"{where}.mountPath: {path} is the working directory; choose another path"
        elif path == folder_of(workdir):
            yield f"{where}.mountPath: {path} has the list of changed files; choose another path"


_JSON_NAMES = {
    "volumes": "volumes",
    "volume_mounts": "volumeMounts",
    "env": "env",
    "env_from": "envFrom",
    "image_pull_secrets": "imagePullSecrets",
}


def _texts(value: Any) -> Iterator[str]:
    """Every text that could name an object: all but those under `value` and `mountPath`, which are the user's own."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            if name not in {"value", "mountPath", "subPath", "subPathExpr", "path", "key", "prefix"}:
                yield from _texts(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts(inner)


def settle_worker(worker: dict[str, Any], action: ActionJob) -> None:
    """Add the Action's settings to the worker; our own variables and mounts stay and come first."""
    worker["env"] = [*worker["env"], *_copied(action.env or ())]
    worker["volumeMounts"] = [*worker["volumeMounts"], *_copied(action.volume_mounts or ())]
    settings: dict[str, Any] = {
        "envFrom": _copied(action.env_from or ()),
        "resources": dict(action.resources or {}),
        "imagePullPolicy": action.image_pull_policy,
    }
    pod_context = action.pod_security_context or {}
    context = {
        **(worker.get("securityContext") or {}),
        **{name: value for name, value in pod_context.items() if name in _CONTAINER_FIELDS},
        **(action.security_context or {}),
    }
    worker |= {name: value for name, value in {**settings, "securityContext": context}.items() if value}


def settle_pod(pod: dict[str, Any], action: ActionJob) -> None:
    """Add the Action's settings to the pod; our volumes come first."""
    pod["volumes"] = [*pod["volumes"], *_copied(action.volumes or ())]
    context = {n: v for n, v in (action.pod_security_context or {}).items() if n not in _CONTAINER_FIELDS}
    pod["securityContext"] = {**pod["securityContext"], **context}
    settings = {
        "imagePullSecrets": _copied(action.image_pull_secrets or ()),
        "priorityClassName": action.priority_class_name,
        "runtimeClassName": action.runtime_class_name,
        "topologySpreadConstraints": _copied(action.topology_spread_constraints or ()),
        "nodeSelector": dict(action.node_selector or {}),
        "tolerations": _copied(action.tolerations or ()),
        "affinity": dict(action.affinity or {}),
    }
    pod |= {name: value for name, value in settings.items() if value}


def failure_policy(action: ActionJob, cloner: str, worker: str) -> dict[str, Any]:
    """The Job's pod failure policy: the Action's rules, then ours, which put exit codes into the Job's condition.

    https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-failure-policy: the first rule that matches
    decides, and `FailJob` writes container and exit code into the condition, so that no right on pods is needed. Only
    an unreachable server is worth another pod; a failed worker ends the Job where `backoffLimit` allows no other.
    """
    rules = _copied((action.pod_failure_policy or {}).get("rules") or ())
    retried = bool(action.backoff_limit)
    codes = [code for code in CLONER_CODES if not (retried and code == _NETWORK)]
    exits = {"containerName": cloner, "operator": "In", "values": codes}
    ours = [{"action": "FailJob", "onExitCodes": exits}]
    if not retried:
        ours.append({"action": "FailJob", "onExitCodes": {"containerName": worker, "operator": "NotIn", "values": [0]}})
    return {**(action.pod_failure_policy or {}), "rules": [*rules, *ours][: max(_MAX_RULES, len(rules))]}


def may_be_replaced(action: ActionJob) -> bool:
    """Whether Kubernetes may start another pod of the same Job: after a failure, or one that a rule ignores."""
    rules = (action.pod_failure_policy or {}).get("rules") or ()
    return bool(action.backoff_limit) or any(rule.get("action") == "Ignore" for rule in rules)


def _copied(items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [dict(item) for item in items]
