"""What verbs print with `-o json`: stable; a field is added, never removed or renamed (docs/command-line.md)."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

API_VERSION = "cli.git-events-runner.rs/v1"


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, frozen=True, extra="forbid")


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


def dumped(model: BaseModel) -> dict[str, Any]:
    """A model as JSON has it."""
    return model.model_dump(mode="json", by_alias=True)
