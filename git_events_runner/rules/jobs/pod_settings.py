"""The pod settings of an Action that the `baseline` Pod Security Standard does not allow.

https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline, for those fields that an Action has. The
namespace's own label has the same effect where it is set; this check applies where it is not. The chart's admission
policy reports it to the author.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from git_events_runner.resources.actions import ActionJob

CAPABILITIES = (
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
)
SELINUX_TYPES = ("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t")
SYSCTLS = (
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
)
APPARMOR_ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"


def beyond_baseline(action: ActionJob) -> str | None:
    """The first of an Action's pod settings that is not allowed, and what to do; None: all are."""
    return next(_problems(action), None)


def _problems(action: ActionJob) -> Iterator[str]:
    for index, volume in enumerate(action.volumes or ()):
        if volume.get("hostPath") is not None:
            yield f"spec.actionJob.volumes[{index}].hostPath: a folder of the node may not be mounted"
    for name, value in (action.annotations or {}).items():
        allowed = value in {"", "runtime/default"} or value.startswith("localhost/")
        if name.startswith(APPARMOR_ANNOTATION) and not allowed:
            yield f"spec.actionJob.annotations: {name} may only be runtime/default or localhost/…"
    contexts = {"podSecurityContext": action.pod_security_context, "securityContext": action.security_context}
    for field, context in contexts.items():
        for inner, problem in _of_context(context or {}):
            yield f"spec.actionJob.{field}.{inner}: {problem}"


def _of_context(context: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if context.get("privileged") is True:
        yield "privileged", "a container may not be privileged"
    for capability in _list(_map(context.get("capabilities")).get("add")):
        if capability not in CAPABILITIES:
            yield "capabilities.add", f"{capability} is none of {', '.join(CAPABILITIES)}"
    if context.get("procMount") not in (None, "Default"):
        yield "procMount", "must be Default"
    for profile in ("seccompProfile", "appArmorProfile"):
        if _map(context.get(profile)).get("type") == "Unconfined":
            yield f"{profile}.type", "may not be Unconfined"
    yield from _of_labels(_map(context.get("seLinuxOptions")))
    if _map(context.get("windowsOptions")).get("hostProcess") is True:
        yield "windowsOptions.hostProcess", "may not be a process of the host"
    for sysctl in _list(context.get("sysctls")):
        if _map(sysctl).get("name") not in SYSCTLS:
            yield "sysctls", f"{_map(sysctl).get('name')} is none of {', '.join(SYSCTLS)}"


def _of_labels(labels: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if labels.get("type") is not None and labels["type"] not in SELINUX_TYPES:
        yield "seLinuxOptions.type", f"must be one of {', '.join(filter(None, SELINUX_TYPES))}"
    for field in ("user", "role"):
        if labels.get(field):
            yield f"seLinuxOptions.{field}", "may not be set"


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (list, tuple)) else ()
