"""Findings about one source of a trigger: what is recorded, what is open, and its last run. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from git_events_runner.errors import InvalidObject
from git_events_runner.resources.conditions import ConditionType, Reason
from git_events_runner.resources.job import JobView
from git_events_runner.resources.parse import parse
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.concurrency import groups_of, occupies
from git_events_runner.rules.identity import Owner
from git_events_runner.rules.ignored import ignored_line
from git_events_runner.rules.jobs.last_job import EXPIRED, GONE
from git_events_runner.rules.jobs.lifecycle import DELETED, FAILED
from git_events_runner.rules.jobs.retry import next_attempt, retry_at, waits_for_newer
from git_events_runner.rules.ledger.entry import Entry, entry_of
from git_events_runner.rules.overtaken import REPLACED, SUPERSEDED
from git_events_runner.rules.reference_entries import Listed, keys_of
from git_events_runner.rules.references import reference_of as reference_of_key
from git_events_runner.rules.references import source_of
from git_events_runner.rules.starting import backs_off_until, is_not_starting, why
from git_events_runner.rules.waits import WaitPolicy, line_of, waiting_of
from git_events_runner.rules.windows import parse_windows

from .facts import Facts, ref_of
from .findings import Rank, Step, counted, listed, short, words_of
from .overview import next_check, reference_of
from .remedies import remedy_of


def of_source(facts: Facts, name: str) -> Iterator[Step]:
    """Every finding about one source."""
    status = facts.trigger.get("status") or {}
    entry = entry_of(status, name)
    topic = title(name)
    if not entry.exists and name in facts.live:
        yield from _live(facts, name, entry)
        return
    if not entry.exists:
        scheduled = bool((facts.trigger.get("spec") or {}).get("schedule"))
        yield Step(
            topic=topic,
            text=f"{topic} was never checked",
            rank=Rank.WAITING if scheduled else Rank.CONTEXT,
            remedy="the first check follows within seconds" if scheduled else "a delivery causes the first one",
        )
        return
    if watches_patterns(facts) and reference_of_key(name) is None:
        yield from _list(facts, name, entry, topic)
        return
    recorded = f"commit {short(entry.commit)} is recorded since {entry.changed}" if entry.commit else "no commit yet"
    yield Step(topic=topic, text=f"{counted(entry.runs, 'run')}; {recorded}")
    waiting = waiting_of(status, name)
    if waiting:
        yield _waiting(facts, topic, waiting)
    else:
        yield from _open(entry, topic)
    last = ((status.get("checkedSources") or {}).get(name) or {}).get("lastJob") or {}
    yield from _live(facts, name, entry)
    yield from _job(facts, name, last)
    ignored = ignored_line(status, name)
    if ignored is not None:
        yield Step(
            topic=topic,
            text=f"commit {short(entry.commit)} is ignored by spec.ignore: {ignored}",
            rank=Rank.FILES,
            remedy=f"run it anyway: git-events-runner trigger {words_of(facts)} --run; or correct spec.ignore",
        )
    elif entry.commit and last.get("commit") and last["commit"] != entry.commit:
        yield Step(
            topic=topic,
            text=f"commit {short(entry.commit)} changes no file that spec.sources.watchOn.files selects: "
            f"the last run is of {short(last['commit'])}",
            rank=Rank.FILES,
            remedy="if it should, correct the patterns; `git-events-runner files --pattern P` tests them",
        )
    if waiting:
        return
    following = next_check(facts.trigger, facts.now, lambda source: source)
    when = "" if following is None else ", and the next check is scheduled"
    recorded = f"nothing has changed: commit {short(entry.commit)} has its run, or is recorded"
    again = f"run it again: git-events-runner trigger {words_of(facts)} --run"
    yield Step(
        topic=topic,
        text=f"{recorded if entry.commit else f'no commit of {topic} is recorded'}{when}",
        rank=Rank.UNCHANGED,
        remedy=again if entry.commit else f"push to {reference_of(facts.trigger)}",
    )


def title(key: str) -> str:
    """A source, or one reference of it, in words.

    >>> title("app"), title("app@heads/feature/x")
    ('source app', 'branch feature/x of app')
    """
    reference = reference_of_key(key)
    return f"source {key}" if reference is None else f"{reference[0]} {reference[1]} of {source_of(key)}"


def watches_patterns(facts: Facts) -> bool:
    """Whether the trigger watches patterns of references, each reference with an entry of its own."""
    watch = ((facts.trigger.get("spec") or {}).get("sources") or {}).get("watchOn") or {}
    return bool(watch.get("references"))


def _list(facts: Facts, name: str, entry: Entry, topic: str) -> Iterator[Step]:
    """What is recorded of a source whose references are watched by patterns."""
    status = facts.trigger.get("status") or {}
    listed, own = Listed.of(status, name), keys_of(status, name)
    if listed.at is None:
        text, rank = f"the references of source {name} were not listed yet", Rank.WAITING
    else:
        others = "more than are remembered" if listed.known is None else counted(len(listed.known), "other")
        text = f"{counted(len(own), 'reference')} with an entry, {others} without one, not moved since the first list"
        rank = Rank.CONTEXT if own else Rank.UNCHANGED
    yield Step(topic=topic, text=text, rank=rank, remedy="" if own else f"push to {reference_of(facts.trigger)}")
    yield from _open(entry, topic)
    yield from _live(facts, name, entry)


def _waiting(facts: Facts, topic: str, waiting: Mapping[str, Any]) -> Step:
    """A change that windows, debounce or cooldown keep from running (`rules/waits`)."""
    reason = str(waiting.get("reason") or ConditionType.WAITING)
    run_now = f"to run it now: git-events-runner trigger {words_of(facts)} --run"
    if reason == Reason.OUTSIDE_WINDOWS:
        remedy = (
            f"it starts then by itself; {run_now}" if waiting.get("until") else f"change spec.windows, or {run_now}"
        )
    else:
        remedy = run_now
    return Step(topic=topic, text=f"{reason}: {topic}: {line_of(waiting)}", rank=Rank.WAITING, remedy=remedy)


def _open(entry: Entry, topic: str) -> Iterator[Step]:
    if entry.requested > entry.handled:
        announced = entry.announced
        if announced is not None and announced.commit and announced.commit != entry.commit:
            yield Step(
                topic=topic,
                text=f"commit {short(announced.commit)} was announced at {announced.at}, and the git server "
                "does not show it yet",
                rank=Rank.NOT_SHOWN,
                remedy="a mirror may be late: the request stays open until it does, or until a check after 30 s",
            )
        else:
            at = f" since {announced.at}" if announced else ""
            yield Step(
                topic=topic,
                text=f"{counted(entry.requested - entry.handled, 'request')} not handled yet{at}",
                rank=Rank.WAITING,
                remedy="a check handles them within seconds unless a step above prevents it",
            )
    elif entry.run_is_due:
        yield Step(
            topic=topic,
            text="a requested run is not started yet",
            rank=Rank.WAITING,
            remedy="it starts with the next successful check",
        )


def _live(facts: Facts, name: str, entry: Entry) -> Iterator[Step]:
    live = facts.live.get(name)
    if live is None:
        return
    key = reference_of_key(name)
    reference = reference_of(facts.trigger) if key is None else f"{key[0]} {key[1]}"
    waiting = waiting_of(facts.trigger.get("status"), name)
    if live.problem is None and live.commit is None:
        yield Step(topic=f"git {name}", text=live.text)
    elif live.problem is not None:
        yield Step(topic=f"git {name}", text=f"git, with your rights: {live.problem}", rank=Rank.GIT)
    elif live.commit == entry.commit:
        yield Step(
            topic=f"git {name}",
            text=f"{reference} is at the recorded commit {short(live.commit)}: "
            "a commit on another reference causes no run",
            rank=Rank.OTHER_REFERENCE,
            remedy=f"push to {reference}, or change spec.sources.watchOn.reference{'' if key is None else 's'}",
        )
    elif waiting.get("commit") == live.commit:
        yield Step(topic=f"git {name}", text=f"{reference} is at {short(live.commit)}, the commit that waits")
    else:
        yield Step(
            topic=f"git {name}",
            text=f"{reference} is at {short(live.commit)}, which was not checked yet",
            rank=Rank.NOT_SEEN,
            remedy=f"request a check: git-events-runner trigger {words_of(facts)}",
        )


_ENDED = {
    DELETED: "was deleted before it ended",
    GONE: "was deleted while no replica was the leader",
    EXPIRED: "waited longer for a slot than jobWaitingTimeoutSeconds, and was deleted",
    SUPERSEDED: "was superseded by a newer run while it waited",
    REPLACED: "was stopped for a newer run",
}


def _job(facts: Facts, name: str, last: Mapping[str, Any]) -> Iterator[Step]:
    """The last run of a source: its Job, or what is recorded of it."""
    views = [(job["metadata"]["name"], JobView.of(job)) for job in facts.jobs]
    mine = [(job, view) for job, view in views if view.run is not None and view.run.source == name]
    topic, namespace = f"run of {name}", facts.trigger["metadata"].get("namespace")
    job, view = max(mine, key=lambda one: one[1].run.number if one[1].run else 0, default=(None, None))
    phase = str(last.get("phase") or "")
    rerun = f"run it again: git-events-runner rerun {words_of(facts)}"
    if view is None or job is None:
        if phase in _ENDED:
            yield Step(topic=topic, text=f"Job {last.get('name')} {_ENDED[phase]}", rank=Rank.ENDED, remedy=rerun)
        elif last.get("name"):
            rank = Rank.ENDED if phase == FAILED else Rank.RAN
            yield Step(
                topic=topic, text=f"the last run, Job {last['name']}, is {phase or 'recorded'}", rank=rank, remedy=rerun
            )
        return
    if not view.finished and is_not_starting(view, facts.now):
        yield _not_starting(job, view, topic)
    elif view.waits:
        yield _queued(facts, job, view)
    elif view.suspended_elsewhere and not view.finished:
        yield Step(
            topic=topic,
            text=f"Job {job} is suspended by another party",
            rank=Rank.JOB,
            remedy=f'resume it: kubectl -n {namespace} patch job {job} -p \'{{"spec":{{"suspend":false}}}}\'',
        )
    elif view.finished:
        failed = view.result == FAILED
        code = (
            f" with exit code {view.failure.exit_code}" if view.failure and view.failure.exit_code is not None else ""
        )
        yield Step(
            topic=topic,
            text=f"Job {job} {'failed' if failed else 'succeeded'}{code} at {_time(view.ended_at)}"
            f"{_retried(facts, view) if failed else ''}",
            rank=Rank.ENDED if failed else Rank.RAN,
            remedy=f"see its log: git-events-runner logs {words_of(facts)}" if failed else "",
        )
    else:
        yield Step(
            topic=topic,
            text=f"Job {job} runs since {_time(view.started_at)}"
            if view.started_at
            else f"Job {job} may start, and Kubernetes has not started it yet",
            rank=Rank.JOB,
            remedy=f"follow it: git-events-runner logs {words_of(facts)} -f",
        )


def _time(moment: datetime | None) -> str:
    """A time as the API server writes it."""
    return "an unknown time" if moment is None else moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _retried(facts: Facts, view: JobView) -> str:
    """When a failed run is run again by `spec.retry`; empty: it is not."""
    if view.run is None:
        return ""
    try:
        model: Any = parse(facts.trigger)
    except InvalidObject:
        return ""
    uid = str(facts.trigger["metadata"].get("uid"))
    trigger = _Stored(ref=ref_of(facts.trigger), uid=uid, model=model, raw=facts.trigger)
    owner = Owner(trigger=trigger, source=view.run.source, number=view.run.number)
    attempt = next_attempt(view, owner, most=facts.config.trigger.max_retry_limit)
    if attempt is None:
        return ""
    try:
        waits = WaitPolicy.of(model.spec, parse_windows(facts.config.policy.windows, "policy.windows"))
    except InvalidObject:
        return ""  # the trigger has a condition about it
    if waits_for_newer(owner, waits):
        return "; it is not run again while a newer commit waits"
    time = retry_at(view, owner, waits=waits, closed_until=None, now=facts.now)
    if time is not None and waits is not None and waits.windows is not None:
        time = waits.windows.opens_at(max(time, facts.now))
    if time is None:
        return ""
    return f"; attempt {attempt.number} of {attempt.most} starts at {_time(time)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """A trigger as the rules read it."""

    ref: Ref
    uid: str
    model: Any
    raw: Mapping[str, Any]


def _not_starting(job: str, view: JobView, topic: str) -> Step:
    """A Job of which no pod starts: it holds a slot, or was put back and is tried again later."""
    until = backs_off_until(view)
    later = f", tried again from {_time(until)} on" if until is not None else ""
    since = f" since {_time(view.started_at)}" if view.started_at else ""
    return Step(
        topic=topic,
        text=f"no pod of Job {job} has started{since}{later}: {why(view)}",
        rank=Rank.JOB,
        remedy=remedy_of(Reason.JOB_NOT_STARTING),
    )


def _queued(facts: Facts, job: str, view: JobView) -> Step:
    """A Job that waits: for a slot of the installation, of its namespace, or for a Job of its group."""
    topic = f"run of {view.run.source if view.run else ''}"
    limit, share = facts.config.action.max_running_jobs, facts.config.action.max_running_jobs_per_namespace
    raw = next(one for one in facts.jobs if one["metadata"]["name"] == job)
    others = [(one, JobView.of(one)) for one in facts.unfinished or ()]
    holding = [(one, other) for one, other in others if other.holds_slot]
    if (found := _in_group(facts, job, view)) is not None:
        return found
    here = [one for one, _ in holding if one["metadata"].get("namespace") == raw["metadata"].get("namespace")]
    oldest = min((str(other.started_at), one["metadata"]["name"]) for one, other in holding)[1] if holding else None
    if share and len(here) >= share:
        return Step(
            topic=topic,
            text=f"Job {job} waits: its namespace holds all {share} slots that a namespace may have",
            rank=Rank.JOB,
            remedy="wait, stop a Job, or raise action.maxRunningJobsPerNamespace of the runtime config",
        )
    if facts.unfinished is not None and len(holding) >= limit:
        return Step(
            topic=topic,
            text=f"Job {job} waits for a slot: "
            + (
                f"the only one is held by Job {oldest}"
                if limit == 1
                else f"all {limit} are held (the oldest by {oldest})"
            ),
            rank=Rank.JOB,
            remedy="wait, stop a Job, or raise action.maxRunningJobs of the runtime config",
        )
    taken = "" if facts.unfinished is None else f" ({len(holding)} of {limit} are held)"
    return Step(
        topic=topic, text=f"Job {job} waits for a slot{taken}", rank=Rank.JOB, remedy=remedy_of(Reason.WAITING_FOR_SLOT)
    )


def _in_group(facts: Facts, job: str, view: JobView) -> Step | None:
    """Whether a Job waits for others that may not overlap with it; None: its group has room."""
    if view.limit is None:
        return None
    namespace = facts.trigger["metadata"].get("namespace")
    jobs = {one["metadata"]["name"]: one for one in (*(facts.unfinished or ()), *facts.jobs)}
    here = {name: JobView.of(one) for name, one in jobs.items() if one["metadata"].get("namespace") == namespace}
    held = sorted(name for name, other in here.items() if occupies(other) and view.limit.group in groups_of(other))
    if len(held) < view.limit.limit:
        return None
    return Step(
        topic=f"run of {view.run.source if view.run else ''}",
        text=f"Job {job} waits for {listed(held)} of its concurrency group {view.limit.group}",
        rank=Rank.JOB,
        remedy="it starts when that run ends, see spec.concurrency",
    )
