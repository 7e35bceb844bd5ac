"""No interleaving breaks the ledger with all its rules, and each rule is needed."""

import pytest

from tests.model.ledger import Model

SAFE = {
    "a commit and back, two replicas": Model("ABA"),
    "three replicas": Model("AB", replicas=3),
    "a crash and lost answers": Model("AB", events="crash lost"),
    "a crash among commits with the same files": Model("Aa", events="files crash lost"),
    "same files first": Model("AaB", events="files"),
    "same files last": Model("ABa", events="files"),
    "same files and back": Model("AaA", events="files"),
    "one run for each request, with a crash": Model("AB", events="always crash lost"),
    "Jobs removed by their TTL": Model("AB", events="ttl lost"),
    "a status wiped by a restore": Model("AB", events="wipe"),
    "a status wiped, Jobs removed by their TTL, lost answers": Model("ABC", events="wipe ttl lost", replicas=1),
    "git shows a commit later than it was announced": Model("ABC", events="lag", replicas=1),
    "git shows it later, and a replica crashes": Model("AB", events="lag crash lost"),
    "git shows a commit and back later": Model("ABA", events="lag", replicas=1),
    "git shows the same files later": Model("AaB", events="lag files", replicas=1),
    "a Job of somebody else with a number too high": Model("AB", events="forged crash lost"),
    "the same, and Jobs removed by their TTL": Model("AB", events="forged ttl lost"),
    "a number of runs edited by hand": Model("ABA", events="edit ttl lost", replicas=1),
    "the same, two replicas": Model("AB", events="edit ttl"),
    "scheduled times, two replicas": Model("ABA", events="polls lost"),
    "scheduled times and a crash": Model("AB", events="polls crash lost"),
    "scheduled times of the same files": Model("AaB", events="polls files"),
    "scheduled times and deliveries": Model("AB", events="polls calls"),
    "scheduled times and deliveries of one replica": Model("ABA", events="polls calls", replicas=1),
    "runs requested by annotation": Model("AB", events="annotation"),
    "a run requested by annotation, a crash and lost answers": Model("A", events="annotation crash lost ttl"),
    "runs requested by annotation, git shows commits later": Model("AB", events="annotation lag", replicas=1),
    "runs requested by annotation, one run for each request": Model("AB", events="annotation always lost", replicas=1),
    "failed runs are run again": Model("AB", events="retry"),
    "failed runs are run again, a crash and lost answers": Model("A", events="retry crash lost", retries=2),
    "failed runs are run again, Jobs removed by their TTL": Model("A", events="retry ttl lost", retries=2),
    "failed runs are run again, a commit and back": Model("ABA", events="retry", replicas=1),
    "failed runs are run again, git shows commits later": Model("ABC", events="retry lag", replicas=1),
    "failed runs are run again, commits with the same files": Model("AaB", events="retry files", replicas=1),
    "failed runs are run again, others requested by annotation": Model("AB", events="retry annotation", replicas=1),
    "failed runs are run again, one run for each request": Model("AB", events="retry always lost", replicas=1),
    "changes that wait": Model("AB", events="waits lost"),
    "changes that wait, a crash": Model("AB", events="waits crash", replicas=2),
    "changes that wait, a commit and back": Model("ABA", events="waits"),
    "changes that wait, found by schedule": Model("AB", events="waits polls calls", replicas=1),
    "changes that wait, others requested by annotation": Model("AB", events="waits annotation", replicas=1),
    "changes that wait, failed runs are run again": Model("AB", events="waits retry"),
    "a first check that runs nothing": Model("ABA", events="record"),
    "the same, a crash and lost answers": Model("AB", events="record crash lost"),
    "a reference deleted and created again at the same commit": Model("A-A"),
    "the same, Jobs removed by their TTL, lost answers": Model("A-A", events="ttl lost", replicas=1),
    "a reference deleted, and a crash": Model("A-", events="crash lost"),
    "one of several references, found by schedule, lost answers": Model("AB", events="shared polls lost"),
    "one of several references, and a crash": Model("A", events="shared polls crash lost"),
    "one of several references, deleted and created again": Model("A-A", events="shared polls"),
    "the same, a crash of the only replica": Model("A-A", events="shared polls crash lost", replicas=1),
    "one of several references, deleted and created again, delivered": Model("A-A", events="shared lost", replicas=1),
    "a reference that git leaves out for a moment": Model("AB", events="hides"),
    "the same, then deleted, and a crash": Model("A-", events="hides crash"),
}

NEEDED = {
    "live_read": (Model("AB", without="live_read", events="ttl lost"), "ran twice"),
    "unknown_rereads": (Model("AB", without="unknown_rereads", events="ttl lost"), "ran twice"),
    "settle_from_job": (Model("AB", without="settle_from_job", events="always crash lost"), "never ran"),
    "settle_lowers": (Model("ABA", without="settle_lowers"), "lost: recorded B, ran B, head A"),
    "skip_tests": (Model("ABA", without="skip_tests"), "lost: recorded B, ran A, head A"),
    "skip_tests, for commits with the same files": (Model("AaB", without="skip_tests", events="files"), "lost"),
    "settle_highest": (
        Model("ABC", without="settle_highest", events="wipe ttl lost", replicas=1),
        "5 jobs for 3 heads",
    ),
    "settle_first": (Model("ABC", without="settle_first", events="wipe ttl lost", replicas=1), "5 jobs for 3 heads"),
    "announced_waits": (Model("AB", without="announced_waits", events="lag", replicas=1), "lost"),
    "fired_waits": (Model("ABC", without="fired_waits", events="lag", replicas=1), "lost"),
    "numbers_allowed": (Model("AB", without="numbers_allowed", events="forged"), "a forged run 90 was recorded"),
    "fresh_allows": (Model("ABC", without="fresh_allows", events="wipe ttl lost", replicas=1), "5 jobs for 3 heads"),
    "edited_raises": (
        Model("ABA", without="edited_raises", events="edit ttl", replicas=1),
        "lost: recorded A, ran B, head A",
    ),
    "kept_after_due": (Model("AB", without="kept_after_due", events="polls"), "lost: recorded A, ran A, head B"),
    "kept_same": (Model("AB", without="kept_same", events="polls calls"), "goes back"),
    "kept_for_polls": (Model("AB", without="kept_for_polls", events="polls calls", replicas=1), "lost"),
    "deletion_forgets": (Model("A-A", without="deletion_forgets", replicas=1), "lost"),
    "deletion_confirmed": (Model("AB", without="deletion_confirmed", events="hides", replicas=1), "lost"),
    "numbers_go_on": (Model("A-A", without="numbers_go_on", events="ttl", replicas=1), "ran twice"),
    "pruned_late": (Model("A-A", without="pruned_late", events="crash"), "lost"),
    "number_reserved": (Model("A", without="number_reserved", events="shared polls"), "lost: recorded None, ran A"),
    "age_when_asked": (Model("AB", without="age_when_asked", events="lag", replicas=1), "lost"),
    "retry_of_last": (Model("AB", without="retry_of_last", events="retry", replicas=1), "one retry too many"),
    "retry_handles_nothing": (
        Model("AB", without="retry_handles_nothing", events="retry crash", replicas=1),
        "lost: recorded A, ran A, head B",
    ),
    "attempt_on_job": (
        Model("A", without="attempt_on_job", events="retry", replicas=1, retries=2),
        "is one retry too many",
    ),
    "ttl_after_retry": (
        Model("A", without="ttl_after_retry", events="retry ttl", replicas=1),
        "lost: the retry of run 1",
    ),
    "wait_handles_nothing": (Model("AB", without="wait_handles_nothing", events="waits", replicas=1), "lost"),
    "run_request_of_job": (
        Model("AB", without="run_request_of_job", events="annotation", replicas=1),
        "lost: the run requested by annotation",
    ),
}


@pytest.mark.parametrize("name", SAFE)
def test_no_interleaving_loses_or_repeats_a_run(name):
    """With every rule no state is bad: nothing runs twice, goes back or is lost."""
    result = SAFE[name].explore()
    assert result.violation is None, f"{result.violation}: {result.trace}"
    assert result.states > 1000  # the world was really walked


@pytest.mark.parametrize("name", NEEDED)
def test_each_rule_is_needed(name):
    """Leaving one rule out breaks the promise that it stands for."""
    model, broken = NEEDED[name]
    result = model.explore()
    assert result.violation is not None
    assert broken in result.violation


def test_a_job_deleted_by_a_person_before_it_settled_is_the_known_remainder():
    """The guarantees page names it: a Job removed between another replica's live read and its POST runs again."""
    result = Model("AB", events="deleted crash").explore()
    assert result.violation == "run number 1 ran twice"
    assert "removed" in result.trace


def test_reading_ones_own_writes_only_saves_work():
    """Left out, no promise breaks in these worlds, but a replica looks again where it could have known."""
    with_it, without = (Model("AB", without=rule, events="crash lost").explore() for rule in ("", "own_writes"))
    assert without.violation is None
    assert without.states > with_it.states
