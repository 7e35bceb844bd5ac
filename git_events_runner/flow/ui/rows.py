"""One row for each trigger and each run: made from the store's objects, without a clock, so that rows can be kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.resources.job import JobView, timestamp
from git_events_runner.resources.ref import Ref
from git_events_runner.resources.status import Condition, TriggerStatus
from git_events_runner.rules.check_result import words_of
from git_events_runner.rules.identity import Owner
from git_events_runner.rules.ledger.entry import entry_of
from git_events_runner.rules.references import is_pull, reference_of, source_of
from git_events_runner.rules.watch_words import pull_words

EPOCH = datetime.fromtimestamp(0, tz=UTC)
_RUNNING = frozenset(("Running", "Queued", "Suspended"))
_FAILED = frozenset(("Failed", "CloneFailed"))
_HISTORY_READ = 100


class Tone(StrEnum):
    """The style of a state; its word has the same meaning."""

    GOOD = "good"
    BAD = "bad"
    WARN = "warn"
    BUSY = "busy"
    WAIT = "wait"
    OFF = "off"


class State(StrEnum):
    """States of a trigger, in order of the attention that they need."""

    tone: Tone
    words: str

    def __new__(cls, value: str, tone: Tone, words: str) -> State:  # noqa: PYI034  an enum's member
        """A state with its style and its words."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.tone = tone
        member.words = words
        return member

    STALLED = "stalled", Tone.BAD, "Stalled"
    RETRYING = "retrying", Tone.BAD, "Retrying"
    FAILED = "failed", Tone.BAD, "Last run failed"
    RUNNING = "running", Tone.BUSY, "Running"
    QUEUED = "queued", Tone.WAIT, "Queued"
    WAITING = "waiting", Tone.WAIT, "Waiting"
    SUSPENDED = "suspended", Tone.OFF, "Suspended"
    IDLE = "idle", Tone.GOOD, "Idle"
    NEW = "new", Tone.OFF, "New"

    @property
    def needs_attention(self) -> bool:
        """Whether a person has to inspect it."""
        return self.tone is Tone.BAD


RANKS = {state: rank for rank, state in enumerate(State)}
_PHASES: dict[str, tuple[Tone, str]] = {
    "Queued": (Tone.WAIT, "Queued"),
    "Suspended": (Tone.OFF, "Suspended"),
    "Running": (Tone.BUSY, "Running"),
    "Succeeded": (Tone.GOOD, "Succeeded"),
    "Failed": (Tone.BAD, "Failed"),
    "CloneFailed": (Tone.BAD, "Clone failed"),
    "Superseded": (Tone.OFF, "Superseded"),
    "Replaced": (Tone.OFF, "Replaced"),
    "Expired": (Tone.WARN, "Expired in the queue"),
    "Deleted": (Tone.WARN, "Deleted"),
    "Gone": (Tone.OFF, "Gone"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One run, from its Job or from the history in its trigger's status; unknown times are None."""

    trigger: Ref
    source: str
    reference: str
    number: int | None
    job: str
    commit: str
    reason: str
    phase: str
    tone: Tone
    words: str
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    exit_code: int | None
    attempt: str
    view: JobView | None = None  # of its Job; None: the run is known from the status alone

    @property
    def order(self) -> tuple[datetime, int, str]:
        """What runs are sorted by, the latest last."""
        return (self.queued_at or self.started_at or self.ended_at or EPOCH, self.number or 0, self.job)

    @property
    def finished(self) -> bool:
        """Whether it has ended."""
        return self.phase not in _RUNNING

    @property
    def failed(self) -> bool:
        """Whether it ran, and failed."""
        return self.phase in _FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerRow:
    """One trigger with its state; `row` of a trigger is cheap to make from `Declared` and its runs."""

    declared: Declared
    state: State
    last: RunRow | None
    active: int

    @property
    def ref(self) -> Ref:
        """Which trigger."""
        return self.declared.ref


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """The data of one trigger's object: its spec and status, in the page's words."""

    ref: Ref
    uid: str
    sources: tuple[str, ...]
    reference: str
    when: str
    action: str
    suspended: bool
    status: TriggerStatus
    conditions: Mapping[str, Condition]
    problem: str
    reason: str
    since: datetime | None
    invalid: str
    history: tuple[RunRow, ...]
    text: str


def declared(snapshot: Snapshot) -> Declared:
    """Read one trigger's object; strange values read as absent, never as an error."""
    status = TriggerStatus.of(snapshot.raw.get("status"))
    conditions = {each.type: each for each in status.conditions}
    worst = next((each for name in ("Stalled", "Reconciling") if (each := conditions.get(name)) is not None), None)
    ready = conditions.get("Ready")
    if worst is None and ready is not None and ready.status == "False":
        worst = ready
    spec = snapshot.model.spec if snapshot.model is not None else None
    sources = tuple(spec.sources.names) if spec is not None else tuple(status.checked_sources)
    action = f"{spec.action.kind}/{spec.action.name}" if spec is not None else ""
    ref = snapshot.ref
    return Declared(
        ref=ref,
        uid=snapshot.uid,
        sources=sources,
        reference=reference_words(spec) if spec is not None else "",
        when=when_words(spec) if spec is not None else "",
        action=action,
        suspended=bool(spec is not None and spec.suspend),
        status=status,
        conditions=conditions,
        problem=worst.message if worst is not None else "",
        reason=worst.reason if worst is not None else "",
        since=timestamp(worst.last_transition_time) if worst is not None else None,
        invalid=str(snapshot.invalid) if snapshot.invalid is not None else "",
        history=tuple(_history(snapshot, sources)),
        text="\n".join((ref.namespace or "", ref.name, *sources, action)).lower(),
    )


def reference_words(spec: Any) -> str:
    """The watched references, as `branch main`, or by patterns as `branches main, release/*`."""
    watch = spec.sources.watch_on
    if watch.references is None:
        found = ((kind, getattr(watch.reference, kind)) for kind in ("branch", "tag", "commit"))
        return next((f"{kind} {name}" for kind, name in found if name), "")
    parts = []
    for kind in ("branches", "tags"):
        chosen = getattr(watch.references, kind)
        if chosen is not None:
            semver = f" {chosen.semver}" if kind == "tags" and chosen.semver else ""
            parts.append(f"{kind} {', '.join(chosen.include)}{semver}")
    if watch.references.pull_requests is not None:
        pulls = watch.references.pull_requests
        parts.append(pull_words({"from": pulls.origin, "checkout": pulls.checkout}))
    return " and ".join(parts)


def when_words(spec: Any) -> str:
    """The causes of a trigger's checks, as `every 1h` or `webhook`."""
    schedule = spec.schedule
    by_clock = ""
    if schedule is not None:
        by_clock = f"every {schedule.interval}" if schedule.interval else f"cron {schedule.cron}"
    called = "webhook" if getattr(spec, "webhook", None) is not None else ""
    return " and ".join(part for part in (called, by_clock) if part)


def trigger_row(trigger: Declared, runs: Sequence[RunRow]) -> TriggerRow:
    """The trigger with its state; `runs` are its own, the latest first."""
    active = [run for run in runs if not run.finished]
    ended = next((run for run in runs if run.finished), None)
    state = State.IDLE
    if trigger.invalid or "Stalled" in trigger.conditions:
        state = State.STALLED
    elif trigger.problem:
        state = State.RETRYING
    elif any(run.phase == "Running" for run in active):
        state = State.RUNNING
    elif active:
        state = State.QUEUED
    elif trigger.suspended:
        state = State.SUSPENDED
    elif ended is not None and ended.failed:
        state = State.FAILED
    elif (waiting := trigger.conditions.get("Waiting")) is not None and waiting.status == "True":
        state = State.WAITING
    elif not trigger.conditions:
        state = State.NEW
    return TriggerRow(declared=trigger, state=state, last=runs[0] if runs else None, active=len(active))


def run_row(job: Snapshot, owner: Owner[Snapshot]) -> RunRow:
    """The run of a Job that is known to be one."""
    view: JobView = job.model
    phase = "CloneFailed" if view.clone_exit is not None else view.phase
    tone, words = _PHASES[phase]
    source, reference = split(owner.source)
    return RunRow(
        trigger=owner.trigger.ref,
        source=source,
        reference=reference,
        number=owner.number,
        job=job.ref.name,
        commit=view.commit or "",
        reason=words_of(view.reason) or view.reason or "",
        phase=phase,
        tone=tone,
        words=words,
        queued_at=view.created_at,
        started_at=view.started_at,
        ended_at=view.ended_at,
        exit_code=view.failure.exit_code if view.failure else None,
        attempt=str(view.attempt) if view.attempt.number > 1 else "",
        view=view,
    )


def _history(snapshot: Snapshot, sources: Iterable[str]) -> Iterable[RunRow]:
    """The runs that a trigger's status records, of its history or else of its sources' last Jobs."""
    status = snapshot.raw.get("status")
    status = status if isinstance(status, Mapping) else {}
    history = status.get("history")
    if isinstance(history, list) and history:
        for each in history[:_HISTORY_READ]:
            if isinstance(each, Mapping):
                yield _recorded(snapshot.ref, each)
        return
    entries = status.get("checkedSources")
    entries = entries if isinstance(entries, Mapping) else {}
    for source in sources:
        entry = entries.get(source)
        last = entry.get("lastJob") if isinstance(entry, Mapping) else None
        if isinstance(last, Mapping) and last.get("name"):
            number = entry_of(status, source).runs
            yield _recorded(snapshot.ref, {**last, "job": last["name"], "source": source, "number": number})


def split(key: str) -> tuple[str, str]:
    """Source and reference of the key of an entry; the reference is empty for an entry of the source itself.

    >>> split("app@heads/feature/x"), split("app")
    (('app', 'feature/x'), ('app', ''))
    >>> split("app@pull/7")
    ('app', 'pull request 7')
    """
    reference = reference_of(key)
    if reference is None:
        return source_of(key), ""
    return source_of(key), " ".join(reference) if is_pull(key) else reference[1]


def _recorded(trigger: Ref, raw: Mapping[str, Any]) -> RunRow:
    phase = _text(raw.get("phase")) or "Gone"
    tone, words = _PHASES.get(phase, (Tone.OFF, phase))
    source, reference = split(_text(raw.get("source")))
    return RunRow(
        trigger=trigger,
        source=source,
        reference=_text(raw.get("reference")) or reference,
        number=_number(raw.get("number")),
        job=_text(raw.get("job")),
        commit=_text(raw.get("commit")),
        reason=words_of(_text(raw.get("reason"))) or _text(raw.get("reason")),
        phase=phase,
        tone=tone,
        words=words,
        queued_at=timestamp(raw.get("queued")),
        started_at=timestamp(raw.get("started")),
        ended_at=timestamp(raw.get("finished")),
        exit_code=_number(raw.get("exitCode")),
        attempt=_text(raw.get("attempt")),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
