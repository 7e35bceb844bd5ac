"""Copies of Secrets: gone once the pod has cloned, there again when another pod needs them, no call too many."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from git_events_runner.concurrency.fairness import equal
from git_events_runner.errors import ApiError, ApiNotFound, SecretUnusable
from git_events_runner.flow.jobs.secret_copies import SecretCopies
from git_events_runner.resources.job import KUEUE_LABEL, copy_name
from git_events_runner.resources.ref import Ref
from git_events_runner.wiring.deletions import Deletions
from tests.flow.virtual import until, virtual
from tests.flow.world import Cluster, Fence, NoMessages, recorded


class Secrets:
    """Copies by name, and every call; `error` is raised instead."""

    def __init__(self):
        self.there, self.calls, self.error = set(), [], None

    async def copy_for(self, job, trigger, source):
        self.calls.append(("make", job["metadata"]["name"]))
        if self.error:
            raise self.error
        self.there.add(copy_name(job["metadata"]["name"]))

    async def delete(self, ref, *, timeout_s):
        assert ref.kind == "Secret"
        assert timeout_s == 5.0
        self.calls.append(("delete", ref.name.removeprefix("git-events-runner-")))
        if self.error:
            raise self.error
        if ref.name not in self.there:
            raise ApiNotFound("none")
        self.there.discard(ref.name)


@asynccontextmanager
async def leading(cluster):
    secrets = Secrets()
    part = SecretCopies(
        deletions=Deletions(
            api=secrets,
            writer=cluster,
            events=cluster,
            messages=NoMessages(),
            request_timeout_s=5.0,
            now=cluster.now,
        ),
        store=cluster.store,
        copies=secrets,
        writer=cluster,
        announcer=cluster,
        now=cluster.now,
        weight=equal,
    )
    task = asyncio.ensure_future(part.run_as_leader(Fence()))
    try:
        yield secrets
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def world(**more):
    """A trigger, and a Job of it that needs a copy."""
    cluster = Cluster()
    trigger = cluster.trigger(status=recorded())
    return cluster, trigger, cluster.job(trigger, needs_secret="copy", suspend=False, **more)


def status(cluster, job, **fields):
    cluster.change(cluster.ref(job), status=fields)


def admitted(cluster, secrets, number=2):
    """A Job that the queue admits while this replica leads: it has its copy."""
    trigger = cluster.objects[Ref("WebhookTrigger", "n", "hook")]
    job = cluster.job(trigger, number, needs_secret="copy", suspend=False)
    secrets.there.add(copy_name(job["metadata"]["name"]))
    return job


@virtual
async def test_a_copy_is_deleted_once_the_pod_is_ready():
    """Not before: the init container reads it; and once only."""
    cluster, _, _ = world()
    async with leading(cluster) as secrets:
        await asyncio.sleep(1)
        secrets.calls.clear()
        job = admitted(cluster, secrets)
        name = job["metadata"]["name"]
        for fields in ({}, {"active": 1}, {"active": 1, "ready": 0}):
            status(cluster, job, **fields)
            await asyncio.sleep(5)
        assert secrets.calls == []
        status(cluster, job, active=1, ready=1)
        await until(lambda: secrets.calls, within_s=1)
        await asyncio.sleep(60)
        assert secrets.calls == [("delete", name)]


@virtual
async def test_another_pod_gets_the_copy_again():
    """A Job that is no longer ready is one whose next pod has yet to clone."""
    cluster, _, _ = world()
    async with leading(cluster) as secrets:
        await asyncio.sleep(1)
        job = admitted(cluster, secrets)
        name = copy_name(job["metadata"]["name"])
        for fields, there in (({"ready": 1}, False), ({"ready": 0}, True), ({"ready": 1}, False)):
            status(cluster, job, active=1, **fields)
            await until(lambda there=there: (name in secrets.there) == there, within_s=1)


@virtual
async def test_the_copy_of_a_job_that_ended_is_deleted():
    """Also when its worker ended before anybody saw it ready, and when its trigger is deleted meanwhile."""
    cluster, _, _ = world()
    async with leading(cluster) as secrets:
        await asyncio.sleep(1)
        first, second = admitted(cluster, secrets), admitted(cluster, secrets, 1)
        await asyncio.sleep(1)
        cluster.finish(first)
        await until(lambda: len(secrets.there) == 2, within_s=1)
        cluster.drop(Ref("WebhookTrigger", "n", "hook"))
        cluster.finish(second)
        await until(lambda: copy_name(second["metadata"]["name"]) not in secrets.there, within_s=3)


@virtual
async def test_a_new_leader_finds_out_what_is_there():
    """One call for each Job: its predecessor may have deleted the copy of a Job whose pod was replaced since."""
    cluster, _, job = world()
    async with leading(cluster) as secrets:
        await until(lambda: secrets.calls, within_s=1)
        await asyncio.sleep(60)
        assert secrets.calls == [("make", job["metadata"]["name"])]


@pytest.mark.parametrize("kept", [True, False])
@virtual
async def test_the_copy_of_a_job_whose_pod_may_be_replaced_stays_until_it_ends(kept):
    """Its volume says so: the Secret is not optional there."""
    cluster, _, _ = world()
    async with leading(cluster) as secrets:
        await asyncio.sleep(1)
        job = admitted(cluster, secrets)
        name = copy_name(job["metadata"]["name"])
        volume = {"name": "s", "projected": {"sources": [{"secret": {"name": name, "optional": not kept}}]}}
        cluster.change(cluster.ref(job), spec={"template": {"spec": {"volumes": [volume]}}})
        status(cluster, job, active=1, ready=1)
        await asyncio.sleep(10)
        assert (name in secrets.there) == kept
        cluster.finish(job)
        await until(lambda: name not in secrets.there, within_s=1)


@virtual
async def test_a_waiting_job_is_the_queues_and_kueue_asks_nobody():
    """A suspended Job's copy is neither made nor deleted here, unless another queue admits it."""
    cluster, trigger, _ = world()
    waiting = cluster.job(trigger, 2, needs_secret="copy")
    async with leading(cluster) as secrets:
        await asyncio.sleep(10)
        assert waiting["metadata"]["name"] not in {name for _, name in secrets.calls}
        theirs = cluster.job(trigger, 1, needs_secret="copy", labels={KUEUE_LABEL: "team"})
        await until(lambda: copy_name(theirs["metadata"]["name"]) in secrets.there, within_s=3)


def keeps(cluster, job):
    """The Job's pod cannot start without its copy."""
    volume = {"name": "s", "projected": {"sources": [{"secret": {"name": copy_name(job["metadata"]["name"])}}]}}
    cluster.change(cluster.ref(job), spec={"template": {"spec": {"volumes": [volume]}}})


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("party", ["person", "kueue", "manager"])
@virtual
async def test_a_job_that_another_party_lets_run_has_its_copy(party, kept):
    """Made right after, where it was not there before: by hand, by a quick Kueue, by the manager of the Job."""
    cluster, trigger, _ = world()
    async with leading(cluster) as secrets:
        await asyncio.sleep(1)
        secrets.calls.clear()
        ours = cluster.job(trigger, 2, needs_secret="copy", admission="waiting")
        labels = {KUEUE_LABEL: "team"} if party == "kueue" else None
        word = "waiting" if party == "person" else "elsewhere"
        job = cluster.job(trigger, 1, needs_secret="copy", admission=word, labels=labels, suspend=party == "person")
        if kept:
            keeps(cluster, job)
        if party == "manager":
            cluster.change(cluster.ref(job), spec={"managedBy": "kueue.x-k8s.io/multikueue"})
        await asyncio.sleep(5)
        assert bool(secrets.calls) == (party != "person")
        cluster.change(cluster.ref(job), spec={"suspend": False})
        await until(lambda: copy_name(job["metadata"]["name"]) in secrets.there, within_s=3)
        await asyncio.sleep(60)
        assert secrets.calls == [("make", job["metadata"]["name"])]
        assert copy_name(ours["metadata"]["name"]) not in secrets.there


@virtual
async def test_a_job_that_is_resumed_after_its_clone_has_its_copy_again():
    """A person suspended it, and Kubernetes starts another pod when it is resumed."""
    cluster, trigger, _ = world()
    async with leading(cluster) as secrets:
        await asyncio.sleep(1)
        job = cluster.job(trigger, 2, needs_secret="copy", admission="admitted", suspend=False)
        name = copy_name(job["metadata"]["name"])
        secrets.there.add(name)
        status(cluster, job, active=1, ready=1)
        await until(lambda: name not in secrets.there, within_s=3)
        cluster.change(cluster.ref(job), spec={"suspend": True}, status={"active": 0, "ready": 0})
        await asyncio.sleep(10)
        assert name not in secrets.there
        cluster.change(cluster.ref(job), spec={"suspend": False})
        await until(lambda: name in secrets.there, within_s=3)


@virtual
async def test_jobs_that_are_no_runs_are_ignored():
    """No Secret is made or deleted for the sake of a forged Job."""
    cluster = Cluster()
    trigger = cluster.trigger(status=recorded())
    forged = cluster.job(trigger, 9, needs_secret="copy", suspend=False)
    cluster.job(trigger, 1, needs_secret="copy", suspend=False, namespace="evil")
    async with leading(cluster) as secrets:
        await asyncio.sleep(10)
        cluster.finish(forged)
        await asyncio.sleep(10)
        assert secrets.calls == []


@pytest.mark.parametrize("error", [ApiError("not now"), SecretUnusable("no Secret")])
@virtual
async def test_what_failed_is_tried_again_every_ten_seconds(error):
    """A credential that cannot be copied is an Event and a condition of the trigger; nothing else waits for it."""
    cluster, _, job = world()
    async with leading(cluster) as secrets:
        secrets.error = error
        await asyncio.sleep(35)
        assert 3 <= len(secrets.calls) <= 5
        assert bool(cluster.reasons) == isinstance(error, SecretUnusable)
        conditions = cluster.objects[Ref("WebhookTrigger", "n", "hook")]["status"].get("conditions") or ()
        ready = {c["type"]: (c["status"], c["message"]) for c in conditions}.get("Ready", ("True", ""))
        assert (ready[0] == "False") == isinstance(error, SecretUnusable)
        assert ("no Secret" in ready[1]) == isinstance(error, SecretUnusable)
        secrets.error = None
        await until(lambda: copy_name(job["metadata"]["name"]) in secrets.there, within_s=15)
