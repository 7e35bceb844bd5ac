"""What the Job controller does when a pod has failed: another one, or the end of the Job.

https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-failure-policy
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from git_events_runner.concurrency.retry_delays import delay_s

from .job_status import FAILED, POLICY, Ending

_FIRST_S, _LONGEST_S = 1.0, 60.0


def after(job: Mapping[str, Any], failures: int, container: str, code: int) -> Ending | int:
    """How the Job ends after a pod whose container failed with an exit code; else how many failures count by now.

    `failures` counts those before; a rule `Ignore` adds none.
    """
    spec = job["spec"]
    for index, rule in enumerate((spec.get("podFailurePolicy") or {}).get("rules") or ()):
        if not _matches(rule.get("onExitCodes"), container, code):
            continue
        if rule.get("action") == "FailJob":
            pod = f"{job['metadata']['namespace']}/{job['metadata']['name']}-local"
            message = f"Container {container} for pod {pod} failed with exit code {code} matching FailJob rule at index"
            message = f"{message} {index}"
            return Ending(step=POLICY.step, end=POLICY.end, reason=POLICY.reason, message=message)
        if rule.get("action") == "Ignore":
            return failures
        break
    return FAILED if failures >= (spec.get("backoffLimit") or 0) else failures + 1


def next_pod_s(failures: int) -> float:
    """Seconds before the next pod: 1, doubled with each failure, at most 60 (a cluster begins with 10).

    >>> [next_pod_s(1), next_pod_s(2), next_pod_s(20)]
    [1.0, 2.0, 60.0]
    """
    return delay_s(failures, first_s=_FIRST_S, longest_s=_LONGEST_S)


def _matches(rule: Any, container: str, code: int) -> bool:
    if not isinstance(rule, Mapping) or rule.get("containerName") not in {None, container}:
        return False
    inside = code in (rule.get("values") or ())
    return inside if rule.get("operator") == "In" else not inside
