"""The decision table of a check: for each situation, what is done. It is the specification of `decide`.

A row gives the source's entry, what caused the check, what it has observed, and the trigger's spec; then the decision.
`A` is the recorded commit, `B` a newer one. An open request is one that is recorded and not handled.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from git_events_runner.resources.commits import CommitText
from git_events_runner.rules.announcements import announced_unseen, announced_wait_s
from git_events_runner.rules.check_result import CheckResult
from git_events_runner.rules.decision import (
    Absent,
    CheckSpec,
    Differs,
    Due,
    Head,
    NoRun,
    Nothing,
    Observation,
    Observe,
    Requests,
    StartRun,
    Wait,
    decide,
    needs_files,
    occurrence_of,
)
from git_events_runner.rules.ledger.entry import entry_of
from git_events_runner.rules.ledger.mutations import Skip
from git_events_runner.rules.reference_entries import Forget, Missing
from git_events_runner.rules.selection import Selection

A, B, C, TAG = "a" * 40, "b" * 40, "c" * 40, "7" * 40
NOW = datetime(2026, 5, 6, 7, 0, 20, tzinfo=UTC)
TIME = "2026-05-06T07:00:00Z"
REQUEST, DUE = Requests(upto=1), Due(at=datetime(2026, 5, 6, 7, 0, tzinfo=UTC))
EACH, FILES, SUSPENDED = {"on_change_only": False}, {"patterns": True}, {"suspend": True}
RECORD, NOT_CALLED = {"record_first": True}, {"called": False}


def entry(**fields):
    """The source's entry: commit A by run 1, and one open request."""
    whole = {"commitHash": A, "runs": 1, "requested": 1, "handled": 0} | fields
    return entry_of({"checkedSources": {"s": {k: v for k, v in whole.items() if v is not None}}}, "s")


NEW = entry_of({"checkedSources": {"s": {"requested": 1}}}, "s")
QUIET = entry(requested=0)  # no request is open
LEGACY = entry(runs=None)  # v0.4 wrote it


def announced(commit, at="2026-05-06T07:00:10Z", **fields):
    """An entry whose last delivery announced a commit, ten seconds ago."""
    return entry(announced={"commit": commit, "at": at}, **fields)


def files(*, same):
    """The selected files of the new commit, compared with those of the recorded one."""
    return Selection(digest="d" * 64, empty=False, same=same)


def run(result, commit, **fields):
    """A Job is created."""
    return StartRun(result=CheckResult(result), commit=commit, file_hash=fields.pop("file_hash", None), **fields)


def skip(result, commit=A, *, handled=1, again_s=None, known=None, changed=None, **fields):
    """Requests are handled without a run; another commit than A is recorded."""
    moved = result != "skip-same"
    written = Skip(
        source="s",
        expected=(1, A) if known is None else known,
        handled=handled,
        commit=commit,
        file_hash=fields.get("file_hash"),
        changed=changed,
        answered_at=fields.get("answered_at"),
        ignored=fields.get("ignored"),
        now="2026-05-06T07:00:20Z",
    )
    return NoRun(result=CheckResult(result), mutations=(written,), deferrable=not moved, again_s=again_s)


def nothing(result):
    """Nothing is done, nothing is written."""
    return Nothing(result=CheckResult(result))


@dataclass(frozen=True)
class Row:
    """One situation and the decision."""

    entry: object
    occurrence: object
    head: str | None
    decision: object
    spec: dict[str, object] = field(default_factory=dict)
    files: Selection | None = None
    tag: str | None = None
    closed_until: datetime | None = None
    last_start: datetime | None = None
    text: CommitText | None = None


GONE = "gone"  # a complete answer lacks the reference
MISSING = entry(missingSince=TIME)


QUIET_SAME = NoRun(result=CheckResult.SKIP_SAME)
NOW_TEXT = "2026-05-06T07:00:20Z"

TABLE = {
    # ------------------------------------------------------------------------------------- before git is asked
    "a suspended trigger does nothing": Row(entry(), REQUEST, None, nothing("suspended"), SUSPENDED),
    "also at a scheduled time": Row(QUIET, DUE, None, nothing("suspended"), SUSPENDED),
    "no request is open": Row(QUIET, REQUEST, None, nothing("skip-answered")),
    "the scheduled time is on record": Row(entry(answeredAt=TIME), DUE, None, nothing("skip-answered")),
    "a later one is on record": Row(entry(answeredAt="2026-05-06T07:00:01Z"), DUE, None, nothing("skip-answered")),
    "only an earlier one is on record": Row(entry(answeredAt="2026-05-06T06:59:59Z"), DUE, None, Observe(part="head")),
    "the scheduled time is on record, and every check runs": Row(
        entry(answeredAt=TIME), DUE, None, nothing("skip-answered"), EACH
    ),
    "a record from the future is a wrong clock's": Row(
        entry(answeredAt="2026-05-07T07:00:00Z"), DUE, None, Observe(part="head")
    ),
    "a replica's clock may be a minute ahead": Row(
        entry(answeredAt="2026-05-06T07:01:00Z"), DUE, None, nothing("skip-answered")
    ),
    "a delivery was handled less than 30 s before the scheduled time": Row(
        announced(None, "2026-05-06T06:59:40Z", handled=1), DUE, None, nothing("skip-answered")
    ),
    "or just after it": Row(announced(None, handled=1), DUE, None, nothing("skip-answered")),
    "a delivery was handled 40 s before": Row(
        announced(None, "2026-05-06T06:59:20Z", handled=1), DUE, None, Observe(part="head")
    ),
    "a delivery is not handled yet": Row(announced(None, "2026-05-06T06:59:40Z"), DUE, None, Observe(part="head")),
    "every check runs, so that a delivery handles itself alone": Row(
        announced(None, "2026-05-06T06:59:40Z", handled=1), DUE, None, Observe(part="head"), EACH
    ),
    "a request by annotation handles no scheduled time": Row(
        announced(None, "2026-05-06T06:59:40Z", handled=1), DUE, None, Observe(part="head"), NOT_CALLED
    ),
    "a delivery from the future is a wrong clock's": Row(
        announced(None, "2026-05-06T07:10:00Z", handled=1), DUE, None, Observe(part="head")
    ),
    "a request is open": Row(entry(), REQUEST, None, Observe(part="head")),
    "the source was never checked": Row(entry_of({}, "s"), DUE, None, Observe(part="head")),
    # ---------------------------------------------------------------------------------------- the first check
    "a first check runs": Row(NEW, REQUEST, A, run("fire-first", A, request=1)),
    "a first scheduled check runs": Row(entry_of({}, "s"), DUE, A, run("fire-first", A, due_at=DUE.at)),
    "firstCheck: Record records the commit at a scheduled time": Row(
        entry_of({}, "s"),
        DUE,
        A,
        skip("skip-first", A, handled=0, known=(0, None), changed=NOW_TEXT, answered_at=TIME),
        RECORD,
    ),
    "firstCheck: Record, and a push is delivered: it runs": Row(
        NEW, REQUEST, A, run("fire-first", A, request=1), RECORD
    ),
    "firstCheck: Record, and a check is requested by annotation": Row(
        NEW, REQUEST, A, skip("skip-first", A, known=(0, None), changed=NOW_TEXT), RECORD | NOT_CALLED
    ),
    "a trigger with patterns has nothing to compare with yet": Row(
        NEW, REQUEST, A, run("fire-first", A, request=1), FILES
    ),
    # ---------------------------------------------------------------------------------------- only changes run
    "the same commit handles the request": Row(entry(), REQUEST, A, skip("skip-same")),
    "the same commit at a scheduled time writes nothing": Row(QUIET, DUE, A, QUIET_SAME),
    "a new commit runs": Row(entry(), REQUEST, B, run("fire-changed", B, request=1)),
    "a new commit at a scheduled time runs": Row(QUIET, DUE, B, run("fire-changed", B, due_at=DUE.at)),
    "one run handles all open requests": Row(
        entry(requested=3), Requests(upto=3), B, run("fire-changed", B, request=3)
    ),
    # --------------------------------------------------------------------------------------- patterns of files
    "a new commit, and patterns: its files are needed": Row(entry(), REQUEST, B, Observe(part="files"), FILES),
    "the same commit needs no files": Row(entry(), REQUEST, A, skip("skip-same"), FILES),
    "the selected files differ": Row(
        entry(), REQUEST, B, run("fire-changed", B, request=1, file_hash="d" * 64), FILES, files(same=False)
    ),
    "the selected files are the same": Row(
        entry(),
        REQUEST,
        B,
        skip("skip-files-same", B, changed=NOW_TEXT, file_hash="d" * 64),
        FILES,
        files(same=True),
    ),
    "the recorded commit cannot be had, so it counts as a change": Row(
        entry(), REQUEST, B, run("fire-changed", B, request=1, file_hash="d" * 64), FILES, files(same=None)
    ),
    # ----------------------------------------------------------------------------------------- every check runs
    "one run for each request": Row(entry(), REQUEST, A, run("fire-always", A, request=1), EACH),
    "and the others follow immediately": Row(
        entry(requested=3), Requests(upto=3), A, run("fire-always", A, request=1, again_s=0.0), EACH
    ),
    "one run for each scheduled time": Row(QUIET, DUE, A, run("fire-always", A, due_at=DUE.at), EACH),
    "patterns do not matter where every check runs": Row(
        entry(), REQUEST, B, run("fire-always", B, request=1), EACH | FILES
    ),
    # --------------------------------------------------------------------------------------- v0.4's records
    "v0.4 recorded the commit: its entry is taken over": Row(LEGACY, REQUEST, A, skip("skip-adopted", known=(0, A))),
    "v0.4 recorded the tag object of the commit": Row(
        entry(runs=None, commitHash=TAG),
        REQUEST,
        B,
        skip("skip-adopted", B, known=(0, TAG), changed=NOW_TEXT),
        tag=TAG,
    ),
    "a newer commit than v0.4's runs": Row(LEGACY, REQUEST, B, run("fire-changed", B, request=1)),
    "we never record tag objects, so that one is a change": Row(
        entry(commitHash=TAG), REQUEST, B, run("fire-changed", B, request=1), tag=TAG
    ),
    # ---------------------------------------------------------------------------- runs requested by annotation
    "a requested run runs the same commit": Row(
        entry(handled=1, runRequested=1), REQUEST, A, run("fire-requested", A, request=1, run_request=1)
    ),
    "also while the trigger is suspended": Row(
        entry(handled=1, runRequested=1), REQUEST, A, run("fire-requested", A, request=1, run_request=1), SUSPENDED
    ),
    "it handles the open requests too": Row(
        entry(requested=2, runRequested=1),
        Requests(upto=2),
        B,
        run("fire-requested", B, request=2, run_request=1),
    ),
    "unless each request has a run of its own": Row(
        entry(requested=2, runRequested=1),
        Requests(upto=2),
        B,
        run("fire-requested", B, request=0, run_request=1, again_s=0.0),
        EACH,
    ),
    # ------------------------------------------------------------ commits that a delivery announced, 10 s ago
    "git shows the old commit still: the request waits for the new one": Row(
        announced(B), REQUEST, A, Wait(result=CheckResult.WAIT_ANNOUNCED, after_s=8.0)
    ),
    "for 30 s": Row(announced(B, "2026-05-06T06:59:40Z"), REQUEST, A, skip("skip-same")),
    "then every request runs as well": Row(
        announced(B, "2026-05-06T06:59:40Z"), REQUEST, A, run("fire-always", A, request=1), EACH
    ),
    "git shows the announced commit": Row(announced(A), REQUEST, A, skip("skip-same")),
    "git shows the tag object that was announced": Row(announced(TAG), REQUEST, A, skip("skip-same"), tag=TAG),
    "git shows another tag object": Row(
        announced(TAG), REQUEST, A, Wait(result=CheckResult.WAIT_ANNOUNCED, after_s=8.0), tag="8" * 40
    ),
    "git shows another new commit: it runs, and the request stays open": Row(
        announced(B), REQUEST, C, run("fire-changed", C, request=0, again_s=8.0)
    ),
    "a new commit with the same files is recorded, and the request stays open": Row(
        announced(B),
        REQUEST,
        C,
        skip("skip-files-same", C, handled=0, changed=NOW_TEXT, file_hash="d" * 64, again_s=8.0),
        FILES,
        files(same=True),
    ),
    "a scheduled time does not wait for announcements": Row(
        announced(B), DUE, A, NoRun(result=CheckResult.SKIP_SAME, again_s=8.0)
    ),
    "every request runs: the last one waits for what it announced": Row(
        announced(B), REQUEST, C, Wait(result=CheckResult.WAIT_ANNOUNCED, after_s=8.0), EACH
    ),
    "every request runs: those before it do not wait": Row(
        announced(B, requested=2), Requests(upto=2), C, run("fire-always", C, request=1, again_s=0.0), EACH
    ),
    "every request runs, and git shows what was announced": Row(
        announced(B), REQUEST, B, run("fire-always", B, request=1), EACH
    ),
    "every check runs: a scheduled time does not wait": Row(
        announced(B), DUE, C, run("fire-always", C, due_at=DUE.at, again_s=8.0), EACH
    ),
    # ---------------------------------------------------------------------------- references that git does not show
    "a list shows that it differs: there need be no open request": Row(QUIET, Differs(), None, Observe(part="head")),
    "a reference that is not shown may be deleted": Row(
        QUIET,
        Differs(),
        GONE,
        NoRun(
            result=CheckResult.WAIT_DELETED,
            mutations=(Missing(source="s", expected=(1, A), at=NOW_TEXT),),
            again_s=16.0,
        ),
    ),
    "it was not shown 10 s ago either": Row(
        entry(missingSince="2026-05-06T07:00:10Z"),
        REQUEST,
        GONE,
        Wait(result=CheckResult.WAIT_DELETED, after_s=5.0),
    ),
    "it was not shown 20 s ago either, and nothing runs": Row(
        MISSING,
        REQUEST,
        GONE,
        NoRun(result=CheckResult.SKIP_DELETED, mutations=(Forget(source="s", expected=(1, A), at=NOW_TEXT),)),
    ),
    "it was not shown 20 s ago either, and onDelete is given": Row(
        MISSING, REQUEST, GONE, run("fire-deleted", A, request=1), {"on_delete": True}
    ),
    "it never had a commit and nothing is requested": Row(
        entry(commitHash=None, requested=0), Differs(), GONE, nothing("skip-deleted")
    ),
    "it is shown again": Row(
        entry(missingSince=TIME, requested=0),
        Differs(),
        A,
        NoRun(result=CheckResult.SKIP_SAME, mutations=(Missing(source="s", expected=(1, A), at=None),)),
    ),
    "a requested run does not wait": Row(
        announced(B, runRequested=1), REQUEST, A, run("fire-requested", A, request=0, run_request=1, again_s=8.0)
    ),
}


@pytest.mark.parametrize("situation", TABLE)
def test_each_situation_has_one_decision(situation):
    """The table above."""
    check_row(TABLE[situation])


def check_row(row):
    """What is decided in that situation is the row's decision."""
    shown = row.head is not None and row.head != GONE
    head = Head(commit=row.head, tag_object=row.tag, sent_at=NOW) if shown else Absent(sent_at=NOW)
    head = None if row.head is None else head
    observation = Observation(
        now=NOW, head=head, files=row.files, closed_until=row.closed_until, last_start=row.last_start, text=row.text
    )
    assert decide(row.entry, row.occurrence, observation, CheckSpec(source="s", **row.spec)) == row.decision


def test_the_table_has_every_result_that_a_decision_can_have():
    """The other results of a check are failures, which no decision foresees."""
    decided = {row.decision.result for row in TABLE.values() if not isinstance(row.decision, Observe)}
    failures = {result for result in CheckResult if result.is_error}
    others = {
        CheckResult.WRONG_CONFIG,
        CheckResult.INVALID,
        CheckResult.FENCE_LOST,
        CheckResult.RESTART,
        CheckResult.DROPPED,
    }
    others |= {CheckResult.WAIT_WINDOW, CheckResult.WAIT_DEBOUNCE, CheckResult.WAIT_COOLDOWN}  # test_waits.py
    others.add(CheckResult.SKIP_IGNORED)  # test_ignored_decisions.py
    others.add(CheckResult.SKIP_ABSENT)  # test_deletions.py
    assert decided | failures | others == set(CheckResult)
    assert not decided & (failures | others)


def test_open_requests_come_before_a_scheduled_time():
    """The run of a request may handle the scheduled time too; a check without a scheduled time is for requests."""
    assert occurrence_of(DUE.at, QUIET) == DUE
    assert occurrence_of(DUE.at, entry(requested=3)) == Requests(upto=3)
    assert occurrence_of(DUE.at, entry(handled=1, runRequested=1)) == Requests(upto=1)
    assert occurrence_of(None, QUIET) == Requests(upto=0)


def test_requests_for_an_announced_commit_come_at_growing_intervals_and_once_more_after_30_s():
    """Half a second at first, eight at most, and the last time when the announcement is 30 s old."""
    waiting = announced(B, TIME)
    at = datetime(2026, 5, 6, 7, 0, 0, tzinfo=UTC)
    waits = []
    while announced_unseen(waiting, A, None, at):
        wait_s = announced_wait_s(waiting, at)
        waits.append(wait_s)
        at += timedelta(seconds=wait_s)
    assert waits[0] == 0.5
    assert max(waits) == 8.0
    assert 30.0 <= sum(waits) <= 30.5
    assert len(waits) <= 12


def test_an_announcement_that_is_handled_is_not_waited_for():
    """Only an open request waits."""
    assert not announced_unseen(announced(B, handled=1), A, None, NOW)


@pytest.mark.parametrize(("at", "waits"), [("2026-05-06T07:00:40Z", True), ("2026-05-06T08:00:00Z", False)])
def test_a_replica_whose_clock_is_an_hour_ahead_does_not_cause_an_hour_of_requests(at, waits):
    """Requests would be sent twice a second all the time; a difference of some seconds is accepted."""
    assert announced_unseen(announced(B, at), A, None, NOW) is waits


def test_files_are_needed_only_when_the_commit_moved():
    """Patterns cost nothing while nothing changes; a first run has nothing to compare with."""
    spec = CheckSpec(source="s", patterns=True)

    def head(commit, tag=None):
        return Head(commit=commit, tag_object=tag, sent_at=NOW)

    assert needs_files(entry(), head(B), spec)
    assert not needs_files(entry(), head(A), spec)
    assert not needs_files(entry_of({}, "s"), head(A), spec)
    assert not needs_files(entry(), head(B), CheckSpec(source="s"))
    assert not needs_files(entry(), head(B), CheckSpec(source="s", patterns=True, on_change_only=False))
    assert not needs_files(entry(runs=None, commitHash=TAG), head(B, TAG), spec)
