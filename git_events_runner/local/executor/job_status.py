"""What the Job controller and the kubelet of a cluster write into a Job's status, as merge patches.

https://kubernetes.io/docs/concepts/workloads/controllers/job/#terminal-job-conditions
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a Job ended: its last two conditions and their reason."""

    step: str
    end: str
    reason: str
    message: str


SUCCEEDED = Ending(
    step="SuccessCriteriaMet",
    end="Complete",
    reason="CompletionsReached",
    message="Reached expected number of succeeded pods",
)
FAILED = Ending(
    step="FailureTarget",
    end="Failed",
    reason="BackoffLimitExceeded",
    message="Job has reached the specified backoff limit",
)
POLICY = Ending(
    step="FailureTarget",
    end="Failed",
    reason="PodFailurePolicy",
    message="A rule of the pod failure policy ends the Job",
)
TOO_LONG = Ending(
    step="FailureTarget",
    end="Failed",
    reason="DeadlineExceeded",
    message="Job was active longer than specified deadline",
)


def started(moment: str) -> dict[str, Any]:
    """The status while the pod runs, first its init container; `moment` is RFC 3339. It is suspended no more."""
    return {"status": {"startTime": moment, "active": 1, "ready": 0, "conditions": None}}


def working() -> dict[str, Any]:
    """The status once the pod has cloned and its worker runs."""
    return {"status": {"ready": 1}}


def stopped(moment: str, *, suspended: bool) -> dict[str, Any]:
    """The status after the pod of a Job that was suspended or is being deleted has ended."""
    status: dict[str, Any] = {"active": None, "ready": 0}
    if suspended:
        status["conditions"] = [_condition("Suspended", "JobSuspended", "Job suspended", moment)]
    return {"status": status}


def ending(how: Ending, moment: str) -> dict[str, Any]:
    """The status once the outcome is certain, while the pod still ends."""
    return {"status": {"conditions": _conditions(how, (how.step,), moment)}}


def ended(how: Ending, moment: str, *, failures: int = 1) -> dict[str, Any]:
    """The last status; `failures` are the pods that failed."""
    status: dict[str, Any] = {"active": None, "ready": 0, "conditions": _conditions(how, (how.step, how.end), moment)}
    if how is SUCCEEDED:
        status |= {"succeeded": 1, "completionTime": moment}
    if failures:
        status |= {"failed": failures}
    return {"status": status}


def _conditions(how: Ending, types: Sequence[str], moment: str) -> list[dict[str, str]]:
    return [_condition(type_, how.reason, how.message, moment) for type_ in types]


def _condition(type_: str, reason: str, message: str, moment: str) -> dict[str, str]:
    return {
        "type": type_,
        "status": "True",
        "reason": reason,
        "message": message,
        "lastProbeTime": moment,
        "lastTransitionTime": moment,
    }
