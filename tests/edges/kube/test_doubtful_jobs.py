"""Jobs in doubt: when each of them is read again."""

from git_events_runner.edges.kube.doubtful_jobs import DoubtfulJobs
from git_events_runner.resources.ref import Ref

JOB = Ref("Job", "n", "a")


def due_after(doubts, now):
    """Seconds until the Job is due."""
    return next(wait for wait in range(200) if doubts.due(now + wait))


def test_a_job_that_cannot_be_read_is_read_more_and_more_rarely():
    """1, 2, 4 … seconds, at most 30, until it was read."""
    doubts = DoubtfulJobs()
    doubts.add(JOB, "u")
    waits = []
    for _ in range(7):
        doubts.back_off(JOB, 100.0)
        waits.append(due_after(doubts, 100.0))
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    doubts.delay(JOB, 110.0)
    doubts.back_off(JOB, 110.0)
    assert due_after(doubts, 110.0) == 1


def test_a_back_off_goes_with_the_doubt():
    """However the doubt ended, a later one of that name begins again at a second, and nothing is held in between."""
    doubts = DoubtfulJobs()
    doubts.add(JOB, "u")
    for _ in range(5):
        doubts.back_off(JOB, 100.0)
    doubts.discard(JOB)
    doubts.back_off(JOB, 100.0)
    assert len(doubts) == 0
    doubts.add(JOB, "u")
    doubts.back_off(JOB, 100.0)
    assert due_after(doubts, 100.0) == 1
