"""A run as it is reported: its state, in the words of events of a Notifier, and the facts that messages contain.

A message contains names, a commit, times and a reason; the last lines of a worker's log only with `logLines`, without
the values that its pod was given. Nothing of a Secret, an environment or a command line gets in.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from git_events_runner.resources.job import JobView
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.jobs.run_end import ended
from git_events_runner.rules.overtaken import REPLACED, SUPERSEDED
from git_events_runner.rules.references import source_of

QUEUED, STARTED, SUCCEEDED, FAILED, CANCELLED = "Queued", "Started", "Succeeded", "Failed", "Cancelled"
RECOVERED = "Recovered"  # succeeded, after a failure
UNFINISHED = frozenset((QUEUED, STARTED))
FINAL = frozenset((SUCCEEDED, FAILED, CANCELLED, RECOVERED))
_IN_WORDS = {
    QUEUED: "queued",
    STARTED: "running",
    SUCCEEDED: "succeeded",
    RECOVERED: "succeeded",
    FAILED: "failed",
    CANCELLED: "cancelled",
}
_OF_PHASE = {"Queued": QUEUED, "Suspended": QUEUED, "Running": STARTED, "Succeeded": SUCCEEDED, "Failed": FAILED}
_CANCELLED_BY = {
    SUPERSEDED: "superseded by a newer run",
    REPLACED: "replaced by a newer run",
    "Expired": "waited too long for a slot",
    "Gone": "its Job was deleted while no controller was running",
}
_FIELD = re.compile(r"[{]([a-z]+)[}]")
_MINUTE_S, _HOUR_S = 60, 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """What is reported of a run; `why` is the reason of a failure or a cancellation, for users.

    `log` has the last lines of its worker where a Notifier sends them, `log_problem` why there are none.
    """

    state: str
    trigger: Ref
    trigger_uid: str
    source: str
    number: int
    job: Ref
    job_uid: str
    commit: str
    repo_uri: str
    attempt: str = "1/1"
    why: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    log: tuple[str, ...] = ()
    log_problem: str | None = None

    @property
    def source_name(self) -> str:
        """The name of the source, without the branch or tag: names of branches are in no message."""
        return source_of(self.source)

    @property
    def seconds(self) -> float | None:
        """How long the Job ran, if it has started and ended."""
        if self.started_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds()

    @property
    def summary(self) -> str:
        """The state in a few words, with the duration."""
        text = _IN_WORDS[self.state]
        if self.state != CANCELLED and self.seconds is not None:
            text += f" {'after' if self.state == FAILED else 'in'} {duration(self.seconds)}"
        return f"{text}, after a failure" if self.state == RECOVERED else text

    @property
    def description(self) -> str:
        """The state in one line, with duration and reason."""
        return f"{self.summary}: {self.why}" if self.why else self.summary

    @property
    def about(self) -> str:
        """What it is about, in the log."""
        return self.job.name

    @property
    def key(self) -> str:
        """What a later report of the same run replaces while it waits."""
        return self.job_uid

    @property
    def identity(self) -> str:
        """The same for a message that is sent again."""
        return f"{self.job_uid}/{self.state}"

    def filled(self, template: str, escape: Callable[[str], str] = str) -> str:
        """A template of a Notifier with the fields of this run.

        Args:
            template: Text with fields in braces; what is no field stays.
            escape: Is called with each value.
        """
        values = {
            "namespace": self.trigger.namespace or "",
            "trigger": self.trigger.name,
            "kind": self.trigger.kind,
            "source": self.source_name,
            "run": str(self.number),
            "commit": self.commit,
            "job": self.job.name,
        }
        return _FIELD.sub(lambda found: escape(values[found[1]]) if found[1] in values else found[0], template)

    def link(self, template: str | None) -> str | None:
        """The address in `targetUrl`, each value escaped for URLs."""
        return None if template is None else self.filled(template, lambda value: quote(value, safe=""))


def state_of(view: JobView) -> str:
    """The state of a Job that exists."""
    return _OF_PHASE[view.phase]


def why_of(job: Ref, view: JobView, source: str) -> str | None:
    """Why a Job failed, for users."""
    return ended(job, view, source).error if view.failure is not None else None


def cancelled_by(result: str) -> str | None:
    """Why a Job was deleted before it ended, by the result that observers get.

    >>> cancelled_by("Superseded")
    'superseded by a newer run'
    """
    return _CANCELLED_BY.get(result)


def duration(seconds: float) -> str:
    """A duration for users.

    >>> [duration(seconds) for seconds in (0.4, 42, 61, 7325)]
    ['0 s', '42 s', '1 min 1 s', '2 h 2 min']
    """
    whole = int(seconds)
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S} s"
    return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S} min"
