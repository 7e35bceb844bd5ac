"""Versions that go back."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from git_events_runner.edges.kube.client import Client
from git_events_runner.edges.kube.history import History
from git_events_runner.errors import ApiError, ApiUnavailable
from git_events_runner.resources.kinds import KINDS
from git_events_runner.resources.ref import Ref
from tests.edges.kube.scripted import Reply, Server

JOB = KINDS["Job"]
REF = Ref("Job", "n", "a")
LEASE = Ref("Lease", "n", "l")


def obj(version, uid="u", name="a"):
    return {"metadata": {"name": name, "namespace": "n", "uid": uid, "resourceVersion": str(version)}}


def test_a_list_that_begins_before_what_was_seen_is_a_restore():
    """Compared are versions of the same kind: another kind may have an etcd of its own."""
    history = History()
    history.saw("Job", "100")
    history.listed(KINDS["Lease"], history.highest("Lease"), "7", [])
    assert history.problem is None
    history.listed(JOB, history.highest("Job"), "99", [])
    assert history.problem == "the list of jobs is as of version 99, but version 100 was seen before"


def test_a_later_page_may_be_older_than_what_was_seen_meanwhile():
    """All pages of a list are as of its first one."""
    history = History()
    history.saw("Job", "100")
    history.listed(JOB, None, "90", [])
    assert history.problem is None


def test_an_object_in_a_list_that_is_older_than_known_is_a_restore():
    """Also where the revision was raised for the restore (`--bump-revision`), so that no list is older."""
    history = History()
    history.cached = {REF: ("u", 50)}.get
    history.listed(JOB, 60, "1000000", [obj(40)])
    assert "version 40" in str(history.problem)


def test_an_object_that_was_written_during_a_list_is_no_restore():
    """The list is as of a version before that write."""
    history = History()
    history.cached = {REF: ("u", 50)}.get
    history.listed(JOB, 45, "45", [obj(40)])
    assert history.problem is None


def test_an_object_that_was_created_again_is_no_restore():
    """Its uid is another one."""
    history = History()
    history.compare_answer(REF, ("u", 50), obj(40, uid="v"))
    assert history.problem is None


def test_a_lease_that_is_older_than_at_its_last_reading_is_a_restore():
    """It is in no cache; every replica reads it all the time."""
    history = History()
    history.compare_answer(LEASE, history.known(LEASE), obj(50))
    history.compare_answer(LEASE, history.known(LEASE), obj(50))
    assert history.problem is None
    history.compare_answer(LEASE, history.known(LEASE), obj(49))
    assert "version 49" in str(history.problem)


def test_an_object_created_below_what_was_seen_is_a_restore():
    """Creation always has a new version."""
    history = History()
    history.created(JOB, 0, obj(5))
    history.created(JOB, history.highest("Job"), obj(5, uid="v"))
    assert history.problem is not None


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(st.sampled_from(["create", "change", "delete", "list", "get", "late"]), st.integers(0, 3)),
        max_size=40,
    )
)
def test_no_order_of_answers_of_one_history_is_a_restore(steps):
    """Answers arrive late and out of order: only what was known when a request was sent is compared."""
    history, known = History(), {}
    history.cached = known.get
    revision, there, late = 1, {}, []

    def observe(ref, found):
        if found["metadata"]["uid"] != known.get(ref, ("", 0))[0] or found_version(found) > known[ref][1]:
            known[ref] = (found["metadata"]["uid"], found_version(found))

    for action, number in steps:
        ref = Ref("Job", "n", f"j{number}")
        if action in {"create", "change", "delete"}:
            revision += 1
            before, sent = history.highest("Job"), history.known(ref)
            if action == "create" and ref not in there:
                there[ref] = obj(revision, uid=f"u{revision}", name=ref.name)
                late.append((lambda found, b=before: history.created(JOB, b, found), ref, there[ref]))
            elif action == "change" and ref in there:
                there[ref] = obj(revision, uid=there[ref]["metadata"]["uid"], name=ref.name)
                late.append((lambda found, r=ref, s=sent: history.compare_answer(r, s, found), ref, there[ref]))
            elif action == "delete":
                there.pop(ref, None)
                known.pop(ref, None)
        elif action == "list":
            history.listed(JOB, history.highest("Job"), str(revision), list(there.values()))
            for one, found in there.items():
                observe(one, found)
        elif action == "get" and ref in there:
            found, sent = there[ref], history.known(ref)
            late.append((lambda found, r=ref, s=sent: history.compare_answer(r, s, found), ref, found))
        elif late:
            judge, one, found = late.pop(number % len(late))
            judge(found)
            observe(one, found)
    assert history.problem is None


def found_version(found):
    return int(found["metadata"]["resourceVersion"])


async def test_after_a_restore_the_client_writes_nothing_but_events():
    """What this process knows belongs to a history that does not exist any more."""
    first = {"metadata": {"resourceVersion": "100"}, "items": []}
    async with (
        Server(Reply(body=first), Reply(body=first | {"metadata": {"resourceVersion": "9"}}), Reply(body={})) as server,
        Client.connect_to(server.url, "t") as client,
    ):
        await client.list_page(JOB)
        refused = []
        for request in (
            client.list_page(JOB),
            client.create(JOB, obj(0)),
            client.patch(REF, []),
            client.replace(JOB, obj(0)),
            client.delete(REF),
        ):
            try:
                await request
            except ApiError as error:
                refused.append(type(error))
        assert refused == [ApiUnavailable] * 5
        assert "version 9" in await client.history.turned()
        await client.create(KINDS["Event"], obj(0))
        assert [asked.verb for asked in server.asked] == ["GET", "GET", "POST"]


def lease(version):
    return {"kind": "Lease"} | obj(version, name="l")


async def test_after_an_interruption_the_lease_is_read_before_the_next_write():
    """Once, whoever writes; until the next interruption nothing is read."""
    async with (
        Server(
            Reply(body=lease(50)),
            Reply(status=503),
            Reply(body=lease(50)),
            Reply(body={}),
        ) as server,
        Client.connect_to(server.url, "t") as client,
    ):
        await client.get(LEASE)
        with pytest.raises(ApiUnavailable):
            await client.get(REF)
        await asyncio.gather(client.patch(REF, []), client.patch(REF, []))
        await client.patch(REF, [])
        asked = [(one.verb, one.path.rpartition("/")[2]) for one in server.asked]
    assert asked == [("GET", "l"), ("GET", "a"), ("GET", "l"), ("PATCH", "a"), ("PATCH", "a"), ("PATCH", "a")]


async def test_nothing_is_written_once_the_lease_went_back():
    """The write that would have been the first one after the restore is not sent."""
    async with (
        Server(Reply(body=lease(50)), Reply(status=503), Reply(body=lease(40)), Reply(body={})) as server,
        Client.connect_to(server.url, "t") as client,
    ):
        await client.get(LEASE)
        for request in (client.get(REF), client.patch(REF, []), client.patch(REF, [])):
            with pytest.raises(ApiUnavailable):
                await request
        assert "version 40" in str(client.history.problem)
        assert [one.verb for one in server.asked] == ["GET", "GET", "GET"]


async def test_a_lease_that_was_deleted_holds_no_write_up():
    """By hand: it is created again, and its version then is compared."""
    async with (
        Server(Reply(body=lease(50)), Reply(status=503), Reply(status=404), Reply(body={})) as server,
        Client.connect_to(server.url, "t") as client,
    ):
        await client.get(LEASE)
        with pytest.raises(ApiUnavailable):
            await client.get(REF)
        await client.patch(REF, [])
        assert client.history.problem is None


async def test_nothing_is_written_while_the_lease_cannot_be_read():
    """The API server may be there with other data; the write fails as if it were away."""
    async with (
        Server(Reply(body=lease(50)), Reply(status=503)) as server,
        Client.connect_to(server.url, "t") as client,
    ):
        await client.get(LEASE)
        for request in (client.get(REF), client.patch(REF, []), client.create(JOB, obj(0))):
            with pytest.raises(ApiUnavailable):
                await request
        assert {one.verb for one in server.asked} == {"GET"}


async def test_the_lease_itself_and_events_are_written_without_a_reading():
    """Its own version proves the Lease's write; an Event changes nothing."""
    async with (
        Server(Reply(body=lease(50)), Reply(status=503), Reply(body=lease(51)), Reply(body={})) as server,
        Client.connect_to(server.url, "t") as client,
    ):
        await client.get(LEASE)
        with pytest.raises(ApiUnavailable):
            await client.get(REF)
        await client.replace(KINDS["Lease"], lease(50))
        await client.create(KINDS["Event"], obj(0))
        assert [one.verb for one in server.asked] == ["GET", "GET", "PUT", "POST"]


async def test_a_watch_that_ended_is_an_interruption():
    """An API server ends its watches when it is stopped, or when it lost its etcd."""
    bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "60"}}}
    async with (
        Server(Reply(body=lease(50)), Reply(lines=(bookmark,)), Reply(body=lease(50)), Reply(body={})) as server,
        Client.connect_to(server.url, "t") as client,
    ):
        await client.get(LEASE)
        async with client.watch(JOB, resource_version="1", timeout_s=5) as events:
            async for _ in events:
                pass
        await client.patch(REF, [])
        assert [one.verb for one in server.asked] == ["GET", "GET", "GET", "PATCH"]
        assert client.history.highest("Job") == 60


def test_versions_that_are_no_numbers_are_not_compared():
    """They are opaque (https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions)."""
    history = History()
    for version in ("100", "abc", "", "9" * 5000, None):
        history.listed(JOB, history.highest("Job"), version, [obj("abc")])
        history.compare_answer(LEASE, history.known(LEASE), obj("x"))
    assert history.problem is None
