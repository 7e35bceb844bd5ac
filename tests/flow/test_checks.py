"""Checks and runs together, on a small cluster in memory: the steps of the ledger, one rule after the other."""

import asyncio
from dataclasses import dataclass, replace

import pytest

from git_events_runner.errors import (
    ApiConflict,
    ApiForbidden,
    ApiInvalid,
    ApiTooManyRequests,
    ApiUnavailable,
    FenceLost,
    GitRateLimited,
    GitReferenceNotFound,
    SecretUnusable,
)
from git_events_runner.flow.checks import Checks
from git_events_runner.flow.runs import Runs
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.job import JobDefaults
from git_events_runner.rules.ledger import entry_of
from git_events_runner.rules.messages import CheckRequest
from tests.flow.virtual import at, virtual
from tests.flow.world import A, B, Cluster, Fence, recorded

REF = Ref("WebhookTrigger", "n", "hook")
DEFAULTS = JobDefaults(
    active_deadline_s=3600,
    ttl_s=7200,
    waiting_timeout_s=300,
    service_account=None,
    workdir="/w",
    volume_name="w",
    cloner_name="c",
    cloner_image="c:1",
    cloner_api_token=False,
    worker_name="w",
    worker_image="w:1",
    variables_prefix="ACTION_JOB_",
    pod_security="auto",
    allowed_accounts=(),
)


@dataclass(frozen=True)
class Answer:
    commit: str
    tag_object: str | None
    sent_at: float


class Git:
    """The head of every repository; `then` happens while it is asked."""

    def __init__(self):
        self.head, self.error, self.then, self.asked = A, None, None, 0

    async def commit_of(self, source, namespace, ref_type, ref_name):
        self.asked += 1
        sent, head = asyncio.get_running_loop().time(), self.head
        await asyncio.sleep(0.01)
        if self.then:
            then, self.then = self.then, None
            then()
        if self.error:
            raise self.error
        return Answer(head, None, sent)

    async def tree(self, source, namespace, commit):
        raise AssertionError("no patterns are given")


class Slots:
    """Places: free or not; what became of them."""

    def __init__(self):
        self.free, self.taken, self.told = True, set(), []

    def take(self, ref):
        if self.free:
            self.taken.add(ref)
        return self.free

    def release(self, ref):
        self.taken.discard(ref)

    def confirm(self, ref):
        self.taken.discard(ref)


class Program:
    """One replica's checks on a cluster."""

    def __init__(self, cluster):
        self.cluster, self.git, self.slots = cluster, Git(), Slots()
        self.runs = Runs(
            api=cluster,
            store=cluster.store,
            writer=cluster,
            slots=self.slots,
            announcer=cluster,
            defaults=lambda: DEFAULTS,
            identity="pod-1",
            metrics=cluster.metrics,
            now=cluster.now,
        )
        self.checks = Checks(
            store=cluster.store,
            reader=cluster,
            git=self.git,
            writer=cluster,
            runs=self.runs,
            metrics=cluster.metrics,
            now=cluster.now,
        )

    async def check(self, *, source="app", due=None, fence=None, ref=REF):
        uid = self.cluster.objects[ref]["metadata"]["uid"] if ref in self.cluster.objects else "gone"
        return await self.checks.check(
            CheckRequest(trigger=ref, uid=uid, source=source, due_at=due, fence=fence, tasks=("t",))
        )

    def entry(self, source="app"):
        return entry_of(self.cluster.objects[REF].get("status"), source)

    def jobs(self):
        return [obj for ref, obj in sorted(self.cluster.objects.items(), key=str) if ref.kind == "Job"]

    def condition(self, kind="Ready"):
        found = self.cluster.objects[REF].get("status", {}).get("conditions") or ()
        return next(((c["status"], c["reason"]) for c in found if c["type"] == kind), None)


def program(*, requested=1, **fields):
    """A trigger with one open request."""
    cluster = Cluster()
    cluster.surroundings()
    cluster.trigger(status=recorded(**({"runs": 0, "commit": None} | fields), requested=requested))
    return Program(cluster)


def annotation(job, name):
    return job["metadata"]["annotations"][f"git-events-runner.rs/{name}"]


@virtual
async def test_a_change_becomes_one_job_and_is_recorded():
    """Job 1 with everything that settling needs; then nothing is left to do, and nothing is written."""
    made = program()
    assert await made.check() is None
    [job] = made.jobs()
    uid = made.cluster.objects[REF]["metadata"]["uid"]
    assert annotation(job, "run") == f"{uid}/app/1"
    assert (annotation(job, "commit"), annotation(job, "occurrence")) == (A, "1")
    assert "ttlSecondsAfterFinished" not in job["spec"]
    [(_, _, _, options)] = made.cluster.made("create", "Job")
    assert options == {"timeout_s": 5.0, "strict": True}
    assert (made.entry().runs, made.entry().commit, made.entry().handled) == (1, A, 1)
    writes = len(made.cluster.made("write"))
    assert await made.check() is None
    assert (len(made.jobs()), len(made.cluster.made("write"))) == (1, writes)


@virtual
async def test_what_is_unsettled_is_settled_before_anything_is_decided():
    """Of several Jobs the highest, from its annotations; git is asked after that."""
    made = program(requested=4)
    trigger = made.cluster.objects[REF]
    made.cluster.job(trigger, 1, commit=A, occurrence="1")
    made.cluster.job(trigger, 2, commit=B, occurrence="3")
    made.git.head = B
    assert await made.check() is None
    assert (made.entry().runs, made.entry().commit) == (2, B)
    assert made.entry().handled == 4
    assert len(made.jobs()) == 2


@virtual
@pytest.mark.parametrize("spec", [{"sources": {"names": ["other"]}}, {"sources": 5}])
async def test_a_job_of_a_source_that_is_gone_is_settled_too(spec):
    """Also under a spec that is invalid: else it would stay without TTL, and its entry would never be pruned."""
    made = program()
    made.cluster.job(made.cluster.objects[REF], 1, commit=A, occurrence="1")
    made.cluster.change(REF, spec=spec)
    assert await made.check() is None
    assert made.entry().runs == 1
    assert made.git.asked == 0


@virtual
async def test_a_job_under_another_name_settles_nothing():
    """A Job belongs to a run only if its name is the derived one."""
    made = program()
    job = made.cluster.job(made.cluster.objects[REF], 7, commit=B)
    made.cluster.drop(made.cluster.ref(job))
    made.cluster.put(job | {"metadata": job["metadata"] | {"name": "copy", "uid": "u2"}})
    await made.check()
    assert made.entry().runs == 1


@virtual
async def test_a_run_recorded_while_git_was_asked_starts_the_check_again():
    """The live look finds it, whatever the cache says."""
    made = program()
    made.cluster.lagging.add("WebhookTrigger")
    made.git.then = lambda: made.cluster.change(REF, status=recorded(runs=1, commit=A, requested=1, handled=1))
    assert await made.check() is None
    assert made.jobs() == []
    assert made.entry().runs == 1


@virtual
@pytest.mark.parametrize("kind", ["trigger", "action", "action made anew"])
async def test_an_edit_while_git_was_asked_starts_the_check_again(kind):
    """The Job is made from what is declared at that moment, and owned by the action that is there."""
    made = program()
    action = Ref("Action", "n", "build")

    def edit():
        made.cluster.lagging.update({"Action", "WebhookTrigger"})
        if kind == "trigger":
            made.cluster.change(REF, spec={"webhook": {"multiSource": False}})
        elif kind == "action":
            made.cluster.change(action, spec={"actionJob": {"command": ["new"]}})
        else:
            old = made.cluster.objects.pop(action)
            made.cluster.put({**old, "metadata": {"name": "build", "namespace": "n"}})

    made.git.then = edit
    await made.check()
    [job] = made.jobs()
    assert made.git.asked == 2
    assert job["metadata"]["ownerReferences"][0]["uid"] == made.cluster.objects[action]["metadata"]["uid"]
    if kind == "action":
        assert job["spec"]["template"]["spec"]["containers"][0]["command"] == ["new"]


@virtual
async def test_requests_counted_meanwhile_do_not_start_it_again():
    """A storm must not starve the check; they stay open for the next one."""
    made = program()
    made.git.then = lambda: made.cluster.change(REF, status=recorded(runs=0, commit=None, requested=50))
    await made.check()
    assert made.git.asked == 1
    assert (made.entry().runs, made.entry().handled, made.entry().requested) == (1, 1, 50)


@virtual
async def test_an_old_answer_of_git_makes_no_job():
    """More than a minute old: git is asked again."""
    made = program()
    made.cluster.faults = [("before", ApiTooManyRequests("busy"))] * 2
    made.cluster.faults[0][1].retry_after_s = made.cluster.faults[1][1].retry_after_s = 40.0
    await made.check()
    assert made.git.asked == 2
    assert len(made.jobs()) == 1
    assert at() >= 80


@virtual
async def test_a_look_that_took_long_is_looked_again():
    """Between the live look and the creation five seconds at most: a Job may have run and gone in more."""
    made = program()
    slow = [6.0]
    get = made.cluster.get

    async def slowly(ref, **options):
        if slow and ref == REF:
            await asyncio.sleep(slow.pop())
        return await get(ref, **options)

    made.cluster.get = slowly
    await made.check()
    assert len([call for call in made.cluster.made("get", "WebhookTrigger")]) == 2
    assert len(made.jobs()) == 1


@virtual
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_creation_of_unknown_outcome_goes_back_to_the_live_look(moment):
    """Never straight to the creation; one Job either way, and its place is kept."""
    made = program()
    made.cluster.faults = [(moment, ApiUnavailable("lost"))]
    await made.check()
    assert len(made.jobs()) == 1
    assert made.entry().runs == 1
    verbs = [(verb, ref.kind) for verb, ref, _, _ in made.cluster.calls if verb in {"get", "create"}]
    first = verbs.index(("create", "Job"))
    assert ("get", "WebhookTrigger") in verbs[first + 1 : verbs.index(("create", "Job"), first + 1)]


@virtual
async def test_a_creation_of_unknown_outcome_keeps_its_place():
    """Until the queue has looked."""
    made = program()
    made.cluster.faults = [("before", ApiUnavailable("away"))] * 100
    assert await made.check() is not None
    assert len(made.slots.taken) == 1


@virtual
async def test_another_conflict_is_no_existing_job():
    """Quota contention answers Conflict: tried again, the place given back meanwhile."""
    made = program()
    made.cluster.faults = [("before", ApiConflict("quota"))] * 2
    await made.check()
    assert len(made.jobs()) == 1
    assert made.slots.taken == set()


@virtual
async def test_an_existing_job_of_the_run_is_settled_from_its_annotations():
    """Another replica was faster with another commit: its word counts, and the check starts again."""
    made = program()
    trigger = made.cluster.objects[REF]
    made.cluster.lagging.add("Job")
    made.cluster.job(trigger, 1, commit=B, occurrence="1")
    await made.check()
    commits = [annotation(job, "commit") for job in made.jobs()]
    assert sorted(commits) == [A, B]
    assert (made.entry().runs, made.entry().commit) == (2, A)


@virtual
async def test_a_foreign_object_with_the_runs_name_is_not_adopted():
    """Condition and Event JobNameConflict; once it is away, the run is made."""
    made = program()
    made.cluster.lagging.add("Job")
    job = made.cluster.job(made.cluster.objects[REF], 1)
    metadata = job["metadata"] | {"annotations": {}}
    made.cluster.put(job | {"metadata": metadata})
    assert await made.check() is not None
    assert made.condition() == ("False", "JobNameConflict")
    assert made.entry().runs == 0
    del made.cluster.objects[made.cluster.ref(job)]
    assert await made.check() is None
    assert made.condition() == ("True", "Succeeded")
    assert made.entry().runs == 1


@virtual
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ApiInvalid("Job n/x: metadata.labels: Invalid value"), "JobCreateFailed"),
        (ApiForbidden("creating Job: exceeded quota: small", reason="Forbidden"), "QuotaExceeded"),
        (ApiForbidden("creating Job: violates PodSecurity", reason="Forbidden"), "JobCreateFailed"),
    ],
)
async def test_a_refused_job_is_said_and_tried_again(error, reason):
    """Condition, Event, metric, back-off; nothing is recorded."""
    made = program()
    made.cluster.faults = [("before", error)]
    assert await made.check() is not None
    assert made.condition() == ("False", reason)
    assert made.cluster.reasons == [reason]
    assert (made.entry().runs, made.entry().commit, made.slots.taken) == (0, None, set())
    assert made.cluster.series("jobs_queue_completed_count_total{") == 1
    assert await made.check() is None
    assert made.entry().runs == 1


@virtual
async def test_a_terminating_namespace_drops_the_run_silently():
    """Nothing can be created in it ever again."""
    made = program()
    made.cluster.faults = [("before", ApiForbidden("being terminated", causes=("NamespaceTerminating",)))]
    assert await made.check() is None
    assert made.cluster.reasons == []


@virtual
async def test_a_trigger_that_is_gone_or_made_anew_runs_nothing():
    """Also when it went while git was asked."""
    made = program()
    assert await made.check(ref=Ref("WebhookTrigger", "n", "none")) is None
    assert made.git.asked == 0

    def anew():
        made.cluster.lagging.add("WebhookTrigger")
        made.cluster.objects.pop(REF)
        made.cluster.trigger(status=recorded(runs=0, commit=None, requested=1))

    made.git.then = anew
    assert await made.check() is None
    assert made.jobs() == []


@virtual
async def test_one_run_answers_all_requests_or_each_its_own():
    """onChangeOnly: one for all that are counted; else one for each, in order, to the last."""
    made = program(requested=3)
    await made.check()
    assert (len(made.jobs()), made.entry().handled) == (1, 3)
    each = program(requested=3)
    watch = {"watchOn": {"onChangeOnly": False}, "names": ["app"]}
    each.cluster.change(REF, spec={"sources": watch})
    answers = [await each.check() for _ in range(3)]
    assert [again is not None for again in answers] == [True, True, False]
    assert sorted(annotation(job, "occurrence") for job in each.jobs()) == ["1", "2", "3"]
    assert each.entry().handled == 3


@virtual
async def test_an_occurrence_that_is_answered_asks_nobody():
    """A due time not newer than the entry's, on a new leader or after a clock was set back."""
    made = program(requested=0, runs=1, commit=A, answeredAt="2026-05-06T07:00:00Z")
    for due in ("2026-05-06T07:00:00Z", "2026-05-06T06:00:00Z"):
        assert await made.check(due=due, fence=Fence()) is None
    assert made.git.asked == 0
    made.git.head = B
    await made.check(due="2026-05-06T08:00:00Z", fence=Fence())
    assert made.entry().answered_at == "2026-05-06T08:00:00Z"
    assert len(made.jobs()) == 1


@virtual
async def test_leader_work_ends_with_leadership():
    """Lost while git was asked: no Job, no status write; the next leader does it."""
    for head in (A, B):
        made = program(requested=1, runs=1, commit=A)
        made.git.head = head
        fence = Fence()
        made.git.then = lambda fence=fence: setattr(fence, "lost", True)
        assert await made.check(due="2026-05-06T08:00:00Z", fence=fence) is None
        assert made.jobs() == []
        assert made.cluster.made("write") == []
    with pytest.raises(FenceLost):
        fence.check()


@virtual
async def test_without_a_place_a_job_waits():
    """It is made suspended, and recorded at once: the queue lets it in."""
    made = program()
    made.slots.free = False
    await made.check()
    assert made.jobs()[0]["spec"]["suspend"] is True
    assert made.entry().runs == 1
    assert made.cluster.objects[REF]["status"]["checkedSources"]["app"]["lastJob"]["phase"] == "Queued"


@virtual
@pytest.mark.parametrize(
    ("error", "reason", "after_s"),
    [
        (GitReferenceNotFound("no branch main"), "ReferenceNotFound", None),
        (GitRateLimited("later", retry_after_s=77.0), "RateLimited", 77.0),
        (SecretUnusable("Secret n/x has no key token", reason="SecretKeyMissing"), "SecretKeyMissing", None),
    ],
)
async def test_a_question_without_an_answer_is_said_once_and_asked_again(error, reason, after_s):
    """The condition is written when it is news; it goes with the first answer."""
    made = program()
    made.git.error = error
    again = await made.check()
    assert (again.after_s, again.limit_s) == (after_s, 30.0)
    assert made.condition() == ("False", reason)
    writes = len(made.cluster.made("write"))
    await made.check()
    assert len(made.cluster.made("write")) == writes
    made.git.error = None
    assert await made.check() is None
    assert made.condition() == ("True", "Succeeded")


@virtual
async def test_two_replicas_on_one_push_make_one_job():
    """Whatever their caches know of each other."""
    made = program(requested=2)
    made.cluster.lagging.update({"Job", "WebhookTrigger"})
    other = Program(made.cluster)
    await asyncio.gather(made.check(), other.check())
    assert len(made.jobs()) == 1
    assert (made.entry().runs, made.entry().handled) == (1, 2)


@virtual
async def test_a_bug_in_one_check_ends_nothing():
    """It is logged with its traceback, and tried again."""
    made = program()
    made.git.error = RuntimeError("bug")
    assert await made.check() is not None
    made.git.error = None
    assert await made.check() is None


@virtual
async def test_last_run_is_coarse():
    """At most one write in ten minutes where nothing changed."""
    made = program(requested=0, runs=1, commit=A)
    await made.check(due="2026-05-06T07:00:10Z", fence=Fence())
    first = len(made.cluster.made("write"))
    for minute in range(1, 10):
        await asyncio.sleep(50)
        await made.check(due=f"2026-05-06T07:{minute:02}:10Z", fence=Fence())
    assert len(made.cluster.made("write")) == first
    await asyncio.sleep(300)
    await made.check(due="2026-05-06T07:20:10Z", fence=Fence())
    assert len(made.cluster.made("write")) == first + 1


@virtual
async def test_a_service_account_that_is_not_allowed_runs_nothing():
    """The installation's policy: condition and Event name it."""
    made = program()
    made.cluster.change(Ref("Action", "n", "build"), spec={"actionJob": {"serviceAccount": "admin"}})
    made.runs._defaults = lambda: replace(DEFAULTS, allowed_accounts=("builder",))
    assert await made.check() is not None
    assert made.condition() == ("False", "ServiceAccountNotAllowed")
    assert made.jobs() == []
