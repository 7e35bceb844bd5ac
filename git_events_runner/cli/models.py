"""What verbs print with `-o json`: stable; a field is added, never removed or renamed (docs/command-line.md)."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

API_VERSION = "cli.git-events-runner.rs/v1"


class _Model(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        frozen=True,
        extra="forbid",
        json_schema_serialization_defaults_required=True,
    )


class Run(_Model):
    """One run of a trigger."""

    number: int | None = Field(default=None, description="Number of the run, among those of its source.")
    source: str | None = Field(default=None, description="The source that it is a run of.")
    reference: str | None = Field(default=None, description="The reference, where the trigger watches several.")
    commit: str | None = Field(default=None, description="The commit that it runs.")
    author: str | None = Field(default=None, description="Author of the commit, where known.")
    subject: str | None = Field(default=None, description="First line of the commit's message, where known.")
    reason: str | None = Field(default=None, description="Why it was started.")
    job: str | None = Field(default=None, description="Name of its Job, which may be deleted by now.")
    phase: str | None = Field(default=None, description="Queued, Running, Succeeded, Failed or another end.")
    queued: str | None = Field(default=None, description="When its Job was created.")
    started: str | None = Field(default=None, description="When its Job started.")
    finished: str | None = Field(default=None, description="When its Job ended.")
    exit_code: int | None = Field(default=None, description="Exit code of the container that failed, where known.")
    attempt: str | None = Field(default=None, description="Of a retry: which attempt it is, of how many, as `2/4`.")


class Source(_Model):
    """What is recorded of one source of a trigger."""

    name: str = Field(description="Name of the source.")
    kind: str = Field(description="GitRepo or ClusterGitRepo.")
    reference: str = Field(
        description="The reference, as `branch main`; of patterns, an item for each that is recorded."
    )
    commit: str | None = Field(default=None, description="The last commit that was checked.")
    changed: str | None = Field(default=None, description="When that commit was recorded.")
    runs: int = Field(default=0, description="Number of the last run.")
    open_requests: int = Field(
        default=0, description="Requests (deliveries, annotations) that no check has handled yet."
    )
    problem: str | None = Field(default=None, description="What prevents its next run.")
    waiting: str | None = Field(
        default=None, description="Why a change waits: OutsideWindows, Debounce or Cooldown; null: none does."
    )
    waiting_until: str | None = Field(default=None, description="Until when it waits; null: that is not known.")
    ignored: str | None = Field(default=None, description="Why the last commit is ignored (`spec.ignore`), if it is.")


class Condition(_Model):
    """A condition of the trigger."""

    type: str = Field(description="Type of the condition.")
    status: str = Field(description="True, False or Unknown.")
    reason: str = Field(default="", description="The cause, in one word.")
    message: str = Field(default="", description="The cause, for users.")
    since: str | None = Field(default=None, description="When `status` last changed.")


class Trigger(_Model):
    """One trigger."""

    kind: str = Field(description="ScheduleTrigger or WebhookTrigger.")
    namespace: str = Field(description="Its namespace.")
    name: str = Field(description="Its name.")
    state: str = Field(
        description="Deleting, Suspended, Stalled (something has to be changed), Retrying, Running, Queued, Waiting, "
        "New (never checked) or Idle."
    )
    suspended: bool = Field(description="Whether `spec.suspend` is true.")
    result: str | None = Field(default=None, description="Phase of the last run.")
    commit: str | None = Field(default=None, description="Commit of the last run, or the last that was checked.")
    last_run: str | None = Field(default=None, description="When the last run ended, or else was recorded.")
    next_check: str | None = Field(default=None, description="The next scheduled time; null without a schedule.")
    queued: int = Field(default=0, description="How many of its last Jobs wait for a slot.")
    running: int = Field(default=0, description="How many of its last Jobs run.")
    problem: str | None = Field(default=None, description="What prevents its next run, in one line.")
    warnings: list[str] = Field(default=[], description="What does not prevent runs, but should be changed.")


class TriggerDetail(Trigger):
    """One trigger with its sources, runs and conditions."""

    api_version: str = Field(default=API_VERSION, description="Version of this form.")
    sources: list[Source] = Field(description="Its sources.")
    history: list[Run] = Field(description="Its last runs, newest first.")
    conditions: list[Condition] = Field(description="Its conditions.")


class TriggerList(_Model):
    """Output of `status -o json`."""

    api_version: str = Field(default=API_VERSION, description="Version of this form.")
    items: list[Trigger] = Field(description="The triggers, by namespace, kind and name.")


class StepOut(_Model):
    """One fact about a trigger."""

    topic: str = Field(description="What it is about.")
    text: str = Field(description="The fact.")
    remedy: str = Field(default="", description="What to do about it.")


class ExplanationOut(_Model):
    """Output of `explain -o json`."""

    api_version: str = Field(default=API_VERSION, description="Version of this form.")
    cause: str = Field(description="Why the trigger ran or did not, with what to do.")
    wrong: bool = Field(description="Whether something has to be changed, or a run failed.")
    steps: list[StepOut] = Field(description="The facts.")


class FindingOut(_Model):
    """One finding about the installation."""

    level: str = Field(description="ok, warning, problem or unknown (it could not be read).")
    topic: str = Field(description="What it is about.")
    text: str = Field(description="What was found.")
    remedy: str = Field(default="", description="What to do about it.")


class FindingList(_Model):
    """Output of `doctor -o json`."""

    api_version: str = Field(default=API_VERSION, description="Version of this form.")
    items: list[FindingOut] = Field(description="The findings.")


class ManifestProblemOut(_Model):
    """One problem of a manifest."""

    file: str = Field(description="The file, `stdin` for standard input, `-` where none can be named.")
    line: int | None = Field(default=None, description="The line; null: the file itself.")
    field: str = Field(description="Path of the field; empty: the document.")
    text: str = Field(description="What is wrong, and what to do.")


class CheckOut(_Model):
    """Output of `check -o json`."""

    api_version: str = Field(default=API_VERSION, description="Version of this form.")
    objects: int = Field(description="How many objects were read; 0 if there are problems.")
    problems: list[ManifestProblemOut] = Field(description="The problems.")
    skipped: list[str] = Field(description="Documents that are no concern of this program.")
    notes: list[str] = Field(description="What could not be checked.")


class OutcomeOut(_Model):
    """How a request ended that `--wait` followed."""

    text: str = Field(description="How it ended, in words.")
    exit_code: int = Field(description="The exit code of the program.")
    runs: list[Run] = Field(description="The runs that it started, of each source the last one.")


class RequestOut(_Model):
    """Output of `trigger -o json` and `rerun -o json`."""

    api_version: str = Field(default=API_VERSION, description="Version of this form.")
    kind: str = Field(description="ScheduleTrigger or WebhookTrigger.")
    namespace: str = Field(description="Its namespace.")
    name: str = Field(description="Its name.")
    request: str = Field(description="What is requested: `check` or `run`.")
    token: str = Field(description="The value of the annotation, by which the request is handled once.")
    sources: list[str] = Field(description="The sources, or references of them, that it concerns.")
    outcome: OutcomeOut | None = Field(default=None, description="How it ended; null without `--wait`.")


class SuspensionOut(_Model):
    """Output of `suspend -o json` and `resume -o json`."""

    api_version: str = Field(default=API_VERSION, description="Version of this form.")
    kind: str = Field(description="ScheduleTrigger or WebhookTrigger.")
    namespace: str = Field(description="Its namespace.")
    name: str = Field(description="Its name.")
    suspended: bool = Field(description="Whether it is suspended now.")
    changed: bool = Field(description="Whether this command changed it.")


class TimeOut(_Model):
    """A scheduled time."""

    at: str = Field(description="The time, as RFC 3339.")
    starts: str | None = Field(
        default=None, description="When the run of a change starts that is found then; null: no window opens any more."
    )


class ScheduleOut(_Model):
    """The times of one schedule."""

    trigger: str | None = Field(default=None, description="KIND NAMESPACE/NAME, of manifests; null: a schedule alone.")
    suspended: bool = Field(default=False, description="Whether that trigger is suspended.")
    times: list[TimeOut] = Field(description="The next scheduled times; none: never again.")


class ScheduleList(_Model):
    """Output of `next -o json`."""

    api_version: str = Field(default=API_VERSION, description="Version of this form.")
    items: list[ScheduleOut] = Field(description="The schedule, or that of each trigger in the manifests.")


OUTPUTS: dict[str, type[BaseModel]] = {  # by the name of its schema in docs/schemas
    "status": TriggerList,
    "status-of-one": TriggerDetail,
    "explain": ExplanationOut,
    "check": CheckOut,
    "trigger": RequestOut,
    "rerun": RequestOut,
    "suspend": SuspensionOut,
    "resume": SuspensionOut,
    "doctor": FindingList,
    "next": ScheduleList,
}


def schema_of(name: str) -> dict[str, Any]:
    """The JSON schema of an output. It allows further fields, since later versions add some."""
    found = OUTPUTS[name].model_json_schema(by_alias=True, mode="serialization")
    for part in (found, *found.get("$defs", {}).values()):
        part.pop("additionalProperties", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def dumped(model: BaseModel) -> dict[str, Any]:
    """A model as JSON has it."""
    return model.model_dump(mode="json", by_alias=True)
