"""What a run on the queue's page waits for."""

import pytest

from git_events_runner.flow.ui import views
from git_events_runner.flow.ui.estate import Estate
from git_events_runner.resources.queuemarks import ConcurrencyLimit
from tests.flow.ui.samples import NOW, Company, G, at


def group(name, limit=1):
    return ConcurrencyLimit(policy="Queue", group=name, limit=limit).annotations


async def waits(infra):
    """The words about each waiting run, by trigger and number."""
    page = views.queue(await Estate(store=infra.store, version=lambda: 0).rows(), infra.facts, {}, NOW)
    found = {}
    for run in page["waiting"]:
        view = page["waits"][f"{run.row.trigger.namespace}/{run.row.job}"]
        others = " ".join(f"{each.trigger.name}#{each.number}" for each, _ in view.runs)
        until = view.until.text if view.until else ""
        found[run.row.trigger.name, run.row.number] = " ".join(
            part for part in (view.words, others, view.group, f"+{view.more}" if view.more else "", until) if part
        )
    return found


@pytest.fixture
def infra():
    infra = Company()
    for name in ("plan", "apply", "docs"):
        infra.add("GitRepo", "infra", name, spec={"repoUri": f"https://git.example/{name}"})
    infra.add("Action", "infra", "build", spec={"actionJob": {}})
    return infra


async def test_a_group_that_is_full(infra):
    """A run waits for the run of its group that runs, and the next run of its source for the first."""
    plan, apply = infra.trigger("infra", "plan"), infra.trigger("infra", "apply")
    infra.run(plan, 1, ago_s=60, phase="Running", annotations=group("terraform"))
    infra.run(apply, 1, ago_s=50, phase="Queued", annotations=group("terraform"))
    assert await waits(infra) == {("apply", 1): "waits for plan#1 terraform"}


async def test_an_older_run_of_the_source(infra):
    """Runs of a source keep their order also while the group has room."""
    apply = infra.trigger("infra", "apply")
    infra.run(apply, 1, ago_s=50, phase="Queued", annotations=group("ScheduleTrigger/apply/apply"))
    infra.run(apply, 2, ago_s=40, phase="Queued", annotations=group("ScheduleTrigger/apply/apply"))
    assert await waits(infra) == {("apply", 1): "waits for a slot", ("apply", 2): "waits for apply#1"}


async def test_a_group_of_many(infra):
    """Three of the runs that a run waits for are named; the lowest limit of a group holds for all of it."""
    triggers = [infra.trigger("infra", f"t{each}", sources=["docs"]) for each in range(5)]
    for each, trigger in enumerate(triggers[:4]):
        infra.run(trigger, 1, ago_s=90 - each, phase="Running", annotations=group("g", 4))
    infra.run(triggers[4], 1, ago_s=10, phase="Queued", annotations=group("g", 9))
    [(_, words)] = (await waits(infra)).items()
    assert words.endswith("g +1")
    assert words.count("#1") == 3


async def test_slots_of_the_installation_and_of_a_namespace(infra):
    """All slots, or those of the namespace, are held."""
    plan, docs = infra.trigger("infra", "plan"), infra.trigger("infra", "docs")
    infra.run(plan, 1, ago_s=60, phase="Running")
    infra.run(docs, 1, ago_s=50, phase="Queued")
    assert await waits(infra) == {("docs", 1): "waits for a slot"}
    for limits, words in (
        ({"slots": 1, "share": 0}, "waits for one of the 1 slots"),
        ({"slots": 9, "share": 1}, "its namespace has all 1 slots that it may have"),
        ({"slots": None, "share": None}, "waits for a slot"),
    ):
        for name, value in limits.items():
            object.__setattr__(infra.facts, name, value)
        assert await waits(infra) == {("docs", 1): words}


async def test_one_that_did_not_start(infra):
    """A Job without a starting pod has the time at which it is tried again."""
    docs = infra.trigger("infra", "docs")
    marks = {f"{G}admission": "requeued", f"{G}requeues": "1", f"{G}requeued-at": at(seconds=10)}
    infra.run(docs, 1, ago_s=900, phase="Queued", annotations=marks, generation=2)
    assert await waits(infra) == {("docs", 1): "no pod of it started; tried again in 50 s"}


async def test_the_page_names_the_run_and_the_group(get):
    """The run that is waited for is a link to its trigger, beside the name of the group."""
    _, _, text = await get("/ui/queue")
    [line] = [line for line in text.splitlines() if "waits for" in line and "payments-db" in line]
    assert 'triggers/WebhookTrigger/payments/checkout"><bdi>checkout</bdi></a> #22' in line
    assert "(group <bdi>payments-db</bdi>)" in line
