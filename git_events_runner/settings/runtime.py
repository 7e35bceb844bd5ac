"""RuntimeConfig: the ConfigMap's `runtimeConfig`, reloaded on change. Unknown keys reject the complete document."""

from __future__ import annotations

import re
from collections.abc import Hashable
from difflib import get_close_matches
from importlib.metadata import version as installed_version
from ipaddress import ip_network
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict, ValidationError
from pydantic.alias_generators import to_camel

from git_events_runner.errors import ConfigError
from git_events_runner.resources.crds import to_yaml
from git_events_runner.resources.hints import meant
from git_events_runner.resources.history import HISTORY_DEFAULT, HISTORY_MAX, HistoryLimit
from git_events_runner.resources.parse import dotted, plain
from git_events_runner.resources.retry import Retries
from git_events_runner.resources.ssh import problem_of
from git_events_runner.rules.quantities import quantity

from .windows import WindowConfig

VERSION = installed_version("git-events-runner")
# Where the images of a release are; the tag is the version. Mirrors are named in the runtime config.
IMAGE_REGISTRY = "ghcr.io/git-events-runner"
CONFIG_KEY = "runtimeConfig"
# Keys that restrict what v0.4 allows, and the keys that v0.4 has; in lower case.
_RESTRICTING = (
    *("policy", "git", "actionsmayname", "serviceaccounts", "podsecurity", "maxbytes", "maxfiles", "sizelimit"),
    *("maxrunningjobspernamespace", "maxactivedeadlineseconds"),
)
_V04 = frozenset(
    {
        *("action", "trigger", "webhook", "containers", "cloner", "worker", "workdir", "name", "image", "mountpath"),
        *("volumename", "variablesprefix", "defaultauthheader", "defaultserviceaccount", "maxrunningjobs"),
        *("jobwaitingtimeoutseconds", "activedeadlineseconds", "ttlsecondsafterfinished"),
    }
)
_RESTRICTS_CHARS = 1024 * 1024
_INT64_MAX = 2**63 - 1


def _quantity(value: object) -> object:
    """The text of a quantity; YAML reads `1` and `0.5` as numbers."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _known_quantity(text: str) -> str:
    if quantity(text) is None:
        raise ValueError("must be a quantity, as 500m, 2, 64Mi or 10Gi")
    return text


def _network(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError:
        raise ValueError("must be a network, as 10.0.0.0/8 or fd00::/8") from None


Seconds = Annotated[int, Field(strict=True, ge=0, le=_INT64_MAX)]
Count = Annotated[int, Field(strict=True, ge=1, le=_INT64_MAX)]
Text = Annotated[str, Strict(), Field(min_length=1, max_length=4096)]
Label = Annotated[str, Strict(), Field(max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
Header = Annotated[str, Strict(), Field(max_length=256, pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]
HostName = Annotated[str, Strict(), Field(max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
Folder = Annotated[str, Strict(), Field(max_length=4096, pattern=r"^/[^/:$][^:$]*$")]
Prefix = Annotated[str, Strict(), Field(max_length=64, pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")]
Prefixes = Annotated[tuple[Text, ...], Field(max_length=1000)]
# A chart renders an unset account as an empty text.
Account = Annotated[str | None, BeforeValidator(lambda value: value or None)]
Network = Annotated[str, Strict(), AfterValidator(_network)]
Quantity = Annotated[str, Strict(), BeforeValidator(_quantity), AfterValidator(_known_quantity)]
Size = Annotated[
    str, Strict(), BeforeValidator(_quantity), AfterValidator(lambda text: _known_quantity(text) if text else text)
]
ResourceName = Annotated[str, Strict(), Field(max_length=253, pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?$")]
Quantities = Annotated[dict[ResourceName, Quantity], Field(max_length=20)]
_UNKNOWN = "extra_forbidden"
_FORMS: dict[str, str] = {
    _UNKNOWN: "is not a known key",
    "model_type": "must be a mapping",
    "list_type": "must be a list",
}


class _Section(BaseModel):
    """A mapping of known keys; one that is null (everything in it commented out) has its defaults."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="forbid", frozen=True)


class Workdir(_Section):
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


class Resources(_Section):
    """Resources of a container."""

    requests: Quantities = Field(
        default={"cpu": "50m", "memory": "64Mi"}, description="Requests of the init container; `{}`: none."
    )
    limits: Quantities = Field(
        default={"cpu": "1", "memory": "1Gi"}, description="Limits of the init container; `{}`: none."
    )


class Cloner(_Section):
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


class Worker(_Section):
    """The container that runs the action."""

    name: Label = Field(default="action-worker", description="Name of the worker's container.")
    image: Text = Field(
        default=f"{IMAGE_REGISTRY}/action-worker:{VERSION}",
        description="Image of the worker, unless the Action sets it.",
    )
    variables_prefix: Prefix = Field(
        default="ACTION_JOB_", description="First part of the names of the worker's variables."
    )


class Containers(_Section):
    """The two containers of a Job."""

    cloner: Cloner = Field(default=Cloner(), description="The init container.")
    worker: Worker = Field(default=Worker(), description="The container that runs the action.")


class ActionsMayName(_Section):
    """What Actions may request."""

    service_accounts: Annotated[tuple[Text, ...], Field(max_length=1000)] = Field(
        default=(), description="Service accounts that an Action may name; empty: any."
    )


class ActionConfig(_Section):
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


class PolicyConfig(_Section):
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
    windows: Annotated[tuple[WindowConfig, ...], Field(max_length=16)] = Field(
        default=(),
        description="When runs of all triggers may start, as `spec.windows` of a trigger (`allow` or `deny`, "
        "`duration`, `timeZone`); a trigger's own windows only narrow it. Runs that are requested by annotation start.",
    )


class WebhookConfig(_Section):
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


class TriggerConfig(_Section):
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


def _known_hosts(text: str) -> str:
    problem = problem_of(text)
    if problem:
        raise ValueError(f"is no text of known hosts: {problem}")
    return text


KnownHosts = Annotated[str, Strict(), Field(max_length=512 * 1024), AfterValidator(_known_hosts)]


class GitConfig(_Section):
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


class FairnessConfig(_Section):
    """How namespaces share what the installation has once: slots of checks and Jobs, Events, git servers."""

    weights: Annotated[dict[Label, Annotated[int, Field(strict=True, ge=1, le=100)]], Field(max_length=1000)] = Field(
        default={},
        description="Turns of a namespace in each round, from 1 to 100; a namespace that is not named has 1.",
    )


class RuntimeConfig(_Section):
    """The complete document."""

    action: ActionConfig = Field(default=ActionConfig(), description="Jobs.")
    trigger: TriggerConfig = Field(default=TriggerConfig(), description="Triggers.")
    policy: PolicyConfig = Field(default=PolicyConfig(), description="What tenants may do.")
    git: GitConfig = Field(default=GitConfig(), description="Limits of requests to git servers.")
    fairness: FairnessConfig = Field(default=FairnessConfig(), description="How namespaces share slots and rates.")


def parse_runtime_config(text: str) -> RuntimeConfig:
    """Read the document; what it leaves out is default.

    Raises:
        ConfigError: It is no YAML, has unknown keys or wrong values; every one is named.
    """
    try:
        document = yaml.load(text, Loader=_OnceOnly)  # noqa: S506  a SafeLoader
    except yaml.YAMLError as error:
        raise ConfigError(f"{CONFIG_KEY}: {_yaml_problem(error)}") from None
    except (ValueError, TypeError, RecursionError) as error:  # a number of 5,000 digits, a mapping as a key, [[[[…
        raise ConfigError(f"{CONFIG_KEY}: cannot be read: {error}") from None
    if document is None:
        return RuntimeConfig()
    if not isinstance(document, dict):
        raise ConfigError(f"{CONFIG_KEY}: must be a mapping")
    try:
        return RuntimeConfig.model_validate(_without_nulls(document))
    except ValidationError as error:
        raise ConfigError(
            *(
                f"{dotted('', problem['loc'])}: "
                f"{_FORMS.get(problem['type']) or plain(problem['type'], problem['msg'], given=problem.get('input'))}"
                f"{_meant(problem['loc']) if problem['type'] == _UNKNOWN else ''}"
                for problem in error.errors(include_url=False, include_context=False)
            )
        ) from None


def _meant(location: tuple[int | str, ...]) -> str:
    """The known key that is like an unknown one, or what there is in its section.

    >>> _meant(("action", "maxRuningJobs")), _meant(("nothing",))[:18]
    ('; did you mean maxRunningJobs?', '; known are action')
    """
    section: Any = RuntimeConfig().model_dump(by_alias=True, mode="json")
    for step in location[:-1]:
        section = section.get(step) if isinstance(section, dict) else None
    if not isinstance(section, dict) or not section:
        return ""
    hint = meant(str(location[-1]), section, f"known are {', '.join(sorted(section))}")
    return f"; {hint}"


def restricts(text: str) -> bool:
    """Whether a document that cannot be read seems to restrict something: it has a key that does, or nearly so.

    >>> restricts("policy: {clonerImages: none}"), restricts("ppolicy: {}"), restricts("action: {maxRunningJobs: x}")
    (True, True, False)
    """
    keys: set[str] = {key.lower() for key in re.findall(r"""([A-Za-z]{3,40})["']?[ \t]*:""", text[:_RESTRICTS_CHARS])}
    return any(get_close_matches(key, _RESTRICTING, n=1, cutoff=0.85) for key in keys - _V04)


def default_runtime_config_yaml(*, helm_template: bool) -> str:
    """The default document; as the chart's values have it, account and images are templates."""
    config = RuntimeConfig()
    document = config.model_dump(by_alias=True, mode="json", exclude_none=not helm_template)
    if helm_template:
        action = document["action"]
        action["defaultServiceAccount"] = '{{ include "git-events-runner.actionJobServiceAccountName" . }}'
        for container, image in (("cloner", "gitrepo-cloner"), ("worker", "action-worker")):
            action["containers"][container]["image"] = (
                f"{{{{ .Values.imageRegistry }}}}/{image}:{{{{ .Values.image.tag | default .Chart.AppVersion }}}}"
            )
    return to_yaml(document)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _without_nulls(inner) for name, inner in value.items() if inner is not None}
    return value


def _yaml_problem(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or "cannot be read"
    return f"line {mark.line + 1}, column {mark.column + 1}: {what}" if mark else f"is no YAML: {what}"


class _OnceOnly(yaml.SafeLoader):
    """Refuses a key given twice, of which the library would silently take the last."""

    yaml_constructors: ClassVar[dict[Any, Any]] = {**yaml.SafeLoader.yaml_constructors}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value} is there twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)
