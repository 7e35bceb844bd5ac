"""What tenants may do: one module for every rule by which an installation refuses a run (docs/tenancy.md).

Nothing is refused by default. The rules about the content of an Action are about `Action`, which tenants write; a
ClusterAction is written by its administrator, and restricted by `allowedNamespaces` alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, Literal

from git_events_runner.errors import InvalidObject
from git_events_runner.resources.concurrency import Concurrency
from git_events_runner.rules.jobs.clone import secrets_of
from git_events_runner.rules.jobs.pod_settings import beyond_baseline
from git_events_runner.rules.ledger.report import Problem
from git_events_runner.rules.schedule.cron import Cron
from git_events_runner.rules.schedule.cron_fields import ANY
from git_events_runner.rules.schedule.schedule import Schedule

from .resolve import Resolved
from .windows import Window

_DUE_TIMES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The runtime config's rules; times in seconds. Empty and 0 restrict nothing."""

    service_accounts: tuple[str, ...] = ()
    default_allowed_namespaces: Literal["all", "withoutCredentials", "none"] = "all"
    forbidden_label_prefixes: tuple[str, ...] = ()
    forbidden_annotation_prefixes: tuple[str, ...] = ()
    cloner_images: Literal["any", "withoutClusterCredentials", "none"] = "any"
    minimum_interval_s: int = 0
    unfinished_runs_per_namespace: int = 0
    pod_settings: Literal["any", "baseline"] = "any"
    may_replace_runs: bool = True
    fork_pull_requests: Literal["none", "isolated", "any"] = "isolated"
    windows: tuple[Window, ...] = ()


def refusal(policy: Policy, resolved: Resolved, namespace: str, labels: Mapping[str, str]) -> Problem | None:
    """Why triggers of a namespace (with those labels) may not have this run; None: they may."""
    used = (resolved.watched_model, resolved.cloned_model, resolved.action_model)
    refused = next((found for model in used if (found := _not_let(policy, model, namespace, labels))), None)
    if refused is not None or resolved.action.kind != "Action":
        return refused
    job, action = resolved.action_model.spec.action_job, resolved.action
    account = job.service_account
    if account and policy.service_accounts and account not in policy.service_accounts:
        allowed = ", ".join(policy.service_accounts)
        return _refused(
            "ServiceAccountNotAllowed",
            f"{action} names the service account {account}, which the installation does not allow; "
            f"use one of {allowed}, or have it added to action.actionsMayName.serviceAccounts of the runtime config",
        )
    for word, keys, prefixes in (
        ("label", job.labels, policy.forbidden_label_prefixes),
        ("annotation", job.annotations, policy.forbidden_annotation_prefixes),
    ):
        key = _forbidden(keys or (), prefixes)
        if key is not None:
            return _refused(
                f"{word.capitalize()}NotAllowed",
                f"{action}: spec.actionJob.{word}s: {key} is not allowed by the installation; remove it "
                f"(forbidden beginnings: {', '.join(prefixes)})",
            )
    if job.cloner_image and not _may_replace_cloner(policy, resolved, namespace):
        return _refused(
            "ClonerImageNotAllowed",
            f"{action}: spec.actionJob.clonerImage is not allowed by the installation"
            + ("" if policy.cloner_images == "none" else f": it would be given the Secret of {resolved.cloned.source}")
            + "; remove it",
        )
    beyond = beyond_baseline(job) if policy.pod_settings == "baseline" else None
    if beyond is not None:
        return _refused(
            "PodSettingNotAllowed",
            f"{action}: {beyond} (the installation allows the baseline Pod Security Standard: policy.podSettings)",
        )
    return None


def replaces_runs(policy: Policy, concurrency: Concurrency | None) -> Problem | None:
    """Why a trigger may not have its concurrency; None: it may."""
    if policy.may_replace_runs or concurrency is None or concurrency.policy != "Replace":
        return None
    return _refused(
        "ConcurrencyNotAllowed",
        "spec.concurrency.policy: Replace is not allowed by the installation (policy.mayReplaceRuns), because it stops "
        "runs; use QueueLatest or Queue",
    )


def too_often(policy: Policy, schedule: Schedule, now: datetime) -> InvalidObject | None:
    """The problem of a schedule that fires more often than allowed, by its next scheduled times; None: none."""
    least_s = policy.minimum_interval_s
    if not least_s:
        return None
    gap_s = _shortest_gap_s(schedule, now, least_s)
    if gap_s >= least_s:
        return None
    field = "spec.schedule.interval" if schedule.interval_ms is not None else "spec.schedule.cron"
    return InvalidObject(field, f"is scheduled every {gap_s:g} s; the installation allows {least_s} s or longer")


def limit_reached(policy: Policy, namespace: str, unfinished: int) -> Problem | None:
    """Whether a namespace with so many unfinished runs has to wait with the next; it is tried again."""
    limit = policy.unfinished_runs_per_namespace
    if not limit or unfinished < limit:
        return None
    message = f"the namespace {namespace} has {limit} unfinished runs, as many as the installation allows; it waits"
    return Problem(reason="NamespaceLimitReached", message=message)


def _not_let(policy: Policy, model: Any, namespace: str, labels: Mapping[str, str]) -> Problem | None:
    """Whether a ClusterGitRepo or ClusterAction does not let that namespace use it."""
    if model.ref.namespace is not None:
        return None
    allowed = model.spec.allowed_namespaces
    if allowed is not None:
        if allowed.allow(namespace, labels):
            return None
        remedy = "its spec.allowedNamespaces neither names nor selects it"
    else:
        default = policy.default_allowed_namespaces
        source = model.ref.kind == "ClusterGitRepo"
        if default == "all" or (default == "withoutCredentials" and not (source and secrets_of(model, namespace))):
            return None
        remedy = "it has no spec.allowedNamespaces, which the installation demands"
    return _refused("NamespaceNotAllowed", f"{model.ref} may not be used from the namespace {namespace}: {remedy}")


def _may_replace_cloner(policy: Policy, resolved: Resolved, namespace: str) -> bool:
    if policy.cloner_images == "withoutClusterCredentials":
        cluster = resolved.cloned.source.namespace is None
        return not (cluster and secrets_of(resolved.cloned_model, namespace))
    return policy.cloner_images == "any"


def _forbidden(keys: Iterable[str], prefixes: tuple[str, ...]) -> str | None:
    return next((key for key in keys if key.startswith(prefixes)), None) if prefixes else None


def _shortest_gap_s(schedule: Schedule, now: datetime, least_s: int) -> float:
    if schedule.interval_ms is not None:
        return schedule.interval_ms / 1000
    if schedule.cron is not None and (apart_s := _times_apart_s(schedule.cron)) >= least_s:
        return apart_s  # on any days: most schedules pass here, without a search for scheduled times
    shortest, moment = float("inf"), schedule.next_due(now, phase_key="")
    for _ in range(_DUE_TIMES):
        following = schedule.next_due(moment, phase_key="") if moment is not None else None
        if moment is None or following is None or shortest < least_s:
            break
        shortest, moment = min(shortest, (following - moment).total_seconds()), following
    return shortest


def _times_apart_s(cron: Cron) -> int:
    """The shortest time between two of a cron's times of day, also over midnight; a bound for its scheduled times."""
    apart_s, first_s, last_s = 60 * 60 * 24, 0, 0
    for text, size, unit_s in zip((cron.second, *cron.time.split()), (60, 60, 24), (1, 60, 60 * 60), strict=True):
        numbers = range(size) if text == ANY else sorted(int(number) for number in text.split(","))
        for before, after in pairwise(numbers):
            apart_s = min(apart_s, (after - before) * unit_s - (last_s - first_s))
        first_s, last_s = first_s + numbers[0] * unit_s, last_s + numbers[-1] * unit_s
    return min(apart_s, 60 * 60 * 24 - (last_s - first_s))


def _refused(reason: str, message: str) -> Problem:
    return Problem(reason=reason, message=message, stalled=True)
