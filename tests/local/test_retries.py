"""When a failed pod is followed by another one."""

from typing import Any

import pytest

from git_events_runner.local.executor.job_status import FAILED, Ending
from git_events_runner.local.executor.retries import after


def job(limit: int | None, *rules: dict[str, Any]) -> dict[str, Any]:
    spec = {"backoffLimit": limit, "podFailurePolicy": {"rules": list(rules)}}
    return {"metadata": {"name": "x", "namespace": "team"}, "spec": spec}


def rule(action: str, *codes: int, operator: str = "In", **more: str) -> dict[str, Any]:
    return {"action": action, "onExitCodes": {"operator": operator, "values": list(codes), **more}}


@pytest.mark.parametrize(
    ("wanted", "failures", "expected"),
    [
        (job(None), 0, FAILED),
        (job(0), 0, FAILED),
        (job(2), 0, 1),
        (job(2), 1, 2),
        (job(2), 2, FAILED),
        (job(0, rule("Ignore", 7)), 0, 0),
        (job(0, rule("Ignore", 7, operator="NotIn")), 0, FAILED),
        (job(2, rule("Count", 7), rule("FailJob", 7)), 0, 1),
        (job(2, rule("FailJob", 7, containerName="other")), 0, 1),
        (job(2, {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget"}]}), 0, 1),
    ],
)
def test_after(wanted: dict[str, Any], failures: int, expected: Ending | int):
    """The first rule that fits decides; else another pod follows until the limit is passed."""
    assert after(wanted, failures, "worker", 7) == expected


def test_a_rule_that_ends_the_job():
    """A rule FailJob ends the Job with container, code and rule in its message, as the Job controller writes it."""
    how = after(job(6, rule("Count", 1), rule("FailJob", 7, containerName="worker")), 0, "worker", 7)
    assert isinstance(how, Ending)
    assert how.reason == "PodFailurePolicy"
    told = "Container worker for pod team/x-local failed with exit code 7 matching FailJob rule at index 1"
    assert how.message == told
