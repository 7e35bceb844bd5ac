"""Cancelled runs in the status of a Notifier: their Jobs are deleted, so the message has no other record.

A record is written before the controller deletes a Job, and stays for ten minutes after its message is sent, so that a
new leader that learns of the deletion late does not send it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from git_events_runner.resources.job import timestamp
from git_events_runner.resources.notifiers import CANCELLED_MAX
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.ledger.mutations import rfc3339

from .report import CANCELLED, RunReport, cancelled_by

FIELD = "cancelled"
ENDED = "Ended"  # the mark of a run that ended before its Job could be deleted
_SENT_KEPT = timedelta(minutes=10)
_OLDEST = timedelta(hours=24)
_REQUIRED = ("trigger", "triggerKind", "triggerUid", "source", "job", "jobUid", "commit", "repoUri")


def cancelled(report: RunReport, result: str, now: datetime) -> RunReport:
    """The report of a run whose Job was deleted before it ended, by the result that observers get."""
    return replace(report, state=CANCELLED, why=cancelled_by(result), ended_at=now)


def record_of(report: RunReport) -> dict[str, Any]:
    """The record of a cancelled run."""
    times = {"created": report.created_at, "started": report.started_at, "ended": report.ended_at}
    return {
        "namespace": report.trigger.namespace,
        "trigger": report.trigger.name,
        "triggerKind": report.trigger.kind,
        "triggerUid": report.trigger_uid,
        "source": report.source,
        "number": report.number,
        "job": report.job.name,
        "jobUid": report.job_uid,
        "commit": report.commit,
        "repoUri": report.repo_uri,
        "attempt": report.attempt,
        **({"why": report.why} if report.why else {}),
        **{name: rfc3339(moment) for name, moment in times.items() if moment is not None},
    }


def report_from(record: Mapping[str, Any]) -> RunReport | None:
    """The run of a record; None: it is not complete, as one that was written by hand."""
    number = record.get("number")
    if not isinstance(number, int) or not all(isinstance(record.get(name), str) for name in _REQUIRED):
        return None
    namespace = record.get("namespace")
    where = namespace if isinstance(namespace, str) else None
    why, attempt = record.get("why"), record.get("attempt")
    return RunReport(
        state=CANCELLED,
        trigger=Ref(record["triggerKind"], where, record["trigger"]),
        trigger_uid=record["triggerUid"],
        source=record["source"],
        number=number,
        job=Ref("Job", where, record["job"]),
        job_uid=record["jobUid"],
        commit=record["commit"],
        repo_uri=record["repoUri"],
        attempt=attempt if isinstance(attempt, str) else "1/1",
        why=why if isinstance(why, str) else None,
        created_at=timestamp(record.get("created")),
        started_at=timestamp(record.get("started")),
        ended_at=timestamp(record.get("ended")),
    )


def records_of(status: object) -> dict[str, dict[str, Any]]:
    """The records in a Notifier's status, oldest first, by the uid of the Job."""
    found = status.get(FIELD) if isinstance(status, Mapping) else None
    records = [dict(one) for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []
    return {one["jobUid"]: one for one in records[-CANCELLED_MAX:] if isinstance(one.get("jobUid"), str)}


def without_past(records: Mapping[str, Mapping[str, Any]], now: datetime) -> dict[str, dict[str, Any]]:
    """The records that are needed, the newest if there are too many; those that wait are kept before the sent ones."""
    needed = {uid: dict(one) for uid, one in records.items() if _is_needed(one, now)}
    open_, sent = [[u for u in needed if ("sent" in needed[u]) is is_sent] for is_sent in (False, True)]
    kept = set([*sent, *open_][-CANCELLED_MAX:])
    return {uid: one for uid, one in needed.items() if uid in kept}


def _is_needed(record: Mapping[str, Any], now: datetime) -> bool:
    sent, ended = timestamp(record.get("sent")), timestamp(record.get("ended"))
    if sent is not None and "mark" in record and not str(record["mark"]).startswith("!"):
        return now - sent < _SENT_KEPT
    return ended is not None and now - ended < _OLDEST
