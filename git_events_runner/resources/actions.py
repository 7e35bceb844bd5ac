"""Action and ClusterAction: the Job that runs, and which source it gets."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from .access import AllowedNamespaces
from .meta import Resource
from .part import INT32_MAX, LONGEST_S, PART, SAFE_MAX, Flag, Name, Part, Reference, Text, TextMap, Texts
from .status import SourceStatus

# Passed through to the pod as they are; the API server judges them by Kubernetes' own schema (podparts.py).
PassedThrough = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class ActionJob(Part):
    """What the Job of a run looks like; whatever is unset comes from the runtime config or the image."""

    workdir: Text | None = Field(
        default=None, description="Where the repository is put, and the worker's working directory."
    )
    cloner_image: Text | None = Field(default=None, description="Image of the init container that clones.")
    action_image: Text | None = Field(default=None, description="Image of the worker.")
    command: Texts | None = Field(default=None, description="Entry point of the worker; unset: the image's.")
    args: Texts | None = Field(default=None, description="Arguments of the worker; unset: the image's.")
    service_account: Text | None = Field(default=None, description="Service account of the pod.")
    labels: TextMap | None = Field(default=None, description="Further labels of the Job and its pod; ours win.")
    annotations: TextMap | None = Field(default=None, description="Further annotations of the Job and its pod.")
    node_selector: TextMap | None = Field(default=None, description="As in a pod.")
    tolerations: tuple[PassedThrough, ...] | None = Field(default=None, description="As in a pod.")
    affinity: PassedThrough | None = Field(default=None, description="As in a pod.")
    env: tuple[PassedThrough, ...] | None = Field(
        default=None, description="Further variables of the worker, as in a container."
    )
    env_from: tuple[PassedThrough, ...] | None = Field(
        default=None, description="Sources of further variables of the worker, as in a container."
    )
    resources: PassedThrough | None = Field(default=None, description="Resources of the worker, as in a container.")
    volumes: tuple[PassedThrough, ...] | None = Field(
        default=None, description="Further volumes, as in a pod; names that begin with git-events-runner- are ours."
    )
    volume_mounts: tuple[PassedThrough, ...] | None = Field(
        default=None, description="Where the worker has them, as in a container. The cloner gets none."
    )
    image_pull_secrets: tuple[PassedThrough, ...] | None = Field(
        default=None, description="Secrets for pulling the images, as in a pod."
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(
        default=None, description="When the worker's image is pulled."
    )
    priority_class_name: Text | None = Field(default=None, description="As in a pod.")
    runtime_class_name: Text | None = Field(default=None, description="As in a pod.")
    topology_spread_constraints: tuple[PassedThrough, ...] | None = Field(default=None, description="As in a pod.")
    pod_security_context: PassedThrough | None = Field(
        default=None, description="As in a pod; what a container may have as well is given to the worker alone."
    )
    security_context: PassedThrough | None = Field(
        default=None, description="Security context of the worker, as in a container."
    )
    backoff_limit: Annotated[int, Field(strict=True, ge=0, le=INT32_MAX)] | None = Field(
        default=None,
        description="How often a failed pod is tried again; unset: never.",
        json_schema_extra={"format": "int32"},
    )
    pod_failure_policy: PassedThrough | None = Field(
        default=None, description="As in a Job; our rule for the cloner's exit codes comes last."
    )
    ttl_seconds_after_finished: Annotated[int, Field(strict=True, ge=0, le=INT32_MAX)] | None = Field(
        default=None, description="How long a finished Job stays.", json_schema_extra={"format": "int32"}
    )
    active_deadline_seconds: Annotated[int, Field(strict=True, ge=0, le=LONGEST_S)] | None = Field(
        default=None, description="How long a Job may run."
    )
    job_waiting_timeout_seconds: Annotated[int, Field(strict=True, ge=0, le=SAFE_MAX)] | None = Field(
        default=None, description="How long a Job may wait for a free place; 0: without end."
    )
    enable_cloner_debug: Flag = Field(default=False, description="Let the cloner say more.")
    preserve_git_folder: Flag = Field(
        default=False, description="Keep the `.git` folder, as a shallow clone to work in."
    )


_ALL_DEFAULTS = ActionJob()


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class SourceOverride(Part):
    """Another source to clone than the one that changed."""

    kind: Literal["GitRepo", "ClusterGitRepo"] = Field(description="Kind of the source.")
    name: Name = Field(description="Name of the source.")
    reference: Reference = Field(description="What of it is cloned.")


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class ClusterSourceOverride(SourceOverride):
    """Another source to clone than the one that changed, for actions without a namespace."""

    kind: Literal["ClusterGitRepo"] = Field(description="Kind of the source.")


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class ActionSpec(Part):
    """What runs when a trigger fires."""

    action_job: ActionJob = Field(default=_ALL_DEFAULTS, description="The Job.", json_schema_extra={"default": {}})
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
        description="Namespaces whose triggers may use this action; unset: what the runtime config says, "
        "which is every one by default.",
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Action(Resource):
    """An action for the triggers of its own namespace."""

    spec: ActionSpec

    @property
    def status(self) -> SourceStatus:
        """What was last said about it; strange values read as absent."""
        return SourceStatus.of(self.raw_status)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ClusterAction(Action):
    """An action for the triggers of every namespace, or of those that it allows."""

    spec: ClusterActionSpec
