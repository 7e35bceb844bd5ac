"""What the API server does to Jobs: defaults, limits, what cannot change.

https://kubernetes.io/docs/concepts/workloads/controllers/job/

Only what this program's Jobs use; other fields of pods pass unchecked below the names in the tables.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from .refusal import Cause

_SPEC = (
    "activeDeadlineSeconds",
    "backoffLimit",
    "backoffLimitPerIndex",
    "completionMode",
    "completions",
    "managedBy",
    "manualSelector",
    "maxFailedIndexes",
    "parallelism",
    "podFailurePolicy",
    "podReplacementPolicy",
    "selector",
    "successPolicy",
    "suspend",
    "template",
    "ttlSecondsAfterFinished",
)
_STATUS = (
    "active",
    "completedIndexes",
    "completionTime",
    "conditions",
    "failed",
    "failedIndexes",
    "ready",
    "startTime",
    "succeeded",
    "terminating",
    "uncountedTerminatedPods",
)
_POD = (
    "activeDeadlineSeconds",
    "affinity",
    "automountServiceAccountToken",
    "containers",
    "dnsConfig",
    "dnsPolicy",
    "enableServiceLinks",
    "ephemeralContainers",
    "hostAliases",
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "hostUsers",
    "hostname",
    "hostnameOverride",
    "imagePullSecrets",
    "initContainers",
    "nodeName",
    "nodeSelector",
    "os",
    "overhead",
    "preemptionPolicy",
    "priority",
    "priorityClassName",
    "readinessGates",
    "resourceClaims",
    "resources",
    "restartPolicy",
    "runtimeClassName",
    "schedulerName",
    "schedulingGates",
    "securityContext",
    "serviceAccount",
    "serviceAccountName",
    "setHostnameAsFQDN",
    "shareProcessNamespace",
    "subdomain",
    "terminationGracePeriodSeconds",
    "tolerations",
    "topologySpreadConstraints",
    "volumes",
)
_CONTAINER = (
    "args",
    "command",
    "env",
    "envFrom",
    "image",
    "imagePullPolicy",
    "lifecycle",
    "livenessProbe",
    "name",
    "ports",
    "readinessProbe",
    "resizePolicy",
    "resources",
    "restartPolicy",
    "restartPolicyRules",
    "securityContext",
    "startupProbe",
    "stdin",
    "stdinOnce",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "tty",
    "volumeDevices",
    "volumeMounts",
    "workingDir",
)
_CHANGEABLE_WHILE_SUSPENDED = ("nodeSelector", "affinity", "tolerations", "schedulingGates")
_LABEL_CHARS = 63


def unknown_fields(job: Mapping[str, Any]) -> Iterator[str]:
    """Paths of fields that a Job does not have."""
    yield from _unknown(job, ("apiVersion", "kind", "metadata", "spec", "status"), "")
    spec = job.get("spec") or {}
    yield from _unknown(spec, _SPEC, "spec.")
    yield from _unknown(job.get("status") or {}, _STATUS, "status.")
    template = spec.get("template") or {}
    yield from _unknown(template, ("metadata", "spec"), "spec.template.")
    pod = template.get("spec") or {}
    yield from _unknown(pod, _POD, "spec.template.spec.")
    for role in ("initContainers", "containers"):
        for index, container in enumerate(pod.get(role) or ()):
            yield from _unknown(container, _CONTAINER, f"spec.template.spec.{role}[{index}].")


def _unknown(obj: Mapping[str, Any], known: tuple[str, ...], prefix: str) -> Iterator[str]:
    yield from (prefix + name for name in sorted(obj) if name not in known)


def default(job: dict[str, Any]) -> None:
    """Set a new Job's defaults in place; it must have its uid."""
    spec = job.setdefault("spec", {})
    if spec.get("parallelism") is None and spec.get("completions") is None:
        spec["completions"] = 1
    values = {"parallelism": 1, "backoffLimit": 6, "completionMode": "NonIndexed", "suspend": False}
    values["podReplacementPolicy"] = "TerminatingOrFailed"
    for name, value in values.items():
        if spec.get(name) is None:
            spec[name] = value
    uid, name = job["metadata"]["uid"], job["metadata"]["name"]
    tracking = {"controller-uid": uid, "job-name": name}
    tracking |= {f"batch.kubernetes.io/{key}": value for key, value in tracking.items()}
    template = spec.setdefault("template", {})
    metadata = template.setdefault("metadata", {})
    metadata["labels"] = {**(metadata.get("labels") or {}), **tracking}
    spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}


def problems(job: Mapping[str, Any]) -> Iterator[Cause]:
    """What is wrong with a new Job."""
    spec = job["spec"]
    for name in ("activeDeadlineSeconds", "ttlSecondsAfterFinished", "backoffLimit", "parallelism"):
        value = spec.get(name)
        if value is not None and (not isinstance(value, int) or value < 0):
            yield Cause(field=f"spec.{name}", message=f"Invalid value: {value}: must be greater than or equal to 0")
    if len(job["metadata"]["name"]) > _LABEL_CHARS:
        labels = "spec.template.labels"
        yield Cause(field=labels, message=f'Invalid value: "{job["metadata"]["name"]}": must be no more than 63 bytes')
    pod = (spec.get("template") or {}).get("spec") or {}
    base = "spec.template.spec"
    if pod.get("restartPolicy") not in {"Never", "OnFailure"}:
        message = 'Required value: valid values: "OnFailure", "Never"'
        yield Cause(field=f"{base}.restartPolicy", message=message, reason="FieldValueRequired")
    if not pod.get("containers"):
        yield Cause(field=f"{base}.containers", message="Required value", reason="FieldValueRequired")
    volumes = {volume.get("name") for volume in pod.get("volumes") or ()}
    for role in ("initContainers", "containers"):
        for index, container in enumerate(pod.get(role) or ()):
            yield from _container(container, volumes, f"{base}.{role}[{index}]")


def _container(container: Mapping[str, Any], volumes: set[Any], path: str) -> Iterator[Cause]:
    for name in ("name", "image"):
        if not container.get(name):
            yield Cause(field=f"{path}.{name}", message="Required value", reason="FieldValueRequired")
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        if mount.get("name") not in volumes:
            at = f"{path}.volumeMounts[{index}].name"
            yield Cause(field=at, message=f'Not found: "{mount.get("name")}"', reason="FieldValueNotFound")


def changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Cause]:
    """What an update of a Job changes although it cannot change."""
    before, after = old["spec"], new["spec"]
    for name in ("completions", "selector", "completionMode"):
        if before.get(name) != after.get(name):
            message = f"Invalid value: {after.get(name)}: field is immutable"
            yield Cause(field=f"spec.{name}", message=message)
    free = before.get("suspend") is True and not (old.get("status") or {}).get("startTime")
    if _fixed(before.get("template"), free=free) != _fixed(after.get("template"), free=free):
        yield Cause(field="spec.template", message="Invalid value: core.PodTemplateSpec{…}: field is immutable")


def _fixed(template: Any, *, free: bool) -> Any:
    """The part of a pod template that cannot change; a suspended Job never started may still be assigned elsewhere."""
    if not free or not isinstance(template, Mapping):
        return template
    fixed = copy.deepcopy(dict(template))
    fixed.pop("metadata", None)
    for name in _CHANGEABLE_WHILE_SUSPENDED:
        fixed.get("spec", {}).pop(name, None)
    return fixed


def wrong_status(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Cause]:
    """What an update of a Job's status may not state (finished without the steps before, finished undone)."""
    status = new.get("status") or {}
    before, after = _true(old), _true(new)
    for end, step in (("Complete", "SuccessCriteriaMet"), ("Failed", "FailureTarget")):
        if end in before and end not in after:
            yield Cause(field="status.conditions", message=f"Invalid value: cannot disable a terminal {end} condition")
        if end in after and end not in before and step not in after:
            message = f"Invalid value: cannot set {end}=True condition without the {step}=true condition"
            yield Cause(field="status.conditions", message=message)
    if "Complete" in after and not status.get("completionTime"):
        message = "Required value: completionTime is required for Complete jobs"
        yield Cause(field="status.completionTime", message=message, reason="FieldValueRequired")
    if after & {"Complete", "Failed"} and not (after & before & {"Complete", "Failed"}) and not status.get("startTime"):
        message = "Required value: startTime is required for finished jobs"
        yield Cause(field="status.startTime", message=message, reason="FieldValueRequired")


def _true(job: Mapping[str, Any]) -> set[str]:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return {condition.get("type") for condition in conditions if condition.get("status") == "True"}
