"""Item 22: numbers of a tenant that no Job can have, applied now, and stored before the CRDs had bounds."""

import copy

import pytest

from git_events_runner.resources.crds import crds
from tests.cluster.api import Refused
from tests.cluster.plane import wait_until
from tests.system.conftest import sources

WRONG = [
    {"ttlSecondsAfterFinished": -1},
    {"ttlSecondsAfterFinished": 2**31},
    {"activeDeadlineSeconds": -5},
    {"activeDeadlineSeconds": 2**62},
    {"jobWaitingTimeoutSeconds": -1},
    {"backoffLimit": 2**40},
]


def without_bounds(schema):
    """A schema that knows no minimum, maximum or format."""
    if not isinstance(schema, dict):
        return [without_bounds(one) for one in schema] if isinstance(schema, list) else schema
    bounds = {"minimum", "maximum", "format"} if schema.get("type") == "integer" else set()
    return {name: without_bounds(value) for name, value in schema.items() if name not in bounds}


def stored(estate, name, job):
    """Whether the API server takes an Action by now."""
    try:
        return estate.api.ours("Action", estate.evil, name, {"actionJob": job})
    except Refused as refused:
        if refused.status != 422:
            raise
        return None


def problem(estate, name):
    """The reason and message of Stalled; None: there is none yet."""
    status = estate.api.trigger(estate.evil, name, "ScheduleTrigger").get("status") or {}
    found = [c for c in status.get("conditions") or () if c["type"] == "Stalled" and c["status"] == "True"]
    return (found[0]["reason"], found[0]["message"]) if found else None


def test_item_22_numbers_that_no_job_can_have(estate, repository):
    """They are refused by their field; stored ones are named in the trigger's condition, and no Job is ever tried."""
    for job in WRONG:
        (field,) = job
        with pytest.raises(Refused, match=rf"actionJob\.{field}") as refused:
            estate.tenant.ours("Action", estate.evil, "wrong", {"actionJob": job})
        assert refused.value.status == 422
    estate.api.apply_crds([without_bounds(copy.deepcopy(crd)) for crd in crds()])
    try:
        for number, job in enumerate(WRONG):
            wait_until("the API server has the loosened CRD", lambda n=number, j=job: stored(estate, f"stored-{n}", j))
    finally:
        estate.api.apply_crds(crds())
    estate.api.ours("GitRepo", estate.evil, "app", {"repoUri": repository.url})
    estate.start()
    with estate.watched(seconds=6):
        for number in range(len(WRONG)):
            spec = sources(onChangeOnly=False) | {"action": {"kind": "Action", "name": f"stored-{number}"}}
            estate.tenant.ours("ScheduleTrigger", estate.evil, f"t{number}", spec | {"schedule": {"interval": "2s"}})
        for number, job in enumerate(WRONG):
            reason, message = wait_until("a condition", lambda n=number: problem(estate, f"t{n}"), timeout_s=60)
            assert reason == "InvalidSpec"
            assert next(iter(job)) in message
    assert not estate.api.jobs(estate.evil)
