"""Verdicts: every way that a look can end, and the questions it needs."""

from datetime import UTC, datetime, timedelta

import pytest

from git_events_runner.rules.change import (
    Look,
    Verdict,
    announced_unseen,
    announced_wait_s,
    answered,
    decide,
    needs_trees,
)
from git_events_runner.rules.ledger import entry_of

A, B, TAG = "a" * 40, "b" * 40, "7" * 40
NOW = datetime(2026, 5, 6, 7, 0, 20, tzinfo=UTC)
CALLED, DUE = Look(due_at=None), Look(due_at="2026-05-06T07:00:00Z")


def known(**fields):
    whole = {"commitHash": A, "runs": 1, "requested": 1, "handled": 0} | fields
    return entry_of({"checkedSources": {"s": {k: v for k, v in whole.items() if v is not None}}}, "s")


def verdict(entry, commit, *, tag=None, on_change=True, look=CALLED, same=None):
    return decide(entry, commit, tag_object=tag, on_change_only=on_change, look=look, files_same=same, asked_at=NOW)


def over(entry, look, *, on_change_only=True, called=True):
    return answered(entry, look, on_change_only=on_change_only, now=NOW, called=called)


@pytest.mark.parametrize(
    ("entry", "commit", "extra", "expected"),
    [
        (entry_of({}, "s"), A, {}, Verdict.FIRE_FIRST),
        (known(), A, {}, Verdict.SKIP_SAME),
        (known(), B, {}, Verdict.FIRE_CHANGED),
        (known(), B, {"same": True}, Verdict.SKIP_FILES_SAME),
        (known(), B, {"same": False}, Verdict.FIRE_CHANGED),
        (known(), A, {"on_change": False}, Verdict.FIRE_ALWAYS),
        (known(handled=1), A, {"on_change": False}, Verdict.SKIP_ANSWERED),
        (known(), A, {"on_change": False, "look": DUE}, Verdict.FIRE_ALWAYS),
        (known(answeredAt=DUE.due_at), A, {"on_change": False, "look": DUE}, Verdict.SKIP_ANSWERED),
        (known(runs=None), A, {}, Verdict.SKIP_ADOPTED),
        (known(runs=None, commitHash=TAG), B, {"tag": TAG}, Verdict.SKIP_ADOPTED),
        (known(runs=None), B, {}, Verdict.FIRE_CHANGED),
        (known(commitHash=TAG), B, {"tag": TAG}, Verdict.FIRE_CHANGED),
    ],
)
def test_the_verdict_table(entry, commit, extra, expected):
    """First, same, changed, always, answered, adopted: each case has one verdict."""
    assert verdict(entry, commit, **extra) is expected


@pytest.mark.parametrize(
    ("at", "changed", "expected"),
    [
        ("2026-05-06T07:00:10Z", None, Verdict.WAIT_ANNOUNCED),
        ("2026-05-06T06:59:40Z", None, Verdict.SKIP_SAME),
        ("2026-05-06T07:00:10Z", "2026-05-06T07:00:15Z", Verdict.WAIT_ANNOUNCED),
    ],
)
def test_an_announced_commit_is_waited_for(at, changed, expected):
    """While the announced commit is neither seen nor 30 s old, "same" does not answer the request, nor does a run."""
    entry = known(announced={"commit": B, "at": at}, changed=changed)
    assert verdict(entry, A) is expected
    assert verdict(entry, A, on_change=False) is (
        expected if expected.value.startswith("wait") else Verdict.FIRE_ALWAYS
    )


def test_a_poll_waits_for_no_announcement():
    """What falls due is answered with what git shows."""
    entry = known(announced={"commit": B, "at": "2026-05-06T07:00:10Z"})
    assert verdict(entry, A, look=DUE) is Verdict.SKIP_SAME


def test_git_is_asked_for_an_announced_commit_at_growing_distances_and_once_more_after_30_s():
    """Half a second at first, eight at most, and the last time when the announcement is 30 s old."""
    entry = known(announced={"commit": B, "at": "2026-05-06T07:00:00Z"})
    at = datetime(2026, 5, 6, 7, 0, 0, tzinfo=UTC)
    asked = []
    while announced_unseen(entry, A, None, at):
        wait_s = announced_wait_s(entry, at)
        asked.append(wait_s)
        at += timedelta(seconds=wait_s)
    assert asked[0] == 0.5
    assert max(asked) == 8.0
    assert 30.0 <= sum(asked) <= 30.5
    assert len(asked) <= 12


def test_an_announcement_that_is_answered_is_not_waited_for():
    """Only an open request waits."""
    entry = known(announced={"commit": B, "at": "2026-05-06T07:00:10Z"}, handled=1)
    assert not announced_unseen(entry, A, None, NOW)


@pytest.mark.parametrize(
    ("at", "handled", "expected"),
    [
        ("2026-05-06T06:59:40Z", 1, True),
        ("2026-05-06T07:00:10Z", 1, True),
        ("2026-05-06T06:59:20Z", 1, False),
        ("2026-05-06T06:59:40Z", 0, False),
    ],
)
def test_a_poll_does_not_repeat_what_a_delivery_has_just_asked(at, handled, expected):
    """Half a minute after a delivery that was answered a due time is answered too, where only changes run."""
    entry = known(announced={"commit": None, "at": at}, handled=handled)
    assert over(entry, DUE) is expected
    assert not over(entry, DUE, on_change_only=False)
    assert not over(entry, DUE, called=False)


def test_a_delivery_that_a_clock_ahead_recorded_answers_no_poll():
    """A follower that is ten minutes ahead would keep the schedule from finding anything for ten minutes."""
    assert not over(known(announced={"commit": None, "at": "2026-05-06T07:10:00Z"}, handled=1), DUE)


def test_a_record_that_lies_ahead_answers_nothing():
    """The leader's clock was a day ahead for a moment: tomorrow's time on record does not stop the schedule."""
    assert not over(known(answeredAt="2026-05-07T07:00:00Z"), DUE)
    assert not over(known(answeredAt="2026-05-07T07:00:00Z"), DUE, on_change_only=False)
    assert over(known(answeredAt="2026-05-06T07:01:00Z"), DUE)


def test_with_a_run_for_each_request_the_announced_commit_is_waited_for_by_its_own():
    """Requests before the last run with what git shows; a run of another new commit does not answer the last one."""
    announced = {"commit": B, "at": "2026-05-06T07:00:10Z"}
    assert verdict(known(announced=announced), "c" * 40, on_change=False) is Verdict.WAIT_ANNOUNCED
    assert verdict(known(announced=announced), B, on_change=False) is Verdict.FIRE_ALWAYS
    assert verdict(known(announced=announced, requested=2), "c" * 40, on_change=False) is Verdict.FIRE_ALWAYS
    assert verdict(known(announced=announced), "c" * 40, on_change=False, look=DUE) is Verdict.FIRE_ALWAYS


@pytest.mark.parametrize(("at", "waits"), [("2026-05-06T07:00:40Z", True), ("2026-05-06T08:00:00Z", False)])
def test_a_replica_whose_clock_is_an_hour_ahead_makes_nobody_wait_an_hour(at, waits):
    """Git would be asked twice a second all the time; some seconds are borne."""
    assert announced_unseen(known(announced={"commit": B, "at": at}), A, None, NOW) is waits


def test_an_announced_commit_that_is_the_head_is_seen():
    """The head equals what was announced: nothing to wait for."""
    assert verdict(known(announced={"commit": A, "at": "2026-05-06T07:00:10Z"}), A) is Verdict.SKIP_SAME


def test_an_announced_tag_object_that_git_shows_is_seen():
    """A delivery may name the annotated tag instead of its commit."""
    entry = known(announced={"commit": TAG, "at": "2026-05-06T07:00:10Z"})
    assert verdict(entry, A, tag=TAG) is Verdict.SKIP_SAME
    assert verdict(entry, B, tag=TAG, on_change=False) is Verdict.FIRE_ALWAYS
    assert verdict(entry, A, tag="8" * 40) is Verdict.WAIT_ANNOUNCED


def test_trees_are_asked_for_only_when_the_commit_moved():
    """Patterns cost nothing while nothing changes; a first run has nothing to compare with."""
    ask = {"on_change_only": True, "patterns": True}
    assert needs_trees(known(), B, None, **ask)
    assert not needs_trees(known(), A, None, **ask)
    assert not needs_trees(entry_of({}, "s"), A, None, **ask)
    assert not needs_trees(known(), B, None, on_change_only=True, patterns=False)
    assert not needs_trees(known(), B, None, on_change_only=False, patterns=True)
    assert not needs_trees(known(runs=None, commitHash=TAG), B, TAG, **ask)


def test_an_occurrence_not_newer_than_the_record_is_answered():
    """A due time is answered once, also when it is submitted again after a change of leader."""
    assert over(known(answeredAt="2026-05-06T07:00:00Z"), DUE)
    assert over(known(answeredAt="2026-05-06T07:00:01Z"), DUE)
    assert not over(known(answeredAt="2026-05-06T06:59:59Z"), DUE)
    assert not over(known(), DUE)
    assert over(known(handled=1), CALLED)
