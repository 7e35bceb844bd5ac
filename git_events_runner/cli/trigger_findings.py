"""Findings about a complete trigger: controller, spec, names, policy, suspension, deliveries, conditions. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from git_events_runner.errors import InvalidObject
from git_events_runner.resources.conditions import ConditionType, Reason
from git_events_runner.resources.job import timestamp
from git_events_runner.resources.parse import parse
from git_events_runner.resources.ref import Ref, named
from git_events_runner.rules.annotated import requests_of
from git_events_runner.rules.ledger.entry import entry_of
from git_events_runner.rules.policy import refusal, too_often
from git_events_runner.rules.problems import WEBHOOK, Problem, all_problems, one_line, warnings_of
from git_events_runner.rules.references import any_key
from git_events_runner.rules.resolve import resolve
from git_events_runner.rules.schedule.schedule import parse_schedule
from git_events_runner.rules.signatures import KeysRefused, keys_of, short_keys, unusable
from git_events_runner.rules.waits import waits_of
from git_events_runner.wiring.config import policy_of

from .facts import Facts, ref_of
from .findings import SHOWN, Rank, Step, listed, names_of, words_of
from .overview import conditions_of, next_check, reference_of
from .remedies import remedy_of

_LEASE_S = 15
_CONTROLS = ("firstCheck", "windows", "debounce", "cooldown", "ignore", "concurrency", "retry")


def of_trigger(facts: Facts) -> Iterator[Step]:
    """Every finding about the trigger itself."""
    spec, metadata = facts.trigger.get("spec") or {}, facts.trigger["metadata"]
    ref = ref_of(facts.trigger)
    yield Step(
        topic="trigger", text=f"{ref} watches {reference_of(facts.trigger)} of {listed(names_of(facts))}{_files(spec)}"
    )
    if metadata.get("deletionTimestamp"):
        yield Step(
            topic="trigger",
            text=f"{ref} is being deleted since {metadata['deletionTimestamp']}",
            rank=Rank.DELETED,
            remedy="create it again if it is still needed",
        )
    chosen = {name: spec[name] for name in _CONTROLS if spec.get(name) not in (None, "", "Run", 0)}
    if chosen:
        text = "; ".join(f"{name} {json.dumps(value, ensure_ascii=False)}" for name, value in chosen.items())
        yield Step(topic="control of runs", text=text)
    yield from _controller(facts)
    yield from _validity(facts)
    yield from _suspension(facts)
    yield from _schedule(facts)
    yield from _webhook(facts)
    yield from _conditions(facts)
    yield from _requests(facts)


def _controller(facts: Facts) -> Iterator[Step]:
    lease = facts.installation.lease
    generation = facts.trigger["metadata"].get("generation")
    observed = (facts.trigger.get("status") or {}).get("observedGeneration")
    behind = isinstance(generation, int) and observed != generation
    if lease is not None:
        spec = lease.get("spec") or {}
        renewed, length = timestamp(spec.get("renewTime")), spec.get("leaseDurationSeconds") or _LEASE_S
        age_s = (facts.now - renewed).total_seconds() if renewed else None
        if not spec.get("holderIdentity") or age_s is None or age_s > 2 * length:
            since = f" since {spec.get('renewTime')}" if renewed else ""
            yield Step(
                topic="controller",
                text=f"no replica of the controller is the leader{since}",
                rank=Rank.NO_CONTROLLER,
                remedy="start the controller, see `git-events-runner doctor` and the logs of its pods",
            )
            return
        yield Step(topic="controller", text=f"{spec['holderIdentity']} is the leader, renewed {age_s:.0f} s ago")
    if behind:
        yield Step(
            topic="controller",
            text="the controller has not processed the present spec yet "
            f"(generation {generation}, processed: {observed or 'none'})",
            rank=Rank.NO_CONTROLLER if lease is None else Rank.WAITING,
            remedy="is it running, and does it serve this namespace? See `git-events-runner doctor`",
        )


def _validity(facts: Facts) -> Iterator[Step]:
    """Spec, names and policy, by the rules that the controller applies."""
    try:
        model: Any = parse(facts.trigger)
    except InvalidObject as error:
        yield Step(
            topic="spec",
            text=f"the spec is not valid: {error}",
            rank=Rank.INVALID,
            remedy=remedy_of(Reason.INVALID_SPEC),
        )
        return
    found = {ref: _found(obj) for ref, obj in facts.objects.items()}
    policy, namespace = policy_of(facts.config), str(model.ref.namespace)
    labels = (facts.objects.get(Ref("Namespace", None, namespace), {}).get("metadata") or {}).get("labels") or {}
    for name in model.spec.sources.names[:SHOWN]:
        ref = named(model.spec.sources.kind, namespace, name)
        if str(ref) in facts.unread:
            continue
        resolved = resolve(model, any_key(model, name), found.get)
        problem = resolved if isinstance(resolved, Problem) else refusal(policy, resolved, namespace, labels)
        if problem is not None:
            yield Step(
                topic="names",
                text=_noted(problem.message, _elsewhere(facts, ref)),
                rank=Rank.INVALID,
                remedy=remedy_of(problem.reason, problem.message),
            )
        elif not isinstance(resolved, Problem):
            yield Step(topic="names", text=f"{ref} and {resolved.action} exist, are valid and allowed")
    schedule = model.spec.schedule
    if schedule is not None:
        try:
            often = too_often(policy, parse_schedule(schedule.interval, schedule.cron), facts.now)
        except InvalidObject as error:
            yield Step(topic="schedule", text=str(error), rank=Rank.INVALID, remedy=remedy_of(Reason.INVALID_SCHEDULE))
        else:
            if often is not None:
                yield Step(
                    topic="schedule", text=str(often), rank=Rank.INVALID, remedy=remedy_of(Reason.INTERVAL_TOO_SHORT)
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """An object as the rules read it."""

    uid: str
    generation: int
    model: Any
    invalid: InvalidObject | None


def _found(obj: Mapping[str, Any]) -> _Found:
    metadata = obj["metadata"]
    model, invalid = None, None
    if obj["kind"] != "Namespace":
        try:
            model = parse(obj)
        except InvalidObject as error:
            invalid = error
    return _Found(
        uid=str(metadata.get("uid")), generation=metadata.get("generation") or 0, model=model, invalid=invalid
    )


def _elsewhere(facts: Facts, source: Ref) -> str:
    """Where an object that is missing here exists: a trigger uses those of its own namespace alone."""
    action = next((ref for ref in facts.elsewhere if ref.kind == "Action" and facts.elsewhere[ref]), None)
    ref = source if facts.elsewhere.get(source) else action
    if ref is None:
        return ""
    return f"there is one in {listed(facts.elsewhere[ref])}, which triggers of {ref.namespace} cannot use"


def _suspension(facts: Facts) -> Iterator[Step]:
    if (facts.trigger.get("spec") or {}).get("suspend") is True:
        yield Step(
            topic="suspend",
            text="the trigger is suspended: no checks, no runs, deliveries are recorded",
            remedy=f"resume it: git-events-runner resume {words_of(facts)}",
            rank=Rank.SUSPENDED,
        )


def _schedule(facts: Facts) -> Iterator[Step]:
    schedule = (facts.trigger.get("spec") or {}).get("schedule") or {}
    if schedule:
        times = next_check(facts.trigger, facts.now, lambda name: name)
        when = f"every {schedule['interval']}" if schedule.get("interval") else f"at {schedule.get('cron')}"
        following = f", next at {times.isoformat(timespec='seconds')}" if times and schedule.get("cron") else ""
        yield Step(topic="schedule", text=f"sources are checked {when}{following}")


def _webhook(facts: Facts) -> Iterator[Step]:
    webhook = (facts.trigger.get("spec") or {}).get("webhook")
    if not webhook:
        return
    auth, key = webhook.get("authConfig"), facts.webhook_key
    status = facts.trigger.get("status") or {}
    if auth and key is not None:
        where = f"key {auth.get('key')} of Secret {(auth.get('secretRef') or {}).get('name')}"
        try:
            keys = keys_of(key)
            why = unusable(auth.get("type") or "header", keys)
        except KeysRefused as error:
            keys, why = (), str(error)
        if why is not None:
            yield Step(
                topic="secret",
                text=f"no request can authenticate: {where} {why}",
                rank=Rank.SECRET,
                remedy=remedy_of(Reason.SECRET_INVALID),
            )
        elif short_keys(keys):
            yield Step(
                topic="secret",
                text=f"{where} has fewer than 16 bytes and can be guessed",
                rank=Rank.WARNING,
                remedy=remedy_of(Reason.WEBHOOK_SECRET_SHORT),
            )
    last = max((a.at for name in names_of(facts) if (a := entry_of(status, name).announced)), default=None)
    if last is None:
        kind = (auth or {}).get("type") or "header"
        yield Step(
            topic="deliveries",
            text=f"no delivery was accepted yet (authentication: {kind if auth else 'none'})",
            rank=Rank.NO_DELIVERY,
            remedy="see the forge's list of deliveries for the response, and test one with "
            "--payload FILE --header 'NAME: VALUE'",
        )
    else:
        yield Step(topic="deliveries", text=f"the last delivery was accepted at {last}")


_CONDITION_RANKS: dict[str, Rank] = {
    ConditionType.STALLED: Rank.INVALID,
    ConditionType.RECONCILING: Rank.GIT,
    ConditionType.WAITING: Rank.WAITING,
    ConditionType.CLONE_FAILED: Rank.ENDED,
}
_DERIVED = frozenset((ConditionType.STALLED, ConditionType.RECONCILING))
_RANKS: dict[str, Rank] = {
    **dict.fromkeys(
        (
            Reason.QUOTA_EXCEEDED,
            Reason.JOB_CREATE_FAILED,
            Reason.NAMESPACE_LIMIT_REACHED,
            Reason.API_UNAVAILABLE,
            Reason.JOB_NAME_CONFLICT,
        ),
        Rank.REFUSED,
    ),
    **dict.fromkeys((Reason.WAITING_FOR_SLOT, Reason.OUTSIDE_WINDOWS, Reason.JOB_NOT_STARTING), Rank.JOB),
}
_WARNING_RANKS: dict[str, Rank] = {
    Reason.FILES_SELECT_NOTHING: Rank.FILES,
    Reason.WEBHOOK_OPEN: Rank.CONTEXT,
    Reason.WEBHOOK_MISSED: Rank.CONTEXT,
}


def _conditions(facts: Facts) -> Iterator[Step]:
    """What the controller reports about the trigger: each problem and warning, and other conditions that hold."""
    status = facts.trigger.get("status")
    problems = all_problems(status)
    for subject, problem in problems[:SHOWN]:
        rank = Rank.INVALID if problem.stalled else Rank.GIT
        rank = Rank.SECRET if subject == WEBHOOK or problem.reason.startswith("Secret") else rank
        rank = _RANKS.get(problem.reason, rank)
        remedy = remedy_of(problem.reason, problem.message, trigger=words_of(facts))
        text = f"{problem.reason}: {subject}: {_noted(problem.message, _since(problem.since))}"
        yield Step(topic="Stalled" if problem.stalled else "Reconciling", text=text, rank=rank, remedy=remedy)
    for warning in warnings_of(status):
        about = f"source {warning.source}: " if warning.source is not None else ""
        rank = _WARNING_RANKS.get(warning.reason, Rank.WARNING)
        text = f"{warning.reason}: {about}{warning.message}"
        remedy = remedy_of(warning.reason, warning.message, trigger=words_of(facts))
        yield Step(topic="warning", text=text, rank=rank, remedy=remedy)
    described = {*(_DERIVED if problems else ()), *((ConditionType.WAITING,) if waits_of(status) else ())}
    for one in conditions_of(facts.trigger):
        if one.status == "True" and one.type in _CONDITION_RANKS and one.type not in described:
            rank = _RANKS.get(one.reason, _CONDITION_RANKS[one.type])
            rank = Rank.SECRET if one.reason.startswith("Secret") else rank
            yield Step(
                topic=one.type,
                text=f"{one.reason}: {_noted(one_line(one.message), _since(one.since))}",
                rank=rank,
                remedy=remedy_of(one.reason, one.message, trigger=words_of(facts)),
            )


def _noted(message: str, note: str) -> str:
    """A message with a note in brackets, before the advice that it may have.

    >>> _noted("there is no branch x; push it", "since T"), _noted("no route", "")
    ('there is no branch x (since T); push it', 'no route')
    """
    fact, semicolon, advice = message.partition("; ")
    return f"{fact} ({note}){semicolon}{advice}" if note else message


def _since(moment: str | None) -> str:
    return f"since {moment}" if moment else ""


def _requests(facts: Facts) -> Iterator[Step]:
    """Requests by annotation that are not handled yet."""
    for one in requests_of(facts.trigger["metadata"], facts.trigger.get("status") or {}, tuple(names_of(facts))):
        what = "a run" if one.run else "a check"
        if one.problem:
            yield Step(
                topic="request",
                text=f"{what} is requested and cannot be handled: {one.problem}",
                rank=Rank.REQUEST,
                remedy="correct the annotation",
            )
        else:
            yield Step(
                topic="request",
                text=f"{what} is requested by annotation (token {one.token}) and not handled yet",
                rank=Rank.WAITING,
                remedy="the leader handles it within seconds, see `git-events-runner doctor` if not",
            )


def _files(spec: Mapping[str, Any]) -> str:
    files = ((spec.get("sources") or {}).get("watchOn") or {}).get("files")
    return f", files {' '.join(map(str, files))}" if isinstance(files, list) and files else ""
