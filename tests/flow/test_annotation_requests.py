"""Checks and runs that a person requests by annotation, and triggers that are suspended."""

import asyncio
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from git_events_runner.concurrency.fairness import equal
from git_events_runner.errors import ApiForbidden, ApiUnavailable
from git_events_runner.flow.annotation_requests import AnnotatedRequests
from git_events_runner.flow.checks.open_requests import OpenRequests
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.annotated import CHECK_ANNOTATION, RUN_ANNOTATION, SOURCES_ANNOTATION
from git_events_runner.rules.ledger.entry import entry_of
from git_events_runner.serving import running
from tests.flow.program import REF, annotation, program
from tests.flow.virtual import until, virtual
from tests.flow.world import A, B, Fence, recorded


def annotate(cluster, ref=REF, **annotations):
    metadata = cluster.objects[ref]["metadata"]
    return cluster.change(ref, metadata=metadata | {"annotations": annotations} if annotations else metadata)


def leading(made):
    """The leader's part, which submits to `made.cluster.asked`."""
    cluster = made.cluster
    annotated = AnnotatedRequests(
        store=cluster.store, writer=cluster, submit=cluster.submit, announcer=cluster, now=cluster.now, weight=equal
    )
    return running(annotated=annotated.run_as_leader(Fence()))


async def checked(made):
    """Check what was submitted, as the lanes do."""
    while made.cluster.asked:
        _, request = made.cluster.asked.pop(0)
        await made.checks.check(request)
        await made.cluster.flush()


@virtual
async def test_a_run_that_is_requested_runs_the_commit_that_ran_before():
    """Though nothing has changed, once, with the token on its Job; the same token again does nothing."""
    made = program(runs=1, commit=A, requested=0)
    async with leading(made):
        annotate(made.cluster, **{RUN_ANNOTATION: "2026-11-30T08:00:00Z"})
        await until(lambda: made.cluster.asked)
        await checked(made)
        [job] = made.jobs()
        assert (annotation(job, "reason"), annotation(job, "commit")) == ("fire-requested", A)
        assert annotation(job, "run-requested-at") == "2026-11-30T08:00:00Z"
        assert not made.entry().is_open
        annotate(made.cluster)
        await asyncio.sleep(60)
        assert made.cluster.asked == []
        annotate(made.cluster, **{RUN_ANNOTATION: "again"})
        await until(lambda: made.cluster.asked)
        await checked(made)
    assert len(made.jobs()) == 2
    assert made.cluster.objects[REF]["status"]["lastHandledRunRequestedAt"] == "again"


@virtual
async def test_a_check_that_is_requested_finds_a_change_or_nothing():
    """As a request to a webhook does."""
    made = program(runs=1, commit=A, requested=0)
    async with leading(made):
        annotate(made.cluster, **{CHECK_ANNOTATION: "1"})
        await until(lambda: made.cluster.asked)
        await checked(made)
        assert made.jobs() == []
        made.git.head = B
        annotate(made.cluster, **{CHECK_ANNOTATION: "2"})
        await until(lambda: made.cluster.asked)
        await checked(made)
    [job] = made.jobs()
    assert (annotation(job, "reason"), annotation(job, "commit")) == ("fire-changed", B)
    assert not made.entry().is_open


@virtual
@pytest.mark.parametrize("on_change", [True, False])
async def test_a_run_by_hand_takes_nothing_from_the_requests(on_change):
    """With `onChangeOnly: false` each of two open requests has its run besides; else one run is for all of them."""
    made = program(runs=1, commit=A, requested=2)
    sources = made.cluster.objects[REF]["spec"]["sources"] | {"watchOn": {"onChangeOnly": on_change}}
    made.cluster.change(REF, spec={"sources": sources})
    async with leading(made):
        annotate(made.cluster, **{RUN_ANNOTATION: "1"})
        await until(lambda: made.cluster.asked)
    await checked(made)
    while await made.check() is not None:
        pass
    reasons = sorted(annotation(job, "reason") for job in made.jobs())
    assert reasons == (["fire-requested"] if on_change else ["fire-always", "fire-always", "fire-requested"])
    assert not made.entry().is_open


@virtual
async def test_only_the_named_sources_run():
    """`run-requested-sources` narrows it; a name that is no source is reported, once, and requests nothing."""
    made = program(requested=0)
    made.cluster.change(REF, spec={"sources": {"names": ["app", "lib"]}})
    async with leading(made):
        annotate(made.cluster, **{RUN_ANNOTATION: "1", SOURCES_ANNOTATION: "lob"})
        await until(lambda: made.cluster.told)
        annotate(made.cluster, **{RUN_ANNOTATION: "1", SOURCES_ANNOTATION: "lob", "other": "x"})
        await asyncio.sleep(5)
        assert made.cluster.asked == []
        annotate(made.cluster, **{RUN_ANNOTATION: "1", SOURCES_ANNOTATION: "app"})
        await until(lambda: made.cluster.asked)
    assert [request.source for _, request in made.cluster.asked] == ["app"]
    assert made.cluster.reasons == ["RequestInvalid"]


@virtual
async def test_the_log_names_the_references_that_run():
    """`local --once` waits for their runs; none follows that is named as the source alone."""
    made = program(requested=0)
    watch = {"onChangeOnly": True, "references": {"branches": {"include": ["*"]}}}
    made.cluster.change(REF, spec={"sources": {"names": ["app"], "watchOn": watch}})
    entries = {"app": {"listedAt": "2026-05-06T07:00:00Z"}, "app@heads/main": {"commitHash": A}}
    made.cluster.change(REF, status={"checkedSources": entries})
    with capture_logs() as logs:
        async with leading(made):
            annotate(made.cluster, **{RUN_ANNOTATION: "1"})
            await until(lambda: made.cluster.asked)
    assert [one["sources"] for one in logs if one["event"] == "request.recorded"] == [["app@heads/main"]]


@virtual
async def test_a_status_that_cannot_be_written_is_tried_again():
    """For as long as it takes, and the token counts once though an answer was lost."""
    made = program(requested=0)
    made.cluster.faults += [("before", ApiForbidden("no")), ("before", ApiUnavailable("away"))]
    async with leading(made):
        annotate(made.cluster, **{RUN_ANNOTATION: "1"})
        await until(lambda: made.cluster.asked)
        await asyncio.sleep(300)
    assert made.entry().run_requested == 1
    assert len(made.cluster.asked) == 1


@virtual
async def test_a_token_that_was_overtaken_on_the_server_is_not_handled():
    """This leader read the first token; meanwhile another one recorded the second, which this one has not read yet."""
    made = program(runs=1, commit=A, requested=0)
    write, late = made.cluster.write, []

    async def overtaken(ref, uid, *mutations):
        if not late:
            late.append(mutations)
            annotate(made.cluster, **{RUN_ANNOTATION: "b"})
            made.cluster.change(ref, status={"lastHandledRunRequestedAt": "b"})
        return await write(ref, uid, *mutations)

    made.cluster.write = overtaken
    async with leading(made):
        annotate(made.cluster, **{RUN_ANNOTATION: "a"})
        await asyncio.sleep(60)
    assert late
    assert made.cluster.asked == []
    assert made.entry().run_requested == 0


@virtual
async def test_a_new_leader_handles_what_was_requested_meanwhile():
    """Annotated while no replica was the leader; counted by the one before, and never checked."""
    made = program(runs=1, commit=A, requested=0)
    annotate(made.cluster, **{RUN_ANNOTATION: "1"})
    async with leading(made):
        await until(lambda: made.cluster.asked)
    made.cluster.asked.clear()  # the process ended here
    requests = OpenRequests(
        store=made.cluster.store, submit=made.cluster.submit, pending=lambda _u, _s: False, now=made.cluster.now
    )
    await requests.resume()
    await until(lambda: made.cluster.asked)
    await checked(made)
    assert [annotation(job, "reason") for job in made.jobs()] == ["fire-requested"]


@virtual
@pytest.mark.parametrize("due", [None, "2026-05-06T07:00:00Z"])
async def test_a_suspended_trigger_checks_nothing(due):
    """Its requests stay open, git is not asked; after it they are checked once."""
    made = program(requested=500)
    made.cluster.change(REF, spec={"suspend": True})
    assert await made.check(due=due, fence=Fence() if due else None) is None
    assert (made.git.asked, made.jobs(), made.entry().handled) == (0, [], 0)
    made.cluster.change(REF, spec={"suspend": False})
    assert await made.check() is None
    assert (made.git.asked, len(made.jobs()), made.entry().handled) == (1, 1, 500)


@virtual
async def test_a_suspended_trigger_runs_what_a_person_requests():
    """That is what people do in an incident; a check that they request waits."""
    made = program(runs=1, commit=A, requested=0)
    made.cluster.change(REF, spec={"suspend": True})
    async with leading(made):
        annotate(made.cluster, **{CHECK_ANNOTATION: "1"})
        await until(lambda: made.cluster.asked)
        await checked(made)
        assert made.jobs() == []
        annotate(made.cluster, **{RUN_ANNOTATION: "1"})
        await until(lambda: made.cluster.asked)
        await checked(made)
    assert [annotation(job, "reason") for job in made.jobs()] == ["fire-requested"]


@virtual
async def test_open_requests_of_a_suspended_trigger_are_left_alone():
    """The leader's sweep submits them when it is resumed, and not before."""
    made = program(requested=1)
    made.cluster.change(REF, spec={"suspend": True})
    requests = OpenRequests(
        store=made.cluster.store, submit=made.cluster.submit, pending=lambda _u, _s: False, now=made.cluster.now
    )
    requests.begin()
    for _ in range(20):
        await requests.sweep(Fence())
        await asyncio.sleep(5)
    assert made.cluster.asked == []
    made.cluster.change(REF, spec={"suspend": False})
    await requests.sweep(Fence())
    await asyncio.sleep(30)
    await requests.sweep(Fence())
    assert [request.source for _, request in made.cluster.asked] == ["app"]


@virtual
async def test_suspending_while_git_is_asked_makes_no_job():
    """The trigger is read live before the Job is created."""
    made = program(requested=1)
    made.git.then = lambda: made.cluster.change(REF, spec={"suspend": True})
    assert await made.check() is None
    assert (made.jobs(), made.entry().handled) == ([], 0)


@virtual
@pytest.mark.parametrize("annotation_name", [CHECK_ANNOTATION, RUN_ANNOTATION])
async def test_a_request_takes_no_scheduled_time_from_the_trigger(annotation_name):
    """What is pushed between a request and a scheduled time seconds later runs at that time, not a period later."""
    made = program(requested=0)
    ref = Ref("ScheduleTrigger", "n", "every")
    made.cluster.trigger("ScheduleTrigger", "every", status=recorded(runs=1, commit=A, requested=0))
    async with leading(made):
        annotate(made.cluster, ref, **{annotation_name: "1"})
        await until(lambda: made.cluster.asked)
        await checked(made)
    before = len(made.jobs())
    made.git.head = B
    due = (made.cluster.now() + timedelta(seconds=10)).isoformat()
    await made.check(due=due, fence=Fence(), ref=ref)
    assert [annotation(job, "reason") for job in made.jobs()].count("fire-changed") == 1
    assert len(made.jobs()) == before + 1


@virtual
async def test_a_first_scheduled_check_may_run_nothing():
    """`firstCheck: Record` takes the present commit as known; the next one runs."""
    made = program(requested=0)
    made.cluster.change(REF, spec={"firstCheck": "Record", "schedule": {"interval": "1h"}})
    await made.check(due="2026-05-06T07:00:00Z", fence=Fence())
    assert (made.jobs(), made.entry().commit, made.entry().runs) == ([], A, 0)
    made.git.head = B
    await made.check(due="2026-05-06T08:00:00Z", fence=Fence())
    [job] = made.jobs()
    assert (annotation(job, "commit"), made.entry().runs) == (B, 1)


@virtual
async def test_a_requested_first_check_of_a_schedule_may_run_nothing():
    """A person requests a check of a suspended, new trigger, then resumes it: the present commit is taken as known."""
    made = program(requested=0)
    ref = Ref("ScheduleTrigger", "n", "every")
    made.cluster.trigger("ScheduleTrigger", "every", firstCheck="Record", suspend=True)
    async with leading(made):
        annotate(made.cluster, ref, **{CHECK_ANNOTATION: "1"})
        await until(lambda: made.cluster.asked)
        await checked(made)
    made.cluster.change(ref, spec={"suspend": False})
    await made.check(due="2026-05-06T07:00:00Z", fence=Fence(), ref=ref)
    entry = entry_of(made.cluster.objects[ref]["status"], "app")
    assert (made.jobs(), entry.commit, entry.is_open) == ([], A, False)
    made.git.head = B
    await made.check(due="2026-05-06T08:00:00Z", fence=Fence(), ref=ref)
    assert [annotation(job, "reason") for job in made.jobs()] == ["fire-changed"]


@virtual
async def test_runs_that_wait_together_are_one_job():
    """Two tokens while the git server is down: docs/runs.md."""
    made = program(runs=1, commit=A, requested=0)
    async with leading(made):
        for token in "ab":
            annotate(made.cluster, **{RUN_ANNOTATION: token})
            await asyncio.sleep(5)
    await checked(made)
    assert [annotation(job, "run-requested-at") for job in made.jobs()] == ["b"]


@virtual
async def test_a_first_request_runs_whatever_the_first_check_does():
    """It says that something has changed."""
    made = program(requested=1)
    made.cluster.change(REF, spec={"firstCheck": "Record", "schedule": {"interval": "1h"}})
    await made.check()
    assert [annotation(job, "reason") for job in made.jobs()] == ["fire-first"]
