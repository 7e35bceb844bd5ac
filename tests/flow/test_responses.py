"""An answer that was sent after a check's scheduled time answers that check too; on a virtual clock."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from git_events_runner.edges.git.request import Credential, Reference, Repository, ResolvedReference
from git_events_runner.errors import GitUnreachable
from git_events_runner.rules.messages import Unchanged
from git_events_runner.wiring.kept_responses import KeptResponses
from tests.flow.virtual import at, virtual
from tests.flow.world import Cluster

A, B = "a" * 40, "b" * 40
MAIN = Reference("branch", "main")


class Server:
    """Answers after a while with the head of the moment at which it was asked; counts requests."""

    def __init__(self, *, seconds=0.1):
        self.head, self.sent, self.shared, self.error, self.seconds = A, [], [], None, seconds
        self.cluster = Cluster()
        self.answers = KeptResponses(now=self.cluster.now, shared=self.shared.append, room=lambda _: 0)

    def now(self):
        return self.cluster.now()

    async def request(self):
        sent_at, head = at(), self.head
        self.sent.append(sent_at)
        await asyncio.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        return ResolvedReference(commit=head, tag_object=None, sent_at=sent_at)

    async def check(self, *, due=None, commit=A, reference=MAIN, **options):
        """The commit that a check is answered with; without `due` it is one of a delivery."""
        unchanged = Unchanged(since=due, commit=commit) if due is not None else None
        repository = Repository(**{"url": "https://x/a", "owner": "n"} | options)
        return (await self.answers.get(repository, reference, self.request, unchanged=unchanged)).commit


@virtual
async def test_checks_of_one_scheduled_time_are_one_request():
    """However many are checked one after another, and beside one another while the request is under way."""
    server = Server()
    due = server.now()
    for _ in range(3):
        await asyncio.gather(*(server.check(due=due) for _ in range(16)))
    assert len(server.sent) == 1
    assert server.shared == ["x"] * 47


@virtual
async def test_an_answer_from_before_the_scheduled_time_is_not_used():
    """What was pushed between the two is found."""
    server = Server()
    await server.check()
    server.head = B
    await asyncio.sleep(1)
    assert await server.check(due=server.now()) == B
    under_way = asyncio.ensure_future(server.check())
    await asyncio.sleep(0.05)
    server.head = A
    assert await server.check(due=server.now(), commit=B) == A
    await under_way


@virtual
async def test_a_change_is_asked_for_by_each_check_itself():
    """An answer with another commit than the recorded one is no answer to another check."""
    server = Server()
    due = server.now()
    server.head = B
    for number in range(3):
        assert await server.check(due=due, commit=A) == B
        assert len(server.sent) == number + 1
    assert await server.check(due=due, commit=B) == B
    assert len(server.sent) == 3


@virtual
async def test_a_delivery_is_answered_by_its_own_request():
    """Also a moment after one that showed nothing new; the answer is used for scheduled times before it."""
    server = Server()
    due = server.now()
    assert await server.check(due=due) == A
    assert await server.check() == A
    assert len(server.sent) == 2
    assert await server.check(due=due + timedelta(seconds=0.1)) == A
    assert len(server.sent) == 2


@pytest.mark.parametrize(
    "other",
    [
        {"url": "https://x/b"},
        {"credential": Credential.token("other")},
        {"verify": False},
        {"reference": Reference("branch", "other")},
        {"reference": Reference("tag", "main")},
    ],
)
def test_another_repository_reference_or_credential_has_its_own_answers(other):
    """Nothing that one credential may read answers for another."""

    @virtual
    async def check():
        server = Server()
        due = server.now()
        await server.check(due=due)
        await server.check(due=due, **other)
        assert len(server.sent) == 2

    check()


@virtual
async def test_an_answer_is_used_for_a_minute():
    """A time that is made up after an hour finds what there was a moment ago, not what there was long ago."""
    server = Server()
    due = server.now() - timedelta(hours=1)
    await server.check(due=due)
    await asyncio.sleep(55)
    await server.check(due=due)
    assert len(server.sent) == 1
    await asyncio.sleep(10)
    await server.check(due=due)
    assert len(server.sent) == 2


@pytest.mark.parametrize("offset_s", [-3600, -20, 20, 3600])
def test_a_clock_that_is_set_makes_no_answer_newer(offset_s):
    """Whether it is set forwards over the scheduled time, or back: an answer from before that time is not used."""

    @virtual
    async def check():
        server = Server()
        await server.check()
        await asyncio.sleep(5)
        server.cluster.offset = timedelta(seconds=offset_s)
        await asyncio.sleep(1)
        await server.check(due=server.now() - timedelta(seconds=0.5))
        assert len(server.sent) == 2

    check()


@virtual
async def test_a_failed_request_answers_no_other_check():
    """Those that waited for it ask themselves."""
    server = Server()
    server.error = GitUnreachable("down")
    due = server.now()
    found = await asyncio.gather(*(server.check(due=due) for _ in range(3)), return_exceptions=True)
    assert [type(one) for one in found] == [GitUnreachable] * 3
    assert len(server.sent) == 3
    server.error = None
    assert await server.check(due=due) == A


@virtual
async def test_a_check_waits_for_no_request_of_another_namespace():
    """A neighbour's may wait for its turn at the host; its answer is used when it is there."""
    server = Server(seconds=10)
    due = server.now()
    slow = asyncio.ensure_future(server.check(due=due, owner="evil"))
    await asyncio.sleep(1)
    server.seconds = 0.1
    await server.check(due=due)
    assert at() < 2
    await slow
    assert await server.check(due=due, owner="third") == A
    assert len(server.sent) == 2


@virtual
async def test_a_cancelled_request_leaves_none_that_others_wait_for():
    """The next check asks; those that waited for the cancelled one do, too."""
    server = Server(seconds=10)
    due = server.now()
    first = asyncio.ensure_future(server.check(due=due))
    await asyncio.sleep(1)
    second = asyncio.ensure_future(server.check(due=due))
    await asyncio.sleep(1)
    first.cancel()
    assert await second == A
    assert at() < 13


@virtual
async def test_answers_go_with_their_source():
    """What is forgotten is asked for again."""
    server = Server()
    due = server.now()
    await server.check(due=due)
    server.answers.forget({Repository(url="https://x/a").key})
    await server.check(due=due)
    assert len(server.sent) == 2
