"""What one tenant changes or has due touches no other tenant's triggers, and lets the rest of the program work."""

import asyncio
import time
from collections import Counter
from datetime import timedelta

from git_events_runner.flow.checks import gate as gate_module
from git_events_runner.resources.kinds import TRIGGERS as TRIGGER_KINDS
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.policy import Policy
from tests.flow.busy import reading_slowly, work_for_a_slice
from tests.flow.test_reconciler import reconciling
from tests.flow.test_scheduler import scheduling
from tests.flow.virtual import at, until, virtual
from tests.flow.world import START, Cluster, recorded

TRIGGERS = 300


def estate(*, schedule=None, each_its_repository=False):
    """A cluster with many triggers of the tenant `evil`, and one of `good`."""
    cluster = Cluster()
    cluster.policy = Policy(minimum_interval_s=2)
    for namespace, names in (("evil", [f"t{number}" for number in range(TRIGGERS)]), ("good", ["clock"])):
        for name in names:
            source = name if each_its_repository else "app"
            place = {"namespace": namespace}
            cluster.put({"kind": "GitRepo", "metadata": {"name": source} | place, "spec": {"repoUri": "https://x/a"}})
            due = schedule or ({"interval": "5s"} if namespace == "good" else {"cron": "0 3 * * *"})
            spec = {"sources": {"names": [source]}, "action": {"kind": "Action", "name": "build"}, "schedule": due}
            cluster.put({"kind": "ScheduleTrigger", "metadata": {"name": name} | place, "spec": spec})
        cluster.put({"kind": "Action", "metadata": {"name": "build"} | place, "spec": {"actionJob": {}}})
    return cluster


def counting(monkeypatch, owner, name):
    """The arguments of each call of a function, which goes on as before."""
    calls, real = [], getattr(owner, name)

    def called(*args, **more):
        calls.append(args)
        return real(*args, **more)

    monkeypatch.setattr(owner, name, called)
    return calls


def relabel(cluster, namespace="evil", name="t7", *, kind="GitRepo"):
    ref = Ref(kind, namespace, name)
    body = cluster.objects[ref]
    labels = {"changed": str(at())}
    cluster.put(body | {"metadata": body["metadata"] | {"labels": labels}})


def edit(cluster, namespace="evil", name="t7", *, kind="GitRepo", **spec):
    """Another spec: a new generation."""
    cluster.change(Ref(kind, namespace, name), spec=spec or {"repoUri": f"https://x/{at()}"})


def test_a_changed_source_is_read_by_the_triggers_that_name_it_alone(monkeypatch):
    """One edit of one GitRepo costs the scheduler one trigger, however many others there are."""

    @virtual
    async def check():
        cluster = estate(each_its_repository=True)
        read = counting(monkeypatch, cluster.gate, "schedule_of")
        async with scheduling(cluster):
            await asyncio.sleep(1)
            assert len(read) == TRIGGERS + 1
            read.clear()
            edit(cluster)
            await asyncio.sleep(1)
            assert len(read) == 1

    check()


def test_labels_and_statuses_are_not_read_by_the_scheduler(monkeypatch):
    """Nothing in them concerns a schedule: statuses are written with each check."""

    @virtual
    async def check():
        cluster = estate()
        read = counting(monkeypatch, cluster.gate, "schedule_of")
        async with scheduling(cluster):
            await asyncio.sleep(1)
            read.clear()
            relabel(cluster, name="app")
            relabel(cluster, kind="ScheduleTrigger")
            cluster.change(Ref("ScheduleTrigger", "evil", "t8"), status={"deliveries": "x"})
            await asyncio.sleep(1)
            assert read == []
            edit(cluster, name="t9", kind="ScheduleTrigger", schedule={"interval": "7s"})
            await asyncio.sleep(1)
            assert [(namespace, interval) for namespace, interval, _ in read] == [("evil", "7s")]

    check()


def test_what_changes_while_a_leader_begins_is_read(monkeypatch):
    """A trigger that is deleted is not checked, an edited one by its new schedule, and one that comes is checked."""

    @virtual
    async def check():
        cluster = Cluster()
        for number in range(4):
            cluster.trigger("ScheduleTrigger", f"t{number}", schedule={"interval": "5s"})
        reading_slowly(monkeypatch, cluster)
        async with scheduling(cluster):
            for _ in range(3):
                await asyncio.sleep(0)
            cluster.drop(Ref("ScheduleTrigger", "n", "t0"))
            edit(cluster, "n", "t1", kind="ScheduleTrigger", schedule={"interval": "1y"})
            cluster.trigger("ScheduleTrigger", "t4", schedule={"interval": "5s"})
            assert cluster.asked == []
            await asyncio.sleep(20)
        checks = Counter(request.trigger.name for _, request in cluster.asked)
        assert checks["t0"] == 0
        assert checks["t1"] == 1
        assert min(checks[name] for name in ("t2", "t3", "t4")) >= 4

    check()


@virtual
async def test_no_time_ahead_is_submitted_once_the_clock_is_set_back():
    """Of many that were due by the clock of before, those that wait for their turn are planned by the clock of now."""
    cluster = Cluster()
    status = recorded(answeredAt=(START + timedelta(hours=3)).isoformat())
    for number in range(10):
        cluster.trigger("ScheduleTrigger", f"t{number}", schedule={"cron": "*/30 * * * * *"}, status=status)
    cluster.offset = timedelta(hours=3)
    submit, ahead = cluster.submit, []

    def slowly(request):
        work_for_a_slice()
        submit(request)
        cluster.offset = timedelta()
        ahead.append(request.scheduled > cluster.now())

    cluster.submit = slowly
    async with scheduling(cluster):
        await asyncio.sleep(100)
    assert ahead[0]
    assert not any(ahead[1:])
    assert set(Counter(request.trigger.name for _, request in cluster.asked[1:]).values()) == {2}


def test_a_schedule_is_validated_once_for_each_text_and_policy(monkeypatch):
    """Looking for due times that are too near costs 10 ms a schedule; it is done again when the minimum changes."""

    @virtual
    async def check():
        cluster = estate()
        validated = counting(monkeypatch, gate_module, "too_often")
        async with scheduling(cluster), reconciling(cluster):
            await asyncio.sleep(1)
            assert len(validated) == 2
            for _ in range(5):
                edit(cluster, name="app")
                await asyncio.sleep(1)
            assert len(validated) == 2
            cluster.policy = Policy(minimum_interval_s=3)
            await asyncio.sleep(10)
            assert len(validated) == 4

    check()


def test_a_changed_object_is_reconciled_for_the_triggers_that_name_it_alone(monkeypatch):
    """Of sources, actions and namespaces; also of the source that an action clones instead."""

    @virtual
    async def check():
        cluster = estate(each_its_repository=True)
        place = {"namespace": "evil"}
        override = {"kind": "GitRepo", "name": "t9", "reference": {"branch": "main"}}
        action = {"kind": "Action", "metadata": {"name": "other"} | place, "spec": {"sourceOverride": override}}
        cluster.put(action)
        cluster.change(Ref("ScheduleTrigger", "evil", "t8"), spec={"action": {"kind": "Action", "name": "other"}})
        async with reconciling(cluster):
            await asyncio.sleep(5)
            resolved = counting(monkeypatch, cluster.gate, "resolve")

            async def concerned(change):
                resolved.clear()
                change()
                await asyncio.sleep(3)
                return Counter(trigger.ref.name for trigger, _ in resolved)

            assert await concerned(lambda: edit(cluster)) == {"t7": 1}
            assert await concerned(lambda: edit(cluster, name="t9")) == {"t8": 1, "t9": 1}
            variables = {"actionJob": {"variables": {"a": "b"}}}
            assert await concerned(lambda: edit(cluster, name="other", kind="Action", **variables)) == {"t8": 1}
            assert await concerned(lambda: edit(cluster, "good", "build", kind="Action", **variables)) == {"clock": 1}
            space = {"kind": "Namespace", "metadata": {"name": "good"}}
            assert await concerned(lambda: cluster.put(space)) == {"clock": 1}
            assert await concerned(lambda: relabel(cluster, None, "good", kind="Namespace")) == {"clock": 1}
            gone = Ref("ScheduleTrigger", "evil", "t7")
            assert await concerned(lambda: cluster.drop(gone)) == {}
            assert await concerned(lambda: edit(cluster)) == {}

    check()


def test_labels_and_statuses_of_what_triggers_name_are_not_read(monkeypatch):
    """A label of a shared Action, or a host key in the status of a GitRepo, costs nothing."""

    @virtual
    async def check():
        cluster = estate()
        cluster.put({"kind": "Namespace", "metadata": {"name": "evil"}})
        async with reconciling(cluster):
            await asyncio.sleep(60)
            resolved = counting(monkeypatch, cluster.gate, "resolve")
            relabel(cluster, name="build", kind="Action")
            relabel(cluster, name="app")
            cluster.change(Ref("GitRepo", "evil", "app"), status={"hostKeys": ["x"]})
            cluster.change(Ref("Namespace", None, "evil"), status={"phase": "Active"})
            await asyncio.sleep(60)
            assert resolved == []

    check()


def test_what_changes_while_all_triggers_are_noted_is_reconciled_as_it_is(monkeypatch):
    """A deleted trigger is left out, one that was re-created gets its own conditions, and a deletion concerns all."""

    @virtual
    async def check():
        cluster = Cluster()
        cluster.surroundings()
        names = [f"t{number}" for number in range(4)]
        for name in names:
            cluster.trigger("ScheduleTrigger", name)
        reading_slowly(monkeypatch, cluster)

        async def meanwhile():
            for _ in range(4):
                await asyncio.sleep(0)
            assert cluster.made("write") == []
            cluster.drop(Ref("ScheduleTrigger", "n", "t0"))
            cluster.drop(Ref("ScheduleTrigger", "n", "t1"))
            cluster.trigger("ScheduleTrigger", "t1")
            cluster.drop(Ref("Action", "n", "build"))

        changes = asyncio.ensure_future(meanwhile())
        async with reconciling(cluster):
            await asyncio.sleep(60)
        await changes
        found = {ref.name: obj["status"]["state"] for ref, obj in cluster.objects.items() if ref.kind in TRIGGER_KINDS}
        assert found == dict.fromkeys(names[1:], "WrongConfig")

    check()


def test_reading_many_triggers_lets_others_work(monkeypatch):
    """Neither the scheduler nor the reconciler holds the loop while it reads what cost 5 ms each."""

    @virtual
    async def check():
        cluster = estate()
        async with reconciling(cluster):
            await asyncio.sleep(60)  # from now on nothing is to be written, which would let others work
        real, read, turns = cluster.gate.schedule_of, [], []

        def slow(*args):
            read.append(len(turns))
            end = time.monotonic() + 0.005
            while time.monotonic() < end:
                pass
            return real(*args)

        async def others():
            while len(read) <= TRIGGERS:
                turns.append(None)
                await asyncio.sleep(0)

        monkeypatch.setattr(cluster.gate, "schedule_of", slow)
        for leading in (scheduling, reconciling):
            read.clear()
            task = asyncio.ensure_future(others())
            async with leading(cluster):
                await task
            assert max(Counter(read).values()) <= 5

    check()


@virtual
async def test_due_times_of_one_namespace_are_submitted_in_turn_with_those_of_another():
    """Of 301 that are due at one moment the neighbour's one is among the first two."""
    cluster = estate(schedule={"cron": "*/5 * * * * *"})
    async with scheduling(cluster):
        await asyncio.sleep(33)
    moments = {}
    for _, request in cluster.asked:
        moments.setdefault(request.due_at, []).append(request.trigger.namespace)
    whole = [names for names in moments.values() if len(names) == TRIGGERS + 1]
    assert len(whole) >= 5
    assert all(names.index("good") <= 1 for names in whole)


@virtual
async def test_a_namespace_with_many_changes_does_not_delay_what_another_changes():
    """Its triggers are reconciled in turn with the others', whose conditions come within a moment."""
    cluster = estate()
    cluster.latency_s = 0.05
    async with reconciling(cluster):
        await asyncio.sleep(60)
        cluster.drop(Ref("Action", "evil", "build"))
        await asyncio.sleep(1)
        cluster.drop(Ref("Action", "good", "build"))
        dropped = at()
        good = Ref("ScheduleTrigger", "good", "clock")

        def stalled():
            found = cluster.objects[good].get("status", {}).get("conditions", ())
            return any(one["type"] == "Stalled" and one["status"] == "True" for one in found)

        await until(stalled)
        assert at() - dropped <= 1
