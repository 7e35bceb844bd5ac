"""Notifier and ClusterNotifier: where the results of runs are reported."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from .allowed_namespaces import LabelSelector
from .meta import Resource
from .part import PART, SAFE_MAX, Name, Part, Text
from .rule import Rule
from .sources import SecretKey, TlsConfig
from .status import Condition, SourceStatus

URL_CHARS = 2048
CONTEXT_CHARS = 255
HOSTS_MAX = 20
CANCELLED_MAX = 100
LOG_LINES_MAX = 50
EVENTS = ("Queued", "Started", "Succeeded", "Failed", "Cancelled", "Recovered", "Problem", "ProblemSolved")
STATUS_EVENTS = EVENTS[:5]
DEFAULT_EVENTS = {
    "commit-status": STATUS_EVENTS,
    "webhook": ("Succeeded", "Failed", "Cancelled", "Problem", "ProblemSolved"),
    "cloudevents": ("Succeeded", "Failed", "Cancelled", "Problem", "ProblemSolved"),
    "chat": ("Failed", "Recovered", "Problem", "ProblemSolved"),
}
DEFAULT_KEYS = {"commit-status": "token", "webhook": "secret", "cloudevents": "token", "chat": "url"}
_ADDRESSED = ("webhook", "cloudevents")
FIELDS = ("namespace", "trigger", "kind", "source", "run", "commit", "job")
# Forges that are at one address for all; the others need `apiUrl`.
API_URLS = {
    "github": "https://api.github.com",
    "gitlab": "https://gitlab.com/api/v4",
    "bitbucket": "https://api.bitbucket.org/2.0",
    "azure": "https://dev.azure.com",
}
_BY_TYPE = (
    "commitStatus belongs to type commit-status, and address to the types webhook and cloudevents: each needs its own "
    "and not the other (the addresses of type chat are in the Secret)"
)
_UNSIGNED = "secretRef is required; only type cloudevents can do without"
_STATUS_EVENTS = f"a commit status has no other events than {', '.join(STATUS_EVENTS)}"
_NO_LINES = "a commit status has no room for the log: leave out logLines, or use another type"
_SOLVED = "list Problem too where ProblemSolved is listed"
_NEEDS_URL = "apiUrl is required for gitea and bitbucket-server, as https://git.example"
_HOST = r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?"
_PORT = r"([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_URL = Rule(
    pattern=rf"^https?://({_HOST}|\[[0-9A-Fa-f:.]+\])(:{_PORT})?(/[!-\"$-?A-Z\[\]_a-z~|]*)?$",
    message="write an address as https://host[:port][/path], without user information and fragment; ports end at 65535",
)
_HOST_NAME = Rule(
    pattern=rf"^{_HOST}$", message="write the name of a host alone, as git.example, without https://, port and path"
)
_NAMES = "|".join(FIELDS)
_TEMPLATE = Rule(
    pattern=rf"^([^{{}}]|[{{]({_NAMES})[}}])*$",
    message=f"fields in braces are {', '.join(FIELDS)}",
)
_CONTEXT_FIELDS = FIELDS[:4]
_CONTEXT = Rule(
    pattern=rf"^([^{{}}]|[{{]({'|'.join(_CONTEXT_FIELDS)})[}}])*$",
    message=f"fields in braces are {', '.join(_CONTEXT_FIELDS)}",
)
_TARGET = Rule(pattern=r"^https?://", message="write an address that begins with https://")
Url = Annotated[Text, Field(max_length=URL_CHARS), _URL]
Event = Literal["Queued", "Started", "Succeeded", "Failed", "Cancelled", "Recovered", "Problem", "ProblemSolved"]


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class NotifierSecret(Part):
    """A Secret with what authenticates the messages."""

    name: Name = Field(description="Name of the Secret.")
    namespace: Name | None = Field(
        default=None,
        description="Namespace of the Secret, for a ClusterNotifier; unset: the trigger's namespace. A Notifier's "
        "Secret is always in its own namespace.",
    )
    key: SecretKey | None = Field(
        default=None,
        description="Key in the Secret; unset: `token` for the types `commit-status` and `cloudevents`, `secret` for "
        "type `webhook`, `url` for type `chat`.",
    )


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class CommitStatus(Part):
    """The status of a commit at its forge."""

    rules: ClassVar[tuple[tuple[str, str], ...]] = (
        ("has(self.apiUrl) || !(self.forge in ['gitea', 'bitbucket-server'])", _NEEDS_URL),
    )

    forge: Literal["github", "gitlab", "gitea", "bitbucket", "bitbucket-server", "azure"] = Field(
        description="The forge, which defines the request. `gitea` is Forgejo too, `bitbucket` is Bitbucket Cloud, "
        "`bitbucket-server` Bitbucket Data Center."
    )
    api_url: Url | None = Field(
        default=None,
        description="Address of the forge. A path that is left out is the usual one of its API. Unset: that of the "
        "public service (github.com, gitlab.com, bitbucket.org, dev.azure.com).",
    )
    hosts: Annotated[tuple[Annotated[Name, _HOST_NAME], ...], Field(max_length=HOSTS_MAX)] | None = Field(
        default=None,
        description="Hosts of the repositories whose commits get a status, without ports; unset: the host of the "
        "forge. Other sources get none, so that the token is used for this forge alone.",
    )
    context: Annotated[Text, Field(min_length=1, max_length=CONTEXT_CHARS), _CONTEXT] = Field(
        default="{namespace}/{trigger}",
        description="Name of the status at the forge, with the fields {namespace}, {trigger}, {kind} (of the trigger) "
        "and {source}. Two triggers with the same name overwrite each other's status.",
    )

    @model_validator(mode="after")
    def _has_url(self) -> Self:
        if self.api_url is None and self.forge not in API_URLS:
            raise ValueError(_NEEDS_URL)
        return self


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class TriggerSelection(Part):
    """Which triggers."""

    selector: LabelSelector | None = Field(default=None, description="Labels of the triggers; unset: all of them.")


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class ClusterTriggerSelection(TriggerSelection):
    """Which triggers, of which namespaces."""

    namespace_selector: LabelSelector | None = Field(
        default=None, description="Labels of the triggers' namespaces; unset: all namespaces."
    )


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class NotifierSpec(Part):
    """Where the results of runs are reported, and how."""

    rules: ClassVar[tuple[tuple[str, str], ...]] = (
        (
            (
                "(self.type == 'commit-status') == has(self.commitStatus) && "
                "(self.type in ['webhook', 'cloudevents']) == has(self.address)"
            ),
            _BY_TYPE,
        ),
        ("has(self.secretRef) || self.type == 'cloudevents'", _UNSIGNED),
        (
            (
                "self.type != 'commit-status' || !has(self.events) || "
                "!self.events.exists(e, e in ['Recovered', 'Problem', 'ProblemSolved'])"
            ),
            _STATUS_EVENTS,
        ),
        ("!has(self.events) || !('ProblemSolved' in self.events) || 'Problem' in self.events", _SOLVED),
        ("!has(self.logLines) || self.type != 'commit-status'", _NO_LINES),
    )

    type: Literal["commit-status", "webhook", "cloudevents", "chat"] = Field(
        description="`commit-status`: the status of the commit at its forge. `webhook`: a POST of JSON to `address`, "
        "signed as in Standard Webhooks. `cloudevents`: a CloudEvent to `address`. `chat`: a message for people, to "
        "the chat systems whose addresses are in the Secret."
    )
    triggers: TriggerSelection | None = Field(
        default=None, description="The triggers whose runs are reported; unset: all of the namespace."
    )
    events: Annotated[tuple[Event, ...], Field(min_length=1, max_length=len(EVENTS))] | None = Field(
        default=None,
        description="What is reported. `Cancelled`: a Job was deleted before it ended, or a newer run superseded or "
        "replaced it. `Recovered`, in place of `Succeeded`: the first success after a failure. `Problem`: the "
        "trigger's condition Ready is false for a minute, or for another reason. Unset: all of a run's states for "
        "`commit-status`; `Succeeded`, `Failed`, `Cancelled`, `Problem` and `ProblemSolved` for `webhook` and "
        "`cloudevents`; `Failed`, `Recovered`, `Problem` and `ProblemSolved` for `chat`.",
    )
    commit_status: CommitStatus | None = Field(default=None, description="Required for type `commit-status`.")
    address: Url | None = Field(
        default=None, description="Where messages are sent; required for the types `webhook` and `cloudevents`."
    )
    secret_ref: NotifierSecret | None = Field(
        default=None,
        description="The token for the forge's API; the key that signs messages: `whsec_` and base64, or any text; a "
        "token for the receiver of CloudEvents; addresses of chat systems, one a line. Required, except for type "
        "`cloudevents`.",
    )
    tls_config: TlsConfig | None = Field(
        default=None, description="How the receiver's certificate is verified, for https; unset: by the system's CAs."
    )
    log_lines: Annotated[int, Field(strict=True, ge=1, le=LOG_LINES_MAX)] | None = Field(
        default=None,
        description="How many of the worker's last lines a message about a failed run contains; unset: none. The "
        "values of the Secrets that the pod names, and of its variables, are masked; what else a worker prints is sent "
        "as it is. The controller needs a right for it: `rbac.controller.workerLogsNamespaces` of the chart.",
    )
    target_url: Annotated[Text, Field(max_length=URL_CHARS), _TARGET, _TEMPLATE] | None = Field(
        default=None,
        description="Where people read more about a run, with the fields {namespace}, {trigger}, {kind}, {source}, "
        "{run} (its number), {commit} and {job}.",
    )

    @model_validator(mode="after")
    def _has_what_its_type_needs(self) -> Self:
        wanted = (self.type == "commit-status", self.type in _ADDRESSED)
        if (self.commit_status is not None, self.address is not None) != wanted:
            raise ValueError(_BY_TYPE)
        if self.secret_ref is None and self.type != "cloudevents":
            raise ValueError(_UNSIGNED)
        if self.type == "commit-status" and not set(self.events or ()) <= set(STATUS_EVENTS):
            raise ValueError(_STATUS_EVENTS)
        if "ProblemSolved" in (self.events or ()) and "Problem" not in (self.events or ()):
            raise ValueError(_SOLVED)
        if self.log_lines is not None and self.type == "commit-status":
            raise ValueError(_NO_LINES)
        return self

    @property
    def reported(self) -> tuple[str, ...]:
        """The events that are reported."""
        return DEFAULT_EVENTS[self.type] if self.events is None else self.events

    @property
    def secret_key(self) -> str:
        """The key in the Secret."""
        named = self.secret_ref.key if self.secret_ref is not None else None
        return named or DEFAULT_KEYS[self.type]

    def selects(self, labels: Mapping[str, str], namespace_labels: Mapping[str, str]) -> bool:  # noqa: ARG002  see below
        """Whether the runs of a trigger with these labels are reported."""
        selector = self.triggers.selector if self.triggers is not None else None
        return selector is None or selector.accepts(labels)

    def selects_namespace(self, namespace_labels: Mapping[str, str]) -> bool:  # noqa: ARG002  see below
        """Whether runs in a namespace with these labels are reported."""
        return True


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class ClusterNotifierSpec(NotifierSpec):
    """Where the results of runs of many namespaces are reported, and how."""

    triggers: ClusterTriggerSelection | None = Field(
        default=None, description="The triggers whose runs are reported; unset: all of the cluster."
    )

    def selects(self, labels: Mapping[str, str], namespace_labels: Mapping[str, str]) -> bool:
        """Whether the runs of a trigger with these labels, in a namespace with those, are reported."""
        return self.selects_namespace(namespace_labels) and NotifierSpec.selects(self, labels, namespace_labels)

    def selects_namespace(self, namespace_labels: Mapping[str, str]) -> bool:
        """Whether runs in a namespace with these labels are reported."""
        selector = self.triggers.namespace_selector if self.triggers is not None else None
        return selector is None or selector.accepts(namespace_labels)


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class CancelledRun(Part):
    """A run whose Job was deleted before it ended: its message, which has no other record."""

    namespace: Text | None = Field(default=None, description="Namespace of the trigger.")
    trigger: Text | None = Field(default=None, description="Name of the trigger.")
    trigger_kind: Text | None = Field(default=None, description="Its kind.")
    trigger_uid: Text | None = Field(default=None, description="Its uid.")
    source: Text | None = Field(default=None, description="The source that it is a run of.")
    number: Annotated[int, Field(strict=True, ge=0, le=SAFE_MAX)] | None = Field(
        default=None, description="Number of the run."
    )
    job: Text | None = Field(default=None, description="Name of its Job.")
    job_uid: Text | None = Field(default=None, description="Uid of its Job.")
    commit: Text | None = Field(default=None, description="Its commit.")
    repo_uri: Text | None = Field(default=None, description="The repository of the commit.")
    attempt: Text | None = Field(default=None, description="Which attempt it was, of how many, as `2/4`.")
    why: Text | None = Field(default=None, description="Why it was cancelled.")
    created: Text | None = Field(default=None, description="When its Job was created.")
    started: Text | None = Field(default=None, description="When its Job started.")
    ended: Text | None = Field(default=None, description="When its Job was deleted, or was about to be.")
    sent: Text | None = Field(default=None, description="When the receiver accepted or refused the message.")
    mark: Text | None = Field(default=None, description="What was sent, as in the annotation of a Job.")


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class NotifierStatus(SourceStatus):
    """How the last message was received."""

    cancelled: Annotated[tuple[CancelledRun, ...], Field(max_length=CANCELLED_MAX)] = Field(
        default=(), description="Cancelled runs whose message waits, or was sent within the last ten minutes."
    )

    conditions: tuple[Condition, ...] = Field(
        default=(),
        description="Ready: whether the receiver accepted the last message; its message has what to do. Limited: a "
        "trigger has more Notifiers than report it, and this one does not.",
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Notifier(Resource):
    """Reports runs of the triggers of its own namespace."""

    spec: NotifierSpec


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ClusterNotifier(Notifier):
    """Reports runs of the triggers of every namespace, or of those that it selects."""

    spec: ClusterNotifierSpec
