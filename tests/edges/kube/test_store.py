"""The store: one writer, many readers; newer wins, what vanished is gone, another uid is another object."""

from dataclasses import replace

import pytest

from git_events_runner.edges.kube.store import Store, StoreWriter
from git_events_runner.resources.job import RunKey, job_name
from git_events_runner.resources.ref import Ref
from tests.contract.examples import TRIGGER
from tests.edges.kube.scripted import job

RUN = RunKey(trigger_uid="t1", source="app", number=1)
NAME = job_name("hook", RUN)
REF = Ref("Job", "n", NAME)
OURS = {"annotations": {"git-events-runner.rs/run": str(RUN)}, "labels": {"git-events-runner.rs/trigger-name": "hook"}}


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def writer(store):
    return StoreWriter(store, "Job")


def ours(**more):
    return job(NAME, **(OURS | more))


def trigger(**spec):
    return TRIGGER | {
        "metadata": {"name": "x", "namespace": "n", "uid": "t1", "resourceVersion": "3", "generation": 1},
        "spec": TRIGGER["spec"] | spec,
    }


def test_an_older_version_changes_nothing(store, writer):
    """A late answer, or a stale list, never puts an object back."""
    writer.apply(ours(version="5", spec={"suspend": True}))
    writer.apply(ours(version="4"))
    store.observe(ours(version="5"))
    writer.replace([ours(version="3")], version="3")
    assert store.get(REF).version == 5
    assert store.get(REF).model.suspended


def test_a_late_answer_does_not_bring_back_what_a_list_lacks(store, writer):
    """Created, deleted, and a list made before the answer to its creation arrives: it would stay for ever."""
    writer.replace([], version="7")
    store.observe(ours(version="6"))
    assert store.get(REF) is None
    store.observe(ours(version="8"))
    assert store.get(REF).version == 8


def test_a_late_answer_during_the_steps_of_a_list_changes_nothing(store, writer):
    """What the list lacks is deleted from its first step on."""
    writer.apply(job("other", version="5"))
    steps = writer.finish((), version="7")
    next(steps)
    store.observe(ours(version="6"))
    list(steps)
    assert store.all("Job") == []


def test_a_list_of_one_namespace_tells_nothing_of_another(store):
    """Each scope is as old as its own list."""
    first, second = (StoreWriter(store, "Job", namespace=name) for name in ("n", "m"))
    second.replace([], version="9")
    first.replace([], version="3")
    store.observe(ours(version="6"))
    assert store.get(REF).version == 6


def test_versions_that_began_again_are_believed(store, writer):
    """After a restore of the cluster they are lower than before: the newest list counts."""
    writer.replace([], version="1000")
    writer.replace([], version="50")
    store.observe(ours(version="60"))
    assert store.get(REF).version == 60


def test_what_is_written_between_two_steps_of_a_list_stays(store, writer):
    """Others work while a long list is taken over: an own write of that moment is newer than the list."""
    names = [job_name("hook", replace(RUN, number=number)) for number in (1, 2, 3)]
    for name in names:
        writer.apply(job(name, version="5"))
    steps = writer.finish((), version="7")
    next(steps)
    store.observe(job(names[1], version="8"))
    writer.remove(job(names[2], version="9"))
    assert list(steps) == [None, None]
    assert [one.ref.name for one in store.all("Job")] == [names[1]]
    assert store.synced("Job")


def test_own_writes_are_seen_at_once(store, writer):
    """The answer of a write is laid over what the watch has shown so far."""
    writer.apply(ours(version="5"))
    store.observe(ours(version="6", spec={"suspend": True}))
    writer.apply(ours(version="5"))
    assert store.get(REF).version == 6


def test_a_spec_is_parsed_again_only_when_it_changed(store):
    """A status changes a hundred times as often; metadata and status of the model are those of now all the same."""
    writer = StoreWriter(store, "ScheduleTrigger")
    made = trigger()
    writer.apply(made)
    first = store.get(Ref("ScheduleTrigger", "n", "x"))
    metadata = made["metadata"] | {"resourceVersion": "4", "labels": {"a": "b"}}
    writer.apply(made | {"metadata": metadata, "status": {"state": "Running"}})
    second = store.get(Ref("ScheduleTrigger", "n", "x"))
    assert second.model.spec is first.model.spec
    assert (second.version, second.model.metadata.labels, second.model.status.state) == (4, {"a": "b"}, "Running")
    writer.apply(trigger(schedule={"interval": "7h"}) | {"metadata": metadata | {"resourceVersion": "5"}})
    assert store.get(Ref("ScheduleTrigger", "n", "x")).model.spec.schedule.interval == "7h"


def test_equal_to_python_is_not_the_same_spec(store):
    """1 is no true to the API server: what the user has corrected is read, a new generation tells."""
    writer = StoreWriter(store, "Action")
    body = {"kind": "Action", "apiVersion": "git-events-runner.rs/v1alpha1"}
    metadata = {"name": "a", "namespace": "n", "uid": "u", "resourceVersion": "1", "generation": 1}
    for number, value in enumerate((1, True), start=1):
        spec = {"actionJob": {"securityContext": {"runAsNonRoot": value}}}
        writer.apply(
            body | {"metadata": metadata | {"resourceVersion": str(number), "generation": number}, "spec": spec}
        )
    model = store.get(Ref("Action", "n", "a")).model
    assert model.spec.action_job.security_context["runAsNonRoot"] is True


def test_a_job_in_another_namespace_belongs_to_no_trigger(store, writer):
    """Anybody can write an annotation that names somebody's trigger."""
    writer.apply(ours(version="5"))
    StoreWriter(store, "ScheduleTrigger").apply(trigger())
    assert [found.ref.name for found in store.jobs_of("t1")] == [NAME]
    elsewhere = trigger()
    elsewhere["metadata"] = elsewhere["metadata"] | {"namespace": "other", "uid": "t2"}
    StoreWriter(store, "ScheduleTrigger").apply(elsewhere)
    forged = RunKey(trigger_uid="t2", source="app", number=9)
    annotations = {"git-events-runner.rs/run": str(forged)}
    writer.apply(job("forged", uid="u9", version="6", **(OURS | {"annotations": annotations})))
    assert store.jobs_of("t2") == []


def test_what_is_not_in_a_list_has_vanished(store, writer):
    """But not what was written after the list was made."""
    writer.apply(job("old", version="5"))
    store.observe(job("new", uid="u2", version="9"))
    with store.subscribe("Job") as changes:
        writer.replace([], version="7")
        assert changes.drain() == {Ref("Job", "n", "old")}
    assert [snapshot.ref.name for snapshot in store.all("Job")] == ["new"]


def test_what_was_deleted_is_not_brought_back(store, writer):
    """A read that was under way when the deletion was seen."""
    writer.apply(ours(version="5"))
    writer.remove(ours(version="6"))
    store.observe(ours(version="5"))
    writer.apply(ours(version="7"))
    assert store.get(REF) is None


def test_the_same_name_with_a_new_uid_is_another_object(store, writer):
    """A deletion and an addition; the late deletion of the old one leaves the new one."""
    writer.apply(ours(version="5"))
    writer.apply(ours(uid="u2", version="8", annotations={}))
    assert store.get(REF).uid == "u2"
    assert store.by_uid("Job", "u1") is None
    assert store.jobs_of("t1") == []
    writer.remove(ours(version="7"))
    assert store.get(REF).uid == "u2"
    writer.apply(ours(version="6"))
    assert store.get(REF).uid == "u2"


def test_the_last_state_of_a_job_is_kept_for_a_while(store, writer):
    """A TTL of 0 takes a Job away in the moment when it ends."""
    writer.apply(ours(version="5"))
    status = {"conditions": [{"type": "Complete", "status": "True"}]}
    writer.remove(ours(version="6", status=status))
    assert store.last_of("u1").model.result == "Succeeded"
    assert store.last_of("u2") is None


def test_what_was_deleted_is_forgotten_after_some_minutes():
    """By then no answer about it can be under way any more: the memory of a quiet installation stays level."""
    now = [0.0]
    store = Store(clock=lambda: now[0])
    writer = StoreWriter(store, "Job")
    writer.replace([], version="0")
    for number in range(100):
        now[0] += 30
        writer.apply(job(f"j{number}", version=str(2 * number + 1), uid=f"u{number}"))
        writer.remove(job(f"j{number}", version=str(2 * number + 2), uid=f"u{number}"))
    assert [last.uid for last in store.recently_deleted()] == [f"u{number}" for number in range(90, 100)]
    assert len(store._deleted) == 10


def test_jobs_are_found_by_their_run(store, writer):
    """By trigger and source; an annotation that somebody edits away takes the Job out."""
    writer.apply(ours(version="5"))
    assert [snapshot.ref for snapshot in store.jobs_of("t1", "app")] == [REF]
    assert store.jobs_of("t1", "other") == []
    writer.apply(ours(version="6", annotations={}))
    assert store.jobs_of("t1") == []


def test_unfinished_jobs_are_found_without_the_finished_ones(store, writer):
    """All of them, and those that name a trigger, until they end or are deleted."""
    ended = {"conditions": [{"type": "Complete", "status": "True"}]}
    writer.apply(ours(version="5"))
    writer.apply(job("foreign", version="6"))
    assert [found.ref for found in store.unfinished_jobs("t1")] == [REF]
    assert [found.ref.name for found in store.unfinished_jobs()] == [NAME, "foreign"]
    writer.apply(ours(version="7", status=ended))
    assert store.unfinished_jobs("t1") == []
    assert [found.ref.name for found in store.unfinished_jobs()] == ["foreign"]
    writer.apply(job(NAME, version="8"))  # edited: no run of ours any more
    assert [found.ref.name for found in store.unfinished_jobs()] == ["foreign", NAME]
    assert store.unfinished_jobs("t1") == []
    writer.remove(job("foreign", version="9"))
    writer.remove(job(NAME, version="10"))
    assert store.unfinished_jobs() == []


def test_a_copy_of_a_job_is_no_run(store, writer):
    """A run's Job has the name that follows from the run; the same annotation elsewhere means nothing."""
    writer.apply(job("copied-by-hand", **OURS))
    assert store.get(Ref("Job", "n", "copied-by-hand")).model.run is None
    assert store.jobs_of("t1") == []


@pytest.mark.parametrize("digits", ["9" * 5000, "-1", "1e3", "", "٣"])
def test_strange_annotations_end_nothing(store, writer, digits):
    """Anybody who may create a Job may write them; Python refuses to read numbers of 5,000 digits."""
    names = ("run", "occurrence", "ttl-seconds-after-finished", "waiting-timeout-seconds")
    annotations = {f"git-events-runner.rs/{name}": f"t1/app/{digits}" if name == "run" else digits for name in names}
    writer.apply(job("odd", annotations=annotations))
    view = store.get(Ref("Job", "n", "odd")).model
    assert (view.run, view.request, view.ttl_s, view.waiting_timeout_s) == (None, None, None, None)


def test_an_invalid_object_keeps_its_reason(store):
    """It does not stop the stream; its trigger says what is wrong."""
    writer = StoreWriter(store, "ScheduleTrigger")
    writer.replace([trigger(schedule={"interval": 5})], version="4")
    found = store.get(Ref("ScheduleTrigger", "n", "x"))
    assert found.model is None
    assert found.invalid.field.startswith("spec.schedule")
    writer.apply(trigger() | {"metadata": trigger()["metadata"] | {"resourceVersion": "5"}})
    assert store.get(found.ref).invalid is None


def test_only_what_is_needed_is_kept(store):
    """Managed fields and kubectl's copy of the object would double the memory."""
    writer = StoreWriter(store, "ScheduleTrigger")
    noise = {"managedFields": [{}], "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "x", "a": "b"}}
    writer.apply(trigger() | {"metadata": trigger()["metadata"] | noise})
    metadata = store.get(Ref("ScheduleTrigger", "n", "x")).raw["metadata"]
    assert "managedFields" not in metadata
    assert metadata["annotations"] == {"a": "b"}


async def test_a_kind_is_synced_when_all_its_scopes_are_listed(store):
    """An installation for two namespaces waits for both; a list of one leaves the other's objects."""
    one, two = StoreWriter(store, "Job", namespace="n"), StoreWriter(store, "Job", namespace="m")
    one.replace([ours()], version="5")
    assert not store.synced("Job")
    two.replace([], version="9")
    await store.wait_synced("Job")
    assert store.get(REF) is not None


async def test_many_changes_of_an_object_wake_a_reader_once(store, writer):
    """A subscription says what changed, not how often; other kinds do not wake it."""
    with store.subscribe("Job") as changes:
        for version in range(1, 5):
            writer.apply(ours(version=str(version)))
        StoreWriter(store, "ScheduleTrigger").apply(trigger())
        await changes.wait()
        assert changes.drain() == {REF}
        assert changes.drain() == set()


def test_what_one_namespace_deletes_is_forgotten_for_no_other():
    """Its thousands of Jobs drop neither a neighbour's last state nor the knowledge that its Job is deleted."""
    store = Store()
    writer = StoreWriter(store, "Job")

    def job(namespace, name, version):
        metadata = {"namespace": namespace, "name": name, "uid": f"{namespace}-{name}", "resourceVersion": str(version)}
        return {"kind": "Job", "metadata": metadata, "spec": {}, "status": {}}

    writer.apply(job("good", "a", 1))
    writer.remove(job("good", "a", 2))
    for number in range(5000):
        writer.apply(job("evil", f"j{number}", 10 + number))
        writer.remove(job("evil", f"j{number}", 10 + number))
    assert store.last_of("good-a") is not None
    assert len(store.recently_deleted()) <= 512
    writer.apply(job("good", "a", 1))
    assert store.all("Job", "good") == []


def test_objects_of_a_namespace_are_those_of_all_in_it():
    """Whatever was added, deleted and made again."""
    store = Store()
    writer = StoreWriter(store, "GitRepo")
    for number in range(40):
        metadata = {"namespace": f"n{number % 3}", "name": f"r{number % 7}", "uid": f"u{number}", "generation": 1}
        raw = {"kind": "GitRepo", "metadata": metadata | {"resourceVersion": str(number + 1)}, "spec": {}}
        (writer.remove if number % 5 == 4 else writer.apply)(raw)
    for name in ("n0", "n1", "n2", "none"):
        assert store.all("GitRepo", name) == [one for one in store.all("GitRepo") if one.ref.namespace == name]


def test_of_a_job_only_what_is_ours_is_kept(store, writer):
    """Anybody may make Jobs with annotations of 256 KiB and any number of labels, owners and finalizers."""
    mine = OURS["annotations"]
    large = {"other": "x" * 200_000, "git-events-runner.rs/reason": "x" * 200_000}
    owners = [{"kind": "Pod", "name": f"p{number}", "uid": str(number)} for number in range(100)]
    labels = {f"l{number}": "x" for number in range(100)}
    crowded = OURS | {"annotations": mine | large, "labels": labels, "ownerReferences": owners, "finalizers": ["a/b"]}
    writer.apply(job(REF.name, version="5", **crowded))
    kept = store.get(REF)
    assert kept.raw["metadata"]["annotations"] == mine
    assert kept.model.labels == {}
    assert len(str(kept)) < 2500


def test_namespaces_are_those_that_have_objects_of_a_kind(store):
    """Until the last object of these kinds in a namespace is deleted."""
    writer = StoreWriter(store, "ScheduleTrigger")
    made = [trigger() | {"metadata": trigger()["metadata"] | {"namespace": name, "uid": name}} for name in ("a", "b")]
    for one in made:
        writer.apply(one)
    assert store.namespaces("ScheduleTrigger", "WebhookTrigger") == {"a", "b"}
    assert store.namespaces("WebhookTrigger") == set()
    writer.remove(made[0])
    assert store.namespaces("ScheduleTrigger") == {"b"}
