"""The guard over the CRDs: under old ones the API server would drop the ledger's fields."""

import asyncio
import functools
import pickle

import pytest

from git_events_runner.errors import ApiNotFound, ApiUnavailable
from git_events_runner.flow.crds import COMMAND, Crds, missing_fields
from git_events_runner.resources.crds import crds
from tests.flow.virtual import until, virtual


@functools.cache
def made():
    return pickle.dumps({crd["metadata"]["name"]: crd for crd in crds()})


def ours():
    """Our CRDs by name, to be changed."""
    return pickle.loads(made())  # noqa: S301  our own


def status_of(crd):
    return crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]


def inner(schema):
    """Properties of what a schema holds, and whether they are of its items or values."""
    for key in ("additionalProperties", "items"):
        if key in schema:
            return schema[key].get("properties") or {}, True
    return schema.get("properties") or {}, False


def paths(properties, above):
    """The path of every property, `*` for items and values."""
    for name, schema in properties.items():
        yield (*above, name)
        below, many = inner(schema)
        yield from paths(below, (*above, name, "*") if many else (*above, name))


class Reader:
    """Serves CRDs; `error` is raised instead."""

    def __init__(self):
        self.crds, self.error = ours(), None

    async def get(self, ref):
        if self.error:
            raise self.error
        if ref.name not in self.crds:
            raise ApiNotFound("none")
        return self.crds[ref.name]


class Guard:
    """A running guard; `said` are its judgements."""

    def __init__(self):
        self.reader, self.said = Reader(), []

    async def __aenter__(self):
        self.crds = Crds(reader=self.reader, checked=self.said.append)
        self._task = asyncio.ensure_future(self.crds.run())
        return self

    async def __aexit__(self, *_):
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@pytest.mark.parametrize("kind", ["GitRepo", "ClusterGitRepo"])
def test_where_host_keys_are_pinned_is_looked_for(kind):
    """Under CRDs that drop the pinned keys every contact would be the first one; they are refused."""
    name = f"{kind.lower()}s.git-events-runner.rs"
    assert missing_fields(kind, ours()[name]) == []
    crd = ours()[name]
    del status_of(crd)["hostKeys"]
    assert missing_fields(kind, crd) == ["status.hostKeys"]


@pytest.mark.parametrize("kind", ["WebhookTrigger", "ScheduleTrigger"])
def test_every_field_of_the_ledger_is_looked_for(kind):
    """Each one that is missing is named; our own CRDs miss none."""
    name = f"{kind.lower()}s.git-events-runner.rs"
    assert missing_fields(kind, ours()[name]) == []
    fields = list(paths(status_of(ours()[name]), ()))
    assert {("deliveries",), ("checkedSources", "*", "runs"), ("checkedSources", "*", "lastJob", "commit")} <= set(
        fields
    )
    for path in fields:
        crd = ours()[name]
        parent = status_of(crd)
        for step in path[:-1]:
            parent = parent if step == "*" else inner(parent[step])[0]
        del parent[path[-1]]
        assert missing_fields(kind, crd) == [f"status.{'.'.join(path)}"]
    crd = ours()[name]
    del crd["spec"]["versions"][0]["subresources"]
    assert missing_fields(kind, crd) == ["subresources.status"]
    assert missing_fields(kind, {})


@virtual
async def test_old_crds_hold_back_until_they_are_applied():
    """The judgement has the command; within seconds of the upgrade all is well."""
    async with Guard() as guard:
        crd = guard.reader.crds["webhooktriggers.git-events-runner.rs"]
        kept = status_of(crd).pop("deliveries")
        await until(lambda: guard.said)
        if guard.said[-1] is None:  # it looked before
            await asyncio.sleep(31)
        assert COMMAND in guard.said[-1]
        assert "status.deliveries" in guard.said[-1]
        status_of(crd)["deliveries"] = kept
        await until(lambda: guard.said[-1] is None, within_s=4)
        await guard.crds.wait_good()


@virtual
async def test_crds_that_are_not_there_are_waited_for():
    """Missing at start, or deleted at run time: not ready, no end of the process; they come, and it goes on."""
    async with Guard() as guard:
        kept = guard.reader.crds.pop("actions.git-events-runner.rs")
        await until(lambda: guard.said and guard.said[-1], within_s=40)
        assert "actions.git-events-runner.rs is not installed" in guard.said[-1]
        guard.reader.crds["actions.git-events-runner.rs"] = kept
        await until(lambda: guard.said[-1] is None, within_s=4)


@virtual
async def test_no_answer_is_no_judgement():
    """An API server that is away does not make good CRDs bad; before the first answer nobody is ready."""
    async with Guard() as guard:
        await until(lambda: guard.said == [None])
        guard.reader.error = ApiUnavailable("away")
        await asyncio.sleep(120)
        assert set(guard.said) == {None}
        guard.reader.error = None
        status_of(guard.reader.crds["webhooktriggers.git-events-runner.rs"]).pop("deliveries")
        await until(lambda: guard.said[-1], within_s=40)
        guard.reader.error = ApiUnavailable("away")
        await asyncio.sleep(60)
        assert all(COMMAND in said for said in guard.said if said)
    guard = Guard()
    guard.reader.error = ApiUnavailable("away")
    async with guard:
        await asyncio.sleep(60)
        assert None not in guard.said
        assert not any(COMMAND in said for said in guard.said)  # an upgrade would change nothing
        guard.reader.error = None
        await until(lambda: guard.said[-1] is None, within_s=4)
