"""Cancelled runs end with a final message: whatever deleted their Jobs, and wherever the leader was killed."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from git_events_runner.concurrency.fairness import equal
from git_events_runner.errors import ApiForbidden, ApiUnavailable
from git_events_runner.flow.jobs.results import Results
from git_events_runner.flow.notifications import Notifications
from git_events_runner.resources.job import NOTIFIED_ANNOTATION as MARKS
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.notifications.request import Refused, Retry
from git_events_runner.wiring.live_triggers import LiveTriggers
from tests.flow.test_concurrency import STARTED, limited
from tests.flow.test_notifications import STATUS, WEBHOOK, Receiver
from tests.flow.test_queue import queue_of
from tests.flow.virtual import VirtualLoop, until, virtual
from tests.flow.world import START, A, B, Cluster, Fence, deletions_of, recorded, tracking_of

C = "c" * 40
COMMITS = {1: A, 2: B, 3: C}
REF = Ref("WebhookTrigger", "n", "hook")
NOTIFIER = Ref("Notifier", "n", "status")


class Killed:
    """Counts the steps of a leader, each before or after a request, and stops it for good at number `at`."""

    def __init__(self, at=None):
        self.at, self.count, self.happened = at, 0, asyncio.Event()

    async def step(self):
        self.count += 1
        if self.happened.is_set() or self.count == self.at:
            self.happened.set()
            await asyncio.Event().wait()


class Api:
    """The cluster's API with a step before and after each write."""

    def __init__(self, cluster, killed):
        self._cluster, self._killed = cluster, killed

    def __getattr__(self, name):
        return getattr(self._cluster, name)

    async def _do(self, call):
        await self._killed.step()
        answer = await call()
        await self._killed.step()
        return answer

    async def patch(self, *args, **options):
        return await self._do(lambda: self._cluster.patch(*args, **options))

    async def delete(self, *args, **options):
        return await self._do(lambda: self._cluster.delete(*args, **options))

    async def write(self, *args):
        return await self._do(lambda: self._cluster.write(*args))


class Installation:
    """A trigger whose first run runs, while others wait; and what ends those that run."""

    def __init__(self, policy="QueueLatest", *, runs=3, notifiers=(STATUS,), first_runs=True):
        self.cluster, self.receiver, self.fence = Cluster(), Receiver(), Fence()
        self.cluster.surroundings()
        self.cluster.trigger(status=recorded(runs=runs))
        for spec in notifiers:
            name = "status" if spec["type"] == "commit-status" else "hook"
            metadata = {"name": name, "namespace": "n", "creationTimestamp": START.isoformat()}
            self.cluster.put({"kind": "Notifier", "metadata": metadata, "spec": spec})
        trigger = self.cluster.objects[REF]
        self.jobs = {
            n: self.cluster.job(
                trigger, n, age_s=n, suspend=not (first_runs and n == 1), commit=COMMITS[n], **limited(policy)
            )
            for n in range(1, runs + 1)
        }
        if first_runs:
            self.cluster.change(self.ref(1), status=STARTED)
        last = {"name": self.jobs[runs]["metadata"]["name"], "phase": "Queued", "commit": COMMITS[runs]}
        self.cluster.change(REF, status=recorded(runs=runs, lastJob=last, commit=COMMITS[runs]))

    def ref(self, number):
        return self.cluster.ref(self.jobs[number])

    def parts(self, killed):
        cluster, api = self.cluster, Api(self.cluster, killed)

        async def send(notifier, report):
            await killed.step()
            verdict = await self.receiver.send(notifier, report)
            await killed.step()
            return verdict

        notifications = Notifications(
            api=api,
            store=cluster.store,
            send=send,
            close=self.receiver.close,
            announcer=cluster,
            metrics=cluster.metrics.notifications,
            request_timeout_s=5.0,
            now=cluster.now,
            weight=equal,
        )
        deletions = deletions_of(api, notifications)
        results = Results(
            api=api,
            store=cluster.store,
            writer=api,
            observers=(notifications,),
            submit=cluster.submit,
            deleted_as=deletions.phase_of,
            job_deleted=tracking_of(cluster).is_deleted,
            trigger_deleted=LiveTriggers(reader=cluster, store=cluster.store).is_deleted,
            most_retries=lambda: 10,
            messages=notifications,
            request_timeout_s=5.0,
            now=cluster.now,
            weight=equal,
        )
        return queue_of(api, limit=9, deletions=deletions), results, notifications

    @asynccontextmanager
    async def leader(self, killed=None):
        """A replica that is the leader while entered."""
        parts = self.parts(killed or Killed())
        tasks = [asyncio.ensure_future(part.run_as_leader(self.fence)) for part in parts]
        try:
            yield
            assert not any(task.done() for task in tasks), [task for task in tasks if task.done()]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def end_runs(self):
        """Play kubelet and Job controller."""
        while True:
            await asyncio.sleep(5)
            for ref, job in list(self.cluster.objects.items()):
                if ref.kind != "Job":
                    continue
                if job["metadata"].get("deletionTimestamp"):
                    self.cluster.drop(ref)
                elif not job["spec"]["suspend"] and not (job.get("status") or {}).get("conditions"):
                    when = self.cluster.now().isoformat()
                    condition = {"type": "Complete", "status": "True", "lastTransitionTime": when}
                    self.cluster.change(ref, status={"startTime": when, "conditions": [condition]})

    def states(self, commit, name="status"):
        """What the receiver accepted about a commit, oldest first."""
        return [s for by, s, c, answer in self.receiver.got if (by, c, answer) == (name, commit, "Accepted")]

    def finals(self):
        return {number: (self.states(commit) or [None])[-1] for number, commit in COMMITS.items()}

    def recorded_cancellations(self):
        return (self.cluster.objects[NOTIFIER].get("status") or {}).get("cancelled") or []


@asynccontextmanager
async def beside(work):
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("policy", ["QueueLatest", "Replace"])
def test_a_leader_that_is_killed_between_any_two_steps_leaves_no_status_pending(policy):
    """Before and after every request of the leader: final and true statuses, and at most one message twice."""
    wanted = {
        "QueueLatest": {1: "Succeeded", 2: "Cancelled", 3: "Succeeded"},
        "Replace": {1: "Cancelled", 2: "Cancelled", 3: "Succeeded"},
    }[policy]
    at, was_killed = 0, True

    async def killed_at(number):
        installation, killed = Installation(policy), Killed(number)
        async with beside(installation.end_runs()):
            async with installation.leader(killed):
                waits = {asyncio.ensure_future(killed.happened.wait()), asyncio.ensure_future(asyncio.sleep(200))}
                _, left = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                for task in left:
                    task.cancel()
            async with installation.leader():
                await until(lambda: installation.finals() == wanted, within_s=200)
                await asyncio.sleep(120)
        assert installation.finals() == wanted
        sent = [(state, commit) for _, state, commit, _ in installation.receiver.got]
        assert len(sent) - len(set(sent)) <= 1
        assert all(len(set(installation.states(commit))) <= 3 for commit in COMMITS.values())
        return killed.happened.is_set()

    while was_killed:
        at += 1
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            was_killed = runner.run(killed_at(at))
    assert at > 20


@pytest.mark.parametrize("seen", [True, False])
@virtual
async def test_a_job_that_is_deleted_while_there_is_no_leader_is_reported_as_cancelled(seen):
    """By what its replica saw last of it; without that by the trigger's status."""
    installation = Installation(runs=1)
    async with installation.leader():
        await until(lambda: installation.states(A) == ["Started"])
        await asyncio.sleep(5)
    uid = installation.jobs[1]["metadata"]["uid"]
    installation.cluster.drop(installation.ref(1))
    if not seen:
        installation.cluster.store._deleted._last.pop(uid)  # as in a replica that has started since
    async with installation.leader():
        await until(lambda: installation.states(A) == ["Started", "Cancelled"], within_s=200)
        await asyncio.sleep(120)
    async with installation.leader():
        await asyncio.sleep(120)
    assert installation.states(A) == ["Started", "Cancelled"]


@virtual
async def test_a_cancellation_waits_for_its_receiver_over_a_change_of_the_leader():
    """An hour without a receiver, and three leaders: one message for each Notifier."""
    installation = Installation(notifiers=(STATUS, WEBHOOK))
    installation.receiver.script = [Retry(message="HTTP status 503")] * 1000
    async with beside(installation.end_runs()):
        for _ in range(3):
            async with installation.leader():
                await asyncio.sleep(1200)
        assert [one["commit"] for one in installation.recorded_cancellations()] == [B]
        installation.receiver.script = []
        async with installation.leader():
            await until(lambda: installation.states(B) == ["Cancelled"], within_s=300)
            await until(lambda: installation.states(B, "hook") == ["Cancelled"], within_s=300)
            await asyncio.sleep(60)
    assert installation.states(B) == installation.states(B, "hook") == ["Cancelled"]


@virtual
async def test_the_record_of_a_cancellation_is_removed_when_the_next_one_is_written():
    """Ten minutes after its message, so that the status does not grow."""
    installation = Installation()
    async with beside(installation.end_runs()), installation.leader():
        await until(lambda: installation.states(B)[-1:] == ["Cancelled"])
        await asyncio.sleep(700)
        trigger = installation.cluster.objects[REF]
        job = installation.cluster.job(trigger, 3, commit="d" * 40, suspend=False, age_s=900)
        await asyncio.sleep(1)
        installation.cluster.drop(installation.cluster.ref(job))
        await until(lambda: installation.states("d" * 40)[-1:] == ["Cancelled"])
        await asyncio.sleep(5)
    assert [one["commit"] for one in installation.recorded_cancellations()] == ["d" * 40]


@virtual
async def test_a_refused_cancellation_is_sent_again_when_the_notifier_changes():
    """As any other message."""
    installation = Installation()
    installation.receiver.script = [Refused(message="HTTP status 401")] * 9
    async with beside(installation.end_runs()), installation.leader():
        await asyncio.sleep(600)
        assert installation.states(B) == []
        installation.receiver.script = []
        installation.cluster.change(NOTIFIER, spec={"targetUrl": "https://ci.example/{run}"})
        await until(lambda: installation.states(B) == ["Cancelled"], within_s=100)


@virtual
async def test_a_run_whose_trigger_is_deleted_is_reported_as_cancelled():
    """No status stays pending, though the Job is not followed any more."""
    installation = Installation(runs=1)
    async with installation.leader():
        await until(lambda: installation.states(A) == ["Started"])
        installation.cluster.drop(REF)
        await until(lambda: installation.states(A) == ["Started", "Cancelled"], within_s=100)
        await asyncio.sleep(120)
    assert installation.states(A) == ["Started", "Cancelled"]


@pytest.mark.parametrize("ended", [False, True])
@virtual
async def test_a_run_whose_trigger_is_deleted_while_there_is_no_leader_is_reported_as_cancelled_once(ended):
    """By what its Job records, whether that has ended by then or not; no later leader sends it again."""
    installation = Installation(runs=1)
    async with installation.leader():
        await until(lambda: installation.states(A) == ["Started"])
        await asyncio.sleep(5)
    installation.cluster.drop(REF)
    if ended:
        installation.cluster.finish(installation.jobs[1])
    for _ in range(3):
        async with installation.leader():
            await asyncio.sleep(900)
    assert installation.states(A) == ["Started", "Cancelled"]


@virtual
async def test_a_job_that_a_user_wrote_changes_no_status_of_a_trigger_that_exists():
    """Under the name of a trigger and with the mark of a Notifier, but of no run of it."""
    installation = Installation(runs=1)
    uid = installation.cluster.objects[NOTIFIER]["metadata"]["uid"]
    former = {**installation.cluster.objects[REF], "metadata": {**installation.cluster.objects[REF]["metadata"]}}
    former["metadata"]["uid"] = "another"
    forged = installation.cluster.job(former, 9, commit=C, suspend=False)
    ref = installation.cluster.ref(forged)
    installation.cluster.change(
        ref, metadata={"annotations": {**forged["metadata"]["annotations"], MARKS: f"{uid}=Started"}}
    )
    async with installation.leader():
        await asyncio.sleep(600)
        assert installation.states(C) == []
        installation.cluster.drop(REF)
        await until(lambda: installation.states(C) == ["Cancelled"], within_s=100)


@pytest.mark.parametrize(("team", "states"), [("a", ["Cancelled"]), ("b", [])])
@virtual
async def test_a_job_that_a_user_wrote_is_not_reported_to_a_notifier_of_other_namespaces(team, states):
    """With the mark of a ClusterNotifier that does not select the namespace."""
    installation = Installation(runs=1)
    cluster = installation.cluster
    cluster.put({"kind": "Namespace", "metadata": {"name": "n", "labels": {"team": "a"}}})
    chosen = {"namespaceSelector": {"matchLabels": {"team": team}}}
    metadata = {"name": "all", "creationTimestamp": START.isoformat()}
    everywhere = cluster.put({"kind": "ClusterNotifier", "metadata": metadata, "spec": {**STATUS, "triggers": chosen}})
    deleted = {**cluster.objects[REF], "metadata": {**cluster.objects[REF]["metadata"], "uid": "another"}}
    forged = cluster.job(deleted, 9, commit=C, suspend=False)
    marks = {**forged["metadata"]["annotations"], MARKS: f"{everywhere['metadata']['uid']}=Started"}
    cluster.change(cluster.ref(forged), metadata={"annotations": marks})
    cluster.drop(REF)
    async with installation.leader():
        await asyncio.sleep(600)
    assert installation.states(C, "all") == states


@virtual
async def test_a_cancelled_run_that_was_reported_is_not_reported_again_by_the_status_of_its_trigger():
    """The former leader was killed before it recorded the deletion there: the next one finds the record."""
    installation = Installation(runs=1)
    async with installation.leader():
        await until(lambda: installation.states(A) == ["Started"])
        installation.cluster.drop(installation.ref(1))
        await until(lambda: installation.states(A) == ["Started", "Cancelled"], within_s=100)
        await until(lambda: any("mark" in one for one in installation.recorded_cancellations()), within_s=100)
    last = {"name": installation.jobs[1]["metadata"]["name"], "phase": "Running", "commit": A}
    installation.cluster.change(REF, status=recorded(runs=1, lastJob=last, commit=A))
    installation.cluster.store._deleted._last.clear()
    async with installation.leader():
        await asyncio.sleep(300)
    assert installation.states(A) == ["Started", "Cancelled"]


@pytest.mark.parametrize(("error", "deleted"), [(ApiForbidden("no role"), True), (ApiUnavailable("no answer"), False)])
@virtual
async def test_a_record_that_is_refused_delays_no_run_and_one_without_an_answer_is_tried_again(error, deleted):
    """A missing role is logged; the Job is deleted. Without an answer the Job stays."""
    installation = Installation()
    _, _, notifications = installation.parts(Killed())
    job = installation.cluster.store.get(installation.ref(2))
    installation.cluster.faults = [("before", error)]
    try:
        await notifications.cancelling(job, "Superseded")
    except ApiUnavailable:
        assert not deleted
    else:
        assert deleted


@virtual
async def test_without_a_notifier_a_deletion_costs_no_request():
    """Nothing is recorded."""
    installation = Installation(notifiers=())
    async with beside(installation.end_runs()), installation.leader():
        await until(lambda: installation.ref(2) not in installation.cluster.objects)
        await asyncio.sleep(60)
    assert not [call for call in installation.cluster.made("patch") if call[1].kind == "Notifier"]
    assert installation.receiver.got == []
