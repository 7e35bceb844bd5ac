"""Only a run that a newer one has overtaken, or that is its request's alone, may be dropped."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from git_events_runner.resources.job import JobView
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.identity import Owner
from git_events_runner.rules.ledger.report import Warn
from git_events_runner.rules.overtaken import is_overtaken, may_expire, warnings_over
from git_events_runner.rules.problems import warnings_of


@dataclass
class Found:
    """An object as the store has it."""

    raw: dict[str, Any]
    model: Any = None
    uid: str = "uid"
    ref: Ref = field(default=Ref("WebhookTrigger", "n", "hook"))


def job(reason="fire-changed", *, suspend=True, number=1):
    annotations = {"git-events-runner.rs/run": f"uid/app/{number}", "git-events-runner.rs/reason": reason}
    return JobView.of({"metadata": {"annotations": annotations}, "spec": {"suspend": suspend}})


def owner(*, number, runs):
    status = {"checkedSources": {"app": {"commitHash": "a" * 40, "runs": runs}}}
    return Owner(trigger=Found(raw={"status": status}), source="app", number=number)


@pytest.mark.parametrize(
    ("number", "runs", "overtaken"), [(1, 1, False), (1, 2, True), (2, 1, False), (None, 5, False)]
)
def test_a_run_is_overtaken_by_a_newer_recorded_one(number, runs, overtaken):
    """A Job of v0.4, which has no number, never is."""
    assert is_overtaken(owner(number=number, runs=runs)) is overtaken


@pytest.mark.parametrize(
    ("reason", "number", "runs", "expires"),
    [
        ("fire-changed", 2, 2, False),
        ("fire-first", 1, 1, False),
        ("fire-requested", 2, 2, False),
        ("fire-changed", 1, 2, True),
        ("fire-always", 2, 2, True),
        ("fire-always", 2, 1, False),
    ],
)
def test_the_newest_run_of_a_source_never_expires(reason, number, runs, expires):
    """Unless each request is a run of its own; and no run expires before it is recorded."""
    assert may_expire(job(reason), owner(number=number, runs=runs)) is expires


def test_a_warning_ends_when_no_run_of_its_source_waits():
    """Warnings of other sources and other reasons stay."""
    status = {"conditions": [{"type": "Ready", "status": "True", "reason": "Succeeded", "message": "watching"}]}
    for reason, source in (("WaitingForSlot", "app"), ("WaitingForSlot", "lib"), ("FilesSelectNothing", "lib")):
        Warn(reason=reason, source=source, message="text").apply(status)
    waiting = Found(raw={}, model=job(), ref=Ref("Job", "n", "a"))
    for change in warnings_over(status, [waiting]):
        change.apply(status)
    left = {(one.reason, one.source) for one in warnings_of(status)}
    assert left == {("WaitingForSlot", "app"), ("FilesSelectNothing", "lib")}
    running = Found(raw={}, model=job(suspend=False), ref=Ref("Job", "n", "a"))
    assert [change.source for change in warnings_over(status, [running])] == ["app"]
