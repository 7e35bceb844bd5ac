"""Namespaces that do not exist: nothing is in them, also where nothing is allowed, and they may come later."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from git_events_runner.edges.kube.client import Page
from git_events_runner.edges.kube.informer import Informer
from git_events_runner.edges.kube.store import Store, StoreWriter
from git_events_runner.errors import ApiForbidden
from git_events_runner.flow.queue import live_jobs
from git_events_runner.resources.kinds import KINDS
from git_events_runner.resources.ref import Ref
from git_events_runner.serving import running
from tests.flow.virtual import until, virtual

JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "j", "namespace": "late", "uid": "u", "resourceVersion": "7"},
}


class Server:
    """Jobs of namespace `late`; refuses all but what `allowed` says."""

    def __init__(self):
        self.allowed, self.lists, self.refused = False, 0, []

    def _check(self):
        if not self.allowed:
            raise ApiForbidden('jobs.batch is forbidden in the namespace "late"', reason="Forbidden")

    async def list_page(self, kind, *, namespace, **_):
        self.lists += 1
        self._check()
        return Page(items=[JOB], resource_version="7", continue_token=None)

    @asynccontextmanager
    async def watch(self, kind, *, namespace, timeout_s, **_):
        self._check()

        async def events():
            await asyncio.sleep(timeout_s)
            return
            yield

        yield events()

    def failed(self, kind, error):
        self.refused.append(error)


def store_with(*namespaces):
    store = Store()
    writer = StoreWriter(store, "Namespace")
    there = [
        {"kind": "Namespace", "metadata": {"name": name, "uid": name, "resourceVersion": "1"}} for name in namespaces
    ]
    return store, lambda: writer.replace(there, version="5")


@asynccontextmanager
async def informed(server, store):
    informer = Informer(
        client=server,
        kind=KINDS["Job"],
        writer=StoreWriter(store, "Job", namespace="late"),
        namespace="late",
        failed=server.failed,
        absent=lambda: store.lacks_namespace("late"),
    )
    async with running(informer=informer.run()):
        yield


@virtual
async def test_a_namespace_that_does_not_exist_keeps_nobody_waiting():
    """Nothing is synced before the namespaces are; then it is empty, without a line, until it is there."""
    store, sync = store_with("other")
    server = Server()
    async with informed(server, store):
        await asyncio.sleep(20)
        assert not store.synced("Job")
        assert server.refused
        sync()
        await until(lambda: store.synced("Job"), within_s=40)
        server.refused.clear()
        await asyncio.sleep(600)
        assert server.refused == []
        assert server.lists < 60
        server.allowed = True
        await until(lambda: store.get(Ref("Job", "late", "j")), within_s=40)


@virtual
async def test_a_namespace_that_exists_and_refuses_is_waited_for():
    """A role is missing: what is in there is not known, and that is said."""
    store, sync = store_with("late")
    sync()
    server = Server()
    async with informed(server, store):
        await asyncio.sleep(600)
        assert not store.synced("Job")
        assert server.refused


@virtual
async def test_what_was_in_a_namespace_goes_with_it():
    """Its roles were deleted before the last deletions were seen: the watch is refused, and nothing stays."""
    store, sync = store_with("late")
    sync()
    server = Server()
    server.allowed = True
    async with informed(server, store):
        await until(lambda: store.get(Ref("Job", "late", "j")))
        server.allowed = False
        await asyncio.sleep(1500)
        assert store.get(Ref("Job", "late", "j"))
        StoreWriter(store, "Namespace").replace([], version="9")
        await until(lambda: store.get(Ref("Job", "late", "j")) is None, within_s=60)


@virtual
async def test_a_new_leader_lists_what_exists():
    """The live list passes over a namespace that does not exist, and no other."""

    class Lister:
        async def list(self, kind, *, namespace, label_selector=None):
            if namespace != "there":
                raise ApiForbidden("no", reason="Forbidden")
            yield {"kind": kind.name}

    def lister(*absent):
        return live_jobs(Lister(), ("there", "gone"), absent=lambda name: name in absent)

    assert [raw["kind"] async for raw in lister("gone")()] == ["Job", "ScheduleTrigger", "WebhookTrigger"]
    with pytest.raises(ApiForbidden):
        [raw async for raw in lister()()]
