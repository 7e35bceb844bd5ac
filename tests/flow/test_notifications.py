"""Messages about runs: derived from Jobs and their marks, in order, sent again after failures and crashes."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from git_events_runner.flow.notifications import Notifications
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.identity import owner_of
from git_events_runner.rules.jobs.lifecycle import JobEnded, JobQueued, JobStarted, RunJob
from git_events_runner.rules.notifications.request import Accepted, Refused, Retry
from tests.flow.virtual import until, virtual
from tests.flow.world import START, A, B, Cluster, Fence, recorded

NOTIFIED = "git-events-runner.rs/notified"
STATUS = {
    "type": "commit-status",
    "commitStatus": {"forge": "gitea", "apiUrl": "https://x"},
    "secretRef": {"name": "token"},
}
WEBHOOK = {"type": "webhook", "address": "https://receiver.example/hook", "secretRef": {"name": "key"}}


class Receiver:
    """Answers by script, else accepts; `got` are the states that arrived, with commit and Notifier."""

    def __init__(self):
        self.script, self.got, self.latency_s, self.hangs = [], [], 0.01, set()

    async def send(self, notifier, report):
        if notifier.ref.name in self.hangs:
            await asyncio.Event().wait()
        await asyncio.sleep(self.latency_s)
        answer = self.script.pop(0) if self.script else Accepted()
        if isinstance(answer, Exception):
            raise answer
        self.got.append((notifier.ref.name, report.state, report.commit, type(answer).__name__))
        return answer

    async def close(self):
        """No connection is kept by a replica that is not the leader."""

    @property
    def states(self):
        return [state for _, state, _, answer in self.got if answer == "Accepted"]


class World:
    """A cluster with one trigger, and what sends."""

    def __init__(self):
        self.cluster, self.receiver, self.fence = Cluster(), Receiver(), Fence()
        self.cluster.surroundings()
        self.trigger = self.cluster.trigger(status=recorded(runs=9))
        self.notifications = self.new()

    @property
    def parts(self):
        return {
            "api": self.cluster,
            "store": self.cluster.store,
            "send": self.receiver.send,
            "close": self.receiver.close,
            "announcer": self.cluster,
            "metrics": self.cluster.metrics.notifications,
            "request_timeout_s": 5.0,
            "now": self.cluster.now,
            "weight": lambda _: 1,
        }

    def new(self):
        return Notifications(**self.parts)

    def elsewhere(self):
        """The same trigger in namespace `m`."""
        sources = (("GitRepo", "app", {"repoUri": "https://x/a"}), ("Action", "build", {"actionJob": {}}))
        for kind, name, spec in (*sources, ("WebhookTrigger", "hook", self.trigger["spec"])):
            made = self.cluster.put({"kind": kind, "metadata": {"name": name, "namespace": "m"}, "spec": spec})
        return made

    def notifier(self, name="status", spec=None, kind="Notifier", namespace="n", **fields):
        metadata = {"name": name, "creationTimestamp": START.isoformat()}
        metadata |= {"namespace": namespace} if kind == "Notifier" else {}
        return self.cluster.put({"kind": kind, "metadata": metadata, "spec": {**(spec or STATUS), **fields}})

    def happened(self, job, event, **fields):
        """Report what happened to a Job, as the leader's results do."""
        snapshot = self.cluster.store.get(self.cluster.ref(job))
        run = RunJob.of(snapshot, owner_of(snapshot, self.cluster.store), self.cluster.store)
        self.notifications.observe(event(run=run, **fields))

    def finish(self, job, kind="Complete"):
        when = self.cluster.now().isoformat()
        condition = {"type": kind, "status": "True", "lastTransitionTime": when}
        self.cluster.change(self.cluster.ref(job), status={"startTime": when, "conditions": [condition]})
        self.happened(job, JobEnded, result="Succeeded" if kind == "Complete" else "Failed")

    def start(self, job):
        self.cluster.change(self.cluster.ref(job), spec={"suspend": False})
        self.happened(job, JobStarted)

    def mark(self, job):
        return self.cluster.objects[self.cluster.ref(job)]["metadata"]["annotations"].get(NOTIFIED)

    def limited(self, name):
        """The message of the condition Limited, if there is one."""
        status = self.cluster.objects[Ref("Notifier", "n", name)].get("status") or {}
        found = (one for one in status.get("conditions") or () if one["type"] == "Limited")
        return next((one["message"] for one in found if one["reason"] == "TooManyNotifiers"), None)

    def condition(self, name="status"):
        [found] = self.cluster.objects[Ref("Notifier", "n", name)]["status"]["conditions"]
        return found["status"], found["reason"], found["message"]

    @asynccontextmanager
    async def leading(self):
        task = asyncio.ensure_future(self.notifications.run_as_leader(self.fence))
        await asyncio.sleep(0.1)
        try:
            yield
            assert not task.done() or self.fence.lost, task.exception()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@virtual
async def test_a_run_is_reported_queued_started_and_succeeded_and_the_job_records_it():
    """One message for each state, in order, and the mark of the last one."""
    world = World()
    notifier = world.notifier()
    async with world.leading():
        job = world.cluster.job(world.trigger)
        world.happened(job, JobQueued)
        await until(lambda: world.receiver.states == ["Queued"])
        world.start(job)
        await until(lambda: world.receiver.states == ["Queued", "Started"])
        world.finish(job)
        await until(lambda: world.mark(job) == f"{notifier['metadata']['uid']}=Succeeded")
        await asyncio.sleep(120)
    assert world.receiver.states == ["Queued", "Started", "Succeeded"]
    assert world.condition()[:2] == ("True", "Delivered")
    assert world.cluster.series("notifications_sent_total") == 3


@virtual
async def test_without_a_notifier_nothing_is_sent_or_written():
    """No request, and no pass over the Jobs."""
    world = World()
    async with world.leading():
        job = world.cluster.job(world.trigger)
        world.happened(job, JobQueued)
        world.finish(job)
        await asyncio.sleep(600)
        assert not world.notifications.keeps(world.cluster.store.get(world.cluster.ref(job)))
    assert world.receiver.got == []
    assert world.cluster.calls == []


@virtual
async def test_a_receiver_that_is_down_for_an_hour_loses_nothing():
    """The last state of each run arrives once, in the order of the runs."""
    world = World()
    world.notifier()
    world.receiver.script = [Retry(message="HTTP status 503")] * 63
    async with world.leading():
        jobs = [world.cluster.job(world.trigger, number, commit=c, age_s=number) for number, c in ((1, A), (2, B))]
        for job in jobs:
            world.happened(job, JobQueued)
            world.finish(job)
        await asyncio.sleep(600)
        assert world.receiver.states == []
        assert world.condition()[:2] == ("False", "DeliveryFailing")
        assert world.cluster.series("notifications_pending{") == 2
        assert world.cluster.series("notifications_oldest_pending_seconds{") > 590
        await asyncio.sleep(3600)
        sent = [(state, commit) for _, state, commit, answer in world.receiver.got if answer == "Accepted"]
        assert sent == [("Succeeded", A), ("Succeeded", B)]
        assert world.condition()[0] == "True"
        assert world.cluster.series("notifications_pending{") == 0


@virtual
async def test_the_time_that_a_receiver_names_is_waited_for():
    """429 with Retry-After: no request before."""
    world = World()
    world.notifier()
    world.receiver.script = [Retry(message="HTTP status 429", after_s=300.0)]
    async with world.leading():
        job = world.cluster.job(world.trigger)
        world.happened(job, JobQueued)
        await asyncio.sleep(290)
        assert len(world.receiver.got) == 1
        await until(lambda: world.receiver.states == ["Queued"], within_s=15)


@virtual
async def test_a_refused_message_is_a_condition_and_is_sent_again_only_when_the_notifier_changes():
    """401 once: no request for hours, then one with the new spec."""
    world = World()
    notifier = world.notifier()
    world.receiver.script = [Refused(message="HTTP status 401: renew the token")]
    async with world.leading():
        job = world.cluster.job(world.trigger)
        world.happened(job, JobQueued)
        await asyncio.sleep(3600)
        assert len(world.receiver.got) == 1
        assert world.condition() == ("False", "DeliveryRefused", "HTTP status 401: renew the token")
        assert world.mark(job) == f"{notifier['metadata']['uid']}=!Queued@1"
        world.cluster.change(Ref("Notifier", "n", "status"), spec={"targetUrl": "https://ci.example/{run}"})
        await until(lambda: world.receiver.states == ["Queued"])
        await until(lambda: world.condition()[0] == "True")


@virtual
async def test_a_receiver_that_hangs_delays_no_other():
    """The messages of another Notifier arrive."""
    world = World()
    world.notifier("stuck", WEBHOOK)
    world.notifier("status")
    world.receiver.hangs = {"stuck"}
    async with world.leading():
        job = world.cluster.job(world.trigger)
        world.finish(job)
        await until(lambda: world.receiver.states == ["Succeeded"])


@pytest.mark.parametrize("after_request", [False, True])
@virtual
async def test_a_crash_loses_no_message_and_repeats_at_most_one(after_request):
    """Killed before the request, or between the answer and the write of the mark."""
    world = World()
    world.notifier()
    world.cluster.latency_s = 10.0
    async with world.leading():
        job = world.cluster.job(world.trigger)
        world.finish(job)
        if after_request:
            await until(lambda: world.receiver.got != [])
    assert world.mark(job) is None
    world.cluster.latency_s = 0.001
    world.notifications = world.new()
    async with world.leading():
        await until(lambda: (world.mark(job) or "").endswith("=Succeeded"))
        await asyncio.sleep(120)
    assert world.receiver.states == ["Succeeded"] * (1 + after_request)


@virtual
async def test_a_replica_that_is_no_longer_the_leader_sends_nothing():
    """The fence is checked before each request."""
    world = World()
    world.notifier()
    async with world.leading():
        world.fence.lost = True
        job = world.cluster.job(world.trigger)
        world.happened(job, JobQueued)
        await asyncio.sleep(60)
    assert world.receiver.got == []


@pytest.mark.parametrize(("result", "why"), [("Superseded", "superseded by a newer run"), ("Deleted", None)])
@virtual
async def test_a_deleted_job_is_reported_as_cancelled(result, why):
    """Its status does not stay pending."""
    world = World()
    world.notifier()
    async with world.leading():
        job = world.cluster.job(world.trigger)
        world.happened(job, JobQueued)
        await until(lambda: world.receiver.states == ["Queued"])
        run = RunJob.of(*found(world, job), world.cluster.store)
        world.cluster.drop(world.cluster.ref(job))
        world.notifications.observe(JobEnded(run=run, result=result))
        await until(lambda: world.receiver.states == ["Queued", "Cancelled"])


@virtual
async def test_a_run_that_succeeded_is_not_cancelled_by_the_deletion_of_its_trigger():
    """Its message waits for the receiver when the trigger is deleted."""
    world = World()
    world.notifier("hook", WEBHOOK, events=["Started", "Succeeded", "Cancelled"])
    async with world.leading():
        job = world.cluster.job(world.trigger)
        world.start(job)
        await until(lambda: world.receiver.states == ["Started"])
        world.receiver.script = [Retry(message="down", after_s=100.0)]
        world.finish(job)
        await asyncio.sleep(50)
        world.cluster.drop(Ref("WebhookTrigger", "n", "hook"))
        await asyncio.sleep(300)
    assert world.receiver.states == ["Started", "Succeeded"]


@virtual
async def test_runs_whose_end_is_not_reported_are_not_kept_in_memory():
    """A Notifier of starts alone has nothing to correct once a run has ended."""
    world = World()
    world.notifier("hook", WEBHOOK, events=["Started"])
    async with world.leading():
        for number in range(1, 9):
            job = world.cluster.job(world.trigger, number)
            world.start(job)
            await until(lambda count=number: len(world.receiver.states) == count)
            world.finish(job)
        await asyncio.sleep(60)
        assert [lane for lane in world.notifications.__dict__["_lanes"].values() if lane.unfinished] == []


def found(world, job):
    snapshot = world.cluster.store.get(world.cluster.ref(job))
    return snapshot, owner_of(snapshot, world.cluster.store)


@virtual
async def test_an_older_run_does_not_overwrite_the_status_of_a_newer_one_of_the_same_commit():
    """A retry is queued before the failure could be sent: only the retry's state is sent."""
    world = World()
    world.notifier()
    world.receiver.script = [Retry(message="HTTP status 503")] * 5
    async with world.leading():
        first = world.cluster.job(world.trigger, 1)
        world.finish(first, "Failed")
        second = world.cluster.job(world.trigger, 2, age_s=60)
        world.happened(second, JobQueued)
        await until(lambda: world.receiver.states == ["Queued"], within_s=120)
        await asyncio.sleep(120)
    assert world.receiver.states == ["Queued"]


@virtual
async def test_runs_that_ended_before_the_notifier_was_created_are_not_reported():
    """A new Notifier sends no flood about the past."""
    world = World()
    job = world.cluster.job(world.trigger)
    world.cluster.finish(job)
    await asyncio.sleep(60)
    created = {"name": "late", "namespace": "n", "creationTimestamp": world.cluster.now().isoformat()}
    world.cluster.put({"kind": "Notifier", "metadata": created, "spec": STATUS})
    async with world.leading():
        await asyncio.sleep(120)
    assert world.receiver.got == []


@virtual
async def test_a_job_waits_for_its_last_message_an_hour_at_most():
    """It may have its TTL when the message is accepted, or an hour after its end."""
    world = World()
    world.notifier()
    world.receiver.script = [Retry(message="HTTP status 503")] * 1000

    def keeps(job):
        return world.notifications.keeps(world.cluster.store.get(world.cluster.ref(job)))

    async with world.leading():
        job = world.cluster.job(world.trigger)
        assert keeps(job)
        world.finish(job)
        await asyncio.sleep(3500)
        assert keeps(job)
        await asyncio.sleep(200)
        assert not keeps(job)
        world.receiver.script = []
        quick = world.cluster.job(world.trigger, 2, commit=B, age_s=3700)
        assert keeps(quick)
        world.finish(quick)
        await until(lambda: not keeps(quick), within_s=120)


@virtual
async def test_a_cluster_notifier_reports_the_namespaces_that_it_selects():
    """Labels of the namespace, and of the trigger."""
    world = World()
    world.cluster.put({"kind": "Namespace", "metadata": {"name": "n", "labels": {"team": "a"}}})
    chosen = {"namespaceSelector": {"matchLabels": {"team": "a"}}}
    world.notifier("all", WEBHOOK, "ClusterNotifier", triggers=chosen)
    world.notifier("other", WEBHOOK, "ClusterNotifier", triggers={"namespaceSelector": {"matchLabels": {"team": "b"}}})
    world.notifier("labelled", WEBHOOK, "ClusterNotifier", triggers={"selector": {"matchLabels": {"x": "y"}}})
    async with world.leading():
        world.finish(world.cluster.job(world.trigger))
        await asyncio.sleep(120)
    assert [name for name, *_ in world.receiver.got] == ["all"]


@virtual
async def test_a_secret_that_one_namespace_lacks_delays_no_other_namespace():
    """Where a ClusterNotifier takes the Secret of each namespace: else one would stop the messages of all."""
    world = World()
    world.notifier("all", WEBHOOK, "ClusterNotifier")
    other = world.elsewhere()
    good, send = [], world.receiver.send

    async def lacking(notifier, report):
        if report.trigger.namespace == "n":
            return Retry(message="Secret n/key does not exist", reason="SecretNotFound")
        good.append(report.trigger)
        return await send(notifier, report)

    world.notifications = Notifications(**world.parts | {"send": lacking})
    async with world.leading():
        world.finish(world.cluster.job(world.trigger))
        world.finish(world.cluster.job(other, namespace="m"))
        await until(lambda: len(good) == 1, within_s=300)


@virtual
async def test_a_message_that_a_receiver_cannot_take_delays_no_other_trigger():
    """As a forge that answers 500 for one repository: the others follow immediately, those of the trigger in order."""
    world = World()
    world.notifier()
    other = world.cluster.trigger(name="other", status=recorded(runs=9))
    send, broken = world.receiver.send, [True]

    async def answers(notifier, report):
        if broken[0] and report.trigger.name == "hook":
            return Retry(message="HTTP status 500")
        return await send(notifier, report)

    world.notifications = Notifications(**world.parts | {"send": answers})
    async with world.leading():
        for number, commit in ((1, A), (2, B)):
            world.finish(world.cluster.job(world.trigger, number, commit=commit))
        await asyncio.sleep(600)
        world.finish(world.cluster.job(other, commit=A))
        await until(lambda: world.receiver.states == ["Succeeded"], within_s=90)
        broken[0] = False
        await until(lambda: len(world.receiver.got) == 3, within_s=90)
    assert [commit for _, _, commit, _ in world.receiver.got] == [A, A, B]


@virtual
async def test_receivers_of_one_namespace_that_hang_delay_no_other_namespace():
    """However many Notifiers it has: it uses a part of the requests that are sent at a time."""
    world = World()
    for number in range(20):
        world.notifier(f"own-{number}", WEBHOOK)
        world.receiver.hangs.add(f"own-{number}")
    other = world.elsewhere()
    world.notifier("theirs", WEBHOOK, namespace="m")
    async with world.leading():
        world.finish(world.cluster.job(world.trigger))
        await asyncio.sleep(60)
        world.finish(world.cluster.job(other, namespace="m"))
        await until(lambda: [name for name, *_ in world.receiver.got] == ["theirs"], within_s=60)


@virtual
async def test_more_notifiers_than_a_job_has_room_for_repeat_no_message():
    """Those that are left out have a condition while there are so many; the cluster's is not left out."""
    world = World()
    for number in range(130):
        world.notifier(f"own-{number}", WEBHOOK)
    world.notifier("all", WEBHOOK, "ClusterNotifier")
    async with world.leading():
        world.finish(world.cluster.job(world.trigger))
        await asyncio.sleep(300)
        limited = {ref.name for ref in world.cluster.objects if ref.kind == "Notifier" and world.limited(ref.name)}
        names = [name for name, *_ in world.receiver.got]
        for number in range(110):
            world.cluster.drop(Ref("Notifier", "n", f"own-{number}"))
        await asyncio.sleep(60)
        assert not any(world.limited(f"own-{number}") for number in range(110, 130))
    assert "all" in names
    assert len(names) == len(set(names)) == 25
    assert len(limited) == 106
    assert limited.isdisjoint(names)


@virtual
async def test_a_bug_in_one_message_ends_no_other():
    """It is logged, and the message is tried again."""
    world = World()
    world.notifier()
    world.receiver.script = [RuntimeError("a bug")]
    async with world.leading():
        world.finish(world.cluster.job(world.trigger))
        await until(lambda: world.receiver.states == ["Succeeded"], within_s=60)


@virtual
async def test_the_series_of_a_notifier_end_with_it():
    """Nothing is left of a deleted one."""
    world = World()
    world.notifier()
    async with world.leading():
        world.finish(world.cluster.job(world.trigger))
        await until(lambda: world.cluster.series("notifications_sent_total{") == 1)
        world.cluster.drop(Ref("Notifier", "n", "status"))
        await until(lambda: b'notifier_name="status"' not in world.cluster.metrics.render(), within_s=60)
