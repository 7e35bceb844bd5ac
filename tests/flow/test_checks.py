"""Checks: what is settled, asked, decided and skipped, one rule of the ledger after the other."""

import asyncio
from datetime import timedelta

import pytest

from git_events_runner.errors import (
    ApiNotFound,
    FenceLost,
    GitRateLimited,
    GitReferenceNotFound,
    InvalidObject,
    SecretUnusable,
)
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.ledger.deliveries import delivery_hash
from git_events_runner.rules.ledger.mutations import Count
from git_events_runner.rules.ledger.patch import combine
from git_events_runner.rules.messages import Requeue
from tests.flow.program import REF, annotation, program
from tests.flow.virtual import virtual
from tests.flow.world import A, B, Fence, recorded


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
async def test_a_job_that_exists_in_memory_alone_is_not_recorded():
    """An etcd that was restored has neither the Job nor its run: the run is made again, so that it is not lost."""
    made = program(requested=1)
    job = made.cluster.job(made.cluster.objects[REF], 1, commit=A, occurrence="1")
    del made.cluster.objects[made.cluster.ref(job)]
    assert await made.check() is None
    [again] = made.jobs()
    assert again["metadata"]["name"] == job["metadata"]["name"]
    assert again["metadata"]["uid"] != job["metadata"]["uid"]
    assert (made.entry().runs, made.entry().handled) == (1, 1)


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
async def test_requests_counted_meanwhile_do_not_start_it_again():
    """A storm must not starve the check; they stay open for the next one."""
    made = program()
    made.git.then = lambda: made.cluster.change(REF, status=recorded(runs=0, commit=None, requested=50))
    await made.check()
    assert made.git.asked == 1
    assert (made.entry().runs, made.entry().handled, made.entry().requested) == (1, 1, 50)


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
    made.cluster.offset = timedelta(hours=1)
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
async def test_a_delivery_that_joined_leader_work_is_answered_without_leadership():
    """The due time goes to the next leader, the counted request is this replica's."""
    made = program(requested=1, runs=1, commit=A)
    fence = Fence()
    fence.lost = True
    assert await made.check(due="2026-05-06T08:00:00Z", fence=fence) is None
    [(_, left)] = made.cluster.asked
    assert (left.due_at, left.fence, left.tasks) == (None, None, ("t",))


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
    await made.cluster.flush()
    await made.check(due="2026-05-06T07:12:10Z", fence=Fence())
    assert len(made.cluster.made("write")) == first + 1


@virtual
async def test_a_source_removed_during_its_check_runs_nothing():
    """The trigger is another one now; the records of its other sources stay."""
    made = program()
    made.git.then = lambda: made.cluster.change(REF, spec={"sources": {"names": ["other"]}})
    status = recorded(runs=0, commit=None, requested=1)
    status["checkedSources"]["other"] = dict(status["checkedSources"]["app"], runs=3)
    made.cluster.change(REF, status=status)
    assert await made.check() is None
    assert made.jobs() == []
    assert made.entry("other").runs == 3


@virtual
async def test_an_entry_of_the_original_is_adopted_not_fired():
    """The same commit is no change; the entry has our fields from then on."""
    made = program()
    old = {"checkedSources": {"app": {"commitHash": A, "fileHash": "x", "changed": "2024-01-01T00:00:00Z"}}}
    made.cluster.put(made.cluster.objects[REF] | {"status": old | {"lastRun": "Never"}})
    assert await made.check(due="2026-05-06T07:00:00Z", fence=Fence()) is None
    assert made.jobs() == []
    assert (made.entry().adopted, made.entry().commit) == (False, A)
    made.git.head = B
    assert await made.check(due="2026-05-06T08:00:00Z", fence=Fence()) is None
    assert len(made.jobs()) == 1


@virtual
async def test_only_news_of_the_source_is_asked_about_at_once():
    """A webhook's first try asks also a source that failed a moment ago; schedules and later tries wait their time."""
    made = program(requested=1)
    made.git.error = GitReferenceNotFound("no such branch")
    for due, retry, urgent in ((None, False, True), (None, True, False), ("2026-01-01T00:00:00Z", False, False)):
        await made.check(due=due, retry=retry)
        assert made.git.urgent is urgent
    assert made.git.asked == 3


@virtual
async def test_a_request_waits_a_moment_for_what_is_missing():
    """An action that is created again during the check: it is tried again for half a minute, then by the sweep."""
    made = program()
    action = Ref("Action", "n", "build")
    kept = made.cluster.objects[action]
    made.git.then = lambda: made.cluster.drop(action)
    again = await made.check()
    assert (again.after_s, again.limit_s, again.failed) == (None, 30.0, True)
    made.cluster.put({**kept, "metadata": {"name": "build", "namespace": "n"}})
    assert await made.check(retry=True) is None
    assert len(made.jobs()) == 1
    made.cluster.drop(action)
    made.cluster.change(REF, status={**made.cluster.objects[REF]["status"], **recorded(requested=9)})
    assert await made.check(fence=Fence()) is None


@virtual
async def test_a_due_time_waits_for_what_is_missing():
    """A trigger made before its action is looked at as soon as that is there, not a whole interval later."""
    made = program(requested=0)
    action = made.cluster.objects[Ref("Action", "n", "build")]
    made.cluster.drop(Ref("Action", "n", "build"))
    due = "2026-05-06T07:00:00Z"
    assert await made.check(due=due, fence=Fence()) == Requeue()
    assert await made.check(due=due, fence=Fence(), retry=True) == Requeue()
    assert len(made.cluster.made("write")) == 1
    made.cluster.change(REF, status=recorded(runs=0, commit=None, requested=1))
    assert await made.check(due=due, fence=Fence(), retry=True) == Requeue()
    made.cluster.put(action | {"metadata": {"name": "build", "namespace": "n"}})
    assert await made.check(due=due, fence=Fence(), retry=True)
    assert await made.check(due=due, fence=Fence(), retry=True) is None
    assert [annotation(job, "occurrence") for job in made.jobs()] == ["1"]


@virtual
async def test_a_trigger_that_goes_while_it_is_looked_at_leaves_no_series():
    """They were forgotten when it went; nobody would forget them again."""
    made = program()

    def goes():
        made.cluster.drop(REF)
        made.cluster.metrics.forget(REF)

    made.git.then = goes
    await made.check()
    assert made.git.then is None
    assert made.cluster.series("trigger_check_count_total{") == 0


@virtual
async def test_a_nightly_run_of_every_check_is_not_replaced_by_a_delivery():
    """A delivery that came half a minute before answers itself alone where not only changes run."""
    made = program(requested=1, runs=1, commit=A, announced={"commit": None, "at": "2026-05-06T06:59:50Z"})
    made.cluster.change(REF, spec={"sources": {"watchOn": {"onChangeOnly": False}, "names": ["app"]}})
    assert await made.check() is None
    assert await made.check(due="2026-05-06T07:00:00Z", fence=Fence()) is None
    assert sorted(annotation(job, "occurrence") for job in made.jobs()) == ["1", "2026-05-06T07:00:00Z"]


@virtual
async def test_a_clock_that_was_a_day_ahead_for_a_moment_stops_no_schedule():
    """Tomorrow's time is on record; today's is checked, and recorded in its place."""
    made = program(requested=0, runs=1, commit=A, answeredAt="2026-05-07T07:00:00Z")
    status = made.cluster.objects[REF]["status"] | {"lastRun": "2026-05-07T07:00:01Z"}
    made.cluster.change(REF, status=status)
    await asyncio.sleep(1)
    assert await made.check(due="2026-05-06T07:00:00Z", fence=Fence()) is None
    assert made.git.asked == 1
    assert made.entry().answered_at == "2026-05-06T07:00:00Z"
    assert made.cluster.objects[REF]["status"]["lastRun"].startswith("2026-05-06T07:00:0")


@virtual
@pytest.mark.parametrize("wrong", [{"handled": 50}, {"runs": 2**63 - 2}, {"handled": 2**53, "runs": -5}])
async def test_a_delivery_after_an_edit_of_the_status_by_hand_runs(wrong):
    """Numbers that cannot be right read as if they were not there; the run that was made before is known by its Job."""
    made = program(requested=2, runs=1, commit=A)
    trigger = made.cluster.objects[REF]
    made.cluster.job(trigger, 1, commit=A, occurrence="2")
    status = trigger["status"]
    status["checkedSources"]["app"] |= wrong
    count = Count(requests={"app": None}, delivery=delivery_hash("d"), at="2026-05-06T06:00:00Z")
    made.cluster.put(trigger | {"status": combine(status, [count])[0]})
    made.git.head = B
    assert await made.check() is None
    assert len(made.jobs()) == 2
    assert (made.entry().commit, made.entry().handled, made.entry().requested) == (B, 3, 3)


@virtual
async def test_what_is_missing_for_a_moment_drops_no_occurrence():
    """A source that is replaced while its host key is compared answers 404; only a trigger's own end drops a check."""
    made = program(requested=0, runs=1, commit=A)
    due = "2026-05-06T07:00:00Z"
    made.git.error = ApiNotFound("reading GitRepo n/app: not found")
    assert await made.check(due=due, fence=Fence()) == Requeue()
    made.cluster.change(REF, status=recorded(requested=1))
    assert await made.check() == Requeue(limit_s=30.0)
    made.git.then = lambda: made.cluster.drop(REF)
    assert await made.check(due=due, fence=Fence()) is None


@virtual
async def test_a_due_time_waits_for_patterns_that_can_be_read():
    """The next due time may be a month away; a request is left to the leader's sweep."""
    made = program(requested=0, runs=1, commit=A)
    good = made.cluster.objects[REF]["spec"]
    watch = {"onChangeOnly": True, "reference": {"branch": "main"}, "files": ["*.md"]}
    made.cluster.change(REF, spec={"sources": good["sources"] | {"watchOn": watch}})
    made.git.head = B
    made.git.tree_error = InvalidObject("spec.sources.watchOn.files", "matching takes too many steps")
    due = "2026-05-06T07:00:00Z"
    assert await made.check(due=due, fence=Fence()) == Requeue()
    made.cluster.change(REF, spec={"sources": good["sources"]})
    assert await made.check(due=due, fence=Fence(), retry=True) is None
    assert [annotation(job, "occurrence") for job in made.jobs()] == [due]


@virtual
async def test_a_due_time_waits_for_a_spec_that_can_be_read():
    """Somebody breaks the spec while a check is tried again, and repairs it: the due time is not lost in between."""
    made = program(requested=0, runs=1, commit=A)
    good = made.cluster.objects[REF]["spec"]
    made.cluster.change(REF, spec={"sources": good["sources"] | {"kind": "Nothing"}})
    made.git.head = B
    due = "2026-05-06T07:00:00Z"
    assert await made.check(due=due, fence=Fence()) == Requeue()
    made.cluster.change(REF, spec={"sources": good["sources"]})
    assert await made.check(due=due, fence=Fence(), retry=True) is None
    assert [annotation(job, "occurrence") for job in made.jobs()] == [due]
