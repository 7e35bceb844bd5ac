"""The event of a run, in the word that its worker gets."""

from git_events_runner.resources.retry import Attempt
from git_events_runner.rules.check_result import CheckResult
from git_events_runner.rules.jobs.event import event_of
from git_events_runner.rules.jobs.retry import RETRY
from tests.rules.test_manifest import made, pod


def test_every_reason_of_a_run_is_an_event():
    """A verdict that makes a Job has its word, and no two have the same."""
    events = [event_of(verdict) for verdict in CheckResult if verdict.fires] + [event_of(RETRY)]
    assert len(set(events)) == len(events)


def test_the_worker_gets_event_previous_commit_number_and_attempt():
    """Of a run that was requested by annotation, tried again after another."""
    job = made(reason="fire-requested", previous_commit="b" * 40, attempt=Attempt(number=2, most=3))
    env = {one["name"]: one["value"] for one in pod(job)["containers"][0]["env"]}
    assert env["ACTION_JOB_EVENT"] == "manual"
    assert env["ACTION_JOB_TRIGGER_SOURCE_PREVIOUS_COMMIT"] == "b" * 40
    assert (env["ACTION_JOB_RUN_NUMBER"], env["ACTION_JOB_RUN_ATTEMPT"]) == ("3", "2")
