"""The mutations of a trigger's status, one rule of the run ledger after the other."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from git_events_runner.resources.job import JobView, RunKey, job_name
from git_events_runner.rules.ledger.deliveries import delivery_hash, delivery_known
from git_events_runner.rules.ledger.entry import Announced, entry_of
from git_events_runner.rules.ledger.mutations import Count, Guards, Outcome, Progress, Settle, Skip, Touch
from git_events_runner.rules.ledger.patch import combine, patch_for
from git_events_runner.rules.ledger.prune import Prune

A, B = "a" * 40, "b" * 40
NOW = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
AT = "2026-05-06T07:08:09Z"


def entry(**fields):
    whole = {"commitHash": A, "fileHash": None, "changed": None, "runs": 1, "requested": 3, "handled": 2} | fields
    return {"checkedSources": {"app": whole}, "deliveries": delivery_hash("old"), "history": []}


def settle(number=2, commit=B, request=3, **fields):
    given = {"file_hash": None, "answered_at": None, "job": "j", "phase": "Running", "changed": "2026-05-06T07:08:09Z"}
    return Settle(source="app", number=number, commit=commit, request=request, **(given | fields))


def test_a_job_name_is_derived_from_the_run_alone_and_fits_a_label():
    """Trigger uid, source and number decide the name; the trigger's own name is only its readable beginning."""
    run = RunKey(trigger_uid="8f0d7c1e", source="app", number=7)
    assert job_name("x" * 300, run) == "x" * 40 + job_name("y", run)[1:]
    assert len(job_name("x" * 300, run)) <= 63
    assert job_name("a.b", run).startswith("a-b-")
    assert job_name("a" * 39 + ".b", run)[39] == "-"
    assert job_name("a" * 39 + ".b", run)[40] != "-"
    other = RunKey(trigger_uid="8f0d7c1e", source="app", number=8)
    assert job_name("y", run) != job_name("y", other)


def test_a_count_raises_requested_once_for_each_delivery():
    """A write of unknown outcome is recognised by the delivery's own id."""
    count = Count(requests={"app": B}, delivery=delivery_hash("d1"), at="2026-01-01T00:00:00Z")
    status, outcomes = combine(entry(), [count, count])
    assert outcomes == [Outcome.WRITE, Outcome.DONE]
    assert entry_of(status, "app").requested == 4
    assert entry_of(status, "app").announced == Announced(commit=B, at="2026-01-01T00:00:00Z")


def test_sixty_four_deliveries_are_remembered():
    """The ids take one bounded string; the oldest goes first."""
    status = {}
    for number in range(70):
        status, _ = combine(status, [Count(requests={"app": None}, delivery=delivery_hash(str(number)), at=AT)])
    assert len(status["deliveries"]) == 64 * 11
    assert delivery_known(status, delivery_hash("69"))
    assert not delivery_known(status, delivery_hash("5"))
    assert entry_of(status, "app").requested == 70


def test_settling_lowers_handled_to_the_jobs_own_request():
    """Requests counted after the decision are open again, even if a skip had marked them."""
    status, outcomes = combine(entry(requested=5, handled=5), [settle(request=3)])
    found = entry_of(status, "app")
    assert outcomes == [Outcome.WRITE]
    assert (found.runs, found.commit, found.handled, found.job_name) == (2, B, 3, "j")
    assert status["state"] == "Running"


def test_settling_twice_changes_nothing():
    """A run recorded already, and an older one, are done."""
    status, _ = combine(entry(), [settle()])
    assert combine(status, [settle(), settle(number=1, commit=A)])[1] == [Outcome.DONE, Outcome.DONE]


def test_settling_never_moves_the_answered_time_back():
    """An older occurrence settled late leaves the newer one."""
    status, _ = combine(entry(answeredAt="2026-05-06T08:00:00Z"), [settle(answered_at="2026-05-06T07:00:00Z")])
    assert entry_of(status, "app").answered_at == "2026-05-06T08:00:00Z"


def test_a_settlement_is_read_from_the_job_alone():
    """Whoever finds a Job can settle it: commit, request and due time are in its annotations."""
    annotations = {
        "git-events-runner.rs/run": "uid/app/4",
        "git-events-runner.rs/commit": B,
        "git-events-runner.rs/occurrence": "9",
        "git-events-runner.rs/file-hash": "f00",
    }
    view = JobView.of(
        {"metadata": {"annotations": annotations, "creationTimestamp": "2026-05-06T07:00:00Z"}, "spec": {}}
    )
    found = Settle.from_job("name", view, now=NOW)
    record = {"number": 4, "source": "app", "commit": B[:12], "job": "name", "phase": "Running"}
    record |= {"queued": "2026-05-06T07:00:00Z"}
    expected = settle(number=4, request=9, job="name", file_hash="f00", changed="2026-05-06T07:00:00Z", now=AT)
    assert found == replace(expected, record=record)
    assert Settle.from_job("name", JobView.of({"metadata": {}}), now=NOW) is None


def test_a_skip_is_refused_when_a_run_or_commit_was_recorded_meanwhile():
    """An older answer of git must not undo a newer record."""
    skip = Skip(source="app", expected=(1, A), handled=3, commit=A, file_hash=None)
    assert combine(entry(), [skip])[1] == [Outcome.WRITE]
    assert combine(entry(runs=2), [skip])[1] == [Outcome.STALE]
    assert combine(entry(commitHash=B), [skip])[1] == [Outcome.STALE]


def test_a_skip_handles_the_requests_of_its_own_reading_only():
    """A request counted after the reading stays open; a skip never lowers."""
    status, _ = combine(entry(requested=9), [Skip(source="app", expected=(1, A), handled=5, commit=A, file_hash=None)])
    assert entry_of(status, "app").handled == 5
    low = Skip(source="app", expected=(1, A), handled=1, commit=A, file_hash=None)
    assert combine(entry(), [low])[1] == [Outcome.DONE]


def test_a_commit_with_the_same_files_is_recorded_without_a_run():
    """Later commits are compared with it; the number of runs stays."""
    skip = Skip(source="app", expected=(1, A), handled=3, commit=B, file_hash="h", changed="2026-05-06T07:08:09Z")
    status, outcomes = combine(entry(), [skip])
    found = entry_of(status, "app")
    assert outcomes == [Outcome.WRITE]
    assert (found.runs, found.commit, found.file_hash, found.changed) == (1, B, "h", "2026-05-06T07:08:09Z")


def test_an_entry_of_the_original_is_adopted():
    """Without a run number it is the original's: it starts at run 0 with its commit kept."""
    status = {"checkedSources": {"app": {"commitHash": A, "fileHash": "x", "changed": "2024-01-01T00:00:00Z"}}}
    assert entry_of(status, "app").adopted
    after, outcomes = combine(status, [Skip(source="app", expected=(0, A), handled=0, commit=A, file_hash="x")])
    assert outcomes == [Outcome.WRITE]
    assert after["checkedSources"]["app"] == status["checkedSources"]["app"] | {"runs": 0, "requested": 0, "handled": 0}
    assert not entry_of(after, "app").adopted


def test_pruning_keeps_the_highest_run_number():
    """A source removed and added again must not meet its old Jobs' names."""
    status, outcomes = combine(entry(runs=7), [Prune(keep=frozenset({"other"}))])
    assert outcomes == [Outcome.WRITE]
    assert status["lastRunNumber"] == 7
    assert entry_of(status, "app").runs == 7
    assert entry_of(status, "app").commit is None
    assert combine(status, [Prune(keep=frozenset())])[1] == [Outcome.DONE]


def test_progress_names_the_phase_of_the_recorded_job_only():
    """A phase of an older Job is not written over the newer one's."""
    status = entry(lastJob={"name": "j2", "phase": "Running"}) | {"state": "Running"}
    after, _ = combine(status, [Progress(running=False, phases={"app": ("j1", "Failed")})])
    assert after["checkedSources"]["app"]["lastJob"] == {"name": "j2", "phase": "Running"}
    assert after["state"] == "Idle"
    wrong, _ = combine(status | {"state": "WrongConfig"}, [Progress(running=False, phases={})])
    assert wrong["state"] == "WrongConfig"


def test_the_last_job_names_its_own_commit():
    """A newer commit whose selected files are the same is recorded, and the last Job keeps the commit that it runs."""
    ran, _ = combine(entry(), [settle(number=2, commit=A)])
    skip = Skip(source="app", expected=(2, A), handled=3, commit=B, file_hash="f")
    after, _ = combine(ran, [skip, Progress(running=False, phases={"app": ("j", "Succeeded")})])
    assert after["checkedSources"]["app"]["commitHash"] == B
    assert after["checkedSources"]["app"]["lastJob"] == {"name": "j", "phase": "Succeeded", "commit": A}


def test_last_run_moves_forward_only():
    """A late touch does not put `lastRun` back."""
    status, _ = combine(entry() | {"lastRun": "2026-05-06T07:00:00Z"}, [Touch(at="2026-05-06T08:00:00Z", answered={})])
    assert status["lastRun"] == "2026-05-06T08:00:00Z"
    assert combine(status, [Touch(at="2026-05-06T07:30:00Z", answered={})])[1] == [Outcome.DONE]
    assert combine({"lastRun": "Never"}, [Touch(at="2026-05-06T07:30:00Z", answered={})])[1] == [Outcome.WRITE]


def test_a_settlement_tests_uid_runs_and_commit():
    """The patch holds only while the record is what the settlement was judged on."""
    before = entry()
    after, _ = combine(before, [settle()])
    patch = patch_for("u1", before, after, settle().guards())
    assert patch[:3] == [
        {"op": "test", "path": "/metadata/uid", "value": "u1"},
        {"op": "test", "path": "/status/checkedSources/app/runs", "value": 1},
        {"op": "test", "path": "/status/checkedSources/app/commitHash", "value": A},
    ]
    assert {"op": "add", "path": "/status/checkedSources/app/runs", "value": 2} in patch
    assert not any("requested" in step["path"] for step in patch)


def test_a_count_tests_requested_and_the_delivery_ids():
    """Two replicas that count at once cannot lose a delivery; runs are not tested, so a storm starves nobody."""
    before = entry()
    count = Count(requests={"app": None}, delivery=delivery_hash("n"), at=AT)
    after, _ = combine(before, [count])
    tests = [step for step in patch_for("u", before, after, count.guards()) if step["op"] == "test"]
    assert [step["path"] for step in tests] == [
        "/metadata/uid",
        "/status/checkedSources/app/requested",
        "/status/deliveries",
    ]


@pytest.mark.parametrize(
    ("before", "mutation"),
    [
        (None, settle()),
        ({}, Count(requests={"app": None}, delivery=delivery_hash("n"), at=AT)),
        ({"checkedSources": {"app": {"commitHash": A}}}, settle()),
        (entry(runs=1), Prune(keep=frozenset())),
    ],
)
def test_where_a_tested_field_is_absent_the_whole_object_is_put(before, mutation):
    """No status, no entry, an entry to adopt, or one that goes: resource version instead of tests."""
    after, _ = combine(before, [mutation])
    assert patch_for("u", before, after, mutation.guards()) is None


def test_source_names_are_escaped_in_the_patch():
    """Slash and tilde are JSON Pointer's own characters (RFC 6901)."""
    entry_now = {"commitHash": A, "runs": 0, "requested": 0, "handled": 0}
    before = {"checkedSources": {"a/b~c": entry_now}, "deliveries": "", "history": []}
    mutation = Count(requests={"a/b~c": None}, delivery=delivery_hash("n"), at=AT)
    after, _ = combine(before, [mutation])
    paths = [step["path"] for step in patch_for("u", before, after, mutation.guards())]
    assert "/status/checkedSources/a~1b~0c/requested" in paths


def test_writes_that_share_a_request_keep_each_others_tests():
    """A count and a settlement in one patch test what either of them tests."""
    assert settle().guards() | Count(requests={"x": None}, delivery="", at=AT).guards() == Guards(
        ledger=frozenset({"app"}), counted=frozenset({"x"})
    )


@pytest.mark.parametrize("odd", [None, [], "x", {"checkedSources": []}, {"checkedSources": {"app": "x"}}])
def test_a_strange_status_reads_as_empty(odd):
    """What somebody else wrote into the status never stops a trigger."""
    found = entry_of(odd, "app")
    assert (found.runs, found.commit, found.requested, found.exists) == (0, None, 0, False)


def test_a_status_of_one_source_stays_small():
    """64 delivery ids, an entry and conditions fit into 2 KB."""
    import json

    status = {}
    for number in range(70):
        count = Count(requests={"app": B}, delivery=delivery_hash(str(number)), at="2026-05-06T07:08:09Z")
        status, _ = combine(status, [count])
    status, _ = combine(status, [settle(file_hash="f" * 64, job="j" * 57, answered_at="2026-05-06T07:08:09Z")])
    assert len(json.dumps(status)) < 2048


def test_counting_does_not_end_the_adoption_of_an_entry_of_the_original():
    """Only a look at the source does; else the first request after the take-over would run an annotated tag again."""
    status = {"checkedSources": {"app": {"commitHash": A}}}
    after, _ = combine(status, [Count(requests={"app": None}, delivery=delivery_hash("d"), at=AT)])
    assert entry_of(after, "app").adopted
    assert entry_of(after, "app").requested == 1


@pytest.mark.parametrize("now", [AT, None])
def test_a_time_on_record_that_lies_ahead_gives_way(now):
    """The clock of a leader was a day ahead for a moment: what comes due later is recorded all the same."""
    before = entry(answeredAt="2026-05-07T07:00:00Z") | {"lastRun": "2026-05-07T07:00:01Z"}
    due = "2026-05-06T07:00:00Z"
    expected = due if now else "2026-05-07T07:00:00Z"
    skip = Skip(source="app", expected=(1, A), handled=3, commit=A, file_hash=None, answered_at=due, now=now)
    for change in (Touch(at=AT, answered={"app": due}, now=now), settle(answered_at=due, now=now), skip):
        after, _ = combine(before, [change])
        assert entry_of(after, "app").answered_at == expected
    after, _ = combine(before, [Touch(at=AT, answered={}, now=now)])
    assert after["lastRun"] == (AT if now else before["lastRun"])


def test_a_job_answers_no_time_after_its_creation():
    """Its creation time is the API server's; the scheduled time in its annotations is that of its creator's clock."""
    run = RunKey(trigger_uid="u", source="app", number=2)
    annotations = {f"git-events-runner.rs/{name}": value for name, value in (("run", str(run)), ("commit", A))}
    for occurrence, expected in (("2026-05-07T07:00:00Z", AT), ("2026-05-06T07:00:00Z", "2026-05-06T07:00:00Z")):
        given = annotations | {"git-events-runner.rs/occurrence": occurrence}
        view = JobView.of({"metadata": {"annotations": given, "creationTimestamp": AT}})
        assert Settle.from_job("j", view, now=NOW).answered_at == expected
