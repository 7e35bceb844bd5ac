"""The quotas of namespaces: read when a Job is created, once for several, and absent where they may not be read."""

import asyncio

import pytest

from git_events_runner.errors import ApiForbidden, ApiUnavailable
from git_events_runner.flow.checks.compute_rules import NamespaceComputeRules
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.jobs.compute_quota import NO_RULES
from tests.flow.program import NoQuotas, Program, program
from tests.flow.virtual import virtual

_COVERED = {"spec": {"hard": {"limits.cpu": "4"}}}


class Api:
    """Lists one quota, or raises `error`; notes what was listed."""

    def __init__(self):
        self.listed, self.error = [], None

    async def list(self, kind, *, namespace=None):
        self.listed.append((namespace, kind.name))
        await asyncio.sleep(0.1)
        if self.error:
            raise self.error
        if kind.name == "ResourceQuota":
            yield _COVERED


def limits(rules):
    """What a worker without resources gets."""
    defaults = {"limits": {"cpu": "1"}}
    return rules.complete({}, cloner={}, defaults=defaults, priority_class=None).get("limits")


@virtual
async def test_jobs_that_are_created_together_share_one_list():
    """Which is read again some seconds later, and for each namespace."""
    api = Api()
    quotas = NamespaceComputeRules(api=api)
    found = await asyncio.gather(*(quotas.read("n") for _ in range(50)), quotas.read("other"))
    assert [limits(rules) for rules in found] == [{"cpu": "1"}] * 51
    assert sorted(api.listed) == [(name, kind) for name in ("n", "other") for kind in ("LimitRange", "ResourceQuota")]
    await asyncio.sleep(11)
    await quotas.read("n")
    assert len(api.listed) == 6


@virtual
async def test_where_quotas_may_not_be_read_there_are_none():
    """With the roles of an earlier version Jobs are what they were; it is tried again minutes later."""
    api = Api()
    api.error = ApiForbidden("no")
    quotas = NamespaceComputeRules(api=api)
    assert await quotas.read("n") == NO_RULES
    api.error = None
    await asyncio.sleep(200)
    assert await quotas.read("n") == NO_RULES
    await asyncio.sleep(200)
    assert limits(await quotas.read("n")) == {"cpu": "1"}


@virtual
async def test_an_api_server_that_does_not_respond_is_not_taken_for_a_namespace_without_quotas():
    """The Job is created when it responds: its pod might never be admitted."""
    api = Api()
    api.error = ApiUnavailable("away")
    quotas = NamespaceComputeRules(api=api)
    with pytest.raises(ApiUnavailable):
        await quotas.read("n")
    api.error = None
    assert limits(await quotas.read("n")) == {"cpu": "1"}


class Covered(NoQuotas):
    """A namespace whose quota covers limits of CPU."""

    def __init__(self):
        self.read_for = []

    async def read(self, namespace):
        self.read_for.append(namespace)
        return await NamespaceComputeRules(api=Api()).read(namespace)


@pytest.mark.parametrize(
    ("own", "found"),
    [
        ({}, {"requests": {"cpu": "50m"}, "limits": {"cpu": "1"}}),
        ({"resources": {"limits": {"cpu": "3", "memory": "3Gi"}}}, {"limits": {"cpu": "3", "memory": "3Gi"}}),
    ],
)
def test_the_job_of_a_run_has_them(own, found):
    """The quotas are not read for an Action that leaves nothing open."""

    @virtual
    async def check():
        covered = Covered()
        made = Program(program().cluster, compute=covered)
        made.cluster.change(Ref("Action", "n", "build"), spec={"actionJob": own})
        await made.check()
        [job] = made.jobs()
        [worker] = job["spec"]["template"]["spec"]["containers"]
        assert worker["resources"] == found
        assert covered.read_for == ([] if own else ["n"])

    check()
