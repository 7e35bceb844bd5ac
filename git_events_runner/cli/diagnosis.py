"""Whether an installation is healthy: findings from what was read of it, each with what to do. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from git_events_runner.flow.crds import COMMAND, missing_fields
from git_events_runner.resources.job import JobView, timestamp
from git_events_runner.resources.kinds import OURS
from git_events_runner.rules import problems
from git_events_runner.rules.starting import is_not_starting
from git_events_runner.settings.runtime import VERSION

from .findings import counted
from .installation import Installation
from .notifier_findings import deliveries_of
from .output import duration

OK, WARNING, PROBLEM, UNKNOWN = "ok", "warning", "problem", "unknown"
_SKEW_S = 10.0
_RESTARTS = 5
_SHOWN = 5
_BACKS_OFF = frozenset(("RateLimited", "Unreachable", "Timeout", "TlsFailed"))
_LEASE_S = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check: its level, what was found, and what to do."""

    level: str
    topic: str
    text: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallationFacts:
    """What was read. None: it could not be read, and `unread` has the reason."""

    now: datetime
    skew_s: float | None = None
    definitions: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    rights: Mapping[str, bool] = field(default_factory=dict)
    installation: Installation = field(default_factory=Installation)
    pods: Sequence[Mapping[str, Any]] | None = None
    triggers: Sequence[Mapping[str, Any]] | None = None
    sources: Sequence[Mapping[str, Any]] = ()
    jobs: Sequence[Mapping[str, Any]] | None = None
    notifiers: Sequence[Mapping[str, Any]] = ()
    webhook: tuple[bool, str] | None = None
    unread: Mapping[str, str] = field(default_factory=dict)


def diagnose(facts: InstallationFacts) -> list[Finding]:
    """Every finding, in the order in which to read them."""
    found = [*_cluster(facts), *_controller(facts), *_config(facts), *_webhooks(facts), *_hosts(facts)]
    found += [*_triggers(facts), *_queue(facts), *_notifiers(facts)]
    return found + [
        Finding(level=UNKNOWN, topic="not read", text=f"{what}: {why}") for what, why in facts.unread.items()
    ]


def _cluster(facts: InstallationFacts) -> Iterator[Finding]:
    if facts.skew_s is not None and abs(facts.skew_s) > _SKEW_S:
        way = "ahead of" if facts.skew_s > 0 else "behind"
        text = f"this machine's clock is {duration(abs(facts.skew_s))} {way} the API server's"
        yield Finding(level=WARNING, topic="clock", text=text, remedy="check the time service of both")
    elif facts.skew_s is not None:
        yield Finding(level=OK, topic="clock", text="this machine and the API server agree on the time")
    missing = [kind for kind in OURS if kind in facts.definitions and facts.definitions[kind] is None]
    old = {
        kind: fields
        for kind, definition in facts.definitions.items()
        if definition is not None and (fields := missing_fields(kind, definition))
    }
    if missing:
        text = f"custom resource definitions are missing: {', '.join(missing)}"
        yield Finding(level=PROBLEM, topic="CRDs", text=text, remedy=f"install them: {COMMAND}")
    if old:
        kind, fields = next(iter(old.items()))
        text = f"{counted(len(old), 'definition')} older than this version ({kind} lacks {', '.join(fields[:3])})"
        yield Finding(level=PROBLEM, topic="CRDs", text=text, remedy=f"renew them: {COMMAND}")
    if facts.definitions and not missing and not old:
        yield Finding(
            level=OK, topic="CRDs", text=f"all {len(facts.definitions)} definitions have the fields of this version"
        )
    lacking = [what for what, allowed in facts.rights.items() if not allowed]
    if lacking:
        text = f"you may not: {', '.join(lacking)}"
        yield Finding(
            level=WARNING,
            topic="rights",
            text=text,
            remedy="some verbs need them: request a role from an administrator",
        )
    elif facts.rights:
        yield Finding(level=OK, topic="rights", text=f"you may {', '.join(facts.rights)}")


def _controller(facts: InstallationFacts) -> Iterator[Finding]:
    found = facts.installation
    if found.namespace is None:
        yield Finding(
            level=UNKNOWN,
            topic="controller",
            text="no Deployment with the chart's labels was found",
            remedy="name its namespace with --controller-namespace",
        )
        return
    deployment = found.deployment
    if deployment is not None:
        status, wanted = deployment.get("status") or {}, (deployment.get("spec") or {}).get("replicas", 1)
        ready = status.get("readyReplicas") or 0
        name = f"Deployment {found.namespace}/{deployment['metadata']['name']}"
        level = OK if ready >= wanted > 0 else PROBLEM
        remedy = "" if level == OK else f"see kubectl -n {found.namespace} describe pods, and their logs"
        yield Finding(
            level=level, topic="replicas", text=f"{name}: {ready} of {wanted} replicas are ready", remedy=remedy
        )
    yield from _pods(facts)
    if found.lease is None:
        return
    spec = found.lease.get("spec") or {}
    renewed, holder = timestamp(spec.get("renewTime")), spec.get("holderIdentity")
    age_s = (facts.now - renewed).total_seconds() if renewed else None
    if not holder or age_s is None or age_s > 2 * (spec.get("leaseDurationSeconds") or _LEASE_S):
        since = f" since {spec.get('renewTime')}" if renewed else ""
        yield Finding(
            level=PROBLEM,
            topic="leader",
            text=f"no replica is the leader{since}: no schedules, no queue",
            remedy=f"see the logs of the controller's pods in {found.namespace}",
        )
    else:
        changes = spec.get("leaseTransitions") or 0
        yield Finding(
            level=OK,
            topic="leader",
            text=f"{holder}, renewed {duration(age_s)} ago, {counted(changes, 'change')} so far",
        )


def _pods(facts: InstallationFacts) -> Iterator[Finding]:
    if not facts.pods:
        return
    images: Counter[str] = Counter()
    for pod in facts.pods:
        for container in (pod.get("spec") or {}).get("containers") or ():
            images[str(container.get("image")).rpartition("/")[2]] += 1
        for state in (pod.get("status") or {}).get("containerStatuses") or ():
            if (state.get("restartCount") or 0) >= _RESTARTS:
                name = pod["metadata"]["name"]
                yield Finding(
                    level=WARNING,
                    topic="replicas",
                    text=f"pod {name} was restarted {state['restartCount']} times",
                    remedy=f"see kubectl -n {facts.installation.namespace} logs --previous {name}",
                )
    shown = ", ".join(f"{count}× {image}" for image, count in images.items())
    several = len(images) > 1
    yield Finding(
        level=WARNING if several else OK,
        topic="version",
        text=f"{shown}; this program is {VERSION}",
        remedy="an upgrade is under way, or does not end" if several else "",
    )


def _config(facts: InstallationFacts) -> Iterator[Finding]:
    found = facts.installation
    if found.config_problem is not None:
        yield Finding(
            level=PROBLEM,
            topic="runtime config",
            text=f"it cannot be used: {found.config_problem}",
            remedy="correct the ConfigMap; until then the last good one is in use, after a start the defaults",
        )
    elif found.config_known:
        yield Finding(level=OK, topic="runtime config", text="it is valid")


def _webhooks(facts: InstallationFacts) -> Iterator[Finding]:
    hooks = [one for one in facts.triggers or () if one["kind"] == "WebhookTrigger"]
    unsigned = [_name(one) for one in hooks if not ((one.get("spec") or {}).get("webhook") or {}).get("authConfig")]
    if unsigned:
        yield Finding(
            level=WARNING,
            topic="webhooks",
            text=f"{len(unsigned)} accept requests of every sender: {_few(unsigned)}",
            remedy="add spec.webhook.authConfig",
        )
    elif hooks:
        yield Finding(level=OK, topic="webhooks", text=f"all {len(hooks)} webhook triggers verify their senders")
    if facts.webhook is not None:
        reached, text = facts.webhook
        yield Finding(
            level=OK if reached else PROBLEM,
            topic="webhooks",
            text=text,
            remedy="" if reached else "check Ingress, Service, NetworkPolicy and certificate",
        )


def _hosts(facts: InstallationFacts) -> Iterator[Finding]:
    """Git servers to which checks back off, by the problems of the triggers."""
    uris = {
        (one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]): str(
            (one.get("spec") or {}).get("repoUri")
        )
        for one in facts.sources
    }
    hosts: Counter[tuple[str, str]] = Counter()
    for trigger in facts.triggers or ():
        kind = ((trigger.get("spec") or {}).get("sources") or {}).get("kind") or "GitRepo"
        namespace = None if kind.startswith("Cluster") else trigger["metadata"].get("namespace")
        for name, problem in problems.source_problems(trigger.get("status")).items():
            if problem.reason in _BACKS_OFF:
                hosts[_host(uris.get((kind, namespace, name), "")), problem.reason] += 1
    for (host, reason), count in hosts.most_common(_SHOWN):
        yield Finding(
            level=PROBLEM,
            topic="git servers",
            text=f"{host}: {reason} for {counted(count, 'source')}",
            remedy="checks back off; see explain of one of the triggers",
        )
    if facts.triggers is not None and not hosts:
        yield Finding(level=OK, topic="git servers", text="none is in back-off")


def _host(uri: str) -> str:
    """The host of a repository.

    >>> _host("git@git.example.com:team/app"), _host("https://git.example.com:8443/a"), _host("")
    ('git.example.com', 'git.example.com', 'an unknown server')
    """
    try:
        host = urlsplit(uri).hostname if "://" in uri else uri.partition("@")[2].partition(":")[0]
    except ValueError:
        host = None
    return host or "an unknown server"


def _triggers(facts: InstallationFacts) -> Iterator[Finding]:
    if facts.triggers is None:
        return
    stalled = [_name(one) for one in facts.triggers if _holds(one, "Stalled")]
    if stalled:
        yield Finding(
            level=PROBLEM,
            topic="triggers",
            text=f"{len(stalled)} of {len(facts.triggers)} are stalled: {_few(stalled)}",
            remedy="something has to be changed: see explain of each",
        )
    else:
        yield Finding(level=OK, topic="triggers", text=f"none of {len(facts.triggers)} is stalled")


def _queue(facts: InstallationFacts) -> Iterator[Finding]:
    if facts.jobs is None:
        return
    views = [(one, JobView.of(one)) for one in facts.jobs]
    running, waiting = [one for one, view in views if view.holds_slot], [view for _, view in views if view.waits]
    limit = facts.installation.config.action.max_running_jobs
    oldest = min((view.created_at for view in waiting if view.created_at), default=None)
    since = f", the oldest for {duration((facts.now - oldest).total_seconds())}" if oldest else ""
    full = bool(waiting) and len(running) >= limit
    yield Finding(
        level=WARNING if full else OK,
        topic="queue",
        text=f"{len(running)} of {counted(limit, 'slot')} held, {counted(len(waiting), 'Job')} waiting{since}",
        remedy="stop Jobs, or raise action.maxRunningJobs of the runtime config" if full else "",
    )
    stuck = [(one["metadata"]["name"], view.holds_slot) for one, view in views if is_not_starting(view, facts.now)]
    for what, names in (
        ("without a starting pod, with a slot", [name for name, holds in stuck if holds]),
        ("without a slot, taken back since no pod started", [name for name, holds in stuck if not holds]),
    ):
        if names:
            yield Finding(
                level=PROBLEM,
                topic="queue",
                text=f"{counted(len(names), 'Job')} {what}: {_few(names)}",
                remedy="see kubectl describe of the Job and its pods: image, quota, node",
            )


def _notifiers(facts: InstallationFacts) -> Iterator[Finding]:
    refused, waiting, delivering = deliveries_of(facts.notifiers)
    for line in refused[:_SHOWN]:
        yield Finding(level=PROBLEM, topic="notifiers", text=line, remedy=_more(refused))
    for line in waiting[:_SHOWN]:
        yield Finding(level=WARNING, topic="notifiers", text=line, remedy=_more(waiting))
    if facts.notifiers and not refused and not waiting:
        yield Finding(
            level=OK,
            topic="notifiers",
            text=f"{delivering} of {len(facts.notifiers)} delivered, the others sent nothing yet",
        )


def _more(lines: Sequence[str]) -> str:
    return f"and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""


def _holds(trigger: Mapping[str, Any], kind: str) -> bool:
    listed = (trigger.get("status") or {}).get("conditions") or ()
    return any(one.get("type") == kind and one.get("status") == "True" for one in listed)


def _name(one: Mapping[str, Any]) -> str:
    return f"{one['metadata'].get('namespace')}/{one['metadata']['name']}"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
