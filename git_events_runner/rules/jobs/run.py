"""A run as the values that its Job is built from, and what the runtime config defaults for Jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from git_events_runner.resources.job import (
    RunKey,
)
from git_events_runner.resources.queuemarks import ConcurrencyLimit
from git_events_runner.resources.ref import Ref
from git_events_runner.resources.retry import FIRST_ATTEMPT, Attempt
from git_events_runner.resources.ssh import HostKeyPolicy

from .compute_quota import NO_RULES, ComputeRules

_ENFORCE_LABEL = "pod-security.kubernetes.io/enforce"
# On every namespace of OpenShift: the users that its pods may have. If set elsewhere, the image's user is used
# (https://docs.openshift.com/container-platform/latest/authentication/managing-security-context-constraints.html).
_UID_RANGE_ANNOTATION = "openshift.io/sa.scc.uid-range"


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneBounds:
    """How much a clone may write."""

    max_bytes: int
    max_files: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDefaults:
    """The runtime config's values for Jobs; times in seconds, a longest time of 0 is none.

    `workdir_size_limit` is a quantity, empty for none; `cloner_resources` as in a container, as is `quota_resources`:
    what a worker gets where a quota needs values that nothing else sets.
    """

    active_deadline_s: int
    ttl_s: int
    waiting_timeout_s: int
    start_timeout_s: int
    service_account: str | None
    workdir: str
    volume_name: str
    cloner_name: str
    cloner_image: str
    cloner_api_token: bool
    worker_name: str
    worker_image: str
    variables_prefix: str
    pod_security: str
    host_keys: HostKeyPolicy = field(default_factory=HostKeyPolicy)
    cloner_bounds: CloneBounds | None = None
    cloner_resources: Mapping[str, Any] = field(default_factory=dict)
    quota_resources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    workdir_size_limit: str = ""
    max_active_deadline_s: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """What a pod must satisfy: the worker the `restricted` standard, and whether the cluster assigns user and group.

    Where it does, a pod that sets its own is refused: OpenShift's `restricted-v2` accepts only those of the namespace's
    range, and sets them where a pod has none.
    """

    restricted: bool = False
    assigned_ids: bool = False

    @classmethod
    def of(cls, wanted: str, namespace: Mapping[str, Any]) -> Security:
        """By the runtime config's `podSecurity` and the metadata of the Job's namespace."""
        enforced = (namespace.get("labels") or {}).get(_ENFORCE_LABEL) == "restricted"
        assigned = _UID_RANGE_ANNOTATION in (namespace.get("annotations") or {})
        return cls(
            restricted=wanted == "restricted" or (wanted in {"auto", "openshift"} and enforced),
            assigned_ids=wanted == "openshift" or assigned,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretKeys:
    """A Secret and the keys of it that the cloner needs: key in the Secret → file name in the mounted folder.

    The keys in `optional` are mounted under their own names if they are there.
    """

    namespace: str
    name: str
    files: Mapping[str, str]
    optional: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    """A source and a reference in it: what the trigger watches, or what an override clones."""

    source: Ref
    ref_type: str
    ref_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequestOfRun:
    """The pull request that a run is for: its number, and the branch that it is to be merged into.

    `isolated`: it is that of a fork, whose code gets no service account.
    """

    number: str
    target: str | None
    isolated: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Clone:
    """What the init container gets: the described source (JSON), the Secrets to mount, and what to clone."""

    pointer: Pointer
    description: str
    secrets: tuple[SecretKeys, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Everything from which a Job is built; `previous_commit` was recorded before it, `generation` is the trigger's."""

    name: str
    key: RunKey
    trigger: Ref
    watched: Pointer
    commit: str
    action: Ref
    action_uid: str
    clone: Clone
    override: bool
    reason: str
    occurrence: str
    file_hash: str | None
    task_ids: tuple[str, ...]
    identity: str
    suspend: bool
    security: Security
    deliveries: str = ""
    run_request: int | None = None
    run_token: str | None = None
    concurrency: ConcurrencyLimit | None = None
    notes: Mapping[str, str] | None = None
    previous_commit: str | None = None
    attempt: Attempt = FIRST_ATTEMPT
    generation: int | None = None
    pull: PullRequestOfRun | None = None
    compute: ComputeRules = NO_RULES
