"""One tenant's questions to git servers slow, stop or fail no other tenant's; on a virtual clock, without sockets."""

from __future__ import annotations

import asyncio

import pytest

from git_events_runner.edges.git import Limits, Remote
from git_events_runner.edges.git.backoff import Backoffs
from git_events_runner.edges.git.protocol import RemoteRef
from git_events_runner.edges.git.request import Credential, GitRequest, Reference, Repository
from git_events_runner.errors import GitRateLimited, GitTimeout, GitTooLarge, GitUnreachable
from tests.flow.virtual import at, virtual

COMMIT = "a" * 40
MAIN = Reference("branch", "main")
LIMITS = Limits()


class Server:
    """Every git server; `answer(repository, names)` may wait and raise, then all references are there."""

    def __init__(self, answer=None):
        self.asked, self.under_way, self.most = [], {}, {}
        self._answer = answer

    async def ls_refs(self, repository, names):
        namespace = repository.owner
        self.asked.append((round(at(), 3), namespace, repository.url))
        self.under_way[namespace] = self.under_way.get(namespace, 0) + 1
        self.most[namespace] = max(self.most.get(namespace, 0), self.under_way[namespace])
        try:
            if self._answer is not None:
                await self._answer(repository, names)
        finally:
            self.under_way[namespace] -= 1
        return {name: RemoteRef(COMMIT) for name in names}

    async def fetch(self, repository, commit, *, blobless, write, shape):
        self.asked.append((round(at(), 3), repository.owner, repository.url))
        await self._answer(repository, {commit})
        write(b"PACK\0\0\0\2\0\0\0\1\x90")  # enough for who asks what kind of object it is
        raise AssertionError("the tests fetch only what fails")

    def remote(self, limits=LIMITS):
        return Remote(limits=limits, transports={"https": self})


def source(namespace, name="app", *, token=None, host="forge.example"):
    credential = Credential.token(token) if token else None
    return Repository(url=f"https://{host}/{name}", credential=credential, owner=namespace)


def limited_for(*tokens, seconds=3600.0):
    async def answer(repository, _):
        token = repository.credential.authorization if repository.credential else None
        if token in tokens:
            raise GitRateLimited("429", retry_after_s=seconds)

    return answer


async def ask(remote, *args, reference=MAIN, urgent=False, **more):
    return await remote.commit_of(GitRequest(source(*args, **more), reference), urgent=urgent)


async def paused(remote, *args, **more):
    """Seconds of the pause that holds for a question; 0: it was answered."""
    try:
        await ask(remote, *args, **more)
    except GitRateLimited as error:
        return error.retry_after_s
    return 0.0


@virtual
async def test_a_pause_is_for_the_credential_that_received_it():
    """A 429 to one token pauses this token's questions to the host, and those of no other token."""
    server = Server(limited_for("evil"))
    remote = server.remote()
    assert await paused(remote, "evil", token="evil") == 3600
    assert 3000 < await paused(remote, "evil", "other", token="evil") < 3700
    assert 3000 < await paused(remote, "friend", "other", token="evil") < 3700
    assert await paused(remote, "good", token="good") == 0
    assert await paused(remote, "good") == 0
    assert len(server.asked) == 3


@virtual
async def test_a_pause_of_anonymous_questions_is_for_their_namespace():
    """A tenant who uses up what a host gives without a credential stops no other tenant."""
    server = Server(limited_for(None))
    remote = server.remote()
    assert await paused(remote, "evil") == 3600
    server._answer = None
    assert await paused(remote, "evil", "other") > 3000
    assert await paused(remote, "good") == 0


@virtual
async def test_two_credentials_of_two_namespaces_pause_the_host_for_a_minute():
    """Then the limit is the host's, and every question waits; after a minute one may find out."""
    server = Server(limited_for("a", "b"))
    remote = server.remote()
    await paused(remote, "n1", token="a")
    assert await paused(remote, "n3", token="c") == 0
    await paused(remote, "n2", token="b")
    assert 0 < await paused(remote, "n3", token="c") <= 66
    await asyncio.sleep(61)
    assert await paused(remote, "n3", token="c") == 0
    assert await paused(remote, "n1", token="a") > 3000


@virtual
async def test_two_credentials_of_one_namespace_pause_no_other():
    """A tenant with many tokens is still one tenant."""
    tokens = [f"t{number}" for number in range(400)]
    remote = Server(limited_for(*tokens)).remote()
    for token in tokens:
        await paused(remote, "evil", token=token)
    assert await paused(remote, "good", token="good") == 0


@virtual
async def test_a_tenant_does_not_prolong_the_pause_of_a_host():
    """One that another tenant received an hour ago, and fresh ones of the attacker, are not the same answer."""
    server = Server(limited_for("good", *(f"t{number}" for number in range(50))))
    remote = server.remote()
    await paused(remote, "good", token="good")
    await asyncio.sleep(61)
    for number in range(50):
        await paused(remote, "evil", token=f"t{number}")
        assert await paused(remote, "third", token="third") == 0
        await asyncio.sleep(50)


@virtual
async def test_many_hosts_and_tokens_of_one_namespace_drop_no_pause_of_another():
    """What is remembered is bounded, and each namespace's share of it is its own."""
    server = Server(limited_for("good", *(f"t{number}" for number in range(600))))
    remote = server.remote()
    await paused(remote, "good", token="good")
    for number in range(3000):
        await paused(remote, "evil", token="t1", host=f"h{number}.evil.example")
    for number in range(600):
        await paused(remote, "evil", token=f"t{number}")
    assert await paused(remote, "good", token="good") > 3000
    assert len(remote._hosts._remembered) <= 1024


@virtual
async def test_slow_repositories_of_one_namespace_leave_slots_of_the_host():
    """64 questions that take 15 s each: a neighbour's is sent at once, and the attacker has three quarters at most."""

    async def slow(repository, _):
        await asyncio.sleep(15 if repository.owner == "evil" else 0.05)

    server = Server(slow)
    remote = server.remote()
    async with asyncio.TaskGroup() as group:
        attack = [group.create_task(paused_or_late(remote, "evil", f"r{number}")) for number in range(64)]
        for second in range(14):
            await asyncio.sleep(1)
            asked = at()
            await ask(remote, "good", f"g{second}")
            assert at() - asked <= 0.2
        assert server.most["evil"] == 12
    assert all(task.done() for task in attack)


async def paused_or_late(remote, *args, **more):
    try:
        await ask(remote, *args, **more)
    except (GitRateLimited, GitTimeout):
        return False
    return True


@virtual
async def test_many_questions_of_one_namespace_leave_the_rate_of_the_host():
    """2,000 at once use up the burst and their own turns: a neighbour's waits for a turn, not for them."""
    server = Server()
    remote = server.remote()
    async with asyncio.TaskGroup() as group:
        attack = [group.create_task(paused_or_late(remote, "evil", f"r{number}")) for number in range(2000)]
        await asyncio.sleep(0.1)
        for number in range(20):
            asked = at()
            await ask(remote, "good", f"g{number}")
            assert at() - asked <= 0.1
    assert 200 <= sum(task.result() for task in attack) < 2000
    sent = [when for when, _, _ in server.asked]
    assert all(len([one for one in sent if start <= one < start + 1]) <= 151 for start in range(12))


@virtual
async def test_a_shared_question_leaves_at_the_first_turn_of_its_namespaces():
    """A neighbour that asks what an attacker's question waits for is not sent in the attacker's turn."""
    server = Server()
    remote = server.remote(Limits(host_rate=10, host_burst=1))
    async with asyncio.TaskGroup() as group:
        for number in range(40):
            group.create_task(paused_or_late(remote, "evil", f"r{number}"))
        group.create_task(ask(remote, "evil", "shared"))
        await asyncio.sleep(0.05)
        asked = at()
        await ask(remote, "good", "shared")
        assert at() - asked <= 0.25
    assert sum(url.endswith("/shared") for _, _, url in server.asked) == 1


@virtual
async def test_questions_of_namespaces_at_one_moment_share_an_exchange():
    """Fifty tenants who use one ClusterGitRepo cost its server one exchange."""
    server = Server()
    remote = server.remote()
    await asyncio.gather(*(ask(remote, f"n{number}", token="robot") for number in range(50)))
    assert len(server.asked) == 1


@virtual
async def test_no_namespace_waits_for_an_exchange_of_another_that_is_under_way():
    """One that asks for what takes long does not hold up the repository for the others."""

    async def slow(_, names):
        await asyncio.sleep(15 if "refs/pull" in names else 0.05)

    remote = Server(slow).remote()
    async with asyncio.TaskGroup() as group:
        group.create_task(ask(remote, "evil", token="robot", reference=Reference("branch", "refs/pull")))
        await asyncio.sleep(1)
        asked = at()
        await ask(remote, "good", token="robot")
        assert at() - asked <= 0.1


@virtual
async def test_what_fails_because_of_one_question_fails_for_its_namespace_only():
    """A name that stands for more references than fit: a neighbour in the same exchange has its answer."""

    async def too_large(_, names):
        if "refs/pull" in names:
            raise GitTooLarge("more than 4 MiB of references")

    remote = Server(too_large).remote()
    for _ in range(3):
        good, evil = await asyncio.gather(
            ask(remote, "good", token="robot"),
            ask(remote, "evil", token="robot", reference=Reference("branch", "refs/pull")),
            return_exceptions=True,
        )
        assert good.commit == COMMIT
        assert isinstance(evil, GitTooLarge)


@virtual
async def test_a_commit_that_cannot_be_fetched_backs_off_alone():
    """A tenant that watches a commit of which a fetch hangs stops no watch of the repository's branches."""

    async def hang(_, names):
        if COMMIT in names:
            await asyncio.sleep(3600)

    remote = Server(hang).remote()
    with pytest.raises(GitTimeout):
        await ask(remote, "evil", token="robot", reference=Reference("commit", COMMIT))
    with pytest.raises(GitTimeout) as again:
        await ask(remote, "evil", token="robot", reference=Reference("commit", COMMIT))
    assert again.value.repeated
    assert (await ask(remote, "good", token="robot")).commit == COMMIT


@virtual
async def test_back_offs_are_by_credential():
    """A tenant whose token is refused does not put off a neighbour's questions about the same repository."""

    async def refuse(repository, _):
        if repository.credential.authorization == "evil":
            raise GitUnreachable("503")

    remote = Server(refuse).remote()
    for _ in range(5):
        with pytest.raises(GitUnreachable):
            await ask(remote, "evil", token="evil")
    assert (await ask(remote, "good", token="good")).commit == COMMIT


def test_failures_of_one_namespace_drop_no_back_off_of_another():
    """Of more failures than are remembered, those of the namespace with most are forgotten."""
    backoffs = Backoffs()
    backoffs.failed("good", GitUnreachable("down"), 0.0, namespace="good")
    for number in range(20_000):
        backoffs.failed(f"evil{number}", GitUnreachable("down"), 0.0, namespace="evil")
    with pytest.raises(GitUnreachable):
        backoffs.check("good", 0.1)


@virtual
async def test_what_is_cancelled_gives_its_slot_and_its_turn_back():
    """Neither while it waits nor in the moment in which it is admitted is anything kept of it."""

    async def slow(*_):
        await asyncio.sleep(1)

    server = Server(slow)
    remote = server.remote(Limits(host_concurrency=4, host_rate=100, host_burst=4))
    for _ in range(5):
        tasks = [asyncio.ensure_future(ask(remote, f"n{number % 3}", f"r{number}")) for number in range(30)]
        await asyncio.sleep(0.5)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.wait(tasks)
    assert remote._hosts._in_use == {}
    await asyncio.sleep(10)
    assert (await ask(remote, "n0")).commit == COMMIT
