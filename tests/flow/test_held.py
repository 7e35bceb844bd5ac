"""Triggers, sources and Jobs that come and go leave nothing behind in a leader's memory."""

import asyncio

from git_events_runner.edges.kube import deleted_objects
from git_events_runner.flow import scheduler
from git_events_runner.flow.checks import gate
from git_events_runner.flow.jobs import tracking
from git_events_runner.flow.jobs.results import outcomes, phases
from git_events_runner.resources.kinds import TRIGGERS
from git_events_runner.wiring import deletions
from tests.flow.estate import Estate
from tests.flow.held import grown, held
from tests.flow.virtual import virtual
from tests.flow.world import recorded

EACH = 40
ROUNDS = 4
BOUNDED = {  # by their own limits, which are lowered to less than what comes in two rounds
    deleted_objects: ("_DELETED_KEPT", "_LAST_KEPT", "_TIMED"),
    gate: ("_KEPT", "_SCHEDULES_KEPT"),
    tracking: ("_KEPT",),
    outcomes: ("_KEPT",),
    phases: ("_KEPT",),
    deletions: ("_KEPT",),
}


async def come_and_go(estate, turn):
    """So many triggers are created, a Job of each runs, and all of it is deleted."""
    names = [f"c{turn}-{number}" for number in range(EACH)]
    for number, name in enumerate(names):
        place = f"team{number % 4}"
        estate.add("GitRepo", place, name, {"repoUri": f"https://{name}.example/x"})
        spec = {"sources": {"names": [name]}, "action": {"kind": "ClusterAction", "name": "build"}}
        status = {"checkedSources": {name: recorded()["checkedSources"]["app"]}}
        if number % 2:
            spec |= {"webhook": {"multiSource": True}}
            trigger = estate.add("WebhookTrigger", place, name, spec, status)
        else:
            spec |= {"schedule": {"cron": f"{number % 60} {turn} * * *"}}
            trigger = estate.add("ScheduleTrigger", place, name, spec, status)
        estate.show(estate.cluster.job(trigger, source=name, namespace=place))
    await asyncio.sleep(60)
    jobs = estate.refs("Job")
    for ref in jobs:
        estate.cluster.finish(estate.cluster.objects[ref])
    estate.changed(*jobs)
    await asyncio.sleep(60)
    estate.delete(*jobs)
    await asyncio.sleep(1)
    estate.delete(*(ref for ref in estate.refs(*TRIGGERS, "GitRepo") if ref.name in names))
    await asyncio.sleep(1200)


def test_what_comes_and_goes_leaves_nothing_in_memory(monkeypatch):
    """No class has more objects, and no container more entries, with each round of 40 triggers.

    Twenty of them have a schedule: what is left of each would be twenty entries more.
    """
    for module, names in BOUNDED.items():
        for name in names:
            monkeypatch.setattr(module, name, EACH)
    monkeypatch.setattr(
        scheduler, "_HEAP_LEAST", 0
    )  # entries of deleted triggers are removed when they are half of all

    @virtual
    async def check():
        estate = Estate(schedules=0, webhooks=12)
        sizes = []
        async with estate.replica(), estate.leader():
            for turn in range(ROUNDS):
                await come_and_go(estate, turn)
                for kept in (estate.cluster.told, estate.cluster.calls, estate.told.checked):
                    kept.clear()
                sizes.append(held())
            before, after = grown(*sizes[-3:-1], by=EACH // 4), grown(*sizes[-2:], by=EACH // 4)
            assert {name: after[name] for name in after if name in before} == {}

    check()
