"""Whose run a Job is: only a trigger of its namespace, a source it names, a number its entry allows; else nobody's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_events_runner.resources.job import JobView, RunKey, job_name
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.identity import owner_of, runs_of, series_labels
from git_events_runner.rules.ledger.entry import entry_of
from git_events_runner.rules.ledger.mutations import Outcome, Settle
from tests.flow.virtual import virtual
from tests.flow.world import A, B, Cluster, recorded

HOOK = Ref("WebhookTrigger", "n", "hook")


def owned(cluster, job):
    """The owner of a Job that the store holds."""
    found = cluster.store.get(cluster.ref(job))
    return owner_of(found, cluster.store)


def forged(cluster, trigger, *, number=2, source="app", namespace="n", name=None, **annotations):
    """A Job that somebody makes with the labels and annotations of a run."""
    job = cluster.job(trigger, number, source=source, suspend=False, **annotations)
    cluster.drop(cluster.ref(job))
    metadata = job["metadata"] | {"namespace": namespace, "uid": f"forged-{number}-{namespace}"}
    return cluster.put(job | {"metadata": metadata | ({"name": name} if name else {})})


@virtual
async def test_a_job_of_a_trigger_is_its_run():
    """The recorded ones and the next."""
    cluster = Cluster()
    trigger = cluster.trigger(status=recorded(runs=3))
    for number in (1, 3, 4):
        owner = owned(cluster, cluster.job(trigger, number))
        assert (owner.trigger.ref, owner.source, owner.number, owner.named) == (HOOK, "app", number, True)
        assert owner.settled == (number <= 3)


@virtual
async def test_a_job_in_another_namespace_is_nobodys():
    """Whatever it says of a trigger elsewhere."""
    cluster = Cluster()
    trigger = cluster.trigger(status=recorded(runs=3))
    assert owned(cluster, forged(cluster, trigger, namespace="evil")) is None


@pytest.mark.parametrize("number", [5, 100, 10**17])
@virtual
async def test_a_number_that_the_entry_does_not_allow_is_nobodys(number):
    """It would move the record to where no run can follow, and hold a slot for nothing."""
    cluster = Cluster()
    trigger = cluster.trigger(status=recorded(runs=3))
    job = forged(cluster, trigger, number=number)
    assert owned(cluster, job) is None
    assert runs_of(cluster.store.get(HOOK), cluster.store.jobs_of(trigger["metadata"]["uid"])) == []


@virtual
async def test_an_entry_that_records_no_run_allows_every_number():
    """A status that a restore wiped finds its Jobs again (`fresh_allows` in the model)."""
    cluster = Cluster()
    trigger = cluster.trigger(status={"checkedSources": {"app": {"requested": 1}}})
    assert owned(cluster, cluster.job(trigger, 7)).number == 7
    bare = cluster.trigger(name="bare")
    assert owned(cluster, cluster.job(bare, 7)).number == 7


@virtual
async def test_a_source_that_the_trigger_does_not_name_is_nobodys():
    """Unless its runs are on record: an entry not removed yet, or numbers up to `lastRunNumber`."""
    cluster = Cluster()
    trigger = cluster.trigger(status=recorded(runs=3) | {"lastRunNumber": 2})
    assert owned(cluster, forged(cluster, trigger, number=3, source="other")) is None
    assert not owned(cluster, cluster.job(trigger, 2, source="other")).named
    cluster.change(HOOK, spec={"sources": {"names": ["new"]}})
    assert not owned(cluster, cluster.job(trigger, 4)).named
    assert owned(cluster, forged(cluster, trigger, number=5)) is None


@virtual
async def test_the_name_has_to_follow_from_the_run_and_the_trigger():
    """A copy under another name, and a Job that names another trigger than its uid does, are nobody's."""
    cluster = Cluster()
    trigger, other = cluster.trigger(status=recorded()), cluster.trigger(name="other")
    assert owned(cluster, forged(cluster, trigger, name="copy")) is None
    run = RunKey(trigger_uid=trigger["metadata"]["uid"], source="app", number=2)
    labels = {"git-events-runner.rs/trigger-name": "other"}
    job = cluster.job(other, 2, labels=labels)
    annotations = job["metadata"]["annotations"] | {"git-events-runner.rs/run": str(run)}
    assert owned(cluster, cluster.put(job | {"metadata": job["metadata"] | {"annotations": annotations}})) is None
    kind = {"git-events-runner.rs/trigger-kind": "ScheduleTrigger"}
    assert owned(cluster, cluster.job(trigger, 2, labels=kind)) is None


@virtual
async def test_a_job_of_an_invalid_trigger_is_its_run_while_it_is_on_record():
    """Somebody breaks the spec while Jobs run: they still hold their slots."""
    cluster = Cluster()
    trigger = cluster.trigger(status=recorded(runs=1))
    cluster.change(HOOK, spec={"sources": 5})
    assert cluster.store.get(HOOK).model is None
    assert owned(cluster, cluster.job(trigger, 2)).number == 2
    assert owned(cluster, forged(cluster, trigger, source="x")) is None


@virtual
async def test_a_job_of_the_original_is_known_by_its_labels():
    """They name a trigger of the namespace, a source of it and the Action that owns the Job; nothing less will do."""
    cluster = Cluster()
    trigger = cluster.trigger(status=recorded())
    whole = cluster.legacy_job(trigger)
    owner = owned(cluster, whole)
    assert (owner.trigger.ref, owner.source, owner.number) == (HOOK, "app", None)
    metadata = whole["metadata"]
    for label in metadata["labels"]:
        lacking = {name: value for name, value in metadata["labels"].items() if name != label}
        assert owned(cluster, cluster.put(whole | {"metadata": metadata | {"labels": lacking}})) is None
        if not label.endswith("controller-identity"):
            wrong = metadata["labels"] | {label: "wrong"}
            expected = label.endswith("source-kind")  # never read: the trigger says of what kind its sources are
            found = owned(cluster, cluster.put(whole | {"metadata": metadata | {"labels": wrong}}))
            assert (found is not None) == expected, label
    assert owned(cluster, cluster.put(whole | {"metadata": metadata | {"ownerReferences": []}})) is None
    assert owned(cluster, cluster.legacy_job(trigger, "away", source="elsewhere")) is None
    evil = whole | {"metadata": metadata | {"namespace": "evil", "uid": "x"}}
    assert owned(cluster, cluster.put(evil)) is None


@virtual
async def test_labels_of_series_name_objects_that_exist():
    """Whatever the Job's own labels say."""
    cluster = Cluster()
    cluster.surroundings()
    trigger = cluster.trigger(status=recorded())
    labels = {
        f"git-events-runner.rs/{role}-{part}": "forged" for role in ("action", "source") for part in ("kind", "name")
    }
    job = cluster.job(trigger, labels=labels)
    found = cluster.store.get(cluster.ref(job))
    named = series_labels(found, owner_of(found, cluster.store), cluster.store)
    assert {name.partition("/")[2]: value for name, value in named.items()} == {
        "trigger-kind": "WebhookTrigger",
        "trigger-name": "hook",
        "source-kind": "GitRepo",
        "source-name": "app",
    }
    owner = {"kind": "Action", "name": "x", "uid": cluster.objects[Ref("Action", "n", "build")]["metadata"]["uid"]}
    job["metadata"]["ownerReferences"] = [owner | {"controller": True}]
    cluster.put(job)
    found = cluster.store.get(cluster.ref(job))
    named = series_labels(found, owner_of(found, cluster.store), cluster.store)
    assert named["git-events-runner.rs/action-name"] == "build"


def test_a_number_too_high_is_not_recorded():
    """Also when a check decided on an older entry: the write judges again (`settle refused` in the model)."""
    status = recorded(runs=3)
    fields = {"source": "app", "commit": B, "file_hash": None, "request": None, "answered_at": None}
    settle = Settle(number=9, job="j", phase="Queued", changed="2026-05-06T07:00:00Z", **fields)
    assert settle.apply(status) is Outcome.STALE
    assert entry_of(status, "app").key == (3, A)
    following = Settle(number=4, job="j", phase="Queued", changed="2026-05-06T07:00:00Z", **fields)
    assert following.apply(status) is Outcome.WRITE


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
TEXTS = st.one_of(st.text(max_size=30), st.sampled_from(["u/s/1", "copy", "Action", "WebhookTrigger", "hook", "app"]))
OURS = st.sampled_from(
    [f"git-events-runner.rs/{name}" for name in ("run", "commit", "needs-secret", "trigger-name", "trigger-kind")]
)


@given(st.dictionaries(OURS, TEXTS), st.dictionaries(OURS, TEXTS), ANYTHING, st.text(min_size=1, max_size=9))
def test_any_job_can_be_read(labels, annotations, parallelism, name):
    """What somebody writes on a Job never ends the program, and never makes it a run of a trigger that is not there."""
    metadata = {"name": name, "namespace": "n", "labels": labels, "annotations": annotations}
    view = JobView.of({"metadata": metadata, "spec": {"parallelism": parallelism}})
    assert view.run is None or name == job_name(view.trigger_name, view.run)
