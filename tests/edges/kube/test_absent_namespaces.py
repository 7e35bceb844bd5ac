"""Namespaces that do not exist: nothing is in them, also where nothing is allowed, and they may come later."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from git_events_runner.edges.kube.informer import Informer
from git_events_runner.edges.kube.page import Page
from git_events_runner.edges.kube.store import Store, StoreWriter
from git_events_runner.errors import ApiForbidden, ApiUnavailable
from git_events_runner.flow.jobs.queue import live_jobs
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
        self.allowed, self.silent, self.lists, self.refused = False, False, 0, []

    def _check(self):
        if self.silent:
            raise ApiUnavailable("no answer within 30 s")
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
async def informed(server, store, writer=None):
    informer = Informer(
        client=server,
        kind=KINDS["Job"],
        writer=writer or StoreWriter(store, "Job", namespace="late", optional=True),
        namespace="late",
        failed=server.failed,
        absent=lambda: store.lacks_namespace("late"),
    )
    async with running(informer=informer.run()):
        yield informer


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
async def test_a_namespace_that_exists_and_refuses_is_passed_over():
    """A role is missing: after a few seconds nothing waits for it, it stays refused, and it joins with its role."""
    store, sync = store_with("late")
    sync()
    server = Server()
    async with informed(server, store):
        await asyncio.sleep(3)
        assert store.refused("late", "Job")
        assert not store.synced("Job")
        await until(lambda: store.synced("Job"), within_s=12)
        logged = len(server.refused)
        await asyncio.sleep(600)
        assert store.refused("late", "Job")
        assert len(server.refused) == logged
        server.allowed = True
        await until(lambda: store.get(Ref("Job", "late", "j")), within_s=40)
        assert not store.refused("late")


@virtual
async def test_a_refusal_of_a_moment_keeps_what_waits():
    """An API server that starts refuses what it allows: the namespace is not taken for an empty one."""
    store, sync = store_with("late")
    sync()
    server = Server()
    async with informed(server, store):
        await until(lambda: len(server.refused) == 2)
        assert not store.synced("Job")
        server.allowed = True
        await until(lambda: store.synced("Job"))
        assert store.get(Ref("Job", "late", "j"))


@virtual
async def test_what_was_known_of_a_namespace_that_refuses_stays():
    """Its role is removed while it is watched: a Job that cannot be seen any more is not deleted."""
    store, sync = store_with("late")
    sync()
    server = Server()
    server.allowed = True
    async with informed(server, store):
        await until(lambda: store.get(Ref("Job", "late", "j")))
        server.allowed = False
        await until(lambda: store.refused("late", "Job"), within_s=700)
        await asyncio.sleep(600)
        assert store.get(Ref("Job", "late", "j"))
        server.allowed = True
        await until(lambda: not store.refused("late"), within_s=40)
        assert store.get(Ref("Job", "late", "j"))


@virtual
async def test_a_refusal_is_an_answer():
    """A namespace that refuses for ever does not make the process look stuck."""
    store, sync = store_with("late")
    sync()
    async with informed(Server(), store) as informer:
        await asyncio.sleep(3600)
        assert asyncio.get_running_loop().time() - informer.answered_at < 60


@virtual
async def test_what_is_answered_is_told_from_what_is_tried():
    """While no answer comes, attempts go on and the time of the last answer stays."""
    store, sync = store_with("late")
    sync()
    server = Server()
    server.silent = True
    async with informed(server, store) as informer:
        await asyncio.sleep(3600)
        assert informer.answered_at == 0.0
        assert asyncio.get_running_loop().time() - informer.moved_at < 60
        server.silent, server.allowed = False, True
        await until(lambda: informer.answered_at, within_s=40)


@virtual
async def test_a_scope_that_is_needed_is_waited_for():
    """The runtime config's ConfigMap is no namespace to do without."""
    store, sync = store_with("late")
    sync()
    server = Server()
    writer = StoreWriter(store, "Job", namespace="late")
    async with informed(server, store, writer):
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


class Lister:
    """Shows namespace `there`, and refuses all others."""

    async def list(self, kind, *, namespace, label_selector=None):
        if namespace != "there":
            raise ApiForbidden("no", reason="Forbidden")
        yield {"kind": kind.name}


def lister(*passed):
    """Lists namespaces `there`, `gone` and `shut`; `passed`: those that the informers have passed over."""
    scopes = SimpleNamespace(passed_over=lambda name, _kind: name in passed)
    return live_jobs(Lister(), ("there", "gone", "shut"), scopes=scopes)


@virtual
async def test_a_new_leader_lists_what_can_be_read():
    """The live list passes over the namespaces that the informers have passed over."""
    assert [raw["kind"] async for raw in lister("gone", "shut")()] == ["Job", "ScheduleTrigger", "WebhookTrigger"]


@virtual
async def test_a_new_leader_waits_seconds_for_what_refuses():
    """A role that was removed just now keeps no leader from its work; an API server that starts has its moment."""
    jobs = lister("gone")
    for _ in range(2):
        with pytest.raises(ApiForbidden):
            [raw async for raw in jobs()]
        await asyncio.sleep(2)
    await asyncio.sleep(2)
    assert [raw["kind"] async for raw in jobs()] == ["Job", "ScheduleTrigger", "WebhookTrigger"]


@virtual
async def test_namespaces_that_refuse_have_their_seconds_together():
    """Thirty of them delay a new leader no longer than one."""
    jobs = lister()
    with pytest.raises(ApiForbidden):
        [raw async for raw in jobs()]
    await asyncio.sleep(6)
    assert [raw["kind"] async for raw in jobs()] == ["Job", "ScheduleTrigger", "WebhookTrigger"]


@virtual
async def test_each_leadership_gives_refused_namespaces_their_seconds():
    """An API server that starts, at which leadership changes, may refuse what it has refused hours ago."""
    jobs = lister("gone")
    for _ in range(2):
        with pytest.raises(ApiForbidden):
            [raw async for raw in jobs()]
        await asyncio.sleep(6)
        assert [raw["kind"] async for raw in jobs()] == ["Job", "ScheduleTrigger", "WebhookTrigger"]
        await asyncio.sleep(3600)
