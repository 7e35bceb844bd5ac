"""Task ids: derived, found again, and told from unknown ones."""

import pytest

from git_events_runner.resources.job import DELIVERIES_ANNOTATION, TASK_IDS_ANNOTATION
from git_events_runner.rules.ledger.deliveries import delivery_hash, last_deliveries
from git_events_runner.rules.ledger.mutations import Count
from git_events_runner.rules.ledger.patch import combine
from git_events_runner.rules.ledger.tasks import task_id, task_status_of

AT = "2026-05-06T07:08:09Z"


def counted(*tasks, handled=0):
    status = {}
    for task in tasks:
        status, _ = combine(status, [Count(requests={"app": None}, delivery=delivery_hash(task), at=AT)])
    status["checkedSources"]["app"]["handled"] = handled
    return status


def job(*tasks, phase="Running", name="j", hashes=""):
    return (name, phase, {TASK_IDS_ANNOTATION: ",".join(tasks), DELIVERIES_ANNOTATION: hashes})


def test_a_task_id_is_a_uuid_that_depends_on_path_and_delivery():
    """So every replica gives the same one, and two hooks of one forge do not share it."""
    one = task_id(("ns", "hook"), "d1")
    assert len(one) == 36
    assert one == task_id(("ns", "hook"), "d1")
    assert len({one, task_id(("ns", "hook"), "d2"), task_id(("ns",), "d1"), task_id(("ns", "hook", "app"), "d1")}) == 4


@pytest.mark.parametrize(
    ("phase", "state"),
    [
        ("Queued", "waiting"),
        ("Suspended", "waiting"),
        ("Running", "running"),
        ("Succeeded", "succeeded"),
        ("Failed", "failed"),
    ],
)
def test_a_task_is_what_its_job_is(phase, state):
    """The Job is named."""
    answer = task_status_of("t", counted("t", handled=1), [job("s", "t", phase=phase), job("other", name="k")])
    assert (answer.state, answer.jobs, answer.text) == (state, (("j", state),), f"job j {state}")


def test_of_several_jobs_the_least_good_state_is_told():
    """A call for several sources has several Jobs."""
    jobs = [job("t", phase="Succeeded"), job("t", phase="Failed", name="k")]
    answer = task_status_of("t", counted("t", handled=1), jobs)
    assert (answer.state, answer.text) == ("failed", "job j succeeded, job k failed")


def test_a_job_made_for_requests_of_another_replica_bears_their_hashes():
    """The id is in no memory any more; its hash is enough."""
    status = counted("a", "b", "c")
    assert task_status_of("b", status, [job(hashes=last_deliveries(status, 2))]).state == "running"
    assert task_status_of("a", status, [job(hashes=last_deliveries(status, 2))]).state == "waiting"


def test_without_a_job_it_waits_or_nothing_had_changed():
    """Only the newest requests of those counted can be unanswered."""
    status = counted("a", "b", handled=1)
    assert task_status_of("a", status, []).state == "no change"
    assert task_status_of("b", status, []).state == "waiting"


def test_an_unknown_task_is_unknown():
    """Never counted, or long past."""
    assert task_status_of("x", counted("a"), [job("a")]) is None
    assert task_status_of("x", None, []) is None
    assert task_status_of("a", counted("a", *map(str, range(64))), []) is None
