"""The oracle finds each kind of broken promise, and nothing in a history that keeps them all."""

import pytest

from tests.chaos import oracle
from tests.chaos.evidence import Delivery, Evidence, JobChange, Source

COMMITS = ["a" * 40, "b" * 40, "c" * 40]


def job(number, push, *, suspend=False, ended=False, name=None):
    """A Job of the trigger `hook` (uid u)."""
    annotations = {"git-events-runner.rs/run": f"u/hook/{number}", "git-events-runner.rs/commit": COMMITS[push]}
    conditions = [{"type": "Complete", "status": "True"}] if ended else []
    metadata = {"name": name or f"hook-{number}", "annotations": annotations}
    return {"metadata": metadata, "spec": {"suspend": suspend}, "status": {"conditions": conditions}}


def evidence(*jobs, every=False, pushes=3, statuses=(202, 202, 202), deleted=()):
    """Three pushes, each delivered, and these Jobs in the order of their changes."""
    source = Source(name="hook", kind="WebhookTrigger", uid="u", every=every, commits=COMMITS[:pushes])
    deliveries = [
        Delivery(trigger="hook", push=push, key=str(push), pod=0, sent_at=push, status=status)
        for push, status in enumerate(statuses)
    ]
    changes = [JobChange(at=0.0, deleted=each["metadata"]["name"] in deleted, job=each) for each in jobs]
    return Evidence(limit=2, sources={"hook": source}, deliveries=deliveries, changes=changes)


def test_a_history_that_keeps_every_promise_is_clean():
    """Two runs, one after the other, the last of the newest push."""
    good = evidence(job(1, 0), job(1, 0, ended=True), job(2, 2), job(2, 2, ended=True))
    assert oracle.violations(good) == []
    assert oracle.unrun(good) == []


def test_the_jobs_that_hold_slots_are_those_that_run_now():
    """Not one that waits, that has ended, or that was deleted."""
    seen = evidence(
        job(1, 0), job(2, 1, suspend=True), job(3, 2), job(1, 0, ended=True), job(4, 2), deleted=("hook-4",)
    )
    assert seen.holding() == {"hook-3"}


def test_a_change_is_a_line_for_the_search_for_its_cause():
    """When, which version, and whether the Job held a slot."""
    change = evidence(job(1, 0, ended=True)).changes[0]
    assert change.line == "0.000 version None: hook-1 is resumed, conditions ['Complete']"


@pytest.mark.parametrize(
    ("jobs", "more", "part"),
    [
        ([job(1, 0), job(1, 0, name="other")], {}, "has 2 Jobs"),
        ([job(1, 2), job(2, 2)], {}, "ran 2 times"),
        ([job(1, 2), job(2, 0)], {}, "is of an older push"),
        ([job(2, 0), job(1, 1)], {}, "was created after"),
        ([job(1, 0), job(2, 1), job(3, 2)], {}, "3 Jobs ran at the same time"),
        ([job(1, 2)], {"deleted": ("hook-1",)}, "was deleted"),
        ([job(1, 2)], {"statuses": (202, 500, 202)}, "answered with 500"),
        ([job(n, 2, ended=True) for n in (1, 2, 3, 4)], {"every": True}, "4 Jobs, but not more than 3 deliveries"),
        ([job(1, 2)], {"pushes": 2}, "was never pushed"),
    ],
)
def test_each_broken_promise_is_found(jobs, more, part):
    """A sentence names it."""
    found = oracle.violations(evidence(*jobs, **more))
    assert [text for text in found if part in text], found


@pytest.mark.parametrize(("recorded", "found"), [("Expired", 0), (None, 0), ("Gone", 1), ("Queued", 1)])
def test_a_deletion_without_a_recorded_reason_is_found(recorded, found):
    """Where Jobs that wait for long are to be deleted; where a later Job is shown, nothing is known."""
    deleted = evidence(job(1, 2), deleted=("hook-1",))
    deleted.expires, deleted.changes[0].recorded = True, recorded
    assert len(oracle.violations(deleted)) == found


def test_what_was_promised_and_has_not_run_is_found():
    """The newest accepted push; one that no replica accepted is not promised."""
    assert "push 2 has not run" in oracle.unrun(evidence(job(1, 1)))[0]
    assert oracle.unrun(evidence(job(1, 1), statuses=(202, 202, 503))) == []
    assert "3 deliveries were accepted, 1 Jobs" in oracle.unrun(evidence(job(1, 2), every=True))[0]


def test_a_trigger_that_is_ready_and_does_not_run_is_silent():
    """It is named as such; one that is not Ready says by itself that something is wrong."""
    stuck = evidence(job(1, 1))
    stuck.statuses["hook"] = {"conditions": [{"type": "Ready", "status": "True"}]}
    assert "and Ready is True" in oracle.silent(stuck)[0]
    stuck.statuses["hook"] = {"conditions": [{"type": "Ready", "status": "False"}]}
    assert oracle.silent(stuck) == []


def test_a_status_that_does_not_say_what_ran_is_unsettled():
    """Each fact that differs is named."""
    found = evidence(job(1, 2))
    entry = {"requested": 3, "handled": 2, "runs": 1, "commitHash": COMMITS[2]}
    entry["lastJob"] = {"name": "hook-1", "phase": "Running"}
    found.statuses["hook"] = {"state": "Idle", "checkedSources": {"hook": entry}}
    texts = oracle.unsettled(found)
    assert [text.partition(": ")[2].split(" is ")[0] for text in texts] == [
        "requested and handled",
        "Ready",
        "the phase of the last Job",
    ]
