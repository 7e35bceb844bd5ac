"""Messages about problems of triggers and about recoveries: derived from stored state, through crashes."""

import asyncio

import pytest

from git_events_runner.errors import ApiUnavailable
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.jobs.lifecycle import JobQueued
from git_events_runner.rules.notifications.chat import chat_message
from git_events_runner.rules.notifications.problem import ProblemReport
from git_events_runner.rules.notifications.request import Accepted, Refused, Retry
from git_events_runner.rules.notifications.webhook import payload_of
from tests.flow.test_notifications import NOTIFIED, Receiver, World
from tests.flow.virtual import until, virtual
from tests.flow.world import A, B

CHAT = {"type": "chat", "secretRef": {"name": "ops"}}
TRIGGER = Ref("WebhookTrigger", "n", "hook")


class People(Receiver):
    """A receiver that keeps what each message is about."""

    async def send(self, notifier, report):
        await asyncio.sleep(self.latency_s)
        answer = self.script.pop(0) if self.script else Accepted()
        about = report.reason if isinstance(report, ProblemReport) else report.commit
        self.got.append((notifier.ref.name, report.state, about, type(answer).__name__))
        return answer


class Receiving(World):
    """A world whose Notifier is one for people."""

    def __init__(self, **fields):
        super().__init__()
        self.receiver = People()
        self.notifications = self.new()
        self.notifier("ops", CHAT, **fields)

    def ready(self, value, reason="Unreachable"):
        """The trigger's condition Ready changes."""
        now = self.cluster.now().isoformat()
        condition = {"type": "Ready", "status": value, "reason": reason, "message": "m", "lastTransitionTime": now}
        self.cluster.change(TRIGGER, status={"conditions": [condition]})

    @property
    def known(self):
        """What is recorded as known to the receiver."""
        return self.cluster.objects[TRIGGER]["status"].get("notified") or []

    @property
    def messages(self):
        """States and what they are about, as they were accepted."""
        return [(state, about) for _, state, about, answer in self.receiver.got if answer == "Accepted"]


@virtual
async def test_a_problem_is_reported_once_and_solved_once():
    """Two hours with a problem are one message."""
    world = Receiving()
    async with world.leading():
        world.ready("False")
        await asyncio.sleep(2 * 3600)
        assert world.messages == [("Problem", "Unreachable")]
        assert [(one["reason"], one["open"]) for one in world.known] == [("Unreachable", True)]
        world.ready("True", "Succeeded")
        await asyncio.sleep(2 * 3600)
    assert world.messages == [("Problem", "Unreachable"), ("ProblemSolved", "Unreachable")]


@pytest.mark.parametrize("after_request", [False, True])
@virtual
async def test_a_crash_loses_no_problem_and_repeats_at_most_one_message(after_request):
    """Killed before the request, or between the answer and the write of the record."""
    world = Receiving()
    world.cluster.latency_s = 50.0
    async with world.leading():
        world.ready("False")
        await until(lambda: bool(world.receiver.got) or not after_request, within_s=100)
    assert world.known == []
    world.cluster.latency_s = 0.001
    world.notifications = world.new()
    async with world.leading():
        await until(lambda: world.known != [], within_s=120)
        await asyncio.sleep(600)
    assert world.messages == [("Problem", "Unreachable")] * (1 + after_request)


@virtual
async def test_a_problem_that_ends_while_the_receiver_is_down_is_not_reported():
    """What waits is what holds when it is sent."""
    world = Receiving()
    world.receiver.script = [Retry(message="HTTP status 503")] * 20
    async with world.leading():
        world.ready("False")
        await asyncio.sleep(300)
        world.ready("True", "Succeeded")
        await asyncio.sleep(3600)
    assert world.messages == []


@virtual
async def test_a_refused_problem_is_not_sent_again_until_the_notifier_changes():
    """One request in an hour."""
    world = Receiving()
    world.receiver.script = [Refused(message="HTTP status 404: check the address")]
    async with world.leading():
        world.ready("False")
        await asyncio.sleep(3600)
        assert len(world.receiver.got) == 1
        world.cluster.change(Ref("Notifier", "n", "ops"), spec={"targetUrl": "https://ci.example/{run}"})
        await until(lambda: world.messages == [("Problem", "Unreachable")], within_s=60)


@virtual
async def test_a_record_that_cannot_be_written_is_written_later_and_nothing_is_sent_twice():
    """While the API server refuses the write, the leader knows what it sent."""
    world = Receiving()
    async with world.leading():
        world.cluster.faults = [("before", ApiUnavailable("no answer"))] * 20
        world.ready("False")
        await until(lambda: world.messages != [], within_s=120)
        await asyncio.sleep(3600)
    assert world.messages == [("Problem", "Unreachable")]
    assert world.known != []


@virtual
async def test_a_notifier_that_lists_no_problems_gets_none():
    """A commit status has none by itself."""
    world = World()
    world.notifier()
    world.notifier("runs", CHAT, events=["Failed"])
    async with world.leading():
        condition = {"type": "Ready", "status": "False", "reason": "X", "lastTransitionTime": "2020-01-01T00:00:00Z"}
        world.cluster.change(TRIGGER, status={"conditions": [condition]})
        await asyncio.sleep(600)
    assert world.receiver.got == []


@virtual
async def test_the_first_success_after_a_failure_is_a_recovery():
    """The next one is no message, and the mark of both is a success."""
    world = Receiving()
    async with world.leading():
        jobs = [world.cluster.job(world.trigger, number, commit=A) for number in (1, 2, 3)]
        for job, kind in zip(jobs, ("Failed", "Complete", "Complete"), strict=True):
            world.happened(job, JobQueued)
            world.finish(job, kind)
            await asyncio.sleep(60)
        await asyncio.sleep(600)
    assert world.receiver.states == ["Failed", "Recovered"]


@virtual
async def test_a_notifier_that_lists_both_gets_one_message_for_a_recovery():
    """Recovered in place of Succeeded; a success that follows none is Succeeded, also after a crash."""
    world = Receiving(events=["Succeeded", "Failed", "Recovered"])
    async with world.leading():
        first, second = (world.cluster.job(world.trigger, number, commit=c) for number, c in ((1, A), (2, B)))
        world.finish(first, "Failed")
        await until(lambda: world.receiver.states == ["Failed"])
        world.finish(second)
        await until(lambda: (world.mark(second) or "").endswith("=Recovered"))
    world.cluster.drop(world.cluster.ref(first))
    world.notifications = world.new()
    async with world.leading():
        await asyncio.sleep(600)
    assert world.receiver.states == ["Failed", "Recovered"]
    assert NOTIFIED in world.cluster.objects[world.cluster.ref(second)]["metadata"]["annotations"]


@virtual
async def test_no_message_of_any_type_has_what_a_job_contains():
    """Command, environment, annotations of others, labels and the commit's subject: as they would be sent."""
    canary = "canary-5b31568a"
    world = Receiving(events=["Queued", "Started", "Succeeded", "Failed", "Cancelled", "Recovered"])
    reports = []

    async def keep(_, report):
        reports.append(report)
        return Accepted()

    world.receiver.send = keep
    world.notifications = world.new()
    async with world.leading():
        for number, kind in ((1, "Failed"), (2, "Complete")):
            job = world.cluster.job(world.trigger, number, commit=A, subject=canary, labels={"x": canary})
            container = {"command": [canary], "env": [{"name": "P", "value": canary}]}
            template = {"spec": {"containers": [container]}, "metadata": {"annotations": {"x": canary}}}
            world.cluster.change(world.cluster.ref(job), spec={"template": template})
            world.happened(job, JobQueued)
            await until(lambda number=number: any(one.number == number for one in reports))
            world.finish(job, kind)
            await until(lambda number=number: reports[-1].number == number and reports[-1].ended_at is not None)
    assert [one.state for one in reports if one.ended_at] == ["Failed", "Recovered"]
    for report in reports:
        message = chat_message(report, "https://ci.example/{namespace}/{trigger}/{source}/{run}/{commit}/{job}")
        payload = payload_of(report, None, world.cluster.now())
        assert canary not in repr((message, payload, report))
