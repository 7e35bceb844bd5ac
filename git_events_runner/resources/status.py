"""Status of sources, actions and triggers: what is stored, read leniently (a strange status never hurts an object)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from .history import RunRecord
from .notified import NOTIFIED_MAX, NotifiedProblem
from .part import NAME_CHARS, PART, SAFE_MAX, Flag, Part, Text

LEDGER_MAX = 10**12  # a number that is no mistake is below it; one more can always be stored
HASH_CHARS = 128
DELIVERIES_CHARS = 64 * 11
TOKEN_CHARS = 128
KNOWN_CHARS = 4000 * 8
REASON_CHARS = 64
PROBLEM_CHARS = 600
WARNINGS_MAX = 3000
NAMES_MAX = 1000

Count = Annotated[int, Field(strict=True, ge=0, le=SAFE_MAX)]
Number = Annotated[int, Field(strict=True, ge=0, le=LEDGER_MAX)]
Hash = Annotated[Text, Field(max_length=HASH_CHARS)]
Token = Annotated[Text, Field(max_length=TOKEN_CHARS)]
Moment = Text
Reason = Annotated[Text, Field(max_length=REASON_CHARS)]
Message = Annotated[Text, Field(max_length=PROBLEM_CHARS)]
SourceName = Annotated[Text, Field(max_length=NAME_CHARS)]
State = Literal["Idle", "Running", "WrongConfig"]


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class Condition(Part):
    """One condition, in the form of metav1.Condition."""

    type: Text = Field(description="Ready, Reconciling, Stalled, Waiting or CloneFailed.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether the condition holds.")
    reason: Text = Field(default="", description="The cause, in one word.")
    message: Text = Field(default="", description="The cause, for users; one line for each source with a problem.")
    last_transition_time: Moment | None = Field(default=None, description="When `status` last changed.")
    observed_generation: Count | None = Field(
        default=None, description="The generation of the object that the condition describes."
    )


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class SourceProblem(Part):
    """Why something does not run now."""

    reason: Reason = Field(description="The cause, in one word.")
    message: Message = Field(default="", description="The cause, for users; cut if it is long.")
    stalled: bool = Field(
        default=False, description="Whether something has to be changed first; else the controller tries again."
    )
    since: Moment | None = Field(default=None, description="Since when there is a problem with this reason.")


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class EarlierProblem(SourceProblem):
    """What another version of the controller reported in the conditions."""

    sources: Annotated[tuple[SourceName, ...], Field(max_length=NAMES_MAX)] = Field(
        default=(), description="The sources that have not been checked since; the last one ends the problem."
    )


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class TriggerProblems(Part):
    """Problems that are not about one source."""

    trigger: SourceProblem | None = Field(default=None, description="A problem of the spec.")
    webhook: SourceProblem | None = Field(default=None, description="A problem of the webhook's Secret.")
    earlier: EarlierProblem | None = Field(
        default=None,
        description="What another version of the controller reported; it ends with the next check of each source, or "
        "after an hour.",
    )


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class TriggerWarning(Part):
    """What users should know and does not affect Ready."""

    reason: Reason = Field(description="What it is about, in one word.")
    source: SourceName | None = Field(default=None, description="The source that it is about; none: the trigger.")
    message: Message = Field(default="", description="The warning, for users; cut if it is long.")
    observed_generation: Count | None = Field(
        default=None, description="The generation of the trigger that it describes, where that matters."
    )


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class Announced(Part):
    """The last delivery that was counted."""

    commit: Text | None = Field(default=None, description="The commit that the request announced, if any.")
    at: Moment | None = Field(default=None, description="When the request was recorded.")


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class LastJob(Part):
    """The Job of the last settled run."""

    name: Text | None = Field(default=None, description="Name of the Job.")
    phase: Text | None = Field(
        default=None,
        description="Queued, Suspended (by another party), Running, Succeeded or Failed; Deleted: before it ended; "
        "Expired: "
        "it waited too long for a slot; Superseded or Replaced: a newer run replaced it; `Gone`: deleted while no "
        "replica was the leader.",
    )
    commit: Text | None = Field(
        default=None,
        description="The commit that it runs. `commitHash` may be a newer commit with the same selected files.",
    )
    clone_exit: Count | None = Field(
        default=None, description="Exit code of its cloner, if the Job failed because it could not clone."
    )


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class Waiting(Part):
    """A change that waits for its run."""

    reason: Text | None = Field(default=None, description="OutsideWindows, Cooldown or Debounce.")
    commit: Hash | None = Field(default=None, description="The commit that waits; when the wait ends, the newest runs.")
    since: Moment | None = Field(default=None, description="When the reference moved away from the recorded commit.")
    moved: Moment | None = Field(default=None, description="When the reference moved to this commit.")
    until: Moment | None = Field(
        default=None,
        description="When the source is checked again; unset: no window opens any more, or the last run has not "
        "started yet.",
    )


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class IgnoredCommit(Part):
    """A commit that was recorded without a run, because `spec.ignore` selects it."""

    commit: Hash | None = Field(default=None, description="The commit; while it is `commitHash`, it is the newest one.")
    reason: Text | None = Field(default=None, description="Which part of `spec.ignore` selects it.")
    author: Text | None = Field(default=None, description="Its author, in short.")
    subject: Text | None = Field(default=None, description="The first line of its message, in short.")


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class DeliveredPullRequest(Part):
    """What the newest delivery about a pull request reported."""

    head: Text | None = Field(default=None, description="The reference in git that shows its head, if there is one.")
    merge: Text | None = Field(default=None, description="The one that shows it merged, if the forge has one.")
    target: Text | None = Field(default=None, description="Name of the branch that it is to be merged into.")
    fork: Flag = Field(default=True, description="Whether its branch is in another repository.")
    closed: Flag = Field(default=False, description="Whether it is closed or merged.")
    at: Moment | None = Field(default=None, description="When that happened, by the clock of the forge.")
    repository: Text | None = Field(default=None, description="The source's address when it was delivered.")


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class CheckedSource(Part):
    """What is recorded of one source."""

    commit_hash: Hash | None = Field(
        default=None,
        description="The last commit that was checked: of the last settled run, or a newer one that changes none of "
        "the selected `files`, or that `ignore` selects.",
    )
    file_hash: Hash | None = Field(
        default=None, description="Digest of the selected files of that commit; null without `files`."
    )
    changed: Moment | None = Field(default=None, description="When `commitHash` last changed.")
    runs: Number | None = Field(
        default=None, description="Number of the last settled run: one whose Job is recorded here."
    )
    requested: Number | None = Field(default=None, description="How many accepted requests were recorded.")
    handled: Number | None = Field(default=None, description="Number of the request up to which all are handled.")
    announced: Announced | None = Field(default=None, description="The last accepted request, and what it announced.")
    answered_at: Moment | None = Field(
        default=None,
        description="The last scheduled time that a check handled; while nothing runs, not every one is written.",
    )
    run_requested: Number | None = Field(
        default=None, description="How many runs were requested by the annotation `run-requested-at`."
    )
    run_handled: Number | None = Field(
        default=None, description="Number of the request up to which all have their run."
    )
    last_job: LastJob | None = Field(default=None, description="The Job of the last settled run.")
    missing_since: Moment | None = Field(
        default=None, description="Since when git does not show the reference; it is deleted if a later check agrees."
    )
    listed_at: Moment | None = Field(
        default=None, description="When the references of the source were first listed, for `watchOn.references`."
    )
    highest_version: Text | None = Field(
        default=None, description="The highest version that ran or was recorded, for `tags.semver`."
    )
    known_references: Annotated[Text, Field(max_length=KNOWN_CHARS)] | None = Field(
        default=None, description="Digests of the references that have no entry, beyond `limit`; `*`: all others."
    )
    pull_request: DeliveredPullRequest | None = Field(
        default=None, description="What is known of the pull request, for the entry of one."
    )
    problem: SourceProblem | None = Field(default=None, description="Why the source does not run now, if so.")
    last_start: Moment | None = Field(
        default=None, description="When the Job of the last settled run was created; `cooldown` counts from it."
    )
    waiting: Waiting | None = Field(default=None, description="The change that waits, while one does.")
    ignored: IgnoredCommit | None = Field(
        default=None, description="The last commit, if it was ignored (`spec.ignore`), with the reason."
    )


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class SourceStatus(Part):
    """The last recorded state of an object that runs nothing itself."""

    observed_generation: Count | None = Field(default=None, description="The generation that this status describes.")
    conditions: tuple[Condition, ...] = Field(
        default=(),
        description="None is written: problems of an action are in the conditions of the triggers that name it.",
    )

    @classmethod
    def of(cls, raw: object) -> Self:
        """Read a stored status, leaving out what does not fit; never raises."""
        data = dict(raw) if isinstance(raw, Mapping) else {}
        while True:
            try:
                return _ADAPTERS[cls].validate_python(data)  # type: ignore[no-any-return]  # the adapter of this class
            except ValidationError as error:
                wrong = [problem["loc"] for problem in error.errors(include_url=False, include_context=False)]
                if not any([_leave_out(data, location) for location in wrong]):  # noqa: C419  each one is taken out
                    return cls()


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class RepositoryStatus(SourceStatus):
    """The last recorded state of a repository, and the host keys of its server."""

    conditions: tuple[Condition, ...] = Field(
        default=(),
        description="Of a source over SSH: Ready, and Stalled while its host key is refused. Other problems of a "
        "source are in the conditions of the triggers that name it.",
    )
    host_keys: Annotated[tuple[Text, ...], Field(max_length=16)] = Field(
        default=(),
        description="SSH: the host keys that are accepted, pinned at the first connection (trust on first use), in "
        "the form "
        "of known_hosts. Remove them to accept another one.",
    )


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class TriggerStatus(SourceStatus):
    """What a trigger has done so far: the part of the run ledger that is kept in it."""

    conditions: tuple[Condition, ...] = Field(
        default=(),
        description="Ready, and Reconciling, Stalled and CloneFailed while they hold; derived from the other fields.",
    )
    problems: TriggerProblems | None = Field(
        default=None, description="Problems that are not about one source; those are in `checkedSources`."
    )
    warnings: Annotated[tuple[TriggerWarning, ...], Field(max_length=WARNINGS_MAX)] = Field(
        default=(), description="Warnings, which do not affect Ready."
    )
    conditions_digest: Annotated[Text, Field(max_length=HASH_CHARS)] | None = Field(
        default=None,
        description="Digest of the derived conditions: conditions that something else wrote are recognised by it.",
    )
    state: State | None = Field(
        default=None,
        description="Idle, Running (a Job of it waits or runs), or WrongConfig (the condition Stalled has what to "
        "change).",
    )
    last_run: Moment | None = Field(
        default=None,
        description="When the last Job was created or the last check ended; while nothing runs, to about ten minutes.",
    )
    next_check: Moment | None = Field(
        default=None,
        description="The next scheduled check, as of the last write of this status; absent while it is suspended, and "
        "with schedules whose times are less than ten minutes apart.",
    )
    checked_sources: dict[str, CheckedSource] = Field(
        default_factory=dict,
        description="The entry of each source, by its name; with `watchOn.references` also of each reference, as "
        "`source@heads/main` or `source@tags/v1`.",
    )
    last_run_number: Number | None = Field(
        default=None,
        description="The highest run number of sources that were removed: those added later continue after it.",
    )
    last_handled_requested_at: Token | None = Field(
        default=None, description="Token of the annotation `requested-at` that was handled last (a check)."
    )
    last_handled_run_requested_at: Token | None = Field(
        default=None,
        description="Token of the annotation `run-requested-at` that was handled last (a run).",
    )
    history: tuple[RunRecord, ...] = Field(
        default=(),
        description="The last runs, newest first: `historyLimit` of them, and fewer where they would take more than "
        "4 KiB.",
    )
    deliveries: Annotated[Text, Field(max_length=DELIVERIES_CHARS)] | None = Field(
        default=None, description="Digests of the last 64 accepted requests: none of them is recorded twice."
    )
    notified: Annotated[tuple[NotifiedProblem, ...], Field(max_length=NOTIFIED_MAX)] = Field(
        default=(), description="Problems that were reported to the receivers of Notifiers within the last hour."
    )


def _leave_out(data: dict[str, Any], location: tuple[int | str, ...]) -> bool:
    """Remove what is wrong (of a list, all of it), copying the mappings on the way. Whether anything was removed."""
    place = data
    for step in location[:-1]:
        inner = place.get(str(step))
        if not isinstance(inner, Mapping):
            return place.pop(str(step), place) is not place
        place[str(step)] = place = dict(inner)
    return bool(location) and place.pop(str(location[-1]), place) is not place


_ADAPTERS: dict[type, TypeAdapter[Any]] = {
    cls: TypeAdapter(cls) for cls in (SourceStatus, RepositoryStatus, TriggerStatus)
}
