"""The history of Jobs that the oracle judges, after the API server was away."""

from tests.chaos.evidence import Evidence
from tests.chaos.history import JobHistory
from tests.chaos.test_oracle import job


class Listed:
    """An API server that only lists."""

    def __init__(self):
        self.jobs = []

    def get(self, _path):
        return {"metadata": {"resourceVersion": "9"}, "items": self.jobs}


def _job(number, version, **more):
    made = job(number, 0, **more)
    made["metadata"] |= {"resourceVersion": version, "creationTimestamp": "2026-11-30T10:00:00Z"}
    return made


def test_after_a_list_a_slot_that_was_freed_counts_before_one_that_was_taken():
    """A list does not show the order of changes: an older Job that was admitted and a newer one that ended are two."""
    api, seen = Listed(), Evidence(limit=2)
    history = JobHistory(api, "chaos", seen)
    api.jobs = [_job(1, "1", suspend=True), _job(2, "2"), _job(3, "3")]
    history._list()
    api.jobs = [_job(1, "5"), _job(2, "2"), _job(3, "4", ended=True)]
    history._list()
    assert [change.name for change in seen.changes] == ["hook-1", "hook-2", "hook-3", "hook-3", "hook-1"]
    assert seen.holding() == {"hook-1", "hook-2"}
