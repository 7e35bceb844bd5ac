"""The Job of a run: manifest, labels, variables, and which Secret keys its init container may see.

Fields, names and variables are those of v0.4 (docs/reference.md). This version adds the derived name, the run
annotations, credentials mounted into the init container alone, no token on the pod, tracking labels that win.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from git_events_runner.resources.actions import ActionJob
from git_events_runner.resources.clone_options import OPTIONS_VARIABLE
from git_events_runner.resources.description import REFERENCE_VARIABLE, SECRET_DIR, SOURCE_VARIABLE, WAIT_VARIABLE
from git_events_runner.resources.job import (
    ADMISSION_ANNOTATION,
    ADMITTED,
    ELSEWHERE,
    KUEUE_LABEL,
    WAITING,
    copy_name,
)
from git_events_runner.resources.kinds import GROUP, VERSION

from . import changes
from .event import event_of
from .labels import READ_BACK, run_annotations, tracking_labels
from .pod import failure_policy, may_be_replaced, settle_pod, settle_worker
from .run import JobDefaults, Run

TOKEN_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105  a path, not a secret
_CLONER_UID = 65532
_COPY_WAIT_S = 180
_RESTRICTED: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def literal(value: str) -> str:
    """A value that the kubelet must not expand: `$` doubled.

    >>> literal("x$(HOME)")
    'x$$(HOME)'
    """
    return value.replace("$", "$$")


def variables(run: Run, defaults: JobDefaults, workdir: str) -> list[dict[str, str]]:
    """The worker's environment: v0.4's names, then those of the run."""
    watched, trigger, cloned = run.watched, run.trigger, run.clone.pointer
    named = {
        "WORKDIR": workdir,
        "TRIGGER_KIND": trigger.kind,
        "TRIGGER_NAME": trigger.name,
        "TRIGGER_SOURCE_KIND": watched.source.kind,
        "TRIGGER_SOURCE_NAME": watched.source.name,
        "TRIGGER_SOURCE_NAMESPACE": watched.source.namespace,
        "TRIGGER_SOURCE_COMMIT": run.commit,
        "TRIGGER_SOURCE_REF_TYPE": watched.ref_type,
        "TRIGGER_SOURCE_REF_NAME": watched.ref_name,
    }
    if run.override:
        named |= {
            "ACTION_SOURCE_KIND": cloned.source.kind,
            "ACTION_SOURCE_NAME": cloned.source.name,
            "ACTION_SOURCE_NAMESPACE": cloned.source.namespace,
            "ACTION_SOURCE_REF_TYPE": cloned.ref_type,
            "ACTION_SOURCE_REF_NAME": cloned.ref_name,
        }
    named |= {
        "EVENT": event_of(run.reason),
        "TRIGGER_SOURCE_PREVIOUS_COMMIT": run.previous_commit,
        "PULL_REQUEST_NUMBER": run.pull.number if run.pull is not None else None,
        "PULL_REQUEST_TARGET": run.pull.target if run.pull is not None else None,
        "RUN_NUMBER": str(run.key.number),
        "RUN_ATTEMPT": str(run.attempt.number),
        "CHANGED_FILES": changes.file_of(workdir),
    }
    prefix = defaults.variables_prefix
    return [{"name": prefix + name, "value": literal(value)} for name, value in named.items() if value is not None]


def manifest(run: Run, action: ActionJob, defaults: JobDefaults) -> dict[str, Any]:
    """The batch/v1 Job (https://kubernetes.io/docs/concepts/workloads/controllers/job/), without its TTL.

    The leader adds the TTL once the run is settled, so that a Job cannot be deleted unsettled.
    """
    namespace = run.trigger.namespace
    needs_copy = any(keys.namespace != namespace for keys in run.clone.secrets)
    labels = {**(action.labels or {}), **tracking_labels(run)}
    own = run_annotations(run, action, defaults, needs_copy=needs_copy)
    annotations = {n: value for n, value in (action.annotations or {}).items() if n not in READ_BACK} | own
    admission = ELSEWHERE if KUEUE_LABEL in labels else WAITING if run.suspend or needs_copy else ADMITTED
    deadline = defaults.active_deadline_s if action.active_deadline_seconds is None else action.active_deadline_seconds
    if defaults.max_active_deadline_s:
        deadline = min(deadline, defaults.max_active_deadline_s)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": run.name,
            "namespace": namespace,
            "labels": labels,
            "annotations": {**annotations, ADMISSION_ANNOTATION: admission},
            "ownerReferences": [
                {
                    "apiVersion": f"{GROUP}/{VERSION}",
                    "kind": run.action.kind,
                    "name": run.action.name,
                    "uid": run.action_uid,
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": {
            "backoffLimit": action.backoff_limit or 0,
            "podFailurePolicy": failure_policy(action, defaults.cloner_name, defaults.worker_name),
            "parallelism": 1,
            "suspend": admission != ADMITTED,
            "activeDeadlineSeconds": deadline,
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": _pod(run, action, defaults, needs_copy=needs_copy),
            },
        },
    }


def _pod(run: Run, action: ActionJob, defaults: JobDefaults, *, needs_copy: bool) -> dict[str, Any]:
    workdir = action.workdir or defaults.workdir
    isolated = run.pull is not None and run.pull.isolated
    account = None if isolated else action.service_account or defaults.service_account
    assigned = run.security.assigned_ids
    group = {} if assigned else {"fsGroup": _CLONER_UID}
    work_mount = {"name": defaults.volume_name, "mountPath": workdir}
    token_mount = {"name": "git-events-runner-token", "mountPath": TOKEN_FOLDER, "readOnly": True}
    source_mount = {"name": "git-events-runner-source", "mountPath": SECRET_DIR, "readOnly": True}
    volumes: list[dict[str, Any]] = [{"name": defaults.volume_name, "emptyDir": _empty_dir(defaults)}]
    volumes.append(changes.volume())
    cloner_mounts: list[dict[str, Any]] = [work_mount, changes.mount(workdir, read_only=False)]
    worker_mounts: list[dict[str, Any]] = [work_mount, changes.mount(workdir, read_only=True)]
    if run.clone.secrets:
        volumes.append({"name": source_mount["name"], "projected": _projection(run, action, needs_copy=needs_copy)})
        cloner_mounts.append(source_mount)
    if account or defaults.cloner_api_token:
        volumes.append({"name": token_mount["name"], "projected": _token_projection()})
        if account:
            worker_mounts.append(token_mount)
        if defaults.cloner_api_token:
            cloner_mounts.append(token_mount)
    cloner: dict[str, Any] = {
        "name": defaults.cloner_name,
        "image": action.cloner_image or defaults.cloner_image,
        "args": _cloner_arguments(run, action, workdir),
        "env": _cloner_environment(run, action, workdir, needs_copy=needs_copy),
        "volumeMounts": cloner_mounts,
        "securityContext": dict(_RESTRICTED) if assigned else {**_RESTRICTED, "runAsUser": _CLONER_UID},
    }
    worker: dict[str, Any] = {
        "name": defaults.worker_name,
        "image": action.action_image or defaults.worker_image,
        "env": variables(run, defaults, workdir),
        "workingDir": workdir,
        "volumeMounts": worker_mounts,
    }
    if defaults.cloner_resources:
        cloner["resources"] = dict(defaults.cloner_resources)
    if run.security.restricted:
        worker["securityContext"] = dict(_RESTRICTED)
    if action.command is not None:
        worker["command"] = list(action.command)
    if action.args is not None:
        worker["args"] = list(action.args)
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}} | group,
        "initContainers": [cloner],
        "containers": [worker],
        "volumes": volumes,
    }
    if account:
        pod["serviceAccountName"] = account
    settle_worker(worker, action)
    _settle_resources(worker, run, action, defaults)
    settle_pod(pod, action)
    return pod


def _settle_resources(worker: dict[str, Any], run: Run, action: ActionJob, defaults: JobDefaults) -> None:
    """Add what a quota of the namespace requires of the worker."""
    resources = run.compute.complete(
        worker.get("resources") or {},
        cloner=defaults.cloner_resources,
        defaults=defaults.quota_resources,
        priority_class=action.priority_class_name,
    )
    if resources:
        worker["resources"] = resources


def _empty_dir(defaults: JobDefaults) -> dict[str, str]:
    """The working directory's volume; the kubelet evicts a pod that writes more than `sizeLimit` into it."""
    return {"sizeLimit": defaults.workdir_size_limit} if defaults.workdir_size_limit else {}


def _cloner_environment(run: Run, action: ActionJob, workdir: str, *, needs_copy: bool) -> list[dict[str, Any]]:
    found = [{"name": SOURCE_VARIABLE, "value": literal(run.clone.description)}]
    found += changes.cloner_variables(workdir, run.previous_commit, override=run.override)
    if action.clone is not None and (options := action.clone.options.to_json()):
        found.append({"name": OPTIONS_VARIABLE, "value": literal(options)})
    pointer = run.clone.pointer
    if action.preserve_git_folder and not run.override and pointer.ref_type in {"branch", "tag"}:
        found.append({"name": REFERENCE_VARIABLE, "value": literal(f"{pointer.ref_type} {pointer.ref_name}")})
    if needs_copy:
        found.append({"name": WAIT_VARIABLE, "value": str(_COPY_WAIT_S)})
    return found


def _cloner_arguments(run: Run, action: ActionJob, workdir: str) -> list[str]:
    pointer = run.clone.pointer
    what = (pointer.ref_type, pointer.ref_name) if run.override else ("commit", run.commit)
    arguments = ["--kind", pointer.source.kind, "--source", literal(pointer.source.name)]
    arguments += [f"--{what[0]}", literal(what[1]), "--destination", literal(workdir)]
    if action.preserve_git_folder:
        arguments.append("--preserve-git-folder")
    if action.enable_cloner_debug:
        arguments.append("--debug")
    return arguments


def _projection(run: Run, action: ActionJob, *, needs_copy: bool) -> dict[str, Any]:
    """The Secret keys as files; a copy holds the files under their final names.

    A copy is deleted once the cloner is done. A kubelet reports a deleted Secret that a running pod mounts,
    unless it is optional; our cloner then waits for the files. With another cloner, and where a pod may be replaced,
    the copy stays to the end.
    """
    if needs_copy:
        files = {name: name for keys in run.clone.secrets for name in keys.files.values()}
        optional = tuple(name for keys in run.clone.secrets for name in keys.optional)
        sources = _secret_sources(copy_name(run.name), files, optional)
        if not (may_be_replaced(action) or action.cloner_image):
            sources[0]["secret"]["optional"] = True
    else:
        sources = [
            source for keys in run.clone.secrets for source in _secret_sources(keys.name, keys.files, keys.optional)
        ]
    return {"defaultMode": 0o444, "sources": sources}


def _secret_sources(name: str, files: Mapping[str, str], optional: tuple[str, ...]) -> list[dict[str, Any]]:
    """A Secret's keys; those that may be missing are in a source of their own: `optional` holds for all keys of one."""
    items = [{"key": key, "path": path} for key, path in sorted(files.items())]
    sources: list[dict[str, Any]] = [{"secret": {"name": name, "items": items}}]
    if optional:
        some = [{"key": key, "path": key} for key in optional]
        sources.append({"secret": {"name": name, "optional": True, "items": some}})
    return sources


def _token_projection() -> dict[str, Any]:
    """The token that Kubernetes itself would mount, at the paths where clients read it."""
    root = {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    return {
        "defaultMode": 0o444,
        "sources": [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
            {"configMap": root},
            {"downwardAPI": {"items": [namespace]}},
        ],
    }


def secret_copy(job: Mapping[str, Any], data: Mapping[str, str]) -> dict[str, Any]:
    """The Secret that a Job owns when its source's credential is in another namespace; values base64."""
    metadata = job["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": copy_name(metadata["name"]),
            "namespace": metadata["namespace"],
            "labels": {"app.kubernetes.io/managed-by": "git-events-runner"},
            "ownerReferences": [
                {"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"], "uid": metadata["uid"]}
            ],
        },
        "data": dict(data),
    }
