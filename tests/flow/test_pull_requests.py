"""Pull requests from their deliveries to Jobs: opened, pushed to, closed, of forks; never listed, never polled."""

import asyncio
import functools
from contextlib import asynccontextmanager

import pytest

from git_events_runner.concurrency.fairness import equal
from git_events_runner.flow.checks.open_requests import OpenRequests
from git_events_runner.flow.reconciler import Reconciler
from git_events_runner.flow.webhooks.recorder import DeliveryRecorder
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.annotated import RUN_ANNOTATION, SOURCES_ANNOTATION, RecordRequest, requests_of
from git_events_runner.rules.policy import Policy
from git_events_runner.rules.pull_requests import PullRecord
from git_events_runner.rules.reference_entries import kept_keys, watched_by
from tests.flow.hooks import served, trigger
from tests.flow.program import annotation
from tests.flow.test_references import Many
from tests.flow.virtual import until, virtual
from tests.flow.world import A, B, Fence
from tests.forges import deliveries as d
from tests.forges.pulls import CLOSED, OPENED, pull

C = "c" * 40
KEY = "app@pull/7"
WATCH = {"references": {"pullRequests": {}}, "onDelete": {"name": "teardown"}}
GITHUB = {"multiSource": True, "authConfig": {"type": "github", "secretRef": {"name": "hook"}, "key": "token"}}


class Pulls(Many):
    """A program whose trigger watches pull requests of GitHub; `deliver` records one and checks it."""

    def __init__(self, *, watch=None, **refs):
        super().__init__(refs, watch=watch or WATCH, spec={"webhook": GITHUB}, kind="WebhookTrigger")
        self.requests = []
        self.recorder = DeliveryRecorder(
            store=self.cluster.store, writer=self.cluster, submit=self.requests.append, now=self.cluster.now
        )
        self.deliveries = 0

    async def deliver(self, commit=None, *, at=0, check=True, **fields):
        """Record a delivery about pull request 7 that happened at a second of the forge's clock."""
        self.deliveries += 1
        record = PullRecord(
            **{"head": "refs/pull/7/head", "merge": "refs/pull/7/merge", "target": "main", "fork": False} | fields,
            at=f"2026-05-06T07:00:{at:02}Z",
        )
        uid = self.cluster.objects[self.ref]["metadata"]["uid"]
        task = f"task-{self.deliveries}"
        await self.recorder.count(self.ref, uid, {KEY: commit}, task=task, warning=None, pulls={KEY: record})
        if check:
            await self.settled()

    async def settled(self):
        """Checks of the pull request until one has nothing left to do."""
        for _ in range(20):
            again = await self.check(source=KEY, ref=self.ref)
            if again is None:
                return
            await asyncio.sleep(again.after_s if again.after_s is not None else 1)
        raise AssertionError("never over")

    def history(self):
        """Number, commit and reason of each Job of the pull request."""
        return [(number, commit, reason) for key, number, commit, reason in self.ran() if key == KEY]


@virtual
async def test_opened_pushed_to_and_closed():
    """A run for each head, then `onDelete` once with the last one, although git goes on showing it."""
    made = Pulls(pull__7__head=A, heads__main=B)
    await made.deliver(A)
    made.git.refs |= {"pull/7/head": C}
    await made.deliver(C, at=1)
    await made.deliver(at=2, closed=True)
    await made.deliver(at=2, closed=True)
    assert made.history() == [("1", "a", "first"), ("2", "c", "changed"), ("3", "c", "deleted")]
    assert made.git.lists == 0


@virtual
async def test_the_entry_of_a_closed_one_is_pruned_and_one_that_is_reopened_runs_again():
    """Three minutes later no entry is kept; a reopening runs with the next number."""
    made = Pulls(pull__7__head=A, heads__main=B)
    await made.deliver(A)
    await made.deliver(at=1, closed=True)
    spec = made.cluster.objects[made.ref]["spec"]
    keep = functools.partial(kept_keys, names=["app"], watched=watched_by(spec))
    assert KEY in keep(made.status, now=made.cluster.now())
    await asyncio.sleep(200)
    assert KEY not in keep(made.status, now=made.cluster.now())
    await made.deliver(A, at=9)
    assert made.history()[2:] == [("3", "a", "first")]


@virtual
async def test_an_earlier_event_that_comes_later_changes_nothing():
    """The forge's clock orders deliveries: the opening after the closing does not reopen it."""
    made = Pulls(pull__7__head=A, heads__main=B)
    await made.deliver(A, at=1)
    await made.deliver(at=5, closed=True)
    await made.deliver(B, at=3)
    assert made.history() == [("1", "a", "first"), ("2", "a", "deleted")]


@virtual
async def test_one_that_is_closed_before_its_first_run_runs_nothing():
    """Neither the action nor `onDelete`: there was nothing to tear down."""
    made = Pulls(pull__7__head=A, heads__main=B)
    await made.deliver(A, check=False)
    await made.deliver(at=1, closed=True)
    assert made.history() == []
    assert not made.entry(KEY).is_open


@virtual
async def test_a_check_without_a_record_runs_nothing():
    """After its entry was pruned a late check finds nothing to do, though git shows the head."""
    made = Pulls(pull__7__head=A, heads__main=B)
    assert await made.check(source=KEY, ref=made.ref) is None
    assert (made.history(), made.git.asked) == ([], 0)


@virtual
async def test_a_fork_that_was_accepted_once_does_not_run_when_the_trigger_refuses_forks():
    """The record of the delivery has it: the open request, and a requested run, are dropped."""
    made = Pulls(watch={"references": {"pullRequests": {"from": "Any"}}}, pull__7__head=A, heads__main=B)
    await made.deliver(A, fork=True, check=False)
    sources = {"names": ["app"], "watchOn": {"onChangeOnly": True, "references": {"pullRequests": {}}}}
    made.cluster.change(made.ref, spec={"sources": sources})
    assert await made.check(source=KEY, ref=made.ref) is None
    assert made.history() == []
    spec = made.cluster.objects[made.ref]["spec"]
    assert KEY not in kept_keys(made.status, ["app"], watched_by(spec), made.cluster.now())


@virtual
@pytest.mark.parametrize(
    ("job", "allowed", "reason"),
    [
        ({}, "isolated", None),
        ({"serviceAccount": "deployer"}, "isolated", "ForksNotAllowed"),
        ({"serviceAccount": "deployer"}, "any", None),
        ({}, "none", "ForksNotAllowed"),
    ],
)
async def test_forks_run_only_with_an_action_that_gives_them_nothing(job, allowed, reason):
    """`Any` is refused at the check, with what to change, unless the installation's policy allows it."""
    made = Pulls(watch={"references": {"pullRequests": {"from": "Any"}}}, pull__7__head=A, heads__main=B)
    made.cluster.policy = Policy(fork_pull_requests=allowed)
    made.cluster.change(Ref("Action", "n", "build"), spec={"actionJob": job})
    await made.deliver(A, fork=True)
    assert made.history() == ([] if reason else [("1", "a", "first")])
    if reason:
        assert made.condition() == ("False", reason)


@virtual
async def test_one_of_the_repository_that_the_source_had_before_does_not_run():
    """A requested run would run what a stranger has under the same number in the new repository."""
    made = Pulls(pull__7__head=A, heads__main=B)
    await made.deliver(A, repository="https://x/a.git")
    made.cluster.change(Ref("GitRepo", "n", "app"), spec={"repoUri": "https://x/other"})
    made.git.refs |= {"pull/7/head": C}
    annotations = {RUN_ANNOTATION: "1", SOURCES_ANNOTATION: KEY}
    [one] = requests_of({"annotations": annotations}, made.status, ("app",))
    uid = made.cluster.objects[made.ref]["metadata"]["uid"]
    await made.cluster.write(made.ref, uid, RecordRequest(request=one, at="2026-05-06T08:00:00Z"))
    await made.settled()
    assert made.history() == [("1", "a", "first")]
    await made.deliver(C, at=9, repository="https://x/other")
    assert made.history() == [("1", "a", "first"), ("2", "c", "first")]


@virtual
async def test_a_merge_that_git_does_not_show_is_waited_for_and_then_handled():
    """A forge merges in the background, and not at all while there are conflicts: 30 s, then nothing runs."""
    watch = {"references": {"pullRequests": {"checkout": "Merge"}}}
    made = Pulls(watch=watch, pull__7__head=A, heads__main=B)
    await made.deliver(A)
    assert made.history() == []
    assert not made.entry(KEY).is_open
    made.git.refs |= {"pull/7/merge": C}
    await made.deliver(B, at=2)
    assert made.history() == [("1", "c", "first")]


@virtual
async def test_a_check_of_all_references_does_not_poll_pull_requests():
    """A list sends no request for them, also where only they are watched."""
    made = Pulls(watch={"references": {"branches": {}, "pullRequests": {}}}, pull__7__head=A, heads__main=B)
    await made.deliver(A)
    asked = made.git.asked
    made.git.refs |= {"pull/7/head": C}
    await made.polls()
    assert (made.git.asked, len(made.history())) == (asked, 1)
    alone = Pulls(pull__7__head=A, heads__main=B)
    await alone.check(ref=alone.ref)
    assert alone.git.lists == 0


@virtual
async def test_the_worker_gets_number_and_target():
    """And the reference in git that shows the head, which it can fetch."""
    made = Pulls(pull__7__head=A, heads__main=B)
    await made.deliver(A, target="release/$(HOME)")
    [job] = made.jobs()
    given = {one["name"]: one.get("value") for one in job["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert given["ACTION_JOB_PULL_REQUEST_NUMBER"] == "7"
    assert given["ACTION_JOB_PULL_REQUEST_TARGET"] == "release/$$(HOME)"
    assert given["ACTION_JOB_TRIGGER_SOURCE_REF_TYPE"] == "pull"
    assert given["ACTION_JOB_TRIGGER_SOURCE_REF_NAME"] == "refs/pull/7/head"
    assert annotation(job, "commit") == A


@virtual
async def test_above_the_limit_those_that_moved_last_keep_their_entry():
    """The entries of others are removed when nothing of them is open."""
    made = Pulls(watch={"references": {"pullRequests": {}, "limit": 2}}, heads__main=B)
    uid = made.cluster.objects[made.ref]["metadata"]["uid"]
    for number in (1, 2, 3):
        key = f"app@pull/{number}"
        made.git.refs |= {f"pull/{number}/head": A}
        record = PullRecord(head=f"refs/pull/{number}/head", fork=False)
        await made.recorder.count(made.ref, uid, {key: A}, task=f"t{number}", warning=None, pulls={key: record})
        await made.check(source=key, ref=made.ref)
        await asyncio.sleep(2)
    spec = made.cluster.objects[made.ref]["spec"]
    kept = kept_keys(made.status, ["app"], watched_by(spec), made.cluster.now())
    assert kept == {"app", "app@pull/2", "app@pull/3"}


async def counted(forge, delivery, **pulls):
    """Status of the response to a delivery, what was counted, and what was recorded."""
    kind = forge.removesuffix("-server")
    secret = "azure" if kind == "azure" else "plain"
    watched = trigger("pulls", kind, secret=secret, references={"pullRequests": pulls})
    async with served(objects=[watched]) as port:
        status = await port.post("/ns/pulls", delivery)
        return status, [one[1] for one in port.counter.counted], port.counter.pulls


@pytest.mark.parametrize("forge", sorted(OPENED))
async def test_a_delivery_counts_the_pull_request_of_its_repository(forge):
    """Of the two sources only the one that the payload names; the commit is announced, a closing announces none."""
    status, found, pulls = await counted(forge, pull(forge, OPENED[forge]))
    assert (status, found) == (202, [{KEY: None if forge == "bitbucket" else d.AFTER}])
    assert (pulls[KEY].fork, pulls[KEY].closed) == (False, False)
    status, found, pulls = await counted(forge, pull(forge, CLOSED[forge]))
    assert (status, found, pulls[KEY].closed) == (202, [{KEY: None}], True)


@pytest.mark.parametrize("forge", sorted(OPENED))
async def test_a_fork_is_ignored_unless_forks_are_accepted(forge):
    """Also where it cannot be read whether it is one; Bitbucket Cloud and Azure show no head of a fork."""
    for fork in (True, None):
        assert (await counted(forge, pull(forge, OPENED[forge], fork=fork)))[:2] == (200, [])
    status, found, pulls = await counted(forge, pull(forge, OPENED[forge], fork=True), **{"from": "Any"})
    if forge in {"bitbucket", "azure"}:
        assert (status, found) == (200, [])
    else:
        assert (status, pulls[KEY].fork) == (202, True)


async def test_a_pull_request_of_another_repository_is_never_taken_for_ours():
    """The same number may be a stranger's here: unlike a push it is not checked in all sources."""
    url = "https://forge.example.com/team/third.git"
    assert await counted("gitea", pull("gitea", "opened", url=url)) == (200, [], {})


@pytest.mark.parametrize("forge", ["github", "gitlab"])
async def test_a_trigger_without_pull_requests_ignores_them(forge):
    """As before: the event moves no reference."""
    async with served() as port:
        assert await port.post(f"/ns/{forge}/app", pull(forge, OPENED[forge])) == 200
        assert port.counter.counted == []


@asynccontextmanager
async def led(made):
    """The leader reconciles, and its sweep submits checks, which are done."""
    reconciler = Reconciler(
        api=made.cluster,
        store=made.cluster.store,
        gate=made.cluster.gate,
        writer=made.cluster,
        announcer=made.cluster,
        requests=OpenRequests(
            store=made.cluster.store,
            submit=made.requests.append,
            pending=lambda _uid, _source: False,
            now=made.cluster.now,
        ),
        metrics=made.cluster.metrics,
        now=made.cluster.now,
        weight=equal,
    )
    task = asyncio.ensure_future(reconciler.run_as_leader(Fence()))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@virtual
async def test_one_whose_closing_was_not_delivered_is_closed_after_the_time_without_deliveries():
    """`onDelete` runs once when nothing was delivered for `closeAfter`; a later push opens it again."""
    watch = {"references": {"pullRequests": {"closeAfter": "1h"}}, "onDelete": {"name": "teardown"}}
    made = Pulls(watch=watch, pull__7__head=A, heads__main=B)
    await made.check(ref=made.ref)
    await made.deliver(A)
    made.requests.clear()
    async with led(made):
        await asyncio.sleep(1800)
        await made.deliver(A, at=5)
        made.requests.clear()
        await asyncio.sleep(3500)
        assert made.requests == []
        await asyncio.sleep(200)
        assert {one.source for one in made.requests} == {KEY}
        await made.settled()
        await made.settled()
        assert made.history() == [("1", "a", "first"), ("2", "a", "deleted")]
        made.git.refs |= {"pull/7/head": C}
        await made.deliver(C, at=9)
    assert made.history()[2:] == [("3", "c", "first")]


@virtual
async def test_one_that_is_opened_again_before_its_closing_was_checked_is_closed_after_the_time():
    """The git server did not respond for so long: no run shows that it is open."""
    made = Pulls(watch={"references": {"pullRequests": {"closeAfter": "1h"}}}, pull__7__head=A, heads__main=B)
    await made.check(ref=made.ref)
    async with led(made):
        await made.deliver(A)
        await until(lambda: made.status["checkedSources"][KEY]["pullRequest"]["closed"], within_s=3700)
        await asyncio.sleep(60)
        await made.deliver(A, at=9)
        assert not made.status["checkedSources"][KEY]["pullRequest"]["closed"]
        await asyncio.sleep(3500)
        assert not made.status["checkedSources"][KEY]["pullRequest"]["closed"]
        await until(lambda: made.status["checkedSources"][KEY]["pullRequest"]["closed"], within_s=200)


@virtual
async def test_a_time_that_cannot_be_read_is_reported():
    """The condition names the field; until then nothing is closed."""
    watch = {"references": {"pullRequests": {"closeAfter": "3 parsecs"}}}
    made = Pulls(watch=watch, pull__7__head=A, heads__main=B)
    async with led(made):
        await until(lambda: made.condition() == ("False", "InvalidSpec"))


@virtual
async def test_open_ones_that_fill_the_limit_are_a_warning():
    """Before one is forgotten, the Ready condition says what to do; with room again the warning ends."""
    made = Pulls(watch={"references": {"pullRequests": {}, "limit": 1}}, pull__7__head=A, heads__main=B)
    await made.deliver(A)
    async with led(made):
        await until(lambda: [one["reason"] for one in made.status.get("warnings") or ()] == ["TooManyPullRequests"])
        await made.deliver(at=1, closed=True)
        await until(lambda: not made.status.get("warnings"))
