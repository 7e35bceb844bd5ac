"""Events: published in the background, bounded, repeated ones merged; on the in-process API server."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from git_events_runner.concurrency.fairness import equal
from git_events_runner.edges.kube.client import Client
from git_events_runner.edges.kube.event_recorder import Events
from git_events_runner.errors import ApiAlreadyExists, ApiNotFound, ApiUnavailable
from git_events_runner.local.apiserver.server import serving
from git_events_runner.resources.kinds import KINDS
from git_events_runner.resources.ref import Ref
from git_events_runner.serving import running
from tests.flow.virtual import at, virtual
from tests.flow.virtual import until as virtually

REF = Ref("WebhookTrigger", "default", "hook")


def events(api, failed=None):
    return Events(
        api=api,
        identity="pod-1",
        now=lambda: datetime.now(UTC),
        failed=failed.append if failed is not None else print,
        weight=equal,
    )


async def until(condition):
    async with asyncio.timeout(5):
        while not await condition():  # noqa: ASYNC110  the condition is on a server
            await asyncio.sleep(0.01)


async def test_what_repeats_becomes_a_series():
    """One Event with a count, not one for each time; another note is another Event."""
    async with serving() as server, Client.connect_to(server.url, server.token) as client:
        published = events(client)

        async def seen(number, count):
            page = await client.list_page(KINDS["Event"], namespace="default")
            counts = sorted((item.get("series") or {}).get("count", 1) for item in page.items)
            return len(counts) == number and counts[-1] == count

        async with running(events=published.run()):
            for note in ("refused", "refused", "refused", "other"):
                published.publish(REF, "u1", kind="Warning", reason="JobCreateFailed", note=note)
            await until(lambda: seen(2, 3))
        page = await client.list_page(KINDS["Event"], namespace="default")
        [first] = [item for item in page.items if item["note"] == "refused"]
        assert first["regarding"] == {
            "apiVersion": "git-events-runner.rs/v1alpha1",
            "kind": "WebhookTrigger",
            "name": "hook",
            "namespace": "default",
            "uid": "u1",
        }
        assert (first["type"], first["reason"]) == ("Warning", "JobCreateFailed")


class Recorder:
    """Takes creations; patches meet nothing; `answer` is raised."""

    def __init__(self, answer=None):
        self.made, self.answer = [], answer

    async def create(self, kind, obj, *, timeout_s=None, strict=False):
        self.made.append(obj)
        if self.answer:
            raise self.answer
        return obj

    async def patch(self, ref, body, *, subresource=None, strict=False, timeout_s=None):
        raise ApiNotFound("expired")


async def test_an_event_that_expired_is_made_anew():
    """The API server forgets Events after an hour."""
    api = Recorder()
    published = events(api)
    async with running(events=published.run()):
        for _ in range(2):
            published.publish(REF, "u1", kind="Normal", reason="JobCreated", note="x")
        await until(lambda: asyncio.sleep(0, len(api.made) == 2))


async def test_publishing_never_blocks_and_the_queue_is_bounded():
    """What does not fit is dropped; a note is cut."""
    api = Recorder(ApiUnavailable("away"))
    failed = []
    published = events(api, failed)
    for number in range(2000):
        published.publish(REF, "u1", kind="Normal", reason="JobCreated", note=f"{number}" + "x" * 5000)
    assert len(published._waiting) == 500
    async with running(events=published.run()):
        await until(lambda: asyncio.sleep(0, len(failed) >= 2))  # a failed one does not end the rest
    assert len(api.made[0]["note"]) <= 1024


def of(namespace, number=0):
    return Ref("WebhookTrigger", namespace, f"hook{number}")


@virtual
async def test_the_events_of_one_namespace_neither_drop_nor_delay_those_of_another():
    """However many it has: a neighbour's is published within a turn."""
    api = Recorder()
    published = events(api)
    async with running(events=published.run()):
        for second in range(30):
            for number in range(2000):
                published.publish(of("evil", number), f"u{number}", kind="Warning", reason="X", note=f"{second}")
            asked = at()
            published.publish(of("good"), "good", kind="Normal", reason="JobCreated", note=f"{second}")
            await virtually(lambda: api.made and api.made[-1]["metadata"]["namespace"] == "good")
            assert at() - asked <= 0.5
            await asyncio.sleep(1)


async def test_what_waits_is_bounded_for_all_namespaces_and_each_has_room_for_one():
    """A thousand namespaces that have all they may have leave room for another's."""
    published = events(Recorder())
    for namespace in range(50):
        for number in range(600):
            published.publish(of(f"evil{namespace}", number), "u", kind="Normal", reason="X", note="x")
    published.publish(of("good"), "u", kind="Normal", reason="X", note="x")
    assert len(published._waiting) <= 5050
    assert published._waiting.waiting("good") == 1


@virtual
async def test_the_repetitions_of_one_namespace_are_forgotten_for_no_other():
    """What a neighbour repeats stays one Event, whatever others publish in between."""
    api = Recorder()
    api.patched = []

    async def patch(ref, body, **_):
        api.patched.append(ref.namespace)

    api.patch = patch
    published = events(api)
    async with running(events=published.run()):
        for _ in range(2):
            published.publish(of("good"), "good", kind="Normal", reason="JobCreated", note="x")
            await asyncio.sleep(1)
            for number in range(3000):
                await published._publish(of("evil", number), f"u{number}", "Warning", "X", "x", "now")
    assert api.patched.count("good") == 1
    assert sum(made["metadata"]["namespace"] == "good" for made in api.made) == 1


@pytest.mark.parametrize("name", ["a" * 253, "a.b-"])
async def test_names_of_events_are_names(name):
    """However long the object's own name is."""
    async with serving() as server, Client.connect_to(server.url, server.token) as client:
        published = events(client)
        async with running(events=published.run()):
            published.publish(Ref("GitRepo", "default", name), "u1", kind="Normal", reason="JobCreated", note="x")

            async def there():
                return (await client.list_page(KINDS["Event"], namespace="default")).items

            await until(there)


@pytest.mark.parametrize("note", ["ä" * 600, "x" * 1023 + "€", "\ud800" * 2000, "short"])
async def test_a_note_is_cut_by_bytes_as_the_api_server_counts(note):
    """At most 1,024 bytes, in whole characters: a longer note is refused, and nothing would be reported at all."""
    api = Recorder()
    published = events(api)
    async with running(events=published.run()):
        published.publish(REF, "u1", kind="Warning", reason="JobCreateFailed", note=note)
        await until(lambda: asyncio.sleep(0, api.made))
    cut = api.made[0]["note"].encode()
    assert min(len(note), 1021) <= len(cut) <= 1024
    assert cut.decode("utf-8") in {note[: len(cut.decode())], "?" * 1024}


class Server:
    """Keeps Events by name; `away` until a time of the loop; `lost` answers are of writes that were done."""

    def __init__(self, *, away_s=0.0, lost=0, status=0):
        self.away_s, self.lost, self.status = away_s, lost, status
        self.kept, self.asked = {}, 0

    def _answer(self):
        if self.lost:
            self.lost -= 1
            raise ApiUnavailable("no answer")

    async def create(self, kind, obj, *, timeout_s=None, strict=False):
        self.asked += 1
        if at() < self.away_s:
            raise ApiUnavailable("away", status=self.status)
        if obj["metadata"]["name"] in self.kept:
            raise ApiAlreadyExists("exists")
        self.kept[obj["metadata"]["name"]] = obj
        self._answer()
        return obj

    async def patch(self, ref, body, *, subresource=None, strict=False, timeout_s=None):
        if ref.name not in self.kept:
            raise ApiNotFound("expired")
        self.kept[ref.name] = self.kept[ref.name] | body
        self._answer()
        return self.kept[ref.name]


def recorder(api, failed):
    """Events with the loop's time as the time of day."""
    began = datetime(2026, 5, 6, tzinfo=UTC)
    return Events(
        api=api, identity="pod-1", now=lambda: began + timedelta(seconds=at()), failed=failed.append, weight=equal
    )


@virtual
async def test_events_wait_while_the_api_server_does_not_answer():
    """Ten minutes of it lose none, and each has the time at which it happened."""
    api, failed = Server(away_s=600.0), []
    published = recorder(api, failed)
    async with running(events=published.run()):
        for number in range(20):
            published.publish(REF, "u1", kind="Warning", reason="JobCancelled", note=f"{number}")
            await asyncio.sleep(10)
        await virtually(lambda: len(api.kept) == 20, within_s=700)
    assert len(failed) < 100
    times = [obj["eventTime"] for obj in api.kept.values()]
    assert times == [f"2026-05-06T00:{number // 6:02}:{number % 6}0.000000Z" for number in range(20)]


@virtual
async def test_an_event_whose_answer_was_lost_is_published_once():
    """The next attempt has the same name, a repetition the same count."""
    api = Server(lost=1)
    published = recorder(api, [])
    async with running(events=published.run()):
        for _ in range(2):
            published.publish(REF, "u1", kind="Normal", reason="JobCreated", note="x")
            await asyncio.sleep(10)
            api.lost = 1
        published.publish(REF, "u1", kind="Normal", reason="JobCreated", note="x")
        await asyncio.sleep(10)
    [event] = api.kept.values()
    assert event["series"]["count"] == 3


@virtual
async def test_an_event_that_is_always_refused_delays_the_others_for_a_while_only():
    """An admission webhook that fails answers 500 for ever."""
    api, failed = Server(away_s=40.0, status=500), []
    published = recorder(api, failed)
    async with running(events=published.run()):
        for number in range(3):
            published.publish(REF, "u1", kind="Normal", reason="JobCreated", note=f"{number}")
        await virtually(lambda: len(api.kept) == 2, within_s=60)
    assert [obj["note"] for obj in api.kept.values()] == ["1", "2"]


class Refusing(Server):
    """Refuses every Event of some namespaces, or never answers."""

    def __init__(self, bad, *, hangs):
        super().__init__()
        self.bad, self.hangs = bad, hangs

    async def create(self, kind, obj, *, timeout_s=None, strict=False):
        if obj["metadata"]["namespace"] in self.bad:
            self.asked += 1
            await asyncio.sleep(timeout_s if self.hangs else 0)
            raise ApiUnavailable("refused", status=0 if self.hangs else 500)
        return await super().create(kind, obj, timeout_s=timeout_s, strict=strict)


@pytest.mark.parametrize("hangs", [False, True])
@virtual
async def test_namespaces_that_refuse_events_delay_no_other(hangs):
    """A hundred of them with many Events each: those of another come within a turn, in their order."""
    bad = [f"bad{number}" for number in range(100)]
    api = Refusing(bad, hangs=hangs)
    published = recorder(api, [])
    async with running(events=published.run()):
        for namespace in bad:
            for number in range(40):
                published.publish(of(namespace), "u", kind="Warning", reason="X", note=f"{number}")
        await asyncio.sleep(60)
        for number in range(10):
            await asyncio.sleep(20)
            asked = at()
            published.publish(of("good"), "u", kind="Normal", reason="JobCreated", note=f"{number}")
            await virtually(lambda number=number: len(api.kept) > number, within_s=60)
            assert at() - asked <= 10.0
    assert [obj["note"] for obj in api.kept.values()] == [str(number) for number in range(10)]
    assert api.asked <= 15 * at()


@virtual
async def test_series_that_may_not_be_continued_any_more_are_dropped():
    """Ten minutes after the last Event nothing is held; before, no more than are published in ten minutes."""
    api = Recorder()
    published = events(api)
    async with running(events=published.run()):
        for minute in range(30):
            for number in range(400):
                published.publish(REF, "u1", kind="Warning", reason="X", note=f"{minute}/{number}")
            await asyncio.sleep(60)
            assert published.series <= 400 * 11
        assert len(api.made) == 400 * 30
        await asyncio.sleep(1300)
        assert published.series == 0
