"""Many triggers on few repositories: scheduled checks share requests, and each still finds what is new."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from git_events_runner.concurrency.fairness import equal
from git_events_runner.edges.git.request import Reference, Repository, ResolvedReference
from git_events_runner.flow.checks.keyed_workers import KeyedWorkers
from git_events_runner.flow.scheduler import Scheduler
from git_events_runner.serving import running
from git_events_runner.wiring.kept_responses import KeptResponses
from tests.flow.program import Program
from tests.flow.virtual import at, until, virtual
from tests.flow.world import A, B, Cluster, Fence

REPOSITORIES, TRIGGERS = 4, 200


class Forge:
    """A git server for all repositories; `requests` are the URLs that were asked for, with the time."""

    def __init__(self, cluster, *, seconds):
        self.requests, self.head, self.seconds = [], A, seconds
        self.answers = KeptResponses(now=cluster.now, shared=lambda _: None, room=lambda _: 0)

    async def commit_of(self, source, namespace, ref_type, ref_name, *, urgent, unchanged=None):
        repository = Repository(url=source.spec.repo_uri, owner=namespace)

        async def request():
            sent_at, head = at(), self.head
            self.requests.append((sent_at, repository.url))
            await asyncio.sleep(self.seconds)
            return ResolvedReference(commit=head, tag_object=None, sent_at=sent_at)

        return await self.answers.get(repository, Reference(ref_type, ref_name), request, unchanged=unchanged)


@asynccontextmanager
async def controller(cluster, forge):
    """Scheduler, lanes and checks of a leader."""
    program = Program(cluster)
    program.git = forge
    program.write_with(cluster, lambda request: lanes.submit(request))  # noqa: PLW0108  they are built below
    lanes = KeyedWorkers(
        check=program.checks.check,
        schedule_parallelism=16,
        webhook_parallelism=16,
        longest_backoff_s=60.0,
        weight=equal,
    )
    scheduler = Scheduler(
        store=cluster.store,
        gate=cluster.gate,
        submit=lanes.submit,
        forget=lanes.forget,
        edited=lambda *_: None,
        now=cluster.now,
        weight=equal,
    )
    async with running(lanes=lanes.run(), scheduler=scheduler.run_as_leader(Fence())):
        yield program


def estate(cluster, *, on_change_only=True):
    cluster.surroundings()
    for number in range(REPOSITORIES):
        url = f"https://x/{number}"
        cluster.put({"kind": "GitRepo", "metadata": {"name": f"r{number}", "namespace": "n"}, "spec": {"repoUri": url}})
    for number in range(TRIGGERS):
        sources = {"names": [f"r{number % REPOSITORIES}"], "watchOn": {"onChangeOnly": on_change_only}}
        cluster.trigger("ScheduleTrigger", f"t{number}", schedule={"interval": "1m"}, sources=sources)


@pytest.mark.parametrize("seconds", [0.02, 0.5])
def test_a_round_of_many_triggers_is_one_request_for_each_repository(seconds):
    """Whether its server answers in a moment, or so late that other checks begin meanwhile."""

    @virtual
    async def check():
        cluster = Cluster()
        forge = Forge(cluster, seconds=seconds)
        estate(cluster)
        async with controller(cluster, forge) as program:
            await until(lambda: len(program.jobs()) == TRIGGERS)
            await asyncio.sleep(120)
            forge.requests.clear()
            await asyncio.sleep(600)
        assert len(program.jobs()) == TRIGGERS
        assert len(forge.requests) == 10 * REPOSITORIES

    check()


@virtual
async def test_a_push_runs_for_each_trigger_at_its_next_scheduled_time():
    """Pushed at any moment of a minute, every trigger has its run within that minute, and only one."""
    cluster = Cluster()
    forge = Forge(cluster, seconds=0.02)
    estate(cluster)
    async with controller(cluster, forge) as program:
        await until(lambda: len(program.jobs()) == TRIGGERS)
        for turn in range(1, 8):
            await asyncio.sleep(60 + 7.3)
            forge.head = B if turn % 2 else A
            await asyncio.sleep(65)
            assert len(program.jobs()) == TRIGGERS * (turn + 1)


@virtual
async def test_checks_that_all_run_ask_each_for_itself():
    """With `onChangeOnly: false` every check runs with the commit that git shows to it."""
    cluster = Cluster()
    forge = Forge(cluster, seconds=0.02)
    estate(cluster, on_change_only=False)
    async with controller(cluster, forge) as program:
        await asyncio.sleep(50)
        assert len(forge.requests) == len(program.jobs()) > TRIGGERS
