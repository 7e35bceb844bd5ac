"""The leader's look at specs: conditions for what is missing, entries of sources that are gone, open requests."""

import asyncio
from contextlib import asynccontextmanager

from git_events_runner.concurrency.fairness import equal
from git_events_runner.errors import ApiUnavailable
from git_events_runner.flow.checks.open_requests import OpenRequests
from git_events_runner.flow.reconciler import Reconciler
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.ledger.report import Problem, Report, Warn
from git_events_runner.rules.reconciled import FINALIZER
from tests.flow.virtual import until, virtual
from tests.flow.world import Cluster, Fence, recorded

REF = Ref("WebhookTrigger", "n", "hook")


@asynccontextmanager
async def reconciling(cluster):
    reconciler = Reconciler(
        api=cluster,
        store=cluster.store,
        gate=cluster.gate,
        writer=cluster,
        announcer=cluster,
        requests=OpenRequests(
            store=cluster.store, submit=cluster.submit, pending=lambda _uid, _source: False, now=cluster.now
        ),
        metrics=cluster.metrics,
        now=cluster.now,
        weight=equal,
    )
    task = asyncio.ensure_future(reconciler.run_as_leader(Fence()))
    await asyncio.sleep(0.5)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def conditions(cluster, ref=REF):
    found = (cluster.objects[ref].get("status") or {}).get("conditions") or ()
    return {c["type"]: (c["status"], c["reason"]) for c in found}


def state(cluster):
    return (cluster.objects[REF].get("status") or {}).get("state")


def two_sources():
    status = recorded()
    status["checkedSources"]["old"] = dict(status["checkedSources"]["app"], runs=4)
    return status


@virtual
async def test_what_is_missing_is_said_and_cleared_when_it_is_there():
    """WrongConfig and Stalled name the action; creating it is enough, without a check."""
    cluster = Cluster()
    cluster.surroundings()
    action = cluster.objects[Ref("Action", "n", "build")]
    cluster.drop(Ref("Action", "n", "build"))
    cluster.trigger()
    async with reconciling(cluster):
        await until(lambda: conditions(cluster).get("Stalled") == ("True", "ActionNotFound"))
        assert state(cluster) == "WrongConfig"
        cluster.faults.append(("before", ApiUnavailable("no answer")))
        cluster.put(action | {"metadata": {"name": "build", "namespace": "n"}})
        await until(lambda: "Stalled" not in conditions(cluster))
        assert (state(cluster), conditions(cluster)["Ready"]) == ("Idle", ("True", "Succeeded"))


@virtual
async def test_a_spec_made_invalid_and_valid_again_recovers_without_a_restart():
    """Stalled with the field, then Ready; other triggers are not touched."""
    cluster = Cluster()
    cluster.surroundings()
    cluster.trigger()
    async with reconciling(cluster):
        await until(lambda: conditions(cluster).get("Ready") == ("True", "Succeeded"))
        cluster.change(REF, spec={"sources": 5})
        await until(lambda: conditions(cluster).get("Stalled") == ("True", "InvalidSpec"))
        assert "spec.sources" in str(cluster.objects[REF]["status"]["conditions"])
        cluster.change(REF, spec={"sources": {"names": ["app"]}})
        await until(lambda: conditions(cluster).get("Ready") == ("True", "Succeeded"))
        assert "Stalled" not in conditions(cluster)


@virtual
async def test_nothing_is_written_when_nothing_changed():
    """Not at a new term, not at a status write, not by the sweep."""
    cluster = Cluster()
    cluster.surroundings()
    cluster.trigger()
    async with reconciling(cluster):
        await until(lambda: conditions(cluster))
    writes = len(cluster.made("write"))
    async with reconciling(cluster):
        cluster.change(REF, status={"lastRun": "2026-05-06T07:00:00Z"})
        await asyncio.sleep(600)
    assert len(cluster.made("write")) == writes


@virtual
async def test_entries_of_sources_that_are_gone_are_pruned():
    """Others are kept, and the highest number stays known."""
    cluster = Cluster()
    cluster.surroundings()
    cluster.trigger(status=two_sources())
    async with reconciling(cluster):
        await until(lambda: set(cluster.objects[REF]["status"]["checkedSources"]) == {"app"})
    assert cluster.objects[REF]["status"]["lastRunNumber"] == 4


@virtual
async def test_nothing_is_pruned_before_its_job_is_settled():
    """The number of a run that is not recorded yet must not be forgotten."""
    cluster = Cluster()
    cluster.surroundings()
    trigger = cluster.trigger(status=two_sources())
    cluster.job(trigger, 5, source="old")
    async with reconciling(cluster):
        await asyncio.sleep(60)
        assert "old" in cluster.objects[REF]["status"]["checkedSources"]
        status = two_sources()
        status["checkedSources"]["old"]["runs"] = 5
        cluster.change(REF, status=status)
        await until(lambda: "old" not in cluster.objects[REF]["status"]["checkedSources"])
    assert cluster.objects[REF]["status"]["lastRunNumber"] == 5


@virtual
async def test_an_entry_whose_unsettled_job_was_deleted_goes_with_the_next_change():
    """What was withheld is looked at again, whatever changes."""
    cluster = Cluster()
    cluster.surroundings()
    trigger = cluster.trigger(status=two_sources())
    job = cluster.job(trigger, 5, source="old")
    async with reconciling(cluster):
        await asyncio.sleep(60)
        cluster.drop(cluster.ref(job))
        cluster.change(REF, status={"deliveries": "x" * 11})
        await until(lambda: "old" not in cluster.objects[REF]["status"]["checkedSources"], within_s=30)


@virtual
async def test_requests_that_no_replica_handles_are_checked_within_fifteen_seconds():
    """Their replica died, or git was away."""
    cluster = Cluster()
    cluster.surroundings()
    trigger = cluster.trigger(status=recorded(requested=3, handled=2))
    async with reconciling(cluster):
        await until(lambda: cluster.asked, within_s=15)
        assert cluster.asked[0][1].uid == trigger["metadata"]["uid"]


@virtual
async def test_the_originals_finalizer_is_removed_and_others_stay():
    """Nobody else would ever remove it."""
    cluster = Cluster()
    cluster.surroundings()
    ref = Ref("ScheduleTrigger", "n", "every")
    cluster.trigger("ScheduleTrigger", "every")
    metadata = cluster.objects[ref]["metadata"] | {"finalizers": ["other.example/x", FINALIZER]}
    cluster.put(cluster.objects[ref] | {"metadata": metadata})
    async with reconciling(cluster):
        await until(lambda: cluster.objects[ref]["metadata"]["finalizers"] == ["other.example/x"])


@virtual
async def test_a_trigger_that_could_not_be_reconciled_is_tried_again():
    """Without waiting for its next change."""
    cluster = Cluster()
    cluster.surroundings()
    cluster.faults = [("before", ApiUnavailable("away"))] * 3
    cluster.trigger()
    async with reconciling(cluster):
        await until(lambda: conditions(cluster).get("Ready") == ("True", "Succeeded"), within_s=30)


@virtual
async def test_a_namespace_that_is_ignored_is_said_once_for_each_version():
    """A GitRepo's Secrets are read from its own namespace, as by the original."""
    cluster = Cluster()
    cluster.surroundings()
    ref = Ref("GitRepo", "n", "app")
    auth = {"type": "token", "secretRef": {"name": "s", "namespace": "vault"}}
    cluster.change(ref, spec={"authConfig": auth})
    async with reconciling(cluster):
        await until(lambda: cluster.reasons == ["SecretNamespaceIgnored"])
        cluster.change(ref, status={})
        await asyncio.sleep(60)
        assert cluster.reasons == ["SecretNamespaceIgnored"]


HOST_KEY = Problem(reason="HostKeyChanged", message="git.example shows another key", stalled=True)
AWAY = Problem(reason="GitUnreachable", message="no answer")


@virtual
async def test_what_a_check_found_stays_until_a_check_clears_it():
    """A refused host key is no matter of the spec: it outlives writes of the status and changes of the source."""
    cluster = Cluster()
    cluster.surroundings()
    uid = cluster.trigger()["metadata"]["uid"]
    async with reconciling(cluster):
        await until(lambda: conditions(cluster))
        await cluster.write(REF, uid, Report(source="app", problem=HOST_KEY, generation=1, now="2026-05-06T07:00:00Z"))
        writes = len(cluster.made("write"))
        cluster.change(Ref("GitRepo", "n", "app"), status={"observedGeneration": 1})
        await asyncio.sleep(60)
        assert conditions(cluster)["Stalled"] == ("True", "HostKeyChanged")
        assert (state(cluster), len(cluster.made("write"))) == ("WrongConfig", writes)
        await cluster.write(REF, uid, Report(source="app", problem=None, generation=1, now="2026-05-06T07:00:00Z"))
        await asyncio.sleep(60)
        assert conditions(cluster) == {"Ready": ("True", "Succeeded")}


@virtual
async def test_nothing_is_said_of_sources_that_are_gone():
    """Neither what was tried again, nor what somebody had to mend, nor a warning: no check will ever clear these."""
    cluster = Cluster()
    cluster.surroundings()
    for name in ("old", "older"):
        repo = {"metadata": {"name": name, "namespace": "n"}, "spec": {"repoUri": "https://x/a"}}
        cluster.put({"kind": "GitRepo"} | repo)
    uid = cluster.trigger(names=("app", "old", "older"))["metadata"]["uid"]
    async with reconciling(cluster):
        await until(lambda: conditions(cluster))
        for source, problem in (("old", AWAY), ("older", HOST_KEY)):
            found = Report(source=source, problem=problem, generation=1, now="2026-05-06T07:00:00Z")
            await cluster.write(REF, uid, found)
            await cluster.write(REF, uid, Warn(reason="WebhookMissed", source=source, message="none came"))
        await asyncio.sleep(10)
        cluster.change(REF, spec={"sources": {"names": ["app"]}})
        await until(lambda: conditions(cluster) == {"Ready": ("True", "Succeeded")}, within_s=10)
        assert "old" not in str(cluster.objects[REF]["status"]["conditions"])


@virtual
async def test_a_bug_met_at_one_trigger_ends_no_other():
    """Nor the leader's work for all of them."""
    cluster = Cluster()
    cluster.surroundings()
    cluster.trigger(name="bad")
    cluster.trigger()
    resolve = cluster.gate.resolve

    def resolved(trigger, source):
        if trigger.ref.name == "bad":
            raise RuntimeError("a bug")
        return resolve(trigger, source)

    cluster.gate.resolve = resolved
    async with reconciling(cluster):
        await until(lambda: conditions(cluster))
        cluster.drop(Ref("Action", "n", "build"))
        await until(lambda: conditions(cluster).get("Stalled") == ("True", "ActionNotFound"))
    assert conditions(cluster, Ref("WebhookTrigger", "n", "bad")) == {}


@virtual
async def test_a_trigger_is_reconciled_again_after_a_bug(monkeypatch):
    """It backs off; no change of the trigger is needed."""
    cluster, crashes = Cluster(), []
    cluster.surroundings()
    cluster.trigger()
    whole = Reconciler._mutations

    def crash(self, trigger):
        if len(crashes) < 2:
            crashes.append(trigger.ref)
            raise RuntimeError("a bug")
        return whole(self, trigger)

    monkeypatch.setattr(Reconciler, "_mutations", crash)
    async with reconciling(cluster):
        await until(lambda: conditions(cluster).get("Ready") == ("True", "Succeeded"))
    assert crashes == [REF, REF]


@virtual
async def test_a_status_edited_by_hand_is_repaired_and_a_condition_says_so_for_ten_minutes():
    """`handled` above `requested` and `runs` near 2^63, written while nothing else happens."""
    cluster = Cluster()
    cluster.surroundings()
    cluster.trigger(status=recorded(requested=3, handled=3))
    async with reconciling(cluster):
        await until(lambda: conditions(cluster).get("Ready") == ("True", "Succeeded"))
        cluster.change(REF, status=recorded(runs=2**53 - 1, requested=3, handled=50))
        await until(lambda: conditions(cluster)["Ready"] == ("True", "StatusRepaired"), within_s=10)
        entry = cluster.objects[REF]["status"]["checkedSources"]["app"]
        assert (entry.get("runs"), entry["requested"], entry["handled"]) == (10**11, 3, 3)
        assert cluster.reasons == ["StatusRepaired"]
        [ready] = [c for c in cluster.objects[REF]["status"]["conditions"] if c["type"] == "Ready"]
        assert "checkedSources.app.handled is 50, above requested 3 (now 3)" in ready["message"]
        writes = len(cluster.made("write"))
        await asyncio.sleep(500)
        assert conditions(cluster)["Ready"] == ("True", "StatusRepaired")
        await until(lambda: conditions(cluster)["Ready"] == ("True", "Succeeded"), within_s=200)
        await asyncio.sleep(3600)
    assert len(cluster.made("write")) == writes + 1
    assert cluster.reasons == ["StatusRepaired"]
