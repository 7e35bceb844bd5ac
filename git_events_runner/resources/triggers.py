"""ScheduleTrigger and WebhookTrigger: what is watched, when it is checked, and what runs then."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic.config import JsonDict
from pydantic.dataclasses import dataclass

from .concurrency import Concurrency
from .history import HistoryLimit
from .ignore import Ignore
from .meta import Resource
from .part import PART, Flag, Name, Part, Reference, Text
from .pull_requests import FORGES, MERGING, NEEDS_MERGES, NEEDS_WEBHOOKS, NEVER_POLLED, ONLY_WEBHOOKS, WEBHOOK_RULES
from .references import OnDelete, References
from .retry import Retry
from .schedules import INTERVAL, cron_rules
from .status import TriggerStatus
from .windows import Debounce, Length, Windows

SOURCES_MAX = 1000
PATTERNS_MAX = 1000
PATTERN_CHARS = 4096
SCHEDULE_CHARS = 256
HEADER_CHARS = 256
KEY_CHARS = 253

Patterns = Annotated[tuple[Annotated[Text, Field(max_length=PATTERN_CHARS)], ...], Field(max_length=PATTERNS_MAX)]
AuthType = Literal["header", "github", "gitlab", "gitea", "bitbucket", "azure", "standard-webhooks", "hmac"]
Names = Annotated[
    tuple[Name, ...], Field(max_length=SOURCES_MAX), AfterValidator(lambda names: tuple(dict.fromkeys(names)))
]

_FIRST = (
    "!has(self.firstCheck) || self.firstCheck != 'Record' || has(self.schedule) || "
    "(has(self.sources.watchOn) && has(self.sources.watchOn.references))"
)
_NO_FIRST = (
    "firstCheck: Record needs a schedule, or watchOn.references: else the first check is a request, which runs the "
    "action"
)
_ONE = "exactly one of reference and references must be set"
_NO_DELETE = "onDelete needs references: it runs when one of the watched references is deleted"
_ALWAYS = "onChangeOnly: false needs a single reference: with references, each runs when it changes"
_MAIN = Reference(branch="main")
_MAIN_JSON: JsonDict = {"branch": "main"}


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class WatchOn(Part):
    """What counts as a change."""

    rules: ClassVar[tuple[tuple[str, str], ...]] = (
        ("!has(self.reference) || !has(self.references)", _ONE),
        ("!has(self.onDelete) || has(self.references)", _NO_DELETE),
        ("!has(self.references) || self.onChangeOnly", _ALWAYS),
    )

    on_change_only: Flag = Field(
        description="true: run at the first check, then when something changed. false: run at every check (schedule) "
        "or "
        "accepted request (webhook)."
    )
    reference: Reference = Field(
        default=_MAIN,
        description="The branch, tag or commit that is watched; unset, and without `references`: the branch `main`.",
        json_schema_extra={"default": None},  # the API server would add it to `references`
    )
    references: References | None = Field(
        default=None,
        description="Patterns of branches and tags, and pull requests, each watched by itself; not with `reference`.",
        json_schema_extra={"nullable": False},
    )
    on_delete: OnDelete | None = Field(
        default=None,
        description="The action that runs once when a reference that `references` select is deleted, with its last "
        "known commit.",
        json_schema_extra={"nullable": False},
    )
    files: Patterns | None = Field(
        default=None,
        description="Patterns as in a .gitignore file; a new commit then counts only if the files that they select "
        "differ. "
        "While they select nothing, the Ready condition has the warning FilesSelectNothing.",
    )

    @model_validator(mode="before")
    @classmethod
    def _one_of_both(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and data.get("reference") is not None and data.get("references") is not None:
            raise ValueError(_ONE)
        return data

    @model_validator(mode="after")
    def _fits_references(self) -> Self:
        if self.references is None and self.on_delete is not None:
            raise ValueError(_NO_DELETE)
        if self.references is not None and not self.on_change_only:
            raise ValueError(_ALWAYS)
        return self


_ANY_CHANGE_OF_MAIN = WatchOn(on_change_only=True)


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class Sources(Part):
    """The repositories that are watched, all in the same way."""

    kind: Literal["GitRepo", "ClusterGitRepo"] = Field(default="GitRepo", description="Kind of all sources.")
    names: Names = Field(description="Names of the sources; a name given twice counts once.")
    watch_on: WatchOn = Field(
        default=_ANY_CHANGE_OF_MAIN,
        description="What counts as a change.",
        json_schema_extra={"default": {"onChangeOnly": True, "reference": _MAIN_JSON}},
    )


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class TriggerAction(Part):
    """The action that runs."""

    kind: Literal["Action", "ClusterAction"] = Field(description="Kind of the action.")
    name: Name = Field(description="Name of the action.")


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class Schedule(Part):
    """When the sources are checked."""

    one_of: ClassVar[tuple[str, ...]] = ("interval", "cron")

    interval: Annotated[Text, Field(max_length=SCHEDULE_CHARS), INTERVAL] | None = Field(
        default=None,
        description="Time from one check to the next, such as `1h 15m` or `30s`. The first check is made when the "
        "trigger is created, and runs the action.",
    )
    cron: Annotated[Text, Field(max_length=SCHEDULE_CHARS)] | None = Field(
        default=None,
        description="5 fields, 6 (seconds first) or 7 (year last), or @hourly to @yearly; `TZ=Europe/Kyiv ` may come "
        "before, else it is UTC. The first check is made when the trigger is created, with any expression, and runs "
        "the action.",
        json_schema_extra={"x-kubernetes-validations": cron_rules()},  # type: ignore[dict-item]  # JSON, as pydantic wants it
    )


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class SecretName(Part):
    """A Secret next to the trigger."""

    name: Name = Field(description="Name of the Secret, in the trigger's namespace.")


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class WebhookAuth(Part):
    """What a request must bring."""

    type: AuthType = Field(
        default="header",
        description="How requests authenticate. `header`: the secret is in a header. `github`, `gitlab`, "
        "`gitea` (also Forgejo), `bitbucket`, `azure`: as that forge does, and its payload is read. "
        "`standard-webhooks`: a signature of that standard. `hmac`: an HMAC of the body in a header.",
    )
    secret_ref: SecretName = Field(description="The Secret with the webhook's secret.")
    key: Annotated[Text, Field(max_length=KEY_CHARS)] = Field(
        description="Key in the Secret. Its value is the secret, or several, one per line, each of which is accepted."
    )
    header: Annotated[Text, Field(max_length=HEADER_CHARS)] | None = Field(
        default=None,
        description="Header with the secret, for `header` (unset: the runtime config's `defaultAuthHeader`), or "
        "with the digest, for `hmac` (unset: `X-Signature`).",
    )
    algorithm: Literal["sha256", "sha512"] = Field(default="sha256", description="Digest of the HMAC, for `hmac`.")


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class Webhook(Part):
    """Who may call, and what for."""

    multi_source: Flag = Field(description="Whether one request may check all sources (`POST /namespace/trigger`).")
    auth_config: WebhookAuth | None = Field(
        default=None, description="How requests authenticate; unset: everyone who can connect to the port may call."
    )
    match_repository: Flag = Field(
        default=False,
        description="Whether the repository that the payload names chooses the sources, by their `repoUri`. The "
        "trigger then also takes `POST /namespace`, together with the others of its namespace.",
    )


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class TriggerSpec(Part):
    """What every trigger has."""

    sources: Sources = Field(description="The repositories that are watched.")
    action: TriggerAction = Field(description="The action that runs.")
    suspend: Flag = Field(
        default=False,
        description="true: no checks and no new Jobs. Accepted requests are recorded and checked on resume; a "
        "missed scheduled time is handled once on resume. Existing Jobs continue.",
    )
    concurrency: Concurrency | None = Field(
        default=None, description="Which runs may not overlap; unset: runs may overlap."
    )
    retry: Retry | None = Field(default=None, description="Whether failed runs are run again; unset: they are not.")
    first_check: Literal["Run", "Record"] | None = Field(
        default=None,
        description="What the first scheduled check of a source does. `Run`: it runs the action. `Record`: it records "
        "the current commit, and runs nothing. Unset: `Run`; with `watchOn.references` `Record`, for all references "
        "that exist then.",
    )
    history_limit: HistoryLimit | None = Field(
        default=None,
        description="How many runs `status.history` keeps; unset: the runtime config's `trigger.historyLimit`, which "
        "is 10.",
    )
    windows: Windows = Field(
        default=(),
        description="When runs may start. Outside, changes wait; when a window opens, the newest one runs, once.",
    )
    debounce: Debounce | None = Field(
        default=None,
        description="Wait until the reference has not moved for a while; unset: a change runs immediately.",
    )
    cooldown: Length | None = Field(
        default=None,
        description="Shortest time between the starts of two runs of a source, such as `10m`; a change waits for it.",
    )

    ignore: Ignore | None = Field(
        default=None,
        description="Commits that are recorded without a run, by author or message of the reference's newest commit; "
        "unset: none.",
    )

    @property
    def records_first(self) -> bool:
        """Whether the first check records what it finds, and runs nothing."""
        if self.first_check is None:
            return self.sources.watch_on.references is not None
        return self.first_check == "Record"


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class ScheduleTriggerSpec(TriggerSpec):
    """Checks its sources by the clock."""

    rules: ClassVar[tuple[tuple[str, str], ...]] = (ONLY_WEBHOOKS,)

    schedule: Schedule = Field(description="When the sources are checked: exactly one of interval and cron.")

    @model_validator(mode="after")
    def _has_no_deliveries(self) -> Self:
        references = self.sources.watch_on.references
        if references is not None and references.pull_requests is not None:
            raise ValueError(NEEDS_WEBHOOKS)
        return self


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class WebhookTriggerSpec(TriggerSpec):
    """Checks its sources when it is called, and by the clock if it has a schedule too."""

    rules: ClassVar[tuple[tuple[str, str], ...]] = (
        (
            _FIRST,
            _NO_FIRST,
        ),
        *WEBHOOK_RULES,
    )

    webhook: Webhook = Field(description="Which requests are accepted.")
    schedule: Schedule | None = Field(
        default=None,
        description="When the sources are checked in addition, in case a delivery is lost: exactly one of interval and "
        "cron.",
    )

    @model_validator(mode="after")
    def _first_check_is_scheduled(self) -> Self:
        if self.first_check == "Record" and self.schedule is None and self.sources.watch_on.references is None:
            raise ValueError(_NO_FIRST)
        return self

    @model_validator(mode="after")
    def _pull_requests_are_delivered(self) -> Self:
        references = self.sources.watch_on.references
        if references is None or references.pull_requests is None:
            return self
        auth = self.webhook.auth_config
        if auth is None or auth.type not in FORGES:
            raise ValueError(NEEDS_WEBHOOKS)
        if references.pull_requests.checkout == "Merge" and auth.type not in MERGING:
            raise ValueError(NEEDS_MERGES)
        if self.schedule is not None and references.branches is None and references.tags is None:
            raise ValueError(NEVER_POLLED)
        return self


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Trigger(Resource):
    """Either trigger."""

    spec: TriggerSpec

    @property
    def status(self) -> TriggerStatus:
        """What it has done so far; strange values read as absent."""
        return TriggerStatus.of(self.raw_status)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleTrigger(Trigger):
    """A trigger that the clock starts."""

    spec: ScheduleTriggerSpec


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WebhookTrigger(Trigger):
    """A trigger that a request starts."""

    spec: WebhookTriggerSpec
