"""What this program reads of a batch/v1 Job: whose run it is, whether it holds a slot, how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .kinds import GROUP

RUN_ANNOTATION = f"{GROUP}/run"
COMMIT_ANNOTATION = f"{GROUP}/commit"
FILE_HASH_ANNOTATION = f"{GROUP}/file-hash"
REASON_ANNOTATION = f"{GROUP}/reason"
OCCURRENCE_ANNOTATION = f"{GROUP}/occurrence"
DELIVERIES_ANNOTATION = f"{GROUP}/deliveries"
TASK_IDS_ANNOTATION = f"{GROUP}/task-ids"
IDENTITY_LABEL = f"{GROUP}/controller-identity"
KUEUE_LABEL = "kueue.x-k8s.io/queue-name"
SECRET_ANNOTATION = f"{GROUP}/needs-secret"
TTL_ANNOTATION = f"{GROUP}/ttl-seconds-after-finished"
WAITING_ANNOTATION = f"{GROUP}/waiting-timeout-seconds"


def _seconds(value: object) -> int | None:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else None


def timestamp(text: object) -> datetime | None:
    """RFC 3339 text of the API server as an aware time; None when absent or not a time."""
    if not isinstance(text, str):
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunKey:
    """A run: trigger uid, source name, number from 1."""

    trigger_uid: str
    source: str
    number: int

    def __str__(self) -> str:
        """The text of the run annotation."""
        return f"{self.trigger_uid}/{self.source}/{self.number}"

    @classmethod
    def parse(cls, text: object) -> RunKey | None:
        """Read a run annotation; None when it is not one (Jobs of other makers)."""
        if not isinstance(text, str):
            return None
        uid, _, rest = text.partition("/")
        source, _, number = rest.rpartition("/")
        if not uid or not source or not number.isascii() or not number.isdigit():
            return None
        return cls(trigger_uid=uid, source=source, number=int(number))


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """A Job as the ledger and the queue see it; `run` is None for Jobs not made by this version."""

    run: RunKey | None
    commit: str | None
    file_hash: str | None
    request: int | None
    due_at: str | None
    created_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    suspended: bool
    deleting: bool
    ending: bool
    result: str | None
    has_ttl: bool
    queued_elsewhere: bool
    needs_secret: bool
    owner_uid: str | None
    ttl_s: int | None
    waiting_timeout_s: int | None
    labels: Mapping[str, str]

    @property
    def finished(self) -> bool:
        """Whether it is Complete or Failed."""
        return self.result is not None

    @property
    def holds_slot(self) -> bool:
        """Whether it counts against maxRunningJobs (unsuspended, neither finished, ending nor being deleted)."""
        return not (self.suspended or self.finished or self.ending or self.deleting)

    @property
    def phase(self) -> str:
        """One of Queued, Running, Succeeded, Failed: what `lastJob.phase` shows."""
        if self.result:
            return self.result
        return "Queued" if self.suspended else "Running"

    @classmethod
    def of(cls, obj: Mapping[str, Any]) -> JobView:
        """Read a Job as the API server sent it; strange values read as absent, never as an error."""
        metadata = obj.get("metadata") or {}
        spec = obj.get("spec") or {}
        status = obj.get("status") or {}
        annotations = metadata.get("annotations") or {}
        labels = metadata.get("labels") or {}
        true = {c.get("type"): c for c in status.get("conditions") or () if c.get("status") == "True"}
        end = true.get("Complete") or true.get("Failed")
        occurrence = annotations.get(OCCURRENCE_ANNOTATION) or ""
        owners = metadata.get("ownerReferences") or ()
        return cls(
            run=RunKey.parse(annotations.get(RUN_ANNOTATION)),
            commit=annotations.get(COMMIT_ANNOTATION) or None,
            file_hash=annotations.get(FILE_HASH_ANNOTATION) or None,
            request=int(occurrence) if occurrence.isascii() and occurrence.isdigit() else None,
            due_at=occurrence if timestamp(occurrence) else None,
            created_at=timestamp(metadata.get("creationTimestamp")),
            started_at=timestamp(status.get("startTime")),
            ended_at=timestamp((end or {}).get("lastTransitionTime")),
            suspended=spec.get("suspend") is True,
            deleting=bool(metadata.get("deletionTimestamp")),
            ending="FailureTarget" in true or "SuccessCriteriaMet" in true,
            result="Succeeded" if "Complete" in true else "Failed" if "Failed" in true else None,
            has_ttl=spec.get("ttlSecondsAfterFinished") is not None,
            queued_elsewhere=KUEUE_LABEL in labels,
            needs_secret=SECRET_ANNOTATION in annotations,
            owner_uid=next((o.get("uid") for o in owners if o.get("controller")), None),
            ttl_s=_seconds(annotations.get(TTL_ANNOTATION)),
            waiting_timeout_s=_seconds(annotations.get(WAITING_ANNOTATION)),
            labels=dict(labels),
        )
