"""What this program reads of a batch/v1 Job: whose run it is, whether it holds a slot, how it ended."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .commits import AUTHOR_CHARS, SUBJECT_CHARS, one_line
from .kinds import GROUP
from .queuemarks import QUEUE_ANNOTATIONS, REQUEUED, START_TIMEOUT_ANNOTATION, ConcurrencyLimit, Suspensions
from .retry import GENERATION_ANNOTATION, RETRY_ANNOTATIONS, Attempt

RUN_ANNOTATION = f"{GROUP}/run"
COMMIT_ANNOTATION = f"{GROUP}/commit"
FILE_HASH_ANNOTATION = f"{GROUP}/file-hash"
AUTHOR_ANNOTATION = f"{GROUP}/commit-author"
SUBJECT_ANNOTATION = f"{GROUP}/commit-subject"
REASON_ANNOTATION = f"{GROUP}/reason"
OCCURRENCE_ANNOTATION = f"{GROUP}/occurrence"
DELIVERIES_ANNOTATION = f"{GROUP}/deliveries"
RUN_REQUEST_ANNOTATION = f"{GROUP}/run-request"
RUN_TOKEN_ANNOTATION = f"{GROUP}/run-requested-at"
TASK_IDS_ANNOTATION = f"{GROUP}/task-ids"
TRIGGER_LABEL = f"{GROUP}/trigger-name"
TRIGGER_KIND_LABEL = f"{GROUP}/trigger-kind"
IDENTITY_LABEL = f"{GROUP}/controller-identity"
KUEUE_LABEL = "kueue.x-k8s.io/queue-name"
# Names in a Job that are ours: volumes, and Secrets that hold a copy of a cluster source's credential.
RESERVED = "git-events-runner-"
_TRACKING = (
    *(f"{GROUP}/{role}-{part}" for role in ("action", "source", "trigger") for part in ("kind", "name")),
    IDENTITY_LABEL,
)
SECRET_ANNOTATION = f"{GROUP}/needs-secret"
TTL_ANNOTATION = f"{GROUP}/ttl-seconds-after-finished"
WAITING_ANNOTATION = f"{GROUP}/waiting-timeout-seconds"
# What was reported of the Job, by the uid of the Notifier (rules/notifications/marks).
NOTIFIED_ANNOTATION = f"{GROUP}/notified"
# Who admits the Job; the controller lifts a suspension of its own alone, and once. Absent: made by 1.0.0.
ADMISSION_ANNOTATION = f"{GROUP}/admission"
WAITING, ADMITTED, ELSEWHERE = "waiting", "admitted", "elsewhere"
UNFINISHED_PHASES = frozenset(("Queued", "Suspended", "Running"))
_JOB_CONTROLLER = "kubernetes.io/job-controller"


_OWN_ANNOTATIONS = frozenset(
    (
        RUN_ANNOTATION,
        COMMIT_ANNOTATION,
        AUTHOR_ANNOTATION,
        SUBJECT_ANNOTATION,
        FILE_HASH_ANNOTATION,
        REASON_ANNOTATION,
        OCCURRENCE_ANNOTATION,
        DELIVERIES_ANNOTATION,
        RUN_REQUEST_ANNOTATION,
        TASK_IDS_ANNOTATION,
        TRIGGER_LABEL,
        SECRET_ANNOTATION,
        TTL_ANNOTATION,
        WAITING_ANNOTATION,
        ADMISSION_ANNOTATION,
        NOTIFIED_ANNOTATION,
        *QUEUE_ANNOTATIONS,
        *RETRY_ANNOTATIONS,
    )
)
TASKS_KEPT = 200
_LONGEST_ANNOTATION = TASKS_KEPT * 37  # the longest are the task ids


_KEPT_METADATA = ("name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp")


def own_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What of a Job's metadata is read later: any user may create Jobs with annotations of 256 KiB."""
    annotations = metadata.get("annotations") or {}
    own = {name: value for name in _OWN_ANNOTATIONS if (value := annotations.get(name)) is not None}
    kept = {name: metadata[name] for name in _KEPT_METADATA if name in metadata}
    return kept | {"annotations": {name: value for name, value in own.items() if len(value) <= _LONGEST_ANNOTATION}}


def with_tracking(
    raw: Mapping[str, Any], labels: Mapping[str, str], annotations: Mapping[str, str]
) -> dict[str, Any] | None:
    """A Job as it would be with these labels and annotations, of those by which it is found; None: it has them.

    >>> name = "git-events-runner.rs/trigger-name"
    >>> with_tracking({"metadata": {"labels": {"app": "x"}}}, {name: "hook", "other": "y"}, {})
    {'metadata': {'labels': {'app': 'x', 'git-events-runner.rs/trigger-name': 'hook'}}}
    >>> with_tracking({"metadata": {"labels": {name: "hook"}}}, {name: "hook"}, {}) is None
    True
    """
    metadata = raw.get("metadata") or {}
    changed: dict[str, Any] = {}
    wanted = (("labels", labels, _TRACKING), ("annotations", annotations, (RUN_ANNOTATION, TRIGGER_LABEL)))
    for part, known, names in wanted:
        there = metadata.get(part) or {}
        lost = {name: known[name] for name in names if name in known and there.get(name) != known[name]}
        if lost:
            changed[part] = {**there, **lost}
    return {**raw, "metadata": {**metadata, **changed}} if changed else None


# Written by the Job controller for a rule `FailJob` (pkg/controller/job/pod_failure_policy.go).
_FAILED_CONTAINER = re.compile(r"Container ([a-z0-9-]{1,63}) for pod \S+ failed with exit code (\d{1,3})\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a Job failed, by its condition: the reason, and container and exit code where a rule `FailJob` matched.

    `init` means that the container is an init container: the repository was not cloned.
    """

    reason: str
    container: str | None = None
    exit_code: int | None = None
    init: bool = False

    @classmethod
    def of(cls, obj: Mapping[str, Any], condition: Mapping[str, Any]) -> Failure:
        """Read the condition `Failed` of a Job."""
        reason, message = condition.get("reason"), condition.get("message")
        known = str(reason) if isinstance(reason, str) and _REASON.fullmatch(reason) else "Failed"
        found = _FAILED_CONTAINER.search(message) if isinstance(message, str) else None
        if found is None:
            return cls(reason=known)
        pod = ((obj.get("spec") or {}).get("template") or {}).get("spec") or {}
        names = {container.get("name") for container in pod.get("initContainers") or ()}
        return cls(reason=known, container=found[1], exit_code=int(found[2]), init=found[1] in names)


_REASON = re.compile(r"[A-Za-z][A-Za-z0-9]{0,62}")


def _has_started(status: Mapping[str, Any]) -> bool:
    """Whether a pod of the Job is ready or has ended."""
    return any(status.get(name) for name in ("ready", "succeeded", "failed", "uncountedTerminatedPods"))


_DIGITS = 18  # any user may write a Job's annotations: a number of a thousand digits must not end the program


def _natural(value: object) -> int | None:
    fits = isinstance(value, str) and len(value) <= _DIGITS and value.isascii() and value.isdigit()
    return int(value) if fits and isinstance(value, str) else None


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
        source, _, digits = rest.rpartition("/")
        number = _natural(digits)
        if not uid or not source or number is None:
            return None
        return cls(trigger_uid=uid, source=source, number=number)


def text_annotations(author: str | None, subject: str | None) -> dict[str, str]:
    """The annotations with a commit's author and subject, as far as they are known."""
    known = {AUTHOR_ANNOTATION: author, SUBJECT_ANNOTATION: subject}
    return {name: text for name, text in known.items() if text}


def copy_name(job: str) -> str:
    """Name of the Secret that a Job owns: reserved, so that no Action can mount it.

    >>> copy_name("hook-abc")
    'git-events-runner-hook-abc'
    """
    return RESERVED + job


def job_name(trigger_name: str, run: RunKey) -> str:
    """Name of the run's Job: nothing that can be edited enters it, so creating it twice is refused by the API server.

    >>> job_name("my.trigger", RunKey(trigger_uid="u", source="s", number=1))
    'my-trigger-qiisr23h24u6jvif'
    """
    digest = base64.b32encode(hashlib.sha256(str(run).encode()).digest()).decode().lower()[:16]
    return f"{trigger_name.replace('.', '-')[:40].rstrip('-')}-{digest}"


def _is_legacy(metadata: Mapping[str, Any]) -> bool:
    """Whether v0.4 may have made the Job: all its labels, and no run."""
    labels = metadata.get("labels") or {}
    return RUN_ANNOTATION not in (metadata.get("annotations") or {}) and all(name in labels for name in _TRACKING)


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _has_pods(status: Mapping[str, Any], true: Mapping[str, Any]) -> bool:
    """Whether pods may be left of a Job: the Job controller counts some, or has not seen its suspension yet."""
    counted = any(_count(status.get(name)) for name in ("active", "terminating"))
    return counted or (status.get("startTime") is not None and "Suspended" not in true)


def _keeps_copy(spec: Mapping[str, Any], copy: str) -> bool:
    """Whether the pod mounts the copy as one that has to be there, as Jobs do whose pods may be replaced."""
    pod = (spec.get("template") or {}).get("spec") or {}
    projected = [volume.get("projected") or {} for volume in pod.get("volumes") or ()]
    secrets = [source.get("secret") or {} for one in projected for source in one.get("sources") or ()]
    return any(secret.get("name") == copy and not secret.get("optional") for secret in secrets)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """A Job as the ledger and the queue see it; `run` is None for Jobs not made by this version, and copies of ours.

    These are the Job's own words: `rules/identity` decides whether it is a run of a trigger at all. `legacy` means that
    it has the labels of v0.4 and no run, `idle` that it starts no pod, `keeps_copy` that its pod cannot start without
    the copy of a Secret, `has_pods` that it may have pods: it was started, and no suspension has ended them yet.
    `reason` is the verdict that made it, `run_request` the number of the run that was requested.
    """

    run: RunKey | None
    commit: str | None
    author: str | None
    subject: str | None
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
    failure: Failure | None
    pod_started: bool
    reason: str | None
    run_request: int | None
    attempt: Attempt
    trigger_generation: int | None
    has_ttl: bool
    queued_elsewhere: bool
    admission: str | None
    resumed: bool
    needs_secret: bool
    owner_uid: str | None
    ttl_s: int | None
    waiting_timeout_s: int | None
    idle: bool
    legacy: bool
    active: int
    ready: int
    keeps_copy: bool
    labels: Mapping[str, str]
    trigger_kind: str
    trigger_name: str
    limit: ConcurrencyLimit | None
    has_pods: bool
    suspensions: Suspensions
    start_timeout_s: int | None

    @property
    def finished(self) -> bool:
        """Whether it is Complete or Failed."""
        return self.result is not None

    @property
    def clone_exit(self) -> int | None:
        """The exit code of the init container that failed it; None: it did not fail, or for another reason."""
        return self.failure.exit_code if self.failure and self.failure.init else None

    @property
    def holds_slot(self) -> bool:
        """Whether it counts against maxRunningJobs, if it is a run: it may have a pod that is not to end just now."""
        return not (self.suspended or self.idle or self.finished or self.ending or self.deleting)

    @property
    def suspended_elsewhere(self) -> bool:
        """Whether another party suspended it: it was started once, or no mark shows that the suspension is ours.

        One that we put back because it did not start is ours while no other party changed it.

        A resumed Job keeps its start time, or condition `Suspended` turns False
        (https://kubernetes.io/docs/concepts/workloads/controllers/job/#suspending-a-job).
        """
        ours = self.admission in {None, WAITING} and self.started_at is None and not self.resumed
        ours = ours or (self.admission == REQUEUED and self.suspensions.are_ours)
        return self.suspended and not (ours or self.queued_elsewhere)

    @property
    def admitted_elsewhere(self) -> bool:
        """Whether another party admits it, or did: the queue has not made its copy of a Secret."""
        return self.queued_elsewhere or (self.admission not in {None, ADMITTED} and not self.waits)

    @property
    def waits(self) -> bool:
        """Whether it waits for a slot: alive, and the suspension is ours to lift."""
        alive = not (self.finished or self.deleting or self.ending)
        ours = self.run is not None and not (self.queued_elsewhere or self.suspended_elsewhere)
        return self.suspended and alive and ours

    @property
    def phase(self) -> str:
        """One of Queued, Suspended (by another party), Running, Succeeded, Failed: what `lastJob.phase` shows."""
        if self.result:
            return self.result
        if self.suspended_elsewhere:
            return "Suspended"
        return "Queued" if self.suspended else "Running"

    @classmethod
    def of(cls, obj: Mapping[str, Any]) -> JobView:
        """Read a Job as the API server sent it; strange values read as absent, never as an error."""
        metadata = obj.get("metadata") or {}
        spec = obj.get("spec") or {}
        status = obj.get("status") or {}
        annotations = own_metadata(metadata)["annotations"]
        labels = metadata.get("labels") or {}
        conditions = status.get("conditions") or ()
        true = {c.get("type"): c for c in conditions if c.get("status") == "True"}
        end = true.get("Complete") or true.get("Failed")
        occurrence = annotations.get(OCCURRENCE_ANNOTATION) or ""
        owners = metadata.get("ownerReferences") or ()
        ttl_given = spec.get("ttlSecondsAfterFinished") is not None
        run, name = RunKey.parse(annotations.get(RUN_ANNOTATION)), metadata.get("name")
        trigger_name = str(annotations.get(TRIGGER_LABEL) or labels.get(TRIGGER_LABEL) or "")  # cut in the label
        if run and name and name != job_name(trigger_name, run):
            run = None  # a user copied one of our Jobs: it is not that run
        return cls(
            run=run,
            commit=annotations.get(COMMIT_ANNOTATION) or None,
            author=one_line(annotations.get(AUTHOR_ANNOTATION) or "", AUTHOR_CHARS) or None,
            subject=one_line(annotations.get(SUBJECT_ANNOTATION) or "", SUBJECT_CHARS) or None,
            file_hash=annotations.get(FILE_HASH_ANNOTATION) or None,
            request=_natural(occurrence),
            due_at=occurrence if timestamp(occurrence) else None,
            created_at=timestamp(metadata.get("creationTimestamp")),
            started_at=timestamp(status.get("startTime")),
            ended_at=timestamp((end or {}).get("lastTransitionTime")),
            suspended=spec.get("suspend") is True,
            deleting=bool(metadata.get("deletionTimestamp")),
            ending="FailureTarget" in true or "SuccessCriteriaMet" in true,
            result="Succeeded" if "Complete" in true else "Failed" if "Failed" in true else None,
            failure=Failure.of(obj, true["Failed"]) if "Failed" in true and "Complete" not in true else None,
            pod_started=_has_started(status),
            reason=annotations.get(REASON_ANNOTATION),
            run_request=_natural(annotations.get(RUN_REQUEST_ANNOTATION)),
            attempt=Attempt.of(annotations),
            trigger_generation=_natural(annotations.get(GENERATION_ANNOTATION)),
            has_ttl=ttl_given,
            queued_elsewhere=KUEUE_LABEL in labels or spec.get("managedBy", _JOB_CONTROLLER) != _JOB_CONTROLLER,
            admission=annotations.get(ADMISSION_ANNOTATION) or None,
            resumed=any(c.get("type") == "Suspended" and c.get("status") == "False" for c in conditions),
            needs_secret=SECRET_ANNOTATION in annotations,
            owner_uid=next((o.get("uid") for o in owners if o.get("controller")), None),
            ttl_s=_natural(annotations.get(TTL_ANNOTATION)),
            waiting_timeout_s=_natural(annotations.get(WAITING_ANNOTATION)),
            idle=spec.get("parallelism") == 0,
            legacy=_is_legacy(metadata),
            active=_count(status.get("active")),
            ready=_count(status.get("ready")),
            keeps_copy=_keeps_copy(spec, copy_name(str(name or ""))),
            labels={name: str(labels[name]) for name in _TRACKING if name in labels},
            trigger_kind=str(labels.get(TRIGGER_KIND_LABEL) or ""),
            trigger_name=trigger_name,
            limit=ConcurrencyLimit.of(annotations),
            has_pods=_has_pods(status, true),
            suspensions=Suspensions.of(metadata, admission=annotations.get(ADMISSION_ANNOTATION), has_ttl=ttl_given),
            start_timeout_s=_natural(annotations.get(START_TIMEOUT_ANNOTATION)),
        )
