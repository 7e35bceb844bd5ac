"""RuntimeConfig: the ConfigMap's `runtimeConfig`, reloaded on change. Unknown keys reject the complete document."""

from __future__ import annotations

from importlib.metadata import version as installed_version
from typing import Annotated, Literal

from pydantic import Field, Strict

from git_events_runner.resources.history import HISTORY_DEFAULT, HISTORY_MAX, HistoryLimit
from git_events_runner.resources.retry import Retries

from .values import (
    _INT64_MAX,
    Account,
    Count,
    Folder,
    Header,
    HostName,
    KnownHosts,
    Label,
    Network,
    Prefix,
    Prefixes,
    Quantities,
    Seconds,
    Section,
    Size,
    Text,
)
from .windows import WindowConfig

VERSION = installed_version("git-events-runner")
# Where the images of a release are; the tag is the version. Mirrors are named in the runtime config.
IMAGE_REGISTRY = "ghcr.io/git-events-runner"
CONFIG_KEY = "runtimeConfig"


class Workdir(Section):
    """The volume that init container and worker share."""

    mount_path: Folder = Field(
        default="/action_workdir",
        description="Where the repository is cloned to: the working directory, unless the Action sets it.",
    )
    volume_name: Label = Field(default="action-workdir", description="Name of the volume that cloner and worker share.")
    size_limit: Size = Field(
        default="",
        description="Size limit of the volume, such as 10Gi: a pod that writes more is evicted, and a larger commit is "
        "not cloned; empty: none.",
    )


class Resources(Section):
    """Resources of a container."""

    requests: Quantities = Field(
        default={"cpu": "50m", "memory": "64Mi"}, description="Requests of the init container; `{}`: none."
    )
    limits: Quantities = Field(
        default={"cpu": "1", "memory": "1Gi"}, description="Limits of the init container; `{}`: none."
    )


class Cloner(Section):
    """The init container."""

    name: Label = Field(default="action-cloner", description="Name of the init container that clones.")
    image: Text = Field(
        default=f"{IMAGE_REGISTRY}/gitrepo-cloner:{VERSION}",
        description="Image of the cloner, unless the Action sets it.",
    )
    api_token: Annotated[bool, Strict()] = Field(
        default=False, description="Give the cloner the account's token, which v0.4's cloner image needs."
    )
    max_bytes: Count = Field(default=10 * 2**30, description="Bytes that a clone may write, pack and files together.")
    max_files: Count = Field(default=2_000_000, description="Files, links and folders that a commit may have.")
    resources: Resources = Field(
        default=Resources(), description="Resources of the init container, which a quota may require."
    )


class QuotaResources(Section):
    """Resources of a container that sets none."""

    requests: Quantities = Field(
        default={"cpu": "50m", "memory": "64Mi"},
        description="Requests of the worker where a ResourceQuota covers CPU or memory and neither the Action nor a "
        "LimitRange sets them; `{}`: none.",
    )
    limits: Quantities = Field(
        default={"cpu": "1", "memory": "1Gi"},
        description="Limits of the worker where a ResourceQuota covers limits and neither the Action nor a LimitRange "
        "sets them; `{}`: none.",
    )


class Worker(Section):
    """The container that runs the action."""

    name: Label = Field(default="action-worker", description="Name of the worker's container.")
    image: Text = Field(
        default=f"{IMAGE_REGISTRY}/action-worker:{VERSION}",
        description="Image of the worker, unless the Action sets it.",
    )
    variables_prefix: Prefix = Field(
        default="ACTION_JOB_", description="First part of the names of the worker's variables."
    )
    quota_resources: QuotaResources = Field(
        default=QuotaResources(),
        description="Resources of a worker without its own, in namespaces whose ResourceQuota requires some.",
    )


class Containers(Section):
    """The two containers of a Job."""

    cloner: Cloner = Field(default=Cloner(), description="The init container.")
    worker: Worker = Field(default=Worker(), description="The container that runs the action.")


class ActionsMayName(Section):
    """What Actions may request."""

    service_accounts: Annotated[tuple[Text, ...], Field(max_length=1000)] = Field(
        default=(), description="Service accounts that an Action may name; empty: any."
    )


class ActionConfig(Section):
    """Jobs: what an Action leaves unset, and what holds for all."""

    max_running_jobs: Annotated[int, Field(strict=True, ge=0, le=_INT64_MAX)] = Field(
        default=16, description="Most Jobs that run at the same time, in the entire installation; 0: none starts."
    )
    max_running_jobs_per_namespace: Seconds = Field(
        default=0,
        description="Most Jobs that run at the same time in one namespace; 0: three quarters of `maxRunningJobs` while "
        "triggers of several namespaces are served, else all.",
    )
    job_waiting_timeout_seconds: Seconds = Field(
        default=300,
        description="How long a Job may wait for a slot, unless the Action sets it; then it is deleted if a newer run "
        "of its source has overtaken it, or with `onChangeOnly: false`. The newest run is reported "
        "(`WaitingForSlot`) and stays queued. 0: no limit.",
    )
    start_timeout_seconds: Seconds = Field(
        default=600,
        description="How long a Job may have no ready pod, its clone included, before it is suspended, gives its slot "
        "back and is tried again later, unless the Action sets it; 0: no limit.",
    )
    default_service_account: Account = Field(
        default=None, description="Service account of Jobs whose Action names none."
    )
    active_deadline_seconds: Seconds = Field(
        default=3600, description="How long a Job may run, its clone included, unless the Action sets it."
    )
    max_active_deadline_seconds: Seconds = Field(
        default=0, description="Maximum of `activeDeadlineSeconds`, also for Actions that set more; 0: none."
    )
    ttl_seconds_after_finished: Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)] = Field(
        default=7200, description="How long after its end a Job is deleted, unless the Action sets it."
    )
    pod_security: Literal["auto", "restricted", "compatible", "openshift"] = Field(
        default="auto",
        description="The worker's security context: `restricted` as the Pod Security Standard of that name, "
        "`compatible` as v0.4 plus RuntimeDefault seccomp, `auto` what the namespace's label enforces, "
        "`openshift` as `auto`. User and group ids are left to the cluster with `openshift`, and in namespaces with "
        "the annotation `openshift.io/sa.scc.uid-range` with every value.",
    )
    actions_may_name: ActionsMayName = Field(default=ActionsMayName(), description="What Actions may request.")
    workdir: Workdir = Field(default=Workdir(), description="The volume that both containers share.")
    containers: Containers = Field(default=Containers(), description="The two containers of a Job.")


class PolicyConfig(Section):
    """What tenants may do; nothing here restricts tenants by default."""

    default_allowed_namespaces: Literal["all", "withoutCredentials", "none"] = Field(
        default="all",
        description="Who may use a ClusterGitRepo or ClusterAction without `allowedNamespaces`: `all`, `none`, or with "
        "`withoutCredentials` all unless it is a source that names a Secret.",
    )
    forbidden_label_prefixes: Prefixes = Field(
        default=(), description="Prefixes of labels that an Action may not put on Jobs and pods."
    )
    forbidden_annotation_prefixes: Prefixes = Field(
        default=(), description="Prefixes of annotations that an Action may not put on Jobs and pods."
    )
    cloner_images: Literal["any", "withoutClusterCredentials", "none"] = Field(
        default="any",
        description="Whether an Action may replace the cloner's image: `any`, `none`, or with "
        "`withoutClusterCredentials` only where no Secret of a ClusterGitRepo would be mounted into it.",
    )
    minimum_interval_seconds: Seconds = Field(
        default=0, description="Schedules whose times are closer together are refused; 0: none."
    )
    unfinished_runs_per_namespace: Seconds = Field(
        default=0,
        description="Most runs that wait or run in one namespace; further ones are tried again later; 0: any number.",
    )
    object_mebibytes_per_namespace: Annotated[int, Field(ge=1)] = Field(
        default=128,
        description="Most memory for the objects of this controller's kinds in one namespace, in MiB; those that do "
        "not fit are not read (`InvalidSpec`).",
    )
    pod_settings: Literal["any", "baseline"] = Field(
        default="any",
        description="What an Action may request for its pod: `any`, or what the Pod Security Standard `baseline` "
        "allows (no `hostPath`, nothing privileged).",
    )
    may_replace_runs: Annotated[bool, Strict()] = Field(
        default=True,
        description="Whether triggers may have `concurrency.policy: Replace`, which stops running Jobs.",
    )
    fork_pull_requests: Literal["none", "isolated", "any"] = Field(
        default="isolated",
        description="Whether triggers may have `pullRequests.from: Any`, which runs code of strangers: `none`, `any`, "
        "or with `isolated` only with Actions that name no service account, no Secret and no `envFrom`.",
    )
    windows: Annotated[tuple[WindowConfig, ...], Field(max_length=16)] = Field(
        default=(),
        description="When runs of all triggers may start, as `spec.windows` of a trigger (`allow` or `deny`, "
        "`duration`, `timeZone`); a trigger's own windows only narrow it. Runs that are requested by annotation start.",
    )


class WebhookConfig(Section):
    """Webhooks."""

    default_auth_header: Header = Field(
        default="x-trigger-auth", description="Header with the secret, for triggers that name none."
    )
    refusals: Literal["distinct", "uniform"] = Field(
        default="distinct",
        description="How requests without the secret are refused: `distinct` by 404, 401, 403 or 500 with the reason, "
        "`uniform` all by the same 404, which does not show which triggers exist.",
    )
    host_aliases: Annotated[dict[HostName, HostName], Field(max_length=100)] = Field(
        default={},
        description="Other names of forges' hosts, such as `old.example.com: new.example.com`: a payload that names "
        "the one matches sources with the other.",
    )


class TriggerConfig(Section):
    """Triggers."""

    webhook: WebhookConfig = Field(default=WebhookConfig(), description="Webhooks.")
    history_limit: HistoryLimit = Field(
        default=HISTORY_DEFAULT, description="How many runs `status.history` keeps, unless the trigger sets it."
    )
    max_history_limit: HistoryLimit = Field(
        default=HISTORY_MAX, description="Maximum of `historyLimit`, also for triggers that set more."
    )
    max_retry_limit: Retries = Field(
        default=10, description="Maximum of `retry.limit`, also for triggers that set more; 0: no run is run again."
    )


class GitConfig(Section):
    """Requests to git servers: their limits, their permitted hosts, and which SSH servers are trusted."""

    host_keys: Literal["pin", "strict", "insecure"] = Field(
        default="pin",
        description="SSH servers whose key is not known: `pin` accepts the first key seen and no other after it, "
        "`strict` refuses them, `insecure` accepts every key at any time.",
    )
    known_hosts: KnownHosts = Field(
        default="", description="Known host keys of SSH servers, for all sources, as `ssh-keyscan` prints them."
    )

    deadline_seconds: Count = Field(
        default=20, description="How long one request to a git server may take, with all of its steps and waits."
    )
    host_concurrency: Count = Field(
        default=16, description="Most requests to one host at the same time; one namespace has three quarters of them."
    )
    host_rate: Count = Field(
        default=50, description="Requests per second to one host, in the long run (rate limiting)."
    )
    host_burst: Count = Field(
        default=100, description="Requests to one host that may be sent immediately after a quiet time."
    )
    refs_bytes: Count = Field(default=4 * 2**20, description="Most bytes of an `ls-refs` response.")
    advertisement_bytes: Count = Field(
        default=64 * 2**20, description="Most bytes of all references, from a server without protocol v2."
    )
    pack_bytes: Count = Field(
        default=64 * 2**20, description="Most bytes of a pack with the trees of a commit, as received (for `files`)."
    )
    inflated_bytes: Count = Field(default=512 * 2**20, description="Most bytes of all objects of that pack, inflated.")
    tree_bytes: Count = Field(
        default=64 * 2**20, description="Most bytes of the trees among them, which are held in memory."
    )
    tree_entries: Count = Field(default=1_000_000, description="Most files of a commit (for `files`).")
    kept_entries: Count = Field(
        default=100_000,
        description="Most files of commits whose lists are kept in memory for further checks, about 60 bytes each.",
    )
    ssh_key_bits: Annotated[int, Field(ge=1024, le=16384)] = Field(
        default=4096,
        description="Most bits of an RSA private key for SSH; 8192 cost seven times as much at each login.",
    )
    ssh_key_rounds: Annotated[int, Field(ge=1, le=4096)] = Field(
        default=256, description="Most rounds of bcrypt of an encrypted private key for SSH, 7 ms each."
    )
    allowed_schemes: Annotated[tuple[Literal["http", "https", "ssh"], ...], Field(min_length=1, max_length=3)] = Field(
        default=("http", "https", "ssh"), description="Schemes that a source's URL may have."
    )
    refused_networks: Annotated[tuple[Network, ...], Field(max_length=1000)] = Field(
        default=(),
        description="Networks (CIDR) that sources must not be in, in addition to loopback, link-local ones and "
        "metadata services.",
    )
    cluster_networks: Annotated[tuple[Network, ...], Field(max_length=1000)] = Field(
        default=(),
        description="Networks (CIDR) of the cluster's pods and Services, which sources must not be in; empty: "
        "unknown, and sources may point there.",
    )
    allowed_networks: Annotated[tuple[Network, ...], Field(max_length=1000)] = Field(
        default=(),
        description="Networks (CIDR) that sources may be in although they are loopback or in one of the two lists "
        "above, such as the Service of a git server in the cluster.",
    )


class FairnessConfig(Section):
    """How namespaces share what the installation has once: slots of checks and Jobs, Events, git servers."""

    weights: Annotated[dict[Label, Annotated[int, Field(strict=True, ge=1, le=100)]], Field(max_length=1000)] = Field(
        default={},
        description="Turns of a namespace in each round, from 1 to 100; a namespace that is not named has 1.",
    )


class RuntimeConfig(Section):
    """The complete document."""

    action: ActionConfig = Field(default=ActionConfig(), description="Jobs.")
    trigger: TriggerConfig = Field(default=TriggerConfig(), description="Triggers.")
    policy: PolicyConfig = Field(default=PolicyConfig(), description="What tenants may do.")
    git: GitConfig = Field(default=GitConfig(), description="Limits of requests to git servers.")
    fairness: FairnessConfig = Field(default=FairnessConfig(), description="How namespaces share slots and rates.")
