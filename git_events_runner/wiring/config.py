"""The runtime config, converted to the types of the rooms that use it: Jobs, tenants, host keys, git servers."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import lru_cache

from git_events_runner.concurrency.fairness import Room, Weight, equal, no_room
from git_events_runner.edges.git import LOOPBACK, Limits, Observer, Remote, http_remote
from git_events_runner.resources.ssh import HostKeyPolicy
from git_events_runner.rules.history import effective_limit
from git_events_runner.rules.jobs.run import CloneBounds, JobDefaults
from git_events_runner.rules.policy import Policy
from git_events_runner.rules.quantities import quantity
from git_events_runner.rules.windows import Window, parse_windows
from git_events_runner.settings import ActionConfig, GitConfig, RuntimeConfig
from git_events_runner.settings.windows import WindowConfig


def job_defaults(config: RuntimeConfig) -> JobDefaults:
    """The runtime config's settings of Jobs, in the types of `rules/jobs/manifest`."""
    action = config.action
    cloner, worker = action.containers.cloner, action.containers.worker
    return JobDefaults(
        active_deadline_s=action.active_deadline_seconds,
        max_active_deadline_s=action.max_active_deadline_seconds,
        ttl_s=action.ttl_seconds_after_finished,
        waiting_timeout_s=action.job_waiting_timeout_seconds,
        start_timeout_s=action.start_timeout_seconds,
        service_account=action.default_service_account,
        workdir=action.workdir.mount_path,
        volume_name=action.workdir.volume_name,
        cloner_name=cloner.name,
        cloner_image=cloner.image,
        cloner_api_token=cloner.api_token,
        worker_name=worker.name,
        worker_image=worker.image,
        variables_prefix=worker.variables_prefix,
        pod_security=action.pod_security,
        host_keys=host_key_policy(config),
        cloner_bounds=_bounds(action),
        cloner_resources={name: dict(found) for name, found in cloner.resources if found},
        quota_resources={name: dict(found) for name, found in worker.quota_resources if found},
        workdir_size_limit=action.workdir.size_limit,
    )


def _bounds(action: ActionConfig) -> CloneBounds:
    """What a clone may write: never more than the volume may hold, so that it fails with a reason and not evicted."""
    cloner, size = action.containers.cloner, quantity(action.workdir.size_limit)
    most = cloner.max_bytes if size is None else min(cloner.max_bytes, max(int(size), 1))
    return CloneBounds(max_bytes=most, max_files=cloner.max_files)


def policy_of(config: RuntimeConfig) -> Policy:
    """The runtime config's settings of tenants, in the types of `rules/policy`."""
    policy = config.policy
    return Policy(
        service_accounts=config.action.actions_may_name.service_accounts,
        default_allowed_namespaces=policy.default_allowed_namespaces,
        forbidden_label_prefixes=policy.forbidden_label_prefixes,
        forbidden_annotation_prefixes=policy.forbidden_annotation_prefixes,
        cloner_images=policy.cloner_images,
        minimum_interval_s=policy.minimum_interval_seconds,
        unfinished_runs_per_namespace=policy.unfinished_runs_per_namespace,
        pod_settings=policy.pod_settings,
        may_replace_runs=policy.may_replace_runs,
        fork_pull_requests=policy.fork_pull_requests,
        windows=_windows(policy.windows),
    )


class CurrentPolicy:
    """The policy of the runtime config as it is now: every check reads it, and it seldom changes."""

    def __init__(self, config: Callable[[], RuntimeConfig]) -> None:
        self._config = config
        self._of = config()
        self._policy = policy_of(self._of)

    def __call__(self) -> Policy:
        """The policy."""
        config = self._config()
        if config is not self._of:
            self._of, self._policy = config, policy_of(config)
        return self._policy


def history_limit(config: RuntimeConfig, wanted: object) -> int:
    """How many runs a trigger's status keeps, from its `spec.historyLimit`."""
    return effective_limit(wanted, default=config.trigger.history_limit, most=config.trigger.max_history_limit)


@lru_cache(maxsize=8)
def _windows(windows: tuple[WindowConfig, ...]) -> tuple[Window, ...]:
    """The installation's windows, read once: the policy is read at each check."""
    return parse_windows(windows, "policy.windows")


def weight_of(config: RuntimeConfig, namespace: str) -> int:
    """Turns of a namespace in each round of what namespaces share."""
    return config.fairness.weights.get(namespace, 1)


def host_key_policy(config: RuntimeConfig) -> HostKeyPolicy:
    """The runtime config's settings of host keys."""
    return HostKeyPolicy(mode=config.git.host_keys, known_hosts=config.git.known_hosts)


def git_remote(
    git: GitConfig,
    *,
    observer: Observer,
    weight: Weight = equal,
    room: Room = no_room,
    own_addresses: Collection[str] = (),
    loopback: bool = False,
) -> Remote:
    """The way to git servers, in the words of `edges/git`.

    Args:
        git: That section of the runtime config.
        observer: Of exchanges and bytes.
        weight: Of a namespace among the others.
        room: How many repositories of a namespace are remembered in any case.
        own_addresses: Of this process and the API server's Service: no git server of a tenant.
        loopback: Sources may point to this machine itself.
    """
    limits = Limits(
        deadline_s=float(git.deadline_seconds),
        host_concurrency=git.host_concurrency,
        host_rate=float(git.host_rate),
        host_burst=git.host_burst,
        refs_bytes=git.refs_bytes,
        advertisement_bytes=git.advertisement_bytes,
        pack_bytes=git.pack_bytes,
        inflated_bytes=git.inflated_bytes,
        tree_bytes=git.tree_bytes,
        tree_entries=git.tree_entries,
        kept_entries=git.kept_entries,
        key_bits=git.ssh_key_bits,
        key_rounds=git.ssh_key_rounds,
    )
    return http_remote(
        limits,
        observer=observer,
        weight=weight,
        room=room,
        schemes=git.allowed_schemes,
        refused_networks=(*LOOPBACK, *own_addresses, *git.cluster_networks, *git.refused_networks),
        allowed_networks=(*(LOOPBACK if loopback else ()), *git.allowed_networks),
    )
