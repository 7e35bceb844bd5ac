"""What Notifiers send of a trigger's last run, or why not; and whether an installation's Notifiers deliver. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from git_events_runner.errors import InvalidObject
from git_events_runner.resources.conditions import Reason
from git_events_runner.resources.job import NOTIFIED_ANNOTATION, JobView
from git_events_runner.resources.parse import parse
from git_events_runner.resources.ref import Ref, named
from git_events_runner.rules.derived_conditions import conditions_of
from git_events_runner.rules.notifications.delivery import delivery_of, not_ready
from git_events_runner.rules.notifications.marks import marks_of
from git_events_runner.rules.notifications.problem import notified_of
from git_events_runner.rules.notifications.report import RECOVERED, state_of
from git_events_runner.rules.references import source_of

from .facts import Facts, ref_of
from .findings import Step

_TOPIC = "notifier"


def of_notifiers(facts: Facts) -> Iterator[Step]:
    """A step for each Notifier that reports the trigger."""
    trigger = ref_of(facts.trigger)
    labels = facts.trigger["metadata"].get("labels") or {}
    namespace = facts.objects.get(Ref("Namespace", None, str(trigger.namespace))) or {}
    namespace_labels = (namespace.get("metadata") or {}).get("labels") or {}
    last = _last_job(facts)
    for notifier in facts.notifiers:
        try:
            model: Any = parse(notifier)
        except InvalidObject as error:
            yield Step(topic=_TOPIC, text=f"{ref_of(notifier)} is not valid: {error}", remedy="correct its spec")
            continue
        if model.spec.selects(labels, namespace_labels):
            text, remedy = _of_last_run(facts, notifier, model, last)
            yield Step(topic=_TOPIC, text=f"{ref_of(notifier)} ({model.spec.type}): {text}", remedy=remedy)
            yield from _of_problems(facts, notifier)


def _last_job(facts: Facts) -> tuple[Mapping[str, Any], JobView] | None:
    runs = [(job, view) for job in facts.jobs if (view := JobView.of(job)).run is not None]
    return max(
        runs,
        key=lambda one: (one[1].created_at is not None, one[1].created_at, one[0]["metadata"]["name"]),
        default=None,
    )


def _of_last_run(
    facts: Facts, notifier: Mapping[str, Any], model: Any, last: tuple[Mapping[str, Any], JobView] | None
) -> tuple[str, str]:
    """What happened to the message about the last run, and what to do."""
    status, metadata = notifier.get("status"), notifier["metadata"]
    if last is None:
        reason, message = not_ready(status)
        return f"{reason}: {message}" if message else "no Job of a run is there", ""
    job, view = last
    marks, state = marks_of((job["metadata"].get("annotations") or {}).get(NOTIFIED_ANNOTATION)), state_of(view)
    mark, generation = marks.get(metadata["uid"]), metadata.get("generation") or 0
    found = delivery_of(model.spec, state, mark, generation=generation, uri=_uri(facts, view), status=status)
    state = RECOVERED if mark == RECOVERED else state
    why = f": {found.why}" if found.why else ""
    return f"{state} of Job {job['metadata']['name']}: {found.outcome}{why}", found.remedy


def _of_problems(facts: Facts, notifier: Mapping[str, Any]) -> Iterator[Step]:
    uid = notifier["metadata"]["uid"]
    for one in notified_of(facts.trigger.get("status")):
        if one["notifier"] == uid and one.get("open"):
            refused = " (and was refused)" if one.get("refused") is not None else ""
            yield Step(
                topic=_TOPIC,
                text=f"{ref_of(notifier)}: the problem {one['reason']} was sent at {one.get('at')}{refused}",
            )


def _uri(facts: Facts, view: JobView) -> str | None:
    sources = (facts.trigger.get("spec") or {}).get("sources") or {}
    name = source_of(view.run.source) if view.run is not None else ""
    ref = named(str(sources.get("kind") or "GitRepo"), str(ref_of(facts.trigger).namespace), name)
    uri = ((facts.objects.get(ref) or {}).get("spec") or {}).get("repoUri")
    return uri if isinstance(uri, str) else None


def deliveries_of(notifiers: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[str], int]:
    """Of an installation's Notifiers: those to change, those whose messages wait (in words), how many deliver."""
    refused, waiting, delivering = [], [], 0
    for notifier in notifiers:
        reason, message = not_ready(notifier.get("status"))
        line = f"{ref_of(notifier)}: {reason}: {message}"
        if not reason:
            delivering += _has_sent(notifier)
        elif reason == Reason.DELIVERY_FAILING:
            waiting.append(line)
        else:
            refused.append(line)
    return refused, waiting, delivering


def _has_sent(notifier: Mapping[str, Any]) -> bool:
    return (conditions_of(notifier.get("status")).get("Ready") or {}).get("status") == "True"
