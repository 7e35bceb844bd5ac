"""Policies of runs in combination: references, windows, debounce, cooldown, retries, deletions and edits."""

import asyncio

import pytest

from git_events_runner.concurrency.fairness import equal
from git_events_runner.flow.annotation_requests import AnnotatedRequests
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.annotated import RUN_ANNOTATION
from git_events_runner.rules.ledger.entry import entry_of
from git_events_runner.rules.reference_entries import kept_keys, watched_by
from git_events_runner.serving import running
from tests.flow.program import REF
from tests.flow.replica import Replica
from tests.flow.test_references import Many, Repository
from tests.flow.test_retries import fail
from tests.flow.test_retries import leading as retrying
from tests.flow.test_retries import world as failing
from tests.flow.virtual import virtual
from tests.flow.world import A, B, Cluster, Fence, recorded

C = "c" * 40
CLOSED = [{"allow": "0 8 * * *", "duration": "1h"}]  # it is 07:00 when a test begins
TEARDOWN = {"kind": "Action", "metadata": {"name": "teardown", "namespace": "n"}, "spec": {"actionJob": {}}}


class Watching(Replica):
    """A replica whose WebhookTrigger has no schedule and watches branches that `main` and `x` are of, at commit A."""

    ran, status = Many.ran, Many.status
    ref = REF

    def __init__(self, *, teardown=True, **spec):
        cluster = Cluster()
        cluster.surroundings()
        if teardown:
            cluster.put(TEARDOWN)
        watch_on = {"onChangeOnly": True, "references": {"branches": {}}, "onDelete": {"name": "teardown"}}
        cluster.trigger("WebhookTrigger", sources={"names": ["app"], "watchOn": watch_on}, **spec)
        super().__init__(cluster)
        self.git = Repository(heads__main=A, heads__x=A)
        self.write_with(cluster, self.lanes.submit)

    async def tell(self, name):
        """A delivery that names no reference; its check has the time that it needs."""
        await self.deliver(name)
        await asyncio.sleep(40)

    def record(self, key="app"):
        return entry_of(self.status, key)


def requests(cluster, submit):
    """The leader's part that follows annotations."""
    shared = {"store": cluster.store, "writer": cluster, "announcer": cluster, "now": cluster.now}
    return running(annotated=AnnotatedRequests(**shared, submit=submit, weight=equal).run_as_leader(Fence()))


@virtual
async def test_a_deletion_does_not_wait_for_the_window_of_another_branch():
    """One branch moved outside the windows, another one is deleted: its run starts when a second list confirms it."""
    made = Watching(windows=CLOSED)
    async with made.leading():
        await made.tell("first")
        made.git.refs["heads/main"] = B
        del made.git.refs["heads/x"]
        await made.tell("pushed")
        assert made.ran() == [("app@heads/x", "1", "a", "deleted")]
        assert made.waits_for()[0] == "OutsideWindows"
        await asyncio.sleep(3600)
    assert made.ran()[1:] == [("app@heads/main", "1", "b", "changed")]
    assert not made.record().is_open


@virtual
async def test_a_request_stays_open_until_the_action_of_a_deletion_exists():
    """The Action of onDelete is missing: nothing but the delivery tells of the deletion, so it is not handled yet."""
    made = Watching(teardown=False)
    async with made.leading():
        await made.tell("first")
        del made.git.refs["heads/x"]
        await made.tell("deleted")
        await asyncio.sleep(120)
        assert made.ran() == []
        assert made.record().is_open
        made.cluster.put(TEARDOWN)
        await asyncio.sleep(120)
    assert made.ran() == [("app@heads/x", "1", "a", "deleted")]
    assert not made.record().is_open


@virtual
async def test_a_trigger_that_is_suspended_during_a_list_lists_again_when_it_is_resumed():
    """The references that differ were not checked, so that what caused the list is not handled."""
    made = Watching()
    async with made.leading():
        await made.tell("first")
        made.git.refs["heads/main"] = B
        select = made.checks._lists._files.selected

        async def selected(*arguments):
            made.cluster.change(REF, spec={"suspend": True})
            return await select(*arguments)

        made.checks._lists._files.selected = selected
        await made.tell("pushed")
        made.checks._lists._files.selected = select
        assert made.ran() == []
        assert made.record().is_open
        made.cluster.change(REF, spec={"suspend": False})
        await asyncio.sleep(60)
    assert made.ran() == [("app@heads/main", "1", "b", "changed")]


@virtual
async def test_a_created_branch_that_waits_keeps_its_entry_until_it_ran():
    """It has no commit yet, but is no deleted branch: what says that it waits is not pruned."""
    made = Watching(windows=CLOSED)
    async with made.leading():
        await made.tell("first")
        made.git.refs["heads/y"] = B
        await made.tell("created")
        await asyncio.sleep(600)
        assert "commit bbbbbbbbbbbb waits" in made.waits_for()[1]
        kept = kept_keys(made.status, ["app"], watched_by(made.cluster.objects[REF]["spec"]), made.cluster.now())
        assert "app@heads/y" in kept
        await asyncio.sleep(3600)
    assert made.ran() == [("app@heads/y", "1", "b", "first")]
    assert made.waits_for() is None


@virtual
@pytest.mark.parametrize("branch", ["x", "y"])
async def test_a_branch_that_is_deleted_while_it_waits_does_not_wait_any_more(branch):
    """Whether it is a new one, or one that moved: the condition goes, nothing runs for it, and its entry is pruned."""
    made = Watching(windows=CLOSED)
    made.cluster.change(
        REF, spec={"sources": {"names": ["app"], "watchOn": {"onChangeOnly": True, "references": {"branches": {}}}}}
    )
    async with made.leading():
        await made.tell("first")
        made.git.refs[f"heads/{branch}"] = B
        await made.tell("pushed")
        assert made.waits_for() is not None
        del made.git.refs[f"heads/{branch}"]
        await made.tell("deleted")
        await asyncio.sleep(60)
        assert made.waits_for() is None
        await asyncio.sleep(600)
        assert f"app@heads/{branch}" not in made.status["checkedSources"]
        await asyncio.sleep(3600)
    assert made.ran() == []
    assert not made.record().is_open


@virtual
async def test_a_branch_that_waits_runs_on_request():
    """`run-requested-at` runs each reference that has an entry, also one that has not run yet."""
    made = Watching(windows=CLOSED)
    async with made.leading():
        await made.tell("first")
        del made.git.refs["heads/x"]
        made.git.refs["heads/y"] = B
        await made.tell("created")
        known = len(made.ran())
        token = {RUN_ANNOTATION: "now"}
        made.cluster.change(REF, metadata={"annotations": token})
        async with requests(made.cluster, made.lanes.submit):
            await asyncio.sleep(40)
    assert sorted(made.ran()[known:]) == [
        ("app@heads/main", "1", "a", "requested"),
        ("app@heads/y", "1", "b", "requested"),
    ]


@virtual
async def test_a_change_that_waits_does_not_wait_when_references_are_watched():
    """The single reference's change is checked under its own key from then on."""
    cluster = Cluster()
    cluster.surroundings()
    cluster.trigger("WebhookTrigger", status=recorded(runs=1, commit=A), windows=CLOSED)
    made = Replica(cluster)
    made.git = Repository(heads__main=B)
    made.write_with(cluster, made.lanes.submit)
    async with made.leading():
        await made.deliver("one")
        await asyncio.sleep(20)
        assert made.waits_for() is not None
        watch_on = {"onChangeOnly": True, "references": {"branches": {}}}
        cluster.change(REF, spec={"sources": {"names": ["app"], "watchOn": watch_on}})
        await asyncio.sleep(60)
        entries = cluster.objects[REF]["status"]["checkedSources"]
        assert entries["app"].get("waiting") is None
        await asyncio.sleep(3700)
    assert made.waits_for() is None


@virtual
async def test_a_retry_does_not_end_the_wait_of_a_newer_commit():
    """The commit that rests keeps the times when it moved first and last: it runs as soon as without the retry."""
    made = failing(backoff="1m")
    made.cluster.change(REF, spec={"debounce": {"quiet": "5m"}})
    await made.check()
    async with retrying(made):
        fail(made, made.jobs()[0])
        await asyncio.sleep(30)
        made.git.head = B
        again = await made.check(due="2026-05-06T07:00:30Z")
        before = made.cluster.objects[REF]["status"]["checkedSources"]["app"]["waiting"]
        assert again is None
        await asyncio.sleep(60)
        assert len(made.jobs()) == 2
        assert made.cluster.objects[REF]["status"]["checkedSources"]["app"].get("waiting") == before
        assert made.condition("Waiting") == ("True", "Debounce")


@virtual
async def test_a_failed_run_of_a_deleted_branch_is_not_run_again():
    """Nothing shows its commit any more: the entry records none."""
    made = failing(backoff="1m")
    await made.check()
    async with retrying(made):
        fail(made, made.jobs()[0])
        await asyncio.sleep(5)
        entry = made.cluster.objects[REF]["status"]["checkedSources"]["app"]
        made.cluster.change(REF, status={"checkedSources": {"app": entry | {"commitHash": None}}})
        await asyncio.sleep(300)
    assert len(made.jobs()) == 1


@virtual
async def test_a_run_that_never_starts_does_not_hold_up_the_next_one_for_ever():
    """Each attempt to start it is later than the last: the time between runs counts from its creation."""
    cluster = Cluster()
    cluster.surroundings()
    cluster.trigger("WebhookTrigger", status=recorded(runs=1, commit=A), cooldown="2h")
    made = Replica(cluster)
    async with made.leading():
        await made.push(B)
        await asyncio.sleep(20)
        [job] = made.jobs()
        ref = Ref("Job", "n", job["metadata"]["name"])
        await made.push(C)
        for number in range(1, 12):  # put back again and again
            marks = {
                "git-events-runner.rs/requeues": str(number),
                "git-events-runner.rs/requeued-at": cluster.now().isoformat(),
                "git-events-runner.rs/admission": "requeued",
            }
            old = cluster.objects[ref]["metadata"]["annotations"]
            cluster.change(ref, metadata={"annotations": old | marks}, spec={"suspend": True})
            await asyncio.sleep(600)
            again = cluster.objects[ref]["metadata"]["annotations"] | {"git-events-runner.rs/admission": "admitted"}
            started = {"startTime": cluster.now().isoformat(), "active": 1, "ready": 0}
            cluster.change(ref, metadata={"annotations": again}, spec={"suspend": False}, status=started)
            await asyncio.sleep(600)
    assert [commit for commit, _ in made.started()] == ["b", "c"]
