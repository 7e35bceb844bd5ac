"""What code of strangers may reach: the Actions of a trigger that accepts pull requests of forks.

A worker runs what the fork contains. Unless the installation allows it, its Action gives it nothing that others may not
have: no service account, no Secret, no `envFrom`, no setting beyond the `baseline` Pod Security Standard, and no clone
of submodules, whose addresses the fork chooses, with the source's credential. The service account of the runtime config
is not given to it either (`is_isolated`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from git_events_runner.rules.jobs.clone import secrets_of
from git_events_runner.rules.jobs.pod_settings import beyond_baseline
from git_events_runner.rules.ledger.report import Problem

from .pull_requests import PullRecord
from .resolve import Resolved

Forks = Literal["none", "isolated", "any"]
_LEADS_TO_SECRETS = (
    "secret",
    "secretname",
    "secretref",
    "secretkeyref",
    "nodepublishsecretref",
    "secretproviderclass",
    "serviceaccounttoken",
    "podcertificate",
)
_DEPTH = 8


def forks_refused(allowed: Forks, trigger: Any, resolved: Resolved) -> Problem | None:
    """Why a trigger (its model) may not accept pull requests of forks; None: it may, or accepts none."""
    references = trigger.spec.sources.watch_on.references
    pulls = references.pull_requests if references is not None else None
    if pulls is None or pulls.origin != "Any" or allowed == "any":
        return None
    if allowed == "none":
        return _refused(
            "pullRequests.from: Any is not allowed by the installation (policy.forkPullRequests); use SameRepository"
        )
    reached = next(_reached(resolved), None)
    if reached is None:
        return None
    return _refused(
        f"pullRequests.from: Any runs code of strangers, and {resolved.action} gives it more than they may have: "
        f"{reached}; remove that, use SameRepository, or have it allowed by the runtime config's "
        "policy.forkPullRequests"
    )


def is_isolated(allowed: Forks, pull: PullRecord | None) -> bool:
    """Whether a run gets no service account: it runs code of a fork, and the installation allows no more."""
    return pull is not None and pull.fork and allowed != "any"


def _reached(resolved: Resolved) -> Iterator[str]:
    """The fields of an Action by which its worker reaches more than the fork's own content."""
    job = resolved.action_model.spec.action_job
    if job.service_account:
        yield f"spec.actionJob.serviceAccount: {job.service_account}"
    if job.env_from:
        yield "spec.actionJob.envFrom"
    for field, listed in (("env", job.env), ("volumes", job.volumes)):
        for index, one in enumerate(listed or ()):
            name = _secret_in(one, _DEPTH)
            if name is not None:
                yield f"spec.actionJob.{field}[{index}]: {name}"
    beyond = beyond_baseline(job)
    if beyond is not None:
        yield beyond
    clone = job.clone
    if clone is not None and clone.submodules and secrets_of(resolved.cloned_model, ""):
        yield f"spec.actionJob.clone.submodules, cloned with the credential of {resolved.cloned.source}"


def _secret_in(value: object, depth: int) -> str | None:
    """The first field anywhere in it that names a Secret or a token; also where it is too deep to read."""
    if not depth:
        return "nested too deeply"
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if str(name).lower() in _LEADS_TO_SECRETS and inner is not None:
                return str(name)
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    return next((found for inner in inside if (found := _secret_in(inner, depth - 1)) is not None), None)


def _refused(message: str) -> Problem:
    return Problem(reason="ForksNotAllowed", message=message, stalled=True)
