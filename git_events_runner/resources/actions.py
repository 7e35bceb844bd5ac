"""Action and ClusterAction: the Job that runs, and which source it gets."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from .allowed_namespaces import AllowedNamespaces
from .cloning import HISTORY_IS_KEPT, CloneSpec
from .meta import Resource
from .part import INT32_MAX, LONGEST_S, PART, SAFE_MAX, Flag, Name, Part, Reference, Text, TextMap, Texts
from .status import SourceStatus

# Passed through to the pod as they are; the API server validates them by Kubernetes' own schema (podparts.py).
PassedThrough = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class ActionJob(Part):
    """The Job of a run; what is unset comes from the runtime config or the image."""

    rules: ClassVar[tuple[tuple[str, str], ...]] = (HISTORY_IS_KEPT,)

    workdir: Text | None = Field(
        default=None,
        description="Where the repository is cloned to, and the worker's working directory; unset: the runtime "
        "config's.",
    )
    cloner_image: Text | None = Field(default=None, description="Image of the cloner; unset: the runtime config's.")
    action_image: Text | None = Field(default=None, description="Image of the worker; unset: the runtime config's.")
    command: Texts | None = Field(default=None, description="Entry point of the worker; unset: the image's.")
    args: Texts | None = Field(default=None, description="Arguments of the worker; unset: the image's.")
    service_account: Text | None = Field(
        default=None,
        description="Service account of the pod, whose token the worker gets; unset: the runtime config's, if any.",
    )
    labels: TextMap | None = Field(
        default=None, description="Further labels of the Job and its pod; those of the controller win."
    )
    annotations: TextMap | None = Field(
        default=None, description="Further annotations of the Job and its pod; those of the controller win."
    )
    node_selector: TextMap | None = Field(default=None, description="Labels of the nodes that may run it, as in a pod.")
    tolerations: tuple[PassedThrough, ...] | None = Field(
        default=None, description="Taints of nodes that it tolerates, as in a pod."
    )
    affinity: PassedThrough | None = Field(default=None, description="Which nodes it prefers or needs, as in a pod.")
    env: tuple[PassedThrough, ...] | None = Field(
        default=None,
        description="Further variables of the worker, as in a container; they come after the controller's.",
    )
    env_from: tuple[PassedThrough, ...] | None = Field(
        default=None, description="Sources of further variables of the worker, as in a container."
    )
    resources: PassedThrough | None = Field(default=None, description="Resources of the worker, as in a container.")
    volumes: tuple[PassedThrough, ...] | None = Field(
        default=None,
        description="Further volumes, as in a pod; names that begin with `git-events-runner-` are refused.",
    )
    volume_mounts: tuple[PassedThrough, ...] | None = Field(
        default=None, description="Where the worker mounts volumes, as in a container; the cloner mounts none of them."
    )
    image_pull_secrets: tuple[PassedThrough, ...] | None = Field(
        default=None, description="Secrets for pulling the images, as in a pod."
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(
        default=None, description="When the worker's image is pulled, as in a container."
    )
    priority_class_name: Text | None = Field(default=None, description="Its PriorityClass, as in a pod.")
    runtime_class_name: Text | None = Field(default=None, description="Its RuntimeClass, as in a pod.")
    topology_spread_constraints: tuple[PassedThrough, ...] | None = Field(
        default=None, description="How pods spread over nodes, as in a pod."
    )
    pod_security_context: PassedThrough | None = Field(
        default=None,
        description="Security context of the pod, as in a pod; fields that containers have as well are the worker's "
        "alone.",
    )
    security_context: PassedThrough | None = Field(
        default=None, description="Security context of the worker, as in a container."
    )
    backoff_limit: Annotated[int, Field(strict=True, ge=0, le=INT32_MAX)] | None = Field(
        default=None,
        description="How often a failed pod is replaced by another; unset: 0, never.",
        json_schema_extra={"format": "int32"},
    )
    pod_failure_policy: PassedThrough | None = Field(
        default=None,
        description="As in a Job; the controller's rules about exit codes of the cloner and the worker come after "
        "these.",
    )
    ttl_seconds_after_finished: Annotated[int, Field(strict=True, ge=0, le=INT32_MAX)] | None = Field(
        default=None,
        description="How many seconds after its end a Job is deleted; unset: the runtime config's.",
        json_schema_extra={"format": "int32"},
    )
    active_deadline_seconds: Annotated[int, Field(strict=True, ge=0, le=LONGEST_S)] | None = Field(
        default=None,
        description="How many seconds a Job may run, its clone included; unset: the runtime config's.",
    )
    job_waiting_timeout_seconds: Annotated[int, Field(strict=True, ge=0, le=SAFE_MAX)] | None = Field(
        default=None,
        description="How many seconds a Job may wait for a slot. Then it is deleted if a newer run of its source has "
        "overtaken it, or with `onChangeOnly: false`; the newest run is reported and stays queued. 0: without limit; "
        "unset: the runtime config's.",
    )
    start_timeout_seconds: Annotated[int, Field(strict=True, ge=0, le=SAFE_MAX)] | None = Field(
        default=None,
        description="How many seconds a Job may have no ready pod, its clone included, before it is suspended, gives "
        "its slot back and is tried again later; 0: without limit; unset: the runtime config's.",
    )
    enable_cloner_debug: Flag = Field(default=False, description="true: the cloner logs at debug.")
    preserve_git_folder: Flag = Field(
        default=False, description="true: the `.git` folder is kept, as a shallow clone to work in."
    )
    clone: CloneSpec | None = Field(
        default=None, description="How much of the repository is cloned; unset: one commit with all its files."
    )

    @model_validator(mode="after")
    def _history_is_kept(self) -> Self:
        if self.clone is not None and self.clone.has_history and not self.preserve_git_folder:
            raise ValueError(HISTORY_IS_KEPT[1])
        return self


_ALL_DEFAULTS = ActionJob()


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class SourceOverride(Part):
    """Another source to clone than the one that changed."""

    kind: Literal["GitRepo", "ClusterGitRepo"] = Field(
        description="Kind of the source; a GitRepo is one of the trigger's namespace."
    )
    name: Name = Field(description="Name of the source.")
    reference: Reference = Field(description="The branch, tag or commit of it that is cloned.")


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class ClusterSourceOverride(SourceOverride):
    """Another source to clone than the one that changed, for actions without a namespace."""

    kind: Literal["ClusterGitRepo"] = Field(description="Kind of the source.")


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class ActionSpec(Part):
    """What runs when a trigger fires."""

    action_job: ActionJob = Field(
        default=_ALL_DEFAULTS, description="The template of a run's Job.", json_schema_extra={"default": {}}
    )
    source_override: SourceOverride | None = Field(
        default=None, description="Clone this source instead of the one that changed."
    )


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class ClusterActionSpec(ActionSpec):
    """What runs when a trigger of any namespace fires."""

    source_override: ClusterSourceOverride | None = Field(
        default=None, description="Clone this source instead of the one that changed."
    )
    allowed_namespaces: AllowedNamespaces | None = Field(
        default=None,
        description="Namespaces whose triggers may use this action; unset: those of the runtime config, "
        "which is every one by default.",
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Action(Resource):
    """An action for the triggers of its own namespace."""

    spec: ActionSpec

    @property
    def status(self) -> SourceStatus:
        """Its last recorded state; strange values read as absent."""
        return SourceStatus.of(self.raw_status)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ClusterAction(Action):
    """An action for the triggers of every namespace, or of those that it allows."""

    spec: ClusterActionSpec
