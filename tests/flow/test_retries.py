"""Failed runs that are run again: how often, when, and what stops it, also across crashes."""

import asyncio
from contextlib import asynccontextmanager
from datetime import datetime

import pytest

from git_events_runner.concurrency.fairness import equal
from git_events_runner.errors import ApiUnavailable
from git_events_runner.flow.retries import Retries
from tests.flow.program import REF, annotation, program
from tests.flow.test_results import results_of
from tests.flow.virtual import at, until, virtual
from tests.flow.world import START, A, B, Fence


def world(**retry):
    """A trigger whose run 1 of commit A has a Job; failed runs are run again three times, after 1, 2 and 4 min."""
    made = program()
    made.cluster.change(REF, spec={"retry": {"limit": 3} | retry})
    return made


def fail(made, job, *, message=""):
    """The Job fails now."""
    ref, now = made.cluster.ref(job), made.cluster.now().isoformat()
    condition = {"type": "Failed", "status": "True", "lastTransitionTime": now, "message": message}
    made.cluster.change(ref, status={"startTime": now, "conditions": [condition]})


@asynccontextmanager
async def leading(made, *, most=10):
    """A leader that follows Jobs and runs failed ones again."""
    cluster = made.cluster
    retries = Retries(
        reader=cluster,
        store=cluster.store,
        gate=cluster.gate,
        runs=made.runs,
        announcer=cluster,
        most=lambda: most,
        metrics=cluster.metrics,
        now=cluster.now,
        weight=equal,
    )
    fence = Fence()
    tasks = [asyncio.ensure_future(part.run_as_leader(fence)) for part in (retries, results_of(cluster, {}.get))]
    await asyncio.sleep(0.2)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def by_number(made):
    """All Jobs, in the order of their runs."""
    return sorted(made.jobs(), key=lambda job: int(annotation(job, "run").rpartition("/")[2]))


def unfinished(made):
    return [job for job in by_number(made) if not job.get("status", {}).get("conditions")]


def created(made):
    """When each Job was created, in seconds."""
    return [round((_time(job) - START).total_seconds()) for job in by_number(made)]


def _time(job):
    return datetime.fromisoformat(job["metadata"]["creationTimestamp"])


def attempts(made):
    return [job["metadata"]["annotations"].get("git-events-runner.rs/attempt") for job in by_number(made)]


async def fail_each(made, seconds):
    """Every Job fails as soon as it is there, for so long."""
    end = at() + seconds
    while at() < end:
        for job in unfinished(made):
            fail(made, job)
        await asyncio.sleep(0.5)


@virtual
async def test_a_run_that_always_fails_is_run_again_three_times_at_growing_intervals():
    """Exactly three further Jobs at the same commit, each a run of its own with its attempt and its reason."""
    made = world()
    await made.check()
    async with leading(made):
        await fail_each(made, 1500)
    assert attempts(made) == [None, "2/4", "3/4", "4/4"]
    first, *gaps = [later - earlier for earlier, later in zip(created(made), created(made)[1:], strict=False)]
    assert 60 <= first <= 64
    assert [120 <= gaps[0] <= 124, 240 <= gaps[1] <= 244] == [True, True]
    assert {annotation(job, "commit") for job in made.jobs()} == {A}
    assert [annotation(job, "reason") for job in by_number(made)] == ["fire-first", *["retry"] * 3]
    assert made.cluster.reasons.count("JobRetried") == 3
    assert made.cluster.series("jobs_retried_total{") == 3
    history = made.cluster.objects[REF]["status"]["history"]
    assert [(one["number"], one.get("attempt"), one["phase"]) for one in history] == [
        (4, "4/4", "Failed"),
        (3, "3/4", "Failed"),
        (2, "2/4", "Failed"),
        (1, None, "Failed"),
    ]


@virtual
async def test_a_retry_that_succeeds_is_the_last_one():
    """Nothing runs after it."""
    made = world()
    await made.check()
    async with leading(made):
        fail(made, made.jobs()[0])
        await until(lambda: len(made.jobs()) == 2)
        made.cluster.finish(unfinished(made)[0])
        await asyncio.sleep(600)
    assert attempts(made) == [None, "2/4"]


@virtual
async def test_no_run_is_run_again_after_a_newer_commit_ran():
    """An older commit never runs after a newer one."""
    made = world()
    await made.check()
    async with leading(made):
        fail(made, made.jobs()[0])
        await asyncio.sleep(30)
        made.git.head = B
        status = made.cluster.objects[REF]["status"]
        entry = status["checkedSources"]["app"] | {"requested": 2}
        made.cluster.change(REF, status={"checkedSources": {"app": entry | {"waiting": None}}})
        await made.check()
        made.cluster.finish(unfinished(made)[0])
        await asyncio.sleep(600)
    assert [annotation(job, "commit") for job in by_number(made)] == [A, B]


@virtual
async def test_a_retry_handles_no_request():
    """A delivery that is recorded before the retry stays open for the check that it requests."""
    made = world()
    await made.check()
    async with leading(made):
        fail(made, made.jobs()[0])
        entry = made.cluster.objects[REF]["status"]["checkedSources"]["app"] | {"requested": 2}
        made.cluster.change(REF, status={"checkedSources": {"app": entry | {"waiting": None}}})
        await until(lambda: len(made.jobs()) == 2)
        await until(lambda: made.entry().runs == 2)
    assert (made.entry().requested, made.entry().handled) == (2, 1)


@virtual
@pytest.mark.parametrize(
    "spec", [{"suspend": True}, {"retry": {"limit": 5}}, {"action": {"kind": "Action", "name": "other"}}]
)
async def test_a_changed_trigger_runs_nothing_again(spec):
    """What failed was a run of another specification."""
    made = world()
    await made.check()
    async with leading(made):
        fail(made, made.jobs()[0])
        made.cluster.change(REF, spec=spec)
        await asyncio.sleep(600)
    assert len(made.jobs()) == 1


@virtual
@pytest.mark.parametrize(("on", "message", "jobs"), [(["CloneFailed"], "", 1), (["Failed"], "", 2)])
async def test_only_what_failed_as_the_trigger_says_is_run_again(on, message, jobs):
    """`on` names the causes."""
    made = world(limit=1, on=on)
    await made.check()
    async with leading(made):
        fail(made, made.jobs()[0], message=message)
        await asyncio.sleep(600)
    assert len(made.jobs()) == jobs


@virtual
async def test_the_runtime_config_bounds_the_retries():
    """Also those of triggers that ask for more."""
    made = world(limit=50, backoff="1s")
    await made.check()
    async with leading(made, most=2):
        await fail_each(made, 120)
    assert attempts(made) == [None, "2/3", "3/3"]


@virtual
async def test_a_failed_job_gets_its_ttl_when_its_retry_was_decided():
    """Else it could be deleted before, and would never be run again."""
    made = world()
    await made.check()
    [job] = made.jobs()

    def ttl(ref):
        return made.cluster.objects[ref]["spec"].get("ttlSecondsAfterFinished")

    async with leading(made):
        await asyncio.sleep(45)
        assert ttl(made.cluster.ref(job)) is None  # it runs, and may fail
        fail(made, job)
        await asyncio.sleep(50)
        assert ttl(made.cluster.ref(job)) is None
        await until(lambda: len(made.jobs()) == 2)
        await until(lambda: ttl(made.cluster.ref(job)) is not None, within_s=120)
        [second] = unfinished(made)
        made.cluster.finish(second)
        await until(lambda: ttl(made.cluster.ref(second)) is not None, within_s=120)


@virtual
async def test_the_back_off_counts_from_the_end_of_the_job_across_a_change_of_leader():
    """A new leader does not begin it again."""
    made = world(backoff="10m")
    await made.check()
    fail(made, made.jobs()[0])
    failed_at = at()
    async with leading(made):
        await asyncio.sleep(300)
    async with leading(made):
        await until(lambda: len(made.jobs()) == 2)
    assert 600 <= at() - failed_at <= 605


@virtual
async def test_a_retry_waits_for_a_window_and_runs_at_its_opening():
    """To the second, though its back-off was over hours before, and across a change of leader."""
    made = world(backoff="1m")
    made.cluster.change(REF, spec={"windows": [{"allow": "0 1/6 * * *", "duration": "5m"}]})
    await made.check()
    async with leading(made):
        await asyncio.sleep(270)
        fail(made, made.jobs()[0])
        await asyncio.sleep(3600)
        assert len(made.jobs()) == 1
    async with leading(made):
        await asyncio.sleep(21_600 - 4200)
        assert len(made.jobs()) == 1
        await asyncio.sleep(600)
    assert attempts(made) == [None, "2/4"]
    assert 21_600 <= created(made)[1] <= 21_601


@virtual
async def test_a_retry_starts_no_sooner_than_the_time_between_runs():
    """`cooldown` counts from the start of the failed run."""
    made = world(backoff="10s", limit=2)
    made.cluster.change(REF, spec={"cooldown": "10m"})
    await made.check()
    async with leading(made):
        await fail_each(made, 2400)
    first, second, third = created(made)
    assert 600 <= second - first <= 603
    assert 600 <= third - second <= 603


@virtual
async def test_a_newer_commit_that_waits_runs_instead_of_a_retry():
    """Both wait for the window: at its opening only the newest commit runs; moved back, the failed one does."""
    for head, jobs in ((B, 1), (A, 2)):
        made = world(backoff="1m")
        made.cluster.change(REF, spec={"windows": [{"allow": "0 7 * * *", "duration": "1h"}]})
        await made.check()
        async with leading(made):
            fail(made, made.jobs()[0])
            await asyncio.sleep(20)
            entry = made.cluster.objects[REF]["status"]["checkedSources"]["app"]
            waiting = {"reason": "OutsideWindows", "commit": B, "since": "2026-05-06T08:00:00Z"}
            made.cluster.change(REF, status={"checkedSources": {"app": entry | {"waiting": waiting}}})
            await asyncio.sleep(200)
            assert len(made.jobs()) == 1
            if head == A:
                made.cluster.change(REF, status={"checkedSources": {"app": entry | {"waiting": None}}})
            await asyncio.sleep(60)
        assert len(made.jobs()) == jobs


class Crashing:
    """Ends the replica at its n-th write: before it is done, or after, when no line that follows it runs."""

    def __init__(self, cluster, number, *, done):
        self.left, self.done, self.crashed = number, done, asyncio.Event()
        for name in ("create", "patch", "write"):
            setattr(cluster, name, self._wrap(getattr(cluster, name)))

    def _wrap(self, call):
        async def counted(*arguments, **options):
            self.left -= 1
            if self.left == 0:
                if self.done:
                    await call(*arguments, **options)
                self.crashed.set()
                await asyncio.Event().wait()
            return await call(*arguments, **options)

        return counted


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("number", range(1, 15))
def test_a_crash_at_any_write_neither_loses_nor_repeats_a_retry(number, done):
    """Three further Jobs, whichever write of the leader was its last one."""

    @virtual
    async def check():
        made = world(backoff="10s")
        await made.check()
        crashing = Crashing(made.cluster, number, done=done)
        failing = asyncio.ensure_future(fail_each(made, 300))
        async with leading(made):
            waiting = asyncio.ensure_future(crashing.crashed.wait())
            await asyncio.wait([waiting], timeout=200)
        crashed = waiting.done()
        waiting.cancel()
        async with leading(made):
            await failing
        assert attempts(made) == [None, "2/4", "3/4", "4/4"]
        assert made.entry().runs == 4
        assert crashed

    check()


@virtual
async def test_an_api_server_that_is_away_delays_a_retry_and_loses_none():
    """The outcome of a creation may be unknown: it is the same Job when it is tried again."""
    made = world(limit=1, backoff="10s")
    await made.check()
    async with leading(made):
        fail(made, made.jobs()[0])
        made.cluster.faults = [("after", ApiUnavailable("lost"))] * 9
        await asyncio.sleep(200)
    assert attempts(made) == [None, "2/2"]
