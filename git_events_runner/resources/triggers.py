"""ScheduleTrigger and WebhookTrigger: what is watched, when it is looked at, and what runs then."""

from __future__ import annotations

import dataclasses
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic.config import JsonDict
from pydantic.dataclasses import dataclass

from .concurrency import Concurrency
from .history import HistoryLimit
from .meta import Resource
from .part import PART, Flag, Name, Part, Reference, Text
from .retry import Retry
from .schedules import INTERVAL, cron_rules
from .status import TriggerStatus

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

_NO_FIRST = "firstCheck: Record needs a schedule: without one the first check is a request, which runs the action"
_MAIN = Reference(branch="main")
_MAIN_JSON: JsonDict = {"branch": "main"}


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class WatchOn(Part):
    """What counts as a change."""

    on_change_only: Flag = Field(
        description="true: run at the first check, then when something changed. false: run at every check (schedule) "
        "or "
        "accepted request (webhook)."
    )
    reference: Reference = Field(
        default=_MAIN,
        description="The branch, tag or commit that is watched.",
        json_schema_extra={"default": _MAIN_JSON},
    )
    files: Patterns | None = Field(
        default=None,
        description="Patterns as in a .gitignore file; a new commit then counts only if the files that they select "
        "differ. "
        "While they select nothing, the Ready condition has the warning FilesSelectNothing.",
    )


_ANY_CHANGE_OF_MAIN = WatchOn(on_change_only=True)


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class Sources(Part):
    """The repositories that are watched, all in the same manner."""

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
    """When the sources are looked at."""

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
    """A Secret beside the trigger."""

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
    first_check: Literal["Run", "Record"] = Field(
        default="Run",
        description="What the first scheduled check of a source does. `Run`: it runs the action. `Record`: it records "
        "the current commit, and runs nothing.",
    )
    history_limit: HistoryLimit | None = Field(
        default=None,
        description="How many runs `status.history` keeps; unset: the runtime config's `trigger.historyLimit`, which "
        "is 10.",
    )


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class ScheduleTriggerSpec(TriggerSpec):
    """Looks at its sources by the clock."""

    schedule: Schedule = Field(description="When the sources are checked: exactly one of interval and cron.")


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class WebhookTriggerSpec(TriggerSpec):
    """Looks at its sources when it is called, and by the clock if it has a schedule too."""

    rules: ClassVar[tuple[tuple[str, str], ...]] = (("self.firstCheck != 'Record' || has(self.schedule)", _NO_FIRST),)

    webhook: Webhook = Field(description="Which requests are accepted.")
    schedule: Schedule | None = Field(
        default=None,
        description="When the sources are checked in addition, in case a delivery is lost: exactly one of interval and "
        "cron.",
    )

    @model_validator(mode="after")
    def _first_check_is_scheduled(self) -> Self:
        if self.first_check == "Record" and self.schedule is None:
            raise ValueError(_NO_FIRST)
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
