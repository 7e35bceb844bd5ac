"""Runs: the last live look, the creation of the Job and its outcomes, one rule of the ledger after the other."""

import asyncio

import pytest

from git_events_runner.errors import ApiConflict, ApiForbidden, ApiInvalid, ApiTooManyRequests, ApiUnavailable
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.policy import Policy
from tests.flow.program import REF, Program, annotation, program
from tests.flow.virtual import at, virtual
from tests.flow.world import A, B


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
@pytest.mark.parametrize(("recorded", "event"), [(B, "changed"), (None, "first")])
async def test_the_worker_gets_the_commit_that_was_recorded_before(recorded, event):
    """And why it runs; the cloner gets the same commit to compare with, or that there is none."""
    made = program(commit=recorded, runs=4 if recorded else 0)
    await made.check()
    pod = made.jobs()[0]["spec"]["template"]["spec"]
    worker, cloner = (
        {e["name"]: e.get("value") for e in pod[part][0]["env"]} for part in ("containers", "initContainers")
    )
    assert worker["ACTION_JOB_EVENT"] == event
    assert worker.get("ACTION_JOB_TRIGGER_SOURCE_PREVIOUS_COMMIT") == recorded
    assert worker["ACTION_JOB_RUN_NUMBER"] == ("5" if recorded else "1")
    assert cloner["GIT_EVENTS_RUNNER_PREVIOUS_COMMIT"] == (recorded or "none: no previous commit is recorded")


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
    assert len(made.cluster.made("get", "WebhookTrigger")) == 2
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
    made = program(requested=2)
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
async def test_without_a_place_a_job_waits():
    """It is made suspended, and recorded at once: the queue lets it in."""
    made = program()
    made.slots.free = False
    await made.check()
    assert made.jobs()[0]["spec"]["suspend"] is True
    assert made.entry().runs == 1
    assert made.cluster.objects[REF]["status"]["checkedSources"]["app"]["lastJob"]["phase"] == "Queued"


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
async def test_a_service_account_that_is_not_allowed_runs_nothing():
    """The installation's policy: condition and Event name it."""
    made = program()
    made.cluster.change(Ref("Action", "n", "build"), spec={"actionJob": {"serviceAccount": "admin"}})
    made.cluster.policy = Policy(service_accounts=("builder",))
    assert await made.check() is None
    assert made.condition() == ("False", "ServiceAccountNotAllowed")
    assert made.jobs() == []


@virtual
async def test_a_place_is_kept_until_the_job_that_exists_is_known():
    """Given back at once it would be taken by another, and one Job too many would run."""
    made = program()
    made.cluster.lagging.add("Job")
    job = made.cluster.job(made.cluster.objects[REF], 1, suspend=False, occurrence="1")
    known = []
    released = made.slots.release

    def release(ref):
        known.append(made.cluster.store.get(ref) is not None)
        released(ref)

    made.slots.release = release
    await made.check()
    assert (known, made.slots.taken, made.jobs()) == ([True], set(), [job])


@virtual
async def test_a_job_that_another_controller_suspends_at_creation_is_left_to_it():
    """As Kueue does where it manages Jobs without a queue name: the run is recorded, its phase says so."""
    made = program()
    create = made.cluster.create

    async def suspending(kind, obj, **options):
        return await create(kind, {**obj, "spec": obj["spec"] | {"suspend": True}}, **options)

    made.cluster.create = suspending
    await made.check()
    [job] = made.jobs()
    assert annotation(job, "admission") == "admitted"
    assert made.cluster.objects[REF]["status"]["checkedSources"]["app"]["lastJob"]["phase"] == "Suspended"


@virtual
@pytest.mark.parametrize("openshift", [True, False])
async def test_a_namespace_of_openshift_is_known_by_its_annotation(openshift):
    """With the default config: its pods get their user and group from the cluster."""
    made = program()
    annotations = {"openshift.io/sa.scc.uid-range": "1000650000/10000"} if openshift else {}
    made.cluster.put({"kind": "Namespace", "metadata": {"name": "n", "annotations": annotations}})
    await made.check()
    [job] = made.jobs()
    pod = job["spec"]["template"]["spec"]
    assert ("fsGroup" in pod["securityContext"]) == (not openshift)
    assert ("runAsUser" in pod["initContainers"][0]["securityContext"]) == (not openshift)
